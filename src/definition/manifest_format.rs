//! The formats of manifests.

use super::paths::{ending, file_name, stem};
use crate::domain::options::listed;

listed! {
    /// The format of a manifest.
    ManifestFormat, "manifest format" {
        /// Comma-separated, with a header.
        Csv = "csv",
        /// Tab-separated, with a header.
        Tsv = "tsv",
        /// One JSON object per line.
        Jsonl = "jsonl",
        /// One source per line.
        Lines = "lines",
        /// A text: the whole file is what one line has elsewhere.
        Text = "text",
    }
}

impl ManifestFormat {
    /// The format that a file's name implies.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = file_name(name);
        let name = if ending(name).as_deref() == Some("gz") { stem(name) } else { name };
        match ending(name)?.as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "txt" | "list" => Some(Self::Lines),
            _ => None,
        }
    }
}
