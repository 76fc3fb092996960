//! `rnd_int()` and its family.
//!
//! A value must be the same in every run with the same seeds, whatever the size of a batch and however many
//! threads work. So it is a pure function of a key and of the row's number: the key is made of the seeds and of
//! the number of the call in the query, and the row's number is `x` of the `long_sequence` below. The planner
//! puts that column in as a hidden last argument ([`crate::functions::rows`]); being pure, a value may then be
//! computed anywhere, or twice, and `SELECT round(a, 2), a FROM (SELECT rnd_double() a …)` shows one number
//! twice. Where no sequence is below (over a table, or without FROM), the rows are counted as they come: any
//! values, but no repeatable ones.

mod draws;
mod kinds;
mod texts;

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use self::draws::{join, mix};
pub(super) use self::kinds::Kind;

/// What no run shares with another.
static CHANCE: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));

/// Rows that were drawn without a sequence, over all statements.
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// A key that was never given before.
pub(super) fn fresh() -> u64 {
    join(*CHANCE, DRAWN.fetch_add(1, Ordering::Relaxed))
}

/// A key out of a caller's seeds.
pub(super) fn seeded([first, second]: [u64; 2]) -> u64 {
    join(mix(first), second)
}

/// A key of two.
pub(super) fn both(first: u64, second: u64) -> u64 {
    join(first, second)
}

/// Where a function's rows get their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rows {
    /// Counted as they come.
    Counted,
    /// The last arguments, so many of them, under a key of their own.
    Given { key: u64, columns: usize },
}

/// One function of the family.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Random {
    kind: Kind,
    rows: Rows,
    signature: Signature,
}

impl Random {
    fn udf(kind: Kind, rows: Rows) -> Arc<ScalarUDF> {
        let volatility = match rows {
            Rows::Counted => Volatility::Volatile,
            Rows::Given { .. } => Volatility::Immutable,
        };
        let signature = Signature::user_defined(volatility);
        Arc::new(ScalarUDF::new_from_impl(Random { kind, rows, signature }))
    }

    /// The function as a query names it.
    pub(super) fn counted(kind: Kind) -> Arc<ScalarUDF> {
        Random::udf(kind, Rows::Counted)
    }

    /// The same over rows that are numbered by its last `columns` arguments.
    pub(super) fn numbered(&self, key: u64, site: u64, columns: usize) -> Option<Arc<ScalarUDF>> {
        let rows = Rows::Given { key: join(key, site), columns };
        (self.rows == Rows::Counted).then(|| Random::udf(self.kind, rows))
    }

    fn columns(&self) -> usize {
        match self.rows {
            Rows::Counted => 0,
            Rows::Given { columns, .. } => columns,
        }
    }
}

impl ScalarUDFImpl for Random {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.kind.output())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let Some(own) = given.len().checked_sub(self.columns()) else {
            return internal_err!("{}() lacks the number of its row", self.name());
        };
        let mut types = self.kind.params(&given[..own])?;
        types.extend(std::iter::repeat_n(DataType::Int64, self.columns()));
        Ok(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (own, numbers) = args.args.split_at(args.args.len().saturating_sub(self.columns()));
        let mut given = Vec::with_capacity(own.len());
        for arg in own {
            match arg {
                ColumnarValue::Scalar(value) => given.push(value.clone()),
                ColumnarValue::Array(_) => {
                    return plan_err!("{}() takes constants as arguments", self.name());
                }
            }
        }
        let rows = args.number_rows;
        let (base, keys) = match self.rows {
            Rows::Counted => {
                let first = DRAWN.fetch_add(rows as u64, Ordering::Relaxed);
                (*CHANCE, (0..rows as u64).map(|row| join(*CHANCE, first.wrapping_add(row))).collect())
            }
            Rows::Given { key, .. } => {
                let mut keys = vec![key; rows];
                for number in numbers {
                    let number = number.clone().into_array(rows)?;
                    let Some(number) = number.as_primitive_opt::<Int64Type>() else {
                        return internal_err!("a row's number is {}", number.data_type());
                    };
                    keys.iter_mut().zip(number.values()).for_each(|(key, &n)| *key = join(*key, n as u64));
                }
                (key, keys)
            }
        };
        let values = self.kind.draw(&given, base, keys)?;
        let constant = numbers.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        Ok(match self.rows {
            // Values that are folded while planning are asked for one row.
            Rows::Given { .. } if constant && rows == 1 => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
            }
            _ => ColumnarValue::Array(values),
        })
    }
}
