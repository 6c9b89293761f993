//! The rules for all events: federation, aliases, the sender's membership, levels, state keys, redactions.

use serde_json::json;

use super::*;

const REMOTE_MESSAGE: fn() -> Draft = || Draft::message("m.room.message", USER, json!({}));

#[test]
fn an_unfederated_room_takes_events_from_the_creators_server_only() {
    let unfederated = |version| {
        let create = Draft::state("m.room.create", "", CREATOR, create(version)).with("m.federate", json!(false));
        Room::new(version).set(create)
    };
    let local = Draft::message("m.room.message", MOD, json!({}));
    let remote_join = Draft::member(STRANGER, STRANGER, "join");
    assert_verdicts(
        unfederated,
        &[
            (ALL, local, None),
            (ALL, REMOTE_MESSAGE(), Some(Rule::NotFederated)),
            (ALL, remote_join.clone(), Some(Rule::NotFederated)),
            // The rule names the sender only: whom a local user invites is not its concern.
            (ALL, Draft::member(MOD, STRANGER, "invite"), None),
        ],
    );
    assert_verdicts(Room::new, &[(ALL, REMOTE_MESSAGE(), None), (ALL, remote_join, None)]);
}

#[test]
fn only_false_closes_a_room_to_other_servers() {
    for federate in [json!(null), json!(0), json!("false"), json!([]), json!({}), json!(true)] {
        let room = |version| {
            let create = Draft::state("m.room.create", "", CREATOR, create(version));
            Room::new(version).set(create.with("m.federate", federate.clone()))
        };
        assert_verdicts(room, &[(ALL, REMOTE_MESSAGE(), None), (ALL, Draft::member(STRANGER, STRANGER, "join"), None)]);
    }
}

#[test]
fn a_port_is_part_of_the_domain() {
    let room = |version| {
        let create = Draft::state("m.room.create", "", CREATOR, create(version)).with("m.federate", json!(false));
        Room::new(version).set(create).member("@user:a:8448", "join")
    };
    let event = Draft::message("m.room.message", "@user:a:8448", json!({}));
    assert_verdicts(room, &[(ALL, event, Some(Rule::NotFederated))]);
}

#[test]
fn without_an_accepted_create_event_nothing_is_allowed() {
    let event = Draft::message("m.room.message", ADMIN, json!({}));
    assert_verdicts(
        |version| Room::new(version).without("m.room.create", ""),
        &[(ALL, event.clone(), Some(Rule::NoCreate))],
    );
    let rejected = |version| {
        let create = Draft::state("m.room.create", "", CREATOR, create(version));
        Room::new(version).set(Draft { rejected: true, ..create })
    };
    assert_verdicts(rejected, &[(ALL, event, Some(Rule::CreateNotAccepted))]);
}

#[test]
fn aliases_are_for_their_own_server_alone_up_to_version_5_and_ordinary_state_after() {
    let aliases = |key: &str, sender| Draft::state("m.room.aliases", key, sender, json!({ "aliases": [] }));
    assert_verdicts(
        Room::new,
        &[
            (1..=5, aliases("b", USER), None),
            // Not even membership is asked for.
            (1..=5, aliases("b", STRANGER), None),
            (1..=5, aliases("a", USER), Some(Rule::AliasesDomain)),
            (1..=5, aliases("a", ADMIN), None),
            (1..=5, aliases("b", ADMIN), Some(Rule::AliasesDomain)),
            (1..=5, Draft::message("m.room.aliases", USER, json!({})), Some(Rule::AliasesStateKey)),
            (6..=12, aliases("b", USER), Some(Rule::EventLevel)),
            (6..=12, aliases("b", STRANGER), Some(Rule::SenderNotJoined)),
            (6..=12, aliases("b", ADMIN), None),
            (6..=12, Draft::message("m.room.aliases", USER, json!({})), None),
        ],
    );
}

#[test]
fn only_joined_users_send() {
    let send = |sender| Draft::message("m.room.message", sender, json!({}));
    let refused = Some(Rule::SenderNotJoined);
    assert_verdicts(
        Room::new,
        &[
            (ALL, send(USER), None),
            (ALL, send(GUEST), refused),
            (ALL, send(BANNED), refused),
            (ALL, send(STRANGER), refused),
        ],
    );
    assert_verdicts(|version| Room::new(version).member(USER, "leave"), &[(ALL, send(USER), refused)]);
    assert_verdicts(|version| Room::new(version).member(USER, "knock"), &[(7..=12, send(USER), refused)]);
    // No member event can have it: the state is not one that the rules made.
    assert_verdicts(
        |version| Room::new(version).member(USER, "knock"),
        &[(1..=6, send(USER), Some(Rule::MalformedState))],
    );
}

#[test]
fn a_third_party_invite_takes_the_invite_level_and_nothing_else() {
    let offer = |sender| Draft::state("m.room.third_party_invite", "token", sender, json!({}));
    let room = |level: i64| move |version| Room::new(version).level("invite", json!(level));
    assert_verdicts(room(50), &[(ALL, offer(MOD), None), (ALL, offer(USER), Some(Rule::ThirdPartyInviteLevel))]);
    // Not the level for state events, which is 50.
    assert_verdicts(room(0), &[(ALL, offer(USER), None), (ALL, offer(GUEST), Some(Rule::SenderNotJoined))]);
}

#[test]
fn sending_takes_the_required_power_level() {
    let message = |sender| Draft::message("m.room.message", sender, json!({}));
    let topic = |sender| Draft::state("m.room.topic", "", sender, json!({}));
    let refused = Some(Rule::EventLevel);
    // The defaults: 0 for messages, 50 for state.
    assert_verdicts(Room::new, &[(ALL, message(USER), None), (ALL, topic(USER), refused), (ALL, topic(MOD), None)]);
    // Also without an event: the creator has 100 (or more), everybody else 0.
    assert_verdicts(
        |version| Room::new(version).without("m.room.power_levels", ""),
        &[(ALL, message(USER), None), (ALL, topic(ADMIN), refused), (ALL, topic(CREATOR), None)],
    );
    assert_verdicts(
        |version| Room::new(version).level("events_default", json!(10)).level("state_default", json!(51)),
        &[
            (ALL, message(USER), refused),
            (ALL, message(MOD), None),
            (ALL, topic(MOD), refused),
            (ALL, topic(ADMIN), None),
        ],
    );
    let events = json!({ "m.room.message": 50, "m.room.topic": 0 });
    assert_verdicts(
        |version| Room::new(version).level("events", events.clone()),
        &[(ALL, message(USER), refused), (ALL, message(MOD), None), (ALL, topic(USER), None)],
    );
    assert_verdicts(
        |version| Room::new(version).level("users_default", json!(-1)),
        &[(ALL, message(USER), refused), (ALL, message(PEER), None)],
    );
}

#[test]
fn a_state_key_with_a_user_id_is_for_that_user() {
    let state = |key: &str| Draft::state("com.example.status", key, ADMIN, json!({}));
    let refused = Some(Rule::StateKeyOfOther);
    assert_verdicts(
        Room::new,
        &[
            (ALL, state(ADMIN), None),
            (ALL, state(MOD), refused),
            (ALL, state("@"), refused),
            (ALL, state("_@mod:a"), None),
            // Who has not the level is refused for that first.
            (ALL, Draft::state("com.example.status", MOD, USER, json!({})), Some(Rule::EventLevel)),
        ],
    );
}

#[test]
fn redactions_take_the_redact_level_or_the_same_server_in_versions_1_and_2() {
    let redaction = |sender, redacts: Option<&str>| Draft {
        redacts: redacts.map(Into::into),
        event_id: "$redaction:b".into(),
        ..Draft::message("m.room.redaction", sender, json!({}))
    };
    let refused = Some(Rule::RedactionLevel);
    assert_verdicts(
        Room::new,
        &[
            (1..=2, redaction(MOD, Some("$message:c")), None),
            (1..=2, redaction(USER, Some("$message:b")), None),
            (1..=2, redaction(USER, Some("$message:c")), refused),
            (1..=2, redaction(USER, Some("$message")), refused),
            (1..=2, redaction(USER, None), refused),
            // Two IDs without a domain have no domain in common.
            (1..=2, Draft { event_id: "$redaction".into(), ..redaction(USER, Some("$message")) }, refused),
            (3..=12, redaction(USER, Some("$message:c")), None),
            (3..=12, redaction(USER, None), None),
        ],
    );
    assert_verdicts(
        |version| Room::new(version).level("redact", json!(51)),
        &[(1..=2, redaction(MOD, Some("$message:c")), refused), (3..=12, redaction(MOD, Some("$message:c")), None)],
    );
    assert_verdicts(
        |version| Room::new(version).level("events", json!({ "m.room.redaction": 60 })),
        &[(ALL, redaction(MOD, Some("$message:b")), Some(Rule::EventLevel))],
    );
}

#[test]
fn no_state_decides_about_a_create_event() {
    let nothing = |version| Room { rules: rules(version), state: BTreeMap::new() };
    assert_verdicts(nothing, &[(ALL, Draft::state("m.room.create", "", CREATOR, json!({})), None)]);
}
