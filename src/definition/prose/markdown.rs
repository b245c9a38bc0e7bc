//! Extracts text from Markdown.

use pulldown_cmark::{Event, LinkType, Parser, Tag, TagEnd};

use super::{
    Paragraph, Prose, ProseFault, ProseKind, front_matter,
    left_out::{LeftOut, letters},
    residue,
    source::Source,
    survey::{self, Open, SYNTAX, is_address},
};
use crate::domain::{
    cut::{SCENE_BREAK, flat},
    invisible::Repairs,
};

/// How often a text is edited, at most: taking something out may show more behind it.
const PASSES: usize = 12;

/// Reads a text. As [`ProseKind::CommonMark`], the text is what the standard says; else also what people mean by it.
pub(super) fn parse(text: &str, kind: ProseKind) -> Result<Prose, ProseFault> {
    let start = front_matter::length(text);
    let mut left_out = LeftOut { front_matter: u32::from(start > 0), ..LeftOut::default() };
    let first = text[..start].matches('\n').count() as u64 + 1;
    let mut source = Source::new(&text[start..], first);
    if kind == ProseKind::Markdown {
        source.apply(residue::edits(&source.text, &mut left_out));
        for _ in 0..PASSES {
            let edits = survey::edits(&source, &mut left_out).map_err(|open| match open {
                Open::CodeBlock(line) => ProseFault::OpenCodeBlock { line },
                Open::Comment(line) => ProseFault::OpenComment { line },
            })?;
            if edits.is_empty() {
                break;
            }
            source.apply(edits);
        }
    }
    let mut reader = MarkdownReader::new(left_out, kind == ProseKind::Markdown);
    Parser::new_ext(&source.text, SYNTAX).for_each(|event| reader.take(&event));
    Ok(reader.finish())
}

/// Collects paragraphs from the parser's events.
struct MarkdownReader {
    paragraphs: Vec<Paragraph>,
    left_out: LeftOut,
    /// Whether the residue of other dialects is no text.
    cleans: bool,
    /// The text of the current paragraph.
    text: String,
    heading: bool,
    /// The nesting depth inside a skipped element.
    skipping: u32,
}

impl MarkdownReader {
    const fn new(left_out: LeftOut, cleans: bool) -> Self {
        Self { paragraphs: Vec::new(), left_out, cleans, text: String::new(), heading: false, skipping: 0 }
    }

    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(_) if self.skipping > 0 => self.skipping += 1,
            Event::End(_) if self.skipping > 0 => self.skipping -= 1,
            Event::Text(text) | Event::Code(text) | Event::Html(text) if self.skipping > 0 => {
                self.left_out.letters += letters(text);
            }
            _ if self.skipping > 0 => {}
            Event::Start(tag) => self.start(tag),
            Event::End(end) => self.end(*end),
            Event::Text(text) | Event::Code(text) => self.text.push_str(text),
            Event::SoftBreak | Event::HardBreak => self.text.push('\n'),
            Event::InlineHtml(tag) if is_break(tag) => self.text.push('\n'),
            Event::Rule => self.scene_break(),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        if let Some(count) = self.counter(tag) {
            *count += 1;
            self.skipping = 1;
        }
        match tag {
            Tag::BlockQuote(Some(_)) => self.left_out.labels += 1,
            // `[Anna](softly)` may be no link.
            Tag::Link { link_type: LinkType::Inline, dest_url, .. }
                if letters(dest_url) > 0 && !is_address(dest_url) =>
            {
                self.left_out.link_addresses += 1;
            }
            _ => {}
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
            Tag::HtmlBlock => Some(&mut self.left_out.html_elements),
            Tag::FootnoteDefinition(_) => Some(&mut self.left_out.footnotes),
            _ => None,
        }
    }

    fn flush(&mut self) {
        let text = flat(&std::mem::take(&mut self.text));
        let text = if self.cleans { residue::without(text, &mut self.left_out) } else { text };
        let text = if text.starts_with(' ') || text.ends_with(' ') || text.contains("  ") { flat(&text) } else { text };
        if !text.is_empty() {
            self.paragraphs.push(Paragraph { text, heading: self.heading });
        }
    }

    /// A line between two scenes. At the start or at the end of a text it separates nothing.
    fn scene_break(&mut self) {
        self.flush();
        if self.paragraphs.last().is_some_and(|last| last.text != SCENE_BREAK) {
            self.paragraphs.push(Paragraph { text: SCENE_BREAK.to_owned(), heading: false });
        }
    }

    fn finish(mut self) -> Prose {
        self.flush();
        if self.paragraphs.last().is_some_and(|last| last.text == SCENE_BREAK) {
            self.paragraphs.pop();
        }
        let Self { paragraphs, left_out, .. } = self;
        Prose { paragraphs, left_out, repairs: Repairs::default(), fields: Vec::new() }
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
