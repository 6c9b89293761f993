//! Lines of a file, plain or compressed, in bounded memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The longest line that is read: a supplied state of a million events fits.
pub(super) const LINE_BYTES_MAX: usize = 96 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The lines of a file.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
    max: usize,
}

/// A line that cannot be had.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is too long; the next one can be had.
    TooLong,
    /// Reading failed: there are no more lines.
    Failed {
        /// Why.
        error: io::Error,
        /// Whether a part of the line was read.
        is_torn: bool,
    },
}

impl Lines {
    /// Opens a file, or standard input for `-`. Adds the bytes that are read of it to `progress`.
    pub(super) fn open(path: &Path, progress: Arc<AtomicU64>) -> io::Result<Self> {
        let source: Box<dyn Read> =
            if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
        Self::read(Counted { source, progress }, LINE_BYTES_MAX)
    }

    /// Reads lines of at most `max` bytes. What the bytes begin with tells whether they are compressed.
    fn read(mut source: impl Read + 'static, max: usize) -> io::Result<Self> {
        const BUFFER_BYTES: usize = 256 << 10;
        let mut magic = Vec::new();
        source.by_ref().take(4).read_to_end(&mut magic)?;
        let whole = Cursor::new(magic.clone()).chain(source);
        let reader: Box<dyn Read> = if magic.starts_with(&GZIP) {
            Box::new(flate2::read::MultiGzDecoder::new(whole))
        } else if magic.starts_with(&ZSTD) {
            Box::new(zstd::Decoder::new(whole)?)
        } else {
            Box::new(whole)
        };
        Ok(Self { reader: Box::new(BufReader::with_capacity(BUFFER_BYTES, reader)), line: Vec::new(), number: 0, max })
    }

    /// The number of the line that was read last, from 1 on.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line, without its end; `None` after the last.
    pub(super) fn next(&mut self) -> Option<Result<&[u8], Unreadable>> {
        self.line.clear();
        let (mut is_empty, mut is_too_long) = (true, false);
        self.number = self.number.saturating_add(1);
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Some(Err(Unreadable::Failed { error, is_torn: !is_empty })),
            };
            if available.is_empty() && is_empty {
                return None;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or(available);
            is_too_long |= self.line.len().saturating_add(part.len()) > self.max;
            if is_too_long {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(part);
            }
            let is_last = end.is_some() || available.is_empty();
            let taken = end.map_or(available.len(), |end| end.saturating_add(1));
            is_empty = false;
            self.reader.consume(taken);
            if is_last {
                return Some(if is_too_long { Err(Unreadable::TooLong) } else { Ok(&self.line) });
            }
        }
    }
}

/// Counts the bytes that are read.
struct Counted<R> {
    source: R,
    progress: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(buffer)?;
        self.progress.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Every line of the bytes, or what is wrong with it; with its number.
    fn all(bytes: &[u8], max: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::read(Cursor::new(bytes.to_vec()), max).expect("memory can be read");
        let mut found = Vec::new();
        loop {
            let text = match lines.next() {
                None => return found,
                Some(Ok(line)) => String::from_utf8(line.to_vec()).expect("tests are text"),
                Some(Err(Unreadable::TooLong)) => "too long".to_owned(),
                Some(Err(Unreadable::Failed { is_torn, .. })) => {
                    found.push((lines.number(), format!("failed, torn: {is_torn}")));
                    return found;
                }
            };
            found.push((lines.number(), text));
        }
    }

    fn numbered(lines: &[&str]) -> Vec<(u64, String)> {
        (1..).zip(lines.iter().map(|line| (*line).to_owned())).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory can be written");
        encoder.finish().expect("memory can be written")
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(all(b"a\n\nb", 9), numbered(&["a", "", "b"]));
        assert_eq!(all(b"a\n", 9), numbered(&["a"]));
        assert_eq!(all(b"", 9), numbered(&[]));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        assert_eq!(all(b"abc\nabcd\nx\n", 3), numbered(&["abc", "too long", "x"]));
        assert_eq!(all(b"x\nabcd", 3), numbered(&["x", "too long"]));
    }

    #[test]
    fn compression_is_found_by_content() {
        assert_eq!(all(&gzip(b"a\nb\n"), 9), numbered(&["a", "b"]));
        assert_eq!(all(&zstd::encode_all(&b"a\nb\n"[..], 1).expect("memory"), 9), numbered(&["a", "b"]));
    }

    #[test]
    fn all_members_of_an_archive_are_read() {
        let gzip = [gzip(b"a\nb"), gzip(b"c\nd\n")].concat();
        assert_eq!(all(&gzip, 9), numbered(&["a", "bc", "d"]));
        let frame = |text: &'static [u8]| zstd::encode_all(text, 1).expect("memory");
        assert_eq!(all(&[frame(b"a\nb"), frame(b"c\nd\n")].concat(), 9), numbered(&["a", "bc", "d"]));
    }

    #[test]
    fn a_torn_archive_gives_its_lines_and_then_fails() {
        for whole in [gzip(b"a\nbcd\n"), zstd::encode_all(&b"a\nbcd\n"[..], 1).expect("memory")] {
            for len in 5..whole.len() {
                let lines = all(&whole[..len], 9);
                let (_, last) = lines.last().expect("a failure at least");
                assert!(last.starts_with("failed"), "{len} of {} bytes: {lines:?}", whole.len());
            }
        }
    }
}
