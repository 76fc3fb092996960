//! Leaves out the rows of a part that the part hides: those before its visible time, and its dead ones.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::{DataType, Schema, TimestampMicrosecondType, UInt64Type},
};
use datafusion::{
    common::{Result, internal_err},
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
};
use nowcast_store::Part;

/// True for the rows that a part shows.
#[derive(Debug)]
pub(crate) struct Alive {
    part: Arc<Part>,
    seq: Arc<dyn PhysicalExpr>,
    /// The time column; absent in a table without one, whose parts hide no beginning.
    time: Option<Arc<dyn PhysicalExpr>>,
}

impl Alive {
    pub(crate) fn new(
        part: Arc<Part>,
        seq: Arc<dyn PhysicalExpr>,
        time: Option<Arc<dyn PhysicalExpr>>,
    ) -> Alive {
        Alive { part, seq, time }
    }
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alive(part {}, {} dead)", self.part.id, self.part.dead.len())
    }
}

/// Two are equal that ask the same part.
impl PartialEq for Alive {
    fn eq(&self, other: &Alive) -> bool {
        Arc::ptr_eq(&self.part, &other.part) && self.seq.eq(&other.seq) && self.time.eq(&other.time)
    }
}

impl Eq for Alive {}

impl Hash for Alive {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.id.hash(state);
        self.seq.hash(state);
        self.time.hash(state);
    }
}

impl PhysicalExpr for Alive {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let seqs = self.seq.evaluate(batch)?.into_array(rows)?;
        let Some(seqs) = seqs.as_primitive_opt::<UInt64Type>() else {
            return internal_err!("_seq is {}", seqs.data_type());
        };
        let dead = &self.part.dead;
        let mut visible: Vec<bool> = seqs.values().iter().map(|&seq| !dead.contains(seq)).collect();
        if let (Some(time), Some(from_us)) = (&self.time, self.part.visible_from_us) {
            let times = time.evaluate(batch)?.into_array(rows)?;
            let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
                return internal_err!("the time is {}", times.data_type());
            };
            visible.iter_mut().zip(times.values()).for_each(|(visible, &at_us)| *visible &= at_us >= from_us);
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(visible))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        std::iter::once(&self.seq).chain(&self.time).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let time = if self.time.is_some() { children.pop() } else { None };
        let Some(seq) = children.pop() else { return internal_err!("without _seq") };
        Ok(Arc::new(Alive { part: self.part.clone(), seq, time }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
