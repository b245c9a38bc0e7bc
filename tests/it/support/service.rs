//! `wavebatch serve` as a process, and what its log says.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{Fixture, KEY};

/// A service; killed when dropped.
pub struct Service {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

/// The program in a fixture, with its sandbox as the API.
pub fn program(fixture: &Fixture, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command
        .current_dir(fixture.dir.path())
        .args(args)
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", fixture.sandbox.base_url())
        .env("WAVEBATCH_LEASE_MS", "1500")
        .env_remove("WAVEBATCH_DATABASE")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(server) = super::server::address_for(&fixture.path("wavebatch.db")) {
        command.env("WAVEBATCH_DATABASE", server).env("WAVEBATCH_SPOOL", fixture.path("wavebatch.db-spool"));
    }
    command
}

impl Service {
    /// Starts `wavebatch serve` with these arguments and no admin address.
    pub fn start(fixture: &Fixture, args: &[&str]) -> Self {
        let all: Vec<&str> = ["--admin-listen", "off"].iter().chain(args).copied().collect();
        Self::with(fixture, &all)
    }

    /// Starts `wavebatch serve` with exactly these arguments.
    pub fn with(fixture: &Fixture, args: &[&str]) -> Self {
        let all: Vec<&str> = ["serve"].iter().chain(args).copied().collect();
        Self::of(program(fixture, &all))
    }

    /// Starts a command that serves.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in lines.map_while(Result::ok) {
                    let mut log = log.lock().expect("a log");
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        Self { child, log }
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("a log").clone()
    }

    /// Waits until it says this.
    pub async fn says(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "it never says `{words}`:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until SIGTERM would not simply kill it.
    pub async fn hears_signals(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = format!("/proc/{}/status", self.child.id());
        let caught = || {
            let status = std::fs::read_to_string(&status).expect("a process");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("its signals");
            u64::from_str_radix(caught.trim(), 16).expect("a set of signals") & (1 << 14) != 0
        };
        while !caught() {
            assert!(Instant::now() < deadline, "it never hears signals:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its number in the system.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("a living child");
        self.child.wait().expect("a dead child");
    }

    /// SIGTERM; how it ended, how long that took, and all it said.
    pub async fn stop(self) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a living child");
        let (status, log) = self.ends().await;
        (status, began.elapsed(), log)
    }

    /// Waits until it ends by itself; how it ended, and all it said.
    pub async fn ends(self) -> (ExitStatus, String) {
        self.ends_within(Duration::from_secs(20)).await
    }

    /// The same, for one that may take longer.
    pub async fn ends_within(mut self, limit: Duration) -> (ExitStatus, String) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, self.log());
            }
            assert!(began.elapsed() < limit, "it does not stop:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
