//! Rows that are sent as they are made, some at a time if the client asks for that.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::BufMut;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pgwire::api::Type;

use super::{
    encode::{Column, plain, type_size, wire_type},
    error::{Failure, WireError},
    socket::{Writer, text},
};
use crate::sql::Rows;

/// Where rows come from.
pub(super) enum Batches {
    /// A query of ours.
    Ours(Rows),
    /// One of the catalogue's.
    Catalogue(SendableRecordBatchStream),
}

impl Batches {
    async fn next(&mut self) -> Option<Result<RecordBatch, WireError>> {
        match self {
            Batches::Ours(rows) => Some(rows.next().await?.map_err(WireError::from)),
            Batches::Catalogue(stream) => Some(stream.next().await?.map_err(|e| WireError::from(&e))),
        }
    }
}

/// Rows that are sent between two looks at the time.
const ROWS_UNTIMED: usize = 64;

/// A result that may be read piece by piece.
pub(super) struct Source {
    batches: Batches,
    /// In the wire's types.
    pub(super) schema: SchemaRef,
    current: Option<(RecordBatch, usize)>,
    ended: bool,
}

impl Source {
    pub(super) fn new(batches: Batches, schema: SchemaRef) -> Source {
        Source { batches, schema, current: None, ended: false }
    }

    /// The next rows that were not taken yet, from the index on; `None` at the end.
    pub(super) async fn batch(&mut self) -> Result<Option<(RecordBatch, usize)>, WireError> {
        if let Some(current) = self.current.take() {
            return Ok(Some(current));
        }
        while !self.ended {
            match self.batches.next().await {
                None => self.ended = true,
                Some(batch) => {
                    let batch = plain(&batch?, &self.schema)?;
                    if batch.num_rows() > 0 {
                        return Ok(Some((batch, 0)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Asked before each row that is sent.
    ///
    /// # Errors
    /// The statement's time is up.
    pub(super) fn check_time(&self, row: usize) -> Result<(), WireError> {
        match &self.batches {
            Batches::Ours(rows) if row.is_multiple_of(ROWS_UNTIMED) => Ok(rows.check_time()?),
            _ => Ok(()),
        }
    }

    /// Sends rows, `max` at most; how many, and whether more may follow.
    pub(super) async fn send(
        &mut self,
        writer: &mut Writer,
        formats: &Formats,
        max: Option<u64>,
        skip: bool,
    ) -> Result<(u64, bool), Failure> {
        let mut sent = 0;
        let binary = formats.all(self.schema.fields().len());
        while max.is_none_or(|max| sent < max) {
            let Some((batch, from)) = self.batch().await? else { return Ok((sent, false)) };
            let left = max.map_or(u64::MAX, |max| max - sent);
            let until =
                batch.num_rows().min(from.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            if !skip {
                let columns = columns(&batch)?;
                for row in from..until {
                    self.check_time(row)?;
                    writer.row(&columns, &binary, row);
                    writer.make_room().await?;
                }
            }
            sent += (until - from) as u64;
            if until < batch.num_rows() {
                self.current = Some((batch, until));
            }
        }
        Ok((sent, true))
    }
}

/// The columns of a batch that [`plain`] made.
pub(super) fn columns(batch: &RecordBatch) -> Result<Vec<Column<'_>>, WireError> {
    let column = |array| {
        Column::new(array).ok_or_else(|| WireError::new("XX000", "a column has a type that the wire has not"))
    };
    batch.columns().iter().map(column).collect()
}

/// The formats that a client wants its columns in.
#[derive(Debug, Clone, Default)]
pub(super) struct Formats(Arc<[i16]>);

impl Formats {
    /// Text for all if there are none, one for all, or one for each.
    ///
    /// # Errors
    /// Their number fits no result of `columns` columns.
    pub(super) fn new(codes: Vec<i16>, columns: usize) -> Result<Formats, WireError> {
        let count = codes.len();
        if count > 1 && count != columns {
            let message = format!("{count} formats were sent for {columns} columns");
            return Err(WireError::new("08P01", message));
        }
        if codes.iter().any(|code| !matches!(code, 0 | 1)) {
            return Err(WireError::new("22023", "a format is 0 for text or 1 for binary"));
        }
        Ok(Formats(codes.into()))
    }

    /// Binary for all.
    pub(super) fn binary() -> Formats {
        Formats(Arc::new([1]))
    }

    /// True for each column in binary.
    pub(super) fn all(&self, columns: usize) -> Vec<bool> {
        (0..columns).map(|i| self.is_binary(i)).collect()
    }

    fn is_binary(&self, column: usize) -> bool {
        match &*self.0 {
            [] => false,
            [one] => *one == 1,
            many => many.get(column) == Some(&1),
        }
    }
}

/// Sends the names and types of a result's columns; that there are none if there are none.
pub(super) fn describe(writer: &mut Writer, schema: Option<&SchemaRef>, formats: &Formats) {
    let Some(schema) = schema else { return writer.put(b'n', |_| {}) };
    writer.put(b'T', |out| {
        out.put_u16(u16::try_from(schema.fields().len()).unwrap_or(u16::MAX));
        for (i, field) in schema.fields().iter().enumerate() {
            let ty = wire_type(field);
            text(out, field.name());
            // No table, no column of it.
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(ty.oid());
            out.put_i16(type_size(&ty));
            out.put_i32(-1);
            out.put_u16(formats.is_binary(i).into());
        }
    });
}

/// Sends the types of parameters.
pub(super) fn describe_params(writer: &mut Writer, types: &[Type]) {
    writer.put(b't', |out| {
        out.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
        for ty in types {
            out.put_u32(ty.oid());
        }
    });
}
