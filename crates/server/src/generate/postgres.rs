//! Rows to PostgreSQL, or to what speaks its protocol: the tables in a schema of their own, with PostgreSQL's
//! types, rows by `INSERT` with bound parameters, an iteration a transaction.
//!
//! Nowcast's own PostgreSQL port takes the same statements; there the tables are made with their time column
//! and partitions, which PostgreSQL has no words for.

use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{Array, ArrayRef, RecordBatch};
use nowcast_model::{Batch, ColumnType, TableSchema};
use tokio_postgres::{
    Client, NoTls, Transaction,
    config::{Host, SslMode},
    types::{ToSql, Type},
};

use super::{
    client::GenerateError,
    http::{double_at, long_at, text_at, time_at},
    schema::{create_table_postgres, create_table_sql},
};

/// Rows of one statement: with 15 columns far below the 65,535 parameters that the protocol can count.
const STATEMENT_ROWS_MAX: usize = 500;
const _: () = assert!(STATEMENT_ROWS_MAX * 15 <= 65_535);

/// A PostgreSQL server.
pub(super) struct PostgresTarget {
    client: Client,
    to: String,
    is_nowcast: bool,
}

impl PostgresTarget {
    /// Connects, and makes `schema` if it does not exist.
    pub(super) async fn connect(
        mut config: tokio_postgres::Config,
        schema: &str,
    ) -> Result<PostgresTarget, GenerateError> {
        let to = address(&config);
        if config.get_ssl_mode() == SslMode::Require {
            let hint = "use sslmode=prefer on the machine itself or through an SSH tunnel".to_owned();
            return Err(GenerateError::Usage {
                cause: "TLS to PostgreSQL is not built yet".to_owned(),
                hint,
            });
        }
        config.ssl_mode(SslMode::Disable);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        config.application_name("nowcast generate");
        let (client, connection) = config.connect(NoTls).await.map_err(|error| {
            let is_refusal = error.as_db_error().is_some();
            let hint = if is_refusal {
                "give user, password and database with --to postgres://USER:PASSWORD@HOST/DATABASE, or set \
                 DB_USER, DB_PASS and DB_NAME"
            } else {
                "start PostgreSQL there, or give another address with --to or DB_HOST and DB_PORT; for a \
                 Nowcast server use --to http://127.0.0.1:9000"
            };
            GenerateError::Connect { to: to.clone(), cause: reason(&error), hint: hint.to_owned() }
        })?;
        // Ends with the client; what goes wrong with it, the client's calls say.
        tokio::spawn(async move { drop(connection.await) });
        let version = client.query_one("SELECT version()", &[]).await.ok();
        let version: Option<String> = version.and_then(|row| row.try_get(0).ok());
        let is_nowcast = version.is_some_and(|version| version.to_lowercase().contains("nowcast"));
        let target = PostgresTarget { client, to, is_nowcast };
        let quiet = "SET client_min_messages = warning";
        drop(target.client.batch_execute(quiet).await);
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
        target.execute(&sql, &format!("to make the schema {schema}")).await?;
        Ok(target)
    }

    async fn execute(&self, sql: &str, what: &str) -> Result<(), GenerateError> {
        self.client.batch_execute(sql).await.map_err(|error| self.refused(what, &error))
    }

    fn refused(&self, what: &str, error: &tokio_postgres::Error) -> GenerateError {
        GenerateError::Refused { to: self.to.clone(), what: what.to_owned(), cause: reason(error) }
    }

    pub(super) async fn exists(&self, schema: &TableSchema) -> Result<bool, GenerateError> {
        let sql = format!("SELECT * FROM {} LIMIT 0", schema.name);
        match self.client.batch_execute(&sql).await {
            Ok(()) => Ok(true),
            Err(error) if error.as_db_error().is_some() => Ok(false),
            Err(error) => Err(self.refused("to be asked for its tables", &error)),
        }
    }

    pub(super) async fn make(&self, schema: &TableSchema, anew: bool) -> Result<(), GenerateError> {
        let what = format!("to make the table {}", schema.name);
        if anew {
            self.execute(&format!("DROP TABLE IF EXISTS {}", schema.name), &what).await?;
        }
        let sql =
            if self.is_nowcast { create_table_sql(schema, true) } else { create_table_postgres(schema) };
        self.execute(&sql, &what).await
    }

    pub(super) async fn write(&mut self, batches: &[Batch]) -> Result<(), GenerateError> {
        let to = self.to.clone();
        let failed = |what: &str, error: &tokio_postgres::Error| GenerateError::Refused {
            to: to.clone(),
            what: what.to_owned(),
            cause: reason(error),
        };
        let begun = self.client.transaction().await.map_err(|e| failed("a transaction", &e))?;
        for batch in batches {
            for begin in (0..batch.rows.num_rows()).step_by(STATEMENT_ROWS_MAX) {
                let length = STATEMENT_ROWS_MAX.min(batch.rows.num_rows() - begin);
                let inserted =
                    insert(&begun, &batch.table.to_string(), &batch.rows.slice(begin, length)).await;
                inserted.map_err(|e| failed(&format!("rows of {}", batch.table), &e))?;
            }
        }
        begun.commit().await.map_err(|e| failed("a transaction", &e))
    }
}

/// One statement for all `rows`.
async fn insert(
    transaction: &Transaction<'_>,
    table: &str,
    rows: &RecordBatch,
) -> Result<(), tokio_postgres::Error> {
    let schema = rows.schema();
    let fields = schema.fields();
    let types: Vec<Type> = fields.iter().map(|f| wire_type(ColumnType::from_arrow(f.data_type()))).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let sql = insert_sql(table, &names, rows.num_rows());
    let all: Vec<Type> = types.iter().cloned().cycle().take(types.len() * rows.num_rows()).collect();
    let statement = transaction.prepare_typed(&sql, &all).await?;
    let mut cells: Vec<Box<dyn ToSql + Sync + Send + '_>> = Vec::with_capacity(all.len());
    for row in 0..rows.num_rows() {
        cells.extend(rows.columns().iter().zip(&types).map(|(column, ty)| cell(column, ty, row)));
    }
    let cells: Vec<&(dyn ToSql + Sync)> = cells.iter().map(|cell| &**cell as _).collect();
    transaction.execute(&statement, &cells).await?;
    Ok(())
}

fn insert_sql(table: &str, names: &[&str], rows: usize) -> String {
    let mut sql = format!("INSERT INTO {table} ({}) VALUES ", names.join(", "));
    let mut parameter = 0;
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..names.len() {
            parameter += 1;
            sql.push_str(if column == 0 { "$" } else { ", $" });
            sql.push_str(&parameter.to_string());
        }
        sql.push(')');
    }
    sql
}

fn wire_type(ty: Option<ColumnType>) -> Type {
    match ty {
        Some(ColumnType::Long) => Type::INT8,
        Some(ColumnType::Double) => Type::FLOAT8,
        Some(ColumnType::Timestamp) => Type::TIMESTAMP,
        _ => Type::TEXT,
    }
}

fn cell<'a>(column: &'a ArrayRef, ty: &Type, row: usize) -> Box<dyn ToSql + Sync + Send + 'a> {
    let valid = column.is_valid(row);
    match *ty {
        Type::INT8 => Box::new(valid.then(|| long_at(column, row))),
        Type::FLOAT8 => Box::new(valid.then(|| double_at(column, row))),
        Type::TIMESTAMP => {
            Box::new(valid.then(|| {
                UNIX_EPOCH + Duration::from_micros(u64::try_from(time_at(column, row)).unwrap_or(0))
            }))
        }
        _ => Box::new(text_at(column, row)),
    }
}

/// `postgres://user@host:port/database`: never the password.
fn address(config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or_default();
    format!("postgres://{user}@{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

/// The server's words if it said something, else the whole chain of causes.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let hint = said.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        return format!("{} (SQLSTATE {}){hint}", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
