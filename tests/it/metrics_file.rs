//! The metrics of `run` and `work` in a file, as the node exporter's textfile collector reads it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use wavebatch::sandbox::Config;

use crate::{
    cli,
    support::{Fixture, service::program, watching::Page},
};

const DEFINITION: &str =
    "task = \"transcribe\"\nmanifest = \"calls.csv\"\n\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n";

/// Reads a file as the collector does, and as strictly: one type before the samples of each name, no type of another
/// format, no series twice.
fn collected(path: &Path) -> Page {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let (mut types, mut series) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
        } else if line.starts_with('#') {
            assert!(line.starts_with("# HELP "), "{line}");
        } else {
            let (sample, number) = line.rsplit_once(' ').unwrap();
            number.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = sample.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
            assert!(types.contains_key(name) || base.is_some_and(|base| types[base] == "histogram"), "{line}");
            assert!(series.insert(sample.to_owned(), ()).is_none(), "twice: {line}");
        }
    }
    Page(text)
}

fn in_fixture(fixture: &Fixture, args: &[&str]) -> Output {
    program(fixture, args).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_its_numbers_and_how_it_ended() {
    let fixture = Fixture::new().await;
    fixture.calls(4);
    fixture.write("calls.toml", DEFINITION);
    fixture.write("metrics/old.prom", "old");
    let file = fixture.path("metrics/night.prom");
    let output = in_fixture(&fixture, &["run", "calls.toml", "--metrics-file", "metrics/night.prom"]);
    assert_eq!(cli::code(&output), 0, "{}", cli::stderr(&output));
    let page = collected(&file);
    let of = |sample: &str| match sample.split_once('{') {
        Some((name, labels)) => page.get(&format!("{name}{{file=\"night\",{labels}")),
        None => page.get(&format!("{sample}{{file=\"night\"}}")),
    };
    for (sample, number) in [
        ("wavebatch_ledger_up", 1.0),
        ("wavebatch_lines_left", 0.0),
        ("wavebatch_run_exit_status", 0.0),
        ("wavebatch_run_success", 1.0),
        ("wavebatch_calls_total{pool=\"pulse\",outcome=\"answered\"}", 4.0),
        ("wavebatch_jobs_finished_total{state=\"succeeded\"}", 4.0),
    ] {
        assert!((of(sample) - number).abs() < 1e-9, "{sample}: {}", of(sample));
    }
    let (began, ended) = (of("wavebatch_run_started_timestamp_seconds"), of("wavebatch_run_ended_timestamp_seconds"));
    assert!(began > 1.7e9 && began <= ended && ended <= of("wavebatch_run_written_timestamp_seconds"));
    assert!(of("wavebatch_spend_dollars") > 0.0 && of("wavebatch_ledger_bytes") > 4_096.0);
    assert!(of("wavebatch_disk_size_bytes{disk=\"spool\"}") > of("wavebatch_disk_free_bytes{disk=\"spool\"}"));
    assert!(!page.0.contains("process_"), "the exporter has these itself");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let names: Vec<_> =
        fs::read_dir(fixture.path("metrics")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    // The settings name the file for the next command, and the environment goes before them.
    fixture.write("wavebatch.toml", "metrics_file = \"metrics/by-settings.prom\"\n");
    assert_eq!(cli::code(&in_fixture(&fixture, &["work"])), 0);
    assert!(
        collected(&fixture.path("metrics/by-settings.prom"))
            .0
            .contains("wavebatch_run_success{file=\"by-settings\"} 1.0")
    );
    assert_eq!(cli::code(&in_fixture(&fixture, &["deliver", "calls", "--metrics-file", "metrics/deliver.prom"])), 0);
    let delivered = collected(&fixture.path("metrics/deliver.prom"));
    assert_eq!(delivered.get("wavebatch_jobs_finished_total{file=\"deliver\",state=\"succeeded\"}"), 4.0);
    let mut by_env = program(&fixture, &["work"]);
    let output = by_env.env("WAVEBATCH_METRICS_FILE", fixture.path("metrics/by-env.prom")).output().unwrap();
    assert_eq!(cli::code(&output), 0, "{}", cli::stderr(&output));
    assert!(fixture.path("metrics/by-env.prom").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_could_not_start_says_so_in_its_file() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.write("calls.toml", DEFINITION);
    let file = fixture.path("night.prom");
    let run = |change: &dyn Fn(&mut Command)| {
        let mut command = program(&fixture, &["run", "calls.toml", "--metrics-file", "night.prom"]);
        change(&mut command);
        let output = command.output().unwrap();
        let page = collected(&file);
        assert_eq!(page.get("wavebatch_run_exit_status{file=\"night\"}"), f64::from(cli::code(&output)));
        assert_eq!(page.get("wavebatch_run_success{file=\"night\"}"), 0.0);
        assert!(!page.0.contains("wavebatch_ledger_up"), "no ledger was opened");
        output
    };
    let without_key = run(&|command| {
        command.env_remove("SMALLEST_API_KEY");
    });
    assert_eq!(cli::code(&without_key), 3, "{}", cli::stderr(&without_key));
    let broken = run(&|command| {
        command.env("SMALLEST_BASE_URL", "no address");
    });
    assert_eq!(cli::code(&broken), 2, "{}", cli::stderr(&broken));
    fixture.write("calls.toml", "task = \"transcribe\"\n");
    assert_eq!(cli::code(&run(&|_| {})), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_run_works_its_file_has_no_end() {
    let fixture = Fixture::with(Config { latency: Duration::from_secs(30), ..Config::default() }).await;
    fixture.calls(1);
    fixture.write("calls.toml", DEFINITION);
    let mut run = program(&fixture, &["run", "calls.toml", "--metrics-file", "night.prom"]);
    let mut run = run.stderr(Stdio::null()).spawn().unwrap();
    let (file, deadline) = (fixture.path("night.prom"), Instant::now() + Duration::from_secs(40));
    // Written when it began, and 15 s later with the ledger.
    while !file.exists() || !collected(&file).0.contains("wavebatch_calls_in_flight") {
        assert!(Instant::now() < deadline, "it is written while the run works");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let page = collected(&file);
    assert_eq!(page.get("wavebatch_calls_in_flight{file=\"night\",pool=\"pulse\"}"), 1.0);
    assert!(!page.0.contains("wavebatch_run_ended") && !page.0.contains("wavebatch_run_success"), "{}", page.0);
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(!collected(&file).0.contains("wavebatch_run_ended"), "a killed run leaves it as it was");
}

#[test]
fn a_wrong_place_is_one_error_before_anything_is_done() {
    let dir = cli::fixture();
    fs::write(dir.path().join("calls.csv"), "key,source\na,https://rec.example.com/a.wav\n").unwrap();
    fs::write(dir.path().join("calls.toml"), DEFINITION).unwrap();
    fs::create_dir(dir.path().join("folder.prom")).unwrap();
    let run = |change: &dyn Fn(&mut Command), args: &[&str]| {
        let mut command = cli::wavebatch(dir.path(), &[&["run", "calls.toml"], args].concat());
        command.env("SMALLEST_API_KEY", "sk_none");
        change(&mut command);
        let output = command.output().unwrap();
        assert!(!dir.path().join("wavebatch.db").exists(), "nothing is done: {}", cli::stderr(&output));
        (cli::code(&output), cli::stderr(&output))
    };
    for (file, status, words) in [
        ("night.txt", 2, "`night.txt` must end in .prom"),
        ("night.prom/", 2, "must end in .prom"),
        (".prom", 2, "must end in .prom"),
        ("none/night.prom", 3, "hint: make the folder"),
        ("folder.prom", 3, "hint: name a file NAME.prom"),
        ("calls.csv/night.prom", 3, "hint: name a file NAME.prom"),
    ] {
        let (code, said) = run(&|_| {}, &["--metrics-file", file]);
        assert!(code == status && said.contains(words), "{file}: {code} {said}");
        assert_eq!(said.matches("error:").count(), 1, "{said}");
    }
    let by_env = |command: &mut Command| {
        command.env("WAVEBATCH_METRICS_FILE", "night");
    };
    let (code, said) = run(&by_env, &[]);
    assert!(code == 2 && said.contains("error: WAVEBATCH_METRICS_FILE: `night` must end in .prom"), "{code} {said}");
    fs::write(dir.path().join("wavebatch.toml"), "\nmetrics_file = \"night\"\n").unwrap();
    let (code, said) = run(&|_| {}, &[]);
    assert!(code == 2 && said.contains("wavebatch.toml:2") && said.contains("must end in .prom"), "{code} {said}");
}

#[test]
fn the_sandbox_writes_only_where_its_flag_says() {
    let dir = cli::fixture();
    fs::write(dir.path().join("hello.csv"), "key,text\nhello,Hello.\n").unwrap();
    fs::write(dir.path().join("wavebatch.toml"), "metrics_file = \"by-settings.prom\"\n").unwrap();
    let run = |args: &[&str]| {
        let all = ["run", "hello.csv", "--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "avery"];
        let mut command = cli::wavebatch(dir.path(), &[&all[..], &["--sandbox"], args].concat());
        let output = command.env("WAVEBATCH_METRICS_FILE", "by-env.prom").output().unwrap();
        assert_eq!(cli::code(&output), 0, "{}", cli::stderr(&output));
    };
    run(&[]);
    assert!(!dir.path().join("by-settings.prom").exists() && !dir.path().join("by-env.prom").exists());
    run(&["--metrics-file", "sandbox.prom"]);
    let page = collected(&dir.path().join("sandbox.prom"));
    assert!(page.get("wavebatch_spool_bytes{file=\"sandbox\"}") > 0.0, "the speech is kept");
}
