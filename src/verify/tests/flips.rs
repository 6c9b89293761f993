//! Each byte of each stored value of a small store, flipped: whoever reads gets the same answer, or an error that names the
//! row. Another answer, silently, is the fault that this guards against.

use std::{fmt::Debug, sync::Arc};

use super::{
    room::{ALICE, Author, BOB, ROOM, live, short_story, small_story},
    support::{self, all_rows},
};
use crate::{
    Durability, Error, Options, RoomServer,
    error::{ErrorKind, Result},
    kv::{Batch, Store, TableId, memory::MemoryStore},
    query::{Room, View},
    tables::{META, name},
};

/// A room that is purged: it leaves the number that no other room gets.
const GONE: &str = "!gone:a.example";

/// A room with events of every sort, another one, and what a third has left.
fn store() -> Arc<MemoryStore> {
    let (server, store) = support::server();
    let gone = Author::new(GONE).base();
    for input in small_story().into_iter().chain(short_story()).chain(gone.iter().map(live)) {
        server.submit(input).and_then(crate::Ticket::wait).expect("every input is taken");
    }
    server.settle().expect("settles");
    server.purge(GONE, &mut |_| {}).expect("purges");
    server.close().expect("closes");
    store
}

/// What the public interface answers, as text.
struct Answers {
    texts: Vec<String>,
    /// The events whose answers are asked for: those of the whole store.
    events: Vec<String>,
}

impl Answers {
    fn add(&mut self, what: impl Debug) {
        self.texts.push(format!("{what:?}"));
    }

    fn read(store: Arc<MemoryStore>, events: &[String]) -> Result<Self> {
        let options = &mut Options::default();
        options.durability = Durability::Buffered;
        options.writers = 1;
        let server = RoomServer::open_on(store, options)?;
        server.settle()?;
        assert_eq!(server.quarantined(), [], "a writer panicked");
        let mut answers = Self { texts: Vec::new(), events: events.to_vec() };
        let view = server.view();
        answers.rooms(&view)?;
        Ok(answers)
    }

    fn rooms(&mut self, view: &View) -> Result<()> {
        for room in view.rooms()? {
            self.room(&room)?;
        }
        for room_id in [ROOM, "!purged:a.example", "!nowhere:a.example"] {
            self.add(view.room(room_id)?.map(|room| room.id().to_owned()));
        }
        for user in [ALICE, BOB, "@eve:c.example"] {
            self.add(view.rooms_of_user(user)?);
        }
        for event in self.events.clone() {
            let rooms = view.rooms_of_event(&event)?;
            self.add(rooms.iter().map(|room| room.id().to_owned()).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn room(&mut self, room: &Room) -> Result<()> {
        self.add((room.id(), room.version(), room.counts(), room.snapshots(), room.extremities()?));
        self.add((room.current_summary(), room.member_counts()?));
        self.add(room.parked()?);
        self.state(&room.current_state())?;
        room.history(&mut |entry| {
            self.add(entry);
            Ok(true)
        })?;
        room.records(&mut |record| {
            self.add(record);
            Ok(true)
        })?;
        for event_id in self.events.clone() {
            self.add(room.standing(&event_id)?);
            let event = room.event(&event_id)?;
            for state in event.iter().flat_map(|event| [event.state_before, event.state_after]).flatten() {
                self.state(&room.state(state)?)?;
            }
            self.add(event);
        }
        Ok(())
    }

    fn state(&mut self, state: &crate::query::Snapshot) -> Result<()> {
        let entries = state.entries()?;
        for entry in &entries {
            assert_eq!(state.get(&entry.event_type, &entry.state_key)?.as_ref(), Some(&entry.event_id));
        }
        self.add((state.summary()?, state.len()?, state.entries_of_type("m.room.member")?));
        let mut keys: Vec<(&str, &str)> = entries.iter().map(|entry| (&*entry.event_type, &*entry.state_key)).collect();
        keys.push(("m.room.topic", "none"));
        self.add(state.get_many(&keys)?);
        self.add(entries);
        Ok(())
    }
}

/// The event IDs of the store, parked and unknown ones included.
fn events(store: &Arc<MemoryStore>) -> Vec<String> {
    let server = support::open(store.clone());
    let view = server.view();
    let mut events = vec!["$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()];
    for room in view.rooms().expect("readable") {
        let visit = &mut |record: crate::query::Record| {
            events.push(record.event.event_id.to_string());
            Ok(true)
        };
        room.records(visit).expect("readable");
        events.extend(room.parked().expect("readable").into_iter().map(|parked| parked.event_id.to_string()));
    }
    events.sort();
    events.dedup();
    events
}

/// Whether an error says which row is damaged.
fn names_the_row(error: &Error, table: TableId, key: &[u8]) -> bool {
    if (table, key) == (META, b"format") {
        return error.to_string().starts_with("the store is of format version ") || error.kind() == ErrorKind::Corrupt;
    }
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    error.kind() == ErrorKind::Corrupt && error.to_string().starts_with(&format!("table {}, key {key}, ", name(table)))
}

#[test]
fn a_flipped_byte_of_any_stored_value_is_an_error_that_names_the_row_or_changes_no_answer() {
    let whole = store();
    let events = events(&whole);
    let right = Answers::read(Arc::new(whole.reopen()), &events).expect("readable").texts;
    assert!(events.len() > 20 && right.len() > 150, "{} events, {} answers", events.len(), right.len());
    let (mut flipped, mut found, mut faults) = (0, 0, Vec::new());
    let all = all_rows(&*whole);
    let empty: Vec<_> = all.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| name(*table)).collect();
    // Lists and blocks have a test of their own; a mark in `purges` is gone once the purge is done.
    assert_eq!(empty, ["purges", "lists", "blocks"]);
    let all = all.into_iter();
    for (table, (key, value)) in all.flat_map(|(table, rows)| rows.into_iter().map(move |row| (table, row))) {
        for place in 0..value.len() {
            let mut damaged = value.clone();
            damaged[place] ^= if place % 2 == 0 { 0xff } else { 1 };
            let store = whole.reopen();
            let mut batch = Batch::default();
            batch.put(table, key.clone(), damaged);
            store.write(batch).expect("writable");
            flipped += 1;
            match Answers::read(Arc::new(store), &events) {
                Ok(answers) if answers.texts == right => {}
                Ok(_) => faults.push(format!("{} {key:02x?} at {place}: another answer", name(table))),
                Err(error) if names_the_row(&error, table, &key) => found += 1,
                Err(error) => faults.push(format!("{} {key:02x?} at {place}: {error}", name(table))),
            }
        }
    }
    println!("{flipped} bytes flipped, {found} errors");
    assert!(faults.is_empty(), "{} of {flipped}\n{}", faults.len(), faults.join("\n"));
    assert!(found * 10 > flipped * 9, "{found} errors for {flipped} bytes");
}
