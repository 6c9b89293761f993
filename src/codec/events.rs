//! The events that are measured.

use ruma_common::RoomVersionId;

use crate::{
    encoding::json::Json,
    error::{Error, Result},
    generate::corpus::{Class, Corpus, ROOMS, Sample},
};

/// Events of some rooms, in the order in which they came.
#[derive(Debug, Clone)]
pub struct Events {
    /// What they are called in tables.
    pub name: String,
    /// ID and version of each room.
    pub rooms: Vec<(String, RoomVersionId)>,
    /// The events.
    pub events: Vec<Event>,
}

/// An event of [`Events`].
#[derive(Debug, Clone)]
pub struct Event {
    /// The place of its room.
    pub room: usize,
    /// Its class, if that is known.
    pub class: Option<Class>,
    /// The PDU.
    pub pdu: Vec<u8>,
}

impl Events {
    /// A corpus.
    ///
    /// # Errors
    ///
    /// Those of [`Corpus::new`].
    pub fn generated(seed: u64, events: u32) -> Result<Self> {
        let mut corpus = Corpus::new(seed, events)?;
        let room = |sample: Sample| Event { room: sample.room, class: Some(sample.class), pdu: sample.event.pdu };
        let events = corpus.by_ref().map(room).collect();
        let rooms = (0..ROOMS).map(|place| (corpus.room_id(place).to_owned(), Corpus::version())).collect();
        Ok(Self { name: "corpus".to_owned(), rooms, events })
    }

    /// A room from lines of JSON, `{"pdu": ..., "room_version": ...}` as `export` writes them, in the order of arrival.
    ///
    /// # Errors
    ///
    /// `Invalid` if a line is something else, or an event of a room of unknown version.
    pub fn of_room(name: &str, lines: impl Iterator<Item = Vec<u8>>) -> Result<Self> {
        let wrong = |what: &'static str| move || Error::invalid(format!("a line of {name} {what}"));
        let (mut rooms, mut events) = (Vec::new(), Vec::new());
        for line in lines {
            let json = Json::parse(&line).map_err(|error| Error::invalid(error.what))?;
            let line = json.as_object().ok_or_else(wrong("is no object"))?;
            let object = line.get_object("pdu").ok_or_else(wrong("has no pdu"))?;
            if rooms.is_empty() {
                let version = line.get_str("room_version").and_then(|version| RoomVersionId::try_from(version).ok());
                let room_id = object.get_str("room_id").ok_or_else(wrong("names no room"))?;
                rooms.push((room_id.to_owned(), version.ok_or_else(wrong("names no room version"))?));
            }
            let mut pdu = Vec::new();
            object.write_canonical(&mut pdu);
            events.push(Event { room: 0, class: None, pdu });
        }
        Ok(Self { name: name.to_owned(), rooms, events })
    }

    /// The bytes of the JSON of an event, on average.
    pub fn mean_bytes(&self) -> f64 {
        self.events.iter().map(|event| event.pdu.len()).sum::<usize>() as f64 / self.events.len().max(1) as f64
    }
}
