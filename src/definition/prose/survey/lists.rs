//! Lists whose numbers or bullets are words of a sentence.

use super::super::source::Edit;

/// The lists that are open.
#[derive(Default)]
pub(super) struct Lists {
    open: Vec<List>,
}

struct List {
    numbered: bool,
    items: Vec<usize>,
}

impl Lists {
    pub(super) fn open(&mut self, numbered: bool) {
        self.open.push(List { numbered, items: Vec::new() });
    }

    pub(super) fn item(&mut self, at: usize) {
        if let Some(list) = self.open.last_mut() {
            list.items.push(at);
        }
    }

    /// The edits by which the markers of the innermost list are text.
    pub(super) fn close(&mut self, text: &str) -> Vec<Edit> {
        let Some(list) = self.open.pop() else { return Vec::new() };
        match (list.numbered, list.items.as_slice()) {
            (true, items) if !counts(items, text) => {
                items.iter().map(|at| Edit::escape(at + digits(&text[*at..]).len())).collect()
            }
            (false, [one]) if is_sign(text, *one) => vec![Edit::escape(*one)],
            _ => Vec::new(),
        }
    }
}

/// Whether the numbers only count the items: from 0 or 1 upwards, or always the same one.
fn counts(items: &[usize], text: &str) -> bool {
    let numbers: Option<Vec<u64>> = items.iter().map(|at| digits(&text[*at..]).parse().ok()).collect();
    let Some(numbers) = numbers else { return true };
    let steps = |by: u64| numbers.windows(2).all(|pair| pair[1] == pair[0] + by);
    numbers.len() > 1 && numbers[0] <= 1 && (steps(1) || steps(0))
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// Whether the bullet is a sign before a number, in a line that only by chance begins with it.
fn is_sign(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '\t', '>']);
    let line = before.strip_suffix('\n').map(|text| text.rsplit('\n').next().unwrap_or(text));
    let follows_text = line.is_some_and(|line| line.contains(char::is_alphanumeric));
    let after = text[at..].get(1..).unwrap_or_default().trim_start_matches([' ', '\t']);
    follows_text && after.starts_with(|c: char| c.is_ascii_digit())
}
