//! The PostgreSQL wire: what psql, psycopg, JDBC and Grafana speak.
//!
//! One task a connection. [`login`] lets it in (the password's exchange is `pgwire`'s), then [`connection`]
//! reads messages ([`message`], [`socket`]) and answers them. A connection is a [`crate::sql::Session`],
//! prepared statements ([`prepare`]) and portals; statements run ([`run`]) as they do over REST, and their rows
//! are sent as they are made ([`rows`], [`encode`]). Queries about the catalogue (`\d`, `information_schema`,
//! `version()`) go to [`catalog`], which shows the tables in PostgreSQL's own terms.

mod auth;
mod catalog;
mod connection;
mod copy;
mod copy_fields;
mod copy_in;
mod copy_out;
mod decimal;
mod encode;
mod error;
mod login;
mod message;
mod params;
mod prepare;
mod rows;
mod run;
mod settings;
mod socket;
mod time;

use std::{sync::Arc, time::Duration};

use metrics::gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use crate::{config::RawPg, sql::Sql};

pub use catalog::PgCatalog;

/// Connections beyond the limit that are told so at a time; any more are closed without a word.
const REFUSED_MAX: usize = 64;

/// How long a connection beyond the limit may take to hear of it.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// What connections share.
struct Wire {
    sql: Arc<Sql>,
    catalog: Arc<PgCatalog>,
    users: Arc<auth::Users>,
    ending: watch::Receiver<bool>,
    login_max: Duration,
    stall_max: Duration,
}

/// Serves `listener` until `ending` turns true. Past `connections_max` a connection is refused.
pub async fn serve(
    listener: TcpListener,
    settings: RawPg,
    sql: Arc<Sql>,
    catalog: Arc<PgCatalog>,
    mut ending: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.connections_max.max(1)));
    let refused = Arc::new(Semaphore::new(REFUSED_MAX));
    let users = Arc::new(auth::Users::new(&settings));
    let (login_max, stall_max) =
        (Duration::from_secs(settings.login_timeout_s), Duration::from_secs(settings.stall_timeout_s));
    let wire = Arc::new(Wire { sql, catalog, users, ending: ending.clone(), login_max, stall_max });
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot take a PostgreSQL connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let wire = Arc::clone(&wire);
            connections.spawn(async move {
                let _place = place;
                connection(&wire, socket).await;
            });
        } else if let Ok(place) = Arc::clone(&refused).try_acquire_owned() {
            connections.spawn(async move {
                let _place = place;
                let _ = tokio::time::timeout(REFUSED_FOR, login::login(socket, None)).await;
            });
        }
    }
    // Each tells its client before it ends.
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_millis(200), ended).await;
    connections.shutdown().await;
}

async fn connection(wire: &Wire, socket: TcpStream) {
    let counted = Counted::new();
    let login = login::login(socket, Some(Arc::clone(&wire.users)));
    let client = match tokio::time::timeout(wire.login_max, login).await {
        Ok(Ok(Some(client))) => client,
        Ok(Ok(None)) => return,
        Ok(Err(end)) => return tracing::debug!(?end, "a PostgreSQL login ended"),
        Err(_) => return tracing::debug!("a PostgreSQL login took too long"),
    };
    let mut ending = wire.ending.clone();
    let ended = async move {
        // Without a sender the process is ending as well.
        let _ = ending.wait_for(|ending| *ending).await;
    };
    let (sql, catalog) = (Arc::clone(&wire.sql), Arc::clone(&wire.catalog));
    connection::Connection::new(sql, catalog, client, wire.stall_max).serve(ended).await;
    drop(counted);
}

/// A connection in the metrics, for as long as it is there.
struct Counted;

impl Counted {
    fn new() -> Counted {
        gauge!("nowcast_pg_connections").increment(1.0);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!("nowcast_pg_connections").decrement(1.0);
    }
}
