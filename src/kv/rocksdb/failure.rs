//! What an error of RocksDB is to whoever called the store.

use crate::error::{Error, ErrorKind};

pub(super) fn failure(what: impl Into<String>, error: rocksdb::Error) -> Error {
    use rocksdb::ErrorKind as Rocks;
    let kind = match error.kind() {
        Rocks::Corruption => ErrorKind::Corrupt,
        Rocks::IOError
        | Rocks::Incomplete
        | Rocks::Busy
        | Rocks::TimedOut
        | Rocks::TryAgain
        | Rocks::ShutdownInProgress
        | Rocks::Aborted => ErrorKind::Unavailable,
        Rocks::NotFound
        | Rocks::NotSupported
        | Rocks::InvalidArgument
        | Rocks::MergeInProgress
        | Rocks::Expired
        | Rocks::CompactionTooLarge
        | Rocks::ColumnFamilyDropped
        | Rocks::Unknown => ErrorKind::Internal,
    };
    Error::new(kind, what).with_source(error)
}
