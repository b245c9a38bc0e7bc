//! Three nodes on one ledger: killed, cut off, and with a server that crashes.

use std::{
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use wavebatch::{domain::job::JobState::Succeeded, sandbox::Config, store::ReportRow};

use crate::support::{
    Fixture,
    crash::{Plan, ordeal_of_nodes},
    proxy::{After, Proxy, Target},
    server::{crash, on_its_own, postgres},
    service::{Service, free_port, program},
};

/// A node: a process with a folder of its own. Killed when dropped.
struct Node<'a> {
    fixture: &'a Fixture,
    folder: PathBuf,
    process: Child,
}

impl<'a> Node<'a> {
    fn new(fixture: &'a Fixture, name: &str) -> Self {
        let folder = fixture.path(name);
        std::fs::create_dir(&folder).unwrap();
        let process = Self::start(fixture, &folder);
        Self { fixture, folder, process }
    }

    fn start(fixture: &Fixture, folder: &PathBuf) -> Child {
        let mut work = program(fixture, &["work", "--batch", "night", "-q", "--config", "../wavebatch.toml"]);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        work.current_dir(folder).stderr(log).stdout(Stdio::null()).spawn().unwrap()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::start(self.fixture, &self.folder);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    async fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            match self.process.try_wait().unwrap().map(|status| status.code()) {
                // The ledger was out of reach just when it opened it: a supervisor starts it again.
                Some(Some(3)) => self.process = Self::start(self.fixture, &self.folder),
                Some(code) => return code,
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("a node does not end: {}", std::fs::read_to_string(self.folder.join("log")).unwrap());
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ends every session of the server but the asking one, in the middle of whatever it does.
async fn end_sessions(url: &str) {
    let options: PgConnectOptions = url.split("&schema=").next().unwrap().parse().unwrap();
    // It may still be ending, or starting again.
    let mut admin: PgConnection = loop {
        match options.connect().await {
            Ok(admin) => break admin,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
        .execute(&mut admin)
        .await
        .unwrap();
    admin.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lose_nothing_and_buy_nothing_twice_whatever_dies() {
    const LINES: usize = 240;
    let Some(bin) = postgres::programs() else { return postgres::tell_skipped() };
    let mut server = postgres::Cluster::start(&bin);
    on_its_own(&server);
    let config = Config { latency: Duration::from_millis(150), keep: 1_000, ..Config::default() };
    let fixture = Fixture::with(config).await;
    fixture.provable_calls(LINES);
    fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 6\n");
    let batch = fixture.submit(&fixture.definition("", "concurrency = 16\nunknown_grace = \"1s\"")).await;
    let mut nodes: Vec<Node> = ["a", "b", "c"].iter().map(|name| Node::new(&fixture, name)).collect();
    let trial = async {
        fixture.sandbox.arrivals(20).await;
        nodes[0].kill();
        fixture.sandbox.arrivals(50).await;
        end_sessions(&server.url("own")).await;
        fixture.sandbox.arrivals(80).await;
        // Past the lease: others take its lines over, and it finds itself buried.
        nodes[1].signal(Signal::STOP);
        tokio::time::sleep(Duration::from_secs(8)).await;
        nodes[1].signal(Signal::CONT);
        fixture.sandbox.arrivals(120).await;
        crash(&mut server, 3);
        fixture.sandbox.arrivals(150).await;
        for _ in 0..5 {
            end_sessions(&server.url("own")).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        nodes[2].kill();
        for node in &mut nodes {
            assert_eq!(node.ended().await, Some(0));
        }
    };
    tokio::select! {
        () = trial => {}
        () = tokio::time::sleep(Duration::from_secs(150)) => panic!("too few calls came: {:?}", fixture.counts(batch).await),
    }
    assert_eq!(fixture.counts(batch).await.of(Succeeded), LINES as u64);
    fixture.all_well(batch, LINES as u64, 1).await;
    let books = fixture.sandbox.books();
    assert!(books.peak_in_flight <= 6, "{} in flight", books.peak_in_flight);
}

/// How a run loses its server.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    /// It refuses connections.
    Down,
    /// Nothing comes through, and nobody says so.
    Silence,
}

/// A run with answers in hand whose server is gone for so long after it was asked to end. How it ended, after which time,
/// what it said, and how many of its calls the next run had to look up.
struct Abandoned {
    status: ExitStatus,
    took: Duration,
    log: String,
    looked_up: usize,
}

async fn abandoned(loss: Loss, away: Duration) -> Option<Abandoned> {
    const LINES: usize = 12;
    const IN_FLIGHT: u64 = 4;
    let Some(bin) = postgres::programs() else {
        postgres::tell_skipped();
        return None;
    };
    let mut server = postgres::Cluster::start(&bin);
    on_its_own(&server);
    let fixture = Fixture::with(Config { keep: 1_000, ..Config::default() }).await;
    fixture.provable_calls(LINES);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4\nunknown_grace = \"1s\"")).await;
    let network = Proxy::before(vec![Target::Socket(server.dir.join(".s.PGSQL.5432"))]);
    let url = format!("postgres://wavebatch@{}/postgres?schema=own&sslmode=disable", network.addr);
    fixture.sandbox.hold();
    let mut run = program(&fixture, &["work", "--batch", "night", "--config", "wavebatch.toml"]);
    run.env("WAVEBATCH_DATABASE", url);
    let run = Service::of(run);
    fixture.sandbox.arrivals(IN_FLIGHT).await;
    match loss {
        Loss::Down => crash(&mut server, u32::try_from(away.as_secs()).unwrap()),
        Loss::Silence => network.cut(),
    }
    fixture.sandbox.release();
    let (began, pid) = (Instant::now(), Pid::from_raw(i32::try_from(run.pid()).unwrap()).unwrap());
    kill_process(pid, Signal::TERM).unwrap();
    let healed = async {
        tokio::time::sleep(away).await;
        network.heal(After::Break);
    };
    let ended = async {
        let ended = run.ends_within(Duration::from_secs(47)).await;
        (ended, began.elapsed())
    };
    let ((), ((status, log), took)) = tokio::join!(healed, ended);
    assert_eq!(fixture.sandbox.books().calls, IN_FLIGHT, "no call was begun");
    // The server may not be back yet.
    let work = ["work", "--batch", "night", "-q", "--config", "wavebatch.toml"];
    let waiting = Instant::now();
    while program(&fixture, &work).stderr(Stdio::null()).status().unwrap().code() != Some(0) {
        assert!(waiting.elapsed() < away, "the rest is not done");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    fixture.all_well(batch, LINES as u64, 1).await;
    let looked_up = |row: &ReportRow| row.notes.as_deref() == Some("recovered");
    let looked_up = fixture.rows(batch).await.into_iter().filter(looked_up).count();
    Some(Abandoned { status, took, log, looked_up })
}

/// It tries to the end: it is asked to end, and what it has paid for is in the ledger as soon as the server is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_asked_to_end_without_its_server_keeps_its_answers_until_it_is_back() {
    for loss in [Loss::Down, Loss::Silence] {
        let Some(run) = abandoned(loss, Duration::from_secs(4)).await else { return };
        assert_eq!(run.status.code(), Some(143), "{}", run.log);
        assert!(
            run.took > Duration::from_secs(3) && run.took < Duration::from_secs(12),
            "{:?}:\n{}",
            run.took,
            run.log
        );
        assert_eq!(run.looked_up, 0);
    }
}

mod on_postgres {
    use super::*;

    /// A firewall forgets the connections, or the server comes back as another machine: nobody is told, and nothing ever comes
    /// on them.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "the gate runs it"]
    async fn a_run_whose_connections_vanish_without_a_word_goes_on_with_others() {
        const LINES: usize = 200;
        let Some(bin) = postgres::programs() else { return postgres::tell_skipped() };
        let server = postgres::Cluster::start(&bin);
        on_its_own(&server);
        let config = Config { latency: Duration::from_millis(100), keep: 1_000, ..Config::default() };
        let fixture = Fixture::with(config).await;
        fixture.provable_calls(LINES);
        let batch = fixture.submit(&fixture.definition("", "concurrency = 4\nunknown_grace = \"1s\"")).await;
        let network = Proxy::before(vec![Target::Socket(server.dir.join(".s.PGSQL.5432"))]);
        let url = format!("postgres://wavebatch@{}/postgres?schema=own&sslmode=disable", network.addr);
        let mut run = program(&fixture, &["work", "--batch", "night", "--config", "wavebatch.toml"]);
        run.env("WAVEBATCH_DATABASE", url);
        let run = Service::of(run);
        fixture.sandbox.arrivals(20).await;
        network.cut();
        tokio::time::sleep(Duration::from_millis(700)).await;
        network.heal(After::Vanish);
        // It notices as soon as a read, or a wait for the ledger's lock, would be over.
        let (status, log) = run.ends_within(Duration::from_secs(60)).await;
        assert_eq!(status.code(), Some(0), "{log}");
        fixture.all_well(batch, LINES as u64, 1).await;
    }

    async fn ends_by_itself(loss: Loss) {
        let Some(run) = abandoned(loss, Duration::from_secs(48)).await else { return };
        assert_eq!(run.status.code(), Some(143), "{}", run.log);
        let seconds = run.took.as_secs_f64();
        assert!((19.0..45.0).contains(&seconds), "{seconds} s:\n{}", run.log);
        for said in ["left without a word in the ledger", "interrupted"] {
            assert!(run.log.contains(said), "{said}:\n{}", run.log);
        }
        // A network that is silent may show only after that.
        assert!(loss == Loss::Silence || run.log.contains("the ledger cannot be written"), "{}", run.log);
        assert_eq!(run.looked_up, 4);
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "the gate runs it"]
    async fn a_run_that_is_asked_to_end_while_its_server_is_down_ends_after_20_s() {
        ends_by_itself(Loss::Down).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "the gate runs it"]
    async fn a_run_that_is_asked_to_end_while_its_network_is_silent_ends_after_20_s() {
        ends_by_itself(Loss::Silence).await;
    }

    /// `examples/crash.rs --nodes` does the same for as long as one likes.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "the gate runs it"]
    async fn an_ordeal_on_three_nodes_loses_nothing_and_buys_nothing_twice() {
        let Some(bin) = postgres::programs() else { return postgres::tell_skipped() };
        let plan = Plan {
            seed: 2,
            kills: 5,
            moments: 0,
            time: Duration::from_secs(40),
            program: env!("CARGO_BIN_EXE_wavebatch").into(),
            round: [60, 30, 2],
            requests_per_minute: 200,
        };
        let verdict = ordeal_of_nodes(&plan, &bin).await;
        assert!(verdict.broken.is_empty(), "\n{verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_whether_a_node_is_ready_hears_that_the_server_is_out_of_reach() {
    let Some(bin) = postgres::programs() else { return postgres::tell_skipped() };
    let mut server = postgres::Cluster::start(&bin);
    on_its_own(&server);
    let fixture = Fixture::with(Config::default()).await;
    let admin = format!("127.0.0.1:{}", free_port());
    let node = Service::of(program(&fixture, &["serve", "--listen", "off", "--admin-listen", &admin]));
    node.says("workers   at work").await;
    let ready = async || match reqwest::get(format!("http://{admin}/readyz")).await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap()),
        Err(e) => (0, e.to_string()),
    };
    assert_eq!(ready().await.0, 200);
    // A node that begins just then ends with a word; one that is at work waits.
    let metrics = async || reqwest::get(format!("http://{admin}/metrics")).await.unwrap().text().await.unwrap();
    while !metrics().await.contains("wavebatch_processes{state=\"at_work\"} 1") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    crash(&mut server, 12);
    let began = Instant::now();
    loop {
        let (status, words) = ready().await;
        if status == 503 && words.contains("the server of the ledger cannot be reached") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(11), "{status}: {words}\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while ready().await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}\n{}", ready().await, node.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    node.stop().await;
}
