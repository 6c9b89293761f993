//! Tables for people, JSON lines for programs.

use serde_json::{Map, Value};

/// What a benchmark was asked for.
#[derive(Clone)]
pub struct Arguments {
    /// JSON lines instead of tables.
    pub json: bool,
    /// A tenth of the work.
    pub quick: bool,
    given: Vec<String>,
}

impl Arguments {
    /// Reads the command line; what `cargo bench` adds is passed over.
    pub fn read() -> Self {
        let read = Self { json: false, quick: false, given: std::env::args().skip(1).collect() };
        Self { json: read.has("--json"), quick: read.has("--quick"), ..read }
    }

    /// Tells whether a flag is given.
    pub fn has(&self, flag: &str) -> bool {
        self.given.iter().any(|argument| argument == flag)
    }

    /// Tells whether `value` is what a flag asks for, or the flag is not given.
    pub fn wants(&self, flag: &str, value: &str) -> bool {
        let asked = self.given.iter().skip_while(|argument| *argument != flag).nth(1);
        asked.is_none_or(|asked| asked == value)
    }
}

/// Rows of figures under one heading.
pub struct Table {
    heading: String,
    rows: Vec<Vec<(&'static str, Value)>>,
}

impl Table {
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), rows: Vec::new() }
    }

    /// Adds a row; all have the same columns.
    pub fn row(&mut self, row: Vec<(&'static str, Value)>) {
        self.rows.push(row);
    }

    /// Prints it.
    pub fn print(&self, arguments: &Arguments) {
        if arguments.json {
            for row in &self.rows {
                let heading = ("table".to_owned(), Value::from(self.heading.as_str()));
                let members = row.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                println!("{}", Value::Object(std::iter::once(heading).chain(members).collect::<Map<_, _>>()));
            }
            return;
        }
        let names = self.rows.first().into_iter().map(|row| row.iter().map(|(name, _)| (*name).to_owned()).collect());
        let values = self.rows.iter().map(|row| row.iter().map(|(_, value)| cell(value)).collect());
        let lines: Vec<Vec<String>> = names.chain(values).collect();
        let columns = lines.first().map_or(0, Vec::len);
        let widths: Vec<usize> =
            (0..columns).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0)).collect();
        println!("\n{}\n", self.heading);
        for line in lines {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            println!("  {}", cells.join("  "));
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => format!("{float:.2}"),
            _ => number.to_string(),
        },
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// The value below which `per_mille` of `values` lie; sorts them.
pub fn percentile(values: &mut [u64], per_mille: usize) -> u64 {
    values.sort_unstable();
    let place = values.len().saturating_sub(1) * per_mille / 1000;
    values.get(place).copied().unwrap_or(0)
}
