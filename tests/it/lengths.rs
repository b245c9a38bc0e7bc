//! Recordings that do not prove their length, and answers that do not fit it.

use wavebatch::{
    domain::job::JobState::{Succeeded, Suspect},
    runner::RunEnd,
    sandbox::{Fault, Match, What},
};

use crate::{
    cli::{run, stderr},
    support::{Fixture, synthesis},
};

/// A recording of ten seconds whose header declares so many bytes of samples.
fn declaring(bytes: u32) -> Vec<u8> {
    let mut file = synthesis("some words that were said", 10.0, 1);
    let at = file.windows(4).position(|name| name == b"data").expect("samples") + 4;
    file[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
    file
}

/// One line, `a`, of this recording.
async fn with_recording(file: Vec<u8>) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.write("rec/1.wav", file);
    fixture.lines(&[("a", "rec/1.wav")]);
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_with_a_wrong_header_is_as_long_as_its_samples_and_noted() {
    let fixture = with_recording(declaring(480)).await;
    let (batch, _) = fixture.go("", "").await;
    let row = fixture.row(batch, "a").await;
    assert_eq!((row.state, row.audio_ms), (Succeeded, Some(10_000)));
    assert_eq!(row.notes.as_deref(), Some("length_not_exact;header_differs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_nothing_proves_makes_no_suspect() {
    let fixture = with_recording(declaring(480)).await;
    fixture.sandbox.script([Fault::new(Match::First(1), What::WrongDuration(0.5))]);
    let (batch, _) = fixture.go("", "").await;
    let row = fixture.row(batch, "a").await;
    assert_eq!((row.state, row.error_kind, row.audio_ms), (Succeeded, None, Some(5_000)));
    assert_eq!(row.notes.as_deref(), Some("length_not_exact;header_differs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_up_to_the_end_of_the_file_prove_its_length() {
    for open in [0, u32::MAX] {
        let fixture = with_recording(declaring(open)).await;
        let (batch, _) = fixture.go("", "").await;
        let row = fixture.row(batch, "a").await;
        assert_eq!((row.state, row.audio_ms, row.notes), (Succeeded, Some(10_000), None));
        let fixture = with_recording(declaring(open)).await;
        fixture.sandbox.script([Fault::new(Match::First(1), What::WrongDuration(0.5))]);
        let (batch, _) = fixture.go("", "").await;
        assert_eq!(fixture.row(batch, "a").await.error_kind.as_deref(), Some("duration_mismatch"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_nothing_proves_reserves_as_much_as_an_unknown_one() {
    // Ten minutes cost more, ten seconds less.
    for (declared, calls) in [(160_000, 1), (480, 0)] {
        let fixture = with_recording(declaring(declared)).await;
        let (_, ran) = fixture.go("", "max_spend_usd = 0.01").await;
        assert_eq!(fixture.sandbox.books().calls, calls, "{declared}");
        assert_eq!(ran.end == RunEnd::Done, calls == 1, "{declared}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_after_the_end_of_a_recording_are_suspect_and_keep_their_times() {
    let fixture = with_recording(declaring(160_000)).await;
    fixture.sandbox.script([Fault::new(Match::First(1), What::LateWords(100_000))]);
    let (batch, _) = fixture.go("formats = [\"srt\"]", "").await;
    let check = async || {
        let row = fixture.row(batch, "a").await;
        assert_eq!((row.state, row.error_kind.as_deref()), (Suspect, Some("words_beyond")));
        assert_eq!(row.notes.as_deref(), Some("words_beyond"));
        let captions = fixture.output("a.srt");
        assert!(captions.starts_with("1\n00:01:40,000 --> 00:01:4"), "not squeezed into the recording: {captions}");
    };
    check().await;
    // Judged again from the kept answer, also where the recording is gone.
    std::fs::remove_file(fixture.path("rec/1.wav")).expect("it is there");
    assert_eq!(fixture.store.redeliver(batch).await.expect("a ledger").0, 1);
    fixture.run(batch).await;
    check().await;
}

#[test]
fn check_says_of_how_many_recordings_the_length_is_an_estimate() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("rec")).expect("a folder");
    for (name, declared) in [("1.wav", 480), ("2.wav", 160_000)] {
        std::fs::write(dir.path().join("rec").join(name), declaring(declared)).expect("a recording");
    }
    let asked = ["check", "rec", "--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    let text = run(dir.path(), &asked);
    let said = String::from_utf8_lossy(&text.stdout).into_owned() + &stderr(&text);
    let expected = "1 of 2 recordings that were looked at does not prove its length: it is an estimate";
    assert!(said.contains(expected), "{said}");
    let json = run(dir.path(), &[&asked[..], &["--json"]].concat());
    let view: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let estimate = &view["plan"]["estimate"];
    assert_eq!((&estimate["headers_read"], &estimate["lengths_not_exact"]), (&2.into(), &1.into()));
    assert_eq!(estimate["audio_seconds"], 20.0);
}
