//! JSON values as tokens: what content, and whatever else an event has, is stored as.
//!
//! The tokens are drawn in `docs/format.md`.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::{
        GeneralPurpose,
        general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
    },
};
use ruma_common::room_version_rules::EventIdFormatVersion;

use super::{
    beside::Beside,
    strings::{ONE_BYTE, STRINGS, number},
};
use crate::encoding::{
    bytes::{Cursor, Decoded, put_bytes, put_varint},
    event_key::EventKey,
    json::{Json, MAX_DEPTH, Object, write_int, write_string},
    pdu::MAX_PDU_BYTES,
};

/// How deeply a section may be nested: the event is an object around it.
pub(super) const SECTION_DEPTH: u8 = MAX_DEPTH - 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
/// An integer from 0 on: varint.
const INTEGER: u8 = 3;
/// A negative integer `-n - 1`: varint n.
const NEGATIVE: u8 = 4;
/// Any other number, as text.
const NUMBER: u8 = 5;
/// A string: varint length, bytes.
const TEXT: u8 = 6;
/// The sender.
const SENDER: u8 = 7;
/// The room ID.
const ROOM: u8 = 8;
/// The ID of an event of the room: varint place among those that the body mentions.
const MENTIONED: u8 = 9;
/// `$` and 32 bytes in URL-safe base64.
const HASH_URL_SAFE: u8 = 10;
/// `$` and 32 bytes in standard base64.
const HASH_STANDARD: u8 = 11;
/// Bytes in standard base64 without padding: varint length, bytes.
const BASE64_STANDARD: u8 = 12;
/// Bytes in URL-safe base64 without padding: varint length, bytes.
const BASE64_URL_SAFE: u8 = 13;
/// `mxc://`, the sender's server, `/`, and a text: varint length, bytes.
const MXC: u8 = 14;
/// An object or array of more than [`INLINE`] items: 0 or 1, varint count.
const LONG: u8 = 15;
const OBJECT: u8 = 0x10;
const ARRAY: u8 = 0x20;
const SMALL: u8 = 0x30;
/// The integers that have a token of their own: below this.
const SMALL_END: u8 = 15;
/// A string of the table beyond those with a token of their own: one byte.
const STATIC_2: u8 = 0x3f;
const SHORT_TEXT: u8 = 0x40;
const STATIC_1: u8 = 0x80;
/// The most items whose count stands in the token.
const INLINE: usize = 15;
/// The bytes of a string whose length stands in the token are below this.
const SHORT_TEXT_END: usize = 64;
/// Strings that are shorter are not looked at as base64.
const BASE64_LEAST: usize = 22;
const MXC_SCHEME: &str = "mxc://";

/// Appends a value.
pub(super) fn put_value(out: &mut Vec<u8>, value: &Json, beside: &Beside<'_>) {
    match value {
        Json::Null => out.push(NULL),
        Json::Bool(false) => out.push(FALSE),
        Json::Bool(true) => out.push(TRUE),
        Json::Int(int) => put_int(out, *int),
        Json::Number(text) => {
            out.push(NUMBER);
            put_bytes(out, text.as_bytes());
        }
        Json::String(text) => put_text(out, text, beside),
        Json::Array(elements) => {
            put_lead(out, ARRAY, elements.len());
            elements.iter().for_each(|element| put_value(out, element, beside));
        }
        Json::Object(object) => put_object(out, object.iter(), beside),
    }
}

/// Appends an object of these members, which ascend by key.
pub(super) fn put_object<'a>(
    out: &mut Vec<u8>,
    members: impl ExactSizeIterator<Item = (&'a str, &'a Json)>,
    beside: &Beside<'_>,
) {
    put_lead(out, OBJECT, members.len());
    for (key, value) in members {
        put_text(out, key, beside);
        put_value(out, value, beside);
    }
}

fn put_int(out: &mut Vec<u8>, int: i64) {
    match u8::try_from(int) {
        Ok(small) if small < SMALL_END => out.push(SMALL | small),
        _ if int >= 0 => {
            out.push(INTEGER);
            put_varint(out, int.unsigned_abs());
        }
        _ => {
            out.push(NEGATIVE);
            put_varint(out, (!int).unsigned_abs());
        }
    }
}

fn put_lead(out: &mut Vec<u8>, sort: u8, count: usize) {
    match u8::try_from(count) {
        Ok(few) if count <= INLINE => out.push(sort | few),
        _ => {
            out.extend([LONG, u8::from(sort == ARRAY)]);
            put_varint(out, count as u64);
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str, beside: &Beside<'_>) {
    if let Some(number) = number(text) {
        match (u8::try_from(number), u8::try_from(number.saturating_sub(ONE_BYTE))) {
            (Ok(one), _) if number < ONE_BYTE => out.push(STATIC_1 | one),
            (_, Ok(second)) => out.extend([STATIC_2, second]),
            _ => put_plain(out, text),
        }
        return;
    }
    match text.as_bytes().first() {
        Some(b'@') if text == beside.sender => out.push(SENDER),
        Some(b'!') if text == beside.room_id => out.push(ROOM),
        Some(b'$') => put_event_id(out, text, beside),
        Some(b'm') if text.starts_with(MXC_SCHEME) => match mxc_rest(text, beside) {
            Some(rest) => {
                out.push(MXC);
                put_bytes(out, rest.as_bytes());
            }
            None => put_plain(out, text),
        },
        _ if text.len() >= BASE64_LEAST => put_base64(out, text),
        _ => put_plain(out, text),
    }
}

fn put_plain(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(length) if text.len() < SHORT_TEXT_END => out.push(SHORT_TEXT | length),
        _ => {
            out.push(TEXT);
            put_varint(out, text.len() as u64);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn put_event_id(out: &mut Vec<u8>, text: &str, beside: &Beside<'_>) {
    if let Some(place) = beside.mentions.iter().position(|mentioned| **mentioned == *text) {
        out.push(MENTIONED);
        put_varint(out, place as u64);
        return;
    }
    let spelled = |format| EventKey::of(text, format);
    if let Some(key) = spelled(EventIdFormatVersion::V3) {
        out.push(HASH_URL_SAFE);
        out.extend_from_slice(key.as_bytes());
    } else if let Some(key) = spelled(EventIdFormatVersion::V2) {
        out.push(HASH_STANDARD);
        out.extend_from_slice(key.as_bytes());
    } else {
        put_plain(out, text);
    }
}

fn mxc_rest<'t>(text: &'t str, beside: &Beside<'_>) -> Option<&'t str> {
    text.strip_prefix(MXC_SCHEME)?.strip_prefix(beside.server())?.strip_prefix('/')
}

/// Appends a text that may be base64: as bytes, if they give this very text back.
fn put_base64(out: &mut Vec<u8>, text: &str) {
    // Words are no base64 worth the name: they compress better as they are.
    let (mut digits, mut capitals) = (false, false);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => digits = true,
            b'A'..=b'Z' => capitals = true,
            b'a'..=b'z' | b'+' | b'/' | b'-' | b'_' => {}
            _ => return put_plain(out, text),
        }
    }
    if digits && capitals {
        // Both refuse spare bits that are set, and so give one text for some bytes.
        for (token, engine) in [(BASE64_STANDARD, &STANDARD_NO_PAD), (BASE64_URL_SAFE, &URL_SAFE_NO_PAD)] {
            if let Ok(bytes) = engine.decode(text) {
                out.push(token);
                put_bytes(out, &bytes);
                return;
            }
        }
    }
    put_plain(out, text);
}

/// Reads tokens of one event.
pub(super) struct Reader<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) beside: &'a Beside<'a>,
    /// How many bytes of text may still come from beside the body.
    borrowed_left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(cursor: Cursor<'a>, beside: &'a Beside<'a>) -> Self {
        Self { cursor, beside, borrowed_left: MAX_PDU_BYTES }
    }

    /// Takes note of a text that stands beside the body, which has a byte or two for it; no event has more than so much.
    pub(super) fn borrow<'t>(&mut self, text: &'t str) -> Decoded<&'t str> {
        let left = self.borrowed_left.checked_sub(text.len());
        self.borrowed_left = left.ok_or(self.cursor.malformed("more text than an event has"))?;
        Ok(text)
    }

    /// Reads a value and appends it as canonical JSON.
    pub(super) fn render(&mut self, out: &mut Vec<u8>, depth: u8) -> Decoded<()> {
        let lead = self.cursor.byte()?;
        if let Some((is_array, count)) = self.items(lead)? {
            let depth = depth.checked_sub(1).ok_or(self.cursor.malformed("nested too deeply"))?;
            return if is_array { self.render_array(count, out, depth) } else { self.render_object(count, out, depth) };
        }
        if self.render_plain(lead, out)? {
            return Ok(());
        }
        match self.scalar(lead)? {
            Scalar::Word(word) => out.extend_from_slice(word.as_bytes()),
            Scalar::Int(int) => write_int(int, out),
            Scalar::Number(text) => out.extend_from_slice(text.as_bytes()),
            Scalar::Text(text) => write_string(&text, out),
        }
        Ok(())
    }

    /// Renders a string that needs no escapes by its nature; tells whether it is one.
    fn render_plain(&mut self, lead: u8, out: &mut Vec<u8>) -> Decoded<bool> {
        match lead {
            STATIC_1.. => put_quoted(out, self.table_string(usize::from(lead - STATIC_1))?),
            STATIC_2 => {
                let second = usize::from(self.cursor.byte()?);
                put_quoted(out, self.table_string(ONE_BYTE + second)?);
            }
            HASH_URL_SAFE | HASH_STANDARD => {
                out.extend_from_slice(b"\"$");
                let engine = if lead == HASH_URL_SAFE { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
                put_encoded(out, engine, self.cursor.take(32)?);
                out.push(b'"');
            }
            BASE64_STANDARD | BASE64_URL_SAFE => {
                out.push(b'"');
                let engine = if lead == BASE64_URL_SAFE { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
                put_encoded(out, engine, self.cursor.bytes()?);
                out.push(b'"');
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn render_array(&mut self, count: usize, out: &mut Vec<u8>, depth: u8) -> Decoded<()> {
        out.push(b'[');
        for place in 0..count {
            if place > 0 {
                out.push(b',');
            }
            self.render(out, depth)?;
        }
        out.push(b']');
        Ok(())
    }

    fn render_object(&mut self, count: usize, out: &mut Vec<u8>, depth: u8) -> Decoded<()> {
        out.push(b'{');
        let mut last: Option<Cow<'a, str>> = None;
        for _ in 0..count {
            if last.is_some() {
                out.push(b',');
            }
            let lead = self.cursor.byte()?;
            let key = self.key_after(lead, last.as_deref())?;
            match lead {
                STATIC_2 | STATIC_1.. => put_quoted(out, &key),
                _ => write_string(&key, out),
            }
            out.push(b':');
            self.render(out, depth)?;
            last = Some(key);
        }
        out.push(b'}');
        Ok(())
    }

    /// Reads a value.
    pub(super) fn value(&mut self, depth: u8) -> Decoded<Json> {
        let lead = self.cursor.byte()?;
        let Some((is_array, count)) = self.items(lead)? else {
            return Ok(match self.scalar(lead)? {
                Scalar::Word("true") => Json::Bool(true),
                Scalar::Word("false") => Json::Bool(false),
                Scalar::Word(_) => Json::Null,
                Scalar::Int(int) => Json::Int(int),
                Scalar::Number(text) => Json::Number(text.into()),
                Scalar::Text(text) => Json::String(text.into()),
            });
        };
        let depth = depth.checked_sub(1).ok_or(self.cursor.malformed("nested too deeply"))?;
        if is_array {
            return (0..count).map(|_| self.value(depth)).collect::<Decoded<_>>().map(Json::Array);
        }
        let mut members: Vec<(Box<str>, Json)> = Vec::new();
        for _ in 0..count {
            let key = self.key(members.last().map(|(key, _)| &**key))?;
            members.push((key.into(), self.value(depth)?));
        }
        Ok(Json::Object(Object::from(members)))
    }

    /// Reads a value that must be an object, nested at most `depth` deep.
    pub(super) fn object(&mut self, depth: u8) -> Decoded<Object> {
        match self.value(depth)? {
            Json::Object(object) => Ok(object),
            _ => Err(self.cursor.malformed("a value that is no object")),
        }
    }

    /// The lead of an object: the number of its members.
    pub(super) fn members(&mut self) -> Decoded<usize> {
        let lead = self.cursor.byte()?;
        match self.items(lead)? {
            Some((false, count)) => Ok(count),
            _ => Err(self.cursor.malformed("a value that is no object")),
        }
    }

    /// Reads a key, which must be greater than the one before it: so are keys in canonical JSON.
    pub(super) fn key(&mut self, last: Option<&str>) -> Decoded<Cow<'a, str>> {
        let lead = self.cursor.byte()?;
        self.key_after(lead, last)
    }

    fn key_after(&mut self, lead: u8, last: Option<&str>) -> Decoded<Cow<'a, str>> {
        let Scalar::Text(key) = self.scalar(lead)? else {
            return Err(self.cursor.malformed("a key that is no string"));
        };
        if last.is_some_and(|last| *last >= *key) {
            return Err(self.cursor.malformed("keys that do not ascend"));
        }
        Ok(key)
    }

    /// Whether a lead is an array's, and the number of items; `None` if it is neither an array's nor an object's.
    fn items(&mut self, lead: u8) -> Decoded<Option<(bool, usize)>> {
        Ok(match lead {
            OBJECT..ARRAY => Some((false, usize::from(lead - OBJECT))),
            ARRAY..SMALL => Some((true, usize::from(lead - ARRAY))),
            LONG => match self.cursor.byte()? {
                0 => Some((false, self.cursor.count(2)?)),
                1 => Some((true, self.cursor.count(1)?)),
                _ => return Err(self.cursor.malformed("neither an object nor an array")),
            },
            _ => None,
        })
    }

    fn scalar(&mut self, lead: u8) -> Decoded<Scalar<'a>> {
        let text = match lead {
            STATIC_1.. => Cow::Borrowed(self.table_string(usize::from(lead - STATIC_1))?),
            SHORT_TEXT..STATIC_1 => {
                let bytes = self.cursor.take(usize::from(lead - SHORT_TEXT))?;
                let text = std::str::from_utf8(bytes);
                Cow::Borrowed(text.map_err(|_| self.cursor.malformed("text that is not UTF-8"))?)
            }
            STATIC_2 => {
                let second = usize::from(self.cursor.byte()?);
                Cow::Borrowed(self.table_string(ONE_BYTE + second)?)
            }
            SMALL..STATIC_2 => return Ok(Scalar::Int(i64::from(lead - SMALL))),
            NULL => return Ok(Scalar::Word("null")),
            FALSE => return Ok(Scalar::Word("false")),
            TRUE => return Ok(Scalar::Word("true")),
            INTEGER => return self.int().map(Scalar::Int),
            NEGATIVE => return self.int().map(|int| Scalar::Int(!int)),
            NUMBER => return self.number(),
            TEXT => Cow::Borrowed(self.cursor.text()?),
            SENDER => Cow::Borrowed(self.borrow(self.beside.sender)?),
            ROOM => Cow::Borrowed(self.borrow(self.beside.room_id)?),
            MENTIONED => {
                let place = usize::try_from(self.cursor.varint()?).unwrap_or(usize::MAX);
                let mentioned = self.beside.mentions.get(place);
                let mentioned = mentioned.ok_or(self.cursor.malformed("an event that the body does not mention"))?;
                Cow::Borrowed(self.borrow(mentioned)?)
            }
            HASH_URL_SAFE => Cow::Owned(format!("${}", URL_SAFE_NO_PAD.encode(self.cursor.array::<32>()?))),
            HASH_STANDARD => Cow::Owned(format!("${}", STANDARD_NO_PAD.encode(self.cursor.array::<32>()?))),
            BASE64_STANDARD => Cow::Owned(STANDARD_NO_PAD.encode(self.cursor.bytes()?)),
            BASE64_URL_SAFE => Cow::Owned(URL_SAFE_NO_PAD.encode(self.cursor.bytes()?)),
            MXC => {
                let server = self.borrow(self.beside.server())?;
                Cow::Owned([MXC_SCHEME, server, "/", self.cursor.text()?].concat())
            }
            _ => return Err(self.cursor.malformed("an unknown token")),
        };
        Ok(Scalar::Text(text))
    }

    fn table_string(&self, number: usize) -> Decoded<&'static str> {
        STRINGS.get(number).copied().ok_or(self.cursor.malformed("a string beyond the table"))
    }

    fn int(&mut self) -> Decoded<i64> {
        let varint = self.cursor.varint()?;
        i64::try_from(varint).map_err(|_| self.cursor.malformed("an integer beyond 64 bits"))
    }

    fn number(&mut self) -> Decoded<Scalar<'a>> {
        let text = self.cursor.text()?;
        match Json::parse(text.as_bytes()) {
            Ok(Json::Number(canonical)) if *canonical == *text => Ok(Scalar::Number(text)),
            _ => Err(self.cursor.malformed("a number that is not in canonical form")),
        }
    }
}

/// Appends in quotes what needs no escapes: a string of the table, the name of a field.
pub(super) fn put_quoted(out: &mut Vec<u8>, plain: &str) {
    out.reserve(plain.len() + 2);
    out.push(b'"');
    out.extend_from_slice(plain.as_bytes());
    out.push(b'"');
}

/// Appends bytes in base64.
pub(super) fn put_encoded(out: &mut Vec<u8>, engine: &GeneralPurpose, bytes: &[u8]) {
    let start = out.len();
    // Four characters for every three bytes, and no padding.
    out.resize(start + bytes.len() + bytes.len().div_ceil(3), b'?');
    let written = engine.encode_slice(bytes, out.get_mut(start..).unwrap_or_default());
    debug_assert!(written.is_ok_and(|written| start + written == out.len()), "base64 is longer than it should be");
}

/// A value that holds no others.
enum Scalar<'a> {
    Word(&'static str),
    Int(i64),
    Number(&'a str),
    Text(Cow<'a, str>),
}
