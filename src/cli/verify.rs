//! `verify`.

use std::io::Write;

use serde::Serialize;

use super::{
    ending::{Ending, Failure},
    output::{Output, Style, grouped},
    store::Place,
};
use crate::verify::{Problem, Report};

#[derive(Serialize)]
struct ShownProblem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    table: &'a str,
    what: &'a str,
}

#[derive(Serialize)]
struct ShownReport {
    rooms: u64,
    events: u64,
    snapshots: u64,
    blocks: u64,
    problems: u64,
}

pub(super) fn run(place: &Place, output: &mut Output) -> Result<Ending, Failure> {
    let store = place.open()?;
    let mut written = Ok(());
    let report = store.server.verify(&mut |problem: &Problem| {
        if written.is_ok() {
            written = if output.json {
                let Problem { room, table, what, .. } = problem;
                output.object(&ShownProblem { room: room.as_deref(), table, what })
            } else {
                let text = output.styled(Style::Bad, &problem.to_string());
                writeln!(output, "{text}")
            };
        }
    })?;
    written?;
    let Report { rooms, events, snapshots, blocks, problems, .. } = report;
    if output.json {
        output.object(&ShownReport { rooms, events, snapshots, blocks, problems })?;
    } else {
        let [rooms, events, snapshots, blocks] = [rooms, events, snapshots, blocks].map(grouped);
        let found = if problems == 0 { "all is well".to_owned() } else { format!("{} problems", grouped(problems)) };
        writeln!(output, "{found}: {rooms} rooms, {events} events, {snapshots} snapshots and {blocks} blocks checked")?;
    }
    Ok(if problems == 0 { Ending::Right } else { Ending::Wrong })
}
