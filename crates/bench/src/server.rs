//! The server under measurement: the real binary, on free ports, in a directory of its own.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use crate::{cpu, memory_group::MemoryGroup};

/// How long nothing may come in before a measurement is given up.
const STUCK: Duration = Duration::from_secs(60);

/// A running server; it ends with this.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT` of HTTP and of line protocol.
    pub(crate) http: String,
    pub(crate) ilp: String,
    _dir: TempDir,
}

impl Server {
    /// Starts `binary serve`, within `group` if there is one. `settings` are `NOWCAST_…` variables; those of the
    /// environment do not count.
    pub(crate) fn start(
        binary: &Path,
        dir: TempDir,
        settings: &[(&str, String)],
        group: Option<&MemoryGroup>,
    ) -> anyhow::Result<Server> {
        let log = dir.path().join("server.log");
        let mut command = match group {
            Some(group) => group.command(binary),
            None => Command::new(binary),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("NOWCAST_")) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--http", "127.0.0.1:0", "--ilp", "127.0.0.1:0", "--pg", "off", "--data"])
            .arg(dir.path().join("data"))
            .current_dir(dir.path())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("the server has no output")?).lines();
        let (mut http, mut ilp) = (None, None);
        while http.is_none() || ilp.is_none() {
            let Some(line) = lines.next().transpose()? else {
                let _ = child.kill();
                let _ = child.wait();
                let told = std::fs::read_to_string(&log).unwrap_or_default();
                anyhow::bail!("the server ended before it was ready:\n{told}");
            };
            if let Some((_, rest)) = line.split_once("http://") {
                http = http.or_else(|| rest.split('/').next().map(|address| address.trim().to_owned()));
            } else if let Some((_, rest)) = line.split_once("tcp://") {
                ilp = Some(rest.trim().to_owned());
            }
        }
        // A full pipe would hold the server up.
        std::thread::spawn(move || lines.for_each(drop));
        let (http, ilp) = (http.unwrap_or_default(), ilp.unwrap_or_default());
        Ok(Server { child, http, ilp, _dir: dir })
    }

    /// CPU seconds since it began.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        cpu::of_process(self.child.id())
    }

    /// Waits until `count()` of `table` is `rows`.
    pub(crate) fn wait_for_rows(&self, table: &str, rows: u64) -> anyhow::Result<()> {
        let (mut best, mut since) = (0, Instant::now());
        loop {
            // The position is cheap to ask for, so that asking is not what is measured; it counts rows and a few
            // events more, hence never falls short.
            let position = self.position()?;
            let found = if position >= rows { self.count(table).unwrap_or(0) } else { position };
            if position >= rows && found == rows {
                return Ok(());
            }
            anyhow::ensure!(
                position < rows || found <= rows,
                "{table} has {found} rows of {rows} that were sent"
            );
            if found > best {
                (best, since) = (found, Instant::now());
            }
            anyhow::ensure!(
                since.elapsed() < STUCK,
                "{table} stays at {found} rows of {rows} that were sent"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn position(&self) -> anyhow::Result<u64> {
        let answer: Value = serde_json::from_str(&self.get("/readyz", &[])?)?;
        answer["position"].as_str().and_then(|text| text.parse().ok()).context("/readyz tells no position")
    }

    fn count(&self, table: &str) -> anyhow::Result<u64> {
        let text = self.get("/exec", &[("query", &format!("SELECT count() FROM {table}"))])?;
        let answer: Value = serde_json::from_str(&text)?;
        answer["dataset"][0][0].as_u64().with_context(|| format!("no count in {text}"))
    }

    /// A metric of `/metrics`, the series of all its labels together.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.get("/metrics", &[])?;
        let mut values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let labels = rest.starts_with([' ', '{']);
            labels.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        });
        let first = values.next().with_context(|| format!("/metrics does not tell {name}"))?;
        Ok((first + values.sum::<f64>()) as u64)
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        let url = format!("http://{}{path}", self.http);
        let mut response = ureq::get(&url).query_pairs(query.iter().copied()).call().context(url)?;
        Ok(response.body_mut().read_to_string()?)
    }

    /// Peak of its memory, in bytes.
    pub(crate) fn memory_peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// Its memory now, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
        Ok(kib.with_context(|| format!("/proc tells no {name}"))?.trim().parse::<u64>()? * 1_024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data goes with the directory: there is nothing to end well for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
