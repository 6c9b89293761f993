//! A writer that is kept after an input was refused half way: what that input appended must be in no later batch.

use std::sync::Arc;

use super::*;
use crate::{
    Input,
    encoding::json::Json,
    generate::{Room, Spec, TRUNK},
    kv::{claim::Claim, memory::MemoryStore},
    room::points::Shows,
    tables::specs,
    verify::tests::support::{is_whole, open},
};

#[test]
fn what_a_refused_input_appended_is_in_no_later_batch() {
    for leaves_its_event in [false, true] {
        let store = Arc::new(MemoryStore::open(&specs()));
        let claim = Claim::new(store.clone()).expect("free");
        let engine = Arc::new(Engine::open(claim, 8 << 20, Shows::Durable).expect("opens"));
        let mut room = Room::new(Spec { members: 3, ..Spec::default() }).expect("a known version");
        let row = engine.new_room(room.id(), room.version()).expect("a number");
        let mut writer = RoomWriter::begin(engine.clone(), row);
        let process = |writer: &mut RoomWriter, pdu: Vec<u8>| {
            let json = Json::parse(&pdu).expect("JSON");
            writer.process(&Input::new(pdu), json).expect("valid");
        };
        for event in room.starting_state() {
            process(&mut writer, event.pdu);
        }
        // As an input does that is refused after its states were made.
        let current = writer.head.current.snapshot;
        let create = writer.head.create.expect("the room has begun");
        let event = writer.facts().event(create).expect("readable");
        let mut draft = writer.draft();
        let nid = draft.next_event().expect("a number");
        let change = (event.tuple.expect("a state event"), Some(create), Some(nid));
        writer.pending = Some((nid, event));
        let appended = writer.append(&mut draft, current, None, vec![change]).expect("readable");
        drop(draft);
        assert_eq!(appended.number(), writer.head.last_snapshot + 1);
        if !leaves_its_event {
            writer.pending = None;
        }
        let topic = room.topic(TRUNK);
        process(&mut writer, topic.pdu.clone());
        assert_eq!(writer.head.last_snapshot, appended.number(), "its number went to the next state");
        let id = room.id().to_owned();
        drop((writer, engine));
        let server = open(store);
        assert!(is_whole(&server), "{leaves_its_event}");
        let view = server.view();
        let state = view.room(&id).expect("readable").expect("here").current_state();
        let told = state.get("m.room.topic", "").expect("readable").expect("set");
        assert_eq!(told.as_str(), topic.event_id);
    }
}
