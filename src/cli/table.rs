//! Aligned columns.

use std::io::{self, Write};

use super::output::{Output, Style};

/// A column: its heading, which may have several lines, and the side on which it is flush.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// A cell.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

/// A table of texts.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// A cell that stands out.
    pub(super) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::Plain)
    }
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }
}

impl Table {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes the table with its headings underlined; nothing if it has no rows.
    pub(super) fn write(&self, output: &mut Output) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(index, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(index)).map(Cell::width);
                let headings = column.heading().lines().map(|line| line.chars().count());
                cells.chain(headings).max().unwrap_or_default()
            })
            .collect();
        let height = self.columns.iter().map(|column| column.heading().lines().count()).max().unwrap_or_default();
        for line in 0..height {
            let heading = |column: &Column| {
                // Short headings stand at the bottom.
                let missing = height.saturating_sub(column.heading().lines().count());
                let text = line.checked_sub(missing).and_then(|line| column.heading().lines().nth(line));
                Cell::new(text.unwrap_or_default(), Style::Heading)
            };
            let headings: Vec<Cell> = self.columns.iter().map(heading).collect();
            self.write_row(output, &headings, &widths)?;
        }
        let line: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        writeln!(output, "{}", line.join("  "))?;
        for row in &self.rows {
            self.write_row(output, row, &widths)?;
        }
        Ok(())
    }

    fn write_row(&self, output: &mut Output, row: &[Cell], widths: &[usize]) -> io::Result<()> {
        let mut line = String::new();
        // Spaces after a cell wait until there is another one: no line ends with spaces.
        let mut gap = 0;
        for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
            let space = width.saturating_sub(cell.width());
            let (before, after) = match column {
                Column::Left(_) => (0, space),
                Column::Right(_) => (space, 0),
            };
            if !cell.text.is_empty() {
                line.push_str(&" ".repeat(gap + before));
                line.push_str(&output.styled(cell.style, &cell.text));
                gap = 0;
            } else {
                gap += before;
            }
            gap += after + 2;
        }
        writeln!(output, "{line}")
    }
}
