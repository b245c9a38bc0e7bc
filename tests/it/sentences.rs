//! How well the ends of sentences are found: precision and recall by language, on corpora of marked sentences.
//! `cargo test --test it sentences -- --nocapture` prints the table.

use std::collections::BTreeMap;

use wavebatch::domain::cut::{SentenceRules, flat};

/// The corpora. Sentences of our own are written beside the code; they are no proof of what it does with others'.
const CORPORA: &[(&str, &str)] = &[
    ("own", include_str!("sentences/own.txt")),
    ("first blind", include_str!("sentences/blind.txt")),
    ("second blind", include_str!("sentences/second_blind.txt")),
];
/// Languages whose script has no letters of the kind that the aims are set for.
const WITHOUT_ALPHABET: &[&str] = &["zh", "ja", "th", "lo", "km", "my"];

/// Ends that were found, missed and invented.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    right: usize,
    missed: usize,
    invented: usize,
}

impl Score {
    fn precision(self) -> f64 {
        share(self.right, self.invented)
    }

    fn recall(self) -> f64 {
        share(self.right, self.missed)
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.missed += other.missed;
        self.invented += other.invented;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a corpus has a few thousand sentences")]
fn share(right: usize, wrong: usize) -> f64 {
    if right + wrong == 0 { 1.0 } else { right as f64 / (right + wrong) as f64 }
}

/// The language, the text on one line, and where its sentences end, in bytes.
fn marked(line: &str) -> (&str, String, Vec<usize>) {
    let (language, text) = line.split_once('\t').unwrap_or_else(|| panic!("no language: {line}"));
    let (mut plain, mut ends) = (String::new(), Vec::new());
    // As paragraphs are before they are cut.
    for sentence in flat(text).split('|') {
        // A space before the mark is the one between the sentences.
        let gap = if plain.ends_with(' ') { sentence.trim_start() } else { sentence };
        plain.push_str(gap);
        ends.push(plain.trim_end().len());
    }
    assert_eq!(plain, flat(&plain), "white space");
    (language, plain, ends)
}

fn score(line: &str, wrong: &mut Vec<String>) -> Score {
    let (language, text, expected) = marked(line);
    let found: Vec<_> = SentenceRules::of(Some(language)).sentences(&text).map(|range| range.end).collect();
    let right = found.iter().filter(|end| expected.contains(end)).count();
    if found != expected {
        let shown: Vec<_> =
            SentenceRules::of(Some(language)).sentences(&text).map(|range| text[range].to_owned()).collect();
        wrong.push(format!("{language}\t{}", shown.join(" | ")));
    }
    // The end of a line is the end of its last sentence in any case.
    Score { right: right - 1, missed: expected.len() - right, invented: found.len() - right }
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is printed on request")]
fn ends_are_found_as_well_as_the_docs_say() {
    for (name, corpus) in CORPORA {
        let (mut by_language, mut wrong) = (BTreeMap::<&str, Score>::new(), Vec::new());
        for line in corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let language = line.split('\t').next().unwrap_or_default();
            by_language.entry(language).or_default().add(score(line, &mut wrong));
        }
        println!("{name}: language, ends, precision, recall");
        let mut all = Score::default();
        for (language, score) in &by_language {
            println!("{language}\t{}\t{:.3}\t{:.3}", score.right + score.missed, score.precision(), score.recall());
            if !WITHOUT_ALPHABET.contains(language) {
                all.add(*score);
            }
        }
        println!("alphabetic\t{}\t{:.4}\t{:.4}", all.right + all.missed, all.precision(), all.recall());
        println!("{}", wrong.join("\n"));
        assert!(by_language.len() >= 15 && all.right + all.missed >= 200, "{name}: too small to say anything");
        assert!(all.precision() >= 0.99 && all.recall() >= 0.97, "{name}: {all:?}");
    }
}
