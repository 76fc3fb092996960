//! What is admitted: the tables as of the last *queued* record, and the gate into the log.
//!
//! A write is conformed to its tables without a lock, against the catalogue of that moment; then, under the
//! lock, the catalogue is compared, the items are queued, and the catalogue moves on. If another write moved
//! it in between, conforming starts again, the last time under the lock: a stream of new tables cannot
//! starve a writer. So the order in the log is the order of admission, and every record fits the tables that
//! the records before it left.
//!
//! While the log is replayed the catalogue follows what is applied; from the first admission on it runs
//! ahead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use nowcast_model::{Event, Item, TableName, TableSchema, name_key};

use crate::{
    Refusal, RefusalKind, Snapshot,
    conform::{Conformed, conform, missing_table},
};

/// Tries without the lock before one with it.
const OPTIMISTIC_TRIES: usize = 3;

/// Tables and schemas, without rows.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The tables by [`TableName::key`].
    pub tables: BTreeMap<TableName, Arc<TableSchema>>,
    /// The schemas as they were first written.
    pub schemas: BTreeSet<String>,
}

impl Catalog {
    pub(crate) fn of(snapshot: &Snapshot) -> Catalog {
        let tables = snapshot.tables.iter().map(|(key, version)| (key.clone(), version.schema.clone()));
        Catalog { tables: tables.collect(), schemas: snapshot.schemas.clone() }
    }

    /// The table called `name`, matched without case.
    pub fn table(&self, name: &TableName) -> Option<&Arc<TableSchema>> {
        self.tables.get(name).or_else(|| self.tables.get(&name.key()))
    }

    /// True if there is a schema called `name`, matched without case.
    pub fn has_schema(&self, name: &str) -> bool {
        self.schemas.contains(name) || self.schemas.iter().any(|s| name_key(s) == name_key(name))
    }
}

/// See the module.
pub struct Registry {
    catalog: ArcSwap<Catalog>,
    /// Whether something was admitted. A std Mutex: held to compare, queue and swap, never across a wait.
    admitted: Mutex<bool>,
}

impl Registry {
    pub(crate) fn new(catalog: Catalog) -> Registry {
        Registry { catalog: ArcSwap::from_pointee(catalog), admitted: Mutex::new(false) }
    }

    /// Takes over the applied tables, as long as the log is being replayed.
    pub(crate) fn replayed(&self, snapshot: &Snapshot) {
        let admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if !*admitted {
            self.catalog.store(Arc::new(Catalog::of(snapshot)));
        }
    }

    /// The catalogue of this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The table called `name`, matched without case.
    pub fn table(&self, name: &TableName) -> Option<Arc<TableSchema>> {
        self.catalog.load().table(name).cloned()
    }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<TableSchema>> {
        self.catalog.load().tables.values().cloned().collect()
    }

    /// All schemas, by name.
    pub fn schemas(&self) -> Vec<String> {
        self.catalog.load().schemas.iter().cloned().collect()
    }

    /// Conforms items to their tables and queues them: columns in the table's order, spelling and type, the
    /// batch's time under the table's name for it, and before a batch the events that it needs (a new
    /// schema, table or columns). Events that would change nothing (a table that exists) are left out, and
    /// batches without rows too, so `enqueue` may get an empty list.
    ///
    /// `enqueue` runs under the registry's lock and must only queue. It is taken to succeed: if it cannot,
    /// the log must refuse all later writes as well.
    ///
    /// # Errors
    /// The first item that does not fit, with table, column, cause, hint, batch and row. Nothing was queued.
    pub fn admit<R>(&self, items: Vec<Item>, enqueue: impl FnOnce(Vec<Item>) -> R) -> Result<R, Refusal> {
        self.admit_checked(items, |_| Ok(()), enqueue)
    }

    /// As [`Registry::admit`], if `check` agrees with the catalogue that the items are admitted to.
    ///
    /// # Errors
    /// As [`Registry::admit`], or what `check` says.
    pub fn admit_checked<R>(
        &self,
        items: Vec<Item>,
        check: impl Fn(&Catalog) -> Result<(), Refusal>,
        enqueue: impl FnOnce(Vec<Item>) -> R,
    ) -> Result<R, Refusal> {
        for _ in 0..OPTIMISTIC_TRIES {
            let base = self.catalog.load_full();
            check(&base)?;
            let conformed = conform(&base, &items)?;
            let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&base, &self.catalog.load()) {
                *admitted = true;
                return Ok(self.queue(conformed, enqueue));
            }
        }
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.catalog.load_full();
        check(&base)?;
        let conformed = conform(&base, &items)?;
        *admitted = true;
        Ok(self.queue(conformed, enqueue))
    }

    /// With the lock held.
    fn queue<R>(&self, conformed: Conformed, enqueue: impl FnOnce(Vec<Item>) -> R) -> R {
        if let Some(catalog) = conformed.catalog {
            self.catalog.store(Arc::new(catalog));
        }
        enqueue(conformed.items)
    }

    /// `CREATE TABLE`. `None` if the table exists and may.
    ///
    /// # Errors
    /// If the table exists and may not, its schema does not exist, or it cannot look so.
    pub fn create_table<R>(
        &self,
        schema: TableSchema,
        if_not_exists: bool,
        enqueue: impl FnOnce(Vec<Item>) -> R,
    ) -> Result<Option<R>, Refusal> {
        let name = schema.name.clone();
        let check = |catalog: &Catalog| {
            let refuse = |kind, cause: &str, hint: String| {
                let (table, cause) = (name.to_string(), cause.to_owned());
                Err(Refusal { kind, table, column: None, cause, hint, batch: 0, row: None })
            };
            if catalog.table(&name).is_some() && !if_not_exists {
                let hint = "choose another name, drop the table, or use CREATE TABLE IF NOT EXISTS";
                return refuse(RefusalKind::Exists, "the table exists already", hint.into());
            }
            if !catalog.has_schema(&name.schema) {
                let cause = format!("the schema {:?} does not exist", name.schema);
                return refuse(RefusalKind::Missing, &cause, format!("CREATE SCHEMA {} first", name.schema));
            }
            Ok(())
        };
        let items = vec![Item::Event(Event::CreateTable { schema })];
        self.admit_checked(items, check, |items| (!items.is_empty()).then(|| enqueue(items)))
    }

    /// `DROP TABLE`. `None` if the table does not exist and need not.
    ///
    /// # Errors
    /// If the table does not exist and must.
    pub fn drop_table<R>(
        &self,
        name: &TableName,
        if_exists: bool,
        enqueue: impl FnOnce(Vec<Item>) -> R,
    ) -> Result<Option<R>, Refusal> {
        if self.table(name).is_none() {
            return if if_exists { Ok(None) } else { Err(missing_table(name, 0)) };
        }
        let items = vec![Item::Event(Event::DropTable { table: name.clone() })];
        match self.admit(items, enqueue) {
            Ok(queued) => Ok(Some(queued)),
            // Somebody else was faster.
            Err(refusal) if refusal.kind == RefusalKind::Missing && if_exists => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// `CREATE SCHEMA`. `None` if the schema exists and may.
    ///
    /// # Errors
    /// If the schema exists and may not, or the name breaks the rules.
    pub fn create_schema<R>(
        &self,
        schema: &str,
        if_not_exists: bool,
        enqueue: impl FnOnce(Vec<Item>) -> R,
    ) -> Result<Option<R>, Refusal> {
        let check = |catalog: &Catalog| {
            if !catalog.has_schema(schema) || if_not_exists {
                return Ok(());
            }
            Err(Refusal {
                kind: RefusalKind::Exists,
                table: schema.to_owned(),
                column: None,
                cause: "the schema exists already".into(),
                hint: "choose another name, or use CREATE SCHEMA IF NOT EXISTS".into(),
                batch: 0,
                row: None,
            })
        };
        let items = vec![Item::Event(Event::CreateSchema { schema: schema.to_owned() })];
        self.admit_checked(items, check, |items| (!items.is_empty()).then(|| enqueue(items)))
    }
}
