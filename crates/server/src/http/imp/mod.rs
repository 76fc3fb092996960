//! `/imp`: CSV as an upload, as QuestDB takes it.
//!
//! The file is read as it comes; each batch is a record of the log and is written before more is read, so an
//! upload of any size needs the memory of one batch, and a slow disk slows the client. The table is made by the
//! first record. With `atomicity=abort` nothing is written before the file's end: what is more than one record may
//! hold is kept on the disk ([`spool`]) and read again once all of it is known to be right.

mod multipart;
mod report;
mod spool;

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use nowcast_model::{
    Batch, Column, ColumnType, Event, Item, PartitionBy, TableName, TableSchema, limits::RECORD_BYTES_MAX,
};
use nowcast_sources::{
    LineError, WriteError,
    csv::{CsvOptions, CsvReader, OnError, Override, Pattern},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    ApiError, App,
    fields::{Fields, bad},
    table_name,
};
use multipart::Parts;
use report::Report;
use spool::Spool;

/// The parameters. `durable` asks for what is done anyway; `o3MaxLag` and `commitLag` are of QuestDB's commits.
const PARAMETERS: [&str; 15] = [
    "name",
    "fmt",
    "overwrite",
    "timestamp",
    "partitionBy",
    "forceHeader",
    "skipLev",
    "delimiter",
    "atomicity",
    "durable",
    "create",
    "maxUncommittedRows",
    "schema",
    "o3MaxLag",
    "commitLag",
];

/// The part `schema`.
const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Rows of one record unless asked for otherwise, and at most.
const ROWS: usize = 50_000;
const ROWS_MAX: usize = 500_000;

/// What `atomicity=abort` holds back in memory.
const HELD_BYTES_MAX: usize = RECORD_BYTES_MAX / 2;

/// How often a record is tried while the server is busy; each waits some seconds by itself.
const BUSY_TRIES: usize = 12;

/// `POST /imp`
pub(super) async fn post(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let fields = match Fields::parse(query.unwrap_or_default().as_bytes()) {
        Ok(fields) => fields,
        Err(error) => return error.into_response(),
    };
    let as_json = fields.get("fmt").is_some_and(|fmt| fmt.eq_ignore_ascii_case("json"));
    let mut parts = match Parts::new(&headers, body) {
        Ok(parts) => parts,
        Err(error) => return refused(&error, as_json),
    };
    match import(&app, &fields, &mut parts).await {
        Ok(report) if as_json => Json(report.json()).into_response(),
        Ok(report) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], report.text()).into_response(),
        Err(error) => {
            parts.drain().await;
            refused(&error, as_json)
        }
    }
}

/// An error as QuestDB's: its `status` in JSON, or text.
fn refused(error: &ApiError, as_json: bool) -> Response {
    let text = |name: &str| error.field(name).unwrap_or_default().to_owned();
    if as_json {
        return (error.status(), Json(json!({ "status": text("error"), "hint": text("hint") })))
            .into_response();
    }
    let body = format!("{}\r\n{}\r\n", text("error"), text("hint"));
    (error.status(), [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// What the parameters ask for.
#[derive(Clone)]
struct Wanted {
    csv: CsvOptions,
    overwrite: bool,
    create: bool,
    partition_by: Option<PartitionBy>,
}

impl Wanted {
    fn new(fields: &Fields) -> Result<Wanted, ApiError> {
        fields.check("/imp", &PARAMETERS)?;
        if let Some(fmt) =
            fields.get("fmt").filter(|fmt| !["json", "text"].contains(&fmt.to_lowercase().as_str()))
        {
            return Err(bad(format!("there is no format {fmt:?}")).hint("fmt=text, or fmt=json"));
        }
        fields.flag("durable")?;
        let on_error = match fields.get("atomicity").unwrap_or("skipCol").to_ascii_lowercase().as_str() {
            "skipcol" | "0" => OnError::Null,
            "skiprow" | "1" => OnError::SkipRow,
            "abort" | "skipall" | "2" => OnError::Abort,
            other => {
                return Err(bad(format!("there is no atomicity {other:?}")).hint("skipCol, skipRow or abort"));
            }
        };
        let partition_by = match fields.get("partitionBy") {
            None => None,
            Some(text) => Some(partition_by(text).map_err(bad)?),
        };
        let rows: usize = fields.number("maxUncommittedRows")?.unwrap_or(ROWS);
        let csv = CsvOptions {
            delimiter: fields.delimiter()?,
            header: fields.flag("forceHeader")?.then_some(true),
            cut_extra: fields.flag("skipLev")?,
            on_error,
            timestamp: fields.get("timestamp").map(str::to_owned),
            overrides: fields.get("schema").map(overrides).transpose()?.unwrap_or_default(),
            batch_rows: rows.clamp(1, ROWS_MAX),
            ..CsvOptions::default()
        };
        let create = fields.get("create").is_none() || fields.flag("create")?;
        Ok(Wanted { csv, overwrite: fields.flag("overwrite")?, create, partition_by })
    }
}

/// A word of PARTITION BY.
///
/// # Errors
/// Another word.
pub fn partition_by(text: &str) -> Result<PartitionBy, String> {
    use PartitionBy::{Day, Hour, Month, None, Week, Year};
    let all = [None, Hour, Day, Week, Month, Year];
    all.into_iter().find(|by| by.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
        format!("nothing is partitioned by {text:?}; use NONE, HOUR, DAY, WEEK, MONTH or YEAR")
    })
}

async fn import(app: &App, fields: &Fields, parts: &mut Parts) -> Result<Report, ApiError> {
    let mut wanted = Wanted::new(fields)?;
    let head = loop {
        let Some(head) = parts.next().await? else {
            return Err(bad("the form has no part `data`").hint("curl -F data=@file.csv"));
        };
        match head.name.as_str() {
            "data" => break head,
            "schema" => {
                let mut text = Vec::new();
                while let Some(piece) = parts.piece().await? {
                    text.extend_from_slice(&piece);
                    if text.len() > SCHEMA_BYTES_MAX {
                        return Err(bad(format!("the part `schema` has more than {SCHEMA_BYTES_MAX} bytes")));
                    }
                }
                let text = String::from_utf8(text).map_err(|_| bad("the part `schema` is not UTF-8"))?;
                wanted.csv.overrides = overrides(&text)?;
            }
            other => {
                let error = bad(format!("the form has a part {other:?}"));
                return Err(error.hint("send `schema`, if there is one, and then `data`"));
            }
        }
    };
    let file = head.file.as_deref().map(|file| file.rsplit(['/', '\\']).next().unwrap_or(file));
    let stem = file.map(|file| file.split('.').next().unwrap_or(file)).filter(|stem| !stem.is_empty());
    let Some(name) = fields.get("name").or(stem) else {
        return Err(bad("no table is named").hint("/imp?name=TABLE"));
    };
    let (table, abort) = (table_name(name), wanted.csv.on_error == OnError::Abort);
    let mut import = Import::new(app, table.clone(), wanted.clone())?;
    let mut spool = if abort { Some(Spool::new(app)?) } else { None };
    while let Some(piece) = parts.piece().await? {
        if let Some(spool) = &mut spool {
            tokio::task::block_in_place(|| spool.put(&piece))?;
        }
        import.feed(&piece).await?;
    }
    if let Some(spool) = spool
        && import.is_too_much()
    {
        let ended = tokio::task::block_in_place(|| import.reader.finish());
        ended.map_err(|error| import.failed(&error))?;
        import = Import::new(app, table, wanted)?;
        import.abort = false;
        let mut pieces = tokio::task::block_in_place(|| spool.rewind())?;
        while let Some(piece) = tokio::task::block_in_place(|| pieces.next())? {
            import.feed(piece).await?;
        }
    }
    let ended = tokio::task::block_in_place(|| import.reader.finish());
    ended.map_err(|error| import.failed(&error))?;
    import.write(true).await?;
    import.report()
}

/// A file on its way into its table.
struct Import<'a> {
    app: &'a App,
    table: TableName,
    reader: CsvReader,
    /// The table as it was.
    existing: Option<Arc<TableSchema>>,
    overwrite: bool,
    partition_by: Option<PartitionBy>,
    /// Nothing is written before the file's end.
    abort: bool,
    begun: bool,
    held: Vec<Item>,
    /// Bytes of the rows that are held; once they are more than a record may hold, of those that were.
    held_bytes: usize,
    /// Rows that are durable.
    written: u64,
}

impl<'a> Import<'a> {
    fn new(app: &'a App, table: TableName, wanted: Wanted) -> Result<Import<'a>, ApiError> {
        let Wanted { mut csv, overwrite, create, partition_by } = wanted;
        let existing = app.store.registry().table(&table).filter(|_| !overwrite);
        if existing.is_none() && !create {
            let error = ApiError::new(StatusCode::BAD_REQUEST, format!("there is no table {table}"));
            return Err(error.hint("leave create=false out, and it is made"));
        }
        if let Some(schema) = &existing {
            let time = schema.timestamp_column().map(|column| column.name.to_string());
            if let Some(given) = &csv.timestamp
                && !time.as_ref().is_some_and(|time| time.eq_ignore_ascii_case(given))
            {
                let time = time.unwrap_or_else(|| "none".to_owned());
                let error = bad(format!("the time column of {table} is {time}, not {given:?}"));
                return Err(error.hint("leave `timestamp` out, or overwrite=true"));
            }
            csv.timestamp = time;
            csv.table = Some(schema.columns.clone());
        } else if csv.timestamp.is_none() && partition_by.is_some_and(|by| by != PartitionBy::None) {
            return Err(bad("partitionBy needs a time column").hint("add timestamp=COLUMN"));
        }
        let abort = csv.on_error == OnError::Abort;
        Ok(Import {
            app,
            table,
            reader: CsvReader::new(csv),
            existing,
            overwrite,
            partition_by,
            abort,
            begun: false,
            held: Vec::new(),
            held_bytes: 0,
            written: 0,
        })
    }

    /// The table as it will be.
    fn schema(&self) -> Option<TableSchema> {
        let layout = self.reader.layout()?;
        let columns: Vec<Column> = layout.columns.iter().map(|c| Column::new(&c.name, c.ty)).collect();
        let by = match layout.timestamp {
            Some(_) => self.partition_by.unwrap_or_default(),
            None => PartitionBy::None,
        };
        Some(TableSchema {
            name: self.table.clone(),
            columns,
            timestamp: layout.timestamp,
            partition_by: by,
            ttl_s: None,
            dedup_keys: Vec::new(),
            dropped: 0,
        })
    }

    async fn feed(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let fed = tokio::task::block_in_place(|| self.reader.feed(piece));
        self.write(false).await?;
        fed.map_err(|error| self.failed(&error))
    }

    /// True once there is more to be written at once than a record may hold.
    fn is_too_much(&self) -> bool {
        self.abort && self.held_bytes > HELD_BYTES_MAX
    }

    /// Writes the batches that are ready, each as a record.
    async fn write(&mut self, last: bool) -> Result<(), ApiError> {
        let Some(timestamp) = self.reader.layout().map(|layout| layout.timestamp) else { return Ok(()) };
        for rows in self.reader.take() {
            let batch = Batch { table: self.table.clone(), rows, timestamp };
            self.held_bytes += batch.bytes();
            if self.is_too_much() {
                self.held.clear();
                continue;
            }
            self.held.push(Item::Rows(batch));
            if !self.abort {
                self.flush().await?;
            }
        }
        if last {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ApiError> {
        let mut items = Vec::new();
        if !self.begun && self.existing.is_none() {
            if self.overwrite && self.app.store.registry().table(&self.table).is_some() {
                items.push(Item::Event(Event::DropTable { table: self.table.clone() }));
            }
            if let Some(schema) = self.schema() {
                schema.check().map_err(|error| bad(error.to_string()))?;
                items.push(Item::Event(Event::CreateTable { schema }));
            }
        }
        let rows: u64 = self.held.iter().map(Item::len).sum();
        items.append(&mut self.held);
        self.held_bytes = 0;
        if items.is_empty() {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            let outcome = self.app.ingest.append_visible(items.clone()).await;
            match outcome.map_err(crate::stages::AppendError::into_write_error) {
                Ok(()) => break,
                Err(WriteError::Busy { retry_after_s }) if tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(retry_after_s)).await;
                }
                Err(error) => return Err(self.refused(&error)),
            }
        }
        self.begun = true;
        self.written += rows;
        Ok(())
    }

    fn refused(&self, error: &WriteError) -> ApiError {
        let status = match error {
            WriteError::Refused { .. } => StatusCode::BAD_REQUEST,
            WriteError::NoSpace { .. } => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let (cause, hint) = match error {
            WriteError::Refused { column, cause, hint, .. } => {
                let column = column.as_ref().map(|column| format!("column {column:?} ")).unwrap_or_default();
                (format!("{column}{cause}"), hint.clone())
            }
            other => (other.to_string(), "send the rest again when there is room".to_owned()),
        };
        ApiError::new(status, format!("table {}: {cause}; {}", self.table, self.so_far())).hint(hint)
    }

    fn failed(&self, error: &LineError) -> ApiError {
        let place = format!("line {}: {}; {}", error.line, error.cause, self.so_far());
        bad(place).hint(error.hint.clone()).with("line", error.line)
    }

    fn so_far(&self) -> String {
        match self.written {
            0 => "nothing was written".to_owned(),
            rows => format!("{rows} rows before were written"),
        }
    }

    fn report(&self) -> Result<Report, ApiError> {
        let layout = self.reader.layout().cloned().ok_or_else(|| bad("the file is empty"))?;
        let by = self.existing.as_ref().map(|schema| schema.partition_by);
        let partition_by = by.or(self.schema().map(|schema| schema.partition_by)).unwrap_or_default();
        let (_, rejected) = self.reader.counts();
        Ok(Report {
            table: self.table.to_string(),
            layout,
            partition_by,
            imported: self.written,
            rejected,
            first_error: self.reader.first_error().cloned(),
        })
    }
}

/// A column of the part `schema`.
#[derive(Debug, Deserialize)]
struct RawOverride {
    name: Option<String>,
    #[serde(rename = "type")]
    ty: Option<String>,
    pattern: Option<String>,
}

fn overrides(text: &str) -> Result<Vec<Override>, ApiError> {
    let hint = r#"[{"name":"ts","type":"TIMESTAMP","pattern":"yyyy-MM-dd HH:mm:ss"}]"#;
    let raw: Vec<RawOverride> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the schema is not the JSON that it should be: {error}")).hint(hint))?;
    let given = |raw: RawOverride| {
        let missing = || bad("a column of the schema has no name, or no type").hint(hint);
        let (name, ty) = (raw.name.ok_or_else(missing)?, raw.ty.ok_or_else(missing)?);
        let upper = ty.to_ascii_uppercase();
        let known = match upper.as_str() {
            "STRING" | "TEXT" => Some(ColumnType::Varchar),
            other => ColumnType::ALL.into_iter().find(|ty| ty.name() == other),
        };
        let Some(ty) = known else {
            let names: Vec<&str> = ColumnType::ALL.iter().map(|ty| ty.name()).collect();
            let error = bad(format!("the schema gives column {name:?} the type {ty:?}"));
            return Err(error.hint(format!("the types are {}", names.join(", "))));
        };
        let pattern = raw.pattern.filter(|pattern| !pattern.is_empty());
        let pattern = pattern.map(|pattern| Pattern::new(&pattern)).transpose().map_err(bad)?;
        Ok(Override { name, ty, pattern })
    };
    raw.into_iter().map(given).collect()
}
