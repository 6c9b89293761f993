//! The parts of event content that authorisation reads, parsed once.
//!
//! Only what some rule reads of an event of that type is kept and checked. Where a rule refuses what is malformed, the
//! event itself is refused, so that no accepted event has such content; where none does, it is told here what a malformed
//! value counts as. What no rule reads may be anything.

mod member;
mod power_levels;
mod values;

#[cfg(test)]
mod tests;

use ruma_common::{
    RoomVersionId,
    room_version_rules::{AuthorizationRules, RoomVersionRules},
};

use self::values::is_user_id;
pub use self::{
    member::{Member, SignedInvite},
    power_levels::{Field, PowerLevels},
    values::PublicKey,
};
use super::reason::{Reason, Rule};
use crate::encoding::json::{Json, Object};
pub use crate::tables::current::Membership;

/// The event types that the rules name.
pub mod types {
    /// `m.room.aliases`: special up to room version 5.
    pub const ALIASES: &str = "m.room.aliases";
    /// `m.room.create`
    pub const CREATE: &str = "m.room.create";
    /// `m.room.join_rules`
    pub const JOIN_RULES: &str = "m.room.join_rules";
    /// `m.room.member`
    pub const MEMBER: &str = "m.room.member";
    /// `m.room.power_levels`
    pub const POWER_LEVELS: &str = "m.room.power_levels";
    /// `m.room.redaction`: special up to room version 2.
    pub const REDACTION: &str = "m.room.redaction";
    /// `m.room.third_party_invite`
    pub const THIRD_PARTY_INVITE: &str = "m.room.third_party_invite";
}

/// What the rules read of an event's content, by the event's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Of `m.room.create`.
    Create(Box<Create>),
    /// Of `m.room.member`.
    Member(Member),
    /// Of `m.room.power_levels`.
    PowerLevels(Box<PowerLevels>),
    /// Of `m.room.join_rules`.
    JoinRules(JoinRule),
    /// Of `m.room.third_party_invite`: the public keys, one of which must have signed the invite.
    ThirdPartyInvite(Box<[PublicKey]>),
    /// Of `m.room.redaction`.
    Redaction {
        /// The event ID that it redacts.
        redacts: Option<Box<str>>,
    },
    /// Of any other event: no rule reads it.
    Other,
    /// It breaks the rule named here, whatever the state.
    Malformed(Reason),
}

impl Content {
    /// Parses what the rules read of the `content` of an event of this type.
    ///
    /// `redacts` is the event's top-level field of that name, which counts up to room version 10.
    pub fn parse(rules: &RoomVersionRules, event_type: &str, content: &Object, redacts: Option<&str>) -> Self {
        let authorization = &rules.authorization;
        let parsed = match event_type {
            types::CREATE => Create::parse(authorization, content).map(|create| Self::Create(create.into())),
            types::MEMBER => Member::parse(authorization, content).map(Self::Member),
            types::POWER_LEVELS => {
                PowerLevels::parse(authorization, content).map(|levels| Self::PowerLevels(levels.into()))
            }
            types::JOIN_RULES => Ok(Self::JoinRules(JoinRule::parse(authorization, content))),
            types::THIRD_PARTY_INVITE => Ok(Self::ThirdPartyInvite(member::public_keys(content))),
            types::REDACTION => {
                let redacts = if rules.redaction.content_field_redacts { content.get_str("redacts") } else { redacts };
                Ok(Self::Redaction { redacts: redacts.map(Into::into) })
            }
            _ => Ok(Self::Other),
        };
        parsed.unwrap_or_else(Self::Malformed)
    }

    /// Tells whether some rule reads the content of events of this type.
    pub fn is_read(event_type: &str) -> bool {
        use types::{CREATE, JOIN_RULES, MEMBER, POWER_LEVELS, REDACTION, THIRD_PARTY_INVITE};
        matches!(event_type, CREATE | MEMBER | POWER_LEVELS | JOIN_RULES | THIRD_PARTY_INVITE | REDACTION)
    }

    /// About how much memory it takes, in bytes, itself included.
    pub fn approx_bytes(&self) -> usize {
        let beyond = match self {
            Self::Create(create) => {
                size_of::<Create>()
                    + create.creator.as_deref().map_or(0, str::len)
                    + size_of_val(&*create.additional_creators)
                    + create.additional_creators.iter().map(|user| user.len()).sum::<usize>()
            }
            Self::Member(member) => member.bytes_beyond(),
            Self::PowerLevels(levels) => size_of::<PowerLevels>() + levels.bytes_beyond(),
            Self::ThirdPartyInvite(keys) => size_of_val(&**keys),
            Self::Redaction { redacts } => redacts.as_deref().map_or(0, str::len),
            Self::Malformed(reason) => reason.detail().len(),
            Self::JoinRules(_) | Self::Other => 0,
        };
        size_of::<Self>() + beyond
    }
}

/// What the rules read of `m.room.create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// `creator`, if it is a string; a room with another value there has no creator. From room version 11 on the sender
    /// is the creator, and this is `None`.
    pub creator: Option<Box<str>>,
    /// `additional_creators`, from room version 12 on; valid user IDs.
    pub additional_creators: Box<[Box<str>]>,
    /// Whether users of other servers than the creator's may take part: unless `m.federate` is `false`.
    pub federate: bool,
}

impl Create {
    fn parse(rules: &AuthorizationRules, content: &Object) -> Result<Self, Reason> {
        if let Some(version) = content.get("room_version")
            && !version.as_str().is_some_and(is_recognised)
        {
            return Err(Reason::new(Rule::CreateRoomVersion, version.as_str().unwrap_or("not a string")));
        }
        let creator = match content.get("creator") {
            _ if rules.use_room_create_sender => None,
            // The rule asks for a property and not for what it is. What is no string is equal to no user's ID.
            Some(creator) => creator.as_str().map(Into::into),
            None => return Err(Reason::new(Rule::CreateCreator, "")),
        };
        // No rule refuses another value, and the only one that closes a room is `false`.
        let federate = content.get("m.federate") != Some(&Json::Bool(false));
        let additional_creators = match content.get("additional_creators") {
            Some(users) if rules.additional_room_creators => {
                parse_users(users).ok_or_else(|| Reason::new(Rule::CreateAdditionalCreators, ""))?
            }
            _ => Box::default(),
        };
        Ok(Self { creator, additional_creators, federate })
    }
}

/// What `m.room.join_rules` asks of who wants to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinRule {
    /// Nothing.
    Public,
    /// An invite.
    Invite,
    /// An invite, which one may ask for; from room version 7 on.
    Knock,
    /// An invite, or that a member who can invite vouches; from room version 8 on.
    Restricted,
    /// The same, and one may ask for an invite; from room version 10 on.
    KnockRestricted,
    /// Not a string, or unknown in this room version: nobody can join.
    Other,
}

impl JoinRule {
    /// What holds where there is no `m.room.join_rules` event, or no `join_rule` in its content. The rules say nothing
    /// of it; it is how the specification's maintainers read them (matrix-spec#657), and what most servers do.
    pub const ABSENT: Self = Self::Invite;

    fn parse(rules: &AuthorizationRules, content: &Object) -> Self {
        match content.get("join_rule").map(Json::as_str) {
            None => Self::ABSENT,
            Some(Some("public")) => Self::Public,
            Some(Some("invite")) => Self::Invite,
            Some(Some("knock")) if rules.knocking => Self::Knock,
            Some(Some("restricted")) if rules.restricted_join_rule => Self::Restricted,
            Some(Some("knock_restricted")) if rules.knock_restricted_join_rule => Self::KnockRestricted,
            Some(_) => Self::Other,
        }
    }
}

fn is_recognised(version: &str) -> bool {
    RoomVersionId::try_from(version).is_ok_and(|version| version.rules().is_some())
}

fn parse_users(users: &Json) -> Option<Box<[Box<str>]>> {
    users.as_array()?.iter().map(|user| user.as_str().filter(|user| is_user_id(user)).map(Into::into)).collect()
}
