//! A disk in memory that loses what was not synced, and fails when told to.
//!
//! A file is what is durable and what was written since; a directory is its durable names and the changes since.
//! [`MemDisk::crash`] makes a new disk of what a loss of power could leave: of each file any length of what was
//! appended, with holes of zeros where pieces of it did not make it; of the names of each directory any
//! beginning of its changes, whatever the other directories have.
//!
//! [`MemDisk::fail_at`] names an operation by its number: it fails with an error, half done, or the power goes
//! there and everything fails from then on. So a test can break a piece of work at each of its steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Disk, DiskFile};

/// Small and repeatable random numbers (Steele, Lea, Flood: SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// 64 random bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is broken here (EIO); of an append, the first half is written.
    Broken,
    /// There is no space (ENOSPC); of an append, the first half is written. What needs none works.
    Full,
    /// The power goes: this and all that follows fails, and nothing more changes.
    PowerLoss,
}

/// What an operation that changes something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Create,
    Append,
    Truncate,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

impl Op {
    fn needs_space(self) -> bool {
        matches!(self, Op::Create | Op::Append)
    }
}

#[derive(Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    current: Vec<u8>,
}

type Node = Arc<Mutex<Contents>>;

#[derive(Clone)]
enum Change {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> &Path {
        let (Change::Add(path, _) | Change::Remove(path) | Change::Rename(_, path)) = self;
        path.parent().unwrap_or(Path::new(""))
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Change::Add(path, node) => drop(names.insert(path.clone(), node.clone())),
            Change::Remove(path) => drop(names.remove(path)),
            Change::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

#[derive(Default)]
struct State {
    durable: BTreeMap<PathBuf, Node>,
    current: BTreeMap<PathBuf, Node>,
    changes: Vec<Change>,
    dirs: BTreeSet<PathBuf>,
    /// Operations so far that change something.
    operations: u64,
    planned: Option<(u64, Fault)>,
    is_full: bool,
    fails_appends: bool,
    fails_syncs: bool,
    is_off: bool,
    has_failed: bool,
}

impl State {
    /// Counts an operation; an error if it is to fail.
    fn begin(&mut self, op: Op) -> io::Result<()> {
        self.is_on()?;
        self.operations += 1;
        let planned = self.planned.filter(|(at, _)| *at == self.operations).map(|(_, fault)| fault);
        let fault = planned
            .or((self.is_full && op.needs_space()).then_some(Fault::Full))
            .or((self.fails_appends && op == Op::Append).then_some(Fault::Broken))
            .or((self.fails_syncs && op == Op::Sync).then_some(Fault::Broken));
        self.has_failed |= fault.is_some();
        match fault {
            Some(Fault::Full) if op.needs_space() => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "no space left, as a test asked"))
            }
            None | Some(Fault::Full) => Ok(()),
            Some(Fault::Broken) => Err(io::Error::other("input/output error, as a test asked")),
            Some(Fault::PowerLoss) => {
                self.is_off = true;
                self.is_on()
            }
        }
    }

    fn is_on(&self) -> io::Result<()> {
        match self.is_off {
            true => Err(io::Error::other("the power is off, as a test asked")),
            false => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }
}

/// A disk in memory; see the module. One lock for everything: a crash falls between two operations.
#[derive(Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> Arc<MemDisk> {
        Arc::new(MemDisk::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// While `true`, whatever needs space fails, half done.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// While `true`, appends fail, half done.
    pub fn fail_appends(&self, fail: bool) {
        self.state().fails_appends = fail;
    }

    /// While `true`, syncs of files fail.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().fails_syncs = fail;
    }

    /// Operations so far that changed something, or failed to.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The operation of this number, counted from now on and from 1, fails; `None` takes that back.
    pub fn fail_at(&self, planned: Option<(u64, Fault)>) {
        let mut state = self.state();
        state.planned = planned.map(|(at, fault)| (state.operations + at, fault));
    }

    /// True once an operation was asked to fail.
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// True once the power went.
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// What a loss of power at this moment may leave.
    pub fn crash(&self, dice: &mut Dice) -> Arc<MemDisk> {
        let state = self.state();
        let mut left = state.durable.clone();
        let mut by_dir: BTreeMap<&Path, Vec<&Change>> = BTreeMap::new();
        for change in &state.changes {
            by_dir.entry(change.dir()).or_default().push(change);
        }
        for changes in by_dir.values() {
            let made_it = dice.below(changes.len() + 1);
            changes[..made_it].iter().for_each(|change| change.apply(&mut left));
        }
        let disk = MemDisk::new();
        disk.state().dirs.clone_from(&state.dirs);
        for (path, node) in left {
            disk.put(&path, survivors(&lock(&node), dice));
        }
        disk
    }

    /// The files under their names, to be looked at and broken.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        state.current.iter().map(|(path, node)| (path.clone(), lock(node).current.clone())).collect()
    }

    /// Puts a file on the disk, durably.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let node = Arc::new(Mutex::new(Contents { durable: bytes.clone(), current: bytes }));
        let mut state = self.state();
        state.dirs.extend(path.ancestors().skip(1).map(Path::to_owned));
        state.durable.insert(path.to_owned(), node.clone());
        state.current.insert(path.to_owned(), node);
    }

    /// Takes a file off the disk, durably.
    pub fn delete(&self, path: &Path) {
        let mut state = self.state();
        state.durable.remove(path);
        state.current.remove(path);
    }
}

fn survivors(contents: &Contents, dice: &mut Dice) -> Vec<u8> {
    let Contents { durable, current } = contents;
    if !current.starts_with(durable) {
        // It was cut: that happened, or did not.
        return if dice.below(2) == 0 { current.clone() } else { durable.clone() };
    }
    let len = match dice.below(4) {
        0 => durable.len(),
        1 => current.len(),
        _ => durable.len() + dice.below(current.len() - durable.len() + 1),
    };
    let mut left = current[..len].to_vec();
    if dice.below(2) == 0 {
        for piece in left[durable.len()..].chunks_mut(40) {
            if dice.below(3) == 0 {
                piece.fill(0);
            }
        }
    }
    left
}

struct MemFile {
    node: Node,
    state: Arc<Mutex<State>>,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

fn names_in<'a>(dir: &'a Path, paths: impl Iterator<Item = &'a PathBuf>) -> Vec<String> {
    let inside = paths.filter(|path| path.parent() == Some(dir));
    inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
}

impl Disk for MemDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.is_on()?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.is_on()?;
        Ok(names_in(dir, state.current.keys()))
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.is_on()?;
        Ok(names_in(dir, state.dirs.iter()))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.is_on()?;
        let node = state.current.get(path).cloned().ok_or_else(|| not_found(path))?;
        Ok(Box::new(MemFile { node, state: self.state.clone() }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        {
            let mut state = self.state();
            state.begin(Op::Create)?;
            if state.current.contains_key(path) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string()));
            }
            state.change(Change::Add(path.to_owned(), Node::default()));
        }
        self.open(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Op::Rename)?;
        if !state.current.contains_key(from) {
            return Err(not_found(from));
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.current.contains_key(path) {
            state.is_on()?;
            return Err(not_found(path));
        }
        state.begin(Op::Remove)?;
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.is_on()?;
        let is_inside = |path: &PathBuf| path.parent() == Some(dir);
        if state.current.keys().any(is_inside) || state.dirs.iter().any(is_inside) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.dirs.remove(dir);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Op::SyncDir)?;
        let State { durable, changes, .. } = &mut *state;
        changes.retain(|change| {
            let here = change.dir() == dir;
            if here {
                change.apply(durable);
            }
            !here
        });
        Ok(())
    }
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        lock(&self.state).is_on()?;
        Ok(lock(&self.node).current.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        lock(&self.state).is_on()?;
        let contents = lock(&self.node);
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = at.checked_add(into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(contents.current.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        let was_on = !state.is_off;
        let begun = state.begin(Op::Append);
        if was_on {
            let written = if begun.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
            lock(&self.node).current.extend_from_slice(written);
        }
        begun
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.begin(Op::Sync)?;
        let mut contents = lock(&self.node);
        contents.durable = contents.current.clone();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.begin(Op::Truncate)?;
        lock(&self.node).current.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }
}
