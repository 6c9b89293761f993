//! `gc`.

use std::io::Write;

use ruma_common::OwnedEventId;
use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, bytes, grouped},
    purge::{progress_bar, show_progress},
    store::Place,
};
use crate::upkeep::{Collect, Freed, LeftOut};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this room
    room: Option<String>,
    /// Collect the history before this event too: states, and bodies that nothing retained needs
    #[arg(long, value_name = "EVENT", requires = "room")]
    before: Option<String>,
    /// Collect rejected and soft-failed events too that no retained event follows
    #[arg(long)]
    rejected: bool,
}

#[derive(Serialize)]
struct ShownFreed {
    events: u64,
    bodies: u64,
    snapshots: u64,
    lists: u64,
    blocks: u64,
    bytes: u64,
    left_out: Vec<ShownLeftOut>,
}

#[derive(Serialize)]
struct ShownLeftOut {
    room_id: String,
    reason: String,
}

pub(super) fn run(place: &Place, arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let event_id = |text: &String| {
        OwnedEventId::try_from(text.as_str()).map_err(|_| Failure::Other(format!("`{text}` is no event ID")))
    };
    let before = arguments.before.as_ref().map(event_id).transpose()?;
    let collect = Collect { room: arguments.room.clone(), before, refused: arguments.rejected };
    let bar = progress_bar();
    let before = store.server.disk_bytes()?;
    let freed = store.server.gc(&collect, &mut |progress| show_progress(bar.as_ref(), progress));
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let Freed { events, bodies, snapshots, lists, blocks, left_out } = freed?;
    let freed = before.saturating_sub(store.server.disk_bytes()?);
    store.keep()?;
    let show = |LeftOut { room_id, reason, .. }| ShownLeftOut { room_id, reason };
    let left_out: Vec<ShownLeftOut> = left_out.into_iter().map(show).collect();
    if output.json {
        output.object(&ShownFreed { events, bodies, snapshots, lists, blocks, bytes: freed, left_out })?;
    } else {
        for ShownLeftOut { room_id, reason } in &left_out {
            writeln!(output, "left out {room_id}: {reason}")?;
        }
        let [events, bodies, snapshots, lists, blocks] = [events, bodies, snapshots, lists, blocks].map(grouped);
        writeln!(output, "{events} events lost their states, {bodies} of them their bodies too")?;
        writeln!(output, "{snapshots} snapshots, {lists} lists and {blocks} blocks went, {} came back", bytes(freed))?;
    }
    Ok(Ending::Right)
}
