//! Giving bytes back: rooms that nobody wants any more, and what no retained event can reach.

use crate::{error::Result, room::purge::Purging, server::RoomServer};

/// How far an upkeep is, for whoever looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is done, in steps.
    pub done: u64,
    /// How many steps there are, as far as is known.
    pub all: u64,
}

/// What [`RoomServer::purge`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Purged {
    /// Events, outliers included.
    pub events: u64,
    /// Snapshots of the room's state.
    pub snapshots: u64,
    /// Bytes on disk that came back. What other rooms wrote meanwhile makes them fewer.
    pub bytes: u64,
}

impl RoomServer {
    /// Purges a room: nobody finds it any more from the first moment on, and all that is stored of it is deleted.
    ///
    /// Inputs that wait in the room's queue are answered with `NotFound`. Other rooms go on. The room can be imported
    /// again as soon as it is hidden, as a new one. Views that were opened before keep showing it. Blocks until its rows
    /// are gone; if the process ends before, that goes on when the store is opened again. `progress` is called after each
    /// step.
    ///
    /// # Errors
    ///
    /// `NotFound` if the room is not here; `Unavailable` if the store fails or is closed.
    pub fn purge(&self, room_id: &str, progress: &mut dyn FnMut(Progress)) -> Result<Purged> {
        let mut purged = Purged::default();
        if let Some(room) = self.view().room(room_id)? {
            purged.events = u64::from(room.counts().events).saturating_add(u64::from(room.counts().outliers));
            purged.snapshots = u64::from(room.snapshots());
        }
        let before = self.disk_bytes()?;
        let mut purging = Purging::new(self.inputs.hide(room_id)?);
        // From here on the room is gone, whatever happens to the rest of this call.
        self.engine.sync()?;
        let mut done = 0u64;
        while self.engine.purge_step(&mut purging)? {
            done = done.saturating_add(1);
            progress(Progress { done, all: done.max(purged.events / 256) });
        }
        self.engine.sync()?;
        purged.bytes = before.saturating_sub(self.disk_bytes()?);
        Ok(purged)
    }

    /// Live bytes of all tables, with what was still in memory.
    fn disk_bytes(&self) -> Result<u64> {
        self.engine.store().flush(false)?;
        Ok(self.engine.store().table_bytes()?.iter().sum())
    }
}
