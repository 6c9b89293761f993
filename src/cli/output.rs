//! Standard output: JSON lines, text, and a few colours where a person looks on.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;

use crate::encoding::event_row::Verdict;

/// Standard output, buffered.
pub(super) struct Output {
    out: BufWriter<Stdout>,
    /// Whether JSON was asked for.
    pub(super) json: bool,
    coloured: bool,
}

/// How a text stands out on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Heading,
    Good,
    Doubtful,
    Bad,
}

impl Style {
    /// The escape sequence that switches it on.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Doubtful => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }

    /// The style of a verdict.
    pub(super) fn of_verdict(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accepted => Self::Good,
            Verdict::SoftFailed(_) => Self::Doubtful,
            Verdict::Rejected(_) => Self::Bad,
        }
    }
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let out = io::stdout();
        let coloured = is_coloured(&out);
        Self { out: BufWriter::with_capacity(64 << 10, out), json, coloured }
    }

    /// Writes an object as a JSON line.
    pub(super) fn object(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, object)?;
        self.out.write_all(b"\n")
    }

    /// Writes an object as a JSON line, with one more member whose value is JSON already.
    ///
    /// A PDU is written as it is: `serde_json` would change numbers that only old room versions allow.
    pub(super) fn object_with(&mut self, object: &impl Serialize, key: &str, json: &str) -> io::Result<()> {
        let mut line = serde_json::to_vec(object)?;
        line.pop();
        self.out.write_all(&line)?;
        writeln!(self.out, ",\"{key}\":{json}}}")
    }

    /// The text in a style, if a person looks on.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        if self.coloured && style != Style::Plain { format!("{}{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether colours are wanted: on a terminal, unless `NO_COLOR` is set.
pub(super) fn is_coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// The word of a verdict in JSON.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::SoftFailed(_) => "soft_failed",
        Verdict::Rejected(_) => "rejected",
    }
}

/// A number as a person reads it: `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as a person reads them: `17.3 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match UNITS.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / size as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        let numbers = [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn bytes_have_the_unit_that_leaves_few_digits() {
        assert_eq!([0, 999, 1000, 17_349_000].map(bytes), ["0 B", "999 B", "1.0 kB", "17.3 MB"]);
    }
}
