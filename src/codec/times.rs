//! What writing and reading an event takes.

use std::{hint::black_box, time::Instant};

use super::{
    events::Events,
    figures::{Figures, Settings},
    prepared::Prepared,
};
use crate::error::{Error, Result};

/// Events that are worked on: as many as fit into the processor's second cache, since a server works on events at hand.
const EVENTS: usize = 1_000;

/// Measures the codec of rows and bodies, and `serde_json` beside it.
///
/// # Errors
///
/// `Internal` if a body does not come back byte for byte.
pub fn times(settings: &Settings<'_>, events: &Events) -> Result<Figures> {
    let rules = events.rooms.first().and_then(|(_, version)| version.rules());
    let rules = rules.ok_or_else(|| Error::internal("a room of no version"))?;
    let step = (events.events.len() / EVENTS).max(1);
    let chosen: Vec<&[u8]> =
        events.events.iter().step_by(step).take(EVENTS).map(|event| event.pdu.as_slice()).collect();
    let mut all = Vec::new();
    for (number, pdu) in (10_000..).zip(&chosen) {
        all.push(Prepared::new(pdu, number, &rules)?);
    }
    let mut rows = Vec::new();
    let mut measure = |name: &str, each: &dyn Fn(&Prepared, &[u8])| {
        let (median, best) =
            rounds(settings.rounds, || all.iter().zip(&chosen).for_each(|(event, pdu)| each(event, pdu)));
        rows.push((name.to_owned(), vec![Some(median / all.len() as f64), Some(best / all.len() as f64)]));
    };
    measure("head: the row", &|event, _| {
        let _ = black_box(event.decode_row());
    });
    measure("content of the body", &|event, _| {
        let _ = black_box(event.decode_content());
    });
    measure("JSON, with the hash as stored", &|event, _| drop(black_box(event.decode_with_hash())));
    measure("JSON, with the hash computed", &|event, _| drop(black_box(event.decode())));
    measure("encode the row", &|event, _| drop(black_box(event.encode_row())));
    measure("encode the body", &|event, _| drop(black_box(event.encode_body(true))));
    measure("serde_json: parse to a Value", &|_, pdu| {
        drop(black_box(serde_json::from_slice::<serde_json::Value>(pdu)));
    });
    let values: Vec<serde_json::Value> = chosen.iter().filter_map(|pdu| serde_json::from_slice(pdu).ok()).collect();
    let (median, best) = rounds(settings.rounds, || {
        values.iter().for_each(|value| drop(black_box(serde_json::to_vec(value))));
    });
    let each = |us: f64| Some(us / values.len().max(1) as f64);
    rows.push(("serde_json: write a Value".to_owned(), vec![each(median), each(best)]));
    Ok(Figures {
        id: "times",
        title: "Times".into(),
        note: format!(
            "Microseconds an event of the corpus, on one thread, {EVENTS} events in turn, {} rounds: the median and the \
             fastest. Encoding does not include hashes, which must be computed when an event arrives in any case.",
            settings.rounds
        ),
        columns: vec!["median".into(), "fastest".into()],
        rows,
    })
}

/// Microseconds of a round: the median and the least.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn rounds(count: usize, round: impl Fn()) -> (f64, f64) {
    let mut taken: Vec<f64> = (0..count.max(1))
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    (taken.get(taken.len() / 2).copied().unwrap_or(0.0), taken.first().copied().unwrap_or(0.0))
}
