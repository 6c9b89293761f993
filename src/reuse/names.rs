//! What the numbers of keys and events stand for, for layouts that store text and for fingerprints.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::workload::MEMBERS_FROM;
use crate::{
    encoding::fingerprint::Fingerprint,
    error::{Error, Result},
    generate::random::Random,
    ids::{EventNid, EventTypeNid, RoomNid, StateKeyNid, StateTuple},
    state::fingerprint::EntryNames,
    tables::interning::WELL_KNOWN_TYPES,
};

const MEMBER: u32 = 2;
const SERVERS: u32 = 64;
/// An odd number, so that multiplying by it modulo 2^32 can be undone.
const SCRAMBLE: u32 = 0x9E37_79B1;
const UNSCRAMBLE: u32 = inverse(SCRAMBLE);

const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut rounds = 0;
    while rounds < 5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        rounds += 1;
    }
    inverse
}

/// The key of a state, as the engine numbers it.
pub fn tuple(key: u32) -> Result<StateTuple> {
    // The first number is left out, so that no key of a room has the type of its members.
    let (event_type, state_key) = if key < MEMBERS_FROM { (key + MEMBER, 1) } else { (MEMBER, key) };
    match (EventTypeNid::new(event_type), StateKeyNid::new(state_key)) {
        (Some(event_type), Some(state_key)) => Ok(StateTuple { event_type, state_key }),
        _ => Err(Error::internal("a key with the number 0")),
    }
}

/// The number of a key that the engine numbers so.
pub fn key(tuple: StateTuple) -> u32 {
    match (tuple.event_type.number(), tuple.state_key.number()) {
        (MEMBER, key) => key,
        (event_type, _) => event_type.saturating_sub(MEMBER),
    }
}

/// Event type and state key, with a zero byte between them.
pub fn text_of_key(key: u32) -> Result<String> {
    let StateTuple { event_type, state_key } = tuple(key)?;
    let name = WELL_KNOWN_TYPES.get(event_type.number() as usize - 1).copied().unwrap_or_default();
    if event_type.number() != MEMBER {
        return Ok(format!("{name}\0"));
    }
    let number = state_key.number().wrapping_mul(SCRAMBLE);
    Ok(format!("{name}\0@{number:08x}:server{}.example.org", state_key.number() % SERVERS))
}

/// The number of a key with this text.
pub fn key_of_text(text: &[u8]) -> Result<u32> {
    let unknown = || Error::internal("a key that was never made");
    let text = std::str::from_utf8(text).map_err(|_| unknown())?;
    let (name, state_key) = text.split_once('\0').ok_or_else(unknown)?;
    match state_key.get(1..9) {
        Some(digits) => {
            let number = u32::from_str_radix(digits, 16).map_err(|_| unknown())?;
            Ok(number.wrapping_mul(UNSCRAMBLE))
        }
        None => {
            let place = (0..).zip(WELL_KNOWN_TYPES).find(|(_, known)| *known == name).ok_or_else(unknown)?.0;
            Ok(1 + place - MEMBER)
        }
    }
}

/// An event ID: 32 bytes that nothing compresses, in base64.
pub fn event_id(room: RoomNid, event: u32) -> String {
    let mut random = Random::new((u64::from(room.number()) << 32) | u64::from(event));
    let mut bytes: [u8; 32] = random.bytes();
    if let Some((number, rest)) = bytes.split_first_chunk_mut::<4>() {
        *number = (event ^ mask(rest)).to_be_bytes();
    }
    format!("${}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The number of the event with this ID.
pub fn event_of_id(id: &[u8]) -> Result<u32> {
    let unknown = || Error::internal("an event ID that was never made");
    let encoded = id.strip_prefix(b"$").ok_or_else(unknown)?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| unknown())?;
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or_else(unknown)?;
    Ok(u32::from_be_bytes(*number) ^ mask(rest))
}

fn mask(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Names of one room, for fingerprints.
pub struct Names {
    /// The room.
    pub room: RoomNid,
}

impl EntryNames for Names {
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint> {
        let text = text_of_key(key(tuple))?;
        let (event_type, state_key) = text.split_once('\0').unwrap_or((&text, ""));
        Ok(Fingerprint::of_entry(event_type, state_key, &event_id(self.room, event.number())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_numbers() {
        for number in [1, 2, 4, MEMBERS_FROM, MEMBERS_FROM + 1, 2_000_007, u32::MAX] {
            assert_eq!(key_of_text(text_of_key(number).unwrap().as_bytes()).unwrap(), number);
            assert_eq!(key(tuple(number).unwrap()), number);
            let id = event_id(RoomNid::new(3).unwrap(), number);
            assert_eq!((id.len(), event_of_id(id.as_bytes()).unwrap()), (44, number));
        }
    }
}
