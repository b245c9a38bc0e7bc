//! How a record of a manifest becomes a request, and all its possible faults.

mod columns;
mod findings;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

pub(super) use self::findings::ChatFindings;
use self::{columns::ChatColumns, findings::Gathering};
use super::chatting::Chatting;
use crate::{
    definition::{
        Faults, NoSource,
        manifest::{
            Columns, Emptiness, Gathered, JobDraft, LineFault, LineJudge, LineName, OpenManifest, Record, RecordReader,
            Refusal, ScanDepth, UnnamedColumns, key_of,
        },
        text::excerpt,
    },
    domain::{
        chat::{ChatLine, with_schema},
        extra::{Extra, cell_as_json},
        identity::{Identity, text_identity},
        key::{Key, KeyFault},
    },
};

/// The default columns of plain lines, and of files.
pub(super) const UNNAMED: UnnamedColumns = UnnamedColumns { line: "prompt", files: ["file", "key"] };

/// The names of the column that a line asks, if the definition names none.
pub(super) const PROMPT_NAMES: [&str; 3] = ["prompt", "text", "transcript"];

/// The same for an analysis.
pub(super) const TRANSCRIPT_NAMES: [&str; 3] = ["transcript", "text", "prompt"];

/// Distinct requests without their prompts whose identities are cached; when the cache is full, it is cleared.
const REMEMBERED: usize = 64;

/// Determines the purpose of each column of a manifest.
pub(super) fn open_records<'d>(
    asked: &'d Chatting,
    mut manifest: OpenManifest<'_>,
) -> Result<Box<dyn RecordReader + 'd>, Faults> {
    // An empty manifest has no lines that the columns could apply to.
    let columns = manifest.take_columns().unwrap_or_else(|| vec![UNNAMED.line.to_owned()]);
    let columns = ChatColumns::of(asked, &manifest, columns)?;
    Ok(Box::new(Prompts { asked, columns }))
}

/// A reader of prompts.
#[derive(Debug)]
struct Prompts<'d> {
    asked: &'d Chatting,
    columns: ChatColumns,
}

impl RecordReader for Prompts<'_> {
    fn columns(&self) -> &Columns {
        &self.columns.columns
    }

    fn begin(&self, depth: ScanDepth) -> Box<dyn LineJudge + '_> {
        Box::new(PromptJudge {
            of: self,
            last: Last::Bad,
            gathering: Gathering::new(depth),
            identities: HashMap::new(),
        })
    }

    fn doubled_key(&self, _key: &str, first: &LineName) -> LineFault {
        LineFault::new(self.columns.columns.key.clone(), format!("the key is also that of {first}"))
    }

    fn nothing(&self, _of: Emptiness) -> String {
        "has no lines".to_owned()
    }
}

/// Judges lines one by one.
struct PromptJudge<'m> {
    of: &'m Prompts<'m>,
    last: Last,
    gathering: Gathering,
    identities: HashMap<String, Identity>,
}

/// The line that was judged last.
enum Last {
    Bad,
    /// Nothing is asked.
    Idle,
    Good(Box<Asked>),
}

/// What a line asks.
struct Asked {
    number: u64,
    key: Key,
    prompt: String,
    line: ChatLine,
}

impl LineJudge for PromptJudge<'_> {
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal> {
        let columns = &self.of.columns;
        let key = match &columns.key {
            Some(rule) => rule.text(record),
            None => key_of(None, record.number),
        };
        self.last = Last::Bad;
        let mut faults = Vec::new();
        let filled = columns.prompt.fill(record);
        if !filled.has_content && self.of.asked.no_text == NoSource::Fault {
            let message = "is empty: there is nothing to ask; to let such lines pass as skipped say no_text = \"skip\"";
            faults.push(LineFault::new(columns.prompt_name.clone(), message));
        }
        let checked = Key::new(&*key).map_err(|fault| {
            let message =
                if fault == KeyFault::Empty { fault.to_string() } else { format!("`{}`: {fault}", excerpt(&key)) };
            faults.push(LineFault::new(columns.columns.key.clone(), message));
        });
        let Some(checked) = checked.ok().filter(|_| faults.is_empty()) else { return Err(Refusal::Line(faults)) };
        self.last = match filled.has_content {
            false => Last::Idle,
            true => {
                let source = columns.source.as_ref().map(|source| filled.quoted_from(source, record));
                let spoken =
                    columns.spoken.and_then(|at| serde_json::from_str(record.cell(at)).ok()).unwrap_or_default();
                let line = ChatLine { system: self.system(record), source, spoken, extra: columns.extra(record) };
                Last::Good(Box::new(Asked { number: record.number, key: checked, prompt: filled.text, line }))
            }
        };
        Ok(key)
    }

    fn gather(&mut self, _name: &mut dyn FnMut(&str)) {
        match &self.last {
            Last::Good(asked) => {
                self.gathering.add((asked.number, &asked.key), &self.of.asked.asked, &asked.line, &asked.prompt)
            }
            Last::Idle => self.gathering.add_idle(),
            Last::Bad => {}
        }
    }

    fn jobs(&mut self, _record: &Record) -> Vec<JobDraft> {
        let pool = self.of.asked.asked.endpoint.pool();
        let draft = |text, overrides, options_id| JobDraft {
            source: None,
            local: None,
            expected: None,
            text,
            variant: String::new(),
            overrides,
            options_id,
            pool,
        };
        match std::mem::replace(&mut self.last, Last::Bad) {
            Last::Good(asked) => {
                let Asked { prompt, line, .. } = *asked;
                let id = self.identity(&line);
                let own = (line != ChatLine::default())
                    .then(|| serde_json::to_string(&line).expect("texts and numbers are JSON"));
                vec![draft(Some(Arc::from(prompt)), own, id)]
            }
            Last::Idle => vec![draft(None, None, text_identity(""))],
            Last::Bad => Vec::new(),
        }
    }

    fn gathered(self: Box<Self>) -> Gathered {
        self.gathering.finish()
    }
}

impl PromptJudge<'_> {
    /// The text before a line's prompt, if the line has its own.
    fn system(&self, record: &Record) -> Option<String> {
        let system = self.of.columns.system.as_ref()?.fill(record).text;
        match &self.of.asked.asked.schema {
            Some(schema) if !self.of.columns.system_has_schema => Some(with_schema(&system, schema)),
            _ => Some(system),
        }
    }

    fn identity(&mut self, line: &ChatLine) -> Identity {
        let asked = &self.of.asked.asked;
        // Where quotes stand is no part of it.
        let shaping = ChatLine { source: None, spoken: Vec::new(), ..line.clone() };
        let own = serde_json::to_string(&shaping).expect("texts and numbers are JSON");
        if let Some(id) = self.identities.get(&own) {
            return *id;
        }
        if self.identities.len() >= REMEMBERED {
            self.identities.clear();
        }
        let id = asked.identity(&shaping);
        self.identities.insert(own, id);
        id
    }
}

impl ChatColumns {
    fn extra(&self, record: &Record) -> Extra {
        let mut extra = Extra::default();
        for (name, at) in &self.extras {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                extra.body.insert(name.clone(), cell_as_json(cell));
            }
        }
        extra
    }
}
