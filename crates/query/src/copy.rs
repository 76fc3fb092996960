//! Where the rows of `COPY … FROM STDIN` go.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::{Field, Schema, SchemaRef},
};
use nowcast_model::{Batch, ColumnType, TableName};

use crate::{
    catalog::require_table,
    context::QueryContext,
    convert::convert,
    engine::QueryEngine,
    error::{Place, SqlCode, SqlError},
    insert::targets,
    statement::NameRef,
};

/// A table's columns in the order in which COPY fills them.
#[derive(Debug, Clone)]
pub struct CopyTarget {
    table: TableName,
    schema: SchemaRef,
    types: Vec<ColumnType>,
    timestamp: Option<usize>,
}

impl QueryEngine {
    /// The columns that COPY fills.
    ///
    /// # Errors
    /// The table or a column is not there, or the time column is left out.
    pub fn copy_target(
        &self,
        ctx: &QueryContext,
        table: &NameRef,
        columns: &[(String, Place)],
    ) -> Result<CopyTarget, SqlError> {
        let schema = require_table(ctx, table)?.schema.clone();
        let targets = targets(&schema, columns)?;
        let timestamp = schema.timestamp.and_then(|time| targets.iter().position(|&t| t == time));
        if let Some(time) = schema.timestamp
            && timestamp.is_none()
        {
            let message = format!("no value is given for the time column {:?}", &*schema.columns[time].name);
            let error = SqlError::new(SqlCode::Data, message).at(table.place);
            return Err(error.hint("name it among the columns"));
        }
        let columns: Vec<_> = targets.iter().map(|&i| &schema.columns[i]).collect();
        let fields: Vec<_> = columns.iter().map(|c| Field::new(&*c.name, c.ty.arrow(), true)).collect();
        Ok(CopyTarget {
            table: schema.name.clone(),
            schema: Arc::new(Schema::new(fields)),
            types: columns.iter().map(|c| c.ty).collect(),
            timestamp,
        })
    }
}

impl CopyTarget {
    /// The columns' types.
    pub fn types(&self) -> &[ColumnType] {
        &self.types
    }

    /// The columns' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// Rows as text, or in a type that stands for the column's, as rows of the table.
    ///
    /// # Errors
    /// A value does not fit its column, or the time is NULL.
    pub fn batch(&self, columns: &[ArrayRef]) -> Result<Batch, SqlError> {
        let converted: Result<Vec<ArrayRef>, SqlError> =
            columns.iter().zip(self.schema.fields()).map(|(array, field)| convert(array, field)).collect();
        let rows = RecordBatch::try_new(self.schema.clone(), converted?)
            .map_err(|e| SqlError::new(SqlCode::Internal, e.to_string()))?;
        if let Some(at) = self.timestamp
            && rows.column(at).null_count() > 0
        {
            let message = format!("the time column {:?} cannot be NULL", self.schema.field(at).name());
            return Err(SqlError::new(SqlCode::Data, message).hint("give every row a time"));
        }
        Ok(Batch { table: self.table.clone(), rows, timestamp: self.timestamp })
    }
}
