//! Counts what the texts of a manifest would buy, before anything is bought.

use std::collections::{BTreeMap, HashSet};

use super::{records::rendition, report::price_of};
use crate::{
    definition::{ManifestLine, Synthesizing, manifest::JobDraft},
    domain::{
        cost::{MicroUsd, Rates},
        cut::Part,
        identity::Identity,
        synthesis::{ClipFormat, Pace, Rendition, Synthesis},
        synthesis_options::{SynthesisOptions, TtsLanguage, TtsModel},
    },
    runner::intake::{PurchaseGroup, Purchases, Survey, UnitsByModel},
    store::{JobPlan, KeptClips, StoreError},
};

/// Characters, by the model that synthesizes them.
type Characters = BTreeMap<TtsModel, u64>;

/// What the jobs of one language buy.
#[derive(Default)]
struct Tally {
    jobs: u64,
    all_parts: u64,
    all_characters: Characters,
    parts: u64,
    characters: Characters,
}

/// Counts parts and characters, line by line.
pub(super) struct SynthesisSurvey {
    synthesis: Synthesis,
    /// The cached clips, if they may be reused.
    audio_cache: Option<KeptClips>,
    rates: Rates,
    found: Purchases,
    by_language: BTreeMap<Option<TtsLanguage>, Tally>,
    again_characters: Characters,
    /// The clips that are bought for one of the jobs and serve all others.
    bought: HashSet<Identity>,
    bought_again: HashSet<Identity>,
}

impl SynthesisSurvey {
    pub(super) fn new(asked: &Synthesizing, audio_cache: Option<KeptClips>, rates: &Rates) -> Self {
        let audio_cache = audio_cache.filter(|_| !asked.no_reuse);
        Self {
            synthesis: asked.synthesis.clone(),
            audio_cache,
            rates: rates.clone(),
            found: Purchases::default(),
            by_language: BTreeMap::new(),
            again_characters: Characters::new(),
            bought: HashSet::new(),
            bought_again: HashSet::new(),
        }
    }

    /// Adds the parts of a job that would be worked.
    fn buy(
        &mut self,
        options: &SynthesisOptions,
        bought: ClipFormat,
        parts: &[Part],
        again: bool,
    ) -> Result<(), StoreError> {
        for part in parts {
            let (cache_key, characters) = (self.synthesis.cache_key(options, &part.text, bought), part.chars() as u64);
            let is_new = !self.bought.contains(&cache_key) && !self.is_kept(cache_key, bought)?;
            if is_new {
                self.bought.insert(cache_key);
                let tally = self.by_language.entry(options.language).or_default();
                tally.parts += 1;
                *tally.characters.entry(options.model).or_default() += characters;
            }
            // Counted separately, even if another job buys it too.
            if again && (is_new || self.bought.contains(&cache_key)) && self.bought_again.insert(cache_key) {
                *self.again_characters.entry(options.model).or_default() += characters;
            }
        }
        Ok(())
    }

    /// Adds jobs of a line that share a text.
    fn add_text(&mut self, drafts: &[JobDraft], jobs: &[JobPlan]) -> Result<(), StoreError> {
        let Some(text) = drafts.iter().find_map(|job| job.text.as_deref()) else { return Ok(()) };
        let outputs: Vec<Rendition> = drafts.iter().filter_map(rendition).collect();
        // The outputs of a text differ in voice and format, not in language.
        let options = outputs
            .first()
            .map_or_else(|| self.synthesis.options.clone(), |output| output.overrides.apply(&self.synthesis.options));
        let parts: Vec<Part> = self.synthesis.parts(&options, text).filter(Part::has_words).collect();
        let characters: u64 = parts.iter().map(|part| part.chars() as u64).sum();
        let mut seen = Vec::with_capacity(outputs.len());
        for (output, job) in outputs.iter().zip(jobs) {
            let options = output.overrides.apply(&self.synthesis.options);
            let (voice, bought) = (output.voice_id(), output.format.bought());
            *self.found.all_audio_ms.get_or_insert_default() += expected_ms(&options, &parts);
            let tally = self.by_language.entry(options.language).or_default();
            if !seen.contains(&(voice, bought)) {
                seen.push((voice, bought));
                tally.all_parts += parts.len() as u64;
                *tally.all_characters.entry(options.model).or_default() += characters;
            }
            self.found.again += u64::from(job.is_bought_again());
            if job.is_worked() {
                tally.jobs += 1;
                self.buy(&options, bought, &parts, job.is_bought_again())?;
            }
        }
        Ok(())
    }

    fn is_kept(&self, cache_key: Identity, bought: ClipFormat) -> Result<bool, StoreError> {
        self.audio_cache.as_ref().map_or(Ok(false), |audio_cache| audio_cache.has(cache_key, bought.format))
    }
}

/// How long the parts take to say, in ms.
fn expected_ms(options: &SynthesisOptions, parts: &[Part]) -> u64 {
    let language = options.language.as_ref().map(TtsLanguage::as_str);
    let pace = |part: &Part| Pace::of(&part.text, language, options.speed.factor(), 0.0);
    parts.iter().map(|part| pace(part).expected_ms()).sum()
}

impl Survey for SynthesisSurvey {
    fn add(&mut self, line: &ManifestLine, jobs: &[JobPlan]) -> Result<(), StoreError> {
        let mut jobs = jobs;
        for drafts in line.by_text() {
            let (own, rest) = jobs.split_at(drafts.len().min(jobs.len()));
            self.add_text(drafts, own)?;
            jobs = rest;
        }
        Ok(())
    }

    fn found(self: Box<Self>) -> Purchases {
        let Self { found, rates, by_language, again_characters, .. } = *self;
        let mut all = Tally::default();
        by_language.values().for_each(|tally| all.add(tally));
        let groups = by_language.iter().filter(|_| by_language.len() > 1);
        Purchases {
            jobs: all.jobs,
            all_parts: all.all_parts,
            all_units: by_name(&all.all_characters),
            parts: all.parts,
            units: by_name(&all.characters),
            cost: all.cost(&rates),
            groups: groups.map(|(language, tally)| tally.group(*language, &rates)).collect(),
            prices: all.characters.keys().map(|model| price_of(*model, &rates)).collect(),
            again_units: again_characters.values().sum(),
            again_cost: cost(&again_characters, &rates),
            ..found
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.all_parts += other.all_parts;
        self.parts += other.parts;
        let add = |to: &mut Characters, from: &Characters| {
            from.iter().for_each(|(model, number)| *to.entry(*model).or_default() += number);
        };
        add(&mut self.all_characters, &other.all_characters);
        add(&mut self.characters, &other.characters);
    }

    /// The cost of the new parts, if all of their models have a price.
    fn cost(&self, rates: &Rates) -> Option<MicroUsd> {
        let is_priced = |model: &TtsModel| rates.known_per_10k_chars(*model).is_some();
        self.characters.keys().all(is_priced).then(|| cost(&self.characters, rates))
    }

    fn group(&self, language: Option<TtsLanguage>, rates: &Rates) -> PurchaseGroup {
        PurchaseGroup {
            // Without a language the model chooses.
            name: language.map_or_else(|| "no language".to_owned(), |language| language.to_string()),
            jobs: self.jobs,
            all_parts: self.all_parts,
            all_units: self.all_characters.values().sum(),
            parts: self.parts,
            units: self.characters.values().sum(),
            cost: self.cost(rates),
        }
    }
}

fn cost(characters: &Characters, rates: &Rates) -> MicroUsd {
    characters.iter().map(|(model, characters)| rates.synthesis_cost(*model, *characters)).sum()
}

fn by_name(characters: &Characters) -> UnitsByModel {
    characters.iter().map(|(model, number)| (model.to_string(), *number)).collect()
}
