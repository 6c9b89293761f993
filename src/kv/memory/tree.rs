//! The ordered table of the memory backend: a B+ tree whose clones share their nodes.
//!
//! A clone costs one reference count. A write copies the nodes between the root and its leaf that some clone still
//! sees, and changes the others in place; so without clones it is as cheap as in an ordinary B-tree.

use std::sync::Arc;

use crate::error::Result;

/// The most rows of a leaf, and the most children of an inner node. Few in tests, so that small trees are deep there.
const FANOUT: usize = if cfg!(test) { 8 } else { 64 };

/// A row: its key, directly followed by its value.
#[derive(Debug, Clone)]
pub(super) struct Row {
    bytes: Arc<[u8]>,
    key_len: usize,
}

impl Row {
    fn new(mut key: Vec<u8>, value: &[u8]) -> Self {
        let key_len = key.len();
        key.extend_from_slice(value);
        Self { bytes: Arc::from(key), key_len }
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8] {
        self.bytes.get(..self.key_len).unwrap_or_default()
    }

    /// The value.
    pub(super) fn value(&self) -> &[u8] {
        self.bytes.get(self.key_len..).unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Vec<Row>),
    Inner(Vec<Child>),
}

/// A subtree with the keys at or after `low`, up to the next child's. Of a first child `low` is not looked at: it also
/// takes the keys before.
#[derive(Debug, Clone)]
struct Child {
    low: Arc<[u8]>,
    node: Arc<Node>,
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Inner(children) => children.len(),
        }
    }
}

/// An ordered table.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    root: Arc<Node>,
    rows: u64,
    bytes: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), rows: 0, bytes: 0 }
    }
}

impl Tree {
    /// How many rows it has.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of all keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(rows) => {
                    let at = find(rows, key).ok()?;
                    return rows.get(at).map(Row::value);
                }
                Node::Inner(children) => node = &children.get(child_at(children, key))?.node,
            }
        }
    }

    /// Puts a row.
    pub(super) fn put(&mut self, key: Vec<u8>, value: &[u8]) {
        let row = Row::new(key, value);
        self.bytes += byte_count(&row);
        self.rows += 1;
        let (replaced, sibling) = put(&mut self.root, row);
        self.forget(replaced);
        if let Some(sibling) = sibling {
            let first = Child { low: Arc::from([].as_slice()), node: Arc::clone(&self.root) };
            self.root = Arc::new(Node::Inner(vec![first, sibling]));
        }
    }

    /// Deletes a row, if it is there.
    pub(super) fn delete(&mut self, key: &[u8]) {
        // Looked up first: going down to delete copies shared nodes.
        if self.get(key).is_none() {
            return;
        }
        let removed = delete(&mut self.root, key);
        self.forget(removed);
        while let Node::Inner(children) = &*self.root {
            match children.as_slice() {
                [] => self.root = Arc::new(Node::Leaf(Vec::new())),
                [only] => self.root = Arc::clone(&only.node),
                _ => break,
            }
        }
    }

    /// Deletes the rows from `start` (inclusive) to `end` (exclusive).
    pub(super) fn delete_range(&mut self, start: &[u8], end: &[u8]) -> Result<()> {
        let mut doomed = Vec::new();
        self.ascend(start, &mut |row| {
            let inside = row.key() < end;
            if inside {
                doomed.push(row.clone());
            }
            Ok(inside)
        })?;
        for row in doomed {
            self.delete(row.key());
        }
        Ok(())
    }

    /// Visits the rows at or after `start`, ascending, until `visit` says `false` or fails.
    pub(super) fn ascend(&self, start: &[u8], visit: &mut dyn FnMut(&Row) -> Result<bool>) -> Result<()> {
        ascend(&self.root, Some(start), visit).map(|_| ())
    }

    /// Visits the rows at or before `start`, descending, until `visit` says `false` or fails.
    pub(super) fn descend(&self, start: &[u8], visit: &mut dyn FnMut(&Row) -> Result<bool>) -> Result<()> {
        descend(&self.root, Some(start), visit).map(|_| ())
    }

    fn forget(&mut self, row: Option<Row>) {
        if let Some(row) = row {
            self.rows -= 1;
            self.bytes -= byte_count(&row);
        }
    }
}

fn byte_count(row: &Row) -> u64 {
    u64::try_from(row.bytes.len()).unwrap_or(u64::MAX)
}

fn find(rows: &[Row], key: &[u8]) -> Result<usize, usize> {
    rows.binary_search_by(|row| row.key().cmp(key))
}

fn child_at(children: &[Child], key: &[u8]) -> usize {
    children.partition_point(|child| *child.low <= *key).saturating_sub(1)
}

/// Puts a row under `node`; gives the row that it replaced and, if the node overflowed, its new right sibling.
fn put(node: &mut Arc<Node>, row: Row) -> (Option<Row>, Option<Child>) {
    match Arc::make_mut(node) {
        Node::Leaf(rows) => match find(rows, row.key()) {
            Ok(at) => (rows.get_mut(at).map(|old| std::mem::replace(old, row)), None),
            Err(at) => {
                rows.insert(at, row);
                let right = split(rows, at);
                let low = right.first().map(|first| Arc::from(first.key()));
                (None, low.map(|low| Child { low, node: Arc::new(Node::Leaf(right)) }))
            }
        },
        Node::Inner(children) => {
            let at = child_at(children, row.key());
            let (replaced, sibling) = match children.get_mut(at) {
                Some(child) => put(&mut child.node, row),
                None => (None, None),
            };
            let Some(sibling) = sibling else { return (replaced, None) };
            children.insert(at + 1, sibling);
            let right = split(children, at + 1);
            let low = right.first().map(|first| Arc::clone(&first.low));
            (replaced, low.map(|low| Child { low, node: Arc::new(Node::Inner(right)) }))
        }
    }
}

/// Splits off the right part of an overflowing node, into which an item was just inserted at `at`.
fn split<T>(items: &mut Vec<T>, at: usize) -> Vec<T> {
    if items.len() <= FANOUT {
        return Vec::new();
    }
    // Keys that come in ascending order would leave every node half full if it were cut in the middle.
    let kept = if at + 1 == items.len() { at } else { items.len() / 2 };
    items.split_off(kept)
}

fn delete(node: &mut Arc<Node>, key: &[u8]) -> Option<Row> {
    match Arc::make_mut(node) {
        Node::Leaf(rows) => find(rows, key).ok().map(|at| rows.remove(at)),
        Node::Inner(children) => {
            let at = child_at(children, key);
            let child = children.get_mut(at)?;
            let removed = delete(&mut child.node, key);
            if child.node.len() == 0 {
                children.remove(at);
            } else {
                merge(children, at);
            }
            removed
        }
    }
}

/// Merges the child at `at` with a neighbour if the two are small together.
fn merge(children: &mut Vec<Child>, at: usize) {
    let left = at.min(children.len().saturating_sub(2));
    let small = match children.get(left..) {
        Some([a, b, ..]) => a.node.len() + b.node.len() <= FANOUT / 2,
        _ => false,
    };
    if !small {
        return;
    }
    let right = children.remove(left + 1);
    let Some(left) = children.get_mut(left) else { return };
    match (Arc::make_mut(&mut left.node), Arc::unwrap_or_clone(right.node)) {
        (Node::Leaf(rows), Node::Leaf(more)) => rows.extend(more),
        (Node::Inner(inner), Node::Inner(mut more)) => {
            // It is no first child any more, so its low key counts now, and it took all keys from its parent's on.
            if let Some(first) = more.first_mut() {
                first.low = right.low;
            }
            inner.extend(more);
        }
        // All leaves are at one depth.
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {}
    }
}

fn ascend(node: &Node, start: Option<&[u8]>, visit: &mut dyn FnMut(&Row) -> Result<bool>) -> Result<bool> {
    match node {
        Node::Leaf(rows) => {
            let from = start.map_or(0, |start| rows.partition_point(|row| row.key() < start));
            for row in rows.iter().skip(from) {
                if !visit(row)? {
                    return Ok(false);
                }
            }
        }
        Node::Inner(children) => {
            let from = start.map_or(0, |start| child_at(children, start));
            for (at, child) in children.iter().enumerate().skip(from) {
                if !ascend(&child.node, start.filter(|_| at == from), visit)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn descend(node: &Node, start: Option<&[u8]>, visit: &mut dyn FnMut(&Row) -> Result<bool>) -> Result<bool> {
    match node {
        Node::Leaf(rows) => {
            let end = start.map_or(rows.len(), |start| rows.partition_point(|row| row.key() <= start));
            for row in rows.iter().take(end).rev() {
                if !visit(row)? {
                    return Ok(false);
                }
            }
        }
        Node::Inner(children) => {
            let last = start.map_or(children.len(), |start| child_at(children, start));
            for (at, child) in children.iter().enumerate().take(last.saturating_add(1)).rev() {
                if !descend(&child.node, start.filter(|_| at == last), visit)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}
