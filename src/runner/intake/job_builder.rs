//! From a line of a manifest to a job of the ledger.

use std::path::Path;

use super::{adopt::Adopt, compare::Verdicts};
use crate::{
    definition::{BadLine, Line},
    domain::{
        batch::LineOverrides,
        identity::{Identity, Passport, listed_identity, options_identity, source_identity},
        options::TranscribeOptions,
        pool::Pool,
        query::QueryRules,
    },
    media::content::Stamp,
    store::{BadJob, NewJob, NewLocal},
};

/// Sets of options that are remembered; beyond, the memory starts again.
const REMEMBERED: usize = 64;

/// Makes jobs of lines.
pub(super) struct JobBuilder<'d> {
    defaults: &'d TranscribeOptions,
    queries: &'d QueryRules,
    verdicts: Option<&'d Verdicts>,
    remembered: Vec<(Option<LineOverrides>, LineOptions)>,
}

/// What a line's options come to.
#[derive(Clone)]
struct LineOptions {
    id: Identity,
    overrides: Option<String>,
    pool: Pool,
}

impl<'d> JobBuilder<'d> {
    /// `verdicts`: what is known already of lines that the ledger has in another way.
    pub(super) const fn new(
        defaults: &'d TranscribeOptions,
        queries: &'d QueryRules,
        verdicts: Option<&'d Verdicts>,
    ) -> Self {
        Self { defaults, queries, verdicts, remembered: Vec::new() }
    }

    /// The job of a good line. Of a local file this asks the system for its size and time.
    pub(super) fn good(&mut self, line: Line, adopt: Option<&Adopt>) -> NewJob {
        let adopted = adopt.filter(|_| line.source.is_some()).and_then(|adopt| adopt.outputs_of(&line.key));
        let LineOptions { id, overrides, pool } = self.shape(line.overrides);
        let source = line.source.as_deref().unwrap_or_default();
        let local = line.local.map(|path| {
            let passport = Passport { path, seen: Stamp::at(Path::new(source)).map(|stamp| stamp.seen) };
            let content = self.verdicts.and_then(|verdicts| verdicts.content(line.number, passport.seen?));
            NewLocal { passport, content }
        });
        let source_id = match (&local, &line.expected) {
            (Some(local), _) => local.passport.identity(),
            (None, Some(listed)) => listed_identity(source, &listed.etag),
            (None, None) => {
                let known = self.verdicts.and_then(|verdicts| verdicts.alias(line.number));
                known.unwrap_or_else(|| source_identity(source, self.queries))
            }
        };
        NewJob {
            line: line.number,
            source_id,
            // Where there is nothing to do, options change nothing.
            options_id: if line.source.is_some() { id } else { Identity([0; 16]) },
            key: line.key.into(),
            source: line.source,
            overrides,
            carried: carried(&line.carried),
            pool,
            expected: line.expected,
            local,
            adopted,
            synthesis: None,
        }
    }

    /// The row of a bad one.
    pub(super) fn bad(line: BadLine) -> BadJob {
        BadJob { line: line.number, fault: line.fault, carried: carried(&line.carried) }
    }

    fn shape(&mut self, overrides: Option<LineOverrides>) -> LineOptions {
        if let Some((_, shape)) = self.remembered.iter().find(|(known, _)| *known == overrides) {
            return shape.clone();
        }
        // They differ from the defaults already: that is how lines carry them.
        let options = overrides.clone().unwrap_or_default().apply(self.defaults);
        let shape = LineOptions {
            id: options_identity(&options),
            overrides: overrides.as_ref().map(|o| serde_json::to_string(&o).expect("words and flags are JSON")),
            pool: options.model.into(),
        };
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.push((overrides, shape.clone()));
        shape
    }
}

pub(super) fn carried(cells: &[String]) -> Option<String> {
    (!cells.is_empty()).then(|| serde_json::to_string(cells).expect("strings are JSON"))
}
