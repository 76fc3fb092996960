//! Live equals batch: random queries over random rows, retractions, ticks and flushes.
//!
//! At each step the live table holds what the row-by-row oracle makes of the same plan; at the last, what
//! DataFusion makes of the same SQL. A view that is seeded from the last snapshot holds it, too.

use nowcast_model::{Change, Event, Item, Version};
use nowcast_views::{LiveTable, View, ViewLimits, ViewPlan, oracle};
use proptest::prelude::*;

use super::*;

/// A query of the part of SQL that is maintained.
fn query() -> impl Strategy<Value = String> {
    let predicate = prop::sample::select(vec![
        "",
        "cab = 'a'",
        "price > 2",
        "riders IS NOT NULL AND price <> 3",
        "cab IN ('a', 'c') OR note LIKE 'x%'",
        "ts >= now() - interval '10 seconds'",
        "ts > now() - interval '5 seconds' AND ts <= now()",
        "ts BETWEEN now() - interval '8 seconds' AND now() - interval '2 seconds' AND riders < 3",
        "now() - interval '4 seconds' < ts AND NOT (cab = 'b')",
    ]);
    let keys = prop::sample::subsequence(
        vec!["cab", "riders % 2", "date_bin(interval '4 seconds', ts)", "note"],
        0..=2,
    );
    let aggregates = prop::sample::subsequence(
        vec![
            "count(*)",
            "count(price)",
            "count(DISTINCT riders)",
            "sum(riders)",
            "sum(price)",
            "avg(price)",
            "avg(riders)",
            "min(ts)",
            "max(price)",
            "min(cab)",
            "max(note)",
            "sum(riders) FILTER (WHERE cab = 'a')",
            "count(*) FILTER (WHERE price > 2)",
            "sum(riders) * 2 + count(*)",
        ],
        1..=4,
    );
    let having = prop::sample::select(vec!["", "", "HAVING count(*) > 1", "HAVING max(riders) >= 2"]);
    let limit = prop::sample::select(vec!["", "", "LIMIT 2", "LIMIT 3"]);
    let direction = prop::sample::select(vec!["", "DESC", "NULLS FIRST", "DESC NULLS LAST"]);
    let filter = |predicate: &str| match predicate {
        "" => String::new(),
        predicate => format!("WHERE {predicate}"),
    };
    let groups = (predicate.clone(), keys, aggregates, having, direction.clone(), limit.clone()).prop_map(
        move |(predicate, keys, aggregates, having, direction, limit)| {
            let columns: Vec<&str> = keys.iter().chain(&aggregates).copied().collect();
            let mut sql = format!("SELECT {} FROM trips {}", columns.join(", "), filter(predicate));
            if !keys.is_empty() {
                sql += &format!(" GROUP BY {}", keys.join(", "));
            }
            sql += &format!(" {having}");
            if !limit.is_empty() {
                sql += &format!(" ORDER BY {} {direction} {limit}", columns.len());
            }
            sql
        },
    );
    let orders = prop::sample::select(vec!["ts", "_seq", "riders", "note", "price * -1"]);
    let rows = (predicate.clone(), orders, direction, limit).prop_map(
        move |(predicate, order, direction, limit)| {
            let tail = if limit.is_empty() {
                String::new()
            } else {
                format!("ORDER BY {order} {direction} {limit}")
            };
            format!(
                "SELECT ts, upper(cab) AS cab, price + riders, note FROM trips {} {tail}",
                filter(predicate)
            )
        },
    );
    let distinct = predicate.prop_map(move |predicate| {
        format!("SELECT DISTINCT cab, riders FROM trips {} ORDER BY cab", filter(predicate))
    });
    prop_oneof![4 => groups, 3 => rows, 1 => distinct]
}

/// Seconds before now, cab, price, riders, note.
type Row = (i64, Option<&'static str>, Option<i32>, Option<i32>, Option<&'static str>);

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>),
    Tick(i64),
    Flush,
    /// Of one cab.
    Update(&'static str),
    Delete(&'static str),
    Truncate,
    /// Partitions of hours that are over.
    DropPartitions,
    /// A column that no query reads goes, or comes back in front of nothing: it moves those behind it.
    DropSpare,
    AddSpare,
    /// The table has another name for some rows, and then its own again.
    Rename,
}

fn step() -> impl Strategy<Value = Step> {
    let cab = prop::sample::select(vec![None, Some("a"), Some("b"), Some("c")]);
    let note = prop::sample::select(vec![None, Some("x1"), Some("x2"), Some("y")]);
    let number = || prop::option::weighted(0.8, 0..5i32);
    let row = (-3..12i64, cab, number(), number(), note);
    prop_oneof![
        6 => prop::collection::vec(row, 1..6).prop_map(Step::Insert),
        3 => (1..6i64).prop_map(Step::Tick),
        1 => Just(Step::Flush),
        1 => prop::sample::select(vec!["a", "b"]).prop_map(Step::Update),
        1 => prop::sample::select(vec!["a", "b"]).prop_map(Step::Delete),
        1 => Just(Step::Truncate),
        1 => Just(Step::DropPartitions),
        1 => Just(Step::DropSpare),
        1 => Just(Step::AddSpare),
        1 => Just(Step::Rename),
    ]
}

struct Live {
    view: View,
    table: LiveTable,
    plan: Arc<ViewPlan>,
}

fn shown(table: &LiveTable) -> Vec<Arc<[Value]>> {
    let mut changes = table.changes_since(None);
    changes.sort(table.schema());
    changes.upsert
}

/// All the table's rows in the plan's input form.
fn all_rows(world: &World, plan: &ViewPlan) -> arrow::array::RecordBatch {
    let snapshot = world.store.snapshot();
    let table = snapshot.table(&plan.table).unwrap();
    let batches: Vec<_> = table
        .scan()
        .map(|batch| {
            let batch = batch.unwrap();
            let rows = batch.project(&plan.places_in(&table.schema).unwrap()).unwrap();
            rows.with_schema(plan.input.clone()).unwrap()
        })
        .collect();
    arrow::compute::concat_batches(&plan.input, &batches).unwrap()
}

fn literal(text: Option<impl std::fmt::Display>) -> String {
    text.map_or("NULL".to_owned(), |text| format!("'{text}'"))
}

fn run(sql: &str, keys: &str, steps: Vec<Step>) {
    let mut world = World::new();
    // Just past an hour, so that rows fall into two partitions.
    world.now_us = Tick::containing(NOW_US).us() + 50 * 60_000_000 + 4_000_000;
    world.run(&format!(
        "CREATE TABLE trips (spare INT, ts TIMESTAMP, cab SYMBOL, price DOUBLE, riders INT, note VARCHAR)
         timestamp(ts) PARTITION BY HOUR {keys}",
    ));
    let live = world.engine.plan_live(&world.ctx(), sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let LiveMode::Incremental { plan } = &live.mode else { panic!("{sql}: {live:?}") };
    let limits = ViewLimits::default();
    let seed = |world: &World| {
        let (ctx, tick) = (world.ctx(), Tick::containing(world.now_us));
        world.runtime.block_on(world.engine.seed(&ctx, &live, tick, &limits, |_| {})).unwrap()
    };
    let new_table = || LiveTable::new(Arc::new(live.schema.clone()), Version::ZERO.next(), &limits);
    let mut version = Version::ZERO.next();
    let mut state = Live { view: seed(&world), table: new_table(), plan: plan.clone() };
    state.view.publish(version, &mut state.table).unwrap();
    for step in steps {
        let changes: Vec<Change> = match step {
            Step::Insert(rows) => {
                let now_us = world.now_us;
                let rows: Vec<String> = rows
                    .iter()
                    .map(|(ago, cab, price, riders, note)| {
                        let us = now_us - ago * 1_000_000;
                        let riders = riders.map_or("NULL".to_owned(), |n| n.to_string());
                        let price = price.map_or("NULL".to_owned(), |n| n.to_string());
                        format!("({us}, {}, {price}, {riders}, {})", literal(*cab), literal(*note))
                    })
                    .collect();
                write(
                    &world,
                    &format!("INSERT INTO trips (ts, cab, price, riders, note) VALUES {}", rows.join(", ")),
                )
            }
            Step::Update(cab) => write(
                &world,
                &format!("UPDATE trips SET price = riders, riders = riders + 1 WHERE cab = '{cab}'"),
            ),
            Step::Delete(cab) => {
                write(&world, &format!("DELETE FROM trips WHERE cab = '{cab}' AND riders > 1"))
            }
            Step::Truncate => write(&world, "TRUNCATE TABLE trips"),
            Step::DropPartitions => {
                let table = nowcast_model::TableName::public("trips");
                let event = Event::DropPartitions { table, before_us: world.now_us };
                world.write(vec![Item::Event(event)])
            }
            Step::DropSpare => write(&world, "ALTER TABLE trips DROP COLUMN IF EXISTS spare"),
            Step::AddSpare => write(&world, "ALTER TABLE trips ADD COLUMN IF NOT EXISTS spare VARCHAR"),
            Step::Rename => {
                // A view ends with the name that it reads. Whoever asks again finds all rows.
                let now_us = world.now_us;
                for sql in [
                    "RENAME TABLE trips TO moved".to_owned(),
                    format!("INSERT INTO moved (ts, cab, riders) VALUES ({now_us}, 'b', 4)"),
                    "ALTER TABLE moved RENAME TO trips".to_owned(),
                ] {
                    write(&world, &sql);
                }
                state.view = seed(&world);
                state.table = new_table();
                Vec::new()
            }
            Step::Flush => {
                world.store.flush(true).unwrap();
                Vec::new()
            }
            Step::Tick(seconds) => {
                world.now_us += seconds * 1_000_000;
                state.view.tick(Tick::containing(world.now_us)).unwrap();
                Vec::new()
            }
        };
        for change in changes {
            if let Change::Rows(rows) = change {
                state.view.apply(&rows).unwrap();
            }
        }
        version = version.next();
        state.view.publish(version, &mut state.table).unwrap();
        if let Some(reason) = state.view.needs_reseed() {
            let _ = reason;
            state.view = seed(&world);
            state.table = new_table();
            state.view.publish(version, &mut state.table).unwrap();
        }
        let tick = Tick::containing(world.now_us);
        let expected =
            oracle::evaluate(&state.plan, &all_rows(&world, &state.plan), tick, limits.rows_max).unwrap();
        oracle::same(&expected.rows, &shown(&state.table), 1e-6)
            .unwrap_or_else(|e| panic!("{sql}: oracle: {e}"));
    }
    let tick = Tick::containing(world.now_us);
    let batch = world.values(&live, tick);
    let visible = |rows: Vec<Arc<[Value]>>| -> Vec<Arc<[Value]>> {
        let hidden: Vec<bool> = live.schema.columns.iter().map(|c| c.hidden).collect();
        let cells = |row: &Arc<[Value]>| {
            row.iter().zip(&hidden).filter(|(_, h)| !**h).map(|(v, _)| v.clone()).collect()
        };
        rows.iter().map(cells).collect()
    };
    let mut batch = batch;
    let mut kept = visible(shown(&state.table));
    let mut fresh = new_table();
    seed(&world).publish(version, &mut fresh).unwrap();
    let mut seeded = visible(shown(&fresh));
    // Rows that a limit chose must be the same; their order, where ORDER BY leaves it open, is the client's.
    for rows in [&mut batch, &mut kept, &mut seeded] {
        rows.sort();
    }
    oracle::same(&batch, &kept, 1e-6).unwrap_or_else(|e| panic!("{sql}: batch and live: {e}"));
    oracle::same(&batch, &seeded, 1e-6).unwrap_or_else(|e| panic!("{sql}: batch and seeded: {e}"));
}

fn write(world: &World, sql: &str) -> Vec<Change> {
    let statement = world.engine.parse_one(sql).unwrap();
    let ctx = world.ctx();
    let items = world.runtime.block_on(world.engine.write_items(&ctx, &statement)).unwrap();
    world.write(items)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn live_equals_batch(
        sql in query(),
        keys in prop::sample::select(vec!["", "DEDUP UPSERT KEYS(ts)", "DEDUP UPSERT KEYS(ts, cab)"]),
        steps in prop::collection::vec(step(), 1..14),
    ) {
        run(&sql, keys, steps);
    }
}
