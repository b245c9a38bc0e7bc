//! What the reference says that a change of a field means for finished lines, held against what `run` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use walkdir::WalkDir;
use wavebatch::{
    definition,
    definition::fields::{Field, FieldChange, FieldTable},
    tasks::Registry,
};

use crate::{
    cli,
    support::{Fixture, service::program, synthesis},
};

/// The definition whose batch is finished, by its tables.
type Tables = BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>;

fn tables(of: &[(&'static str, &[(&'static str, &'static str)])]) -> Tables {
    of.iter().map(|(table, fields)| (*table, fields.iter().copied().collect())).collect()
}

fn toml(tables: &Tables) -> String {
    let table = |(name, fields): (&&str, &BTreeMap<&str, &str>)| {
        let lines: String = fields.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        if name.is_empty() { lines } else { format!("[{name}]\n{lines}") }
    };
    tables.iter().map(table).collect()
}

/// A folder with a finished batch, which is brought back before each change. It stays where it is, because a batch knows
/// where its outputs are.
struct Finished<'f> {
    fixture: &'f Fixture,
    base: Tables,
    work: PathBuf,
    saved: PathBuf,
}

impl<'f> Finished<'f> {
    fn new(fixture: &'f Fixture, name: &str, base: Tables, fill: impl Fn(&Path)) -> Self {
        let (work, saved) = (fixture.path(name), fixture.path(&format!("{name}-saved")));
        fs::create_dir_all(&work).unwrap();
        fill(&work);
        let this = Self { fixture, base, work, saved };
        let (code, said, _) = this.run(&this.base);
        assert_eq!(code, 0, "{said}");
        copy(&this.work, &this.saved);
        this
    }

    /// Exit status, messages and summary of a run.
    fn run(&self, tables: &Tables) -> (i32, String, Option<Value>) {
        fs::write(self.work.join("d.toml"), toml(tables)).unwrap();
        let mut command = program(self.fixture, &["run", "d.toml", "--json"]);
        let output = command.current_dir(&self.work).stdout(Stdio::piped()).output().unwrap();
        (cli::code(&output), cli::stderr(&output), serde_json::from_slice(&output.stdout).ok())
    }

    /// What one other value does, and what the run says.
    fn change(&self, table: &'static str, field: &'static str, value: &'static str) -> (Option<FieldChange>, String) {
        fs::remove_dir_all(&self.work).unwrap();
        copy(&self.saved, &self.work);
        let mut tables = self.base.clone();
        assert_ne!(tables.entry(table).or_default().insert(field, value), Some(value));
        if field == "voices" {
            tables.get_mut(table).unwrap().remove("voice_id");
        }
        let before = (self.keys(), self.outputs());
        let (code, said, summary) = self.run(&tables);
        if code == 2 && said.contains("--rebuy") {
            return (Some(FieldChange::Pays), said);
        }
        let Some(summary) = summary.filter(|_| code == 0) else { return (None, format!("status {code}: {said}")) };
        let calls = summary["this_run"]["calls"].as_u64().unwrap();
        let change = match () {
            () if summary["batch"] != "d" => FieldChange::Batch,
            () if calls > 0 || self.keys() != before.0 => FieldChange::Lines,
            () if self.outputs() != before.1 => FieldChange::Writes,
            () => FieldChange::Nothing,
        };
        (Some(change), said)
    }

    /// The keys of the batch's lines.
    fn keys(&self) -> BTreeSet<String> {
        let mut command = program(self.fixture, &["report", "d", "-o", "-"]);
        let output = command.current_dir(&self.work).stdout(Stdio::piped()).output().unwrap();
        let mut report = csv::Reader::from_reader(&output.stdout[..]);
        let key = report.headers().unwrap().iter().position(|column| column == "key").expect("a report has keys");
        report.records().map(|row| row.unwrap()[key].to_owned()).collect()
    }

    /// The outputs, each with what changes when it is written again.
    fn outputs(&self) -> BTreeSet<(PathBuf, u64)> {
        let files =
            WalkDir::new(&self.work).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
        let is_report = |path: &Path| path.ends_with("report.csv") || path.ends_with("summary.json");
        files
            .filter(|entry| {
                entry.path().components().any(|part| part.as_os_str() == "outputs") && !is_report(entry.path())
            })
            .map(|entry| (entry.path().to_owned(), entry.metadata().unwrap().ino()))
            .collect()
    }
}

/// A copy with the same times.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn field_of(task: &str, table: &str, field: &str) -> Field {
    let registry = Registry::built_in();
    let own = registry.definitions().iter().find(|one| one.name().as_str() == task).unwrap().fields();
    let all: Vec<&FieldTable> = definition::TABLES.iter().chain(own).filter(|one| one.name == table).collect();
    let found = all.iter().flat_map(|table| table.fields).find(|one| one.name == field);
    *found.unwrap_or_else(|| panic!("no {table}.{field} of {task}"))
}

fn hold(finished: &Finished<'_>, task: &str, changes: &[(&'static str, &'static str, &'static str)]) {
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (table, field, value) in changes {
        let (change, said) = finished.change(table, field, value);
        let documented = field_of(task, table, field).change.unwrap();
        seen.insert(documented.as_str());
        if change != Some(documented) {
            wrong.push(format!("{table}.{field} = {value}: {change:?}, and not {documented:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{task}: {} of {}\n{}", wrong.len(), changes.len(), wrong.join("\n"));
    assert_eq!(seen.len(), FieldChange::ALL.len(), "a sample of each: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_transcriptions_field_does_what_the_reference_says() {
    let fixture = Fixture::new().await;
    let base = tables(&[
        ("", &[("task", "\"transcribe\""), ("manifest", "\"lines.csv\""), ("output", "\"outputs/{batch}/\"")]),
        ("columns", &[("key", "\"id\""), ("source", "\"rec\"")]),
        ("transcribe", &[("model", "\"pulse\""), ("language", "\"en\"")]),
    ]);
    let finished = Finished::new(&fixture, "calls", base, |dir| {
        for (name, number) in [("a.wav", 1), ("b.wav", 2), ("c.wav", 3)] {
            fs::write(dir.join(name), synthesis("Good morning.", 1.0, number)).unwrap();
        }
        fs::write(dir.join("lines.csv"), "id,number,rec,other\nx,1,a.wav,c.wav\ny,2,b.wav,b.wav\n").unwrap();
        fs::write(dir.join("longer.csv"), "id,number,rec,other\nx,1,a.wav,c.wav\ny,2,b.wav,b.wav\nz,3,c.wav,c.wav\n")
            .unwrap();
    });
    let changes = [
        ("", "name", "\"e\""),
        ("", "batch", "\"e\""),
        ("", "manifest", "\"longer.csv\""),
        ("", "output", "\"outputs/elsewhere/\""),
        ("", "allow_empty", "true"),
        ("columns", "key", "\"number\""),
        ("columns", "source", "\"other\""),
        ("transcribe", "model", "\"pulse-pro\""),
        ("transcribe", "language", "\"hi\""),
        ("transcribe", "word_timestamps", "true"),
        ("transcribe", "diarize", "true"),
        ("transcribe", "redact_pii", "true"),
        ("transcribe", "redact_pci", "true"),
        ("transcribe", "redact", "\"best_effort\""),
        ("transcribe", "emotion_detection", "true"),
        ("transcribe", "gender_detection", "true"),
        ("transcribe", "expire_content", "\"try\""),
        ("transcribe", "allow_silence", "true"),
        ("transcribe", "send", "\"bytes\""),
        ("transcribe", "keywords", "[\"Northwind:2\"]"),
        ("transcribe", "formats", "[\"json\", \"srt\"]"),
        ("transcribe", "webhook", "\"never\""),
        ("report", "transcript", "false"),
        ("report", "to", "\"elsewhere.csv\""),
        ("report", "paths", "\"relative\""),
        ("source", "private_redirects", "true"),
        ("source", "report_query", "[\"x\"]"),
        ("run", "concurrency", "3"),
        ("run", "requests_per_minute", "10"),
        ("run", "max_tries", "2"),
        ("run", "max_billed_calls", "2"),
        ("run", "on_unknown", "\"park\""),
        ("run", "on_lost_words", "\"redo\""),
        ("run", "max_spend_usd", "5"),
        ("run", "tolerate", "\"5%\""),
        ("run", "call_timeout", "\"3m\""),
        ("run", "unknown_grace", "\"1m\""),
        ("run", "outage_limit", "\"1h\""),
        ("run", "pause_on_failures", "false"),
        ("run", "priority", "20"),
        ("run", "keep_answers", "\"3d\""),
        ("run", "keep_rows", "\"30d\""),
        ("run", "keep_outputs", "\"90d\""),
        ("run", "mark_uploads", "false"),
        ("schedule", "cron", "\"0 2 * * *\""),
        ("notify", "command", "\"true\""),
        ("extra", "query", "{ x = \"1\" }"),
    ];
    hold(&finished, "transcribe", &changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_synthesis_field_does_what_the_reference_says() {
    let fixture = Fixture::new().await;
    let base = tables(&[
        ("", &[("task", "\"synthesize\""), ("manifest", "\"lines.csv\""), ("output", "\"outputs/{batch}/\"")]),
        ("columns", &[("key", "\"id\"")]),
        ("synthesize", &[("model", "\"lightning_v3.1\""), ("voice_id", "\"voice_own\""), ("part_chars", "60")]),
    ]);
    let finished = Finished::new(&fixture, "texts", base, |dir| {
        let text = "\"Good morning to all of you who are here. It is five in the afternoon by now, and the sun is low.\n\nHow are you?\"";
        fs::write(dir.join("lines.csv"), format!("id,number,text,other\nx,1,{text},Hello.\ny,2,Goodbye.,Goodbye.\n"))
            .unwrap();
        fs::write(dir.join("words.csv"), "word,pronunciation\nmorning,mowning\n").unwrap();
    });
    let changes = [
        ("", "batch", "\"e\""),
        ("", "output", "\"outputs/elsewhere/\""),
        ("columns", "key", "\"number\""),
        ("columns", "text", "\"other\""),
        ("synthesize", "model", "\"lightning_v3.1_pro\""),
        ("synthesize", "voices", "[\"avery\", \"liam\"]"),
        ("synthesize", "voice_id", "\"liam\""),
        ("synthesize", "language", "\"en\""),
        ("synthesize", "speed", "1.5"),
        ("synthesize", "number_pronunciation_language", "\"en\""),
        ("synthesize", "math_notation", "true"),
        ("synthesize", "expire_content", "\"try\""),
        ("synthesize", "formats", "[\"wav\", \"mp3\"]"),
        ("synthesize", "name", "\"{key}-{voice_id}\""),
        ("synthesize", "part_chars", "250"),
        ("synthesize", "max_chars_per_second", "30"),
        ("synthesize", "captions", "[\"srt\"]"),
        ("synthesize", "pronunciations", "\"words.csv\""),
        ("synthesize", "transport", "\"sync\""),
        ("synthesize.pause", "paragraph_ms", "700"),
        ("synthesize.pause", "sentence_ms", "100"),
        ("synthesize.checks", "too_long", "3.0"),
        ("synthesize.checks", "silent", "false"),
        ("report", "text", "true"),
        ("run", "concurrency", "3"),
        ("extra", "query", "{ x = \"1\" }"),
        ("extra", "body", "{ x = 1 }"),
    ];
    hold(&finished, "synthesize", &changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_chats_field_does_what_the_reference_says() {
    let fixture = Fixture::new().await;
    let base = tables(&[
        ("", &[("task", "\"chat\""), ("manifest", "\"lines.csv\""), ("output", "\"outputs/{batch}/\"")]),
        ("columns", &[("key", "\"id\"")]),
        (
            "chat",
            &[("model", "\"electron\""), ("prompt", "\"{said}\""), ("schema", "\"a.json\""), ("max_tokens", "300")],
        ),
    ]);
    let finished = Finished::new(&fixture, "prompts", base, |dir| {
        let schema = |words: &str| {
            format!(
                r#"{{"properties": {{"evidence": {{"type": "string", "description": "{words}"}}, "quote": {{"type": "string"}}}}}}"#
            )
        };
        fs::write(dir.join("a.json"), schema("A quote.")).unwrap();
        fs::write(dir.join("b.json"), schema("Another quote.")).unwrap();
        fs::write(dir.join("tools.json"), "[{\"type\": \"function\", \"function\": {\"name\": \"refund\"}}]").unwrap();
        fs::write(dir.join("few.jsonl"), "{\"user\": \"a\", \"assistant\": \"b\"}\n").unwrap();
        fs::write(dir.join("lines.csv"), "id,number,said\nx,1,Good morning.\ny,2,Goodbye.\n").unwrap();
        fs::write(dir.join("longer.csv"), "id,number,said\nx,1,Good morning.\ny,2,Goodbye.\nz,3,Hello.\n").unwrap();
    });
    let changes = [
        ("", "batch", "\"e\""),
        ("", "manifest", "\"longer.csv\""),
        ("", "output", "\"outputs/elsewhere/\""),
        ("chat", "model", "\"electron-2\""),
        ("chat", "system", "\"Be brief.\""),
        ("chat", "system", "\"Be brief with {number}.\""),
        ("chat", "prompt", "\"He says: {said}\""),
        ("chat", "schema", "\"b.json\""),
        ("chat", "examples", "\"few.jsonl\""),
        ("chat", "temperature", "0.5"),
        ("chat", "top_p", "0.5"),
        ("chat", "max_tokens", "200"),
        ("chat", "seed", "7"),
        ("chat", "stop", "[\"END\"]"),
        ("chat", "tools", "\"tools.json\""),
        ("chat", "too_long", "\"split\""),
        ("chat", "repairs", "2"),
        ("chat", "grounded", "[\"evidence\"]"),
        ("extra", "body", "{ user = \"x\" }"),
        ("run", "concurrency", "3"),
    ];
    hold(&finished, "chat", &changes);
}

#[test]
fn every_field_of_a_definition_says_what_its_change_means() {
    for task in Registry::built_in().definitions().iter() {
        for table in definition::TABLES.iter().chain(task.fields()) {
            for field in table.fields {
                assert!(field.change.is_some(), "{}", table.dotted(field));
            }
        }
    }
}
