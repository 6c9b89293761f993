//! Text that nobody wrote, as hard to compress as what people write.
//!
//! Some six hundred common words and twenty thousand invented ones are drawn by Zipf's law; every second word is one of the
//! few that like to follow the one before, so that phrases come again as they do in speech. How dense the text is
//! beside English stands in `docs/benchmarks/codec.md`.

mod words;

use std::sync::LazyLock;

use self::words::{COMMON, ENDINGS, ENDS, MIDDLES, STARTS};
use super::random::{Random, Zipf};

/// Words that are made from syllables.
const INVENTED: usize = 20_000;
/// Of 100 words, those that follow from the word before.
const FOLLOWING: u64 = 48;
/// Words that like to follow a word, by how much they like it.
const FOLLOWERS: [u32; 8] = [30, 20, 14, 11, 9, 7, 5, 4];
/// Of 100 words, those of the subject.
const OF_SUBJECT: u64 = 9;

/// The words and how often each is used.
pub(super) struct Language {
    words: Vec<Box<str>>,
    ranks: Zipf,
}

/// What a text is about: words that it has more often than others.
#[derive(Debug, Clone)]
pub(super) struct Subject(Vec<usize>);

impl Language {
    /// The language of all corpora: it does not depend on a seed.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Language> = LazyLock::new(Language::new);
        &SHARED
    }

    fn new() -> Self {
        let mut random = Random::new(0x6c61_6e67);
        let mut words: Vec<Box<str>> = COMMON.split_whitespace().map(Into::into).collect();
        words.extend((0..INVENTED).map(|_| invented(&mut random).into_boxed_str()));
        let mut ranks = Zipf::default();
        words.iter().for_each(|_| ranks.push());
        Self { words, ranks }
    }

    /// Draws a subject.
    pub(super) fn subject(&self, random: &mut Random) -> Subject {
        let common = COMMON.split_whitespace().count();
        let rare = self.words.len().saturating_sub(common);
        Subject((0..40).map(|_| common.saturating_add(random.place(rare))).collect())
    }

    /// A word, drawn by its frequency.
    pub(super) fn word(&self, random: &mut Random) -> &str {
        self.spelled(self.ranks.draw(random))
    }

    /// A rare word, such as people take for names.
    pub(super) fn name(&self, random: &mut Random) -> String {
        let word = self.words.len().saturating_sub(1).saturating_sub(random.place(INVENTED));
        capitalised(self.spelled(word))
    }

    /// A text of so many words.
    pub(super) fn text(&self, subject: &Subject, random: &mut Random, words: usize) -> String {
        let mut text = String::with_capacity(words.saturating_mul(6));
        let proper = random.below(10) < 6;
        let (mut before, mut begins, mut left) = (0, proper, words);
        while left > 0 {
            left = left.saturating_sub(1);
            let word = self.next(before, subject, random);
            before = word;
            if !text.is_empty() {
                text.push(' ');
            }
            match random.below(300) {
                0 | 1 => text.push_str(&random.below(2_000).to_string()),
                2 => text.push_str(&format!("`{}_{}`", self.spelled(word), self.word(random))),
                _ if begins => text.push_str(&capitalised(self.spelled(word))),
                _ => text.push_str(self.spelled(word)),
            }
            begins = false;
            match random.below(100) {
                0..=5 if left > 0 => text.push(','),
                6..=13 if left > 2 => {
                    text.push_str(if random.below(6) == 0 { "?" } else { "." });
                    begins = proper;
                }
                14 if left > 0 => text.push_str(" -"),
                _ => {}
            }
        }
        match random.below(20) {
            0..=2 => text.push('?'),
            3..=8 if proper => text.push('.'),
            9 => text.push_str("..."),
            10 => text.push_str(" :)"),
            11 => text.push('!'),
            _ => {}
        }
        text
    }

    fn next(&self, before: usize, subject: &Subject, random: &mut Random) -> usize {
        let sort = random.below(100);
        if sort < FOLLOWING {
            let follower = random.weighted(&FOLLOWERS).unwrap_or(0);
            let pair = before.saturating_mul(FOLLOWERS.len()).saturating_add(follower);
            return self.ranks.draw(&mut Random::new(u64::try_from(pair).unwrap_or(0)));
        }
        if sort < FOLLOWING.saturating_add(OF_SUBJECT) {
            return random.choose(&subject.0).copied().unwrap_or(0);
        }
        self.ranks.draw(random)
    }

    fn spelled(&self, word: usize) -> &str {
        self.words.get(word).map_or("the", |word| word)
    }
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A word of one to three syllables that could be English, and is by accident only.
fn invented(random: &mut Random) -> String {
    let mut word = String::new();
    let syllables = random.weighted(&[16, 8, 1]).unwrap_or(1).saturating_add(1);
    for _ in 0..syllables {
        for part in [STARTS, MIDDLES, ENDS] {
            word.push_str(random.choose(part).copied().unwrap_or_default());
        }
    }
    word.push_str(random.choose(ENDINGS).copied().unwrap_or_default());
    word
}

/// The number of words of a message: a log-normal distribution of median 8 and sigma 0.7, between the quantiles that
/// stand here on straight lines.
pub(super) fn length(random: &mut Random) -> usize {
    // (of 1,000, words times ten)
    const QUANTILES: [(u64, u64); 12] = [
        (0, 10),
        (10, 16),
        (50, 25),
        (100, 33),
        (250, 50),
        (500, 80),
        (750, 128),
        (900, 196),
        (950, 253),
        (990, 408),
        (999, 696),
        (1_000, 1_000),
    ];
    let at = random.below(1_000);
    let mut words = 10;
    for pair in QUANTILES.windows(2) {
        let [(from, low), (to, high)] = pair else { continue };
        if (*from..*to).contains(&at) {
            words = low + (high - low) * (at - from) / (to - from);
        }
    }
    usize::try_from(words / 10).unwrap_or(1).max(1)
}
