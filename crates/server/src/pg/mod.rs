//! The PostgreSQL wire: what psql, psycopg, JDBC and Grafana speak.
//!
//! One task a connection, over `pgwire`. A connection is a [`crate::sql::Session`] and prepared statements;
//! statements run as they do over REST. Queries about the catalogue (`\d`, `information_schema`, `version()`)
//! go to [`catalog`], which shows the tables in PostgreSQL's own terms.

mod auth;
mod catalog;
mod handler;
mod params;

use std::{sync::Arc, time::Duration};

use metrics::gauge;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{config::RawPg, sql::Sql};

pub use catalog::PgCatalog;

/// Serves `listener` until `shutdown` turns true. Past `connections_max` a connection waits to be taken.
pub async fn serve(
    listener: TcpListener,
    settings: RawPg,
    sql: Arc<Sql>,
    catalog: Arc<PgCatalog>,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(settings.connections_max.max(1)));
    let users = Arc::new(auth::Users::new(&settings));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = shutdown.wait_for(|ending| *ending) => break,
        };
        let (socket, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot take a PostgreSQL connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let handlers = handler::Connection::new(Arc::clone(&sql), Arc::clone(&catalog), Arc::clone(&users));
        connections.spawn(async move {
            let _place = place;
            gauge!("nowcast_pg_connections").increment(1.0);
            if let Err(error) = pgwire::tokio::process_socket(socket, None, Arc::new(handlers)).await {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
            gauge!("nowcast_pg_connections").decrement(1.0);
        });
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    Ok((socket, place))
}
