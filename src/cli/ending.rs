//! How commands end, and what is told of those that could not do their work.

use std::{
    fmt,
    io::{self, Write},
};

use crate::error::Error;

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All is well.
    Right,
    /// Something is wrong with what was looked at.
    Wrong,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The engine could not.
    Engine(Error),
    /// The answer could not be written.
    Output(io::Error),
    /// Something else.
    Other(String),
}

/// Writes a line to stderr.
pub(super) fn complain(what: fmt::Arguments<'_>) {
    // If stderr is gone, nobody can be told so.
    let _gone = writeln!(io::stderr().lock(), "{what}");
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// Only what is written to stdout fails with this: other files name themselves.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
