//! What is measured, and what comes of it.

use std::path::Path;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Events of the corpus.
    pub events: u32,
    /// What the corpus follows from; dictionaries are trained on the one of the next seed.
    pub seed: u64,
    /// Rounds of each time, of which the median counts.
    pub rounds: usize,
    /// Where stores are made.
    pub scratch: &'a Path,
}

/// Figures under one heading: a name and a figure for each column, where there is one.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What program calls them.
    pub id: &'static str,
    /// The heading.
    pub title: String,
    /// What the figures mean.
    pub note: String,
    /// What the columns are.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}
