//! Random text, and what is written as text.

use std::{fmt::Write, net::Ipv4Addr, sync::Arc};

use arrow::{
    array::{ArrayRef, StringArray, StringBuilder, UInt32Array},
    compute::take,
};
use datafusion::common::{Result, ScalarValue, exec_err};

use super::{
    draws::{Draws, join},
    kinds::Given,
};
use crate::functions::bounds;

pub(super) const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub(super) const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Words that `rnd_symbol(count, …)` draws from at most: they are made again for every batch.
const WORDS_MAX: i64 = 65_536;

/// One of a list for each row.
pub(super) fn among(list: &[ScalarValue], keys: &[u64]) -> Result<ArrayRef> {
    let words: StringArray = list
        .iter()
        .map(|value| match value {
            ScalarValue::Utf8(word) => word.as_deref(),
            _ => None,
        })
        .collect();
    pick(&words, 0, keys)
}

fn pick(words: &StringArray, rate: u64, keys: &[u64]) -> Result<ArrayRef> {
    let longest = (0..words.value_offsets().len() - 1).map(|i| words.value_length(i)).max().unwrap_or(0);
    bounds::check_batch("rnd_str", keys.len(), longest as usize)?;
    let count = words.value_offsets().len() as u64 - 1;
    let places: UInt32Array = keys
        .iter()
        .map(|&key| {
            let mut draws = Draws(key);
            (!draws.is_null(rate)).then(|| draws.below(count) as u32)
        })
        .collect();
    Ok(take(words, &places, None)?)
}

/// Words of letters: every row its own, or drawn from a list that is made first.
pub(super) fn words(given: &Given<'_>, letters: &str, base: u64, keys: &[u64]) -> Result<ArrayRef> {
    let counted = given.len() == 4;
    let at = usize::from(counted);
    let (low, high) = given.range(at, 1, bounds::VALUE_BYTES_MAX as i64)?;
    let rate = given.rate(at + 2)?;
    if !counted {
        bounds::check_batch(given.name, keys.len(), high as usize)?;
        return Ok(Arc::new(spell(letters, (low, high), rate, keys)));
    }
    let count = given.within(0, 1, WORDS_MAX)? as u64;
    bounds::check_batch(given.name, count as usize, high as usize)?;
    let names: Vec<u64> = (0..count).map(|word| join(!base, word)).collect();
    pick(&spell(letters, (low, high), 0, &names), rate, keys)
}

fn spell(letters: &str, (low, high): (i64, i64), rate: u64, keys: &[u64]) -> StringArray {
    let letters = letters.as_bytes();
    let mut words = StringBuilder::new();
    let mut word = String::new();
    for &key in keys {
        let mut draws = Draws(key);
        if draws.is_null(rate) {
            words.append_null();
            continue;
        }
        word.clear();
        let length = draws.between(low, high);
        word.extend((0..length).map(|_| char::from(letters[draws.below(letters.len() as u64) as usize])));
        words.append_value(&word);
    }
    words.finish()
}

/// Writes each row's value into one buffer.
fn written(
    keys: &[u64],
    rate: u64,
    mut write: impl FnMut(&mut Draws, &mut String) -> std::fmt::Result,
) -> Result<ArrayRef> {
    let mut values = StringBuilder::new();
    let mut value = String::new();
    for &key in keys {
        let mut draws = Draws(key);
        if draws.is_null(rate) {
            values.append_null();
            continue;
        }
        value.clear();
        if write(&mut draws, &mut value).is_err() {
            return exec_err!("a random value could not be written");
        }
        values.append_value(&value);
    }
    Ok(Arc::new(values.finish()))
}

pub(super) fn uuids(given: &Given<'_>, keys: &[u64]) -> Result<ArrayRef> {
    written(keys, given.rate(0)?, |draws, out| {
        // Version 4, variant 1 of RFC 9562.
        let high = (draws.next() & !0xf000) | 0x4000;
        let low = (draws.next() & !(0b11 << 62)) | (0b10 << 62);
        write!(
            out,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    })
}

pub(super) fn addresses(given: &Given<'_>, keys: &[u64]) -> Result<ArrayRef> {
    let (network, hosts) = match given.values.first() {
        None => (0, 1 << 32),
        Some(ScalarValue::Utf8(Some(range))) => subnet(range)?,
        Some(_) => return exec_err!("rnd_ipv4() needs a network as argument 1, got NULL"),
    };
    // 0.0.0.0 is QuestDB's NULL.
    let first = u64::from(network == 0 && hosts > 1);
    written(keys, given.rate(1)?, |draws, out| {
        let host = first + draws.below(hosts - first);
        write!(out, "{}", Ipv4Addr::from_bits(network + host as u32))
    })
}

/// `10.1.0.0/16`: its first address and how many there are.
fn subnet(range: &str) -> Result<(u32, u64)> {
    let (address, bits) = range.split_once('/').unwrap_or((range, "32"));
    match (address.parse::<Ipv4Addr>(), bits.parse::<u32>()) {
        (Ok(address), Ok(bits)) if bits <= 32 => {
            let hosts = 1_u64 << (32 - bits);
            Ok((address.to_bits() & !((hosts - 1) as u32), hosts))
        }
        _ => exec_err!("rnd_ipv4() takes a network as '10.1.0.0/16', got '{range}'"),
    }
}

pub(super) fn long256s(given: &Given<'_>, keys: &[u64]) -> Result<ArrayRef> {
    let bound = match given.len() {
        0 => None,
        _ => Some(given.within(0, 1, i64::MAX)? as u64),
    };
    written(keys, 0, |draws, out| match bound {
        Some(bound) => write!(out, "{:#x}", draws.below(bound)),
        None => {
            out.push_str("0x");
            (0..4).try_for_each(|_| write!(out, "{:016x}", draws.next()))
        }
    })
}

pub(super) fn geohashes(given: &Given<'_>, keys: &[u64]) -> Result<ArrayRef> {
    const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = given.within(0, 1, 60)?;
    written(keys, 0, |draws, out| {
        let hash = draws.next();
        if bits % 5 == 0 {
            out.extend((0..bits / 5).map(|i| char::from(DIGITS[(hash >> (5 * i)) as usize & 31])));
        } else {
            out.extend((0..bits).map(|i| if hash >> i & 1 == 1 { '1' } else { '0' }));
        }
        Ok(())
    })
}

/// Bytes, two hexadecimal digits each.
pub(super) fn binaries(given: &Given<'_>, keys: &[u64]) -> Result<ArrayRef> {
    let (low, high) = match given.len() {
        0 => (32, 32),
        _ => given.range(0, 1, bounds::VALUE_BYTES_MAX as i64 / 2)?,
    };
    bounds::check_batch(given.name, keys.len(), 2 * high as usize)?;
    written(keys, given.rate(2)?, |draws, out| {
        let length = draws.between(low, high);
        (0..length).try_for_each(|_| write!(out, "{:02x}", draws.next() >> 56))
    })
}

/// As many digits as there are, `scale` of them behind the point.
pub(super) fn decimals(given: &Given<'_>, keys: &[u64]) -> Result<ArrayRef> {
    let precision = given.within(0, 1, 76)?;
    let scale = given.within(1, 0, precision)?;
    let whole = precision - scale;
    written(keys, given.rate(2)?, |draws, out| {
        for place in (0..whole).rev() {
            let digit = draws.below(10) as u8;
            // No zeros in front, but for the one before the point.
            if digit != 0 || place == 0 || !out.is_empty() {
                out.push(char::from(b'0' + digit));
            }
        }
        if whole == 0 {
            out.push('0');
        }
        if scale > 0 {
            out.push('.');
            out.extend((0..scale).map(|_| char::from(b'0' + draws.below(10) as u8)));
        }
        Ok(())
    })
}
