//! `wavebatch serve`: the real binary as a service, several of them, stopped and killed.

use std::{io::Write, net::TcpListener, path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        cost::Rates,
        environment::Environment,
        job::{BatchId, JobState},
        retry::PauseKind,
        transcription::Transcription,
    },
    report::summary::SummaryState,
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What},
    server::{BatchNews, Supervisor},
    store::{BatchStatus, NewBatch, Resubmission},
};

use crate::dated_batch::DatedBatch;
use crate::support::{
    Fixture,
    ear::{Ear, Reply},
    service::{Service, free_port, program},
    watching::Lock,
};

const NO_PORTS: [&str; 2] = ["--listen", "off"];

fn latency(ms: u64) -> Config {
    Config { latency: Duration::from_millis(ms), webhook_backoff: Duration::from_millis(50), ..Config::default() }
}

/// A definition of Pulse Pro whose answers are all posted.
fn posted(fixture: &Fixture) -> std::path::PathBuf {
    let toml = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\"]\nwebhook = \"always\"\n\
                [run]\nunknown_grace = \"300ms\"\n";
    fixture.write(
        "wavebatch.toml",
        "[limits.pulse]\nrequests_per_minute = 0\n[limits.pulse-pro]\nrequests_per_minute = 0\n",
    );
    fixture.write("night.toml", toml)
}

async fn finished(fixture: &Fixture, batch: BatchId) {
    fixture
        .until("the end of the batch", async || {
            fixture.store.batch_by_id(batch).await.is_ok_and(|row| row.finished_at.is_some())
        })
        .await;
}

fn summary(fixture: &Fixture) -> serde_json::Value {
    serde_json::from_str(&fixture.output("summary.json")).expect("a summary")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_submitted_while_it_serves_is_worked_and_reported() {
    let fixture = Fixture::with(latency(0)).await;
    fixture.provable_calls(12);
    let service = Service::start(&fixture, &NO_PORTS);
    service.says("workers   at work").await;
    let batch = fixture.submit(&fixture.definition("", "")).await;
    service.says("batch finished").await;
    fixture.all_well(batch, 12, 1).await;
    assert_eq!(summary(&fixture)["state"], "finished");
    assert_eq!(fixture.output("report.csv").lines().count(), 13);
    let (status, took, log) = service.stop().await;
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    // A second start has nothing to tell of it.
    let service = Service::start(&fixture, &NO_PORTS);
    service.says("workers   at work").await;
    let (_, _, log) = service.stop().await;
    assert!(!log.contains("batch finished"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_hands_back_what_takes_too_long_and_the_next_start_goes_on() {
    let fixture = Fixture::with(latency(0)).await;
    fixture.provable_calls(6);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 3\nunknown_grace = \"300ms\"")).await;
    fixture.sandbox.hold();
    let service = Service::start(&fixture, &NO_PORTS);
    fixture.sandbox.arrivals(3).await;
    let (status, took, log) = service.stop().await;
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(took < Duration::from_secs(8), "{took:?}\n{log}");
    fixture.sandbox.release();
    let service = Service::start(&fixture, &NO_PORTS);
    finished(&fixture, batch).await;
    fixture.all_well(batch, 6, 1).await;
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_in_time_though_the_ledger_is_locked_and_somebody_has_only_begun_to_ask() {
    let fixture = Fixture::with(latency(0)).await;
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let service = Service::with(&fixture, &["--listen", &listen, "--admin-listen", &admin]);
    service.says("workers   at work").await;
    let lock = Lock::on(fixture.store.file().unwrap()).await;
    let half = |to: &str| {
        let mut half = std::net::TcpStream::connect(to).expect("it listens");
        half.write_all(b"POST /callbacks/").expect("a connection");
        half
    };
    let open = (half(&listen), half(&admin));
    let (status, took, log) = service.stop().await;
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(took < Duration::from_secs(8), "{took:?}\n{log}");
    drop(open);
    // Nor is it waited for by one that only begins.
    let service = Service::with(&fixture, &["--listen", "off", "--admin-listen", "off"]);
    service.hears_signals().await;
    let (status, took, log) = service.stop().await;
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}\n{log}");
    lock.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_ledger_is_migrated_by_a_newer_program_drains_and_says_so() {
    let fixture = Fixture::with(latency(0)).await;
    fixture.provable_calls(6);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 2")).await;
    fixture.sandbox.hold();
    let run = Service::of(program(&fixture, &["work", "--batch", "night", "--listen", "off"]));
    fixture.sandbox.arrivals(2).await;
    let admin = format!("127.0.0.1:{}", free_port());
    let serve = Service::with(&fixture, &["--no-workers", "--listen", "127.0.0.1:0", "--admin-listen", &admin]);
    serve.says("workers   none").await;
    let idle = Service::start(&fixture, &NO_PORTS);
    idle.says("workers   at work").await;
    let row = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
               VALUES (99, 'x', 1, x'00', 0)";
    sqlx::query(row).execute(&mut fixture.ledger().await).await.expect("a ledger");
    run.says("no call is begun any more").await;
    fixture.sandbox.release();
    for process in [run, serve, idle] {
        let (status, log) = process.ends().await;
        assert_eq!(status.code(), Some(3), "{log}");
        let error = "was written by a newer wavebatch (its schema is version 99, this program knows 1)";
        assert_eq!(log.matches(error).count(), 1, "{log}");
        assert!(log.contains("hint: use the wavebatch that wrote it, or a newer one"), "{log}");
    }
    // What was in flight came to its end.
    assert_eq!(fixture.sandbox.books().calls, 2);
    assert_eq!(fixture.store.counts(batch).await.expect("a ledger").unfinished(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_not_at_work_any_more() {
    let fixture = Fixture::with(latency(0)).await;
    fixture.provable_calls(6);
    fixture.submit(&fixture.definition("", "concurrency = 2")).await;
    fixture.sandbox.hold();
    let run = Service::of(program(&fixture, &["work", "--batch", "night", "--listen", "off"]));
    fixture.sandbox.arrivals(2).await;
    let pid = run.pid();
    let status = || {
        let output = program(&fixture, &["status", "night"]).stdout(Stdio::piped()).output().expect("the program");
        String::from_utf8(output.stdout).expect("text")
    };
    let alive = status();
    let process = |status: &str| {
        let line =
            status.lines().find(|line| line.starts_with(&format!("{pid:>7}  "))).unwrap_or_else(|| panic!("{status}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let line = process(&alive);
    assert_eq!(line[1..4], ["at", "work", env!("CARGO_PKG_VERSION")], "{alive}");
    assert!(line.join(" ").contains("2 pulse"), "{alive}");
    assert!(!alive.contains("died"), "{alive}");
    assert!(alive.contains(" running") && !alive.contains("write-ahead log"), "{alive}");
    run.kill();
    let dead = status();
    assert_eq!(process(&dead)[1], "died", "{dead}");
    assert!(dead.contains("The next process at work goes on with the lines of the one that died.\n"), "{dead}");
    assert!(!dead.contains("  at work") && !dead.contains(" running"), "{dead}");
    assert!(dead.contains(" left by a process that died"), "{dead}");
    fixture.sandbox.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_batch_that_is_paused_and_why() {
    let fixture = Fixture::with(latency(0)).await;
    fixture.provable_calls(2);
    fixture.sandbox.script([Fault::new(Match::Any, What::status(402))]);
    fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let run = Service::of(program(&fixture, &["work", "--batch", "night", "--log-format", "json", "--listen", "off"]));
    let (status, log) = run.ends().await;
    assert_eq!(status.code(), Some(3), "{log}");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let paused: Vec<Value> = lines.filter(|line| line["message"] == "batch paused").collect();
    assert!(!paused.is_empty(), "{log}");
    assert_eq!((paused.len(), &paused[0]["batch.name"], &paused[0]["kind"]), (1, &json!("night"), &json!("quota")));
    assert!(paused[0]["reason"].as_str().is_some_and(|reason| reason.contains("402")), "{paused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_serve_one_ledger_and_buy_each_line_once() {
    let fixture = Fixture::with(latency(20)).await;
    fixture.provable_calls(80);
    let services: Vec<_> = (0..3).map(|_| Service::start(&fixture, &NO_PORTS)).collect();
    for service in &services {
        service.says("workers   at work").await;
    }
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4")).await;
    finished(&fixture, batch).await;
    fixture.all_well(batch, 80, 1).await;
    assert!(fixture.sandbox.books().peak_in_flight <= 4, "they share the batch's limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_and_the_workers_may_be_two_processes_and_both_are_killed_again_and_again() {
    const LINES: usize = 60;
    let fixture = Fixture::with(latency(10)).await;
    fixture.provable_calls(LINES);
    let lost = Fault::new(Match::Every(12), What::CallbackLost);
    let chance = |p, seed| Match::Probability { p, seed };
    let faults =
        [lost, Fault::new(chance(0.3, 7), What::CallbackEarly), Fault::new(chance(0.2, 9), What::CallbackTwice)];
    fixture.sandbox.script(faults);
    let batch = fixture.submit(&posted(&fixture)).await;
    let (listen, public_url) = address();
    let receives = ["--no-workers", "--listen", listen.as_str()];
    let works = ["--listen", "off", "--public-url", public_url.as_str(), "--overdue", "3s", "--grace", "500ms"];
    let (mut receiver, mut worker) = (Service::start(&fixture, &receives), Service::start(&fixture, &works));
    for kill in 1..=4_u64 {
        // In turn while calls are accepted, and while their callbacks come in.
        fixture.sandbox.arrivals(kill * 12).await;
        worker.kill();
        worker = Service::start(&fixture, &works);
        // Not of the calls that were cut off with the worker: those are looked up, and have no callback.
        tokio::select! {
            () = fixture.sandbox.callbacks_ended(kill * 6) => {}
            () = finished(&fixture, batch) => {}
        }
        receiver.kill();
        receiver = Service::start(&fixture, &receives);
    }
    finished(&fixture, batch).await;
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (LINES as u64, LINES as u64), "{counts:?}");
    for i in 1..=LINES {
        assert_eq!(fixture.output(&format!("call-{i}.txt")).trim(), format!("words of call {i}"));
    }
    assert_eq!(fixture.sandbox.books().most_billed(), 1, "the log proves each call");
    drop((receiver, worker));
}

fn address() -> (String, String) {
    let listen = format!("127.0.0.1:{}", free_port());
    (listen.clone(), format!("http://{listen}/hooks"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_starting_is_told_with_what_to_do() {
    let fixture = Fixture::with(latency(0)).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let message = |args: &[&str]| {
        let done = program(&fixture, args).stderr(Stdio::piped()).output().expect("the program");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let _keep = TcpListener::bind(&taken);
    let (code, words) = message(&["serve", "--listen", &taken]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("cannot be received on") && words.contains("--listen"), "{words}");
    let (code, words) = message(&["serve", "--public-url", "http://hooks.example.com"]);
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("must begin with https://"), "{words}");
    let (code, words) = message(&["serve", "--listen", "here"]);
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("is not an address and a port"), "{words}");
    let secret = fixture.path("wavebatch.db-webhook-secret");
    readable_by_all(&secret);
    let (code, words) = message(&["serve", "--listen", "off"]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("can be read by others") && words.contains("chmod 600"), "{words}");
}

fn readable_by_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, "00".repeat(32)).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("its owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_job_starts_on_time_from_one_bucket_to_another() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/21", 0..20);
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/nightly-calls.toml");
    dated.fixture.write("jobs/nightly-calls.toml", std::fs::read(jobs).expect("the example"));
    let ear = Ear::listen([Reply::Status(200)]).await;
    let settings = format!("[limits.pulse]\nrequests_per_minute = 0\n[notify]\nurl = \"{}\"\n", ear.url());
    dated.fixture.write("wavebatch.toml", settings);
    // Two o'clock in Kolkata is half past eight in the evening, UTC.
    let args = ["serve", "--definitions", "jobs", "--listen", "off", "--admin-listen", "127.0.0.1:0"];
    let service = Service::of(dated.command("2026-11-21T20:29:57Z", &args));
    service.says("batch started").await;
    service.says("batch finished").await;
    assert_eq!(dated.report("nightly-calls-2026-11-21").len(), 20);
    assert_eq!(dated.text("2026/11/21", 7), "words of call 7");
    assert_eq!(dated.fixture.sandbox.books().calls, 20);
    service.says("notified").await;
    assert_eq!(ear.heard()[0].json()["batch"], "nightly-calls-2026-11-21");
    let (status, took, log) = service.stop().await;
    assert_eq!(status.code(), Some(143), "{log}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// A runner that serves, a keeper, and what they tell.
struct Served {
    stop: CancellationToken,
    news: tokio::sync::mpsc::UnboundedReceiver<BatchNews>,
    runner: tokio::task::JoinHandle<RunEnd>,
}

fn serve(fixture: &Fixture) -> Served {
    let stop = CancellationToken::new();
    let (message, news) = tokio::sync::mpsc::unbounded_channel();
    let tell = move |news: BatchNews| {
        let _ = message.send(news);
        async { Ok(()) }
    };
    let terms = (Rates::default(), wavebatch::tasks::Registry::built_in().reports().clone());
    tokio::spawn(Supervisor::new(fixture.store.clone(), Environment::Live, terms, tell).run(stop.clone()));
    let (runner, _events) = fixture.runner_on(&fixture.store);
    let drain = stop.clone();
    let runner = tokio::spawn(async move {
        runner.serve(drain, CancellationToken::new()).await.expect("a ledger that can be written")
    });
    Served { stop, news, runner }
}

impl Served {
    async fn next(&mut self) -> BatchNews {
        tokio::time::timeout(Duration::from_secs(20), self.news.recv()).await.expect("news in time").expect("a keeper")
    }

    async fn end(self) {
        self.stop.cancel();
        assert_eq!(self.runner.await.expect("a runner"), RunEnd::Interrupted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_ours_ends_by_itself_once_one_line_goes_well() {
    let fixture = Fixture::timeless(latency(0)).await;
    fixture.provable_calls(9);
    fixture.sandbox.script([Fault::new(Match::Any, What::status(402))]);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let mut served = serve(&fixture);
    let news = served.next().await;
    assert!(matches!(news.batch_status, BatchStatus::Paused(_)), "{news:?}");
    assert_eq!(news.summary.state, SummaryState::Paused);
    let calls = fixture.sandbox.books().calls;
    // The wall still stands: one line finds out, and nobody is told again.
    fixture.clock.advance(15 * 60_000);
    fixture.sandbox.arrivals(calls + 1).await;
    fixture
        .until("the pause", async || {
            let row = fixture.store.batch_by_id(batch).await.expect("a ledger");
            row.pause.is_some_and(|(kind, _)| kind == PauseKind::Quota)
                && fixture.counts(batch).await.of(JobState::Running) == 0
        })
        .await;
    assert_eq!(fixture.sandbox.books().calls, calls + 1);
    fixture.sandbox.unscript();
    fixture.clock.advance(15 * 60_000);
    let news = served.next().await;
    assert!(matches!(news.batch_status, BatchStatus::Finished(_)), "{news:?}");
    fixture.all_well(batch, 9, 1).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sends_no_further_recording_once_content_does_not_expire() {
    let fixture = Fixture::timeless(Config { content_expiry: "not-entitled".into(), ..latency(0) }).await;
    fixture.provable_calls(9);
    let batch = fixture.submit(&fixture.definition("expire_content = true", "concurrency = 1")).await;
    let mut served = serve(&fixture);
    let news = served.next().await;
    assert!(matches!(news.batch_status, BatchStatus::Paused(_)), "{news:?}");
    let calls = fixture.sandbox.books().calls;
    // Hour after hour: what must not happen is given its time by the keeper's own looks.
    for _ in 0..4 {
        fixture.clock.advance(3_600_000);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(fixture.sandbox.books().calls, calls, "one answer was enough");
    let (kind, _) = fixture.store.batch_by_id(batch).await.expect("a ledger").pause.expect("a pause");
    assert_eq!(kind, PauseKind::Expiry);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_closes_leaves_the_rest_for_the_next() {
    let fixture = Fixture::timeless(latency(0)).await;
    fixture.provable_calls(6);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let now = fixture.clock.now();
    fixture
        .store
        .set_schedule_window("night", Environment::Live, Some((now - 1_000, now + 3_600_000)))
        .await
        .expect("a ledger");
    fixture.sandbox.hold();
    let mut served = serve(&fixture);
    fixture.sandbox.arrivals(1).await;
    fixture.clock.advance(3_600_000);
    fixture.sandbox.release();
    let news = served.next().await;
    assert!(matches!(news.batch_status, BatchStatus::WindowClosed(_)), "{news:?}");
    assert_eq!(news.summary.state, SummaryState::Waiting);
    assert_eq!(summary(&fixture)["state"], "waiting");
    assert_eq!(fixture.sandbox.books().calls, 1, "what was begun was finished, and nothing more");
    let now = fixture.clock.now();
    fixture
        .store
        .set_schedule_window("night", Environment::Live, Some((now, now + 3_600_000)))
        .await
        .expect("a ledger");
    let news = served.next().await;
    assert!(matches!(news.batch_status, BatchStatus::Finished(_)), "{news:?}");
    fixture.all_well(batch, 6, 1).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_during_a_submission_holds_when_that_is_done() {
    let fixture = Fixture::new().await;
    let new = NewBatch::of::<Transcription>("night", Environment::Live, "{}".into());
    let batch = fixture.store.begin(new, Resubmission::default()).await.expect("a ledger").batch;
    let message = program(&fixture, &["pause", "night"]).stderr(Stdio::piped()).output().expect("the program");
    assert_eq!(message.status.code(), Some(0));
    fixture.store.end_submit(batch).await.expect("a ledger");
    let (kind, _) = fixture.store.batch_by_id(batch).await.expect("a ledger").pause.expect("a pause");
    assert_eq!(kind, PauseKind::User);
}

/// What the program says: exit status, stdout, stderr.
fn says(fixture: &Fixture, args: &[&str]) -> (i32, String, String) {
    let message = program(fixture, args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (message.status.code().expect("no signal"), text(message.stdout), text(message.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_user_lifts_is_told_by_check_and_lifted_by_no_run() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    let definition = fixture.definition("", "");
    let batch = fixture.submit(&definition).await;
    let name = fixture.store.batch_by_id(batch).await.expect("a ledger").name;
    let file = definition.to_str().expect("UTF-8");
    for kind in [PauseKind::Expiry, PauseKind::User] {
        fixture.store.pause(batch, kind, "they stay".into()).await.expect("a ledger");
        let (code, message, _) = says(&fixture, &["check", file]);
        assert_eq!(code, 0);
        let paused = kind.in_words("they stay");
        assert!(message.contains(&paused) && message.contains(&format!("`wavebatch resume {name}`")), "{message}");
        for verb in [&["run", file][..], &["work", "--batch", &name]] {
            let (code, _, message) = says(&fixture, verb);
            assert_eq!(code, 3, "{message}");
            assert!(
                message.contains(&paused) && message.contains(&format!("hint: wavebatch resume {name}")),
                "{message}"
            );
        }
        assert_eq!(fixture.sandbox.books().calls, 0, "not one recording leaves");
        fixture.store.resume(batch, true).await.expect("a ledger");
    }
    fixture.store.pause(batch, PauseKind::Quota, "no credit".into()).await.expect("a ledger");
    let (_, message, _) = says(&fixture, &["check", file]);
    assert!(message.contains("paused (quota: no credit); give the account credit; then run it again"), "{message}");
    let json: Value = serde_json::from_str(&says(&fixture, &["check", file, "--json"]).1).expect("JSON");
    assert_eq!((&json["plan"]["state"], &json["plan"]["pause"]["kind"]), (&json!("paused"), &json!("quota")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_was_cut_off_is_told_by_check_and_by_work() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    let definition = fixture.definition("", "");
    let batch = fixture.submit(&definition).await;
    let row = fixture.store.batch_by_id(batch).await.expect("a ledger");
    let new = NewBatch {
        definition: row.definition,
        ..NewBatch::of::<Transcription>(&row.name, Environment::Live, row.spec)
    };
    fixture.store.begin(new, Resubmission::default()).await.expect("a ledger");
    let file = definition.to_str().expect("UTF-8");
    assert!(says(&fixture, &["check", file]).1.contains("its submission is under way"));
    let mut ledger = fixture.ledger().await;
    sqlx::query("UPDATE batches SET submitting_at = submitting_at - 61000")
        .execute(&mut ledger)
        .await
        .expect("a ledger");
    assert!(says(&fixture, &["check", file]).1.contains("cut off; submitting it again finishes it"));
    let (code, _, message) = says(&fixture, &["work", "--batch", &row.name]);
    assert!(code == 3 && message.contains("hint: submit it again"), "{message}");
}

/// How a process ended whose clock was ahead.
#[derive(Debug, Clone, Copy)]
enum Left {
    Killed,
    Stopped,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_while_nobody_lives_holds_nobody_up() {
    const HOUR: i64 = 3_600;
    let table = [
        (2 * HOUR, Left::Killed, &["run", "night.toml"][..]),
        (24 * HOUR, Left::Stopped, &["run", "night.toml"]),
        (365 * 24 * HOUR, Left::Killed, &["work", "--batch", "night"]),
        (2 * HOUR, Left::Stopped, &["serve", "--listen", "off", "--admin-listen", "off"]),
        (365 * 24 * HOUR, Left::Killed, &["serve", "--listen", "off", "--admin-listen", "off"]),
    ];
    let rows = table.map(|(ahead, left, next)| {
        tokio::spawn(async move {
            let message = format!("{ahead} s, {left:?}, {next:?}");
            let fixture = Fixture::with(latency(0)).await;
            fixture.provable_calls(12);
            let definition = fixture.definition("", "concurrency = 3\nunknown_grace = \"300ms\"");
            fixture.sandbox.hold();
            let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
            // Of a service, this is where its clock begins.
            let mut first = program(&fixture, &["serve", "--listen", "off", "--admin-listen", "off"]);
            first.env("WAVEBATCH_NOW", now.to_string());
            let first = Service::of(first);
            first.says("workers   at work").await;
            let batch = fixture.submit(&definition).await;
            fixture.sandbox.arrivals(3).await;
            let mut ledger = fixture.ledger().await;
            let newest: i64 =
                sqlx::query_scalar("SELECT max(sent_at) FROM calls").fetch_one(&mut ledger).await.expect("calls");
            assert!(newest > fixture.clock.now() + (ahead - 60) * 1_000, "{message}: its clock is ahead");
            match left {
                Left::Killed => first.kill(),
                Left::Stopped => drop(first.stop().await),
            }
            fixture.sandbox.release();
            let _second = Service::of(program(&fixture, next));
            let began = std::time::Instant::now();
            while fixture.store.batch_by_id(batch).await.expect("a ledger").finished_at.is_none() {
                assert!(began.elapsed() < Duration::from_secs(20), "{message}: {:?}", fixture.counts(batch).await);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            fixture.all_well(batch, 12, 1).await;
        })
    });
    for row in rows {
        row.await.expect("a row that holds");
    }
}
