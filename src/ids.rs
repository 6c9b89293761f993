//! Numeric IDs. They stay inside the engine: callers see Matrix IDs and opaque tokens.

use std::{fmt, num::NonZeroU32};

macro_rules! nid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// The ID with this number; 0 is none.
            pub const fn new(number: u32) -> Option<Self> {
                match NonZeroU32::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// Its number, as stored.
            pub const fn number(self) -> u32 {
                self.0.get()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

nid! {
    /// A room of this store.
    RoomNid
}
nid! {
    /// An event of one room: dense, in the order of storing, so that an event's auth events have smaller numbers than it.
    EventNid
}
nid! {
    /// An event type that occurs in some state of this store.
    EventTypeNid
}
nid! {
    /// A state key that occurs in some state of this store.
    StateKeyNid
}

/// The key of a state: (event type, state key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateTuple {
    /// The event type.
    pub event_type: EventTypeNid,
    /// The state key.
    pub state_key: StateKeyNid,
}

/// A snapshot of one room's state: the number of a change or merge in the room's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotNid(u32);

impl SnapshotNid {
    /// The empty state, before the create event. No row holds it.
    pub const EMPTY: Self = Self(0);

    /// The snapshot with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number, as stored.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Tells whether this is the empty state.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
