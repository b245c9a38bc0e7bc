//! What a `retry` of a synthesis buys.

use super::*;

#[tokio::test]
async fn one_part_is_spoken_again_and_the_others_stay() {
    let l = ledger().await;
    let b = l.submit("b", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    for (part, text) in [(0, "Nought."), (1, "One.")] {
        let call = permit(&l.store, ask(&job, part, text)).await.unwrap();
        l.store.end(ended(call, synthesis_counts(false))).await.unwrap();
    }
    let third = PlannedPart { part: 2, cache_key: text_identity("Two."), characters: 4, reused: true };
    assert!(l.store.plan_parts(job.job, job.token, &[third]).await.unwrap());
    assert_eq!(l.store.needed_cache_keys(crate::tasks::Registry::built_in().reports()).await.unwrap().len(), 3);
    l.store.settle(settle(&job, finished(JobState::Succeeded, 3))).await.unwrap();
    assert!(!l.store.plan_parts(job.job, job.token, &[third]).await.unwrap(), "no lease");
    assert_eq!(l.store.redeliver(b).await.unwrap(), (1, 0), "all parts are there");
    let again = claim(&l.store).await.remove(0);
    l.store.settle(settle(&again, finished(JobState::Succeeded, 3))).await.unwrap();

    for (part, characters) in [(1, 4), (2, 4)] {
        let chosen = Chosen { batch: b, lines: Selection::of_key("k1"), part: Some(part), other_way: None };
        let plan = l.store.plan_retry(&chosen).await.unwrap();
        assert_eq!((plan.jobs, plan.deliveries, plan.units, plan.unknown), (1, 0, characters, 0));
        assert_eq!(l.store.retry(chosen).await.unwrap(), 1);
        let again = claim(&l.store).await.remove(0);
        assert_eq!(again.lane, Some(Pool::Tts));
        let journals = l.store.journals(again.job, again.generation).await.unwrap();
        assert!(journals.is_forced(part) && !journals.is_forced(0), "{part}");
        assert!(matches!(journals.of(0).step(0, 0), Step::Deliver(_)));
        l.clock.advance(1);
        let call = permit(&l.store, ask_now(&again, part, "Anew.", l.clock.now())).await.unwrap();
        l.store.end(ended(call, synthesis_counts(false))).await.unwrap();
        assert!(!l.store.journals(again.job, again.generation).await.unwrap().is_forced(part));
        l.store.settle(settle(&again, finished(JobState::Succeeded, 3))).await.unwrap();
    }
    let row = l.store.report_page(b, (0, 0), 9, false).await.unwrap().remove(0);
    assert_eq!(row.billed_calls, 4, "what was replaced stays in the books");
}

#[tokio::test]
async fn of_a_failed_job_only_what_is_missing_is_bought() {
    let l = ledger().await;
    let b = l.submit("b", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    let part = |part, text, characters| PlannedPart { part, cache_key: text_identity(text), characters, reused: false };
    let parts = [part(0, "Nought.", 7), part(1, "The rest.", 93)];
    assert!(l.store.plan_parts(job.job, job.token, &parts).await.unwrap());
    let call = permit(&l.store, ask(&job, 0, "Nought.")).await.unwrap();
    l.store.end(ended(call, synthesis_counts(false))).await.unwrap();
    l.store.settle(settle(&job, finished(JobState::Failed, 2))).await.unwrap();
    assert_eq!(l.store.retry_free(b).await.unwrap().jobs(), 0);
    let chosen = Chosen::of(b, Selection::default());
    assert_eq!(l.store.plan_retry(&chosen).await.unwrap().units, 93);
    l.store.retry(chosen).await.unwrap();
    let again = claim(&l.store).await.remove(0);
    let journals = l.store.journals(again.job, again.generation).await.unwrap();
    assert_eq!(journals.of(0).step(0, 0), Step::Deliver(call));
    assert_eq!(again.lane, Some(Pool::Tts));
}

crate::store::harness::on_postgres_too! {
    one_part_is_spoken_again_and_the_others_stay,
    of_a_failed_job_only_what_is_missing_is_bought,
}
