//! Whether a point ends a sentence, or belongs to an abbreviation, an initial, an ordinal or a Roman numeral.

use unicode_segmentation::UnicodeSegmentation;

use super::{
    marks::{closes, is_comma, is_spaced_comma, opens},
    words::{Classes, Ordinals, Words, is_vowel},
};

/// The longest word that is examined, in characters.
const LONGEST: usize = 24;
/// How many words with a point may make one abbreviation: `p. n. e.`, `u. s. w.`
const MOST_JOINED: usize = 4;

/// What a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// It belongs to its word.
    Inside,
    /// It belongs to its word, and the sentence most likely ends here too: `Acme Inc. Acme makes …`
    Doubtful,
    /// It ends a sentence.
    End,
}

/// What a point is. `before` is the sentence so far; `after` is the text after the point and a space.
pub(super) fn point(words: &Words, before: &str, after: &str) -> Point {
    // `Mr . Smith`, as tokenizers write it.
    let before = before.trim_end();
    let delimits = |c: char| c.is_whitespace() || opens(c) && !matches!(c, '’' | '\'' | '-' | '‐') || c == '/';
    let start = before.char_indices().rev().take(LONGEST + 1).find(|(_, c)| delimits(*c) || is_comma(*c));
    let (word, lead) = match start {
        Some((at, c)) => (&before[at + c.len_utf8()..], before[..at + c.len_utf8()].trim_end_matches(delimits)),
        // Either the word is the whole sentence so far, or it is too long.
        None if before.chars().nth(LONGEST).is_some() => return Point::End,
        None => (before, ""),
    };
    // A bracket that closed in the word is none of its letters: `(ed.)`.
    let word = word.trim_end_matches(closes);
    if word.is_empty() {
        return Point::End;
    }
    let is_listed = is_list_number(before);
    Pointed { words, word: without_prefix(words, word), lead, next: Next::of(words, after), is_listed }.verdict()
}

/// Whether the number at the end of a sentence so far is that of a point of a list: it begins the sentence or a clause.
pub(super) fn is_list_number(before: &str) -> bool {
    const LONGEST: usize = 3;
    let lead = before.trim_end_matches(char::is_numeric);
    let digits = &before[lead.len()..];
    let lead = lead.trim_end_matches(|c: char| c.is_whitespace() || opens(c));
    if !(1..=LONGEST).contains(&digits.chars().count()) {
        return false;
    }
    match lead.chars().next_back() {
        None | Some(';' | '；' | '؛') => true,
        // After a colon stands a number that is no list's as well, but the first of a list is one.
        Some(':' | '：') => value(digits) == Some(1),
        Some(c) if is_comma(c) || is_spaced_comma(c) => value(digits).is_some_and(|number| counts_up_to(lead, number)),
        _ => false,
    }
}

/// Whether the sentence so far has the number of the list before this one: `1. wash, 2.`
fn counts_up_to(lead: &str, number: u32) -> bool {
    const FARTHEST: usize = 300;
    let from = lead.char_indices().rev().take(FARTHEST).last().map_or(0, |(at, _)| at);
    let mut words = lead[from..].split(|c: char| c.is_whitespace() || opens(c) || is_comma(c));
    words.any(|word| word.strip_suffix(['.', '．']).and_then(value).is_some_and(|before| before + 1 == number))
}

/// The value of a short number in the digits of any script.
fn value(digits: &str) -> Option<u32> {
    let mut value = 0;
    for digit in digits.chars() {
        value = 10 * value + digit_value(digit)?;
    }
    (!digits.is_empty()).then_some(value)
}

/// The value of a decimal digit.
fn digit_value(digit: char) -> Option<u32> {
    const ZEROS: [u32; 16] = [
        0x30, 0x660, 0x6f0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0x1040, 0xff10,
    ];
    ZEROS.iter().find_map(|zero| u32::from(digit).checked_sub(*zero).filter(|value| *value < 10))
}

/// What follows a word that begins with an apostrophe and is written small where it begins a sentence: `'s Avonds`,
/// `'s-Gravenhage`.
pub(super) fn elided(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c| opens(c) && !is_apostrophe(c));
    let letter = rest.trim_start_matches(is_apostrophe);
    let mut letters = letter.chars();
    let is_one = letter.len() < rest.len() && letters.next().is_some_and(char::is_lowercase);
    let word = letters.as_str().strip_prefix([' ', '-', '‑'])?;
    (is_one && word.starts_with(char::is_uppercase)).then_some(word)
}

const fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘')
}

/// An abbreviation without what is written together with it: an article or a conjunction (`l’ing.`, `وأ.`), or another
/// abbreviation (`Dr.-Ing.`).
fn without_prefix<'t>(words: &Words, word: &'t str) -> &'t str {
    let elided = word.split_once(['\'', '’']).map(|(_, rest)| rest);
    let compound = word.rsplit_once(".-").map(|(_, rest)| rest);
    let rest = elided.or(compound).or_else(|| word.strip_prefix('و'));
    rest.filter(|rest| words.classes(rest).is_abbreviation() || rest.chars().count() == 1).unwrap_or(word)
}

/// The word after the point.
struct Next<'t> {
    text: &'t str,
    classes: Classes,
    is_lower: bool,
    is_upper: bool,
    /// A single letter with a point.
    is_initial: bool,
    /// Whether it is an abbreviation that begins no sentence: `Ltda.`
    is_tail: bool,
}

impl<'t> Next<'t> {
    fn of(words: &Words, after: &'t str) -> Self {
        let text = elided(after).unwrap_or_else(|| after.trim_start_matches(opens));
        let end = text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '.')).unwrap_or(text.len());
        let (text, pointed) = (text[..end].trim_end_matches('.'), text[..end].ends_with('.'));
        let classes = words.classes(text).or_elided(words, text);
        Self {
            text,
            classes,
            is_lower: text.starts_with(char::is_lowercase),
            is_upper: text.starts_with(char::is_uppercase),
            is_initial: pointed && text.chars().count() == 1,
            is_tail: pointed && text.chars().count() > 1 && classes.ends_only(),
        }
    }

    fn starts(&self) -> bool {
        self.is_upper && self.classes.has(Classes::STARTER) && !self.is_initial
    }

    fn is_digits(&self) -> bool {
        self.text.starts_with(char::is_numeric)
    }

    /// A number in any spelling: `5`, `IV`, `A`.
    fn counts(&self) -> bool {
        let letter = self.text.chars().count() == 1 && self.is_upper && self.text != "I" && self.text != "A";
        self.is_digits() || letter || is_roman(self.text) && !self.starts()
    }
}

impl Classes {
    /// A French or Italian article before an apostrophe begins a sentence like the whole word: `L’année`, `C'est`.
    fn or_elided(self, words: &Words, text: &str) -> Self {
        let Some((article, _)) = text.split_once(['\'', '’']).filter(|(a, _)| a.chars().count() < 3) else {
            return self;
        };
        let with = words.classes(&format!("{article}'"));
        if with.has(Self::STARTER) { with } else { self }
    }
}

/// A word, and what stands around its point.
struct Pointed<'t> {
    words: &'t Words,
    word: &'t str,
    /// The part of the sentence before the word.
    lead: &'t str,
    next: Next<'t>,
    /// Whether it is the number of a point of a list.
    is_listed: bool,
}

impl Pointed<'_> {
    fn verdict(&self) -> Point {
        if self.word.chars().all(char::is_numeric) {
            return self.number();
        }
        let (classes, letters) = self.known();
        if let Some(listed) = self.listed(classes) {
            return listed;
        }
        if letters {
            return self.unless_started();
        }
        match () {
            // The number of a chapter.
            () if self.lead.is_empty() && self.word.len() <= 5 && is_roman(self.word) && self.next.is_upper => {
                Point::Inside
            }
            () if self.is_shaped() => self.unless_started(),
            () => Point::End,
        }
    }

    /// The classes of the longest abbreviation that ends with this word, and whether it is made of initials only.
    fn known(&self) -> (Classes, bool) {
        let mut joined = self.word.to_owned();
        let mut best = self.words.classes(self.word);
        let mut lead = self.lead;
        for _ in 1..MOST_JOINED {
            let Some(shorter) = lead.strip_suffix('.') else { break };
            let at = shorter.rfind([' ', '(', '/']).map_or(0, |at| at + 1);
            let word = &shorter[at..];
            if word.is_empty() || word.chars().count() > 5 {
                break;
            }
            joined.insert(0, '.');
            joined.insert_str(0, word);
            lead = shorter[..at].trim_end();
            let classes = self.words.classes(&joined);
            if classes.is_abbreviation() {
                best = classes;
            }
        }
        (best, self.is_initial() || self.has_inner_points())
    }

    /// What the lists say of the word.
    fn listed(&self, classes: Classes) -> Option<Point> {
        let next = &self.next;
        let short_month = classes.has(Classes::MONTH) && self.word.chars().count() <= 5 && next.is_digits();
        let goes_on = next.is_initial && self.word.chars().count() == 1;
        if short_month || classes.has(Classes::NUMBER) && next.counts() || classes.has(Classes::EITHER) && goes_on {
            return Some(Point::Inside);
        }
        if classes.has(Classes::EITHER) || classes.has(Classes::YEAR) && self.closes_a_year() {
            return Some(match () {
                () if next.is_lower || next.is_tail || next.classes.has(Classes::FOLLOW) => Point::Inside,
                () if next.starts() => Point::End,
                () if self.lead.is_empty() || self.opens_a_sentence() || self.is_part_of_measure() => Point::Inside,
                () => Point::Doubtful,
            });
        }
        if classes.has(Classes::MOSTLY) {
            return Some(self.unless_started());
        }
        let letter = classes.has(Classes::LETTER);
        (classes.has(Classes::ALWAYS) || classes.has(Classes::YEAR) || letter).then_some(Point::Inside)
    }

    fn unless_started(&self) -> Point {
        if self.next.starts() { Point::End } else { Point::Inside }
    }

    /// `At 5 p.m. John left`: all that there is so far is a time.
    fn opens_a_sentence(&self) -> bool {
        const FEW: usize = 6;
        let mut words = self.lead.split(' ').map(|word| word.trim_start_matches(opens));
        let is_time = words.next().is_some_and(|first| self.words.classes(first).has(Classes::TIME));
        is_time && words.take(FEW).count() < FEW
    }

    /// `5 ft. 6 in.`
    fn is_part_of_measure(&self) -> bool {
        self.next.is_digits() && self.lead.trim_end_matches('.').ends_with(char::is_numeric)
    }

    /// `… в 1984 г.`, with enough before it to be a sentence, unless a word with a capital shows that it is one.
    fn closes_a_year(&self) -> bool {
        let few = if self.next.starts() { 1 } else { 3 };
        let mut before = self.lead.rsplit(' ');
        let number = before.next().unwrap_or_default();
        let is_number = number.starts_with(|c: char| c.is_numeric()) || is_roman(number);
        is_number && before.take(few).count() == few
    }

    /// `19. Jahrhundert`, `3. Mai`, and the number of a list.
    fn number(&self) -> Point {
        let digits = self.word.chars().count();
        if self.is_listed {
            return Point::Inside;
        }
        let next = &self.next;
        if digits <= 2 && next.classes.has(Classes::MONTH) && self.words.ordinals != Ordinals::None {
            return Point::Inside;
        }
        // Digits of Indic scripts: their sentences seldom end in a point, and their lists have one.
        if digits <= 2 && !self.word.is_ascii() {
            return Point::Inside;
        }
        let last = self.lead.rsplit(' ').next().unwrap_or_default();
        // `S. 12` is no ordinal.
        let is_counted = last.strip_suffix('.').is_some_and(|last| self.words.classes(last).has(Classes::NUMBER));
        if self.words.ordinals == Ordinals::None || digits > 3 || next.starts() || is_counted {
            return Point::End;
        }
        let introduced = self.words.classes(last).has(Classes::BEFORE);
        match self.words.ordinals {
            _ if introduced && !next.is_digits() => Point::Inside,
            // A date in digits: `24. 12. 1999`.
            _ if digits <= 2 && next.is_digits() => Point::Inside,
            _ if next.is_lower => Point::Inside,
            Ordinals::Capital if digits <= 2 && next.is_upper => Point::Inside,
            Ordinals::Lower if digits <= 2 && next.is_upper => Point::Doubtful,
            _ => Point::End,
        }
    }

    /// `J. R. R. Tolkien`, `p. 12`; but "So do I." ends a sentence.
    fn is_initial(&self) -> bool {
        let mut chars = self.word.chars();
        let (Some(letter), None) = (chars.next(), chars.next()) else { return false };
        let in_name = self.lead.ends_with('.');
        match letter {
            'I' | 'я' | 'Я' => self.lead.is_empty() || in_name || self.follows_a_name(),
            // `5 a. m.`
            _ if self.next.is_initial => true,
            _ if self.words.classes(self.word).has(Classes::OWN) && !letter.is_uppercase() => in_name,
            // Letters with a mark are words (`è`, `à`) as often as initials.
            _ if letter.is_lowercase() && !letter.is_ascii() && letter < '\u{250}' => in_name,
            _ => {
                letter.is_alphabetic()
                    && (letter.is_lowercase() || letter.is_uppercase() || is_caseless_initial(letter))
            }
        }
    }

    /// `Albert I. Jones`; but "Then I." is no name.
    fn follows_a_name(&self) -> bool {
        let mut words = self.lead.rsplit(' ');
        let name = words.next().unwrap_or_default();
        name.starts_with(char::is_uppercase) && !self.words.classes(name).has(Classes::STARTER) && self.next.is_upper
    }

    /// `U.S`, `J.R.R`; not `example.com`, `12.3.2026`.
    fn has_inner_points(&self) -> bool {
        let few = |segment: &str| {
            let first = segment.chars().next();
            match first {
                Some(c) if c.is_uppercase() || c.is_lowercase() => segment.chars().count() == 1,
                // A sign of an Indic script with its marks.
                Some(c) if is_indic(c) => segment.graphemes(true).count() <= 2,
                Some(c) => is_caseless_initial(c) && segment.chars().count() == 1,
                None => false,
            }
        };
        self.word.contains('.') && self.word.split('.').all(|segment| few(segment.trim_start_matches('-')))
    }

    /// Whether the word looks like an abbreviation, whatever its language.
    fn is_shaped(&self) -> bool {
        let (word, words) = (self.word, self.words);
        let classes = words.classes(word);
        if classes.has(Classes::OWN) {
            return false;
        }
        let first = word.chars().next().unwrap_or(' ');
        if is_indic(first) {
            return (words.short || self.lead.ends_with('.')) && word.graphemes(true).count() == 1;
        }
        let before_numeral = self.next.text.len() > 1 && is_roman(self.next.text) && word.chars().count() <= 4;
        let is_numbered = before_numeral && word.starts_with(char::is_lowercase);
        is_numbered
            || self.is_numeral()
            || self.is_doubled()
            || words.has_suffix(word, self.next.is_digits())
            || self.is_vowelless()
    }

    /// `xvi.`, and `XIV.` where numbers take a point; at the start of a sentence, the number of a chapter.
    fn is_numeral(&self) -> bool {
        if !is_roman(self.word) {
            return false;
        }
        if self.word.starts_with(char::is_lowercase) {
            let digits = |c| matches!(c, 'i' | 'v' | 'x');
            let is_plain = self.word.chars().all(digits) || self.word.starts_with("xl") || self.word.starts_with("lx");
            // `vi` is a word of Danish, Norwegian and Swedish, and a name.
            return self.word.len() > 1 && is_plain && (self.word != "vi" || self.lead.ends_with('.'));
        }
        self.words.ordinals != Ordinals::None && self.word.len() > 1
    }

    /// `EE. UU.`, `JJ. OO.`: the plural of an initial.
    fn is_doubled(&self) -> bool {
        let doubled = |word: &str| {
            let mut chars = word.chars();
            let (a, b, end) = (chars.next(), chars.next(), chars.next());
            a == b && end.is_none() && a.is_some_and(char::is_uppercase)
        };
        doubled(self.word) && (doubled(self.next.text) || self.next.is_lower)
    }

    /// `Grds.`, `Mgr.`: short, and nothing that could be spoken.
    fn is_vowelless(&self) -> bool {
        let word = self.word;
        let length = word.chars().count();
        let is_latin = word.chars().all(|c| c.is_alphabetic() && c < '\u{250}');
        let is_acronym = word.chars().skip(1).any(char::is_uppercase);
        let capital = word.starts_with(char::is_uppercase);
        (2..=5).contains(&length)
            && is_latin
            && !is_acronym
            && !word.contains(is_vowel)
            && (capital || self.words.vowelless)
            && !is_unit(word)
    }
}

/// Letters of scripts without case whose single letters are initials or abbreviations: Arabic and Hebrew.
const fn is_caseless_initial(c: char) -> bool {
    matches!(c, '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}' | '\u{671}'..='\u{6d3}')
        || matches!(c, '\u{904}'..='\u{939}')
}

const fn is_indic(c: char) -> bool {
    matches!(c, '\u{900}'..='\u{d7f}')
}

/// Symbols of units, which end sentences as words do.
fn is_unit(word: &str) -> bool {
    matches!(
        word,
        "km" | "kg"
            | "mg"
            | "cm"
            | "mm"
            | "dm"
            | "nm"
            | "ml"
            | "cl"
            | "dl"
            | "hl"
            | "kb"
            | "mb"
            | "gb"
            | "tb"
            | "kW"
            | "ms"
            | "ns"
            | "hz"
            | "db"
            | "kr"
    )
}

/// Whether the text is a Roman numeral in one case.
pub(super) fn is_roman(text: &str) -> bool {
    if text.is_empty() || text.len() > 8 {
        return false;
    }
    let value = |c: char| match c {
        'I' => 1,
        'V' => 5,
        'X' => 10,
        'L' => 50,
        'C' => 100,
        'D' => 500,
        'M' => 1_000,
        _ => 0,
    };
    let upper = text.to_ascii_uppercase();
    if upper != text && text.to_ascii_lowercase() != text || upper.chars().any(|c| value(c) == 0) {
        return false;
    }
    let values: Vec<u32> = upper.chars().map(value).collect();
    let sum: u32 = (0..values.len())
        .map(|at| if values[at + 1..].first().is_some_and(|next| *next > values[at]) { 0 } else { values[at] })
        .sum::<u32>();
    let less: u32 = (0..values.len())
        .filter(|at| values[at + 1..].first().is_some_and(|next| *next > values[*at]))
        .map(|at| values[at])
        .sum();
    sum > less && roman(sum - less) == upper
}

fn roman(mut number: u32) -> String {
    const STEPS: [(u32, &str); 13] = [
        (1_000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (value, letters) in STEPS {
        while number >= value {
            text.push_str(letters);
            number -= value;
        }
    }
    text
}
