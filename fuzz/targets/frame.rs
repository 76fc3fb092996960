//! A log's files of any bytes, through the code that a start uses.
//!
//! The input's last byte is the mode. Bit 0: the checksums of what looks like a header or a frame are put right
//! first, so that what stands behind them is reached too. Bit 1: each place that looks like a segment's begin
//! makes a file of its own; else all is one file.
//!
//! What must hold: nothing panics; looking changes nothing and finds the same twice; a start finds what looking
//! found, loses no record that could be read before it, and leaves a log without a torn tail.

#![no_main]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use libfuzzer_sys::fuzz_target;
use nowcast_disk::MemDisk;
use nowcast_log::{Damage, Inspection, Log, LogError, LogOptions, Recovery, fuzz::encode_record};
use nowcast_model::{ManualClock, Offset};

const DIR: &str = "/log";
const HEADER: usize = 64;
const SEGMENT_MAGIC: &[u8] = b"nowclog\0";
const FRAME_MAGIC: &[u8] = b"NCFR";

fuzz_target!(|input: &[u8]| {
    let Some((mode, bytes)) = input.split_last() else { return };
    let disk = MemDisk::new();
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 {
        mend(&mut bytes);
    }
    for file in if mode & 2 != 0 { split(&bytes) } else { vec![&bytes[..]] } {
        let number = |at| file.get(at..at + 8).and_then(|n| n.try_into().ok()).map_or(0, u64::from_le_bytes);
        let first = number(16);
        disk.put(&PathBuf::from(DIR).join(format!("{first:020}.log")), file.to_vec());
    }
    check(&disk);
});

/// Where segments begin: every header begins at a multiple of 8.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let begins = (8..bytes.len()).step_by(8).filter(|&at| bytes[at..].starts_with(SEGMENT_MAGIC));
    let mut begins: Vec<usize> = begins.collect();
    begins.insert(0, 0);
    begins.push(bytes.len());
    begins.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Puts the checksums right of headers and of the bodies that are all there.
fn mend(bytes: &mut [u8]) {
    let mut at = 0;
    while at + HEADER <= bytes.len() {
        let left = &mut bytes[at..];
        let is_frame = left.starts_with(FRAME_MAGIC);
        if !is_frame && !left.starts_with(SEGMENT_MAGIC) {
            at += 8;
            continue;
        }
        let mut body_bytes = 0;
        if is_frame {
            body_bytes = u32::from_le_bytes([left[8], left[9], left[10], left[11]]) as usize;
            if let Some(body) = left[HEADER..].get(..body_bytes) {
                let crc = crc32c::crc32c(body);
                left[56..60].copy_from_slice(&crc.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&left[..60]);
        left[60..64].copy_from_slice(&crc.to_le_bytes());
        // A frame that reaches past the end is none; there may be one inside it.
        let is_whole = at + HEADER + body_bytes <= bytes.len() && body_bytes.is_multiple_of(8);
        at += HEADER + if is_whole { body_bytes } else { 0 };
    }
}

/// What can be read of a log: each record as the log writes it, then what ended the reading.
type Records = (BTreeMap<Offset, Vec<u8>>, Option<LogError>);

fn look(disk: &Arc<MemDisk>) -> Result<(Recovery, Records), LogError> {
    let seen = Inspection::of(disk.clone(), DIR.as_ref())?;
    let (mut records, mut error, mut next) = (BTreeMap::new(), None, seen.found.first);
    for record in seen.read_from(next)? {
        match record {
            Ok(record) => {
                assert!(next <= record.offset && record.end() <= seen.found.end, "out of order: {record:?}");
                next = record.end();
                let bytes = encode_record(&record).expect("what was read can be written");
                records.insert(record.offset, bytes);
            }
            Err(cause) => error = Some(cause),
        }
    }
    Ok((seen.found, (records, error)))
}

fn files(disk: &MemDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.files().into_iter().collect()
}

fn check(disk: &Arc<MemDisk>) {
    let before = files(disk);
    let seen = look(disk);
    assert_eq!(seen, look(disk), "looked twice");
    assert_eq!(files(disk), before, "looking changed something");
    let options = LogOptions::new(DIR);
    let started = Log::open(options, disk.clone(), Arc::new(ManualClock::new(1)));
    let (found, records) = match (seen, &started) {
        (Ok(seen), Ok(_)) => seen,
        (Err(seen), Err(error)) => {
            assert_eq!(seen, *error);
            assert_eq!(files(disk), before, "a start that was refused changed something");
            return;
        }
        (Ok((found, _)), Err(error)) => {
            // Behind the last offset that there is no segment can be made.
            assert_eq!(found.end, Offset::new(u64::MAX), "{error} after {found:?}");
            return;
        }
        (Err(error), Ok(_)) => panic!("only looking is refused: {error}"),
    };
    check_places(&found, &before);
    let Ok((_, recovery)) = started else { return };
    let without_copies = |recovery: &Recovery| Recovery {
        damages: recovery.damages.iter().map(|d| Damage { quarantine: None, ..d.clone() }).collect(),
        ..recovery.clone()
    };
    assert_eq!(without_copies(&recovery), found, "a start finds what looking found");
    let (healed, after) = match look(disk) {
        Ok(healed) => healed,
        Err(error) => panic!("a log that was made whole cannot be read: {error} behind {found:?}"),
    };
    assert_eq!(healed.cut, None, "a torn tail was left behind {found:?}");
    assert_eq!((healed.first, healed.end), (found.first, found.end));
    assert_eq!(after, records, "a start changed what can be read");
}

/// What is told lies inside the files.
fn check_places(found: &Recovery, files: &BTreeMap<PathBuf, Vec<u8>>) {
    let len = |path: &PathBuf| files[path].len() as u64;
    if let Some(cut) = &found.cut {
        assert_eq!(cut.at + cut.bytes, len(&cut.path), "{cut:?}");
    }
    for damage in &found.damages {
        // A hole has no bytes: it stands behind the header, also of a file that has no whole one.
        let is_inside = damage.from < damage.to && damage.to <= len(&damage.path);
        assert!(is_inside || damage.from == damage.to, "{damage:?}");
        assert!(damage.first <= damage.end, "{damage:?}");
    }
    assert!(found.first <= found.end, "{found:?}");
    assert!(found.segments <= files.len(), "{found:?}");
}
