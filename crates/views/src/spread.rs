//! How far values lie from their mean: variance and standard deviation.

use crate::{AggFunction, exact::FloatSum};

/// Values that come and go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spread {
    sum: FloatSum,
    squares: FloatSum,
}

impl Spread {
    /// Adds `value` `weight` (+1 or -1) times.
    pub(crate) fn add(&mut self, value: f64, weight: i64) {
        self.sum.add(value, weight);
        self.squares.add_square(value, weight);
    }

    /// The result; `None` without enough values.
    pub(crate) fn value(&self, function: AggFunction) -> Option<f64> {
        let is_sample = matches!(function, AggFunction::VarSamp | AggFunction::StddevSamp);
        let count = self.sum.count() as f64;
        let divisor = if is_sample { count - 1.0 } else { count };
        let mean = self.sum.value()? / count;
        if divisor <= 0.0 {
            return None;
        }
        let variance = self.squares.around(&self.sum, mean) / divisor;
        let is_root = matches!(function, AggFunction::StddevSamp | AggFunction::StddevPop);
        Some(if is_root { variance.sqrt() } else { variance })
    }

    /// Bytes outside the struct.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes() + self.squares.heap_bytes()
    }
}
