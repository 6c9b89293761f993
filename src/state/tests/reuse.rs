//! What is stored once, and what is known to be equal.

use super::*;
use crate::{
    encoding::keys,
    state::{difference::differences, fingerprint, read},
    tables::BLOCKS,
    verify::tests::support::{all_rows, rows},
};

/// A state of so many keys, from events of numbers from `first` on.
fn plain(keys: u32, first: u32) -> Plain {
    (1..=keys).map(|key| (tuple(2, key), event(first + key))).collect()
}

/// Changes of one key each, round and round.
fn grow(site: &mut Site, changes: u32, then: impl Fn(&Site)) -> (SnapshotNid, Plain) {
    let (mut at, mut state) = (site.log.last(), Plain::new());
    for number in 1..=changes {
        let mut after = state.clone();
        after.insert(tuple(2, 1 + number % 40), event(number));
        at = site.append(at, &state, &after, true);
        state = after;
        then(site);
    }
    (at, state)
}

#[test]
fn an_unchanged_state_stores_nothing() {
    let mut site = Site::new();
    let state = plain(20, 0);
    let made = site.append(SnapshotNid::EMPTY, &Plain::new(), &state, true);
    let before = all_rows(&*site.store);
    assert_eq!(site.append(made, &state, &state, true), made);
    assert_eq!(all_rows(&*site.store), before);
}

#[test]
fn equal_states_of_different_numbers_have_equal_fingerprints_and_no_differences() {
    let mut site = Site::new();
    let (a, b) = (plain(20, 0), plain(21, 50));
    let first = site.append(SnapshotNid::EMPTY, &Plain::new(), &a, true);
    let other = site.append(first, &a, &b, true);
    let again = site.append(other, &b, &a, true);
    assert_ne!(first, again);
    let print = |snapshot| fingerprint::summary(&site.states(), &Names, snapshot).unwrap();
    assert_eq!(print(first), print(again));
    assert_ne!(print(first), print(other));
    assert_eq!(differences(&site.states(), &[first, again]).unwrap(), []);
}

#[test]
fn whether_a_number_is_taken_or_a_list_is_due_does_not_depend_on_caches_or_on_what_is_built() {
    let mut cold = Site::new();
    grow(&mut cold, 300, |_| {});
    let mut reopened = Site::new();
    let (mut at, mut state) = (SnapshotNid::EMPTY, Plain::new());
    for number in 1..=7_000u32 {
        if number.is_multiple_of(97) {
            reopened.reopen();
        }
        let mut after = state.clone();
        after.insert(tuple(2, 1 + number % 40), event(number));
        at = reopened.append(at, &state, &after, true);
        state = after;
    }
    let mut warm = Site::new();
    grow(&mut warm, 7_000, |site| {
        if site.log.seals().last() == Some(&site.log.last()) {
            site.build();
        }
    });
    reopened.build();
    assert!(all_rows(&*reopened.store) == all_rows(&*warm.store));
    assert_eq!(reopened.log.seals().as_slice(), [SnapshotNid::new(4096), SnapshotNid::new(6144)]);
}

#[test]
fn a_change_beyond_a_row_shares_the_blocks_that_it_leaves_alone() {
    let mut site = Site::new();
    let state = plain(6_000, 0);
    let first = site.append(SnapshotNid::EMPTY, &Plain::new(), &state, true);
    let blocks = |site: &Site| rows(&*site.store, BLOCKS).len();
    let before = blocks(&site);
    // A state reset: the last tenth of the keys changes.
    let mut after = state.clone();
    after.extend((5_400..=6_000).map(|key| (tuple(2, key), event(10_000 + key))));
    let second = site.append(first, &state, &after, true);
    let found = differences(&site.states(), &[first, second]).unwrap();
    assert_eq!(found.len(), 601);
    assert!(blocks(&site) - before < 8, "{} new blocks beside {before}", blocks(&site) - before);
}

#[test]
fn a_list_never_has_more_runs_than_its_size_allows_and_look_ups_walk_no_further_than_two_lists() {
    let mut site = Site::new();
    grow(&mut site, 20_000, |site| {
        assert!(site.log.seals().len() <= SEALS_MAX);
        if let Some(sealed) = site.log.seals().first() {
            assert!(site.log.last().number() - sealed.number() <= 3 * 2048, "the tail grows without bound");
        }
    });
}

#[test]
fn a_pack_that_a_reader_cached_while_it_was_open_is_folded_whole() {
    let mut site = Site::new();
    let (mut at, mut state) = (SnapshotNid::EMPTY, Plain::new());
    for number in 1..=300 {
        let mut after = state.clone();
        after.insert(tuple(2, 1 + number % 40), event(number));
        at = site.append(at, &state, &after, true);
        state = after;
        // Reads a pack that has some of its rows, and is not read again.
        if number == 201 {
            assert_eq!(read::collect(&site.states(), at, None).unwrap().len(), state.len());
        }
    }
    let whole = read::collect(&site.states(), SnapshotNid::new(250), None).unwrap();
    assert_eq!(whole.len(), 40);
    assert!(whole.iter().all(|(_, event)| event.number() > 210 && event.number() <= 250));
}

#[test]
fn a_pack_that_a_reader_cached_while_it_was_open_is_collected_whole() {
    let mut site = Site::new();
    let (mut at, mut state) = (SnapshotNid::EMPTY, Plain::new());
    for number in 1..=60 {
        let mut after = state.clone();
        after.insert(tuple(2, 1 + number % 40), event(number));
        at = site.append(at, &state, &after, true);
        state = after;
        // Reads a pack that has some of its rows.
        if number == 40 {
            assert_eq!(read::collect(&site.states(), at, None).unwrap().len(), state.len());
        }
    }
    let other = site.append(SnapshotNid::EMPTY, &Plain::new(), &state, true);
    let plan = site.plan(&[other]);
    for place in 0..plan.steps() {
        site.sweep(&plan, place);
    }
    assert!(site.states().is_gone(at).unwrap());
    assert!(read::collect(&site.states(), other, None).unwrap().into_iter().eq(state));
}

#[test]
fn a_list_that_was_built_after_the_view_goes_with_its_snapshot_even_if_the_head_forgot_it() {
    let mut site = Site::new();
    let mut number = 0;
    // Lists are due after few snapshots that change many keys.
    let mut until_due = |site: &mut Site, at: &mut SnapshotNid, state: &mut Plain| {
        let due = site.log.seals().last().copied();
        while site.log.seals().last().copied() == due {
            let mut after = state.clone();
            after.extend((1..=500).map(|key| (tuple(2, key), event(number + key))));
            number += 500;
            *at = site.append(*at, state, &after, true);
            *state = after;
        }
    };
    let (mut branch, mut on_branch) = (SnapshotNid::EMPTY, Plain::new());
    until_due(&mut site, &mut branch, &mut on_branch);
    let base = Plain::from([(tuple(3, 1), event(1_000_000))]);
    let (mut main, mut state) = (site.append(SnapshotNid::EMPTY, &Plain::new(), &base, true), base);
    let plan = site.plan(&[main]);
    assert!(plan.drops(branch) && !site.has_list(branch));
    for _ in 0..3 {
        site.build();
        until_due(&mut site, &mut main, &mut state);
    }
    assert!(site.has_list(branch) && !site.log.seals().contains(&branch));
    for place in 0..plan.steps() {
        site.sweep(&plan, place);
    }
    assert!(!site.has_list(branch));
    let is_of_branch = |key: &[u8]| keys::block_of(key).is_some_and(|block| block.sealed == branch);
    assert_eq!(rows(&*site.store, BLOCKS).iter().filter(|(key, _)| is_of_branch(key)).count(), 0);
    assert!(read::collect(&site.states(), main, None).unwrap().into_iter().eq(state));
}

#[test]
fn a_whole_list_is_the_same_whether_or_not_the_list_before_it_was_built() {
    let sites = [false, true].map(|built| {
        let mut site = Site::new();
        let (at, state) = grow(&mut site, 2_100, |_| {});
        if built {
            site.build();
        }
        let mut after = state.clone();
        after.extend((1..=600).map(|key| (tuple(3, key), event(5_000 + key))));
        let whole = site.append(at, &state, &after, true);
        let read = read::collect(&site.states(), whole, None).unwrap();
        assert!(read.into_iter().eq(after));
        all_rows(&*site.store)
    });
    assert!(sites[0] == sites[1]);
}
