//! Arrow's IPC stream into batches of one table: columns as they are, so nothing is parsed.
//!
//! | Arrow | becomes |
//! |---|---|
//! | bool, int8 to int64, float32, float64 | the column type of that width |
//! | uint8, uint16, uint32, uint64 | SHORT, INT, LONG, LONG: each value must fit |
//! | float16, decimals | FLOAT, DOUBLE |
//! | utf8 of any kind | VARCHAR; as a dictionary SYMBOL |
//! | timestamp, in any zone; dates | TIMESTAMP, TIMESTAMP_NS, DATE by their unit |
//! | null | left out |
//! | others | an error |
//!
//! A column that its sender aligned otherwise, or that shares its memory with others, is copied: what is kept is
//! no larger than its values.

use std::{panic::AssertUnwindSafe, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, TimestampMicrosecondArray, make_array},
    buffer::Buffer,
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
    ipc::reader::StreamDecoder,
};
use nowcast_model::{Batch, ColumnType, TableName, limits::COLUMNS_MAX, name_key};

use crate::{Decoded, LineError, Precision, TIMESTAMP_COLUMN};

/// Names of the time column if none is given; the first present counts.
const TIME_NAMES: [&str; 3] = [TIMESTAMP_COLUMN, "ts", "time"];

/// How a stream is read.
#[derive(Debug, Clone)]
pub struct ArrowOptions {
    /// Where the rows go.
    pub table: TableName,
    /// The column with the rows' time; without it `timestamp`, `ts` or `time`, if it holds times.
    pub timestamp_column: Option<String>,
    /// The unit of times that are integers; without it they are refused.
    pub precision: Option<Precision>,
}

/// Decodes a whole stream.
///
/// # Errors
/// It is no such stream, or a column has no type here. Nothing is to be written then.
pub fn decode_all(body: &[u8], options: &ArrowOptions) -> Result<Decoded, LineError> {
    let broken = |cause: String| {
        fault(&format!("the body is no Arrow stream: {cause}"), "send what pyarrow.ipc.new_stream writes")
    };
    // A stream is checked as it is decoded; should a check be missing there, it must not end the server.
    let decode = AssertUnwindSafe(|| batches(body));
    let batches = std::panic::catch_unwind(decode)
        .map_err(|_| broken("it is damaged".to_owned()))?
        .map_err(|error| broken(error.to_string()))?;
    let mut decoded = Decoded::default();
    let mut first = 1;
    for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
        let rows = conform(&batch)?;
        let (rows, timestamp) = with_time(rows, options)?;
        let next = first + rows.num_rows() as u64;
        decoded.lines.push((first..next).collect());
        first = next;
        decoded.batches.push(Batch { table: options.table.clone(), rows, timestamp });
    }
    Ok(decoded)
}

fn batches(body: &[u8]) -> Result<Vec<RecordBatch>, arrow::error::ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut buffer = Buffer::from(body);
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        match decoder.decode(&mut buffer)? {
            Some(batch) => batches.push(batch),
            None => break,
        }
    }
    decoder.finish()?;
    Ok(batches)
}

/// The column type that an Arrow type becomes; `None` if there is none.
pub fn column_type(ty: &DataType) -> Option<ColumnType> {
    if let Some(known) = ColumnType::from_arrow(ty) {
        return Some(known);
    }
    match ty {
        DataType::UInt8 => Some(ColumnType::Short),
        DataType::UInt16 => Some(ColumnType::Int),
        DataType::UInt32 | DataType::UInt64 => Some(ColumnType::Long),
        DataType::Float16 => Some(ColumnType::Float),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Some(ColumnType::Double),
        DataType::LargeUtf8 | DataType::Utf8View => Some(ColumnType::Varchar),
        DataType::Dictionary(_, value) if value.is_string() => Some(ColumnType::Symbol),
        DataType::Dictionary(_, value) => column_type(value),
        DataType::Date32 | DataType::Date64 => Some(ColumnType::Date),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(ColumnType::Date),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(ColumnType::TimestampNs),
        DataType::Timestamp(..) => Some(ColumnType::Timestamp),
        _ => None,
    }
}

/// `batch` with the types that tables have, each column in memory of its own.
///
/// # Errors
/// A column has no type here, or a value does not fit it; the column is named.
pub fn conform(batch: &RecordBatch) -> Result<RecordBatch, LineError> {
    if batch.num_columns() > COLUMNS_MAX {
        let cause = format!("there are {} columns, at most {COLUMNS_MAX} are allowed", batch.num_columns());
        return Err(fault(&cause, "split them over tables"));
    }
    let schema = batch.schema();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        if *array.data_type() == DataType::Null {
            continue;
        }
        let Some(ty) = column_type(array.data_type()) else {
            let cause =
                format!("column {:?} is {}, which no column can hold", field.name(), array.data_type());
            return Err(fault(&cause, "leave it out, or flatten it into columns of its own"));
        };
        arrays.push(converted(field.name(), array, ty)?);
        fields.push(Field::new(field.name(), ty.arrow(), true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| {
        fault(&format!("the columns do not fit together: {error}"), "send rows with columns")
    })
}

fn converted(name: &str, array: &ArrayRef, ty: ColumnType) -> Result<ArrayRef, LineError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let misfit = |error: arrow::error::ArrowError| {
        fault(&format!("column {name:?} cannot become {ty}: {error}"), "send values that fit")
    };
    let target = ty.arrow();
    if ty == ColumnType::Symbol {
        // By way of texts: whatever the keys and values were, they are ours then, and each text stands once.
        let texts = cast_with_options(array, &DataType::Utf8, &options).map_err(misfit)?;
        return cast_with_options(&texts, &target, &options).map_err(misfit);
    }
    let cast = cast_with_options(array, &target, &options).map_err(misfit)?;
    // Casts may share memory, too.
    let data = cast.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, cast.len());
    copy.try_extend(0, 0, cast.len()).map_err(misfit)?;
    Ok(make_array(copy.freeze()))
}

/// Finds the time column and makes it a TIMESTAMP.
fn with_time(rows: RecordBatch, options: &ArrowOptions) -> Result<(RecordBatch, Option<usize>), LineError> {
    let schema = rows.schema();
    let find = |name: &str| schema.fields().iter().position(|field| name_key(field.name()) == name_key(name));
    let index = match &options.timestamp_column {
        Some(name) => Some(find(name).ok_or_else(|| {
            fault(
                &format!("there is no time column {name:?}"),
                "name a column of the stream with ?timestamp=",
            )
        })?),
        None => TIME_NAMES
            .iter()
            .filter_map(|name| find(name))
            .find(|&index| matches!(schema.field(index).data_type(), DataType::Timestamp(..))),
    };
    let Some(index) = index else { return Ok((rows, None)) };
    let name = schema.field(index).name();
    let array = time(name, rows.column(index), options.precision)?;
    if array.null_count() > 0 {
        let row = (0..array.len()).find(|&row| array.is_null(row)).unwrap_or(0);
        let cause = format!("the time column {name:?} is NULL in row {}", row + 1);
        return Err(fault(&cause, "give every row a time"));
    }
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields[index] = Arc::new(Field::new(name, array.data_type().clone(), true));
    let mut columns = rows.columns().to_vec();
    columns[index] = array;
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| fault(&error.to_string(), "report this as a bug"))?;
    Ok((rows, Some(index)))
}

fn time(name: &str, array: &ArrayRef, precision: Option<Precision>) -> Result<ArrayRef, LineError> {
    let wrong = |what: &str, hint: &str| fault(&format!("the time column {name:?} {what}"), hint);
    let options = CastOptions { safe: false, ..CastOptions::default() };
    match array.data_type() {
        DataType::Timestamp(..) => cast_with_options(array, &ColumnType::Timestamp.arrow(), &options)
            .map_err(|error| {
                wrong(&format!("has a time that is out of range: {error}"), "send years 1 to 9999")
            }),
        ty if ty.is_integer() => {
            let unit = precision.ok_or_else(|| wrong("holds integers", "give their unit: ?precision=ms"))?;
            let wide = cast_with_options(array, &DataType::Int64, &options)
                .map_err(|error| wrong(&error.to_string(), "send 64-bit integers"))?;
            let times: Option<TimestampMicrosecondArray> = wide
                .as_primitive::<Int64Type>()
                .iter()
                .map(|value| value.map_or(Some(None), |value| unit.to_us(value).map(Some)))
                .collect::<Option<Vec<Option<i64>>>>()
                .map(TimestampMicrosecondArray::from);
            let times = times.ok_or_else(|| {
                wrong("has a time outside the years 1 to 9999", "check the unit that ?precision= gives")
            })?;
            Ok(Arc::new(times))
        }
        other => Err(wrong(&format!("is {other}"), "send timestamps")),
    }
}

fn fault(cause: &str, hint: &str) -> LineError {
    LineError {
        line: 0,
        column: 0,
        cause: cause.to_owned(),
        hint: hint.to_owned(),
        text: String::new(),
        fatal: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::{
        array::{Date32Array, Int64Array, LargeStringArray, ListArray, StringArray, UInt64Array},
        datatypes::{Int8Type, Int32Type},
        ipc::writer::StreamWriter,
    };

    use super::*;

    fn encoded(batch: &RecordBatch) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn options(timestamp: Option<&str>, precision: Option<Precision>) -> ArrowOptions {
        let timestamp_column = timestamp.map(str::to_owned);
        ArrowOptions { table: TableName::public("t"), timestamp_column, precision }
    }

    fn batch() -> RecordBatch {
        let symbols: arrow::array::DictionaryArray<Int8Type> = [Some("a"), None].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("t", Arc::new(Int64Array::from(vec![1_700_000_000, 1_700_000_001]))),
            ("s", Arc::new(symbols)),
            ("l", Arc::new(LargeStringArray::from(vec!["x", "y"]))),
            ("u", Arc::new(UInt64Array::from(vec![7, 8]))),
            ("d", Arc::new(Date32Array::from(vec![1, 2]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn streams_become_batches() {
        let body = encoded(&batch());
        let decoded = decode_all(&body, &options(Some("T"), Some(Precision::Seconds))).unwrap();
        let rows = &decoded.batches[0].rows;
        let types: Vec<_> =
            rows.schema().fields().iter().map(|f| column_type(f.data_type()).unwrap()).collect();
        use ColumnType::{Date, Long, Symbol, Timestamp, Varchar};
        assert_eq!(types, [Timestamp, Symbol, Varchar, Long, Date]);
        assert_eq!((decoded.batches[0].timestamp, rows.num_rows()), (Some(0), 2));
        assert!(
            rows.schema().fields().iter().all(|field| ColumnType::from_arrow(field.data_type()).is_some())
        );
    }

    #[test]
    fn columns_do_not_hold_the_stream() {
        let texts: ArrayRef =
            Arc::new(LargeStringArray::from_iter_values((0..20_000).map(|i| i.to_string())));
        let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..20_000));
        let columns = vec![("a", texts.clone()), ("b", numbers.clone()), ("c", texts), ("d", numbers)];
        let body = encoded(&RecordBatch::try_from_iter(columns).unwrap());
        let decoded = decode_all(&body, &options(None, None)).unwrap();
        assert!(
            decoded.batches[0].bytes() < body.len() * 3 / 2,
            "{} of {}",
            decoded.batches[0].bytes(),
            body.len()
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let check = |columns: Vec<(&str, ArrayRef)>, options: &ArrowOptions, expected: &str| {
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            let error = decode_all(&encoded(&batch), options).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), None]));
        check(vec![("t", ints.clone())], &options(Some("t"), None), "precision");
        check(vec![("t", ints.clone())], &options(Some("t"), Some(Precision::Seconds)), "1 to 9999");
        check(vec![("t", ints)], &options(Some("x"), None), "\"x\"");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
        check(vec![("l", Arc::new(list))], &options(None, None), "\"l\"");
        check(vec![("u", Arc::new(UInt64Array::from(vec![u64::MAX])))], &options(None, None), "\"u\"");
        check(vec![("t", Arc::new(StringArray::from(vec!["x"])))], &options(Some("t"), None), "timestamps");
    }

    #[test]
    fn damaged_streams_are_refused() {
        let body = encoded(&batch());
        let options = options(None, None);
        assert!(decode_all(b"nonsense that is no stream", &options).is_err());
        for cut in 1..body.len() - 8 {
            let _ = decode_all(&body[..cut], &options);
        }
        // Every byte turned over: an answer or an error, never a panic or a huge allocation.
        for at in 0..body.len() {
            let mut bad = body.clone();
            bad[at] ^= 0xff;
            let _ = decode_all(&bad, &options);
        }
    }
}
