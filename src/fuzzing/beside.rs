//! Bodies beside rows that are made up: some of the events that a body refers to are the row's, some are not.

use std::sync::LazyLock;

use ruma_common::room_version_rules::RoomVersionRules;

use super::expect::ExpectValue as _;
use crate::{
    encoding::{
        body::{self, Beside, Header, Reference, mentioned_ids, only_key},
        json::Json,
        pdu::Pdu,
    },
    ids::EventNid,
};

const NUMBER: u32 = 1000;

/// As long as a user ID may be: a body has a byte for it.
static LONG_SENDER: LazyLock<String> = LazyLock::new(|| format!("@{}:a.example", "x".repeat(244)));

/// Which of the events that an event names its row has.
#[derive(Clone, Copy)]
pub(super) enum Has {
    All,
    /// Every second.
    Half,
    /// Only the second.
    One,
}

/// A PDU comes back from its body.
pub(super) fn round_trip(rules: &RoomVersionRules, pdu: &Pdu, has: Has) {
    written(rules, pdu, has, |nid, header, beside| {
        let write = |recomputes| body::encode(nid, pdu.object(), recomputes, header, beside);
        let comes_back = |bytes: &Vec<u8>| body::decode(nid, bytes, beside).as_deref() == Ok(pdu.canonical_bytes());
        // Spelled otherwise, a right content hash cannot be left out: whoever writes finds out by comparing.
        let bytes = [!pdu.is_redacted(), false].into_iter().filter_map(write).find(comes_back);
        let bytes = bytes.expect_value("an event has no structured body");
        assert_eq!(body::header(nid, &bytes).as_ref().map(|read| &read.mentions), Ok(&header.mentions));
        let essence = body::essence(nid, &bytes, beside).ok().expect_value("a body has no essence");
        assert_eq!(&essence.content, pdu.content());
    });
}

/// Shows what a PDU is written beside.
fn written(rules: &RoomVersionRules, pdu: &Pdu, has: Has, show: impl FnOnce(EventNid, &Header, &Beside<'_>)) {
    let nid = EventNid::new(NUMBER).expect_value("a number");
    let is_known = |place: usize| match has {
        Has::All => true,
        Has::Half => place % 2 == 1,
        Has::One => place == 1,
    };
    let prev = pdu.prev_events().iter().zip(pdu.prev_keys()).enumerate();
    let prev: Vec<_> = prev
        .map(|(place, (event_id, key))| is_known(place).then_some(Reference { event_id, hash: key.as_bytes() }))
        .collect();
    let auth = pdu.auth_events().iter().zip(pdu.auth_keys()).enumerate().filter(|(place, _)| is_known(*place));
    let auth: Vec<_> = auth.map(|(_, (event_id, key))| Reference { event_id, hash: key.as_bytes() }).collect();
    let named = mentioned_ids(pdu.object(), rules.event_id_format);
    let mentions: Vec<&str> =
        named.iter().enumerate().filter(|(place, _)| is_known(*place)).map(|(_, named)| named.1).collect();
    let server = pdu.sender().split_once(':').map_or("", |(_, server)| server);
    let key_id = only_key(pdu.object(), server).map(|(key_id, _)| key_id);
    let header = Header { mentions: mentions.iter().map(|_| nid).collect(), key_id: key_id.map(|_| 300) };
    let beside = Beside {
        prev_events: &prev,
        auth_events: &auth,
        mentions: &mentions,
        key_id,
        ..Beside::of(pdu, rules.event_id_format)
    };
    show(nid, &header, &beside);
}

/// The bytes and the row of a body from anywhere.
pub(super) fn open(rules: &RoomVersionRules, bytes: &[u8], has: Has) -> bool {
    const IDS: [&str; 2] =
        ["$-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s", "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];
    let nid = EventNid::new(NUMBER).expect_value("a number");
    let [first, second] = IDS.map(|event_id| Reference { event_id, hash: &[0xfb; 32] });
    let beside = Beside {
        format: rules.event_id_format,
        room_id: "!room:a.example",
        event_id: IDS[0],
        event_type: "m.room.message",
        state_key: None,
        sender: if matches!(has, Has::One) { &LONG_SENDER } else { "@alice:a.example" },
        origin_server_ts: 1_700_000_000_000,
        depth: 12,
        prev_events: &[Some(first), None],
        auth_events: &[first, second],
        mentions: &IDS,
        key_id: Some("ed25519:1"),
    };
    let (read, essence) = (body::decode(nid, bytes, &beside), body::essence(nid, bytes, &beside));
    let _ = body::header(nid, bytes);
    let Ok(read) = read else { return false };
    let Ok(json) = Json::parse(&read) else {
        assert_eq!(bytes.first(), Some(&1), "a structured body gives something else than JSON");
        return false;
    };
    let Ok(pdu) = Pdu::parse(json, rules) else { return true };
    if bytes.first() == Some(&2) && !pdu.is_redacted() {
        assert_eq!(pdu.canonical_bytes(), read, "a structured body gives what is not canonical");
    }
    assert!(essence.is_ok(), "a body is read in full but not in part");
    round_trip(rules, &pdu, has);
    true
}
