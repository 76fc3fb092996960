//! What a statement runs against.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::array::RecordBatch;
use nowcast_model::{TableName, TableSchema};
use nowcast_store::{Snapshot, Written};

use crate::{params::Params, yielding::Interrupt};

/// What a statement runs against: one snapshot, one present, one session.
#[derive(Clone)]
pub struct QueryContext {
    /// The tables, at one position.
    pub snapshot: Arc<Snapshot>,
    /// What `now()` says, in microseconds since 1970 UTC.
    pub now_us: i64,
    /// Schemas in which a name without one is looked for; tables are made in the first. Empty means `public`.
    pub search_path: Vec<String>,
    /// The values of placeholders.
    pub params: Params,
    /// Session variables, for SHOW; names in lower case.
    pub variables: BTreeMap<String, String>,
    /// What the server knows and a snapshot does not: tables beside the snapshot's, figures about them.
    pub system: Option<Arc<dyn SystemTables>>,
    /// Part of the identity of live views: who may see other rows gets another view.
    pub tenant: String,
    /// Ends the statement, wherever it is.
    pub interrupt: Interrupt,
}

impl QueryContext {
    /// A context without session and parameters.
    pub fn new(snapshot: Arc<Snapshot>, now_us: i64) -> QueryContext {
        QueryContext {
            snapshot,
            now_us,
            search_path: Vec::new(),
            params: Params::default(),
            variables: BTreeMap::new(),
            system: None,
            tenant: String::new(),
            interrupt: Interrupt::default(),
        }
    }

    /// The same with parameters.
    #[must_use]
    pub fn with_params(mut self, params: Params) -> QueryContext {
        self.params = params;
        self
    }

    /// The search path, never empty.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = &str> {
        let none = self.search_path.is_empty().then_some(TableName::PUBLIC);
        // PostgreSQL's default path begins with a schema named as the user, which is never there.
        self.search_path.iter().map(String::as_str).filter(|s| *s != "$user").chain(none)
    }
}

impl fmt::Debug for QueryContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryContext")
            .field("position", &self.snapshot.position)
            .field("now_us", &self.now_us)
            .field("search_path", &self.search_path)
            .finish_non_exhaustive()
    }
}

/// What the server knows and a snapshot does not.
pub trait SystemTables: Send + Sync {
    /// The names of tables that the server fills, read whole: small by their own bounds.
    fn tables(&self) -> Vec<TableName>;

    /// The rows of one.
    fn table(&self, name: &TableName) -> Option<RecordBatch>;

    /// Bytes written to the parts of each table since the start, by [`TableName::key`].
    fn written(&self) -> BTreeMap<TableName, Written>;

    /// True for a table of the snapshot that the server writes itself: nobody made it.
    fn is_own(&self, schema: &TableSchema) -> bool;
}
