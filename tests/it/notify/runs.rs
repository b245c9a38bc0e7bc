//! What the program tells: `run` and `work`, and what they end with all the same.

use std::{fs, path::Path, process::Output};

use wavebatch::sandbox::{Config, Sandbox};

use crate::{
    cli,
    support::{
        KEY,
        ear::{Ear, Heard, Reply},
        synthesis,
    },
};

/// A folder with a definition of two lines, and these settings.
fn dated(settings: &str, own: &str) -> tempfile::TempDir {
    let dir = cli::fixture();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    for i in 1..=2 {
        fs::write(dir.path().join(format!("{i}.wav")), synthesis(&format!("words of call {i}"), 1.0, i)).unwrap();
    }
    write("calls.csv", "key,source\ncall-1,1.wav\ncall-2,2.wav\n");
    write("wavebatch.toml", settings);
    let definition = "task = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                      [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
    write("night.toml", &format!("{definition}{own}"));
    dir
}

async fn wavebatch(dir: &Path, args: &[&str], api: Option<&Sandbox>, env: &[(&str, &str)]) -> Output {
    let mut command = cli::wavebatch(dir, args);
    if let Some(api) = api {
        command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", api.base_url());
    }
    command.envs(env.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn url(ear: &Ear) -> String {
    format!("[notify]\nurl = \"{}\"\n", ear.url())
}

fn events(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|heard| heard.json()["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_batch_is_told_once_with_its_figures() {
    let (api, ear) = (Sandbox::start(Config::default()).await.unwrap(), Ear::listen([Reply::Status(200)]).await);
    let dir = dated(&url(&ear), "");
    let submitted = wavebatch(dir.path(), &["submit", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&submitted), 0, "{}", cli::stderr(&submitted));
    let (one, two) = tokio::join!(
        wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]),
        wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]),
    );
    for ran in [one, two, wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await] {
        assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    }
    let heard = ear.heard();
    assert_eq!(events(&heard), ["finished"], "three runs, two of them at once");
    let message = heard[0].json();
    let out = dir.path().join("out");
    assert_eq!(message["report"], out.join("report.csv").to_str().unwrap());
    assert_eq!(message["summary"], out.join("summary.json").to_str().unwrap());
    assert!(out.join("summary.json").exists());
    assert_eq!((&message["batch"], &message["definition"]), (&"night".into(), &"night".into()));
    assert_eq!(
        (&message["state"], &message["lines"]["succeeded"], &message["lines_left"]),
        (&"finished".into(), &2.into(), &0.into())
    );
    assert!(message["spend_usd"].as_f64().unwrap() > 0.0);
    let secret = fs::read_to_string(dir.path().join("wavebatch.db-notify-secret")).unwrap();
    assert_eq!(secret.trim().len(), 64);
    let ledger = fs::read(dir.path().join("wavebatch.db")).unwrap();
    for hidden in ["hush", secret.trim()] {
        assert!(!ledger.windows(hidden.len()).any(|bytes| bytes == hidden.as_bytes()), "{hidden} is in the ledger");
    }
    // What is finished again is news.
    let more = "key,source\ncall-1,1.wav\ncall-2,2.wav\ncall-3,2.wav\n";
    fs::write(dir.path().join("calls.csv"), more).unwrap();
    wavebatch(dir.path(), &["submit", "night.toml"], Some(&api), &[]).await;
    let worked = wavebatch(dir.path(), &["work"], Some(&api), &[]).await;
    assert_eq!(cli::code(&worked), 0, "{}", cli::stderr(&worked));
    assert_eq!(events(&ear.heard()), ["finished", "finished"], "work tells too");
    assert_eq!(ear.heard()[1].json()["lines"]["succeeded"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_told_with_its_reason_each_time() {
    let (api, ear) = (Sandbox::start(Config::default()).await.unwrap(), Ear::listen([Reply::Status(200)]).await);
    let dir = dated(&url(&ear), "");
    for n in 1..=2 {
        let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[("SMALLEST_API_KEY", "wrong")]).await;
        assert_eq!(cli::code(&ran), 3, "{}", cli::stderr(&ran));
        assert_eq!(events(&ear.heard()), vec!["paused"; n]);
    }
    let message = ear.heard()[0].json();
    assert_eq!((&message["state"], &message["lines_left"]), (&"paused".into(), &2.into()));
    assert!(message["reason"].as_str().unwrap().contains("401"), "{message}");
    wavebatch(dir.path(), &["pause", "night"], None, &[]).await;
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&ran), 3);
    assert_eq!(events(&ear.heard()), ["paused", "paused", "could_not_start"], "the user's own pause is none of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_start_is_told_with_a_ledger_and_without() {
    let ear = Ear::listen([Reply::Status(200)]).await;
    let dir = dated("", &url(&ear));
    let ran = wavebatch(dir.path(), &["run", "night.toml"], None, &[]).await;
    assert_eq!(cli::code(&ran), 3);
    assert!(!dir.path().join("wavebatch.db").exists());
    let message = ear.wait(1).await[0].json();
    assert_eq!((&message["event"], &message["state"]), (&"could_not_start".into(), &serde_json::Value::Null));
    assert!(message["reason"].as_str().unwrap().starts_with("SMALLEST_API_KEY is not set"), "{message}");
    fs::write(dir.path().join("calls.csv"), "key,source\n1,1.wav\n1,2.wav\n").unwrap();
    let env = [("SMALLEST_API_KEY", KEY), ("SMALLEST_BASE_URL", "http://127.0.0.1:9")];
    // A service manager that tries again and again is told of once.
    for _ in 0..2 {
        let ran = wavebatch(dir.path(), &["run", "night.toml"], None, &env).await;
        assert_eq!(cli::code(&ran), 2, "{}", cli::stderr(&ran));
    }
    let heard = ear.heard();
    let faults: Vec<_> = heard[1..].iter().map(Heard::json).collect();
    assert!(faults[0]["reason"].as_str().unwrap().contains("calls.csv:3"), "{faults:?}");
    assert!(faults.len() == 1 || faults.len() == 2 && faults[0]["at"] != faults[1]["at"], "the hour may have struck");
    // Of a definition that cannot be read only the settings know.
    fs::write(dir.path().join("broken.toml"), "task = 1\n").unwrap();
    wavebatch(dir.path(), &["run", "broken.toml"], None, &env).await;
    assert_eq!(ear.heard().len(), heard.len());
    fs::write(dir.path().join("wavebatch.toml"), url(&ear)).unwrap();
    wavebatch(dir.path(), &["run", "broken.toml"], None, &env).await;
    assert_eq!(ear.heard().last().unwrap().json()["batch"], "broken");
    let count = ear.heard().len();
    wavebatch(dir.path(), &["run", "calls.csv"], None, &env).await;
    assert_eq!(ear.heard().len(), count, "nobody is woken by who types");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_used_is_told_of_too() {
    let (api, ear) = (Sandbox::start(Config::default()).await.unwrap(), Ear::listen([Reply::Status(200)]).await);
    let dir = dated(&url(&ear), "");
    fs::write(dir.path().join("wavebatch.db"), "not a database, but long enough to look like one".repeat(100)).unwrap();
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&ran), 3, "{}", cli::stderr(&ran));
    let message = ear.heard()[0].json();
    assert_eq!((&message["event"], &message["batch"]), (&"could_not_start".into(), &"night".into()));
    assert!(message["reason"].as_str().unwrap().contains("is damaged"), "{message}");
    // Nor does it help the exit status if nobody listens.
    fs::write(dir.path().join("wavebatch.toml"), "[notify]\ncommand = \"exit 9\"\n").unwrap();
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&ran), 3);
    assert!(cli::stderr(&ran).contains("the command ended with status 9"), "{}", cli::stderr(&ran));
    // What is wrong with the settings is told by who is named in the definition.
    fs::write(dir.path().join("wavebatch.toml"), "databse = 1\n").unwrap();
    let definition = fs::read_to_string(dir.path().join("night.toml")).unwrap();
    fs::write(dir.path().join("night.toml"), format!("{definition}[notify]\ncommand = \"cat > told.json\"\n")).unwrap();
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&ran), 2);
    assert!(fs::read_to_string(dir.path().join("told.json")).unwrap().contains("databse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sees_no_secret() {
    let api = Sandbox::start(Config::default()).await.unwrap();
    let dir = dated("", "[notify]\ncommand = \"env > env.txt; cat > told.json\"\n");
    let secret = "ab".repeat(32);
    let secrets = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WAVEBATCH_WEBHOOK_SECRET", "WAVEBATCH_NOTIFY_SECRET"];
    let mut env = secrets.map(|name| (name, secret.as_str())).to_vec();
    env.push(("ROOM", "ops"));
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &env).await;
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    let seen = fs::read_to_string(dir.path().join("env.txt")).unwrap();
    for hidden in secrets.iter().chain(&["SMALLEST_API_KEY"]) {
        assert!(!seen.lines().any(|line| line.starts_with(&format!("{hidden}="))), "{hidden}");
    }
    assert!(!seen.contains(&secret) && seen.contains("ROOM=ops\n"));
    let report = dir.path().join("out/report.csv");
    for line in ["EVENT=finished", "BATCH=night", "DEFINITION=night", "STATE=finished"] {
        assert!(seen.contains(&format!("WAVEBATCH_{line}\n")), "{line}: {seen}");
    }
    assert!(seen.contains(&format!("WAVEBATCH_REPORT={}\n", report.display())), "{seen}");
    assert!(dir.path().join("told.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_fails_changes_nothing_but_the_log() {
    let api = Sandbox::start(Config::default()).await.unwrap();
    let dir = dated("[notify]\ncommand = \"echo tried >> tries; echo no such room >&2; exit 7\"\n", "");
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    assert!(cli::stderr(&ran).contains("status 7: no such room"), "{}", cli::stderr(&ran));
    let tries = || fs::read_to_string(dir.path().join("tries")).unwrap().lines().count();
    assert_eq!(tries(), 2, "once more after ten seconds");
    // The next run tells it, too, once somebody can be told.
    let ear = Ear::listen([Reply::Status(200)]).await;
    fs::write(dir.path().join("wavebatch.toml"), url(&ear)).unwrap();
    fs::write(dir.path().join("calls.csv"), "key,source\ncall-1,1.wav\ncall-2,2.wav\ncall-3,2.wav\n").unwrap();
    let ran = wavebatch(dir.path(), &["run", "night.toml"], Some(&api), &[]).await;
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    assert_eq!(ear.heard().iter().map(|h| h.json()["lines"]["succeeded"].clone()).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_sandbox_only_who_listens_here_is_told() {
    let dir = dated("[notify]\ncommand = \"touch told\"\n", "");
    let ran = wavebatch(dir.path(), &["run", "night.toml", "--sandbox"], None, &[]).await;
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    assert!(!dir.path().join("told").exists());
    let ear = Ear::listen([Reply::Status(200)]).await;
    let dir = dated(&url(&ear), "");
    let ran = wavebatch(dir.path(), &["run", "night.toml", "--sandbox"], None, &[]).await;
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    let message = ear.heard()[0].json();
    assert_eq!((&message["event"], &message["sandbox"]), (&"finished".into(), &true.into()));
}
