//! A flush and a merge, broken at each of their steps.

use nowcast_disk::Fault;
use nowcast_model::Event;

use super::*;

const DAY_US: i64 = 86_400_000_000;

/// Writes that make every kind of file: parts of two tables, dead rows, a merge, a dropped partition.
fn history(bench: &mut Bench, dice: &mut Dice) {
    let mut flush = |bench: &mut Bench| {
        bench.flush(true);
        if bench.disk.is_off() {
            bench.power_loss(dice);
        }
    };

    let keys = Event::SetDedupKeys { table: TableName::public("t"), keys: vec!["ts".into()] };
    for round in 0..4_i64 {
        let at: Vec<i64> = (0..6).map(|row| (row % 3) * DAY_US + round).collect();
        let rows = vec![("@ts", times(&at)), ("v", longs(&[round, 1, 2, 3, 4, 5]))];
        bench.write(vec![
            batch("t", rows),
            batch("u", vec![("@ts", times(&[round])), ("v", longs(&[round]))]),
        ]);
        if round == 0 {
            bench.write(vec![Item::Event(keys.clone())]);
        }
        flush(bench);
        // Replaces rows that are in parts.
        bench.write(vec![batch("t", vec![("@ts", times(&[round, DAY_US + round])), ("v", longs(&[9, 9]))])]);
    }
    let table = TableName::public("t");
    bench.write(vec![Item::Event(Event::DropPartitions { table, before_us: DAY_US })]);
    flush(bench);
    flush(bench);
}

fn options() -> StoreOptions {
    StoreOptions { small_parts_max: 2, own_part_rows_min: 4, ..StoreOptions::default() }
}

#[test]
fn whatever_step_fails_nothing_is_lost() {
    let mut whole = Bench::new(options());
    history(&mut whole, &mut Dice(0));
    let expected = contents(&whole.store.snapshot());
    let steps = whole.disk.operations();
    assert!((100..1_000).contains(&steps), "{steps} steps");
    let opened = Bench::new(options()).disk.operations();
    for step in 1..=steps - opened {
        for fault in [Fault::Broken, Fault::Full, Fault::PowerLoss] {
            let mut bench = Bench::new(options());
            bench.disk.fail_at(Some((step, fault)));
            // The disk fails once; the store goes on with what it has in memory, or starts again, and tries again.
            history(&mut bench, &mut Dice(step));
            assert_eq!(contents(&bench.store.snapshot()), expected, "step {step}, {fault:?}");
            for seed in 0..3 {
                bench.power_loss(&mut Dice(step * 10 + seed));
                assert_eq!(
                    contents(&bench.store.snapshot()),
                    expected,
                    "after step {step}, {fault:?}, {seed}"
                );
            }
            // It works on, and leaves nothing behind that no manifest names.
            bench.flush(true);
            bench.flush(true);
            let snapshot = bench.store.snapshot();
            let parts = snapshot.tables.values().flat_map(|version| &version.parts);
            let files: usize = parts.map(|part| 1 + usize::from(!part.dead.is_empty())).sum();
            assert_eq!(bench.files().len(), files, "step {step}, {fault:?}: {:?}", bench.files());
        }
    }
}
