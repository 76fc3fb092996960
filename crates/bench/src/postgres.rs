//! PostgreSQL's `COPY` of the same rows: a cluster of its own, default settings, on a Unix socket.
//!
//! The CSV comes from this process over `COPY … FROM STDIN`, so making and sending it is not measured, as with the
//! server. Measured are all processes of the cluster: the backend, the writers, the checkpointer.

use std::{
    fs::{File, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use futures::SinkExt;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::{
    cpu,
    ingest::Measured,
    is_executable,
    pipeline::CHUNK_ROWS,
    tsbs::{FIELD_NAMES, Rows, TAGS},
};

/// Bytes of one `CopyData` message.
const PIECE_BYTES: usize = 64 << 10;

/// A cluster; it ends with this.
struct Cluster {
    postmaster: Child,
    dir: TempDir,
}

/// The newest installed version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| is_executable(&bin.join("initdb")))
        .max()?;
    Some(newest.1)
}

/// Copies `rows` rows. `None` if PostgreSQL is not installed; else its version and what it took.
pub(crate) fn copy(dir: TempDir, mut rows: Rows, count: usize) -> anyhow::Result<Option<(String, Measured)>> {
    let Some(bin) = programs() else { return Ok(None) };
    let cluster = Cluster::start(&bin, dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = cluster.connect().await?;
        let version = client.query_one("SHOW server_version", &[]).await?.get::<_, String>(0);
        let version = version.split([' ', '.']).next().unwrap_or_default().to_owned();
        let tags = TAGS.map(|tag| format!("{tag} text")).join(", ");
        let fields = FIELD_NAMES.map(|field| format!("{field} bigint")).join(", ");
        client
            .batch_execute(&format!("CREATE TABLE cpu (timestamp timestamp NOT NULL, {tags}, {fields})"))
            .await?;

        let (began, before) = (Instant::now(), cpu::of_family(cluster.postmaster.id())?);
        let sink = client.copy_in::<_, Bytes>("COPY cpu FROM STDIN (FORMAT csv)").await?;
        let mut sink = std::pin::pin!(sink);
        let (mut left, mut bytes) = (count, 0);
        while left > 0 {
            let chunk = left.min(CHUNK_ROWS);
            let mut csv = Vec::new();
            rows.csv(chunk, &mut csv);
            bytes += csv.len() as u64;
            let csv = Bytes::from(csv);
            for from in (0..csv.len()).step_by(PIECE_BYTES) {
                sink.send(csv.slice(from..csv.len().min(from + PIECE_BYTES))).await?;
            }
            left -= chunk;
        }
        let copied = sink.finish().await?;
        let (elapsed, after) = (began.elapsed(), cpu::of_family(cluster.postmaster.id())?);
        anyhow::ensure!(copied == count as u64, "COPY wrote {copied} rows of {count}");
        Ok(Some((version, Measured { cpu_s: after - before, elapsed, bytes })))
    })
}

impl Cluster {
    fn start(bin: &Path, dir: TempDir) -> anyhow::Result<Cluster> {
        let log = File::create(dir.path().join("postgres.log"))?;
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.args([
            "--auth=trust",
            "--username=bench",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--pgdata",
        ]);
        let mut postgres = Command::new(bin.join("postgres"));
        postgres.args(["-c", "listen_addresses=", "-k"]).arg(dir.path()).arg("-D");
        for command in [&mut initdb, &mut postgres] {
            command.arg(dir.path().join("data")).current_dir(dir.path()).stdin(Stdio::null());
            command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        }
        // PostgreSQL refuses to run as root.
        if rustix::process::geteuid().is_root() {
            let (user, group) = unprivileged()?;
            std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
            chown(dir.path(), Some(user), Some(group))?;
            initdb.uid(user).gid(group);
            postgres.uid(user).gid(group);
        }
        let told = || std::fs::read_to_string(dir.path().join("postgres.log")).unwrap_or_default();
        anyhow::ensure!(initdb.status()?.success(), "initdb failed:\n{}", told());
        let postmaster = postgres.spawn().context("cannot start postgres")?;
        Ok(Cluster { postmaster, dir })
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let began = Instant::now();
        loop {
            let mut config = tokio_postgres::Config::new();
            config.host_path(self.dir.path()).user("bench").dbname("postgres");
            match config.connect(NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return Ok(client);
                }
                Err(_) if began.elapsed() < Duration::from_secs(30) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    let told =
                        std::fs::read_to_string(self.dir.path().join("postgres.log")).unwrap_or_default();
                    return Err(error).context(format!("PostgreSQL did not start:\n{told}"));
                }
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGQUIT is the immediate shutdown: children end too, nothing is written any more.
        let pid = rustix::process::Pid::from_child(&self.postmaster);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.postmaster.wait();
    }
}

/// User and group of `postgres`, else of `nobody`.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .context("there is no user `postgres` or `nobody` to run PostgreSQL as")
}
