//! MessagePack says what JSON says.

use std::{io::Read, sync::Arc};

use nowcast_model::{ColumnType, Value, Version};
use nowcast_views::{Changes, Direction, LiveColumn, LiveSchema, Mode, Row, ViewState};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::rig::EPOCH;
use crate::{
    FeedError,
    encode::{Encoding, Head, Payload, Reason},
    protocol::ClientMessage,
};

/// A message as its receiver reads it.
pub(crate) fn read(bytes: &[u8]) -> Json {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return rmp_serde::from_slice(bytes).unwrap();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    rmp_serde::from_slice(&plain).unwrap()
}

fn json(payload: &Payload) -> Json {
    match payload {
        Payload::Text(text) => serde_json::from_str(text).unwrap(),
        // Through text, too, since serde_json reads the last digit of a double only nearly.
        Payload::Binary(bytes) => serde_json::from_str(&read(bytes).to_string()).unwrap(),
    }
}

const TYPES: [ColumnType; 7] = [
    ColumnType::Long,
    ColumnType::Double,
    ColumnType::Float,
    ColumnType::Varchar,
    ColumnType::Timestamp,
    ColumnType::TimestampNs,
    ColumnType::Boolean,
];

fn cell(ty: ColumnType) -> BoxedStrategy<Value> {
    let some = match ty {
        ColumnType::Double => any::<f64>().prop_map(Value::Float).boxed(),
        ColumnType::Float => any::<f32>().prop_map(|v| Value::Float(f64::from(v))).boxed(),
        ColumnType::Varchar => ".{0,40}".prop_map(|text| Value::from(text.as_str())).boxed(),
        ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        ColumnType::TimestampNs => any::<i64>().prop_map(Value::TimestampNs).boxed(),
        ColumnType::Boolean => any::<bool>().prop_map(Value::Bool).boxed(),
        _ => prop_oneof![any::<i64>(), -200..200i64, -70_000..70_000i64].prop_map(Value::Int).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 9 => some].boxed()
}

fn row() -> impl Strategy<Value = Row> {
    TYPES.map(cell).to_vec().prop_map(Arc::from)
}

fn schema() -> LiveSchema {
    let columns = TYPES.iter().map(|&ty| LiveColumn::new(ty.name(), ty)).collect();
    LiveSchema { columns, key: vec![0, 3], order: vec![(1, Direction::Desc)], limit: Some(70_000) }
}

proptest! {
    #[test]
    fn both_encodings_say_the_same(
        rows in prop::collection::vec(row(), 0..40), truncated: bool, id in 0..1u64 << 53, version: u64,
    ) {
        let schema = schema();
        let delete = rows.iter().map(|row| Arc::from([row[0].clone(), row[3].clone()])).collect();
        let changes =
            Changes { from: None, to: Version::new(version), snapshot: true, upsert: rows, delete, truncated };
        let version = Version::new(version);
        for (snapshot, reason) in [(true, None), (true, Some(Reason::Horizon)), (false, None)] {
            let said = [Encoding::Json, Encoding::Packed].map(|encoding| {
                let tail = match snapshot {
                    true => encoding.snapshot_tail(EPOCH, version, Mode::Incremental, &schema, &changes),
                    false => encoding.delta_tail(version, &schema, &changes),
                };
                let payload = tail.message(Head { snapshot, id, reason });
                if let Payload::Binary(bytes) = &payload {
                    let zipped = bytes.starts_with(&[0x1f, 0x8b]);
                    assert!(zipped || bytes.len() <= 1_024, "{} bytes are sent plain", bytes.len());
                }
                json(&payload)
            });
            prop_assert_eq!(&said[0], &said[1]);
        }
    }

    #[test]
    fn foreign_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ClientMessage::unpack(&bytes);
    }
}

#[test]
fn progress_and_errors_say_the_same() {
    let behind = [
        (1, ViewState::Seeding { percent: 40 }),
        (2, ViewState::Live),
        (300, ViewState::Behind { version: Version::new(70_000) }),
    ];
    let many: Vec<_> = (0..100).map(|id| (id, ViewState::Seeding { percent: 1 })).collect();
    let error = FeedError::new("some_code", "a fact").hint("a remedy").at(3, 400).retry_after(2);
    let long = FeedError::new("some_code", "a fact ".repeat(300));
    let say = |encoding: Encoding| {
        let progress =
            |behind: &[(u64, ViewState)]| json(&encoding.progress(Version::new(5), 812, -1, behind));
        [
            progress(&behind),
            progress(&[]),
            progress(&many),
            json(&encoding.error(None, &FeedError::new("bad_message", "a fact"))),
            json(&encoding.error(Some(1), &long)),
            json(&encoding.error(Some(7), &error)),
        ]
    };
    let said = say(Encoding::Packed);
    assert_eq!(say(Encoding::Json), said);
    assert_eq!((&said[5]["retry_after"], &said[5]["line"]), (&2.into(), &3.into()));
}

#[test]
fn what_is_no_message_is_told_with_its_id() {
    for (bytes, id, words) in [
        (&b""[..], None, ""),
        (b"\xc1", None, ""),
        (b"\x81\xa2op\xa3ack\x00", None, "1 bytes come behind"),
        (b"\x82\xa2op\xa9subscribe\xa2id\x07", Some(7), "exactly one of"),
        (b"\x82\xa2op\x05\xa2id\x07", Some(7), "invalid type"),
    ] {
        let bad = ClientMessage::unpack(bytes).unwrap_err();
        assert_eq!(bad.id, id, "{bad:?}");
        assert!(bad.error.message.contains(words), "{bad:?}");
    }
    // Depth is bounded: this is an array in an array in an array …
    let mut deep = b"\x82\xa2op\xa9subscribe\xa6params\x81\xa1x".to_vec();
    deep.extend([0x91; 60_000]);
    assert!(ClientMessage::unpack(&deep).unwrap_err().error.message.contains("depth"));
}
