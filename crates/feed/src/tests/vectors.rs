//! The vectors in `testdata/vectors/live`, which `clients/js` reads too.

use std::path::Path;

use nowcast_model::{ColumnType, Value};
use nowcast_views::{Direction, LiveColumn, LiveSchema};
use serde_json::{Value as Json, json};

use super::rig::Screen;
use crate::{
    encode,
    protocol::{ClientMessage, ServerMessage},
};

fn vectors(name: &str) -> Vec<Json> {
    let path = Path::new("../../testdata/vectors/live").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn column_type(vector: &Json) -> ColumnType {
    serde_json::from_value(vector["type"].clone()).unwrap()
}

#[test]
fn client_messages_are_read() {
    for vector in vectors("client.json") {
        let name = &vector["name"];
        let message = vector["message"].to_string();
        let text = vector["text"].as_str().unwrap_or(&message);
        match (ClientMessage::parse(text), &vector["error"]) {
            (Ok(read), Json::Null) => {
                assert_eq!(serde_json::to_value(&read).unwrap(), vector["message"], "{name}");
            }
            (Err(bad), error) => {
                assert_eq!(bad.error.code, error["code"].as_str().unwrap_or("none"), "{name}: {bad:?}");
                assert_eq!(bad.id, error["id"].as_u64(), "{name}: {bad:?}");
                assert!(!bad.error.retry && !bad.error.message.is_empty(), "{name}");
            }
            (Ok(read), error) => panic!("{name}: {read:?} instead of {error}"),
        }
    }
}

#[test]
fn server_messages_survive_serde() {
    for vector in vectors("server.json") {
        let read: ServerMessage = serde_json::from_value(vector["message"].clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), vector["message"], "{}", vector["name"]);
    }
}

#[test]
fn cells_are_written() {
    for vector in vectors("cells.json") {
        let (kind, text) = vector["value"].as_object().unwrap().iter().next().unwrap();
        let text = text.as_str().unwrap_or_default();
        let value = match kind.as_str() {
            "null" => Value::Null,
            "bool" => Value::Bool(vector["value"]["bool"] == true),
            "int" => Value::Int(text.parse().unwrap()),
            "uint" => Value::UInt(text.parse().unwrap()),
            "float" => Value::Float(text.parse().unwrap()),
            "str" => Value::from(text),
            "timestamp" => Value::Timestamp(text.parse().unwrap()),
            "timestamp_ns" => Value::TimestampNs(text.parse().unwrap()),
            other => panic!("{other}"),
        };
        let mut out = String::new();
        encode::json::write_value(&mut out, &value, column_type(&vector));
        let written: Json = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{out}: {e}"));
        assert_eq!(written, vector["wire"], "{}", vector["name"]);
    }
}

#[test]
fn rows_are_ordered() {
    for vector in vectors("order.json") {
        let ty = column_type(&vector);
        let value = |wire: &Json| match (wire, ty) {
            (Json::Null, _) => Value::Null,
            (Json::Bool(b), _) => Value::Bool(*b),
            (Json::String(s), ColumnType::Double) => Value::Float(s.parse().unwrap()),
            (Json::Number(n), ColumnType::Double) => Value::Float(n.as_f64().unwrap()),
            (Json::String(s), ColumnType::TimestampNs) => Value::TimestampNs(s.parse().unwrap()),
            (Json::String(s), ColumnType::Long) => Value::Int(s.parse().unwrap()),
            (Json::String(s), _) => Value::from(s.as_str()),
            (Json::Number(n), _) => Value::Int(n.as_i64().unwrap()),
            other => panic!("{other:?}"),
        };
        let direction = if vector["direction"] == "asc" { Direction::Asc } else { Direction::Desc };
        let columns = vec![LiveColumn::new("c", ty)];
        let schema = LiveSchema { columns, key: vec![], order: vec![(0, direction)], limit: None };
        let sorted = vector["sorted"].as_array().unwrap();
        for pair in sorted.windows(2) {
            let order = schema.compare(&[value(&pair[0])], &[value(&pair[1])]);
            assert!(order.is_lt(), "{}: {} before {}", vector["name"], pair[0], pair[1]);
        }
    }
}

#[test]
fn sessions_show_their_rows() {
    for vector in vectors("sessions.json") {
        let mut screen = Screen::default();
        for step in vector["steps"].as_array().unwrap() {
            let epoch = step["message"].get("epoch").and_then(Json::as_str);
            if epoch.is_some() && screen.epoch.is_some() && epoch != screen.epoch.as_deref() {
                screen.reconnect();
            }
            screen.take(&step["message"].to_string());
            let Some(tables) = step["tables"].as_object() else { continue };
            for (id, expected) in tables {
                let rows = screen.raw(id.parse().unwrap());
                // The order on the screen is the TypeScript side's; here the rows count.
                let sorted = |rows: Option<Vec<Vec<Json>>>| {
                    let mut rows: Vec<String> = rows?.iter().map(|row| json!(row).to_string()).collect();
                    rows.sort();
                    Some(rows)
                };
                let expected = serde_json::from_value(expected.clone()).unwrap();
                assert_eq!(sorted(rows), sorted(expected), "{}: table {id}", vector["name"]);
            }
        }
    }
}

#[test]
fn packed_messages_are_read() {
    for vector in vectors("msgpack.json") {
        let (name, message) = (&vector["name"], &vector["message"]);
        let hex = vector["hex"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        assert_eq!(&super::packed::read(&bytes), message, "{name}");
        if vector["from"] == "client" {
            let read = ClientMessage::unpack(&bytes).unwrap();
            assert_eq!(&serde_json::to_value(&read).unwrap(), message, "{name}");
        }
    }
}
