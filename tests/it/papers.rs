//! What the README says in closed lists and examples, held against the code.

use std::{collections::BTreeMap, fs, path::Path};

use tokio_util::sync::CancellationToken;
use wavebatch::{
    definition::{Definition, Overrides},
    domain::{
        batch::LineOption,
        call::ErrorKind,
        callback::Secret,
        cost::Rates,
        options::{LANGUAGES, Task},
        pool::{Limits, Pool},
        row::{Note, RowStatus},
        synthesis::SpeechOption,
    },
    report::row::Column,
    server::{
        Metrics, Patience, Receiver, ReceiverSettings, ScheduleState,
        probe::{ProbeSettings, watch},
    },
};

use crate::support::{House, watching::Page};

#[test]
fn the_readme_lists_what_the_report_can_say() {
    let readme = readme();
    let report = section(&readme, "## The report");
    for name in ErrorKind::NAMES.iter().chain(Note::NAMES).chain(RowStatus::NAMES) {
        assert!(report.contains(&format!("`{name}`")), "`{name}` is not in \"The report\"");
    }
    for task in Task::ALL {
        let columns = Column::of(*task).iter().map(|column| column.as_str()).collect::<Vec<_>>().join(",");
        assert!(report.contains(&columns), "the columns of {task}, in their order: {columns}");
    }
}

#[test]
fn the_readme_lists_the_options_of_a_line() {
    let readme = readme();
    let definitions = section(&readme, "## Definitions and manifests");
    for name in LineOption::NAMES {
        assert!(definitions.contains(name), "`{name}` is not in \"Definitions and manifests\"");
    }
    let speech = section(&readme, "## Speech");
    for name in SpeechOption::NAMES {
        assert!(speech.contains(name), "`{name}` is not in \"Speech\"");
    }
    for language in LANGUAGES {
        assert!(definitions.contains(&format!("`{language}`")), "the language `{language}`");
    }
}

#[test]
fn every_definition_in_the_readme_is_without_fault() {
    let readme = readme();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("calls.csv"), "call_id,recording_url\n1,https://rec.example.com/1.wav\n").unwrap();
    fs::write(dir.path().join("prompts.csv"), "prompt,words,file\nhello,Hello.,\n").unwrap();
    fs::write(dir.path().join("brand-names.csv"), "word,pronunciation\nWaves,weivz\n").unwrap();
    let mut checked = 0;
    for (nth, block) in blocks(&readme, "toml").into_iter().enumerate().filter(|(_, b)| b.contains("task = ")) {
        let path = dir.path().join(format!("{nth}.toml"));
        fs::write(&path, block).unwrap();
        Definition::load(&path, &Overrides::default()).unwrap_or_else(|faults| panic!("{faults}\n{block}"));
        checked += 1;
    }
    assert!(checked > 1, "the README shows a definition of each task");
}

#[test]
fn the_gate_finds_the_readmes_two_commands() {
    let readme = readme();
    let commands = blocks(section(&readme, "## The first two minutes"), "sh");
    assert_eq!(&commands[..2], ["cargo run --release -- run jobs/demo-calls.toml --sandbox\n", "cargo test\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_lists_the_metrics_and_the_alerts() {
    let page = everything().await;
    let readme = readme();
    let watching = section(&readme, "## Watching it");
    let cells = |line: &str| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let bare = |cell: &str| cell.replace('`', "");
    let rows = watching.lines().filter(|line| line.starts_with("| `wavebatch_")).map(cells);
    let listed: BTreeMap<_, _> = rows
        .map(|row| {
            let labels = row[2].split(", ").map(bare).filter(|label| !label.is_empty()).collect::<Vec<_>>();
            (bare(&row[0]), (row[1].clone(), labels))
        })
        .collect();
    let mut shown = page.metrics();
    shown.get_mut("wavebatch_callback_delay_seconds").unwrap().1.retain(|label| label != "le");
    assert_eq!(listed, shown);

    let alerts = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alerts.yml")).unwrap();
    let names = page.names();
    let used: Vec<String> = alerts.match_indices("wavebatch_").map(|(at, _)| name_at(&alerts[at..])).collect();
    assert!(used.len() > 8, "{used:?}");
    for name in used {
        assert!(names.contains(&name.as_str()), "{name} in alerts.yml is no metric");
    }
    let rules: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let told: Vec<String> =
        watching.lines().filter(|line| line.starts_with("| `Wavebatch")).map(|l| bare(&cells(l)[0])).collect();
    assert_eq!((told, 5), (rules.iter().map(ToString::to_string).collect(), rules.len()));
    for part in ["expr:", "for:", "severity:", "summary:"] {
        assert_eq!(alerts.matches(part).count(), 5, "{part}");
    }
}

/// A page on which every metric has a number.
async fn everything() -> Page {
    let mut house = House::new().await;
    house.limits = [(Pool::Pulse, Limits { requests_per_minute: Some(25), concurrency: None })].into();
    let metrics = Metrics::new();
    let settings = ReceiverSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        secrets: vec![Secret::new([1; 32])],
        rates: Rates::default(),
        patience: Patience::default(),
        metrics: metrics.clone(),
    };
    let receiver = Receiver::start(house.store.clone(), settings).await.unwrap();
    let public_url = format!("http://{}", receiver.addr()).parse().unwrap();
    let probe = ProbeSettings::new(public_url, Secret::new([1; 32]), house.clock.clone());
    let (definition, moment) = ("nightly".to_owned(), Some(house.clock.now()));
    let schedule =
        ScheduleState { definition, broken: false, next: moment, last_started: moment, waiting: 0, left_over: 0 };
    metrics.schedules(vec![schedule]);
    let stop = CancellationToken::new();
    tokio::spawn(watch(probe, metrics.clone(), stop.clone()));
    let admin = house.admin(&metrics).await;
    house
        .until("a probe", || async { Page::of(admin.addr()).await.find("wavebatch_probe_success") == Some(1.0) })
        .await;
    stop.cancel();
    Page::of(admin.addr()).await
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
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
