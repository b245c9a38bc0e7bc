//! What a job says, part by part, and which of it is on the shelf already.

use super::part::Ready;
use crate::{
    domain::{
        call::ErrorKind,
        cut::{Part, cut},
        facts::Facts,
        identity::Identity,
        job::{CallRecord, CallState, Journals},
        speech::SpeechOptions,
        synthesis::{Bought, Rendition, Synthesis},
    },
    runner::Shared,
    store::{Claimed, Finish, PlannedPart, StoreError},
};

/// What a job says, and how.
#[derive(Debug)]
pub(crate) struct Speech<'a> {
    pub(crate) synthesis: &'a Synthesis,
    pub(crate) options: SpeechOptions,
    pub(crate) rendition: Rendition,
    pub(crate) bought: Bought,
    pub(crate) parts: Vec<Part>,
    /// What each part is named by on the shelf; `None`: it says nothing.
    pub(crate) sounds: Vec<Option<Identity>>,
    /// Of all parts that say something, in Unicode scalar values.
    pub(crate) characters: u64,
}

impl<'a> Speech<'a> {
    pub(crate) async fn of(shared: &Shared, synthesis: &'a Synthesis, job: &Claimed) -> Result<Self, StoreError> {
        let unexpected = |what: String| StoreError::Unexpected(format!("`{}`: {what}", job.key));
        let json = job.overrides.as_deref().ok_or_else(|| unexpected("it has no voice and no format".into()))?;
        let rendition: Rendition = serde_json::from_str(json).map_err(|e| unexpected(format!("its options: {e}")))?;
        let text = shared.store.text(job.job).await?.ok_or_else(|| unexpected("it has no text".into()))?;
        let options = rendition.overrides.apply(&synthesis.options);
        let bought = rendition.format.bought();
        let (asked, voiced) = (synthesis.clone(), options.clone());
        let cutting = tokio::task::spawn_blocking(move || {
            let parts = cut(&text, asked.part_chars);
            let sound = |part: &Part| part.has_words().then(|| asked.sound(&voiced, &part.text, bought));
            let sounds = parts.iter().map(sound).collect();
            (parts, sounds)
        });
        let (parts, sounds): (Vec<Part>, Vec<_>) = cutting.await.expect("cutting a text does not panic");
        let characters = parts.iter().filter(|part| part.has_words()).map(|part| part.chars() as u64).sum();
        Ok(Self { synthesis, options, rendition, bought, parts, sounds, characters })
    }

    /// How many parts say something.
    pub(crate) fn count(&self) -> u64 {
        self.sounds.iter().flatten().count() as u64
    }

    /// What is known of the job before it is spoken.
    pub(crate) fn facts(&self) -> Facts {
        Facts { parts: Some(self.count()), ..Facts::default() }
    }

    /// The end of the job, with what is known of it.
    pub(crate) fn failed(&self, kind: ErrorKind, told: String) -> Finish {
        Finish { units: Some(self.characters), facts: self.facts(), ..Finish::failed(kind, told) }
    }

    /// A part as it is named to people: `part 17 ("It was the best of…")`; nothing where there is but one.
    pub(crate) fn name_of(&self, at: usize) -> Option<String> {
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
        let planned = |(at, sound): (usize, &Option<Identity>)| {
            let characters = u32::try_from(self.parts[at].chars()).unwrap_or(u32::MAX);
            let reused = reused.iter().any(|(other, _)| *other == at);
            Some(PlannedPart { part: index(at), cache_key: (*sound)?, characters, reused })
        };
        self.sounds.iter().enumerate().filter_map(planned).collect()
    }

    /// Whether another version of wavebatch cut this text in another way: what it bought is of other parts.
    fn is_planned_otherwise(&self, journals: &Journals) -> bool {
        let other = |(at, sound): (usize, &Option<Identity>)| {
            journals.planned.get(&index(at)).is_some_and(|planned| Some(*planned) != *sound)
        };
        self.sounds.iter().enumerate().any(other)
    }

    /// Whether the ledger knows these parts as what they are.
    fn is_planned(&self, journals: &Journals) -> bool {
        let known = |(at, sound): (usize, &Option<Identity>)| {
            sound.is_none_or(|sound| journals.planned.get(&index(at)) == Some(&sound))
        };
        self.sounds.iter().enumerate().all(known)
    }
}

/// What the shelf and the journals say of a job's parts.
#[derive(Debug)]
pub(crate) struct Surveyed {
    /// How each part came to the shelf; `None`: it is not there, or says nothing.
    pub(crate) ready: Vec<Option<Ready>>,
    pub(crate) journals: Journals,
    pub(crate) fresh: Fresh,
    pub(crate) lost: Lost,
}

/// Parts that were there once, and whose files are gone from the shelf.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// This job's calls have bought them.
    pub(crate) bought: Vec<usize>,
    /// Somebody else's have.
    pub(crate) reused: Vec<usize>,
}

impl Lost {
    pub(crate) fn is_empty(&self) -> bool {
        self.bought.is_empty() && self.reused.is_empty()
    }

    /// All of them, as the ledger counts them.
    pub(crate) fn parts(&self) -> Vec<i64> {
        self.bought.iter().chain(&self.reused).map(|at| index(*at)).collect()
    }
}

/// From when on a sound must be, for parts that not any will do for.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// For all of them.
    all: Option<i64>,
    parts: Vec<Option<i64>>,
}

impl Fresh {
    async fn of(shared: &Shared, job: &Claimed, speech: &Speech<'_>, journals: &Journals) -> Result<Self, StoreError> {
        let all = if speech.rendition.no_reuse { Some(shared.store.submitted_at(job.job).await?) } else { None };
        let parts = (0..).take(speech.parts.len()).map(|part| journals.forced_since(part)).collect();
        Ok(Self { all, parts })
    }

    pub(crate) fn since(&self, at: usize) -> Option<i64> {
        self.all.max(self.parts.get(at).copied().flatten())
    }
}

/// Looks at the shelf for all parts at once, and notes what is reused. What takes more than a look is left to be found out
/// part by part. `None`: the lease is lost.
pub(crate) async fn survey(
    shared: &Shared,
    job: &Claimed,
    speech: &Speech<'_>,
) -> Result<Option<Surveyed>, StoreError> {
    let mut journals = shared.store.journals(job.job, job.generation).await?;
    if speech.is_planned_otherwise(&journals) {
        if !shared.store.plan_parts(job.job, job.token, &speech.plan(&[])).await? {
            return Ok(None);
        }
        journals = shared.store.journals(job.job, job.generation).await?;
    }
    let fresh = Fresh::of(shared, job, speech, &journals).await?;
    let mut ready = vec![None; speech.parts.len()];
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (at, sound) in speech.sounds.iter().enumerate() {
        let Some(sound) = *sound else { continue };
        let journal = journals.of(index(at));
        if journal.calls.iter().any(|call| call.state == CallState::Answered) {
            own.push((at, sound));
        } else if fresh.since(at).is_none() && !journal.calls.iter().any(CallRecord::is_open) {
            others.push((at, sound));
        }
    }
    let mut lost = Lost { bought: own.iter().map(|(at, _)| *at).collect(), reused: Vec::new() };
    for (at, _) in on_shelf(shared, speech, own).await? {
        ready[at] = Some(Ready { bought: true, billed: journals.of(index(at)).billed(), answer: None });
    }
    let found = on_shelf(shared, speech, others).await?;
    let noted = if !speech.is_planned(&journals) {
        shared.store.plan_parts(job.job, job.token, &speech.plan(&found)).await?
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
        for (at, _) in on_shelf(shared, speech, found).await? {
            ready[at] = Some(Ready::default());
        }
    }
    lost.bought.retain(|at| ready[*at].is_none());
    let without = speech.sounds.iter().enumerate().filter(|(at, _)| ready[*at].is_none() && !lost.bought.contains(at));
    let reused: Vec<_> = without
        .filter_map(|(at, sound)| Some((at, (*sound)?)))
        .filter(|(at, _)| journals.reused.contains(&index(*at)))
        .collect();
    if !reused.is_empty() {
        lost.reused = reused.iter().map(|(at, _)| *at).collect();
        let there = on_shelf(shared, speech, reused).await?;
        lost.reused.retain(|at| there.iter().all(|(other, _)| other != at));
    }
    Ok(Some(Surveyed { ready, journals, fresh, lost }))
}

/// Those of the parts whose sound is on the shelf. They are used now.
async fn on_shelf(
    shared: &Shared,
    speech: &Speech<'_>,
    parts: Vec<(usize, Identity)>,
) -> Result<Vec<(usize, Identity)>, StoreError> {
    let (shelf, format) = (shared.store.shelf(), speech.bought.format);
    let look = move || {
        let mut found = Vec::with_capacity(parts.len());
        for (at, sound) in parts {
            if shelf.is_kept(sound, format)? {
                shelf.touch(sound, format);
                found.push((at, sound));
            }
        }
        Ok(found)
    };
    tokio::task::spawn_blocking(look).await.expect("looking at the shelf does not panic")
}

/// A part as the ledger counts it.
pub(crate) fn index(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
