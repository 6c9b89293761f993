//! A prolly tree: a search tree whose nodes end where the hash of a key says so, named by their content.
//!
//! After Noms and Dolt, with the parameters that fared best for states among those tried: 16 entries to a node on
//! average, boundaries from keys alone, two levels of index nodes under each snapshot's root, none in small rooms. Nodes
//! have numbers; a row for each finds the number from 16 bytes of hash, so that equal nodes are stored once.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{
    history::{Change, History},
    layout::{At, Blocks, Changed, Layout, compare, key, load, sound, tables},
};
use crate::{
    encoding::bytes::{Cursor, Packed, bits_for, packed_len, put_packed, put_varint},
    error::Result,
    ids::RoomNid,
    kv::{Batch, Read, Store, TableId, TableSpec},
};

const NODES: TableId = TableId(0);
const NODE_HASHES: TableId = TableId(1);
const ROOTS: TableId = TableId(2);
/// Entries of a node, on average.
const FAN: u64 = 16;

/// Sorted pairs: key and event in a leaf; in an index node, a child's first key and its number.
type Pairs = Vec<(u32, u32)>;

/// The layout.
pub struct Prolly {
    /// Levels of index nodes between root and leaves.
    levels: u32,
    room: Option<RoomNid>,
    newest: u32,
    known: FxHashMap<u128, u32>,
    /// The children of the roots of snapshots that may still get children of their own.
    roots: FxHashMap<u32, Vec<Arc<Node>>>,
    unshared: FxHashSet<u32>,
    blocks: Blocks,
}

/// A stored node.
#[derive(Debug)]
struct Node {
    number: u32,
    first: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Leaf(Pairs),
    Index(Vec<Arc<Node>>),
}

impl Prolly {
    /// The layout with as many levels of index nodes.
    pub fn new(levels: u32) -> Self {
        Self {
            levels,
            room: None,
            newest: 0,
            known: FxHashMap::default(),
            roots: FxHashMap::default(),
            unshared: FxHashSet::default(),
            blocks: Blocks::default(),
        }
    }

    /// What stands in place of a node after changes, which only set keys.
    fn update(&mut self, node: &Arc<Node>, height: u32, changes: &[(u32, u32)], batch: &mut Batch) -> Vec<Arc<Node>> {
        match &node.content {
            Content::Leaf(pairs) => self.leaves(&merged(pairs, changes), batch),
            Content::Index(children) => {
                let children = self.update_children(children, height.saturating_sub(1), changes, batch);
                self.indexes(&children, height, batch)
            }
        }
    }

    fn update_children(
        &mut self,
        children: &[Arc<Node>],
        height: u32,
        changes: &[(u32, u32)],
        batch: &mut Batch,
    ) -> Vec<Arc<Node>> {
        let mut updated = Vec::with_capacity(children.len() + 1);
        let mut rest = changes;
        for (place, child) in children.iter().enumerate() {
            let end = children.get(place + 1).map_or(u32::MAX, |next| next.first);
            let (own, after) = rest.split_at(rest.partition_point(|change| change.0 < end));
            rest = after;
            if own.is_empty() {
                self.share(child);
                updated.push(child.clone());
            } else {
                updated.extend(self.update(child, height, own, batch));
            }
        }
        updated
    }

    fn leaves(&mut self, pairs: &[(u32, u32)], batch: &mut Batch) -> Vec<Arc<Node>> {
        let chunks = chunks(pairs, |pair| pair.0, 0);
        let leaf = |chunk: &[(u32, u32)]| self.store(Content::Leaf(chunk.to_vec()), batch);
        chunks.into_iter().map(leaf).collect()
    }

    fn indexes(&mut self, children: &[Arc<Node>], height: u32, batch: &mut Batch) -> Vec<Arc<Node>> {
        let chunks = chunks(children, |child| child.first, height);
        let index = |chunk: &[Arc<Node>]| self.store(Content::Index(chunk.to_vec()), batch);
        chunks.into_iter().map(index).collect()
    }

    /// Numbers a node, and puts its rows if no equal one is stored.
    fn store(&mut self, content: Content, batch: &mut Batch) -> Arc<Node> {
        let pairs: Pairs = match &content {
            Content::Leaf(pairs) => pairs.clone(),
            Content::Index(children) => children.iter().map(|child| (child.first, child.number)).collect(),
        };
        let first = pairs.first().map_or(0, |pair| pair.0);
        let bytes = encode(&pairs);
        let hash = xxh3_128(&bytes);
        if let Some(number) = self.known.get(&hash) {
            let node = Arc::new(Node { number: *number, first, content });
            self.share(&node);
            return node;
        }
        self.newest += 1;
        self.blocks.all += 1;
        self.known.insert(hash, self.newest);
        self.unshared.insert(self.newest);
        if let Some(room) = self.room {
            batch.put(NODES, key(room, self.newest), bytes);
            let mut number = Vec::new();
            put_varint(&mut number, u64::from(self.newest));
            batch.put(NODE_HASHES, [room.number().to_be_bytes().as_slice(), &hash.to_be_bytes()].concat(), number);
        }
        Arc::new(Node { number: self.newest, first, content })
    }

    /// Notes that a node, and so all below it, stands in another snapshot too.
    fn share(&mut self, node: &Node) {
        if !self.unshared.remove(&node.number) {
            return;
        }
        self.blocks.shared += 1;
        if let Content::Index(children) = &node.content {
            for child in children {
                self.share(child);
            }
        }
    }
}

/// The nodes of the level below `nodes`, or the entries where these are leaves.
fn below(read: &dyn Read, room: RoomNid, nodes: &[(u32, u32)]) -> Result<Pairs> {
    let mut below = Vec::new();
    for (_, number) in nodes {
        below.extend(decode(&load(read, NODES, &key(room, *number))?)?);
    }
    Ok(below)
}

impl Layout for Prolly {
    fn tables(&self) -> Vec<TableSpec> {
        tables(&["nodes", "node_hashes", "roots"])
    }

    fn begin(&mut self, room: RoomNid, _: &History) -> Result<Option<Vec<u32>>> {
        self.room = Some(room);
        self.newest = 0;
        self.known.clear();
        self.roots.clear();
        self.unshared.clear();
        Ok(None)
    }

    fn append(&mut self, _: &dyn Store, change: &Change<'_>, batch: &mut Batch) -> Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        let key_of = |place: u32| change.keys.get(place as usize).copied().unwrap_or_default();
        let changes: Pairs = change.changes.iter().map(|(place, _, event)| (key_of(*place), *event)).collect();
        let removes = changes.iter().any(|(_, event)| *event == 0);
        let root = match self.roots.get(&change.step.parent).cloned() {
            Some(root) if !removes && !root.is_empty() => self.update_children(&root, self.levels, &changes, batch),
            _ => {
                // A removed boundary joins two nodes, anywhere: the tree is made anew, and what is known is found so.
                let mut pairs = Vec::with_capacity(change.after.len());
                change.after.for_each(&mut |place, event| pairs.push((key_of(place), event)));
                let mut nodes = self.leaves(&pairs, batch);
                for height in 1..=self.levels {
                    nodes = self.indexes(&nodes, height, batch);
                }
                nodes
            }
        };
        let pairs: Pairs = root.iter().map(|child| (child.first, child.number)).collect();
        batch.put(ROOTS, key(room, change.snapshot), encode(&pairs));
        self.roots.insert(change.snapshot, root);
        Ok(())
    }

    fn appended(&mut self, done: &[u32]) {
        for snapshot in done {
            self.roots.remove(snapshot);
        }
    }

    fn get(&self, read: &dyn Read, at: At, wanted: u32) -> Result<Option<u32>> {
        let mut pairs = decode(&load(read, ROOTS, &key(at.room, at.snapshot))?)?;
        for _ in 0..=self.levels {
            let place = pairs.partition_point(|pair| pair.0 <= wanted).checked_sub(1);
            let Some((_, child)) = place.and_then(|place| pairs.get(place)) else { return Ok(None) };
            pairs = decode(&load(read, NODES, &key(at.room, *child))?)?;
        }
        let place = pairs.binary_search_by_key(&wanted, |pair| pair.0).ok();
        Ok(place.and_then(|place| pairs.get(place)).map(|pair| pair.1))
    }

    fn full(&self, read: &dyn Read, at: At) -> Result<Vec<(u32, u32)>> {
        let mut pairs = decode(&load(read, ROOTS, &key(at.room, at.snapshot))?)?;
        for _ in 0..=self.levels {
            pairs = below(read, at.room, &pairs)?;
        }
        Ok(pairs)
    }

    fn differences(&self, read: &dyn Read, room: RoomNid, from: u32, to: u32) -> Result<Vec<Changed>> {
        let mut left = decode(&load(read, ROOTS, &key(room, from))?)?;
        let mut right = decode(&load(read, ROOTS, &key(room, to))?)?;
        for _ in 0..=self.levels {
            let common: FxHashSet<(u32, u32)> = left.iter().copied().collect();
            let common: FxHashSet<(u32, u32)> = right.iter().copied().filter(|node| common.contains(node)).collect();
            left.retain(|node| !common.contains(node));
            right.retain(|node| !common.contains(node));
            left = below(read, room, &left)?;
            right = below(read, room, &right)?;
        }
        Ok(compare(&left, &right))
    }

    fn blocks(&self, _: &dyn Read) -> Result<Blocks> {
        Ok(self.blocks)
    }
}

fn merged(pairs: &[(u32, u32)], changes: &[(u32, u32)]) -> Pairs {
    let mut merged = Vec::with_capacity(pairs.len() + changes.len());
    let mut changes = changes.iter().copied().peekable();
    for pair in pairs {
        while let Some(new) = changes.next_if(|change| change.0 < pair.0) {
            merged.push(new);
        }
        merged.push(changes.next_if(|change| change.0 == pair.0).unwrap_or(*pair));
    }
    merged.extend(changes);
    merged
}

/// Cuts items before each whose key is a boundary.
fn chunks<T>(items: &[T], key: impl Fn(&T) -> u32, height: u32) -> Vec<&[T]> {
    let is_boundary = |key: u32| {
        let salted = (u64::from(height) << 32) | u64::from(key);
        xxh3_64(&salted.to_le_bytes()).is_multiple_of(FAN)
    };
    items.chunk_by(|_, next| !is_boundary(key(next))).collect()
}

fn encode(pairs: &[(u32, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, pairs.len() as u64);
    let mut last = 0;
    for (key, _) in pairs {
        put_varint(&mut out, u64::from(key.wrapping_sub(last)));
        last = *key;
    }
    let least = pairs.iter().map(|pair| pair.1).min().unwrap_or(0);
    let most = pairs.iter().map(|pair| pair.1).max().unwrap_or(0);
    let bits = bits_for((most - least) as usize + 1);
    put_varint(&mut out, u64::from(least));
    put_varint(&mut out, u64::from(bits));
    put_packed(&mut out, bits, pairs.iter().map(|pair| u64::from(pair.1 - least)));
    out
}

fn decode(bytes: &[u8]) -> Result<Pairs> {
    let mut cursor = Cursor::new(bytes);
    let count = sound(cursor.count(1))?;
    let mut pairs: Pairs = Vec::with_capacity(count);
    let mut last = 0u32;
    for _ in 0..count {
        last = last.wrapping_add(sound(cursor.varint32())?);
        pairs.push((last, 0));
    }
    let least = sound(cursor.varint32())?;
    let bits = sound(cursor.varint32())?;
    let packed = Packed::new(sound(cursor.take(packed_len(count, bits)))?, bits);
    for (place, pair) in pairs.iter_mut().enumerate() {
        pair.1 = least.wrapping_add(u32::try_from(packed.get(place)).unwrap_or_default());
    }
    Ok(pairs)
}
