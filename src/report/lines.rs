//! Turns a row of the ledger into a row of the report.

use std::path::PathBuf;

use serde_json::Value;

use super::{
    place::from_folder,
    recalled::{Recalled, is_adopted},
    row::Row,
    task::{BatchRequest, JobRequest},
};
use crate::{
    domain::{
        batch::BatchSpec,
        call::ErrorKind,
        cost::MicroUsd,
        job::{JobState, Wanted},
        row::{Note, RowStatus},
        transcript::Transcript,
    },
    store::{ReportRow, RowAnswer},
};

/// What all rows of a batch share.
#[derive(Debug)]
pub(super) struct RowContext {
    pub(super) batch: String,
    pub(super) spec: BatchSpec,
    /// What its jobs request.
    pub(super) asked: Box<dyn BatchRequest>,
    /// Whether the report has transcripts.
    pub(super) transcripts: bool,
    /// Whether the report has the texts that are spoken.
    pub(super) texts: bool,
    pub(super) sandbox: bool,
    /// The folder that paths of outputs start at; `None`: they are absolute.
    pub(super) base: Option<PathBuf>,
}

impl RowContext {
    /// Whether the line's transcript must come from elsewhere: the line is done, and its answer is pruned, or was never in the
    /// ledger.
    pub(super) fn needs_recall(&self, line: &ReportRow) -> bool {
        // Without the transcript column, answers are not looked for; those of a synthesis are files.
        self.transcripts
            && line.answer.is_none()
            && line.forgotten_at.is_none()
            && !has_nothing_to_say(line)
            && matches!(line.state, JobState::Succeeded | JobState::Suspect)
    }

    /// The report's row. Its transcript comes from the answer in the row, or was recalled.
    pub(super) fn row(&self, line: ReportRow, recalled: Option<Recalled>) -> Row {
        let kind: Option<ErrorKind> = line.error_kind.as_deref().and_then(|kind| kind.parse().ok());
        let (asked, tries) = (self.asked_of(&line, kind), line.tries_made());
        // For an adopted line the ledger has nothing else.
        let adopted = recalled.as_ref().filter(|_| is_adopted(&line));
        Row {
            batch: self.batch.clone(),
            status: status(line.state),
            wanted: line.wanted,
            source: line.source.as_deref().map(|source| self.spec.queries.shown(source)).unwrap_or_default(),
            outputs: self.outputs(&line),
            notes: self.notes(&line, recalled.is_some()),
            audio_ms: line.audio_ms.or(adopted.and_then(|recalled| recalled.audio_ms)),
            request_id: line.request_id.clone().or_else(|| adopted?.request_id.clone()),
            transcript: match &line.answer {
                Some(RowAnswer::Here(answer)) => Transcript::text_of(answer).ok(),
                None if has_nothing_to_say(&line) => Some(String::new()),
                Some(RowAnswer::Apart(_)) | None => recalled.map(|recalled| recalled.transcript),
            },
            text: line.text,
            carried: cells(line.carried.as_deref()),
            line: Some(line.line),
            key: line.key,
            output_name: asked.output_name,
            model: asked.model,
            language: asked.language,
            output_format: asked.output_format,
            sample_rate: asked.sample_rate,
            voice_id: asked.voice_id,
            own: asked.own,
            characters: line.characters,
            parts: line.parts,
            reused_parts: line.reused_parts,
            channels: line.channels.map(u32::from),
            tries,
            billed_calls: line.billed_calls,
            cost: Some(MicroUsd(line.cost)),
            submitted_at: Some(line.submitted_at),
            started_at: line.started_at,
            finished_at: line.finished_at,
            processing_ms: line.processing_ms.and_then(|ms| u64::try_from(ms).ok()),
            error_kind: kind,
            error: line.error,
            content_expiry: line.content_expiry,
        }
    }

    fn outputs(&self, line: &ReportRow) -> Vec<String> {
        let addresses = addresses(line.outputs.as_deref());
        match &self.base {
            Some(base) => addresses.iter().map(|address| from_folder(base, address)).collect(),
            None => addresses,
        }
    }

    /// What the job requests. For a bad line this is unknown.
    fn asked_of(&self, line: &ReportRow, kind: Option<ErrorKind>) -> JobRequest {
        if kind == Some(ErrorKind::BadLine) { JobRequest::default() } else { self.asked.job(line) }
    }

    fn notes(&self, line: &ReportRow, recalled: bool) -> Vec<Note> {
        let kept = line.notes.iter().flat_map(|notes| notes.split(';')).filter_map(|note| note.parse().ok());
        let pruned = self.needs_recall(line) && !is_adopted(line) && !recalled;
        let mut notes = Vec::new();
        let sandbox = self.sandbox.then_some(Note::Sandbox);
        let wanted = match line.wanted {
            Wanted::Yes => None,
            Wanted::Gone => Some(Note::Gone),
            Wanted::Dropped => Some(Note::Dropped),
        };
        for note in sandbox.into_iter().chain(wanted).chain(kept).chain(pruned.then_some(Note::AnswerPruned)) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes
    }
}

/// Whether nobody speaks in the line's recording, so that nothing was bought for it.
fn has_nothing_to_say(line: &ReportRow) -> bool {
    let mut notes = line.notes.iter().flat_map(|notes| notes.split(';'));
    line.billed_calls == 0 && notes.any(|note| note == Note::NoSpeech.as_str())
}

/// A job's state as the report's status.
pub(super) fn status(state: JobState) -> RowStatus {
    match state {
        JobState::Queued => RowStatus::Queued,
        JobState::Running => RowStatus::Running,
        JobState::Awaiting => RowStatus::Awaiting,
        JobState::Succeeded => RowStatus::Succeeded,
        JobState::Suspect => RowStatus::Suspect,
        JobState::Failed => RowStatus::Failed,
        JobState::Skipped => RowStatus::Skipped,
        // The ledger returns no superseded rows for a report.
        JobState::Cancelled | JobState::Superseded => RowStatus::Cancelled,
    }
}

/// The addresses of receipts, with or without size and checksum.
pub(super) fn addresses(outputs: Option<&str>) -> Vec<String> {
    let receipts: Vec<Value> = outputs.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let address = |receipt: &Value| receipt.get("address").unwrap_or(receipt).as_str().map(str::to_owned);
    receipts.iter().filter_map(address).collect()
}

fn cells(carried: Option<&str>) -> Vec<String> {
    carried.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_may_say_more_than_the_address() {
        let both = r#"["/out/a.json",{"address":"/out/a.srt","bytes":3,"sha256":"ab"},7]"#;
        assert_eq!(addresses(Some(both)), ["/out/a.json", "/out/a.srt"]);
        assert_eq!(addresses(None), [""; 0]);
        assert_eq!(addresses(Some("no json")), [""; 0]);
    }

    #[test]
    fn every_state_has_its_own_word() {
        for state in JobState::ALL.iter().filter(|s| **s != JobState::Superseded) {
            assert_eq!(status(*state).as_str(), state.as_str());
        }
    }
}
