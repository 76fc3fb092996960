#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use arrow::{
    array::{
        ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int16Array, Int64Array,
        RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    },
    datatypes::Int32Type,
};

fn batch() -> RecordBatch {
    let symbols: DictionaryArray<Int32Type> = [Some("a\"b"), None].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_767_225_600_500_000), None]))),
        ("d", Arc::new(TimestampMillisecondArray::from(vec![-1, i64::MAX]))),
        ("n", Arc::new(TimestampNanosecondArray::from(vec![1, 951_782_400_000_000_000]))),
        ("x", Arc::new(Float64Array::from(vec![f64::NAN, 1e21]))),
        ("f", Arc::new(Float32Array::from(vec![0.1, f32::INFINITY]))),
        ("i", Arc::new(Int64Array::from(vec![9_007_199_254_740_993, -1]))),
        ("k", Arc::new(Int16Array::from(vec![Some(7), None]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("s", Arc::new(symbols)),
        ("t,", Arc::new(StringArray::from(vec!["a,\r\n", ""]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn encoded(mut encoder: impl Encode, batch: &RecordBatch, end: End) -> String {
    encoder.write(batch).unwrap();
    encoder.finish(end).unwrap();
    String::from_utf8(encoder.take()).unwrap()
}

#[test]
fn json_has_the_shape_of_questdb() {
    let batch = batch().project(&[0, 1, 3, 5, 8]).unwrap();
    let json = |options, end| {
        let position = nowcast_model::Offset::new(7);
        encoded(Json::new("j", &batch.schema(), position, options), &batch, end)
    };
    let expected = concat!(
        r#"{"query":"j","columns":[{"name":"ts","type":"TIMESTAMP"},{"name":"d","type":"DATE"},"#,
        r#"{"name":"x","type":"DOUBLE"},{"name":"i","type":"LONG"},{"name":"s","type":"SYMBOL"}],"timestamp":-1,"#,
        r#""dataset":[["2026-01-01T00:00:00.500000Z","1969-12-31T23:59:59.999Z",null,9007199254740993,"a\"b"],"#,
        r#"[null,null,1e21,-1,null]],"count":2,"position":"7"}"#
    );
    assert_eq!(json(JsonOptions::default(), End::default()), expected);
    let bare = JsonOptions { bare: true, quote_long: true, explain: true, timings: None };
    let expected = concat!(
        r#"{"dataset":[["2026-01-01T00:00:00.500000Z","1969-12-31T23:59:59.999Z",null,"9007199254740993","a\"b"],"#,
        r#"[null,null,1e21,"-1",null]],"count":9,"truncated":true,"explain":{"jitCompiled":false},"position":"7"}"#
    );
    assert_eq!(json(bare, End { total: Some(9), truncated: true }), expected);
}

#[test]
fn csv_is_quoted_as_questdb_quotes() {
    let batch = batch();
    let expected = concat!(
        "\"ts\",\"d\",\"n\",\"x\",\"f\",\"i\",\"k\",\"b\",\"s\",\"t,\"\r\n",
        "\"2026-01-01T00:00:00.500000Z\",\"1969-12-31T23:59:59.999Z\",\"1970-01-01T00:00:00.000000001Z\",",
        ",0.1,9007199254740993,7,true,\"a\"\"b\",\"a,\r\n\"\r\n",
        ",,\"2000-02-29T00:00:00.000000000Z\",1e21,,-1,,false,,\"\"\r\n",
    );
    assert_eq!(encoded(Csv::new(&batch.schema(), b',', false), &batch, End::default()), expected);
    let two = batch.project(&[6, 7]).unwrap();
    assert_eq!(encoded(Csv::new(&two.schema(), b';', true), &two, End::default()), "7;true\r\n;false\r\n");
}

#[test]
fn lines_are_objects() {
    let batch = batch().project(&[4, 9]).unwrap();
    let expected = "{\"f\":0.1,\"t,\":\"a,\\r\\n\"}\n{\"f\":null,\"t,\":\"\"}\n";
    assert_eq!(encoded(Lines::new(&batch.schema()), &batch, End::default()), expected);
}

#[test]
fn parquet_reads_back_in_groups() {
    let batch = batch();
    for codec in ParquetOptions::CODECS {
        let options = ParquetOptions::parse(Some(codec), None, Some(2)).unwrap();
        let mut encoder = Parquet::new(batch.schema(), &options).unwrap();
        let mut file = Vec::new();
        for _ in 0..3 {
            encoder.write(&batch).unwrap();
            file.extend(encoder.take());
        }
        assert!(!file.is_empty(), "nothing goes out before the end");
        encoder.finish(End::default()).unwrap();
        file.extend(encoder.take());
        let reader = ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
            bytes::Bytes::from(file),
        )
        .unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 3);
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    }
    assert!(ParquetOptions::parse(Some("lzma"), None, None).unwrap_err().contains("zstd"));
    assert!(ParquetOptions::parse(Some("gzip"), Some(99), None).is_err());
    assert!(ParquetOptions::parse(None, None, Some(0)).is_err());
}
