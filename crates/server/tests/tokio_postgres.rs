//! The PostgreSQL wire through tokio-postgres, which binds and reads everything in binary.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use chrono::NaiveDateTime;
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::{Client, NoTls, error::SqlState};

/// A server over a fresh directory, killed at the end.
struct Server {
    process: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let data = tempfile::tempdir().unwrap();
        let free = "127.0.0.1:0";
        let mut process = Command::new(env!("CARGO_BIN_EXE_nowcast"))
            .args(["serve", "--http", free, "--ilp", free, "--pg", free, "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.into_iter().find(|line| line.contains("postgresql://")).unwrap();
        let address = line.split_once('@').unwrap().1;
        let port = address.split(['/', ':']).nth(1).unwrap().parse().unwrap();
        Server { process, port, _data: data }
    }

    async fn connect(&self) -> Client {
        let config = format!("host=127.0.0.1 port={} user=admin password=quest dbname=any", self.port);
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn everything_in_binary() {
    let server = Server::start();
    let mut pg = server.connect().await;
    pg.batch_execute(
        "CREATE TABLE t (name SYMBOL, ok BOOLEAN, i INT, l LONG, x DOUBLE, ts TIMESTAMP) timestamp(ts)",
    )
    .await
    .unwrap();
    let at: NaiveDateTime = "2024-02-29T12:34:56.789012".parse().unwrap();
    let insert = pg.prepare("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6)").await.unwrap();
    for n in 0..50_i32 {
        let name = format!("n{}", n % 5);
        let some = (n % 2 == 0).then_some(0.5);
        assert_eq!(
            pg.execute(&insert, &[&name, &true, &n, &i64::from(n), &some, &at.and_utc().naive_utc()])
                .await
                .unwrap(),
            1
        );
    }

    let rows = pg.query("SELECT * FROM t WHERE i = $1 AND ts = $2", &[&2_i32, &at]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>("name"), "n2");
    assert_eq!(rows[0].get::<_, Option<f64>>("x"), Some(0.5));
    assert_eq!(rows[0].get::<_, NaiveDateTime>("ts"), at);
    let some = vec!["n1", "n2"];
    let count = pg.query_one("SELECT count() FROM t WHERE name = ANY($1)", &[&some]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 20);
    let sum = pg.query_one("SELECT $1::bigint + $2::bigint", &[&1_i64, &2_i64]).await.unwrap();
    assert_eq!(sum.get::<_, i64>(0), 3);
    let error = pg.query("SELECT nothing FROM t", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));

    let transaction = pg.transaction().await.unwrap();
    let all = transaction.bind("SELECT l FROM t ORDER BY l", &[]).await.unwrap();
    let mut sizes = Vec::new();
    loop {
        let part = transaction.query_portal(&all, 20).await.unwrap();
        sizes.push(part.len());
        if part.len() < 20 {
            break;
        }
    }
    assert_eq!(sizes, [20, 20, 10]);
    transaction.execute("INSERT INTO t (name, ts) VALUES ('gone', '2024-01-01')", &[]).await.unwrap();
    transaction.rollback().await.unwrap();

    let sink = pg.copy_in::<_, Bytes>("COPY t (name, l, ts) FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(Bytes::from_static(b"copied\t7\t2024-05-01\ncopied\t8\t")).await.unwrap();
    sink.send(Bytes::from_static(b"2024-05-02\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    let out = pg
        .copy_out("COPY (SELECT name, l FROM t WHERE name = 'copied' ORDER BY l) TO STDOUT (FORMAT csv)")
        .await
        .unwrap();
    let parts: Vec<Bytes> = out.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"copied,7\ncopied,8\n");

    let count = pg.query_one("SELECT count() FROM t", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 52);
}

#[tokio::test]
async fn many_statements_share_one_connection_and_one_is_called_off() {
    let server = Server::start();
    let pg = server.connect().await;
    let numbers = futures::stream::iter(0..200_i64);
    let sums = numbers.map(|n| {
        let pg = &pg;
        async move { pg.query_one("SELECT $1::bigint * 2", &[&n]).await.unwrap().get::<_, i64>(0) }
    });
    let sums: Vec<i64> = sums.buffered(50).collect().await;
    assert_eq!(sums, (0..200).map(|n| n * 2).collect::<Vec<_>>());

    let cancel = pg.cancel_token();
    let slow = pg.query("SELECT count() FROM generate_series(1, 1000000000000) WHERE value % 7 = 9", &[]);
    let called_off = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, called_off);
    assert_eq!(slow.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(pg.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1);
}
