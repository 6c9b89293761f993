//! What other settings of the tables of events would take.

use std::time::Instant;

use super::{
    events::Events,
    figures::{Figures, Settings},
    forms::{compressor, trained},
    stores::{Layout, Writer, bytes_each, compared, fill, own, rows, table_name},
};
use crate::{
    error::{Error, Result},
    generate::random::Random,
    kv::TableId,
    tables::{EVENT_BODIES, EVENT_IDS, EVENT_INDEX, EVENT_ROWS},
};

/// Cold look-ups that are timed.
const LOOKUPS: usize = 4_000;
/// Events that a shipped dictionary is trained on.
const TRAINING: u32 = 20_000;

/// Measures the tables of events in blocks of other sizes, with and without dictionaries and filters.
///
/// # Errors
///
/// Those of the stores.
pub fn tunings(settings: &Settings<'_>, events: &Events) -> Result<Figures> {
    let own = own(settings.scratch, "tuned")?;
    fill(&own, events)?;
    let mut all = Vec::new();
    for block in [4, 8, 16] {
        for (level, dictionary) in [(3, 0), (3, 64), (9, 0), (9, 64)] {
            all.push(Layout { block, level: Some(level), dictionary, filter: false });
        }
    }
    for (level, dictionary) in [(3, 16), (9, 16), (6, 64), (9, 128), (19, 64)] {
        all.push(Layout { block: 8, level: Some(level), dictionary, filter: false });
    }
    all.push(Layout { block: 4, level: Some(3), dictionary: 0, filter: true });
    all.push(Layout { block: 16, level: None, dictionary: 0, filter: true });
    let tables = [EVENT_ROWS, EVENT_BODIES, EVENT_IDS, EVENT_INDEX];
    let mut figures: Vec<(String, Vec<Option<f64>>)> = all.iter().map(|layout| (layout.name(), Vec::new())).collect();
    for table in tables {
        let store = compared(settings.scratch, &format!("tuning-{}", table.0), &all)?;
        let (mut keys, mut writer) = (Vec::new(), Writer::new(&*store));
        rows(&*own, table, |key, value| {
            keys.push(key.to_vec());
            (0..).take(all.len()).try_for_each(|place| writer.put(TableId(place), key, value))
        })?;
        writer.finish()?;
        for (place, (_, row)) in (0..).zip(&mut figures) {
            row.push(Some(bytes_each(&*store, TableId(place), events.events.len())?));
            row.push(Some(lookup_us(&*store, TableId(place), &keys)?));
        }
    }
    let (bytes, us) = shipped(settings, events, &*own)?;
    let mut row = vec![None; 8];
    row.splice(2..4, [Some(bytes), Some(us)]);
    figures.push(("one by one, shipped dictionary of 64 KiB".to_owned(), row));
    let columns = tables
        .iter()
        .flat_map(|table| [table_name(*table).to_owned(), format!("{}, us", table_name(*table))])
        .collect();
    Ok(Figures {
        id: "tuning",
        title: "Settings of the tables".into(),
        note:
            "Bytes an event, and microseconds of a random look-up whose block is in the operating system's cache, but \
               not in RocksDB's: reading, checking and decompressing it included, in the fastest of nine \
               rounds."
                .into(),
        columns,
        rows: figures,
    })
}

/// Microseconds of a look-up, in the fastest of nine rounds.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn lookup_us(store: &dyn crate::kv::Store, table: TableId, keys: &[Vec<u8>]) -> Result<f64> {
    let mut random = Random::new(7);
    let mut rounds = Vec::new();
    for _ in 0..9 {
        let asked: Vec<&[u8]> = (0..LOOKUPS / 9).filter_map(|_| random.choose(keys)).map(Vec::as_slice).collect();
        let start = Instant::now();
        for key in &asked {
            if store.get(table, key)?.is_none() {
                return Err(Error::internal("a row is lost"));
            }
        }
        rounds.push(start.elapsed().as_secs_f64() * 1e6 / asked.len().max(1) as f64);
    }
    Ok(rounds.into_iter().fold(f64::INFINITY, f64::min))
}

/// Bodies that are compressed one by one, with a dictionary from other rooms, in blocks that are not compressed.
fn shipped(settings: &Settings<'_>, events: &Events, own: &dyn crate::kv::Store) -> Result<(f64, f64)> {
    let other = super::stores::own(settings.scratch, "training")?;
    fill(&other, &Events::generated(settings.seed.wrapping_add(1), TRAINING.min(settings.events))?)?;
    let mut samples = Vec::new();
    rows(&*other, EVENT_BODIES, |_, value| {
        samples.push(value.to_vec());
        Ok(())
    })?;
    let dictionary = trained(samples.iter().map(Vec::as_slice), 64 << 10)?;
    let layout = Layout { block: 4, level: None, dictionary: 0, filter: false };
    let store = compared(settings.scratch, "shipped", &[layout])?;
    let (mut keys, mut writer, mut compressor) = (Vec::new(), Writer::new(&*store), compressor(&dictionary)?);
    rows(own, EVENT_BODIES, |key, value| {
        let failed = |error| Error::internal("a body is not compressed").with_source(error);
        keys.push(key.to_vec());
        writer.put(TableId(0), key, compressor.compress(value).map_err(failed)?)
    })?;
    writer.finish()?;
    Ok((bytes_each(&*store, TableId(0), events.events.len())?, lookup_us(&*store, TableId(0), &keys)?))
}
