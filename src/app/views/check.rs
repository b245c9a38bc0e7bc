//! What submitting a definition would do.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Seconds;
use crate::{
    config::{Config, PoolLimits},
    definition::Definition,
    domain::{
        batch::{BatchName, MicroUsd},
        cost::Rates,
        estimate::least_time,
        retry::PauseKind,
        synthesis_options::AudioFormat,
        task::TaskName,
    },
    runner::intake::{Characters, Compared, Plan},
    store::BatchPhase,
    tasks::synthesize::{PartLine, TextFindings, TextNote},
};

/// A definition, what submitting it would do, and what was not looked at.
#[derive(Debug, Clone, Serialize)]
pub struct CheckView<'v> {
    /// The batch's name.
    pub batch: &'v BatchName,
    /// What is done with each line.
    pub task: TaskName,
    /// The model.
    pub model: &'v str,
    /// The ledger.
    pub ledger: LedgerPlaceView<'v>,
    /// The file of the settings, if there is one.
    pub settings: Option<&'v PathBuf>,
    /// The address of the manifest.
    pub manifest: &'v str,
    /// Where outputs go.
    pub outputs: &'v str,
    /// Where the report goes, if not beside the outputs.
    pub report: Option<&'v str>,
    /// What the definition's author should know.
    pub notes: Vec<String>,
    /// What is in none of the vendor's lists, and passed on as it is.
    pub unlisted: Vec<String>,
    /// What submitting would do, if the manifest could be read.
    pub plan: Option<PlanView<'v>>,
    /// What was not looked at.
    pub not_checked: &'v [String],
    /// What is told of the voices.
    pub voices: &'v [String],
}

/// Where a ledger is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LedgerPlaceView<'v> {
    /// Its file.
    pub path: &'v Path,
    /// Whether it is still to be made.
    pub new: bool,
}

/// What submitting would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlanView<'v> {
    /// Whether the ledger has the batch.
    pub existed: bool,
    /// Why the batch is paused, if it is.
    pub pause: Option<PauseReasonView<'v>>,
    /// How it stands in the ledger, if that has it.
    pub state: Option<BatchPhase>,
    /// Good lines of the manifest.
    pub lines: u64,
    /// The jobs that they come to.
    pub jobs: u64,
    /// Jobs that are new.
    pub new: u64,
    /// Jobs with another source or other options than before.
    pub changed: u64,
    /// Jobs that are there and done.
    pub done: u64,
    /// Jobs that are there and not done.
    pub open: u64,
    /// Lines that are bad.
    pub bad: u64,
    /// Lines that name no source.
    pub without_source: u64,
    /// Jobs of the ledger that are asked for no more.
    pub gone: u64,
    /// What comparing local recordings with the ledger's has found.
    pub recordings: ComparedView<'v>,
    /// Jobs whose captions share their length out, since they were bought without word times.
    pub without_word_times: u64,
    /// Columns that set options of their lines.
    pub option_columns: &'v [String],
    /// What is wrong with bad lines, the first of them.
    pub bad_lines: Vec<String>,
    /// What would be bought again.
    pub rebuy: Option<RebuyView>,
    /// Of a synthesis, what would be bought.
    pub synthesis: Option<SpeechPlanView<'v>>,
    /// What the jobs that are to be worked cost, and how long they take.
    pub estimate: EstimateView,
}

/// Why a batch is paused.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PauseReasonView<'v> {
    /// What paused it.
    pub kind: PauseKind,
    /// In words.
    pub reason: &'v str,
}

/// What comparing local recordings with the ledger's has found.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ComparedView<'v> {
    /// Files that were read.
    pub read: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Files that are the same recordings in another place or with another time.
    pub renewed: u64,
    /// Lines that have another recording.
    pub other: u64,
    /// Files that cannot be read.
    pub unreadable: u64,
    /// The address that the manifest had, if it has another one now.
    pub address_before: Option<&'v str>,
}

impl<'v> ComparedView<'v> {
    fn of(compared: &Compared, address_before: Option<&'v str>) -> Self {
        Self {
            read: compared.read,
            read_bytes: compared.read_bytes,
            renewed: compared.renewed,
            other: compared.other,
            unreadable: compared.unreadable,
            address_before,
        }
    }
}

/// Finished jobs that other options would buy again.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RebuyView {
    /// How many.
    pub lines: u64,
    /// What that costs at list price.
    pub cost_usd: MicroUsd,
}

/// Cost and time of the jobs that are to be worked.
#[derive(Debug, Clone, Serialize)]
pub struct EstimateView {
    /// How many they are.
    pub lines: u64,
    /// Those of them whose length nobody knows.
    pub of_unknown_length: u64,
    /// Audio of the others.
    pub audio_seconds: Seconds,
    /// How far off that may be.
    pub audio_seconds_give_or_take: Seconds,
    /// How many recordings' headers were read for that.
    pub headers_read: u64,
    /// What the others cost at list price, if there is a price.
    pub cost_usd: Option<MicroUsd>,
    /// How far off that may be.
    pub cost_usd_give_or_take: Option<MicroUsd>,
    /// The least time that all calls take under the limit of requests, in whole seconds.
    pub least_seconds: Option<u64>,
    /// That limit.
    pub requests_per_minute: Option<u32>,
    /// Who set it.
    pub limit_set_by: String,
}

/// What a synthesis would buy.
#[derive(Debug, Clone, Serialize)]
pub struct SpeechPlanView<'v> {
    /// Jobs that would be worked.
    pub outputs: u64,
    /// Parts of all texts.
    pub parts: u64,
    /// Their characters, by model.
    pub characters: BTreeMap<String, u64>,
    /// Parts that are to be bought.
    pub new_parts: u64,
    /// Their characters, by model.
    pub new_characters: BTreeMap<String, u64>,
    /// What they cost at list price, if all of them have a price.
    pub cost_usd: Option<MicroUsd>,
    /// What may not be meant to be spoken, the first of it.
    pub warnings: Vec<TextWarningView<'v>>,
    /// How many more such warnings there are.
    pub more_warnings: u64,
    /// What is left out of files.
    pub left_out: Vec<LeftOutView<'v>>,
}

/// What may not be meant to be spoken.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TextWarningView<'v> {
    /// The line.
    pub line: u64,
    /// Its key.
    pub key: &'v str,
    /// What it is.
    pub what: &'v str,
}

/// What is left out of a file.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOutView<'v> {
    /// The file.
    pub file: &'v str,
    /// What it is.
    pub what: String,
}

impl<'v> SpeechPlanView<'v> {
    fn of(plan: &'v Plan, rates: &Rates) -> Option<Self> {
        let found = plan.purchases.as_ref()?;
        let look = TextFindings::of(&plan.scan)?.look.as_ref()?;
        let priced = found.characters.keys().all(|model| rates.known_per_10k_chars(*model).is_some());
        let by_model = |characters: &Characters| characters.iter().map(|(model, n)| (model.to_string(), *n)).collect();
        let warning =
            |note: &'v TextNote| TextWarningView { line: note.number, key: note.key.as_str(), what: &note.what };
        Some(Self {
            outputs: found.jobs,
            parts: found.all_parts,
            characters: by_model(&found.all_characters),
            new_parts: found.parts,
            new_characters: by_model(&found.characters),
            cost_usd: Some(found.cost(rates)).filter(|_| priced),
            warnings: look.notes.iter().map(warning).collect(),
            more_warnings: look.more,
            left_out: look.left_out.iter().map(|(file, what)| LeftOutView { file, what: what.to_string() }).collect(),
        })
    }
}

impl<'v> PlanView<'v> {
    /// Of a plan, under these limits and prices. `priced`: whether what is transcribed has a price.
    #[must_use]
    pub fn of(plan: &'v Plan, limits: &PoolLimits, rates: &Rates, priced: bool) -> Self {
        let (scan, diff, estimate) = (&plan.scan, &plan.diff, &plan.estimate);
        let rate = limits.limits.requests_per_minute;
        let calls = plan.purchases.as_ref().map_or(estimate.lines, |purchases| purchases.parts);
        Self {
            existed: plan.existed,
            pause: plan.pause.as_ref().map(|(kind, reason)| PauseReasonView { kind: *kind, reason }),
            state: plan.phase,
            lines: scan.lines,
            jobs: scan.jobs,
            new: diff.new,
            changed: diff.changed,
            done: diff.done,
            open: diff.open,
            bad: scan.bad,
            without_source: scan.without_source,
            gone: plan.gone,
            recordings: ComparedView::of(&plan.compared, plan.readdressed.as_deref()),
            without_word_times: plan.without_word_times,
            option_columns: &plan.spec.option_columns,
            bad_lines: scan.faults.list.iter().map(ToString::to_string).collect(),
            rebuy: plan.rebuy.map(|rebuy| RebuyView { lines: rebuy.lines, cost_usd: rebuy.cost }),
            synthesis: SpeechPlanView::of(plan, rates),
            estimate: EstimateView {
                lines: estimate.lines,
                of_unknown_length: estimate.unknown,
                audio_seconds: Seconds(estimate.audio_ms),
                audio_seconds_give_or_take: Seconds(estimate.give_or_take_ms),
                headers_read: estimate.sampled,
                cost_usd: Some(estimate.cost).filter(|_| priced),
                cost_usd_give_or_take: Some(estimate.give_or_take).filter(|_| priced),
                least_seconds: rate.map(|rate| least_time(calls, rate) / 1_000),
                requests_per_minute: rate,
                limit_set_by: limits.rate_by.to_string(),
            },
        }
    }
}

impl<'v> CheckView<'v> {
    /// Of a definition under these settings; the rest is what checking it has found.
    #[must_use]
    pub fn of(definition: &'v Definition, config: &'v Config, new_ledger: bool) -> Self {
        Self {
            batch: &definition.batch,
            task: definition.task.task(),
            model: definition.task.model(),
            ledger: LedgerPlaceView { path: &config.database, new: new_ledger },
            settings: config.file.as_ref(),
            manifest: &definition.manifest,
            outputs: definition.output.as_str(),
            report: definition.report_to.as_deref(),
            notes: definition.notes(),
            unlisted: Vec::new(),
            plan: None,
            not_checked: &[],
            voices: &[],
        }
    }
}

/// A part as it would be bought.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PartView<'v> {
    /// Its line.
    pub line: u64,
    /// Its key.
    pub key: &'v str,
    /// Who speaks.
    pub voice_id: &'v str,
    /// The format that is bought.
    pub format: AudioFormat,
    /// Samples a second.
    pub sample_rate: u32,
    /// Its number in the text, from 1.
    pub part: u64,
    /// Its length, in Unicode scalar values.
    pub characters: u64,
    /// Whether its audio is in the cache.
    pub kept: bool,
    /// What is sent.
    pub text: &'v str,
}

impl<'v> From<&'v PartLine> for PartView<'v> {
    fn from(part: &'v PartLine) -> Self {
        Self {
            line: part.line,
            key: &part.key,
            voice_id: &part.voice_id,
            format: part.bought.format,
            sample_rate: part.bought.sample_rate.hz(),
            part: part.number,
            characters: part.characters,
            kept: part.kept,
            text: &part.text,
        }
    }
}
