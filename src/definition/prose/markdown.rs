//! Extracts text from Markdown.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{LeftOut, Paragraph, Prose};
use crate::domain::cut::flat;

pub(super) fn parse(text: &str) -> Prose {
    let (front_matter, text) = match without_front_matter(text) {
        Some(rest) => (1, rest),
        None => (0, text),
    };
    let left_out = LeftOut { front_matter, ..LeftOut::default() };
    let mut reader =
        MarkdownReader { paragraphs: Vec::new(), left_out, text: String::new(), heading: false, skipping: 0 };
    // Enabled so that this syntax is recognized and not taken for text.
    let syntax = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_GFM;
    Parser::new_ext(text, syntax).for_each(|event| reader.take(&event));
    reader.flush();
    Prose { paragraphs: reader.paragraphs, left_out: reader.left_out }
}

/// The text after YAML front matter. A line of dashes alone is not enough: it may separate two scenes.
fn without_front_matter(text: &str) -> Option<&str> {
    let mut lines = text.split_inclusive('\n');
    let mut at = lines.next().filter(|line| line.trim_end() == "---")?.len();
    for (number, line) in lines.enumerate() {
        at += line.len();
        match line.trim_end() {
            "---" | "..." if number > 0 => return text.get(at..),
            first if number == 0 && !is_field(first) => return None,
            _ => {}
        }
    }
    None
}

/// `title: The Sea`, or a comment.
fn is_field(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'');
    line.starts_with('#') || line.len() > name.len() && !name.is_empty() && name.chars().all(is_name)
}

/// Collects paragraphs from the parser's events.
struct MarkdownReader {
    paragraphs: Vec<Paragraph>,
    left_out: LeftOut,
    /// The text of the current paragraph.
    text: String,
    heading: bool,
    /// The nesting depth inside a skipped element.
    skipping: u32,
}

impl MarkdownReader {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(_) if self.skipping > 0 => self.skipping += 1,
            Event::End(_) if self.skipping > 0 => self.skipping -= 1,
            _ if self.skipping > 0 => {}
            Event::Start(tag) => self.start(tag),
            Event::End(end) => self.end(*end),
            Event::Text(text) | Event::Code(text) => self.text.push_str(text),
            Event::SoftBreak | Event::HardBreak => self.text.push('\n'),
            Event::InlineHtml(tag) if is_break(tag) => self.text.push('\n'),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        if let Some(count) = self.counter(tag) {
            *count += 1;
            self.skipping = 1;
        }
        if !is_inside_paragraph(&tag.to_end()) {
            self.flush();
            self.heading = matches!(tag, Tag::Heading { .. });
        }
    }

    fn end(&mut self, end: TagEnd) {
        if !is_inside_paragraph(&end) {
            self.flush();
            self.heading = false;
        }
    }

    /// The counter of an element that is left out.
    fn counter(&mut self, tag: &Tag<'_>) -> Option<&mut u32> {
        match tag {
            Tag::Table(_) => Some(&mut self.left_out.tables),
            Tag::CodeBlock(_) => Some(&mut self.left_out.code_blocks),
            Tag::Image { .. } => Some(&mut self.left_out.images),
            Tag::HtmlBlock => Some(&mut self.left_out.html_blocks),
            Tag::FootnoteDefinition(_) => Some(&mut self.left_out.footnotes),
            _ => None,
        }
    }

    fn flush(&mut self) {
        let text = flat(&std::mem::take(&mut self.text));
        if !text.is_empty() {
            self.paragraphs.push(Paragraph { text, heading: self.heading });
        }
    }
}

fn is_inside_paragraph(tag: &TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image
            | TagEnd::Superscript
            | TagEnd::Subscript
    )
}

fn is_break(tag: &str) -> bool {
    tag.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("<br"))
}
