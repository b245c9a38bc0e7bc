//! Four processes on one ledger, 60 requests a minute and 6 in flight, for three minutes: what the vendor saw of it, and how
//! much of what was allowed was used. Side by side: in peace; with a process killed every few seconds; with a storm of
//! 429s in the first minute; with both limits halved in the middle.
//!
//! `cargo bench --bench limits`
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wavebatch::{
    audio::wav,
    sandbox::{Books, Config, Fault, Match, Sandbox, What},
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

#[tokio::main]
async fn main() -> ExitCode {
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
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    let definition = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n[transcribe]\n\
                      model = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n[run]\nunknown_grace = \"2s\"\n";
    for (name, content) in [("calls.csv", manifest.as_str()), ("night.toml", definition)] {
        fs::write(dir.join(name), content).expect("a file");
    }
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
