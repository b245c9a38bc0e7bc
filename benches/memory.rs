//! Peak memory of whole processes; the sandbox runs in another. Large recordings: 16 files of 100 MB, 8 at once. Large
//! answers: 60 MB to one call, of words with times and of zeros in their place; and 16 of them at once.
//!
//! `cargo bench --bench memory` (Linux: the peak is read from /proc)
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use wavebatch::{
    audio::wav,
    sandbox::{Config, Fault, Match, Sandbox, StatusFault, What},
};

const FILES: usize = 16;
const BYTES: usize = 100_000_000;
const AT_ONCE: &str = "8";
/// The length of a large answer, and what it may take in all, in bytes.
const ANSWER: usize = 60_000_000;
const ANSWER_MOST: u64 = 150_000_000;

fn main() {
    match env::args().nth(1).as_deref() {
        Some("sandbox") => return sandbox(env::args().nth(2).as_deref()),
        _ => recordings(),
    }
    for answer in ["zeros", "words"] {
        let one = answers(answer, 1);
        assert!(one.peak <= ANSWER_MOST, "{answer}: {} bytes", one.peak);
        answers(answer, FILES);
    }
}

fn recordings() {
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let rec = dir.path().join("rec");
    fs::create_dir(&rec).expect("a folder");
    for i in 0..FILES {
        // The header of a recording of that length, and silence that takes no room on the disk.
        let small = wav::pcm16(1, 16_000, None, &[0; 8]);
        let mut file = File::create(rec.join(format!("{i:02}.wav"))).expect("a file");
        let data = u32::try_from(BYTES + 16 * i).expect("below 4 GB");
        let mut head = small[..small.len() - 16].to_vec();
        let riff = u32::try_from(head.len()).expect("small") - 8 + data;
        let at = head.len() - 4;
        head[4..8].copy_from_slice(&riff.to_le_bytes());
        head[at..].copy_from_slice(&data.to_le_bytes());
        file.write_all(&head).expect("a header");
        file.set_len(head.len() as u64 + u64::from(data)).expect("a length");
    }
    let Ran { peak, seconds } = run(dir.path(), None, &["--formats", "json", "--concurrency", AT_ONCE]);
    println!("{FILES} files of 100 MB, {AT_ONCE} at once: peak memory {:.0} MB, {seconds:.1} s", mb(peak));
}

/// Has so many small recordings answered with a large answer each.
fn answers(answer: &str, calls: usize) -> Ran {
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let rec = dir.path().join("rec");
    fs::create_dir(&rec).expect("a folder");
    for i in 0..calls {
        let wav = wav::pcm16(1, 16_000, None, &vec![0; 16_000 + i]);
        fs::write(rec.join(format!("{i:02}.wav")), wav).expect("a file");
    }
    let ran = run(dir.path(), Some(answer), &["--concurrency", &calls.to_string()]);
    println!("{calls} answers of 60 MB ({answer}) at once: peak memory {:.0} MB, {:.1} s", mb(ran.peak), ran.seconds);
    ran
}

struct Ran {
    /// In bytes.
    peak: u64,
    seconds: f64,
}

/// Transcribes what is in `rec`.
fn run(dir: &Path, answer: Option<&str>, args: &[&str]) -> Ran {
    fs::write(dir.join("limits.toml"), "[limits.pulse]\nrequests_per_minute = 0\n").expect("a file");
    let mut server = Command::new(env::current_exe().expect("this program"))
        .arg("sandbox")
        .args(answer)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut url = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut url).expect("its address");
    let begin = Instant::now();
    let mut run = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(dir)
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", url.trim())
        .env_remove("WAVEBATCH_DATABASE")
        .args(["run", "rec", "--task", "transcribe", "--model", "pulse", "--language", "en"])
        .args(["--config", "limits.toml", "-q"])
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .expect("wavebatch");
    let peak = peak_of(&mut run, answer.is_some());
    let seconds = begin.elapsed().as_secs_f64();
    let _ = server.kill();
    let _ = server.wait();
    Ran { peak, seconds }
}

/// The peak of a process that ends well; or, if it may be, with results that are suspect.
fn peak_of(run: &mut Child, suspect: bool) -> u64 {
    let status = format!("/proc/{}/status", run.id());
    let mut peak = 0;
    let exit = loop {
        if let Some(kb) = fs::read_to_string(&status).ok().and_then(|text| peak_kb(&text)) {
            peak = kb;
        }
        if let Some(exit) = run.try_wait().expect("a child") {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(exit.success() || suspect && exit.code() == Some(1), "{exit}");
    peak * 1_000
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn peak_kb(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().split(' ').next()?.parse().ok()
}

#[tokio::main]
async fn sandbox(answer: Option<&str>) {
    let sandbox = Sandbox::start(Config::default()).await.expect("a free port");
    let body = match answer {
        None => None,
        Some("words") => Some(words()),
        Some(_) => Some(format!(r#"{{"transcription":"x","words":[{}0]}}"#, "0,".repeat(ANSWER / 2))),
    };
    if let Some(body) = body {
        let what = StatusFault { code: 200, body: Some(body), billed: true, ..StatusFault::default() };
        sandbox.script([Fault::new(Match::Any, What::Status(what))]);
    }
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

/// Words with times as the API writes them; no two lines of them alike.
fn words() -> String {
    const VOCABULARY: &str = "account address afternoon again agent answer balance before billing calling cancel card \
        change charge confirm contract customer date delivery details device email evening form hello help";
    let vocabulary: Vec<&str> = VOCABULARY.split_whitespace().collect();
    let (mut words, mut text, mut at, mut state) = (String::new(), String::new(), 0_u32, 1_u32);
    let mut next = |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % most
    };
    while words.len() + text.len() < ANSWER {
        let comma = if at == 0 { "" } else { "," };
        let word = vocabulary[next(26) as usize];
        let (end, speaker, sure, confidence) = (at + 8 + next(60), next(2), next(90) + 10, next(9_000) + 1_000);
        let seconds = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
        write!(
            words,
            r#"{comma}{{"start":{},"end":{},"speaker":{speaker},"speaker_confidence":0.{sure},"word":"{word}","confidence":0.{confidence}}}"#,
            seconds(at),
            seconds(end)
        )
        .expect("a String takes everything");
        text.push_str(word);
        text.push(' ');
        at = end;
    }
    let length = at / 100;
    format!(
        r#"{{"status":"success","transcription":"{}","words":[{words}],"metadata":{{"duration":{length}}}}}"#,
        text.trim()
    )
}
