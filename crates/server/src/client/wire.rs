//! A statement to the server and its answer, on a connection of its own: closing it ends the query.

use std::{fmt, time::Duration};

use anyhow::{Context, bail};
use axum::{
    body::Body,
    http::{Request, Uri, header},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::percent_encode;
use crate::cli::ServerArgs;

/// An answer is shown as a whole: larger ones are for `nowcast export`.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The server is not there.
#[derive(Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot reach {}; is `nowcast serve` running, and does it listen there?", self.0)
    }
}

impl std::error::Error for Unreachable {}

/// Closes the connection when it is dropped.
struct Closing(tokio::task::JoinHandle<()>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What `/exec` answers: its text, and the same as JSON.
pub(super) async fn exec(server: &ServerArgs, query: &str) -> anyhow::Result<(String, Value)> {
    let base = server.to.trim_end_matches('/');
    let (status, text) = post(server, base, &format!("query={}", percent_encode(query))).await?;
    let answer: Value = serde_json::from_str(&text)
        .with_context(|| format!("{base} did not answer as a Nowcast server does (status {status})"))?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        let place = answer.get("line").zip(answer.get("column"));
        let place =
            place.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default();
        let hint = answer.get("hint").and_then(Value::as_str);
        bail!("{error}{place}{}", hint.map(|hint| format!("\n{hint}")).unwrap_or_default());
    }
    Ok((text, answer))
}

async fn post(server: &ServerArgs, base: &str, form: &str) -> anyhow::Result<(u16, String)> {
    let uri: Uri = base.parse().with_context(|| format!("{base:?} is no address; write http://HOST:PORT"))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        bail!("{base:?} is no address; write http://HOST:PORT");
    };
    let port = uri.port_u16().unwrap_or(80);
    let away = || Unreachable(base.to_owned());
    let connect = TcpStream::connect((host.trim_matches(['[', ']']), port));
    let stream = timeout(Duration::from_secs(5), connect).await.map_err(|_| away())?.with_context(away)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(away)?;
    let _closing = Closing(tokio::spawn(async move {
        // What goes wrong is told by the request.
        let _ = connection.await;
    }));
    let mut request = Request::post(format!("{}/exec", uri.path().trim_end_matches('/')))
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(token) = &server.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response =
        sender.send_request(request.body(Body::from(form.to_owned()))?).await.with_context(away)?;
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX)
        .await
        .context("the answer broke off, or has more than 256 MiB; use `nowcast export` for so many rows")?;
    Ok((status, String::from_utf8(bytes.to_vec())?))
}
