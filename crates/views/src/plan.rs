//! What a view computes: a plan, made by `query`, run by [`crate::View`].
//!
//! ```text
//! source ─► filter ─► window (against the tick) ─► body ─► having ─► project ─► order, limit ─► live table
//! ```
//!
//! The source is a table, or what joins, unions and subqueries make of several ([`crate::Source`]).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::array::{ArrayRef, RecordBatch};

use crate::{Again, Flow, Kind, LiveColumn, LiveSchema, ViewError};

/// A deterministic expression: columns in, a column of the same length out. `query` implements it over
/// DataFusion's physical expressions. It never reads a clock: `now()` is in the plan's [`Window`], or the
/// view is re-evaluated.
pub trait Expr: Send + Sync {
    /// Computes the expression for every row of `batch`. Must work for no rows too: that is how a view learns
    /// the types.
    ///
    /// # Errors
    /// [`ViewError::Expression`] if a row cannot be computed; the view ends with it, as the batch query would.
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ViewError>;
}

/// A shared expression.
pub type ExprRef = Arc<dyn Expr>;

/// An output column, hidden ones included.
pub type OutputColumn = LiveColumn;

/// What a view computes.
#[derive(Clone)]
pub struct ViewPlan {
    /// The rows that it is made of.
    pub flow: Flow,
    /// What is made of the rows that pass.
    pub body: Body,
    /// The columns that the body's `project` yields, in order.
    pub output: Vec<OutputColumn>,
    /// Indices into `output` of the columns that identify a row. Groups: the group's keys, so empty for a
    /// global aggregate. Rows: `_seq`, usually hidden.
    pub key: Vec<usize>,
    /// Order of the rows: indices into `output`. Ties go by key, ascending.
    pub order: Vec<(usize, Direction)>,
    /// At most this many rows, the first in that order.
    pub limit: Option<usize>,
    /// Groups only: over the same batch as their `project`, to Boolean.
    pub having: Option<ExprRef>,
    /// What earlier views of this plan learnt about the table. [`Hints::default`] to begin with.
    pub hints: Hints,
}

impl ViewPlan {
    /// How the live table looks that this plan fills.
    pub fn live_schema(&self) -> LiveSchema {
        LiveSchema {
            columns: self.output.clone(),
            key: self.key.clone(),
            order: self.order.clone(),
            limit: self.limit,
        }
    }

    /// What to hand to [`crate::Engine::add`] for this plan; `schema` is what its rows look like should the
    /// query be run again.
    pub fn kind(&self, schema: Arc<LiveSchema>) -> Kind {
        let again = Again { schema, clock: self.flow.has_window() };
        Kind::Incremental { reads: self.flow.reads(), again }
    }
}

/// A range of time against the tick. A row is inside if its time is within both bounds; NULL never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Index of the time in the input batch: a `Timestamp` of any unit, or anything that casts to one.
    pub column: usize,
    /// The oldest time inside; `None` for no end in the past. Rows leave when it passes them.
    pub lower: Option<Bound>,
    /// The newest time inside; `None` for no end in the future. Rows wait until it reaches them.
    pub upper: Option<Bound>,
}

/// One end of a [`Window`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Microseconds added to the tick, negative for the past.
    pub offset_us: i64,
    /// True if a row exactly there is inside.
    pub inclusive: bool,
}

/// What is made of the rows.
#[derive(Clone)]
pub enum Body {
    /// Each row by itself.
    Rows {
        /// Over the input: the output columns, those that tell rows apart among them (they are the key).
        project: Vec<ExprRef>,
    },
    /// Rows grouped by keys. Without keys there is exactly one group, which exists without rows, too.
    Groups {
        /// Over the input. NULL is a value like any other, and so is NaN.
        keys: Vec<ExprRef>,
        /// Over the input.
        aggregates: Vec<Aggregate>,
        /// Over a batch of the keys (with the types their expressions yield) and then the aggregates (with
        /// the types of [`AggFunction::output`]), one row a group: the output columns.
        project: Vec<ExprRef>,
    },
}

/// One aggregate.
#[derive(Clone)]
pub struct Aggregate {
    /// What it computes.
    pub function: AggFunction,
    /// Over the input; `None` only for `count(*)`.
    pub arg: Option<ExprRef>,
    /// Over the input, to Boolean: `FILTER (WHERE …)`.
    pub filter: Option<ExprRef>,
    /// What decides which row is first and last; rows that are equal in all of it are taken for one. Only for
    /// [`AggFunction::First`] and [`AggFunction::Last`].
    pub order: Vec<OrderBy>,
}

/// A part of an order.
#[derive(Clone)]
pub struct OrderBy {
    /// Over the input.
    pub expr: ExprRef,
    /// True for the greatest first.
    pub descending: bool,
    /// True for NULL first.
    pub nulls_first: bool,
}

/// The aggregates that are maintained. All but `First` and `Last` skip NULL arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggFunction {
    /// Rows, or rows whose argument is not NULL.
    Count,
    /// Distinct values. Every NaN is one value, and so is every zero.
    CountDistinct,
    /// Integers: exact, the result wraps at 64 bits as DataFusion's does. Floats: exact until the result is
    /// rounded, so rows that left leave no trace. NULL without values.
    Sum,
    /// The mean as a double; NULL without values.
    Avg,
    /// The least value; NaN is greater than any number.
    Min,
    /// The greatest value; NaN is greater than any number.
    Max,
    /// The argument of the first row by the aggregate's order, be it NULL.
    First,
    /// The argument of the last row by the aggregate's order, be it NULL.
    Last,
    /// The variance of a sample; NULL for fewer than two values.
    VarSamp,
    /// The variance of all there is.
    VarPop,
    /// The root of [`AggFunction::VarSamp`].
    StddevSamp,
    /// The root of [`AggFunction::VarPop`].
    StddevPop,
    /// The value in the middle, or the mean of the two; exact.
    Median,
    /// The value at a fraction of the way from the least to the greatest; exact.
    Percentile(Fraction),
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraction(u64);

impl Fraction {
    /// `None` for what is not from 0 to 1.
    pub fn new(value: f64) -> Option<Fraction> {
        (0.0..=1.0).contains(&value).then_some(Fraction(value.to_bits()))
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl AggFunction {
    /// The Arrow type of the result for an argument of type `arg` (that of `count(*)` does not matter). The
    /// same as DataFusion's.
    ///
    /// # Errors
    /// The argument cannot be aggregated so.
    pub fn output(self, arg: &arrow::datatypes::DataType) -> Result<arrow::datatypes::DataType, ViewError> {
        use arrow::datatypes::DataType;
        let value = match arg {
            DataType::Dictionary(_, value) => &**value,
            other => other,
        };
        let refuse = || Err(ViewError::Plan(format!("{self} of {arg} cannot be maintained")));
        match self {
            AggFunction::Count | AggFunction::CountDistinct => Ok(DataType::Int64),
            AggFunction::Sum if value.is_signed_integer() => Ok(DataType::Int64),
            AggFunction::Sum if value.is_unsigned_integer() => Ok(DataType::UInt64),
            AggFunction::Sum if value.is_floating() => Ok(DataType::Float64),
            AggFunction::Avg if value.is_integer() || value.is_floating() => Ok(DataType::Float64),
            AggFunction::Min | AggFunction::Max if crate::cells::is_supported(value) => Ok(value.clone()),
            AggFunction::First | AggFunction::Last if crate::cells::is_supported(arg) => Ok(arg.clone()),
            AggFunction::VarSamp | AggFunction::VarPop | AggFunction::StddevSamp | AggFunction::StddevPop
                if value.is_integer() || value.is_floating() =>
            {
                Ok(DataType::Float64)
            }
            AggFunction::Median | AggFunction::Percentile(_) if *arg == DataType::Float64 => {
                Ok(DataType::Float64)
            }
            _ => refuse(),
        }
    }
}

impl fmt::Display for AggFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AggFunction::Count => "count",
            AggFunction::CountDistinct => "count(distinct)",
            AggFunction::Sum => "sum",
            AggFunction::Avg => "avg",
            AggFunction::Min => "min",
            AggFunction::Max => "max",
            AggFunction::First => "first",
            AggFunction::Last => "last",
            AggFunction::VarSamp => "var_samp",
            AggFunction::VarPop => "var_pop",
            AggFunction::StddevSamp => "stddev_samp",
            AggFunction::StddevPop => "stddev_pop",
            AggFunction::Median => "median",
            AggFunction::Percentile(_) => "percentile_cont",
        })
    }
}

/// A direction of order. As in PostgreSQL, NULL is greater than every value: last in `Asc`, first in `Desc`.
/// (For `NULLS FIRST` and `NULLS LAST` the other way round, order by a hidden `x IS NULL` before.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Least first.
    Asc,
    /// Greatest first.
    Desc,
}

/// What views of one plan learn about their table, shared by the clones of the plan: a view that took the
/// cheap path for a table that only inserts, and then met a row that went, asks to be seeded anew; the next
/// view of the plan reads here that it must be ready for that.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    retracts: Arc<AtomicBool>,
}

impl Hints {
    /// True once rows went in a way that the cheap path could not follow.
    pub fn retracts(&self) -> bool {
        self.retracts.load(Ordering::Relaxed)
    }

    /// Remembers that rows go.
    pub fn set_retracts(&self) {
        self.retracts.store(true, Ordering::Relaxed);
    }
}
