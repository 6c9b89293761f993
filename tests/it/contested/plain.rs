//! A server that follows the rules in the plainest way: full states in maps, every set computed from its definition.
//! Authorisation and resolution from v2 on are `ruma-state-res`'s, resolution v1 is the text's. Where `ruma-state-res` is
//! meant to be answered otherwise here, it is given what counts as the same: other state keys and levels (see `pdu.rs`), and
//! join rules that ask for an invite where there are none.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use roomserver::Kind;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UserId,
    room_version_rules::{RoomVersionRules, StateResolutionVersion},
};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::{
    Event, StateMap, check_state_dependent_auth_rules, check_state_independent_auth_rules,
    utils::event_id_set::EventIdSet,
};
use serde_json::value::RawValue;

use super::{
    pdu::{In, Pdu, counted_key, state_key_of},
    resolution_v1::resolve_v1,
};

pub type Key = (String, String);
/// A full state: events by their place.
pub type State = BTreeMap<Key, usize>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Accepted,
    SoftFailed,
    Rejected,
}

/// What is told of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Decided(Verdict),
    /// It was here; `None` if it is parked.
    Duplicate(Option<Verdict>),
    Parked {
        prev: BTreeSet<OwnedEventId>,
        auth: BTreeSet<OwnedEventId>,
        state: BTreeSet<OwnedEventId>,
    },
    /// Malformed.
    Invalid,
}

/// A stored event.
#[derive(Debug)]
pub struct Stored {
    pub pdu: Rc<Pdu>,
    pub kind: Kind,
    pub verdict: Verdict,
    pub supplied: bool,
    /// Numbers of the states around it.
    pub before: Option<usize>,
    pub after: Option<usize>,
    /// It and its auth chain.
    chain: BTreeSet<usize>,
    /// Its auth events as `ruma-state-res` is given them.
    auth_events: Vec<OwnedEventId>,
}

impl Stored {
    /// An event that stands nowhere.
    fn standalone(pdu: Rc<Pdu>) -> Self {
        let (kind, verdict, auth_events) = (Kind::New, Verdict::Accepted, pdu.auth_events.clone());
        let chain = BTreeSet::new();
        Self { pdu, kind, verdict, supplied: false, before: None, after: None, chain, auth_events }
    }

    pub fn in_graph(&self) -> bool {
        self.kind != Kind::Outlier
    }

    /// May be an extremity, and hides what is behind it.
    fn counts(&self) -> bool {
        self.kind == Kind::New && self.verdict == Verdict::Accepted
    }
}

enum Lack {
    Missing(Told),
    Invalid,
}

/// One room on one server.
pub struct Plain {
    pub rules: RoomVersionRules,
    pub events: Vec<Stored>,
    pub places: BTreeMap<OwnedEventId, usize>,
    /// By the order in which they were parked.
    pub parked: BTreeMap<usize, In>,
    last_parked: usize,
    pub states: Vec<State>,
    numbers: BTreeMap<State, usize>,
    resolved: BTreeMap<Vec<usize>, usize>,
    pub extremities: BTreeSet<usize>,
    pub current: usize,
    /// The join rules that count where there are none; made with the first event that names its room.
    absent_join_rules: Option<Stored>,
}

/// The ID of join rules that nobody has sent.
fn absent_join_rules() -> OwnedEventId {
    "$absent-join-rules:one".try_into().unwrap()
}

impl Plain {
    pub fn new(rules: RoomVersionRules) -> Self {
        let empty = State::new();
        Self {
            rules,
            events: Vec::new(),
            places: BTreeMap::new(),
            parked: BTreeMap::new(),
            last_parked: 0,
            states: vec![empty.clone()],
            numbers: BTreeMap::from([(empty, 0)]),
            resolved: BTreeMap::new(),
            extremities: BTreeSet::new(),
            current: 0,
            absent_join_rules: None,
        }
    }

    /// Takes an input, and then whatever waited for it.
    pub fn take(&mut self, input: &In) -> Told {
        if let Some(&place) = self.places.get(&input.pdu.id)
            && (self.events[place].in_graph() || input.kind == Kind::Outlier)
        {
            return Told::Duplicate(Some(self.events[place].verdict));
        }
        let mut input = input.clone();
        let waiting = self.parked.iter().find(|(_, parked)| parked.pdu.id == input.pdu.id);
        let waiting = waiting.map(|(order, parked)| (*order, parked.clone()));
        if let Some((_, parked)) = &waiting {
            let has_content = parked.pdu.redacted && !input.pdu.redacted;
            // A state takes the place of none, and of another one that cannot be had yet.
            let is_had = parked.kind == Kind::Outlier
                || parked.state.iter().flatten().all(|event_id| self.places.contains_key(event_id));
            let has_state = match (&parked.state, &input.state) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(parked), Some(told)) => parked != told && !is_had,
            };
            if !has_content && input.kind <= parked.kind && !has_state {
                return Told::Duplicate(None);
            }
            if !has_content {
                input.pdu = Rc::clone(&parked.pdu);
            }
            input.kind = input.kind.max(parked.kind);
            if !has_state {
                input.state.clone_from(&parked.state);
            }
            input.local |= parked.local;
        }
        let order = waiting.map(|(order, _)| order);
        match self.lack(&input) {
            Some(Lack::Invalid) => Told::Invalid,
            Some(Lack::Missing(told)) => {
                let order = order.unwrap_or_else(|| {
                    self.last_parked += 1;
                    self.last_parked
                });
                self.parked.insert(order, input);
                told
            }
            None => {
                order.map(|order| self.parked.remove(&order));
                let told = Told::Decided(self.decide(&input));
                self.drive();
                told
            }
        }
    }

    /// Decides what is parked and lacks nothing more, first come first served.
    fn drive(&mut self) {
        while let Some(order) =
            self.parked.iter().find(|(_, parked)| self.lack(parked).is_none()).map(|(order, _)| *order)
        {
            let input = self.parked.remove(&order).unwrap();
            self.decide(&input);
        }
    }

    fn place(&self, id: &OwnedEventId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// What keeps an input from being decided.
    fn lack(&self, input: &In) -> Option<Lack> {
        let stored = |id: &&OwnedEventId| !self.places.contains_key(*id);
        let auth: BTreeSet<_> = input.pdu.auth_events.iter().filter(stored).cloned().collect();
        let supplied = input.state.as_ref().filter(|_| input.kind != Kind::Outlier);
        let state: BTreeSet<_> = supplied.into_iter().flatten().filter(stored).cloned().collect();
        let mut keys = BTreeMap::new();
        for place in supplied.into_iter().flatten().filter_map(|id| self.place(id)) {
            let Some(key) = self.events[place].pdu.key() else { return Some(Lack::Invalid) };
            if !self.events[place].rejected() && keys.insert(key, place).is_some_and(|other| other != place) {
                return Some(Lack::Invalid);
            }
        }
        let needed = input.kind == Kind::New && supplied.is_none();
        let has_state = |id: &OwnedEventId| self.place(id).is_some_and(|place| self.events[place].after.is_some());
        let prev: BTreeSet<_> = input.pdu.prev_events.iter().filter(|id| needed && !has_state(id)).cloned().collect();
        let lacks = !(prev.is_empty() && auth.is_empty() && state.is_empty());
        lacks.then_some(Lack::Missing(Told::Parked { prev, auth, state }))
    }

    /// Decides an input that lacks nothing.
    fn decide(&mut self, input: &In) -> Verdict {
        let known = self.place(&input.pdu.id);
        let auth_events: Vec<usize> = input.pdu.auth_events.iter().map(|id| self.places[id]).collect();
        let place = known.unwrap_or(self.events.len());
        let chain =
            auth_events.iter().flat_map(|&auth| self.events[auth].chain.iter().copied()).chain([place]).collect();
        // The copy of an outlier decides, not the one that comes when it gets its place.
        let pdu = Rc::clone(known.map_or(&input.pdu, |place| &self.events[place].pdu));
        self.make_absent_join_rules(&pdu);
        let has_join_rules = auth_events.iter().any(|&auth| self.events[auth].pdu.is_at("m.room.join_rules", ""));
        let mut named = pdu.auth_events.clone();
        if !has_join_rules && pdu.wants_join_rules() {
            named.push(absent_join_rules());
        }
        let mut event = Stored {
            pdu,
            kind: input.kind,
            verdict: Verdict::Accepted,
            supplied: input.state.is_some() && input.kind != Kind::Outlier,
            before: None,
            after: None,
            chain,
            auth_events: named,
        };
        let wants_join_rules = event.pdu.wants_join_rules();
        let by_auth_events: State =
            auth_events.iter().filter_map(|&auth| Some((self.events[auth].pdu.key()?, auth))).collect();
        let is_create = event.pdu.is_at("m.room.create", "");
        if event.pdu.prev_events.is_empty() != is_create
            || is_create && self.create().is_some_and(|create| create != place)
            || check_state_independent_auth_rules(&self.rules.authorization, &event, |id| self.fetch(id)).is_err()
            || !self.allows(&self.with_implied_create(by_auth_events), &event)
        {
            event.verdict = Verdict::Rejected;
        }
        // In resolutions they count before any others: those that the event names may be rejected by then.
        let absent = wants_join_rules.then(absent_join_rules);
        event.auth_events = absent.into_iter().chain(event.pdu.auth_events.iter().cloned()).collect();
        event.before = self.state_before(input);
        if let Some(before) = event.before {
            if event.verdict == Verdict::Accepted && !self.allows(&self.states[before], &event) {
                event.verdict = Verdict::Rejected;
            }
            if event.verdict == Verdict::Accepted && self.soft_fails(input, &event, before) {
                event.verdict = Verdict::SoftFailed;
            }
            let mut after = self.states[before].clone();
            if let (Some(key), false) = (event.pdu.key(), event.rejected()) {
                after.insert(key, place);
            }
            event.after = Some(self.number(after));
        }
        let verdict = event.verdict;
        if known.is_some() {
            self.events[place] = event;
        } else {
            self.places.insert(event.pdu.id.clone(), place);
            self.events.push(event);
        }
        self.advance();
        verdict
    }

    /// Whether the rules allow an event in a state.
    pub fn would_allow(&self, pdu: &Rc<Pdu>, state: &State) -> bool {
        self.allows(state, &Stored::standalone(Rc::clone(pdu)))
    }

    fn state_before(&mut self, input: &In) -> Option<usize> {
        if input.kind == Kind::Outlier {
            return None;
        }
        if let Some(supplied) = &input.state {
            let entries = supplied.iter().map(|id| self.places[id]).filter(|&place| !self.events[place].rejected());
            let state = entries.map(|place| (self.events[place].pdu.key().unwrap(), place)).collect();
            return Some(self.number(state));
        }
        let after = |id: &OwnedEventId| self.place(id).and_then(|place| self.events[place].after);
        let states: Option<Vec<usize>> = input.pdu.prev_events.iter().map(after).collect();
        states.map(|states| self.resolve(states))
    }

    /// Whether the state that is current refuses an event that the state before it allows.
    fn soft_fails(&mut self, input: &In, event: &Stored, before: usize) -> bool {
        if input.kind != Kind::New || input.local || self.extremities.is_empty() {
            return false;
        }
        let prev: Option<BTreeSet<usize>> = input.pdu.prev_events.iter().map(|id| self.place(id)).collect();
        if prev.as_ref() == Some(&self.extremities) {
            return false;
        }
        let mut state = self.current;
        if input.state.is_some() {
            let mut states: Vec<_> = self.extremities.iter().map(|&place| self.events[place].after.unwrap()).collect();
            states.push(before);
            state = self.resolve(states);
        }
        !self.allows(&self.states[state], event)
    }

    /// The extremities by their definition, and the state over them.
    fn advance(&mut self) {
        let behind = |place: usize| {
            let event = &self.events[place];
            event.pdu.prev_events.iter().filter(|_| event.in_graph()).filter_map(|id| self.place(id))
        };
        let counts = |place: &usize| self.events[*place].counts();
        let mut open: Vec<usize> = (0..self.events.len()).filter(counts).flat_map(behind).collect();
        let mut hidden = BTreeSet::new();
        while let Some(place) = open.pop() {
            if hidden.insert(place) {
                open.extend(behind(place));
            }
        }
        let extremities = (0..self.events.len()).filter(counts).filter(|place| !hidden.contains(place)).collect();
        if extremities != self.extremities {
            self.extremities = extremities;
            let states = self.extremities.iter().map(|&place| self.events[place].after.unwrap()).collect();
            self.current = self.resolve(states);
        }
    }

    fn number(&mut self, state: State) -> usize {
        *self.numbers.entry(state).or_insert_with_key(|state| {
            self.states.push(state.clone());
            self.states.len() - 1
        })
    }

    /// The number of the resolution of states.
    pub fn resolve(&mut self, mut states: Vec<usize>) -> usize {
        states.sort_unstable();
        states.dedup();
        match states[..] {
            [] => return 0,
            [only] => return only,
            _ => {}
        }
        if let Some(&known) = self.resolved.get(&states) {
            return known;
        }
        let maps: Vec<&State> = states.iter().map(|&number| &self.states[number]).collect();
        let resolved = match &self.rules.state_res {
            StateResolutionVersion::V1 => {
                let rank = |&place: &usize| (self.events[place].pdu.depth, self.events[place].pdu.id.to_string());
                let allowed = |state: &State, place: &usize| self.allows(state, &self.events[*place]);
                resolve_v1(&maps, rank, Key::clone, allowed)
            }
            _ => self.resolve_v2(&maps),
        };
        let number = self.number(resolved);
        self.resolved.insert(states, number);
        number
    }

    fn resolve_v2(&self, states: &[&State]) -> State {
        let ids = |places: &BTreeSet<usize>| -> EventIdSet<OwnedEventId> {
            places.iter().map(|&place| self.events[place].pdu.id.clone()).collect()
        };
        let map = |state: &&State| -> StateMap<OwnedEventId> {
            let entries = state.iter().map(|(key, &place)| (key, self.events[place].pdu.id.clone()));
            entries
                .map(|((event_type, key), id)| ((event_type.as_str().into(), counted_key(event_type, key)), id))
                .collect()
        };
        let maps: Vec<StateMap<OwnedEventId>> = states.iter().map(map).collect();
        let chain = |state: &&State| ids(&self.chain(state.values().copied()));
        let resolved = ruma_state_res::resolve(
            &self.rules.authorization,
            self.rules.state_res.v2_rules().unwrap(),
            &maps,
            states.iter().map(chain).collect(),
            |id| self.fetch(id),
            |conflicts| {
                let conflicted: BTreeSet<usize> = conflicts.values().flatten().map(|id| self.places[id]).collect();
                let mut subgraph = self.chain(conflicted.iter().copied());
                subgraph.retain(|&place| !self.events[place].chain.is_disjoint(&conflicted));
                Some(ids(&subgraph))
            },
        );
        let places = resolved.unwrap().into_values().map(|id| self.places[&id]);
        places.map(|place| (self.events[place].pdu.key().unwrap(), place)).collect()
    }

    fn chain(&self, places: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        places.flat_map(|place| self.events[place].chain.iter().copied()).collect()
    }

    fn fetch(&self, id: &EventId) -> Option<&Stored> {
        let absent_join_rules = self.absent_join_rules.as_ref().filter(|event| event.pdu.id == id);
        self.places.get(id).map(|&place| &self.events[place]).or(absent_join_rules)
    }

    /// Makes the join rules that count where there are none, in the room of this event.
    fn make_absent_join_rules(&mut self, pdu: &Pdu) {
        if self.absent_join_rules.is_none()
            && let Some(room_id) = &pdu.room_id
        {
            let event = Pdu::absent_join_rules(room_id, absent_join_rules());
            self.absent_join_rules = Some(Stored::standalone(Rc::new(event)));
        }
    }

    /// The state that an event's auth events make; from version 12 on the room ID tells the create event.
    fn with_implied_create(&self, mut state: State) -> State {
        if let Some(create) = self.create().filter(|_| self.rules.authorization.room_create_event_id_as_room_id) {
            state.insert(("m.room.create".to_owned(), String::new()), create);
        }
        state
    }

    /// The room's create event.
    fn create(&self) -> Option<usize> {
        self.events.iter().position(|event| event.pdu.is_at("m.room.create", "") && !event.rejected())
    }

    /// Whether the rules allow an event in a state.
    fn allows(&self, state: &State, event: &Stored) -> bool {
        let get = |event_type: &StateEventType, counted: &str| {
            let key = (event_type.to_string(), state_key_of(counted).to_owned());
            let is_join_rules = key == ("m.room.join_rules".to_owned(), String::new());
            let absent = self.absent_join_rules.as_ref().filter(|_| is_join_rules);
            state.get(&key).map(|&place| &self.events[place]).or(absent)
        };
        check_state_dependent_auth_rules(&self.rules.authorization, event, get).is_ok()
    }
}

impl Event for Stored {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.pdu.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.pdu.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.pdu.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.pdu.ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.pdu.event_type
    }

    fn content(&self) -> &RawValue {
        &self.pdu.counted.content
    }

    fn state_key(&self) -> Option<&str> {
        self.pdu.counted.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.pdu.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.pdu.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.verdict == Verdict::Rejected
    }
}
