//! The feeds of other systems, over loopback.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use nowcast_model::{ColumnType, Value};
use nowcast_views::{LiveColumn, LiveSchema, Row};
use serde_json::{Value as Json, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::rig::{EPOCH, Rig};
use crate::{
    Batch, Compatible, FeedLimits, FeedState, MetricsFeed, RecordsFeed, Resolver, compatible_router,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with what it was given, and counts.
#[derive(Default)]
struct Answers {
    rows: Mutex<Vec<Row>>,
    runs: AtomicUsize,
}

fn record_schema() -> LiveSchema {
    let mut hidden = LiveColumn::new("_seq", ColumnType::Long);
    hidden.hidden = true;
    let columns = vec![
        LiveColumn::new("user_id", ColumnType::Varchar),
        hidden,
        LiveColumn::new("sale_price", ColumnType::Double),
        LiveColumn::new("created_at", ColumnType::Timestamp),
    ];
    LiveSchema { columns, key: vec![1], order: vec![], limit: None }
}

impl Batch for Answers {
    fn run(&self, sql: Arc<str>) -> BoxFuture<'static, Result<(LiveSchema, Vec<Row>), String>> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let rows = self.rows.lock().unwrap().clone();
        let outcome = match &*sql {
            "records" => Ok((record_schema(), rows)),
            other => Err(format!("no {other}")),
        };
        futures::future::ready(outcome).boxed()
    }
}

async fn serve(rig: &Rig, limits: FeedLimits, feeds: Compatible) -> (FeedState, SocketAddr) {
    let resolver: Arc<dyn Resolver> = Arc::clone(&rig.catalog) as _;
    let state = FeedState::new(Arc::clone(&rig.tables), resolver, EPOCH, limits);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = compatible_router(&state, feeds).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (state, address)
}

fn feeds(answers: &Arc<Answers>, refresh: Duration, metrics: Vec<MetricsFeed>) -> Compatible {
    let records = RecordsFeed { sql: "records".into(), refresh };
    Compatible { batch: Arc::clone(answers) as _, records, metrics }
}

fn metrics_feed(sql: &str) -> MetricsFeed {
    MetricsFeed {
        sql: sql.to_owned(),
        dashboard_id: "board".to_owned(),
        metric_name: "metric".to_owned(),
        value: "v".to_owned(),
        timestamp: Some("ts".to_owned()),
        metadata: vec!["meta".to_owned()],
    }
}

fn metrics_schema() -> LiveSchema {
    let columns = vec![
        LiveColumn::new("board", ColumnType::Varchar),
        LiveColumn::new("metric", ColumnType::Varchar),
        LiveColumn::new("v", ColumnType::Double),
        LiveColumn::new("ts", ColumnType::Timestamp),
        LiveColumn::new("meta", ColumnType::Varchar),
    ];
    LiveSchema { columns, key: vec![0, 1], order: vec![], limit: None }
}

fn metric(board: &str, metric: &str, v: f64) -> Row {
    let meta = r#"{"unit":"EUR"}"#;
    [board.into(), metric.into(), Value::Float(v), Value::Timestamp(1_763_815_200_123_456), meta.into()]
        .into()
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(address: SocketAddr, path: &str) -> Socket {
    connect_async(format!("ws://{address}{path}")).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Json {
    loop {
        let message = timeout(PATIENCE, socket.next()).await.expect("nothing came").unwrap().unwrap();
        match message {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_as_json_in_json_and_once_for_all() {
    let rig = Rig::new();
    let answers = Arc::new(Answers::default());
    let refresh = Duration::from_millis(200);
    let (state, address) = serve(&rig, FeedLimits::default(), feeds(&answers, refresh, vec![])).await;
    tokio::time::sleep(2 * refresh).await;
    assert_eq!(answers.runs.load(Ordering::SeqCst), 0, "nobody watches");
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(connect(address, "/ws").await);
    }
    // No rows, no message.
    tokio::time::sleep(2 * refresh).await;
    *answers.rows.lock().unwrap() = vec![
        ["u\"1".into(), Value::Int(7), Value::Float(12.5), Value::Timestamp(1_763_815_200_123_456)].into(),
        ["u2".into(), Value::Int(8), Value::Float(f64::NAN), Value::Null].into(),
    ];
    let before = answers.runs.load(Ordering::SeqCst);
    for socket in &mut sockets {
        let Json::String(text) = next(socket).await else { panic!("no string") };
        let keys = text.match_indices("user_id").count();
        assert!(keys == 2 && text.find("user_id") < text.find("sale_price"), "{text}");
        let expected = json!([
            { "user_id": "u\"1", "sale_price": 12.5, "created_at": 1_763_815_200_123_i64 },
            { "user_id": "u2", "sale_price": null, "created_at": null },
        ]);
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), expected);
    }
    assert!(answers.runs.load(Ordering::SeqCst) <= before + 4, "one run for all viewers");
    assert_eq!(state.counts().viewers, 20);
    // One who comes between two runs need not wait.
    next(&mut connect(address, "/ws").await).await;
    drop(sockets);
    timeout(PATIENCE, async {
        while state.counts().viewers > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    tokio::time::sleep(2 * refresh).await;
    let runs = answers.runs.load(Ordering::SeqCst);
    tokio::time::sleep(2 * refresh).await;
    assert_eq!(answers.runs.load(Ordering::SeqCst), runs, "nobody watches any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_get_the_newest_values_then_changes() {
    let mut rig = Rig::new();
    let view = rig.add_as("metrics", metrics_schema());
    rig.stage_rows(
        view,
        vec![metric("sales", "revenue", 1.5), metric("sales", "orders", 2.0), metric("ops", "cpu", 9.0)],
    );
    rig.publish();
    let answers = Arc::new(Answers::default());
    let feeds = feeds(&answers, Duration::from_secs(5), vec![metrics_feed("metrics")]);
    let (state, address) = serve(&rig, FeedLimits::default(), feeds).await;
    let mut sales = connect(address, "/dashboard/sales").await;
    let message = |metric: &str, value: f64| {
        json!({
            "dashboard_id": "sales", "metric_name": metric, "value": value,
            "timestamp": 1_763_815_200_123_i64, "metadata": { "unit": "EUR" },
        })
    };
    assert_eq!(next(&mut sales).await, message("orders", 2.0));
    assert_eq!(next(&mut sales).await, message("revenue", 1.5));
    // One who watches what does not exist yet is told once it does; what is of another dashboard is not.
    let mut late = connect(address, "/dashboard/late").await;
    rig.stage_rows(
        view,
        vec![metric("sales", "revenue", 3.5), metric("ops", "cpu", 8.0), metric("late", "x", 1.0)],
    );
    rig.publish();
    assert_eq!(next(&mut sales).await, message("revenue", 3.5));
    assert_eq!(next(&mut late).await["metric_name"], "x");
    // "orders" is gone.
    assert_eq!(next(&mut connect(address, "/dashboard/sales").await).await, message("revenue", 3.5));
    assert_eq!(rig.catalog.leases.load(Ordering::SeqCst), 1, "one query for all");
    state.close();
    let closed = timeout(PATIENCE, async {
        loop {
            match sales.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(closed.await.unwrap(), 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_viewer_who_stops_reading_gets_the_newest_values() {
    let mut rig = Rig::new();
    let view = rig.add_as("metrics", metrics_schema());
    let long = "m".repeat(10_000);
    let rows = |v: f64| vec![metric("sales", &long, v)];
    rig.stage_rows(view, rows(0.0));
    rig.publish();
    let answers = Arc::new(Answers::default());
    let feeds = feeds(&answers, Duration::from_secs(5), vec![metrics_feed("metrics")]);
    let limits = FeedLimits { push_interval: Duration::from_millis(1), ..FeedLimits::default() };
    let (_state, address) = serve(&rig, limits, feeds).await;
    let mut slow = connect(address, "/dashboard/sales").await;
    next(&mut slow).await;
    for n in 1..=2_000 {
        rig.stage_rows(view, rows(f64::from(n)));
        rig.publish();
        tokio::time::sleep(Duration::from_micros(1_200)).await;
    }
    let mut read = 0;
    while next(&mut slow).await["value"] != 2_000.0 {
        read += 1;
    }
    assert!(read < 1_900, "{read} of 2,000 changes were kept for a viewer who did not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compatible_feeds_refuse_with_words() {
    let rig = Rig::new();
    let answers = Arc::new(Answers::default());
    let limits = FeedLimits { connections_max: 1, ..FeedLimits::default() };
    let (_state, address) = serve(&rig, limits, feeds(&answers, Duration::from_secs(5), vec![])).await;
    let _one = connect(address, "/ws").await;
    for (path, words) in
        [("/ws", "too_many_connections"), ("/dashboard/sales", "[[feed]]"), ("/socket.io/?EIO=4", "[[feed]]")]
    {
        let error = connect_async(format!("ws://{address}{path}")).await.unwrap_err();
        let tokio_tungstenite::tungstenite::Error::Http(response) = error else { panic!("{error}") };
        let body = String::from_utf8(response.body().clone().unwrap_or_default()).unwrap();
        assert!(body.contains(words), "{path}: {body}");
    }
}
