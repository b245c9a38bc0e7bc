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
        callback::{Keyring, Secret},
        cost::{MicroUsd, Rates},
        pool::{Limits, Pool},
        spend::SpendRule,
    },
    server::{
        METRICS, MetricDoc, MetricScope, Metrics, News, Receiver, ReceiverSettings, ScheduleState, Secrets,
        ServerTimeouts,
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
    let (page, file) = everything().await;
    let labels = |doc: &MetricDoc| doc.labels.iter().map(ToString::to_string).collect::<Vec<_>>();
    let listed = |without: MetricScope| -> BTreeMap<_, _> {
        let docs = METRICS.iter().filter(|doc| doc.scope != without);
        docs.map(|doc| (doc.name(), (doc.kind.to_owned(), labels(doc)))).collect()
    };
    let shown = |page: &Page| {
        let mut shown = page.metrics();
        shown.get_mut("wavebatch_callback_delay_seconds").unwrap().1.retain(|label| label != "le");
        shown
    };
    assert_eq!(listed(MetricScope::Run), shown(&page));
    let mut of_file = shown(&file);
    for (name, (kind, labels)) in &mut of_file {
        assert_eq!(labels.iter().position(|label| label == "file"), Some(0), "{name}");
        labels.remove(0);
        // This format has no type for it.
        if name.ends_with("_info") {
            "info".clone_into(kind);
        }
    }
    assert_eq!(listed(MetricScope::Process), of_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_ask_for_metrics_and_labels_that_there_are() {
    let (page, file) = everything().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let alerts = fs::read_to_string(root.join("deploy/alerts.yml")).unwrap();
    let (names, metrics) = (both(page.names(), file.names()), both(file.metrics(), page.metrics()));
    let used: Vec<String> = alerts.match_indices("wavebatch_").map(|(at, _)| name_at(&alerts[at..])).collect();
    assert!(used.len() > 16, "{used:?}");
    for name in used {
        assert!(names.contains(&name.as_str()), "{name} in alerts.yml is no metric");
    }
    for expression in alerts.split("expr:").skip(1).filter_map(|rest| rest.split(" for:").next()) {
        for by in expression.split("by (").skip(1) {
            let (labels, rest) = by.split_once(')').unwrap();
            let name = rest.find("wavebatch_").map(|at| name_at(&rest[at..])).unwrap();
            for label in labels.split(", ").filter(|label| !["job", "instance", "file"].contains(label)) {
                assert!(metrics[&name].1.iter().any(|known| known == label), "{name} has no {label}");
            }
        }
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
        assert_eq!((alerts.matches(part).count(), rules.len()), (9, 9), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let (page, file) = everything().await;
    let (names, metrics) = (both(page.names(), file.names()), both(file.metrics(), page.metrics()));
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
            let prefixes = ["wavebatch_", "process_"].into_iter().flat_map(|prefix| expr.match_indices(prefix));
            let used: Vec<String> = prefixes.map(|(at, _)| name_at(&expr[at..])).collect();
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

/// What either of two has. The second goes before the first.
fn both<T: Extend<I> + IntoIterator<Item = I>, I>(mut first: T, second: T) -> T {
    first.extend(second);
    first
}

/// A page and a run's file in which every metric has a number.
async fn everything() -> (Page, Page) {
    let mut fixture = Fixture::new().await;
    fixture.limits = [(Pool::Pulse, Limits { requests_per_minute: Some(25), concurrency: None })].into();
    let most = Some(MicroUsd(1_000_000));
    fixture.spend = Some(Arc::new(SpendRule { day: most, month: most, zone: TimeZone::UTC }));
    let (metrics, of_run) = (Metrics::new(), Metrics::of_run("nightly", fixture.clock.now()));
    let settings = ReceiverSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        secrets: Secrets::new(vec![Secret::new([1; 32])]),
        rates: Rates::default(),
        timeouts: ServerTimeouts::default(),
        metrics: metrics.clone(),
    };
    let receiver = Receiver::start(fixture.store.clone(), settings).await.unwrap();
    let public_url = format!("http://{}", receiver.addr()).parse().unwrap();
    let probe = ProbeSettings::new(public_url, Keyring::new(vec![Secret::new([1; 32])]), fixture.clock.clone());
    let (definition, moment) = ("nightly".to_owned(), Some(fixture.clock.now()));
    let schedule =
        ScheduleState { definition, broken: false, next: moment, last_started: moment, waiting: 0, left_over: 0 };
    metrics.schedules(vec![schedule.clone()]);
    of_run.schedules(vec![schedule]);
    let stop = CancellationToken::new();
    tokio::spawn(watch(probe.clone(), metrics.clone(), stop.clone()));
    tokio::spawn(watch(probe, of_run.clone(), stop.clone()));
    let admin = fixture.admin(&metrics).await;
    of_run.sample_now(&fixture.watched()).await;
    of_run.run_ended(fixture.clock.now(), 0);
    fixture
        .until("a probe", || async {
            let file = Page(of_run.file(0).await.unwrap());
            Page::of(admin.addr()).await.find("wavebatch_probe_success") == Some(1.0)
                && file.find("wavebatch_probe_success{file=\"nightly\"}") == Some(1.0)
        })
        .await;
    stop.cancel();
    (Page::of(admin.addr()).await, Page(of_run.file(fixture.clock.now()).await.unwrap()))
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
fn the_service_is_not_started_again_for_ever() {
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/wavebatch.service")).unwrap();
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let seconds = |text: &str| match text.strip_suffix("min") {
        Some(minutes) => minutes.parse::<u32>().unwrap() * 60,
        None => text.parse().unwrap(),
    };
    let (pause, within) = (seconds(setting("RestartSec")), seconds(setting("StartLimitIntervalSec")));
    let most: u32 = setting("StartLimitBurst").parse().unwrap();
    // A ledger that is locked is waited for, which makes the slowest of the starts that fail.
    assert!((pause + 15) * most < within, "systemd would never count so many starts in that time");
    assert!(pause * most >= 240, "what lasts minutes, as a backup, is survived");
    assert_eq!(setting("RestartPreventExitStatus"), "2");
}

/// The command of a unit, and the variables that it sets.
fn start_of(unit: &str) -> (String, Vec<(String, String)>) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(unit)).unwrap();
    let command = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().replace("$$", "$");
    let set = text.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    (command, set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[test]
fn without_a_key_a_unit_says_one_sentence() {
    let dir = cli::fixture();
    fs::create_dir(dir.path().join("jobs")).unwrap();
    fs::write(dir.path().join("jobs/calls.csv"), "call_id,recording_url\n1,https://rec.example.com/1.wav\n").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_wavebatch")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let definition = "task = \"transcribe\"\nmanifest = \"calls.csv\"\ncolumns = { key = \"call_id\", source = \"recording_url\" }\n\
        [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n";
    let start = |unit: &str, key: Option<&str>| {
        let (command, set) = start_of(unit);
        fs::write(dir.path().join("jobs/nightly-calls.toml"), definition).unwrap();
        fs::write(dir.path().join("wavebatch.toml"), "").unwrap();
        // As in the unit, with this folder in place of those of the machine.
        let here = |text: &str| {
            ["/etc/wavebatch", "/var/lib/wavebatch", "/var/cache/wavebatch"]
                .iter()
                .fold(text.to_owned(), |text, folder| text.replace(folder, &dir.path().display().to_string()))
        };
        if let Some(key) = key {
            fs::write(dir.path().join("key"), key).unwrap();
        }
        let shell = std::process::Command::new("sh")
            .args(["-c", &here(&command)])
            .current_dir(dir.path())
            .env_clear()
            .envs(set.iter().map(|(name, value)| (name, here(value))))
            .env("PATH", &path)
            .output()
            .unwrap();
        (cli::code(&shell), cli::stderr(&shell))
    };
    for key in [None, Some(" \n")] {
        let (code, said) = start("wavebatch.service", key);
        assert_eq!((code, said.lines().count()), (2, 1), "status 2 is not started again: {said}");
        assert!(said.starts_with("No API key: ") && said.contains("/key (owner root"), "{said}");
        let (code, said) = start("wavebatch-nightly.service", key);
        assert_eq!((code, said.lines().count()), (3, 1), "{said}");
        assert!(said.contains("SMALLEST_API_KEY_FILE") && said.contains("/key "), "{said}");
        let metrics = fs::read_to_string(dir.path().join("nightly-calls.prom")).unwrap();
        assert!(metrics.contains("\nwavebatch_run_exit_status{file=\"nightly-calls\"} 3.0\n"), "{metrics}");
    }
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
        line.split(|c: char| c.is_whitespace() || "[]\",`=".contains(c)).filter(|w| !w.is_empty()).collect();
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
