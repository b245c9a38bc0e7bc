//! Turns a line of a manifest into jobs of the ledger.

use std::{path::Path, sync::Arc};

use super::{IntakeTask, adopt::Adopt, fed_facts::FedFacts, known_sources::KnownSources};
use crate::{
    definition::{BadLine, Definition, ManifestLine, manifest::JobDraft},
    domain::identity::{ContentHash, Identity, Passport, content_identity, listed_identity, source_identity},
    media::content::Stamp,
    store::{BadJob, NewJob, NewLocal, NewSynthesis, Text},
};

/// Makes jobs from lines.
pub(super) struct JobBuilder<'d> {
    definition: &'d Definition,
    task: &'d dyn IntakeTask,
    /// Outputs that already exist in the sink.
    adopt: Option<&'d Adopt>,
    /// What is known already of lines that are in the ledger in another form.
    sources: Option<&'d KnownSources>,
    /// What is known of lines of another batch.
    fed: FedFacts<'d>,
}

impl<'d> JobBuilder<'d> {
    pub(super) fn new(
        definition: &'d Definition,
        task: &'d dyn IntakeTask,
        (adopt, sources): (Option<&'d Adopt>, Option<&'d KnownSources>),
        fed: FedFacts<'d>,
    ) -> Self {
        Self { definition, task, adopt, sources, fed }
    }

    /// The jobs of a good line. For a local file this reads its size and time from the system.
    pub(super) fn jobs(&self, line: ManifestLine, take: &mut dyn FnMut(&NewJob)) {
        let ManifestLine { number, key, jobs, carried } = line;
        let (mut key, mut carried) = (String::from(key), cells(&carried));
        // The jobs of a line share its text.
        let mut text: Option<(Arc<str>, Text)> = None;
        let mut left = jobs.len();
        for mut draft in jobs {
            left -= 1;
            let adopted = self.adopted(&key, &draft);
            let body = draft.text.take();
            if let Some(body) =
                body.as_ref().filter(|body| text.as_ref().is_none_or(|(had, _)| !Arc::ptr_eq(had, body)))
            {
                text = Some((Arc::clone(body), Text::new(Arc::clone(body))));
            }
            let text = text.as_ref().filter(|_| body.is_some()).map(|(_, text)| text.clone());
            let (local, source_id) = match &text {
                Some(text) => (None, text.id()),
                None => self.source(number, &mut draft),
            };
            let synthesis = text.map(|text| NewSynthesis { text, variant: std::mem::take(&mut draft.variant) });
            let JobDraft { source, expected, overrides, options_id, pool, .. } = draft;
            let last = left == 0;
            let key = if last { std::mem::take(&mut key) } else { key.clone() };
            let carried = if last { carried.take() } else { carried.clone() };
            take(&NewJob {
                line: number,
                key,
                source,
                source_id,
                options_id,
                overrides,
                carried,
                pool,
                expected,
                local,
                adopted,
                synthesis,
            });
        }
    }

    /// The row of a bad line.
    pub(super) fn bad(&self, line: BadLine) -> BadJob {
        let key = self.fed.key(line.number);
        BadJob { line: line.number, key, fault: line.fault, carried: cells(&line.carried) }
    }

    fn adopted(&self, key: &str, draft: &JobDraft) -> Option<String> {
        let adopt = self.adopt.filter(|_| !draft.is_idle())?;
        adopt.outputs(&self.task.outputs(self.definition, key, draft))
    }

    /// How a source was found, if it is a local file, and its identity.
    fn source(&self, line: u64, draft: &mut JobDraft) -> (Option<NewLocal>, Identity) {
        let source = draft.source.as_deref().unwrap_or_default();
        if let Some(path) = draft.local.take() {
            let passport = Passport { path, seen: Stamp::at(Path::new(source)).map(|stamp| stamp.seen) };
            let content = self.sources.and_then(|sources| sources.content(line, passport.seen?));
            let content = self.fed.content(source).map(ContentHash).or(content);
            let id = passport.identity();
            return (Some(NewLocal { passport, content }), id);
        }
        if let Some(listed) = &draft.expected {
            return (None, listed_identity(source, &listed.etag));
        }
        if let Some(content) = self.fed.content(source) {
            // What another batch wrote is known by its content, wherever it is.
            return (None, content_identity(&content));
        }
        let known = self.sources.and_then(|sources| sources.alias(line));
        (None, known.unwrap_or_else(|| source_identity(source, &self.definition.queries)))
    }
}

fn cells(carried: &[String]) -> Option<String> {
    (!carried.is_empty()).then(|| serde_json::to_string(carried).expect("strings are JSON"))
}
