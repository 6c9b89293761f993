//! The memory backend: for tests, tools and hosts that keep nothing.
//!
//! A snapshot costs one reference count and never blocks a writer. What a crash or a power loss would leave behind can
//! be asked for ([`MemoryStore::reopen`], [`MemoryStore::drop_unsynced`]), and a write or sync can be made to fail, for good or once.

pub(crate) mod dump;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use self::tree::{Row, Tree};
use super::{Batch, Claimable, Direction, Garbage, Op, Read, Store, TableId, TableSpec, Value, Visit};
use crate::error::{Error, ErrorKind, Result};

/// A store in memory. Clones are handles of one open store.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Vec<&'static str>,
    state: RwLock<State>,
    claimable: Claimable,
}

#[derive(Debug, Default)]
struct State {
    newest: View,
    durable: View,
    poisoned: bool,
    failing_write: Countdown,
    failing_sync: Countdown,
    refused_write: Countdown,
    refused_sync: Countdown,
}

/// One state of all tables.
#[derive(Debug, Clone, Default)]
struct View {
    tables: Arc<Vec<Tree>>,
    sequence: u64,
}

/// Which of the following calls fails: 1 is the next one.
#[derive(Debug, Default)]
struct Countdown(Option<u64>);

impl Countdown {
    /// Counts a call and tells whether it is the one that fails.
    fn strikes(&mut self) -> bool {
        self.0 = match self.0 {
            Some(n) if n > 1 => Some(n - 1),
            Some(_) => {
                self.0 = None;
                return true;
            }
            None => None,
        };
        false
    }
}

impl MemoryStore {
    /// Opens an empty store.
    pub fn open(specs: &[TableSpec]) -> Self {
        Self::with_tables(names(specs), specs.iter().map(|_| Tree::default()).collect::<Vec<_>>().into())
    }

    /// Opens a copy of what [`checkpoint`](Store::checkpoint) of a memory store wrote into `directory`.
    ///
    /// Tables of `specs` that the copy lacks are empty. `Invalid` if `directory` holds no such copy or one with a table
    /// that is not in `specs`, `Corrupt` if the copy is damaged, `Unavailable` if it cannot be read.
    pub fn load(directory: &Path, specs: &[TableSpec]) -> Result<Self> {
        let names = names(specs);
        let tables = dump::read(directory, &names)?;
        Ok(Self::with_tables(names, tables.into()))
    }

    /// A new store with every applied batch: what is there after the process was killed and started again.
    ///
    /// It is neither poisoned nor set to fail, and claimed by nobody. This store and its handles do not see the new one's changes.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let tables = Arc::clone(&self.shared.state.read().newest.tables);
        Self::with_tables(self.shared.names.clone(), tables)
    }

    /// A new store with the batches up to the last sync and no other: what is there after a power loss.
    ///
    /// It is neither poisoned nor set to fail, and claimed by nobody. This store and its handles do not see the new one's changes.
    #[must_use]
    pub fn drop_unsynced(&self) -> Self {
        let tables = Arc::clone(&self.shared.state.read().durable.tables);
        Self::with_tables(self.shared.names.clone(), tables)
    }

    /// Lets the `n`-th following write fail like an I/O error, and so poison the store; 1 is the next one.
    ///
    /// The failing batch is not applied.
    pub fn fail_write_after(&self, n: u64) {
        self.shared.state.write().failing_write = Countdown(Some(n));
    }

    /// Lets the `n`-th following sync fail like an I/O error, and so poison the store; 1 is the next one.
    pub fn fail_sync_after(&self, n: u64) {
        self.shared.state.write().failing_sync = Countdown(Some(n));
    }

    /// Lets the `n`-th following write answer `Busy`, once and without poisoning the store; 1 is the next one.
    ///
    /// The refused batch is not applied; the write after it succeeds.
    pub fn refuse_write_after(&self, n: u64) {
        self.shared.state.write().refused_write = Countdown(Some(n));
    }

    /// Lets the `n`-th following sync answer `Busy`, once and without poisoning the store; 1 is the next one.
    ///
    /// It makes nothing durable; the sync after it succeeds.
    pub fn refuse_sync_after(&self, n: u64) {
        self.shared.state.write().refused_sync = Countdown(Some(n));
    }

    fn with_tables(names: Vec<&'static str>, tables: Arc<Vec<Tree>>) -> Self {
        let view = View { tables, sequence: 0 };
        let state = State { newest: view.clone(), durable: view, ..State::default() };
        Self { shared: Arc::new(Shared { names, state: RwLock::new(state), claimable: Claimable::default() }) }
    }

    fn view(&self) -> View {
        self.shared.state.read().newest.clone()
    }
}

fn names(specs: &[TableSpec]) -> Vec<&'static str> {
    specs.iter().map(|spec| spec.name).collect()
}

fn busy(what: &str) -> Error {
    Error::new(ErrorKind::Busy, format!("{what} was refused once: a fault was asked for"))
}

fn unknown_table(table: TableId) -> Error {
    Error::internal(format!("the store was opened without a table {}", table.0))
}

impl State {
    fn refuse_poisoned(&self) -> Result<()> {
        if self.poisoned {
            return Err(Error::unavailable("the store takes no writes since one failed; open it again"));
        }
        Ok(())
    }

    fn poison(&mut self, what: &str) -> Error {
        self.poisoned = true;
        Error::unavailable(format!("{what} failed")).with_source(std::io::Error::other("a fault was asked for"))
    }
}

impl View {
    fn table(&self, table: TableId) -> Result<&Tree> {
        self.tables.get(usize::from(table.0)).ok_or_else(|| unknown_table(table))
    }
}

impl Read for View {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.table(table)?.get(key).map(<[u8]>::to_vec))
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        let tree = self.table(table)?;
        Ok(keys.iter().map(|key| tree.get(key).map(<[u8]>::to_vec)).collect())
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        super::check_scan(prefix, start)?;
        let tree = self.table(table)?;
        let mut visit = |row: &Row| Ok(row.key().starts_with(prefix) && visit(row.key(), row.value())?);
        match direction {
            Direction::Forward => tree.ascend(start, &mut visit),
            Direction::Reverse => tree.descend(start, &mut visit),
        }
    }
}

impl Read for MemoryStore {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>> {
        self.shared.state.read().newest.get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>> {
        self.shared.state.read().newest.multi_get(table, keys)
    }

    fn scan(&self, table: TableId, prefix: &[u8], start: &[u8], direction: Direction, visit: Visit<'_>) -> Result<()> {
        // Not under the lock: `visit` may read or write the store.
        self.view().scan(table, prefix, start, direction, visit)
    }
}

impl Store for MemoryStore {
    fn claimable(&self) -> &Claimable {
        &self.shared.claimable
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        Arc::new(self.view())
    }

    fn write(&self, batch: Batch) -> Result<u64> {
        let mut state = self.shared.state.write();
        state.refuse_poisoned()?;
        for op in batch.ops() {
            state.newest.table(op.table())?;
        }
        if state.failing_write.strikes() {
            return Err(state.poison("a write"));
        }
        if state.refused_write.strikes() {
            return Err(busy("a write"));
        }
        let tables = Arc::make_mut(&mut state.newest.tables);
        for op in batch.into_ops() {
            let table = op.table();
            let tree = tables.get_mut(usize::from(table.0)).ok_or_else(|| unknown_table(table))?;
            match op {
                Op::Put { key, value, .. } => tree.put(key, &value),
                Op::Delete { key, .. } => tree.delete(&key),
                Op::DeleteRange { start, end, .. } => tree.delete_range(&start, &end)?,
            }
        }
        state.newest.sequence += 1;
        Ok(state.newest.sequence)
    }

    fn sync(&self) -> Result<u64> {
        let mut state = self.shared.state.write();
        state.refuse_poisoned()?;
        if state.failing_sync.strikes() {
            return Err(state.poison("a sync"));
        }
        if state.refused_sync.strikes() {
            return Err(busy("a sync"));
        }
        state.durable = state.newest.clone();
        Ok(state.durable.sequence)
    }

    /// Does nothing but refuse when poisoned: memory is the medium.
    fn flush(&self, _compact: bool) -> Result<()> {
        self.shared.state.read().refuse_poisoned()
    }

    /// Does nothing but refuse when poisoned: what is deleted takes no room.
    fn compact(&self, garbage: &[Garbage]) -> Result<()> {
        let state = self.shared.state.read();
        for part in garbage {
            state.newest.table(part.table)?;
        }
        state.refuse_poisoned()
    }

    /// Bytes of keys and values by table; always exact.
    fn table_bytes(&self) -> Result<Vec<u64>> {
        Ok(self.view().tables.iter().map(Tree::bytes).collect())
    }

    /// Writes a copy that [`MemoryStore::load`] opens.
    fn checkpoint(&self, directory: &Path) -> Result<()> {
        dump::write(directory, &self.shared.names, &self.view().tables)
    }
}
