//! Guards against a store that opens what it must refuse, loses what was synced, or goes on after a failure.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::kv::conformance::{self, Place, TABLES};

const LEFT: TableId = TableId(0);
const RIGHT: TableId = TableId(1);

fn open(directory: &Path) -> Result<RocksStore> {
    RocksStore::open(directory, TABLES, &RocksOptions::default())
}

fn kind(opened: Result<RocksStore>) -> ErrorKind {
    opened.unwrap_err().kind()
}

fn put(store: &impl Store, table: TableId, key: &[u8], value: &[u8]) -> Result<u64> {
    let mut batch = Batch::default();
    batch.put(table, key, value);
    store.write(batch)
}

fn keys(store: &impl Read) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(key.to_vec());
        Ok(true)
    };
    store.scan(LEFT, b"", b"", Direction::Forward, &mut visit).unwrap();
    keys
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Copies the files of a store that may be open: what a killed process would leave.
fn copy(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// The files of a store with `count` synced rows in its log, and that log.
fn killed(count: u8) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for n in 0..count {
        put(&store, LEFT, &[n], &[n; 30]).unwrap();
    }
    store.sync().unwrap();
    let copy = copy(directory.path());
    let log = files(copy.path(), "log").pop().unwrap();
    (copy, log)
}

#[derive(Default)]
struct OnDisk {
    directory: Option<TempDir>,
    copies: Vec<TempDir>,
}

impl Place for OnDisk {
    fn open(&mut self, specs: &[TableSpec]) -> Result<Box<dyn Store>> {
        let directory = self.directory.get_or_insert_with(|| tempfile::tempdir().unwrap());
        Ok(Box::new(RocksStore::open(directory.path(), specs, &RocksOptions::default())?))
    }

    fn open_copy(&mut self, store: &dyn Store, specs: &[TableSpec]) -> Result<Box<dyn Store>> {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a").join("copy");
        self.copies.push(parent);
        store.checkpoint(&directory)?;
        Ok(Box::new(RocksStore::open(&directory, specs, &RocksOptions::default())?))
    }
}

#[test]
fn it_conforms() {
    conformance::run(&mut || Box::new(OnDisk::default()));
}

#[test]
fn synced_batches_survive_a_kill() {
    let (directory, _) = killed(200);
    assert_eq!(keys(&open(directory.path()).unwrap()).len(), 200);
}

#[test]
fn a_torn_log_opens_with_the_batches_before_the_tear() {
    let (directory, log) = killed(50);
    let whole = fs::read(&log).unwrap();
    for cut in [1, 5, 30, 60, 500] {
        let torn = copy(directory.path());
        let torn_log = torn.path().join(log.file_name().unwrap());
        fs::write(&torn_log, &whole[..whole.len() - cut]).unwrap();
        let store = open(torn.path()).unwrap();
        let rows = keys(&store);
        assert!(rows.len() < 50 && rows.len() > 30, "{} rows", rows.len());
        assert_eq!(rows, (0..rows.len()).map(|n| vec![n as u8]).collect::<Vec<_>>());
        // Killed once more after it recovered: its own batches must not look like a hole.
        put(&store, LEFT, b"after", b"").unwrap();
        store.sync().unwrap();
        let again = copy(torn.path());
        assert_eq!(keys(&open(again.path()).unwrap()).len(), rows.len() + 1);
    }
}

#[test]
fn zeros_after_the_last_batch_do_no_harm() {
    let (directory, log) = killed(50);
    let mut padded = fs::read(&log).unwrap();
    padded.extend([0; 4_096]);
    fs::write(&log, padded).unwrap();
    assert_eq!(keys(&open(directory.path()).unwrap()).len(), 50);
}

#[test]
fn a_flipped_bit_of_a_log_is_refused() {
    let (directory, log) = killed(50);
    let whole = fs::read(&log).unwrap();
    // 101 and 8 have no common factor, so every bit of a byte has its turn.
    for bit in (0..whole.len() * 8).step_by(101) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&log, flipped).unwrap();
        let error = open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}");
        let name = log.file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(&format!("{name}, offset ")), "bit {bit}: {error}");
    }
    fs::write(&log, whole).unwrap();
    assert_eq!(keys(&open(directory.path()).unwrap()).len(), 50, "the refusals changed nothing");
}

#[test]
fn a_type_that_lets_rocksdb_spin_is_refused() {
    let (directory, log) = killed(3);
    let mut bytes = fs::read(&log).unwrap();
    let first = usize::from(u16::from_le_bytes([bytes[4], bytes[5]])) + 7;
    assert_eq!(bytes[first + 6], 1, "the second record is a whole one");
    bytes[first + 6] = 5;
    fs::write(&log, bytes).unwrap();
    assert_eq!(kind(open(directory.path())), ErrorKind::Corrupt);
}

#[test]
fn a_flipped_bit_of_a_table_file_is_never_read_as_data() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for n in 0..200u8 {
        put(&store, LEFT, &[n], &[n; 30]).unwrap();
    }
    store.flush(true).unwrap();
    drop(store);
    let table = files(directory.path(), "sst").pop().unwrap();
    let whole = fs::read(&table).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&table, flipped).unwrap();
        let Ok(store) = open(directory.path()) else {
            refused += 1;
            continue;
        };
        let mut rows = 0u8;
        let outcome = store.scan(LEFT, b"", b"", Direction::Forward, &mut |key, value| {
            assert_eq!((key, value), (&[rows][..], &[rows; 30][..]), "byte {at}");
            rows += 1;
            Ok(true)
        });
        match outcome {
            Ok(()) => assert_eq!(rows, 200, "byte {at}: rows are missing"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(error.to_string().starts_with("table left"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 30, "only {refused} flips were noticed");
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    assert_eq!(kind(open(directory.path())), ErrorKind::Unavailable);
    put(&store, LEFT, b"key", b"").unwrap();
    drop(store);
    assert_eq!(keys(&open(directory.path()).unwrap()).len(), 1);
}

#[test]
fn a_store_that_another_tool_has_open_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let names = [DEFAULT_COLUMN_FAMILY_NAME, "left", "right"];
    let _tool = DB::open_cf(&Options::default(), directory.path(), names).unwrap();
    assert_eq!(kind(open(directory.path())), ErrorKind::Unavailable);
}

#[test]
fn a_directory_with_other_files_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes.txt");
    fs::write(&notes, "text").unwrap();
    assert_eq!(kind(open(directory.path())), ErrorKind::Invalid);
    assert_eq!(kind(open(&notes)), ErrorKind::Invalid);
    assert_eq!(kind(open(&notes.join("below a file"))), ErrorKind::Unavailable);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"]);
}

#[test]
fn another_applications_database_is_left_alone() {
    for flushed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        let foreign = DB::open(&options, directory.path()).unwrap();
        foreign.put(b"key", b"value").unwrap();
        if flushed {
            foreign.flush().unwrap();
        }
        drop(foreign);
        assert_eq!(kind(open(directory.path())), ErrorKind::Invalid);
        assert_eq!(DB::list_cf(&Options::default(), directory.path()).unwrap(), [DEFAULT_COLUMN_FAMILY_NAME]);
    }
}

#[test]
fn a_table_that_is_not_asked_for_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let error = RocksStore::open(directory.path(), &TABLES[..1], &RocksOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("\"right\""), "{error}");
    drop(open(directory.path()).unwrap());
}

#[test]
fn a_new_table_is_added() {
    let directory = tempfile::tempdir().unwrap();
    let store = RocksStore::open(directory.path(), &TABLES[..1], &RocksOptions::default()).unwrap();
    put(&store, LEFT, b"key", b"").unwrap();
    store.sync().unwrap();
    drop(store);
    let store = open(directory.path()).unwrap();
    put(&store, RIGHT, b"key", b"value").unwrap();
    assert_eq!((keys(&store).len(), store.get(RIGHT, b"key").unwrap()), (1, Some(b"value".to_vec())));
}

#[test]
fn a_store_without_its_current_file_is_corrupt() {
    let (directory, _) = killed(5);
    fs::remove_file(directory.path().join("CURRENT")).unwrap();
    assert_eq!(kind(open(directory.path())), ErrorKind::Corrupt);
}

#[test]
fn a_creation_that_was_cut_off_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["LOCK", "LOG", "LOG.old.1", "IDENTITY", "MANIFEST-000001", "000001.dbtmp", "roomserver.lock"] {
        fs::write(directory.path().join(name), "cut").unwrap();
    }
    let store = open(&directory.path().join("")).unwrap();
    put(&store, LEFT, b"key", b"").unwrap();
    drop(store);
    assert_eq!(keys(&open(directory.path()).unwrap()).len(), 1);
    // Cut off later: the database is there, its tables are not yet.
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.create_if_missing(true);
    drop(DB::open(&options, directory.path()).unwrap());
    open(directory.path()).unwrap();
}

#[test]
fn after_a_failed_flush_only_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    put(&store, LEFT, b"key", b"value").unwrap();
    store.sync().unwrap();
    // No table file can be made in a directory that is gone.
    fs::remove_dir_all(directory.path()).unwrap();
    assert_eq!(store.flush(false).unwrap_err().kind(), ErrorKind::Unavailable);
    let error = put(&store, LEFT, b"other", b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("a flush failed"), "{error}");
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.flush(false).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(keys(&store), [b"key"]);
}

#[test]
fn a_stall_makes_busy_and_does_not_poison() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let family = store.database.db.cf_handle("left").unwrap();
    let limits = |compact_at: &str, stop_at: &str| {
        let options = [
            ("level0_file_num_compaction_trigger", compact_at),
            ("level0_slowdown_writes_trigger", stop_at),
            ("level0_stop_writes_trigger", stop_at),
        ];
        store.database.db.set_options_cf(family, &options).unwrap();
    };
    limits("100", "100");
    for key in [b"1", b"2", b"3"] {
        put(&store, LEFT, key, b"").unwrap();
        store.flush(false).unwrap();
    }
    limits("100", "2");
    assert_eq!(put(&store, LEFT, b"4", b"").unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(keys(&store).len(), 3, "nothing of it was applied");
    store.sync().unwrap();
    limits("100", "100");
    put(&store, LEFT, b"4", b"").unwrap();
    store.sync().unwrap();
    assert_eq!(keys(&store).len(), 4);
}

#[test]
fn every_setting_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let newest = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let newest =
        newest.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS-")).max().unwrap();
    let text = fs::read_to_string(newest).unwrap();
    for setting in [
        "wal_recovery_mode=kTolerateCorruptedTailRecords",
        "paranoid_checks=true",
        "checksum=kXXH3",
        "max_dict_buffer_bytes=8388608",
        "max_dict_bytes=16384",
        "bottommost_compression=kZSTD",
        "filter_policy=bloomfilter",
        "partition_filters=true",
        "memtable_protection_bytes_per_key=8",
        "paranoid_file_checks=true",
    ] {
        assert!(text.contains(setting), "{setting}");
    }
}

#[test]
fn blocks_that_are_cached_are_not_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = RocksOptions::default();
    let store = RocksStore::open(directory.path(), TABLES, &options).unwrap();
    for n in 0..2_000u32 {
        put(&store, LEFT, &n.to_be_bytes(), &[n.to_le_bytes().as_slice(), &[7; 60]].concat()).unwrap();
    }
    store.flush(true).unwrap();
    let mut reads = probe::BlockReads::default();
    let mut count = |keys: &[u32]| {
        reads.take();
        for key in keys {
            assert!(store.get(LEFT, &key.to_be_bytes()).unwrap().is_some());
        }
        reads.take().data
    };
    store.drop_cached_blocks(&options);
    assert_eq!(count(&[5, 1_990]), 2, "two blocks, one read each");
    assert_eq!(count(&[5, 1_990]), 0);
    store.drop_cached_blocks(&options);
    assert_eq!(count(&[5, 5, 6]), 1);
}

/// A store that counts what is written into table files.
fn counting(directory: &Path) -> RocksStore {
    let options = RocksOptions { counts_written: true, ..RocksOptions::default() };
    RocksStore::open(directory, TABLES, &options).unwrap()
}

/// Puts rows of about 1,000 bytes that no compression makes shorter.
fn put_large(store: &RocksStore, rows: std::ops::Range<u32>) {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    for row in rows {
        let mut random = || {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_be_bytes()
        };
        let value: Vec<u8> = (0..125).flat_map(|_| random()).collect();
        put(store, LEFT, &row.to_be_bytes(), &value).unwrap();
    }
}

fn delete_all(store: &RocksStore, rows: std::ops::Range<u32>) {
    let mut batch = Batch::default();
    batch.delete_range(LEFT, rows.start.to_be_bytes(), rows.end.to_be_bytes());
    store.write(batch).unwrap();
}

fn garbage(rows: std::ops::Range<u32>, count: Option<u64>) -> Garbage {
    let [start, end] = [rows.start, rows.end].map(|row| row.to_be_bytes().to_vec());
    Garbage { table: LEFT, start, end, rows: count }
}

#[test]
fn garbage_that_is_little_of_its_files_is_left_and_much_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let store = counting(directory.path());
    put_large(&store, 0..4_000);
    store.flush(true).unwrap();
    let full = store.table_bytes().unwrap()[0];
    let before = store.written().unwrap();
    assert!(before.flushed > 3_900_000 && before.compacted > 3_900_000, "{before:?}");
    // A tenth of all, in small parts, as after a collection of many rooms; then one that is below every limit.
    let parts: Vec<Garbage> = (0..100).map(|part| garbage(part * 40..part * 40 + 4, Some(4))).collect();
    for part in 0..100 {
        delete_all(&store, part * 40..part * 40 + 4);
    }
    store.compact(&parts).unwrap();
    store.compact(&[garbage(0..4, None)]).unwrap();
    assert_eq!(store.written().unwrap(), before, "nothing was flushed or compacted");
    // All of a large part, by what is known of it: that it is all of it, or how many rows were deleted.
    for (rows, count) in [(0..2_000, None), (2_000..3_500, Some(1_500))] {
        delete_all(&store, rows.clone());
        store.compact(&[garbage(rows, count)]).unwrap();
    }
    let rest = store.table_bytes().unwrap()[0];
    assert!(rest < full / 6, "{rest} of {full} bytes are left");
    assert_eq!(keys(&store).len(), 452);
}

#[test]
fn rows_that_were_never_written_out_are_not_written_out_to_be_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = counting(directory.path());
    put_large(&store, 0..1_000);
    delete_all(&store, 0..1_000);
    store.compact(&[garbage(0..1_000, None), garbage(0..1_000, Some(1_000))]).unwrap();
    assert_eq!(store.written().unwrap(), Written::default());
    store.flush(false).unwrap();
    assert!(store.written().unwrap().flushed < 10_000, "{:?}", store.written());
    assert_eq!(open(tempfile::tempdir().unwrap().path()).unwrap().written(), None, "only if it is asked for");
}

#[test]
fn a_part_that_is_all_garbage_is_compacted_beside_one_that_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let options = RocksOptions { counts_written: true, ..RocksOptions::default() };
    let store = RocksStore::open(directory.path(), TABLES, &options).unwrap();
    // Three table files: 32 MiB are in one.
    put_large(&store, 0..80_000);
    store.flush(true).unwrap();
    let full = store.table_bytes().unwrap()[0];
    delete_all(&store, 40_000..60_000);
    delete_all(&store, 1..2);
    let before = store.written().unwrap().compacted;
    store.compact(&[garbage(0..2, Some(1)), garbage(40_000..60_000, None)]).unwrap();
    let (rest, compacted) = (store.table_bytes().unwrap()[0], store.written().unwrap().compacted - before);
    assert!(rest < full * 4 / 5, "{rest} of {full} bytes are left");
    assert!(compacted < full * 3 / 4, "{compacted} of {full} bytes were rewritten");
}

/// The priority of each thread of RocksDB in this process.
#[cfg(target_os = "linux")]
fn priorities() -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else { continue };
        if name.starts_with("rocksdb:") {
            let nice = rest.split_whitespace().nth(16).unwrap();
            found.push((name.to_owned(), nice.parse().unwrap()));
        }
    }
    found
}

/// In a process of its own, since priorities are those of all stores of the process.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_yield_have_the_lowest_priority() {
    const CHILD: &str = "ROOMSERVER_TEST_YIELDS_CPU";
    if std::env::var_os(CHILD).is_none() {
        let name = "kv::rocksdb::tests::threads_that_yield_have_the_lowest_priority";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let usual = RocksStore::open(directory.path().join("a").as_path(), TABLES, &RocksOptions::default()).unwrap();
    put(&usual, LEFT, b"a", b"b").unwrap();
    usual.flush(true).unwrap();
    assert!(priorities().iter().all(|(_, nice)| *nice == 0), "{:?}", priorities());
    let options = RocksOptions { yields_cpu: true, ..RocksOptions::default() };
    let store = RocksStore::open(directory.path().join("b").as_path(), TABLES, &options).unwrap();
    for round in 0..4u8 {
        put(&store, LEFT, &[round], b"b").unwrap();
        store.flush(true).unwrap();
    }
    let found = priorities();
    assert!(!found.is_empty() && found.iter().any(|(_, nice)| *nice == 19), "{found:?}");
}
