//! Functions that stand in a plan only until the node that they stand for takes their place.

use std::{hash::Hash, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// SAMPLE BY's bucket where `date_bin` cannot tell it.
pub(crate) const BUCKET: &str = "_bucket";
/// In WHERE: the rows go through a [`super::fill`] node.
pub(crate) const FILL: &str = "_fill";
/// As a join's condition: the join is one by time.
pub(crate) const ASOF: &str = "_asof";
/// In a join's condition: the parameter that stands for a length of time.
pub(crate) const LENGTH: &str = "_length";
/// As a LIMIT: the last rows.
pub(crate) const TAIL: &str = "_tail";

/// As a LIMIT: the last rows by time, or all where they have none.
pub(crate) const LAST: &str = "_last";

/// The function `name` if it is one of these.
pub(crate) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    let (name, output) = match name {
        BUCKET => return Some(super::bucket::udf()),
        FILL => (FILL, DataType::Boolean),
        ASOF => (ASOF, DataType::Boolean),
        TAIL => (TAIL, DataType::Int64),
        _ => return None,
    };
    let signature = Signature::variadic_any(Volatility::Immutable);
    Some(Arc::new(ScalarUDF::new_from_impl(Marker { name, output, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    output: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.output.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{}() is no function; it stands for a clause", self.name)
    }
}
