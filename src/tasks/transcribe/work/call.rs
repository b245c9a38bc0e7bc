//! A recording's call: what is sent, and what its answer contains.

use std::{sync::atomic::Ordering, time::Duration};

use super::TranscriptionJob;
use crate::{
    domain::{
        call::{Answer, CallFailure, ErrorKind, LogFlags, Outcome},
        callback::address,
        identity::{ContentHash, SeenFile},
        job::RequestFingerprint,
        length::Length,
        options::{ExpireContent, SttModel},
    },
    media::padding::PaddingPlan,
    runner::{Caller, DepartureCheck, JobContext, Reach, Webhook, reconcile::grace_ms},
    store::{End, Permit, Purchase, Upload},
    waves::{LiveCall, SttCall},
};

/// After this many missing callbacks in a row, calls for long recordings wait for their answers again.
const OVERDUE_MOST: u32 = 3;
const TIMEOUT_BASE: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// A call's time-out: two minutes and the audio's length, at most fifteen minutes, unless the definition says otherwise.
/// For a length that is not exact, it is the most.
fn timeout(setting: Option<Duration>, length: Length) -> Duration {
    setting.unwrap_or_else(|| match length.exact_ms() {
        Some(ms) => (TIMEOUT_BASE + Duration::from_millis(ms)).min(TIMEOUT_MAX),
        None => TIMEOUT_MAX,
    })
}

/// A session's time-out: two minutes, and twice the time that the audio takes at its speed.
fn live_timeout(setting: Option<Duration>, length: Length, speed: f64) -> Duration {
    const LONGEST: u64 = 2 * 3_600_000;
    let audio = Duration::from_millis(length.ms().unwrap_or(LONGEST).min(LONGEST));
    setting.unwrap_or_else(|| TIMEOUT_BASE + audio.div_f64(speed.max(0.5)) * 2)
}

/// Where the answer is posted, if it is: no callback is used after three missing ones in a row.
pub(super) fn webhook<'a>(job: &TranscriptionJob<'a>) -> Option<&'a Webhook> {
    let webhook = job.on.config().webhook.as_ref().filter(|_| !job.is_live())?;
    let trusted = job.kept.overdue.load(Ordering::Relaxed) < OVERDUE_MOST;
    let known = (job.recording.length().ms(), job.recording.bytes());
    webhook.rule.applies(job.asked.webhook, job.options.model, known, trusted).then_some(webhook)
}

impl TranscriptionJob<'_> {
    /// Whether the recording goes out over a socket.
    pub(super) fn is_live(&self) -> bool {
        self.options.model == SttModel::PulseLive
    }
}

impl Caller for TranscriptionJob<'_> {
    type Answer = Answer;

    fn buys(&self) -> Purchase {
        let rate = self.on.config().rates.per_minute(self.options.model);
        Purchase::Transcript { length: self.recording.length(), rate }
    }

    fn unpriced(&self) -> Option<&str> {
        let model = &self.options.model;
        self.on.config().rates.known_per_minute(*model).is_none().then(|| model.as_str())
    }

    fn request_fingerprint(&self) -> RequestFingerprint {
        let (o, length) = (&self.options, self.recording.length());
        RequestFingerprint {
            model: o.model.to_string(),
            language: o.language.to_string(),
            flags: LogFlags {
                word_timestamps: self.word_timestamps(),
                diarize: o.diarize,
                redact_pii: o.redact_pii,
                redact_pci: o.redact_pci,
                emotion_detection: o.emotion_detection,
                gender_detection: o.gender_detection,
            },
            bytes: self.recording.bytes(),
            audio_ms: length.exact_ms(),
            estimated_ms: length.ms().filter(|_| !length.is_exact()),
            keywords: o.keywords.clone(),
        }
    }

    fn log_cursor(&self) -> Option<String> {
        // The vendor's log tells nothing of a session by which it could be known: no size, and no id of ours.
        self.kept.log.cursor().filter(|_| !self.is_live())
    }

    fn upload(&self) -> Option<Upload> {
        let marked = self.on.run().mark_uploads && self.kept.marks.is_useful() && !self.is_live();
        let padding = self.recording.padding().filter(|_| marked).map(PaddingPlan::takes);
        Some(Upload { bytes: self.recording.bytes()?, padding })
    }

    fn content(&self) -> Option<(SeenFile, ContentHash)> {
        self.recording.content()
    }

    fn timeout(&self) -> Duration {
        if self.is_live() {
            return live_timeout(self.on.run().call_timeout, self.recording.length(), self.asked.live_speed);
        }
        timeout(self.on.run().call_timeout, self.recording.length())
    }

    fn grace_ms(&self) -> i64 {
        grace_ms(self.on.run().unknown_grace, self.recording.length().ms())
    }

    fn overdue_after(&self) -> Option<i64> {
        let after = self.webhook?.rule.overdue_after(self.recording.length().ms());
        Some(i64::try_from(after).unwrap_or(i64::MAX / 2))
    }

    async fn send(&self, permit: &Permit, departs: DepartureCheck) -> Outcome<Answer> {
        if !self.recording.stays().await {
            let message = "the recording changed after it was looked at";
            return Outcome::NotSent(CallFailure::new(ErrorKind::SourceChanged, message));
        }
        let id = permit.call.to_string();
        let posted_to = self
            .webhook
            .and_then(|own| own.secrets.newest().map(|secret| address(&own.public_url, permit.call, &secret)));
        let call = SttCall {
            options: &self.options,
            word_timestamps: self.word_timestamps(),
            call_id: &id,
            webhook: posted_to.as_ref(),
        };
        let padding = (permit.padding > 0).then_some(permit.padding);
        let Some(body) = self.recording.body_with(padding) else {
            let message = "the recording is not what it was when it was looked at";
            return Outcome::NotSent(CallFailure::new(ErrorKind::SourceChanged, message));
        };
        let cursor = self.kept.log.cursor();
        let lease = (self.on.job().job, self.on.job().token);
        let client = self.on.client();
        let outcome = if self.is_live() {
            let live = LiveCall { options: &self.options, call_id: &id, speed: self.asked.live_speed };
            client.transcribe_live(&live, body, move || departs.asked(), self.timeout()).await
        } else {
            client.transcribe(&call, body, move || departs.asked(), self.timeout()).await
        };
        self.on.note_source_read(&outcome);
        if !matches!(outcome, Outcome::NotSent(_) | Outcome::Stale)
            && let Some((seen, content)) = self.recording.changed().await
            && let Err(error) = self.on.store().note_content(lease, seen, content).await
        {
            tracing::warn!(call.id = %permit.call, error = %error, "a recording changed while it was sent, which is not noted");
        }
        if let (Some(extra), Outcome::Answered(answer)) = (padding, &outcome) {
            let bytes = self.recording.bytes_with(Some(extra));
            let sent = RequestFingerprint { bytes, ..self.request_fingerprint() };
            self.kept.marks.check((&self.kept.log, cursor), self.on, sent, answer.transcript.as_ref());
        }
        outcome
    }

    fn answered(&self, answer: &Answer) -> End {
        let audio_ms = answer.audio_ms.or(self.recording.length().ms());
        End::Answered {
            body: answer.body.clone(),
            from_log: false,
            request_id: answer.request_id.clone(),
            content_expiry: answer.content_expiry.clone(),
            audio_ms,
            cost: audio_ms.map(|ms| self.on.config().rates.cost(self.options.model, ms).0),
        }
    }

    fn expiry<'a>(&self, answer: &'a Answer) -> (ExpireContent, Option<&'a str>) {
        (self.options.expire_content, answer.content_expiry.as_deref())
    }

    async fn reach(&self, _: JobContext<'_>) -> Reach {
        self.kept.log.reach().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_two_minutes_and_the_audios_length() {
        assert_eq!(timeout(None, Length::Exact(30_000)), Duration::from_secs(150));
        assert_eq!(timeout(None, Length::Exact(3_600_000)), Duration::from_secs(900));
        for length in [Length::Unknown, Length::Estimated(1_000)] {
            assert_eq!(timeout(None, length), Duration::from_secs(900));
        }
        assert_eq!(timeout(Some(Duration::from_secs(7)), Length::Exact(30_000)), Duration::from_secs(7));
    }
}
