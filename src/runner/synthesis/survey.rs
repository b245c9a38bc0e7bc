//! What a job says, part by part, and which of it is in the audio cache already.

use super::{super::RunnerShared, part::Ready};
use crate::{
    domain::{
        call::ErrorKind,
        cut::{Part, cut},
        facts::Facts,
        identity::Identity,
        job::{CallRecord, CallState, Journals},
        synthesis::{ClipFormat, Rendition, Synthesis},
        synthesis_options::SynthesisOptions,
    },
    store::{Claimed, Finish, PlannedPart, StoreError},
};

/// What a job says, and how.
#[derive(Debug)]
pub(super) struct SynthesisJob<'a> {
    pub(super) synthesis: &'a Synthesis,
    pub(super) options: SynthesisOptions,
    pub(super) rendition: Rendition,
    pub(super) bought: ClipFormat,
    pub(super) parts: Vec<Part>,
    /// What each part is named by in the audio cache; `None`: it says nothing.
    pub(super) cache_keys: Vec<Option<Identity>>,
    /// Of all parts that say something, in Unicode scalar values.
    pub(super) characters: u64,
}

impl<'a> SynthesisJob<'a> {
    pub(super) async fn of(shared: &RunnerShared, synthesis: &'a Synthesis, job: &Claimed) -> Result<Self, StoreError> {
        let unexpected = |what: String| StoreError::Unexpected(format!("`{}`: {what}", job.key));
        let json = job.overrides.as_deref().ok_or_else(|| unexpected("it has no voice and no format".into()))?;
        let rendition: Rendition = serde_json::from_str(json).map_err(|e| unexpected(format!("its options: {e}")))?;
        let text = shared.store.text(job.job).await?.ok_or_else(|| unexpected("it has no text".into()))?;
        let options = rendition.overrides.apply(&synthesis.options);
        let bought = rendition.format.bought();
        let (asked, voiced) = (synthesis.clone(), options.clone());
        let cutting = tokio::task::spawn_blocking(move || {
            let parts = cut(&text, asked.part_chars);
            let cache_key = |part: &Part| part.has_words().then(|| asked.cache_key(&voiced, &part.text, bought));
            let cache_keys = parts.iter().map(cache_key).collect();
            (parts, cache_keys)
        });
        let (parts, cache_keys): (Vec<Part>, Vec<_>) = cutting.await.expect("cutting a text does not panic");
        let characters = parts.iter().filter(|part| part.has_words()).map(|part| part.chars() as u64).sum();
        Ok(Self { synthesis, options, rendition, bought, parts, cache_keys, characters })
    }

    /// How many parts say something.
    pub(super) fn count(&self) -> u64 {
        self.cache_keys.iter().flatten().count() as u64
    }

    /// What is known of the job before it is spoken.
    pub(super) fn facts(&self) -> Facts {
        Facts { parts: Some(self.count()), ..Facts::default() }
    }

    /// The end of the job, with what is known of it.
    pub(super) fn failed(&self, kind: ErrorKind, message: String) -> Finish {
        Finish { units: Some(self.characters), facts: self.facts(), ..Finish::failed(kind, message) }
    }

    /// A part as it is named to people: `part 17 ("It was the best of…")`; nothing where there is but one.
    pub(super) fn name_of(&self, at: usize) -> Option<String> {
        const SHOWN: usize = 32;
        if self.count() < 2 {
            return None;
        }
        let text = &self.parts[at].text;
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        Some(format!("part {} (\"{}{more}\")", at + 1, shown.trim_end()))
    }

    /// The parts as they are planned; `reused`: those whose clip is there.
    fn plan(&self, reused: &[(usize, Identity)]) -> Vec<PlannedPart> {
        let planned = |(at, cache_key): (usize, &Option<Identity>)| {
            let characters = u32::try_from(self.parts[at].chars()).unwrap_or(u32::MAX);
            let reused = reused.iter().any(|(other, _)| *other == at);
            Some(PlannedPart { part: index(at), cache_key: (*cache_key)?, characters, reused })
        };
        self.cache_keys.iter().enumerate().filter_map(planned).collect()
    }

    /// Whether another version of wavebatch cut this text in another way: what it bought is of other parts.
    fn is_planned_otherwise(&self, journals: &Journals) -> bool {
        let other = |(at, cache_key): (usize, &Option<Identity>)| {
            journals.planned.get(&index(at)).is_some_and(|planned| Some(*planned) != *cache_key)
        };
        self.cache_keys.iter().enumerate().any(other)
    }

    /// Whether the ledger knows these parts as what they are.
    fn is_planned(&self, journals: &Journals) -> bool {
        let known = |(at, cache_key): (usize, &Option<Identity>)| {
            cache_key.is_none_or(|cache_key| journals.planned.get(&index(at)) == Some(&cache_key))
        };
        self.cache_keys.iter().enumerate().all(known)
    }
}

/// What the audio cache and the journals say of a job's parts.
#[derive(Debug)]
pub(super) struct Surveyed {
    /// How each part came to the audio cache; `None`: it is not there, or says nothing.
    pub(super) ready: Vec<Option<Ready>>,
    pub(super) journals: Journals,
    pub(super) fresh: Fresh,
    pub(super) lost: Lost,
}

/// Parts that were there once, and whose files are gone from the audio cache.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// This job's calls have bought them.
    pub(super) bought: Vec<usize>,
    /// Somebody else's have.
    pub(super) reused: Vec<usize>,
}

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        self.bought.is_empty() && self.reused.is_empty()
    }

    /// All of them, as the ledger counts them.
    pub(super) fn parts(&self) -> Vec<i64> {
        self.bought.iter().chain(&self.reused).map(|at| index(*at)).collect()
    }
}

/// From when on a clip must be, for parts that not any will do for.
#[derive(Debug)]
pub(super) struct Fresh {
    /// For all of them.
    all: Option<i64>,
    parts: Vec<Option<i64>>,
}

impl Fresh {
    async fn of(
        shared: &RunnerShared,
        job: &Claimed,
        synthesis_job: &SynthesisJob<'_>,
        journals: &Journals,
    ) -> Result<Self, StoreError> {
        let all = if synthesis_job.rendition.no_reuse { Some(shared.store.submitted_at(job.job).await?) } else { None };
        let parts = (0..).take(synthesis_job.parts.len()).map(|part| journals.forced_since(part)).collect();
        Ok(Self { all, parts })
    }

    pub(super) fn since(&self, at: usize) -> Option<i64> {
        self.all.max(self.parts.get(at).copied().flatten())
    }
}

/// Looks at the audio cache for all parts at once, and notes what is reused. What takes more than a look is left to be found out
/// part by part. `None`: the lease is lost.
pub(super) async fn survey(
    shared: &RunnerShared,
    job: &Claimed,
    synthesis_job: &SynthesisJob<'_>,
) -> Result<Option<Surveyed>, StoreError> {
    let mut journals = shared.store.journals(job.job, job.generation).await?;
    if synthesis_job.is_planned_otherwise(&journals) {
        if !shared.store.plan_parts(job.job, job.token, &synthesis_job.plan(&[])).await? {
            return Ok(None);
        }
        journals = shared.store.journals(job.job, job.generation).await?;
    }
    let fresh = Fresh::of(shared, job, synthesis_job, &journals).await?;
    let mut ready = vec![None; synthesis_job.parts.len()];
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (at, cache_key) in synthesis_job.cache_keys.iter().enumerate() {
        let Some(cache_key) = *cache_key else { continue };
        let journal = journals.of(index(at));
        if journal.calls.iter().any(|call| call.state == CallState::Answered) {
            own.push((at, cache_key));
        } else if fresh.since(at).is_none() && !journal.calls.iter().any(CallRecord::is_open) {
            others.push((at, cache_key));
        }
    }
    let mut lost = Lost { bought: own.iter().map(|(at, _)| *at).collect(), reused: Vec::new() };
    for (at, _) in in_audio_cache(shared, synthesis_job, own).await? {
        ready[at] = Some(Ready { bought: true, billed: journals.of(index(at)).billed(), answer: None });
    }
    let found = in_audio_cache(shared, synthesis_job, others).await?;
    let noted = if !synthesis_job.is_planned(&journals) {
        shared.store.plan_parts(job.job, job.token, &synthesis_job.plan(&found)).await?
    } else if !found.is_empty() {
        shared.store.reuse(job.job, job.token, found.iter().map(|(at, _)| index(*at)).collect()).await?
    } else {
        true
    };
    if !noted {
        return Ok(None);
    }
    if !found.is_empty() {
        // Looked at again: what was noted first cannot be pruned in between.
        for (at, _) in in_audio_cache(shared, synthesis_job, found).await? {
            ready[at] = Some(Ready::default());
        }
    }
    lost.bought.retain(|at| ready[*at].is_none());
    let without =
        synthesis_job.cache_keys.iter().enumerate().filter(|(at, _)| ready[*at].is_none() && !lost.bought.contains(at));
    let reused: Vec<_> = without
        .filter_map(|(at, cache_key)| Some((at, (*cache_key)?)))
        .filter(|(at, _)| journals.reused.contains(&index(*at)))
        .collect();
    if !reused.is_empty() {
        lost.reused = reused.iter().map(|(at, _)| *at).collect();
        let there = in_audio_cache(shared, synthesis_job, reused).await?;
        lost.reused.retain(|at| there.iter().all(|(other, _)| other != at));
    }
    Ok(Some(Surveyed { ready, journals, fresh, lost }))
}

/// Those of the parts whose clip is in the audio cache. They are used now.
async fn in_audio_cache(
    shared: &RunnerShared,
    synthesis_job: &SynthesisJob<'_>,
    parts: Vec<(usize, Identity)>,
) -> Result<Vec<(usize, Identity)>, StoreError> {
    let (audio_cache, format) = (shared.store.audio_cache(), synthesis_job.bought.format);
    let look = move || {
        let mut found = Vec::with_capacity(parts.len());
        for (at, cache_key) in parts {
            if audio_cache.is_kept(cache_key, format)? {
                audio_cache.touch(cache_key, format);
                found.push((at, cache_key));
            }
        }
        Ok(found)
    };
    tokio::task::spawn_blocking(look).await.expect("looking at the audio cache does not panic")
}

/// A part as the ledger counts it.
pub(super) fn index(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
