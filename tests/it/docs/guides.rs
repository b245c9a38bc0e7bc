//! The commands of the guides run, one after the other, in a folder of their own.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use walkdir::WalkDir;

use super::{Document, Piece, documents, root};
use crate::cli;

/// The folders of `docs/` whose pages are guides.
const GUIDES: [&str; 2] = ["start", "guides"];
/// How long the commands of a page may take, in seconds.
const LIMIT: &str = "240";
/// Pages that are followed at a time.
const AT_ONCE: usize = 4;

/// The script of a page: its `sh` blocks, and the files that it says to write. `files` is a folder for their content.
/// `None`: the page has no commands to run.
fn script(page: &Document, files: &Path) -> Option<String> {
    let mut script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    let (mut runs, mut name) = (0, None);
    for (line, piece) in page.pieces_with_lines() {
        match piece {
            Piece::Paragraph(text) => {
                name = text.strip_suffix(':').filter(|text| is_file_name(text)).map(str::to_owned)
            }
            Piece::Block(info, text) if info == "sh" => {
                runs += 1;
                writeln!(script, "line={line}\nprintf '%s' \"$line\" > '{}'\n{text}", files.join("line").display())
                    .unwrap();
                name = None;
            }
            Piece::Block(info, text) => {
                if let Some(name) = name.take().filter(|_| !info.starts_with("sh")) {
                    let kept = files.join(format!("{line}"));
                    fs::write(&kept, text).unwrap();
                    writeln!(script, "mkdir -p \"$(dirname '{name}')\"\ncp '{}' '{name}'", kept.display()).unwrap();
                }
            }
            Piece::Heading(_) => name = None,
            Piece::Code(_) | Piece::Link(_) => {}
        }
    }
    (runs > 0).then_some(script)
}

/// Whether a paragraph is the name of a file alone.
fn is_file_name(text: &str) -> bool {
    text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

/// Runs a page in a folder with a copy of `jobs/`. What went wrong is the error.
fn follow(page: &Document) -> Result<(), String> {
    let (dir, home) = (cli::fixture(), cli::fixture());
    let Some(script) = script(page, home.path()) else { return Ok(()) };
    let jobs = root().join("jobs");
    for entry in WalkDir::new(&jobs).into_iter().map(Result::unwrap) {
        let target = dir.path().join("jobs").join(entry.path().strip_prefix(&jobs).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_wavebatch"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args([LIMIT, "bash", "-eu", "-c", &script])
        .current_dir(dir.path())
        .env_clear()
        .envs([("PATH", path.as_str()), ("HOME", home.path().to_str().unwrap()), ("LANG", "C.UTF-8")])
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    let line = fs::read_to_string(home.path().join("line")).unwrap_or_default();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{}, block at line {line}: {}\n{said}\n{told}", page.name(), output.status))
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

#[test]
fn the_commands_of_the_guides_run() {
    let is_guide =
        |page: &Document| GUIDES.iter().any(|folder| page.path.starts_with(root().join("docs").join(folder)));
    let (guides, mut failed) = (documents().into_iter().filter(is_guide).collect::<Vec<_>>(), Vec::new());
    let next = AtomicUsize::new(0);
    let follow_some = || {
        let mut failed = Vec::new();
        while let Some(page) = guides.get(next.fetch_add(1, Ordering::Relaxed)) {
            if page.text.contains("sqlite3 ") && !is_on_path("sqlite3") {
                // Past the harness, which shows nothing of a test that passes. The gate looks for the first word.
                let message = format!("SKIPPED: {} needs the program sqlite3\n", page.name());
                io::Write::write_all(&mut io::stderr(), message.as_bytes()).unwrap();
                continue;
            }
            failed.extend(follow(page).err());
        }
        failed
    };
    // Pages wait more than they compute.
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(follow_some)).collect();
        workers.into_iter().for_each(|worker| failed.extend(worker.join().unwrap()));
    });
    assert!(failed.is_empty(), "\n{}", failed.join("\n\n"));
}

#[test]
fn a_guide_is_followed_as_a_reader_would() {
    let page = |text: &str| Document { path: root().join("docs/start/x.md"), text: text.to_owned() };
    let good = "Some words.\n\n`jobs/new.txt`:\n\n```text\nhello\n```\n\n```sh\ntest \"$(cat jobs/new.txt)\" = hello\n\
        wavebatch run jobs/demo-calls.toml --sandbox\n```\n\n```sh,norun\nfalse\n```\n\n```sh\nls sandbox-out/demo-calls/report.csv\n```\n";
    follow(&page(good)).unwrap();
    let fault = follow(&page("# A\n\n```sh\ntrue\n```\n\nThen:\n\n```sh\nwavebatch rnu\n```\n")).unwrap_err();
    assert!(fault.contains("docs/start/x.md, block at line 9") && fault.contains("rnu"), "{fault}");
}
