//! The state fingerprint: comparable between stores, replicas and other servers.

use std::fmt;

use sha2::{Digest, Sha256};

/// The sum modulo 2^256 of SHA-256(type 0x00 state_key 0x00 event_id) over all entries of a state.
///
/// It follows a change in O(1). It is a checksum for comparison, never an identity: sums of hashes are not
/// collision-resistant against someone who chooses many entries. The empty state is 0. Shown as 64 hex digits,
/// big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint([u64; 4]);

impl Fingerprint {
    /// The fingerprint of the empty state.
    pub const EMPTY: Self = Self([0; 4]);

    /// The fingerprint of a state with this one entry.
    pub fn of_entry(event_type: &str, state_key: &str, event_id: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(event_type.as_bytes());
        hasher.update([0]);
        hasher.update(state_key.as_bytes());
        hasher.update([0]);
        hasher.update(event_id.as_bytes());
        Self::from_bytes(hasher.finalize().into())
    }

    /// Reads 32 bytes, big-endian.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *limb = chunk.iter().fold(0, |limb, byte| (limb << 8) | u64::from(*byte));
        }
        Self(limbs)
    }

    /// Its 32 bytes, big-endian.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0.iter().rev()) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
    }

    /// The fingerprint with an entry more.
    #[must_use]
    pub fn with(self, entry: Self) -> Self {
        let mut carry = false;
        let mut sum = [0; 4];
        for ((to, a), b) in sum.iter_mut().zip(self.0).zip(entry.0) {
            let (partial, first) = a.overflowing_add(b);
            let (limb, second) = partial.overflowing_add(u64::from(carry));
            (*to, carry) = (limb, first || second);
        }
        Self(sum)
    }

    /// The fingerprint with an entry less.
    #[must_use]
    pub fn without(self, entry: Self) -> Self {
        let mut borrow = false;
        let mut difference = [0; 4];
        for ((to, a), b) in difference.iter_mut().zip(self.0).zip(entry.0) {
            let (partial, first) = a.overflowing_sub(b);
            let (limb, second) = partial.overflowing_sub(u64::from(borrow));
            (*to, borrow) = (limb, first || second);
        }
        Self(difference)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{d:016x}{c:016x}{b:016x}{a:016x}")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_taken_away_leaves_what_was_before(a: [u8; 32], b: [u8; 32]) {
            let (a, b) = (Fingerprint::from_bytes(a), Fingerprint::from_bytes(b));
            prop_assert_eq!(a.with(b).without(b), a);
            prop_assert_eq!(a.with(b), b.with(a));
            prop_assert_eq!(Fingerprint::from_bytes(a.to_bytes()), a);
        }
    }

    #[test]
    fn the_sum_wraps_at_two_to_the_256() {
        let all_ones = Fingerprint::from_bytes([0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(all_ones.with(Fingerprint::from_bytes(one)), Fingerprint::EMPTY);
    }

    #[test]
    fn a_single_entry_is_its_hash() {
        // printf 'm.room.create\0\0$a' | sha256sum
        let entry = Fingerprint::of_entry("m.room.create", "", "$a");
        assert_eq!(entry.to_string().len(), 64);
        let digest: [u8; 32] = Sha256::digest(b"m.room.create\0\0$a").into();
        assert_eq!(entry.to_bytes(), digest);
    }
}
