//! A part's call, which puts its clip into the audio cache before anything else is done with it.

use std::{io::Cursor, time::Duration};

use bytes::Bytes;

use super::{
    SynthesisBatch, cache_fault,
    survey::{KeptClip, Script},
};
use crate::{
    audio::{AudioError, check},
    domain::{
        call::{CallFailure, ErrorKind, LogFlags, Outcome},
        job::RequestFingerprint,
        options::ExpireContent,
        synthesis::{Transport, with_words},
        synthesis_options::PART_CHARS,
    },
    large::look_into,
    runner::{Caller, DepartureCheck, JobContext, reconcile::grace_ms},
    store::{self, Clip, End, Permit, Purchase, StoreError},
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
            transport: self.transport(),
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
                    Ok(audio) if spoken.words.is_empty() => audio,
                    Ok(audio) => with_words(audio.into(), &spoken.words).into(),
                    Err(failure) => {
                        return Outcome::Unusable(CallFailure { request_id: spoken.request_id, ..failure });
                    }
                };
                match self.keep(audio).await {
                    Ok(kept) => Outcome::Answered(KeptClip {
                        bytes: kept.bytes,
                        take: kept.take,
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
            object: answer.take.map(|take| (self.clip.cache_key, take)),
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
    fn transport(&self) -> waves::Transport {
        let Self { script, .. } = self;
        let more_voices = &self.on.config().word_voices;
        match script.synthesis.transport_of(&script.options, script.bought, more_voices) {
            Transport::Sse => waves::Transport::Sse,
            Transport::Ws => waves::Transport::Ws,
            Transport::Auto | Transport::Sync => waves::Transport::Sync,
        }
    }

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

    /// Puts bought audio into the audio cache. While that cannot be written, the audio stays in memory, and on this machine's
    /// disk if the cache is elsewhere; and this turn starts nothing new. At the end of a run it is tried a little longer.
    async fn keep(&self, audio: Bytes) -> Result<store::KeptClip, CallFailure> {
        let (audio_cache, cache_key, format) =
            (self.on.store().audio_cache(), self.clip.cache_key, self.script.bought.format);
        let last = async {
            self.on.drain().cancelled().await;
            tokio::time::sleep(LAST_WAIT).await;
        };
        tokio::select! {
            biased;
            kept = self.put_at_last(&audio) => Ok(kept),
            () = last => {
                audio_cache.set_by(cache_key, format, audio).await;
                let message = "its audio came, and could not be kept before the end of the run";
                Err(CallFailure::new(ErrorKind::Truncated, message.to_owned()))
            }
        }
    }

    /// Tries until the audio is in the cache.
    async fn put_at_last(&self, audio: &Bytes) -> store::KeptClip {
        let (audio_cache, cache_key, format) =
            (self.on.store().audio_cache(), self.clip.cache_key, self.script.bought.format);
        let mut is_set_by = false;
        loop {
            let message = match self.put(audio).await {
                Ok(kept) => {
                    if is_set_by {
                        audio_cache.sent(cache_key, format).await;
                    }
                    return kept;
                }
                Err(e) => cache_fault("written", &e).unwrap_or_else(|| e.reason()),
            };
            if !is_set_by {
                audio_cache.set_by(cache_key, format, audio.clone()).await;
                is_set_by = true;
            }
            self.on.report_disk(format!("{message}; bought speech is kept in hand, and tried every second"));
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn put(&self, audio: &Bytes) -> Result<store::KeptClip, StoreError> {
        let audio_cache = self.on.store().audio_cache();
        let (cache_key, format) = (self.clip.cache_key, self.script.bought.format);
        // A disk writes them one after the other anyway, and all at once they would delay the permits of the next calls.
        let _writing = match self.on.store().clip_folder() {
            Some(_) => self.batch.writing.acquire().await.ok(),
            None => None,
        };
        audio_cache.put(cache_key, format, audio, self.replaces).await
    }
}

/// Why an answer that came whole is no part of a synthesis.
fn unusable(flaw: &AudioError) -> CallFailure {
    let kind = if let AudioError::CutShort { .. } = flaw { ErrorKind::Truncated } else { ErrorKind::UnusableAnswer };
    CallFailure::new(kind, format!("the API answered with success, but its audio is no good: {flaw}"))
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
}
