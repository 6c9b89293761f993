//! The seeds in `fuzz/seeds` are golden bytes too: the encoders write them, and a change of format shows as a change there.
//!
//! `ROOMSERVER_WRITE_SEEDS=1 cargo test fuzzing` writes them anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use smallvec::smallvec;

use super::*;
use crate::encoding::{
    block::{BlockHash, Entry},
    body,
    event_row::{Kind, Name, Refusal, Remains, States, Verdict},
    fingerprint::Fingerprint,
    head::{Collected, Counts, Current, Merge},
    list::{BlockNid, Fence, List},
    pack::{LogRow, Pack, RowRef, Seal},
};
use crate::tables::parked::{Role, Want};

/// Door and file name -> bytes.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn every_door_has_a_target_and_every_target_a_door() {
    let doors: BTreeSet<String> = DOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = fs::read_dir(root().join("fuzz_targets")).unwrap();
    let targets = files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(doors, targets);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for door in doors {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{door}.rs\"")), "fuzz/Cargo.toml lacks {door}");
        let target = fs::read_to_string(root().join(format!("fuzz_targets/{door}.rs"))).unwrap();
        assert!(target.contains(&format!("fuzzing::{door},")), "fuzz_targets/{door}.rs opens another door");
    }
}

#[test]
fn the_seeds_are_what_the_encoders_write() {
    let expected = seeds();
    let folder = root().join("seeds");
    if std::env::var_os("ROOMSERVER_WRITE_SEEDS").is_some() {
        for ((door, name), bytes) in &expected {
            fs::create_dir_all(folder.join(door)).unwrap();
            fs::write(folder.join(door).join(name), bytes).unwrap();
        }
    }
    let mut found = Seeds::new();
    for (door, _) in DOORS {
        for file in fs::read_dir(folder.join(door)).unwrap_or_else(|_| panic!("no seeds for {door}")) {
            let file = file.unwrap();
            found.insert((door, file.file_name().into_string().unwrap()), fs::read(file.path()).unwrap());
        }
    }
    let names = |seeds: &Seeds| seeds.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for (name, bytes) in expected {
        assert_eq!(found.get(&name), Some(&bytes), "{name:?}");
    }
}

#[test]
fn every_seed_is_a_value_and_its_cuts_and_flips_do_no_harm() {
    for ((door, name), bytes) in seeds() {
        let (_, open) = DOORS.iter().find(|(other, _)| *other == door).unwrap();
        assert!(open(&bytes), "{door}/{name} is refused");
        for place in 0..bytes.len() {
            open(&bytes[..place]);
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            open(&flipped);
        }
    }
}

/// A table in a copy of a memory store.
fn table(name: &[u8], rows: &[(&[u8], &[u8])]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut table = [&len(name)[..], name, &(rows.len() as u64).to_le_bytes()].concat();
    for (key, value) in rows {
        table.extend([&len(key)[..], &len(value), key, value].concat());
    }
    table
}

fn parked() -> ParkedRow {
    let want = |event_id: &str, role| Want { event_id: event_id.to_owned(), role };
    ParkedRow {
        order: 300,
        parked_at: 70_000,
        kind: 2,
        local: false,
        origin: Some("b.example".to_owned()),
        state: Some(["$a", "$b"].map(String::from).to_vec()),
        pdu: b"{}".to_vec(),
        missing: vec![want("$a", Role::State), want("$c", Role::Prev), want("$d", Role::Auth)],
        failed: None,
    }
}

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut put = |door, name: &str, bytes| assert!(seeds.insert((door, name.to_owned()), bytes).is_none());
    put("block", "removals", block::encode(&entries()));
    put("block", "empty", block::encode(&[]));
    put("body", "json", [&[9], body::encode_json(br#"{"type":"m.room.create"}"#).as_slice()].concat());
    for (name, version, flags, sections) in bodies() {
        put("body", name, [&[version, 2], flags.as_slice(), &sections].concat());
    }
    put("cold_row", "room", [&[0][..], &cold::encode(&("!room:example.org", "10")).unwrap()].concat());
    put("cold_row", "parked", [&[1][..], &cold::encode(&parked()).unwrap()].concat());
    put("cold_row", "number", [&[2][..], &cold::encode(&(300,)).unwrap()].concat());
    let id = |byte: &'static [u8; 32], text| event_ids::StoredId { hash: byte, text };
    put(
        "dump",
        "rows",
        [&[2, 0, 0, 0][..], &table(b"heads", &[(b"\0\0\0\x01", b"head")]), &table(b"events", &[])].concat(),
    );
    put("event_ids", "one", numbered(7, event_ids::encode([id(&[7; 32], None)].into_iter())));
    put("event_ids", "one-v1", numbered(7, event_ids::encode([id(&[7; 32], Some("$1:b.org"))].into_iter())));
    put("event_ids", "group", numbered(127, event_ids::encode((64..=127).map(|_| id(&[8; 32], None)))));
    put("event_key", "v1", b"\x00$1435641916114394fHBLK:matrix.org".to_vec());
    put("event_key", "v2", b"\x01$+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s".to_vec());
    put("event_key", "v3", b"\x02$-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s".to_vec());
    put("event_row", "soft-failed", numbered(301, event(301).encode(nid(301))));
    let outlier = EventRow { kind: Kind::Outlier, verdict: Verdict::Accepted, states: None, tuple: None, ..event(7) };
    put("event_row", "outlier", numbered(600, outlier.encode(nid(600))));
    let collected = EventRow { remains: Remains::Row, states: None, ..event(301) };
    put("event_row", "collected", numbered(301, collected.encode(nid(301))));
    put("head", "new", RoomHead::default().encode());
    put("head", "forked", forked_head().encode());
    put(
        "import_line",
        "wrapper",
        br#"{"event_id":"$e","kind":"old","origin":"o.org","pdu":{"type":"t"},"state":["$s"]}"#.to_vec(),
    );
    put("json", "escapes", br#"{"b":[1,-2,{"\u00e9\ud83d\ude00":"\n\"\\/"}],"a":null,"a":true}"#.to_vec());
    put("json", "numbers", b" [0,-0,1e16,1.5,1E-7,123456789012345678901234567890,9007199254740992] ".to_vec());
    put("keys", "neighbours", [7u32, 1, 255, 7, 1, 256].map(u32::to_be_bytes).concat());
    put("list", "two-runs", numbered(40, list::encode(SnapshotNid::new(40), &two_runs())));
    for (name, version) in [("v1", 0), ("v3", 2), ("v10", 9), ("v11", 10)] {
        let bytes = |step: u8| [vec![version], (0..250u8).map(|n| n.wrapping_mul(step) ^ (n >> 3)).collect()].concat();
        put("made_pdu", name, (1..=255).map(bytes).find(|bytes| made_pdu(bytes)).unwrap());
    }
    put("pack", "linear", numbered(512, pack::encode(&linear_pack())));
    put("pack", "exceptions", numbered(512, pack::encode(&odd_pack())));
    put("pack", "collected", numbered(512, pack::encode(&collected_pack())));
    put("short_row", "index", b"\x00\x01\x07\x02\xac\x02".to_vec());
    put("short_row", "position", b"\x01\xac\x02".to_vec());
    put("short_row", "member", b"\x02\xac\x02\x01".to_vec());
    put("short_row", "membership", b"\x03\x05".to_vec());
    put("short_row", "number", b"\x04\xac\x02".to_vec());
    put("wal", "fragments", [wal_record(1, b"a"), wal_record(2, b"bc"), wal_record(4, b"d")].concat());
    put("wal", "torn", [wal_record(1, b"abc"), wal_record(1, b"def")[..9].to_vec()].concat());
    for (name, bytes) in pdus() {
        put("pdu", &name, bytes);
    }
    seeds
}

/// Structured bodies: name, room version less one, flags, sections.
fn bodies() -> Vec<(&'static str, u8, Vec<u8>, Vec<u8>)> {
    let signature = [vec![3], vec![7; 64]].concat();
    let text = b"\x12\x80\x45hello\x81\x82".to_vec();
    let prev = b"\x02\x02\x00ffffffffffffffffffffffffffffffff".to_vec();
    let pairs = b"\x02\x02\x00\x01\x06$a:b.c\x01".to_vec();
    let redacts = b"\x11\xa2\x09\x01".to_vec();
    vec![
        ("message", 9, vec![12], [signature.clone(), b"\x01\x02".to_vec(), b"\x00".to_vec(), text.clone()].concat()),
        ("mentions", 9, vec![16 + 32 + 4 + 8], {
            let head = [b"\x02\x02\x04".to_vec(), signature.clone()].concat();
            [head, prev, b"\x01\x03".to_vec(), text.clone(), redacts].concat()
        }),
        ("v1", 0, vec![0x80 | 4 | 8, 7], [signature, pairs, b"\x00".to_vec(), text].concat()),
    ]
}

fn numbered(number: u32, value: Vec<u8>) -> Vec<u8> {
    [number.to_be_bytes().to_vec(), value].concat()
}

fn nid(number: u32) -> EventNid {
    EventNid::new(number).unwrap()
}

fn tuple(event_type: u32, state_key: u32) -> StateTuple {
    StateTuple { event_type: EventTypeNid::new(event_type).unwrap(), state_key: StateKeyNid::new(state_key).unwrap() }
}

fn entries() -> Vec<Entry> {
    vec![(tuple(1, 1), Some(nid(1))), (tuple(2, 9), None), (tuple(2, 300), Some(nid(70_000))), (tuple(8, 1), None)]
}

fn event(number: u32) -> EventRow {
    EventRow {
        kind: Kind::New,
        remains: Remains::All,
        verdict: Verdict::SoftFailed(Refusal { code: 7, detail: "sender is banned".into() }),
        redacted_at_acceptance: true,
        state_supplied: false,
        position: number + 2,
        states: Some(States { before: SnapshotNid::new(70), after: SnapshotNid::new(72) }),
        tuple: Some(tuple(2, 900)),
        event_type: Name::Number(tuple(2, 900).event_type),
        sender: Name::Number(tuple(2, 900).state_key),
        depth: 400,
        origin_server_ts: 1_700_000_000_000,
        prev_events: smallvec![Some(nid(number - 2)), None, Some(nid(500))],
        auth_events: smallvec![nid(1), nid(number - 3)],
    }
}

fn forked_head() -> RoomHead {
    RoomHead {
        last_event: 12,
        last_position: 14,
        last_snapshot: 11,
        last_parked: 2,
        create: EventNid::new(1),
        current: Current { snapshot: SnapshotNid::new(11), fingerprint: Fingerprint::from_bytes([3; 32]), len: 5 },
        extremities: smallvec![nid(10), nid(12)],
        merges: smallvec![Merge {
            parents: smallvec![SnapshotNid::new(3), SnapshotNid::new(9)],
            result: SnapshotNid::new(11)
        }],
        seals: smallvec![SnapshotNid::new(7), SnapshotNid::new(10)],
        counts: Counts { events: 10, outliers: 2, rejected: 1, soft_failed: 1, parked: 1 },
        collected: Collected { revision: 3, snapshots: 0, bodies: 1 },
    }
}

fn two_runs() -> List {
    let fence = |key, sealed, ordinal| Fence {
        first: tuple(2, key),
        block: BlockNid { sealed: SnapshotNid::new(sealed), ordinal },
        hash: BlockHash(0x0807_0605_0403_0201),
        entries: 200,
    };
    let runs = vec![vec![fence(1, 10, 0), fence(90, 10, 1)], vec![fence(5, 40, 0)]];
    List { fingerprint: Fingerprint::from_bytes([7; 32]), len: 300, runs }
}

fn linear_pack() -> Pack {
    let row = |index: u32| LogRow {
        parent: SnapshotNid::new(511 + index),
        second_parent: None,
        seal: Seal::Open,
        entries: vec![(tuple(2, 1 + (index * 7919) % 50_000), Some(nid(90_000 + index * 20)))],
    };
    pack_of((0..32).map(row).collect())
}

fn odd_pack() -> Pack {
    let branch = LogRow {
        parent: SnapshotNid::new(500),
        second_parent: Some(SnapshotNid::new(510)),
        seal: Seal::Derived,
        entries: entries(),
    };
    let whole = LogRow { parent: SnapshotNid::new(512), second_parent: None, seal: Seal::Whole, entries: Vec::new() };
    pack_of(vec![branch, whole])
}

fn collected_pack() -> Pack {
    let mut pack = Pack::new(SnapshotNid::new(512), Fingerprint::from_bytes([9; 32]), 40);
    for (place, row) in linear_pack().rows().enumerate() {
        pack.push(match place {
            0..9 | 20 => RowRef::GONE,
            9 => RowRef { seal: Seal::Whole, entries: &[], ..row },
            _ => row,
        });
    }
    pack
}

fn pack_of(rows: Vec<LogRow>) -> Pack {
    let mut pack = Pack::new(SnapshotNid::new(512), Fingerprint::from_bytes([9; 32]), 40);
    rows.iter().for_each(|row| pack.push(row.borrowed()));
    pack
}

/// A record of a write-ahead log: masked CRC-32C, length, kind, payload.
fn wal_record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let checked = [&[kind], payload].concat();
    let shift = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    let crc = !checked.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc)));
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    let length = u16::try_from(payload.len()).unwrap();
    [&masked.to_le_bytes(), length.to_le_bytes().as_slice(), &checked].concat()
}

/// The first event of each type in three real rooms.
fn pdus() -> BTreeMap<String, Vec<u8>> {
    let mut pdus = BTreeMap::new();
    for version in [1u8, 10, 12] {
        let path = root().join(format!("../examples/rooms/forks-v{version}.jsonl.gz"));
        let file = fs::File::open(path).unwrap();
        for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
            let line = Json::parse(line.unwrap().as_bytes()).unwrap();
            let pdu = line.as_object().and_then(|line| line.get("pdu")).unwrap();
            let event_type = pdu.as_object().and_then(|pdu| pdu.get_str("type")).unwrap();
            let mut bytes = vec![version - 1];
            pdu.as_object().unwrap().write_canonical(&mut bytes);
            pdus.entry(format!("v{version}-{event_type}")).or_insert(bytes);
        }
    }
    pdus
}
