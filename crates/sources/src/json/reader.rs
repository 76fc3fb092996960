//! JSON's grammar, as far as a body of flat objects needs it: a cursor that the caller drives.
//!
//! ```text
//! begin, then next_object until false: { next_key until None: value }
//! ```
//!
//! The body is UTF-8 (the caller checked), so text between quotes is too.

use memchr::memchr2;

/// A fault at a byte of the body.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) cause: String,
    pub(super) hint: String,
}

impl Fault {
    #[cold]
    pub(super) fn new(at: usize, cause: impl Into<String>, hint: &str) -> Fault {
        Fault { at, cause: cause.into(), hint: hint.to_owned() }
    }
}

/// A string: a stretch of the body, or unescaped in the reader's scratch until the next string is read.
pub(super) enum Text {
    Plain(usize, usize),
    Scratch,
}

/// A member's value.
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(f64),
    Text(Text),
}

/// A cursor over a body.
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    scratch: String,
    in_array: bool,
    /// True until the first element of the array, or the first member of the object, was read.
    first: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        // A byte order mark is not JSON, but some editors write one.
        let at = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Reader { body, at, scratch: String::new(), in_array: false, first: true }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    pub(super) fn text<'b>(&'b self, text: &Text) -> &'b str {
        match *text {
            // The quotes around it are ASCII, so it is cut at characters of a UTF-8 body.
            Text::Plain(start, end) => std::str::from_utf8(&self.body[start..end]).unwrap_or_default(),
            Text::Scratch => &self.scratch,
        }
    }

    /// Enters the body.
    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        match self.peek_token() {
            Some(b'[') => {
                self.in_array = true;
                self.at += 1;
                Ok(())
            }
            Some(b'{') => Ok(()),
            None => Err(Fault::new(
                self.at,
                "the body is empty",
                "send an object, an array of objects, or NDJSON",
            )),
            Some(_) => Err(self.unexpected("an object or an array of objects")),
        }
    }

    /// Enters the next object; false at the body's end.
    pub(super) fn next_object(&mut self) -> Result<bool, Fault> {
        let first = std::mem::replace(&mut self.first, false);
        let next = self.peek_token();
        if !self.in_array {
            match next {
                None => return Ok(false),
                Some(b',') => {
                    let hint = "put objects into an array `[…]`, or one a line without commas";
                    return Err(Fault::new(self.at, "a comma between objects outside an array", hint));
                }
                Some(_) => {}
            }
        } else if next == Some(b']') {
            self.at += 1;
            return match self.peek_token() {
                None => Ok(false),
                Some(_) => Err(self.unexpected("the end of the body")),
            };
        } else if !first {
            if next != Some(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
            self.at += 1;
        }
        if self.peek_token() != Some(b'{') {
            return Err(self.unexpected("an object"));
        }
        self.at += 1;
        self.first = true;
        Ok(true)
    }

    /// Reads the next member's name, and where it stands; `None` at the object's end.
    pub(super) fn next_key(&mut self) -> Result<Option<(Text, usize)>, Fault> {
        let first = std::mem::replace(&mut self.first, false);
        match self.peek_token() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.peek_token();
            }
            _ if first => {}
            _ => return Err(self.unexpected("`,` or `}`")),
        }
        let at = self.at;
        if self.body.get(at) != Some(&b'"') {
            return Err(self.unexpected("a member's name in double quotes"));
        }
        let key = self.string()?;
        if self.peek_token() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        self.peek_token();
        Ok(Some((key, at)))
    }

    /// Reads the value at the cursor.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        match self.body.get(self.at) {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => self.number().map(Value::Number),
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'{') => {
                let hint = r#"flatten it: send `{"a_b": 1}` rather than `{"a": {"b": 1}}`"#;
                Err(Fault::new(self.at, "a nested object", hint))
            }
            Some(b'[') => {
                let hint = r#"flatten it: send `{"a_0": 1, "a_1": 2}` rather than `{"a": [1, 2]}`"#;
                Err(Fault::new(self.at, "an array as a value", hint))
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Skips white space; the byte behind it.
    #[inline]
    fn peek_token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.body.get(self.at) {
            self.at += 1;
        }
        self.body.get(self.at).copied()
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Fault> {
        if !self.body[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<f64, Fault> {
        let rest = &self.body[self.at..];
        for (word, value) in
            [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)]
        {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let end = rest
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let token = &rest[..end];
        let digits = token.strip_prefix(b"-").unwrap_or(token);
        let well_formed = match digits {
            [b'0', b'0'..=b'9', ..] => false,
            [b'0'..=b'9', .., last] => last.is_ascii_digit(),
            [only] => only.is_ascii_digit(),
            _ => false,
        };
        let bare_point = token.windows(2).any(|pair| pair[0] == b'.' && !pair[1].is_ascii_digit());
        match fast_float2::parse(token) {
            Ok(value) if well_formed && !bare_point => {
                self.at += end;
                Ok(value)
            }
            _ => Err(Fault::new(
                self.at,
                "a malformed number",
                "send numbers as JSON has them, such as -1.5e3",
            )),
        }
    }

    /// Reads the string whose opening quote is at the cursor.
    #[inline]
    fn string(&mut self) -> Result<Text, Fault> {
        let start = self.at + 1;
        let rest = &self.body[start..];
        let Some(found) = memchr2(b'"', b'\\', rest) else { return Err(self.open_string()) };
        if rest[found] == b'\\' {
            return self.escaped(start);
        }
        if let Some(control) = rest[..found].iter().position(|&b| b < b' ') {
            return Err(control_character(start + control));
        }
        self.at = start + found + 1;
        Ok(Text::Plain(start, start + found))
    }

    #[cold]
    fn escaped(&mut self, start: usize) -> Result<Text, Fault> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let mut at = start;
        loop {
            let Some(found) = memchr2(b'"', b'\\', &self.body[at..]) else { return Err(self.open_string()) };
            let stretch = &self.body[at..at + found];
            if let Some(control) = stretch.iter().position(|&b| b < b' ') {
                return Err(control_character(at + control));
            }
            scratch.push_str(std::str::from_utf8(stretch).unwrap_or_default());
            at += found;
            if self.body[at] == b'"' {
                break;
            }
            let escape = at;
            let bad = |what: &str| {
                Fault::new(escape, what.to_owned(), r#"escapes are \" \\ \/ \b \f \n \r \t \uXXXX"#)
            };
            let Some(&letter) = self.body.get(at + 1) else { return Err(self.open_string()) };
            at += 2;
            scratch.push(match letter {
                b'"' | b'\\' | b'/' => char::from(letter),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let high = self.hex(at).ok_or_else(|| bad("a malformed escape"))?;
                    at += 4;
                    let code = match high {
                        0xd800..=0xdbff => {
                            let follows = self.body[at..].starts_with(br"\u");
                            let low =
                                self.hex(at + 2).filter(|low| follows && (0xdc00..=0xdfff).contains(low));
                            let low = low.ok_or_else(|| bad("half of a surrogate pair"))?;
                            at += 6;
                            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                        }
                        code => code,
                    };
                    char::from_u32(code).ok_or_else(|| bad("half of a surrogate pair"))?
                }
                _ => return Err(bad("an unknown escape")),
            });
        }
        self.at = at + 1;
        self.scratch = scratch;
        Ok(Text::Scratch)
    }

    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.body.get(at..at + 4)?;
        digits.iter().try_fold(0, |sum, &b| Some(sum * 16 + char::from(b).to_digit(16)?))
    }

    #[cold]
    fn open_string(&self) -> Fault {
        Fault::new(self.at, "the string that begins here is not closed", r#"end it with `"`"#)
    }

    #[cold]
    fn unexpected(&self, wanted: &str) -> Fault {
        let rest = String::from_utf8_lossy(&self.body[self.at..self.body.len().min(self.at + 4)]);
        let cause = match rest.chars().next() {
            Some(found) => format!("expected {wanted}, found {found:?}"),
            None => format!("expected {wanted}, found the end of the body"),
        };
        Fault::new(self.at, cause, "send an object, an array of objects, or one object a line (NDJSON)")
    }
}

#[cold]
fn control_character(at: usize) -> Fault {
    Fault::new(at, "a control character inside a string", r"escape it: `\n` for a line end, `\t` for a tab")
}
