//! What a crash or a broken disk left of the log, and how it is made whole.
//!
//! All segments are read and every checksum is held, before anything is changed: a file that a newer Nowcast
//! wrote, or one of another log, ends the start with an error and every byte as it was.
//!
//! Broken bytes are a *suspect*. It is cleared up by what stands behind it:
//!
//! - a later frame whose `synced_to` passes the offset expected at the suspect, or a later segment, proves that
//!   the bytes were durable once: this is **damage**. They are copied to `quarantine/`, reported with the
//!   offsets that are lost, and passed over by readers; the records before and behind stay.
//! - nothing of the kind: this is the **torn tail** of a write that was never acknowledged. The file is cut
//!   where it begins.
//!
//! A last file without a whole header is a segment whose making was interrupted. It gets its header and stays: its
//! name is the proof for all that stands before it.
//!
//! The next frame behind broken bytes is looked for at every multiple of 8 bytes; its header's checksum, its
//! log id and its body's checksum make sure that it is one. At the end the last segment is synced, since what
//! was read may have come from memory: so all that a start has seen is durable.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use nowcast_disk::Disk;
use nowcast_model::Offset;

use crate::{
    Durability, FormatError, LogError, LogOptions,
    frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader},
    reader::{Cursor, FrameError, RecordReader, Window, offset_at, read_body, read_header},
    segment::{Index, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, parse_name},
    writer::Resume,
};

/// Where broken bytes are copied to, inside the log's directory.
const QUARANTINE: &str = "quarantine";
/// Bytes copied or searched at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The first offset that can be read.
    pub first: Offset,
    /// The offset that comes next.
    pub end: Offset,
    /// Files of the log.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
    /// What was durable once and is broken now. Found anew at each start, until its segment is dropped.
    pub damages: Vec<Damage>,
}

/// A write that the last run did not finish, and had not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Where it ends now.
    pub at: u64,
    /// Bytes that were cut off.
    pub bytes: u64,
    /// What was wrong with the first of them.
    pub cause: FormatError,
}

/// Bytes that were durable once and are broken now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first broken byte.
    pub from: u64,
    /// The first byte behind that is whole.
    pub to: u64,
    /// The first offset that is lost.
    pub first: Offset,
    /// The first offset behind that is not; `first` if no record is lost.
    pub end: Offset,
    /// What is wrong with the bytes.
    pub cause: FormatError,
    /// Where the bytes were copied to; `None` if there are none (a file or a part of it is missing).
    pub quarantine: Option<PathBuf>,
}

/// For people: the place, what is lost, why.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, from, to, first, end, cause, quarantine } = self;
        write!(f, "{}, bytes {from} to {to}: ", path.display())?;
        match first < end {
            true => write!(f, "the records at offsets {first} to {end} are lost: {cause}")?,
            false => write!(f, "no record is lost: {cause}")?,
        }
        match quarantine {
            Some(copy) => write!(f, "; copied to {}", copy.display()),
            None => Ok(()),
        }
    }
}

/// Broken bytes of which it is not known yet what they are.
struct Suspect {
    segment: usize,
    from: u64,
    to: u64,
    first: Offset,
    /// The first whole offset behind.
    end: Offset,
    cause: FormatError,
    /// It was durable once.
    proven: bool,
}

struct Scan<'a> {
    disk: &'a Arc<dyn Disk>,
    log_id: Option<u64>,
    segments: Vec<Segment>,
    suspects: Vec<Suspect>,
    expected: Offset,
    at_us: i64,
    /// Files of which the header is broken and no record can be read: to be moved aside.
    aside: Vec<(PathBuf, Offset)>,
    /// The last segment was being made: its header is to be written, with this end of the one before.
    headless: Option<Offset>,
    /// The last segment has no header to trust: nothing more is written to it.
    is_closed: bool,
}

/// Reads the log in `options.dir` and makes it whole; see the module.
pub(crate) fn recover(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<(Resume, Recovery), LogError> {
    let dir = &options.dir;
    disk.create_dir(dir).map_err(|error| LogError::io("create", dir, &error))?;
    let scan = scan(disk, dir)?;
    if let Some(needed) = &options.needed {
        scan.covers(dir, needed, options.durability)?;
    }
    scan.finish(options)
}

/// A log that was read and not touched.
pub struct Inspection {
    /// What a start would find; nothing was cut, and nothing copied aside.
    pub found: Recovery,
    disk: Arc<dyn Disk>,
    index: Arc<Index>,
    log_id: u64,
}

impl Inspection {
    /// Reads the log in `dir` and holds every checksum. Its server must not run: it would go on writing.
    ///
    /// # Errors
    /// As for [`Log::open`](crate::Log::open).
    pub fn of(disk: Arc<dyn Disk>, dir: &Path) -> Result<Inspection, LogError> {
        let mut scan = scan(&disk, dir)?;
        let mut found = Recovery::default();
        if let Some(torn) = scan.suspects.iter().position(|suspect| !suspect.proven) {
            let suspect = scan.suspects.swap_remove(torn);
            scan.suspects.truncate(torn);
            let path = scan.segments[suspect.segment].path.to_path_buf();
            let (_, len) = scan.open(&path)?;
            scan.forget_behind(&suspect);
            let (at, cause) = (suspect.from, suspect.cause);
            found.cut = Some(Cut { path, at, bytes: len - at, cause });
        }
        found.damages = scan.suspects.iter().map(|suspect| suspect.damage(&scan.segments, None)).collect();
        for (_, first) in &scan.aside {
            scan.segments.retain(|segment| segment.first != *first);
        }
        found.first = scan.segments.first().map_or(scan.expected, |segment| segment.first);
        found.end = scan.expected;
        found.segments = scan.segments.len();
        found.bytes = scan.segments.iter().map(|segment| segment.bytes).sum();
        let log_id = scan.log_id.unwrap_or_default();
        let index = Arc::new(Index::new(scan.segments, scan.expected));
        Ok(Inspection { found, disk, index, log_id })
    }

    /// The records from the one that holds `from` on; if none does, from the next.
    ///
    /// # Errors
    /// [`LogError::Gone`] if `from` was dropped.
    pub fn read_from(&self, from: Offset) -> Result<RecordReader, LogError> {
        let cursor = Cursor::new(self.disk.clone(), self.index.clone(), self.log_id, from)?;
        Ok(RecordReader::new(cursor, self.found.end))
    }

    /// The offset of the first record that was taken in at or after `at_us`; of what would come next if none was.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Corrupt`].
    pub fn offset_at(&self, at_us: i64) -> Result<Offset, LogError> {
        offset_at(&self.disk, &self.index, self.log_id, at_us)
    }
}

/// Reads everything and changes nothing.
fn scan<'a>(disk: &'a Arc<dyn Disk>, dir: &Path) -> Result<Scan<'a>, LogError> {
    let names = disk.list(dir).map_err(|error| LogError::io("list", dir, &error))?;
    let mut firsts: Vec<Offset> = names.iter().filter_map(|name| parse_name(name)).collect();
    firsts.sort_unstable();
    let mut scan = Scan {
        disk,
        log_id: None,
        segments: Vec::new(),
        suspects: Vec::new(),
        expected: firsts.first().copied().unwrap_or_default(),
        at_us: i64::MIN,
        aside: Vec::new(),
        headless: None,
        is_closed: true,
    };
    let headers = scan.headers(dir, &firsts)?;
    for (index, (first, header)) in firsts.iter().zip(&headers).enumerate() {
        scan.segment(dir, *first, header, index + 1 == firsts.len())?;
    }
    Ok(scan)
}

impl Suspect {
    fn damage(&self, segments: &[Segment], quarantine: Option<PathBuf>) -> Damage {
        Damage {
            path: segments[self.segment].path.to_path_buf(),
            from: self.from,
            to: self.to,
            first: self.first,
            end: self.end,
            cause: self.cause.clone(),
            quarantine,
        }
    }
}

type Header = Result<SegmentHeader, (FormatError, u64)>;

impl Scan<'_> {
    /// The headers of all segments, or for a broken one what is wrong and the file's length. Refuses what is
    /// not ours to touch.
    fn headers(&mut self, dir: &Path, firsts: &[Offset]) -> Result<Vec<Header>, LogError> {
        let mut headers = Vec::with_capacity(firsts.len());
        for &first in firsts {
            let path = Segment::new(dir, first).path;
            let (mut window, len) = self.open(&path)?;
            let header = match usize::try_from(len) {
                Ok(got) if got < SEGMENT_HEADER_BYTES => {
                    Err(FormatError::TooShort { need: SEGMENT_HEADER_BYTES as u64, got: got as u64 })
                }
                _ => {
                    let mut bytes = [0; SEGMENT_HEADER_BYTES];
                    let read = window.get(0, SEGMENT_HEADER_BYTES, len);
                    bytes.copy_from_slice(read.map_err(|error| LogError::io("read", &path, &error))?);
                    SegmentHeader::decode(&bytes)
                }
            };
            if let Err(error @ FormatError::NewerVersion { .. }) = header {
                return Err(LogError::corrupt(&path, 0, error));
            }
            if let Ok(header) = &header {
                self.at_us = self.at_us.max(header.at_us);
                let expected = *self.log_id.get_or_insert(header.log_id);
                if header.log_id != expected {
                    let error = FormatError::OtherLog { found: header.log_id, expected };
                    return Err(LogError::corrupt(&path, 0, error));
                }
                if header.first != first {
                    let error = FormatError::OutOfOrder { expected: first, found: header.first };
                    return Err(LogError::corrupt(&path, 0, error));
                }
            }
            headers.push(header.map_err(|error| (error, len)));
        }
        Ok(headers)
    }

    fn open(&self, path: &Path) -> Result<(Window, u64), LogError> {
        let file = self.disk.open(path).map_err(|error| LogError::io("open", path, &error))?;
        let len = file.len().map_err(|error| LogError::io("read", path, &error))?;
        Ok((Window::new(file), len))
    }

    fn segment(&mut self, dir: &Path, first: Offset, header: &Header, last: bool) -> Result<(), LogError> {
        let mut segment = Segment::new(dir, first);
        let path = segment.path.clone();
        match header {
            Err((cause, _)) if first < self.expected => {
                tracing::error!(path = %path.display(), %cause, "the segment begins inside of the one before");
                let cause = FormatError::OutOfOrder { expected: self.expected, found: first };
                return Err(LogError::corrupt(&path, 0, cause));
            }
            Err((_, len)) if *len <= SEGMENT_HEADER_BYTES as u64 && last => {
                // Its header was never durable, so nothing was written behind it. The file stays, since its name
                // proves that all before it was durable once, and gets its header.
                self.prove_before(first, first);
                (self.headless, self.is_closed) = (Some(self.expected), false);
                self.expected = first;
                self.segments.push(segment);
                return Ok(());
            }
            Err((cause, len)) => {
                self.prove_before(first, first);
                self.miss(first, first);
                let (index, cause) = (self.segments.len(), cause.clone());
                let to = (*len).min(SEGMENT_HEADER_BYTES as u64);
                segment.gaps.push((0, to));
                self.expected = first;
                let suspect = Suspect { segment: index, from: 0, to, first, end: first, cause, proven: true };
                self.suspects.push(suspect);
            }
            Ok(header) if self.segments.is_empty() => self.expected = header.first,
            Ok(header) => {
                if header.previous_end < self.expected {
                    let cause =
                        FormatError::OutOfOrder { expected: self.expected, found: header.previous_end };
                    return Err(LogError::corrupt(&path, 0, cause));
                }
                self.prove_before(header.previous_end, header.first);
                self.miss(header.previous_end, header.first);
                self.expected = header.first;
            }
        }
        self.segments.push(segment);
        self.frames(&path)?;
        let Some(segment) = self.segments.last() else { return Ok(()) };
        self.is_closed = header.is_err();
        if header.is_err() && segment.end == segment.first {
            // Not a record can be read of it: away with the whole file, not with its header alone.
            self.suspects.iter_mut().for_each(|suspect| suspect.proven = true);
            self.aside.push((path.to_path_buf(), first));
        }
        Ok(())
    }

    /// A segment follows that begins at `next`: all before it was durable once. A suspect that reaches the end
    /// of the file before took the offsets up to `end` with it.
    fn prove_before(&mut self, end: Offset, next: Offset) {
        if let (Some(suspect), Some(segment)) = (self.suspects.last_mut(), self.segments.last())
            && suspect.segment + 1 == self.segments.len()
            && suspect.from < suspect.to
            && suspect.to == segment.bytes
        {
            suspect.end = suspect.end.max(end);
        }
        for suspect in &mut self.suspects {
            suspect.proven |= suspect.first <= next;
        }
    }

    /// Takes note of offsets that no suspect accounts for.
    fn miss(&mut self, end: Offset, found: Offset) {
        if self.expected < end
            && !self.segments.is_empty()
            && self.suspects.last().is_none_or(|last| last.end < end)
        {
            let segment = self.segments.len() - 1;
            let at = self.segments[segment].bytes;
            let cause = FormatError::OutOfOrder { expected: self.expected, found };
            let first = self.expected;
            self.suspects.push(Suspect { segment, from: at, to: at, first, end, cause, proven: true });
        }
    }

    /// Reads the frames of the segment that was pushed last.
    fn frames(&mut self, path: &Arc<Path>) -> Result<(), LogError> {
        let (mut window, len) = self.open(path)?;
        let index = self.segments.len() - 1;
        let mut at = SEGMENT_HEADER_BYTES as u64;
        while at < len {
            let error = match self.frame(&mut window, at, len) {
                Ok(header) => {
                    self.take(index, &header, at);
                    at += header.total_bytes();
                    continue;
                }
                Err(error @ FrameError::Io(_)) => return Err(error.at(path, at)),
                Err(FrameError::Format(error)) => error,
            };
            if matches!(error, FormatError::NewerVersion { .. }) {
                return Err(LogError::corrupt(path, at, error));
            }
            let next = self.find_frame(&mut window, path, at + 8, len)?;
            let (to, end) = match &next {
                Some((to, header)) => (*to, header.first),
                None => (len, self.expected),
            };
            let (first, proven) =
                (self.expected, next.as_ref().is_some_and(|(_, h)| h.first == self.expected));
            self.suspects.push(Suspect { segment: index, from: at, to, first, end, cause: error, proven });
            let segment = &mut self.segments[index];
            segment.gaps.push((at, to));
            segment.bytes = to;
            if let Some((_, header)) = next {
                self.expected = header.first;
            }
            at = to;
        }
        Ok(())
    }

    /// The whole and next frame at `at`, or one that is whole and further on if offsets are missing before it.
    fn frame(&mut self, window: &mut Window, at: u64, len: u64) -> Result<FrameHeader, FrameError> {
        let header = read_header(window, at, len, self.log_id)?;
        read_body(window, &header, at, len)?;
        if header.first < self.expected {
            let (expected, found) = (self.expected, header.first);
            return Err(FormatError::OutOfOrder { expected, found }.into());
        }
        // Of a log of which no header is whole, the first whole frame tells the id.
        self.log_id.get_or_insert(header.log_id);
        Ok(header)
    }

    fn take(&mut self, index: usize, header: &FrameHeader, at: u64) {
        if header.first > self.expected {
            self.miss(header.first, header.first);
        }
        for suspect in &mut self.suspects {
            suspect.proven |= suspect.first < header.synced_to;
        }
        self.segments[index].add(header, at);
        self.expected = header.end;
        self.at_us = self.at_us.max(header.at_us);
    }

    /// The next whole frame at or behind `from`, a multiple of 8.
    fn find_frame(
        &mut self,
        window: &mut Window,
        path: &Path,
        from: u64,
        len: u64,
    ) -> Result<Option<(u64, FrameHeader)>, LogError> {
        const HEADER: usize = FRAME_HEADER_BYTES;
        let mut at = from;
        while at + HEADER as u64 <= len {
            let chunk_len = usize::try_from(len - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            let chunk = window.get(at, chunk_len, len).map_err(|e| LogError::io("read", path, &e))?;
            let places = (0..chunk_len - HEADER + 1).step_by(8);
            let next = at + places.len() as u64 * 8;
            // Text may hold the magic as often as it likes; only a whole header is worth a closer look.
            let found = { places }.find(|&place| {
                let mut bytes = [0; HEADER];
                bytes.copy_from_slice(&chunk[place..place + HEADER]);
                bytes[..4] == FRAME_MAGIC
                    && matches!(
                        FrameHeader::decode(&bytes, at, self.log_id),
                        Ok(_) | Err(FormatError::NewerVersion { .. })
                    )
            });
            let Some(found) = found else {
                at = next;
                continue;
            };
            at += found as u64;
            match self.frame(window, at, len) {
                Ok(header) => return Ok(Some((at, header))),
                Err(error @ FrameError::Io(_)) => return Err(error.at(path, at)),
                Err(FrameError::Format(error @ FormatError::NewerVersion { .. })) => {
                    return Err(LogError::corrupt(path, at, error));
                }
                Err(FrameError::Format(_)) => at += 8,
            }
        }
        Ok(None)
    }

    /// # Errors
    /// [`LogError::Short`] if the log does not hold all of `needed`. Of a relaxed log a loss of power may have taken
    /// the end, and the store have it.
    fn covers(&self, dir: &Path, needed: &Range<Offset>, durability: Durability) -> Result<(), LogError> {
        let end =
            self.suspects.iter().find(|suspect| !suspect.proven).map_or(self.expected, |torn| torn.first);
        let first = self.segments.first().map_or(end, |segment| segment.first);
        let is_cut_short = end < needed.end && durability == Durability::Synced;
        if self.segments.is_empty() || first > needed.start || is_cut_short {
            let (dir, from, to) = (dir.display().to_string(), needed.start, needed.end);
            return Err(LogError::Short { dir, from, to, first, end });
        }
        Ok(())
    }

    /// Nothing was changed yet. From here on it is.
    fn finish(mut self, options: &LogOptions) -> Result<(Resume, Recovery), LogError> {
        let dir = &options.dir;
        let mut recovery = Recovery::default();
        let torn = self.suspects.iter().position(|suspect| !suspect.proven);
        if let Some(torn) = torn {
            let suspect = self.suspects.swap_remove(torn);
            self.suspects.truncate(torn);
            recovery.cut = Some(self.cut(suspect)?);
        }
        for suspect in &self.suspects {
            recovery.damages.push(self.quarantine(dir, suspect)?);
        }
        for (path, first) in std::mem::take(&mut self.aside) {
            self.put_aside(dir, &path)?;
            self.segments.retain(|segment| segment.first != first);
        }
        let log_id = self.log_id.unwrap_or_else(random_id);
        if let (Some(previous_end), Some(last)) = (self.headless, self.segments.last()) {
            let header = SegmentHeader { first: last.first, previous_end, log_id, at_us: self.at_us.max(0) };
            self.write_header(&last.path, &header)?;
        }
        let mut file = None;
        if let Some(last) = self.segments.last() {
            let path = &last.path;
            let mut opened = self.disk.append(path).map_err(|error| LogError::io("open", path, &error))?;
            opened.sync().map_err(|error| LogError::io("sync", path, &error))?;
            file = Some(opened).filter(|_| !self.is_closed);
        }
        self.disk.sync_dir(dir).map_err(|error| LogError::io("sync", dir, &error))?;
        recovery.first = self.segments.first().map_or(self.expected, |segment| segment.first);
        recovery.end = self.expected;
        recovery.segments = self.segments.len();
        recovery.bytes = self.segments.iter().map(|segment| segment.bytes).sum();
        for damage in &recovery.damages {
            tracing::error!(%damage, "the log is damaged");
        }
        let index = Arc::new(Index::new(self.segments, self.expected));
        Ok((Resume { index, log_id, file, at_us: self.at_us }, recovery))
    }

    /// Takes the torn tail, with all behind it, out of what is known. What is left of a segment may be a broken
    /// header and nothing else.
    fn forget_behind(&mut self, torn: &Suspect) {
        let segment = &mut self.segments[torn.segment];
        segment.cut(torn.from, torn.first);
        self.expected = torn.first;
        let is_headless = segment.gaps.first().is_some_and(|&(from, _)| from == 0);
        if is_headless && segment.end == segment.first {
            self.aside.push((segment.path.to_path_buf(), segment.first));
        }
    }

    /// Finishes the making of a segment: a crash meanwhile leaves it as unfinished as it was.
    fn write_header(&self, path: &Path, header: &SegmentHeader) -> Result<(), LogError> {
        let mut file = self.disk.append(path).map_err(|error| LogError::io("open", path, &error))?;
        file.truncate(0).map_err(|error| LogError::io("cut", path, &error))?;
        file.append(&header.encode()).map_err(|error| LogError::io("write to", path, &error))?;
        file.sync().map_err(|error| LogError::io("sync", path, &error))
    }

    /// Cuts the torn tail off, with all behind it: a suspect that nothing proves is in the last segment.
    fn cut(&mut self, suspect: Suspect) -> Result<Cut, LogError> {
        let path = self.segments[suspect.segment].path.clone();
        let mut file = self.disk.append(&path).map_err(|error| LogError::io("open", &path, &error))?;
        let len = file.len().map_err(|error| LogError::io("read", &path, &error))?;
        file.truncate(suspect.from).map_err(|error| LogError::io("cut", &path, &error))?;
        file.sync().map_err(|error| LogError::io("sync", &path, &error))?;
        self.forget_behind(&suspect);
        tracing::info!(
            path = %path.display(), at = suspect.from, bytes = len - suspect.from, cause = %suspect.cause,
            "cut a write off the log's end that was not finished, or was damaged since",
        );
        let bytes = len - suspect.from;
        Ok(Cut { path: path.to_path_buf(), at: suspect.from, bytes, cause: suspect.cause })
    }

    /// Copies a suspect's bytes aside.
    fn quarantine(&self, dir: &Path, suspect: &Suspect) -> Result<Damage, LogError> {
        let path = &self.segments[suspect.segment].path;
        let mut copy = None;
        if suspect.from < suspect.to {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{stem}-{}-{}.bad", suspect.from, suspect.to);
            let aside = self.quarantine_dir(dir)?;
            let names = self.disk.list(&aside).map_err(|error| LogError::io("list", &aside, &error))?;
            let to = aside.join(&name);
            if !names.contains(&name) {
                self.copy(path, suspect.from, suspect.to, &to)?;
                self.disk.sync_dir(&aside).map_err(|error| LogError::io("sync", &aside, &error))?;
            }
            copy = Some(to);
        }
        Ok(suspect.damage(&self.segments, copy))
    }

    fn copy(&self, path: &Path, from: u64, to: u64, copy: &Path) -> Result<(), LogError> {
        let source = self.disk.open(path).map_err(|error| LogError::io("open", path, &error))?;
        let mut target = self.disk.create(copy).map_err(|error| LogError::io("create", copy, &error))?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            source.read_at(&mut chunk[..len], at).map_err(|error| LogError::io("read", path, &error))?;
            target.append(&chunk[..len]).map_err(|error| LogError::io("write to", copy, &error))?;
            at += len as u64;
        }
        target.sync().map_err(|error| LogError::io("sync", copy, &error))
    }

    fn put_aside(&self, dir: &Path, path: &Path) -> Result<(), LogError> {
        let aside = self.quarantine_dir(dir)?;
        let names = self.disk.list(&aside).map_err(|error| LogError::io("list", &aside, &error))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        // The offsets that such a file held may be given again, and broken again: no copy overwrites another.
        let mut free = (0_u64..).map(|n| format!("{stem}.{n}.bad")).filter(|name| !names.contains(name));
        let to = aside.join(free.next().unwrap_or_default());
        self.disk.rename(path, &to).map_err(|error| LogError::io("move aside", path, &error))?;
        self.disk.sync_dir(&aside).map_err(|error| LogError::io("sync", &aside, &error))
    }

    fn quarantine_dir(&self, dir: &Path) -> Result<PathBuf, LogError> {
        let aside = dir.join(QUARANTINE);
        self.disk.create_dir(&aside).map_err(|error| LogError::io("create", &aside, &error))?;
        Ok(aside)
    }
}

/// 64 bits that no client can know: the standard library seeds its hash maps with the system's randomness.
fn random_id() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(0);
    hasher.finish()
}
