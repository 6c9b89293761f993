//! What a directory holds, decided before anything in it is touched, and the lock on it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The lock of this crate. RocksDB's own, `LOCK`, is taken only after it has read manifest and logs, and by then the
/// check of the logs would have misread what another process is just writing.
const LOCK: &str = "roomserver.lock";

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or what is left of a store whose creation was cut off: a store can be made here.
    Nothing,
    /// A RocksDB store.
    Store,
}

/// Tells what `directory` holds, and refuses what is not a store.
///
/// `Invalid` if it is no directory, or has other files in it; `Corrupt` if it has files of a store, but not the one
/// that a store begins with; `Unavailable` if it cannot be read.
pub(super) fn inspect(directory: &Path) -> Result<Found> {
    match fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Error::invalid(format!("{} is not a directory", directory.display())));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(unavailable(directory, error)),
    }
    let names = names(directory)?;
    if names.iter().any(|name| name == "CURRENT") {
        return Ok(Found::Store);
    }
    if names.iter().all(|name| is_left_of_creation(name)) {
        return Ok(Found::Nothing);
    }
    if names.iter().any(|name| name.starts_with("MANIFEST-")) {
        let message = format!("{} has files of a store, but its CURRENT file is missing", directory.display());
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Err(Error::invalid(format!("{} has files in it, but is not a store", directory.display())))
}

/// Tells whether `directory` has rows or batches in it: table files, or logs that are not empty.
pub(super) fn has_data(directory: &Path) -> Result<bool> {
    for name in names(directory)? {
        let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
        match extension {
            Some("sst" | "ldb" | "blob") => return Ok(true),
            Some("log") => {
                let metadata = fs::metadata(directory.join(&name)).map_err(|error| unavailable(directory, error))?;
                if metadata.len() > 0 {
                    return Ok(true);
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Makes the directory if it is not there and locks it, until the file is dropped. `Unavailable` if it is locked; `obstacle`
/// tells what this process knows of why.
pub(super) fn lock(directory: &Path, obstacle: &dyn Fn(&Path) -> Option<String>) -> Result<File> {
    fs::create_dir_all(directory).map_err(|error| unavailable(directory, error))?;
    let open = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK));
    let file = open.map_err(|error| unavailable(directory, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let why = obstacle(directory).map(|why| format!(": {why}")).unwrap_or_default();
            Err(Error::unavailable(format!("the store in {} is open already{why}", directory.display())))
        }
        Err(TryLockError::Error(error)) => Err(unavailable(directory, error)),
    }
}

/// Names that RocksDB gives to files before `CURRENT`, which it makes before the first log or table.
fn is_left_of_creation(name: &str) -> bool {
    matches!(name, LOCK | "LOCK" | "LOG" | "IDENTITY")
        || ["LOG.old.", "MANIFEST-", "OPTIONS-"].iter().any(|start| name.starts_with(start))
        || name.ends_with(".dbtmp")
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(|error| unavailable(directory, error))?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    entries.map(name).collect::<io::Result<_>>().map_err(|error| unavailable(directory, error))
}

fn unavailable(directory: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("{} cannot be used", directory.display())).with_source(error)
}
