//! Rows into a part's file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use nowcast_disk::Tmp;
use nowcast_model::{ColumnType, TableSchema};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{BloomFilterPosition, EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};

use super::{Files, Part, PartFile, sums::SummedFile};
use crate::{Seqs, StoreError};

/// Rows of one row group: small enough that statistics skip what a query of some minutes does not need.
pub(crate) const ROW_GROUP_ROWS: usize = 131_072;

/// Row groups in which a bloom filter says that a value may be there, and it is not.
const BLOOM_FALSE_SHARE: f64 = 0.01;

/// Writes a part's file under its temporary name.
pub(crate) struct PartWriter {
    files: Arc<Files>,
    id: u64,
    path: PathBuf,
    tmp: Tmp,
    writer: ArrowWriter<SummedFile>,
    filed: SchemaRef,
    columns: usize,
    time: Option<usize>,
    rows: u64,
    min_us: Option<i64>,
    max_us: Option<i64>,
}

impl PartWriter {
    /// Begins the file of part `id` in `dir`, which is made if it does not exist. The columns `many_valued`
    /// (indices into `schema.columns`) get bloom filters.
    pub(crate) fn create(
        files: &Arc<Files>,
        dir: &Path,
        id: u64,
        schema: &TableSchema,
        many_valued: &[usize],
    ) -> Result<PartWriter, StoreError> {
        files.disk.create_dir(dir).map_err(StoreError::io("make directory", dir))?;
        let path = dir.join(format!("{id:08}.parquet"));
        let (tmp, file) = Tmp::create(&files.disk, &path).map_err(StoreError::io("create", &path))?;
        let (file, properties) = (SummedFile::new(file), properties(schema, many_valued));
        let filed = Arc::new(schema.filed());
        let writer = ArrowWriter::try_new(file, filed.clone(), Some(properties));
        Ok(PartWriter {
            files: files.clone(),
            id,
            writer: writer.map_err(write_error(tmp.path()))?,
            path,
            tmp,
            filed,
            columns: schema.columns.len(),
            time: schema.timestamp,
            rows: 0,
            min_us: None,
            max_us: None,
        })
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
        let batch = RecordBatch::try_new(self.filed.clone(), batch.columns().to_vec())?;
        self.writer.write(&batch).map_err(write_error(self.tmp.path()))
    }

    /// Ends the data, puts its checksums behind it, makes the file durable and gives it its name.
    pub(crate) fn finish(mut self) -> Result<Part, StoreError> {
        let tmp = self.tmp.path();
        self.writer.flush().map_err(write_error(tmp))?;
        // What Parquet still holds back belongs to the data.
        self.writer.sync().map_err(StoreError::io("write", tmp))?;
        let sums = self.writer.inner_mut().end_data();
        self.writer.write_all(&sums).map_err(StoreError::io("write", tmp))?;
        let written = self.writer.into_inner().map_err(write_error(tmp))?;
        let (bytes, tail) = written.finish().map_err(StoreError::io("sync", tmp))?;
        // Made before the file has its name: if that goes wrong halfway, the file goes with it.
        let file = PartFile::new(&self.files, self.id, &self.path, Some(tail), false);
        self.tmp.rename(&self.path).map_err(StoreError::io("rename", &self.path))?;
        Ok(Part {
            id: self.id,
            file,
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

fn write_error(path: &Path) -> impl FnOnce(ParquetError) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::BadPart { path, cause: error.to_string() }
}

fn properties(schema: &TableSchema, many_valued: &[usize]) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        // Level 1: half the CPU of the default for a few per cent more bytes.
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        // Within the data, whose checksums cover it.
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
        .set_dictionary_enabled(false);
    for (index, column) in schema.columns.iter().enumerate() {
        let path = || ColumnPath::from(column.file_name().to_owned());
        match column.ty {
            // Numbers that people write down repeat themselves more often than not; a column that does not
            // falls back to plain values by itself.
            ColumnType::Symbol
            | ColumnType::Varchar
            | ColumnType::Byte
            | ColumnType::Short
            | ColumnType::Int
            | ColumnType::Long => {
                builder = builder.set_column_dictionary_enabled(path(), true);
            }
            ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
                builder = builder.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
            }
            _ => {}
        }
        if many_valued.contains(&index) {
            // Made for as many values as a row group has rows, and folded to what it holds when it is written.
            builder = builder
                .set_column_bloom_filter_enabled(path(), true)
                .set_column_bloom_filter_fpp(path(), BLOOM_FALSE_SHARE);
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
