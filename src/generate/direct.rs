//! One room's writer, called where it is measured: no queue, no sync, no other thread but the one that builds lists.

use std::sync::Arc;

use ruma_common::RoomVersionId;

use crate::{
    encoding::json::Json,
    error::{Error, Result},
    input::ListBuilder,
    kv::{Store, claim::Claim},
    room::{
        drive::Driving,
        engine::Engine,
        outcome::{Input, Outcome},
        writer::RoomWriter,
    },
};

/// An engine without its pool of writers. Lists are built beside the caller's thread, as the pool does.
pub struct Direct {
    engine: Arc<Engine>,
    _list_builder: ListBuilder,
}

/// The writer of one room.
pub struct DirectWriter {
    writer: RoomWriter,
    driving: Driving,
}

impl Direct {
    /// Opens an engine that keeps at most about `memory` bytes of the store.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read; `Unavailable` if an engine is open on the store.
    pub fn open(store: Arc<dyn Store>, memory: usize) -> Result<Self> {
        let engine = Arc::new(Engine::open(Claim::new(store)?, memory, crate::room::points::Shows::Newest)?);
        Ok(Self { _list_builder: ListBuilder::start(engine.clone())?, engine })
    }

    /// Blocks until all lists that are due are built.
    pub fn settle(&self) {
        self.engine.due_lists.settle();
    }

    /// Begins a room that the store does not hold yet.
    ///
    /// # Errors
    ///
    /// `Invalid` if its version is not known.
    pub fn begin(&self, room_id: &str, version: &RoomVersionId) -> Result<DirectWriter> {
        let row = self.engine.new_room(room_id, version)?;
        Ok(DirectWriter { writer: RoomWriter::begin(self.engine.clone(), row), driving: Driving::default() })
    }
}

impl DirectWriter {
    /// Does what the engine does with an input, from its bytes to the batch that is applied.
    ///
    /// # Errors
    ///
    /// Those of [`Ticket::wait`](crate::input::Ticket::wait).
    pub fn process(&mut self, input: &Input) -> Result<Outcome> {
        let json = Json::parse(&input.pdu).map_err(|error| Error::invalid(error.what))?;
        let processed = self.writer.process(input, json)?;
        if let Some(landed) = processed.landed {
            self.driving.landed(landed.key);
            while !self.driving.is_empty() {
                if let Some(landed) = self.writer.drive(&mut self.driving)?.landed {
                    self.driving.landed(landed.key);
                }
            }
        }
        Ok(processed.outcome)
    }
}
