//! Characters of a text that nobody sees and no voice speaks. They are taken out, or repaired where they stand for others.

use std::{borrow::Cow, fmt};

/// What was done to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Soft hyphens that were taken out.
    pub soft_hyphens: u32,
    /// Other invisible characters that were taken out: of no width, of direction, byte order marks.
    pub invisible: u32,
    /// Control characters that were taken out; a whole sequence of a terminal counts as one.
    pub controls: u32,
    /// Characters of Windows-1252 that stood as control characters, and were put right.
    pub repaired: u32,
}

impl Repairs {
    /// Whether the text stayed as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `2 soft hyphens and 1 control character are taken out`
impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.soft_hyphens, "soft hyphen", "soft hyphens"),
            (self.invisible, "invisible character", "invisible characters"),
            (self.controls, "control character", "control characters"),
        ];
        let words: Vec<String> = counts
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        let out: u32 = counts.iter().map(|(count, ..)| count).sum();
        if out > 0 {
            write!(f, "{} {} taken out", words.join(" and "), if out == 1 { "is" } else { "are" })?;
        }
        if self.repaired > 0 {
            let (joint, n) = (if out > 0 { ", " } else { "" }, self.repaired);
            let words = if n == 1 { "character of Windows-1252 is" } else { "characters of Windows-1252 are" };
            write!(f, "{joint}{n} {words} put right")?;
        }
        Ok(())
    }
}

/// A text without characters that no voice speaks, and what was done to it. A text that has none comes back as it is.
/// Joiners stay in scripts and emoji that need them, and spaces of no width between words that have no other space.
#[must_use]
pub fn without_invisible(text: &str) -> (Cow<'_, str>, Repairs) {
    let mut repairs = Repairs::default();
    if !text.chars().any(may_go) {
        return (Cow::Borrowed(text), repairs);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let length = take(c, (&mut clean, after), &mut repairs);
        rest = &after[length..];
    }
    if repairs.is_empty() && clean == text {
        return (Cow::Borrowed(text), repairs);
    }
    (Cow::Owned(clean), repairs)
}

/// Takes one character over, or not. Returns how many bytes after it go with it.
fn take(c: char, (clean, after): (&mut String, &str), repairs: &mut Repairs) -> usize {
    let before = clean.chars().next_back();
    match c {
        '\u{b}' => clean.push('\n'),
        '\u{ad}' => repairs.soft_hyphens += 1,
        '\u{1b}' => {
            repairs.controls += 1;
            return terminal_sequence(after);
        }
        // Also a line break of other systems, where it follows no word.
        '\u{85}' if !before.is_some_and(char::is_alphanumeric) => clean.push(c),
        '\u{80}'..='\u{9f}' => match of_windows_1252(c) {
            Some(meant) => {
                repairs.repaired += 1;
                clean.push(meant);
            }
            None => repairs.controls += 1,
        },
        _ if c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}') => repairs.controls += 1,
        _ if is_invisible(c) && !is_needed(c, clean, after) => repairs.invisible += 1,
        _ => clean.push(c),
    }
    0
}

fn may_go(c: char) -> bool {
    c == '\u{ad}' || is_invisible(c) || c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}')
}

/// Whether a character has neither width nor sound. (Unicode: `Default_Ignorable_Code_Point`, without letters of Korean
/// and marks of Mongolian and Khmer; byte order marks and what stands for an object.)
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffc}'
            | '\u{fffe}'
            | '\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn is_needed(c: char, clean: &str, after: &str) -> bool {
    let (before, next) = (clean.chars().next_back(), after.chars().next());
    let Some(before) = before else { return false };
    match c {
        '\u{200b}' => has_no_spaces(before) || next.is_some_and(has_no_spaces),
        '\u{200c}' => joins(before),
        '\u{200d}' => joins(before) || is_pictured(before) && next.is_some_and(is_pictured),
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => takes_variants(before),
        // A flag of a region.
        '\u{e0020}'..='\u{e007f}' => before == '\u{1f3f4}' || ('\u{e0020}'..='\u{e007e}').contains(&before),
        _ => false,
    }
}

/// Letters of Arabic, Syriac, N'Ko, the scripts of India, Sinhala, Tibetan, Burmese, Khmer, Mongolian.
const fn joins(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{f00}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
        | '\u{a8e0}'..='\u{a8ff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' | '\u{11000}'..='\u{11fff}' | '\u{200d}')
}

/// Letters of Thai, Lao, Tibetan, Burmese and Khmer, and of Chinese and Japanese.
const fn has_no_spaces(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{1950}'..='\u{19df}' | '\u{1a20}'..='\u{1aaf}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Pictures, their tones, and what makes a picture of the character before it.
const fn is_pictured(c: char) -> bool {
    matches!(c, '\u{1f000}'..='\u{1faff}' | '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}'
        | '\u{2122}' | '\u{2139}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}')
}

/// Characters that are written in several ways: pictures, keycaps, signs of Chinese, letters of Mongolian and Burmese.
const fn takes_variants(c: char) -> bool {
    is_pictured(c)
        || matches!(c, '#' | '*' | '0'..='9' | '\u{1000}'..='\u{109f}' | '\u{1800}'..='\u{18af}' | '\u{2e80}'..='\u{9fff}'
            | '\u{a840}'..='\u{a87f}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The character that Windows-1252 has in place of a control character.
const fn of_windows_1252(c: char) -> Option<char> {
    Some(match c {
        '\u{80}' => '€',
        '\u{82}' => '‚',
        '\u{83}' => 'ƒ',
        '\u{84}' => '„',
        '\u{85}' => '…',
        '\u{86}' => '†',
        '\u{87}' => '‡',
        '\u{88}' => 'ˆ',
        '\u{89}' => '‰',
        '\u{8a}' => 'Š',
        '\u{8b}' => '‹',
        '\u{8c}' => 'Œ',
        '\u{8e}' => 'Ž',
        '\u{91}' => '‘',
        '\u{92}' => '’',
        '\u{93}' => '“',
        '\u{94}' => '”',
        '\u{95}' => '•',
        '\u{96}' => '–',
        '\u{97}' => '—',
        '\u{98}' => '˜',
        '\u{99}' => '™',
        '\u{9a}' => 'š',
        '\u{9b}' => '›',
        '\u{9c}' => 'œ',
        '\u{9e}' => 'ž',
        '\u{9f}' => 'Ÿ',
        _ => return None,
    })
}

/// The byte that a character has in Windows-1252; `None` if it has none.
#[must_use]
pub(super) fn windows_1252(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0..=0x7f | 0xa0..=0xff) => u8::try_from(code).ok(),
        _ => (0x80..=0x9f).find(|byte| of_windows_1252(char::from(*byte)) == Some(c)),
    }
}

/// The length of what an escape character begins: `[31m`, `]0;title` with its end.
fn terminal_sequence(after: &str) -> usize {
    let bytes = after.as_bytes();
    match bytes.first() {
        Some(b'[') => {
            let parameters = bytes[1..].iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
            let end = bytes.get(1 + parameters).is_some_and(|byte| (0x40..0x7f).contains(byte));
            if end { parameters + 2 } else { 0 }
        }
        Some(b']') => {
            let line = after.split('\n').next().unwrap_or_default();
            let end = |mark: &str| line.find(mark).map(|at| at + mark.len());
            [end("\u{7}"), end("\u{1b}\\")].into_iter().flatten().min().unwrap_or(0)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> (String, String) {
        let (clean, repairs) = without_invisible(text);
        (clean.into_owned(), repairs.to_string())
    }

    #[test]
    fn what_no_voice_speaks_is_taken_out() {
        for (text, expected, told) in [
            ("Auf\u{ad}la\u{ad}ge", "Auflage", "2 soft hyphens are taken out"),
            ("\u{feff}one\u{200b} two\u{2060}", "one two", "3 invisible characters are taken out"),
            ("bell\u{7} and \u{1b}[1;31mred\u{1b}[0m", "bell and red", "3 control characters are taken out"),
            ("\u{1b}]0;title\u{7}text\u{7f}\0", "text", "3 control characters are taken out"),
            ("don\u{92}t \u{93}wait\u{85}\u{94}", "don’t “wait…”", "4 characters of Windows-1252 are put right"),
            (
                "a\u{81}\u{99}b\u{ad}",
                "a™b",
                "1 soft hyphen and 1 control character are taken out, 1 character of Windows-1252 is put right",
            ),
            ("\u{202b}left\u{202c} \u{200e}right\u{200f}", "left right", "4 invisible characters are taken out"),
            ("Auf\u{200c}lage a\u{200d}b", "Auflage ab", "2 invisible characters are taken out"),
            ("x\u{fe0f} \u{fffc}", "x ", "2 invisible characters are taken out"),
            ("a\u{e0041}\u{e0042}", "a", "2 invisible characters are taken out"),
            ("one\u{b}two", "one\ntwo", ""),
        ] {
            assert_eq!(clean(text), (expected.to_owned(), told.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_matters_stays() {
        for text in [
            "plain text,\twith\r\n\r\nlines\u{c} and \u{a0}spaces\u{2028}\u{2029}",
            "क्\u{200d}ष and र्\u{200c}य",
            "می\u{200c}خواهم",
            "ශ්\u{200d}රී",
            "👩\u{200d}👩\u{200d}👧 👩🏽\u{200d}🚀 ❤\u{fe0f} 🏴\u{200d}☠\u{fe0f} 1\u{fe0f}\u{20e3}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "ภาษา\u{200b}ไทย",
            "葛\u{e0100}飾",
            "line.\u{85}Next",
        ] {
            assert!(
                matches!(without_invisible(text), (Cow::Borrowed(same), repairs) if same == text && repairs.is_empty()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn cleaning_twice_changes_nothing_more() {
        for text in
            ["a\u{1b}\u{1b}[0m\u{ad}b", "\u{200d}\u{200d}क\u{200d}\u{200d}", "\u{1b}\u{92}[31m", "1\u{ad}\u{fe0f}"]
        {
            let once = clean(text).0;
            assert_eq!(clean(&once).0, once, "{text:?}");
        }
    }
}
