//! `rooms` and `room`.

use std::io::Write;

use ruma_common::OwnedEventId;
use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, Style, grouped},
    store::{Place, unknown_room},
    table::{Column, Table},
};
use crate::query::{Counts, MemberCounts};

#[derive(Serialize)]
struct ListedRoom<'a> {
    room_id: &'a str,
    version: &'a str,
    events: u32,
    state_len: u32,
}

#[derive(Serialize)]
struct ShownRoom<'a> {
    room_id: &'a str,
    version: &'a str,
    extremities: &'a [OwnedEventId],
    events: u32,
    outliers: u32,
    rejected: u32,
    soft_failed: u32,
    parked: u32,
    lacks: &'a [OwnedEventId],
    state: String,
    state_len: u32,
    members: Members,
}

#[derive(Serialize)]
struct Members {
    join: u64,
    invite: u64,
    leave: u64,
    ban: u64,
    knock: u64,
}

pub(super) fn list(place: &Place, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let mut table = Table::new(&[
        Column::Left("room"),
        Column::Right("version"),
        Column::Right("events"),
        Column::Right("state keys"),
    ]);
    for room in view.rooms()? {
        let (room_id, version, events) = (room.id(), room.version().as_str(), room.counts().events);
        let (_, state_len) = room.current_summary();
        if output.json {
            output.object(&ListedRoom { room_id, version, events, state_len })?;
        } else {
            table.row([
                room_id.into(),
                version.into(),
                grouped(events.into()).into(),
                grouped(state_len.into()).into(),
            ]);
        }
    }
    table.write(output)?;
    Ok(Ending::Right)
}

pub(super) fn show(place: &Place, room_id: &str, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    let room = view.room(room_id)?.ok_or_else(|| unknown_room(room_id))?;
    let Counts { events, outliers, rejected, soft_failed, parked } = room.counts();
    let MemberCounts { join, invite, leave, ban, knock } = room.member_counts()?;
    let (state, state_len) = room.current_summary();
    let extremities = room.extremities()?;
    let lacks = room.lacks()?;
    if output.json {
        output.object(&ShownRoom {
            room_id,
            version: room.version().as_str(),
            extremities: &extremities,
            events,
            outliers,
            rejected,
            soft_failed,
            parked,
            lacks: &lacks,
            state: state.to_string(),
            state_len,
            members: Members { join, invite, leave, ban, knock },
        })?;
        return Ok(Ending::Right);
    }
    let line = |output: &mut Output, name: &str, value: &str| {
        let name = output.styled(Style::Heading, &format!("{name:13}"));
        writeln!(output, "{name}{value}")
    };
    line(output, "room", room_id)?;
    line(output, "version", room.version().as_str())?;
    let sorts = [(soft_failed, "soft-failed"), (rejected, "rejected")];
    let refused: String = sorts.iter().map(|(count, sort)| format!(", {} {sort}", grouped((*count).into()))).collect();
    line(output, "events", &format!("{}{refused}", grouped(events.into())))?;
    line(output, "outliers", &grouped(outliers.into()))?;
    line(output, "parked", &grouped(parked.into()))?;
    line(output, "state", &format!("{} keys, {state}", grouped(state_len.into())))?;
    let members = [(join, "join"), (invite, "invite"), (leave, "leave"), (ban, "ban"), (knock, "knock")];
    let members: Vec<String> = members.iter().map(|(count, how)| format!("{} {how}", grouped(*count))).collect();
    line(output, "members", &members.join(", "))?;
    for (name, events) in [("extremities", &extremities), ("lacks", &lacks)] {
        for (index, event_id) in events.iter().enumerate() {
            line(output, if index == 0 { name } else { "" }, event_id.as_str())?;
        }
    }
    Ok(Ending::Right)
}
