//! Which garbage is worth a compaction, and what flushes and compactions wrote.
//!
//! A compaction rewrites whole table files, and flushes what the table has in memory first. That gives much back where most
//! of the files is garbage, and next to nothing where a few rows of each file are: there it is left to RocksDB, which drops
//! deleted rows whenever it merges the files around them.

use rocksdb::{ColumnFamily, LiveFile, Options, Range, statistics::Ticker};

use super::{database::Database, failure::failure};
use crate::{
    error::Result,
    kv::{Garbage, TableId},
};

/// What stays below this many bytes of whole rooms that go is left: a compaction costs as much in new files and syncs.
const GARBAGE_MIN: u64 = 8 << 10;
/// A compaction must give back one byte of so many that it rewrites.
const REWRITTEN_PER_BYTE: u64 = 8;

/// Bytes that RocksDB wrote into table files since the store was opened; the log is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// By flushes of what was in memory.
    pub flushed: u64,
    /// By compactions, its own and those that were asked for.
    pub compacted: u64,
}

/// Parts of a table with garbage that are compacted together, if at all, since they lie in the same files.
struct Group<'a> {
    parts: Vec<&'a Garbage>,
    start: &'a [u8],
    end: &'a [u8],
}

impl Written {
    /// What a database with these options wrote, which must count it.
    pub(super) fn of(options: &Options) -> Self {
        Self {
            flushed: options.get_ticker_count(Ticker::FlushWriteBytes),
            compacted: options.get_ticker_count(Ticker::CompactWriteBytes),
        }
    }
}

/// The key ranges of a table whose compaction is worth it, of parts with garbage; start inclusive, end exclusive.
pub(super) fn worthwhile(database: &Database, table: TableId, parts: &[&Garbage]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let family = database.family(table)?;
    let mut ranges = Vec::new();
    let mut parts: Vec<&Garbage> = parts.iter().copied().filter(|part| part.start < part.end).collect();
    // No more than what the parts hold can come back, and to ask how much that is costs a look at the index.
    if sizes(database, family, &parts).iter().sum::<u64>() < least(&parts) {
        return Ok(ranges);
    }
    parts.sort_by(|a, b| (&a.start, &a.end).cmp(&(&b.start, &b.end)));
    let files = files(database, table)?;
    for group in groups(&parts, &files) {
        let touched = files.iter().filter(|file| touches(file, group.start, group.end));
        let (newest, rest): (Vec<&LiveFile>, Vec<&LiveFile>) = touched.partition(|file| file.level == 0);
        // Files of level 0, which may span the whole table, are merged soon, whoever asks: no cost of this garbage.
        let rewritten = if rest.is_empty() { newest } else { rest };
        let (bytes, rows) = rewritten.iter().fold((0u64, 0u64), |(bytes, rows), file| {
            (bytes.saturating_add(file.size as u64), rows.saturating_add(file.num_entries))
        });
        let whole: Vec<&Garbage> = group.parts.iter().copied().filter(|part| part.rows.is_none()).collect();
        let whole: u64 = sizes(database, family, &whole).iter().sum();
        let single: u64 = group.parts.iter().filter_map(|part| part.rows).sum();
        // Rows of one table are of about one size.
        let single = u128::from(bytes) * u128::from(single.min(rows)) / u128::from(rows.max(1));
        let garbage = whole.saturating_add(u64::try_from(single).unwrap_or(u64::MAX));
        if garbage >= least(&group.parts) && garbage.saturating_mul(REWRITTEN_PER_BYTE) >= bytes {
            ranges.push((group.start.to_vec(), group.end.to_vec()));
        }
    }
    Ok(ranges)
}

/// About how many bytes each part takes in table files, garbage included.
fn sizes(database: &Database, family: &ColumnFamily, parts: &[&Garbage]) -> Vec<u64> {
    let ranges: Vec<Range<'_>> = parts.iter().map(|part| Range::new(&part.start, &part.end)).collect();
    if ranges.is_empty() { Vec::new() } else { database.db.get_approximate_sizes_cf(family, &ranges) }
}

/// The files of a table, those of level 0 among them.
fn files(database: &Database, table: TableId) -> Result<Vec<LiveFile>> {
    let name = database.names.get(usize::from(table.0)).copied().unwrap_or_default();
    let files = database.db.live_files().map_err(|error| failure("the table files cannot be listed", error))?;
    Ok(files.into_iter().filter(|file| file.column_family_name == name).collect())
}

/// Joins parts, which ascend, whose keys lie in one file. Files of level 0, which may span the whole table, join none.
fn groups<'a>(parts: &[&'a Garbage], files: &[LiveFile]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for part in parts {
        let (start, end) = (part.start.as_slice(), part.end.as_slice());
        let shares_file = |group: &&mut Group<'_>| {
            start < group.end
                || files
                    .iter()
                    .filter(|file| file.level > 0)
                    .any(|file| touches(file, group.start, group.end) && touches(file, start, end))
        };
        match groups.last_mut().filter(shares_file) {
            Some(group) => {
                group.parts.push(part);
                group.end = group.end.max(end);
            }
            None => groups.push(Group { parts: vec![part], start, end }),
        }
    }
    groups
}

/// The least garbage that parts must have. A collection tells once of all rows that it replaced, whose new versions take room
/// as well: of these no garbage is too little, if it is much of its files.
fn least(parts: &[&Garbage]) -> u64 {
    if parts.iter().any(|part| part.rows.is_none()) { GARBAGE_MIN } else { 1 }
}

fn touches(file: &LiveFile, start: &[u8], end: &[u8]) -> bool {
    let (first, last) = (file.start_key.as_deref().unwrap_or_default(), file.end_key.as_deref());
    first < end && last.is_none_or(|last| last >= start)
}

/// Refuses garbage of a table that is not there.
pub(super) fn check_tables(database: &Database, garbage: &[Garbage]) -> Result<()> {
    garbage.iter().try_for_each(|part| database.family(part.table).map(|_| ()))
}
