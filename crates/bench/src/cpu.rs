//! CPU time by `/proc`: user and system, in seconds.
//!
//! Another process is measured by its `stat`, in ticks of 10 ms, threads that have ended included. This one is
//! measured by its threads' `schedstat`, in nanoseconds, since it is measured in short pieces.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;

/// `USER_HZ`: 100 on every architecture that Linux's interface to programs knows.
const TICKS_A_SECOND: f64 = 100.0;

/// What `/proc/PID/stat` tells.
struct Stat {
    parent: u32,
    own: f64,
    /// Of children that have ended.
    children: f64,
}

/// What the process `pid` used since it began.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<f64> {
    Ok(stat(pid)?.own)
}

/// What the process `pid` and its children used, those that have ended included.
pub(crate) fn of_family(pid: u32) -> anyhow::Result<f64> {
    let head = stat(pid)?;
    let mut seconds = head.own + head.children;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ended meanwhile is counted with its parent at the next call.
        if let Ok(stat) = stat(child)
            && stat.parent == pid
        {
            seconds += stat.own;
        }
    }
    Ok(seconds)
}

/// What the threads of this process used, those that have ended excluded.
pub(crate) fn of_own_threads() -> anyhow::Result<f64> {
    // The kernel adds up what the running thread used when it schedules: without this, some milliseconds late.
    std::thread::yield_now();
    let mut nanoseconds = 0;
    for entry in fs::read_dir("/proc/self/task")? {
        nanoseconds += schedstat(&entry?.path().join("schedstat"))?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// What this thread used.
pub(crate) fn of_this_thread() -> anyhow::Result<f64> {
    std::thread::yield_now();
    Ok(schedstat(std::path::Path::new("/proc/thread-self/schedstat"))? as f64 / 1e9)
}

/// What a piece of work in this process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) elapsed: Duration,
    /// Of all threads that are still there.
    pub(crate) cpu_s: f64,
}

/// Runs `work`.
pub(crate) fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Took)> {
    let (began, before) = (Instant::now(), of_own_threads()?);
    let out = work()?;
    Ok((out, Took { cpu_s: of_own_threads()? - before, elapsed: began.elapsed() }))
}

fn schedstat(path: &std::path::Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
    first.with_context(|| format!("{} holds no number: {text:?}", path.display()))
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_stat(&text).with_context(|| format!("{path} is not as expected: {text:?}"))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let seconds = |user, system| Some((ticks(user)? + ticks(system)?) / TICKS_A_SECOND);
    Some(Stat { parent: fields.get(1)?.parse().ok()?, own: seconds(11, 12)?, children: seconds(13, 14)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_behind_any_name() {
        let stat = parse_stat("7 (a ) b) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 20 30 20 0 1 0 9").map(|stat| {
            assert_eq!(stat.parent, 3);
            (stat.own, stat.children)
        });
        assert_eq!(stat, Some((2.0, 0.5)));
    }
}
