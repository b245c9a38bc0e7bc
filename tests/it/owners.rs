//! Who owns a file: whatever is changed and in whatever order, each path has what its line wants now, and nothing is bought
//! twice.

use std::{collections::HashMap, fs, time::SystemTime};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    definition::{Definition, Overrides},
    domain::{
        environment::Environment,
        job::{BatchId, JobState},
    },
    runner::{
        RunEnd,
        intake::{Submission, SubmitOptions, submit},
    },
    sandbox::{Fault, Match, What},
    store::{Chosen, ReportScope, Selection},
};

use crate::support::Fixture;

/// How the prompts are asked for.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    voice: &'static str,
    name: &'static str,
    formats: &'static str,
    /// Which of the texts each line has.
    texts: [usize; 3],
}

const VOICES: [&str; 2] = ["magnus", "avery"];
const NAMES: [&str; 3] = ["{key}", "{voice_id}/{key}", "{menu}/{key}"];
const FORMATS: [&str; 2] = ["[\"wav\"]", "[\"wav\", { format = \"pcm\", sample_rate = 24000 }]"];
const TEXTS: [&str; 3] = ["Press one.", "Press two now.", "Please hold the line."];
const KEYS: [&str; 3] = ["a", "b", "c"];

impl Default for Asked {
    fn default() -> Self {
        Self { voice: VOICES[0], name: NAMES[0], formats: FORMATS[0], texts: [0, 1, 0] }
    }
}

impl Asked {
    fn write(&self, fixture: &Fixture) {
        let toml = format!(
            "name = \"ivr\"\ntask = \"synthesize\"\nmanifest = \"prompts.csv\"\noutput = \"out/\"\n[synthesize]\n\
             model = \"lightning_v3.1\"\nvoice_id = \"{}\"\nformats = {}\nname = \"{}\"\n",
            self.voice, self.formats, self.name
        );
        fixture.write("ivr.toml", toml);
        let rows: String =
            KEYS.iter().zip(self.texts).map(|(key, text)| format!("{key},menu-{text},{}\n", TEXTS[text])).collect();
        fixture.write("prompts.csv", format!("key,menu,text\n{rows}"));
    }

    /// The names of the audio files that are wanted, and what each says.
    fn files(&self) -> Vec<(String, &'static str, usize)> {
        let endings = if self.formats == FORMATS[0] { &["wav"][..] } else { &["wav", "pcm"] };
        let mut files = Vec::new();
        for (key, text) in KEYS.iter().zip(self.texts) {
            let menu = format!("menu-{text}");
            let name = self.name.replace("{key}", key).replace("{voice_id}", self.voice).replace("{menu}", &menu);
            files.extend(endings.iter().map(|ending| (format!("{name}.{ending}"), self.voice, text)));
        }
        files
    }
}

async fn submitted(fixture: &Fixture, limit: Option<u64>) -> Submission {
    let overrides = Overrides { limit, ..Overrides::default() };
    let definition =
        Definition::load(&fixture.path("ivr.toml"), wavebatch::tasks::Registry::built_in().definitions(), &overrides)
            .expect("a good definition");
    // What is asked for in another voice is meant.
    let options = SubmitOptions { rebuy: true, ..SubmitOptions::of(wavebatch::tasks::Registry::built_in().intakes()) };
    submit(&fixture.store, &definition, None, Environment::Live, &options).await.expect("submitted")
}

async fn done(fixture: &Fixture) -> Submission {
    let submission = submitted(fixture, None).await;
    assert_eq!(fixture.run(submission.batch).await.end, RunEnd::Done);
    submission
}

/// What each voice says of each text, in each kind of file.
async fn spoken() -> HashMap<(String, &'static str, usize), Vec<u8>> {
    let mut all = HashMap::new();
    for voice in VOICES {
        let fixture = Fixture::new().await;
        let asked = Asked { voice, formats: FORMATS[1], texts: [0, 1, 2], ..Asked::default() };
        asked.write(&fixture);
        done(&fixture).await;
        for (file, voice, text) in asked.files() {
            let ending = file.rsplit('.').next().expect("an ending").to_owned();
            all.insert((ending, voice, text), fs::read(fixture.path("out").join(&file)).expect("a file"));
        }
    }
    let distinct: std::collections::HashSet<_> = all.values().collect();
    assert_eq!(distinct.len(), all.len(), "the sandbox says each in another way");
    all
}

#[derive(Debug, Clone)]
enum Step {
    Voice(usize),
    Name(usize),
    Formats(usize),
    Text(usize, usize),
    Limit(u64),
    Cancel,
    Retry,
    Cut,
    Run,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..VOICES.len()).prop_map(Step::Voice),
        2 => (0..NAMES.len()).prop_map(Step::Name),
        2 => (0..FORMATS.len()).prop_map(Step::Formats),
        2 => (0..KEYS.len(), 0..TEXTS.len()).prop_map(|(line, text)| Step::Text(line, text)),
        1 => (1..3_u64).prop_map(Step::Limit),
        1 => Just(Step::Cancel),
        1 => Just(Step::Retry),
        2 => Just(Step::Cut),
        3 => Just(Step::Run),
    ]
}

/// Begins a run, and gives it up in the middle as a killed process would.
async fn cut(fixture: &Fixture, batch: BatchId) {
    let (store, abort) = (fixture.second_store().await, CancellationToken::new());
    let billed = fixture.sandbox.books().billed;
    let aborting = async {
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            if fixture.sandbox.books().billed > billed {
                break;
            }
        }
        abort.cancel();
    };
    tokio::join!(fixture.run_on(&store, batch, CancellationToken::new(), abort.clone()), aborting);
    store.close().await;
}

async fn check(steps: &[Step], spoken: &HashMap<(String, &'static str, usize), Vec<u8>>) {
    let fixture = Fixture::new().await;
    let mut asked = Asked::default();
    let mut cuts = 0;
    for step in steps {
        match step {
            Step::Voice(n) => asked.voice = VOICES[*n],
            Step::Name(n) => asked.name = NAMES[*n],
            Step::Formats(n) => asked.formats = FORMATS[*n],
            Step::Text(line, text) => asked.texts[*line] = *text,
            Step::Limit(_) | Step::Cancel | Step::Retry | Step::Cut | Step::Run => {}
        }
        asked.write(&fixture);
        match step {
            Step::Limit(n) => {
                let batch = submitted(&fixture, Some(*n)).await.batch;
                fixture.run(batch).await;
            }
            Step::Cancel => {
                let batch = submitted(&fixture, None).await.batch;
                fixture.store.cancel(batch).await.expect("a ledger");
            }
            Step::Retry => retry(&fixture).await,
            Step::Cut => {
                cuts += 1;
                let batch = submitted(&fixture, None).await.batch;
                cut(&fixture, batch).await;
            }
            Step::Run => drop(done(&fixture).await),
            // A change that nobody runs, and the next one on top of it.
            _ => drop(submitted(&fixture, None).await),
        }
    }
    // Cancelled lines come back by `retry` alone.
    let batch = submitted(&fixture, None).await.batch;
    retry(&fixture).await;
    let end = fixture.run(batch).await.end;
    let pause = fixture.store.batch_by_id(batch).await.expect("a ledger").pause;
    assert_eq!(end, RunEnd::Done, "{pause:?} after {steps:?}");
    for (file, voice, text) in asked.files() {
        let ending = file.rsplit('.').next().expect("an ending").to_owned();
        let there = fs::read(fixture.path("out").join(&file)).unwrap_or_default();
        assert!(there == spoken[&(ending, voice, text)], "{file} is not {voice}'s {:?} after {steps:?}", TEXTS[text]);
    }
    let rows = fixture.rows(batch).await;
    assert_eq!(rows.len(), asked.files().len(), "one row for each output: {steps:?}");
    assert!(rows.iter().all(|row| row.state == JobState::Succeeded), "{steps:?}");
    assert_eq!(fixture.counts(batch).await.total(), rows.len() as u64);
    let books = fixture.sandbox.books();
    let most = VOICES.len() * TEXTS.len();
    assert!(
        books.billed <= (most + cuts * KEYS.len() * 2) as u64,
        "{} bought, and there are {most}: {steps:?}",
        books.billed
    );
    if cuts == 0 {
        assert!(books.most_billed() <= 1, "nothing is bought twice where nothing was cut off: {steps:?}");
    }
    // And once more: nothing is left to do, and no file is touched.
    let before = times(&fixture, &asked);
    let calls = fixture.sandbox.books().calls;
    let again = done(&fixture).await;
    assert_eq!((again.submitted.new, again.submitted.changed, again.redelivered), (0, 0, 0), "{steps:?}");
    assert_eq!((times(&fixture, &asked), fixture.sandbox.books().calls), (before, calls));
}

async fn retry(fixture: &Fixture) {
    if let Some(batch) = fixture.store.batch("ivr").await.expect("a ledger") {
        let chosen = Chosen::of(batch.id, Selection::default());
        fixture.store.retry(chosen).await.expect("a ledger");
    }
}

fn times(fixture: &Fixture, asked: &Asked) -> Vec<Option<SystemTime>> {
    let time = |file: &str| fs::metadata(fixture.path("out").join(file)).and_then(|meta| meta.modified()).ok();
    asked.files().iter().map(|(file, ..)| time(file)).collect()
}

#[test]
fn whatever_is_changed_each_path_has_what_its_line_wants() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let spoken = runtime.block_on(spoken());
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let config = ProptestConfig { cases, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step(), 3..9))| {
        runtime.block_on(check(&steps, &spoken));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_comes_back_has_its_files_again_and_buys_nothing() {
    let fixture = Fixture::new().await;
    let spoken = spoken().await;
    let there = |asked: &Asked| {
        for (file, voice, text) in asked.files() {
            let bytes = fs::read(fixture.path("out").join(&file)).expect("a file");
            assert!(bytes == spoken[&("wav".to_owned(), voice, text)], "{file}: not {voice}");
        }
    };
    let (magnus, avery) = (Asked::default(), Asked { voice: "avery", ..Asked::default() });
    magnus.write(&fixture);
    done(&fixture).await;
    there(&magnus);
    avery.write(&fixture);
    assert_eq!(done(&fixture).await.dropped, 3);
    there(&avery);
    let billed = fixture.sandbox.books().billed;
    magnus.write(&fixture);
    let back = done(&fixture).await;
    assert_eq!((back.submitted.new, back.redelivered, back.dropped), (0, 3, 3));
    there(&magnus);
    // `deliver` writes what is wanted, and `retry` has nothing of what is not.
    fs::remove_file(fixture.path("out/a.wav")).expect("a file");
    assert_eq!(fixture.store.redeliver(back.batch).await.expect("a ledger").0, 3);
    assert_eq!(fixture.run(back.batch).await.end, RunEnd::Done);
    there(&magnus);
    let again = Chosen { batch: back.batch, lines: Selection::of_key("a"), part: None, other_way: None };
    assert_eq!(fixture.store.plan_retry(&again).await.expect("a ledger").jobs, 1);
    assert_eq!(fixture.sandbox.books().billed, billed);
    let all = fixture
        .store
        .report_rows(back.batch, (0, 0), 99, false, &ReportScope { with_dropped: true, ..ReportScope::default() })
        .await
        .expect("a ledger");
    assert_eq!((all.len(), fixture.rows(back.batch).await.len()), (6, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lines_that_change_names_with_each_other_both_get_theirs() {
    let fixture = Fixture::new().await;
    let toml = "name = \"ivr\"\ntask = \"synthesize\"\nmanifest = \"prompts.csv\"\noutput = \"out/\"\n[synthesize]\n\
         model = \"lightning_v3.1\"\nvoice_id = \"magnus\"\nformats = [\"wav\"]\nname = \"{file}\"\n";
    fixture.write("ivr.toml", toml);
    let write = |a: &str, b: &str| {
        fixture.write("prompts.csv", format!("key,file,text\na,{a},Press one.\nb,{b},Please hold the line.\n"));
    };
    let read = |name: &str| fs::read(fixture.path("out").join(name)).expect("a file");
    write("one", "two");
    let first = done(&fixture).await;
    let (one, two) = (read("one.wav"), read("two.wav"));
    assert!(one != two);
    write("two", "one");
    assert_eq!(done(&fixture).await.redelivered, 2);
    assert!(read("one.wav") == two && read("two.wav") == one);
    assert_eq!(fixture.sandbox.books().billed, 2);
    // A third takes the name of one that is gone.
    fixture.write("prompts.csv", "key,file,text\na,two,Press one.\nc,one,Press two now.\n");
    assert_eq!(done(&fixture).await.gone, 1);
    assert!(read("one.wav") != two && read("two.wav") == one);
    let rows = fixture.rows(first.batch).await;
    assert_eq!(
        rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(),
        ["a", "c"],
        "its file is another's: dropped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_prompts_one_text_is_changed_and_one_file_is_written() {
    let fixture = Fixture::new().await;
    fixture.write(
        "ivr.toml",
        "name = \"ivr\"\ntask = \"synthesize\"\nmanifest = \"prompts.csv\"\noutput = \"out/\"\n[synthesize]\n\
         model = \"lightning_v3.1\"\nvoice_id = \"magnus\"\nformats = [\"wav\"]\nname = \"{menu}/{key}\"\n",
    );
    let write = |changed: &str| {
        let rows: String =
            (0..60).map(|n| format!("k{n},m{},{}\n", n % 4, if n == 7 { changed } else { "Hello." })).collect();
        fixture.write("prompts.csv", format!("key,menu,text\n{rows}"));
    };
    let times = || -> Vec<SystemTime> {
        let file = |n: usize| fixture.path(&format!("out/m{}/k{n}.wav", n % 4));
        (0..60).map(|n| fs::metadata(file(n)).and_then(|meta| meta.modified()).expect("a file")).collect()
    };
    write("Hello.");
    done(&fixture).await;
    let before = times();
    write("Goodbye.");
    let again = done(&fixture).await;
    assert_eq!((again.submitted.changed, again.submitted.same, again.redelivered), (1, 59, 0));
    let written: Vec<usize> = (0..60).filter(|n| times()[*n] != before[*n]).collect();
    assert_eq!(written, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_share_a_clip_are_joined_anew_together() {
    let fixture = Fixture::new().await;
    let asked = Asked { texts: [0, 1, 0], ..Asked::default() };
    asked.write(&fixture);
    let batch = done(&fixture).await.batch;
    let before = times(&fixture, &asked);
    let first = Chosen { batch, lines: Selection::of_key("a"), part: Some(0), other_way: None };
    assert_eq!(fixture.store.plan_retry(&first).await.expect("a ledger").joined, 1, "c says the same");
    fixture.store.retry(first).await.expect("a ledger");
    // The next performance is another one.
    fixture.sandbox.script([Fault::new(Match::Any, What::WrongDuration(1.2))]);
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let after = times(&fixture, &asked);
    assert!(after[0] != before[0] && after[1] == before[1] && after[2] != before[2]);
    let read = |name: &str| fs::read(fixture.path("out").join(name)).expect("a file");
    assert!(read("a.wav") == read("c.wav"));
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 3);
    assert_eq!(fixture.sandbox.books().billed, 3, "two texts, and one again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_gone_takes_no_file_from_one_that_is_there() {
    let fixture = Fixture::new().await;
    let toml = "name = \"ivr\"\ntask = \"synthesize\"\nmanifest = \"prompts.csv\"\noutput = \"out/\"\n[synthesize]\n\
         model = \"lightning_v3.1\"\nvoice_id = \"magnus\"\nformats = [\"wav\"]\nname = \"{file}\"\n";
    fixture.write("ivr.toml", toml);
    fixture.write("prompts.csv", "key,file,text\na,one,Press one.\n");
    let batch = submitted(&fixture, None).await.batch;
    fixture.store.cancel(batch).await.expect("a ledger");
    fixture.write("prompts.csv", "key,file,text\nb,one,Please hold the line.\n");
    assert_eq!(done(&fixture).await.gone, 1);
    let there = fs::read(fixture.path("out/one.wav")).expect("a file");
    // Tried again, the older line finds its name taken.
    retry(&fixture).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert!(fs::read(fixture.path("out/one.wav")).expect("a file") == there);
    let rows = fixture.rows(batch).await;
    assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(fixture.counts(batch).await.of(JobState::Failed), 0);
}

crate::support::server::on_postgres_in_the_gate! {
    a_voice_that_comes_back_has_its_files_again_and_buys_nothing,
    two_lines_that_change_names_with_each_other_both_get_theirs,
    of_many_prompts_one_text_is_changed_and_one_file_is_written,
    outputs_that_share_a_clip_are_joined_anew_together,
    a_line_that_is_gone_takes_no_file_from_one_that_is_there,
}
