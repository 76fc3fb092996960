//! What the scalar functions here have in common: each is a row of its family's table, with the types that it
//! takes, the type that it gives, and a body over whole columns.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::time::{Stamps, stamps};
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, internal_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// Microseconds without a zone, the type of every time here.
pub(super) const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Nanoseconds, the type of a TIMESTAMP_NS.
pub(super) const NANO_TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// What an argument is made to be before the body sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Param {
    /// Microseconds; text is read as a time.
    Time,
    /// A TIMESTAMP_NS as it is, all else as a `Time`.
    Stamp,
    Text,
    Long,
    Double,
    /// LONG stays, everything else becomes DOUBLE.
    Number,
    /// As it comes, a symbol as text.
    Any,
    /// As it comes.
    Raw,
}

impl Param {
    pub(super) fn arrow(self, given: &DataType) -> Result<DataType> {
        Ok(match self {
            Param::Stamp if matches!(given, DataType::Timestamp(TimeUnit::Nanosecond, _)) => NANO_TIME,
            Param::Time | Param::Stamp if matches!(given, DataType::Boolean | DataType::List(_)) => {
                return plan_err!("a time cannot be coerced from {given}");
            }
            Param::Time | Param::Stamp => TIME,
            Param::Text => DataType::Utf8,
            Param::Long => DataType::Int64,
            Param::Double => DataType::Float64,
            Param::Number if given.is_integer() => DataType::Int64,
            Param::Number => DataType::Float64,
            Param::Raw => given.clone(),
            Param::Any => match given {
                DataType::Dictionary(_, value) => (**value).clone(),
                other => other.clone(),
            },
        })
    }
}

/// The type of a result.
#[derive(Debug, Clone)]
pub(super) enum Output {
    Is(DataType),
    /// That of the argument, after it was made what it must be.
    Of(usize),
}

impl Output {
    /// The type for the arguments of the function `name`.
    ///
    /// # Errors
    /// It is that of an argument that is not there.
    pub(super) fn of(&self, name: &str, args: &[DataType]) -> Result<DataType> {
        match self {
            Output::Is(ty) => Ok(ty.clone()),
            Output::Of(at) => match args.get(*at) {
                Some(ty) => Ok(ty.clone()),
                None => plan_err!("the function '{name}' lacks an argument"),
            },
        }
    }
}

/// A body's arguments.
pub(super) struct Args<'a> {
    name: &'static str,
    args: &'a [ColumnarValue],
    pub(super) rows: usize,
}

impl Args<'_> {
    pub(super) fn len(&self) -> usize {
        self.args.len()
    }

    pub(super) fn array(&self, at: usize) -> Result<ArrayRef> {
        match self.args.get(at) {
            Some(arg) => arg.clone().into_array(self.rows),
            None => exec_err!("{}() lacks its argument {}", self.name, at + 1),
        }
    }

    pub(super) fn text(&self, at: usize) -> Result<StringArray> {
        self.typed(at, |array| array.as_string_opt::<i32>().cloned())
    }

    /// The text that is the same for all rows, if it is one.
    pub(super) fn constant(&self, at: usize) -> Option<&str> {
        match self.args.get(at)? {
            ColumnarValue::Scalar(value) => value.try_as_str().flatten(),
            ColumnarValue::Array(_) => None,
        }
    }

    pub(super) fn longs(&self, at: usize) -> Result<Int64Array> {
        self.typed(at, |array| array.as_primitive_opt::<Int64Type>().cloned())
    }

    pub(super) fn doubles(&self, at: usize) -> Result<Float64Array> {
        self.typed(at, |array| array.as_primitive_opt::<Float64Type>().cloned())
    }

    pub(super) fn times(&self, at: usize) -> Result<TimestampMicrosecondArray> {
        self.typed(at, |array| array.as_primitive_opt::<TimestampMicrosecondType>().cloned())
    }

    /// Times of the precision that they are given in.
    pub(super) fn stamps(&self, at: usize) -> Result<Stamps> {
        stamps(self.name, &self.array(at)?)
    }

    fn typed<T>(&self, at: usize, get: impl Fn(&ArrayRef) -> Option<T>) -> Result<T> {
        let array = self.array(at)?;
        match get(&array) {
            Some(typed) => Ok(typed),
            None => internal_err!("{}() got {} as argument {}", self.name, array.data_type(), at + 1),
        }
    }
}

type Body = fn(&Args<'_>) -> Result<ArrayRef>;

/// A function that gives one value for each row, the same whenever it is asked.
#[derive(Debug)]
pub(super) struct Scalar {
    name: &'static str,
    params: &'static [Param],
    /// Arguments behind these may be left out.
    required: usize,
    output: Output,
    body: Body,
    signature: Signature,
    aliases: Vec<String>,
}

impl Scalar {
    /// The type of an argument whatever is given; `None` if what is given decides.
    pub(super) fn argument_type(&self, at: usize) -> Option<DataType> {
        match self.params.get(at)? {
            Param::Any | Param::Raw => None,
            param => param.arrow(&DataType::Float64).ok(),
        }
    }
}

/// A function; `params` behind the first `required` may be left out.
pub(super) fn scalar(
    names: &[&'static str],
    params: &'static [Param],
    required: usize,
    output: Output,
    body: Body,
) -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    let aliases = names[1..].iter().map(|&alias| alias.to_owned()).collect();
    ScalarUDF::new_from_impl(Scalar { name: names[0], params, required, output, body, signature, aliases })
}

/// Two are one function if they have one name: the tables hold each once.
impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.output.of(self.name, args)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() < self.required || given.len() > self.params.len() {
            let wanted = match (self.required, self.params.len()) {
                (from, to) if from == to => from.to_string(),
                (from, to) => format!("{from} to {to}"),
            };
            return plan_err!("the function '{}' takes {wanted} arguments, got {}", self.name, given.len());
        }
        given.iter().zip(self.params).map(|(given, param)| param.arrow(given)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Once for all rows where nothing differs between them.
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let array = (self.body)(&Args { name: self.name, args: &args.args, rows })?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

/// The rows' results, without a value where one of the arguments has none.
pub(super) fn array<T>(values: T) -> Result<ArrayRef>
where
    T: Array + 'static,
{
    Ok(Arc::new(values))
}
