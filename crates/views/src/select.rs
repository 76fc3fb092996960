//! The state of a grouped subquery: rows in, changed groups out, once a moment.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{
    Row, Select, ViewError,
    aggregate::Signs,
    cells::column_of,
    flow::{Event, FlowState, Making, Moved},
    groups::Groups,
    source::projected,
};

/// See the module's story.
pub(crate) struct SelectState {
    flow: FlowState,
    groups: Groups,
    output: SchemaRef,
}

impl SelectState {
    /// Without rows. `names` is what the plan says of the output.
    pub(crate) fn new(
        select: &Select,
        names: &SchemaRef,
        making: &mut Making,
    ) -> Result<SelectState, ViewError> {
        let Select { flow, keys, aggregates, having, project } = select;
        let empty = RecordBatch::new_empty(Arc::clone(&flow.input));
        let retracts = making.retracts || !flow.only_inserts();
        let groups = Groups::new(keys, aggregates, project, having.as_ref(), &empty, retracts)?;
        let output = projected(project, groups.results(), names)?;
        Ok(SelectState { flow: FlowState::new(flow, making)?, groups, output })
    }

    /// Takes an event; what moved is put behind `out`: all that goes before all that comes.
    pub(crate) fn take(&mut self, event: Event<'_>, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        let mut moved = Vec::new();
        self.flow.take(event, &mut moved)?;
        for Moved { rows, weights } in moved {
            let columns = self.groups.prepare(&rows)?;
            self.groups.apply(&columns, Signs { weights: weights.as_deref(), sign: 1 })?;
        }
        if let Event::Settle = event {
            let turns = self.groups.collect()?;
            let (gone, come): (Vec<_>, Vec<_>) = turns.into_iter().unzip();
            for (rows, weight) in [(gone, -1), (come, 1)] {
                let rows: Vec<Row> = rows.into_iter().flatten().collect();
                if !rows.is_empty() {
                    let weights = (weight < 0).then(|| vec![-1; rows.len()]);
                    out.push(self.rows(&rows, weights)?);
                }
            }
        }
        Ok(())
    }

    /// As [`crate::flow::Node::is_lost`].
    pub(crate) fn is_lost(&self) -> bool {
        self.groups.is_lost() || self.flow.is_lost()
    }

    /// All rows there are.
    pub(crate) fn content(&self) -> Result<Vec<Moved>, ViewError> {
        let shown: Vec<Row> = self.groups.shown().cloned().collect();
        Ok(vec![self.rows(&shown, None)?])
    }

    fn rows(&self, rows: &[Row], weights: Option<Vec<i8>>) -> Result<Moved, ViewError> {
        let column = |(at, field): (usize, &Arc<arrow::datatypes::Field>)| {
            column_of(&rows.iter().map(|row| Some(&row[at])).collect::<Vec<_>>(), field.data_type())
        };
        let columns = self.output.fields().iter().enumerate().map(column).collect::<Result<_, _>>()?;
        Moved::of(&self.output, columns, weights, rows.len())
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.flow.bytes() + self.groups.bytes()
    }
}
