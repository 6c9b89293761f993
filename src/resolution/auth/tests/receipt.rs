//! What no state decides: the create event, and the auth events that an event names.

use serde_json::json;

use super::{
    super::{auth_types_for_event, check_auth_events, check_create},
    *,
};
use crate::resolution::reason::Reason;

fn rule(verdict: Result<(), Reason>) -> Option<Rule> {
    verdict.err().map(|reason| reason.rule())
}

#[test]
fn a_create_event_stands_alone_names_its_room_and_its_creators() {
    let create_with = |version: u8, key: &str, value: Value| {
        let draft =
            Draft { prev_events: PrevEvents::None, ..Draft::state("m.room.create", "", CREATOR, create(version)) };
        if key.is_empty() { draft } else { draft.with(key, value) }
    };
    let rows = [
        (ALL, "", json!(null), None),
        (ALL, "room_version", json!("0"), Some(Rule::CreateRoomVersion)),
        (ALL, "room_version", json!("com.example.unknown"), Some(Rule::CreateRoomVersion)),
        (ALL, "room_version", json!(1), Some(Rule::CreateRoomVersion)),
        (ALL, "room_version", json!(null), Some(Rule::CreateRoomVersion)),
        (ALL, "room_version", json!([]), Some(Rule::CreateRoomVersion)),
        (ALL, "m.federate", json!("no"), None),
        (ALL, "m.federate", json!(null), None),
        (ALL, "m.federate", json!(true), None),
        // Up to version 10 there has to be one, whatever it is.
        (ALL, "creator", json!(1), None),
        (ALL, "creator", json!(null), None),
        (ALL, "creator", json!("nobody"), None),
        (ALL, "predecessor", json!(1), None),
        (ALL, "type", json!(null), None),
        (1..=11, "additional_creators", json!("anything"), None),
        (12..=12, "additional_creators", json!([]), None),
        (12..=12, "additional_creators", json!([ADMIN, MOD]), None),
        (12..=12, "additional_creators", json!([ADMIN, "mod"]), Some(Rule::CreateAdditionalCreators)),
        (12..=12, "additional_creators", json!([1]), Some(Rule::CreateAdditionalCreators)),
        (12..=12, "additional_creators", json!(ADMIN), Some(Rule::CreateAdditionalCreators)),
        (12..=12, "additional_creators", json!(null), Some(Rule::CreateAdditionalCreators)),
    ];
    for (versions, key, value, expected) in rows {
        for version in versions {
            let event = create_with(version, key, value.clone()).build(&rules(version));
            let room_id = (version < 12).then_some("!room:a");
            assert_eq!(
                rule(check_create(&rules(version), &event, room_id)),
                expected,
                "version {version}, {key}: {value}"
            );
        }
    }

    for version in ALL {
        let verdict =
            |event: Draft, room_id| rule(check_create(&rules(version), &event.build(&rules(version)), room_id));
        let event = create_with(version, "", Value::Null);
        for prev_events in [PrevEvents::OnlyCreate, PrevEvents::Other] {
            let event = Draft { prev_events, ..event.clone() };
            assert_eq!(verdict(event, (version < 12).then_some("!room:a")), Some(Rule::CreateHasPrevEvents));
        }
        let [absent, other, own] = [None, Some("!room:b"), Some("!room:a")].map(|id| verdict(event.clone(), id));
        let expected = if version < 12 {
            [Some(Rule::CreateRoomIdDomain), Some(Rule::CreateRoomIdDomain), None]
        } else {
            [None, Some(Rule::CreateHasRoomId), Some(Rule::CreateHasRoomId)]
        };
        assert_eq!([absent, other, own], expected, "version {version}");

        let empty = Draft { content: json!({}), ..event };
        let room_id = (version < 12).then_some("!room:a");
        assert_eq!(verdict(empty, room_id), (version <= 10).then_some(Rule::CreateCreator), "version {version}");
    }
}

#[test]
fn the_selection_follows_the_type_and_the_membership() {
    const CREATE: (&str, &str) = ("m.room.create", "");
    const LEVELS: (&str, &str) = ("m.room.power_levels", "");
    const JOIN_RULES: (&str, &str) = ("m.room.join_rules", "");
    let member = |user| ("m.room.member", user);
    let invite = json!({ "signed": { "mxid": GUEST, "token": "tok", "signatures": {} } });
    let via = |draft: Draft, user: &str| draft.with("join_authorised_via_users_server", json!(user));

    let rows = [
        (Draft::message("m.room.message", USER, json!({})), vec![]),
        (Draft::state("m.room.name", "", USER, json!({})), vec![]),
        (Draft::member(USER, USER, "join"), vec![JOIN_RULES]),
        (via(Draft::member(USER, USER, "join"), MOD), vec![JOIN_RULES, member(MOD)]),
        (via(Draft::member(USER, USER, "join"), USER), vec![JOIN_RULES]),
        (via(Draft::member(MOD, USER, "leave"), ADMIN), vec![member(USER)]),
        (Draft::member(USER, GUEST, "invite"), vec![member(GUEST), JOIN_RULES]),
        (
            Draft::member(USER, GUEST, "invite").with("third_party_invite", invite.clone()),
            vec![member(GUEST), JOIN_RULES, ("m.room.third_party_invite", "tok")],
        ),
        (Draft::member(USER, USER, "leave").with("third_party_invite", invite), vec![]),
        (Draft::member(MOD, USER, "ban"), vec![member(USER)]),
    ];
    for version in ALL {
        for (event, expected) in &rows {
            let mut expected = expected.clone();
            if version < 8 {
                expected.retain(|pair| *pair != member(MOD));
            }
            expected.extend([LEVELS, member(&event.sender)]);
            expected.extend((version < 12).then_some(CREATE));
            let built = event.build(&rules(version));
            let mut selected = auth_types_for_event(
                &rules(version),
                &built.event_type,
                &built.sender,
                built.state_key.as_deref(),
                &built.content,
            );
            selected.sort_unstable();
            expected.sort_unstable();
            assert_eq!(selected.to_vec(), expected, "version {version}: {event:?}");
        }
        let create = Content::parse(&rules(version), "m.room.create", &object(&create(version)), None);
        assert!(auth_types_for_event(&rules(version), "m.room.create", CREATOR, Some(""), &create).is_empty());
    }
    let knock = Draft::member(USER, USER, "knock").build(&rules(7));
    let selected = auth_types_for_event(&rules(7), "m.room.member", USER, Some(USER), &knock.content);
    assert!(selected.contains(&JOIN_RULES));
}

#[test]
fn auth_events_are_once_each_selected_accepted_and_with_the_create_event_up_to_version_11() {
    for version in ALL {
        let room = Room::new(version);
        let of = |event_type: &str, key: &str| room.state[&(event_type.to_owned(), key.to_owned())].clone();
        let (levels, sender) = (of("m.room.power_levels", ""), of("m.room.member", USER));
        let create = of("m.room.create", "");
        let verdict = |extra: &[Draft], with_create: bool| {
            let named = with_create.then_some(&create).into_iter().chain([&levels, &sender]).chain(extra);
            let named: Vec<_> = named.map(|event| Arc::new(event.build(&room.rules))).collect();
            let event = Draft::message("m.room.message", USER, json!({})).build(&room.rules);
            rule(check_auth_events(&room.rules, &event, &named))
        };
        let before_12 = version < 12;

        assert_eq!(verdict(&[], before_12), None, "version {version}");
        let without = if before_12 { Rule::NoCreateAuthEvent } else { Rule::UnexpectedAuthEvent };
        assert_eq!(verdict(&[], !before_12), Some(without), "version {version}");

        let twice = Draft { event_id: "$other".into(), ..levels.clone() };
        assert_eq!(verdict(&[twice], before_12), Some(Rule::DuplicateAuthEvent));
        let unexpected =
            [of("m.room.join_rules", ""), of("m.room.member", MOD), Draft::message("m.room.message", USER, json!({}))];
        for event in unexpected {
            assert_eq!(verdict(&[event], before_12), Some(Rule::UnexpectedAuthEvent));
        }
    }
}

#[test]
fn a_rejected_auth_event_refuses_the_event_that_names_it() {
    for version in ALL {
        let room = Room::new(version);
        let verdict = |rejected: Option<&str>| {
            let selection = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", USER)];
            let named = selection.iter().skip(usize::from(version == 12)).map(|(event_type, key)| {
                let draft = room.state[&((*event_type).to_owned(), (*key).to_owned())].clone();
                Arc::new(Draft { rejected: rejected == Some(*event_type), ..draft }.build(&room.rules))
            });
            let event = Draft::message("m.room.message", USER, json!({})).build(&room.rules);
            rule(check_auth_events(&room.rules, &event, &named.collect::<Vec<_>>()))
        };
        assert_eq!(verdict(None), None);
        for event_type in
            ["m.room.create", "m.room.power_levels", "m.room.member"].iter().skip(usize::from(version == 12))
        {
            assert_eq!(verdict(Some(event_type)), Some(Rule::RejectedAuthEvent), "version {version}: {event_type}");
        }
    }
}

#[test]
fn an_event_without_prev_events_is_a_create_event_or_refused() {
    let room = Room::new(11);
    let named = [Arc::new(room.state[&("m.room.create".to_owned(), String::new())].build(&room.rules))];
    let event = Draft::message("m.room.message", USER, json!({}));
    assert_eq!(rule(check_auth_events(&room.rules, &event.build(&room.rules), &named)), None);
    let event = Draft { prev_events: PrevEvents::None, ..event };
    assert_eq!(rule(check_auth_events(&room.rules, &event.build(&room.rules), &named)), Some(Rule::NoPrevEvents));
    let create = Draft { prev_events: PrevEvents::None, ..Draft::state("m.room.create", "", CREATOR, create(11)) };
    assert_eq!(rule(check_auth_events(&room.rules, &create.build(&room.rules), &[])), None);
}

/// The selection is read from the content, so a refusal for an unexpected entry would name the wrong fault.
#[test]
fn malformed_content_is_refused_as_such_before_the_selection() {
    let room = Room::new(10);
    let named = [("m.room.create", ""), ("m.room.join_rules", "")]
        .map(|(event_type, key)| Arc::new(room.state[&(event_type.to_owned(), key.to_owned())].build(&room.rules)));
    let event = Draft::member(USER, USER, "joined").build(&room.rules);
    assert_eq!(rule(check_auth_events(&room.rules, &event, &named)), Some(Rule::MemberMembership));
}
