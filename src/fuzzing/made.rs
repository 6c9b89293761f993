//! Events that are made of bytes: each byte decides something, so that most inputs are PDUs, and odd ones.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma_common::room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules};
use smallvec::SmallVec;

use super::expect::ExpectValue as _;
use crate::{
    encoding::{
        event_row::{EventRow, Kind, Name, Refusal, Remains, States, Verdict},
        json::{Json, Object},
        pdu::{CanonicalEvent, Pdu},
    },
    ids::{EventNid, EventTypeNid, SnapshotNid, StateKeyNid, StateTuple},
};

/// Decisions, a byte each; all are 0 once none are left.
pub(super) struct Choices<'a>(&'a [u8]);

const TEXTS: [&str; 12] = [
    "",
    "a",
    "body",
    "m.text",
    "org.example.odd",
    "\u{0}\t\"\\",
    "é\u{ffff}\u{10000}",
    "mxc://a.example/abcDEF",
    "mxc://elsewhere.example/x",
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
    "AAAA==",
    "m.room.member",
];
const TYPES: [&str; 10] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.message",
    "m.room.redaction",
    "m.room.encrypted",
    "m.room.third_party_invite",
    "m.reaction",
    "org.example.odd",
];
const USERS: [&str; 4] = ["@alice:a.example", "@bob:b.example:8448", "@é:a.example", "@:a.example"];
const ROOM: &str = "!room:a.example";
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "14",
    "15",
    "9007199254740991",
    "-9007199254740991",
    "9223372036854775807",
    "123456789012345678901234567890",
    "1.5",
    "-0.0",
    "1e+16",
    "-9007199254740992",
];

fn text(text: impl Into<Box<str>>) -> Json {
    Json::String(text.into())
}

impl<'a> Choices<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit.max(1)
    }

    /// True for one byte of `out_of`; not where nothing is left.
    fn rarely(&mut self, out_of: u8) -> bool {
        self.below(out_of) == out_of.saturating_sub(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let place = usize::from(self.byte()).checked_rem(of.len())?;
        of.get(place).copied()
    }

    fn hash(&mut self) -> [u8; 32] {
        [self.byte(); 32]
    }

    fn number(&mut self) -> Json {
        let written = match self.below(3) {
            0 => self.byte().to_string(),
            1 => (i64::from(self.byte()) * i64::from(self.byte()) * -7_777_777).to_string(),
            _ => self.one(&NUMBERS).unwrap_or("0").to_owned(),
        };
        Json::parse(written.as_bytes()).unwrap_or(Json::Null)
    }

    fn string(&mut self, known: &[String]) -> Json {
        let hash = self.hash();
        match self.below(9) {
            0..=2 => text(self.one(&TEXTS).unwrap_or_default()),
            3 => text("x".repeat(usize::from(self.byte()))),
            4 => text(STANDARD_NO_PAD.encode(hash)),
            5 => text(URL_SAFE_NO_PAD.encode(hash.get(..usize::from(self.byte() % 33)).unwrap_or_default())),
            6 => text(STANDARD.encode(hash.get(..usize::from(self.byte() % 33)).unwrap_or_default())),
            7 => text(format!("${}", URL_SAFE_NO_PAD.encode(hash))),
            _ => text(known.get(usize::from(self.byte())).map_or(ROOM, String::as_str)),
        }
    }

    fn value(&mut self, known: &[String], depth: u8) -> Json {
        let kinds = if depth == 0 { 5 } else { 8 };
        match self.below(kinds) {
            0 => Json::Null,
            1 => Json::Bool(self.rarely(2)),
            2 => self.number(),
            3 | 4 => self.string(known),
            5 => Json::Array((0..self.below(20)).map(|_| self.value(known, depth - 1)).collect()),
            _ => Json::Object(self.object(known, depth - 1)),
        }
    }

    fn object(&mut self, known: &[String], depth: u8) -> Object {
        let mut object = Object::default();
        for _ in 0..self.below(20) {
            let Json::String(key) = self.string(known) else { continue };
            let value = self.value(known, depth);
            object.insert(key, value);
        }
        object
    }

    fn event_id(&mut self, rules: &RoomVersionRules) -> String {
        let hash = self.hash();
        match rules.event_id_format {
            EventIdFormatVersion::V1 => format!("${}:b.example", self.byte()),
            EventIdFormatVersion::V2 => format!("${}", STANDARD_NO_PAD.encode(hash)),
            _ => format!("${}", URL_SAFE_NO_PAD.encode(hash)),
        }
    }

    fn references(&mut self, rules: &RoomVersionRules, known: &mut Vec<String>) -> Json {
        let mut references = Vec::new();
        for _ in 0..self.below(4) {
            let event_id = self.event_id(rules);
            known.push(event_id.clone());
            if rules.events_reference_format != EventsReferenceFormatVersion::V1 {
                references.push(text(event_id));
                continue;
            }
            let mut hashes = Object::default();
            if !self.rarely(4) {
                hashes.insert("sha256", text(STANDARD_NO_PAD.encode(self.hash())));
            }
            if self.rarely(5) {
                hashes = self.object(known, 1);
            }
            references.push(Json::Array(vec![text(event_id), Json::Object(hashes)]));
        }
        Json::Array(references)
    }

    fn signatures(&mut self, sender: &str) -> Json {
        let server = sender.split_once(':').map_or("a.example", |(_, server)| server);
        let mut servers = Object::default();
        for server in [server, "other.example"].into_iter().take(1 + usize::from(self.rarely(4))) {
            let mut by_key = Object::default();
            for _ in 0..=u8::from(self.rarely(4)) {
                let key_id = self.one(&["ed25519:auto", "ed25519:1", "ed25519:odd_é", ""]).unwrap_or_default();
                let signature = [self.byte(); 64];
                let length = if self.rarely(6) { 17 } else { 64 };
                by_key.insert(key_id, text(STANDARD_NO_PAD.encode(signature.get(..length).unwrap_or_default())));
            }
            servers.insert(server, Json::Object(by_key));
        }
        Json::Object(servers)
    }

    /// An event of a room version, which may break the format of PDUs here and there.
    pub(super) fn event(&mut self, rules: &RoomVersionRules) -> Object {
        let mut event = Object::default();
        let mut known = vec![ROOM.to_owned()];
        let sender = self.one(&USERS).unwrap_or_default();
        known.push(sender.to_owned());
        event.insert("sender", text(sender));
        let event_type = self.one(&TYPES).unwrap_or_default();
        event.insert("type", text(event_type));
        event.insert("room_id", text(ROOM));
        match self.below(4) {
            0 => {}
            1 => _ = event.insert("state_key", text("")),
            2 => _ = event.insert("state_key", text(sender)),
            _ => _ = event.insert("state_key", self.string(&known)),
        }
        if rules.event_id_format == EventIdFormatVersion::V1 || self.rarely(5) {
            event.insert("event_id", text(self.event_id(rules)));
        }
        event.insert("prev_events", self.references(rules, &mut known));
        event.insert("auth_events", self.references(rules, &mut known));
        for field in ["depth", "origin_server_ts"] {
            let number = if self.rarely(8) { self.number() } else { Json::Int(i64::from(self.byte()) << 20) };
            event.insert(field, number);
        }
        event.insert("content", Json::Object(self.object(&known, 5)));
        for field in ["origin", "prev_state", "unsigned", "redacts", "membership", "org.example.odd"] {
            if self.rarely(4) {
                let value = match (field, self.below(2)) {
                    ("origin", 0) => text(sender.split_once(':').map_or("", |(_, server)| server)),
                    ("prev_state", 0) => Json::Array(Vec::new()),
                    ("redacts", 0) => text(self.event_id(rules)),
                    _ => self.value(&known, 2),
                };
                event.insert(field, value);
            }
        }
        let mut hashes = if self.rarely(8) { self.object(&known, 1) } else { Object::default() };
        let hash = if self.rarely(4) { self.hash() } else { CanonicalEvent::new(&event).content_hash() };
        if !self.rarely(16) {
            hashes.insert("sha256", text(STANDARD_NO_PAD.encode(hash)));
        }
        event.insert("hashes", Json::Object(hashes));
        event.insert("signatures", self.signatures(sender));
        event
    }

    /// A row for an event, of everything that a row can say.
    pub(super) fn row(&mut self, nid: EventNid, pdu: &Pdu) -> EventRow {
        let kind = self.one(&[Kind::New, Kind::Old, Kind::Outlier]).unwrap_or(Kind::New);
        let remains = self.one(&[Remains::All, Remains::Body, Remains::Row]).unwrap_or_default();
        let refusal = Refusal { code: self.byte(), detail: self.one(&TEXTS).unwrap_or_default().into() };
        let verdict = match self.below(3) {
            0 => Verdict::Accepted,
            1 if kind != Kind::Outlier => Verdict::SoftFailed(refusal),
            _ => Verdict::Rejected(refusal),
        };
        let older = |choices: &mut Self| EventNid::new(nid.number().saturating_sub(1 + u32::from(choices.byte())));
        let state_key = StateKeyNid::new(1 + u32::from(self.byte()));
        let event_type = EventTypeNid::new(1 + u32::from(self.byte()));
        let tuple = state_key.zip(event_type).filter(|_| pdu.state_key().is_some());
        let tuple = tuple.map(|(state_key, event_type)| StateTuple { event_type, state_key });
        let before = SnapshotNid::new(u32::from(self.byte()));
        let after = SnapshotNid::new(before.number() + u32::from(self.below(3)));
        let has_states = kind != Kind::Outlier && remains == Remains::All && !self.rarely(4);
        EventRow {
            kind,
            remains: if kind == Kind::Outlier { Remains::All } else { remains },
            verdict,
            redacted_at_acceptance: pdu.is_redacted(),
            state_supplied: self.rarely(4),
            position: nid.number().saturating_add(u32::from(self.byte())),
            states: has_states.then_some(States { before, after }),
            event_type: match (tuple, event_type) {
                (Some(tuple), _) => Name::Number(tuple.event_type),
                (None, Some(number)) if self.rarely(2) => Name::Number(number),
                _ => Name::Text(pdu.event_type().into()),
            },
            tuple,
            sender: match state_key {
                Some(number) if !self.rarely(3) => Name::Number(number),
                _ => Name::Text(pdu.sender().into()),
            },
            depth: pdu.depth(),
            origin_server_ts: pdu.origin_server_ts(),
            prev_events: pdu.prev_events().iter().map(|_| older(self).filter(|_| !self.rarely(4))).collect(),
            auth_events: pdu.auth_events().iter().filter_map(|_| older(self)).collect::<SmallVec<_>>(),
        }
    }
}

/// Whether a row reads as it was written.
pub(super) fn row_comes_back(nid: EventNid, row: &EventRow) {
    let bytes = row.encode(nid);
    let read = EventRow::decode(nid, &bytes).ok().expect_value("a row that was written cannot be read");
    assert_eq!(read, *row, "a row is read otherwise than it was written");
}
