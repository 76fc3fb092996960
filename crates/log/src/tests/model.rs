//! Random writes, crashes, failures, broken bits and starts, against a model of what must be there.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use nowcast_disk::{Dice, Fault, MemDisk};
use nowcast_model::Offset;
use proptest::prelude::*;

use super::{event, open, options, print, print_items, queue, rows, start};
use crate::{LogHandle, LogOptions};

#[derive(Debug, Clone)]
enum Step {
    /// Records that are queued at once, and waited for.
    Write(Vec<u8>),
    /// Records that are queued, and a crash while they are written (after so many microseconds).
    WriteAndCrash(Vec<u8>, u16),
    /// An orderly stop.
    Restart,
    /// A disk of which an operation fails while records are written, and a start after a loss of power.
    Fail(Vec<u8>, u8, Fault),
    /// A stop, a bit that turns, a start.
    Flip(prop::sample::Index, prop::sample::Index, u8),
    /// Offsets before this share of the log are not needed.
    Drop(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = || prop::collection::vec(1..30_u8, 1..6);
    let faults = prop_oneof![Just(Fault::Broken), Just(Fault::Full), Just(Fault::PowerLoss)];
    let step = prop_oneof![
        5 => sizes().prop_map(Step::Write),
        3 => (sizes(), 0..300_u16).prop_map(|(sizes, us)| Step::WriteAndCrash(sizes, us)),
        1 => Just(Step::Restart),
        2 => (sizes(), 1..9_u8, faults).prop_map(|(sizes, at, fault)| Step::Fail(sizes, at, fault)),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8)
            .prop_map(|(file, at, bit)| Step::Flip(file, at, bit)),
        1 => any::<u8>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..25)
}

type Answers = Arc<Mutex<Vec<(Offset, Vec<u8>)>>>;

struct Model {
    options: LogOptions,
    disk: Arc<MemDisk>,
    handle: LogHandle,
    dice: Dice,
    seed: u64,
    /// By offset: what must be there.
    durable: BTreeMap<Offset, Vec<u8>>,
    /// What was queued and never acknowledged, in the order of queueing: may be there, whole and in order.
    unsure: Vec<Vec<u8>>,
    dropped: Offset,
}

impl Model {
    fn new(seed: u64) -> Model {
        let options = LogOptions { segment_bytes_max: 3_000, ..options() };
        let disk = MemDisk::new();
        let (handle, _tail, _) = start(options.clone(), &disk);
        let (durable, unsure, dropped) = (BTreeMap::new(), Vec::new(), Offset::ZERO);
        Model { options, disk, handle, dice: Dice(seed), seed: 0, durable, unsure, dropped }
    }

    /// Queues a record a size. What is acknowledged goes to the answers before it counts.
    fn queue(&mut self, sizes: &[u8]) -> (Answers, Vec<Vec<u8>>) {
        let answers = Answers::default();
        let mut queued = Vec::new();
        for &size in sizes {
            self.seed += 1;
            let items = if size % 7 == 0 {
                vec![event(), rows(self.seed, 2)]
            } else {
                vec![rows(self.seed, size.into())]
            };
            let answers = answers.clone();
            queued.push(print_items(Offset::ZERO, &items));
            let copy = items.clone();
            let done = move |result: Result<crate::Committed, _>| {
                if let Ok(committed) = result {
                    answers.lock().unwrap().push((committed.offset, print_items(committed.offset, &copy)));
                }
            };
            self.handle.append(items, None, 1, Box::new(done));
        }
        (answers, queued)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(sizes) => {
                let (answers, _) = self.queue(sizes);
                // An answer to a later record comes after those to the earlier ones.
                let last = queue(&self.handle, vec![event()]).recv_timeout(super::LONG).unwrap().unwrap();
                let answers = answers.lock().unwrap();
                assert_eq!(answers.len(), sizes.len());
                self.durable.extend(answers.iter().cloned());
                self.durable.insert(last.offset, print_items(last.offset, &[event()]));
            }
            Step::WriteAndCrash(sizes, us) => {
                let (answers, queued) = self.queue(sizes);
                std::thread::sleep(Duration::from_micros((*us).into()));
                let acknowledged = answers.lock().unwrap().clone();
                self.disk = self.disk.crash(&mut self.dice);
                self.unsure = queued.into_iter().skip(acknowledged.len()).collect();
                self.durable.extend(acknowledged);
                self.reopen(None);
            }
            Step::Restart => {
                self.handle.stop();
                self.reopen(None);
            }
            Step::Fail(sizes, at, fault) => {
                self.disk.fail_at(Some(((*at).into(), *fault)));
                let (answers, queued) = self.queue(sizes);
                let last = queue(&self.handle, vec![event()]).recv_timeout(super::LONG).unwrap();
                let acknowledged = answers.lock().unwrap().clone();
                if let Ok(last) = last {
                    assert_eq!(acknowledged.len(), sizes.len());
                    self.durable.insert(last.offset, print_items(last.offset, &[event()]));
                } else {
                    assert!(self.handle.status().read_only.is_some() && *fault != Fault::Full);
                }
                self.unsure = queued.into_iter().skip(acknowledged.len()).collect();
                self.unsure.extend(last.is_err().then(|| print_items(Offset::ZERO, &[event()])));
                self.durable.extend(acknowledged);
                self.disk = self.disk.crash(&mut self.dice);
                self.reopen(None);
            }
            Step::Flip(file, at, bit) => {
                self.handle.stop();
                let mut files: Vec<_> = self.disk.files();
                files.retain(|(path, _)| path.parent() == Some(Path::new("/log")));
                let (path, mut bytes) = files.swap_remove(file.index(files.len()));
                let hit = at.index(bytes.len());
                bytes[hit] ^= 1 << bit;
                self.disk.put(&path, bytes);
                self.reopen(Some((path, hit as u64)));
            }
            Step::Drop(share) => {
                let end = self.handle.end().get();
                let before = Offset::new(end * u64::from(*share) / 255);
                self.dropped = self.dropped.max(before);
                self.handle.drop_before(before);
            }
        }
    }

    /// Starts on what is on the disk, and holds it against the model.
    fn reopen(&mut self, flipped: Option<(PathBuf, u64)>) {
        let (handle, _tail, recovery) = start(self.options.clone(), &self.disk);
        self.handle = handle;
        if let Some((path, at)) = flipped {
            // Named: as damage, or (the mark of an orderly stop alone) as a torn tail.
            let named = recovery.damages.iter().any(|d| d.path == path && (d.from..d.to).contains(&at))
                || recovery.cut.as_ref().is_some_and(|cut| cut.path == path && cut.at <= at);
            assert!(named, "{}: {at} is not named in {recovery:?}", path.display());
        }
        let lost = |offset: Offset| recovery.damages.iter().any(|d| d.first <= offset && offset < d.end);
        let mut expected: BTreeMap<Offset, Vec<u8>> = BTreeMap::new();
        let mut end_of_durable = Offset::ZERO;
        for (&offset, printed) in &self.durable {
            end_of_durable = end_of_durable.max(offset);
            if offset >= recovery.first && !lost(offset) {
                expected.insert(offset, printed.clone());
            } else {
                assert!(offset < self.dropped || lost(offset), "{offset} is gone: {recovery:?}");
            }
        }
        let mut unsure = std::mem::take(&mut self.unsure).into_iter();
        let mut read = BTreeMap::new();
        for record in super::read_all(&self.handle, recovery.first) {
            let printed = print(&record);
            if let Entry::Vacant(entry) = expected.entry(record.offset) {
                // Not acknowledged: then it is the next of those that were queued, and whole.
                assert!(record.offset > end_of_durable || self.durable.is_empty());
                let as_queued = print_items(Offset::ZERO, &record.items);
                assert_eq!(unsure.next().as_ref(), Some(&as_queued), "at {}", record.offset);
                entry.insert(printed.clone());
            }
            read.insert(record.offset, printed);
        }
        assert!(read == expected, "read {:?}, expected {:?}", read.keys(), expected.keys());
        self.durable = expected;
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_log_holds_what_it_acknowledged(seed: u64, steps in steps()) {
        let mut model = Model::new(seed);
        for step in &steps {
            model.step(step);
        }
        model.step(&Step::Restart);
        let disk = model.disk.clone();
        model.handle.stop();
        let (_, recovery) = open(options(), &disk).unwrap();
        prop_assert_eq!(recovery.cut, None);
    }
}
