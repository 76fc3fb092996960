//! Random trees of sources over two tables of the same columns.
//!
//! Whatever a source does, its first five columns are those of the test table, in type and order, so that trees
//! nest and bodies do not care.

use arrow::{
    array::{AsArray, Int64Array, new_null_array},
    compute::kernels::cmp,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use proptest::prelude::*;

use super::*;

/// A range of time: the bounds in milliseconds from the tick.
type Range = Option<(Option<i64>, Option<i64>)>;

#[derive(Debug, Clone)]
pub(super) enum SourceSpec {
    Table {
        is_second: bool,
        above: Option<i64>,
        range: Range,
    },
    Join {
        kind: JoinKind,
        sides: Box<[SourceSpec; 2]>,
        on: Vec<usize>,
        filtered: bool,
        mixed: bool,
        range: Range,
    },
    Union(Vec<SourceSpec>),
    Select {
        from: Box<SourceSpec>,
        by: usize,
        having: bool,
        range: Range,
    },
}

/// A flow, and its columns that tell rows apart.
pub(super) struct Built {
    pub(super) flow: Flow,
    pub(super) identity: Vec<usize>,
}

fn range() -> impl Strategy<Value = Range> {
    let lower = prop::option::weighted(0.8, (-60..0i64).prop_map(|q| q * 250));
    let upper = prop::option::weighted(0.3, (-20..20i64).prop_map(|q| q * 250));
    prop::option::weighted(0.3, (lower, upper))
}

fn table() -> impl Strategy<Value = SourceSpec> {
    (any::<bool>(), prop::option::weighted(0.3, 0..3i64), range())
        .prop_map(|(is_second, above, range)| SourceSpec::Table { is_second, above, range })
}

/// The first table alone as often as anything else.
pub(super) fn source_spec() -> impl Strategy<Value = SourceSpec> {
    use JoinKind::{Anti, Full, Inner, Left, Right, Semi};
    let kind = || prop::sample::select(vec![Inner, Inner, Left, Left, Right, Full, Semi, Anti]);
    let on = || prop::sample::select(vec![vec![SYM], vec![N], vec![S], vec![SYM, N], vec![TS]]);
    let tree = table().prop_recursive(3, 6, 2, move |inner| {
        let flags = (prop::bool::weighted(0.3), any::<bool>(), range());
        let join = (kind(), inner.clone(), inner.clone(), on(), flags).prop_map(
            |(kind, left, right, on, (filtered, mixed, range))| {
                let sides = Box::new([left, right]);
                SourceSpec::Join { kind, sides, on, filtered, mixed, range }
            },
        );
        let union = prop::collection::vec(inner.clone(), 2..3).prop_map(SourceSpec::Union);
        let select = (inner, 0..4usize, any::<bool>(), range()).prop_map(|(from, by, having, range)| {
            SourceSpec::Select { from: Box::new(from), by, having, range }
        });
        prop_oneof![4 => join, 1 => union, 2 => select]
    });
    let plain = SourceSpec::Table { is_second: false, above: None, range: None };
    prop_oneof![1 => Just(plain), 2 => tree]
}

fn window(range: Range) -> Option<Window> {
    let bound = |ms: i64| Bound { offset_us: ms * 1_000, inclusive: ms % 500 == 0 };
    let (lower, upper) = range.filter(|(lower, upper)| lower.is_some() || upper.is_some())?;
    Some(Window { column: TS, lower: lower.map(bound), upper: upper.map(bound) })
}

fn constant(value: i64) -> ExprRef {
    fun(move |batch| Ok(Arc::new(Int64Array::from(vec![value; batch.num_rows()]))))
}

fn null(ty: DataType) -> ExprRef {
    fun(move |batch| Ok(new_null_array(&ty, batch.num_rows())))
}

fn at_least(left: usize, right: usize) -> ExprRef {
    fun(move |batch| {
        let (left, right) =
            (batch.column(left).as_primitive::<arrow::datatypes::Int64Type>(), batch.column(right));
        Ok(Arc::new(cmp::gt_eq(left, right.as_primitive::<arrow::datatypes::Int64Type>()).unwrap()))
    })
}

/// The columns of the test table, then others.
fn schema(others: impl Iterator<Item = DataType>) -> SchemaRef {
    let stored = table_schema().stored();
    let mut fields: Vec<Field> = (0..5).map(|c| stored.field(c).clone().with_nullable(true)).collect();
    fields.extend(others.enumerate().map(|(i, ty)| Field::new(format!("_id{i}"), ty, true)));
    Arc::new(Schema::new(fields))
}

impl SourceSpec {
    /// `made` counts the parts of unions.
    pub(super) fn build(&self, made: &mut i64) -> Built {
        match self {
            SourceSpec::Table { is_second, above, range } => {
                let table = schema_of(if *is_second { "U" } else { "T" });
                let flow = Flow::table(&table, vec![SYM, N, X, TS, S]);
                let filter = above.map(|above| greater(N, above));
                Built { flow: Flow { filter, window: window(*range), ..flow }, identity: vec![SEQ] }
            }
            SourceSpec::Join { kind, sides, on, filtered, mixed, range } => {
                let [left, right] = [sides[0].build(made), sides[1].build(made)];
                let width = left.flow.input.fields().len();
                let join = Join {
                    kind: *kind,
                    on: on.iter().map(|&c| [col(c), col(c)]).collect(),
                    filter: filtered.then(|| at_least(N, width + N)),
                    identity: [left.identity.clone(), right.identity.clone()],
                    sides: [left.flow, right.flow],
                };
                let input = join.schema();
                let both = !matches!(kind, JoinKind::Semi | JoinKind::Anti);
                let right = right.identity.iter().map(|c| c + width);
                let identity: Vec<usize> = left.identity.into_iter().chain(right.filter(|_| both)).collect();
                let flow = Flow {
                    source: Source::Join(Box::new(join)),
                    input,
                    filter: None,
                    window: window(*range),
                };
                if !(both && *mixed) {
                    return Built { flow, identity };
                }
                // Some columns of the right side in place of the left one's.
                let columns = [width + SYM, N, width + X, TS, width + S];
                project(flow, columns.map(col).to_vec(), &identity)
            }
            SourceSpec::Union(parts) => {
                let built: Vec<Built> = parts.iter().map(|part| part.build(made)).collect();
                let types = |built: &Built| -> Vec<DataType> {
                    let ty = |&c: &usize| built.flow.input.field(c).data_type().clone();
                    built.identity.iter().map(ty).collect()
                };
                let all: Vec<Vec<DataType>> = built.iter().map(types).collect();
                let input = schema([DataType::Int64].into_iter().chain(all.iter().flatten().cloned()));
                let branch = |(at, part): (usize, Built)| {
                    *made += 1;
                    let mut columns: Vec<ExprRef> = (0..5).map(col).chain([constant(*made)]).collect();
                    for (other, types) in all.iter().enumerate() {
                        match other == at {
                            true => columns.extend(part.identity.iter().map(|&c| col(c))),
                            false => columns.extend(types.iter().cloned().map(null)),
                        }
                    }
                    Branch { flow: part.flow, project: Some(columns) }
                };
                let branches = built.into_iter().enumerate().map(branch).collect();
                let identity = (5..input.fields().len()).collect();
                let source = Source::Union(branches);
                Built { flow: Flow { source, input, filter: None, window: None }, identity }
            }
            SourceSpec::Select { from, by, having, range } => {
                let from = from.build(made);
                let input = schema(std::iter::empty());
                let keys: Vec<ExprRef> = match by {
                    0 => vec![],
                    1 => vec![col(SYM)],
                    2 => vec![col(SYM), bin(5)],
                    _ => vec![col(SYM), col(S)],
                };
                let after = keys.len();
                let aggregates = vec![
                    count(),
                    agg(AggFunction::Sum, X),
                    agg(AggFunction::Max, TS),
                    agg(AggFunction::Min, S),
                ];
                let symbol = input.field(SYM).data_type().clone();
                let project = vec![
                    if *by == 0 { null(symbol) } else { col(0) },
                    col(after),
                    col(after + 1),
                    if *by == 2 { col(1) } else { col(after + 2) },
                    if *by == 3 { col(1) } else { col(after + 3) },
                ];
                let identity = match by {
                    0 => vec![],
                    1 => vec![SYM],
                    2 => vec![SYM, TS],
                    _ => vec![SYM, S],
                };
                let having = having.then(|| greater(after, 1));
                let select = Select { flow: from.flow, keys, aggregates, having, project };
                let source = Source::Select(Box::new(select));
                Built { flow: Flow { source, input, filter: None, window: window(*range) }, identity }
            }
        }
    }
}

fn project(flow: Flow, mut columns: Vec<ExprRef>, identity: &[usize]) -> Built {
    columns.extend(identity.iter().map(|&c| col(c)));
    let input = schema(identity.iter().map(|&c| flow.input.field(c).data_type().clone()));
    let source = Source::Union(vec![Branch { flow, project: Some(columns) }]);
    let identity = (5..input.fields().len()).collect();
    Built { flow: Flow { source, input, filter: None, window: None }, identity }
}
