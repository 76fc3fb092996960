//! Server-sent events and plain snapshots over loopback, through a client of a few lines.

use std::{net::SocketAddr, time::Duration};

use nowcast_model::Value;
use nowcast_views::ViewError;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::rig::{EPOCH, Rig, Screen};
use crate::FeedLimits;

const PATIENCE: Duration = Duration::from_secs(20);

/// A GET whose body is read as it comes. HTTP/1.0, so that it is not chunked.
struct Get {
    status: u16,
    headers: String,
    body: BufReader<TcpStream>,
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> Get {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut body = BufReader::new(stream);
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        assert!(timeout(PATIENCE, body.read_line(&mut headers)).await.unwrap().unwrap() > 0);
    }
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    Get { status, headers, body }
}

impl Get {
    async fn text(mut self) -> String {
        let mut text = String::new();
        timeout(PATIENCE, self.body.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    fn header(&self, name: &str) -> &str {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// An EventSource.
struct Events {
    get: Get,
    screen: Screen,
    last_id: Option<String>,
}

impl Events {
    async fn open(address: SocketAddr, query: &str, last_id: Option<&str>) -> Events {
        let headers = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let get = get(address, &format!("/api/v1/live/events?{query}"), &headers).await;
        assert_eq!((get.status, get.header("content-type")), (200, "text/event-stream"));
        Events { get, screen: Screen::default(), last_id: None }
    }

    async fn until(&mut self, done: impl Fn(&Screen) -> bool) -> &mut Events {
        let mut id = None;
        while !done(&self.screen) {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.get.body.read_line(&mut line)).await.expect("nothing came");
            assert!(read.unwrap() > 0, "the stream ended");
            if let Some(data) = line.trim_end().strip_prefix("data: ") {
                let closed = self.screen.take(data);
                assert!(closed || id.is_none(), "only a progress has an id");
                self.last_id = id.take().or(self.last_id.take());
            } else if let Some(text) = line.trim_end().strip_prefix("id: ") {
                id = Some(text.to_owned());
            }
        }
        self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_carries_all_and_resumes_all() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("SELECT 1+1"), rig.add("thelook/sales"));
    rig.stage(a, &[("x", 1)]);
    rig.set(b, &[("y", 1)]);
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let query = "query=SELECT%201%2b1&panel=thelook/sales&query=nope";
    let mut events = Events::open(address, query, None).await;
    events.until(|screen| screen.show(1) == "x=1" && screen.show(2) == "y=1").await;
    events.until(|screen| !screen.errors.is_empty()).await;
    assert_eq!(events.screen.errors[0].0, Some(3));
    rig.stage(a, &[("x", 2)]);
    rig.set(b, &[("y", 2)]);
    events.until(|screen| screen.show(1) == "x=2").await;
    assert_eq!(events.screen.show(2), "y=2");
    let id = events.last_id.clone().unwrap();
    assert_eq!(id, format!("{EPOCH}:{}", events.screen.version));

    let Events { get, mut screen, .. } = events;
    drop(get);
    rig.stage(a, &[]);
    rig.set(b, &[("y", 3)]);
    screen.reconnect();
    let mut events = Events::open(address, query, Some(&id)).await;
    events.screen = screen;
    events.until(|screen| screen.rounds > 0).await;
    assert_eq!((events.screen.show(1), events.screen.show(2)), (String::new(), "y=3".into()));
    assert_eq!((events.screen.snapshots, state.counts().resumes_accepted), (0, 2));

    // Another run of the server, or nonsense: snapshots, and the reason.
    for id in ["00000000000000ff:1", "nonsense"] {
        let mut events = Events::open(address, query, Some(id)).await;
        events.until(|screen| screen.snapshots == 2).await;
        assert_eq!(events.screen.reasons, ["epoch", "epoch"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_id_while_a_subscription_waits() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("a"), rig.add("b"));
    rig.set(a, &[("x", 1)]);
    let (_state, address) = rig.serve(FeedLimits::default()).await;
    let mut events = Events::open(address, "query=a&query=b", None).await;
    events.until(|screen| screen.show(1) == "x=1").await;
    assert_eq!(events.last_id, None);
    rig.set(b, &[("y", 1)]);
    events.until(|screen| screen.show(2) == "y=1").await;
    assert!(events.last_id.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_not_read_skip_moments() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 0)]);
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut events = Events::open(address, "query=a", None).await;
    events.until(|screen| screen.show(1) == "x=0").await;
    // A megabyte changes in each moment; the client does not read.
    let text = &"t".repeat(1_000);
    for n in 1..=60 {
        let row = |k| [Value::from(format!("{k}{text}").as_str()), Value::Int(n)].into();
        rig.stage_rows(a, (0..1_000).map(row).collect());
        rig.publish();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(state.counts().bytes_sent < 40_000_000, "{:?}", state.counts());
    events.until(|screen| screen.raw(1).is_some_and(|rows| rows[0][1] == 60)).await;
    assert!(state.counts().moments_skipped > 0, "{:?}", state.counts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_have_an_etag_of_their_rows() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1), ("y", 2)]);
    let (_state, address) = rig.serve(FeedLimits::default()).await;
    let path = "/api/v1/live/snapshot?query=a";
    let first = get(address, path, "").await;
    assert_eq!((first.status, first.header("content-type")), (200, "application/json"));
    let etag = first.header("etag").to_owned();
    let json: serde_json::Value = serde_json::from_str(&first.text().await).unwrap();
    assert_eq!(json["rows"], serde_json::json!([["y", 2], ["x", 1]]), "in order");
    assert_eq!(
        (&json["op"], &json["position"], &json["now"]),
        (&"snapshot".into(), &"1".into(), &1_000_000.into())
    );
    let header = format!("If-None-Match: {etag}\r\n");
    rig.tick += 1_000_000;
    rig.publish();
    assert_eq!(get(address, path, &header).await.status, 304, "another moment, the same rows");
    rig.set(a, &[("x", 2)]);
    assert_eq!(get(address, path, &header).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_have_words() {
    let mut rig = Rig::new();
    let (_a, b) = (rig.add("a"), rig.add("b"));
    rig.fail(b, ViewError::Expression("divide by zero".into()));
    let limits = FeedLimits { snapshot_timeout: Duration::from_millis(30), ..FeedLimits::default() };
    let (_state, address) = rig.serve(limits).await;
    for (path, headers, status, words) in [
        ("events", "", 400, "nothing is asked for"),
        ("events?query=a&params=1", "", 400, "params is no JSON object"),
        ("events?query=a", "Origin: http://evil.example\r\n", 403, "forbidden_origin"),
        ("snapshot", "", 400, "exactly one"),
        ("snapshot?query=a&query=b", "", 400, "exactly one"),
        ("snapshot?query=nope", "", 400, r#""line":1"#),
        ("snapshot?query=b", "", 400, "divide by zero"),
        ("snapshot?query=a", "", 503, "still being read"),
    ] {
        let get = get(address, &format!("/api/v1/live/{path}"), headers).await;
        assert_eq!(get.status, status, "{path}");
        if status == 503 {
            assert_eq!(get.header("retry-after"), "1");
        }
        let body = get.text().await;
        assert!(body.contains(words), "{path}: {body}");
    }
}
