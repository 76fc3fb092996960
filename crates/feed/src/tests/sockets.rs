//! Real WebSockets over loopback.

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use nowcast_model::Value;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::rig::{EPOCH, Rig, Screen};
use crate::FeedLimits;

/// Long enough for a busy machine; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Client {
    socket: Socket,
    screen: Screen,
    closed: Option<(u16, String)>,
}

async fn try_connect(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Box<tungstenite::Error>> {
    let mut request = format!("ws://{address}/api/v1/live").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket).map_err(Box::new)
}

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        let socket = try_connect(address, &[("sec-websocket-protocol", "nowcast.v1.json")]).await.unwrap();
        Client { socket, screen: Screen::default(), closed: None }
    }

    async fn say(&mut self, text: &str) -> &mut Client {
        self.socket.send(Message::text(text)).await.unwrap();
        self
    }

    async fn watch(&mut self, id: u64, query: &str) -> &mut Client {
        self.say(&format!(r#"{{"op":"subscribe","id":{id},"query":"{query}"}}"#)).await
    }

    /// Reads one message; false once the connection is closed.
    async fn read(&mut self) -> bool {
        let message = timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
        match message {
            Some(Ok(Message::Text(text))) => {
                self.screen.take(&text);
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.screen.take(&super::packed::read(&bytes).to_string());
            }
            Some(Ok(Message::Close(frame))) => {
                self.closed = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                return false;
            }
            Some(Ok(_)) => {}
            None | Some(Err(_)) => return false,
        }
        true
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Screen) -> bool) -> &mut Client {
        while !done(&self.screen) {
            assert!(self.read().await, "closed before: {what}");
        }
        self
    }

    async fn until_shows(&mut self, id: u64, rows: &str) -> &mut Client {
        self.until(rows, |screen| screen.show(id) == rows).await
    }

    async fn until_closed(&mut self) -> (u16, String) {
        while self.read().await {}
        self.closed.take().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_delta_progress_resume() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("a"), rig.add("b"));
    rig.stage(b, &[("y", 1)]);
    rig.set(a, &[("x", 1)]);
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut client = Client::connect(address).await;
    client.watch(1, "a").await.watch(2, "b").await;
    client.until_shows(1, "x=1").await.until_shows(2, "y=1").await;
    rig.stage(a, &[("x", 2)]);
    rig.set(b, &[("y", 2)]);
    client.until_shows(1, "x=2").await;
    assert_eq!(client.screen.show(2), "y=2", "both panels are of one moment");
    assert_eq!((client.screen.snapshots, client.screen.deltas), (2, 2));
    assert_eq!(state.counts().viewers, 1);

    // The connection is lost, the world goes on, the client comes back.
    let Client { socket, mut screen, .. } = client;
    drop(socket);
    rig.stage(b, &[("y", 3), ("z", 3)]);
    rig.set(a, &[]);
    let mut client = Client::connect(address).await;
    let version = screen.version;
    screen.reconnect();
    client.screen = screen;
    client.say(&format!(r#"{{"op":"resume","epoch":"{EPOCH}","version":{version}}}"#)).await;
    client.watch(1, "a").await.watch(2, "b").await;
    client.until("the first round", |screen| screen.rounds == 1).await;
    assert_eq!((client.screen.show(1), client.screen.show(2)), (String::new(), "y=3 z=3".into()));
    assert_eq!((client.screen.snapshots, client.screen.deltas), (0, 2), "in one step, without a snapshot");
    assert_eq!(state.counts().resumes_accepted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_come_every_second() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let limits = FeedLimits { heartbeat: Duration::from_millis(50), ..FeedLimits::default() };
    let (_state, address) = rig.serve(limits).await;
    let mut client = Client::connect(address).await;
    client.watch(1, "a").await.until("five rounds", |screen| screen.rounds >= 5).await;
    assert_eq!((client.screen.snapshots, client.screen.deltas), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paced() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 0)]);
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut client = Client::connect(address).await;
    client.say(r#"{"op":"pace","mode":"ack"}"#).await.watch(1, "a").await.until_shows(1, "x=0").await;
    for n in 1..=20 {
        rig.set(a, &[("x", n)]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let version = client.screen.version;
    client.say(&format!(r#"{{"op":"ack","version":{version}}}"#)).await;
    client.until_shows(1, "x=20").await;
    assert_eq!(client.screen.deltas, 1, "what happened meanwhile came merged");
    assert_eq!(state.counts().deltas, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_costs_nothing_and_catches_up() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    let text = &"t".repeat(1_000);
    let rows =
        |n: i64| (0..1_000).map(move |k| [Value::from(format!("{k}{text}").as_str()), Value::Int(n)].into());
    rig.stage_rows(a, rows(0).collect());
    rig.publish();
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut client = Client::connect(address).await;
    client.watch(1, "a").await.until("the snapshot", |screen| screen.rounds > 0).await;
    // A megabyte changes in each moment; the client does not read.
    for n in 1..=100 {
        rig.stage_rows(a, rows(n).collect());
        rig.publish();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let counts = state.counts();
    // What was sent lies in the kernel's buffers, but for one batch.
    assert!(counts.bytes_sent < 40_000_000, "{counts:?}");
    client.until("the last rows", |screen| screen.raw(1).is_some_and(|rows| rows[0][1] == 100)).await;
    assert!(client.screen.deltas < 40, "merged: {} deltas", client.screen.deltas);
    assert!(state.counts().moments_skipped > 0, "{:?}", state.counts());
    assert!(client.screen.raw(1).unwrap().iter().all(|row| row[1] == 100));
    assert!(state.cache_bytes() <= FeedLimits::default().cache_bytes_max);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_socket_is_closed() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    let text = &"t".repeat(4_000);
    let rows =
        |n: i64| (0..4_000).map(move |k| [Value::from(format!("{k}{text}").as_str()), Value::Int(n)].into());
    rig.stage_rows(a, rows(0).collect());
    rig.publish();
    let limits = FeedLimits { stall_timeout: Duration::from_millis(100), ..FeedLimits::default() };
    let (state, address) = rig.serve(limits).await;
    let mut client = Client::connect(address).await;
    client.watch(1, "a").await;
    timeout(PATIENCE, async {
        while state.counts().stalled == 0 {
            rig.stage_rows(a, rows(i64::try_from(state.counts().rounds).unwrap()).collect());
            rig.publish();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // One that comes to itself is told what to do.
        let closed = loop {
            match client.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => break frame,
                Some(Ok(_)) => {}
                ended => panic!("{ended:?}"),
            }
        };
        assert_eq!((u16::from(closed.code), &*closed.reason), (4410, "stalled; reconnect with your cursor"));
        while state.counts().viewers > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_viewers_are_pinged_and_closed_if_they_never_answer() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let limits = FeedLimits {
        ping_interval: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(600),
        ..FeedLimits::default()
    };
    let (state, address) = rig.serve(limits).await;
    let (mut awake, mut asleep) = (Client::connect(address).await, Client::connect(address).await);
    asleep.watch(1, "a").await;
    awake.watch(1, "a").await;
    let mut pings = 0;
    // Reading answers pings; `asleep` does not read.
    let _ = timeout(Duration::from_millis(1_500), async {
        loop {
            match awake.socket.next().await {
                Some(Ok(Message::Ping(_))) => pings += 1,
                Some(Ok(Message::Text(_))) => {}
                ended => panic!("{ended:?}"),
            }
        }
    })
    .await;
    assert!(pings >= 3, "{pings}");
    // Its bytes as they lie in the kernel: a client that reads them as messages would answer the pings first.
    let mut bytes = Vec::new();
    asleep.socket.into_inner().read_to_end(&mut bytes).await.unwrap();
    let close = [&4409_u16.to_be_bytes(), b"idle; reconnect with your cursor".as_slice()].concat();
    assert!(bytes.ends_with(&close), "{:?}", String::from_utf8_lossy(&bytes));
    assert_eq!(state.counts().viewers, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sockets_share_one_encoding() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 0)]);
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(address).await;
        client.watch(1, "a").await.until_shows(1, "x=0").await;
        clients.push(client);
    }
    assert_eq!((state.counts().viewers, state.counts().frames_encoded), (200, 1));
    for n in 1..=10 {
        rig.set(a, &[("x", n)]);
        let rows = format!("x={n}");
        for client in &mut clients {
            client.until_shows(1, &rows).await;
        }
    }
    let counts = state.counts();
    assert_eq!((counts.frames_encoded, counts.deltas), (11, 2_000), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_and_limits_have_words() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let limits = FeedLimits {
        message_bytes_max: 1_000,
        errors_max: 3,
        connections_per_address_max: 3,
        first_message_timeout: Duration::from_millis(300),
        ..FeedLimits::default()
    };
    let (state, address) = rig.serve(limits).await;

    let mut client = Client::connect(address).await;
    client.say("nonsense").await.until("an error", |screen| !screen.errors.is_empty()).await;
    assert_eq!(client.screen.errors[0].1.code, "bad_message");
    client.watch(1, "a").await.until_shows(1, "x=1").await;
    client.watch(2, "b").await.until("an error", |screen| screen.errors.len() == 2).await;
    assert_eq!(client.screen.errors[1].1.code, "unknown_table");
    client.socket.send(Message::binary(vec![1, 2])).await.unwrap();
    client.say("?").await.say("?").await.say("?").await;
    assert_eq!(client.until_closed().await.0, 4400);
    assert_eq!(client.screen.errors[2].1.code, "not_text");
    assert_eq!(client.screen.errors.last().unwrap().1.code, "too_many_errors");

    let mut client = Client::connect(address).await;
    client.say(&"x".repeat(2_000)).await;
    assert_eq!(client.until_closed().await.0, 1009);
    assert_eq!(client.screen.errors[0].1.code, "message_too_large");

    let mut client = Client::connect(address).await;
    assert_eq!(client.until_closed().await.0, 4408, "nothing was asked for");

    timeout(PATIENCE, async {
        while state.counts().viewers > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let _three =
        [Client::connect(address).await, Client::connect(address).await, Client::connect(address).await];
    let (status, body) = refused(address, &[]).await;
    assert_eq!((status, body.contains("too_many_connections_from_address")), (503, true), "{body}");
}

/// The status and body of a refused handshake.
async fn refused(address: SocketAddr, headers: &[(&'static str, &str)]) -> (u16, String) {
    match try_connect(address, headers).await {
        Err(error) => match *error {
            tungstenite::Error::Http(response) => {
                let body = response.body().clone().unwrap_or_default();
                (response.status().as_u16(), String::from_utf8(body).unwrap())
            }
            error => panic!("{error}"),
        },
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subprotocols_and_origins() {
    let rig = Rig::new();
    let (_state, address) = rig.serve(FeedLimits::default()).await;
    let host = address.to_string();
    let own = format!("http://{host}");
    for headers in [
        vec![],
        vec![("sec-websocket-protocol", "nowcast.v1.msgpack, nowcast.v1.json")],
        vec![("sec-websocket-protocol", "nowcast.v1.json"), ("origin", own.as_str())],
    ] {
        assert!(try_connect(address, &headers).await.is_ok(), "{headers:?}");
    }
    for (headers, status, words) in [
        (vec![("sec-websocket-protocol", "graphql-ws")], 400, "offer nowcast.v1.json"),
        (vec![("origin", "http://evil.example")], 403, "http.cors_origins"),
        (vec![("origin", "null")], 403, "forbidden_origin"),
    ] {
        let (got, body) = refused(address, &headers).await;
        assert_eq!(got, status, "{headers:?}");
        assert!(body.contains(words), "{headers:?}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_down_says_so() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut client = Client::connect(address).await;
    client.watch(1, "a").await.until_shows(1, "x=1").await;
    state.close();
    let (code, reason) = client.until_closed().await;
    assert_eq!((code, reason.contains("reconnect with your cursor")), (1001, true));
    assert_eq!(refused(address, &[]).await.0, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messagepack_is_compressed_once_for_all() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    let rows = |n: i64| (0..200).map(move |k| [Value::from(format!("k{k}").as_str()), Value::Int(n)].into());
    rig.stage_rows(a, rows(0).collect());
    rig.publish();
    let (state, address) = rig.serve(FeedLimits::default()).await;
    let mut clients = Vec::new();
    for id in 1..=10u8 {
        let headers = [("sec-websocket-protocol", "nowcast.v1.msgpack")];
        let mut socket = try_connect(address, &headers).await.unwrap();
        // {"op": "subscribe", "id": id, "query": "a"}: each by an id of its own, and all share the compressed rows.
        let subscribe = [b"\x83\xa2op\xa9subscribe\xa2id", &[id][..], b"\xa5query\xa1a"].concat();
        socket.send(Message::binary(subscribe)).await.unwrap();
        clients.push(Client { socket, screen: Screen::default(), closed: None });
    }
    for client in &mut clients {
        client.until("the snapshot", |screen| screen.rounds > 0).await;
    }
    rig.stage_rows(a, rows(7).collect());
    rig.publish();
    for (client, id) in clients.iter_mut().zip(1..) {
        client.until("the rows", |screen| screen.raw(id).is_some_and(|rows| rows[0][1] == 7)).await;
        assert_eq!(client.screen.raw(id).unwrap().len(), 200);
    }
    let counts = state.counts();
    assert_eq!((counts.frames_encoded, counts.deltas), (2, 10), "{counts:?}");
    assert!(counts.bytes_sent < 10 * 2 * 2_000, "{counts:?}");
    let client = &mut clients[0];
    client.say("{}").await.until("an error", |screen| !screen.errors.is_empty()).await;
    assert_eq!(client.screen.errors[0].1.code, "not_binary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_fast_is_refused_with_a_time_to_wait() {
    let rig = Rig::new();
    let limits = FeedLimits { messages_per_second_max: 2, errors_max: 3, ..FeedLimits::default() };
    let (_state, address) = rig.serve(limits).await;
    let mut client = Client::connect(address).await;
    for _ in 0..10 {
        client.say(r#"{"op":"pace","mode":"free"}"#).await;
    }
    client.watch(7, "a").await.until("an error", |screen| !screen.errors.is_empty()).await;
    let (id, error) = client.screen.errors[0].clone();
    assert_eq!(
        (id, &*error.code, error.retry, error.retry_after),
        (Some(7), "too_many_requests", true, Some(1))
    );
    for _ in 0..3 {
        client.watch(7, "a").await;
    }
    let (code, reason) = client.until_closed().await;
    assert_eq!((code, reason.contains("reconnect with your cursor")), (4429, true), "{reason}");

    // One dashboard, however many ask for it.
    let limits = FeedLimits { dashboard_requests_per_second_max: 1, ..FeedLimits::default() };
    let (_state, address) = rig.serve(limits).await;
    let mut client = Client::connect(address).await;
    for id in 0..6 {
        client.say(&format!(r#"{{"op":"subscribe","id":{id},"panel":"shop/{id}"}}"#)).await;
    }
    client.say(r#"{"op":"subscribe","id":9,"dashboard":"other"}"#).await;
    client.until("errors", |screen| screen.errors.len() == 7).await;
    let mut codes: Vec<_> =
        client.screen.errors.iter().map(|(_, error)| (&*error.code, error.retry_after)).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [("too_many_requests_for_dashboard", Some(1)), ("unknown_table", None)]);

    // One address.
    let limits = FeedLimits { requests_per_second_max: 1, ..FeedLimits::default() };
    let (_state, address) = rig.serve(limits).await;
    for _ in 0..5 {
        drop(Client::connect(address).await);
    }
    let (status, body) = refused(address, &[]).await;
    assert_eq!((status, body.contains(r#""code":"too_many_requests""#)), (429, true), "{body}");
    assert!(body.contains(r#""retry_after":1"#), "{body}");
}
