//! Bytes by form.

use std::{path::Path, sync::Arc};

use super::{
    events::Events,
    figures::{Figures, Settings},
    stores::{Layout, Writer, bytes_each, compared, fill, key, own, read_back, rows, table_name},
};
use crate::{
    error::{Error, Result},
    generate::corpus::Class,
    kv::{Store, TableId},
    tables::{EVENT_BODIES, EVENT_IDS, EVENT_INDEX, EVENT_ROWS, Share, TABLES},
};

/// Events that a dictionary is trained on.
const TRAINING: u32 = 20_000;
/// Bytes of the dictionary for single events.
const DICTIONARY_BYTES: usize = 110 << 10;
/// Level of Zstandard.
const LEVEL: i32 = 3;

/// Counts the bytes of an event in every form: by form, by class, by table; of a corpus, and of rooms beside it.
///
/// # Errors
///
/// `Internal` if an event does not read back as it came; those of the stores.
pub fn forms(settings: &Settings<'_>, corpus: &Events, rooms: &[Events]) -> Result<Vec<Figures>> {
    let training = Events::generated(settings.seed.wrapping_add(1), TRAINING.min(settings.events))?;
    let dictionary = trained(training.events.iter().map(|event| event.pdu.as_slice()), DICTIONARY_BYTES)?;
    let mut columns = Vec::new();
    let (mut forms, mut tables) = (Vec::new(), Vec::new());
    let mut classes = None;
    for (place, events) in std::iter::once(corpus).chain(rooms).enumerate() {
        let store = own(settings.scratch, &format!("own-{place}"))?;
        fill(&store, events)?;
        let same = read_back(&store, events)?;
        if same != events.events.len() {
            return Err(Error::internal(format!("{same} of {} events read back as they came", events.events.len())));
        }
        columns.push(format!("{}, {} events", events.name, events.events.len()));
        add(&mut forms, place, json_forms(settings.scratch, place, events, &dictionary)?);
        add(&mut forms, place, own_forms(&store, events)?);
        add(&mut tables, place, own_tables(&store, events)?);
        if place == 0 {
            classes = Some(by_class(settings.scratch, &store, events, &dictionary)?);
        }
    }
    let note = "Bytes an event. JSON is canonical, without `unsigned`. Dictionaries of single events are trained on the \
                corpus of another seed. All else are live table files after full compaction: keys, indexes and filters \
                included. Every event was read back from our tables and is the JSON that came, byte for byte.";
    let forms = Figures {
        id: "forms",
        title: "Bytes by form".into(),
        note: note.into(),
        columns: columns.clone(),
        rows: forms,
    };
    let note = "Bytes an event of this engine's tables of events and states.";
    let tables = Figures { id: "tables", title: "Bytes by table".into(), note: note.into(), columns, rows: tables };
    Ok([forms].into_iter().chain(classes).chain([tables]).collect())
}

/// Puts a column of figures beside those before it.
fn add(rows: &mut Vec<(String, Vec<Option<f64>>)>, column: usize, figures: Vec<(String, f64)>) {
    for (name, figure) in figures {
        let place = rows.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
            rows.push((name, Vec::new()));
            rows.len().saturating_sub(1)
        });
        if let Some((_, figures)) = rows.get_mut(place) {
            figures.resize(column, None);
            figures.push(Some(figure));
        }
    }
}

/// A dictionary for texts that are like the samples.
///
/// # Errors
///
/// `Internal` if there are too few.
pub fn trained<'a>(samples: impl Iterator<Item = &'a [u8]>, bytes: usize) -> Result<Vec<u8>> {
    let samples: Vec<&[u8]> = samples.collect();
    zstd::dict::from_samples(&samples, bytes)
        .map_err(|error| Error::internal("a dictionary cannot be trained").with_source(error))
}

/// A compressor with a dictionary, which may be empty.
///
/// # Errors
///
/// `Internal` if there is no memory for it.
pub fn compressor(dictionary: &[u8]) -> Result<zstd::bulk::Compressor<'static>> {
    zstd::bulk::Compressor::with_dictionary(LEVEL, dictionary)
        .map_err(|error| Error::internal("texts cannot be compressed").with_source(error))
}

/// The bytes of texts that are compressed one by one.
fn one_by_one<'a>(texts: impl Iterator<Item = &'a [u8]>, dictionary: &[u8]) -> Result<f64> {
    let mut compressor = compressor(dictionary)?;
    let (mut bytes, mut count) = (0, 0usize);
    for text in texts {
        let compressed = compressor.compress(text);
        bytes += compressed.map_err(|error| Error::internal("a text is not compressed").with_source(error))?.len();
        count += 1;
    }
    Ok(bytes as f64 / count.max(1) as f64)
}

fn json_forms(scratch: &Path, place: usize, events: &Events, dictionary: &[u8]) -> Result<Vec<(String, f64)>> {
    let texts = || events.events.iter().map(|event| event.pdu.as_slice());
    let mut forms = vec![
        ("JSON".to_owned(), events.mean_bytes()),
        ("JSON, zstd-3 one by one".to_owned(), one_by_one(texts(), &[])?),
        ("JSON, zstd-3 one by one, dictionary of 110 KiB".to_owned(), one_by_one(texts(), dictionary)?),
    ];
    let layouts = json_layouts();
    let store = compared(scratch, &format!("json-{place}"), &layouts)?;
    let mut writer = Writer::new(&*store);
    let mut numbers = vec![0usize; events.rooms.len()];
    for event in &events.events {
        let Some(number) = numbers.get_mut(event.room) else { continue };
        let key = key(event.room, *number)?;
        *number += 1;
        for table in (0..).take(layouts.len()) {
            writer.put(TableId(table), key.clone(), event.pdu.clone())?;
        }
    }
    writer.finish()?;
    for (table, layout) in (0..).zip(layouts) {
        let bytes = bytes_each(&*store, TableId(table), events.events.len())?;
        forms.push((format!("JSON in blocks of {}", layout.name()), bytes));
    }
    Ok(forms)
}

fn own_forms(store: &Arc<dyn Store>, events: &Events) -> Result<Vec<(String, f64)>> {
    let of = |table| bytes_each(&**store, table, events.events.len());
    let both = of(EVENT_ROWS)? + of(EVENT_BODIES)?;
    let with_ids = both + of(EVENT_IDS)?;
    Ok(vec![
        (format!("{OURS}: rows and bodies"), both),
        (format!("{OURS}, with IDs"), with_ids),
        (format!("{OURS}, with IDs and their index"), with_ids + of(EVENT_INDEX)?),
    ])
}

/// What the names of our forms begin with.
pub const OURS: &str = "ours";

fn own_tables(store: &Arc<dyn Store>, events: &Events) -> Result<Vec<(String, f64)>> {
    let shown = (0..).zip(TABLES).filter(|(_, table)| table.share != Share::Other);
    shown
        .map(|(place, table)| {
            Ok((table.spec.name.to_owned(), bytes_each(&**store, TableId(place), events.events.len())?))
        })
        .collect()
}

/// What an event of each class takes: in stores that have only those.
fn by_class(scratch: &Path, own: &Arc<dyn Store>, events: &Events, dictionary: &[u8]) -> Result<Figures> {
    let mut classes = vec![Vec::new(); events.rooms.len()];
    for event in &events.events {
        if let Some(classes) = classes.get_mut(event.room) {
            classes.push(event.class);
        }
    }
    // By the key, which is the room's number and the event's.
    let class = |key: &[u8]| {
        let number = |at: usize| {
            let bytes = key.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
            usize::try_from(u32::from_be_bytes(bytes)).ok()?.checked_sub(1)
        };
        classes.get(number(0)?)?.get(number(4)?).copied().flatten()
    };
    let layouts: Vec<Layout> = Class::ALL.iter().flat_map(|_| own_layouts()).collect();
    let store = compared(scratch, "classes", &layouts)?;
    let mut writer = Writer::new(&*store);
    for (offset, table) in [(0, EVENT_ROWS), (1, EVENT_BODIES)] {
        rows(&**own, table, |key, value| {
            let place = class(key).and_then(|class| Class::ALL.iter().position(|other| *other == class));
            let place = place.and_then(|place| u16::try_from(place * 2 + offset).ok());
            place.map_or(Ok(()), |place| writer.put(TableId(place), key, value))
        })?;
    }
    writer.finish()?;
    let mut figures = Vec::new();
    for (place, class) in (0..).zip(Class::ALL) {
        let of_class = || events.events.iter().filter(|event| event.class == Some(class));
        let count = of_class().count();
        let json = of_class().map(|event| event.pdu.len()).sum::<usize>() as f64 / count.max(1) as f64;
        let of = |table| bytes_each(&*store, TableId(table), count);
        figures.push((
            class.name().to_owned(),
            vec![
                Some(100.0 * count as f64 / events.events.len().max(1) as f64),
                Some(json),
                Some(one_by_one(of_class().map(|event| event.pdu.as_slice()), dictionary)?),
                Some(of(place * 2)?),
                Some(of(place * 2 + 1)?),
            ],
        ));
    }
    Ok(Figures {
        id: "classes",
        title: "Bytes by class".into(),
        note: "Bytes an event of the corpus; ours in tables that hold nothing else.".into(),
        columns: ["share in %", "JSON", "JSON, zstd-3, dictionary", table_name(EVENT_ROWS), table_name(EVENT_BODIES)]
            .map(str::to_owned)
            .to_vec(),
        rows: figures,
    })
}

/// The blocks that JSON is put into: some that are usual, and those of our bodies.
fn json_layouts() -> [Layout; 4] {
    let usual = |level, dictionary| Layout { block: 16, level, dictionary, filter: true };
    let [_, bodies] = own_layouts();
    [usual(None, 0), usual(Some(3), 0), usual(Some(3), 64), bodies]
}

/// How rows and bodies are laid out.
fn own_layouts() -> [Layout; 2] {
    let of = |table: TableId| {
        let access = TABLES.get(usize::from(table.0)).map(|table| table.spec.access);
        Layout::of(access.unwrap_or(crate::kv::Access::Point))
    };
    [of(EVENT_ROWS), of(EVENT_BODIES)]
}
