//! `state` and `diff`.

use std::{io::Write, str::FromStr};

use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, Style},
    store::{Place, unknown_event, unknown_room},
    table::{Column, Table},
};
use crate::{
    error::{Error, Result},
    query::{Room, Snapshot, StateEntry},
    room::outcome::StateChange,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The room's ID
    room: String,
    /// The state before this event, instead of the current one
    #[arg(long, value_name = "EVENT", conflicts_with = "after")]
    before: Option<String>,
    /// The state after this event, instead of the current one
    #[arg(long, value_name = "EVENT")]
    after: Option<String>,
    /// Only entries of this event type
    #[arg(long = "type", value_name = "T")]
    event_type: Option<String>,
    /// Only the entry with this state key
    #[arg(long, value_name = "K", requires = "event_type")]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DiffArguments {
    /// The room's ID
    room: String,
    /// The first state: `before:EVENT`, `after:EVENT` or `current`
    from: Which,
    /// The second state
    #[arg(default_value = "current")]
    to: Which,
}

/// Names a state of a room.
#[derive(Debug, Clone)]
enum Which {
    Current,
    Before(String),
    After(String),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            _ if text == "current" => Ok(Self::Current),
            Some(("before", event_id)) => Ok(Self::Before(event_id.to_owned())),
            Some(("after", event_id)) => Ok(Self::After(event_id.to_owned())),
            _ => Err("a state is named by `before:EVENT`, `after:EVENT` or `current`".to_owned()),
        }
    }
}

#[derive(Serialize)]
struct ShownEntry<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    state_key: &'a str,
    event_id: &'a str,
}

#[derive(Serialize)]
struct ShownChange<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    state_key: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
}

pub(super) fn run(place: &Place, arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let room = view.room(&arguments.room)?.ok_or_else(|| unknown_room(&arguments.room))?;
    let which = match (&arguments.before, &arguments.after) {
        (Some(event_id), _) => Which::Before(event_id.clone()),
        (None, Some(event_id)) => Which::After(event_id.clone()),
        (None, None) => Which::Current,
    };
    let state = find(&room, &which)?;
    let entries = match (&arguments.event_type, &arguments.key) {
        (Some(event_type), Some(state_key)) => {
            let event_id = state.get(event_type, state_key)?;
            let entry =
                |event_id| StateEntry { event_type: event_type.clone(), state_key: state_key.clone(), event_id };
            event_id.map(entry).into_iter().collect()
        }
        (Some(event_type), None) => state.entries_of_type(event_type)?,
        (None, _) => state.entries()?,
    };
    let mut table = Table::new(&[Column::Left("type"), Column::Left("state key"), Column::Left("event")]);
    for StateEntry { event_type, state_key, event_id } in &entries {
        if output.json {
            output.object(&ShownEntry { event_type, state_key, event_id: event_id.as_str() })?;
        } else {
            table.row([event_type.into(), state_key.into(), event_id.as_str().into()]);
        }
    }
    table.write(output)?;
    Ok(Ending::Right)
}

pub(super) fn diff(place: &Place, arguments: &DiffArguments, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let room = view.room(&arguments.room)?.ok_or_else(|| unknown_room(&arguments.room))?;
    let changes = find(&room, &arguments.from)?.diff(&find(&room, &arguments.to)?)?;
    for StateChange { event_type, state_key, before, after } in &changes {
        let (before, after) = (before.as_ref().map(|id| id.as_str()), after.as_ref().map(|id| id.as_str()));
        if output.json {
            output.object(&ShownChange { event_type, state_key, before, after })?;
            continue;
        }
        for (sign, style, event_id) in [("-", Style::Bad, before), ("+", Style::Good, after)] {
            if let Some(event_id) = event_id {
                let line = format!("{sign} {event_type} {state_key:?} {event_id}");
                writeln!(output, "{}", output.styled(style, &line))?;
            }
        }
    }
    Ok(if changes.is_empty() { Ending::Right } else { Ending::Wrong })
}

fn find(room: &Room, which: &Which) -> Result<Snapshot> {
    let (event_id, is_before) = match which {
        Which::Current => return Ok(room.current_state()),
        Which::Before(event_id) => (event_id, true),
        Which::After(event_id) => (event_id, false),
    };
    let event = room.event(event_id)?.ok_or_else(|| unknown_event(event_id, Some(room.id())))?;
    let state = if is_before { event.state_before } else { event.state_after };
    let side = if is_before { "before" } else { "after" };
    let unknown = || Error::not_found(format!("the state {side} event {event_id} is not in the store"));
    room.state(state.ok_or_else(unknown)?)
}
