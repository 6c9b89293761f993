//! The codec of rows and bodies alone: no store, no names to look up.

use ruma_common::room_version_rules::{EventIdFormatVersion, RoomVersionRules};
use smallvec::SmallVec;

use crate::{
    encoding::{
        body::{self, Beside, Essence, Header, Reference, mentioned_ids, only_key},
        bytes::Decoded,
        event_row::{EventRow, Kind, Name, Remains, States, Verdict},
        json::Json,
        pdu::Pdu,
    },
    error::{Error, Result},
    ids::{EventNid, EventTypeNid, SnapshotNid, StateKeyNid, StateTuple},
};

/// An event with all that its row and body are written beside.
pub struct Prepared {
    nid: EventNid,
    pdu: Pdu,
    row: EventRow,
    header: Header,
    mentions: Vec<Box<str>>,
    key_id: Option<Box<str>>,
    format: EventIdFormatVersion,
    encoded_row: Vec<u8>,
    body: Vec<u8>,
    body_with_hash: Vec<u8>,
}

impl Prepared {
    /// Prepares a PDU as the event of number `number`, whose row has all events that it refers to.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is none of a room with these rules; `Internal` if it does not come back byte for byte.
    pub fn new(pdu: &[u8], number: u32, rules: &RoomVersionRules) -> Result<Self> {
        let json = Json::parse(pdu).map_err(|error| Error::invalid(error.what))?;
        let pdu = Pdu::parse(json, rules)?;
        let wrong = || Error::invalid("an event of too low a number");
        let before = |distance: usize| {
            let distance = u32::try_from(distance).ok()?;
            number.checked_sub(distance).and_then(EventNid::new)
        };
        let (event_type, sender) = (EventTypeNid::new(17).ok_or_else(wrong)?, StateKeyNid::new(200).ok_or_else(wrong)?);
        let row = EventRow {
            kind: Kind::New,
            remains: Remains::All,
            verdict: Verdict::Accepted,
            redacted_at_acceptance: false,
            state_supplied: false,
            position: number,
            states: Some(States { before: SnapshotNid::new(number / 5), after: SnapshotNid::new(number / 5) }),
            tuple: pdu.state_key().map(|_| StateTuple { event_type, state_key: sender }),
            event_type: Name::Number(event_type),
            sender: Name::Number(sender),
            depth: pdu.depth(),
            origin_server_ts: pdu.origin_server_ts(),
            prev_events: (1..=pdu.prev_events().len()).map(before).collect(),
            auth_events: (1..=pdu.auth_events().len()).filter_map(|place| before(place * 40)).collect(),
        };
        let server = pdu.sender().split_once(':').map_or("", |(_, server)| server);
        let mentioned = mentioned_ids(pdu.object(), rules.event_id_format);
        let mentions: Vec<Box<str>> = mentioned.into_iter().map(|(_, event_id)| event_id.into()).collect();
        let header = Header {
            key_id: only_key(pdu.object(), server).map(|_| 70),
            mentions: (0..mentions.len()).filter_map(|place| before(place + 20)).collect(),
        };
        let nid = EventNid::new(number).ok_or_else(wrong)?;
        let key_id: Option<Box<str>> = only_key(pdu.object(), server).map(|(key_id, _)| key_id.into());
        let format = rules.event_id_format;
        let [encoded_row, body, body_with_hash] = [const { Vec::new() }; 3];
        let mut event = Self { nid, pdu, row, header, mentions, key_id, format, encoded_row, body, body_with_hash };
        event.encoded_row = event.encode_row();
        event.body = event.encode_body(true);
        event.body_with_hash = event.encode_body(false);
        let comes_back = |body: &[u8]| event.decode_body(body).is_ok_and(|read| read == event.pdu.canonical_bytes());
        if comes_back(&event.body) && comes_back(&event.body_with_hash) {
            return Ok(event);
        }
        Err(Error::internal("an event does not come back as it was"))
    }

    /// Writes the row.
    pub fn encode_row(&self) -> Vec<u8> {
        self.row.encode(self.nid)
    }

    /// Reads the row.
    pub fn decode_row(&self) -> Decoded<EventRow> {
        EventRow::decode(self.nid, &self.encoded_row)
    }

    /// Writes the body, with its content hash left out or not.
    pub fn encode_body(&self, without_hash: bool) -> Vec<u8> {
        let written =
            self.beside(|beside| body::encode(self.nid, self.pdu.object(), without_hash, &self.header, beside));
        written.unwrap_or_default()
    }

    /// The PDU from the body that leaves the content hash out.
    pub fn decode(&self) -> Decoded<Vec<u8>> {
        self.decode_body(&self.body)
    }

    /// The PDU from the body that holds the content hash.
    pub fn decode_with_hash(&self) -> Decoded<Vec<u8>> {
        self.decode_body(&self.body_with_hash)
    }

    /// What authorisation reads of the body.
    pub fn decode_content(&self) -> Decoded<Essence> {
        self.beside(|beside| body::essence(self.nid, &self.body, beside))
    }

    fn decode_body(&self, body: &[u8]) -> Decoded<Vec<u8>> {
        self.beside(|beside| body::decode(self.nid, body, beside))
    }

    fn beside<T>(&self, then: impl FnOnce(&Beside<'_>) -> T) -> T {
        let pdu = &self.pdu;
        let prev: SmallVec<[Option<Reference<'_>>; 4]> = (pdu.prev_events().iter().zip(pdu.prev_keys()))
            .map(|(event_id, key)| Some(Reference { event_id, hash: key.as_bytes() }))
            .collect();
        let auth: SmallVec<[Reference<'_>; 6]> = (pdu.auth_events().iter().zip(pdu.auth_keys()))
            .map(|(event_id, key)| Reference { event_id, hash: key.as_bytes() })
            .collect();
        let mentions: SmallVec<[&str; 2]> = self.mentions.iter().map(|id| &**id).collect();
        then(&Beside {
            prev_events: &prev,
            auth_events: &auth,
            mentions: &mentions,
            key_id: self.key_id.as_deref(),
            ..Beside::of(pdu, self.format)
        })
    }
}
