//! Counts what the texts of a manifest would buy, before anything is bought.

use std::collections::{BTreeMap, HashSet};

use super::{records::rendition, report::price_of};
use crate::{
    definition::{ManifestLine, Synthesizing},
    domain::{
        cost::{MicroUsd, Rates},
        cut::Part,
        identity::Identity,
        synthesis::{ClipFormat, Pace, Rendition, Synthesis},
        synthesis_options::{SynthesisOptions, TtsLanguage, TtsModel},
    },
    runner::intake::{Purchases, Survey},
    store::{AudioCache, JobPlan, StoreError},
};

/// Characters, by the model that synthesizes them.
type Characters = BTreeMap<TtsModel, u64>;

/// Counts parts and characters, line by line.
pub(super) struct SynthesisSurvey {
    synthesis: Synthesis,
    /// The cached clips, if they may be reused.
    audio_cache: Option<AudioCache>,
    rates: Rates,
    found: Purchases,
    all_characters: Characters,
    characters: Characters,
    again_characters: Characters,
    /// The clips that are bought for one of the jobs and serve all others.
    bought: HashSet<Identity>,
    bought_again: HashSet<Identity>,
}

impl SynthesisSurvey {
    pub(super) fn new(asked: &Synthesizing, audio_cache: Option<AudioCache>, rates: &Rates) -> Self {
        let audio_cache = audio_cache.filter(|_| !asked.no_reuse);
        Self {
            synthesis: asked.synthesis.clone(),
            audio_cache,
            rates: rates.clone(),
            found: Purchases::default(),
            all_characters: Characters::new(),
            characters: Characters::new(),
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
                self.found.parts += 1;
                *self.characters.entry(options.model).or_default() += characters;
            }
            // Counted separately, even if another job buys it too.
            if again && (is_new || self.bought.contains(&cache_key)) && self.bought_again.insert(cache_key) {
                *self.again_characters.entry(options.model).or_default() += characters;
            }
        }
        Ok(())
    }

    fn is_kept(&self, cache_key: Identity, bought: ClipFormat) -> Result<bool, StoreError> {
        self.audio_cache.as_ref().map_or(Ok(false), |audio_cache| audio_cache.is_kept(cache_key, bought.format))
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
        let Some(text) = line.jobs.iter().find_map(|job| job.text.as_deref()) else { return Ok(()) };
        let outputs: Vec<Rendition> = line.jobs.iter().filter_map(rendition).collect();
        // The outputs of a line differ in voice and format, not in language.
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
            if !seen.contains(&(voice, bought)) {
                seen.push((voice, bought));
                self.found.all_parts += parts.len() as u64;
                *self.all_characters.entry(options.model).or_default() += characters;
            }
            self.found.again += u64::from(job.is_bought_again());
            if job.is_worked() {
                self.found.jobs += 1;
                self.buy(&options, bought, &parts, job.is_bought_again())?;
            }
        }
        Ok(())
    }

    fn found(self: Box<Self>) -> Purchases {
        let Self { found, rates, all_characters, characters, again_characters, .. } = *self;
        let is_priced = |model: &TtsModel| rates.known_per_10k_chars(*model).is_some();
        let cost = |characters: &Characters| -> MicroUsd {
            characters.iter().map(|(model, characters)| rates.synthesis_cost(*model, *characters)).sum()
        };
        let by_name =
            |characters: &Characters| characters.iter().map(|(model, number)| (model.to_string(), *number)).collect();
        Purchases {
            all_units: by_name(&all_characters),
            units: by_name(&characters),
            cost: characters.keys().all(is_priced).then(|| cost(&characters)),
            prices: characters.keys().map(|model| price_of(*model, &rates)).collect(),
            again_units: again_characters.values().sum(),
            again_cost: cost(&again_characters),
            ..found
        }
    }
}
