//! `ruma-state-res` as an oracle: the same room and states, through another implementation.

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    room_version_rules::StateResolutionV2Rules,
};
use ruma_events::TimelineEventType;
use ruma_state_res::{StateMap, utils::event_id_set::EventIdSet};
use rustc_hash::FxHashMap;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::room::{Room, State};
use crate::{ids::EventNid, resolution::PrevEvents};

/// What is fed to the oracle; anything but the default shows what a part of the algorithm is worth.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    pub(super) auth_difference: bool,
    pub(super) unconflicted_in_chains: bool,
    pub(super) subgraph: bool,
    pub(super) from_empty: bool,
}

pub(super) const AS_SPECIFIED: Variant =
    Variant { auth_difference: true, unconflicted_in_chains: true, subgraph: true, from_empty: true };

/// The events of a room as the oracle reads them.
#[derive(Default)]
pub(super) struct Oracle {
    by_nid: Vec<Arc<Pdu>>,
    nids: FxHashMap<OwnedEventId, EventNid>,
    /// Join rules that nobody has sent, see [`ABSENT_JOIN_RULES`].
    absent_join_rules: Option<Arc<Pdu>>,
}

/// The ID of join rules that ask for an invite, which every membership is said to name first. So they count where there
/// are no others, as they do for us; `ruma-state-res` would let nobody join.
const ABSENT_JOIN_RULES: &str = "$absent-join-rules";

impl Oracle {
    /// Resolves complete states to a complete state.
    pub(super) fn resolve(&mut self, room: &Room, states: &[&State], variant: Variant) -> State {
        self.follow(room);
        let mut v2_rules = *room.rules.state_res.v2_rules().unwrap();
        if !variant.from_empty && v2_rules == StateResolutionV2Rules::V2_1 {
            v2_rules.begin_iterative_auth_checks_with_empty_state_map = false;
        }
        let maps: Vec<StateMap<OwnedEventId>> = states.iter().map(|state| self.map(state)).collect();
        let chains = states.iter().map(|state| self.chain(room, states, state, variant)).collect();
        let resolved = ruma_state_res::resolve(
            &room.rules.authorization,
            &v2_rules,
            &maps,
            chains,
            |id| {
                let absent_join_rules = self.absent_join_rules.as_ref().filter(|_| id == ABSENT_JOIN_RULES);
                self.nids.get(id).map(|nid| self.pdu(*nid)).or(absent_join_rules).map(Arc::clone)
            },
            |conflicts| {
                let conflicted = conflicts.values().flatten().map(|id| self.nids[id]).collect();
                let subgraph = if variant.subgraph { subgraph(room, &conflicted) } else { BTreeSet::new() };
                Some(subgraph.into_iter().map(|nid| self.pdu(nid).id.clone()).collect())
            },
        );
        let resolved = resolved.unwrap();
        resolved.values().map(|id| (room.event(self.nids[id]).tuple.unwrap(), self.nids[id])).collect()
    }

    /// The inclusive auth chain of a full state.
    fn chain(&self, room: &Room, states: &[&State], state: &State, variant: Variant) -> EventIdSet<OwnedEventId> {
        let everywhere = |nid: &EventNid| states.iter().all(|other| other.values().any(|known| known == nid));
        let starts = state.values().copied().filter(|nid| variant.unconflicted_in_chains || !everywhere(nid));
        let chain = if variant.auth_difference { room.chain(starts) } else { BTreeSet::new() };
        chain.into_iter().map(|nid| self.pdu(nid).id.clone()).collect()
    }

    fn map(&self, state: &State) -> StateMap<OwnedEventId> {
        let pdus = state.values().map(|&nid| self.pdu(nid));
        pdus.map(|pdu| ((pdu.event_type.to_string().into(), pdu.state_key.clone()), pdu.id.clone())).collect()
    }

    fn pdu(&self, nid: EventNid) -> &Arc<Pdu> {
        &self.by_nid[nid.number() as usize - 1]
    }

    /// Takes over the events that are new in the room.
    fn follow(&mut self, room: &Room) {
        for event in room.events.iter().skip(self.by_nid.len()) {
            let pdu = Arc::new(Pdu::new(room, event));
            self.absent_join_rules.get_or_insert_with(|| Arc::new(pdu.absent_join_rules()));
            let nid = EventNid::new(u32::try_from(self.by_nid.len() + 1).unwrap()).unwrap();
            assert!(self.nids.insert(pdu.id.clone(), nid).is_none(), "event IDs are unique");
            self.by_nid.push(pdu);
        }
    }
}

/// The conflicted state subgraph by its definition: what a conflicted event reaches, and reaches a conflicted event.
pub(super) fn subgraph(room: &Room, conflicted: &BTreeSet<EventNid>) -> BTreeSet<EventNid> {
    let mut subgraph = room.chain(conflicted.iter().copied());
    subgraph.retain(|&nid| !room.chain([nid]).is_disjoint(conflicted));
    subgraph
}

struct Pdu {
    id: OwnedEventId,
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    event_type: TimelineEventType,
    state_key: String,
    content: Box<RawValue>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    rejected: bool,
}

impl Pdu {
    fn new(room: &Room, event: &super::room::Event) -> Self {
        let json = &event.json;
        let text = |name: &str| json[name].as_str().unwrap();
        let create = &room.events[0].event.event_id;
        let room_id = RoomId::parse(format!("!{}", create.strip_prefix('$').unwrap())).unwrap();
        let implied = room.create_is_implied() && text("type") == "m.room.create";
        // Only one event of these rooms asks whether the create event is all that it follows.
        let only_create = event.event.prev_events == PrevEvents::OnlyCreate;
        let prev_events = only_create.then(|| EventId::parse(&**create).unwrap());
        let auth_events = json["auth_events"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
        let absent_join_rules = (text("type") == "m.room.member").then_some(ABSENT_JOIN_RULES);
        Self {
            id: EventId::parse(text("event_id")).unwrap(),
            room_id: Some(room_id).filter(|_| !implied),
            sender: UserId::parse(text("sender")).unwrap(),
            // Ruma has no time before 1970. Only their order counts here, so all are moved by as much.
            origin_server_ts: MilliSecondsSinceUnixEpoch(
                (event.event.origin_server_ts + (1 << 41)).try_into().unwrap(),
            ),
            event_type: text("type").into(),
            state_key: text("state_key").to_owned(),
            content: to_raw_value(&json["content"]).unwrap(),
            prev_events: prev_events.into_iter().collect(),
            auth_events: absent_join_rules
                .into_iter()
                .chain(auth_events)
                .map(|id| EventId::parse(id).unwrap())
                .collect(),
            rejected: event.event.rejected,
        }
    }

    /// See [`ABSENT_JOIN_RULES`].
    fn absent_join_rules(&self) -> Self {
        Self {
            id: EventId::parse(ABSENT_JOIN_RULES).unwrap(),
            room_id: self.room_id.clone(),
            sender: self.sender.clone(),
            origin_server_ts: self.origin_server_ts,
            event_type: "m.room.join_rules".into(),
            state_key: String::new(),
            content: to_raw_value(&json!({ "join_rule": "invite" })).unwrap(),
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            rejected: false,
        }
    }
}

impl ruma_state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        Some(&self.state_key)
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
