//! The formats of manifests.

use super::paths::{ending, file_name, stem};
use crate::domain::options::listed;

listed! {
    /// The format of a manifest.
    ManifestFormat, "manifest format" {
        /// Cells with a delimiter between them, and a header. Endings: `.csv`, `.csv.gz`.
        Csv = "csv",
        /// Cells with tabs between them, and a header. Endings: `.tsv`, `.tsv.gz`.
        Tsv = "tsv",
        /// A JSON object on each line. Endings: `.jsonl`, `.ndjson`, each also with `.gz`.
        Jsonl = "jsonl",
        /// A source or a text on each line. Endings: `.txt`, `.list`, each also with `.gz`.
        Lines = "lines",
        /// The whole file is one text to be spoken. No ending implies it: `--manifest-format text`.
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
