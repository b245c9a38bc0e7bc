//! Texts that are lists of words.

use crate::domain::cut::is_unspaced;

/// The amount of text, without spaces.
#[must_use]
pub fn letters(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).count()
}

/// Whether there is no space between two words of a list: in scripts without spaces, and before lone punctuation.
#[must_use]
pub fn sticks(last: char, after: &str) -> bool {
    let Some(first) = after.chars().next() else { return false };
    (is_unspaced(last) && is_unspaced(first))
        || after.chars().all(|c| ".,;:!?%)]}…।、。，．！？：；）」』】》〉〕・％".contains(c))
}

/// Appends a word of a list, after a space where there is one.
pub fn append(text: &mut String, word: &str) {
    let word = word.trim();
    if text.chars().next_back().is_some_and(|last| !sticks(last, word)) && !word.is_empty() {
        text.push(' ');
    }
    text.push_str(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_text() {
        let joined = |words: &[&str]| {
            let mut text = String::new();
            words.iter().for_each(|word| append(&mut text, word));
            text
        };
        assert_eq!(joined(&["Hello", ",", " you ", "", "?"]), "Hello, you?");
        assert_eq!(joined(&["你好", "，", "世界"]), "你好，世界");
        assert!(sticks('世', "界") && sticks('d', ".") && !sticks('녕', "하세요") && !sticks('a', "b"));
        assert_eq!(letters(" a\u{7} bc\n"), 3);
    }
}
