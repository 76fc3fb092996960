//! Sockets to listen on, taken before anything else so that a port in use is told at once.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Config;

/// The listeners of one server.
pub struct Listeners {
    /// The page, REST, the feed.
    pub http: Vec<TcpListener>,
    /// Line protocol.
    pub ilp: Option<TcpListener>,
    /// The PostgreSQL wire.
    pub pg: Option<TcpListener>,
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {what}: {source}; stop what listens there, or choose another address with {flag}"
)]
pub struct ListenError {
    address: SocketAddr,
    what: &'static str,
    flag: &'static str,
    source: std::io::Error,
}

impl Listeners {
    /// Listens on what the settings say. With `elsewhere` a port that is in use is replaced by a free one.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub async fn bind(config: &Config, elsewhere: bool) -> Result<Listeners, ListenError> {
        let mut http = Vec::new();
        for &address in &config.http {
            http.push(bind(address, "HTTP", "--http", elsewhere).await?);
        }
        let ilp = match config.ilp {
            Some(address) => Some(bind(address, "line protocol", "--ilp", elsewhere).await?),
            None => None,
        };
        let pg = match config.pg {
            Some(address) => Some(bind(address, "the PostgreSQL wire", "--pg", elsewhere).await?),
            None => None,
        };
        Ok(Listeners { http, ilp, pg })
    }
}

async fn bind(
    address: SocketAddr,
    what: &'static str,
    flag: &'static str,
    elsewhere: bool,
) -> Result<TcpListener, ListenError> {
    match TcpListener::bind(address).await {
        Err(error) if elsewhere && error.kind() == std::io::ErrorKind::AddrInUse => {
            let free = SocketAddr::new(address.ip(), 0);
            TcpListener::bind(free).await.map_err(|source| ListenError { address: free, what, flag, source })
        }
        outcome => outcome.map_err(|source| ListenError { address, what, flag, source }),
    }
}
