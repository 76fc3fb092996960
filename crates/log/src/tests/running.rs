//! The running log: groups, acknowledgements, the tail, failures, dropping.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use nowcast_disk::{MemDisk, RealDisk};
use nowcast_model::{Clock, ManualClock, Offset, Producer};

use super::{
    LONG, append, drain, event, open, options, print, print_items, queue, read_all, relaxed, rows, start,
};
use crate::{Inspection, Log, LogError, LogHandle, LogOptions};

#[test]
fn records_come_back_in_order_at_their_offsets() {
    let disk = MemDisk::new();
    let (handle, mut tail, _) = start(options(), &disk);
    let first = append(&handle, vec![rows(1, 3), event(), rows(2, 2)]).unwrap();
    assert_eq!((first.offset.get(), first.end.get()), (0, 6));
    let second = append(&handle, vec![event()]).unwrap();
    assert_eq!((second.offset.get(), second.end.get()), (6, 7));
    for records in [
        read_all(&handle, Offset::ZERO),
        drain(&mut tail, second.end).iter().map(|r| (**r).clone()).collect(),
    ] {
        assert_eq!(records.len(), 2);
        assert_eq!(print(&records[0]), print_items(Offset::ZERO, &[rows(1, 3), event(), rows(2, 2)]));
        assert_eq!(print(&records[1]), print_items(Offset::new(6), &[event()]));
    }
    // From the middle of a record: the record that holds the offset comes whole.
    assert_eq!(read_all(&handle, Offset::new(5))[0].offset, Offset::ZERO);
    assert_eq!(read_all(&handle, Offset::new(6))[0].offset, Offset::new(6));
    assert_eq!(read_all(&handle, Offset::new(7)).len(), 0);
    handle.stop();
    assert_eq!(tail.next(LONG).unwrap().map(|records| records.len()), None);
    assert_eq!(append(&handle, vec![event()]), Err(LogError::Stopped));
    let (log, recovery) = open(options(), &disk).unwrap();
    assert_eq!((log.end().get(), recovery.cut, recovery.damages.len()), (7, None, 0));
}

#[test]
fn what_is_queued_while_a_group_is_written_makes_one_group() {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options(), &disk);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    handle.append(vec![event()], None, 1, Box::new(move |_| wait.recv().unwrap()));
    // The log thread now waits inside the first callback, or is about to.
    while handle.status().records == 0 {
        std::thread::yield_now();
    }
    let answers: Vec<_> = (0..50).map(|seed| queue(&handle, vec![rows(seed, 2)])).collect();
    go.send(()).unwrap();
    for (index, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.recv_timeout(LONG).unwrap().unwrap().offset.get(), 1 + 2 * index as u64);
    }
    let status = handle.status();
    assert_eq!((status.records, status.rows, status.frames, status.syncs), (51, 101, 2, 2));
    assert_eq!((status.end.get(), status.queued_records, status.queued_bytes), (101, 0, 0));
}

#[test]
fn producers_and_times_are_kept_and_time_never_steps_back() {
    struct Steps(AtomicI64);
    impl Clock for Steps {
        fn now_us(&self) -> i64 {
            self.0.fetch_sub(10, Ordering::SeqCst)
        }
    }
    let disk = MemDisk::new();
    for clock in [1_000, 500] {
        let clock = Arc::new(Steps(AtomicI64::new(clock)));
        let (log, _) = Log::open(options(), disk.clone(), clock).unwrap();
        let end = log.end();
        let (handle, _tail) = log.start(end).unwrap();
        for sequence in 0..3 {
            let (sender, receiver) = std::sync::mpsc::channel();
            let done = Box::new(move |result| drop(sender.send(result)));
            handle.append(vec![event()], Some(Producer { id: 5, sequence }), 1, done);
            receiver.recv_timeout(LONG).unwrap().unwrap();
        }
        let records = read_all(&handle, Offset::ZERO);
        assert!(records.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
        assert_eq!(records.last().unwrap().producer, Some(Producer { id: 5, sequence: 2 }));
        assert!(records.last().unwrap().at_us > 900);
        handle.stop();
    }
}

/// Opens a log under a clock of its own.
fn start_at(disk: &Arc<MemDisk>, clock: &Arc<ManualClock>, from: Option<u64>) -> (LogHandle, i64) {
    let (log, _) = Log::open(options(), disk.clone(), clock.clone()).unwrap();
    let (end, at_us) = (log.end(), log.at_us());
    let (handle, _tail) = log.start(from.map_or(end, Offset::new)).unwrap();
    (handle, at_us)
}

#[test]
fn a_clock_that_was_set_back_moves_no_record_back() {
    let disk = MemDisk::new();
    let clock = Arc::new(ManualClock::new(5_000));
    let (mut handle, at_us) = start_at(&disk, &clock, None);
    assert_eq!(at_us, i64::MIN);
    // Back and forth, within a run and over a restart. A segment takes a few records.
    for (now_us, restart) in
        [(5_000, false), (100, false), (6_000, true), (200, true), (5_999, false), (7_000, true)]
    {
        if restart {
            handle.stop();
        }
        clock.set_us(now_us);
        if restart {
            let before = read_all(&handle, Offset::ZERO).last().unwrap().at_us;
            let started = start_at(&disk, &clock, None);
            assert_eq!(started.1, before);
            handle = started.0;
        }
        for seed in 0..5 {
            append(&handle, vec![rows(seed, 30)]).unwrap();
        }
    }
    let times: Vec<i64> = read_all(&handle, Offset::ZERO).iter().map(|record| record.at_us).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!((times.len(), times[0], times[29]), (30, 5_000, 7_000));
    handle.stop();
}

#[test]
fn the_time_outlives_the_records() {
    let disk = MemDisk::new();
    let clock = Arc::new(ManualClock::new(5_000));
    let (handle, _) = start_at(&disk, &clock, None);
    append(&handle, vec![rows(1, 4)]).unwrap();
    handle.stop();
    clock.set_us(100);
    // The log goes on behind what the store has, in a segment that holds nothing yet; the one before goes.
    let (handle, at_us) = start_at(&disk, &clock, Some(10));
    assert_eq!(at_us, 5_000);
    handle.drop_before(Offset::new(10));
    while handle.status().segments > 1 {
        std::thread::yield_now();
    }
    disk.fail_appends(true);
    handle.stop();
    disk.fail_appends(false);
    let (handle, at_us) = start_at(&disk, &clock, None);
    assert_eq!(at_us, 5_000);
    append(&handle, vec![rows(1, 4)]).unwrap();
    assert_eq!(read_all(&handle, Offset::new(10))[0].at_us, 5_000);
    handle.stop();
}

#[test]
fn a_time_is_found_without_reading_what_lies_before() {
    let disk = MemDisk::new();
    let clock = Arc::new(ManualClock::new(0));
    let (handle, _) = start_at(&disk, &clock, None);
    assert_eq!(handle.offset_at(i64::MIN).unwrap(), Offset::ZERO);
    // Two records at each time, two offsets each: record n is at 10 * (n / 2), its offset 2 * n.
    for n in 0..400 {
        clock.set_us(10 * (n / 2));
        append(&handle, vec![rows(n as u64, 2)]).unwrap();
    }
    let check = |find: &dyn Fn(i64) -> Offset, first: u64, end: u64| {
        for at_us in -5..2_010 {
            let next = u64::try_from(at_us).unwrap_or(0).div_ceil(10) * 4;
            assert_eq!(find(at_us).get(), next.clamp(first, end), "{at_us}");
        }
        assert_eq!(find(i64::MAX).get(), end);
    };
    check(&|at_us| handle.offset_at(at_us).unwrap(), 0, 800);
    assert!(handle.status().segments > 5);
    // What was dropped is not found; the first that is kept is.
    handle.drop_before(Offset::new(300));
    append(&handle, vec![event()]).unwrap();
    append(&handle, vec![event()]).unwrap();
    let first = handle.status().first;
    assert!(first > Offset::ZERO);
    assert_eq!(handle.offset_at(0).unwrap(), first);
    let at_us = 10 * first.get().div_ceil(4) as i64;
    assert_eq!(handle.offset_at(at_us).unwrap().get(), first.get().next_multiple_of(4));
    handle.stop();
    let looked = Inspection::of(disk.clone(), &options().dir).unwrap();
    for at_us in [i64::MIN, 0, 1_000, 1_995, i64::MAX] {
        assert_eq!(looked.offset_at(at_us).unwrap(), handle.offset_at(at_us).unwrap(), "{at_us}");
    }
}

#[test]
fn a_time_is_found_over_broken_bytes() {
    let disk = MemDisk::new();
    let clock = Arc::new(ManualClock::new(0));
    let (handle, _) = start_at(&disk, &clock, None);
    for n in 0..10 {
        clock.set_us(n);
        append(&handle, vec![rows(n as u64, 2)]).unwrap();
    }
    handle.stop();
    // The first frame behind the segment's header: the record at 0.
    let (path, mut bytes) = disk.files().remove(0);
    bytes[100] ^= 1;
    disk.put(&path, bytes);
    let (log, recovery) = open(options(), &disk).unwrap();
    assert_eq!(recovery.damages.len(), 1);
    let end = log.end();
    let (handle, _tail) = log.start(end).unwrap();
    assert_eq!(handle.offset_at(0).unwrap().get(), 2);
    assert_eq!(handle.offset_at(1).unwrap().get(), 2);
    assert_eq!(handle.offset_at(7).unwrap().get(), 14);
    handle.stop();
}

#[test]
fn records_that_cannot_be_written_are_refused_alone() {
    let disk = MemDisk::new();
    let (handle, mut tail, _) = start(options(), &disk);
    assert_eq!(append(&handle, vec![]), Err(LogError::Empty));
    // No rows take no place, and are acknowledged as such.
    let nothing = append(&handle, vec![rows(1, 0)]).unwrap();
    assert_eq!((nothing.offset.get(), nothing.end.get()), (0, 0));
    assert_eq!(append(&handle, vec![event(), rows(1, 0)]).unwrap().end.get(), 1);
    assert_eq!(drain(&mut tail, Offset::new(1)).len(), 1);
    assert_eq!((handle.status().refused, handle.status().records), (1, 1));
}

#[test]
fn a_failed_sync_or_write_makes_the_log_read_only() {
    for fault in ["sync", "append"] {
        let disk = MemDisk::new();
        let (handle, mut tail, _) = start(options(), &disk);
        append(&handle, vec![rows(1, 4)]).unwrap();
        let switch = if fault == "sync" { MemDisk::fail_syncs } else { MemDisk::fail_appends };
        switch(&disk, true);
        let error = append(&handle, vec![rows(2, 4)]).unwrap_err();
        let LogError::ReadOnly { reason } = &error else { panic!("{error}") };
        assert!(reason.contains("/log/00000000000000000000.log"), "{reason}");
        // The disk works again; the log does not trust it.
        switch(&disk, false);
        assert_eq!(append(&handle, vec![rows(3, 4)]), Err(error.clone()));
        let status = handle.status();
        assert_eq!(status.read_only.as_deref(), Some(&**reason));
        assert_eq!((status.end.get(), status.records), (4, 1));
        assert_eq!(read_all(&handle, Offset::ZERO).len(), 1);
        assert_eq!(drain(&mut tail, Offset::new(4)).len(), 1);
        assert_eq!(tail.next(Duration::from_millis(1)).unwrap().unwrap().len(), 0);
        handle.stop();
        assert!(tail.next(LONG).unwrap().is_none());
        // A new start goes on. What was not acknowledged may be there, whole, or not.
        let (handle, _tail, recovery) = start(options(), &disk);
        assert_eq!(recovery.end.get(), if fault == "sync" { 8 } else { 4 });
        assert_eq!(recovery.cut.is_some(), fault == "append");
        assert_eq!(append(&handle, vec![event()]).unwrap().offset, recovery.end);
    }
}

#[test]
fn a_full_disk_holds_writes_up_until_there_is_space() {
    let disk = MemDisk::new();
    // A segment takes one record: the full disk is met in frames and in new segments alike.
    let small = LogOptions { segment_bytes_max: 400, ..options() };
    let (handle, mut tail, _) = start(small.clone(), &disk);
    append(&handle, vec![rows(0, 4)]).unwrap();
    for round in 1..6_u64 {
        disk.set_full(true);
        let (sender, receiver) = std::sync::mpsc::channel();
        handle.append(vec![rows(round, 4)], None, 1, Box::new(move |done| sender.send(done).unwrap()));
        while handle.status().waiting.is_none() {
            std::thread::yield_now();
        }
        assert!(receiver.try_recv().is_err() && handle.status().read_only.is_none());
        assert_eq!(handle.end().get(), round * 4);
        disk.set_full(false);
        assert_eq!(receiver.recv().unwrap().unwrap().offset.get(), round * 4);
        assert_eq!(handle.status().waiting, None);
    }
    assert_eq!(drain(&mut tail, Offset::new(24)).len(), 6);
    handle.stop();
    let (handle, _tail, recovery) = start(small.clone(), &disk);
    assert_eq!((recovery.end.get(), recovery.cut, recovery.damages), (24, None, vec![]));
    // Whoever stops a log on a full disk does not wait for space.
    disk.set_full(true);
    let (sender, receiver) = std::sync::mpsc::channel();
    handle.append(vec![event()], None, 1, Box::new(move |done| sender.send(done).unwrap()));
    while handle.status().waiting.is_none() {
        std::thread::yield_now();
    }
    handle.stop();
    assert!(matches!(receiver.recv().unwrap(), Err(LogError::ReadOnly { .. })));
    disk.set_full(false);
    let (_, _, recovery) = start(small, &disk);
    assert_eq!((recovery.end.get(), recovery.damages), (24, vec![]));
}

#[test]
fn a_callback_that_panics_does_not_end_the_log() {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options(), &disk);
    handle.append(vec![event()], None, 1, Box::new(|_| panic!("on purpose")));
    assert_eq!(append(&handle, vec![event()]).unwrap().offset.get(), 1);
    // Stopping from inside a callback does not wait for itself.
    let again = handle.clone();
    handle.append(vec![event()], None, 1, Box::new(move |_| again.stop()));
    handle.stop();
}

#[test]
fn an_overflowed_ring_loses_nothing() {
    for ring_bytes_max in [0, 1_500, 20_000] {
        let disk = MemDisk::new();
        let (handle, mut tail, _) = start(LogOptions { ring_bytes_max, ..relaxed() }, &disk);
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let (handle, stop, written) = (handle.clone(), stop.clone(), written.clone());
            std::thread::spawn(move || {
                for seed in 0..400 {
                    let items = vec![rows(seed, 1 + seed as usize % 7)];
                    let committed = append(&handle, items.clone()).unwrap();
                    written.lock().unwrap().push(print_items(committed.offset, &items));
                }
                stop.store(true, Ordering::SeqCst);
            })
        };
        let mut seen = Vec::new();
        // Slow, then quick, then slow again: through the ring, through the files, and back.
        loop {
            let stopped = stop.load(Ordering::SeqCst);
            let records = tail.next(Duration::from_millis(20)).unwrap().unwrap();
            if records.is_empty() && stopped {
                break;
            }
            seen.extend(records.iter().map(|record| print(record)));
            if seen.len() % 3 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        writer.join().unwrap();
        assert_eq!(seen, *written.lock().unwrap());
        let status = handle.status();
        assert_eq!(status.ring_bytes, 0);
        assert!(status.segments > 3);
    }
}

#[test]
fn the_tail_begins_with_what_is_in_the_files() {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options(), &disk);
    for seed in 0..100 {
        append(&handle, vec![rows(seed, 10)]).unwrap();
    }
    handle.stop();
    let (log, _) = open(options(), &disk).unwrap();
    let (handle, mut tail) = log.start(Offset::new(455)).unwrap();
    append(&handle, vec![event()]).unwrap();
    let records = drain(&mut tail, Offset::new(1_001));
    assert_eq!(records.len(), 56);
    assert_eq!(records[0].offset.get(), 450);
    append(&handle, vec![event()]).unwrap();
    assert_eq!(tail.next(LONG).unwrap().unwrap()[0].offset.get(), 1_001);
}

#[test]
fn segments_go_when_they_are_not_needed() {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options(), &disk);
    for seed in 0..100 {
        append(&handle, vec![rows(seed, 10)]).unwrap();
    }
    let mut reader = handle.read_from(Offset::ZERO).unwrap();
    reader.next().unwrap().unwrap();
    handle.drop_before(Offset::new(500));
    // The first may be written before the segments go; the second is not begun until they went.
    append(&handle, vec![event()]).unwrap();
    append(&handle, vec![event()]).unwrap();
    let after = handle.status();
    assert!((400..=500).contains(&after.first.get()), "{after:?}");
    assert_eq!(read_all(&handle, Offset::new(500)).len(), 52);
    let gone = handle.read_from(Offset::new(10)).map(|_| ()).unwrap_err();
    assert_eq!(gone, LogError::Gone { from: Offset::new(10), first: after.first });
    handle.drop_before(Offset::new(u64::MAX));
    append(&handle, vec![event()]).unwrap();
    handle.stop();
    // The one that is written to stays.
    let (log, recovery) = open(options(), &disk).unwrap();
    assert_eq!((recovery.end.get(), recovery.segments), (1_003, 1));
    assert_eq!(recovery.damages, vec![]);
    assert_eq!(log.end().get(), 1_003);
}

#[test]
fn segments_are_kept_as_the_options_say() {
    for (keep_us, keep_bytes, kept) in [(0, 0, false), (1_000, 0, true), (0, 1 << 30, true)] {
        let disk = MemDisk::new();
        let (handle, _tail, _) = start(LogOptions { keep_us, keep_bytes, ..options() }, &disk);
        for seed in 0..50 {
            append(&handle, vec![rows(seed, 10)]).unwrap();
        }
        handle.drop_before(Offset::new(500));
        handle.stop();
        let (_, recovery) = open(options(), &disk).unwrap();
        assert_eq!(recovery.segments > 1, kept, "{keep_us} {keep_bytes}");
    }
}

#[test]
fn the_log_jumps_over_offsets_that_the_store_has_and_the_log_lost() {
    let disk = MemDisk::new();
    let (handle, _tail, _) = start(options(), &disk);
    append(&handle, vec![rows(1, 3)]).unwrap();
    handle.stop();
    let (log, _) = open(options(), &disk).unwrap();
    let (handle, mut tail) = log.start(Offset::new(10)).unwrap();
    assert_eq!(append(&handle, vec![rows(2, 3)]).unwrap().offset.get(), 10);
    assert_eq!(drain(&mut tail, Offset::new(13)).len(), 1);
    assert_eq!(read_all(&handle, Offset::ZERO).len(), 2);
    handle.stop();
    let (_, recovery) = open(options(), &disk).unwrap();
    assert_eq!((recovery.end.get(), recovery.damages), (13, vec![]));
}

#[test]
fn a_real_disk_does_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { dir: dir.path().join("a/log"), ..options() };
    for round in 0..3 {
        let (handle, mut tail, recovery) = start(options.clone(), &Arc::new(RealDisk));
        assert_eq!((recovery.end.get(), recovery.cut, recovery.damages), (round * 300, None, vec![]));
        for seed in 0..30 {
            append(&handle, vec![rows(seed, 10)]).unwrap();
        }
        assert_eq!(drain(&mut tail, Offset::new((round + 1) * 300)).len(), 30);
        assert_eq!(read_all(&handle, Offset::ZERO).len(), (round as usize + 1) * 30);
        handle.stop();
    }
    let (handle, _tail, _) = start(options.clone(), &Arc::new(RealDisk));
    handle.drop_before(Offset::new(900));
    handle.stop();
    let (_, recovery) = open(options, &Arc::new(RealDisk)).unwrap();
    assert_eq!((recovery.segments, recovery.end.get()), (1, 900));
}
