//! What a viewer costs: CPU for each message delivered to many viewers of one changing live query, beside a bare
//! loop of `write(2)` of the same bytes to as many sockets; memory of a viewer for whom nothing happens; and
//! whether evaluations grow with viewers.
//!
//! A sender writes rows over TCP at a steady rate; each becomes a round: a `delta` and its `progress`, which the
//! server writes as one. Viewers are WebSocket connections of this process whose bytes are counted and dropped.
//! What the server uses with one viewer (rows, evaluation, ticks) is taken off what it uses with all of them. The
//! loop's bytes are those of one viewer's rounds, of which it writes as many; its own thread's CPU counts.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
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
use tokio::{io::AsyncReadExt, task::JoinSet};
use tokio_tungstenite::{
    MaybeTlsStream, connect_async,
    tungstenite::{ClientRequestBuilder, Message},
};

use crate::{Place, cpu, machine, note, print, server::Server, thousands};

const QUERY: &str = "SELECT host, count(*) AS n, max(v) AS newest FROM fan GROUP BY host";

/// Rows of the live result; one changes in each round.
const HOSTS: u64 = 10;

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Viewers, one run each
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [100, 1_000])]
    viewers: Vec<usize>,
    /// Changes a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// How long each run sends
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    place: Place,
}

/// What one run showed.
struct Run {
    messages: u64,
    cpu_s: f64,
    evaluations: u64,
    idle_bytes: f64,
    bytes: u64,
}

pub(crate) fn run(args: &FanoutArgs) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;

    let binary = args.place.nowcast()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let one = measure(args, &binary, &runtime, 1)?;
    print(&format!("{} changes/s for {} s of one live query; {}", args.rate, args.seconds, machine()));
    print("");
    print("viewers   messages   us/message   write(2) us   ratio   evaluations   idle KB/viewer");
    print(&format!("{:>7}{:>11}{:>51}", 1, thousands(one.messages), one.evaluations));
    for &viewers in &args.viewers {
        let all = measure(args, &binary, &runtime, viewers)?;
        let messages = all.messages.saturating_sub(one.messages).max(1);
        let each = (all.cpu_s - one.cpu_s) / messages as f64;
        // A round is two messages and one write.
        let bytes = usize::try_from(all.bytes / (all.messages / 2).max(1))?;
        let bare = write_loop(viewers, bytes, usize::try_from(args.rate * args.seconds)?)? / 2.0;
        print(&format!(
            "{viewers:>7}{:>11}{:>13.2}{:>14.2}{:>8.2}{:>14}{:>17.1}",
            thousands(all.messages),
            each * 1e6,
            bare * 1e6,
            each / bare,
            all.evaluations,
            all.idle_bytes / 1e3
        ));
    }
    Ok(())
}

fn measure(
    args: &FanoutArgs,
    binary: &std::path::Path,
    runtime: &tokio::runtime::Runtime,
    viewers: usize,
) -> anyhow::Result<Run> {
    note(&format!("{viewers} viewers"));
    let settings = [
        ("NOWCAST_FEED_CONNECTIONS_PER_ADDRESS_MAX", "20000".to_owned()),
        ("NOWCAST_FEED_REQUESTS_PER_SECOND_MAX", "0".to_owned()),
    ];
    let server = Server::start(binary, args.place.temp_dir()?, &settings, None)?;
    let mut sender = TcpStream::connect(&server.ilp)?;
    sender.set_nodelay(true)?;
    let first: String = (0..HOSTS).map(|host| format!("fan,host=h{host} v=-1i\n")).collect();
    sender.write_all(first.as_bytes())?;
    server.wait_for_rows("fan", HOSTS)?;

    // What the first viewer brings (the view, its frames) is not the others'.
    let counted = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let http = server.http.clone();
    runtime.block_on(watch(&http, &mut tasks, &counted, 1))?;
    let before = server.memory()?;
    runtime.block_on(watch(&http, &mut tasks, &counted, viewers - 1))?;
    let idle_bytes = server.memory()?.saturating_sub(before) as f64 / (viewers - 1).max(1) as f64;

    // Evaluations are counted once a tick.
    std::thread::sleep(Duration::from_millis(1_500));
    let sent = server.metric("nowcast_feed_messages_sent_total")?;
    let evaluated = server.metric("nowcast_views_evaluations_total")?;
    let (used, bytes) = (server.cpu()?, counted.load(Ordering::Relaxed));
    let began = Instant::now();
    for row in 0..args.rate * args.seconds {
        let due = began + Duration::from_secs(1).mul_f64(row as f64 / args.rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sender.write_all(format!("fan,host=h{} v={row}i\n", row % HOSTS).as_bytes())?;
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let run = Run {
        messages: server.metric("nowcast_feed_messages_sent_total")? - sent,
        cpu_s: server.cpu()? - used,
        evaluations: server.metric("nowcast_views_evaluations_total")? - evaluated,
        idle_bytes,
        bytes: counted.load(Ordering::Relaxed) - bytes,
    };
    tasks.abort_all();
    Ok(run)
}

/// Opens `count` viewers, waits for their first rows, and counts what comes from then on.
async fn watch(
    http: &str,
    tasks: &mut JoinSet<()>,
    counted: &Arc<AtomicU64>,
    count: usize,
) -> anyhow::Result<()> {
    for _ in 0..count {
        let request = ClientRequestBuilder::new(format!("ws://{http}/api/v1/live").parse()?)
            .with_sub_protocol("nowcast.v1.json");
        let (mut socket, _) = connect_async(request).await.context("cannot open a WebSocket")?;
        let subscribe = json!({ "op": "subscribe", "id": 1, "query": QUERY }).to_string();
        socket.send(Message::text(subscribe)).await?;
        let mut has_rows = false;
        loop {
            let message = socket.next().await.context("the server closed a viewer")??;
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text)?;
            anyhow::ensure!(message["op"] != "error", "the server answered {text}");
            has_rows |= message["op"] == "snapshot";
            if has_rows && message["op"] == "progress" {
                break;
            }
        }
        let MaybeTlsStream::Plain(mut plain) = socket.into_inner() else { continue };
        let counted = Arc::clone(counted);
        tasks.spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok(read @ 1..) = plain.read(&mut buffer).await {
                counted.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
    }
    Ok(())
}

/// CPU seconds of one `write(2)` of `bytes` bytes: `rounds` to each of `viewers` sockets that somebody reads.
fn write_loop(viewers: usize, bytes: usize, rounds: usize) -> anyhow::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sockets = Vec::with_capacity(viewers);
    let mut readers = Vec::with_capacity(viewers);
    for _ in 0..viewers {
        let reader = TcpStream::connect(listener.local_addr()?)?;
        reader.set_nonblocking(true)?;
        readers.push(reader);
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let total = viewers * bytes * rounds;
    let drain = std::thread::spawn(move || {
        let (mut buffer, mut read) = (vec![0; 64 << 10], 0);
        while read < total {
            for reader in &mut readers {
                read += reader.read(&mut buffer).unwrap_or(0);
            }
        }
    });
    let frame = vec![b'x'; bytes];
    let before = cpu::of_this_thread()?;
    for _ in 0..rounds {
        for socket in &mut sockets {
            socket.write_all(&frame)?;
        }
    }
    let used = cpu::of_this_thread()? - before;
    drain.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    Ok(used / (viewers * rounds) as f64)
}
