//! A part's call, which puts its clip into the audio cache before anything else is done with it.

use std::{
    io::{Cursor, Write},
    time::Duration,
};

use bytes::Bytes;

use super::{
    SynthesisBatch,
    survey::{KeptClip, Script},
};
use crate::{
    audio::{AudioError, check},
    domain::{
        call::{CallFailure, ErrorKind, LogFlags, Outcome},
        job::RequestFingerprint,
        options::ExpireContent,
        synthesis::Transport,
        synthesis_options::{AudioFormat, PART_CHARS},
    },
    large::look_into,
    runner::{Caller, DepartureCheck, JobContext, disk, reconcile::grace_ms},
    store::{Clip, End, Permit, Purchase},
    waves::{self, SynthesisCall},
};

/// The time-out of a part's call, unless the definition sets one.
const TIMEOUT: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a spool that cannot be written is tried again, and for how long at the end of a run.
const RETRY: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(20);

/// Buys the clip of one part.
pub(super) struct PartCaller<'a> {
    pub(super) on: JobContext<'a>,
    pub(super) batch: &'a SynthesisBatch,
    pub(super) script: &'a Script<'a>,
    pub(super) text: &'a str,
    pub(super) clip: Clip,
    /// Whether the clip under this key in the audio cache is to be replaced.
    pub(super) replaces: bool,
}

impl Caller for PartCaller<'_> {
    type Answer = KeptClip;

    fn buys(&self) -> Purchase {
        Purchase::Clip(self.clip)
    }

    fn unpriced(&self) -> Option<&str> {
        let model = &self.script.options.model;
        self.on.config().rates.known_per_10k_chars(*model).is_none().then(|| model.as_str())
    }

    fn request_fingerprint(&self) -> RequestFingerprint {
        let options = &self.script.options;
        RequestFingerprint {
            model: options.model.to_string(),
            language: options.language.map(|language| language.to_string()).unwrap_or_default(),
            flags: LogFlags::default(),
            bytes: None,
            audio_ms: None,
            estimated_ms: None,
            keywords: Default::default(),
        }
    }

    fn timeout(&self) -> Duration {
        self.on.run().call_timeout.unwrap_or_else(|| {
            // Text beyond a recommended part's length takes more time.
            let beyond = u64::from(self.clip.characters).saturating_sub(PART_CHARS as u64);
            let expected_ms = self.script.synthesis.expected_ms(beyond, self.script.options.speed);
            (TIMEOUT + Duration::from_millis(expected_ms)).min(TIMEOUT_MAX)
        })
    }

    fn grace_ms(&self) -> i64 {
        let Self { script, clip, .. } = self;
        let expected_ms = script.synthesis.expected_ms(clip.characters.into(), script.options.speed);
        grace_ms(self.on.run().unknown_grace, Some(expected_ms))
    }

    async fn send(&self, permit: &Permit, departs: DepartureCheck) -> Outcome<KeptClip> {
        let Self { script, .. } = self;
        let id = permit.call.to_string();
        let dictionaries: Vec<String> = script.synthesis.dictionary.iter().filter_map(|own| own.id.clone()).collect();
        let call = SynthesisCall {
            options: &script.options,
            text: self.text,
            format: script.bought.format,
            rate: script.bought.sample_rate,
            dictionaries: &dictionaries,
            transport: transport(script.synthesis.transport, script.bought.format),
            call_id: &id,
            session: self.on.batch_name(),
        };
        let timeout = self.timeout();
        // A part is at most a few minutes of audio. In memory it survives a full disk.
        let mut audio = Vec::new();
        let outcome = self.on.client().synthesize(&call, move || departs.asked(), timeout, &mut audio).await;
        let outcome = outcome.expect("memory takes what it is given");
        self.on.note_local_outage(&outcome);
        match outcome {
            Outcome::Answered(spoken) => {
                // The request is over: another one may start before this one's audio is on disk. If this cannot be recorded
                // now, it is recorded with the end.
                let _ = self.on.store().free_slot(permit.call).await;
                let audio = match self.checked(audio.into()).await {
                    Ok(audio) => audio,
                    Err(failure) => {
                        return Outcome::Unusable(CallFailure { request_id: spoken.request_id, ..failure });
                    }
                };
                match self.keep(audio).await {
                    Ok(bytes) => Outcome::Answered(KeptClip {
                        bytes,
                        request_id: spoken.request_id,
                        content_expiry: spoken.content_expiry,
                        processing_ms: 0,
                    }),
                    Err(failure) => Outcome::Unknown(failure),
                }
            }
            other => other.map(|_| KeptClip::default()),
        }
    }

    fn answered(&self, answer: &KeptClip) -> End {
        End::Synthesized {
            bytes: answer.bytes,
            found: false,
            request_id: answer.request_id.clone(),
            content_expiry: answer.content_expiry.clone(),
        }
    }

    fn expiry<'a>(&self, answer: &'a KeptClip) -> (ExpireContent, Option<&'a str>) {
        (self.script.options.expire_content, answer.content_expiry.as_deref())
    }
}

impl PartCaller<'_> {
    /// The audio, if it can be joined: what is wrong with it is the answer's fault now, and would look like the disk's later.
    async fn checked(&self, audio: Bytes) -> Result<Bytes, CallFailure> {
        let (format, rate) = (self.script.bought.format, self.script.bought.sample_rate);
        let looked = audio.clone();
        let check = move || check(&mut Cursor::new(looked), format, rate);
        match look_into(audio.len() as u64, check).await {
            Ok(_) => Ok(audio),
            Err(flaw) => Err(unusable(&flaw)),
        }
    }

    /// Puts bought audio into the audio cache. While that cannot be written, the audio stays in memory, and this turn starts
    /// nothing new.
    async fn keep(&self, audio: Bytes) -> Result<u64, CallFailure> {
        let mut waited = None;
        loop {
            let message = match self.put(audio.clone()).await {
                Ok(()) => return Ok(audio.len() as u64),
                Err(e) => disk::message(self.on.store().audio_cache().root(), &e),
            };
            if waited.is_none() {
                self.on.report_disk(format!("{message}; bought speech is kept in hand, and tried every second"));
                waited = Some(Duration::ZERO);
            }
            if self.on.drain().is_cancelled() {
                waited = waited.map(|time| time + RETRY);
            }
            if waited.is_some_and(|time| time > LAST_WAIT) {
                return Err(CallFailure::new(ErrorKind::Truncated, format!("its audio came, and {message}")));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn put(&self, audio: Bytes) -> std::io::Result<()> {
        // The disk writes them one after the other anyway, and all at once they would delay the permits of the next calls.
        let _writing = self.batch.writing.acquire().await;
        let (audio_cache, cache_key, replaces) = (self.on.store().audio_cache(), self.clip.cache_key, self.replaces);
        let format = self.script.bought.format;
        let putting = tokio::task::spawn_blocking(move || {
            let (draft, mut file) = audio_cache.draft()?;
            file.write_all(&audio)?;
            drop(file);
            audio_cache.keep(&draft, cache_key, format, replaces)
        });
        putting.await.expect("writing a file does not panic")
    }
}

/// Why an answer that came whole is no part of a synthesis.
fn unusable(flaw: &AudioError) -> CallFailure {
    let kind = if let AudioError::CutShort { .. } = flaw { ErrorKind::Truncated } else { ErrorKind::UnusableAnswer };
    CallFailure::new(kind, format!("the API answered with success, but its audio is no good: {flaw}"))
}

/// Events carry only samples.
fn transport(asked: Transport, bought: AudioFormat) -> waves::Transport {
    match asked {
        Transport::Sse if bought == AudioFormat::Pcm => waves::Transport::Sse,
        Transport::Auto | Transport::Sync | Transport::Sse => waves::Transport::Sync,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_answer_is_told_from_another_one() {
        let cut = AudioError::CutShort { unit: "bytes of its last frame", has: 72, declared: 144 };
        assert_eq!(unusable(&cut).kind, ErrorKind::Truncated);
        let other = AudioError::Differs { what: "sample rate", found: 8_000, wanted: 24_000 };
        assert_eq!(unusable(&other).kind, ErrorKind::UnusableAnswer);
        let said = unusable(&other).message;
        assert!(said.ends_with("its sample rate is 8000, not 24000"), "{said}");
    }

    #[test]
    fn events_are_for_samples_alone() {
        assert_eq!(transport(Transport::Sse, AudioFormat::Pcm), waves::Transport::Sse);
        assert_eq!(transport(Transport::Sse, AudioFormat::Mp3), waves::Transport::Sync);
        assert_eq!(transport(Transport::Auto, AudioFormat::Pcm), waves::Transport::Sync);
    }
}
