//! `purge`.

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, bytes, grouped},
    store::Place,
};
use crate::upkeep::{Progress, Purged};

#[derive(Serialize)]
struct ShownPurged<'a> {
    room_id: &'a str,
    events: u64,
    snapshots: u64,
    bytes: u64,
}

pub(super) fn run(place: &Place, room_id: &str, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let bar = progress_bar();
    let before = store.server.disk_bytes()?;
    let purged = store.server.purge(room_id, &mut |progress| show_progress(bar.as_ref(), progress));
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let Purged { events, snapshots } = purged?;
    let freed = before.saturating_sub(store.server.disk_bytes()?);
    store.keep()?;
    if output.json {
        output.object(&ShownPurged { room_id, events, snapshots, bytes: freed })?;
    } else {
        let (events, snapshots, freed) = (grouped(events), grouped(snapshots), bytes(freed));
        writeln!(output, "purged {room_id}: {events} events and {snapshots} snapshots, {freed} came back")?;
    }
    Ok(Ending::Right)
}

/// A bar on stderr, if it is a terminal.
pub(super) fn progress_bar() -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| ProgressBar::new(1))
}

/// Moves a bar on.
pub(super) fn show_progress(bar: Option<&ProgressBar>, Progress { done, all, .. }: Progress) {
    if let Some(bar) = bar {
        bar.set_length(all);
        bar.set_position(done);
    }
}
