//! Answers that are larger than any transcript: what they cost, in memory and in money.

use std::{fs, io::Read, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wavebatch::{
    domain::job::{
        BatchId, CallState,
        JobState::{Failed, Succeeded, Suspect},
    },
    runner::RunEnd,
    sandbox::{Fault, Match, StatusFault, What},
    store::{Chosen, Selection, Store},
};

use crate::{
    cli::{code, stderr, wavebatch},
    support::{Fixture, KEY, synthesis::SynthesisSetup},
};

/// Larger than any answer that is read.
const TOO_LARGE: usize = (64 << 20) + 1;

/// A success with this body, instead of the sandbox's own.
fn answered(body: &str) -> What {
    What::Status(StatusFault { code: 200, body: Some(body.into()), billed: true, ..StatusFault::default() })
}

/// Words with times as the API writes them, of so many bytes together.
fn words(bytes: usize) -> String {
    let (mut words, mut text, mut at) = (String::new(), String::new(), 0_u32);
    while words.len() < bytes {
        let word = ["so", "we", "looked", "at", "the", "numbers", "again."][at as usize % 7];
        let comma = if at == 0 { "" } else { "," };
        words.push_str(&format!(
            r#"{comma}{{"start":{at}.25,"end":{at}.75,"speaker":0,"word":"{word}","confidence":0.98}}"#
        ));
        text.push_str(word);
        text.push(' ');
        at += 1;
    }
    format!(
        r#"{{"status":"success","transcription":"{}","words":[{words}],"metadata":{{"duration":{at}}}}}"#,
        text.trim()
    )
}

fn all(batch: BatchId) -> Chosen {
    Chosen::of(batch, Selection::default())
}

fn spool_is_empty(store: &Store) -> bool {
    fs::read_dir(store.spool().join("fetch")).into_iter().flatten().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_is_delivered_like_any_other() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    let body = words(4_300_000);
    fixture.sandbox.script([Fault::new(Match::First(1), answered(&body))]);
    let formats = "formats = [\"json\", \"txt\", \"srt\", \"vtt\"]\n[report]\ntranscript = true";
    let (batch, ran) = fixture.go(formats, "").await;
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(fixture.ends(batch).await["call-0001"].0, Suspect, "its length is not the file's");
    let hold = || {
        assert!(fixture.output("call-0001.json") == body, "byte for byte");
        let text = fixture.output("call-0001.txt");
        assert!(text.starts_with("Speaker 1: so we looked at the numbers again. so we") && text.len() > 200_000);
        assert!(fixture.output("call-0001.srt").starts_with("1\n00:00:00,250 --> "));
        assert!(fixture.output("call-0001.vtt").starts_with("WEBVTT\n\n00:00:00.250 --> "));
        assert!(spool_is_empty(&fixture.store));
    };
    hold();
    fs::remove_dir_all(fixture.path("out")).unwrap();
    fixture.store.redeliver(batch).await.unwrap();
    fixture.store.resume(batch, false).await.unwrap();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    hold();
    assert_eq!(fixture.sandbox.books().calls, 1, "from the kept answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_large_costs_one_call_and_is_kept() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    let body = format!(r#"{{"transcription":"{}"}}"#, "a ".repeat(TOO_LARGE / 2));
    fixture.sandbox.script([Fault::new(Match::First(2), answered(&body))]);
    let (batch, ran) = fixture.go("", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let fails = || async {
        let row = fixture.row(batch, "call-0001").await;
        assert_eq!((row.state, row.error_kind.as_deref()), (Failed, Some("answer_too_large")), "{:?}", row.error);
        row.billed_calls
    };
    assert_eq!(fails().await, 1);
    let call = fixture.job(batch, "call-0001").await.calls.remove(0);
    assert_eq!(call.state, CallState::Lost);
    assert!(call.cost > 0, "it was billed");
    let (kept, _) = fixture.store.answer(call.id).await.unwrap().expect("it is kept");
    assert_eq!(kept.len(), body.len() as u64);
    assert!(kept.kept().0.len() < body.len() / 100, "packed");
    let mut start = [0; 20];
    kept.reader().read_exact(&mut start).unwrap();
    assert_eq!(&start[..], &body.as_bytes()[..20]);

    fixture.store.resume(batch, false).await.unwrap();
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().calls, 1, "it is never tried again by itself");
    assert_eq!(fixture.store.retry(all(batch)).await.unwrap(), 1);
    fixture.run(batch).await;
    assert_eq!((fails().await, fixture.sandbox.books().calls), (2, 2), "but when the user says so, and once");
    assert_eq!(fixture.store.retry(all(batch)).await.unwrap(), 1);
    fixture.run(batch).await;
    assert_eq!(fixture.counts(batch).await.of(Succeeded), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_it_tried_again_by_who_takes_over() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    let body = " ".repeat(TOO_LARGE);
    fixture.sandbox.script([Fault::new(Match::Any, answered(&body))]);
    let definition = fixture.definition("", "");
    let run = |crash: Option<&str>| {
        let mut command = child(&fixture, fixture.dir.path(), &["run", definition.to_str().unwrap()]);
        crash.map(|at| command.env("WAVEBATCH_CRASH_AT", at));
        command
    };
    let mut first = run(Some("after-answer"));
    let killed = tokio::task::spawn_blocking(move || first.output().unwrap()).await.unwrap();
    assert_eq!(killed.status.code(), None, "{}", stderr(&killed));
    assert_eq!(fixture.sandbox.books().calls, 1);
    let mut second = run(None);
    let ended = tokio::task::spawn_blocking(move || second.output().unwrap()).await.unwrap();
    assert_eq!((code(&ended), fixture.sandbox.books().calls), (1, 1), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("answer_too_large"), "{}", stderr(&ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_speech_that_is_too_large_bought_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut fixture = Fixture::new().await;
    fixture.base_url = Some(format!("http://{}", listener.local_addr().unwrap()));
    let serving = tokio::spawn(async move {
        let mut calls = 0;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            calls += u32::from(speak(stream).await);
            assert!(calls <= 1, "one call");
        }
    });
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", "One short sentence.")]).await;
    fixture.run(batch).await;
    assert!(!serving.is_finished(), "one call");
    serving.abort();
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref(), row.billed_calls), (Failed, Some("answer_too_large"), 1));
}

/// Answers with more sound than anybody wants; whether it was asked for speech.
async fn speak(mut stream: TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return false };
        head.push(byte);
    }
    if !head.starts_with(b"POST /waves/v1/tts ") {
        let _ = stream.write_all(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        return false;
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let piece = [b"100000\r\n", &vec![0; 1 << 20][..], b"\r\n"].concat();
    while stream.write_all(&piece).await.is_ok() {}
    true
}

/// The program, which calls the sandbox.
fn child(fixture: &Fixture, dir: &Path, args: &[&str]) -> std::process::Command {
    let mut command = wavebatch(dir, args);
    command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", fixture.sandbox.base_url());
    command.env("WAVEBATCH_DATABASE", format!("sqlite://{}", dir.join("wavebatch.db").display()));
    command
}

/// The peak memory of a whole run, in bytes, whose one line is answered with this.
#[cfg(target_os = "linux")]
async fn peak(body: &str) -> u64 {
    let fixture = Fixture::new().await;
    let dir = fixture.path("child");
    fixture.recording("child/rec/1.wav", "words", 1.0, 1);
    fixture.sandbox.script([Fault::new(Match::Any, answered(body))]);
    let args = ["run", "rec", "--task", "transcribe", "--model", "pulse", "--language", "en", "-q"];
    let mut run = child(&fixture, &dir, &args).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", run.id());
    let mut peak = 0;
    let ended = loop {
        let now = fs::read_to_string(&status).unwrap_or_default();
        let kb = now.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok());
        peak = kb.unwrap_or(peak);
        if let Some(ended) = run.try_wait().unwrap() {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    };
    assert!(matches!(ended.code(), Some(0 | 1)), "{ended}");
    assert_eq!(fixture.sandbox.books().calls, 1);
    assert!(dir.join("out").exists());
    peak * 1_000
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_large_answer_takes_in_memory_is_a_small_multiple_of_its_bytes() {
    const BYTES: usize = 8_000_000;
    let small = peak(r#"{"transcription":"x"}"#).await;
    let junk = format!(r#"{{"transcription":"x","words":[{}0]}}"#, "0,".repeat(BYTES / 2));
    let words = words(BYTES);
    for (what, body, times) in [("junk", junk, 1), ("words", words, 4)] {
        let more = peak(&body).await.saturating_sub(small);
        assert!(more < times * BYTES as u64, "{what}: {more} bytes more than the {small} of a small answer");
    }
}

crate::support::server::on_postgres_in_the_gate! {
    a_large_answer_is_delivered_like_any_other,
    one_that_is_too_large_costs_one_call_and_is_kept,
    nor_is_it_tried_again_by_who_takes_over,
    nor_is_speech_that_is_too_large_bought_again,
    what_a_large_answer_takes_in_memory_is_a_small_multiple_of_its_bytes,
}
