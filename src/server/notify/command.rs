//! A notification by a shell command, with the content on its stdin.

use std::{
    collections::VecDeque,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

/// How much of its stderr is kept, in bytes.
const KEPT: usize = 4_096;
/// How much of that is shown, in characters.
const LISTED: usize = 300;
/// How long stderr is read after the command ended: a background process may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Variables with credentials, besides `WAVEBATCH_…_SECRET`.
pub const SECRETS: [&str; 4] =
    ["SMALLEST_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];

/// The fields of a notification that the command has in its environment, as `WAVEBATCH_EVENT` and so on.
pub const FIELDS: [&str; 6] = ["event", "batch", "definition", "state", "reason", "report"];

/// Runs the command in `dir`, with `body` on its stdin and the same `news` in its environment. Dropping it kills the
/// command.
pub(super) async fn run(
    command: &str,
    dir: &Path,
    body: &str,
    news: &Map<String, Value>,
    limit: Duration,
) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(dir).process_group(0).kill_on_drop(true);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let secrets = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("WAVEBATCH_") && name.ends_with("_SECRET") || SECRETS.contains(&&*name)
    });
    secrets.for_each(|name| {
        shell.env_remove(name);
    });
    for field in FIELDS {
        let text = news.get(field).and_then(Value::as_str).unwrap_or_default().replace('\0', "");
        shell.env(format!("WAVEBATCH_{}", field.to_ascii_uppercase()), text);
    }
    let mut child = shell.spawn().map_err(|e| format!("the command cannot be started: {e}"))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let heard = Arc::new(Mutex::new(VecDeque::new()));
    let ear = child.stderr.take().map(|stderr| tokio::spawn(listen(stderr, Arc::clone(&heard))));
    let Ok(ended) = timeout(limit, feed(&mut child, body)).await else {
        return Err(format!("the command took longer than {} s and was killed", limit.as_secs()));
    };
    group.0 = None;
    let status = ended.map_err(|e| format!("the command was lost sight of: {e}"))?;
    if status.success() {
        return Ok(());
    }
    if let Some(ear) = ear {
        let _ = timeout(LAST_WORDS, ear).await;
    }
    let words = last_line(heard.lock().unwrap_or_else(PoisonError::into_inner).make_contiguous());
    Err(format!("the command {}{words}", how(status)))
}

/// Writes the input and waits for the end. A command that does not read its input is no error.
async fn feed(child: &mut Child, body: &str) -> std::io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(body.as_bytes()).await;
        }
    };
    let (ended, ()) = tokio::join!(child.wait(), write);
    ended
}

/// Reads everything, so that the command never blocks, and keeps the end of it.
async fn listen(mut stderr: impl AsyncRead + Unpin, heard: Arc<Mutex<VecDeque<u8>>>) {
    let mut some = [0; 1_024];
    while let Ok(read @ 1..) = stderr.read(&mut some).await {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(&some[..read]);
        let old = heard.len().saturating_sub(KEPT);
        heard.drain(..old);
    }
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn last_line(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    if line.is_empty() {
        return String::new();
    }
    let message: String = line.chars().filter(|c| !c.is_control()).take(LISTED).collect();
    format!(": {message}")
}

/// The process group of a command. Dropping it kills the group.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
