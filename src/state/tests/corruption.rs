//! A damaged pack, list or block is an error that names it, never another answer.

use super::*;
use crate::{
    error::ErrorKind,
    kv::TableId,
    state::read,
    tables::{BLOCKS, LISTS, PACKS, name},
    verify::tests::support::rows,
};

/// A room with packs, a derived list, a whole one, and their blocks.
fn site() -> Site {
    let mut site = Site::new();
    let (mut at, mut state) = (SnapshotNid::EMPTY, Plain::new());
    for number in 1..=2_100u32 {
        let mut after = state.clone();
        after.insert(tuple(1 + number % 2, 1 + number % 300), event(number));
        at = site.append(at, &state, &after, true);
        state = after;
    }
    site.build();
    let mut after = state.clone();
    after.extend((1..=520).map(|key| (tuple(3, key), event(5_000 + key))));
    site.append(at, &state, &after, true);
    site
}

fn sample(store: &MemoryStore, table: TableId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = rows(store, table);
    assert!(!rows.is_empty(), "no row in {}", name(table));
    [0, rows.len() / 2, rows.len() - 1].map(|place| rows[place].clone()).into()
}

/// How the error of a row begins; the offset comes next.
fn place_of(table: TableId, key: &[u8]) -> String {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("table {}, key {key}, offset ", name(table))
}

/// All states that the row can matter to, in full.
fn states(site: &Site) -> Result<Vec<Vec<(StateTuple, EventNid)>>> {
    let snapshots = [40u32, 1_000, 2_000, 2_060, 2_100, 2_101];
    let caches = StateCaches::new(1 << 20);
    let states = StoredStates::new(&*site.store, &caches, room(), site.log.last());
    snapshots.iter().map(|snapshot| read::collect(&states, SnapshotNid::new(*snapshot), None)).collect()
}

#[test]
fn every_flipped_byte_of_a_pack_list_or_block_is_an_error_that_names_the_row() {
    let mut site = site();
    let whole = site.store.clone();
    let right = states(&site).unwrap();
    for table in [PACKS, LISTS, BLOCKS] {
        let mut found = 0;
        for (key, value) in sample(&whole, table) {
            for place in 0..value.len() {
                let mut damaged = value.clone();
                damaged[place] ^= 1 << (place % 8);
                site.store = Arc::new(whole.reopen());
                let mut batch = Batch::default();
                batch.put(table, key.clone(), damaged);
                site.store.write(batch).unwrap();
                match states(&site) {
                    Ok(read) => assert!(read == right, "another answer: {} {key:02x?} at {place}", name(table)),
                    Err(error) => {
                        found += 1;
                        assert_eq!(error.kind(), ErrorKind::Corrupt);
                        assert!(error.to_string().starts_with(&place_of(table, &key)), "{error}, changed at {place}");
                    }
                }
            }
        }
        assert!(found > 100, "{found} in {}", name(table));
    }
}

#[test]
fn a_lost_block_or_whole_list_is_an_error_that_names_the_row() {
    let mut site = site();
    let whole = site.store.clone();
    for (table, key) in [(BLOCKS, sample(&whole, BLOCKS)[0].0.clone()), (LISTS, sample(&whole, LISTS)[2].0.clone())] {
        site.store = Arc::new(whole.reopen());
        let mut batch = Batch::default();
        batch.delete(table, key.clone());
        site.store.write(batch).unwrap();
        let error = states(&site).unwrap_err();
        assert!(error.to_string().starts_with(&place_of(table, &key)), "{error}");
    }
}
