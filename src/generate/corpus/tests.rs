//! A corpus is what it says: bytes are compared with those that others measured on such a mix.

use sha2::{Digest as _, Sha256};

use super::*;
use crate::encoding::json::Json;

fn corpus(seed: u64, events: u32) -> Vec<Sample> {
    Corpus::new(seed, events).unwrap().collect()
}

fn mean(values: impl Iterator<Item = usize>) -> f64 {
    let values: Vec<usize> = values.collect();
    values.iter().sum::<usize>() as f64 / values.len() as f64
}

#[test]
fn events_are_as_large_as_those_that_people_send() {
    let samples = corpus(1, 20_000);
    let mut sizes: Vec<usize> = samples.iter().map(|sample| sample.event.pdu.len()).collect();
    sizes.sort_unstable();
    let mean_bytes = mean(sizes.iter().copied());
    let [median, p99] = [sizes[sizes.len() / 2], sizes[sizes.len() * 99 / 100]];
    assert!((806.0..836.0).contains(&mean_bytes), "mean {mean_bytes}");
    assert!((736..776).contains(&median) && (1_500..1_660).contains(&p99), "median {median}, p99 {p99}");
}

#[test]
fn the_mix_is_as_asked_for() {
    let samples = corpus(1, 20_000);
    for (class, per_mille) in [
        (Class::Message, 598),
        (Class::Member, 201),
        (Class::Encrypted, 101),
        (Class::Reaction, 48),
        (Class::Redaction, 30),
        (Class::State, 22),
    ] {
        let found = samples.iter().filter(|sample| sample.class == class).count() * 1000 / samples.len();
        assert!(found.abs_diff(per_mille) <= 15, "{}: {found} of 1,000", class.name());
    }
}

#[test]
fn events_refer_to_as_many_others_as_in_busy_rooms() {
    let samples = corpus(1, 20_000);
    let count = |key: &str, sample: &Sample| {
        Json::parse(&sample.event.pdu).unwrap().as_object().unwrap().get_array(key).unwrap().len()
    };
    let prev = mean(samples.iter().map(|sample| count("prev_events", sample)));
    let auth = mean(samples.iter().map(|sample| count("auth_events", sample)));
    assert!((1.10..1.14).contains(&prev) && (3.0..3.2).contains(&auth), "prev {prev}, auth {auth}");
}

#[test]
fn a_seed_makes_the_same_corpus_in_every_build() {
    let digest = |seed| {
        let mut hasher = Sha256::new();
        for sample in corpus(seed, 2_000) {
            hasher.update(sample.event.pdu);
        }
        let digest: [u8; 8] = hasher.finalize()[..8].try_into().unwrap();
        format!("{:016x}", u64::from_be_bytes(digest))
    };
    assert_eq!(digest(1), "da5bb205ca895d9f");
    assert_ne!(digest(2), digest(1));
}
