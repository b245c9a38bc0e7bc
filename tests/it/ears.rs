//! Recordings are heard before they are bought: sides apart, silence, formats that the API does not take, and answers that do
//! not fit what is heard.

use std::{collections::BTreeMap, time::Duration};

use wavebatch::{
    domain::{
        cost::Rates,
        job::{BatchId, JobState},
        pool::Pool,
    },
    report::{publish::publish_at_output, summary::SummaryState, task_of},
    runner::RunEnd,
    sandbox::{
        Config, Fault, Match, What,
        fixtures::{Line, Script},
    },
    store::{Chosen, Selection},
};

use crate::{
    cli::stderr,
    support::{Fixture, service::program},
};

const AGENT: &str = "Good morning this is support";
const CUSTOMER: &str = "My lamp has not come yet and I want to know where it is now";

fn line(channel: usize, at_ms: u64, words: &str) -> Line {
    Line { channel, at_ms, words: words.into(), voice: channel * 3, gain_db: 0.0 }
}

/// A call in which each side says its words.
fn call() -> Script {
    let lines = vec![line(0, 300, AGENT), line(1, 4_000, CUSTOMER), line(0, 12_000, "One moment please")];
    Script { rate: 8_000, lines, length_ms: 15_000, ..Script::default() }
}

/// A call that only the customer speaks in.
fn one_side() -> Script {
    Script { lines: vec![line(1, 300, CUSTOMER)], length_ms: 9_000, ..call() }
}

fn silence() -> Script {
    Script { lines: Vec::new(), length_ms: 6_000, ..call() }
}

/// A fixture whose manifest names these recordings.
pub async fn recordings(config: Config, files: &[(&str, Vec<u8>)]) -> Fixture {
    let fixture = Fixture::with(config).await;
    let mut lines = Vec::new();
    for (key, file) in files {
        let name = format!("rec/{key}.wav");
        fixture.write(&name, file);
        lines.push((*key, name));
    }
    fixture.lines(&lines);
    fixture
}

const SPLIT: &str =
    "channels = \"split\"\nroles = { 1 = \"agent\", 2 = \"customer\" }\nformats = [\"json\", \"txt\", \"vtt\"]";

/// The rows of the report by key: cells by column.
pub async fn report(fixture: &Fixture, batch: BatchId) -> BTreeMap<String, BTreeMap<String, String>> {
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    let spec = row.specification().unwrap();
    let task = task_of(fixture.registry.reports(), spec).unwrap();
    let (of, rates) = ((spec, &*task), Rates::default());
    publish_at_output(&fixture.store, &row, of, SummaryState::Finished, &rates).await.unwrap();
    let mut reader = csv::Reader::from_path(fixture.path("out/report.csv")).unwrap();
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            let cells: BTreeMap<_, _> = header.iter().cloned().zip(row.iter().map(str::to_owned)).collect();
            (cells["key"].clone(), cells)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_is_bought_by_itself_and_the_words_are_one_conversation() {
    let fixture = recordings(Config::default(), &[("call", call().record().wav())]).await;
    let (batch, ran) = fixture.go(SPLIT, "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let txt = fixture.output("call.txt");
    assert_eq!(txt, format!("agent: {AGENT}\n\ncustomer: {CUSTOMER}\n\nagent: One moment please\n"));
    assert!(fixture.output("call.vtt").contains("<v customer>My lamp has not come yet"));
    let json: serde_json::Value = serde_json::from_str(&fixture.output("call.json")).unwrap();
    let turns: Vec<_> =
        json["turns"].as_array().unwrap().iter().map(|turn| (&turn["role"], &turn["channel"])).collect();
    assert_eq!(turns, [(&"agent".into(), &1.into()), (&"customer".into(), &2.into()), (&"agent".into(), &1.into())]);
    let begins: Vec<f64> =
        json["turns"].as_array().unwrap().iter().map(|turn| turn["start"].as_f64().unwrap()).collect();
    for (begin, scripted) in begins.iter().zip([0.3, 4.0, 12.0]) {
        assert!((begin - scripted).abs() < 0.2, "{begins:?}");
    }
    assert_eq!(json["channels"].as_array().unwrap().len(), 2);
    let row = &report(&fixture, batch).await["call"];
    assert_eq!(
        (&*row["status"], &*row["billed_calls"], &*row["channels"], &*row["turns"]),
        ("succeeded", "2", "2", "3")
    );
    assert_eq!(row["transcript"], format!("{AGENT}\n{CUSTOMER}\nOne moment please"));
    let talk: f64 = row["customer_talk_s"].parse().unwrap();
    assert!(talk > 3.0 && talk < 8.0 && row["overlap_s"] == "0.000", "{row:?}");
    let again = fixture.run(batch).await;
    assert_eq!((again.end, fixture.sandbox.books().billed), (RunEnd::Done, 2), "nothing is bought twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_bought_for_a_copy_a_silent_side_or_a_silent_recording() {
    let mut dual = call().record();
    dual.planes[1] = dual.planes[0].clone();
    let mut mono = call().record();
    mono.planes.truncate(1);
    let files = [
        ("dual", dual.wav()),
        ("mono", mono.wav()),
        ("one", one_side().record().wav()),
        ("silent", silence().record().wav()),
    ];
    let fixture = recordings(Config::default(), &files).await;
    let (batch, ran) = fixture.go(&format!("{SPLIT}\nno_speech = \"skip\""), "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let rows = report(&fixture, batch).await;
    let seen: Vec<_> = rows.iter().map(|(key, row)| (&**key, &*row["billed_calls"], &*row["channels_note"])).collect();
    assert_eq!(seen, [("dual", "1", ""), ("mono", "1", ""), ("one", "1", "one_side"), ("silent", "0", "")]);
    for (key, note) in [("dual", "dual_mono"), ("mono", "one_channel"), ("one", "one_side"), ("silent", "no_speech")] {
        assert!(rows[key]["notes"].split(';').any(|own| own == note), "{key}: {}", rows[key]["notes"]);
        assert_eq!(rows[key]["status"], "succeeded", "{key}");
    }
    assert_eq!(fixture.output("one.txt"), format!("customer: {CUSTOMER}\n"));
    assert_eq!(fixture.output("mono.txt"), format!("{AGENT} One moment please\n"));
    assert_eq!((&*fixture.output("silent.txt"), &*fixture.output("silent.vtt")), ("", "WEBVTT\n\n"));
    assert_eq!((&*rows["silent"]["transcript"], &*rows["silent"]["cost_usd"]), ("", "0.000000"));
    assert_eq!(fixture.sandbox.books().billed, 3);
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().billed, 3, "a plan that is frozen buys nothing later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_whose_answer_has_no_words_is_suspect_and_alone_bought_again() {
    let fixture = recordings(Config::default(), &[("call", call().record().wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(2), What::EmptyText)]);
    let (batch, _) = fixture.go(SPLIT, "").await;
    let row = fixture.row(batch, "call").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("unheard")));
    let error = row.error.unwrap();
    assert!(error.starts_with("customer: ") && error.ends_with("s of speech, and no words (at 0:04)"), "{error}");
    assert_eq!(fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap(), 1);
    fixture.run(batch).await;
    let row = fixture.row(batch, "call").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 3), "the agent's side is kept");
    assert!(fixture.output("call.txt").contains(&format!("customer: {CUSTOMER}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_what_is_heard_is_suspect() {
    let mut mono = call().record();
    mono.planes.truncate(1);
    let fixture = recordings(Config::default(), &[("call", mono.wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::LateWords(2_600))]);
    let (batch, _) = fixture.go("analyze = \"always\"", "").await;
    let row = fixture.row(batch, "call").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("invented")), "{:?}", row.error);

    let fixture = recordings(Config::default(), &[("call", mono.wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::LateWords(2_600))]);
    let (batch, _) = fixture.go("analyze = \"always\"\n[alarms]\ninvented = \"1m\"", "").await;
    assert_eq!(fixture.row(batch, "call").await.state, JobState::Succeeded, "the limit is the definition's");

    let fixture = recordings(Config::default(), &[("silent", silence().record().wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::EmptyText)]);
    let (batch, _) = fixture.go("analyze = \"always\"", "").await;
    let row = fixture.row(batch, "silent").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 1), "true silence needs no allow_silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_does_not_list_is_converted() {
    let mut mono = call().record();
    mono.planes.truncate(1);
    let samples: Vec<u8> = mono.planes[0].iter().flat_map(|s| ((s * 32_767.0) as i16).to_be_bytes()).collect();
    let fixture = Fixture::new().await;
    fixture.write("rec/call.aiff", aiff(8_000, &samples));
    fixture.write("rec/call.ulaw", mono.ulaw());
    fixture.lines(&[("aiff", "rec/call.aiff"), ("raw", "rec/call.ulaw")]);
    let raw = "formats = [\"txt\"]\n[audio]\nraw = { encoding = \"ulaw\", rate = 8000 }";
    let (batch, ran) = fixture.go(raw, "").await;
    assert_eq!(ran.end, RunEnd::Done);
    for key in ["aiff", "raw"] {
        let row = fixture.row(batch, key).await;
        assert_eq!((row.state, row.notes.as_deref()), (JobState::Succeeded, Some("converted")), "{key}");
        assert_eq!(fixture.output(&format!("{key}.txt")), format!("{AGENT} One moment please\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_g722_is_named_by_the_definition() {
    let mut mono = call().record();
    mono.planes.truncate(1);
    let fixture = Fixture::new().await;
    let (wav, g722) = (fixture.write("call.wav", mono.wav()), fixture.path("rec/call.bin"));
    fixture.write("rec/note.txt", "");
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(wav).args(["-ar", "16000", "-acodec", "g722", "-f", "g722"]).arg(&g722);
    match ffmpeg.status() {
        Ok(made) => assert!(made.success()),
        Err(_) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "SKIPPED: ffmpeg is not installed");
            return;
        }
    }
    fixture.lines(&[("raw", "rec/call.bin")]);
    let raw = "formats = [\"txt\"]\n[audio]\nraw = { encoding = \"g722\", rate = 16000 }";
    let (batch, _) = fixture.go(raw, "").await;
    let row = fixture.row(batch, "raw").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    assert_eq!(fixture.output("raw.txt"), format!("{AGENT} One moment please\n"));
}

/// An AIFF file of one channel.
fn aiff(rate: u32, samples: &[u8]) -> Vec<u8> {
    let frames = (samples.len() / 2) as u32;
    let mut comm = vec![0, 1];
    comm.extend(frames.to_be_bytes());
    comm.extend([0, 16]);
    // The rate as an 80-bit float.
    let exponent = 31 - rate.leading_zeros();
    comm.extend((16_383 + exponent as u16).to_be_bytes());
    comm.extend(((u64::from(rate)) << (63 - exponent)).to_be_bytes());
    let mut body = b"AIFF".to_vec();
    let mut ssnd = vec![0; 8];
    ssnd.extend(samples);
    for (name, chunk) in [(b"COMM", &comm), (b"SSND", &ssnd)] {
        body.extend(name);
        body.extend((chunk.len() as u32).to_be_bytes());
        body.extend(chunk);
    }
    [b"FORM".as_slice(), &(body.len() as u32).to_be_bytes(), &body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_can_name_its_own_sides() {
    let fixture = recordings(Config::default(), &[("call", call().record().wav())]).await;
    fixture.write("calls.csv", "key,source,Channel_1,channel_2\ncall,rec/call.wav,Maya,\n");
    let (batch, ran) = fixture.go(SPLIT, "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let txt = fixture.output("call.txt");
    assert!(txt.starts_with(&format!("Maya: {AGENT}")) && txt.contains("customer: "), "{txt}");
    assert_eq!(report(&fixture, batch).await["call"]["Channel_1"], "Maya", "the columns are carried, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_cannot_be_split_says_why_and_costs_nothing() {
    let fixture =
        recordings(Config::default(), &[("broken", b"no audio at all, but some bytes that mean nothing".to_vec())])
            .await;
    let (batch, _) = fixture.go(SPLIT, "").await;
    let row = fixture.row(batch, "broken").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("source_not_audio")));
    assert!(row.error.unwrap().contains("cannot be split"), "it says what cannot be done");
    assert_eq!(fixture.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_between_two_sides_goes_on_with_the_second() {
    let config = Config { latency: Duration::from_millis(5), ..Config::default() };
    let fixture = recordings(config, &[("call", call().record().wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(2), What::status(503))]);
    let (batch, _) = fixture.go(SPLIT, "max_tries = 5").await;
    fixture.run_ahead(batch).await;
    let row = fixture.row(batch, "call").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 2), "{:?}", row.error);
    assert_eq!(fixture.pool().await.pool, Pool::Pulse);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_sides_buys_none_of_them_twice() {
    for point in ["after-answer:1", "after-answer:2", "before-sink", "before-settle"] {
        let fixture = recordings(Config::default(), &[("call", call().record().wav())]).await;
        let definition = fixture.definition(SPLIT, "");
        let run = |crash: Option<&str>| {
            let mut command = program(&fixture, &["run", definition.to_str().unwrap()]);
            crash.map(|at| command.env("WAVEBATCH_CRASH_AT", at));
            tokio::task::spawn_blocking(move || command.output().unwrap())
        };
        let killed = run(Some(point)).await.unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {}", stderr(&killed));
        let ended = run(None).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{point}: {}", stderr(&ended));
        assert_eq!(fixture.sandbox.books().billed, 2, "{point}");
        assert!(fixture.output("call.txt").contains(&format!("customer: {CUSTOMER}")), "{point}");
    }
}

crate::support::server::on_postgres_in_the_gate! {
    each_side_is_bought_by_itself_and_the_words_are_one_conversation,
    nothing_is_bought_for_a_copy_a_silent_side_or_a_silent_recording,
    a_side_whose_answer_has_no_words_is_suspect_and_alone_bought_again,
    a_run_that_ends_between_two_sides_goes_on_with_the_second,
}

#[test]
fn a_wrong_limit_of_an_alarm_is_told_before() {
    let dir = crate::cli::fixture();
    let head = "task = \"transcribe\"\nmanifest = \"calls.csv\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n[alarms]\n";
    for (limit, message) in [
        ("loops = 1", "`alarms.loops`: a phrase is said at least 2 times"),
        ("loops = \"4\"", "`alarms.loops`: must be a whole number"),
        ("one_sided = 5", "`alarms.one_sided`: must be"),
        ("onesided = \"5s\"", "did you mean `one_sided`?"),
    ] {
        std::fs::write(dir.path().join("a.toml"), format!("{head}{limit}\n")).unwrap();
        let check = crate::cli::run(dir.path(), &["check", "a.toml"]);
        assert_eq!(crate::cli::code(&check), 2, "{limit}");
        assert!(stderr(&check).contains(message), "{limit}: {}", stderr(&check));
    }
    std::fs::write(dir.path().join("calls.csv"), "key,source\na,https://example.com/a.wav\n").unwrap();
    std::fs::write(dir.path().join("a.toml"), format!("{head}loops = 9\none_sided = \"1m\"\n")).unwrap();
    assert_eq!(crate::cli::code(&crate::cli::run(dir.path(), &["check", "a.toml"])), 0);
}
