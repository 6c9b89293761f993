//! The parser: RFC 8259, strictly, in one pass over the bytes.

use std::fmt;

use super::{Json, write::plain_run};
use crate::error::Error;

/// How many arrays and objects may stand in one another: an event may have 128 levels, itself being the first, and a line of
/// an import one more around it. `serde_json` reads one level less than this, so what it reads is read here too.
///
/// Parsing, writing and dropping a value recurse, so this bounds the stack that they take. The test
/// `nesting_ends_at_the_limit_and_not_at_the_stack` holds all of that.
pub const MAX_DEPTH: u8 = 128;

/// Why bytes are no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// The offset of the first byte that does not fit.
    pub offset: usize,
    /// What does not fit there.
    pub what: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not JSON: {} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for JsonError {}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        Self::invalid(error.to_string())
    }
}

type Result<T> = std::result::Result<T, JsonError>;

impl Json {
    /// Parses one JSON document (RFC 8259), nested at most [`MAX_DEPTH`] deep.
    ///
    /// Of several members with the same key the last wins, wherever they stand: so does Python's parser, and with it
    /// the reference homeserver. A caller that must tell such a document from its canonical form compares the bytes.
    ///
    /// # Errors
    ///
    /// Anything that the grammar does not allow, bytes after the document, invalid UTF-8, an escaped surrogate without
    /// its other half, a number with a fraction or an exponent that overflows a double, deeper nesting.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::parse_within(bytes, MAX_DEPTH, usize::MAX)
    }

    /// Parses a document with limits of its own, for those that carry other documents within them: how deeply it may be
    /// nested, and how many values it may have, each of which takes some 30 bytes of memory and its text.
    ///
    /// # Errors
    ///
    /// As [`Json::parse`]; more values.
    pub fn parse_within(bytes: &[u8], max_depth: u8, max_values: usize) -> Result<Self> {
        let text =
            str::from_utf8(bytes).map_err(|error| JsonError { offset: error.valid_up_to(), what: "invalid UTF-8" })?;
        let mut parser = Parser::new(text, max_depth, max_values);
        let value = parser.value()?;
        parser.skip_whitespace();
        parser.end()?;
        Ok(value)
    }

    /// Makes a number of the text of a JSON number; `None` if it is none, or overflows a double.
    #[cfg(test)]
    pub fn number(text: &str) -> Option<Self> {
        let mut parser = Parser::new(text, 0, 1);
        let number = parser.number().ok()?;
        parser.end().ok()?;
        Some(number)
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    offset: usize,
    depth_left: u8,
    values_left: usize,
    // Members and elements of all open objects and arrays: each takes its own off the end when it closes, so that it
    // is allocated once, at its exact size.
    members: Vec<(Box<str>, Json)>,
    elements: Vec<Json>,
    unescaped: String,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, depth_left: u8, values_left: usize) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            offset: 0,
            depth_left,
            values_left,
            members: Vec::new(),
            elements: Vec::new(),
            unescaped: String::new(),
        }
    }

    fn value(&mut self) -> Result<Json> {
        self.skip_whitespace();
        let Some(left) = self.values_left.checked_sub(1) else { return self.fail("too many values") };
        self.values_left = left;
        match self.peek() {
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => self.fail("expected a value"),
        }
    }

    fn object(&mut self) -> Result<Json> {
        self.open()?;
        let start = self.members.len();
        self.skip_whitespace();
        if self.peek() != Some(b'}') {
            loop {
                self.skip_whitespace();
                if self.peek() != Some(b'"') {
                    return self.fail("expected a key");
                }
                let key = self.string()?;
                self.skip_whitespace();
                if self.peek() != Some(b':') {
                    return self.fail("expected ':'");
                }
                self.offset += 1;
                let value = self.value()?;
                self.members.push((key, value));
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => self.offset += 1,
                    Some(b'}') => break,
                    _ => return self.fail("expected ',' or '}'"),
                }
            }
        }
        self.close();
        Ok(Json::Object(self.members.drain(start..).collect()))
    }

    fn array(&mut self) -> Result<Json> {
        self.open()?;
        let start = self.elements.len();
        self.skip_whitespace();
        if self.peek() != Some(b']') {
            loop {
                let value = self.value()?;
                self.elements.push(value);
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => self.offset += 1,
                    Some(b']') => break,
                    _ => return self.fail("expected ',' or ']'"),
                }
            }
        }
        self.close();
        Ok(Json::Array(self.elements.drain(start..).collect()))
    }

    fn open(&mut self) -> Result<()> {
        match self.depth_left.checked_sub(1) {
            Some(left) => self.depth_left = left,
            None => return self.fail("nested too deeply"),
        }
        self.offset += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth_left += 1;
        self.offset += 1;
    }

    /// Reads a string, from its opening to its closing quote.
    fn string(&mut self) -> Result<Box<str>> {
        self.offset += 1;
        let start = self.offset;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            let text = self.slice_from(start)?;
            self.offset += 1;
            return Ok(text.into());
        }
        self.unescaped.clear();
        let mut start = start;
        loop {
            let plain = self.slice_from(start)?;
            self.unescaped.push_str(plain);
            match self.peek() {
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(self.unescaped.as_str().into());
                }
                Some(b'\\') => {
                    let unescaped = self.escape()?;
                    self.unescaped.push(unescaped);
                }
                Some(_) => return self.fail("control character in a string"),
                None => return self.fail("unterminated string"),
            }
            start = self.offset;
            self.skip_plain();
        }
    }

    /// Reads an escape, from its backslash.
    fn escape(&mut self) -> Result<char> {
        let start = self.offset;
        self.offset += 1;
        let unescaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.offset += 1;
                return self.unicode_escape(start);
            }
            _ => return self.fail("unknown escape"),
        };
        self.offset += 1;
        Ok(unescaped)
    }

    /// Reads what follows `\u`: one UTF-16 unit, or a surrogate pair with the second `\u` in between.
    fn unicode_escape(&mut self, start: usize) -> Result<char> {
        let unit = self.hex()?;
        let code = match unit {
            0xD800..=0xDBFF if self.rest().starts_with(b"\\u") => {
                self.offset += 2;
                match self.hex()? {
                    low @ 0xDC00..=0xDFFF => 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00),
                    _ => unit,
                }
            }
            _ => unit,
        };
        char::from_u32(code).ok_or(JsonError { offset: start, what: "lone surrogate" })
    }

    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.fail("expected a hexadecimal digit");
            };
            code = code << 4 | digit;
            self.offset += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Json> {
        let start = self.offset;
        if self.peek() == Some(b'-') {
            self.offset += 1;
        }
        if self.peek() == Some(b'0') {
            // No digit may follow; none of what may follow a number starts with one.
            self.offset += 1;
        } else {
            self.digits()?;
        }
        let mut is_integer = true;
        if self.peek() == Some(b'.') {
            is_integer = false;
            self.offset += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            is_integer = false;
            self.offset += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.offset += 1;
            }
            self.digits()?;
        }
        let text = self.slice_from(start)?;
        if is_integer {
            // The grammar leaves one spelling for each integer but zero, and "-0" parses as 0.
            return Ok(text.parse().map_or_else(|_| Json::Number(text.into()), Json::Int));
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Json::Number(python_repr(float).into())),
            _ => Err(JsonError { offset: start, what: "number out of range" }),
        }
    }

    fn digits(&mut self) -> Result<()> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return self.fail("expected a digit");
        }
        self.offset += count;
        Ok(())
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.fail("expected a value");
        }
        self.offset += word.len();
        Ok(value)
    }

    fn end(&self) -> Result<()> {
        if self.offset < self.bytes.len() { self.fail("bytes after the value") } else { Ok(()) }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.offset).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.offset += 1;
        }
    }

    fn skip_plain(&mut self) {
        self.offset += plain_run(self.rest());
    }

    fn slice_from(&self, start: usize) -> Result<&'a str> {
        // Never absent: both ends lie beside ASCII characters.
        self.text.get(start..self.offset).ok_or(JsonError { offset: start, what: "invalid UTF-8" })
    }

    fn fail<T>(&self, what: &'static str) -> Result<T> {
        let what = if self.offset < self.bytes.len() { what } else { "unexpected end" };
        Err(JsonError { offset: self.offset, what })
    }
}

/// Writes a finite double as Python's `repr` does: the shortest digits that read back as the same double, with an
/// exponent of at least two digits from 1e16 upwards and below 1e-4, else in plain decimals with at least one after
/// the point.
fn python_repr(float: f64) -> String {
    let shortest = format!("{float:e}");
    // Of two shortest texts that are equally near, Python takes the one with the even last digit and Rust the greater.
    // Rounding to a given number of digits goes to even in both. At a power of two the nearest text of that length may
    // belong to the next double: then there was no choice.
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let nearest = format!("{float:.*e}", digits.saturating_sub(1));
    let text = if nearest.parse() == Ok(float) { nearest } else { shortest };

    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    if float == 0.0 || (1e-4..1e16).contains(&float.abs()) {
        return plain_decimals(mantissa, exponent.parse().unwrap_or(0));
    }
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{mantissa}e-{exponent:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

/// Moves the point of `mantissa`, which has one digit before it, by `exponent` places.
fn plain_decimals(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let places = exponent.unsigned_abs() as usize;
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(places - 1));
    }
    match digits.split_at_checked(places + 1) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits:0<width$}.0", width = places + 1),
    }
}
