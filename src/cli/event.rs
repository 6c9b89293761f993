//! `event`.

use std::io::Write;

use ruma_common::OwnedEventId;
use serde::Serialize;

use super::{
    Ending, Failure,
    output::{Output, Style, word},
    store::{Place, unknown_room},
    wrapper::kind_word,
};
use crate::{
    error::{Error, Result},
    query::{Event, Room},
    room::outcome::StateId,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The event's ID
    event: String,
    /// Look in this room only
    #[arg(long)]
    room: Option<String>,
}

#[derive(Serialize)]
struct ShownEvent<'a> {
    event_id: &'a str,
    room_id: &'a str,
    kind: &'a str,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    depth: i64,
    prev_events: &'a [OwnedEventId],
    auth_events: &'a [OwnedEventId],
    state_before: Option<String>,
    state_after: Option<String>,
}

pub(super) fn run(place: &Place, arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let event_id = &arguments.event;
    let rooms = match &arguments.room {
        Some(room_id) => vec![view.room(room_id)?.ok_or_else(|| unknown_room(room_id))?],
        None => view.rooms_of_event(event_id)?,
    };
    let mut is_found = false;
    for room in &rooms {
        if let Some(event) = room.event(event_id)? {
            is_found = true;
            show(room, &event, output)?;
        }
    }
    if !is_found {
        return Err(unknown_event(event_id, arguments.room.as_deref()).into());
    }
    Ok(Ending::Right)
}

/// An event that a command was asked for and that is not here.
pub(super) fn unknown_event(event_id: &str, room_id: Option<&str>) -> Error {
    let place = room_id.map_or("the store".to_owned(), |room_id| format!("room {room_id}"));
    Error::not_found(format!("event {event_id} is not in {place}"))
}

fn show(room: &Room<'_>, event: &Event, output: &mut Output) -> Result<(), Failure> {
    let fingerprint = |state: Option<StateId>| -> Result<Option<String>> {
        state.map(|state| Ok(room.state(state)?.summary()?.0.to_string())).transpose()
    };
    let shown = ShownEvent {
        event_id: event.event_id.as_str(),
        room_id: room.id(),
        kind: kind_word(event.kind),
        verdict: word(&event.verdict),
        reason: event.reason.as_deref(),
        depth: event.depth,
        prev_events: &event.prev_events,
        auth_events: &event.auth_events,
        state_before: fingerprint(event.state_before)?,
        state_after: fingerprint(event.state_after)?,
    };
    if output.json {
        output.object_with(&shown, "pdu", event.pdu.as_deref().unwrap_or("null"))?;
        return Ok(());
    }
    let list =
        |events: &[OwnedEventId]| events.iter().map(|id| id.as_str()).collect::<Vec<_>>().join("\n              ");
    let verdict = shown.verdict.replace('_', "-");
    let reason = shown.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let lines = [
        ("event", shown.event_id.to_owned()),
        ("room", shown.room_id.to_owned()),
        ("kind", shown.kind.to_owned()),
        ("verdict", format!("{}{reason}", output.styled(Style::of_verdict(&event.verdict), &verdict))),
        ("position", event.position.number().to_string()),
        ("depth", shown.depth.to_string()),
        ("prev events", list(shown.prev_events)),
        ("auth events", list(shown.auth_events)),
        ("state before", shown.state_before.unwrap_or_else(|| "none".to_owned())),
        ("state after", shown.state_after.unwrap_or_else(|| "none".to_owned())),
        ("pdu", event.pdu.clone().unwrap_or_else(|| "collected".to_owned())),
    ];
    for (name, value) in lines {
        writeln!(output, "{}{value}", output.styled(Style::Heading, &format!("{name:14}")))?;
    }
    Ok(())
}
