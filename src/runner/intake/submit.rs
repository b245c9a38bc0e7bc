//! Submitting: the first reading finds the faults, the second writes the lines.

use std::sync::Arc;

use super::{
    super::DEFAULT_CONCURRENCY,
    Account, AccountCheck, Feeder, IntakeError, IntakeTask, Purchases, VoiceCheck,
    adopt::Adopt,
    compare::{Compared, ReadWatch},
    dated_batch::spec_of,
    known::ExistingBatch,
    ownership, readable,
    reader::{Reader, Wanted},
    resolved::{Resolved, Resolving},
};
use crate::{
    definition::{Definition, Faults, Scan, ScanDepth, Spooled, manifest::Ignored},
    domain::{batch::BatchSpec, cost::Rates, environment::Environment, job::BatchId, task::Tasks},
    report::{
        publish::{blank, put_blank_report, put_summary, summarize},
        summary::SummaryState,
    },
    sink::Sink,
    store::{Begun, NewBatch, NewFeed, ReadLines, Store, StoreError, Submitted, WantedChanges},
};

/// What the user has agreed to.
#[derive(Debug, Clone)]
pub struct SubmitOptions {
    /// The known tasks.
    pub tasks: Tasks<dyn IntakeTask>,
    /// Finished lines may be bought again because the definition's options changed.
    pub rebuy: bool,
    /// The output may be written even if it belongs to another batch or ledger.
    pub take_over: bool,
    /// New lines whose outputs exist already count as done.
    pub adopt: bool,
    /// The manifest becomes the batch's, whatever its address and its lines.
    pub update_source: bool,
    /// Receives the progress of reading local recordings.
    pub watch: ReadWatch,
    /// A dated batch is a new one, even if the newest one has the same manifest and options.
    pub again: bool,
    /// Prices, for messages and the summary.
    pub rates: Rates,
    /// The account whose voices are used; without one they are not checked.
    pub account: Option<Account>,
    /// How voices are treated that it lacks.
    pub voice_check: VoiceCheck,
}

impl SubmitOptions {
    /// Options for these tasks, with nothing agreed to by the user.
    #[must_use]
    pub fn of(tasks: &Tasks<dyn IntakeTask>) -> Self {
        Self {
            tasks: tasks.clone(),
            rebuy: false,
            take_over: false,
            adopt: false,
            update_source: false,
            watch: ReadWatch::default(),
            again: false,
            rates: Rates::default(),
            account: None,
            voice_check: VoiceCheck::default(),
        }
    }
}

/// What submitting did.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The batch.
    pub batch: BatchId,
    /// Its name.
    pub name: String,
    /// Its specification as of now.
    pub spec: BatchSpec,
    /// Whether it existed before.
    pub existed: bool,
    /// Whether it is an older dated batch under that batch's name, with the same manifest and options.
    pub older_batch: bool,
    /// Good lines of the manifest.
    pub lines: u64,
    /// What the lines became as jobs.
    pub submitted: Submitted,
    /// What is to be bought, if the task buys in parts.
    pub purchases: Option<Purchases>,
    /// The result of comparing its recordings with those in the ledger.
    pub compared: Compared,
    /// The former address of its manifest, if the address changed.
    pub readdressed: Option<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What was done on the account.
    pub done: Vec<String>,
    /// What is true of its content as a whole: a title and a sentence each.
    pub content: Vec<(&'static str, String)>,
    /// Lines of the batch that are done because their outputs existed before it.
    pub adopted: u64,
    /// Lines without a source among them.
    pub without_source: u64,
    /// Lines that are skipped because they are bad.
    pub bad: u64,
    /// What is wrong with them.
    pub faults: Faults,
    /// What a listing skipped, by file extension.
    pub ignored: Ignored,
    /// Lines of the batch that its manifest lacks. They stay in its totals.
    pub gone: u64,
    /// Lines of the manifest that are forgotten in the batch: they stay so.
    pub forgotten: u64,
    /// Jobs in voices, formats or languages that their lines no longer request. They are in no total.
    pub dropped: u64,
    /// Lines whose kept answers are delivered again, in other formats or elsewhere.
    pub redelivered: u64,
    /// Lines that should be delivered again, but whose answers are pruned.
    pub pruned: u64,
    /// Lines whose captions have estimated times, since they were bought without word times.
    pub without_word_times: u64,
    /// Takes what another batch finishes later, where that is its manifest.
    pub feeder: Option<Arc<Feeder>>,
}

/// Records a batch and its lines. Nothing is written before all checks have passed; if writing the lines is interrupted,
/// submitting again completes it.
///
/// # Errors
/// Faults of the manifest; a batch of that name from another definition, task or environment; an output of another batch or
/// ledger, or one that cannot be written; lines that would be bought again; a ledger that cannot be written.
pub async fn submit(
    store: &Store,
    definition: &Definition,
    copy: Option<&Spooled>,
    environment: Environment,
    options: &SubmitOptions,
) -> Result<Submission, IntakeError> {
    let SubmitOptions { tasks, rates, watch, .. } = options;
    let how = Resolving {
        tasks,
        environment,
        again: options.again,
        update_source: options.update_source,
        rates,
        watch,
        depth: ScanDepth::Faults,
    };
    let mut resolved = Resolved::resolve(Some(store), definition, copy, &how).await?;
    let warnings = check_account(store, &resolved, (environment, options)).await?;
    let found = resolved.look(Some(store), &how).await?;
    let known = resolved.known.take();
    if let Some(known) = known.as_ref().filter(|_| !options.rebuy)
        && let Some(rebuy) = found.rebuy
    {
        return Err(IntakeError::WouldRebuy { batch: known.row.name.clone(), rebuy });
    }
    if known.is_none() && resolved.task.has_sources() {
        readable::check(&resolved.definition, copy, &resolved.reader).await?;
    }
    let sink = claim_output(store, known.as_ref(), &resolved, options).await?;
    let Resolved { mut definition, task, reader, is_older, .. } = resolved;
    let done = task.prepare_account(store, options.account.as_ref(), &mut definition).await?.into_iter().collect();
    let definition = &definition;
    let mut spec = spec_of(definition, &reader.scan);
    spec.report.former = known.as_ref().and_then(|known| known.former_report(&spec));

    let adopt = match options.adopt {
        true => Some(Arc::new(Adopt::look(&sink, &task.output_endings(definition)).await?)),
        false => None,
    };
    let again = known.as_ref().map(|known| known.again(&spec)).unwrap_or_default();
    let feed = new_feed(store, definition, &reader.scan).await?;
    let begun = store.begin(NewBatch { feed, ..new_batch(definition, &spec, &*task, environment) }, again).await?;
    // From here on no line of it can be forgotten.
    reader.leave_out(Box::pin(store.forgotten_keys(begun.batch)).await?);
    let wanted = Wanted { adopt, sources: found.sources, lines: false };
    let (mut submitted, mut forgotten, mut rewanted) = (Submitted::default(), 0, WantedChanges::default());
    if definition.fed_by().is_none() {
        let written = Box::pin(write_lines(store, begun, &reader, wanted)).await?;
        let mut reading = written.1;
        (submitted, forgotten) = (written.0, written.2);
        if !definition.is_partial() {
            store.drop_corrected(begun).await?;
        }
        // A bad line may have been a good one before.
        reading.whole = !definition.is_partial() && reader.scan.bad == 0 && reading.whole;
        if begun.existed {
            rewanted = store.note_reading(begun, &reading).await?;
        }
    }
    store.end_submit(begun.batch).await?;
    let mut feeder = None;
    if let Some(place) = store.feed_place(begun.batch).await? {
        let opened = Feeder::open(store, definition, &place, tasks).await?;
        submitted += Box::pin(opened.catch_up()).await?;
        feeder = Some(Arc::new(opened));
    }

    let without_word_times = match &known {
        Some(known) => known.without_word_times(store, &spec).await?,
        None => 0,
    };
    let row = store.batch_by_id(begun.batch).await?;
    if row.finished_at.is_some() {
        // Nothing was submitted: the summary must not announce work.
        let summary =
            summarize(store, row.id, (&spec, &*task), SummaryState::of_finished(&row), &options.rates).await?;
        put_summary(&sink, &summary).await?;
    }
    Ok(Submission {
        batch: begun.batch,
        name: row.name,
        spec,
        existed: begun.existed,
        older_batch: is_older,
        lines: reader.scan.lines,
        submitted,
        purchases: found.purchases,
        compared: found.compared,
        readdressed: found.readdressed,
        warnings,
        done,
        content: task.findings(&reader.scan).facts,
        adopted: if options.adopt { store.adopted(begun.batch).await? } else { 0 },
        without_source: reader.scan.without_source,
        bad: reader.scan.bad,
        faults: reader.scan.faults.clone(),
        ignored: reader.scan.ignored.clone(),
        gone: rewanted.gone,
        forgotten,
        dropped: rewanted.dropped,
        redelivered: begun.redelivered + submitted.redelivered + rewanted.redelivered,
        pruned: begun.pruned + submitted.pruned + rewanted.pruned,
        without_word_times,
        feeder,
    })
}

/// The batch that feeds a new one, if there is one.
async fn new_feed(store: &Store, definition: &Definition, scan: &Scan) -> Result<Option<NewFeed>, IntakeError> {
    let Some(name) = definition.fed_by() else { return Ok(None) };
    let by = store.batch(name.as_str()).await?.ok_or_else(|| StoreError::NoBatch(name.to_string()))?.id;
    Ok(Some(NewFeed { by, with: definition.feed_settings(&scan.columns) }))
}

/// Checks whether the account has what the lines need. Returns what the user should know before anything is bought.
async fn check_account(
    store: &Store,
    resolved: &Resolved,
    (environment, options): (Environment, &SubmitOptions),
) -> Result<Vec<String>, IntakeError> {
    let Resolved { definition, task, reader, .. } = resolved;
    let check = AccountCheck {
        store,
        account: options.account.as_ref(),
        manifest: &definition.manifest,
        scan: &reader.scan,
        sandbox: environment.is_sandbox(),
        voice_check: options.voice_check,
    };
    let of_manifest = reader.scan.warnings.iter().map(|warning| format!("{}: {warning}", definition.manifest));
    let mut warnings: Vec<String> = of_manifest.collect();
    warnings.extend(task.check_account(check).await?);
    warnings.extend(reader.scan.unlisted_values.warnings());
    Ok(warnings)
}

/// Checks that the output is ours, and that it can be written, by writing the first summary.
async fn claim_output(
    store: &Store,
    known: Option<&ExistingBatch>,
    resolved: &Resolved,
    options: &SubmitOptions,
) -> Result<Sink, IntakeError> {
    let (spec, definition, task) = (&resolved.spec(), &resolved.definition, &resolved.task);
    let sink = Sink::open(&spec.output, &spec.sink)?;
    if !options.take_over {
        ownership::check(store, definition.batch.as_str(), &sink).await?;
    }
    let state = SummaryState::Running;
    let summary = match known {
        Some(known) => summarize(store, known.row.id, (spec, &**task), state, &options.rates).await?,
        None => blank(store, definition.batch.as_str(), (spec, &**task), state, &options.rates),
    };
    put_summary(&sink, &summary).await?;
    if known.is_none() && spec.report_to.is_some() {
        put_blank_report((spec, &**task), &sink).await?;
    }
    Ok(sink)
}

fn new_batch(definition: &Definition, spec: &BatchSpec, task: &dyn IntakeTask, environment: Environment) -> NewBatch {
    NewBatch {
        name: definition.batch.as_str().to_owned(),
        definition: definition.name.clone(),
        environment,
        task: definition.task.task(),
        unit: task.unit(),
        spec: spec.into(),
        max_spend: definition.run.max_spend_usd.map(|most| most.0),
        concurrency: Some(definition.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY)),
        priority: definition.run.priority,
        pause_on_failures: definition.run.pause_on_failures,
        feed: None,
    }
}

/// Chunks in one transaction of a new batch: unordered keys touch most of their index in each transaction.
const CHUNKS_OF_NEW: usize = 8;

async fn write_lines(
    store: &Store,
    begun: Begun,
    reader: &Reader,
    wanted: Wanted,
) -> Result<(Submitted, ReadLines, u64), IntakeError> {
    let (mut submitted, mut reading, mut forgotten) = (Submitted::default(), ReadLines::default(), 0);
    reading.whole = true;
    let mut chunks = reader.chunks(wanted);
    let at_once = if begun.existed { 1 } else { CHUNKS_OF_NEW };
    let mut sets = Vec::with_capacity(at_once);
    loop {
        let chunk = chunks.next().await?;
        let last = chunk.is_none();
        if let Some(chunk) = chunk {
            reading.whole &= chunk.bad.is_empty();
            forgotten += chunk.forgotten;
            if begun.existed {
                chunk.marks.iter().for_each(|mark| reading.add(*mark));
            }
            sets.push((chunk.good, chunk.bad));
        }
        if !sets.is_empty() && (last || sets.len() == at_once) {
            submitted += store.submit_sets(begun, std::mem::take(&mut sets)).await?;
            if !last {
                store.let_others_write().await?;
            }
        }
        if last {
            break;
        }
    }
    Ok((submitted, reading, forgotten))
}
