//! What people and their clients write.

use super::{
    super::{
        content::of,
        language::{Language, length},
        pdu::object,
        random::Random,
    },
    Lived, Said, User,
};
use crate::encoding::json::{Json, Object};

/// What people react with, the commonest first.
const REACTIONS: [&str; 16] =
    ["👍️", "❤️", "😂", "👍", "🎉", "👀", "🚀", "😄", "🙏", "✅", "👎️", "💯", "🤔", "🔥", "🙂", "+1"];
const REACTION_WEIGHTS: [u32; 16] = [40, 16, 13, 10, 7, 6, 4, 4, 4, 3, 2, 2, 2, 2, 1, 1];
const REASONS: [&str; 5] = ["spam", "off topic", "wrong room", "duplicate", "please read the rules of this room"];

/// The content that makes a room encrypted.
pub(super) fn encryption() -> Object {
    of("algorithm", "m.megolm.v1.aes-sha2")
}

fn text(text: &str) -> Json {
    text.into()
}

impl Lived {
    /// The content of a message, and the number of words in it.
    pub(super) fn message_content(&mut self, sender: User) -> (usize, Object) {
        let words = length(&mut self.random);
        let body = self.text(words);
        let mut content = object([("body", text(&body)), ("msgtype", text("m.text"))]);
        if self.random.below(5) > 1 {
            content.insert("m.mentions", Json::Object(Object::new()));
        }
        let other = self.random.choose(&self.recent).cloned();
        match (self.random.below(100), other) {
            (0..17, Some(other)) => self.reply(&mut content, &other, &body),
            (22..28, Some(_)) => {
                let own = self.recent.iter().rev().find(|said| said.sender == sender).cloned();
                if let Some(own) = own {
                    Self::edit(&mut content, &own, &body);
                }
            }
            (28..33, Some(other)) => {
                let root = self.recent.first().map_or(other.event_id.clone(), |said| said.event_id.clone());
                let relation = object([
                    ("event_id", text(&root)),
                    ("is_falling_back", Json::Bool(true)),
                    ("m.in_reply_to", Json::Object(of("event_id", &other.event_id))),
                    ("rel_type", text("m.thread")),
                ]);
                content.insert("m.relates_to", Json::Object(relation));
            }
            (33..41, _) => {
                content.insert("format", text("org.matrix.custom.html"));
                content.insert("formatted_body", Json::String(self.html(&body).into()));
            }
            (41..46, _) => content = self.image(sender),
            (46..49, _) => drop(content.insert("msgtype", text("m.notice"))),
            (49..51, _) => drop(content.insert("msgtype", text("m.emote"))),
            (51..54, _) => {
                let link = self.link();
                content.insert("body", Json::String(format!("{body} {link}").into()));
            }
            _ => {}
        }
        (words, content)
    }

    fn text(&mut self, words: usize) -> String {
        Language::shared().text(&self.subject, &mut self.random, words)
    }

    fn link(&mut self) -> String {
        let language = Language::shared();
        let [site, one, two] = [(); 3].map(|()| language.word(&mut self.random));
        let (site, number) = (site.replace('\'', ""), self.random.below(100_000));
        match self.random.below(3) {
            0 => format!("https://www.{site}.example.com/{one}/{two}-{number}"),
            1 => format!("https://code.example.org/{site}/{one}/issues/{number}"),
            _ => format!("https://video.example.net/watch?v={}", self.room.opaque()),
        }
    }

    fn reply(&mut self, content: &mut Object, other: &Said, body: &str) {
        let user = self.room.user_id(other.sender);
        content.insert("m.mentions", Json::Object(object([("user_ids", Json::Array(vec![text(&user)]))])));
        let reply = Json::Object(of("event_id", &other.event_id));
        content.insert("m.relates_to", Json::Object(object([("m.in_reply_to", reply)])));
        // Older clients repeat what they answer.
        if self.random.below(12) == 0 {
            let quoted = self.text(other.words);
            let room_id = self.room.id();
            let fallback = format!(
                "<mx-reply><blockquote><a href=\"https://matrix.to/#/{room_id}/{}\">In reply to</a> <a \
                 href=\"https://matrix.to/#/{user}\">{user}</a><br>{quoted}</blockquote></mx-reply>{body}",
                other.event_id
            );
            content.insert("body", Json::String(format!("> <{user}> {quoted}\n\n{body}").into()));
            content.insert("format", text("org.matrix.custom.html"));
            content.insert("formatted_body", Json::String(fallback.into()));
        }
    }

    fn edit(content: &mut Object, own: &Said, body: &str) {
        let new = content.clone();
        content.insert("body", Json::String(format!("* {body}").into()));
        content.insert("m.new_content", Json::Object(new));
        let relation = object([("event_id", text(&own.event_id)), ("rel_type", text("m.replace"))]);
        content.insert("m.relates_to", Json::Object(relation));
    }

    fn html(&mut self, body: &str) -> String {
        let (start, end) = body.split_at_checked(body.find(' ').unwrap_or(0)).unwrap_or(("", body));
        match self.random.below(5) {
            0 => format!("<p>{start} <strong>{}</strong></p>\n", end.trim_start()),
            1 => format!("<p>{start} <code>{}</code></p>\n<ul>\n<li>{}</li>\n</ul>\n", self.text(2), end.trim_start()),
            2 => {
                let link = self.link();
                format!("{start} <a href=\"{link}\">{link}</a>{end}")
            }
            3 => format!("<em>{start}</em>{end}"),
            _ => format!("{start}{end}<br>{}", self.text(4)),
        }
    }

    fn image(&mut self, sender: User) -> Object {
        let (width, height) = (self.random.below(3_800) + 240, self.random.below(2_800) + 240);
        let (suffix, mimetype) = match self.random.below(10) {
            0..5 => ("jpg", "image/jpeg"),
            5..9 => ("png", "image/png"),
            _ => ("gif", "image/gif"),
        };
        let number = |number: u64| Json::Int(i64::try_from(number).unwrap_or(0));
        let name = match self.random.below(3) {
            0 => format!("image.{suffix}"),
            1 => format!("IMG_2026{:04}_{:06}.{suffix}", self.random.below(1_231), self.random.below(235_959)),
            _ => format!("Screenshot from 2026-0{}-{}.{suffix}", self.random.below(9) + 1, self.random.below(31)),
        };
        let mut info = object([
            ("h", number(height)),
            ("mimetype", text(mimetype)),
            ("size", number(self.random.below(900_000) + 20_000)),
            ("w", number(width)),
        ]);
        if self.random.below(2) == 0 {
            let blurhash: String =
                (0..24).map(|_| self.random.choose(BLURHASH).map_or('0', |byte| char::from(*byte))).collect();
            info.insert("xyz.amorgan.blurhash", Json::String(blurhash.into()));
        }
        if self.random.below(3) == 0 {
            let thumbnail = object([
                ("h", number(height / 4)),
                ("mimetype", text("image/jpeg")),
                ("size", number(self.random.below(40_000) + 2_000)),
                ("w", number(width / 4)),
            ]);
            info.insert("thumbnail_info", Json::Object(thumbnail));
            info.insert("thumbnail_url", Json::String(self.media(sender).into()));
        }
        object([
            ("body", text(&name)),
            ("filename", text(&name)),
            ("info", Json::Object(info)),
            ("m.mentions", Json::Object(Object::new())),
            ("msgtype", text("m.image")),
            ("url", Json::String(self.media(sender).into())),
        ])
    }

    fn media(&mut self, user: User) -> String {
        media(&self.room.server(user), &mut self.random)
    }

    /// The content of a reaction, if there is something to react to.
    pub(super) fn reaction_content(&mut self) -> Option<Object> {
        let said = self.random.choose(&self.recent)?;
        let key = self.random.weighted(&REACTION_WEIGHTS).and_then(|place| REACTIONS.get(place)).copied();
        let relation = object([
            ("event_id", text(&said.event_id)),
            ("key", text(key.unwrap_or_default())),
            ("rel_type", text("m.annotation")),
        ]);
        Some(object([("m.relates_to", Json::Object(relation))]))
    }

    /// The content of a redaction.
    pub(super) fn redaction_content(&mut self, event_id: &str) -> Object {
        let mut content = of("redacts", event_id);
        self.give_reason(&mut content, 3);
        content
    }

    /// Gives a reason in one of `of` cases.
    fn give_reason(&mut self, content: &mut Object, of: u64) {
        if self.random.below(of) > 0 {
            return;
        }
        let reason = match self.random.below(3) {
            0 => self.text(4),
            _ => self.random.choose(&REASONS).copied().unwrap_or_default().to_owned(),
        };
        content.insert("reason", Json::String(reason.into()));
    }

    /// The content of a membership.
    pub(super) fn member_content(&mut self, sender: User, user: User, membership: &str) -> Object {
        let mut content = of("membership", membership);
        match membership {
            "join" | "invite" => self.put_profile(&mut content, user),
            // Some servers leave the profile in.
            "leave" if sender == user && self.random.below(4) == 0 => self.put_profile(&mut content, user),
            _ => {}
        }
        match membership {
            "invite" if self.random.below(3) == 0 => drop(content.insert("is_direct", Json::Bool(false))),
            "leave" | "ban" if sender != user => self.give_reason(&mut content, 1),
            "leave" => self.give_reason(&mut content, 20),
            _ => {}
        }
        content
    }

    /// Name and picture: the same in every room, until they are changed there.
    fn put_profile(&mut self, content: &mut Object, user: User) {
        let changes = self.profiles.get(&user).copied().unwrap_or(0);
        let picture = Random::new(u64::from(user.0) << 8 | (changes / 2)).number();
        let random = &mut Random::new(u64::from(user.0) << 16 | changes.div_ceil(2));
        let language = Language::shared();
        let name = match random.below(3) {
            0 => language.name(random),
            1 => format!("{} {}", language.name(random), language.name(random)),
            _ => format!("{}{}", language.word(random), random.below(1_000)),
        };
        content.insert("displayname", Json::String(name.into()));
        if picture & 1 == 1 {
            let avatar = media(&self.room.server(user), &mut Random::new(picture));
            content.insert("avatar_url", Json::String(avatar.into()));
        }
    }

    /// The type and content of a state event that is no membership.
    pub(super) fn state_content(&mut self) -> (&'static str, Object) {
        let creator = self.room.creator();
        match self.random.below(100) {
            0..35 => {
                let words = length(&mut self.random).saturating_add(3);
                ("m.room.topic", object([("topic", Json::String(self.text(words).into()))]))
            }
            35..47 => ("m.room.name", object([("name", Json::String(self.text(3).into()))])),
            47..57 => ("m.room.avatar", object([("url", Json::String(self.media(creator).into()))])),
            57..75 => {
                let count = self.random.place(6).saturating_add(1);
                let pinned = self.recent.iter().rev().take(count).map(|said| text(&said.event_id)).collect();
                ("m.room.pinned_events", object([("pinned", Json::Array(pinned))]))
            }
            75..87 => {
                if let Some(user) = self.room.draw_user(super::TRUNK, true) {
                    let level = if self.random.below(3) == 0 { 100 } else { 50 };
                    self.room.levels.entry(user).or_insert(level);
                }
                ("m.room.power_levels", self.room.power_levels_content())
            }
            87..93 => {
                let denied = self.random.below(12);
                let deny = (0..denied).map(|_| Json::String(format!("*.{}.example", self.room.opaque()).into()));
                let content = object([
                    ("allow", Json::Array(vec![text("*")])),
                    ("allow_ip_literals", Json::Bool(false)),
                    ("deny", Json::Array(deny.collect())),
                ]);
                ("m.room.server_acl", content)
            }
            _ => {
                let alias = format!("#{}:{}", Language::shared().word(&mut self.random), self.room.server(creator));
                let alias = object([("alias", text(&alias)), ("alt_aliases", Json::Array(Vec::new()))]);
                ("m.room.canonical_alias", alias)
            }
        }
    }
}

const BLURHASH: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/// A file on a server: 24 letters that nothing follows from.
fn media(server: &str, random: &mut Random) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let opaque: String = (0..24).map(|_| random.choose(LETTERS).map_or('A', |letter| char::from(*letter))).collect();
    format!("mxc://{server}/{opaque}")
}
