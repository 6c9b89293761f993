//! Damage of every row: lost, changed, or one too many.

use std::collections::BTreeSet;

use super::{
    problems, room,
    support::{Row, rows},
};
use crate::{
    encoding::cold,
    kv::{Batch, Read, Store, TableId, memory::MemoryStore},
    tables::{TABLES, name, parked::ParkedRow},
};

/// Rows of a table that are damaged: the first, the last, and one between them. What is left of the purged room, number 2,
/// may be whatever it is.
fn sample(read: &dyn Read, table: TableId) -> Vec<Row> {
    let by_room = TABLES[usize::from(table.0)].by_room;
    let mut rows = rows(read, table);
    rows.retain(|(key, _)| !(by_room && key.starts_with(&2u32.to_be_bytes())));
    let places: BTreeSet<usize> = (0..3).map(|nth| rows.len().saturating_sub(1) * nth / 2).collect();
    assert!(!rows.is_empty(), "no row in {}", name(table));
    places.into_iter().map(|place| rows[place].clone()).collect()
}

fn tables() -> impl Iterator<Item = TableId> {
    (0..TABLES.len()).map(|number| TableId(number as u16))
}

/// The tables whose problems may stand for one of this table: those that are held against it.
fn related(table: TableId) -> &'static [&'static str] {
    match name(table) {
        "meta" => &["purges"],
        "rooms" => &["room_ids", "event_bodies"],
        "purges" => &["event_rows"],
        "type_names" => &["types"],
        "state_key_names" => &["state_keys"],
        "key_id_names" => &["key_ids"],
        "event_ids" => &["event_bodies", "event_index"],
        "positions" => &["event_rows"],
        "parked" => &["waits", "wanted", "heads"],
        "waits" | "wanted" => &["parked"],
        _ => &[],
    }
}

/// Damages a copy of the store and tells whether the table, or one that is held against it, is named.
fn is_found(store: &MemoryStore, table: TableId, damage: impl FnOnce(&mut Batch)) -> bool {
    let damaged = store.reopen();
    let mut batch = Batch::default();
    damage(&mut batch);
    damaged.write(batch).expect("writable");
    let (_, problems) = problems(&damaged);
    problems.iter().any(|problem| problem.table == name(table) || related(table).contains(&problem.table))
}

#[test]
fn a_lost_row_of_any_table_is_found() {
    let (_server, store) = room::told();
    for table in tables() {
        for (key, _) in sample(&*store, table) {
            assert!(is_found(&store, table, |batch| batch.delete(table, key.clone())), "{} {key:02x?}", name(table));
        }
    }
}

#[test]
fn a_row_too_many_in_any_table_is_found() {
    let (_server, store) = room::told();
    for table in tables() {
        for (key, value) in sample(&*store, table) {
            let mut longer = key.clone();
            longer.push(b'x');
            let mut of_no_room = key.clone();
            of_no_room[0] ^= 0x40;
            let mut neighbour = key.clone();
            *neighbour.last_mut().expect("no key is empty") ^= 0x40;
            for extra in [longer, of_no_room, neighbour] {
                if store.get(table, &extra).expect("readable").is_some() {
                    continue;
                }
                let found = is_found(&store, table, |batch| batch.put(table, extra.clone(), value.clone()));
                assert!(found, "{} {extra:02x?}", name(table));
            }
        }
    }
}

/// Whether a change of a row says what nothing else in the store contradicts.
fn cannot_be_told(table: TableId, value: &[u8], changed: &[u8]) -> bool {
    match name(table) {
        // What came with the input, and in which order: nothing else says it.
        "parked" => match (cold::decode::<ParkedRow>(value), cold::decode::<ParkedRow>(changed)) {
            (Ok(parked), Ok(changed)) => {
                let ParkedRow { order, parked_at, kind, local, origin, state, failed, .. } = changed;
                parked == ParkedRow { order, parked_at, kind, local, origin, state, failed, ..parked.clone() }
                    && (parked.pdu, parked.missing) == (changed.pdu, changed.missing)
            }
            _ => false,
        },
        _ => false,
    }
}

#[test]
fn a_changed_byte_of_any_table_is_found() {
    let (_server, store) = room::told();
    for table in tables() {
        for (key, value) in sample(&*store, table) {
            for at in 0..value.len() {
                // Long values: their first and last bytes, and some between them.
                if at > 10 && at + 10 < value.len() && at % 41 != 0 {
                    continue;
                }
                let mut changed = value.clone();
                changed[at] ^= 1 << (at % 8);
                let found = is_found(&store, table, |batch| batch.put(table, key.clone(), changed.clone()));
                assert!(
                    found || cannot_be_told(table, &value, &changed),
                    "{} {key:02x?} at {at} of {}: {:?}",
                    name(table),
                    value.len(),
                    String::from_utf8_lossy(&changed)
                );
            }
        }
    }
}
