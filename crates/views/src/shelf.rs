//! One side of a join: its rows by key, each with the number of its partners.
//!
//! **State.** Rows lie as columns in *chunks*, one for each delta that brought some. A row has a *slot*: where it
//! lies, its neighbours with the same key (a list through the slots, entered by `by_key`), and how many partners
//! it has. `by_id` finds the slot of a row that goes, however many rows share its key.
//!
//! **How a write goes.** [`Shelf::open`] takes a delta's columns as they are; [`Shelf::insert`] gives a row a
//! slot, [`Shelf::remove`] takes one away; [`Shelf::close`] throws out what holds no rows and merges small
//! chunks, so that a thousand writes of one row are a few arrays, and a row is copied a logarithmic number of
//! times. A chunk of which more than half is gone is rewritten.
//!
//! **What bounds it.** The view's bytes: [`Shelf::bytes`] counts columns, keys and slots.

use ahash::AHashMap;
use arrow::{
    array::{Array, ArrayRef, UInt32Array, new_null_array},
    compute::{interleave, take},
};

use crate::{ViewError, window::column_bytes};

/// Chunks are merged up to this many rows.
const CHUNK_ROWS_MAX: usize = 65_536;

/// No slot, no row.
const NONE: u32 = u32::MAX;

/// Bytes of a row beside its columns: the slot, and the entry of its identity in a map.
const ROW_BYTES: usize = size_of::<Slot>() + 72;

/// Bytes of a key's entry in a map, beside its text.
const KEY_BYTES: usize = 56;

#[derive(Debug, Clone, Copy)]
struct Slot {
    chunk: u32,
    row: u32,
    prev: u32,
    next: u32,
    /// Partners on the other side.
    count: u32,
}

#[derive(Default)]
struct Chunk {
    columns: Vec<ArrayRef>,
    /// The slot of each row; [`NONE`] once it went.
    slots: Vec<u32>,
    live: usize,
    bytes: usize,
    /// False for one that waits to be used again.
    used: bool,
}

/// See the module's story.
#[derive(Default)]
pub(crate) struct Shelf {
    chunks: Vec<Chunk>,
    free_chunks: Vec<u32>,
    /// Chunks that may still be merged, in the order in which they came.
    small: Vec<u32>,
    /// Chunks of which half or more went.
    sparse: Vec<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: AHashMap<Box<[u8]>, u32>,
    by_id: AHashMap<Box<[u8]>, u32>,
    bytes: usize,
}

/// The slots with one key.
pub(crate) struct Matches<'a> {
    shelf: &'a Shelf,
    next: u32,
}

impl Iterator for Matches<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let slot = self.next;
        if slot == NONE {
            return None;
        }
        self.next = self.shelf.slots[slot as usize].next;
        Some(slot)
    }
}

impl Shelf {
    /// The rows with a key.
    pub(crate) fn matches(&self, key: &[u8]) -> Matches<'_> {
        Matches { shelf: self, next: self.by_key.get(key).copied().unwrap_or(NONE) }
    }

    /// The number of a row's partners.
    pub(crate) fn count(&mut self, slot: u32) -> &mut u32 {
        &mut self.slots[slot as usize].count
    }

    /// Begins a delta of `rows` rows; answers with its chunk.
    pub(crate) fn open(&mut self, columns: Vec<ArrayRef>, rows: usize) -> u32 {
        let chunk = Chunk { columns, slots: vec![NONE; rows], live: 0, bytes: 0, used: true };
        match self.free_chunks.pop() {
            Some(free) => {
                self.chunks[free as usize] = chunk;
                free
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() as u32 - 1
            }
        }
    }

    /// Keeps row `row` of an open chunk.
    pub(crate) fn insert(&mut self, chunk: u32, row: u32, key: &[u8], id: &[u8], count: u32) {
        // A row that is there already would be counted twice.
        self.remove(key, id);
        let made = Slot { chunk, row, prev: NONE, next: NONE, count };
        let slot = match self.free.pop() {
            Some(free) => {
                self.slots[free as usize] = made;
                free
            }
            None => {
                self.slots.push(made);
                self.slots.len() as u32 - 1
            }
        };
        let kept = &mut self.chunks[chunk as usize];
        kept.slots[row as usize] = slot;
        kept.live += 1;
        self.bytes += ROW_BYTES;
        match self.by_key.get_mut(key) {
            Some(head) => {
                let old = std::mem::replace(head, slot);
                self.slots[slot as usize].next = old;
                self.slots[old as usize].prev = slot;
            }
            None => {
                self.bytes += KEY_BYTES + key.len();
                self.by_key.insert(key.into(), slot);
            }
        }
        self.by_id.insert(id.into(), slot);
    }

    /// Lets go of a row.
    pub(crate) fn remove(&mut self, key: &[u8], id: &[u8]) {
        let Some(slot) = self.by_id.remove(id) else { return };
        let Slot { chunk, row, prev, next, .. } = self.slots[slot as usize];
        if next != NONE {
            self.slots[next as usize].prev = prev;
        }
        if prev != NONE {
            self.slots[prev as usize].next = next;
        } else if next != NONE {
            if let Some(head) = self.by_key.get_mut(key) {
                *head = next;
            }
        } else if self.by_key.remove(key).is_some() {
            self.bytes -= (KEY_BYTES + key.len()).min(self.bytes);
        }
        let kept = &mut self.chunks[chunk as usize];
        kept.slots[row as usize] = NONE;
        kept.live -= 1;
        if kept.live * 2 <= kept.slots.len() {
            self.sparse.push(chunk);
        }
        self.free.push(slot);
        self.bytes -= ROW_BYTES.min(self.bytes);
    }

    /// Ends a delta.
    pub(crate) fn close(&mut self, chunk: u32) -> Result<(), ViewError> {
        let mut sparse = std::mem::take(&mut self.sparse);
        sparse.push(chunk);
        sparse.sort_unstable();
        sparse.dedup();
        for chunk in sparse {
            self.tidy(chunk)?;
        }
        if self.chunks[chunk as usize].used {
            let bytes = self.chunks[chunk as usize].column_bytes();
            self.set_bytes(chunk, bytes);
            self.small.push(chunk);
        }
        while let [.., a, b] = self.small[..] {
            let (first, second) = (self.chunks[a as usize].live, self.chunks[b as usize].live);
            if first > 2 * second || first + second > CHUNK_ROWS_MAX {
                break;
            }
            self.merge(a, b)?;
        }
        Ok(())
    }

    /// Lets go of a chunk without rows, and rewrites one with few.
    fn tidy(&mut self, chunk: u32) -> Result<(), ViewError> {
        let kept = &self.chunks[chunk as usize];
        if !kept.used || (kept.live > 0 && kept.live * 2 > kept.slots.len()) {
            return Ok(());
        }
        if kept.live == 0 {
            self.small.retain(|small| *small != chunk);
            self.let_go(chunk);
            return Ok(());
        }
        let live: Vec<u32> =
            (0..kept.slots.len() as u32).filter(|&row| kept.slots[row as usize] != NONE).collect();
        let slots: Vec<u32> = live.iter().map(|&row| kept.slots[row as usize]).collect();
        let live = UInt32Array::from(live);
        let columns = kept.columns.iter().map(|c| take(c, &live, None)).collect::<Result<Vec<_>, _>>()?;
        self.place(chunk, columns, slots);
        Ok(())
    }

    fn let_go(&mut self, chunk: u32) {
        self.set_bytes(chunk, 0);
        self.chunks[chunk as usize] = Chunk::default();
        self.free_chunks.push(chunk);
    }

    fn merge(&mut self, a: u32, b: u32) -> Result<(), ViewError> {
        let (mut places, mut slots) = (Vec::new(), Vec::new());
        for (side, id) in [a, b].into_iter().enumerate() {
            for (row, &slot) in self.chunks[id as usize].slots.iter().enumerate() {
                if slot != NONE {
                    places.push((side, row));
                    slots.push(slot);
                }
            }
        }
        let (first, second) = (&self.chunks[a as usize].columns, &self.chunks[b as usize].columns);
        let pairs = first.iter().zip(second);
        let columns = pairs
            .map(|(first, second)| interleave(&[first.as_ref(), second.as_ref()], &places))
            .collect::<Result<Vec<_>, _>>()?;
        self.small.pop();
        self.let_go(b);
        self.place(a, columns, slots);
        Ok(())
    }

    /// Puts rows in place of a chunk's.
    fn place(&mut self, chunk: u32, columns: Vec<ArrayRef>, slots: Vec<u32>) {
        for (row, &slot) in slots.iter().enumerate() {
            let slot = &mut self.slots[slot as usize];
            (slot.chunk, slot.row) = (chunk, row as u32);
        }
        let (live, bytes) = (slots.len(), self.chunks[chunk as usize].bytes);
        let made = Chunk { columns, slots, live, bytes, used: true };
        let bytes = made.column_bytes();
        self.chunks[chunk as usize] = made;
        self.set_bytes(chunk, bytes);
    }

    fn set_bytes(&mut self, chunk: u32, bytes: usize) {
        let known = &mut self.chunks[chunk as usize].bytes;
        self.bytes = (self.bytes + bytes).saturating_sub(*known);
        *known = bytes;
    }

    /// The columns of some rows; `None` is NULL in all of them. `empty` tells the types.
    pub(crate) fn gather(
        &self,
        slots: &[Option<u32>],
        empty: &[ArrayRef],
    ) -> Result<Vec<ArrayRef>, ViewError> {
        let mut used: Vec<u32> = Vec::new();
        let mut numbers: AHashMap<u32, usize> = AHashMap::new();
        let mut place = |slot: &Option<u32>| {
            let Some(slot) = slot else { return (0, 0) };
            let Slot { chunk, row, .. } = self.slots[*slot as usize];
            let number = *numbers.entry(chunk).or_insert_with(|| {
                used.push(chunk);
                used.len()
            });
            (number, row as usize)
        };
        let places: Vec<(usize, usize)> = slots.iter().map(&mut place).collect();
        let column = |(at, empty): (usize, &ArrayRef)| {
            let null = new_null_array(empty.data_type(), 1);
            let chunks = used.iter().map(|&chunk| self.chunks[chunk as usize].columns[at].as_ref());
            let arrays: Vec<&dyn Array> = [null.as_ref()].into_iter().chain(chunks).collect();
            Ok(interleave(&arrays, &places)?)
        };
        empty.iter().enumerate().map(column).collect()
    }

    /// All slots that hold a row.
    pub(crate) fn live(&self) -> Vec<(u32, u32)> {
        let chunks = self.chunks.iter().flat_map(|chunk| &chunk.slots);
        chunks.filter(|&&slot| slot != NONE).map(|&slot| (slot, self.slots[slot as usize].count)).collect()
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Chunk {
    fn column_bytes(&self) -> usize {
        let rows = self.slots.len();
        self.columns.iter().map(|column| column_bytes(column, rows)).sum::<usize>() + 4 * rows + 128
    }
}
