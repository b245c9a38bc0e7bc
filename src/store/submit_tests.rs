//! Submitting: the rules for every engine. Sets, lines without a source, and what a batch keeps of its older version.

use super::*;
use crate::domain::{
    chat::Usage,
    environment::Environment,
    facts::{Facts, ReplyFacts},
    identity::{Identity, listed_identity, source_identity},
    job::JobState,
    pool::Pool,
    s3::Listed,
    synthesis::Synthesis,
    transcription::Transcription,
};
use crate::store::engine::db::query_scalar;

async fn ledger() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
    (dir, store)
}

fn batch() -> NewBatch {
    NewBatch::of::<Transcription>("b", Environment::Live, "{}".into())
}

fn job(line: u64, key: &str, source: Option<&str>) -> NewJob {
    NewJob {
        line,
        key: key.into(),
        source: source.map(str::to_owned),
        source_id: source_identity(source.unwrap_or_default(), &crate::domain::query::QueryRules::default()),
        options_id: Identity([1; 16]),
        overrides: None,
        carried: None,
        pool: Pool::Pulse,
        expected: None,
        local: None,
        adopted: None,
        synthesis: None,
    }
}

fn bad(line: u64) -> BadJob {
    BadJob { line, key: None, fault: "too few fields".into(), carried: None }
}

async fn rows(store: &Store, begun: Begun) -> Vec<(String, JobState)> {
    let page = store.report_page(begun.batch, (0, 0), 100, false).await.unwrap();
    page.into_iter().map(|r| (r.key, r.state)).collect()
}

#[tokio::test]
async fn a_line_without_a_source_is_born_finished_and_can_get_one() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    let lines = vec![job(1, "a", None), job(2, "b", Some("/b.wav"))];
    assert_eq!(store.submit(begun.batch, lines.clone(), vec![]).await.unwrap().new, 2);
    let named = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
    assert_eq!(rows(&store, begun).await, named(JobState::Skipped, JobState::Queued));
    assert_eq!(store.submit(begun.batch, lines, vec![]).await.unwrap().same, 2);

    let swapped = vec![job(1, "a", Some("/a.wav")), job(2, "b", None)];
    assert_eq!(store.submit(begun.batch, swapped, vec![]).await.unwrap().changed, 2);
    assert_eq!(rows(&store, begun).await, named(JobState::Queued, JobState::Skipped));
    store.end_submit(begun.batch).await.unwrap();
    let _me = store.enlist("{}".into()).await.unwrap();
    let want = ClaimRequest {
        environment: Environment::Live,
        free: 9,
        calls: vec![(Pool::Pulse, 9)],
        ..ClaimRequest::default()
    };
    let claimed = store.claim(want).await.unwrap();
    assert_eq!(claimed.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn good_and_bad_lines_stand_in_the_order_first_seen() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    let keys = |rows: Vec<(String, JobState)>| rows.into_iter().map(|r| r.0).collect::<Vec<_>>().join(" ");
    for chunk in 0..2 {
        let line = chunk * 3;
        let good: LineSet =
            [(&job(line + 1, &format!("k{chunk}"), Some("/1")), 0), (&job(line + 3, &format!("m{chunk}"), None), 2)]
                .into_iter()
                .collect();
        store.submit_sets(begun, vec![(good, [(&bad(line + 2), 1)].into_iter().collect())]).await.unwrap();
    }
    assert_eq!(keys(rows(&store, begun).await), "k0 line-000002 m0 k1 line-000005 m1");
}

#[tokio::test]
async fn a_bad_line_that_is_not_seen_again_leaves_the_report() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    store.submit(begun.batch, vec![], vec![bad(2), bad(9)]).await.unwrap();
    store.clock().advance(1_000);
    let again = store.begin(batch(), Resubmission::default()).await.unwrap();
    assert!(again.existed);
    // The clock was set back: a line that is still bad stays nevertheless.
    store.clock().step(-5_000);
    store.submit_sets(again, vec![(LineSet::default(), [(&bad(2), 0)].into_iter().collect())]).await.unwrap();
    assert_eq!(store.drop_corrected(again).await.unwrap(), 1);
    assert_eq!(rows(&store, again).await, [("line-000002".to_owned(), JobState::Failed)]);
}

#[tokio::test]
async fn a_bad_line_never_takes_the_place_of_a_result() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    store.submit(begun.batch, vec![job(2, "line-000002", Some("https://h/"))], vec![]).await.unwrap();
    store.submit(begun.batch, vec![], vec![bad(2)]).await.unwrap();
    let row = store.report_page(begun.batch, (0, 0), 9, false).await.unwrap().remove(0);
    assert_eq!((row.state, row.error), (JobState::Queued, None));
}

#[tokio::test]
async fn cells_follow_their_columns() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    let line = NewJob { carried: Some(r#"["one","two"]"#.into()), ..job(1, "a", Some("/a")) };
    store.submit(begun.batch, vec![line, job(2, "b", None)], vec![]).await.unwrap();
    let again = Resubmission { carried: Some(vec![Some(1), None, Some(0)]), ..Resubmission::default() };
    store.begin(batch(), again).await.unwrap();
    let rows = store.report_page(begun.batch, (0, 0), 9, false).await.unwrap();
    assert_eq!(rows[0].carried.as_deref(), Some(r#"["two","","one"]"#));
    assert_eq!(rows[1].carried, None);
}

#[tokio::test]
async fn a_line_whose_outputs_are_there_is_done_and_a_listed_one_says_what_it_saw() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    let seen = Listed { bytes: 7, etag: "e1".into() };
    let outputs = Some(r#"["s3://b/a.txt"]"#.to_owned());
    let listed = |line, key: &str, etag: &str| {
        let source = format!("s3://b/{key}.wav");
        let expected = Some(Listed { etag: etag.into(), ..seen.clone() });
        NewJob { expected, source_id: listed_identity(&source, etag), ..job(line, key, Some(&source)) }
    };
    let lines = vec![NewJob { adopted: outputs, ..listed(1, "a", "e1") }, listed(2, "b", "e1"), listed(3, "c", "e1")];
    assert_eq!(store.submit(begun.batch, lines.clone(), vec![]).await.unwrap().new, 3);
    let row = store.report_page(begun.batch, (0, 0), 1, false).await.unwrap().remove(0);
    assert_eq!((row.state, row.notes.as_deref()), (JobState::Succeeded, Some("adopted")));
    assert_eq!((row.outputs.as_deref(), row.billed_calls), (Some(r#"["s3://b/a.txt"]"#), 0));
    let again = vec![lines[0].clone(), listed(2, "b", "e2"), lines[2].clone()];
    let again = store.submit(begun.batch, again, vec![]).await.unwrap();
    assert_eq!((again.changed, again.same), (1, 2), "another ETag is another recording");
    store.end_submit(begun.batch).await.unwrap();
    let _me = store.enlist("{}".into()).await.unwrap();
    let want = ClaimRequest {
        environment: Environment::Live,
        free: 9,
        calls: vec![(Pool::Pulse, 9)],
        ..ClaimRequest::default()
    };
    let mut claimed = store.claim(want).await.unwrap();
    claimed.sort_by(|a, b| a.key.cmp(&b.key));
    let saw: Vec<_> = claimed.iter().map(|c| (c.key.as_str(), c.expected.clone().unwrap().etag)).collect();
    assert_eq!(saw, [("b", "e2".to_owned()), ("c", "e1".to_owned())]);
}

#[tokio::test]
async fn a_text_is_kept_once_whatever_speaks_it_and_goes_when_its_lines_have_changed() {
    let (_dir, store) = ledger().await;
    let new = NewBatch::of::<Synthesis>("b", Environment::Live, r#"{"task":"synthesize"}"#.into());
    let begun = store.begin(new.clone(), Resubmission::default()).await.unwrap();
    let synthesis_counts = |line, key: &str, variant: &str, text: &str| {
        let text = Text::new(text);
        let source_id = text.id();
        let synthesis = Some(NewSynthesis { text, variant: variant.into() });
        NewJob { pool: Pool::Tts, source_id, synthesis, ..job(line, key, None) }
    };
    let long = "Namaste, दुनिया. ".repeat(200);
    let lines = |text: &str| {
        let three = ["a/wav", "b/wav"].map(|variant| synthesis_counts(1, "one", variant, text));
        three.into_iter().chain([synthesis_counts(2, "two", "a/wav", &long)]).collect::<Vec<_>>()
    };
    assert_eq!(store.submit(begun.batch, lines("Hello."), vec![bad(3)]).await.unwrap().new, 3);
    assert_eq!(store.submit(begun.batch, lines("Hello."), vec![bad(3)]).await.unwrap().same, 3);
    let texts = async || {
        let count = query_scalar::<i64>("SELECT count(*) FROM texts");
        count.fetch_one(&store.read).await.unwrap()
    };
    assert_eq!(texts().await, 2);
    let page = store.report_page(begun.batch, (0, 0), 9, false).await.unwrap();
    let seen: Vec<_> = page.iter().map(|r| (r.key.as_str(), r.variant.as_str(), r.characters)).collect();
    let characters = Some(long.chars().count() as u64);
    assert!(seen.contains(&("one", "b/wav", Some(6))) && seen.contains(&("two", "a/wav", characters)), "{seen:?}");
    assert!(page.iter().all(|r| r.key.starts_with("line-") || r.state == JobState::Queued));
    let two = page.iter().find(|r| r.key == "two").unwrap();
    assert_eq!(store.text(two.job).await.unwrap().as_deref(), Some(long.as_str()));

    let diff = store.diff(begun.batch, &lines("Hello!")).await.unwrap();
    assert_eq!((diff.changed, diff.open, diff.idle), (2, 1, 0));
    assert_eq!(store.submit(begun.batch, lines("Hello!"), vec![]).await.unwrap().changed, 2);
    assert_eq!(texts().await, 3);
    store.end_submit(begun.batch).await.unwrap();
    store.cancel(begun.batch).await.unwrap();
    assert_eq!(store.prune(None, i64::MAX).await.unwrap().texts, 1);
    assert_eq!(texts().await, 2, "what is still spoken stays");
}

#[tokio::test]
async fn lines_are_chosen_by_options_within_options() {
    let (_dir, store) = ledger().await;
    let begun = store.begin(batch(), Resubmission::default()).await.unwrap();
    let formats =
        [None, Some(r#"{"format":{"format":"mp3"}}"#), Some(r#"{"format":{"sample_rate":8000},"model":"x"}"#)];
    let lines = (1..).zip(formats).map(|(line, own)| NewJob {
        overrides: own.map(str::to_owned),
        ..job(line, &format!("k{line}"), Some(&format!("/{line}.wav")))
    });
    store.submit(begun.batch, lines.collect(), vec![]).await.unwrap();
    store.end_submit(begun.batch).await.unwrap();
    let format = || Field::Option { path: &["format", "format"], default: Some("wav".into()) };
    let rate = || Field::Option { path: &["format", "sample_rate"], default: None };
    let found = async |field: Field, value: &str| {
        let lines = Selection::default().with(field, vec![value.to_owned()]);
        store.count_selected(begun.batch, &ReportScope { lines, with_dropped: false }).await.unwrap()
    };
    assert_eq!(found(format(), "mp3").await, 1);
    assert_eq!(found(format(), "wav").await, 2, "the batch's value counts for the others");
    assert_eq!(found(rate(), "8000").await, 1);
    let mut known = store.known_values(begun.batch, &format()).await.unwrap();
    known.sort();
    assert_eq!(known, ["mp3", "wav"]);
    let asked = Condition { field: rate(), values: vec!["8000".into(), "16000".into()] };
    assert_eq!(store.unknown_values(begun.batch, &asked).await.unwrap(), ["16000"]);
}

#[tokio::test]
async fn tokens_of_replies_are_summed() {
    let l = super::tests::ledger().await;
    let b = l.submit(super::tests::batch("b"), 3).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    assert_eq!(l.store.reply_tokens(b).await.unwrap(), Usage::default());
    let usage = |n| Usage { prompt_tokens: n, cached_tokens: n / 2, completion_tokens: 1 };
    for (job, n) in super::tests::claim(&l.store, 3).await.iter().zip([10, 20, 30]) {
        let state = if n == 30 { JobState::Failed } else { JobState::Succeeded };
        let reply = ReplyFacts { usage: usage(n), ..ReplyFacts::default() };
        let facts = Facts { reply: Some(reply), ..Facts::default() };
        let To::Finished(finish) = super::tests::done(state) else { unreachable!("it is done") };
        let to = To::Finished(Box::new(Finish { facts, ..*finish }));
        assert!(l.store.settle(super::tests::settle(job, to)).await.unwrap());
    }
    let sum = Usage { prompt_tokens: 30, cached_tokens: 15, completion_tokens: 2 };
    assert_eq!(l.store.reply_tokens(b).await.unwrap(), sum, "of lines with a result");
}

crate::store::harness::on_postgres_too! {
    lines_are_chosen_by_options_within_options,
    tokens_of_replies_are_summed,
    a_line_without_a_source_is_born_finished_and_can_get_one,
    good_and_bad_lines_stand_in_the_order_first_seen,
    a_bad_line_that_is_not_seen_again_leaves_the_report,
    a_bad_line_never_takes_the_place_of_a_result,
    cells_follow_their_columns,
    a_line_whose_outputs_are_there_is_done_and_a_listed_one_says_what_it_saw,
    a_text_is_kept_once_whatever_speaks_it_and_goes_when_its_lines_have_changed,
}
