//! Both disks do the same; the one in memory loses what it may, and nothing else.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Dice, Disk, Fault, MemDisk, RealDisk, Tmp, read, write_durably};

/// A disk, and a directory on it that is there.
type Place = (Arc<dyn Disk>, PathBuf);

fn places() -> (tempfile::TempDir, [Place; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let real: Place = (Arc::new(RealDisk), dir.path().to_owned());
    (dir, [real, (MemDisk::new(), PathBuf::from("/data"))])
}

#[test]
fn both_disks_do_the_same() {
    let (_dir, places) = places();
    for (disk, root) in places {
        let dir = root.join("a/b");
        assert_eq!(disk.list(&dir).unwrap(), Vec::<String>::new());
        disk.create_dir(&dir).unwrap();
        disk.create_dir(&dir).unwrap();
        let (one, two) = (dir.join("one"), dir.join("two"));
        let mut file = disk.create(&one).unwrap();
        file.append(b"hello").unwrap();
        file.append(b" world").unwrap();
        file.sync().unwrap();
        assert_eq!(disk.create(&one).map(drop).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&*disk, &one).unwrap(), b"hello world");
        let mut middle = [0; 5];
        file.read_at(&mut middle, 3).unwrap();
        assert_eq!(&middle, b"lo wo");
        assert_eq!(file.read_at(&mut middle, 8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.truncate(4).unwrap();
        let mut again = disk.append(&one).unwrap();
        again.append(b"!").unwrap();
        assert_eq!((again.len().unwrap(), again.is_empty().unwrap()), (5, false));
        disk.rename(&one, &two).unwrap();
        disk.sync_dir(&dir).unwrap();
        assert_eq!(read(&*disk, &two).unwrap(), b"hell!");
        assert_eq!(disk.open(&one).map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.list_dirs(&root.join("a")).unwrap(), ["b"]);
        assert_eq!(disk.list(&root.join("a")).unwrap(), Vec::<String>::new());
        assert_eq!(disk.remove_dir(&dir).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        write_durably(&disk, &two, b"new").unwrap();
        assert_eq!(
            (disk.list(&dir).unwrap(), read(&*disk, &two).unwrap()),
            (vec!["two".into()], b"new".into())
        );
        // A half that an earlier process left does not stand in the way, and goes when it is given up.
        disk.create(&dir.join("two.tmp")).unwrap().append(b"old half").unwrap();
        let (tmp, mut file) = Tmp::create(&disk, &two).unwrap();
        file.append(b"half").unwrap();
        assert_eq!(read(&*disk, tmp.path()).unwrap(), b"half");
        drop(tmp);
        assert_eq!(disk.list(&dir).unwrap(), ["two"]);
        disk.remove(&two).unwrap();
        assert_eq!(disk.remove(&two).unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.remove_dir(&dir).unwrap();
        assert_eq!(disk.list_dirs(&root.join("a")).unwrap(), Vec::<String>::new());
    }
}

/// The lengths that `name` has after many crashes; `None` where it is gone.
fn after_crashes(disk: &MemDisk, name: &Path) -> BTreeSet<Option<usize>> {
    let crashes = (0..300).map(|seed| disk.crash(&mut Dice(seed)));
    crashes.map(|disk| read(&*disk, name).ok().map(|bytes| bytes.len())).collect()
}

#[test]
fn a_crash_takes_what_was_not_synced() {
    let disk = MemDisk::new();
    let (dir, file) = (Path::new("/d"), Path::new("/d/f"));
    let mut open = disk.create(file).unwrap();
    open.append(b"12").unwrap();
    // Neither name nor contents.
    assert_eq!(after_crashes(&disk, file), [None, Some(0), Some(1), Some(2)].into());
    disk.sync_dir(dir).unwrap();
    assert_eq!(after_crashes(&disk, file), [Some(0), Some(1), Some(2)].into());
    open.sync().unwrap();
    assert_eq!(after_crashes(&disk, file), [Some(2)].into());
    disk.rename(file, Path::new("/d/g")).unwrap();
    assert_eq!(after_crashes(&disk, file), [None, Some(2)].into());
    // What is synced in another directory says nothing about this one.
    disk.sync_dir(Path::new("/e")).unwrap();
    assert_eq!(after_crashes(&disk, file), [None, Some(2)].into());
    disk.sync_dir(dir).unwrap();
    assert_eq!(after_crashes(&disk, file), [None].into());
}

#[test]
fn faults_come_when_they_are_asked_for() {
    let disk = MemDisk::new();
    let mut file = disk.create(Path::new("/d/f")).unwrap();
    disk.fail_at(Some((2, Fault::Broken)));
    file.append(b"1234").unwrap();
    assert!(file.append(b"5678").is_err());
    assert_eq!(file.len().unwrap(), 6);
    file.sync().unwrap();
    disk.set_full(true);
    assert_eq!(file.append(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.truncate(1).unwrap();
    file.sync().unwrap();
    disk.set_full(false);
    disk.fail_at(Some((1, Fault::PowerLoss)));
    assert!(file.append(b"xx").is_err() && file.sync().is_err() && disk.is_off());
    assert!(disk.list(Path::new("/d")).is_err() && file.len().is_err());
    assert_eq!(disk.operations(), 8);
}
