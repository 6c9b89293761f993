//! The two hashes of an event (specification, Server-Server API, "Signing Events").

use std::ops::Range;

use ruma_common::room_version_rules::RedactionRules;
use sha2::{Digest as _, Sha256};

use crate::encoding::{
    json::Object,
    redaction::{keeps_field, write_redacted_content},
};

/// An event in canonical form, from whose parts both hashes are taken without writing it again.
#[derive(Debug)]
pub struct CanonicalEvent<'a> {
    object: &'a Object,
    bytes: Vec<u8>,
    members: Vec<Range<usize>>,
}

impl<'a> CanonicalEvent<'a> {
    /// Writes the canonical form of an event.
    pub fn new(object: &'a Object) -> Self {
        let mut bytes = Vec::with_capacity(1024);
        let members = object.write_members(&mut bytes);
        Self { object, bytes, members }
    }

    /// The canonical form, signatures included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The canonical form, signatures included.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The content hash: "any existing `unsigned`, `signatures`, and `hashes` properties are removed. The resulting
    /// object is then encoded as Canonical JSON, and the JSON is hashed using SHA-256."
    pub fn content_hash(&self) -> [u8; 32] {
        let mut hasher = MemberHasher::default();
        for (key, member) in self.members() {
            if !matches!(key, "unsigned" | "signatures" | "hashes") {
                hasher.member(member);
            }
        }
        hasher.finish()
    }

    /// The reference hash, which in most room versions is the event ID: "The event is put through the redaction
    /// algorithm. The `signatures` and `unsigned` properties are removed. The event is converted into Canonical JSON. A
    /// sha256 hash is calculated."
    pub fn reference_hash(&self, rules: &RedactionRules) -> [u8; 32] {
        let mut hasher = MemberHasher::default();
        for (key, member) in self.members() {
            match key {
                "unsigned" | "signatures" => {}
                "content" => {
                    let mut content = b"\"content\":".to_vec();
                    let empty = Object::new();
                    let original = self.object.get_object("content").unwrap_or(&empty);
                    let event_type = self.object.get_str("type").unwrap_or_default();
                    write_redacted_content(original, event_type, rules, &mut content);
                    hasher.member(&content);
                }
                key if keeps_field(key, rules) => hasher.member(member),
                _ => {}
            }
        }
        hasher.finish()
    }

    /// The members, each with its `"key":value` in canonical form.
    fn members(&self) -> impl Iterator<Item = (&'a str, &[u8])> {
        let keys = self.object.iter().map(|(key, _)| key);
        keys.zip(self.members.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default()))
    }
}

/// Hashes a canonical object, member by member.
#[derive(Default)]
struct MemberHasher {
    hasher: Sha256,
    has_members: bool,
}

impl MemberHasher {
    fn member(&mut self, member: &[u8]) {
        self.hasher.update(if self.has_members { b"," } else { b"{" });
        self.hasher.update(member);
        self.has_members = true;
    }

    fn finish(mut self) -> [u8; 32] {
        self.hasher.update(if self.has_members { "}" } else { "{}" });
        self.hasher.finalize().into()
    }
}
