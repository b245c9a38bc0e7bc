//! Pronunciations of words that a voice would get wrong, and which of those words a text contains.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex::hex;

/// The pronunciation of one word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pronunciation {
    /// The word as it is written.
    pub word: String,
    /// The word as it is pronounced.
    pub pronunciation: String,
}

/// The words of a dictionary. Cheap to clone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Pronunciation>", into = "Vec<Pronunciation>")]
pub struct Words(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    items: Vec<Pronunciation>,
    index: OnceLock<Index>,
}

/// An index of the words: most are found by their first run of letters and digits.
#[derive(Debug, Default)]
struct Index {
    /// The words in lower case, in the order of the items.
    lower: Vec<String>,
    /// Indices of words by their first run.
    by_run: HashMap<String, Vec<usize>>,
    /// Indices of words that need no spaces around them, or have no letter.
    anywhere: Vec<usize>,
}

impl From<Vec<Pronunciation>> for Words {
    /// Sorts the words, so that the order of a file's lines makes no difference.
    fn from(mut items: Vec<Pronunciation>) -> Self {
        items.sort_unstable();
        Self(Arc::new(Inner { items, index: OnceLock::new() }))
    }
}

impl From<Words> for Vec<Pronunciation> {
    fn from(words: Words) -> Self {
        words.0.items.clone()
    }
}

impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        self.0.items == other.0.items
    }
}

impl Eq for Words {}

impl Words {
    /// SHA-256, in hex, of the words that `text` contains and their pronunciations; `None` if it contains none.
    ///
    /// A word counts if it occurs as a whole word, in any case. The vendor's documentation does not say whether case matters:
    /// buying a part once too often costs less than keeping a wrong pronunciation.
    #[must_use]
    pub fn hash_in(&self, text: &str) -> Option<String> {
        let places = self.places_in(text);
        if places.is_empty() {
            return None;
        }
        let mut hash = Sha256::new();
        for item in places.into_iter().map(|place| &self.0.items[place]) {
            for text in [&item.word, &item.pronunciation] {
                // The length comes first, so that two different lists never give the same bytes.
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        Some(hex(&hash.finalize()))
    }

    /// The indices of the words that occur in `text`, in order.
    fn places_in(&self, text: &str) -> Vec<usize> {
        if self.0.items.is_empty() {
            return Vec::new();
        }
        let index = self.0.index.get_or_init(|| Index::of(&self.0.items));
        let text = text.to_lowercase();
        let by_run = runs(&text).filter_map(|run| index.by_run.get(run)).flatten();
        let mut places: Vec<usize> = by_run.chain(&index.anywhere).copied().collect();
        places.sort_unstable();
        places.dedup();
        places.retain(|place| stands_in(&index.lower[*place], &text));
        places
    }
}

impl Index {
    fn of(items: &[Pronunciation]) -> Self {
        let mut index = Self::default();
        for (place, item) in items.iter().enumerate() {
            let word = item.word.to_lowercase();
            match runs(&word).next().filter(|_| !word.chars().any(is_unspaced)) {
                Some(run) => index.by_run.entry(run.to_owned()).or_default().push(place),
                None => index.anywhere.push(place),
            }
            index.lower.push(word);
        }
        index
    }
}

/// The maximal runs of letters and digits.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty())
}

/// Whether a word occurs as a whole word in a text, both in lower case.
fn stands_in(word: &str, text: &str) -> bool {
    let bounds = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !is_unspaced(c));
    let (first, last) = (bounds(word.chars().next()), bounds(word.chars().next_back()));
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let after = text[at + word.len()..].chars().next().is_some_and(char::is_alphanumeric);
        !(first && before || last && after)
    })
}

/// Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, Kana, Han.
const fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(items: &[(&str, &str)]) -> Words {
        let item = |(word, pronunciation): &(&str, &str)| Pronunciation {
            word: (*word).into(),
            pronunciation: (*pronunciation).into(),
        };
        items.iter().map(item).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_word_stands_whole_and_in_any_case() {
        for (word, text, stands) in [
            ("mysql", "We use MySQL.", true),
            ("MySQL", "mysql's", true),
            ("sql", "We use MySQL.", false),
            ("my", "my_sql", true),
            ("Acme, Inc.", "the acme, inc. of today", true),
            ("Acme, Inc.", "the Acme Inc.", false),
            (".NET", "on .net and off", true),
            (".NET", "the net", false),
            ("C++", "C++ is", true),
            ("C", "C++ is", true),
            ("&", "you & me", true),
            ("Éire", "in éire", true),
            ("क्या", "यह क्या है", true),
            ("क्या", "क्यारी", false),
            ("東京", "東京都に", true),
            ("a b", "a  b", false),
            ("2", "12", false),
        ] {
            assert_eq!(words(&[(word, "x")]).hash_in(text).is_some(), stands, "{word} in {text}");
        }
    }

    #[test]
    fn only_the_words_that_a_text_has_shape_it() {
        let before = words(&[("mysql", "my-sequel"), ("gif", "jif")]);
        let after = words(&[("gif", "jif"), ("mysql", "my-s-q-l"), ("new", "nyoo")]);
        assert_eq!(before.hash_in("A GIF."), after.hash_in("A GIF."));
        assert_ne!(before.hash_in("MySQL and GIF."), after.hash_in("MySQL and GIF."));
        assert_eq!(before.hash_in("New York"), None);
        assert!(after.hash_in("New York").is_some());
        assert_ne!(
            words(&[("ab", "c")]).hash_in("ab"),
            words(&[("AB", "c")]).hash_in("ab"),
            "how it is written counts"
        );
        assert_eq!(Words::default().hash_in("anything"), None);
    }

    #[test]
    fn they_come_back_from_the_ledger() {
        let all = words(&[("b", "1"), ("a", "2")]);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, r#"[{"word":"a","pronunciation":"2"},{"word":"b","pronunciation":"1"}]"#);
        assert_eq!(serde_json::from_str::<Words>(&json).unwrap(), all);
    }
}
