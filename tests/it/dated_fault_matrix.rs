//! What stands in a night's way: older nights, recordings that may not be read, places that are wrong.

use wavebatch::domain::{environment::Environment, transcription::Transcription};
use wavebatch::store::NewBatch;

use crate::{
    dated_batch::{AFTER, BEFORE, DEFINITION, DatedBatch, ended},
    support::{s3::Fault, synthesis},
};

/// The size of a recording of [`DatedBatch::record`].
fn size(i: usize) -> u64 {
    synthesis(&format!("words of call {i}"), 0.4 + i as f64 / 2_000.0, i).len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_night_is_worked_before_tonight() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..90);
    dated.record("2026/11/21", 200..290);
    let (code, message) = dated.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let (code, message) = dated.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let books = dated.fixture.sandbox.books();
    assert_eq!((books.billed, books.most_billed()), (180, 1));
    // Those in hand when the last older ones are claimed may overtake each other.
    let early = books.requests.iter().take(60).filter(|call| call.bytes > size(199)).count();
    assert_eq!(early, 0, "of tonight's came before the older ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_older_night_shows_in_the_exit_status_of_an_empty_one() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..30);
    dated.s3.bucket("acme-calls");
    let (code, message) = dated.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    dated.s3.fault("PUT", ".txt", Fault::Status(403, "AccessDenied"));
    let (code, message) = dated.run(AFTER, &["run", "night.toml"]).await;
    assert!(message.contains("allow_empty") && message.contains("does not allow it"), "{message}");
    assert_eq!(code, 3, "the older one is paused: {message}");
    dated.s3.lift();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_night_whose_submission_was_cut_off_is_told() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/21", 0..2);
    let cut = NewBatch {
        definition: "nightly-calls".into(),
        ..NewBatch::of::<Transcription>("nightly-calls-2026-11-20", Environment::Live, "{}".into())
    };
    dated.fixture.store.begin(cut, wavebatch::store::Resubmission::default()).await.unwrap();
    let (_, message) = dated.run(AFTER, &["run", "night.toml", "--again"]).await;
    assert!(
        message.contains("`nightly-calls-2026-11-20` is being submitted, or its submission was cut off"),
        "{message}"
    );
    assert!(message.contains("submit it again"), "{message}");
    let (_, message) = dated.run(AFTER, &["run", "night.toml", "--again", "--only"]).await;
    assert!(!message.contains("cut off"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn some_that_may_not_be_read_fail_alone_while_others_can() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..40);
    // As AWS answers about an object that does not exist, to who may not list.
    for i in 30..40 {
        dated.s3.fault("GET", &format!("/{i}_ann"), Fault::Status(403, "AccessDenied"));
    }
    for _ in 0..2 {
        let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
        assert_eq!(code, 1, "{message}");
        let report = dated.report("nightly-calls-2026-11-20");
        let refused = report.iter().filter(|row| &row[3] == "failed" && &row[18] == "source_refused").count();
        assert_eq!((report.len(), refused), (40, 10));
    }
    assert_eq!(dated.fixture.sandbox.books().billed, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_without_a_byte_are_not_taken_for_done() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..6);
    dated.fixture.write("night.toml", DEFINITION.replace("[\"txt\"]", "[\"json\", \"txt\"]"));
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let output = |i: usize, format: &str| format!("2026/11/20/{i}_ann_17636256{i:02}.{format}");
    dated.s3.put("acme-transcripts", &output(1, "json"), "");
    dated.s3.put("acme-transcripts", &output(2, "json"), "");
    dated.s3.put("acme-transcripts", &output(2, "txt"), "");
    // A text without words has no bytes.
    dated.s3.put("acme-transcripts", &output(3, "txt"), "");
    let adopting = ["run", "night.toml", "--take-over", "--adopt", "--database", "fresh.db"];
    let (code, message) = dated.run(BEFORE, &adopting).await;
    assert_eq!(code, 0, "{message}");
    assert!(message.contains("4 lines whose outputs were there already: done"), "{message}");
    assert_eq!((dated.text("2026/11/20", 1), dated.text("2026/11/20", 3)), ("words of call 1".into(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lent_is_what_was_listed() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..5);
    dated.fixture.write("night.toml", DEFINITION.replace("[run]", "send = \"url\"\n[run]"));
    let (code, message) = dated.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    dated.disturb();
    let (code, message) = dated.run(BEFORE, &["work"]).await;
    assert_eq!(code, 1, "{message}");
    let report = dated.report("nightly-calls-2026-11-20");
    let kinds: Vec<_> = report.iter().map(|row| format!("{} {}", &row[3], &row[18])).collect();
    let expected =
        ["succeeded ", "failed source_missing", "failed source_changed", "failed source_archived", "succeeded "];
    assert_eq!(kinds, expected);
    assert_eq!(dated.fixture.sandbox.books().calls, 2, "no call for what cannot be had");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_signed_for_the_region_that_the_store_names() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..1);
    dated.fixture.write("night.toml", DEFINITION.replace("[run]", "send = \"url\"\n[run]"));
    let (code, message) = dated.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    dated.s3.fault_times(1, "GET", "0_ann", Fault::ElsewhereIn("ap-south-1"));
    let mut command = dated.command(BEFORE, &["work"]);
    command.env_remove("AWS_DEFAULT_REGION").env("HOME", dated.fixture.dir.path());
    let (code, message) = ended(command.spawn().unwrap()).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.s3.requests_about("GET", "/ap-south-1/s3/aws4_request"), 1, "signed for its region");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_there_fails_the_check_as_it_fails_the_run() {
    let dated = DatedBatch::new().await;
    let export = DEFINITION.replace("{date:%Y/%m/%d}/\"\noutput", "export-{date}.csv\"\noutput");
    assert_ne!(export, DEFINITION);
    dated.fixture.write("night.toml", &export);
    let tmp = dated.fixture.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    for verb in ["check", "run"] {
        let child = dated.command(BEFORE, &[verb, "night.toml"]).env("TMPDIR", &tmp).spawn().unwrap();
        let (code, message) = ended(child).await;
        assert_eq!(code, 2, "{verb}: {message}");
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0, "{verb} leaves nothing");
        assert!(message.contains("there is no object s3://acme-calls/export-2026-11-20.csv"), "{message}");
    }
}
