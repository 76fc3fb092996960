//! `testdata/slt/*.slt`: SQL and what it answers, over the PostgreSQL wire of a real server.
//!
//! A file gets a server of its own, whose clock stands at [`NOW_US`]. Each statement is prepared, which tells its types
//! (T text and times, I whole numbers, R other numbers), and then run as simple text, which tells its cells as people
//! see them: NULL is `NULL`, an empty text `(empty)`.
#![allow(clippy::unwrap_used)]

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use nowcast_model::{Clock, ManualClock};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, strict_column_validator};
use tokio_postgres::{NoTls, SimpleQueryMessage, types::Type};

use crate::{
    config::{self, Overrides},
    stages::{Listeners, Server, Start},
    telemetry,
};

/// 2026-11-25T10:00:00.25Z.
const NOW_US: i64 = 1_795_600_800_250_000;

struct Client(tokio_postgres::Client);

/// What the server said: the fact, and the remedy in brackets.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl From<tokio_postgres::Error> for Refused {
    fn from(error: tokio_postgres::Error) -> Refused {
        let Some(db) = error.as_db_error() else { return Refused(error.to_string()) };
        let hint = db.hint().map(|hint| format!(" [{hint}]")).unwrap_or_default();
        Refused(format!("{} {}{hint}", db.code().code(), db.message()))
    }
}

fn column_type(ty: &Type) -> DefaultColumnType {
    match *ty {
        Type::INT2 | Type::INT4 | Type::INT8 => DefaultColumnType::Integer,
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

#[async_trait]
impl AsyncDB for Client {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let prepared = self.0.prepare(sql).await?;
        let types: Vec<DefaultColumnType> =
            prepared.columns().iter().map(|c| column_type(c.type_())).collect();
        let (mut rows, mut count) = (Vec::new(), 0);
        for message in self.0.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let cell = |i| match row.get(i) {
                        None => "NULL".to_owned(),
                        Some("") => "(empty)".to_owned(),
                        Some(text) => text.to_owned(),
                    };
                    rows.push((0..row.len()).map(cell).collect());
                }
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        if types.is_empty() {
            Ok(DBOutput::StatementComplete(count))
        } else {
            Ok(DBOutput::Rows { types, rows })
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "nowcast"
    }
}

/// The number of records, and what of them did not hold.
async fn run_file(file: &Path) -> (usize, Vec<String>) {
    let data = tempfile::tempdir().unwrap();
    let flags = Overrides {
        data: Some(data.path().to_owned()),
        http: vec!["127.0.0.1:0".into()],
        ilp: Some("off".into()),
        pg: Some("127.0.0.1:0".into()),
    };
    let config = config::load(None, std::iter::empty(), flags).unwrap();
    let start = Start {
        listeners: Listeners::bind(&config, false).await.unwrap(),
        config,
        clock: Arc::new(ManualClock::new(NOW_US)) as Arc<dyn Clock>,
        metrics: telemetry::start_metrics().unwrap(),
        query_runtime: tokio::runtime::Handle::current(),
        generator: None,
    };
    let server = Server::start(start).await.unwrap();
    let port = server.addresses.pg.unwrap().port();
    let connect = move || async move {
        let login = format!("host=127.0.0.1 port={port} user=admin password=quest dbname=qdb");
        let (client, connection) = tokio_postgres::connect(&login, NoTls).await?;
        tokio::spawn(connection);
        Ok(Client(client))
    };
    let mut runner = Runner::new(connect);
    runner.with_column_validator(strict_column_validator);
    let (mut count, mut failed) = (0, Vec::new());
    for record in sqllogictest::parse_file::<DefaultColumnType>(file).unwrap() {
        count += usize::from(matches!(
            record,
            sqllogictest::Record::Statement { .. } | sqllogictest::Record::Query { .. }
        ));
        if let Err(error) = runner.run_async(record).await {
            failed.push(error.display(false).to_string());
        }
    }
    server.stop().await;
    (count, failed)
}

/// `NOWCAST_SLT=name` runs one file.
#[tokio::test(flavor = "multi_thread")]
async fn sql_answers_as_written() {
    let dir = Path::new("../../testdata/slt");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    if let Ok(name) = std::env::var("NOWCAST_SLT") {
        files.retain(|file| file.file_stem().is_some_and(|stem| *stem == *name));
    }
    files.sort();
    let (mut count, mut failed) = (0, Vec::new());
    for file in files {
        let (records, not_held) = run_file(&file).await;
        count += records;
        failed.extend(not_held);
    }
    println!("{count} records");
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(count > 0, "no records");
}
