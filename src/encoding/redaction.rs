//! Redaction: what of an event outlives it (specification, room versions, "Redactions").

use std::borrow::Cow;

use ruma_common::room_version_rules::RedactionRules;

use super::json::{Json, Object};

/// Strips an event of everything that redaction does not keep.
///
/// Redacting an event twice is the same as redacting it once. A content that is no object becomes an empty one.
pub fn redact(event: &mut Object, rules: &RedactionRules) {
    let event_type: Box<str> = event.get_str("type").unwrap_or_default().into();
    event.retain(|key, value| {
        if key == "content" {
            match value {
                Json::Object(content) => redact_content(content, &event_type, rules),
                other => *other = Json::Object(Object::new()),
            }
        }
        keeps_field(key, rules)
    });
}

/// Strips the content of an event of type `event_type` of everything that redaction does not keep.
pub fn redact_content(content: &mut Object, event_type: &str, rules: &RedactionRules) {
    content.retain(|key, value| {
        let replacement = match kept_content(event_type, key, value, rules) {
            None => return false,
            Some(Cow::Borrowed(_)) => None,
            Some(Cow::Owned(smaller)) => Some(smaller),
        };
        if let Some(smaller) = replacement {
            *value = smaller;
        }
        true
    });
}

/// Appends the canonical form of what [`redact_content`] leaves.
pub(super) fn write_redacted_content(content: &Object, event_type: &str, rules: &RedactionRules, out: &mut Vec<u8>) {
    content.write_kept(out, |key, value| kept_content(event_type, key, value, rules));
}

/// Tells whether redaction keeps a field of the event itself.
pub(super) fn keeps_field(key: &str, rules: &RedactionRules) -> bool {
    match key {
        "event_id" | "type" | "room_id" | "sender" | "state_key" | "content" | "hashes" | "signatures" | "depth"
        | "prev_events" | "auth_events" | "origin_server_ts" => true,
        "origin" | "membership" | "prev_state" => rules.keep_origin_membership_prev_state,
        _ => false,
    }
}

/// What redaction keeps of one member of the content: nothing, the value, or a smaller value.
fn kept_content<'a>(event_type: &str, key: &str, value: &'a Json, rules: &RedactionRules) -> Option<Cow<'a, Json>> {
    let keeps = match (event_type, key) {
        ("m.room.member", "membership") => true,
        ("m.room.member", "join_authorised_via_users_server") => {
            rules.keep_room_member_join_authorised_via_users_server
        }
        ("m.room.member", "third_party_invite") if rules.keep_room_member_third_party_invite_signed => {
            return kept_invite(value).map(Cow::Owned);
        }
        ("m.room.create", "creator") => true,
        ("m.room.create", _) => rules.keep_room_create_content,
        ("m.room.join_rules", "join_rule") => true,
        ("m.room.join_rules", "allow") => rules.keep_room_join_rules_allow,
        (
            "m.room.power_levels",
            "ban" | "events" | "events_default" | "kick" | "redact" | "state_default" | "users" | "users_default",
        ) => true,
        ("m.room.power_levels", "invite") => rules.keep_room_power_levels_invite,
        ("m.room.aliases", "aliases") => rules.keep_room_aliases_aliases,
        ("m.room.history_visibility", "history_visibility") => true,
        ("m.room.redaction", "redacts") => rules.keep_room_redaction_redacts,
        _ => false,
    };
    keeps.then_some(Cow::Borrowed(value))
}

/// "Additionally, it allows the `signed` key of the `third_party_invite` key."
///
/// The specification leaves open what becomes of the invite around it. Event IDs depend on that, so it is as in the
/// reference homeserver: an object stays, be it empty; anything else goes.
fn kept_invite(invite: &Json) -> Option<Json> {
    let invite = invite.as_object()?;
    let mut kept = Object::new();
    if let Some(signed) = invite.get("signed") {
        kept.insert("signed", signed.clone());
    }
    Some(Json::Object(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = r#"{"event_id":"e","type":"x","room_id":"r","sender":"s","state_key":"k","content":{"a":1},
        "hashes":{},"signatures":{},"depth":1,"prev_events":[],"auth_events":[],"origin_server_ts":1,"prev_state":[],
        "origin":"o","membership":"join","redacts":"$x","unsigned":{},"age_ts":1,"other":1}"#;

    const VERSIONS: [(&str, RedactionRules); 5] = [
        ("1 to 5", RedactionRules::V1),
        ("6 and 7", RedactionRules::V6),
        ("8", RedactionRules::V8),
        ("9 and 10", RedactionRules::V9),
        ("11 and 12", RedactionRules::V11),
    ];

    fn object(text: &str) -> Object {
        Json::parse(text.as_bytes()).unwrap().as_object().unwrap().clone()
    }

    fn canonical(object: &Object) -> String {
        let mut bytes = Vec::new();
        object.write_canonical(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    /// Redacts `content` in every version, in both ways, and tells the keys that stay, one string a version.
    fn kept(event_type: &str, content: &str) -> Vec<String> {
        let redacted = VERSIONS.iter().map(|(version, rules)| {
            let original = object(content);
            let mut redacted = original.clone();
            redact_content(&mut redacted, event_type, rules);
            let mut written = Vec::new();
            write_redacted_content(&original, event_type, rules, &mut written);
            assert_eq!(canonical(&redacted).as_bytes(), written, "{event_type} in version {version}");

            let mut event = object(FIELDS);
            event.insert("type", event_type.into());
            event.insert("content", Json::Object(original));
            redact(&mut event, rules);
            assert_eq!(event.get_object("content"), Some(&redacted));
            let once = event.clone();
            redact(&mut event, rules);
            assert_eq!(event, once, "redacted twice");

            redacted.iter().map(|(key, _)| key).collect::<Vec<_>>().join(" ")
        });
        redacted.collect()
    }

    #[test]
    fn the_fields_of_the_event_that_stay_are_those_of_the_specification() {
        for (version, rules) in VERSIONS {
            let mut event = object(FIELDS);
            redact(&mut event, &rules);
            let keys: Vec<_> = event.iter().map(|(key, _)| key).collect();
            let always = "auth_events content depth event_id hashes origin_server_ts prev_events room_id sender signatures state_key type";
            let mut expected: Vec<_> = always.split(' ').collect();
            if version != "11 and 12" {
                expected.extend(["membership", "origin", "prev_state"]);
                expected.sort_unstable();
            }
            assert_eq!(keys, expected, "version {version}");
            assert_eq!(event.get_object("content").map(Object::len), Some(0));
        }
    }

    #[test]
    fn of_a_member_event_the_membership_stays_and_later_more() {
        let content = r#"{"membership":"join","join_authorised_via_users_server":"@a:b","displayname":"x","reason":"y",
            "third_party_invite":{"display_name":"z","signed":{"mxid":"@a:b","signatures":{"s":{}},"token":"t"}}}"#;
        let authorised = "join_authorised_via_users_server membership";
        let all = "join_authorised_via_users_server membership third_party_invite";
        assert_eq!(kept("m.room.member", content), ["membership", "membership", "membership", authorised, all]);
    }

    #[test]
    fn of_a_third_party_invite_only_what_is_signed_stays() {
        for (invite, expected) in [
            (r#"{"display_name":"z","signed":{"a":{"b":1}}}"#, r#"{"third_party_invite":{"signed":{"a":{"b":1}}}}"#),
            (r#"{"signed":7}"#, r#"{"third_party_invite":{"signed":7}}"#),
            (r#"{"display_name":"z"}"#, r#"{"third_party_invite":{}}"#),
            ("null", "{}"),
            (r#"["signed"]"#, "{}"),
        ] {
            let mut content = object(&format!(r#"{{"third_party_invite":{invite}}}"#));
            redact_content(&mut content, "m.room.member", &RedactionRules::V11);
            assert_eq!(canonical(&content), expected);
        }
    }

    #[test]
    fn of_a_create_event_the_creator_stays_and_later_everything() {
        let content = r#"{"creator":"@a:b","room_version":"1","m.federate":false,"x":{"y":1}}"#;
        let all = "creator m.federate room_version x";
        assert_eq!(kept("m.room.create", content), ["creator", "creator", "creator", "creator", all]);
    }

    #[test]
    fn of_join_rules_the_rule_stays_and_later_whom_it_allows() {
        let with_allow = "allow join_rule";
        let expected = ["join_rule", "join_rule", with_allow, with_allow, with_allow];
        assert_eq!(kept("m.room.join_rules", r#"{"join_rule":"restricted","allow":[{"x":1}],"y":1}"#), expected);
    }

    #[test]
    fn of_power_levels_everything_but_notifications_stays_and_later_invite() {
        let content = r#"{"ban":1,"events":{"x":1},"events_default":1,"invite":1,"kick":1,"notifications":{"room":1},
            "redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1,"y":1}"#;
        let early = "ban events events_default kick redact state_default users users_default";
        let late = "ban events events_default invite kick redact state_default users users_default";
        assert_eq!(kept("m.room.power_levels", content), [early, early, early, early, late]);
    }

    #[test]
    fn of_the_other_types_that_keep_something_one_key_stays() {
        assert_eq!(kept("m.room.aliases", r##"{"aliases":["#a:b"],"x":1}"##), ["aliases", "", "", "", ""]);
        let visibility = "history_visibility";
        assert_eq!(kept("m.room.history_visibility", r#"{"history_visibility":"x","y":1}"#), [visibility; 5]);
        assert_eq!(kept("m.room.redaction", r#"{"redacts":"$x","reason":"y"}"#), ["", "", "", "", "redacts"]);
    }

    #[test]
    fn of_any_other_type_nothing_stays() {
        let content =
            r#"{"membership":"join","creator":"x","join_rule":"x","users":{},"aliases":[],"redacts":"x","body":"y"}"#;
        for event_type in ["m.room.message", "m.room.server_acl", "", "m.room.member "] {
            assert_eq!(kept(event_type, content), [""; 5]);
        }
    }

    #[test]
    fn a_content_that_is_no_object_becomes_an_empty_one() {
        let mut event = object(r#"{"type":"m.room.create","content":"x"}"#);
        redact(&mut event, &RedactionRules::V11);
        assert_eq!(canonical(&event), r#"{"content":{},"type":"m.room.create"}"#);
    }
}
