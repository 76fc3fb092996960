//! A query with its plan.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::{
    execution::SessionState,
    logical_expr::{ExplainOption, LogicalPlan},
};
use nowcast_model::TableName;
use nowcast_store::TableVersion;

use crate::{
    engine::rename,
    error::{SqlCode, SqlError},
    failure,
    text::Text,
};

/// A query that was planned.
pub(crate) struct Planned {
    /// Functions and settings that it was planned with.
    pub(crate) state: SessionState,
    /// Not analysed yet.
    pub(crate) plan: LogicalPlan,
    /// What to call the columns of the result; empty for their own names.
    pub(crate) names: Vec<String>,
    /// The snapshot's tables that it reads, by key.
    pub(crate) found: BTreeMap<TableName, Arc<TableVersion>>,
    /// True if it reads something else, too: system tables, functions.
    pub(crate) found_other: bool,
    /// The query after all rewriting: equal for queries that are the same but for spacing and case.
    pub(crate) sql: String,
    /// What the user wrote.
    pub(crate) text: Text,
}

impl Planned {
    /// The columns of the result.
    pub(crate) fn schema(&self) -> SchemaRef {
        let schema = self.plan.schema().as_arrow();
        match self.names.is_empty() {
            true => Arc::new(schema.clone()),
            false => rename(schema, &self.names),
        }
    }

    /// Which column of the result is the designated time of a table that was read.
    pub(crate) fn designated(&self) -> Option<usize> {
        let is_time = |name: &str| {
            let mut times = self.found.values().filter_map(|table| table.schema.timestamp_column());
            times.any(|column| *column.name == *name)
        };
        let fields = self.plan.schema().fields();
        fields
            .iter()
            .position(|field| matches!(field.data_type(), DataType::Timestamp(..)) && is_time(field.name()))
    }
}

/// In the metadata of a result's schema: the index of the designated time column.
const DESIGNATED: &str = "nowcast.designated";

/// `schema` with the mark that [`designated`] reads.
pub(crate) fn mark_designated(schema: &SchemaRef, index: Option<usize>) -> SchemaRef {
    let Some(index) = index else { return schema.clone() };
    let mut metadata = schema.metadata().clone();
    metadata.insert(DESIGNATED.to_owned(), index.to_string());
    Arc::new(schema.as_ref().clone().with_metadata(metadata))
}

/// Which column of a query's result is the designated time of the table that it read.
pub fn designated(schema: &Schema) -> Option<usize> {
    let index = schema.metadata().get(DESIGNATED)?.parse().ok()?;
    (index < schema.fields().len()).then_some(index)
}

/// EXPLAIN's options.
pub(crate) fn explain_options(analyze: bool, verbose: bool) -> ExplainOption {
    ExplainOption::default().with_analyze(analyze).with_verbose(verbose)
}

/// The types of `$1`, `$2`, … in a plan.
pub(crate) fn parameter_types(planned: &Planned) -> Result<Vec<Option<DataType>>, SqlError> {
    let types = planned.plan.get_parameter_types().map_err(|e| failure::of(&e))?;
    let mut params = Vec::new();
    for (name, ty) in types {
        let Some(number) = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) else { continue };
        if number == 0 || number > 65_535 {
            let error = SqlError::new(SqlCode::Parameter, format!("{name} is not a parameter's number"));
            return Err(error.hint("count from $1").at(planned.text.place(0)));
        }
        if params.len() < number {
            params.resize(number, None);
        }
        params[number - 1] = ty;
    }
    Ok(params)
}
