//! `export`.

use std::{collections::BTreeMap, io};

use ruma_common::OwnedRoomId;

use super::{
    ending::{Ending, Failure},
    output::Output,
    store::Place,
    wrapper::{Wrapper, kind_word},
};
use crate::{
    error::{Error, Result},
    query::{ParkedInput, Record, Room},
};

pub(super) fn run(place: &Place, room_id: Option<&str>, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let view = store.server.view();
    // Of a room that has not begun there is nothing else.
    let mut parked: BTreeMap<OwnedRoomId, Vec<ParkedInput>> = BTreeMap::new();
    for input in view.parked(room_id)? {
        parked.entry(input.room_id.clone()).or_default().push(input);
    }
    let rooms = match room_id {
        Some(room_id) => view.room(room_id)?.into_iter().collect(),
        None => view.rooms()?,
    };
    for room in &rooms {
        let mut written = Ok(());
        room.records(&mut |record| {
            written = write_record(room, &record, output);
            Ok(written.is_ok())
        })?;
        written?;
        for input in parked.remove(room.id()).unwrap_or_default() {
            write_parked(&input, output)?;
        }
    }
    for input in parked.values().flatten() {
        write_parked(input, output)?;
    }
    Ok(Ending::Right)
}

fn write_record(room: &Room, record: &Record, output: &mut Output) -> io::Result<()> {
    let wrapper = Wrapper {
        event_id: record.event.event_id.as_str(),
        room_version: room.version().as_str(),
        kind: kind_word(record.kind),
        state: record.state.as_deref(),
        origin: None,
        local: None,
    };
    // What comes here has a body.
    output.object_with(&wrapper, "pdu", record.event.pdu.as_deref().unwrap_or("null"))
}

fn write_parked(parked: &ParkedInput, output: &mut Output) -> Result<(), Failure> {
    let ParkedInput { event_id, room_version, input, .. } = parked;
    let pdu = std::str::from_utf8(&input.pdu);
    let pdu = pdu.map_err(|error| Error::internal(format!("parked event {event_id} is no text")).with_source(error))?;
    let wrapper = Wrapper {
        event_id: event_id.as_str(),
        room_version: room_version.as_str(),
        kind: kind_word(input.kind),
        state: input.state.as_deref(),
        origin: input.origin.as_ref().map(|origin| origin.as_str()),
        local: input.local.then_some(true),
    };
    output.object_with(&wrapper, "pdu", pdu)?;
    Ok(())
}
