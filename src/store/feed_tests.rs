//! A batch that is fed by a batch.

use super::tests::{Ledger, batch, claim, done, job, ledger, open, settle};
use super::*;
use crate::domain::{
    environment::Environment,
    feed::{FeedFrom, FeedSettings},
    job::{BatchId, JobId, JobState, Wanted},
    row::Note,
};
use crate::store::engine::db::query;

/// What is taken of a line: its key, and its text.
type Told<'a> = (&'a str, &'a str);

impl Ledger {
    /// A batch that is fed by another one.
    async fn fed(&self, name: &str, by: BatchId) -> BatchId {
        let feed = NewFeed { by, with: FeedSettings::default() };
        let new = NewBatch { feed: Some(feed), ..batch(name) };
        let id = self.store.begin(new, Resubmission::default()).await.unwrap().batch;
        self.store.end_submit(id).await.unwrap();
        id
    }

    /// Ends due lines in these states, by key; others are left due.
    async fn end(&self, of: BatchId, fates: &[(&str, JobState)]) {
        for job in claim(&self.store, 50).await {
            let fate = fates.iter().find(|(key, _)| *key == job.key && job.batch == of).map(|(_, state)| *state);
            let to = match fate {
                Some(state) => done(state),
                None => To::Queued {
                    due_at: self.clock.now(),
                    call: Some(crate::domain::pool::Pool::Pulse),
                    source_try: false,
                },
            };
            assert!(self.store.settle(settle(&job, to)).await.unwrap());
        }
    }

    async fn page(&self, of: BatchId) -> FeedPage {
        let place = self.store.feed_place(of).await.unwrap().unwrap();
        self.store.feed_page(place.by, (place.to, FeedFrom::Succeeded), false).await.unwrap()
    }

    /// Takes what is next, with a recording for each line, or another one where `told` says so.
    async fn take(&self, of: BatchId, told: &[Told<'_>]) -> FeedDone {
        let page = self.page(of).await;
        self.store.feed(step(of, &page, told)).await.unwrap()
    }

    async fn lines(&self, of: BatchId) -> Vec<ReportRow> {
        let scope = ReportScope { with_dropped: true, ..ReportScope::default() };
        self.store.report_rows(of, (0, 0), 100, false, &scope).await.unwrap()
    }
}

fn step(of: BatchId, page: &FeedPage, told: &[Told<'_>]) -> FeedStep {
    let source = |key: &str| {
        let told = told.iter().find(|(own, _)| *own == key).map_or(key, |(_, source)| source);
        format!("https://x/{told}.wav")
    };
    let jobs: Vec<NewJob> = (1..)
        .zip(&page.rows)
        .map(|(line, row)| NewJob { key: row.row.key.clone(), ..job(line, &source(&row.row.key)) })
        .collect();
    let origin = |row: &FeedRow| FeedOrigin {
        key: row.row.key.clone(),
        job: row.row.job,
        ordinal: row.row.ordinal,
        line: row.row.line,
    };
    FeedStep {
        batch: of,
        from: page.from,
        to: page.to,
        sets: vec![(jobs.iter().zip(0..).collect(), BadSet::default())],
        origins: page.rows.iter().map(origin).collect(),
        dropped: page.dropped.clone(),
        without: page.without.clone(),
    }
}

const DONE: FeedDone = FeedDone::Fed(Submitted { new: 0, changed: 0, same: 0, redelivered: 0, pruned: 0 });

fn new(n: u64) -> FeedDone {
    FeedDone::Fed(Submitted { new: n, ..Submitted::default() })
}

#[tokio::test]
async fn lines_come_as_they_finish_and_stand_where_the_other_batch_has_them() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 4).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    assert_eq!(l.take(b, &[]).await, DONE, "nothing has finished");
    assert!(!l.store.finish(b).await.unwrap(), "the batch that feeds it goes on");
    l.end(a, &[("k3", JobState::Succeeded), ("k4", JobState::Failed)]).await;
    assert_eq!(l.take(b, &[]).await, new(1));
    l.end(a, &[("k1", JobState::Succeeded), ("k2", JobState::Suspect)]).await;
    assert_eq!(l.take(b, &[]).await, new(1), "what is suspect does not count as finished");
    let lines = l.lines(b).await;
    let shown: Vec<_> = lines.iter().map(|row| (row.key.as_str(), row.line, row.ordinal)).collect();
    assert_eq!(shown, [("k1", 1, 1), ("k3", 3, 3)]);
    l.end(b, &[("k1", JobState::Succeeded), ("k3", JobState::Succeeded)]).await;
    assert!(!l.store.finish(b).await.unwrap(), "the batch that feeds it is not marked as finished");
    assert!(l.store.finish(a).await.unwrap());
    assert!(l.store.finish(b).await.unwrap());
    let place = l.store.feed_place(b).await.unwrap().unwrap();
    assert_eq!((place.by, place.is_behind), (a, false));
    assert_eq!(l.store.feed_page(a, (0, FeedFrom::All), false).await.unwrap().rows.len(), 3);
}

#[tokio::test]
async fn of_two_feeders_one_writes() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 3).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let other = open(&l.path, &l.clock).await;
    l.end(a, &[("k1", JobState::Succeeded), ("k2", JobState::Succeeded)]).await;
    let page = l.page(b).await;
    let (one, two) = tokio::join!(l.store.feed(step(b, &page, &[])), other.feed(step(b, &page, &[])));
    let mut both = [one.unwrap(), two.unwrap()];
    both.sort_by_key(|done| *done == FeedDone::Overtaken);
    assert_eq!(both, [new(2), FeedDone::Overtaken]);
    // A page that was read before another step is stale, too.
    l.end(a, &[("k3", JobState::Succeeded)]).await;
    assert_eq!(l.store.feed(step(b, &page, &[])).await.unwrap(), FeedDone::Overtaken);
    assert_eq!(l.take(b, &[]).await, new(1));
    assert_eq!(l.lines(b).await.len(), 3);
}

#[tokio::test]
async fn a_result_that_changes_is_bought_again_and_one_that_does_not_is_not() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 2).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let both = [("k1", JobState::Succeeded), ("k2", JobState::Succeeded)];
    l.end(a, &both).await;
    l.take(b, &[]).await;
    l.end(b, &both).await;
    for batch in [a, b] {
        assert!(l.store.finish(batch).await.unwrap());
    }
    let chosen = ["k1", "k2"];
    retry(&l, a, &chosen).await;
    for batch in [a, b] {
        assert!(l.store.batch_by_id(batch).await.unwrap().finished_at.is_none(), "both go on");
    }
    assert!(!l.store.finish(b).await.unwrap());
    l.end(a, &both).await;
    let done = l.take(b, &[("k2", "other")]).await;
    assert_eq!(done, FeedDone::Fed(Submitted { changed: 1, same: 1, ..Submitted::default() }));
    let lines = l.lines(b).await;
    let shown: Vec<_> = lines.iter().map(|row| (row.key.as_str(), row.state, row.ordinal)).collect();
    assert_eq!(shown, [("k1", JobState::Succeeded, 1), ("k2", JobState::Queued, 2)]);
    let superseded = l.store.counts(b).await.unwrap();
    assert_eq!(superseded.total(), 2, "the former version of the line is in no count");
}

/// Makes lines due again that have ended.
async fn retry(l: &Ledger, batch: BatchId, keys: &[&str]) {
    let mut conn = l.other().await;
    for key in keys {
        query("UPDATE jobs SET state = 'queued', due_at = 1, lane = pool, finished_at = NULL WHERE batch = $1 AND key = $2")
            .bind(batch)
            .bind(*key)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    conn.close().await;
    l.store.write(move |conn, _| Box::pin(async move { batches::control::unfinish(conn, batch).await })).await.unwrap();
}

#[tokio::test]
async fn a_line_that_is_dropped_is_dropped_and_comes_back_for_nothing() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 2).await;
    let b = l.fed("b", a).await;
    let c = l.fed("c", b).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let both = [("k1", JobState::Succeeded), ("k2", JobState::Succeeded)];
    for of in [a, b, c] {
        if of != a {
            l.take(of, &[]).await;
        }
        l.end(of, &both).await;
    }
    for wanted in [Wanted::Dropped, Wanted::Yes] {
        let first = l.lines(a).await[0].job.0;
        l.store
            .write(move |conn, _| Box::pin(async move { batches::wanted::note(conn, &[(first, wanted)]).await }))
            .await
            .unwrap();
        for of in [b, c] {
            assert!(l.store.feed_place(of).await.unwrap().unwrap().is_behind);
            l.take(of, &[]).await;
            let lines = l.lines(of).await;
            let shown: Vec<_> = lines.iter().map(|row| (row.key.as_str(), row.wanted)).collect();
            assert_eq!(shown, [("k1", wanted), ("k2", Wanted::Yes)]);
            let done = l.store.counts(of).await.unwrap().of(JobState::Succeeded);
            assert_eq!(done, if wanted == Wanted::Yes { 2 } else { 1 }, "nothing is bought");
        }
    }
}

#[tokio::test]
async fn a_result_that_is_lost_leaves_what_was_made_of_it_with_a_mark() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 1).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let notes = async || l.lines(b).await[0].notes.clone();
    let chosen = ["k1"];
    l.end(a, &[("k1", JobState::Succeeded)]).await;
    l.take(b, &[]).await;
    l.end(b, &[("k1", JobState::Succeeded)]).await;
    for (state, note) in [
        (JobState::Failed, Some(Note::UpstreamChanged)),
        (JobState::Succeeded, None),
        (JobState::Suspect, Some(Note::UpstreamChanged)),
    ] {
        retry(&l, a, &chosen).await;
        l.end(a, &[("k1", state)]).await;
        l.take(b, &[]).await;
        assert_eq!(notes().await.as_deref(), note.map(|note| note.as_str()), "{state}");
        assert_eq!(l.lines(b).await[0].state, JobState::Succeeded);
    }
}

#[tokio::test]
async fn a_result_that_is_lost_while_a_line_is_worked_marks_it_when_it_ends() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 2).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    l.end(a, &[("k1", JobState::Succeeded), ("k2", JobState::Succeeded)]).await;
    l.take(b, &[]).await;
    let held = claim(&l.store, 2).await;
    assert_eq!(held.len(), 2);
    // Their workers go on while the other batch loses one result and then the other.
    for (lost, state) in [("k1", JobState::Failed), ("k2", JobState::Suspect)] {
        retry(&l, a, &[lost]).await;
        l.end(a, &[(lost, state)]).await;
        l.take(b, &[]).await;
    }
    let again = To::Queued { due_at: l.clock.now(), call: Some(crate::domain::pool::Pool::Pulse), source_try: false };
    let noted = match done(JobState::Succeeded) {
        To::Finished(finish) => To::Finished(Box::new(Finish { notes: Some("stereo".into()), ..*finish })),
        other => other,
    };
    for (job, to) in held.iter().zip([again, noted]) {
        assert!(l.store.settle(settle(job, to)).await.unwrap());
    }
    l.end(b, &[("k1", JobState::Succeeded)]).await;
    let shown = async || -> Vec<_> { l.lines(b).await.iter().map(|row| (row.state, row.notes.clone())).collect() };
    let marked = |notes: &str| (JobState::Succeeded, Some(notes.to_owned()));
    assert_eq!(shown().await, [marked("upstream_changed"), marked("stereo;upstream_changed")]);
    // Bought again, it is still made of what is lost.
    l.store.retry(Chosen::of(b, Selection::of_key("k1"))).await.unwrap();
    l.end(b, &[("k1", JobState::Succeeded)]).await;
    assert_eq!(shown().await[0], marked("upstream_changed"));
    retry(&l, a, &["k1", "k2"]).await;
    l.end(a, &[("k1", JobState::Succeeded), ("k2", JobState::Succeeded)]).await;
    l.take(b, &[]).await;
    assert_eq!(shown().await, [(JobState::Succeeded, None), marked("stereo")]);
}

#[tokio::test]
async fn what_is_made_of_lines_is_read_with_them() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 3).await;
    let b = l.fed("b", a).await;
    let c = l.fed("c", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    l.end(a, &[("k1", JobState::Succeeded), ("k3", JobState::Succeeded)]).await;
    l.take(b, &[]).await;
    let lines = l.lines(a).await;
    let jobs: Vec<_> = lines.iter().map(|row| row.job).collect();
    let made = async |of, jobs: &[JobId], with_dropped| -> Vec<(JobId, String)> {
        let made = l.store.report_made_of(of, jobs, false, with_dropped).await.unwrap();
        made.into_iter().map(|(of, row)| (of, row.key)).collect()
    };
    assert_eq!(made(b, &jobs, false).await, [(jobs[0], "k1".to_owned()), (jobs[2], "k3".to_owned())]);
    assert_eq!(made(b, &jobs[1..], false).await, [(jobs[2], "k3".to_owned())]);
    assert!(made(c, &jobs, false).await.is_empty());
    let first = jobs[0].0;
    l.store
        .write(move |conn, _| Box::pin(async move { batches::wanted::note(conn, &[(first, Wanted::Dropped)]).await }))
        .await
        .unwrap();
    l.take(b, &[]).await;
    assert_eq!(made(b, &jobs, false).await.len(), 1);
    assert_eq!(made(b, &jobs, true).await.len(), 2);
}

#[tokio::test]
async fn a_bad_line_is_mended_when_what_it_is_made_of_is() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 2).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let both = [("k1", JobState::Succeeded), ("k2", JobState::Succeeded)];
    l.end(a, &both).await;
    let page = l.page(b).await;
    let bad =
        |line: u64, key: &str| BadJob { line, key: Some(key.into()), fault: "its text is blank".into(), carried: None };
    let good = NewJob { key: "k2".into(), ..job(2, "https://x/k2.wav") };
    let sets =
        |bad: BadJob, good: Vec<NewJob>| vec![(good.iter().zip(0..).collect(), [(&bad, 9)].into_iter().collect())];
    let first = FeedStep { sets: sets(bad(1, "k1"), vec![good]), ..step(b, &page, &[]) };
    assert_eq!(l.store.feed(first).await.unwrap(), new(1));
    let shown = async || -> Vec<_> {
        let lines = l.lines(b).await;
        lines.iter().map(|row| (row.key.clone(), row.state, row.line, row.error_kind.clone())).collect()
    };
    let is_bad = ("k1".to_owned(), JobState::Failed, 1, Some("bad_line".to_owned()));
    assert_eq!(shown().await, [is_bad, ("k2".to_owned(), JobState::Queued, 2, None)]);
    l.end(b, &both).await;
    let chosen = ["k1", "k2"];
    retry(&l, a, &chosen).await;
    l.end(a, &both).await;
    // The first is good now, and the second is not: its result stays.
    let page = l.page(b).await;
    let good = NewJob { key: "k1".into(), ..job(1, "https://x/k1.wav") };
    let second = FeedStep { sets: sets(bad(2, "k2"), vec![good]), ..step(b, &page, &[]) };
    assert_eq!(l.store.feed(second).await.unwrap(), new(1));
    let after = shown().await;
    assert_eq!(after[0], ("k1".to_owned(), JobState::Queued, 1, None));
    assert_eq!(after[1], ("k2".to_owned(), JobState::Succeeded, 2, None));
    assert_eq!(l.lines(b).await[1].notes.as_deref(), Some("upstream_changed"));
}

#[tokio::test]
async fn what_makes_the_lines_decides_whether_all_are_taken_again() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 1).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    l.end(a, &[("k1", JobState::Succeeded)]).await;
    l.take(b, &[]).await;
    let cursor = async || l.store.feed_place(b).await.unwrap().map(|place| place.to);
    let at = cursor().await.unwrap();
    assert!(at > 0);
    l.fed("b", a).await;
    assert_eq!(cursor().await, Some(at), "the same again");
    let with = FeedSettings { columns: vec![("content".into(), vec!["{output}".into()])], ..FeedSettings::default() };
    let feed = NewFeed { by: a, with };
    let other = NewBatch { feed: Some(feed), ..batch("b") };
    l.store.begin(other, Resubmission::default()).await.unwrap();
    assert_eq!(cursor().await, Some(0));
    assert_eq!(l.take(b, &[]).await, FeedDone::Overtaken, "it is being submitted");
    l.store.end_submit(b).await.unwrap();
    let same = FeedDone::Fed(Submitted { same: 1, ..Submitted::default() });
    assert_eq!(l.take(b, &[]).await, same, "nothing is bought again");
    l.store.begin(batch("b"), Resubmission::default()).await.unwrap();
    assert_eq!(cursor().await, None, "it has a manifest of its own");
}

#[tokio::test]
async fn a_cancelled_batch_takes_nothing_and_lines_that_are_forgotten_are_not_taken() {
    let l = ledger().await;
    let a = l.submit(batch("a"), 2).await;
    let b = l.fed("b", a).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    l.end(a, &[("k1", JobState::Succeeded), ("k2", JobState::Succeeded)]).await;
    let page = l.page(b).await;
    l.store.cancel(b).await.unwrap();
    assert_eq!(l.store.feed(step(b, &page, &[])).await.unwrap(), FeedDone::Overtaken);
    assert!(l.store.feeds(Environment::Live).await.unwrap().is_empty());
    retry(&l, a, &["k1"]).await;
    assert!(l.store.batch_by_id(b).await.unwrap().finished_at.is_some(), "it stays cancelled");
    l.end(a, &[("k1", JobState::Succeeded)]).await;
    let forget = l.store.begin_forget("f".into(), crate::domain::forget::ForgetSpec::default(), None).await.unwrap();
    l.store.mark_to_forget(forget.id, a, &["k1".to_owned()]).await.unwrap().unwrap();
    let keys: Vec<_> = l.page(b).await.rows.into_iter().map(|row| row.row.key).collect();
    assert_eq!(keys, ["k2"]);
}

#[tokio::test]
async fn lines_that_were_done_when_they_came_are_taken() {
    let l = ledger().await;
    let a = l.store.begin(batch("a"), Resubmission::default()).await.unwrap().batch;
    let adopted = NewJob { adopted: Some(r#"["/out/k1.json"]"#.into()), ..job(1, "/r/1.wav") };
    l.store.submit(a, vec![adopted, job(2, "/r/2.wav")], vec![]).await.unwrap();
    l.store.end_submit(a).await.unwrap();
    let b = l.fed("b", a).await;
    assert_eq!(l.take(b, &[]).await, new(1));
    assert_eq!(l.lines(b).await[0].key, "k1");
}

crate::store::harness::on_postgres_too! {
    lines_come_as_they_finish_and_stand_where_the_other_batch_has_them,
    of_two_feeders_one_writes,
    a_result_that_changes_is_bought_again_and_one_that_does_not_is_not,
    a_line_that_is_dropped_is_dropped_and_comes_back_for_nothing,
    a_result_that_is_lost_leaves_what_was_made_of_it_with_a_mark,
    a_bad_line_is_mended_when_what_it_is_made_of_is,
    a_result_that_is_lost_while_a_line_is_worked_marks_it_when_it_ends,
    what_is_made_of_lines_is_read_with_them,
    what_makes_the_lines_decides_whether_all_are_taken_again,
    a_cancelled_batch_takes_nothing_and_lines_that_are_forgotten_are_not_taken,
    lines_that_were_done_when_they_came_are_taken,
}
