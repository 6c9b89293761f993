//! Rooms that are made up: valid events with content hashes, IDs, auth events and forks, for benchmarks and tests.
//!
//! A [`Room`] is a sequence of events that follows from its [`Spec`] alone, so that two runs, and two builds, measure
//! the same work. Every event is allowed where it stands. Chosen events can be put among the drawn ones:
//!
//! ```
//! use roomserver::generate::{Room, Spec, TRUNK};
//!
//! let mut room = Room::new(Spec { members: 10, ..Spec::default() })?;
//! let start = room.starting_state();
//! let hello = room.message(TRUNK, room.creator());
//! assert!(hello.event_id.starts_with('$'));
//!
//! // Two servers that do not see each other's events for a while, and one that sees both.
//! room.fork(2);
//! let left = room.topic(0);
//! let right = room.topic(1);
//! let merge = room.merge(room.creator());
//! # assert!(start.len() > 10 && left != right && merge != left);
//! # Ok::<(), roomserver::Error>(())
//! ```

mod content;
pub mod corpus;
pub mod direct;
mod language;
mod model;
mod pdu;
pub mod random;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};

pub use self::pdu::Generated;
use self::{
    model::{Key, Model},
    pdu::{Draft, finish},
    random::{Random, Zipf},
};
use crate::{
    encoding::json::{Json, Object},
    error::{Error, Result},
    resolution::{
        auth::auth_types_for_event,
        content::{Content, types},
    },
};

/// The line of a room that has no fork.
pub const TRUNK: usize = 0;

/// The most lines that one event can merge.
const LINES_MAX: u32 = 20;
/// Users that are drawn before it is given up to find one in the right position.
const DRAWS: usize = 64;

/// What a room is like.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The room version.
    pub version: RoomVersionId,
    /// What all that is drawn follows from.
    pub seed: u64,
    /// Servers that the users are spread over.
    pub servers: u32,
    /// Users who join before anything else happens, the creator among them.
    pub members: u32,
    /// The number of the room's first user: two rooms have users in common where their numbers meet.
    pub first_user: u32,
    /// State events among 1,000 events.
    pub state_per_mille: u32,
    /// What the state events are.
    pub churn: Churn,
    /// Forks, if there are any.
    pub forks: Option<Forks>,
}

impl Default for Spec {
    /// A room of version 10 with 100 members of 8 servers, one state event in 20, and no forks.
    fn default() -> Self {
        Self {
            version: RoomVersionId::V10,
            seed: 1,
            servers: 8,
            members: 100,
            first_user: 0,
            state_per_mille: 50,
            churn: Churn::default(),
            forks: None,
        }
    }
}

/// How much there is of each sort of state event, by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Churn {
    /// A member changes name or picture.
    pub profile: u32,
    /// A member leaves.
    pub leave: u32,
    /// One who has left comes back.
    pub rejoin: u32,
    /// Somebody new joins.
    pub newcomer: u32,
    /// The topic changes.
    pub topic: u32,
}

impl Default for Churn {
    fn default() -> Self {
        Self { profile: 55, leave: 15, rejoin: 10, newcomer: 15, topic: 5 }
    }
}

/// Parts of the room in which servers do not see each other's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forks {
    /// Events between the merge of a fork and the next fork.
    pub every: u32,
    /// Events of each line.
    pub length: u32,
    /// The most lines; each fork has at least two.
    pub lines: u32,
}

/// A user of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User(u32);

/// A room that grows.
///
/// Acts name the line on which they happen: [`TRUNK`], or one of those that [`Room::fork`] makes, from 0 on. A line
/// that is not there counts as the last. What is asked for is made, whether the room allows it or not.
#[derive(Debug, Clone)]
pub struct Room {
    spec: Spec,
    rules: RoomVersionRules,
    random: Random,
    model: Model,
    room_id: String,
    /// The create event, until it is given away.
    create: Option<Generated>,
    /// Events of the starting state that were given away.
    started: u32,
    users: u32,
    /// How active each user is.
    activity: Zipf,
    levels: BTreeMap<User, i64>,
    time: i64,
    /// Events since the last merge.
    quiet: u32,
    /// Events that each line still gets.
    left: Vec<u32>,
    /// Users who acted on a line of the fork: if they acted on two, one could leave while the other speaks.
    bound: BTreeMap<User, usize>,
    signing: Signing,
}

/// Who signs events.
#[derive(Debug, Clone, Default)]
struct Signing {
    /// Whether every server has a key of its own name.
    keys_differ: bool,
    /// A server that also signs the next event.
    cosigner: Option<String>,
}

impl Room {
    /// A room in which nothing has happened.
    ///
    /// # Errors
    ///
    /// `Invalid` if the rules of the room version are not known.
    pub fn new(spec: Spec) -> Result<Self> {
        let rules = spec.version.rules();
        let rules = rules.ok_or_else(|| Error::invalid(format!("room version {} is not known", spec.version)))?;
        let mut room = Self {
            rules,
            random: Random::new(spec.seed),
            model: Model::new(),
            room_id: String::new(),
            create: None,
            started: 0,
            users: 0,
            activity: Zipf::default(),
            levels: BTreeMap::new(),
            time: 1_700_000_000_000,
            quiet: 0,
            left: Vec::new(),
            bound: BTreeMap::new(),
            signing: Signing::default(),
            spec,
        };
        let creator = room.new_user();
        let by_hash = room.rules.authorization.room_create_event_id_as_room_id;
        if !by_hash {
            let localpart = room.opaque();
            room.room_id = format!("!{localpart}:{}", room.server(creator));
        }
        let content = room.create_content(creator);
        let create = room.state_event(TRUNK, types::CREATE, creator, content);
        if by_hash {
            room.room_id = create.event_id.replacen('$', "!", 1);
        }
        room.create = Some(create);
        Ok(room)
    }

    /// The room's ID.
    pub fn id(&self) -> &str {
        &self.room_id
    }

    /// The room's version.
    pub fn version(&self) -> &RoomVersionId {
        &self.spec.version
    }

    /// The user who made the room: of power level 100, and never leaving by chance.
    pub fn creator(&self) -> User {
        User(self.spec.first_user)
    }

    /// One of those who joined at first, the creator being number 0.
    pub fn member(&self, number: u32) -> User {
        User(self.spec.first_user.saturating_add(number))
    }

    /// A user who was not in the room before.
    pub fn new_user(&mut self) -> User {
        let user = self.member(self.users);
        self.users = self.users.saturating_add(1);
        self.activity.push();
        user
    }

    /// What is left of the events that the room begins with, up to the last of those who join at first.
    pub fn starting_state(&mut self) -> Vec<Generated> {
        std::iter::from_fn(|| self.next_start()).collect()
    }

    /// The next event: of the starting state, and then what the spec makes likely.
    pub fn next_event(&mut self) -> Generated {
        if let Some(start) = self.next_start() {
            return start;
        }
        let Some(line) = self.next_line() else {
            let sender = self.draw_user(TRUNK, true).unwrap_or(self.creator());
            return self.merge(sender);
        };
        if self.random.below(1000) < u64::from(self.spec.state_per_mille) {
            return self.churn(line);
        }
        let sender = self.draw_user(line, true).unwrap_or(self.creator());
        self.message(line, sender)
    }

    /// The state over all lines, as type, state key and event ID. Resolution agrees for what [`Room::next_event`] makes,
    /// and where lines differ in neither powers nor bans.
    pub fn state(&self) -> Vec<(String, String, String)> {
        let entry = |(key, event): (Key, model::StateEvent)| {
            let (event_type, state_key) = match key {
                Key::Room(event_type) => (event_type, String::new()),
                Key::Member(user) => (types::MEMBER, self.user_id(user)),
            };
            (event_type.to_owned(), state_key, event.made.event_id.into())
        };
        self.model.merged(&self.rules).into_iter().map(entry).collect()
    }

    /// Parts the room into lines of events that do not see each other, if it has one line.
    pub fn fork(&mut self, lines: u32) {
        self.model.fork(usize::try_from(lines.min(LINES_MAX)).unwrap_or(1));
    }

    /// A message that names the ends of all lines.
    pub fn merge(&mut self, sender: User) -> Generated {
        self.model.join(&self.rules);
        self.quiet = 0;
        self.left.clear();
        self.bound.clear();
        self.message(TRUNK, sender)
    }

    /// A text message.
    pub fn message(&mut self, line: usize, sender: User) -> Generated {
        let content = self.message_content(line);
        self.event(line, "m.room.message", sender, None, content)
    }

    /// A user joins, or changes nothing.
    pub fn join(&mut self, line: usize, user: User) -> Generated {
        let content = Self::join_content(user);
        self.member_event(line, user, user, content)
    }

    /// A member changes name and picture.
    pub fn profile(&mut self, line: usize, user: User) -> Generated {
        let content = self.profile_content(user);
        self.member_event(line, user, user, content)
    }

    /// A member leaves.
    pub fn leave(&mut self, line: usize, user: User) -> Generated {
        self.member_event(line, user, user, content::membership("leave"))
    }

    /// The creator bans a user.
    pub fn ban(&mut self, line: usize, user: User) -> Generated {
        self.member_event(line, self.creator(), user, content::membership("ban"))
    }

    /// The creator changes the topic.
    pub fn topic(&mut self, line: usize) -> Generated {
        let content = self.topic_content();
        self.state_event(line, "m.room.topic", self.creator(), content)
    }

    /// The creator gives a user a power level. The event repeats all levels given before, be it on another line.
    pub fn power_level(&mut self, line: usize, user: User, level: i64) -> Generated {
        self.levels.insert(user, level);
        let content = self.power_levels_content();
        self.state_event(line, types::POWER_LEVELS, self.creator(), content)
    }

    fn next_start(&mut self) -> Option<Generated> {
        if let Some(create) = self.create.take() {
            return Some(create);
        }
        let creator = self.creator();
        self.started = self.started.saturating_add(1);
        Some(match self.started {
            1 => self.join(TRUNK, creator),
            2 => {
                // From room version 12 on the creator stands above all levels, and must not have one.
                if !self.rules.authorization.explicitly_privilege_room_creators {
                    self.levels.insert(creator, 100);
                }
                let content = self.power_levels_content();
                self.state_event(TRUNK, types::POWER_LEVELS, creator, content)
            }
            3 => self.state_event(TRUNK, types::JOIN_RULES, creator, content::of("join_rule", "public")),
            4 => {
                let content = content::of("history_visibility", "shared");
                self.state_event(TRUNK, "m.room.history_visibility", creator, content)
            }
            5 => self.state_event(TRUNK, "m.room.name", creator, content::of("name", "A room")),
            _ if self.users < self.spec.members => {
                let user = self.new_user();
                self.join(TRUNK, user)
            }
            _ => return None,
        })
    }

    /// The line of the next event; `None` if it is to be a merge.
    fn next_line(&mut self) -> Option<usize> {
        let Some(forks) = self.spec.forks else { return Some(TRUNK) };
        if self.model.lines() == 1 {
            self.quiet = self.quiet.saturating_add(1);
            if self.quiet <= forks.every {
                return Some(TRUNK);
            }
            let more = u64::from(forks.lines.min(LINES_MAX).saturating_sub(1));
            let lines = u32::try_from(self.random.below(more)).unwrap_or(0).saturating_add(2);
            self.fork(lines);
            self.left = vec![forks.length.max(1); self.model.lines()];
        }
        let line = self.random.weighted(&self.left)?;
        if let Some(left) = self.left.get_mut(line) {
            *left = left.saturating_sub(1);
        }
        Some(line)
    }

    /// A state event that is likely in the room.
    fn churn(&mut self, line: usize) -> Generated {
        let Churn { profile, leave, rejoin, newcomer, topic } = self.spec.churn;
        let sort = self.random.weighted(&[topic, profile, leave, rejoin, newcomer]);
        let user = match sort {
            Some(1 | 2) => self.draw_user(line, true),
            Some(3) => self.draw_user(line, false),
            Some(4) => None,
            _ => return self.topic(line),
        };
        match (sort, user) {
            (Some(1), Some(user)) => self.profile(line, user),
            (Some(2), Some(user)) => self.leave(line, user),
            (_, Some(user)) => self.join(line, user),
            (_, None) => {
                let user = self.new_user();
                self.bind(user, line);
                self.join(line, user)
            }
        }
    }

    /// Draws a user who is in the room, or is not, and who can act on a line; the creator is not drawn.
    fn draw_user(&mut self, line: usize, joined: bool) -> Option<User> {
        for _ in 0..DRAWS {
            let number = self.activity.draw(&mut self.random);
            let user = self.member(u32::try_from(number).unwrap_or(0));
            let is_joined = self.model.get(line, Key::Member(user)).is_some_and(|event| event.joined);
            let is_free = self.bound.get(&user).is_none_or(|bound| *bound == line);
            if user != self.creator() && is_joined == joined && is_free {
                self.bind(user, line);
                return Some(user);
            }
        }
        None
    }

    /// Notes on which line of a fork a user acts.
    fn bind(&mut self, user: User, line: usize) {
        if self.model.lines() > 1 {
            self.bound.insert(user, line);
        }
    }

    fn state_event(&mut self, line: usize, event_type: &'static str, sender: User, content: Object) -> Generated {
        self.event(line, event_type, sender, Some(Key::Room(event_type)), content)
    }

    fn member_event(&mut self, line: usize, sender: User, user: User, content: Object) -> Generated {
        self.event(line, types::MEMBER, sender, Some(Key::Member(user)), content)
    }

    /// Makes an event at the end of a line.
    fn event(&mut self, line: usize, event_type: &str, sender: User, key: Option<Key>, content: Object) -> Generated {
        let sender_id = self.user_id(sender);
        let state_key = key.map(|key| match key {
            Key::Room(_) => String::new(),
            Key::Member(user) => self.user_id(user),
        });
        let joined = content.get_str("membership") == Some("join");
        let tips = self.model.tips(line);
        let depth = tips.iter().map(|tip| tip.depth).max().unwrap_or(0).saturating_add(1);
        let prev_events = tips.iter().map(|tip| tip.reference.clone()).collect();
        let auth_events = self.auth_events(line, event_type, (sender, &sender_id), key, state_key.as_deref(), &content);
        self.time = self.time.saturating_add(1).saturating_add_unsigned(self.random.below(20_000));
        let names_room = event_type != types::CREATE || self.rules.event_format.require_room_create_room_id;
        let (key_id, cosigner) = (self.key_id(sender), self.signing.cosigner.take());
        let draft = Draft {
            room_id: names_room.then_some(&self.room_id),
            event_type,
            state_key: state_key.as_deref(),
            sender: &sender_id,
            content,
            depth,
            origin_server_ts: self.time,
            prev_events,
            auth_events,
            key_id: &key_id,
            cosigner: cosigner.as_deref(),
        };
        let (made, generated) = finish(draft, &self.rules, &mut self.random);
        self.model.add(line, made, key.map(|key| (key, joined)));
        generated
    }

    /// The auth events that the specification selects from the state at the end of a line.
    fn auth_events(
        &self,
        line: usize,
        event_type: &str,
        (sender, sender_id): (User, &str),
        key: Option<Key>,
        state_key: Option<&str>,
        content: &Object,
    ) -> Vec<Json> {
        let parsed = Content::parse(&self.rules, event_type, content, None);
        let selected = auth_types_for_event(&self.rules, event_type, sender_id, state_key, &parsed);
        let event = |(event_type, state_key): (&'static str, &str)| {
            let key = match (event_type, key) {
                (types::MEMBER, _) if state_key == sender_id => Key::Member(sender),
                (types::MEMBER, Some(target)) => target,
                _ => Key::Room(event_type),
            };
            self.model.get(line, key).map(|event| event.made.reference.clone())
        };
        selected.into_iter().filter_map(event).collect()
    }
}

impl Iterator for Room {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        Some(self.next_event())
    }
}
