//! What becomes of calls over sockets: whether captions are exact, whether parts are lost where sockets are cut or the process is
//! killed, and what many live sessions take. `cargo bench --bench sockets` runs the program against a sandbox in this process.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use wavebatch::{
    audio::wav,
    sandbox::{
        Config, Fault, Match, Sandbox, What,
        fixtures::{Line, Random, Script, heard_in},
    },
};

const WORDS: usize = 10_000;
const WORDS_A_PART: usize = 25;
const STREAMS: u64 = 20;
const STREAM_MS: u64 = 300_000;
const KILLS: u32 = 50;
const VOCABULARY: [&str; 12] = [
    "river", "stone", "house", "evening", "letter", "window", "garden", "morning", "winter", "ticket", "music", "paper",
];

fn main() {
    let wanted: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    for (name, bench) in
        [("words", words as fn(&tokio::runtime::Runtime)), ("cut", cut), ("live", live), ("kills", kills)]
    {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            bench(&runtime);
        }
    }
}

/// So many paragraphs of a part each.
fn text(parts: usize, words: usize, seed: u64) -> String {
    let mut random = Random::new(seed);
    let paragraph = |nth: usize| {
        let mut word = |_| VOCABULARY[usize::try_from(random.below(12)).expect("below 12")];
        let middle: Vec<&str> = (0..words - 2).map(&mut word).collect();
        format!("Number {nth} {}.", middle.join(" "))
    };
    (0..parts).map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn sandbox(runtime: &tokio::runtime::Runtime, config: Config) -> Sandbox {
    runtime.block_on(Sandbox::start(config)).expect("a free port")
}

fn run(dir: &Path, sandbox: &Sandbox, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command.args([&["run"], args].concat()).current_dir(dir);
    command.env("SMALLEST_API_KEY", "sk_bench").env("SMALLEST_BASE_URL", sandbox.base_url());
    command.stdout(Stdio::null()).stderr(fs::File::create(dir.join("stderr")).expect("a file"));
    command.spawn().expect("the program starts")
}

fn finish(dir: &Path, sandbox: &Sandbox, args: &[&str]) {
    let status = run(dir, sandbox, args).wait().expect("it ends");
    assert!(status.success(), "{}", fs::read_to_string(dir.join("stderr")).unwrap_or_default());
}

fn speech(dir: &Path, text: &str) {
    let toml = "name = \"speech\"\ntask = \"synthesize\"\nmanifest = \"texts\"\noutput = \"out/\"\n[synthesize]\n\
                model = \"lightning_v3.1\"\nvoice_id = \"avery\"\nlanguage = \"en\"\ncaptions = [\"words\"]\n";
    fs::write(dir.join("speech.toml"), toml).expect("room");
    fs::create_dir_all(dir.join("texts")).expect("room");
    fs::write(dir.join("texts/one.txt"), text).expect("room");
}

/// The words of the captions and those that are heard in the audio: their number, and those that begin over 5 ms apart.
fn compared(dir: &Path) -> (usize, usize, usize) {
    let json = fs::read(dir.join("out/one.words.json")).expect("captions");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let said = json["words"].as_array().expect("words");
    let bytes = fs::read(dir.join("out/one.wav")).expect("audio");
    let header = wav::read(&mut std::io::Cursor::new(&bytes)).expect("a WAV");
    let samples = &bytes[usize::try_from(header.data_offset).expect("a header")..];
    let samples: Vec<f32> =
        samples.as_chunks::<2>().0.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0).collect();
    let heard = heard_in(&samples, header.sample_rate);
    let apart = |(heard, said): (&wavebatch::sandbox::fixtures::ScriptWord, &serde_json::Value)| {
        said["shared_out"] == true || heard.from_ms.abs_diff(said["start_ms"].as_u64().unwrap_or_default()) > 5
    };
    (said.len(), heard.len(), heard.iter().zip(said).filter(|pair| apart(*pair)).count())
}

fn words(runtime: &tokio::runtime::Runtime) {
    let dir = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(runtime, Config::default());
    speech(dir.path(), &text(WORDS / WORDS_A_PART, WORDS_A_PART, 1));
    let began = Instant::now();
    finish(dir.path(), &sandbox, &["speech.toml"]);
    let took = began.elapsed().as_secs_f64();
    let books = sandbox.books();
    let (said, heard, apart) = compared(dir.path());
    println!(
        "words: {said} captions and {heard} heard words in {} parts over {} sockets: {apart} over 5 ms apart ({took:.1} s)",
        books.calls, books.sockets
    );
}

fn cut(runtime: &tokio::runtime::Runtime) {
    let whole = tempfile::tempdir().expect("a folder");
    let text = text(20, 8, 2);
    speech(whole.path(), &text);
    let sandbox = sandbox(runtime, Config::default());
    finish(whole.path(), &sandbox, &["speech.toml"]);
    let audio = fs::read(whole.path().join("out/one.wav")).expect("audio");
    let (mut boundaries, mut cuts, mut again, mut differ) = (0, 0, 0, 0);
    for message in 0.. {
        let dir = tempfile::tempdir().expect("a folder");
        speech(dir.path(), &text);
        sandbox.reset();
        sandbox.script([Fault::new(Match::EachContent(1), What::CutMessage(message))]);
        finish(dir.path(), &sandbox, &["speech.toml"]);
        let books = sandbox.books();
        differ += usize::from(fs::read(dir.path().join("out/one.wav")).expect("audio") != audio);
        (cuts, again) = (cuts + books.cut, again + books.calls - 20);
        if books.cut == 0 {
            break;
        }
        boundaries += 1;
    }
    println!(
        "cut: each socket of 20 parts reset at each of {boundaries} messages: {cuts} cut, {again} calls again, {differ} of {} outputs differ",
        boundaries + 1
    );
}

fn live(runtime: &tokio::runtime::Runtime) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut said = Vec::new();
    fs::create_dir_all(dir.path().join("rec")).expect("room");
    for nth in 0..STREAMS {
        let mut random = Random::new(nth + 1);
        let (mut lines, mut at_ms) = (Vec::new(), 300);
        while at_ms + 6_000 < STREAM_MS {
            let words = (0..8).map(|_| VOCABULARY[random.below(12) as usize]).collect::<Vec<_>>().join(" ");
            let length = words.len() as u64 * 1_000_000 / 15 / 850;
            lines.push(Line { channel: 0, at_ms, words, voice: (nth % 5) as usize, gain_db: 0.0 });
            at_ms += length + 500 + random.below(1_500);
        }
        let recording = Script { rate: 8_000, channels: 1, lines, length_ms: STREAM_MS, ..Script::default() }.record();
        fs::write(dir.path().join(format!("rec/{nth}.wav")), recording.wav()).expect("room");
        said.push(recording.words);
    }
    let toml = "name = \"live\"\ntask = \"transcribe\"\nmanifest = \"rec\"\noutput = \"out/\"\n[transcribe]\n\
                model = \"pulse\"\nlanguage = \"en\"\ntransport = \"live\"\nlive_speed = 4\nformats = [\"json\"]\n";
    fs::write(dir.path().join("live.toml"), toml).expect("room");
    let sandbox = sandbox(runtime, Config::default());
    let began = Instant::now();
    let mut child = run(dir.path(), &sandbox, &["live.toml"]);
    // A process that has ended shows no peak.
    let mut peak = String::new();
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        if let Some(now) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
            now.trim().clone_into(&mut peak);
        }
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{}", fs::read_to_string(dir.path().join("stderr")).unwrap_or_default());
    let whole = said.iter().enumerate().filter(|(nth, said)| {
        let json = fs::read(dir.path().join(format!("out/{nth}.json"))).expect("a transcript");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let words = json["words"].as_array().expect("words");
        let right = |(found, said): (&serde_json::Value, &wavebatch::sandbox::fixtures::ScriptWord)| {
            found["word"].as_str().is_some_and(|word| word.eq_ignore_ascii_case(&said.word))
        };
        words.len() == said.len() && words.iter().zip(*said).all(right)
    });
    println!(
        "live: {} of {STREAMS} streams of {} min at speed 4 whole, {} at once at most, in {:.0} s; peak memory {peak}",
        whole.count(),
        STREAM_MS / 60_000,
        sandbox.books().models["pulse-live"].peak_in_flight,
        began.elapsed().as_secs_f64()
    );
}

fn kills(runtime: &tokio::runtime::Runtime) {
    for is_live in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Config { latency: Duration::from_millis(20), ..Config::default() };
        let sandbox = sandbox(runtime, config);
        let (lines, concurrency): (u64, u64) = if is_live { (60, 8) } else { (1_500, 4) };
        let run_settings = format!("[run]\nconcurrency = {concurrency}\nmax_billed_calls = 60\nmax_tries = 60\n");
        let name = if is_live { "live.toml" } else { "speech.toml" };
        if is_live {
            fs::create_dir_all(dir.path().join("rec")).expect("room");
            for nth in 0..lines {
                let line =
                    Line { channel: 0, at_ms: 300, words: format!("number {nth} is here"), voice: 0, gain_db: 0.0 };
                let recording =
                    Script { rate: 8_000, channels: 1, lines: vec![line], length_ms: 6_000 + nth, ..Script::default() };
                fs::write(dir.path().join(format!("rec/{nth}.wav")), recording.record().wav()).expect("room");
            }
            let toml = format!(
                "name = \"live\"\ntask = \"transcribe\"\nmanifest = \"rec\"\noutput = \"out/\"\n[transcribe]\nmodel = \"pulse\"\n\
                 language = \"en\"\ntransport = \"live\"\nlive_speed = 8\nformats = [\"json\"]\n{run_settings}"
            );
            fs::write(dir.path().join(name), toml).expect("room");
        } else {
            speech(dir.path(), &text(usize::try_from(lines).expect("few"), 8, 3));
            let toml = fs::read_to_string(dir.path().join(name)).expect("a definition") + &run_settings;
            fs::write(dir.path().join(name), toml).expect("room");
        }
        let (mut random, mut killed, mut ended) = (Random::new(7), 0, false);
        while killed < KILLS && !ended {
            let mut child = run(dir.path(), &sandbox, &[name]);
            thread::sleep(Duration::from_millis(150 + random.below(250)));
            ended = child.try_wait().expect("a child").is_some();
            child.kill().expect("a child");
            child.wait().expect("a child");
            killed += u32::from(!ended);
        }
        finish(dir.path(), &sandbox, &[name]);
        let books = sandbox.books();
        println!(
            "kills: {}: {killed} kills, {lines} {}, {} calls billed: {} again, at most {} in flight at the kills",
            if is_live { "live" } else { "speech over sockets" },
            if is_live { "recordings" } else { "parts" },
            books.billed,
            books.billed - lines,
            u64::from(killed) * concurrency
        );
    }
}
