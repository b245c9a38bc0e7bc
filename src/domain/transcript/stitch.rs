//! One transcript out of the answers for pieces of a recording that overlap.
//!
//! Two pieces share two seconds. Where both have the same word at the same time, the first is followed up to that word, and the
//! second from there on: what the edge of a piece cuts off is never used.

use std::ops::Range;

use super::{
    Transcript,
    text::append,
    timeline::{TimedText, Timeline},
};
use crate::domain::hearing::Stretch;

/// The same word in two pieces begins at the same time, give or take so much, in ms.
const SAME_MS: u64 = 400;
/// A word so near to the edge of a piece may be cut off, in ms.
const EDGE_MS: u64 = 150;
/// The most words that are compared where there are no times: more than anybody says in the overlap.
const MOST_WORDS: usize = 16;

/// A piece of a recording, and its answer with the times of the recording.
#[derive(Debug, Clone)]
pub struct Answered {
    /// From when to when it was sent.
    pub covers: Stretch,
    /// What is said in it.
    pub said: Transcript,
}

/// What was joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stitched {
    /// The whole.
    pub whole: Transcript,
    /// Joints at which both pieces have words and no word is the same.
    pub doubtful: usize,
    /// Whether the speakers of a piece could not be found in the one before: they have numbers of their own.
    pub has_new_speakers: bool,
}

impl Stitched {
    /// The transcript of pieces, which are in order.
    #[must_use]
    pub fn of(pieces: &[Answered]) -> Self {
        let mut stitched = Self::default();
        let (mut from, mut speakers) = (Kept::default(), Speakers::default());
        for (nth, piece) in pieces.iter().enumerate() {
            let joint = pieces.get(nth + 1).map(|next| Joint::of(piece, next));
            stitched.doubtful += usize::from(joint.as_ref().is_some_and(|joint| joint.is_doubtful));
            let to = joint.as_ref().map(|joint| joint.first);
            stitched.has_new_speakers |= speakers.next(piece);
            append_piece(&mut stitched.whole, piece, (from, to), &speakers.names);
            if let (Some(joint), Some(next)) = (&joint, pieces.get(nth + 1)) {
                speakers.follow(&piece.said, &next.said, &joint.pairs);
                from = joint.second;
            }
        }
        let said = || pieces.iter().map(|piece| &piece.said);
        stitched.whole.language = said().find_map(|said| said.language.clone());
        stitched.whole.request_id = said().find_map(|said| said.request_id.clone());
        stitched.whole.utterances.sort();
        stitched
    }
}

/// Where a piece begins or ends to be used.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    /// The index of a word.
    word: usize,
    /// The index of a word of the text, where words have no times.
    token: usize,
    /// The time, in ms.
    at_ms: u64,
}

/// How two pieces are joined.
struct Joint {
    /// Where the first one is left.
    first: Kept,
    /// Where the second one is entered.
    second: Kept,
    /// Words that both have.
    pairs: Vec<(usize, usize)>,
    is_doubtful: bool,
}

impl Joint {
    fn of(a: &Answered, b: &Answered) -> Self {
        let common = Stretch { from_ms: b.covers.from_ms, to_ms: a.covers.to_ms.max(b.covers.from_ms) };
        let (tokens_a, tokens_b) = (a.said.text.split_whitespace().count(), 0);
        if common.is_empty() {
            // A silence was cut out between the two.
            let first = Kept { word: a.said.words.len(), token: tokens_a, at_ms: common.to_ms };
            let second = Kept { word: 0, token: tokens_b, at_ms: common.to_ms };
            return Self { first, second, pairs: Vec::new(), is_doubtful: false };
        }
        let (first_token, second_token, is_same) = by_text(&a.said.text, &b.said.text);
        let (words_a, words_b) = (in_common(&a.said.words, common), in_common(&b.said.words, common));
        if a.said.words.is_empty() || b.said.words.is_empty() {
            let at_ms = common.from_ms.midpoint(common.to_ms);
            let first = Kept { word: a.said.words.len(), token: first_token, at_ms };
            let second = Kept { word: 0, token: second_token, at_ms };
            let both = !(a.said.is_empty() || b.said.is_empty());
            return Self { first, second, pairs: Vec::new(), is_doubtful: both && !is_same };
        }
        let a_words: Vec<_> = a.said.words.iter().collect();
        let b_words: Vec<_> = b.said.words.iter().collect();
        let pairs = pairs((&a_words, words_a.clone()), (&b_words, words_b.clone()));
        let middle = common.from_ms.midpoint(common.to_ms);
        let by_words = pairs
            .iter()
            .filter(|(i, j)| !is_cut(a_words[*i], a.covers) && !is_cut(b_words[*j], b.covers))
            .min_by_key(|(i, j)| a_words[*i].start_ms.midpoint(b_words[*j].end_ms).abs_diff(middle));
        let (word_a, word_b) = match by_words {
            Some((i, j)) => (i + 1, j + 1),
            None => by_time((&a_words, words_a.clone()), (&b_words, words_b.clone()), (middle, a.covers, b.covers)),
        };
        let left = word_a.checked_sub(1).map_or(common.from_ms, |last| a_words[last].end_ms);
        let entered = b_words.get(word_b).map_or(common.to_ms, |next| next.start_ms);
        let at_ms = left.midpoint(entered).clamp(common.from_ms, common.to_ms);
        let has_whole =
            |words: &[TimedText<'_>], of: Range<usize>| words[of].iter().any(|word| is_within(*word, common));
        let is_doubtful = by_words.is_none() && has_whole(&a_words, words_a) && has_whole(&b_words, words_b);
        let first = Kept { word: word_a, token: first_token, at_ms };
        Self { first, second: Kept { word: word_b, token: second_token, at_ms }, pairs, is_doubtful }
    }
}

/// The words that are at least partly in this stretch.
fn in_common(words: &Timeline, common: Stretch) -> Range<usize> {
    let from = words.iter().position(|word| word.end_ms > common.from_ms).unwrap_or(words.len());
    let to = words.iter().rposition(|word| word.start_ms < common.to_ms).map_or(0, |last| last + 1);
    from..to.max(from)
}

/// Whether both pieces have all of a word.
fn is_within(word: TimedText<'_>, common: Stretch) -> bool {
    word.start_ms >= common.from_ms + EDGE_MS && word.end_ms + EDGE_MS <= common.to_ms
}

/// Whether the edge of its piece may have cut a word off.
fn is_cut(word: TimedText<'_>, covers: Stretch) -> bool {
    let is_at_begin = covers.from_ms > 0 && word.start_ms < covers.from_ms + EDGE_MS;
    is_at_begin || word.end_ms + EDGE_MS > covers.to_ms
}

/// The words that are the same in both lists, in order.
fn pairs(
    (a, of_a): (&[TimedText<'_>], Range<usize>),
    (b, of_b): (&[TimedText<'_>], Range<usize>),
) -> Vec<(usize, usize)> {
    let same = |i: usize, j: usize| {
        let is_near = a[i].start_ms.abs_diff(b[j].start_ms) <= SAME_MS || a[i].end_ms.abs_diff(b[j].end_ms) <= SAME_MS;
        is_near && plain(a[i].text) == plain(b[j].text)
    };
    let apart = |i: usize, j: usize| a[i].start_ms.abs_diff(b[j].start_ms);
    let (mut pairs, mut next) = (Vec::new(), of_b.start);
    for i in of_a.clone() {
        // Of a word that is said twice, each is nearest to itself.
        let nearest = (next..of_b.end).filter(|j| same(i, *j)).min_by_key(|j| apart(i, *j));
        let is_mutual = |j: usize| of_a.clone().all(|other| !same(other, j) || apart(i, j) <= apart(other, j));
        if let Some(j) = nearest.filter(|j| is_mutual(*j)) {
            pairs.push((i, j));
            next = j + 1;
        }
    }
    pairs
}

/// A word by its letters and digits alone.
fn plain(word: &str) -> String {
    let plain: String = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if plain.is_empty() { word.trim().to_owned() } else { plain }
}

/// Where two lists without a common word are joined: in the middle, where no word is said if that can be.
fn by_time(
    (a, of_a): (&[TimedText<'_>], Range<usize>),
    (b, of_b): (&[TimedText<'_>], Range<usize>),
    (middle, covers_a, covers_b): (u64, Stretch, Stretch),
) -> (usize, usize) {
    let center = |word: TimedText<'_>| word.start_ms.midpoint(word.end_ms);
    let mut left = of_a.clone().find(|i| center(a[*i]) >= middle).unwrap_or(of_a.end);
    let mut entered = of_b.clone().find(|j| center(b[*j]) >= middle).unwrap_or(of_b.end);
    let is_same_sound = |one: TimedText<'_>, other: TimedText<'_>| {
        let common = one.end_ms.min(other.end_ms).saturating_sub(one.start_ms.max(other.start_ms));
        let shorter = (one.end_ms - one.start_ms).min(other.end_ms - other.start_ms);
        common * 2 > shorter
    };
    let (last, first) = (left.checked_sub(1).filter(|i| *i >= of_a.start), Some(entered).filter(|j| *j < of_b.end));
    if let (Some(i), Some(j)) = (last, first)
        && is_same_sound(a[i], b[j])
    {
        // One word, heard as two different ones: that of the piece whose edge is farther away counts.
        let (to_end, to_begin) =
            (covers_a.to_ms.saturating_sub(a[i].end_ms), b[j].start_ms.saturating_sub(covers_b.from_ms));
        if to_end >= to_begin { entered += 1 } else { left -= 1 }
    }
    let (next, before) = (Some(left).filter(|i| *i < of_a.end), entered.checked_sub(1).filter(|j| *j >= of_b.start));
    if last.is_none_or(|i| i + 1 == left)
        && first.is_none_or(|j| j == entered)
        && let (Some(i), Some(j)) = (next, before)
        && is_same_sound(a[i], b[j])
    {
        // The same at the joint itself: both lists leave it to the other one.
        left += 1;
    }
    (left, entered)
}

/// Where two texts without times are joined: after the longest run of words with which the one ends and the other begins, up to
/// two words of each that the edge cuts off aside. Counted in words of the texts. Also whether there is such a run.
fn by_text(a: &str, b: &str) -> (usize, usize, bool) {
    let (a, b): (Vec<_>, Vec<_>) =
        (a.split_whitespace().map(plain).collect(), b.split_whitespace().map(plain).collect());
    let mut best = (0, 0, 0);
    for (cut_a, cut_b) in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (1, 2), (2, 2)] {
        let (Some(end), Some(rest)) = (a.len().checked_sub(cut_a), b.get(cut_b..)) else { continue };
        let run = (1..=MOST_WORDS.min(end).min(rest.len())).rev().find(|len| a[end - len..end] == rest[..*len]);
        let run = run.unwrap_or(0);
        // A single word may be the same by chance, unless nothing is cut off.
        if run > best.0 && (run > 1 || cut_a + cut_b == 0) {
            best = (run, end, cut_b + run);
        }
    }
    match best {
        (0, ..) => (a.len(), 0, false),
        (_, left, entered) => (left, entered, true),
    }
}

/// Appends what is used of a piece.
fn append_piece(whole: &mut Transcript, piece: &Answered, (from, to): (Kept, Option<Kept>), names: &[u32]) {
    let said = &piece.said;
    let of = |speaker: Option<u32>| speaker.map(|own| names.get(own as usize).copied().unwrap_or(own));
    let used = from.word..to.map_or(said.words.len(), |to| to.word);
    for (_, word) in said.words.iter().enumerate().filter(|(nth, _)| used.contains(nth)) {
        whole.words.push(TimedText { speaker: of(word.speaker), ..word });
    }
    append(&mut whole.text, &text_of(said, &used, (from.token, to.map(|to| to.token))));
    let (begin, end) = (from.at_ms, to.map_or(u64::MAX, |to| to.at_ms));
    for utterance in said.utterances.iter() {
        let (start_ms, end_ms) = (utterance.start_ms.max(begin), utterance.end_ms.min(end));
        if start_ms == utterance.start_ms && end_ms == utterance.end_ms {
            whole.utterances.push(TimedText { speaker: of(utterance.speaker), ..utterance });
        } else if start_ms < end_ms {
            // What crosses the joint has the words on this side of it.
            let mut text = String::new();
            let is_in = |word: &TimedText<'_>| {
                let middle = word.start_ms.midpoint(word.end_ms);
                (utterance.start_ms..=utterance.end_ms).contains(&middle)
            };
            let words = said.words.iter().enumerate().filter(|(nth, word)| used.contains(nth) && is_in(word));
            words.for_each(|(_, word)| append(&mut text, word.text));
            if !text.is_empty() {
                let speaker = of(utterance.speaker);
                whole.utterances.push(TimedText { text: &text, start_ms, end_ms, speaker });
            }
        }
    }
}

/// The text of the words that are used, as it is written in the answer where its words are found there.
fn text_of(said: &Transcript, used: &Range<usize>, (from, to): (usize, Option<usize>)) -> String {
    let timed: usize = said.words.iter().map(|word| spoken(word.text)).sum();
    if said.words.is_empty() || timed * 20 < spoken(&said.text) * 19 {
        let tokens: Vec<_> = said.text.split_whitespace().collect();
        let to = to.unwrap_or(tokens.len()).min(tokens.len());
        return tokens.get(from..to).unwrap_or_default().join(" ");
    }
    if *used == (0..said.words.len()) {
        return said.text.trim().to_owned();
    }
    let mut places: Vec<Range<usize>> = Vec::with_capacity(said.words.len());
    for word in said.words.iter() {
        let (at, word) = (places.last().map_or(0, |last| last.end), word.text.trim());
        let Some(found) = said.text[at..].find(word) else { break };
        places.push(at + found..at + found + word.len());
    }
    if places.len() == said.words.len()
        && let (Some(first), Some(last)) = (places.get(used.start), places.get(used.end.wrapping_sub(1)))
        && !used.is_empty()
    {
        // With what is written right before and after them, as quotes and points are.
        let before = used.start.checked_sub(1).map_or(0, |before| places[before].end);
        let after = places.get(used.end).map_or(said.text.len(), |next| next.start);
        let from = said.text[before..first.start].rfind(char::is_whitespace).map_or(before, |at| before + at);
        let from = if used.start == 0 { 0 } else { from };
        let to = said.text[last.end..after].find(char::is_whitespace).map_or(after, |at| last.end + at);
        let to = if used.end == places.len() { said.text.len() } else { to };
        return said.text[from..to].trim().to_owned();
    }
    let mut text = String::new();
    let words = said.words.iter().enumerate().filter(|(nth, _)| used.contains(nth));
    words.for_each(|(_, word)| append(&mut text, word.text));
    text
}

/// How much of a text is spoken: its letters and digits.
fn spoken(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphanumeric()).count()
}

/// The numbers of the speakers of a piece in the whole: each answer counts its speakers anew.
#[derive(Debug, Default)]
struct Speakers {
    /// By the number in the piece at hand.
    names: Vec<u32>,
    /// By the number in the next piece, where it is known.
    known: Vec<Option<u32>>,
    /// How many there are so far.
    count: u32,
}

impl Speakers {
    /// Names the speakers of the next piece. Whether one of them has a new name although others were there before.
    fn next(&mut self, piece: &Answered) -> bool {
        let said = piece.said.words.iter().chain(piece.said.utterances.iter());
        let most = said.filter_map(|said| said.speaker).max().map_or(0, |most| most as usize + 1);
        let (is_first, mut is_new) = (self.count == 0, false);
        self.names.clear();
        for own in 0..most.min(1_000) {
            let known = self.known.get(own).copied().flatten();
            is_new |= known.is_none() && !is_first;
            self.names.push(known.unwrap_or(self.count));
            self.count += u32::from(known.is_none());
        }
        is_new
    }

    /// Finds the speakers of a piece in the next one, by the words that both have.
    fn follow(&mut self, a: &Transcript, b: &Transcript, pairs: &[(usize, usize)]) {
        self.known.clear();
        let (a, b): (Vec<_>, Vec<_>) =
            (a.words.iter().map(|word| word.speaker).collect(), b.words.iter().map(|word| word.speaker).collect());
        for (i, j) in pairs {
            let (Some(before), Some(now)) = (a[*i], b[*j]) else { continue };
            let (now, name) = (now as usize, self.names.get(before as usize).copied());
            self.known.resize(self.known.len().max(now + 1), None);
            let is_taken = self.known.contains(&name);
            if self.known[now].is_none() && !is_taken {
                self.known[now] = name;
            }
        }
    }
}

#[cfg(test)]
mod tests;
