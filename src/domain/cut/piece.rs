//! Where to cut a sentence that is too long for one part.

use unicode_segmentation::UnicodeSegmentation;

use super::{
    marks::{
        EndMark, closes, hangs, is_comma, is_dash, is_either_quote, is_in_title, is_inside_grapheme, is_long_dash,
        is_spaced_comma, is_spaceless, is_unspaced, stop,
    },
    point::{Point, point},
    unspaced::{may_break, word_ends},
    words::Words,
};

/// A place where a sentence may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seam {
    /// At a comma, a dash, or a similar mark.
    Clause,
    /// Between two words.
    Word,
    /// Between an abbreviation, an initial or an ordinal and what belongs to it.
    Bound,
}

/// The end of the first piece of at most `limit` characters, in bytes; `None` if the text is no longer than that.
/// Looks at no more than `limit` characters and a few next to them, however long the text is.
pub(super) fn cut_at(text: &str, limit: usize, words: &Words) -> Option<usize> {
    let end = text.char_indices().nth(limit)?.0;
    let found = last_seams(text, (0, end), words);
    // Where no space is needed between words, one that is far from the end says little.
    let near = |at: &usize| *at * 2 > end;
    let is_unspaced_here = text[end..].starts_with(is_unspaced) || text[..end].ends_with(is_unspaced);
    if is_unspaced_here {
        let (clause, word) = (found.clause, found.word.filter(near));
        return clause
            .or(word)
            .or_else(|| between_words(text, end))
            .or(found.word)
            .or_else(|| Some(inside_word(text, end)));
    }
    found.clause.or(found.word).or(found.bound).or_else(|| Some(inside_word(text, end)))
}

/// A place from `least` (in bytes) to the `limit`th character that is better than the doubtful end of a sentence: a comma or
/// a similar mark, else a space.
pub(super) fn better_cut(text: &str, least: usize, limit: usize, words: &Words) -> Option<usize> {
    let end = text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at);
    let found = last_seams(text, (least, end), words);
    found.clause.or(found.word)
}

/// Whether a point at the end of a text belongs to it and to what follows.
pub(super) fn is_bound(before: &str, after: &str, words: &Words) -> bool {
    seam_at_space(before, after, words) == Some(Seam::Bound)
}

/// The last seams of each kind.
#[derive(Default)]
struct LastSeams {
    clause: Option<usize>,
    word: Option<usize>,
    bound: Option<usize>,
}

fn last_seams(text: &str, (from, to): (usize, usize), words: &Words) -> LastSeams {
    let mut found = LastSeams::default();
    let mut before = text[..from].chars().next_back().unwrap_or('\0');
    for (at, next) in text[from..].char_indices().map(|(at, c)| (from + at, c)).take_while(|(at, _)| *at <= to) {
        match if at > 0 { seam(text, at, (before, next), words) } else { None } {
            Some(Seam::Clause) => found.clause = Some(at),
            Some(Seam::Word) => found.word = Some(at),
            Some(Seam::Bound) => found.bound = Some(at),
            None => {}
        }
        before = next;
    }
    found
}

/// The last end of a word of a script without spaces, not after `end`.
fn between_words(text: &str, end: usize) -> Option<usize> {
    /// The dictionaries need the whole word, and some of what follows it.
    const AHEAD: usize = 30;
    let window = text[end..].char_indices().nth(AHEAD).map_or(text, |(at, _)| &text[..end + at]);
    let good = |at: &usize| *at <= end && may_break(text, *at) && !is_inside_grapheme(text, *at);
    word_ends(window).into_iter().rev().find(good)
}

/// The kind of seam at `at`, between two characters. The seam of a space is before the space.
fn seam(text: &str, at: usize, (before, next): (char, char), words: &Words) -> Option<Seam> {
    if next == ' ' {
        return seam_at_space(&text[..at], &text[at + 1..], words).filter(|_| !is_inside_grapheme(text, at + 1));
    }
    let done = &text[..at];
    let seam = match before {
        ' ' => return None,
        // Characters that separate words without a space.
        '\u{200b}' | '\u{f0b}' | '\u{1361}' => Seam::Word,
        c if is_comma(c) || closes(c) && follows_comma(done) => Seam::Clause,
        // The stop of a quote, or a pause, where no space is written.
        _ if is_unspaced(next) && follows_stop(done) => Seam::Clause,
        c if (is_long_dash(c) || done.ends_with("--")) && !begins_word(done) => Seam::Clause,
        _ => return None,
    };
    let stays = hangs(next)
        || is_dash(next)
        || is_either_quote(next)
        || next.is_numeric() && done[..at - before.len_utf8()].ends_with(char::is_numeric)
        || is_inside_grapheme(text, at);
    (!stays).then_some(seam)
}

fn seam_at_space(before: &str, after: &str, words: &Words) -> Option<Seam> {
    let next = after.chars().next().filter(|c| !hangs(*c))?;
    let rest = &after[next.len_utf8()..];
    let bare = before.trim_end_matches(|c| closes(c) || is_either_quote(c));
    let last = bare.chars().next_back().unwrap_or(' ');
    let stops = match stop(last) {
        Some(EndMark::Point) if bare[..bare.len() - 1].ends_with(is_spaceless) => return Some(Seam::Bound),
        Some(EndMark::Point) => match point(words, &bare[..bare.len() - 1], after) {
            Point::End => true,
            Point::Inside | Point::Doubtful => return Some(Seam::Bound),
        },
        other => other.is_some(),
    };
    if stops || is_spaced_comma(last) || is_comma(last) || is_dash(last) && parts_clauses(before) {
        return Some(Seam::Clause);
    }
    match is_dash(next) {
        // A dash between two spaces stays with the text before it.
        true if rest.starts_with(' ') => None,
        true if is_long_dash(next) && !rest.starts_with(is_dash) => Some(Seam::Clause),
        // Thai and its neighbours write a space between clauses.
        _ if is_spaceless(last) && is_spaceless(next) => Some(Seam::Clause),
        _ => Some(Seam::Word),
    }
}

/// Whether a comma precedes the closing marks at the end: `，」`.
fn follows_comma(text: &str) -> bool {
    text.trim_end_matches(closes).ends_with(is_comma)
}

/// Whether a stop that is no point precedes the closing marks at the end: `？”`; not in a title.
fn follows_stop(text: &str) -> bool {
    let bare = text.trim_end_matches(|c| closes(c) || is_either_quote(c));
    let last = bare.chars().next_back().and_then(stop);
    last.is_some_and(|stop| stop != EndMark::Point) && !is_in_title(text)
}

/// Whether the dash at the end begins a word: `—Hola`, `--flag`.
fn begins_word(text: &str) -> bool {
    let bare = text.trim_end_matches(is_dash);
    bare.is_empty() || bare.ends_with(' ')
}

/// Whether the dash at the end, before a space, is more than a hyphen (`pre- and post-war`) or a bullet.
fn parts_clauses(text: &str) -> bool {
    let bare = text.trim_end_matches(is_dash);
    !bare.is_empty() && (bare.ends_with(' ') || text.ends_with("--") || !text.ends_with(['-', '‐']))
}

/// The last boundary between two graphemes up to `limit`. A boundary next to closing marks or a space is used only if there is
/// no other. A single grapheme of more than `limit` bytes is cut, because the API takes no longer text.
fn inside_word(text: &str, limit: usize) -> usize {
    let window = text[limit..].chars().next().map_or(text, |next| &text[..limit + next.len_utf8()]);
    let mut last = None;
    // Backwards, because a forward search would look up each character of a long word.
    for (at, grapheme) in window.grapheme_indices(true).rev().take_while(|(at, _)| *at > 0) {
        if !grapheme.starts_with(|c| c == ' ' || hangs(c)) {
            return at;
        }
        last = last.or(Some(at));
    }
    last.unwrap_or(limit)
}
