//! Sets of numbers.

/// A set of numbers, a bit each.
#[derive(Debug, Clone, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; tells whether it is new.
    pub fn set(&mut self, number: u32) -> bool {
        let place = number as usize / 64;
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        let Some(word) = self.0.get_mut(place) else { return false };
        let is_new = *word & (1 << (number % 64)) == 0;
        *word |= 1 << (number % 64);
        is_new
    }

    /// Tells whether it has a number.
    pub fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Tells whether it has a number from `first` to `last`.
    pub fn has_any(&self, mut numbers: std::ops::RangeInclusive<u32>) -> bool {
        numbers.any(|number| self.has(number))
    }
}
