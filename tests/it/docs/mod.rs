//! The book and the README, held against the code: generated pages are fresh, links resolve, commands exist and run.

mod changes;
mod commands;
mod fields;
mod guides;
mod links;
mod reference;

use std::{
    fs,
    path::{Path, PathBuf},
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use walkdir::WalkDir;

/// A page of Markdown.
struct Document {
    path: PathBuf,
    text: String,
}

/// What a page has, in its order.
enum Piece {
    /// A block of code: its info string and its text.
    Block(String, String),
    /// Code in a line.
    Code(String),
    /// Where a link goes.
    Link(String),
    /// The text of a heading.
    Heading(String),
    /// The text of a paragraph.
    Paragraph(String),
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page of `docs/`, in the order of their names.
fn documents() -> Vec<Document> {
    let files = WalkDir::new(root().join("docs")).sort_by_file_name();
    let files = files.into_iter().map(|entry| entry.unwrap().into_path());
    let pages = files.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let read = |path: PathBuf| Document { text: fs::read_to_string(&path).unwrap(), path };
    [root().join("README.md")].into_iter().chain(pages).map(read).collect()
}

impl Document {
    /// The path below the repository.
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    fn pieces(&self) -> Vec<Piece> {
        self.pieces_with_lines().into_iter().map(|(_, piece)| piece).collect()
    }

    /// The pieces, each with the number of its line.
    fn pieces_with_lines(&self) -> Vec<(usize, Piece)> {
        let (mut pieces, mut words, mut block) = (Vec::new(), String::new(), None);
        for (event, range) in Parser::new_ext(&self.text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = self.text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    block = Some(match kind {
                        CodeBlockKind::Fenced(info) => info.to_string(),
                        CodeBlockKind::Indented => String::new(),
                    });
                    words.clear();
                }
                Event::End(TagEnd::CodeBlock) => {
                    pieces.push((line, Piece::Block(block.take().unwrap(), std::mem::take(&mut words))));
                }
                Event::Start(Tag::Heading { .. } | Tag::Paragraph) => words.clear(),
                Event::End(TagEnd::Heading(_)) => pieces.push((line, Piece::Heading(std::mem::take(&mut words)))),
                Event::End(TagEnd::Paragraph) => pieces.push((line, Piece::Paragraph(words.clone()))),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    pieces.push((line, Piece::Link(dest_url.to_string())));
                }
                Event::Code(code) => {
                    words.push_str(&code);
                    pieces.push((line, Piece::Code(code.to_string())));
                }
                Event::Text(text) => words.push_str(&text),
                Event::SoftBreak | Event::HardBreak => words.push(' '),
                _ => {}
            }
        }
        pieces
    }
}
