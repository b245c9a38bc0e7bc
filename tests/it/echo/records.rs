//! Its manifests: a column `key`, a column `text`.

use std::{borrow::Cow, sync::Arc};

use wavebatch::{
    definition::{
        Faults,
        manifest::{
            Columns, Emptiness, Gathered, JobDraft, LineFault, LineJudge, LineName, OpenManifest, Record, RecordReader,
            Refusal, ScanDepth,
        },
    },
    domain::{identity::text_identity, key::Key, open::UnlistedValues},
};

use super::{Echoing, pool};

/// Finds the two columns.
pub fn open(asked: &Echoing, mut manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader>, Faults> {
    let all = manifest.take_columns().unwrap_or_default();
    let place = |name: &str| all.iter().position(|column| column == name);
    let (Some(key), Some(text)) = (place("key"), place("text")) else {
        let mut faults = Faults::default();
        faults.push(manifest.fault("an echo takes the columns `key` and `text`"));
        return Err(faults);
    };
    let carried_at: Vec<usize> = (0..all.len()).filter(|at| *at != key && *at != text).collect();
    let columns = Columns {
        own: all.len(),
        key: Some("key".into()),
        content: vec!["text".into()],
        options: Vec::new(),
        carried: carried_at.iter().map(|at| all[*at].clone()).collect(),
        carried_at,
        texts_at: vec![key, text],
        all,
        ..Columns::default()
    };
    Ok(Box::new(Texts { columns, key, text, times: asked.times }))
}

#[derive(Debug)]
struct Texts {
    columns: Columns,
    key: usize,
    text: usize,
    times: u32,
}

impl RecordReader for Texts {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn begin(&self, _: ScanDepth) -> Box<dyn LineJudge + '_> {
        Box::new(Judge { of: self, jobs: 0 })
    }

    fn doubled_key(&self, _: &str, first: &LineName) -> LineFault {
        LineFault::new(Some("key".into()), format!("the key is also that of {first}"))
    }

    fn nothing(&self, _: Emptiness) -> String {
        "has no lines".into()
    }
}

struct Judge<'m> {
    of: &'m Texts,
    jobs: u64,
}

impl LineJudge for Judge<'_> {
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal> {
        let key = record.cell(self.of.key);
        let mut faults = Vec::new();
        if let Err(fault) = Key::check(key) {
            faults.push(LineFault::new(Some("key".into()), fault.to_string()));
        }
        if record.cell(self.of.text).is_empty() {
            faults.push(LineFault::new(Some("text".into()), "is empty: there is nothing to be said"));
        }
        if faults.is_empty() { Ok(key.into()) } else { Err(Refusal::Line(faults)) }
    }

    fn gather(&mut self, _: &mut dyn FnMut(&str)) {
        self.jobs += 1;
    }

    fn jobs(&mut self, record: &Record) -> Vec<JobDraft> {
        vec![JobDraft {
            source: None,
            local: None,
            expected: None,
            text: Some(record.cell(self.of.text).into()),
            variant: String::new(),
            overrides: None,
            options_id: text_identity(&self.of.times.to_string()),
            pool: pool(),
        }]
    }

    fn gathered(self: Box<Self>) -> Gathered {
        Gathered { jobs: self.jobs, idle: 0, unlisted_values: UnlistedValues::default(), findings: Arc::new(()) }
    }
}
