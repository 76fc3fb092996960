//! Tests of the JSON decoder.
#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::testing::show;

fn options() -> JsonOptions {
    JsonOptions { table: TableName::public("t"), timestamp_column: None, precision: None, now_us: 1_000_000 }
}

fn decoded(body: &[u8], options: &JsonOptions) -> String {
    match decode_all(body, options) {
        Ok(decoded) => show(&decoded),
        Err(error) => format!("{error}\n  in {:?}\n", error.text),
    }
}

fn check(body: impl AsRef<[u8]>, expected: Expect) {
    expected.assert_eq(&decoded(body.as_ref(), &options()));
}

#[test]
fn arrays_objects_and_lines() {
    check(
        r#"[{"a":1,"b":"x"},{"b":"y","c":true},{"c":null,"a":-1.5e3}]"#,
        expect![[r#"
        t "a":DOUBLE "b":VARCHAR "c":BOOLEAN @timestamp
          1: 1.0 "x" - @1000000
          1: - "y" true @1000000
          1: -1500.0 - - @1000000
    "#]],
    );
    check(
        r#" {"a": 1} "#,
        expect![[r#"
        t "a":DOUBLE @timestamp
          1: 1.0 @1000000
    "#]],
    );
    check(
        "{\"a\":1}\n{\"a\":2}\r\n\n{\"a\":3}{\"A\":4}",
        expect![[r#"
        t "a":DOUBLE @timestamp
          1: 1.0 @1000000
          2: 2.0 @1000000
          4: 3.0 @1000000
          4: 4.0 @1000000
    "#]],
    );
    check("[\n]", expect![]);
    check(
        r#"{"a":NaN,"b":-Infinity,"c":12345678901234567890,"d":"\u00e9\ud83d\ude00\n\"","e\u0066":""}"#,
        expect![[r#"
            t "a":DOUBLE "b":DOUBLE "c":DOUBLE "d":VARCHAR "ef":VARCHAR @timestamp
              1: NaN -inf 1.2345678901234567e19 "é😀\n\"" "" @1000000
        "#]],
    );
}

#[test]
fn times() {
    check(
        r#"[{"a":1},{"time":"1970-01-02","ts":"1970-01-01T00:00:05Z"},{"ts":"1970-01-01 00:00:06.1234567+01:30"},
            {"ts":null,"a":2},{"Ts":"1970-01-01T00:01"}]"#,
        expect![[r#"
            t "a":DOUBLE "time":VARCHAR @ts
              1: 1.0 - @1000000
              1: - "1970-01-02" @5000000
              1: - - @-5393876544
              2: 2.0 - @1000000
              2: - - @60000000
        "#]],
    );
    check(
        r#"{"timestamp":1700000000000,"a":1}"#,
        expect![[r#"
        line 1, column 14: the time "1700000000000" is a number, and its unit is not known; add `?precision=ms` (or ns, us, s) to the address, or send ISO 8601
          in "{\"timestamp\":1700000000000,\"a\":1}"
    "#]],
    );
    check(
        r#"{"timestamp":"soon","a":1}"#,
        expect![[r#"
        line 1, column 14: "soon" in the time column "timestamp" is no time; send ISO 8601 such as 2026-01-31T12:00:00Z, or name another column with `?timestamp=`
          in "{\"timestamp\":\"soon\",\"a\":1}"
    "#]],
    );
    check(
        r#"{"timestamp":true,"a":1}"#,
        expect![[r#"
        line 1, column 14: "timestamp" is the time column, got a BOOLEAN; send ISO 8601, or name another column with `?timestamp=`
          in "{\"timestamp\":true,\"a\":1}"
    "#]],
    );
    check(
        r#"{"timestamp":"2023-02-29","a":1}"#,
        expect![[r#"
        line 1, column 14: "2023-02-29" in the time column "timestamp" is no time; send ISO 8601 such as 2026-01-31T12:00:00Z, or name another column with `?timestamp=`
          in "{\"timestamp\":\"2023-02-29\",\"a\":1}"
    "#]],
    );
    let ms = JsonOptions { precision: Some(Precision::Milliseconds), ..options() };
    expect![[r#"
        t @ts
          1: @1500000
          1: @2500000
          1: @3500250
          1: @0
    "#]]
    .assert_eq(&decoded(br#"[{"ts":1500},{"ts":"2500"},{"ts":3500.25},{"ts":"1970-01-01"}]"#, &ms));
    expect![[r#"
        line 1, column 7: the time "1e300" in ms is outside the years 1 to 9999; set `?precision=` to its unit
          in "{\"ts\":1e300}"
    "#]]
    .assert_eq(&decoded(br#"{"ts":1e300}"#, &ms));
    let named = JsonOptions { timestamp_column: Some("at".into()), ..options() };
    expect![[r#"
        t "ts":DOUBLE @at
          1: 5.0 @1769889600000000
    "#]]
    .assert_eq(&decoded(br#"{"at":"2026-01-31T12:00:00-08","ts":5}"#, &named));
    expect![[r#"
        line 2, column 1: the row has no "at", which `timestamp` names as the time column; send it in every row, or leave the parameter out
          in "{\"ts\":5}"
    "#]].assert_eq(&decoded(b"{\"at\":\"2026-01-31\"}\n{\"ts\":5}", &named));
}

#[test]
fn faults_name_line_column_cause_and_remedy() {
    for (body, expected) in [
        (
            "",
            expect![[r#"
            line 1, column 1: the body is empty; send an object, an array of objects, or NDJSON
              in ""
        "#]],
        ),
        (
            "  \n ",
            expect![[r#"
            line 2, column 2: the body is empty; send an object, an array of objects, or NDJSON
              in " "
        "#]],
        ),
        (
            "5",
            expect![[r#"
            line 1, column 1: expected an object or an array of objects, found '5'; send an object, an array of objects, or one object a line (NDJSON)
              in "5"
        "#]],
        ),
        (
            "[5]",
            expect![[r#"
            line 1, column 2: expected an object, found '5'; send an object, an array of objects, or one object a line (NDJSON)
              in "[5]"
        "#]],
        ),
        (
            "{\"a\":1}\n{\"a\":{\"b\":1}}",
            expect![[r#"
            line 2, column 6: a nested object; flatten it: send `{"a_b": 1}` rather than `{"a": {"b": 1}}`
              in "{\"a\":{\"b\":1}}"
        "#]],
        ),
        (
            "{\"a\":1,\n \"b\":[1]}",
            expect![[r#"
            line 2, column 6: an array as a value; flatten it: send `{"a_0": 1, "a_1": 2}` rather than `{"a": [1, 2]}`
              in " \"b\":[1]}"
        "#]],
        ),
        (
            r#"{"a":1,"a":2}"#,
            expect![[r#"
            line 1, column 8: the object has the member "a" twice; send each member once; names match without case
              in "{\"a\":1,\"a\":2}"
        "#]],
        ),
        (
            r#"{"a":null,"a":2}"#,
            expect![[r#"
            line 1, column 11: the object has the member "a" twice; send each member once; names match without case
              in "{\"a\":null,\"a\":2}"
        "#]],
        ),
        (
            r#"{"a":1,"A":null}"#,
            expect![[r#"
            line 1, column 8: the object has the member "A" twice; send each member once; names match without case
              in "{\"a\":1,\"A\":null}"
        "#]],
        ),
        (
            r#"{"ts":"2026-01-01","ts":"2026-01-01"}"#,
            expect![[r#"
            line 1, column 20: the object has the member "ts" twice; send each member once; names match without case
              in "{\"ts\":\"2026-01-01\",\"ts\":\"2026-01-01\"}"
        "#]],
        ),
        (
            "{\"a\":1}\n{\"a\":\"x\"}",
            expect![[r#"
            line 2, column 6: column "a" is DOUBLE since line 1, got VARCHAR; send one type per column, or use two columns
              in "{\"a\":\"x\"}"
        "#]],
        ),
        (
            r#"{"a":01}"#,
            expect![[r#"
            line 1, column 6: a malformed number; send numbers as JSON has them, such as -1.5e3
              in "{\"a\":01}"
        "#]],
        ),
        (
            r#"{"a":1.}"#,
            expect![[r#"
            line 1, column 6: a malformed number; send numbers as JSON has them, such as -1.5e3
              in "{\"a\":1.}"
        "#]],
        ),
        (
            r#"{"a":-}"#,
            expect![[r#"
            line 1, column 6: a malformed number; send numbers as JSON has them, such as -1.5e3
              in "{\"a\":-}"
        "#]],
        ),
        (
            r#"{"a":tru}"#,
            expect![[r#"
            line 1, column 6: expected a value, found 't'; send an object, an array of objects, or one object a line (NDJSON)
              in "{\"a\":tru}"
        "#]],
        ),
        (
            r#"{"a":1,}"#,
            expect![[r#"
            line 1, column 8: expected a member's name in double quotes, found '}'; send an object, an array of objects, or one object a line (NDJSON)
              in "{\"a\":1,}"
        "#]],
        ),
        (
            r#"{"a" 1}"#,
            expect![[r#"
            line 1, column 6: expected `:`, found '1'; send an object, an array of objects, or one object a line (NDJSON)
              in "{\"a\" 1}"
        "#]],
        ),
        (
            r#"{a:1}"#,
            expect![[r#"
            line 1, column 2: expected a member's name in double quotes, found 'a'; send an object, an array of objects, or one object a line (NDJSON)
              in "{a:1}"
        "#]],
        ),
        (
            r#"{"a":1"#,
            expect![[r#"
            line 1, column 7: expected `,` or `}`, found the end of the body; send an object, an array of objects, or one object a line (NDJSON)
              in "{\"a\":1"
        "#]],
        ),
        (
            r#"{"a":"x}"#,
            expect![[r#"
            line 1, column 6: the string that begins here is not closed; end it with `"`
              in "{\"a\":\"x}"
        "#]],
        ),
        (
            r#"{"a":"\x"}"#,
            expect![[r#"
            line 1, column 7: an unknown escape; escapes are \" \\ \/ \b \f \n \r \t \uXXXX
              in "{\"a\":\"\\x\"}"
        "#]],
        ),
        (
            r#"{"a":"\ud800"}"#,
            expect![[r#"
            line 1, column 7: half of a surrogate pair; escapes are \" \\ \/ \b \f \n \r \t \uXXXX
              in "{\"a\":\"\\ud800\"}"
        "#]],
        ),
        (
            "{\"a\":\"x\ny\"}",
            expect![[r#"
            line 1, column 8: a control character inside a string; escape it: `\n` for a line end, `\t` for a tab
              in "{\"a\":\"x"
        "#]],
        ),
        (
            r#"{"a":1},{"a":2}"#,
            expect![[r#"
            line 1, column 8: a comma between objects outside an array; put objects into an array `[…]`, or one a line without commas
              in "{\"a\":1},{\"a\":2}"
        "#]],
        ),
        (
            r#"[{"a":1} {"a":2}]"#,
            expect![[r#"
            line 1, column 10: expected `,` or `]`, found '{'; send an object, an array of objects, or one object a line (NDJSON)
              in "[{\"a\":1} {\"a\":2}]"
        "#]],
        ),
        (
            r#"[{"a":1}] x"#,
            expect![[r#"
            line 1, column 11: expected the end of the body, found 'x'; send an object, an array of objects, or one object a line (NDJSON)
              in "[{\"a\":1}] x"
        "#]],
        ),
        (
            r#"{"user.name":"x"}"#,
            expect![[r#"
            line 1, column 2: the name "user.name" holds the character '.'; use letters, digits, `_` or `-`; rename it, for instance to `user_name`
              in "{\"user.name\":\"x\"}"
        "#]],
        ),
        (
            "{}",
            expect![[r#"
            line 1, column 1: the object has no members; leave out empty objects
              in "{}"
        "#]],
        ),
    ] {
        check(body, expected);
    }
    check(
        b"{\"a\":\"\xff\"}",
        expect![[r#"
        line 1, column 7: the body is not UTF-8 here; send JSON as UTF-8
          in "{\"a\":\"�\"}"
    "#]],
    );
    let bad_table = JsonOptions { table: TableName::public("a/b"), ..options() };
    expect![[r#"
        line 1, column 1: the table's name cannot be used: the name "a/b" holds the character '/'; use letters, digits, `_` or `-`; give the table another name
          in "{}"
    "#]].assert_eq(&decoded(b"{}", &bad_table));
}

#[test]
fn the_excerpt_of_a_long_line_shows_the_fault() {
    let body = format!("[{}{{\"a\":x}}]", "{\"a\":1},".repeat(1000));
    let error = decode_all(body.as_bytes(), &options()).unwrap_err();
    assert!(error.text.contains("{\"a\":x}") && error.text.len() <= TEXT_BYTES_MAX);
}

proptest! {
    /// What serde_json writes is read back.
    #[test]
    fn reads_what_serde_json_writes(
        rows in prop::collection::vec(
            (any::<f64>(), prop::option::of(any::<String>()), prop::option::of(any::<bool>())),
            1..6,
        ),
        array in any::<bool>(),
        pretty in any::<bool>(),
    ) {
        let objects: Vec<serde_json::Value> = rows
            .iter()
            .map(|(number, text, flag)| serde_json::json!({"n": number, "s": text, "f": flag, "x": 1}))
            .collect();
        let write = |value: &serde_json::Value| match pretty {
            true => serde_json::to_string_pretty(value).unwrap(),
            false => value.to_string(),
        };
        let body = match array {
            true => write(&serde_json::Value::Array(objects)),
            false => objects.iter().map(write).collect::<Vec<_>>().join("\n"),
        };
        let decoded = decode_all(body.as_bytes(), &options()).unwrap();
        let mut want = Vec::new();
        for (number, text, flag) in &rows {
            let number = if number.is_finite() { format!("{number:?}") } else { "-".to_owned() };
            let text = text.as_ref().map_or("-".to_owned(), |text| format!("{text:?}"));
            let flag = flag.map_or("-".to_owned(), |flag| format!("{flag}"));
            want.push((number, text, flag));
        }
        let batch = &decoded.batches[0].rows;
        let column = |name: &str, row: usize| {
            batch.column_by_name(name).map_or("-".to_owned(), |column| crate::testing::cell(column, row))
        };
        let got: Vec<_> = (0..rows.len()).map(|r| (column("n", r), column("s", r), column("f", r))).collect();
        prop_assert_eq!(got, want);
    }

    #[test]
    fn garbage_never_panics(
        bytes in prop::collection::vec(
            prop_oneof![prop::sample::select(b"[]{}\":,\\u0d8tns1e.- \n".to_vec()), any::<u8>()],
            0..120,
        ),
        text in r#"[\[{]?(\{"[a-c]":[0-9tn"{\[]{0,3}[,}]? ?){0,5}"#,
    ) {
        let _ = decode_all(&bytes, &options());
        let _ = decode_all(text.as_bytes(), &options());
    }
}
