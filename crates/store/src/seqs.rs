//! A set of rows by their `_seq`: what later writes took away from a part.
//!
//! Blocks of 65,536 numbers, shared between snapshots: a commit copies the blocks that it adds to, never the
//! set. On disk it is a file of its own beside the part (see [`Seqs::encode`]).

use std::{collections::BTreeMap, sync::Arc};

const MAGIC: [u8; 8] = *b"NCDEAD\x01\0";
const BLOCK_BITS: u32 = 16;

/// A set of rows by their `_seq`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seqs {
    /// The upper 48 bits of a number to the lower 16 of each, ascending.
    blocks: BTreeMap<u64, Arc<Vec<u16>>>,
    len: u64,
}

impl Seqs {
    /// Numbers in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if `seq` is in the set.
    pub fn contains(&self, seq: u64) -> bool {
        self.blocks.get(&(seq >> BLOCK_BITS)).is_some_and(|block| block.binary_search(&low(seq)).is_ok())
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks
            .iter()
            .flat_map(|(high, block)| block.iter().map(move |&low| high << BLOCK_BITS | u64::from(low)))
    }

    /// Adds `seqs`, in any order; those that are in the set already change nothing.
    pub(crate) fn extend(&mut self, seqs: impl IntoIterator<Item = u64>) {
        let mut added: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
        for seq in seqs {
            added.entry(seq >> BLOCK_BITS).or_default().push(low(seq));
        }
        for (high, mut lows) in added {
            let block = Arc::make_mut(self.blocks.entry(high).or_default());
            self.len -= block.len() as u64;
            block.append(&mut lows);
            block.sort_unstable();
            block.dedup();
            self.len += block.len() as u64;
        }
    }

    /// `magic "NCDEAD" 1 0 · count u64 · seq u64… ascending · CRC32C u32` of all before, little-endian.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.len.to_le_bytes());
        self.iter().for_each(|seq| bytes.extend_from_slice(&seq.to_le_bytes()));
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// # Errors
    /// What is wrong with the bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Seqs, String> {
        let Some((body, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(format!("{} bytes are too few", bytes.len()));
        };
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err("the checksum does not match".to_owned());
        }
        let Some((count, seqs)) = body.strip_prefix(&MAGIC).and_then(|rest| rest.split_first_chunk::<8>())
        else {
            return Err("it does not begin as such a file does".to_owned());
        };
        let (seqs, rest) = seqs.as_chunks::<8>();
        if !rest.is_empty() || seqs.len() as u64 != u64::from_le_bytes(*count) {
            return Err("its length does not match its count".to_owned());
        }
        let mut set = Seqs::default();
        set.extend(seqs.iter().map(|seq| u64::from_le_bytes(*seq)));
        Ok(set)
    }
}

fn low(seq: u64) -> u16 {
    (seq & 0xffff) as u16
}
