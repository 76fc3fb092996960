//! The engine: seeding, lagging, failing, and one moment for all.

use std::sync::atomic::{AtomicU64, Ordering};

use nowcast_model::{SchemaChange, Version};

use super::*;

const A: ViewId = ViewId::new(1);
const B: ViewId = ViewId::new(2);

fn row(n: i64) -> TestRow {
    TestRow { sym: Some("a"), n: Some(n), x: None, ts_ms: Some(0), s: None }
}

fn counting() -> Arc<ViewPlan> {
    Arc::new(groups(vec![], vec![count()]))
}

fn state(engine: &Engine, id: ViewId) -> ViewState {
    engine.tables().read(|moment| moment.view(id).unwrap().state().clone())
}

fn shown(engine: &Engine, id: ViewId) -> Vec<String> {
    let mut rows: Vec<_> =
        engine.tables().read(|moment| moment.view(id).unwrap().table().rows().map(|r| show_row(r)).collect());
    rows.sort();
    rows
}

fn seed(plan: &Arc<ViewPlan>, table: &TestTable) -> View {
    let mut view = View::new(Arc::clone(plan), &ViewLimits::default()).unwrap();
    view.seed(0, &table.all()).unwrap();
    view
}

fn live(version: u64) -> Evaluated {
    Evaluated { position: Offset::new(version), tick: at_s(0), rows: vec![], cost_us: 0 }
}

#[test]
fn nothing_is_missed_and_nothing_counted_twice_while_seeding() {
    let (plan, mut table) = (counting(), TestTable::default());
    let mut engine = Engine::new(ViewLimits::default(), LiveTables::new());
    engine.apply(Offset::new(2), &[table.insert(vec![row(1), row(2)])]);
    engine.add(A, plan.live_schema(), kind(&plan));
    engine.seeding(A, 40);
    assert_eq!(state(&engine, A), ViewState::Seeding { percent: 40 });
    // One before the snapshot, one after.
    engine.apply(Offset::new(3), &[table.insert(vec![row(3)])]);
    let (view, position) = (seed(&plan, &table), table.position());
    engine.apply(Offset::new(4), &[table.insert(vec![row(4)])]);
    engine.seeded(A, view, position);
    assert!(matches!(state(&engine, A), ViewState::Seeding { .. }), "shown from the next moment on");
    engine.publish(Offset::new(4), at_s(0));
    assert_eq!((state(&engine, A), shown(&engine, A)), (ViewState::Live, vec!["4".to_owned()]));
    assert!(engine.reseeds().is_empty());
}

#[test]
fn a_snapshot_that_is_too_old_is_asked_for_again_and_given_up_in_the_end() {
    let (plan, mut table) = (counting(), TestTable::default());
    let limits = ViewLimits { buffer_bytes_max: 1, ..ViewLimits::default() };
    let mut engine = Engine::new(limits, LiveTables::new());
    engine.add(A, plan.live_schema(), kind(&plan));
    for attempt in 1..=8 {
        let (view, position) = (seed(&plan, &table), table.position());
        let change = table.insert(vec![row(1)]);
        engine.apply(table.position(), &[change]);
        engine.seeded(A, view, position);
        let wanted = engine.reseeds();
        assert_eq!(wanted.len(), usize::from(attempt < 8), "attempt {attempt}");
    }
    let ViewState::Failed(error) = state(&engine, A) else { panic!("not failed") };
    assert!(error.to_string().contains("8 attempts"), "{error}");
}

#[test]
fn a_reseed_keeps_the_old_rows_and_says_so() {
    let plan = Arc::new(groups(vec![col(SYM)], vec![agg(AggFunction::Max, N)]));
    let mut table = TestTable::default();
    let mut engine = Engine::new(ViewLimits::default(), LiveTables::new());
    engine.add(A, plan.live_schema(), kind(&plan));
    engine.seeded(A, seed(&plan, &table), table.position());
    let change = table.insert(vec![row(1), row(2)]);
    engine.apply(table.position(), &[change]);
    let first = engine.publish(table.position(), at_s(0));
    assert_eq!(shown(&engine, A), ["a 2"]);
    let change = table.delete(&[1]);
    engine.apply(table.position(), &[change]);
    engine.publish(table.position(), at_s(0));
    assert_eq!(state(&engine, A), ViewState::Behind { version: first });
    assert_eq!(shown(&engine, A), ["a 2"]);
    assert_eq!(engine.reseeds(), [A]);
    assert!(engine.reseeds().is_empty(), "asked for once");
    engine.seeded(A, seed(&plan, &table), table.position());
    let last = engine.publish(table.position(), at_s(0));
    assert_eq!((state(&engine, A), shown(&engine, A)), (ViewState::Live, vec!["a 1".to_owned()]));
    let delta = engine.tables().read(|moment| moment.view(A).unwrap().changes_since(Some(first)));
    assert!(!delta.snapshot && delta.upsert.len() == 1 && delta.to == last, "{delta:?}");
    // From now on every value is kept: no more reseeds.
    let change = table.insert(vec![row(9)]);
    engine.apply(table.position(), &[change]);
    let change = table.delete(&[table.position().get() - 1]);
    engine.apply(table.position(), &[change]);
    engine.publish(table.position(), at_s(0));
    assert!(engine.reseeds().is_empty());
}

#[test]
fn re_evaluated_views_lag_and_say_so() {
    let tables = vec![TableName::public("t")];
    let schema = rows(&[N]).live_schema();
    let mut table = TestTable::default();
    let mut engine = Engine::new(ViewLimits::default(), LiveTables::new());
    engine.add(A, schema.clone(), Kind::Reevaluated { tables: tables.clone(), clock: false });
    engine.add(B, schema, Kind::Reevaluated { tables, clock: true });
    assert_eq!(engine.due(0), [A, B]);
    assert!(engine.due(0).is_empty(), "running");
    let at = |position, second, n: i64, cost_us| {
        let rows = vec![Row::from([Value::Int(n), Value::UInt(0)])];
        Ok(Evaluated { position: Offset::new(position), tick: at_s(second), rows, cost_us })
    };
    engine.result(A, at(0, 1, 10, 1_000));
    engine.result(B, at(0, 1, 20, 1_000));
    let v1 = engine.publish(Offset::ZERO, at_s(1));
    assert_eq!((state(&engine, A), state(&engine, B)), (ViewState::Live, ViewState::Live));

    // A tick concerns only the one that names the clock.
    engine.publish(Offset::ZERO, at_s(2));
    assert_eq!((state(&engine, A), state(&engine, B)), (ViewState::Live, ViewState::Behind { version: v1 }));
    assert!(engine.due(9_999).is_empty(), "a tenth of a core");
    assert_eq!(engine.due(10_000), [B]);

    // Rows concern both; a result whose snapshot is ahead waits for its position.
    let change = table.insert(vec![row(1)]);
    engine.result(B, at(1, 2, 21, 1_000));
    let v3 = engine.publish(Offset::ZERO, at_s(2));
    assert_eq!(shown(&engine, B), ["20 #0"]);
    engine.apply(Offset::new(1), &[change]);
    let v4 = engine.publish(Offset::new(1), at_s(2));
    assert_eq!((shown(&engine, B), state(&engine, B)), (vec!["21 #0".to_owned()], ViewState::Live));
    assert_eq!(state(&engine, A), ViewState::Behind { version: v3 });

    // A result that is old on arrival names the version at which it was true.
    assert_eq!(engine.due(30_000), [A]);
    let change = table.insert(vec![row(2)]);
    engine.apply(Offset::new(2), &[change]);
    engine.result(A, at(1, 2, 11, 0));
    engine.publish(Offset::new(2), at_s(3));
    assert_eq!(
        (shown(&engine, A), state(&engine, A)),
        (vec!["11 #0".to_owned()], ViewState::Behind { version: v4 })
    );
    let stats = engine.stats();
    assert_eq!((stats.evaluations_reevaluated, stats.evaluations_incremental, stats.moments), (4, 0, 5));
    assert_eq!(stats.views[0].evaluations, 2);

    engine.due(40_000);
    engine.result(A, Err(ViewError::Evaluation("out of memory".into())));
    assert_eq!(state(&engine, A), ViewState::Failed(ViewError::Evaluation("out of memory".into())));
    assert!(engine.due(100_000).iter().all(|&id| id != A));
}

#[test]
fn a_changed_table_ends_views_that_need_what_went() {
    let check = |new: Option<TableSchema>, expected: Option<&str>| {
        let plan = counting();
        let mut engine = Engine::new(ViewLimits::default(), LiveTables::new());
        engine.add(A, plan.live_schema(), kind(&plan));
        engine.add(
            B,
            plan.live_schema(),
            Kind::Reevaluated { tables: vec![TableName::public("T")], clock: false },
        );
        let change = SchemaChange {
            table: TableName::public("T"),
            old: Some(table_schema()),
            new: new.clone().map(Arc::new),
        };
        engine.apply(Offset::new(1), &[Change::Schema(change)]);
        let error = |id| match state(&engine, id) {
            ViewState::Failed(error) => Some(error.to_string()),
            _ => None,
        };
        assert_eq!(error(A).is_some(), expected.is_some());
        assert!(error(A).unwrap_or_default().contains(expected.unwrap_or_default()), "{:?}", error(A));
        let is_there = new.is_some_and(|new| new.name == TableName::public("T"));
        assert_eq!(error(B).is_some(), !is_there);
    };
    let mut schema = (*table_schema()).clone();
    schema.columns.push(Column::new("more", ColumnType::Long));
    check(Some(schema.clone()), None);
    schema.columns[N].ty = ColumnType::Double;
    check(Some(schema.clone()), Some("\"n\" of T was LONG and is now DOUBLE"));
    schema.columns.remove(N);
    check(Some(schema.clone()), Some("the column \"n\" of T was dropped"));
    schema.name = TableName::public("U");
    check(Some(schema), Some("the table T was renamed to U; change the query and subscribe again"));
    check(None, Some("the table T was dropped"));
}

#[test]
fn one_view_fails_and_the_others_go_on() {
    let broken = fun(|batch| match batch.num_rows() {
        0 => Ok(Arc::clone(batch.column(N))),
        _ => Err(ViewError::Expression("divide by zero".into())),
    });
    let bad = Arc::new(groups(vec![broken], vec![count()]));
    let good = counting();
    let mut table = TestTable::default();
    let mut engine = Engine::new(ViewLimits::default(), LiveTables::new());
    for (id, plan) in [(A, &bad), (B, &good)] {
        engine.add(id, plan.live_schema(), kind(plan));
        engine.seeded(id, seed(plan, &TestTable::default()), Offset::ZERO);
    }
    let change = table.insert(vec![row(1)]);
    engine.apply(table.position(), &[change]);
    engine.publish(table.position(), at_s(0));
    assert_eq!(state(&engine, A), ViewState::Failed(ViewError::Expression("divide by zero".into())));
    assert_eq!(shown(&engine, B), ["1"]);
    engine.remove(A);
    assert!(engine.tables().read(|moment| moment.view(A).is_none()));
    engine.result(A, Ok(live(1)));
    engine.publish(table.position(), at_s(0));
}

#[test]
fn moments_pass_without_changes_and_wake_readers() {
    let woken = Arc::new(AtomicU64::new(0));
    let tables = LiveTables::new();
    let seen = Arc::clone(&woken);
    tables.on_publish(Box::new(move |version| seen.store(version.get(), Ordering::SeqCst)));
    let plan = counting();
    let mut engine = Engine::new(ViewLimits::default(), Arc::clone(&tables));
    engine.add(A, plan.live_schema(), kind(&plan));
    engine.seeded(A, seed(&plan, &TestTable::default()), Offset::ZERO);
    engine.publish(Offset::ZERO, at_s(1));
    engine.publish(Offset::ZERO, at_s(2));
    assert_eq!(woken.load(Ordering::SeqCst), 2);
    tables.read(|moment| {
        assert_eq!((moment.version(), moment.tick()), (Version::new(2), at_s(2)));
        assert!(moment.view(A).unwrap().changes_since(Some(Version::new(1))).is_empty());
    });
    assert_eq!(engine.stats().evaluations_incremental, 1, "the second moment cost nothing");
}

#[test]
fn a_view_that_grows_too_large_is_run_again() {
    let grown = |limits: ViewLimits, expected: &str| {
        let plan = Arc::new(groups(vec![col(N)], vec![count()]));
        let mut table = TestTable::default();
        let mut engine = Engine::new(limits, LiveTables::new());
        for (id, plan) in [(A, &plan), (B, &counting())] {
            engine.add(id, plan.live_schema(), kind(plan));
            engine.seeded(id, View::new(Arc::clone(plan), &limits).unwrap(), Offset::ZERO);
        }
        engine.publish(table.position(), at_s(1));
        assert_eq!((state(&engine, A), engine.due(0)), (ViewState::Live, vec![]));
        let change = table.insert((0..1_000).map(row).collect());
        engine.apply(table.position(), &[change]);
        engine.publish(table.position(), at_s(2));
        assert!(matches!(state(&engine, A), ViewState::Seeding { .. }), "{:?}", state(&engine, A));
        assert_eq!(engine.tables().read(|moment| moment.view(A).unwrap().mode()), Mode::Reevaluated);
        assert_eq!(engine.due(0), [A]);
        let stats = engine.stats();
        let why = stats.views[0].fell_back.as_ref().unwrap().to_string();
        assert!(why.contains(expected), "{why}");
        assert_eq!(stats.views[0].state_bytes, 0);
        let rows = vec![Row::from([Value::Int(1), Value::Int(1)])];
        engine.result(A, Ok(Evaluated { position: table.position(), tick: at_s(2), rows, cost_us: 0 }));
        engine.publish(table.position(), at_s(2));
        assert_eq!((state(&engine, A), shown(&engine, A)), (ViewState::Live, vec!["1 1".to_owned()]));
        assert_eq!((state(&engine, B), shown(&engine, B)), (ViewState::Live, vec!["1000".to_owned()]));
    };
    let limits = ViewLimits::default();
    grown(ViewLimits { state_bytes_max: 50_000, ..limits }, "views.state_bytes_max");
    grown(ViewLimits { state_total_bytes_max: 50_000, ..limits }, "views.state_total_bytes_max");
}

/// A million groups, counted and summed: what the view says it holds, and what the process grew by.
#[test]
fn a_million_keys_fit() {
    let rss_bytes = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
    };
    let limits = ViewLimits { state_bytes_max: 500_000_000, ..ViewLimits::default() };
    let plan = groups(vec![col(N)], vec![count(), agg(AggFunction::Sum, X)]);
    let mut view = View::new(Arc::new(plan), &limits).unwrap();
    let mut live = LiveTable::new(Arc::clone(view.schema()), Version::ZERO, &limits);
    let before = rss_bytes();
    let mut table = TestTable::default();
    for part in 0..100 {
        let rows = (0..10_000).map(|n| TestRow { x: Some(0.5), ..row(part * 10_000 + n) });
        let Change::Rows(change) = table.insert(rows.collect()) else { panic!() };
        table.rows.clear();
        view.apply(&change).unwrap();
        view.publish(Version::new(part as u64 + 1), &mut live).unwrap();
    }
    let (said, grown) = (view.state_bytes(), rss_bytes().saturating_sub(before));
    println!("a million keys: {said} bytes by the view's estimate, the process grew by {grown}");
    assert!(live.truncated() && live.len() == limits.rows_max);
    assert!(said < 500_000_000, "{said}");
    assert!(grown < 500_000_000, "{grown}");
}
