//! Quotes: whether a text that a reply quotes stands in what was said.

use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::domain::transcript::SpokenTurn;

/// A text in which quotes are looked for. Case, spaces and punctuation do not matter.
#[derive(Debug)]
pub struct QuoteSource {
    /// Its letters and digits, folded.
    folded: String,
    /// The places in it where a word may begin.
    starts: Vec<usize>,
    /// The places in it where a word may end.
    ends: Vec<usize>,
}

impl QuoteSource {
    /// Takes a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let (mut folded, mut starts, mut ends) = (String::with_capacity(text.len()), Vec::new(), Vec::new());
        let mut in_word = false;
        for c in text.nfkc().flat_map(char::to_lowercase) {
            if !counts(c) {
                if in_word && ends.last() != Some(&folded.len()) {
                    ends.push(folded.len());
                }
                in_word = false;
                continue;
            }
            let unspaced = is_unspaced(c);
            if !in_word || unspaced {
                starts.push(folded.len());
            }
            folded.push(c);
            if unspaced {
                ends.push(folded.len());
            }
            in_word = true;
        }
        ends.push(folded.len());
        Self { folded, starts, ends }
    }

    /// Whether a quote stands in the text, from the beginning of a word to the end of one. A quote without letters and digits
    /// does.
    #[must_use]
    pub fn has(&self, quote: &str) -> bool {
        let quote = folded(quote);
        quote.is_empty() || self.find(&quote).is_some()
    }

    /// Where a folded quote begins in the folded text.
    fn find(&self, quote: &str) -> Option<usize> {
        let mut starts = self.starts.iter().filter(|at| self.folded[**at..].starts_with(quote));
        starts.find(|at| self.ends.binary_search(&(**at + quote.len())).is_ok()).copied()
    }
}

/// The letters and digits of a text, folded.
fn folded(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).filter(|c| counts(*c)).collect()
}

/// Words that were said, in which the moment of a quote is looked up.
#[derive(Debug)]
pub struct SpokenSource<'t> {
    source: QuoteSource,
    /// Where each word begins in the folded text, when it was said, and by whom.
    words: Vec<(usize, u64, Option<&'t str>)>,
}

impl<'t> SpokenSource<'t> {
    /// Takes the words of a transcript.
    #[must_use]
    pub fn of(turns: &'t [SpokenTurn]) -> Self {
        let (mut said, mut words, mut len) = (String::new(), Vec::new(), 0);
        for turn in turns {
            for (word, at) in turn.words() {
                said.push_str(word);
                said.push(' ');
                words.push((len, at, turn.by.as_deref()));
                len += folded(word).len();
            }
        }
        Self { source: QuoteSource::of(&said), words }
    }

    /// When a quote was begun, in ms, and by whom. The first place counts.
    #[must_use]
    pub fn moment(&self, quote: &str) -> Option<(u64, Option<&'t str>)> {
        let quote = folded(quote);
        let at = self.source.find(&quote).filter(|_| !quote.is_empty())?;
        // A word without letters takes no room: the last one that begins there has the letter.
        let nth = self.words.partition_point(|(start, ..)| *start <= at).checked_sub(1)?;
        let (_, ms, by) = self.words[nth];
        Some((ms, by))
    }
}

/// The moment of each quote of a reply, in its order: `place`, `quote`, `second`, and `speaker` if one is known. A quote that is not
/// among the words is left out.
#[must_use]
pub fn moments(patterns: &[Grounded], reply: &Value, spoken: &SpokenSource<'_>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for pattern in patterns {
        pattern.texts(reply, &mut |place, quote| {
            let Some((ms, by)) = spoken.moment(quote) else { return };
            #[expect(clippy::cast_precision_loss, reason = "a moment of a recording has far less than 53 bits")]
            let mut one = json!({"place": place, "quote": quote, "second": ms as f64 / 1_000.0});
            if let Some(by) = by {
                one["speaker"] = json!(by);
            }
            if !found.contains(&one) {
                found.push(one);
            }
        });
    }
    found
}

fn counts(c: char) -> bool {
    c.is_alphanumeric()
}

/// Whether words of this letter's script have no spaces between them.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0x20000..=0x3FFFF)
}

/// A pattern of places in a reply: names with dots between them. `*` stands for any name; lists are looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounded(Vec<String>);

impl Grounded {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A name of it is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.trim().split('.').map(|name| name.trim().to_owned()).collect();
        match names.iter().any(String::is_empty) {
            true => Err(format!("`{text}` is no place in a reply; write e.g. \"evidence\" or \"*.quote\"")),
            false => Ok(Self(names)),
        }
    }

    /// Calls `take` with each text at such a place of a reply, and the place.
    pub fn texts<'v>(&self, reply: &'v Value, take: &mut impl FnMut(&str, &'v str)) {
        walk(&self.0, (reply, String::new()), take);
    }

    /// Whether properties of these names have such a place.
    #[must_use]
    pub fn may_be_in(&self, names: &[String]) -> bool {
        names.iter().any(|name| {
            let own: Vec<&str> = name.split('.').collect();
            // What is in the items of a list is not among the columns.
            own.iter().zip(&self.0).all(|(name, wanted)| wanted == "*" || wanted == name)
        })
    }
}

fn walk<'v>(names: &[String], (value, place): (&'v Value, String), take: &mut impl FnMut(&str, &'v str)) {
    match (names, value) {
        (_, Value::Array(items)) => items.iter().for_each(|item| walk(names, (item, place.clone()), take)),
        ([], Value::String(text)) => take(&place, text),
        ([], Value::Object(fields)) => {
            fields.iter().for_each(|(name, value)| walk(&[], (value, joined(&place, name)), take));
        }
        ([first, rest @ ..], Value::Object(fields)) => {
            let met = fields.iter().filter(|(name, _)| first == "*" || first == *name);
            met.for_each(|(name, value)| walk(rest, (value, joined(&place, name)), take));
        }
        _ => {}
    }
}

fn joined(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

/// The places of a reply whose texts do not stand in the source, each once.
#[must_use]
pub fn ungrounded(patterns: &[Grounded], reply: &Value, source: &QuoteSource) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for pattern in patterns {
        pattern.texts(reply, &mut |place, quote| {
            if !source.has(quote) && !places.iter().any(|told| told == place) {
                places.push(place.to_owned());
            }
        });
    }
    places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CALL: &str = "Agent: Good morning, Northwind Power. How may I help?\nCustomer: I DON'T have power since 6:30 a.m. — it's \
                        the heart of winter! Please e-mail me.";

    #[test]
    fn case_spaces_and_punctuation_do_not_matter() {
        let source = QuoteSource::of(CALL);
        for honest in [
            "I don't have power since 6:30 a.m.",
            "i dont have POWER",
            "“good morning Northwind Power”",
            "Please email me",
            "it's the heart",
            "…",
            "",
            "winter",
        ] {
            assert!(source.has(honest), "{honest}");
        }
        for invented in [
            "I do have power",
            "the art of winter",
            "ower since",
            "refund",
            "I don't have power since 7:30",
            "mail you",
        ] {
            assert!(!source.has(invented), "{invented}");
        }
    }

    #[test]
    fn scripts_without_spaces_and_with_signs_are_quoted_too() {
        let source = QuoteSource::of("客服:您好,请问有什么可以帮您? ฉันต้องการเงินคืน मेरी बिजली सुबह से नहीं है।");
        for honest in ["请问有什么", "ต้องการเงินคืน", "बिजली सुबह से"]
        {
            assert!(source.has(honest), "{honest}");
        }
        for invented in ["请问没有什么", "बिजली शाम से"] {
            assert!(!source.has(invented), "{invented}");
        }
    }

    #[test]
    fn a_later_of_two_overlapping_places_counts() {
        assert!(QuoteSource::of("aaa aa").has("aa"));
        assert!(QuoteSource::of("aa aaa").has("aaa"), "the first place does not end at a word's end");
    }

    #[test]
    fn patterns_name_places_of_a_reply() {
        let reply = json!({
            "evidence": ["Please e-mail me", "I was promised a refund"],
            "turns": [{"quote": "How may I help?", "who": "agent"}, {"quote": "never said"}],
            "deep": {"quote": "winter", "n": 5},
        });
        let source = QuoteSource::of(CALL);
        let of = |patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(|text| Grounded::parse(text).unwrap()).collect();
            ungrounded(&patterns, &reply, &source)
        };
        assert_eq!(of(&["evidence"]), ["evidence"]);
        assert_eq!(of(&["*.quote"]), ["turns.quote"]);
        assert_eq!(of(&["deep", "turns.quote", "turns.quote"]), ["turns.quote"]);
        assert_eq!(of(&["nothing", "deep.n", "evidence.quote"]), [""; 0]);
        assert!(Grounded::parse("a..b").is_err() && Grounded::parse("").is_err());
        let names = ["evidence".to_owned(), "turns".to_owned(), "deep.quote".to_owned()];
        let may = |text: &str| Grounded::parse(text).unwrap().may_be_in(&names);
        assert!(may("evidence") && may("*.quote") && may("turns.quote") && !may("evidense") && !may("deep.quotes"));
    }

    #[test]
    fn a_quote_has_the_moment_and_the_speaker_of_its_first_word() {
        let turn = |by: Option<&str>, said: &str, at: &[u64]| SpokenTurn {
            by: by.map(str::to_owned),
            said: said.to_owned(),
            at: at.to_vec(),
        };
        let turns = [
            turn(Some("agent"), "Good morning, — Northwind\u{a0}Power.", &[100, 400, 700, 900]),
            turn(Some("customer"), "I don't have power since six-thirty.", &[2_000, 2_300, 2_500, 2_700, 3_000, 3_250]),
            turn(None, "Power?", &[5_000]),
        ];
        let source = SpokenSource::of(&turns);
        for (quote, at) in [
            ("good morning", Some((100, Some("agent")))),
            ("Northwind power", Some((900, Some("agent")))),
            ("DONT have POWER", Some((2_300, Some("customer")))),
            ("six thirty. Power", Some((3_250, Some("customer")))),
            ("power since", Some((2_700, Some("customer")))),
            ("ower since", None),
            ("refund", None),
            ("…", None),
        ] {
            assert_eq!(source.moment(quote), at, "{quote}");
        }
        let reply = json!({"evidence": ["since six-thirty", "never said"], "more": {"quote": "Good morning"}});
        let patterns = ["evidence", "*.quote"].map(|text| Grounded::parse(text).unwrap());
        let wanted = json!([
            {"place": "evidence", "quote": "since six-thirty", "second": 3.0, "speaker": "customer"},
            {"place": "more.quote", "quote": "Good morning", "second": 0.1, "speaker": "agent"},
        ]);
        assert_eq!(Value::from(moments(&patterns, &reply, &source)), wanted);
        assert_eq!(SpokenSource::of(&[]).moment("a"), None);
    }

    /// A thousand replies, each with an honest and an invented quote.
    #[test]
    fn of_a_thousand_replies_all_inventions_are_found_and_no_honest_quote_is_refused() {
        let words = [
            "power", "bill", "since", "Monday", "I", "don't", "know", "refund", "42", "please", "the", "agent", "calls",
        ];
        let mut state = 7_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for nth in 0..1_000 {
            let said: Vec<&str> = (0..120).map(|_| words[next(words.len())]).collect();
            let source = QuoteSource::of(&said.join([" ", ", ", ". "][nth % 3]));
            let (from, len) = (next(100), 4 + next(14));
            let honest = said[from..from + len].join([" ", "  ", " - "][next(3)]).to_uppercase();
            assert!(source.has(&honest), "{nth}: {honest}");
            let mut invented: Vec<&str> = said[from..from + len].to_vec();
            invented[next(len)] = "never";
            assert!(!source.has(&invented.join(" ")), "{nth}: {invented:?}");
        }
    }
}
