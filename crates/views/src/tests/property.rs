//! Random plans over random rows that come, change and go, against the naive interpreter, through the engine.
//!
//! After every moment in which the view says that it is live, its table must hold what the interpreter makes of
//! the table's rows; clients that read at their own pace must hold the same after each read. Snapshots for
//! seeding arrive late, so that changes have to be put on top of them. The rows come from a random tree of two
//! tables ([`super::sources`]).

use nowcast_model::Version;
use proptest::prelude::*;

use super::{
    sources::{Built, SourceSpec, source_spec},
    *,
};

#[derive(Debug, Clone)]
enum Op {
    Insert(usize, Vec<TestRow>),
    Delete(usize, Vec<usize>),
    Replace(usize, usize, TestRow),
    Truncate(usize),
    Tick(i64),
    Deliver,
    Read(usize),
}

fn cell<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Option<T>> {
    prop_oneof![1 => Just(None), 6 => prop::sample::select(values).prop_map(Some)]
}

fn test_row() -> impl Strategy<Value = TestRow> {
    let doubles =
        vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 0.25, -1.5, 1000.75, 3.0, -7.25];
    let ints = vec![0, 1, 2, 3, -4, 50, i64::MAX, i64::MIN];
    let times: Vec<i64> = (0..160).map(|quarter| quarter * 250).collect();
    (cell(vec!["a", "b", "c"]), cell(ints), cell(doubles), cell(times), cell(vec!["", "u", "v", "w"]))
        .prop_map(|(sym, n, x, ts_ms, s)| TestRow { sym, n, x, ts_ms, s })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..2usize, prop::collection::vec(test_row(), 1..6)).prop_map(|(t, rows)| Op::Insert(t, rows)),
        4 => (0..2usize, prop::collection::vec(any::<usize>(), 1..4)).prop_map(|(t, picks)| Op::Delete(t, picks)),
        3 => (0..2usize, any::<usize>(), test_row()).prop_map(|(t, i, row)| Op::Replace(t, i, row)),
        1 => (0..2usize).prop_map(Op::Truncate),
        4 => (1..7i64).prop_map(Op::Tick),
        3 => Just(Op::Deliver),
        3 => (0..3usize).prop_map(Op::Read),
    ]
}

#[derive(Debug, Clone)]
struct PlanSpec {
    source: SourceSpec,
    /// `None`: plain rows of these columns.
    keys: Option<Vec<usize>>,
    columns: Vec<usize>,
    aggregates: Vec<(AggFunction, usize, bool)>,
    filter: bool,
    having: bool,
    lower: Option<(i64, bool)>,
    upper: Option<(i64, bool)>,
    order: Vec<(usize, bool)>,
    limit: Option<usize>,
    rows_max: usize,
    spare: usize,
}

fn aggregate() -> impl Strategy<Value = (AggFunction, usize, bool)> {
    let any = |function| prop::sample::select(vec![SYM, N, X, TS, S]).prop_map(move |c| (function, c));
    let number = |function| prop::sample::select(vec![N, X]).prop_map(move |c| (function, c));
    let choice = prop_oneof![
        any(AggFunction::Count),
        any(AggFunction::CountDistinct),
        any(AggFunction::Min),
        any(AggFunction::Max),
        number(AggFunction::Sum),
        number(AggFunction::Avg),
        any(AggFunction::First),
        any(AggFunction::Last),
        Just((AggFunction::Median, X)),
        Just((AggFunction::Percentile(Fraction::new(0.9).unwrap()), X)),
        Just((AggFunction::StddevSamp, X)),
        Just((AggFunction::VarPop, X)),
    ];
    (choice, prop::bool::weighted(0.25))
        .prop_map(|((function, column), filtered)| (function, column, filtered))
}

fn plan_spec() -> impl Strategy<Value = PlanSpec> {
    let bound = || prop::option::of(((-60..20i64).prop_map(|q| q * 250), any::<bool>()));
    // Key 9 is a bin of the time.
    let keys = prop::collection::vec(prop::sample::select(vec![SYM, N, X, S, TS, 9]), 0..3);
    let shape = (
        prop::option::weighted(0.75, keys),
        prop::collection::vec(prop::sample::select(vec![SYM, N, X, TS, S]), 1..4),
        prop::collection::vec(aggregate(), 0..4),
    );
    let order = prop::collection::vec((any::<usize>(), any::<bool>()), 0..3);
    let limit = prop::option::of(0..5usize);
    let rows_max = prop_oneof![3 => Just(10_000usize), 1 => 1..5usize];
    let shape = (shape, source_spec());
    (shape, any::<bool>(), any::<bool>(), bound(), bound(), order, limit, rows_max, 0..4usize).prop_map(
        |(shape, filter, having, lower, upper, order, limit, rows_max, spare)| {
            let ((keys, columns, aggregates), source) = shape;
            PlanSpec {
                source,
                keys,
                columns,
                aggregates,
                filter,
                having,
                lower,
                upper,
                order,
                limit,
                rows_max,
                spare,
            }
        },
    )
}

impl PlanSpec {
    fn build(&self) -> ViewPlan {
        let Built { flow, identity } = self.source.build(&mut 0);
        let mut plan = match &self.keys {
            None => rows_by(&self.columns, &identity),
            Some(keys) => {
                let keys = keys.iter().map(|&key| if key == 9 { bin(5) } else { col(key) }).collect();
                let shared: Vec<ExprRef> = (0..5).map(col).collect();
                let by = |expr, descending| OrderBy { expr, descending, nulls_first: descending };
                let picks = |function| matches!(function, AggFunction::First | AggFunction::Last);
                let unique = identity.iter().map(|&column| by(col(column), false));
                let order: Vec<_> = [by(col(TS), self.filter)].into_iter().chain(unique).collect();
                let aggregates = self.aggregates.iter().map(|&(function, column, filtered)| Aggregate {
                    order: if picks(function) { order.clone() } else { vec![] },
                    function,
                    arg: Some(Arc::clone(&shared[column])),
                    filter: filtered.then(|| greater(N, 1)),
                });
                let filtered = Aggregate { filter: Some(greater(N, 0)), ..count() };
                let aggregates = [count(), filtered].into_iter().chain(aggregates).collect();
                groups(keys, aggregates)
            }
        };
        if let Some(keys) = &self.keys
            && self.having
        {
            plan.having = Some(greater(keys.len(), 1));
        }
        plan.flow = flow;
        plan.flow.filter = self.filter.then(|| greater(N, -1));
        let bound = |(ms, inclusive): (i64, bool)| Bound { offset_us: ms * 1_000, inclusive };
        if self.lower.is_some() || self.upper.is_some() {
            let (lower, upper) = (self.lower.map(bound), self.upper.map(bound));
            plan.flow.window = Some(Window { column: TS, lower, upper });
        }
        let direction = |desc| if desc { Direction::Desc } else { Direction::Asc };
        let width = plan.output.len();
        plan.order = self.order.iter().map(|&(column, desc)| (column % width, direction(desc))).collect();
        plan.limit = self.limit;
        plan
    }
}

/// The position of the world with all changes of both tables in it.
fn position(tables: &[TestTable; 2]) -> Offset {
    Offset::new(tables.iter().map(|table| table.position().get()).sum())
}

/// The rows that each leaf of the plan reads.
fn leaves(plan: &ViewPlan, tables: &[TestTable; 2]) -> Vec<RecordBatch> {
    let rows = |(leaf, _): (&Leaf, &Flow)| tables[usize::from(&*leaf.table.table == "U")].all();
    plan.flow.leaves().into_iter().map(rows).collect()
}

struct World {
    tables: [TestTable; 2],
    plan: Arc<ViewPlan>,
    limits: ViewLimits,
    engine: Engine,
    tick: Tick,
    /// A snapshot that was taken and not yet delivered.
    snapshot: Option<(Vec<RecordBatch>, Offset, Tick)>,
    clients: [(Option<Version>, BTreeMap<Key, Row>); 3],
    compared: usize,
}

const VIEW: ViewId = ViewId::new(1);

impl World {
    fn new(spec: &PlanSpec, first: Vec<TestRow>) -> World {
        let limits = ViewLimits {
            rows_max: spec.rows_max,
            spare_rows_min: spec.spare,
            tombstones_max: 10,
            tombstone_versions_max: 20,
            ..ViewLimits::default()
        };
        let plan = Arc::new(spec.build());
        let mut engine = Engine::new(limits, LiveTables::new());
        let mut tables = [TestTable::named("T"), TestTable::named("U")];
        let (left, right): (Vec<_>, Vec<_>) = first.into_iter().enumerate().partition(|(i, _)| i % 3 > 0);
        let changes = [left, right]
            .into_iter()
            .zip(&mut tables)
            .map(|(rows, table)| table.insert(rows.into_iter().map(|(_, row)| row).collect()));
        let changes: Vec<_> = changes.collect();
        engine.apply(position(&tables), &changes);
        let tick = at_s(20);
        engine.tick(tick);
        engine.add(VIEW, plan.live_schema(), kind(&plan));
        let snapshot = Some((leaves(&plan, &tables), position(&tables), tick));
        World { tables, plan, limits, engine, tick, snapshot, clients: Default::default(), compared: 0 }
    }

    fn seq(&self, table: usize, pick: usize) -> Option<u64> {
        let rows = &self.tables[table].rows;
        if rows.is_empty() { None } else { rows.keys().nth(pick % rows.len()).copied() }
    }

    fn change(&mut self, op: Op) {
        let change = match op {
            Op::Insert(t, rows) => self.tables[t].insert(rows),
            Op::Delete(t, picks) => {
                let seqs: Vec<u64> = picks.into_iter().filter_map(|pick| self.seq(t, pick)).collect();
                self.tables[t].delete(&seqs)
            }
            Op::Replace(t, pick, row) => match self.seq(t, pick) {
                Some(seq) => self.tables[t].replace(seq, row),
                None => self.tables[t].insert(vec![row]),
            },
            Op::Truncate(t) => {
                let all: Vec<u64> = self.tables[t].rows.keys().copied().collect();
                self.tables[t].delete(&all)
            }
            Op::Tick(seconds) => {
                self.tick = at_s(self.tick.us() / 1_000_000 + seconds);
                return self.engine.tick(self.tick);
            }
            Op::Deliver => return self.deliver(),
            Op::Read(client) => return self.read(client),
        };
        self.engine.apply(position(&self.tables), &[change]);
    }

    fn deliver(&mut self) {
        if let Some((leaves, position, tick)) = self.snapshot.take() {
            let mut view = View::new(Arc::clone(&self.plan), &self.limits).unwrap();
            view.tick(tick).unwrap();
            for (leaf, rows) in leaves.iter().enumerate().rev() {
                for start in (0..rows.num_rows()).step_by(3) {
                    view.seed(leaf, &rows.slice(start, 3.min(rows.num_rows() - start))).unwrap();
                }
            }
            self.engine.seeded(VIEW, view, position);
        }
    }

    fn state(&self) -> ViewState {
        self.engine.tables().read(|moment| moment.view(VIEW).unwrap().state().clone())
    }

    fn publish(&mut self) -> Result<(), TestCaseError> {
        let position = position(&self.tables);
        self.engine.publish(position, self.tick);
        if self.engine.reseeds().contains(&VIEW) {
            self.snapshot = Some((leaves(&self.plan, &self.tables), position, self.tick));
        }
        match self.state() {
            ViewState::Live => {}
            ViewState::Failed(error) => return Err(TestCaseError::fail(error.to_string())),
            ViewState::Seeding { .. } | ViewState::Behind { .. } => {
                prop_assert!(self.snapshot.is_some(), "not live, and nothing wanted");
                return Ok(());
            }
        }
        let expected =
            oracle::evaluate(&self.plan, &leaves(&self.plan, &self.tables), self.tick, self.limits.rows_max)
                .unwrap();
        let mut shown = self.engine.tables().read(|moment| moment.view(VIEW).unwrap().changes_since(None));
        shown.sort(&self.plan.live_schema());
        oracle::same(&expected.rows, &shown.upsert, 1e-6).map_err(TestCaseError::fail)?;
        prop_assert_eq!(expected.truncated, shown.truncated);
        self.compared += 1;
        Ok(())
    }

    /// A client reads a finished moment.
    fn read(&mut self, client: usize) {
        if matches!(self.state(), ViewState::Seeding { .. }) {
            return;
        }
        let (cursor, rows) = &mut self.clients[client];
        let schema = self.plan.live_schema();
        let (changes, all) = self.engine.tables().read(|moment| {
            let view = moment.view(VIEW).unwrap();
            (view.changes_since(*cursor), view.changes_since(None))
        });
        if changes.snapshot {
            rows.clear();
        }
        changes.delete.iter().for_each(|key| drop(rows.remove(key)));
        for row in &changes.upsert {
            rows.insert(schema.key_of(row), Arc::clone(row));
        }
        *cursor = Some(changes.to);
        let all: BTreeMap<Key, Row> = all.upsert.into_iter().map(|row| (schema.key_of(&row), row)).collect();
        assert_eq!(*rows, all, "a client has other rows than the table");
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn live_is_batch(
        spec in plan_spec(),
        first in prop::collection::vec(test_row(), 0..20),
        ops in prop::collection::vec((op(), prop::bool::weighted(0.7)), 0..40),
    ) {
        let mut world = World::new(&spec, first);
        for (op, publish) in ops {
            world.change(op);
            if publish {
                world.publish()?;
            }
        }
        // However it went, the view ends up live.
        for _ in 0..4 {
            world.deliver();
            world.publish()?;
        }
        prop_assert!(world.compared > 0);
        for client in 0..3 {
            world.read(client);
        }
    }
}
