//! Cold rows, written and read as a whole: settings, rooms, parked inputs. Serde and bincode, with a size limit.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};

use super::bytes::{Decoded, Malformed};
use crate::error::{Error, Result};

/// The most bytes that decoding one row may ask for: 65,536 bytes of PDU, and a supplied state of 500,000 event IDs.
const LIMIT: usize = 64 << 20;

fn config() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Writes a row.
pub fn encode(row: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = bincode::serde::encode_to_vec(row, config());
    bytes.map_err(|error| Error::invalid("a row is larger than 64 MiB").with_source(error))
}

/// Reads a row; all bytes must belong to it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Decoded<T> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((row, read)) if read == bytes.len() => Ok(row),
        Ok((_, read)) => Err(Malformed { offset: read, what: "bytes after the end of the value" }),
        Err(_) => Err(Malformed { offset: 0, what: "no row of this table" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back() {
        let row = (7u32, String::from("!room:example.org"), vec![1u8, 2]);
        let bytes = encode(&row).expect("small");
        assert_eq!(decode(&bytes), Ok(row));
    }

    #[test]
    fn a_length_beyond_the_value_is_refused() {
        let mut bytes = encode(&vec![0u8; 4]).expect("small");
        bytes[0] = 250;
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<Vec<u64>>(&[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}
