//! What examples, the files of `deploy/` and the guarantees say, held against the code.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    config::{Config, Env, Flags},
    definition::{Definition, Overrides},
    domain::{
        callback::Secret,
        cost::{MicroUsd, Rates},
        pool::{Limits, Pool},
        spend::SpendRule,
    },
    server::{
        METRICS, MetricDoc, Metrics, News, Receiver, ReceiverSettings, ScheduleState, ServerTimeouts,
        probe::{ProbeSettings, watch},
    },
};

use crate::{
    cli,
    support::{Fixture, watching::Page},
};

#[test]
fn every_definition_in_the_docs_is_without_fault() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("calls.csv"), "call_id,recording_url\n1,https://rec.example.com/1.wav\n").unwrap();
    fs::write(dir.path().join("prompts.csv"), "prompt,words,file\nhello,Hello.,\n").unwrap();
    fs::write(dir.path().join("brand-names.csv"), "word,pronunciation\nWaves,weivz\n").unwrap();
    let (page, settings) = (reference("definition.md"), reference("settings.md"));
    let mut checked = 0;
    for (nth, block) in blocks(&page, "toml").into_iter().enumerate() {
        let path = dir.path().join(format!("{nth}.toml"));
        fs::write(&path, block).unwrap();
        Definition::load(&path, wavebatch::tasks::Registry::built_in().definitions(), &Overrides::default())
            .unwrap_or_else(|faults| panic!("{faults}\n{block}"));
        checked += 1;
    }
    assert!(checked > 1, "the reference shows a definition of each task");
    for block in blocks(&settings, "toml") {
        let path = dir.path().join("settings.toml");
        fs::write(&path, block).unwrap();
        let flags = Flags { config: Some(path), ..Flags::default() };
        Config::load(&flags, &Env::default(), dir.path()).unwrap_or_else(|faults| panic!("{faults}\n{block}"));
    }
}

#[test]
fn the_reference_shows_what_a_notification_has() {
    let page = reference("notifications.md");
    let shown: Map<String, Value> = serde_json::from_str(blocks(&page, "json")[0]).unwrap();
    let news = News::could_not_start("d", "b", "", 0).notice("", false).body;
    let news: Map<String, Value> = serde_json::from_str(&news).unwrap();
    let fields: Vec<_> = std::iter::once("id").chain(news.keys().map(String::as_str)).collect();
    assert_eq!(shown.keys().map(String::as_str).collect::<Vec<_>>(), fields);
}

#[test]
fn the_gate_finds_the_readmes_two_commands() {
    let readme = readme();
    let commands = blocks(section(&readme, "## The first two minutes"), "sh");
    assert_eq!(&commands[..2], ["cargo run --release -- run jobs/demo-calls.toml --sandbox\n", "cargo test\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_lists_the_metrics() {
    let page = everything().await;
    let labels = |doc: &MetricDoc| doc.labels.iter().map(ToString::to_string).collect::<Vec<_>>();
    let listed: BTreeMap<_, _> = METRICS.iter().map(|doc| (doc.name(), (doc.kind.to_owned(), labels(doc)))).collect();
    let mut shown = page.metrics();
    shown.get_mut("wavebatch_callback_delay_seconds").unwrap().1.retain(|label| label != "le");
    assert_eq!(listed, shown);

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let alerts = fs::read_to_string(root.join("deploy/alerts.yml")).unwrap();
    let names = page.names();
    let used: Vec<String> = alerts.match_indices("wavebatch_").map(|(at, _)| name_at(&alerts[at..])).collect();
    assert!(used.len() > 8, "{used:?}");
    for name in used {
        assert!(names.contains(&name.as_str()), "{name} in alerts.yml is no metric");
    }
    let rules: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let pages = walkdir::WalkDir::new(root.join("docs")).into_iter().filter_map(Result::ok);
    let pages = pages.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "md"));
    let text: String =
        pages.map(|entry| fs::read_to_string(entry.path()).unwrap()).chain([readme()]).collect::<Vec<_>>().concat();
    for rule in &rules {
        assert!(text.contains(&format!("`{rule}`")), "no page says what to do about {rule}");
    }
    for part in ["expr:", "for:", "severity:", "summary:"] {
        assert_eq!((alerts.matches(part).count(), rules.len()), (5, 5), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let page = everything().await;
    let (names, metrics) = (page.names(), page.metrics());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36, "Grafana 10 reads it");
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 8, "{panels:?}");
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let used: Vec<String> = expr.match_indices("wavebatch_").map(|(at, _)| name_at(&expr[at..])).collect();
            assert!(!used.is_empty(), "{title}: {expr}");
            for name in used {
                assert!(names.contains(&name.as_str()), "{title}: {name} is no metric");
                let Some((_, labels)) = metrics.get(name.trim_end_matches("_bucket")) else {
                    panic!("{title}: {name} has no type");
                };
                for by in expr.split("by (").skip(1).filter_map(|rest| rest.split(')').next()) {
                    for label in by.split(", ") {
                        assert!(labels.iter().any(|l| l == label) || label == "le", "{title}: {name} has no {label}");
                    }
                }
            }
        }
    }
}

/// A page on which every metric has a number.
async fn everything() -> Page {
    let mut fixture = Fixture::new().await;
    fixture.limits = [(Pool::Pulse, Limits { requests_per_minute: Some(25), concurrency: None })].into();
    let most = Some(MicroUsd(1_000_000));
    fixture.spend = Some(Arc::new(SpendRule { day: most, month: most, zone: TimeZone::UTC }));
    let metrics = Metrics::new();
    let settings = ReceiverSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        secrets: vec![Secret::new([1; 32])],
        rates: Rates::default(),
        timeouts: ServerTimeouts::default(),
        metrics: metrics.clone(),
    };
    let receiver = Receiver::start(fixture.store.clone(), settings).await.unwrap();
    let public_url = format!("http://{}", receiver.addr()).parse().unwrap();
    let probe = ProbeSettings::new(public_url, Secret::new([1; 32]), fixture.clock.clone());
    let (definition, moment) = ("nightly".to_owned(), Some(fixture.clock.now()));
    let schedule =
        ScheduleState { definition, broken: false, next: moment, last_started: moment, waiting: 0, left_over: 0 };
    metrics.schedules(vec![schedule]);
    let stop = CancellationToken::new();
    tokio::spawn(watch(probe, metrics.clone(), stop.clone()));
    let admin = fixture.admin(&metrics).await;
    fixture
        .until("a probe", || async { Page::of(admin.addr()).await.find("wavebatch_probe_success") == Some(1.0) })
        .await;
    stop.cancel();
    Page::of(admin.addr()).await
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
}

#[test]
fn deploy_names_flags_that_there_are() {
    let dir = cli::fixture();
    let help = |args: &[&str]| String::from_utf8(cli::run(dir.path(), args).stdout).unwrap();
    let verbs = help(&["--help"]);
    let (mut helps, mut checked) = (BTreeMap::new(), 0);
    for (path, text) in deployed() {
        for (verb, flags, certain) in text.lines().filter_map(command) {
            if !verbs.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))) {
                // This one may be missing from a build, and has then no flags to be held against.
                assert!(!certain || verb == "serve", "{}: there is no verb {verb}", path.display());
                continue;
            }
            let message = helps.entry(verb.clone()).or_insert_with(|| help(&[&verb, "--help"]));
            for flag in flags {
                assert!(message.contains(&flag), "{}: `wavebatch {verb}` has no {flag}", path.display());
                checked += 1;
            }
        }
    }
    assert!(helps.contains_key("run") && helps.contains_key("check") && checked > 2, "{helps:?}");
}

#[test]
fn deploy_names_files_and_variables_that_there_are() {
    let (root, settings) = (Path::new(env!("CARGO_MANIFEST_DIR")), reference("settings.md"));
    let guide = fs::read_to_string(root.join("deploy/README.md")).unwrap();
    for (path, text) in deployed() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(guide.contains(name) || name == "README.md", "deploy/README.md does not say what {name} is for");
        for word in text.split(|c: char| c.is_whitespace() || "()`\",=".contains(c)) {
            let word = word.trim_end_matches(['.', ':', ';']);
            if let Some(definition) = word.rsplit_once("jobs/").map(|(_, name)| name).filter(|n| n.ends_with(".toml")) {
                assert!(root.join("jobs").join(definition).exists(), "{name}: {word}");
            }
            if word.starts_with("deploy/") {
                assert!(root.join(word).exists(), "{name}: {word}");
            }
            if word.starts_with("WAVEBATCH_") || word.starts_with("SMALLEST_") {
                assert!(settings.contains(&format!("`{word}`")), "{name}: {word} is not in docs/reference/settings.md");
            }
        }
        for link in text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split(')').next()) {
            assert!(path.with_file_name(link).exists(), "{name}: {link}");
        }
        for copied in text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"))
        {
            let mut sources: Vec<_> = copied.split(' ').collect();
            sources.pop();
            assert!(sources.iter().all(|source| root.join(source).exists()), "{name}: {copied}");
        }
    }
}

/// The files of `deploy/`.
fn deployed() -> Vec<(PathBuf, String)> {
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")];
    let mut files = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => files.push((path.clone(), fs::read_to_string(path).unwrap())),
            }
        }
    }
    assert!(files.len() > 8, "{files:?}");
    files
}

/// The verb and flags of a line that may start the program, and whether it certainly does: a unit's, or a list of
/// arguments. Prose has the program's name, too.
fn command(line: &str) -> Option<(String, Vec<String>, bool)> {
    let certain = ["ExecStart=", "args: [\"", "CMD [\"serve"].iter().any(|start| line.trim_start().starts_with(start));
    let words: Vec<_> =
        line.split(|c: char| c.is_whitespace() || "[]\",`".contains(c)).filter(|w| !w.is_empty()).collect();
    let starts =
        |word: &&str| *word == "wavebatch" || word.ends_with("/bin/wavebatch") || ["args:", "CMD"].contains(word);
    let at = words.iter().rposition(starts)?;
    let verb = (*words.get(at + 1)?).to_owned();
    let flags = words[at + 1..].iter().filter(|word| word.starts_with("--")).map(|word| (*word).to_owned());
    Some((verb, flags.collect(), certain))
}

/// A generated page.
fn reference(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name)).unwrap()
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// From a heading to the next of its rank.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rest = &text[start..];
    rest[1..].find("\n## ").map_or(rest, |end| &rest[..=end])
}

/// The fenced blocks in this language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let starts = text.match_indices(&fence).map(|(at, fence)| at + fence.len());
    starts.filter_map(|start| text[start..].split_once("```").map(|(block, _)| block)).collect()
}

#[test]
fn the_guarantees_name_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/concepts/guarantees.md")).unwrap();
    let named: Vec<(&str, &str)> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once("::"))
        .filter(|(_, test)| test.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    assert!(named.len() > 40, "{named:?}");
    for (room, test) in named {
        let tests = vec![root.join(format!("tests/it/{room}.rs")), root.join(format!("tests/it/{room}"))];
        let places = if tests[0].exists() { tests } else { vec![root.join("src").join(room)] };
        let files = places.iter().flat_map(|place| walkdir::WalkDir::new(place).into_iter().filter_map(Result::ok));
        let mut texts = files.filter(|f| f.file_type().is_file()).map(|f| fs::read_to_string(f.path()).unwrap());
        assert!(texts.any(|text| text.contains(&format!("fn {test}()"))), "there is no test {room}::{test}");
    }
}
