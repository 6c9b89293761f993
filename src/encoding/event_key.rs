//! Event IDs as 32 bytes.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma_common::{ServerName, room_version_rules::EventIdFormatVersion};
use sha2::{Digest as _, Sha256};

/// The most bytes of an event ID, room ID, user ID, event type or state key (specification, "Size limits").
pub const MAX_FIELD_BYTES: usize = 255;

/// An event ID in 32 bytes: the reference hash where the event ID is one, else the SHA-256 of the ID's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey([u8; 32]);

impl EventKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of an event ID; `None` if `event_id` is none of that format.
    ///
    /// Of the formats that spell a hash, only the spelling counts that [`EventKey::event_id`] gives back. Of the format
    /// of room versions 1 and 2, `$localpart:server`, the server name must be valid and 255 bytes is the limit.
    pub fn of(event_id: &str, format: EventIdFormatVersion) -> Option<Self> {
        let rest = event_id.strip_prefix('$')?;
        match format {
            EventIdFormatVersion::V1 => {
                let (localpart, server) = rest.split_once(':')?;
                let fits = !localpart.is_empty() && event_id.len() <= MAX_FIELD_BYTES;
                <&ServerName>::try_from(server).ok().filter(|_| fits)?;
                Some(Self(Sha256::digest(event_id).into()))
            }
            _ => Self::of_hash(rest, format),
        }
    }

    /// The key of the hash in an event ID or room ID, without the sigil; `None` if that format spells no hash so.
    pub(super) fn of_hash(hash: &str, format: EventIdFormatVersion) -> Option<Self> {
        let engine = engine(format)?;
        // 43 characters are 32 bytes and two spare bits; the decoder asks for room as for 33 bytes. It refuses
        // padding, foreign characters and spare bits that are set.
        let mut bytes = [0; 33];
        let length = engine.decode_slice(hash, &mut bytes).ok()?;
        bytes.get(..length)?.try_into().ok().map(Self)
    }

    /// The keys that an event ID could have, whatever the room version: one, or two where both alphabets of base64 spell
    /// it.
    pub fn any_format(event_id: &str) -> impl Iterator<Item = Self> {
        let formats = [EventIdFormatVersion::V3, EventIdFormatVersion::V2, EventIdFormatVersion::V1];
        let [url_safe, standard, textual] = formats.map(|format| Self::of(event_id, format));
        [url_safe, standard.filter(|key| url_safe.as_ref() != Some(key)), textual].into_iter().flatten()
    }

    /// The first bytes, by which the index finds it.
    pub fn prefix(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        [a, b, c, d, e, f, g, h]
    }

    /// Tells whether the event ID is this reference hash and no text of its own.
    pub fn is_hash_of(&self, reference_hash: &[u8; 32]) -> bool {
        self.0 == *reference_hash
    }

    /// The event ID of this key; `None` for the format of room versions 1 and 2, whose IDs cannot be had from a hash.
    pub fn event_id(&self, format: EventIdFormatVersion) -> Option<String> {
        Some(format!("${}", engine(format)?.encode(self.0)))
    }
}

/// The base64 that event IDs of a format are spelled in; `None` where they are not hashes.
fn engine(format: EventIdFormatVersion) -> Option<&'static GeneralPurpose> {
    match format {
        EventIdFormatVersion::V2 => Some(&STANDARD_NO_PAD),
        EventIdFormatVersion::V3 => Some(&URL_SAFE_NO_PAD),
        _ => None,
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [0xFB; 32];
    const STANDARD: &str = "$+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s";
    const URL_SAFE: &str = "$-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s";

    #[test]
    fn an_event_id_that_is_a_hash_gives_the_hash_and_back() {
        for (text, format) in [(STANDARD, EventIdFormatVersion::V2), (URL_SAFE, EventIdFormatVersion::V3)] {
            let key = EventKey::of(text, format).unwrap();
            assert_eq!(key.as_bytes(), &HASH);
            assert_eq!(key.event_id(format).unwrap(), text);
        }
    }

    #[test]
    fn each_format_refuses_the_others_alphabet() {
        assert_eq!(EventKey::of(STANDARD, EventIdFormatVersion::V3), None);
        assert_eq!(EventKey::of(URL_SAFE, EventIdFormatVersion::V2), None);
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let format = EventIdFormatVersion::V3;
        let spare_bit = URL_SAFE.replace("_s", "_t");
        assert_eq!(spare_bit.len(), URL_SAFE.len());
        let padded = format!("{URL_SAFE}=");
        let (longer, shorter) = (format!("{URL_SAFE}A"), &URL_SAFE[..43]);
        for text in [&spare_bit, &padded, &longer, shorter, &URL_SAFE[1..], "$", "", "$\u{e9}"] {
            assert_eq!(EventKey::of(text, format), None, "{text}");
        }
    }

    #[test]
    fn an_old_event_id_gives_the_hash_of_its_text() {
        let format = EventIdFormatVersion::V1;
        let key = EventKey::of("$1435641916114394fHBLK:matrix.org", format).unwrap();
        // sha256sum
        let expected = "aa14c18daa4c10648daf3f1f4609487ad21ea6a8119c7fc63f34f489f34c49b3";
        assert_eq!(hex(key), expected);
        assert_eq!(key.event_id(format), None);
    }

    #[test]
    fn an_old_event_id_needs_a_localpart_and_a_server_within_255_bytes() {
        let format = EventIdFormatVersion::V1;
        let long = |length: usize| format!("${}:a.b", "x".repeat(length - 5));
        assert!(EventKey::of(&long(255), format).is_some());
        for text in [&long(256), "$x", "$:a.b", "$x:", "$x:a b", "x:a.b", "!x:a.b", "$x:a.b:port"] {
            assert_eq!(EventKey::of(text, format), None, "{text}");
        }
    }

    fn hex(key: EventKey) -> String {
        key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
