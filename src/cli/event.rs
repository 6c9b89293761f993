//! `event`.

use std::io::{self, Write};

use ruma_common::OwnedEventId;
use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    lacks::{ShownLack, shown},
    output::{Output, Style, word},
    parked::{since, waiting},
    store::{Place, unknown_event},
    wrapper::kind_word,
};
use crate::{
    error::{Error, Result},
    query::{Event, ParkedInput, Room},
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
    /// Of a stored event: an input of it that is parked all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked: Option<ShownParked<'a>>,
    /// Of an event that is only parked.
    #[serde(flatten)]
    waiting: Option<ShownWaiting<'a>>,
}

/// An input that is parked though its event is stored: it gives an outlier its place.
#[derive(Serialize)]
struct ShownParked<'a> {
    kind: &'a str,
    #[serde(flatten)]
    waiting: ShownWaiting<'a>,
}

/// What a parked input waits for.
#[derive(Serialize)]
struct ShownWaiting<'a> {
    parked_at: u32,
    parked_for: u32,
    lacks: Vec<ShownLack<'a>>,
    waits_for: &'a [OwnedEventId],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waits_for_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a str>,
}

pub(super) fn run(place: &Place, arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let event_id = &arguments.event;
    let mut parked = view.parked_event(event_id, arguments.room.as_deref())?;
    let rooms = match &arguments.room {
        Some(room_id) => view.room(room_id)?.into_iter().collect(),
        None => view.rooms_of_event(event_id)?,
    };
    let mut is_found = !parked.is_empty();
    for room in &rooms {
        if let Some(event) = room.event(event_id)? {
            is_found = true;
            let place = parked.iter().position(|parked| *parked.room_id == *room.id());
            show(room, &event, place.map(|place| parked.remove(place)).as_ref(), output)?;
        }
    }
    for parked in &parked {
        show_parked(parked, output)?;
    }
    if !is_found {
        return Err(unknown_event(event_id, arguments.room.as_deref()).into());
    }
    Ok(Ending::Right)
}

fn show(room: &Room, event: &Event, parked: Option<&ParkedInput>, output: &mut Output) -> Result<(), Failure> {
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
        parked: parked
            .map(|parked| ShownParked { kind: kind_word(parked.input.kind), waiting: ShownWaiting::of(parked) }),
        waiting: None,
    };
    if output.json {
        output.object_with(&shown, "pdu", event.pdu.as_deref().unwrap_or("null"))?;
        return Ok(());
    }
    let verdict = shown.verdict.replace('_', "-");
    let reason = shown.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut lines = vec![
        ("verdict", format!("{}{reason}", output.styled(Style::of_verdict(&event.verdict), &verdict))),
        ("position", event.position.number().to_string()),
    ];
    if let Some(parked) = parked {
        lines.push(("parked", format!("as {}, {}", kind_word(parked.input.kind), since(parked))));
        lines.extend(waiting(parked));
    }
    write_lines(&shown, lines, event.pdu.as_deref().unwrap_or("collected"), output)?;
    Ok(())
}

/// An event of which nothing but a parked input is here.
fn show_parked(parked: &ParkedInput, output: &mut Output) -> Result<(), Failure> {
    let pdu = std::str::from_utf8(&parked.input.pdu);
    let pdu = pdu
        .map_err(|error| Error::internal(format!("parked event {} is no text", parked.event_id)).with_source(error))?;
    let shown = ShownEvent {
        event_id: parked.event_id.as_str(),
        room_id: parked.room_id.as_str(),
        kind: kind_word(parked.input.kind),
        verdict: "parked",
        reason: None,
        depth: parked.depth,
        prev_events: &parked.prev_events,
        auth_events: &parked.auth_events,
        state_before: None,
        state_after: None,
        parked: None,
        waiting: Some(ShownWaiting::of(parked)),
    };
    if output.json {
        output.object_with(&shown, "pdu", pdu)?;
        return Ok(());
    }
    let mut lines = vec![("verdict", format!("none yet: {}", output.styled(Style::Doubtful, &since(parked))))];
    lines.extend(waiting(parked));
    write_lines(&shown, lines, pdu, output)?;
    Ok(())
}

/// Writes an event for a person; `about` is what was decided about it.
fn write_lines(shown: &ShownEvent<'_>, about: Vec<(&str, String)>, pdu: &str, output: &mut Output) -> io::Result<()> {
    let list =
        |events: &[OwnedEventId]| events.iter().map(|id| id.as_str()).collect::<Vec<_>>().join("\n              ");
    let state = |state: &Option<String>| state.clone().unwrap_or_else(|| "none".to_owned());
    let lines =
        [("event", shown.event_id.to_owned()), ("room", shown.room_id.to_owned()), ("kind", shown.kind.to_owned())];
    let rest = [
        ("depth", shown.depth.to_string()),
        ("prev events", list(shown.prev_events)),
        ("auth events", list(shown.auth_events)),
        ("state before", state(&shown.state_before)),
        ("state after", state(&shown.state_after)),
        ("pdu", pdu.to_owned()),
    ];
    for (name, value) in lines.into_iter().chain(about).chain(rest) {
        writeln!(output, "{}{value}", output.styled(Style::Heading, &format!("{name:14}")))?;
    }
    Ok(())
}

impl<'a> ShownWaiting<'a> {
    fn of(parked: &'a ParkedInput) -> Self {
        Self {
            parked_at: parked.parked_at,
            parked_for: parked.parked_for,
            lacks: shown(&parked.lacks),
            waits_for: &parked.waits_for,
            waits_for_more: parked.waits_for_more,
            failed: parked.failed.as_deref(),
        }
    }
}
