//! The packed log of a room: what each snapshot changed.

use super::{facts::LogFact, room::RoomCheck, streams::RowStream};
use crate::{
    encoding::{
        block::Entry,
        bytes::unstamp,
        keys,
        pack::{self, FULL_ROWS, OPEN_ROWS, Pack, RowRef, Seal},
    },
    error::Result,
    ids::SnapshotNid,
    kv::TableId,
    state::source::{StoredStates, pack_of},
    tables::PACKS,
};

impl RoomCheck<'_, '_> {
    /// Checks that the packs tell of every snapshot up to the head's last but those that were collected from the first on,
    /// in packs of the right sizes, and that the entries name events of this room that can be in a state.
    pub(super) fn check_packs(&mut self) -> Result<()> {
        let mut rows = RowStream::new(self.check, PACKS, &keys::room(self.room.nid));
        let last = match &self.head {
            Some(head) => head.last_snapshot,
            None => self.last_of_last_pack()?,
        };
        let newest = SnapshotNid::new(last);
        self.states = StoredStates::new(self.check.read(), self.caches, self.room.nid, newest);
        let collected = self.head.as_ref().map_or(0, |head| head.collected.snapshots).min(last);
        self.log.rows.resize(collected as usize, Some(LogFact::GONE));
        let mut first = SnapshotNid::new(collected.saturating_add(1));
        while first <= newest {
            let key = keys::snapshot(self.room.nid, first);
            if rows.is_at_end(self.check)? {
                let what = format!("all packs of the snapshots from {} to {last} are missing", first.number());
                self.check.problem(PACKS, &key, what);
                break;
            }
            let ends = [FULL_ROWS, OPEN_ROWS].map(|rows| first.number() | (rows - 1));
            let holds = |end: &u32| *end <= last && pack_of(SnapshotNid::new(*end), newest) == first;
            let end = ends.into_iter().find(holds).unwrap_or(last);
            let value = rows.take(self.check, &key)?;
            let decoded = value.map(|value| unstamp(&key, &value).and_then(|bytes| pack::decode(first, bytes)));
            let pack = decoded.and_then(|pack| self.check.decoded(PACKS, &key, pack));
            self.check_pack(&key, pack, end)?;
            let Some(next) = end.checked_add(1).map(SnapshotNid::new) else { break };
            first = next;
        }
        rows.finish(self.check)
    }

    /// The newest snapshot as the last pack has it, for a room without a readable head.
    fn last_of_last_pack(&mut self) -> Result<u32> {
        let first = SnapshotNid::new(self.last_number(PACKS)?);
        let key = keys::snapshot(self.room.nid, first);
        let Some(value) = self.check.get(PACKS, &key)? else { return Ok(0) };
        let pack = unstamp(&key, &value).and_then(|bytes| pack::decode(first, bytes));
        let rows = pack.map_or(0, |pack| pack.row_count());
        Ok(first.number().saturating_add(rows).saturating_sub(1))
    }

    fn check_pack(&mut self, key: &[u8], pack: Option<Pack>, end: u32) -> Result<()> {
        let Some(pack) = pack else {
            self.log.rows.resize(end as usize, None);
            return Ok(());
        };
        let snapshots = pack.first.number()..=end;
        if pack.row_count() as usize != snapshots.clone().count() {
            let what = format!("{} rows for the snapshots from {} to {end}", pack.row_count(), pack.first.number());
            self.check.problem(PACKS, key, what);
        }
        for (snapshot, row) in snapshots.zip(pack.rows()) {
            let snapshot = SnapshotNid::new(snapshot);
            if row.seal == Seal::Gone {
                self.log.rows.push(Some(LogFact::GONE));
                continue;
            }
            self.check_log_row(key, snapshot, row)?;
            if row.seal != Seal::Open {
                self.log.sealed.push((snapshot, row.seal == Seal::Derived));
            }
            let sets = match row.entries {
                [(_, event)] if row.seal != Seal::Whole => *event,
                _ => None,
            };
            let RowRef { parent, second_parent, seal, .. } = row;
            self.log.rows.push(Some(LogFact { parent, second_parent, sets, seal }));
            self.check.counts().snapshots = self.check.counts().snapshots.saturating_add(1);
        }
        self.log.rows.resize(end as usize, None);
        Ok(())
    }

    fn check_log_row(&mut self, key: &[u8], snapshot: SnapshotNid, row: RowRef<'_>) -> Result<()> {
        let is_cut_off = row.seal != Seal::Whole && self.log.is_gone(row.parent);
        let mut wrong = |what: &str| {
            self.check.problem(PACKS, key, format!("snapshot {}: {what}", snapshot.number()));
        };
        if row.parent >= snapshot || row.second_parent.is_some_and(|second| second >= snapshot) {
            wrong("a parent that is not older");
        }
        if is_cut_off {
            wrong("its parent was collected");
        }
        if !row.entries.is_sorted_by(|a, b| a.0 < b.0) {
            wrong("entries that do not ascend");
        }
        if row.entries.is_empty() && row.seal != Seal::Whole {
            wrong("nothing changes");
        }
        for entry in row.entries {
            self.check_entry(PACKS, key, entry)?;
        }
        Ok(())
    }

    /// Checks that an entry of a state names an event that can be there.
    pub(super) fn check_entry(&mut self, table: TableId, key: &[u8], (tuple, event): &Entry) -> Result<()> {
        let Some(event) = event else {
            let names = self.names.tuple(*tuple);
            return self.check.readable(table, key, names).map(|_| ());
        };
        let what = match self.facts.get(*event) {
            Some(fact) if fact.tuple != Some(*tuple) => "which is of another key",
            Some(fact) if !fact.may_be_state() => "which was rejected",
            Some(_) => return Ok(()),
            // An unreadable event has been told of.
            None if self.facts.has(*event) => return Ok(()),
            None => "which is not in the store",
        };
        self.check.problem(table, key, format!("an entry names event {}, {what}", event.number()));
        Ok(())
    }
}
