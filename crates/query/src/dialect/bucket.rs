//! `_bucket(ts, '1d Europe/Berlin', origin)`: where the bucket begins that holds `ts`.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, AsArray, TimestampMicrosecondArray},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use super::{
    calendar::{Buckets, Stride, Zone},
    marker::BUCKET,
};

pub(super) fn udf() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Bucket { signature }))
    });
    UDF.clone()
}

/// Reads `1d Europe/Berlin`; `first` in the zone's place is UTC.
pub(super) fn spec(text: &str) -> Option<(Stride, Zone)> {
    let (stride, zone) = text.split_once(' ')?;
    let zone = if zone == "first" { Zone::UTC } else { Zone::parse(zone)? };
    Some((Stride::parse(stride)?, zone))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bucket {
    signature: Signature,
}

const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

impl ScalarUDFImpl for Bucket {
    fn name(&self) -> &str {
        BUCKET
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        match args {
            [_, _, _] => Ok(vec![TIME, DataType::Utf8, TIME]),
            _ => exec_err!("{BUCKET}() takes a time, a stride and an origin"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(TIME)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times, ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))), origins] = &args.args[..] else {
            return exec_err!("{BUCKET}() takes a time, a stride and an origin");
        };
        let Some((stride, zone)) = spec(text) else {
            return exec_err!("{text:?} is no stride");
        };
        let rows = args.number_rows;
        let (times, origins) = (times.to_array(rows)?, origins.to_array(rows)?);
        let (Some(times), Some(origins)) = (
            times.as_primitive_opt::<TimestampMicrosecondType>(),
            origins.as_primitive_opt::<TimestampMicrosecondType>(),
        ) else {
            return exec_err!("{BUCKET}() takes times");
        };
        let mut last: Option<(Buckets, i64, i64)> = None;
        let floor = |row: usize| -> Option<i64> {
            if times.is_null(row) || origins.is_null(row) {
                return None;
            }
            let (at_us, origin_us) = (times.value(row), origins.value(row));
            if let Some((buckets, start_us, end_us)) = last
                && buckets.origin_us == origin_us
                && (start_us..end_us).contains(&at_us)
            {
                return Some(start_us);
            }
            let buckets = Buckets { stride, zone, origin_us };
            let start_us = buckets.floor(at_us);
            last = buckets.next(start_us).map(|end_us| (buckets, start_us, end_us));
            Some(start_us)
        };
        let starts: TimestampMicrosecondArray = (0..rows).map(floor).collect();
        Ok(ColumnarValue::Array(Arc::new(starts)))
    }
}
