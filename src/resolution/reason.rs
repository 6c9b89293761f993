//! Why an event was refused.

use std::fmt;

/// Makes [`Rule`] and its conversions of one list: a rule's name, its number as stored, and what it says.
macro_rules! rules {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $text:literal;)*) => {
        /// A rule that can refuse an event.
        ///
        /// The rules are the specification's authorisation rules, which every room version numbers differently; so
        /// they have names. The codes are stored: they are never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        #[expect(clippy::enum_variant_names, reason = "`EventLevel` is the level that the rule is about")]
        pub enum Rule {
            $(#[doc = concat!($text, ".")] $(#[doc = ""] #[doc = $doc])* $name = $code,)*
        }

        impl Rule {
            /// All rules, by ascending code.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The rule with this code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What an event does that the rule refuses, after the part of the rules in which it stands.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

rules! {
    CreateHasPrevEvents = 1, "m.room.create: it has prev_events";
    CreateRoomIdDomain = 2, "m.room.create: the domain of the room_id is not the sender's";
    CreateHasRoomId = 3, "m.room.create: it has a room_id";
    CreateRoomVersion = 4, "m.room.create: the room_version is not recognised";
    CreateCreator = 5, "m.room.create: there is no creator";
    CreateAdditionalCreators = 6, "m.room.create: additional_creators is not an array of user IDs";

    #[doc = "From room version 12 on; who knows the IDs checks it."]
    CreateNotAccepted = 10, "room: the room_id is not that of an accepted m.room.create event";
    #[doc = "The specification leaves this out: an event without prev events has no place in the graph."]
    NoPrevEvents = 11, "room: an event other than m.room.create has no prev_events";
    #[doc = "Who resolves the references checks it: events of other rooms have no number in this one."]
    ForeignPrevEvent = 12, "prev_events: an entry of another room";
    #[doc = "The specification leaves this out: a second root would let anyone resolve the room's state against another."]
    SecondCreate = 13, "room: there is an m.room.create event already";

    DuplicateAuthEvent = 20, "auth_events: two entries for one type and state_key";
    UnexpectedAuthEvent = 21, "auth_events: an entry that the selection does not ask for";
    RejectedAuthEvent = 22, "auth_events: an entry was itself rejected";
    NoCreateAuthEvent = 23, "auth_events: no m.room.create event among the entries";
    #[doc = "Who resolves the references checks it: events of other rooms have no number in this one."]
    ForeignAuthEvent = 24, "auth_events: an entry of another room";

    NoCreate = 30, "state: there is no m.room.create event";
    MalformedState = 31, "state: what the rules read there is malformed";
    NotFederated = 32, "m.federate: the room is not federated and the sender is of another server";
    AliasesStateKey = 33, "m.room.aliases: there is no state_key";
    AliasesDomain = 34, "m.room.aliases: the state_key is not the sender's domain";

    MemberStateKey = 40, "m.room.member: there is no state_key";
    MemberMembership = 41, "m.room.member: there is no membership, or it is unknown";
    MemberAuthorisedVia = 42, "m.room.member: join_authorised_via_users_server is not a user ID";

    JoinSender = 50, "m.room.member join: the sender does not match the state_key";
    JoinBanned = 51, "m.room.member join: the sender is banned";
    JoinUninvited = 52, "m.room.member join: the join rule does not let the user in";
    JoinUnauthorised = 53, "m.room.member join: the room is restricted and no joined member who can invite vouches";

    InviteSenderNotJoined = 60, "m.room.member invite: the sender is not joined";
    InviteTarget = 61, "m.room.member invite: the target user is joined or banned";
    InviteLevel = 62, "m.room.member invite: the sender's power level is below the invite level";

    ThirdPartyTargetBanned = 70, "m.room.member third-party invite: the target user is banned";
    ThirdPartySigned = 71, "m.room.member third-party invite: there is no signed with mxid and token";
    ThirdPartyMxid = 72, "m.room.member third-party invite: mxid does not match the state_key";
    ThirdPartyToken = 73, "m.room.member third-party invite: no m.room.third_party_invite event matches the token";
    ThirdPartySender = 74, "m.room.member third-party invite: the sender is not that of m.room.third_party_invite";
    ThirdPartySignature = 75, "m.room.member third-party invite: no signature matches a public key";

    LeaveMembership = 80, "m.room.member leave: the sender is not in the room, invited or knocking";
    KickSenderNotJoined = 81, "m.room.member kick: the sender is not joined";
    UnbanLevel = 82, "m.room.member unban: the sender's power level is below the ban level";
    KickLevel = 83, "m.room.member kick: the sender's power level is below the kick level or not above the target's";
    BanSenderNotJoined = 84, "m.room.member ban: the sender is not joined";
    BanLevel = 85, "m.room.member ban: the sender's power level is below the ban level or not above the target's";

    KnockJoinRule = 90, "m.room.member knock: the join rule does not allow it";
    KnockSender = 91, "m.room.member knock: the sender does not match the state_key";
    KnockMembership = 92, "m.room.member knock: the sender is banned, invited or joined";

    SenderNotJoined = 100, "sender: it is not joined";
    ThirdPartyInviteLevel = 101, "m.room.third_party_invite: the sender's power level is below the invite level";
    EventLevel = 102, "event type: the sender's power level is below the required power level";
    StateKeyOfOther = 103, "state_key: it starts with @ and is not the sender";

    PowerLevelsMalformed = 110, "m.room.power_levels: a level is not an integer, or a user not a user ID";
    PowerLevelsCreator = 111, "m.room.power_levels: users names a creator";
    PowerLevelsField = 112, "m.room.power_levels: the sender may not change this level";
    PowerLevelsEvents = 113, "m.room.power_levels: the sender may not change this level of events";
    PowerLevelsNotifications = 114, "m.room.power_levels: the sender may not change this level of notifications";
    PowerLevelsUsers = 115, "m.room.power_levels: the sender may not change this level of users";

    RedactionLevel = 120, "m.room.redaction: the sender's level is below the redact level and the servers differ";
}

impl Rule {
    /// Its code, as stored.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why an event was refused: the rule, and what of the event or the state it fell over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    rule: Rule,
    detail: Box<str>,
}

impl Reason {
    /// The refusal by `rule`; `detail` says what the rule was about, and may be empty.
    pub fn new(rule: Rule, detail: impl Into<Box<str>>) -> Self {
        Self { rule, detail: detail.into() }
    }

    /// The rule that refuses.
    #[cfg(test)]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The rule's code, as stored; [`Rule::from_code`] is the way back.
    pub fn code(&self) -> u8 {
        self.rule.code()
    }

    /// What the rule was about: a user, a level, a field.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.text())?;
        match self.detail() {
            "" => Ok(()),
            detail => write!(f, " ({detail})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, Rule};

    #[test]
    fn every_code_leads_back_to_its_rule() {
        assert!(Rule::ALL.is_sorted_by(|left, right| left.code() < right.code()));
        let known: Vec<_> = (0..=u8::MAX).filter_map(Rule::from_code).collect();
        assert_eq!(known, Rule::ALL);
        assert!(known.iter().all(|rule| Rule::from_code(rule.code()) == Some(*rule)));
    }

    /// Codes are stored: a change here changes what old stores say.
    #[test]
    fn stored_codes_keep_their_meaning() {
        let codes = [Rule::CreateHasPrevEvents, Rule::NoCreateAuthEvent, Rule::JoinBanned, Rule::RedactionLevel];
        assert_eq!(codes.map(Rule::code), [1, 23, 51, 120]);
    }

    #[test]
    fn a_reason_names_the_rule_and_what_it_was_about() {
        let reason = Reason::new(Rule::JoinBanned, "@eve:example.org");
        assert_eq!(reason.to_string(), "m.room.member join: the sender is banned (@eve:example.org)");
        assert_eq!(Reason::new(Rule::NoCreate, "").to_string(), "state: there is no m.room.create event");
    }
}
