//! The live table against a plain map.

use nowcast_model::Version;
use proptest::prelude::*;

use super::*;

fn schema() -> Arc<LiveSchema> {
    let columns = vec![LiveColumn::new("k", ColumnType::Long), LiveColumn::new("v", ColumnType::Long)];
    Arc::new(LiveSchema { columns, key: vec![0], order: vec![(1, Direction::Desc)], limit: None })
}

fn row(k: i64, v: i64) -> Row {
    Arc::from([Value::Int(k), Value::Int(v)])
}

fn key(k: i64) -> Key {
    Arc::from([Value::Int(k)])
}

#[test]
fn a_reader_gets_what_it_lacks() {
    let mut table = LiveTable::new(schema(), Version::new(5), &ViewLimits::default());
    table.advance(Version::new(6));
    assert!(table.upsert(row(1, 1)));
    assert!(!table.upsert(row(1, 1)), "no change");
    table.upsert(row(2, 1));
    table.advance(Version::new(7));
    table.upsert(row(1, 2));
    table.delete(&key(2));
    assert!(!table.delete(&key(2)), "no change");

    let first = table.changes_since(None);
    assert!(first.snapshot && first.upsert == [row(1, 2)] && first.delete.is_empty());
    assert!(table.changes_since(Some(Version::new(4))).snapshot, "from before the table");
    assert!(table.changes_since(Some(Version::new(8))).snapshot, "from the future");
    let delta = table.changes_since(Some(Version::new(6)));
    assert!(!delta.snapshot && delta.upsert == [row(1, 2)] && delta.delete == [key(2)]);
    assert_eq!((delta.from, delta.to), (Some(Version::new(6)), Version::new(7)));
    assert!(table.changes_since(Some(Version::new(7))).is_empty());
    table.advance(Version::new(8));
    table.restart(Version::new(8));
    assert!(table.changes_since(Some(Version::new(7))).snapshot, "from before the restart");
}

#[test]
fn past_the_horizon_of_tombstones_is_a_snapshot() {
    let limits = ViewLimits { tombstones_max: 2, tombstone_versions_max: 10, ..ViewLimits::default() };
    let mut table = LiveTable::new(schema(), Version::ZERO, &limits);
    for k in 0..4 {
        table.upsert(row(k, k));
    }
    for k in 0..3 {
        table.advance(Version::new(1 + k as u64));
        table.delete(&key(k));
    }
    assert!(table.changes_since(Some(Version::ZERO)).snapshot, "too many");
    assert_eq!(table.changes_since(Some(Version::new(1))).delete.len(), 2);
    table.advance(Version::new(13));
    assert!(table.changes_since(Some(Version::new(1))).snapshot, "too old");
    assert!(!table.changes_since(Some(Version::new(3))).snapshot);
}

#[test]
fn replacing_touches_only_what_differs() {
    let mut table =
        LiveTable::new(schema(), Version::ZERO, &ViewLimits { rows_max: 3, ..ViewLimits::default() });
    table.replace(Version::new(1), vec![row(1, 1), row(2, 2), row(3, 3)]);
    assert!(!table.replace(Version::new(2), vec![row(3, 3), row(1, 1), row(2, 2)]));
    table.replace(Version::new(3), vec![row(1, 1), row(2, 5), row(4, 4), row(5, 9)]);
    let mut delta = table.changes_since(Some(Version::new(2)));
    delta.sort(table.schema());
    assert_eq!(delta.upsert, [row(5, 9), row(2, 5), row(4, 4)]);
    let mut gone = delta.delete;
    gone.sort();
    assert_eq!(gone, [key(1), key(3)]);
    assert!(table.truncated());
}

#[derive(Debug, Clone)]
enum Op {
    Upsert(i64, i64),
    Delete(i64),
    Replace(Vec<(i64, i64)>),
    Advance,
    Read(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..8i64, 0..4i64).prop_map(|(k, v)| Op::Upsert(k, v)),
        3 => (0..8i64).prop_map(Op::Delete),
        1 => prop::collection::vec((0..8i64, 0..4i64), 0..6).prop_map(Op::Replace),
        3 => Just(Op::Advance),
        3 => (0..3usize).prop_map(Op::Read),
    ]
}

proptest! {
    /// Readers at any pace hold the table's rows after each read, however few tombstones there are.
    #[test]
    fn readers_converge(ops in prop::collection::vec(op(), 0..200), tombstones_max in 0..6usize, age in 1..20u64) {
        let limits = ViewLimits { tombstones_max, tombstone_versions_max: age, ..ViewLimits::default() };
        let mut table = LiveTable::new(schema(), Version::ZERO, &limits);
        let mut model: BTreeMap<i64, i64> = BTreeMap::new();
        let mut clients: [(Option<Version>, BTreeMap<Key, Row>); 3] = Default::default();
        let mut version = Version::ZERO;
        for op in ops {
            match op {
                Op::Upsert(k, v) => {
                    prop_assert_eq!(table.upsert(row(k, v)), model.insert(k, v) != Some(v));
                }
                Op::Delete(k) => prop_assert_eq!(table.delete(&key(k)), model.remove(&k).is_some()),
                Op::Replace(rows) => {
                    version = version.next();
                    model = rows.iter().copied().collect();
                    table.replace(version, model.iter().map(|(k, v)| row(*k, *v)).collect());
                }
                Op::Advance => {
                    version = version.next();
                    table.advance(version);
                }
                Op::Read(client) => {
                    // A reader only ever sees a finished moment.
                    let (cursor, rows) = &mut clients[client];
                    let changes = table.changes_since(*cursor);
                    version = version.next();
                    table.advance(version);
                    if changes.snapshot {
                        rows.clear();
                    }
                    changes.delete.iter().for_each(|key| drop(rows.remove(key)));
                    for row in &changes.upsert {
                        rows.insert(table.schema().key_of(row), Arc::clone(row));
                    }
                    *cursor = Some(changes.to);
                    let expected: Vec<Row> = model.iter().map(|(k, v)| row(*k, *v)).collect();
                    prop_assert_eq!(rows.values().cloned().collect::<Vec<_>>(), expected);
                }
            }
            prop_assert_eq!(table.len(), model.len());
        }
    }
}
