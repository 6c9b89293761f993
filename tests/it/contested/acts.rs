//! What people try in a contested room.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{
    plain::State,
    rooms::{ALICE, Draft, Room},
};

/// The first five are in the room from the start on.
pub const USERS: [&str; 7] = [ALICE, "@bob:two", "@carol:two", "@dan:three", "@eve:one", "@frank:three", "@grace:four"];

fn membership(room: &Room, state: &State, user: &str) -> Option<String> {
    let place = state.get(&("m.room.member".to_owned(), user.to_owned()))?;
    let content: Value = serde_json::from_str(room.plain.events[*place].pdu.content.get()).unwrap();
    content["membership"].as_str().map(str::to_owned)
}

/// An act of somebody, in a state.
pub fn draw(room: &mut Room, state: &State) -> Draft {
    let joined: Vec<&str> =
        USERS.into_iter().filter(|user| membership(room, state, user).as_deref() == Some("join")).collect();
    let random = &mut room.random;
    let sender = if joined.is_empty() || random.percent(12) {
        *random.choose(&USERS)
    } else if random.percent(35) {
        joined[0]
    } else {
        *random.choose(&joined)
    };
    let target = *random.choose(&USERS);
    match random.below(100) {
        0..14 => Draft::message(sender, "m.room.message", json!({ "body": random.below(1000) })),
        14..19 => Draft::state(sender, "m.room.topic", "", json!({ "topic": random.below(1000) })),
        19..23 => {
            let key = *random.choose(&["", "a", "b", sender, target]);
            Draft::state(sender, "org.example.thing", key, json!({ "n": random.below(9) }))
        }
        23..36 => power_levels(room, state, sender, target),
        36..46 => join(room, target),
        46..50 => Draft::member(sender, sender, "leave"),
        50..55 => Draft::member(sender, target, "invite"),
        55..58 => Draft::member(target, target, "knock"),
        58..65 => Draft::member(sender, target, "leave"),
        65..74 => Draft::member(sender, target, "ban"),
        74..82 => join_rules(room, sender),
        82..85 => Draft::state(sender, "m.room.server_acl", "", json!({ "deny": [format!("s{}", random.below(9))] })),
        85..89 => redaction(room, sender),
        89..94 => third_party(room, sender, target),
        _ => odd(room, sender, target),
    }
}

fn join(room: &mut Room, user: &str) -> Draft {
    let mut draft = Draft::member(user, user, "join");
    draft.content["displayname"] = json!(room.random.below(1000));
    if room.random.percent(30) {
        draft.content["join_authorised_via_users_server"] = json!(room.random.choose(&USERS));
    }
    draft
}

fn join_rules(room: &mut Room, sender: &str) -> Draft {
    let rules = ["public", "public", "invite", "knock", "restricted", "knock_restricted", "private"];
    let content = json!({ "join_rule": room.random.choose(&rules), "allow": [] });
    Draft::state(sender, "m.room.join_rules", "", content)
}

/// The power levels of the state with one change, often one that takes somebody's power.
fn power_levels(room: &mut Room, state: &State, sender: &str, target: &str) -> Draft {
    let current = state.get(&("m.room.power_levels".to_owned(), String::new()));
    let mut content: Value =
        current.map_or(json!({}), |place| serde_json::from_str(room.plain.events[*place].pdu.content.get()).unwrap());
    // Those of [`odd`] have a list there.
    if content["events"].is_array() {
        content["events"] = json!({});
    }
    let level = *room.random.choose(&[0, 25, 49, 50, 50, 51, 100]);
    match room.random.below(12) {
        0..=2 => content["users"][target] = json!(0),
        3..=5 => content["users"][target] = json!(level),
        6 => drop(content["users"].as_object_mut().map(|users| users.remove(target))),
        7 => content["users"][sender] = json!(level),
        8 => content["users_default"] = json!(level),
        9 => {
            content["events"][*room.random.choose(&["m.room.topic", "m.room.message", "m.room.join_rules"])] =
                json!(level);
        }
        10 => content["notifications"]["room"] = json!(level),
        _ => {
            let field = *room.random.choose(&["ban", "kick", "invite", "redact", "state_default", "events_default"]);
            content[field] = json!(level);
        }
    }
    Draft::state(sender, "m.room.power_levels", "", content)
}

fn redaction(room: &mut Room, sender: &str) -> Draft {
    let place = room.random.below(room.plain.events.len());
    let redacts = Some(room.plain.events[place].pdu.id.clone());
    Draft { redacts, ..Draft::message(sender, "m.room.redaction", json!({})) }
}

/// An offer to somebody whose user ID is not known, or the invite that follows it.
fn third_party(room: &mut Room, sender: &str, target: &str) -> Draft {
    let key = SigningKey::from_bytes(&[7; 32]);
    if room.random.percent(50) {
        let public = STANDARD_NO_PAD.encode(key.verifying_key().as_bytes());
        let content = json!({ "display_name": "x", "key_validity_url": "x", "public_key": public });
        return Draft::state(sender, "m.room.third_party_invite", "token", content);
    }
    let signed = format!(r#"{{"mxid":"{target}","token":"token"}}"#);
    let mut signature = key.sign(signed.as_bytes()).to_bytes();
    if room.random.percent(20) {
        signature[9] ^= 1;
    }
    let mut draft = Draft::member(sender, target, "invite");
    let mut signed: Value = serde_json::from_str(&signed).unwrap();
    signed["signatures"] = json!({ "four": { "ed25519:0": STANDARD_NO_PAD.encode(signature) } });
    draft.content["third_party_invite"] = json!({ "display_name": "x", "signed": signed });
    draft
}

/// What nobody should send.
fn odd(room: &mut Room, sender: &str, target: &str) -> Draft {
    // From room version 12 on a create event that names a room is malformed, and makes another room if it names none.
    let by_hash = room.rules.authorization.room_create_event_id_as_room_id;
    match room.random.below(10) {
        0 if !by_hash => {
            Draft::state(sender, "m.room.create", "", json!({ "creator": sender, "room_version": room.version }))
        }
        0 | 1 => Draft::state(sender, "m.room.create", "x", json!({ "creator": sender, "room_version": room.version })),
        2 => Draft::message(sender, "m.room.create", json!({ "creator": sender, "room_version": room.version })),
        3 => {
            let server = *room.random.choose(&["one", "two", "three"]);
            Draft::state(sender, "m.room.aliases", server, json!({ "aliases": [] }))
        }
        4 => Draft::state(sender, "m.room.member", target, json!({ "membership": "absent" })),
        5 => Draft::message(sender, "m.room.member", json!({ "membership": "join" })),
        6 => Draft::state(
            sender,
            "m.room.power_levels",
            "",
            json!({ "users": { ALICE: "100" }, "ban": null, "events": [] }),
        ),
        7 => Draft::state(sender, "m.room.power_levels", "x", json!({ "users_default": 0 })),
        8 => Draft::state(sender, "m.room.member", "nobody", json!({ "membership": "ban" })),
        _ => Draft::state(sender, "m.room.join_rules", "x", json!({ "join_rule": "invite" })),
    }
}
