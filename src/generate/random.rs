//! Numbers that look random and are the same in every run.

/// A sequence of numbers that follows from its seed alone: splitmix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, of 64 bits.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(end);
        // The upper half of the product of two 64-bit numbers has 64 bits.
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// A place in a list of `len`; 0 if that is 0.
    pub fn place(&mut self, len: usize) -> usize {
        let end = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(end)).unwrap_or_default()
    }

    /// One of `choices`.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let place = self.place(choices.len());
        choices.get(place)
    }

    /// The place of one of `weights`, each as likely as it is heavy; `None` if all are 0.
    pub fn weighted(&mut self, weights: &[u32]) -> Option<usize> {
        let total = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = self.below(total);
        weights.iter().position(|weight| {
            let weight = u64::from(*weight);
            let is_it = left < weight;
            left = left.saturating_sub(weight);
            is_it
        })
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.number().to_le_bytes()) {
                *byte = random;
            }
        }
        bytes
    }
}

/// Zipf's law: with exponent 1 the item of rank `r` is drawn `r` times less often than the first.
///
/// In integers, since powers of floats differ between platforms.
#[derive(Debug, Clone, Default)]
pub struct Zipf {
    /// The sums of the weights up to each rank.
    sums: Vec<u64>,
}

impl Zipf {
    /// Whether there are no ranks.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// How many ranks there are.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Adds a rank, the least likely one, with exponent 1.
    pub fn push(&mut self) {
        const FIRST: u64 = 1 << 32;
        self.push_weight(FIRST / self.next_rank());
    }

    /// Adds a rank with exponent 0.8: who is rarely drawn is drawn more often.
    pub fn push_flat(&mut self) {
        // The weight of the first is 2^24; of rank r it is the fifth root of (2^24)^5 / r^4.
        const FIRST: u128 = 1 << 120;
        let target = FIRST / u128::from(self.next_rank()).saturating_pow(4).max(1);
        let (mut weight, mut bit) = (0u128, 1u128 << 24);
        while bit > 0 {
            if (weight | bit).pow(5) <= target {
                weight |= bit;
            }
            bit >>= 1;
        }
        self.push_weight(u64::try_from(weight).unwrap_or_default().max(1));
    }

    fn next_rank(&self) -> u64 {
        u64::try_from(self.sums.len()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn push_weight(&mut self, weight: u64) {
        let before = self.sums.last().copied().unwrap_or(0);
        self.sums.push(before.saturating_add(weight));
    }

    /// Draws a rank, from 0 on; 0 if there is none.
    pub fn draw(&self, random: &mut Random) -> usize {
        let at = random.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|sum| *sum <= at)
    }
}
