//! The content of `m.room.power_levels`.

use std::{cmp::Ordering, num::IntErrorKind};

use ruma_common::room_version_rules::AuthorizationRules;

use super::values::is_user_id;
use crate::{
    encoding::json::{Json, Object},
    resolution::reason::{Reason, Rule},
};

/// What the rules read of `m.room.power_levels`.
///
/// Up to room version 9 levels may be strings, up to 5 also floats and integers of any size. A level beyond `i64`
/// counts as the nearest `i64`. Up to room version 9, too, what is malformed counts as absent, but for `users`: only from
/// version 10 on do the rules refuse an event for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PowerLevels {
    fields: [Option<i64>; Field::ALL.len()],
    /// `events`: by event type, the level that sending takes.
    pub events: Levels,
    /// `notifications`: by kind, the level that notifying takes. Empty up to room version 5, where no rule reads it.
    pub notifications: Levels,
    /// `users`: by user ID, the user's level.
    pub users: Levels,
}

/// A property of `m.room.power_levels` that is one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `users_default`: the level of users that `users` does not name.
    UsersDefault,
    /// `events_default`: the level that sending a message event takes, if `events` does not name its type.
    EventsDefault,
    /// `state_default`: the level that sending a state event takes, if `events` does not name its type.
    StateDefault,
    /// `ban`
    Ban,
    /// `redact`
    Redact,
    /// `kick`
    Kick,
    /// `invite`
    Invite,
}

impl Field {
    /// All of them, in the order in which the specification lists them.
    pub const ALL: [Self; 7] = [
        Self::UsersDefault,
        Self::EventsDefault,
        Self::StateDefault,
        Self::Ban,
        Self::Redact,
        Self::Kick,
        Self::Invite,
    ];

    /// The property's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsersDefault => "users_default",
            Self::EventsDefault => "events_default",
            Self::StateDefault => "state_default",
            Self::Ban => "ban",
            Self::Redact => "redact",
            Self::Kick => "kick",
            Self::Invite => "invite",
        }
    }

    /// The level that holds where the property or the whole event is absent.
    pub const fn default_level(self) -> i64 {
        match self {
            Self::UsersDefault | Self::EventsDefault | Self::Invite => 0,
            Self::StateDefault | Self::Ban | Self::Redact | Self::Kick => 50,
        }
    }
}

impl PowerLevels {
    pub(super) fn parse(rules: &AuthorizationRules, content: &Object) -> Result<Self, Reason> {
        let otherwise = if rules.integer_power_levels { Malformed::Refused } else { Malformed::Absent };
        let mut fields = [None; Field::ALL.len()];
        for (level, field) in fields.iter_mut().zip(Field::ALL) {
            *level = match content.get(field.name()).map(|value| parse_level(rules, value)) {
                Some(None) if otherwise == Malformed::Refused => return Err(malformed(field.name())),
                level => level.flatten(),
            };
        }
        let levels = |name, otherwise| match content.get(name) {
            Some(value) => Levels::parse(rules, name, value, otherwise),
            None => Ok(Levels::default()),
        };
        let notifications = if rules.limit_notifications_power_levels {
            levels("notifications", otherwise)?
        } else {
            Levels::default()
        };
        let users = levels("users", Malformed::Refused)?;
        if let Some((user, _)) = users.iter().find(|(user, _)| !is_user_id(user)) {
            return Err(malformed(&format!("users: {user}")));
        }
        Ok(Self { fields, events: levels("events", otherwise)?, notifications, users })
    }

    /// The level that the event itself gives `field`.
    pub fn field(&self, field: Field) -> Option<i64> {
        self.fields.get(field as usize).copied().flatten()
    }

    /// The level that holds for `field`.
    pub fn field_or_default(&self, field: Field) -> i64 {
        self.field(field).unwrap_or(field.default_level())
    }

    pub(super) fn bytes_beyond(&self) -> usize {
        [&self.events, &self.notifications, &self.users].into_iter().map(Levels::bytes_beyond).sum()
    }
}

/// What becomes of an `m.room.power_levels` event where it is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Malformed {
    /// It is refused.
    Refused,
    /// It is read as if that were not there.
    Absent,
}

/// Levels by name, sorted by the names' bytes; small, since events with hundreds of users are cached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    /// All names, one after the other.
    names: Box<str>,
    /// Where each name ends.
    ends: Box<[u32]>,
    /// The level of each name.
    levels: Box<[i64]>,
}

impl Levels {
    fn parse(rules: &AuthorizationRules, what: &str, value: &Json, otherwise: Malformed) -> Result<Self, Reason> {
        let Some(object) = value.as_object() else {
            return match otherwise {
                Malformed::Refused => Err(malformed(&format!("{what} is not an object"))),
                Malformed::Absent => Ok(Self::default()),
            };
        };
        let mut names = String::with_capacity(object.iter().map(|(name, _)| name.len()).sum());
        let mut ends = Vec::with_capacity(object.len());
        let mut levels = Vec::with_capacity(object.len());
        for (name, value) in object.iter() {
            let level = match parse_level(rules, value) {
                Some(level) => level,
                None if otherwise == Malformed::Absent => continue,
                None => return Err(malformed(&format!("{what}: {name}"))),
            };
            names.push_str(name);
            ends.push(u32::try_from(names.len()).map_err(|_| malformed(&format!("{what} is too long")))?);
            levels.push(level);
        }
        Ok(Self { names: names.into(), ends: ends.into(), levels: levels.into() })
    }

    /// The level of `name`, if it is named.
    pub fn get(&self, name: &str) -> Option<i64> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle)?.cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return self.levels.get(middle).copied(),
            }
        }
        None
    }

    /// The names and their levels, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.levels.iter().enumerate().filter_map(|(index, level)| Some((self.name(index)?, *level)))
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Tells whether there are none.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The names whose level differs, in order, with the level here and the level in `new`; `None` where it has none.
    pub fn changes<'a>(&'a self, new: &'a Self) -> impl Iterator<Item = (&'a str, Option<i64>, Option<i64>)> {
        let (mut old, mut new) = (self.iter().peekable(), new.iter().peekable());
        let merged = std::iter::from_fn(move || {
            let name = match (old.peek(), new.peek()) {
                (Some((old, _)), Some((new, _))) => *old.min(new),
                (Some((name, _)), None) | (None, Some((name, _))) => *name,
                (None, None) => return None,
            };
            let level_was = old.next_if(|(other, _)| *other == name).map(|(_, level)| level);
            let level_is = new.next_if(|(other, _)| *other == name).map(|(_, level)| level);
            Some((name, level_was, level_is))
        });
        merged.filter(|(_, old, new)| old != new)
    }

    fn name(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(previous) => *self.ends.get(previous)?,
            None => 0,
        };
        self.names.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    fn bytes_beyond(&self) -> usize {
        self.names.len() + size_of_val(&*self.ends) + size_of_val(&*self.levels)
    }
}

fn malformed(what: &str) -> Reason {
    Reason::new(Rule::PowerLevelsMalformed, what)
}

/// Reads a level: an integer; as the room version allows, also a string or a float.
fn parse_level(rules: &AuthorizationRules, value: &Json) -> Option<i64> {
    match value {
        Json::Int(level) => Some(*level),
        Json::String(text) if !rules.integer_power_levels => parse_text(text),
        Json::Number(text) if !rules.strict_canonical_json => truncate(text),
        _ => None,
    }
}

/// "A single base 10 integer, [...] optionally with any number of leading zeroes; optionally prefixed with a single
/// `-` or `+`; optionally with any number of leading or trailing whitespace characters" (room version 1).
fn parse_text(text: &str) -> Option<i64> {
    match text.trim().parse::<i64>() {
        Ok(level) => Some(level),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

/// "First, exponential notation is applied. Second, the value is truncated at the decimal point. Values outside the
/// range represented by IEEE 754 binary64 cause the event to be rejected" (room version 1). Also reads the integers
/// that no `i64` holds.
fn truncate(number: &str) -> Option<i64> {
    let value: f64 = number.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "truncates as the specification says, and saturates")]
    value.is_finite().then_some(value as i64)
}
