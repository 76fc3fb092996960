//! The stages, and how they are joined.
//!
//! ```text
//! sources ─► Ingest ─► log thread ─► apply thread ─► LiveTables ─► feed
//!                                      │  ▲
//!                                 Work ▼  │ Command
//!                                   LiveService (query runtime)
//! ```
//!
//! [`Server::start`] opens the data, replays the log, and only then lets anybody in; [`Server::stop`] goes the
//! other way round: nobody is let in, the log is drained, everything is applied, hot rows become parts.

mod apply;
mod compact;
mod flush;
mod health;
mod housekeeping;
mod ingest;
mod listen;
mod live;
mod metrics_table;
mod once;
mod open;
mod own_tables;
mod rates;
mod rejected;
mod room;
mod system;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use nowcast_feed::{FeedLimits, FeedState};
use nowcast_log::LogHandle;
use nowcast_model::{Clock, Epoch, SteadyClock};
use nowcast_query::{QueryEngine, QueryOptions};
use nowcast_sources::{Sink, ilp_tcp};
use nowcast_store::Store;
use nowcast_views::{Engine, EngineStats, LiveTables, ViewLimits};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    config::Config,
    dashboards::Library,
    generate::Control,
    http::{self, App, Guard},
    lock::DataLock,
    memory,
    pg::{self, PgCatalog},
    sql::Sql,
};

pub use health::Health;
pub use ingest::{AppendError, Ingest, OTHER_WRITE};
pub use listen::{ListenError, Listeners};
pub use live::LiveService;
pub use own_tables::is_own;
pub use rates::Rates;
pub use room::{Room, RoomLimits};

use housekeeping::Housekeeping;
use own_tables::OwnTables;
use system::System;

/// How long the last flush may take; what it does not reach is replayed from the log.
const LAST_FLUSH: Duration = Duration::from_millis(2_500);

/// A running server.
pub struct Server {
    /// Where it listens: the page, then line protocol, then the PostgreSQL wire.
    pub addresses: Addresses,
    /// Where rows go, for sources inside the process.
    pub ingest: Arc<Ingest>,
    /// Runs SQL.
    pub sql: Arc<Sql>,
    /// The tables.
    pub store: Arc<Store>,
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
    feed: FeedState,
    log: LogHandle,
    apply: JoinHandle<()>,
    flush: JoinHandle<()>,
    flush_stop: std::sync::mpsc::Sender<()>,
    compact: JoinHandle<()>,
    compact_stop: std::sync::mpsc::Sender<()>,
    _lock: DataLock,
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The page, REST, the feed.
    pub http: Vec<SocketAddr>,
    /// Line protocol.
    pub ilp: Option<SocketAddr>,
    /// The PostgreSQL wire.
    pub pg: Option<SocketAddr>,
}

/// What a server is started with, besides its settings.
pub struct Start {
    /// The settings.
    pub config: Config,
    /// The sockets.
    pub listeners: Listeners,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Where queries run.
    pub query_runtime: Handle,
    /// The demo's generator, if there is one.
    pub generator: Option<Control>,
}

impl Server {
    /// Opens the data directory, replays the log, listens.
    ///
    /// # Errors
    /// The directory is in use or damaged; each error says what to do.
    pub async fn start(start: Start) -> anyhow::Result<Server> {
        let Start { config, listeners, clock, metrics, query_runtime, generator } = start;
        let raw = &config.raw;
        let lock = DataLock::take(&config.data)?;
        let began = Instant::now();
        let hot_bytes_max = or_share(raw.memory.hot_bytes_max);
        let room_limits = RoomLimits {
            hot_bytes_max: match raw.memory.hot_bytes_hard_max {
                0 => hot_bytes_max.saturating_mul(2),
                set => set.max(hot_bytes_max),
            },
            free_bytes_min: raw.disk.free_bytes_min,
        };
        let open::Opened { store, log, recovery, replay_from, replay_end } =
            open::open(&config, hot_bytes_max, &clock)?;
        let damages = recovery.damages.iter().map(ToString::to_string).collect();
        let system = Arc::new(System::new(Arc::clone(&store), &recovery.damages));
        // What `now()`, ticks and arrivals go by. A clock that was set back, before this start or later, stands still
        // at the newest record. Ages go by the machine's: what a clock that ran ahead shows is not believed longer
        // than it shows it.
        let steady: Arc<dyn Clock> = Arc::new(SteadyClock::new(Arc::clone(&clock), log.at_us()));
        let end = replay_end;
        let (log, tail) = log.start(replay_from).context("cannot start the log")?;
        let (room_sender, room) = watch::channel(room_limits.look(&store, &config.data));
        let health = Arc::new(Health::new(log.clone(), room.clone(), damages));

        let limits = ViewLimits {
            rows_max: raw.views.rows_max,
            state_bytes_max: raw.views.state_bytes_max,
            state_total_bytes_max: raw.views.state_total_bytes_max,
            ..ViewLimits::default()
        };
        let tables = LiveTables::new();
        let stats = Arc::new(Mutex::new(EngineStats::default()));
        let (commands, command_receiver) = apply::commands(&tail);
        let (applied_sender, mut applied) = watch::channel(store.snapshot().position);
        let (work_sender, work) = mpsc::unbounded_channel();
        let thread = apply::Apply {
            tail,
            store: Arc::clone(&store),
            engine: Engine::new(limits, Arc::clone(&tables)),
            clock: Arc::clone(&steady),
            applied: applied_sender,
            work: work_sender,
            stats: Arc::clone(&stats),
            replay_end: end,
            replay_hot_bytes_max: room_limits.hot_bytes_max,
        };
        // Before the replay, which may be of more than fits into memory.
        let (flush_stop, flush_stopped) = std::sync::mpsc::channel();
        let flush = flush::start(Arc::clone(&store), log.clone(), Arc::clone(&health), flush_stopped)?;
        let (compact_stop, compact_stopped) = std::sync::mpsc::channel();
        let compact = compact::start(Arc::clone(&store), room.clone(), compact_stopped)?;
        let apply_health = Arc::clone(&health);
        let apply = std::thread::Builder::new().name("nowcast-apply".into()).spawn(move || {
            if let Err(reason) = thread.run(command_receiver) {
                tracing::error!(reason, "the apply thread ended: new rows are not shown until a restart");
                apply_health.apply_failed(reason);
            }
        })?;
        while *applied.borrow() < end {
            let reached = applied.wait_for(|position| *position >= end);
            match tokio::time::timeout(Duration::from_secs(2), reached).await.map(|moved| moved.is_ok()) {
                Ok(true) => {}
                Ok(false) => anyhow::bail!("the log cannot be replayed: {}", health.reasons().join("; ")),
                Err(_) => tracing::info!("replaying the log: at {} of {end}", *applied.borrow()),
            }
        }
        health.replayed();
        tracing::debug!(elapsed = ?began.elapsed(), position = %end, "the data is open");

        let queue_bytes_max = raw.log.queue_bytes_max;
        let ingest =
            Ingest::new(Arc::clone(&store), log.clone(), Arc::clone(&steady), queue_bytes_max, applied, room);
        let ingest = Arc::new(ingest);
        let query_options = QueryOptions {
            memory_bytes_max: or_share(raw.query.memory_bytes_max),
            plan_size_max: raw.query.plan_size_max,
            ..QueryOptions::default()
        };
        let engine = Arc::new(QueryEngine::new(query_options)?);
        let sql = Arc::new(Sql::new(
            Arc::clone(&engine),
            Arc::clone(&store),
            system,
            Arc::clone(&ingest),
            Arc::clone(&steady),
            query_runtime.clone(),
            raw.query.concurrent_max,
            Duration::from_secs(raw.query.timeout_s.max(1)),
        ));
        let dashboards =
            Library::open(&config.data.join("dashboards")).context("cannot open the dashboards")?;
        let live = LiveService::new(live::LiveParts {
            sql: Arc::clone(&sql),
            dashboards: dashboards.clone(),
            commands,
            tables: Arc::clone(&tables),
            limits,
            batch_rows_max: raw.query.rows_max,
            count_max: raw.views.count_max,
            linger: Duration::from_secs(raw.views.linger_s),
            runtime: query_runtime,
            stats,
        });
        let epoch = Epoch::new(rand::random());
        let guard = Guard::new(&raw.http);
        let allow_origin = Arc::new(move |headers: &_| guard.origin_allowed(headers));
        let feed_limits = feed_limits(&config);
        let feed = FeedState::with_origin(tables, Arc::new(live.clone()), epoch, feed_limits, allow_origin);

        let own_tables = OwnTables::new(
            raw,
            Arc::clone(&ingest),
            Arc::clone(&store),
            Arc::clone(&health),
            metrics.clone(),
            Arc::clone(&steady),
        );
        let (shutdown, shut) = watch::channel(false);
        let rates = Arc::new(Rates::default());
        let app = Arc::new(App {
            config: Arc::new(config.clone()),
            clock: Arc::clone(&steady),
            ingest: Arc::clone(&ingest),
            store: Arc::clone(&store),
            sql: Arc::clone(&sql),
            live: live.clone(),
            feed: feed.clone(),
            dashboards: dashboards.clone(),
            health: Arc::clone(&health),
            log: log.clone(),
            rates: Arc::clone(&rates),
            metrics,
            generator,
        });
        let mut tasks = JoinSet::new();
        let addresses = Addresses {
            http: listeners.http.iter().map(tokio::net::TcpListener::local_addr).collect::<Result<_, _>>()?,
            ilp: listeners.ilp.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?,
            pg: listeners.pg.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?,
        };
        let router = http::router(app);
        for listener in listeners.http {
            tasks.spawn(http::serve(listener, router.clone(), shut.clone()));
        }
        if let Some(listener) = listeners.ilp {
            let options = ilp_tcp::IlpOptions {
                connections_max: raw.ilp.connections_max,
                line_bytes_max: raw.ilp.line_bytes_max,
                clock: Arc::clone(&steady),
                ..ilp_tcp::IlpOptions::default()
            };
            let (sink, shut) = (Arc::clone(&ingest) as Arc<dyn Sink>, shut.clone());
            tasks.spawn(async move {
                if let Err(error) = ilp_tcp::serve(listener, sink, options, shut).await {
                    tracing::error!(%error, "line protocol over TCP ended");
                }
            });
        }
        if let Some(listener) = listeners.pg {
            let catalog = PgCatalog::new(engine, Arc::clone(&store), Arc::clone(&steady))?;
            let catalog = Arc::new(catalog);
            tasks.spawn(pg::serve(listener, raw.pg.clone(), Arc::clone(&sql), catalog, shut.clone()));
        }
        tasks.spawn(live.clone().run_work(work));
        let keeper = Housekeeping {
            ingest: Arc::clone(&ingest),
            store: Arc::clone(&store),
            own_tables,
            live,
            dashboards,
            rates,
            clock,
        };
        tasks.spawn(keeper.run());
        tasks.spawn(room_limits.watch(Arc::clone(&store), config.data.clone(), room_sender));
        Ok(Server {
            addresses,
            ingest,
            sql,
            store,
            shutdown,
            tasks,
            feed,
            log,
            apply,
            flush,
            flush_stop,
            compact,
            compact_stop,
            _lock: lock,
        })
    }

    /// Ends in order, within five seconds: no new requests, the log drained and applied, hot rows in parts.
    pub async fn stop(mut self) {
        self.shutdown.send_replace(true);
        self.feed.close();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // The housekeeping and the work loop have no end of their own; sockets get their time.
        let _ = tokio::time::timeout(Duration::from_millis(1_700), ended).await;
        self.tasks.abort_all();
        let _ = self.flush_stop.send(());
        let _ = self.compact_stop.send(());
        let last = tokio::task::spawn_blocking(move || {
            self.log.stop();
            let applied = self.apply.join();
            let flushed = self.flush.join();
            let compacted = self.compact.join();
            if applied.is_err() || flushed.is_err() || compacted.is_err() {
                tracing::error!("a thread ended with a panic");
                return;
            }
            if let Err(error) = self.store.flush(true) {
                tracing::warn!(%error, "the last flush failed; the next start replays the log");
            }
        });
        if tokio::time::timeout(LAST_FLUSH, last).await.is_err() {
            tracing::info!("the last flush takes too long; the next start replays the log");
        }
    }
}

fn feed_limits(config: &Config) -> FeedLimits {
    let raw = &config.raw.feed;
    FeedLimits {
        push_interval: Duration::from_millis(raw.push_interval_ms),
        connections_max: raw.connections_max,
        connections_per_address_max: raw.connections_per_address_max,
        subscriptions_max: raw.subscriptions_max,
        message_bytes_max: raw.message_bytes_max,
        frame_bytes_max: raw.frame_bytes_max,
        cache_bytes_max: raw.cache_bytes_max,
        messages_per_second_max: raw.messages_per_second_max,
        requests_per_second_max: raw.requests_per_second_max,
        dashboard_requests_per_second_max: raw.dashboard_requests_per_second_max,
        errors_max: raw.errors_max,
        first_message_timeout: Duration::from_millis(raw.first_message_timeout_ms),
        ping_interval: Duration::from_millis(raw.ping_interval_ms),
        idle_timeout: Duration::from_millis(raw.idle_timeout_ms),
        stall_timeout: Duration::from_millis(raw.stall_ms_max),
        ..FeedLimits::default()
    }
}

/// A setting, or an eighth of what the process may use of the machine's memory.
fn or_share(setting: usize) -> usize {
    match setting {
        0 => (memory::usable_bytes() / 8).max(64 << 20),
        set => set,
    }
}
