//! Guards the tree against wrong separators after merges, and a crash test against a memory store that keeps too much.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::kv::Access;
use crate::kv::conformance::{self, Place, TABLES};

const TABLE: TableId = TableId(0);

struct InMemory(Option<MemoryStore>);

impl Place for InMemory {
    fn open(&mut self, specs: &[TableSpec]) -> Result<Box<dyn Store>> {
        // A stricter place than a mere reopen: only what was synced is there again.
        let store = self.0.as_ref().map_or_else(|| MemoryStore::open(specs), MemoryStore::drop_unsynced);
        Ok(Box::new(self.0.insert(store).clone()))
    }

    fn open_copy(&mut self, store: &dyn Store, specs: &[TableSpec]) -> Result<Box<dyn Store>> {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a").join("copy");
        store.checkpoint(&directory)?;
        Ok(Box::new(MemoryStore::load(&directory, specs)?))
    }

    fn refuse_next_write(&mut self) -> bool {
        self.0.as_ref().map(|store| store.refuse_write_after(1)).is_some()
    }
}

fn put(store: &MemoryStore, key: &[u8], value: &[u8]) -> Result<u64> {
    let mut batch = Batch::default();
    batch.put(TABLE, key, value);
    store.write(batch)
}

fn rows(store: &impl Read) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(key.to_vec());
        Ok(true)
    };
    store.scan(TABLE, b"", b"", Direction::Forward, &mut visit).unwrap();
    keys
}

#[test]
fn it_conforms() {
    conformance::run(&mut || Box::new(InMemory(None)));
}

#[test]
fn it_conforms_as_a_shared_dyn_store() {
    struct Shared(InMemory);
    impl Place for Shared {
        fn open(&mut self, specs: &[TableSpec]) -> Result<Box<dyn Store>> {
            let store: Arc<dyn Store> = Arc::from(self.0.open(specs)?);
            Ok(Box::new(store))
        }
        fn open_copy(&mut self, store: &dyn Store, specs: &[TableSpec]) -> Result<Box<dyn Store>> {
            self.0.open_copy(store, specs)
        }
    }
    conformance::run(&mut || Box::new(Shared(InMemory(None))));
}

#[test]
fn a_power_loss_takes_exactly_what_was_not_synced() {
    let store = MemoryStore::open(TABLES);
    put(&store, b"synced", b"").unwrap();
    store.sync().unwrap();
    put(&store, b"applied", b"").unwrap();
    assert_eq!(rows(&store.reopen()), [&b"applied"[..], b"synced"]);
    let survivor = store.drop_unsynced();
    assert_eq!(rows(&survivor), [b"synced"]);
    put(&survivor, b"other", b"").unwrap();
    assert_eq!(rows(&store), [&b"applied"[..], b"synced"], "the old store goes its own way");
    assert_eq!(rows(&survivor.drop_unsynced()), [b"synced"]);
}

#[test]
fn after_a_failed_write_only_reads_go_on() {
    let store = MemoryStore::open(TABLES);
    store.fail_write_after(2);
    put(&store, b"1", b"").unwrap();
    let error = put(&store, b"2", b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(std::error::Error::source(&error).unwrap().is::<std::io::Error>());
    assert_eq!(put(&store, b"3", b"").unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.flush(false).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(rows(&store), [b"1"]);
    assert_eq!(rows(&store.drop_unsynced()), Vec::<Vec<u8>>::new(), "nothing was synced");
    let opened = store.reopen();
    put(&opened, b"4", b"").unwrap();
    opened.sync().unwrap();
    assert_eq!(rows(&opened), [b"1", b"4"]);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    let store = MemoryStore::open(TABLES);
    store.fail_sync_after(2);
    put(&store, b"1", b"").unwrap();
    store.sync().unwrap();
    put(&store, b"2", b"").unwrap();
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(put(&store, b"3", b"").unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(rows(&store.drop_unsynced()), [b"1"]);
}

#[test]
fn a_call_that_is_refused_once_poisons_nothing() {
    let store = MemoryStore::open(TABLES);
    store.refuse_write_after(2);
    store.refuse_sync_after(1);
    put(&store, b"1", b"").unwrap();
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Busy);
    assert!(rows(&store.drop_unsynced()).is_empty(), "a sync that is refused makes nothing durable");
    assert_eq!(put(&store, b"2", b"").unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(rows(&store), [b"1"]);
    assert_eq!(put(&store, b"2", b"").unwrap(), 2);
    assert_eq!(store.sync().unwrap(), 2);
    assert_eq!(rows(&store.drop_unsynced()), [b"1", b"2"]);
    store.refuse_write_after(1);
    put(&store.reopen(), b"3", b"").unwrap();
}

#[test]
fn clones_are_handles_of_one_store() {
    let store = MemoryStore::open(TABLES);
    let other = store.clone();
    store.claimable().claim().unwrap();
    assert_eq!(other.claimable().claim().unwrap_err().kind(), ErrorKind::Unavailable);
    for new in [store.reopen(), store.drop_unsynced()] {
        new.claimable().claim().unwrap();
    }
    other.claimable().release();
    store.claimable().claim().unwrap();
    assert_eq!(put(&store, b"1", b"").unwrap(), 1);
    assert_eq!(put(&other, b"2", b"").unwrap(), 2);
    assert_eq!(rows(&store), rows(&other));
}

#[test]
fn a_damaged_copy_is_refused() {
    let store = MemoryStore::open(TABLES);
    for n in 0..10u8 {
        put(&store, &[n], &[n; 5]).unwrap();
    }
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("copy");
    store.checkpoint(&directory).unwrap();
    let file = directory.join("tables");
    let good = std::fs::read(&file).unwrap();
    let kind_of = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        MemoryStore::load(&directory, TABLES).unwrap_err().kind()
    };
    for at in 8..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(kind_of(&bad), ErrorKind::Corrupt, "byte {at} flipped");
        assert_eq!(kind_of(&good[..at]), ErrorKind::Corrupt, "cut at {at}");
    }
    // Lengths that lie under a right checksum.
    for at in 8..good.len() - 8 {
        let mut bad = good[..good.len() - 8].to_vec();
        bad[at] = 0xff;
        let digest = xxhash_rust::xxh3::xxh3_64(&bad);
        bad.extend_from_slice(&digest.to_le_bytes());
        std::fs::write(&file, &bad).unwrap();
        match MemoryStore::load(&directory, TABLES) {
            Ok(_) => {}
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid)),
        }
    }
    assert_eq!(kind_of(b"some other file"), ErrorKind::Invalid);
    std::fs::write(&file, &good).unwrap();
    assert_eq!(rows(&MemoryStore::load(&directory, TABLES).unwrap()).len(), 10);
    let fewer = [TableSpec { name: "left", access: Access::Scan }];
    assert_eq!(MemoryStore::load(&directory, &fewer).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(MemoryStore::load(parent.path(), TABLES).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_clone_of_a_tree_does_not_follow_it() {
    let mut tree = Tree::default();
    (0..100_000u32).for_each(|n| tree.put(n.to_be_bytes().to_vec(), b"value"));
    let (snapshot, key) = (tree.clone(), 500u32.to_be_bytes());
    tree.put(key.to_vec(), b"other");
    assert_eq!((snapshot.get(&key), tree.get(&key)), (Some(&b"value"[..]), Some(&b"other"[..])));
    assert_eq!((snapshot.rows(), snapshot.bytes()), (100_000, 900_000));
    assert_eq!((tree.rows(), tree.bytes()), (100_000, 900_000));
}

#[derive(Debug, Clone)]
enum Step {
    Put(u16, u8),
    PutRun(u16, u16),
    Delete(u16),
    DeleteRange(u16, u16),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_000u16, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..2_000u16, 1..400u16).prop_map(|(from, count)| Step::PutRun(from, count)),
        4 => (0..2_000u16).prop_map(Step::Delete),
        2 => (0..2_000u16, 0..600u16).prop_map(|(from, count)| Step::DeleteRange(from, from.saturating_add(count))),
        1 => Just(Step::Snapshot),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Walks a tree with a visitor.
type Walk<'a> = &'a dyn Fn(&mut dyn FnMut(&Row) -> Result<bool>) -> Result<()>;

fn assert_equal(tree: &Tree, model: &Model, probes: &[u16]) {
    let pairs = |visit: Walk<'_>| {
        let mut rows = Vec::new();
        visit(&mut |row| {
            rows.push((row.key().to_vec(), row.value().to_vec()));
            Ok(true)
        })
        .unwrap();
        rows
    };
    assert_eq!(tree.rows(), model.len() as u64);
    assert_eq!(tree.bytes(), model.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>());
    for probe in probes {
        let key = probe.to_be_bytes().to_vec();
        assert_eq!(tree.get(&key), model.get(&key).map(Vec::as_slice));
        let after: Vec<_> = model.range(key.clone()..).map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(pairs(&|visit| tree.ascend(&key, visit)), after);
        let before: Vec<_> =
            model.range(..=key.clone()).rev().map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(pairs(&|visit| tree.descend(&key, visit)), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_behaves_like_a_sorted_map(
        steps in prop::collection::vec(step(), 1..120),
        probes in prop::collection::vec(0..2_100u16, 4),
    ) {
        let (mut tree, mut model) = (Tree::default(), Model::new());
        let mut snapshots: Vec<(Tree, Model)> = Vec::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    tree.put(key.to_be_bytes().to_vec(), &[value]);
                    model.insert(key.to_be_bytes().to_vec(), vec![value]);
                }
                Step::PutRun(from, count) => {
                    for key in from..from.saturating_add(count) {
                        tree.put(key.to_be_bytes().to_vec(), b"run");
                        model.insert(key.to_be_bytes().to_vec(), b"run".to_vec());
                    }
                }
                Step::Delete(key) => {
                    tree.delete(&key.to_be_bytes());
                    model.remove(key.to_be_bytes().as_slice());
                }
                Step::DeleteRange(from, to) => {
                    let (from, to) = (from.to_be_bytes().to_vec(), to.to_be_bytes().to_vec());
                    tree.delete_range(&from, &to).unwrap();
                    model.retain(|key, _| *key < from || *key >= to);
                }
                Step::Snapshot => snapshots.push((tree.clone(), model.clone())),
            }
        }
        assert_equal(&tree, &model, &probes);
        for (tree, model) in &snapshots {
            assert_equal(tree, model, &probes);
        }
    }
}
