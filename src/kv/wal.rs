//! The check of RocksDB's logs before RocksDB reads them.
//!
//! Write-ahead logs and manifests share one format: blocks of 32 KiB with records of a 7-byte header (masked CRC-32C of
//! type and payload, `u16` length, type) that never cross a block; a batch that is longer is cut into fragments. In
//! RocksDB 11 one wrong bit in a type makes the open spin for ever, a wrong length in the last block passes for a torn
//! tail and takes synced batches with it, and zeros hide the rest of their block. This check refuses all three.
//! What a crash leaves, a last log that ends inside a record, passes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

const BLOCK: usize = 32 * 1024;
const HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Checks the manifest and all write-ahead logs of the store in `directory`, in one pass and 32 KiB of memory.
///
/// `Corrupt` names the file, the offset and what is wrong there; `Unavailable` if a file cannot be read. Without a
/// `CURRENT` file there is nothing to check.
pub fn check(directory: &Path) -> Result<()> {
    let Some(manifest) = manifest_name(&directory.join("CURRENT"))? else { return Ok(()) };
    check_file(&directory.join(manifest))?;
    let mut torn: Option<(PathBuf, u64)> = None;
    for log in logs(directory)? {
        let end = check_file(&log)?;
        if let (Some((file, offset)), true) = (&torn, end.batches > 0) {
            // Only the log that was written last may be torn. Batches of this one, on top of the lost ones, are a hole.
            return Err(corrupt(file, *offset, "it ends inside a record, but a later log has batches"));
        }
        torn = torn.or(end.torn.map(|offset| (log, offset)));
    }
    Ok(())
}

/// How a log ends that is not damaged.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// How many whole batches it has.
    pub batches: u64,
    /// Where the batch begins that was cut off, if one was.
    pub torn: Option<u64>,
}

/// Why a log is refused.
#[derive(Debug)]
pub enum Fault {
    /// It cannot be read.
    Io(io::Error),
    /// It is not as it was written.
    Damaged {
        /// Where the damage begins, in bytes from the start of the log.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Checks one log.
pub fn scan(mut log: impl Read) -> Result<End, Fault> {
    let mut block = vec![0; BLOCK];
    let mut scan = Scan { offset: 0, batches: 0, fragmented: None, zeros: None };
    loop {
        let filled = fill(&mut log, &mut block).map_err(Fault::Io)?;
        let bytes = block.get(..filled).unwrap_or_default();
        let torn = scan.block(bytes)?;
        scan.offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if filled < BLOCK {
            // A batch that lacks fragments begins before all that may follow it.
            return Ok(End { batches: scan.batches, torn: scan.fragmented.or(torn).or(scan.zeros) });
        }
    }
}

struct Scan {
    /// Of the block, in the log.
    offset: u64,
    batches: u64,
    /// Where the batch begins whose last fragment has not come yet.
    fragmented: Option<u64>,
    /// Where zeros begin, which must go on to the end of the log.
    zeros: Option<u64>,
}

impl Scan {
    /// Checks one block, which is the log's last if it is not full; gives the offset of a record that is cut off.
    fn block(&mut self, block: &[u8]) -> Result<Option<u64>, Fault> {
        let mut rest = block;
        if self.zeros.is_none() {
            while let Some((header, payloads)) = rest.split_first_chunk::<HEADER>() {
                let start = block.len() - rest.len();
                let offset = self.offset + u64::try_from(start).unwrap_or(u64::MAX);
                let [c0, c1, c2, c3, l0, l1, kind] = *header;
                let (checksum, length) =
                    (u32::from_le_bytes([c0, c1, c2, c3]), usize::from(u16::from_le_bytes([l0, l1])));
                let damaged = |what| Err(Fault::Damaged { offset, what });
                if kind == 0 && length == 0 {
                    self.zeros = Some(offset);
                    break;
                }
                if !(FULL..=LAST).contains(&kind) {
                    return damaged("a record of a type that is not written here");
                }
                if start + HEADER + length > BLOCK {
                    return damaged("a record that leaves its block");
                }
                let Some((payload, after)) = payloads.split_at_checked(length) else {
                    if some_prefix_has_checksum(kind, payloads, checksum) {
                        return damaged("a whole record with a wrong length");
                    }
                    return Ok(Some(offset));
                };
                if mask(!crc32c(crc32c(!0, &[kind]), payload)) != checksum {
                    return damaged("a record with a wrong checksum");
                }
                self.record(kind, offset)?;
                rest = after;
            }
        }
        if self.zeros.is_none() {
            // What is left of a full block is filler.
            let cut = !rest.is_empty() && block.len() < BLOCK;
            return Ok(cut.then(|| self.offset + u64::try_from(block.len() - rest.len()).unwrap_or(u64::MAX)));
        }
        if rest.iter().any(|byte| *byte != 0) {
            let offset = self.zeros.unwrap_or(self.offset);
            return Err(Fault::Damaged { offset, what: "zeros with other bytes after them" });
        }
        Ok(None)
    }

    fn record(&mut self, kind: u8, offset: u64) -> Result<(), Fault> {
        let expected = match self.fragmented {
            None => matches!(kind, FULL | FIRST),
            Some(_) => matches!(kind, MIDDLE | LAST),
        };
        if !expected {
            return Err(Fault::Damaged { offset, what: "a fragment without the one before it" });
        }
        match kind {
            FIRST => self.fragmented = Some(offset),
            MIDDLE => {}
            _ => {
                self.fragmented = None;
                self.batches += 1;
            }
        }
        Ok(())
    }
}

/// Tells a record whose length was changed from one that was cut off: of the former the whole payload is there.
fn some_prefix_has_checksum(kind: u8, bytes: &[u8], checksum: u32) -> bool {
    let mut crc = crc32c(!0, &[kind]);
    mask(!crc) == checksum
        || bytes.iter().any(|byte| {
            crc = crc32c(crc, &[*byte]);
            mask(!crc) == checksum
        })
}

fn fill(log: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(free) = block.get_mut(filled..).filter(|free| !free.is_empty()) {
        match log.read(free) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn corrupt(file: &Path, offset: u64, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{}, offset {offset}: {what}", file.display()))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let (kind, what) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::Corrupt, "is missing"),
        _ => (ErrorKind::Unavailable, "cannot be read"),
    };
    Error::new(kind, format!("{} {what}", path.display())).with_source(error)
}

fn check_file(path: &Path) -> Result<End> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    scan(file).map_err(|fault| match fault {
        Fault::Io(error) => unreadable(path, error),
        Fault::Damaged { offset, what } => corrupt(path, offset, what),
    })
}

/// The name of the manifest that the `CURRENT` file names; `None` without such a file.
fn manifest_name(current: &Path) -> Result<Option<String>> {
    let mut text = Vec::new();
    match File::open(current).and_then(|file| file.take(64).read_to_end(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(current, error)),
    }
    match manifest_in(&text) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(corrupt(current, 0, "it names no manifest")),
    }
}

/// The name of a manifest in the bytes of a `CURRENT` file.
pub fn manifest_in(current: &[u8]) -> Option<&str> {
    let name = current.strip_suffix(b"\n").and_then(|line| str::from_utf8(line).ok())?;
    name.strip_prefix("MANIFEST-").and_then(file_number).map(|_| name)
}

/// The write-ahead logs, the oldest first.
fn logs(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| unreadable(directory, error))? {
        let name = entry.map_err(|error| unreadable(directory, error))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(file_number);
        if let Some(number) = number {
            logs.push((number, directory.join(name)));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

fn file_number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Table 0 advances a CRC-32C by one byte; table `n` by that byte and `n` zero bytes.
const TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "checked when it is compiled")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

#[expect(clippy::indexing_slicing, reason = "a byte is an index of 256, and N is below 8 at every call")]
fn advance<const N: usize>(byte: u8) -> u32 {
    TABLES[N][usize::from(byte)]
}

/// Carries `crc`, without the inversions at the start and the end, over `bytes`; eight at a time.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<8>();
    let crc = words.iter().fold(crc, |crc, &[a, b, c, d, e, f, g, h]| {
        let [w, x, y, z] = (crc ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
        let first = advance::<7>(w) ^ advance::<6>(x) ^ advance::<5>(y) ^ advance::<4>(z);
        first ^ advance::<3>(e) ^ advance::<2>(f) ^ advance::<1>(g) ^ advance::<0>(h)
    });
    tail.iter().fold(crc, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ advance::<0>(low ^ byte)
    })
}

#[cfg(test)]
mod tests;
