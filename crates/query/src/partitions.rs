//! The partitions of a table: QuestDB's `table_partitions()` and `SHOW PARTITIONS FROM`.
//!
//! A partition is a stretch of time, no directory: a part may hold rows of several, and hide some. So a part that
//! hides nothing and lies within one partition counts as its metadata say; of any other the time column (and the
//! hidden `_seq`) is read, batch by batch, when the rows are asked for and not when the query is planned. What is
//! held is one batch and one line for each partition, at most [`PARTITIONS_MAX`] of them; between two batches the
//! runtime's other work has its turn, and a query that was ended or ran out of time ends.
//!
//! A part's file has no place for a partition, so its bytes are shared out by rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
    temporal_conversions::timestamp_us_to_datetime,
};
use datafusion::{
    common::Result,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::stream;
use nowcast_model::{PartitionBy, name_key};
use nowcast_store::{Part, StoreError, TableVersion, partition_range_us};

use crate::error::{SqlCode, SqlError};

/// More than 28 years of hours: a table with more holds times that are no times.
const PARTITIONS_MAX: usize = 250_000;

/// What one partition holds.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    rows: u64,
    /// NULL for a table without a time column.
    min_us: Option<i64>,
    max_us: Option<i64>,
    bytes: u64,
    parts: u64,
    hot_rows: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.rows += other.rows;
        self.min_us = self.min_us.into_iter().chain(other.min_us).min();
        self.max_us = self.max_us.into_iter().chain(other.max_us).max();
        self.bytes += other.bytes;
        self.parts += other.parts;
        self.hot_rows += other.hot_rows;
    }
}

/// By the first microsecond; that of a partition without bounds is `i64::MIN`.
type Tallies = BTreeMap<i64, Tally>;

/// The partitions of one table version, counted when they are read.
#[derive(Debug)]
pub(crate) struct Partitions {
    version: Arc<TableVersion>,
    schema: SchemaRef,
}

impl Partitions {
    pub(crate) fn of(version: Arc<TableVersion>) -> Partitions {
        let shown = shown();
        let folded = shown.fields().iter().map(|field| {
            let name = name_key(field.name());
            field.as_ref().clone().with_name(name)
        });
        Partitions { version, schema: Arc::new(Schema::new(folded.collect::<Vec<_>>())) }
    }

    /// The columns as QuestDB writes them.
    #[expect(clippy::unused_self, reason = "every table's are the same")]
    pub(crate) fn shown(&self) -> SchemaRef {
        shown()
    }

    /// The columns as the planner sees them.
    pub(crate) fn folded(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The rows under the names that QuestDB writes.
    pub(crate) fn read(&self) -> SendableRecordBatchStream {
        self.read_as(shown())
    }

    fn read_as(&self, schema: SchemaRef) -> SendableRecordBatchStream {
        let (version, shape) = (self.version.clone(), schema.clone());
        let rows = async move {
            let tallies = count(&version).await?;
            Ok(RecordBatch::try_new(shape, columns(version.schema.partition_by, &tallies))?)
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(rows)))
    }
}

impl PartitionStream for Partitions {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.read_as(self.schema.clone())
    }
}

fn shown() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let columns = [
        ("index", DataType::Int32),
        ("partitionBy", DataType::Utf8),
        ("name", DataType::Utf8),
        ("minTimestamp", time()),
        ("maxTimestamp", time()),
        ("numRows", DataType::Int64),
        ("diskSize", DataType::Int64),
        ("diskSizeHuman", DataType::Utf8),
        ("readOnly", DataType::Boolean),
        ("active", DataType::Boolean),
        ("attached", DataType::Boolean),
        ("detached", DataType::Boolean),
        ("attachable", DataType::Boolean),
        ("parts", DataType::Int64),
        ("hotRows", DataType::Int64),
    ];
    let fields = columns.into_iter().map(|(name, ty)| Field::new(name, ty, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// In the order of [`shown`].
fn columns(by: PartitionBy, tallies: &Tallies) -> Vec<ArrayRef> {
    let text = |get: &dyn Fn(i64, &Tally) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(tallies.iter().map(|(&start_us, tally)| get(start_us, tally))))
    };
    let long = |get: fn(&Tally) -> u64| -> ArrayRef {
        let cells = tallies.values().map(|tally| i64::try_from(get(tally)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(cells))
    };
    let time = |get: fn(&Tally) -> Option<i64>| -> ArrayRef {
        Arc::new(tallies.values().map(get).collect::<TimestampMicrosecondArray>())
    };
    let flag = |is: &dyn Fn(usize) -> bool| -> ArrayRef {
        Arc::new((0..tallies.len()).map(|index| Some(is(index))).collect::<BooleanArray>())
    };
    vec![
        Arc::new((0..).take(tallies.len()).map(Some).collect::<Int32Array>()),
        text(&|_, _| by.name().to_owned()),
        text(&|start_us, _| name(by, start_us)),
        time(|tally| tally.min_us),
        time(|tally| tally.max_us),
        long(|tally| tally.rows),
        long(|tally| tally.bytes),
        text(&|_, tally| human(tally.bytes)),
        flag(&|_| false),
        flag(&|index| index + 1 == tallies.len()),
        flag(&|_| true),
        flag(&|_| false),
        flag(&|_| false),
        long(|tally| tally.parts),
        long(|tally| tally.hot_rows),
    ]
}

/// The partition's name, as QuestDB calls its directories.
fn name(by: PartitionBy, start_us: i64) -> String {
    let form = match by {
        PartitionBy::None => return "default".to_owned(),
        PartitionBy::Hour => "%Y-%m-%dT%H",
        PartitionBy::Day => "%Y-%m-%d",
        PartitionBy::Week => "%G-W%V",
        PartitionBy::Month => "%Y-%m",
        PartitionBy::Year => "%Y",
    };
    match timestamp_us_to_datetime(start_us) {
        Some(start) => start.format(form).to_string(),
        // A time that no calendar has; the table's clients chose it.
        None => start_us.to_string(),
    }
}

/// Bytes as QuestDB's `size_pretty()` writes them.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    format!("{:.1} {}", bytes as f64 / (1_u64 << (10 * unit)) as f64, UNITS[unit])
}

/// Counts the rows of every partition.
async fn count(version: &TableVersion) -> Result<Tallies> {
    let mut all = Tallies::new();
    for part in &version.parts {
        let mut of_part = part_tallies(version, part).await?;
        share_out(part.bytes, &mut of_part);
        for (start_us, tally) in of_part {
            all.entry(start_us).or_default().add(&Tally { parts: 1, ..tally });
        }
        check(version, all.len())?;
    }
    let Some(time) = version.schema.timestamp else {
        if !version.hot.is_empty() {
            let rows = version.hot.rows() as u64;
            all.entry(i64::MIN).or_default().add(&Tally { rows, hot_rows: rows, ..Tally::default() });
        }
        return Ok(all);
    };
    let mut hot = Tallies::new();
    // Copied first, which copies no rows: what walks them cannot wait.
    let batches: Vec<RecordBatch> = version.hot.iter().cloned().collect();
    for batch in &batches {
        tally(version.schema.partition_by, batch.column(time), &mut hot);
        check(version, all.len().max(hot.len()))?;
        pause().await;
    }
    for (start_us, tally) in hot {
        all.entry(start_us).or_default().add(&Tally { hot_rows: tally.rows, ..tally });
    }
    check(version, all.len())?;
    Ok(all)
}

fn check(version: &TableVersion, partitions: usize) -> Result<()> {
    if partitions <= PARTITIONS_MAX {
        return Ok(());
    }
    let message = format!("the table {} has more than {PARTITIONS_MAX} partitions", version.schema.name);
    let error = SqlError::new(SqlCode::Resources, message);
    let hint = "look at the times of its rows, or make it with a coarser PARTITION BY";
    Err(DataFusionError::External(Box::new(error.hint(hint))))
}

/// What a part shows of each partition, without bytes.
async fn part_tallies(version: &TableVersion, part: &Part) -> Result<Tallies> {
    let by = version.schema.partition_by;
    let whole = Tally { rows: part.rows, min_us: part.min_us, max_us: part.max_us, ..Tally::default() };
    let mut tallies = Tallies::new();
    let Some(time) = version.schema.timestamp else {
        tallies.insert(i64::MIN, whole);
        return Ok(tallies);
    };
    // The times of a part that hides rows may be those of hidden ones.
    if let (false, Some(min_us), Some(max_us)) = (part.is_masked(), part.min_us, part.max_us) {
        let (start_us, end_us) = range(by, min_us);
        if max_us < end_us {
            tallies.insert(start_us, whole);
            return Ok(tallies);
        }
    }
    let failed = |error: StoreError| DataFusionError::External(Box::new(error));
    for batch in part.read(&version.schema, &[time]).map_err(failed)? {
        tally(by, batch.map_err(failed)?.column(0), &mut tallies);
        check(version, tallies.len())?;
        pause().await;
    }
    Ok(tallies)
}

/// Adds times; neighbours are mostly of one partition.
fn tally(by: PartitionBy, times: &ArrayRef, tallies: &mut Tallies) {
    let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else { return };
    let (mut bounds, mut run) = ((i64::MAX, i64::MIN), Tally::default());
    for at_us in times.iter().flatten() {
        if at_us < bounds.0 || at_us >= bounds.1 {
            if run.rows > 0 {
                tallies.entry(bounds.0).or_default().add(&run);
            }
            (bounds, run) = (range(by, at_us), Tally::default());
        }
        run.rows += 1;
        run.min_us = Some(run.min_us.map_or(at_us, |min_us| min_us.min(at_us)));
        run.max_us = Some(run.max_us.map_or(at_us, |max_us| max_us.max(at_us)));
    }
    if run.rows > 0 {
        tallies.entry(bounds.0).or_default().add(&run);
    }
}

/// The first microsecond of the partition that holds `at_us`, and the first behind it.
fn range(by: PartitionBy, at_us: i64) -> (i64, i64) {
    partition_range_us(by, at_us).unwrap_or((i64::MIN, i64::MAX))
}

/// Shares the bytes of a file out by rows, to the last byte.
fn share_out(bytes: u64, tallies: &mut Tallies) {
    let total: u64 = tallies.values().map(|tally| tally.rows).sum();
    let (mut rows, mut given) = (0_u64, 0_u64);
    for tally in tallies.values_mut() {
        rows += tally.rows;
        // At most `bytes`, since `rows` is at most `total`.
        let upto = u128::from(bytes) * u128::from(rows) / u128::from(total.max(1));
        let upto = u64::try_from(upto).unwrap_or(bytes);
        tally.bytes = upto - given;
        given = upto;
    }
}

/// Lets the runtime's other work have its turn; here a query that was ended ends.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
