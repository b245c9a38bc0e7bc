//! What the process asks of the machine, and what the machine may do to it.

use std::{
    fs,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use wavebatch::domain::job::JobState::Succeeded;

use crate::{
    cli::{house, wavebatch},
    support::{House, pty::Pty, service::program},
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
    let dir = house();
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

async fn at_work() -> House {
    let house = House::new().await;
    house.provable_calls(LINES);
    house.definition("", &format!("concurrency = {IN_FLIGHT}"));
    house.sandbox.hold();
    house
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
async fn nothing_was_cut(house: &House) {
    let billed = house.sandbox.books().billed;
    let batch = house.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let done = house.counts(batch).await.of(Succeeded);
    assert!(done >= IN_FLIGHT as u64 && done < LINES as u64, "{done}");
    assert_eq!(done, billed, "no call was cut");
    let status = program(house, &["run", "night.toml"]).stderr(Stdio::null()).status().expect("the program");
    assert_eq!(status.code(), Some(0));
    house.all_well(batch, LINES as u64, 1).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_goes_away_cuts_no_call() {
    let house = at_work().await;
    // A session of its own, whose terminal this is: the kernel tells it when that goes, as after a dropped connection.
    let run = through(&["setsid", "-c"], &program(&house, &["run", "night.toml", "-vv"]));
    let (user, child) = Pty::open().start(run);
    house.sandbox.waiting(IN_FLIGHT).await;
    let pid = Pid::from_child(&child);
    drop(user);
    // The shell says it again, and the kernel once more when the shell has gone.
    for _ in 0..3 {
        kill_process(pid, Signal::HUP).expect("a living child");
    }
    house.sandbox.release();
    assert_eq!(ended(child).await.code(), Some(129));
    nothing_was_cut(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_go_away_cut_no_call() {
    let house = at_work().await;
    let mut run = program(&house, &["run", "night.toml", "-vv", "--json"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    house.sandbox.waiting(IN_FLIGHT).await;
    drop((child.stdout.take(), child.stderr.take()));
    house.sandbox.release();
    assert_eq!(ended(child).await.code(), Some(0));
    let batch = house.store.batch("night").await.expect("a ledger").expect("the batch").id;
    house.all_well(batch, LINES as u64, 1).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_started_by_nohup_goes_on() {
    let house = at_work().await;
    let run = through(&["nohup"], &program(&house, &["run", "night.toml"]));
    let child = { run }.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
    house.sandbox.waiting(IN_FLIGHT).await;
    kill_process(Pid::from_child(&child), Signal::HUP).expect("a living child");
    house.sandbox.release();
    assert_eq!(ended(child).await.code(), Some(0));
    let batch = house.store.batch("night").await.expect("a ledger").expect("the batch").id;
    house.all_well(batch, LINES as u64, 1).await;
}
