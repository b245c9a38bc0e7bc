//! Long recordings: asked for with a webhook, awaited without a worker, and whatever becomes of the callback.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        callback::{Rule, Secret, address},
        job::{BatchId, JobState},
        pool::Pool,
    },
    runner::{CallEnd, Event, RunEnd},
    sandbox::{Config, Fault, Match, Sandbox, What},
    server::Receiver,
};

use crate::{
    cli,
    support::{House, KEY, speech},
};

const SECRET: Secret = Secret::new([9; 32]);

/// A house with a receiver; every recording is a long one.
async fn house(lines: usize, rule: Rule) -> (House, Receiver, BatchId) {
    let config =
        Config { latency: Duration::from_millis(20), webhook_backoff: Duration::from_millis(10), ..Config::default() };
    let mut house = House::with(config).await;
    let receiver = house.listens(SECRET, rule).await;
    house.provable_calls(lines);
    let toml = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
    let batch = house.submit(&house.write("night.toml", toml)).await;
    (house, receiver, batch)
}

fn all_are_long() -> Rule {
    Rule { over_bytes: 0, ..Rule::default() }
}

fn soon_overdue() -> Rule {
    Rule { overdue_ms: 400, grace_ms: 400, ..all_are_long() }
}

async fn all_said(house: &House, batch: BatchId, lines: usize) {
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), lines as u64, "{:?}", house.ends(batch).await);
    for i in 1..=lines {
        assert_eq!(house.output(&format!("call-{i}.txt")).trim(), format!("words of call {i}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_comes_back_and_holds_nobody_up() {
    let (house, _receiver, batch) = house(60, all_are_long()).await;
    house.sandbox.hold_callbacks();
    let (ran, ()) = tokio::join!(house.run(batch), async {
        // More than there are workers: none of them waits.
        house.sandbox.callbacks_waiting(60).await;
        assert_eq!(house.sandbox.books().in_flight, 0);
        house.sandbox.release_callbacks();
    });
    assert_eq!(ran.end, RunEnd::Done);
    all_said(&house, batch, 60).await;
    let books = house.sandbox.books();
    assert_eq!((books.calls, books.callbacks_acknowledged), (60, 60));
    assert!(house.rows(batch).await.iter().all(|row| (row.tries, row.billed_calls) == (0, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn early_twice_late_or_changed_is_one_call_and_its_words() {
    let faults = [What::CallbackEarly, What::CallbackTwice, What::CallbackTwiceAtOnce, What::CallbackChanged];
    for fault in faults.into_iter().chain([What::CutAfterWork, What::CallbackGarbage(2), What::CallbackTruncated(2)]) {
        let told = format!("{fault:?}");
        let (house, _receiver, batch) = house(4, all_are_long()).await;
        house.sandbox.script([Fault::new(Match::Any, fault)]);
        assert_eq!(house.run(batch).await.end, RunEnd::Done, "{told}");
        all_said(&house, batch, 4).await;
        assert_eq!(house.sandbox.books().calls, 4, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_failed_is_a_try() {
    let (house, _receiver, batch) = house(2, all_are_long()).await;
    house.sandbox.script([Fault::new(Match::EachContent(1), What::CallbackFailed)]);
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    all_said(&house, batch, 2).await;
    assert!(house.rows(batch).await.iter().all(|row| (row.tries, row.billed_calls) == (1, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_callback_is_found_in_the_log_and_not_bought_again() {
    let (house, _receiver, batch) = house(2, soon_overdue()).await;
    house.sandbox.script([Fault::new(Match::Any, What::CallbackLost)]);
    let ran = house.run(batch).await;
    assert_eq!(ran.end, RunEnd::Done);
    let overdue = |event: &&Event| matches!(event, Event::CallbackOverdue { pool: Pool::PulsePro });
    assert_eq!(ran.events.iter().filter(overdue).count(), 2);
    let accepted = |event: &&Event| matches!(event, Event::CallEnded { how: CallEnd::Accepted, .. });
    assert_eq!(ran.events.iter().filter(accepted).count(), 2);
    all_said(&house, batch, 2).await;
    assert_eq!(house.sandbox.books().calls, 2);
    let rows = house.rows(batch).await;
    assert!(rows.iter().all(|row| row.notes.as_deref() == Some("recovered")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_into_the_log_needs_neither_the_secret_nor_the_address_of_before() {
    let rotated = |house: &mut House| {
        let webhook = house.webhook.as_mut().expect("answers are posted");
        webhook.secret = Secret::new([77; 32]);
    };
    let moved = |house: &mut House| {
        let webhook = house.webhook.as_mut().expect("answers are posted");
        webhook.public_url = "https://elsewhere.example.com/other/path".parse().unwrap();
    };
    let gone = |house: &mut House| house.webhook = None;
    type Change = fn(&mut House);
    let changes: [(&str, Change); 3] = [("rotated", rotated), ("moved", moved), ("gone", gone)];
    for (told, change) in changes {
        let (mut house, receiver, batch) = house(6, soon_overdue()).await;
        house.sandbox.script([Fault::new(Match::Any, What::CallbackLost)]);
        let drain = CancellationToken::new();
        let (ran, ()) = tokio::join!(house.run_until(batch, drain.clone()), async {
            house.until("all are accepted", || async { house.sandbox.books().billed == 6 }).await;
            drain.cancel();
        });
        assert_eq!(ran.end, RunEnd::Interrupted, "{told}");
        drop(receiver);
        change(&mut house);
        house.clock.advance(1_000_000);
        assert_eq!(house.run(batch).await.end, RunEnd::Done, "{told}");
        all_said(&house, batch, 6).await;
        assert_eq!(house.sandbox.books().calls, 6, "{told}: what the log proves is not bought again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrived_is_asked_for_once_more_after_the_grace() {
    let (house, _receiver, batch) = house(1, soon_overdue()).await;
    // Accepted, as it seems, and then the vendor knows of nothing: neither callback nor log.
    house
        .sandbox
        .script([Fault::new(Match::First(1), What::CallbackFailed), Fault::new(Match::First(1), What::CutAfterWork)]);
    house.sandbox.hold_callbacks();
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.arrivals(2).await;
        house.sandbox.release_callbacks();
    });
    assert_eq!(ran.end, RunEnd::Done);
    all_said(&house, batch, 1).await;
    assert_eq!(house.sandbox.books().calls, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_large_is_not_asked_for_again() {
    let rule = Rule { overdue_ms: 1_500, grace_ms: 100, ..all_are_long() };
    let (house, receiver, batch) = house(1, rule).await;
    house.sandbox.script([Fault::new(Match::Any, What::CallbackLost), Fault::new(Match::Any, What::LogsAbsent)]);
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.until("a call", || async { !house.job(batch, "call-1").await.calls.is_empty() }).await;
        let call = house.job(batch, "call-1").await.calls[0].id;
        let webhook = house.webhook.as_ref().unwrap();
        let path = address(&webhook.public_url, call, &webhook.secret).path().to_owned();
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
            let mut told = [0; 12];
            stream.read_exact(&mut told).await.unwrap();
            assert_eq!(&told, b"HTTP/1.1 413");
        }
    });
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(house.ends(batch).await["call-1"], (JobState::Failed, "answer_too_large".into()));
    assert_eq!(house.sandbox.books().calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_leaves_what_is_awaited_to_the_next() {
    let (house, _receiver, batch) = house(3, all_are_long()).await;
    house.sandbox.hold_callbacks();
    let drain = CancellationToken::new();
    let (ran, ()) = tokio::join!(house.run_until(batch, drain.clone()), async {
        house.sandbox.callbacks_waiting(3).await;
        drain.cancel();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    assert!(house.rows(batch).await.iter().all(|row| row.state == JobState::Awaiting));
    house.sandbox.release_callbacks();
    house.sandbox.callbacks_ended(3).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    all_said(&house, batch, 3).await;
    assert_eq!(house.sandbox.books().calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_recordings_are_waited_for() {
    let (house, _receiver, batch) = house(2, Rule::default()).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    all_said(&house, batch, 2).await;
    assert_eq!(house.sandbox.books().deliveries, 0);
}

/// A folder with a definition whose answers are always posted.
fn asked(settings: &str) -> tempfile::TempDir {
    let dir = cli::house();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::write(dir.path().join("1.wav"), speech("words of call 1", 1.0, 1)).unwrap();
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
    let (code, told) = run(&asked(""), None);
    assert!(code == 2 && told.contains("[webhook] public_url ="), "{code}: {told}");
    let (code, told) = run(&asked("[webhook]\npublic_url = \"http://hooks.example.com\"\nlisten = \"8080\"\n"), None);
    assert!(
        code == 2 && told.contains("wavebatch.toml:2:14: `webhook.public_url`: must begin with https://"),
        "{told}"
    );
    assert!(told.contains("wavebatch.toml:3:10: `webhook.listen`: `8080` is not an address and a port"), "{told}");
    let good = "[webhook]\npublic_url = \"https://hooks.example.com\"\nlisten = \"192.0.2.1:1\"\n";
    let (code, told) = run(&asked(good), Some("hunter2"));
    assert!(code == 3 && told.contains("WAVEBATCH_WEBHOOK_SECRET: ") && !told.contains("hunter2"), "{code}: {told}");
    let (code, told) = run(&asked(good), None);
    assert!(code == 3 && told.contains("callbacks cannot be received on 192.0.2.1:1"), "{code}: {told}");
    let open = asked(good);
    let path = open.path().join("wavebatch.db-webhook-secret");
    std::fs::write(&path, "ab".repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, told) = run(&open, None);
    assert!(code == 3 && told.contains("can be read by others"), "{code}: {told}");
}
