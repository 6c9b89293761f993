//! Power: who has how much, and what takes how much.

use std::{fmt, sync::Arc};

use ruma_common::room_version_rules::{AuthorizationRules, RoomVersionRules};

use super::check::{Check, Checked, create_content, malformed_state, refuse};
use crate::resolution::{
    content::{Content, Field, PowerLevels, types},
    event::{AuthEvent, AuthState},
    reason::{Reason, Rule},
};

/// The level of a room's creator as long as there is no `m.room.power_levels` event, up to room version 11.
const CREATOR_LEVEL: i64 = 100;

/// A user's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// A level.
    Level(i64),
    /// That of a creator from room version 12 on: above every level, and equal to that of another creator.
    Infinite,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => write!(f, "power level {level}"),
            Self::Infinite => f.write_str("infinite power"),
        }
    }
}

impl PartialEq<i64> for Power {
    fn eq(&self, level: &i64) -> bool {
        *self == Self::Level(*level)
    }
}

impl PartialOrd<i64> for Power {
    fn partial_cmp(&self, level: &i64) -> Option<std::cmp::Ordering> {
        Some(self.cmp(&Self::Level(*level)))
    }
}

/// Tells the power of `user` under these `m.room.power_levels` and `m.room.create` events.
///
/// # Errors
///
/// The refusal of whatever depends on it, if the content of one of the two is malformed; accepted events never are.
pub fn user_power_level(
    rules: &RoomVersionRules,
    user: &str,
    power_levels: Option<&AuthEvent>,
    create: &AuthEvent,
) -> Result<Power, Reason> {
    power_of(&rules.authorization, user, power_levels, create)
}

/// Tells whether `user` is a creator of the room.
///
/// # Errors
///
/// As [`user_power_level`].
#[cfg(test)]
pub fn is_creator(rules: &RoomVersionRules, user: &str, create: &AuthEvent) -> Result<bool, Reason> {
    Ok(creators(&rules.authorization, create)?.any(|creator| creator == user))
}

fn power_of(
    rules: &AuthorizationRules,
    user: &str,
    power_levels: Option<&AuthEvent>,
    create: &AuthEvent,
) -> Result<Power, Reason> {
    let is_creator = || Ok(creators(rules, create)?.any(|creator| creator == user));
    if rules.explicitly_privilege_room_creators && is_creator()? {
        return Ok(Power::Infinite);
    }
    let level = match levels(power_levels)? {
        Some(levels) => levels.users.get(user).unwrap_or(levels.field_or_default(Field::UsersDefault)),
        None if is_creator()? => CREATOR_LEVEL,
        None => Field::UsersDefault.default_level(),
    };
    Ok(Power::Level(level))
}

/// The creators of the room, the one who made it first.
pub(super) fn creators<'a>(
    rules: &AuthorizationRules,
    create: &'a AuthEvent,
) -> Result<impl Iterator<Item = &'a str> + use<'a>, Reason> {
    let content = create_content(create)?;
    let creator = if rules.use_room_create_sender { Some(&*create.sender) } else { content.creator.as_deref() };
    Ok(creator.into_iter().chain(content.additional_creators.iter().map(|user| &**user)))
}

fn levels(power_levels: Option<&AuthEvent>) -> Result<Option<&PowerLevels>, Reason> {
    match power_levels.map(|event| (&event.content, event)) {
        None => Ok(None),
        Some((Content::PowerLevels(levels), _)) => Ok(Some(levels)),
        Some((_, event)) => Err(malformed_state(event)),
    }
}

/// The power levels that hold in a state.
pub(super) struct Powers<'a> {
    rules: &'a AuthorizationRules,
    create: &'a AuthEvent,
    power_levels: Option<Arc<AuthEvent>>,
}

impl<'a> Powers<'a> {
    pub(super) fn new(
        rules: &'a AuthorizationRules,
        create: &'a AuthEvent,
        power_levels: Option<Arc<AuthEvent>>,
    ) -> Self {
        Self { rules, create, power_levels }
    }

    /// The content of the current event, if there is one.
    pub(super) fn current(&self) -> Result<Option<&PowerLevels>, Reason> {
        levels(self.power_levels.as_deref())
    }

    pub(super) fn creators(&self) -> Result<impl Iterator<Item = &'a str> + use<'a>, Reason> {
        creators(self.rules, self.create)
    }

    /// The power of a user.
    pub(super) fn of(&self, user: &str) -> Result<Power, Reason> {
        power_of(self.rules, user, self.power_levels.as_deref(), self.create)
    }

    /// The level that `field` asks for.
    pub(super) fn level(&self, field: Field) -> Result<i64, Reason> {
        Ok(self.current()?.map_or(field.default_level(), |levels| levels.field_or_default(field)))
    }

    /// The level that sending an event of this type takes: its *required power level*.
    pub(super) fn to_send(&self, event_type: &str, is_state: bool) -> Result<i64, Reason> {
        let default = if is_state { Field::StateDefault } else { Field::EventsDefault };
        match self.current()?.and_then(|levels| levels.events.get(event_type)) {
            Some(level) => Ok(level),
            None => self.level(default),
        }
    }

    /// Refuses by `rule` unless `power` is greater than or equal to the level that `field` asks for.
    pub(super) fn require(&self, power: Power, field: Field, rule: Rule) -> Checked {
        let level = self.level(field)?;
        if power < level { refuse(rule, format!("{power}, {} takes {level}", field.name())) } else { Ok(()) }
    }
}

impl<S: AuthState + ?Sized> Check<'_, S> {
    /// Who has how much power by the state.
    pub(super) fn powers<'b>(&'b self, create: &'b AuthEvent) -> Checked<Powers<'b>> {
        Ok(Powers::new(self.rules, create, self.state.get(types::POWER_LEVELS, "")?))
    }
}
