//! Rows to a server that speaks QuestDB's HTTP: tables by SQL over `/exec`, rows with a time column as line
//! protocol over `/write`, rows of tables without one as `INSERT`.
//!
//! The tables are made first, since line protocol alone would call the time column `timestamp` and partition
//! by day. A request of `/write` holds all rows of an iteration: one atomic record.

use std::{fmt::Write, time::Duration};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use nowcast_model::{Batch, ColumnType, TableSchema};

use super::{client::GenerateError, schema::create_table_sql};

/// Of an answer only what went wrong is read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How often and how long a server that says it is busy is waited for.
const BUSY_RETRIES_MAX: u32 = 60;

/// An HTTP server.
pub(super) struct HttpTarget {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

struct Answer {
    status: u16,
    retry_after_s: Option<u64>,
    text: String,
}

impl HttpTarget {
    /// A target at `base`, such as `http://127.0.0.1:9000`. Nothing is sent yet.
    pub(super) fn new(base: String, token: Option<String>) -> HttpTarget {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .build();
        HttpTarget { agent: config.into(), base, token }
    }

    async fn post(&self, path: &str, content_type: &str, body: String) -> Result<Answer, GenerateError> {
        let mut request = self.agent.post(format!("{}{path}", self.base)).content_type(content_type);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let sent = tokio::task::spawn_blocking(move || {
            let mut response = request.send(body)?;
            let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let retry_after_s = retry_after.and_then(|seconds| seconds.parse().ok());
            let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
            Ok::<Answer, ureq::Error>(Answer { status: response.status().as_u16(), retry_after_s, text })
        });
        let cannot = |cause: String| GenerateError::Connect {
            to: self.base.clone(),
            cause,
            hint: "start `nowcast serve` there, or give its address with --to http://HOST:PORT".to_owned(),
        };
        sent.await.map_err(|e| cannot(e.to_string()))?.map_err(|e| cannot(e.to_string()))
    }

    /// Posts, and waits for a busy server; an answer that is not 2xx is an error.
    async fn demand(
        &self,
        path: &str,
        content_type: &str,
        body: String,
        what: &str,
    ) -> Result<(), GenerateError> {
        let mut retries = 0;
        loop {
            let answer = self.post(path, content_type, body.clone()).await?;
            if answer.status == 503 && retries < BUSY_RETRIES_MAX {
                retries += 1;
                let wait_s = answer.retry_after_s.unwrap_or(1).clamp(1, 10);
                tokio::time::sleep(Duration::from_secs(wait_s)).await;
                continue;
            }
            if (200..300).contains(&answer.status) {
                return Ok(());
            }
            return Err(self.refused(what, &answer));
        }
    }

    fn refused(&self, what: &str, answer: &Answer) -> GenerateError {
        let json: Option<serde_json::Value> = serde_json::from_str(&answer.text).ok();
        let field = |name: &str| json.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let said =
            field("error").or_else(|| field("message")).unwrap_or_else(|| answer.text.trim().to_owned());
        let hint = field("hint").map(|hint| format!("; {hint}")).unwrap_or_default();
        let token = if answer.status == 401 { "; give the server's token with --token" } else { "" };
        let cause = format!("{said}{hint} (status {}){token}", answer.status);
        GenerateError::Refused { to: self.base.clone(), what: what.to_owned(), cause }
    }

    async fn sql(&self, sql: &str, what: &str) -> Result<(), GenerateError> {
        let body = format!("query={}", crate::client::percent_encode(sql));
        self.demand("/exec", "application/x-www-form-urlencoded", body, what).await
    }

    pub(super) async fn exists(&self, schema: &TableSchema) -> Result<bool, GenerateError> {
        let query = format!("SELECT * FROM {} LIMIT 0", schema.name);
        let body = format!("query={}", crate::client::percent_encode(&query));
        let answer = self.post("/exec", "application/x-www-form-urlencoded", body).await?;
        match answer.status {
            200 => Ok(true),
            400 | 404 => Ok(false),
            _ => Err(self.refused("to be asked for its tables", &answer)),
        }
    }

    pub(super) async fn make(&self, schema: &TableSchema, anew: bool) -> Result<(), GenerateError> {
        let what = format!("to make the table {}", schema.name);
        if anew {
            self.sql(&format!("DROP TABLE IF EXISTS {}", schema.name), &what).await?;
        }
        self.sql(&create_table_sql(schema, true), &what).await
    }

    pub(super) async fn write(&self, batches: &[Batch]) -> Result<(), GenerateError> {
        let mut lines = String::new();
        for batch in batches {
            match batch.timestamp {
                Some(time) => push_lines(&mut lines, batch, time),
                None => self.sql(&insert_sql(batch), &format!("rows of {}", batch.table)).await?,
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.demand("/write?precision=u", "text/plain; charset=utf-8", lines, "rows").await
    }
}

/// Appends the rows as line protocol: symbols are tags, the time column stands at the end in microseconds.
pub(super) fn push_lines(out: &mut String, batch: &Batch, time: usize) {
    let schema = batch.rows.schema();
    let types: Vec<Option<ColumnType>> =
        schema.fields().iter().map(|field| ColumnType::from_arrow(field.data_type())).collect();
    let columns = || schema.fields().iter().zip(&types).zip(batch.rows.columns()).enumerate();
    for row in 0..batch.rows.num_rows() {
        push_escaped(out, &batch.table.table, ", ");
        for (_, ((field, ty), column)) in columns() {
            let word = if *ty == Some(ColumnType::Symbol) { text_at(column, row) } else { None };
            if let Some(word) = word.filter(|word| !word.is_empty()) {
                out.push(',');
                push_escaped(out, field.name(), ", =");
                out.push('=');
                push_escaped(out, word, ", =");
            }
        }
        let mut separator = ' ';
        for (index, ((field, ty), column)) in columns() {
            if index == time || *ty == Some(ColumnType::Symbol) || column.is_null(row) {
                continue;
            }
            out.push(separator);
            separator = ',';
            push_escaped(out, field.name(), ", =");
            out.push('=');
            match ty {
                Some(ColumnType::Long) => push(out, format_args!("{}i", long_at(column, row))),
                Some(ColumnType::Double) => push(out, format_args!("{}", double_at(column, row))),
                Some(ColumnType::Timestamp) => push(out, format_args!("{}t", time_at(column, row))),
                _ => {
                    out.push('"');
                    push_escaped(out, text_at(column, row).unwrap_or_default(), "\"\\");
                    out.push('"');
                }
            }
        }
        push(out, format_args!(" {}\n", time_at(batch.rows.column(time), row)));
    }
}

/// `INSERT INTO … VALUES …` with literals.
pub(super) fn insert_sql(batch: &Batch) -> String {
    let schema = batch.rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", batch.table, names.join(", "));
    for row in 0..batch.rows.num_rows() {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        push_literals(&mut sql, &batch.rows, row);
        sql.push(')');
    }
    sql
}

fn push_literals(sql: &mut String, rows: &RecordBatch, row: usize) {
    for (index, (field, column)) in rows.schema().fields().iter().zip(rows.columns()).enumerate() {
        if index > 0 {
            sql.push_str(", ");
        }
        if column.is_null(row) {
            sql.push_str("NULL");
            continue;
        }
        match ColumnType::from_arrow(field.data_type()) {
            Some(ColumnType::Long) => push(sql, format_args!("{}", long_at(column, row))),
            Some(ColumnType::Double) => push(sql, format_args!("{:?}", double_at(column, row))),
            Some(ColumnType::Timestamp) => push(sql, format_args!("{}", time_at(column, row))),
            _ => {
                let text = text_at(column, row).unwrap_or_default();
                push(sql, format_args!("'{}'", text.replace('\'', "''")));
            }
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("invariant: writing to a String does not fail");
}

/// Appends `text` with a backslash before each of `special`; a line break would end the line and becomes a
/// space.
fn push_escaped(out: &mut String, text: &str, special: &str) {
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(if c == '\n' || c == '\r' { ' ' } else { c });
    }
}

/// Text of a text or symbol column; `None` for NULL and for other columns.
pub(super) fn text_at(column: &ArrayRef, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    if let Some(words) = column.as_dictionary_opt::<Int32Type>() {
        let key = words.key(row)?;
        return Some(words.values().as_string_opt::<i32>()?.value(key));
    }
    column.as_string_opt::<i32>().map(|text| text.value(row))
}

pub(super) fn long_at(column: &ArrayRef, row: usize) -> i64 {
    column.as_primitive_opt::<Int64Type>().map_or(0, |values| values.value(row))
}

pub(super) fn double_at(column: &ArrayRef, row: usize) -> f64 {
    column.as_primitive_opt::<Float64Type>().map_or(0.0, |values| values.value(row))
}

pub(super) fn time_at(column: &ArrayRef, row: usize) -> i64 {
    column.as_primitive_opt::<TimestampMicrosecondType>().map_or(0, |values| values.value(row))
}
