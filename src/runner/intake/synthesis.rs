//! From a text to its jobs: each voice in each format.

use std::sync::Arc;

use super::{adopt::Adopt, job_builder::carried};
use crate::{
    definition::manifest::texts::TextLine,
    domain::{
        identity::Identity,
        pool::Pool,
        synthesis::{Synthesis, SynthesisOverrides},
    },
    store::{NewJob, NewSynthesis, Text},
};

/// Sets of options that are remembered; beyond, the memory starts again.
const REMEMBERED: usize = 64;

/// Makes jobs of texts.
pub(super) struct SynthesisJobBuilder<'d> {
    synthesis: &'d Synthesis,
    remembered: Vec<(SynthesisOverrides, Identity)>,
}

impl<'d> SynthesisJobBuilder<'d> {
    pub(super) const fn new(synthesis: &'d Synthesis) -> Self {
        Self { synthesis, remembered: Vec::new() }
    }

    /// The jobs of a good line, by voice and format.
    pub(super) fn good<'s>(
        &'s mut self,
        line: TextLine,
        adopt: Option<&'s Adopt>,
    ) -> impl Iterator<Item = NewJob> + use<'s, 'd> {
        let TextLine { number, key, text, file, outputs, carried: cells, .. } = line;
        let body: Arc<str> = text.into();
        let (text, cells) = (Text::new(Arc::clone(&body)), carried(&cells));
        outputs.into_iter().map(move |output| NewJob {
            line: number,
            key: key.to_string(),
            source: file.clone(),
            source_id: text.id(),
            options_id: self.identity(&output.overrides, &body),
            overrides: Some(serde_json::to_string(&output).expect("words, numbers and flags are JSON")),
            carried: cells.clone(),
            pool: Pool::Tts,
            expected: None,
            local: None,
            adopted: adopt.and_then(|adopt| adopt.outputs(&output.files(&self.synthesis.captions))),
            synthesis: Some(NewSynthesis { text: text.clone(), variant: output.variant() }),
        })
    }

    fn identity(&mut self, overrides: &SynthesisOverrides, text: &str) -> Identity {
        if self.synthesis.dictionary.is_some() {
            return self.synthesis.identity_of(&overrides.apply(&self.synthesis.options), text);
        }
        if let Some((_, id)) = self.remembered.iter().find(|(known, _)| known == overrides) {
            return *id;
        }
        let id = self.synthesis.identity_of(&overrides.apply(&self.synthesis.options), "");
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.push((overrides.clone(), id));
        id
    }
}
