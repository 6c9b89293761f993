//! Collecting garbage. Elsewhere nothing collects unreferenced state, deleting can even grow the table, and what was
//! deleted is fetched again and processed a second time.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use roomserver::{
    Durability, Error, ErrorKind, FirstVerdict, Options, Outcome, RoomServer,
    kv::{
        Batch, Claimable, Direction, Garbage, Read, Store, TableId, Value, Visit, counting::Counting,
        memory::MemoryStore,
    },
    tables::EVENT_ROWS,
    upkeep::{Collect, Freed},
};

use crate::support::{
    Known, View, all_rows, assert_retained, feed, history, is_whole, open, room_id, rows, server, view, views,
};

fn collect(room: &str, before: Option<&str>) -> Collect {
    let before = before.map(|event_id| event_id.try_into().expect("an event ID"));
    Collect { room: Some(room.to_owned()), before, ..Collect::default() }
}

fn gc(server: &RoomServer, collect: &Collect) -> Result<Freed, Error> {
    server.gc(collect, &mut |_| {})
}

/// The event at a share of a room's history.
fn event_at(known: &BTreeMap<String, Known>, percent: usize) -> String {
    let mut by_position: Vec<_> = known.iter().map(|(event_id, known)| (known.position, event_id)).collect();
    by_position.sort_unstable();
    by_position[by_position.len() * percent / 100].1.clone()
}

#[test]
fn what_no_event_took_is_freed_and_nothing_else_changes() {
    let mut freed_in_all = 0;
    for view in views().into_iter().filter(|view| !view.name.starts_with("big")) {
        let (server, store) = server();
        feed(&server, &view.inputs);
        let room = room_id(&server);
        let before = history(&server, &room);
        let told = server.stats(false).expect("readable").collectable;
        let full = server.disk_bytes().expect("readable");
        let freed = gc(&server, &Collect::default()).expect("collects");
        let came_back = full - server.disk_bytes().expect("readable");
        assert_eq!((freed.snapshots, freed.lists, freed.blocks), (told.snapshots, told.lists, told.blocks));
        assert_eq!((freed.events, freed.bodies), (0, 0));
        assert!((came_back > 0) == (freed.snapshots > 0), "{came_back}, {freed:?}");
        freed_in_all += freed.snapshots;
        assert_eq!(history(&server, &room), before, "{}", view.name);
        assert!(is_whole(&server), "{}", view.name);
        let rest = server.stats(false).expect("readable").collectable;
        assert_eq!((rest.snapshots, rest.bytes), (0, 0), "{}", view.name);
        let settled = all_rows(&*store);
        assert_eq!(gc(&server, &Collect::default()).expect("collects"), Freed::default());
        assert_eq!(all_rows(&*store), settled, "a collection of nothing writes nothing");
        let again = open(Arc::new(store.reopen()));
        assert_eq!(history(&again, &room), before, "{}", view.name);
    }
    assert!(freed_in_all > 0, "no view has a current state that no event took");
}

#[test]
fn history_before_an_event_goes_and_what_is_retained_stays() {
    for view in views().into_iter().filter(|view| view.name.starts_with("forks")) {
        let (server, store) = server();
        feed(&server, &view.inputs);
        let room = room_id(&server);
        let before = history(&server, &room);
        let cut = event_at(&before, 60);
        let full = server.disk_bytes().expect("readable");
        let freed = gc(&server, &collect(&room, Some(&cut))).expect("collects");
        assert!(freed.events > 100 && freed.bodies > 50, "{freed:?}");
        assert!(full - server.disk_bytes().expect("readable") > 20_000);
        let after = history(&server, &room);
        assert_retained(&before, &after);
        let extremities = server.view().room(&room).expect("readable").expect("here").extremities().expect("readable");
        for (event_id, known) in &after {
            let is_extremity = extremities.iter().any(|extremity| extremity.as_str() == event_id);
            let is_old = known.position < before[&cut].position && !is_extremity;
            assert!(known.collected == is_old || known.verdict == "rejected", "{event_id}: {known:?}");
        }
        assert!(is_whole(&server), "{}", view.name);
        // Nothing comes back, whatever is sent again.
        let settled = all_rows(&*store);
        for (input, outcome) in view.inputs.iter().zip(feed(&server, &view.inputs)) {
            let Ok(Outcome::Duplicate { first, .. }) = outcome else { panic!("{outcome:?}") };
            let verdict = match first {
                FirstVerdict::Accepted => "accepted",
                FirstVerdict::SoftFailed => "soft_failed",
                _ => "rejected",
            };
            if let Some(known) = before.get(&input.event_id) {
                assert_eq!(known.verdict, verdict);
            }
        }
        assert_eq!(all_rows(&*store), settled);
        // The same cut again finds nothing, a later one more.
        let again = gc(&server, &collect(&room, Some(&cut))).expect("collects");
        assert_eq!((again.events, again.bodies, again.snapshots), (0, 0, 0));
        let more = gc(&server, &collect(&room, Some(&event_at(&before, 90)))).expect("collects");
        assert!(more.events > 50, "{more:?}");
        assert_retained(&before, &history(&server, &room));
        assert!(is_whole(&server), "{}", view.name);
    }
}

#[test]
fn a_room_goes_on_after_a_collection_as_if_there_had_been_none() {
    let view = view("forks-v10.a");
    let (half, rest) = view.inputs.split_at(view.inputs.len() / 2);
    let (server, _) = server();
    feed(&server, half);
    let room = room_id(&server);
    let cut = event_at(&history(&server, &room), 40);
    gc(&server, &collect(&room, Some(&cut))).expect("collects");
    let outcomes = feed(&server, rest);
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, Err(_) | Ok(Outcome::Parked(_)))), "nothing reaches back");
    let known = history(&server, &room);
    for told in &view.told {
        let Some(known) = known.get(&told.event_id).filter(|known| !known.collected) else { continue };
        assert_eq!((known.before, known.after), (told.before, told.after), "{}", told.event_id);
        assert!(told.verdict.is_none_or(|verdict| verdict == known.verdict), "{}", told.event_id);
    }
    let now = server.view().room(&room).expect("readable").expect("here").current_summary().0;
    assert_eq!(now, view.current_state);
    assert!(is_whole(&server));
}

#[test]
fn a_collection_that_was_cut_off_at_any_write_leaves_a_whole_store_and_can_be_made_again() {
    let view = view("forks-v10.a");
    let (server, store) = server();
    feed(&server, &view.inputs);
    let room = room_id(&server);
    let before = history(&server, &room);
    let what = collect(&room, Some(&event_at(&before, 70)));
    server.close().expect("closes");
    let mut cuts = 0;
    loop {
        let cut = store.reopen();
        let server = open(Arc::new(cut.clone()));
        cut.fail_write_after(cuts + 1);
        let done = gc(&server, &what);
        let left = if done.is_ok() { cut.drop_unsynced() } else { cut.reopen() };
        drop(server);
        let server = open(Arc::new(left));
        assert!(is_whole(&server), "cut at write {cuts}");
        assert_retained(&before, &history(&server, &room));
        if done.is_ok() {
            break;
        }
        gc(&server, &what).expect("collects");
        assert!(is_whole(&server), "cut at write {cuts}");
        let after = history(&server, &room);
        assert_retained(&before, &after);
        assert!(after.values().filter(|known| known.collected).count() > 100);
        cuts += 1;
    }
    assert!(cuts >= 3, "{cuts} writes");
}

#[test]
fn a_token_of_a_collected_state_is_not_found_and_an_old_view_still_has_it() {
    let view = view("forks-v10.a");
    let (server, _) = server();
    feed(&server, &view.inputs);
    let room = room_id(&server);
    let known = history(&server, &room);
    let old = server.view();
    let old_room = old.room(&room).expect("readable").expect("here");
    let (event_id, was) = known.iter().find(|(_, known)| known.position == 200).expect("an event");
    let token = old_room.event(event_id).expect("readable").expect("here").state_after.expect("it has one");
    gc(&server, &collect(&room, Some(&event_at(&known, 90)))).expect("collects");
    for _ in 0..2 {
        let now = server.view();
        let now = now.room(&room).expect("readable").expect("here");
        if let Err(error) = now.state(token).map(|_| ()) {
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        assert_eq!(old_room.state(token).expect("it has it").summary().expect("readable").0, was.after.expect("told"));
        assert_eq!(old_room.event(event_id).expect("readable").expect("here").state_after, Some(token));
    }
    assert_eq!(old_room.current_state().summary().expect("readable").0, view.current_state);
}

#[test]
fn a_room_can_be_used_while_it_is_collected() {
    let view = view("forks-v1.a");
    let (server, _) = server();
    feed(&server, &view.inputs[..10]);
    let room = room_id(&server);
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let mut freed = 0;
            for _ in 0..60 {
                freed += gc(&server, &Collect::default()).expect("collects").snapshots;
            }
            freed
        });
        feed(&server, &view.inputs[10..]);
        collecting.join().expect("no panic")
    });
    let known = history(&server, &room);
    for told in &view.told {
        let known = &known[&told.event_id];
        assert_eq!((known.before, known.after), (told.before, told.after), "{}", told.event_id);
    }
    assert!(is_whole(&server));
}

/// A store that counts its open snapshots, and remembers how many were open at a compaction.
struct Watched {
    inner: Counting<MemoryStore>,
    open: Arc<AtomicUsize>,
    open_at_compaction: AtomicUsize,
}

struct WatchedSnapshot(Arc<dyn Read>, Arc<AtomicUsize>);

impl Drop for WatchedSnapshot {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Read for WatchedSnapshot {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>, Error> {
        self.0.get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.0.multi_get(table, keys)
    }

    fn scan(&self, table: TableId, at: &[u8], start: &[u8], way: Direction, visit: Visit<'_>) -> Result<(), Error> {
        self.0.scan(table, at, start, way, visit)
    }
}

impl Read for Watched {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Value>, Error> {
        self.inner.get(table, key)
    }

    fn multi_get(&self, table: TableId, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.inner.multi_get(table, keys)
    }

    fn scan(&self, table: TableId, at: &[u8], start: &[u8], way: Direction, visit: Visit<'_>) -> Result<(), Error> {
        self.inner.scan(table, at, start, way, visit)
    }
}

impl Store for Watched {
    fn claimable(&self) -> &Claimable {
        self.inner.claimable()
    }

    fn snapshot(&self) -> Arc<dyn Read> {
        self.open.fetch_add(1, Ordering::AcqRel);
        Arc::new(WatchedSnapshot(self.inner.snapshot(), self.open.clone()))
    }

    fn write(&self, batch: Batch) -> Result<u64, Error> {
        self.inner.write(batch)
    }

    fn sync(&self) -> Result<u64, Error> {
        self.inner.sync()
    }

    fn flush(&self, compact: bool) -> Result<(), Error> {
        self.inner.flush(compact)
    }

    fn compact(&self, garbage: &[Garbage]) -> Result<(), Error> {
        self.open_at_compaction.fetch_add(self.open.load(Ordering::Acquire), Ordering::AcqRel);
        self.inner.compact(garbage)
    }

    fn table_bytes(&self) -> Result<Vec<u64>, Error> {
        self.inner.table_bytes()
    }

    fn checkpoint(&self, directory: &Path) -> Result<(), Error> {
        self.inner.checkpoint(directory)
    }
}

/// A view that is still open keeps what it sees on disk, compacted or not: only the one is, which readers see from then on.
/// And a compaction for each room would write out what every table has in memory, for each room.
#[test]
fn all_rooms_are_compacted_once_and_no_view_from_before_is_open_then() {
    let store = Arc::new(Watched {
        inner: Counting::new(MemoryStore::open(&roomserver::tables::specs())),
        open: Arc::default(),
        open_at_compaction: AtomicUsize::new(0),
    });
    let server = RoomServer::open_on(store.clone(), &Options::default()).expect("opens");
    for view in views().into_iter().filter(|view| view.name.starts_with("forks")) {
        feed(&server, &view.inputs);
    }
    let rooms: Vec<String> = {
        let view = server.view();
        view.rooms().expect("readable").iter().map(|room| room.id().to_owned()).collect()
    };
    assert!(rooms.len() > 1);
    store.inner.take();
    let freed = gc(&server, &Collect::default()).expect("collects");
    let counts = store.inner.take();
    assert!(freed.snapshots > 0 && counts.ranges_compacted > 0, "{freed:?} {counts:?}");
    assert_eq!(counts.compactions, 1);
    // With nothing to collect, nothing is written, and nothing compacted.
    assert_eq!(gc(&server, &Collect::default()).expect("collects"), Freed::default());
    let counts = store.inner.take();
    assert_eq!((counts.batches, counts.ranges_compacted), (0, 0));
    server.purge(&rooms[0], &mut |_| {}).expect("it is here");
    assert_eq!(store.inner.take().compactions, 1);
    assert_eq!(store.open_at_compaction.load(Ordering::Acquire), 3, "one at each of three");
}

/// A view that nobody can see would keep all that was deleted and replaced since.
#[test]
fn an_engine_keeps_one_view_of_its_store_and_none_if_it_shows_the_newest_state() {
    for (durability, kept) in [(Durability::Synced, 1), (Durability::Buffered, 0)] {
        let store = Arc::new(Watched {
            inner: Counting::new(MemoryStore::open(&roomserver::tables::specs())),
            open: Arc::default(),
            open_at_compaction: AtomicUsize::new(0),
        });
        let options = &mut Options::default();
        options.durability = durability;
        let server = RoomServer::open_on(store.clone(), options).expect("opens");
        feed(&server, &view("forks-v10.a").inputs[..100]);
        drop(server.view());
        assert_eq!(store.open.load(Ordering::Acquire), kept, "{durability:?}");
    }
}

#[test]
fn a_collection_waits_for_a_sync_that_is_refused_once() {
    let inner = MemoryStore::open(&roomserver::tables::specs());
    let store = Arc::new(Counting::new(inner.clone()));
    let server = open(store.clone());
    feed(&server, &view("forks-v10.a").inputs);
    store.take();
    inner.refuse_sync_after(1);
    let freed = gc(&server, &Collect::default()).expect("it is refused once");
    assert!(freed.snapshots > 0 && store.take().ranges_compacted > 0, "{freed:?}");
}

#[test]
fn a_damaged_room_is_left_out_of_a_collection_of_all_rooms_and_told_of() {
    let (server, store) = server();
    for name in ["forks-v10.a", "forks-v1.a"] {
        feed(&server, &view(name).inputs);
    }
    drop(server);
    let whole = open(Arc::new(store.reopen()));
    let all = gc(&whole, &Collect::default()).expect("collects");
    // A row of an event of the first room.
    let (key, mut value) = rows(&*store, EVENT_ROWS)[7].clone();
    value[2] ^= 1;
    let mut batch = Batch::default();
    batch.put(EVENT_ROWS, key, value);
    store.write(batch).expect("writes");
    let server = open(store);
    let bad = server.view().rooms().expect("readable")[0].id().to_owned();
    let freed = gc(&server, &Collect::default()).expect("the other room is collected");
    assert!(freed.snapshots > 0 && freed.snapshots < all.snapshots, "{freed:?} of {all:?}");
    let [left_out] = freed.left_out.as_slice() else { panic!("{freed:?}") };
    assert_eq!((&*left_out.room_id, left_out.kind), (&*bad, ErrorKind::Corrupt));
    assert!(left_out.reason.contains("event_rows"), "{left_out:?}");
    assert_eq!(gc(&server, &collect(&bad, None)).expect_err("it was named").kind(), ErrorKind::Corrupt);
}

#[test]
fn a_store_that_fails_ends_a_collection_of_all_rooms() {
    let (server, store) = server();
    for name in ["forks-v10.a", "forks-v1.a"] {
        feed(&server, &view(name).inputs);
    }
    store.refuse_write_after(1);
    assert_eq!(gc(&server, &Collect::default()).expect_err("busy").kind(), ErrorKind::Busy);
    store.fail_write_after(1);
    assert_eq!(gc(&server, &Collect::default()).expect_err("poisoned").kind(), ErrorKind::Unavailable);
}

/// What was deleted before a failure takes room on the medium all the same, and the next collection finds nothing there.
#[test]
fn a_collection_that_ends_with_an_error_gives_back_what_it_deleted() {
    let inner = MemoryStore::open(&roomserver::tables::specs());
    let store = Arc::new(Counting::new(inner.clone()));
    let server = open(store.clone());
    for name in ["forks-v10.a", "forks-v1.a"] {
        feed(&server, &view(name).inputs);
    }
    store.take();
    inner.refuse_write_after(2);
    assert_eq!(gc(&server, &Collect::default()).expect_err("busy").kind(), ErrorKind::Busy);
    let counts = store.take();
    assert!(counts.batches > 0 && counts.ranges_compacted > 0, "{counts:?}");
}

/// Random inputs, collections, restarts and purges, against what the homeserver said of each event: for as many seeds as
/// `ROOMSERVER_GC_SEEDS` says (1).
#[test]
fn any_order_of_inputs_collections_restarts_and_purges_keeps_every_retained_state() {
    let seeds = std::env::var("ROOMSERVER_GC_SEEDS").map_or(1, |seeds| seeds.parse().expect("a number"));
    for seed in 1..=seeds {
        for view in views().into_iter().filter(|view| view.name.starts_with("forks")) {
            Model::new(view, seed).run();
        }
    }
}

struct Model {
    view: View,
    random: u64,
    store: Arc<MemoryStore>,
    server: Option<RoomServer>,
    fed: usize,
}

impl Model {
    fn new(view: View, seed: u64) -> Self {
        let (server, store) = server();
        Self { view, random: seed, store, server: Some(server), fed: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    fn server(&self) -> &RoomServer {
        self.server.as_ref().expect("open")
    }

    fn run(&mut self) {
        while self.fed < self.view.inputs.len() {
            match self.below(20) {
                0..=12 => {
                    let more = 1 + self.below(25) as usize;
                    let end = (self.fed + more).min(self.view.inputs.len());
                    let outcomes = feed(self.server(), &self.view.inputs[self.fed..end]);
                    assert!(outcomes.iter().all(Result::is_ok));
                    self.fed = end;
                }
                _ if self.fed == 0 => {}
                13 | 14 => self.collect(None),
                15 | 16 => {
                    let percent = 10 + self.below(50) as usize;
                    self.collect(Some(percent));
                }
                17 | 18 => {
                    self.server().close().expect("closes");
                    self.server = None;
                    self.store = Arc::new(self.store.reopen());
                    self.server = Some(open(self.store.clone()));
                }
                _ => {
                    if self.below(4) == 0 {
                        let room = room_id(self.server());
                        self.server().purge(&room, &mut |_| {}).expect("it is here");
                        self.fed = 0;
                    }
                }
            }
        }
        self.check();
    }

    fn collect(&mut self, percent: Option<usize>) {
        let room = room_id(self.server());
        let known = history(self.server(), &room);
        if known.is_empty() {
            return;
        }
        let before = percent.map(|percent| event_at(&known, percent));
        let mut what = collect(&room, before.as_deref());
        what.refused = self.below(3) == 0;
        gc(self.server(), &what).expect("collects");
        assert_retained(&known, &history(self.server(), &room));
        self.check();
    }

    /// Everything that is decided and not collected is as the homeserver said, but for what waits and what came after it.
    fn check(&self) {
        let room = room_id(self.server());
        assert!(is_whole(self.server()), "{}", self.view.name);
        let known = history(self.server(), &room);
        for told in &self.view.told {
            let Some(known) = known.get(&told.event_id).filter(|known| !known.collected) else { continue };
            assert_eq!((known.before, known.after), (told.before, told.after), "{}", told.event_id);
        }
    }
}
