//! States in memory, to hold layouts against: a persistent map of which many versions share most of their nodes.

use std::sync::Arc;

/// Children of a node.
const FAN: usize = 32;
const FAN_BITS: u32 = FAN.ilog2();

/// The event at each key of a room, by the key's place in [`History::keys`](super::history::History); a clone costs
/// nothing, a change a few nodes.
#[derive(Debug, Clone)]
pub struct State {
    root: Node,
    /// Levels of inner nodes.
    height: u32,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node {
    Empty,
    Leaf(Arc<[u32; FAN]>),
    Inner(Arc<[Node; FAN]>),
}

/// Where two states differ: place, event in the first, event in the second; 0 is none.
pub type Differing = (u32, u32, u32);

impl State {
    /// The empty state of a room that will have up to `keys` keys.
    pub fn new(keys: usize) -> Self {
        let mut height = 0;
        while FAN.saturating_pow(height + 1) < keys {
            height += 1;
        }
        Self { root: Node::Empty, height, len: 0 }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The event at a place; 0 if there is none.
    pub fn get(&self, place: u32) -> u32 {
        let mut node = &self.root;
        let mut height = self.height;
        loop {
            let slot = slot(place, height);
            node = match node {
                Node::Empty => return 0,
                Node::Leaf(events) => return events.get(slot).copied().unwrap_or(0),
                Node::Inner(children) => children.get(slot).unwrap_or(&Node::Empty),
            };
            height = height.saturating_sub(1);
        }
    }

    /// Sets the event at a place, or removes it with 0; gives what was there.
    pub fn set(&mut self, place: u32, event: u32) -> u32 {
        let before = set(&mut self.root, self.height, place, event);
        match (before, event) {
            (0, 1..) => self.len += 1,
            (1.., 0) => self.len = self.len.saturating_sub(1),
            _ => {}
        }
        before
    }

    /// Visits every place that has an event, ascending.
    pub fn for_each(&self, visit: &mut dyn FnMut(u32, u32)) {
        each(&self.root, self.height, 0, visit);
    }

    /// Where another state differs, ascending. Costs what differs.
    pub fn differences(&self, other: &Self) -> Vec<Differing> {
        let mut found = Vec::new();
        differ(&self.root, &other.root, self.height, 0, &mut found);
        found
    }
}

fn slot(place: u32, height: u32) -> usize {
    (place >> (FAN_BITS * height)) as usize % FAN
}

fn set(node: &mut Node, height: u32, place: u32, event: u32) -> u32 {
    if matches!(node, Node::Empty) {
        *node = if height == 0 {
            Node::Leaf(Arc::new([0; FAN]))
        } else {
            Node::Inner(Arc::new([const { Node::Empty }; FAN]))
        };
    }
    match node {
        Node::Empty => 0,
        Node::Leaf(events) => match Arc::make_mut(events).get_mut(slot(place, height)) {
            Some(at) => std::mem::replace(at, event),
            None => 0,
        },
        Node::Inner(children) => match Arc::make_mut(children).get_mut(slot(place, height)) {
            Some(child) => set(child, height.saturating_sub(1), place, event),
            None => 0,
        },
    }
}

fn each(node: &Node, height: u32, first: u32, visit: &mut dyn FnMut(u32, u32)) {
    match node {
        Node::Empty => {}
        Node::Leaf(events) => {
            for (place, event) in (first..).zip(events.iter()).filter(|(_, event)| **event != 0) {
                visit(place, *event);
            }
        }
        Node::Inner(children) => {
            let width = 1 << (FAN_BITS * height);
            for (place, child) in (first..).step_by(width).zip(children.iter()) {
                each(child, height.saturating_sub(1), place, visit);
            }
        }
    }
}

fn differ(left: &Node, right: &Node, height: u32, first: u32, found: &mut Vec<Differing>) {
    match (left, right) {
        (Node::Leaf(a), Node::Leaf(b)) if Arc::ptr_eq(a, b) => {}
        (Node::Inner(a), Node::Inner(b)) if Arc::ptr_eq(a, b) => {}
        (Node::Leaf(a), Node::Leaf(b)) => {
            let pairs = (first..).zip(a.iter().zip(b.iter())).filter(|(_, (a, b))| a != b);
            found.extend(pairs.map(|(place, (a, b))| (place, *a, *b)));
        }
        (Node::Inner(a), Node::Inner(b)) => {
            let width = 1 << (FAN_BITS * height);
            for (place, (a, b)) in (first..).step_by(width).zip(a.iter().zip(b.iter())) {
                differ(a, b, height.saturating_sub(1), place, found);
            }
        }
        (Node::Empty, only) => each(only, height, first, &mut |place, event| found.push((place, 0, event))),
        (only, _) => each(only, height, first, &mut |place, event| found.push((place, event, 0))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_state_is_what_a_plain_map_is(
            keys in 1usize..40_000,
            changes in prop::collection::vec((any::<u32>(), 0u32..4), 0..300),
        ) {
            let (mut state, mut map) = (State::new(keys), BTreeMap::new());
            let mut older = (state.clone(), map.clone());
            for (nth, (place, event)) in changes.into_iter().enumerate() {
                if nth == 100 {
                    older = (state.clone(), map.clone());
                }
                let place = place % u32::try_from(keys).unwrap();
                let before = if event == 0 { map.remove(&place) } else { map.insert(place, event) };
                prop_assert_eq!(state.set(place, event), before.unwrap_or(0));
                prop_assert_eq!(state.get(place), event);
            }
            let entries = |state: &State| {
                let mut entries = Vec::new();
                state.for_each(&mut |place, event| entries.push((place, event)));
                entries
            };
            prop_assert_eq!(entries(&state), map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(entries(&older.0), older.1.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!((state.len(), state.is_empty()), (map.len(), map.is_empty()));
            let value = |map: &BTreeMap<u32, u32>, place: u32| map.get(&place).copied().unwrap_or(0);
            let mut places: Vec<u32> = map.keys().chain(older.1.keys()).copied().collect();
            places.sort_unstable();
            places.dedup();
            let differing: Vec<Differing> = places
                .into_iter()
                .map(|place| (place, value(&older.1, place), value(&map, place)))
                .filter(|(_, a, b)| a != b)
                .collect();
            prop_assert_eq!(older.0.differences(&state), differing);
        }
    }
}
