//! `parked`.

use std::io::{self, Write};

use ruma_common::OwnedEventId;
use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    lacks::{ShownLack, shown},
    output::{Output, Style, grouped},
    store::Place,
    wrapper::kind_word,
};
use crate::query::ParkedInput;

#[derive(Serialize)]
struct ShownParked<'a> {
    room_id: &'a str,
    event_id: &'a str,
    kind: &'a str,
    parked_at: u32,
    lacks: Vec<ShownLack<'a>>,
    waits_for: &'a [OwnedEventId],
    /// Whether it waits for more events than these.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waits_for_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a str>,
}

pub(super) fn run(place: &Place, room_id: Option<&str>, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let parked = store.server.view().parked(room_id)?;
    let mut room_id = None;
    for parked in &parked {
        if output.json {
            output.object(&ShownParked {
                room_id: parked.room_id.as_str(),
                event_id: parked.event_id.as_str(),
                kind: kind_word(parked.input.kind),
                parked_at: parked.parked_at,
                lacks: shown(&parked.lacks),
                waits_for: &parked.waits_for,
                waits_for_more: parked.waits_for_more,
                failed: parked.failed.as_deref(),
            })?;
            continue;
        }
        if room_id != Some(&parked.room_id) {
            room_id = Some(&parked.room_id);
            writeln!(output, "{}", output.styled(Style::Heading, parked.room_id.as_str()))?;
        }
        show(parked, output)?;
    }
    Ok(Ending::Right)
}

/// One line an input, and below it what it waits for.
fn show(parked: &ParkedInput, output: &mut Output) -> io::Result<()> {
    writeln!(output, "  {}  {}, {}", parked.event_id, kind_word(parked.input.kind), since(parked))?;
    for (name, value) in waiting(parked) {
        writeln!(output, "    {name:11}{value}")?;
    }
    Ok(())
}

/// For how long an input has been parked.
pub(super) fn since(parked: &ParkedInput) -> String {
    let ParkedInput { parked_at, parked_for, .. } = parked;
    format!("parked at position {}, {} positions ago", grouped((*parked_at).into()), grouped((*parked_for).into()))
}

/// Why an input is not decided, as lines with names: each name stands once.
pub(super) fn waiting(parked: &ParkedInput) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut list = |name, values: Vec<String>| {
        lines.extend(values.into_iter().enumerate().map(|(place, value)| (if place == 0 { name } else { "" }, value)));
    };
    list("failed", parked.failed.iter().cloned().collect());
    let lack = |lack: &ShownLack<'_>| format!("{} {}", lack.role_text(), lack.event_id);
    list("lacks", shown(&parked.lacks).iter().map(lack).collect());
    let mut waits_for: Vec<String> = parked.waits_for.iter().map(ToString::to_string).collect();
    if parked.waits_for_more {
        waits_for.push("and more".to_owned());
    }
    list("waits for", waits_for);
    lines
}
