//! One engine at a time is on a store.

use super::place::{LEFT, Place, TABLES, put};
use crate::error::ErrorKind;

pub(super) fn a_store_is_claimed_once_until_it_is_released(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    store.claimable().release();
    for _ in 0..2 {
        store.claimable().claim().unwrap();
        for _ in 0..2 {
            assert_eq!(store.claimable().claim().unwrap_err().kind(), ErrorKind::Unavailable);
        }
        put(&*store, LEFT, b"key", b"a claim stops no write");
        store.claimable().release();
    }
    let winners: usize = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..4).map(|_| scope.spawn(|| usize::from(store.claimable().claim().is_ok()))).collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).sum()
    });
    assert_eq!(winners, 1, "of threads that claim a store at once one gets it");
}

pub(super) fn a_store_that_is_opened_again_or_copied_is_claimed_by_nobody(place: &mut dyn Place) {
    let store = place.open(TABLES).unwrap();
    store.claimable().claim().unwrap();
    let copy = place.open_copy(&*store, TABLES).unwrap();
    copy.claimable().claim().unwrap();
    copy.claimable().release();
    assert_eq!(store.claimable().claim().unwrap_err().kind(), ErrorKind::Unavailable, "the copy's claim is another");
    drop((store, copy));
    place.open(TABLES).unwrap().claimable().claim().unwrap();
}
