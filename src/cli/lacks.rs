//! How commands show what a parked event lacks.

use ruma_common::OwnedEventId;
use serde::Serialize;

use crate::query::{Lack, Role};

/// An event that a parked one lacks.
#[derive(Debug, Serialize)]
pub(super) struct ShownLack<'a> {
    pub(super) event_id: &'a str,
    pub(super) role: &'static str,
    /// The line of this import that has the event, and is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invalid_line: Option<u64>,
    /// The file of that line, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invalid_file: Option<&'a str>,
}

impl<'a> ShownLack<'a> {
    pub(super) fn new(event_id: &'a OwnedEventId, role: Role) -> Self {
        let role = match role {
            Role::Prev => "prev",
            Role::Auth | Role::Chain => "auth",
            Role::State => "state",
        };
        Self { event_id: event_id.as_str(), role, invalid_line: None, invalid_file: None }
    }

    /// What it is wanted as, for a person.
    pub(super) fn role_text(&self) -> &'static str {
        match self.role {
            "prev" => "prev event",
            "auth" => "auth event",
            _ => "event of the supplied state",
        }
    }
}

pub(super) fn shown(lacks: &[Lack]) -> Vec<ShownLack<'_>> {
    lacks.iter().map(|lack| ShownLack::new(&lack.event_id, lack.role)).collect()
}
