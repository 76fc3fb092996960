//! One file to another place, with its checksum.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use nowcast_disk::{Disk, DiskFile, RealDisk};

use super::list::Listed;

/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes the directory of a file.
pub(super) fn create_parent(to: &Path) -> anyhow::Result<()> {
    let Some(dir) = to.parent() else { return Ok(()) };
    RealDisk.create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Hands all bytes of `path` on, and answers their number and CRC32C.
pub(super) fn read(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<(u64, u32)> {
    let mut file = open(path)?;
    let (mut bytes, mut crc) = (0, 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let len = file.read(&mut chunk).with_context(|| format!("cannot read {}", path.display()))?;
        if len == 0 {
            return Ok((bytes, crc));
        }
        each(&chunk[..len])?;
        bytes += len as u64;
        crc = crc32c::crc32c_append(crc, &chunk[..len]);
    }
}

fn create(to: &Path) -> anyhow::Result<Box<dyn DiskFile>> {
    create_parent(to)?;
    RealDisk.create(to).with_context(|| format!("cannot make {}", to.display()))
}

/// Copies `from` to `path` within `root`, durably but for its name, and with its permissions: settings may hold
/// passwords.
pub(super) fn copy(from: &Path, root: &Path, path: PathBuf) -> anyhow::Result<Listed> {
    let to = root.join(&path);
    let permissions = open(from)?.metadata()?.permissions();
    let mut target = create(&to)?;
    fs::set_permissions(&to, permissions)?;
    let writing = || format!("cannot write {}", to.display());
    let (bytes, crc) = read(from, |chunk| target.append(chunk).with_context(writing))?;
    target.sync().with_context(writing)?;
    Ok(Listed { path, bytes, crc, is_link: false })
}

/// Writes `bytes` to `path` within `root`.
pub(super) fn write(bytes: &[u8], root: &Path, path: PathBuf) -> anyhow::Result<Listed> {
    let to = root.join(&path);
    let mut target = create(&to)?;
    target
        .append(bytes)
        .and_then(|()| target.sync())
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(Listed { path, bytes: bytes.len() as u64, crc: crc32c::crc32c(bytes), is_link: false })
}
