//! How a user stands to a room.

/// How a user stands to a room, as `membership` of their `m.room.member` event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Membership {
    /// In the room.
    Join,
    /// Invited.
    Invite,
    /// Has left, was kicked, or has declined.
    Leave,
    /// Banned.
    Ban,
    /// Has asked to be let in.
    Knock,
}

impl Membership {
    const ALL: [Self; 5] = [Self::Join, Self::Invite, Self::Leave, Self::Ban, Self::Knock];

    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Leave => "leave",
            Self::Ban => "ban",
            Self::Knock => "knock",
        }
    }

    /// The membership of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|membership| membership.as_str() == word)
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Join => 1,
            Self::Invite => 2,
            Self::Leave => 3,
            Self::Ban => 4,
            Self::Knock => 5,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|membership| membership.code() == code)
    }
}
