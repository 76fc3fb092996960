//! One process a data directory.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use nowcast_disk::{Disk, RealDisk};
use rustix::fs::{FlockOperation, flock};

/// Held while the process uses the directory; the kernel lets go of it when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct DataLock {
    _dir: File,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the data directory {dir} is in use by process {pid}; stop it, or give another one with --data")]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, as it wrote itself down.
        pid: String,
    },
    /// It cannot be made or written.
    #[error("cannot use the data directory {dir}: {cause}; make space or give another one with --data")]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
}

impl DataLock {
    /// Makes the directory if it is absent and takes its lock.
    ///
    /// # Errors
    /// Another process holds it, or it cannot be written.
    pub fn take(dir: &Path) -> Result<DataLock, LockError> {
        let unusable = |cause| LockError::Unusable { dir: dir.to_owned(), cause };
        RealDisk.create_dir(dir).map_err(unusable)?;
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(unusable)?;
        // The directory itself is locked: whoever removes the file that names the process lets nobody else in.
        let locked = File::open(dir).map_err(unusable)?;
        if flock(&locked, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "?".to_owned() } else { pid.trim().to_owned() };
            return Err(LockError::InUse { dir: dir.to_owned(), pid });
        }
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(unusable)?;
        Ok(DataLock { _dir: locked })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_second_taker_learns_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let error = DataLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        assert!(DataLock::take(dir.path()).is_err());
        drop(first);
        assert!(DataLock::take(dir.path()).is_ok());
    }
}
