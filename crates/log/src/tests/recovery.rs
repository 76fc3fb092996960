//! Starts after crashes and on broken disks, one named case each.

use std::{path::Path, sync::Arc};

use nowcast_disk::{Dice, MemDisk};
use nowcast_model::{ManualClock, Offset};

use super::{append, event, open, options, print, print_items, read_all, relaxed, rows, start};
use crate::{
    Durability, FormatError, Log, LogError, LogOptions,
    frame::{FRAME_HEADER_BYTES, FrameHeader},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, file_name},
};

/// The frames of a file: where each begins, and its header.
pub(super) fn frames(bytes: &[u8]) -> Vec<(usize, FrameHeader)> {
    let mut at = SEGMENT_HEADER_BYTES;
    let mut frames = Vec::new();
    while let Some(header) = bytes.get(at..at + FRAME_HEADER_BYTES) {
        let header = FrameHeader::decode(header.try_into().unwrap(), 0, None).unwrap();
        frames.push((at, header));
        at += header.total_bytes() as usize;
    }
    frames
}

/// A log of records of ten rows, a frame each, that was stopped in order.
fn written(options: LogOptions, records: u64) -> Arc<MemDisk> {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options, &disk);
    for seed in 0..records {
        append(&handle, vec![rows(seed, 10)]).unwrap();
    }
    handle.stop();
    disk
}

fn segments(disk: &MemDisk) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    disk.files().into_iter().filter(|(path, _)| path.parent() == Some(Path::new("/log"))).collect()
}

fn offsets_read(options: LogOptions, disk: &Arc<MemDisk>) -> Vec<u64> {
    let (handle, _tail, _) = start(options, disk);
    let records = read_all(&handle, handle.status().first);
    for record in &records {
        assert_eq!(print(record), print_items(record.offset, &[rows(record.offset.get() / 10, 10)]));
    }
    // It would write its last mark while the next looks.
    handle.stop();
    records.iter().map(|record| record.offset.get()).collect()
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let disk = written(LogOptions { segment_bytes_max: 1 << 20, ..options() }, 3);
    let (path, bytes) = segments(&disk).remove(0);
    let frames = frames(&bytes);
    // The fourth frame is the mark of an orderly stop; without it, the third is the last.
    let (third, end) = (frames[2].0, frames[3].0);
    for len in third..end {
        let torn = MemDisk::new();
        torn.put(&path, bytes[..len].to_vec());
        let (log, recovery) = open(options(), &torn).unwrap();
        assert_eq!((log.end().get(), recovery.damages), (20, vec![]));
        assert_eq!(
            recovery.cut.map(|cut| (cut.at, cut.bytes)),
            (len > third).then_some((third as u64, (len - third) as u64))
        );
        assert_eq!(segments(&torn)[0].1.len(), third);
    }
    // A torn tail of zeros, and one whose middle is missing.
    for fill in [end..end, third + 70..third + 90, third..third + 8] {
        let torn = MemDisk::new();
        let mut bytes = bytes[..end].to_vec();
        bytes[fill.clone()].fill(0);
        bytes.extend([0; 100]);
        torn.put(&path, bytes);
        let (log, recovery) = open(options(), &torn).unwrap();
        assert_eq!(log.end().get(), if fill.is_empty() { 30 } else { 20 });
        assert!(recovery.cut.is_some() && recovery.damages.is_empty());
    }
}

#[test]
fn every_flipped_bit_is_named_and_costs_one_frame_at_most() {
    let options = LogOptions { segment_bytes_max: 1_200, ..options() };
    let disk = written(options.clone(), 8);
    let files = segments(&disk);
    assert!(files.len() > 2);
    let all: Vec<u64> = (0..8).map(|record| record * 10).collect();
    for (path, bytes) in &files {
        let frames = frames(bytes);
        for at in (0..bytes.len()).step_by(3) {
            let broken = disk.crash(&mut Dice(0));
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            broken.put(path, changed.clone());
            let (log, recovery) = open(options.clone(), &broken).unwrap_or_else(|e| panic!("{at}: {e}"));
            drop(log);
            let hit = frames.iter().rev().find(|(from, _)| *from <= at).map(|(_, header)| *header);
            let lost = hit.filter(|header| header.records > 0);
            let is_last_mark =
                path == &files.last().unwrap().0 && hit.is_some_and(|header| header.records == 0);
            if is_last_mark {
                // Nobody's record: as good as a torn tail.
                assert!(recovery.cut.is_some() && recovery.damages.is_empty(), "{at}");
            } else {
                assert_eq!((recovery.damages.len(), &recovery.cut), (1, &None), "{at}");
                let damage = &recovery.damages[0];
                assert!((damage.from..damage.to).contains(&(at as u64)), "{at}: {damage:?}");
                let aside = damage.quarantine.clone().unwrap();
                let (_, copy) = broken.files().into_iter().find(|(path, _)| *path == aside).unwrap();
                assert_eq!(copy, changed[damage.from as usize..damage.to as usize]);
                if let Some(lost) = lost {
                    assert_eq!((damage.first, damage.end), (lost.first, lost.end), "{at}");
                }
            }
            let expected: Vec<u64> =
                all.iter().copied().filter(|&o| lost.is_none_or(|lost| o != lost.first.get())).collect();
            assert_eq!(offsets_read(options.clone(), &broken), expected, "{at}");
            // It is found again at the next start, and nothing else.
            let (_, again) = open(options.clone(), &broken).unwrap();
            assert_eq!(again.damages, recovery.damages, "{at}");
        }
    }
}

#[test]
fn a_log_that_is_damaged_goes_on() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ..options() };
    let disk = written(options.clone(), 4);
    let (path, mut bytes) = segments(&disk).remove(0);
    let at = frames(&bytes)[1].0 + 100;
    bytes[at] ^= 4;
    disk.put(&path, bytes);
    let (handle, mut tail, recovery) = start(options.clone(), &disk);
    assert_eq!((recovery.damages[0].first.get(), recovery.damages[0].end.get()), (10, 20));
    assert_eq!(append(&handle, vec![event()]).unwrap().offset.get(), 40);
    assert_eq!(super::drain(&mut tail, Offset::new(41)).len(), 1);
    let offsets: Vec<u64> = read_all(&handle, Offset::ZERO).iter().map(|r| r.offset.get()).collect();
    assert_eq!(offsets, [0, 20, 30, 40]);
    // From inside of what is lost, the next record comes.
    assert_eq!(read_all(&handle, Offset::new(15))[0].offset.get(), 20);
}

#[test]
fn several_damages_are_named_each() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ..options() };
    let disk = written(options.clone(), 9);
    let (path, mut bytes) = segments(&disk).remove(0);
    for frame in [1, 2, 5] {
        let at = frames(&segments(&disk)[0].1)[frame].0;
        bytes[at + 80] ^= 1;
    }
    disk.put(&path, bytes);
    let (_, recovery) = open(options.clone(), &disk).unwrap();
    let lost: Vec<_> = recovery.damages.iter().map(|d| (d.first.get(), d.end.get())).collect();
    assert_eq!(lost, [(10, 30), (50, 60)]);
    assert_eq!(offsets_read(options, &disk), [0, 30, 40, 60, 70, 80]);
}

#[test]
fn a_missing_segment_is_named() {
    let disk = written(options(), 40);
    let files = segments(&disk);
    assert!(files.len() > 3);
    disk.delete(&files[1].0);
    let (log, recovery) = open(options(), &disk).unwrap();
    let first = |index: usize| SegmentHeader::decode(files[index].1[..64].try_into().unwrap()).unwrap().first;
    assert_eq!((recovery.damages[0].first, recovery.damages[0].end), (first(1), first(2)));
    assert_eq!(recovery.damages[0].quarantine, None);
    assert_eq!(log.end().get(), 400);
    assert_eq!(offsets_read(options(), &disk).len(), 40 - (first(2).get() - first(1).get()) as usize / 10);
}

#[test]
fn a_segment_that_was_cut_short_is_named() {
    let disk = written(options(), 40);
    let (path, bytes) = segments(&disk).remove(1);
    let frames = frames(&bytes);
    for (len, whole) in [(frames[2].0, 2), (frames[2].0 + 9, 2), (64, 0), (30, 0), (0, 0)] {
        let broken = disk.crash(&mut Dice(1));
        broken.put(&path, bytes[..len].to_vec());
        let (log, recovery) = open(options(), &broken).unwrap();
        assert_eq!((log.end().get(), recovery.cut), (400, None));
        let first_lost = frames[whole].1.first;
        let lost = recovery.damages.iter().find(|d| d.first == first_lost && d.end > d.first);
        assert_eq!(lost.unwrap().end, frames.last().unwrap().1.end, "{len}");
        drop(log);
        assert_eq!(offsets_read(options(), &broken).len(), 40 - (frames.len() - whole), "{len}");
    }
}

#[test]
fn a_segment_whose_making_was_interrupted_is_finished() {
    for len in [0, 1, 63] {
        let disk = written(options(), 5);
        let header =
            SegmentHeader { first: Offset::new(50), previous_end: Offset::new(50), log_id: 1, at_us: 0 };
        disk.put(&Path::new("/log").join(file_name(Offset::new(50))), header.encode()[..len].to_vec());
        let (log, recovery) = open(options(), &disk).unwrap();
        assert_eq!((log.end().get(), recovery.damages, recovery.segments), (50, vec![], 2));
        drop(log);
        assert_eq!(offsets_read(options(), &disk).len(), 5);
        let (_, bytes) = segments(&disk).pop().unwrap();
        let made = SegmentHeader::decode(bytes[..64].try_into().unwrap()).unwrap();
        assert_eq!((made.first.get(), made.previous_end.get()), (50, 50));
    }
}

#[test]
fn newer_versions_and_other_logs_are_refused_untouched() {
    let disk = written(options(), 40);
    let files = segments(&disk);
    let with = |from: usize, change: &dyn Fn(&mut [u8])| {
        let broken = disk.crash(&mut Dice(2));
        let mut bytes = files[1].1.clone();
        change(&mut bytes[from..]);
        let crc = crc32c::crc32c(&bytes[from..from + 60]);
        bytes[from + 60..from + 64].copy_from_slice(&crc.to_le_bytes());
        // A torn tail besides: even that must stay.
        let mut last = files.last().unwrap().clone();
        last.1.extend([7; 99]);
        broken.put(&last.0, last.1);
        broken.put(&files[1].0, bytes);
        let before = broken.files();
        let error = open(options(), &broken).map(|_| ()).unwrap_err();
        assert_eq!(broken.files(), before);
        let LogError::Corrupt { cause, at, .. } = error else { panic!("{error}") };
        assert_eq!(at, from as u64);
        cause
    };
    let newer = FormatError::NewerVersion { found: 2, known: 1 };
    assert_eq!(with(0, &|bytes| bytes[8] = 2), newer);
    assert_eq!(with(frames(&files[1].1)[1].0, &|bytes| bytes[4] = 2), newer);
    assert!(matches!(with(0, &|bytes| bytes[33] ^= 1), FormatError::OtherLog { .. }));
    assert!(matches!(with(0, &|bytes| bytes[17] ^= 1), FormatError::OutOfOrder { .. }));
}

#[test]
fn text_that_looks_like_a_frame_is_not_one() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ..relaxed() };
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options.clone(), &disk);
    append(&handle, vec![event()]).unwrap();
    // What a client that knows the format but not the log's id can write: a frame whose `synced_to` would
    // make an error of every torn tail.
    let forged = FrameHeader {
        body_bytes: 0,
        records: 0,
        first: Offset::new(1_000),
        end: Offset::new(1_000),
        synced_to: Offset::new(1_000),
        at_us: 0,
        log_id: 0x1234,
        body_crc: 0,
    };
    handle.stop();
    let (path, mut bytes) = segments(&disk).remove(0);
    bytes.extend([0; 64]);
    bytes.extend(forged.encode());
    disk.put(&path, bytes.clone());
    let (_, recovery) = open(options, &disk).unwrap();
    assert!(recovery.damages.is_empty());
    assert_eq!(recovery.cut.unwrap().bytes, 128);
}

#[test]
fn frames_that_were_never_synced_are_cut_behind_a_hole() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ..relaxed() };
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options.clone(), &disk);
    for seed in 0..5 {
        append(&handle, vec![rows(seed, 10)]).unwrap();
    }
    let (path, mut bytes) = segments(&disk).remove(0);
    let second = frames(&bytes)[1].0;
    bytes[second..second + 64].fill(0);
    let after = MemDisk::new();
    after.put(&path, bytes);
    let (_, recovery) = open(options.clone(), &after).unwrap();
    assert_eq!((recovery.end.get(), recovery.damages.len()), (10, 0));
    assert_eq!(offsets_read(options, &after), [0]);
}

#[test]
fn damage_stays_damage_when_a_crash_follows_the_making_of_a_segment() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ..relaxed() };
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options.clone(), &disk);
    for seed in 0..4 {
        append(&handle, vec![rows(seed, 10)]).unwrap();
    }
    // Nothing in the frames says that they were durable; the name of the segment that was being made does.
    let (path, mut bytes) = segments(&disk).remove(0);
    let second = frames(&bytes)[1].0;
    bytes[second + 70] ^= 1;
    let broken = MemDisk::new();
    broken.put(&path, bytes);
    broken.put(&Path::new("/log").join(file_name(Offset::new(40))), vec![0; 20]);
    for _ in 0..2 {
        let (_, recovery) = open(options.clone(), &broken).unwrap();
        assert_eq!((recovery.end.get(), recovery.cut, recovery.damages.len()), (40, None, 1));
        assert_eq!((recovery.damages[0].first.get(), recovery.damages[0].end.get()), (10, 20));
    }
    assert_eq!(offsets_read(options, &broken), [0, 20, 30]);
}

#[test]
fn a_segment_of_which_nothing_is_left_is_put_aside() {
    let options = LogOptions { segment_bytes_max: 1 << 20, ..options() };
    let disk = written(options.clone(), 1);
    let (path, mut bytes) = segments(&disk).remove(0);
    // Header and only frame broken, and the mark of the end gone.
    let end = frames(&bytes)[1].0;
    bytes.truncate(end);
    bytes[40] ^= 1;
    bytes[90] ^= 1;
    let broken = MemDisk::new();
    broken.put(&path, bytes);
    for _ in 0..2 {
        let (log, recovery) = open(options.clone(), &broken).unwrap();
        assert_eq!((log.end().get(), recovery.end.get()), (0, 0), "{recovery:?}");
    }
    let aside = broken.files().into_iter().filter(|(path, _)| path.starts_with("/log/quarantine"));
    assert!(aside.count() > 0);
}

#[test]
fn headers_that_contradict_each_other_are_refused_untouched() {
    let disk = written(options(), 40);
    let files = segments(&disk);
    // A segment with a broken header that begins inside of the one before it.
    let mut inside = files[2].clone();
    inside.1[33] ^= 1;
    let first = SegmentHeader::decode(files[1].1[..64].try_into().unwrap()).unwrap().first;
    disk.put(&Path::new("/log").join(file_name(Offset::new(first.get() + 1))), inside.1);
    let before = disk.files();
    assert!(matches!(
        open(options(), &disk),
        Err(LogError::Corrupt { cause: FormatError::OutOfOrder { .. }, .. })
    ));
    assert_eq!(disk.files(), before);
    let header = SegmentHeader { first: Offset::new(5), previous_end: Offset::new(6), log_id: 1, at_us: 0 };
    let error = SegmentHeader::decode(&header.encode()).unwrap_err();
    assert_eq!(error, FormatError::BadField { field: "segment.previous_end", value: 6 });
}

#[test]
fn a_log_that_does_not_hold_what_is_needed_is_refused_untouched() {
    let disk = written(options(), 40);
    let needs = |from, to| LogOptions { needed: Some(Offset::new(from)..Offset::new(to)), ..options() };
    assert!(Log::open(needs(0, 400), disk.clone(), Arc::new(ManualClock::new(0))).is_ok());
    let refused = |disk: &Arc<MemDisk>, from, to| {
        let before = disk.files();
        let error =
            Log::open(needs(from, to), disk.clone(), Arc::new(ManualClock::new(0))).map(|_| ()).unwrap_err();
        assert_eq!(disk.files(), before);
        error.to_string()
    };
    assert!(
        Log::open(
            LogOptions { durability: Durability::Relaxed, ..needs(0, 401) },
            disk.clone(),
            Arc::new(ManualClock::new(0))
        )
        .is_ok()
    );
    let error = refused(&disk, 0, 401);
    assert!(error.contains("/log is needed from offset 0 to 401, and goes from 0 to 400"), "{error}");
    disk.delete(&segments(&disk)[0].0);
    assert!(refused(&disk, 0, 1).contains("files of it are missing"));
    assert!(refused(&MemDisk::new(), 0, 0).contains("files of it are missing"));
}
