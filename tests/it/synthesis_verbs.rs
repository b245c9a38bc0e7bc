//! Verbs that read a batch of speech, on ledgers made by hand.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wavebatch::{
    domain::{
        batch::BatchSpec,
        call::LogFlags,
        cost::MicroUsd,
        cut::{SentenceRules, cut},
        environment::Environment,
        facts::Facts,
        identity::{Identity, text_identity},
        job::{JobId, JobState, RequestFingerprint},
        pool::{Limits, Pool},
        synthesis::ClipFormat,
        synthesis::Synthesis,
        synthesis_options::{AudioFormat, SampleRate},
    },
    store::{
        ClaimRequest, Claimed, Clip, End, Ended, Finish, NewBatch, NewJob, NewSynthesis, Opening, PermitRequest,
        PlannedPart, Purchase, Resubmission, Settlement, Store, Text, To,
    },
};

use crate::support::submit_lines;

const TEXT: &str = "Hello there.\n\n* * *\n\nIt was the best of times.\n\nThe end.";
/// What is bought of it, and how long each is, in samples at 24 kHz.
const PARTS: [(i64, &str, usize); 3] =
    [(0, "Hello there.", 24_000), (2, "It was the best of times.", 48_000), (3, "The end.", 12_000)];
const PCM: ClipFormat = ClipFormat { format: AudioFormat::Pcm, sample_rate: SampleRate::Hz24000 };

/// One chapter in two formats that hold the same samples: bought for the first, there for the second.
struct Book {
    dir: TempDir,
    store: Store,
    spec: BatchSpec,
}

impl Book {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.expect("a ledger").0;
        let spec = spec(&dir.path().join("out").display().to_string());
        let book = Self { dir, store, spec };
        book.submit().await;
        book
    }

    async fn submit(&self) {
        let new = NewBatch::of::<Synthesis>("book", Environment::Live, (&self.spec).into());
        let batch = self.store.begin(new, Resubmission::default()).await.unwrap().batch;
        submit_lines(&self.store, batch, &[job("wav"), job("pcm")]).await;
        self.store.end_submit(batch).await.unwrap();
    }

    fn cache_key(&self, text: &str) -> Identity {
        let asked = self.spec.task.read::<Synthesis>().unwrap();
        asked.options.cache_key(text, PCM, None, None)
    }

    fn keep_clip(&self, text: &str, samples: usize) {
        let clips = self.store.clip_folder().unwrap();
        clips.write(self.cache_key(text), AudioFormat::Pcm, &vec![0; samples * 2], true).unwrap();
    }

    async fn claim(&self) -> Vec<Claimed> {
        let want = ClaimRequest {
            environment: Environment::Live,
            free: 9,
            calls: vec![(Pool::Tts, 9)],
            ..ClaimRequest::default()
        };
        self.store.claim(want).await.unwrap()
    }

    async fn buy(&self, job: &Claimed, part: i64, text: &str) {
        let characters = u32::try_from(text.chars().count()).unwrap();
        let cost = MicroUsd(i64::from(characters) * 20);
        let cache_key =
            Clip { cache_key: self.cache_key(text), looked_at: 0, characters, cost, respects_manual_review: false };
        let (model, flags) = ("lightning_v3.1".to_owned(), LogFlags::default());
        let ask = PermitRequest {
            part,
            ..PermitRequest::new(
                job,
                "acc".into(),
                Pool::Tts,
                Purchase::Clip(cache_key),
                RequestFingerprint {
                    model,
                    language: "en".into(),
                    flags,
                    bytes: None,
                    audio_ms: None,
                    estimated_ms: None,
                    keywords: Default::default(),
                },
            )
        };
        let call = self.store.permit(ask).await.unwrap().unwrap().call;
        let end = End::Synthesized { object: None, bytes: 9, found: false, request_id: None, content_expiry: None };
        let ended = Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None };
        self.store.end(ended).await.unwrap();
    }

    async fn settle(&self, job: &Claimed, reused_parts: u64) {
        let finish = Finish {
            state: Some(JobState::Succeeded),
            facts: Facts {
                audio_ms: Some(5_300),
                parts: Some(4),
                reused_parts: Some(reused_parts),
                ..Facts::default()
            },
            units: Some(45),
            ..Finish::default()
        };
        let to = To::Finished(Box::new(finish));
        assert!(self.store.settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await.unwrap());
    }

    /// All of it bought, and both jobs done.
    async fn done() -> Self {
        let book = Self::new().await;
        let _me = book.store.enlist("{}".into()).await.unwrap();
        let jobs = book.claim().await;
        for (part, text, samples) in PARTS {
            book.keep_clip(text, samples);
            book.buy(&jobs[0], part, text).await;
        }
        book.settle(&jobs[0], 0).await;
        let reused = PARTS.map(|(part, text, _)| PlannedPart {
            part,
            cache_key: book.cache_key(text),
            characters: 9,
            reused: true,
        });
        assert!(book.store.plan_parts(jobs[1].job, jobs[1].token, &reused).await.unwrap());
        book.settle(&jobs[1], 3).await;
        book.store.finish(jobs[0].batch).await.unwrap();
        book
    }

    /// Another voice, whose first part is `samples` long.
    async fn add_voice(&self, voice: &str, samples: usize) -> JobId {
        let mut slow = job("wav");
        slow.overrides = slow.overrides.map(|own| own.replace("avery", voice));
        slow.synthesis =
            slow.synthesis.map(|synthesis| NewSynthesis { variant: format!("{voice}|wav|24000"), ..synthesis });
        let batch = self.store.batch("book").await.unwrap().unwrap().id;
        submit_lines(&self.store, batch, &[slow]).await;
        let _me = self.store.enlist("{}".into()).await.unwrap();
        let job = self.claim().await.remove(0);
        let mut options = self.spec.task.read::<Synthesis>().unwrap().options.clone();
        options.voice_id = voice.into();
        let length = |part| if part == 0 { samples } else { 24_000 };
        let clips = PARTS.map(|(part, text, _)| (part, options.cache_key(text, PCM, None, None), length(part)));
        for (_, cache_key, samples) in clips {
            let clips = self.store.clip_folder().unwrap();
            clips.write(cache_key, AudioFormat::Pcm, &vec![0; samples * 2], true).unwrap();
        }
        let reused = clips.map(|(part, fingerprint, _)| PlannedPart {
            part,
            cache_key: fingerprint,
            characters: 9,
            reused: true,
        });
        assert!(self.store.plan_parts(job.job, job.token, &reused).await.unwrap());
        self.settle(&job, 3).await;
        job.job
    }

    fn wavebatch(&self, args: &[&str]) -> Output {
        let ledger = format!("sqlite://{}", self.dir.path().join("wavebatch.db").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
        command.current_dir(self.dir.path()).args(args).args(["--database", &ledger]);
        for name in ["SMALLEST_API_KEY", "SMALLEST_BASE_URL", "WAVEBATCH_DATABASE", "WAVEBATCH_CONFIG"] {
            command.env_remove(name);
        }
        command.output().expect("the program starts")
    }

    /// What it prints, and that it went well.
    fn message(&self, args: &[&str]) -> String {
        let output = self.wavebatch(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// What it refuses, as wrong usage.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.wavebatch(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn spec(output: &str) -> BatchSpec {
    serde_json::from_value(json!({
        "definition": "book", "task": "synthesize", "manifest": "book.csv", "output": output,
        "asked": {
            "options": { "model": "lightning_v3.1", "voice_id": "avery", "language": "en", "speed": 1000,
                "number_pronunciation_language": null, "math_notation": false, "expire_content": "false" },
            "voices": ["avery"],
            "formats": [{ "format": "wav", "sample_rate": "24000", "ending": "wav" },
                { "format": "pcm", "sample_rate": "24000", "ending": "pcm" }],
            "name": "{key}", "part_chars": 250, "pause": { "sentence_ms": 0, "paragraph_ms": 600, "break_ms": 1_200 },
            "max_chars_per_second": 25.0, "captions": [], "dictionary": null, "transport": "auto",
        },
        "run": {}, "report": {}, "carried": [], "option_columns": [],
    }))
    .unwrap()
}

fn job(format: &str) -> NewJob {
    let own = json!({ "voice_id": "avery", "name": "ch-1", "format": { "format": format, "sample_rate": "24000", "ending": format } });
    NewJob {
        line: 1,
        key: "ch-1".into(),
        source: None,
        source_id: text_identity(TEXT),
        options_id: Identity([1; 16]),
        overrides: Some(own.to_string()),
        carried: None,
        pool: Pool::Tts,
        expected: None,
        local: None,
        adopted: None,
        synthesis: Some(NewSynthesis { text: Text::new(TEXT), variant: format!("avery|{format}|24000") }),
    }
}

#[tokio::test]
async fn a_line_is_told_by_its_parts() {
    let book = Book::done().await;
    assert_eq!(cut(TEXT, 250, SentenceRules::of(Some("en"))).len(), 4);
    let message = book.message(&["jobs", "book", "--key", "ch-1", "--parts"]);
    let (first, second) = message.split_once("\n\n").unwrap();
    insta::assert_snapshot!(first, @"
    ch-1, line 1, avery, wav at 24000 Hz: succeeded, 4 parts, 00:00:05.300
    part         start  chars  state
       1  00:00:00.000     12  answered  Hello there.
       2  00:00:02.200      5  silent    * * *
       3  00:00:02.200     25  answered  It was the best of times.
       4  00:00:04.800      8  answered  The end.
    ");
    assert!(second.starts_with("ch-1, line 1, avery, pcm at 24000 Hz: succeeded, 4 parts, 00:00:05.300\n"), "{second}");
    assert!(second.contains("reused") && !second.contains("answered"), "{second}");

    let lines = book.message(&["jobs", "book", "--key", "ch-1", "--parts", "--json"]);
    let one: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&one["output_name"], &one["audio_seconds"]), (&json!("ch-1.wav"), &json!(5.3)));
    assert_eq!(one["parts"][2]["text"], "It was the best of times.");
    assert_eq!((&one["parts"][2]["part"], &one["parts"][2]["start_seconds"]), (&json!(3), &json!(2.2)));

    fs::remove_file(book.store.clip_folder().unwrap().path(book.cache_key(PARTS[1].1), AudioFormat::Pcm)).unwrap();
    let message = book.message(&["jobs", "book", "--key", "ch-1", "--parts"]);
    let rows: Vec<_> = message.lines().skip(2).take(4).collect();
    assert!(rows[1].contains("00:00:02.200") && rows[2].contains('?') && rows[2].contains("missing"), "{message}");
    assert!(rows[3].contains('?') && rows[3].contains("answered"), "nobody knows when, but it is there: {message}");
    assert!(book.refused(&["jobs", "book", "--parts"]).contains("--key"));
}

#[tokio::test]
async fn one_sentence_is_spoken_again_by_its_number_or_its_moment() {
    let book = Book::done().await;
    let retry = |more: &[&'static str]| [&["retry", "book", "--key", "ch-1"], more].concat();
    assert!(book.refused(&retry(&["--part", "2"])).contains("part 2 has no words: * * *"));
    assert!(book.refused(&retry(&["--part", "5"])).contains("there is no part 5; it has 4 parts"));
    assert!(book.refused(&retry(&["--part", "0"])).contains("0 is not in"));
    assert!(book.refused(&retry(&["--at", "01:00"])).contains("00:01:00.000 is outside; it lasts 00:00:05.300"));
    assert!(book.refused(&retry(&["--at", "soon"])).contains("write e.g. 00:12:34"));
    assert!(book.refused(&["retry", "book", "--part", "3"]).contains("--key"));
    let none = book.wavebatch(&["retry", "book", "--key", "ch-9", "--part", "3"]);
    assert_eq!(none.status.code(), Some(1));
    let none = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.contains("book has no line with the key `ch-9`; did you mean `ch-1`?"), "{none}");

    let plan = book.message(&retry(&["--at", "2.5", "--dry-run"]));
    assert_eq!(
        plan,
        "book: part 3 of ch-1 spoken again for 2 jobs, 25 characters, about $0.000438 (list price of 2026-09-07): \
         It was the best of times.\n",
        "both formats are made of one purchase"
    );
    assert!(book.message(&["jobs", "book", "--key", "ch-1", "--parts"]).contains("answered"), "nothing was done");
    fs::remove_file(book.store.clip_folder().unwrap().path(book.cache_key(PARTS[2].1), AudioFormat::Pcm)).unwrap();
    let message = book.message(&retry(&["--part", "3"]));
    assert!(message.contains("; and 1 other part to be paid for too, 8 characters, about $0.00014 ("), "{message}");
    assert!(message.contains("queued  -> wavebatch work --batch book"), "{message}");
    let parts = book.message(&["jobs", "book", "--key", "ch-1", "--parts"]);
    assert_eq!(parts.matches("forced").count(), 2, "{parts}");
    assert!(book.refused(&retry(&["--part", "3"])).contains("the line is not finished"));

    // Bought again for the one, it is new for the other too.
    let _me = book.store.enlist("{}".into()).await.unwrap();
    let jobs = book.claim().await;
    book.buy(&jobs[0], 2, PARTS[1].1).await;
    let parts = book.message(&["jobs", "book", "--key", "ch-1", "--parts"]);
    assert_eq!(parts.matches("forced").count(), 0, "{parts}");
}

#[tokio::test]
async fn a_moment_that_is_two_parts_is_nobodys() {
    let book = Book::done().await;
    let slow = book.add_voice("devansh", 60_000).await;
    let message = book.refused(&["retry", "book", "--key", "ch-1", "--at", "2.5"]);
    assert!(
        message.contains(
            "at 00:00:02.500 part 3 of avery, wav at 24000 Hz is heard, and part 1 of devansh, wav at 24000 Hz"
        ) && message.contains("name it with --part"),
        "{message}"
    );
    let plan = book.message(&["retry", "book", "--key", "ch-1", "--part", "3"]);
    assert!(plan.contains("part 3 of ch-1 spoken again for 3 jobs, 50 characters"), "two voices, two sounds: {plan}");
    assert!(book.store.journals(slow, 1).await.unwrap().is_forced(2));
}

#[tokio::test]
async fn the_spool_is_shown_and_trimmed() {
    let book = Book::done().await;
    let shown = book.message(&["spool"]);
    assert!(
        shown.contains("speech    3 clips, 168.0 kB") && shown.contains("needed    nothing, by unfinished jobs"),
        "{shown}"
    );
    assert!(book.refused(&["spool", "prune"]).contains("--older-than"));
    assert!(book.refused(&["spool", "prune", "--max-size", "10"]).contains("write e.g. 10GB"));
    assert_eq!(
        book.message(&["spool", "prune", "--older-than", "30d"]).trim(),
        "nothing to remove; 3 clips, 168.0 kB stay within the limits"
    );
    let dry = book.message(&["spool", "prune", "--max-size", "100kB", "--dry-run"]);
    assert!(dry.contains("would go"), "{dry}");
    book.message(&["retry", "book", "--key", "ch-1", "--part", "4"]);
    let view: Value = serde_json::from_str(&book.message(&["spool", "--json"])).unwrap();
    assert_eq!((&view["clips"], &view["needed"]["clips"]), (&json!(3), &json!(2)), "the one that is said anew is not");
    let message = book.message(&["spool", "prune", "--max-size", "0"]);
    assert_eq!(
        message.trim(),
        "1 clip, 24.0 kB removed; 2 clips, 144.0 kB stay, for unfinished jobs need them; \
         that is more than 0 B, until those jobs are finished"
    );
    let left: Value = serde_json::from_str(&book.message(&["spool", "--json", "prune", "--older-than", "0s"])).unwrap();
    assert_eq!((&left["removed"]["clips"], &left["needed"]["clips"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn what_is_told_of_a_batch_fits_speech() {
    let book = Book::done().await;
    let status = book.message(&["status", "book"]);
    assert!(status.contains("jobs       2: 2 succeeded"), "{status}");
    assert!(status.contains("speech     90 of 90 characters; 8 parts, 3 of them there already"), "{status}");
    let spend = book.message(&["spend", "--by", "model"]);
    assert!(spend.contains("characters") && !spend.contains("minutes") && spend.contains("lightning_v3.1"), "{spend}");
    let report = book.message(&["report", "book", "-o", "-"]);
    let rows: Vec<_> = report.lines().collect();
    assert!(rows[0].starts_with("batch,line,key,output_name,status,outputs,model,language,voice_id,output_format,"));
    assert!(rows[1].starts_with("book,1,ch-1,ch-1.wav,succeeded,[],lightning_v3.1,en,avery,wav,24000,45,5.300,4,0,"));
    assert!(rows[2].starts_with("book,1,ch-1,ch-1.pcm,succeeded,[],lightning_v3.1,en,avery,pcm,24000,45,5.300,4,3,"));
    let summary: Value = serde_json::from_str(&book.message(&["report", "book", "--json"])).unwrap();
    assert_eq!(summary["synthesis"], json!({ "characters": 90, "parts": 8, "reused_parts": 3 }));
    assert_eq!(summary["spend"]["by_model"], json!({ "lightning_v3.1": 0.0009 }));
    let jobs = book.message(&["jobs", "book"]);
    assert!(jobs.contains("voice  format     state      chars"), "{jobs}");
    let one = book.message(&["jobs", "book", "--key", "ch-1"]);
    assert!(one.contains("voice      avery") && one.contains("format     pcm at 24000 Hz"), "{one}");
    assert!(one.contains("text       45 characters in 4 parts, 3 of them there already"), "{one}");
    let prune = book.message(&["prune", "book", "--older-than", "0s"]);
    assert!(
        prune.contains("in the spool, not in the ledger: `wavebatch spool prune --database ")
            && prune.contains("` trims it"),
        "{prune}"
    );
    let all = book.message(&["retry", "book", "--key", "ch-1", "--dry-run"]);
    assert!(all.starts_with("book: 2 jobs to be paid for, about $0.000788 for 45 characters (list price"), "{all}");
}
