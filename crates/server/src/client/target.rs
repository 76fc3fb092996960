//! A running server, asked over HTTP.

use std::{io::Read, thread::sleep, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value;
use ureq::{Body, http::Response};

use crate::cli::ServerArgs;

/// What an error has to say.
const ERROR_BYTES_MAX: u64 = 1 << 20;

/// How often a server that is busy, or does not answer, is asked again; each waits a second and more.
const TRIES_MAX: u64 = 60;
const CONNECTS_MAX: u64 = 5;

/// A server.
#[derive(Clone)]
pub(super) struct Target {
    agent: ureq::Agent,
    pub(super) base: String,
    token: Option<String>,
}

impl Target {
    pub(super) fn new(args: &ServerArgs) -> Target {
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .build()
            .into();
        Target { agent, base: args.to.trim_end_matches('/').to_owned(), token: args.token.clone() }
    }

    fn unreachable(&self) -> String {
        format!("cannot reach {}; is `nowcast serve` running, and does it listen there?", self.base)
    }

    /// A GET; an answer that is not 2xx is an error.
    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Response<Body>> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in
            self.authorization().iter().map(|(n, v)| (*n, v.as_str())).chain(headers.iter().copied())
        {
            request = request.header(name, value);
        }
        let response = request.call().with_context(|| self.unreachable())?;
        self.demand(response)
    }

    /// A form; an answer that is not 2xx is an error.
    pub(super) fn form(&self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Response<Body>> {
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", percent_encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let mut request =
            self.agent.post(format!("{}{path}", self.base)).content_type("application/x-www-form-urlencoded");
        if let Some((name, value)) = self.authorization() {
            request = request.header(name, value);
        }
        let response = request.send(body).with_context(|| self.unreachable())?;
        self.demand(response)
    }

    /// Posts bytes that may be sent again under `key`, and does so while the server is busy or away for a moment.
    pub(super) fn post_once(&self, path: &str, kind: &str, key: &str, body: &[u8]) -> anyhow::Result<()> {
        let (mut busy, mut away) = (0, 0);
        loop {
            let mut request = self.agent.post(format!("{}{path}", self.base)).content_type(kind);
            if let Some((name, value)) = self.authorization() {
                request = request.header(name, value);
            }
            match request.header("Idempotency-Key", key).send(body) {
                Ok(response) if response.status() == 503 && busy < TRIES_MAX => {
                    busy += 1;
                    let after = response
                        .headers()
                        .get("retry-after")
                        .and_then(|value| value.to_str().ok()?.parse().ok());
                    sleep(Duration::from_secs(after.unwrap_or(1_u64).clamp(1, 10)));
                }
                Ok(response) => return self.demand(response).map(drop),
                Err(_) if away < CONNECTS_MAX => {
                    away += 1;
                    sleep(Duration::from_millis(300 << away));
                }
                Err(error) => return Err(anyhow::Error::new(error).context(self.unreachable())),
            }
        }
    }

    /// JSON of a GET.
    pub(super) fn json(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut response = self.get(path, headers)?;
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} did not answer as a Nowcast server does", self.base))
    }

    fn authorization(&self) -> Option<(&'static str, String)> {
        self.token.as_ref().map(|token| ("Authorization", format!("Bearer {token}")))
    }

    fn demand(&self, mut response: Response<Body>) -> anyhow::Result<Response<Body>> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut text = String::new();
        // Of an error that cannot be read the status is left.
        let _ = response.body_mut().as_reader().take(ERROR_BYTES_MAX).read_to_string(&mut text);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = ["error", "message", "status"].iter().find_map(|name| answer.get(name)?.as_str());
        let Some(error) = said else {
            bail!("{} answered {status}: {}", self.base, text.trim());
        };
        let place = answer.get("line").zip(answer.get("column"));
        let place = place.filter(|(line, _)| line.as_u64() != Some(0));
        let place =
            place.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default();
        let hint = answer.get("hint").and_then(Value::as_str).filter(|hint| !hint.is_empty());
        bail!("{error}{place}{}", hint.map(|hint| format!("\n{hint}")).unwrap_or_default());
    }
}

/// Everything but letters, digits and `-_.~` as `%XX`.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
