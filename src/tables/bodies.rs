//! The bodies of a room's events, beside what they leave to rows, IDs and names.

use std::{borrow::Cow, sync::Arc};

use smallvec::SmallVec;

use super::{
    EVENT_BODIES,
    event_ids::EventIdentity,
    interning::{Interner, UsedNames},
    rooms::Room,
    rows::{Rows, corrupt, missing},
};
use crate::{
    encoding::{
        body::{self, Beside, Essence, Form, Header, Reference, encode, encode_json, mentioned_ids, only_key},
        bytes::{stamp, unstamp},
        event_key::EventKey,
        event_row::{EventRow, Name},
        keys,
        pdu::Pdu,
    },
    error::Result,
    ids::EventNid,
    kv::Batch,
};

/// The longest ID of a signing key that gets a number. Numbered names stay for ever, and servers choose these: a longer one
/// is kept with its event.
const MAX_KEY_ID_BYTES: usize = 64;

/// Finds an event of the room by its key.
pub type Find<'a> = &'a dyn Fn(&EventKey) -> Result<Option<EventNid>>;

/// The bodies of one room.
#[derive(Clone, Copy)]
pub struct Bodies<'a> {
    rows: Rows<'a>,
    room: &'a Room,
    interner: &'a Interner,
    arriving: Option<(EventNid, &'a EventIdentity)>,
}

/// The names in a row, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowNames {
    /// The event type.
    pub event_type: Arc<str>,
    /// The state key, if it is a state event.
    pub state_key: Option<Arc<str>>,
    /// The sender.
    pub sender: Arc<str>,
}

/// The events and names that a body needs.
#[derive(Default)]
struct Known<'p> {
    prev_events: SmallVec<[Option<Identity<'p>>; 2]>,
    auth_events: SmallVec<[Identity<'p>; 4]>,
    mentions: SmallVec<[Cow<'p, str>; 2]>,
    key_id: Option<Arc<str>>,
}

/// The ID of an event and its reference hash.
struct Identity<'p> {
    event_id: Cow<'p, str>,
    hash: [u8; 32],
}

impl From<EventIdentity> for Identity<'_> {
    fn from(identity: EventIdentity) -> Self {
        Self { event_id: Cow::Owned(identity.event_id.into()), hash: identity.reference_hash }
    }
}

impl<'a> Bodies<'a> {
    /// Reads through `rows`.
    pub fn new(rows: Rows<'a>, room: &'a Room, interner: &'a Interner) -> Self {
        Self { rows, room, interner, arriving: None }
    }

    /// Knows an event that the batch at hand stores: rows of events that came before it may name it already.
    pub fn with_arriving(self, nid: EventNid, identity: &'a EventIdentity) -> Self {
        Self { arriving: Some((nid, identity)), ..self }
    }

    /// Loads the PDU of an event, as canonical JSON.
    pub fn load(&self, nid: EventNid) -> Result<Vec<u8>> {
        let row = self.rows.event_row(self.room.nid, nid)?;
        self.load_beside(nid, &row)
    }

    /// Loads the PDU of an event whose row is at hand.
    pub fn load_beside(&self, nid: EventNid, row: &EventRow) -> Result<Vec<u8>> {
        let value = self.value(nid)?;
        self.decode(nid, row, &value)
    }

    /// Reads a body, as stored.
    pub fn decode(&self, nid: EventNid, row: &EventRow, value: &[u8]) -> Result<Vec<u8>> {
        let key = keys::event(self.room.nid, nid);
        let wrong = |malformed| corrupt(EVENT_BODIES, &key, malformed);
        let bytes = unstamp(&key, value).map_err(wrong)?;
        if Form::of(bytes).map_err(wrong)? == Form::Json {
            return Ok(bytes.get(1..).unwrap_or_default().to_vec());
        }
        let header = body::header(nid, bytes).map_err(wrong)?;
        let own = self.rows.event_identity(self.room, nid)?;
        let mut known = self.known(row)?;
        for mentioned in &header.mentions {
            let identity = self.rows.event_identity(self.room, *mentioned)?;
            known.mentions.push(Cow::Owned(identity.event_id.into()));
        }
        let key_id = header.key_id.map(|number| self.interner.key_id(self.rows.read(), number));
        known.key_id = key_id.transpose()?;
        let names = self.names(row)?;
        self.beside(&own.event_id, row, &names, &known, |beside| body::decode(nid, bytes, beside)).map_err(wrong)
    }

    /// Loads what authorisation reads of the body of an event.
    pub fn essence(&self, nid: EventNid, row: &EventRow, event_id: &str, names: &RowNames) -> Result<Essence> {
        let (key, value) = (keys::event(self.room.nid, nid), self.value(nid)?);
        let wrong = |malformed| corrupt(EVENT_BODIES, &key, malformed);
        let bytes = unstamp(&key, &value).map_err(wrong)?;
        let mut known = Known::default();
        for mentioned in body::header(nid, bytes).map_err(wrong)?.mentions {
            let identity = self.rows.event_identity(self.room, mentioned)?;
            known.mentions.push(Cow::Owned(identity.event_id.into()));
        }
        self.beside(event_id, row, names, &known, |beside| body::essence(nid, bytes, beside)).map_err(wrong)
    }

    /// The names in a row.
    pub fn names(&self, row: &EventRow) -> Result<RowNames> {
        let read = self.rows.read();
        Ok(RowNames {
            event_type: match &row.event_type {
                Name::Number(number) => self.interner.type_name(read, *number)?,
                Name::Text(text) => (**text).into(),
            },
            state_key: row.tuple.map(|tuple| self.interner.state_key_name(read, tuple.state_key)).transpose()?,
            sender: match &row.sender {
                Name::Number(number) => self.interner.state_key_name(read, *number)?,
                Name::Text(text) => (**text).into(),
            },
        })
    }

    /// Writes the body of an event beside its row, in the form that comes back byte for byte.
    ///
    /// Whoever writes a row that refers to other events than before writes the body with it.
    pub fn put(
        &self,
        batch: &mut Batch,
        used: &mut UsedNames,
        (nid, row): (EventNid, &EventRow),
        pdu: &Pdu,
        find: Find<'_>,
    ) -> Result<Form> {
        let mut value = self.structured(batch, used, (nid, row), pdu, find)?;
        let form = if value.is_some() { Form::Structured } else { Form::Json };
        let value = value.get_or_insert_with(|| encode_json(pdu.canonical_bytes()));
        let key = keys::event(self.room.nid, nid);
        stamp(&key, value);
        batch.put(EVENT_BODIES, key, std::mem::take(value));
        metrics::counter!("roomserver_bodies_total", "form" => form.name()).increment(1);
        Ok(form)
    }

    fn structured(
        &self,
        batch: &mut Batch,
        used: &mut UsedNames,
        (nid, row): (EventNid, &EventRow),
        pdu: &Pdu,
        find: Find<'_>,
    ) -> Result<Option<Vec<u8>>> {
        let (object, format) = (pdu.object(), self.room.rules.event_id_format);
        let mut known = self.known_of(row, pdu)?;
        let mut header = Header::default();
        for (key, event_id) in mentioned_ids(object, format) {
            if let Some(mentioned) = find(&key)? {
                header.mentions.push(mentioned);
                known.mentions.push(Cow::Borrowed(event_id));
            }
        }
        let server = pdu.sender().split_once(':').map_or("", |(_, server)| server);
        if let Some((key_id, _)) = only_key(object, server).filter(|(key_id, _)| key_id.len() <= MAX_KEY_ID_BYTES) {
            header.key_id = Some(self.interner.intern_key_id(self.rows.read(), key_id, batch, used)?);
            known.key_id = Some(key_id.into());
        }
        let names = RowNames {
            event_type: pdu.event_type().into(),
            state_key: pdu.state_key().map(Into::into),
            sender: pdu.sender().into(),
        };
        let canonical = pdu.canonical_bytes();
        let written = |beside: &Beside<'_>| {
            let comes_back = |body: &Vec<u8>| body::decode(nid, body, beside).is_ok_and(|read| read == canonical);
            let attempts = [!pdu.is_redacted(), false].into_iter();
            attempts.filter_map(|recomputes| encode(nid, object, recomputes, &header, beside)).find(comes_back)
        };
        Ok(self.beside(pdu.event_id(), row, &names, &known, written))
    }

    fn value(&self, nid: EventNid) -> Result<Vec<u8>> {
        let key = keys::event(self.room.nid, nid);
        self.rows.read().get(EVENT_BODIES, &key)?.ok_or_else(|| missing(EVENT_BODIES, &key))
    }

    /// The events that a row refers to.
    fn known<'p>(&self, row: &EventRow) -> Result<Known<'p>> {
        let arriving = |nid: EventNid| self.arriving.filter(|(arriving, _)| *arriving == nid);
        let named = row.prev_events.iter().flatten().chain(&row.auth_events).copied();
        let stored: SmallVec<[EventNid; 8]> = named.filter(|nid| arriving(*nid).is_none()).collect();
        let mut identities = self.rows.event_identities(self.room, &stored)?.into_iter().map(Identity::from);
        let mut identity = |nid: EventNid| match arriving(nid) {
            Some((_, identity)) => Some(Identity::from(identity.clone())),
            None => identities.next(),
        };
        let prev_events = row.prev_events.iter().map(|prev| prev.and_then(&mut identity)).collect();
        Ok(Known { prev_events, auth_events: identities.collect(), ..Known::default() })
    }

    /// The same for the row of a PDU at hand, which has the IDs itself where they are hashes.
    fn known_of<'p>(&self, row: &EventRow, pdu: &'p Pdu) -> Result<Known<'p>> {
        let complete = row.prev_events.len() == pdu.prev_keys().len() && row.auth_events.len() == pdu.auth_keys().len();
        if self.room.rules.event_format.require_event_id || !complete {
            return self.known(row);
        }
        fn text(ids: &[Box<str>]) -> impl Iterator<Item = &str> {
            ids.iter().map(|id| &**id)
        }
        let identity = |(event_id, key): (&'p str, &EventKey)| Identity {
            event_id: Cow::Borrowed(event_id),
            hash: *key.as_bytes(),
        };
        let prev_events = text(pdu.prev_events()).zip(pdu.prev_keys()).map(identity);
        let prev_events = prev_events.zip(&row.prev_events).map(|(identity, prev)| prev.map(|_| identity));
        Ok(Known {
            prev_events: prev_events.collect(),
            auth_events: text(pdu.auth_events()).zip(pdu.auth_keys()).map(identity).collect(),
            ..Known::default()
        })
    }

    fn beside<T>(
        &self,
        event_id: &str,
        row: &EventRow,
        names: &RowNames,
        known: &Known<'_>,
        then: impl FnOnce(&Beside<'_>) -> T,
    ) -> T {
        fn reference<'k>(identity: &'k Identity<'_>) -> Reference<'k> {
            Reference { event_id: &identity.event_id, hash: &identity.hash }
        }
        let prev_events: SmallVec<[Option<Reference<'_>>; 4]> =
            known.prev_events.iter().map(|prev| prev.as_ref().map(reference)).collect();
        let auth_events: SmallVec<[Reference<'_>; 6]> = known.auth_events.iter().map(reference).collect();
        let mentions: SmallVec<[&str; 2]> = known.mentions.iter().map(|id| &**id).collect();
        then(&Beside {
            format: self.room.rules.event_id_format,
            room_id: &self.room.id,
            event_id,
            event_type: &names.event_type,
            state_key: names.state_key.as_deref(),
            sender: &names.sender,
            origin_server_ts: row.origin_server_ts,
            depth: row.depth,
            prev_events: &prev_events,
            auth_events: &auth_events,
            mentions: &mentions,
            key_id: known.key_id.as_deref(),
        })
    }
}
