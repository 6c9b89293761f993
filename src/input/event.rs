//! What is read of an event before its room's writer has it, in the thread that submits it.

use ruma_common::{RoomId, RoomVersionId};

use crate::{
    encoding::{
        json::Json,
        pdu::{MAX_PDU_BYTES, Pdu, room_id_hint},
    },
    error::{Error, Result},
    room::outcome::Input,
};

/// An input whose event was parsed.
pub(super) struct ReadInput {
    /// The input, without the bytes of its event.
    pub(super) input: Input,
    pub(super) json: Json,
    pub(super) room_id: String,
    /// Bytes of memory that the waiting input takes, plus those of a lane: an input for a room without one makes one.
    pub(super) bytes: usize,
}

impl ReadInput {
    /// Parses the event of an input and finds its room. `Invalid` if it is not JSON, too large or names no room.
    pub(super) fn read(mut input: Input) -> Result<Self> {
        let json = parse(&std::mem::take(&mut input.pdu))?;
        let room_id = room_of(&json)?;
        let bytes = input.bytes().saturating_add(heap_bytes(&json)).saturating_add(LANE_BYTES);
        let bytes = bytes.saturating_add(room_id.len().saturating_mul(3));
        Ok(Self { input, json, room_id, bytes })
    }
}

/// The bytes of memory that a lane without inputs takes, but for the room's ID.
const LANE_BYTES: usize = 512;

/// The most bytes of an event that are read. They are more than it may have in canonical form: `unsigned`, white space and
/// escapes do not count there.
const MAX_RAW_BYTES: usize = 1 << 20;

/// The room version that an event names, if it is a create event. One that names none is of version 1, or was redacted:
/// `told` is what is known of the room otherwise.
pub(super) fn named_version(json: &Json, told: Option<&RoomVersionId>) -> Result<Option<RoomVersionId>> {
    let Some(version) = room_id_hint(json)?.room_version else { return Ok(None) };
    let content = json.as_object().and_then(|event| event.get_object("content"));
    let names_none = content.is_none_or(|content| content.get("room_version").is_none());
    if let Some(told) = told.filter(|_| names_none)
        && let Some(rules) = told.rules()
        && Pdu::parse(json.clone(), &rules).is_ok_and(|pdu| pdu.is_redacted())
    {
        return Ok(Some(told.clone()));
    }
    known_version(version).map(Some)
}

fn known_version(version: &str) -> Result<RoomVersionId> {
    let known = RoomVersionId::try_from(version).ok().filter(|version| version.rules().is_some());
    known.ok_or_else(|| Error::invalid(format!("room version `{version}` is not known")))
}

/// Parses an event and drops `unsigned`: what waits takes memory for what counts alone.
fn parse(bytes: &[u8]) -> Result<Json> {
    if bytes.len() > MAX_RAW_BYTES {
        return Err(Error::invalid(format!(
            "the event has {} bytes as it was sent, at most {MAX_RAW_BYTES} are read",
            bytes.len()
        )));
    }
    let mut json = Json::parse(bytes)
        .map_err(|error| Error::invalid(format!("not JSON at byte {}: {}", error.offset, error.what)))?;
    if let Json::Object(event) = &mut json {
        event.remove("unsigned");
        if bytes.len() > MAX_PDU_BYTES {
            // The writer would say the same, but until then it would lie in the queue.
            let mut canonical = Vec::new();
            event.write_canonical(&mut canonical);
            if canonical.len() > MAX_PDU_BYTES {
                return Err(Error::invalid(format!(
                    "the event has {} bytes, at most {MAX_PDU_BYTES} are allowed",
                    canonical.len()
                )));
            }
        }
    }
    Ok(json)
}

/// The bytes of memory that a value takes besides its own size.
fn heap_bytes(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) | Json::Int(_) => 0,
        Json::Number(text) | Json::String(text) => text.len(),
        Json::Array(elements) => {
            elements.iter().map(|element| size_of::<Json>().saturating_add(heap_bytes(element))).sum()
        }
        Json::Object(object) => object
            .iter()
            .map(|(key, value)| {
                size_of::<(Box<str>, Json)>().saturating_add(key.len()).saturating_add(heap_bytes(value))
            })
            .sum(),
    }
}

/// The room of an event. From room version 12 on a create event has no `room_id`: its hash is the room's ID.
fn room_of(json: &Json) -> Result<String> {
    let hint = room_id_hint(json)?;
    if let Some(room_id) = hint.room_id {
        // What could not be given back as a room ID must not come in.
        let checked = <&RoomId>::try_from(room_id);
        checked.map_err(|error| Error::invalid(format!("`{room_id}` is no room ID")).with_source(error))?;
        return Ok(room_id.to_owned());
    }
    let missing = || Error::invalid("`room_id` is missing");
    let version = known_version(hint.room_version.ok_or_else(missing)?)?;
    let rules = version.rules().ok_or_else(missing)?;
    if !rules.authorization.room_create_event_id_as_room_id {
        return Err(missing());
    }
    Ok(Pdu::parse(json.clone(), &rules)?.room_id().to_owned())
}
