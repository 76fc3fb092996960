//! Settings: where they come from, what they default to, and why.
//!
//! Rising order: defaults, `nowcast.toml`, `NOWCAST_SECTION_KEY` variables, flags. [`Raw`] is the file as
//! written (every key optional, unknown keys refused); [`Config`] is checked, and nothing downstream sees
//! anything else.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::feeds::{self, Orders, RawMetricsFeed};

/// The PostgreSQL password until another is set: QuestDB's.
pub const DEFAULT_PG_PASSWORD: &str = "quest";

/// Idempotency keys that can be remembered: each is a hundred bytes in memory, and as much of the manifest, which
/// every flush writes anew.
const KEYS_MAX: usize = 1_000_000;

/// A setting that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "unset" } else { "set" })
    }
}

/// `nowcast.toml`, as written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// Where logs, parts and dashboards live.
    pub data: Option<PathBuf>,
    /// `[http]`
    pub http: RawHttp,
    /// `[ilp]`
    pub ilp: RawIlp,
    /// `[pg]`
    pub pg: RawPg,
    /// `[log]`
    pub log: RawLog,
    /// `[idempotency]`
    pub idempotency: RawIdempotency,
    /// `[metrics]`
    pub metrics: RawMetrics,
    /// `[rejected]`
    pub rejected: RawRejected,
    /// `[memory]`
    pub memory: RawMemory,
    /// `[disk]`
    pub disk: RawDisk,
    /// `[query]`
    pub query: RawQuery,
    /// `[views]`
    pub views: RawViews,
    /// `[feed]`, or `[[feed]]`
    #[serde(deserialize_with = "feeds::table_or_list")]
    pub feed: RawFeed,
}

/// `[http]`: the page, REST, the live feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHttp {
    /// Addresses to listen on.
    pub bind: Vec<String>,
    /// If set, every request must carry it (`Authorization: Bearer …` or `Token …`, or the cookie that
    /// `/?token=…` sets).
    pub token: Secret,
    /// Origins of other sites whose pages may call the API, such as `https://app.example.com`.
    pub cors_origins: Vec<String>,
    /// Names besides `localhost`, this machine's name and addresses by which browsers may reach the server.
    pub hosts: Vec<String>,
    /// Largest request body, after decompression.
    pub body_bytes_max: usize,
    /// Longest time a request may take to arrive and be answered; the live feed excepted.
    pub request_timeout_s: u64,
    /// Largest upload of `/imp` with `atomicity=abort`, which is kept on the disk until all of it is known to be right.
    pub import_spool_bytes_max: u64,
}

impl Default for RawHttp {
    fn default() -> RawHttp {
        RawHttp {
            bind: vec!["127.0.0.1:9000".to_owned()],
            token: Secret::default(),
            cors_origins: Vec::new(),
            hosts: Vec::new(),
            // One body becomes one record, which recovery holds in memory as a whole.
            body_bytes_max: 32 << 20,
            request_timeout_s: 300,
            import_spool_bytes_max: 4 << 30,
        }
    }
}

/// `[ilp]`: line protocol over TCP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawIlp {
    /// Address to listen on; empty turns it off.
    pub bind: String,
    /// Connections at a time.
    pub connections_max: usize,
    /// Longest line.
    pub line_bytes_max: usize,
}

impl Default for RawIlp {
    fn default() -> RawIlp {
        RawIlp { bind: "127.0.0.1:9009".to_owned(), connections_max: 1_024, line_bytes_max: 1 << 20 }
    }
}

/// `[pg]`: the PostgreSQL wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPg {
    /// Address to listen on; empty turns it off.
    pub bind: String,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// Turns on a second user, who can change nothing.
    pub readonly_user_enabled: bool,
    /// The second user's name.
    pub readonly_user: String,
    /// The second user's password.
    pub readonly_password: Secret,
    /// Connections at a time.
    pub connections_max: usize,
    /// From a connection's first byte to its password's last.
    pub login_timeout_s: u64,
    /// Longest time in which a client takes none of its answer, or sends nothing of a message that it began.
    pub stall_timeout_s: u64,
}

impl Default for RawPg {
    fn default() -> RawPg {
        RawPg {
            bind: "127.0.0.1:8812".to_owned(),
            user: "admin".to_owned(),
            password: Secret(DEFAULT_PG_PASSWORD.to_owned()),
            readonly_user_enabled: false,
            readonly_user: "user".to_owned(),
            readonly_password: Secret(DEFAULT_PG_PASSWORD.to_owned()),
            connections_max: 256,
            // A person who types a password has logged in by then; a place is not held for long by who never does.
            login_timeout_s: 30,
            // A stalled reader keeps its query's snapshot and memory.
            stall_timeout_s: 60,
        }
    }
}

/// `[log]`: durability.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    /// `durable` acknowledges after `fdatasync`, `relaxed` once the page cache has it.
    pub durability: String,
    /// A segment's size.
    pub segment_bytes_max: u64,
    /// Writes that wait for the log, in memory.
    pub queue_bytes_max: usize,
    /// Committed records that wait for the apply thread, in memory; past it they are read back from disk.
    pub ring_bytes_max: usize,
    /// How long the log can be read after its rows are in parts (`GET /api/v1/log/{table}`), in seconds.
    pub keep_s: u64,
}

impl Default for RawLog {
    fn default() -> RawLog {
        RawLog {
            durability: "durable".to_owned(),
            segment_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            ring_bytes_max: 64 << 20,
            keep_s: 0,
        }
    }
}

/// `[idempotency]`: HTTP writes that carry an `Idempotency-Key`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawIdempotency {
    /// Keys that are remembered; past it the oldest is forgotten, and a repetition of its write is a new one.
    pub keys_max: usize,
    /// How long a key is remembered, in seconds.
    pub keep_s: u64,
}

impl Default for RawIdempotency {
    fn default() -> RawIdempotency {
        // A day is longer than anybody retries.
        RawIdempotency { keys_max: 16_384, keep_s: 86_400 }
    }
}

/// `[metrics]`: the table `_metrics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMetrics {
    /// How often the server's metrics are written to the table `_metrics`, in seconds; 0 never does.
    pub interval_s: u64,
    /// How long they are kept, in seconds; 0 keeps them for ever.
    pub keep_s: u64,
}

impl Default for RawMetrics {
    fn default() -> RawMetrics {
        RawMetrics { interval_s: 10, keep_s: 86_400 }
    }
}

/// `[rejected]`: the table `rejected`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRejected {
    /// How long refused lines are kept, in seconds; 0 keeps them for ever.
    pub keep_s: u64,
}

impl Default for RawRejected {
    fn default() -> RawRejected {
        RawRejected { keep_s: 7 * 86_400 }
    }
}

/// `[memory]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMemory {
    /// Rows that are not in Parquet parts yet; past it they are flushed. 0 takes an eighth of the memory
    /// that the process may use.
    pub hot_bytes_max: usize,
    /// Rows that are not in Parquet parts yet, past which no more are taken in: TCP is not read, HTTP answers
    /// 503. 0 takes twice `hot_bytes_max`.
    pub hot_bytes_hard_max: usize,
    /// What is remembered of the footers of Parquet parts, so that a query that comes again need not read them.
    pub footer_bytes_max: usize,
}

impl Default for RawMemory {
    fn default() -> RawMemory {
        RawMemory { hot_bytes_max: 0, hot_bytes_hard_max: 0, footer_bytes_max: 64 << 20 }
    }
}

/// `[disk]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDisk {
    /// Free space below which writes are refused and reads go on: what is in memory must still find a place.
    pub free_bytes_min: u64,
}

impl Default for RawDisk {
    fn default() -> RawDisk {
        RawDisk { free_bytes_min: 512 << 20 }
    }
}

/// `[query]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawQuery {
    /// Memory of all running queries together. 0 takes an eighth of the memory that the process may use.
    pub memory_bytes_max: usize,
    /// Queries that run at a time; more wait.
    pub concurrent_max: usize,
    /// Longest time a query may run.
    pub timeout_s: u64,
    /// Rows of one `/exec` answer.
    pub rows_max: usize,
    /// Nodes, columns and expressions of one query's plan, grouping sets written out.
    pub plan_size_max: usize,
}

impl Default for RawQuery {
    fn default() -> RawQuery {
        RawQuery {
            memory_bytes_max: 0,
            concurrent_max: 16,
            timeout_s: 60,
            rows_max: 1_000_000,
            plan_size_max: 100_000,
        }
    }
}

/// `[views]`: live queries.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawViews {
    /// Rows of one live result; more are cut and told as `truncated`.
    pub rows_max: usize,
    /// State of one live query; one that needs more is run again instead.
    pub state_bytes_max: usize,
    /// State of all live queries; past it the largest is run again instead.
    pub state_total_bytes_max: usize,
    /// Distinct live queries at a time.
    pub count_max: usize,
    /// How long a live query is kept warm after its last viewer left.
    pub linger_s: u64,
}

impl Default for RawViews {
    fn default() -> RawViews {
        RawViews {
            rows_max: 10_000,
            state_bytes_max: 512 << 20,
            state_total_bytes_max: 1 << 30,
            count_max: 1_000,
            linger_s: 60,
        }
    }
}

/// `[feed]`: what viewers get.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFeed {
    /// Shortest time between two rounds to one viewer: a screen shows 50 a second at most.
    pub push_interval_ms: u64,
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections from one address: an office behind one is hundreds of screens, a runaway script thousands.
    pub connections_per_address_max: usize,
    /// Subscriptions of one connection: a page of twelve panels uses about thirty.
    pub subscriptions_max: usize,
    /// One message from a viewer: a long query with its parameters fits ten times.
    pub message_bytes_max: usize,
    /// One message to a viewer, before compression: rows are bounded by `views.rows_max`, this bounds long texts.
    pub frame_bytes_max: usize,
    /// Encoded messages that are kept for viewers who need the same.
    pub cache_bytes_max: usize,
    /// Messages of one connection in a second, in bursts of five seconds' worth: a paced page acknowledges fifty
    /// times. 0 has no limit.
    pub messages_per_second_max: u32,
    /// Handshakes, streams and snapshots that one address asks for in a second, in bursts of five seconds' worth:
    /// all screens of an office come back at once. 0 has no limit.
    pub requests_per_second_max: u32,
    /// Subscriptions of one dashboard in a second, of all viewers together, in bursts of five seconds' worth: each
    /// is planned. 0 has no limit.
    pub dashboard_requests_per_second_max: u32,
    /// Bad messages of one connection before it is closed.
    pub errors_max: u32,
    /// A connection that asks for nothing in this time is closed.
    pub first_message_timeout_ms: u64,
    /// How often a silent viewer is pinged: below the minute after which proxies cut idle connections.
    pub ping_interval_ms: u64,
    /// A viewer who answers no ping for so long is gone: three pings.
    pub idle_timeout_ms: u64,
    /// A viewer that takes nothing for so long is closed and told to come back with its cursor.
    pub stall_ms_max: u64,
    /// `[[feed]]`, or `[[feed.query]]` beside limits: queries whose rows are metrics of dashboards.
    #[serde(rename = "query")]
    pub metrics: Vec<RawMetricsFeed>,
}

impl Default for RawFeed {
    fn default() -> RawFeed {
        RawFeed {
            push_interval_ms: 20,
            connections_max: 10_000,
            connections_per_address_max: 2_000,
            subscriptions_max: 128,
            message_bytes_max: 64 << 10,
            frame_bytes_max: 16 << 20,
            cache_bytes_max: 64 << 20,
            messages_per_second_max: 200,
            requests_per_second_max: 500,
            dashboard_requests_per_second_max: 1_000,
            errors_max: 20,
            first_message_timeout_ms: 10_000,
            ping_interval_ms: 20_000,
            idle_timeout_ms: 60_000,
            stall_ms_max: 30_000,
            metrics: Vec::new(),
        }
    }
}

/// What flags change.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--http`, each
    pub http: Vec<String>,
    /// `--ilp`
    pub ilp: Option<String>,
    /// `--pg`
    pub pg: Option<String>,
}

/// Settings that were checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where HTTP listens; at least one.
    pub http: Vec<SocketAddr>,
    /// Where line protocol listens.
    pub ilp: Option<SocketAddr>,
    /// Where the PostgreSQL wire listens.
    pub pg: Option<SocketAddr>,
    /// Everything that needs no further check.
    pub raw: Raw,
    /// What `/ws` sends.
    pub orders: Orders,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// The file, or a variable, says something that no setting is.
    #[error("{place}: {cause}")]
    Bad {
        /// `nowcast.toml, line 3, column 1`, or the variable's name.
        place: String,
        /// What is wrong and what would be right.
        cause: String,
    },
    /// Each setting is fine, the combination is not.
    #[error("{0}")]
    Refused(String),
}

fn bad(place: impl Into<String>, cause: impl Into<String>) -> ConfigError {
    ConfigError::Bad { place: place.into(), cause: cause.into() }
}

/// Reads the file (if any), the variables and the flags, and checks the whole.
///
/// # Errors
/// The first mistake, with its file, line and column or the variable's or flag's name.
pub fn load(
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    flags: Overrides,
) -> Result<Config, ConfigError> {
    let mut table = match file {
        None => toml::Table::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
            parse_file(path, &text)?;
            toml::from_str(&text).map_err(|e| bad(path.display().to_string(), e.message()))?
        }
    };
    let variables: Vec<(String, String)> = variables.collect();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    let orders = Orders::new(variable("REFRESH_SECONDS"), variable("LOOKBACK_MINUTES"));
    // [[feed]] is short for [[feed.query]], beside which variables may set limits.
    if let Some(feed) = table.get_mut("feed").filter(|feed| feed.is_array()) {
        let list = std::mem::replace(feed, toml::Value::Boolean(false));
        *feed = toml::Value::Table([("query".to_owned(), list)].into_iter().collect());
    }
    overlay_variables(&mut table, variables.into_iter())?;
    let mut raw = Raw::deserialize(table).map_err(|e| bad("settings", e.message()))?;
    if let Some(data) = flags.data {
        raw.data = Some(data);
    }
    if !flags.http.is_empty() {
        raw.http.bind = flags.http;
    }
    if let Some(ilp) = flags.ilp {
        raw.ilp.bind = ilp;
    }
    if let Some(pg) = flags.pg {
        raw.pg.bind = pg;
    }
    check(raw, orders)
}

/// Deserialises the file for its errors: only here are places known.
fn parse_file(path: &Path, text: &str) -> Result<Raw, ConfigError> {
    toml::from_str::<Raw>(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text[..text.floor_char_boundary(start)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        bad(format!("{}, line {line}, column {column}", path.display()), explain(error.message()))
    })
}

/// Adds "did you mean" to serde's list of expected keys.
fn explain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let Some((unknown, known)) = rest.split_once('`') else { return message.to_owned() };
    let nearest = known
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|key| (strsim::damerau_levenshtein(unknown, key), key))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match nearest {
        Some((_, key)) => format!("unknown setting `{unknown}`; did you mean `{key}`?"),
        None => format!("unknown setting `{unknown}`{known}"),
    }
}

/// `NOWCAST_HTTP_BODY_BYTES_MAX=1000` is `http.body_bytes_max`. A list is separated by commas.
fn overlay_variables(
    table: &mut toml::Table,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let known = toml::Table::try_from(Raw::default())
        .map_err(|e| bad("settings", format!("the defaults do not serialise: {e}")))?;
    for (variable, text) in variables {
        // QuestDB's name of the same setting, for those who come with it.
        let path = match variable.strip_prefix("NOWCAST_") {
            Some(path) => path.to_lowercase(),
            None if variable == "QDB_PG_READONLY_USER_ENABLED" => "pg_readonly_user_enabled".to_owned(),
            None => continue,
        };
        if path == "data" {
            table.insert("data".into(), toml::Value::String(text));
            continue;
        }
        let Some((section, key)) = path.split_once('_') else { continue };
        let Some(default) = known.get(section).and_then(|s| s.get(key)) else { continue };
        let wrong = |kind: &str| bad(variable.clone(), format!("{text:?} is not {kind}"));
        let value = match default {
            toml::Value::Integer(_) => {
                toml::Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?)
            }
            toml::Value::Boolean(_) => {
                toml::Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?)
            }
            toml::Value::Array(_) => toml::Value::Array(
                text.split(',').map(|item| toml::Value::String(item.trim().to_owned())).collect(),
            ),
            _ => toml::Value::String(text.clone()),
        };
        let entry = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let Some(section) = entry.as_table_mut() {
            section.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

fn address(setting: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    let port_only = text.parse::<u16>().ok().map(|port| format!("127.0.0.1:{port}"));
    let text = port_only.as_deref().unwrap_or(text);
    let wrong = || {
        bad(setting, format!("{text:?} is no address to listen on; write HOST:PORT, such as 127.0.0.1:9000"))
    };
    text.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

fn check(raw: Raw, orders: Orders) -> Result<Config, ConfigError> {
    let http: Vec<SocketAddr> =
        raw.http.bind.iter().map(|text| address("http.bind", text)).collect::<Result<_, _>>()?;
    if http.is_empty() {
        return Err(bad("http.bind", "no address is given; the page and the API need one"));
    }
    let optional = |setting, text: &str| match text {
        "" | "off" => Ok(None),
        text => address(setting, text).map(Some),
    };
    let ilp = optional("ilp.bind", &raw.ilp.bind)?;
    let pg = optional("pg.bind", &raw.pg.bind)?;
    if !matches!(raw.log.durability.as_str(), "durable" | "relaxed") {
        return Err(bad(
            "log.durability",
            format!("{:?} is neither \"durable\" nor \"relaxed\"", raw.log.durability),
        ));
    }
    if raw.log.segment_bytes_max < 1 << 20 {
        return Err(bad("log.segment_bytes_max", "a segment below 1 MiB makes files without end"));
    }
    if !(1..=KEYS_MAX).contains(&raw.idempotency.keys_max) {
        return Err(bad(
            "idempotency.keys_max",
            format!(
                "{} keys cannot be remembered; set 1 to {KEYS_MAX}, for as many writes as come while one may be \
                 repeated",
                raw.idempotency.keys_max
            ),
        ));
    }
    if raw.idempotency.keep_s == 0 {
        return Err(bad(
            "idempotency.keep_s",
            "a key that is forgotten at once promises nothing; set 1 or more",
        ));
    }
    if raw.feed.ping_interval_ms == 0 || raw.feed.idle_timeout_ms <= raw.feed.ping_interval_ms {
        return Err(bad(
            "feed.idle_timeout_ms",
            "a viewer must have time to answer a ping; set it above feed.ping_interval_ms, and that above 0",
        ));
    }
    let open = http.iter().copied().chain(ilp).chain(pg).find(|a| !a.ip().is_loopback());
    if let Some(open) = open
        && pg.is_some()
        && raw.pg.password.0 == DEFAULT_PG_PASSWORD
    {
        return Err(ConfigError::Refused(format!(
            "{open} can be reached from other machines while the PostgreSQL password is the default; \
             set NOWCAST_PG_PASSWORD (or `password` in [pg]), or listen on 127.0.0.1"
        )));
    }
    if let Some(open) = open
        && pg.is_some()
        && raw.pg.readonly_user_enabled
        && raw.pg.readonly_password.0 == DEFAULT_PG_PASSWORD
    {
        return Err(ConfigError::Refused(format!(
            "{open} can be reached from other machines while the password of {:?} is the default; \
             set NOWCAST_PG_READONLY_PASSWORD (or `readonly_password` in [pg]), or listen on 127.0.0.1",
            raw.pg.readonly_user
        )));
    }
    if raw.pg.readonly_user_enabled {
        if raw.pg.readonly_user == raw.pg.user {
            return Err(bad("pg.readonly_user", "it is the name of the user who may write; choose another"));
        }
        if raw.pg.readonly_password.0.is_empty() {
            return Err(bad(
                "pg.readonly_password",
                "an empty password lets everyone in; set NOWCAST_PG_READONLY_PASSWORD",
            ));
        }
    }
    for (key, seconds) in
        [("pg.login_timeout_s", raw.pg.login_timeout_s), ("pg.stall_timeout_s", raw.pg.stall_timeout_s)]
    {
        if !(1..=86_400).contains(&seconds) {
            return Err(bad(key, format!("{seconds} s are too few or too many; write 1 to 86400")));
        }
    }
    if raw.pg.password.0.is_empty() {
        return Err(bad("pg.password", "an empty password lets everyone in; set NOWCAST_PG_PASSWORD"));
    }
    for origin in &raw.http.cors_origins {
        if !origin.starts_with("http://") && !origin.starts_with("https://") || origin.ends_with('/') {
            return Err(bad(
                "http.cors_origins",
                format!("{origin:?} is no origin; write https://app.example.com"),
            ));
        }
    }
    let data = raw.data.clone().unwrap_or_else(default_data);
    Ok(Config { data, http, ilp, pg, raw, orders })
}

/// The settings file that was named, or `nowcast.toml` of the working directory if there is one.
pub fn file_or_default(given: Option<&PathBuf>) -> Option<PathBuf> {
    given.cloned().or_else(|| Some(PathBuf::from("nowcast.toml")).filter(|file| file.is_file()))
}

/// `$XDG_DATA_HOME/nowcast`, else `~/.local/share/nowcast`, else `./nowcast-data`.
pub fn default_data() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    match std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute()).or_else(home) {
        Some(base) => base.join("nowcast"),
        None => PathBuf::from("nowcast-data"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check_file(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        match load(Some(file.path()), std::iter::empty(), Overrides::default()) {
            Ok(config) => format!("{:?} {:?} {:?}", config.http, config.ilp, config.pg),
            Err(error) => error.to_string().replace(&file.path().display().to_string(), "nowcast.toml"),
        }
    }

    #[test]
    fn mistakes_have_a_place_and_a_remedy() {
        let table = [
            ("", "[127.0.0.1:9000] Some(127.0.0.1:9009) Some(127.0.0.1:8812)"),
            (
                "[http]\nbind = [\"9001\"]\n[ilp]\nbind = \"off\"\n",
                "[127.0.0.1:9001] None Some(127.0.0.1:8812)",
            ),
            (
                "[http]\ntokn = \"x\"\n",
                "nowcast.toml, line 2, column 1: unknown setting `tokn`; did you mean `token`?",
            ),
            (
                "[pg]\nbind = \"nonsense\"\n",
                "pg.bind: \"nonsense\" is no address to listen on; write HOST:PORT, such as 127.0.0.1:9000",
            ),
            (
                "[idempotency]\nkeys_max = 1000001\n",
                "idempotency.keys_max: 1000001 keys cannot be remembered; set 1 to 1000000, for as many writes as come \
                 while one may be repeated",
            ),
            (
                "[idempotency]\nkeys_max = 0\n",
                "idempotency.keys_max: 0 keys cannot be remembered; set 1 to 1000000, for as many writes as come \
                 while one may be repeated",
            ),
            (
                "[idempotency]\nkeep_s = 0\n",
                "idempotency.keep_s: a key that is forgotten at once promises nothing; set 1 or more",
            ),
            (
                "[[feed]]\nquery = \"SELECT 1\"\nmetrics_name = \"x\"\n",
                "nowcast.toml, line 3, column 1: unknown setting `metrics_name`; did you mean `metric_name`?",
            ),
            (
                "[feed]\nidle_timeout_ms = 20000\n",
                "feed.idle_timeout_ms: a viewer must have time to answer a ping; set it above feed.ping_interval_ms, and \
                 that above 0",
            ),
            ("[log]\ndurability = \"no\"\n", "log.durability: \"no\" is neither \"durable\" nor \"relaxed\""),
        ];
        for (text, expected) in table {
            assert_eq!(check_file(text), expected, "{text}");
        }
        assert!(check_file("[http\n").starts_with("nowcast.toml, line 1, column"));
    }

    #[test]
    fn variables_beat_the_file_and_flags_beat_variables() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[pg]\nuser = \"file\"\npassword = \"file\"\n").unwrap();
        let variables = [
            ("NOWCAST_PG_PASSWORD".to_owned(), "variable".to_owned()),
            ("NOWCAST_HTTP_BODY_BYTES_MAX".to_owned(), "1000".to_owned()),
            ("NOWCAST_ILP_BIND".to_owned(), "127.0.0.1:1".to_owned()),
        ];
        let flags = Overrides { ilp: Some("127.0.0.1:2".into()), ..Overrides::default() };
        let config = load(Some(file.path()), variables.into_iter(), flags).unwrap();
        assert_eq!(config.raw.pg.user, "file");
        assert_eq!(config.raw.pg.password.0, "variable");
        assert_eq!(config.raw.http.body_bytes_max, 1000);
        assert_eq!(config.ilp.unwrap().port(), 2);
    }

    #[test]
    fn an_open_address_needs_a_password_of_its_own() {
        let flags = || Overrides { http: vec!["0.0.0.0:9000".into()], ..Overrides::default() };
        let error = load(None, std::iter::empty(), flags()).unwrap_err().to_string();
        assert!(error.contains("NOWCAST_PG_PASSWORD"), "{error}");
        let own = [("NOWCAST_PG_PASSWORD".to_owned(), "own".to_owned())];
        assert!(load(None, own.into_iter(), flags()).is_ok());
    }
}
