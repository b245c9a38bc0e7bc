//! `[chat]`, and the other fields of a definition that concern a chat.

mod build;
mod draft;
mod files;
#[cfg(test)]
mod tests;

use jiff::civil::Date;

use self::draft::ChatDraft;
use super::{Chat, chatting::Chatting, records};
use crate::{
    definition::{
        Built, DefinitionTask, ExtraRules, Faults, Page, TaskDefinition, TaskDraft, Template,
        build::Builder,
        fields::FieldTable,
        manifest::{OpenManifest, RecordReader, UnnamedColumns},
    },
    domain::{
        chat::{Chat as Asking, ChatOption, OWN_BODY},
        extra::Extra,
        open::Unlisted,
        task::{Asked, TaskName, TaskSpec},
    },
};

impl DefinitionTask for Chat {
    fn read(&self, page: &mut Page<'_, '_>) -> Box<dyn TaskDraft> {
        Box::new(draft::read(page))
    }

    fn blank(&self) -> Box<dyn TaskDraft> {
        Box::new(ChatDraft::default())
    }

    fn content_name(&self) -> &'static str {
        "prompt"
    }

    fn extra(&self) -> ExtraRules {
        ExtraRules { query: &[], body: Ok(OWN_BODY) }
    }

    fn fields(&self) -> &'static [FieldTable] {
        draft::FIELDS
    }

    fn content_columns(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("the prompt", &records::PROMPT_NAMES)]
    }

    fn takes_option(&self, name: &str) -> bool {
        name.parse::<ChatOption>().is_ok()
    }

    fn flags(&self) -> &'static [&'static str] {
        &[]
    }
}

impl TaskDraft for ChatDraft {
    fn set_extra(&mut self, extra: Extra) {
        self.extra = extra;
    }

    fn templates(&self) -> Vec<&str> {
        Vec::new()
    }

    fn build(&self, on: &mut Builder<'_>, _: Option<Date>) -> Built {
        build::build(self, on)
    }
}

impl TaskDefinition for Chatting {
    fn task(&self) -> TaskName {
        Asking::TASK
    }

    fn model(&self) -> &str {
        self.asked.answered_by()
    }

    fn unlisted(&self) -> Vec<Unlisted> {
        self.asked.endpoint.is_chat().then(|| self.asked.options.model.unlisted()).flatten().into_iter().collect()
    }

    fn spec(&self) -> TaskSpec {
        TaskSpec::of(&self.asked)
    }

    fn templates(&self) -> Vec<Template> {
        [&self.system, &self.prompt, &self.grounded_in].into_iter().flatten().cloned().collect()
    }

    fn notes(&self) -> Vec<String> {
        build::notes(self)
    }

    fn unnamed_columns(&self) -> UnnamedColumns {
        records::UNNAMED
    }

    fn open_records<'d>(&'d self, manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader + 'd>, Faults> {
        records::open_records(self, manifest)
    }
}
