//! Lists are built beside the writer: what is stored, and what is read, must not tell when.

use std::sync::Arc;

use super::*;
use crate::{
    Input, Options, RoomServer,
    encoding::{json::Json, pack::Seal},
    generate::{Room, Spec},
    ids::{EventNid, StateTuple},
    kv::{Store, TableId, claim::Claim, memory::MemoryStore},
    room::{due_lists::DueLists, writer::RoomWriter},
    state::{read, source::StateSource},
    tables::{BLOCKS, TABLES, specs},
    verify::tests::support::rows,
};

/// A room whose members join one after the other.
struct Site {
    store: Arc<MemoryStore>,
    engine: Arc<Engine>,
    room: Room,
    writer: RoomWriter,
}

impl Site {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::open(&specs()));
        let engine = Arc::new(
            Engine::open(Claim::new(store.clone()).unwrap(), 8 << 20, crate::room::points::Shows::Durable).unwrap(),
        );
        let room = Room::new(Spec { members: 10_000, ..Spec::default() }).unwrap();
        let row = engine.new_room(room.id(), room.version()).unwrap();
        let writer = RoomWriter::begin(engine.clone(), row);
        Self { store, engine, room, writer }
    }

    fn step(&mut self) {
        let event = self.room.next_event();
        let json = Json::parse(&event.pdu).unwrap();
        self.writer.process(&Input::new(event.pdu), json).unwrap();
    }

    /// Lets members join until the room has this many seals; after each join `then` is done.
    fn grow(&mut self, seals: usize, mut then: impl FnMut(&Engine, RoomNid)) {
        let mut seen = Vec::new();
        while seen.len() < seals {
            self.step();
            let newest = self.head().seals.last().copied();
            if newest != seen.last().copied() {
                seen.extend(newest);
            }
            then(&self.engine, self.nid());
        }
    }

    fn nid(&self) -> RoomNid {
        self.writer.room().nid
    }

    fn head(&self) -> crate::encoding::head::RoomHead {
        self.engine.rows().head(self.nid()).unwrap()
    }
}

fn build(engine: &Engine, room: RoomNid) {
    let held = engine.due_lists.hold(room);
    engine.build_lists(&held).unwrap();
}

fn has_list(store: &MemoryStore, room: RoomNid, sealed: SnapshotNid) -> bool {
    Rows::new(store).has_list(room, sealed).unwrap()
}

/// Some of the states, old and new, in full.
fn states(store: &Arc<MemoryStore>, room: RoomNid) -> Vec<Vec<(StateTuple, EventNid)>> {
    let engine =
        Engine::open(Claim::new(Arc::new(store.reopen())).unwrap(), 1 << 20, crate::room::points::Shows::Durable)
            .unwrap();
    let last = engine.rows().head(room).unwrap().last_snapshot;
    let states = engine.stored_states(&**engine.store(), room, &engine.rows().head(room).expect("readable"));
    (0..=last)
        .rev()
        .step_by(211)
        .map(|snapshot| read::collect(&states, SnapshotNid::new(snapshot), None).unwrap())
        .collect()
}

fn assert_whole(store: &MemoryStore) {
    let server = RoomServer::open_on(Arc::new(store.reopen()), &Options::default()).unwrap();
    server.verify(&mut |problem| panic!("{problem}")).unwrap();
}

#[test]
fn a_list_is_not_written_with_the_event_and_readers_do_without_it() {
    let mut site = Site::new();
    site.grow(1, |_, _| {});
    let [sealed] = site.head().seals[..] else { panic!("{:?}", site.head().seals) };
    assert!(!has_list(&site.store, site.nid(), sealed));
    let before = states(&site.store, site.nid());
    assert_eq!(before[0].len(), site.head().current.len as usize);
    build(&site.engine, site.nid());
    assert!(has_list(&site.store, site.nid(), sealed));
    assert!(!rows(&*site.store, BLOCKS).is_empty());
    assert_eq!(states(&site.store, site.nid()), before);
    assert_whole(&site.store);
}

#[test]
fn a_view_from_before_a_list_was_built_reads_the_same_after_it() {
    let mut site = Site::new();
    site.grow(1, |_, _| {});
    let head = site.head();
    let last = SnapshotNid::new(head.last_snapshot);
    let view = site.store.snapshot();
    build(&site.engine, site.nid());
    // Another reader brings the list into the caches, and not its blocks.
    let newer = site.engine.stored_states(&*site.store, site.nid(), &head);
    assert!(newer.list(head.seals[0], Seal::Derived).unwrap().is_some());
    let right = states(&site.store, site.nid()).swap_remove(0);
    let older = site.engine.stored_states(&*view, site.nid(), &head).as_of(&head.seals);
    assert_eq!(read::collect(&older, last, None).unwrap(), right);
}

#[test]
fn with_two_lists_lacking_the_room_waits_for_the_older() {
    let mut site = Site::new();
    site.grow(2, |_, _| {});
    let [older, newer] = site.head().seals[..] else { panic!("{:?}", site.head().seals) };
    // Nobody builds them here but the writer itself.
    assert!(has_list(&site.store, site.nid(), older) && has_list(&site.store, site.nid(), newer));
    assert_whole(&site.store);
}

#[test]
fn what_is_stored_does_not_depend_on_when_lists_are_built() {
    let mut lazy = Site::new();
    lazy.grow(3, |_, _| {});
    build(&lazy.engine, lazy.nid());
    let mut eager = Site::new();
    eager.grow(3, build);
    for (number, table) in (0..).zip(TABLES) {
        let [lazy, eager] = [&lazy, &eager].map(|site| rows(&*site.store, TableId(number)));
        assert!(lazy == eager, "{}", table.spec.name);
    }
}

#[test]
fn a_crash_at_every_write_of_a_list_leaves_the_store_whole_and_the_list_is_built_after_it() {
    let mut site = Site::new();
    site.grow(1, |_, _| {});
    let room = site.nid();
    let [sealed] = site.head().seals[..] else { panic!("{:?}", site.head().seals) };
    site.store.sync().unwrap();
    let right = states(&site.store, room);
    let mut crashes = 0;
    loop {
        let store = Arc::new(site.store.reopen());
        store.fail_write_after(crashes + 1);
        let engine =
            Engine::open(Claim::new(store.clone()).unwrap(), 1 << 20, crate::room::points::Shows::Durable).unwrap();
        let held = engine.due_lists.hold(room);
        let built = engine.build_lists(&held);
        let has = has_list(&store, room, sealed);
        assert_eq!(built.is_ok(), has);
        if has {
            break;
        }
        crashes += 1;
        // What was synced before, and all that was applied: both are what a crash can leave.
        for left in [store.drop_unsynced(), store.reopen()].map(Arc::new) {
            assert_eq!(states(&left, room), right);
            let server = RoomServer::open_on(left.clone(), &Options::default()).unwrap();
            server.verify(&mut |problem| panic!("{problem}")).unwrap();
            server.settle().unwrap();
            assert!(has_list(&left, room, sealed));
            assert_eq!(states(&left, room), right);
            assert_whole(&left);
        }
    }
    assert!(crashes > 3, "{crashes}");
}

#[test]
fn who_holds_a_room_keeps_lists_of_it_from_being_built_and_no_other_room() {
    let lists = DueLists::default();
    let [one, two] = [1, 2].map(|number| RoomNid::new(number).unwrap());
    let held = lists.hold(one);
    lists.add(one);
    lists.add(two);
    assert_eq!(lists.next().map(|held| held.room()), Some(two));
    drop(held);
    assert_eq!(lists.next().map(|held| held.room()), Some(one));
    lists.settle();
    lists.close();
    assert!(lists.next().is_none());
}
