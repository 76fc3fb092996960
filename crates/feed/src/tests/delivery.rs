//! Clients behind a network that the test breaks: what goes through is delayed, cut off in the middle of a
//! message, and lost with its connection. When the dust settles every client shows what the server has.
//!
//! `NOWCAST_SEED` repeats a run; the seed of a failed one is in its message.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::rig::{EPOCH, Rig, Screen};
use crate::FeedLimits;

const CLIENTS: u64 = 12;
const VIEWS: usize = 3;
const STORM: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(30);

/// splitmix64: random enough, and the same everywhere.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Connections to `server`, which break while `storm` holds.
async fn network(server: SocketAddr, storm: Arc<AtomicBool>, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut dice = Dice(seed);
        while let Ok((near, _)) = listener.accept().await {
            let (storm, dice) = (Arc::clone(&storm), Dice(dice.next(u64::MAX)));
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(server).await else { return };
                let (mut near_read, mut near_write) = near.into_split();
                let (mut far_read, mut far_write) = far.into_split();
                let there = pump(&mut near_read, &mut far_write, Arc::clone(&storm), Dice(dice.0 ^ 1));
                let back = pump(&mut far_read, &mut near_write, storm, dice);
                // Either side's end is the connection's.
                tokio::select! { () = there => {}, () = back => {} }
            });
        }
    });
    address
}

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    storm: Arc<AtomicBool>,
    mut dice: Dice,
) {
    let mut buffer = vec![0; 2_048];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let mut kept = read;
        if storm.load(Ordering::Relaxed) {
            match dice.next(100) {
                0..15 => tokio::time::sleep(Duration::from_millis(dice.next(60))).await,
                // A part of what was read goes through, the rest is lost with the connection.
                15..18 => kept = usize::try_from(dice.next(read as u64)).unwrap(),
                _ => {}
            }
        }
        if to.write_all(&buffer[..kept]).await.is_err() || kept < read {
            return;
        }
    }
}

/// What all clients are held against.
#[derive(Default)]
struct Judge {
    calm: AtomicBool,
    /// The version at which nothing more will change.
    last: AtomicU64,
    connections: AtomicU64,
    resumes: AtomicU64,
    snapshots_on_resume: AtomicU64,
}

/// One client: comes back until the end, and ends with what it shows.
async fn client(address: SocketAddr, number: u64, packed: bool, judge: Arc<Judge>) -> HashMap<u64, String> {
    let mut screen = Screen::default();
    let mut cursor = None::<u64>;
    loop {
        judge.connections.fetch_add(1, Ordering::Relaxed);
        let mut request = format!("ws://{address}/api/v1/live").into_client_request().unwrap();
        let protocol = if packed { "nowcast.v1.msgpack" } else { "nowcast.v1.json" };
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let Ok(Ok((mut socket, _))) = timeout(Duration::from_secs(2), connect_async(request)).await else {
            tokio::time::sleep(Duration::from_millis(5 + number)).await;
            continue;
        };
        screen.reconnect();
        let mut said = Vec::new();
        if let Some(version) = cursor {
            said.push(serde_json::json!({ "op": "resume", "epoch": EPOCH.to_string(), "version": version }));
            screen.version = version;
        }
        for view in 0..VIEWS {
            let snapshot = cursor.is_none();
            said.push(serde_json::json!({
                "op": "subscribe", "id": view, "query": format!("q{view}"), "snapshot": snapshot,
            }));
        }
        let mut broken = false;
        for message in said {
            let message = match packed {
                true => Message::binary(rmp_serde::to_vec_named(&message).unwrap()),
                false => Message::text(message.to_string()),
            };
            broken |= socket.feed(message).await.is_err();
        }
        // In one write: a subscribe that comes after the first round begins with a snapshot.
        broken |= socket.flush().await.is_err();
        let resumed = cursor.is_some();
        let mut first = true;
        // What was not answered on this connection may show an older moment than its progress.
        let mut answered = HashSet::new();
        if broken {
            continue;
        }
        loop {
            let text = match timeout(Duration::from_secs(5), socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => text.to_string(),
                Ok(Some(Ok(Message::Binary(bytes)))) => super::packed::read(&bytes).to_string(),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                _ => break,
            };
            // `Screen` holds that versions never go backwards, across connections, too: the cursor was set above.
            let closed_round = screen.take(&text);
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            answered.extend(message["id"].as_u64());
            if !closed_round || answered.len() < VIEWS {
                continue;
            }
            if std::mem::take(&mut first) && resumed {
                judge.resumes.fetch_add(1, Ordering::Relaxed);
                let snapshots = u64::try_from(screen.snapshots).unwrap();
                judge.snapshots_on_resume.fetch_add(snapshots, Ordering::Relaxed);
            }
            cursor = Some(screen.version);
            if judge.calm.load(Ordering::Acquire) && screen.version >= judge.last.load(Ordering::Acquire) {
                return (0..VIEWS as u64).map(|id| (id, screen.show(id))).collect();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_every_client_shows_what_the_server_has() {
    let seed = match std::env::var("NOWCAST_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => u64::from(std::process::id()) ^ 0x5eed,
    };
    let mut dice = Dice(seed);
    let mut rig = Rig::new();
    let views: Vec<_> = (0..VIEWS).map(|n| rig.add(&format!("q{n}"))).collect();
    let keys: Vec<String> = (0..200).map(|n| format!("k{n:03}")).collect();
    let mut rows: Vec<HashMap<&str, i64>> = vec![HashMap::new(); VIEWS];
    for &view in &views {
        rig.stage(view, &[]);
    }
    rig.publish();
    let (state, server) = rig.serve(FeedLimits::default()).await;
    let storm = Arc::new(AtomicBool::new(true));
    let address = network(server, Arc::clone(&storm), dice.next(u64::MAX)).await;
    let judge = Arc::new(Judge::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(address, number, number % 2 == 0, Arc::clone(&judge))))
        .collect();
    let began = Instant::now();
    let mut n = 0;
    while began.elapsed() < STORM {
        let which = usize::try_from(dice.next(VIEWS as u64)).unwrap();
        for _ in 0..=dice.next(20) {
            let key = keys[usize::try_from(dice.next(keys.len() as u64)).unwrap()].as_str();
            n += 1;
            if dice.next(4) == 0 {
                rows[which].remove(key);
            } else {
                rows[which].insert(key, n);
            }
        }
        let now: Vec<(&str, i64)> = rows[which].iter().map(|(key, value)| (*key, *value)).collect();
        rig.set(views[which], &now);
        tokio::time::sleep(Duration::from_millis(dice.next(15))).await;
    }
    storm.store(false, Ordering::Relaxed);
    // The next tick: a moment of which every viewer is told.
    rig.tick += 1_000_000;
    let last = rig.publish();
    judge.last.store(last.get(), Ordering::Release);
    judge.calm.store(true, Ordering::Release);
    let expected: HashMap<u64, String> = (0..)
        .zip(&rows)
        .map(|(id, rows)| {
            let mut rows: Vec<String> = rows.iter().map(|(key, value)| format!("{key}={value}")).collect();
            rows.sort();
            (id, rows.join(" "))
        })
        .collect();
    for client in clients {
        let shown = timeout(PATIENCE, client).await;
        let shown = shown.unwrap_or_else(|_| panic!("seed {seed}: a client hangs")).unwrap();
        assert_eq!(shown, expected, "seed {seed}");
    }
    let told = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (connections, resumes) = (told(&judge.connections), told(&judge.resumes));
    assert!(connections > 2 * CLIENTS && resumes > CLIENTS, "seed {seed}: {connections} {resumes}: no storm");
    assert_eq!(told(&judge.snapshots_on_resume), 0, "seed {seed}: a resume cost a snapshot");
    assert_eq!(state.counts().resumes_refused, 0, "seed {seed}");
}
