//! Stores of earlier formats: a build that misreads one answers wrongly, or destroys it.

use std::{fs, path::Path};

use roomserver::{ErrorKind, Options, RoomServer};

/// A copy of a kept store, since opening one writes to it.
fn kept(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stores").join(name);
    for file in fs::read_dir(kept).expect("a kept store") {
        let file = file.expect("readable").path();
        fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    copy
}

#[test]
fn a_store_of_format_1_is_refused_by_its_version() {
    let store = kept("v1");
    let Err(error) = RoomServer::open(store.path(), &Options::default()) else { panic!("it opened") };
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("format version 1"), "{error}");
}
