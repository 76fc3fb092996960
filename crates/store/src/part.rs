//! A part: rows of one table in one Parquet file, never changed once written.
//!
//! Sorted by time, then `_seq`. The file has the form of [`TableSchema::stored`] at the time of writing;
//! columns are only ever added to a table, at the end, so a part holds the table's first
//! [`Part::columns`] columns and then `_seq`, and readers fill later columns with NULL. The Arrow schema is
//! embedded: symbols come back as dictionaries.
//!
//! A dropped partition may take away a beginning of a part. The file stays, and [`Part::visible_from_us`]
//! hides the rows before that time; **every reader of the file must apply it** ([`Part::read`] does). The
//! next compaction that takes the part in leaves them out. [`Part::dead`] does the same to single rows that an
//! upsert replaced.
//!
//! A file is made as `NAME.parquet.tmp`, synced, renamed, and its directory synced. It goes once no manifest
//! names it and the last snapshot that reads it is gone; a crash in between leaves an orphan, which
//! [`crate::Store::open`] removes.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType},
};
use nowcast_model::{ColumnType, TableSchema, limits::HOT_BATCH_ROWS};
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::{RowGroupMetaData, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
        statistics::Statistics,
    },
    schema::types::ColumnPath,
};

use crate::{
    Seqs, StoreError,
    columns::nulls,
    upsert::{any_within, seqs},
};

/// Rows of one row group: small enough that statistics skip what a query of some minutes does not need.
const ROW_GROUP_ROWS: usize = 131_072;

/// Rows of a table in one Parquet file.
#[derive(Debug, Clone)]
pub struct Part {
    /// Number of the part, unique in the store for ever.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
    /// Visible rows.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// The earliest visible time, if the table has a time column.
    pub min_us: Option<i64>,
    /// The latest time.
    pub max_us: Option<i64>,
    /// How many of the table's columns the file holds; later ones are NULL.
    pub columns: usize,
    /// Rows before this time went with their partition; readers leave them out.
    pub visible_from_us: Option<i64>,
    /// Rows that later writes replaced; readers leave them out.
    pub dead: Seqs,
    pub(crate) file: Arc<PartFile>,
}

/// The file behind a part and its masked copies.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    doomed: AtomicBool,
}

impl PartFile {
    /// A file that is to stay, or a new one that goes with its last reader unless it is kept.
    pub(crate) fn new(path: PathBuf, is_kept: bool) -> Arc<PartFile> {
        Arc::new(PartFile { path, doomed: AtomicBool::new(!is_kept) })
    }

    /// A manifest may name the file from now on.
    pub(crate) fn keep(&self) {
        self.doomed.store(false, Ordering::Release);
    }

    /// No manifest names the file any more: the last reader removes it.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "part not removed; the next start removes it");
        }
    }
}

impl Part {
    /// True if the file holds rows that are not visible: every reader must leave them out.
    pub fn is_masked(&self) -> bool {
        self.visible_from_us.is_some() || !self.dead.is_empty()
    }

    /// The file that says which rows are dead.
    pub(crate) fn dead_path(&self) -> PathBuf {
        self.path.with_extension(format!("{}.dead", self.dead.len()))
    }

    /// Takes visible rows away.
    pub(crate) fn bury(&mut self, seqs: Vec<u64>) {
        let before = self.dead.len();
        self.dead.extend(seqs);
        self.rows = self.rows.saturating_sub(self.dead.len() - before);
    }

    /// Reads the visible rows in the file's order, in batches of at most [`HOT_BATCH_ROWS`]: the columns
    /// `columns` (indices into `schema.columns`, ascending, no repeats) with NULL for those that the part is
    /// older than, then `_seq`. `schema` is the table's at the time of the snapshot.
    ///
    /// # Errors
    /// If the file cannot be opened or its footer read; the iterator reports what follows.
    pub fn read(&self, schema: &TableSchema, columns: &[usize]) -> Result<PartRows, StoreError> {
        let builder = self.open()?;
        self.rows(builder, schema, columns)
    }

    /// As [`Part::read`], without row groups that hold none of `times` (ascending).
    pub(crate) fn read_at_times(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        times: &[i64],
    ) -> Result<PartRows, StoreError> {
        let builder = self.open()?;
        let Some(time) = schema.timestamp else { return self.rows(builder, schema, columns) };
        let holds = |group: &RowGroupMetaData| match group.column(time).statistics() {
            Some(Statistics::Int64(times_of)) => match (times_of.min_opt(), times_of.max_opt()) {
                (Some(&min_us), Some(&max_us)) => any_within(times, min_us, max_us),
                _ => true,
            },
            _ => true,
        };
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| holds(group)).map(|(index, _)| index).collect();
        self.rows(builder.with_row_groups(groups), schema, columns)
    }

    fn open(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, StoreError> {
        let bad = |cause: String| StoreError::BadPart { path: self.path.clone(), cause };
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| bad(e.to_string()))?;
        let width = builder.schema().fields().len();
        if width != self.columns + 1 {
            return Err(bad(format!(
                "the file has {width} columns, the manifest says {} and _seq",
                self.columns
            )));
        }
        Ok(builder)
    }

    fn rows(
        &self,
        builder: ParquetRecordBatchReaderBuilder<File>,
        schema: &TableSchema,
        columns: &[usize],
    ) -> Result<PartRows, StoreError> {
        let mut wanted: Vec<usize> = columns.iter().copied().filter(|&c| c < self.columns).collect();
        let time = schema.timestamp.filter(|_| self.visible_from_us.is_some());
        wanted.extend(time.filter(|t| !wanted.contains(t)));
        wanted.sort_unstable();
        let mask =
            ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied().chain([self.columns]));
        let reader = builder
            .with_projection(mask)
            .with_batch_size(HOT_BATCH_ROWS)
            .build()
            .map_err(|e| StoreError::BadPart { path: self.path.clone(), cause: e.to_string() })?;
        let stored = schema.stored();
        let mut fields: Vec<Field> = columns.iter().map(|&c| stored.field(c).clone()).collect();
        fields.push(stored.field(schema.columns.len()).clone());
        Ok(PartRows {
            part: self.clone(),
            reader,
            schema: Arc::new(Schema::new(fields)),
            columns: columns
                .iter()
                .map(|&c| (wanted.iter().position(|&w| w == c), schema.columns[c].ty))
                .collect(),
            time: time.and_then(|t| wanted.iter().position(|&w| w == t)),
            from_us: self.visible_from_us,
            before_us: None,
        })
    }

    /// Those of `seqs` that the part holds and shows.
    pub(crate) fn holds(&self, schema: &TableSchema, wanted: &[u64]) -> Result<Vec<u64>, StoreError> {
        let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
        let mut here = Vec::new();
        for rows in self.read(schema, &[])? {
            here.extend(seqs(&rows?).iter().filter(|seq| wanted.contains(seq)));
        }
        Ok(here)
    }

    /// As [`Part::read`] with all columns, for the rows of a stretch of time only.
    pub(crate) fn read_between(
        &self,
        schema: &TableSchema,
        times: Range<i64>,
    ) -> Result<PartRows, StoreError> {
        let from_us = self.visible_from_us.unwrap_or(i64::MIN).max(times.start);
        let masked = Part { visible_from_us: Some(from_us), ..self.clone() };
        let all: Vec<usize> = (0..schema.columns.len()).collect();
        Ok(PartRows { before_us: Some(times.end), ..masked.read(schema, &all)? })
    }
}

/// The rows of a part, batch by batch. Keeps the file from being removed.
pub struct PartRows {
    part: Part,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// For each output column its place in what the reader returns, or its type if it is not there.
    columns: Vec<(Option<usize>, ColumnType)>,
    time: Option<usize>,
    from_us: Option<i64>,
    before_us: Option<i64>,
}

impl PartRows {
    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        for &(place, ty) in &self.columns {
            columns.push(match place {
                Some(index) => batch.column(index).clone(),
                None => nulls(ty, batch.num_rows()),
            });
        }
        columns.push(batch.column(batch.num_columns() - 1).clone());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let times = self.time.and_then(|t| batch.column(t).as_primitive_opt::<TimestampMicrosecondType>());
        let dead = &self.part.dead;
        if times.is_none() && dead.is_empty() {
            return Ok(rows);
        }
        let from_us = self.from_us.unwrap_or(i64::MIN);
        // A part has no NULL times, and i64::MAX is past what is admitted.
        let before_us = self.before_us.unwrap_or(i64::MAX);
        let in_time = |row| times.is_none_or(|t| t.value(row) >= from_us && t.value(row) < before_us);
        let visible: BooleanArray = seqs(&rows)
            .iter()
            .enumerate()
            .map(|(row, &seq)| Some(in_time(row) && !dead.contains(seq)))
            .collect();
        Ok(filter_record_batch(&rows, &visible)?)
    }
}

impl Iterator for PartRows {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let conformed = match self.reader.next()? {
                Ok(batch) => self.conform(&batch),
                Err(error) => {
                    Err(StoreError::BadPart { path: self.part.path.clone(), cause: error.to_string() })
                }
            };
            match conformed {
                Ok(rows) if rows.num_rows() == 0 => {}
                other => return Some(other),
            }
        }
    }
}

/// A file under its temporary name, removed unless it gets another: a full disk must not stay full of halves.
struct Tmp(PathBuf);

impl Drop for Tmp {
    fn drop(&mut self) {
        // Renamed, it is not there. If removing fails, the next open does it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes a part's file under its temporary name.
pub(crate) struct PartWriter {
    id: u64,
    path: PathBuf,
    tmp: Tmp,
    writer: ArrowWriter<File>,
    columns: usize,
    time: Option<usize>,
    rows: u64,
    min_us: Option<i64>,
    max_us: Option<i64>,
}

impl PartWriter {
    /// Begins the file of part `id` in `dir`, which is made if it does not exist.
    pub(crate) fn create(dir: &Path, id: u64, schema: &TableSchema) -> Result<PartWriter, StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("make directory", dir))?;
        let path = dir.join(format!("{id:08}.parquet"));
        let tmp = Tmp(dir.join(format!("{id:08}.parquet.tmp")));
        let file = File::create(&tmp.0).map_err(StoreError::io("create", &tmp.0))?;
        let bad = |e: parquet::errors::ParquetError| StoreError::BadPart {
            path: tmp.0.clone(),
            cause: e.to_string(),
        };
        let writer =
            ArrowWriter::try_new(file, Arc::new(schema.stored()), Some(properties(schema))).map_err(bad)?;
        let (columns, time) = (schema.columns.len(), schema.timestamp);
        Ok(PartWriter { id, path, tmp, writer, columns, time, rows: 0, min_us: None, max_us: None })
    }

    /// Rows written.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends rows in stored form; the caller keeps them in order.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.rows += batch.num_rows() as u64;
        if let Some(times) =
            self.time.and_then(|t| batch.column(t).as_primitive_opt::<TimestampMicrosecondType>())
        {
            self.min_us = self.min_us.into_iter().chain(arrow::compute::min(times)).min();
            self.max_us = self.max_us.into_iter().chain(arrow::compute::max(times)).max();
        }
        self.writer
            .write(batch)
            .map_err(|e| StoreError::BadPart { path: self.tmp.0.clone(), cause: e.to_string() })
    }

    /// Syncs the file and gives it its name.
    pub(crate) fn finish(self) -> Result<Part, StoreError> {
        let file = self
            .writer
            .into_inner()
            .map_err(|e| StoreError::BadPart { path: self.tmp.0.clone(), cause: e.to_string() })?;
        file.sync_all().map_err(StoreError::io("sync", &self.tmp.0))?;
        let bytes = file.metadata().map_err(StoreError::io("stat", &self.tmp.0))?.len();
        fs::rename(&self.tmp.0, &self.path).map_err(StoreError::io("rename", &self.tmp.0))?;
        if let Some(dir) = self.path.parent() {
            sync_dir(dir)?;
        }
        Ok(Part {
            id: self.id,
            file: PartFile::new(self.path.clone(), false),
            path: self.path,
            rows: self.rows,
            bytes,
            min_us: self.min_us,
            max_us: self.max_us,
            columns: self.columns,
            visible_from_us: None,
            dead: Seqs::default(),
        })
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(StoreError::io("sync directory", dir))
}

/// Writes a whole file under its name: there is none, the old one or the new one, whatever happens.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = Tmp(tmp.into());
    let write = || {
        let mut file = File::create(&tmp.0)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(StoreError::io("write", &tmp.0))?;
    fs::rename(&tmp.0, path).map_err(StoreError::io("rename", &tmp.0))?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn properties(schema: &TableSchema) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        // Level 1: half the CPU of the default for a few per cent more bytes.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false);
    for column in &schema.columns {
        let path = || ColumnPath::from(column.name.to_string());
        match column.ty {
            ColumnType::Symbol | ColumnType::Varchar => {
                builder = builder.set_column_dictionary_enabled(path(), true);
            }
            ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
                builder = builder.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
            }
            _ => {}
        }
    }
    let seq = ColumnPath::from(nowcast_model::SEQ_COLUMN);
    builder = builder.set_column_encoding(seq, Encoding::DELTA_BINARY_PACKED);
    let sorted = schema.timestamp.into_iter().chain([schema.columns.len()]);
    let sorting = sorted.filter_map(|index| i32::try_from(index).ok());
    let sorting =
        sorting.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
    builder.set_sorting_columns(Some(sorting.collect())).build()
}
