//! Numbers for names: given once, given back where no batch used them, and never two for one.

use super::*;
use crate::kv::{Store, memory::MemoryStore};

#[test]
fn batches_that_meet_a_new_name_at_once_give_it_one_number_and_each_has_its_rows() {
    let store = MemoryStore::open(&crate::tables::specs());
    let interner = Interner::open(&store, 1 << 20).unwrap();
    let meet = |key: &str| {
        let (mut batch, mut used) = (Batch::default(), UsedNames::default());
        let tuple = interner.intern(&store, "org.example", key, &mut batch, &mut used).unwrap();
        (tuple, batch, used)
    };
    let (tuple, first, _) = meet("a");
    let (again, second, used) = meet("a");
    assert_eq!(tuple, again);
    // A batch that is given up takes no name with it: the rows are in the other one, too.
    assert_eq!((first.ops().len(), second.ops().len()), (4, 4));
    store.write(second).unwrap();
    interner.written(&used);
    let (third, nothing, _) = meet("a");
    assert_eq!((third, nothing.ops().len()), (tuple, 0));
    let (other, ..) = meet("b");
    assert_eq!((other.event_type, other.state_key == tuple.state_key), (tuple.event_type, false));
    let reopened = Interner::open(&store, 1 << 20).unwrap();
    assert_eq!(reopened.find(&store, "org.example", "a").unwrap(), Some(tuple));
    assert_eq!(&*reopened.names(&store, tuple).unwrap().1, "a");
}

fn meet(interner: &Interner, store: &MemoryStore, key: &str) -> (StateTuple, Batch, UsedNames) {
    let (mut batch, mut used) = (Batch::default(), UsedNames::default());
    let tuple = interner.intern(store, "m.room.member", key, &mut batch, &mut used).unwrap();
    (tuple, batch, used)
}

/// How many new names are kept, how many numbers were given back, and the next number.
fn fresh(interner: &Interner) -> (usize, usize, u32) {
    let fresh = interner.state_keys.fresh.lock();
    assert_eq!(fresh.numbers.len(), fresh.names.len());
    (fresh.numbers.len(), fresh.free.len(), fresh.next)
}

#[test]
fn names_of_batches_that_are_given_up_take_neither_memory_nor_numbers() {
    let store = MemoryStore::open(&crate::tables::specs());
    let interner = Interner::open(&store, 1 << 20).unwrap();
    for name in 0..1_000 {
        meet(&interner, &store, &name.to_string());
    }
    assert_eq!(fresh(&interner), (0, 1, FIRST_FREE + 1));
    // Ten at once use ten numbers, and no more however often they come.
    for round in 0..10 {
        let at_once: Vec<_> = (0..10).map(|name| meet(&interner, &store, &format!("{round} {name}"))).collect();
        assert_eq!(fresh(&interner), (10, 0, FIRST_FREE + 10));
        drop(at_once);
    }
    assert_eq!(fresh(&interner), (0, 10, FIRST_FREE + 10));
    let (tuple, batch, used) = meet(&interner, &store, "kept");
    assert_eq!(tuple.state_key.number(), FIRST_FREE);
    store.write(batch).unwrap();
    interner.written(&used);
    drop(used);
    assert_eq!(fresh(&interner), (0, 9, FIRST_FREE + 10), "the number of a name that is written is not given back");
    let reopened = Interner::open(&store, 1 << 20).unwrap();
    assert_eq!(fresh(&reopened), (0, 0, FIRST_FREE + 1));
    assert_eq!(&*reopened.names(&store, tuple).unwrap().1, "kept");
}

#[test]
fn a_name_that_two_batches_use_outlives_the_one_that_is_given_up() {
    for first_is_given_up in [false, true] {
        let store = MemoryStore::open(&crate::tables::specs());
        let interner = Interner::open(&store, 1 << 20).unwrap();
        let [(tuple, first, first_used), (again, second, second_used)] =
            [(), ()].map(|()| meet(&interner, &store, "shared"));
        assert_eq!(tuple, again);
        let (given_up, batch, used) =
            if first_is_given_up { (first_used, second, second_used) } else { (second_used, first, first_used) };
        drop(given_up);
        assert_eq!(fresh(&interner), (1, 0, FIRST_FREE + 1));
        let (other, ..) = meet(&interner, &store, "other");
        assert_ne!(other.state_key, tuple.state_key);
        store.write(batch).unwrap();
        interner.written(&used);
        assert_eq!(interner.find(&store, "m.room.member", "shared").unwrap(), Some(tuple));
        assert_eq!(&*interner.names(&store, tuple).unwrap().1, "shared");
    }
}

#[test]
fn a_batch_that_is_given_up_after_another_wrote_its_name_takes_nothing_back() {
    let store = MemoryStore::open(&crate::tables::specs());
    let interner = Interner::open(&store, 1 << 20).unwrap();
    let (tuple, batch, used) = meet(&interner, &store, "shared");
    let (_, _, late) = meet(&interner, &store, "shared");
    store.write(batch).unwrap();
    interner.written(&used);
    drop((used, late));
    let (other, ..) = meet(&interner, &store, "other");
    assert_ne!(other.state_key, tuple.state_key);
    assert_eq!(&*interner.names(&store, tuple).unwrap().1, "shared");
}

#[test]
fn a_last_number_that_is_malformed_is_damage_and_not_the_first_number() {
    for key in [&[0, 0, 1][..], &[0, 0, 0, 0], &[0, 0, 0, 70, 1], &[0xff; 5]] {
        let store = MemoryStore::open(&crate::tables::specs());
        let mut batch = Batch::default();
        batch.put(STATE_KEY_NAMES, key, *b"");
        store.write(batch).unwrap();
        let error = Interner::open(&store, 1 << 20).err().expect("no number follows from such a key");
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{key:?}");
    }
}

#[test]
fn threads_that_meet_the_same_names_agree_on_their_numbers() {
    let store = MemoryStore::open(&crate::tables::specs());
    let interner = Interner::open(&store, 1 << 20).unwrap();
    let meet = || {
        let numbers = (0..500).map(|name| {
            let (mut batch, mut used) = (Batch::default(), UsedNames::default());
            let tuple = interner.intern(&store, "org.example", &name.to_string(), &mut batch, &mut used).unwrap();
            store.write(batch).unwrap();
            interner.written(&used);
            tuple
        });
        numbers.collect::<Vec<_>>()
    };
    let (left, right) = std::thread::scope(|scope| {
        let other = scope.spawn(meet);
        (meet(), other.join().unwrap())
    });
    assert_eq!(left, right);
    for (name, tuple) in left.iter().enumerate() {
        let names = Interner::open(&store, 1 << 20).unwrap().names(&store, *tuple).unwrap();
        assert_eq!(*names.1, *name.to_string());
    }
}
