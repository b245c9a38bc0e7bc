//! The words that decide about a point, by language: read from `words.txt`, which says where they are from and how they are
//! updated.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

/// The lists, by language. Parsed once, and a language when it is first asked for.
static SECTIONS: LazyLock<HashMap<&'static str, Section>> = LazyLock::new(|| sections(include_str!("words.txt")));
/// Shared by all languages.
const SHARED: &str = "*";
/// The languages whose lists are taken whole if the language is unknown.
const USUAL: [&str; 2] = ["en", "hi"];
/// Words before an ordinal that are ordinary words of another language.
const NOT_BEFORE: &[&str] =
    &["am", "an", "die", "den", "de", "i", "for", "til", "af", "som", "n", "d", "do", "bis", "her"];

/// The classes of a word, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Classes(u16);

impl Classes {
    pub(super) const ALWAYS: Self = Self(1);
    pub(super) const MOSTLY: Self = Self(1 << 1);
    pub(super) const NUMBER: Self = Self(1 << 2);
    pub(super) const EITHER: Self = Self(1 << 3);
    pub(super) const YEAR: Self = Self(1 << 4);
    pub(super) const MONTH: Self = Self(1 << 5);
    pub(super) const BEFORE: Self = Self(1 << 6);
    pub(super) const FOLLOW: Self = Self(1 << 7);
    pub(super) const VERB: Self = Self(1 << 8);
    pub(super) const STARTER: Self = Self(1 << 9);
    pub(super) const OWN: Self = Self(1 << 10);
    pub(super) const LETTER: Self = Self(1 << 11);
    pub(super) const TIME: Self = Self(1 << 12);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the word is known to take a point.
    pub(super) const fn is_abbreviation(self) -> bool {
        self.has(Self(Self::ALWAYS.0 | Self::MOSTLY.0 | Self::NUMBER.0 | Self::EITHER.0 | Self::YEAR.0))
    }

    /// Whether the word is an abbreviation that stands at the end of something: nothing begins with it.
    pub(super) const fn ends_only(self) -> bool {
        self.has(Self::EITHER) && !self.has(Self(Self::ALWAYS.0 | Self::MOSTLY.0 | Self::NUMBER.0))
    }

    /// Whether it is the class of an abbreviation that needs no number and ends no sentence.
    const fn is_plain_abbreviation(self) -> bool {
        self.has(Self(Self::ALWAYS.0 | Self::MOSTLY.0))
    }

    const fn named(name: &str) -> Option<Self> {
        Some(match name.as_bytes() {
            b"always" => Self::ALWAYS,
            b"mostly" => Self::MOSTLY,
            b"number" => Self::NUMBER,
            b"either" => Self::EITHER,
            b"year" => Self::YEAR,
            b"months" => Self::MONTH,
            b"before" => Self::BEFORE,
            b"follow" => Self::FOLLOW,
            b"verbs" => Self::VERB,
            b"starters" => Self::STARTER,
            b"own" => Self::OWN,
            b"letters" => Self::LETTER,
            b"times" => Self::TIME,
            _ => return None,
        })
    }

    /// Without what the word is in lower case: `CF` is not `cf.`
    const fn without_abbreviations(self) -> Self {
        Self(self.0 & !(Self::ALWAYS.0 | Self::MOSTLY.0))
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Whether numbers take a point when they are ordinals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ordinals {
    /// No.
    #[default]
    None,
    /// Yes; what follows is in lower case, unless it is a name.
    Lower,
    /// Yes, also before a capital: nouns have one, or names of centuries and wars.
    Capital,
}

/// What is known of one language.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// By the word in lower case: its classes in any case, and those that only a capitalized one has.
    known: HashMap<String, (Classes, Classes)>,
    suffixes: Vec<&'static str>,
    pub(super) ordinals: Ordinals,
    /// Whether a word of one sign before a point is an initial.
    pub(super) short: bool,
    /// Whether a word without a vowel is an abbreviation, even if it is not capitalized.
    pub(super) vowelless: bool,
}

/// A language's lists as they stand in the file.
#[derive(Debug, Default)]
struct Section {
    lines: Vec<(&'static str, &'static str)>,
    words: OnceLock<Words>,
}

impl Words {
    /// The lists of a language by its code (`de`, `de-AT`); those of all languages that cannot be mistaken, if it is `None`
    /// or unknown.
    pub(super) fn of(code: Option<&str>) -> &'static Self {
        let primary = code.and_then(|code| code.split(['-', '_']).next()).filter(|code| *code != SHARED);
        let primary = primary.map(str::to_ascii_lowercase);
        match primary.as_deref().and_then(|code| SECTIONS.get_key_value(code)) {
            Some((code, section)) => section.words.get_or_init(|| Self::of_one(code)),
            None => SECTIONS[SHARED].words.get_or_init(Self::of_all),
        }
    }

    /// The classes of a word, by its case.
    pub(super) fn classes(&self, word: &str) -> Classes {
        let capital = word.starts_with(char::is_uppercase);
        let found = if word.chars().any(char::is_uppercase) {
            self.known.get(word.to_lowercase().as_str())
        } else {
            self.known.get(word)
        };
        let (mut any, capitalized) = found.copied().unwrap_or_default();
        if is_acronym(word) {
            any = any.without_abbreviations();
        }
        if capital { any.with(capitalized) } else { any }
    }

    /// Whether a word is a compound with an abbreviation: `Hauptstr.`; a short one needs a capital, and a number behind it:
    /// `Storg. 5`.
    pub(super) fn has_suffix(&self, word: &str, before_number: bool) -> bool {
        const LONG: usize = 3;
        let sure = before_number && word.starts_with(char::is_uppercase);
        let word = word.to_lowercase();
        let fits = |suffix: &&&str| word.len() > suffix.len() + 2 && word.ends_with(**suffix);
        self.suffixes.iter().filter(fits).any(|suffix| sure || suffix.len() >= LONG)
    }

    fn of_one(code: &'static str) -> Self {
        let mut words = Self { vowelless: !matches!(code, "cs" | "sk" | "hr"), ..Self::default() };
        words.add(SHARED, |_, _| true);
        words.add(code, |_, _| true);
        // Names and addresses keep their abbreviations in texts of another language.
        let is_wanted = |class: Classes, word: &str| class.is_plain_abbreviation() && word.chars().nth(1).is_some();
        words.add_foreign(|other| other != code && !share_a_script(code, other), is_wanted);
        words.add_titles(code);
        words
    }

    fn of_all() -> Self {
        let mut words = Self { ordinals: Ordinals::Lower, ..Self::default() };
        words.add(SHARED, |_, _| true);
        for code in USUAL {
            words.add(code, |_, _| true);
        }
        words.add_foreign(|other| !USUAL.contains(&other), |_, _| true);
        words.add_titles("");
        (words.ordinals, words.short) = (Ordinals::Lower, false);
        words
    }

    /// Adds of other languages what cannot be mistaken, unless it is a word already.
    fn add_foreign(&mut self, is_other: impl Fn(&str) -> bool, is_wanted: impl Fn(Classes, &str) -> bool) {
        let own = self.known.clone();
        let (ordinals, short) = (self.ordinals, self.short);
        let is_new = |class: Classes, word: &str| {
            let known = own.get(&word.to_lowercase()).is_some_and(|(any, capital)| {
                let classes = any.with(*capital);
                classes.is_abbreviation() || classes.has(Classes::OWN)
            });
            is_wanted(class, word) && !(known && class.is_abbreviation()) && is_unmistakable(class, word)
        };
        for code in codes().filter(|code| is_other(code)) {
            self.add(code, is_new);
        }
        (self.ordinals, self.short) = (ordinals, short);
    }

    /// Adds abbreviations of other languages for where they are capitalized.
    fn add_titles(&mut self, own: &str) {
        for (name, word) in codes().filter(|code| *code != own).flat_map(|code| SECTIONS[code].words_of()) {
            let known = self.known.contains_key(&word.to_lowercase());
            if !known && matches!(name, "always" | "mostly") && is_title(word) {
                self.insert_capitalized(word, Classes::MOSTLY);
            }
        }
    }

    fn add(&mut self, code: &str, is_taken: impl Fn(Classes, &str) -> bool + Copy) {
        for (name, rest) in &SECTIONS[code].lines {
            match (*name, Classes::named(name)) {
                ("like", _) => self.add(rest, is_taken),
                ("suffix", _) => {
                    self.suffixes.extend(rest.split(' ').filter(|suffix| is_taken(Classes::MOSTLY, suffix)))
                }
                ("ordinals", _) => {
                    self.ordinals = if *rest == "names" { Ordinals::Capital } else { Ordinals::Lower };
                }
                ("short", _) => self.short = true,
                (_, Some(class)) => {
                    for word in rest.split(' ').filter(|word| is_taken(class, word)) {
                        self.insert(word, class);
                    }
                }
                (other, None) => unreachable!("words.txt has no class `{other}`"),
            }
        }
    }

    fn insert_capitalized(&mut self, word: &str, class: Classes) {
        let (_, capitalized) = self.known.entry(word.to_lowercase()).or_default();
        *capitalized = capitalized.with(class);
    }

    fn insert(&mut self, word: &str, class: Classes) {
        let (any, capitalized) = self.known.entry(word.to_lowercase()).or_default();
        let of = if word.starts_with(char::is_uppercase) { capitalized } else { any };
        *of = of.with(class);
    }
}

impl Section {
    /// All words, each with the name of its class.
    fn words_of(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.lines.iter().flat_map(|(name, rest)| rest.split(' ').map(move |word| (*name, word)))
    }
}

/// The codes of all languages, in the order of the alphabet.
fn codes() -> impl Iterator<Item = &'static str> {
    let mut codes: Vec<_> = SECTIONS.keys().copied().filter(|code| *code != SHARED).collect();
    codes.sort_unstable();
    codes.into_iter()
}

/// Whether two languages are written in one script that is not Latin: abbreviations of the one are words of the other.
fn share_a_script(one: &str, other: &str) -> bool {
    const SCRIPTS: [&[&str]; 3] = [&["ru", "uk", "bg"], &["hi", "mr"], &["ar", "ur"]];
    SCRIPTS.iter().any(|script| script.contains(&one) && script.contains(&other))
}

/// Whether a word may be taken for a title or another abbreviation where it is capitalized inside a sentence, whatever the
/// language: long enough not to be the name of somebody.
fn is_title(word: &str) -> bool {
    word.chars().count() >= 3 && word.chars().all(|c| c.is_lowercase() && c < '\u{250}')
}

/// Whether a word of some language cannot be an ordinary word of another one.
fn is_unmistakable(class: Classes, word: &str) -> bool {
    if class.has(Classes::BEFORE) {
        return !NOT_BEFORE.contains(&word);
    }
    if class.has(Classes::OWN) || class.has(Classes::LETTER) || class.has(Classes::NUMBER) {
        return class.has(Classes::NUMBER) || !word.is_ascii();
    }
    // Initials of a name: `P. A.`
    if class.has(Classes::EITHER) && word.contains('.') {
        return false;
    }
    let is_other_script = |c: char| c.is_alphabetic() && c >= '\u{370}' && !('\u{1e00}'..='\u{1eff}').contains(&c);
    word.contains('.')
        || word.starts_with(char::is_uppercase)
        || word.chars().any(is_other_script)
        || class.has(Classes::MONTH)
        || !word.contains(is_vowel)
        || !word.is_ascii() && !class.has(Classes::ALWAYS)
}

fn is_acronym(word: &str) -> bool {
    word.chars().nth(1).is_some() && word.chars().all(char::is_uppercase)
}

pub(super) fn is_vowel(c: char) -> bool {
    let plain = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    match c {
        c if c.is_ascii() => plain(c.to_ascii_lowercase()),
        // Consonants of Latin with a mark; every other letter beyond ASCII counts as a vowel.
        'ß' | 'ç' | 'ñ' | 'ś' | 'š' | 'ş' | 'ș' | 'ć' | 'č' | 'ź' | 'ž' | 'ż' | 'ł' | 'ń' | 'ň' | 'ř' | 'ť' | 'ț'
        | 'ţ' | 'ď' | 'đ' | 'ģ' | 'ķ' | 'ļ' | 'ņ' | 'Ś' | 'Š' | 'Ş' | 'Ș' | 'Ć' | 'Č' | 'Ź' | 'Ž' | 'Ż' | 'Ł' | 'Ř'
        | 'Đ' | 'ğ' => false,
        _ => true,
    }
}

fn sections(file: &'static str) -> HashMap<&'static str, Section> {
    let mut sections: HashMap<&'static str, Section> = HashMap::new();
    let mut code = SHARED;
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(next) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            code = next;
            sections.entry(code).or_default();
            continue;
        }
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        sections.entry(code).or_default().lines.push((name, rest));
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_well_formed() {
        for (code, section) in SECTIONS.iter() {
            Words::of(Some(code));
            for (name, rest) in &section.lines {
                let is_class = Classes::named(name).is_some();
                assert!(is_class || ["like", "suffix", "ordinals", "short"].contains(name), "[{code}] {name}");
                assert!(
                    !is_class || rest.split(' ').all(|word| !word.is_empty() && !word.ends_with('.')),
                    "[{code}] {name}"
                );
            }
        }
        Words::of(None);
    }

    #[test]
    fn a_capital_in_the_list_is_one_in_the_text() {
        let english = Words::of(Some("en-GB"));
        assert!(english.classes("Gen").has(Classes::ALWAYS) && english.classes("GEN").has(Classes::ALWAYS));
        assert!(!english.classes("col").has(Classes::ALWAYS) && english.classes("etc").has(Classes::EITHER));
    }

    #[test]
    fn for_an_unknown_language_words_that_may_be_mistaken_are_left_out() {
        let all = Words::of(Some("xx"));
        assert!(all.classes("bzw").is_abbreviation() && all.classes("м").is_abbreviation());
        assert!(all.classes("Prof").is_abbreviation() && all.classes("z.b").is_abbreviation());
        for ordinary in ["art", "den", "sine", "dos", "pan", "Die"] {
            assert!(!all.classes(ordinary).has(Classes::ALWAYS), "{ordinary}");
        }
    }
}
