//! Bought speech where all machines of a ledger reach it: in an S3 store, or in a folder that they share. Each node has a
//! folder of its own for everything else.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use tokio_util::sync::CancellationToken;
use wavebatch::{
    clock::Clock,
    config::{Env, Flags},
    domain::{
        cut::{SentenceRules, cut},
        job::{BatchId, JobState},
    },
    sandbox::Config,
    store::{LedgerAddress, Opening, ServerAddress, SpoolLimits, Store, StoreError, Timing},
    tasks::Registry,
};

use crate::support::{
    Fixture, KEY, LONG,
    s3::{Fault, S3Server},
    server::postgres,
    synthesis::{SynthesisSetup, prose},
};

const BUCKET: &str = "speech";
const SPOOL: &str = "s3://speech/kept/";
const NO_LIMIT: SpoolLimits = SpoolLimits { max_bytes: Some(0), unused_since: None };

/// What holds the ledger.
#[derive(Clone, Copy, PartialEq)]
enum Engine {
    File,
    Server,
}

/// The engines that this machine has.
fn engines() -> Vec<Engine> {
    if postgres::Cluster::get().is_some() {
        return vec![Engine::File, Engine::Server];
    }
    postgres::tell_skipped();
    vec![Engine::File]
}

/// Nodes on one ledger, and the store that keeps their speech.
struct Nodes {
    fixture: Fixture,
    s3: S3Server,
    /// The address of the ledger.
    ledger: String,
}

impl Nodes {
    /// The first node of the fixture keeps its speech in the store.
    async fn new(engine: Engine) -> Self {
        Self::with(engine, Config::default()).await
    }

    async fn with(engine: Engine, config: Config) -> Self {
        let mut fixture = Fixture::timeless(config).await;
        let ledger = address(&fixture, engine);
        let s3 = S3Server::start().await;
        s3.bucket(BUCKET);
        fixture.store = node(&fixture, &ledger, "one", Some(&s3)).await.unwrap();
        Self { fixture, s3, ledger }
    }

    /// Another node.
    async fn another(&self, name: &str) -> Store {
        node(&self.fixture, &self.ledger, name, Some(&self.s3)).await.unwrap()
    }

    async fn run_on(&self, store: &Store, batch: BatchId) {
        let ran = self.fixture.run_on(store, batch, CancellationToken::new(), CancellationToken::new()).await;
        assert!(ran.warnings().is_empty(), "{:?}", ran.warnings());
    }

    /// The keys of the clips that the store has, and how many takes of each.
    fn clips(&self) -> HashMap<String, usize> {
        let beginning = format!("kept/{}/live/", self.fixture.store.id());
        let mut clips = HashMap::new();
        for key in self.s3.keys(BUCKET).iter().filter(|key| !key.ends_with("/writable")) {
            let (clip, take) = key.strip_prefix(&beginning).expect("below its ledger").split_once('.').expect("a take");
            assert!(clip.len() == 32 && take.parse::<u32>().is_ok(), "{key}");
            *clips.entry(clip.to_owned()).or_default() += 1;
        }
        clips
    }

    async fn prune(&self, limits: SpoolLimits) -> wavebatch::store::SpoolPruned {
        self.fixture.store.prune_spool(Registry::built_in().reports(), limits, false).await.unwrap()
    }

    async fn kept(&self) -> u64 {
        self.fixture.store.spool_view(Registry::built_in().reports()).await.unwrap().all.clips
    }
}

fn address(fixture: &Fixture, engine: Engine) -> String {
    match engine {
        Engine::File => fixture.path("shared.db").display().to_string(),
        Engine::Server => {
            let schema = format!("spool_{}", uuid::Uuid::now_v7().simple());
            postgres::Cluster::get().unwrap().url(&schema)
        }
    }
}

/// Opens the ledger as a node with a folder of its own, by the settings of its file.
async fn node(fixture: &Fixture, ledger: &str, name: &str, s3: Option<&S3Server>) -> Result<Store, StoreError> {
    let spool = s3.map(|s3| format!("spool = \"{SPOOL}\"\n[s3]\nendpoint_url = \"{}\"\n", s3.endpoint()));
    open(fixture, ledger, name, &spool.unwrap_or_default()).await
}

async fn open(fixture: &Fixture, ledger: &str, name: &str, settings: &str) -> Result<Store, StoreError> {
    let folder = fixture.path(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("wavebatch.toml"), settings).unwrap();
    let flags = Flags { config: Some("wavebatch.toml".into()), ..Flags::default() };
    let config = wavebatch::config::Config::load(&flags, &Env::default(), &folder).unwrap();
    let ledger = match ServerAddress::is_meant(ledger) {
        true => ServerAddress::parse(ledger).unwrap().into(),
        false => LedgerAddress::File(ledger.into()),
    };
    let (clock, timing): (Clock, Timing) = (fixture.clock.clone(), LONG);
    let opening = Opening { ledger, clock, server_time: false, timing, ..config.opening(true) };
    Store::open(opening).await.map(|(store, _)| store)
}

fn parts(text: &str) -> u64 {
    cut(text, 60, SentenceRules::of(Some("en"))).len() as u64
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    files.map(|entry| entry.path().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_buys_the_other_joins() {
    for engine in engines() {
        let nodes = Nodes::new(engine).await;
        let fixture = &nodes.fixture;
        let text = prose(6);
        let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
        nodes.run_on(&fixture.store, batch).await;
        assert_eq!(fixture.sandbox.books().billed, parts(&text));
        assert_eq!((nodes.clips().len() as u64, nodes.kept().await), (parts(&text), parts(&text)));
        let reads = nodes.s3.requests("GET");
        assert!(reads > 0, "it was joined from there");

        let other = nodes.another("two").await;
        let mp3 = SynthesisSetup { name: "again", ..SynthesisSetup::default() };
        let again = fixture.speak(&mp3, &[("two", &text)]).await;
        nodes.run_on(&other, again).await;
        assert_eq!(fixture.sandbox.books().billed, parts(&text), "nothing is bought again");
        assert_eq!(fs::read(fixture.spoken("one.wav")).unwrap(), fs::read(fixture.spoken("two.wav")).unwrap());
        let row = fixture.row(again, "two").await;
        assert_eq!(row.state, JobState::Succeeded);
        // Of speech, no machine has a file.
        for folder in [fixture.store.spool(), other.spool()] {
            let pcm = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "pcm");
            assert!(!files_below(&folder).iter().any(pcm), "{:?}", files_below(&folder));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_goes_on_where_the_other_stopped() {
    for engine in engines() {
        let nodes = Nodes::with(engine, Config { latency: Duration::from_millis(30), ..Config::default() }).await;
        let fixture = &nodes.fixture;
        let text = prose(12);
        let run = serde_json::json!({ "concurrency": 2 });
        let batch = fixture.speak(&SynthesisSetup { run, ..SynthesisSetup::default() }, &[("one", &text)]).await;
        let drain = CancellationToken::new();
        let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
            fixture.sandbox.arrivals(8).await;
            drain.cancel();
        });
        assert!(ran.warnings().is_empty(), "{:?}", ran.warnings());
        let so_far = nodes.clips().len() as u64;
        assert!((6..parts(&text)).contains(&so_far), "{so_far}");
        let other = nodes.another("two").await;
        nodes.run_on(&other, batch).await;
        assert_eq!(fixture.sandbox.books().billed, parts(&text));

        let clean = Fixture::new().await;
        clean.run(clean.speak(&SynthesisSetup::default(), &[("one", &text)]).await).await;
        assert_eq!(fs::read(fixture.spoken("one.wav")).unwrap(), fs::read(clean.spoken("one.wav")).unwrap());
    }
}

/// The real binary, as a node in a folder of its own.
fn program(nodes: &Nodes, node: &str, args: &[&str], crash_at: Option<&str>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command
        .current_dir(nodes.fixture.path(node))
        .args(args)
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", nodes.fixture.sandbox.base_url())
        .env("WAVEBATCH_LEASE_MS", "500")
        .env("WAVEBATCH_DATABASE", &nodes.ledger)
        .env("WAVEBATCH_SPOOL", SPOOL)
        .envs(nodes.s3.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(point) = crash_at {
        command.env("WAVEBATCH_CRASH_AT", point);
    }
    command.spawn().expect("the program")
}

const WORK: [&str; 4] = ["work", "--batch", "book", "-q"];

async fn ended(child: Child) -> std::process::Output {
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    ended.await.expect("it was waited for")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_before_a_kill_is_the_answer() {
    for engine in engines() {
        let nodes = Nodes::new(engine).await;
        let fixture = &nodes.fixture;
        let text = "One sentence is enough.";
        let run = serde_json::json!({ "unknown_grace": 100 });
        let setup = SynthesisSetup { run, ..SynthesisSetup::default() };
        let batch = fixture.speak(&setup, &[("one", text)]).await;
        let killed = ended(program(&nodes, "one", &WORK, Some("after-file"))).await;
        assert!(!killed.status.success(), "it was killed");
        assert_eq!((nodes.clips().len(), nodes.kept().await), (1, 0), "the object is there, its row is not");
        // Another machine goes on, which never saw the audio.
        fs::create_dir_all(fixture.path("two")).unwrap();
        let last = ended(program(&nodes, "two", &WORK, None)).await;
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        assert_eq!(fixture.sandbox.books().calls, 1, "nothing is bought again");
        assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
        assert_eq!((nodes.clips().into_values().collect::<Vec<_>>(), nodes.kept().await), (vec![1], 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_waits_for_a_store_that_is_out_of_reach() {
    let nodes = Nodes::new(Engine::File).await;
    let fixture = &nodes.fixture;
    let text = prose(3);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
    nodes.s3.fault("PUT", "kept/", Fault::Status(503, "ServiceUnavailable"));
    let (ran, held) = tokio::join!(fixture.run(batch), async {
        let unsent = fixture.store.spool().join("unsent");
        let begun = Instant::now();
        while files_below(&unsent).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it waits in vain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        nodes.s3.lift();
        unsent
    });
    let warnings = ran.warnings();
    let told =
        |warning: &String| warning.contains("cannot write s3://speech/kept/") && warning.contains("kept in hand");
    assert!(warnings.iter().any(told), "{warnings:?}");
    assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(fixture.sandbox.books().billed, parts(&text));
    assert_eq!(files_below(&held), Vec::<PathBuf>::new(), "all of it was put");

    // A lost answer is no lost object, and no second one.
    let other = SynthesisSetup { name: "other", ..SynthesisSetup::default() };
    let batch = fixture.speak(&other, &[("two", "Another text, which nobody said before.")]).await;
    nodes.s3.fault_times(1, "PUT", "kept/", Fault::LoseAnswer);
    nodes.run_on(&fixture.store, batch).await;
    assert_eq!(fixture.row(batch, "two").await.state, JobState::Succeeded);
    assert!(nodes.clips().values().all(|takes| *takes == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_that_waits_outlives_a_kill() {
    for engine in engines() {
        let nodes = Nodes::new(engine).await;
        let fixture = &nodes.fixture;
        let text = "One sentence is enough.";
        let run = serde_json::json!({ "unknown_grace": 100 });
        let setup = SynthesisSetup { run, ..SynthesisSetup::default() };
        let batch = fixture.speak(&setup, &[("one", text)]).await;
        nodes.s3.fault("PUT", ".0", Fault::Status(503, "ServiceUnavailable"));
        let mut child = program(&nodes, "one", &WORK, None);
        let unsent = fixture.store.spool().join("unsent");
        let begun = Instant::now();
        while !files_below(&unsent).iter().any(|path| path.extension().is_some_and(|ending| ending == "pcm")) {
            assert!(begun.elapsed() < Duration::from_secs(40), "it waits in vain");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        nodes.s3.lift();
        let last = ended(program(&nodes, "one", &WORK, None)).await;
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
        assert_eq!(fixture.sandbox.books().calls, 1, "it was in hand");
        assert!(files_below(&unsent).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_rows_objects_and_what_no_row_has() {
    for engine in engines() {
        let nodes = Nodes::new(engine).await;
        let fixture = &nodes.fixture;
        let text = prose(3);
        nodes.run_on(&fixture.store, fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await).await;
        let (bought, id) = (parts(&text), fixture.store.id().to_owned());
        let at = |name: &str| format!("kept/{id}/live/{name}");
        let day = Duration::from_hours(24);
        for (name, age) in [("aa".repeat(16) + ".0", day * 2), ("bb".repeat(16) + ".0", day / 2)] {
            nodes.s3.put(BUCKET, &at(&name), "left by a process that died");
            nodes.s3.date(BUCKET, &at(&name), SystemTime::now() - age);
        }
        nodes.s3.put(BUCKET, "kept/another ledger/live/x", "not ours");
        // All of them are old, also those that have rows.
        for key in nodes.s3.keys(BUCKET).iter().filter(|key| !key.contains("bb") && key.contains(&id)) {
            nodes.s3.date(BUCKET, key, SystemTime::now() - day * 3);
        }
        let month = SystemTime::now() - day * 30;
        let pruned = nodes.prune(SpoolLimits { unused_since: Some(month), max_bytes: None }).await;
        assert_eq!((pruned.taken.clips, pruned.within.clips), (0, bought), "all were used today");
        let left = nodes.s3.keys(BUCKET);
        assert!(!left.contains(&at(&("aa".repeat(16) + ".0"))), "swept");
        assert!(left.contains(&at(&("bb".repeat(16) + ".0"))), "its call may not be over");
        assert!(left.contains(&"kept/another ledger/live/x".to_owned()));
        assert_eq!(left.len() as u64, bought + 2);

        let edited = text.replacen("begins here", "begins hero", 1);
        let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &edited)]).await;
        let pruned = nodes.prune(NO_LIMIT).await;
        assert_eq!((pruned.taken.clips, pruned.needed.clips), (1, bought - 1), "the sentence that was");
        assert_eq!(nodes.s3.keys(BUCKET).len() as u64, bought + 1);
        nodes.run_on(&fixture.store, batch).await;
        assert_eq!(fixture.sandbox.books().billed, bought + 1, "one part");
        assert_eq!(nodes.prune(NO_LIMIT).await.taken.clips, bought);
        assert_eq!(nodes.kept().await, 0);
        assert_eq!(nodes.s3.keys(BUCKET).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_object_is_told_and_bought_again_on_request() {
    let nodes = Nodes::new(Engine::File).await;
    let fixture = &nodes.fixture;
    let text = prose(2);
    let setup = SynthesisSetup::default();
    // Bought and not joined: the output is no folder yet.
    fs::write(fixture.path("out"), "in the way").unwrap();
    let batch = fixture.speak(&setup, &[("one", &text)]).await;
    fixture.run(batch).await;
    fs::remove_file(fixture.path("out")).unwrap();
    fixture.store.resume(batch, false).await.unwrap();
    let gone = nodes.s3.keys(BUCKET).pop().unwrap();
    nodes.s3.remove(BUCKET, &gone);
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!(row.state, JobState::Failed);
    let error = row.error.unwrap();
    assert!(error.contains("is damaged") && error.contains("`wavebatch retry` buys it again"), "{error}");
    assert_eq!(fixture.sandbox.books().billed, parts(&text));
    let chosen = wavebatch::store::Chosen {
        batch,
        lines: wavebatch::store::Selection::of_key("one"),
        part: None,
        other_way: None,
    };
    fixture.store.retry(chosen).await.unwrap();
    nodes.run_on(&fixture.store, batch).await;
    assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(fixture.sandbox.books().billed, parts(&text) + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_has_one_place_for_speech() {
    for engine in engines() {
        let nodes = Nodes::new(engine).await;
        let fixture = &nodes.fixture;
        let text = "A text that is bought once.";
        nodes.run_on(&fixture.store, fixture.speak(&SynthesisSetup::default(), &[("one", text)]).await).await;
        let elsewhere = "spool = \"s3://other/place/\"\n";
        let refused = open(fixture, &nodes.ledger, "elsewhere", elsewhere).await.unwrap_err();
        let message = refused.to_string();
        assert!(message.contains(SPOOL) && message.contains("not in s3://other/place/"), "{message}");
        assert!(refused.hint().unwrap().contains("or leave it out"), "{:?}", refused.hint());
        // Who says nothing uses the ledger's.
        let store_only = format!("[s3]\nendpoint_url = \"{}\"\n", nodes.s3.endpoint());
        let silent = open(fixture, &nodes.ledger, "silent", &store_only).await.unwrap();
        assert_eq!(silent.audio_cache().place().await.unwrap(), SPOOL);
        let batch = fixture.speak(&SynthesisSetup { name: "b", ..SynthesisSetup::default() }, &[("two", text)]).await;
        nodes.run_on(&silent, batch).await;
        assert_eq!(fixture.sandbox.books().billed, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_beside_a_ledger_stays_there() {
    let mut fixture = Fixture::timeless(Config::default()).await;
    fixture.run(fixture.speak(&SynthesisSetup::default(), &[("one", "Bought.")]).await).await;
    let ledger = fixture.store.file().unwrap().display().to_string();
    let s3 = S3Server::start().await;
    let refused = node(&fixture, &ledger, "one", Some(&s3)).await.unwrap_err().to_string();
    assert!(refused.contains("wavebatch.db-spool/speech, not in s3://speech/kept/"), "{refused}");

    // Where nobody has bought anything, the first process that works decides, and who began without it is refused.
    let ledger = fixture.path("new.db").display().to_string();
    let without = node(&fixture, &ledger, "two", None).await.unwrap();
    fixture.store = node(&fixture, &ledger, "three", Some(&s3)).await.unwrap();
    let me = fixture.store.enlist("{}".into()).await.unwrap();
    let refused = without.enlist("{}".into()).await.unwrap_err();
    assert!(matches!(refused, StoreError::OtherSpool { .. }) && refused.is_fatal(), "{refused:?}");
    fixture.store.leave(me).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_share_a_folder() {
    for engine in engines() {
        let mut fixture = Fixture::timeless(Config::default()).await;
        let ledger = address(&fixture, engine);
        let shared = fixture.path("mnt");
        let settings = format!("spool = \"{}\"\n", shared.display());
        fixture.store = open(&fixture, &ledger, "one", &settings).await.unwrap();
        let other = open(&fixture, &ledger, "two", &settings).await.unwrap();
        let text = prose(2);
        fixture.run(fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await).await;
        let folder = shared.join(fixture.store.id()).join("live");
        assert_eq!(files_below(&folder).len() as u64, parts(&text));
        let again = SynthesisSetup { name: "again", ..SynthesisSetup::default() };
        let batch = fixture.speak(&again, &[("two", &text)]).await;
        fixture.run_on(&other, batch, CancellationToken::new(), CancellationToken::new()).await;
        assert_eq!(fixture.sandbox.books().billed, parts(&text));
        assert_eq!(fs::read(fixture.spoken("one.wav")).unwrap(), fs::read(fixture.spoken("two.wav")).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_on_a_server_without_a_shared_spool_is_refused_before_the_first_call() {
    if !engines().contains(&Engine::Server) {
        return;
    }
    let nodes = Nodes::new(Engine::Server).await;
    let fixture = &nodes.fixture;
    let ledger = address(fixture, Engine::Server);
    let folder = fixture.path("alone");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("prompts.csv"), "key,text\none,Never said.\n").unwrap();
    let definition = "name = \"prompts\"\ntask = \"synthesize\"\nmanifest = \"prompts.csv\"\noutput = \"elsewhere/\"\n[synthesize]\n\
                      model = \"lightning_v3.1\"\nvoice_id = \"avery\"\nlanguage = \"en\"\n";
    fs::write(folder.join("prompts.toml"), definition).unwrap();
    let run = |spool: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
        let args = "run prompts.csv --task synthesize --model lightning_v3.1 --voice-id avery --language en -q";
        command
            .current_dir(&folder)
            .args(args.split(' '))
            .env("SMALLEST_API_KEY", KEY)
            .env("SMALLEST_BASE_URL", fixture.sandbox.base_url())
            .env("WAVEBATCH_DATABASE", &ledger)
            .env_remove("WAVEBATCH_SPOOL")
            .stdin(Stdio::null());
        if let Some(spool) = spool {
            command.arg("--spool").arg(spool);
        }
        command.output().expect("the program")
    };
    let refused = run(None);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{message}");
    for word in ["no place for bought speech", "spool = \"s3://bucket/prefix/\"", "spool = \"/mnt/shared\""] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(fixture.sandbox.books().calls, 0);
    // A bucket that is not there is found before anything is bought.
    nodes.s3.fault_times(1, "PUT", "/writable", Fault::Status(404, "NoSuchBucket"));
    let refused = ended(program(&nodes, "one", &["run", "../alone/prompts.toml", "-q"], None)).await;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{message}");
    assert!(message.contains("there is no bucket `speech`"), "{message}");
    assert_eq!(fixture.sandbox.books().calls, 0);
    let done = run(Some(&fixture.path("mnt")));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fixture.sandbox.books().calls, 1);
}
