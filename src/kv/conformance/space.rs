//! What tables take on the medium, and what comes back of it.

use super::place::{LEFT, Place, RIGHT, TABLES, all, get, keys, put, put_keys};
use crate::{
    error::ErrorKind,
    kv::{Batch, Direction, Garbage, Store, TableId},
};

/// Puts 2,000 rows of 258 bytes, by number, with values that no compression makes shorter.
fn put_random_rows(store: &dyn Store) {
    // A plain xorshift of 64 bits.
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..2_000u16 {
        let value: Vec<u8> = (0..32)
            .flat_map(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word.to_be_bytes()
            })
            .collect();
        put(store, LEFT, &n.to_be_bytes(), &value);
    }
}

pub(super) fn a_compacted_range_gives_back_its_bytes(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_random_rows(&*store);
    store.flush(true).unwrap();
    let full = store.table_bytes().unwrap();
    let (start, end) = (100u16.to_be_bytes(), 1_900u16.to_be_bytes());
    let mut batch = Batch::default();
    batch.delete_range(LEFT, start, end);
    store.write(batch).unwrap();
    store.compact(&[garbage(LEFT, &start, &end, None)]).unwrap();
    let rest = store.table_bytes().unwrap();
    assert!(rest[0] < full[0] / 5, "deleted rows still take {} of {} bytes", rest[0], full[0]);
    assert_eq!(all(&*store, LEFT).len(), 200);
}

pub(super) fn rows_that_were_deleted_one_by_one_give_back_their_bytes(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_random_rows(&*store);
    store.flush(true).unwrap();
    let full = store.table_bytes().unwrap();
    let mut batch = Batch::default();
    for n in 100..1_900u16 {
        batch.delete(LEFT, n.to_be_bytes());
    }
    store.write(batch).unwrap();
    // Told in two parts, as of two rooms whose rows are neighbours.
    let [first, middle, last] = [100u16, 1_000, 1_900].map(u16::to_be_bytes);
    store.compact(&[garbage(LEFT, &first, &middle, Some(900)), garbage(LEFT, &middle, &last, Some(900))]).unwrap();
    let rest = store.table_bytes().unwrap();
    assert!(rest[0] < full[0] / 5, "deleted rows still take {} of {} bytes", rest[0], full[0]);
    assert_eq!(all(&*store, LEFT).len(), 200);
}

fn garbage(table: TableId, start: &[u8], end: &[u8], rows: Option<u64>) -> Garbage {
    Garbage { table, start: start.to_vec(), end: end.to_vec(), rows }
}

pub(super) fn a_compaction_changes_no_row(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_keys(&*store, &[b"a", b"b", b"bb", b"c", b"d"]);
    put(&*store, RIGHT, b"b", b"right");
    let snapshot = store.snapshot();
    let mut batch = Batch::default();
    batch.delete(LEFT, *b"bb");
    batch.put(LEFT, *b"c", *b"new");
    store.write(batch).unwrap();
    for (start, end) in [(&b"b"[..], &b"d"[..]), (b"", b"\xff"), (b"d", b"b"), (b"", b""), (b"x", b"y")] {
        store.compact(&[garbage(LEFT, start, end, None), garbage(LEFT, start, end, Some(1))]).unwrap();
        assert_eq!(keys(&*store, b"", b"", Direction::Forward), [b"a", b"b", b"c", b"d"]);
        assert_eq!(get(&*store, LEFT, b"c").unwrap(), b"new");
        assert_eq!(get(&*snapshot, LEFT, b"c").unwrap(), b"c", "a snapshot still sees what was there");
        assert_eq!(get(&*snapshot, LEFT, b"bb").unwrap(), b"bb");
        assert_eq!(all(&*store, RIGHT).len(), 1);
    }
    drop(snapshot);
    let unknown = [garbage(LEFT, b"a", b"b", None), garbage(TableId(2), b"a", b"b", None)];
    assert_eq!(store.compact(&unknown).unwrap_err().kind(), ErrorKind::Internal);
    store.compact(&[]).unwrap();
}

pub(super) fn bytes_of_tables_follow_their_rows(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    put_random_rows(&*store);
    put(&*store, RIGHT, b"key", b"value");
    store.flush(true).unwrap();
    let full = store.table_bytes().unwrap();
    assert_eq!(full.len(), TABLES.len());
    assert!((450_000..700_000).contains(&full[0]), "2,000 rows of 258 bytes take {} bytes", full[0]);
    assert!(full[1] > 0 && full[1] < 20_000, "one row takes {} bytes", full[1]);
    let mut batch = Batch::default();
    batch.delete_range(LEFT, *b"", 1_800u16.to_be_bytes());
    store.write(batch).unwrap();
    store.flush(true).unwrap();
    let rest = store.table_bytes().unwrap();
    assert!(rest[0] < full[0] / 5, "deleted rows still take {} of {} bytes", rest[0], full[0]);
}
