//! The three checks, one by one. The real rooms do not tell them apart: there, what one refuses another refuses too.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use roomserver::{ErrorKind, Input, Kind, Outcome, Result, RoomServer, kv::memory::MemoryStore};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{open, server};

pub const ADMIN: &str = "@admin:a.example";
pub const MODERATOR: &str = "@moderator:b.example";
const MALLORY: &str = "@mallory:c.example";

/// Canonical JSON, of what the tests use.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by_key(|member| member.0);
            let member =
                |(key, value): (&String, &Value)| format!("{}:{}", Value::from(key.as_str()), canonical(value));
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// A room of version 10 that is made by hand.
pub struct Scene {
    pub server: RoomServer,
    store: Arc<MemoryStore>,
    room_id: &'static str,
    clock: i64,
    pub last: Option<String>,
}

/// An event to make.
pub struct Make<'a> {
    pub sender: &'a str,
    pub event_type: &'a str,
    pub state_key: Option<&'a str>,
    pub content: Value,
    pub auth: Vec<&'a str>,
}

impl Scene {
    pub fn new(room_id: &'static str) -> Self {
        let (server, store) = server();
        Self { server, store, room_id, clock: 0, last: None }
    }

    /// Everything that was cached is forgotten.
    pub fn reopen(&mut self) {
        self.server.close().expect("closes");
        self.store = Arc::new(self.store.reopen());
        self.server = open(self.store.clone());
    }

    pub fn pdu(&mut self, make: &Make<'_>, prev: &[String]) -> Vec<u8> {
        self.clock += 1;
        let mut pdu = json!({
            "auth_events": make.auth, "content": make.content, "depth": self.clock, "origin_server_ts": self.clock,
            "prev_events": prev, "room_id": self.room_id, "sender": make.sender, "type": make.event_type,
        });
        if let Some(state_key) = make.state_key {
            pdu["state_key"] = state_key.into();
        }
        let hash = STANDARD_NO_PAD.encode(Sha256::digest(canonical(&pdu)));
        pdu["hashes"] = json!({ "sha256": hash });
        pdu["signatures"] = json!({});
        canonical(&pdu).into_bytes()
    }

    pub fn submit(&self, input: Input) -> Result<Outcome> {
        self.server.submit(input)?.wait()
    }

    /// Makes an event after the last accepted one.
    pub fn make(&mut self, make: &Make<'_>) -> Outcome {
        let prev: Vec<String> = self.last.iter().cloned().collect();
        let pdu = self.pdu(make, &prev);
        let outcome = self.submit(Input::new(pdu)).expect("well-formed");
        if let Outcome::Accepted(accepted) = &outcome {
            self.last = Some(accepted.event_id.to_string());
        }
        outcome
    }

    pub fn accepted(&mut self, make: &Make<'_>) -> String {
        match self.make(make) {
            Outcome::Accepted(accepted) => accepted.event_id.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

/// The events that every room begins with.
struct Start {
    create: String,
    levels: String,
    rules: String,
    admin: String,
}

fn levels() -> Value {
    json!({
        "users": { ADMIN: 100, MODERATOR: 50 }, "users_default": 0, "events": { "m.room.power_levels": 50 },
        "state_default": 50, "notifications": { "room": 60 },
    })
}

fn start(scene: &mut Scene) -> Start {
    let content = json!({ "creator": ADMIN, "room_version": "10" });
    let create = scene.accepted(&Make {
        sender: ADMIN,
        event_type: "m.room.create",
        state_key: Some(""),
        content,
        auth: vec![],
    });
    let admin = scene.accepted(&member(ADMIN, ADMIN, "join", vec![&create]));
    let levels = scene.accepted(&Make {
        sender: ADMIN,
        event_type: "m.room.power_levels",
        state_key: Some(""),
        content: levels(),
        auth: vec![&create, &admin],
    });
    let rules = scene.accepted(&Make {
        sender: ADMIN,
        event_type: "m.room.join_rules",
        state_key: Some(""),
        content: json!({ "join_rule": "public" }),
        auth: vec![&create, &levels, &admin],
    });
    Start { create, levels, rules, admin }
}

pub fn member<'a>(sender: &'a str, target: &'a str, membership: &str, auth: Vec<&'a str>) -> Make<'a> {
    let content = json!({ "membership": membership });
    Make { sender, event_type: "m.room.member", state_key: Some(target), content, auth }
}

pub fn message<'a>(sender: &'a str, auth: Vec<&'a str>) -> Make<'a> {
    Make { sender, event_type: "m.room.message", state_key: None, content: json!({ "body": "hi" }), auth }
}

fn rejection(outcome: Outcome) -> String {
    match outcome {
        Outcome::Rejected { reason, .. } => reason,
        other => panic!("not rejected: {other:?}"),
    }
}

#[test]
fn an_event_that_only_its_auth_events_refuse_is_rejected() {
    let mut scene = Scene::new("!a:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    // The join rules are no part of what a message is authorised by.
    let outcome = scene.make(&message(ADMIN, vec![&create, &levels, &admin, &rules]));
    assert!(rejection(outcome).contains("selection"), "by its auth events");
    assert!(matches!(scene.make(&message(ADMIN, vec![&create, &levels, &admin])), Outcome::Accepted(_)));
}

#[test]
fn an_event_that_only_the_state_before_it_refuses_is_rejected() {
    let mut scene = Scene::new("!b:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    let mallory = scene.accepted(&member(MALLORY, MALLORY, "join", vec![&create, &levels, &rules]));
    scene.accepted(&member(ADMIN, MALLORY, "ban", vec![&create, &levels, &admin, &mallory]));
    // It names the join of old, and stands after the ban.
    let outcome = scene.make(&message(MALLORY, vec![&create, &levels, &mallory]));
    assert!(rejection(outcome).contains("not joined"));
}

#[test]
fn an_event_that_only_the_current_state_refuses_is_soft_failed() {
    let mut scene = Scene::new("!c:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    let mallory = scene.accepted(&member(MALLORY, MALLORY, "join", vec![&create, &levels, &rules]));
    scene.accepted(&member(ADMIN, MALLORY, "ban", vec![&create, &levels, &admin, &mallory]));
    let extremities = scene.server.view().rooms().expect("readable")[0].extremities().expect("readable");
    let pdu = scene.pdu(&message(MALLORY, vec![&create, &levels, &mallory]), std::slice::from_ref(&mallory));
    let outcome = scene.submit(Input::new(pdu.clone())).expect("well-formed");
    assert!(matches!(outcome, Outcome::SoftFailed { .. }), "{outcome:?}");
    assert_eq!(scene.server.view().rooms().expect("readable")[0].extremities().expect("readable"), extremities);
    // A local event is never soft-failed.
    let mut other = Scene::new("!c:a.example");
    let Start { create, levels, rules, admin } = start(&mut other);
    let mallory = other.accepted(&member(MALLORY, MALLORY, "join", vec![&create, &levels, &rules]));
    other.accepted(&member(ADMIN, MALLORY, "ban", vec![&create, &levels, &admin, &mallory]));
    let mut local = Input::new(pdu);
    local.local = true;
    assert!(matches!(other.submit(local).expect("well-formed"), Outcome::Accepted(_)));
}

/// A redaction prunes `notifications` from power levels. What decides is the content as it was at acceptance, from disk too.
#[test]
fn what_a_redaction_would_prune_still_decides() {
    let mut scene = Scene::new("!d:a.example");
    let Start { create, levels, rules, admin: _ } = start(&mut scene);
    let moderator = scene.accepted(&member(MODERATOR, MODERATOR, "join", vec![&create, &levels, &rules]));
    scene.reopen();
    let mut lower = self::levels();
    lower["notifications"]["room"] = 0.into();
    let outcome = scene.make(&Make {
        sender: MODERATOR,
        event_type: "m.room.power_levels",
        state_key: Some(""),
        content: lower,
        auth: vec![&create, &levels, &moderator],
    });
    assert!(rejection(outcome).contains("notifications"));
}

#[test]
fn an_event_that_names_a_rejected_event_is_rejected() {
    let mut scene = Scene::new("!e:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    let bad = scene.make(&member(MALLORY, MALLORY, "invite", vec![&create, &levels, &rules]));
    let bad = match bad {
        Outcome::Rejected { event_id, .. } => event_id.to_string(),
        other => panic!("{other:?}"),
    };
    let outcome = scene.make(&member(ADMIN, MALLORY, "ban", vec![&create, &levels, &admin, &bad]));
    assert!(rejection(outcome).contains("was itself rejected"));
}

/// Without the rule anybody, be he no member, could send state of this type.
#[test]
fn a_create_event_with_prev_events_is_rejected_whatever_its_state_key() {
    let mut scene = Scene::new("!m:a.example");
    start(&mut scene);
    for state_key in [None, Some(""), Some("x")] {
        let content = json!({ "creator": MALLORY, "room_version": "10" });
        let make = Make { sender: MALLORY, event_type: "m.room.create", state_key, content, auth: vec![] };
        assert!(matches!(scene.make(&make), Outcome::Rejected { .. }), "{state_key:?}");
    }
}

#[test]
fn an_event_that_names_an_auth_event_twice_is_rejected() {
    let mut scene = Scene::new("!n:a.example");
    let Start { create, levels, admin, .. } = start(&mut scene);
    let outcome = scene.make(&message(ADMIN, vec![&create, &levels, &admin, &levels]));
    assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
}

/// Where the prev events are exactly the extremities there is nothing that the sender cannot have known.
#[test]
fn an_event_on_the_extremities_is_not_soft_failed_by_the_state_that_came_with_it() {
    let mut scene = Scene::new("!o:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    let mallory = scene.accepted(&member(MALLORY, MALLORY, "join", vec![&create, &levels, &rules]));
    scene.accepted(&member(ADMIN, MALLORY, "ban", vec![&create, &levels, &admin, &mallory]));
    let prev: Vec<String> = scene.last.iter().cloned().collect();
    let mut input = Input::new(scene.pdu(&message(MALLORY, vec![&create, &levels, &mallory]), &prev));
    let state = [&create, &levels, &rules, &admin, &mallory];
    input.state = Some(state.iter().map(|id| id.as_str().try_into().expect("an event ID")).collect());
    let outcome = scene.submit(input).expect("well-formed");
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// A parked input whose state turns out to be wrong stays, with the reason, until a right one comes.
#[test]
fn a_parked_input_that_could_not_be_decided_is_tried_again_with_another_state() {
    let mut scene = Scene::new("!p:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    let later = scene.pdu(&message(ADMIN, vec![&create, &levels, &admin]), std::slice::from_ref(&admin));
    let mut probe = Scene::new("!p:a.example");
    start(&mut probe);
    let wanted = probe.submit(Input::new(later.clone())).expect("well-formed").event_id().clone();
    let gap = ["$mAEDbIh-M8o0-wvOPoSSBQcnOZZVHGKRSVzLcsOP0zQ".to_owned()];
    let pdu = scene.pdu(&message(ADMIN, vec![&create, &levels, &admin]), &gap);
    let with_state = |last: &str| {
        let mut input = Input::new(pdu.clone());
        let ids = [create.as_str(), &levels, &rules, last];
        input.state = Some(ids.iter().map(|&id| id.try_into().expect("an event ID")).collect());
        input
    };
    // What it waits for turns out to be no state event.
    let outcome = scene.submit(with_state(wanted.as_str())).expect("well-formed");
    assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
    scene.submit(Input::new(later)).expect("well-formed");
    scene.server.settle().expect("settles");
    let parked = scene.server.view().rooms().expect("readable")[0].parked().expect("readable");
    assert!(parked[0].failed.as_ref().is_some_and(|why| why.contains("no state event")), "{parked:?}");
    let error = scene.submit(with_state(wanted.as_str())).expect_err("as wrong as before");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let outcome = scene.submit(with_state(&admin)).expect("well-formed");
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    assert_eq!(scene.server.view().rooms().expect("readable")[0].counts().parked, 0);
}

#[test]
fn a_second_create_event_is_rejected() {
    let mut scene = Scene::new("!f:a.example");
    start(&mut scene);
    let content = json!({ "creator": ADMIN, "room_version": "10", "again": true });
    let make = Make { sender: ADMIN, event_type: "m.room.create", state_key: Some(""), content, auth: vec![] };
    let pdu = scene.pdu(&make, &[]);
    let outcome = scene.submit(Input::new(pdu)).expect("well-formed");
    assert!(rejection(outcome).contains("m.room.create event already"));
}

#[test]
fn a_reference_to_another_room_rejects_and_never_parks() {
    let mut scene = Scene::new("!g:a.example");
    let first = start(&mut scene);
    scene.room_id = "!h:a.example";
    scene.last = None;
    let Start { create, levels, admin: _, rules: _ } = start(&mut scene);
    let outcome = scene.make(&message(ADMIN, vec![&create, &levels, &first.admin]));
    assert!(rejection(outcome).contains("another room"));
    let pdu = scene.pdu(&message(ADMIN, vec![&create, &levels]), &[first.admin]);
    let outcome = scene.submit(Input::new(pdu)).expect("well-formed");
    assert!(rejection(outcome).contains("another room"));
}

#[test]
fn a_supplied_state_of_another_room_or_without_a_state_key_is_invalid() {
    let mut scene = Scene::new("!i:a.example");
    let first = start(&mut scene);
    scene.room_id = "!j:a.example";
    scene.last = None;
    let Start { create, levels, rules, admin } = start(&mut scene);
    let hello = scene.accepted(&message(ADMIN, vec![&create, &levels, &admin]));
    for (wrong, cause) in [(&first.admin, "another room"), (&hello, "no state event")] {
        let state = [&create, &levels, &rules, &admin, wrong];
        let gap = ["$mAEDbIh-M8o0-wvOPoSSBQcnOZZVHGKRSVzLcsOP0zQ".to_owned()];
        let pdu = scene.pdu(&message(ADMIN, vec![&create, &levels, &admin]), &gap);
        let mut input = Input::new(pdu);
        input.state = Some(state.iter().map(|id| id.as_str().try_into().expect("an event ID")).collect());
        let error = scene.submit(input).expect_err("invalid");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(cause), "{error}");
    }
    assert_eq!(scene.server.view().room("!j:a.example").expect("readable").expect("known").counts().parked, 0);
}

/// Supplied state is the state before that one event, and changes nothing else.
#[test]
fn supplied_state_is_taken_as_it_is_and_extremities_stay() {
    let mut scene = Scene::new("!k:a.example");
    let Start { create, levels, rules, admin } = start(&mut scene);
    let gap = ["$mAEDbIh-M8o0-wvOPoSSBQcnOZZVHGKRSVzLcsOP0zQ".to_owned()];
    let pdu = scene.pdu(&message(ADMIN, vec![&create, &levels, &admin]), &gap);
    let mut input = Input::new(pdu);
    let ids = [&create, &levels, &admin];
    input.state = Some(ids.iter().map(|id| id.as_str().try_into().expect("an event ID")).collect());
    let Outcome::Accepted(accepted) = scene.submit(input).expect("well-formed") else { panic!("not accepted") };
    let view = scene.server.view();
    let room = &view.rooms().expect("readable")[0];
    let before = room.state(accepted.state_before.expect("told")).expect("readable");
    assert_eq!(before.entries().expect("readable").len(), 3);
    assert_eq!(before.get("m.room.join_rules", "").expect("readable"), None);
    assert_eq!(accepted.extremities.len(), 2);
    let rules_now = room.current_state().get("m.room.join_rules", "").expect("readable");
    assert!(rules_now.is_none_or(|event_id| event_id == *rules));
}

/// An auth graph as deep as a test can wait for, delivered backwards: parked, woken one by one, no stack overflows.
#[test]
fn a_deep_chain_delivered_backwards_is_decided() {
    let mut scene = Scene::new("!l:a.example");
    let Start { create, levels, rules, .. } = start(&mut scene);
    let mut last = scene.accepted(&member(MALLORY, MALLORY, "join", vec![&create, &levels, &rules]));
    let depth = 2_000;
    let mut pdus = Vec::new();
    let mut probe = Scene::new("!l:a.example");
    let Start { create: create_2, levels: levels_2, rules: rules_2, .. } = start(&mut probe);
    probe.accepted(&member(MALLORY, MALLORY, "join", vec![&create_2, &levels_2, &rules_2]));
    for place in 0..depth {
        let content = json!({ "membership": "join", "displayname": place });
        let auth = vec![create.as_str(), &levels, &last, &rules];
        let make = Make { sender: MALLORY, event_type: "m.room.member", state_key: Some(MALLORY), content, auth };
        let pdu = probe.pdu(&make, std::slice::from_ref(&last));
        let outcome = probe.submit(Input::new(pdu.clone())).expect("well-formed");
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        last = outcome.event_id().to_string();
        pdus.push(pdu);
    }
    for pdu in pdus.iter().rev() {
        let mut input = Input::new(pdu.clone());
        input.kind = Kind::New;
        scene.submit(input).expect("well-formed");
    }
    scene.server.settle().expect("settles");
    let (scene, probe) = (scene.server.view(), probe.server.view());
    let (got, told) = (&scene.rooms().expect("readable")[0], &probe.rooms().expect("readable")[0]);
    assert_eq!((got.counts().events, got.counts().parked), (told.counts().events, 0));
    assert_eq!(got.current_summary(), told.current_summary());
}

/// Anyone can send a create event for any room ID, of any version.
#[test]
fn a_create_event_that_was_refused_says_nothing_of_the_room() {
    let mut scene = Scene::new("!claimed:a.example");
    let content = json!({ "creator": MODERATOR, "room_version": "6" });
    let make = Make { sender: MODERATOR, event_type: "m.room.create", state_key: Some(""), content, auth: vec![] };
    let claimed = scene.pdu(&make, &[]);
    let error = scene.submit(Input::new(claimed)).expect_err("the room is of another server");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    start(&mut scene);
}
