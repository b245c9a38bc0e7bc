//! Submitting texts on real ledgers: the resulting jobs, which changes deliver again, and what would be bought again.

use std::fs;

use super::*;
use crate::{
    definition::{Definition, Manifest, ManifestRow, Overrides, ScanDepth},
    domain::{
        environment::Environment, facts::Facts, identity::Identity, job::JobState, pool::Pool, synthesis::Rendition,
        synthesis::Synthesis,
    },
    sandbox::{Config, Sandbox},
    store::{ClaimRequest, Finish, Opening, PlannedPart, Settlement, Store, Submitted, To},
    waves::{Client, Settings},
};

const TOML: &str = "task = \"synthesize\"\nmanifest = \"p.csv\"\noutput = \"out/{batch}\"\nbad_lines = \"skip\"\n\
                    [synthesize]\nmodel = \"lightning_v3.1\"\nvoices = [\"avery\", \"liam\"]\nformats = [\"wav\", \"ulaw\"]\n";
const CSV: &str =
    "key,menu,text,voice_id\na,m,Hello there. How are you today?,\nb,m,Goodbye.,\nc,m,Hold the line.,jordan\n";

fn account_of(sandbox: &Sandbox) -> Account {
    let settings = Settings {
        base_url: sandbox.base_url().parse().unwrap(),
        key: "sk_test".to_owned().into(),
        connect_timeout: std::time::Duration::from_secs(5),
        user_agent: "test".into(),
    };
    Account { client: Client::new(settings).unwrap(), name: "sandbox".into(), forgets: true }
}

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
        let fixture = Self { dir, store };
        fixture.write("p.toml", TOML);
        fixture.write("p.csv", CSV);
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn load(&self) -> Definition {
        let over = Overrides { working_dir: Some(self.dir.path().to_owned()), ..Overrides::default() };
        Definition::load(&self.dir.path().join("p.toml"), crate::tasks::Registry::built_in().definitions(), &over)
            .unwrap()
    }

    async fn try_submit(&self, options: &SubmitOptions) -> Result<Submission, IntakeError> {
        submit(&self.store, &self.load(), None, Environment::Live, options).await
    }

    async fn submit(&self) -> Submission {
        self.try_submit(&SubmitOptions::of(crate::tasks::Registry::built_in().intakes())).await.unwrap()
    }

    async fn plan(&self) -> Plan {
        plan(
            Some(&self.store),
            &self.load(),
            None,
            Environment::Live,
            &PlanOptions::of(crate::tasks::Registry::built_in().intakes()),
        )
        .await
        .unwrap()
    }

    /// Synthesizes everything that is due, as a run would. Returns what is bought for it.
    async fn speak(&self) -> Vec<Rendition> {
        let definition = self.load();
        let asked = definition.synthesizing().unwrap();
        let manifest = Manifest::open(&definition, None).unwrap();
        for row in manifest.lines(&manifest.scan(ScanDepth::Faults).unwrap()).unwrap() {
            let ManifestRow::Good(line) = row.unwrap() else { continue };
            for job in &line.jobs {
                let output: Rendition = serde_json::from_str(job.overrides.as_deref().unwrap()).unwrap();
                let options = output.overrides.apply(&asked.synthesis.options);
                for part in asked.synthesis.parts(&asked.synthesis.options, job.text.as_deref().unwrap()) {
                    let bought = output.format.bought();
                    let cache_key = asked.synthesis.cache_key(&options, &part.text, bought);
                    let clips = self.store.clip_folder().unwrap();
                    clips.write(cache_key, bought.format, b"sound", false).unwrap();
                }
            }
        }
        let me = self.store.enlist("{}".into()).await.unwrap();
        let want = ClaimRequest {
            environment: Environment::Live,
            free: 99,
            calls: vec![(Pool::Tts, 99)],
            ..ClaimRequest::default()
        };
        let mut spoken = Vec::new();
        for job in self.store.claim(want).await.unwrap() {
            let part = PlannedPart { part: 0, cache_key: Identity([1; 16]), characters: 1, reused: true };
            assert!(self.store.plan_parts(job.job, job.token, &[part]).await.unwrap());
            let finish = Finish {
                state: Some(JobState::Succeeded),
                facts: Facts { parts: Some(1), ..Facts::default() },
                outputs: Some("[]".into()),
                ..Finish::default()
            };
            let to = To::Finished(Box::new(finish));
            assert!(
                self.store.settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await.unwrap()
            );
            spoken.push(serde_json::from_str(job.overrides.as_deref().unwrap()).unwrap());
        }
        let batch = self.store.batch("p").await.unwrap().unwrap();
        self.store.finish(batch.id).await.unwrap();
        self.store.leave(me).await.unwrap();
        spoken
    }
}

#[tokio::test]
async fn a_line_is_a_job_for_each_voice_and_format() {
    let w = Fixture::new().await;
    let plan = w.plan().await;
    assert_eq!((plan.scan.lines, plan.scan.jobs, plan.diff.new), (3, 10, 10));
    let found = plan.purchases.unwrap();
    assert_eq!((found.jobs, found.all_parts, found.parts), (10, 10, 10), "µ-law at 8 kHz is another purchase");
    assert_eq!(found.units.values().sum::<u64>(), 4 * (31 + 8) + 2 * 14);
    let first = w.submit().await;
    assert_eq!((first.lines, first.submitted), (3, Submitted { new: 10, ..Submitted::default() }));
    assert_eq!(first.warnings, ["voices were not checked: there is no key to ask the account by"]);
    let spoken = w.speak().await;
    let jordan: Vec<_> = spoken.iter().filter(|output| output.voice_id() == "jordan").map(Rendition::file).collect();
    assert_eq!((spoken.len(), jordan), (10, vec!["c.jordan.wav".to_owned(), "c.jordan.ulaw".to_owned()]));
    let again = w.submit().await;
    assert_eq!((again.submitted.same, again.redelivered, again.gone), (10, 0, 0));
    let plan = w.plan().await;
    assert_eq!((plan.diff.done, plan.estimate.lines, plan.purchases.unwrap().parts), (10, 0, 0));
}

#[tokio::test]
async fn what_was_bought_once_is_not_new() {
    let w = Fixture::new().await;
    w.write("p.toml", &TOML.replace("\"ulaw\"", "{ format = \"pcm\" }"));
    w.write("p.csv", "key,text\na,Hello there.\nb,Hello there.\nc,* * *\n\n");
    let plan = w.plan().await;
    let found = plan.purchases.unwrap();
    assert_eq!((plan.scan.jobs, plan.scan.bad, found.all_parts, found.parts), (8, 1, 4, 2));
    w.submit().await;
    w.speak().await;
    w.write("p.csv", "key,text\na,Hello there.\nb,Hello there. And more.\nd,Hello there.\n");
    let plan = w.plan().await;
    let found = plan.purchases.unwrap();
    assert_eq!((plan.diff.new, plan.diff.changed, plan.diff.done, found.jobs), (4, 4, 4, 8));
    assert_eq!((found.parts, found.units.values().sum::<u64>()), (2, 44), "of one line, by two voices");
}

#[tokio::test]
async fn another_name_or_pause_is_delivered_again_and_bought_never() {
    let w = Fixture::new().await;
    w.submit().await;
    w.speak().await;
    for (from, to, file) in [
        ("", "name = \"{voice_id}/{key}\"\n", "avery/a.wav"),
        ("\"ulaw\"", "{ format = \"ulaw\", ending = \"ul\" }", "a.avery.wav"),
        ("", "pause = { paragraph_ms = 10 }\n", "a.avery.wav"),
        ("", "captions = [\"srt\"]\n", "a.avery.wav"),
        ("", "name = \"{menu}/{key}-{voice_id}\"\n", "m/a-avery.wav"),
    ] {
        let toml = if from.is_empty() { format!("{TOML}{to}") } else { TOML.replace(from, to) };
        w.write("p.toml", &toml);
        assert!(w.plan().await.redelivered > 0);
        let again = w.submit().await;
        assert_eq!((again.submitted.same, again.redelivered, again.pruned), (10, 10, 0), "{to}");
        let spoken = w.speak().await;
        assert_eq!((spoken.len(), spoken[0].file()), (10, file.to_owned()), "{to}");
        assert_eq!(w.submit().await.redelivered, 0, "{to}");
    }
    w.write("p.csv", &CSV.replace("b,m", "b,n"));
    let moved = w.submit().await;
    assert_eq!((moved.submitted.same, moved.redelivered), (10, 4), "the cell is in the name");
    assert!(w.speak().await.iter().any(|output| output.file() == "n/b-avery.wav"));
}

#[tokio::test]
async fn a_format_that_comes_is_new_and_one_that_goes_is_told() {
    let w = Fixture::new().await;
    w.submit().await;
    w.speak().await;
    w.write("p.toml", &TOML.replace("\"ulaw\"", "\"alaw\""));
    let plan = w.plan().await;
    assert_eq!((plan.diff.new, plan.diff.done, plan.gone, plan.redelivered), (5, 5, 5, 0));
    assert_eq!(plan.purchases.unwrap().parts, 0, "A-law is made of what µ-law was");
    let again = w.submit().await;
    assert_eq!((again.submitted.new, again.gone, again.dropped, again.redelivered), (5, 0, 5, 0));
    let plan = w.plan().await;
    assert_eq!(
        (plan.diff.new, plan.diff.open, plan.gone, plan.redelivered),
        (0, 5, 0, 0),
        "what is dropped is in no total"
    );
    w.speak().await;
    w.write("p.toml", TOML);
    assert_eq!(w.plan().await.redelivered, 5);
    let back = w.submit().await;
    assert_eq!((back.submitted.new, back.dropped, back.redelivered), (0, 5, 5));
}

#[tokio::test]
async fn finished_outputs_are_bought_again_only_when_told_to() {
    let w = Fixture::new().await;
    w.submit().await;
    w.speak().await;
    w.write("p.toml", &format!("{TOML}part_chars = 20\n"));
    let error = w.try_submit(&SubmitOptions::of(crate::tasks::Registry::built_in().intakes())).await.unwrap_err();
    assert_eq!(error.exit_class().code(), 2);
    assert_eq!(
        error.to_string(),
        "the definition's options have changed (`part_chars` from `250` to `20`): 10 finished outputs of `p` (120 characters of them) would be paid for again for about $0.002100"
    );
    assert_eq!(w.plan().await.rebuy.map(|rebuy| (rebuy.lines, rebuy.amount)), Some((10, Amount::Characters(120))));
    let rebuy = SubmitOptions { rebuy: true, ..SubmitOptions::of(crate::tasks::Registry::built_in().intakes()) };
    assert_eq!(w.try_submit(&rebuy).await.unwrap().submitted.changed, 10);
    // If no text is cut in another way, there is nothing to buy and nothing to refuse.
    w.speak().await;
    w.write("p.toml", &format!("{TOML}part_chars = 19\n"));
    assert_eq!(w.submit().await.submitted.changed, 10);
}

#[tokio::test]
async fn other_pronunciations_are_named_by_their_words() {
    let w = Fixture::new().await;
    w.write("p.toml", &format!("{TOML}pronunciations = \"words.csv\"\n"));
    w.write("words.csv", "word,pronunciation\nHello,he lo\nGoodbye,good bai\n");
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let options = SubmitOptions {
        account: Some(account_of(&sandbox)),
        ..SubmitOptions::of(crate::tasks::Registry::built_in().intakes())
    };
    w.try_submit(&options).await.unwrap();
    w.speak().await;
    w.write("words.csv", "word,pronunciation\nHello,hal lo\nGoodbye,good bai\n");
    let error = w.try_submit(&options).await.unwrap_err().to_string();
    let words = "the definition's options have changed (`pronunciations`: `Hello` in `";
    assert!(error.starts_with(words) && error.contains("words.csv`):") && !error.contains("hash"), "{error}");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn bad_lines_and_the_first_lines_are_as_ever() {
    let w = Fixture::new().await;
    w.write("p.csv", &CSV.replace("Goodbye.", " "));
    let first = w.submit().await;
    assert_eq!((first.bad, first.submitted.new, first.faults.total()), (1, 6, 1));
    w.write("p.csv", CSV);
    let mended = w.submit().await;
    assert_eq!((mended.bad, mended.submitted.new, mended.submitted.same, mended.gone), (0, 4, 6, 0));
    let over = Overrides { working_dir: Some(w.dir.path().to_owned()), limit: Some(1), ..Overrides::default() };
    let limited =
        Definition::load(&w.dir.path().join("p.toml"), crate::tasks::Registry::built_in().definitions(), &over)
            .unwrap();
    let done = submit(
        &w.store,
        &limited,
        None,
        Environment::Live,
        &SubmitOptions::of(crate::tasks::Registry::built_in().intakes()),
    )
    .await
    .unwrap();
    assert_eq!((done.lines, done.submitted.same, done.gone), (1, 4, 0));
    w.write("p.toml", &format!("allow_empty = true\n{TOML}"));
    w.write("p.csv", "key,menu,text,voice_id\n");
    let none = w.submit().await;
    assert_eq!((none.lines, none.gone), (0, 10));
}

#[tokio::test]
async fn outputs_that_are_there_are_taken_as_done() {
    let w = Fixture::new().await;
    fs::create_dir_all(w.dir.path().join("out/p")).unwrap();
    w.write("out/p/a.avery.wav", "RIFF");
    w.write("out/p/a.liam.wav", "");
    let options = SubmitOptions {
        adopt: true,
        take_over: true,
        ..SubmitOptions::of(crate::tasks::Registry::built_in().intakes())
    };
    let done = w.try_submit(&options).await.unwrap();
    assert_eq!((done.submitted.new, done.adopted), (10, 1), "an empty file is no speech");
}

#[tokio::test]
async fn what_is_to_be_bought_afresh_says_so() {
    let w = Fixture::new().await;
    w.submit().await;
    w.speak().await;
    w.write("p.csv", &format!("{CSV}d,m,Goodbye.,\n"));
    let over = Overrides { working_dir: Some(w.dir.path().to_owned()), ..Overrides::default() };
    let flags = [("no-reuse", Vec::new())].into_iter().collect();
    let afresh = Definition::load(
        &w.dir.path().join("p.toml"),
        crate::tasks::Registry::built_in().definitions(),
        &Overrides { flags, ..over },
    )
    .unwrap();
    let reused = w.plan().await.purchases.unwrap().parts;
    let done = submit(
        &w.store,
        &afresh,
        None,
        Environment::Live,
        &SubmitOptions::of(crate::tasks::Registry::built_in().intakes()),
    )
    .await
    .unwrap();
    assert_eq!((done.submitted.new, done.submitted.same), (4, 10));
    assert_eq!((reused, done.purchases.unwrap().parts), (0, 4));
    let spoken = w.speak().await;
    assert!(spoken.len() == 4 && spoken.iter().all(|output| output.no_reuse));
}

#[tokio::test]
async fn a_sandbox_that_knows_nothing_is_told_the_words_again() {
    let w = Fixture::new().await;
    w.write("words.csv", "word,pronunciation\nAcme,ak-mee\n");
    w.write("p.toml", &format!("{TOML}pronunciations = \"words.csv\"\n"));
    let mut ids = Vec::new();
    for first in [true, false] {
        let sandbox = Sandbox::start(Config::default()).await.unwrap();
        let account = account_of(&sandbox);
        if first {
            let options = SubmitOptions {
                account: Some(account.clone()),
                ..SubmitOptions::of(crate::tasks::Registry::built_in().intakes())
            };
            assert_eq!(w.try_submit(&options).await.unwrap().done.len(), 1);
        }
        let row = w.store.batch("p").await.unwrap().unwrap();
        renew_account(crate::tasks::Registry::built_in().intakes(), &w.store, Some(&account), &row).await.unwrap();
        let row = w.store.batch("p").await.unwrap().unwrap();
        assert_eq!(row.submitting_at, None);
        let spec = row.specification().unwrap();
        let id = spec.task.read::<Synthesis>().unwrap().dictionary.clone().unwrap().id.unwrap();
        assert_eq!(account.client.dictionaries().await.unwrap()[0].id, id);
        ids.push(id);
        sandbox.shutdown().await;
    }
    assert_ne!(ids[0], ids[1]);
}
