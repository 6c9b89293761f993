//! The check above the storage engine that a store is whole.
//!
//! Every table is read in full over one snapshot of the store. Truth is held against itself: bodies against hashes,
//! rows against bodies, states against the log. Derived rows are made again from the truth and compared in both
//! directions: a row that lacks and a row too many are problems alike. What is unreadable is a problem too, and the
//! check goes on behind it.
//!
//! Tables are streamed. Beside pages of rows and bounded caches, the check of a room holds about 60 bytes for each of
//! its events, 8 for each auth edge of its state events, 36 for each edge to a prev event that hides nothing, 48 for
//! each snapshot, and one whole state; rooms come one after the other.

mod events;
mod facts;
mod graph;
mod head;
mod ids;
mod lists;
mod log;
mod names;
mod parked;
mod positions;
mod replay;
mod report;
mod room;
mod rooms;
mod server_wide;
mod streams;

#[cfg(test)]
pub(crate) mod tests;

pub use self::report::{Problem, Report};
use self::{
    names::check_names,
    room::RoomCheck,
    streams::{Check, unless_damaged},
};
use crate::{error::Result, kv::Read, server::RoomServer, state::source::StateCaches, tables::interning::Interner};

/// Bytes of packs, lists and blocks that are kept in memory.
const STATE_MEMORY: usize = 16 << 20;
/// Bytes of names that are kept in memory.
const NAME_MEMORY: usize = 8 << 20;

impl RoomServer {
    /// Checks that the store is whole, over one snapshot of it; `found` is called for each problem.
    ///
    /// Writers go on meanwhile: every state that a committed batch leaves is whole. Nothing is changed. Reads every
    /// row; the memory that it takes grows with the largest room, by about 100 bytes an event.
    ///
    /// What no check can tell: whether signatures are right, since keys are the host's business, and whether a
    /// resolution of states or a verdict is what the rules give.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store cannot be read. Damaged rows are problems and no errors.
    pub fn verify(&self, found: &mut dyn FnMut(&Problem)) -> Result<Report> {
        let view = self.view();
        verify(view.rows().read(), found)
    }
}

/// Checks one state of a store.
fn verify(read: &dyn Read, found: &mut dyn FnMut(&Problem)) -> Result<Report> {
    let mut check = Check::new(read, found);
    let last_room = rooms::check_settings(&mut check)?;
    check_names(&mut check)?;
    let rooms = rooms::check_rooms(&mut check)?;
    let interner = Interner::to_read(NAME_MEMORY);
    let caches = StateCaches::new(STATE_MEMORY);
    for nid in &rooms {
        let Some(room) = unless_damaged(check.rows().room(*nid))? else { continue };
        check.enter(&room.id);
        RoomCheck::new(&mut check, &room, &interner, &caches).run()?;
    }
    check.leave();
    // What a purged room left behind is on its way out.
    let purges = rooms::check_purges(&mut check, &rooms, last_room)?;
    server_wide::check_index(&mut check, &purges)?;
    server_wide::check_memberships(&mut check, &purges)?;
    server_wide::check_wanted(&mut check, &purges)?;
    rooms::check_strays(&mut check, &rooms.union(&purges).copied().collect())?;
    Ok(check.report())
}

impl RoomCheck<'_, '_> {
    /// Each step relies on what those before it have gathered.
    fn run(mut self) -> Result<()> {
        self.check_head_row()?;
        self.check_events()?;
        self.check_positions()?;
        self.check_auth_children()?;
        self.check_prev_children()?;
        self.check_packs()?;
        self.check_lists()?;
        self.check_blocks()?;
        self.check_graph()?;
        self.check_head()?;
        self.replay()?;
        self.check_parked()
    }
}
