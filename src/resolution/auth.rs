//! The authorisation rules of room versions 1 to 12.
//!
//! The rules stand in the specification's order, each below its sentence. A number before a sentence is that of room
//! version 12 (<https://spec.matrix.org/latest/rooms/v12/#authorisation-rules>); older versions number the same rules
//! differently, and rules that version 12 lacks say which versions have them. Where versions differ, a flag of the
//! [`RoomVersionRules`] decides, here or already in [`Content::parse`].
//!
//! On receipt of an event, in this order:
//! 1. [`check_create`], if it is an `m.room.create` event;
//! 2. [`check_auth_events`], with all its auth events;
//! 3. [`check`] by the state that its auth events form;
//! 4. [`check`] by the state before it;
//! 5. [`check`] by the current state (soft failure).
//!
//! Three rules remain for who knows what this module does not: that the `room_id` is the hash of an accepted create
//! event ([`Rule::CreateNotAccepted`]), that auth events are of the same room ([`Rule::ForeignAuthEvent`]), and that
//! the server of [`Member::authorised_via`](super::content::Member::authorised_via) has signed the event.

mod check;
mod member;
mod power;
mod power_levels;
mod third_party;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ruma_common::room_version_rules::RoomVersionRules;
use smallvec::SmallVec;

#[cfg(test)]
use self::power::is_creator;
pub use self::power::{Power, user_power_level};
use self::{
    check::{Check, Checked, Stop, create_content, domain, malformed, refuse, unparsed},
    power::Powers,
};
use super::{
    content::{Content, Field, Membership, types},
    event::{AuthEvent, AuthState, PrevEvents},
    reason::{Reason, Rule},
};
use crate::error::Result;

/// Selects what the auth events of an event are: the (type, state key) pairs under which the state before it has them.
///
/// An `m.room.create` event has none. Malformed content asks for nothing beyond what every event has.
/// Source: server-server API, "Auth events selection".
pub fn auth_types_for_event<'a>(
    rules: &RoomVersionRules,
    event_type: &str,
    sender: &'a str,
    state_key: Option<&'a str>,
    content: &'a Content,
) -> SmallVec<[(&'static str, &'a str); 6]> {
    let mut selected = SmallVec::new();
    if event_type == types::CREATE {
        return selected;
    }
    // "Depending on the room version, the m.room.create event."
    if !rules.authorization.room_create_event_id_as_room_id {
        selected.push((types::CREATE, ""));
    }
    // "The current m.room.power_levels event, if any. The sender's current m.room.member event, if any."
    selected.push((types::POWER_LEVELS, ""));
    selected.push((types::MEMBER, sender));
    if event_type != types::MEMBER {
        return selected;
    }

    // "If type is m.room.member: the target's current m.room.member event, if any."
    selected.extend(state_key.filter(|target| *target != sender).map(|target| (types::MEMBER, target)));
    let Content::Member(member) = content else { return selected };
    // "If membership is join, invite or knock, the current m.room.join_rules event, if any."
    if matches!(member.membership, Membership::Join | Membership::Invite | Membership::Knock) {
        selected.push((types::JOIN_RULES, ""));
    }
    // "If membership is invite and content contains a third_party_invite property, the current
    // m.room.third_party_invite event with state_key matching content.third_party_invite.signed.token, if any."
    if let Some(invite) = &member.third_party_invite {
        selected.push((types::THIRD_PARTY_INVITE, &invite.token));
    }
    // "If membership is join, content.join_authorised_via_users_server is present, and the room version supports
    // restricted rooms, then the m.room.member event with state_key matching
    // content.join_authorised_via_users_server."
    if let Some(user) = member.authorised_via.as_deref()
        && member.membership == Membership::Join
        && !selected.contains(&(types::MEMBER, user))
    {
        selected.push((types::MEMBER, user));
    }
    selected
}

/// Checks an `m.room.create` event: rule 1, which no state decides.
///
/// `room_id` is the event's field of that name, `None` where it has none. Events of other types pass.
pub fn check_create(rules: &RoomVersionRules, event: &AuthEvent, room_id: Option<&str>) -> Result<(), Reason> {
    if &*event.event_type != types::CREATE {
        return Ok(());
    }
    // 1.1 If it has any prev_events, reject.
    if event.prev_events != PrevEvents::None {
        return Err(Reason::new(Rule::CreateHasPrevEvents, ""));
    }
    if rules.authorization.room_create_event_id_as_room_id {
        // 1.2 If the event has a room_id, reject.
        if let Some(room_id) = room_id {
            return Err(Reason::new(Rule::CreateHasRoomId, room_id));
        }
    // Versions 1 to 11: If the domain of the room_id does not match the domain of the sender, reject.
    } else if room_id.and_then(domain).is_none_or(|of_room| domain(&event.sender) != Some(of_room)) {
        return Err(Reason::new(Rule::CreateRoomIdDomain, room_id.unwrap_or("absent")));
    }
    // 1.3 If content.room_version is present and is not a recognised version, reject.
    // 1.4 If additional_creators is present in content and is not an array of strings where each string passes the
    //     same user ID validation applied to sender, reject.
    // Versions 1 to 10: If content has no creator property, reject.
    malformed(event)
    // 1.5 Otherwise, allow.
}

/// Checks the auth events that an event names: rule 3 (rule 2 up to version 11), which no state decides.
///
/// `auth_events` are all of them, in the event's order. An `m.room.create` event passes: its rules end before these.
pub fn check_auth_events(
    rules: &RoomVersionRules,
    event: &AuthEvent,
    auth_events: &[Arc<AuthEvent>],
) -> Result<(), Reason> {
    if &*event.event_type == types::CREATE {
        return Ok(());
    }
    if event.prev_events == PrevEvents::None {
        return Err(Reason::new(Rule::NoPrevEvents, ""));
    }
    // The selection follows from the content, so it has to be sound first.
    malformed(event)?;

    let selection =
        auth_types_for_event(rules, &event.event_type, &event.sender, event.state_key.as_deref(), &event.content);
    let mut seen = SmallVec::<[(&str, &str); 6]>::new();
    for auth_event in auth_events {
        let refuse = |rule| Err(Reason::new(rule, auth_event.event_id.clone()));
        // A message event is no part of any state, so no selection asks for it.
        let Some(state_key) = auth_event.state_key.as_deref() else { return refuse(Rule::UnexpectedAuthEvent) };
        let pair = (&*auth_event.event_type, state_key);
        // 3.1 If there are duplicate entries for a given type and state_key pair, reject.
        if seen.contains(&pair) {
            return refuse(Rule::DuplicateAuthEvent);
        }
        // 3.2 If there are entries whose type and state_key don't match those specified by the auth events selection
        //     algorithm described in the server specification, reject.
        if !selection.contains(&pair) {
            return refuse(Rule::UnexpectedAuthEvent);
        }
        // 3.3 If there are entries which were themselves rejected under the checks performed on receipt of a PDU,
        //     reject.
        if auth_event.rejected {
            return refuse(Rule::RejectedAuthEvent);
        }
        seen.push(pair);
    }
    // Versions 1 to 11: If there is no m.room.create event among the entries, reject.
    if !rules.authorization.room_create_event_id_as_room_id && !seen.contains(&(types::CREATE, "")) {
        return Err(Reason::new(Rule::NoCreateAuthEvent, ""));
    }
    Ok(())
}

/// Checks an event by a state: rules 4 and following (3 and following up to version 11).
///
/// An `m.room.create` event passes: no state decides about it. The state has to answer for the create event in every
/// room version, see [`AuthState::get`].
///
/// # Errors
///
/// What `state` fails with. A refusal is no error but the inner `Err`.
pub fn check<S: AuthState + ?Sized>(
    rules: &RoomVersionRules,
    event: &AuthEvent,
    state: &S,
) -> Result<Result<(), Reason>> {
    match (Check { rules: &rules.authorization, event, state }).run() {
        Ok(()) => Ok(Ok(())),
        Err(Stop::Refused(reason)) => Ok(Err(reason)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

impl<S: AuthState + ?Sized> Check<'_, S> {
    fn run(&self) -> Checked {
        let event = self.event;
        if &*event.event_type == types::CREATE {
            return Ok(());
        }
        // Content that breaks a rule breaks it in every state. No rule that allows comes before those that read it.
        malformed(event)?;
        let create = self.create()?;

        // 4. If the content of the m.room.create event in the room state has the property m.federate set to false,
        //    and the sender domain of the event does not match the sender domain of the create event, reject.
        if !create_content(&create)?.federate && domain(&event.sender) != domain(&create.sender) {
            return refuse(Rule::NotFederated, event.sender.clone());
        }

        // Versions 1 to 5: If type is m.room.aliases:
        if self.rules.special_case_room_aliases && &*event.event_type == types::ALIASES {
            // If event has no state_key, reject.
            let Some(state_key) = event.state_key.as_deref() else { return refuse(Rule::AliasesStateKey, "") };
            // If sender's domain doesn't match state_key, reject.
            if domain(&event.sender) != Some(state_key) {
                return refuse(Rule::AliasesDomain, state_key);
            }
            // Otherwise, allow.
            return Ok(());
        }

        // 5. If type is m.room.member:
        if &*event.event_type == types::MEMBER {
            let Content::Member(member) = &event.content else { return Err(unparsed(event).into()) };
            return self.check_member(member, &create);
        }

        // 6. If the sender's current membership state is not join, reject.
        if self.membership(&event.sender)? != Membership::Join {
            return refuse(Rule::SenderNotJoined, event.sender.clone());
        }

        let powers = self.powers(&create)?;
        let power = powers.of(&event.sender)?;

        // 7. If type is m.room.third_party_invite:
        if &*event.event_type == types::THIRD_PARTY_INVITE {
            // 7.1 Allow if and only if sender's current power level is greater than or equal to the invite level.
            return powers.require(power, Field::Invite, Rule::ThirdPartyInviteLevel);
        }

        // 8. If the event type's required power level is greater than the sender's power level, reject.
        let required = powers.to_send(&event.event_type, event.state_key.is_some())?;
        if power < required {
            return refuse(Rule::EventLevel, format!("{}: {power}, required is {required}", event.event_type));
        }

        // 9. If the event has a state_key that starts with an @ and does not match the sender, reject.
        if let Some(state_key) = event.state_key.as_deref()
            && state_key.starts_with('@')
            && *state_key != *event.sender
        {
            return refuse(Rule::StateKeyOfOther, state_key);
        }

        match &*event.event_type {
            // 10. If type is m.room.power_levels:
            types::POWER_LEVELS => {
                let Content::PowerLevels(new) = &event.content else { return Err(unparsed(event).into()) };
                self.check_power_levels(new, &powers, power)
            }
            // Versions 1 and 2: If type is m.room.redaction:
            types::REDACTION if self.rules.special_case_room_redaction => {
                let Content::Redaction { redacts } = &event.content else { return Err(unparsed(event).into()) };
                self.check_redaction(redacts.as_deref(), &powers, power)
            }
            // 11. Otherwise, allow.
            _ => Ok(()),
        }
    }

    /// Rule 11 of versions 1 and 2: If type is m.room.redaction.
    fn check_redaction(&self, redacts: Option<&str>, powers: &Powers<'_>, power: Power) -> Checked {
        // If the sender's power level is greater than or equal to the redact level, allow.
        let by_level = powers.require(power, Field::Redact, Rule::RedactionLevel);
        // If the domain of the event_id of the event being redacted is the same as the domain of the event_id of the
        // m.room.redaction, allow.
        let target = redacts.and_then(domain);
        if target.is_some() && target == domain(&self.event.event_id) {
            return Ok(());
        }
        // Otherwise, reject.
        by_level
    }
}
