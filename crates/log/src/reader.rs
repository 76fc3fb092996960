//! Reading committed records out of the files, while the log goes on.
//!
//! A [`Cursor`] stands before a frame of a segment. What it may read is told by the index: whole frames up to
//! the committed bytes, so it never meets a half-written one. Broken byte ranges that recovery found are
//! passed over (recovery named them); bytes that broke since are an error. A segment that is dropped while it
//! is read stays readable through the open file.

use std::{collections::VecDeque, io, path::Path, sync::Arc};

use nowcast_disk::{Disk, DiskFile};
use nowcast_model::{Offset, Record};

use crate::{
    FormatError, LogError,
    codec::decode_record,
    frame::{FRAME_HEADER_BYTES, FrameHeader},
    segment::{Index, SEGMENT_HEADER_BYTES, Segment},
};

/// Bytes read at once, so that small frames cost no system call each.
const READ_BYTES: usize = 1 << 20;

/// A file with what was last read of it.
pub(crate) struct Window {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Where in the file `buffer` begins, and how much of it was read.
    start: u64,
    filled: usize,
}

impl Window {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> Window {
        Window { file, buffer: Vec::new(), start: 0, filled: 0 }
    }

    /// The `len` bytes from `at` on, all of which lie below `limit`, the end of what may be read.
    pub(crate) fn get(&mut self, at: u64, len: usize, limit: u64) -> io::Result<&[u8]> {
        let end = at + len as u64;
        let held_end = self.start + self.filled as u64;
        if at < self.start || end > held_end {
            // A header's read brings the beginning of its body: only the rest is read, behind it.
            let is_held =
                (self.start..held_end).contains(&at) && at - self.start <= FRAME_HEADER_BYTES as u64;
            if !is_held {
                (self.start, self.filled) = (at, 0);
            }
            let until = end.max((self.start + READ_BYTES as u64).min(limit));
            let wanted = (until - self.start) as usize;
            if self.buffer.len() < wanted {
                // Only growth is filled with zeros: what is read over need not be.
                self.buffer.resize(wanted, 0);
            } else if self.buffer.len() > 4 * READ_BYTES && wanted <= READ_BYTES {
                self.buffer.truncate(READ_BYTES);
                self.buffer.shrink_to_fit();
            }
            // Should the read fail, what was held before is.
            self.file.read_at(&mut self.buffer[self.filled..wanted], self.start + self.filled as u64)?;
            self.filled = wanted;
        }
        let from = (at - self.start) as usize;
        Ok(&self.buffer[from..from + len])
    }
}

/// Why a frame could not be read.
pub(crate) enum FrameError {
    Io(io::Error),
    Format(FormatError),
}

impl From<FormatError> for FrameError {
    fn from(error: FormatError) -> FrameError {
        FrameError::Format(error)
    }
}

impl FrameError {
    pub(crate) fn at(self, path: &Path, at: u64) -> LogError {
        match self {
            FrameError::Io(error) => LogError::io("read", path, &error),
            FrameError::Format(error) => LogError::corrupt(path, at, error),
        }
    }
}

/// The header of the frame at byte `at`, whose body is all there below `limit`.
pub(crate) fn read_header(
    window: &mut Window,
    at: u64,
    limit: u64,
    log_id: Option<u64>,
) -> Result<FrameHeader, FrameError> {
    let got = limit.saturating_sub(at);
    if got < FRAME_HEADER_BYTES as u64 {
        return Err(FormatError::TooShort { need: FRAME_HEADER_BYTES as u64, got }.into());
    }
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes.copy_from_slice(window.get(at, FRAME_HEADER_BYTES, limit).map_err(FrameError::Io)?);
    let header = FrameHeader::decode(&bytes, at, log_id)?;
    if got < header.total_bytes() {
        return Err(FormatError::TooShort { need: header.total_bytes(), got }.into());
    }
    Ok(header)
}

/// The checked body of the frame at `at` that has `header`.
pub(crate) fn read_body<'a>(
    window: &'a mut Window,
    header: &FrameHeader,
    at: u64,
    limit: u64,
) -> Result<&'a [u8], FrameError> {
    let body_at = at + FRAME_HEADER_BYTES as u64;
    let body = window.get(body_at, header.body_bytes as usize, limit).map_err(FrameError::Io)?;
    header.check_body(body, body_at)?;
    Ok(body)
}

/// The records of a checked body; they follow each other from the frame's first offset to its end.
fn decode_body(header: &FrameHeader, mut body: &[u8]) -> Result<Vec<Record>, FormatError> {
    let mut expected = header.first;
    // A record has at least its header: the count is held against what is there.
    let mut records = Vec::with_capacity((header.records as usize).min(body.len() / 48));
    for _ in 0..header.records {
        let (record, bytes) = decode_record(body)?;
        if record.offset != expected {
            return Err(FormatError::OutOfOrder { expected, found: record.offset });
        }
        expected = record.end();
        body = &body[bytes..];
        records.push(record);
    }
    if !body.is_empty() {
        return Err(FormatError::BadField { field: "frame.body_bytes", value: header.body_bytes.into() });
    }
    if expected != header.end {
        return Err(FormatError::OutOfOrder { expected: header.end, found: expected });
    }
    Ok(records)
}

/// The offset of the first committed record that was taken in at or after `at_us`; of what comes next if there is
/// none. Times never fall along the log, so that the index tells the segment and a place in it, and from there
/// only headers are read.
///
/// # Errors
/// [`LogError::Io`], [`LogError::Corrupt`].
pub(crate) fn offset_at(
    disk: &Arc<dyn Disk>,
    index: &Index,
    log_id: u64,
    at_us: i64,
) -> Result<Offset, LogError> {
    loop {
        let (segment, end) = {
            let index = index.lock();
            (index.at_time(at_us).cloned(), index.end)
        };
        let Some(segment) = segment else { return Ok(end) };
        let (path, bytes) = (&segment.path, segment.bytes);
        let mut window = match disk.open(path) {
            Ok(file) => Window::new(file),
            // Dropped since: the next is the first now.
            Err(_) if index.lock().segment(segment.first).is_none() => continue,
            Err(error) => return Err(LogError::io("open", path, &error)),
        };
        let mut at = segment.place_at(at_us);
        while at < bytes {
            if let Some(&(_, to)) = segment.gaps.iter().find(|&&(from, to)| from <= at && at < to) {
                at = to;
                continue;
            }
            let header = read_header(&mut window, at, bytes, Some(log_id)).map_err(|e| e.at(path, at))?;
            if header.records > 0 && header.at_us >= at_us {
                // The records of a frame were taken in together: they have its time.
                return Ok(header.first);
            }
            at += header.total_bytes();
        }
        return Ok(segment.end);
    }
}

/// The segment that a cursor is in.
struct Here {
    first: Offset,
    window: Window,
    at: u64,
    /// The segment as last seen in the index.
    known: Segment,
}

/// A place in the log; see the module.
pub(crate) struct Cursor {
    disk: Arc<dyn Disk>,
    index: Arc<Index>,
    log_id: u64,
    /// All records that end at or before this were read.
    next: Offset,
    here: Option<Here>,
}

impl Cursor {
    /// # Errors
    /// [`LogError::Gone`] if `from` was dropped.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        index: Arc<Index>,
        log_id: u64,
        from: Offset,
    ) -> Result<Cursor, LogError> {
        let first = index.lock().first();
        if from < first {
            return Err(LogError::Gone { from, first });
        }
        Ok(Cursor { disk, index, log_id, next: from, here: None })
    }

    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// The records of the next frame that ends behind [`Cursor::next`]; `None` at the end of what is
    /// committed, or at `limit`.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Corrupt`], [`LogError::Gone`].
    pub(crate) fn next_frame(&mut self, limit: Offset) -> Result<Option<Vec<Record>>, LogError> {
        loop {
            if self.next >= limit {
                return Ok(None);
            }
            let Some(mut here) = self.enter()? else { return Ok(None) };
            let (path, bytes) = (here.known.path.clone(), here.known.bytes);
            if let Some(&(_, to)) =
                here.known.gaps.iter().find(|&&(from, to)| from <= here.at && here.at < to)
            {
                here.at = to;
                self.here = Some(here);
                continue;
            }
            let at = here.at;
            let header = read_header(&mut here.window, at, bytes, Some(self.log_id));
            let header = header.map_err(|error| error.at(&path, at))?;
            if header.first >= limit {
                self.here = Some(here);
                return Ok(None);
            }
            let wanted = header.end > self.next;
            let mut records = Vec::new();
            if wanted {
                let body = read_body(&mut here.window, &header, at, bytes).map_err(|e| e.at(&path, at))?;
                records = decode_body(&header, body).map_err(|error| LogError::corrupt(&path, at, error))?;
                records.retain(|record| record.end() > self.next);
                self.next = header.end;
            }
            here.at += header.total_bytes();
            self.here = Some(here);
            if wanted {
                return Ok(Some(records));
            }
        }
    }

    /// Takes out the segment to read from, with something left in it; `None` if all that is committed was
    /// read.
    fn enter(&mut self) -> Result<Option<Here>, LogError> {
        let mut candidate = {
            let index = self.index.lock();
            match &mut self.here {
                Some(here) => {
                    if let Some(seen) = index.segment(here.first)
                        && seen.bytes != here.known.bytes
                    {
                        here.known = seen.clone();
                    }
                    if here.at < here.known.bytes {
                        return Ok(self.here.take());
                    }
                    match index.after(here.first) {
                        None => return Ok(None),
                        Some(segment) => segment.clone(),
                    }
                }
                None => match index.holding(self.next) {
                    Some(segment) => segment.clone(),
                    None => return Err(LogError::Gone { from: self.next, first: index.first() }),
                },
            }
        };
        loop {
            let at = match self.here {
                Some(_) => SEGMENT_HEADER_BYTES as u64,
                None => candidate.place_of(self.next),
            };
            if at < candidate.bytes {
                let file = self.disk.open(&candidate.path);
                let file = file.map_err(|error| LogError::io("open", &candidate.path, &error))?;
                let window = Window::new(file);
                self.here = None;
                return Ok(Some(Here { first: candidate.first, window, at, known: candidate }));
            }
            // No frames in it: the log jumped, or was just made.
            match self.index.lock().after(candidate.first) {
                None => return Ok(None),
                Some(segment) => candidate = segment.clone(),
            }
        }
    }
}

/// Committed records in order, up to what was committed when it was made. Made by
/// [`LogHandle::read_from`](crate::LogHandle::read_from). Holds one frame's records at a time. After an error
/// it ends.
pub struct RecordReader {
    cursor: Cursor,
    limit: Offset,
    ready: VecDeque<Record>,
    failed: bool,
}

impl RecordReader {
    pub(crate) fn new(cursor: Cursor, limit: Offset) -> RecordReader {
        RecordReader { cursor, limit, ready: VecDeque::new(), failed: false }
    }
}

impl Iterator for RecordReader {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed {
            match self.cursor.next_frame(self.limit) {
                Ok(Some(records)) => self.ready = records.into(),
                Ok(None) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
