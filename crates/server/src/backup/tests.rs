#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, sync::Arc};

use nowcast_log::{Log, LogOptions};
use nowcast_model::{Event, Item, Offset};
use nowcast_store::{Store, StoreOptions};

use super::*;

/// A data directory with a log of one record, an empty store and a dashboard.
fn data() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock));
    Store::open(&data.join("store"), StoreOptions::default(), disk.clone(), clock.clone()).unwrap();
    let (log, _) = Log::open(LogOptions::new(data.join("log")), disk, clock).unwrap();
    let (log, _tail) = log.start(Offset::ZERO).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let event = Item::Event(Event::CreateSchema { schema: "shop".to_owned() });
    log.append(vec![event], None, 1, Box::new(move |done| sender.send(done).unwrap()));
    receiver.recv().unwrap().unwrap();
    log.stop();
    fs::create_dir(data.join("dashboards")).unwrap();
    fs::write(data.join("dashboards/one.toml"), "title = \"one\"").unwrap();
    (dir, data)
}

#[test]
fn a_backup_comes_back_as_it_was() {
    let (dir, data) = data();
    let (to, again) = (dir.path().join("backups/monday"), dir.path().join("again"));
    let settings = dir.path().join("my.toml");
    fs::write(&settings, "[pg]\npassword = \"secret\"\n").unwrap();
    fs::set_permissions(&settings, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let made = backup(&data, Some(&settings), &to).unwrap();
    assert_eq!((made.files, made.position, made.damages.len()), (4, 1, 0));
    assert_eq!(verify(&to).unwrap().bytes, made.bytes);
    restore(&to, &again).unwrap();
    for file in ["dashboards/one.toml", "store/manifest.json", "log/00000000000000000000.log"] {
        assert_eq!(fs::read(again.join(file)).unwrap(), fs::read(data.join(file)).unwrap(), "{file}");
    }
    let kept = fs::metadata(again.join("nowcast.toml")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept) & 0o777, 0o600);
    assert!(!again.with_file_name("again.restoring").exists());
}

#[test]
fn what_cannot_be_done_says_why_and_changes_nothing() {
    let (dir, data) = data();
    let to = dir.path().join("backup");
    let error = |outcome: anyhow::Result<Summary>| format!("{:#}", outcome.unwrap_err());
    assert!(error(backup(&dir.path().join("none"), None, &to)).contains("cannot read"));
    assert!(error(backup(dir.path(), None, &to)).contains("is no data directory"));
    assert!(error(backup(&data, None, &data)).contains("is not empty"));
    assert!(error(backup(&data, None, &data.join("inside"))).contains("within the data directory"));
    fs::remove_dir(data.join("inside")).unwrap();
    assert!(error(restore(&data, &to)).contains("has no backup.json"));
    backup(&data, None, &to).unwrap();
    assert!(error(backup(&data, None, &to)).contains("is not empty"));
    assert!(error(restore(&to, &data)).contains("is not empty"));

    let again = dir.path().join("again");
    let list = to.join("backup.json");
    let text = fs::read_to_string(&list).unwrap();
    for file in ["dashboards/one.toml", "store/manifest.json", "log/00000000000000000000.log"] {
        let path = to.join(file);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        changed[3] ^= 1;
        for broken in [Some(changed), Some(bytes[1..].to_vec()), None] {
            match broken {
                Some(broken) => fs::write(&path, broken).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = error(restore(&to, &again));
            assert!(error.contains(file) && error.contains("use another one"), "{error}");
            assert!(!again.exists() && !again.with_file_name("again.restoring").exists());
        }
        fs::write(&path, bytes).unwrap();
    }
    fs::write(&list, text.replacen("one", "two", 1)).unwrap();
    assert!(error(restore(&to, &again)).contains("checksum of"));
    let signed = |json: &str| format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()));
    let json = text.split('\n').next().unwrap();
    fs::write(&list, signed(&json.replace("dashboards/one", "../../one"))).unwrap();
    assert!(error(restore(&to, &again)).contains("outside of the backup"));
    fs::write(&list, signed(r#"{"version":2}"#)).unwrap();
    assert!(error(restore(&to, &again)).contains("use a newer one"));
    fs::write(&list, text).unwrap();
    fs::create_dir(&again).unwrap();
    restore(&to, &again).unwrap();
}
