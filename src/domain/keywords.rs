//! Keywords that a transcription favors, with their weights (API page: `keywords`, Pulse).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::printable::visible;

/// The most keywords of one request.
pub const MAX_KEYWORDS: usize = 100;
/// Above this weight the API is known to transcribe words that nobody said.
pub const MAX_SAFE_WEIGHT: f64 = 10.0;

/// Keywords with weights, without duplicates, as the API takes them: `Northwind:2`, or a word alone for a weight of 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keywords(Vec<String>);

impl Keywords {
    /// Parses entries of one or several words each, with or without `:weight`. Of two equal entries the last one counts, as
    /// with the API.
    ///
    /// # Errors
    /// An entry that the API would misread, or more keywords than it takes.
    pub fn new<'t>(entries: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let mut words: Vec<String> = Vec::new();
        for entry in entries {
            let own = entry_of(entry)?;
            words.retain(|other| word_of(other) != word_of(&own));
            words.push(own);
        }
        match words.len() {
            count if count > MAX_KEYWORDS => {
                Err(format!("has {count} words, and the API takes at most {MAX_KEYWORDS} with a request"))
            }
            _ => Ok(Self(words)),
        }
    }

    /// Parses one text with entries separated by commas, as in a manifest's cell.
    ///
    /// # Errors
    /// As [`Keywords::new`].
    pub fn of_text(text: &str) -> Result<Self, String> {
        Self::new(text.split(','))
    }

    /// Parses a file's text with one entry per line. Blank lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// As [`Keywords::new`].
    pub fn of_lines(text: &str) -> Result<Self, String> {
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        Self::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// Whether a text is rather the name of a file of keywords than keywords. A word with its weight is a word.
    #[must_use]
    pub fn is_file_name(text: &str) -> bool {
        !text.contains(',') && weight_of(text).is_none() && (text.contains('/') || is_named_like_a_list(text))
    }

    /// Whether there are no keywords.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keywords whose weight is above [`MAX_SAFE_WEIGHT`].
    pub fn inventing(&self) -> impl Iterator<Item = &str> {
        let heavy = |entry: &&String| weight_of(entry).is_some_and(|weight| weight > MAX_SAFE_WEIGHT);
        self.0.iter().filter(heavy).map(|entry| word_of(entry))
    }

    /// Whether the vendor's log lists these keywords: `logged` has them in any order, with or without weights.
    #[must_use]
    pub fn are_those_of(&self, logged: &str) -> bool {
        let mut theirs: Vec<&str> = logged.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        let weightless = theirs.iter().all(|entry| weight_of(entry).is_none());
        let mut ours: Vec<&str> =
            self.0.iter().map(|entry| if weightless { word_of(entry) } else { entry.as_str() }).collect();
        theirs.sort_unstable();
        ours.sort_unstable();
        ours == theirs
    }
}

/// The form in a query: `Northwind:2,GST`.
impl fmt::Display for Keywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// An entry in its stored form: words separated by single spaces, weight as written.
fn entry_of(entry: &str) -> Result<String, String> {
    let shown = visible(entry.trim()).into_owned();
    let (word, weight) = match entry.rsplit_once(':') {
        Some((word, weight)) => (word, Some(weight.trim())),
        None => (entry, None),
    };
    let word = word.split_whitespace().collect::<Vec<_>>().join(" ");
    if word.is_empty() {
        return Err(if shown.is_empty() { "has an empty word".into() } else { format!("`{shown}` names no word") });
    }
    if let Some(c) = word.chars().find(|c| c.is_control() || matches!(c, ',' | ':')) {
        let why = match c {
            ',' => "the API parts words by commas; write each as an entry of its own",
            ':' => "the API reads a `:` as the beginning of a weight, and so no word can have one",
            _ => "a word has no control characters",
        };
        return Err(format!("`{shown}`: {why}"));
    }
    let Some(weight) = weight else {
        if is_named_like_a_list(&word) {
            return Err(format!(
                "`{shown}` is a file's name, and no word to listen for; a file is named alone, in the definition (keywords = \"{shown}\") or by its flag (--keywords {shown})"
            ));
        }
        return Ok(word);
    };
    let is_number = weight.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0);
    let plain = weight.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !is_number || !plain {
        return Err(format!(
            "`{shown}`: behind a `:` stands a word's weight, 1 to 3, and `{weight}` is no such number"
        ));
    }
    Ok(format!("{word}:{weight}"))
}

/// Whether a name has the ending of a text file or a table.
fn is_named_like_a_list(name: &str) -> bool {
    let ending = name.trim().rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| matches!(ending.as_str(), "txt" | "csv" | "tsv"))
}

fn word_of(entry: &str) -> &str {
    entry.rsplit_once(':').map_or(entry, |(word, _)| word)
}

fn weight_of(entry: &str) -> Option<f64> {
    entry.rsplit_once(':')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_weights_and_the_last_of_two_counts() {
        let words = Keywords::of_text(" Northwind:2 ,GST,  Jensen   Huang:1.5,GST:3").unwrap();
        assert_eq!(words.to_string(), "Northwind:2,Jensen Huang:1.5,GST:3");
        assert_eq!(Keywords::new(["gst", "GST"]).unwrap().to_string(), "gst,GST", "case matters");
        assert_eq!(
            Keywords::of_lines("\u{feff}# names\n\nNorthwind:2\r\n  GST \n").unwrap().to_string(),
            "Northwind:2,GST"
        );
        assert!(Keywords::new([]).unwrap().is_empty());
        let heavy = Keywords::new(["a:10", "b:10.5", "c"]).unwrap();
        assert_eq!(heavy.inventing().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn what_the_api_would_read_otherwise_is_told() {
        for (entry, message) in [
            ("", "has an empty word"),
            ("  ", "has an empty word"),
            (":2", "`:2` names no word"),
            (" :", "`:` names no word"),
            ("GST:", "`GST:`: behind a `:` stands a word's weight, 1 to 3, and `` is no such number"),
            (
                "10:30 train",
                "`10:30 train`: behind a `:` stands a word's weight, 1 to 3, and `30 train` is no such number",
            ),
            ("a:b:2", "`a:b:2`: the API reads a `:` as the beginning of a weight, and so no word can have one"),
            ("GST:-1", "`GST:-1`: behind a `:` stands a word's weight, 1 to 3, and `-1` is no such number"),
            ("GST:1e3", "`GST:1e3`: behind a `:` stands a word's weight, 1 to 3, and `1e3` is no such number"),
            ("GST:inf", "`GST:inf`: behind a `:` stands a word's weight, 1 to 3, and `inf` is no such number"),
            ("a,b", "`a,b`: the API parts words by commas; write each as an entry of its own"),
            ("a\u{7}b", "`a\\u{7}b`: a word has no control characters"),
        ] {
            assert_eq!(Keywords::new([entry]).unwrap_err(), message, "{entry:?}");
        }
        assert_eq!(Keywords::of_text("a,,b").unwrap_err(), "has an empty word");
    }

    #[test]
    fn at_most_a_hundred_words_go_with_a_request() {
        let words: Vec<String> = (0..101).map(|n| format!("word{n}")).collect();
        let some = |n: usize| Keywords::new(words[..n].iter().map(String::as_str));
        assert!(some(100).is_ok());
        assert_eq!(some(101).unwrap_err(), "has 101 words, and the API takes at most 100 with a request");
        let twice = words[..100].iter().chain(&words[..100]).map(String::as_str);
        assert!(Keywords::new(twice).is_ok(), "each word counts once");
    }

    #[test]
    fn the_log_lists_them_in_its_own_way() {
        let words = Keywords::of_text("Northwind:2,GST").unwrap();
        for logged in ["Northwind:2,GST", "GST, Northwind:2", "GST,Northwind"] {
            assert!(words.are_those_of(logged), "{logged}");
        }
        for logged in ["", "GST", "Northwind:3,GST", "northwind,GST", "Northwind:2,GST,x"] {
            assert!(!words.are_those_of(logged), "{logged}");
        }
        assert!(Keywords::default().are_those_of("") && !Keywords::default().are_those_of("x"));
    }
}
