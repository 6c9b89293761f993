//! What every backend must do, as a suite that a host runs over its own.
//!
//! ```
//! use roomserver::Error;
//! use roomserver::kv::conformance::{self, Place};
//! use roomserver::kv::{Store, TableSpec, memory::MemoryStore};
//!
//! /// Where the backend under test keeps one store; here in memory.
//! struct InMemory(Option<MemoryStore>);
//!
//! impl Place for InMemory {
//!     fn open(&mut self, specs: &[TableSpec]) -> Result<Box<dyn Store>, Error> {
//!         let store = self.0.as_ref().map_or_else(|| MemoryStore::open(specs), MemoryStore::reopen);
//!         Ok(Box::new(self.0.insert(store).clone()))
//!     }
//!
//!     fn open_copy(&mut self, store: &dyn Store, specs: &[TableSpec]) -> Result<Box<dyn Store>, Error> {
//!         let parent = tempfile::tempdir().expect("a place for the copy");
//!         let directory = parent.path().join("copy");
//!         store.checkpoint(&directory)?;
//!         Ok(Box::new(MemoryStore::load(&directory, specs)?))
//!     }
//!
//!     fn refuse_next_write(&mut self) -> bool {
//!         self.0.as_ref().map(|store| store.refuse_write_after(1)).is_some()
//!     }
//! }
//!
//! conformance::run(&mut || Box::new(InMemory(None)));
//! ```
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "it is a test suite: it tells by panicking")]

mod claims;
mod place;
mod space;

use self::claims::{
    a_store_is_claimed_once_until_it_is_released, a_store_that_is_opened_again_or_copied_is_claimed_by_nobody,
};
use self::place::{LEFT, RIGHT, all, get, keys, put, put_keys, scan};
pub use self::place::{Place, TABLES};
use self::space::{
    a_compacted_range_gives_back_its_bytes, a_compaction_changes_no_row, bytes_of_tables_follow_their_rows,
    rows_that_were_deleted_one_by_one_give_back_their_bytes,
};
use super::{Batch, Direction, Read, TableId};
use crate::error::{Error, ErrorKind};

/// One claim: its name, and the check that panics if it does not hold.
pub type Claim = (&'static str, fn(&mut dyn Place));

macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        /// All claims, for a host that runs or reports them one by one.
        pub const CLAIMS: &[Claim] = &[$((stringify!($name), $name)),*];
    };
}

claims! {
    a_new_store_is_empty,
    a_row_is_got_as_it_was_put,
    tables_are_apart,
    keys_are_ordered_as_bytes,
    a_scan_stays_within_its_prefix,
    a_scan_starts_at_its_start,
    a_scan_ends_when_told,
    a_scan_does_not_see_what_is_written_meanwhile,
    a_failing_visit_ends_the_scan,
    a_start_outside_the_prefix_is_refused,
    many_answers_come_in_the_order_of_the_keys,
    deleting_an_absent_key_is_no_error,
    a_range_is_deleted_without_its_end,
    an_empty_range_deletes_nothing,
    changes_of_a_batch_apply_in_order,
    a_batch_that_names_no_table_leaves_nothing,
    a_write_that_is_refused_once_leaves_nothing_and_the_next_succeeds,
    a_store_is_claimed_once_until_it_is_released,
    a_store_that_is_opened_again_or_copied_is_claimed_by_nobody,
    a_batch_is_seen_whole_or_not_at_all,
    a_snapshot_does_not_change,
    sequence_numbers_grow,
    a_sync_covers_every_batch_before_it,
    writers_do_not_lose_each_others_batches,
    synced_rows_are_there_after_a_reopen,
    a_flush_changes_no_row,
    bytes_of_tables_follow_their_rows,
    a_compacted_range_gives_back_its_bytes,
    rows_that_were_deleted_one_by_one_give_back_their_bytes,
    a_compaction_changes_no_row,
    a_copy_is_equal_and_apart,
    a_copy_needs_a_new_directory,
}

/// Checks every claim on a new place each; panics with the name of the first that does not hold.
pub fn run(new_place: &mut dyn FnMut() -> Box<dyn Place>) {
    for (name, check) in CLAIMS {
        let mut place = new_place();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut *place)));
        assert!(outcome.is_ok(), "the store breaks the claim: {name}");
    }
}

fn a_new_store_is_empty(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    for table in [LEFT, RIGHT] {
        assert_eq!(get(&*store, table, b""), None);
        assert_eq!(get(&*store, table, b"key"), None);
        assert!(all(&*store, table).is_empty());
        assert!(scan(&*store, table, b"", b"\xff", Direction::Reverse).is_empty());
    }
    assert_eq!(store.get(TableId(2), b"key").unwrap_err().kind(), ErrorKind::Internal, "there is no third table");
}

fn a_row_is_got_as_it_was_put(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let large: Vec<u8> = (0..300_000u32).flat_map(u32::to_be_bytes).collect();
    let long_key = vec![7; 5_000];
    let rows: [(&[u8], &[u8]); 6] = [
        (b"plain", b"value"),
        (b"empty value", b""),
        (b"", b"empty key"),
        (b"\0", b"\0"),
        (b"large", &large),
        (&long_key, b"long key"),
    ];
    for (key, value) in rows {
        put(&*store, RIGHT, key, value);
    }
    for (key, value) in rows {
        assert_eq!(get(&*store, RIGHT, key).as_deref(), Some(value));
    }
    put(&*store, RIGHT, b"plain", b"other");
    assert_eq!(get(&*store, RIGHT, b"plain").unwrap(), b"other", "a later put replaces an earlier one");
    assert_eq!(get(&*store, RIGHT, b"plai"), None, "a prefix of a key is another key");
    assert_eq!(get(&*store, RIGHT, b"plain\0"), None, "an extension of a key is another key");
    assert_eq!(all(&*store, RIGHT).len(), rows.len());
}

fn tables_are_apart(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let mut batch = Batch::default();
    batch.put(LEFT, *b"key", *b"left");
    batch.put(RIGHT, *b"key", *b"right");
    store.write(batch).unwrap();
    assert_eq!(get(&*store, LEFT, b"key").unwrap(), b"left");
    assert_eq!(get(&*store, RIGHT, b"key").unwrap(), b"right");
    let mut batch = Batch::default();
    batch.delete_range(LEFT, *b"", *b"\xff");
    store.write(batch).unwrap();
    assert!(all(&*store, LEFT).is_empty());
    assert_eq!(all(&*store, RIGHT), [(b"key".to_vec(), b"right".to_vec())]);
}

fn keys_are_ordered_as_bytes(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut batch = Batch::default();
    // 7 and 257 have no common factor, so all 257 pairs come, out of order.
    for n in (0..257u16).map(|n| n * 7 % 257) {
        let key = n.to_be_bytes().to_vec();
        batch.put(LEFT, key.clone(), *b"");
        expected.push(key);
    }
    for key in [&b""[..], b"\0", b"\0\0\0", b"\xff", b"\xff\xff", b"\x01", b"\x80"] {
        batch.put(LEFT, key, *b"");
        expected.push(key.to_vec());
    }
    store.write(batch).unwrap();
    expected.sort();
    assert_eq!(keys(&*store, b"", b"", Direction::Forward), expected);
    expected.reverse();
    assert_eq!(keys(&*store, b"", b"\xff\xff\xff", Direction::Reverse), expected);
}

fn a_scan_stays_within_its_prefix(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(
        &*store,
        &[b"a", b"a\xff", b"a\xff\xff", b"a\xff\xffz", b"ab", b"b", b"ba", b"\xfe", b"\xff", b"\xff\xff", b"\xffa"],
    );
    for (prefix, last, expected) in [
        (&b"a"[..], &b"a\xff\xff\xff"[..], &[&b"a"[..], b"ab", b"a\xff", b"a\xff\xff", b"a\xff\xffz"][..]),
        (b"a\xff", b"a\xff\xff\xff", &[b"a\xff", b"a\xff\xff", b"a\xff\xffz"]),
        (b"b", b"b\xff", &[b"b", b"ba"]),
        (b"\xff", b"\xff\xff\xff", &[b"\xff", b"\xffa", b"\xff\xff"]),
        (b"\xff\xff", b"\xff\xff\xff", &[b"\xff\xff"]),
        (b"aa", b"aa\xff", &[]),
        (b"c", b"c\xff", &[]),
    ] {
        assert_eq!(keys(&*store, prefix, prefix, Direction::Forward), expected, "prefix {prefix:?}");
        let reversed: Vec<&[u8]> = expected.iter().rev().copied().collect();
        assert_eq!(keys(&*store, prefix, last, Direction::Reverse), reversed, "prefix {prefix:?}, reverse");
    }
}

fn a_scan_starts_at_its_start(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"p", b"p1", b"p3", b"p5", b"q"]);
    for (start, forward, reverse) in [
        (&b"p"[..], &[&b"p"[..], b"p1", b"p3", b"p5"][..], &[&b"p"[..]][..]),
        (b"p1", &[b"p1", b"p3", b"p5"], &[b"p1", b"p"]),
        (b"p2", &[b"p3", b"p5"], &[b"p1", b"p"]),
        (b"p3", &[b"p3", b"p5"], &[b"p3", b"p1", b"p"]),
        (b"p9", &[], &[b"p5", b"p3", b"p1", b"p"]),
    ] {
        assert_eq!(keys(&*store, b"p", start, Direction::Forward), forward, "from {start:?}");
        assert_eq!(keys(&*store, b"p", start, Direction::Reverse), reverse, "back from {start:?}");
    }
}

fn a_scan_ends_when_told(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"1", b"2", b"3"]);
    for (direction, start, expected) in
        [(Direction::Forward, &b""[..], [b"1", b"2"]), (Direction::Reverse, b"9", [b"3", b"2"])]
    {
        let mut seen = Vec::new();
        store
            .scan(LEFT, b"", start, direction, &mut |key, _| {
                seen.push(key.to_vec());
                Ok(seen.len() < 2)
            })
            .unwrap();
        assert_eq!(seen, expected);
    }
}

fn a_scan_does_not_see_what_is_written_meanwhile(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"1", b"2", b"3"]);
    let mut seen = Vec::new();
    store
        .scan(LEFT, b"", b"", Direction::Forward, &mut |key, _| {
            if seen.is_empty() {
                let mut batch = Batch::default();
                batch.delete(LEFT, *b"3");
                batch.put(LEFT, *b"4", *b"");
                store.write(batch)?;
                assert_eq!(get(&*store, LEFT, b"3"), None, "a read inside the scan sees the newest state");
            }
            seen.push(key.to_vec());
            Ok(true)
        })
        .unwrap();
    assert_eq!(seen, [b"1", b"2", b"3"]);
    assert_eq!(keys(&*store, b"", b"", Direction::Forward), [b"1", b"2", b"4"]);
}

fn a_failing_visit_ends_the_scan(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"1", b"2", b"3"]);
    let mut rows = 0;
    let error = store
        .scan(LEFT, b"", b"", Direction::Forward, &mut |_, _| {
            rows += 1;
            Err(Error::new(ErrorKind::Corrupt, "a bad row"))
        })
        .unwrap_err();
    assert_eq!((error.kind(), rows), (ErrorKind::Corrupt, 1));
    put(&*store, LEFT, b"4", b"the store goes on");
}

fn a_start_outside_the_prefix_is_refused(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    for (prefix, start) in [(&b"b"[..], &b"a"[..]), (b"b", b"c"), (b"b", b"")] {
        let error = store.scan(LEFT, prefix, start, Direction::Forward, &mut |_, _| Ok(true)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

fn many_answers_come_in_the_order_of_the_keys(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let names: Vec<Vec<u8>> = (0..100u8).map(|n| vec![b'k', n]).collect();
    for key in names.iter().step_by(2) {
        put(&*store, RIGHT, key, &[key[1]; 3]);
    }
    let asked: Vec<&[u8]> = names.iter().rev().map(Vec::as_slice).chain([&b"k\x04"[..], b"k\x04", b"none"]).collect();
    let expected: Vec<Option<Vec<u8>>> =
        asked.iter().map(|key| (key.len() == 2 && key[1] % 2 == 0).then(|| vec![key[1]; 3])).collect();
    assert_eq!(store.multi_get(RIGHT, &asked).unwrap(), expected);
    assert_eq!(store.snapshot().multi_get(RIGHT, &asked).unwrap(), expected);
    assert!(store.multi_get(RIGHT, &[]).unwrap().is_empty());
    assert_eq!(store.multi_get(TableId(2), &asked).unwrap_err().kind(), ErrorKind::Internal);
}

fn deleting_an_absent_key_is_no_error(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put(&*store, LEFT, b"there", b"");
    let mut batch = Batch::default();
    batch.delete(LEFT, *b"not there");
    batch.delete(LEFT, *b"there");
    batch.delete(LEFT, *b"there");
    store.write(batch).unwrap();
    assert!(all(&*store, LEFT).is_empty());
    assert_eq!(get(&*store, LEFT, b"there"), None);
}

fn a_range_is_deleted_without_its_end(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"a", b"b", b"b\0", b"bb", b"c", b"c\0"]);
    let before = store.snapshot();
    let mut batch = Batch::default();
    batch.delete_range(LEFT, *b"b", *b"c");
    store.write(batch).unwrap();
    assert_eq!(keys(&*store, b"", b"", Direction::Forward), [&b"a"[..], b"c", b"c\0"]);
    assert_eq!(keys(&*store, b"", b"\xff", Direction::Reverse), [&b"c\0"[..], b"c", b"a"]);
    assert_eq!(get(&*store, LEFT, b"bb"), None);
    assert_eq!(store.multi_get(LEFT, &[b"b", b"c"]).unwrap(), [None, Some(b"c".to_vec())]);
    assert_eq!(keys(&*before, b"b", b"b", Direction::Forward).len(), 3, "the snapshot still has the range");
    drop(before);
    put_keys(&*store, &[b"bb"]);
    assert_eq!(keys(&*store, b"b", b"b", Direction::Forward), [b"bb"], "a later put is not deleted");
}

fn an_empty_range_deletes_nothing(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"a", b"b", b"c"]);
    let mut batch = Batch::default();
    batch.delete_range(LEFT, *b"b", *b"b");
    batch.delete_range(LEFT, *b"c", *b"a");
    batch.delete_range(LEFT, *b"b", *b"");
    store.write(batch).unwrap();
    assert_eq!(keys(&*store, b"", b"", Direction::Forward), [b"a", b"b", b"c"]);
}

fn changes_of_a_batch_apply_in_order(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put(&*store, LEFT, b"k0", b"old");
    let mut batch = Batch::default();
    batch.put(LEFT, *b"k1", *b"gone");
    batch.put(LEFT, *b"k2", *b"first");
    batch.delete_range(LEFT, *b"k0", *b"k9");
    batch.put(LEFT, *b"k2", *b"second");
    batch.put(LEFT, *b"k3", *b"third");
    batch.delete(LEFT, *b"k3");
    batch.put(LEFT, *b"k4", *b"one");
    batch.put(LEFT, *b"k4", *b"two");
    assert_eq!((batch.ops().len(), batch.is_empty()), (8, false));
    store.write(batch).unwrap();
    let expected = [(b"k2".to_vec(), b"second".to_vec()), (b"k4".to_vec(), b"two".to_vec())];
    assert_eq!(all(&*store, LEFT), expected);
    store.sync().unwrap();
    drop(store);
    assert_eq!(all(&*place.open(TABLES).unwrap(), LEFT), expected, "also when it is applied anew at open");
}

fn a_batch_that_names_no_table_leaves_nothing(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let mut batch = Batch::default();
    batch.put(LEFT, *b"key", *b"value");
    batch.put(TableId(2), *b"key", *b"value");
    assert_eq!(store.write(batch).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(get(&*store, LEFT, b"key"), None);
    put(&*store, LEFT, b"key", b"the store is not poisoned");
    store.sync().unwrap();
}

fn a_write_that_is_refused_once_leaves_nothing_and_the_next_succeeds(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let before = put(&*store, LEFT, b"first", b"");
    if !place.refuse_next_write() {
        return;
    }
    let mut batch = Batch::default();
    batch.put(LEFT, *b"second", *b"");
    batch.put(RIGHT, *b"second", *b"");
    batch.delete(LEFT, *b"first");
    assert_eq!(store.write(batch.clone()).unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(keys(&*store, b"", b"", Direction::Forward), [b"first"]);
    assert!(all(&*store, RIGHT).is_empty());
    assert!(store.write(batch).unwrap() > before, "the same batch is taken the next time");
    assert_eq!(keys(&*store, b"", b"", Direction::Forward), [b"second"]);
    store.sync().unwrap();
    store.flush(true).unwrap();
    drop(store);
    assert_eq!(all(&*place.open(TABLES).unwrap(), RIGHT).len(), 1);
}

fn a_batch_is_seen_whole_or_not_at_all(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let write = |n: u32| {
        let mut batch = Batch::default();
        for table in [LEFT, RIGHT] {
            for key in 0..20u8 {
                batch.put(table, [key], n.to_be_bytes());
            }
        }
        store.write(batch).unwrap();
    };
    write(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..500).for_each(write));
        let mut last = 0;
        while !writer.is_finished() {
            let snapshot = store.snapshot();
            let rows = [all(&*snapshot, LEFT), all(&*snapshot, RIGHT)].concat();
            assert_eq!(rows.len(), 40);
            assert!(rows.iter().all(|(_, value)| *value == rows[0].1), "a snapshot shows a part of a batch");
            let in_scan = all(&*store, LEFT);
            assert!(in_scan.iter().all(|(_, value)| *value == in_scan[0].1), "a scan shows a part of a batch");
            let n = u32::from_be_bytes(rows[0].1.as_slice().try_into().unwrap());
            assert!(n >= last, "a later snapshot shows an earlier state");
            last = n;
        }
    });
    assert_eq!(get(&*store, RIGHT, &[19]).unwrap(), 499u32.to_be_bytes());
}

fn a_snapshot_does_not_change(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"a", b"b", b"c"]);
    let snapshot = store.snapshot();
    let mut batch = Batch::default();
    batch.put(LEFT, *b"a", *b"changed");
    batch.delete(LEFT, *b"b");
    batch.put(LEFT, *b"d", *b"new");
    store.write(batch).unwrap();
    let later = store.snapshot();
    store.flush(true).unwrap();
    assert_eq!(keys(&*snapshot, b"", b"", Direction::Forward), [b"a", b"b", b"c"]);
    assert_eq!(keys(&*snapshot, b"", b"z", Direction::Reverse), [b"c", b"b", b"a"]);
    assert_eq!(get(&*snapshot, LEFT, b"a").unwrap(), b"a");
    assert_eq!(snapshot.multi_get(LEFT, &[b"d", b"b"]).unwrap(), [None, Some(b"b".to_vec())]);
    assert_eq!(keys(&*later, b"", b"", Direction::Forward), [b"a", b"c", b"d"]);
    assert_eq!(get(&*store, LEFT, b"a").unwrap(), b"changed");
}

fn sequence_numbers_grow(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    assert_eq!(store.sync().unwrap(), 0, "nothing was written yet");
    let mut last = 0;
    for n in 0..100u8 {
        let sequence = put(&*store, LEFT, &[n], b"");
        assert!(sequence > last);
        last = sequence;
    }
    let empty = store.write(Batch::default()).unwrap();
    assert!(empty > last, "an empty batch is a batch");
}

fn a_sync_covers_every_batch_before_it(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50u8 {
                    let sequence = put(&**store, LEFT, &[thread, n], b"");
                    assert!(store.sync().unwrap() >= sequence);
                }
            });
        }
    });
    let last = put(&*store, RIGHT, b"last", b"");
    assert_eq!(store.sync().unwrap(), last);
    assert_eq!(store.sync().unwrap(), last, "a sync with nothing to do gives the same answer");
}

fn writers_do_not_lose_each_others_batches(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let mut sequences: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u8)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || (0..200u8).map(|n| put(&**store, LEFT, &[thread, n], &[n])).collect::<Vec<_>>())
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(all(&*store, LEFT).len(), 800);
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 800, "no two batches have one number");
}

fn synced_rows_are_there_after_a_reopen(place: &mut dyn Place) {
    for round in 0..4u8 {
        let store = place.open(TABLES).unwrap();
        assert_eq!(all(&*store, LEFT).len(), usize::from(round) * 100);
        assert_eq!(get(&*store, RIGHT, b"round"), round.checked_sub(1).map(|before| vec![before]));
        for n in 0..100u8 {
            put(&*store, LEFT, &[round, n], &vec![n; usize::from(n) * 50]);
        }
        put(&*store, RIGHT, b"round", &[round]);
        assert!(store.sync().unwrap() > 0);
        if round == 2 {
            store.flush(false).unwrap();
        }
    }
    let store = place.open(TABLES).unwrap();
    for (key, value) in all(&*store, LEFT) {
        assert_eq!(value, vec![key[1]; usize::from(key[1]) * 50]);
    }
}

fn a_flush_changes_no_row(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    for round in 0..3u8 {
        for n in 0..100u8 {
            put(&*store, LEFT, &[n], &[round; 100]);
        }
        let mut batch = Batch::default();
        batch.delete_range(LEFT, [round * 10], [round * 10 + 5]);
        batch.delete(LEFT, [99 - round]);
        store.write(batch).unwrap();
        let before = all(&*store, LEFT);
        for compact in [false, true] {
            store.flush(compact).unwrap();
            assert_eq!(all(&*store, LEFT), before);
            assert_eq!(before.len(), 94);
        }
    }
}

fn a_copy_is_equal_and_apart(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    for n in 0..200u8 {
        put(&*store, LEFT, &[n], &[n; 40]);
    }
    store.flush(false).unwrap();
    put(&*store, RIGHT, b"not", b"flushed");
    let copy = place.open_copy(&*store, TABLES).unwrap();
    for table in [LEFT, RIGHT] {
        assert_eq!(all(&*copy, table), all(&*store, table));
    }
    put(&*store, RIGHT, b"later", b"");
    put(&*copy, RIGHT, b"not", b"shared");
    assert_eq!(get(&*copy, RIGHT, b"later"), None);
    assert_eq!(get(&*store, RIGHT, b"not").unwrap(), b"flushed");
}

fn a_copy_needs_a_new_directory(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    let error = store.checkpoint(&std::env::temp_dir()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    put(&*store, LEFT, b"key", b"the store goes on");
}
