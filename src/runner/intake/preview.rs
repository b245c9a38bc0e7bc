//! The first lines of a manifest, as they would be worked: what a user recognizes at a glance.

use std::sync::Arc;

use super::{IntakeError, IntakeTask, resolved::Resolved};
use crate::{
    definition::{Definition, Faults, Manifest, ManifestLine, ManifestRow, Scan, Spooled, manifest::JobDraft},
    domain::query::QueryRules,
};

/// Lines that are shown.
const LINES: usize = 3;
/// Characters of a text that are shown.
const FIRST: usize = 60;

/// A line of a manifest, or one of its texts, as it would be worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewLine {
    /// Its number, from 1.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its source, without what is secret in an address; `None`: it names none, or is a text.
    pub source: Option<String>,
    /// The first words of its text.
    pub text: Option<String>,
    /// The options that its columns set: column and cell.
    pub options: Vec<(String, String)>,
    /// The names of its outputs, below the output's location.
    pub outputs: Vec<String>,
}

/// Reads the first good lines.
pub(super) async fn preview(resolved: &Resolved, copy: Option<&Spooled>) -> Result<Vec<PreviewLine>, IntakeError> {
    let (definition, scan) = (resolved.definition.clone(), Arc::clone(&resolved.reader.scan));
    let (copy, task) = (copy.cloned(), Arc::clone(&resolved.task));
    let read = tokio::task::spawn_blocking(move || first_lines(&definition, copy.as_ref(), &scan, &*task));
    Ok(read.await.map_err(|_| IntakeError::Interrupted)??)
}

fn first_lines(
    definition: &Definition,
    copy: Option<&Spooled>,
    scan: &Scan,
    task: &dyn IntakeTask,
) -> Result<Vec<PreviewLine>, Faults> {
    let manifest = Manifest::open(definition, copy)?;
    let mut lines = Vec::new();
    let mut rows = manifest.lines(scan)?;
    while lines.len() < LINES
        && let Some(row) = rows.next().transpose()?
    {
        if let ManifestRow::Good(line) = row {
            let options = rows.options();
            lines.extend(line.by_text().map(|jobs| preview_of((definition, task), &line, jobs, &options)));
        }
    }
    lines.truncate(LINES);
    Ok(lines)
}

/// Jobs of a line that work on the same content. `options`: what its columns set.
fn preview_of(
    (definition, task): (&Definition, &dyn IntakeTask),
    line: &ManifestLine,
    jobs: &[JobDraft],
    options: &[(String, String)],
) -> PreviewLine {
    let first = jobs.first();
    let of_content = first.map(|job| task.options_of_content(definition, job)).unwrap_or_default();
    let outputs = jobs.iter().flat_map(|job| task.outputs(definition, line.key.as_str(), job));
    PreviewLine {
        line: line.number,
        key: line.key.to_string(),
        source: first.and_then(|job| job.source.as_deref()).map(|source| shown(&definition.queries, source)),
        text: first.and_then(|job| job.text.as_deref()).map(first_words),
        options: of_content.into_iter().chain(options.iter().cloned()).collect(),
        outputs: outputs.collect(),
    }
}

/// A source without what a report leaves out.
fn shown(queries: &QueryRules, source: &str) -> String {
    queries.shown(source)
}

/// The first words of a text on one line.
fn first_words(text: &str) -> String {
    let mut words = text.split_whitespace();
    let mut first = words.next().unwrap_or_default().chars().take(FIRST).collect::<String>();
    for word in words {
        if first.chars().count() + word.chars().count() >= FIRST {
            return first + " …";
        }
        first = first + " " + word;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_are_whole_and_few() {
        assert_eq!(first_words("  One\ntwo  three. "), "One two three.");
        let long = first_words(&"word ".repeat(40));
        assert!(long.ends_with(" …") && long.chars().count() <= FIRST + 2, "{long}");
        assert_eq!(first_words(&"x".repeat(100)).chars().count(), FIRST);
    }
}
