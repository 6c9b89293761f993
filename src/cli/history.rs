//! `history`.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, Style, word},
    store::{Place, unknown_room},
    wrapper::kind_word,
};
use crate::{
    encoding::json::Json,
    query::{Event, HistoryEntry, StateEntry},
};

#[derive(Serialize)]
struct ShownEvent<'a> {
    event_id: &'a str,
    kind: &'a str,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    state_before: Option<String>,
    state_after: Option<String>,
    added: Vec<(&'a str, &'a str, &'a str)>,
    removed: Vec<(&'a str, &'a str, &'a str)>,
}

pub(super) fn run(place: &Place, room_id: &str, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let room = view.room(room_id)?.ok_or_else(|| unknown_room(room_id))?;
    let mut written = Ok(());
    room.history(&mut |entry| {
        written = if output.json { show_json(&entry, output) } else { show(&entry, output) };
        Ok(written.is_ok())
    })?;
    written?;
    Ok(Ending::Right)
}

fn show_json(entry: &HistoryEntry, output: &mut Output) -> io::Result<()> {
    let HistoryEntry { event, state_before, state_after, added, removed } = entry;
    output.object(&ShownEvent {
        event_id: event.event_id.as_str(),
        kind: kind_word(event.kind),
        verdict: word(&event.verdict),
        reason: event.reason.as_deref(),
        state_before: state_before.map(|state| state.to_string()),
        state_after: state_after.map(|state| state.to_string()),
        added: triples(added),
        removed: triples(removed),
    })
}

fn triples(entries: &[StateEntry]) -> Vec<(&str, &str, &str)> {
    entries.iter().map(|entry| (&*entry.event_type, &*entry.state_key, entry.event_id.as_str())).collect()
}

/// One line an event, and below it what it changed.
fn show(entry: &HistoryEntry, output: &mut Output) -> io::Result<()> {
    let HistoryEntry { event, added, removed, .. } = entry;
    let Event { event_id, verdict, reason, position, .. } = event;
    let verdict = output.styled(Style::of_verdict(verdict), &format!("{:11}", word(verdict).replace('_', "-")));
    let about = reason.clone().unwrap_or_else(|| event_type(event));
    writeln!(output, "{:>8}  {verdict}  {event_id}  {about}", position.number())?;
    for (sign, style, entries) in [("-", Style::Bad, removed), ("+", Style::Good, added)] {
        for StateEntry { event_type, state_key, event_id } in entries {
            let change = output.styled(style, &format!("{sign} {event_type} {state_key:?} {event_id}"));
            writeln!(output, "{:21}  {change}", "")?;
        }
    }
    Ok(())
}

fn event_type(event: &Event) -> String {
    let json = event.pdu.as_ref().and_then(|pdu| Json::parse(pdu.as_bytes()).ok());
    let event_type = json.as_ref().and_then(|pdu| pdu.as_object()?.get_str("type"));
    event_type.unwrap_or_default().to_owned()
}
