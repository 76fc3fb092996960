//! A query with its plan.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    execution::SessionState,
    logical_expr::{ExplainOption, Expr, LogicalPlan, expr::Placeholder},
};
use nowcast_model::TableName;
use nowcast_store::TableVersion;

use crate::{
    engine::rename,
    error::{SqlCode, SqlError},
    failure, functions,
    stand_in::{self, Placed},
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
    /// The types of parameters that constants stand in for.
    pub(crate) placed: Placed,
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

/// The types of `$1`, `$2`, … in a plan: of each the first that a place of it tells.
pub(crate) fn parameter_types(planned: &Planned) -> Result<Vec<Option<DataType>>, SqlError> {
    let mut types: Vec<Option<DataType>> = Vec::new();
    let mut add = |index: usize, ty: Option<DataType>| {
        if types.len() <= index {
            types.resize(index + 1, None);
        }
        if types[index].is_none() {
            types[index] = ty;
        }
    };
    for (index, ty) in &planned.placed {
        add(*index, Some(ty.clone()));
    }
    let mut wrong = None;
    let found = planned.plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                for (id, ty) in functions::argument_types(expr) {
                    if let Some(index) = stand_in::index(id) {
                        add(index, Some(ty));
                    }
                }
                if let Expr::Placeholder(Placeholder { id, field }) = expr {
                    match stand_in::index(id) {
                        Some(index) => add(index, field.as_ref().map(|field| field.data_type().clone())),
                        None => wrong = Some(id.clone()),
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found.map_err(|e| failure::of(&e))?;
    match wrong.filter(|id| id[1..].parse::<u64>().is_ok()) {
        Some(id) => {
            let error = SqlError::new(SqlCode::Parameter, format!("{id} is not a parameter's number"));
            Err(error.hint("count from $1").at(planned.text.place(0)))
        }
        None => Ok(types),
    }
}
