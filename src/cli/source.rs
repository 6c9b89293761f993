//! The files of an import, and which of their lines are to be read again.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of an import.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// What it is called in reports.
    pub(super) name: String,
    /// Its place among the files.
    pub(super) place: usize,
    /// The bytes of a regular file, which can be read twice; none of standard input, a pipe or a device.
    pub(super) size: Option<u64>,
}

/// Numbers of lines in ascending order, kept as runs of neighbours.
#[derive(Debug, Clone, Default)]
pub(super) struct LineSet {
    /// The first and the last of each run.
    runs: Vec<(u64, u64)>,
}

impl Source {
    pub(super) fn new(path: &Path, place: usize) -> Self {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
        let size = fs::metadata(path).ok().filter(|file| file.is_file() && !is_stdin).map(|file| file.len());
        Self { path: path.to_owned(), name, place, size }
    }
}

impl LineSet {
    /// Adds a line that comes after all that it has.
    pub(super) fn push(&mut self, line: u64) {
        match self.runs.last_mut() {
            Some((_, last)) if last.saturating_add(1) == line => *last = line,
            _ => self.runs.push((line, line)),
        }
    }

    pub(super) fn contains(&self, line: u64) -> bool {
        let next = self.runs.partition_point(|(_, last)| *last < line);
        self.runs.get(next).is_some_and(|(first, _)| *first <= line)
    }

    /// The last line.
    pub(super) fn last(&self) -> Option<u64> {
        self.runs.last().map(|(_, last)| *last)
    }

    /// How many lines it has.
    pub(super) fn len(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last.saturating_sub(*first).saturating_add(1)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_lines_that_were_added_and_no_others() {
        let added = [2, 3, 4, 7, 9, 10];
        let mut set = LineSet::default();
        assert_eq!((set.last(), set.len(), set.contains(0)), (None, 0, false));
        added.into_iter().for_each(|line| set.push(line));
        assert_eq!((0..12).filter(|line| set.contains(*line)).collect::<Vec<_>>(), added);
        assert_eq!((set.last(), set.len(), set.runs.len()), (Some(10), 6, 3));
    }
}
