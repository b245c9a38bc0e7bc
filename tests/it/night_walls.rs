//! What stands in a night's way: older nights, recordings that may not be read, places that are wrong.

use wavebatch::domain::{environment::Environment, transcription::Transcription};
use wavebatch::store::NewBatch;

use crate::{
    night::{AFTER, BEFORE, DEFINITION, Night, ended},
    support::{s3::Fault, speech},
};

/// The size of a recording of [`Night::record`].
fn size(i: usize) -> u64 {
    speech(&format!("words of call {i}"), 0.4 + i as f64 / 2_000.0, i).len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_night_is_worked_before_tonight() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..90);
    night.record("2026/11/21", 200..290);
    let (code, told) = night.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    let (code, told) = night.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    let books = night.house.sandbox.books();
    assert_eq!((books.billed, books.most_billed()), (180, 1));
    // Those in hand when the last older ones are claimed may overtake each other.
    let early = books.requests.iter().take(60).filter(|call| call.bytes > size(199)).count();
    assert_eq!(early, 0, "of tonight's came before the older ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_older_night_shows_in_the_exit_status_of_an_empty_one() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..30);
    night.s3.bucket("acme-calls");
    let (code, told) = night.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    night.s3.fault("PUT", ".txt", Fault::Status(403, "AccessDenied"));
    let (code, told) = night.run(AFTER, &["run", "night.toml"]).await;
    assert!(told.contains("allow_empty") && told.contains("does not allow it"), "{told}");
    assert_eq!(code, 3, "the older one is paused: {told}");
    night.s3.lift();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_night_whose_submission_was_cut_off_is_told() {
    let night = Night::new().await;
    night.record("2026/11/21", 0..2);
    let cut = NewBatch {
        definition: "nightly-calls".into(),
        ..NewBatch::new("nightly-calls-2026-11-20", Environment::Live, Transcription::TASK, "{}".into())
    };
    night.house.store.begin(cut, wavebatch::store::Again::default()).await.unwrap();
    let (_, told) = night.run(AFTER, &["run", "night.toml", "--again"]).await;
    assert!(told.contains("`nightly-calls-2026-11-20` is being submitted, or its submission was cut off"), "{told}");
    assert!(told.contains("submit it again"), "{told}");
    let (_, told) = night.run(AFTER, &["run", "night.toml", "--again", "--only"]).await;
    assert!(!told.contains("cut off"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn some_that_may_not_be_read_fail_alone_while_others_can() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..40);
    // As AWS answers about an object that does not exist, to who may not list.
    for i in 30..40 {
        night.s3.fault("GET", &format!("/{i}_ann"), Fault::Status(403, "AccessDenied"));
    }
    for _ in 0..2 {
        let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
        assert_eq!(code, 1, "{told}");
        let report = night.report("nightly-calls-2026-11-20");
        let refused = report.iter().filter(|row| &row[3] == "failed" && &row[18] == "source_refused").count();
        assert_eq!((report.len(), refused), (40, 10));
    }
    assert_eq!(night.house.sandbox.books().billed, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_without_a_byte_are_not_taken_for_done() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..6);
    night.house.write("night.toml", DEFINITION.replace("[\"txt\"]", "[\"json\", \"txt\"]"));
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    let output = |i: usize, format: &str| format!("2026/11/20/{i}_ann_17636256{i:02}.{format}");
    night.s3.put("acme-transcripts", &output(1, "json"), "");
    night.s3.put("acme-transcripts", &output(2, "json"), "");
    night.s3.put("acme-transcripts", &output(2, "txt"), "");
    // A text without words has no bytes.
    night.s3.put("acme-transcripts", &output(3, "txt"), "");
    let adopting = ["run", "night.toml", "--take-over", "--adopt", "--database", "fresh.db"];
    let (code, told) = night.run(BEFORE, &adopting).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("4 lines whose outputs were there already: done"), "{told}");
    assert_eq!((night.text("2026/11/20", 1), night.text("2026/11/20", 3)), ("words of call 1".into(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lent_is_what_was_listed() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..5);
    night.house.write("night.toml", DEFINITION.replace("[run]", "send = \"url\"\n[run]"));
    let (code, told) = night.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    night.disturb();
    let (code, told) = night.run(BEFORE, &["work"]).await;
    assert_eq!(code, 1, "{told}");
    let report = night.report("nightly-calls-2026-11-20");
    let kinds: Vec<_> = report.iter().map(|row| format!("{} {}", &row[3], &row[18])).collect();
    let expected =
        ["succeeded ", "failed source_missing", "failed source_changed", "failed source_archived", "succeeded "];
    assert_eq!(kinds, expected);
    assert_eq!(night.house.sandbox.books().calls, 2, "no call for what cannot be had");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_signed_for_the_region_that_the_store_names() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..1);
    night.house.write("night.toml", DEFINITION.replace("[run]", "send = \"url\"\n[run]"));
    let (code, told) = night.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    night.s3.fault_times(1, "GET", "0_ann", Fault::ElsewhereIn("ap-south-1"));
    let mut command = night.command(BEFORE, &["work"]);
    command.env_remove("AWS_DEFAULT_REGION").env("HOME", night.house.dir.path());
    let (code, told) = ended(command.spawn().unwrap()).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.s3.requests_about("GET", "/ap-south-1/s3/aws4_request"), 1, "signed for its region");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_there_fails_the_check_as_it_fails_the_run() {
    let night = Night::new().await;
    let export = DEFINITION.replace("{date:%Y/%m/%d}/\"\noutput", "export-{date}.csv\"\noutput");
    assert_ne!(export, DEFINITION);
    night.house.write("night.toml", &export);
    let tmp = night.house.path("tmp");
    std::fs::create_dir(&tmp).unwrap();
    for verb in ["check", "run"] {
        let child = night.command(BEFORE, &[verb, "night.toml"]).env("TMPDIR", &tmp).spawn().unwrap();
        let (code, told) = ended(child).await;
        assert_eq!(code, 2, "{verb}: {told}");
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0, "{verb} leaves nothing");
        assert!(told.contains("there is no object s3://acme-calls/export-2026-11-20.csv"), "{told}");
    }
}
