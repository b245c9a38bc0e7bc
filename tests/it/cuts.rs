//! Recordings that are not sent as they are: in pieces, packed, without their silences, and tried another way.

use wavebatch::{
    domain::job::JobState,
    runner::RunEnd,
    sandbox::{
        Config, Fault, Match, What,
        fixtures::{Line, Recording, Script},
    },
    store::{Chosen, Selection},
};

use crate::{
    cli::stderr,
    ears::{recordings, report},
    support::{Fixture, service::program},
};

pub const SENTENCES: [&str; 4] = [
    "Good morning this is support how can I help you",
    "My lamp has not come yet and I want to know where it is now",
    "One moment please while I look for your order in our list",
    "It is the order of last week and I paid for it by card",
];
pub const ROLES: &str = "roles = { 1 = \"agent\", 2 = \"customer\" }";

pub fn line(channel: usize, at_ms: u64, words: &str) -> Line {
    Line { channel, at_ms, words: words.into(), voice: channel * 3, gain_db: 0.0 }
}

/// A recording of one channel in which somebody speaks nearly all the time.
pub fn talk(length_ms: u64) -> Recording {
    let lines = (0..).map(|nth: u64| line(0, 400 + nth * 5_300, SENTENCES[nth as usize % 4]));
    let lines = lines.take_while(|line| line.at_ms + 5_500 < length_ms).collect();
    let mut recording = Script { rate: 8_000, lines, length_ms, ..Script::default() }.record();
    recording.planes.truncate(1);
    recording
}

/// Two sides with long pauses.
pub fn call() -> Script {
    let lines = vec![line(0, 3_300, SENTENCES[0]), line(1, 14_000, SENTENCES[1]), line(0, 26_000, SENTENCES[2])];
    Script { rate: 8_000, lines, length_ms: 40_000, ..Script::default() }
}

/// The words of a JSON output with their beginnings, in seconds.
pub fn words(json: &str) -> Vec<(String, f64)> {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let words = json["words"].as_array().unwrap().iter();
    words.map(|word| (word["word"].as_str().unwrap().to_owned(), word["start"].as_f64().unwrap())).collect()
}

/// That all words of the recording are there, each once and at its time.
pub fn assert_whole(found: &[(String, f64)], recording: &Recording) {
    let plain = |word: &str| word.to_lowercase();
    let (found_words, said): (Vec<_>, Vec<_>) =
        (found.iter().map(|w| plain(&w.0)).collect(), recording.words.iter().map(|w| plain(&w.word)).collect());
    assert_eq!(found_words, said);
    for (found, said) in found.iter().zip(&recording.words) {
        let late = found.1 * 1_000.0 - said.from_ms as f64;
        assert!(late.abs() <= 100.0, "{} begins {late} ms late", found.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recording_is_sent_in_pieces_and_is_one_transcript() {
    let long = talk(150_000);
    let files = [("long", long.wav()), ("short", talk(20_000).wav())];
    let fixture = recordings(Config::default(), &files).await;
    let (batch, ran) = fixture.go("max_piece = \"1m\"\nformats = [\"json\", \"txt\", \"srt\"]", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    assert_whole(&words(&fixture.output("long.json")), &long);
    let spoken: Vec<_> = long.words.iter().map(|word| word.word.to_lowercase()).collect();
    let text = fixture.output("long.txt").to_lowercase();
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), spoken);
    let json: serde_json::Value = serde_json::from_str(&fixture.output("long.json")).unwrap();
    let calls: Vec<_> = json["calls"].as_array().unwrap().iter().map(|call| (&call["start"], &call["end"])).collect();
    assert_eq!((calls.len(), calls[0], calls[2].1), (3, (&0.0.into(), &51.334.into()), &150.0.into()));
    assert_eq!(json["metadata"]["duration"], 150.0);
    let rows = report(&fixture, batch).await;
    let cells = |key: &str| ["billed_calls", "audio_seconds", "notes"].map(|column| rows[key][column].clone());
    assert_eq!(cells("long"), ["3", "150.000", "stitched"]);
    assert_eq!(cells("short"), ["1", "20.000", ""], "it is sent as it is");
    assert_eq!(words(&fixture.output("short.json")).len(), talk(20_000).words.len());
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().billed, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_piece_there_is_no_transcript() {
    let fixture = recordings(Config::default(), &[("long", talk(150_000).wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(2), What::status(400))]);
    let (batch, _) = fixture.go("max_piece = \"1m\"", "").await;
    let row = fixture.row(batch, "long").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Failed, 1), "{:?}", row.error);
    assert!(!fixture.path("out/long.txt").exists(), "never a shorter one");
    assert_eq!(fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap(), 1);
    fixture.run(batch).await;
    let row = fixture.row(batch, "long").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 3), "the piece that was there is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_pieces_buys_none_of_them_twice() {
    for point in ["after-answer:2", "before-settle"] {
        let long = talk(150_000);
        let fixture = recordings(Config::default(), &[("long", long.wav())]).await;
        let definition = fixture.definition("max_piece = \"1m\"", "");
        let run = |crash: Option<&str>| {
            let mut command = program(&fixture, &["run", definition.to_str().unwrap()]);
            crash.map(|at| command.env("WAVEBATCH_CRASH_AT", at));
            tokio::task::spawn_blocking(move || command.output().unwrap())
        };
        let killed = run(Some(point)).await.unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {}", stderr(&killed));
        let ended = run(None).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{point}: {}", stderr(&ended));
        assert_eq!(fixture.sandbox.books().billed, 3, "{point}");
        assert_whole(&words(&fixture.output("long.json")), &long);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_call_is_one_call_and_the_same_conversation() {
    let recording = call().record();
    let wav = recording.wav();
    let fixture = recordings(Config::default(), &[("call", wav.clone())]).await;
    let (batch, ran) = fixture.go(&format!("channels = \"packed\"\n{ROLES}"), "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let apart = recordings(Config::default(), &[("call", wav)]).await;
    let (other, _) = apart.go(&format!("channels = \"split\"\n{ROLES}"), "").await;
    assert_eq!(fixture.output("call.txt"), apart.output("call.txt"));
    assert!(fixture.output("call.txt").starts_with(&format!("agent: {}", SENTENCES[0])));
    let turns = |fixture: &Fixture| -> Vec<(String, f64)> {
        let json: serde_json::Value = serde_json::from_str(&fixture.output("call.json")).unwrap();
        let turns = json["turns"].as_array().unwrap().iter();
        turns.map(|turn| (turn["role"].to_string(), turn["start"].as_f64().unwrap())).collect()
    };
    for (packed, split) in turns(&fixture).iter().zip(turns(&apart)) {
        assert!(packed.0 == split.0 && (packed.1 - split.1).abs() < 0.1, "{packed:?} {split:?}");
    }
    let row = &report(&fixture, batch).await["call"];
    assert_eq!([&*row["billed_calls"], &*row["notes"], &*row["channels_note"]], ["1", "packed", "packed"]);
    let cost: f64 = row["cost_usd"].parse().unwrap();
    let split: f64 = report(&apart, other).await["call"]["cost_usd"].parse().unwrap();
    assert!(cost < 0.3 * split, "{cost} {split}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unpacked_is_bought_side_by_side() {
    let fixture = recordings(Config::default(), &[("call", call().record().wav())]).await;
    // Its words are half a second late: some of them lie in the guard between the two sides, or where nobody speaks.
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::LateWords(900))]);
    let (batch, ran) = fixture.go(&format!("channels = \"packed\"\n{ROLES}"), "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let row = fixture.row(batch, "call").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 3), "{:?}", row.error);
    assert_eq!(row.notes.as_deref(), Some("packed_in_vain"));
    assert!(fixture.output("call.txt").contains(&format!("customer: {}", SENTENCES[1])));
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().billed, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_cut_out_and_times_are_those_of_the_recording() {
    let mut recording = call().record();
    let other = recording.planes.pop().unwrap();
    recording.planes[0].iter_mut().zip(other).for_each(|(sample, other)| *sample += other);
    let fixture = recordings(Config::default(), &[("call", recording.wav())]).await;
    let (batch, ran) = fixture.go("trim_silence = true", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    assert_whole(&words(&fixture.output("call.json")), &recording);
    let row = &report(&fixture, batch).await["call"];
    assert_eq!([&*row["billed_calls"], &*row["notes"], &*row["audio_seconds"]], ["1", "trimmed", "40.000"]);
    let cost: f64 = row["cost_usd"].parse().unwrap();
    assert!(cost > 0.0 && cost < 0.005 * 26.0 / 60.0, "{cost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_line_is_tried_another_way_once_and_the_better_answer_is_kept() {
    let fixture = recordings(Config::default(), &[("call", call().record().wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::EmptyText)]);
    let (batch, _) = fixture.go("analyze = \"always\"", "").await;
    assert_eq!(fixture.row(batch, "call").await.error_kind.as_deref(), Some("unheard"));
    let with = |way: &str| Chosen { other_way: Some(way.into()), ..Chosen::of(batch, Selection::default()) };
    assert_eq!(fixture.store.plan_retry(&with("split")).await.unwrap().jobs, 1);
    assert_eq!(fixture.store.retry(with("split")).await.unwrap(), 1);
    fixture.run(batch).await;
    let row = fixture.row(batch, "call").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 3), "the first answer stays in the books");
    assert!(row.notes.unwrap().split(';').any(|note| note == "other_way"));
    let text = fixture.output("call.txt");
    assert!(text.contains("channel 1: Good morning") && text.contains("channel 2: My lamp"), "{text}");
    assert_eq!(fixture.store.retry(with("pulse-pro")).await.unwrap(), 0, "it is suspect no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_that_is_no_better_changes_nothing() {
    for (fault, billed) in [(What::EmptyText, 2), (What::status(400), 1)] {
        // Nobody heard it: the recording is looked at for the first time when the other way is planned.
        let fixture = recordings(Config::default(), &[("talk", talk(20_000).wav())]).await;
        fixture.sandbox.script([Fault::new(Match::Nth(1), What::EmptyText), Fault::new(Match::Nth(2), fault)]);
        let (batch, _) = fixture.go("", "").await;
        let first = fixture.row(batch, "talk").await;
        assert_eq!((first.state, first.error_kind.as_deref()), (JobState::Suspect, Some("empty")));
        let with = |way: &str| Chosen { other_way: Some(way.into()), ..Chosen::of(batch, Selection::default()) };
        assert_eq!(fixture.store.retry(with("pulse-pro")).await.unwrap(), 1);
        fixture.run(batch).await;
        let row = fixture.row(batch, "talk").await;
        assert_eq!((row.state, row.billed_calls), (JobState::Suspect, billed), "{:?}", row.error);
        assert!(row.notes.unwrap().split(';').any(|note| note == "first_way"));
        assert_eq!(fixture.store.retry(with("pulse-pro")).await.unwrap(), 0, "once");
        assert_eq!(fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap(), 1);
        fixture.run(batch).await;
        let row = fixture.row(batch, "talk").await;
        assert_eq!(row.state, JobState::Succeeded, "the first way is tried again: {:?}", row.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_way_is_named_on_the_command_line() {
    let fixture = recordings(Config::default(), &[("talk", talk(20_000).wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::EmptyText)]);
    let definition = fixture.definition("", "");
    let run = async |args: &[&str]| {
        let mut command = program(&fixture, args);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let ran = run(&["run", definition.to_str().unwrap()]).await;
    assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
    let batch = definition.file_stem().unwrap().to_str().unwrap();
    for (args, words) in [
        (&["--with", "pulse"][..], "were transcribed with `pulse`"),
        (&["--with", "louder"], "`louder`"),
        (&["--with", "split", "--state", "failed"], "only suspect lines"),
    ] {
        let wrong = run(&[&["retry", batch], args].concat()).await;
        assert_eq!(wrong.status.code(), Some(2), "{args:?}: {}", stderr(&wrong));
        assert!(stderr(&wrong).contains(words), "{args:?}: {}", stderr(&wrong));
    }
    let asked = run(&["retry", batch, "--with", "pulse-pro"]).await;
    let said = stderr(&asked);
    assert!(said.contains("1 suspect line to be tried with pulse-pro, about $0.00"), "{said}");
    let worked = run(&["work", "--batch", batch]).await;
    assert_eq!(worked.status.code(), Some(0), "{}", stderr(&worked));
    assert_eq!(fixture.sandbox.books().billed, 2);
    assert!(fixture.output("talk.txt").starts_with("Good morning"));
    let again = run(&["retry", batch, "--with", "pulse-pro"]).await;
    assert!(stderr(&again).contains("no suspect line"), "{}", stderr(&again));
}

crate::support::server::on_postgres_in_the_gate! {
    a_long_recording_is_sent_in_pieces_and_is_one_transcript,
    what_cannot_be_unpacked_is_bought_side_by_side,
    a_suspect_line_is_tried_another_way_once_and_the_better_answer_is_kept,
}
