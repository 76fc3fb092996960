//! The query types of the Time Series Benchmark Suite's use case `cpu-only`, with hosts and ranges drawn by a seed.
//!
//! A range that is longer than what the rows cover is cut to it: 10 million rows of 4,000 hosts are seven hours.

use chrono::DateTime;

use crate::tsbs::{FIELD_NAMES, Random, START_S, TAGS};

/// What ranges and hosts are drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    /// Hosts there are.
    pub(crate) hosts: usize,
    /// Seconds that the rows cover.
    pub(crate) span_s: i64,
}

/// A type of query.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The most of some fields of some hosts for each minute of some hours.
    SingleGroupBy { fields: usize, hosts: usize, hours: i64 },
    /// The most of all fields of some hosts for each of eight hours.
    CpuMaxAll { hosts: usize },
    /// The mean of some fields for each host and each of twelve hours.
    DoubleGroupBy { fields: usize },
    /// All rows of twelve hours with `usage_user` above 90, of one host or of all.
    HighCpu { hosts: Option<usize> },
    /// The newest row of each host.
    LastPoint,
    /// The most of `usage_user` for each of the last five minutes before some time.
    GroupByOrderByLimit,
}

/// All of them, by the names that the suite gives them.
pub(crate) const KINDS: [(&str, Kind); 15] = [
    ("single-groupby-1-1-1", Kind::SingleGroupBy { fields: 1, hosts: 1, hours: 1 }),
    ("single-groupby-1-1-12", Kind::SingleGroupBy { fields: 1, hosts: 1, hours: 12 }),
    ("single-groupby-1-8-1", Kind::SingleGroupBy { fields: 1, hosts: 8, hours: 1 }),
    ("single-groupby-5-1-1", Kind::SingleGroupBy { fields: 5, hosts: 1, hours: 1 }),
    ("single-groupby-5-1-12", Kind::SingleGroupBy { fields: 5, hosts: 1, hours: 12 }),
    ("single-groupby-5-8-1", Kind::SingleGroupBy { fields: 5, hosts: 8, hours: 1 }),
    ("cpu-max-all-1", Kind::CpuMaxAll { hosts: 1 }),
    ("cpu-max-all-8", Kind::CpuMaxAll { hosts: 8 }),
    ("double-groupby-1", Kind::DoubleGroupBy { fields: 1 }),
    ("double-groupby-5", Kind::DoubleGroupBy { fields: 5 }),
    ("double-groupby-all", Kind::DoubleGroupBy { fields: FIELD_NAMES.len() }),
    ("high-cpu-1", Kind::HighCpu { hosts: Some(1) }),
    ("high-cpu-all", Kind::HighCpu { hosts: None }),
    ("lastpoint", Kind::LastPoint),
    ("groupby-orderby-limit", Kind::GroupByOrderByLimit),
];

/// A query in both dialects; for DuckDB the parts stand in the place of `cpu`.
pub(crate) struct Text {
    pub(crate) nowcast: String,
    pub(crate) duckdb: String,
}

impl Kind {
    /// A query of this type.
    pub(crate) fn draw(self, drawn: Drawn, random: &mut Random) -> Text {
        let sql = match self {
            Kind::SingleGroupBy { fields, hosts, hours } => {
                let range = range(drawn, hours, random);
                let hosts = of_hosts(drawn, hosts, random);
                grouped("minute", &aggregates("max", fields), &format!("{hosts} AND {range}"))
            }
            Kind::CpuMaxAll { hosts } => {
                let range = range(drawn, 8, random);
                let hosts = of_hosts(drawn, hosts, random);
                grouped("hour", &aggregates("max", FIELD_NAMES.len()), &format!("{hosts} AND {range}"))
            }
            Kind::DoubleGroupBy { fields } => format!(
                "SELECT date_trunc('hour', timestamp) AS hour, hostname, {} FROM cpu WHERE {} \
                 GROUP BY 1, 2 ORDER BY 1, 2",
                aggregates("avg", fields),
                range(drawn, 12, random)
            ),
            Kind::HighCpu { hosts } => {
                let range = range(drawn, 12, random);
                let hosts = hosts.map(|hosts| format!(" AND {}", of_hosts(drawn, hosts, random)));
                let hosts = hosts.unwrap_or_default();
                format!("SELECT {} FROM cpu WHERE usage_user > 90 AND {range}{hosts}", columns())
            }
            Kind::LastPoint => {
                let columns = columns();
                return Text {
                    nowcast: format!("SELECT {columns} FROM cpu LATEST ON timestamp PARTITION BY hostname"),
                    duckdb: format!(
                        "SELECT {columns} FROM cpu \
                         QUALIFY row_number() OVER (PARTITION BY hostname ORDER BY timestamp DESC) = 1"
                    ),
                };
            }
            Kind::GroupByOrderByLimit => {
                let until = random.below(usize::try_from(drawn.span_s).unwrap_or(1)) as i64;
                format!(
                    "SELECT date_trunc('minute', timestamp) AS minute, max(usage_user) FROM cpu \
                     WHERE timestamp < {} GROUP BY 1 ORDER BY 1 DESC LIMIT 5",
                    time(until.max(600))
                )
            }
        };
        Text { nowcast: sql.clone(), duckdb: sql }
    }
}

fn grouped(unit: &str, aggregates: &str, condition: &str) -> String {
    format!(
        "SELECT date_trunc('{unit}', timestamp) AS {unit}, {aggregates} FROM cpu WHERE {condition} \
         GROUP BY 1 ORDER BY 1"
    )
}

fn aggregates(function: &str, fields: usize) -> String {
    let calls =
        FIELD_NAMES[..fields].iter().map(|field| format!("{function}({field}) AS {function}_{field}"));
    calls.collect::<Vec<_>>().join(", ")
}

/// The columns by name: files hold one more.
fn columns() -> String {
    ["timestamp"].iter().chain(&TAGS).chain(&FIELD_NAMES).copied().collect::<Vec<_>>().join(", ")
}

fn of_hosts(drawn: Drawn, hosts: usize, random: &mut Random) -> String {
    let hosts = (0..hosts).map(|_| format!("'host_{}'", random.below(drawn.hosts)));
    format!("hostname IN ({})", hosts.collect::<Vec<_>>().join(", "))
}

fn range(drawn: Drawn, hours: i64, random: &mut Random) -> String {
    let room = usize::try_from(drawn.span_s - hours * 3_600).unwrap_or(0);
    let from = random.below(room + 1) as i64;
    format!("timestamp >= {} AND timestamp < {}", time(from), time(from + hours * 3_600))
}

/// So many seconds behind the first row, as a literal.
fn time(offset_s: i64) -> String {
    let time = DateTime::from_timestamp(START_S + offset_s, 0).unwrap_or_default();
    format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_queries() {
        let drawn = Drawn { hosts: 4_000, span_s: 25_000 };
        let all = |seed| {
            let mut random = Random::new(seed);
            KINDS.map(|(_, kind)| kind.draw(drawn, &mut random).nowcast)
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        assert!(
            all(1)[2].starts_with("SELECT date_trunc('minute', timestamp) AS minute, max(usage_user) AS")
        );
        // Longer than the rows: from the first one on.
        assert!(all(1)[1].contains("timestamp >= TIMESTAMP '2016-01-01 00:00:00'"));
    }
}
