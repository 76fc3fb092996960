//! The visible rows of a part, batch by batch.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::{Field, FieldRef, Fields, Schema, SchemaRef, TimestampMicrosecondType},
};
use nowcast_model::{ColumnType, TableSchema, limits::HOT_BATCH_ROWS};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    file::{metadata::RowGroupMetaData, statistics::Statistics},
};

use super::{Part, open::Chunks};
use crate::{
    StoreError,
    columns::nulls,
    upsert::{any_within, seqs},
};

/// Where a file with these fields holds the column at `index`. Mostly where the table has it: unless columns were dropped.
pub(crate) fn place(fields: &Fields, schema: &TableSchema, index: usize) -> Option<usize> {
    let name = schema.columns[index].file_name();
    let is_it = |field: &FieldRef| field.name() == name;
    match fields.get(index).is_some_and(is_it) {
        true => Some(index),
        false => fields.iter().position(is_it),
    }
}

type Builder = ParquetRecordBatchReaderBuilder<Chunks>;

impl Part {
    /// Reads the visible rows in the file's order, in batches of at most [`HOT_BATCH_ROWS`]: the columns
    /// `columns` (indices into `schema.columns`, ascending, no repeats) with NULL for those that the part is
    /// older than, then `_seq`. `schema` is the table's at the time of the snapshot.
    ///
    /// # Errors
    /// If the file cannot be opened or its footer read; the iterator reports what follows.
    pub fn read(&self, schema: &TableSchema, columns: &[usize]) -> Result<PartRows, StoreError> {
        self.rows(self.builder()?, schema, columns)
    }

    fn builder(&self) -> Result<Builder, StoreError> {
        let open = self.open()?;
        let footer = open.footer.arrow.clone();
        Ok(Builder::new_with_metadata(Chunks(Arc::new(open)), footer))
    }

    /// As [`Part::read`], without row groups that hold none of `times` (ascending).
    pub(crate) fn read_at_times(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        times: &[i64],
    ) -> Result<PartRows, StoreError> {
        let builder = self.builder()?;
        let Some(time) = schema.timestamp else { return self.rows(builder, schema, columns) };
        let Some(time) = place(builder.schema().fields(), schema, time) else {
            return self.rows(builder, schema, columns);
        };
        let holds = |group: &RowGroupMetaData| match group.column(time).statistics() {
            Some(Statistics::Int64(times_of)) => match (times_of.min_opt(), times_of.max_opt()) {
                (Some(&min_us), Some(&max_us)) => any_within(times, min_us, max_us),
                _ => true,
            },
            _ => true,
        };
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| holds(group)).map(|(index, _)| index).collect();
        self.rows(builder.with_row_groups(groups), schema, columns)
    }

    fn rows(
        &self,
        builder: Builder,
        schema: &TableSchema,
        columns: &[usize],
    ) -> Result<PartRows, StoreError> {
        let fields = builder.schema().fields();
        let places: Vec<Option<usize>> = columns.iter().map(|&c| place(fields, schema, c)).collect();
        let mut wanted: Vec<usize> = places.iter().copied().flatten().collect();
        let masked_by = schema.timestamp.filter(|_| self.visible_from_us.is_some());
        let time = masked_by.and_then(|time| place(fields, schema, time));
        wanted.extend(time.filter(|t| !wanted.contains(t)));
        wanted.sort_unstable();
        let mask =
            ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied().chain([self.columns]));
        let reader = builder
            .with_projection(mask)
            .with_batch_size(HOT_BATCH_ROWS)
            .build()
            .map_err(|e| StoreError::BadPart { path: self.path.clone(), cause: e.to_string() })?;
        let stored = schema.stored();
        let mut fields: Vec<Field> = columns.iter().map(|&c| stored.field(c).clone()).collect();
        fields.push(stored.field(schema.columns.len()).clone());
        Ok(PartRows {
            part: self.clone(),
            reader,
            schema: Arc::new(Schema::new(fields)),
            columns: columns
                .iter()
                .zip(places)
                .map(|(&c, place)| {
                    (place.and_then(|p| wanted.iter().position(|&w| w == p)), schema.columns[c].ty)
                })
                .collect(),
            time: time.and_then(|t| wanted.iter().position(|&w| w == t)),
            from_us: self.visible_from_us,
            before_us: None,
        })
    }

    /// Those of `seqs` that the part holds and shows.
    pub(crate) fn holds(&self, schema: &TableSchema, wanted: &[u64]) -> Result<Vec<u64>, StoreError> {
        let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
        let mut here = Vec::new();
        for rows in self.read(schema, &[])? {
            here.extend(seqs(&rows?).iter().filter(|seq| wanted.contains(seq)));
        }
        Ok(here)
    }

    /// As [`Part::read`] with all columns, for the rows of a stretch of time only.
    pub(crate) fn read_between(
        &self,
        schema: &TableSchema,
        times: Range<i64>,
    ) -> Result<PartRows, StoreError> {
        let from_us = self.visible_from_us.unwrap_or(i64::MIN).max(times.start);
        let masked = Part { visible_from_us: Some(from_us), ..self.clone() };
        let all: Vec<usize> = (0..schema.columns.len()).collect();
        Ok(PartRows { before_us: Some(times.end), ..masked.read(schema, &all)? })
    }
}

/// The rows of a part, batch by batch. Keeps the file from being removed.
pub struct PartRows {
    part: Part,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// For each output column its place in what the reader returns, or its type if it is not there.
    columns: Vec<(Option<usize>, ColumnType)>,
    time: Option<usize>,
    from_us: Option<i64>,
    before_us: Option<i64>,
}

impl PartRows {
    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        for &(place, ty) in &self.columns {
            columns.push(match place {
                Some(index) => batch.column(index).clone(),
                None => nulls(ty, batch.num_rows()),
            });
        }
        columns.push(batch.column(batch.num_columns() - 1).clone());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let times = self.time.and_then(|t| batch.column(t).as_primitive_opt::<TimestampMicrosecondType>());
        let dead = &self.part.dead;
        if times.is_none() && dead.is_empty() {
            return Ok(rows);
        }
        let from_us = self.from_us.unwrap_or(i64::MIN);
        // A part has no NULL times, and i64::MAX is past what is admitted.
        let before_us = self.before_us.unwrap_or(i64::MAX);
        let in_time = |row| times.is_none_or(|t| t.value(row) >= from_us && t.value(row) < before_us);
        let visible: BooleanArray = seqs(&rows)
            .iter()
            .enumerate()
            .map(|(row, &seq)| Some(in_time(row) && !dead.contains(seq)))
            .collect();
        Ok(filter_record_batch(&rows, &visible)?)
    }
}

impl Iterator for PartRows {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let conformed = match self.reader.next()? {
                Ok(batch) => self.conform(&batch),
                Err(error) => {
                    Err(StoreError::BadPart { path: self.part.path.clone(), cause: error.to_string() })
                }
            };
            match conformed {
                Ok(rows) if rows.num_rows() == 0 => {}
                other => return Some(other),
            }
        }
    }
}
