//! Medians and percentiles out of an ordered multiset.

use std::collections::BTreeMap;

use nowcast_model::Value;

use crate::AggFunction;

/// Steps between two neighbours that a percentile may fall on: as many as DataFusion's, so that both answer the same.
const STEPS: f64 = 1_000_000.0;

/// The result over values with their multiplicities; `None` without any.
pub(crate) fn value(values: &BTreeMap<Value, i64>, function: AggFunction) -> Option<f64> {
    let count: i64 = values.values().sum();
    if count <= 0 {
        return None;
    }
    match function {
        AggFunction::Percentile(fraction) => {
            let index = fraction.get() * (count - 1) as f64;
            let (low, high) = pair(values, index.floor() as i64, index.ceil() as i64)?;
            if index.floor() == index.ceil() {
                return Some(low);
            }
            let weight = ((index - index.floor()) * STEPS).floor() / STEPS;
            Some(low + (high - low) * weight)
        }
        _ if count % 2 == 1 => pair(values, count / 2, count / 2).map(|(middle, _)| middle),
        _ => {
            let (low, high) = pair(values, count / 2 - 1, count / 2)?;
            Some((low + high) / 2.0)
        }
    }
}

/// The values at two places, counted from 0; the second is not before the first.
fn pair(values: &BTreeMap<Value, i64>, first: i64, second: i64) -> Option<(f64, f64)> {
    let (mut before, mut low) = (0, None);
    for (value, count) in values {
        let Value::Float(value) = value else { continue };
        before += count;
        if low.is_none() && before > first {
            low = Some(*value);
        }
        if before > second {
            return Some((low?, *value));
        }
    }
    None
}
