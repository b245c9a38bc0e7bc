//! An ordeal: processes of the real program on one ledger, killed and stopped while they work, and what became of it.
//! It needs nothing of the tests but their S3 store, their PostgreSQL server and their network, so that
//! `examples/crash.rs` shares it.

mod dice;
mod ledger;
mod nodes;
mod processes;
mod verdict;
mod work;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wavebatch::sandbox::{Config, Sandbox};

use self::{
    dice::Dice,
    ledger::Ledger,
    processes::{LEASE, Processes, Role},
    verdict::Spool,
    work::{Place, Work},
};
pub use self::{nodes::ordeal_of_nodes, verdict::Verdict};
use super::s3::{Fault, S3Server};

/// How hard it will be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What chance begins with.
    pub seed: u64,
    /// Kills at least.
    pub kills: u64,
    /// Different moments of death at least. A slow machine reaches fewer of them in as many kills, so it goes on.
    pub moments: usize,
    /// It goes on at least for so long.
    pub time: Duration,
    /// The program. It is told `WAVEBATCH_CRASH_PART=1`.
    pub program: PathBuf,
    /// What one round of batches has: recordings to be answered at once, others whose answers are posted, and chapters.
    pub round: [usize; 3],
    /// The limit of Pulse; 0 is none.
    pub requests_per_minute: u32,
}

/// Calls in flight that each pool is allowed.
const CAPS: [(&str, u32); 3] = [("pulse", 5), ("pulse-pro", 4), ("tts", 4)];
/// The bucket that one batch of each round delivers to.
const BUCKET: &str = "ordeal";
/// How long it waits for enough moments of death.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long undisturbed processes may need for what is left.
const CALM: Duration = Duration::from_secs(90);

/// What was done to the processes.
#[derive(Debug, Default)]
struct Deeds {
    /// By moment; `any` is a random one.
    kills: BTreeMap<&'static str, u64>,
    stops: u64,
    submits_killed: u64,
    /// Outputs that the store refused, or whose answer it lost.
    refused: u64,
    /// Whatever else was done, by what it is.
    others: BTreeMap<&'static str, u64>,
    /// Calls that were on the wire at a kill or a stop.
    in_flight: HashSet<String>,
    /// What no process may do, and one did.
    broken: Vec<String>,
}

impl Deeds {
    fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// Excuses what a process has on the wire now (all of them: `None`). Whether the ledger could be asked.
    async fn look(&mut self, ledger: &mut Ledger, pid: Option<u32>) -> bool {
        let Some(calls) = ledger.in_flight(pid).await else { return false };
        self.in_flight.extend(calls);
        true
    }

    fn count(&mut self, what: &'static str) {
        *self.others.entry(what).or_default() += 1;
    }

    /// Whether there were enough of them.
    fn satisfy(&self, plan: &Plan, elapsed: Duration) -> bool {
        let enough_moments = self.kills.len() >= plan.moments || elapsed >= plan.time + PATIENCE;
        self.kills() >= plan.kills && enough_moments && elapsed >= plan.time
    }
}

/// All of it: the ordeal, the calm after it, and the verdict.
pub async fn ordeal(plan: &Plan) -> Verdict {
    let began = Instant::now();
    // It stays where something is broken.
    let dir = TempDir::new().expect("a temporary folder").keep();
    let config = Config {
        latency: Duration::from_millis(30),
        webhook_backoff: Duration::from_millis(60),
        keep: 1_000_000,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let s3 = S3Server::start().await;
    s3.bucket(BUCKET);
    let (mut dice, mut deeds) = (Dice::new(plan.seed), Deeds::default());
    let listen = format!("127.0.0.1:{}", processes::free_port());
    let role = |name: &str, arg: Option<[&str; 2]>, receives| Role {
        name: name.into(),
        folder: dir.clone(),
        args: arg.iter().flatten().filter(|arg| !arg.is_empty()).map(|arg| (*arg).to_owned()).collect(),
        variables: s3.environment().to_vec(),
        receives,
        works: !receives,
        dies: (75, 9),
    };
    let worker = |name| role(name, Some(["--listen", "off"]), false);
    let receiver = role("actor-0", Some(["--no-workers", ""]), true);
    let roles = vec![receiver, worker("actor-1"), worker("actor-2")];
    let mut processes = Processes::new(plan, &sandbox.base_url(), role("clerk", None, false), roles);
    let place = Place { public: listen.clone(), listen: Some(listen), settings: String::new(), has_no_folder: false };
    let mut work = Work::new(&dir, plan, &place);
    submit(&mut work, &processes, &mut dice, &mut deeds).await;
    let mut ledger = Ledger::open(&dir.join("wavebatch.db")).await;
    processes.enter(&mut dice);
    while !deeds.satisfy(plan, began.elapsed()) {
        tokio::time::sleep(dice.millis(20..220)).await;
        disturb(&mut processes, &mut ledger, &mut dice, &mut deeds).await;
        spoil(&s3, &mut dice, &mut deeds);
        if ledger.unfinished().await.is_some_and(|left| left.is_empty()) {
            submit(&mut work, &processes, &mut dice, &mut deeds).await;
        }
    }
    let disturbed = began.elapsed();
    s3.lift();
    deeds.refused = s3.met();
    calm_down(&mut processes, &mut ledger, &mut deeds).await;
    let calm = Instant::now();
    while ledger.unfinished().await.is_none_or(|left| !left.is_empty()) && calm.elapsed() < CALM {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    processes.leave().await;
    // A last clean run: whatever a process that died left behind goes now, or never.
    let last = processes.program(&["work", "-q"], "last").status().expect("the program");
    let clean = work.undisturbed(plan).await;
    Verdict::find(verdict::Evidence {
        plan,
        deeds: &deeds,
        disturbed,
        work: &work,
        books: sandbox.books(),
        s3: &s3,
        ledger,
        spool: Spool::Folder,
        dir,
        clean,
        last,
    })
    .await
}

/// The next round of batches; now and then the submitter dies, and it is done again.
async fn submit(work: &mut Work, processes: &Processes, dice: &mut Dice, deeds: &mut Deeds) {
    for definition in work.next_round(dice) {
        let args = ["submit", definition.as_str(), "-q"];
        if dice.percent(30) {
            let mut submitter = processes.program(&args, "submit").spawn().expect("the program");
            tokio::time::sleep(dice.millis(5..150)).await;
            let _ = submitter.kill();
            let _ = submitter.wait();
            deeds.submits_killed += 1;
        }
        let submitter = processes.program(&args, "submit").spawn().expect("the program");
        processes::ended(submitter, &definition, &work.dir).await;
    }
}

/// Now and then the store refuses outputs, or takes them and nobody hears of it; one trouble after the other.
fn spoil(s3: &S3Server, dice: &mut Dice, deeds: &mut Deeds) {
    let is_due = dice.percent(8);
    if is_due && s3.met() == deeds.refused {
        let times = dice.roll(1..4);
        let fault = if dice.percent(50) { Fault::Status(503, "SlowDown") } else { Fault::LoseAnswer };
        deeds.refused += times;
        // Never what a submitter has to write: it would end with that.
        s3.fault_times(u32::try_from(times).expect("few"), "PUT", "/line-", fault);
    }
}

/// The last kills: from now on nobody is stopped, and nobody dies.
async fn calm_down(processes: &mut Processes, ledger: &mut Ledger, deeds: &mut Deeds) {
    for at in processes.dead() {
        deeds.look(ledger, Some(processes.pid(at))).await;
        *deeds.kills.entry(processes.moment(at)).or_default() += 1;
        processes.enter_for_good(at);
    }
    for at in processes.fused() {
        processes.stop(at, Duration::ZERO);
        deeds.look(ledger, Some(processes.pid(at))).await;
        processes.kill(at);
        *deeds.kills.entry("any").or_default() += 1;
        processes.enter_for_good(at);
    }
    processes.wake();
}

/// One process is killed, or stopped beyond its lease, or nothing happens; those that died at their moment come again.
async fn disturb(processes: &mut Processes, ledger: &mut Ledger, dice: &mut Dice, deeds: &mut Deeds) {
    for at in processes.dead() {
        deeds.look(ledger, Some(processes.pid(at))).await;
        *deeds.kills.entry(processes.moment(at)).or_default() += 1;
        processes.enter_again(at, dice);
    }
    processes.go_on();
    let victim = dice.pick(&[0, 1, 2]);
    match dice.roll(0..100) {
        0..25 if !processes.is_stopped(victim) => {
            // Stopped first, so that the ledger can be asked what it has on the wire.
            processes.stop(victim, Duration::ZERO);
            deeds.look(ledger, Some(processes.pid(victim))).await;
            processes.kill(victim);
            *deeds.kills.entry("any").or_default() += 1;
            processes.enter_again(victim, dice);
        }
        25..32 if !processes.any_stopped() => {
            processes.stop(victim, LEASE + dice.millis(0..1_000));
            // It may have stopped with the ledger's lock in hand, and then nobody else's heart beats.
            deeds.look(ledger, None).await;
            deeds.stops += 1;
        }
        _ => {}
    }
}
