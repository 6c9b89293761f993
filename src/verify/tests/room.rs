//! A room that has rows in every table: forks, refused events, gaps, history, redacted and parked events, a great state.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma_common::{OwnedEventId, RoomVersionId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};

use super::support::server;
use crate::{
    Input, RoomServer, Ticket,
    encoding::{
        json::Json,
        pdu::{CanonicalEvent, Pdu},
    },
    kv::memory::MemoryStore,
    room::purge::Purging,
};

pub(crate) const ROOM: &str = "!wide:a.example";
/// The second room, number 2.
const PURGED: &str = "!purged:a.example";
pub(crate) const ALICE: &str = "@alice:a.example";
pub(crate) const BOB: &str = "@bob:b.example";

/// State events more than a log row has room for.
const WIDE: usize = 600;

/// Writes events of the room.
pub(crate) struct Author {
    room: &'static str,
    rules: RoomVersionRules,
    depth: i64,
}

#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) event_id: String,
    pub(crate) pdu: Vec<u8>,
}

impl Author {
    /// An author of a room of version 10.
    pub(crate) fn new(room: &'static str) -> Self {
        Self::in_version(room, &RoomVersionId::V10)
    }

    pub(crate) fn in_version(room: &'static str, version: &RoomVersionId) -> Self {
        let rules = version.rules().expect("a known version");
        Self { room, rules, depth: 0 }
    }

    pub(crate) fn write(
        &mut self,
        sender: &str,
        what: (&str, Option<&str>, Value),
        prev: &[&Written],
        auth: &[&Written],
    ) -> Written {
        self.depth += 1;
        let (event_type, state_key, content) = what;
        let ids = |events: &[&Written]| events.iter().map(|event| event.event_id.clone()).collect::<Vec<_>>();
        let server = sender.split_once(':').expect("a user ID").1;
        let mut event = json!({
            "type": event_type, "sender": sender, "room_id": self.room, "content": content, "depth": self.depth,
            "origin_server_ts": 1_700_000_000_000i64 + self.depth, "prev_events": ids(prev), "auth_events": ids(auth),
            "signatures": {server: {"ed25519:a": STANDARD_NO_PAD.encode([7; 64])}}, "hashes": {"sha256": ""},
        });
        if let Some(state_key) = state_key {
            event["state_key"] = state_key.into();
        }
        let hash = {
            let json = Json::parse(event.to_string().as_bytes()).expect("JSON");
            CanonicalEvent::new(json.as_object().expect("an object")).content_hash()
        };
        event["hashes"]["sha256"] = STANDARD_NO_PAD.encode(hash).into();
        self.finish(event)
    }

    /// The beginning of a room: its create event, alice's join, power levels, public join rules, bob's join.
    pub(crate) fn base(&mut self) -> [Written; 5] {
        let create = json!({"creator": ALICE, "room_version": "10"});
        let create = self.write(ALICE, ("m.room.create", Some(""), create), &[], &[]);
        let alice = self.write(ALICE, member(ALICE, "join"), &[&create], &[&create]);
        let levels = json!({"users": {ALICE: 100}, "state_default": 50});
        let levels = self.write(ALICE, ("m.room.power_levels", Some(""), levels), &[&alice], &[&create, &alice]);
        let public = ("m.room.join_rules", Some(""), json!({"join_rule": "public"}));
        let public = self.write(ALICE, public, &[&levels], &[&create, &levels, &alice]);
        let bob = self.write(BOB, member(BOB, "join"), &[&public], &[&create, &levels, &public]);
        [create, alice, levels, public, bob]
    }

    fn finish(&self, event: Value) -> Written {
        let pdu = event.to_string().into_bytes();
        let parsed = Pdu::parse(Json::parse(&pdu).expect("JSON"), &self.rules).expect("a PDU");
        Written { event_id: parsed.event_id().to_owned(), pdu }
    }

    /// The same event as one that somebody changed after it was hashed.
    pub(crate) fn forged(&self, event: &Written) -> Written {
        let mut event: Value = serde_json::from_slice(&event.pdu).expect("JSON");
        event["content"]["extra"] = "forged".into();
        self.finish(event)
    }
}

pub(crate) fn message(text: &str) -> (&'static str, Option<&'static str>, Value) {
    ("m.room.message", None, json!({"body": text, "msgtype": "m.text"}))
}

pub(crate) fn member(user: &'static str, membership: &str) -> (&'static str, Option<&'static str>, Value) {
    ("m.room.member", Some(user), json!({"membership": membership}))
}

pub(crate) fn live(event: &Written) -> Input {
    let mut input = Input::new(event.pdu.clone());
    input.event_id = Some(event.event_id.clone());
    input.room_version = Some(RoomVersionId::V10);
    input
}

pub(crate) fn with_state<'a>(event: &Written, state: impl IntoIterator<Item = &'a Written>) -> Input {
    let ids = state.into_iter().map(|event| OwnedEventId::try_from(event.event_id.as_str()).expect("an event ID"));
    let mut input = live(event);
    input.state = Some(ids.collect());
    input
}

/// What happens in the room.
pub(crate) fn story() -> Vec<Input> {
    story_of(WIDE)
}

/// The same with a small state.
pub(crate) fn small_story() -> Vec<Input> {
    story_of(4)
}

fn story_of(width: usize) -> Vec<Input> {
    let mut author = Author::new(ROOM);
    let base = author.base();
    let [create, alice, levels, public, bob] = &base;
    let by_alice = [create, levels, alice];
    let by_bob = [create, levels, bob];
    let mut inputs: Vec<Input> = base.each_ref().map(live).into();

    // A fork: bob is banned, and speaks where he does not know it. Redelivered, nothing changes.
    let ban = author.write(ALICE, member(BOB, "ban"), &[bob], &[create, levels, alice, bob]);
    let speaks = author.write(BOB, message("still here"), &[bob], &by_bob);
    let topic = |text: &str| ("m.room.topic", Some(""), json!({"topic": text}));
    let renamed = author.write(ALICE, topic("a"), &[bob], &by_alice);
    let joined = author.write(ALICE, message("joined"), &[&ban, &speaks, &renamed], &by_alice);
    inputs.extend([&ban, &speaks, &renamed, &joined, &renamed].map(live));

    // Refused by its auth events; and redacted, since its content is not what was hashed.
    let stranger = author.write("@eve:c.example", message("hello"), &[&joined], &[create, levels]);
    let retitled = author.write(ALICE, topic("b"), &[&joined], &by_alice);
    inputs.extend([live(&stranger), live(&author.forged(&retitled))]);

    // A great state that another server tells, with events that are outliers here; one of them gets its place later.
    let named = |n: usize| format!("key {n}");
    let mut wide = Vec::new();
    for n in 0..width {
        let name = named(n);
        let event = ("org.example.wide", Some(name.as_str()), json!({"n": n}));
        wide.push(author.write(ALICE, event, &[&retitled], &by_alice));
    }
    inputs.extend(wide.iter().map(|event| Input { room_version: None, ..Input::outlier(event.pdu.clone()) }));
    let lost = author.write(ALICE, message("lost"), &[&retitled], &by_alice);
    let after_gap = author.write(ALICE, message("after the gap"), &[&lost], &by_alice);
    let base = [create, alice, levels, public];
    inputs.push(with_state(&after_gap, base.into_iter().chain(&wide)));
    inputs.extend(wide.first().map(live));
    let gone = json!({"n": "gone"});
    let again = author.write(ALICE, ("org.example.wide", Some("key 1"), gone), &[&after_gap], &by_alice);
    inputs.push(live(&again));
    inputs.push(with_state(&lost, base.into_iter().chain(wide.iter().skip(2))));

    // History, once where a state can be had and once where it cannot.
    let early = author.write(ALICE, message("early"), &[public], &by_alice);
    let unknown = author.write(ALICE, message("unknown"), &[public], &by_alice);
    let earlier = author.write(ALICE, message("earlier"), &[&unknown, &early], &by_alice);
    inputs.extend([&early, &earlier].map(|event| Input::old(event.pdu.clone())));

    // Parked: for a prev event, and for an auth event that an outlier of it would not be enough for.
    let waits = author.write(ALICE, message("waits"), &[&unknown, &joined], &by_alice);
    let other = author.write(BOB, member(BOB, "leave"), &[bob], &[create, levels, bob]);
    let follows = author.write(BOB, member(BOB, "join"), &[&waits, &other], &[create, levels, &other]);
    inputs.extend([&waits, &follows].map(live));
    // And for an event of the state that was told with it.
    let untold = author.write(ALICE, topic("untold"), &[&joined], &by_alice);
    let after_untold = author.write(ALICE, message("after untold"), &[&unknown], &by_alice);
    inputs.push(with_state(&after_untold, base.into_iter().chain([&untold])));
    inputs
}

/// The room, with all that happens in it, and what a purge that was cut off left of another one.
pub(crate) fn told() -> (RoomServer, Arc<MemoryStore>) {
    let (server, store) = server();
    for input in story().into_iter().chain(short_story()) {
        server.submit(input).and_then(Ticket::wait).expect("every input is taken");
    }
    server.settle().expect("settles");
    let mut purging = Purging::new(server.inputs.hide(PURGED).expect("the room is here"));
    // Its events are out of the index and its member out of the users' rooms; all else is still there.
    for _ in 0..2 {
        assert!(server.engine.purge_step(&mut purging).expect("writable"));
    }
    (server, store)
}

/// What happens in the second room.
pub(crate) fn short_story() -> Vec<Input> {
    let mut author = Author::new(PURGED);
    let create = json!({"creator": ALICE, "room_version": "10"});
    let create = author.write(ALICE, ("m.room.create", Some(""), create), &[], &[]);
    let alice = author.write(ALICE, member(ALICE, "join"), &[&create], &[&create]);
    [&create, &alice].map(live).into()
}
