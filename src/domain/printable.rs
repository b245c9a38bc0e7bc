//! Text from outside, made safe to display: file names, keys, API messages. A terminal executes some characters instead of
//! showing them; others are invisible, or reorder the characters next to them.

use std::{borrow::Cow, fmt::Write};

/// Whether a terminal would execute `c`, hide it, or let it reorder its neighbors. Joiners are shown, because Indic
/// scripts, Arabic and emoji need them.
#[must_use]
pub fn is_control_or_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Direction marks, embeddings, overrides and isolates, and the deprecated ones.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Line and paragraph separators.
            | '\u{2028}' | '\u{2029}'
            // Invisible characters: zero-width spaces, invisible operators, annotations, tags.
            | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line: line breaks and tabs become spaces, other steering characters are escaped, as in `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_control_or_invisible, |c, out| match c {
        '\t' | '\n' | '\r' => out.push(' '),
        c => write_out(c, out),
    })
}

/// `text` as a value in a message: line breaks, tabs and other steering characters are escaped, as in `\n`. All others, also
/// backslashes and quotes, are shown as they are written.
#[must_use]
pub fn visible<T: AsRef<str> + ?Sized>(text: &T) -> Cow<'_, str> {
    escaped(text.as_ref(), is_control_or_invisible, |c, out| out.extend(c.escape_default()))
}

/// `text` with steering characters escaped; line breaks and tabs stay.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_control_or_invisible(c) && !matches!(c, '\t' | '\n'), write_out)
}

/// Equivalent JSON with steering characters escaped as JSON does it. Line breaks between its tokens stay.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(
        json,
        |c| is_control_or_invisible(c) && !matches!(c, '\t' | '\n' | '\r'),
        |c, out| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

fn write_out(c: char, out: &mut String) {
    let _ = write!(out, "{}", c.escape_unicode());
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(&is_bad) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if is_bad(c) { escape(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_keeps_its_backslashes_and_shows_its_control_characters() {
        assert_eq!(visible(r"\d+ \\pbx\rec 'x'"), r"\d+ \\pbx\rec 'x'");
        assert_eq!(visible("a\nb\tc\u{1b}\u{200b}"), r"a\nb\tc\u{1b}\u{200b}");
    }

    #[test]
    fn what_steers_is_written_out() {
        assert_eq!(printable("x.\u{1b}]0;pwned\u{7}"), "x.\\u{1b}]0;pwned\\u{7}");
        assert_eq!(printable("a\tb\r\nc\u{7f}"), "a b  c\\u{7f}");
        assert_eq!(printable_lines("a\tb\r\nc"), "a\tb\\u{d}\nc");
        let steering = "\0\u{8}\u{85}\u{90}\u{9b}\u{9d}\u{61c}\u{180e}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\
                        \u{2060}\u{2066}\u{2069}\u{206a}\u{feff}\u{fff9}\u{e0041}";
        for c in steering.chars() {
            let text = format!("a{c}b");
            assert_eq!(printable(&text), format!("a{}b", c.escape_unicode()));
            assert_eq!(printable_lines(&text), format!("a{}b", c.escape_unicode()));
        }
    }

    #[test]
    fn what_is_text_stays() {
        for text in
            ["Grüße, 大家", "नमस्\u{200d}ते", "می\u{200c}خواهم", "👩\u{200d}👧", "שלום (a) 1", "e\u{301}", "a\u{ad}b", ""]
        {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text:?}");
            assert!(matches!(printable_lines(text), Cow::Borrowed(_)));
            assert!(matches!(printable_json(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "a\u{9b}31m": ["\u{1b}]0;x\u{7}\n", "\u{202e}", "\u{e0041}", "\u{7f}"] });
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = printable_json(&text);
            assert!(!shown.contains(|c| is_control_or_invisible(c) && c != '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in any::<String>()) {
            prop_assert!(!printable(&text).contains(is_control_or_invisible));
            prop_assert!(!printable_lines(&text).contains(|c| is_control_or_invisible(c) && c != '\n' && c != '\t'));
            let json = serde_json::to_string(&text).unwrap();
            let shown = printable_json(&json);
            prop_assert!(!shown.contains(is_control_or_invisible));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
