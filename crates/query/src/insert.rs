//! The rows of INSERT and CREATE TABLE AS, record by record.
//!
//! What fits into one record is one: all of it is there, or nothing. A SELECT that gives more is written in several, one
//! after the other, so that the rows of any query can be kept; what fails in its middle leaves the records before.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{Field, Schema, SchemaRef},
};
use futures::TryStreamExt;
use nowcast_model::{Batch, Event, Item, TableSchema};

use crate::{
    catalog::require_table,
    context::QueryContext,
    convert::convert,
    create,
    engine::{Mode, QueryEngine, QueryResult},
    error::{Place, SqlCode, SqlError},
    failure,
    planned::Planned,
    statement::{CreateTable, Insert, Select, Statement},
    text::Text,
    write::undefined_column,
};

/// Rows of one record in memory.
const RECORD_ROWS_BYTES: usize = 48 << 20;

/// A statement whose rows are being made.
pub struct Inserting {
    /// Goes before the first rows.
    event: Option<Event>,
    schema: TableSchema,
    /// The columns that are filled.
    target: SchemaRef,
    timestamp: Option<usize>,
    result: QueryResult,
    text: Text,
    /// Read, and not handed out.
    next: Option<RecordBatch>,
}

impl Inserting {
    /// # Errors
    /// A name is not there, or types do not fit. `None` if there is nothing to do.
    pub(crate) async fn new(
        engine: &QueryEngine,
        ctx: &QueryContext,
        statement: &Statement,
    ) -> Result<Option<Inserting>, SqlError> {
        match statement {
            Statement::Insert(insert) => Inserting::insert(engine, ctx, insert).await.map(Some),
            Statement::CreateTable(CreateTable { source: Some(source), .. }) => {
                Inserting::create(engine, ctx, statement, source).await
            }
            other => Err(SqlError::new(SqlCode::Internal, format!("{} inserts no rows", other.tag()))),
        }
    }

    async fn create(
        engine: &QueryEngine,
        ctx: &QueryContext,
        statement: &Statement,
        source: &Select,
    ) -> Result<Option<Inserting>, SqlError> {
        let Statement::CreateTable(create) = statement else { return Ok(None) };
        let planned = engine.plan(ctx, source, Mode::Batch)?;
        let Some(schema) = create::schema_of_query(ctx, create, &planned)? else { return Ok(None) };
        let event = Some(Event::CreateTable { schema: schema.clone() });
        let targets: Vec<usize> = (0..schema.columns.len()).collect();
        Inserting::start(engine, ctx, event, schema, &targets, &planned).await.map(Some)
    }

    async fn insert(
        engine: &QueryEngine,
        ctx: &QueryContext,
        insert: &Insert,
    ) -> Result<Inserting, SqlError> {
        let schema = TableSchema::clone(&require_table(ctx, &insert.table)?.schema);
        let targets = targets(&schema, &insert.columns)?;
        let planned = engine.plan(ctx, &insert.source, Mode::Batch)?;
        let width = planned.plan.schema().fields().len();
        if width != targets.len() && !(insert.columns.is_empty() && width < targets.len()) {
            let message = format!("{width} values are given for {} columns", targets.len());
            let error = SqlError::new(SqlCode::Syntax, message).at(insert.source.text.place(0));
            let names: Vec<&str> = targets.iter().map(|&i| &*schema.columns[i].name).collect();
            return Err(error.hint(format!("the columns are {}", names.join(", "))));
        }
        let targets = &targets[..width];
        if let Some(time) = schema.timestamp
            && !targets.contains(&time)
        {
            let message = format!("no value is given for the time column {:?}", &*schema.columns[time].name);
            let error = SqlError::new(SqlCode::Data, message).at(insert.table.place);
            return Err(error.hint("name it among the columns; now() is a value"));
        }
        Inserting::start(engine, ctx, None, schema, targets, &planned).await
    }

    async fn start(
        engine: &QueryEngine,
        ctx: &QueryContext,
        event: Option<Event>,
        schema: TableSchema,
        targets: &[usize],
        planned: &Planned,
    ) -> Result<Inserting, SqlError> {
        let column = |&i: &usize| Field::new(&*schema.columns[i].name, schema.columns[i].ty.arrow(), true);
        let target = Arc::new(Schema::new(targets.iter().map(column).collect::<Vec<Field>>()));
        let timestamp = schema.timestamp.and_then(|time| targets.iter().position(|&t| t == time));
        let result = engine.run(ctx, planned).await?;
        let text = planned.text.clone();
        Ok(Inserting { event, schema, target, timestamp, result, text, next: None })
    }

    /// The items of the next record; `None` behind the last.
    ///
    /// # Errors
    /// A value failed, or does not fit its column.
    pub async fn next(&mut self) -> Result<Option<Vec<Item>>, SqlError> {
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.batch().await? {
            let size = batch.get_array_memory_size();
            if !batches.is_empty() && bytes + size > RECORD_ROWS_BYTES {
                self.next = Some(batch);
                break;
            }
            bytes += size;
            batches.push(batch);
        }
        let mut items: Vec<Item> = self.event.take().map(Item::Event).into_iter().collect();
        let rows = concat_batches(&self.target, &batches);
        let rows = rows.map_err(|e| SqlError::new(SqlCode::Data, e.to_string()))?;
        if rows.num_rows() > 0 {
            let table = self.schema.name.clone();
            items.push(Item::Rows(Batch { table, rows, timestamp: self.timestamp }));
        }
        Ok((!items.is_empty()).then_some(items))
    }

    async fn batch(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        if let Some(batch) = self.next.take() {
            return Ok(Some(batch));
        }
        let failed = |e: &datafusion::error::DataFusionError| failure::locate(e, &self.text, None);
        let Some(batch) = self.result.stream.try_next().await.map_err(|e| failed(&e))? else {
            return Ok(None);
        };
        let columns = batch.columns().iter().zip(self.target.fields());
        let columns =
            columns.map(|(array, field)| convert(array, field).map_err(|e| e.at(self.text.place(0))));
        let rows = RecordBatch::try_new(self.target.clone(), columns.collect::<Result<Vec<_>, _>>()?)
            .map_err(|e| SqlError::new(SqlCode::Internal, e.to_string()))?;
        if let Some(at) = self.timestamp
            && rows.column(at).null_count() > 0
        {
            let message = format!("the time column {:?} cannot be NULL", self.target.field(at).name());
            let error = SqlError::new(SqlCode::Data, message).at(self.text.place(0));
            return Err(error.hint("give every row a time; now() is a value"));
        }
        Ok(Some(rows))
    }
}

/// The table's columns that an INSERT or a COPY fills, in its order.
pub(crate) fn targets(schema: &TableSchema, columns: &[(String, Place)]) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..schema.columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(columns.len());
    for (name, place) in columns {
        let index = schema.index_of(name).ok_or_else(|| undefined_column(schema, name).at(*place))?;
        if targets.contains(&index) {
            let message = format!("the column {name:?} is named twice");
            return Err(SqlError::new(SqlCode::DuplicateColumn, message).at(*place));
        }
        targets.push(index);
    }
    Ok(targets)
}
