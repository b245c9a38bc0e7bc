//! Queries about jobs that synthesize: marks, sums, and the spool.

use std::{fs::File, time::SystemTime};

use super::*;
use crate::domain::{call::ErrorKind, environment::Environment, synthesis_options::AudioFormat};

impl Ledger {
    /// One line in two formats.
    async fn twice(&self, name: &str, sentence: &str) -> BatchId {
        let b = self.submit(name, 0, None).await;
        let text = Text::new(sentence);
        let job = |variant| spoken_job(1, "k".into(), text.clone(), variant);
        self.store.submit(b, vec![job("avery|wav|24000"), job("avery|pcm|24000")], vec![]).await.unwrap();
        self.store.end_submit(b).await.unwrap();
        b
    }

    fn keep_clip(&self, sentence: &str) {
        let clips = self.store.clip_folder().unwrap();
        clips.write(text_identity(sentence), AudioFormat::Pcm, &[7; 10], true).unwrap();
    }

    fn kept(&self, sentence: &str) -> bool {
        self.store.clip_folder().unwrap().find(text_identity(sentence), AudioFormat::Pcm).unwrap().is_some()
    }
}

async fn buy(l: &Ledger, job: &Claimed, part: i64, sentence: &str) {
    let call = permit(&l.store, ask_now(job, part, sentence, l.clock.now())).await.unwrap();
    l.store.end(ended(call, synthesis_counts(false))).await.unwrap();
}

#[tokio::test]
async fn the_error_of_a_line_is_that_of_the_output_that_failed_in_this_way() {
    let l = ledger().await;
    let b = l.submit("b", 0, None).await;
    let job = |variant, text: &str| spoken_job(1, "k".into(), Text::new(text), variant);
    let jobs = vec![job("en|a|wav", "One."), job("hi|a|wav", "Two."), job("ta|a|wav", "Three.")];
    l.store.submit(b, jobs, vec![]).await.unwrap();
    l.store.end_submit(b).await.unwrap();
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let ends = [None, Some("bad_request"), Some("timed_out")];
    for (job, kind) in claim(&l.store).await.iter().zip(ends) {
        let To::Finished(mut finish) = finished(JobState::Succeeded, 1) else { panic!() };
        if let Some(kind) = kind {
            finish.state = Some(JobState::Failed);
            (finish.error_kind, finish.error) = (Some(kind.into()), Some(format!("the {kind} of {}", job.variant)));
        }
        l.store.settle(settle(job, To::Finished(finish))).await.unwrap();
    }
    let error = async |kind| l.store.error_of(b, "k", kind).await.unwrap();
    assert_eq!(error(ErrorKind::BadRequest).await.as_deref(), Some("the bad_request of hi|a|wav"));
    assert_eq!(error(ErrorKind::TimedOut).await.as_deref(), Some("the timed_out of ta|a|wav"));
    assert_eq!(error(ErrorKind::Internal).await, None);
}

#[tokio::test]
async fn a_part_said_again_for_one_format_is_there_for_the_other() {
    let l = ledger().await;
    let b = l.twice("b", "Hello.").await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let hello = PlannedPart { part: 0, cache_key: text_identity("Hello."), characters: 6, reused: true };
    let jobs = claim(&l.store).await;
    buy(&l, &jobs[0], 0, "Hello.").await;
    l.store.plan_parts(jobs[1].job, jobs[1].token, &[hello]).await.unwrap();
    for job in &jobs {
        l.store.settle(settle(job, finished(JobState::Succeeded, 1))).await.unwrap();
    }
    l.clock.advance(10);
    let marked = l.clock.now();
    let chosen = Chosen { batch: b, lines: Selection::of_key("k"), part: Some(0), other_way: None };
    assert_eq!(l.store.retry(chosen).await.unwrap(), 2);
    let jobs = claim(&l.store).await;
    let since = async |job: &Claimed| l.store.journals(job.job, job.generation).await.unwrap().forced_since(0);
    for job in &jobs {
        let at = since(job).await.unwrap();
        assert!(at >= marked && !l.store.bought_since(hello.cache_key, at).await.unwrap());
    }
    l.clock.advance(10);
    buy(&l, &jobs[0], 0, "Hello.").await;
    assert_eq!(since(&jobs[0]).await, None);
    let at = since(&jobs[1]).await.unwrap();
    assert!(l.store.bought_since(hello.cache_key, at).await.unwrap(), "what the spool has now is new");
    l.store.plan_parts(jobs[1].job, jobs[1].token, &[hello]).await.unwrap();
    assert_eq!(since(&jobs[1]).await, None, "whatever becomes of the other's call");
}

#[tokio::test]
async fn a_batch_of_speech_is_counted_in_characters_and_parts() {
    let l = ledger().await;
    let b = l.submit("b", 3, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store).await;
    // The characters of the texts; those of a settlement replace them.
    let text = "The text of line 1.".len() as u64;
    assert_eq!(
        l.store.synthesis_counts(b).await.unwrap(),
        SynthesisCounts { asked: 3 * text, left: 3 * text, ..SynthesisCounts::default() }
    );
    buy(&l, &jobs[0], 0, "Nought.").await;
    l.store.settle(settle(&jobs[0], finished(JobState::Succeeded, 4))).await.unwrap();
    buy(&l, &jobs[1], 0, "One.").await;
    let two = PlannedPart { part: 1, cache_key: text_identity("Two!!"), characters: 5, reused: true };
    l.store.plan_parts(jobs[1].job, jobs[1].token, &[two]).await.unwrap();
    l.store.settle(settle(&jobs[2], finished(JobState::Failed, 9))).await.unwrap();
    let counted = l.store.synthesis_counts(b).await.unwrap();
    assert_eq!((counted.asked, counted.done, counted.left, counted.at_work), (200 + text, 100, text, 9));
    assert_eq!((counted.parts, counted.reused_parts), (4, 0));
    let spending = l.store.spending(b).await.unwrap();
    assert_eq!((spending[0].model.as_str(), spending[0].billed), ("lightning_v3.1", 2));
    let ask = SpendQuery { environment: Environment::Live, since: None, before: None, by: SpendBy::Model, top: 9 };
    assert_eq!(l.store.spent(&ask).await.unwrap().groups[0].name.as_deref(), Some("lightning_v3.1"));
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!(row.task, crate::domain::synthesis::Synthesis::TASK);
}

#[tokio::test]
async fn the_spool_keeps_what_unfinished_jobs_need() {
    let l = ledger().await;
    l.submit("b", 2, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store).await;
    for sentence in ["Bought.", "Reused.", "Open.", "Done.", "Nobody's."] {
        l.keep_clip(sentence);
    }
    buy(&l, &jobs[0], 0, "Bought.").await;
    let reused = PlannedPart { part: 1, cache_key: text_identity("Reused."), characters: 7, reused: true };
    l.store.plan_parts(jobs[0].job, jobs[0].token, &[reused]).await.unwrap();
    permit(&l.store, ask(&jobs[0], 2, "Open.")).await.unwrap();
    buy(&l, &jobs[1], 0, "Done.").await;
    l.store.settle(settle(&jobs[1], finished(JobState::Succeeded, 1))).await.unwrap();

    let view = l.store.spool_view(crate::tasks::Registry::built_in().reports()).await.unwrap();
    assert_eq!((view.all, view.needed), (ClipTotals { clips: 5, bytes: 50 }, ClipTotals { clips: 3, bytes: 30 }));
    assert!(view.oldest <= view.newest && view.newest.is_some());
    let all = SpoolLimits { unused_since: None, max_bytes: Some(0) };
    let dry = l.store.prune_spool(crate::tasks::Registry::built_in().reports(), all, true).await.unwrap();
    assert!(l.kept("Nobody's."), "said and not done");
    let pruned = l.store.prune_spool(crate::tasks::Registry::built_in().reports(), all, false).await.unwrap();
    assert_eq!(pruned, dry);
    assert_eq!((pruned.taken.clips, pruned.needed.clips, pruned.within.clips), (2, 3, 0));
    let kept = ["Bought.", "Reused.", "Open.", "Done.", "Nobody's."].map(|sentence| l.kept(sentence));
    assert_eq!(kept, [true, true, true, false, false]);
    let none = SpoolLimits { unused_since: Some(SystemTime::UNIX_EPOCH), max_bytes: Some(30) };
    assert_eq!(
        l.store.prune_spool(crate::tasks::Registry::built_in().reports(), none, false).await.unwrap().taken,
        ClipTotals::default()
    );
}

#[tokio::test]
async fn what_was_asked_for_since_the_look_is_not_removed() {
    let l = ledger().await;
    l.submit("b", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    for sentence in ["Noted.", "Used.", "Gone."] {
        l.keep_clip(sentence);
    }
    let seen = l.store.seen(crate::tasks::Registry::built_in().reports()).await.unwrap();
    assert!(seen.needed.is_empty());
    let noted = PlannedPart { part: 0, cache_key: text_identity("Noted."), characters: 6, reused: true };
    l.store.plan_parts(job.job, job.token, &[noted]).await.unwrap();
    let used = File::options()
        .append(true)
        .open(l.store.clip_folder().unwrap().path(text_identity("Used."), AudioFormat::Pcm))
        .unwrap();
    used.set_modified(SystemTime::now() + std::time::Duration::from_secs(9)).unwrap();
    let (needed, used) = l.store.remove(&seen.clips).await.unwrap();
    assert_eq!((needed, used), ([text_identity("Noted.")].into(), [text_identity("Used.")].into()));
    assert_eq!(["Noted.", "Used.", "Gone."].map(|sentence| l.kept(sentence)), [true, true, false]);
}

crate::store::harness::on_postgres_too! {
    the_error_of_a_line_is_that_of_the_output_that_failed_in_this_way,
    a_part_said_again_for_one_format_is_there_for_the_other,
    a_batch_of_speech_is_counted_in_characters_and_parts,
    the_spool_keeps_what_unfinished_jobs_need,
    what_was_asked_for_since_the_look_is_not_removed,
}
