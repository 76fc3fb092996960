//! How parts are read: what is damaged is an error that names it, and filters leave out what they can.

use nowcast_store::Part;

use super::*;

fn part_of(world: &World, table: &str) -> Arc<Part> {
    let snapshot = world.store.snapshot();
    snapshot.table(&nowcast_model::TableName::public(table)).unwrap().parts[0].clone()
}

#[test]
fn a_damaged_part_is_an_error_that_names_it_and_other_rows_stay() {
    let mut world = World::trips();
    let part = part_of(&world, "trips");
    let (_, bytes) = world.disk.files().into_iter().find(|(path, _)| *path == part.path).unwrap();
    for at in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        world.disk.put(&part.path, changed);
        match world.try_run("SELECT * FROM trips ORDER BY ts") {
            Err(error) => {
                let text = error.to_string();
                assert_eq!(error.code.state(), "XX001", "{at}: {text}");
                assert!(text.contains("00000001.parquet") && text.contains("checksum"), "{at}: {text}");
            }
            // The footer is remembered: its bytes on the disk were not asked for.
            Ok(rows) => assert_eq!(rows.lines().count(), 5, "{at}"),
        }
        // The other part is not touched by it.
        assert_eq!(
            world.run("SELECT cab FROM trips WHERE ts > '2026-01-01T00:06:00Z' ORDER BY ts"),
            "Cab\na\nc\n"
        );
    }
    world.disk.put(&part.path, bytes);
    assert_eq!(world.run("SELECT count(*) AS n FROM trips"), "n\n4\n");
}

#[test]
fn a_value_that_is_in_few_row_groups_is_looked_for_in_those() {
    let mut world = World::new();
    world.run("CREATE TABLE visits (ts TIMESTAMP, who SYMBOL, page SYMBOL) timestamp(ts)");
    for part in 0..2 {
        let rows: Vec<String> = (0..9_000)
            .map(|row| {
                // All over the alphabet in both parts: least and greatest values say nothing.
                format!("('2026-01-01T00:00:00Z', '{}-{part}-{row}', 'p{}')", row * 7 % 1_000, row % 5)
            })
            .collect();
        for rows in rows.chunks(1_000) {
            world.run(&format!("INSERT INTO visits VALUES {}", rows.join(", ")));
        }
        world.store.flush(true).unwrap();
    }
    let find = "SELECT count(*) AS n FROM visits WHERE who = '7-1-1'";
    assert_eq!(world.run(find), "n\n1\n");
    let plan = world.run(&format!("EXPLAIN ANALYZE {find}"));
    let pruned = plan.split("row_groups_pruned_bloom_filter=").nth(1).unwrap_or(&plan);
    assert!(pruned.starts_with("2 total → 1 matched"), "{plan}");
    // Another version of the table, with what was written since, has the same rows.
    world.run("INSERT INTO visits VALUES ('2026-01-01T00:00:01Z', '7-1-1', 'p9')");
    assert_eq!(world.run(find), "n\n2\n");
}
