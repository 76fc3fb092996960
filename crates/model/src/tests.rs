//! Tests of the shared types.

use crate::*;

#[test]
fn every_column_type_survives_the_way_through_arrow() {
    for ty in ColumnType::ALL {
        assert_eq!(ColumnType::from_arrow(&ty.arrow()), Some(ty));
    }
}

#[test]
fn names_are_checked() {
    let check = |name: &str| check_name(name).map_err(|e| e.to_string());
    assert_eq!(check("cpu-total_1"), Ok(()));
    assert_eq!(check("Größe"), Ok(()));
    assert_eq!(check(""), Err("a name is empty".into()));
    assert!(check("a.b").unwrap_err().contains("'.'"));
    assert!(check("a\nb").unwrap_err().contains("'\\n'"));
    assert!(check("_SEQ").unwrap_err().contains("reserved"));
    assert!(check(&"x".repeat(128)).unwrap_err().contains("128 bytes"));
}

#[test]
fn schemas_refuse_names_that_differ_by_case_alone() {
    let mut schema = TableSchema {
        name: TableName::public("t"),
        columns: vec![Column::new("a", ColumnType::Long), Column::new("ts", ColumnType::Timestamp)],
        timestamp: Some(1),
        partition_by: PartitionBy::Day,
        ttl_s: None,
        dedup_keys: vec![],
        dropped: 0,
    };
    assert_eq!(schema.check(), Ok(()));
    assert_eq!(schema.index_of("TS"), Some(1));
    schema.columns.push(Column::new("A", ColumnType::Long));
    assert!(matches!(schema.check(), Err(SchemaError::Duplicate { .. })));
    schema.columns.pop();
    schema.timestamp = Some(0);
    assert!(matches!(schema.check(), Err(SchemaError::BadTimestamp { .. })));
}

#[test]
fn epochs_read_what_they_show() {
    let epoch = Epoch::new(0x1234);
    assert_eq!(epoch.to_string(), "0000000000001234");
    assert_eq!(Epoch::parse("0000000000001234"), Some(epoch));
    assert_eq!(Epoch::parse("1234"), None);
    assert_eq!(Epoch::parse("+000000000001234"), None);
}

#[test]
fn ticks_round_down_before_1970_too() {
    assert_eq!(Tick::containing(1_999_999).us(), 1_000_000);
    assert_eq!(Tick::containing(-1).us(), -1_000_000);
}

#[test]
fn a_steady_clock_stands_still_until_the_one_behind_it_has_caught_up() {
    let behind = std::sync::Arc::new(ManualClock::new(100));
    let steady = SteadyClock::new(behind.clone(), 150);
    for (now_us, shown_us) in [(100, 150), (149, 150), (151, 151), (120, 151), (i64::MIN, 151), (200, 200)] {
        behind.set_us(now_us);
        assert_eq!(steady.now_us(), shown_us, "{now_us}");
    }
    let new = SteadyClock::new(behind, i64::MIN);
    assert_eq!(new.now_us(), 200);
}

#[test]
fn values_are_ordered_totally() {
    assert_eq!(Value::Float(f64::NAN), Value::Float(-f64::NAN));
    assert_eq!(Value::Float(0.0), Value::Float(-0.0));
    assert!(Value::Null < Value::Int(i64::MIN));
    assert!(Value::Str("a".into()) < Value::Str("b".into()));
}
