//! A recording's call: what is sent, and what its answer says.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    RunnerShared, Webhook,
    batch::Batch,
    call::{self, Attempt, Caller, Departs},
    marks,
    reconcile::grace_ms,
    recording::Recording,
    worker::ActivePart,
};
use crate::{
    domain::{
        call::{Answer, CallFailure, ErrorKind, LogFlags, Outcome},
        callback::address,
        identity::{ContentHash, SeenFile},
        job::{CallRecord, JobId, RequestFingerprint, Token, Why},
        options::{ExpireContent, TranscribeOptions},
    },
    media::padding::PaddingPlan,
    store::{End, Permit, Purchase, StoreError, Upload},
    waves::SttCall,
};

/// So many callbacks in a row that do not come, and long recordings are waited for again.
const OVERDUE_MOST: u32 = 3;
const TIMEOUT_BASE: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// A call's time-out: two minutes and the audio's length, at most fifteen minutes, unless the definition says otherwise.
fn timeout(setting: Option<Duration>, audio_ms: Option<u64>) -> Duration {
    setting.unwrap_or_else(|| match audio_ms {
        Some(ms) => (TIMEOUT_BASE + Duration::from_millis(ms)).min(TIMEOUT_MAX),
        None => TIMEOUT_MAX,
    })
}

/// Has a recording transcribed, in place of the call `replaces`, if there is one.
pub(super) async fn attempt(
    work: &mut ActivePart<'_>,
    why: Why,
    replaces: Option<&CallRecord>,
    recording: &Recording,
) -> Result<Attempt<Answer>, StoreError> {
    let caller = Transcriber {
        shared: work.shared,
        batch: work.batch,
        options: work.asked.options.clone(),
        word_timestamps: work.asked.options.sends_word_timestamps(work.asked.formats),
        timeout: timeout(work.batch.spec.run.call_timeout, recording.audio_ms()),
        grace_ms: grace_ms(work.batch.spec.run.unknown_grace, recording.audio_ms()),
        recording,
        marks: work.batch.spec.run.mark_uploads && work.shared.marks.are_of_use(),
        audio_ms: recording.audio_ms(),
        webhook: webhook(work, recording),
        lease: (work.job.job, work.job.token),
    };
    call::attempt(work, &caller, why, replaces.map(|c| c.id)).await
}

/// Where the answer is posted to, if it is: not to us where three in a row did not come.
fn webhook<'a>(work: &ActivePart<'a>, recording: &Recording) -> Option<&'a Webhook> {
    let webhook = work.shared.config.webhook.as_ref()?;
    let trusted = work.shared.overdue.load(Ordering::Relaxed) < OVERDUE_MOST;
    let known = (recording.audio_ms(), recording.bytes());
    webhook.rule.applies(work.asked.webhook, work.asked.options.model, known, trusted).then_some(webhook)
}

struct Transcriber<'a> {
    shared: &'a RunnerShared,
    batch: &'a Batch,
    options: TranscribeOptions,
    word_timestamps: bool,
    timeout: Duration,
    grace_ms: i64,
    recording: &'a Recording,
    /// Whether the upload gets a size of its own.
    marks: bool,
    audio_ms: Option<u64>,
    webhook: Option<&'a Webhook>,
    /// The job, and the proof that it is ours.
    lease: (JobId, Token),
}

impl Caller for Transcriber<'_> {
    type Answer = Answer;

    fn buys(&self) -> Purchase {
        Purchase::Transcript { audio_ms: self.audio_ms, rate: self.shared.config.rates.per_minute(self.options.model) }
    }

    fn unpriced(&self) -> Option<&str> {
        let model = &self.options.model;
        self.shared.config.rates.known_per_minute(*model).is_none().then(|| model.as_str())
    }

    fn request_fingerprint(&self) -> RequestFingerprint {
        let o = &self.options;
        RequestFingerprint {
            model: o.model.to_string(),
            language: o.language.to_string(),
            flags: LogFlags {
                word_timestamps: self.word_timestamps,
                diarize: o.diarize,
                redact_pii: o.redact_pii,
                redact_pci: o.redact_pci,
                emotion_detection: o.emotion_detection,
                gender_detection: o.gender_detection,
            },
            bytes: self.recording.bytes(),
            audio_ms: self.audio_ms,
            keywords: o.keywords.clone(),
        }
    }

    fn upload(&self) -> Option<Upload> {
        let padding = self.recording.padding().filter(|_| self.marks).map(PaddingPlan::takes);
        Some(Upload { bytes: self.recording.bytes()?, padding })
    }

    fn content(&self) -> Option<(SeenFile, ContentHash)> {
        self.recording.content()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn grace_ms(&self) -> i64 {
        self.grace_ms
    }

    fn overdue_after(&self) -> Option<i64> {
        let after = self.webhook?.rule.overdue_after(self.audio_ms);
        Some(i64::try_from(after).unwrap_or(i64::MAX / 2))
    }

    async fn send(&self, permit: &Permit, departs: Departs) -> Outcome<Answer> {
        if !self.recording.stays().await {
            let message = "the recording changed after it was looked at";
            return Outcome::NotSent(CallFailure::new(ErrorKind::SourceChanged, message));
        }
        let id = permit.call.to_string();
        let posted_to = self.webhook.map(|own| address(&own.public_url, permit.call, &own.secret));
        let call = SttCall {
            options: &self.options,
            word_timestamps: self.word_timestamps,
            call_id: &id,
            webhook: posted_to.as_ref(),
        };
        let padding = (permit.padding > 0).then_some(permit.padding);
        let Some(body) = self.recording.body_with(padding) else {
            let message = "the recording is not what it was when it was looked at";
            return Outcome::NotSent(CallFailure::new(ErrorKind::SourceChanged, message));
        };
        let cursor = self.shared.log.cursor();
        let outcome = self.shared.client.transcribe(&call, body, move || departs.asked(), self.timeout).await;
        self.shared.note_local_outage(Some(self.batch), &outcome);
        if !matches!(outcome, Outcome::NotSent(_) | Outcome::Stale)
            && let Some((seen, content)) = self.recording.changed().await
            && let Err(error) = self.shared.store.note_content(self.lease, seen, content).await
        {
            tracing::warn!(call.id = %permit.call, error = %error, "a recording changed while it was sent, which is not noted");
        }
        if let (Some(extra), Outcome::Answered(answer)) = (padding, &outcome) {
            let bytes = self.recording.bytes_with(Some(extra));
            let sent = RequestFingerprint { bytes, ..self.request_fingerprint() };
            marks::check(self.shared, cursor, sent, answer.transcript.as_ref());
        }
        outcome
    }

    fn answered(&self, answer: &Answer) -> End {
        let audio_ms = answer.audio_ms.or(self.audio_ms);
        End::Answered {
            body: answer.body.clone(),
            from_log: false,
            request_id: answer.request_id.clone(),
            content_expiry: answer.content_expiry.clone(),
            audio_ms,
            cost: audio_ms.map(|ms| self.shared.config.rates.cost(self.options.model, ms).0),
        }
    }

    fn expiry<'a>(&self, answer: &'a Answer) -> (ExpireContent, Option<&'a str>) {
        (self.options.expire_content, answer.content_expiry.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_two_minutes_and_the_audios_length() {
        assert_eq!(timeout(None, Some(30_000)), Duration::from_secs(150));
        assert_eq!(timeout(None, Some(3_600_000)), Duration::from_secs(900));
        assert_eq!(timeout(None, None), Duration::from_secs(900));
        assert_eq!(timeout(Some(Duration::from_secs(7)), Some(30_000)), Duration::from_secs(7));
    }
}
