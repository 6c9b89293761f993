//! Every rule, refused and allowed, in the versions where it differs; and the verdicts of another implementation.

mod members;
mod oracle;
mod power;
mod receipt;
mod rules;
mod third_party;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use ruma_common::{RoomVersionId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};

use super::{AuthEvent, AuthState, Content, PrevEvents, Rule, check};
use crate::{
    encoding::json::Json,
    error::{Error, ErrorKind, Result},
};

const ALL: RangeInclusive<u8> = 1..=12;

/// The creator; has the server `a`, like `ADMIN` and `MOD`.
const CREATOR: &str = "@creator:a";
/// Joined, level 100.
const ADMIN: &str = "@admin:a";
/// Joined, level 50.
const MOD: &str = "@mod:a";
/// Joined, level 50, like `MOD`.
const PEER: &str = "@peer:b";
/// Joined, level 0.
const USER: &str = "@user:b";
/// Invited.
const GUEST: &str = "@guest:b";
/// Banned.
const BANNED: &str = "@banned:b";
/// Without a membership.
const STRANGER: &str = "@stranger:b";

fn rules(version: u8) -> RoomVersionRules {
    RoomVersionId::try_from(version.to_string()).unwrap().rules().unwrap()
}

fn object(value: &Value) -> crate::encoding::json::Object {
    match Json::parse(value.to_string().as_bytes()).unwrap() {
        Json::Object(object) => object,
        other => panic!("not an object: {other:?}"),
    }
}

/// An event under test: what of it the rules read.
#[derive(Debug, Clone)]
struct Draft {
    event_id: String,
    event_type: String,
    state_key: Option<String>,
    sender: String,
    content: Value,
    redacts: Option<String>,
    prev_events: PrevEvents,
    rejected: bool,
}

impl Draft {
    fn message(event_type: &str, sender: &str, content: Value) -> Self {
        Self {
            event_id: format!("${event_type}:a"),
            event_type: event_type.into(),
            state_key: None,
            sender: sender.into(),
            content,
            redacts: None,
            prev_events: PrevEvents::Other,
            rejected: false,
        }
    }

    fn state(event_type: &str, state_key: &str, sender: &str, content: Value) -> Self {
        Self {
            event_id: format!("${event_type}-{state_key}:a"),
            state_key: Some(state_key.into()),
            ..Self::message(event_type, sender, content)
        }
    }

    fn member(sender: &str, target: &str, membership: &str) -> Self {
        Self::state("m.room.member", target, sender, json!({ "membership": membership }))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.content[key] = value;
        self
    }

    fn after_create(self) -> Self {
        Self { prev_events: PrevEvents::OnlyCreate, ..self }
    }

    fn build(&self, rules: &RoomVersionRules) -> AuthEvent {
        AuthEvent {
            event_id: self.event_id.clone().into(),
            event_type: self.event_type.clone().into(),
            state_key: self.state_key.clone().map(Into::into),
            tuple: None,
            sender: self.sender.clone().into(),
            origin_server_ts: 0,
            depth: 1,
            rejected: self.rejected,
            prev_events: self.prev_events,
            auth_events: Box::default(),
            content: Content::parse(rules, &self.event_type, &object(&self.content), self.redacts.as_deref()),
        }
    }
}

/// A room of some version in some state.
#[derive(Debug, Clone)]
struct Room {
    rules: RoomVersionRules,
    state: BTreeMap<(String, String), Draft>,
}

impl Room {
    /// A room with nothing but the create event.
    fn bare(version: u8) -> Self {
        let room = Self { rules: rules(version), state: BTreeMap::new() };
        room.set(Draft { prev_events: PrevEvents::None, ..Draft::state("m.room.create", "", CREATOR, create(version)) })
    }

    /// A public room with the users above.
    fn new(version: u8) -> Self {
        let levels = json!({ "users": { ADMIN: 100, MOD: 50, PEER: 50 } });
        let room = Self::bare(version)
            .set(Draft::state("m.room.power_levels", "", CREATOR, levels))
            .join_rule("public")
            .member(GUEST, "invite")
            .member(BANNED, "ban");
        [CREATOR, ADMIN, MOD, PEER, USER].into_iter().fold(room, |room, user| room.member(user, "join"))
    }

    fn set(mut self, event: Draft) -> Self {
        self.state.insert((event.event_type.clone(), event.state_key.clone().unwrap()), event);
        self
    }

    fn without(mut self, event_type: &str, state_key: &str) -> Self {
        self.state.remove(&(event_type.into(), state_key.into())).expect("it was there");
        self
    }

    fn member(self, user: &str, membership: &str) -> Self {
        self.set(Draft::member(user, user, membership))
    }

    fn join_rule(self, rule: &str) -> Self {
        self.set(Draft::state("m.room.join_rules", "", CREATOR, json!({ "join_rule": rule })))
    }

    /// Sets a property of the power levels.
    fn level(mut self, key: &str, value: Value) -> Self {
        self.state.get_mut(&("m.room.power_levels".into(), String::new())).unwrap().content[key] = value;
        self
    }

    /// The rule that refuses the event.
    fn refuses(&self, event: &Draft) -> Option<Rule> {
        check(&self.rules, &event.build(&self.rules), self).unwrap().err().map(|reason| reason.rule())
    }

    /// A new `m.room.power_levels` event: the current one with this property changed, or removed if it is null.
    fn change(&self, sender: &str, key: &str, value: Value) -> Draft {
        let mut content = self.state[&("m.room.power_levels".to_owned(), String::new())].content.clone();
        match value {
            Value::Null => drop(content.as_object_mut().unwrap().remove(key)),
            value => content[key] = value,
        }
        Draft::state("m.room.power_levels", "", sender, content)
    }
}

impl AuthState for Room {
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
        let event = self.state.get(&(event_type.to_owned(), state_key.to_owned()));
        Ok(event.map(|event| Arc::new(event.build(&self.rules))))
    }
}

/// The content of the create event of a room of this version.
fn create(version: u8) -> Value {
    if version <= 10 {
        json!({ "room_version": version.to_string(), "creator": CREATOR })
    } else {
        json!({ "room_version": version.to_string() })
    }
}

/// Checks rows of (versions, event, the rule that must refuse it) in the room that `room` makes of the version.
#[track_caller]
fn assert_verdicts(room: impl Fn(u8) -> Room, rows: &[(RangeInclusive<u8>, Draft, Option<Rule>)]) {
    for (versions, event, rule) in rows {
        for version in versions.clone() {
            assert_eq!(room(version).refuses(event), *rule, "version {version}: {event:?}");
        }
    }
}

#[test]
fn a_state_that_cannot_be_read_refuses_nothing_but_fails() {
    struct Broken(Room, &'static str);
    impl AuthState for Broken {
        fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
            if event_type == self.1 {
                return Err(Error::new(ErrorKind::Corrupt, "torn"));
            }
            self.0.get(event_type, state_key)
        }
    }

    let room = Room::new(10).join_rule("restricted");
    let join = Draft::member(STRANGER, STRANGER, "join").with("join_authorised_via_users_server", json!(MOD));
    for broken in ["m.room.create", "m.room.member", "m.room.join_rules", "m.room.power_levels"] {
        let state = Broken(room.clone(), broken);
        let error = check(&room.rules, &join.build(&room.rules), &state).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{broken}");
    }
    assert_eq!(room.refuses(&join), None);
}

/// Otherwise a member event whose content was not parsed would skip all the rules for members.
#[test]
fn an_event_with_the_content_of_another_type_is_a_fault_not_a_verdict() {
    let room = Room::new(1);
    for event_type in ["m.room.member", "m.room.power_levels", "m.room.redaction"] {
        let mut event = Draft::state(event_type, "", ADMIN, json!({ "membership": "join" })).build(&room.rules);
        event.content = Content::Other;
        assert_eq!(check(&room.rules, &event, &room).unwrap_err().kind(), ErrorKind::Internal, "{event_type}");
    }
}
