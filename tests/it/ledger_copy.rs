//! `wavebatch ledger copy`: a ledger goes to a server and back in the middle of its work, and nothing is paid for twice.

use std::{
    fs,
    process::{Command, Output, Stdio},
    time::Duration,
};

use wavebatch::{
    config::{Env, Flags},
    domain::job::JobState,
    sandbox::Config,
    store::{LedgerAddress, Opening, ServerAddress, Store},
};

use crate::support::{
    Fixture,
    s3::S3Server,
    server::postgres,
    service::{free_port, program},
    synthesis::{SynthesisSetup, prose},
};

/// An address on the server, or none where PostgreSQL is not installed.
fn on_server(name: &str) -> Option<String> {
    let Some(cluster) = postgres::Cluster::get() else {
        postgres::tell_skipped();
        return None;
    };
    Some(cluster.url(&format!("{name}_{}", uuid::Uuid::now_v7().simple())))
}

fn ends(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdout(Stdio::piped()).output().unwrap();
    (status.code(), [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat())
}

fn copy(fixture: &Fixture, from: &str, to: &str) -> (Option<i32>, String) {
    ends(program(fixture, &["ledger", "copy", from, to]))
}

/// Copies, and it must work.
fn copied(fixture: &Fixture, from: &str, to: &str) -> String {
    let (code, said) = copy(fixture, from, to);
    assert_eq!(code, Some(0), "{said}");
    said
}

/// Works until so many calls came, and is killed.
async fn killed_after(fixture: &Fixture, ledger: &str, arrivals: u64) {
    let mut run = program(fixture, &["run", "night.toml", "-q", "--database", ledger]).spawn().unwrap();
    fixture.sandbox.arrivals(arrivals).await;
    run.kill().unwrap();
    run.wait().unwrap();
}

/// The ledger at an address, opened here.
async fn opened(fixture: &Fixture, address: &str) -> Store {
    let ledger: LedgerAddress = match ServerAddress::is_meant(address) {
        true => ServerAddress::parse(address).unwrap().into(),
        false => LedgerAddress::File(fixture.path(address)),
    };
    let config = wavebatch::config::Config::load(&Flags::default(), &Env::default(), fixture.dir.path()).unwrap();
    Store::open(Opening { ledger, ..config.opening(false) }).await.unwrap().0
}

async fn states(fixture: &Fixture, address: &str, batch: &str) -> Vec<(JobState, u64)> {
    let store = opened(fixture, address).await;
    let batch = store.batch(batch).await.unwrap().unwrap().id;
    let counts = store.counts(batch).await.unwrap();
    let all = [JobState::Succeeded, JobState::Failed, JobState::Suspect, JobState::Queued];
    let counts = all.map(|state| (state, counts.of(state))).into_iter().filter(|(_, lines)| *lines > 0).collect();
    store.close().await;
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_moves_to_a_server_and_back_in_the_middle_and_is_paid_for_once() {
    const LINES: usize = 60;
    let Some(server) = on_server("midst") else { return };
    let config = Config { latency: Duration::from_millis(100), keep: 1_000, ..Config::default() };
    let fixture = Fixture::with(config).await;
    fixture.provable_calls(LINES);
    fixture.definition("", "concurrency = 6\nunknown_grace = \"1s\"");
    killed_after(&fixture, "here.db", 15).await;
    let said = copied(&fixture, "here.db", &server);
    assert!(said.contains(" moved to postgres://") && said.contains("compared by SHA-256"), "{said}");
    assert!(said.contains("-> export WAVEBATCH_DATABASE='postgres://"), "{said}");
    // The old place is not worked any more, and says where the ledger is.
    let (code, said) = ends(program(&fixture, &["run", "night.toml", "--database", "here.db"]));
    assert!(code == Some(3) && said.contains("here.db was moved to postgres://"), "{code:?} {said}");
    assert!(said.contains("hint: name the new place with --database"), "{said}");

    killed_after(&fixture, &server, 35).await;
    copied(&fixture, &server, "back.db");
    let (code, said) = ends(program(&fixture, &["status", "--database", &server]));
    assert!(code == Some(3) && said.contains(" was moved to "), "{code:?} {said}");
    let (code, said) = ends(program(&fixture, &["run", "night.toml", "--database", "back.db"]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(states(&fixture, "back.db", "night").await, [(JobState::Succeeded, LINES as u64)]);
    assert_eq!(fixture.sandbox.books().most_billed(), 1, "nothing was bought twice");
}

/// Copies a ledger, and dies at each of these points, one after the other, before it is done.
fn killed_at(fixture: &Fixture, (from, to): (&str, &str), points: &[&str]) {
    for point in points {
        let mut copying = program(fixture, &["ledger", "copy", from, to]);
        copying.env("WAVEBATCH_CRASH_AT", point);
        let (code, said) = ends(copying);
        assert_eq!(code, None, "it passes {point}: {said}");
        // Neither end is a ledger meanwhile.
        let (code, said) = ends(program(fixture, &["status", "--database", from]));
        let is_moved = point.starts_with("copy-after-moved") && said.contains(" was moved to ");
        assert!(code == Some(3) && (is_moved || said.contains(" is being copied to ")), "{point}: {said}");
        let (code, said) = ends(program(fixture, &["status", "--database", to]));
        match *point {
            "copy-source-marked" => assert!(!said.contains("night"), "{said}"),
            _ => {
                assert!(code == Some(3) && said.contains("is an unfinished copy of the ledger "), "{point}: {said}");
                assert!(said.contains("hint: start `wavebatch ledger copy` again"), "{said}");
            }
        }
    }
    copied(fixture, from, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copying_that_is_killed_goes_on_until_it_is_done() {
    const LINES: usize = 9_000;
    let fixture = Fixture::new().await;
    let rows: String = (0..LINES).map(|n| format!("call-{n},https://calls.example.com/{n}.wav\n")).collect();
    fixture.write("calls.csv", format!("key,source\n{rows}"));
    fixture.definition("", "");
    let (code, said) = ends(program(&fixture, &["submit", "night.toml", "--database", "here.db"]));
    assert_eq!(code, Some(0), "{said}");
    let all = ["copy-source-marked", "copy-page:1", "copy-page:2", "copy-before-moved", "copy-after-moved"];
    killed_at(&fixture, ("here.db", "there.db"), &all);
    assert_eq!(states(&fixture, "there.db", "night").await, [(JobState::Queued, LINES as u64)]);
    let Some(server) = on_server("killed") else { return };
    killed_at(&fixture, ("there.db", &server), &["copy-page:2", "copy-after-moved"]);
    assert_eq!(states(&fixture, &server, "night").await, [(JobState::Queued, LINES as u64)]);
    killed_at(&fixture, (&server, "back.db"), &["copy-page:3"]);
    assert_eq!(states(&fixture, "back.db", "night").await, [(JobState::Queued, LINES as u64)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bought_speech_goes_along_to_where_the_copy_keeps_it() {
    let Some(server) = on_server("speech") else { return };
    let fixture = Fixture::new().await;
    let text = prose(6);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
    fixture.run(batch).await;
    let bought = fixture.sandbox.books().billed;
    assert!(bought > 4);
    fixture.store.clone().close().await;

    // Without a place for it, nothing is copied, and the ledger stays in use.
    let (code, said) = copy(&fixture, "wavebatch.db", &server);
    assert!(code == Some(3) && said.contains("it has no place for bought speech that all of them reach"), "{said}");
    assert!(said.contains("hint: write into wavebatch.toml spool = \"s3://bucket/prefix/\""), "{said}");
    assert_eq!(ends(program(&fixture, &["status"])).0, Some(0));

    let s3 = S3Server::start().await;
    s3.bucket("speech");
    let spool = format!("spool = \"s3://speech/kept/\"\n[s3]\nendpoint_url = \"{}\"\n", s3.endpoint());
    fixture.write("wavebatch.toml", spool);
    let mut copying = program(&fixture, &["ledger", "copy", "wavebatch.db", &server]);
    copying.envs(s3.environment());
    let (code, said) = ends(copying);
    assert!(code == Some(0) && said.contains(&format!("speech    {bought} clips")), "{said}");
    let store = opened(&fixture, &server).await;
    let kept = store.spool_view(fixture.registry.reports()).await.unwrap().all;
    assert_eq!(kept.clips, bought);
    // What is said again there is joined from what was bought here.
    let there = Fixture { store, ..fixture };
    let again = SynthesisSetup { name: "again", ..SynthesisSetup::default() };
    let batch = there.speak(&again, &[("two", &text)]).await;
    there.run(batch).await;
    assert_eq!(there.row(batch, "two").await.state, JobState::Succeeded);
    assert_eq!(there.sandbox.books().billed, bought, "nothing is bought again");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_under_way_are_accepted_at_the_new_place() {
    const LINES: usize = 8;
    let Some(server) = on_server("callbacks") else { return };
    let config = Config { latency: Duration::from_millis(20), ..Config::default() };
    let fixture = Fixture::with(config).await;
    fixture.provable_calls(LINES);
    let port = free_port();
    let settings = format!(
        "[limits.pulse-pro]\nrequests_per_minute = 0\n[webhook]\npublic_url = \"http://127.0.0.1:{port}/hooks\"\n\
         listen = \"127.0.0.1:{port}\"\n"
    );
    fixture.write("wavebatch.toml", settings);
    let toml = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\"]\nwebhook = \"always\"\n";
    fixture.write("night.toml", toml);
    fixture.sandbox.hold_callbacks();
    let mut run = program(&fixture, &["run", "night.toml", "-q", "--database", "here.db"]).spawn().unwrap();
    fixture.sandbox.callbacks_waiting(LINES).await;
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(fixture.path("here.db-webhook-secret").exists());
    copied(&fixture, "here.db", &server);
    let mut show = program(&fixture, &["secrets", "show", "webhook", "--database", &server]);
    let shown = String::from_utf8(show.stdout(Stdio::piped()).output().unwrap().stdout).unwrap();
    assert_eq!(shown, fs::read_to_string(fixture.path("here.db-webhook-secret")).unwrap(), "it stands in the ledger");
    fs::remove_file(fixture.path("here.db-webhook-secret")).unwrap();

    let run = program(&fixture, &["run", "night.toml", "-q", "--database", &server]);
    let (done, ()) = tokio::join!(tokio::task::spawn_blocking(move || ends(run)), async {
        // The receiver is there once its port is.
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fixture.sandbox.release_callbacks();
    });
    assert_eq!(done.unwrap().0, Some(0));
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.callbacks_acknowledged), (LINES as u64, LINES as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_is_refused_in_one_sentence() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    fixture.definition("", "");
    let submit = |ledger: &str| ends(program(&fixture, &["submit", "night.toml", "--database", ledger]));
    assert_eq!(submit("a.db").0, Some(0));
    let says = |from: &str, to: &str, code: i32, words: &str| {
        let (ended, said) = copy(&fixture, from, to);
        assert!(ended == Some(code) && said.contains(words) && said.contains("hint: "), "{ended:?} {said}");
        said
    };
    says("a.db", "./a.db", 2, "are the same ledger");
    let said = says("none.db", "b.db", 3, "there is no ledger at ");
    assert!(said.contains("the ledger that is to be copied comes first"), "{said}");
    assert!(!fixture.path("b.db").exists());
    let (code, said) = copy(&fixture, "a.db", "mysql://x/y");
    assert!(code == Some(2) && said.contains("TO: `mysql://` ledgers are not supported"), "{code:?} {said}");
    says("a.db", "postgres://u@127.0.0.1:1/db", 3, "the server of the ledger cannot be reached");
    fixture.write("text.db", "this is no ledger, but a text that somebody wrote into a file of that name");
    says("a.db", "text.db", 3, "is damaged or is no wavebatch ledger");
    copied(&fixture, "a.db", "b.db");
    says("b.db", "a.db", 3, "a.db was moved to ");
    let elsewhere = ["submit", "night.toml", "--database", "c.db", "--output", "elsewhere/"];
    assert_eq!(ends(program(&fixture, &elsewhere)).0, Some(0));
    says("b.db", "c.db", 3, "c.db is not empty: it has batches");

    // It can be taken back, by whoever says that it is meant.
    let reopen = |args: &[&str]| {
        let all: Vec<&str> = ["ledger", "reopen", "--database", "a.db"].iter().chain(args).copied().collect();
        ends(program(&fixture, &all))
    };
    let (code, said) = reopen(&[]);
    assert!(code == Some(2) && said.contains("would be paid for again") && said.contains("--yes"), "{code:?} {said}");
    let (code, said) = reopen(&["--yes"]);
    assert!(code == Some(0) && said.contains("a.db is in use again; do not work on "), "{code:?} {said}");
    assert_eq!(ends(program(&fixture, &["status", "--database", "a.db"])).0, Some(0));
    let (code, said) = reopen(&["--yes"]);
    assert!(code == Some(0) && said.contains("there was nothing to do"), "{code:?} {said}");

    // A trial leaves the ledger as it is.
    let (code, said) = ends(program(&fixture, &["ledger", "copy", "a.db", "trial.db", "--keep-source", "--json"]));
    let view: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    let jobs = view["tables"].as_array().unwrap().iter().find(|table| table["table"] == "jobs").unwrap();
    assert!(code == Some(0) && view["moved"] == false && jobs["rows"] == 2, "{said}");
    assert_eq!(submit("a.db").0, Some(0));

    let mut work = program(&fixture, &["serve", "--listen", "off", "--admin-listen", "off", "--database", "a.db"]);
    let mut work = work.stderr(Stdio::null()).spawn().unwrap();
    let lock = || {
        fs::read_dir(fixture.dir.path()).unwrap().flatten().any(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("a.db-process-")
        })
    };
    while !lock() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = says("a.db", "d.db", 3, "a.db is in use by process ");
    assert!(said.contains(&format!("process {}", work.id())) && !fixture.path("d.db").exists(), "{said}");
    work.kill().unwrap();
    work.wait().unwrap();
    copied(&fixture, "a.db", "d.db");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_speech_that_is_gone_and_changes_nothing() {
    let config = Config { latency: Duration::from_millis(40), ..Config::default() };
    let fixture = Fixture::with(config).await;
    let text = prose(12);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
    let check = || {
        let (code, said) = ends(program(&fixture, &["ledger", "check", "--json"]));
        (code, serde_json::from_str::<serde_json::Value>(&said).unwrap())
    };
    // While it is worked, and when it was stopped in the middle.
    let drain = tokio_util::sync::CancellationToken::new();
    let (_, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.sandbox.arrivals(5).await;
        let (code, said) = tokio::task::block_in_place(check);
        assert!(code == Some(0) && said["is_whole"] == true, "{said}");
        drain.cancel();
    });
    let (code, said) = check();
    assert!(code == Some(0) && said["clips"].as_u64() > Some(3) && said["unknown_clips"] == 0, "{said}");
    let clips = fixture.path("wavebatch.db-spool/speech");
    let clips: Vec<_> =
        walkdir::WalkDir::new(clips).into_iter().flatten().filter(|e| e.file_type().is_file()).collect();
    fs::remove_file(clips[0].path()).unwrap();
    fs::write(clips[1].path(), "short").unwrap();
    let (code, said) = check();
    assert!(code == Some(1) && said["is_whole"] == false, "{said}");
    let what = |n: usize| said["findings"][n]["what"].as_str().unwrap().to_owned();
    assert_eq!(what(0), "a clip that an unfinished line has paid for is not in the spool");
    assert_eq!(what(1), "a clip has another length than when it was bought");
    let (code, said) = ends(program(&fixture, &["ledger", "check"]));
    assert!(code == Some(1) && said.contains("wavebatch.db: 2 findings") && said.contains("    -> "), "{said}");
}
