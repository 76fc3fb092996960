//! How much memory the process may use: the machine's, or what its control groups allow, whichever is less.
//!
//! A limit may stand at any group above the process, as `memory.max` (version 2) or `memory.limit_in_bytes`
//! (version 1). `/proc/self/cgroup` tells the process's group in each hierarchy, `/proc/self/mountinfo` where a
//! hierarchy is mounted and which of its groups the mount begins at: in a container often the container's own,
//! and then what the first file tells is a path from outside.

use std::path::{Path, PathBuf};

/// What is taken for the machine's memory where nothing tells it.
const UNKNOWN_BYTES: usize = 2 << 30;

/// What the process may use, in bytes.
pub(crate) fn usable_bytes() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let machine = total_bytes(&read("/proc/meminfo"));
    let files = limit_files(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    // `max`, and files that are not there: no limit.
    let limits = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(machine).min().unwrap_or(UNKNOWN_BYTES)
}

fn total_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok()?.checked_mul(1_024)
}

/// The files that may hold a limit, from the process's own group up to where its hierarchy is mounted.
fn limit_files(cgroups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for mount in mounts.lines() {
        // ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS … - TYPE SOURCE OPTIONS
        let Some((place, kind)) = mount.split_once(" - ") else { continue };
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(mounted)) = (place.next(), place.next()) else { continue };
        let mut kind = kind.split(' ');
        let file = match (kind.next(), kind.nth(1)) {
            (Some("cgroup2"), _) => "memory.max",
            (Some("cgroup"), Some(options)) if options.split(',').any(|option| option == "memory") => {
                "memory.limit_in_bytes"
            }
            _ => continue,
        };
        let Some(group) = group_of(cgroups, file == "memory.max") else { continue };
        let inside = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
        let own = Path::new(mounted).join(inside);
        let groups = own.ancestors().take_while(|group| group.starts_with(mounted));
        files.extend(groups.map(|group| group.join(file)));
    }
    files
}

/// The process's group in the hierarchy that limits memory.
fn group_of(cgroups: &str, is_version_2: bool) -> Option<&str> {
    cgroups.lines().find_map(|line| {
        // HIERARCHY:CONTROLLERS:PATH, without controllers in version 2.
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let found = match is_version_2 {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|controller| controller == "memory"),
        };
        found.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cgroups: &str, mounts: &str, expected: &[&str]) {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(limit_files(cgroups, mounts), expected);
    }

    #[test]
    fn version_2_on_the_host() {
        check(
            "0::/system.slice/nowcast.service\n",
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            &[
                "/sys/fs/cgroup/system.slice/nowcast.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ],
        );
    }

    #[test]
    fn version_2_in_a_container() {
        let mounts = "600 599 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("0::/\n", mounts, &["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn version_1_beside_an_empty_version_2() {
        check(
            "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n",
            "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             2 0 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             3 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            &[
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/unified/memory.max",
            ],
        );
    }

    #[test]
    fn version_1_in_a_container_that_sees_the_path_from_outside() {
        check(
            "9:memory:/docker/c0ffee\n",
            "7 6 0:9 /docker/c0ffee /sys/fs/cgroup/memory ro master:11 - cgroup cgroup rw,memory\n",
            &["/sys/fs/cgroup/memory/memory.limit_in_bytes"],
        );
    }

    #[test]
    fn nothing_is_mounted() {
        check("0::/\n", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", &[]);
        assert_eq!(total_bytes("MemTotal:       24683816 kB\nMemFree: 1 kB\n"), Some(24_683_816 * 1_024));
    }
}
