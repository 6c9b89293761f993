//! Rooms of people who disagree: bans, demotions, join rules and joins at once, in forks, fans and braids. What is sent
//! may be refused.

use std::{collections::BTreeMap, rc::Rc};

use roomserver::Kind;
use ruma_common::{OwnedEventId, RoomVersionId, room_version_rules::RoomVersionRules};
use ruma_state_res::auth_types_for_event;
use serde_json::{Value, json};

use super::{
    acts,
    pdu::{In, Pdu},
    plain::{Plain, State},
    random::Random,
};

/// What an act is, before it has a place in the room.
pub struct Draft {
    pub sender: String,
    pub event_type: String,
    pub state_key: Option<String>,
    pub content: Value,
    pub redacts: Option<OwnedEventId>,
}

impl Draft {
    pub fn state(sender: &str, event_type: &str, state_key: &str, content: Value) -> Self {
        Self { state_key: Some(state_key.into()), ..Self::message(sender, event_type, content) }
    }

    pub fn message(sender: &str, event_type: &str, content: Value) -> Self {
        Self { sender: sender.into(), event_type: event_type.into(), state_key: None, content, redacts: None }
    }

    pub fn member(sender: &str, user: &str, membership: &str) -> Self {
        Self::state(sender, "m.room.member", user, json!({ "membership": membership }))
    }
}

/// A room in the making, and what a server that has seen all of it says.
pub struct Room {
    pub random: Random,
    pub version: RoomVersionId,
    pub rules: RoomVersionRules,
    pub plain: Plain,
    /// What a server that misses nothing got.
    pub inputs: Vec<In>,
    /// Copies with a right content hash, of events that came first with a wrong one.
    pub unspoilt: BTreeMap<OwnedEventId, Rc<Pdu>>,
    room_id: Option<String>,
    /// Nearly all events have one time.
    still: bool,
}

pub const ALICE: &str = "@alice:one";

impl Room {
    /// A room that Alice has made, with some of the others in it.
    pub fn new(version: &RoomVersionId, seed: u64) -> Self {
        let rules = version.rules().unwrap();
        let mut random = Random::new(seed);
        let still = random.percent(30);
        let by_hash = rules.authorization.room_create_event_id_as_room_id;
        let room_id = (!by_hash).then(|| "!room:one".to_owned());
        let plain = Plain::new(rules.clone());
        let mut room = Self {
            random,
            version: version.clone(),
            rules,
            plain,
            inputs: Vec::new(),
            unspoilt: BTreeMap::new(),
            room_id,
            still,
        };
        let mut content = json!({ "room_version": version.as_str(), "creator": ALICE });
        if by_hash && room.random.percent(40) {
            content["additional_creators"] = json!(["@bob:two"]);
        }
        if room.random.percent(4) {
            content["m.federate"] = json!(false);
        }
        let create = room.extend(&Draft::state(ALICE, "m.room.create", "", content));
        room.room_id.get_or_insert_with(|| room.plain.events[create].pdu.id.as_str().replacen('$', "!", 1));
        room.extend(&Draft::member(ALICE, ALICE, "join"));
        if !room.random.percent(10) {
            let mut levels = json!({ "users": { "@carol:two": 50 }, "invite": 0 });
            if !by_hash {
                levels["users"][ALICE] = json!(100);
                levels["users"]["@bob:two"] = json!(50);
            }
            if room.random.percent(50) {
                levels["events"] = json!({ "m.room.topic": 0, "m.room.power_levels": 50 });
            }
            room.extend(&Draft::state(ALICE, "m.room.power_levels", "", levels));
        }
        room.extend(&Draft::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" })));
        for user in &acts::USERS[1..5] {
            room.extend(&Draft::member(user, user, "join"));
        }
        room
    }

    /// Goes on for about `events` events: quiet stretches, forks, fans and braids.
    pub fn grow(&mut self, events: usize) {
        let end = self.plain.events.len() + events;
        while self.plain.events.len() < end {
            match self.random.below(10) {
                0 | 1 => self.quiet(),
                2..=5 => self.fork(),
                6 | 7 => self.anywhere(),
                8 => {
                    let length = 8 + self.random.below(20);
                    self.braid(length);
                }
                _ => self.fan(),
            }
        }
    }

    fn quiet(&mut self) {
        for _ in 0..=self.random.below(4) {
            let prev = self.ends();
            self.act(&prev);
        }
    }

    /// The extremities, as far as one event can name them.
    fn ends(&mut self) -> Vec<usize> {
        let ends: Vec<usize> = self.plain.extremities.iter().copied().collect();
        self.random.some(&ends, 20)
    }

    /// Lines that see little of each other, and then an event that sees all.
    fn fork(&mut self) {
        let start = self.ends();
        let count = 2 + self.random.below(4);
        let mut lines = vec![start; count];
        for _ in 0..count * (1 + self.random.below(5)) {
            let line = self.random.below(count);
            let mut prev = lines[line].clone();
            if self.random.percent(15) {
                let other = self.random.below(count);
                prev.extend(lines[other].iter().take(2));
            }
            lines[line] = vec![self.act(&prev)];
        }
        if self.random.percent(80) {
            self.act(&lines.concat());
        }
    }

    /// Events that each name some of those before, whatever became of them.
    fn anywhere(&mut self) {
        for _ in 0..=self.random.below(6) {
            let recent = self.plain.events.len().saturating_sub(4 + self.random.below(20));
            let recent: Vec<usize> = (recent..self.plain.events.len()).collect();
            let count = 1 + self.random.below(3);
            let prev = self.random.some(&recent, count);
            self.act(&prev);
        }
    }

    /// Two or three lines that see each other's events one behind.
    pub fn braid(&mut self, length: usize) {
        let start = self.ends();
        let mut lines = vec![start; 2 + self.random.below(2)];
        for at in 0..length {
            let (own, other) = (at % lines.len(), (at + 1) % lines.len());
            let prev = [lines[own].as_slice(), lines[other].as_slice()].concat();
            let next = self.act(&prev);
            lines[own] = vec![next];
        }
        self.act(&lines.concat());
    }

    /// Up to 20 events on one, and one that names them all.
    pub fn fan(&mut self) {
        let start = self.ends();
        let count = 2 + self.random.below(19);
        let ends: Vec<usize> = (0..count).map(|_| self.act(&start)).collect();
        self.act(&ends);
    }

    /// One of the first events.
    fn extend(&mut self, draft: &Draft) -> usize {
        let prev: Vec<usize> = self.plain.extremities.iter().copied().collect();
        let state = self.state(&prev);
        let pdu = self.make(&prev, &state, draft);
        self.send(pdu)
    }

    /// Something that somebody tries after these events.
    fn act(&mut self, prev: &[usize]) -> usize {
        let mut prev = prev.to_vec();
        prev.sort_unstable();
        prev.dedup();
        if prev.is_empty() {
            prev = vec![self.plain.events.len() - 1];
        }
        let prev = self.random.some(&prev, 20);
        let state = self.state(&prev);
        let mut pdu = self.draw(&prev, &state);
        // Most servers send only what is allowed where they stand.
        for _ in 0..6 {
            if self.plain.would_allow(&pdu, &state) || self.random.percent(15) {
                break;
            }
            pdu = self.draw(&prev, &state);
        }
        self.send(pdu)
    }

    fn draw(&mut self, prev: &[usize], state: &State) -> Rc<Pdu> {
        let draft = acts::draw(self, state);
        self.make(prev, state, &draft)
    }

    /// The state after these events.
    pub fn state(&mut self, prev: &[usize]) -> State {
        let states = prev.iter().map(|&place| self.plain.events[place].after.unwrap()).collect();
        let number = self.plain.resolve(states);
        self.plain.states[number].clone()
    }

    /// Makes an event of a draft, in the state before it.
    fn make(&mut self, prev: &[usize], state: &State, draft: &Draft) -> Rc<Pdu> {
        let auth_events = self.auth_events(state, draft);
        let place = self.plain.events.len();
        let deepest = prev.iter().map(|&place| self.plain.events[place].pdu.depth).max();
        let ts = if self.still { 1000 + self.random.below(2) } else { 1000 + place + self.random.below(12) };
        let named = |places: &[usize]| -> Vec<Value> {
            places.iter().map(|&place| self.plain.events[place].pdu.reference.clone()).collect()
        };
        let mut event = json!({
            "type": draft.event_type,
            "sender": draft.sender,
            "content": draft.content,
            "prev_events": named(prev),
            "auth_events": named(&auth_events),
            "depth": deepest.map_or(1, |depth| depth + 1),
            "origin_server_ts": ts,
        });
        if let Some(room_id) = &self.room_id {
            event["room_id"] = json!(room_id);
        }
        if let Some(state_key) = &draft.state_key {
            event["state_key"] = json!(state_key);
        }
        if let Some(redacts) = &draft.redacts {
            event["redacts"] = json!(redacts);
            event["content"]["redacts"] = json!(redacts);
        }
        if self.rules.event_format.require_event_id {
            let server = draft.sender.split_once(':').unwrap().1;
            event["event_id"] = json!(format!("${}{place}:{server}", self.random.below(1000)));
        }
        // Redaction takes from these what decides about later events.
        let decides = ["m.room.third_party_invite", "m.room.power_levels"].contains(&draft.event_type.as_str());
        let spoilt = place > 8 && self.random.percent(if decides { 15 } else { 2 });
        let pdu = Pdu::make(event.clone(), &self.rules, spoilt);
        if spoilt {
            // Where redaction keeps all content the spoilt copy is another event.
            let other = Pdu::make(event, &self.rules, false);
            self.unspoilt.insert(other.id.clone(), other);
        }
        pdu
    }

    /// Takes an event in; gives its place.
    fn send(&mut self, pdu: Rc<Pdu>) -> usize {
        if let Some(&place) = self.plain.places.get(&pdu.id) {
            return place;
        }
        let place = self.plain.events.len();
        let local = place > 8 && self.random.percent(3);
        let input = In { pdu, kind: Kind::New, state: None, local };
        self.plain.take(&input);
        self.inputs.push(input);
        place
    }

    /// The auth events that the state has for a draft, sometimes not as they should be.
    fn auth_events(&mut self, state: &State, draft: &Draft) -> Vec<usize> {
        let content = serde_json::value::to_raw_value(&draft.content).unwrap();
        let sender = draft.sender.as_str().try_into().unwrap();
        let event_type = draft.event_type.as_str().into();
        let rules = &self.rules.authorization;
        let types = auth_types_for_event(&event_type, sender, draft.state_key.as_deref(), &content, rules);
        let keys = types.unwrap_or_default().into_iter().map(|(event_type, key)| (event_type.to_string(), key));
        let mut auth_events: Vec<usize> = keys.filter_map(|key| state.get(&key).copied()).collect();
        if self.plain.events.len() < 9 || !self.random.percent(6) {
            return auth_events;
        }
        match self.random.below(4) {
            0 => drop(auth_events.pop()),
            1 => auth_events.push(self.random.below(self.plain.events.len())),
            2 => auth_events.extend(auth_events.first().copied()),
            _ => self.replace_one(&mut auth_events),
        }
        auth_events
    }

    /// Puts another event of the same key in the place of an auth event.
    fn replace_one(&mut self, auth_events: &mut [usize]) {
        if auth_events.is_empty() {
            return;
        }
        let at = self.random.below(auth_events.len());
        let key = self.plain.events[auth_events[at]].pdu.key();
        let same = |place: &usize| self.plain.events[*place].pdu.key() == key;
        let others: Vec<usize> = (0..self.plain.events.len()).filter(same).collect();
        auth_events[at] = *self.random.choose(&others);
    }
}
