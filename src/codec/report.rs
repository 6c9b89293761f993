//! What was measured, for programs and for people.

use serde_json::{Map, Value};

use super::{figures::Figures, forms::OURS};
use crate::reuse::chart::{Group, Scale, bars};

/// Figures as lines of JSON, one for each row.
pub fn lines(figures: &Figures) -> Vec<String> {
    let number = |figure: f64| Value::from((figure * 1000.0).round() / 1000.0);
    let line = |(name, values): &(String, Vec<Option<f64>>)| {
        let mut line = Map::new();
        line.insert("table".to_owned(), figures.id.into());
        line.insert("row".to_owned(), name.as_str().into());
        for (column, value) in figures.columns.iter().zip(values) {
            line.insert(column.clone(), value.map_or(Value::Null, number));
        }
        Value::Object(line).to_string()
    };
    figures.rows.iter().map(line).collect()
}

/// The cells of a table, the first row being the columns' headings.
pub fn cells(figures: &Figures) -> Vec<Vec<String>> {
    let mut rows = vec![std::iter::once(String::new()).chain(figures.columns.iter().cloned()).collect::<Vec<_>>()];
    for (name, values) in &figures.rows {
        let cell = |place: usize| values.get(place).copied().flatten().map_or_else(String::new, short);
        rows.push(std::iter::once(name.clone()).chain((0..figures.columns.len()).map(cell)).collect());
    }
    rows
}

/// A table for a terminal.
pub fn text(figures: &Figures) -> String {
    let rows = cells(figures);
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = format!("{}\n\n", figures.title);
    for row in &rows {
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(&if place == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") });
        }
        text.push('\n');
    }
    text
}

/// What the processor calls itself, where the system tells.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name).to_owned()
}

/// The page, the figures and the chart: name and content of each file.
pub fn files(all: &[Figures]) -> Vec<(String, String)> {
    let mut page = HEAD.to_owned();
    page.push_str(&format!("Processor: {}.\n\n![bytes by form](codec.svg)\n", processor()));
    for figures in all {
        page.push_str(&format!("\n## {}\n\n{}\n\n", figures.title, figures.note));
        for (place, row) in cells(figures).iter().enumerate() {
            page.push_str(&format!("| {} |\n", row.join(" | ")));
            if place == 0 {
                page.push_str(&format!("|{}\n", "---|".repeat(row.len())));
            }
        }
    }
    let lines: Vec<String> = all.iter().flat_map(lines).collect();
    let mut files = vec![("codec.md".to_owned(), page), ("codec.jsonl".to_owned(), lines.join("\n") + "\n")];
    if let Some(forms) = all.iter().find(|figures| figures.id == "forms") {
        let groups = forms.columns.iter().enumerate().map(|(place, column)| Group {
            heading: column.clone(),
            bars: forms
                .rows
                .iter()
                .filter_map(|(name, values)| Some((name.clone(), values.get(place).copied().flatten()?)))
                .collect(),
        });
        let chart = bars("Bytes an event", &groups.collect::<Vec<_>>(), OURS, Scale::Linear);
        files.push(("codec.svg".to_owned(), chart));
    }
    files
}

const HEAD: &str = "\
# What an event takes

Bytes of an event in this engine's form and in others, and what writing and reading it takes. Made by
`roomserver bench codec --tuning --write DIR FILE...`; `cargo bench --features bench --bench codec` is the same.

The corpus is made up: forty rooms of version 11, 300 servers, a mix of messages (with replies, edits, threads, HTML and
images), memberships, encrypted messages, reactions, redactions and state, with right hashes and random signatures. Its text is
of common and invented words that follow each other as words do. In blocks of 8 KiB with a dictionary from other text,
zstd-9 needs 3.4 bits for a character of it, and 3.1 for one of English documentation in messages of the same lengths; a
whole piece of 135 kB takes 3.1 and 2.7 bits a character with zstd-22. So the corpus is a little harder to compress than
English. Ciphertext is random. The rooms beside it are real ones of a real homeserver; `examples/rooms` has the beginnings of
`busy` and `big`.

";

/// Three digits or so.
fn short(number: f64) -> String {
    match number {
        number if number >= 999.5 => format!("{number:.0}"),
        number if number >= 1.0 => format!("{number:.1}"),
        number => format!("{number:.3}"),
    }
}
