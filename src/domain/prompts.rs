//! Checks of texts before they are bought: what a voice will likely not speak as intended.

mod mojibake;
mod passages;
mod script;

use std::{fmt, ops::Range};

use self::script::Script;
use super::{
    html::{Markup, markup, meaning},
    synthesis_options::TtsLanguage,
};

/// The longest excerpt, in characters.
const EXCERPT: usize = 20;
/// More digits in a row than this are read as one huge number.
const DIGITS: usize = 12;
/// Shorter words in capitals are likely meant to be spelled out.
const MIN_CAPS_LETTERS: usize = 4;

/// A passage of a text that is probably not meant to be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextWarning {
    /// The kind of oddity.
    pub what: Oddity,
    /// The first occurrence, at most 20 characters of it.
    pub excerpt: String,
}

/// A kind of passage that is probably not meant to be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// `**`, `# `, `[x](y)`, a code fence.
    Markdown,
    /// A tag or an entity.
    Html,
    /// A name that something else should have stood for: `{name}`, `%s`, `<name>`.
    Placeholder,
    /// Words in brackets, which are spoken like all others: `[pause]`.
    Bracketed,
    /// The address of a page or of a mailbox.
    Address,
    /// Text that was decoded in a wrong encoding: `CafÃ©`.
    Mojibake,
    /// A line break or another character that is written out: `\n`.
    Escape,
    /// A formula in the notation of TeX.
    Formula,
    /// An emoji by its name: `:tada:`.
    EmojiName,
    /// A word of four or more letters in capitals.
    AllCaps,
    /// More than twelve digits in a row.
    LongNumber,
    /// An emoji.
    Emoji,
    /// Letters of a script that the language is not written in.
    ForeignScript {
        /// `Devanagari`
        script: &'static str,
        /// The requested language.
        language: TtsLanguage,
    },
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Markdown => f.write_str("Markdown is left in"),
            Self::Html => f.write_str("HTML is left in"),
            Self::Placeholder => f.write_str("a placeholder is left in"),
            Self::Bracketed => f.write_str("words in brackets are spoken like all others"),
            Self::Address => f.write_str("an address may be spelled out"),
            Self::Mojibake => f.write_str("was read in a wrong encoding"),
            Self::Escape => f.write_str("a character is written out"),
            Self::Formula => f.write_str("a formula is left in"),
            Self::EmojiName => f.write_str("an emoji's name"),
            Self::AllCaps => f.write_str("a word in capitals may be spelled out"),
            Self::LongNumber => write!(f, "over {DIGITS} digits in a row"),
            Self::Emoji => f.write_str("an emoji"),
            Self::ForeignScript { script, language } => write!(f, "{script} letters in a text in `{language}`"),
        }
    }
}

impl fmt::Display for TextWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.what, self.excerpt)
    }
}

/// The oddities of a text, each kind once, with its first occurrence. Latin letters are never foreign. Without a
/// language, or with `auto`, no letters are.
#[must_use]
pub fn warnings(text: &str, language: Option<TtsLanguage>) -> Vec<TextWarning> {
    let foreign = language.and_then(|language| Some((language, script::foreign(text, language)?)));
    let foreign = foreign.map(|(language, (script, range))| {
        let script = Script::name(script);
        (Oddity::ForeignScript { script, language }, range)
    });
    let found = [
        (Oddity::Markdown, markdown(text)),
        (Oddity::Html, html(text)),
        (Oddity::Placeholder, placeholder(text)),
        (Oddity::Bracketed, passages::bracketed(text)),
        (Oddity::Address, passages::address(text)),
        (Oddity::Mojibake, mojibake::find(text)),
        (Oddity::Escape, passages::escape(text)),
        (Oddity::Formula, passages::formula(text)),
        (Oddity::EmojiName, passages::emoji_name(text)),
        (Oddity::AllCaps, all_caps(text)),
        (Oddity::LongNumber, runs(text, char::is_numeric).find(|run| text[run.clone()].chars().count() > DIGITS)),
        (Oddity::Emoji, emoji(text)),
    ];
    let found = found.into_iter().filter_map(|(what, range)| Some((what, range?))).chain(foreign);
    found.map(|(what, range)| TextWarning { what, excerpt: excerpt(&text[range]) }).collect()
}

/// Texts that are much longer than the others of their manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongTexts {
    /// The median length of all texts.
    pub median: usize,
    /// The long texts: indices in the list, ascending.
    pub which: Vec<usize>,
}

/// The texts, given by their lengths in characters, that are over four times the median and over 200 characters; `None` if
/// there are none, or fewer than five others to compare with.
#[must_use]
pub fn much_longer(lengths: &[usize]) -> Option<LongTexts> {
    if lengths.len() < 6 {
        return None;
    }
    let mut sorted = lengths.to_vec();
    let median = *sorted.select_nth_unstable(lengths.len() / 2).1;
    let limit = median.saturating_mul(4).max(200);
    let which: Vec<_> = lengths.iter().enumerate().filter(|(_, length)| **length > limit).map(|(i, _)| i).collect();
    (!which.is_empty()).then_some(LongTexts { median, which })
}

fn markdown(text: &str) -> Option<Range<usize>> {
    let fence = [text.find("**"), text.find("__"), text.find("```")].into_iter().flatten().min();
    let places = [fence.map(|at| at..line_end(text, at)), heading(text), link(text)];
    places.into_iter().flatten().min_by_key(|range| range.start)
}

/// `## Title`, at the beginning of a line.
fn heading(text: &str) -> Option<Range<usize>> {
    let hashes = text.match_indices('#').map(|(at, _)| at);
    let at = hashes.filter(|at| *at == 0 || text[..*at].ends_with('\n')).find(|at| {
        let rest = text[*at..].trim_start_matches('#');
        let level = text.len() - at - rest.len();
        level <= 6 && rest.starts_with([' ', '\t'])
    })?;
    Some(at..line_end(text, at))
}

/// `[x](y)`
fn link(text: &str) -> Option<Range<usize>> {
    for (middle, _) in text.match_indices("](") {
        // Link text and address are usually short; without a bound, texts of brackets would take quadratic time.
        let before = text[..middle].char_indices().rev().take(200).find(|(_, c)| matches!(c, '[' | ']' | '\n'));
        let after = text[middle..].char_indices().skip(2).take(2_000).find(|(_, c)| matches!(c, ')' | '\n'));
        if let (Some((start, '[')), Some((end, ')'))) = (before, after) {
            return Some(start..middle + end + 1);
        }
    }
    None
}

/// `<b>`, `</p>`, `<br/>`, `<!-- … -->`, `&amp;`, `&#39;`
fn html(text: &str) -> Option<Range<usize>> {
    text.match_indices(['<', '&']).find_map(|(at, mark)| {
        let length = if mark == "<" { tag(&text[at..]) } else { entity(&text[at + 1..]).map(|length| length + 1) };
        length.map(|length| at..at + length)
    })
}

/// `{name}`, `%s`, `<name>`
fn placeholder(text: &str) -> Option<Range<usize>> {
    let in_angles = text.match_indices('<').filter(|(at, _)| tag(&text[*at..]).is_none());
    let in_angles = in_angles.filter_map(|(at, _)| Some(at..at + passages::name_in_angles(&text[at..])?.len()));
    let places = [passages::placeholder(text), in_angles.min_by_key(|range| range.start)];
    places.into_iter().flatten().min_by_key(|range| range.start)
}

/// The length of the tag or comment that begins here. `<name>` is none.
fn tag(text: &str) -> Option<usize> {
    // Tags are short; without a bound, texts of `<` would take quadratic time.
    let end = text.char_indices().nth(2_000).map_or(text.len(), |(at, _)| at);
    match markup(&text[..end])? {
        (Markup::Tag(tag), length) => {
            let is_tag = meaning(&tag.name).is_some() || tag.closes || tag.closes_itself || tag.has_values;
            is_tag.then_some(length)
        }
        (_, length) => Some(length),
    }
}

/// The length of the entity after its `&`.
fn entity(rest: &str) -> Option<usize> {
    let name = rest.get(..rest.char_indices().take(10).find(|(_, c)| *c == ';')?.0)?;
    let is_name = match name.strip_prefix('#') {
        Some(number) => number.chars().all(|c| c.is_ascii_hexdigit() || c == 'x' || c == 'X') && !number.is_empty(),
        None => name.len() > 1 && name.chars().all(|c| c.is_ascii_alphanumeric()),
    };
    is_name.then_some(name.len() + 1)
}

/// A word in capitals, except a Roman numeral, as chapters have.
fn all_caps(text: &str) -> Option<Range<usize>> {
    runs(text, char::is_alphabetic).find(|run| {
        let word = &text[run.clone()];
        word.chars().all(char::is_uppercase) && word.chars().count() >= MIN_CAPS_LETTERS && !is_roman(word)
    })
}

fn is_roman(word: &str) -> bool {
    const TENS: [[&str; 10]; 3] = [
        ["", "C", "CC", "CCC", "CD", "D", "DC", "DCC", "DCCC", "CM"],
        ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"],
        ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"],
    ];
    let rest = word.trim_start_matches('M');
    let mut rest = if word.len() - rest.len() > 3 { word } else { rest };
    for digits in TENS {
        // The longest match, because most of these numerals begin with a shorter one.
        let longest = digits.iter().filter(|digit| rest.starts_with(**digit)).max_by_key(|digit| digit.len());
        rest = &rest[longest.map_or(0, |digit| digit.len())..];
    }
    rest.is_empty()
}

fn emoji(text: &str) -> Option<Range<usize>> {
    let joins = |c| matches!(c, '\u{200d}' | '\u{fe0f}');
    runs(text, |c| is_emoji(c) || joins(c)).find(|run| text[run.clone()].contains(is_emoji))
}

/// Pictures, flags, and keycaps; not boxed letters or trademark signs.
const fn is_emoji(c: char) -> bool {
    matches!(c, '\u{1f000}'..='\u{1f0ff}' | '\u{1f170}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{231a}' | '\u{231b}'
        | '\u{23e9}'..='\u{23fa}' | '\u{2b1b}' | '\u{2b1c}' | '\u{2b50}' | '\u{2b55}' | '\u{20e3}')
}

/// The maximal runs of matching characters, in order.
fn runs(text: &str, is: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(&is)?;
        at = start + text[start..].find(|c| !is(c)).unwrap_or(text.len() - start);
        Some(start..at)
    })
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find(['\n', '\r']).map_or(text.len(), |end| at + end)
}

/// Whether a paragraph is an ornament between two scenes: `* * *`, `---`, `§`.
#[must_use]
pub fn is_scene_break(paragraph: &str) -> bool {
    let is_ornament = |c: char| {
        matches!(
            c,
            '*' | '#' | '~' | '-' | '_' | '=' | '+' | '.' | '|' | '/' | '\\' | '<' | '>' | '•' | '·' | '§' | '¶' | '…'
        ) || matches!(c, '\u{2010}'..='\u{2015}' | '\u{203b}'..='\u{2056}' | '\u{2190}'..='\u{21ff}' | '\u{2217}'..='\u{221f}'
                | '\u{2500}'..='\u{25ff}' | '\u{2605}' | '\u{2606}' | '\u{2619}' | '\u{2660}'..='\u{2667}' | '\u{2721}'..='\u{274b}'
                | '\u{2756}' | '\u{2761}'..='\u{2767}' | '\u{3003}'..='\u{301f}' | '\u{ff0a}')
    };
    paragraph.chars().all(|c| c.is_whitespace() || is_ornament(c))
}

/// The beginning of a text on one line, at most 20 characters including the `…` for the rest.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let mut line = text.chars().map(|c| if c.is_whitespace() || c.is_control() { ' ' } else { c });
    let mut short: String = line.by_ref().take(EXCERPT).collect();
    if line.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, language: &str) -> Vec<String> {
        warnings(text, language.parse().ok()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn markup_is_seen() {
        for (text, excerpt) in [
            ("this is **bold** and more of it", "**bold** and more o…"),
            ("# Title\nText", "# Title"),
            ("Text\n## Title", "## Title"),
            ("see [here](a.html) or not", "[here](a.html)"),
            ("```\nlet a", "```"),
        ] {
            assert_eq!(message(text, "en"), [format!("Markdown is left in: `{excerpt}`")], "{text}");
        }
        for (text, excerpt) in
            [("a <b>c</b>", "<b>"), ("</p>", "</p>"), ("<br/>", "<br/>"), ("R&amp;D", "&amp;"), ("it&#39;s", "&#39;")]
        {
            assert_eq!(message(text, "en"), [format!("HTML is left in: `{excerpt}`")], "{text}");
        }
        for plain in ["1 < 2 > 0", "R&D; yes", "call #5 or # 6", "a * b", "(really)", "x <3 y", "f(a)](c", "](x)"] {
            assert_eq!(message(plain, "en"), [""; 0], "{plain}");
        }
    }

    #[test]
    fn shouting_numbers_and_emoji_are_seen() {
        assert_eq!(message("Please HOLD the line", "en"), ["a word in capitals may be spelled out: `HOLD`"]);
        assert_eq!(message("call 1234567890123 now", "en"), ["over 12 digits in a row: `1234567890123`"]);
        assert_eq!(message("hello 👋🏽 you", "en"), ["an emoji: `👋🏽`"]);
        assert_eq!(message("the FBI, Chapter XVIII, 123456789012, ©, 東京 НАТО2", "auto").len(), 1, "НАТО");
        assert_eq!(message("the FBI, Chapter XVIII, MCMXLIV, 123456789012, ™, क्‍ष", "hi"), [""; 0]);
        assert!(!is_roman("MILD") && !is_roman("CIVIL") && !is_roman("MMMM") && is_roman("MMXXVI") && is_roman("CDXL"));
    }

    #[test]
    fn what_should_have_been_filled_in_is_seen() {
        for (text, excerpt) in [
            ("Dear {name}, hello", "{name}"),
            ("Dear {{ first name }}!", "{{ first name }}"),
            ("You owe ${amount}.", "${amount}"),
            ("Hello %s, you are %d", "%s"),
            ("Hello %1$s.", "%1$s"),
            ("Hello %(name)s.", "%(name)s"),
            ("Hello %NAME%.", "%NAME%"),
            ("Dear <name>,", "<name>"),
            ("Dear <first name>,", "<first name>"),
            ("Hello <%= name %>.", "<%= name %>"),
            ("It is {% now %} now", "{% now %}"),
            ("Call $NAME now", "$NAME"),
            ("Hello [[name]].", "[[name]]"),
        ] {
            let found = warnings(text, None);
            let placeholder = found.iter().find(|warning| warning.what == Oddity::Placeholder);
            assert_eq!(placeholder.map(|warning| warning.excerpt.as_str()), Some(excerpt), "{text}");
        }
        for (text, expected) in [
            ("Wait [pause] here", "words in brackets are spoken like all others: `[pause]`"),
            ("born in 1815.[1][2]", "words in brackets are spoken like all others: `[1]`"),
            ("see https://a.b/c?d now", "an address may be spelled out: `https://a.b/c?d`"),
            ("see www.example.com, now", "an address may be spelled out: `www.example.com`"),
            ("write to ann@example.org.", "an address may be spelled out: `ann@example.org`"),
            ("One.\\nTwo", "a character is written out: `\\n`"),
            ("One\\n\\nTwo", "a character is written out: `\\n\\n`"),
            ("caf\\u00e9", "a character is written out: `\\u00e9`"),
            ("so $$x^2$$ is", "a formula is left in: `$$x^2$$`"),
            ("so \\frac{1}{2} is", "a formula is left in: `\\frac{1}{2}`"),
            ("well done :tada:", "an emoji's name: `:tada:`"),
            ("CafÃ© au lait", "was read in a wrong encoding: `CafÃ©`"),
        ] {
            assert!(message(text, "en").contains(&expected.to_owned()), "{text}: {:?}", message(text, "en"));
        }
        for plain in [
            "100% sure, 50 %, 5%d, 20%off",
            "$5 and $10.50",
            "at 12:30:15, note: this",
            "C:\\new\\table",
            "{} { } []",
            "a@b",
            "e.g. this.that",
            "José García, L'été…—« à » Ñoño, Ångström, ÂGE, Straße, ÇA VA",
            "I <3 you",
            "2 < 3 and 4 > 1",
            "don't \\ do",
            "Dr. Who & Co.",
        ] {
            assert_eq!(message(plain, "en"), [""; 0], "{plain}");
        }
    }

    #[test]
    fn an_ornament_is_a_break() {
        for ornament in ["* * *", "***", "---", "—", "§", "❦", "⁂", "~ ~ ~", "• • •", "...", "＊＊＊", "◆◇◆", "#"]
        {
            assert!(is_scene_break(ornament), "{ornament}");
        }
        for other in ["😀", "?!", "a", "* 1 *", "€", "🎉🎉", "“”"] {
            assert!(!is_scene_break(other), "{other}");
        }
    }

    #[test]
    fn a_foreign_script_is_seen() {
        assert_eq!(message("say नमस्ते now", "en"), ["Devanagari letters in a text in `en`: `नमस्ते`"]);
        assert_eq!(message("привет", "hi"), ["Cyrillic letters in a text in `hi`: `привет`"]);
        assert_eq!(message("中文", "ko"), [""; 0], "Hanja");
        assert_eq!(message("かな", "zh"), ["Kana letters in a text in `zh`: `かな`"]);
        for (text, language) in [
            ("naïve café Łódź", "en"),
            ("नमस्ते OK", "hi"),
            ("漢字かなカナー", "ja"),
            ("привет", "auto"),
            ("привет", "none"),
            ("مرحبا", "ar"),
            ("Ελλάδα", "el"),
            ("ਪੰਜਾਬੀ।", "pa"),
            ("Tiếng Việt", "vi"),
            ("ѐ 5 € “”—µ", "ru"),
        ] {
            assert_eq!(message(text, language), [""; 0], "{text}");
        }
    }

    #[test]
    fn much_longer_than_its_siblings() {
        assert_eq!(much_longer(&[50, 60, 70, 60, 50, 281]), Some(LongTexts { median: 60, which: vec![5] }));
        assert_eq!(much_longer(&[50, 60, 70, 60, 50, 240]), None, "four times, not over");
        assert_eq!(much_longer(&[5, 6, 7, 6, 5, 200]), None, "200, not over");
        assert_eq!(much_longer(&[50, 60, 70, 60, 900]), None, "four siblings");
        assert_eq!(much_longer(&[]), None);
    }
}
