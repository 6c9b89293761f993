//! Lines of `export`, as `import` reads them.

use ruma_common::OwnedEventId;
use serde::Serialize;

use crate::{import_line::KINDS, room::outcome::Kind};

/// What a wrapper line has besides the PDU.
#[derive(Debug, Serialize)]
pub(super) struct Wrapper<'a> {
    pub(super) event_id: &'a str,
    pub(super) room_version: &'a str,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'a [OwnedEventId]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local: Option<bool>,
}

/// The word of a kind.
pub(super) fn kind_word(kind: Kind) -> &'static str {
    KINDS.into_iter().find(|(_, known)| *known == kind).map_or("new", |(word, _)| word)
}
