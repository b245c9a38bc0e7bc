//! The same batch submitted again: the new and the changed lines, and what would be bought.

use crate::domain::job::JobState;
use crate::store::{tests::*, *};

#[tokio::test]
async fn submitting_again_adds_only_what_is_new() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 3).await;
    let Begun { batch: _, existed: there, .. } = l.store.begin(batch("b"), Resubmission::default()).await.unwrap();
    assert!(there);
    let mut lines: Vec<NewJob> = (1..=4).map(|n| job(n, &format!("/r/{n}.wav"))).collect();
    lines[1] = NewJob { key: "k2".into(), ..job(2, "/other/2.wav") };
    let diff = l.store.diff(b, &lines).await.unwrap();
    assert_eq!((diff.new, diff.changed, diff.open, diff.rebuy), (1, 1, 2, 0));
    let done = l.store.submit(b, lines.clone(), vec![]).await.unwrap();
    assert_eq!(done, Submitted { new: 1, changed: 1, same: 2, ..Submitted::default() });
    l.store.end_submit(b).await.unwrap();
    assert_eq!(l.store.counts(b).await.unwrap().total(), 4);
    let rows = l.store.report_page(b, (0, 0), 10, false).await.unwrap();
    assert_eq!(rows.iter().map(|r| r.key.as_str()).collect::<Vec<_>>(), ["k1", "k2", "k3", "k4"]);
    assert_eq!(rows[1].source.as_deref(), Some("/other/2.wav"));
    assert_eq!(l.store.submit(b, lines, vec![]).await.unwrap(), Submitted { same: 4, ..Submitted::default() });
}

#[tokio::test]
async fn a_fresh_signature_takes_the_old_ones_place() {
    let l = ledger().await;
    let b = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    l.store.submit(b, vec![job(1, "https://h/a.wav?Signature=1&Expires=1")], vec![]).await.unwrap();
    let again = l.store.submit(b, vec![job(1, "https://h/a.wav?Signature=2&Expires=2")], vec![]).await.unwrap();
    assert_eq!(again.same, 1);
    let row = &l.store.report_page(b, (0, 0), 1, false).await.unwrap()[0];
    assert_eq!(row.source.as_deref(), Some("https://h/a.wav?Signature=2&Expires=2"));
}

#[tokio::test]
async fn other_options_of_the_definition_are_counted_before_they_buy() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 2).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    let finish = Finish { state: Some(JobState::Succeeded), units: Some(60_000), ..Finish::default() };
    l.store.settle(settle(&j, To::Finished(Box::new(finish)))).await.unwrap();
    let lines: Vec<NewJob> =
        (1..=2).map(|n| NewJob { options_id: options("hi"), ..job(n, &format!("/r/{n}.wav")) }).collect();
    let diff = l.store.diff(b, &lines).await.unwrap();
    assert_eq!((diff.changed, diff.rebuy, diff.rebuy_ms), (2, 1, 60_000));
}

#[tokio::test]
async fn the_successor_of_a_running_line_waits_for_its_worker() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    l.store.submit(b, vec![job(1, "/changed.wav")], vec![]).await.unwrap();
    assert!(claim(&l.store, 5).await.is_empty(), "two workers would write one output");
    assert!(!l.store.settle(settle(&j, done(JobState::Succeeded))).await.unwrap());
    let next = claim(&l.store, 5).await;
    assert_eq!(next[0].source, "/changed.wav");
    assert_eq!(l.store.counts(b).await.unwrap().total(), 1);
}

#[tokio::test]
async fn a_line_that_changes_twice_waits_for_the_first_worker_all_the_same() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    for source in [Some("/second.wav"), None, Some("/fourth.wav")] {
        let line = NewJob { source: source.map(str::to_owned), ..job(1, source.unwrap_or_default()) };
        assert_eq!(l.store.submit(b, vec![line], vec![]).await.unwrap().changed, 1);
        assert!(claim(&l.store, 5).await.is_empty(), "the first is still at it");
    }
    assert!(!l.store.settle(settle(&j, done(JobState::Succeeded))).await.unwrap());
    assert_eq!(claim(&l.store, 5).await[0].source, "/fourth.wav", "and no longer than that");
}

#[tokio::test]
async fn a_successor_that_was_cancelled_and_is_tried_again_waits_too() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    l.store.submit(b, vec![job(1, "/changed.wav")], vec![]).await.unwrap();
    let again = || Chosen::of(b, Selection::default());
    l.store.cancel(b).await.unwrap();
    assert_eq!(l.store.retry(again()).await.unwrap(), 1);
    assert!(claim(&l.store, 5).await.is_empty(), "the first is still at it");
    assert!(!l.store.settle(settle(&j, done(JobState::Succeeded))).await.unwrap());
    l.store.cancel(b).await.unwrap();
    assert_eq!(l.store.retry(again()).await.unwrap(), 1);
    assert_eq!(claim(&l.store, 5).await[0].source, "/changed.wav", "there is nobody to wait for any more");
}

#[tokio::test]
async fn the_call_of_a_changed_line_is_booked_when_its_process_is_gone() {
    for changed_first in [true, false] {
        let l = ledger().await;
        let b = l.submit(batch("b"), 1).await;
        let me = l.store.enlist("{}".into()).await.unwrap();
        let j = claim(&l.store, 1).await.remove(0);
        l.store.permit(ask(&j, crate::domain::pool::Limits::default())).await.unwrap().unwrap();
        let change = || l.store.submit(b, vec![job(1, "/changed.wav")], vec![]);
        if changed_first {
            change().await.unwrap();
        }
        l.store.leave(me).await.unwrap();
        if !changed_first {
            change().await.unwrap();
        }
        let row = l.store.batch("b").await.unwrap().unwrap();
        assert_eq!((row.reserved, row.spent), (0, 5_000), "what is reserved for nobody would be so for ever");
        let other = open(&l.path, &l.clock).await;
        let _them = other.enlist("{}".into()).await.unwrap();
        assert_eq!(claim(&other, 5).await[0].source, "/changed.wav", "without waiting for the dead");
    }
}

#[tokio::test]
async fn the_call_of_a_cancelled_line_is_booked_when_its_process_is_gone() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    l.store.permit(ask(&j, crate::domain::pool::Limits::default())).await.unwrap().unwrap();
    l.store.cancel(b).await.unwrap();
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.reserved, row.spent), (5_000, 0), "its answer may come");
    l.store.leave(me).await.unwrap();
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.reserved, row.spent), (0, 5_000), "nobody is left to take it");
}

#[tokio::test]
async fn a_bad_line_stands_in_the_report_until_it_is_mended() {
    let l = ledger().await;
    let b = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    let bad = BadJob { line: 2, key: None, fault: "too few fields".into(), carried: None };
    l.store.submit(b, vec![job(1, "/1.wav")], vec![bad]).await.unwrap();
    let rows = l.store.report_page(b, (0, 0), 9, false).await.unwrap();
    assert_eq!((rows[1].key.as_str(), rows[1].error_kind.as_deref()), ("line-000002", Some("bad_line")));
    l.store.submit(b, vec![job(1, "/1.wav"), job(2, "/2.wav")], vec![]).await.unwrap();
    let rows = l.store.report_page(b, (0, 0), 9, false).await.unwrap();
    assert_eq!(rows.iter().map(|r| r.key.as_str()).collect::<Vec<_>>(), ["k1", "k2"]);
}

#[tokio::test]
async fn outputs_of_another_specification_are_made_once_more() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 3).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 3).await;
    let made_by = |spec: &str| {
        let finish = Finish { state: Some(JobState::Succeeded), made_by: Some(spec.into()), ..Finish::default() };
        To::Finished(Box::new(finish))
    };
    assert_eq!(l.store.conclude(settle(&jobs[0], made_by("{}"))).await.unwrap(), Settled::Done);
    let other = NewBatch { spec: r#"{"formats":["srt"]}"#.into(), ..batch("b") };
    l.store.begin(other, Resubmission::default()).await.unwrap();
    l.store.end_submit(b).await.unwrap();
    assert_eq!(l.store.conclude(settle(&jobs[1], made_by("{}"))).await.unwrap(), Settled::Again);
    assert_eq!(l.store.conclude(settle(&jobs[1], made_by("{}"))).await.unwrap(), Settled::Lost, "its lease ended");
    let spec = l.store.specification(b).await.unwrap();
    assert_eq!(l.store.conclude(settle(&jobs[2], made_by(&spec))).await.unwrap(), Settled::Done);
    let again = claim(&l.store, 5).await;
    assert_eq!(again.iter().map(|job| job.key.as_str()).collect::<Vec<_>>(), ["k2"]);
    assert_eq!(l.store.counts(b).await.unwrap().of(JobState::Succeeded), 2);
}

crate::store::harness::on_postgres_too! {
    submitting_again_adds_only_what_is_new,
    a_fresh_signature_takes_the_old_ones_place,
    other_options_of_the_definition_are_counted_before_they_buy,
    the_successor_of_a_running_line_waits_for_its_worker,
    a_line_that_changes_twice_waits_for_the_first_worker_all_the_same,
    a_successor_that_was_cancelled_and_is_tried_again_waits_too,
    the_call_of_a_changed_line_is_booked_when_its_process_is_gone,
    the_call_of_a_cancelled_line_is_booked_when_its_process_is_gone,
    a_bad_line_stands_in_the_report_until_it_is_mended,
    outputs_of_another_specification_are_made_once_more,
}
