//! Session variables: those that clients set on connecting, and what SHOW says.

use std::{collections::HashMap, time::Duration};

use super::error::WireError;
use crate::sql::{Session, set};

/// The version of PostgreSQL that clients may assume.
pub(super) const SERVER_VERSION: &str = "16.6";

/// What a session begins with. Clients are told of the first ones at login and on every change.
const DEFAULTS: [(&str, &str); 30] = [
    ("server_version", SERVER_VERSION),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "off"),
    ("session_authorization", ""),
    ("in_hot_standby", "off"),
    ("default_transaction_read_only", "off"),
    ("scram_iterations", "4096"),
    ("server_version_num", "160006"),
    ("extra_float_digits", "1"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("transaction_isolation", "repeatable read"),
    ("default_transaction_isolation", "repeatable read"),
    ("transaction_read_only", "off"),
    ("transaction_deferrable", "off"),
    ("default_transaction_deferrable", "off"),
    ("client_min_messages", "notice"),
    ("bytea_output", "hex"),
    ("max_identifier_length", "127"),
    ("max_index_keys", "32"),
    ("synchronous_commit", "on"),
    ("row_security", "off"),
];

/// How many of the defaults clients are told of.
const REPORTED: usize = 14;

/// A variable that clients follow, and its value.
pub(super) type Told = (&'static str, String);

/// What a session begins with, and goes back to at RESET.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    initial: Vec<(String, String)>,
}

impl Settings {
    /// The settings of a client that logs in with these parameters.
    ///
    /// # Errors
    /// A value cannot be had.
    pub(super) fn new(parameters: &HashMap<String, String>) -> Result<Settings, WireError> {
        let mut initial: Vec<(String, String)> =
            DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let user = parameters.get("user").cloned().unwrap_or_default();
        let options = parameters.get("options").map(|options| option_pairs(options)).unwrap_or_default();
        let given = parameters.iter().map(|(name, value)| (name.clone(), value.clone()));
        let given = given.filter(|(name, _)| {
            !matches!(name.as_str(), "user" | "database" | "options" | "replication")
                && !name.starts_with("_pq_.")
        });
        for (name, value) in given.chain(options).chain([("session_authorization".to_owned(), user)]) {
            let value = checked(&name.to_lowercase(), &value)?;
            match initial.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some(entry) => entry.1 = value,
                None => initial.push((name, value)),
            }
        }
        Ok(Settings { initial })
    }

    /// What clients are told at login.
    pub(super) fn reported(&self) -> HashMap<String, String> {
        self.initial.iter().take(REPORTED).cloned().collect()
    }

    /// Sets all variables of `session` to what it began with.
    pub(super) fn reset(&self, session: &mut Session) {
        session.variables.clear();
        session.search_path.clear();
        for (name, value) in &self.initial {
            set(session, &name.to_lowercase(), Some(value));
        }
        session.follow_defaults();
        session.statement_timeout = timeout(session);
    }

    /// Runs SET or RESET. If clients follow the variable, its name and value are given back.
    ///
    /// # Errors
    /// The value cannot be had.
    pub(super) fn set(
        &self,
        session: &mut Session,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<Told>, WireError> {
        self.change(session, name, value, false)
    }

    /// Runs SET LOCAL, in a transaction. As [`Settings::set`].
    ///
    /// # Errors
    /// The value cannot be had.
    pub(super) fn set_local(
        &self,
        session: &mut Session,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<Told>, WireError> {
        self.change(session, name, value, true)
    }

    /// Brings back what the transaction set for itself. The variables among it that clients follow.
    pub(super) fn end_local(&self, session: &mut Session) -> Vec<Told> {
        // What a variable was can be had again.
        let back = session.take_local().into_iter();
        let told =
            back.filter_map(|(name, value)| self.set(session, &name, value.as_deref()).ok()?).collect();
        session.follow_defaults();
        told
    }

    fn change(
        &self,
        session: &mut Session,
        name: &str,
        value: Option<&str>,
        is_local: bool,
    ) -> Result<Option<Told>, WireError> {
        let initial = self.initial.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = match value {
            Some(value) => Some(checked(name, value)?),
            None => initial.map(|(_, value)| value.clone()),
        };
        if is_local {
            session.keep_local(name);
            set(session, name, value.as_deref());
        } else {
            session.set(name, value.as_deref());
        }
        if name == "statement_timeout" {
            session.statement_timeout = timeout(session);
        }
        let reported = DEFAULTS[..REPORTED].iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        Ok(reported.map(|(name, _)| (*name, value.unwrap_or_default())))
    }
}

/// `-c name=value -c name=value`, with backslashes before spaces in values.
fn option_pairs(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match (c, words.last_mut()) {
            ('\\', Some(word)) => word.extend(chars.next()),
            (c, _) if c.is_whitespace() => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    let pair = |word: &str| {
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        let (name, value) = word.split_once('=')?;
        Some((name.trim().to_owned(), value.to_owned()))
    };
    words.iter().filter_map(|word| pair(word)).collect()
}

/// A variable's value in the form that SHOW gives back.
fn checked(name: &str, value: &str) -> Result<String, WireError> {
    let refuse = |hint: &str| {
        Err(WireError::new("22023", format!("{name} cannot be {value:?}")).hint(hint.to_owned()))
    };
    let lower = value.trim().to_ascii_lowercase();
    match name {
        "client_encoding" => match lower.replace(['-', '_', '\''], "").as_str() {
            "utf8" | "unicode" | "sqlascii" | "auto" => Ok("UTF8".to_owned()),
            _ => refuse("texts are UTF-8; set client_encoding to UTF8"),
        },
        "datestyle" => {
            let mut style = "ISO, MDY".to_owned();
            for part in lower.split(',').map(str::trim) {
                match part {
                    "iso" => {}
                    "mdy" | "us" | "dmy" | "european" | "ymd" => {
                        let order = match part {
                            "dmy" | "european" => "DMY",
                            "ymd" => "YMD",
                            _ => "MDY",
                        };
                        style = format!("ISO, {order}");
                    }
                    _ => return refuse("times are written in ISO 8601; set DateStyle to ISO"),
                }
            }
            Ok(style)
        }
        "intervalstyle" if lower != "postgres" => refuse("set IntervalStyle to postgres"),
        "standard_conforming_strings" if !matches!(lower.as_str(), "on" | "true" | "1" | "yes") => {
            refuse("backslashes in '…' stand for themselves; write E'…' for the other form")
        }
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            match milliseconds(&lower) {
                Some(0) => Ok("0".to_owned()),
                Some(ms) if ms % 1_000 == 0 => Ok(format!("{}s", ms / 1_000)),
                Some(ms) => Ok(format!("{ms}ms")),
                None => refuse("write milliseconds, or '30s', '5min'"),
            }
        }
        // Every statement reads one snapshot, whatever was asked for; only the level's name is kept.
        "transaction_isolation" | "default_transaction_isolation" => match lower.as_str() {
            "read uncommitted" | "read committed" | "repeatable read" | "serializable" => Ok(lower),
            _ => refuse("write 'read committed', 'repeatable read' or 'serializable'"),
        },
        "transaction_read_only"
        | "default_transaction_read_only"
        | "transaction_deferrable"
        | "default_transaction_deferrable" => match lower.as_str() {
            "on" | "true" | "yes" | "1" => Ok("on".to_owned()),
            "off" | "false" | "no" | "0" => Ok("off".to_owned()),
            _ => refuse("write on or off"),
        },
        "server_version" | "server_encoding" | "integer_datetimes" | "server_version_num"
        | "is_superuser" => Err(WireError::new("55P02", format!("{name} cannot be changed"))),
        _ => Ok(value.to_owned()),
    }
}

/// `5000`, `5s`, `1.5 min`.
fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor = match unit.trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let ms = number.parse::<f64>().ok()? * factor;
    // As PostgreSQL's, which keeps it in 32 bits.
    (ms <= f64::from(i32::MAX)).then(|| ms.round() as u64)
}

fn timeout(session: &Session) -> Option<Duration> {
    let ms = session.variables.get("statement_timeout").and_then(|text| milliseconds(text))?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_told_as_postgresql_tells_them_or_refused() {
        let table = [
            ("client_encoding", "utf-8", Some("UTF8")),
            ("client_encoding", "LATIN1", None),
            ("datestyle", "ISO", Some("ISO, MDY")),
            ("datestyle", "iso, dmy", Some("ISO, DMY")),
            ("datestyle", "German", None),
            ("statement_timeout", "1500", Some("1500ms")),
            ("statement_timeout", "2min", Some("120s")),
            ("statement_timeout", "soon", None),
            ("standard_conforming_strings", "off", None),
            ("server_version", "99", None),
            ("my.own", "x", Some("x")),
            ("transaction_isolation", "SERIALIZABLE", Some("serializable")),
            ("transaction_isolation", "READ ONLY", None),
            ("default_transaction_read_only", "TRUE", Some("on")),
            ("transaction_read_only", "perhaps", None),
        ];
        for (name, value, expected) in table {
            assert_eq!(checked(name, value).ok().as_deref(), expected, "{name} {value}");
        }
    }

    #[test]
    fn a_session_begins_with_what_the_client_sent_and_goes_back_to_it() {
        let parameters = [
            ("user", "ada"),
            ("TimeZone", "Europe/Berlin"),
            ("options", r"-c statement_timeout=5s -c my.a=b\ c"),
        ];
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let settings = Settings::new(&parameters).unwrap();
        let mut session = Session::default();
        settings.reset(&mut session);
        assert_eq!(session.statement_timeout, Some(Duration::from_secs(5)));
        assert_eq!(session.variables["my.a"], "b c");
        assert_eq!(settings.reported()["TimeZone"], "Europe/Berlin");
        assert_eq!(settings.reported()["session_authorization"], "ada");
        let told = settings.set(&mut session, "timezone", Some("UTC")).unwrap();
        assert_eq!(told, Some(("TimeZone", "UTC".to_owned())));
        let told = settings.set(&mut session, "timezone", None).unwrap();
        assert_eq!(told, Some(("TimeZone", "Europe/Berlin".to_owned())));
        settings.set(&mut session, "statement_timeout", Some("0")).unwrap();
        assert_eq!(session.statement_timeout, None);
    }
}
