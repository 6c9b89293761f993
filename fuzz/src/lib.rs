//! What every target does with an input.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What any input may take of the heap, in bytes; it covers what is set aside before the first byte is read.
const BASE: usize = 64 << 10;

/// Lets a door read an input, which may take `each` bytes of the heap for each of its own, and [`BASE`].
///
/// What is read is written and read again while it is held, so a door takes several times what its decoder does. In a body
/// one byte may stand for a sender of 255.
pub fn run(door: fn(&[u8]) -> bool, each: usize, bytes: &[u8]) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    door(bytes);
    let taken = HEAP.peak_usage().saturating_sub(before);
    let most = BASE + each * bytes.len();
    assert!(taken <= most, "{} bytes take {taken} of the heap, more than {most}", bytes.len());
}
