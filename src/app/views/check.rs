//! The preview of a submission.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Moment, Seconds};
use crate::{
    clock::Millis,
    config::{Config, PoolLimits},
    definition::{Columns, Definition},
    domain::{
        batch::{BatchName, MicroUsd},
        estimate::least_time,
        retry::PauseKind,
        task::{TaskName, Unit},
    },
    runner::intake::{
        Bought, Compared, ContentFindings, Estimate, Heard, LineNote, PartPreview, Plan, PreviewLine, PurchaseGroup,
        Purchases, Seen, Share, UnitsByModel,
    },
    store::BatchPhase,
};

/// A definition, the result that submitting it would have, and what was not checked.
#[derive(Debug, Clone, Serialize)]
pub struct CheckView<'v> {
    /// The batch's name.
    pub batch: &'v BatchName,
    /// The task.
    pub task: TaskName,
    /// The model.
    pub model: &'v str,
    /// The ledger.
    pub ledger: LedgerPlaceView,
    /// The settings file, if there is one.
    pub settings: Option<&'v PathBuf>,
    /// The address of the manifest.
    pub manifest: &'v str,
    /// The output's location.
    pub outputs: &'v str,
    /// The report's location, if not beside the outputs.
    pub report: Option<&'v str>,
    /// Notes for the definition's author.
    pub notes: Vec<String>,
    /// Values that are in none of the vendor's lists; they are passed on unchanged.
    pub unlisted: Vec<String>,
    /// The plan, if the manifest could be read.
    pub plan: Option<PlanView<'v>>,
    /// What comes of the batch that feeds it, if there are lines to come.
    pub chain: Option<ChainView>,
    /// What was heard in the recordings, if `--analyze` asks for it.
    pub heard: Option<HeardView<'v>>,
    /// What was not checked.
    pub not_checked: &'v [String],
    /// Notes about the voices.
    pub voices: &'v [String],
}

/// Lines that are still to come from the batch that feeds this one: estimates, by what its lines are like.
#[derive(Debug, Clone, Serialize)]
pub struct ChainView {
    /// That batch.
    pub fed_by: String,
    /// The lines that it will finish.
    pub lines: u64,
    /// The calls that these make; `null` if that shows as they come.
    pub calls: Option<u64>,
    /// The cost of these at list price; `null` if it shows as they come, or there is no price.
    pub cost_usd: Option<MicroUsd>,
    /// The earliest end of this batch, with the lines that are there; `null` if the other one is not checked with it.
    #[serde(flatten)]
    pub end: Option<ChainEndView>,
    /// The limit that binds this batch; `null` if the other one does.
    pub requests_per_minute: Option<u32>,
}

/// The earliest end of a batch of a chain.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChainEndView {
    /// When that is, if all are started now.
    pub ends_at: Moment,
    /// How long after the start, in whole seconds.
    pub least_seconds: u64,
    /// How long after the batch that feeds it, in whole seconds.
    pub seconds_after: u64,
}

impl From<(Millis, u64, u64)> for ChainEndView {
    /// From the start, the time until the end, and the time since the other batch's end, all in ms.
    fn from((now, least_ms, after_ms): (Millis, u64, u64)) -> Self {
        let ends_at = Moment(now.saturating_add_unsigned(least_ms));
        Self { ends_at, least_seconds: least_ms / 1_000, seconds_after: after_ms / 1_000 }
    }
}

/// The location of a ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerPlaceView {
    /// Its file, or its address on a server.
    pub path: String,
    /// Whether it does not exist yet.
    pub new: bool,
}

/// The changes that a submission would make.
#[derive(Debug, Clone, Serialize)]
pub struct PlanView<'v> {
    /// Whether the ledger has the batch already.
    pub existed: bool,
    /// Why the batch is paused, if it is.
    pub pause: Option<PauseReasonView<'v>>,
    /// Its state in the ledger, if the ledger has it.
    pub state: Option<BatchPhase>,
    /// Good lines of the manifest.
    pub lines: u64,
    /// The jobs of these lines.
    pub jobs: u64,
    /// New jobs.
    pub new: u64,
    /// Jobs whose source or options have changed.
    pub changed: u64,
    /// Existing jobs that are done.
    pub done: u64,
    /// Existing jobs that are not done.
    pub open: u64,
    /// Bad lines.
    pub bad: u64,
    /// Lines without a source.
    pub without_source: u64,
    /// Jobs of the ledger that the manifest no longer has.
    pub gone: u64,
    /// The result of comparing local recordings with the ledger.
    pub recordings: ComparedView<'v>,
    /// Jobs whose caption times are spread over the length, since they were bought without word times.
    pub without_word_times: u64,
    /// What each column of the manifest is.
    pub columns: ColumnsView<'v>,
    /// What the user should know about the manifest and its columns.
    pub warnings: &'v [String],
    /// The first lines, as they would be worked.
    pub preview: Vec<PreviewLineView<'v>>,
    /// The faults of the first bad lines.
    pub bad_lines: Vec<String>,
    /// The jobs that would be bought again.
    pub rebuy: Option<RebuyView>,
    /// The parts that would be bought, if the task buys in parts.
    pub purchases: Option<PurchasesView<'v>>,
    /// What its content shows.
    pub findings: FindingsView<'v>,
    /// Cost and time of the jobs to work.
    pub estimate: EstimateView,
    /// What was seen of the recordings, if some were looked at.
    pub sources: Option<SourcesView<'v>>,
    /// Lines of other batches that are queued on the same pool.
    pub queued_elsewhere: u64,
    /// What the spend limit of the batch leaves undone, if it has one.
    pub spend_limit: Option<BatchLimitView>,
}

/// What each column of a manifest is.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnsView<'v> {
    /// The column or template of the key; `null`: the file's name, else the line's number.
    pub key: Option<&'v str>,
    /// The columns or templates of the content to work on.
    pub content: &'v [String],
    /// The column of the content in each language, where each language has one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_language: BTreeMap<&'v str, &'v str>,
    /// The columns that set options, by option.
    pub options: BTreeMap<&'v str, &'v str>,
    /// The columns that are carried into the report.
    pub carried: &'v [String],
}

impl<'v> ColumnsView<'v> {
    fn of(columns: &'v Columns) -> Self {
        let options = columns.options.iter().zip(&columns.option_columns);
        Self {
            key: columns.key.as_deref(),
            content: &columns.content,
            by_language: columns.by_language.iter().map(|(language, column)| (&**language, &**column)).collect(),
            options: options.map(|(option, column)| (option.as_str(), column.as_str())).collect(),
            carried: &columns.carried,
        }
    }
}

/// A line of a manifest, as it would be worked.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewLineView<'v> {
    /// Its number, from 1.
    pub line: u64,
    /// Its key.
    pub key: &'v str,
    /// Its source, without what is secret in an address.
    pub source: Option<&'v str>,
    /// The first words of its text.
    pub text: Option<&'v str>,
    /// The options that its columns set.
    pub options: BTreeMap<&'v str, &'v str>,
    /// The names of its outputs.
    pub outputs: &'v [String],
}

impl<'v> PreviewLineView<'v> {
    fn of(line: &'v PreviewLine) -> Self {
        Self {
            line: line.line,
            key: &line.key,
            source: line.source.as_deref(),
            text: line.text.as_deref(),
            options: line.options.iter().map(|(option, cell)| (option.as_str(), cell.as_str())).collect(),
            outputs: &line.outputs,
        }
    }
}

/// What was seen of the recordings.
#[derive(Debug, Clone, Serialize)]
pub struct SourcesView<'v> {
    /// Lines with a source.
    pub lines: u64,
    /// Recordings that were looked at.
    pub looked: u64,
    /// Those that are not there.
    pub missing: ShareView<'v>,
    /// Those that cannot be read, or are no audio.
    pub unusable: ShareView<'v>,
    /// Those with two channels or more.
    pub stereo: ShareView<'v>,
}

/// How many recordings are of a kind.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ShareView<'v> {
    /// Those that were found.
    pub found: u64,
    /// Of so many.
    pub of: u64,
    /// The number of all lines that this stands for.
    pub about: u64,
    /// One of them, and what is wrong with it.
    pub example: Option<&'v str>,
}

impl<'v> From<&'v Share> for ShareView<'v> {
    fn from(share: &'v Share) -> Self {
        Self { found: share.found, of: share.of, about: share.about, example: share.example.as_deref() }
    }
}

impl<'v> SourcesView<'v> {
    fn of(seen: &'v Seen) -> Self {
        Self {
            lines: seen.lines,
            looked: seen.looked,
            missing: (&seen.missing).into(),
            unusable: (&seen.unusable).into(),
            stereo: (&seen.stereo).into(),
        }
    }
}

/// What was heard in recordings before anything is paid. Amounts are of all recordings of the manifest: an estimate, if not all
/// were listened to.
#[derive(Debug, Clone, Serialize)]
pub struct HeardView<'v> {
    /// Recordings of the manifest.
    pub recordings: u64,
    /// Those that were listened to, with those that could not be heard.
    pub listened: u64,
    /// One channel, in which somebody speaks.
    pub mono: ShareView<'v>,
    /// Two channels with a voice of their own each.
    pub stereo: ShareView<'v>,
    /// Two channels with the same sound.
    pub dual_mono: ShareView<'v>,
    /// Two channels of which one speaks.
    pub one_sided: ShareView<'v>,
    /// More than two channels.
    pub many_channels: ShareView<'v>,
    /// Nobody speaks, in however many channels.
    pub silent: ShareView<'v>,
    /// Recordings that could not be heard. They are in no length and no price.
    pub not_heard: ShareView<'v>,
    /// Those of them that need ffmpeg, which was not found.
    pub lacks_ffmpeg: ShareView<'v>,
    /// Recordings that ffmpeg read.
    pub by_ffmpeg: ShareView<'v>,
    /// Recordings that were not heard to their end.
    pub broken: ShareView<'v>,
    /// The audio.
    pub audio_seconds: Seconds,
    /// The margin of error of that length.
    pub audio_seconds_give_or_take: Seconds,
    /// How long somebody speaks.
    pub speech_seconds: Seconds,
    /// What each way of buying all recordings buys, by the way's name: `mix`, `split`.
    pub ways: BTreeMap<&'static str, BoughtView>,
    /// What is not bought if recordings in which nobody speaks are skipped.
    pub silence: BoughtView,
    /// Whether they are skipped already, in `ways` too.
    pub skips_silence: bool,
}

/// What is bought of recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BoughtView {
    /// Calls.
    pub calls: u64,
    /// Their audio.
    pub audio_seconds: Seconds,
    /// Its cost at list price, if there is a price.
    pub cost_usd: Option<MicroUsd>,
    /// The least time for these calls under the request limit, in whole seconds.
    pub least_seconds: Option<u64>,
}

impl BoughtView {
    fn of((calls, audio_ms, cost): (u64, u64, MicroUsd), rate: Option<u32>, priced: bool) -> Self {
        Self {
            calls,
            audio_seconds: Seconds(audio_ms),
            cost_usd: Some(cost).filter(|_| priced),
            least_seconds: rate.map(|rate| least_time(calls, rate) / 1_000),
        }
    }
}

impl<'v> HeardView<'v> {
    /// The view of what was heard, under this limit of requests a minute. `priced`: whether audio has a price.
    #[must_use]
    pub fn of(heard: &'v Heard, rate: Option<u32>, priced: bool) -> Self {
        let Heard { kinds, .. } = heard;
        let view = |bought: &Bought| BoughtView::of((bought.calls, bought.audio_ms, bought.cost), rate, priced);
        Self {
            recordings: heard.recordings,
            listened: heard.listened,
            mono: (&kinds.mono).into(),
            stereo: (&kinds.stereo).into(),
            dual_mono: (&kinds.dual_mono).into(),
            one_sided: (&kinds.one_sided).into(),
            many_channels: (&kinds.many_channels).into(),
            silent: (&kinds.silent).into(),
            not_heard: (&heard.not_heard).into(),
            lacks_ffmpeg: (&heard.lacks_ffmpeg).into(),
            by_ffmpeg: (&heard.by_ffmpeg).into(),
            broken: (&heard.broken).into(),
            audio_seconds: Seconds(heard.audio_ms),
            audio_seconds_give_or_take: Seconds(heard.give_or_take_ms),
            speech_seconds: Seconds(heard.speech_ms),
            ways: heard.ways.iter().map(|way| (way.name, view(&way.bought))).collect(),
            silence: view(&heard.silence),
            skips_silence: heard.skips_silence,
        }
    }
}

/// What a spend limit pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchLimitView {
    /// The limit of the batch.
    pub max_spend_usd: MicroUsd,
    /// What of it is spent or reserved.
    pub spent_usd: MicroUsd,
    /// The lines that it would leave undone, about, if the batch costs what it can at most; `null` where the cost is unknown.
    pub undone: Option<u64>,
}

impl BatchLimitView {
    /// What the limit of a batch leaves of a plan. `None`: it has no limit.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        let most = plan.spec.run.max_spend_usd?;
        let left = most.0.saturating_sub(plan.spent.0).max(0);
        let (cost, lines) = match &plan.purchases {
            Some(purchases) => (purchases.cost, purchases.jobs),
            None => {
                let Estimate { cost, most, unknown, lines, .. } = plan.estimate;
                (Some(most.map_or(cost, |most| most.cost)).filter(|_| unknown == 0), lines)
            }
        };
        let undone = cost.map(|cost| match cost.0 {
            cost if cost <= left => 0,
            cost => {
                let share =
                    u128::from((cost - left).unsigned_abs()) * u128::from(lines) / u128::from(cost.unsigned_abs());
                u64::try_from(share).unwrap_or(lines)
            }
        });
        Some(Self { max_spend_usd: most, spent_usd: plan.spent, undone })
    }
}

/// The reason for a pause.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PauseReasonView<'v> {
    /// What paused it.
    pub kind: PauseKind,
    /// The message.
    pub reason: &'v str,
}

/// The result of comparing local recordings with the ledger.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ComparedView<'v> {
    /// The number of files read.
    pub read: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Files with the same recording at another path or with another modification time.
    pub renewed: u64,
    /// Lines with a different recording.
    pub other: u64,
    /// Files that cannot be read.
    pub unreadable: u64,
    /// The manifest's former address, if it has changed.
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

/// Finished jobs that would be bought again with other options.
#[derive(Debug, Clone, Serialize)]
pub struct RebuyView {
    /// The number of jobs.
    pub lines: u64,
    /// Their cost at list price.
    pub cost_usd: MicroUsd,
    /// The options that changed, each as text.
    pub changes: Vec<String>,
}

/// Cost and time of the jobs to work.
#[derive(Debug, Clone, Serialize)]
pub struct EstimateView {
    /// The number of jobs.
    pub lines: u64,
    /// Those of unknown length.
    pub of_unknown_length: u64,
    /// The audio of the others; `null` where nothing is known of it.
    pub audio_seconds: Option<Seconds>,
    /// The margin of error of that length.
    pub audio_seconds_give_or_take: Option<Seconds>,
    /// The number of recordings whose headers were read for it.
    pub headers_read: u64,
    /// The number of those recordings whose length is an estimate, since nothing in them proves it.
    pub lengths_not_exact: u64,
    /// The cost of the others at list price, if there is a price.
    pub cost_usd: Option<MicroUsd>,
    /// The margin of error of that cost.
    pub cost_usd_give_or_take: Option<MicroUsd>,
    /// The least time for all calls under the request limit, in whole seconds.
    pub least_seconds: Option<u64>,
    /// That limit.
    pub requests_per_minute: Option<u32>,
    /// The origin of that limit.
    pub limit_set_by: String,
    /// What is bought at most where channels have calls of their own; `null` where a recording is always one call.
    pub at_most: Option<BoughtView>,
}

/// What would be bought in parts.
#[derive(Debug, Clone, Serialize)]
pub struct PurchasesView<'v> {
    /// Jobs to work.
    pub outputs: u64,
    /// What the units count.
    pub unit: Unit,
    /// Parts of all jobs.
    pub parts: u64,
    /// Their units, by model.
    pub units: &'v UnitsByModel,
    /// Parts to buy.
    pub new_parts: u64,
    /// Their units, by model.
    pub new_units: &'v UnitsByModel,
    /// Their cost at list price, if all of them have a price.
    pub cost_usd: Option<MicroUsd>,
    /// The same by language, where the jobs have several.
    pub languages: Vec<LanguagePurchasesView<'v>>,
    /// About how long the audio of all jobs is, by the usual pace of their languages.
    pub audio_seconds: Option<Seconds>,
}

impl<'v> PurchasesView<'v> {
    fn of(found: &'v Purchases, unit: Unit) -> Self {
        Self {
            outputs: found.jobs,
            unit,
            parts: found.all_parts,
            units: &found.all_units,
            new_parts: found.parts,
            new_units: &found.units,
            cost_usd: found.cost,
            languages: found.groups.iter().map(LanguagePurchasesView::of).collect(),
            audio_seconds: found.all_audio_ms.map(Seconds),
        }
    }
}

/// What would be bought in one language.
#[derive(Debug, Clone, Serialize)]
pub struct LanguagePurchasesView<'v> {
    /// The language.
    pub language: &'v str,
    /// Jobs to work.
    pub outputs: u64,
    /// Parts of all jobs.
    pub parts: u64,
    /// Their units.
    pub units: u64,
    /// Parts to buy.
    pub new_parts: u64,
    /// Their units.
    pub new_units: u64,
    /// Their cost at list price, if all of them have a price.
    pub cost_usd: Option<MicroUsd>,
}

impl<'v> LanguagePurchasesView<'v> {
    fn of(group: &'v PurchaseGroup) -> Self {
        Self {
            language: &group.name,
            outputs: group.jobs,
            parts: group.all_parts,
            units: group.all_units,
            new_parts: group.parts,
            new_units: group.units,
            cost_usd: group.cost,
        }
    }
}

/// What the content of a manifest shows before it is paid for.
#[derive(Debug, Clone, Serialize)]
pub struct FindingsView<'v> {
    /// The warnings about text that may not be meant so, and about what was done to texts.
    pub warnings: Vec<LineWarningView<'v>>,
    /// The parts of files that are left out.
    pub left_out: Vec<LeftOutView<'v>>,
    /// What only the task knows, like `scene_breaks`.
    #[serde(flatten)]
    pub fields: &'v Map<String, Value>,
}

impl<'v> FindingsView<'v> {
    fn of(found: &'v ContentFindings) -> Self {
        let warning =
            |note: &'v LineNote| LineWarningView { line: note.number, key: note.key.as_str(), what: &note.what };
        Self {
            warnings: found.notes.iter().map(warning).collect(),
            left_out: found.left_out.iter().map(|(file, what)| LeftOutView { file, what }).collect(),
            fields: &found.fields,
        }
    }
}

/// A warning about the text of a line.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LineWarningView<'v> {
    /// The line.
    pub line: u64,
    /// Its key.
    pub key: &'v str,
    /// The text in question.
    pub what: &'v str,
}

/// The parts of a file that are left out.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LeftOutView<'v> {
    /// The file.
    pub file: &'v str,
    /// Their kinds and numbers.
    pub what: &'v str,
}

impl<'v> PlanView<'v> {
    /// The view of a plan, under these limits. `unit`: what the task's units count. `priced`: whether its jobs have a price.
    #[must_use]
    pub fn of(plan: &'v Plan, limits: &PoolLimits, unit: Unit, priced: bool) -> Self {
        let (scan, diff, estimate) = (&plan.scan, &plan.diff, &plan.estimate);
        let rate = limits.limits.requests_per_minute;
        let is_known = estimate.lines == 0 || estimate.unknown < estimate.lines;
        let known = |seconds: Seconds| is_known.then_some(seconds);
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
            columns: ColumnsView::of(&plan.scan.columns),
            warnings: &plan.scan.warnings,
            preview: plan.preview.iter().map(PreviewLineView::of).collect(),
            bad_lines: scan.faults.list.iter().map(ToString::to_string).collect(),
            rebuy: plan.rebuy.as_ref().map(|rebuy| RebuyView {
                lines: rebuy.lines,
                cost_usd: rebuy.cost,
                changes: rebuy.changes.clone(),
            }),
            purchases: plan.purchases.as_ref().map(|found| PurchasesView::of(found, unit)),
            findings: FindingsView::of(&plan.findings),
            estimate: EstimateView {
                lines: estimate.lines,
                of_unknown_length: estimate.unknown,
                audio_seconds: known(Seconds(estimate.audio_ms)),
                audio_seconds_give_or_take: known(Seconds(estimate.give_or_take_ms)),
                headers_read: estimate.sampled,
                lengths_not_exact: estimate.not_exact,
                cost_usd: is_known.then_some(estimate.cost).filter(|_| priced),
                cost_usd_give_or_take: is_known.then_some(estimate.give_or_take).filter(|_| priced),
                least_seconds: rate.map(|rate| least_time(calls, rate) / 1_000),
                requests_per_minute: rate,
                limit_set_by: limits.rate_by.to_string(),
                at_most: estimate
                    .most
                    .map(|most| BoughtView::of((most.calls, most.audio_ms, most.cost), rate, priced && is_known)),
            },
            sources: plan.seen.as_ref().map(SourcesView::of),
            queued_elsewhere: plan.queued,
            spend_limit: BatchLimitView::of(plan),
        }
    }
}

impl<'v> CheckView<'v> {
    /// The view of a definition under these settings, without the results of the check.
    #[must_use]
    pub fn of(definition: &'v Definition, config: &'v Config, new_ledger: bool) -> Self {
        Self {
            batch: &definition.batch,
            task: definition.task.task(),
            model: definition.task.model(),
            ledger: LedgerPlaceView { path: config.database.to_string(), new: new_ledger },
            settings: config.file.as_ref(),
            manifest: &definition.manifest,
            outputs: definition.output.as_str(),
            report: definition.report_to.as_deref(),
            notes: definition.notes(),
            unlisted: Vec::new(),
            plan: None,
            chain: None,
            heard: None,
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
    /// What is asked for, by the task's own fields: voice, format and the like.
    #[serde(flatten)]
    pub asked: &'v Map<String, Value>,
    /// Its number in the text, from 1.
    pub part: u64,
    /// Its length, in units of the task.
    pub units: u64,
    /// Whether its answer is kept already.
    pub kept: bool,
    /// The text to send.
    pub text: &'v str,
}

impl<'v> From<&'v PartPreview> for PartView<'v> {
    fn from(part: &'v PartPreview) -> Self {
        Self {
            line: part.line,
            key: &part.key,
            asked: &part.fields,
            part: part.number,
            units: part.units,
            kept: part.kept,
            text: &part.text,
        }
    }
}
