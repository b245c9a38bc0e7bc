//! Text in UTF-8 that was read as Windows-1252: `CafÃ©`.

use std::ops::Range;

use super::super::invisible::windows_1252;

/// The first word with such text, or with the mark of a character that was lost.
pub(super) fn find(text: &str) -> Option<Range<usize>> {
    let at = text.char_indices().find(|(at, c)| *c == '\u{fffd}' || is_misread(*c, &text[*at..]))?.0;
    let start = text[..at]
        .rfind(char::is_whitespace)
        .map_or(0, |space| space + text[space..].chars().next().map_or(0, char::len_utf8));
    let end = text[at..].find(char::is_whitespace).map_or(text.len(), |length| at + length);
    Some(start..end)
}

/// Whether the bytes that these characters have in Windows-1252 are a character in UTF-8. Pairs that good text may have
/// count only where two of them follow each other.
fn is_misread(first: char, text: &str) -> bool {
    let length = match first {
        'Â' | 'Ã' => 2,
        'Ð' | 'Ñ' | '×' | 'Ø' | 'Ù' | 'Î' | 'Ï' => 4,
        'à' | 'â' | 'ã' => 3,
        'ð' => 4,
        _ => return false,
    };
    let bytes: Option<Vec<u8>> = text.chars().take(length).map(windows_1252).collect();
    let Some(bytes) = bytes.filter(|bytes| bytes.len() == length) else { return false };
    std::str::from_utf8(&bytes).is_ok_and(|meant| meant.chars().all(|c| !c.is_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_a_wrong_encoding_is_found() {
        for (text, word) in [
            ("un CafÃ© noir", "CafÃ©"),
            ("donâ€™t go", "donâ€™t"),
            ("Â£5", "Â£5"),
            ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "ÐŸÑ€Ð¸Ð²ÐµÑ‚"),
            ("so ðŸ˜€", "ðŸ˜€"),
            ("à¤¨à¤®", "à¤¨à¤®"),
            ("lost\u{fffd}here now", "lost\u{fffd}here"),
        ] {
            assert_eq!(find(text).map(|range| &text[range]), Some(word), "{text}");
        }
        for text in
            ["Café", "Âge", "pâté", "España", "SÃO PAULO, MAÑANA", "ESPAÑ…", "fjörð", "à la carte", "Ω ≈ π", "привет"]
        {
            assert_eq!(find(text), None, "{text}");
        }
    }
}
