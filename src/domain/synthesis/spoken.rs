//! The words of a part with their times, as the voice spoke them; and how they are kept behind the part's audio.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a clip with words ends with. Audio does not end like this by chance: the length before it fits, and JSON of words
/// comes before that.
const MARK: [u8; 8] = *b"wbwords\x01";
/// The bytes behind the words: their length as a little-endian `u32`, then the mark.
pub const TAIL: usize = 4 + MARK.len();
/// How far behind a word the next one is looked for, in bytes.
const NEAR: usize = 200;

/// A word and its time from the start of its part's audio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokenWord {
    /// The word, as the text has it.
    #[serde(rename = "w")]
    pub word: String,
    /// The start, in ms.
    #[serde(rename = "s")]
    pub start_ms: u64,
    /// The end, in ms.
    #[serde(rename = "e")]
    pub end_ms: u64,
}

/// The audio of a clip with its words behind it. Without words it stays as it is.
#[must_use]
pub fn with_words(mut audio: Vec<u8>, words: &[SpokenWord]) -> Vec<u8> {
    if words.is_empty() {
        return audio;
    }
    let json = serde_json::to_vec(words).expect("texts and numbers always make JSON");
    let Ok(length) = u32::try_from(json.len()) else { return audio };
    audio.extend_from_slice(&json);
    audio.extend_from_slice(&length.to_le_bytes());
    audio.extend_from_slice(&MARK);
    audio
}

/// How many bytes of a clip with this end are words, the tail included; `None`: it has none. `tail` has the last [`TAIL`] bytes.
#[must_use]
pub fn words_len(tail: &[u8], clip_len: u64) -> Option<u64> {
    let (length, mark) = tail.split_first_chunk::<4>()?;
    if *mark != MARK {
        return None;
    }
    let all = u64::from(u32::from_le_bytes(*length)) + TAIL as u64;
    (all <= clip_len).then_some(all)
}

/// Reads the words of a clip; `end` has as many bytes as [`words_len`] says. `None`: it is audio after all.
#[must_use]
pub fn read_words(end: &[u8]) -> Option<Vec<SpokenWord>> {
    serde_json::from_slice(end.get(..end.len().checked_sub(TAIL)?)?).ok()
}

/// Where each word stands in the text, with the punctuation around it, and its time. Words that are not
/// in the text, in this order, are left out.
pub(super) fn placed<'w>(text: &str, words: &'w [SpokenWord]) -> Vec<(Range<usize>, &'w SpokenWord)> {
    let mut starts: Vec<(usize, &SpokenWord)> = Vec::with_capacity(words.len());
    let mut from = 0;
    for word in words.iter().filter(|word| !word.word.trim().is_empty()) {
        let own = word.word.trim();
        if let Some(at) = find(text, from, own) {
            // An opening quotation mark belongs to the word behind it.
            let before = text[from..at].trim_end_matches(|c: char| !c.is_whitespace());
            starts.push((from + before.len(), word));
            from = at + own.len();
        }
    }
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([text.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).map(|((at, word), end)| (at..end, word)).collect()
}

/// The next place of a word behind `from`, where a word may begin.
fn find(text: &str, from: usize, word: &str) -> Option<usize> {
    let joins = |c: char| c.is_alphanumeric();
    let begins_joined = word.chars().next().is_some_and(joins);
    text.get(from..)?.match_indices(word).map(|(at, _)| from + at).take_while(|at| at - from <= NEAR).find(|at| {
        let before = text[..*at].chars().next_back();
        *at == from || !begins_joined || !before.is_some_and(joins)
    })
}

/// Whether each piece of a text with letters or digits has one of these places in it.
pub(super) fn covers(text: &str, range: &Range<usize>, places: &[(Range<usize>, &SpokenWord)]) -> bool {
    let mut at = range.start;
    text[range.clone()].split_inclusive(char::is_whitespace).all(|piece| {
        let own = at..at + piece.len();
        at = own.end;
        !piece.chars().any(char::is_alphanumeric) || places.iter().any(|(place, _)| own.contains(&place.start))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &str, start_ms: u64) -> SpokenWord {
        SpokenWord { word: text.into(), start_ms, end_ms: start_ms + 100 }
    }

    fn kept(clip: &[u8]) -> (usize, Option<Vec<SpokenWord>>) {
        let tail = &clip[clip.len().saturating_sub(TAIL)..];
        let Some(len) = words_len(tail, clip.len() as u64) else { return (clip.len(), None) };
        let audio = clip.len() - usize::try_from(len).unwrap();
        (audio, read_words(&clip[audio..]))
    }

    #[test]
    fn words_are_placed_in_order_and_take_what_follows_them() {
        let text = "A man, at last — \"paid\" $100. And a dog";
        let words = ["A", "man", "at", "last", "paid", "$100", "nowhere", "And", "a", "dog"].map(|own| word(own, 0));
        let placed = placed(text, &words);
        let said: Vec<_> = placed.iter().map(|(range, _)| &text[range.clone()]).collect();
        assert_eq!(said, ["A ", "man, ", "at ", "last — ", "\"paid\" ", "$100. ", "And ", "a ", "dog"]);
        assert!(covers(text, &(0..text.len()), &placed));
        assert!(!covers(text, &(0..text.len()), &placed[..3]));
        let words = ["well", "known"].map(|own| word(own, 0));
        let parts = super::placed("well-known", &words);
        assert_eq!(parts.iter().map(|(range, _)| range.clone()).collect::<Vec<_>>(), [0..4, 4..10]);
    }

    #[test]
    fn a_word_is_not_found_within_another_one_nor_far_away() {
        let text = format!("Banana {}an", "x ".repeat(200));
        assert_eq!(placed(&text, &[word("an", 0)]), []);
        assert_eq!(placed("Banana an", &[word("an", 5)])[0].0, 7..9);
        assert_eq!(placed("नमस्ते दुनिया", &[word("नमस्ते", 0), word("दुनिया", 9)]).len(), 2);
    }

    #[test]
    fn audio_without_words_stays_as_it_is() {
        assert_eq!(with_words(vec![1, 2], &[]), [1, 2]);
        let mut lies = [7u8; 40].to_vec();
        lies.extend(1_000u32.to_le_bytes());
        lies.extend(MARK);
        assert_eq!(kept(&lies), (lies.len(), None), "longer than the clip");
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(audio in proptest::collection::vec(any::<u8>(), 0..200), texts in proptest::collection::vec(".{1,9}", 0..20)) {
            let words: Vec<_> = texts.iter().zip(0u64..).map(|(text, nth)| word(text, nth * 7)).collect();
            let clip = with_words(audio.clone(), &words);
            let (len, read) = kept(&clip);
            prop_assert_eq!(&clip[..len], &audio[..]);
            prop_assert_eq!(read.unwrap_or_default(), words);
        }
    }
}
