//! The writer: canonical JSON (specification, appendices, "Canonical JSON").

use std::{borrow::Cow, io::Write as _, ops::Range};

use super::{Json, Object};

impl Json {
    /// Appends the canonical form: the shortest encoding, keys sorted, nothing escaped that need not be.
    ///
    /// Numbers that strict canonical JSON forbids are written as Python writes them, see [`Json::Number`].
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Int(int) => write_int(*int, out),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::String(text) => write_string(text, out),
            Self::Array(elements) => {
                out.push(b'[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    element.write_canonical(out);
                }
                out.push(b']');
            }
            Self::Object(object) => object.write_canonical(out),
        }
    }

    /// The canonical form.
    #[cfg(test)]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }
}

impl Object {
    /// Appends the canonical form, see [`Json::write_canonical`].
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        self.write_with(out, |_, value| Some(Cow::Borrowed(value)), |_| ());
    }

    /// Appends the canonical form and tells where in `out` each member lies, from the key's opening quote to the
    /// value's last byte, in the order of [`Object::iter`].
    pub(crate) fn write_members(&self, out: &mut Vec<u8>) -> Vec<Range<usize>> {
        let mut ranges = Vec::with_capacity(self.len());
        self.write_with(out, |_, value| Some(Cow::Borrowed(value)), |range| ranges.push(range));
        ranges
    }

    /// Appends the canonical form of the object that has only the members, and these with the values, that `keep` gives.
    pub(crate) fn write_kept<'a>(&'a self, out: &mut Vec<u8>, keep: impl Fn(&str, &'a Json) -> Option<Cow<'a, Json>>) {
        self.write_with(out, keep, |_| ());
    }

    fn write_with<'a>(
        &'a self,
        out: &mut Vec<u8>,
        keep: impl Fn(&str, &'a Json) -> Option<Cow<'a, Json>>,
        mut written: impl FnMut(Range<usize>),
    ) {
        out.push(b'{');
        let mut is_first = true;
        for (key, value) in self.iter() {
            let Some(value) = keep(key, value) else { continue };
            if !is_first {
                out.push(b',');
            }
            is_first = false;
            let start = out.len();
            write_string(key, out);
            out.push(b':');
            value.write_canonical(out);
            written(start..out.len());
        }
        out.push(b'}');
    }
}

/// Appends an integer.
pub(in crate::encoding) fn write_int(int: i64, out: &mut Vec<u8>) {
    if int < 0 {
        out.push(b'-');
    }
    let mut digits = [0; 20];
    let (mut rest, mut start) = (int.unsigned_abs(), digits.len());
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends a string in quotes.
pub(in crate::encoding) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_run(rest).min(rest.len()));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            // Writing to a Vec cannot fail.
            control => drop(write!(out, "\\u{control:04x}")),
        }
        rest = after;
    }
    out.push(b'"');
}

/// Counts the bytes before the first that ends a string or must be escaped in one: a quote, a backslash, a control.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xFF;
    const TOPS: u64 = ONES << 7;
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';

    let (words, tail) = bytes.as_chunks::<8>();
    let mut run = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        // Sets the top bit of each byte below `limit`; a borrow can set it wrongly too, but only above the first such
        // byte, and only the first counts.
        let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & TOPS;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = below(word, 0x20) | quote | backslash;
        if special != 0 {
            return run + special.to_le_bytes().iter().take_while(|byte| **byte == 0).count();
        }
        run += word.to_le_bytes().len();
    }
    run + tail.iter().take_while(|byte| !is_special(byte)).count()
}
