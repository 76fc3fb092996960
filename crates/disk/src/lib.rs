//! The few things that the log and the store ask of a file system, as a trait, so that tests can lose what was
//! not synced and fail what should work.
//!
//! [`RealDisk`] is the one of this machine. [`MemDisk`] keeps files in memory, knows which bytes and names are
//! durable, fails at the operation that a test names, and makes of itself what a loss of power could leave.
//!
//! What is not here: buffers, caches, retries, and any knowledge of what the files are.

mod mem;
mod real;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use mem::{Dice, Fault, MemDisk};
pub use real::RealDisk;

/// A file system. A file's name becomes durable with [`Disk::sync_dir`] of its directory, its contents with
/// [`DiskFile::sync`]; until then a crash may lose any part of them.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it, durably, if they are not there.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in any order; none for a directory that is not there.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The names of the directories in a directory, in any order; none for one that is not there.
    ///
    /// # Errors
    /// What the system says.
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file to be read.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes an empty file to be written; it must not be there yet.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to be read and written on at its end.
    ///
    /// # Errors
    /// What the system says.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name in its directory; a file that has that name already is replaced.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes durable which files a directory has.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Any number of threads may read it.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// True for a file of no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into all of `into` from byte `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends first, or what the system says.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes all of `bytes` at the end. After an error any part of them may be there.
    ///
    /// # Errors
    /// What the system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes contents and length durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system says. What was written since the last sync is then lost or not: nobody knows.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// All bytes of a file.
///
/// # Errors
/// What the system says.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A file under a temporary name, removed unless it gets its own: a full disk must not stay full of halves.
pub struct Tmp {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    is_renamed: bool,
}

impl Tmp {
    /// Makes an empty file under the name of `path` with `.tmp` behind it. A leftover of that name goes.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<(Tmp, Box<dyn DiskFile>)> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let tmp = Tmp { disk: disk.clone(), path: name.into(), is_renamed: false };
        match disk.remove(&tmp.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&tmp.path)?;
        Ok((tmp, file))
    }

    /// Its temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file, which was synced, its own name, durably: there is none of it, an older one or this one,
    /// whatever happens.
    ///
    /// # Errors
    /// What the system says; then the file may have either name.
    pub fn rename(mut self, path: &Path) -> io::Result<()> {
        self.disk.rename(&self.path, path)?;
        self.is_renamed = true;
        path.parent().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}

impl Drop for Tmp {
    fn drop(&mut self) {
        if !self.is_renamed {
            // If it stays, the next file of that name, or the next start, removes it.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Writes a whole file under its name: there is none, the old one or the new one, whatever happens.
///
/// # Errors
/// What the system says.
pub fn write_durably(disk: &Arc<dyn Disk>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (tmp, mut file) = Tmp::create(disk, path)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    tmp.rename(path)
}

#[cfg(test)]
mod tests;
