//! The events that the invalid lines of an import had: others may name them, and then wait for what will never come.

use std::sync::Arc;

use ruma_common::{RoomVersionId, room_version_rules::EventIdFormatVersion};
use rustc_hash::FxHashMap;

use super::source::Source;
use crate::{
    encoding::{
        event_key::EventKey,
        json::{Json, MAX_DEPTH, Object},
        pdu::{CanonicalEvent, room_id_hint},
    },
    import_line,
    query::View,
};

/// The most invalid lines whose events are remembered.
const REMEMBERED_MAX: usize = 100_000;
/// The most bytes of a PDU that is kept for its ID until its line is decided. Some thousand lines are under way.
const PDU_BYTES_MAX: usize = 128 << 10;

/// What tells the ID of a line's event.
#[derive(Debug)]
pub(super) struct Identity {
    /// The ID that the line told.
    pub(super) told: Option<String>,
    /// The PDU, as JSON.
    pdu: Vec<u8>,
    /// The room version, if the line or the command told it.
    version: Option<RoomVersionId>,
}

/// The lines that are invalid, by the IDs of their events.
#[derive(Default)]
pub(super) struct Refused {
    lines: FxHashMap<String, (Arc<Source>, u64)>,
}

impl Identity {
    pub(super) fn new(told: Option<String>, pdu: Vec<u8>, version: Option<RoomVersionId>) -> Self {
        // Without its end it is no JSON, and gives no ID.
        let pdu = if pdu.len() > PDU_BYTES_MAX { Vec::new() } else { pdu };
        Self { told, pdu, version }
    }

    /// That of a line which is JSON and nevertheless not what an import reads.
    pub(super) fn of_line(line: &[u8], version: Option<&RoomVersionId>) -> Option<Self> {
        let json = Json::parse_within(line, MAX_DEPTH.saturating_add(1), line.len()).ok()?;
        let object = json.as_object()?;
        let named = object.get_str("room_version").and_then(|name| import_line::room_version(name).ok());
        let (told, pdu) = match object.get_object("pdu").filter(|_| object.get("type").is_none()) {
            Some(pdu) => (object.get_str("event_id").map(str::to_owned), pdu),
            None => (None, object),
        };
        let mut bytes = Vec::new();
        pdu.write_canonical(&mut bytes);
        Some(Self::new(told, bytes, named.or_else(|| version.cloned())))
    }

    /// The ID that the engine would have computed, if the room's version is known.
    fn computed(&self, view: &View) -> Option<String> {
        let json = Json::parse(&self.pdu).ok()?;
        let object = json.as_object()?;
        let hint = room_id_hint(&json).ok()?;
        let named = hint.room_version.and_then(|name| import_line::room_version(name).ok());
        let of_room = || Some(view.room(hint.room_id?).ok()??.version().clone());
        event_id(object, &named.or_else(of_room).or_else(|| self.version.clone())?)
    }
}

/// The ID of an event that need not be valid otherwise.
fn event_id(event: &Object, version: &RoomVersionId) -> Option<String> {
    let rules = version.rules()?;
    if matches!(rules.event_id_format, EventIdFormatVersion::V1) {
        return event.get_str("event_id").map(str::to_owned);
    }
    let hash = CanonicalEvent::new(event).reference_hash(&rules.redaction);
    EventKey::from_bytes(hash).event_id(rules.event_id_format)
}

impl Refused {
    /// Remembers an invalid line, by the ID that it told and the one that its event has.
    pub(super) fn add(&mut self, identity: &Identity, view: &View, source: &Arc<Source>, line: u64) {
        for event_id in [identity.told.clone(), identity.computed(view)].into_iter().flatten() {
            if self.lines.len() < REMEMBERED_MAX {
                self.lines.entry(event_id).or_insert_with(|| (source.clone(), line));
            }
        }
    }

    /// The invalid line that has an event.
    pub(super) fn line_of(&self, event_id: &str) -> Option<(&Source, u64)> {
        self.lines.get(event_id).map(|(source, line)| (&**source, *line))
    }
}
