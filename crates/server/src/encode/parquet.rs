//! Parquet, row group by row group: a group is held in memory, encoded, until it is full.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use nowcast_query::{SqlCode, SqlError};
use parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel},
    errors::ParquetError,
    file::properties::{WriterProperties, WriterVersion},
};

use super::{Encode, End};

/// Rows of one group unless asked for otherwise, and at most.
const GROUP_ROWS: usize = 100_000;
const GROUP_ROWS_MAX: usize = 1_000_000;

/// Encoded bytes at which a group ends before its rows do.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// How the file is written.
#[derive(Debug, Clone)]
pub struct ParquetOptions {
    compression: Compression,
    group_rows: usize,
}

impl Default for ParquetOptions {
    fn default() -> ParquetOptions {
        ParquetOptions { compression: Compression::ZSTD(ZstdLevel::default()), group_rows: GROUP_ROWS }
    }
}

impl ParquetOptions {
    /// The codecs by name.
    pub const CODECS: [&'static str; 6] = ["uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4_raw"];

    /// Options from what people write; the level is the codec's own.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn parse(
        codec: Option<&str>,
        level: Option<u32>,
        group_rows: Option<usize>,
    ) -> Result<ParquetOptions, String> {
        let wrong = |error: ParquetError| format!("compression_level: {error}");
        let signed = level.map(|level| i32::try_from(level).unwrap_or(i32::MAX));
        let compression = match codec.unwrap_or("zstd").to_ascii_lowercase().as_str() {
            "uncompressed" => Compression::UNCOMPRESSED,
            "snappy" => Compression::SNAPPY,
            "lz4_raw" => Compression::LZ4_RAW,
            "gzip" => {
                Compression::GZIP(level.map_or(Ok(GzipLevel::default()), GzipLevel::try_new).map_err(wrong)?)
            }
            "brotli" => Compression::BROTLI(
                level.map_or(Ok(BrotliLevel::default()), BrotliLevel::try_new).map_err(wrong)?,
            ),
            "zstd" => {
                Compression::ZSTD(signed.map_or(Ok(ZstdLevel::default()), ZstdLevel::try_new).map_err(wrong)?)
            }
            other => {
                return Err(format!(
                    "compression_codec {other:?} is not known; the codecs are {}",
                    ParquetOptions::CODECS.join(", ")
                ));
            }
        };
        let group_rows = group_rows.unwrap_or(GROUP_ROWS);
        if !(1..=GROUP_ROWS_MAX).contains(&group_rows) {
            return Err(format!("row_group_size is {group_rows}; give 1 to {GROUP_ROWS_MAX} rows"));
        }
        Ok(ParquetOptions { compression, group_rows })
    }
}

/// Writes Parquet.
pub struct Parquet {
    /// Taken when the file has ended.
    writer: Option<ArrowWriter<Vec<u8>>>,
    ready: Vec<u8>,
    group_rows: usize,
}

impl Parquet {
    /// Begins a file.
    ///
    /// # Errors
    /// A column's type has no Parquet type.
    pub fn new(schema: SchemaRef, options: &ParquetOptions) -> Result<Parquet, SqlError> {
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(options.compression)
            .set_max_row_group_row_count(Some(options.group_rows))
            .set_created_by(concat!("nowcast ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(failed)?;
        Ok(Parquet { writer: Some(writer), ready: Vec::new(), group_rows: options.group_rows })
    }
}

impl Encode for Parquet {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(batch).map_err(failed)?;
        if writer.in_progress_size() >= GROUP_BYTES_MAX || writer.in_progress_rows() >= self.group_rows {
            writer.flush().map_err(failed)?;
        }
        writer.sync().map_err(|error| failed(error.into()))?;
        self.ready.append(writer.inner_mut());
        Ok(())
    }

    fn finish(&mut self, _end: End) -> Result<(), SqlError> {
        if let Some(writer) = self.writer.take() {
            self.ready.append(&mut writer.into_inner().map_err(failed)?);
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ready)
    }
}

fn failed(error: ParquetError) -> SqlError {
    SqlError::new(SqlCode::NotSupported, format!("the rows cannot be written as Parquet: {error}"))
        .hint("cast the column to another type, or export CSV")
}
