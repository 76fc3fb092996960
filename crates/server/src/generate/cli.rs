//! `nowcast generate thelook`: its flags, and where they say the rows go.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::client::GenerateError;

const EXAMPLES: &str = "\
Examples:
  nowcast generate thelook --to http://127.0.0.1:9000
  nowcast generate thelook --to http://127.0.0.1:9000 --users-per-second 20
  nowcast generate thelook --to postgres://develop:password@localhost/develop --wait-for 0.5
  nowcast generate thelook --to postgres://admin:quest@127.0.0.1:8812/qdb --max-iter 100 --seed 7
  DB_USER=develop DB_PASS=password DB_HOST=postgres DB_NAME=develop nowcast generate thelook -w 0.5 -m -1";

/// What becomes of tables that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IfExists {
    /// Add to them.
    Append,
    /// Make them anew, once, at the start.
    Replace,
    /// Refuse to start.
    Fail,
}

impl IfExists {
    /// The word of the flag.
    pub const fn word(self) -> &'static str {
        match self {
            IfExists::Append => "append",
            IfExists::Replace => "replace",
            IfExists::Fail => "fail",
        }
    }
}

/// The flags of `nowcast generate thelook`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ThelookArgs {
    /// Where the rows go: http://HOST:PORT (a Nowcast or QuestDB server) or
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE (schema `ecommerce`). Without it, PostgreSQL as DB_USER,
    /// DB_PASS, DB_HOST, DB_PORT and DB_NAME say [default: develop, password, localhost, 5432, develop]
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Seconds between two users [default: 1]
    #[arg(long, short = 'w', alias = "wait_for", value_name = "SECONDS", value_parser = seconds)]
    pub wait_for: Option<f64>,
    /// Users after which it ends; -1 goes on until stopped
    #[arg(long, short = 'm', alias = "max_iter", value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub max_iter: i64,
    /// What becomes of tables of users, orders, items, stock and events that exist; products and
    /// distribution centres are always made anew
    #[arg(long, short = 'i', alias = "if_exists", value_name = "WHAT", default_value = "append")]
    pub if_exists: IfExists,
    /// Users a second on average, with waves and bursts, instead of one each --wait-for
    #[arg(long, alias = "users_per_second", value_name = "N", value_parser = rate, conflicts_with = "wait_for")]
    pub users_per_second: Option<f64>,
    /// The same seed makes the same rows but for their clock [default: another each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// CSV of products with the original's columns, instead of the made-up catalogue
    #[arg(long, value_name = "FILE")]
    pub products: Option<PathBuf>,
    /// The server's `http.token`, if it has one
    #[arg(long, value_name = "TOKEN", env = "NOWCAST_HTTP_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

impl ThelookArgs {
    /// The arguments as the original prints them.
    pub(super) fn namespace(&self) -> String {
        let wait_for = self.wait_for.map_or("1".to_owned(), |seconds| format!("{seconds:?}"));
        let (if_exists, max_iter) = (self.if_exists.word(), self.max_iter);
        format!("Namespace(if_exists='{if_exists}', wait_for={wait_for}, max_iter={max_iter})")
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    parsed.ok_or_else(|| "expected seconds from 0 to 86400, such as 0.5".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
    parsed.ok_or_else(|| "expected users a second from 0.001 to 100000, such as 20".to_owned())
}

/// Where rows go, as `--to` and the environment say it.
pub(super) enum Destination {
    /// Base address of a server that takes line protocol.
    Http(String),
    /// A PostgreSQL server, real or Nowcast's own.
    Postgres(Box<tokio_postgres::Config>),
}

impl Destination {
    /// Reads `--to`; without it, `var` (the environment) says which PostgreSQL server.
    pub(super) fn parse(
        to: Option<&str>,
        var: impl Fn(&str) -> Option<String>,
    ) -> Result<Destination, GenerateError> {
        let usage = |cause: String, hint: &str| GenerateError::Usage { cause, hint: hint.to_owned() };
        let Some(to) = to else {
            let set = |name: &str, default: &str| {
                var(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
            };
            let port = set("DB_PORT", "5432");
            let port = port.parse().map_err(|_| {
                usage(format!("DB_PORT is {port:?}"), "set it to a port number, such as 5432")
            })?;
            let mut config = tokio_postgres::Config::new();
            config
                .user(set("DB_USER", "develop"))
                .password(set("DB_PASS", "password"))
                .host(set("DB_HOST", "localhost"))
                .port(port)
                .dbname(set("DB_NAME", "develop"));
            return Ok(Destination::Postgres(Box::new(config)));
        };
        let examples = "give http://127.0.0.1:9000 or postgres://user:password@host/database";
        match to.split_once("://") {
            Some(("http", rest)) if !rest.trim_matches('/').is_empty() => {
                Ok(Destination::Http(to.trim_end_matches('/').to_owned()))
            }
            Some(("https", _)) => Err(usage(
                "https is not built yet".to_owned(),
                "use http:// on the machine itself or through an SSH tunnel",
            )),
            Some(("postgres" | "postgresql" | "postgresql+psycopg2", rest)) => {
                let config = format!("postgresql://{rest}").parse().map_err(|error| {
                    usage(format!("the address of --to cannot be read: {error}"), examples)
                })?;
                Ok(Destination::Postgres(Box::new(config)))
            }
            _ => Err(usage(format!("{to:?} is not an address that rows can be sent to"), examples)),
        }
    }
}
