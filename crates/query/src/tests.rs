//! SQL in; rows, items or errors out. One world for all: a store on a disk in memory, and an engine.

#![allow(clippy::unwrap_used)]

mod alter;
mod ddl;
mod dialect;
mod errors;
mod first;
mod functions_aggregates;
mod functions_random;
mod functions_time;
mod functions_values;
mod live;
mod partitions;
mod parts;
mod property;
mod sample;
mod select;

use std::{path::Path, sync::Arc};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use nowcast_disk::MemDisk;
use nowcast_model::{Change, Item, ManualClock, Record, Tick, Value};
use nowcast_store::{Store, StoreOptions};

use crate::*;

/// 2026-01-01T00:10:00Z.
const NOW_US: i64 = 1_767_226_200_000_000;

struct World {
    disk: Arc<MemDisk>,
    store: Arc<Store>,
    engine: QueryEngine,
    runtime: tokio::runtime::Runtime,
    now_us: i64,
    params: Params,
    system: Option<Arc<dyn SystemTables>>,
}

impl World {
    fn new() -> World {
        let disk = MemDisk::new();
        let clock = Arc::new(ManualClock::new(NOW_US));
        let (store, _) =
            Store::open(Path::new("/store"), StoreOptions::default(), disk.clone(), clock).unwrap();
        let engine = QueryEngine::new(QueryOptions::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        World { disk, store, engine, runtime, now_us: NOW_US, params: Params::default(), system: None }
    }

    /// Trips of three cabs, a minute apart, in two parts and in memory.
    fn trips() -> World {
        let mut world = World::new();
        world.run("CREATE TABLE Trips (ts TIMESTAMP, Cab SYMBOL, price DOUBLE, riders INT, note VARCHAR) timestamp(ts)");
        world.run(
            "INSERT INTO trips VALUES
               ('2026-01-01T00:01:00Z', 'a', 10.5, 1, 'first'),
               ('2026-01-01T00:02:00Z', 'b', 20.0, 2, NULL)",
        );
        world.store.flush(true).unwrap();
        world.run("INSERT INTO trips (price, cab, ts) VALUES (5.25, 'a', '2026-01-01T00:07:00Z')");
        world.store.flush(true).unwrap();
        world.run("INSERT INTO trips (ts, cab, riders) VALUES ('2026-01-01T00:09:00Z', 'c', 4)");
        world
    }

    fn ctx(&self) -> QueryContext {
        let mut ctx = QueryContext::new(self.store.snapshot(), self.now_us).with_params(self.params.clone());
        ctx.system.clone_from(&self.system);
        ctx
    }

    fn write(&self, items: Vec<Item>) -> Vec<Change> {
        let items = self.store.registry().admit(items, |items| items).unwrap();
        let offset = self.store.snapshot().position;
        let record = Record { offset, at_us: self.now_us, producer: None, items };
        if record.is_empty() { Vec::new() } else { self.store.apply(&record).unwrap() }
    }

    /// Runs a text; the rows of its queries, one a line, cells parted by `|`.
    fn try_run(&mut self, sql: &str) -> Result<String, SqlError> {
        let mut out = String::new();
        for statement in self.engine.parse(sql)? {
            let ctx = self.ctx();
            if statement.is_write() {
                let items = self.runtime.block_on(self.engine.write_items(&ctx, &statement))?;
                self.write(items);
            } else if statement.is_query() {
                let _guard = self.runtime.enter();
                let result = self.runtime.block_on(self.engine.query(&ctx, &statement))?;
                let names: Vec<&str> = result.schema.fields().iter().map(|f| f.name().as_str()).collect();
                out += &format!("{}\n", names.join("|"));
                let batches = self.runtime.block_on(result.collect())?;
                for batch in batches {
                    let options = FormatOptions::default().with_null("NULL");
                    let columns: Vec<ArrayFormatter<'_>> = batch
                        .columns()
                        .iter()
                        .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
                        .collect();
                    for row in 0..batch.num_rows() {
                        let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
                        out += &format!("{}\n", cells.join("|"));
                    }
                }
            } else {
                out += &format!("{statement:?}\n");
            }
        }
        Ok(out)
    }

    fn run(&mut self, sql: &str) -> String {
        self.try_run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    fn error(&mut self, sql: &str) -> String {
        match self.try_run(sql) {
            Ok(rows) => panic!("{sql}: {rows}"),
            Err(e) => format!("{} {e}", e.code.state()),
        }
    }

    fn values(&mut self, live: &LiveQuery, tick: Tick) -> Vec<Arc<[Value]>> {
        let ctx = self.ctx();
        self.runtime.block_on(self.engine.evaluate(&ctx, live, tick, 1_000)).unwrap()
    }
}

/// Rows without their trailing line feed, for tables of cases.
#[track_caller]
fn check(world: &mut World, cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let actual = match world.try_run(sql) {
            Ok(rows) => rows.trim_end().to_owned(),
            Err(e) => format!("{} {e}", e.code.state()),
        };
        if actual != *expected {
            wrong.push(format!("{sql}\n--- expected\n{expected}\n--- actual\n{actual}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
