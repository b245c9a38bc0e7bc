//! Definitions of dated batches: dates, stores for sources and outputs, and their faults.

use std::fs;

use super::*;
use crate::domain::transcription::Transcription;

const NIGHT: &str = r#"
name = "nightly-calls"
task = "transcribe"
date = "yesterday"
timezone = "Asia/Kolkata"
batch = "{name}-{date}"
manifest = "s3://acme-calls/{date:%Y/%m/%d}/"
output = "s3://acme-transcripts//{date:%Y/%m/%d}"
name_pattern = '^(?<call_id>[^_]+)_(?<agent>[^_]+)_(?<started>\d+)'
include = ["*.wav"]
no_source = "skip"
allow_empty = true
transcribe = { model = "pulse", language = "en" }
[source]
region = "ap-south-1"
[sink]
sse = "aws:kms"
[report]
to = "s3://acme-bi/calls/{batch}.csv"
"#;

const SMALL: &str = "task = \"transcribe\"\ntranscribe = { model = \"pulse\", language = \"en\" }\n";

/// In Kolkata the 21st is half an hour old.
const NOW: &str = "2026-11-20T19:00:00Z";

fn load(text: &str, over: Overrides) -> (tempfile::TempDir, Result<Definition, Faults>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("jobs/rec")).unwrap();
    fs::write(dir.path().join("jobs/a.toml"), text).unwrap();
    fs::write(dir.path().join("jobs/calls.csv"), "key,source\n1,https://x.org/1.wav\n").unwrap();
    let working_dir = Some(dir.path().to_path_buf());
    let over = Overrides { working_dir, now: Some(NOW.parse().unwrap()), ..over };
    let loaded = Definition::load(Path::new("jobs/a.toml"), crate::tasks::Registry::built_in().definitions(), &over);
    (dir, loaded)
}

fn faults_of(text: &str, over: Overrides) -> Vec<String> {
    load(text, over).1.unwrap_err().list.iter().map(ToString::to_string).collect()
}

fn s3(text: &str) -> crate::domain::s3::S3Address {
    text.parse().unwrap()
}

#[test]
fn a_night_is_filled_in() {
    let definition = load(NIGHT, Overrides::default()).1.unwrap();
    assert_eq!(definition.date, Some("2026-11-20".parse().unwrap()));
    assert_eq!((definition.batch.as_str(), definition.dated), ("nightly-calls-2026-11-20", true));
    assert_eq!(definition.origin, Origin::S3Prefix(s3("s3://acme-calls/2026/11/20/")));
    assert!(definition.origin.needs_copy());
    assert_eq!(definition.manifest, "s3://acme-calls/2026/11/20/");
    assert_eq!(definition.output, "s3://acme-transcripts//2026/11/20/");
    assert_eq!(definition.report_to.as_deref(), Some("s3://acme-bi/calls/nightly-calls-2026-11-20.csv"));
    assert_eq!((definition.transcribing().unwrap().no_source, definition.allow_empty), (NoSource::Skip, true));
    assert_eq!(definition.source.region.as_deref(), Some("ap-south-1"));
    let spec = definition.spec(&Columns::default());
    assert_eq!((spec.dated, spec.report_to, spec.manifest_hash), (true, definition.report_to, None));
    assert_eq!((spec.sink.sse.as_deref(), spec.source), (Some("aws:kms"), definition.source));
}

#[test]
fn the_command_line_says_another_day() {
    for (said, date) in [("today", "2026-11-21"), ("yesterday", "2026-11-20"), ("2024-02-29", "2024-02-29")] {
        let over = Overrides { date: Some(said.into()), ..Overrides::default() };
        let definition = load(NIGHT, over).1.unwrap();
        assert_eq!(definition.batch.as_str(), format!("nightly-calls-{date}"));
    }
    let over = Overrides { date: Some("morning".into()), ..Overrides::default() };
    assert_eq!(
        faults_of(NIGHT, over),
        ["`--date`: `morning` is neither \"today\", \"yesterday\" nor a day like \"2026-11-20\""]
    );
    // A day in TOML's own date type. A batch whose name has no date is not a dated batch.
    let text = format!("date = 2026-11-20\nmanifest = \"calls.csv\"\noutput = \"out/{{date:%m}}\"\n{SMALL}");
    let (dir, loaded) = load(&text, Overrides::default());
    let definition = loaded.unwrap();
    assert_eq!((definition.dated, definition.date), (false, Some("2026-11-20".parse().unwrap())));
    assert_eq!(definition.output, dir.path().canonicalize().unwrap().join("jobs/out/11").to_string_lossy());
}

#[test]
fn a_date_that_is_missing_or_wrong_is_told_once_where_it_is() {
    let text = NIGHT.replace("date = \"yesterday\"\n", "");
    let faults = faults_of(&text, Overrides::default());
    let places = ["5:9: `batch`", "6:12: `manifest`", "7:10: `output`"];
    assert_eq!(faults.len(), places.len(), "{faults:#?}");
    for (fault, place) in faults.iter().zip(places) {
        assert_eq!(
            *fault,
            format!(
                "jobs/a.toml:{place}: `{{date}}` needs a date: add date = \"yesterday\" (or \"today\", or a day) to the definition, or say --date"
            )
        );
    }
    let faults = faults_of(&NIGHT.replace("\"yesterday\"", "\"yesterdays\""), Overrides::default());
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with("jobs/a.toml:4:8: `date`: `yesterdays` is neither"));
    let faults = faults_of(&NIGHT.replace("Kolkata", "Kolkatta"), Overrides::default());
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(
        faults[0].starts_with(
            "jobs/a.toml:5:12: `timezone`: `Asia/Kolkatta` is not a time zone; did you mean `Asia/Kolkata`?"
        )
    );
    let faults = faults_of(&NIGHT.replace("%Y/%m/%d}/\"", "%Y/%H}/\""), Overrides::default());
    assert!(faults[0].starts_with("jobs/a.toml:7:12: `manifest`: `%H` is for a time of day or a zone"), "{faults:#?}");
    let faults = faults_of(&NIGHT.replace("-{date}", "-{day}"), Overrides::default());
    assert!(faults[0].ends_with("`batch`: `{day}` is not known here; known: `{name}`, `{date}`"), "{faults:#?}");
    let faults = faults_of(&NIGHT.replace("[^_]+)_(?<agent>", "[^_]+_(?<agent>"), Overrides::default());
    assert_eq!(faults, ["jobs/a.toml:9:16: `name_pattern`: is not a pattern: unclosed group"]);
}

#[test]
fn what_is_below_a_prefix_and_what_is_one_object() {
    for (manifest, origin) in [
        ("s3://b", Origin::S3Prefix(s3("s3://b/"))),
        ("s3://b/2026/11/2", Origin::S3Prefix(s3("s3://b/2026/11/2/"))),
        ("s3://b/day.csv/", Origin::S3Prefix(s3("s3://b/day.csv/"))),
        ("s3://b/{date}.jsonl.gz", Origin::S3Object(s3("s3://b/2026-11-20.jsonl.gz"))),
    ] {
        let text = format!("date = \"2026-11-20\"\nmanifest = \"{manifest}\"\n{SMALL}");
        let definition = load(&text, Overrides::default()).1.unwrap();
        assert_eq!(definition.origin, origin);
    }
    let text = format!("manifest = \"s3://b/export\"\nmanifest_format = \"csv\"\n{SMALL}");
    assert_eq!(load(&text, Overrides::default()).1.unwrap().origin, Origin::S3Object(s3("s3://b/export")));
    for (manifest, message) in [
        ("s3://b/x/*.wav", "a store knows no globs; name a prefix that ends in `/`"),
        ("s3://b/x.wav", "`x.wav` is a recording; name the prefix"),
        ("s3:///x", "`s3:///x` names no bucket"),
        ("gs://b/x/", "`gs:` addresses cannot be read"),
    ] {
        let faults = faults_of(&format!("manifest = \"{manifest}\"\n{SMALL}"), Overrides::default());
        assert!(faults[0].starts_with(&format!("jobs/a.toml:1:12: `manifest`: {message}")), "{faults:#?}");
    }
    let faults =
        faults_of(&format!("manifest = \"s3://b/a.csv\"\ninclude = [\"*.wav\"]\n{SMALL}"), Overrides::default());
    assert!(faults[0].ends_with("is for directories, globs and s3:// prefixes; the manifest is none of them"));
    let text = format!("date = \"2026-11-20\"\nmanifest = \"rec/{{date:%Y}}/\"\n{SMALL}");
    assert!(faults_of(&text, Overrides::default())[0].ends_with("`manifest`: `rec/2026/`: there is no such file"));
}

#[test]
fn outputs_and_reports_have_their_places() {
    let of = |rest: &str| faults_of(&format!("manifest = \"calls.csv\"\n{SMALL}{rest}"), Overrides::default());
    assert!(of("[sink]\nsse = \"AES256\"\n")[0].contains("`sink`: is for s3:// outputs, and `output` is a directory"));
    for (to, message) in [
        ("s3://b/reports/", "`s3://b/reports/` is a folder; name the file, e.g. \"s3://b/reports/{batch}.csv\""),
        ("rec", "`rec` is a folder; name the file"),
        ("https://x.org/a.csv", "a report is a file or an s3:// object, and `https:` is neither"),
        ("{nam}.csv", "`{nam}` is not known here; did you mean `name`?"),
    ] {
        let faults = of(&format!("[report]\nto = \"{to}\"\n"));
        assert!(faults[0].contains(&format!("`report.to`: {message}")), "{faults:#?}");
    }
    let faults = faults_of(&format!("manifest = \"calls.csv\"\noutput = \"gs://b/\"\n{SMALL}"), Overrides::default());
    assert!(faults[0].contains("`output`: outputs go to a directory or to s3://bucket/prefix, and `gs:` is neither"));
    let text = format!("manifest = \"calls.csv\"\n{SMALL}[report]\nto = \"../bi/{{batch}}.csv\"\n");
    let (dir, loaded) = load(&text, Overrides::default());
    let to = dir.path().canonicalize().unwrap().join("bi/a.csv");
    assert_eq!(loaded.unwrap().report_to.as_deref(), to.to_str());
}

#[test]
fn a_report_has_its_own_store_or_that_of_the_sink() {
    let minio = "endpoint_url = \"http://127.0.0.1:9000\"\n";
    let of = |rest: &str, over: Overrides| load(&format!("manifest = \"calls.csv\"\n{SMALL}{rest}"), over).1;
    let to = "to = \"s3://bi/a.csv\"\n";
    let endpoint = |definition: &Definition| {
        definition.report.sink.as_ref().map(|sink| (sink.store.endpoint_url.is_some(), sink.sse.is_some()))
    };
    let sink = format!("[sink]\nsse = \"AES256\"\n{minio}[report]\n{to}");
    // The outputs go to a directory, once by the definition and once by the command line.
    let definition = of(&sink, Overrides::default()).unwrap();
    assert_eq!((endpoint(&definition), &definition.sink), (Some((true, true)), &SinkSettings::default()));
    let over = Overrides { output: Some("here".into()), ..Overrides::default() };
    assert_eq!(endpoint(&of(&sink, over).unwrap()), Some((true, true)));
    let own = format!("[sink]\nsse = \"AES256\"\n[report]\n{to}{minio}");
    let definition = of(&own, Overrides::default()).unwrap();
    assert_eq!(endpoint(&definition), Some((true, false)), "all of it is its own");
    let spec = serde_json::to_string(&definition.spec(&Columns::default())).unwrap();
    let kept: crate::domain::batch::BatchSpec = serde_json::from_str(&spec).unwrap();
    assert_eq!(kept.report_sink().store.endpoint_url.as_deref(), Some("http://127.0.0.1:9000"));

    let flag = |path: &str| Overrides { report: Some(path.into()), ..Overrides::default() };
    let definition = of(&own, flag("{batch}-x.csv")).unwrap();
    assert!(definition.report_to.unwrap().ends_with("/a-x.csv"));
    assert_eq!(definition.report.sink, None);
    let definition = of("", flag("s3://bi/b.csv")).unwrap();
    assert_eq!(definition.report_to.as_deref(), Some("s3://bi/b.csv"));
    let over = Overrides { sandbox: true, ..flag("s3://bi/b.csv") };
    assert_eq!(of(&own, over).unwrap().report_to.as_deref(), Some("s3://bi/b.csv"), "what is said is done");

    for (rest, over, message) in [
        (format!("[report]\n{minio}"), Overrides::default(), "`report.endpoint_url`: is for a report in a store"),
        (format!("[report]\nto = \"a.csv\"\n{minio}"), Overrides::default(), "`report.endpoint_url`: is for a report"),
        ("[report]\nprofile = \"\"\n".into(), Overrides::default(), "`report.profile`: may not be empty"),
        ("[report]\nsse = \"AES256\"\n".into(), Overrides::default(), "`report.sse`: there is no such field"),
        (String::new(), flag("https://x.org/a.csv"), "`--report`: a report is a file or an s3:// object"),
        (String::new(), flag("s3://bi/"), "`--report`: `s3://bi/` is a folder"),
    ] {
        let error = of(&rest, over).unwrap_err().to_string();
        assert!(error.contains(message), "{rest}: {error}");
    }
}

#[test]
fn the_sandbox_leaves_the_stores_alone() {
    let over = Overrides { sandbox: true, output: Some("sandbox-out/{batch}/".into()), ..Overrides::default() };
    let definition = load(NIGHT, over).1.unwrap();
    assert_eq!((definition.report_to, definition.sink), (None, SinkSettings::default()));
    assert!(definition.output.ends_with("/sandbox-out/nightly-calls-2026-11-20"));
}

#[test]
fn sources_in_a_store_make_batches_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.wav"), "x").unwrap();
    let options = vec![("model", "pulse".to_owned()), ("language", "en".to_owned())];
    let over = Overrides { working_dir: Some(dir.path().to_path_buf()), options, ..Overrides::default() };
    let ad_hoc = |sources: &[&str]| {
        let sources = sources.iter().map(|s| (*s).to_owned()).collect();
        Definition::ad_hoc(
            &AdHoc { task: Transcription::TASK, sources },
            crate::tasks::Registry::built_in().definitions(),
            &over,
        )
    };
    for (sources, batch, manifest) in [
        (&["s3://acme/2026/11/20/"][..], "20", "s3://acme/2026/11/20/"),
        (&["s3://acme/night"], "night", "s3://acme/night/"),
        (&["s3://acme"], "acme", "s3://acme/"),
        (&["s3://acme/x/calls.csv.gz"], "calls", "s3://acme/x/calls.csv.gz"),
        (&["s3://acme/x/a.wav"], "a", "s3://acme/x/a.wav"),
        (&["s3://acme/x/a.wav", "s3://acme/x/b.wav"], "x", "2 files"),
        (&["s3://acme/a.wav", "s3://acme/b.wav"], "acme", "2 files"),
        (&["s3://acme/x/a.wav", "s3://acme/y/b.wav"], "files", "2 files"),
        (&["s3://acme/x/a.wav", "c.wav", "https://x.org/d.wav"], "files", "3 files"),
    ] {
        let definition = ad_hoc(sources).unwrap();
        assert_eq!((definition.batch.as_str(), definition.manifest.as_str()), (batch, manifest), "{sources:?}");
    }
    let definition = ad_hoc(&["s3://acme/x/a%20b.wav", "c.wav"]).unwrap();
    let manifest = Manifest::open(&definition, None).unwrap();
    let scan = manifest.scan(ScanDepth::Faults).unwrap();
    let keys: Vec<_> = manifest
        .lines(&scan)
        .unwrap()
        .map(|row| match row.unwrap() {
            ManifestRow::Good(mut line) => {
                let job = line.jobs.remove(0);
                (line.key.to_string(), job.source.unwrap(), job.expected)
            }
            ManifestRow::Bad(bad) => panic!("{bad:?}"),
        })
        .collect();
    let local = dir.path().canonicalize().unwrap().join("c.wav").to_string_lossy().into_owned();
    assert_eq!(keys, [("a%20b".into(), "s3://acme/x/a%20b.wav".into(), None), ("c".into(), local, None)]);
    for (sources, message) in [
        (&["s3://acme/x/", "c.wav"][..], "`s3://acme/x/` is a prefix; give one manifest"),
        (&["s3://acme/x.csv", "c.wav"], "`s3://acme/x.csv` is no recording"),
        (&["s3://acme/x/*.wav"], "a store knows no globs"),
    ] {
        let error = ad_hoc(sources).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
