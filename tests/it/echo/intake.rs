//! What submitting asks of it.

use wavebatch::{
    definition::{Definition, manifest::JobDraft},
    domain::task::TaskSpec,
    runner::intake::{IntakeTask, OutputEndings},
};

use super::Echo;

impl IntakeTask for Echo {
    fn has_sources(&self) -> bool {
        false
    }

    fn price_unit(&self, _model: &str) -> &'static str {
        "US dollars a character"
    }

    fn output_endings(&self, _: &Definition) -> OutputEndings {
        OutputEndings { all: vec![".txt".into()], may_be_empty: Vec::new() }
    }

    fn outputs(&self, _: &Definition, key: &str, _: &JobDraft) -> Vec<String> {
        vec![format!("{key}.txt")]
    }

    fn needs_redelivery(&self, _: &TaskSpec, _: &TaskSpec) -> bool {
        false
    }
}
