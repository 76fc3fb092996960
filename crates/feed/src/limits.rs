//! What bounds the feed; one set for all connections, from the settings `feed.*`.

use std::time::Duration;

/// Bounds and rhythms of the feed. Each default has its reason beside it.
#[derive(Debug, Clone)]
pub struct FeedLimits {
    /// `feed.push_interval_ms`: the shortest time between two rounds. 20 ms is fifty pictures a second, more
    /// than a reader sees; it is what lets a round carry many commits in one write.
    pub push_interval: Duration,
    /// `feed.heartbeat_ms`: the longest time between two `progress` messages. Clients call themselves stale
    /// after three missed ones, so this is part of the protocol.
    pub heartbeat: Duration,
    /// `feed.message_bytes_max`: one message from a client. A long query with its parameters fits in 64 KiB.
    pub message_bytes_max: usize,
    /// `feed.subscriptions_max`: subscriptions of one connection. A dashboard has a dozen panels; 64 is a wall
    /// of them.
    pub subscriptions_max: usize,
    /// `feed.connections_max`: all viewers. Each costs about 20 KiB; 10,000 are 200 MiB and fit under the
    /// raised open-file limit.
    pub connections_max: usize,
    /// `feed.connections_per_address_max`: viewers from one address. An office behind one address is hundreds
    /// of screens; a runaway script is thousands.
    pub connections_per_address_max: usize,
    /// `feed.messages_per_second_max`: messages of one connection, acknowledgements included, in bursts of five
    /// seconds' worth. A paced page sends at most fifty acknowledgements a second and little else. 0 has no limit.
    pub messages_per_second_max: u32,
    /// `feed.requests_per_second_max`: requests from one address (handshakes, streams, snapshots), in bursts of
    /// five seconds' worth: as many screens of an office as may be connected come back at once. 0 has no limit.
    pub requests_per_second_max: u32,
    /// `feed.dashboard_requests_per_second_max`: subscriptions of one dashboard and its panels, of all viewers
    /// together, in bursts of five seconds' worth. Each is planned, which takes a fraction of a millisecond.
    /// 0 has no limit.
    pub dashboard_requests_per_second_max: u32,
    /// `feed.errors_max`: bad messages on one connection before it is closed. A client with a defect gets its
    /// answers; one that only makes noise does not cost more.
    pub errors_max: u32,
    /// `feed.frame_bytes_max`: one message to a client. The rows of a live query are bounded already
    /// (`views.rows_max`); this stops rows of huge texts.
    pub frame_bytes_max: usize,
    /// `feed.cache_bytes_max`: encoded frames that are kept for viewers at the same cursor.
    pub cache_bytes_max: usize,
    /// `feed.write_buffer_bytes`: what is gathered before the socket is written in the middle of a round. A
    /// typical round of a dashboard is smaller, so it is one write.
    pub write_buffer_bytes: usize,
    /// `feed.read_buffer_bytes`: per connection. Clients say little; the library's 128 KiB would be most of
    /// what a viewer costs.
    pub read_buffer_bytes: usize,
    /// `feed.first_message_timeout_ms`: a connection that asks for nothing in this time is closed.
    pub first_message_timeout: Duration,
    /// `feed.ping_interval_ms`: how often a WebSocket whose client is silent is pinged. Below the 60 s after
    /// which common proxies cut idle connections.
    pub ping_interval: Duration,
    /// `feed.idle_timeout_ms`: a WebSocket that answers no ping for this long is gone. Three pings.
    pub idle_timeout: Duration,
    /// `feed.stall_ms_max`: a socket that has not taken a round in this time is closed; its client comes
    /// back with its cursor. Long enough for a phone in a tunnel, short enough not to keep the dead.
    pub stall_timeout: Duration,
    /// `feed.snapshot_timeout_ms`: how long a plain GET waits for a view to be seeded.
    pub snapshot_timeout: Duration,
    /// `feed.linger_ms`: how long a view outlives a plain GET or a closed connection, so that one that polls
    /// or reconnects finds it as it was.
    pub linger: Duration,
}

impl Default for FeedLimits {
    fn default() -> FeedLimits {
        FeedLimits {
            push_interval: Duration::from_millis(20),
            heartbeat: Duration::from_secs(1),
            message_bytes_max: 64 << 10,
            subscriptions_max: 64,
            connections_max: 10_000,
            connections_per_address_max: 2_000,
            messages_per_second_max: 200,
            requests_per_second_max: 500,
            dashboard_requests_per_second_max: 1_000,
            errors_max: 20,
            frame_bytes_max: 16 << 20,
            cache_bytes_max: 64 << 20,
            write_buffer_bytes: 64 << 10,
            read_buffer_bytes: 4 << 10,
            first_message_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            snapshot_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(15),
        }
    }
}

/// Answers to a client that wait to be written while its socket is full; past it the client is not read.
pub(crate) const REPLIES_MAX: usize = 64;

/// After a `resume` the first round waits for this long a silence, so that it answers all the subscribes that
/// follow in one moment.
pub(crate) const RESUME_QUIET: Duration = Duration::from_millis(50);

/// … but not longer than this.
pub(crate) const RESUME_QUIET_MAX: Duration = Duration::from_secs(1);

/// A cached snapshot this old is completed by a delta rather than encoded anew: when a server comes back, all
/// its viewers ask within seconds.
pub(crate) const SNAPSHOT_REUSE: Duration = Duration::from_secs(1);

/// When those come back who were refused for want of room: a browser that was closed is gone by then.
pub(crate) const RETRY_AFTER_S: u32 = 5;

/// Leases that linger at most; past it they are dropped at once.
pub(crate) const LINGERING_MAX: usize = 1_024;
