//! The rules for `m.room.power_levels`, and who has how much power.

use serde_json::json;

use super::{
    super::{Power, is_creator, user_power_level},
    *,
};

/// A row of (versions, sender, property, new value, the rule that must refuse the change).
type Change<'a> = (RangeInclusive<u8>, &'a str, &'a str, Value, Option<Rule>);

#[track_caller]
fn assert_changes(room: impl Fn(u8) -> Room, rows: &[Change<'_>]) {
    for (versions, sender, key, value, rule) in rows {
        for version in versions.clone() {
            let room = room(version);
            let event = room.change(sender, key, value.clone());
            assert_eq!(room.refuses(&event), *rule, "version {version}: {sender} sets {key} to {value}");
        }
    }
}

#[test]
fn the_first_power_levels_are_free() {
    let first = Draft::state("m.room.power_levels", "", CREATOR, json!({ "users": { ADMIN: 1000 }, "ban": 1000 }));
    assert_verdicts(|version| Room::new(version).without("m.room.power_levels", ""), &[(ALL, first.clone(), None)]);
    // With others before them, the creator has what they say: no level.
    assert_verdicts(Room::new, &[(1..=11, first.clone(), Some(Rule::EventLevel)), (12..=12, first, None)]);
}

#[test]
fn a_level_changes_only_within_the_senders_own() {
    for field in ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"] {
        let refused = Some(Rule::PowerLevelsField);
        assert_changes(
            |version| Room::new(version).level(field, json!(50)),
            &[
                (ALL, MOD, field, json!(50), None),
                (ALL, MOD, field, json!(49), None),
                (ALL, MOD, field, json!(51), refused),
                (ALL, ADMIN, field, json!(51), None),
            ],
        );
        // One above the sender's does not change, not even downwards; one that does not change may be anything.
        assert_changes(
            |version| Room::new(version).level(field, json!(51)).level("events", json!({ "m.room.power_levels": 50 })),
            &[
                (ALL, MOD, field, json!(50), refused),
                (ALL, MOD, field, Value::Null, refused),
                (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50, PEER: 50, USER: 1 }), None),
                (ALL, ADMIN, field, json!(50), None),
            ],
        );
    }
}

/// "Power levels are inferred from defaults when not explicitly supplied."
#[test]
fn an_absent_level_counts_as_its_default_when_it_is_added_or_removed() {
    let refused = Some(Rule::PowerLevelsField);
    let low =
        |version| Room::new(version).level("state_default", json!(0)).level("users", json!({ ADMIN: 100, MOD: 40 }));
    assert_changes(
        low,
        &[
            (ALL, MOD, "ban", json!(30), refused),
            (ALL, MOD, "invite", json!(30), None),
            (ALL, MOD, "invite", json!(41), refused),
            (ALL, ADMIN, "ban", json!(30), None),
        ],
    );
    let with_ban = |version| low(version).level("ban", json!(30));
    assert_changes(with_ban, &[(ALL, MOD, "ban", Value::Null, refused), (ALL, ADMIN, "ban", Value::Null, None)]);
    let with_invite = |version| low(version).level("invite", json!(30));
    assert_changes(with_invite, &[(ALL, MOD, "invite", Value::Null, None)]);
}

#[test]
fn entries_of_events_and_since_version_6_of_notifications_change_only_within_the_senders_level() {
    for (property, rule, versions) in
        [("events", Rule::PowerLevelsEvents, ALL), ("notifications", Rule::PowerLevelsNotifications, 6..=12)]
    {
        let room = |version| Room::new(version).level(property, json!({ "low": 10, "own": 50, "high": 51 }));
        let refused = Some(rule);
        let rows = [
            (MOD, json!({ "low": 50, "own": 50, "high": 51 }), None),
            (MOD, json!({ "own": 50, "high": 51 }), None),
            (MOD, json!({ "low": 10, "own": 40, "high": 51 }), None),
            (MOD, json!({ "low": 10, "own": 50, "high": 51, "new": 50 }), None),
            (MOD, json!({ "low": 51, "own": 50, "high": 51 }), refused),
            (MOD, json!({ "low": 10, "own": 50, "high": 50 }), refused),
            (MOD, json!({ "low": 10, "own": 50 }), refused),
            (MOD, json!({ "low": 10, "own": 50, "high": 51, "new": 51 }), refused),
            (MOD, Value::Null, refused),
            (ADMIN, Value::Null, None),
        ];
        for (sender, value, verdict) in rows {
            assert_changes(room, &[(versions.clone(), sender, property, value.clone(), verdict)]);
            if property == "notifications" {
                assert_changes(room, &[(1..=5, sender, property, value, None)]);
            }
        }
    }
}

#[test]
fn a_user_of_the_senders_own_level_is_out_of_reach_but_for_oneself() {
    let refused = Some(Rule::PowerLevelsUsers);
    assert_changes(
        Room::new,
        &[
            // An equal: neither lowered, nor raised, nor removed.
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50, PEER: 49 }), refused),
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50 }), refused),
            (ALL, MOD, "users", json!({ ADMIN: 99, MOD: 50, PEER: 50 }), refused),
            (ALL, MOD, "users", json!({ MOD: 50, PEER: 50 }), refused),
            (ALL, ADMIN, "users", json!({ ADMIN: 100, MOD: 50 }), None),
            // Oneself: down and out, but not up.
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 49, PEER: 50 }), None),
            (ALL, MOD, "users", json!({ ADMIN: 100, PEER: 50 }), None),
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 51, PEER: 50 }), refused),
            // Others: up to one's own level.
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50, PEER: 50, USER: 50 }), None),
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50, PEER: 50, USER: 51 }), refused),
            (ALL, MOD, "users", Value::Null, refused),
        ],
    );
    let with_user = |version| Room::new(version).level("users", json!({ ADMIN: 100, MOD: 50, USER: 49 }));
    assert_changes(
        with_user,
        &[
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50 }), None),
            (ALL, MOD, "users", json!({ ADMIN: 100, MOD: 50, USER: 0 }), None),
        ],
    );
}

#[test]
fn creators_are_not_named_among_the_users_since_version_12() {
    let room = |version| {
        let create = Draft::state("m.room.create", "", CREATOR, create(version));
        Room::new(version).set(create.with("additional_creators", json!([PEER]))).level("users", json!({ ADMIN: 100 }))
    };
    let refused = Some(Rule::PowerLevelsCreator);
    for user in [CREATOR, PEER] {
        let rows = [
            (1..=11, ADMIN, "users", json!({ ADMIN: 100, user: 0 }), None),
            (12..=12, ADMIN, "users", json!({ ADMIN: 100, user: 0 }), refused),
            (12..=12, CREATOR, "users", json!({ ADMIN: 100, user: 0 }), refused),
        ];
        assert_changes(room, &rows);
        // The first power levels too.
        let first = Draft::state("m.room.power_levels", "", CREATOR, json!({ "users": { user: 0 } }));
        let rows = [(1..=11, first.clone(), None), (12..=12, first, refused)];
        assert_verdicts(|version| room(version).without("m.room.power_levels", ""), &rows);
    }
    assert_changes(room, &[(ALL, ADMIN, "users", json!({ ADMIN: 100, MOD: 50 }), None)]);
}

/// What is no level: in every version, and in an `m.room.power_levels` event of every property.
fn no_levels() -> [Value; 8] {
    let text = [json!("many"), json!(""), json!("1.5")];
    let [many, empty, float] = text;
    [json!(null), json!(true), json!([50]), json!({}), json!({ "a": 1 }), many, empty, float]
}

/// The first power levels of a room are under no other rule than that they are well-formed.
fn assert_first(versions: RangeInclusive<u8>, content: Value, rule: Option<Rule>) {
    let first = Draft::state("m.room.power_levels", "", CREATOR, content);
    assert_verdicts(|version| Room::new(version).without("m.room.power_levels", ""), &[(versions, first, rule)]);
}

/// Elsewhere all of a room was lost whose first power levels had a `null`, as clients sent them for a while.
#[test]
fn malformed_levels_are_refused_from_version_10_on_and_malformed_users_always() {
    let refused = Some(Rule::PowerLevelsMalformed);
    for value in no_levels() {
        for field in ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"] {
            assert_first(1..=9, json!({ field: value }), None);
            assert_first(10..=12, json!({ field: value }), refused);
        }
        for map in ["events", "notifications"] {
            assert_first(1..=9, json!({ map: { "name": value, "other": 1 } }), None);
            assert_first(10..=12, json!({ map: { "name": value, "other": 1 } }), refused);
            if !value.is_object() {
                assert_first(1..=9, json!({ map: value }), None);
                assert_first(10..=12, json!({ map: value }), refused);
            }
        }
        assert_first(ALL, json!({ "users": { USER: value } }), refused);
        if value != json!({}) {
            assert_first(ALL, json!({ "users": value }), refused);
        }
        // What no rule reads may be anything.
        assert_first(ALL, json!({ "historical": value }), None);
    }
}

/// The same in the state by which others are judged: there the level is the default one.
#[test]
fn a_malformed_level_of_the_state_counts_as_absent_up_to_version_9() {
    let invite = Draft::member(USER, STRANGER, "invite");
    let message = Draft::message("m.room.message", USER, json!({}));
    let topic = |sender| Draft::state("m.room.topic", "", sender, json!({}));
    for value in no_levels() {
        for (field, event, rule) in [
            ("users_default", message.clone(), None),
            ("events_default", message.clone(), None),
            ("state_default", topic(MOD), None),
            ("state_default", topic(USER), Some(Rule::EventLevel)),
            ("ban", Draft::member(MOD, USER, "ban"), None),
            ("ban", Draft::member(USER, STRANGER, "ban"), Some(Rule::BanLevel)),
            ("kick", Draft::member(MOD, USER, "leave"), None),
            ("kick", Draft::member(USER, GUEST, "leave"), Some(Rule::KickLevel)),
            ("invite", invite.clone(), None),
            ("events", message.clone(), None),
            ("events", topic(USER), Some(Rule::EventLevel)),
        ] {
            if !(field == "events" && value.is_object()) {
                assert_verdicts(|version| Room::new(version).level(field, value.clone()), &[(1..=9, event, rule)]);
            }
        }
        let events = json!({ "m.room.message": value, "m.room.topic": value });
        let rows = [(1..=9, message.clone(), None), (1..=9, topic(USER), Some(Rule::EventLevel))];
        assert_verdicts(|version| Room::new(version).level("events", events.clone()), &rows);
        // A redaction of another server's event takes the default level.
        let redaction = |sender| Draft {
            redacts: Some("$message:c".into()),
            event_id: "$redaction:b".into(),
            ..Draft::message("m.room.redaction", sender, json!({}))
        };
        let rows = [(1..=2, redaction(MOD), None), (1..=2, redaction(USER), Some(Rule::RedactionLevel))];
        assert_verdicts(|version| Room::new(version).level("redact", value.clone()), &rows);
    }
}

/// Whoever changes the levels: what is malformed, in the old ones or in the new ones, is compared as if it were absent.
#[test]
fn a_malformed_level_is_compared_as_an_absent_one_up_to_version_9() {
    let refused = Some(Rule::PowerLevelsField);
    for value in no_levels() {
        let low = |version| {
            let users = json!({ ADMIN: 100, MOD: 40 });
            Room::new(version).level("state_default", json!(0)).level("users", users)
        };
        // From malformed to absent nothing changes; to another level, the default one is the old one.
        let malformed = |version| low(version).level("ban", value.clone());
        let rows = [
            (1..=9, MOD, "ban", Value::Null, None),
            (1..=9, MOD, "ban", json!([]), None),
            (1..=9, MOD, "ban", json!(30), refused),
            (1..=9, ADMIN, "ban", json!(30), None),
        ];
        assert_changes(malformed, &rows);
        let rows = [
            (1..=9, MOD, "ban", value.clone(), None),
            (1..=9, MOD, "invite", value.clone(), None),
            (1..=9, MOD, "events_default", value.clone(), None),
        ];
        assert_changes(low, &rows);
        // From a level to malformed is its removal: 50 counts from then on.
        let with_ban = |version| low(version).level("ban", json!(30));
        assert_changes(
            with_ban,
            &[(1..=9, MOD, "ban", value.clone(), refused), (1..=9, ADMIN, "ban", value.clone(), None)],
        );

        for (property, rule, versions) in
            [("events", Rule::PowerLevelsEvents, 1..=9), ("notifications", Rule::PowerLevelsNotifications, 6..=9)]
        {
            let room = |version| low(version).level(property, json!({ "high": 60, "low": 10 }));
            let rows = [
                (versions.clone(), MOD, property, json!({ "high": value, "low": 10 }), Some(rule)),
                (versions.clone(), MOD, property, json!({ "high": 60, "low": value }), None),
                (versions.clone(), MOD, property, json!({ "high": 60, "low": 10, "new": value }), None),
                (versions.clone(), ADMIN, property, json!({ "high": value, "low": 10 }), None),
            ];
            assert_changes(room, &rows);
            let malformed = |version| low(version).level(property, json!({ "name": value }));
            let rows = [
                (versions.clone(), MOD, property, json!({ "name": 40 }), None),
                (versions.clone(), MOD, property, json!({}), None),
                (versions.clone(), MOD, property, json!({ "name": 41 }), Some(rule)),
            ];
            assert_changes(malformed, &rows);
            if !value.is_object() {
                assert_changes(room, &[(versions, MOD, property, value.clone(), Some(rule))]);
            }
        }
    }
}

#[test]
fn malformed_power_levels_are_refused_even_as_the_first() {
    let refused = Some(Rule::PowerLevelsMalformed);
    let rows = [
        (ALL, json!({ "users": { "admin": 100 } }), refused),
        (ALL, json!({ "users": { "@admin:": 100 } }), refused),
        (1..=9, json!({ "ban": "50", "users": { ADMIN: " +0100 " }, "events": { "m.room.name": "-1" } }), None),
        (10..=12, json!({ "ban": "50" }), refused),
        (10..=12, json!({ "users": { ADMIN: "100" } }), refused),
        (10..=12, json!({ "events": { "m.room.name": "1" } }), refused),
        (1..=5, json!({ "ban": 50.7 }), None),
        (6..=9, json!({ "users": { ADMIN: 50.7 } }), refused),
        (10..=12, json!({ "ban": 50.7 }), refused),
        (ALL, json!({ "notifications": { "room": 20 } }), None),
    ];
    let rows = rows
        .map(|(versions, content, rule)| (versions, Draft::state("m.room.power_levels", "", CREATOR, content), rule));
    assert_verdicts(|version| Room::new(version).without("m.room.power_levels", ""), &rows);
}

#[test]
fn power_follows_the_levels_and_the_creators() {
    for version in ALL {
        let room = Room::new(version);
        let create = Draft::state("m.room.create", "", CREATOR, create(version));
        let create = create.with("additional_creators", json!([PEER])).build(&room.rules);
        let levels = json!({ "users": { ADMIN: 100, CREATOR: 10 }, "users_default": 5 });
        let levels = Draft::state("m.room.power_levels", "", CREATOR, levels).build(&room.rules);
        let with = |user| user_power_level(&room.rules, user, Some(&levels), &create).unwrap();
        let without = |user| user_power_level(&room.rules, user, None, &create).unwrap();

        assert_eq!((with(ADMIN), with(USER)), (Power::Level(100), Power::Level(5)));
        assert_eq!((without(ADMIN), without(USER)), (Power::Level(0), Power::Level(0)));
        let is_privileged = version == 12;
        let creator = if is_privileged { [Power::Infinite; 2] } else { [Power::Level(10), Power::Level(100)] };
        assert_eq!([with(CREATOR), without(CREATOR)], creator, "version {version}");
        let peer = if is_privileged { [Power::Infinite; 2] } else { [Power::Level(5), Power::Level(0)] };
        assert_eq!([with(PEER), without(PEER)], peer, "version {version}");

        assert!(is_creator(&room.rules, CREATOR, &create).unwrap());
        assert_eq!(is_creator(&room.rules, PEER, &create).unwrap(), is_privileged);
        assert!(!is_creator(&room.rules, ADMIN, &create).unwrap());
    }
    assert!(Power::Infinite > i64::MAX && Power::Infinite == Power::Infinite);
    assert!(Power::Level(i64::MAX) < Power::Infinite);
}
