//! The messages of the live protocol, version 1. `docs/live-protocol.md` tells what each means.
//!
//! What clients send is parsed here. What the server sends is written by `encode`, straight from the rows of
//! live tables; [`ServerMessage`] is the same in serde's form, for clients in Rust and for tests.

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value as Json};

use crate::{FeedError, error::code};

/// The subprotocol of messages in JSON.
pub const SUBPROTOCOL_JSON: &str = "nowcast.v1.json";

/// The subprotocol of the same messages in MessagePack.
pub const SUBPROTOCOL_MSGPACK: &str = "nowcast.v1.msgpack";

/// Ids that clients give are below this: every JSON implementation keeps them exactly.
pub const ID_MAX: u64 = 1 << 53;

/// Values within values that a message in MessagePack may have; those of JSON are bounded by its parser.
const DEPTH_MAX: usize = 64;

/// What a subscription watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A SELECT.
    Query(String),
    /// A panel of a dashboard: `{dashboard}/{panel}`, and `/compare` or `/spark` behind it.
    Panel(String),
    /// A dashboard's definition.
    Dashboard(String),
}

impl Target {
    /// The dashboard that it belongs to.
    pub fn dashboard(&self) -> Option<&str> {
        match self {
            Target::Query(_) => None,
            Target::Panel(path) => Some(path.split('/').next().unwrap_or(path)),
            Target::Dashboard(name) => Some(name),
        }
    }

    /// The field's name and its text.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Target::Query(text) => ("query", text),
            Target::Panel(text) => ("panel", text),
            Target::Dashboard(text) => ("dashboard", text),
        }
    }
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Watch something.
    Subscribe(Subscribe),
    /// Watch it no more.
    Unsubscribe {
        /// The subscription.
        id: u64,
    },
    /// The cursor of a connection that was lost; before everything else.
    Resume {
        /// The epoch of the last snapshot.
        epoch: String,
        /// The version of the last progress.
        version: u64,
    },
    /// How rounds are paced.
    Pace {
        /// `ack` waits for acknowledgements, `free` does not.
        mode: Pace,
    },
    /// The client applied a round.
    Ack {
        /// The version of its progress.
        version: u64,
    },
}

/// The body of a subscribe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Subscribe {
    /// Names the subscription on this connection.
    pub id: u64,
    /// What is watched.
    #[serde(flatten)]
    pub target: Target,
    /// Parameters by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Json>,
    /// True to get a snapshot whatever was resumed: for subscriptions that the lost connection did not have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}

/// How rounds are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as the socket takes them.
    #[default]
    Free,
    /// One after each acknowledgement.
    Ack,
}

/// All fields of all messages: tells an unknown `op` from a missing field, and ignores what newer clients add.
#[derive(Deserialize)]
struct Raw {
    op: String,
    id: Option<u64>,
    query: Option<String>,
    panel: Option<String>,
    dashboard: Option<String>,
    params: Option<Map<String, Json>>,
    #[serde(default)]
    snapshot: bool,
    epoch: Option<String>,
    version: Option<u64>,
    mode: Option<Pace>,
}

/// A message that could not be read, and the id that it had, so that the error can name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMessage {
    /// The id, if one could be found.
    pub id: Option<u64>,
    /// What is wrong.
    pub error: FeedError,
}

impl ClientMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// `bad_message` with what is missing or wrong.
    pub fn parse(text: &str) -> Result<ClientMessage, BadMessage> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| {
            let id = serde_json::from_str::<Json>(text).ok().and_then(|json| json.get("id")?.as_u64());
            bad(id, error.to_string())
                .hint(id, "send one JSON object a message, as docs/live-protocol.md shows")
        })?;
        ClientMessage::of(raw)
    }

    /// Reads a message in MessagePack.
    ///
    /// # Errors
    /// As [`ClientMessage::parse`].
    pub fn unpack(bytes: &[u8]) -> Result<ClientMessage, BadMessage> {
        let raw: Raw = unpacked(bytes).map_err(|error| {
            let id = unpacked::<Json>(bytes).ok().and_then(|json| json.get("id")?.as_u64());
            bad(id, error).hint(id, "send one map a message, as docs/live-protocol.md shows")
        })?;
        ClientMessage::of(raw)
    }

    /// The subscription that it is about.
    pub fn id(&self) -> Option<u64> {
        match self {
            ClientMessage::Subscribe(subscribe) => Some(subscribe.id),
            ClientMessage::Unsubscribe { id } => Some(*id),
            ClientMessage::Resume { .. } | ClientMessage::Pace { .. } | ClientMessage::Ack { .. } => None,
        }
    }

    fn of(raw: Raw) -> Result<ClientMessage, BadMessage> {
        let id = raw.id;
        let missing = |field: &str| bad(id, format!("{} has no {field:?}", raw.op));
        let need_id = || match id {
            Some(id) if id < ID_MAX => Ok(id),
            Some(_) => Err(bad(None, format!("the id is not below {ID_MAX}"))),
            None => Err(missing("id")),
        };
        match raw.op.as_str() {
            "subscribe" => {
                let id = need_id()?;
                let targets = [
                    raw.query.map(Target::Query),
                    raw.panel.map(Target::Panel),
                    raw.dashboard.map(Target::Dashboard),
                ];
                let mut targets = targets.into_iter().flatten();
                let (Some(target), None) = (targets.next(), targets.next()) else {
                    let text = "subscribe needs exactly one of \"query\", \"panel\" and \"dashboard\"";
                    return Err(bad(Some(id), text.to_owned()));
                };
                let params = raw.params.unwrap_or_default();
                Ok(ClientMessage::Subscribe(Subscribe { id, target, params, snapshot: raw.snapshot }))
            }
            "unsubscribe" => Ok(ClientMessage::Unsubscribe { id: need_id()? }),
            "resume" => {
                let epoch = raw.epoch.ok_or_else(|| missing("epoch"))?;
                let version = raw.version.ok_or_else(|| missing("version"))?;
                Ok(ClientMessage::Resume { epoch, version })
            }
            "pace" => Ok(ClientMessage::Pace { mode: raw.mode.ok_or_else(|| missing("mode"))? }),
            "ack" => Ok(ClientMessage::Ack { version: raw.version.ok_or_else(|| missing("version"))? }),
            op => {
                let op: String = op.chars().take(32).collect();
                Err(bad(id, format!("unknown op {op:?}"))
                    .hint(id, "use subscribe, unsubscribe, resume, pace or ack"))
            }
        }
    }
}

/// One value in MessagePack, and nothing behind it.
fn unpacked<T: serde::de::DeserializeOwned>(mut bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(&mut bytes);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    drop(deserializer);
    match bytes.len() {
        0 => Ok(value),
        more => Err(format!("{more} bytes come behind the message")),
    }
}

fn bad(id: Option<u64>, message: String) -> BadMessage {
    BadMessage { id, error: FeedError::new(code::BAD_MESSAGE, message) }
}

impl BadMessage {
    fn hint(self, id: Option<u64>, hint: &str) -> BadMessage {
        BadMessage { id, error: self.error.hint(hint) }
    }
}

impl<'de> Deserialize<'de> for ClientMessage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ClientMessage, D::Error> {
        let json = Json::deserialize(deserializer)?;
        ClientMessage::parse(&json.to_string()).map_err(|bad| D::Error::custom(bad.error))
    }
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerMessage {
    /// All rows of a subscription.
    Snapshot {
        /// The subscription.
        id: u64,
        /// The process's run.
        epoch: String,
        /// The moment.
        version: u64,
        /// How the view is kept.
        mode: String,
        /// Why a resume was not accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// True if the result has more rows than are kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
        /// What the rows look like.
        schema: Schema,
        /// The rows, in order.
        rows: Vec<Vec<Json>>,
    },
    /// What changed.
    Delta {
        /// The subscription.
        id: u64,
        /// The moment after it.
        version: u64,
        /// True if the result has more rows than are kept.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
        /// Rows that came or changed.
        upsert: Vec<Vec<Json>>,
        /// Keys of rows that went.
        delete: Vec<Vec<Json>>,
    },
    /// Closes a round.
    Progress {
        /// The moment.
        version: u64,
        /// The log's position, opaque.
        position: String,
        /// The tick, in microseconds since 1970 UTC.
        now: i64,
        /// Subscriptions that lag.
        #[serde(default)]
        behind: Vec<Behind>,
    },
    /// Something failed.
    Error {
        /// The subscription that ended by it; none if it is about the connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// What.
        #[serde(flatten)]
        error: FeedError,
    },
}

/// The shape of a subscription's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The columns, hidden ones included.
    pub columns: Vec<SchemaColumn>,
    /// Indices of the key's columns.
    pub key: Vec<usize>,
    /// Column and `asc` or `desc`; ties go by key.
    pub order: Vec<(usize, String)>,
    /// The query's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaColumn {
    /// Its name.
    pub name: String,
    /// Its type, by QuestDB's name.
    #[serde(rename = "type")]
    pub ty: String,
    /// True if it only orders or identifies rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// A subscription that lags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The subscription.
    pub id: u64,
    /// The last version at which its content was true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// `seeding` before the first snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How far the seeding is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}
