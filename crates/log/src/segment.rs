//! A segment: one file of the log, named by its first offset in 20 digits (`00000000000000000812.log`).
//!
//! ```text
//! magic "nowclog\0" · version u16 · 0 u16 ×3 · first offset u64 · previous end u64 · log id u64 · at_us i64
//! · 0 ×12 · header CRC32C u32 · frame…
//! ```
//!
//! The header has 64 bytes and keeps this layout in every version. It is written and synced, and the file's
//! name with it, before the first frame is; and a segment is made only after the one before it was synced to
//! its end. So a segment's name alone is proof that all offsets before it were durable. `previous end` is
//! where the segment before ends: less than `first offset` where the log jumped ahead of what a crash lost, so
//! that the store's offsets are not given twice; anything else missing between two segments is damage.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nowcast_model::Offset;

use crate::{
    FormatError,
    frame::{u16_at, u64_at},
};

pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"nowclog\0";
pub(crate) const SEGMENT_VERSION: u16 = 1;
/// Distance in bytes of the places that the index remembers inside a segment.
const MARK_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) first: Offset,
    pub(crate) previous_end: Offset,
    pub(crate) log_id: u64,
    pub(crate) at_us: i64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_end.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.at_us.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// # Errors
    /// In this order: magic, checksum, version, fields.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<SegmentHeader, FormatError> {
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(FormatError::WrongMagic { found: u64_at(bytes, 0) });
        }
        if bytes[60..64] != crc32c::crc32c(&bytes[..60]).to_le_bytes() {
            return Err(FormatError::BadCrc { at: 0 });
        }
        let version = u16_at(bytes, 8);
        if version > SEGMENT_VERSION {
            return Err(FormatError::NewerVersion { found: version, known: SEGMENT_VERSION });
        }
        let (first, previous_end) = (u64_at(bytes, 16), u64_at(bytes, 24));
        if previous_end > first {
            return Err(FormatError::BadField { field: "segment.previous_end", value: previous_end });
        }
        Ok(SegmentHeader {
            first: Offset::new(first),
            previous_end: Offset::new(previous_end),
            log_id: u64_at(bytes, 32),
            at_us: u64_at(bytes, 40) as i64,
        })
    }
}

/// The name of the segment that begins at `first`.
pub(crate) fn file_name(first: Offset) -> String {
    format!("{:020}.log", first.get())
}

/// The offset in a segment's name; `None` for other files.
pub(crate) fn parse_name(name: &str) -> Option<Offset> {
    let digits =
        name.strip_suffix(".log").filter(|d| d.len() == 20 && d.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().map(Offset::new)
}

/// What is known of a segment: all that was committed in it.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) path: Arc<Path>,
    pub(crate) first: Offset,
    /// The first offset behind it.
    pub(crate) end: Offset,
    /// Bytes of the file that are committed; what stands behind them is no one's business.
    pub(crate) bytes: u64,
    /// When its last record was taken in; `i64::MIN` without one.
    pub(crate) at_us: i64,
    /// Byte ranges that are broken, in order: readers pass over them.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Some frames, in order, so that a reader need not begin at the beginning.
    marks: Vec<Mark>,
}

/// A frame that the index remembers.
#[derive(Debug, Clone, Copy)]
struct Mark {
    first: Offset,
    /// Where in the file it begins.
    at: u64,
    at_us: i64,
}

impl Segment {
    /// A segment that has its header and nothing else.
    pub(crate) fn new(dir: &Path, first: Offset) -> Segment {
        let path: PathBuf = dir.join(file_name(first));
        Segment {
            path: path.into(),
            first,
            end: first,
            bytes: SEGMENT_HEADER_BYTES as u64,
            at_us: i64::MIN,
            gaps: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Takes note of a frame that begins at byte `at` and is committed.
    pub(crate) fn add(&mut self, header: &crate::frame::FrameHeader, at: u64) {
        if self.marks.last().is_none_or(|mark| at - mark.at >= MARK_BYTES) {
            self.marks.push(Mark { first: header.first, at, at_us: header.at_us });
        }
        self.end = header.end;
        self.bytes = at + header.total_bytes();
        if header.records > 0 {
            self.at_us = self.at_us.max(header.at_us);
        }
    }

    /// Forgets all from byte `at` on, where offset `end` would begin.
    pub(crate) fn cut(&mut self, at: u64, end: Offset) {
        self.marks.retain(|mark| mark.at < at);
        self.gaps.retain(|&(from, _)| from < at);
        self.end = end;
        self.bytes = at;
    }

    /// A place at or before the frame that holds `offset`.
    pub(crate) fn place_of(&self, offset: Offset) -> u64 {
        self.last_mark(self.marks.partition_point(|mark| mark.first <= offset))
    }

    /// A place at or before the first frame that was written at or after `at_us`.
    pub(crate) fn place_at(&self, at_us: i64) -> u64 {
        self.last_mark(self.marks.partition_point(|mark| mark.at_us < at_us))
    }

    /// The place of the last of the first `count` marks.
    fn last_mark(&self, count: usize) -> u64 {
        match count.checked_sub(1) {
            Some(mark) => self.marks[mark].at,
            None => SEGMENT_HEADER_BYTES as u64,
        }
    }
}

/// What is committed, as the log thread tells it to readers.
#[derive(Debug)]
pub(crate) struct Index {
    /// Held to look something up, never while a file is touched.
    state: Mutex<IndexState>,
}

#[derive(Debug, Default)]
pub(crate) struct IndexState {
    /// In order; the last is written to.
    pub(crate) segments: Vec<Segment>,
    /// The first offset that is not committed.
    pub(crate) end: Offset,
}

impl IndexState {
    /// The first offset that can be read.
    pub(crate) fn first(&self) -> Offset {
        self.segments.first().map_or(self.end, |segment| segment.first)
    }

    /// The segment that holds `offset`, or would.
    pub(crate) fn holding(&self, offset: Offset) -> Option<&Segment> {
        let behind = self.segments.partition_point(|segment| segment.first <= offset);
        behind.checked_sub(1).map(|index| &self.segments[index])
    }

    /// The segment that begins at `first`.
    pub(crate) fn segment(&self, first: Offset) -> Option<&Segment> {
        self.holding(first).filter(|segment| segment.first == first)
    }

    /// The first segment with a record that was taken in at or after `at_us`.
    pub(crate) fn at_time(&self, at_us: i64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.end > segment.first && segment.at_us >= at_us)
    }

    /// The first segment behind the one that begins at `first`.
    pub(crate) fn after(&self, first: Offset) -> Option<&Segment> {
        self.segments.get(self.segments.partition_point(|segment| segment.first <= first))
    }
}

impl Index {
    pub(crate) fn new(segments: Vec<Segment>, end: Offset) -> Index {
        Index { state: Mutex::new(IndexState { segments, end }) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, IndexState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
