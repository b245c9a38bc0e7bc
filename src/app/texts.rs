//! The texts of a batch's lines: what was transcribed, or what is spoken.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::AppError;
use crate::{
    domain::{cut::HEADING_GAP, job::JobId, synthesis_options::TtsLanguage},
    report::{publish::each_row, task_of},
    store::{BatchRow, JobFilter, ReportScope, Selection, Store},
    tasks::Registry,
};

/// Jobs that are read at a time.
const PAGE: u32 = 500;
/// The words shown on either side of a place, in characters.
const AROUND: usize = 40;

/// The text of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineText {
    /// The line's key.
    pub key: String,
    /// The voice, for speech.
    pub voice_id: Option<String>,
    /// The language that the line or its column sets, for speech.
    pub language: Option<TtsLanguage>,
    /// The text.
    pub text: String,
    /// The addresses of its outputs.
    pub outputs: Vec<String>,
}

/// The texts of these lines: transcripts from kept answers, else from the outputs; of speech, the texts that are spoken.
/// `keep` says which are returned.
///
/// # Errors
/// The ledger or an output cannot be read.
pub async fn texts(
    store: &Store,
    tasks: &Registry,
    batch: &BatchRow,
    lines: &Selection,
    keep: impl Fn(&LineText) -> bool + Send + 'static,
) -> Result<Vec<LineText>, AppError> {
    if tasks.has_parts(batch.task) {
        return spoken(store, batch, lines, keep).await;
    }
    let spec = batch.specification()?;
    let task = task_of(tasks.reports(), spec)?;
    let scope = ReportScope { lines: lines.clone(), with_dropped: false };
    let found = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&found);
    let reading = each_row(store, batch, (spec, &*task), &scope, move |row| {
        let Some(text) = row.transcript else { return };
        let line = LineText { key: row.key, voice_id: row.voice_id, language: None, text, outputs: row.outputs };
        if keep(&line) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    Box::pin(reading).await?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *found))
}

/// The text that a job speaks, for readers. `None`: it speaks none.
///
/// # Errors
/// The ledger cannot be read.
pub async fn spoken_text(store: &Store, job: JobId) -> Result<Option<String>, AppError> {
    // The mark behind a heading is for the cut.
    Ok(store.text(job).await?.map(|text| text.replace(HEADING_GAP, "\n\n")))
}

async fn spoken(
    store: &Store,
    batch: &BatchRow,
    lines: &Selection,
    keep: impl Fn(&LineText) -> bool,
) -> Result<Vec<LineText>, AppError> {
    let mut filter = JobFilter { lines: lines.clone(), limit: PAGE, ..JobFilter::default() };
    let mut found = Vec::new();
    loop {
        let page = store.jobs(batch.id, &filter).await?;
        for job in &page {
            let Some(text) = spoken_text(store, job.row.job).await? else { continue };
            let view = super::views::JobView::of(job);
            let (voice_id, language) = view.rendition.map(|own| (own.voice_id, own.language)).unzip();
            let language = language.flatten();
            let line = LineText { key: job.row.key.clone(), voice_id, language, text, outputs: view.outputs };
            if keep(&line) {
                found.push(line);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => filter.after = (last.row.ordinal, last.row.job.0),
            _ => return Ok(found),
        }
    }
}

/// Where `words` (in lower case) stand in a text: some characters before, the words, and some after. Case and white space do
/// not matter. `None`: nowhere.
#[must_use]
pub fn place_of(text: &str, words: &str) -> Option<(String, String, String)> {
    let plain: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    let words: Vec<char> = words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase().chars().collect();
    if words.is_empty() {
        return None;
    }
    let (at, end) = (0..plain.len()).find_map(|at| ends_at(&plain[at..], &words).map(|length| (at, at + length)))?;
    let before = at.saturating_sub(AROUND);
    let after = (end + AROUND).min(plain.len());
    let dots = |cut: bool| if cut { "…" } else { "" };
    let of = |from: usize, to: usize| plain[from..to].iter().collect::<String>();
    Some((
        format!("{}{}", dots(before > 0), of(before, at)),
        of(at, end),
        format!("{}{}", of(end, after), dots(after < plain.len())),
    ))
}

/// How many characters of a text the words take that it begins with, in any case.
fn ends_at(text: &[char], words: &[char]) -> Option<usize> {
    let mut left = words.iter();
    for (nth, c) in text.iter().enumerate() {
        for lower in c.to_lowercase() {
            match left.next() {
                Some(word) if *word == lower => {}
                // A character whose lower case is longer ends with the words.
                None if nth > 0 => return Some(nth),
                _ => return None,
            }
        }
        if left.len() == 0 {
            return Some(nth + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_across_lines() {
        let at = |text: &str, words: &str| place_of(text, words);
        let found = at("Thank you\nfor calling Northwind.", "FOR  calling").unwrap();
        assert_eq!(found, ("Thank you ".into(), "for calling".into(), " Northwind.".into()));
        assert_eq!(at("Grüße aus KÖLN", "köln").unwrap().1, "KÖLN");
        assert_eq!(at("नमस्ते दुनिया", "दुनिया").unwrap().1, "दुनिया");
        assert_eq!(at("abc", "abcd"), None);
        assert_eq!((at("abc", " "), at("", "a")), (None, None));
        let long = format!("{}needle{}", "a ".repeat(100), " b".repeat(100));
        let (before, words, after) = at(&long, "needle").unwrap();
        assert!(before.starts_with('…') && words == "needle" && after.ends_with('…') && after.chars().count() == 41);
    }
}
