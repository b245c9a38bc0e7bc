//! Long recordings: asked for with a webhook, awaited without a worker, and whatever becomes of the callback.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        callback::{Keyring, Rule, Secret, address},
        job::{BatchId, JobState},
        pool::Pool,
    },
    runner::{CallEnd, Event, RunEnd},
    sandbox::{Config, Fault, Match, Sandbox, What},
    server::Receiver,
};

use crate::{
    cli,
    support::{Fixture, KEY, synthesis},
};

const SECRET: Secret = Secret::new([9; 32]);

/// A house with a receiver; every recording is a long one.
async fn fixture(lines: usize, rule: Rule) -> (Fixture, Receiver, BatchId) {
    let config =
        Config { latency: Duration::from_millis(20), webhook_backoff: Duration::from_millis(10), ..Config::default() };
    let mut fixture = Fixture::with(config).await;
    let receiver = fixture.listens(SECRET, rule).await;
    fixture.provable_calls(lines);
    let toml = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
    let batch = fixture.submit(&fixture.write("night.toml", toml)).await;
    (fixture, receiver, batch)
}

fn all_are_long() -> Rule {
    Rule { over_bytes: 0, ..Rule::default() }
}

fn soon_overdue() -> Rule {
    Rule { overdue_ms: 400, grace_ms: 400, ..all_are_long() }
}

async fn all_said(fixture: &Fixture, batch: BatchId, lines: usize) {
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), lines as u64, "{:?}", fixture.ends(batch).await);
    for i in 1..=lines {
        assert_eq!(fixture.output(&format!("call-{i}.txt")).trim(), format!("words of call {i}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_comes_back_and_holds_nobody_up() {
    let (fixture, _receiver, batch) = fixture(60, all_are_long()).await;
    fixture.sandbox.hold_callbacks();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        // More than there are workers: none of them waits.
        fixture.sandbox.callbacks_waiting(60).await;
        assert_eq!(fixture.sandbox.books().in_flight, 0);
        fixture.sandbox.release_callbacks();
    });
    assert_eq!(ran.end, RunEnd::Done);
    all_said(&fixture, batch, 60).await;
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.callbacks_acknowledged), (60, 60));
    assert!(fixture.rows(batch).await.iter().all(|row| (row.tries, row.billed_calls) == (0, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn early_twice_late_or_changed_is_one_call_and_its_words() {
    let faults = [What::CallbackEarly, What::CallbackTwice, What::CallbackTwiceAtOnce, What::CallbackChanged];
    for fault in faults.into_iter().chain([What::CutAfterWork, What::CallbackGarbage(2), What::CallbackTruncated(2)]) {
        let message = format!("{fault:?}");
        let (fixture, _receiver, batch) = fixture(4, all_are_long()).await;
        fixture.sandbox.script([Fault::new(Match::Any, fault)]);
        assert_eq!(fixture.run(batch).await.end, RunEnd::Done, "{message}");
        all_said(&fixture, batch, 4).await;
        assert_eq!(fixture.sandbox.books().calls, 4, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_failed_is_a_try() {
    let (fixture, _receiver, batch) = fixture(2, all_are_long()).await;
    fixture.sandbox.script([Fault::new(Match::EachContent(1), What::CallbackFailed)]);
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    all_said(&fixture, batch, 2).await;
    assert!(fixture.rows(batch).await.iter().all(|row| (row.tries, row.billed_calls) == (1, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_callback_is_found_in_the_log_and_not_bought_again() {
    let (fixture, _receiver, batch) = fixture(2, soon_overdue()).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::CallbackLost)]);
    let ran = fixture.run(batch).await;
    assert_eq!(ran.end, RunEnd::Done);
    let overdue = |event: &&Event| matches!(event, Event::CallbackOverdue { pool: Pool::PulsePro });
    assert_eq!(ran.events.iter().filter(overdue).count(), 2);
    let accepted = |event: &&Event| matches!(event, Event::CallEnded { how: CallEnd::Accepted, .. });
    assert_eq!(ran.events.iter().filter(accepted).count(), 2);
    all_said(&fixture, batch, 2).await;
    assert_eq!(fixture.sandbox.books().calls, 2);
    let rows = fixture.rows(batch).await;
    assert!(rows.iter().all(|row| row.notes.as_deref() == Some("recovered")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_into_the_log_needs_neither_the_secret_nor_the_address_of_before() {
    let rotated = |fixture: &mut Fixture| {
        let webhook = fixture.webhook.as_mut().expect("answers are posted");
        webhook.secrets = Keyring::new(vec![Secret::new([77; 32])]);
    };
    let moved = |fixture: &mut Fixture| {
        let webhook = fixture.webhook.as_mut().expect("answers are posted");
        webhook.public_url = "https://elsewhere.example.com/other/path".parse().unwrap();
    };
    let gone = |fixture: &mut Fixture| fixture.webhook = None;
    type Change = fn(&mut Fixture);
    let changes: [(&str, Change); 3] = [("rotated", rotated), ("moved", moved), ("gone", gone)];
    for (message, change) in changes {
        let (mut fixture, receiver, batch) = fixture(6, soon_overdue()).await;
        fixture.sandbox.script([Fault::new(Match::Any, What::CallbackLost)]);
        let drain = CancellationToken::new();
        let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
            fixture.until("all are accepted", || async { fixture.sandbox.books().billed == 6 }).await;
            drain.cancel();
        });
        assert_eq!(ran.end, RunEnd::Interrupted, "{message}");
        drop(receiver);
        change(&mut fixture);
        fixture.clock.advance(1_000_000);
        // One that looks while another looks is put back for a while, which has to pass.
        let time_passes = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                fixture.clock.advance(10_000);
            }
        };
        let ran = tokio::select! {
            ran = fixture.run(batch) => ran,
            () = time_passes => unreachable!("time passes for ever"),
        };
        assert_eq!(ran.end, RunEnd::Done, "{message}");
        all_said(&fixture, batch, 6).await;
        assert_eq!(fixture.sandbox.books().calls, 6, "{message}: what the log proves is not paid for again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrived_is_asked_for_once_more_after_the_grace() {
    let (fixture, _receiver, batch) = fixture(1, soon_overdue()).await;
    // Accepted, as it seems, and then the vendor knows of nothing: neither callback nor log.
    fixture
        .sandbox
        .script([Fault::new(Match::First(1), What::CallbackFailed), Fault::new(Match::First(1), What::CutAfterWork)]);
    fixture.sandbox.hold_callbacks();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.arrivals(2).await;
        fixture.sandbox.release_callbacks();
    });
    assert_eq!(ran.end, RunEnd::Done);
    all_said(&fixture, batch, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_large_is_not_asked_for_again() {
    let rule = Rule { overdue_ms: 1_500, grace_ms: 100, ..all_are_long() };
    let (fixture, receiver, batch) = fixture(1, rule).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::CallbackLost), Fault::new(Match::Any, What::LogsAbsent)]);
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.until("a call", || async { !fixture.job(batch, "call-1").await.calls.is_empty() }).await;
        let call = fixture.job(batch, "call-1").await.calls[0].id;
        let webhook = fixture.webhook.as_ref().unwrap();
        let path = address(&webhook.public_url, call, &webhook.secrets.newest().unwrap()).path().to_owned();
        for head in ["Content-Length: 67108865\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
            let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
            stream.write_all(format!("POST {path} HTTP/1.1\r\nHost: h\r\n{head}").as_bytes()).await.unwrap();
            if head.starts_with('T') {
                let piece = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
                for _ in 0..65 {
                    // Refused as soon as that is seen.
                    let _ = stream.write_all(&piece).await;
                }
            }
            let mut message = [0; 12];
            stream.read_exact(&mut message).await.unwrap();
            assert_eq!(&message, b"HTTP/1.1 413");
        }
    });
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(fixture.ends(batch).await["call-1"], (JobState::Failed, "answer_too_large".into()));
    assert_eq!(fixture.sandbox.books().calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_leaves_what_is_awaited_to_the_next() {
    let (fixture, _receiver, batch) = fixture(3, all_are_long()).await;
    fixture.sandbox.hold_callbacks();
    let drain = CancellationToken::new();
    let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.sandbox.callbacks_waiting(3).await;
        drain.cancel();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    assert!(fixture.rows(batch).await.iter().all(|row| row.state == JobState::Awaiting));
    fixture.sandbox.release_callbacks();
    fixture.sandbox.callbacks_ended(3).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    all_said(&fixture, batch, 3).await;
    assert_eq!(fixture.sandbox.books().calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_recordings_are_waited_for() {
    let (fixture, _receiver, batch) = fixture(2, Rule::default()).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    all_said(&fixture, batch, 2).await;
    assert_eq!(fixture.sandbox.books().deliveries, 0);
}

/// A folder with a definition whose answers are always posted.
fn asked(settings: &str) -> tempfile::TempDir {
    let dir = cli::fixture();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::write(dir.path().join("1.wav"), synthesis("words of call 1", 1.0, 1)).unwrap();
    write("calls.csv", "key,source\ncall-1,1.wav\n");
    write("wavebatch.toml", settings);
    let toml = "task = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\"]\nwebhook = \"always\"\n";
    write("long.toml", toml);
    dir
}

#[test]
fn in_the_sandbox_answers_are_posted_without_more_ado() {
    let dir = asked("");
    let ran = cli::run(dir.path(), &["run", "long.toml", "--sandbox"]);
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    let text = std::fs::read_to_string(dir.path().join("sandbox-out/long/call-1.txt")).unwrap();
    assert_eq!(text.trim(), "words of call 1");
    assert!(dir.path().join("wavebatch-sandbox.db-webhook-secret").exists(), "it was one that is posted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_receives_for_its_own_time() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!("[webhook]\npublic_url = \"http://{free}/hooks\"\nlisten = \"{free}\"\n");
    let dir = asked(&settings);
    let mut command = cli::wavebatch(dir.path(), &["run", "long.toml"]);
    command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", sandbox.base_url());
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    assert!(cli::stderr(&ran).contains(&format!("callbacks received on {free}")), "{}", cli::stderr(&ran));
    assert_eq!((sandbox.books().calls, sandbox.books().callbacks_acknowledged), (1, 1));
}

#[test]
fn what_is_wrong_with_callbacks_is_told_before_anything_is_bought() {
    let run = |dir: &tempfile::TempDir, secret: Option<&str>| {
        let mut command = cli::wavebatch(dir.path(), &["run", "long.toml"]);
        command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", "http://127.0.0.1:9");
        if let Some(secret) = secret {
            command.env("WAVEBATCH_WEBHOOK_SECRET", secret);
        }
        let ran = command.output().unwrap();
        (cli::code(&ran), cli::stderr(&ran))
    };
    let (code, message) = run(&asked(""), None);
    assert!(code == 2 && message.contains("[webhook] public_url ="), "{code}: {message}");
    let (code, message) =
        run(&asked("[webhook]\npublic_url = \"http://hooks.example.com\"\nlisten = \"8080\"\n"), None);
    assert!(
        code == 2 && message.contains("wavebatch.toml:2:14: `webhook.public_url`: must begin with https://"),
        "{message}"
    );
    assert!(
        message.contains("wavebatch.toml:3:10: `webhook.listen`: `8080` is not an address and a port"),
        "{message}"
    );
    let good = "[webhook]\npublic_url = \"https://hooks.example.com\"\nlisten = \"192.0.2.1:1\"\n";
    let (code, message) = run(&asked(good), Some("hunter2"));
    assert!(
        code == 2 && message.contains("WAVEBATCH_WEBHOOK_SECRET: ") && !message.contains("hunter2"),
        "{code}: {message}"
    );
    let (code, message) = run(&asked(good), None);
    assert!(code == 3 && message.contains("callbacks cannot be received on 192.0.2.1:1"), "{code}: {message}");
    let open = asked(good);
    let path = open.path().join("wavebatch.db-webhook-secret");
    std::fs::write(&path, "ab".repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, message) = run(&open, None);
    assert!(code == 3 && message.contains("can be read by others"), "{code}: {message}");
}

crate::support::server::on_postgres_too! {
    what_is_posted_comes_back_and_holds_nobody_up,
    early_twice_late_or_changed_is_one_call_and_its_words,
    a_callback_that_failed_is_a_try,
    a_lost_callback_is_found_in_the_log_and_not_bought_again,
    who_looks_into_the_log_needs_neither_the_secret_nor_the_address_of_before,
    what_never_arrived_is_asked_for_once_more_after_the_grace,
    one_that_is_too_large_is_not_asked_for_again,
    a_run_that_ends_leaves_what_is_awaited_to_the_next,
    short_recordings_are_waited_for,
    a_run_receives_for_its_own_time,
}
