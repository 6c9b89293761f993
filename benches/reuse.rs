//! What keeping every state of a room takes, here and in the layouts of other servers: the same as
//! `roomserver bench reuse`, without the tool.
//!
//!     cargo bench --features bench --bench reuse -- [--workload A] [--layout roomserver] [--full | --quick] [--json]
//!
//! `--full` runs at full size, `--quick` at a tenth of the size that it has without.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use roomserver::{
    Error, ErrorKind, Result,
    reuse::{
        Counts, LayoutKind, Measured, Settings, Workload, measure,
        report::{Line, READS, STORAGE, aims, heading, notes, reads, storage},
    },
};

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().collect();
    let has = |flag: &str| given.iter().any(|argument| argument == flag);
    let wants = |flag: &str, value: &str| {
        let asked = given.iter().skip_while(|argument| *argument != flag).nth(1);
        asked.is_none_or(|asked| asked == value)
    };
    let scratch = tempfile::tempdir().map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
    for workload in Workload::ALL.into_iter().filter(|workload| wants("--workload", workload.name())) {
        let size = match (has("--full"), has("--quick")) {
            (true, _) => workload.full_size(),
            (_, true) => workload.reduced_size() / 10,
            _ => workload.reduced_size(),
        };
        let settings = Settings { workload, size, seed: 1, questions: Counts::default(), scratch: scratch.path() };
        let mut all = Vec::new();
        for layout in LayoutKind::ALL.into_iter().filter(|layout| wants("--layout", layout.name())) {
            let measured = measure(&settings, layout, &mut |_, _| {})?;
            if has("--json") {
                println!("{}", serde_json::to_string(&Line::of(&measured)).unwrap_or_default());
            }
            all.push(measured);
        }
        if !has("--json") {
            show(&all);
        }
    }
    Ok(())
}

fn show(all: &[Measured]) {
    let ours = all.iter().find(|measured| measured.layout == LayoutKind::Roomserver);
    let Some(first) = all.first() else { return };
    println!("\n{}\n", heading(first));
    print_rows(STORAGE.map(str::to_owned), all.iter().map(|measured| storage(measured, ours)));
    println!();
    print_rows(READS.map(str::to_owned), all.iter().map(|measured| reads(measured, ours)));
    for line in notes(all).into_iter().chain(ours.map(aims).unwrap_or_default()) {
        println!("  {line}");
    }
}

fn print_rows<const N: usize>(headings: [String; N], rows: impl Iterator<Item = [String; N]>) {
    let lines: Vec<[String; N]> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        println!("  {}", cells.join("  "));
    }
}
