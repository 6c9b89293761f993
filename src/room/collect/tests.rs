//! What a collection tells the store to compact must stay small, and leave out nothing.

use super::*;
use crate::{kv::Batch, tables::PACKS};

/// What a room touched whose packs were rewritten at these two places.
fn touched(room: u8, places: [u8; 2]) -> Touched {
    let mut batch = Batch::default();
    for place in places {
        batch.put(PACKS, [room, place], *b"");
    }
    batch.put(HEADS, [room], *b"");
    let mut touched = Touched::default();
    touched.note(&batch);
    touched
}

#[test]
fn a_room_is_one_part_of_a_table_and_its_head_none() {
    let mut room = touched(1, [3, 4]);
    room.add(touched(1, [1, 2]));
    let mut collected = GarbageRanges::default();
    collected.add(room);
    let expected = Garbage { table: PACKS, start: vec![1, 1], end: vec![1, 4, 0], rows: Some(4) };
    assert_eq!(collected.garbage(), [expected]);
}

#[test]
fn many_rooms_are_told_of_in_few_parts_that_have_all_their_rows() {
    let mut collected = GarbageRanges::default();
    for room in 1..=100 {
        collected.add(touched(room, [1, 2]));
    }
    let garbage = collected.garbage();
    assert!((2..PARTS_MAX).contains(&garbage.len()), "{garbage:?}");
    assert_eq!(garbage.iter().filter_map(|part| part.rows).sum::<u64>(), 200);
    for room in 1..=100u8 {
        let part = garbage.iter().find(|part| part.start <= vec![room, 1] && vec![room, 2] < part.end);
        assert!(part.is_some(), "room {room} is in no part");
    }
    assert!(garbage.is_sorted_by(|a, b| a.end <= b.start), "{garbage:?}");
}
