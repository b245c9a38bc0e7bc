//! The scheduler: reads folders of definitions, notices due runs, and submits their batches. It makes no calls for
//! lines. Workers make them within the windows set here.

mod events;
mod folder;
mod follow;
mod start;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{folder::Planned, follow::Follower};
use crate::{
    clock::Millis,
    domain::{
        cost::Rates,
        environment::{Environment, LedgerChoice},
        schedule::{Day, Missed, Schedule, due},
    },
    media::fetch::Fetcher,
    runner::intake,
    store::{NewRun, ScheduleAdvance, ScheduleNode, Store, StoreError},
    tasks::Registry,
};

pub use self::{
    events::{ScheduleState, Scheduling},
    folder::{Folder, content_of, definitions_in, distinct, names_ahead},
};

/// The interval for reading the folders and checking for due runs, in ms.
const LOOK_EVERY: Millis = 10_000;
/// The interval for recording that no run was due, in ms. A time without runs under the present cron is then never a
/// missed run under a later cron.
const SETTLE_EVERY: Millis = 3_600_000;
/// The interval for reading the states of schedules, in ms.
const STATES_EVERY: Millis = 30_000;
/// How long after the start of a run other batches follow it, in ms.
const FOLLOW_FOR: Millis = 2 * 24 * 3_600_000;
/// The interval between tries to start a batch that follows another one, in ms.
const FOLLOW_AGAIN: Millis = 5 * 60_000;
/// The longest sleep, whatever the clock does.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of runs started at once: one store that does not answer must not block the others.
const AT_ONCE: usize = 4;

/// The settings of a scheduler.
#[derive(Debug)]
pub struct SchedulerSettings {
    /// The folders of definitions.
    pub dirs: Vec<PathBuf>,
    /// The environment of the batches' calls.
    pub environment: Environment,
    /// The flags by which the user chose the ledger, for hints.
    pub choice: LedgerChoice,
    /// The origin of the API, if it is not the vendor's own.
    pub origin: Option<String>,
    /// List prices.
    pub rates: Rates,
    /// The account for checks of voices; without one they are not checked.
    pub account: Option<intake::Account>,
    /// The output of sandbox batches, whatever a definition says.
    pub sandbox_output: Option<String>,
    /// The tasks of the program.
    pub tasks: Registry,
}

/// Starts scheduled batches.
#[derive(Debug)]
pub struct Scheduler {
    shared: Arc<SchedulerState>,
    /// By which the ledger knows it.
    node: String,
    /// The definitions of which another content is in force, with what was said of it.
    others: BTreeMap<String, String>,
    /// The schedule under which each definition was last checked.
    rules: HashMap<String, Schedule>,
    /// The followers that were started lately, and until when they are not started again.
    followed: HashMap<Follower, Millis>,
    /// When the folders are read next.
    next_look: Millis,
    /// When the states of schedules are read next.
    next_states: Millis,
}

/// The state shared by all starts.
#[derive(Debug)]
struct SchedulerState {
    store: Store,
    fetcher: Fetcher,
    settings: SchedulerSettings,
    events: mpsc::UnboundedSender<Scheduling>,
    folder: Arc<Folder>,
    states: Mutex<Vec<ScheduleState>>,
}

impl SchedulerState {
    fn emit(&self, event: Scheduling) {
        // A missing receiver is no reason to stop.
        let _ = self.events.send(event);
    }
}

/// Converts a moment of the ledger.
fn moment(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX)
}

impl Scheduler {
    /// A scheduler that is not running yet.
    #[must_use]
    pub fn new(
        store: Store,
        fetcher: Fetcher,
        settings: SchedulerSettings,
        events: mpsc::UnboundedSender<Scheduling>,
    ) -> Self {
        let folder = Arc::new(Folder::new(settings.dirs.clone(), settings.tasks.definitions().clone()));
        let states = Mutex::default();
        let shared = Arc::new(SchedulerState { store, fetcher, settings, events, folder, states });
        let node = Uuid::now_v7().to_string();
        let others = BTreeMap::new();
        Self {
            shared,
            node,
            others,
            rules: HashMap::new(),
            followed: HashMap::new(),
            next_look: Millis::MIN,
            next_states: Millis::MIN,
        }
    }

    /// Its folders of definitions.
    #[must_use]
    pub fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.shared.folder)
    }

    /// Starts due runs until it is stopped. A submission in progress is then abandoned, and the next scheduler starts
    /// it again.
    ///
    /// # Errors
    /// The ledger cannot be used, and waiting does not help.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut starts = JoinSet::new();
        // However the scheduler ends, no start continues by itself.
        let ending = stop.child_token();
        let _guard = ending.clone().drop_guard();
        let ended = self.keep(&mut starts, &ending).await;
        ending.cancel();
        while let Some(done) = starts.join_next().await {
            wait_out(flat(done))?;
        }
        ended?;
        wait_out(self.notice(&self.in_force(), true).await)?;
        wait_out(self.shared.store.leave_definitions(&self.node).await)
    }

    /// The definitions that start their runs here.
    fn in_force(&self) -> Vec<Planned> {
        let planned = self.shared.folder.planned().into_iter();
        planned.filter(|one| !self.others.contains_key(&one.table.name)).collect()
    }

    /// Says which definitions are here, and finds out of which another content is in force.
    async fn announce(&mut self) -> Result<(), StoreError> {
        let (store, environment) = (&self.shared.store, self.shared.settings.environment);
        let contents = self.shared.folder.contents();
        let others = store.announce_definitions(&self.node, environment, contents.clone()).await?;
        let nodes = match others.is_empty() {
            true => BTreeMap::new(),
            false => store.schedule_nodes(environment).await?,
        };
        let mut said = BTreeMap::new();
        for definition in others {
            let own = contents.iter().find(|one| one.definition == definition).map(|one| one.content.as_str());
            let why = other_content(own.unwrap_or_default(), nodes.get(&definition).map_or(&[][..], Vec::as_slice));
            if self.others.get(&definition) != Some(&why) {
                let (definition, why) = (definition.clone(), why.clone());
                let file = self.shared.folder.file_of(&definition).unwrap_or_default();
                self.shared.emit(Scheduling::OtherContent { definition, file, why });
            }
            said.insert(definition, why);
        }
        for definition in self.others.keys().filter(|definition| !said.contains_key(*definition)) {
            if let Some(file) = self.shared.folder.file_of(definition) {
                self.shared.emit(Scheduling::Mended { definition: definition.clone(), file });
            }
        }
        if self.others != said {
            self.next_states = Millis::MIN;
            self.others = said;
        }
        Ok(())
    }

    async fn keep(&mut self, starts: &mut Starts, stop: &CancellationToken) -> Result<(), StoreError> {
        let clock = self.shared.store.clock().clone();
        while !stop.is_cancelled() {
            let now = clock.now();
            // A clock that was set back must not delay the next look.
            if now >= self.next_look || self.next_look > now + LOOK_EVERY {
                self.look().await?;
                self.next_look = now + LOOK_EVERY;
            }
            // Runs depend on the wall clock. After it was set back, runs must not wait until it has caught up.
            wait_out(self.shared.store.watch_clock().await)?;
            wait_out(self.check(starts, stop).await)?;
            let wake = self.next_moment().await?;
            tokio::select! {
                () = stop.cancelled() => {}
                Some(done) = starts.join_next() => {
                    self.next_states = Millis::MIN;
                    wait_out(flat(done))?;
                }
                () = clock.sleep_until(wake) => {}
                () = tokio::time::sleep(TIMEOUT) => {}
            }
        }
        Ok(())
    }

    /// Reads the folders, and emits the changes.
    async fn look(&mut self) -> Result<(), StoreError> {
        let (folder, now) = (self.folder(), moment(self.shared.store.clock().now()));
        // A panic there is tried again at the next look.
        let said = tokio::task::spawn_blocking(move || folder.look(now)).await.unwrap_or_default();
        let any = !said.is_empty();
        said.into_iter().for_each(|event| self.shared.emit(event));
        if any {
            self.next_states = Millis::MIN;
            wait_out(self.report_foreign_names(now).await)?;
        }
        Ok(())
    }

    /// Reports definitions whose next batch name belongs to another definition's batch.
    async fn report_foreign_names(&self, now: Timestamp) -> Result<(), StoreError> {
        for Planned { file, table, schedule } in self.shared.folder.planned() {
            let next = schedule.next(now).and_then(|run| table.batch(run.date).ok());
            let Some(name) = next else { continue };
            let Some(row) = self.shared.store.batch(name.as_str()).await? else { continue };
            if row.definition != table.name {
                let why = format!(
                    "there is a batch `{name}` already, and it is of the definition `{}`; give its batches names of their own",
                    row.definition
                );
                self.shared.emit(Scheduling::Clash { definition: table.name, file, why });
            }
        }
        Ok(())
    }

    /// Records the runs that are due, and starts them.
    async fn check(&mut self, starts: &mut Starts, stop: &CancellationToken) -> Result<(), StoreError> {
        self.announce().await?;
        let planned = self.in_force();
        self.set_windows(&planned).await?;
        self.notice(&planned, false).await?;
        self.rules = planned
            .iter()
            .map(|one| (one.table.name.clone(), one.schedule.clone()))
            .chain(self.broken_rules())
            .collect();
        let names: Vec<String> = planned.iter().map(|one| one.table.name.clone()).collect();
        while starts.len() < AT_ONCE {
            let Some(run) = self.shared.store.take_run(self.shared.settings.environment, &names).await? else { break };
            let Some(planned) = planned.iter().find(|one| one.table.name == run.definition) else { break };
            starts.spawn(start::start(Arc::clone(&self.shared), planned.clone(), run, stop.clone()));
        }
        self.start_followers(starts).await?;
        let now = self.shared.store.clock().now();
        if now < self.next_states && self.next_states <= now + STATES_EVERY {
            return Ok(());
        }
        self.next_states = now + STATES_EVERY;
        self.report_states(&planned).await
    }

    /// Starts batches that take their lines from those of runs, each again after a while if that is not possible now.
    async fn start_followers(&mut self, starts: &mut Starts) -> Result<(), StoreError> {
        let now = self.shared.store.clock().now();
        self.followed.retain(|_, until| *until > now);
        for follower in self.shared.followers(now - FOLLOW_FOR).await? {
            if starts.len() >= AT_ONCE || self.followed.contains_key(&follower) {
                continue;
            }
            self.followed.insert(follower.clone(), now + FOLLOW_AGAIN);
            starts.spawn(follow::follow(Arc::clone(&self.shared), follower));
        }
        Ok(())
    }

    /// The schedules of definitions that are faulty now. They stay valid until the definitions are fixed.
    fn broken_rules(&self) -> Vec<(String, Schedule)> {
        let broken = self.shared.folder.broken();
        let rules = broken.into_iter().filter_map(|name| Some((name.clone(), self.rules.get(&name)?.clone())));
        rules.collect()
    }

    /// Sets the window of each definition's batches: the one that is open now, or the next one.
    async fn set_windows(&self, planned: &[Planned]) -> Result<(), StoreError> {
        let (store, environment) = (&self.shared.store, self.shared.settings.environment);
        let now = moment(store.clock().now());
        for one in planned {
            let window = one.schedule.window_at(now);
            let window = window.map(|window| (window.from.as_millisecond(), window.until.as_millisecond()));
            store.set_schedule_window(&one.table.name, environment, window).await?;
        }
        for name in self.shared.folder.unplanned().into_iter().filter(|name| !self.others.contains_key(name)) {
            store.set_schedule_window(&name, environment, None).await?;
        }
        Ok(())
    }

    /// Records the runs due since the last look; with `all`, also that no other run was due.
    async fn notice(&self, planned: &[Planned], all: bool) -> Result<(), StoreError> {
        let (store, environment) = (&self.shared.store, self.shared.settings.environment);
        let settled: BTreeMap<String, Millis> = store.settled(environment).await?.into_iter().collect();
        for one in planned {
            if let Some(from) = settled.get(&one.table.name) {
                self.notice_one(one, *from, all).await?;
            }
        }
        Ok(())
    }

    async fn notice_one(&self, one: &Planned, from: Millis, all: bool) -> Result<(), StoreError> {
        let (store, name) = (&self.shared.store, &one.table.name);
        let to = store.clock().now();
        // Until now the old schedule was valid: its runs differ from those of the new one.
        let old = self.rules.get(name).filter(|old| rule(old) != rule(&one.schedule));
        let schedule = old.unwrap_or(&one.schedule);
        let runs = due(Some(moment(from)), moment(to), schedule);
        let skipped = schedule.latest(moment(to)).filter(|last| last.at.as_millisecond() > from && runs.is_empty());
        let quiet = runs.is_empty() && skipped.is_none() && old.is_none();
        if to <= from || quiet && !all && to - from < SETTLE_EVERY {
            return Ok(());
        }
        let settling = ScheduleAdvance {
            definition: name.clone(),
            environment: self.shared.settings.environment,
            from,
            to,
            runs: runs.iter().map(|run| NewRun { at: run.at.as_millisecond(), date: run.date }).collect(),
            one_for_all: !schedule.dated_lines || matches!(schedule.day, Day::On(_)),
        };
        let Some(gone) = store.settle_schedule(settling).await? else { return Ok(()) };
        let dropped = |at, why: &str| Scheduling::Dropped { definition: name.clone(), at, why: why.to_owned() };
        for run in gone {
            self.shared.emit(dropped(run.at, "it could not be started so far, and a later run does its work"));
        }
        if let Some(run) = skipped.filter(|_| schedule.missed == Missed::Skip) {
            self.shared.emit(dropped(run.at.as_millisecond(), "it was missed, and missed = \"skip\""));
        }
        Ok(())
    }

    /// The moment of the next look.
    async fn next_moment(&self) -> Result<Millis, StoreError> {
        let now = self.shared.store.clock().now();
        let planned = self.in_force();
        let next = |one: &Planned| Some(one.schedule.next(moment(now))?.at.as_millisecond());
        let ends = |one: &Planned| Some(one.schedule.window_at(moment(now))?.until.as_millisecond());
        let names: Vec<String> = planned.iter().map(|one| one.table.name.clone()).collect();
        let due = match self.shared.store.next_run_due(self.shared.settings.environment, &names).await {
            Ok(due) => due,
            Err(e) => wait_out(Err(e)).map(|()| None)?,
        };
        let moments = planned.iter().flat_map(|one| [next(one), ends(one)]).flatten().chain(due);
        Ok(moments.chain([self.next_look]).min().unwrap_or(self.next_look).max(now + 1))
    }

    /// Emits the states of all schedules, if they have changed.
    async fn report_states(&self, planned: &[Planned]) -> Result<(), StoreError> {
        let now = moment(self.shared.store.clock().now());
        let views = self.shared.store.schedule_views(self.shared.settings.environment).await?;
        let state = |definition: String, broken: bool, next: Option<Millis>| {
            let view = views.iter().find(|view| view.definition == definition);
            ScheduleState {
                broken,
                next,
                last_started: view.and_then(|view| view.last.as_ref()).map(|last| last.started_at),
                waiting: view.map_or(0, |view| view.waiting.len() as u64),
                left_over: view.map_or(0, |view| view.left_over),
                definition,
            }
        };
        let good = planned.iter().map(|one| {
            let next = one.schedule.next(now).map(|run| run.at.as_millisecond());
            state(one.table.name.clone(), false, next)
        });
        let broken = self.shared.folder.broken().into_iter().chain(self.others.keys().cloned());
        let broken = broken.map(|name| state(name, true, None));
        let states: Vec<_> = good.chain(broken).collect();
        let mut last = self.shared.states.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != states {
            last.clone_from(&states);
            self.shared.emit(Scheduling::States(states));
        }
        Ok(())
    }
}

/// Why a definition starts nothing: which process has which content.
fn other_content(own: &str, nodes: &[ScheduleNode]) -> String {
    let short = |content: &str| content.chars().take(8).collect::<String>();
    let has = |node: &ScheduleNode| {
        let force = if node.is_in_force { ", which is in force" } else { "" };
        format!("{} has {}{force}", node.process, short(&node.content))
    };
    let nodes: Vec<String> = nodes.iter().map(has).collect();
    format!(
        "this definition is not the one in force and starts nothing here (its content is {}): {}; it starts again when it is the same, or when no process has the other",
        short(own),
        nodes.join(", ")
    )
}

type Starts = JoinSet<Result<(), StoreError>>;

fn flat(done: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), StoreError> {
    done.unwrap_or_else(|e| {
        tracing::error!(error = %e, "the start of a run broke; it is tried again when its lease has run out");
        Ok(())
    })
}

/// A passing failure, or one of a single definition, is only logged: all due runs stay due.
fn wait_out(result: Result<(), StoreError>) -> Result<(), StoreError> {
    result.or_else(|e| {
        if e.is_fatal() {
            return Err(e);
        }
        tracing::warn!(error = %e.reason(), "the ledger cannot be used just now; schedules are looked at again in 10 s");
        Ok(())
    })
}

/// The fields that decide the runs.
fn rule(schedule: &Schedule) -> impl PartialEq + use<> {
    let Schedule { cron, zone, missed, day, .. } = schedule;
    (cron.clone(), zone.clone(), *missed, *day)
}
