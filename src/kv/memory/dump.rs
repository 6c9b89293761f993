//! The file that a checkpoint of a memory store consists of.
//!
//! All integers are little-endian: the magic; `u32` tables; for each the `u32` length of its name, the name, and `u64`
//! rows; for each row `u32` length of the key, `u32` length of the value, key, value. At the end XXH3 64 of all that.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::tree::Tree;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"rsmemkv1";
const FILE: &str = "tables";

/// Writes `tables` with their `names` into a new directory.
pub(super) fn write(directory: &Path, names: &[&'static str], tables: &[Tree]) -> Result<()> {
    crate::kv::prepare_checkpoint(directory)?;
    let write = || -> io::Result<()> {
        fs::create_dir(directory)?;
        let mut out = Hashed { out: BufWriter::new(File::create_new(directory.join(FILE))?), hash: Xxh3::new() };
        out.write_all(MAGIC)?;
        out.write_all(&length(names.len())?)?;
        for (name, tree) in names.iter().zip(tables) {
            out.write_all(&length(name.len())?)?;
            out.write_all(name.as_bytes())?;
            out.write_all(&tree.rows().to_le_bytes())?;
            tree.ascend(&[], &mut |row| {
                let put = |out: &mut Hashed| {
                    out.write_all(&length(row.key().len())?)?;
                    out.write_all(&length(row.value().len())?)?;
                    out.write_all(row.key())?;
                    out.write_all(row.value())
                };
                put(&mut out).map_err(|error| Error::unavailable("a row cannot be written").with_source(error))?;
                Ok(true)
            })
            .map_err(io::Error::other)?;
        }
        let digest = out.hash.digest();
        out.out.write_all(&digest.to_le_bytes())?;
        out.out.into_inner()?.sync_all()?;
        // Without this the file's name might not outlive a power loss.
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        Error::unavailable(format!("a checkpoint cannot be written to {}", directory.display())).with_source(error)
    })
}

/// Reads the tables with these `names`, in their order.
pub(super) fn read(directory: &Path, names: &[&'static str]) -> Result<Vec<Tree>> {
    let file = directory.join(FILE);
    let bytes = fs::read(&file).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{} cannot be read", file.display())).with_source(error)
    })?;
    if !bytes.starts_with(MAGIC) {
        return Err(Error::invalid(format!("{} is no copy of a memory store", file.display())));
    }
    let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, format!("{}: {what}", file.display()));
    let (content, digest) = bytes.split_last_chunk().ok_or_else(|| corrupt("it is cut off"))?;
    if xxh3_64(content) != u64::from_le_bytes(*digest) {
        return Err(corrupt("its checksum is wrong"));
    }
    let mut rest = content.get(MAGIC.len()..).unwrap_or_default();
    decode(&mut rest, names)?.ok_or_else(|| corrupt("a length in it is wrong"))
}

/// Reads what lies between the magic and the checksum; `None` if a length does not fit the bytes that are there.
fn decode(rest: &mut &[u8], names: &[&'static str]) -> Result<Option<Vec<Tree>>> {
    let mut tables = vec![Tree::default(); names.len()];
    let Some(count) = take_length(rest) else { return Ok(None) };
    for _ in 0..count {
        let Some(name) = take_length(rest).and_then(|len| take(rest, len)) else { return Ok(None) };
        let at = names.iter().position(|known| known.as_bytes() == name);
        let Some(tree) = at.and_then(|at| tables.get_mut(at)) else {
            let name = String::from_utf8_lossy(name);
            return Err(Error::invalid(format!("the copy has a table {name:?} that is not asked for")));
        };
        let Some(rows) = take_array(rest).map(u64::from_le_bytes) else { return Ok(None) };
        for _ in 0..rows {
            let (Some(key_len), Some(value_len)) = (take_length(rest), take_length(rest)) else { return Ok(None) };
            let (Some(key), Some(value)) = (take(rest, key_len), take(rest, value_len)) else { return Ok(None) };
            tree.put(key.to_vec(), value);
        }
    }
    Ok(rest.is_empty().then_some(tables))
}

/// Tells whether bytes are what lies between the magic and the checksum of a copy with these tables.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn is_content(mut bytes: &[u8], names: &[&'static str]) -> bool {
    decode(&mut bytes, names).is_ok_and(|tables| tables.is_some())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take_array(rest)?)).ok()
}

fn length(len: usize) -> io::Result<[u8; 4]> {
    let len = u32::try_from(len).map_err(|_| io::Error::other("a key or value is longer than 4 GiB"))?;
    Ok(len.to_le_bytes())
}

/// Writes on and hashes what it writes.
struct Hashed {
    out: BufWriter<File>,
    hash: Xxh3,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
