//! A room in memory: its events, and the states that a test makes of them.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma_common::room_version_rules::RoomVersionRules;
use serde_json::{Value, json};

use crate::{
    encoding::json::Json,
    error::Result,
    ids::{EventNid, EventTypeNid, StateKeyNid, StateTuple},
    resolution::{AuthEvent, AuthState, Conflict, PrevEvents, ResolutionStore, auth, content::Content, resolve},
};

/// A state as a plain map.
pub(super) type State = BTreeMap<StateTuple, EventNid>;

pub(super) const ALICE: &str = "@alice:one";
pub(super) const BOB: &str = "@bob:two";
pub(super) const CAROL: &str = "@carol:two";

/// An event before it is in a room.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) sender: String,
    pub(super) event_type: String,
    pub(super) state_key: String,
    pub(super) content: Value,
    pub(super) auth_events: Vec<EventNid>,
    pub(super) ts: Option<i64>,
    pub(super) depth: Option<i64>,
    pub(super) id: Option<String>,
    pub(super) rejected: bool,
    prev_events: PrevEvents,
}

impl Draft {
    pub(super) fn new(sender: &str, event_type: &str, state_key: &str, content: Value) -> Self {
        Self {
            sender: sender.into(),
            event_type: event_type.into(),
            state_key: state_key.into(),
            content,
            auth_events: Vec::new(),
            ts: None,
            depth: None,
            id: None,
            rejected: false,
            prev_events: PrevEvents::Other,
        }
    }

    pub(super) fn auth(mut self, auth_events: &[EventNid]) -> Self {
        self.auth_events = auth_events.to_vec();
        self
    }

    pub(super) fn ts(mut self, ts: i64) -> Self {
        self.ts = Some(ts);
        self
    }

    pub(super) fn depth(mut self, depth: i64) -> Self {
        self.depth = Some(depth);
        self
    }

    pub(super) fn id(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    pub(super) fn rejected(mut self) -> Self {
        self.rejected = true;
        self
    }
}

/// An event in a room: as resolution sees it, and the JSON that `ruma-state-res` wants.
pub(super) struct Event {
    pub(super) event: Arc<AuthEvent>,
    pub(super) json: Value,
}

/// A room's events; the number of an event is its place, from 1 on.
pub(super) struct Room {
    pub(super) rules: RoomVersionRules,
    pub(super) events: Vec<Event>,
    types: Vec<String>,
    keys: Vec<String>,
    tuples: BTreeMap<(String, String), StateTuple>,
    children: Vec<Vec<EventNid>>,
}

impl Room {
    /// An empty room.
    pub(super) fn new(rules: RoomVersionRules) -> Self {
        let (types, keys, tuples) = Default::default();
        Self { rules, events: Vec::new(), types, keys, tuples, children: Vec::new() }
    }

    /// A room that Alice has made and joined: (room, create, her membership, power levels of 100 for her, join rules).
    pub(super) fn public(rules: RoomVersionRules) -> (Self, [EventNid; 4]) {
        let mut room = Self::new(rules);
        let create = Draft::new(ALICE, "m.room.create", "", json!({ "creator": ALICE }));
        let create = room.add(Draft { prev_events: PrevEvents::None, ..create });
        let named = room.named(&[create]);
        let alice = Draft::new(ALICE, "m.room.member", ALICE, json!({ "membership": "join" }));
        let alice = room.add(Draft { prev_events: PrevEvents::OnlyCreate, ..alice.auth(&named) });
        let named = room.named(&[create, alice]);
        let users = if room.create_is_implied() { json!({}) } else { json!({ ALICE: 100 }) };
        let power = Draft::new(ALICE, "m.room.power_levels", "", json!({ "users": users }));
        let power = room.add(power.auth(&named));
        let named = room.named(&[create, alice, power]);
        let public =
            room.add(Draft::new(ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" })).auth(&named));
        (room, [create, alice, power, public])
    }

    pub(super) fn create_is_implied(&self) -> bool {
        self.rules.authorization.room_create_event_id_as_room_id
    }

    /// `auth_events` without the create event where it is implied.
    pub(super) fn named(&self, auth_events: &[EventNid]) -> Vec<EventNid> {
        let create = EventNid::new(1).filter(|_| self.create_is_implied());
        auth_events.iter().copied().filter(|&nid| Some(nid) != create).collect()
    }

    /// Adds an event. Without an ID of its own it gets one whose order says nothing of its age.
    pub(super) fn add(&mut self, draft: Draft) -> EventNid {
        let place = self.events.len();
        let nid = EventNid::new(u32::try_from(place + 1).unwrap()).unwrap();
        let tuple = self.intern(&draft.event_type, &draft.state_key);
        let id = draft.id.clone().unwrap_or_else(|| format!("${:03}x{place}", place * 389 % 997));
        let number = i64::try_from(place).unwrap();
        let event = AuthEvent {
            event_id: id.clone().into(),
            event_type: draft.event_type.clone().into(),
            state_key: Some(draft.state_key.clone().into()),
            tuple: Some(tuple),
            sender: draft.sender.clone().into(),
            origin_server_ts: draft.ts.unwrap_or(number),
            depth: draft.depth.unwrap_or(number),
            rejected: draft.rejected,
            prev_events: draft.prev_events,
            auth_events: draft.auth_events.clone().into(),
            content: self.content(&draft),
        };
        for auth_event in &draft.auth_events {
            assert!(*auth_event < nid, "auth events are older");
            self.children[auth_event.number() as usize - 1].push(nid);
        }
        let auth_events: Vec<_> = draft.auth_events.iter().map(|&nid| self.event(nid).event_id.to_string()).collect();
        let json = json!({
            "event_id": id,
            "type": draft.event_type,
            "state_key": draft.state_key,
            "sender": draft.sender,
            "origin_server_ts": event.origin_server_ts,
            "content": draft.content,
            "auth_events": auth_events,
        });
        self.events.push(Event { event: Arc::new(event), json });
        self.children.push(Vec::new());
        nid
    }

    /// Adds an event whose auth events are those of its kind in `state`, without a check.
    pub(super) fn add_in(&mut self, state: &State, draft: Draft) -> EventNid {
        let auth_events = self.auth_events_in(state, &draft);
        self.add(draft.auth(&auth_events))
    }

    /// The auth events of a draft by the selection rules.
    fn auth_events_in(&self, state: &State, draft: &Draft) -> Vec<EventNid> {
        let event = self.preview(draft);
        let mut nids = Vec::new();
        let (event_type, state_key) = (&event.event_type, event.state_key.as_deref());
        let selected = auth::auth_types_for_event(&self.rules, event_type, &event.sender, state_key, &event.content);
        for (event_type, state_key) in selected {
            nids.extend(self.find_tuple(event_type, state_key).and_then(|tuple| state.get(&tuple)));
        }
        nids
    }

    /// Tells whether the rules allow a draft in a state.
    pub(super) fn allows(&self, state: &State, draft: &Draft) -> bool {
        let event = self.preview(draft);
        let state = PlainState { room: self, state };
        auth::check(&self.rules, &event, &state).unwrap().is_ok()
    }

    fn content(&self, draft: &Draft) -> Content {
        let json = Json::parse(draft.content.to_string().as_bytes()).unwrap();
        Content::parse(&self.rules, &draft.event_type, json.as_object().unwrap(), None)
    }

    fn preview(&self, draft: &Draft) -> AuthEvent {
        AuthEvent {
            event_id: "$preview".into(),
            event_type: draft.event_type.clone().into(),
            state_key: Some(draft.state_key.clone().into()),
            tuple: None,
            sender: draft.sender.clone().into(),
            origin_server_ts: 0,
            depth: 0,
            rejected: false,
            prev_events: draft.prev_events,
            auth_events: draft.auth_events.clone().into(),
            content: self.content(draft),
        }
    }

    pub(super) fn event(&self, nid: EventNid) -> &Arc<AuthEvent> {
        &self.events[nid.number() as usize - 1].event
    }

    pub(super) fn newest(&self) -> EventNid {
        EventNid::new(u32::try_from(self.events.len()).unwrap()).unwrap()
    }

    pub(super) fn find_tuple(&self, event_type: &str, state_key: &str) -> Option<StateTuple> {
        self.tuples.get(&(event_type.to_owned(), state_key.to_owned())).copied()
    }

    /// The type and the state key that a key stands for.
    pub(super) fn name(&self, tuple: StateTuple) -> (String, String) {
        let place = |number: u32| number as usize - 1;
        (self.types[place(tuple.event_type.number())].clone(), self.keys[place(tuple.state_key.number())].clone())
    }

    fn intern(&mut self, event_type: &str, state_key: &str) -> StateTuple {
        fn number(list: &mut Vec<String>, text: &str) -> u32 {
            let place = list.iter().position(|known| known == text).unwrap_or_else(|| {
                list.push(text.to_owned());
                list.len() - 1
            });
            u32::try_from(place + 1).unwrap()
        }
        let key = (event_type.to_owned(), state_key.to_owned());
        if let Some(&tuple) = self.tuples.get(&key) {
            return tuple;
        }
        let tuple = StateTuple {
            event_type: EventTypeNid::new(number(&mut self.types, event_type)).unwrap(),
            state_key: StateKeyNid::new(number(&mut self.keys, state_key)).unwrap(),
        };
        self.tuples.insert(key, tuple);
        tuple
    }

    /// The state that has exactly these events.
    pub(super) fn state(&self, nids: &[EventNid]) -> State {
        let state: State = nids.iter().map(|&nid| (self.event(nid).tuple.unwrap(), nid)).collect();
        assert_eq!(state.len(), nids.len(), "one event a key");
        state
    }

    /// Resolves complete states to a complete state.
    pub(super) fn resolve(&self, states: &[&State]) -> Result<State> {
        let view = View::new(self, states);
        let mut resolved = view.unconflicted.clone();
        let answer = view.resolve()?;
        assert!(answer.is_sorted_by(|one, next| one.0 < next.0), "sorted by key, each once");
        for (tuple, nid) in answer {
            assert!(!view.unconflicted.contains_key(&tuple), "an answer for an unconflicted key");
            resolved.extend(nid.map(|nid| (tuple, nid)));
        }
        Ok(resolved)
    }

    /// An event and its auth chain.
    pub(super) fn chain(&self, from: impl IntoIterator<Item = EventNid>) -> BTreeSet<EventNid> {
        let mut open: Vec<_> = from.into_iter().collect();
        let mut chain = BTreeSet::new();
        while let Some(nid) = open.pop() {
            if chain.insert(nid) {
                open.extend(&self.event(nid).auth_events);
            }
        }
        chain
    }
}

/// How often each question was asked of a [`View`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) event: usize,
    pub(super) auth_children: usize,
    pub(super) children_told: usize,
    pub(super) unconflicted: usize,
    pub(super) tuple: usize,
}

/// A room as the resolution of some of its states sees it.
pub(super) struct View<'a> {
    pub(super) room: &'a Room,
    pub(super) sets: usize,
    pub(super) unconflicted: State,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) newest: EventNid,
    pub(super) calls: Cell<Calls>,
}

impl<'a> View<'a> {
    /// Splits states by the definition of v2: a key is unconflicted if every state has it with the same value.
    pub(super) fn new(room: &'a Room, states: &[&State]) -> Self {
        let tuples: BTreeSet<_> = states.iter().flat_map(|state| state.keys().copied()).collect();
        let (mut unconflicted, mut conflicts) = (State::new(), Vec::new());
        for tuple in tuples {
            let events: Vec<_> = states.iter().map(|state| state.get(&tuple).copied()).collect();
            match events[0] {
                Some(nid) if events.iter().all(|other| *other == Some(nid)) => {
                    unconflicted.insert(tuple, nid);
                }
                _ => conflicts.push(Conflict { tuple, events: events.into() }),
            }
        }
        let newest = states.iter().flat_map(|state| state.values().copied()).max().unwrap_or_else(|| room.newest());
        // The order of the conflicts says nothing.
        conflicts.reverse();
        Self { room, sets: states.len(), unconflicted, conflicts, newest, calls: Cell::default() }
    }

    pub(super) fn resolve(&self) -> Result<Vec<(StateTuple, Option<EventNid>)>> {
        let create = EventNid::new(1).unwrap();
        resolve(&self.room.rules, create, self.sets, &self.conflicts, self)
    }

    fn count(&self, raise: impl FnOnce(&mut Calls)) {
        let mut calls = self.calls.get();
        raise(&mut calls);
        self.calls.set(calls);
    }
}

impl ResolutionStore for View<'_> {
    fn event(&self, nid: EventNid) -> Result<Arc<AuthEvent>> {
        self.count(|calls| calls.event += 1);
        Ok(Arc::clone(self.room.event(nid)))
    }

    fn auth_children(&self, nid: EventNid, up_to: EventNid, limit: usize) -> Result<Vec<EventNid>> {
        let children = self.room.children[nid.number() as usize - 1].iter().rev();
        let page: Vec<_> = children.copied().skip_while(|&child| child > up_to).take(limit).collect();
        self.count(|calls| {
            calls.auth_children += 1;
            calls.children_told += page.len();
        });
        Ok(page)
    }

    fn newest(&self) -> EventNid {
        self.newest
    }

    fn unconflicted(&self, tuple: StateTuple) -> Result<Option<EventNid>> {
        self.count(|calls| calls.unconflicted += 1);
        Ok(self.unconflicted.get(&tuple).copied())
    }

    fn tuple(&self, event_type: &str, state_key: &str) -> Result<Option<StateTuple>> {
        self.count(|calls| calls.tuple += 1);
        Ok(self.room.find_tuple(event_type, state_key))
    }
}

/// A plain map to check an event against.
pub(super) struct PlainState<'a> {
    pub(super) room: &'a Room,
    pub(super) state: &'a State,
}

impl AuthState for PlainState<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Result<Option<Arc<AuthEvent>>> {
        let tuple = self.room.find_tuple(event_type, state_key);
        Ok(tuple.and_then(|tuple| self.state.get(&tuple)).map(|&nid| Arc::clone(self.room.event(nid))))
    }
}
