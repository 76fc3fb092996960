//! A frame: the records of one group commit, written and synced as one.
//!
//! ```text
//! magic "NCFR" · version u16 · 0 u16 · body bytes u32 · records u32 · first offset u64 · end offset u64
//! · synced_to u64 · at_us i64 · log id u64 · body CRC32C u32 · header CRC32C u32 · record…
//! ```
//!
//! The header has 64 bytes and keeps this layout in every version, so that an older program can tell a newer
//! frame from a broken one. `end offset` is the first offset behind the frame, `at_us` the time of its last
//! record. `synced_to` says how far the log was durable when the frame was written: a reader that finds bytes
//! broken below a later frame's `synced_to` knows that they once were whole. `log id` keeps text that merely
//! looks like a frame, inside a record, from being taken for one when a reader looks for the next frame behind
//! a broken one: a client cannot know it. A frame of no records says nothing but `synced_to`; the log ends
//! with one when it is stopped in order.

use nowcast_model::{Offset, limits::RECORD_BYTES_MAX};

use crate::FormatError;

pub(crate) const FRAME_HEADER_BYTES: usize = 64;
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"NCFR";
pub(crate) const FRAME_VERSION: u16 = 1;

/// Records are added to a group until it has so many bytes: enough that a write costs little beside its sync,
/// little enough that nobody waits long for another's bytes.
pub(crate) const GROUP_BYTES: usize = 16 << 20;
/// A group begins its last record below [`GROUP_BYTES`].
pub(crate) const FRAME_BODY_BYTES_MAX: usize = GROUP_BYTES + RECORD_BYTES_MAX;

const _: () = assert!(FRAME_BODY_BYTES_MAX <= u32::MAX as usize);

/// What stands before a frame's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_bytes: u32,
    pub(crate) records: u32,
    pub(crate) first: Offset,
    pub(crate) end: Offset,
    pub(crate) synced_to: Offset,
    pub(crate) at_us: i64,
    pub(crate) log_id: u64,
    pub(crate) body_crc: u32,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) fn total_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..6].copy_from_slice(&FRAME_VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.records.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced_to.get().to_le_bytes());
        bytes[40..48].copy_from_slice(&self.at_us.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header that begins at byte `at` of its file. `log_id` is `None` if the log's is not known yet.
    ///
    /// # Errors
    /// In this order: magic, checksum, version, log, fields.
    pub(crate) fn decode(
        bytes: &[u8; FRAME_HEADER_BYTES],
        at: u64,
        log_id: Option<u64>,
    ) -> Result<FrameHeader, FormatError> {
        if bytes[0..4] != FRAME_MAGIC {
            return Err(FormatError::WrongMagic { found: u32_at(bytes, 0).into() });
        }
        if u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(FormatError::BadCrc { at });
        }
        let version = u16_at(bytes, 4);
        let header = FrameHeader {
            body_bytes: u32_at(bytes, 8),
            records: u32_at(bytes, 12),
            first: Offset::new(u64_at(bytes, 16)),
            end: Offset::new(u64_at(bytes, 24)),
            synced_to: Offset::new(u64_at(bytes, 32)),
            at_us: u64_at(bytes, 40) as i64,
            log_id: u64_at(bytes, 48),
            body_crc: u32_at(bytes, 56),
        };
        if let Some(expected) = log_id.filter(|&id| id != header.log_id) {
            return Err(FormatError::OtherLog { found: header.log_id, expected });
        }
        if version > FRAME_VERSION {
            return Err(FormatError::NewerVersion { found: version, known: FRAME_VERSION });
        }
        let body = header.body_bytes as usize;
        if body > FRAME_BODY_BYTES_MAX || !body.is_multiple_of(8) {
            return Err(FormatError::BadField { field: "frame.body_bytes", value: body as u64 });
        }
        if header.end < header.first || (header.records == 0) != (header.end == header.first) {
            return Err(FormatError::BadField { field: "frame.end_offset", value: header.end.get() });
        }
        if header.synced_to > header.first {
            return Err(FormatError::BadField { field: "frame.synced_to", value: header.synced_to.get() });
        }
        Ok(header)
    }

    /// Holds `body` against the checksum.
    pub(crate) fn check_body(&self, body: &[u8], at: u64) -> Result<(), FormatError> {
        if crc32c::crc32c(body) == self.body_crc { Ok(()) } else { Err(FormatError::BadCrc { at }) }
    }
}

/// Callers pass constant places inside fixed headers.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
