//! PDUs that are legal and that nobody expects, and those just beyond what is legal, through the whole engine: each is read
//! back and exported as canonical JSON of what came, or refused with a reason. Elsewhere such events were stored in part, or
//! hashed otherwise when they were read back.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use roomserver::{
    ErrorKind, Input, Outcome, RoomServer,
    kv::{TableId, memory::MemoryStore},
    tables::TABLES,
};
use sha2::{Digest, Sha256};

use crate::support::{rows, server};

const ALICE: &str = "@alice:a.example";
const ROOM: &str = "!odd:a.example";

/// Fields of an event beside those that every event has: as they are sent, and in canonical JSON.
type Fields<'a> = &'a [(&'a str, &'a str, &'a str)];

/// A room of one version, and what was read back of each event.
struct Site {
    server: RoomServer,
    store: Arc<MemoryStore>,
    version: &'static str,
    events: Vec<String>,
}

/// An event as it is sent, and what must be read back.
struct Made {
    sent: String,
    canonical: String,
}

impl Site {
    fn new(version: &'static str) -> Self {
        let (server, store) = server();
        let mut site = Self { server, store, version, events: Vec::new() };
        let content = format!(r#"{{"creator":"{ALICE}","room_version":"{version}"}}"#);
        for (event_type, state_key, content) in
            [("m.room.create", "", content.as_str()), ("m.room.member", ALICE, r#"{"membership":"join"}"#)]
        {
            let state_key = format!("{state_key:?}");
            let made = site.make(event_type, &[("content", content, content), ("state_key", &state_key, &state_key)]);
            site.take(&made);
        }
        site
    }

    fn references(&self, events: &[String]) -> String {
        let reference = |id: &String| if self.version == "1" { format!(r#"["{id}",{{}}]"#) } else { format!("{id:?}") };
        format!("[{}]", events.iter().map(reference).collect::<Vec<_>>().join(","))
    }

    fn make(&self, event_type: &str, fields: Fields<'_>) -> Made {
        let number = self.events.len() + 1;
        let mut sent: BTreeMap<String, String> = BTreeMap::new();
        let auth = self.events.iter().take(2).cloned().collect::<Vec<_>>();
        let last = self.events.last().cloned().into_iter().collect::<Vec<_>>();
        for (field, value) in [
            ("auth_events", self.references(&auth)),
            ("depth", number.to_string()),
            ("origin_server_ts", number.to_string()),
            ("prev_events", self.references(&last)),
            ("room_id", format!("{ROOM:?}")),
            ("sender", format!("{ALICE:?}")),
            ("type", format!("{event_type:?}")),
        ] {
            sent.insert(field.to_owned(), value);
        }
        if self.version == "1" {
            sent.insert("event_id".to_owned(), format!(r#""${number}:a.example""#));
        }
        let mut canonical = sent.clone();
        for (field, as_sent, as_canonical) in fields {
            sent.insert((*field).to_owned(), (*as_sent).to_owned());
            canonical.insert((*field).to_owned(), (*as_canonical).to_owned());
        }
        let hash = STANDARD_NO_PAD.encode(Sha256::digest(text(&canonical)));
        let signature = STANDARD_NO_PAD.encode([7; 64]);
        for fields in [&mut sent, &mut canonical] {
            fields.insert("hashes".to_owned(), format!(r#"{{"sha256":"{hash}"}}"#));
            fields.insert("signatures".to_owned(), format!(r#"{{"a.example":{{"ed25519:a":"{signature}"}}}}"#));
        }
        Made { sent: text(&sent), canonical: text(&canonical) }
    }

    fn submit(&self, made: &Made) -> Result<Outcome, roomserver::Error> {
        let mut input = Input::new(made.sent.clone().into_bytes());
        input.room_version = Some(self.version.try_into().expect("a room version"));
        self.server.submit(input)?.wait()
    }

    /// Submits an event that must be accepted and read back.
    fn take(&mut self, made: &Made) {
        let shown = &made.sent[..made.sent.len().min(300)];
        let outcome = self.submit(made).unwrap_or_else(|error| panic!("version {}: {error}: {shown}", self.version));
        let Outcome::Accepted(accepted) = outcome else { panic!("version {}: {outcome:?}: {shown}", self.version) };
        let event_id = accepted.event_id.to_string();
        let view = self.server.view();
        let room = view.room(ROOM).expect("readable").expect("here");
        let event = room.event(&event_id).expect("readable").expect("here");
        assert_eq!(event.pdu.as_deref(), Some(&*made.canonical), "version {}", self.version);
        self.events.push(event_id);
    }

    fn message(&self, sent: &str, canonical: &str) -> Made {
        self.make("m.room.message", &[("content", sent, canonical)])
    }

    /// What `export` writes, by event.
    fn exported(&self) -> BTreeMap<String, String> {
        let mut exported = BTreeMap::new();
        let view = self.server.view();
        let room = view.room(ROOM).expect("readable").expect("here");
        room.records(&mut |record| {
            exported.insert(record.event.event_id.to_string(), record.event.pdu.expect("it has a body"));
            Ok(true)
        })
        .expect("readable");
        exported
    }

    /// Everything is whole, and another store that is given the export has the same.
    fn check(&self) {
        let report = self.server.verify(&mut |problem| panic!("{problem}")).expect("readable");
        assert_eq!(report.events, self.events.len() as u64);
        let exported = self.exported();
        let (server, store) = server();
        let copy = Self { server, store, version: self.version, events: Vec::new() };
        for event_id in &self.events {
            let pdu = exported[event_id].clone();
            let outcome = copy.submit(&Made { sent: pdu.clone(), canonical: pdu }).expect("valid");
            assert!(matches!(&outcome, Outcome::Accepted(accepted) if accepted.event_id == *event_id), "{outcome:?}");
        }
        assert_eq!(copy.exported(), exported);
    }
}

fn text(fields: &BTreeMap<String, String>) -> String {
    let members: Vec<String> = fields.iter().map(|(field, value)| format!("{field:?}:{value}")).collect();
    format!("{{{}}}", members.join(","))
}

const VERSIONS: [&str; 5] = ["1", "3", "5", "6", "11"];

/// Room versions that do not enforce canonical JSON.
const LAX: [&str; 3] = ["1", "3", "5"];

/// A refusal that names what is wrong, and leaves nothing behind.
fn assert_refused(site: &Site, made: &Made, why: &str) {
    let error = site.submit(made).expect_err(why);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(why), "version {}: {error}, not: {why}", site.version);
}

#[test]
fn odd_contents_of_every_version_are_read_back_as_canonical_json() {
    let deep = format!("{}1{}", r#"{"a":["#.repeat(60), "]}".repeat(60));
    for version in VERSIONS {
        let mut site = Site::new(version);
        for (sent, canonical) in [
            // The last of duplicate keys counts, inner ones too.
            (r#"{"body":"a","body":"b","n":{"x":1,"y":2,"x":3}}"#, r#"{"body":"b","n":{"x":3,"y":2}}"#),
            (r#"{"zero":-0}"#, r#"{"zero":0}"#),
            (
                r#"{"most":9007199254740991,"least":-9007199254740991}"#,
                r#"{"least":-9007199254740991,"most":9007199254740991}"#,
            ),
            (
                r#"{"pair":"\ud834\udd1e","nul":"\u0000","tab":"\t","slash":"\/"}"#,
                "{\"nul\":\"\\u0000\",\"pair\":\"\u{1d11e}\",\"slash\":\"/\",\"tab\":\"\\t\"}",
            ),
            // Keys are sorted by code points, not by UTF-16 units.
            ("{\"\u{10000}\":1,\"\u{ffff}\":2,\"\":3}", "{\"\":3,\"\u{ffff}\":2,\"\u{10000}\":1}"),
            (&deep, &deep),
            ("{}", "{}"),
            (r#" { "a" : [ ] , "b" : null } "#, r#"{"a":[],"b":null}"#),
        ] {
            let made = site.message(sent, canonical);
            site.take(&made);
        }
        site.check();
    }
}

#[test]
fn numbers_that_canonical_json_forbids_are_kept_in_old_rooms_and_refused_in_new_ones() {
    for version in VERSIONS {
        let mut site = Site::new(version);
        for (sent, canonical) in [
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("-9007199254740992", "-9007199254740992"),
            ("1.50", "1.5"),
            ("-0.0", "-0.0"),
            ("1E16", "1e+16"),
            ("1e2", "100.0"),
        ] {
            let made = site.message(&format!(r#"{{"n":{sent}}}"#), &format!(r#"{{"n":{canonical}}}"#));
            if LAX.contains(&version) {
                site.take(&made);
            } else {
                assert_refused(&site, &made, "/content/n is not an integer within");
            }
        }
        site.check();
    }
}

#[test]
fn what_is_no_json_or_too_deep_is_refused_and_leaves_nothing_behind() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for version in VERSIONS {
        let site = Site::new(version);
        for (sent, why) in [
            (r#"{"body":"\ud834"}"#, "lone surrogate"),
            (r#"{"body":"\udd1ex"}"#, "lone surrogate"),
            (r#"{"n":01}"#, "JSON"),
            (r#"{"n":1e999}"#, "JSON"),
            (r#"{"n":NaN}"#, "JSON"),
            (&format!(r#"{{"deep":{deep}}}"#), "nested too deeply"),
        ] {
            assert_refused(&site, &site.message(sent, sent), why);
        }
        site.check();
    }
}

#[test]
fn an_event_has_65536_bytes_at_most() {
    for version in VERSIONS {
        let mut site = Site::new(version);
        let body = |length: usize| format!(r#"{{"body":"{}"}}"#, "x".repeat(length));
        let rest = site.message(&body(0), &body(0)).canonical.len();
        for (bytes, is_legal) in [(65_535, true), (65_537, false), (65_536, true)] {
            // The number of an event takes one digit here.
            let body = body(
                bytes
                    - rest
                    - (site.references(&site.events[site.events.len() - 1..]).len()
                        - site.references(&site.events[1..2]).len()),
            );
            let made = site.message(&body, &body);
            assert_eq!(made.canonical.len(), bytes);
            if is_legal {
                site.take(&made);
            } else {
                assert_refused(&site, &made, "65536");
            }
        }
        site.check();
    }
}

/// The limit is on the event in canonical form, without `unsigned`. Elsewhere legal events were refused for what came with
/// them.
#[test]
fn neither_unsigned_nor_white_space_nor_escapes_count_for_the_size() {
    for version in VERSIONS {
        let mut site = Site::new(version);
        let escaped = format!(r#"{{"body":"{}"}}"#, r"\u00e9".repeat(30_000));
        let made = site.message(&escaped, &format!(r#"{{"body":"{}"}}"#, "é".repeat(30_000)));
        assert!(made.sent.len() > 180_000);
        site.take(&made);
        let Made { sent, canonical } = site.message(r#"{"body":"a"}"#, r#"{"body":"a"}"#);
        let with = |before: &str| sent.replacen('{', before, 1);
        let unsigned = with(&format!(r#"{{"unsigned":{{"x":"{}"}},"#, "x".repeat(140_000)));
        site.take(&Made { sent: unsigned, canonical });
        let Made { sent, canonical } = site.message(r#"{"body":"b"}"#, r#"{"body":"b"}"#);
        let blank = (1 << 20) - sent.len();
        site.take(&Made { sent: format!("{}{sent}", " ".repeat(blank)), canonical });
        let Made { sent, canonical } = site.message(r#"{"body":"c"}"#, r#"{"body":"c"}"#);
        let more = Made { sent: format!("{}{sent}", " ".repeat(blank + 1)), canonical };
        assert_refused(&site, &more, "has 1048577 bytes as it was sent, at most 1048576 are read");
        let great = format!(r#"{{"body":"{}"}}"#, "x".repeat(200_000));
        assert_refused(&site, &site.message(&great, &great), "at most 65536 are allowed");
        site.check();
    }
}

#[test]
fn fields_that_nobody_knows_come_back_where_they_were() {
    for version in VERSIONS {
        let mut site = Site::new(version);
        let fields: Fields<'_> = &[
            ("content", r#"{"body":"a"}"#, r#"{"body":"a"}"#),
            ("org.example.odd", r#"{"b":[null,true,-1],"a":"\u00e9"}"#, r#"{"a":"é","b":[null,true,-1]}"#),
            ("origin", r#""elsewhere.example""#, r#""elsewhere.example""#),
            ("prev_state", r#"[["$x:y.z",{}]]"#, r#"[["$x:y.z",{}]]"#),
            ("membership", "7", "7"),
            ("age_ts", "12", "12"),
        ];
        let made = site.make("m.room.message", fields);
        site.take(&made);
        // `unsigned` is nothing that the sender signed.
        let plain = site.make("m.room.message", fields);
        let sent = plain.sent.replacen('{', r#"{"unsigned":{"age":1,"n":1},"#, 1);
        site.take(&Made { sent, canonical: plain.canonical });
        site.check();
    }
}

/// Names are never given back, so nobody may fill the store with them.
#[test]
fn a_key_id_of_more_than_64_bytes_is_kept_with_its_event() {
    for version in VERSIONS {
        let mut site = Site::new(version);
        let mut names = Vec::new();
        for length in [1, 63, 64, 65, 200, 30_000] {
            let key_id = &format!("k25519:{}", "k".repeat(length))[..length];
            let mut made = site.message(r#"{"body":"a"}"#, r#"{"body":"a"}"#);
            for text in [&mut made.sent, &mut made.canonical] {
                *text = text.replace("ed25519:a", key_id);
            }
            site.take(&made);
            if length <= 64 {
                names.push(key_id.to_owned());
            }
        }
        names.push("ed25519:a".to_owned());
        names.sort();
        let table = (0..).zip(TABLES).find(|(_, table)| table.spec.name == "key_ids").expect("it is there").0;
        let kept = rows(&*site.store, TableId(table)).into_iter();
        assert_eq!(kept.map(|(key, _)| String::from_utf8(key).expect("text")).collect::<Vec<_>>(), names);
        site.check();
    }
}
