//! One cell, where single cells are handled: live tables (small by their bound) and parameters. Never on the
//! way in.

use std::{cmp::Ordering, hash, sync::Arc};

/// A cell's value. Ordered, equal and hashed totally: NULL first, then by kind, doubles by
/// [`f64::total_cmp`] with every NaN one NaN and -0 equal to 0, text by code point.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// Any integer type but timestamps.
    Int(i64),
    /// Unsigned integers (`_seq`, counts beyond `i64`).
    UInt(u64),
    /// Either float type.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// Microseconds since 1970 UTC.
    Timestamp(i64),
    /// Nanoseconds since 1970 UTC.
    TimestampNs(i64),
}

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::UInt(_) => 3,
            Value::Float(_) => 4,
            Value::Str(_) => 5,
            Value::Timestamp(_) => 6,
            Value::TimestampNs(_) => 7,
        }
    }
}

/// The one form of doubles that are to be equal: NaN has one bit pattern, zero has one sign.
fn canonical(float: f64) -> f64 {
    if float.is_nan() {
        f64::NAN
    } else if float == 0.0 {
        0.0
    } else {
        float
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::UInt(a), Value::UInt(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => canonical(*a).total_cmp(&canonical(*b)),
            (Value::Str(a), Value::Str(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) | (Value::TimestampNs(a), Value::TimestampNs(b)) => {
                a.cmp(b)
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl hash::Hash for Value {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Value::Null => {}
            Value::Bool(v) => v.hash(state),
            Value::Int(v) | Value::Timestamp(v) | Value::TimestampNs(v) => v.hash(state),
            Value::UInt(v) => v.hash(state),
            Value::Float(v) => canonical(*v).to_bits().hash(state),
            Value::Str(v) => v.hash(state),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.into())
    }
}
