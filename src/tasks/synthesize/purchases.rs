//! Counts what the texts of a manifest would buy, before anything is bought.

use std::collections::HashSet;

use super::records::rendition;
use crate::{
    definition::{ManifestLine, Synthesizing},
    domain::{
        cut::Part,
        identity::Identity,
        synthesis::{ClipFormat, Rendition, Synthesis},
        synthesis_options::SynthesisOptions,
    },
    runner::intake::{Purchases, Survey},
    store::{AudioCache, JobPlan, StoreError},
};

/// Counts parts and characters, line by line.
pub(super) struct SynthesisSurvey {
    synthesis: Synthesis,
    /// The cached clips, if they may be reused.
    audio_cache: Option<AudioCache>,
    found: Purchases,
    /// The clips that are bought for one of the jobs and serve all others.
    bought: HashSet<Identity>,
    bought_again: HashSet<Identity>,
}

impl SynthesisSurvey {
    pub(super) fn new(asked: &Synthesizing, audio_cache: Option<AudioCache>) -> Self {
        let (found, bought, bought_again) = Default::default();
        let audio_cache = audio_cache.filter(|_| !asked.no_reuse);
        Self { synthesis: asked.synthesis.clone(), audio_cache, found, bought, bought_again }
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
                *self.found.characters.entry(options.model).or_default() += characters;
            }
            // Counted separately, even if another job buys it too.
            if again && (is_new || self.bought.contains(&cache_key)) && self.bought_again.insert(cache_key) {
                *self.found.again_characters.entry(options.model).or_default() += characters;
            }
        }
        Ok(())
    }

    fn is_kept(&self, cache_key: Identity, bought: ClipFormat) -> Result<bool, StoreError> {
        self.audio_cache.as_ref().map_or(Ok(false), |audio_cache| audio_cache.is_kept(cache_key, bought.format))
    }
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
            if !seen.contains(&(voice, bought)) {
                seen.push((voice, bought));
                self.found.all_parts += parts.len() as u64;
                *self.found.all_characters.entry(options.model).or_default() += characters;
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
        self.found
    }
}
