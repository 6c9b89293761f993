//! Third-party invites, signed here with fixed keys.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

use super::*;

/// Its public key has both a `+` and a `/`, so that the alphabets differ.
const SEED: u8 = 2;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> String {
    STANDARD_NO_PAD.encode(key(seed).verifying_key().as_bytes())
}

/// Signs `mxid` and `token`, as the identity server does.
fn signature(seed: u8, mxid: &str, token: &str) -> String {
    let message = format!(r#"{{"mxid":"{mxid}","token":"{token}"}}"#);
    STANDARD_NO_PAD.encode(key(seed).sign(message.as_bytes()).to_bytes())
}

fn signed(mxid: &str, signatures: Value) -> Value {
    json!({ "mxid": mxid, "token": "tok", "signatures": signatures })
}

fn invite(signed: Value) -> Draft {
    Draft::member(MOD, STRANGER, "invite").with("third_party_invite", json!({ "display_name": "s", "signed": signed }))
}

fn sound_signatures() -> Value {
    json!({ "id.example": { "ed25519:0": signature(SEED, STRANGER, "tok") } })
}

fn sound() -> Draft {
    invite(signed(STRANGER, sound_signatures()))
}

/// A room where `MOD` has made an offer with this content.
fn room(offer: Value) -> impl Fn(u8) -> Room {
    move |version| {
        let offer = Draft::state("m.room.third_party_invite", "tok", MOD, offer.clone());
        Room::new(version).join_rule("invite").level("invite", json!(100)).set(offer)
    }
}

#[test]
fn an_offer_signed_for_the_target_needs_no_level() {
    let room = room(json!({ "public_key": public(SEED) }));
    assert_verdicts(&room, &[(ALL, sound(), None)]);
    // Nor a membership, of either.
    assert_verdicts(|version| room(version).member(MOD, "leave"), &[(ALL, sound(), None)]);
    assert_verdicts(|version| room(version).member(STRANGER, "join"), &[(ALL, sound(), None)]);
    // Without it the invite level counts.
    assert_verdicts(&room, &[(ALL, Draft::member(MOD, STRANGER, "invite"), Some(Rule::InviteLevel))]);
}

#[test]
fn an_offer_is_for_its_target_its_sender_and_its_token() {
    let room = room(json!({ "public_key": public(SEED) }));
    let to_other = Draft { state_key: Some(GUEST.into()), ..sound() };
    let by_other = Draft { sender: ADMIN.into(), ..sound() };
    let token = json!({ "mxid": STRANGER, "token": "nok", "signatures": sound_signatures() });
    assert_verdicts(
        &room,
        &[
            (ALL, to_other, Some(Rule::ThirdPartyMxid)),
            (ALL, by_other, Some(Rule::ThirdPartySender)),
            (ALL, invite(token), Some(Rule::ThirdPartyToken)),
        ],
    );
    assert_verdicts(
        |version| room(version).member(STRANGER, "ban"),
        &[(ALL, sound(), Some(Rule::ThirdPartyTargetBanned))],
    );
    let revoked = |version| room(version).without("m.room.third_party_invite", "tok");
    assert_verdicts(revoked, &[(ALL, sound(), Some(Rule::ThirdPartyToken))]);
}

#[test]
fn an_offer_without_its_signed_part_is_malformed() {
    let malformed = [
        json!(null),
        json!({}),
        json!({ "signed": null }),
        json!({ "signed": { "token": "tok", "signatures": sound_signatures() } }),
        json!({ "signed": { "mxid": STRANGER, "signatures": sound_signatures() } }),
        json!({ "signed": { "mxid": STRANGER, "token": 1, "signatures": sound_signatures() } }),
    ];
    for value in malformed {
        let event = Draft::member(MOD, STRANGER, "invite").with("third_party_invite", value.clone());
        assert_verdicts(room(json!({ "public_key": public(SEED) })), &[(ALL, event, Some(Rule::ThirdPartySigned))]);
        // No rule reads it of any other membership.
        let event = Draft::member(MOD, MOD, "join").with("third_party_invite", value);
        assert_verdicts(Room::new, &[(ALL, event, None)]);
    }
}

#[test]
fn any_signature_that_matches_any_public_key_is_enough() {
    let sound_key = json!({ "public_key": public(SEED) });
    let keys = [
        sound_key.clone(),
        json!({ "public_key": public(1), "public_keys": [{ "public_key": public(3) }, sound_key] }),
        json!({ "public_keys": [null, {}, { "public_key": 1 }, { "public_key": "???" }, sound_key] }),
        json!({ "public_key": URL_SAFE_NO_PAD.encode(key(SEED).verifying_key().as_bytes()) }),
        json!({ "public_key": STANDARD.encode(key(SEED).verifying_key().as_bytes()) }),
    ];
    for offer in keys {
        assert_verdicts(room(offer), &[(ALL, sound(), None)]);
    }
    let others = json!({
        "a.example": null,
        "b.example": { "ed25519:0": signature(1, STRANGER, "tok"), "ed25519:1": 1, "ed25519:2": "AAAA" },
        "c.example": { "ed25519:0": signature(SEED, STRANGER, "tok") },
    });
    let room = room(json!({ "public_key": public(SEED) }));
    assert_verdicts(&room, &[(ALL, invite(signed(STRANGER, others)), None)]);
    // What is neither signed nor signature is left out of the message.
    let mut with_unsigned = signed(STRANGER, sound_signatures());
    with_unsigned["unsigned"] = json!({ "age": 1 });
    assert_verdicts(&room, &[(ALL, invite(with_unsigned), None)]);
}

#[test]
fn without_a_matching_signature_an_offer_is_worth_nothing() {
    let refused = Some(Rule::ThirdPartySignature);
    let offers = [
        json!({}),
        json!({ "public_key": public(1) }),
        json!({ "public_key": "AAAA" }),
        json!({ "public_keys": { "public_key": public(SEED) } }),
        json!({ "public_keys": [public(SEED)] }),
    ];
    for offer in offers {
        assert_verdicts(room(offer), &[(ALL, sound(), refused)]);
    }
    let signatures = [
        json!(null),
        json!({}),
        json!({ "ed25519:0": signature(SEED, STRANGER, "tok") }),
        json!({ "id.example": { "rsa:0": signature(SEED, STRANGER, "tok") } }),
        json!({ "id.example": { "ed25519:0": signature(SEED, GUEST, "tok") } }),
        json!({ "id.example": { "ed25519:0": signature(SEED, STRANGER, "nok") } }),
        json!({ "id.example": { "ed25519:0": signature(1, STRANGER, "tok") } }),
    ];
    let room = room(json!({ "public_key": public(SEED) }));
    for signatures in signatures {
        assert_verdicts(&room, &[(ALL, invite(signed(STRANGER, signatures)), refused)]);
    }
    // One more property under `signed` is one that was not signed.
    let mut more = signed(STRANGER, sound_signatures());
    more["sender"] = json!(MOD);
    assert_verdicts(&room, &[(ALL, invite(more), refused)]);
}

#[test]
fn the_fixed_key_tells_the_alphabets_apart() {
    assert!(public(SEED).contains('+') && public(SEED).contains('/'), "{}", public(SEED));
}
