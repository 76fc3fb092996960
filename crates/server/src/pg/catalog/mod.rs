//! The tables in PostgreSQL's own terms: `pg_catalog`, `information_schema`, and the functions that clients
//! ask on connecting.
//!
//! One DataFusion session for the whole process, whose catalogue reads the store's newest snapshot each time:
//! a client that learns an oid from one query uses it in the next, so oids must stay. What differs from session
//! to session is put into the query ([`rewrite`]).

mod asked;
mod functions;
mod information_schema;
mod rewrite;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, SchemaProvider},
    error::Result as DfResult,
    execution::SendableRecordBatchStream,
    logical_expr::LogicalPlan,
    physical_plan::EmptyRecordBatchStream,
    prelude::SessionContext,
    sql::{parser::Statement as DfStatement, sqlparser::ast},
};
use datafusion_pg_catalog::{
    pg_catalog::{context::EmptyContextProvider, setup_pg_catalog},
    sql::PostgresCompatibilityParser,
};
use nowcast_model::Clock;
use nowcast_query::{CATALOG, Piece, QueryContext, QueryEngine};
use nowcast_store::Store;

pub(super) use self::asked::Asked;
use self::information_schema::InformationSchema;
use super::error::WireError;
use crate::sql::Session;

/// Words that only the catalogue knows, wherever they stand.
const WORDS: [&str; 11] = [
    "current_catalog",
    "current_role",
    "current_schema",
    "current_user",
    "information_schema",
    "regclass",
    "regnamespace",
    "regproc",
    "regrole",
    "regtype",
    "session_user",
];

/// Functions that only the catalogue knows. A column may have such a name: a parenthesis tells.
const FUNCTIONS: &[&str] = &[
    "current_database",
    "current_schemas",
    "current_setting",
    "format_type",
    "has_schema_privilege",
    "has_table_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
    "obj_description",
    "col_description",
    "shobj_description",
    "quote_ident",
    "quote_literal",
    "set_config",
    "has_column_privilege",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "to_regclass",
    "to_regtype",
    "version",
];

/// A word of asyncpg's query for types that it does not know, which recurses through domains, ranges and
/// composites; there are none here.
pub(super) const TYPES_OF_ASYNCPG: &str = "typeinfo_tree";

/// The same for what there is: base types and arrays of them. Its parameter is a list of oids.
pub(super) const TYPES: &str = "SELECT t.oid AS oid, 'pg_catalog' AS ns, t.typname AS name, t.typtype AS kind, \
     CAST(NULL AS INT) AS basetype, t.typelem AS elemtype, ',' AS elemdelim, CAST(NULL AS INT) AS range_subtype, \
     arrow_cast(NULL, 'List(Utf8)') AS attrtypoids, arrow_cast(NULL, 'List(Utf8)') AS attrnames, 0 AS depth, \
     CAST(NULL AS VARCHAR) AS basetype_name, pg_catalog.format_type(t.typelem, NULL) AS elemtype_name, \
     CAST(NULL AS VARCHAR) AS range_subtype_name FROM pg_catalog.pg_type t WHERE t.oid = ANY($1)";

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
        let standard: Arc<dyn SchemaProvider> = Arc::new(InformationSchema(Arc::clone(&store)));
        let added = Mutex::new(HashMap::from([("information_schema".to_owned(), standard)]));
        let catalog = Arc::new(LiveCatalog { engine, store, clock, added });
        session.register_catalog_list(Arc::new(OneCatalog(catalog)));
        // DataFusion's own would stand before ours.
        session.state_ref().write().config_mut().options_mut().catalog.information_schema = false;
        setup_pg_catalog(&session, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
        functions::register(&session, now_us);
        Ok(PgCatalog { session, parser: PostgresCompatibilityParser::new() })
    }

    /// Plans a query of `session`.
    ///
    /// # Errors
    /// A name is not there, or it is no query.
    pub(super) async fn plan(&self, asked: &Asked, session: &Session) -> Result<LogicalPlan, WireError> {
        if let Some(plan) = self.plan_whole(asked, session).await {
            return Ok(plan);
        }
        let mut statement = asked.plain.clone();
        rewrite::rewrite(&mut statement, session);
        let plan = match self.plan_as_it_is(statement.clone()).await {
            Err(error) => match rewrite::without_rows(&statement) {
                Some(empty) => self.plan_as_it_is(empty).await,
                None => Err(error),
            },
            plan => plan,
        };
        match plan.map_err(|e| WireError::from(&e))? {
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
                Err(WireError::new("0A000", "the system catalogue cannot be changed"))
            }
            plan => Ok(plan),
        }
    }

    /// Plans the query with all its subqueries, if there are such and each of them can be run.
    async fn plan_whole(&self, asked: &Asked, session: &Session) -> Option<LogicalPlan> {
        let mut statement = asked.whole.clone()?;
        rewrite::rewrite(&mut statement, session);
        let plan = self.plan_as_it_is(statement).await.ok()?;
        let is_query = !matches!(
            plan,
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_)
        );
        if !is_query {
            return None;
        }
        let state = self.session.state();
        // Only the physical plan tells, and there is none before the parameters are known.
        let can_run = match plan.get_parameter_names() {
            Ok(names) if names.is_empty() => state.create_physical_plan(&plan).await.is_ok(),
            _ => state.optimize(&plan).is_ok(),
        };
        can_run.then_some(plan)
    }

    async fn plan_as_it_is(&self, statement: ast::Statement) -> DfResult<LogicalPlan> {
        self.session.state().statement_to_plan(DfStatement::Statement(Box::new(statement))).await
    }

    /// Runs a plan that [`PgCatalog::plan`] made of `statement`.
    ///
    /// # Errors
    /// A value failed.
    pub(super) async fn run(
        &self,
        asked: &Asked,
        plan: LogicalPlan,
    ) -> Result<SendableRecordBatchStream, WireError> {
        let schema = Arc::clone(plan.schema().inner());
        let run = async { self.session.execute_logical_plan(plan).await?.execute_stream().await };
        match run.await {
            Err(_) if rewrite::without_rows(&asked.plain).is_some() => {
                Ok(Box::pin(EmptyRecordBatchStream::new(schema)))
            }
            stream => stream.map_err(|e| WireError::from(&e)),
        }
    }

    /// True if a statement asks for the catalogue: it names something that only the catalogue has.
    pub fn wants(piece: &Piece) -> bool {
        piece.words().any(|(word, is_called)| {
            let word = &*word.to_ascii_lowercase();
            word.starts_with("pg_") || WORDS.contains(&word) || (is_called && FUNCTIONS.contains(&word))
        })
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
            "SELECT version FROM releases",
            "SELECT 'pg_class, version()'",
        ] {
            assert!(!wants(text), "{text}");
        }
    }
}
