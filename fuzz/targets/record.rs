//! A record of any bytes. What can be read can be written, and reads the same again.

#![no_main]

use arrow::array::Array;
use libfuzzer_sys::fuzz_target;
use nowcast_log::fuzz::{decode_record, encode_record};
use nowcast_model::Item;

fuzz_target!(|input: &[u8]| {
    let Ok((record, bytes)) = decode_record(input) else { return };
    assert!(bytes <= input.len(), "{bytes} of {} bytes were taken", input.len());
    for item in &record.items {
        let Item::Rows(batch) = item else { continue };
        for column in batch.rows.columns() {
            column.to_data().validate_full().expect("what was read is what Arrow's own check lets pass");
        }
    }
    let written = encode_record(&record).expect("what was read can be written");
    let (again, taken) = decode_record(&written).expect("what was written can be read");
    assert_eq!(taken, written.len());
    assert_eq!(
        (record.offset, record.at_us, record.producer, record.len()),
        (again.offset, again.at_us, again.producer, again.len()),
    );
    assert_eq!(record.items.len(), again.items.len());
    for pair in record.items.iter().zip(&again.items) {
        match pair {
            (Item::Rows(one), Item::Rows(two)) => {
                assert_eq!((&one.table, one.timestamp), (&two.table, two.timestamp));
                assert_eq!(one.rows, two.rows);
            }
            (Item::Event(one), Item::Event(two)) => assert_eq!(one, two),
            _ => panic!("an item changed its kind: {pair:?}"),
        }
    }
    assert_eq!(encode_record(&again).expect("written once more"), written, "writing comes to rest");
});
