//! `[synthesize]`, and the other fields of a definition that concern a synthesis.

mod build;
mod draft;
mod flags;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::civil::Date;

use self::draft::SynthesisDraft;
use super::Synthesize;
use super::records;
use crate::{
    definition::{
        Built, DefinitionTask, ExtraRules, Faults, Page, Synthesizing, TaskDefinition, TaskDraft, Template,
        build::Builder,
        fields::FieldTable,
        manifest::{OpenManifest, RecordReader, UnnamedColumns},
    },
    domain::{
        extra::Extra,
        open::Unlisted,
        synthesis::{Synthesis, SynthesisOption},
        synthesis_options::OWN_BODY,
        task::{TaskName, TaskSpec},
    },
    report::words::grouped,
};

impl DefinitionTask for Synthesize {
    fn read(&self, page: &mut Page<'_, '_>) -> Box<dyn TaskDraft> {
        Box::new(draft::read(page))
    }

    fn blank(&self) -> Box<dyn TaskDraft> {
        Box::new(SynthesisDraft::default())
    }

    fn reads_texts(&self) -> bool {
        true
    }

    fn extra(&self) -> ExtraRules {
        ExtraRules { query: &[], body: Ok(OWN_BODY) }
    }

    fn fields(&self) -> &'static [FieldTable] {
        draft::FIELDS
    }

    fn content_columns(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("the text", &records::TEXT_NAMES), ("the path of a file with the text", &records::TEXT_FILE_NAMES)]
    }

    fn takes_option(&self, name: &str) -> bool {
        name.parse::<SynthesisOption>().is_ok()
    }

    fn flags(&self) -> &'static [&'static str] {
        flags::NAMES
    }

    fn flag_of(&self, field: &str) -> Option<&'static str> {
        (field == "voices").then_some("voice-id")
    }
}

impl TaskDraft for SynthesisDraft {
    fn set_extra(&mut self, extra: Extra) {
        self.options.extra = extra;
    }

    fn templates(&self) -> Vec<&str> {
        let own = [&self.text, &self.text_file, &self.name].into_iter().flatten();
        own.chain(self.text_columns.values()).map(String::as_str).collect()
    }

    fn build(&self, on: &mut Builder<'_>, date: Option<Date>) -> Built {
        build::build(self, on, date)
    }
}

impl TaskDefinition for Synthesizing {
    fn unnamed_columns(&self) -> UnnamedColumns {
        records::UNNAMED
    }

    fn open_records<'d>(&'d self, manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader + 'd>, Faults> {
        records::open_records(self, manifest)
    }

    fn task(&self) -> TaskName {
        Synthesis::TASK
    }

    fn model(&self) -> &str {
        self.synthesis.options.model.as_str()
    }

    fn unlisted(&self) -> Vec<Unlisted> {
        self.synthesis.unlisted().collect()
    }

    fn spec(&self) -> TaskSpec {
        TaskSpec::of(&self.synthesis)
    }

    fn templates(&self) -> Vec<Template> {
        let columns = [&self.text_column, &self.text_file_column].into_iter().flatten();
        let columns = columns.chain(self.text_columns.values()).cloned();
        columns.chain(Template::parse(&self.synthesis.name).ok()).collect()
    }

    fn notes(&self) -> Vec<String> {
        self.synthesis.purchases_in_words().into_iter().collect()
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let pronounced = self.pronunciations.as_ref().zip(self.synthesis.dictionary.as_ref());
        let fact = pronounced.map(|(words, dictionary)| {
            ("words", format!("{} pronounced by {}", grouped(words.items.len() as u64), dictionary.file))
        });
        fact.into_iter().collect()
    }

    fn asked_at(&self, origin: Option<String>) -> Option<Arc<dyn TaskDefinition>> {
        let synthesis = Synthesis { origin, ..self.synthesis.clone() };
        Some(Arc::new(Self { synthesis, ..self.clone() }))
    }
}
