//! Words of scripts without spaces (Thai, Lao, Khmer, Burmese, Chinese, Japanese), by the dictionaries of `icu_segmenter`. They
//! are compiled in, and updated with the crate.

use icu_segmenter::{WordSegmenter, options::WordBreakInvariantOptions};

use super::marks::{hangs, is_unspaced};

/// The ends of the words of a text, in bytes, in order; the last one is the end of the text.
pub(super) fn word_ends(text: &str) -> Vec<usize> {
    let segmenter = WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
    segmenter.segment_str(text).filter(|at| *at > 0).collect()
}

/// A word as the pieces between which its text may be broken: the words of a script without spaces, each with the
/// punctuation that belongs to it. A text of another script is one piece.
#[must_use]
pub fn breakable(text: &str) -> Vec<&str> {
    if !text.contains(is_unspaced) {
        return vec![text];
    }
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in word_ends(text) {
        if at == text.len() || may_break(text, at) {
            pieces.push(&text[from..at]);
            from = at;
        }
    }
    pieces
}

/// Whether the text may be broken at the end of a word: next to a letter of a script without spaces, not before punctuation that
/// closes, not after punctuation that opens.
pub(super) fn may_break(text: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (text[..at].chars().next_back(), text[at..].chars().next()) else { return false };
    (is_unspaced(before) || is_unspaced(after)) && !hangs_wide(after) && !opens_wide(before)
}

/// Whether Thai text ends, before a space, in a word of politeness, which stands at the end of a sentence. `คะ` also follows the
/// name of who is spoken to; it ends a sentence after a word of a question.
pub(super) fn ends_in_particle(text: &str, whole: &str) -> bool {
    const PARTICLES: [&str; 13] =
        ["ครับ", "ค่ะ", "จ้ะ", "นะคะ", "ไหมคะ", "มั้ยคะ", "ยังคะ", "หรือคะ", "เหรอคะ", "ไรคะ", "ไหนคะ", "ใครคะ", "ไงคะ"];
    whole[text.len()..].starts_with(' ') && PARTICLES.iter().any(|particle| text.ends_with(particle))
}

/// Whether a Thai sentence goes on behind a word of politeness and a space: with a conjunction, or with what is no word.
pub(super) fn goes_on_after_particle(after: &str) -> bool {
    const CONJUNCTIONS: [&str; 8] = ["และ", "แต่", "หรือ", "เพราะ", "ซึ่ง", "ที่", "ว่า", "โดย"];
    let begins = |c: char| c.is_alphabetic() && !matches!(c, 'ๆ' | 'ฯ') || c.is_numeric();
    !after.starts_with(begins)
        || word_ends(after_window(after)).first().is_some_and(|end| CONJUNCTIONS.contains(&&after[..*end]))
}

/// As much of a text as shows its first word.
fn after_window(text: &str) -> &str {
    const AHEAD: usize = 30;
    text.char_indices().nth(AHEAD).map_or(text, |(at, _)| &text[..at])
}

fn hangs_wide(c: char) -> bool {
    hangs(c) || "ー々ゝゞ・％っゃゅょぁぃぅぇぉッャュョァィゥェォๆฯ〜".contains(c)
}

const fn opens_wide(c: char) -> bool {
    matches!(c, '「' | '『' | '（' | '【' | '《' | '〈' | '〔' | '［' | '｛' | '“' | '‘' | '(' | '[' | '«' | '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole() {
        assert_eq!(breakable("ภาษาไทยไม่มีช่องว่าง"), ["ภาษา", "ไทย", "ไม่มี", "ช่อง", "ว่าง"]);
        assert_eq!(breakable("ພາສາລາວ"), ["ພາສາ", "ລາວ"]);
        assert_eq!(breakable("私は学生です。"), ["私", "は", "学生", "です。"]);
        assert_eq!(breakable("「我们」上周，查看"), ["「我们」", "上周，", "查看"]);
        assert_eq!(breakable("plain-text.com"), ["plain-text.com"]);
        assert_eq!(breakable("안녕하세요"), ["안녕하세요"]);
    }
}
