//! What became of it: each promise held against the sandbox's books, the outputs, the spool and the ledger.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tempfile::TempDir;
use wavebatch::sandbox::{Books, Record};

use super::{
    BUCKET, CAPS, Deeds, Plan, S3Server,
    ledger::{Call, Ledger},
    work::{Batch, Kind, Work},
};

/// Numbers, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Verdict {
    message: Vec<String>,
    /// Promises that were broken, in words.
    pub broken: Vec<String>,
    /// Kills, all in all.
    pub kills: u64,
    /// Of these, by moment.
    pub moments: BTreeMap<&'static str, u64>,
}

pub(super) struct Evidence<'a> {
    pub plan: &'a Plan,
    pub deeds: &'a Deeds,
    pub disturbed: Duration,
    pub work: &'a Work,
    pub books: Books,
    pub s3: &'a S3Server,
    pub ledger: Ledger,
    pub spool: Spool,
    pub dir: PathBuf,
    pub clean: TempDir,
    pub last: ExitStatus,
}

/// Where bought speech is kept.
pub(super) enum Spool {
    /// Beside the ledger.
    Folder,
    /// Below this name in the bucket. What is only of one machine is in the folders of the nodes.
    Bucket { name: &'static str, nodes: Vec<PathBuf> },
}

impl Evidence<'_> {
    /// What a batch delivered under this name, wherever it delivers to.
    fn output(&self, batch: &Batch, name: &str) -> Option<Vec<u8>> {
        if batch.in_bucket {
            return self.s3.get(BUCKET, &format!("{}/{name}", batch.name)).map(|object| object.to_vec());
        }
        fs::read(self.dir.join("out").join(&batch.name).join(name)).ok()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        self.broken.iter().try_for_each(|line| writeln!(f, "BROKEN    {line}"))
    }
}

impl Verdict {
    pub(super) async fn find(mut evidence: Evidence<'_>) -> Self {
        let mut verdict = Self::default();
        let calls = evidence.ledger.calls().await;
        verdict.deeds(&evidence);
        verdict.lines(&mut evidence).await;
        verdict.outputs(&evidence);
        verdict.transcripts(&evidence);
        verdict.synthesis(&evidence, &calls);
        verdict.caps(&evidence);
        verdict.ledger(&mut evidence, &calls).await;
        match &evidence.spool {
            Spool::Folder => verdict.spool_folder(&evidence, &calls),
            Spool::Bucket { name, nodes } => verdict.spool_bucket(&evidence, &calls, (name, nodes)),
        }
        verdict.broken.extend(evidence.deeds.broken.iter().cloned());
        if verdict.broken.is_empty() {
            fs::remove_dir_all(&evidence.dir).expect("its own folder");
        } else {
            verdict.message(format!("kept      {}", evidence.dir.display()));
        }
        verdict
    }

    fn message(&mut self, line: String) {
        self.message.push(line);
    }

    fn holds(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(otherwise());
        }
    }

    fn deeds(&mut self, evidence: &Evidence<'_>) {
        let Evidence { plan, deeds, disturbed, work, last, .. } = evidence;
        let moments: Vec<_> = deeds.kills.iter().map(|(moment, times)| format!("{moment} {times}")).collect();
        (self.kills, self.moments) = (deeds.kills(), deeds.kills.clone());
        self.message(format!("seed      {}", plan.seed));
        self.message(format!(
            "deeds     {} kills, {} stops, {} submitters killed, {} outputs refused in {:.0} s; {} batches",
            deeds.kills(),
            deeds.stops,
            deeds.submits_killed,
            deeds.refused,
            disturbed.as_secs_f64(),
            work.batches.len()
        ));
        self.message(format!("moments   {}", moments.join(", ")));
        for (what, times) in &deeds.others {
            self.message(format!("          {times} {what}"));
        }
        self.holds(last.success(), || format!("the last run: {last}"));
    }

    /// Every line finished once: one row of its report, and one in the ledger.
    async fn lines(&mut self, evidence: &mut Evidence<'_>) {
        let mut lines = 0;
        for (name, left) in evidence.ledger.unfinished().await.expect("the ledger") {
            self.holds(false, || format!("{name} is not finished, {left} lines are left"));
        }
        let counted = evidence.ledger.lines().await;
        for batch @ Batch { name, lines: wanted, .. } in &evidence.work.batches {
            lines += wanted.len();
            let well = counted.get(&(name.clone(), "succeeded".into())).copied().unwrap_or_default();
            let all: i64 = counted.iter().filter(|((batch, _), _)| batch == name).map(|(_, lines)| lines).sum();
            let expected = i64::try_from(wanted.len()).expect("small");
            self.holds((well, all) == (expected, expected), || {
                format!("{name}: {well} of {all} lines, not {expected}")
            });
            let rows = report(&evidence.output(batch, "report.csv").unwrap_or_default());
            let keys: HashSet<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
            let same = wanted.iter().all(|(key, _)| keys.contains(key.as_str()));
            let once = rows.len() == wanted.len() && keys.len() == rows.len() && same;
            let well = rows.iter().all(|(_, state)| state == "succeeded");
            self.holds(once && well, || format!("{name}: its report has {} rows: {rows:?}", rows.len()));
        }
        self.message(format!("lines     {lines}, each finished once"));
    }

    /// Outputs are right for their line, byte for byte.
    fn outputs(&mut self, evidence: &Evidence<'_>) {
        let (mut texts, mut clips, mut in_bucket) = (0, 0, 0);
        for batch in &evidence.work.batches {
            let place = evidence.clean.path().join("out").join(&batch.name);
            in_bucket += if batch.in_bucket { batch.lines.len() } else { 0 };
            for (key, words) in &batch.lines {
                let output = |ending| evidence.output(batch, &format!("{key}.{ending}"));
                let name = || format!("{}/{key}", batch.name);
                if batch.kind == Kind::Book {
                    let (have, want) = (output("wav"), fs::read(place.join(format!("{key}.wav"))).ok());
                    let same = have == want && have.is_some_and(|have| !have.is_empty());
                    self.holds(same, || format!("{}: other audio than undisturbed", name()));
                    clips += 1;
                    continue;
                }
                let text = output("txt").unwrap_or_default();
                let json = output("json").unwrap_or_default();
                let json: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
                let same = text == format!("{words}\n").into_bytes() && json["transcription"] == words.as_str();
                self.holds(same, || format!("{}: {:?}, {json}", name(), String::from_utf8_lossy(&text)));
                texts += 1;
            }
        }
        self.message(format!(
            "outputs   {texts} transcripts and {clips} chapters, byte for byte; {in_bucket} of them in a bucket"
        ));
        self.bucket(evidence);
    }

    /// In the bucket is what its batches deliver, and nothing else.
    fn bucket(&mut self, evidence: &Evidence<'_>) {
        let mut expected = HashSet::new();
        for batch in evidence.work.batches.iter().filter(|batch| batch.in_bucket) {
            let endings: &[&str] = if batch.kind == Kind::Book { &["wav"] } else { &["txt", "json"] };
            let outputs = batch.lines.iter().flat_map(|(key, _)| endings.iter().map(move |e| format!("{key}.{e}")));
            let all = outputs.chain(["report.csv".to_owned(), "summary.json".to_owned()]);
            expected.extend(all.map(|name| format!("{}/{name}", batch.name)));
        }
        let mut have: HashSet<String> = evidence.s3.keys(BUCKET).into_iter().collect();
        if let Spool::Bucket { name, .. } = &evidence.spool {
            have.retain(|key| !key.starts_with(name));
        }
        let other: Vec<_> = have.symmetric_difference(&expected).collect();
        self.holds(other.is_empty(), || format!("missing or unknown in the bucket: {other:?}"));
        let uploads = evidence.s3.uploads();
        self.holds(uploads == 0, || format!("{uploads} uploads were left behind"));
    }

    /// The log can prove each recording's call: none is bought twice.
    fn transcripts(&mut self, evidence: &Evidence<'_>) {
        let mut bought: HashMap<&str, u64> = HashMap::new();
        let (stt, _) = by_kind(&evidence.books);
        for record in stt.iter().filter(|record| record.billed) {
            *bought.entry(record.sha256.as_deref().unwrap_or_default()).or_default() += 1;
        }
        // What is posted is billed with its callback, so that its record does not know yet.
        let contents = &evidence.books.contents;
        for sha in stt.iter().filter_map(|record| record.sha256.as_deref()) {
            bought.insert(sha, contents.get(sha).map_or(0, |content| content.billed));
        }
        let twice = bought.values().filter(|times| **times > 1).count();
        let lines = evidence.work.batches.iter().filter(|b| b.kind != Kind::Book).map(|b| b.lines.len()).sum::<usize>();
        self.message(format!("bought    {} recordings for {lines} lines; {twice} of them twice", bought.len()));
        self.holds(twice == 0, || format!("{twice} recordings were paid for again though the log proved their calls"));
        self.holds(bought.len() == lines && bought.values().all(|times| *times > 0), || "not all were bought".into());
    }

    /// Nothing proves a part's call but its file: one more for each that was in flight at a kill, and none for a part that
    /// was answered.
    fn synthesis(&mut self, evidence: &Evidence<'_>, calls: &[Call]) {
        let (_, tts) = by_kind(&evidence.books);
        let known: HashMap<&str, &Call> = calls.iter().map(|call| (call.id.as_str(), call)).collect();
        let mut answered: HashMap<&str, i64> = HashMap::new();
        for call in calls.iter().filter(|call| call.state == "answered") {
            if let Some(cache_key) = &call.cache_key {
                let at = answered.entry(cache_key).or_insert(call.ended_at);
                *at = call.ended_at.min(*at);
            }
        }
        let mut parts: HashMap<&str, (u64, u64)> = HashMap::new();
        let (mut late, mut unlisted_values) = (0, 0);
        for record in tts.iter().filter(|record| record.billed) {
            let id = record.sent_id.as_deref().unwrap_or_default().replace('-', "");
            let Some(call) = known.get(id.as_str()) else {
                unlisted_values += 1;
                continue;
            };
            let (billed, excused) = parts.entry(call.cache_key.as_deref().unwrap_or_default()).or_default();
            *billed += 1;
            let was_in_flight = evidence.deeds.in_flight.contains(&id);
            *excused += u64::from(was_in_flight);
            let kept_at =
                call.cache_key.as_deref().and_then(|cache_key| answered.get(cache_key)).copied().unwrap_or(i64::MAX);
            // A process that is stopped between its permit and its request sends that when it goes on.
            late += u64::from(record.at_ms > kept_at && !was_in_flight);
        }
        let again: u64 = parts.values().map(|(billed, _)| billed - 1).sum();
        let unexcused = parts.values().filter(|(billed, excused)| billed - 1 > *excused).count();
        self.message(format!(
            "spoken    {} parts; {again} calls more, each for one that was in flight at a kill; {late} after an answer",
            parts.len()
        ));
        self.holds(unlisted_values == 0, || format!("{unlisted_values} calls of which the ledger knows nothing"));
        self.holds(late == 0, || format!("{late} parts were paid for again after they were answered"));
        self.holds(unexcused == 0, || format!("{unexcused} parts were paid for again that were in flight at no kill"));
    }

    fn caps(&mut self, evidence: &Evidence<'_>) {
        let mut message = Vec::new();
        for (pool, cap) in CAPS {
            let model = evidence.books.models.get(pool).copied().unwrap_or_default();
            message.push(format!("{pool} {} of {cap}", model.peak_in_flight));
            self.holds(model.peak_in_flight <= cap, || format!("{pool}: {} in flight", model.peak_in_flight));
            let most = evidence.plan.requests_per_minute;
            if pool == "pulse" && most > 0 {
                message.push(format!("{} a minute of {most}", model.most_in_a_minute));
                self.holds(model.most_in_a_minute <= most, || format!("{} calls in a minute", model.most_in_a_minute));
            }
        }
        self.message(format!("caps      {}", message.join(", ")));
    }

    async fn ledger(&mut self, evidence: &mut Evidence<'_>, calls: &[Call]) {
        let integrity = evidence.ledger.integrity().await;
        let mut by_state: BTreeMap<&str, u64> = BTreeMap::new();
        let mut answers: HashMap<&(String, String, i64), u64> = HashMap::new();
        for call in calls {
            *by_state.entry(&call.state).or_default() += 1;
            *answers.entry(&call.part).or_default() += u64::from(call.state == "answered");
        }
        let paid =
            calls.iter().filter(|c| ["answered", "lost", "surplus", "replaced"].contains(&c.state.as_str())).count();
        let billed = evidence.books.billed;
        self.message(format!("ledger    {integrity}; {by_state:?}; {paid} may be billed, {billed} were"));
        self.holds(integrity == "ok", || integrity.clone());
        self.holds(paid as u64 >= billed, || format!("the ledger counts {paid} calls, and {billed} were billed"));
        self.holds(answers.values().all(|answers| *answers <= 1), || "a part has two answers".into());
        let processes = evidence.ledger.processes().await;
        self.holds(processes == 0, || format!("{processes} processes are entered, and none is left"));
    }

    /// Nothing lies in the spool, or beside the ledger, that no row knows.
    fn spool_folder(&mut self, evidence: &Evidence<'_>, calls: &[Call]) {
        let known: HashSet<&str> = calls.iter().filter_map(|call| call.cache_key.as_deref()).collect();
        let (mut files, mut unknown) = (0, Vec::new());
        let spool = evidence.dir.join("wavebatch.db-spool");
        for entry in walk(&spool) {
            files += 1;
            let stem = entry.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_list = stem.starts_with("voices-");
            let is_bought = entry.starts_with(spool.join("speech")) && known.contains(stem);
            if !is_list && !is_bought {
                unknown.push(entry);
            }
        }
        unknown.extend(walk(&evidence.dir).into_iter().filter(|path| path.extension().is_some_and(|e| e == "lock")));
        let outputs = walk(&evidence.dir.join("out"));
        unknown.extend(outputs.into_iter().filter(|path| name_of(path).starts_with(".wavebatch-tmp-")));
        self.message(format!("spool     {files} files, {} unknown there or in the outputs", unknown.len()));
        self.holds(unknown.is_empty(), || format!("files that no row knows: {unknown:?}"));
    }

    /// The bucket has bought speech alone, under keys that the ledger knows. An object without its row is of a process that
    /// died between the two: it goes a day later. The nodes keep nothing.
    fn spool_bucket(&mut self, evidence: &Evidence<'_>, calls: &[Call], (name, nodes): (&str, &[PathBuf])) {
        let known: HashSet<&str> = calls.iter().filter_map(|call| call.cache_key.as_deref()).collect();
        let bucket = evidence.s3.keys(BUCKET);
        let objects: Vec<&str> = bucket.iter().filter_map(|key| key.strip_prefix(name)).collect();
        let clip = |key: &&&str| {
            key.rsplit('/').next().and_then(|file| file.split_once('.')).is_some_and(|(clip, _)| known.contains(clip))
        };
        let (clips, others): (Vec<&str>, Vec<&str>) = objects.iter().partition(|key| clip(key));
        let unknown: Vec<_> = others.iter().filter(|key| !key.ends_with("/writable")).collect();
        let is_ours =
            |path: &PathBuf| path.extension().is_some_and(|e| e == "log") || name_of(path).starts_with("voices-");
        let left: Vec<PathBuf> = nodes.iter().flat_map(|node| walk(node)).filter(|path| !is_ours(path)).collect();
        self.message(format!(
            "spool     {} objects; {} unknown there, {} files left on the nodes",
            clips.len(),
            unknown.len(),
            left.len()
        ));
        self.holds(unknown.is_empty(), || format!("objects that no row knows: {unknown:?}"));
        self.holds(left.is_empty(), || format!("files that are left on nodes: {left:?}"));
    }
}

/// Records of transcription, and of synthesis.
fn by_kind(books: &Books) -> (Vec<&Record>, Vec<&Record>) {
    books.requests.iter().partition(|record| record.path.contains("/stt"))
}

/// Key and state of each row.
fn report(content: &[u8]) -> Vec<(String, String)> {
    if content.is_empty() {
        return Vec::new();
    }
    let mut report = csv::Reader::from_reader(content);
    let header = report.headers().cloned().unwrap_or_default();
    let at = |name: &str| header.iter().position(|column| column == name).expect("that column");
    let (key, state) = (at("key"), at("status"));
    report.records().map(|row| row.expect("a row")).map(|row| (row[key].to_owned(), row[state].to_owned())).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(dir).into_iter().filter_map(Result::ok);
    files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_owned()).collect()
}
