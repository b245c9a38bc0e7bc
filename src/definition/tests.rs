//! Definitions on disk: the whole example, every kind of fault, and the overrides of the command line.

use std::{fs, time::Duration};

use super::*;
use crate::domain::{
    batch::{LineOption, MicroUsd, OnLostWords, OnUnknown},
    options::{ExpireContent, SendMode, TranscriptFormat},
    transcription::Transcription,
};

const WHOLE: &str = r#"
name = "support-calls"
task = "transcribe"
batch = "{name}"
manifest = "calls.csv"
output = "out/{batch}/"
columns = { key = "call_id", source = "recording_url" }
option_columns = ["language"]
bad_lines = "skip"

[transcribe]
model = "pulse"
language = "en"
word_timestamps = true
redact = "best_effort"
expire_content = "try"
formats = ["json", "txt", "srt", "vtt"]
send = "auto"
allow_silence = false

[run]
concurrency = 8
max_tries = 6
max_billed_calls = 4
on_unknown = "park"
on_lost_words = "redo"
max_spend_usd = 5.0
tolerate = "2%"
call_timeout = "15m"
unknown_grace = "30s"
outage_limit = "1h"
pause_on_failures = false
keep_answers = "7d"

[report]
transcript = false
"#;

const SMALL: &str =
    "task = \"transcribe\"\nmanifest = \"calls.csv\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n";

fn load(text: &str, over: Overrides) -> (tempfile::TempDir, Result<Definition, Faults>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("jobs")).unwrap();
    fs::write(dir.path().join("jobs/a.toml"), text).unwrap();
    fs::write(dir.path().join("jobs/calls.csv"), "call_id,recording_url\n1,https://x.org/1.wav\n").unwrap();
    let over = Overrides { working_dir: Some(dir.path().to_path_buf()), ..over };
    let loaded = Definition::load(Path::new("jobs/a.toml"), crate::tasks::Registry::built_in().definitions(), &over);
    (dir, loaded)
}

fn faults(text: &str) -> Vec<String> {
    let (_dir, loaded) = load(text, Overrides::default());
    loaded.unwrap_err().list.iter().map(ToString::to_string).collect()
}

#[test]
fn the_whole_example_is_read() {
    let (dir, loaded) = load(WHOLE, Overrides::default());
    let definition = loaded.unwrap();
    let root = dir.path().canonicalize().unwrap();
    assert_eq!((definition.name.as_str(), definition.batch.as_str()), ("support-calls", "support-calls"));
    assert_eq!(definition.manifest, "jobs/calls.csv");
    assert_eq!(definition.output, root.join("jobs/out/support-calls"));
    assert_eq!(definition.origin, Origin::File(root.join("jobs/calls.csv")));
    assert_eq!(definition.transcribing().unwrap().options.expire_content, ExpireContent::Try);
    assert!(definition.transcribing().unwrap().options.word_timestamps == Some(true));
    let run = &definition.run;
    assert_eq!((run.on_unknown, run.on_lost_words), (OnUnknown::Park, OnLostWords::Redo));
    assert_eq!((run.max_spend_usd, run.tolerate), (Some(MicroUsd(5_000_000)), 0.02));
    assert_eq!(run.keep_answers, Duration::from_secs(7 * 86_400));
    assert_eq!(run.call_timeout, Some(Duration::from_secs(900)));
    assert!(!run.pause_on_failures && !definition.report.transcript);
    let manifest = Manifest::open(&definition, None).unwrap();
    let scan = manifest.scan(ScanDepth::Faults).unwrap();
    let spec = definition.spec(&scan.columns);
    assert_eq!(
        (spec.manifest.as_str(), spec.task.read::<Transcription>().unwrap().formats.len(), spec.carried.len()),
        ("jobs/calls.csv", 4, 0)
    );
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<BatchSpec>(&json).unwrap(), spec);
}

#[test]
fn a_small_one_has_the_defaults() {
    let (dir, loaded) = load(SMALL, Overrides::default());
    let definition = loaded.unwrap();
    assert_eq!((definition.name.as_str(), definition.batch.as_str()), ("a", "a"));
    assert_eq!(definition.output, dir.path().canonicalize().unwrap().join("jobs/out/a"));
    assert_eq!(definition.run, RunSettings::default());
    assert_eq!(definition.transcribing().unwrap().formats, [TranscriptFormat::Json, TranscriptFormat::Txt]);
    assert_eq!(definition.transcribing().unwrap().option_columns, LineOption::ALL);
    assert!(definition.report.transcript && definition.notes().is_empty());
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let text = r#"name = "a"
task = "transcibe"
manifst = "calls.csv"
diarize = true
output = "out/{bach}/"
batch = "a/b"
bad_lines = "ignore"
option_columns = ["languages", "model"]

[transcribe]
model = "p/uls"
language = ""
word_timestamps = "yes"
formats = ["json", "str"]
zzz = 1

[run]
max_tries = 0
concurrency = "8"
tolerate = "5"
call_timeout = "15"
outage_limit = "0s"
max_spend_usd = -1
"#;
    let message = faults(text);
    let starts = [
        "jobs/a.toml:2:8: `task`: `transcibe` is not a task; did you mean `transcribe`?",
        "jobs/a.toml:3:1: `manifst`: there is no such field; did you mean `manifest`?",
        "jobs/a.toml:4:1: `diarize`: there is no such field here; did you mean `transcribe.diarize`?",
        "jobs/a.toml:7:13: `bad_lines`: `ignore` is not a policy for bad lines",
        "jobs/a.toml:8:19: `option_columns`: `languages` is not a transcription option; did you mean `language`?",
        "jobs/a.toml:11:9: `transcribe.model`: `p/uls` cannot be a model",
        "jobs/a.toml:12:12: `transcribe.language`: `` cannot be a language",
        "jobs/a.toml:13:19: `transcribe.word_timestamps`: must be true or false, not a string",
        "jobs/a.toml:14:20: `transcribe.formats`: `str` is not a format; did you mean `srt`?",
        "jobs/a.toml:15:1: `transcribe.zzz`: there is no such field; known here: `model`, `language`",
        "jobs/a.toml:18:13: `run.max_tries`: 0 is not between 1 and",
        "jobs/a.toml:19:15: `run.concurrency`: must be a whole number, not a string",
        "jobs/a.toml:20:12: `run.tolerate`: `5` is not a share; write \"0%\" to \"100%\"",
        "jobs/a.toml:21:16: `run.call_timeout`: `15` is not a duration",
        "jobs/a.toml:22:16: `run.outage_limit`: must be above zero",
        "jobs/a.toml:23:17: `run.max_spend_usd`: `-1` is not an amount",
        "jobs/a.toml:6:9: `batch`: `a/b` cannot name a batch",
        "jobs/a.toml:5:10: `output`: `{bach}` is not known here; did you mean `batch`?; known: `{name}`, `{batch}`, `{date}`",
        "jobs/a.toml: `manifest`: is missing",
    ];
    assert_eq!(message.len(), starts.len(), "{message:#?}");
    for start in starts {
        assert!(message.iter().any(|fault| fault.starts_with(start)), "{start}\n{message:#?}");
    }
}

#[test]
fn options_that_cannot_go_together_are_told_at_their_line() {
    let with = |options: &str| faults(&format!("{}{options}", SMALL.replace("\"pulse\"", "\"pulse-pro\"")));
    assert!(with("send = \"url\"\n")[0].starts_with("jobs/a.toml:6:8: `transcribe.send`: `pulse-pro` takes no URLs"));
    let hindi = SMALL.replace("\"en\"", "\"hi\"").replace("\"pulse\"", "\"pulse-pro\"");
    assert!(faults(&hindi)[0].starts_with("jobs/a.toml:5:12: `transcribe.language`: `pulse-pro` transcribes English"));
    let german = SMALL.replace("\"en\"", "\"de\"");
    let message = faults(&format!("{german}redact_pii = true\n"));
    assert!(message[0].starts_with("jobs/a.toml:6:14: `transcribe.redact_pii`: the API redacts only"), "{message:?}");
    assert!(load(&format!("{german}redact_pii = true\nredact = \"best_effort\"\n"), Overrides::default()).1.is_ok());
}

#[test]
fn what_is_not_toml_is_told_by_line() {
    let message = faults("name = \"a\"\ntask = \n");
    assert!(message[0].starts_with("jobs/a.toml:2:"), "{message:?}");
    let message = faults(&format!("{SMALL}language = \"hi\"\n"));
    assert!(message[0].starts_with("jobs/a.toml:6:1: "), "{message:?}");
    let missing = Definition::load(
        Path::new("/nowhere/x.toml"),
        crate::tasks::Registry::built_in().definitions(),
        &Overrides::default(),
    )
    .unwrap_err();
    assert_eq!(missing.to_string(), "/nowhere/x.toml: there is no such file");
}

#[test]
fn the_manifests_faults_are_told_with_the_definitions() {
    let text = format!("{SMALL}zzz = 1\n[columns]\nkey = \"call_id\"\nsource = \"recording_url\"\n");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), text).unwrap();
    fs::write(dir.path().join("calls.csv"), "call_id,recording_url,model\n..,/1.wav,\n2,/2.wav,pu ls\n").unwrap();
    let over = Overrides { working_dir: Some(dir.path().to_path_buf()), ..Overrides::default() };
    let message = Definition::load(Path::new("a.toml"), crate::tasks::Registry::built_in().definitions(), &over)
        .unwrap_err()
        .to_string();
    let starts = ["a.toml:6:1: `transcribe.zzz`", "calls.csv:2: column `call_id`", "calls.csv:3: column `model`"];
    assert_eq!(message.lines().count(), starts.len(), "{message}");
    assert!(message.lines().zip(starts).all(|(line, start)| line.starts_with(start)), "{message}");
}

#[test]
fn what_is_missing_is_told() {
    let message = faults("[transcribe]\nmodel = \"pulse\"\n");
    assert_eq!(message.len(), 3, "{message:?}");
    assert!(message.contains(&"jobs/a.toml:1:1: `transcribe.language`: is missing; e.g. language = \"en\"".to_owned()));
    let message = faults(&SMALL.replace("calls.csv", "none.csv"));
    assert_eq!(message, ["jobs/a.toml:2:12: `manifest`: there is no such file"]);
}

#[test]
fn the_command_line_goes_first() {
    let options = vec![("send", "bytes".to_owned()), ("diarize", "true".to_owned())];
    let over = Overrides {
        batch: Some("{name}-2".into()),
        output: Some("o/{batch}".into()),
        formats: Some(vec!["srt".into(), "srt".into()]),
        concurrency: Some(3),
        max_spend: Some(MicroUsd(1)),
        limit: Some(1),
        options,
        ..Overrides::default()
    };
    let (dir, loaded) = load(WHOLE, over);
    let definition = loaded.unwrap();
    assert_eq!(definition.batch.as_str(), "support-calls-2");
    assert_eq!(definition.output, dir.path().canonicalize().unwrap().join("o/support-calls-2"));
    assert_eq!((definition.run.concurrency, definition.run.max_spend_usd), (Some(3), Some(MicroUsd(1))));
    let asked = definition.transcribing().unwrap();
    assert_eq!((asked.formats.len(), definition.limit), (1, Some(1)));
    assert!(asked.options.diarize && asked.options.send == SendMode::Bytes);

    let options = vec![("language", "hi".to_owned())];
    let text = SMALL.replace("\"pulse\"", "\"pulse-pro\"");
    let message = load(&text, Overrides { options, ..Overrides::default() }).1.unwrap_err().to_string();
    assert!(message.starts_with("`--language`: `pulse-pro` transcribes English only"), "{message}");
}

#[test]
fn ad_hoc_batches_are_named_after_their_sources() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["calls.csv", "list.jsonl.gz", "rec/a.wav", "rec/b.mp3", "c.wav"] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let options = vec![("model", "pulse".to_owned()), ("language", "en".to_owned())];
    let over = Overrides { working_dir: Some(dir.path().to_path_buf()), options, ..Overrides::default() };
    let ad_hoc = |sources: &[&str], over: &Overrides| {
        let sources = sources.iter().map(|s| (*s).to_owned()).collect();
        Definition::ad_hoc(
            &AdHoc { task: Transcription::TASK, sources },
            crate::tasks::Registry::built_in().definitions(),
            over,
        )
    };
    for (sources, batch, manifest) in [
        (&["calls.csv"][..], "calls", "calls.csv"),
        (&["list.jsonl.gz"], "list", "list.jsonl.gz"),
        (&["rec/"], "rec", "rec/"),
        (&["rec/*.wav"], "rec", "rec/*.wav"),
        (&["rec/a.wav"], "a", "rec/a.wav"),
        (&["rec/a.wav", "rec/b.mp3"], "rec", "2 files"),
        (&["rec/a.wav", "c.wav"], "files", "2 files"),
        (&["https://x.org/lists/day%201.csv?sig=1"], "day 1", "https://x.org/lists/day%201.csv"),
        (&["https://x.org/a.mp3?sig=1"], "a", "https://x.org/a.mp3"),
    ] {
        let definition = ad_hoc(sources, &over).unwrap();
        assert_eq!((definition.batch.as_str(), definition.manifest.as_str()), (batch, manifest), "{sources:?}");
        assert_eq!(definition.output, dir.path().canonicalize().unwrap().join("out").join(batch));
    }
    let message = ad_hoc(&["calls.csv"], &Overrides { options: Vec::new(), ..over.clone() }).unwrap_err();
    assert!(message.to_string().starts_with("`--model`: is missing\n`--language`: is missing"), "{message}");
    let message = ad_hoc(&["gone.wav"], &over).unwrap_err().to_string();
    assert!(message.contains("there is no such file"), "{message}");
    let message = ad_hoc(&["gs://b/calls.csv"], &over).unwrap_err().to_string();
    assert!(message.contains("`gs:` addresses cannot be read"), "{message}");
}
