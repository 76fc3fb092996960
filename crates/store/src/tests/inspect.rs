//! Looking at a store finds what is wrong with it, and changes nothing.

use super::*;
use crate::{Depth, StoreCheck, StoreInspection};

/// A store of two parts of one table, the first with a dead row, and what a look at it says.
fn written() -> Bench {
    let mut bench = Bench::new(StoreOptions::default());
    let rows = |v: i64| vec![batch("t", vec![("@ts", times(&[1, 2, 3])), ("v", longs(&[v, v, v]))])];
    bench.write(rows(1));
    let (table, keys) = (TableName::public("t"), vec!["ts".into()]);
    bench.write(vec![Item::Event(nowcast_model::Event::SetDedupKeys { table, keys })]);
    bench.flush(true);
    bench.write(vec![batch("t", vec![("@ts", times(&[2, 9])), ("v", longs(&[7, 7]))])]);
    bench.flush(true);
    bench.write(vec![batch("t", vec![("@ts", times(&[10])), ("v", longs(&[8]))])]);
    bench
}

fn look(disk: &Arc<MemDisk>) -> Result<StoreCheck, StoreError> {
    let before = disk.files();
    let found = StoreInspection::of(disk.clone(), Path::new("/store"))?.check(Depth::Rows);
    assert_eq!(disk.files(), before);
    Ok(found)
}

#[test]
fn a_store_that_is_well_says_what_it_holds() {
    let bench = written();
    let found = look(&bench.disk).unwrap();
    assert_eq!((found.tables, found.parts, found.rows, found.unsummed), (1, 2, 4, 0));
    assert_eq!((found.damages.len(), found.orphans.len()), (0, 0));
    let inspection = StoreInspection::of(bench.disk.clone(), Path::new("/store")).unwrap();
    let named: Vec<PathBuf> = inspection.parts().flat_map(|part| part.files()).collect();
    assert_eq!(named, {
        let mut files = bench.files();
        files.swap(0, 1);
        files
    });
    // The row that is hot is in the log behind the manifest.
    assert_eq!((inspection.position().get(), inspection.replay_from().get()), (7, 7));
}

#[test]
fn every_file_that_is_damaged_or_missing_is_named() {
    let bench = written();
    for path in bench.files() {
        for change in 0..3 {
            let disk = bench.disk.crash(&mut Dice(0));
            let (_, mut bytes) = disk.files().into_iter().find(|(file, _)| *file == path).unwrap();
            match change {
                0 => disk.delete(&path),
                1 => {
                    bytes.pop();
                    disk.put(&path, bytes);
                }
                _ => {
                    bytes[20] ^= 1;
                    disk.put(&path, bytes);
                }
            }
            let damages = look(&disk).unwrap().damages;
            let [damage] = &damages[..] else { panic!("{path:?} {change}: {damages:?}") };
            assert!(damage.to_string().contains(path.to_str().unwrap()), "{damage}");
        }
    }
    let disk = bench.disk.crash(&mut Dice(0));
    disk.put(Path::new("/store/parts/public.t/00000099.parquet"), vec![1]);
    assert_eq!(look(&disk).unwrap().orphans.len(), 1);
    disk.delete(Path::new("/store/manifest.json"));
    assert!(matches!(look(&disk), Err(StoreError::ManifestMissing { .. })));
}

#[test]
fn a_manifest_that_says_other_rows_is_found_out() {
    let bench = written();
    let path = Path::new("/store/manifest.json");
    let (_, text) = bench.disk.files().into_iter().find(|(file, _)| file == path).unwrap();
    for (field, value, says) in
        [("rows", 3, "it shows"), ("max_us", 2, "outside of the times"), ("bytes", 5, "it has")]
    {
        let mut json: serde_json::Value =
            serde_json::from_slice(text.split(|&b| b == b'\n').next().unwrap()).unwrap();
        json["tables"][0]["parts"][1][field] = value.into();
        let json = json.to_string();
        let text = format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()));
        let disk = bench.disk.crash(&mut Dice(0));
        disk.put(path, text.into_bytes());
        let damages = look(&disk).unwrap().damages;
        assert!(damages.len() == 1 && damages[0].to_string().contains(says), "{field}: {damages:?}");
    }
}
