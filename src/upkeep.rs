//! Giving bytes back: rooms that nobody wants any more, and what no retained event can reach.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use ruma_common::OwnedEventId;

use crate::{
    error::{Error, ErrorKind, Result},
    room::{
        collect::{FreedCounts, GarbageRanges, Marks, STEP_EVENTS, Scope, Touched, doomed, plan_of},
        outcome::Kind,
        purge::{Purging, until_taken},
    },
    server::RoomServer,
    state::collect::{Dropped, Plan},
    tables::{rooms::Room, rows::Rows},
};

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
}

/// What of the history of a room [`RoomServer::gc`] collects, beside what nothing reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collect {
    /// The room; all rooms if none is named.
    pub room: Option<String>,
    /// The events before this one's position that are no forward extremities lose their states, and their bodies unless
    /// something that is retained needs them. Needs a room.
    pub before: Option<OwnedEventId>,
    /// So do rejected and soft-failed events that no retained event has among its prev events.
    pub refused: bool,
}

/// What [`RoomServer::gc`] freed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Freed {
    /// Events that lost their states.
    pub events: u64,
    /// Bodies of events.
    pub bodies: u64,
    /// Snapshots: rows of packs.
    pub snapshots: u64,
    /// Lists.
    pub lists: u64,
    /// Blocks of state entries.
    pub blocks: u64,
    /// Rooms that a collection of all rooms could not finish, in the order in which it came to them.
    pub left_out: Vec<LeftOut>,
}

/// A room that a collection of all rooms left out. What was freed in it before it failed is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The room.
    pub room_id: String,
    /// `Unavailable` if the room is in quarantine, `Corrupt` if one of its rows is damaged, `Internal` if its rows
    /// contradict each other or its writer panicked just now.
    pub kind: ErrorKind,
    /// What was wrong.
    pub reason: String,
}

/// What [`RoomServer::gc`] would free without touching any history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collectable {
    /// Snapshots: rows of packs.
    pub snapshots: u64,
    /// Lists.
    pub lists: u64,
    /// Blocks of state entries.
    pub blocks: u64,
    /// About how many bytes of keys and values that is.
    pub bytes: u64,
}

impl Collectable {
    /// Adds what could be freed elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { snapshots, lists, blocks, bytes } = other;
        for (sum, more) in [
            (&mut self.snapshots, snapshots),
            (&mut self.lists, lists),
            (&mut self.blocks, blocks),
            (&mut self.bytes, bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Counts steps, for whoever looks on.
struct Steps<'a> {
    progress: &'a mut dyn FnMut(Progress),
    at: Progress,
}

impl Steps<'_> {
    fn done(&mut self) {
        self.at.done = self.at.done.saturating_add(1);
        (self.progress)(self.at);
    }

    /// Gives the steps one by one, and counts each when the next is asked for.
    fn each<I: ExactSizeIterator>(&mut self, steps: I) -> impl Iterator<Item = I::Item> {
        self.at.all = self.at.all.saturating_add(steps.len() as u64);
        let mut is_first = true;
        steps.inspect(move |_| {
            if !std::mem::take(&mut is_first) {
                self.done();
            }
        })
    }
}

impl RoomServer {
    /// Collects garbage: deletes what no retained event can reach, and with [`Collect::before`] or [`Collect::refused`]
    /// more of a room's history.
    ///
    /// A collected event keeps its ID, verdict and place, so that it stays a duplicate if it comes again; a new event that
    /// has it among its prev events waits until the state before it is supplied. One that names a collected event without
    /// a body among its auth events, or in its supplied state, waits until that is submitted again. `StateId`s of states
    /// that no retained event has are `NotFound` afterwards.
    ///
    /// Rooms go on meanwhile: a room's queue waits for a step at most, some milliseconds. What was done stays done if the
    /// process ends. One collection at a time. `progress` is called after each step.
    ///
    /// Reads the event rows, packs and lists of each room; writes nothing in a room with nothing to collect. At the end what
    /// was done is made durable, and views show it; then the store compacts, once for all rooms, the parts of its tables of
    /// which much is garbage. The rest comes back when the store rewrites those parts anyway.
    /// [`RoomServer::disk_bytes`] tells what came back.
    ///
    /// A collection of all rooms goes on after a room that is in quarantine or damaged, and tells of it in
    /// [`Freed::left_out`].
    ///
    /// # Errors
    ///
    /// `NotFound` if the room or the event is not here; `Invalid` if the event has no place in the graph, or `before` comes
    /// without a room; `Unavailable` if the store fails or is closed, or the named room is in quarantine; `Corrupt` if the
    /// named room is damaged; `Busy` if the store cannot take more now.
    pub fn gc(&self, collect: &Collect, progress: &mut dyn FnMut(Progress)) -> Result<Freed> {
        let _alone = self.collecting.lock();
        let (rooms, scope) = self.scope_of(collect)?;
        let mut collected = GarbageRanges::default();
        let freed = self.collect_rooms(&rooms, scope, collect.room.is_some(), &mut collected, progress);
        // What was deleted before an error takes room on the medium all the same, and nobody would tell of it later.
        let synced = until_taken(&|| false, || self.engine.sync());
        let compacted = synced.and_then(|_| self.engine.compact(&collected.garbage()));
        let freed = freed?;
        compacted?;
        Ok(freed)
    }

    /// Collects what is garbage in rooms, one after the other; `collected` notes where.
    fn collect_rooms(
        &self,
        rooms: &[Room],
        scope: Scope,
        is_alone: bool,
        collected: &mut GarbageRanges,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Freed> {
        let quarantined: BTreeMap<String, String> = self.quarantined().into_iter().collect();
        let mut freed = Freed::default();
        let mut steps = Steps { progress, at: Progress { done: 0, all: rooms.len() as u64 } };
        for room in rooms {
            let mut touched = Touched::default();
            let done = match quarantined.get(&*room.id) {
                // Nothing is asked of its writer, but it is none of the rooms that were collected either.
                Some(reason) => Err(Error::unavailable(format!("room {} is in quarantine: {reason}", room.id))),
                None => self.collect_room(room, scope, &mut steps, &mut freed, &mut touched),
            };
            collected.add(touched);
            match done {
                Ok(()) => {}
                Err(_) if is_alone && self.is_gone(room)? => {
                    return Err(Error::not_found(format!("room {} was purged meanwhile", room.id)));
                }
                Err(error) if is_alone => return Err(error),
                Err(error) => freed.left_out.extend(self.leave_out(room, error)?),
            }
            steps.done();
        }
        Ok(freed)
    }

    /// Tells of a room that a collection of all rooms leaves out, if it was not purged meanwhile; gives the error back if it
    /// is none of this room alone.
    ///
    /// A row that is damaged stays so until somebody mends it: if it ended the collection, no other room would ever be
    /// collected again. A store that fails, is full or is closed does so for all rooms.
    fn leave_out(&self, room: &Room, error: Error) -> Result<Option<LeftOut>> {
        // A room that cannot even be looked up is damaged, not gone.
        if self.is_gone(room).unwrap_or(false) {
            return Ok(None);
        }
        let is_quarantined = || self.quarantined().iter().any(|(room_id, _)| **room_id == *room.id);
        if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Internal) && !is_quarantined() {
            return Err(error);
        }
        tracing::warn!(room = %room.id, %error, "a room is left out of the collection of garbage");
        Ok(Some(LeftOut { room_id: room.id.to_string(), kind: error.kind(), reason: error.to_string() }))
    }

    fn scope_of(&self, collect: &Collect) -> Result<(Vec<Room>, Scope)> {
        let view = self.view();
        let mut scope = Scope { before: None, refused: collect.refused };
        let rooms = match &collect.room {
            Some(room_id) => {
                let unknown = || Error::not_found(format!("room {room_id} is not in the store"));
                let room = view.room(room_id)?.ok_or_else(unknown)?;
                if let Some(event_id) = &collect.before {
                    let unknown = || Error::not_found(format!("event {event_id} is not in room {room_id}"));
                    let event = room.event(event_id.as_str())?.ok_or_else(unknown)?;
                    if event.kind == Kind::Outlier {
                        return Err(Error::invalid(format!("event {event_id} has no place in the graph of its room")));
                    }
                    scope.before = Some(event.position.number());
                }
                view.rows().room_by_id(room_id)?.into_iter().collect()
            }
            None if collect.before.is_some() => {
                return Err(Error::invalid("history can be collected in one room at a time: name it"));
            }
            None => view.rows().rooms()?,
        };
        Ok((rooms, scope))
    }

    fn is_gone(&self, room: &Room) -> Result<bool> {
        // As it is now: a room that was just hidden is not gone yet for those who read.
        let newest = self.engine.store().snapshot();
        Ok(Rows::new(&*newest).room_by_id(&room.id)?.is_none_or(|now| now.nid != room.nid))
    }

    fn collect_room(
        &self,
        room: &Room,
        scope: Scope,
        steps: &mut Steps<'_>,
        freed: &mut Freed,
        touched: &mut Touched,
    ) -> Result<()> {
        let mut note = |(part, where_): (FreedCounts, Touched)| {
            freed.count(part);
            touched.add(where_);
        };
        // First the events lose their states: then nothing new can take one of them.
        let events = {
            let view = self.engine.store().snapshot();
            doomed(Rows::new(&*view), room.nid, scope)?
        };
        for part in steps.each(events.chunks(STEP_EVENTS)) {
            let part = part.to_vec();
            note(self.inputs.with_writer(room, move |writer| writer.trim(&part))?);
        }
        // Then what nothing reaches goes.
        let (plan, mut marks) = self.look(room)?;
        let plan = Arc::new(plan);
        for place in steps.each(0..plan.steps()) {
            let plan = plan.clone();
            note(self.inputs.with_writer(room, move |writer| writer.sweep(&plan, place))?);
        }
        let candidates = marks.candidates().to_vec();
        for part in steps.each(candidates.chunks(STEP_EVENTS)) {
            let part = part.to_vec();
            let dropped = self.inputs.with_writer(room, move |writer| {
                let dropped = writer.drop_bodies(&part, &mut marks)?;
                Ok((dropped, marks))
            })?;
            marks = dropped.1;
            note(dropped.0);
        }
        Ok(())
    }

    /// Finds out what can be reached in a room, and which bodies are needed.
    fn look(&self, room: &Room) -> Result<(Plan, Marks)> {
        let view = self.engine.store().snapshot();
        let rows = Rows::new(&*view);
        let head = rows.head(room.nid)?;
        let mut plan = plan_of(rows, room.nid, &head)?;
        plan.find_events(&self.engine.stored_states(&*view, room.nid, &head))?;
        let marks = Marks::new(rows, room.nid, &head, &plan)?;
        Ok((plan, marks))
    }

    /// Purges a room: nobody finds it any more from the first moment on, and all that is stored of it is deleted.
    ///
    /// Inputs that wait in the room's queue are answered with `NotFound`. Other rooms go on. The room can be imported
    /// again as soon as it is hidden, as a new one. Views that were opened before keep showing it. Blocks until its rows
    /// are gone; if the process ends before, that goes on when the store is opened again. `progress` is called after each
    /// step.
    ///
    /// Reads the keys of the room's rows, and writes about as much as it deletes. The store then compacts the parts of its
    /// tables of which the room was much; what is left comes back when the store rewrites those parts anyway.
    /// [`RoomServer::disk_bytes`] tells what came back.
    ///
    /// # Errors
    ///
    /// `NotFound` if the room is not here; `Unavailable` if the store fails or is closed, also while this goes on: what is
    /// left then is deleted when the store is opened again. `Busy` if the store cannot take more now, and nothing was done;
    /// once the room is hidden, this waits for a store that is busy.
    pub fn purge(&self, room_id: &str, progress: &mut dyn FnMut(Progress)) -> Result<Purged> {
        let mut purged = Purged::default();
        if let Some(room) = self.view().room(room_id)? {
            purged.events = u64::from(room.counts().events).saturating_add(u64::from(room.counts().outliers));
            purged.snapshots = u64::from(room.snapshots());
        }
        let mut purging = Purging::new(self.inputs.hide(room_id)?);
        // From here on the room is gone, whatever happens to the rest of this call.
        let is_over = || false;
        until_taken(&is_over, || self.engine.sync())?;
        let mut done = 0u64;
        while until_taken(&is_over, || self.engine.purge_step(&mut purging))? {
            done = done.saturating_add(1);
            progress(Progress { done, all: done.max(purged.events / 256) });
        }
        until_taken(&is_over, || self.engine.sync())?;
        Ok(purged)
    }

    /// Live bytes of all tables on disk, once what is in memory was written out: asked for before and after a collection or a
    /// purge, it tells what came back. What rooms wrote meanwhile makes that less.
    ///
    /// Writes out what is in memory of every table, and waits for it.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store fails or is closed.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.engine.flush(false)?;
        Ok(self.engine.store().table_bytes()?.iter().sum())
    }
}

impl Freed {
    fn count(&mut self, counted: FreedCounts) {
        let FreedCounts { events, bodies, snapshots, lists, blocks } = counted;
        for (sum, more) in [
            (&mut self.events, events),
            (&mut self.bodies, bodies),
            (&mut self.snapshots, snapshots),
            (&mut self.lists, lists),
            (&mut self.blocks, blocks),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What [`RoomServer::gc`] would free in a room without touching its history.
pub(crate) fn collectable(rows: Rows<'_>, room: &Room) -> Result<Collectable> {
    let (Dropped { snapshots, lists, blocks }, bytes) = plan_of(rows, room.nid, &rows.head(room.nid)?)?.counted();
    Ok(Collectable { snapshots, lists, blocks, bytes })
}
