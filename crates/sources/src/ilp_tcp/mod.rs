//! InfluxDB line protocol over TCP, as QuestDB serves it on port 9009.
//!
//! One task per connection: read a large piece, decode it, and hand what was decoded to the sink when the socket
//! has no more or the batch is large enough. The sink's write is awaited before the next read, so a full log
//! leaves bytes in the socket and TCP slows the sender: that is the back-pressure, and why nothing here queues.
//!
//! The protocol acknowledges nothing. What is wrong is told to the sink as [`Rejected`]:
//!
//! - a bad text line is left out, the connection goes on;
//! - a bad line with binary values ends the connection, since the next line's begin is not known;
//! - a row that its table refuses is left out, and all other rows of the piece are written ([`refusal`]);
//! - a line without its end when the connection closes is left out, as QuestDB does;
//! - a text whose closing quote is missing would swallow the lines behind it: after [`OPEN_TEXT_WAIT`] without
//!   more data it is a bad line, and those lines are read.
//!
//! At shutdown a connection writes the lines that it has read, and closes.

mod refusal;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use nowcast_model::{Clock, SystemClock};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    LineError, Precision, Rejected, Sink,
    line::{LineDecoder, LineOptions},
};

/// The name of this source in [`Rejected`].
pub const SOURCE: &str = "ilp-tcp";

/// How long a text may lack its closing quote while nothing arrives and further lines have.
pub const OPEN_TEXT_WAIT: Duration = Duration::from_secs(1);

/// How long accepting pauses after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How line protocol over TCP is served.
#[derive(Clone)]
pub struct IlpOptions {
    /// Connections at once; further ones are closed at once.
    pub connections_max: usize,
    /// The longest line.
    pub line_bytes_max: usize,
    /// Bytes of one read, and of each connection's buffer.
    pub read_bytes: usize,
    /// Rows after which a record is written although the socket has more.
    pub batch_rows_max: usize,
    /// Bytes of lines after which a record is written although the socket has more.
    pub batch_bytes_max: usize,
    /// Closes a connection that was silent so long. None unless set: Telegraf and the QuestDB clients keep
    /// theirs open over long silences.
    pub idle_timeout: Option<Duration>,
    /// Where rows without a time get theirs.
    pub clock: Arc<dyn Clock>,
}

impl Default for IlpOptions {
    fn default() -> IlpOptions {
        IlpOptions {
            connections_max: 1_000,
            line_bytes_max: LineOptions::LINE_BYTES_MAX,
            read_bytes: 256 << 10,
            batch_rows_max: 16_384,
            batch_bytes_max: 4 << 20,
            idle_timeout: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Accepts and serves connections until `shutdown` holds true or its sender is gone, then waits until each has
/// written what it read.
///
/// # Errors
/// None today; what goes wrong with one connection ends that one alone.
pub async fn serve(
    listener: TcpListener,
    sink: Arc<dyn Sink>,
    options: IlpOptions,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Finished connections are forgotten as they end.
            Some(_) = connections.join_next() => continue,
            _ = shutdown.wait_for(|&stop| stop) => break,
        };
        let (mut socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a line protocol connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, max = options.connections_max, "too many line protocol connections; closed one");
            continue;
        };
        let mut connection = Connection::new(peer, Arc::clone(&sink), options.clone());
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            connection.run(&mut socket, shutdown).await;
            // Before the socket closes: who sees that may take the place at once.
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// A connection is to be closed.
struct Closed;

/// What a connection waited for.
enum Arrived {
    /// So many bytes; 0 at the stream's end or after the idle timeout.
    Bytes(usize),
    /// Nothing, while a text lacks its closing quote.
    NothingForOpenText,
}

struct Connection {
    peer: String,
    sink: Arc<dyn Sink>,
    options: IlpOptions,
    decoder: LineDecoder,
}

impl Connection {
    fn new(peer: SocketAddr, sink: Arc<dyn Sink>, options: IlpOptions) -> Connection {
        let line_options = LineOptions {
            precision: Precision::Nanoseconds,
            now_us: options.clock.now_us(),
            line_bytes_max: options.line_bytes_max,
        };
        let decoder = LineDecoder::new(&line_options);
        Connection { peer: peer.to_string(), sink, options, decoder }
    }

    async fn run(&mut self, socket: &mut TcpStream, mut shutdown: watch::Receiver<bool>) {
        let mut buf = vec![0; self.options.read_bytes.max(1)];
        loop {
            // Only waiting may be cut short by the shutdown, never a write.
            let arrived = tokio::select! {
                arrived = self.wait(socket, &mut buf) => arrived,
                _ = shutdown.wait_for(|&stop| stop) => break,
            };
            let going_on = match arrived {
                Ok(Arrived::Bytes(0)) => break,
                Ok(Arrived::Bytes(read)) => self.take_in(socket, &mut buf, read).await,
                Ok(Arrived::NothingForOpenText) => self.give_up_open_text().await,
                Err(error) => {
                    tracing::debug!(peer = self.peer, %error, "line protocol connection ended");
                    break;
                }
            };
            if going_on.is_err() {
                return;
            }
        }
        let (sink, peer) = (Arc::clone(&self.sink), self.peer.clone());
        self.decoder.finish(&mut |error| sink.reject(rejected(&peer, error)));
        // A write that fails was logged where it failed.
        let _ = self.write().await;
    }

    /// Waits for what happens next.
    async fn wait(&self, socket: &mut TcpStream, buf: &mut [u8]) -> io::Result<Arrived> {
        if self.decoder.has_open_text() {
            return match timeout(OPEN_TEXT_WAIT, socket.read(buf)).await {
                Ok(read) => read.map(Arrived::Bytes),
                Err(_) => Ok(Arrived::NothingForOpenText),
            };
        }
        let Some(idle) = self.options.idle_timeout else { return socket.read(buf).await.map(Arrived::Bytes) };
        match timeout(idle, socket.read(buf)).await {
            Ok(read) => read.map(Arrived::Bytes),
            Err(_) => {
                tracing::info!(peer = self.peer, ?idle, "closed a silent line protocol connection");
                Ok(Arrived::Bytes(0))
            }
        }
    }

    async fn give_up_open_text(&mut self) -> Result<(), Closed> {
        let sink = Arc::clone(&self.sink);
        let peer = &self.peer;
        let result = self.decoder.give_up_open_text(&mut |error| sink.reject(rejected(peer, error)));
        self.end_if_fatal(result).await?;
        self.write().await
    }

    /// Tells a bad binary line, and writes what came before it.
    async fn end_if_fatal(&mut self, result: Result<(), LineError>) -> Result<(), Closed> {
        let Err(fatal) = result else { return Ok(()) };
        tracing::info!(peer = self.peer, error = %fatal, "closed a line protocol connection: bad binary line");
        self.sink.reject(rejected(&self.peer, fatal));
        let _ = self.write().await;
        Err(Closed)
    }

    /// Decodes `buf[..read]` and what else the socket has, and writes it.
    async fn take_in(&mut self, socket: &TcpStream, buf: &mut [u8], mut read: usize) -> Result<(), Closed> {
        loop {
            let (sink, peer) = (Arc::clone(&self.sink), &self.peer);
            let on_bad = &mut |error| sink.reject(rejected(peer, error));
            let result = self.decoder.feed(&buf[..read], self.options.clock.now_us(), on_bad);
            self.end_if_fatal(result).await?;
            let is_full = self.decoder.rows() >= self.options.batch_rows_max
                || self.decoder.bytes() >= self.options.batch_bytes_max;
            if is_full {
                self.write().await?;
                // One fast sender must not keep a thread of the runtime to itself.
                tokio::task::yield_now().await;
            }
            read = match socket.try_read(buf) {
                // The end of the stream and errors show again at the next read.
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
        }
        self.write().await
    }

    /// Hands the decoded rows to the sink.
    async fn write(&mut self) -> Result<(), Closed> {
        let decoded = self.decoder.take();
        if decoded.batches.is_empty() {
            return Ok(());
        }
        match refusal::write(&*self.sink, &self.peer, decoded).await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::error!(peer = self.peer, %error, "closed a line protocol connection: cannot write");
                Err(Closed)
            }
        }
    }
}

fn rejected(peer: &str, error: LineError) -> Rejected {
    Rejected {
        source: SOURCE.to_owned(),
        peer: peer.to_owned(),
        line: error.line,
        column: error.column,
        cause: format!("{}; {}", error.cause, error.hint),
        text: error.text,
    }
}
