//! The head of a room: what its writer goes on from. One row a room, rewritten with every event.
//!
//! The bytes are drawn in `docs/format.md`.

use smallvec::SmallVec;

use super::{
    bytes::{Cursor, Decoded, put_varint},
    fingerprint::Fingerprint,
};
use crate::ids::{EventNid, SnapshotNid};

/// The merges that a head remembers.
pub const MERGES_MAX: usize = 8;

/// The sealed snapshots whose lists may still be built. When one more seals, the list of the oldest must be there.
pub const SEALS_MAX: usize = 2;

/// States that were resolved, and the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The states, ascending and distinct.
    pub parents: SmallVec<[SnapshotNid; 4]>,
    /// What they were resolved into.
    pub result: SnapshotNid,
}

/// What a room's writer goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomHead {
    /// The number of the newest event; 0 if there is none.
    pub last_event: u32,
    /// The newest position; 0 if there is none.
    pub last_position: u32,
    /// The newest snapshot.
    pub last_snapshot: u32,
    /// The number of the newest parked input.
    pub last_parked: u32,
    /// The room's create event, once it is stored and accepted.
    pub create: Option<EventNid>,
    /// The current state.
    pub current: Current,
    /// The forward extremities, ascending.
    pub extremities: SmallVec<[EventNid; 4]>,
    /// The newest merges, oldest first.
    pub merges: SmallVec<[Merge; MERGES_MAX]>,
    /// The newest snapshots with a derived list, ascending: the only ones whose lists may not be built yet.
    pub seals: SmallVec<[SnapshotNid; SEALS_MAX]>,
    /// How many events there are of each sort.
    pub counts: Counts,
    /// What garbage collection did.
    pub collected: Collected,
}

/// What garbage collection did in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// How often it rewrote packs: one that was read before is not the one that is there now.
    pub revision: u32,
    /// The last of the snapshots that have no pack any more; 0 if there is none.
    pub snapshots: u32,
    /// Events without a body.
    pub bodies: u32,
}

/// The resolution of the states after all forward extremities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// The snapshot.
    pub snapshot: SnapshotNid,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// The number of its keys.
    pub len: u32,
}

impl Default for Current {
    fn default() -> Self {
        Self { snapshot: SnapshotNid::EMPTY, fingerprint: Fingerprint::EMPTY, len: 0 }
    }
}

/// How many events a room has of each sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events in the graph, whatever the verdict.
    pub events: u32,
    /// Outliers.
    pub outliers: u32,
    /// Rejected events in the graph.
    pub rejected: u32,
    /// Soft-failed events.
    pub soft_failed: u32,
    /// Inputs that wait for others.
    pub parked: u32,
}

impl RoomHead {
    /// Writes the head.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        let Counts { events, outliers, rejected, soft_failed, parked } = self.counts;
        let create = self.create.map_or(0, EventNid::number);
        for number in [
            self.last_event,
            self.last_position,
            self.last_snapshot,
            self.last_parked,
            create,
            events,
            outliers,
            rejected,
            soft_failed,
            parked,
            self.current.snapshot.number(),
            self.current.len,
        ] {
            put_varint(&mut out, u64::from(number));
        }
        out.extend_from_slice(&self.current.fingerprint.to_bytes());
        put_varint(&mut out, self.extremities.len() as u64);
        for extremity in &self.extremities {
            put_varint(&mut out, u64::from(extremity.number()));
        }
        put_varint(&mut out, self.merges.len() as u64);
        for merge in &self.merges {
            put_varint(&mut out, u64::from(merge.result.number()));
            put_varint(&mut out, merge.parents.len() as u64);
            for parent in &merge.parents {
                put_varint(&mut out, u64::from(parent.number()));
            }
        }
        put_varint(&mut out, self.seals.len() as u64);
        for sealed in &self.seals {
            put_varint(&mut out, u64::from(sealed.number()));
        }
        let Collected { revision, snapshots, bodies } = self.collected;
        for number in [revision, snapshots, bodies] {
            put_varint(&mut out, u64::from(number));
        }
        out
    }

    /// Reads a head.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let mut cursor = Cursor::new(bytes);
        let mut head = Self {
            last_event: cursor.varint32()?,
            last_position: cursor.varint32()?,
            last_snapshot: cursor.varint32()?,
            last_parked: cursor.varint32()?,
            create: EventNid::new(cursor.varint32()?),
            counts: Counts {
                events: cursor.varint32()?,
                outliers: cursor.varint32()?,
                rejected: cursor.varint32()?,
                soft_failed: cursor.varint32()?,
                parked: cursor.varint32()?,
            },
            ..Self::default()
        };
        let (snapshot, len) = (SnapshotNid::new(cursor.varint32()?), cursor.varint32()?);
        head.current = Current { snapshot, len, fingerprint: Fingerprint::from_bytes(cursor.array()?) };
        for _ in 0..cursor.count(1)? {
            let extremity = EventNid::new(cursor.varint32()?);
            head.extremities.push(extremity.ok_or(cursor.malformed("an extremity of number 0"))?);
        }
        let merges = cursor.count(2)?;
        if merges > MERGES_MAX {
            return Err(cursor.malformed("more merges than a head remembers"));
        }
        for _ in 0..merges {
            let result = SnapshotNid::new(cursor.varint32()?);
            let mut parents = SmallVec::new();
            for _ in 0..cursor.count(1)? {
                parents.push(SnapshotNid::new(cursor.varint32()?));
            }
            head.merges.push(Merge { parents, result });
        }
        for _ in 0..cursor.count(1)? {
            let sealed = SnapshotNid::new(cursor.varint32()?);
            if head.seals.last().is_some_and(|last| *last >= sealed) || head.seals.len() >= SEALS_MAX {
                return Err(cursor.malformed("sealed snapshots that are too many or do not ascend"));
            }
            head.seals.push(sealed);
        }
        head.collected =
            Collected { revision: cursor.varint32()?, snapshots: cursor.varint32()?, bodies: cursor.varint32()? };
        cursor.end()?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    #[test]
    fn a_head_comes_back() {
        let parents = smallvec![SnapshotNid::new(3), SnapshotNid::new(9)];
        let head = RoomHead {
            last_event: 12,
            last_position: 14,
            last_snapshot: 11,
            last_parked: 2,
            create: EventNid::new(1),
            current: Current { snapshot: SnapshotNid::new(11), fingerprint: Fingerprint::from_bytes([3; 32]), len: 5 },
            extremities: smallvec![EventNid::new(10).expect("not 0"), EventNid::new(12).expect("not 0")],
            merges: smallvec![Merge { parents, result: SnapshotNid::new(11) }],
            seals: smallvec![SnapshotNid::new(7), SnapshotNid::new(10)],
            counts: Counts { events: 10, outliers: 2, rejected: 1, soft_failed: 1, parked: 1 },
            collected: Collected { revision: 3, snapshots: 256, bodies: 7 },
        };
        assert_eq!(RoomHead::decode(&head.encode()), Ok(head));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = RoomHead::decode(&bytes);
        }
    }
}
