//! Tests of line protocol over TCP: a real socket, a sink in memory.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::array::{Array, AsArray};
use expect_test::expect;
use futures::future::BoxFuture;
use nowcast_model::{Batch, ManualClock};
use proptest::prelude::*;
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use super::*;
use crate::{Decoded, WriteError, testing::show};

/// Judges a write before it is kept.
type Judge = Box<dyn Fn(&[Batch]) -> Result<(), WriteError> + Send + Sync>;

struct MemorySink {
    judge: Judge,
    written: Mutex<Vec<Batch>>,
    rejected: Mutex<Vec<Rejected>>,
    /// Writes wait while this is locked.
    gate: tokio::sync::Mutex<()>,
    asked: AtomicUsize,
}

impl MemorySink {
    fn new(judge: impl Fn(&[Batch]) -> Result<(), WriteError> + Send + Sync + 'static) -> Arc<MemorySink> {
        Arc::new(MemorySink {
            judge: Box::new(judge),
            written: Mutex::default(),
            rejected: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
            asked: AtomicUsize::new(0),
        })
    }

    fn rows(&self) -> usize {
        self.written.lock().unwrap().iter().map(|batch| batch.rows.num_rows()).sum()
    }

    /// What was written, then what was rejected; rows are numbered within their batch.
    fn show(&self) -> String {
        let batches = self.written.lock().unwrap().clone();
        let lines = batches.iter().map(|batch| (1..=batch.rows.num_rows() as u64).collect()).collect();
        let mut out = show(&Decoded { batches, lines });
        for r in self.rejected.lock().unwrap().iter() {
            out.push_str(&format!("! {}:{} {} {:?}\n", r.line, r.column, r.cause, r.text));
        }
        out
    }
}

impl Sink for MemorySink {
    fn write(&self, batches: Vec<Batch>, durable: bool) -> BoxFuture<'_, Result<(), WriteError>> {
        assert!(!durable);
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _open = self.gate.lock().await;
            (self.judge)(&batches)?;
            self.written.lock().unwrap().extend(batches);
            Ok(())
        })
    }

    fn reject(&self, rejected: Rejected) {
        assert_eq!(rejected.source, SOURCE);
        self.rejected.lock().unwrap().push(rejected);
    }
}

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(sink: &Arc<MemorySink>, options: IlpOptions) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let sink = Arc::clone(sink) as Arc<dyn Sink>;
        Server { address, stop, task: tokio::spawn(serve(listener, sink, options, stopped)) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
    }
}

fn options() -> IlpOptions {
    IlpOptions { clock: Arc::new(ManualClock::new(1_000_000)), ..IlpOptions::default() }
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("did not come to hold within 5 s");
}

/// Sends `input` over one connection and shows what came of it.
async fn session(
    input: &[u8],
    judge: impl Fn(&[Batch]) -> Result<(), WriteError> + Send + Sync + 'static,
) -> String {
    let sink = MemorySink::new(judge);
    let server = Server::start(&sink, options()).await;
    let mut socket = server.connect().await;
    socket.write_all(input).await.unwrap();
    socket.shutdown().await.unwrap();
    // The server closes its side once it has written all.
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await.unwrap();
    server.end().await;
    sink.show()
}

fn accept(_: &[Batch]) -> Result<(), WriteError> {
    Ok(())
}

#[tokio::test]
async fn bad_lines_are_told_and_the_rest_is_written() {
    let got = session(b"a v=1 1000\na v=x\nb,k=s w=2i 2000\na v=3 4000\na v=4 50", accept).await;
    expect![[r#"
        a "v":DOUBLE @timestamp
          1: 1.0 @1
          2: 3.0 @4
        b "k":SYMBOL "w":LONG @timestamp
          1: "s" 2 @2
        ! 2:5 "x" is no value; send 1.5 for DOUBLE, 1i for LONG, t or f for BOOLEAN, "text" for VARCHAR "a v=x"
        ! 5:9 the stream ended before the line did, so the line was left out; end every line with `\n`, the last one too "a v=4 50"
    "#]].assert_eq(&got);
}

#[tokio::test]
async fn a_bad_binary_line_closes_the_connection() {
    let got = session(b"a v=1 1000\na v==\x0e\x0a\x01\x01\0\0\0abcdefgh 1\na v=2 2000\n", accept).await;
    expect![[r#"
        a "v":DOUBLE @timestamp
          1: 1.0 @1
        ! 2:6 arrays are not kept: there are no array columns; send one field per element, such as `v_0` and `v_1` "a v==\u{e}"
    "#]].assert_eq(&got);
}

/// Column `v` must be a DOUBLE, below 100, and table `bad` takes nothing.
fn picky(batches: &[Batch]) -> Result<(), WriteError> {
    for (batch, b) in batches.iter().enumerate() {
        let refused = |column: Option<&str>, cause: &str, row| {
            Err(WriteError::Refused {
                table: b.table.to_string(),
                column: column.map(str::to_owned),
                cause: cause.to_owned(),
                hint: "mend it".to_owned(),
                batch,
                row,
            })
        };
        if &*b.table.table == "bad" {
            return refused(None, "the table is full", None);
        }
        let Some(column) = b.rows.column_by_name("v") else { continue };
        let Some(doubles) = column.as_primitive_opt::<arrow::datatypes::Float64Type>() else {
            return refused(Some("v"), "column \"v\" is DOUBLE", None);
        };
        let row = (0..doubles.len()).find(|&row| doubles.is_valid(row) && doubles.value(row) >= 100.0);
        if row.is_some() {
            return refused(Some("v"), "too much", row);
        }
    }
    Ok(())
}

#[tokio::test]
async fn refused_rows_are_told_and_the_rest_is_written() {
    let input =
        b"a v=1 1000\nbad x=1 2000\na v=500,w=t 3000\na v=2 4000\nbad x=2 5000\na v=600 6000\nc z=1 7000\n\
        e w=1 8000\ne v=\"x\" 9000\ne w=2 10000\n";
    expect![[r#"
        a "v":DOUBLE @timestamp
          1: 1.0 @1
        a "v":DOUBLE @timestamp
          1: 2.0 @4
        c "z":DOUBLE @timestamp
          1: 1.0 @7
        e "w":DOUBLE @timestamp
          1: 1.0 @8
        e "w":DOUBLE @timestamp
          1: 2.0 @10
        ! 3:0 table "a", column "v": too much; mend it "a: v=500.0 w=true timestamp=1970-01-01T00:00:00.000003"
        ! 6:0 table "a", column "v": too much; mend it "a: v=600.0 timestamp=1970-01-01T00:00:00.000006"
        ! 2:0 table "bad": the table is full; mend it "bad: x=1.0 timestamp=1970-01-01T00:00:00.000002"
        ! 5:0 table "bad": the table is full; mend it "bad: x=2.0 timestamp=1970-01-01T00:00:00.000005"
        ! 9:0 table "e", column "v": column "v" is DOUBLE; mend it "e: v=x timestamp=1970-01-01T00:00:00.000009"
    "#]].assert_eq(&session(input, picky).await);
}

#[tokio::test]
async fn writes_that_are_too_large_are_split() {
    let small = |batches: &[Batch]| match batches.iter().map(|b| b.rows.num_rows()).sum() {
        0..=2 => Ok(()),
        bytes => Err(WriteError::TooLarge { bytes, bytes_max: 2 }),
    };
    let got = session(b"a v=1 1000\na v=2 2000\na v=3 3000\nb v=4 4000\n", small).await;
    expect![[r#"
        a "v":DOUBLE @timestamp
          1: 1.0 @1
        a "v":DOUBLE @timestamp
          1: 2.0 @2
          2: 3.0 @3
        b "v":DOUBLE @timestamp
          1: 4.0 @4
    "#]]
    .assert_eq(&got);
}

#[tokio::test]
async fn a_full_sink_leaves_bytes_in_the_socket() {
    let sink = MemorySink::new(accept);
    let options = IlpOptions { read_bytes: 4096, batch_rows_max: 100, ..options() };
    let server = Server::start(&sink, options).await;
    let mut socket = server.connect().await;
    let gate = sink.gate.lock().await;
    let line = b"a,k=some_symbol v=1,w=2i 1000\n".repeat(1000);
    let lines = AtomicUsize::new(0);
    let stuck = timeout(Duration::from_millis(500), async {
        loop {
            socket.write_all(&line).await.unwrap();
            lines.fetch_add(1000, Ordering::SeqCst);
        }
    });
    assert!(stuck.await.is_err(), "the sender is never slowed down");
    assert_eq!(sink.asked.load(Ordering::SeqCst), 1);
    drop(gate);
    eventually(|| sink.rows() >= lines.load(Ordering::SeqCst)).await;
    server.end().await;
}

#[tokio::test]
async fn open_texts_are_given_up_in_silence() {
    let sink = MemorySink::new(accept);
    let server = Server::start(&sink, options()).await;
    let mut socket = server.connect().await;
    socket.write_all(b"a v=1 1000\na s=\"open 2000\na v=2 3000\n").await.unwrap();
    eventually(|| sink.rows() == 2).await;
    server.end().await;
    expect![[r#"
        a "v":DOUBLE @timestamp
          1: 1.0 @1
        a "v":DOUBLE @timestamp
          1: 2.0 @3
        ! 2:5 the text that begins here is not closed; end it with `"`; put a backslash before a `"` inside it "a s=\"open 2000"
    "#]].assert_eq(&sink.show());
}

#[tokio::test]
async fn connections_are_counted_and_silent_ones_closed() {
    let sink = MemorySink::new(accept);
    let idle_timeout = Some(Duration::from_millis(300));
    let server = Server::start(&sink, IlpOptions { connections_max: 1, idle_timeout, ..options() }).await;
    let mut first = server.connect().await;
    first.write_all(b"a v=1 1000\n").await.unwrap();
    eventually(|| sink.rows() == 1).await;
    let mut buf = [0];
    let mut second = server.connect().await;
    // Closed at once, while the first is still open.
    let closed = timeout(Duration::from_secs(5), second.read(&mut buf)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    let closed = timeout(Duration::from_secs(5), first.read(&mut buf)).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    // Its place is free again.
    let mut third = server.connect().await;
    third.write_all(b"a v=2 2000\n").await.unwrap();
    eventually(|| sink.rows() == 2).await;
    server.end().await;
}

#[tokio::test]
async fn the_shutdown_writes_what_was_read() {
    let sink = MemorySink::new(accept);
    let server = Server::start(&sink, options()).await;
    let mut socket = server.connect().await;
    let gate = sink.gate.lock().await;
    socket.write_all(b"a v=1 1000\na v=2 2000\na v=3").await.unwrap();
    eventually(|| sink.asked.load(Ordering::SeqCst) == 1).await;
    server.stop.send(true).unwrap();
    sleep(Duration::from_millis(50)).await;
    assert!(!server.task.is_finished(), "it does not wait for the write");
    drop(gate);
    server.end().await;
    expect![[r#"
        a "v":DOUBLE @timestamp
          1: 1.0 @1
          2: 2.0 @2
        ! 3:6 the stream ended before the line did, so the line was left out; end every line with `\n`, the last one too "a v=3"
    "#]].assert_eq(&sink.show());
}

#[tokio::test]
async fn a_read_only_log_closes_the_connection() {
    let got = session(b"a v=1 1000\n", |_| Err(WriteError::ReadOnly("disk full".into()))).await;
    assert_eq!(got, "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// However a sink words its refusals, good rows are written once and in order, bad ones told once.
    #[test]
    fn no_row_is_lost_or_doubled(
        rows in prop::collection::vec((0_u8..3, any::<bool>()), 1..60),
        names_row in any::<bool>(),
        rows_max in 1_usize..40,
        busy_every in 2_usize..20,
    ) {
        let mut input = String::new();
        for (index, (table, good)) in rows.iter().enumerate() {
            let value = if *good { index } else { index + 1000 };
            input.push_str(&format!("t{table} v={value} {index}000\n"));
        }
        let sink = MemorySink::new(move |batches| {
            let rows: usize = batches.iter().map(|batch| batch.rows.num_rows()).sum();
            if rows > rows_max {
                return Err(WriteError::TooLarge { bytes: rows, bytes_max: rows_max });
            }
            for (batch, b) in batches.iter().enumerate() {
                let doubles = b.rows.column(0).as_primitive::<arrow::datatypes::Float64Type>();
                if let Some(row) = doubles.values().iter().position(|&v| v >= 1000.0) {
                    return Err(WriteError::Refused {
                        table: b.table.to_string(),
                        column: None,
                        cause: "too much".into(),
                        hint: "send less".into(),
                        batch,
                        row: (names_row && row % busy_every != 0).then_some(row),
                    });
                }
            }
            Ok(())
        });
        let decoded = crate::line::decode_all(input.as_bytes(), &LineOptions::new(Precision::Nanoseconds, 0)).unwrap();
        futures::executor::block_on(refusal::write(&*sink, "peer", decoded)).unwrap();

        let written = sink.written.lock().unwrap();
        let values = |table: u8| -> Vec<f64> {
            let batches = written.iter().filter(|b| *b.table.table == format!("t{table}"));
            let values = |b: &Batch| b.rows.column(0).as_primitive::<arrow::datatypes::Float64Type>().values().to_vec();
            batches.flat_map(values).collect()
        };
        for table in 0..3 {
            let good: Vec<f64> = (0..rows.len())
                .filter(|&index| rows[index] == (table, true))
                .map(|index| index as f64)
                .collect();
            prop_assert_eq!(values(table), good);
        }
        let mut told: Vec<u64> = sink.rejected.lock().unwrap().iter().map(|r| r.line).collect();
        told.sort_unstable();
        let bad: Vec<u64> = (0..rows.len()).filter(|&index| !rows[index].1).map(|index| index as u64 + 1).collect();
        prop_assert_eq!(told, bad);
    }
}
