//! Purging rooms. Elsewhere rooms shared rows, so that purging one broke others; what was left of a purged room met the
//! same room when it was joined again; and a purge that was cut off stayed so.

use std::sync::Arc;

use roomserver::{
    ErrorKind, Outcome, RoomServer,
    kv::{Read, TableId, memory::MemoryStore},
    tables::{EVENT_INDEX, META, PURGES, ROOM_IDS, ROOMS, TABLES, USER_ROOMS},
};

use crate::support::{Row, feed, is_whole, open, room_id, rows, server, view};

fn purge(server: &RoomServer, room: &str) -> Result<roomserver::upkeep::Purged, roomserver::Error> {
    server.purge(room, &mut |_| {})
}

/// All rows that rooms have, and those that are derived from them.
fn rows_of_rooms(store: &dyn Read) -> Vec<(&'static str, Vec<Row>)> {
    let numbered = (0..).map(TableId).zip(TABLES);
    let of_rooms =
        numbered.filter(|(id, table)| table.by_room || [EVENT_INDEX, USER_ROOMS, ROOM_IDS, PURGES].contains(id));
    of_rooms.map(|(id, spec)| (spec.spec.name, rows(store, id))).collect()
}

#[test]
fn a_purge_leaves_of_a_room_nothing_and_of_the_others_everything() {
    let (other, gone) = (view("forks-v1.a"), view("forks-v10.a"));
    let (server, store) = server();
    feed(&server, &other.inputs);
    let before = rows_of_rooms(&*store);
    let bytes = server.table_bytes(true).expect("readable");
    feed(&server, &gone.inputs);
    let room = room_id(&server);
    let full = server.disk_bytes().expect("readable");
    let purged = purge(&server, &room).expect("the room is here");
    assert!(purged.events > 400 && purged.snapshots > 0, "{purged:?}");
    assert!(full - server.disk_bytes().expect("readable") > 100_000);
    assert_eq!(rows_of_rooms(&*store), before);
    let after = server.table_bytes(true).expect("readable");
    let grown: Vec<&str> = bytes.iter().zip(&after).filter(|(a, b)| a.1 < b.1).map(|(a, _)| a.0).collect();
    assert!(grown.iter().all(|name| ["meta", "types", "type_names", "state_keys", "state_key_names"].contains(name)));
    assert!(server.view().room(&room).expect("readable").is_none());
    assert_eq!(purge(&server, &room).expect_err("it is gone").kind(), ErrorKind::NotFound);
    assert!(is_whole(&server));
}

#[test]
fn a_purged_room_can_be_imported_again_at_once_and_comes_out_the_same() {
    let view = view("forks-v12.a");
    let (server, store) = server();
    let first = feed(&server, &view.inputs);
    let room = room_id(&server);
    purge(&server, &room).expect("the room is here");
    let again = feed(&server, &view.inputs);
    for (first, again) in first.iter().zip(&again) {
        let (first, again) = (first.as_ref().expect("valid"), again.as_ref().expect("valid"));
        assert_eq!(std::mem::discriminant(first), std::mem::discriminant(again), "{first:?}, then {again:?}");
        assert_eq!(first.position(), again.position());
    }
    let current = server.view().room(&room).expect("readable").expect("it is here again").current_summary().0;
    assert_eq!(current, view.current_state);
    assert!(is_whole(&server));
    let rooms: Vec<Vec<u8>> = rows(&*store, ROOMS).into_iter().map(|row| row.0).collect();
    assert_eq!(rooms, [2u32.to_be_bytes()], "the number of the purged room is not given out again");
}

#[test]
fn the_number_of_a_purged_room_is_not_given_out_again_after_a_restart() {
    let view = view("forks-v10.a");
    let store = Arc::new(MemoryStore::open(&roomserver::tables::specs()));
    for number in 1..=3u32 {
        feed(&open(store.clone()), &view.inputs[..4]);
        let rooms: Vec<Vec<u8>> = rows(&*store, ROOMS).into_iter().map(|row| row.0).collect();
        assert_eq!(rooms, [number.to_be_bytes()]);
        let server = open(store.clone());
        purge(&server, &room_id(&server)).expect("the room is here");
    }
}

#[test]
fn a_purge_that_was_cut_off_at_any_write_goes_on_when_the_store_is_opened_again() {
    let (other, gone) = (view("forks-v1.a"), view("forks-v10.a"));
    let (server, store) = server();
    feed(&server, &other.inputs);
    let before = rows_of_rooms(&*store);
    feed(&server, &gone.inputs);
    let room = room_id(&server);
    let event = gone.inputs[0].event_id.clone();
    server.close().expect("closes");
    let mut cuts = 0;
    loop {
        let cut = store.reopen();
        let server = open(Arc::new(cut.clone()));
        cut.fail_write_after(cuts + 1);
        if purge(&server, &room).is_ok() {
            break;
        }
        cuts += 1;
        drop(server);
        let left = Arc::new(cut.reopen());
        let server = open(left.clone());
        // Hidden from the first write on, whatever is left of it.
        assert_eq!(server.view().room(&room).expect("readable").is_some(), cuts == 1);
        let found = server.view().rooms_of_event(&event).expect("readable").len();
        assert_eq!(found, usize::from(cuts == 1));
        for user in ["@anon-1:s1.example", "@nobody:nowhere.example"] {
            server.view().rooms_of_user(user).expect("readable");
        }
        assert!(is_whole(&server), "cut at write {cuts}");
        server.settle().expect("settles");
        assert!(is_whole(&server), "cut at write {cuts}");
        if cuts > 1 {
            assert_eq!(rows_of_rooms(&*left), before, "cut at write {cuts}");
        }
    }
    assert!(cuts > 4, "{cuts} writes");
    assert!(rows(&*store, META).len() == 1, "nothing was purged here");
}

#[test]
fn inputs_that_wait_in_a_purged_room_are_answered() {
    let view = view("forks-v10.a");
    let (server, _) = server();
    feed(&server, &view.inputs[..8]);
    let room = room_id(&server);
    let rest: Vec<_> = view.inputs[8..].iter().map(|input| server.submit(input.to_input()).expect("taken")).collect();
    purge(&server, &room).expect("the room is here");
    let mut unanswered = 0;
    for ticket in rest {
        match ticket.wait() {
            Ok(Outcome::Duplicate { .. }) => panic!("nothing came twice"),
            Ok(_) => {}
            Err(error) => {
                assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("purged"), "{error}");
                unanswered += 1;
            }
        }
    }
    assert!(unanswered > 0, "the purge came after the last input");
    assert!(server.view().room(&room).expect("readable").is_none());
    assert_eq!(server.backpressure().inputs, 0);
    feed(&server, &view.inputs);
    assert!(is_whole(&server));
}

#[test]
fn a_view_from_before_a_purge_shows_the_room_as_it_was() {
    let gone = view("forks-v10.a");
    let (server, _) = server();
    feed(&server, &gone.inputs);
    let room = room_id(&server);
    let old = server.view();
    purge(&server, &room).expect("the room is here");
    feed(&server, &gone.inputs[..20]);
    let (old, new) = (old.room(&room).expect("readable").expect("it was here"), server.view());
    let new = new.room(&room).expect("readable").expect("it is here again");
    assert_eq!(old.current_state().summary().expect("readable").0, gone.current_state);
    assert_ne!(new.current_state().summary().expect("readable").0, gone.current_state);
    let mut events = 0;
    old.history(&mut |entry| {
        events += 1;
        let told = gone.told.iter().find(|told| *told.event_id == *entry.event.event_id).expect("told");
        assert_eq!(entry.state_before, told.before);
        Ok(true)
    })
    .expect("readable");
    assert_eq!(events, old.counts().events);
    let id = old.current_state().id();
    assert_eq!(new.state(id).expect_err("it is another room's").kind(), ErrorKind::NotFound);
}

/// Whether the purge is the caller's or goes on after a crash: nobody would come back to what it left.
#[test]
fn a_purge_waits_for_a_store_that_is_busy_once() {
    let (other, gone) = (view("forks-v1.a"), view("forks-v10.a"));
    let (server, store) = server();
    feed(&server, &other.inputs);
    let before = rows_of_rooms(&*store);
    feed(&server, &gone.inputs);
    let room = room_id(&server);
    drop(server);
    for busy in 1..12 {
        let left = Arc::new(store.reopen());
        let server = open(left.clone());
        left.refuse_write_after(busy);
        if busy == 1 {
            assert_eq!(purge(&server, &room).expect_err("it cannot be hidden").kind(), ErrorKind::Busy);
            assert!(server.view().room(&room).expect("readable").is_some() && is_whole(&server));
            left.refuse_sync_after(1);
        }
        purge(&server, &room).expect("the store is busy once");
        assert_eq!(rows_of_rooms(&*left), before, "busy at write {busy}");
        drop(server);
        // Cut off after it was hidden, with a store that is busy when it goes on.
        let left = store.reopen();
        let server = open(Arc::new(left.clone()));
        left.fail_write_after(2);
        purge(&server, &room).expect_err("cut off");
        drop(server);
        let left = Arc::new(left.reopen());
        left.refuse_write_after(busy);
        open(left.clone()).settle().expect("settles");
        assert_eq!(rows_of_rooms(&*left), before, "busy at write {busy}, after a restart");
    }
}
