//! Submitting on real ledgers: the same manifest again, changes of every kind, and the ownership of outputs.

mod outputs;

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    definition::{AdHoc, Definition, Overrides},
    domain::{
        call::LogFlags,
        cost::MicroUsd,
        cost::Rates,
        environment::Environment,
        facts::Facts,
        job::{JobState, RequestFingerprint},
        length::Length,
        pool::{Limits, Pool},
        transcription::Transcription,
    },
    media::fetch::{FetchSettings, Fetcher},
    report::{
        publish::{ReportRequest, blank, publish, put_summary, report_to},
        summary::{Owner, SummaryState},
    },
    sink::Sink,
    store::{
        BatchRow, ClaimRequest, Counts, End, Ended, Finish, NewBatch, Opening, PermitRequest, Purchase, Resubmission,
        Settlement, Store, Submitted, To,
    },
};

const TOML: &str = "task = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/{batch}\"\nbad_lines = \"skip\"\n\
                    no_source = \"skip\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
const CSV: &str = "key,url,who\na,https://h.org/a.wav?Signature=1&Expires=9,Ann\nb,https://h.org/b.wav?Signature=1&Expires=9,Bob\nc,,Cy\n";

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
        let fixture = Self { dir, store };
        fixture.write("calls.toml", TOML);
        fixture.write("calls.csv", CSV);
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self, name: &str) -> Definition {
        let over = Overrides { working_dir: Some(self.dir.path().to_owned()), ..Overrides::default() };
        Definition::load(&self.path(name), crate::tasks::Registry::built_in().definitions(), &over).unwrap()
    }

    async fn submit_with(&self, options: &SubmitOptions) -> Result<Submission, IntakeError> {
        submit(&self.store, &self.load("calls.toml"), None, Environment::Live, options).await
    }

    async fn submit(&self) -> Result<Submission, IntakeError> {
        self.submit_with(&SubmitOptions::of(crate::tasks::Registry::built_in().intakes())).await
    }

    async fn plan(&self) -> Plan {
        plan(
            Some(&self.store),
            &self.load("calls.toml"),
            None,
            Environment::Live,
            &PlanOptions::of(crate::tasks::Registry::built_in().intakes()),
        )
        .await
        .unwrap()
    }

    async fn counts(&self) -> Counts {
        self.store.counts(self.batch().await.id).await.unwrap()
    }

    async fn batch(&self) -> BatchRow {
        self.store.batch("calls").await.unwrap().unwrap()
    }

    async fn report(&self, submission: &Submission) -> Vec<String> {
        let out = report_to(
            &self.store,
            &self.batch().await,
            (&submission.spec, &crate::tasks::Transcribe),
            &ReportRequest::default(),
            Vec::new(),
        )
        .await
        .unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    /// Works everything that is due, as a run would.
    async fn work(&self) {
        let me = self.store.enlist("{}".into()).await.unwrap();
        let want = ClaimRequest {
            environment: Environment::Live,
            free: 99,
            calls: vec![(Pool::Pulse, 99)],
            ..ClaimRequest::default()
        };
        for job in self.store.claim(want).await.unwrap() {
            let request = RequestFingerprint {
                model: "pulse".into(),
                language: "en".into(),
                flags: LogFlags::default(),
                bytes: None,
                audio_ms: None,
                estimated_ms: None,
                keywords: Default::default(),
            };
            let ask = PermitRequest::new(
                &job,
                "acc".into(),
                Pool::Pulse,
                Purchase::Transcript { length: Length::Exact(60_000), rate: MicroUsd(5_000) },
                request,
            );
            if let Ok(permit) = self.store.permit(ask).await.unwrap() {
                let end = End::Answered {
                    body: format!(r#"{{"status":"success","transcription":"hi {}"}}"#, job.key).into(),
                    from_log: false,
                    request_id: None,
                    content_expiry: None,
                    audio_ms: Some(60_000),
                    cost: Some(5_000),
                };
                let ended =
                    Ended { call: permit.call, departed_at: None, limits: Limits::default(), end, pauses: None };
                self.store.end(ended).await.unwrap();
            }
            let finish = Finish {
                state: Some(JobState::Succeeded),
                facts: Facts { audio_ms: Some(60_000), ..Facts::default() },
                units: Some(60_000),
                outputs: Some(format!("[\"/out/{}.txt\"]", job.key)),
                ..Finish::default()
            };
            let to = To::Finished(Box::new(finish));
            let settlement = Settlement { job: job.job, batch: job.batch, token: job.token, to };
            assert!(self.store.settle(settlement).await.unwrap());
        }
        assert!(self.store.finish(self.batch().await.id).await.unwrap());
        self.store.leave(me).await.unwrap();
    }
}

fn usage(result: Result<Submission, IntakeError>) -> IntakeError {
    let error = result.unwrap_err();
    assert_eq!(error.exit_class().code(), 2, "{error}");
    error
}

#[tokio::test]
async fn the_same_manifest_twice_adds_nothing() {
    let w = Fixture::new().await;
    let plan = w.plan().await;
    assert_eq!((plan.existed, plan.diff.new, plan.diff.idle, plan.gone), (false, 3, 1, 0));
    assert_eq!((plan.estimate.lines, plan.estimate.unknown), (2, 2));
    assert!(w.store.batches().await.unwrap().is_empty(), "a plan writes nothing");
    let first = w.submit().await.unwrap();
    assert_eq!((first.existed, first.submitted.new, first.without_source), (false, 3, 1));
    assert_eq!(w.counts().await.of(JobState::Skipped), 1);
    let again = w.submit().await.unwrap();
    assert_eq!((again.existed, again.gone), (true, 0));
    assert_eq!(again.submitted, Submitted { same: 3, ..Submitted::default() });
    assert_eq!(w.batch().await.submitting_at, None);
    let plan = w.plan().await;
    assert_eq!((plan.diff.done, plan.diff.open, plan.estimate.lines), (1, 2, 2));
}

#[tokio::test]
async fn a_plan_needs_no_ledger() {
    let w = Fixture::new().await;
    let plan = plan(
        None,
        &w.load("calls.toml"),
        None,
        Environment::Live,
        &PlanOptions::of(crate::tasks::Registry::built_in().intakes()),
    )
    .await
    .unwrap();
    assert_eq!((plan.diff.new, plan.scan.columns.carried.clone()), (3, vec!["who".to_owned()]));
}

#[tokio::test]
async fn a_changed_line_is_queued_and_a_fresh_signature_is_not() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    w.work().await;
    w.write("calls.csv", &CSV.replace("Signature=1", "Signature=2"));
    assert_eq!(w.submit().await.unwrap().submitted.same, 3);
    assert!(w.batch().await.finished_at.is_some());
    w.write("calls.csv", &CSV.replace("/b.wav", "/other.wav").replace("Signature=1", "Signature=3"));
    let plan = w.plan().await;
    assert_eq!((plan.diff.changed, plan.rebuy, plan.estimate.lines, plan.estimate.unknown), (1, None, 1, 1));
    let changed = w.submit().await.unwrap();
    assert_eq!(changed.submitted, Submitted { changed: 1, same: 2, ..Submitted::default() });
    let report = w.report(&changed).await;
    assert!(report[1].starts_with("calls,2,a,succeeded,https://h.org/a.wav,"), "{report:?}");
    assert!(report[2].starts_with("calls,3,b,queued,https://h.org/other.wav,"), "{report:?}");
}

#[tokio::test]
async fn lines_that_are_gone_stay_and_are_told() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    w.write("calls.csv", "key,url,team,who\nb,https://h.org/b.wav,T,Bob\n");
    assert_eq!(w.plan().await.gone, 2);
    let again = w.submit().await.unwrap();
    assert_eq!((again.gone, again.submitted.same), (2, 1));
    let report = w.report(&again).await;
    assert!(report[0].ends_with(",transcript,team,who") && report[1].ends_with(",,,Ann"), "{report:?}");
    assert!(report[2].ends_with(",,T,Bob"), "{report:?}");
}

#[tokio::test]
async fn other_options_of_the_definition_buy_only_when_told_to() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    w.write("calls.toml", &TOML.replace("\"en\"", "\"hi\""));
    assert_eq!(w.submit().await.unwrap().submitted.changed, 2, "nothing was bought yet");
    w.work().await;
    w.write("calls.toml", TOML);
    let changes = vec!["`language` from `hi` to `en`".to_owned()];
    let cost = crate::domain::cost::MicroUsd(10_000);
    let expected = Rebuy { lines: 2, amount: Amount::Audio(120_000), cost, changes };
    assert_eq!(w.plan().await.rebuy.as_ref(), Some(&expected));
    let error = usage(w.submit().await);
    assert!(matches!(&error, IntakeError::WouldRebuy { rebuy, .. } if *rebuy == expected), "{error}");
    assert_eq!(
        error.to_string(),
        "the definition's options have changed (`language` from `hi` to `en`): 2 finished lines of `calls` (2 min of audio) would be paid for again for about $0.010000"
    );
    assert_eq!(w.counts().await.of(JobState::Succeeded), 2, "nothing was touched");
    let rebought = w
        .submit_with(&SubmitOptions { rebuy: true, ..SubmitOptions::of(crate::tasks::Registry::built_in().intakes()) })
        .await
        .unwrap();
    assert_eq!(rebought.submitted.changed, 2);
}

#[tokio::test]
async fn an_option_in_the_manifest_is_the_lines_own_change() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    w.work().await;
    w.write(
        "calls.csv",
        &CSV.replace(",who", ",who,language").replace("Ann", "Ann,hi").replace("Bob", "Bob,").replace("Cy", "Cy,"),
    );
    assert_eq!(w.submit().await.unwrap().submitted.changed, 1);
    w.work().await;
    // The definition forbids the column.
    w.write("calls.toml", &format!("option_columns = []\n{TOML}"));
    let error = usage(w.submit().await);
    assert!(matches!(&error, IntakeError::WouldRebuy { rebuy: Rebuy { lines: 1, .. }, .. }));
    assert!(error.to_string().contains("(the column `language` sets no option any more)"), "{error}");
}

#[tokio::test]
async fn other_formats_are_delivered_from_kept_answers() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    w.work().await;
    w.write("calls.toml", &TOML.replace("[\"txt\"]", "[\"json\", \"txt\"]"));
    assert!(w.plan().await.redelivered > 0);
    let again = w.submit().await.unwrap();
    assert_eq!((again.submitted.same, again.redelivered, again.pruned), (3, 2, 0));
    w.work().await;
    let rows = w.store.spending(again.batch).await.unwrap();
    assert_eq!(rows.iter().map(|s| s.calls).sum::<u64>(), 2, "and not bought");
    assert_eq!(w.submit().await.unwrap().redelivered, 0);
    // The order of formats has no meaning.
    w.write("calls.toml", &TOML.replace("[\"txt\"]", "[\"txt\", \"json\"]"));
    assert_eq!(w.submit().await.unwrap().redelivered, 0);

    w.store.prune(None, i64::MAX).await.unwrap();
    w.write("calls.toml", &TOML.replace("out/{batch}", "elsewhere"));
    let moved = w.submit().await.unwrap();
    assert_eq!((moved.redelivered, moved.pruned), (0, 2));
    let report = w.report(&moved).await;
    assert!(report[1].contains(",answer_pruned,yes,,,Ann"), "{report:?}");
}

#[tokio::test]
async fn a_batch_is_of_one_definition_and_one_environment() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    w.write("other.toml", &format!("batch = \"calls\"\n{TOML}"));
    let options = SubmitOptions::of(crate::tasks::Registry::built_in().intakes());
    let error = usage(submit(&w.store, &w.load("other.toml"), None, Environment::Live, &options).await);
    assert_eq!(
        error.to_string(),
        "there is a batch `calls` already, and it is of the definition `calls`, not of the definition `other`"
    );
    let error = usage(submit(&w.store, &w.load("calls.toml"), None, Environment::Sandbox, &options).await);
    assert!(matches!(&error, IntakeError::OtherEnvironment { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_was_renamed_is_taken_over_when_told_to() {
    let w = Fixture::new().await;
    let ad_hoc = |source: &str| {
        let over = Overrides {
            working_dir: Some(w.dir.path().to_owned()),
            batch: Some("rec".into()),
            options: vec![("model", "pulse".to_owned()), ("language", "en".to_owned())],
            ..Overrides::default()
        };
        let sources = vec![source.to_owned()];
        let ad_hoc = AdHoc { task: Transcription::TASK, sources };
        Definition::ad_hoc(&ad_hoc, crate::tasks::Registry::built_in().definitions(), &over).unwrap()
    };
    let options = SubmitOptions::of(crate::tasks::Registry::built_in().intakes());
    let go = async |definition: &Definition, update_source| {
        let options = SubmitOptions { update_source, ..options.clone() };
        submit(&w.store, definition, None, Environment::Live, &options).await
    };
    w.write("one.csv", CSV.trim_end_matches("c,,Cy\n"));
    go(&ad_hoc("one.csv"), false).await.unwrap();
    fs::rename(w.path("one.csv"), w.path("two.csv")).unwrap();
    let error = go(&ad_hoc("two.csv"), false).await.unwrap_err();
    assert!(matches!(&error, IntakeError::OtherDefinition { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--update-source"));
    assert_eq!(go(&ad_hoc("two.csv"), true).await.unwrap().submitted.same, 2);
    assert_eq!(go(&ad_hoc("two.csv"), false).await.unwrap().submitted.same, 2, "it is this one's now");
    // A definition's own batch stays its own.
    w.write("other.toml", &format!("batch = \"rec\"\n{TOML}"));
    let error = go(&w.load("other.toml"), true).await.unwrap_err();
    assert!(matches!(error, IntakeError::OtherDefinition { may_be_renamed: false, .. }));
}

#[tokio::test]
async fn bad_lines_stand_in_the_report_until_they_are_mended() {
    let w = Fixture::new().await;
    w.write("calls.csv", &CSV.replace("a,https", "../a,https"));
    let submission = w.submit().await.unwrap();
    assert_eq!((submission.bad, submission.submitted.new, submission.faults.total()), (1, 2, 1));
    let report = w.report(&submission).await;
    assert!(
        report[1].starts_with("calls,2,line-000002,failed,,[],,,") && report[1].contains(",bad_line,"),
        "{report:?}"
    );
    assert!(report[1].ends_with(",Ann"), "{report:?}");
    assert_eq!(w.submit().await.unwrap().submitted.same, 2);
    assert_eq!(w.counts().await.total(), 3);
    // The line is corrected, and moved.
    w.write("calls.csv", &CSV.replace("\na,", "\nz,https://h.org/z.wav,Zed\na,"));
    let mended = w.submit().await.unwrap();
    assert_eq!((mended.bad, mended.submitted.new, mended.gone), (0, 2, 0));
    assert_eq!((w.counts().await.total(), w.counts().await.of(JobState::Failed)), (4, 0));
}

#[tokio::test]
async fn without_skipping_nothing_is_submitted() {
    let w = Fixture::new().await;
    w.write("calls.toml", &TOML.replace("bad_lines = \"skip\"\n", ""));
    w.write("calls.csv", &CSV.replace("a,https", "../a,https"));
    assert!(matches!(usage(w.submit().await), IntakeError::Faults(_)));
    assert!(w.store.batches().await.unwrap().is_empty());
    assert!(!w.path("out").exists());
}

#[tokio::test]
async fn what_was_cut_off_is_completed() {
    let w = Fixture::new().await;
    let definition = w.load("calls.toml");
    let header = w.plan().await.scan.columns.clone();
    let spec = definition.spec(&header);
    let batch = NewBatch::of::<Transcription>("calls", Environment::Live, (&spec).into());
    let sink = Sink::open(&spec.output, &spec.sink).unwrap();
    let summary =
        blank(&w.store, "calls", (&spec, &crate::tasks::Transcribe), SummaryState::Running, &Rates::default());
    put_summary(&sink, &summary).await.unwrap();
    w.store.begin(batch, Resubmission::default()).await.unwrap();
    assert!(w.batch().await.submitting_at.is_some());
    let done = w.submit().await.unwrap();
    assert_eq!((done.existed, done.submitted.new), (true, 3));
    assert_eq!(w.batch().await.submitting_at, None);
}

#[tokio::test]
async fn a_limit_submits_the_first_lines_and_the_rest_follows() {
    let w = Fixture::new().await;
    let over = Overrides { working_dir: Some(w.dir.path().to_owned()), limit: Some(1), ..Overrides::default() };
    let limited =
        Definition::load(&w.path("calls.toml"), crate::tasks::Registry::built_in().definitions(), &over).unwrap();
    let options = SubmitOptions::of(crate::tasks::Registry::built_in().intakes());
    assert_eq!(submit(&w.store, &limited, None, Environment::Live, &options).await.unwrap().submitted.new, 1);
    assert_eq!(w.submit().await.unwrap().submitted, Submitted { new: 2, same: 1, ..Submitted::default() });
    let again = submit(&w.store, &limited, None, Environment::Live, &options).await.unwrap();
    assert_eq!((again.gone, again.submitted.same), (0, 1), "lines beyond the limit are not gone");
}

#[tokio::test]
async fn a_local_file_that_was_never_sent_is_taken_as_it_is() {
    let w = Fixture::new().await;
    w.write("calls.csv", "key,url\na,rec/a.wav\n");
    fs::create_dir(w.path("rec")).unwrap();
    w.submit().await.unwrap();
    w.write("rec/a.wav", "RIFF");
    assert_eq!(w.submit().await.unwrap().submitted.same, 1, "it was missing before");
    w.write("rec/a.wav", "RIFF and more");
    assert_eq!(w.submit().await.unwrap().submitted.same, 1);
}

#[tokio::test]
async fn standard_input_is_copied_and_the_copy_goes() {
    let w = Fixture::new().await;
    let over = Overrides {
        working_dir: Some(w.dir.path().to_owned()),
        batch: Some("piped".into()),
        options: vec![("model", "pulse".to_owned()), ("language", "en".to_owned())],
        manifest_format: Some(crate::definition::ManifestFormat::Csv),
        no_source: Some(crate::definition::NoSource::Skip),
        ..Overrides::default()
    };
    let ad_hoc = AdHoc { task: Transcription::TASK, sources: vec!["-".into()] };
    let definition = Definition::ad_hoc(&ad_hoc, crate::tasks::Registry::built_in().definitions(), &over).unwrap();
    let fetcher = Fetcher::new(FetchSettings::default()).unwrap();
    let spool = w.store.spool();
    let registry = crate::tasks::Registry::built_in();
    let tasks = registry.intakes();
    let upstreams = Upstreams { store: Some(&w.store), tasks, environment: Environment::Live, planned: &[] };
    let place = CopyPlace { dir: &spool, fetcher: &fetcher, upstreams };
    let copy = copy_manifest(&definition, place, CSV.as_bytes()).await.unwrap().unwrap();
    let options = SubmitOptions::of(crate::tasks::Registry::built_in().intakes());
    let done = submit(&w.store, &definition, Some(copy.spooled()), Environment::Live, &options).await.unwrap();
    assert_eq!((done.name.as_str(), done.submitted.new), ("piped", 3));
    drop(copy);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    assert!(copy_manifest(&w.load("calls.toml"), place, CSV.as_bytes()).await.unwrap().is_none());
}
