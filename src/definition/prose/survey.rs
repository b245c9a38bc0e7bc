//! Finds what Markdown takes for markup, and a reader would read aloud: numbers at the start of a line, `[Anna]: Yes.`,
//! `<Enter>`, indented paragraphs, text inside HTML.

mod code;
mod html;
mod links;
mod lists;

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

pub(super) use self::links::is_address;
use self::{code::CodeBlock, html::HtmlFinder, links::Links, lists::Lists};
use super::{
    left_out::{LeftOut, letters},
    source::{Edit, Source},
};

/// Enabled so that this syntax is recognized and not taken for text.
pub(super) const SYNTAX: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_GFM)
    .union(Options::ENABLE_WIKILINKS);

/// Something that is opened and never closed, so that nobody knows what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// ```` ``` ````
    CodeBlock(u64),
    /// `<!--`
    Comment(u64),
}

/// The edits by which the text says the same to a parser of Markdown as to a reader. What they take out is counted.
pub(super) fn edits(source: &Source, left_out: &mut LeftOut) -> Result<Vec<Edit>, Open> {
    let mut survey = Survey {
        source,
        left_out,
        edits: Vec::new(),
        lists: Lists::default(),
        links: Links::default(),
        html: HtmlFinder::default(),
        code: None,
    };
    for (event, range) in Parser::new_ext(&source.text, SYNTAX).into_offset_iter() {
        survey.take(&event, range)?;
    }
    survey.finish()
}

struct Survey<'s> {
    source: &'s Source,
    left_out: &'s mut LeftOut,
    edits: Vec<Edit>,
    lists: Lists,
    links: Links,
    html: HtmlFinder,
    code: Option<CodeBlock>,
}

impl Survey<'_> {
    fn take(&mut self, event: &Event<'_>, range: Range<usize>) -> Result<(), Open> {
        let text = self.source.text.as_str();
        match event {
            Event::Start(Tag::List(first)) => self.lists.open(first.is_some()),
            Event::Start(Tag::Item) => self.lists.item(range.start),
            Event::End(TagEnd::List(_)) => self.edits.extend(self.lists.close(text)),
            Event::Start(Tag::CodeBlock(kind)) => {
                let is_plain = matches!(kind, CodeBlockKind::Fenced(info) if info.is_empty());
                self.code = Some(CodeBlock::new(range, matches!(kind, CodeBlockKind::Indented), is_plain));
            }
            Event::End(TagEnd::CodeBlock) => {
                let Some(code) = self.code.take() else { return Ok(()) };
                if code.is_open(text) {
                    return Err(Open::CodeBlock(self.source.line_of(code.start())));
                }
                self.edits.extend(code.edits(text));
            }
            Event::Start(Tag::HtmlBlock) => self.html.block(text, range),
            Event::InlineHtml(_) => self.html.inline(text, range),
            Event::Start(Tag::Link { link_type, id, .. } | Tag::Image { link_type, id, .. }) => {
                self.links.refer(*link_type, id);
            }
            Event::Start(Tag::Paragraph) => self.paragraph(range),
            Event::Text(_) | Event::Code(_) | Event::Html(_) => {
                if let Some(code) = &mut self.code {
                    code.lines.push(range.clone());
                }
                self.links.cover(range);
            }
            _ => {}
        }
        Ok(())
    }

    /// Pandoc's poems, each line of which begins with `| `, and its tables of `+---+`.
    fn paragraph(&mut self, range: Range<usize>) {
        let text = &self.source.text[range.clone()];
        if text.starts_with("+-") && text.lines().all(|line| matches!(line.trim().chars().next(), Some('+' | '|'))) {
            self.left_out.tables += 1;
            self.left_out.letters += letters(text);
            self.edits.push(Edit::of(range, ""));
        } else if text.starts_with("| ") && text.lines().all(is_line_of_a_poem) {
            let mut at = range.start;
            for line in text.split_inclusive('\n') {
                let bar = line.len() - line.trim_start().len();
                let words = line[bar + 1..].trim_start_matches([' ', '\t']);
                self.edits.push(Edit::of(at..at + line.len() - words.len(), ""));
                at += line.len();
            }
        }
    }

    fn finish(mut self) -> Result<Vec<Edit>, Open> {
        let text = self.source.text.as_str();
        self.edits.extend(self.links.edits(text, self.left_out));
        let edits = self.html.edits(text, self.left_out).map_err(|at| Open::Comment(self.source.line_of(at)))?;
        // What is taken out goes first: edits inside it are dropped.
        self.edits.splice(0..0, edits);
        Ok(self.edits)
    }
}

fn is_line_of_a_poem(line: &str) -> bool {
    let line = line.trim();
    line == "|" || line.starts_with("| ") && !line.ends_with('|')
}
