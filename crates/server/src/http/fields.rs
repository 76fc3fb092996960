//! The parameters of a request, from its address or a form: each known by name, or refused.

use axum::http::StatusCode;
use percent_encoding::percent_decode;

use super::ApiError;

/// Parameters of one request: a form of ten is large.
const FIELDS_MAX: usize = 100;

/// Names and values, decoded.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=1&b=2`.
    ///
    /// # Errors
    /// A value is not UTF-8, or there are too many.
    pub(super) fn parse(text: &[u8]) -> Result<Fields, ApiError> {
        let mut fields = Vec::new();
        for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(parts.next().unwrap_or_default()).unwrap_or_default();
            let Some(value) = decode(parts.next().unwrap_or_default()) else {
                let error = format!("the parameter {name:?} is not UTF-8");
                return Err(bad(error).hint("percent-encode it as UTF-8"));
            };
            fields.push((name, value));
            if fields.len() > FIELDS_MAX {
                return Err(bad(format!("there are more than {FIELDS_MAX} parameters")));
            }
        }
        Ok(Fields(fields))
    }

    /// Adds those that `other` has and `self` has not.
    pub(super) fn or(mut self, other: Fields) -> Fields {
        self.0.extend(other.0);
        self
    }

    /// Adds one, if it is not there.
    pub(super) fn add(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }

    /// Refuses every name that is not in `known`.
    ///
    /// # Errors
    /// The first unknown one, with what may have been meant.
    pub(super) fn check(&self, route: &str, known: &[&str]) -> Result<(), ApiError> {
        let Some((name, _)) = self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
        let closest = known.iter().map(|other| (distance(other), *other)).min();
        let hint = match closest {
            Some((0..=2, other)) => format!("did you mean {other}?"),
            _ => format!("the parameters of {route} are {}", known.join(", ")),
        };
        Err(bad(format!("{route} has no parameter {name:?}")).hint(hint))
    }

    /// The value of `name`; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// `true` or `false`; false if absent.
    ///
    /// # Errors
    /// Another word.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name).unwrap_or("false").to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(bad(format!("{name} is {other:?}")).hint(format!("{name}=true, or {name}=false"))),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// Something else.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse = |text: &str| {
            text.trim().parse().map_err(|_| {
                bad(format!("{name} is {text:?}, which is no number that fits")).hint("give a whole number")
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// The one byte that separates cells: itself, or `\t`, `tab`.
    ///
    /// # Errors
    /// It is longer, or one that cells are made of.
    pub(super) fn delimiter(&self) -> Result<Option<u8>, ApiError> {
        let wrong = |text: &str| {
            bad(format!("the delimiter {text:?} does not separate cells")).hint(
                "give one ASCII character that is no letter, digit, quote or line end, such as %3B or %09",
            )
        };
        // A space alone is a value here.
        let given = self.0.iter().find(|(known, _)| known == "delimiter").map(|(_, value)| value.as_str());
        match given {
            None | Some("") => Ok(None),
            Some("\\t" | "tab") => Ok(Some(b'\t')),
            Some(text) => match text.as_bytes() {
                [byte @ (b' '..=b'~' | b'\t')] if !byte.is_ascii_alphanumeric() && *byte != b'"' => {
                    Ok(Some(*byte))
                }
                _ => Err(wrong(text)),
            },
        }
    }
}

/// A request that is wrong in itself.
pub(super) fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}

fn decode(text: &[u8]) -> Option<String> {
    let spaces: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaces).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_known_by_name() {
        let fields = Fields::parse(b"query=SELECT+1%2B1&nm=true&limit=&delimiter=%09").unwrap();
        assert_eq!(fields.get("query"), Some("SELECT 1+1"));
        assert_eq!((fields.flag("nm").unwrap(), fields.flag("count").unwrap()), (true, false));
        assert_eq!((fields.get("limit"), fields.delimiter().unwrap()), (None, Some(b'\t')));
        assert!(fields.check("/exp", &["query", "nm", "limit", "delimiter"]).is_ok());
        let error = format!("{:?}", fields.check("/exec", &["query", "mn", "limit"]).unwrap_err());
        assert!(error.contains("nm") && error.contains("did you mean mn?"), "{error}");
        assert!(Fields::parse(b"query=%FF").is_err());
        assert!(Fields::parse(&b"a&".repeat(200)).is_err());
        assert!(Fields::parse(b"delimiter=ab").unwrap().delimiter().is_err());
        assert!(Fields::parse(b"skipLev=x").unwrap().number::<u32>("skipLev").is_err());
    }
}
