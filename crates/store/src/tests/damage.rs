//! Parts whose bytes changed: named, never returned.

use super::*;
use crate::Part;

/// A store with one part of `rows` rows and all types of columns.
fn with_part(rows: i64) -> (Bench, Arc<Part>) {
    let mut bench = Bench::new(StoreOptions::default());
    let at: Vec<i64> = (0..rows).map(|row| row * 1_000).collect();
    let names: Vec<String> = (0..rows).map(|row| format!("name {}", row % 97)).collect();
    let names: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
    let values: Vec<Option<f64>> = (0..rows).map(|row| (row % 7 != 0).then_some(row as f64 / 3.0)).collect();
    bench.write(vec![batch("t", vec![("@ts", times(&at)), ("s", symbols(&names)), ("v", doubles(&values))])]);
    bench.flush(true);
    let snapshot = bench.store.snapshot();
    let part = snapshot.table(&TableName::public("t")).unwrap().parts[0].clone();
    (bench, part)
}

/// What a scan of the table gives after a start.
fn scan(disk: &Arc<MemDisk>) -> Result<Vec<RecordBatch>, StoreError> {
    let (store, _) = open(disk, StoreOptions::default())?;
    let snapshot = store.snapshot();
    snapshot.table(&TableName::public("t")).unwrap().scan().collect()
}

#[test]
fn every_changed_byte_of_a_part_is_named() {
    let (bench, part) = with_part(300);
    let expected = scan(&bench.disk).unwrap();
    let (_, bytes) = bench.disk.files().into_iter().find(|(path, _)| *path == part.path).unwrap();
    for at in 0..bytes.len() {
        let disk = bench.disk.crash(&mut Dice(0));
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        disk.put(&part.path, changed);
        let error = scan(&disk).map(drop).unwrap_err().to_string();
        let place: Vec<u64> = error.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [from, to] = place[..] else { panic!("byte {at}: {error}") };
        assert!((from..to).contains(&(at as u64)), "byte {at}: {error}");
        assert!(error.contains("00000001.parquet") && error.contains("backup"), "{error}");
    }
    for len in [0, 1, 100, bytes.len() - 1] {
        let disk = bench.disk.crash(&mut Dice(0));
        disk.put(&part.path, bytes[..len].to_vec());
        assert!(scan(&disk).is_err(), "cut to {len}");
    }
    assert_eq!(scan(&bench.disk).unwrap(), expected);
}

#[test]
fn a_part_of_several_blocks_is_read_in_pieces() {
    let (bench, part) = with_part(150_000);
    let (_, bytes) = bench.disk.files().into_iter().find(|(path, _)| *path == part.path).unwrap();
    assert!(bytes.len() > 6 * 32_768, "{}", bytes.len());
    let open = part.open().unwrap();
    let mut dice = Dice(7);
    for _ in 0..500 {
        let from = dice.below(bytes.len());
        let to = (from + dice.below(100_000)).min(bytes.len());
        match open.read(from as u64..to as u64) {
            Ok(read) => assert_eq!(read, bytes[from..to]),
            // Across the end of the data nobody reads.
            Err(error) => assert!(error.to_string().contains("its data ends at"), "{from} {to}: {error}"),
        }
    }
    // A damage costs what is read of it, and nothing else.
    let mut changed = bytes.clone();
    changed[100_000] ^= 1;
    bench.disk.put(&part.path, changed);
    assert_eq!(part.open().unwrap().read(0..98_304).unwrap(), bytes[..98_304]);
    let error = part.open().unwrap().read(98_304..98_305).unwrap_err().to_string();
    assert!(error.contains("bytes 98304 to 131072"), "{error}");
}

#[test]
fn parts_without_checksums_are_read_and_get_some_when_they_are_merged() {
    let (mut bench, part) = with_part(300);
    let expected = scan(&bench.disk).unwrap();
    // As an earlier version left it.
    let path = Path::new("/store/manifest.json");
    let (_, text) = bench.disk.files().into_iter().find(|(file, _)| file == path).unwrap();
    let mut json: serde_json::Value =
        serde_json::from_slice(text.split(|&b| b == b'\n').next().unwrap()).unwrap();
    json["tables"][0]["parts"][0].as_object_mut().unwrap().remove("tail").unwrap();
    let json = json.to_string();
    bench.disk.put(path, format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes())).into_bytes());
    assert_eq!(scan(&bench.disk).unwrap(), expected);
    bench.options.small_parts_max = 1;
    bench.reopen();
    assert!(bench.store.snapshot().table(&TableName::public("t")).unwrap().parts[0].file.tail.is_none());
    bench.write(vec![batch("t", vec![("@ts", times(&[5])), ("v", doubles(&[None]))])]);
    bench.flush(true);
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    assert_eq!((version.parts.len(), version.rows()), (1, 301));
    assert!(version.parts[0].file.tail.is_some() && version.parts[0].id != part.id);
}

#[test]
fn symbols_with_many_values_get_bloom_filters() {
    let mut bench = Bench::new(StoreOptions { small_parts_max: 1, ..StoreOptions::default() });
    for round in 0..2_i64 {
        let at: Vec<i64> = (0..10_000).collect();
        let many: Vec<String> = (0..10_000).map(|row| format!("user {round} {row}")).collect();
        let many: Vec<Option<&str>> = many.iter().map(|name| Some(name.as_str())).collect();
        let few: Vec<Option<&str>> = (0..10_000).map(|row| Some(["a", "b"][row % 2])).collect();
        bench.write(vec![batch(
            "t",
            vec![("@ts", times(&at)), ("few", symbols(&few)), ("many", symbols(&many))],
        )]);
        bench.flush(true);
        let snapshot = bench.store.snapshot();
        let [part] = &snapshot.table(&TableName::public("t")).unwrap().parts[..] else {
            panic!("not merged")
        };
        let open = part.open().unwrap();
        let group = &open.metadata().row_groups()[0];
        let names: Vec<&str> = group
            .columns()
            .iter()
            .filter(|column| column.bloom_filter_offset().is_some())
            .map(|column| column.column_descr().name())
            .collect();
        // Of the flushed part, and of the merged one.
        assert_eq!(names, ["many"]);
        open.check_all().unwrap();
    }
}
