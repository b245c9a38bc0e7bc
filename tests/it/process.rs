//! What the process asks of the machine, and what the machine may do to it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use secrecy::SecretString;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        call::{ErrorKind, Outcome},
        job::JobState::{Queued, Succeeded},
        s3::SinkSettings,
        transcription::Transcription,
    },
    media::{
        fetch::{FetchError, FetchSettings, Fetcher},
        source::{MAX_SOURCE_BYTES, check_file},
    },
    pace::Pace,
    runner::{Event, RunEnd},
    sandbox::Config,
    sink::{Content, Sink, SinkClass},
    waves::{Client, Departure, Settings, SttBody, SttCall},
};

use crate::{
    cli::{fixture, wavebatch},
    support::{
        Fixture, KEY,
        pty::Pty,
        service::{Service, free_port, program},
        synthesis,
        web::{Page, Web},
    },
};

/// A line of `/proc/PID/limits`: the soft and the hard limit.
#[cfg(target_os = "linux")]
fn limit(limits: &str, name: &str) -> (String, String) {
    let line = limits.lines().find(|line| line.starts_with(name)).expect("that limit");
    let mut words = line[name.len()..].split_whitespace().map(str::to_owned);
    (words.next().expect("soft"), words.next().expect("hard"))
}

#[cfg(target_os = "linux")]
#[test]
fn it_takes_all_files_it_may_have_and_leaves_no_core_dump() {
    let dir = fixture();
    let program = wavebatch(dir.path(), &["sandbox", "--listen", "127.0.0.1:0"]);
    let mut shell = Command::new("sh");
    let run = "ulimit -Sn 128 && ulimit -Hn 512 && exec \"$0\" \"$@\"";
    shell.args(["-c", run]).arg(program.get_program()).args(program.get_args()).current_dir(dir.path());
    let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell");
    // Once it says where it listens, it is set up.
    let mut first = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut first).expect("its first words");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("a living child");
    child.kill().expect("a living child");
    child.wait().expect("a dead child");
    assert_eq!(limit(&limits, "Max open files"), ("512".to_owned(), "512".to_owned()));
    assert_eq!(limit(&limits, "Max core file size"), ("0".to_owned(), "0".to_owned()));
}

/// Lines of the batch of which some are in flight when the terminal goes.
const LINES: usize = 40;
/// Calls in flight.
const IN_FLIGHT: usize = 4;

async fn at_work() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.provable_calls(LINES);
    fixture.definition("", &format!("concurrency = {IN_FLIGHT}"));
    fixture.sandbox.hold();
    fixture
}

/// `command` behind words that start it another way.
fn through(words: &[&str], command: &Command) -> Command {
    let mut through = Command::new(words[0]);
    through.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    through.current_dir(command.get_current_dir().expect("a house"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => through.env(name, value),
            None => through.env_remove(name),
        };
    }
    through
}

async fn ended(mut child: Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it does not end");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What was in flight is paid for and there, and the next run buys only the rest.
async fn nothing_was_cut(fixture: &Fixture) {
    let billed = fixture.sandbox.books().billed;
    let batch = fixture.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let done = fixture.counts(batch).await.of(Succeeded);
    assert!(done >= IN_FLIGHT as u64 && done < LINES as u64, "{done}");
    assert_eq!(done, billed, "no call was cut");
    let status = program(fixture, &["run", "night.toml"]).stderr(Stdio::null()).status().expect("the program");
    assert_eq!(status.code(), Some(0));
    fixture.all_well(batch, LINES as u64, 1).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_goes_away_cuts_no_call() {
    let fixture = at_work().await;
    // A session of its own, whose terminal this is: the kernel tells it when that goes, as after a dropped connection.
    let run = through(&["setsid", "-c"], &program(&fixture, &["run", "night.toml", "-vv"]));
    let (user, child) = Pty::open().start(run);
    fixture.sandbox.waiting(IN_FLIGHT).await;
    let pid = Pid::from_child(&child);
    drop(user);
    // The shell says it again, and the kernel once more when the shell has gone.
    for _ in 0..3 {
        kill_process(pid, Signal::HUP).expect("a living child");
    }
    // Its screen is gone, so that nothing shows when it has heard the signal: the calls are let go a while later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.sandbox.release();
    assert_eq!(ended(child).await.code(), Some(129));
    nothing_was_cut(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_go_away_cut_no_call() {
    let fixture = at_work().await;
    let mut run = program(&fixture, &["run", "night.toml", "-vv", "--json"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    fixture.sandbox.waiting(IN_FLIGHT).await;
    drop((child.stdout.take(), child.stderr.take()));
    fixture.sandbox.release();
    assert_eq!(ended(child).await.code(), Some(0));
    let batch = fixture.store.batch("night").await.expect("a ledger").expect("the batch").id;
    fixture.all_well(batch, LINES as u64, 1).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_started_by_nohup_goes_on() {
    let fixture = at_work().await;
    let run = through(&["nohup"], &program(&fixture, &["run", "night.toml"]));
    let child = { run }.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
    fixture.sandbox.waiting(IN_FLIGHT).await;
    kill_process(Pid::from_child(&child), Signal::HUP).expect("a living child");
    fixture.sandbox.release();
    assert_eq!(ended(child).await.code(), Some(0));
    let batch = fixture.store.batch("night").await.expect("a ledger").expect("the batch").id;
    fixture.all_well(batch, LINES as u64, 1).await;
}

/// As of a shell that says nothing else: the kernel's own limit of open files.
const USUAL_FILES: u64 = 1_024;
const IDLE: usize = 1_000;
/// Longer than the kernel waits before it knocks again.
const CONNECT: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_fail_no_line() {
    let own = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: own.maximum, maximum: own.maximum }).expect("what the test may have");
    if own.maximum.is_some_and(|most| most < 4_096) {
        return;
    }
    let fixture = Fixture::new().await;
    fixture.provable_calls(80);
    let batch = fixture.submit(&fixture.definition("send = \"bytes\"", "concurrency = 16")).await;
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let serve = program(&fixture, &["serve", "--admin-listen", "off", "--listen", &listen]);
    let few = format!("ulimit -n {USUAL_FILES} && exec \"$0\" \"$@\"");
    let serve = through(&["sh", "-c", &few], &serve);
    fixture.sandbox.hold();
    let service = Service::of(serve);
    service.says("callbacks").await;
    fixture.sandbox.waiting(1).await;
    let mut idle = Vec::new();
    while idle.len() < IDLE
        && let Ok(connection) = timeout(CONNECT, TcpStream::connect(&listen)).await
    {
        idle.push(connection.expect("a connection"));
    }
    // Who is not let in knocks on.
    let mut knocking: JoinSet<_> = (idle.len()..IDLE).map(|_| TcpStream::connect(listen.clone())).collect();
    fixture.sandbox.release();
    fixture
        .until("the end", || async { fixture.store.batch_by_id(batch).await.is_ok_and(|b| b.finished_at.is_some()) })
        .await;
    fixture.all_well(batch, 80, 1).await;
    assert!(fixture.rows(batch).await.iter().all(|row| row.tries == 0), "no try was used up");
    drop(idle);
    knocking.abort_all();
}

/// Opens files until there are no more to be had.
fn all_files() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn without_files_left_work_waits_and_costs_nothing() {
    let inner = "process::in_a_process_without_files_left";
    let this = std::env::current_exe().expect("this program");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).arg(this);
    let output = shell.args([inner, "--exact", "--ignored", "--nocapture"]).output().expect("a shell");
    let message = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.contains("1 passed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, in a process of its own"]
async fn in_a_process_without_files_left() {
    let fixture = Fixture::timeless(Config::default()).await;
    let web = Web::serve([("/there.wav", Page::File(synthesis("from afar", 1.0, 3)))]).await;
    fixture.recording("rec/small.wav", "small", 1.0, 1);
    fixture.recording("rec/large.wav", "large", 9.0, 2);
    fixture.recording("rec/first.wav", "first", 1.0, 4);
    fixture.lines(&[
        ("first", "rec/first.wav".to_owned()),
        ("small", "rec/small.wav".to_owned()),
        ("large", "rec/large.wav".to_owned()),
        ("web", web.url("/there.wav")),
    ]);
    let batch = fixture.submit(&fixture.definition("send = \"bytes\"", "max_tries = 1\nconcurrency = 1")).await;
    fixture.sandbox.hold();
    // The ledger's own files are open by then.
    for _ in 0..8 {
        futures::future::join_all((0..8).map(|_| fixture.store.batches())).await;
    }
    let sink = Sink::open(fixture.path("elsewhere").to_str().expect("text"), &SinkSettings::default()).expect("a sink");
    let pace = Pace { tries: 1, ..Pace::default() };
    let fetcher = Fetcher::new(FetchSettings { pace, ..FetchSettings::default() }).expect("a fetcher");
    let settings = Settings {
        base_url: fixture.sandbox.base_url().parse().expect("an address"),
        key: SecretString::from(KEY),
        connect_timeout: Duration::from_secs(2),
        user_agent: "test".into(),
    };
    let client = Client::new(settings).expect("a client");
    let (runner, mut seen) = fixture.runner_on(&fixture.store);
    let spec = fixture.store.batch_by_id(batch).await.expect("a ledger").spec;
    let spec = spec.read().expect("a specification");
    let options = &spec.task.read::<Transcription>().expect("of recordings").options;
    let end = tokio::spawn(async move {
        runner.run(&[batch], CancellationToken::new(), CancellationToken::new()).await.expect("a ledger")
    });
    fixture.sandbox.waiting(1).await;
    let mut files = all_files();

    let failure = check_file(&fixture.path("rec/small.wav"), u64::MAX).expect_err("no file is left");
    assert_eq!((failure.kind, failure.transient), (ErrorKind::LocalOutage, true), "{failure}");
    let url = web.url("/there.wav").parse().expect("an address");
    let fetched =
        fetcher.fetch_or_keep(&url, &fixture.path("copy"), MAX_SOURCE_BYTES).await.expect_err("no socket is left");
    assert!(matches!(&fetched, FetchError::Source(t) if t.kind == ErrorKind::LocalOutage), "{fetched}");
    let call = SttCall { options, word_timestamps: false, call_id: "1", webhook: None };
    let body = SttBody::Bytes { content: synthesis("x", 1.0, 9).into(), content_type: "audio/wav".into() };
    let sent = client.transcribe(&call, body, || Departure::Go, Duration::from_secs(5)).await;
    assert!(matches!(&sent, Outcome::NotSent(t) if t.kind == ErrorKind::LocalOutage), "{sent:?}");
    let put = sink.put("a.txt", Content::Bytes("x".into()), "text/plain").await.expect_err("no file is left");
    assert_eq!(put.class(), SinkClass::Retry, "{put}");

    files.extend(all_files());
    fixture.sandbox.release();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await.expect("a warning");
        if matches!(event.expect("a runner"), Event::Warning(message) if message.contains("`ulimit -n`")) {
            break;
        }
    }
    fixture.until("all lines to be put back", || async { fixture.counts(batch).await.of(Queued) == 4 }).await;
    assert!(fixture.rows(batch).await.iter().all(|row| row.tries == 0), "no try was used up");
    drop(files);
    fixture.clock.advance(31_000);
    assert_eq!(end.await.expect("no panic"), RunEnd::Done);
    fixture.all_well(batch, 4, 1).await;
}

/// Names in a folder for temporary files.
fn scratch(temp: &Path) -> Vec<PathBuf> {
    let own =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wavebatch-check-"));
    fs::read_dir(temp).expect("a folder").map(|entry| entry.expect("a name").path()).filter(own).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_check_left_goes_with_the_next() {
    let dir = fixture();
    let temp = dir.path().join("tmp");
    fs::create_dir(&temp).expect("a folder");
    let args = [
        "check",
        "-",
        "--batch",
        "b",
        "--manifest-format",
        "jsonl",
        "--task",
        "transcribe",
        "--model",
        "pulse",
        "--language",
        "en",
    ];
    let check = || {
        let mut command = wavebatch(dir.path(), &args);
        command.env("TMPDIR", &temp).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program")
    };
    // It reads what never ends.
    let mut killed = check();
    let mut living = check();
    let deadline = Instant::now() + Duration::from_secs(20);
    let copies = || scratch(&temp).iter().filter(|dir| fs::read_dir(dir).is_ok_and(|files| files.count() == 2)).count();
    while copies() < 2 {
        assert!(Instant::now() < deadline, "{:?}", scratch(&temp));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for dir in scratch(&temp) {
        let mode = |path: &Path| fs::metadata(path).expect("what is there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert!(fs::read_dir(&dir).expect("its files").all(|file| mode(&file.expect("a file").path()) == 0o600));
    }
    killed.kill().expect("a living child");
    killed.wait().expect("a dead child");
    assert_eq!(scratch(&temp).len(), 2);
    let mut next = check();
    drop(next.stdin.take());
    next.wait().expect("a child");
    assert_eq!(scratch(&temp).len(), 1, "the living one's stays");
    drop(living.stdin.take());
    living.wait().expect("a child");
    assert!(scratch(&temp).is_empty());
}
