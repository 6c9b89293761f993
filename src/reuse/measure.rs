//! Replaying a workload into a layout, and asking it what it must know.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    kind::LayoutKind,
    layout::{Blocks, Changed, Layout},
    questions::{Counts, Difference, Draw, Questions},
    site::Site,
    workload::Workload,
};
use crate::{
    error::{Error, Result},
    ids::RoomNid,
    kv::{Batch, Store, TableId},
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The workload.
    pub workload: Workload,
    /// Members of its room; for workload B its rooms.
    pub size: u32,
    /// What the workload and the questions follow from.
    pub seed: u64,
    /// How many questions are asked.
    pub questions: Counts,
    /// A directory for temporary stores.
    pub scratch: &'a Path,
}

/// What a layout takes for a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The workload.
    pub workload: Workload,
    /// The layout.
    pub layout: LayoutKind,
    /// Members of the room; for workload B the rooms.
    pub size: u32,
    /// Snapshots that the workload makes.
    pub changes: u64,
    /// How many of them were written; if fewer, the rest was scaled.
    pub written: u64,
    /// Live bytes a snapshot, after flush and full compaction, all included.
    pub bytes_per_change: f64,
    /// Bytes of keys and values in the batches, for each snapshot.
    pub written_per_change: f64,
    /// Pieces that are stored, and that are shared.
    pub blocks: Blocks,
    /// The event at a key of any snapshot.
    pub point: Reads,
    /// A whole snapshot.
    pub full: Reads,
    /// Entries of the snapshots that were read whole, on average.
    pub full_entries: f64,
    /// A snapshot and its parent.
    pub neighbour_diff: Reads,
    /// The two sides of a fork; `None` if the workload has none.
    pub fork_diff: Option<Reads>,
    /// What the two sides of a fork set, without what was there before; `None` if the layout has no shorter way to it.
    pub fork_divergence: Option<Reads>,
    /// Microseconds of one change, from the layout's call to its applied batch: the mean.
    pub append_us: f64,
    /// The same of the slowest change.
    pub append_longest_us: f64,
}

/// What a question takes, on average.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Reads {
    /// Rows that are read.
    pub rows: f64,
    /// Their bytes.
    pub bytes: f64,
    /// Blocks of rows that RocksDB reads from its files if none is in its cache; `None` without RocksDB.
    pub blocks_read: Option<f64>,
    /// The same for the worst of 100 questions.
    pub p99: Option<u64>,
    /// Microseconds, with all in the caches.
    pub us: f64,
}

/// Told how many of how many changes are written.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Measures a layout on a workload. Every answer is held against the truth: a wrong one is an error.
///
/// # Errors
///
/// Those of the store; `Internal` if the layout gives a wrong answer.
pub fn measure(settings: &Settings<'_>, kind: LayoutKind, progress: Progress<'_>) -> Result<Measured> {
    let mut layout = kind.layout(settings.workload);
    let name = format!("{}-{}", settings.workload, kind.name());
    let site = Site::new(settings.scratch, &name, &layout.tables())?;
    let (written, questions) = write(settings, &mut *layout, &site, progress)?;
    site.store.flush(true)?;
    let bytes = state_bytes(&*layout, &site)?.saturating_sub(written.given_bytes);
    let mut asked = Asked { kind, layout: &mut *layout, site: &site };
    let entries: u64 = questions.full.iter().map(|(_, entries)| entries.len() as u64).sum();
    Ok(Measured {
        workload: settings.workload,
        layout: kind,
        size: settings.size,
        changes: written.changes,
        written: written.held,
        bytes_per_change: mean(bytes, written.held),
        written_per_change: mean(written.bytes, written.held),
        point: asked.points(&questions)?,
        full: asked.full(&questions)?,
        full_entries: mean(entries, questions.full.len() as u64),
        neighbour_diff: asked.differences(&questions.neighbours)?,
        fork_diff: (!questions.forks.is_empty()).then(|| asked.differences(&questions.forks)).transpose()?,
        fork_divergence: asked.divergence(&questions.forks)?,
        blocks: layout.blocks(&site.store)?.scaled(written.changes, written.held),
        append_us: written.time.as_secs_f64() * 1e6 / (written.held.max(1) as f64),
        append_longest_us: written.longest.as_secs_f64() * 1e6,
    })
}

#[derive(Default)]
struct Written {
    changes: u64,
    held: u64,
    bytes: u64,
    given_bytes: u64,
    time: Duration,
    longest: Duration,
}

fn write(
    settings: &Settings<'_>,
    layout: &mut dyn Layout,
    site: &Site,
    progress: Progress<'_>,
) -> Result<(Written, Questions)> {
    let Settings { workload, size, seed, .. } = *settings;
    let rooms = workload.rooms(size);
    let mut draw = Draw::new(settings.questions, rooms, seed);
    let (mut written, mut questions) = (Written::default(), Questions::default());
    for number in 1..=rooms {
        let room = RoomNid::new(number).ok_or_else(|| Error::internal("a room with the number 0"))?;
        let history = workload.room(size, number, seed);
        let held = layout.begin(room, &history)?;
        let drawn = draw.room(room, &history, held.as_deref());
        let measured = history.measured();
        written.changes += measured;
        written.held += match &held {
            Some(held) => held.iter().filter(|snapshot| **snapshot > history.given).count() as u64,
            None => measured,
        };
        history.replay(&mut |change, done| {
            let started = now();
            let mut batch = Batch::default();
            layout.append(&site.store, change, &mut batch)?;
            if !batch.is_empty() {
                site.store.write(batch)?;
            }
            layout.appended(done);
            let taken = started.elapsed();
            layout.background(&site.store)?;
            draw.ask(room, &drawn, change, &mut questions);
            if change.snapshot == history.given {
                site.store.flush(true)?;
                written.given_bytes = state_bytes(layout, site)?;
                site.store.take();
            } else {
                written.time += taken;
                written.longest = written.longest.max(taken);
            }
            if change.snapshot.is_multiple_of(1024) {
                progress(
                    u64::from(number - 1).saturating_mul(measured) + u64::from(change.snapshot),
                    measured.saturating_mul(u64::from(rooms)),
                );
            }
            Ok(())
        })?;
    }
    written.bytes = site.store.take().bytes_written;
    Ok((written, questions))
}

fn state_bytes(layout: &dyn Layout, site: &Site) -> Result<u64> {
    let bytes = site.store.table_bytes()?;
    let of = |table: TableId| bytes.get(usize::from(table.0)).copied().unwrap_or(0);
    Ok(layout.state_tables().into_iter().map(of).sum())
}

/// A layout that is asked questions.
struct Asked<'a> {
    kind: LayoutKind,
    layout: &'a mut dyn Layout,
    site: &'a Site,
}

impl Asked<'_> {
    fn points(&mut self, questions: &Questions) -> Result<Reads> {
        self.ask(&questions.points, |layout, store, (at, key, right)| Ok(layout.get(store, *at, *key)? == *right))
    }

    fn full(&mut self, questions: &Questions) -> Result<Reads> {
        self.ask(&questions.full, |layout, store, (at, right)| Ok(layout.full(store, *at)? == *right))
    }

    fn differences(&mut self, questions: &[Difference]) -> Result<Reads> {
        self.ask(questions, |layout, store, right| {
            let Difference { room, from, to, .. } = *right;
            Ok(is_right(&layout.differences(store, room, from, to)?, &right.changed))
        })
    }

    fn divergence(&mut self, questions: &[Difference]) -> Result<Option<Reads>> {
        let Some(Difference { room, from, to, .. }) = questions.first() else { return Ok(None) };
        if self.layout.divergence(&self.site.store, *room, *from, *to)?.is_none() {
            return Ok(None);
        }
        let reads = self.ask(questions, |layout, store, right| {
            let Difference { room, from, to, .. } = *right;
            let given = layout.divergence(store, room, from, to)?.unwrap_or_default();
            Ok(right.changed.iter().all(|changed| given.binary_search(&changed.key).is_ok()))
        })?;
        Ok(Some(reads))
    }

    /// Asks each question with nothing in the caches, then all of them with everything there.
    fn ask<Q>(&mut self, questions: &[Q], ask: impl Fn(&dyn Layout, &dyn Store, &Q) -> Result<bool>) -> Result<Reads> {
        const TIMED_ENOUGH: Duration = Duration::from_millis(500);
        let count = questions.len() as u64;
        let store = &self.site.store;
        let (mut rows, mut bytes, mut blocks) = (0, 0, Vec::new());
        for question in questions {
            self.layout.forget();
            let (is_right, cold) = self.site.cold(|store| ask(self.layout, store, question))?;
            blocks.extend(cold.blocks);
            rows += cold.counts.gets + cold.counts.multi_get_keys + cold.counts.rows_scanned;
            bytes += cold.counts.bytes_read;
            if !is_right {
                return Err(Error::internal(format!("the layout {} gives a wrong answer", self.kind.name())));
            }
        }
        let mut shortest = Duration::MAX;
        for round in 0..5 {
            let started = now();
            for question in questions {
                ask(self.layout, store, question)?;
            }
            let taken = started.elapsed();
            // The first round fills the caches.
            if round > 0 {
                shortest = shortest.min(taken);
            }
            if round > 0 && taken > TIMED_ENOUGH {
                break;
            }
        }
        let total: u64 = blocks.iter().sum();
        blocks.sort_unstable();
        let p99 = blocks.get(blocks.len().saturating_sub(1) * 99 / 100).copied();
        let blocks_read = p99.map(|_| mean(total, count));
        let us = shortest.as_secs_f64() * 1e6 / (count.max(1) as f64);
        Ok(Reads { rows: mean(rows, count), bytes: mean(bytes, count), blocks_read, p99, us })
    }
}

/// Whether an answer is right, as far as it goes: a layout need not tell what was before.
fn is_right(given: &[Changed], right: &[Changed]) -> bool {
    let same = |(given, right): (&Changed, &Changed)| {
        (given.key, given.after) == (right.key, right.after) && (given.before.is_none() || given.before == right.before)
    };
    given.len() == right.len() && given.iter().zip(right).all(same)
}

fn mean(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
