//! What a user sees of recordings that break a parser: nothing of the parser.

use std::{fs, path::Path};

use crate::cli::{code, fixture, run, stderr};

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
