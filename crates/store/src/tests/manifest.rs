//! Damaged, foreign and newer manifests are told apart.

use expect_test::{Expect, expect};

use super::*;

fn check(text: &str, expected: Expect) {
    let disk = MemDisk::new();
    disk.put(Path::new("/store/manifest.json"), text.as_bytes().to_vec());
    let error = open(&disk, StoreOptions::default()).map(drop).unwrap_err();
    expected.assert_eq(&error.to_string());
}

fn with_checksum(json: &str) -> String {
    format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()))
}

#[test]
fn manifests_fail_distinctly() {
    check("", expect!["the manifest /store/manifest.json cannot be read: it has no checksum line"]);
    check(
        "{}\nsomething\n",
        expect![[
            r#"the manifest /store/manifest.json cannot be read: its second line is "something\n", not crc32c and eight digits"#
        ]],
    );
    check(
        "{}\ncrc32c 00000000\n",
        expect!["the manifest /store/manifest.json has checksum 00000000, its text gives 297bd0aa"],
    );
    check(
        &with_checksum("{}"),
        expect![
            "the manifest /store/manifest.json cannot be read: missing field `version` at line 1 column 2"
        ],
    );
    check(
        &with_checksum(r#"{"version":9,"more":1}"#),
        expect![
            "the manifest /store/manifest.json has version 9, this program knows up to 1; use a newer one"
        ],
    );
}

#[test]
fn a_part_that_is_missing_is_named() {
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(vec![batch("t", vec![("@ts", times(&[1])), ("v", longs(&[1]))])]);
    bench.flush(true);
    bench.disk.delete(&bench.files()[0]);
    let error = open(&bench.disk, StoreOptions::default()).map(drop).unwrap_err();
    expect!["read part /store/parts/public.t/00000001.parquet: the file is missing"]
        .assert_eq(&error.to_string());
}

#[test]
fn parts_without_a_manifest_are_left_alone() {
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(vec![batch("t", vec![("@ts", times(&[1])), ("v", longs(&[1]))])]);
    bench.flush(true);
    let files = bench.files();
    bench.disk.delete(Path::new("/store/manifest.json"));
    let error = open(&bench.disk, StoreOptions::default()).map(drop).unwrap_err().to_string();
    assert!(error.contains("manifest.json is missing") && error.contains("nothing was changed"), "{error}");
    assert_eq!(bench.files(), files);
}
