//! Checksums of a part's bytes.
//!
//! ```text
//! data                         row groups, as Parquet writes them
//! tail  magic "NCSUMS\x01\0" · block bytes u32 · blocks u32 · CRC32C u32 ×blocks · page indexes · footer
//! ```
//!
//! The data is covered block by block, so that a reader of a few columns checks what it reads and not much more;
//! the tail, which holds those sums and everything by which Parquet finds its way, is covered as a whole by a
//! sum in the manifest, which has one of its own. All numbers are little-endian. Other readers go by the
//! footer, which names the places of what it knows, and do not see the sums.

use std::io;

use nowcast_disk::DiskFile;

/// Bytes that have one checksum: a page of a column chunk is about as large.
const BLOCK_BYTES: u64 = 32_768;

/// Bytes of a file that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"NCSUMS\x01\0";
const HEADER_BYTES: usize = 16;

/// Where a part's tail begins, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) from: u64,
    pub(crate) crc: u32,
}

/// Checksums of the data's blocks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    block_bytes: u64,
    crcs: Vec<u32>,
}

impl Sums {
    /// Reads the sums at the beginning of a tail.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(tail: &[u8], data_bytes: u64) -> Result<Sums, String> {
        let (header, rest) = tail.split_first_chunk::<HEADER_BYTES>().ok_or("the tail is too short")?;
        if header[..8] != MAGIC {
            return Err("the tail does not begin with checksums".to_owned());
        }
        let number =
            |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let (Some(block_bytes), Some(blocks)) = (number(8).filter(|&bytes| bytes > 0), number(12)) else {
            return Err("the checksums have blocks of no bytes".to_owned());
        };
        let block_bytes = u64::from(block_bytes);
        let (crcs, _) = rest.as_chunks::<4>();
        if u64::from(blocks) != data_bytes.div_ceil(block_bytes) || crcs.len() < blocks as usize {
            return Err(format!("{blocks} checksums do not cover {data_bytes} bytes"));
        }
        let crcs = crcs[..blocks as usize].iter().map(|crc| u32::from_le_bytes(*crc)).collect();
        Ok(Sums { block_bytes, crcs })
    }

    /// The first byte of the block that holds `at`, and the first behind the one that holds the byte before
    /// `end`.
    pub(crate) fn span(&self, at: u64, end: u64, data_bytes: u64) -> (u64, u64) {
        let last = end.div_ceil(self.block_bytes).saturating_mul(self.block_bytes);
        (at / self.block_bytes * self.block_bytes, last.min(data_bytes))
    }

    /// Holds the blocks that begin at `from`, a block's beginning, against their checksums.
    ///
    /// # Errors
    /// The first byte and the one behind the last of a block that does not fit.
    pub(crate) fn check(&self, from: u64, bytes: &[u8]) -> Result<(), (u64, u64)> {
        let first = from / self.block_bytes;
        for (index, block) in (first..).zip(bytes.chunks(self.block_bytes as usize)) {
            let expected = usize::try_from(index).ok().and_then(|index| self.crcs.get(index));
            if expected != Some(&crc32c::crc32c(block)) {
                let at = index * self.block_bytes;
                return Err((at, at + block.len() as u64));
            }
        }
        Ok(())
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.crcs.len() * 4
    }
}

/// A file that is written from front to back, summed on the way.
pub(crate) struct SummedFile {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Bytes written so far, those in the buffer included.
    len: u64,
    crcs: Vec<u32>,
    /// Of the block at hand, or of the tail.
    crc: u32,
    tail_from: Option<u64>,
}

impl SummedFile {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> SummedFile {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        SummedFile { file, buffer, len: 0, crcs: Vec::new(), crc: 0, tail_from: None }
    }

    /// Ends the data; what is to be written next is returned: the beginning of the tail.
    pub(crate) fn end_data(&mut self) -> Vec<u8> {
        if !self.len.is_multiple_of(BLOCK_BYTES) {
            self.crcs.push(self.crc);
        }
        (self.crc, self.tail_from) = (0, Some(self.len));
        let mut sums = MAGIC.to_vec();
        // A part has at most some million rows: its blocks are counted in far less than 32 bits.
        for number in [BLOCK_BYTES as u32, self.crcs.len() as u32].iter().chain(&self.crcs) {
            sums.extend_from_slice(&number.to_le_bytes());
        }
        sums
    }

    /// Makes all of it durable. Answers the file's length and its tail.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn finish(mut self) -> io::Result<(u64, Tail)> {
        io::Write::flush(&mut self)?;
        self.file.sync()?;
        Ok((self.len, Tail { from: self.tail_from.unwrap_or(self.len), crc: self.crc }))
    }
}

impl io::Write for SummedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while self.tail_from.is_none() && !rest.is_empty() {
            let left = BLOCK_BYTES - self.len % BLOCK_BYTES;
            let (here, behind) = rest.split_at(rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.crc = crc32c::crc32c_append(self.crc, here);
            self.len += here.len() as u64;
            if self.len.is_multiple_of(BLOCK_BYTES) {
                self.crcs.push(std::mem::take(&mut self.crc));
            }
            rest = behind;
        }
        self.crc = crc32c::crc32c_append(self.crc, rest);
        self.len += rest.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            io::Write::flush(self)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
