//! Which rows of a batch have the same keys, found column by column.
//!
//! Rows of a batch mostly share few distinct keys. They are numbered within the batch first, by plain integers
//! (a dictionary's own keys, a number's bits), so that the view's map of groups is asked once for each
//! distinct combination and each text is hashed once for each distinct value. The numbering may tell equal keys
//! apart (two zeros, two dictionary entries with one text): the map of groups, which goes by
//! [`nowcast_model::Value`], brings them together again.

use ahash::AHashMap;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type};

use crate::{ViewError, cells::Cells};

/// The distinct keys of a batch.
pub(crate) struct Local {
    /// For each row the number of its key.
    pub(crate) ids: Vec<u32>,
    /// For each number the first row that has it.
    pub(crate) first: Vec<u32>,
}

/// Set in the first half of a pair for NULL; batches are far below 2^31 rows.
const NULL_BIT: u32 = 1 << 31;

/// Numbers the keys of `rows` rows.
pub(crate) fn number(keys: &[ArrayRef], rows: usize) -> Result<Local, ViewError> {
    let mut local = Local { ids: vec![0; rows], first: if rows > 0 { vec![0] } else { Vec::new() } };
    for key in keys {
        let bits = bits_of(key)?;
        let nulls = key.logical_nulls();
        let mut numbers: AHashMap<(u32, u64), u32> = AHashMap::new();
        let mut last = None;
        local.first.clear();
        for (row, id) in local.ids.iter_mut().enumerate() {
            let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let pair = if null { (*id | NULL_BIT, 0) } else { (*id, bits[row]) };
            *id = match last {
                Some((same, number)) if same == pair => number,
                _ => *numbers.entry(pair).or_insert_with(|| {
                    local.first.push(row as u32);
                    local.first.len() as u32 - 1
                }),
            };
            last = Some((pair, *id));
        }
    }
    Ok(local)
}

/// For each row a number that differs where the values differ; anything for NULL.
fn bits_of(key: &ArrayRef) -> Result<Vec<u64>, ViewError> {
    if let DataType::Dictionary(index, _) = key.data_type()
        && **index == DataType::Int32
    {
        let keys = key.as_dictionary::<Int32Type>().keys();
        return Ok(keys.values().iter().map(|&k| u64::from(k.cast_unsigned())).collect());
    }
    Ok(match Cells::new(key)? {
        Cells::Null => vec![0; key.len()],
        Cells::Bool(a) => (0..a.len()).map(|row| u64::from(a.value(row))).collect(),
        Cells::Int(a) => a.values().iter().map(|v| v.cast_unsigned()).collect(),
        Cells::UInt(a) => a.values().to_vec(),
        Cells::Float(a) => a.values().iter().map(|v| v.to_bits()).collect(),
        Cells::Timestamp(a) => a.values().iter().map(|v| v.cast_unsigned()).collect(),
        Cells::TimestampNs(a) => a.values().iter().map(|v| v.cast_unsigned()).collect(),
        Cells::Str(a) => {
            let mut numbers: AHashMap<&str, u64> = AHashMap::new();
            let mut number = |text| {
                let next = numbers.len() as u64;
                *numbers.entry(text).or_insert(next)
            };
            (0..a.len()).map(|row| number(a.value(row))).collect()
        }
        Cells::Symbol(keys, _) => keys.values().iter().map(|&k| u64::from(k.cast_unsigned())).collect(),
    })
}
