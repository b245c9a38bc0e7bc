//! HTML inside Markdown: its text is read aloud, its tags are not, and what is no tag of HTML is text.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    super::{
        left_out::{LeftOut, letters},
        source::Edit,
    },
    code::holds_prose,
};
use crate::domain::html::{HtmlTag, Markup, Meaning, element_end, markup, may_stand_alone, meaning};

/// Collects the pieces of HTML of a text.
#[derive(Default)]
pub(super) struct HtmlFinder {
    /// Ascending.
    found: Vec<Found>,
    /// The first opening tag and the last closing tag of each name.
    pairs: HashMap<String, (Option<usize>, Option<usize>)>,
    /// White space at the starts of lines inside blocks.
    indents: Vec<Edit>,
}

struct Found {
    range: Range<usize>,
    /// `None`: a `<` that begins nothing, at the start of a block.
    markup: Option<Markup>,
    in_block: bool,
}

impl HtmlFinder {
    pub(super) fn inline(&mut self, text: &str, range: Range<usize>) {
        let markup = markup(&text[range.clone()]).map(|(markup, _)| markup);
        self.add(Found { range, markup, in_block: false });
    }

    pub(super) fn block(&mut self, text: &str, range: Range<usize>) {
        let mut at = range.start;
        while let Some(next) = text[at..range.end].find('<') {
            at += next;
            let is_first = self.found.last().is_none_or(|last| last.range.start < range.start);
            // A tag or comment may end behind the block.
            match markup(&text[at..]) {
                Some((markup, length)) => {
                    self.add(Found { range: at..at + length, markup: Some(markup), in_block: true });
                    at += length;
                }
                None => {
                    if is_first {
                        self.add(Found { range: at..at + 1, markup: None, in_block: true });
                    }
                    at += 1;
                }
            }
            if at >= range.end {
                break;
            }
        }
        let mut line_start = range.start;
        for line in text[range].split_inclusive('\n') {
            let words = line.trim_start_matches([' ', '\t']);
            if line.len() > words.len() {
                self.indents.push(Edit::of(line_start..line_start + line.len() - words.len(), ""));
            }
            line_start += line.len();
        }
    }

    fn add(&mut self, found: Found) {
        if let Some(Markup::Tag(tag)) = &found.markup {
            let (first_open, last_close) = self.pairs.entry(tag.name.clone()).or_default();
            if tag.closes {
                *last_close = Some(found.range.start);
            } else {
                first_open.get_or_insert(found.range.start);
            }
        }
        self.found.push(found);
    }

    /// The edits by which only the text is left. `Err`: the place of a comment that is never closed.
    pub(super) fn edits(self, text: &str, left_out: &mut LeftOut) -> Result<Vec<Edit>, usize> {
        let Self { found, pairs, indents } = self;
        let mut tags = Tags { text, left_out, pairs, never_closed: HashSet::new(), edits: Vec::new(), done: 0 };
        for found in &found {
            if found.range.start >= tags.done {
                tags.take(found)?;
            }
        }
        let mut edits = tags.edits;
        edits.extend(indents);
        Ok(edits)
    }
}

struct Tags<'t> {
    text: &'t str,
    left_out: &'t mut LeftOut,
    pairs: HashMap<String, (Option<usize>, Option<usize>)>,
    /// Elements that are not looked for again: a text of open tags would take quadratic time.
    never_closed: HashSet<String>,
    edits: Vec<Edit>,
    /// The end of what is taken out.
    done: usize,
}

impl Tags<'_> {
    fn take(&mut self, found: &Found) -> Result<(), usize> {
        let gap = if found.in_block { "\n\n" } else { "" };
        match &found.markup {
            None => self.edits.push(Edit::escape(found.range.start)),
            Some(Markup::OpenComment) => return Err(found.range.start),
            Some(Markup::Comment) => {
                self.left_out.comments += 1;
                self.replace(found.range.clone(), gap);
            }
            Some(Markup::Tag(tag)) if self.is_markup(tag, found.range.start) => self.tag(tag, found),
            Some(Markup::Tag(_)) => self.edits.push(Edit::escape(found.range.start)),
        }
        Ok(())
    }

    /// Whether this is a tag and not text in angle brackets.
    fn is_markup(&self, tag: &HtmlTag, at: usize) -> bool {
        let (first_open, last_close) = self.pairs.get(&tag.name).copied().unwrap_or_default();
        let has_other = if tag.closes { first_open < Some(at) && first_open.is_some() } else { last_close > Some(at) };
        let is_known = meaning(&tag.name).is_some();
        tag.has_values || tag.closes_itself || has_other || is_known && (tag.closes || may_stand_alone(&tag.name))
    }

    fn tag(&mut self, tag: &HtmlTag, found: &Found) {
        let range = found.range.clone();
        match meaning(&tag.name).unwrap_or(Meaning::Inline) {
            Meaning::Inline if found.in_block => self.replace(range, ""),
            // The reader of Markdown passes over them.
            Meaning::Inline => {}
            Meaning::Break if found.in_block => self.replace(range, "\n"),
            Meaning::Break => {}
            Meaning::Block => self.replace(range, "\n\n"),
            Meaning::Rule => self.replace(range, "\n\n* * *\n\n"),
            Meaning::Image => {
                self.left_out.images += 1;
                self.left_out.letters += alternative(&self.text[range.clone()]).map_or(0, letters);
                self.replace(range, "");
            }
            Meaning::Heading if tag.closes => self.replace(range, "\n\n"),
            Meaning::Heading => self.heading(tag, range),
            Meaning::Table | Meaning::Code | Meaning::Hidden if tag.closes || tag.closes_itself => {
                self.replace(range, if found.in_block { "\n\n" } else { "" });
            }
            what @ (Meaning::Table | Meaning::Code | Meaning::Hidden) => self.element(tag, what, found),
        }
    }

    fn replace(&mut self, range: Range<usize>, with: &'static str) {
        self.done = range.end;
        self.edits.push(Edit::of(range, with));
    }

    /// A heading is one line in Markdown.
    fn heading(&mut self, tag: &HtmlTag, range: Range<usize>) {
        let end = self.end_of(tag, range.end).map_or(range.end, |end| end.start);
        let breaks = self.text[range.end..end].match_indices('\n').map(|(at, _)| range.end + at);
        self.edits.extend(breaks.map(|at| Edit::of(at..at + 1, " ")).collect::<Vec<_>>());
        self.replace(range, "\n\n# ");
    }

    fn element(&mut self, tag: &HtmlTag, what: Meaning, found: &Found) {
        let gap = if found.in_block { "\n\n" } else { "" };
        let Some(end) = self.end_of(tag, found.range.end) else {
            return self.replace(found.range.clone(), gap);
        };
        let content = &self.text[found.range.end..end.start];
        match what {
            Meaning::Code if !content.contains("<code") && holds_prose(std::iter::once(content)) => {
                return self.replace(found.range.clone(), "\n\n");
            }
            Meaning::Code => self.left_out.code_blocks += 1,
            Meaning::Table => self.left_out.tables += 1,
            _ => self.left_out.html_elements += 1,
        }
        if what != Meaning::Hidden {
            self.left_out.letters += letters(&without_tags(content));
        }
        self.replace(found.range.start..end.end, gap);
    }

    fn end_of(&mut self, tag: &HtmlTag, from: usize) -> Option<Range<usize>> {
        if self.never_closed.contains(&tag.name) {
            return None;
        }
        let end = element_end(self.text, from, &tag.name);
        if end.is_none() {
            self.never_closed.insert(tag.name.clone());
        }
        end
    }
}

/// The alternative text of an image.
fn alternative(tag: &str) -> Option<&str> {
    let value = tag[tag.to_ascii_lowercase().find("alt=")? + 4..].trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next()
}

fn without_tags(content: &str) -> String {
    let (mut text, mut rest) = (String::new(), content);
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let length = markup(&rest[at..]).map_or(1, |(_, length)| length);
        rest = &rest[at + length..];
    }
    text + rest
}
