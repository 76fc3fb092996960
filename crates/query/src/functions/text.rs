//! Functions over text.

use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, ArrayRef, StringArray, StringBuilder},
    datatypes::DataType,
};
use datafusion::{
    common::Result,
    logical_expr::{Expr, ScalarUDF, expr::ScalarFunction},
};
use nowcast_model::ColumnType;

use super::{
    bounds,
    scalar::{Args, Output, Param, array, scalar},
};

/// `a || b`.
const JOIN: &str = "textcat";
const JOINED: &[Param] = &[Param::Text, Param::Text];

pub(super) fn functions() -> Vec<ScalarUDF> {
    use Param::{Long, Raw};
    let text = || Output::Is(DataType::Utf8);
    vec![
        scalar(&[JOIN], JOINED, 2, text(), joined),
        scalar(&["size_pretty", "pg_size_pretty"], &[Long], 1, text(), size_pretty),
        scalar(&["typeof", "pg_typeof"], &[Raw], 1, text(), type_of),
    ]
}

/// `left || right` in a plan.
pub(super) fn joined_expr(left: Expr, right: Expr) -> Expr {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(scalar(&[JOIN], JOINED, 2, Output::Is(DataType::Utf8), joined)));
    Expr::ScalarFunction(ScalarFunction { func: FUNCTION.clone(), args: vec![left, right] })
}

/// NULL if one of both is.
fn joined(args: &Args<'_>) -> Result<ArrayRef> {
    let (left, right) = (args.text(0)?, args.text(1)?);
    let bytes = left.value_data().len().saturating_add(right.value_data().len());
    bounds::check_column("||", bytes)?;
    let mut texts = StringBuilder::with_capacity(left.len(), bytes);
    for pair in left.iter().zip(&right) {
        match pair {
            (Some(left), Some(right)) => {
                bounds::check_value("||", left.len() + right.len())?;
                // Neither fails: a builder's memory is its own.
                let _ = texts.write_str(left);
                let _ = texts.write_str(right);
                texts.append_value("");
            }
            _ => texts.append_null(),
        }
    }
    array(texts.finish())
}

/// `1.5 MiB`.
fn size_pretty(args: &Args<'_>) -> Result<ArrayRef> {
    let sizes = args.longs(0)?;
    let texts = sizes.iter().map(|size| {
        size.map(|size| {
            let sign = if size < 0 { "-" } else { "" };
            format!("{sign}{}", crate::partitions::human(size.unsigned_abs()))
        })
    });
    array(texts.collect::<StringArray>())
}

fn type_of(args: &Args<'_>) -> Result<ArrayRef> {
    let given = args.array(0)?;
    let name = match given.data_type() {
        DataType::Null => "NULL".to_owned(),
        ty => ColumnType::from_arrow(ty).map_or_else(|| ty.to_string(), |ty| ty.name().to_owned()),
    };
    array(StringArray::from(vec![name; args.rows]))
}
