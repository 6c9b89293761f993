//! The beginning of a structured body.

use smallvec::SmallVec;

use crate::{
    encoding::bytes::{Cursor, Decoded},
    ids::EventNid,
};

/// What must be looked up before a body can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Events of the room that the content names.
    pub mentions: SmallVec<[EventNid; 2]>,
    /// The number of the signing key's ID.
    pub key_id: Option<u32>,
}

/// The most events that a body names by number in its content.
pub const MENTIONS_MAX: usize = 8;

/// What the first byte after the form, and sometimes the next, says: what is not as it is with most events.
pub(super) mod flag {
    /// `hashes` is a section: something else than the content hash that is computed.
    pub(in super::super) const HASHES: u64 = 1;
    /// `signatures` is a section: something else than one signature of the sender's server.
    pub(in super::super) const SIGNATURES: u64 = 2;
    /// `prev_events` is a section: something else than those of the row.
    pub(in super::super) const PREV_EVENTS: u64 = 4;
    /// `auth_events` is a section: something else than those of the row.
    pub(in super::super) const AUTH_EVENTS: u64 = 8;
    /// The content names events of the room.
    pub(in super::super) const MENTIONS: u64 = 16;
    /// There are other fields.
    pub(in super::super) const OTHERS: u64 = 32;
    /// There is no `room_id`.
    pub(in super::super) const NO_ROOM: u64 = 64;
    /// There is an `event_id`: the event's.
    pub(in super::super) const EVENT_ID: u64 = 128;
    /// There is an `origin`: the sender's server.
    pub(in super::super) const ORIGIN: u64 = 256;
    /// There is a `prev_state`: an empty array.
    pub(in super::super) const PREV_STATE: u64 = 512;
    /// All flags are below this.
    pub(in super::super) const END: u64 = 1024;
}

/// The bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The beginning of a structured body.
pub(super) struct Head<'a> {
    pub(super) flags: u64,
    pub(super) header: Header,
    pub(super) signature: Option<&'a [u8]>,
}

impl Head<'_> {
    pub(super) fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

pub(super) fn take_head<'a>(nid: EventNid, cursor: &mut Cursor<'a>) -> Decoded<Head<'a>> {
    cursor.byte()?;
    let flags = cursor.varint()?;
    if flags >= flag::END {
        return Err(cursor.malformed("an unknown flag"));
    }
    let mut header = Header::default();
    if flags & flag::MENTIONS != 0 {
        let count = cursor.count(1)?;
        if count == 0 || count > MENTIONS_MAX {
            return Err(cursor.malformed("too many events that the content names, or none"));
        }
        for _ in 0..count {
            let distance = cursor.zigzag()?;
            let number = i64::from(nid.number()).checked_sub(distance).and_then(|number| u32::try_from(number).ok());
            let mentioned = number.and_then(EventNid::new);
            header.mentions.push(mentioned.ok_or(cursor.malformed("an event number of 0 or beyond 32 bits"))?);
        }
    }
    let mut signature = None;
    if flags & flag::SIGNATURES == 0 {
        header.key_id = Some(cursor.varint32()?);
        signature = Some(cursor.take(SIGNATURE_BYTES)?);
    }
    Ok(Head { flags, header, signature })
}
