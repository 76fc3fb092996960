//! How rows of one key compare: the least rank is the first row.
//!
//! Times and whole numbers, the order of LATEST, are compared as numbers; anything else as Arrow's comparable bytes.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{SortOptions, cast},
    datatypes::{DataType, Int64Type, UInt64Type},
    row::{OwnedRow, RowConverter, SortField},
};
use datafusion::common::Result;

/// One column of a rank: less comes first, NULLs included.
type Place = (bool, u64);

const NOWHERE: Place = (true, u64::MAX);

/// Ranks of the rows that are the first of their keys so far, by the key's number.
pub(super) enum Ranks {
    Numbers { options: Vec<SortOptions>, best: Vec<[Place; 2]> },
    Rows { converter: RowConverter, best: Vec<Option<OwnedRow>> },
}

fn is_number(ty: &DataType) -> bool {
    ty.is_integer() || matches!(ty, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

impl Ranks {
    pub(super) fn new(order: &[(DataType, SortOptions)]) -> Result<Ranks> {
        if order.len() <= 2 && order.iter().all(|(ty, _)| is_number(ty)) {
            let options = order.iter().map(|(_, options)| *options).collect();
            return Ok(Ranks::Numbers { options, best: Vec::new() });
        }
        let fields = order.iter().map(|(ty, options)| SortField::new_with_options(ty.clone(), *options));
        Ok(Ranks::Rows { converter: RowConverter::new(fields.collect())?, best: Vec::new() })
    }

    /// Calls `better` for each row that comes before what its key had, in the order of the rows, with its number and
    /// its key's. `keys` are below `len`.
    pub(super) fn compete(
        &mut self,
        columns: &[ArrayRef],
        keys: &[usize],
        len: usize,
        mut better: impl FnMut(usize, usize),
    ) -> Result<()> {
        match self {
            Ranks::Numbers { options, best } => {
                let known = best.len();
                best.resize(len, [NOWHERE; 2]);
                let places = columns.iter().zip(options).map(|(column, options)| places(column, *options));
                let places = places.collect::<Result<Vec<_>>>()?;
                let mut met = vec![false; len - known];
                for (row, &key) in keys.iter().enumerate() {
                    let place = |at: usize| places.get(at).map_or((false, 0), |places| places[row]);
                    let rank = [place(0), place(1)];
                    let is_new = key >= known && !std::mem::replace(&mut met[key - known], true);
                    if is_new || rank < best[key] {
                        best[key] = rank;
                        better(row, key);
                    }
                }
            }
            Ranks::Rows { converter, best } => {
                best.resize(len, None);
                let rows = converter.convert_columns(columns)?;
                for (row, &key) in keys.iter().enumerate() {
                    let rank = rows.row(row);
                    if best[key].as_ref().is_none_or(|best| rank < best.row()) {
                        best[key] = Some(rank.owned());
                        better(row, key);
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes held, by estimate.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Ranks::Numbers { best, .. } => size_of_val(&best[..]),
            Ranks::Rows { best, converter } => {
                let rows = best.iter().flatten().map(|row| row.row().data().len() + 32).sum::<usize>();
                size_of_val(&best[..]) + rows + converter.size()
            }
        }
    }
}

/// A column's values as numbers whose order is that of `options`.
fn places(column: &ArrayRef, options: SortOptions) -> Result<Vec<Place>> {
    let turn = if options.descending { u64::MAX } else { 0 };
    let of_null = (!options.nulls_first, 0);
    let of_value = |value: u64| (options.nulls_first, value ^ turn);
    let values: Vec<u64> = match column.data_type() {
        DataType::UInt64 => column.as_primitive::<UInt64Type>().values().to_vec(),
        _ => {
            let column = cast(column, &DataType::Int64)?;
            // The sign bit turned round, so that negative numbers come before positive ones.
            column.as_primitive::<Int64Type>().values().iter().map(|v| (*v as u64) ^ (1 << 63)).collect()
        }
    };
    Ok(match column.nulls() {
        None => values.into_iter().map(of_value).collect(),
        Some(nulls) => {
            let place = |(value, valid): (u64, bool)| if valid { of_value(value) } else { of_null };
            values.into_iter().zip(nulls.iter()).map(place).collect()
        }
    })
}
