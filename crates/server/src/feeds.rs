//! The feeds that other systems' clients know, as they are set up: `[[feed]]`, and the two variables of `/ws`.

use std::{fmt, sync::Arc, time::Duration};

use nowcast_feed::{Batch, Compatible, MetricsFeed, RecordsFeed};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor, value},
};

use crate::config::RawFeed;

/// `/ws` without settings: every 5 seconds the rows of 5 minutes.
const DEFAULT: i64 = 5;

/// A refresh of 0 seconds means as often as can be; more often than this shows nothing new.
const REFRESH_MIN: Duration = Duration::from_millis(100);

/// Longer look-backs are all rows there are.
const LOOKBACK_MINUTES_MAX: i64 = 100 * 366 * 24 * 60;

/// `[[feed]]`: a query whose rows are metrics of dashboards.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMetricsFeed {
    /// The query.
    pub query: String,
    /// Its column that names the dashboard.
    #[serde(default = "dashboard_id")]
    pub dashboard_id: String,
    /// Its column that names the metric.
    #[serde(default = "metric_name")]
    pub metric_name: String,
    /// Its column of the value.
    #[serde(default = "value")]
    pub value: String,
    /// Its column of the time.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// Its columns of what else is told.
    #[serde(default)]
    pub metadata: Columns,
}

fn dashboard_id() -> String {
    "dashboard_id".to_owned()
}

fn metric_name() -> String {
    "metric_name".to_owned()
}

fn value() -> String {
    "value".to_owned()
}

/// One column, or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// `"meta"`
    One(String),
    /// `["unit", "country"]`
    Many(Vec<String>),
}

impl Default for Columns {
    fn default() -> Columns {
        Columns::Many(Vec::new())
    }
}

/// `[feed]` as a table of limits, or `[[feed]]` as a list of queries, which is short for `[[feed.query]]`.
pub(crate) fn table_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawFeed, D::Error> {
    struct TableOrList;

    impl<'de> Visitor<'de> for TableOrList {
        type Value = RawFeed;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("[feed] with limits, or [[feed]] with a query each")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawFeed, A::Error> {
            RawFeed::deserialize(value::MapAccessDeserializer::new(map))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawFeed, A::Error> {
            let metrics = Vec::deserialize(value::SeqAccessDeserializer::new(seq))?;
            Ok(RawFeed { metrics, ..RawFeed::default() })
        }
    }

    deserializer.deserialize_any(TableOrList)
}

/// What `/ws` sends: `REFRESH_SECONDS` and `LOOKBACK_MINUTES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// How often.
    pub refresh: Duration,
    /// The rows of how many minutes; 0 or less is one row.
    pub lookback_minutes: i64,
}

impl Default for Orders {
    fn default() -> Orders {
        Orders::new(None, None)
    }
}

impl Orders {
    /// From the variables' texts. If either is no whole number, both are 5.
    pub fn new(refresh_seconds: Option<&str>, lookback_minutes: Option<&str>) -> Orders {
        let read = |text: Option<&str>| text.map_or(Some(DEFAULT), whole);
        let (refresh, lookback_minutes) = match (read(refresh_seconds), read(lookback_minutes)) {
            (Some(refresh), Some(lookback)) => (refresh, lookback),
            _ => (DEFAULT, DEFAULT),
        };
        let refresh = Duration::from_secs(u64::try_from(refresh).unwrap_or(0)).max(REFRESH_MIN);
        Orders { refresh, lookback_minutes: lookback_minutes.min(LOOKBACK_MINUTES_MAX) }
    }

    /// The query.
    pub fn sql(&self) -> String {
        let rows = match self.lookback_minutes {
            minutes @ 1.. => format!("WHERE o.created_at >= now() - interval '{minutes} minutes'"),
            _ => "LIMIT 1".to_owned(),
        };
        format!(
            "SELECT u.id AS user_id, u.age, u.gender, u.country, u.traffic_source, o.order_id, o.id AS item_id, \
             p.category, p.cost, o.status AS item_status, o.sale_price, o.created_at \
             FROM users AS u JOIN order_items AS o ON u.id = o.user_id JOIN products AS p ON p.id = o.product_id {rows}"
        )
    }
}

/// A whole number as people write it: with blanks around, a sign, and single underscores between digits.
fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let groups =
        digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if !groups {
        return None;
    }
    // What does not fit is a number all the same.
    let number = digits.replace('_', "").parse().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -number } else { number })
}

/// What the routes serve.
pub(crate) fn compatible(orders: &Orders, raw: &RawFeed, batch: Arc<dyn Batch>) -> Compatible {
    let metrics = raw.metrics.iter().map(|feed| MetricsFeed {
        sql: feed.query.clone(),
        dashboard_id: feed.dashboard_id.clone(),
        metric_name: feed.metric_name.clone(),
        value: feed.value.clone(),
        timestamp: feed.timestamp.clone(),
        metadata: match &feed.metadata {
            Columns::One(column) => vec![column.clone()],
            Columns::Many(columns) => columns.clone(),
        },
    });
    let records = RecordsFeed { sql: orders.sql().into(), refresh: orders.refresh };
    Compatible { batch, records, metrics: metrics.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_variable_that_is_no_number_makes_both_five() {
        for (refresh, lookback, expected) in [
            (None, None, (5_000, 5)),
            (Some("2"), Some("10"), (2_000, 10)),
            (Some(" 2 "), None, (2_000, 5)),
            (Some("2"), Some("ten"), (5_000, 5)),
            (Some("2.5"), Some("10"), (5_000, 5)),
            (Some(""), Some("10"), (5_000, 5)),
            (Some("1_0"), Some("+0"), (10_000, 0)),
            (Some("_1"), Some("1"), (5_000, 5)),
            (Some("0"), Some("-3"), (100, -3)),
            (Some("1"), Some("99999999999999999999"), (1_000, LOOKBACK_MINUTES_MAX)),
        ] {
            let orders = Orders::new(refresh, lookback);
            let refresh_ms = u64::try_from(orders.refresh.as_millis()).unwrap_or(0);
            assert_eq!((refresh_ms, orders.lookback_minutes), expected, "{refresh:?} {lookback:?}");
        }
        assert!(Orders::new(None, Some("0")).sql().ends_with("LIMIT 1"));
        assert!(Orders::default().sql().ends_with("interval '5 minutes'"));
    }
}
