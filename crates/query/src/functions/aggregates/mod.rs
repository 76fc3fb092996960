//! Aggregates that DataFusion has not, and what QuestDB calls those that it has.

mod collect;
mod fold;
pub(super) mod ordered;

use std::cmp::Ordering;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array},
    compute::{SortOptions, partition, sort},
    datatypes::{DataType, Float64Type, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::AggregateUDF,
};

use self::{
    collect::Collect,
    fold::{Fold, Steps},
};
use super::scalar::{Output, Param};

/// Kahan's sum: the sum, what was lost of it, the rows.
static KSUM: Steps = Steps {
    name: "ksum",
    args: 1,
    width: 3,
    step: |state, args| kahan(state, args[0], 1.0),
    merge: |state, other| {
        kahan(state, other[0], other[2]);
        state[1] += other[1];
    },
    finish: |state| (state[2] > 0.0).then(|| state[0]),
};

fn kahan(state: &mut [f64], value: f64, rows: f64) {
    let corrected = value - state[1];
    let sum = state[0] + corrected;
    state[1] = (sum - state[0]) - corrected;
    state[0] = sum;
    state[2] += rows;
}

/// Neumaier's sum, which keeps what is lost of a small sum to a great value, too.
static NSUM: Steps = Steps {
    name: "nsum",
    args: 1,
    width: 3,
    step: |state, args| neumaier(state, args[0], 1.0),
    merge: |state, other| {
        neumaier(state, other[0], other[2]);
        state[1] += other[1];
    },
    finish: |state| (state[2] > 0.0).then(|| state[0] + state[1]),
};

fn neumaier(state: &mut [f64], value: f64, rows: f64) {
    let sum = state[0] + value;
    state[1] +=
        if state[0].abs() >= value.abs() { (state[0] - sum) + value } else { (value - sum) + state[0] };
    state[0] = sum;
    state[2] += rows;
}

/// Of values and their weights: a price and what was traded at it.
static WEIGHTED: Steps = Steps {
    name: "weighted_avg",
    args: 2,
    width: 2,
    step: |state, args| {
        state[0] += args[0] * args[1];
        state[1] += args[1];
    },
    merge: |state, other| state.iter_mut().zip(other).for_each(|(sum, other)| *sum += other),
    finish: |state| (state[1] != 0.0).then(|| state[0] / state[1]),
};

/// Of rows above 0; NULL if one is not.
static GEOMEAN: Steps = Steps {
    name: "geomean",
    args: 1,
    width: 2,
    step: |state, args| {
        state[0] += args[0].ln();
        state[1] += 1.0;
    },
    merge: |state, other| state.iter_mut().zip(other).for_each(|(sum, other)| *sum += other),
    finish: |state| Some((state[0] / state[1]).exp()).filter(|mean| mean.is_finite()),
};

pub(super) fn functions() -> Vec<AggregateUDF> {
    let number = || Output::Is(DataType::Float64);
    vec![
        Fold::udaf(&KSUM, &[]),
        Fold::udaf(&NSUM, &[]),
        Fold::udaf(&WEIGHTED, &["vwap"]),
        Fold::udaf(&GEOMEAN, &[]),
        Collect::udaf("mode", &[Param::Any], Output::Of(0), mode),
        Collect::udaf("twap", &[Param::Double, Param::Time], number(), twap),
        Collect::udaf(
            "haversine_dist_deg",
            &[Param::Double, Param::Double, Param::Time],
            number(),
            haversine,
        ),
        Collect::udaf("isordered", &[Param::Any], Output::Is(DataType::Boolean), is_ordered),
    ]
}

/// The most frequent value, the least of them if there are several; NULL does not count.
fn mode(columns: &[ArrayRef]) -> Result<ScalarValue> {
    let options = SortOptions { descending: false, nulls_first: false };
    let sorted = sort(&columns[0], Some(options))?;
    let values = sorted.slice(0, sorted.len() - sorted.null_count());
    if values.is_empty() {
        return ScalarValue::try_from(values.data_type());
    }
    let runs = partition(std::slice::from_ref(&values))?.ranges();
    let longest = runs.into_iter().reduce(|best, run| if run.len() > best.len() { run } else { best });
    ScalarValue::try_from_array(&values, longest.map_or(0, |run| run.start))
}

/// The columns of numbers in the order of the last one's times, rows with a NULL left out.
fn in_time(columns: &[ArrayRef]) -> Result<(Vec<Vec<f64>>, Vec<i64>)> {
    let Some((times, values)) = columns.split_last() else { return internal_err!("there are no columns") };
    let numbers: Vec<_> =
        values.iter().filter_map(|column| column.as_primitive_opt::<Float64Type>()).collect();
    let (Some(times), true) =
        (times.as_primitive_opt::<TimestampMicrosecondType>(), numbers.len() == values.len())
    else {
        return internal_err!("values are {:?}", columns.iter().map(|c| c.data_type()).collect::<Vec<_>>());
    };
    let mut rows: Vec<usize> = (0..times.len())
        .filter(|&row| times.is_valid(row) && numbers.iter().all(|column| column.is_valid(row)))
        .collect();
    // Rows of one time by their values: which came first depends on threads.
    rows.sort_by(|&a, &b| {
        let mut by_value = numbers.iter().map(|column| column.value(a).total_cmp(&column.value(b)));
        let value = by_value.find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
        times.value(a).cmp(&times.value(b)).then(value)
    });
    let column = |column: &&Float64Array| rows.iter().map(|&row| column.value(row)).collect();
    Ok((numbers.iter().map(column).collect(), rows.iter().map(|&row| times.value(row)).collect()))
}

/// Each price for as long as it stood; the mean if they all have one time.
fn twap(columns: &[ArrayRef]) -> Result<ScalarValue> {
    let (values, times) = in_time(columns)?;
    let prices = &values[0];
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Ok(ScalarValue::Float64(None));
    };
    let span = last.saturating_sub(*first) as f64;
    let average = if span > 0.0 {
        let stood = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64);
        prices.iter().zip(stood).map(|(price, stood)| price * stood).sum::<f64>() / span
    } else {
        prices.iter().sum::<f64>() / prices.len() as f64
    };
    Ok(ScalarValue::Float64(Some(average)))
}

/// The way along latitudes and longitudes in degrees, in kilometres.
fn haversine(columns: &[ArrayRef]) -> Result<ScalarValue> {
    const EARTH_KM: f64 = 6_371.0;
    let (values, _) = in_time(columns)?;
    let [latitudes, longitudes] = &values[..] else { return internal_err!("a way has two coordinates") };
    let points: Vec<(f64, f64)> =
        latitudes.iter().zip(longitudes).map(|(lat, lon)| (lat.to_radians(), lon.to_radians())).collect();
    let length = points.windows(2).map(|pair| {
        let ((lat, lon), (to_lat, to_lon)) = (pair[0], pair[1]);
        let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
        let chord = half(lat, to_lat) + lat.cos() * to_lat.cos() * half(lon, to_lon);
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    });
    Ok(ScalarValue::Float64((!points.is_empty()).then(|| length.sum())))
}

/// True if no value is less than one that came before.
fn is_ordered(columns: &[ArrayRef]) -> Result<ScalarValue> {
    let column = &columns[0];
    let compare = arrow::array::make_comparator(column, column, SortOptions::default())?;
    let ordered = (1..column.len()).all(|row| compare(row - 1, row).is_le());
    Ok(ScalarValue::Boolean(Some(ordered)))
}
