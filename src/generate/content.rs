//! What events say.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Room, User, pdu::object, random::Random};
use crate::encoding::json::{Json, Object};

const NAMES: [&str; 24] = [
    "ada", "bela", "chidi", "dora", "emil", "fatima", "goran", "hana", "igor", "jun", "kofi", "lena", "mira", "nils",
    "olga", "pablo", "quentin", "rosa", "sven", "tala", "umar", "vera", "wanda", "yusuf",
];

const WORDS: [&str; 40] = [
    "a",
    "about",
    "after",
    "again",
    "and",
    "anyone",
    "build",
    "but",
    "can",
    "client",
    "does",
    "event",
    "fails",
    "federation",
    "fine",
    "for",
    "here",
    "homeserver",
    "i",
    "in",
    "is",
    "it",
    "just",
    "key",
    "no",
    "not",
    "of",
    "room",
    "same",
    "see",
    "server",
    "since",
    "state",
    "thanks",
    "the",
    "think",
    "this",
    "upgrade",
    "works",
    "yesterday",
];

/// A content of one string.
pub(super) fn of(key: &str, value: &str) -> Object {
    object([(key, value.into())])
}

/// The content of a member event that tells nothing but the membership.
pub(super) fn membership(membership: &str) -> Object {
    of("membership", membership)
}

impl Room {
    /// A user's ID.
    pub fn user_id(&self, user: User) -> String {
        format!("@{}{}:{}", name(user), user.0, self.server(user))
    }

    pub(super) fn server(&self, user: User) -> String {
        format!("server{}.example.org", user.0.checked_rem(self.spec.servers).unwrap_or(0))
    }

    /// The ID of the key with which a user's server signs.
    pub(super) fn key_id(&self, user: User) -> String {
        if !self.signing.keys_differ {
            return "ed25519:a_1".to_owned();
        }
        let random = &mut Random::new(u64::from(user.0.checked_rem(self.spec.servers).unwrap_or(0)));
        let letters = (0..4).filter_map(|_| random.choose(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"));
        format!("ed25519:a_{}", letters.map(|letter| char::from(*letter)).collect::<String>())
    }

    /// 18 characters that nothing follows from.
    pub(super) fn opaque(&mut self) -> String {
        let mut opaque = URL_SAFE_NO_PAD.encode(self.random.bytes::<16>());
        opaque.truncate(18);
        opaque
    }

    pub(super) fn create_content(&self, creator: User) -> Object {
        let mut content = of("room_version", self.spec.version.as_str());
        if !self.rules.authorization.use_room_create_sender {
            content.insert("creator", Json::String(self.user_id(creator).into()));
        }
        content
    }

    pub(super) fn power_levels_content(&self) -> Object {
        let level = |(event_type, level): (&str, i64)| (event_type.into(), Json::Int(level));
        let users = self.levels.iter().map(|(user, level)| (self.user_id(*user).into(), Json::Int(*level)));
        let events = [
            ("m.room.avatar", 50),
            ("m.room.canonical_alias", 50),
            ("m.room.encryption", 100),
            ("m.room.history_visibility", 100),
            ("m.room.name", 50),
            ("m.room.power_levels", 100),
            ("m.room.server_acl", 100),
            ("m.room.tombstone", 100),
        ];
        let levels =
            [("ban", 50), ("events_default", 0), ("invite", 0), ("kick", 50), ("redact", 50), ("state_default", 50)];
        let mut content: Object = levels.into_iter().map(level).collect();
        content.insert("events", Json::Object(events.into_iter().map(level).collect()));
        content.insert("users", Json::Object(users.collect()));
        content.insert("users_default", Json::Int(0));
        content
    }

    pub(super) fn join_content(user: User) -> Object {
        object([("displayname", name(user).into()), ("membership", "join".into())])
    }

    pub(super) fn profile_content(&mut self, user: User) -> Object {
        let displayname = format!("{} ({})", name(user), self.words(2));
        let avatar = format!("mxc://{}/{}", self.server(user), self.opaque());
        object([
            ("avatar_url", Json::String(avatar.into())),
            ("displayname", Json::String(displayname.into())),
            ("membership", "join".into()),
        ])
    }

    pub(super) fn topic_content(&mut self) -> Object {
        of("topic", &self.words(12))
    }

    /// A text of 2 to 40 words, one in eight in reply to what stands before it.
    pub(super) fn message_content(&mut self, line: usize) -> Object {
        let words = self.random.place(39).saturating_add(2);
        let mut content = object([("body", Json::String(self.words(words).into())), ("msgtype", "m.text".into())]);
        if self.random.below(8) == 0
            && let [before, ..] = self.model.tips(line)
        {
            let reply = object([("event_id", (&*before.event_id).into())]);
            content.insert("m.relates_to", Json::Object(object([("m.in_reply_to", Json::Object(reply))])));
        }
        content
    }

    fn words(&mut self, count: usize) -> String {
        let words: Vec<&str> = (0..count).filter_map(|_| self.random.choose(&WORDS).copied()).collect();
        words.join(" ")
    }
}

fn name(user: User) -> &'static str {
    let place = usize::try_from(user.0).unwrap_or(0) % NAMES.len();
    NAMES.get(place).copied().unwrap_or("ada")
}
