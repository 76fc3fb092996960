//! Filters of joins that ask whether they are to end.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use datafusion::{
    common::{Result, internal_err},
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::lit},
    physical_plan::joins::utils::JoinFilter,
};

use super::Interrupt;

/// `filter`, or one that is always true, which asks for each batch of pairs.
pub(super) fn filter(filter: Option<&JoinFilter>, interrupt: &Interrupt) -> JoinFilter {
    let (inner, columns, schema) = match filter {
        Some(filter) => {
            (Arc::clone(filter.expression()), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
        }
        None => (lit(true), Vec::new(), Arc::new(Schema::empty())),
    };
    JoinFilter::new(Arc::new(Checked { inner, interrupt: interrupt.clone() }), columns, schema)
}

#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Interrupt,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Checked {
    fn eq(&self, other: &Checked) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.interrupt.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(inner) = children.pop() else { return internal_err!("without a filter") };
        Ok(Arc::new(Checked { inner, interrupt: self.interrupt.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
