//! Columns taken from file names: `name_pattern`.

use regex::Regex;

use crate::definition::{manifest::Record, paths::source_name, text::excerpt};

/// Parses a pattern that makes columns.
///
/// # Errors
/// It does not compile, or names no group.
pub(crate) fn name_pattern(text: &str) -> Result<Regex, String> {
    let regex = Regex::new(text).map_err(|e| format!("is not a pattern: {}", reason(&e)))?;
    if groups(&regex).next().is_none() {
        return Err(
            "has no named group, and so makes no column; write e.g. '^(?<call_id>[^_]+)_(?<agent>[^_]+)'".into()
        );
    }
    Ok(regex)
}

/// The parser's message without its drawing of the position.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("it would take over {limit} bytes of memory"),
        other => {
            let words = other.to_string();
            let reason = words.rsplit("error: ").next().unwrap_or(&words);
            reason.lines().map(str::trim).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The names of the groups, in order.
pub(super) fn groups(regex: &Regex) -> impl Iterator<Item = &str> {
    regex.capture_names().flatten()
}

/// A pattern that is applied to a manifest.
#[derive(Debug)]
pub(super) struct FileNames {
    regex: Regex,
    /// The numbers of the named groups.
    named: Vec<usize>,
}

impl FileNames {
    pub(super) fn new(regex: &Regex) -> Self {
        let named = regex.capture_names().enumerate().filter(|(_, name)| name.is_some()).map(|(at, _)| at).collect();
        Self { regex: regex.clone(), named }
    }

    /// Adds one cell for each group to a line. A line without a source gets empty cells.
    pub(super) fn read(&self, source: &str, record: &mut Record) {
        let name = source_name(source);
        let found = self.regex.captures(&name);
        record.unmatched = found.is_none() && !source.is_empty();
        for group in &self.named {
            record.push(found.as_ref().and_then(|found| found.get(*group)).map_or("", |group| group.as_str()));
        }
    }

    /// The fault of a name that does not match.
    pub(super) fn message(&self, source: &str) -> String {
        format!(
            "the name `{}` does not match name_pattern `{}`",
            excerpt(&source_name(source)),
            excerpt(self.regex.as_str())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_become_cells_in_their_order() {
        let regex = name_pattern(r"^(?<call_id>[^_]+)_(x)?(?<agent>[^_.]+)(_(?<leg>\d))?\.").unwrap();
        assert_eq!(groups(&regex).collect::<Vec<_>>(), ["call_id", "agent", "leg"]);
        let names = FileNames::new(&regex);
        let cells = |source: &str| {
            let mut record = Record::default();
            record.start(1);
            names.read(source, &mut record);
            (record.unmatched, record.cells().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(cells("/m/7_ann.wav"), (false, vec!["7".into(), "ann".into(), String::new()]));
        assert_eq!(cells("https://x/a%20b_ann_2.wav?s=1_2.").1, ["a b", "ann", "2"]);
        assert_eq!(cells("s3://b/1_2/a%20b_ann.wav").1, ["a%20b", "ann", ""]);
        assert_eq!(cells("/m/7_8/x.wav"), (true, vec![String::new(); 3]));
        assert_eq!(cells(""), (false, vec![String::new(); 3]));
    }

    #[test]
    fn a_pattern_that_makes_no_columns_says_why() {
        assert_eq!(name_pattern("(?<a>[").unwrap_err(), "is not a pattern: unclosed character class");
        assert_eq!(name_pattern("(?<a>x)(?<a>y)").unwrap_err(), "is not a pattern: duplicate capture group name");
        assert!(name_pattern(r"^(\d+)_(?:x)").unwrap_err().starts_with("has no named group"));
        assert!(name_pattern(r"(?<a>\w{1000}){1000}").unwrap_err().contains("bytes of memory"));
    }
}
