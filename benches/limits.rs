//! How fully the account's limits are used while the vendor refuses calls, or changes its limits, or processes die. Each
//! scenario prints its ratio; the exit status is 1 if one of them is missed.
//!
//! ```text
//! cargo bench --bench limits [-- SCENARIO...]        all of them, one after the other, without any
//!
//! storm      800 calls of 200 ms, 10 in flight; from the third second on 80 % are refused for 5 s. Ideal: 21 s.
//!            Without and with `Retry-After: 1`, five runs each: the median may be 26 s.            4 min
//! few        800 such calls, 2 % of which are always refused: at least 90 % of the pace without.    2 min
//! lowered    10 in flight for 2 min, then 3, then 10 again: at least 90 % of what is allowed is
//!            answered, and at most 1 % of the calls are refused.                                    6 min
//! processes  four processes, 60 requests a minute, 6 in flight: in peace; with one killed every few
//!            seconds; with a storm; with both limits halved. Never above a limit, and at least 95 %
//!            of what is allowed (but for the storm).                                                3 min
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wavebatch::{
    audio::wav,
    sandbox::{Books, Config, Fault, Match, Sandbox, StatusFault, What},
};

const LINES: usize = 260;
const A_MINUTE: u32 = 60;
const AT_ONCE: u32 = 6;
const TIME: Duration = Duration::from_secs(180);
/// What three minutes allow: the first minute's calls, the second's and the third's.
const ALLOWED: u64 = 3 * A_MINUTE as u64;
const KILL_EVERY: Duration = Duration::from_secs(9);

/// What it is still allowed where the limits are halved in the middle of its second minute.
const ALLOWED_LESS: u64 = 2 * A_MINUTE as u64 + A_MINUTE as u64 / 2;
/// Refusals of the storm: every second call for a while.
const STORM: u32 = 12;

/// What befalls the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    Peace,
    Killed,
    Storm,
    Lowered,
}

/// Calls that are made at once in the scenarios of one process, and how long each takes.
const FLIGHT: u32 = 10;
const LATENCY: Duration = Duration::from_millis(200);
/// Calls of a storm's run.
const CALLS: usize = 800;
const STORM_FROM: Duration = Duration::from_secs(2);
const STORM_FOR: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    const SCENARIOS: [&str; 4] = ["storm", "few", "lowered", "processes"];
    // Cargo adds `--bench`.
    let asked: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(unknown) = asked.iter().find(|arg| !SCENARIOS.contains(&arg.as_str())) {
        println!("{unknown}: no such scenario; there are {}", SCENARIOS.join(", "));
        return ExitCode::FAILURE;
    }
    let mut well = true;
    for name in SCENARIOS.into_iter().filter(|name| asked.is_empty() || asked.iter().any(|arg| arg == name)) {
        well &= match name {
            "storm" => storm().await,
            "few" => few().await,
            "lowered" => lowered().await,
            _ => processes().await,
        };
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One process of the program, on a batch of `lines`, with a sandbox that refuses nothing by itself.
struct Alone {
    dir: TempDir,
    sandbox: Sandbox,
}

/// What became of it.
struct Done {
    /// From the arrival of the first call to the end of the program.
    took: Duration,
    calls: u64,
    answered: u64,
    refused: u64,
}

impl Alone {
    async fn new(lines: usize) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let config = Config { latency: LATENCY, fetch: false, keep: 1_000, ..Config::default() };
        let sandbox = Sandbox::start(config).await.expect("a sandbox");
        let sources = (0..lines).map(|n| format!("call-{n},https://recordings.example/{n}.wav\n"));
        fs::write(dir.path().join("calls.csv"), format!("key,source\n{}", sources.collect::<String>()))
            .expect("a file");
        define(dir.path());
        limits(dir.path(), 0, FLIGHT);
        let submit = wavebatch(dir.path(), &sandbox, &["submit", "night.toml", "-q"]).status().expect("the program");
        assert!(submit.success(), "{submit}");
        Self { dir, sandbox }
    }

    /// Works the batch until its end, or until `longest` has passed since its first call, while `meanwhile` goes on.
    async fn work(&self, longest: Duration, meanwhile: impl Future<Output = ()>) -> Done {
        let work = ["work", "--batch", "night", "-q"];
        let mut worker = wavebatch(self.dir.path(), &self.sandbox, &work).spawn().expect("the program");
        self.sandbox.arrivals(1).await;
        let began = Instant::now();
        let ended = async {
            while worker.try_wait().expect("a child").is_none() && began.elapsed() < longest {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(ended, meanwhile);
        let took = began.elapsed();
        let books = self.sandbox.books();
        if worker.try_wait().expect("a child").is_none() {
            end(&mut worker);
        }
        let of = |status| books.statuses.get(&status).copied().unwrap_or_default();
        Done { took, calls: books.calls, answered: of(200), refused: of(429) }
    }
}

/// Refuses a share of the calls.
fn refuses(share: f64, seed: u64, retry_after: Option<&str>) -> Fault {
    let refusal = StatusFault { code: 429, retry_after: retry_after.map(str::to_owned), ..StatusFault::default() };
    Fault::new(Match::Probability { p: share, seed }, What::Status(refusal))
}

async fn storm() -> bool {
    let ideal = STORM_FOR + LATENCY * u32::try_from(CALLS).expect("few") / FLIGHT;
    let mut well = true;
    for retry_after in [None, Some("1")] {
        let mut runs = Vec::new();
        for seed in 0..5 {
            let alone = Alone::new(CALLS).await;
            let weather = async {
                tokio::time::sleep(STORM_FROM).await;
                alone.sandbox.script([refuses(0.8, seed, retry_after)]);
                tokio::time::sleep(STORM_FOR).await;
                alone.sandbox.unscript();
            };
            let done = alone.work(Duration::from_secs(180), weather).await;
            assert_eq!(done.answered, CALLS as u64);
            runs.push((done.took, done.refused));
        }
        runs.sort_unstable();
        let message: Vec<String> =
            runs.iter().map(|(took, refused)| format!("{:.2} s ({refused} refused)", took.as_secs_f64())).collect();
        let median = runs[2].0;
        println!(
            "storm, Retry-After: {}: {:.2} s at the median, {:.2} of the ideal {:.0} s; {}",
            retry_after.unwrap_or("none"),
            median.as_secs_f64(),
            median.as_secs_f64() / ideal.as_secs_f64(),
            ideal.as_secs_f64(),
            message.join(", ")
        );
        well &= median <= Duration::from_secs(26);
    }
    well
}

async fn few() -> bool {
    let mut took = [Duration::ZERO; 2];
    let mut refused = 0;
    for (at, share) in [0.0, 0.02].into_iter().enumerate() {
        let mut runs = Vec::new();
        for seed in 0..3 {
            let alone = Alone::new(CALLS).await;
            alone.sandbox.script([refuses(share, seed, None)]);
            let done = alone.work(Duration::from_secs(180), async {}).await;
            assert_eq!(done.answered, CALLS as u64);
            runs.push(done.took);
            refused += done.refused;
        }
        runs.sort_unstable();
        took[at] = runs[1];
    }
    let [without, with] = took.map(|took| took.as_secs_f64());
    let share = without / with;
    println!(
        "few: {with:.2} s with 2 % refused, {without:.2} s without, medians of three: {:.1} % of the pace; {refused} refused in three runs",
        100.0 * share
    );
    share >= 0.9
}

async fn lowered() -> bool {
    const PHASE: Duration = Duration::from_secs(120);
    const LOW: u32 = 3;
    let a_second = |flight: u32| f64::from(flight) / LATENCY.as_secs_f64();
    let allowed = PHASE.as_secs_f64() * (2.0 * a_second(FLIGHT) + a_second(LOW));
    let alone = Alone::new((allowed * 1.1) as usize).await;
    alone.sandbox.limit(None, Some(FLIGHT));
    let vendor = async {
        tokio::time::sleep(PHASE).await;
        alone.sandbox.limit(None, Some(LOW));
        tokio::time::sleep(PHASE).await;
        alone.sandbox.limit(None, Some(FLIGHT));
    };
    let done = alone.work(PHASE * 3, vendor).await;
    let (used, refused) = (done.answered as f64 / allowed, done.refused as f64 / done.calls as f64);
    println!(
        "lowered: {} calls answered in {:.0} s, {:.1} % of the {allowed:.0} allowed; {} refused, {:.2} % of all calls",
        done.answered,
        done.took.as_secs_f64(),
        100.0 * used,
        done.refused,
        100.0 * refused
    );
    used >= 0.9 && refused <= 0.01
}

async fn processes() -> bool {
    const TRIALS: [Trial; 4] = [Trial::Peace, Trial::Killed, Trial::Storm, Trial::Lowered];
    let seen = futures::future::join_all(TRIALS.map(witness)).await;
    println!("processes  calls in 180 s  of allowed  most in a minute  most in flight  429s  bought twice");
    let mut well = true;
    for (trial, seen) in TRIALS.into_iter().zip(&seen) {
        let allowed = if trial == Trial::Lowered { ALLOWED_LESS } else { ALLOWED };
        let share = 100.0 * seen.calls as f64 / allowed as f64;
        println!(
            "{:9}  {:14}  {share:8.1} %  {:16}  {:14}  {:4}  {:12}",
            format!("{trial:?}"),
            seen.calls,
            seen.in_a_minute,
            seen.in_flight,
            seen.refused,
            seen.twice
        );
        well &= seen.in_a_minute <= A_MINUTE && seen.in_flight <= AT_ONCE && seen.twice == 0;
        well &= trial == Trial::Storm || seen.calls * 100 >= allowed * 95;
        if trial == Trial::Killed {
            println!("           {} kills", seen.kills);
        }
        if let Some((in_a_minute, in_flight)) = seen.afterwards {
            println!(
                "           {in_a_minute} in a minute and {in_flight} in flight at most once all knew of the new limits"
            );
            well &= in_a_minute <= A_MINUTE / 2 && in_flight <= AT_ONCE / 2;
        }
    }
    well
}

struct Seen {
    calls: u64,
    in_a_minute: u32,
    in_flight: u32,
    refused: u64,
    twice: u64,
    kills: u64,
    /// The most calls in a minute, and the most in flight, after the limits were lowered.
    afterwards: Option<(u32, u32)>,
}

async fn witness(trial: Trial) -> Seen {
    let dir = TempDir::new().expect("a temporary folder");
    let config = Config { latency: Duration::from_millis(400), keep: 1_000, ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    if trial == Trial::Storm {
        sandbox.script([Fault::new(Match::Every(2), What::status(429)).times(STORM)]);
    }
    batch(dir.path());
    limits(dir.path(), A_MINUTE, AT_ONCE);
    let submit = wavebatch(dir.path(), &sandbox, &["submit", "night.toml", "-q"]).status().expect("the program");
    assert!(submit.success(), "{submit}");
    let worker = || wavebatch(dir.path(), &sandbox, &["work", "--batch", "night", "-q"]).spawn().expect("the program");
    let mut workers: Vec<Child> = (0..4).map(|_| worker()).collect();
    let (began, mut kills, mut lowered) = (Instant::now(), 0_u64, None);
    while began.elapsed() < TIME {
        let left = TIME.saturating_sub(began.elapsed());
        let pause = match trial {
            Trial::Killed => KILL_EVERY,
            Trial::Lowered if lowered.is_none() => TIME / 2,
            Trial::Peace | Trial::Storm | Trial::Lowered => left,
        };
        tokio::time::sleep(pause.min(left)).await;
        if trial == Trial::Killed {
            let victim = &mut workers[usize::try_from(kills % 4).expect("small")];
            end(victim);
            *victim = worker();
            kills += 1;
        }
        if trial == Trial::Lowered && lowered.is_none() {
            limits(dir.path(), A_MINUTE / 2, AT_ONCE / 2);
            for worker_of_old in &mut workers {
                end(worker_of_old);
                *worker_of_old = worker();
            }
            lowered = Some(sandbox.books().requests.len());
        }
    }
    let books = sandbox.books();
    workers.iter_mut().for_each(end);
    Seen {
        calls: books.calls - books.statuses.get(&429).copied().unwrap_or_default(),
        in_a_minute: books.most_in_a_minute,
        in_flight: books.peak_in_flight,
        refused: books.statuses.get(&429).copied().unwrap_or_default(),
        twice: books.contents.values().filter(|content| content.billed > 1).count() as u64,
        kills,
        afterwards: lowered.map(|before| most(&books, before)),
    }
}

/// The most calls in a minute, and the most in flight, of those after the first `before`.
fn most(books: &Books, before: usize) -> (u32, u32) {
    const LATENCY_MS: i64 = 400;
    let times: Vec<i64> = books.requests.iter().skip(before).map(|request| request.at_ms).collect();
    let within = |ms: i64| {
        let at_once = |from: &i64| times.iter().filter(|at| (*from..*from + ms).contains(at)).count();
        u32::try_from(times.iter().map(at_once).max().unwrap_or(0)).expect("few")
    };
    (within(60_000), within(LATENCY_MS))
}

fn end(child: &mut Child) {
    child.kill().expect("a living child");
    child.wait().expect("a dead child");
}

fn batch(dir: &Path) {
    let mut manifest = String::from("key,source\n");
    for n in 0..LINES {
        let samples: Vec<i16> = vec![1; 4_000 + n * 8];
        fs::write(dir.join(format!("{n}.wav")), wav::pcm16(1, 8_000, Some("hello"), &samples)).expect("a recording");
        manifest.push_str(&format!("call-{n},{n}.wav\n"));
    }
    fs::write(dir.join("calls.csv"), manifest).expect("a file");
    define(dir);
}

fn define(dir: &Path) {
    let definition = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n[transcribe]\n\
                      model = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n[run]\nunknown_grace = \"2s\"\n";
    fs::write(dir.join("night.toml"), definition).expect("a file");
}

fn limits(dir: &Path, a_minute: u32, at_once: u32) {
    let limits = format!("[limits.pulse]\nrequests_per_minute = {a_minute}\nconcurrency = {at_once}\n");
    fs::write(dir.join("wavebatch.toml"), limits).expect("a file");
}

fn wavebatch(dir: &Path, sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command
        .current_dir(dir)
        .args(args)
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", sandbox.base_url())
        .env("WAVEBATCH_LEASE_MS", "3000")
        .env_remove("WAVEBATCH_DATABASE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
