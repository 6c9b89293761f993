//! What the parser takes for a level, and how compactly it keeps levels.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ruma_common::RoomVersionId;
use serde_json::{Value, json};

use super::*;

fn rules(version: u8) -> RoomVersionRules {
    RoomVersionId::try_from(version.to_string()).unwrap().rules().unwrap()
}

fn parse(version: u8, event_type: &str, content: &str) -> Content {
    match Json::parse(content.as_bytes()).unwrap() {
        Json::Object(content) => Content::parse(&rules(version), event_type, &content, Some("$top")),
        other => panic!("not an object: {other:?}"),
    }
}

fn power_levels(version: u8, content: &Value) -> PowerLevels {
    match parse(version, types::POWER_LEVELS, &content.to_string()) {
        Content::PowerLevels(levels) => *levels,
        other => panic!("{content}: {other:?}"),
    }
}

/// What a level of this JSON text counts as.
fn level(version: u8, text: &str) -> Option<i64> {
    match parse(version, types::POWER_LEVELS, &format!(r#"{{"ban":{text}}}"#)) {
        Content::PowerLevels(levels) => {
            assert!(version < 10 || levels.field(Field::Ban).is_some());
            levels.field(Field::Ban)
        }
        Content::Malformed(reason) => {
            assert!(version >= 10);
            assert_eq!(reason.rule(), Rule::PowerLevelsMalformed);
            None
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn levels_are_integers_and_up_to_version_9_strings_and_up_to_version_5_floats() {
    let strings = [
        (r#""100""#, Some(100)),
        (r#""000100""#, Some(100)),
        (r#""+100""#, Some(100)),
        (r#""-100""#, Some(-100)),
        (r#""  00100\t\n""#, Some(100)),
        (r#"" -100 ""#, Some(-100)),
        (r#""99999999999999999999""#, Some(i64::MAX)),
        (r#""-99999999999999999999""#, Some(i64::MIN)),
        (r#""""#, None),
        (r#"" ""#, None),
        (r#""+""#, None),
        (r#""++1""#, None),
        (r#""- 1""#, None),
        (r#""1_000""#, None),
        (r#""1.0""#, None),
        (r#""1e2""#, None),
        (r#""0x10""#, None),
        (r#""١""#, None),
    ];
    for (text, expected) in strings {
        for version in 1..=12 {
            assert_eq!(level(version, text), expected.filter(|_| version < 10), "version {version}: {text}");
        }
    }
    let floats = [
        ("51146.98", Some(51146)),
        ("5.114698E4", Some(51146)),
        ("-50.57", Some(-50)),
        ("-0.9", Some(0)),
        ("1e-5", Some(0)),
        ("1e2", Some(100)),
        ("1e300", Some(i64::MAX)),
        ("-1e300", Some(i64::MIN)),
        ("99999999999999999999", Some(i64::MAX)),
        ("-99999999999999999999", Some(i64::MIN)),
    ];
    for (text, expected) in floats {
        for version in 1..=12 {
            assert_eq!(level(version, text), expected.filter(|_| version < 6), "version {version}: {text}");
        }
    }
    for version in 1..=12 {
        for (text, expected) in [("0", 0), ("-1", -1), ("9007199254740991", 9_007_199_254_740_991)] {
            assert_eq!(level(version, text), Some(expected));
        }
        for text in ["null", "true", "[]", "{}", r#"["1"]"#] {
            assert_eq!(level(version, text), None, "version {version}: {text}");
        }
    }
}

/// The parser of JSON refuses the text of such a number before it could get here; `Json::Number` can still hold it.
#[test]
fn a_number_beyond_a_double_is_no_level() {
    for text in ["1e309", "-1e309", "inf", "NaN", ""] {
        let number = Object::from(vec![("@a:b".into(), Json::Number(text.into()))]);
        let content = Object::from(vec![("users".into(), Json::Object(number))]);
        let parsed = Content::parse(&rules(1), types::POWER_LEVELS, &content, None);
        assert!(matches!(parsed, Content::Malformed(_)), "{text}: {parsed:?}");
    }
}

#[test]
fn a_redaction_names_its_target_at_the_top_level_up_to_version_10_and_in_the_content_after() {
    for version in 1..=12 {
        let target = |content| match parse(version, types::REDACTION, content) {
            Content::Redaction { redacts } => redacts,
            other => panic!("{other:?}"),
        };
        let in_content = target(r#"{"redacts":"$content"}"#);
        assert_eq!(in_content.as_deref(), Some(if version <= 10 { "$top" } else { "$content" }), "version {version}");
        assert_eq!(target("{}").as_deref(), (version <= 10).then_some("$top"));
    }
}

#[test]
fn an_event_that_no_rule_reads_may_hold_anything() {
    for event_type in ["m.room.message", "m.room.aliases", "m.room.name", "com.example"] {
        assert_eq!(parse(12, event_type, r#"{"membership":1,"users":1,"creator":null}"#), Content::Other);
    }
}

#[test]
fn a_thousand_users_take_less_than_fifty_bytes_each() {
    let users: BTreeMap<_, _> = (0..1000).map(|number| (format!("@user{number}:example.org"), number)).collect();
    let content = parse(12, types::POWER_LEVELS, &json!({ "users": users }).to_string());
    assert!((30_000..50_000).contains(&content.approx_bytes()), "{}", content.approx_bytes());
    assert!(size_of::<Content>() <= 32, "{}", size_of::<Content>());
}

#[test]
fn what_content_holds_on_the_heap_is_counted() {
    let bare = size_of::<Content>();
    assert_eq!(parse(1, "m.room.name", "{}").approx_bytes(), bare);
    assert_eq!(parse(1, types::JOIN_RULES, r#"{"join_rule":"public"}"#).approx_bytes(), bare);
    assert_eq!(parse(1, types::REDACTION, "{}").approx_bytes(), bare + "$top".len());
    assert_eq!(parse(1, types::MEMBER, r#"{"membership":"join"}"#).approx_bytes(), bare);
    let via = r#"{"join_authorised_via_users_server":"@a:b","membership":"join"}"#;
    assert_eq!(parse(8, types::MEMBER, via).approx_bytes(), bare + "@a:b".len());
    let creator = parse(1, types::CREATE, r#"{"creator":"@a:b"}"#).approx_bytes();
    assert_eq!(creator, bare + size_of::<Create>() + "@a:b".len());
}

proptest! {
    #[test]
    fn levels_answer_as_a_map_does(
        old in prop::collection::btree_map("[a-c]{0,2}", -2_i64..2, 0..6),
        new in prop::collection::btree_map("[a-c]{0,2}", -2_i64..2, 0..6),
    ) {
        let parsed = |map: &BTreeMap<String, i64>| power_levels(10, &json!({ "events": map })).events;
        let (old_levels, new_levels) = (parsed(&old), parsed(&new));
        let entries: Vec<_> = old.iter().map(|(name, level)| (&**name, *level)).collect();
        prop_assert_eq!(old_levels.iter().collect::<Vec<_>>(), entries);
        prop_assert_eq!((old_levels.len(), old_levels.is_empty()), (old.len(), old.is_empty()));

        let mut names: Vec<_> = old.keys().chain(new.keys()).map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names.iter().copied().chain(["zz", ""]) {
            prop_assert_eq!(old_levels.get(name), old.get(name).copied());
        }
        let changes: Vec<_> = names
            .into_iter()
            .map(|name| (name, old.get(name).copied(), new.get(name).copied()))
            .filter(|(_, old, new)| old != new)
            .collect();
        prop_assert_eq!(old_levels.changes(&new_levels).collect::<Vec<_>>(), changes);
    }
}
