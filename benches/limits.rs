//! Four processes on one ledger, 60 requests a minute and 6 in flight, for three minutes: what the vendor saw of it, and how
//! much of what was allowed was used. Once in peace, and once with a process killed every few seconds, side by side.
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
    sandbox::{Config, Sandbox},
};

const LINES: usize = 260;
const A_MINUTE: u32 = 60;
const AT_ONCE: u32 = 6;
const TIME: Duration = Duration::from_secs(180);
/// What three minutes allow: the first minute's calls, the second's and the third's.
const ALLOWED: u64 = 3 * A_MINUTE as u64;
const KILL_EVERY: Duration = Duration::from_secs(9);

#[tokio::main]
async fn main() -> ExitCode {
    let (peace, war) = tokio::join!(witness(false), witness(true));
    println!("processes  calls in 180 s  of allowed  most in a minute  most in flight  429s  bought twice");
    let mut well = true;
    for (name, seen) in [("in peace", &peace), ("killed", &war)] {
        let share = 100.0 * seen.calls as f64 / ALLOWED as f64;
        println!(
            "{name:9}  {:14}  {share:8.1} %  {:16}  {:14}  {:4}  {:12}",
            seen.calls, seen.in_a_minute, seen.in_flight, seen.refused, seen.twice
        );
        well &= seen.in_a_minute <= A_MINUTE && seen.in_flight <= AT_ONCE && seen.twice == 0;
    }
    println!("{} kills", war.kills);
    well &= peace.calls * 100 >= ALLOWED * 95;
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Seen {
    calls: u64,
    in_a_minute: u32,
    in_flight: u32,
    refused: u64,
    twice: u64,
    kills: u64,
}

async fn witness(is_war: bool) -> Seen {
    let dir = TempDir::new().expect("a temporary folder");
    let config = Config { latency: Duration::from_millis(400), ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    batch(dir.path());
    let submit = wavebatch(dir.path(), &sandbox, &["submit", "night.toml", "-q"]).status().expect("the program");
    assert!(submit.success(), "{submit}");
    let worker = || wavebatch(dir.path(), &sandbox, &["work", "--batch", "night", "-q"]).spawn().expect("the program");
    let mut workers: Vec<Child> = (0..4).map(|_| worker()).collect();
    let (began, mut kills) = (Instant::now(), 0_u64);
    while began.elapsed() < TIME {
        let left = TIME.saturating_sub(began.elapsed());
        tokio::time::sleep(if is_war { KILL_EVERY.min(left) } else { left }).await;
        if is_war {
            let victim = &mut workers[usize::try_from(kills % 4).expect("small")];
            end(victim);
            *victim = worker();
            kills += 1;
        }
    }
    let books = sandbox.books();
    workers.iter_mut().for_each(end);
    Seen {
        calls: books.calls,
        in_a_minute: books.most_in_a_minute,
        in_flight: books.peak_in_flight,
        refused: books.statuses.get(&429).copied().unwrap_or_default(),
        twice: books.contents.values().filter(|content| content.billed > 1).count() as u64,
        kills,
    }
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
    let limits = format!("[limits.pulse]\nrequests_per_minute = {A_MINUTE}\nconcurrency = {AT_ONCE}\n");
    let definition = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n[transcribe]\n\
                      model = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n[run]\nunknown_grace = \"2s\"\n";
    for (name, content) in [("calls.csv", manifest.as_str()), ("wavebatch.toml", &limits), ("night.toml", definition)] {
        fs::write(dir.join(name), content).expect("a file");
    }
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
