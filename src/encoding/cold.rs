//! Cold rows, written and read as a whole: settings, rooms, parked inputs. Serde and bincode, with a size limit.
//!
//! They set aside what a length asks for before they have seen as much. A field that owns memory is therefore read by
//! [`owned`]: `#[serde(deserialize_with = "cold::owned")]`.

use std::{fmt, marker::PhantomData};

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};

use super::bytes::{Decoded, Malformed};
use crate::error::{Error, Result};

/// The most bytes of a row: 65,536 bytes of PDU, and a supplied state of 500,000 event IDs.
pub const LIMIT: usize = 64 << 20;

/// The same as bincode counts when it reads: a number of one byte as the eight that it may be.
const LIMIT_READ: usize = LIMIT * 8;

fn config() -> Configuration<LittleEndian, Varint, Limit<LIMIT_READ>> {
    bincode::config::standard().with_limit::<LIMIT_READ>()
}

/// Writes a row; `Invalid` if it has more than [`LIMIT`] bytes.
pub fn encode(row: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = bincode::serde::encode_to_vec(row, config());
    let bytes = bytes.map_err(|error| Error::invalid("a row cannot be written").with_source(error))?;
    // bincode looks at its limit only when it reads.
    if bytes.len() > LIMIT {
        return Err(Error::invalid(format!("a row has {} bytes, at most {LIMIT} are allowed", bytes.len())));
    }
    Ok(bytes)
}

/// Reads a row; all bytes must belong to it.
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Decoded<T> {
    if bytes.len() > LIMIT {
        return Err(Malformed { offset: LIMIT, what: "a row of more than 64 MiB" });
    }
    match bincode::serde::borrow_decode_from_slice(bytes, config()) {
        Ok((row, read)) if read == bytes.len() => Ok(row),
        Ok((_, read)) => Err(Malformed { offset: read, what: "bytes after the end of the value" }),
        Err(_) => Err(Malformed { offset: 0, what: "no row of this table" }),
    }
}

/// Reads a field that owns memory, and sets nothing aside for what has not been seen.
pub fn owned<'de, T: Owned<'de>, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<T, D::Error> {
    T::Seen::deserialize(deserializer).map(T::own)
}

/// A field that owns memory.
pub trait Owned<'de>: Sized {
    /// What is read in its stead: borrowed from the row, or grown item by item.
    type Seen: Deserialize<'de>;

    fn own(seen: Self::Seen) -> Self;
}

impl<'de> Owned<'de> for String {
    type Seen = &'de str;

    fn own(seen: &'de str) -> Self {
        seen.into()
    }
}

impl<'de> Owned<'de> for Vec<u8> {
    type Seen = &'de [u8];

    fn own(seen: &'de [u8]) -> Self {
        seen.into()
    }
}

impl<'de> Owned<'de> for Vec<String> {
    type Seen = Grown<&'de str>;

    fn own(seen: Grown<&'de str>) -> Self {
        seen.0.into_iter().map(Into::into).collect()
    }
}

impl<'de, T: Owned<'de>> Owned<'de> for Option<T> {
    type Seen = Option<T::Seen>;

    fn own(seen: Option<T::Seen>) -> Self {
        seen.map(T::own)
    }
}

/// A list that grows with each item that is read.
pub struct Grown<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Grown<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Grown<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Grown<T>, A::Error> {
                let mut grown = Vec::new();
                while let Some(item) = items.next_element()? {
                    grown.push(item);
                }
                Ok(Grown(grown))
            }
        }

        deserializer.deserialize_seq(Items(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        number: u32,
        #[serde(deserialize_with = "owned")]
        text: String,
        #[serde(deserialize_with = "owned")]
        bytes: Vec<u8>,
        #[serde(deserialize_with = "owned")]
        texts: Option<Vec<String>>,
    }

    fn row() -> Row {
        let texts = ["", "$x"].map(String::from).to_vec();
        Row { number: 7, text: "!room:example.org".to_owned(), bytes: vec![1, 2], texts: Some(texts) }
    }

    #[test]
    fn a_row_comes_back() {
        let bytes = encode(&row()).expect("small");
        assert_eq!(decode(&bytes), Ok(row()));
        let more = [&*bytes, &[0]].concat();
        assert_eq!(
            decode::<Row>(&more),
            Err(Malformed { offset: bytes.len(), what: "bytes after the end of the value" })
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let fits = Row { bytes: vec![0; LIMIT - 40], ..row() };
        assert_eq!(decode(&encode(&fits).expect("it fits")), Ok(fits));
        assert!(encode(&Row { bytes: vec![0; LIMIT], ..row() }).is_err());
        assert!(decode::<Row>(&vec![0; LIMIT + 1]).is_err());
    }

    #[test]
    fn a_length_beyond_the_value_is_refused() {
        let row = encode(&row()).expect("small");
        // The lengths of the four fields that have one.
        for place in [1, 19, 23, 25] {
            for length in [&[250][..], &[252, 0, 0, 0, 4], &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
                let spoilt = [&row[..place], length, &row[place + 1..]].concat();
                assert!(decode::<Row>(&spoilt).is_err(), "at {place}");
            }
        }
    }
}
