//! What can go wrong, by what a caller should do about it.

use std::fmt;

/// A failure, with the kind that tells a caller what to do about it.
///
/// Absence is an [`Option`] and refusal of an event is a [`Verdict`](crate::Verdict); an `Error` is neither.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The room, event or state that was named is not here.
    NotFound,
    /// The input is malformed or contradicts itself; sending it again will not help.
    Invalid,
    /// A queue is full, or the store takes no writes just now; try again later.
    Busy,
    /// Bytes on disk are not what was written; the message names table, key and offset.
    Corrupt,
    /// The store cannot be used now: closed, locked by another process, poisoned by an I/O error, or its room is in quarantine.
    Unavailable,
    /// A fault of the engine itself.
    Internal,
}

impl Error {
    /// Builds an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Tells what a caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A copy for another receiver of the same failure; the cause becomes part of the message.
    pub(crate) fn duplicate(&self) -> Self {
        Self::new(self.kind, self.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Bytes that are not what was written: where they lie and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The table's name.
    pub table: &'static str,
    /// The key, as stored.
    pub key: Vec<u8>,
    /// The offset in the value, in bytes.
    pub offset: usize,
    /// What was found there.
    pub what: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}, key ", self.table)?;
        for byte in &self.key {
            write!(f, "{byte:02x}")?;
        }
        write!(f, ", offset {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for Corruption {}

impl From<Corruption> for Error {
    fn from(corruption: Corruption) -> Self {
        Self::new(ErrorKind::Corrupt, corruption.to_string())
    }
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
