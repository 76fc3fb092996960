//! gzip of a message whose first bytes differ from viewer to viewer, with the rest compressed once.
//!
//! A deflate stream is a row of blocks, and a gzip's checksum can be combined from those of its parts. So a
//! message is: the header of gzip, its head as a stored block, the blocks of the tail as they were compressed,
//! and the checksum and length of both.
//!
//! ```text
//! 1f 8b 08 00 00000000 00 ff │ 00 len ~len head │ the tail's blocks … │ crc32 isize
//! ```

use std::io;

use crc32fast::Hasher;
use flate2::{Compression, write::DeflateEncoder};

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compressed bytes that others can be put before.
#[derive(Debug)]
pub(crate) struct Deflated {
    blocks: Vec<u8>,
    crc: Hasher,
    len: usize,
}

impl Deflated {
    /// Compresses `bytes`.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Deflated> {
        let mut crc = Hasher::new();
        crc.update(bytes);
        let mut encoder = DeflateEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::fast());
        io::Write::write_all(&mut encoder, bytes)?;
        let mut blocks = encoder.finish()?;
        blocks.shrink_to_fit();
        Ok(Deflated { blocks, crc, len: bytes.len() })
    }

    /// Bytes before compression.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that are held.
    pub(crate) fn bytes_held(&self) -> usize {
        self.blocks.len()
    }

    /// The gzip of `head`, which is short, and the compressed bytes.
    pub(crate) fn behind(&self, head: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER.len() + 5 + head.len() + self.blocks.len() + 8);
        out.extend_from_slice(&HEADER);
        let mut crc = Hasher::new();
        for stored in head.chunks(usize::from(u16::MAX)) {
            crc.update(stored);
            // A chunk is no longer than its length's type holds.
            let len = u16::try_from(stored.len()).unwrap_or(u16::MAX);
            out.push(0);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&(!len).to_le_bytes());
            out.extend_from_slice(stored);
        }
        crc.combine(&self.crc);
        out.extend_from_slice(&self.blocks);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        // The length modulo 2^32, as the format has it.
        #[allow(clippy::cast_possible_truncation)]
        let len = (head.len() + self.len) as u32;
        out.extend_from_slice(&len.to_le_bytes());
        out
    }
}
