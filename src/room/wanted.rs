//! Which events parked inputs lack, roughly.
//!
//! Every event that is stored may be one that parked inputs of any room wait for. To ask the store each time would cost a
//! scan an event. So it is counted here how many parked inputs want the events of each of some thousand classes, and only
//! an event of a class that is wanted is looked for.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{encoding::event_key::EventKey, error::Result, tables::rows::Rows};

/// The number of classes: 256 KiB of memory for a store.
const CLASSES: usize = 1 << 16;

/// How many parked inputs want an event of each class.
pub struct Wanted {
    counts: Box<[AtomicU32]>,
}

impl Wanted {
    /// Counts what the store holds.
    pub fn open(rows: Rows<'_>) -> Result<Self> {
        let wanted = Self { counts: (0..CLASSES).map(|_| AtomicU32::new(0)).collect() };
        rows.all_wanted(&mut |event| wanted.add(&event))?;
        Ok(wanted)
    }

    /// `false` means for certain that no parked input names this event as lacking; `true` that the store must be asked.
    pub fn may_have(&self, event: &EventKey) -> bool {
        self.class(event).is_some_and(|count| count.load(Ordering::SeqCst) > 0)
    }

    /// Counts a parked input that lacks this event. Whoever writes its row holds the event's index lock and counts first, so
    /// that whoever stores the event finds the count or is found by the other.
    pub fn add(&self, event: &EventKey) {
        if let Some(count) = self.class(event) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes back what was counted: the row is gone, or was not written.
    pub fn remove(&self, event: &EventKey) {
        if let Some(count) = self.class(event) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn class(&self, event: &EventKey) -> Option<&AtomicU32> {
        // The last bytes: the first ones also choose index rows, and in tests are often alike.
        let [.., high, low] = event.as_bytes();
        self.counts.get(usize::from(u16::from_be_bytes([*high, *low])))
    }
}
