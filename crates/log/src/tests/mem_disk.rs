//! A disk in memory that loses what was not synced, and fails when told to.
//!
//! A file is what is durable and what was written since; a directory is its durable names and the changes
//! since. [`MemDisk::crash`] makes a new disk of what a crash could leave: of each file any length of what was
//! appended, with holes of zeros where pieces of it did not make it; of the names any beginning of the changes.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Disk, DiskFile};

/// Small and repeatable (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
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

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Add(path, node) => drop(names.insert(path.clone(), node.clone())),
        Change::Remove(path) => drop(names.remove(path)),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

#[derive(Default)]
struct Names {
    durable: BTreeMap<PathBuf, Node>,
    current: BTreeMap<PathBuf, Node>,
    changes: Vec<Change>,
}

#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) sync: AtomicBool,
    pub(crate) append: AtomicBool,
    /// There is no space.
    pub(crate) full: AtomicBool,
}

#[derive(Default)]
pub(crate) struct MemDisk {
    names: Mutex<Names>,
    pub(crate) faults: Arc<Faults>,
    /// Held by whatever changes contents or names: a crash falls between two such moments.
    gate: Arc<Mutex<()>>,
}

impl MemDisk {
    pub(crate) fn new() -> Arc<MemDisk> {
        Arc::new(MemDisk::default())
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap()
    }

    fn change(&self, change: Change) {
        let _gate = self.gate.lock().unwrap();
        let mut names = self.names();
        apply(&mut names.current, &change);
        names.changes.push(change);
    }

    /// What a crash at this moment may leave.
    pub(crate) fn crash(&self, dice: &mut Dice) -> Arc<MemDisk> {
        let _gate = self.gate.lock().unwrap();
        let names = self.names();
        let mut left = names.durable.clone();
        for change in &names.changes[..dice.below(names.changes.len() + 1)] {
            apply(&mut left, change);
        }
        let disk = MemDisk::new();
        for (path, node) in left {
            let contents = survivors(&node.lock().unwrap(), dice);
            let node = Arc::new(Mutex::new(Contents { durable: contents.clone(), current: contents }));
            disk.names().durable.insert(path.clone(), node.clone());
            disk.names().current.insert(path, node);
        }
        disk
    }

    /// The files under their names, to be looked at and broken.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let names = self.names();
        names
            .current
            .iter()
            .map(|(path, node)| (path.clone(), node.lock().unwrap().current.clone()))
            .collect()
    }

    /// Puts a file on the disk, durably.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let node = Arc::new(Mutex::new(Contents { durable: bytes.clone(), current: bytes }));
        let mut names = self.names();
        names.durable.insert(path.to_owned(), node.clone());
        names.current.insert(path.to_owned(), node);
    }

    pub(crate) fn delete(&self, path: &Path) {
        let mut names = self.names();
        names.durable.remove(path);
        names.current.remove(path);
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
    faults: Arc<Faults>,
    gate: Arc<Mutex<()>>,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Disk for MemDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.names();
        let inside = names.current.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let node = self.names().current.get(path).cloned().ok_or_else(|| not_found(path))?;
        Ok(Box::new(MemFile { node, faults: self.faults.clone(), gate: self.gate.clone() }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.names().current.contains_key(path) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string()));
        }
        self.change(Change::Add(path.to_owned(), Node::default()));
        self.open(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.open(from)?;
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.open(path)?;
        self.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    /// Makes all names durable; a finer disk would have them by directory.
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let _gate = self.gate.lock().unwrap();
        let mut names = self.names();
        names.durable = names.current.clone();
        names.changes.clear();
        Ok(())
    }
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.node.lock().unwrap().current.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        let contents = self.node.lock().unwrap();
        let at = at as usize;
        let from = contents.current.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _gate = self.gate.lock().unwrap();
        let mut contents = self.node.lock().unwrap();
        for (fault, kind) in
            [(&self.faults.append, io::ErrorKind::Other), (&self.faults.full, io::ErrorKind::StorageFull)]
        {
            if fault.load(Ordering::SeqCst) {
                contents.current.extend_from_slice(&bytes[..bytes.len() / 2]);
                return Err(io::Error::new(kind, "on purpose"));
            }
        }
        contents.current.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let _gate = self.gate.lock().unwrap();
        if self.faults.sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        let mut contents = self.node.lock().unwrap();
        contents.durable = contents.current.clone();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let _gate = self.gate.lock().unwrap();
        self.node.lock().unwrap().current.truncate(len as usize);
        Ok(())
    }
}
