//! `[Anna]: Yes.`: text, unless it is the address of a link.

use std::{collections::HashSet, ops::Range, sync::LazyLock};

use pulldown_cmark::LinkType;
use regex::Regex;

use super::super::{left_out::LeftOut, source::Edit};

/// A line that Markdown reads as the address of a link: its label and its address.
static DEFINITION: LazyLock<Regex> = LazyLock::new(|| {
    let markers = r"(?m)^[\t >]*(?:(?:[-+*]|\d{1,9}[.)])[\t ]+)*";
    let label = r"(?<open>\[)(?<label>(?:[^\[\]\\]|\\.)+)\]:[\t ]*";
    Regex::new(&format!(r"{markers}{label}(?:\n[\t >]*)?(?<address><[^<>\n]*>|\S+)")).expect("the expression is valid")
});

/// Labels that are referred to, and the places that the parser reads as text.
#[derive(Default)]
pub(super) struct Links {
    /// By `[text][label]` or `[label][]`.
    referred: HashSet<String>,
    /// By `[label]`, which may as well be text in brackets.
    in_brackets: HashSet<String>,
    /// Ascending.
    covered: Vec<Range<usize>>,
}

impl Links {
    pub(super) fn refer(&mut self, how: LinkType, label: &str) {
        match how {
            LinkType::Reference | LinkType::Collapsed => self.referred.insert(normal(label)),
            LinkType::Shortcut => self.in_brackets.insert(normal(label)),
            _ => false,
        };
    }

    pub(super) fn cover(&mut self, range: Range<usize>) {
        self.covered.push(range);
    }

    /// The edits by which addresses that are none become text.
    pub(super) fn edits(&self, text: &str, left_out: &mut LeftOut) -> Vec<Edit> {
        let mut edits = Vec::new();
        if !text.contains("]:") {
            return edits;
        }
        for found in DEFINITION.captures_iter(text) {
            let (at, label, address) =
                (found.name("open").map_or(0, |m| m.start()), &found["label"], &found["address"]);
            if label.starts_with('^') || self.is_text(at) || self.referred.contains(&normal(label)) {
                continue;
            }
            if !is_address(address) {
                edits.push(Edit::escape(at));
            } else if !self.in_brackets.contains(&normal(label)) {
                left_out.link_addresses += 1;
            }
        }
        edits
    }

    fn is_text(&self, at: usize) -> bool {
        let next = self.covered.partition_point(|range| range.end <= at);
        self.covered.get(next).is_some_and(|range| range.start <= at)
    }
}

/// Labels are compared without case, and with single spaces.
fn normal(label: &str) -> String {
    label.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether a word looks like the address of a link.
pub(in super::super) fn is_address(word: &str) -> bool {
    let has_scheme = word.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty() && !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let ending = word.rsplit_once('.').map_or("", |(name, ending)| if name.is_empty() { "" } else { ending });
    let has_ending = (1..=5).contains(&ending.len()) && ending.chars().all(|c| c.is_ascii_alphanumeric());
    has_scheme || has_ending || word.contains('/') || word.starts_with(['#', '<'])
}
