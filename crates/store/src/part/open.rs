//! A part's file open for reading: what is read of it was held against its checksums, or is an error.
//!
//! What stands in the tail (which columns lie where, statistics of each page) is parsed once and shared, as long
//! as there is room for it: a dashboard reads the same parts again and again.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};
use nowcast_disk::{Disk, DiskFile};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
    },
};

use super::sums::{Sums, Tail};
use crate::StoreError;

/// Bytes that a sequential reader takes at once.
const READ_BYTES: u64 = 65_536;

/// The disk that parts are on, and what is remembered of them.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    footers: Mutex<Footers>,
}

/// What the tails of parts say, those that were used last.
struct Footers {
    bytes_max: usize,
    bytes: usize,
    by_part: BTreeMap<u64, Known>,
    /// Counts uses.
    now: u64,
}

struct Known {
    footer: Arc<Footer>,
    used: u64,
}

/// What a part's tail says.
pub(crate) struct Footer {
    pub(crate) arrow: ArrowReaderMetadata,
    /// `None` for a part of a version that had none.
    sums: Option<Sums>,
    bytes: usize,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl Files {
    /// `footer_bytes_max` bounds what is remembered of tails.
    pub(crate) fn new(disk: Arc<dyn Disk>, footer_bytes_max: usize) -> Files {
        let footers = Footers { bytes_max: footer_bytes_max, bytes: 0, by_part: BTreeMap::new(), now: 0 };
        Files { disk, footers: Mutex::new(footers) }
    }

    /// Held for a look-up, never while a file is read.
    fn footers(&self) -> MutexGuard<'_, Footers> {
        self.footers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a part that has gone.
    pub(crate) fn forget(&self, id: u64) {
        self.footers().remove(id);
    }

    /// Opens the file of part `id`.
    pub(crate) fn open(&self, id: u64, path: &Path, tail: Option<Tail>) -> Result<OpenPart, StoreError> {
        let file = self.disk.open(path).map_err(StoreError::io("open", path))?;
        let bytes = file.len().map_err(StoreError::io("read", path))?;
        let raw = RawFile { path: path.to_owned(), file, bytes, tail };
        let known = self.footers().get(id);
        let footer = match known {
            Some(footer) => footer,
            None => {
                let footer = Arc::new(raw.read_footer()?);
                self.footers().put(id, footer.clone());
                footer
            }
        };
        Ok(OpenPart { raw, footer })
    }
}

impl Footers {
    fn get(&mut self, id: u64) -> Option<Arc<Footer>> {
        self.now += 1;
        let known = self.by_part.get_mut(&id)?;
        known.used = self.now;
        Some(known.footer.clone())
    }

    fn put(&mut self, id: u64, footer: Arc<Footer>) {
        self.remove(id);
        self.bytes += footer.bytes;
        self.by_part.insert(id, Known { footer, used: self.now });
        while self.bytes > self.bytes_max
            && let Some((&oldest, _)) = self.by_part.iter().min_by_key(|(_, known)| known.used)
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(known) = self.by_part.remove(&id) {
            self.bytes -= known.footer.bytes;
        }
    }
}

/// A part's file, nothing of which is known yet.
struct RawFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    bytes: u64,
    tail: Option<Tail>,
}

impl RawFile {
    fn bad(&self, cause: String) -> StoreError {
        StoreError::BadPart { path: self.path.clone(), cause }
    }

    /// Bytes as they are there.
    fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.start > range.end || range.end > self.bytes {
            return Err(self.bad(format!("it has {} bytes, of which {range:?} were asked for", self.bytes)));
        }
        // At most the file's length, which the disk holds; one range is in memory at a time.
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        self.file.read_at(&mut bytes, range.start).map_err(StoreError::io("read", &self.path))?;
        Ok(bytes.into())
    }

    fn read_tail(&self, tail: Tail) -> Result<Bytes, StoreError> {
        let (from, to) = (tail.from.min(self.bytes), self.bytes);
        let bytes = self.read(from..to)?;
        if crc32c::crc32c(&bytes) != tail.crc {
            return Err(self.damaged(from, to));
        }
        Ok(bytes)
    }

    fn damaged(&self, from: u64, to: u64) -> StoreError {
        self.bad(format!(
            "the checksum of its bytes {from} to {to} does not fit; restore the file from a backup"
        ))
    }

    fn read_footer(&self) -> Result<Footer, StoreError> {
        let parquet = |error: ParquetError| self.bad(error.to_string());
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let sums = match self.tail {
            Some(tail) => {
                let bytes = self.read_tail(tail)?;
                reader.try_parse_sized(&bytes, self.bytes).map_err(parquet)?;
                Some(Sums::decode(&bytes, tail.from).map_err(|cause| self.bad(cause))?)
            }
            None => {
                let mut wanted = READ_BYTES.min(self.bytes);
                loop {
                    let bytes = self.read(self.bytes - wanted..self.bytes)?;
                    match reader.try_parse_sized(&bytes, self.bytes) {
                        Err(ParquetError::NeedMoreData(more)) if more as u64 > wanted => {
                            wanted = (more as u64).min(self.bytes);
                        }
                        parsed => break parsed.map_err(parquet)?,
                    }
                }
                None
            }
        };
        let metadata = Arc::new(reader.finish().map_err(parquet)?);
        let bytes = metadata.memory_size() + sums.as_ref().map_or(0, Sums::bytes);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        Ok(Footer { arrow: ArrowReaderMetadata::try_new(metadata, options).map_err(parquet)?, sums, bytes })
    }
}

/// A part's file, open for reading.
pub struct OpenPart {
    raw: RawFile,
    pub(crate) footer: Arc<Footer>,
}

impl OpenPart {
    /// What Parquet knows of the file, with the indexes of its pages.
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.footer.arrow.metadata()
    }

    /// The file's length.
    pub(crate) fn bytes(&self) -> u64 {
        self.raw.bytes
    }

    /// The bytes of `range`, whose checksums fit.
    ///
    /// # Errors
    /// [`StoreError::BadPart`] with the bytes that do not, or that are not there.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (Some(tail), Some(sums)) = (self.raw.tail, &self.footer.sums) else {
            return self.raw.read(range);
        };
        if range.start >= tail.from {
            // Was parsed when the file was opened; whoever wants it again gets it the same way.
            let bytes = self.raw.read_tail(tail)?;
            let part = (range.start - tail.from) as usize..range.end.saturating_sub(tail.from) as usize;
            return match part.start <= part.end && part.end <= bytes.len() {
                true => Ok(bytes.slice(part)),
                false => self.raw.read(range),
            };
        }
        let (from, to) = sums.span(range.start, range.end, tail.from);
        if range.end > to || range.end < range.start {
            return Err(self.raw.bad(format!("its data ends at {}, {range:?} was asked for", tail.from)));
        }
        let bytes = self.raw.read(from..to)?;
        sums.check(from, &bytes).map_err(|(from, to)| self.raw.damaged(from, to))?;
        Ok(bytes.slice((range.start - from) as usize..(range.end - from) as usize))
    }

    /// Where its data ends.
    fn data_bytes(&self) -> u64 {
        self.raw.tail.map_or(self.raw.bytes, |tail| tail.from)
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// The first bytes whose checksum does not fit.
    pub(crate) fn check_all(&self) -> Result<(), StoreError> {
        let (mut at, end) = (0, self.data_bytes());
        while at < end {
            let to = (at + 16 * READ_BYTES).min(end);
            self.read(at..to)?;
            at = to;
        }
        Ok(())
    }
}

/// What Parquet's reader reads from.
#[derive(Clone)]
pub(crate) struct Chunks(pub(crate) Arc<OpenPart>);

fn parquet_error(error: StoreError) -> ParquetError {
    match error {
        // The file is named by whoever reports it.
        StoreError::BadPart { cause, .. } => ParquetError::General(cause),
        other => ParquetError::General(other.to_string()),
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.raw.bytes
    }
}

impl ChunkReader for Chunks {
    type T = Sequential;

    fn get_read(&self, start: u64) -> Result<Sequential, ParquetError> {
        Ok(Sequential { part: self.0.clone(), at: start, bytes: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.0.read(start..start.saturating_add(length as u64)).map_err(parquet_error)
    }
}

/// Reads on from a place.
pub(crate) struct Sequential {
    part: Arc<OpenPart>,
    at: u64,
    bytes: Bytes,
}

impl io::Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            let to = self.at.saturating_add(READ_BYTES).min(self.part.data_bytes());
            if self.at >= to {
                return Ok(0);
            }
            self.bytes = self.part.read(self.at..to).map_err(io::Error::other)?;
            self.at = to;
        }
        let len = into.len().min(self.bytes.len());
        self.bytes.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}
