//! The processes, each with its part: it receives, works, or does both.

use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use wavebatch::crash::POINTS;

use super::{Plan, dice::Dice};

/// How long a claim holds without a heartbeat.
pub(super) const LEASE: Duration = Duration::from_millis(1_500);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Whether a receiver, rather than a worker, dies at this one of `crash::POINTS`.
fn is_receivers(point: &str) -> bool {
    point.ends_with("-callback")
}

/// The part that a process has.
pub(super) struct Role {
    pub name: String,
    /// Where it runs, and where its log is.
    pub folder: PathBuf,
    /// `serve` with these arguments.
    pub args: Vec<String>,
    pub variables: Vec<(&'static str, String)>,
    pub receives: bool,
    pub works: bool,
    /// How many in a hundred are to die at a moment of their own, and how often they pass it until then, at most.
    pub dies: (u64, u64),
}

pub(super) struct Processes {
    program: PathBuf,
    base_url: String,
    /// Who submits, and who comes last.
    clerk: Role,
    roles: Vec<Role>,
    actors: Vec<Actor>,
}

struct Actor {
    child: Child,
    /// Where it is to die.
    fuse: Option<&'static str>,
    stopped_until: Option<Instant>,
    started: Instant,
    /// Its end is known.
    is_gone: bool,
}

/// A process that ended by itself.
pub(super) struct Ended {
    pub at: usize,
    pub status: ExitStatus,
    pub lived: Duration,
}

/// A port that nobody listens on.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

impl Processes {
    pub(super) fn new(plan: &Plan, base_url: &str, clerk: Role, roles: Vec<Role>) -> Self {
        Self { program: plan.program.clone(), base_url: base_url.into(), clerk, roles, actors: Vec::new() }
    }

    /// What the clerk runs.
    pub(super) fn program(&self, args: &[&str], name: &str) -> Command {
        self.of(&self.clerk, args, name)
    }

    fn of(&self, role: &Role, args: &[&str], name: &str) -> Command {
        let mut command = command(&self.program, &role.folder, &self.base_url, args, name);
        command.envs(role.variables.iter().map(|(variable, value)| (variable, value)));
        command
    }

    fn start(&self, at: usize, fuse: Option<(&'static str, u64)>) -> Actor {
        let role = &self.roles[at];
        let args: Vec<&str> =
            ["serve", "--admin-listen", "off"].into_iter().chain(role.args.iter().map(String::as_str)).collect();
        let mut command = self.of(role, &args, &role.name);
        if let Some((point, nth)) = fuse {
            command.env("WAVEBATCH_CRASH_AT", format!("{point}:{nth}"));
        }
        let child = command.spawn().expect("the program");
        Actor {
            child,
            fuse: fuse.map(|(point, _)| point),
            stopped_until: None,
            started: Instant::now(),
            is_gone: false,
        }
    }

    pub(super) fn enter(&mut self, dice: &mut Dice) {
        self.actors = (0..self.roles.len()).map(|at| self.start(at, self.fuse(at, dice))).collect();
    }

    pub(super) fn enter_again(&mut self, at: usize, dice: &mut Dice) {
        self.actors[at] = self.start(at, self.fuse(at, dice));
    }

    /// Many processes are to die at a moment of their own, soon or later.
    fn fuse(&self, at: usize, dice: &mut Dice) -> Option<(&'static str, u64)> {
        let role = &self.roles[at];
        let is_its = |point: &str| if is_receivers(point) { role.receives } else { role.works };
        let points: Vec<&str> = POINTS.iter().copied().filter(|point| is_its(point)).collect();
        let (point, nth) = (dice.pick(&points), dice.roll(1..role.dies.1));
        dice.percent(role.dies.0).then_some((point, nth))
    }

    /// Those that ended by themselves, each once.
    pub(super) fn ended(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (at, actor) in self.actors.iter_mut().enumerate().filter(|(_, actor)| !actor.is_gone) {
            if let Some(status) = actor.child.try_wait().expect("a child") {
                actor.is_gone = true;
                ended.push(Ended { at, status, lived: actor.started.elapsed() });
            }
        }
        ended
    }

    /// Those that died at the moment that they were told.
    pub(super) fn dead(&mut self) -> Vec<usize> {
        use std::os::unix::process::ExitStatusExt;
        let dead = self.ended();
        for Ended { at, status, .. } in &dead {
            let role = &self.roles[*at];
            assert_eq!(status.signal(), Some(9), "{} ended by itself: see {}", role.name, role.folder.display());
        }
        dead.into_iter().map(|ended| ended.at).collect()
    }

    /// Where a process died, if it was told to.
    pub(super) fn moment(&self, at: usize) -> &'static str {
        self.actors[at].fuse.unwrap_or("any")
    }

    pub(super) fn pid(&self, at: usize) -> u32 {
        self.actors[at].child.id()
    }

    pub(super) fn kill(&mut self, at: usize) {
        self.actors[at].child.kill().expect("a living child");
        self.actors[at].child.wait().expect("a dead child");
        self.actors[at].is_gone = true;
    }

    /// Whether its end is known.
    pub(super) fn is_gone(&self, at: usize) -> bool {
        self.actors[at].is_gone
    }

    pub(super) fn stop(&mut self, at: usize, time: Duration) {
        self.actors[at].stopped_until = Some(Instant::now() + time);
        self.actors[at].signal(Signal::STOP);
    }

    pub(super) fn is_stopped(&self, at: usize) -> bool {
        self.actors[at].stopped_until.is_some()
    }

    pub(super) fn any_stopped(&self) -> bool {
        self.actors.iter().any(|actor| actor.stopped_until.is_some())
    }

    /// Wakes those that were stopped for long enough.
    pub(super) fn go_on(&mut self) {
        for actor in &mut self.actors {
            if actor.stopped_until.is_some_and(|until| until <= Instant::now()) {
                actor.stopped_until = None;
                actor.signal(Signal::CONT);
            }
        }
    }

    /// Those that are to die at a moment of their own.
    pub(super) fn fused(&self) -> Vec<usize> {
        (0..self.actors.len()).filter(|at| self.actors[*at].fuse.is_some()).collect()
    }

    pub(super) fn enter_for_good(&mut self, at: usize) {
        self.actors[at] = self.start(at, None);
    }

    /// Wakes those that are stopped.
    pub(super) fn wake(&mut self) {
        for actor in &mut self.actors {
            actor.stopped_until = None;
            actor.signal(Signal::CONT);
        }
    }

    /// A last run of each process's own place: whatever one that died left behind there goes now, or never. The first that
    /// fails, or how the last one ended.
    pub(super) fn last_runs(&self, args: &[&str]) -> ExitStatus {
        let run = |role| self.of(role, args, "last").status().expect("the program");
        let ends: Vec<ExitStatus> = self.roles.iter().map(run).collect();
        *ends.iter().find(|end| !end.success()).unwrap_or(&ends[ends.len() - 1])
    }

    /// All end as they should.
    pub(super) async fn leave(&mut self) {
        for actor in &self.actors {
            actor.signal(Signal::TERM);
        }
        for (actor, role) in std::mem::take(&mut self.actors).into_iter().zip(&self.roles) {
            ended(actor.child, &role.name, &role.folder).await;
        }
    }
}

impl Actor {
    fn signal(&self, signal: Signal) {
        if self.is_gone {
            return;
        }
        // One that has just died at its moment is found by the next look.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for actor in &mut self.actors {
            let _ = actor.child.kill();
            let _ = actor.child.wait();
        }
    }
}

/// The program with nothing of this environment's own settings.
pub(super) fn command(program: &Path, dir: &Path, base_url: &str, args: &[&str], name: &str) -> Command {
    let log: File = OpenOptions::new().create(true).append(true).open(dir.join(format!("{name}.log"))).expect("a log");
    let mut command = Command::new(program);
    let foreign = |name: &str| name.starts_with("WAVEBATCH_") || name.starts_with("AWS_");
    for (variable, _) in std::env::vars_os().filter(|(name, _)| foreign(&name.to_string_lossy())) {
        command.env_remove(variable);
    }
    command
        .current_dir(dir)
        .args(args)
        .env("SMALLEST_API_KEY", "sk_test")
        .env("SMALLEST_BASE_URL", base_url)
        .env("WAVEBATCH_LEASE_MS", LEASE.as_millis().to_string())
        .env("WAVEBATCH_CRASH_PART", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
}

/// Waits for its end, which may be any but a kill.
pub(super) async fn ended(mut child: Child, what: &str, dir: &Path) {
    let began = Instant::now();
    while began.elapsed() < TIMEOUT {
        if let Some(status) = child.try_wait().expect("a child") {
            // One that was started just now may not listen to signals yet.
            let is_well = matches!(status.code(), Some(0 | 143)) || status.signal() == Some(Signal::TERM.as_raw());
            assert!(is_well, "{what}: {status}; see its log in {}", dir.display());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = child.kill();
    panic!("{what} does not end");
}
