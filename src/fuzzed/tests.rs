//! Every input of the committed corpora through its target. The published package has none: then that is said.
#![expect(clippy::print_stderr, reason = "the test's own words, which only a reader of its output sees")]

use super::*;

/// Runs a target over its corpus.
fn replay(target: &str, run: impl Fn(&Path, &[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.is_dir() {
        eprintln!("skipped: {} is not there, as in the published package", fuzz.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(fuzz.join("corpus").join(target)).unwrap() {
        let path = entry.unwrap().path();
        // Shown where the test fails: it is the last.
        eprintln!("{}", path.display());
        run(folder.path(), &fs::read(&path).unwrap());
        seen += 1;
    }
    assert!(seen >= 3, "{target} has {seen} inputs");
}

#[test]
fn answers_of_the_corpus() {
    replay("answers", |_, input| answers(input));
}

#[test]
fn callbacks_of_the_corpus() {
    replay("callbacks", |_, input| callbacks(input));
}

#[test]
fn definitions_of_the_corpus() {
    replay("definitions", definitions);
}

#[test]
fn manifests_of_the_corpus() {
    replay("manifests", manifests);
}

#[test]
fn padding_of_the_corpus() {
    replay("padding", |_, input| padding(input));
}

#[test]
fn audio_headers_of_the_corpus() {
    replay("audio_headers", |_, input| audio_headers(input));
}

#[test]
fn streams_of_the_corpus() {
    replay("streams", |_, input| streams(input));
}

#[test]
fn texts_of_the_corpus() {
    replay("texts", |_, input| texts(input));
}
