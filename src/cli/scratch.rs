//! A place for temporary stores.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::ending::Failure;

/// A directory that goes when it is dropped.
pub(super) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Makes one in the directory for temporary files; its name tells what it is for.
    pub(super) fn new(purpose: &str) -> Result<Self, Failure> {
        let base = std::env::temp_dir();
        let unusable =
            |error: io::Error| Failure::Other(format!("no directory can be made in {}: {error}", base.display()));
        for attempt in 0..100 {
            let directory = base.join(format!("roomserver-{purpose}-{}-{attempt}", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => return Ok(Self { directory }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unusable(error)),
            }
        }
        Err(unusable(io::ErrorKind::AlreadyExists.into()))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "a temporary directory stays behind");
        }
    }
}
