//! A ledger on a PostgreSQL server of the bench's own, on this machine, with `fsync` on; and the program on it.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    postgres::{self, Cluster},
    proxy::{Proxy, Tap, Target},
};

/// The server of a scenario. It is gone with this value.
pub struct Ledger {
    pub cluster: Cluster,
}

impl Ledger {
    pub fn new() -> Self {
        let bin = postgres::programs().expect("PostgreSQL is installed");
        Self { cluster: Cluster::with(&bin, "") }
    }

    /// Its address, past all networks.
    pub fn url(&self) -> String {
        self.cluster.url("bench")
    }

    /// A network before it, and its address there.
    pub fn behind(&self, delay: Duration, tap: Option<Tap>) -> (Proxy, String) {
        let network = Proxy::with(vec![Target::Socket(self.cluster.dir.join(".s.PGSQL.5432"))], delay, tap);
        let url = format!("postgres://wavebatch@{}/postgres?schema=bench&sslmode=disable", network.addr);
        (network, url)
    }
}

/// The program in this folder, on this ledger (`None`: a file in the folder), with this API.
pub fn wavebatch(dir: &Path, ledger: Option<&str>, api: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WAVEBATCH_")) {
        command.env_remove(variable);
    }
    command
        .current_dir(dir)
        .args(args)
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", api)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(ledger) = ledger {
        command.env("WAVEBATCH_DATABASE", ledger);
    }
    command
}

/// Runs it to its end, which must be a good one.
pub fn succeed(mut command: Command) {
    let out = command.stderr(Stdio::piped()).output().expect("the program");
    assert!(out.status.success(), "{}: {}", out.status, String::from_utf8_lossy(&out.stderr));
}

/// A number from the environment, or another one.
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The scenarios that are asked for by name, or all. `None`: a name is unknown, and this was said.
pub fn asked(scenarios: &[&'static str]) -> Option<Vec<&'static str>> {
    // Cargo adds `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(unknown) = asked.iter().find(|arg| !scenarios.contains(&arg.as_str())) {
        println!("{unknown}: no such scenario; there are {}", scenarios.join(", "));
        return None;
    }
    Some(scenarios.iter().copied().filter(|name| asked.is_empty() || asked.iter().any(|arg| arg == name)).collect())
}
