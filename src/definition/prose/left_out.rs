//! What of a file is not read aloud.

use std::{fmt, ops::AddAssign};

/// The number of parts left out, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Tables.
    pub tables: u32,
    /// Code blocks; code inside a sentence is kept.
    pub code_blocks: u32,
    /// Images, with their alternative texts.
    pub images: u32,
    /// HTML elements that hold no text to be read aloud, like scripts.
    pub html_elements: u32,
    /// Comments of HTML and of Obsidian.
    pub comments: u32,
    /// Footnotes, and references to footnotes that the file has not.
    pub footnotes: u32,
    /// Addresses of links that nothing refers to, or that do not look like addresses.
    pub link_addresses: u32,
    /// Labels of callouts and of other blocks: `[!NOTE]`, `::: epigraph`.
    pub labels: u32,
    /// The fields at the top: 0 or 1.
    pub front_matter: u32,
    /// Letters and digits of tables, code blocks, images and footnotes: of what a person may miss.
    pub letters: u64,
}

impl LeftOut {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for LeftOut {
    fn add_assign(&mut self, other: Self) {
        self.tables += other.tables;
        self.code_blocks += other.code_blocks;
        self.images += other.images;
        self.html_elements += other.html_elements;
        self.comments += other.comments;
        self.footnotes += other.footnotes;
        self.link_addresses += other.link_addresses;
        self.labels += other.labels;
        self.front_matter += other.front_matter;
        self.letters += other.letters;
    }
}

/// `2 tables, 1 image`
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.tables, "table", "tables"),
            (self.code_blocks, "code block", "code blocks"),
            (self.images, "image", "images"),
            (self.html_elements, "HTML element", "HTML elements"),
            (self.comments, "comment", "comments"),
            (self.footnotes, "footnote", "footnotes"),
            (self.link_addresses, "link address", "link addresses"),
            (self.labels, "label", "labels"),
            (self.front_matter, "front matter", "front matters"),
        ];
        let words = counts.iter().filter(|(count, ..)| *count > 0);
        let words = words.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

/// How many letters and digits a text has.
pub(super) fn letters(text: &str) -> u64 {
    text.chars().filter(|c| c.is_alphanumeric()).count() as u64
}
