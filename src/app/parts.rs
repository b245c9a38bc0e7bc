//! The parts of a synthesis job: the start, the length and the state of each part's clip.

use std::io::{self, BufReader};

use super::{
    error::AppError,
    views::{JobPartView, JobPartsView, Seconds},
};
use crate::{
    audio::{Source, check, ms_to_sample, sample_to_ms},
    domain::{
        cost::{MicroUsd, Rates},
        cut::Part,
        identity::Identity,
        job::{CallState, Journals},
        synthesis::{ClipFormat, Rendition, Timeline},
        synthesis_options::TtsLanguage,
    },
    report::{BatchRequest, JobRequest},
    store::{ClipSource, JobDetail, Store},
};

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// This job's call was answered, and the spool has the clip.
    Bought,
    /// The spool has the clip already.
    Reused,
    /// The clip must be bought.
    Missing,
    /// The clip must be bought again.
    Forced,
    /// A call for it is in flight, or its outcome is unknown.
    Open,
    /// The part has no words: nothing is bought, and only its pause is in the audio.
    Silent,
}

impl PartState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bought => "answered",
            Self::Reused => "reused",
            Self::Missing => "missing",
            Self::Forced => "forced",
            Self::Open => "open",
            Self::Silent => "silent",
        }
    }
}

/// A part of a job.
pub struct PartStatus {
    /// The text of the part, and its position.
    pub part: Part,
    /// The cache key of its clip.
    pub cache_key: Identity,
    /// The state of its clip.
    pub state: PartState,
    /// What the clip costs at list price.
    pub cost: MicroUsd,
}

/// A job and its parts.
pub struct JobParts {
    /// What the job requests.
    pub request: JobRequest,
    /// The language that its line or its column sets.
    pub language: Option<TtsLanguage>,
    /// The parts, in order.
    pub parts: Vec<PartStatus>,
    bought: ClipFormat,
    timeline: Timeline,
}

impl JobParts {
    /// Reads the ledger and the spool. `None`: the job buys no parts, or its settings or its text are unknown.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn look(
        store: &Store,
        batch: &dyn BatchRequest,
        rates: &Rates,
        job: &JobDetail,
    ) -> Result<Option<Self>, AppError> {
        let (Some(own), Some(text)) = (job.row.overrides.as_deref(), store.text(job.row.job).await?) else {
            return Ok(None);
        };
        let Some(requested) = batch.parts(own, &text, rates) else { return Ok(None) };
        let journals = store.journals(job.row.job, job.generation).await?;
        let bought = requested.clip;
        let said: Vec<_> = requested.parts.iter().map(|one| one.part.has_words().then_some(one.cache_key)).collect();
        let clips = store.audio_cache().sources(&said, bought.format).await?;
        let lengths = tokio::task::spawn_blocking(move || clips.into_iter().map(|clip| length(clip, bought)).collect());
        let lengths: Vec<Option<u64>> = lengths.await.map_err(io::Error::other)?;
        let pauses = requested.parts.iter().map(|one| ms_to_sample(one.pause_ms.into(), bought.sample_rate));
        let timeline = Timeline::of(lengths.iter().copied().zip(pauses));
        let mut parts = Vec::with_capacity(lengths.len());
        for ((nth, one), length) in (0..).zip(requested.parts).zip(lengths) {
            let state = if one.part.has_words() {
                state(store, &journals, nth, one.cache_key, length.is_some()).await?
            } else {
                PartState::Silent
            };
            parts.push(PartStatus { part: one.part, cache_key: one.cache_key, state, cost: one.cost });
        }
        let language = serde_json::from_str::<Rendition>(own).ok().and_then(|own| own.overrides.language);
        Ok(Some(Self { request: requested.request, language, parts, bought, timeline }))
    }

    /// The start of a part, in ms. `part` counts from 0.
    fn start_ms(&self, part: usize) -> Option<u64> {
        self.timeline.start(part).map(|sample| sample_to_ms(sample, self.bought.sample_rate))
    }

    /// The length of the joined audio in ms, if all parts are there.
    #[must_use]
    pub fn end_ms(&self) -> Option<u64> {
        self.timeline.end().map(|sample| sample_to_ms(sample, self.bought.sample_rate))
    }

    /// The part at a moment of the joined audio, in ms. Parts count from 0. `None`: no part, or an unknown one.
    #[must_use]
    pub fn heard_at(&self, ms: u64) -> Option<usize> {
        self.timeline.at(ms_to_sample(ms, self.bought.sample_rate))
    }

    /// The end of the known part of the timeline, in ms.
    #[must_use]
    pub fn known_to_ms(&self) -> u64 {
        sample_to_ms(self.timeline.known_to(), self.bought.sample_rate)
    }

    /// The view of these parts.
    #[must_use]
    pub fn view(&self, job: &JobDetail) -> JobPartsView {
        let parts = (0..).zip(&self.parts).map(|(nth, now)| JobPartView {
            part: nth + 1,
            start_seconds: self.start_ms(nth).map(Seconds),
            characters: now.part.chars(),
            state: now.state.as_str(),
            paragraph: now.part.paragraph + 1,
            text: now.part.text.clone(),
            cache_key: now.cache_key.hex(),
        });
        JobPartsView {
            line: job.row.line,
            key: job.row.key.clone(),
            state: job.row.state,
            voice_id: self.request.voice_id.clone().unwrap_or_default(),
            language: self.language,
            output_format: self.request.output_format.unwrap_or(self.bought.format),
            sample_rate: self.request.sample_rate.unwrap_or(self.bought.sample_rate).hz(),
            output_name: self.request.output_name.clone().unwrap_or_default(),
            audio_seconds: self.end_ms().map(Seconds),
            parts: parts.collect(),
        }
    }
}

/// The length of a part's clip, in samples; 0 for a part without words. `None`: the clip is missing or incomplete.
fn length(clip: Option<ClipSource>, bought: ClipFormat) -> Option<u64> {
    let Some(clip) = clip else { return Some(0) };
    let mut clip = BufReader::new(clip.open().ok()?);
    check(&mut clip, bought.format, bought.sample_rate).ok().map(|checked| checked.samples)
}

async fn state(
    store: &Store,
    journals: &Journals,
    part: i64,
    cache_key: Identity,
    there: bool,
) -> Result<PartState, AppError> {
    let calls = journals.parts.get(&part).map(|journal| journal.calls.as_slice()).unwrap_or_default();
    let has = |states: &[CallState]| calls.iter().any(|call| states.contains(&call.state));
    if has(&[CallState::Sent, CallState::Accepted]) {
        return Ok(PartState::Open);
    }
    if let Some(at) = journals.forced_since(part)
        && !store.bought_since(cache_key, at).await?
    {
        return Ok(PartState::Forced);
    }
    Ok(match there {
        false => PartState::Missing,
        true if has(&[CallState::Answered]) => PartState::Bought,
        true => PartState::Reused,
    })
}
