//! `wavebatch schedule`

mod shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::{Timestamp, ToSpan};

use super::{
    context::Context,
    error::{CliError, Exit},
    messages,
};
use crate::{
    app::find_ledger,
    config::{Config, PoolLimits},
    definition::{Definition, Fault, Faults, Overrides, Timetable},
    domain::{
        batch::BatchName,
        environment::Environment,
        pool::WINDOW_MS,
        schedule::{Occurrence, Schedule as Times, Window},
    },
    report::asked_of,
    runner::intake::{self, IntakeError, Plan, PlanOptions, ReadWatch},
    server::{definitions_in, distinct, names_ahead},
    store::{ScheduleView, Store},
    tasks::Registry,
};

/// Runs of one definition that are looked at; one that runs every minute would fill books.
const MOST_RUNS: usize = 1_000;

/// List what runs when, and what its window cannot hold
///
/// Needs no key and calls no API. Lines are counted where the manifest is here, as it is now; a manifest on the network
/// is not fetched.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch schedule jobs --days 3")]
pub struct Schedule {
    /// Definitions (*.toml), or directories of them
    #[arg(value_name = "DIR|FILE", default_value = "jobs")]
    from: Vec<PathBuf>,
    /// How many days ahead; the next run is told however far it is
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default)]
struct Listing {
    planned: Vec<Planned>,
    /// Definitions without a schedule.
    without: u64,
    broken: Vec<(String, Faults)>,
    /// Definitions that would make the same batch, and the first such name.
    same: Vec<(Vec<String>, BatchName)>,
}

/// A definition with a schedule.
struct Planned {
    file: String,
    table: Timetable,
    times: Times,
    /// The next ones, at least one.
    runs: Vec<(Occurrence, BatchName)>,
    /// How many more there are in these days; at least.
    more: u64,
    load: Load,
    notes: Vec<String>,
    /// How it stands in the ledger, if a service ever looked at it.
    view: Option<ScheduleView>,
}

/// What the next run has to do.
enum Load {
    /// Calls, the limits they are under, and how many of them its window cannot hold, where it has one and is limited.
    Counted { calls: u64, limits: Box<PoolLimits>, over: Option<u64> },
    /// Why that is not known.
    Unknown(&'static str),
}

/// One file's part of the listing.
enum ListingItem {
    Planned(Box<Planned>),
    Without(BatchName),
}

impl Schedule {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let settings = context.settings(false)?;
        let store = find_ledger(&settings).await?;
        let now = context.env.now.unwrap_or_else(Timestamp::now);
        let views = match &store {
            Some(store) => store.schedule_views(Environment::Live).await?,
            None => Vec::new(),
        };
        let listing_context = ScheduleContext {
            config: &settings.config,
            tasks: &context.tasks,
            store: store.as_ref(),
            views,
            now,
            days: self.days,
        };
        let listing = listing_context.list(&files(&self.from)?).await;
        if let Some(store) = store {
            store.close().await;
        }
        match self.json {
            true => context.screen.view(&shown::view(&listing))?,
            false => context.screen.result(&shown::message(&listing))?,
        }
        for (_, faults) in &listing.broken {
            context.screen.error(&CliError::from(faults.clone()).message());
        }
        Ok(if listing.broken.is_empty() { Exit::Success } else { Exit::Usage })
    }
}

/// The definitions that are meant, none twice; of a directory, those directly in it.
fn files(from: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in from {
        let message = |e: std::io::Error| CliError::usage(format!("{}: {e}", path.display()));
        match path.metadata() {
            Ok(meta) if meta.is_dir() => files.extend(definitions_in(path).map_err(message)?),
            Ok(_) => files.push(path.clone()),
            Err(e) => return Err(message(e).hint("name the directory that the definitions are in, or their files")),
        }
    }
    Ok(distinct(files))
}

/// What definitions are held against.
struct ScheduleContext<'a> {
    tasks: &'a Registry,
    config: &'a Config,
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
        // Of a file that is wrong by itself, all is told that is.
        let all = |faults| load_at(path, self.tasks, self.now).err().unwrap_or(faults);
        let overrides = Overrides { now: Some(self.now), ..Overrides::default() };
        let table = Timetable::read(path, self.tasks.definitions(), &overrides).map_err(all)?;
        let Some(times) = table.schedule.clone() else {
            return load_at(path, self.tasks, self.now).map(|definition| ListingItem::Without(definition.batch));
        };
        let (runs, more) = self.runs(&times, &table).map_err(|fault| all(fault.into()))?;
        let file = path.display().to_string();
        let (load, notes) = match load_at(path, self.tasks, runs[0].0.at) {
            Ok(definition) => {
                let definition = definition.asked_at(self.config.origin());
                (self.load(&file, &definition, runs[0].0.window, &table).await?, definition.notes())
            }
            // That of a day to come is there by then, or not: now nobody can know.
            Err(faults) if table.has_dated_manifest() && faults.list.iter().all(|f| f.is_of_field("manifest")) => {
                (Load::Unknown("its manifest is not there yet"), table.note().into_iter().collect())
            }
            Err(faults) => return Err(faults),
        };
        let view = self.views.iter().find(|view| view.definition == table.name).cloned();
        Ok(ListingItem::Planned(Box::new(Planned { file, table, times, runs, more, load, notes, view })))
    }

    /// The runs of these days, or else the next; and how many more there are.
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
            again: false,
            update_source: false,
            rates: self.config.rates.clone(),
            watch: ReadWatch::default(),
        };
        match intake::plan(self.store, definition, None, Environment::Live, &asked).await {
            Ok(plan) => {
                let asked =
                    asked_of(self.tasks.reports(), &plan.spec).map_err(|e| Fault::of_file(file, e.to_string()))?;
                Ok(counted(&plan, window, messages::limits_of(self.config, &plan.spec, &*asked)))
            }
            Err(IntakeError::Faults(faults)) if faults.is_only_empty() && table.has_dated_manifest() => {
                Ok(Load::Unknown("its manifest is empty as yet"))
            }
            Err(IntakeError::Faults(faults)) => Err(faults),
            Err(e) => Err(Fault::of_file(file, format!("{:#}", anyhow::Error::from(e))).into()),
        }
    }
}

/// A definition as it is at this moment.
fn load_at(path: &Path, tasks: &Registry, now: Timestamp) -> Result<Definition, Faults> {
    Definition::load(path, tasks.definitions(), &Overrides { now: Some(now), ..Overrides::default() })
}

/// Definitions that share a name, each group once.
fn same(names: BTreeMap<BatchName, BTreeSet<String>>) -> Vec<(Vec<String>, BatchName)> {
    let mut groups = BTreeMap::new();
    for (name, files) in names.into_iter().filter(|(_, files)| files.len() > 1) {
        groups.entry(files.into_iter().collect::<Vec<_>>()).or_insert(name);
    }
    groups.into_iter().collect()
}

fn counted(plan: &Plan, window: Option<Window>, limits: PoolLimits) -> Load {
    let calls = plan.synthesis.as_ref().map_or(plan.estimate.lines, |synthesis| synthesis.purchases.parts);
    let rate = limits.limits.requests_per_minute;
    let over = window.zip(rate).map(|(window, rate)| calls.saturating_sub(holds(window, rate)));
    Load::Counted { calls, limits: Box::new(limits), over }
}

/// How many calls can begin in a window: a lot at once, and the next when the minute that is counted is over.
fn holds(window: Window, per_minute: u32) -> u64 {
    let ms = window.until.as_millisecond().saturating_sub(window.from.as_millisecond()).max(0);
    let lots = ms.unsigned_abs().div_ceil(WINDOW_MS.unsigned_abs());
    lots.saturating_mul(u64::from(per_minute))
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
