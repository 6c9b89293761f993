//! The mainline ordering of v2.

use std::{cmp::Reverse, collections::BTreeSet};

use rustc_hash::FxHashMap;

use super::{content::types, loaded::Loaded};
use crate::{error::Result, ids::EventNid};

/// A mainline position; later ones are further from the power levels that the mainline begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    At(usize),
    /// The sentinel ∞: no event of the mainline is found.
    Beyond,
}

/// Sorts events by the mainline ordering based on `power_levels`, from smallest to largest.
///
/// "1. the mainline position of x is greater than the mainline position of y; or 2. the mainline positions of the
/// events are the same, but x's origin_server_ts is less than y's origin_server_ts; or 3. [...] x's event_id is less
/// than y's event_id."
pub(super) fn mainline_ordering(
    room: &Loaded<'_>,
    power_levels: Option<EventNid>,
    events: &BTreeSet<EventNid>,
) -> Result<Vec<EventNid>> {
    let mut mainline = Mainline::new(room, power_levels);
    let mut ordered = Vec::with_capacity(events.len());
    for &nid in events {
        let event = room.event(nid)?;
        ordered.push((Reverse(mainline.position_of(nid)?), event.origin_server_ts, event, nid));
    }
    ordered.sort_by(|x, y| (x.0, x.1, &x.2.event_id).cmp(&(y.0, y.1, &y.2.event_id)));
    Ok(ordered.into_iter().map(|(.., nid)| nid).collect())
}

/// "Starting with i = 0, repeatedly fetch P(i+1), the m.room.power_levels event in the auth_events of P(i)."
///
/// Only as much of it is fetched as positions were asked for: numbers fall along it.
struct Mainline<'a> {
    room: &'a Loaded<'a>,
    fetched: FxHashMap<EventNid, usize>,
    /// The first event that is not fetched yet.
    rest: Option<EventNid>,
    /// Positions of power levels that were met on the way from other events.
    known: FxHashMap<EventNid, Position>,
}

impl<'a> Mainline<'a> {
    fn new(room: &'a Loaded<'a>, power_levels: Option<EventNid>) -> Self {
        Self { room, fetched: FxHashMap::default(), rest: power_levels, known: FxHashMap::default() }
    }

    /// The index of `nid` in the mainline, which is fetched down to that number.
    fn index_of(&mut self, nid: EventNid) -> Result<Option<usize>> {
        while let Some(next) = self.rest.filter(|&next| next >= nid) {
            self.fetched.insert(next, self.fetched.len());
            let event = self.room.event(next)?;
            self.rest = self.room.auth_event_at(&event, types::POWER_LEVELS)?.map(|(earlier, _)| earlier);
        }
        Ok(self.fetched.get(&nid).copied())
    }

    /// "Find the smallest index j ≥ 1 for which e(j) belongs to the mainline of P. If such a j exists, then e(j) = P(i)
    /// for some unique index i ≥ 0. Otherwise set i = ∞."
    fn position_of(&mut self, nid: EventNid) -> Result<Position> {
        let mut passed = Vec::new();
        let mut event = self.room.event(nid)?;
        let position = loop {
            let Some((power_levels, levels_event)) = self.room.auth_event_at(&event, types::POWER_LEVELS)? else {
                break Position::Beyond;
            };
            if let Some(&known) = self.known.get(&power_levels) {
                break known;
            }
            passed.push(power_levels);
            if let Some(index) = self.index_of(power_levels)? {
                break Position::At(index);
            }
            event = levels_event;
        };
        self.known.extend(passed.into_iter().map(|power_levels| (power_levels, position)));
        Ok(position)
    }
}
