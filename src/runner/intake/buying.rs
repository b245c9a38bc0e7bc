//! What the texts of a manifest would buy, told before anything is bought.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use tokio::runtime::Handle;

use super::{IntakeError, scanned::Scanned, synthesis::SynthesisJobBuilder};
use crate::{
    definition::{
        Definition, Spooled, Synthesizing,
        manifest::texts::{TextLine, TextRow, Texts},
    },
    domain::{
        cost::{MicroUsd, Rates},
        cut::{self, Part},
        identity::Identity,
        job::BatchId,
        synthesis_options::TtsModel,
    },
    store::{AudioCache, Diff, NewJob, Store},
};

/// Jobs that are held against the ledger at once.
const AT_ONCE: usize = 2_000;
/// Characters of text that are held for them.
const TEXT_AT_ONCE: usize = 4 << 20;

/// Characters, by the model that speaks them.
pub type Characters = BTreeMap<TtsModel, u64>;

/// What is to be spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purchases {
    /// Parts of all texts, each voice and purchase counted.
    pub all_parts: u64,
    /// Characters of these.
    pub all_characters: Characters,
    /// Jobs that would be worked.
    pub jobs: u64,
    /// Parts that would be bought for them: those whose clip is neither kept nor bought for another of them.
    pub parts: u64,
    /// Characters of these.
    pub characters: Characters,
    /// Jobs that are done, and that other options ask for again.
    pub again: u64,
    /// Characters that would be bought for these.
    pub again_characters: Characters,
}

impl Purchases {
    /// What the new characters cost at list price.
    #[must_use]
    pub fn cost(&self, rates: &Rates) -> MicroUsd {
        cost(&self.characters, rates)
    }
}

/// What characters cost at list price.
#[must_use]
pub fn cost(characters: &Characters, rates: &Rates) -> MicroUsd {
    characters.iter().map(|(model, characters)| rates.synthesis_cost(*model, *characters)).sum()
}

/// Reads all texts once more, and holds their jobs against the batch and their parts against the audio cache, where there are
/// such.
pub(super) async fn look(
    store: Option<&Store>,
    batch: Option<BatchId>,
    definition: &Definition,
    copy: Option<&Spooled>,
    scanned: &std::sync::Arc<Scanned>,
) -> Result<(Diff, Purchases), IntakeError> {
    let (store, definition, copy) = (store.cloned(), definition.clone(), copy.cloned());
    let (scanned, handle) = (std::sync::Arc::clone(scanned), Handle::current());
    let looked = tokio::task::spawn_blocking(move || {
        let (Some(asked), Some(scan)) = (definition.synthesizing(), scanned.texts()) else {
            return Ok((Diff::default(), Purchases::default()));
        };
        let texts = Texts::open(&definition, asked, copy.as_ref())?;
        let against = store.as_ref().zip(batch).map(|(store, batch)| Against { store, batch, handle });
        let mut count = Count::new(asked, store.as_ref().map(Store::audio_cache));
        let mut builder = SynthesisJobBuilder::new(&asked.synthesis);
        let (mut lines, mut jobs, mut text) = (Vec::new(), Vec::new(), 0);
        for row in texts.lines(scan)? {
            let TextRow::Good(line) = row? else { continue };
            text += line.text.len();
            jobs.extend(builder.good((*line).clone(), None));
            lines.push(*line);
            if jobs.len() >= AT_ONCE || text >= TEXT_AT_ONCE {
                count.add(&std::mem::take(&mut lines), &std::mem::take(&mut jobs), against.as_ref())?;
                text = 0;
            }
        }
        count.add(&lines, &jobs, against.as_ref())?;
        Ok((count.diff, count.found))
    });
    looked.await.map_err(|_| IntakeError::Interrupted)?
}

/// How a job stands with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JobPlan {
    /// It would be worked.
    works: bool,
    /// It is bought, and other options ask for it again.
    again: bool,
}

struct Against<'s> {
    store: &'s Store,
    batch: BatchId,
    handle: Handle,
}

impl Against<'_> {
    /// The ledger counts and does not name: sets that are not all alike are halved until they are. Mostly they are.
    fn job_plans(&self, jobs: &[NewJob]) -> Result<(Diff, Vec<JobPlan>), IntakeError> {
        let mut job_plans = vec![JobPlan { works: false, again: false }; jobs.len()];
        let mut whole = None;
        let mut open: Vec<Range<usize>> = std::iter::once(0..jobs.len()).filter(|all| !all.is_empty()).collect();
        while let Some(range) = open.pop() {
            let diff = self.handle.block_on(self.store.diff(self.batch, &jobs[range.clone()]))?;
            whole.get_or_insert(diff);
            let works = works(&diff);
            let all = range.len() as u64;
            if [works, diff.rebuy].iter().all(|count| *count == 0 || *count == all) {
                job_plans[range].fill(JobPlan { works: works > 0, again: diff.rebuy > 0 });
            } else {
                let middle = range.start + range.len() / 2;
                open.extend([range.start..middle, middle..range.end]);
            }
        }
        Ok((whole.unwrap_or_default(), job_plans))
    }
}

/// Jobs that would be worked.
pub(super) const fn works(diff: &Diff) -> u64 {
    (diff.new + diff.changed + diff.open).saturating_sub(diff.failed)
}

struct Count<'d> {
    asked: &'d Synthesizing,
    audio_cache: Option<AudioCache>,
    diff: Diff,
    found: Purchases,
    /// What is bought for one of the jobs serves all others.
    bought: HashSet<Identity>,
    bought_again: HashSet<Identity>,
}

impl<'d> Count<'d> {
    fn new(asked: &'d Synthesizing, audio_cache: Option<AudioCache>) -> Self {
        let (diff, found, bought, bought_again) = Default::default();
        Self { asked, audio_cache, diff, found, bought, bought_again }
    }

    fn add(&mut self, lines: &[TextLine], jobs: &[NewJob], against: Option<&Against<'_>>) -> Result<(), IntakeError> {
        let (diff, job_plans) = match against {
            Some(against) => against.job_plans(jobs)?,
            None => {
                let all = JobPlan { works: true, again: false };
                (Diff { new: jobs.len() as u64, ..Diff::default() }, vec![all; jobs.len()])
            }
        };
        self.diff += diff;
        self.found.jobs += works(&diff);
        self.found.again += diff.rebuy;
        let mut job_plans = job_plans.iter();
        for line in lines {
            self.line(line, job_plans.by_ref())?;
        }
        Ok(())
    }

    fn line<'s>(
        &mut self,
        line: &TextLine,
        job_plans: &mut impl Iterator<Item = &'s JobPlan>,
    ) -> Result<(), IntakeError> {
        let synthesis = &self.asked.synthesis;
        let parts: Vec<Part> = cut::parts(&line.text, synthesis.part_chars).filter(Part::has_words).collect();
        let characters: u64 = parts.iter().map(|part| part.chars() as u64).sum();
        let mut bought = Vec::with_capacity(line.outputs.len());
        for (output, job_plan) in line.outputs.iter().zip(job_plans) {
            let options = output.overrides.apply(&synthesis.options);
            let purchase = (output.voice_id(), output.format.bought());
            if !bought.contains(&purchase) {
                bought.push(purchase);
                self.found.all_parts += parts.len() as u64;
                *self.found.all_characters.entry(options.model).or_default() += characters;
            }
            if !job_plan.works {
                continue;
            }
            for part in &parts {
                let cache_key = synthesis.cache_key(&options, &part.text, purchase.1);
                let audio_cache = self.audio_cache.as_ref().filter(|_| !self.asked.no_reuse);
                let is_new = !self.bought.contains(&cache_key)
                    && !audio_cache
                        .map_or(Ok(false), |audio_cache| audio_cache.is_kept(cache_key, purchase.1.format))?;
                if is_new {
                    self.bought.insert(cache_key);
                    self.found.parts += 1;
                    *self.found.characters.entry(options.model).or_default() += part.chars() as u64;
                }
                // Counted by itself: that another job buys it too is no excuse.
                if job_plan.again && (is_new || self.bought.contains(&cache_key)) && self.bought_again.insert(cache_key)
                {
                    *self.found.again_characters.entry(options.model).or_default() += part.chars() as u64;
                }
            }
        }
        Ok(())
    }
}
