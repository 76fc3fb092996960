//! DataFusion's functions that make long values out of short ones, each behind a guard that counts first.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType},
};
use datafusion::{
    common::{Result, ScalarValue},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

use super::bounds::{self, BATCH_BYTES_MAX, VALUE_BYTES_MAX};
use crate::{
    error::{SqlCode, SqlError},
    failure::external,
};

/// Elements of one list, and of one column of lists, that a function makes.
const LIST_MAX: usize = 131_072;
const LISTS_MAX: usize = 8 << 20;

/// Steps of one comparison, and of one column of them, that take time by the product of two lengths.
const STEPS_MAX: usize = 1 << 24;
const COLUMN_STEPS_MAX: usize = 1 << 31;

/// What is counted before a function is called, row by row.
#[derive(Debug, Clone, Copy)]
enum Guard {
    /// Bytes of a text.
    Text(fn(&Row<'_>) -> usize),
    /// Elements of a list.
    List(fn(&Row<'_>) -> usize),
    /// Steps.
    Steps(fn(&Row<'_>) -> usize),
    /// Nothing: what it makes is not much more than what it takes, and is looked at afterwards.
    After,
}

const GUARDS: &[(&str, Guard)] = &[
    ("repeat", Guard::Text(|row| row.bytes(0).saturating_mul(row.count(1)))),
    ("lpad", Guard::Text(|row| row.count(1))),
    ("rpad", Guard::Text(|row| row.count(1))),
    ("concat", Guard::Text(|row| (0..row.args.len()).map(|at| row.bytes(at)).sum())),
    (
        "concat_ws",
        Guard::Text(|row| {
            let parts = (1..row.args.len()).map(|at| row.bytes(at)).sum::<usize>();
            parts.saturating_add(row.bytes(0).saturating_mul(row.args.len()))
        }),
    ),
    ("replace", Guard::Text(replaced)),
    ("overlay", Guard::Text(|row| row.bytes(0).saturating_add(row.bytes(1)))),
    (
        "regexp_replace",
        Guard::Text(|row| {
            // A replacement for every character at most, and what it refers to once for each reference.
            let (text, by) = (row.bytes(0), row.bytes(2));
            let most = text.saturating_add(1).saturating_mul(by.saturating_add(1));
            if most <= 16 * VALUE_BYTES_MAX { text } else { most }
        }),
    ),
    ("levenshtein", Guard::Steps(|row| row.bytes(0).saturating_mul(row.bytes(1)))),
    ("range", Guard::List(elements)),
    ("generate_series", Guard::List(elements)),
    ("array_repeat", Guard::List(|row| row.count(1).saturating_mul(row.items(0)))),
    ("array_resize", Guard::List(|row| row.count(1))),
    ("array_concat", Guard::After),
    ("array_append", Guard::After),
    ("array_prepend", Guard::After),
    ("array_union", Guard::After),
    ("array_replace_all", Guard::After),
    ("array_to_string", Guard::After),
    ("string_to_array", Guard::After),
    ("make_array", Guard::After),
    ("flatten", Guard::After),
    ("translate", Guard::After),
    ("initcap", Guard::After),
    ("upper", Guard::After),
    ("lower", Guard::After),
    ("to_hex", Guard::After),
];

/// Puts the guards before the functions that are there.
pub(super) fn guard(state: &mut SessionState) -> Result<()> {
    for &(name, guard) in GUARDS {
        if let Some(inner) = state.scalar_functions().get(name).cloned() {
            state.register_udf(Arc::new(ScalarUDF::new_from_impl(Bounded { inner, guard })))?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    guard: Guard,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Bounded) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

/// One row of a call's arguments.
struct Row<'a> {
    args: &'a [ColumnarValue],
    at: usize,
}

impl Row<'_> {
    fn of<T>(&self, arg: usize, of: impl Fn(&dyn Array, usize) -> T, none: T) -> T {
        match self.args.get(arg) {
            Some(ColumnarValue::Array(array)) if array.is_valid(self.at) => of(array, self.at),
            Some(ColumnarValue::Scalar(value)) if !value.is_null() => {
                value.to_array().map_or(none, |array| of(&array, 0))
            }
            _ => none,
        }
    }

    /// Bytes of an argument as text.
    fn bytes(&self, arg: usize) -> usize {
        if let Some(ColumnarValue::Scalar(value)) = self.args.get(arg) {
            return value.try_as_str().flatten().map_or(32, str::len);
        }
        self.of(arg, |array, at| text(array, at, str::len).unwrap_or(32), 0)
    }

    /// An argument as a number of things.
    fn count(&self, arg: usize) -> usize {
        self.of(
            arg,
            |array, at| {
                let number = cast(&array.slice(at, 1), &DataType::Int64).ok();
                let number = number.and_then(|n| Some(n.as_primitive_opt::<Int64Type>()?.value(0)));
                number.map_or(0, |n| usize::try_from(n).unwrap_or(0))
            },
            0,
        )
    }

    /// Elements of an argument, 1 if it is no list.
    fn items(&self, arg: usize) -> usize {
        self.of(arg, |array, at| array.as_list_opt::<i32>().map_or(1, |lists| lists.value(at).len()), 1)
    }
}

fn text<T>(array: &dyn Array, at: usize, of: impl Fn(&str) -> T) -> Option<T> {
    match array.data_type() {
        DataType::Utf8 => Some(of(array.as_string::<i32>().value(at))),
        DataType::LargeUtf8 => Some(of(array.as_string::<i64>().value(at))),
        DataType::Utf8View => Some(of(array.as_string_view().value(at))),
        _ => None,
    }
}

/// Exact only where the worst would be too much.
fn replaced(row: &Row<'_>) -> usize {
    let (length, from, to) = (row.bytes(0), row.bytes(1), row.bytes(2));
    let worst = (length / from.max(1) + 1).saturating_mul(to).saturating_add(length);
    if worst <= VALUE_BYTES_MAX {
        return worst;
    }
    let whole = |arg| row.of(arg, |array, at| text(array, at, str::to_owned), None);
    let (Some(text), Some(from)) = (whole(0), whole(1)) else { return worst };
    let found = text.matches(from.as_str()).count();
    found.saturating_mul(to).saturating_add(length)
}

/// Elements of `range(start, stop, step)`.
fn elements(row: &Row<'_>) -> usize {
    let number = |arg| {
        row.of(
            arg,
            |array, at| {
                let one = array.slice(at, 1);
                if let Some(steps) = one.as_primitive_opt::<IntervalMonthDayNanoType>() {
                    // A month has 28 days at least.
                    let step = steps.value(0);
                    let days = i128::from(step.months) * 28 + i128::from(step.days);
                    return Some(days * 86_400_000_000 + i128::from(step.nanoseconds) / 1_000);
                }
                let one = match one.data_type() {
                    DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                        cast(&one, &super::scalar::TIME).ok()?
                    }
                    _ => one,
                };
                let one = cast(&one, &DataType::Int64).ok()?;
                Some(i128::from(one.as_primitive_opt::<Int64Type>()?.value(0)))
            },
            None,
        )
    };
    let (start, stop) = match row.args.len() {
        1 => (Some(0), number(0)),
        _ => (number(0), number(1)),
    };
    let step = if row.args.len() > 2 { number(2) } else { Some(1) };
    match (start, stop, step) {
        (Some(start), Some(stop), Some(step)) => {
            usize::try_from((stop - start).abs() / step.abs().max(1) + 1).unwrap_or(usize::MAX)
        }
        _ => 0,
    }
}

fn refused(name: &str, what: &str, count: usize, most: usize) -> Result<()> {
    let message = format!("{name}() would need {count} {what}, at most {most} are allowed");
    Err(external(SqlError::new(SqlCode::Resources, message).hint("ask for less at once"), name))
}

impl Bounded {
    fn before(&self, args: &[ColumnarValue], rows: usize) -> Result<()> {
        let name = self.inner.name();
        let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let counted = if constant { 1 } else { rows };
        let mut total = 0_usize;
        let (of, what, one_max, all_max) = match self.guard {
            Guard::Text(of) => (of, "", VALUE_BYTES_MAX, BATCH_BYTES_MAX),
            Guard::List(of) => (of, "elements", LIST_MAX, LISTS_MAX),
            Guard::Steps(of) => (of, "steps", STEPS_MAX, COLUMN_STEPS_MAX),
            Guard::After => return Ok(()),
        };
        for at in 0..counted {
            let one = of(&Row { args, at });
            total = total.saturating_add(one);
            if one <= one_max && total <= all_max {
                continue;
            }
            if let Guard::Text(_) = self.guard {
                bounds::check_value(name, one)?;
                bounds::check_column(name, total)?;
            }
            if one > one_max {
                return refused(name, what, one, one_max);
            }
            return refused(name, what, total, all_max);
        }
        Ok(())
    }

    fn after(&self, made: &ColumnarValue) -> Result<()> {
        let name = self.inner.name();
        let array: ArrayRef = match made {
            ColumnarValue::Array(array) => array.clone(),
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => {
                return bounds::check_value(name, text.len());
            }
            ColumnarValue::Scalar(value) => value.to_array()?,
        };
        match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                bounds::check_column(name, texts.value_data().len())?;
                let longest = texts.value_offsets().windows(2).map(|pair| pair[1] - pair[0]).max();
                bounds::check_value(name, longest.map_or(0, |length| usize::try_from(length).unwrap_or(0)))
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let longest =
                    lists.value_offsets().windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
                let longest = usize::try_from(longest).unwrap_or(0);
                if longest > LIST_MAX {
                    return refused(name, "elements", longest, LIST_MAX);
                }
                bounds::check_column(name, lists.values().get_array_memory_size())
            }
            _ => Ok(()),
        }
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.before(&args.args, args.number_rows)?;
        let made = self.inner.invoke_with_args(args)?;
        self.after(&made)?;
        Ok(made)
    }
}
