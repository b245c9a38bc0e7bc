//! Cutting texts: parts joined are the text, but for white space; none is longer than asked for, none is empty; the
//! sentences of a part cover it. The first byte is the length of a part.

use crate::{
    definition::prose::{self, ProseKind},
    domain::cut::{SentenceRules, cut, flat},
};

/// One input.
///
/// # Panics
/// On a finding.
pub fn texts(input: &[u8]) {
    let Some((most, bytes)) = input.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(bytes) {
        let most = usize::from(*most).clamp(1, 250);
        parts(text, most);
    }
    for kind in [ProseKind::Plain, ProseKind::Markdown] {
        if let Ok(prose) = prose::parse(bytes, kind) {
            parts(&prose.text(), 250);
        }
    }
}

fn parts(text: &str, most: usize) {
    let parts = cut(text, most, SentenceRules::default());
    let joined: Vec<char> = parts.iter().flat_map(|part| part.text.chars()).filter(|c| !c.is_whitespace()).collect();
    let whole: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(joined, whole);
    for part in &parts {
        assert!((1..=most).contains(&part.chars()), "{:?}", part.text);
        assert_eq!(flat(&part.text), part.text);
        let mut at = 0;
        for sentence in &part.sentences {
            assert!(part.text[at..sentence.range.start].trim().is_empty() && !sentence.range.is_empty());
            at = sentence.range.end;
        }
        assert_eq!(at, part.text.len());
    }
}
