//! What the processes are to do: rounds of batches, each recording with a length of its own.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use wavebatch::{audio::wav, sandbox::Sandbox};

use super::{BUCKET, CAPS, Plan, dice::Dice, processes};

/// How the lines of a batch are worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Calls,
    Posted,
    Book,
}

pub(super) struct Batch {
    pub name: String,
    pub kind: Kind,
    /// Whether it delivers to the bucket.
    pub in_bucket: bool,
    /// Each line's key, and the words of its recording.
    pub lines: Vec<(String, String)>,
}

/// Where the processes find each other and put their work, beside the folder of its definitions.
pub(super) struct Place {
    /// Where callbacks are sent to.
    pub public: String,
    /// Where the receiver listens, if one place does for all.
    pub listen: Option<String>,
    /// The first lines of the settings.
    pub settings: String,
    /// Whether all is delivered to the bucket.
    pub has_no_folder: bool,
}

pub(super) struct Work {
    pub dir: PathBuf,
    has_no_folder: bool,
    round: [usize; 3],
    rounds: usize,
    recordings: usize,
    pub batches: Vec<Batch>,
}

const HEAD: [&str; 3] = [
    "task = \"transcribe\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\", \"json\"]\n",
    "task = \"transcribe\"\n[transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\", \"json\"]\nwebhook = \"always\"\n",
    "task = \"synthesize\"\n[synthesize]\nmodel = \"lightning_v3.1\"\nvoice_id = \"avery\"\nlanguage = \"en\"\npart_chars = 80\n\
     formats = [{ format = \"wav\", sample_rate = 8000 }]\n",
];

impl Work {
    pub(super) fn new(dir: &Path, plan: &Plan, place: &Place) -> Self {
        fs::create_dir_all(dir.join("rec")).expect("a folder");
        let Place { public, listen, settings, has_no_folder } = place;
        let mut settings = format!(
            "{settings}[webhook]\npublic_url = \"http://{public}/hooks\"\noverdue = \"3s\"\ngrace = \"500ms\"\n"
        );
        if let Some(listen) = listen {
            writeln!(settings, "listen = \"{listen}\"").expect("memory");
        }
        for (pool, cap) in CAPS {
            let requests = match pool {
                "pulse" => format!("requests_per_minute = {}\n", plan.requests_per_minute),
                "pulse-pro" => "requests_per_minute = 0\n".into(),
                _ => String::new(),
            };
            write!(settings, "[limits.{pool}]\nconcurrency = {cap}\n{requests}").expect("memory");
        }
        fs::write(dir.join("wavebatch.toml"), settings).expect("a file");
        let (round, batches) = (plan.round, Vec::new());
        Self { dir: dir.into(), has_no_folder: *has_no_folder, round, rounds: 0, recordings: 0, batches }
    }

    /// Writes down another round; the names of its definitions. One of its batches delivers to the bucket, or all.
    pub(super) fn next_round(&mut self, dice: &mut Dice) -> Vec<String> {
        self.rounds += 1;
        let kinds = [Kind::Calls, Kind::Posted, Kind::Book];
        let bucket = dice.pick(&kinds);
        kinds
            .into_iter()
            .enumerate()
            .map(|(at, kind)| self.write(at, kind, kind == bucket || self.has_no_folder))
            .collect()
    }

    fn write(&mut self, at: usize, kind: Kind, in_bucket: bool) -> String {
        let (head, lines) = (HEAD[at], self.round[at]);
        let name = format!("{}-{}", format!("{kind:?}").to_lowercase(), self.rounds);
        let mut manifest = String::from(if kind == Kind::Book { "key,text_file\n" } else { "key,source\n" });
        let mut written = Vec::new();
        for _ in 0..lines {
            self.recordings += 1;
            let n = self.recordings;
            let (key, words) = (format!("line-{n}"), format!("words of call {n}"));
            let file = if kind == Kind::Book { format!("rec/{n}.txt") } else { format!("rec/{n}.wav") };
            let content = if kind == Kind::Book { chapter(self.rounds, n) } else { recording(&words, n) };
            fs::write(self.dir.join(&file), content).expect("a file");
            writeln!(manifest, "{key},{file}").expect("memory");
            written.push((key, words));
        }
        fs::write(self.dir.join(format!("{name}.csv")), manifest).expect("a file");
        let output = if in_bucket { format!("s3://{BUCKET}/{name}/") } else { format!("out/{name}/") };
        let toml = format!(
            "name = \"{name}\"\nmanifest = \"{name}.csv\"\noutput = \"{output}\"\n{head}[run]\nunknown_grace = \"1s\"\nmax_billed_calls = 1000\n"
        );
        fs::write(self.dir.join(format!("{name}.toml")), toml).expect("a file");
        self.batches.push(Batch { name: name.clone(), kind, in_bucket, lines: written });
        format!("{name}.toml")
    }

    /// The same books, spoken in peace; where.
    pub(super) async fn undisturbed(&self, plan: &Plan) -> TempDir {
        let dir = TempDir::new().expect("a temporary folder");
        let sandbox = Sandbox::start(wavebatch::sandbox::Config::default()).await.expect("a sandbox");
        fs::create_dir(dir.path().join("rec")).expect("a folder");
        for batch in self.batches.iter().filter(|batch| batch.kind == Kind::Book) {
            let files = batch.lines.iter().map(|(key, _)| format!("rec/{}.txt", key.trim_start_matches("line-")));
            for file in files.chain([format!("{}.csv", batch.name)]) {
                fs::copy(self.dir.join(&file), dir.path().join(&file)).expect("a copy");
            }
            let toml = format!("{}.toml", batch.name);
            let definition = fs::read_to_string(self.dir.join(&toml)).expect("its definition");
            let definition = definition.replace(&format!("s3://{BUCKET}/"), "out/");
            fs::write(dir.path().join(&toml), definition).expect("a file");
            let args = ["run", &toml, "-q"];
            let run = processes::command(&plan.program, dir.path(), &sandbox.base_url(), &args, "clean").spawn();
            processes::ended(run.expect("the program"), "an undisturbed run", dir.path()).await;
        }
        dir
    }
}

/// A WAV of 8 kHz whose words the sandbox knows; no two have the same length.
fn recording(words: &str, n: usize) -> Vec<u8> {
    let samples: Vec<i16> = (0..2_400 + n * 8).map(|i| if i % 97 == 0 { (n % 30_000) as i16 } else { 0 }).collect();
    wav::pcm16(1, 8_000, Some(words), &samples)
}

/// A dozen paragraphs, and a refrain that all chapters of a round share.
fn chapter(round: usize, n: usize) -> Vec<u8> {
    let paragraph = |p| {
        format!(
            "Chapter {n} has a paragraph {p} that begins here. It goes on for a while, and comes to its end.\n\n\
             This is the refrain of round {round}.\n\n"
        )
    };
    (1..=12).map(paragraph).collect::<String>().into_bytes()
}
