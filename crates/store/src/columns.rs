//! Column work that Arrow leaves open: NULL columns that cost nothing, sizes without allocation, and
//! concatenation that keeps dictionaries small.

use std::{
    borrow::Borrow,
    sync::{Arc, OnceLock},
};

use ahash::AHashMap;
use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, StringBuilder,
        new_null_array,
    },
    compute::{concat, interleave},
    datatypes::{DataType, Int32Type, SchemaRef},
    error::ArrowError,
};
use nowcast_model::{ColumnType, limits::HOT_BATCH_ROWS};

/// `rows` NULLs. Up to [`HOT_BATCH_ROWS`] they are slices of one array per type, so that adding a column to
/// a table costs no memory until rows bring values.
pub(crate) fn nulls(ty: ColumnType, rows: usize) -> ArrayRef {
    static SHARED: [OnceLock<ArrayRef>; ColumnType::ALL.len()] =
        [const { OnceLock::new() }; ColumnType::ALL.len()];
    if rows > HOT_BATCH_ROWS {
        return new_null_array(&ty.arrow(), rows);
    }
    let index = ColumnType::ALL.iter().position(|&t| t == ty).unwrap_or(0);
    SHARED[index].get_or_init(|| new_null_array(&ty.arrow(), HOT_BATCH_ROWS)).slice(0, rows)
}

/// Bytes that the rows of a batch take, shared buffers counted only for the rows that use them.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_bytes).sum()
}

fn array_bytes(array: &ArrayRef) -> usize {
    let rows = array.len();
    let validity = if array.nulls().is_some() { rows.div_ceil(8) } else { 0 };
    let values = match array.data_type() {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => text_bytes(array.as_string::<i32>()),
        DataType::Dictionary(_, _) => match array.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => rows * 4 + dictionary.values().as_string_opt::<i32>().map_or(0, text_bytes),
            None => rows * 4,
        },
        other => rows * other.primitive_width().unwrap_or(8),
    };
    // The Arc'd array and its buffers' headers.
    validity + values + 96
}

fn text_bytes(text: &StringArray) -> usize {
    let offsets = text.value_offsets();
    let bytes = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => usize::try_from(last - first).unwrap_or(0),
        _ => 0,
    };
    bytes + offsets.len() * 4
}

/// The batches' rows as one batch. Dictionaries become one that holds each used value once.
pub(crate) fn concat_rows(schema: &SchemaRef, batches: &[&RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for index in 0..schema.fields().len() {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        columns.push(match schema.field(index).data_type() {
            DataType::Dictionary(_, _) => merge_dictionaries(&arrays)?,
            _ => concat(&arrays)?,
        });
    }
    RecordBatch::try_new(schema.clone(), columns)
}

/// The rows `picks` (batch, row) as one batch, in that order.
pub(crate) fn pick_rows<B: Borrow<RecordBatch>>(
    schema: &SchemaRef,
    batches: &[B],
    picks: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    // Arrow looks at the dictionary of every array it is given, so it is given only those that are used.
    let mut used: AHashMap<usize, usize> = AHashMap::new();
    let mut sources: Vec<&RecordBatch> = Vec::new();
    let mut local = Vec::with_capacity(picks.len());
    for &(batch, row) in picks {
        let position = *used.entry(batch).or_insert_with(|| {
            sources.push(batches[batch].borrow());
            sources.len() - 1
        });
        local.push((position, row));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for index in 0..schema.fields().len() {
        let arrays: Vec<&dyn Array> = sources.iter().map(|batch| batch.column(index).as_ref()).collect();
        columns.push(interleave(&arrays, &local)?);
    }
    RecordBatch::try_new(schema.clone(), columns)
}

/// A batch whose dictionaries hold no more values than it has rows; `batch` itself if they already do.
pub(crate) fn trim_dictionaries(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let oversized = |array: &ArrayRef| {
        array.as_any_dictionary_opt().is_some_and(|dictionary| dictionary.values().len() > array.len())
    };
    if !batch.columns().iter().any(oversized) {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .map(|array| if oversized(array) { merge_dictionaries(&[array.as_ref()]) } else { Ok(array.clone()) })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(batch.schema(), columns)
}

fn merge_dictionaries(arrays: &[&dyn Array]) -> Result<ArrayRef, ArrowError> {
    let rows = arrays.iter().map(|array| array.len()).sum();
    let mut keys: Vec<Option<i32>> = Vec::with_capacity(rows);
    let mut seen: AHashMap<&str, i32> = AHashMap::new();
    let mut values = StringBuilder::new();
    for array in arrays {
        let dictionary = array
            .as_dictionary_opt::<Int32Type>()
            .ok_or_else(|| ArrowError::CastError("a symbol column is no Int32 dictionary".into()))?;
        let texts = dictionary
            .values()
            .as_string_opt::<i32>()
            .ok_or_else(|| ArrowError::CastError("a symbol column's values are no Utf8".into()))?;
        // Old key to new key, looked up once for each value rather than once for each row.
        let mut known: AHashMap<i32, Option<i32>> = AHashMap::new();
        for key in dictionary.keys() {
            let Some(key) = key else {
                keys.push(None);
                continue;
            };
            let new_key = *known.entry(key).or_insert_with(|| {
                let index = usize::try_from(key).ok().filter(|&i| i < texts.len() && texts.is_valid(i))?;
                let text = texts.value(index);
                // At most one value a row, and a batch has fewer than 2^31 rows.
                let next = i32::try_from(seen.len()).ok()?;
                Some(*seen.entry(text).or_insert_with(|| {
                    values.append_value(text);
                    next
                }))
            });
            keys.push(new_key);
        }
    }
    let merged = DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), Arc::new(values.finish()))?;
    Ok(Arc::new(merged))
}
