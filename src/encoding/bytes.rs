//! Reading and writing bytes: varints, the read cursor, bit packing and the short checksum of values.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is wrong with some bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The offset in the value, in bytes.
    pub offset: usize,
    /// What was found or missing there.
    pub what: &'static str,
}

/// The result of decoding.
pub type Decoded<T> = Result<T, Malformed>;

/// Appends an unsigned LEB128 varint, 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a signed number as a zigzag varint: small magnitudes are short.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends a length as varint, then the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a value from its first byte to its last; every read is checked against what is left.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// An error at the present place.
    #[inline]
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.offset, what }
    }

    /// The number of bytes that are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.offset)
    }

    /// Reads the next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let end = self.offset.checked_add(count).ok_or(self.malformed("a length beyond the address space"))?;
        let taken = self.bytes.get(self.offset..end).ok_or(self.malformed("the value ends too early"))?;
        self.offset = end;
        Ok(taken)
    }

    /// Reads the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.malformed("the value ends too early"))
    }

    /// Reads one byte.
    #[inline]
    pub fn byte(&mut self) -> Decoded<u8> {
        let byte = self.bytes.get(self.offset).ok_or(self.malformed("the value ends too early"))?;
        self.offset += 1;
        Ok(*byte)
    }

    /// Reads a varint in its shortest form.
    #[inline]
    pub fn varint(&mut self) -> Decoded<u64> {
        // Most are of one or two bytes.
        match self.bytes.get(self.offset..) {
            Some([byte, ..]) if *byte < 0x80 => {
                self.offset += 1;
                Ok(u64::from(*byte))
            }
            Some([low, high, ..]) if (1..0x80).contains(high) => {
                self.offset += 2;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Decoded<u64> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        if let Some(word) = rest.first_chunk()
            && let Some((value, length)) = short_of_word(u64::from_le_bytes(*word))
        {
            self.offset += length;
            return Ok(value);
        }
        let (mut value, mut shift) = (0u64, 0);
        for byte in rest.iter().take(10) {
            self.offset += 1;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(self.malformed("a number beyond 64 bits"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                if *byte == 0 && shift > 0 {
                    return Err(self.malformed("a number that is not in its shortest form"));
                }
                return Ok(value);
            }
            shift += 7;
        }
        let what = if rest.len() < 10 { "the value ends too early" } else { "a number beyond 64 bits" };
        Err(self.malformed(what))
    }

    /// Reads a varint that fits 32 bits.
    #[inline]
    pub fn varint32(&mut self) -> Decoded<u32> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.malformed("a number beyond 32 bits"))
    }

    /// Reads a zigzag varint.
    #[inline]
    pub fn zigzag(&mut self) -> Decoded<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a count of items that take at least `least` bytes each: never more than the bytes that are left allow.
    #[inline]
    pub fn count(&mut self, least: usize) -> Decoded<usize> {
        let count = self.varint()?;
        let room = self.left().checked_div(least).unwrap_or(usize::MAX);
        match usize::try_from(count) {
            Ok(count) if count <= room => Ok(count),
            _ => Err(self.malformed("a count beyond the end of the value")),
        }
    }

    /// Reads a length and as many bytes.
    pub fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// Reads a length and as many bytes of UTF-8.
    pub fn text(&mut self) -> Decoded<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text that is not UTF-8"))
    }

    /// Checks that nothing is left.
    #[inline]
    pub fn end(&self) -> Decoded<()> {
        if self.left() == 0 { Ok(()) } else { Err(self.malformed("bytes after the end of the value")) }
    }
}

/// The varint at the beginning of eight bytes, and its length; `None` if it does not end there or is not in its shortest
/// form.
fn short_of_word(word: u64) -> Option<(u64, usize)> {
    const ENDS: u64 = 0x8080_8080_8080_8080;
    let ends = !word & ENDS;
    // The bits up to the top bit of the last byte.
    let bits = ends.trailing_zeros().checked_add(1).filter(|bits| *bits <= u64::BITS)?;
    let own = word & (u64::MAX >> (u64::BITS - bits)) & !ENDS;
    if bits > 8 && own >> (bits - 8) == 0 {
        return None;
    }
    // Groups of 7 bits become groups of 14, 28 and 56.
    let own = (own & 0x007f_007f_007f_007f) | ((own & 0x7f00_7f00_7f00_7f00) >> 1);
    let own = (own & 0x0000_3fff_0000_3fff) | ((own & 0x3fff_0000_3fff_0000) >> 2);
    let own = (own & 0x0fff_ffff) | ((own & 0x0fff_ffff_0000_0000) >> 4);
    Some((own, bits as usize / 8))
}

/// The number of bits that hold every number below `count`.
pub fn bits_for(count: usize) -> u32 {
    count.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1)
}

/// The number of bytes that `count` numbers of `bits` bits take.
pub fn packed_len(count: usize, bits: u32) -> usize {
    count.saturating_mul(bits as usize).div_ceil(8)
}

/// Appends numbers of `bits` bits each, lowest bit first, padded with zeros to a whole byte.
pub fn put_packed(out: &mut Vec<u8>, bits: u32, numbers: impl IntoIterator<Item = u64>) {
    let (mut held, mut filled) = (0u128, 0u32);
    for number in numbers {
        held |= u128::from(number) << filled;
        filled += bits;
        while filled >= 8 {
            out.push((held & 0xff) as u8);
            held >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push((held & 0xff) as u8);
    }
}

/// Numbers of a fixed width in bits, read in place.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    bits: u32,
}

impl<'a> Packed<'a> {
    /// Reads over `bytes`, at most 57 bits a number.
    pub fn new(bytes: &'a [u8], bits: u32) -> Self {
        Self { bytes, bits: bits.min(57) }
    }

    /// The number at `index`; bits beyond the end read as 0.
    pub fn get(&self, index: usize) -> u64 {
        let first_bit = index.saturating_mul(self.bits as usize);
        let rest = self.bytes.get(first_bit / 8..).unwrap_or_default();
        let mut word = [0u8; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        (u64::from_le_bytes(word) >> (first_bit % 8)) & ((1u64 << self.bits) - 1)
    }
}

/// Bytes that [`stamp`] appends.
pub const CHECKSUM_BYTES: usize = 4;

/// Appends a short checksum of the key and the value: a value at the wrong key is as wrong as a damaged one.
pub fn stamp(key: &[u8], value: &mut Vec<u8>) {
    let sum = checksum(key, value);
    value.extend_from_slice(&sum);
}

/// Checks the checksum that [`stamp`] appended and gives the value without it.
pub fn unstamp<'a>(key: &[u8], stamped: &'a [u8]) -> Decoded<&'a [u8]> {
    match stamped.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, sum)) if checksum(key, value) == *sum => Ok(value),
        Some((value, _)) => Err(Malformed { offset: value.len(), what: "the checksum does not match key and value" }),
        None => Err(Malformed { offset: 0, what: "the value is shorter than its checksum" }),
    }
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = xxh3_64_with_seed(value, xxh3_64_with_seed(key, 0)).to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_zigzag(&mut out, signed);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varint(), Ok(value));
            prop_assert_eq!(cursor.zigzag(), Ok(signed));
            prop_assert!(cursor.end().is_ok());
        }

        #[test]
        fn a_varint_is_read_as_if_byte_by_byte(mut bytes: Vec<u8>, lead in 0usize..12) {
            // Many lengths, since a byte of eight ends a varint one time in two.
            bytes.iter_mut().take(lead).for_each(|byte| *byte |= 0x80);
            let (mut value, mut expected) = (0u128, None);
            for (place, byte) in bytes.iter().take(10).enumerate() {
                value |= u128::from(byte & 0x7f) << (7 * place);
                if byte & 0x80 == 0 {
                    expected = u64::try_from(value).ok().filter(|_| *byte > 0 || place == 0).map(|value| (value, place + 1));
                    break;
                }
            }
            let mut cursor = Cursor::new(&bytes);
            let read = cursor.varint().ok().map(|value| (value, bytes.len() - cursor.left()));
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn packed_numbers_come_back(bits in 0u32..=57, raw in prop::collection::vec(any::<u64>(), 0..40)) {
            let numbers: Vec<u64> = raw.iter().map(|n| n & ((1u64 << bits) - 1)).collect();
            let mut out = Vec::new();
            put_packed(&mut out, bits, numbers.iter().copied());
            prop_assert_eq!(out.len(), packed_len(numbers.len(), bits));
            let packed = Packed::new(&out, bits);
            for (index, number) in numbers.iter().enumerate() {
                prop_assert_eq!(packed.get(index), *number);
            }
        }

        #[test]
        fn a_flipped_bit_breaks_the_stamp(key: Vec<u8>, mut value: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            stamp(&key, &mut value);
            let place = at.index(value.len());
            value[place] ^= 1 << bit;
            prop_assert!(unstamp(&key, &value).is_err());
        }
    }

    #[test]
    fn an_overlong_varint_is_refused() {
        assert!(Cursor::new(&[0x80, 0x00]).varint().is_err());
        assert!(Cursor::new(&[0xff; 10]).varint().is_err());
    }

    #[test]
    fn a_count_beyond_the_value_is_refused() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(Cursor::new(&out).count(1).is_err());
    }
}
