//! What a user sees of recordings that break a parser: nothing of the parser. And of a ledger that may only be read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use crate::cli::{code, fixture, run, stderr, wavebatch};

/// A recording whose last page says that there is one sample: less than a millisecond.
fn of_no_length() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/demo-calls/1009-transfer.opus");
    let mut file = fs::read(path).expect("the demo");
    let find = |what: &[u8]| file.windows(what.len()).rposition(|at| at == what).expect("an Ogg file of Opus");
    let (head, last) = (find(b"OpusHead"), find(b"OggS"));
    let skipped = u64::from(u16::from_le_bytes([file[head + 10], file[head + 11]]));
    file[last + 6..last + 14].copy_from_slice(&(skipped + 1).to_le_bytes());
    file
}

#[test]
fn a_panic_of_a_parser_is_none_of_the_users_business() {
    let dir = fixture();
    fs::write(dir.path().join("bent.opus"), of_no_length()).expect("a file");
    let ran = run(
        dir.path(),
        &["run", "bent.opus", "--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"],
    );
    let said = stderr(&ran);
    assert!(matches!(code(&ran), 0 | 1), "{said}");
    assert!(said.contains("bent") || code(&ran) == 0, "{said}");
    assert!(!said.contains("panicked") && !said.contains("src/"), "{said}");
}

/// Runs it as a user to whom the permissions of files apply.
fn as_another(dir: &Path, args: &[&str]) -> Output {
    let command = wavebatch(dir, args);
    if !rustix::process::geteuid().is_root() {
        return run(dir, args);
    }
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    other
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(dir)
        .env("HOME", dir)
        .output()
        .expect("setpriv")
}

#[test]
fn a_ledger_that_may_not_be_written_can_be_read() {
    let dir = fixture();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/demo-calls.toml");
    let ran = run(dir.path(), &["run", demo, "--sandbox"]);
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    let ledger = dir.path().join("wavebatch-sandbox.db");
    let may = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("permissions");
    may(&ledger, 0o444);
    // The folder may be written, and it may not.
    for mode in [0o777, 0o555] {
        may(dir.path(), mode);
        for verb in [&["status", "demo-calls"][..], &["jobs", "demo-calls"], &["spend"]] {
            let read = as_another(dir.path(), &[verb, &["--sandbox"]].concat());
            assert_eq!(code(&read), 0, "{mode:o} {verb:?}: {}", stderr(&read));
            assert!(!read.stdout.is_empty(), "{verb:?}");
        }
        let left: Vec<_> =
            fs::read_dir(dir.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert!(
            !left.iter().any(|name| name.to_string_lossy().contains("-shm")),
            "nothing is left beside it: {left:?}"
        );
        for verb in [
            &["pause", "demo-calls"][..],
            &["retry", "demo-calls", "--key", "1001-greeting"],
            &["serve", "--listen", "off", "--admin-listen", "off"],
        ] {
            let refused = as_another(dir.path(), &[verb, &["--sandbox"]].concat());
            let message = stderr(&refused);
            assert_eq!(code(&refused), 3, "{mode:o} {verb:?}: {message}");
            assert!(
                message.contains("hint: make the ledger, its -wal and -shm files and their folder"),
                "{verb:?}: {message}"
            );
        }
    }
    may(&ledger, 0);
    let unread = as_another(dir.path(), &["status", "--sandbox"]);
    assert_eq!(code(&unread), 3);
    assert!(stderr(&unread).contains("hint: see that this user may read and write the ledger"), "{}", stderr(&unread));
    may(dir.path(), 0o700);
}
