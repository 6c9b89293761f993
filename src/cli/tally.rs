//! What came of the lines of an import.

use crate::{encoding::event_row::Verdict, room::outcome::Kind};

/// What came of the lines: each is counted once, by its state when the import ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) duplicate: u64,
    pub(super) soft_failed: u64,
    pub(super) rejected: u64,
    pub(super) parked: u64,
    pub(super) outliers: u64,
    pub(super) invalid: u64,
    /// Files that could not be read to their end: not lines.
    pub(super) unreadable: u64,
}

impl Tally {
    /// The lines: all that were not empty.
    pub(super) fn lines(&self) -> u64 {
        let Self { accepted, duplicate, soft_failed, rejected, parked, outliers, invalid, .. } = self;
        accepted + duplicate + soft_failed + rejected + parked + outliers + invalid
    }

    /// Counts a line by its event as it is stored; `None` if it is parked.
    pub(super) fn count(&mut self, stored: Option<&(Kind, Verdict)>) {
        let count = match stored {
            None => &mut self.parked,
            Some((Kind::Outlier, _)) => &mut self.outliers,
            Some((_, Verdict::Accepted)) => &mut self.accepted,
            Some((_, Verdict::SoftFailed(_))) => &mut self.soft_failed,
            Some((_, Verdict::Rejected(_))) => &mut self.rejected,
        };
        *count = count.saturating_add(1);
    }
}
