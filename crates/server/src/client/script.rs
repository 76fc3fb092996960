//! Statements out of a text: at semicolons that stand in no quotes and no comments.
//!
//! A transaction is one text for the server, since it remembers nothing between requests: what stands from BEGIN
//! to COMMIT is kept together.

/// The statements that are ended in `text`, and what is left behind them.
pub(super) fn split(text: &str) -> (Vec<String>, &str) {
    let bytes = text.as_bytes();
    let (mut statements, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        at = match bytes[at] {
            quote @ (b'\'' | b'"') => find(bytes, at + 1, &[quote]),
            b'-' if bytes[at..].starts_with(b"--") => find(bytes, at + 2, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => find(bytes, at + 2, b"*/"),
            b';' => {
                let statement = text[begin..at].trim();
                if !statement.is_empty() {
                    statements.push(statement.to_owned());
                }
                begin = at + 1;
                begin
            }
            _ => at + 1,
        };
    }
    (statements, text[begin..].trim_start())
}

/// Behind the next `end`, or the end of all.
fn find(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len()).position(|window| window == end).map_or(bytes.len(), |at| from + at + end.len())
}

/// Keeps transactions together.
#[derive(Default)]
pub(super) struct Transaction(Vec<String>);

impl Transaction {
    /// What is to be sent now, if anything.
    pub(super) fn take(&mut self, statement: String) -> Option<String> {
        let mut words = statement.split_whitespace().map(str::to_ascii_uppercase);
        let first = words.next().unwrap_or_default();
        let begins = first == "BEGIN" || (first == "START" && words.next().as_deref() == Some("TRANSACTION"));
        if self.0.is_empty() && !begins {
            return Some(statement);
        }
        self.0.push(statement);
        match first.as_str() {
            "COMMIT" | "END" | "ROLLBACK" | "ABORT" => Some(std::mem::take(&mut self.0).join(";\n")),
            _ => None,
        }
    }

    /// True between BEGIN and COMMIT.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// What was never committed.
    pub(super) fn rest(&mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0).join(";\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons() {
        let text = "SELECT ';' AS \"a;b\"; -- no; end\nSELECT /* ; */ 2;;\n SELECT 'it''s; 3";
        let (statements, rest) = split(text);
        assert_eq!(statements, ["SELECT ';' AS \"a;b\"", "-- no; end\nSELECT /* ; */ 2"]);
        assert_eq!(rest, "SELECT 'it''s; 3");
        assert_eq!(split("SELECT '"), (vec![], "SELECT '"));
        assert_eq!(split("SELECT 'ü';ü").1, "ü");
    }

    #[test]
    fn a_transaction_is_one_text() {
        let mut transaction = Transaction::default();
        let mut take = |text: &str| transaction.take(text.to_owned());
        assert_eq!(take("SELECT 1").as_deref(), Some("SELECT 1"));
        assert_eq!(take("begin"), None);
        assert_eq!(take("INSERT"), None);
        assert_eq!(take("commit").as_deref(), Some("begin;\nINSERT;\ncommit"));
        assert_eq!(take("COMMIT").as_deref(), Some("COMMIT"));
    }
}
