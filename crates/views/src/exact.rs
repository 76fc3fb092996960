//! Sums of doubles that forget: what is added and later taken away leaves no trace.
//!
//! A running double loses low bits to every large value that passes through it, and keeps that loss after the
//! value has gone; compensated summation (Neumaier) loses them, too, once magnitudes spread far enough. A view
//! adds and retracts for days, so the sum is kept exactly, as a short list of doubles that do not overlap
//! (Shewchuk, *Adaptive precision floating-point arithmetic*, 1997; the algorithm of Python's `fsum`). Values
//! of like magnitude need one to three of them. Rounding happens once, when the sum is read.
//!
//! Values of 2^900 and more go into a second list, scaled down, so that no intermediate sum overflows. NaN and
//! the infinities are counted apart: they cannot be subtracted.

/// From here on values are scaled by [`HUGE_SCALE`].
const HUGE: f64 = f64::from_bits((1023 + 900) << 52);
/// 2^-200: exact for values from [`HUGE`] on, and small enough for 2^63 of the largest doubles.
const HUGE_SCALE: f64 = f64::from_bits((1023 - 200) << 52);

/// An exact sum of finite doubles.
#[derive(Debug, Clone, Default)]
struct Expansion(Vec<f64>);

impl Expansion {
    /// Adds `x` without rounding.
    fn add(&mut self, mut x: f64) {
        let mut kept = 0;
        for index in 0..self.0.len() {
            let mut y = self.0[index];
            if x.abs() < y.abs() {
                (x, y) = (y, x);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                self.0[kept] = low;
                kept += 1;
            }
            x = high;
        }
        self.0.truncate(kept);
        if x != 0.0 {
            self.0.push(x);
        }
    }

    /// The sum, rounded; the parts lie from small to large.
    fn value(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// A product, and what rounding it lost.
fn product(a: f64, b: f64) -> (f64, f64) {
    let high = a * b;
    (high, a.mul_add(b, -high))
}

/// A sum of doubles with rows that come and go.
#[derive(Debug, Clone, Default)]
pub(crate) struct FloatSum {
    finite: Expansion,
    huge: Option<Box<Expansion>>,
    /// Values in the sum, NaN and infinities included.
    count: i64,
    nans: i64,
    positive: i64,
    negative: i64,
}

impl FloatSum {
    /// Adds `value` `weight` (+1 or -1) times.
    pub(crate) fn add(&mut self, value: f64, weight: i64) {
        self.count += weight;
        if value.is_nan() {
            self.nans += weight;
        } else if value == f64::INFINITY {
            self.positive += weight;
        } else if value == f64::NEG_INFINITY {
            self.negative += weight;
        } else {
            let signed = if weight < 0 { -value } else { value };
            if value.abs() < HUGE {
                self.finite.add(signed);
            } else {
                self.huge.get_or_insert_default().add(signed * HUGE_SCALE);
            }
        }
    }

    /// Adds `sign` times the square of `value`, without rounding unless it is huge or tiny.
    pub(crate) fn add_square(&mut self, value: f64, sign: i64) {
        let (high, low) = product(value, value);
        self.add(high, sign);
        if low != 0.0 && high.is_finite() {
            self.add(low, sign);
            self.count -= sign;
        }
    }

    /// The sum of the squares of the distances from `mean`, of values whose squares this is the sum of, and
    /// whose sum is `sum`: exact until it is rounded, so that nothing cancels out.
    pub(crate) fn around(&self, sum: &FloatSum, mean: f64) -> f64 {
        let is_plain = |sum: &FloatSum| {
            sum.nans == 0
                && sum.positive == 0
                && sum.negative == 0
                && sum.huge.as_ref().is_none_or(|h| h.0.is_empty())
        };
        if !is_plain(self) || !is_plain(sum) || !mean.is_finite() {
            return f64::NAN;
        }
        let mut around = self.finite.clone();
        let mut add = |a: f64, b: f64| {
            let (high, low) = product(a, b);
            around.add(high);
            around.add(low);
        };
        sum.finite.0.iter().for_each(|part| add(-2.0 * mean, *part));
        let (high, low) = product(mean, mean);
        let count = sum.count as f64;
        add(high, count);
        add(low, count);
        around.value().max(0.0)
    }

    /// How many values are in it.
    pub(crate) fn count(&self) -> i64 {
        self.count
    }

    /// The sum; `None` without values.
    pub(crate) fn value(&self) -> Option<f64> {
        if self.count <= 0 {
            return None;
        }
        let (positive, negative) = (self.positive > 0, self.negative > 0);
        Some(if self.nans > 0 || (positive && negative) {
            f64::NAN
        } else if positive {
            f64::INFINITY
        } else if negative {
            f64::NEG_INFINITY
        } else {
            let huge = self.huge.as_ref().map_or(0.0, |huge| huge.value());
            if huge == 0.0 { self.finite.value() } else { huge / HUGE_SCALE + self.finite.value() }
        })
    }

    /// Bytes outside the struct.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.finite.0.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[(f64, i64)], expected: Option<f64>) {
        let mut sum = FloatSum::default();
        for &(value, weight) in values {
            sum.add(value, weight);
        }
        assert_eq!(sum.value(), expected, "{values:?}");
    }

    #[test]
    fn what_went_leaves_no_trace() {
        check(&[], None);
        check(&[(1.0, 1), (1.0, -1)], None);
        check(&[(1e300, 1), (1e150, 1), (1.0, 1), (1e300, -1), (1e150, -1)], Some(1.0));
        check(&[(f64::MAX, 1), (f64::MAX, 1), (1.0, 1), (f64::MAX, -1)], Some(f64::MAX));
        check(&[(f64::MAX, 1), (f64::MAX, 1), (1.0, 1), (f64::MAX, -1), (f64::MAX, -1)], Some(1.0));
        check(&[(f64::INFINITY, 1), (2.0, 1)], Some(f64::INFINITY));
        check(&[(f64::INFINITY, 1), (2.0, 1), (f64::INFINITY, -1)], Some(2.0));
        check(&[(f64::NAN, 1), (2.0, 1), (f64::NAN, -1)], Some(2.0));
        check(&[(5e-324, 1), (1e308, 1), (1e308, -1)], Some(5e-324));
    }

    proptest! {
        /// Whatever comes and goes between them, the values that stay decide the sum alone.
        #[test]
        fn the_order_does_not_matter(
            stay in prop::collection::vec(any::<f64>(), 0..20),
            pass in prop::collection::vec(any::<f64>(), 0..20),
        ) {
            let (mut mixed, mut plain) = (FloatSum::default(), FloatSum::default());
            pass.iter().for_each(|&v| mixed.add(v, 1));
            stay.iter().for_each(|&v| mixed.add(v, 1));
            pass.iter().rev().for_each(|&v| mixed.add(v, -1));
            stay.iter().rev().for_each(|&v| plain.add(v, 1));
            let (a, b) = (mixed.value(), plain.value());
            let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= a.abs() * 1e-15;
            prop_assert!(a.is_some() == b.is_some());
            prop_assert!(close(a.unwrap_or(0.0), b.unwrap_or(0.0)), "{a:?} {b:?}");
        }
    }
}
