//! Definitions with a schedule: their next runs, and the calls that do not fit in a window.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan};

use super::{
    error::AppError,
    settings::{Settings, limits_of},
    views::{
        BrokenView, LastRunView, ListingView, LoadView, RunView, SameBatchView, ScheduleNodeView, ScheduledView,
        WaitingRunView, ZonedView,
    },
};
use crate::{
    clock::Millis,
    config::PoolLimits,
    definition::{Definition, Fault, Faults, Overrides, Timetable},
    domain::{
        batch::BatchName,
        causes::in_words,
        environment::Environment,
        estimate::least_time,
        pool::WINDOW_MS,
        schedule::{Occurrence, Schedule as Times, Window},
    },
    report::asked_of,
    runner::intake::{self, IntakeError, Plan, PlanOptions, ReadWatch},
    server::{content_of, names_ahead},
    store::{ScheduleNode, ScheduleView, Store},
};

/// The maximum number of runs listed per definition: a schedule may run every minute.
const MOST_RUNS: usize = 1_000;

/// The definitions found.
#[derive(Default)]
pub struct Listing {
    /// Those with a schedule, the next to run first.
    pub planned: Vec<Planned>,
    /// Definitions without a schedule.
    pub without: u64,
    /// Files that cannot be read, with their faults.
    pub broken: Vec<(String, Faults)>,
    /// Groups of definitions that would make the same batch, each with the first such name.
    pub same: Vec<(Vec<String>, BatchName)>,
}

/// A definition with a schedule.
pub struct Planned {
    /// Its file.
    pub file: String,
    /// SHA-256 of its file, in hex.
    pub content: String,
    /// What its file says.
    pub table: Timetable,
    /// Its schedule.
    pub times: Times,
    /// Its next runs, at least one.
    pub runs: Vec<(Occurrence, BatchName)>,
    /// The number of further runs in these days; a lower bound.
    pub more: u64,
    /// The work of the next run.
    pub load: Load,
    /// Notes for its author.
    pub notes: Vec<String>,
    /// Its state in the ledger, if a service has ever seen it.
    pub view: Option<ScheduleView>,
}

/// The work of the next run.
pub enum Load {
    /// The calls were counted.
    Counted {
        /// The number of calls.
        calls: u64,
        /// Whether there may be fewer: a recording of two channels is two calls only where both speak.
        is_most: bool,
        /// The limits of the calls.
        limits: Box<PoolLimits>,
        /// The number of calls that do not fit in the window, if it has one and the rate is limited.
        over: Option<u64>,
    },
    /// The reason why the work is unknown.
    Unknown(&'static str),
}

/// The result for one file.
enum ListingItem {
    Planned(Box<Planned>),
    Without(BatchName),
}

/// Reads definitions and their runs in the next days. The next run is included however far away it is.
///
/// # Errors
/// The ledger cannot be read.
pub async fn list_schedules(
    settings: &Settings,
    store: Option<&Store>,
    files: &[PathBuf],
    days: u16,
) -> Result<Listing, AppError> {
    let views = match store {
        Some(store) => store.schedule_views(Environment::Live).await?,
        None => Vec::new(),
    };
    let now = settings.env.now.unwrap_or_else(Timestamp::now);
    Ok(ScheduleContext { settings, store, views, now, days }.list(files).await)
}

/// The context in which definitions are read.
struct ScheduleContext<'a> {
    settings: &'a Settings,
    store: Option<&'a Store>,
    views: Vec<ScheduleView>,
    now: Timestamp,
    days: u16,
}

impl ScheduleContext<'_> {
    async fn list(&self, files: &[PathBuf]) -> Listing {
        let mut listing = Listing::default();
        let mut names: BTreeMap<BatchName, BTreeSet<String>> = BTreeMap::new();
        for path in files {
            let file = path.display().to_string();
            match self.look(path).await {
                Ok(ListingItem::Planned(planned)) => {
                    for name in names_ahead(&planned.table, &planned.times, self.now) {
                        names.entry(name).or_default().insert(file.clone());
                    }
                    listing.planned.push(*planned);
                }
                Ok(ListingItem::Without(batch)) => {
                    listing.without += 1;
                    names.entry(batch).or_default().insert(file);
                }
                Err(faults) => listing.broken.push((file, faults)),
            }
        }
        listing.planned.sort_by_key(|planned| planned.runs.first().map(|(run, _)| run.at));
        listing.same = same(names);
        listing
    }

    async fn look(&self, path: &Path) -> Result<ListingItem, Faults> {
        // If the file itself is faulty, all of its faults are reported.
        let all = |faults| self.load_at(path, self.now).err().unwrap_or(faults);
        let overrides = Overrides { now: Some(self.now), ..Overrides::default() };
        let table = Timetable::read(path, self.settings.tasks.definitions(), &overrides).map_err(all)?;
        let Some(times) = table.schedule.clone() else {
            return self.load_at(path, self.now).map(|definition| ListingItem::Without(definition.batch));
        };
        let (runs, more) = self.runs(&times, &table).map_err(|fault| all(fault.into()))?;
        let file = path.display().to_string();
        let (load, notes) = match self.load_at(path, runs[0].0.at) {
            Ok(definition) => {
                let definition = definition.asked_at(self.settings.config.origin());
                (self.load(&file, &definition, runs[0].0.window, &table).await?, definition.notes())
            }
            // The manifest of a future day may not exist yet, so its absence is no fault.
            Err(faults) if table.has_dated_manifest() && faults.list.iter().all(|f| f.is_of_field("manifest")) => {
                (Load::Unknown("its manifest is not there yet"), table.note().into_iter().collect())
            }
            Err(faults) => return Err(faults),
        };
        let view = self.views.iter().find(|view| view.definition == table.name).cloned();
        let content = content_of(path).map_err(|e| Fault::of_file(file.as_str(), e.to_string()))?;
        Ok(ListingItem::Planned(Box::new(Planned { file, content, table, times, runs, more, load, notes, view })))
    }

    /// The runs of these days, or else the next run; and the number of further runs.
    fn runs(&self, times: &Times, table: &Timetable) -> Result<(Vec<(Occurrence, BatchName)>, u64), Fault> {
        let end = self.now.checked_add((i64::from(self.days) * 24).hours()).unwrap_or(Timestamp::MAX);
        let near = times.upcoming(self.now).enumerate().take_while(|(nth, run)| *nth == 0 || run.at <= end);
        let named = |(_, run): (usize, Occurrence)| table.batch(run.date).map(|batch| (run, batch));
        let runs: Result<Vec<_>, _> = near.take(MOST_RUNS).map(named).collect();
        let runs = runs.map_err(|message| Fault::of_field("batch", message))?;
        let Some((last, _)) = runs.last() else {
            return Err(Fault::of_field("schedule.cron", format!("`{}` never comes", times.cron)));
        };
        let more = if runs.len() < MOST_RUNS { 0 } else { MOST_RUNS * 10 };
        let more = times.upcoming(last.at).take(more).take_while(|run| run.at <= end).count();
        Ok((runs, more as u64))
    }

    /// A definition as it is read at this moment.
    fn load_at(&self, path: &Path, now: Timestamp) -> Result<Definition, Faults> {
        let overrides = Overrides { now: Some(now), ..Overrides::default() };
        Definition::load(path, self.settings.tasks.definitions(), &overrides)
    }

    async fn load(
        &self,
        file: &str,
        definition: &Definition,
        window: Option<Window>,
        table: &Timetable,
    ) -> Result<Load, Faults> {
        if definition.origin.needs_copy() {
            return Ok(Load::Unknown("its manifest is not on this machine"));
        }
        let asked = PlanOptions {
            tasks: self.settings.tasks.intakes().clone(),
            again: false,
            update_source: false,
            measure: false,
            rates: self.settings.config.rates.clone(),
            watch: ReadWatch::default(),
        };
        match intake::plan(self.store, definition, None, Environment::Live, &asked).await {
            Ok(plan) => {
                let asked = asked_of(self.settings.tasks.reports(), &plan.spec)
                    .map_err(|e| Fault::of_file(file, e.to_string()))?;
                Ok(counted(&plan, window, limits_of(&self.settings.config, &plan.spec, &*asked)))
            }
            Err(IntakeError::Faults(faults)) if faults.is_only_empty() && table.has_dated_manifest() => {
                Ok(Load::Unknown("its manifest is empty as yet"))
            }
            Err(IntakeError::Faults(faults)) => Err(faults),
            Err(e) => Err(Fault::of_file(file, in_words(&e)).into()),
        }
    }
}

/// Groups of definitions that share a name, each group once.
fn same(names: BTreeMap<BatchName, BTreeSet<String>>) -> Vec<(Vec<String>, BatchName)> {
    let mut groups = BTreeMap::new();
    for (name, files) in names.into_iter().filter(|(_, files)| files.len() > 1) {
        groups.entry(files.into_iter().collect::<Vec<_>>()).or_insert(name);
    }
    groups.into_iter().collect()
}

fn counted(plan: &Plan, window: Option<Window>, limits: PoolLimits) -> Load {
    let calls = plan.purchases.as_ref().map_or(plan.estimate.most_calls(), |purchases| purchases.parts);
    let is_most = plan.estimate.most.is_some();
    let rate = limits.limits.requests_per_minute;
    let over = window.zip(rate).map(|(window, rate)| calls.saturating_sub(holds(window, rate)));
    Load::Counted { calls, is_most, limits: Box::new(limits), over }
}

/// The number of calls that can start in a window: the limit of a minute at once, and again after each minute.
fn holds(window: Window, per_minute: u32) -> u64 {
    let ms = window.until.as_millisecond().saturating_sub(window.from.as_millisecond()).max(0);
    let lots = ms.unsigned_abs().div_ceil(WINDOW_MS.unsigned_abs());
    lots.saturating_mul(u64::from(per_minute))
}

impl Listing {
    /// The view of this listing.
    #[must_use]
    pub fn view(&self) -> ListingView<'_> {
        let listing = self;
        ListingView {
            definitions: listing.planned.iter().map(view_of_planned).collect(),
            without_schedule: listing.without,
            broken: listing.broken.iter().map(view_of_broken).collect(),
            same_batch: listing.same.iter().map(|(files, batch)| SameBatchView { batch, files }).collect(),
        }
    }
}

fn view_of_broken((file, found): &(String, Faults)) -> BrokenView<'_> {
    BrokenView { file, faults: found.list.iter().map(ToString::to_string).collect(), more: found.more }
}

fn view_of_planned(planned: &Planned) -> ScheduledView<'_> {
    let times = &planned.times;
    let at = |moment: Timestamp| ZonedView {
        utc: moment.to_string(),
        local: moment.to_zoned(times.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    };
    let when = |ms: Millis| at(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX));
    let next = planned.runs.iter().map(|(run, batch)| RunView {
        at: at(run.at),
        date: run.date.to_string(),
        batch,
        until: run.window.map(|window| at(window.until)),
    });
    let view = planned.view.as_ref();
    let last = view.and_then(|view| view.last.as_ref());
    let waiting = view.into_iter().flat_map(|view| &view.waiting).map(|run| WaitingRunView {
        at: when(run.at),
        date: run.date.to_string(),
        due: when(run.due_at),
        why: run.why.as_deref(),
    });
    ScheduledView {
        name: &planned.table.name,
        file: &planned.file,
        cron: times.cron.to_string(),
        timezone: times.zone.iana_name().filter(|_| !times.zone.is_unknown()),
        window_seconds: times.window.map(|window| window.as_secs()),
        missed: times.missed,
        next: next.collect(),
        more: planned.more,
        last: last.map(|last| LastRunView { at: when(last.at), started: when(last.started_at), batch: &last.batch }),
        waiting: waiting.collect(),
        left_over: view.map_or(0, |view| view.left_over),
        content: &planned.content,
        nodes: view.into_iter().flat_map(|view| &view.nodes).map(view_of_node).collect(),
        calls: view_of_load(&planned.load),
        notes: &planned.notes,
    }
}

fn view_of_node(node: &ScheduleNode) -> ScheduleNodeView<'_> {
    let ScheduleNode { process, content, is_in_force } = node;
    ScheduleNodeView { host: &process.host, pid: process.pid, content, in_force: *is_in_force }
}

fn view_of_load(load: &Load) -> LoadView {
    match load {
        Load::Unknown(why) => LoadView::Unknown { not_counted: why },
        Load::Counted { calls, is_most, limits, over } => {
            let rate = limits.limits.requests_per_minute;
            LoadView::Counted {
                calls: *calls,
                at_most: *is_most,
                over_window: *over,
                least_seconds: rate.map(|rate| least_time(*calls, rate) / 1_000),
                requests_per_minute: rate,
                limit_set_by: limits.rate_by.to_string(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(minutes: i64) -> Window {
        Window { from: Timestamp::UNIX_EPOCH, until: Timestamp::from_second(minutes * 60).unwrap() }
    }

    #[test]
    fn a_window_holds_the_lots_that_begin_in_it() {
        assert_eq!(holds(window(1), 25), 25);
        assert_eq!(holds(window(2), 25), 50);
        assert_eq!(holds(window(360), 25), 8_875, "not 9,000: a minute is counted as 61 s");
        // 10,000 calls at 25 a minute take 6 h 47 min.
        assert_eq!(holds(window(6 * 60 + 47), 25), 10_025);
        assert!(holds(window(6 * 60 + 45), 25) < 10_000);
    }

    #[test]
    fn definitions_that_share_names_are_told_once() {
        let name = |text: &str| BatchName::new(text).unwrap();
        let files = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
        let names = [
            (name("n-2026-11-21"), files(&["a.toml", "b.toml"])),
            (name("n-2026-11-20"), files(&["a.toml", "b.toml"])),
            (name("x"), files(&["c.toml"])),
        ];
        let message = same(names.into_iter().collect());
        assert_eq!(message, [(vec!["a.toml".to_owned(), "b.toml".to_owned()], name("n-2026-11-20"))]);
    }
}
