//! An export makes the room again: the same verdicts for the same reasons, the same states, the same bodies.
//!
//! Of an event there can be two copies: a full one, and one that was redacted since its content was not what was hashed. The
//! form that came first decides for ever, so an export that had only the bodies made another room of them.

use std::fmt::Write as _;

use roomserver::{Input, Kind, Outcome, RoomServer};
use ruma_common::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

use crate::{
    checks::{ADMIN, MODERATOR, Make, Scene, canonical, member, message},
    support::{feed, is_whole, open, server, verdict_word, views},
};

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    event_id: OwnedEventId,
    version: RoomVersionId,
    kind: Kind,
    state: Option<Vec<OwnedEventId>>,
    local: bool,
    pdu: String,
}

/// What `export` tells of all rooms.
fn lines(server: &RoomServer) -> Vec<Line> {
    let mut lines = Vec::new();
    for room in server.view().rooms().expect("readable") {
        let version = room.version().clone();
        room.records(&mut |record| {
            let (event_id, kind, state) = (record.event.event_id, record.kind, record.state);
            let pdu = record.event.pdu.expect("it has a body");
            lines.push(Line { event_id, version: version.clone(), kind, state, local: false, pdu });
            Ok(true)
        })
        .expect("readable");
        for parked in room.parked().expect("readable") {
            let (event_id, version) = (parked.event_id, version.clone());
            let Input { pdu, kind, state, local, .. } = parked.input;
            let pdu = String::from_utf8(pdu).expect("text");
            lines.push(Line { event_id, version, kind, state, local, pdu });
        }
    }
    lines
}

/// What is known of all rooms: heads, what is parked, and every event with its place, its verdict and the states around it.
fn known(server: &RoomServer) -> String {
    let mut known = String::new();
    for room in server.view().rooms().expect("readable") {
        let heads = (room.id(), room.counts(), room.current_summary(), room.extremities().expect("readable"));
        writeln!(known, "{heads:?}").expect("memory");
        room.history(&mut |entry| {
            let event = &entry.event;
            let (verdict, reason) = (verdict_word(&event.verdict), &event.reason);
            let place = (event.position, event.kind, event.state_supplied, verdict, reason, &event.pdu);
            let states = (entry.state_before, entry.state_after, &entry.added, &entry.removed);
            writeln!(known, "{} {place:?} {states:?}", event.event_id).expect("memory");
            Ok(true)
        })
        .expect("readable");
        for line in lines(server).iter().filter(|line| line.kind == Kind::Outlier) {
            let event = room.event(line.event_id.as_str()).expect("readable");
            let outlier = event.map(|event| (event.position, event.kind, event.reason, event.pdu));
            writeln!(known, "{} {outlier:?}", line.event_id).expect("memory");
        }
    }
    known
}

/// Holds a store against one that was given its export. An export does not tell which events were made by the server itself.
pub fn compare(server: &RoomServer, is_local: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let exported = lines(server);
    let (copy, _) = self::server();
    for line in &exported {
        let mut input = Input::new(line.pdu.clone());
        input.kind = line.kind;
        input.state.clone_from(&line.state);
        input.local = line.local || is_local(line.event_id.as_str());
        input.event_id = Some(line.event_id.to_string());
        input.room_version = Some(line.version.clone());
        let told = copy.submit(input).and_then(roomserver::Ticket::wait);
        told.map_err(|error| format!("{} as exported: {error}", line.event_id))?;
    }
    copy.settle().expect("settles");
    let difference = |what: &str, here: &str, there: &str| {
        let lines = here.lines().zip(there.lines()).find(|(here, there)| here != there);
        let (here, there) = lines.unwrap_or((here, there));
        format!("imported again, {what} differs: {here}\nand in the copy: {there}")
    };
    let (here, there) = (known(server), known(&copy));
    if here != there {
        return Err(difference("the room", &here, &there));
    }
    let [here, there] = [exported, lines(&copy)].map(|lines| format!("{lines:#?}"));
    if here == there { Ok(()) } else { Err(difference("the export", &here, &there)) }
}

fn assert_comes_again(server: &RoomServer) {
    assert!(is_whole(server));
    compare(server, &|_| false).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn an_export_of_real_rooms_makes_them_again() {
    for view in views().into_iter().filter(|view| view.name.starts_with("forks")) {
        let (server, _) = server();
        feed(&server, &view.inputs);
        compare(&server, &|_| false).unwrap_or_else(|difference| panic!("{}: {difference}", view.name));
    }
}

/// A room of version 10 in which power levels come twice: forged, so that they are redacted and lose `invite`, and in full.
struct Levels {
    scene: Scene,
    create: String,
    admin: String,
    full: Vec<u8>,
    forged: Vec<u8>,
    levels: String,
}

/// A room's create event, and its creator's join.
fn begun(scene: &mut Scene) -> (String, String) {
    let content = json!({ "creator": ADMIN, "room_version": "10" });
    let (event_type, state_key, auth) = ("m.room.create", Some(""), vec![]);
    let create = scene.accepted(&Make { sender: ADMIN, event_type, state_key, content, auth });
    let admin = scene.accepted(&member(ADMIN, ADMIN, "join", vec![&create]));
    (create, admin)
}

impl Levels {
    fn new() -> Self {
        let mut scene = Scene::new("!levels:a.example");
        let (create, admin) = begun(&mut scene);
        let content = json!({ "users": { ADMIN: 100 }, "invite": 50 });
        let (event_type, state_key, auth) = ("m.room.power_levels", Some(""), vec![create.as_str(), &admin]);
        let full =
            scene.pdu(&Make { sender: ADMIN, event_type, state_key, content, auth }, std::slice::from_ref(&admin));
        let mut forged: Value = serde_json::from_slice(&full).expect("JSON");
        forged["content"]["invite"] = 7.into();
        let forged = canonical(&forged).into_bytes();
        // Another store tells the ID.
        let mut probe = Scene::new("!levels:a.example");
        begun(&mut probe);
        let levels = probe.submit(Input::new(full.clone())).expect("well-formed").event_id().to_string();
        Self { scene, create, admin, full, forged, levels }
    }

    fn give(&self, pdu: &[u8], kind: Kind) -> Outcome {
        let mut input = Input::new(pdu);
        input.kind = kind;
        self.scene.submit(input).expect("well-formed")
    }

    fn accepted(&mut self, pdu: &[u8]) {
        let outcome = self.give(pdu, Kind::New);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        self.scene.last = Some(self.levels.clone());
    }

    /// Somebody without any power invites: allowed by the redacted levels only.
    fn invite(&mut self) -> Outcome {
        let (create, admin, levels) = (self.create.clone(), self.admin.clone(), self.levels.clone());
        let content = json!({ "join_rule": "public" });
        let (event_type, state_key, auth) = ("m.room.join_rules", Some(""), vec![create.as_str(), &admin, &levels]);
        let rules = self.scene.accepted(&Make { sender: ADMIN, event_type, state_key, content, auth });
        let bob = self.scene.accepted(&member(MODERATOR, MODERATOR, "join", vec![&create, &levels, &rules]));
        let auth = vec![create.as_str(), &levels, &rules, &bob];
        self.scene.make(&member(MODERATOR, "@guest:c.example", "invite", auth))
    }

    /// Whether the stored body is the full copy.
    fn is_full(&self) -> bool {
        let view = self.scene.server.view();
        let event = view.rooms().expect("readable")[0].event(&self.levels).expect("readable").expect("it is here");
        event.pdu.expect("it has a body").as_bytes() == self.full
    }
}

#[test]
fn a_full_copy_that_came_after_a_redacted_one_decides_nothing_in_a_store_that_is_given_the_export() {
    let mut room = Levels::new();
    room.accepted(&room.forged.clone());
    assert!(matches!(room.invite(), Outcome::Accepted(_)));
    assert_comes_again(&room.scene.server);
    assert!(!room.is_full());
    assert!(matches!(room.give(&room.full, Kind::New), Outcome::Duplicate { .. }));
    assert!(room.is_full());
    let bodies: Vec<Line> =
        lines(&room.scene.server).into_iter().filter(|line| *line.event_id == *room.levels).collect();
    assert_eq!(bodies.len(), 2);
    assert!(!bodies[0].pdu.contains("invite") && bodies[1].pdu.as_bytes() == room.full);
    assert_comes_again(&room.scene.server);
}

/// What an outlier was when others were authorised by it, it stays.
#[test]
fn an_outlier_gets_its_place_in_the_form_in_which_it_came_first() {
    for full_meanwhile in [false, true] {
        for placed_by_full in [false, true] {
            let mut room = Levels::new();
            let outcome = room.give(&room.forged, Kind::Outlier);
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
            if full_meanwhile {
                assert!(matches!(room.give(&room.full, Kind::Outlier), Outcome::Duplicate { .. }));
            }
            assert_comes_again(&room.scene.server);
            let pdu = if placed_by_full { room.full.clone() } else { room.forged.clone() };
            room.accepted(&pdu);
            assert_eq!(room.is_full(), full_meanwhile || placed_by_full);
            // What decides is read anew, from the body that was replaced.
            room.scene.reopen();
            assert!(matches!(room.invite(), Outcome::Accepted(_)));
            room.scene.reopen();
            assert!(matches!(
                room.scene.make(&message(ADMIN, vec![&room.create, &room.levels, &room.admin])),
                Outcome::Accepted(_)
            ));
            assert_comes_again(&room.scene.server);
        }
    }
}

#[test]
fn a_forged_copy_takes_nothing_from_an_outlier_that_is_here_in_full() {
    let mut room = Levels::new();
    room.give(&room.full, Kind::Outlier);
    room.accepted(&room.forged.clone());
    assert!(room.is_full());
    assert!(matches!(room.invite(), Outcome::Rejected { .. }));
    assert_comes_again(&room.scene.server);
}

/// Signatures are in no hash: of full copies that differ in them, the first stays.
#[test]
fn of_two_full_copies_the_first_stays() {
    let mut room = Levels::new();
    room.accepted(&room.forged.clone());
    room.give(&room.full, Kind::New);
    let mut signed: Value = serde_json::from_slice(&room.full).expect("JSON");
    signed["signatures"] = json!({ "elsewhere.example": { "ed25519:1": "c2ln" } });
    room.give(canonical(&signed).as_bytes(), Kind::New);
    assert!(room.is_full());
}

/// Up to room version 10 redaction takes the version from a create event: what else is known of the room says it.
#[test]
fn a_room_that_begins_with_a_redacted_create_event_comes_again() {
    for version in ["1", "3", "10", "12"] {
        let mut create = json!({
            "auth_events": [], "content": { "creator": ADMIN, "room_version": version, "forged": true }, "depth": 1,
            "hashes": { "sha256": "AAAA" }, "origin_server_ts": 1, "prev_events": [], "sender": ADMIN,
            "signatures": {}, "state_key": "", "type": "m.room.create",
        });
        match version {
            "1" => create["event_id"] = "$create:a.example".into(),
            "12" => drop(create["content"].as_object_mut().expect("an object").remove("creator")),
            _ => {}
        }
        if version != "12" {
            create["room_id"] = "!begun:a.example".into();
        }
        let (server, store) = server();
        let outcome = server.submit(Input::new(canonical(&create))).and_then(roomserver::Ticket::wait);
        assert!(matches!(outcome, Ok(Outcome::Accepted(_))), "version {version}: {outcome:?}");
        assert_comes_again(&server);
        server.close().expect("closes");
        assert_comes_again(&open(store));
    }
}
