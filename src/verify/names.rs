//! Interned names, and the names that a room's events go by.

use quick_cache::unsync::Cache;
use std::cell::RefCell;

use super::streams::{Check, RowStream};
use crate::{
    encoding::{event_key::EventKey, fingerprint::Fingerprint, keys},
    error::Result,
    ids::{EventNid, StateTuple},
    kv::{Read, TableId},
    state::fingerprint::EntryNames,
    tables::{
        KEY_ID_NAMES, KEY_IDS, STATE_KEY_NAMES, STATE_KEYS, TYPE_NAMES, TYPES,
        bodies::Bodies,
        interning::{Interner, WELL_KNOWN_KEY_IDS, WELL_KNOWN_KEYS, WELL_KNOWN_TYPES, decode_name},
        rooms::Room,
        rows::{Rows, decode_number},
    },
};

/// Checks both directions of the names of event types, state keys and signing keys.
pub(super) fn check_names(check: &mut Check<'_>) -> Result<()> {
    for (by_number, by_name, well_known) in [
        (TYPE_NAMES, TYPES, &WELL_KNOWN_TYPES[..]),
        (STATE_KEY_NAMES, STATE_KEYS, &WELL_KNOWN_KEYS[..]),
        (KEY_ID_NAMES, KEY_IDS, &WELL_KNOWN_KEY_IDS[..]),
    ] {
        check_by_number(check, by_number, by_name, well_known)?;
        check_by_name(check, by_number, by_name)?;
    }
    Ok(())
}

fn check_by_number(check: &mut Check<'_>, by_number: TableId, by_name: TableId, well_known: &[&str]) -> Result<()> {
    let mut rows = RowStream::new(check, by_number, &[]);
    while let Some((key, value)) = rows.next(check)? {
        let number = keys::last_number(&key).filter(|_| key.len() == 4).unwrap_or_default();
        if number as usize <= well_known.len() {
            check.problem(by_number, &key, "a key that is no number, or one that all stores share");
            continue;
        }
        let Some(text) = check.decoded(by_number, &key, decode_name(&key, &value)) else { continue };
        let name = text.as_bytes();
        if well_known.contains(&&*text) {
            check.problem(by_number, &key, format!("{text:?} has another number in all stores"));
            continue;
        }
        match check.get(by_name, name)? {
            None => check.problem(by_name, name, format!("the row is missing: {text:?} is number {number}")),
            Some(told) => match check.decoded(by_name, name, decode_number(&told)) {
                Some(told) if told != number => {
                    check.problem(by_name, name, format!("{text:?} is number {number} and not {told}"));
                }
                _ => {}
            },
        }
    }
    Ok(())
}

fn check_by_name(check: &mut Check<'_>, by_number: TableId, by_name: TableId) -> Result<()> {
    let mut rows = RowStream::new(check, by_name, &[]);
    while let Some((name, value)) = rows.next(check)? {
        let Some(number) = check.decoded(by_name, &name, decode_number(&value)) else { continue };
        let key = keys::number(number);
        match check.get(by_number, &key)? {
            Some(told) if decode_name(&key, &told).is_ok_and(|told| told.as_bytes() == name) => {}
            Some(_) => check.problem(by_name, &name, format!("number {number} is another name's")),
            None => check.problem(by_name, &name, format!("number {number} is no name's")),
        }
    }
    Ok(())
}

/// Events of which the key and the fingerprint are kept in memory.
const KEPT: usize = 65_536;

/// The names of a room's events: their keys, and what fingerprints are made of.
pub(super) struct EventNames<'a> {
    read: &'a dyn Read,
    room: &'a Room,
    interner: &'a Interner,
    keys: RefCell<Cache<EventNid, EventKey>>,
    entries: RefCell<Cache<EventNid, (StateTuple, Fingerprint)>>,
}

impl<'a> EventNames<'a> {
    pub(super) fn new(read: &'a dyn Read, room: &'a Room, interner: &'a Interner) -> Self {
        let (keys, entries) = (RefCell::new(Cache::new(KEPT)), RefCell::new(Cache::new(KEPT)));
        Self { read, room, interner, keys, entries }
    }

    /// The event type and the state key of a tuple.
    pub(super) fn tuple(&self, tuple: StateTuple) -> Result<(std::sync::Arc<str>, std::sync::Arc<str>)> {
        self.interner.names(self.read, tuple)
    }

    /// The bodies of the room's events.
    pub(super) fn bodies(&self) -> Bodies<'_> {
        Bodies::new(Rows::new(self.read), self.room, self.interner)
    }

    /// The key of an event.
    pub(super) fn key(&self, nid: EventNid) -> Result<EventKey> {
        if let Some(key) = self.keys.borrow().get(&nid) {
            return Ok(*key);
        }
        let key = Rows::new(self.read).event_identity(self.room, nid)?.key;
        self.keys.borrow_mut().insert(nid, key);
        Ok(key)
    }
}

impl EntryNames for EventNames<'_> {
    fn entry(&self, tuple: StateTuple, event: EventNid) -> Result<Fingerprint> {
        if let Some((_, entry)) = self.entries.borrow().get(&event).filter(|known| known.0 == tuple) {
            return Ok(*entry);
        }
        let (event_type, state_key) = self.tuple(tuple)?;
        let identity = Rows::new(self.read).event_identity(self.room, event)?;
        let entry = Fingerprint::of_entry(&event_type, &state_key, &identity.event_id);
        self.entries.borrow_mut().insert(event, (tuple, entry));
        Ok(entry)
    }
}
