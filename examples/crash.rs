//! The crash harness at length: whole processes on one ledger, killed at random and at named moments. With `--nodes`: three
//! of them with folders of their own, on a PostgreSQL server that crashes, behind networks that are cut.
//!
//! `cargo run --release --features crash-points --example crash -- [--nodes] --minutes 10 --seed 1`
#![expect(clippy::print_stdout, reason = "it prints what it found")]

#[path = "../tests/it/support/crash/mod.rs"]
mod crash;

#[path = "../tests/it/support/s3.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod s3;

#[path = "../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod postgres;

#[path = "../tests/support/proxy.rs"]
mod proxy;

use std::{
    env,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

fn main() -> ExitCode {
    // The processes that are killed are this program, too: it is the same as `main.rs` then.
    if env::var_os("WAVEBATCH_CRASH_PART").is_some() {
        return wavebatch::cli::main(wavebatch::tasks::Registry::built_in());
    }
    if !wavebatch::crash::ARMED {
        println!("this build cannot be made to die at named moments; add --features crash-points");
        return ExitCode::from(2);
    }
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let on_nodes = env::args().any(|arg| arg == "--nodes");
    let plan = crash::Plan {
        seed: given("--seed").unwrap_or(since_1970.as_secs()),
        kills: given("--kills").unwrap_or(if on_nodes { 0 } else { 200 }),
        moments: 4,
        time: Duration::from_secs(60 * given("--minutes").unwrap_or(10)),
        program: env::current_exe().expect("this program"),
        round: if on_nodes { [100, 50, 3] } else { [150, 60, 4] },
        requests_per_minute: if on_nodes { 200 } else { 1_000 },
    };
    println!("{plan:?}");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let verdict = if on_nodes {
        let Some(bin) = postgres::programs() else {
            postgres::tell_skipped();
            return ExitCode::from(2);
        };
        runtime.block_on(crash::ordeal_of_nodes(&plan, &bin))
    } else {
        runtime.block_on(crash::ordeal(&plan))
    };
    println!("{verdict}");
    if verdict.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number after a flag.
fn given(flag: &str) -> Option<u64> {
    let args: Vec<String> = env::args().collect();
    let at = args.iter().position(|arg| arg == flag)?;
    Some(args.get(at + 1)?.parse().expect("a number"))
}
