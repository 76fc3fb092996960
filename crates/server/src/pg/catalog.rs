//! The tables in PostgreSQL's own terms: `pg_catalog`, `information_schema`, and the functions that clients
//! ask on connecting.
//!
//! One DataFusion session for the whole process, whose catalogue reads the store's newest snapshot each time:
//! a client that learns an oid from one query uses it in the next, so oids must stay.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::DataType;
use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, SchemaProvider},
    error::Result as DfResult,
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::SessionContext,
    scalar::ScalarValue,
};
use datafusion_pg_catalog::{
    pg_catalog::{context::EmptyContextProvider, setup_pg_catalog},
    sql::PostgresCompatibilityParser,
};
use nowcast_model::Clock;
use nowcast_query::{CATALOG, Piece, QueryContext, QueryEngine};
use nowcast_store::Store;

/// What `version()` says: clients look for the PostgreSQL version that they may assume.
const VERSION: &str = concat!("PostgreSQL 16.6 (Nowcast ", env!("CARGO_PKG_VERSION"), ")");

/// Functions that only the catalogue knows.
const FUNCTIONS: &[&str] = &[
    "current_catalog",
    "current_database",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "format_type",
    "has_schema_privilege",
    "has_table_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
    "information_schema",
    "obj_description",
    "quote_ident",
    "regclass",
    "session_user",
    "to_regclass",
    "to_regtype",
    "version",
];

/// Answers queries about the catalogue.
pub struct PgCatalog {
    /// The session that they run in.
    pub session: SessionContext,
    /// Rewrites what clients send into what DataFusion plans.
    pub parser: PostgresCompatibilityParser,
}

impl PgCatalog {
    /// The catalogue of `store`.
    ///
    /// # Errors
    /// The static tables cannot be read: a defect of the build.
    pub fn new(engine: Arc<QueryEngine>, store: Arc<Store>, clock: Arc<dyn Clock>) -> DfResult<PgCatalog> {
        let now_us = clock.now_us();
        let session = engine.session_context(&QueryContext::new(store.snapshot(), now_us));
        let catalog = Arc::new(LiveCatalog { engine, store, clock, added: Mutex::default() });
        session.register_catalog_list(Arc::new(OneCatalog(catalog)));
        setup_pg_catalog(&session, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        session.register_udf(create_udf(
            "version",
            vec![],
            DataType::Utf8,
            Volatility::Stable,
            Arc::new(|_: &[ColumnarValue]| {
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(VERSION.to_owned()))))
            }),
        ));
        Ok(PgCatalog { session, parser: PostgresCompatibilityParser::new() })
    }

    /// True if a statement asks for the catalogue: it names something that only the catalogue has.
    pub fn wants(piece: &Piece) -> bool {
        let is_ours = |word: &str| word.starts_with("pg_") || FUNCTIONS.contains(&word);
        piece.words().any(|word| is_ours(&word.to_ascii_lowercase()))
    }
}

/// The store's tables as they are now, and what was registered beside them (`pg_catalog`).
struct LiveCatalog {
    engine: Arc<QueryEngine>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Held for one look-up; never across `.await`.
    added: Mutex<HashMap<String, Arc<dyn SchemaProvider>>>,
}

impl LiveCatalog {
    fn now(&self) -> Option<Arc<dyn CatalogProvider>> {
        let ctx = QueryContext::new(self.store.snapshot(), self.clock.now_us());
        self.engine.session_context(&ctx).catalog(CATALOG)
    }

    fn added(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl std::fmt::Debug for LiveCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveCatalog").finish_non_exhaustive()
    }
}

impl CatalogProvider for LiveCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.now().map(|catalog| catalog.schema_names()).unwrap_or_default();
        names.extend(self.added.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.added(name).or_else(|| self.now()?.schema(name))
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> DfResult<Option<Arc<dyn SchemaProvider>>> {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(added.insert(name.to_owned(), schema))
    }
}

#[derive(Debug)]
struct OneCatalog(Arc<LiveCatalog>);

impl CatalogProviderList for OneCatalog {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wants(text: &str) -> bool {
        let engine = QueryEngine::new(nowcast_query::QueryOptions::default()).unwrap();
        PgCatalog::wants(&engine.split(text).unwrap()[0])
    }

    #[test]
    fn texts_about_the_catalogue_are_told_from_others() {
        for text in [
            "select version()",
            "SELECT * FROM pg_catalog.pg_class",
            "select x::regclass",
            "SELECT current_schema()",
        ] {
            assert!(wants(text), "{text}");
        }
        for text in [
            "SELECT 1",
            "SELECT versions FROM apg_table",
            "SELECT current_timestamp",
            "SELECT 'pg_class, version()'",
        ] {
            assert!(!wants(text), "{text}");
        }
    }
}
