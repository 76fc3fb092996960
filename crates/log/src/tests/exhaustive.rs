//! Every length and every bit: the valid prefix, or a named error, never other records.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use nowcast_disk::{Disk, MemDisk};
use nowcast_model::{ManualClock, Offset};

use super::{NOW_US, append, event, options, print, recovery::frames, rows, start};
use crate::{Log, LogOptions, Recovery};

/// A log in one segment: its file, and its records as printed, in order, with their offsets.
struct Written {
    path: PathBuf,
    bytes: Vec<u8>,
    records: Vec<(u64, Vec<u8>)>,
}

fn one_segment() -> LogOptions {
    LogOptions { segment_bytes_max: 1 << 20, ..options() }
}

/// A frame for each record.
fn written(records: u64, rows_of: fn(u64) -> usize) -> Written {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(one_segment(), &disk);
    for seed in 0..records {
        let items = if seed % 3 == 0 { vec![event()] } else { vec![rows(seed, rows_of(seed))] };
        append(&handle, items).unwrap();
    }
    let read = super::read_all(&handle, Offset::ZERO);
    handle.stop();
    let files = disk.files();
    let [(path, bytes)] = &files[..] else { panic!("{} files", files.len()) };
    let records = read.iter().map(|record| (record.offset.get(), print(record))).collect();
    Written { path: path.clone(), bytes: bytes.clone(), records }
}

/// What a start finds in `bytes`, and the records that it reads.
fn open(path: &Path, bytes: Vec<u8>) -> (Recovery, Vec<(u64, Vec<u8>)>) {
    let disk = MemDisk::new();
    disk.put(path, bytes);
    let disk: Arc<dyn Disk> = disk;
    let (log, recovery) = Log::open(one_segment(), disk, Arc::new(ManualClock::new(NOW_US))).unwrap();
    let records = log.read_from(recovery.first).unwrap().map(|record| record.unwrap());
    let records = records.map(|record| (record.offset.get(), print(&record))).collect();
    (recovery, records)
}

#[test]
fn a_log_cut_at_any_byte_keeps_what_is_whole() {
    let Written { path, bytes, records } = written(64, |_| 1);
    let frames = frames(&bytes);
    for len in 64..bytes.len() {
        let (recovery, read) = open(&path, bytes[..len].to_vec());
        let whole = frames.iter().filter(|(at, header)| at + header.total_bytes() as usize <= len).count();
        assert!(read == records[..whole.min(records.len())], "cut at {len}: {} records", read.len());
        let begins_here = len == 64 || frames.iter().any(|(at, _)| *at == len);
        assert_eq!(recovery.cut.is_some(), !begins_here, "cut at {len}");
        assert_eq!(recovery.damages, vec![], "cut at {len}");
    }
    // Shorter than its header, it never held a record.
    for len in 0..64 {
        let (recovery, read) = open(&path, bytes[..len].to_vec());
        assert_eq!((read.len(), recovery.damages), (0, vec![]), "cut at {len}");
    }
}

#[test]
fn every_bit_of_a_segment_that_turns_is_named() {
    let Written { path, bytes, records } = written(20, |seed| 3 + seed as usize % 18);
    assert!((7_000..9_000).contains(&bytes.len()), "{} bytes", bytes.len());
    let frames = frames(&bytes);
    for bit in 0..bytes.len() * 8 {
        let at = bit / 8;
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (bit % 8);
        let (recovery, read) = open(&path, changed);
        // The frame that was hit, if it is not the segment's header.
        let hit = frames.iter().rposition(|(from, _)| *from <= at);
        let kept = records.iter().enumerate().filter(|(index, _)| Some(*index) != hit);
        assert!(read.iter().eq(kept.map(|(_, record)| record)), "bit {bit}");
        match hit {
            // Of the last frame before the mark of the end, the mark proves that it was durable; of the mark
            // itself nothing does.
            Some(mark) if mark == records.len() => {
                assert!(recovery.cut.is_some() && recovery.damages.is_empty(), "bit {bit}");
            }
            _ => {
                let [damage] = &recovery.damages[..] else { panic!("bit {bit}: {recovery:?}") };
                assert!((damage.from..damage.to).contains(&(at as u64)), "bit {bit}: {damage:?}");
            }
        }
    }
}
