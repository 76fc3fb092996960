//! How DataFusion reads parts: through the store, which holds every byte against its checksum and remembers
//! where in a file what lies.
//!
//! Reads are done at once on the thread that asks: the query runtime is made for work that takes its time, and
//! what a dashboard reads again and again is in the system's page cache.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use datafusion::{
    common::{Result, internal_datafusion_err},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{ParquetFileMetrics, parquet::ParquetFileReaderFactory},
    },
    error::DataFusionError,
    parquet::{
        arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
        errors::ParquetError,
        file::metadata::ParquetMetaData,
    },
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use futures::future::{BoxFuture, FutureExt, ready};
use nowcast_store::{OpenPart, Part, StoreError};

/// The part behind a file of a plan, which also keeps it from being removed.
struct PartOf(Arc<Part>);

/// A part as a file of a plan.
pub(crate) fn file(part: &Arc<Part>) -> PartitionedFile {
    // The path is shown and never opened: the extension is.
    PartitionedFile::new(part.path.to_string_lossy(), part.bytes).with_extension(PartOf(part.clone()))
}

/// Opens parts for DataFusion.
#[derive(Debug)]
pub(crate) struct PartReaders;

impl ParquetFileReaderFactory for PartReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _metadata_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let part =
            file.extension::<PartOf>().ok_or_else(|| internal_datafusion_err!("a file that is no part"))?;
        let open = part.0.open().map_err(|error| DataFusionError::External(Box::new(error)))?;
        let metrics = ParquetFileMetrics::new(partition, file.object_meta.location.as_ref(), metrics);
        Ok(Box::new(PartReader { open, metrics, _part: part.0.clone() }))
    }
}

struct PartReader {
    open: OpenPart,
    metrics: ParquetFileMetrics,
    /// Keeps the file from being removed.
    _part: Arc<Part>,
}

fn external(error: StoreError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for PartReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.metrics.bytes_scanned.add(len);
        ready(self.open.read(range).map_err(external)).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        ready(Ok(self.open.metadata().clone())).boxed()
    }
}
