//! What a server stores in a year, in small: some rooms of very different size with all that people do in them.
//!
//! Forty rooms of version 11, as busy as Zipf's law has it; their users come from 300 servers. Of 1,000 events 598 are
//! messages, 101 encrypted messages, 201 memberships, 48 reactions, 30 redactions and 22 other state. Every event is
//! allowed where it stands, has the hashes of its content and the IDs of others, and 64 random bytes as its signature.

mod content;
mod encrypted;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ruma_common::RoomVersionId;

use self::encrypted::Device;
use super::{
    Generated, Room, Spec, TRUNK, User,
    language::{Language, Subject},
    model::Key,
    random::Random,
};
use crate::{encoding::json::Object, error::Result, resolution::content::types};

/// The rooms of a corpus.
pub const ROOMS: usize = 40;
/// Servers that the users are spread over.
const SERVERS: u32 = 300;
/// The users of a room begin somewhere below this, so rooms have users in common.
const FIRST_USER_BELOW: u64 = 4_000;
/// Rooms that are encrypted, by their place: those of every seventh event.
const ENCRYPTED: [usize; 3] = [2, 5, 8];
/// Messages that can still be answered, changed or redacted.
const RECENT: usize = 256;
/// Of 1,000 joins, those that a second server signed.
const COSIGNED: u64 = 75;

/// What sort of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A message that anyone can read.
    Message,
    /// An encrypted one.
    Encrypted,
    /// A membership.
    Member,
    /// A reaction to a message.
    Reaction,
    /// A redaction.
    Redaction,
    /// Other state.
    State,
}

impl Class {
    /// Every class, the commonest first.
    pub const ALL: [Self; 6] =
        [Self::Message, Self::Member, Self::Encrypted, Self::Reaction, Self::Redaction, Self::State];

    /// Its name, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Encrypted => "encrypted",
            Self::Member => "member",
            Self::Reaction => "reaction",
            Self::Redaction => "redaction",
            Self::State => "state",
        }
    }
}

/// How often each class is drawn where a room has one line; on the lines of a fork there are messages only. An encrypted
/// room has [`Class::Encrypted`] where others have messages.
const MIX: [(Class, u32); 5] =
    [(Class::Message, 616), (Class::Member, 258), (Class::Reaction, 62), (Class::Redaction, 40), (Class::State, 24)];

/// An event of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The place of its room.
    pub room: usize,
    /// Its class.
    pub class: Class,
    /// The event.
    pub event: Generated,
}

/// Rooms whose events come one among the other.
pub struct Corpus {
    rooms: Vec<Lived>,
    /// Events that each room still gets.
    left: Vec<u32>,
    random: Random,
}

impl Corpus {
    /// A corpus of about so many events, all of which follow from `seed`. Each room has at least twenty.
    ///
    /// # Errors
    ///
    /// `Invalid` if the rules of room version 11 are not known.
    pub fn new(seed: u64, events: u32) -> Result<Self> {
        let mut random = Random::new(seed);
        let thousandths: u32 = (1..=1_000u32).take(ROOMS).map(|rank| 1_000_000 / rank).sum();
        let of_room = |rank: u32| {
            let share = u64::from(events) * u64::from(1_000_000 / rank) / u64::from(thousandths.max(1));
            u32::try_from(share).unwrap_or(u32::MAX).max(20)
        };
        let left = (1..).take(ROOMS).map(of_room).collect();
        let rooms = (0..ROOMS).map(|place| Lived::new(&mut random, ENCRYPTED.contains(&place)));
        Ok(Self { rooms: rooms.collect::<Result<_>>()?, left, random })
    }

    /// The ID of a room.
    pub fn room_id(&self, place: usize) -> &str {
        self.rooms.get(place).map_or("", |lived| lived.room.id())
    }

    /// The version of every room.
    pub fn version() -> RoomVersionId {
        RoomVersionId::V11
    }
}

impl Iterator for Corpus {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let room = self.random.weighted(&self.left)?;
        if let Some(left) = self.left.get_mut(room) {
            *left = left.saturating_sub(1);
        }
        let (class, event) = self.rooms.get_mut(room)?.next_event();
        Some(Sample { room, class, event })
    }
}

/// A message that others can refer to.
#[derive(Debug, Clone)]
struct Said {
    event_id: String,
    sender: User,
    words: usize,
}

/// A room in which people live.
struct Lived {
    room: Room,
    random: Random,
    subject: Subject,
    /// The newest messages, the oldest first.
    recent: Vec<Said>,
    devices: BTreeMap<User, Device>,
    banned: BTreeSet<User>,
    /// How often users changed their profiles.
    profiles: BTreeMap<User, u64>,
    encrypted: bool,
    begun: bool,
    /// Lines of a fork on which nothing was said yet.
    open_lines: usize,
}

impl Lived {
    fn new(random: &mut Random, encrypted: bool) -> Result<Self> {
        let (seed, first_user) = (random.number(), random.below(FIRST_USER_BELOW));
        let first_user = u32::try_from(first_user).unwrap_or(0);
        let spec =
            Spec { version: Corpus::version(), seed, servers: SERVERS, members: 3, first_user, ..Spec::default() };
        let mut room = Room::new(spec)?;
        room.signing.keys_differ = true;
        let subject = Language::shared().subject(random);
        Ok(Self {
            room,
            random: Random::new(seed ^ 0x5eed),
            subject,
            recent: Vec::new(),
            devices: BTreeMap::new(),
            banned: BTreeSet::new(),
            profiles: BTreeMap::new(),
            encrypted,
            begun: false,
            open_lines: 0,
        })
    }

    fn next_event(&mut self) -> (Class, Generated) {
        if let Some(start) = self.room.next_start() {
            let is_member = self.room.started == 1 || self.room.started > 5;
            return (if is_member { Class::Member } else { Class::State }, start);
        }
        if self.encrypted && !self.begun {
            self.begun = true;
            return (Class::State, self.state_of("m.room.encryption", content::encryption()));
        }
        self.room.time = self.room.time.saturating_add_unsigned(self.pause());
        if let Some(line) = self.open_lines.checked_sub(1) {
            self.open_lines = line;
            return self.said(line);
        }
        if self.room.model.lines() > 1 {
            self.room.model.join(&self.room.rules);
            self.room.bound.clear();
        } else if self.random.below(100) < 13 {
            // Two or three servers that speak at once; what comes next goes on from all of them.
            let lines = if self.random.below(5) == 0 { 3 } else { 2 };
            self.room.fork(lines);
            self.open_lines = self.room.model.lines().saturating_sub(1);
            return self.said(self.open_lines);
        }
        let class = self.random.weighted(&MIX.map(|(_, weight)| weight));
        match class.and_then(|place| MIX.get(place)).map(|(class, _)| *class) {
            Some(Class::Member) => (Class::Member, self.member()),
            Some(Class::Reaction) => self.reaction(TRUNK),
            Some(Class::Redaction) => self.redaction(),
            Some(Class::State) => (Class::State, self.state()),
            _ => self.said(TRUNK),
        }
    }

    /// Milliseconds until the next event, beside those that every event takes.
    fn pause(&mut self) -> u64 {
        match self.random.below(100) {
            0..60 => 0,
            60..90 => self.random.below(300_000),
            90..99 => self.random.below(14_400_000),
            _ => self.random.below(86_400_000),
        }
    }

    /// A message on a line, as the room has them.
    fn said(&mut self, line: usize) -> (Class, Generated) {
        let sender = self.speaker(line);
        let (class, event_type, words, content) = if self.encrypted {
            let (words, content) = self.encrypted_content(sender);
            (Class::Encrypted, "m.room.encrypted", words, content)
        } else {
            let (words, content) = self.message_content(sender);
            (Class::Message, "m.room.message", words, content)
        };
        let event = self.room.event(line, event_type, sender, None, content);
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push(Said { event_id: event.event_id.clone(), sender, words });
        (class, event)
    }

    fn reaction(&mut self, line: usize) -> (Class, Generated) {
        let sender = self.speaker(line);
        let Some(content) = self.reaction_content() else { return self.said(line) };
        (Class::Reaction, self.room.event(line, "m.reaction", sender, None, content))
    }

    fn redaction(&mut self) -> (Class, Generated) {
        let place = self.random.place(self.recent.len());
        if self.recent.is_empty() {
            return self.said(TRUNK);
        }
        let said = self.recent.remove(place);
        let is_own = self.random.below(10) < 7 && self.is_joined(said.sender);
        let sender = if is_own { said.sender } else { self.room.creator() };
        let content = self.redaction_content(&said.event_id);
        (Class::Redaction, self.room.event(TRUNK, "m.room.redaction", sender, None, content))
    }

    fn member(&mut self) -> Generated {
        let joined = self.room.draw_user(TRUNK, true);
        let gone = self.room.draw_user(TRUNK, false).filter(|user| !self.banned.contains(user));
        // Nobody removes those who stand as high.
        let sort = match self.random.below(100) {
            46..51 if joined.is_some_and(|user| self.room.levels.contains_key(&user)) => 0,
            sort => sort,
        };
        match (sort, joined, gone) {
            (0..27, Some(user), _) => {
                *self.profiles.entry(user).or_default() += 1;
                self.membership(user, user, "join")
            }
            (27..46, Some(user), _) => self.membership(user, user, "leave"),
            (46..49, Some(user), _) => self.membership(self.room.creator(), user, "leave"),
            (49..51, Some(user), _) => {
                self.banned.insert(user);
                self.membership(self.room.creator(), user, "ban")
            }
            (51..60, Some(sender), _) => {
                let user = self.room.new_user();
                self.membership(sender, user, "invite")
            }
            (60..72, _, Some(user)) => self.membership(user, user, "join"),
            _ => {
                let user = self.room.new_user();
                self.membership(user, user, "join")
            }
        }
    }

    fn membership(&mut self, sender: User, user: User, membership: &'static str) -> Generated {
        let content = self.member_content(sender, user, membership);
        if membership == "join" && self.random.below(1_000) < COSIGNED {
            self.room.signing.cosigner = Some(self.room.server(self.room.creator()));
        }
        self.room.event(TRUNK, types::MEMBER, sender, Some(Key::Member(user)), content)
    }

    fn state(&mut self) -> Generated {
        let (event_type, content) = self.state_content();
        self.state_of(event_type, content)
    }

    fn state_of(&mut self, event_type: &'static str, content: Object) -> Generated {
        self.room.event(TRUNK, event_type, self.room.creator(), Some(Key::Room(event_type)), content)
    }

    fn speaker(&mut self, line: usize) -> User {
        self.room.draw_user(line, true).unwrap_or(self.room.creator())
    }

    fn is_joined(&self, user: User) -> bool {
        self.room.model.get(TRUNK, Key::Member(user)).is_some_and(|event| event.joined)
    }
}
