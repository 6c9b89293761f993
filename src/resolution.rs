//! Who may do what, and what the state is where branches of the event graph meet.
//!
//! Everything here works on numeric IDs and on what [`ResolutionStore`] tells; nothing reads a table.

pub mod auth;
mod auth_difference;
pub mod content;
mod event;
mod iterative;
mod loaded;
mod mainline;
mod power;
pub mod reason;
mod rules;
mod subgraph;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use ruma_common::room_version_rules::{RoomVersionRules, StateResolutionVersion};

pub use crate::state::difference::Difference as Conflict;
pub use event::{AuthEvent, AuthState, PrevEvents, ResolutionStore};

pub use self::rules::Resolved;
use self::{loaded::Loaded, rules::Rules};
use crate::{
    error::{Error, Result},
    ids::EventNid,
};

/// Resolves `sets` states by the room version's algorithm, given each key at which they differ and nothing else.
///
/// The answer has every key of `conflicts`, `None` where no event is left, and any key that resolution adds though no
/// set has it (v2: events of the auth difference). All other keys keep the value that
/// [`ResolutionStore::unconflicted`] tells. `create` is the room's create event; only versions in which it is implied
/// (from 12 on) use it. Costs follow the conflict and its auth chains as far as the unconflicted state does not reach
/// them, never the size of the room.
///
/// # Errors
///
/// [`Invalid`](crate::error::ErrorKind::Invalid) where an event would have to be checked without a create event: the
/// message names it. An answer without one would be an empty state. Errors of the store are passed on.
pub fn resolve(
    rules: &RoomVersionRules,
    create: EventNid,
    sets: usize,
    conflicts: &[Conflict],
    store: &dyn ResolutionStore,
) -> Result<Resolved> {
    if let Some(conflict) = conflicts.iter().find(|conflict| conflict.events.len() != sets) {
        let told = conflict.events.len();
        return Err(Error::internal(format!("{sets} state sets, and {told} values at {:?}", conflict.tuple)));
    }
    let room = Loaded::new(store);
    let rules = Rules { version: rules, create };
    match &rules.version.state_res {
        StateResolutionVersion::V1 => v1::resolve(&rules, conflicts, &room),
        StateResolutionVersion::V2(v2_rules) => v2::resolve(&rules, v2_rules, sets, conflicts, &room),
        other => Err(Error::invalid(format!("state resolution {other:?} is not known here"))),
    }
}
