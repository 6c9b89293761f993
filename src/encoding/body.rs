//! The body of an event: its PDU.

use super::bytes::{Decoded, Malformed};

/// Canonical JSON with signatures, as it is.
const FORM_JSON: u8 = 1;

/// Writes a body.
pub fn encode(canonical: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(canonical.len() + 1);
    body.push(FORM_JSON);
    body.extend_from_slice(canonical);
    body
}

/// Reads a body: the PDU as canonical JSON.
pub fn decode(body: &[u8]) -> Decoded<&[u8]> {
    match body.split_first() {
        Some((&FORM_JSON, canonical)) => Ok(canonical),
        _ => Err(Malformed { offset: 0, what: "an unknown form of body" }),
    }
}
