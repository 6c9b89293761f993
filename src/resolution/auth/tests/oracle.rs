//! Random rooms and events of versions 6 to 12 under our rules and under those of `ruma-state-res`: the same verdict.
//!
//! Where the two are meant to differ, they are given what should count as the same: see [`as_it_counts`]. What cannot be
//! told so, the rooms leave out; each such case stands in [`deviations`], with its reason.

use std::{cell::RefCell, collections::BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{RngSeed, TestRunner},
};
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use ruma_events::TimelineEventType;
use ruma_state_res::Event;
use serde_json::{json, value::RawValue};

use super::{
    super::{auth_types_for_event, check_auth_events},
    *,
};

/// A [`Draft`] as `ruma-state-res` reads it.
#[derive(Clone)]
struct Pdu {
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    event_type: TimelineEventType,
    state_key: Option<String>,
    content: Box<RawValue>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    rejected: bool,
}

impl Pdu {
    fn new(draft: &Draft, auth_events: &[Draft]) -> Self {
        Self {
            event_id: event_id(draft),
            // From version 12 on the room ID names the create event.
            room_id: "!m.room.create-_a".try_into().unwrap(),
            sender: draft.sender.as_str().try_into().unwrap(),
            event_type: draft.event_type.as_str().into(),
            state_key: draft.state_key.clone(),
            content: serde_json::value::to_raw_value(&draft.content).unwrap(),
            prev_events: match draft.prev_events {
                PrevEvents::None => vec![],
                PrevEvents::OnlyCreate => vec![event_id(&create_draft(12))],
                PrevEvents::Other => vec!["$other".try_into().unwrap()],
            },
            auth_events: auth_events.iter().map(event_id).collect(),
            rejected: draft.rejected,
        }
    }
}

fn event_id(draft: &Draft) -> OwnedEventId {
    draft.event_id.replace(':', "_").try_into().unwrap()
}

fn create_draft(version: u8) -> Draft {
    Draft::state("m.room.create", "", CREATOR, create(version))
}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        Some(&self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(0_u32.into())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// The verdict of `ruma-state-res` by the room's state.
fn theirs(room: &Room, event: &Draft) -> Result<(), String> {
    ruma_state_res::check_state_dependent_auth_rules(
        &room.rules.authorization,
        Pdu::new(event, &[]),
        |event_type, key| room.state.get(&(event_type.to_string(), key.to_owned())).map(|draft| Pdu::new(draft, &[])),
    )
}

/// The verdict of `ruma-state-res` on the same event in the same room, both rewritten by [`as_it_counts`].
fn theirs_as_it_counts(room: &Room, event: &Draft) -> Result<(), String> {
    let state = room.state.values().map(|draft| as_it_counts(&room.rules, draft));
    let rewritten = state.fold(Room { rules: room.rules.clone(), state: BTreeMap::new() }, Room::set);
    // They let nobody join where there are no join rules. For us that is a room that asks for an invite.
    let has_join_rules = rewritten.state.contains_key(&("m.room.join_rules".to_owned(), String::new()));
    let rewritten = if has_join_rules { rewritten } else { rewritten.join_rule("invite") };
    theirs(&rewritten, &as_it_counts(&room.rules, event))
}

/// Writes what an event counts as, by our reading, in a form that `ruma-state-res` reads in the same way.
fn as_it_counts(rules: &RoomVersionRules, draft: &Draft) -> Draft {
    let mut draft = draft.clone();
    match &*draft.event_type {
        // They refuse a membership of what is no user ID. For us it is a target like another, of whom nobody has heard.
        "m.room.member" => {
            if let Some(target) = draft.state_key.as_mut().filter(|target| <&UserId>::try_from(&***target).is_err()) {
                *target = "@nobody:b".to_owned();
            }
        }
        // They refuse malformed levels in every room version. Up to version 9 these count as absent.
        "m.room.power_levels" if !rules.authorization.integer_power_levels => {
            let is_level =
                |level: &Value| level.is_i64() || level.as_str().is_some_and(|text| text.trim().parse::<i64>().is_ok());
            let Some(properties) = draft.content.as_object_mut() else { return draft };
            for map in ["events", "notifications"] {
                if let Some(entries) = properties.get_mut(map).and_then(Value::as_object_mut) {
                    entries.retain(|_, level| is_level(level));
                }
            }
            properties.retain(|property, value| match &**property {
                "users" => true,
                "events" | "notifications" => value.is_object(),
                _ => is_level(value),
            });
        }
        // They ask for a truth value and a user ID. For us only `false` closes a room, and what is no string is nobody.
        "m.room.create" => {
            let federates = draft.content.get("m.federate") != Some(&json!(false));
            draft.content["m.federate"] = json!(federates);
            if draft.content.get("creator").is_some_and(|creator| !creator.is_string()) {
                draft.content["creator"] = json!("@nobody:a");
            }
        }
        _ => {}
    }
    draft
}

const USERS: [&str; 6] = [CREATOR, ADMIN, MOD, PEER, USER, STRANGER];
const LEVELS: [i64; 7] = [-1, 0, 10, 49, 50, 51, 100];

fn user() -> impl Strategy<Value = &'static str> {
    select(&USERS)
}

fn membership(version: u8) -> impl Strategy<Value = &'static str> {
    let known = if version < 7 { 4 } else { 5 };
    (0_usize..known).prop_map(|index| ["join", "invite", "leave", "ban", "knock"][index])
}

/// A level in the forms that the version allows; now and then in one that it does not, where that refuses the event under
/// test or counts as absent.
fn level(version: u8, is_sound: bool) -> impl Strategy<Value = Value> {
    let string = if version < 10 { 3 } else { u32::from(!is_sound) };
    let malformed = u32::from(!is_sound);
    prop_oneof![
        60 => select(&LEVELS).prop_map(Value::from),
        string => select(&LEVELS).prop_map(|level| json!(format!(" {level:+} "))),
        malformed => select(vec![json!(null), json!("x"), json!("1.5"), json!([]), json!(true)]),
    ]
}

/// Properties of `m.room.power_levels`, as pairs of a path and a value.
fn settings(version: u8, is_sound: bool, most: usize) -> impl Strategy<Value = Vec<(String, String, Value)>> {
    let field = select(vec!["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"])
        .prop_map(|field| (field.to_owned(), String::new()));
    let event = select(vec!["m.room.message", "m.room.topic", "m.room.power_levels", "m.room.redaction"])
        .prop_map(|event| ("events".to_owned(), event.to_owned()));
    let kind = select(vec!["room", "other"]).prop_map(|kind| ("notifications".to_owned(), kind.to_owned()));
    // Up to version 11 the creator is a user like others; from version 12 on naming it refuses the event.
    let named = user().prop_map(|user| ("users".to_owned(), user.to_owned()));
    let map = select(vec!["events", "notifications"]).prop_map(|map| (map.to_owned(), String::new()));
    let path = prop_oneof![6 => field, 4 => event, 2 => kind];
    // Before version 10 the levels of a room may be malformed, but for those of its users.
    let others = (path, level(version, is_sound && version >= 10));
    let no_map = (map, select(vec![json!(null), json!([]), json!("x")]));
    let users = (named, level(version, is_sound));
    let maps = u32::from(version < 10);
    let setting = prop_oneof![12 => others, maps => no_map, 8 => users];
    prop::collection::vec(setting.prop_map(|((key, name), value)| (key, name, value)), 0..=most)
}

fn apply(mut content: Value, settings: Vec<(String, String, Value)>, removed: Option<usize>) -> Value {
    for (key, name, value) in settings {
        if name.is_empty() {
            content[key] = value;
        } else if content[&key].is_object() || content[&key].is_null() {
            content[key][name] = value;
        }
    }
    // Removing an entry is a change too.
    if let (Some(index), Some(object)) = (removed, content.as_object_mut())
        && let Some(key) = object.keys().nth(index).cloned()
    {
        match object[&key].as_object_mut().filter(|entries| entries.len() > 1) {
            Some(entries) => drop(entries.keys().next().cloned().map(|name| entries.remove(&name))),
            None => drop(object.remove(&key)),
        }
    }
    content
}

fn room(version: u8) -> impl Strategy<Value = Room> {
    let join_rules =
        vec!["public", "public", "invite", "knock", "restricted", "knock_restricted", "private", "com.example"];
    (
        prop_oneof![8 => Just(json!(true)), 1 => Just(json!(false)), 1 => select(vec![json!(null), json!("no"), json!(0)])],
        prop_oneof![9 => Just(json!(CREATOR)), 1 => select(vec![json!(null), json!(5), json!([CREATOR])])],
        prop::collection::btree_set(user(), 0..2),
        prop::option::weighted(0.85, settings(version, true, 12)),
        prop::option::weighted(0.9, select(join_rules)),
        prop::collection::vec(
            prop::option::weighted(0.9, prop_oneof![2 => Just("join"), 1 => membership(version)]),
            USERS.len(),
        ),
        prop::option::weighted(0.7, user()),
    )
        .prop_map(move |(federate, creator, additional, levels, join_rule, members, offer)| {
            let create = create_draft(version).with("m.federate", federate).with("creator", creator);
            let create = create.with("additional_creators", json!(additional));
            let mut room = Room { rules: rules(version), state: BTreeMap::new() }.set(create);
            if let Some(levels) = levels {
                // A room where nobody has power would refuse nearly everything.
                let content = apply(json!({ "users": { ADMIN: 100, MOD: 50 } }), levels, None);
                room = room.set(Draft::state("m.room.power_levels", "", CREATOR, content));
            }
            if let Some(rule) = join_rule {
                room = room.join_rule(rule);
            }
            for (user, membership) in USERS.into_iter().zip(members) {
                room = membership.into_iter().fold(room, |room, membership| room.member(user, membership));
            }
            if let Some(sender) = offer {
                let keys = json!({ "public_key": public_key() });
                room = room.set(Draft::state("m.room.third_party_invite", "tok", sender, keys));
            }
            room
        })
}

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn public_key() -> String {
    STANDARD_NO_PAD.encode(signing_key().verifying_key().as_bytes())
}

/// A third-party invite; now and then one that was signed for somebody else, or lacks something.
fn third_party_invite() -> impl Strategy<Value = Value> {
    let part = || prop::bool::weighted(0.95);
    (user(), prop::bool::weighted(0.7), part(), part(), part()).prop_map(
        |(mxid, is_signed, has_token, is_known, is_complete)| {
            let token = if is_known { "tok" } else { "nok" };
            let message = format!(r#"{{"mxid":"{mxid}","token":"{token}"}}"#);
            let message = if is_signed { message } else { String::new() };
            let signature = STANDARD_NO_PAD.encode(signing_key().sign(message.as_bytes()).to_bytes());
            let mut signed = json!({ "mxid": mxid, "signatures": { "id.example": { "ed25519:0": signature } } });
            if has_token {
                signed["token"] = json!(token);
            }
            if is_complete { json!({ "signed": signed }) } else { json!({}) }
        },
    )
}

fn member_event(version: u8) -> impl Strategy<Value = Draft> {
    let known = prop_oneof![60 => membership(version), 1 => Just("knock"), 1 => Just("com.example")];
    let no_user = select(vec!["user", "@trailing:", ""]).prop_map(Some);
    let target = prop_oneof![90 => user().prop_map(Some), 120 => Just(None), 8 => no_user];
    let invite = prop::option::weighted(0.4, third_party_invite());
    let rarely = (prop::bool::weighted(0.1), prop::bool::weighted(0.01));
    (user(), target, known, prop::option::weighted(0.7, user()), invite, rarely).prop_map(
        |(sender, target, membership, via, invite, (is_after_create, is_message))| {
            let mut draft = Draft::member(sender, target.unwrap_or(sender), membership);
            if let Some(via) = via {
                draft = draft.with("join_authorised_via_users_server", json!(via));
            }
            if let Some(invite) = invite {
                // An invite for its own user mostly, or nearly all would be refused for that.
                if let Some(mxid) = invite["signed"]["mxid"].as_str().filter(|_| membership == "invite") {
                    draft.state_key = Some(target.unwrap_or(mxid).to_owned());
                }
                draft = draft.with("third_party_invite", invite);
            }
            if is_message {
                draft.state_key = None;
            }
            if is_after_create { draft.after_create() } else { draft }
        },
    )
}

fn other_event() -> impl Strategy<Value = Draft> {
    let types = vec![
        "m.room.message",
        "m.room.topic",
        "m.room.aliases",
        "m.room.redaction",
        "m.room.third_party_invite",
        "m.room.join_rules",
        "m.room.create",
    ];
    let key = prop_oneof![2 => Just(None), 2 => Just(Some("")), 1 => user().prop_map(Some), 1 => Just(Some("b"))];
    (select(types), key, user()).prop_map(|(event_type, key, sender)| match key {
        Some(key) => Draft::state(event_type, key, sender, json!({})),
        None => Draft::message(event_type, sender, json!({})),
    })
}

/// A room and an event that somebody sends there.
fn scenario() -> impl Strategy<Value = (u8, Room, Draft)> {
    (6_u8..=12).prop_flat_map(|version| {
        room(version).prop_flat_map(move |room| {
            let levels = (user(), settings(version, false, 3), prop::option::weighted(0.3, 0_usize..8)).prop_map({
                let current = room.state.get(&("m.room.power_levels".to_owned(), String::new()));
                let current = current.map_or(json!({}), |event| event.content.clone());
                move |(sender, settings, removed)| {
                    Draft::state("m.room.power_levels", "", sender, apply(current.clone(), settings, removed))
                }
            });
            let event = prop_oneof![5 => member_event(version), 4 => levels, 3 => other_event()];
            (Just(version), Just(room), event)
        })
    })
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(8),
        failure_persistence: None,
        ..Default::default()
    })
}

#[test]
fn random_events_get_the_verdict_of_another_implementation() {
    let seen = RefCell::new(BTreeMap::<_, u32>::new());
    let same_verdict = |(version, room, event): (u8, Room, Draft)| {
        let ours = room.refuses(&event);
        let theirs = theirs_as_it_counts(&room, &event);
        *seen.borrow_mut().entry(ours).or_default() += 1;
        prop_assert_eq!(ours.is_none(), theirs.is_ok(), "version {}: ours {:?}, theirs {:?}", version, ours, theirs);
        Ok(())
    };
    runner(20_000).run(&scenario(), same_verdict).unwrap();

    // A generator that reached only some of the rules would prove little.
    let seen = seen.into_inner();
    let beyond_state = |rule: Rule| {
        matches!(rule.code(), 1..30)
            || matches!(rule, Rule::NoCreate | Rule::MalformedState | Rule::MemberAuthorisedVia | Rule::RedactionLevel)
            || matches!(rule, Rule::AliasesStateKey | Rule::AliasesDomain)
    };
    for rule in Rule::ALL.iter().copied().filter(|rule| !beyond_state(*rule)) {
        assert!(seen.get(&Some(rule)).is_some_and(|count| *count >= 3), "{rule:?} was hardly met: {seen:?}");
    }
    let allowed = seen[&None];
    assert!((4_000..16_000).contains(&allowed), "{allowed} of 20,000 were allowed");
}

#[test]
fn random_auth_events_are_selected_and_checked_as_by_another_implementation() {
    #[derive(Debug, Clone)]
    enum Tamper {
        Nothing,
        Repeat(usize),
        Reject(usize),
        Drop(usize),
        Add(usize),
    }
    let index = || 0_usize..8;
    let tamper = prop_oneof![
        2 => Just(Tamper::Nothing),
        1 => index().prop_map(Tamper::Repeat),
        1 => index().prop_map(Tamper::Reject),
        1 => index().prop_map(Tamper::Drop),
        1 => index().prop_map(Tamper::Add),
    ];
    let seen = RefCell::new(BTreeSet::new());
    let same_verdict = |((version, room, event), tamper): ((u8, Room, Draft), Tamper)| {
        let built = event.build(&room.rules);
        // Malformed content is refused before the auth events are looked at, by them with or after these.
        if matches!(built.content, Content::Malformed(_)) {
            return Ok(());
        }
        // They select nothing for a membership of nobody, which is refused by a later rule.
        if &*built.event_type == "m.room.member" && built.state_key.is_none() {
            return Ok(());
        }
        let pdu = Pdu::new(&event, &[]);
        let ours: BTreeSet<_> = auth_types_for_event(
            &room.rules,
            &built.event_type,
            &built.sender,
            built.state_key.as_deref(),
            &built.content,
        )
        .into_iter()
        .map(|(event_type, key)| (event_type.to_owned(), key.to_owned()))
        .collect();
        let theirs = ruma_state_res::auth_types_for_event(
            pdu.event_type(),
            pdu.sender(),
            pdu.state_key(),
            pdu.content(),
            &room.rules.authorization,
        );
        let theirs: BTreeSet<_> =
            theirs.unwrap().into_iter().map(|(event_type, key)| (event_type.to_string(), key)).collect();
        prop_assert_eq!(&ours, &theirs, "version {}", version);
        // Rule 1 is for create events, with their own test.
        if event.event_type == "m.room.create" {
            return Ok(());
        }

        let mut named: Vec<_> = ours.iter().filter_map(|pair| room.state.get(pair)).cloned().collect();
        match tamper {
            Tamper::Nothing => (),
            Tamper::Repeat(index) => {
                if let Some(draft) = named.get(index).cloned() {
                    named.push(Draft { event_id: format!("{}-again", draft.event_id), ..draft });
                }
            }
            Tamper::Reject(index) => named.get_mut(index).into_iter().for_each(|draft| draft.rejected = true),
            Tamper::Drop(index) => drop((index < named.len()).then(|| named.remove(index))),
            Tamper::Add(index) => named.extend(room.state.values().nth(index).cloned()),
        }
        let create = create_draft(version);
        let auth_events: Vec<_> = named.iter().map(|draft| Arc::new(draft.build(&room.rules))).collect();
        let ours = check_auth_events(&room.rules, &built, &auth_events).err().map(|reason| reason.rule());
        let pdu = Pdu::new(&event, &named);
        let theirs = ruma_state_res::check_state_independent_auth_rules(&room.rules.authorization, pdu, |id| {
            // The create event may be named or, from version 12 on, be implied.
            named.iter().chain([&create]).find(|draft| event_id(draft) == id).map(|draft| Pdu::new(draft, &[]))
        });
        seen.borrow_mut().insert(ours);
        prop_assert_eq!(ours.is_none(), theirs.is_ok(), "version {}: ours {:?}, theirs {:?}", version, ours, theirs);
        Ok(())
    };
    runner(4_000).run(&(scenario(), tamper), same_verdict).unwrap();
    let expected =
        [Rule::DuplicateAuthEvent, Rule::UnexpectedAuthEvent, Rule::RejectedAuthEvent, Rule::NoCreateAuthEvent];
    assert_eq!(seen.into_inner(), [None].into_iter().chain(expected.map(Some)).collect());
}

/// Where we follow the specification's words and `ruma-state-res` does not, or where the words leave a choice.
#[test]
fn deviations() {
    #[track_caller]
    fn differ(room: &Room, event: &Draft, ours: Option<Rule>) {
        assert_eq!(room.refuses(event), ours, "{event:?}");
        assert_eq!(theirs(room, event).is_ok(), ours.is_some(), "they agree by now: {event:?}");
    }

    // "If content has a third_party_invite property": null is one, and it has no `signed`. They take it for absent.
    let event = Draft::member(MOD, STRANGER, "invite").with("third_party_invite", Value::Null);
    differ(&Room::new(10), &event, Some(Rule::ThirdPartySigned));

    // "If content has a join_authorised_via_users_server property", whatever the membership, its user's server must
    // have signed the event. They leave this to the check of signatures, which refuses a value that is no user.
    let event = Draft::member(USER, USER, "leave").with("join_authorised_via_users_server", json!("nobody"));
    differ(&Room::new(10), &event, Some(Rule::MemberAuthorisedVia));

    // "If any signature in signed matches any public key, allow": one that is malformed does not match, and says
    // nothing about the others. They refuse the event for it.
    let key = SigningKey::from_bytes(&[42; 32]);
    let message = format!(r#"{{"mxid":"{STRANGER}","token":"tok"}}"#);
    let signature = STANDARD_NO_PAD.encode(key.sign(message.as_bytes()).to_bytes());
    let signatures = json!({ "a.example": 1, "b.example": { "ed25519:0": signature } });
    let signed = json!({ "mxid": STRANGER, "token": "tok", "signatures": signatures });
    let event = Draft::member(MOD, STRANGER, "invite").with("third_party_invite", json!({ "signed": signed }));
    let offer = Draft::state("m.room.third_party_invite", "tok", MOD, json!({ "public_key": public_key() }));
    differ(&Room::new(10).set(offer.clone()), &event, None);
    let signatures = json!({ "b.example": { "ed25519:0": signature } });
    let signed = json!({ "mxid": STRANGER, "token": "tok", "signatures": signatures });
    let event = Draft::member(MOD, STRANGER, "invite").with("third_party_invite", json!({ "signed": signed }));
    differ(&Room::new(10).set(offer.with("public_keys", json!([{ "public_key": 1 }]))), &event, None);

    // "Optionally prefixed with a single - or + character": they take two.
    let first = |key: &str, level: Value| Draft::state("m.room.power_levels", "", CREATOR, json!({ key: level }));
    let room = Room::new(9).without("m.room.power_levels", "");
    differ(&room, &first("users", json!({ ADMIN: "++5" })), Some(Rule::PowerLevelsMalformed));
    // "A single base 10 integer": nothing limits it, not even to what a double holds exactly.
    differ(&room, &first("ban", json!("9007199254740992")), None);

    // What the random rooms rewrite before they are compared, see `as_it_counts`.
    differ(&room, &first("ban", json!(null)), None);
    differ(&room, &first("events", json!([])), None);
    differ(&room, &first("notifications", json!({ "room": "x" })), None);
    differ(&Room::new(10), &Draft::member(MOD, "@trailing:", "ban"), None);
    differ(&Room::new(10).without("m.room.join_rules", ""), &Draft::member(GUEST, GUEST, "join"), None);
    let federate = |value| Room::new(10).set(create_draft(10).with("m.federate", value));
    differ(&federate(json!("no")), &Draft::message("m.room.message", USER, json!({})), None);
    let creator = Room::new(10).set(create_draft(10).with("creator", json!(5)));
    differ(&creator, &Draft::message("m.room.message", USER, json!({})), None);
}
