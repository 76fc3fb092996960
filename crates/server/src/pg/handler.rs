//! One connection: simple and extended queries over [`Sql`], and over [`PgCatalog`] for the catalogue.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use async_trait::async_trait;
use datafusion::{logical_expr::LogicalPlan, sql::parser::Statement as DfStatement};
use futures::{Sink, StreamExt, stream};
use nowcast_query::{Params, SqlError, Statement};
use pgwire::{
    api::{
        ClientInfo, ClientPortalStore, ConnectionManager, PgWireServerHandlers, Type,
        auth::{
            DefaultServerParameterProvider, StartupHandler,
            sasl::{SASLAuthStartupHandler, scram::ScramAuth},
        },
        cancel::{CancelHandler, DefaultCancelHandler},
        portal::{Format, Portal},
        query::{ExtendedQueryHandler, SimpleQueryHandler},
        results::{FieldInfo, QueryResponse, Response, Tag},
        stmt::QueryParser,
        store::PortalStore,
    },
    error::{ErrorInfo, PgWireError, PgWireResult},
    messages::{PgWireBackendMessage, response::TransactionStatus},
    types::format::FormatOptions,
};
use tokio::sync::Mutex;

use super::{
    auth::Users,
    catalog::{self, PgCatalog},
    params,
};
use crate::sql::{Answer, Rows, Session, Sql};

/// What a connection's handlers share.
pub(super) struct Connection {
    service: Arc<Service>,
    users: Arc<Users>,
}

impl Connection {
    /// A connection that nobody has logged in on yet.
    pub(super) fn new(sql: Arc<Sql>, catalog: Arc<PgCatalog>, users: Arc<Users>) -> Connection {
        let parser = Arc::new(Shared { sql, catalog, session: Mutex::new(Session::default()) });
        Connection { service: Arc::new(Service(parser)), users }
    }
}

/// All connections, so that a cancel request finds the one that it means.
fn connections() -> Arc<ConnectionManager> {
    static ALL: std::sync::OnceLock<Arc<ConnectionManager>> = std::sync::OnceLock::new();
    Arc::clone(ALL.get_or_init(|| Arc::new(ConnectionManager::new())))
}

impl PgWireServerHandlers for Connection {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.service)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.service)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = "16.6".to_owned();
        let users: Arc<dyn pgwire::api::auth::AuthSource> = Arc::<Users>::clone(&self.users);
        let handler = SASLAuthStartupHandler::new(Arc::new(parameters))
            .with_scram(ScramAuth::new(users))
            .with_connection_manager(connections());
        Arc::new(handler)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(connections()))
    }
}

/// Runs a connection's statements.
pub(super) struct Service(Arc<Shared>);

/// What running and parsing share.
pub(super) struct Shared {
    sql: Arc<Sql>,
    catalog: Arc<PgCatalog>,
    session: Mutex<Session>,
}

/// A statement that was parsed and described.
#[derive(Clone)]
pub(super) struct Prepared {
    kind: Kind,
    params: Arc<[Type]>,
    schema: SchemaRef,
}

#[derive(Clone)]
enum Kind {
    Ours(Arc<Statement>),
    Catalogue(Arc<LogicalPlan>),
}

impl Shared {
    async fn run(
        &self,
        statement: &Statement,
        params: Params,
        format: &Format,
        status: TransactionStatus,
    ) -> PgWireResult<Response> {
        let mut session = self.session.lock().await;
        let ends = matches!(statement, Statement::Commit | Statement::Rollback);
        let failed = matches!(status, TransactionStatus::Error);
        if failed && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(error("25P02", message, Some("send ROLLBACK")));
        }
        if failed {
            session.transaction = None;
        }
        match self.sql.run(&mut session, statement, params, None).await {
            Ok(Answer::Rows(rows)) => Ok(Response::Query(response(rows, format)?)),
            Ok(Answer::Done { tag, rows }) => {
                let tag = Tag::new(if failed { "ROLLBACK" } else { tag });
                Ok(match statement {
                    Statement::Begin => Response::TransactionStart(tag),
                    Statement::Commit | Statement::Rollback => Response::TransactionEnd(tag),
                    Statement::Insert(_) => {
                        let rows = usize::try_from(rows.unwrap_or(0)).unwrap_or(usize::MAX);
                        Response::Execution(tag.with_oid(0).with_rows(rows))
                    }
                    _ => Response::Execution(match rows {
                        Some(rows) => tag.with_rows(usize::try_from(rows).unwrap_or(usize::MAX)),
                        None => tag,
                    }),
                })
            }
            Err(failure) => Err(sql_error(&failure.into_sql())),
        }
    }

    async fn run_catalogue(&self, plan: LogicalPlan, format: &Format) -> PgWireResult<Response> {
        let frame = self.catalog.session.execute_logical_plan(plan).await;
        let frame = frame.map_err(|e| catalog::failure(&e))?;
        let schema = plain_schema(frame.schema().as_arrow());
        let fields = fields(&schema, format)?;
        let batches = frame.execute_stream().await.map_err(|e| catalog::failure(&e))?;
        let encoded = Arc::clone(&fields);
        let rows = batches.flat_map(move |batch| {
            let batch = batch.map_err(|e| catalog::failure(&e)).and_then(|batch| plain(&batch, &schema));
            stream::iter(encode(batch, &encoded))
        });
        Ok(Response::Query(QueryResponse::new(fields, rows)))
    }

    async fn plan_catalogue(
        &self,
        statement: datafusion::sql::sqlparser::ast::Statement,
    ) -> PgWireResult<LogicalPlan> {
        let statement = DfStatement::Statement(Box::new(statement));
        let plan = self.catalog.session.state().statement_to_plan(statement).await;
        let plan = plan.map_err(|e| catalog::failure(&e))?;
        match plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
                Err(error("0A000", "the system catalogue cannot be changed", None))
            }
            plan => Ok(plan),
        }
    }
}

fn error(code: &str, message: &str, hint: Option<&str>) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message.to_owned());
    info.hint = hint.map(str::to_owned);
    PgWireError::UserError(Box::new(info))
}

fn sql_error(failed: &SqlError) -> PgWireError {
    let mut info = ErrorInfo::new("ERROR".to_owned(), failed.code.state().to_owned(), failed.message.clone());
    info.hint.clone_from(&failed.hint);
    // PostgreSQL counts characters from 1.
    info.position = Some((failed.position + 1).to_string());
    PgWireError::UserError(Box::new(info))
}

fn fields(schema: &Schema, format: &Format) -> PgWireResult<Arc<Vec<FieldInfo>>> {
    arrow_schema_to_pg_fields(schema, format, Some(Arc::new(FormatOptions::default()))).map(Arc::new)
}

/// Types that the wire has no word for become those that it has: dictionaries their values, unsigned integers
/// signed ones.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::UInt64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt8 | DataType::Int8 => DataType::Int16,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| {
        let ty = plain_type(field.data_type());
        Field::new(field.name(), ty, true).with_metadata(field.metadata().clone())
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn plain(batch: &RecordBatch, schema: &SchemaRef) -> PgWireResult<RecordBatch> {
    let cast = |(column, field): (&arrow::array::ArrayRef, &Arc<Field>)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast(column, field.data_type())
        }
    };
    let columns: Result<Vec<_>, _> = batch.columns().iter().zip(schema.fields()).map(cast).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options))
        .map_err(|e| error("XX000", &e.to_string(), None))
}

type EncodedRow = PgWireResult<pgwire::messages::data::DataRow>;

fn encode(batch: PgWireResult<RecordBatch>, fields: &Arc<Vec<FieldInfo>>) -> Vec<EncodedRow> {
    match batch {
        Ok(batch) => encode_recordbatch(Arc::clone(fields), batch).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn response(rows: Rows, format: &Format) -> PgWireResult<QueryResponse> {
    let schema = plain_schema(&rows.schema);
    let fields = fields(&schema, format)?;
    let encoded = Arc::clone(&fields);
    let batches =
        stream::unfold(rows, |mut rows| async move { rows.next().await.map(|batch| (batch, rows)) });
    let rows = batches.flat_map(move |batch| {
        let batch = batch.map_err(|e| sql_error(&e)).and_then(|batch| plain(&batch, &schema));
        stream::iter(encode(batch, &encoded))
    });
    Ok(QueryResponse::new(fields, rows))
}

#[async_trait]
impl SimpleQueryHandler for Service {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut responses = Vec::new();
        if PgCatalog::wants(query) {
            let statements =
                self.0.catalog.parser.parse(query).map_err(|e| error("42601", &e.to_string(), None))?;
            for statement in statements {
                let plan = self.0.plan_catalogue(statement).await?;
                responses.push(self.0.run_catalogue(plan, &Format::UnifiedText).await?);
            }
            return Ok(responses);
        }
        let statements = self.0.sql.engine().parse(query).map_err(|e| sql_error(&e))?;
        let mut status = client.transaction_status();
        for statement in &statements {
            match self.0.run(statement, Params::default(), &Format::UnifiedText, status).await {
                Ok(response) => {
                    status = match &response {
                        Response::TransactionStart(_) => TransactionStatus::Transaction,
                        Response::TransactionEnd(_) => TransactionStatus::Idle,
                        _ => status,
                    };
                    responses.push(response);
                }
                // What ran before stands and is told; the rest of the text is not run.
                Err(PgWireError::UserError(info)) if !responses.is_empty() => {
                    responses.push(Response::Error(info));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}

#[async_trait]
impl QueryParser for Shared {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        if PgCatalog::wants(sql) {
            let statements =
                self.catalog.parser.parse(sql).map_err(|e| error("42601", &e.to_string(), None))?;
            let Some(statement) = statements.into_iter().next() else { return Ok(None) };
            let plan = self.plan_catalogue(statement).await?;
            let inferred = plan.get_parameter_types().map_err(|e| catalog::failure(&e))?;
            let count = inferred.len();
            let ty = |number: usize| inferred.get(&format!("${number}")).cloned().flatten();
            let params = (1..=count).map(|number| params::wire_type(ty(number).as_ref())).collect();
            let schema = plain_schema(plan.schema().as_arrow());
            return Ok(Some(Prepared { kind: Kind::Catalogue(Arc::new(plan)), params, schema }));
        }
        let mut statements = self.sql.engine().parse(sql).map_err(|e| sql_error(&e))?;
        if statements.len() > 1 {
            return Err(error("42601", "cannot insert multiple commands into a prepared statement", None));
        }
        let Some(statement) = statements.pop() else { return Ok(None) };
        let session = self.session.lock().await;
        let ctx = self.sql.context(&session, Params::default(), None);
        drop(session);
        let description = self.sql.engine().describe(&ctx, &statement).map_err(|e| sql_error(&e))?;
        let params = description.params.iter().enumerate().map(|(index, inferred)| {
            let declared = types.get(index).cloned().flatten().filter(|ty| *ty != Type::UNKNOWN);
            declared.unwrap_or_else(|| params::wire_type(inferred.as_ref()))
        });
        let params = params.collect();
        let schema = plain_schema(&description.schema);
        Ok(Some(Prepared { kind: Kind::Ours(Arc::new(statement)), params, schema }))
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(statement.params.to_vec())
    }

    fn get_result_schema(
        &self,
        statement: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        Ok(fields(&statement.schema, format)?.as_ref().clone())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Service {
    type Statement = Prepared;
    type QueryParser = Shared;

    fn query_parser(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement;
        let values = params::values(portal, &prepared.params)?;
        match &prepared.kind {
            Kind::Ours(statement) => {
                let status = client.transaction_status();
                self.0.run(statement, Params::positional(values), &portal.result_column_format, status).await
            }
            Kind::Catalogue(plan) => {
                let plan = plan.as_ref().clone().replace_params_with_values(&params::scalars(values));
                let plan = plan.map_err(|e| catalog::failure(&e))?;
                self.0.run_catalogue(plan, &portal.result_column_format).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_sent_has_a_word_on_the_wire() {
        for ty in nowcast_model::ColumnType::ALL {
            assert!(arrow_pg::datatypes::into_pg_type(&plain_type(&ty.arrow())).is_ok(), "{ty}");
        }
    }
}
