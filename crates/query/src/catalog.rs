//! Names of tables and functions, looked up in a snapshot.

use std::{cell::RefCell, collections::BTreeMap, fmt, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, SchemaProvider, TableFunctionArgs, TableProvider, cte_worktable::CteWorkTable,
        streaming::StreamingTable,
    },
    common::{DFSchema, Result, ScalarValue, TableReference},
    config::ConfigOptions,
    datasource::{MemTable, provider_as_source},
    error::DataFusionError,
    execution::session_state::SessionState,
    logical_expr::{
        AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF,
        planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner},
        simplify::SimplifyContext,
    },
    optimizer::simplify_expressions::ExprSimplifier,
};
use nowcast_model::{TableName, name_key};
use nowcast_store::{Snapshot, TableVersion};

use crate::{
    calls,
    context::QueryContext,
    dialect,
    error::{SqlCode, SqlError, did_you_mean},
    failure::external,
    functions::Types,
    partitions::Partitions,
    show,
    statement::NameRef,
    table::{Shape, SnapshotTable},
};

/// The name of the one catalogue. Any other is accepted in its place.
pub const CATALOG: &str = "nowcast";

/// Finds a table by a name as written: in the schema given, else along the search path.
pub(crate) fn find_table<'a>(
    ctx: &'a QueryContext,
    schema: Option<&str>,
    table: &str,
) -> Option<&'a Arc<TableVersion>> {
    match schema {
        Some(schema) => ctx.snapshot.table(&TableName::new(schema, table)),
        None => ctx.schemas().find_map(|schema| ctx.snapshot.table(&TableName::new(schema, table))),
    }
}

/// The table `name`, or an error that knows its place.
pub(crate) fn require_table<'a>(
    ctx: &'a QueryContext,
    name: &NameRef,
) -> Result<&'a Arc<TableVersion>, SqlError> {
    find_table(ctx, name.schema.as_deref(), &name.table)
        .ok_or_else(|| undefined_table(ctx, name.schema.as_deref(), &name.table).at(name.place))
}

/// The name under which a statement makes a table.
pub(crate) fn new_name(ctx: &QueryContext, name: &NameRef) -> TableName {
    let schema = name.schema.as_deref().or_else(|| ctx.schemas().next()).unwrap_or(TableName::PUBLIC);
    let known = ctx.snapshot.schemas.iter().find(|known| name_key(known) == name_key(schema));
    TableName::new(known.map_or(schema, String::as_str), &name.table)
}

pub(crate) fn undefined_table(ctx: &QueryContext, schema: Option<&str>, table: &str) -> SqlError {
    if let Some(schema) = schema
        && !ctx.snapshot.has_schema(schema)
        && !ctx
            .system
            .as_ref()
            .is_some_and(|s| s.tables().iter().any(|t| name_key(&t.schema) == name_key(schema)))
    {
        let error = SqlError::new(SqlCode::UndefinedSchema, format!("there is no schema {schema:?}"));
        let known = ctx.snapshot.schemas.iter().map(String::as_str);
        return match did_you_mean("schemas", schema, known) {
            Some(hint) => error.hint(hint),
            None => error,
        };
    }
    let name = schema.map_or_else(|| table.to_owned(), |schema| format!("{schema}.{table}"));
    let error = SqlError::new(SqlCode::UndefinedTable, format!("there is no table {name:?}"));
    let made = ctx.snapshot.tables.values().filter(|t| !show::is_own(ctx, &t.schema));
    let shown: Vec<String> = made.map(|t| t.schema.name.to_string()).collect();
    match did_you_mean("tables", &name, shown.iter().map(String::as_str)) {
        Some(hint) => error.hint(hint),
        None => error.hint("tables are made by CREATE TABLE, or by the first row that is sent to them"),
    }
}

/// What the SQL planner asks.
pub(crate) struct Names<'a> {
    pub(crate) state: &'a SessionState,
    pub(crate) ctx: &'a QueryContext,
    /// Tables show `_seq`, since the query names it.
    pub(crate) seq: bool,
    /// Tables that were found, by key.
    pub(crate) found: RefCell<BTreeMap<TableName, Arc<TableVersion>>>,
    /// True once something was found that is no table of the snapshot.
    pub(crate) found_other: RefCell<bool>,
    /// Spellings of the columns of what is no table of the snapshot, by key.
    pub(crate) spellings: RefCell<BTreeMap<String, String>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(state: &'a SessionState, ctx: &'a QueryContext, seq: bool) -> Names<'a> {
        Names {
            state,
            ctx,
            seq,
            found: RefCell::default(),
            found_other: RefCell::default(),
            spellings: RefCell::default(),
        }
    }

    /// Keeps how names are written that the planner sees folded.
    fn note_spellings(&self, schema: &Schema) {
        for field in schema.fields() {
            self.spellings.borrow_mut().insert(name_key(field.name()), field.name().clone());
        }
    }

    /// A batch as a table with folded names; how they were written is kept.
    fn mem_table(&self, batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
        self.note_spellings(&batch.schema());
        mem_table(batch)
    }

    /// The table that the only argument of `function` names.
    fn argument(&self, function: &str, args: &[Expr]) -> Result<&Arc<TableVersion>> {
        let [Expr::Literal(ScalarValue::Utf8(Some(name)), _)] = args else {
            let error = SqlError::new(SqlCode::UndefinedFunction, format!("{function} takes a table's name"));
            return Err(external(error.hint(format!("write {function}('table')")), function));
        };
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, name.as_str()),
        };
        find_table(self.ctx, schema, table)
            .ok_or_else(|| external(undefined_table(self.ctx, schema, table), name))
    }

    fn system(&self, schema: Option<&str>, table: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(system) = &self.ctx.system else { return Ok(None) };
        let is_it = |name: &&TableName| {
            name_key(&name.table) == name_key(table)
                && schema.is_none_or(|schema| name_key(&name.schema) == name_key(schema))
        };
        let tables = system.tables();
        let Some(batch) = tables.iter().find(is_it).and_then(|name| system.table(name)) else {
            return Ok(None);
        };
        self.mem_table(batch).map(Some)
    }
}

/// A batch as a table with folded names.
pub(crate) fn mem_table(batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    let fields: Vec<_> =
        batch.schema().fields().iter().map(|f| f.as_ref().clone().with_name(name_key(f.name()))).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let (schema, table) = (name.schema(), name.table());
        if let Some(version) = find_table(self.ctx, schema, table) {
            self.found.borrow_mut().insert(version.schema.name.key(), version.clone());
            let shape = Shape { folded: true, seq: self.seq };
            return Ok(provider_as_source(Arc::new(SnapshotTable::new(version.clone(), shape))));
        }
        *self.found_other.borrow_mut() = true;
        if let Some(provider) = self.system(schema, table)? {
            return Ok(provider_as_source(provider));
        }
        if let Some(provider) = show::information_schema(self.ctx, schema, table)? {
            return Ok(provider_as_source(provider));
        }
        Err(external(undefined_table(self.ctx, schema, table), table))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        *self.found_other.borrow_mut() = true;
        match name.to_ascii_lowercase().as_str() {
            "tables" if args.is_empty() => {
                return Ok(provider_as_source(self.mem_table(show::tables(self.ctx)?)?));
            }
            "table_columns" => {
                let version = self.argument("table_columns", &args)?;
                return Ok(provider_as_source(self.mem_table(show::table_columns(&version.schema)?)?));
            }
            "table_partitions" => {
                let partitions = Partitions::of(self.argument("table_partitions", &args)?.clone());
                self.note_spellings(&partitions.shown());
                let schema = partitions.folded();
                let table = StreamingTable::try_new(schema, vec![Arc::new(partitions)])?;
                return Ok(provider_as_source(Arc::new(table)));
            }
            _ => {}
        }
        let functions = self.state.table_functions();
        let Some(function) = functions.get(name).or_else(|| functions.get(&name.to_ascii_lowercase())) else {
            let ours = ["tables", "table_columns", "table_partitions"];
            let known = functions.keys().map(String::as_str).chain(ours);
            let message = format!("there is no table function {name}()");
            let error = SqlError::new(SqlCode::UndefinedFunction, message);
            return Err(external(
                match did_you_mean("table functions", name, known) {
                    Some(hint) => error.hint(hint),
                    None => error,
                },
                name,
            ));
        };
        let context =
            SimplifyContext::builder().with_config_options(self.state.config_options().clone()).build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)))
            .collect::<Result<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        *self.found_other.borrow_mut() = true;
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &*calls::PLANNERS
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned().or_else(|| dialect::marker(name))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// The snapshot as a DataFusion catalogue, names as written: for libraries that walk catalogues
/// (`pg_catalog`). Schemas can be registered beside the snapshot's.
pub(crate) struct SnapshotCatalog {
    snapshot: Arc<Snapshot>,
    more: std::sync::Mutex<BTreeMap<String, Arc<dyn SchemaProvider>>>,
}

impl SnapshotCatalog {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> SnapshotCatalog {
        SnapshotCatalog { snapshot, more: std::sync::Mutex::default() }
    }

    fn more(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<dyn SchemaProvider>>> {
        // A panic while it is held leaves a map that is whole.
        self.more.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for SnapshotCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotCatalog")
    }
}

impl CatalogProvider for SnapshotCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.snapshot.schemas.iter().cloned().chain(self.more().keys().cloned()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if let Some(schema) = self.more().get(name) {
            return Some(schema.clone());
        }
        let schema = self.snapshot.schemas.iter().find(|schema| name_key(schema) == name_key(name))?;
        Some(Arc::new(SnapshotSchema { snapshot: self.snapshot.clone(), schema: schema.clone() }))
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>> {
        Ok(self.more().insert(name.to_owned(), schema))
    }
}

struct SnapshotSchema {
    snapshot: Arc<Snapshot>,
    schema: String,
}

impl fmt::Debug for SnapshotSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotSchema({})", self.schema)
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        let key = name_key(&self.schema);
        let ours = |name: &TableName| name_key(&name.schema) == key;
        let tables = self.snapshot.tables.values().map(|t| &t.schema.name);
        tables.filter(|name| ours(name)).map(|name| name.table.to_string()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let version = self.snapshot.table(&TableName::new(&self.schema, name));
        let shape = Shape { folded: false, seq: false };
        Ok(version.map(|v| Arc::new(SnapshotTable::new(v.clone(), shape)) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.snapshot.table(&TableName::new(&self.schema, name)).is_some()
    }
}
