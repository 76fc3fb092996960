//! The file side of group commit: records in, one write, one sync.
//!
//! A group is encoded behind 64 bytes left free for the frame's header in a buffer that is used again and
//! again; then the header is filled in, and the whole goes to the file in one write and to the disk in one
//! sync. Before a group that would make the segment too long, the segment is synced to its end and the next
//! one is made and made durable. Any failure here is final: the writer is read-only from then on, since what
//! the disk holds after a failed sync is not known, and a second sync that succeeds would prove nothing.
//!
//! A full disk is no such failure: the write is taken back by cutting the file, before any sync, and the group
//! may be tried again.

use std::{path::Path, sync::Arc, time::Instant};

use nowcast_disk::{Disk, DiskFile};
use nowcast_model::{Clock, Item, Offset, Producer, Record};

use crate::{
    Durability, LogError, LogOptions,
    codec::Encoder,
    frame::{FRAME_HEADER_BYTES, FrameHeader, GROUP_BYTES},
    segment::{Index, Segment, SegmentHeader},
};

/// What the writer did since it was made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) records: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) syncs: u64,
    pub(crate) sync_us: u64,
}

pub(crate) struct Writer {
    pub(crate) options: LogOptions,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Arc<Index>,
    pub(crate) log_id: u64,
    /// The last segment of the index, if it may be written to.
    file: Option<Box<dyn DiskFile>>,
    path: Arc<Path>,
    /// Bytes in it, and whether any of its frames has records.
    bytes: u64,
    has_records: bool,
    /// The next record's offset, the group's first, and how far all is durable.
    end: Offset,
    group_first: Offset,
    synced_to: Offset,
    at_us: i64,
    group_records: u32,
    group_rows: u64,
    buffer: Vec<u8>,
    encoder: Encoder,
    read_only: Option<Arc<str>>,
    pub(crate) written: Written,
}

/// Where recovery left off.
pub(crate) struct Resume {
    pub(crate) index: Arc<Index>,
    pub(crate) log_id: u64,
    pub(crate) file: Option<Box<dyn DiskFile>>,
    pub(crate) at_us: i64,
}

impl Writer {
    /// Everything in `resume` is durable.
    pub(crate) fn new(
        options: LogOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        resume: Resume,
    ) -> Result<Writer, LogError> {
        let (end, path, bytes, has_records) = {
            let index = resume.index.lock();
            match index.segments.last() {
                Some(last) => (index.end, last.path.clone(), last.bytes, last.end > last.first),
                None => (index.end, options.dir.clone().into(), 0, false),
            }
        };
        let mut writer = Writer {
            options,
            disk,
            clock,
            index: resume.index,
            log_id: resume.log_id,
            file: resume.file,
            path,
            bytes,
            has_records,
            end,
            group_first: end,
            synced_to: end,
            at_us: resume.at_us,
            group_records: 0,
            group_rows: 0,
            buffer: Vec::new(),
            encoder: Encoder::default(),
            read_only: None,
            written: Written::default(),
        };
        if writer.file.is_none() {
            writer.next_segment(end)?;
        }
        Ok(writer)
    }

    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    pub(crate) fn at_us(&self) -> i64 {
        self.at_us
    }

    pub(crate) fn read_only(&self) -> Option<&Arc<str>> {
        self.read_only.as_ref()
    }

    /// Lets the log go on at `end`, which lies behind its end: nothing between was or will be written.
    pub(crate) fn jump(&mut self, end: Offset) -> Result<(), LogError> {
        self.seal()?;
        self.next_segment(end)
    }

    /// Begins a group.
    pub(crate) fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(2 * GROUP_BYTES);
        self.buffer.resize(FRAME_HEADER_BYTES, 0);
        self.group_first = self.end;
        self.group_records = 0;
        self.group_rows = 0;
        self.at_us = self.at_us.max(self.clock.now_us());
    }

    /// True if the group should be committed before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= GROUP_BYTES
    }

    /// Adds a record to the group. One of no rows is not written at all: it has no place in the log.
    ///
    /// # Errors
    /// As for the encoder; the group is as it was.
    pub(crate) fn add(&mut self, items: Vec<Item>, producer: Option<Producer>) -> Result<Record, LogError> {
        let record = Record { offset: self.end, at_us: self.at_us, producer, items };
        let len = record.len();
        if record.is_empty() {
            return Err(LogError::Empty);
        }
        if len > 0 {
            self.encoder.record(&record, &mut self.buffer)?;
            self.end = record.end();
            self.group_records += 1;
            self.group_rows += len;
        }
        Ok(record)
    }

    /// Writes the group and makes it durable. After an error nothing of it counts as written. Unless it is
    /// [`LogError::Full`], after which the group may be tried again, or given up ([`Writer::give_up`]), the log
    /// is read-only.
    ///
    /// # Errors
    /// [`LogError::Full`], [`LogError::ReadOnly`].
    pub(crate) fn commit(&mut self) -> Result<(), LogError> {
        if self.group_records == 0 {
            return self.check();
        }
        match self.check().and_then(|()| self.write_group()) {
            Err(error) if !matches!(error, LogError::Full { .. }) => Err(self.give_up(&error)),
            other => other,
        }
    }

    /// Says that all is durable, as the last thing before the process ends.
    pub(crate) fn close(&mut self) {
        self.begin();
        let closed = self.check().and_then(|()| self.seal()).and_then(|()| self.write_group());
        // Nothing was promised: the next start takes what is there.
        if let Err(error) = closed {
            tracing::warn!(%error, "the log was not closed in order");
        }
    }

    /// Removes the segments that end at or before `offset`, but for the one that is written to and for what
    /// the options keep.
    pub(crate) fn drop_before(&mut self, offset: Offset) {
        // Under a clock that was set back no segment would ever be old enough.
        let now_us = self.at_us.max(self.clock.now_us());
        loop {
            let path = {
                let index = self.index.lock();
                let [oldest, _, ..] = &index.segments[..] else { return };
                let total: u64 = index.segments.iter().map(|segment| segment.bytes).sum();
                let is_young = oldest.at_us > now_us.saturating_sub(self.options.keep_us);
                if oldest.end > offset || is_young || total <= self.options.keep_bytes {
                    return;
                }
                oldest.path.clone()
            };
            // One by one, oldest first and durably, so that no crash leaves a hole.
            let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.options.dir));
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "cannot drop a log segment");
                return;
            }
            self.index.lock().segments.remove(0);
        }
    }

    fn check(&self) -> Result<(), LogError> {
        match &self.read_only {
            Some(reason) => Err(LogError::ReadOnly { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Takes no more writes.
    pub(crate) fn give_up(&mut self, error: &LogError) -> LogError {
        self.end = self.group_first;
        let reason = self.read_only.get_or_insert_with(|| {
            tracing::error!(%error, "the log is read-only from now on");
            error.to_string().into()
        });
        LogError::ReadOnly { reason: reason.clone() }
    }

    fn write_group(&mut self) -> Result<(), LogError> {
        let frame_bytes = self.buffer.len() as u64;
        if self.has_records && self.bytes + frame_bytes > self.options.segment_bytes_max {
            self.seal()?;
            self.next_segment(self.group_first)?;
        }
        let body = &self.buffer[FRAME_HEADER_BYTES..];
        let header = FrameHeader {
            // At most FRAME_BODY_BYTES_MAX: a group takes no record more once it is full.
            body_bytes: body.len() as u32,
            records: self.group_records,
            first: self.group_first,
            end: self.end,
            synced_to: self.synced_to,
            at_us: self.at_us,
            log_id: self.log_id,
            body_crc: crc32c::crc32c(body),
        };
        self.buffer[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        let Some(file) = &mut self.file else {
            return Err(LogError::Io {
                action: "write to",
                path: self.path.display().to_string(),
                cause: "no segment is open".to_owned(),
            });
        };
        if let Err(error) = file.append(&self.buffer) {
            // A part of it may be there, and must not stand before what is written next.
            return Err(match LogError::is_full(&error) && file.truncate(self.bytes).is_ok() {
                true => LogError::full(&self.path, &error),
                false => LogError::io("write to", &self.path, &error),
            });
        }
        if self.options.durability == Durability::Synced {
            self.sync()?;
            self.synced_to = self.end;
        }
        self.written.frames += 1;
        self.written.bytes += frame_bytes;
        self.written.records += u64::from(self.group_records);
        self.written.rows += self.group_rows;
        let mut index = self.index.lock();
        if let Some(last) = index.segments.last_mut() {
            last.add(&header, self.bytes);
        }
        index.end = self.end;
        self.bytes += frame_bytes;
        self.has_records |= self.group_records > 0;
        Ok(())
    }

    /// Makes durable all that was committed before the group at hand.
    fn seal(&mut self) -> Result<(), LogError> {
        if self.synced_to < self.group_first {
            self.sync()?;
            self.synced_to = self.group_first;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let start = Instant::now();
        let synced = file.sync();
        self.written.syncs += 1;
        self.written.sync_us += u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        synced.map_err(|error| LogError::io("sync", &self.path, &error))
    }

    /// Makes the segment that begins at `first` and writes to it from here on.
    fn next_segment(&mut self, first: Offset) -> Result<(), LogError> {
        let previous_end = self.index.lock().end;
        let segment = Segment::new(&self.options.dir, first);
        // Never less than a record's: the segments before may go before a record is in this one.
        let at_us = self.at_us.max(self.clock.now_us());
        let header = SegmentHeader { first, previous_end, log_id: self.log_id, at_us }.encode();
        let path = segment.path.clone();
        let refused = |action, error: &std::io::Error| match LogError::is_full(error) {
            true => LogError::full(&path, error),
            false => LogError::io(action, &path, error),
        };
        let mut file = self.disk.create(&path).map_err(|error| refused("create", &error))?;
        if let Err(error) = file.append(&header) {
            drop(file);
            // Nothing of the log is in it, and its name is needed again.
            self.disk.remove(&path).map_err(|error| LogError::io("remove", &path, &error))?;
            return Err(refused("write to", &error));
        }
        file.sync().map_err(|error| LogError::io("sync", &path, &error))?;
        let dir = &self.options.dir;
        self.disk.sync_dir(dir).map_err(|error| LogError::io("sync", dir, &error))?;
        (self.path, self.bytes, self.has_records) = (path, segment.bytes, false);
        self.file = Some(file);
        if self.group_records == 0 {
            (self.end, self.group_first, self.synced_to) = (first, first, first);
        }
        let mut index = self.index.lock();
        index.end = first;
        index.segments.push(segment);
        Ok(())
    }
}
