//! The processes: two workers and a receiver.

use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

pub(super) struct Processes {
    program: PathBuf,
    dir: PathBuf,
    base_url: String,
    /// Where outputs go that go to no directory.
    s3: [(&'static str, String); 4],
    /// Where the receiver listens.
    pub listen: String,
    actors: Vec<Actor>,
}

struct Actor {
    child: Child,
    /// Where it is to die.
    fuse: Option<&'static str>,
    stopped_until: Option<Instant>,
}

impl Processes {
    pub(super) fn new(plan: &Plan, dir: &Path, base_url: &str, s3: [(&'static str, String); 4]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        Self {
            program: plan.program.clone(),
            dir: dir.into(),
            base_url: base_url.into(),
            s3,
            listen: format!("127.0.0.1:{port}"),
            actors: Vec::new(),
        }
    }

    pub(super) fn program(&self, args: &[&str], name: &str) -> Command {
        let mut command = command(&self.program, &self.dir, &self.base_url, args, name);
        command.envs(self.s3.iter().map(|(variable, value)| (variable, value)));
        command
    }

    fn start(&self, at: usize, fuse: Option<(&'static str, u64)>) -> Actor {
        let role: &[&str] = if at == 0 { &["--no-workers"] } else { &["--listen", "off"] };
        let mut command = self.program(&[&["serve", "--admin-listen", "off"], role].concat(), &format!("actor-{at}"));
        if let Some((point, nth)) = fuse {
            command.env("WAVEBATCH_CRASH_AT", format!("{point}:{nth}"));
        }
        let child = command.spawn().expect("the program");
        Actor { child, fuse: fuse.map(|(point, _)| point), stopped_until: None }
    }

    pub(super) fn enter(&mut self, dice: &mut Dice) {
        self.actors = (0..3).map(|at| self.start(at, fuse(at, dice))).collect();
    }

    pub(super) fn enter_again(&mut self, at: usize, dice: &mut Dice) {
        self.actors[at] = self.start(at, fuse(at, dice));
    }

    /// Those that died by themselves.
    pub(super) fn dead(&mut self) -> Vec<usize> {
        let mut dead = Vec::new();
        for (at, actor) in self.actors.iter_mut().enumerate() {
            if let Some(status) = actor.child.try_wait().expect("a child") {
                use std::os::unix::process::ExitStatusExt;
                assert_eq!(
                    status.signal(),
                    Some(9),
                    "process {at} ended by itself: {status}; see {}",
                    self.dir.display()
                );
                dead.push(at);
            }
        }
        dead
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

    /// All end as they should.
    pub(super) async fn leave(&mut self) {
        for actor in &self.actors {
            actor.signal(Signal::TERM);
        }
        for actor in std::mem::take(&mut self.actors) {
            ended(actor.child, "serve", &self.dir).await;
        }
    }
}

impl Actor {
    fn signal(&self, signal: Signal) {
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

/// Most processes are to die at a moment of their own, soon or later.
fn fuse(at: usize, dice: &mut Dice) -> Option<(&'static str, u64)> {
    let points: Vec<&str> = POINTS.iter().copied().filter(|point| is_receivers(point) == (at == 0)).collect();
    let (point, nth) = (dice.pick(&points), dice.roll(1..9));
    dice.percent(75).then_some((point, nth))
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
            assert!(matches!(status.code(), Some(0 | 143)), "{what}: {status}; see its log in {}", dir.display());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = child.kill();
    panic!("{what} does not end");
}
