//! One row of a store, read before the store is opened: whoever refuses the store by it leaves it as it was.

use std::path::Path;

use rocksdb::{DB, DEFAULT_COLUMN_FAMILY_NAME, Options};

use super::failure::failure;
use crate::error::Result;

/// A row that decides whether a store is opened.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    /// The name of its table.
    pub table: &'a str,
    /// Its key.
    pub key: &'a [u8],
    /// Refuses the store by the row's value, if there is one.
    pub accepts: &'a dyn Fn(&[u8]) -> Result<()>,
}

impl Guard<'_> {
    /// Asks about the store in `directory`, which has the table, and whose logs have been checked. Nothing is written
    /// there.
    pub(super) fn ask(&self, directory: &Path) -> Result<()> {
        let unreadable = |error| failure(format!("the store in {} cannot be read", directory.display()), error);
        let mut options = Options::default();
        // Opens no more of a large store's files than it needs.
        options.set_max_open_files(16);
        let families = [DEFAULT_COLUMN_FAMILY_NAME, self.table];
        let db = DB::open_cf_for_read_only(&options, directory, families, false).map_err(unreadable)?;
        let Some(family) = db.cf_handle(self.table) else { return Ok(()) };
        match db.get_pinned_cf(family, self.key).map_err(unreadable)? {
            Some(row) => (self.accepts)(&row),
            None => Ok(()),
        }
    }
}
