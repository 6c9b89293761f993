//! Code that may panic: the host's store, its wakers, its recorder of metrics, and whatever has a bug.
//!
//! A thread that serves all rooms must survive it: with the thread that syncs, every later ticket would wait for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most characters that are kept of what a panic said.
const MAX_CHARS: usize = 1 << 10;

/// Runs a step that may panic; the error is what the panic said.
///
/// What the step was changing may be half changed after a panic. The caller must throw that away, or be sure that the
/// step changed nothing.
pub(super) fn guarded<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
        text.chars().take(MAX_CHARS).collect()
    })
}

/// Runs a call whose result nobody needs: a panic in it changes nothing.
pub(super) fn harmless(call: impl FnOnce()) {
    let _what_it_said = guarded(call);
}
