//! Guards against a check that lets a log through on which RocksDB would hang or drop synced batches, and against one
//! that refuses what a crash leaves.

use proptest::prelude::*;

use super::*;

/// Writes a log as RocksDB does.
fn log(batches: &[Vec<u8>]) -> Vec<u8> {
    let mut log = Vec::new();
    for batch in batches {
        let (mut rest, mut first) = (batch.as_slice(), true);
        loop {
            let mut free = BLOCK - log.len() % BLOCK;
            if free < HEADER {
                log.extend(std::iter::repeat_n(0, free));
                free = BLOCK;
            }
            let (part, after) = rest.split_at(rest.len().min(free - HEADER));
            let kind = match (first, after.is_empty()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, false) => MIDDLE,
                (false, true) => LAST,
            };
            log.extend(record(kind, part));
            (rest, first) = (after, false);
            if rest.is_empty() {
                break;
            }
        }
    }
    log
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut record = mask(!crc32c(crc32c(!0, &[kind]), payload)).to_le_bytes().to_vec();
    record.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    record.push(kind);
    record.extend(payload);
    record
}

fn end(log: &[u8]) -> End {
    scan(log).unwrap()
}

fn damage(log: &[u8]) -> (u64, &'static str) {
    match scan(log).unwrap_err() {
        Fault::Damaged { offset, what } => (offset, what),
        Fault::Io(error) => panic!("{error}"),
    }
}

/// Batches of several sizes, some over blocks, about 100 KiB together.
fn batches() -> Vec<Vec<u8>> {
    [100, 0, 1, 20_000, 12_600, 33_000, 7, 40_000, 300, 300, 50]
        .iter()
        .enumerate()
        .map(|(n, len)| vec![n as u8; *len])
        .collect()
}

#[test]
fn the_checksum_is_crc_32c() {
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
    let bytes: Vec<u8> = (0..=255).collect();
    for cut in 0..bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(crc32c(crc32c(!0, head), tail), crc32c(!0, &bytes));
    }
}

#[test]
fn a_whole_log_passes() {
    assert_eq!(end(b""), End { batches: 0, torn: None });
    assert_eq!(end(&log(&batches())), End { batches: 11, torn: None });
    let fills_the_block = vec![vec![1; BLOCK - HEADER], vec![2; 10]];
    assert_eq!(end(&log(&fills_the_block)), End { batches: 2, torn: None });
    let leaves_no_room_for_a_header = vec![vec![1; BLOCK - HEADER - 6], vec![2; 10]];
    assert_eq!(end(&log(&leaves_no_room_for_a_header)), End { batches: 2, torn: None });
}

#[test]
fn a_log_cut_anywhere_is_torn_where_its_last_batch_begins() {
    let batches = batches();
    let whole = log(&batches);
    let starts: Vec<usize> = (0..=batches.len()).map(|count| log(&batches[..count]).len()).collect();
    let near = |edge: usize, cut: usize| cut.abs_diff(edge) < 20;
    let edges: Vec<usize> = starts.iter().copied().chain((0..4).map(|n| n * BLOCK)).collect();
    for cut in (0..whole.len()).filter(|cut| cut % 97 == 0 || edges.iter().any(|edge| near(*edge, *cut))) {
        let complete = starts.iter().filter(|start| **start <= cut).count() - 1;
        let found = end(&whole[..cut]);
        assert_eq!(found.batches, complete as u64, "cut at {cut}");
        if cut == starts[complete] {
            assert_eq!(found.torn, None, "cut at {cut}, between batches");
        } else if let Some(torn) = found.torn {
            // Filler at the end of a block stands between the end of a batch and the start of the next.
            assert!(
                (starts[complete]..starts[complete] + HEADER).contains(&(torn as usize)),
                "cut at {cut}, torn at {torn}"
            );
        } else {
            assert!(cut - starts[complete] < HEADER && cut % BLOCK == 0, "cut at {cut} in filler only");
        }
    }
}

#[test]
fn zeros_at_the_end_are_a_torn_tail() {
    let whole = log(&batches());
    for count in [7, 8, 4_096, 100_000] {
        let mut padded = whole.clone();
        padded.extend(std::iter::repeat_n(0, count));
        assert_eq!(end(&padded), End { batches: 11, torn: Some(whole.len() as u64) });
    }
}

#[test]
fn zeros_that_hide_batches_are_refused() {
    let (before, after) = (log(&[vec![1; 100]]), record(FULL, &[2; 100]));
    for zeros in [7, 300, 2 * BLOCK] {
        let hidden = [before.clone(), vec![0; zeros], after.clone()].concat();
        assert_eq!(damage(&hidden), (before.len() as u64, "zeros with other bytes after them"));
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_refused() {
    // A small log, so that it is all last block, where RocksDB takes a wrong length for a torn tail.
    let batches = [vec![1; 40], vec![2; 300], vec![], vec![3; 25]];
    let whole = log(&batches);
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (offset, _) = damage(&flipped);
        assert!(offset as usize <= bit / 8, "bit {bit}: refused at {offset}");
    }
}

#[test]
fn a_recyclable_type_is_refused() {
    let mut spinning = log(&[vec![1; 40], vec![2; 40]]);
    spinning[HEADER + 40 + 6] = 5;
    assert_eq!(damage(&spinning), (47, "a record of a type that is not written here"));
}

#[test]
fn fragments_out_of_order_are_refused() {
    for kinds in [&[MIDDLE][..], &[LAST], &[FIRST, FULL], &[FIRST, FIRST], &[FULL, LAST], &[FIRST, LAST, MIDDLE]] {
        let log: Vec<u8> = kinds.iter().flat_map(|kind| record(*kind, b"part")).collect();
        let (offset, what) = damage(&log);
        assert_eq!((offset, what), (11 * (kinds.len() as u64 - 1), "a fragment without the one before it"));
    }
}

#[test]
fn a_record_that_leaves_its_block_is_refused() {
    let mut long = record(FULL, &[1; 10]);
    long[4..6].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(damage(&long), (0, "a record that leaves its block"));
}

fn store(logs: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("CURRENT"), "MANIFEST-000003\n").unwrap();
    fs::write(directory.path().join("MANIFEST-000003"), log(&[vec![9; 30]])).unwrap();
    for (name, content) in logs {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

#[test]
fn only_the_log_that_was_written_last_may_be_torn() {
    let whole = log(&[vec![1; 40], vec![2; 40]]);
    let torn = &whole[..whole.len() - 5];
    check(store(&[("000004.log", &whole), ("000010.log", torn)]).path()).unwrap();
    check(store(&[("000004.log", torn), ("000010.log", b"")]).path()).unwrap();
    // A batch that was cut off later still is no batch.
    check(store(&[("000004.log", torn), ("000010.log", &whole[..20])]).path()).unwrap();
    // By number, not by name.
    let hole = store(&[("9.log", torn), ("10.log", b""), ("11.log", &whole), ("LOG", b"text"), ("x.log", b"text")]);
    let error = check(hole.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("9.log, offset 47: it ends inside a record"), "{error}");
}

#[test]
fn the_manifest_is_checked_too() {
    let directory = store(&[]);
    let manifest = directory.path().join("MANIFEST-000003");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[6] = 5;
    fs::write(&manifest, bytes).unwrap();
    assert_eq!(check(directory.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    fs::remove_file(&manifest).unwrap();
    assert_eq!(check(directory.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    for bad in ["MANIFEST-000003", "MANIFEST-\n", "../MANIFEST-000003\n", "MANIFEST-3x\n", ""] {
        fs::write(directory.path().join("CURRENT"), bad).unwrap();
        let error = check(directory.path()).unwrap_err();
        assert!(error.to_string().contains("CURRENT, offset 0"), "{bad:?}: {error}");
    }
    fs::remove_file(directory.path().join("CURRENT")).unwrap();
    check(directory.path()).unwrap();
}

proptest! {
    #[test]
    fn any_bytes_are_passed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..70_000)) {
        let _ = scan(bytes.as_slice());
    }

    #[test]
    fn a_damaged_log_never_has_more_batches(
        sizes in prop::collection::vec(0..20_000usize, 1..8),
        at in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 1..600),
    ) {
        let mut bad = log(&sizes.iter().map(|size| vec![7; *size]).collect::<Vec<_>>());
        let start = at.index(bad.len());
        for (byte, new) in bad[start..].iter_mut().zip(garbage) {
            *byte = new;
        }
        if let Ok(end) = scan(bad.as_slice()) {
            prop_assert!(end.batches <= sizes.len() as u64);
            // Nothing but filler may change without being noticed, unless the log then looks cut off.
            prop_assert!(end.torn.is_some() || end.batches == sizes.len() as u64);
        }
    }
}
