//! What every check needs: the view, where problems go, and rows as streams.

use super::report::{Problem, Report};
use crate::{
    encoding::bytes::{Decoded, Malformed},
    error::{ErrorKind, Result},
    kv::{Direction, Read, TableId, Value},
    tables::{name, rows::Rows},
};

/// The view that is checked, and what was found.
pub(super) struct Check<'a> {
    read: &'a dyn Read,
    found: &'a mut dyn FnMut(&Problem),
    room: Option<String>,
    report: Report,
}

impl<'a> Check<'a> {
    pub(super) fn new(read: &'a dyn Read, found: &'a mut dyn FnMut(&Problem)) -> Self {
        Self { read, found, room: None, report: Report::default() }
    }

    /// Problems belong to this room from now on.
    pub(super) fn enter(&mut self, room_id: &str) {
        self.room = Some(room_id.to_owned());
    }

    /// Problems belong to no room from now on.
    pub(super) fn leave(&mut self) {
        self.room = None;
    }

    pub(super) fn read(&self) -> &'a dyn Read {
        self.read
    }

    pub(super) fn rows(&self) -> Rows<'a> {
        Rows::new(self.read)
    }

    pub(super) fn report(&self) -> Report {
        self.report
    }

    pub(super) fn counts(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Tells of a problem.
    pub(super) fn problem(&mut self, table: TableId, key: &[u8], what: impl Into<String>) {
        self.report.problems = self.report.problems.saturating_add(1);
        let problem = Problem { room: self.room.clone(), table: name(table), key: key.to_vec(), what: what.into() };
        (self.found)(&problem);
    }

    /// What was decoded from a row; bytes that do not decode are a problem.
    pub(super) fn decoded<T>(&mut self, table: TableId, key: &[u8], decoded: Decoded<T>) -> Option<T> {
        match decoded {
            Ok(value) => Some(value),
            Err(Malformed { offset, what }) => {
                self.problem(table, key, format!("offset {offset}: {what}"));
                None
            }
        }
    }

    /// What was read for a row; damage on the way is a problem of that row.
    pub(super) fn readable<T>(&mut self, table: TableId, key: &[u8], read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.problem(table, key, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks up a row.
    pub(super) fn get(&mut self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        let read = self.read.get(table, key);
        Ok(self.readable(table, key, read)?.flatten())
    }
}

/// What was read for a check; nothing if it is damaged, which the check of the damaged row tells of.
pub(super) fn unless_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        Err(error) => Err(error),
    }
}

/// Rows that are read at once, and their bytes.
const PAGE_ROWS: usize = 1024;
const PAGE_BYTES: usize = 1 << 20;

/// The rows of a table whose keys begin alike, ascending, a page at a time.
pub(super) struct RowStream<'a> {
    read: &'a dyn Read,
    table: TableId,
    prefix: Vec<u8>,
    /// Where the next page begins; `None` after the last.
    start: Option<Vec<u8>>,
    page: std::iter::Peekable<std::vec::IntoIter<(Vec<u8>, Value)>>,
    /// Rows whose keys begin like this may be there or not.
    tolerated: Vec<Vec<u8>>,
}

impl<'a> RowStream<'a> {
    pub(super) fn new(check: &Check<'a>, table: TableId, prefix: &[u8]) -> Self {
        let page = Vec::new().into_iter().peekable();
        Self {
            read: check.read,
            table,
            prefix: prefix.to_vec(),
            start: Some(prefix.to_vec()),
            page,
            tolerated: Vec::new(),
        }
    }

    /// Rows whose keys begin with `prefix` may be there or not.
    pub(super) fn tolerate(&mut self, prefix: &[u8]) {
        self.tolerated.push(prefix.to_vec());
    }

    fn stray(&self, check: &mut Check<'_>, key: &[u8]) {
        if !self.tolerated.iter().any(|prefix| key.starts_with(prefix)) {
            check.problem(self.table, key, "a row that nothing accounts for");
        }
    }

    /// The next row.
    pub(super) fn next(&mut self, check: &mut Check<'_>) -> Result<Option<(Vec<u8>, Value)>> {
        self.fill(check)?;
        Ok(self.page.next())
    }

    /// Tells whether no row is left.
    pub(super) fn is_at_end(&mut self, check: &mut Check<'_>) -> Result<bool> {
        self.fill(check)?;
        Ok(self.page.peek().is_none())
    }

    /// The value of the row that must come next; rows before it are too many, and that it is missing is a problem too.
    pub(super) fn take(&mut self, check: &mut Check<'_>, key: &[u8]) -> Result<Option<Value>> {
        let value = self.take_if_there(check, key)?;
        if value.is_none() {
            check.problem(self.table, key, "the row is missing");
        }
        Ok(value)
    }

    /// The value of a row that may come next; rows before it are too many.
    pub(super) fn take_if_there(&mut self, check: &mut Check<'_>, key: &[u8]) -> Result<Option<Value>> {
        loop {
            self.fill(check)?;
            let Some((before, value)) = self.page.next_if(|(next, _)| next.as_slice() <= key) else { return Ok(None) };
            if before == key {
                return Ok(Some(value));
            }
            self.stray(check, &before);
        }
    }

    /// Whatever is left is too many.
    pub(super) fn finish(mut self, check: &mut Check<'_>) -> Result<()> {
        while let Some((key, _)) = self.next(check)? {
            self.stray(check, &key);
        }
        Ok(())
    }

    fn fill(&mut self, check: &mut Check<'_>) -> Result<()> {
        if self.page.peek().is_some() {
            return Ok(());
        }
        let Some(start) = self.start.take() else { return Ok(()) };
        let mut rows: Vec<(Vec<u8>, Value)> = Vec::new();
        let mut bytes = 0usize;
        let mut more = false;
        let scanned = self.read.scan(self.table, &self.prefix, &start, Direction::Forward, &mut |key, value| {
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            rows.push((key.to_vec(), value.to_vec()));
            more = rows.len() >= PAGE_ROWS || bytes >= PAGE_BYTES;
            Ok(!more)
        });
        // Behind rows that the storage engine itself cannot read nothing can be found: what they held is then missing.
        check.readable(self.table, &start, scanned)?;
        if let (true, Some((last, _))) = (more, rows.last()) {
            self.start = Some([last.as_slice(), &[0]].concat());
        }
        self.page = rows.into_iter().peekable();
        Ok(())
    }
}
