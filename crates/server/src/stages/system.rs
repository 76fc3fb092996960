//! What SQL may ask the server about itself, besides the tables that are stored.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use nowcast_log::Damage;
use nowcast_model::{TableName, TableSchema};
use nowcast_query::SystemTables;
use nowcast_store::{Store, Written};

use super::is_own;

/// The table of what the log lost.
const DAMAGED: &str = "damaged";

/// The schema of such tables: QuestDB's word.
const SCHEMA: &str = "sys";

/// Answers queries about the server.
pub(super) struct System {
    store: Arc<Store>,
    damaged: RecordBatch,
}

impl System {
    /// `damages` is what the start found.
    pub(super) fn new(store: Arc<Store>, damages: &[Damage]) -> System {
        System { store, damaged: damaged(damages) }
    }
}

impl SystemTables for System {
    fn tables(&self) -> Vec<TableName> {
        vec![TableName::new(SCHEMA, DAMAGED)]
    }

    fn table(&self, name: &TableName) -> Option<RecordBatch> {
        (*name == TableName::new(SCHEMA, DAMAGED)).then(|| self.damaged.clone())
    }

    fn written(&self) -> BTreeMap<TableName, Written> {
        self.store.written()
    }

    fn is_own(&self, schema: &TableSchema) -> bool {
        is_own(schema)
    }
}

fn damaged(damages: &[Damage]) -> RecordBatch {
    let text = |get: &dyn Fn(&Damage) -> Option<String>| -> ArrayRef {
        Arc::new(damages.iter().map(get).collect::<StringArray>())
    };
    let long = |get: fn(&Damage) -> u64| -> ArrayRef {
        let cells = damages.iter().map(|damage| i64::try_from(get(damage)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(cells))
    };
    let columns = [
        ("file", text(&|damage| Some(damage.path.display().to_string()))),
        ("fromByte", long(|damage| damage.from)),
        ("toByte", long(|damage| damage.to)),
        ("firstOffset", long(|damage| damage.first.get())),
        ("endOffset", long(|damage| damage.end.get())),
        ("cause", text(&|damage| Some(damage.cause.to_string()))),
        ("copy", text(&|damage| damage.quarantine.as_ref().map(|copy| copy.display().to_string()))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, cells)| (name, cells, true)))
        .expect("every column has a cell for each damage")
}
