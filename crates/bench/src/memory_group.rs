//! A control group with a bound on memory, for one measured process.
//!
//! Version 1: a group below our own. Version 2, where a group that holds processes can have none below that is
//! bounded: one beside our own. Only the usual places of mounting are looked at. The group goes with this, after the
//! process has ended.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

const VERSION_1: &str = "/sys/fs/cgroup/memory";
const VERSION_2: &str = "/sys/fs/cgroup";

/// Where a version keeps what is asked of it here.
struct Files {
    bound: &'static str,
    /// Of memory and swap together, or of swap: a process that swaps is not within its bound.
    swap: &'static str,
    peak: &'static str,
    /// Holds a line `oom_kill N`.
    events: &'static str,
}

const FILES_1: Files = Files {
    bound: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
};
const FILES_2: Files =
    Files { bound: "memory.max", swap: "memory.swap.max", peak: "memory.peak", events: "memory.events" };

/// A group; it is removed with this.
pub(crate) struct MemoryGroup {
    dir: PathBuf,
    version: u8,
    files: Files,
}

impl fmt::Display for MemoryGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a control group of version {}", self.version)
    }
}

impl MemoryGroup {
    /// Makes a group whose processes may use `bytes_max` together.
    ///
    /// # Errors
    /// We are not root, or no hierarchy with the memory controller is mounted, or it may not be written to.
    pub(crate) fn make(bytes_max: u64) -> anyhow::Result<MemoryGroup> {
        anyhow::ensure!(
            rustix::process::geteuid().is_root(),
            "root is needed to bound memory by a control group; run as root, or leave --memory-max out"
        );
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let (version, parent, files) = if Path::new(VERSION_1).join(FILES_1.bound).is_file() {
            (1, parent_1(&own), FILES_1)
        } else if Path::new(VERSION_2).join("cgroup.controllers").is_file() {
            (2, parent_2(&own)?, FILES_2)
        } else {
            anyhow::bail!("no control groups with the memory controller are mounted at {VERSION_2}");
        };
        let dir = parent.join(format!("nowcast-bench-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot make the control group {}", dir.display()))?;
        let group = MemoryGroup { dir, version, files };
        group.write(group.files.bound, &bytes_max.to_string())?;
        let swap = if version == 1 { bytes_max } else { 0 };
        // Not there where the kernel does not count swap, or has none.
        let _ = fs::write(group.dir.join(group.files.swap), swap.to_string());
        Ok(group)
    }

    /// A command that enters the group, then becomes `program`; arguments that are added are the program's.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.dir.join("cgroup.procs"))
            .arg(program);
        command
    }

    /// The most that was used, in bytes; what the kernel caches of files included.
    pub(crate) fn peak_bytes(&self) -> anyhow::Result<u64> {
        let text = self.read(self.files.peak)?;
        text.trim().parse().with_context(|| format!("{} holds {text:?}", self.files.peak))
    }

    /// How many of its processes the kernel killed for want of memory.
    pub(crate) fn kills(&self) -> anyhow::Result<u64> {
        let text = self.read(self.files.events)?;
        kills_in(&text).with_context(|| format!("{} holds {text:?}", self.files.events))
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = self.dir.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write to {}", path.display()))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.dir) {
            crate::note(&format!("the control group {} is left: {error}", self.dir.display()));
        }
    }
}

/// Our own group, or what is mounted if that is not in it.
fn parent_1(own: &str) -> PathBuf {
    let mounted = Path::new(VERSION_1);
    let own = path_in(own, |controllers| controllers.split(',').any(|name| name == "memory"));
    Some(mounted.join(own)).filter(|dir| dir.is_dir()).unwrap_or_else(|| mounted.to_owned())
}

/// The group above our own, with the memory controller on for those below it.
fn parent_2(own: &str) -> anyhow::Result<PathBuf> {
    let mounted = Path::new(VERSION_2);
    let own = path_in(own, str::is_empty);
    let parent = mounted.join(Path::new(own).parent().unwrap_or(Path::new("")));
    let control = parent.join("cgroup.subtree_control");
    let is_on =
        fs::read_to_string(&control).is_ok_and(|on| on.split_whitespace().any(|name| name == "memory"));
    if !is_on {
        fs::write(&control, "+memory").with_context(|| {
            format!("cannot bound memory below {}: it holds processes, or is read-only", parent.display())
        })?;
    }
    Ok(parent)
}

/// The path of our group in the hierarchy with such controllers, without the slash before it.
fn path_in(own: &str, is_wanted: impl Fn(&str) -> bool) -> &str {
    let mut groups = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let found = groups.find(|(controllers, _)| is_wanted(controllers));
    found.map_or("", |(_, path)| path.trim_start_matches('/'))
}

fn kills_in(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// `1GiB`, `512MiB`, `65536KiB` or a number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("", 0)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let number: Option<u64> = digits.trim().parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text:?} is no number of bytes; write 1GiB or 512MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_unit() {
        for (text, bytes) in [
            ("1GiB", Some(1 << 30)),
            ("512 MiB", Some(512 << 20)),
            ("77", Some(77)),
            ("1GB", None),
            ("", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_tells_is_read() {
        let own = "4:cpu,memory:/a/b\n1:cpuset:/\n0::/user.slice/x.scope\n";
        assert_eq!(path_in(own, |controllers| controllers.contains("memory")), "a/b");
        assert_eq!(path_in(own, str::is_empty), "user.slice/x.scope");
        assert_eq!(kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills_in("low 0\noom 1\noom_kill 1\noom_group_kill 0\n"), Some(1));
    }
}
