//! One line of COPY, in text or CSV, as values.

use nowcast_query::{CopyFormat, CopyOptions};

/// The values of one line.
pub(super) struct Fields<'a> {
    /// What is left; `None` behind the last value.
    row: Option<&'a [u8]>,
    options: &'a CopyOptions,
}

impl<'a> Fields<'a> {
    pub(super) fn new(row: &'a [u8], options: &'a CopyOptions) -> Fields<'a> {
        Fields { row: Some(row), options }
    }

    /// Reads a value into `value`; true for NULL.
    pub(super) fn next(&mut self, value: &mut Vec<u8>) -> Option<Result<bool, &'static str>> {
        let row = self.row?;
        value.clear();
        let delimiter = self.options.delimiter();
        let (end, quoted) = match self.options.format {
            CopyFormat::Csv => match self.csv(row, value) {
                Some(read) => read,
                None => return Some(Err("has a quote without its end")),
            },
            _ => (unescape(row, delimiter, value), false),
        };
        let raw = &row[..end];
        self.row = row.get(end + 1..);
        Some(Ok(!quoted && raw == self.options.null().as_bytes()))
    }

    /// Where the value ends, and whether it had quotes.
    fn csv(&self, row: &[u8], value: &mut Vec<u8>) -> Option<(usize, bool)> {
        let (delimiter, quote) = (self.options.delimiter(), self.options.quote);
        let escape = self.options.escape.unwrap_or(quote);
        let (mut quoted, mut inside, mut at) = (false, false, 0);
        while let Some(&byte) = row.get(at) {
            let next = row.get(at + 1);
            if inside && byte == escape && next.is_some_and(|b| *b == quote || *b == escape) {
                value.extend(next);
                at += 1;
            } else if byte == quote {
                (inside, quoted) = (!inside, true);
            } else if byte == delimiter && !inside {
                break;
            } else {
                value.push(byte);
            }
            at += 1;
        }
        (!inside).then_some((at, quoted))
    }
}

/// Reads a value in the text format; where it ends.
fn unescape(row: &[u8], delimiter: u8, value: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(&byte) = row.get(at) {
        if byte == delimiter {
            return at;
        }
        at += 1;
        let Some(&letter) = row.get(at).filter(|_| byte == b'\\') else {
            value.push(byte);
            continue;
        };
        at += 1;
        let digits = |from: usize, max: usize, base: u32| {
            row[from..].iter().take(max).take_while(|b| char::from(**b).is_digit(base)).count()
        };
        let mut code = |from: usize, count: usize, base: u32| {
            let digits = std::str::from_utf8(&row[from..from + count]).unwrap_or_default();
            value.push((u32::from_str_radix(digits, base).unwrap_or(0) & 0xff) as u8);
            from + count
        };
        match letter {
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'b' => value.push(0x08),
            b'f' => value.push(0x0c),
            b'v' => value.push(0x0b),
            b'0'..=b'7' => at = code(at - 1, digits(at - 1, 3, 8), 8),
            b'x' if digits(at, 2, 16) > 0 => at = code(at, digits(at, 2, 16), 16),
            other => value.push(other),
        }
    }
    at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(format: &str, line: &str) -> Result<Vec<Option<String>>, &'static str> {
        let sql = format!("COPY t FROM STDIN WITH ({format})");
        let engine = nowcast_query::QueryEngine::new(nowcast_query::QueryOptions::default()).unwrap();
        let nowcast_query::Statement::Copy(copy) = engine.parse_one(&sql).unwrap() else { panic!("{sql}") };
        let mut fields = Fields::new(line.as_bytes(), &copy.options);
        let (mut found, mut value) = (Vec::new(), Vec::new());
        while let Some(null) = fields.next(&mut value) {
            found.push((!null?).then(|| String::from_utf8(value.clone()).unwrap()));
        }
        Ok(found)
    }

    #[test]
    fn lines_become_values() {
        let some = |text: &str| Some(text.to_owned());
        let table = [
            ("FORMAT text", "a\t\\N\t", vec![some("a"), None, some("")]),
            ("FORMAT text", r"a\tb\\c\x41\101", vec![some("a\tb\\cAA")]),
            ("FORMAT text, DELIMITER '|', NULL 'none'", r"a\|b|none", vec![some("a|b"), None]),
            ("FORMAT csv", "a,,\"\",\"b,\"\"c\"\"\"", vec![some("a"), None, some(""), some("b,\"c\"")]),
            ("FORMAT csv, QUOTE '''', ESCAPE E'\\\\'", r"'it\'s',x", vec![some("it's"), some("x")]),
            ("FORMAT csv, NULL 'NA', DELIMITER ';'", "NA;\"NA\";1", vec![None, some("NA"), some("1")]),
        ];
        for (format, line, expected) in table {
            assert_eq!(fields(format, line), Ok(expected), "{format} {line}");
        }
        assert!(fields("FORMAT csv", "\"a").is_err());
    }
}
