//! `[echo]`: how often a text is said.

use std::sync::Arc;

use jiff::civil::Date;
use wavebatch::{
    definition::{
        Built, DefinitionTask, ExtraRules, Faults, Page, TaskDefinition, TaskDraft,
        build::Builder,
        manifest::{OpenManifest, RecordReader, UnnamedColumns},
        template::Template,
    },
    domain::{
        extra::Extra,
        open::Unlisted,
        task::{Asked, TaskName, TaskSpec},
    },
};

use super::{Echo, Echoing, records};

#[derive(Debug, Default)]
struct Draft {
    times: Option<u32>,
}

impl DefinitionTask for Echo {
    fn read(&self, page: &mut Page<'_, '_>) -> Box<dyn TaskDraft> {
        let mut table = page.walk.section(page.root, "echo");
        let times = page.walk.count(&mut table, "times");
        page.walk.close(table);
        Box::new(Draft { times })
    }

    fn blank(&self) -> Box<dyn TaskDraft> {
        Box::new(Draft::default())
    }

    fn reads_texts(&self) -> bool {
        true
    }

    fn extra(&self) -> ExtraRules {
        ExtraRules { query: &[], body: Ok(&["text", "times"]) }
    }

    fn takes_option(&self, _: &str) -> bool {
        false
    }

    fn flags(&self) -> &'static [&'static str] {
        &[]
    }
}

impl TaskDraft for Draft {
    fn set_extra(&mut self, _: Extra) {}

    fn templates(&self) -> Vec<&str> {
        Vec::new()
    }

    fn build(&self, on: &mut Builder<'_>, _: Option<Date>) -> Built {
        on.missing("echo.times", self.times.is_none(), "times = 2");
        Built { task: Arc::new(Echoing { times: self.times.unwrap_or(1) }), judged: true }
    }
}

impl TaskDefinition for Echoing {
    fn task(&self) -> TaskName {
        Self::TASK
    }

    fn model(&self) -> &str {
        "echo"
    }

    fn unlisted(&self) -> Vec<Unlisted> {
        Vec::new()
    }

    fn spec(&self) -> TaskSpec {
        TaskSpec::of(self)
    }

    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn unnamed_columns(&self) -> UnnamedColumns {
        UnnamedColumns { line: "text", files: ["text", "key"] }
    }

    fn open_records<'d>(&'d self, manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader + 'd>, Faults> {
        records::open(self, manifest)
    }
}
