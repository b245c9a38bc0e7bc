//! What the process asks of the machine, and what the machine may do to it.

use std::{fs, process::Stdio};

use crate::cli::{house, wavebatch};

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
    let mut shell = std::process::Command::new("sh");
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
