//! A text that is too long for the context: it is cut between its lines, each piece is asked for itself, and a last request makes one
//! reply of all.

use std::ops::Range;

use super::usage::estimated_tokens;

/// The most pieces of a text. A text of more is not cut: its replies would not fit into one request.
pub const MOST_PIECES: usize = 40;
/// The lines at the end of a piece that the next one begins with again, so that nothing is torn from what it belongs to.
const OVERLAP: usize = 2;

/// The pieces of a text, each of at most so many tokens, cut at the ends of lines: each begins with the last lines of the one before
/// it. A line that is longer is cut in itself.
#[must_use]
pub fn pieces(text: &str, most_tokens: u64) -> Vec<Range<usize>> {
    let lines = lines(text, most_tokens.max(1));
    let tokens: Vec<u64> = lines.iter().map(|line| estimated_tokens(&text[line.clone()])).collect();
    let (mut pieces, mut from) = (Vec::new(), 0);
    while from < lines.len() {
        let (mut to, mut sum) = (from, 0);
        while to < lines.len() && (to == from || sum + tokens[to] <= most_tokens) {
            sum += tokens[to];
            to += 1;
        }
        pieces.push(lines[from].start..lines[to - 1].end);
        if to == lines.len() {
            break;
        }
        // A piece goes on by at least one line.
        let overlap = tokens[from + 1..to].iter().rev().take(OVERLAP).scan(0, |sum, own| {
            *sum += own;
            Some(*sum)
        });
        from = to - overlap.take_while(|sum| *sum * 4 <= most_tokens).count();
    }
    pieces
}

/// The lines of a text with their breaks; those that are too long in pieces.
fn lines(text: &str, most_tokens: u64) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if estimated_tokens(line) <= most_tokens {
            lines.push(start..end);
        } else {
            // A letter is at most one token.
            let most = usize::try_from(most_tokens).unwrap_or(usize::MAX);
            let mut at = start;
            while at < end {
                let rest = &text[at..end];
                let cut = rest.char_indices().nth(most).map_or(rest.len(), |(cut, _)| cut);
                let spaced = rest[..cut].rfind(' ').map(|space| space + 1).filter(|_| cut < rest.len());
                let len = spaced.filter(|len| *len > 0).unwrap_or(cut);
                lines.push(at..at + len);
                at += len;
            }
        }
        start = end;
    }
    lines
}

/// The request that makes one reply of the replies to the pieces.
#[must_use]
pub fn merging(replies: &[String]) -> String {
    let count = replies.len();
    let list: String = replies
        .iter()
        .zip(1..)
        .map(|(reply, number)| format!("\n\nReply to part {number} of {count}:\n{reply}"))
        .collect();
    format!(
        "The text was too long, and was read in {count} parts that overlap. These are the replies to the parts, in their order. \
         Make one reply to the whole text of them. Keep quotes word for word.{list}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_its_lines_and_pieces_overlap() {
        let text: String = (0..100).map(|n| format!("Customer: this is line {n:03}.\n")).collect();
        let found = pieces(&text, 80);
        assert!(found.len() > 5, "{found:?}");
        assert_eq!((found[0].start, found.last().unwrap().end), (0, text.len()));
        for pair in found.windows(2) {
            assert!(
                pair[1].start < pair[0].end && pair[1].start > pair[0].start && pair[1].end > pair[0].end,
                "{pair:?}"
            );
            assert!(text[pair[1].clone()].starts_with("Customer:"));
        }
        assert!(found.iter().all(|piece| estimated_tokens(&text[piece.clone()]) <= 90));
        assert_eq!(pieces("short", 80), vec![Range { start: 0, end: 5 }]);
        assert!(pieces("", 80).is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_in_itself() {
        let text = "नमस्ते ".repeat(200);
        let found = pieces(&text, 50);
        let all: usize = found.iter().map(|piece| text[piece.clone()].len()).sum();
        assert!(found.len() > 5 && all >= text.len());
        assert_eq!(found.last().unwrap().end, text.len());
        assert!(!pieces("aaaa", 1).is_empty(), "it ends");
    }

    #[test]
    fn a_last_request_has_all_replies() {
        let asked = merging(&["{\"a\":1}".to_owned(), "{\"a\":2}".to_owned()]);
        assert!(asked.contains("in 2 parts") && asked.contains("Reply to part 2 of 2:\n{\"a\":2}"), "{asked}");
    }
}
