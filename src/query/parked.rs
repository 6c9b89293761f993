//! Reading inputs that are parked: what each lacks as of the view, and what it waits for in the end.
//!
//! What an input lacks may be parked itself, and lack something in turn. The events at the end of that, which nobody has,
//! are what must be fetched. In a chain of parked inputs each waits for the same ones, so that following the chain from
//! each input would take the square of its length: inputs share what they wait for, and each row is read once.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use ruma_common::{OwnedEventId, OwnedRoomId, RoomVersionId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Room, View, parse_event_id, parse_room_id};
use crate::{
    encoding::{event_key::EventKey, head::RoomHead},
    error::{Error, Result},
    ids::EventNid,
    room::{
        outcome::Input,
        parking::{in_order_of_naming, input_of, parked_pdu},
    },
    tables::{
        parked::{ParkedRow, Role, Want},
        rooms,
        rows::Rows,
    },
};

/// An input that waits for events which are not here.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ParkedInput {
    /// The room's ID.
    pub room_id: OwnedRoomId,
    /// The room's version.
    pub room_version: RoomVersionId,
    /// The event's ID.
    pub event_id: OwnedEventId,
    /// The depth that its sender gave it.
    pub depth: i64,
    /// The events before it, each once.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that authorise it, each once.
    pub auth_events: Vec<OwnedEventId>,
    /// The input, as it was submitted.
    pub input: Input,
    /// The newest position of the room when it was parked; 0 in a room that had no events.
    pub parked_at: u32,
    /// How many positions the room has had since.
    pub parked_for: u32,
    /// What it still lacks, in the order in which it names that: auth events, events of the supplied state, prev events.
    /// Empty if it cannot be decided though all is here, or has not been taken up yet.
    pub lacks: Vec<Lack>,
    /// The events that must come before it can be decided, and that are not parked here either: those of `lacks`, and
    /// those that the parked ones of `lacks` wait for. All that it lacks itself are there, of the others at most
    /// [`ParkedInput::MAX_INHERITED`]. Empty if every way ends at an input that cannot be decided, or in a circle.
    pub waits_for: Vec<OwnedEventId>,
    /// Whether it waits for more events than `waits_for` has.
    pub waits_for_more: bool,
    /// Why it cannot be decided though all is here.
    pub failed: Option<String>,
}

/// An event that a parked input lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The event.
    pub event_id: OwnedEventId,
    /// What it is wanted as. A prev event is lacking as long as it has no state here, also if it is stored.
    pub role: Role,
}

impl ParkedInput {
    /// The most events of [`ParkedInput::waits_for`] that come from other parked inputs.
    pub const MAX_INHERITED: usize = 100;
}

impl View {
    /// The parked inputs of a room, or of all rooms one by one, in the order of parking; also of rooms that have not begun,
    /// of which nothing but parked inputs is here. Rows: those of the parked inputs, each once, and look-ups of what they lack.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such room; `Corrupt` or `Unavailable`, as for every read.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use roomserver::{Input, Options, RoomServer, kv::memory::MemoryStore, tables};
    /// # fn main() -> Result<(), roomserver::Error> {
    /// # let server = RoomServer::open_on(Arc::new(MemoryStore::open(&tables::specs())), &Options::default())?;
    /// let mut lines = include_str!("../../examples/first.jsonl").lines();
    /// server.submit(Input::new(lines.next().unwrap()))?.wait()?;
    /// // The second line is left out.
    /// server.submit(Input::new(lines.nth(1).unwrap()))?.wait()?;
    /// for parked in server.view().parked(None)? {
    ///     println!("{} waits for {:?}", parked.event_id, parked.waits_for);
    /// }
    /// # assert_eq!(server.view().parked(None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn parked(&self, room_id: Option<&str>) -> Result<Vec<ParkedInput>> {
        let mut parked = Vec::new();
        for room in self.rooms_or_one(room_id)? {
            parked.extend(Waiting::new(self.rows(), &room)?.all()?);
        }
        Ok(parked)
    }

    /// The parked inputs of an event: at most one, unless servers reuse the textual IDs of room versions 1 and 2. Without a
    /// room it is looked for in each. Rows: a look-up for each room; then those of the parked inputs that it waits for.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such room; `Corrupt` or `Unavailable`, as for every read.
    pub fn parked_event(&self, event_id: &str, room_id: Option<&str>) -> Result<Vec<ParkedInput>> {
        let mut parked = Vec::new();
        for room in self.rooms_or_one(room_id)? {
            let Some(key) = EventKey::of(event_id, room.rules.event_id_format) else { continue };
            if self.rows().parked(room.nid, &key)?.is_some() {
                parked.extend(Waiting::new(self.rows(), &room)?.one(key)?);
            }
        }
        Ok(parked)
    }

    fn rooms_or_one(&self, room_id: Option<&str>) -> Result<Vec<rooms::Room>> {
        let Some(room_id) = room_id else { return self.rows().rooms() };
        let unknown = || Error::not_found(format!("room {room_id} is not in the store"));
        Ok(vec![self.rows().room_by_id(room_id)?.ok_or_else(unknown)?])
    }
}

impl Room {
    /// The inputs of this room that wait for other events, in the order in which they came: [`View::parked`] of it.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn parked(&self) -> Result<Vec<ParkedInput>> {
        Waiting::new(self.view.rows(), &self.row)?.all()
    }

    /// All events that the parked inputs of the room lack and that are not parked themselves, ascending: what must be
    /// fetched. Rows: those of the parked inputs, and a look-up for each event that they name.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unavailable`, as for every read.
    pub fn lacks(&self) -> Result<Vec<OwnedEventId>> {
        Waiting::new(self.view.rows(), &self.row)?.lacking()
    }
}

/// What the parked inputs of a room wait for, as far as it was followed.
struct Waiting<'v> {
    rows: Rows<'v>,
    room: &'v rooms::Room,
    head: RoomHead,
    nodes: Vec<Node>,
    places: FxHashMap<EventKey, usize>,
    /// The inputs of which not everything was followed that they wait for, and those that wait for one of them.
    open: Vec<usize>,
}

/// A parked input on the way.
struct Node {
    /// The input, if it is asked for.
    input: Option<ParkedInput>,
    /// What it lacks and nobody has, each once.
    own: Vec<OwnedEventId>,
    /// What it lacks and that is parked.
    next: Vec<EventKey>,
    /// How many of `next` were followed.
    followed: usize,
    /// The place of the first input that is known so far to be in a circle with this one: its own, if there is none.
    first: usize,
    /// What the parked inputs wait for that it lacks, once that is known.
    inherited: Option<Known>,
    /// The same, and what it lacks itself.
    known: Option<Known>,
}

/// Events that nobody has and that parked inputs wait for; shared by all that wait for the same.
#[derive(Clone)]
struct Known {
    /// In the order in which they were found, each once, at most [`ParkedInput::MAX_INHERITED`].
    events: Arc<[OwnedEventId]>,
    /// Whether there are more.
    is_cut: bool,
}

impl<'v> Waiting<'v> {
    fn new(rows: Rows<'v>, room: &'v rooms::Room) -> Result<Self> {
        let head = rows.head(room.nid)?;
        Ok(Self { rows, room, head, nodes: Vec::new(), places: FxHashMap::default(), open: Vec::new() })
    }

    /// The keys of all parked inputs of the room, in the order of parking.
    fn order(&self) -> Result<Vec<EventKey>> {
        if self.head.counts.parked == 0 {
            return Ok(Vec::new());
        }
        Ok(self.rows.all_parked(self.room.nid, &mut Err)?.into_iter().map(|(_, key)| key).collect())
    }

    /// All parked inputs of the room.
    fn all(mut self) -> Result<Vec<ParkedInput>> {
        let order = self.order()?;
        for key in &order {
            self.follow(*key, true)?;
        }
        let mut nodes: Vec<Option<Node>> = self.nodes.into_iter().map(Some).collect();
        let node = |key: &EventKey| nodes.get_mut(*self.places.get(key)?)?.take();
        Ok(order.iter().filter_map(node).filter_map(Node::finish).collect())
    }

    /// The parked input of an event, if there is one.
    fn one(mut self, key: EventKey) -> Result<Option<ParkedInput>> {
        self.follow(key, false)?;
        // It was met first.
        Ok(self.nodes.into_iter().next().and_then(Node::finish))
    }

    /// What the parked inputs of the room lack and that is not parked.
    fn lacking(&self) -> Result<Vec<OwnedEventId>> {
        let order = self.order()?;
        let parked: FxHashSet<EventKey> = order.iter().copied().collect();
        let mut lacking = BTreeSet::new();
        for key in &order {
            let Some(row) = self.rows.parked(self.room.nid, key)? else { continue };
            for want in row.missing {
                let is_parked = self.key_of(&want.event_id).is_some_and(|wanted| parked.contains(&wanted));
                if !is_parked && self.is_lacking(&want)? {
                    lacking.insert(parse_event_id(&want.event_id)?);
                }
            }
        }
        Ok(lacking.into_iter().collect())
    }

    /// Finds out what a parked input waits for. Inputs that wait for each other in a circle wait for the same: this is
    /// Tarjan's search for such circles, with a stack of its own where that recurses.
    fn follow(&mut self, start: EventKey, with_inputs: bool) -> Result<()> {
        if self.places.contains_key(&start) {
            return Ok(());
        }
        let mut way: Vec<usize> = self.enter(start, true)?.into_iter().collect();
        while let Some(at) = way.last().copied() {
            let Some(node) = self.nodes.get_mut(at) else { break };
            let Some(next) = node.next.get(node.followed).copied() else {
                way.pop();
                self.leave(at, way.last().copied());
                continue;
            };
            node.followed = node.followed.saturating_add(1);
            match self.places.get(&next).and_then(|place| self.nodes.get(*place)) {
                Some(met) if met.known.is_none() => self.join(at, met.first),
                Some(_) => {}
                None => way.extend(self.enter(next, with_inputs)?),
            }
        }
        Ok(())
    }

    /// Reads a parked input; `None` if there is none.
    fn enter(&mut self, key: EventKey, with_input: bool) -> Result<Option<usize>> {
        let Some(row) = self.rows.parked(self.room.nid, &key)? else { return Ok(None) };
        let input = self.read(&row)?;
        let place = self.nodes.len();
        self.places.insert(key, place);
        let (mut own, mut next) = (Vec::new(), Vec::new());
        let mut seen = FxHashSet::default();
        // An event that is wanted in two roles counts once.
        for Lack { event_id, .. } in input.lacks.iter().filter(|lack| seen.insert(&lack.event_id)) {
            match self.key_of(event_id.as_str()) {
                Some(wanted) if self.is_parked(&wanted)? => next.push(wanted),
                _ => own.push(event_id.clone()),
            }
        }
        let input = with_input.then_some(input);
        self.nodes.push(Node { input, own, next, followed: 0, first: place, inherited: None, known: None });
        self.open.push(place);
        Ok(Some(place))
    }

    /// Ends with an input of which everything that it lacks was followed; `before` is the one that it was reached from. The
    /// first input of a circle ends last: then all that the circle waits for is known.
    fn leave(&mut self, at: usize, before: Option<usize>) {
        let Some(first) = self.nodes.get(at).map(|node| node.first) else { return };
        if first < at {
            if let Some(before) = before {
                self.join(before, first);
            }
            return;
        }
        let begin = self.open.iter().rposition(|place| *place == at).unwrap_or(self.open.len());
        let circle = self.open.split_off(begin);
        let (inherited, known) = self.known_of(&circle);
        for place in circle {
            if let Some(node) = self.nodes.get_mut(place) {
                node.inherited = Some(inherited.clone());
                node.known = Some(known.clone());
            }
        }
    }

    /// Notes that an input waits for one that is still open, and so for all that were opened after that one.
    fn join(&mut self, at: usize, first: usize) {
        if let Some(node) = self.nodes.get_mut(at) {
            node.first = node.first.min(first);
        }
    }

    /// What the inputs of a circle inherit, and what they wait for with their own. Most circles are one input that waits
    /// for others.
    fn known_of(&self, circle: &[usize]) -> (Known, Known) {
        let nodes = || circle.iter().filter_map(|place| self.nodes.get(*place));
        let next = || nodes().flat_map(|node| &node.next);
        let behind: Vec<&Known> =
            next().filter_map(|key| self.nodes.get(*self.places.get(key)?)?.known.as_ref()).collect();
        let inherited = merged(&[], &behind);
        let own: Vec<&OwnedEventId> = nodes().flat_map(|node| &node.own).collect();
        let known = merged(&own, &[&inherited]);
        (if circle.len() > 1 { known.clone() } else { inherited }, known)
    }

    fn read(&self, row: &ParkedRow) -> Result<ParkedInput> {
        let pdu = parked_pdu(row, &self.room.rules)?;
        let (parked_at, failed) = (row.parked_at, row.failed.clone());
        let mut lacking = Vec::new();
        for want in &row.missing {
            if self.is_lacking(want)? {
                lacking.push(want.clone());
            }
        }
        let input = input_of(row)?;
        let lacking = in_order_of_naming(lacking, &pdu, &input, &|event_id| self.find(event_id))?;
        let lack = |want: Want| Ok(Lack { event_id: parse_event_id(&want.event_id)?, role: want.role });
        let ids = |ids: &[Box<str>]| ids.iter().map(|event_id| parse_event_id(event_id)).collect::<Result<Vec<_>>>();
        Ok(ParkedInput {
            room_id: parse_room_id(&self.room.id)?,
            room_version: self.room.version.clone(),
            event_id: parse_event_id(pdu.event_id())?,
            depth: pdu.depth(),
            prev_events: ids(pdu.prev_events())?,
            auth_events: ids(pdu.auth_events())?,
            input,
            parked_at,
            parked_for: self.head.last_position.saturating_sub(parked_at),
            lacks: lacking.into_iter().map(lack).collect::<Result<_>>()?,
            waits_for: Vec::new(),
            waits_for_more: false,
            failed,
        })
    }

    fn key_of(&self, event_id: &str) -> Option<EventKey> {
        EventKey::of(event_id, self.room.rules.event_id_format)
    }

    fn find(&self, event_id: &str) -> Result<Option<EventNid>> {
        self.key_of(event_id).map_or(Ok(None), |key| self.rows.find_event(self.room, &key))
    }

    fn is_parked(&self, key: &EventKey) -> Result<bool> {
        Ok(self.places.contains_key(key) || self.rows.parked(self.room.nid, key)?.is_some())
    }

    /// Tells whether an event is not here as it is wanted: a prev event with a state, any other with its body.
    fn is_lacking(&self, want: &Want) -> Result<bool> {
        let Some(nid) = self.find(&want.event_id)? else { return Ok(true) };
        if want.role != Role::Prev && self.head.collected.bodies == 0 {
            return Ok(false);
        }
        let row = self.rows.event_row(self.room.nid, nid)?;
        Ok(if want.role == Role::Prev { row.states.is_none() } else { !row.has_body() })
    }
}

/// Events, and those that others wait for; each once, as many as may be. Where there is nothing but one set, as along a
/// chain, it is shared.
fn merged(own: &[&OwnedEventId], others: &[&Known]) -> Known {
    if own.is_empty()
        && let Some((first, rest)) = others.split_first()
        && rest.iter().all(|other| Arc::ptr_eq(&other.events, &first.events))
    {
        return (*first).clone();
    }
    let mut events = Vec::new();
    let mut seen = FxHashSet::default();
    let mut is_cut = others.iter().any(|other| other.is_cut);
    for event_id in own.iter().copied().chain(others.iter().flat_map(|other| other.events.iter())) {
        if !seen.insert(event_id) {
            continue;
        }
        if events.len() == ParkedInput::MAX_INHERITED {
            is_cut = true;
            break;
        }
        events.push(event_id.clone());
    }
    Known { events: events.into(), is_cut }
}

impl Node {
    /// The input, with what it waits for: its own first.
    fn finish(self) -> Option<ParkedInput> {
        let Self { input, own, inherited, .. } = self;
        let (mut input, Known { events, is_cut }) = (input?, inherited?);
        let is_own: FxHashSet<&OwnedEventId> = own.iter().collect();
        let others: Vec<OwnedEventId> = events.iter().filter(|event_id| !is_own.contains(event_id)).cloned().collect();
        input.waits_for = [own, others].concat();
        input.waits_for_more = is_cut;
        Some(input)
    }
}
