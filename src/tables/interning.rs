//! Server-wide numbers for event types and state keys.
//!
//! One allocator hands the numbers out, so that no name gets two. A batch that uses a number whose rows no applied batch
//! has yet also writes its rows. Batches become durable in the order in which they are applied, so whatever survives a
//! crash has the rows of every number that it uses.
//!
//! A batch may be given up after it got numbers for new names: its event was refused. The [`UsedNames`] beside it then give
//! them back when they are dropped, and a name that no other batch at hand uses is forgotten, so that strangers who send
//! events that are refused fill no memory. Its number goes to the next new name, so that they use up no numbers either.
//! That is sound: no row on disk has the number, and what a room's writer holds or caches of it in memory says only that the
//! room has no state at it, which is so until a batch of that writer puts one there.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use quick_cache::{Weighter, sync::Cache};
use rustc_hash::FxHashMap;

use super::{
    KEY_ID_NAMES, KEY_IDS, STATE_KEY_NAMES, STATE_KEYS, TYPE_NAMES, TYPES,
    rows::{corrupt, missing},
};
use crate::{
    encoding::{
        bytes::{Cursor, Decoded, Malformed, put_varint, stamp, unstamp},
        keys,
    },
    error::{Error, Result},
    ids::{EventTypeNid, StateKeyNid, StateTuple},
    kv::{Batch, Direction, Read, TableId},
};

/// Event types that have the same number in every store, from 1 on.
pub const WELL_KNOWN_TYPES: [&str; 32] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.third_party_invite",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.aliases",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.tombstone",
    "m.room.pinned_events",
    "m.room.message",
    "m.room.encrypted",
    "m.room.redaction",
    "m.reaction",
    "m.sticker",
    "m.call.invite",
    "m.call.candidates",
    "m.call.answer",
    "m.call.hangup",
    "m.poll.start",
    "m.poll.response",
    "m.poll.end",
    "org.matrix.msc3381.poll.start",
    "org.matrix.msc3381.poll.response",
    "org.matrix.msc3381.poll.end",
    "org.matrix.dummy_event",
];

/// State keys that have the same number in every store, from 1 on.
pub const WELL_KNOWN_KEYS: [&str; 1] = [""];

/// IDs of signing keys that have the same number in every store, from 1 on.
pub const WELL_KNOWN_KEY_IDS: [&str; 3] = ["ed25519:auto", "ed25519:0", "ed25519:1"];

/// Numbers below this one are kept for well-known names.
const FIRST_FREE: u32 = 64;

/// The number of `m.room.member`.
pub fn member_type() -> Option<EventTypeNid> {
    EventTypeNid::new(2)
}

/// Hands out and looks up the numbers of event types and state keys.
pub struct Interner {
    types: Names,
    state_keys: Names,
    key_ids: Names,
}

impl Interner {
    /// Goes on from what the store holds; keeps at most about `memory` bytes of names. `Corrupt` if the last number of a
    /// table cannot be told.
    pub fn open(read: &dyn Read, memory: usize) -> Result<Self> {
        let mut next = [0; 3];
        for (next, by_number) in next.iter_mut().zip([TYPE_NAMES, STATE_KEY_NAMES, KEY_ID_NAMES]) {
            *next = first_free(read, by_number)?;
        }
        Ok(Self::with(memory, next))
    }

    /// Looks numbers up, and hands none out: for who checks a store of which nothing is known to be right.
    pub fn to_read(memory: usize) -> Self {
        Self::with(memory, [u32::MAX; 3])
    }

    /// `next` are the first free numbers of types, state keys and key IDs.
    fn with(memory: usize, next: [u32; 3]) -> Self {
        let [types, state_keys, key_ids] = next;
        Self {
            types: Names::new(TYPES, TYPE_NAMES, &WELL_KNOWN_TYPES, types, memory / 8),
            state_keys: Names::new(STATE_KEYS, STATE_KEY_NAMES, &WELL_KNOWN_KEYS, state_keys, memory / 8 * 6),
            key_ids: Names::new(KEY_IDS, KEY_ID_NAMES, &WELL_KNOWN_KEY_IDS, key_ids, memory / 8),
        }
    }

    /// The number of a state key, if it occurs in any state.
    pub fn find(&self, read: &dyn Read, event_type: &str, state_key: &str) -> Result<Option<StateTuple>> {
        let Some(event_type) = self.find_type(read, event_type)? else { return Ok(None) };
        let Some(state_key) = self.find_state_key(read, state_key)? else { return Ok(None) };
        Ok(Some(StateTuple { event_type, state_key }))
    }

    /// The number of an event type.
    pub fn find_type(&self, read: &dyn Read, event_type: &str) -> Result<Option<EventTypeNid>> {
        Ok(self.types.find(read, event_type)?.and_then(EventTypeNid::new))
    }

    /// The number of a state key.
    pub fn find_state_key(&self, read: &dyn Read, state_key: &str) -> Result<Option<StateKeyNid>> {
        Ok(self.state_keys.find(read, state_key)?.and_then(StateKeyNid::new))
    }

    /// Gives a state key its number, puts what `batch` needs for it, and notes in `used` what the batch makes known.
    pub fn intern(
        &self,
        read: &dyn Read,
        event_type: &str,
        state_key: &str,
        batch: &mut Batch,
        used: &mut UsedNames,
    ) -> Result<StateTuple> {
        let event_type = EventTypeNid::new(self.types.intern(read, event_type, batch, &mut used.types)?);
        let state_key = StateKeyNid::new(self.state_keys.intern(read, state_key, batch, &mut used.state_keys)?);
        match (event_type, state_key) {
            (Some(event_type), Some(state_key)) => Ok(StateTuple { event_type, state_key }),
            _ => Err(Error::internal("the allocator of names handed out number 0")),
        }
    }

    /// The number of an event type that has one, of which `batch` then has what it needs.
    pub fn known_type(
        &self,
        read: &dyn Read,
        event_type: &str,
        batch: &mut Batch,
        used: &mut UsedNames,
    ) -> Result<Option<EventTypeNid>> {
        Ok(self.types.number(read, event_type, false, batch, &mut used.types)?.and_then(EventTypeNid::new))
    }

    /// The number of a state key that has one, of which `batch` then has what it needs.
    pub fn known_state_key(
        &self,
        read: &dyn Read,
        state_key: &str,
        batch: &mut Batch,
        used: &mut UsedNames,
    ) -> Result<Option<StateKeyNid>> {
        Ok(self.state_keys.number(read, state_key, false, batch, &mut used.state_keys)?.and_then(StateKeyNid::new))
    }

    /// Gives the ID of a signing key its number, and `batch` what it needs for it.
    pub fn intern_key_id(&self, read: &dyn Read, key_id: &str, batch: &mut Batch, used: &mut UsedNames) -> Result<u32> {
        self.key_ids.intern(read, key_id, batch, &mut used.key_ids)
    }

    /// The ID of a signing key.
    pub fn key_id(&self, read: &dyn Read, number: u32) -> Result<Arc<str>> {
        self.key_ids.name(read, number)
    }

    /// The name of an event type.
    pub fn type_name(&self, read: &dyn Read, event_type: EventTypeNid) -> Result<Arc<str>> {
        self.types.name(read, event_type.number())
    }

    /// The name of a state key.
    pub fn state_key_name(&self, read: &dyn Read, state_key: StateKeyNid) -> Result<Arc<str>> {
        self.state_keys.name(read, state_key.number())
    }

    /// The names of a state key.
    pub fn names(&self, read: &dyn Read, tuple: StateTuple) -> Result<(Arc<str>, Arc<str>)> {
        let event_type = self.types.name(read, tuple.event_type.number())?;
        let state_key = self.state_keys.name(read, tuple.state_key.number())?;
        Ok((event_type, state_key))
    }

    /// Learns that the batch which makes these names known was applied: they keep their numbers for ever.
    pub fn written(&self, used: &UsedNames) {
        self.types.written(&used.types);
        self.state_keys.written(&used.state_keys);
        self.key_ids.written(&used.key_ids);
    }
}

/// Names that a batch makes known, since no applied batch had them when it was made.
///
/// Kept as long as the batch, and dropped with it: the names that [`Interner::written`] was not told of are then given back.
#[derive(Debug, Default)]
pub struct UsedNames {
    types: Vec<UsedName>,
    state_keys: Vec<UsedName>,
    key_ids: Vec<UsedName>,
}

/// One of them, and where to give it back.
#[derive(Debug)]
struct UsedName {
    name: Arc<str>,
    fresh: Arc<Mutex<Fresh>>,
}

impl Drop for UsedName {
    fn drop(&mut self) {
        // After a panic nobody knows whether the batch was stored. The name keeps its number, and later batches that use it
        // write its rows again: that is right in both cases.
        if std::thread::panicking() {
            return;
        }
        self.fresh.lock().give_back(&self.name);
    }
}

#[derive(Clone)]
struct NameWeight;

impl Weighter<Arc<str>, u32> for NameWeight {
    fn weight(&self, name: &Arc<str>, _: &u32) -> u64 {
        name.len() as u64 + 64
    }
}

impl Weighter<u32, Arc<str>> for NameWeight {
    fn weight(&self, _: &u32, name: &Arc<str>) -> u64 {
        name.len() as u64 + 64
    }
}

/// The numbers of one sort of name.
struct Names {
    by_name: TableId,
    by_number: TableId,
    well_known: Box<[Arc<str>]>,
    numbers: Cache<Arc<str>, u32, NameWeight>,
    names: Cache<u32, Arc<str>, NameWeight>,
    fresh: Arc<Mutex<Fresh>>,
}

/// Numbers whose rows no applied batch has.
#[derive(Debug)]
struct Fresh {
    /// No number from here on was ever handed out.
    next: u32,
    /// Numbers before it that were given back.
    free: BTreeSet<u32>,
    numbers: FxHashMap<Arc<str>, FreshNumber>,
    names: FxHashMap<u32, Arc<str>>,
}

/// The number of a name that no applied batch has.
#[derive(Debug)]
struct FreshNumber {
    number: u32,
    /// How many times batches at hand use it.
    users: usize,
}

impl Fresh {
    /// A number for a name that has none.
    fn add(&mut self, name: &str) -> Result<(Arc<str>, u32)> {
        let number = match self.free.pop_first() {
            Some(number) => number,
            None => {
                let number = self.next;
                self.next = number.checked_add(1).ok_or_else(|| Error::internal("all numbers for names are taken"))?;
                number
            }
        };
        let name: Arc<str> = name.into();
        self.numbers.insert(name.clone(), FreshNumber { number, users: 1 });
        self.names.insert(number, name.clone());
        Ok((name, number))
    }

    /// The number of a name that a batch at hand has given one, for one more use.
    fn share(&mut self, name: &str) -> Option<(Arc<str>, u32)> {
        let number = self.numbers.get_mut(name)?;
        number.users = number.users.saturating_add(1);
        let number = number.number;
        self.names.get(&number).map(|name| (name.clone(), number))
    }

    /// Learns that an applied batch has a name; gives its number, unless that was known.
    fn remove(&mut self, name: &str) -> Option<u32> {
        let FreshNumber { number, .. } = self.numbers.remove(name)?;
        self.names.remove(&number);
        Some(number)
    }

    /// Takes back one use of a name. One that an applied batch has is here no more, and is never new again.
    fn give_back(&mut self, name: &str) {
        let Some(number) = self.numbers.get_mut(name) else { return };
        number.users = number.users.saturating_sub(1);
        if number.users == 0 {
            let number = self.remove(name);
            self.free.extend(number);
        }
    }
}

/// The first number that no name of a table has had.
fn first_free(read: &dyn Read, by_number: TableId) -> Result<u32> {
    let mut last = 0;
    // From behind the last number there can be, so that a key that is too long is seen too.
    read.scan(by_number, &[], &[0xff; 5], Direction::Reverse, &mut |key, _| {
        let what = Malformed { offset: 0, what: "a key that is no number of a name" };
        last = keys::only_number(key).ok_or_else(|| corrupt(by_number, key, what))?;
        Ok(false)
    })?;
    Ok(last.saturating_add(1).max(FIRST_FREE))
}

impl Names {
    fn new(
        by_name: TableId,
        by_number: TableId,
        well_known: &'static [&'static str],
        next: u32,
        memory: usize,
    ) -> Self {
        let items = memory / 96;
        let free = BTreeSet::new();
        let fresh = Fresh { next, free, numbers: FxHashMap::default(), names: FxHashMap::default() };
        Self {
            by_name,
            by_number,
            well_known: well_known.iter().map(|name| Arc::from(*name)).collect(),
            numbers: Cache::with_weighter(items, memory as u64 / 2, NameWeight),
            names: Cache::with_weighter(items, memory as u64 / 2, NameWeight),
            fresh: Arc::new(Mutex::new(fresh)),
        }
    }

    fn well_known(&self, name: &str) -> Option<u32> {
        let place = self.well_known.iter().position(|known| **known == *name)?;
        u32::try_from(place + 1).ok()
    }

    fn find(&self, read: &dyn Read, name: &str) -> Result<Option<u32>> {
        if let Some(number) = self.well_known(name) {
            return Ok(Some(number));
        }
        if let Some(number) = self.numbers.get(name) {
            return Ok(Some(number));
        }
        if let Some(fresh) = self.fresh.lock().numbers.get(name) {
            return Ok(Some(fresh.number));
        }
        let Some(value) = read.get(self.by_name, name.as_bytes())? else { return Ok(None) };
        self.take_number(read, name, &value).map(Some)
    }

    /// Reads the number of a stored name, and holds it against the name that has this number: that row is stamped.
    fn take_number(&self, read: &dyn Read, name: &str, value: &[u8]) -> Result<u32> {
        let wrong = |malformed| corrupt(self.by_name, name.as_bytes(), malformed);
        let number = decode_number(value).map_err(wrong)?;
        let key = keys::number(number);
        let told = read.get(self.by_number, &key)?;
        let told = told.map(|told| decode_name(&key, &told)).transpose();
        if told.map_err(|malformed| corrupt(self.by_number, &key, malformed))?.as_deref() != Some(name) {
            return Err(wrong(Malformed { offset: 0, what: "the number of another name, or of none" }));
        }
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    fn intern(&self, read: &dyn Read, name: &str, batch: &mut Batch, used: &mut Vec<UsedName>) -> Result<u32> {
        let number = self.number(read, name, true, batch, used)?;
        number.ok_or_else(|| Error::internal("the allocator of names handed out none"))
    }

    /// The number of a name, with what `batch` needs for it; a new one gets a number only if `allocate`.
    fn number(
        &self,
        read: &dyn Read,
        name: &str,
        allocate: bool,
        batch: &mut Batch,
        used: &mut Vec<UsedName>,
    ) -> Result<Option<u32>> {
        if let Some(number) = self.well_known(name).or_else(|| self.numbers.get(name)) {
            return Ok(Some(number));
        }
        // The lock is held over the look-up: two writers that meet a new name at once must get one number.
        let mut fresh = self.fresh.lock();
        let (name, number) = match fresh.share(name) {
            Some(shared) => shared,
            None => {
                if let Some(value) = read.get(self.by_name, name.as_bytes())? {
                    return self.take_number(read, name, &value).map(Some);
                }
                if !allocate {
                    return Ok(None);
                }
                fresh.add(name)?
            }
        };
        drop(fresh);
        let mut value = Vec::new();
        put_varint(&mut value, u64::from(number));
        batch.put(self.by_name, name.as_bytes(), value);
        let key = keys::number(number);
        let mut value = name.as_bytes().to_vec();
        stamp(&key, &mut value);
        batch.put(self.by_number, key, value);
        used.push(UsedName { name, fresh: self.fresh.clone() });
        Ok(Some(number))
    }

    fn name(&self, read: &dyn Read, number: u32) -> Result<Arc<str>> {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(known) = place.and_then(|place| self.well_known.get(place)) {
            return Ok(known.clone());
        }
        if let Some(name) = self.names.get(&number) {
            return Ok(name);
        }
        if let Some(name) = self.fresh.lock().names.get(&number) {
            return Ok(name.clone());
        }
        let key = keys::number(number);
        let value = read.get(self.by_number, &key)?.ok_or_else(|| missing(self.by_number, &key))?;
        let name = decode_name(&key, &value).map_err(|malformed| corrupt(self.by_number, &key, malformed))?;
        self.names.insert(number, name.clone());
        Ok(name)
    }

    fn written(&self, used: &[UsedName]) {
        if used.is_empty() {
            return;
        }
        let mut fresh = self.fresh.lock();
        for UsedName { name, .. } in used {
            if let Some(number) = fresh.remove(name) {
                self.numbers.insert(name.clone(), number);
                self.names.insert(number, name.clone());
            }
        }
    }
}

/// Reads the name that has a number.
pub(crate) fn decode_name(key: &[u8], stamped: &[u8]) -> Decoded<Arc<str>> {
    let what = Malformed { offset: 0, what: "a name that is not UTF-8" };
    std::str::from_utf8(unstamp(key, stamped)?).map(Arc::from).map_err(|_| what)
}

fn decode_number(bytes: &[u8]) -> Decoded<u32> {
    let mut cursor = Cursor::new(bytes);
    let number = cursor.varint32()?;
    cursor.end()?;
    if number == 0 { Err(cursor.malformed("number 0")) } else { Ok(number) }
}
