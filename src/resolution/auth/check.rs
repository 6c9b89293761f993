//! What the rules have in common: the event and the state that it is checked by, and how a check ends early.

use std::sync::Arc;

use ruma_common::room_version_rules::AuthorizationRules;

use crate::{
    error::{Error, Result},
    resolution::{
        content::{Content, Create, JoinRule, Membership, types},
        event::{AuthEvent, AuthState},
        reason::{Reason, Rule},
    },
};

/// One event under the rules, by one state.
pub(super) struct Check<'a, S: ?Sized> {
    pub(super) rules: &'a AuthorizationRules,
    pub(super) event: &'a AuthEvent,
    pub(super) state: &'a S,
}

/// Why a check ends early: the event is refused, or the state cannot be read.
pub(super) enum Stop {
    Refused(Reason),
    Failed(Error),
}

pub(super) type Checked<T = ()> = Result<T, Stop>;

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn refuse(rule: Rule, detail: impl Into<Box<str>>) -> Checked {
    Err(Stop::Refused(Reason::new(rule, detail)))
}

/// Refuses an event whose content breaks a rule whatever the state.
pub(super) fn malformed(event: &AuthEvent) -> Result<(), Reason> {
    match &event.content {
        Content::Malformed(reason) => Err(reason.clone()),
        _ => Ok(()),
    }
}

/// What follows the first colon of a Matrix ID: its server name.
pub(super) fn domain(id: &str) -> Option<&str> {
    id.split_once(':').map(|(_, domain)| domain)
}

impl<S: AuthState + ?Sized> Check<'_, S> {
    /// The create event. A rejected one makes no room (rule 2).
    pub(super) fn create(&self) -> Checked<Arc<AuthEvent>> {
        match self.state.get(types::CREATE, "")? {
            Some(create) if create.rejected => {
                Err(Reason::new(Rule::CreateNotAccepted, create.event_id.clone()).into())
            }
            Some(create) => Ok(create),
            None => Err(Reason::new(Rule::NoCreate, "").into()),
        }
    }

    /// The user's current membership; who has no event has left.
    pub(super) fn membership(&self, user: &str) -> Checked<Membership> {
        match self.state.get(types::MEMBER, user)? {
            None => Ok(Membership::Leave),
            Some(event) => match &event.content {
                Content::Member(member) => Ok(member.membership),
                _ => Err(malformed_state(&event).into()),
            },
        }
    }

    /// The current join rule; a room without an event for it is one that asks for an invite.
    pub(super) fn join_rule(&self) -> Checked<JoinRule> {
        match self.state.get(types::JOIN_RULES, "")? {
            None => Ok(JoinRule::ABSENT),
            Some(event) => match &event.content {
                Content::JoinRules(rule) => Ok(*rule),
                _ => Err(malformed_state(&event).into()),
            },
        }
    }
}

pub(super) fn create_content(create: &AuthEvent) -> Result<&Create, Reason> {
    match &create.content {
        Content::Create(content) => Ok(content),
        _ => Err(malformed_state(create)),
    }
}

/// The failure of an engine that made an event with the content of another type.
pub(super) fn unparsed(event: &AuthEvent) -> Error {
    Error::internal(format!("the content of {} is not that of {}", event.event_id, event.event_type))
}

/// The refusal of an event since this event of the state, which a rule needs, is malformed.
pub(super) fn malformed_state(event: &AuthEvent) -> Reason {
    Reason::new(Rule::MalformedState, event.event_id.clone())
}
