//! Breaks a cue into at most two lines of similar length.

use super::pieces::{MAX_COLUMNS, Piece};

/// Whether the pieces fit into two lines, with `label` columns taken at the start of the first.
pub(super) fn fit(pieces: &[Piece<'_>], label: usize) -> bool {
    width(pieces) + label <= MAX_COLUMNS || break_at(pieces, label).is_some()
}

/// One line if it fits, else the two that differ least in length, else as many as necessary.
pub(super) fn lines(pieces: &[Piece<'_>], label: usize) -> Vec<String> {
    if width(pieces) + label <= MAX_COLUMNS {
        return vec![join(pieces)];
    }
    match break_at(pieces, label) {
        Some(at) => vec![join(&pieces[..at]), join(&pieces[at..])],
        None => fill(pieces),
    }
}

/// Where to break into two lines: as even as possible, preferably after a comma, preferably with the longer line below.
fn break_at(pieces: &[Piece<'_>], label: usize) -> Option<usize> {
    let (mut first, all) = (label, width(pieces));
    let mut best = None;
    for (at, pair) in pieces.windows(2).enumerate() {
        first += pair[0].columns() + usize::from(at > 0 && !pair[0].glued);
        let second = all + label - first - usize::from(!pair[1].glued);
        if first > MAX_COLUMNS {
            break;
        }
        if second <= MAX_COLUMNS {
            let seam = if pair[1].bound {
                40
            } else if ends_clause(pair[0].text) {
                0
            } else {
                8
            };
            let cost = first.max(second) * 2 + usize::from(first > second) + seam;
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, at + 1));
            }
        }
    }
    best.map(|(_, at)| at)
}

/// Lines for a cue that exceeds two lines.
fn fill(pieces: &[Piece<'_>]) -> Vec<String> {
    let (mut lines, mut from) = (Vec::new(), 0);
    for to in 1..=pieces.len() {
        if to == pieces.len() || width(&pieces[from..=to]) > MAX_COLUMNS {
            lines.push(join(&pieces[from..to]));
            from = to;
        }
    }
    lines
}

/// Columns of the pieces on one line.
pub(super) fn width(pieces: &[Piece<'_>]) -> usize {
    let spaces = pieces.iter().skip(1).filter(|p| !p.glued).count();
    pieces.iter().map(|piece| piece.columns()).sum::<usize>() + spaces
}

fn join(pieces: &[Piece<'_>]) -> String {
    let mut line = String::new();
    for piece in pieces {
        if !line.is_empty() && !piece.glued {
            line.push(' ');
        }
        line.push_str(piece.text);
    }
    line
}

/// Whether this word ends in a mark that can end a sentence.
pub(super) fn has_stop(word: &str) -> bool {
    bare(word).ends_with(['.', '!', '?', '…', '。', '！', '？', '।', '॥', '؟', '۔', '։', ';', '።', '။', '។', '．', ':'])
}

/// Whether a pause is possible after this word.
pub(super) fn ends_clause(word: &str) -> bool {
    has_stop(word) || bare(word).ends_with([',', ';', ':', '–', '—', '，', '、', '；', '：', '،', '؛'])
}

fn bare(word: &str) -> &str {
    word.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»', '」', '』', '）'])
}
