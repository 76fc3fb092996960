//! One viewer: its subscriptions, its one cursor, and what it is sent next. No socket, no task, no timer: the
//! transports (`ws`, `sse`) bring messages in and take batches out.
//!
//! **States of a subscription.** `Opening` until the resolver answered; `Waiting` until its view has rows to
//! show (it may be seeded); `Live` from its first snapshot, or delta on a resume, until it ends.
//!
//! **A batch** takes all live subscriptions to one moment, and its last message is the `progress` that says
//! so. It is made one of two ways:
//!
//! - *with the round*: all are live and stand between the round before and this one. The frames are the
//!   round's, shared by all such viewers; nothing is read or encoded for this viewer but its `behind`.
//! - *by itself*: something waits for its first rows, or the cursor is further back. What each lacks is read
//!   under one moment, which may be newer than the round's; frames come from the cache.
//!
//! **What bounds it.** There is no queue: a viewer that cannot send makes no batch, its cursor stays, and what
//! it lacks is merged by the live tables. Answers to its own messages are bounded by not reading more of them
//! (`wants_messages`).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use nowcast_model::{Epoch, Version};
use nowcast_views::{LiveSchema, ViewError, ViewState};
use tokio::time::Instant;

use crate::{
    FeedError, SubscribeRequest, Tenant,
    encode::{Encoding, Payload, Reason},
    error::code,
    hub::{Hub, Opened, Round},
    limits::{REPLIES_MAX, RESUME_QUIET, RESUME_QUIET_MAX},
    protocol::{BadMessage, ClientMessage, Pace, Subscribe},
    rate::{Bucket, seconds},
    read::{Ask, Taken, read},
};

/// Where a subscription stands.
pub(crate) enum SubState {
    /// The resolver has not answered. The cursor is the resumed one.
    Opening,
    /// No rows were sent yet.
    Waiting {
        /// The cursor that the client came with and may go on from.
        cursor: Option<Version>,
        /// Why it may not, if it came with one.
        reason: Option<Reason>,
    },
    /// It has all up to the viewer's cursor.
    Live {
        /// What the client knows the rows to look like.
        schema: Arc<LiveSchema>,
    },
}

struct Sub {
    /// Tells it from an earlier one with its id.
    serial: u64,
    state: SubState,
    /// What the client's resume said, until it is opened.
    resume: Option<Result<Version, Reason>>,
    opened: Option<Opened>,
}

/// A subscription to be opened by the transport, with [`Hub::open`].
pub(crate) struct Open {
    pub(crate) id: u64,
    pub(crate) serial: u64,
    pub(crate) request: SubscribeRequest,
    pub(crate) cursor: Option<Version>,
}

/// Why a connection is closed, in the words of a WebSocket's close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// Messages that bring a client to one moment; the last is the progress.
pub(crate) struct Batch {
    pub(crate) messages: Vec<Payload>,
    pub(crate) version: Version,
    /// True if a client that comes back with this version can go on from it with every subscription: none
    /// waits for its first rows.
    pub(crate) resumable: bool,
}

/// The progress that was sent last.
struct Sent {
    version: Version,
    now_us: i64,
    behind: Vec<(u64, ViewState)>,
    message: Payload,
}

/// One viewer. See the module's story.
pub(crate) struct Viewer {
    hub: Arc<Hub>,
    tenant: Option<Tenant>,
    encoding: Encoding,
    subs: BTreeMap<u64, Sub>,
    serials: u64,
    /// Up to here the live subscriptions have everything.
    cursor: Version,
    round_number: u64,
    /// Something waits that no round will bring.
    dirty: bool,
    sent: Option<Sent>,
    sent_at: Instant,
    pace: Pace,
    acked: Option<Version>,
    resume: Option<Result<Version, Reason>>,
    /// When the resume came, and the last message after it.
    resuming: Option<(Instant, Instant)>,
    asked: bool,
    errors: u32,
    /// Its messages.
    bucket: Bucket,
    replies: VecDeque<Payload>,
    opens: Vec<Open>,
}

impl Viewer {
    pub(crate) fn new(hub: Arc<Hub>, tenant: Option<Tenant>, now: Instant) -> Viewer {
        let round_number = hub.rounds().borrow().number;
        Viewer {
            hub,
            tenant,
            encoding: Encoding::default(),
            subs: BTreeMap::new(),
            serials: 0,
            cursor: Version::ZERO,
            round_number,
            dirty: false,
            sent: None,
            sent_at: now,
            pace: Pace::Free,
            acked: None,
            resume: None,
            resuming: None,
            asked: false,
            errors: 0,
            bucket: Bucket::default(),
            replies: VecDeque::new(),
            opens: Vec::new(),
        }
    }

    /// Makes it one that speaks `encoding`; JSON until then.
    pub(crate) fn speaking(self, encoding: Encoding) -> Viewer {
        Viewer { encoding, ..self }
    }

    /// How it is spoken to.
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Takes in one message of the client, in JSON.
    pub(crate) fn message(&mut self, text: &str, now: Instant) -> Result<(), Closing> {
        self.take(ClientMessage::parse(text), now)
    }

    /// Takes in one message of the client.
    pub(crate) fn take(
        &mut self,
        message: Result<ClientMessage, BadMessage>,
        now: Instant,
    ) -> Result<(), Closing> {
        if let Some((_, last)) = &mut self.resuming {
            *last = now;
        }
        let max = self.hub.limits.messages_per_second_max;
        if let Err(wait) = self.bucket.take(max, now) {
            let id = message.map_or_else(|bad| bad.id, |message| message.id());
            let error =
                FeedError::new(code::TOO_MANY_REQUESTS, format!("more than {max} messages a second came"));
            let hint = "send fewer, or raise feed.messages_per_second_max";
            let outcome = self.refuse(id, &error.hint(hint).retry_after(seconds(wait)));
            let reason = "too many messages; reconnect with your cursor later";
            return outcome.map_err(|_| Closing { code: 4429, reason });
        }
        let outcome = match message {
            Ok(message) => self.act(message, now),
            Err(bad) => Err((bad.id, bad.error)),
        };
        match outcome {
            Ok(()) => {
                // A page that is open for weeks may make a mistake now and then.
                self.errors = self.errors.saturating_sub(1);
                Ok(())
            }
            Err((id, error)) => self.refuse(id, &error),
        }
    }

    fn act(&mut self, message: ClientMessage, now: Instant) -> Result<(), (Option<u64>, FeedError)> {
        match message {
            ClientMessage::Subscribe(subscribe) => {
                let id = subscribe.id;
                self.subscribe(subscribe).map_err(|error| (Some(id), error))
            }
            ClientMessage::Unsubscribe { id } => {
                if self.subs.remove(&id).is_some() {
                    return Ok(());
                }
                let error = FeedError::new(code::UNKNOWN_ID, format!("no subscription has the id {id}"));
                Err((Some(id), error.hint("subscribe first, or leave out what ended with an error")))
            }
            ClientMessage::Resume { epoch, version } => {
                if self.asked || self.resume.is_some() {
                    let error = FeedError::new(code::LATE_RESUME, "resume after other messages");
                    return Err((None, error.hint("send resume once, before the first subscribe")));
                }
                self.resume(Epoch::parse(&epoch), Version::new(version), now);
                Ok(())
            }
            ClientMessage::Pace { mode } => {
                self.pace = mode;
                Ok(())
            }
            ClientMessage::Ack { version } => {
                let version = Version::new(version);
                if self.sent.as_ref().is_none_or(|sent| sent.version < version) {
                    let error = FeedError::new(code::BAD_ACK, format!("the version {version} was not sent"));
                    return Err((None, error.hint("acknowledge the version of the last progress")));
                }
                self.acked = self.acked.max(Some(version));
                Ok(())
            }
        }
    }

    /// Remembers the cursor of a lost connection for the subscribes that follow.
    pub(crate) fn resume(&mut self, epoch: Option<Epoch>, version: Version, now: Instant) {
        let known = epoch == Some(self.hub.epoch);
        self.resume = Some(if known { Ok(version) } else { Err(Reason::Epoch) });
        self.resuming = Some((now, now));
    }

    /// Adds a subscription; the transport opens it.
    pub(crate) fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), FeedError> {
        let Subscribe { id, target, params, snapshot } = subscribe;
        self.asked = true;
        if self.subs.contains_key(&id) {
            let error = FeedError::new(code::DUPLICATE_ID, format!("the id {id} is in use"));
            return Err(error.hint("unsubscribe it first, or use another id"));
        }
        let max = self.hub.limits.subscriptions_max;
        if self.subs.len() >= max {
            let message = format!("this connection has {max} subscriptions already");
            let error = FeedError::new(code::TOO_MANY_SUBSCRIPTIONS, message);
            return Err(error.hint("unsubscribe some, or raise feed.subscriptions_max"));
        }
        let resume = self.resume.filter(|_| !snapshot);
        self.serials += 1;
        let serial = self.serials;
        self.subs.insert(id, Sub { serial, state: SubState::Opening, resume, opened: None });
        let request = SubscribeRequest { target, params, tenant: self.tenant.clone() };
        let cursor = resume.and_then(Result::ok);
        self.opens.push(Open { id, serial, request, cursor });
        Ok(())
    }

    /// Subscriptions to be opened now.
    pub(crate) fn opens(&mut self) -> Vec<Open> {
        std::mem::take(&mut self.opens)
    }

    /// Takes in what the resolver answered.
    pub(crate) fn opened(&mut self, id: u64, serial: u64, outcome: Result<Opened, FeedError>) {
        // One that was unsubscribed meanwhile lets its view go here.
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.serial == serial) else { return };
        match outcome {
            Ok(opened) => {
                let (cursor, reason) = match sub.resume.take() {
                    None => (None, None),
                    Some(Err(reason)) => (None, Some(reason)),
                    Some(Ok(cursor)) if opened.resumes => (Some(cursor), None),
                    Some(Ok(_)) => (None, Some(Reason::Schema)),
                };
                sub.state = SubState::Waiting { cursor, reason };
                sub.opened = Some(opened);
                self.dirty = true;
            }
            Err(error) => self.end(id, &error),
        }
    }

    /// Ends a subscription with an error.
    fn end(&mut self, id: u64, error: &FeedError) {
        self.subs.remove(&id);
        self.reply(Some(id), error);
    }

    fn reply(&mut self, id: Option<u64>, error: &FeedError) {
        self.hub.counters.error(&error.code);
        self.replies.push_back(self.encoding.error(id, error));
    }

    /// Answers a bad message; too many of them close the connection.
    pub(crate) fn refuse(&mut self, id: Option<u64>, error: &FeedError) -> Result<(), Closing> {
        self.reply(id, error);
        self.errors += 1;
        if self.errors <= self.hub.limits.errors_max {
            return Ok(());
        }
        let last = FeedError::new(code::TOO_MANY_ERRORS, "too many bad messages; the connection is closed");
        self.reply(None, &last.hint("see docs/live-protocol.md"));
        Err(Closing { code: 4400, reason: "too many bad messages" })
    }

    /// The next answer to the client's own messages.
    pub(crate) fn next_reply(&mut self) -> Option<Payload> {
        self.replies.pop_front()
    }

    /// False while so many answers wait that the client should not be read.
    pub(crate) fn wants_messages(&self) -> bool {
        self.replies.len() < REPLIES_MAX
    }

    /// True if the client has asked for anything yet.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked
    }

    /// True if a batch may be made: nothing is awaited from the client.
    fn may_send(&self, now: Instant) -> bool {
        if self.quiet_until().is_some_and(|until| now < until) {
            return false;
        }
        match (self.pace, &self.sent) {
            (Pace::Ack, Some(sent)) => self.acked.is_some_and(|acked| acked >= sent.version),
            _ => true,
        }
    }

    /// After a resume: when the first batch may be made. A page that comes back should do so in one step, so it
    /// waits for the subscribes that follow and for their views to be opened.
    fn quiet_until(&self) -> Option<Instant> {
        let (first, last) = self.resuming?;
        let latest = first + RESUME_QUIET_MAX;
        let opening = self.subs.values().any(|sub| matches!(sub.state, SubState::Opening));
        Some(if opening { latest } else { latest.min(last + RESUME_QUIET) })
    }

    /// When to look again although nothing happened.
    pub(crate) fn wake_at(&self) -> Instant {
        let heartbeat = self.sent_at + self.hub.limits.heartbeat;
        self.quiet_until().map_or(heartbeat, |quiet| quiet.min(heartbeat))
    }

    /// What to send now, if anything. The caller has a socket that takes it.
    pub(crate) fn batch(&mut self, round: &Round, now: Instant) -> Option<Batch> {
        let beat = now >= self.sent_at + self.hub.limits.heartbeat;
        let news = self.dirty || round.number != self.round_number;
        if !beat && !news {
            return None;
        }
        if !self.may_send(now) {
            return if beat { self.repeat(now) } else { None };
        }
        if news && round.number > self.round_number {
            self.hub.counters.moments_skipped.add(round.number - self.round_number - 1);
            self.round_number = round.number;
        }
        let batch = if !news && self.sent.is_some() {
            None
        } else if self.is_at(round) {
            self.batch_of_round(round, beat, now)
        } else if self.dirty || self.sent.is_none() || self.cursor < round.version {
            self.batch_of_its_own(now)
        } else {
            None
        };
        batch.or_else(|| if beat { self.repeat(now) } else { None })
    }

    /// The heartbeat of a viewer that is at nothing new.
    fn repeat(&mut self, now: Instant) -> Option<Batch> {
        let sent = self.sent.as_ref()?;
        let (messages, version) = (vec![sent.message.clone()], sent.version);
        let batch = Batch { messages, version, resumable: self.is_resumable() };
        self.sent_at = now;
        self.count(&batch);
        Some(batch)
    }

    /// True if the round's frames bring every subscription to the round's moment.
    fn is_at(&self, round: &Round) -> bool {
        if self.cursor < round.from || self.cursor > round.version {
            return false;
        }
        self.subs.values().all(|sub| {
            let Some(opened) = &sub.opened else { return true };
            let Some(view) = round.views.get(&opened.view) else { return false };
            match (&sub.state, &view.state) {
                (_, ViewState::Failed(_)) => false,
                (SubState::Opening, _) => true,
                (SubState::Waiting { .. }, state) => matches!(state, ViewState::Seeding { .. }),
                (SubState::Live { .. }, ViewState::Seeding { .. }) => true,
                (SubState::Live { schema }, _) => !view.is_snapshot() && is_same(schema, &view.schema),
            }
        })
    }

    fn batch_of_round(&mut self, round: &Round, beat: bool, now: Instant) -> Option<Batch> {
        let (mut messages, mut behind) = (Vec::new(), Vec::new());
        for (&id, sub) in &self.subs {
            let Some(opened) = &sub.opened else { continue };
            let Some(view) = round.views.get(&opened.view) else { continue };
            let lacks = self.cursor < round.version && view.has_changes();
            if lacks && matches!(sub.state, SubState::Live { .. }) {
                let Some(frame) = view.frame(opened.view, round, self.encoding, &self.hub) else { continue };
                if frame.len() > self.hub.limits.frame_bytes_max {
                    // The way by itself ends the subscription with the error.
                    return self.batch_of_its_own(now);
                }
                messages.push(frame.message(id, None));
                self.hub.counters.deltas.add(1);
            }
            lags(&view.state, id, &mut behind);
        }
        self.dirty = false;
        self.cursor = round.version;
        let moment = (round.version, round.now_us);
        let encoding = self.encoding;
        let progress = |behind: &[_]| match behind {
            [] => round.progress(encoding),
            _ => encoding.progress(round.version, round.position, round.now_us, behind),
        };
        self.close(messages, moment, behind, beat, now, progress)
    }

    fn batch_of_its_own(&mut self, now: Instant) -> Option<Batch> {
        let asks = self.subs.iter().filter_map(|(&id, sub)| {
            let view = sub.opened.as_ref()?.view;
            Some(match &sub.state {
                SubState::Opening => return None,
                SubState::Waiting { cursor, reason } => {
                    Ask { id, view, cursor: *cursor, reason: *reason, schema: None }
                }
                SubState::Live { schema } => {
                    let cursor = Some(self.cursor);
                    Ask { id, view, cursor, reason: None, schema: Some(Arc::clone(schema)) }
                }
            })
        });
        let asks = asks.collect();
        let taken = read(&self.hub, self.encoding, asks);
        let (mut messages, mut behind) = (Vec::new(), Vec::new());
        for (id, taken) in taken.views {
            match taken {
                Taken::Ended(error) => self.end(id, &error),
                Taken::Nothing(state) => lags(&state, id, &mut behind),
                Taken::Rows { messages: new, schema, state } => {
                    lags(&state, id, &mut behind);
                    messages.extend(new);
                    if let Some(sub) = self.subs.get_mut(&id) {
                        sub.state = SubState::Live { schema };
                    }
                }
            }
        }
        self.dirty = false;
        self.cursor = taken.version;
        let encoding = self.encoding;
        let progress = |behind: &[_]| encoding.progress(taken.version, taken.position, taken.now_us, behind);
        self.close(messages, (taken.version, taken.now_us), behind, true, now, progress)
    }

    /// Ends a batch with its progress, unless there is nothing to say.
    fn close(
        &mut self,
        mut messages: Vec<Payload>,
        (version, now_us): (Version, i64),
        behind: Vec<(u64, ViewState)>,
        beat: bool,
        now: Instant,
        progress: impl FnOnce(&[(u64, ViewState)]) -> Payload,
    ) -> Option<Batch> {
        let same = |sent: &Sent| sent.now_us == now_us && sent.behind == behind;
        if messages.is_empty() && !beat && self.sent.as_ref().is_some_and(same) {
            // Other views moved. This viewer's rows are those of the new moment, too; the next progress tells.
            return None;
        }
        let message = progress(&behind);
        messages.push(message.clone());
        self.sent = Some(Sent { version, now_us, behind, message });
        self.sent_at = now;
        if self.resuming.take().is_some() {
            self.resume = None;
            self.asked = true;
        }
        let batch = Batch { messages, version, resumable: self.is_resumable() };
        self.hub.counters.rounds_sent.add(1);
        self.count(&batch);
        Some(batch)
    }

    fn is_resumable(&self) -> bool {
        self.subs.values().all(|sub| matches!(sub.state, SubState::Live { .. }))
    }

    fn count(&self, batch: &Batch) {
        let bytes: usize = batch.messages.iter().map(Payload::len).sum();
        self.hub.counters.bytes_sent.add(bytes as u64);
        self.hub.counters.messages_sent.add(batch.messages.len() as u64);
    }

    /// Lets the views go; they live on for a while if `linger`.
    pub(crate) fn leave(self, linger: bool) {
        for opened in self.subs.into_values().filter_map(|sub| sub.opened) {
            if linger {
                opened.linger();
            }
        }
    }
}

/// Notes a subscription whose rows are not those of the moment.
fn lags(state: &ViewState, id: u64, behind: &mut Vec<(u64, ViewState)>) {
    if matches!(state, ViewState::Seeding { .. } | ViewState::Behind { .. }) {
        behind.push((id, state.clone()));
    }
}

pub(crate) fn is_same(a: &Arc<LiveSchema>, b: &Arc<LiveSchema>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// A failed view as its viewers are told. The texts of views have the form "fact; remedy".
pub(crate) fn view_failed(error: &ViewError) -> FeedError {
    let text = error.to_string();
    let retry = matches!(
        error,
        ViewError::TableDropped { .. }
            | ViewError::ColumnRetyped { .. }
            | ViewError::SeedTooSlow { .. }
            | ViewError::Evaluation(_)
    );
    let (message, hint) = match text.rsplit_once("; ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    };
    FeedError { hint, retry, ..FeedError::new(code::VIEW_FAILED, message) }
}
