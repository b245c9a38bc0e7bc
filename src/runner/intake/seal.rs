//! From a line of a manifest to a job of the ledger.

use std::fs;

use super::adopt::Adopt;
use crate::{
    definition::{BadLine, Line},
    domain::{
        batch::LineOverrides,
        identity::{Identity, listed_identity, options_identity, source_identity},
        options::TranscribeOptions,
        pool::Pool,
    },
    store::{BadJob, NewJob},
};

/// Sets of options that are remembered; beyond, the memory starts anew.
const REMEMBERED: usize = 64;

/// Makes jobs of lines.
pub(super) struct Sealer<'d> {
    defaults: &'d TranscribeOptions,
    remembered: Vec<(Option<LineOverrides>, Shape)>,
}

/// What a line's options come to.
#[derive(Clone)]
struct Shape {
    id: Identity,
    overrides: Option<String>,
    pool: Pool,
}

impl<'d> Sealer<'d> {
    pub(super) fn new(defaults: &'d TranscribeOptions) -> Self {
        Self { defaults, remembered: Vec::new() }
    }

    /// The job of a good line. Of a local file this asks the system for its size.
    pub(super) fn good(&mut self, line: Line, adopt: Option<&Adopt>) -> NewJob {
        let adopted = adopt.filter(|_| line.source.is_some()).and_then(|adopt| adopt.outputs_of(&line.key));
        let Shape { id, overrides, pool } = self.shape(line.overrides);
        let source = line.source.as_deref().unwrap_or_default();
        let source_id = match &line.expected {
            Some(listed) => listed_identity(source, &listed.etag),
            None => source_identity(source, size(source)),
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
            adopted,
            speech: None,
        }
    }

    /// The row of a bad one.
    pub(super) fn bad(line: BadLine) -> BadJob {
        BadJob { line: line.number, fault: line.fault, carried: carried(&line.carried) }
    }

    fn shape(&mut self, overrides: Option<LineOverrides>) -> Shape {
        if let Some((_, shape)) = self.remembered.iter().find(|(known, _)| *known == overrides) {
            return shape.clone();
        }
        // They differ from the defaults already: that is how lines carry them.
        let options = overrides.clone().unwrap_or_default().apply(self.defaults);
        let shape = Shape {
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

/// The size of a local file, if it is one.
fn size(source: &str) -> Option<u64> {
    if !source.starts_with('/') {
        return None;
    }
    fs::metadata(source).ok().filter(fs::Metadata::is_file).map(|meta| meta.len())
}

pub(super) fn carried(cells: &[String]) -> Option<String> {
    (!cells.is_empty()).then(|| serde_json::to_string(cells).expect("strings are JSON"))
}
