//! `stats`.

use std::{collections::BTreeMap, io::Write};

use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, Style, bytes, grouped},
    store::Place,
    table::{Column, Table},
};
use crate::stats::{Bytes, Stats};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this room; its bytes are those of its rows before compression
    room: Option<String>,
    /// Write everything out and compact it first, so that the bytes are exact
    #[arg(long, conflicts_with = "room")]
    exact: bool,
}

#[derive(Serialize)]
struct ShownStats<'a> {
    rooms: u64,
    events: u64,
    outliers: u64,
    state_changes: u64,
    snapshots: u64,
    blocks: u64,
    blocks_shared: u64,
    block_uses: u64,
    lists: u64,
    longest_list: u64,
    bytes: ShownBytes<'a>,
    bytes_per_event: Option<f64>,
    bytes_per_state_change: Option<f64>,
    collectable: ShownCollectable,
}

#[derive(Serialize)]
struct ShownCollectable {
    snapshots: u64,
    lists: u64,
    blocks: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct ShownBytes<'a> {
    total: u64,
    state: u64,
    events: u64,
    tables: BTreeMap<&'a str, u64>,
}

pub(super) fn run(place: &Place, arguments: &Arguments, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let stats = match &arguments.room {
        Some(room_id) => store.server.view().room_stats(room_id)?,
        None => store.server.stats(arguments.exact)?,
    };
    if output.json {
        show_json(&stats, output)?;
    } else {
        show(&stats, output)?;
    }
    Ok(Ending::Right)
}

fn show_json(stats: &Stats, output: &mut Output) -> Result<(), Failure> {
    let Stats { rooms, events, outliers, state_changes, snapshots, .. } = *stats;
    let Stats { blocks, blocks_shared, block_uses, lists, longest_list, ref bytes, collectable: gone, .. } = *stats;
    let Bytes { total, state, events: event_bytes, ref tables } = *bytes;
    let rounded = |bytes: Option<f64>| bytes.map(|bytes| (bytes * 1000.0).round() / 1000.0);
    output.object(&ShownStats {
        rooms,
        events,
        outliers,
        state_changes,
        snapshots,
        blocks,
        blocks_shared,
        block_uses,
        lists,
        longest_list,
        bytes: ShownBytes { total, state, events: event_bytes, tables: tables.iter().copied().collect() },
        bytes_per_event: rounded(stats.bytes_per_event()),
        bytes_per_state_change: rounded(stats.bytes_per_state_change()),
        collectable: ShownCollectable {
            snapshots: gone.snapshots,
            lists: gone.lists,
            blocks: gone.blocks,
            bytes: gone.bytes,
        },
    })?;
    Ok(())
}

fn show(stats: &Stats, output: &mut Output) -> Result<(), Failure> {
    let per = |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.1}"));
    let Stats { rooms, events, outliers, state_changes, snapshots, .. } = *stats;
    let Stats { blocks, blocks_shared, block_uses, lists, longest_list, bytes: ref taken, collectable: gone, .. } =
        *stats;
    let free = [gone.snapshots, gone.blocks].map(grouped).join(" snapshots, ");
    let sharing = if blocks > 0 { block_uses as f64 / blocks as f64 } else { 0.0 };
    let lines = [
        ("rooms", grouped(rooms)),
        ("events", format!("{}, and {} outliers", grouped(events), grouped(outliers))),
        ("state changes", format!("{}, {} snapshots", grouped(state_changes), grouped(snapshots))),
        ("lists", format!("{}, the longest of {longest_list} runs", grouped(lists))),
        ("blocks", format!("{}, {} shared, each in {sharing:.1} lists", grouped(blocks), grouped(blocks_shared))),
        ("bytes", format!("{}: {} events, {} states", bytes(taken.total), bytes(taken.events), bytes(taken.state))),
        ("an event", format!("{} bytes", per(stats.bytes_per_event()))),
        ("a state change", format!("{} bytes", per(stats.bytes_per_state_change()))),
        ("gc would free", format!("{free} blocks, about {}", bytes(gone.bytes))),
    ];
    for (name, value) in lines {
        writeln!(output, "{}{value}", output.styled(Style::Heading, &format!("{name:16}")))?;
    }
    writeln!(output)?;
    let mut table = Table::new(&[Column::Left("table"), Column::Right("bytes")]);
    for (name, bytes) in &taken.tables {
        table.row([(*name).into(), grouped(*bytes).into()]);
    }
    table.write(output)?;
    Ok(())
}
