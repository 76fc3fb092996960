//! Messages in MessagePack: the same fields in the same order as in JSON.
//!
//! A message of more than [`PLAIN_BYTES_MAX`] bytes is sent as gzip. Its first byte, 0x1f, tells: no map begins
//! so.

use nowcast_model::{ColumnType, Epoch, Value, Version};
use nowcast_views::{Changes, Direction, LiveSchema, Mode, ViewState};

use super::{Head, Payload, Tail, Wire, gzip::Deflated, wire};
use crate::FeedError;

/// Messages up to this length are sent as they are: compression would save less than a packet.
const PLAIN_BYTES_MAX: usize = 1_024;

/// What a head takes at most: the map's byte, three names, two words, nine bytes of id.
const HEAD_BYTES_MAX: usize = 48;

/// The map's size and the entries before the tail, which has `entries` of its own.
pub(super) fn head(head: Head, entries: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES_MAX);
    map(&mut out, usize::from(entries) + 2 + usize::from(head.reason.is_some()));
    pair(&mut out, "op", if head.snapshot { "snapshot" } else { "delta" });
    text(&mut out, "id");
    uint(&mut out, head.id);
    if let Some(reason) = head.reason {
        pair(&mut out, "reason", reason.name());
    }
    out
}

pub(super) fn snapshot_tail(
    epoch: Epoch,
    version: Version,
    mode: Mode,
    schema: &LiveSchema,
    changes: &Changes,
) -> Tail {
    let mut out = Vec::with_capacity(256 + changes.upsert.len() * schema.columns.len() * 9);
    pair(&mut out, "epoch", &epoch.to_string());
    text(&mut out, "version");
    uint(&mut out, version.get());
    pair(&mut out, "mode", mode.name());
    truncated(&mut out, changes.truncated);
    text(&mut out, "schema");
    write_schema(&mut out, schema);
    text(&mut out, "rows");
    write_rows(&mut out, &changes.upsert, |index| schema.columns[index].ty);
    tail(5 + u8::from(changes.truncated), out)
}

pub(super) fn delta_tail(version: Version, schema: &LiveSchema, changes: &Changes) -> Tail {
    let cells = changes.upsert.len() * schema.columns.len() + changes.delete.len() * schema.key.len();
    let mut out = Vec::with_capacity(64 + cells * 9);
    text(&mut out, "version");
    uint(&mut out, version.get());
    truncated(&mut out, changes.truncated);
    text(&mut out, "upsert");
    write_rows(&mut out, &changes.upsert, |index| schema.columns[index].ty);
    text(&mut out, "delete");
    write_rows(&mut out, &changes.delete, |index| schema.columns[schema.key[index]].ty);
    tail(3 + u8::from(changes.truncated), out)
}

pub(super) fn progress(version: Version, position: u64, now_us: i64, behind: &[(u64, ViewState)]) -> Payload {
    let lags = |state: &ViewState| matches!(state, ViewState::Seeding { .. } | ViewState::Behind { .. });
    let mut out = Vec::with_capacity(64 + behind.len() * 24);
    map(&mut out, 5);
    pair(&mut out, "op", "progress");
    text(&mut out, "version");
    uint(&mut out, version.get());
    pair(&mut out, "position", &position.to_string());
    text(&mut out, "now");
    int(&mut out, now_us);
    text(&mut out, "behind");
    array(&mut out, behind.iter().filter(|(_, state)| lags(state)).count());
    for (id, state) in behind {
        match state {
            ViewState::Seeding { percent } => {
                map(&mut out, 3);
                text(&mut out, "id");
                uint(&mut out, *id);
                pair(&mut out, "state", "seeding");
                text(&mut out, "percent");
                uint(&mut out, u64::from(*percent));
            }
            ViewState::Behind { version } => {
                map(&mut out, 2);
                text(&mut out, "id");
                uint(&mut out, *id);
                text(&mut out, "version");
                uint(&mut out, version.get());
            }
            ViewState::Live | ViewState::Failed(_) => {}
        }
    }
    payload(out)
}

pub(super) fn error(id: Option<u64>, error: &FeedError) -> Payload {
    let numbers = [
        ("line", error.line.map(u64::from)),
        ("column", error.column.map(u64::from)),
        ("retry_after", error.retry_after.map(u64::from)),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
    let mut out = Vec::with_capacity(64 + error.message.len());
    let optional = usize::from(id.is_some()) + usize::from(error.hint.is_some()) + numbers.clone().count();
    map(&mut out, 4 + optional);
    pair(&mut out, "op", "error");
    if let Some(id) = id {
        text(&mut out, "id");
        uint(&mut out, id);
    }
    pair(&mut out, "code", &error.code);
    pair(&mut out, "message", &error.message);
    if let Some(hint) = &error.hint {
        pair(&mut out, "hint", hint);
    }
    for (name, number) in numbers {
        text(&mut out, name);
        uint(&mut out, number);
    }
    text(&mut out, "retry");
    bool(&mut out, error.retry);
    payload(out)
}

fn tail(entries: u8, bytes: Vec<u8>) -> Tail {
    if bytes.len() + HEAD_BYTES_MAX > PLAIN_BYTES_MAX
        && let Ok(bytes) = Deflated::new(&bytes)
    {
        return Tail::Zipped { entries, bytes };
    }
    Tail::Packed { entries, bytes }
}

/// A message that is nobody else's.
fn payload(bytes: Vec<u8>) -> Payload {
    if bytes.len() > PLAIN_BYTES_MAX
        && let Ok(zipped) = Deflated::new(&bytes)
    {
        return Payload::Binary(zipped.behind(&[]).into());
    }
    Payload::Binary(bytes.into())
}

fn truncated(out: &mut Vec<u8>, truncated: bool) {
    if truncated {
        text(out, "truncated");
        bool(out, true);
    }
}

fn write_schema(out: &mut Vec<u8>, schema: &LiveSchema) {
    map(out, 3 + usize::from(schema.limit.is_some()));
    text(out, "columns");
    array(out, schema.columns.len());
    for column in &schema.columns {
        map(out, 2 + usize::from(column.hidden));
        pair(out, "name", &column.name);
        pair(out, "type", column.ty.name());
        if column.hidden {
            text(out, "hidden");
            bool(out, true);
        }
    }
    text(out, "key");
    array(out, schema.key.len());
    for &column in &schema.key {
        uint(out, column as u64);
    }
    text(out, "order");
    array(out, schema.order.len());
    for (column, direction) in &schema.order {
        array(out, 2);
        uint(out, *column as u64);
        text(out, if *direction == Direction::Asc { "asc" } else { "desc" });
    }
    if let Some(limit) = schema.limit {
        text(out, "limit");
        uint(out, limit as u64);
    }
}

fn write_rows(out: &mut Vec<u8>, rows: &[impl AsRef<[Value]>], ty: impl Fn(usize) -> ColumnType) {
    array(out, rows.len());
    for row in rows {
        let row = row.as_ref();
        array(out, row.len());
        for (column, value) in row.iter().enumerate() {
            write_value(out, value, ty(column));
        }
    }
}

/// A value of a column of type `ty`.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value, ty: ColumnType) {
    match wire(value, ty) {
        Wire::Null => out.push(0xc0),
        Wire::Bool(v) => bool(out, v),
        Wire::Int(v) => int(out, v),
        Wire::Digits(v) => text(out, &v.to_string()),
        Wire::Float(v) => {
            out.push(0xcb);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Wire::Text(v) => text(out, v),
    }
}

fn bool(out: &mut Vec<u8>, value: bool) {
    out.push(0xc2 + u8::from(value));
}

fn int(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => uint(out, value.unsigned_abs()),
        -32..0 => out.extend_from_slice(&value.to_be_bytes()[7..]),
        _ => sized(
            out,
            value.to_be_bytes(),
            [
                (0xd0, i8::try_from(value).is_ok()),
                (0xd1, i16::try_from(value).is_ok()),
                (0xd2, i32::try_from(value).is_ok()),
            ],
            0xd3,
        ),
    }
}

fn uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..128 => out.extend_from_slice(&value.to_be_bytes()[7..]),
        _ => sized(
            out,
            value.to_be_bytes(),
            [
                (0xcc, u8::try_from(value).is_ok()),
                (0xcd, u16::try_from(value).is_ok()),
                (0xce, u32::try_from(value).is_ok()),
            ],
            0xcf,
        ),
    }
}

/// The shortest of the forms of one, two, four and eight bytes that holds an integer.
fn sized(out: &mut Vec<u8>, bytes: [u8; 8], shorter: [(u8, bool); 3], longest: u8) {
    let fits = shorter.iter().zip([7, 6, 4]).find(|((_, fits), _)| *fits);
    let (mark, from) = fits.map_or((longest, 0), |((mark, _), from)| (*mark, from));
    out.push(mark);
    out.extend_from_slice(&bytes[from..]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len(), (0xa0, 32), Some(0xd9), 0xda);
    out.extend_from_slice(text.as_bytes());
}

fn pair(out: &mut Vec<u8>, name: &str, value: &str) {
    text(out, name);
    text(out, value);
}

fn array(out: &mut Vec<u8>, len: usize) {
    length(out, len, (0x90, 16), None, 0xdc);
}

fn map(out: &mut Vec<u8>, len: usize) {
    length(out, len, (0x80, 16), None, 0xde);
}

/// A length: within the mark if it is below a bound, else behind a mark, in one, two or four bytes; the mark for
/// four follows that for two. Messages are bounded far below four gigabytes.
#[allow(clippy::cast_possible_truncation)]
fn length(out: &mut Vec<u8>, len: usize, (within, below): (u8, usize), one: Option<u8>, two: u8) {
    match (len, one) {
        _ if len < below => out.push(within | len as u8),
        (..=0xff, Some(one)) => out.extend_from_slice(&[one, len as u8]),
        (..=0xffff, _) => {
            out.push(two);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(two + 1);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}
