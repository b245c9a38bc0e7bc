//! The parts of a job's text, and which of them are in the audio cache already.

use crate::{
    domain::{
        call::ErrorKind,
        cut::Part,
        facts::Facts,
        identity::Identity,
        job::{CallRecord, CallState, Journals},
        synthesis::{ClipFormat, Rendition, Synthesis},
        synthesis_options::SynthesisOptions,
    },
    runner::JobContext,
    store::{Finish, PlannedPart, StoreError},
};

/// How a part came into the audio cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// By a call of its own job.
    pub(super) bought: bool,
    /// The number of that job's calls for it that may have been billed.
    pub(super) billed: u32,
    /// The answer of that call, if it was made just now.
    pub(super) answer: Option<KeptClip>,
}

/// What is kept of an answer beside its audio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeptClip {
    /// Length of the file in bytes.
    pub(super) bytes: u64,
    /// The object that has it, where clips are objects.
    pub(super) take: Option<u32>,
    pub(super) request_id: Option<String>,
    pub(super) content_expiry: Option<String>,
    /// From intent to answer, in ms.
    pub(super) processing_ms: i64,
}

/// A job's text in parts, and how it is synthesized.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) synthesis: &'a Synthesis,
    pub(super) options: SynthesisOptions,
    pub(super) rendition: Rendition,
    pub(super) bought: ClipFormat,
    pub(super) parts: Vec<Part>,
    /// The key of each part's clip; `None`: the part has no words.
    pub(super) cache_keys: Vec<Option<Identity>>,
    /// Characters of all parts with words, in Unicode scalar values.
    pub(super) characters: u64,
}

impl<'a> Script<'a> {
    pub(super) async fn of(on: JobContext<'_>, synthesis: &'a Synthesis) -> Result<Self, StoreError> {
        let job = on.job();
        let unexpected = |what: String| StoreError::Unexpected(format!("`{}`: {what}", job.key));
        let json = job.overrides.as_deref().ok_or_else(|| unexpected("it has no voice and no format".into()))?;
        let rendition: Rendition = serde_json::from_str(json).map_err(|e| unexpected(format!("its options: {e}")))?;
        let text = on.store().text(job.job).await?.ok_or_else(|| unexpected("it has no text".into()))?;
        let options = rendition.overrides.apply(&synthesis.options);
        let bought = rendition.format.bought();
        let (asked, voiced) = (synthesis.clone(), options.clone());
        let cutting = tokio::task::spawn_blocking(move || {
            let parts: Vec<Part> = asked.parts(&voiced, &text).collect();
            let cache_key = |part: &Part| part.has_words().then(|| asked.cache_key(&voiced, &part.text, bought));
            let cache_keys = parts.iter().map(cache_key).collect();
            (parts, cache_keys)
        });
        let (parts, cache_keys): (Vec<Part>, Vec<_>) = cutting.await.expect("cutting a text does not panic");
        let characters = parts.iter().filter(|part| part.has_words()).map(|part| part.chars() as u64).sum();
        Ok(Self { synthesis, options, rendition, bought, parts, cache_keys, characters })
    }

    /// The number of parts with words.
    pub(super) fn count(&self) -> u64 {
        self.cache_keys.iter().flatten().count() as u64
    }

    /// What is known of the job before its parts are bought.
    pub(super) fn facts(&self) -> Facts {
        Facts { parts: Some(self.count()), ..Facts::default() }
    }

    /// The end of the job, with what is known of it.
    pub(super) fn failed(&self, kind: ErrorKind, message: String) -> Finish {
        Finish { units: Some(self.characters), facts: self.facts(), ..Finish::failed(kind, message) }
    }

    /// The name of a part in messages: `part 17 ("It was the best of…")`; `None` if there is only one.
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

    /// The planned parts; `reused`: those whose clip exists already.
    fn plan(&self, reused: &[(usize, Identity)]) -> Vec<PlannedPart> {
        let planned = |(at, cache_key): (usize, &Option<Identity>)| {
            let characters = u32::try_from(self.parts[at].chars()).unwrap_or(u32::MAX);
            let reused = reused.iter().any(|(other, _)| *other == at);
            Some(PlannedPart { part: index(at), cache_key: (*cache_key)?, characters, reused })
        };
        self.cache_keys.iter().enumerate().filter_map(planned).collect()
    }

    /// Whether another version of wavebatch cut this text differently: its purchases are other parts.
    fn has_other_plan(&self, journals: &Journals) -> bool {
        let other = |(at, cache_key): (usize, &Option<Identity>)| {
            journals.planned.get(&index(at)).is_some_and(|planned| Some(*planned) != *cache_key)
        };
        self.cache_keys.iter().enumerate().any(other)
    }

    /// Whether the ledger has these parts under these keys.
    fn is_planned(&self, journals: &Journals) -> bool {
        let known = |(at, cache_key): (usize, &Option<Identity>)| {
            cache_key.is_none_or(|cache_key| journals.planned.get(&index(at)) == Some(&cache_key))
        };
        self.cache_keys.iter().enumerate().all(known)
    }
}

/// What the audio cache and the journals show about a job's parts.
#[derive(Debug)]
pub(super) struct Surveyed {
    /// How each part came into the audio cache; `None`: it is not there, or has no words.
    pub(super) ready: Vec<Option<Ready>>,
    pub(super) journals: Journals,
    pub(super) fresh: Fresh,
    pub(super) lost: Lost,
}

/// Parts that existed once, and whose files are gone from the audio cache.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Those that this job's calls bought.
    pub(super) bought: Vec<usize>,
    /// Those that other jobs' calls bought.
    pub(super) reused: Vec<usize>,
}

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        self.bought.is_empty() && self.reused.is_empty()
    }

    /// All lost parts, by the ledger's index.
    pub(super) fn parts(&self) -> Vec<i64> {
        self.bought.iter().chain(&self.reused).map(|at| index(*at)).collect()
    }
}

/// The time since when a clip must have been bought, for parts that have such a limit.
#[derive(Debug)]
pub(super) struct Fresh {
    /// The limit for all parts.
    all: Option<i64>,
    parts: Vec<Option<i64>>,
}

impl Fresh {
    async fn of(on: JobContext<'_>, script: &Script<'_>, journals: &Journals) -> Result<Self, StoreError> {
        let all = if script.rendition.no_reuse { Some(on.store().submitted_at(on.job().job).await?) } else { None };
        let parts = (0..).take(script.parts.len()).map(|part| journals.forced_since(part)).collect();
        Ok(Self { all, parts })
    }

    pub(super) fn since(&self, at: usize) -> Option<i64> {
        self.all.max(self.parts.get(at).copied().flatten())
    }
}

/// Looks up all parts in the audio cache at once, and records what is reused. Anything that takes longer is left to the
/// individual parts. `None`: the lease is lost.
pub(super) async fn survey(on: JobContext<'_>, script: &Script<'_>) -> Result<Option<Surveyed>, StoreError> {
    let (store, job) = (on.store(), on.job());
    let mut journals = store.journals(job.job, job.generation).await?;
    if script.has_other_plan(&journals) {
        if !store.plan_parts(job.job, job.token, &script.plan(&[])).await? {
            return Ok(None);
        }
        journals = store.journals(job.job, job.generation).await?;
    }
    let fresh = Fresh::of(on, script, &journals).await?;
    let mut ready = vec![None; script.parts.len()];
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (at, cache_key) in script.cache_keys.iter().enumerate() {
        let Some(cache_key) = *cache_key else { continue };
        let journal = journals.of(index(at));
        if journal.calls.iter().any(|call| call.state == CallState::Answered) {
            own.push((at, cache_key));
        } else if fresh.since(at).is_none() && !journal.calls.iter().any(CallRecord::is_open) {
            others.push((at, cache_key));
        }
    }
    let mut lost = Lost { bought: own.iter().map(|(at, _)| *at).collect(), reused: Vec::new() };
    for (at, _) in in_cache(on, script, own).await? {
        ready[at] = Some(Ready { bought: true, billed: journals.of(index(at)).billed(), answer: None });
    }
    let found = in_cache(on, script, others).await?;
    let noted = if !script.is_planned(&journals) {
        store.plan_parts(job.job, job.token, &script.plan(&found)).await?
    } else if !found.is_empty() {
        store.reuse(job.job, job.token, found.iter().map(|(at, _)| index(*at)).collect()).await?
    } else {
        true
    };
    if !noted {
        return Ok(None);
    }
    if !found.is_empty() {
        // Read again: a clip whose use is recorded first cannot be pruned in between.
        for (at, _) in in_cache(on, script, found).await? {
            ready[at] = Some(Ready::default());
        }
    }
    lost.bought.retain(|at| ready[*at].is_none());
    let without =
        script.cache_keys.iter().enumerate().filter(|(at, _)| ready[*at].is_none() && !lost.bought.contains(at));
    let reused: Vec<_> = without
        .filter_map(|(at, cache_key)| Some((at, (*cache_key)?)))
        .filter(|(at, _)| journals.reused.contains(&index(*at)))
        .collect();
    if !reused.is_empty() {
        lost.reused = reused.iter().map(|(at, _)| *at).collect();
        let there = in_cache(on, script, reused).await?;
        lost.reused.retain(|at| there.iter().all(|(other, _)| other != at));
    }
    Ok(Some(Surveyed { ready, journals, fresh, lost }))
}

/// Those of the parts whose clip is in the audio cache. Their use is recorded as now.
async fn in_cache(
    on: JobContext<'_>,
    script: &Script<'_>,
    parts: Vec<(usize, Identity)>,
) -> Result<Vec<(usize, Identity)>, StoreError> {
    let wanted = parts.iter().map(|(_, cache_key)| *cache_key).collect();
    let found = on.store().audio_cache().find(wanted, script.bought.format).await?;
    Ok(parts.into_iter().filter(|(_, cache_key)| found.contains_key(cache_key)).collect())
}

/// The index of a part in the ledger.
pub(super) fn index(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
