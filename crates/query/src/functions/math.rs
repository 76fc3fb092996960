//! Functions over numbers. What has no answer (`sqrt(-1)`) is NULL, as QuestDB's NaN is.

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Array},
    datatypes::{DataType, Float64Type, Int64Type},
};
use datafusion::{
    common::{Result, exec_datafusion_err},
    logical_expr::ScalarUDF,
};

use super::scalar::{Args, Output, Param, array, scalar};

pub(super) fn functions() -> Vec<ScalarUDF> {
    use Param::{Double, Long, Number};
    let double = || Output::Is(DataType::Float64);
    let long = || Output::Is(DataType::Int64);
    let of = |names: &[&'static str], body| scalar(names, &[Double], 1, double(), body);
    vec![
        of(&["sqrt"], |args| each(args, f64::sqrt)),
        of(&["cbrt"], |args| each(args, f64::cbrt)),
        of(&["exp"], |args| each(args, f64::exp)),
        of(&["ln"], |args| each(args, f64::ln)),
        of(&["log10"], |args| each(args, f64::log10)),
        of(&["log2"], |args| each(args, f64::log2)),
        of(&["sin"], |args| each(args, f64::sin)),
        of(&["cos"], |args| each(args, f64::cos)),
        of(&["tan"], |args| each(args, f64::tan)),
        of(&["cot"], |args| each(args, |x| 1.0 / x.tan())),
        of(&["asin"], |args| each(args, f64::asin)),
        of(&["acos"], |args| each(args, f64::acos)),
        of(&["atan"], |args| each(args, f64::atan)),
        of(&["sinh"], |args| each(args, f64::sinh)),
        of(&["cosh"], |args| each(args, f64::cosh)),
        of(&["tanh"], |args| each(args, f64::tanh)),
        of(&["degrees"], |args| each(args, f64::to_degrees)),
        of(&["radians"], |args| each(args, f64::to_radians)),
        // QuestDB's `log` of one argument is the natural one; of two, the first is the base.
        scalar(&["log"], &[Double, Double], 1, double(), |args| match args.len() {
            1 => each(args, f64::ln),
            _ => pairs(args, |base, x| x.ln() / base.ln()),
        }),
        scalar(&["power", "pow"], &[Double, Double], 2, double(), |args| pairs(args, f64::powf)),
        scalar(&["atan2"], &[Double, Double], 2, double(), |args| pairs(args, f64::atan2)),
        scalar(&["pi"], &[], 0, double(), |args| {
            array(Float64Array::from(vec![std::f64::consts::PI; args.rows]))
        }),
        scalar(&["abs"], &[Number], 1, Output::Of(0), |args| whole_or(args, i64::checked_abs, f64::abs)),
        scalar(&["sign", "signum"], &[Number], 1, Output::Of(0), |args| {
            whole_or(args, |n| Some(n.signum()), |x| if x == 0.0 { 0.0 } else { x.signum() })
        }),
        scalar(&["ceil", "ceiling"], &[Number], 1, Output::Of(0), |args| whole_or(args, Some, f64::ceil)),
        scalar(&["floor"], &[Number], 1, Output::Of(0), |args| whole_or(args, Some, f64::floor)),
        scalar(&["mod"], &[Number, Number], 2, Output::Is(DataType::Float64), |args| {
            pairs(args, |a, b| a % b)
        }),
        scalar(&["round"], &[Number, Long], 1, Output::Of(0), |args| rounded(args, f64::round)),
        scalar(&["round_half_even"], &[Number, Long], 1, Output::Of(0), |args| {
            rounded(args, f64::round_ties_even)
        }),
        scalar(&["round_up"], &[Number, Long], 1, Output::Of(0), |args| {
            rounded(args, |x| if x < 0.0 { x.floor() } else { x.ceil() })
        }),
        scalar(&["round_down", "trunc"], &[Number, Long], 1, Output::Of(0), |args| rounded(args, f64::trunc)),
        scalar(&["gcd"], &[Long, Long], 2, long(), |args| {
            long_pairs(args, |a, b| i64::try_from(gcd(a.unsigned_abs(), b.unsigned_abs())).ok())
        }),
        scalar(&["lcm"], &[Long, Long], 2, long(), |args| {
            long_pairs(args, |a, b| {
                let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
                // Both are 0 if nothing divides them.
                let quotient = a.checked_div(gcd(a, b)).unwrap_or(0);
                i64::try_from(quotient.checked_mul(b)?).ok()
            })
        }),
    ]
}

fn known(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

fn each(args: &Args<'_>, of: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    array(args.doubles(0)?.unary_opt::<_, Float64Type>(|x| known(of(x))))
}

fn pairs(args: &Args<'_>, of: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (left, right) = (args.doubles(0), args.doubles(1));
    let (left, right) = match (left, right) {
        (Ok(left), Ok(right)) => (left, right),
        // A whole number beside a fraction.
        _ => (as_doubles(args, 0)?, as_doubles(args, 1)?),
    };
    let values = left.iter().zip(&right).map(|(a, b)| known(of(a?, b?)));
    array(values.collect::<Float64Array>())
}

fn as_doubles(args: &Args<'_>, at: usize) -> Result<Float64Array> {
    let doubles = arrow::compute::cast(&args.array(at)?, &DataType::Float64)?;
    Ok(doubles.as_primitive::<Float64Type>().clone())
}

fn long_pairs(args: &Args<'_>, of: impl Fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (left, right) = (args.longs(0)?, args.longs(1)?);
    let values = left.iter().zip(&right).map(|pair| {
        let (Some(a), Some(b)) = pair else { return Ok(None) };
        of(a, b).map(Some).ok_or_else(|| exec_datafusion_err!("the result of {a} and {b} is no LONG"))
    });
    array(values.collect::<Result<Int64Array>>()?)
}

fn whole_or(args: &Args<'_>, whole: fn(i64) -> Option<i64>, of: fn(f64) -> f64) -> Result<ArrayRef> {
    let given = args.array(0)?;
    match given.as_primitive_opt::<Int64Type>() {
        Some(longs) => array(longs.try_unary::<_, Int64Type, _>(|n| {
            whole(n).ok_or_else(|| exec_datafusion_err!("the result of {n} is no LONG"))
        })?),
        None => each(args, of),
    }
}

/// To so many places behind the point; before it, if negative.
fn rounded(args: &Args<'_>, round: fn(f64) -> f64) -> Result<ArrayRef> {
    let given = args.array(0)?;
    let places = (args.len() > 1).then(|| args.longs(1)).transpose()?;
    let places_of = |row: usize| {
        places.as_ref().map_or(Some(0), |places| {
            let is_valid = arrow::array::Array::is_valid(places, row);
            is_valid.then(|| places.value(row).clamp(-400, 400) as i32)
        })
    };
    if let Some(longs) = given.as_primitive_opt::<Int64Type>() {
        let values = longs.iter().enumerate().map(|(row, n)| {
            let (n, places) = (n?, places_of(row)?);
            // Numbers below 2^53 are DOUBLEs without a loss.
            Some(if places >= 0 { n } else { to_places(n as f64, places, round) as i64 })
        });
        return array(values.collect::<Int64Array>());
    }
    let doubles = args.doubles(0)?;
    let values = doubles.iter().enumerate().map(|(row, x)| known(to_places(x?, places_of(row)?, round)));
    array(values.collect::<Float64Array>())
}

fn to_places(x: f64, places: i32, round: fn(f64) -> f64) -> f64 {
    let scale = 10_f64.powi(places.abs());
    if places < 0 {
        return if scale.is_finite() { round(x / scale) * scale } else { 0.0 };
    }
    let scaled = x * scale;
    // No fraction is left to be rounded, or none ever was.
    if !scaled.is_finite() || scaled.abs() >= (1_u64 << 53) as f64 {
        return x;
    }
    // 1.005 is a little less in binary: what is within a rounding error of a number with one more place is that.
    let nearest = (scaled * 16.0).round() / 16.0;
    let scaled = if (nearest - scaled).abs() <= scaled.abs() * f64::EPSILON { nearest } else { scaled };
    round(scaled) / scale
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
