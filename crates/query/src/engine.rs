//! The engine: statements in, rows or items out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
    temporal_conversions::timestamp_us_to_datetime,
};
use datafusion::{
    common::Result as DfResult,
    execution::{
        RecordBatchStream, SendableRecordBatchStream, SessionState, SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    logical_expr::LogicalPlanBuilder,
    physical_plan::{execute_stream, memory::MemoryStream},
    prelude::{SessionConfig, SessionContext},
    sql::{
        planner::{NullOrdering, ParserOptions, SqlToRel},
        sqlparser::ast::ObjectName,
    },
};
use futures::{Stream, TryStreamExt};
use nowcast_model::{Item, Offset, TableName, name_key};
use nowcast_store::{Snapshot, TableVersion};

use crate::{
    catalog::{self, CATALOG, Names, SnapshotCatalog},
    context::QueryContext,
    describe, dialect,
    error::{SqlCode, SqlError},
    failure, first,
    functions::{self, Now, Types},
    grouped::SymbolsAsNumbers,
    insert::Inserting,
    params, parse,
    partitions::Partitions,
    planned::{self, Planned},
    rewrite, show,
    stand_in::{self, Placed},
    statement::{CreateTable, Declare, Select, Show, Statement},
    weight, write,
    yielding::{self, EndOnDrop, PLANNING, windows, yielding},
};

/// What bounds queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryOptions {
    /// Bytes that all running queries may hold together.
    pub memory_bytes_max: usize,
    /// Threads' worth of work that one query is cut into.
    pub target_partitions: usize,
    /// Rows of one batch of a result.
    pub batch_rows: usize,
    /// Nodes, columns and expressions of a plan, before it is optimized.
    pub plan_size_max: usize,
}

impl Default for QueryOptions {
    fn default() -> QueryOptions {
        QueryOptions {
            memory_bytes_max: 1 << 30,
            target_partitions: 2,
            batch_rows: 8_192,
            plan_size_max: 100_000,
        }
    }
}

/// Runs SQL over snapshots. Cheap to share; holds no data.
#[derive(Clone)]
pub struct QueryEngine {
    state: Arc<SessionState>,
    plan_size_max: usize,
}

/// Rows of a query, batch by batch. Dropping it ends the query.
pub struct QueryResult {
    /// The columns, named as the query names them.
    pub schema: SchemaRef,
    /// The rows. Keeps the files of the snapshot from being removed.
    pub stream: SendableRecordBatchStream,
    /// The position that the answer holds at.
    pub position: Offset,
}

impl QueryResult {
    /// All rows at once, for results that are small by their own bounds.
    ///
    /// # Errors
    /// A value failed, or the query ran out of memory.
    pub async fn collect(self) -> Result<Vec<RecordBatch>, SqlError> {
        self.stream.try_collect().await.map_err(|e| failure::of(&e))
    }
}

/// What a statement takes and gives, for PostgreSQL's `Describe`.
#[derive(Debug, Clone)]
pub struct Description {
    /// The types of `$1`, `$2`, …; `None` where the place does not tell, which PostgreSQL calls text.
    pub params: Vec<Option<DataType>>,
    /// The columns of the result; empty for a statement without one.
    pub schema: SchemaRef,
}

impl QueryEngine {
    /// An engine.
    ///
    /// # Errors
    /// The runtime could not be made.
    pub fn new(options: QueryOptions) -> Result<QueryEngine, SqlError> {
        let mut config = SessionConfig::new()
            .with_target_partitions(options.target_partitions.max(1))
            .with_batch_size(options.batch_rows.max(1))
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, "public");
        {
            let options = config.options_mut();
            options.sql_parser.enable_ident_normalization = false;
            options.sql_parser.map_string_types_to_utf8view = false;
            options.execution.parquet.schema_force_view_types = false;
        }
        let runtime: RuntimeEnv = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes_max)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build()
            .map_err(|e| failure::of(&e))?;
        let mut rules = first::optimizer_rules();
        rules.push(Arc::new(SymbolsAsNumbers { pool: runtime.memory_pool.clone() }));
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(runtime))
            .with_type_planner(Arc::new(Types))
            .with_query_planner(Arc::new(dialect::Planner))
            .with_analyzer_rules(yielding::analyzer_rules())
            .with_optimizer_rules(yielding::optimizer_rules(rules))
            .with_physical_optimizer_rules(yielding::physical_rules())
            .with_default_features();
        state.expr_planners().get_or_insert_default().push(Arc::new(dialect::Times));
        let mut state = state.build();
        functions::register(&mut state).map_err(|e| failure::of(&e))?;
        Ok(QueryEngine { state: Arc::new(state), plan_size_max: options.plan_size_max.max(1) })
    }

    /// Parses all statements of a text; none for an empty one.
    ///
    /// # Errors
    /// The first statement that is not SQL, or asks for what is not built, by name and with what works.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        parse::parse(sql)
    }

    /// Cuts a text into its statements without parsing them.
    ///
    /// # Errors
    /// The text is too long, holds too many statements, or a literal has no end.
    pub fn split(&self, sql: &str) -> Result<Vec<parse::Piece>, SqlError> {
        parse::split(sql)
    }

    /// Parses a text that must be one statement.
    ///
    /// # Errors
    /// As [`QueryEngine::parse`]; or there is none, or more than one.
    pub fn parse_one(&self, sql: &str) -> Result<Statement, SqlError> {
        let mut statements = parse::parse(sql)?;
        match (statements.pop(), statements.len()) {
            (Some(statement), 0) => Ok(statement),
            (None, _) => Err(SqlError::new(SqlCode::Syntax, "the text holds no statement")),
            (Some(_), more) => {
                let message = format!("one statement is expected, the text holds {}", more + 1);
                Err(SqlError::new(SqlCode::Syntax, message).hint("send them one at a time"))
            }
        }
    }

    /// Starts a statement that answers with rows. Nothing is read before the stream is polled.
    ///
    /// # Errors
    /// A name is not there, types do not fit, a parameter is missing; or it is not a query.
    pub async fn query(&self, ctx: &QueryContext, statement: &Statement) -> Result<QueryResult, SqlError> {
        match statement {
            Statement::Query(select) => {
                let planned = self.plan(ctx, select, Mode::Batch)?;
                self.run(ctx, &planned).await
            }
            Statement::Explain { query, analyze, verbose } => {
                let mut planned = self.plan(ctx, query, Mode::Batch)?;
                planned.plan = LogicalPlanBuilder::from(planned.plan)
                    .explain_option_format(planned::explain_options(*analyze, *verbose))
                    .and_then(LogicalPlanBuilder::build)
                    .map_err(|e| failure::of(&e))?;
                planned.names.clear();
                self.run(ctx, &planned).await
            }
            Statement::ExplainLive(select) => {
                let live = self.plan_live_statement(ctx, select)?;
                let (items, values) = live.explain().into_iter().unzip();
                one_batch(ctx, show::texts(vec![("item", items), ("value", values)]))
            }
            Statement::Show(what) => self.show(ctx, what),
            other => {
                let message = format!("{} does not answer with rows", other.tag());
                Err(SqlError::new(SqlCode::NotSupported, message))
            }
        }
    }

    /// What a statement that changes tables adds to the log; empty if there is nothing to do (`IF EXISTS`).
    ///
    /// # Errors
    /// A name is not there or is taken, a value does not fit its column; or it is not such a statement.
    pub async fn write_items(
        &self,
        ctx: &QueryContext,
        statement: &Statement,
    ) -> Result<Vec<Item>, SqlError> {
        write::items(self, ctx, statement).await
    }

    /// Begins to make the rows of an INSERT or a CREATE TABLE AS; `None` if there is nothing to do.
    ///
    /// # Errors
    /// As [`QueryEngine::write_items`].
    pub async fn insert(
        &self,
        ctx: &QueryContext,
        statement: &Statement,
    ) -> Result<Option<Inserting>, SqlError> {
        Inserting::new(self, ctx, statement).await
    }

    /// The types of a statement's parameters and of its result, without running it.
    ///
    /// # Errors
    /// As [`QueryEngine::query`].
    pub fn describe(&self, ctx: &QueryContext, statement: &Statement) -> Result<Description, SqlError> {
        let empty = Arc::new(Schema::empty());
        match statement {
            Statement::Query(select) | Statement::Explain { query: select, .. } => {
                let planned = self.plan(ctx, select, Mode::Describe)?;
                let mut params = planned::parameter_types(&planned)?;
                params::typed_by_place(&select.ast, &mut params);
                let schema = match statement {
                    Statement::Query(_) => planned.schema(),
                    _ => text_schema(&["plan_type", "plan"]),
                };
                Ok(Description { params, schema })
            }
            Statement::ExplainLive(_) => {
                Ok(Description { params: Vec::new(), schema: text_schema(&["item", "value"]) })
            }
            Statement::Show(what) => {
                Ok(Description { params: Vec::new(), schema: self.show(ctx, what)?.schema })
            }
            Statement::CreateTable(CreateTable { source: Some(source), .. }) => {
                let planned = self.plan(ctx, source, Mode::Describe)?;
                Ok(Description { params: planned::parameter_types(&planned)?, schema: empty })
            }
            Statement::Insert(insert) => {
                Ok(Description { params: describe::insert(self, ctx, insert)?, schema: empty })
            }
            Statement::Update(update) => {
                let (table, columns, select) = (&update.table, &update.columns[..], &update.select);
                let params = describe::mutation(self, ctx, table, columns, select)?;
                Ok(Description { params, schema: empty })
            }
            Statement::Delete(delete) => {
                let params = describe::mutation(self, ctx, &delete.table, &[], &delete.select)?;
                Ok(Description { params, schema: empty })
            }
            Statement::Declare(Declare { query, .. }) => {
                let query = Statement::Query(query.clone());
                Ok(Description { schema: empty, ..self.describe(ctx, &query)? })
            }
            _ => Ok(Description { params: Vec::new(), schema: empty }),
        }
    }

    /// A DataFusion session over the snapshot, names as written, for libraries that bring their own
    /// catalogues (`pg_catalog`). The catalogue is [`CATALOG`]; schemas can be registered in it.
    pub fn session_context(&self, ctx: &QueryContext) -> SessionContext {
        let mut state = self.session(ctx.now_us, true);
        let list = datafusion::catalog::MemoryCatalogProviderList::new();
        let catalog = Arc::new(SnapshotCatalog::new(ctx.snapshot.clone()));
        datafusion::catalog::CatalogProviderList::register_catalog(&list, CATALOG.to_owned(), catalog);
        state.register_catalog_list(Arc::new(list));
        SessionContext::new_with_state(state)
    }

    /// The engine's functions and settings, with a present.
    pub(crate) fn session(&self, now_us: i64, fold: bool) -> SessionState {
        use datafusion::execution::FunctionRegistry;
        let mut state = SessionState::clone(&self.state);
        // Registering replaces; it fails for functions with a factory, which scalar ones are not.
        drop(state.register_udf(Now::udf(now_us, fold)));
        // What `current_date` says.
        let started = timestamp_us_to_datetime(now_us).map(|time| time.and_utc());
        state.execution_props_mut().query_execution_start_time = started;
        state
    }

    /// True for a function that makes one value of one row.
    pub(crate) fn is_scalar(&self, name: &str) -> bool {
        self.state.scalar_functions().contains_key(name)
    }

    pub(crate) fn plan(&self, ctx: &QueryContext, select: &Select, mode: Mode) -> Result<Planned, SqlError> {
        let mut ast = select.ast.clone();
        let keep = mode == Mode::Describe;
        params::substitute(&select.text, &mut ast, &ctx.params, keep)?;
        let mut placed = Placed::new();
        if keep {
            stand_in::stand_in(&mut ast, &mut placed);
        }
        let mut state = self.session(ctx.now_us, mode != Mode::Live);
        let world = World { ctx, state: &state };
        let clauses =
            params::clauses(&select.text, &select.clauses, &ctx.params, keep.then_some(&mut placed))?;
        let rewritten = rewrite::rewrite(&select.text, &mut ast, &clauses, &world, mode != Mode::Live)?;
        weight::check_written_out(&ast, self.plan_size_max, &select.text)?;
        let names = Names::new(&state, ctx, rewritten.seq);
        let options = ParserOptions {
            enable_ident_normalization: false,
            map_string_types_to_utf8view: false,
            support_varchar_with_length: true,
            parse_float_as_decimal: false,
            enable_options_value_normalization: false,
            collect_spans: false,
            default_null_ordering: NullOrdering::NullsMax,
        };
        let sql = ast.to_string();
        let planner = SqlToRel::new_with_options(&names, options);
        let statement = datafusion::sql::sqlparser::ast::Statement::Query(ast);
        let plan = planner
            .sql_statement_to_plan(statement)
            .map_err(|e| failure::locate(&e, &select.text, Some(&state)))?;
        // Before anything walks it: what is named twice is walked twice.
        weight::check(&plan, self.plan_size_max, &select.text)?;
        let plan = dialect::place(plan).map_err(|e| failure::locate(&e, &select.text, Some(&state)))?;
        let found = names.found.take();
        let found_other = names.found_other.take();
        let spellings = names.spellings.take();
        let plan = functions::prepare(plan, &mut state, mode == Mode::Live)
            .map_err(|e| failure::locate(&e, &select.text, Some(&state)))?;
        let names = rewritten.output_names(&plan, found.values().map(|v| &*v.schema), &spellings);
        Ok(Planned { state, plan, names, found, found_other, sql, text: select.text.clone(), placed })
    }

    pub(crate) async fn run(&self, ctx: &QueryContext, planned: &Planned) -> Result<QueryResult, SqlError> {
        let failed =
            |e: &datafusion::error::DataFusionError| failure::locate(e, &planned.text, Some(&planned.state));
        let mut state = planned.state.clone();
        let (interrupt, ended) = ctx.interrupt.query();
        let optimized = PLANNING
            .sync_scope(interrupt.clone(), || state.optimize(&planned.plan))
            .map_err(|e| failed(&e))?;
        functions::fit_batches(&optimized, &mut state).map_err(|e| failed(&e))?;
        let optimized =
            windows(optimized, &interrupt, &state.runtime_env().memory_pool).map_err(|e| failed(&e))?;
        let planner = state.query_planner().clone();
        let physical = planner.create_physical_plan(&optimized, &state);
        let physical = PLANNING.scope(interrupt.clone(), physical).await.map_err(|e| failed(&e))?;
        let physical = yielding(physical, &interrupt).map_err(|e| failed(&e))?;
        let stream = execute_stream(physical, state.task_ctx()).map_err(|e| failed(&e))?;
        let schema = match planned.names.is_empty() {
            true => stream.schema(),
            false => rename(&stream.schema(), &planned.names),
        };
        let schema = planned::mark_designated(&schema, planned.designated());
        let stream = Renamed { schema: schema.clone(), stream, _ended: ended, _keep: ctx.snapshot.clone() };
        Ok(QueryResult { schema, stream: Box::pin(stream), position: ctx.snapshot.position })
    }

    fn show(&self, ctx: &QueryContext, what: &Show) -> Result<QueryResult, SqlError> {
        let rows = match what {
            Show::Tables => {
                let made = ctx.snapshot.tables.values().filter(|t| !show::is_own(ctx, &t.schema));
                let mut names: Vec<String> = made.map(|t| t.schema.name.to_string()).collect();
                names.sort();
                show::list("table_name", names)
            }
            Show::Schemas => show::list("schema_name", ctx.snapshot.schemas.iter().cloned().collect()),
            Show::Columns(table) => show::table_columns(&catalog::require_table(ctx, table)?.schema),
            Show::Partitions(table) => {
                let partitions = Partitions::of(catalog::require_table(ctx, table)?.clone());
                let (schema, stream) = (partitions.shown(), partitions.read());
                return Ok(QueryResult { schema, stream, position: ctx.snapshot.position });
            }
            Show::CreateTable(table) => {
                let sql = show::create_table(&catalog::require_table(ctx, table)?.schema);
                show::list("ddl", vec![sql])
            }
            Show::Variable(name) if name == "all" => {
                let (names, values): (Vec<_>, Vec<_>) = ctx.variables.clone().into_iter().unzip();
                let descriptions = vec![String::new(); names.len()];
                show::texts(vec![("name", names), ("setting", values), ("description", descriptions)])
            }
            Show::Variable(name) => match ctx.variables.get(name) {
                Some(value) => show::list(name, vec![value.clone()]),
                None => {
                    let message = format!("there is no session variable {name:?}");
                    let error = SqlError::new(SqlCode::Parameter, message);
                    let known = ctx.variables.keys().map(String::as_str);
                    let hint = crate::error::did_you_mean("variables", name, known);
                    return Err(
                        error.hint(hint.unwrap_or_else(|| "use SHOW TABLES or SHOW COLUMNS FROM …".into()))
                    );
                }
            },
        };
        one_batch(ctx, rows)
    }
}

/// Why a query is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To be run now.
    Batch,
    /// To learn its types: parameters may be missing.
    Describe,
    /// To be kept up to date: `now()` stays in the plan.
    Live,
}

/// What the rewriting asks about names.
struct World<'a> {
    ctx: &'a QueryContext,
    state: &'a SessionState,
}

impl<'a> World<'a> {
    fn table(&self, name: &ObjectName) -> Option<&'a Arc<TableVersion>> {
        let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident());
        let table = parts.next()?;
        let schema = parts.next().map(|ident| ident.value.as_str());
        catalog::find_table(self.ctx, schema, &table.value)
    }
}

impl rewrite::World for World<'_> {
    fn is_table(&self, name: &ObjectName) -> bool {
        self.table(name).is_some()
    }

    fn time_of(&self, name: &ObjectName) -> Option<String> {
        let version = self.table(name)?;
        let time = version.schema.timestamp?;
        Some(name_key(&version.schema.columns[time].name))
    }

    fn missing(&self, name: &ObjectName) -> Option<SqlError> {
        let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident());
        let table = parts.next()?;
        let schema = parts.next().map(|ident| ident.value.as_str());
        let is_it = |known: &TableName| {
            name_key(&known.table) == table.value && schema.is_none_or(|s| name_key(&known.schema) == s)
        };
        let is_system = self.ctx.system.as_ref().is_some_and(|system| system.tables().iter().any(is_it));
        (!is_system && self.table(name).is_none())
            .then(|| catalog::undefined_table(self.ctx, schema, &table.value))
    }

    fn is_aggregate(&self, name: &str) -> bool {
        self.state.aggregate_functions().contains_key(name) || functions::is_aggregate(name)
    }
}

fn text_schema(names: &[&str]) -> SchemaRef {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    Arc::new(Schema::new(fields))
}

fn one_batch(
    ctx: &QueryContext,
    rows: Result<RecordBatch, arrow::error::ArrowError>,
) -> Result<QueryResult, SqlError> {
    let rows = rows.map_err(|e| SqlError::new(SqlCode::Internal, e.to_string()))?;
    let schema = rows.schema();
    let stream = MemoryStream::try_new(vec![rows], schema.clone(), None).map_err(|e| failure::of(&e))?;
    Ok(QueryResult { schema, stream: Box::pin(stream), position: ctx.snapshot.position })
}

/// `schema` with other names.
pub(crate) fn rename(schema: &Schema, names: &[String]) -> SchemaRef {
    let fields = schema.fields().iter().zip(names);
    let fields: Vec<Field> = fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
    Arc::new(Schema::new(fields))
}

/// A stream under other names that keeps its snapshot, hence the files that it reads.
struct Renamed {
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    _ended: EndOnDrop,
    _keep: Arc<Snapshot>,
}

impl Stream for Renamed {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DfResult<RecordBatch>>> {
        let schema = self.schema.clone();
        self.stream.as_mut().poll_next(cx).map(|next| {
            next.map(|batch| {
                let batch = batch?;
                let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                Ok(RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &options)?)
            })
        })
    }
}

impl RecordBatchStream for Renamed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
