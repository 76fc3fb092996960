//! A server over a directory, under a clock that the test sets.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nowcast_model::{Clock, ManualClock, Tick};
use nowcast_query::{Params, cells};

use super::{Listeners, Server, Start};
use crate::{
    config::{self, Overrides},
    sql::{Answer, STACK_BYTES, Session},
    telemetry,
};

/// 2026-11-25T10:00:00.25Z.
const NOW_US: i64 = 1_795_600_800_250_000;
const HOUR_US: i64 = 3_600_000_000;

async fn start(data: &Path, clock: &Arc<ManualClock>) -> Server {
    start_with(data, clock, |_| {}).await
}

async fn start_with(data: &Path, clock: &Arc<ManualClock>, set: impl FnOnce(&mut config::Config)) -> Server {
    let flags = Overrides {
        data: Some(data.to_owned()),
        http: vec!["127.0.0.1:0".into()],
        ilp: Some("off".into()),
        pg: Some("off".into()),
    };
    let mut config = config::load(None, std::iter::empty(), flags).unwrap();
    set(&mut config);
    let start = Start {
        listeners: Listeners::bind(&config, false).await.unwrap(),
        config,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        metrics: telemetry::start_metrics().unwrap(),
        query_runtime: tokio::runtime::Handle::current(),
        generator: None,
    };
    Server::start(start).await.unwrap()
}

/// Runs a statement; the first cell of its rows, if it has any.
async fn run(server: &Server, text: &str) -> String {
    let statement = server.sql.engine().parse_one(text).unwrap();
    let answer = server.sql.run(&mut Session::default(), &statement, Params::default(), None).await.unwrap();
    let Answer::Rows(mut rows) = answer else { return String::new() };
    let batch = rows.next().await.unwrap().unwrap();
    format!("{:?}", cells(batch.column(0)).unwrap()[0])
}

/// The tick that viewers are shown, and how many rows `t` has.
async fn shown(server: &Server) -> (i64, i64) {
    let address = server.addresses.http[0];
    let url = format!("http://{address}/api/v1/live/snapshot?query=SELECT%20count()%20AS%20n%20FROM%20t");
    let read = move || ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    let body: serde_json::Value =
        serde_json::from_str(&tokio::task::spawn_blocking(read).await.unwrap()).unwrap();
    (body["now"].as_i64().unwrap(), body["rows"][0][0].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_moves_neither_now_nor_a_tick_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_US));
    let server = start(dir.path(), &clock).await;
    run(&server, "CREATE TABLE t (ts TIMESTAMP, v INT) timestamp(ts)").await;
    run(&server, "INSERT INTO t VALUES (now(), 1)").await;
    let at = format!("Timestamp({NOW_US})");
    assert_eq!(run(&server, "SELECT ts FROM t").await, at);
    assert_eq!(shown(&server).await, (Tick::containing(NOW_US).us(), 1));

    // While it runs.
    clock.set_us(NOW_US - HOUR_US);
    assert_eq!(run(&server, "SELECT now()").await, at);
    run(&server, "INSERT INTO t VALUES (now(), 2)").await;
    assert_eq!(run(&server, "SELECT min(ts) FROM t").await, at);
    assert_eq!(shown(&server).await, (Tick::containing(NOW_US).us(), 2));
    server.stop().await;

    // Over a restart: what was acknowledged is there, and nothing shows less than the newest record.
    let server = start(dir.path(), &clock).await;
    assert_eq!(run(&server, "SELECT now()").await, at);
    assert_eq!(run(&server, "SELECT count() FROM t WHERE ts <= now()").await, "Int(2)");
    assert_eq!(shown(&server).await, (Tick::containing(NOW_US).us(), 2));

    // Once the clock has caught up, time goes on.
    clock.set_us(NOW_US + 5_000_000);
    assert_eq!(run(&server, "SELECT now()").await, format!("Timestamp({})", NOW_US + 5_000_000));
    let deadline = Instant::now() + Duration::from_secs(30);
    while shown(&server).await.0 != Tick::containing(NOW_US + 5_000_000).us() {
        assert!(Instant::now() < deadline, "the tick stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_ran_ahead_drops_what_was_past_its_ttl_then_and_nothing_later() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_US));
    let server = start(dir.path(), &clock).await;
    run(&server, "CREATE TABLE t (ts TIMESTAMP, v INT) timestamp(ts) PARTITION BY HOUR TTL 1 DAY").await;
    run(&server, "INSERT INTO t VALUES (now(), 1)").await;
    assert!(server.store.expired(clock.now_us()).is_empty());
    // The record that was written meanwhile keeps `now()` ahead; ages go by the machine's clock.
    clock.set_us(NOW_US + 48 * HOUR_US);
    run(&server, "INSERT INTO t VALUES ('2026-11-25T10:00:00Z', 2)").await;
    clock.set_us(NOW_US);
    server.stop().await;
    let server = start(dir.path(), &clock).await;
    assert_eq!(run(&server, "SELECT now()").await, format!("Timestamp({})", NOW_US + 48 * HOUR_US));
    assert!(server.store.expired(clock.now_us()).is_empty());
    assert_eq!(run(&server, "SELECT count() FROM t").await, "Int(2)");
    server.stop().await;
}

/// What a statement fails with, at the start or while its rows come.
async fn failure(server: &Server, text: &str) -> String {
    let statement = match server.sql.engine().parse_one(text) {
        Ok(statement) => statement,
        Err(error) => return error.to_string(),
    };
    match server.sql.run(&mut Session::default(), &statement, Params::default(), None).await {
        Err(error) => error.into_sql().to_string(),
        Ok(Answer::Done { .. }) => String::new(),
        Ok(Answer::Rows(mut rows)) => {
            while let Some(batch) = rows.next().await {
                if let Err(error) = batch {
                    return error.to_string();
                }
            }
            String::new()
        }
    }
}

#[test]
fn endless_and_huge_queries_end_and_stop_nothing_else() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::spawn(run_heavy_queries()).await.unwrap() });
}

async fn run_heavy_queries() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW_US));
    let server = start_with(dir.path(), &clock, |config| {
        config.raw.query.timeout_s = 2;
        config.raw.query.memory_bytes_max = 64 << 20;
    });
    let server = server.await;
    run(&server, "CREATE TABLE t (v LONG)").await;
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let long = format!("SELECT 1{}", " + 1".repeat(9_000));
    let wide = format!("SELECT count() FROM t WHERE {}", vec!["v = 1"; 400].join(" OR "));
    let unions = vec!["SELECT 1"; 900].join(" UNION ALL ");
    let queries = [
        (&*deep, "allowed"),
        ("SELECT sum(x) FROM long_sequence(1000000000000)", "more than 2 s"),
        ("SELECT count() FROM long_sequence(1000000000000) a CROSS JOIN long_sequence(1000000000000) b", ""),
        (
            "SELECT sum(a.x * b.x) FROM long_sequence(1000000) a CROSS JOIN long_sequence(1000000000000) b",
            "more than 2 s",
        ),
        ("SELECT x, rnd_str(10, 20, 0) FROM long_sequence(1000000000000)", "more than 2 s"),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count() FROM r", ""),
        ("INSERT INTO t SELECT sum(x) FROM long_sequence(1000000000000)", "more than 2 s"),
        ("SELECT length(repeat('x', 100000000))", "allowed"),
        (&*long, "1000 operators"),
        (&*wide, "any"),
        (&*unions, "any"),
    ];
    let heavy = async {
        for (text, expected) in queries {
            let at = Instant::now();
            let error = failure(&server, text).await;
            assert!(at.elapsed() < Duration::from_secs(6), "{text:.80}: {:?}", at.elapsed());
            assert!(
                expected == "any" || (!error.is_empty() && error.contains(expected)),
                "{text:.80}: {error:?}"
            );
        }
    };
    // Beside them, small ones go on.
    let light = async {
        loop {
            let at = Instant::now();
            assert_eq!(run(&server, "SELECT count() FROM t").await, "Int(0)");
            assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = heavy => {}
        () = light => {}
    }
    server.stop().await;
}
