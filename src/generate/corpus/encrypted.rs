//! Encrypted messages: random bytes where ciphertext stands, and the keys of a session around it.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{super::pdu::object, Lived, User};
use crate::encoding::json::{Json, Object};

/// Messages of a session; then the device makes another.
const SESSION: u32 = 100;

/// A device and its session in one room.
#[derive(Debug, Clone)]
pub(super) struct Device {
    id: String,
    key: String,
    session: String,
    messages: u32,
}

impl Lived {
    /// The content of an encrypted message, and the words that it hides.
    pub(super) fn encrypted_content(&mut self, sender: User) -> (usize, Object) {
        let (words, hidden) = self.message_content(sender);
        let mut plain = Vec::new();
        hidden.write_canonical(&mut plain);
        // The plaintext's JSON around the content, padded to blocks of 16 bytes; then what Megolm puts around it: version,
        // index, MAC and signature.
        let blocks = plain.len().saturating_add(60).div_euclid(16).saturating_add(1);
        let mut cipher = vec![3, 8, 18];
        while cipher.len() < blocks.saturating_mul(16).saturating_add(79) {
            cipher.extend(self.random.bytes::<8>());
        }
        let random = &mut self.random;
        let device = self.devices.entry(sender).or_insert_with(|| Device {
            id: (0..10)
                .map(|_| random.choose(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ").map_or('A', |letter| char::from(*letter)))
                .collect(),
            key: STANDARD_NO_PAD.encode(random.bytes::<32>()),
            session: STANDARD_NO_PAD.encode(random.bytes::<32>()),
            messages: 0,
        });
        device.messages = device.messages.saturating_add(1);
        if device.messages > SESSION {
            device.messages = 1;
            device.session = STANDARD_NO_PAD.encode(random.bytes::<32>());
        }
        let mut content = object([
            ("algorithm", "m.megolm.v1.aes-sha2".into()),
            ("ciphertext", Json::String(STANDARD_NO_PAD.encode(&cipher).into())),
            ("device_id", device.id.as_str().into()),
            ("sender_key", device.key.as_str().into()),
            ("session_id", device.session.as_str().into()),
        ]);
        // Relations stay outside of the ciphertext.
        if let Some(relation) = hidden.get("m.relates_to") {
            content.insert("m.relates_to", relation.clone());
        }
        (words, content)
    }
}
