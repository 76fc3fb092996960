//! From a row's `write()` to the message that shows it.
//!
//! A sender writes rows over TCP, one `write()` each, at a steady rate. The field `v` numbers them; the moment of
//! each `write()` is kept. Viewers are WebSocket connections with one live query,
//!
//! ```sql
//! SELECT host, count(*) AS n, max(v) AS newest FROM fresh GROUP BY host
//! ```
//!
//! A row is shown when the `progress` arrives that closes the round in which its host's `newest` reached its
//! number: that is when a page draws. Every row counts once for every viewer. Sender and viewers are this process,
//! on the same cores as the server: what they use is in the figures, not taken out.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_tungstenite::{connect_async, tungstenite::ClientRequestBuilder, tungstenite::Message};

use crate::{Place, machine, median, note, print, server::Server, thousands};

const QUERY: &str = "SELECT host, count(*) AS n, max(v) AS newest FROM fresh GROUP BY host";

/// Rows take turns among so many hosts: the rows of the live result.
const HOSTS: usize = 10;

/// How long the last rows may take.
const LAST_ROWS: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct FreshnessArgs {
    /// Rows a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// WebSocket connections
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    viewers: u64,
    /// How long each run sends
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Runs, each with a new server; the median is told
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    #[command(flatten)]
    place: Place,
}

/// What one run showed.
struct Run {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Rows a second that were really sent.
    rate: f64,
    /// Of the server, in cores.
    cpu: f64,
}

pub(crate) fn run(args: &FreshnessArgs) -> anyhow::Result<()> {
    // Each viewer is a socket.
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;

    let binary = args.place.nowcast()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        note(&format!("run {number} of {}", args.runs));
        let server = Server::start(&binary, args.place.temp_dir()?, &[], None)?;
        runs.push(runtime.block_on(one(args, &server))?);
    }
    print(&format!(
        "{} rows/s for {} s, {} viewers of one live query; {}",
        thousands(args.rate),
        args.seconds,
        thousands(args.viewers),
        machine()
    ));
    print("");
    print("             p50 ms    p99 ms    max ms   rows/s sent   server CPU");
    let line = |name: &str, run: &Run| {
        let Run { p50_ms, p99_ms, max_ms, rate, cpu } = run;
        print(&format!(
            "{name:<8}{p50_ms:>11.1}{p99_ms:>10.1}{max_ms:>10.1}{rate:>14.0}{:>12.0} %",
            cpu * 100.0
        ));
    };
    for (index, run) in runs.iter().enumerate() {
        line(&format!("run {}", index + 1), run);
    }
    let median_of = |get: fn(&Run) -> f64| median(runs.iter().map(get).collect());
    let medians = Run {
        p50_ms: median_of(|run| run.p50_ms),
        p99_ms: median_of(|run| run.p99_ms),
        max_ms: median_of(|run| run.max_ms),
        rate: median_of(|run| run.rate),
        cpu: median_of(|run| run.cpu),
    };
    line("median", &medians);
    Ok(())
}

async fn one(args: &FreshnessArgs, server: &Server) -> anyhow::Result<Run> {
    let rows = usize::try_from(args.rate * args.seconds)?;
    let mut socket = TcpStream::connect(&server.ilp)?;
    socket.set_nodelay(true)?;
    // The table, and a row for each host below all that count.
    let first: String = (0..HOSTS).map(|host| format!("fresh,host=h{host} v=-1i\n")).collect();
    socket.write_all(first.as_bytes())?;
    server.wait_for_rows("fresh", HOSTS as u64)?;

    let sent =
        Arc::new(Sent { start: Instant::now(), at_us: (0..rows).map(|_| AtomicU64::new(0)).collect() });
    let (ready, mut waiting) = mpsc::unbounded_channel();
    let mut viewers = JoinSet::new();
    for _ in 0..args.viewers {
        viewers.spawn(viewer(server.http.clone(), Arc::clone(&sent), ready.clone()));
    }
    for _ in 0..args.viewers {
        tokio::select! {
            _ = waiting.recv() => {}
            // None ends before rows were sent, unless it fails.
            Some(ended) = viewers.join_next() => { ended??; }
        }
    }
    let (began, before) = (Instant::now(), server.cpu()?);
    let interval = Duration::from_secs(1).div_f64(args.rate as f64);
    let sender = {
        let sent = Arc::clone(&sent);
        std::thread::spawn(move || send(&mut socket, &sent, interval))
    };
    let mut times_us: Vec<u32> = Vec::with_capacity(rows * viewers.len());
    let collect = async {
        while let Some(ended) = viewers.join_next().await {
            times_us.extend(ended??);
        }
        anyhow::Ok(())
    };
    let within = Duration::from_secs(args.seconds) + LAST_ROWS;
    tokio::time::timeout(within, collect).await.context("rows that were sent were never shown")??;
    let cpu = (server.cpu()? - before) / began.elapsed().as_secs_f64();
    let took = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    times_us.sort_unstable();
    let at = |share: f64| {
        let index = (times_us.len() as f64 * share).ceil() as usize;
        f64::from(times_us[index.clamp(1, times_us.len()) - 1]) / 1e3
    };
    Ok(Run {
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        rate: rows as f64 / took.as_secs_f64(),
        cpu,
    })
}

/// When each row was written: microseconds since `start`.
struct Sent {
    start: Instant,
    at_us: Vec<AtomicU64>,
}

impl Sent {
    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Writes a row at each interval; how long it took.
fn send(socket: &mut TcpStream, sent: &Sent, interval: Duration) -> anyhow::Result<Duration> {
    let began = Instant::now();
    for (row, at_us) in sent.at_us.iter().enumerate() {
        let due = began + interval.mul_f64(row as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let line = format!("fresh,host=h{} v={row}i\n", row % HOSTS);
        at_us.store(sent.now_us(), Ordering::Release);
        socket.write_all(line.as_bytes()).context("the server closed the connection")?;
    }
    Ok(began.elapsed())
}

/// Watches until all rows were shown. Microseconds that each took.
async fn viewer(http: String, sent: Arc<Sent>, ready: mpsc::UnboundedSender<()>) -> anyhow::Result<Vec<u32>> {
    let request = ClientRequestBuilder::new(format!("ws://{http}/api/v1/live").parse()?)
        .with_sub_protocol("nowcast.v1.json");
    let (mut socket, _) = connect_async(request).await.context("cannot open a WebSocket")?;
    let subscribe = json!({ "op": "subscribe", "id": 1, "query": QUERY }).to_string();
    socket.send(Message::text(subscribe)).await?;

    let rows = sent.at_us.len();
    let mut times_us = Vec::with_capacity(rows);
    let mut columns = None;
    let mut newest = [-1_i64; HOSTS];
    // The next row of each host that was not shown.
    let mut next: [usize; HOSTS] = std::array::from_fn(|host| host);
    let mut ready = Some(ready);
    while times_us.len() < rows {
        let message = socket.next().await.context("the server closed a viewer")??;
        let now_us = sent.now_us();
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text)?;
        match message["op"].as_str() {
            Some("snapshot") => {
                let found = column(&message, "host").zip(column(&message, "newest"));
                columns = Some(found.with_context(|| format!("columns are missing in {text}"))?);
                note_newest(&message["rows"], columns, &mut newest)?;
            }
            Some("delta") => note_newest(&message["upsert"], columns, &mut newest)?,
            Some("progress") if columns.is_some() => {
                if let Some(ready) = ready.take() {
                    // Nobody waits any more if the run was given up.
                    let _ = ready.send(());
                }
                for (next, newest) in next.iter_mut().zip(&newest) {
                    while *next < rows && (*next as i64) <= *newest {
                        let took = now_us.saturating_sub(sent.at_us[*next].load(Ordering::Acquire));
                        times_us.push(u32::try_from(took).unwrap_or(u32::MAX));
                        *next += HOSTS;
                    }
                }
            }
            Some("error") => anyhow::bail!("the server answered {text}"),
            _ => {}
        }
    }
    Ok(times_us)
}

fn column(snapshot: &Value, name: &str) -> Option<usize> {
    snapshot["schema"]["columns"].as_array()?.iter().position(|column| column["name"] == name)
}

/// Takes in what each host's newest row is.
fn note_newest(
    rows: &Value,
    columns: Option<(usize, usize)>,
    newest: &mut [i64; HOSTS],
) -> anyhow::Result<()> {
    let (host, value) = columns.context("a delta came before its snapshot")?;
    for row in rows.as_array().into_iter().flatten() {
        let host = row[host].as_str().and_then(|host| host.strip_prefix('h')?.parse::<usize>().ok());
        let slot = host
            .and_then(|host| newest.get_mut(host))
            .with_context(|| format!("an unknown host in {row}"))?;
        *slot = row[value].as_i64().with_context(|| format!("no number in {row}"))?;
    }
    Ok(())
}
