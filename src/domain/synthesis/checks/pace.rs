//! How long a text takes to say.

use unicode_segmentation::UnicodeSegmentation;

/// What a recording may have beside its words, in ms: breath before them, and after them, which a slow voice has longer.
const BEFORE_MS: f64 = 500.0;
const AFTER_MS: f64 = 500.0;
/// A pause inside a text beyond those of the usual pace, in ms: at a comma or a dash, and at the end of a sentence.
const COMMA_MS: f64 = 150.0;
const SENTENCE_MS: f64 = 300.0;

/// The usual pace of languages, in letters a second of reading aloud at the voice's own speed. One letter of a script that
/// writes syllables or words takes the time of several; [`letters`] says how many.
const LETTERS_A_SECOND: &[(&str, f64)] = &[
    ("ar", 11.0),
    ("bn", 12.0),
    ("de", 14.0),
    ("el", 14.0),
    ("es", 15.0),
    ("fi", 13.0),
    ("gu", 12.0),
    ("hi", 12.0),
    ("id", 14.0),
    ("kn", 12.0),
    ("ml", 12.0),
    ("mr", 12.0),
    ("ms", 14.0),
    ("or", 12.0),
    ("pa", 12.0),
    ("pl", 13.0),
    ("ru", 13.0),
    ("sv", 14.0),
    ("ta", 12.0),
    ("te", 12.0),
    ("tr", 13.0),
    ("vi", 12.0),
];
/// Of a language that is not listed, or not known.
const OTHER_LETTERS_A_SECOND: f64 = 14.0;

/// How long a part's text may take to say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Characters of the text.
    pub characters: u64,
    /// The least time it can take, in ms; 0 if that is not judged.
    pub least_ms: u64,
    /// The time it usually takes, without what is around it and without pauses, in ms.
    pub usual_ms: f64,
    /// The time that its pauses may take, in ms.
    pub pauses_ms: f64,
}

impl Pace {
    /// The pace of a text in a language, at `speed` times the voice's own; at most `max_chars_per_second` can be said at that
    /// own speed (0: any number).
    #[must_use]
    pub fn of(text: &str, language: Option<&str>, speed: f64, max_chars_per_second: f64) -> Self {
        let most = max_chars_per_second * speed;
        let least_ms = if most > 0.0 { (timed_chars(text) as f64 * 1_000.0 / most) as u64 } else { 0 };
        let (language, _) = language.unwrap_or_default().split_once('-').unwrap_or((language.unwrap_or_default(), ""));
        let listed = LETTERS_A_SECOND.iter().find(|(code, _)| *code == language);
        let pace = listed.map_or(OTHER_LETTERS_A_SECOND, |(_, letters)| *letters);
        let inside = text.trim_end_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
        let pauses: f64 = inside.chars().map(pause_ms).sum();
        Self {
            characters: text.chars().count() as u64,
            least_ms,
            usual_ms: letters(text) * 1_000.0 / pace / speed,
            pauses_ms: BEFORE_MS + (AFTER_MS + pauses) / speed,
        }
    }

    /// The time that the text probably takes, in ms.
    #[must_use]
    pub fn expected_ms(&self) -> u64 {
        (self.usual_ms + (self.pauses_ms - BEFORE_MS - AFTER_MS).max(0.0)) as u64
    }

    /// The most time that the text can take, if it may take `times` as long as usual; `None` if that is 0.
    #[must_use]
    pub fn most_ms(&self, times: f64) -> Option<u64> {
        (times > 0.0).then_some((self.usual_ms * times + self.pauses_ms) as u64)
    }
}

/// Characters that take time to say. A row of dots takes none. Nothing else is excluded: half of a short prompt would pass for
/// all of it.
fn timed_chars(text: &str) -> u64 {
    text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).count() as u64
}

fn pause_ms(c: char) -> f64 {
    match c {
        '.' | '!' | '?' | '…' | '。' | '！' | '？' | '।' | '॥' | '؟' | '۔' | '\n' => SENTENCE_MS,
        ',' | ';' | ':' | '—' | '–' | '、' | '，' | '；' | '：' | '،' | '؛' | '(' | ')' => COMMA_MS,
        _ => 0.0,
    }
}

/// How many letters of reading aloud a text is: digits and signs are read as words, capitals alone may be spelled.
fn letters(text: &str) -> f64 {
    text.split_word_bounds().map(word_letters).sum()
}

fn word_letters(word: &str) -> f64 {
    let capitals = word.chars().filter(|c| c.is_alphabetic()).all(char::is_uppercase);
    let has_vowel = word.chars().any(|c| !c.is_ascii() || "aeiouyAEIOUY".contains(c));
    // `I` and `A` are words.
    let own = match (capitals && word != "I" && word != "A", has_vowel) {
        (true, _) => 5.0,
        (false, false) => 3.0,
        (false, true) => 1.0,
    };
    word.chars()
        .map(|c| match c {
            c if c.is_numeric() => 6.0,
            c if c.is_whitespace() => 1.0,
            c if c.is_alphabetic() => {
                let long = letter(c);
                if long > 1.0 { long } else { own }
            }
            // Marks of vowels belong to a letter, and are as long as one in the scripts of India.
            '\u{0300}'..='\u{036F}' | '\u{064B}'..='\u{0652}' => 0.0,
            '\u{0900}'..='\u{0DFF}' => 1.0,
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '’' | '"' | '“' | '”' | '-' | '(' | ')' => 0.5,
            _ => 8.0,
        })
        .sum()
}

/// The letters of the Latin script that this one takes the time of.
fn letter(c: char) -> f64 {
    match c {
        // Han: a syllable in Chinese, often two in Japanese.
        '\u{3400}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}' | '\u{F900}'..='\u{FAFF}' => 4.5,
        '\u{AC00}'..='\u{D7AF}' => 3.0,
        '\u{3040}'..='\u{30FF}' => 2.0,
        '\u{0E00}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => 1.3,
        '\u{1200}'..='\u{139F}' => 2.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(text: &str, language: &str, speed: f64) -> f64 {
        Pace::of(text, Some(language), speed, 25.0).most_ms(2.0).unwrap() as f64 / 1_000.0
    }

    #[test]
    fn the_least_time_follows_from_characters_and_speed() {
        let pace = |text, speed| Pace::of(text, None, speed, 25.0).least_ms;
        assert_eq!((pace("Hello there", 1.0), pace("Hello there", 2.0)), (440, 220));
        assert_eq!(pace("Wait......................", 1.0), 160, "a row of dots takes no time");
        assert_eq!(Pace::of("Hello there", None, 1.0, 0.0).least_ms, 0);
    }

    #[test]
    fn what_is_read_as_words_takes_longer_than_its_characters() {
        assert!(most("1986", "en", 1.0) > 4.0, "nineteen hundred and eighty-six, slowly");
        assert!(most("$ 1,000,000.00", "en", 1.0) > 6.5);
        assert!(most("I B M", "en", 1.0) > most("ibm", "en", 1.0));
        assert!(most("你好，世界。", "zh", 1.0) > 3.5);
        assert!(most("नमस्ते", "hi", 1.0) > 1.8);
    }

    #[test]
    fn a_slower_voice_may_take_longer() {
        let text = "The quick brown fox jumps over the lazy dog, and then it sleeps.";
        assert!(most(text, "en", 0.5) > 1.8 * most(text, "en", 1.0) - 1.0);
        assert!(most(text, "en", 1.0) < 3.5 * text.len() as f64 / 15.0, "three times as long is too long");
        assert_eq!(most(text, "en-GB", 1.0), most(text, "en", 1.0));
        assert_eq!(Pace::of(text, None, 1.0, 25.0).most_ms(0.0), None);
    }
}
