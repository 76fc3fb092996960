//! From the first byte to the first ReadyForQuery: encryption refused, calls to cancel, the password.
//!
//! Nobody is known yet, so everything is short: a packet has 10,000 bytes at most, all of it `pg.login_timeout_s`.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use bytes::{Buf, BytesMut};
use futures::SinkExt;
use pgwire::{
    api::{
        ClientInfo, ConnectionHandle, ConnectionManager, DefaultClient, METADATA_USER, PgWireConnectionState,
        PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
        auth::{
            AuthSource, ServerParameterProvider, StartupHandler,
            sasl::{SASLAuthStartupHandler, scram::ScramAuth},
        },
    },
    error::{ErrorInfo, PgWireError},
    messages::{
        DecodeContext, Message, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
        cancel::CancelRequest,
        startup::{PasswordMessageFamily, Startup},
    },
    tokio::server::PgWireMessageServerCodec,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::codec::Framed;

use super::{
    auth::Users,
    error::{End, WireError},
    message::broken,
    settings::Settings,
};

/// Largest packet before somebody is known.
const PACKET_BYTES_MAX: usize = 10_000;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

type Framing = Framed<TcpStream, PgWireMessageServerCodec<()>>;

/// All connections, so that a call to cancel finds the one that it means.
static CONNECTIONS: LazyLock<Arc<ConnectionManager>> = LazyLock::new(Default::default);

/// Numbers and secrets of connections.
static KEYS: LazyLock<Arc<RandomPidSecretKeyGenerator>> = LazyLock::new(Default::default);

/// Somebody who logged in.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// What came behind the password.
    pub(super) input: BytesMut,
    pub(super) settings: Settings,
    pub(super) read_only: bool,
    pub(super) cancel: Arc<ConnectionHandle>,
    /// Forgets the connection's secret when it is dropped.
    pub(super) keys: DefaultClient<()>,
}

struct Parameters(HashMap<String, String>);

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, _: &C) -> Option<HashMap<String, String>> {
        Some(self.0.clone())
    }
}

/// Lets a client in; `None` if it came for something else. With `users` absent there is no place for it.
pub(super) async fn login(mut stream: TcpStream, users: Option<Arc<Users>>) -> Result<Option<Client>, End> {
    let _ = stream.set_nodelay(true);
    let mut input = BytesMut::new();
    let startup = match startup(&mut stream, &mut input).await {
        Ok(Some(startup)) => startup,
        Ok(None) => return Ok(None),
        Err(end) => return Err(told(stream, end).await),
    };
    let address = stream.peer_addr()?;
    let codec = PgWireMessageServerCodec::new(DefaultClient::new(address, false));
    let mut framed: Framing = Framed::new(stream, codec);
    match enter(&mut framed, &mut input, startup, users).await {
        Ok((settings, read_only)) => {
            let parts = framed.into_parts();
            let keys = parts.codec.client_info;
            let cancel = keys.session_extensions().get::<Arc<ConnectionHandle>>().ok_or(End::Gone)?;
            let cancel = Arc::clone(&*cancel);
            Ok(Some(Client { stream: parts.io, input, settings, read_only, cancel, keys }))
        }
        Err(end) => Err(told(framed.into_parts().io, end).await),
    }
}

/// Tells a client why it may not go on.
async fn told(mut stream: TcpStream, end: End) -> End {
    if let End::Fatal(error) = &end {
        let mut out = BytesMut::new();
        let mut info = ErrorInfo::new("FATAL".to_owned(), error.code.to_string(), error.message.clone());
        info.hint.clone_from(&error.hint);
        if PgWireBackendMessage::ErrorResponse(info.into()).encode(&mut out).is_ok() {
            let _ = stream.write_all(&out).await;
            let _ = stream.shutdown().await;
        }
    }
    end
}

/// The startup packet. Requests for encryption are refused, and calls to cancel done, on the way.
async fn startup(stream: &mut TcpStream, input: &mut BytesMut) -> Result<Option<Startup>, End> {
    // One request for each kind of encryption, and the packet itself.
    for _ in 0..3 {
        need(stream, input, 8).await?;
        let (length, code) = ((&input[..4]).get_i32(), (&input[4..8]).get_u32());
        let length = match usize::try_from(length) {
            Ok(length) if (8..=PACKET_BYTES_MAX).contains(&length) => length,
            _ => return Err(broken("this is the PostgreSQL protocol; no packet of it begins like this")),
        };
        need(stream, input, length).await?;
        let mut packet = input.split_to(length);
        let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_2);
        match code {
            SSL_REQUEST | GSS_REQUEST => {
                stream.write_all(b"N").await?;
            }
            CANCEL_REQUEST => {
                if length >= 16
                    && let Ok(Some(request)) = CancelRequest::decode(&mut packet, &context)
                {
                    CONNECTIONS.cancel(request.pid, &request.secret_key).await;
                }
                return Ok(None);
            }
            _ if length == 8 => return Err(broken("the startup packet names no user")),
            _ => {
                let startup = Startup::decode(&mut packet, &context).map_err(|e| broken(e.to_string()))?;
                return startup.map(Some).ok_or_else(|| broken("the startup packet is not whole"));
            }
        }
    }
    Err(broken("encryption was refused already"))
}

async fn need(stream: &mut TcpStream, input: &mut BytesMut, bytes: usize) -> Result<(), End> {
    while input.len() < bytes {
        if stream.read_buf(input).await? == 0 {
            return Err(End::Gone);
        }
    }
    Ok(())
}

async fn enter(
    framed: &mut Framing,
    input: &mut BytesMut,
    startup: Startup,
    users: Option<Arc<Users>>,
) -> Result<(Settings, bool), End> {
    let Some(users) = users else {
        let error = WireError::fatal("53300", "there are too many connections");
        return Err(End::Fatal(error.hint("close some, use a pool, or raise pg.connections_max")));
    };
    let parameters: HashMap<String, String> = startup.parameters.clone().into_iter().collect();
    let fatal = |error: WireError| End::Fatal(WireError { severity: "FATAL", ..error });
    let settings = Settings::new(&parameters).map_err(fatal)?;
    let source: Arc<dyn AuthSource> = Arc::<Users>::clone(&users);
    let keys: Arc<dyn PidSecretKeyGenerator> = Arc::<RandomPidSecretKeyGenerator>::clone(&KEYS);
    let handler = SASLAuthStartupHandler::new(Arc::new(Parameters(settings.reported())))
        .with_scram(ScramAuth::new(source))
        .with_pid_secret_key_generator(keys)
        .with_connection_manager(Arc::clone(&CONNECTIONS));
    let refused = |error: PgWireError| {
        let info = ErrorInfo::from(error);
        let code = std::borrow::Cow::Owned(info.code);
        End::Fatal(WireError { code, ..WireError::fatal("28000", info.message) })
    };
    handler.on_startup(framed, PgWireFrontendMessage::Startup(startup)).await.map_err(refused)?;
    let mut first = true;
    while !matches!(framed.state(), PgWireConnectionState::ReadyForQuery) {
        let body = password(framed.get_mut(), input).await?;
        if first && !is_initial_response(&body) {
            return Err(broken("this is no beginning of a SCRAM exchange"));
        }
        first = false;
        let message = PgWireFrontendMessage::PasswordMessageFamily(PasswordMessageFamily::Raw(body));
        handler.on_startup(framed, message).await.map_err(refused)?;
    }
    framed.flush().await?;
    let read_only = users.is_read_only(parameters.get(METADATA_USER).map(String::as_str));
    Ok((settings, read_only))
}

/// The body of one message of the password's kind.
async fn password(stream: &mut TcpStream, input: &mut BytesMut) -> Result<BytesMut, End> {
    need(stream, input, 5).await?;
    let length = (&input[1..5]).get_i32();
    let length = match usize::try_from(length) {
        Ok(length) if input[0] == b'p' && (4..=PACKET_BYTES_MAX).contains(&length) => length,
        _ => return Err(broken("a password is expected")),
    };
    need(stream, input, length + 1).await?;
    let mut body = input.split_to(length + 1);
    body.advance(5);
    Ok(body)
}

/// A mechanism's name, a length, and as many bytes.
fn is_initial_response(body: &[u8]) -> bool {
    let Some(end) = memchr::memchr(0, body) else { return false };
    let Some(length) = body[end + 1..].first_chunk::<4>() else { return false };
    let rest = body.len() - end - 5;
    match i32::from_be_bytes(*length) {
        -1 => rest == 0,
        length => usize::try_from(length) == Ok(rest),
    }
}
