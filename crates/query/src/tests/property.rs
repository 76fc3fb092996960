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
            "stddev(price)",
            "var_pop(riders)",
            "median(price)",
            "percentile_cont(0.75) WITHIN GROUP (ORDER BY price)",
            "first(note)",
            "last(price)",
            "last_value(cab ORDER BY ts, _seq)",
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
    prop_oneof![4 => groups, 3 => rows, 1 => distinct, 5 => tree()]
}

/// Joins, unions and subqueries of the trips and of the cabs.
fn tree() -> impl Strategy<Value = String> {
    let range = prop::sample::select(vec![
        "",
        "WHERE t.ts >= now() - interval '6 seconds'",
        "WHERE t.ts >= now() - interval '9 seconds' AND t.ts < now() AND t.price > 1",
        "WHERE t.ts > now() - interval '7 seconds' AND c.since >= now() - interval '10 seconds'",
        "WHERE c.seats > 1",
        "WHERE t.riders < c.seats OR c.owner IS NULL",
    ]);
    let word =
        prop::sample::select(vec!["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
    let on = prop::sample::select(vec![
        "t.cab = c.cab",
        "c.cab = t.cab AND t.riders <= c.seats",
        "t.cab = c.cab AND c.owner <> 'x1' AND t.price > 1",
        "t.note = c.owner",
        "t.riders = c.seats AND t.cab = c.cab",
    ]);
    let tail = prop::sample::select(vec![
        "SELECT c.owner, count(*), sum(t.price), max(t.ts), count(DISTINCT t.riders) FROM {} GROUP BY c.owner",
        "SELECT c.owner, t.cab, sum(t.price) AS s FROM {} GROUP BY c.owner, t.cab ORDER BY s DESC, c.owner, t.cab LIMIT 3",
        "SELECT count(*), avg(c.seats), min(t.note) FROM {}",
        "SELECT t.ts, t.cab, c.owner, c.seats FROM {}",
        "SELECT t.ts, t.note, c.owner FROM {} ORDER BY t.ts DESC, t._seq, c._seq LIMIT 3",
        "SELECT DISTINCT c.owner, t.riders FROM {}",
        "SELECT date_bin(interval '4 seconds', t.ts) AS b, count(*), sum(c.seats) FROM {} GROUP BY b",
    ]);
    let joins = (word, on, range, tail).prop_map(|(word, on, range, tail)| {
        tail.replace("{}", &format!("trips t {word} cabs c ON {on} {range}"))
    });
    let others = prop::sample::select(vec![
        "SELECT cab, sum(price) FROM trips WHERE cab IN (SELECT cab FROM cabs WHERE seats > 1) GROUP BY cab",
        "SELECT ts, note FROM trips WHERE ts > now() - interval '5 seconds' AND cab IN (SELECT cab FROM cabs)",
        "SELECT count(*) FROM trips WHERE cab IN (SELECT cab FROM cabs WHERE seats > 1) AND riders IN (SELECT seats FROM cabs)",
        "SELECT cab, note FROM trips UNION ALL SELECT cab, owner FROM cabs WHERE seats > 1",
        "SELECT x, count(*) FROM (SELECT cab AS x, price AS y FROM trips WHERE ts > now() - interval '6 seconds' UNION ALL SELECT cab, seats FROM cabs) u GROUP BY x",
        "SELECT cab FROM trips UNION SELECT cab FROM cabs ORDER BY cab",
        "SELECT n, count(*) FROM (SELECT cab, count(*) AS n FROM trips GROUP BY cab) x GROUP BY n",
        "SELECT max(n), sum(s) FROM (SELECT cab, riders, count(*) AS n, sum(price) AS s FROM trips WHERE ts > now() - interval '8 seconds' GROUP BY cab, riders) x WHERE n > 1",
        "SELECT cab, m FROM (SELECT cab, max(ts) AS m FROM trips GROUP BY cab) x WHERE m > now() - interval '5 seconds'",
        "SELECT c.owner, x.n FROM cabs c LEFT JOIN (SELECT cab, count(*) AS n FROM trips GROUP BY cab) x ON x.cab = c.cab",
        "SELECT a.cab, count(*) FROM trips a JOIN trips b ON a.cab = b.cab AND a.riders < b.riders GROUP BY a.cab",
        "SELECT t.cab, c.owner, d.owner AS other FROM trips t JOIN cabs c ON c.cab = t.cab LEFT JOIN cabs d ON d.owner = t.note",
        "SELECT DISTINCT count(*), max(riders) > 2 FROM trips GROUP BY cab ORDER BY 1",
        "SELECT ts, cab, price, riders, note FROM trips LATEST ON ts PARTITION BY cab",
        "SELECT cab, price FROM trips WHERE riders > 0 LATEST ON ts PARTITION BY cab, riders",
        "SELECT count(*), sum(price) FROM (SELECT ts, cab, price, riders, note FROM trips WHERE ts > now() - interval '6 seconds' LATEST ON ts PARTITION BY cab) WHERE riders < 3",
        "SELECT c.owner, l.price FROM cabs c JOIN (SELECT ts, cab, price, riders, note FROM trips LATEST ON ts PARTITION BY cab) l ON l.cab = c.cab",
        "SELECT t.note, c.seats * 2 FROM trips t, cabs c WHERE t.cab = c.cab AND t.riders + 1 = c.seats",
        "SELECT c.owner, sum(p) FROM (SELECT cab, price * 2 AS p FROM trips WHERE riders > 0) t JOIN (SELECT * FROM cabs WHERE seats > 1) c USING (cab) GROUP BY c.owner",
    ]);
    prop_oneof![2 => joins, 1 => others.prop_map(str::to_owned)]
}

/// Seconds before now, cab, price, riders, note.
type Row = (i64, Option<&'static str>, Option<i32>, Option<i32>, Option<&'static str>);

type Cab = (i64, Option<&'static str>, Option<i32>, Option<&'static str>);

#[derive(Debug, Clone)]
enum Step {
    Insert(Vec<Row>),
    /// Of cabs: seconds before now, cab, seats, owner.
    Cabs(Vec<Cab>),
    /// The cabs with so many seats.
    Sell(i32),
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
    let row = (-3..12i64, cab.clone(), number(), number(), note.clone());
    let taxi = (-3..12i64, cab, prop::option::weighted(0.8, 0..4i32), note);
    prop_oneof![
        6 => prop::collection::vec(row, 1..6).prop_map(Step::Insert),
        4 => prop::collection::vec(taxi, 1..4).prop_map(Step::Cabs),
        1 => (0..4i32).prop_map(Step::Sell),
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

/// All rows of the plan's tables, in the form of its leaves.
fn all_rows(world: &World, plan: &ViewPlan) -> Vec<arrow::array::RecordBatch> {
    let snapshot = world.store.snapshot();
    let leaves = plan.flow.leaves().into_iter().map(|(leaf, flow)| {
        let table = snapshot.table(&leaf.table).unwrap();
        let batches: Vec<_> = table
            .scan()
            .map(|batch| {
                let rows = batch.unwrap().project(&leaf.places_in(&flow.input, &table.schema).unwrap());
                rows.unwrap().with_schema(flow.input.clone()).unwrap()
            })
            .collect();
        arrow::compute::concat_batches(&flow.input, &batches).unwrap()
    });
    leaves.collect()
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
    world.run("CREATE TABLE cabs (since TIMESTAMP, cab SYMBOL, seats INT, owner VARCHAR) timestamp(since)");
    let live = world.engine.plan_live(&world.ctx(), sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let LiveMode::Incremental { plan, again, .. } = &live.mode else { panic!("{sql}: {live:?}") };
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
            Step::Cabs(rows) => {
                let now_us = world.now_us;
                let row = |(ago, cab, seats, owner): &Cab| {
                    let seats = seats.map_or("NULL".to_owned(), |n| n.to_string());
                    let us = now_us - ago * 1_000_000;
                    format!("({us}, {}, {seats}, {})", literal(*cab), literal(*owner))
                };
                let rows: Vec<String> = rows.iter().map(row).collect();
                write(&world, &format!("INSERT INTO cabs VALUES {}", rows.join(", ")))
            }
            Step::Sell(seats) => write(&world, &format!("DELETE FROM cabs WHERE seats = {seats}")),
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
            if let Change::Rows(rows) = change
                && live.tables().iter().any(|table| table.key() == rows.schema.name.key())
            {
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
    let visible = |rows: Vec<Arc<[Value]>>, schema: &nowcast_views::LiveSchema| -> Vec<Arc<[Value]>> {
        let hidden: Vec<bool> = schema.columns.iter().map(|c| c.hidden).collect();
        let cells = |row: &Arc<[Value]>| {
            row.iter().zip(&hidden).filter(|(_, h)| !**h).map(|(v, _)| v.clone()).collect()
        };
        rows.iter().map(cells).collect()
    };
    let mut batch = visible(batch, again);
    let mut kept = visible(shown(&state.table), &live.schema);
    let mut fresh = new_table();
    seed(&world).publish(version, &mut fresh).unwrap();
    let mut seeded = visible(shown(&fresh), &live.schema);
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

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn live_equals_batch(
        sql in query(),
        keys in prop::sample::select(vec!["", "DEDUP UPSERT KEYS(ts)", "DEDUP UPSERT KEYS(ts, cab)"]),
        steps in prop::collection::vec(step(), 1..14),
    ) {
        run(&sql, keys, steps);
    }
}
