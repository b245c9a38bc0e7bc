//! Spend limits of a day and a month: permits, sums, pauses that end by themselves, and notices.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};

use crate::domain::{
    cost::MicroUsd,
    environment::Environment,
    job::{BatchId, CallId, JobState, Why},
    length::Length,
    pool::Limits,
    retry::PauseKind,
    spend::{Period, SpendRule, SpendUse, quarter},
};
use crate::store::engine::db::{Row, query};
use crate::store::{tests::*, *};

const LIVE: (&str, Environment) = ("acc", Environment::Live);

/// Limits in micro-USD.
fn rule(day: Option<i64>, month: Option<i64>, zone: &str) -> Option<Arc<SpendRule>> {
    let zone = TimeZone::get(zone).unwrap();
    Some(Arc::new(SpendRule { day: day.map(MicroUsd), month: month.map(MicroUsd), zone }))
}

/// A ledger whose clock shows this moment, and claimed jobs.
async fn at(now: &str, lines: u64) -> (Ledger, BatchId, Vec<Claimed>, Enlisted) {
    let l = ledger().await;
    l.clock.advance(now.parse::<Timestamp>().unwrap().as_millisecond() - l.clock.now());
    let b = l.submit(batch("b"), lines).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, u32::try_from(lines).unwrap()).await;
    assert_eq!(jobs.len() as u64, lines);
    (l, b, jobs, me)
}

fn asking(job: &Claimed, spend: &Option<Arc<SpendRule>>) -> PermitRequest {
    PermitRequest { spend: spend.clone(), ..ask(job, Limits::default()) }
}

/// A call that costs what was reserved for it: 5,000.
async fn buy(store: &Store, job: &Claimed, spend: &Option<Arc<SpendRule>>) -> Result<CallId, Denial> {
    let permit = store.permit(asking(job, spend)).await.unwrap()?;
    store.end(ended(permit.call, answered())).await.unwrap();
    Ok(permit.call)
}

fn period(denial: Denial) -> Period {
    let Denial::SpendPeriod { limit, .. } = denial else { panic!("{denial:?}") };
    limit.period
}

/// Checks that the ledger's sums equal the sums over its calls.
async fn add_up(store: &Store) -> Vec<(String, i64, i64, i64)> {
    let sums = "SELECT account || '/' || environment AS whose, quarter, spent, reserved FROM spending
        WHERE spent <> 0 OR reserved <> 0 ORDER BY 1, 2";
    let calls = "SELECT c.account || '/' || b.environment AS whose, c.sent_at / 900000 * 900000 AS quarter,
        CAST(sum(c.cost) AS BIGINT) AS spent, CAST(sum(c.reserve) AS BIGINT) AS reserved
        FROM calls c JOIN batches b ON b.id = c.batch GROUP BY 1, 2 HAVING sum(c.cost) > 0 OR sum(c.reserve) > 0 ORDER BY 1, 2";
    let mut seen = Vec::new();
    for sql in [sums, calls] {
        let rows = query(sql).fetch_all(&store.read).await.unwrap();
        let row = |row: &Row| (row.get("whose"), row.get("quarter"), row.get("spent"), row.get("reserved"));
        seen.push(rows.iter().map(row).collect::<Vec<(String, i64, i64, i64)>>());
    }
    assert_eq!(seen[0], seen[1]);
    seen.swap_remove(0)
}

#[tokio::test]
async fn a_day_costs_no_more_over_all_batches_and_the_next_day_has_its_own() {
    let (l, _, jobs, _me) = at("2026-11-29T22:50:00Z", 3).await;
    let other = l.submit(batch("other"), 2).await;
    let others = claim(&l.store, 2).await;
    assert_eq!(others[0].batch, other);
    let day = rule(Some(10_000), None, "Europe/Berlin");
    buy(&l.store, &jobs[0], &day).await.unwrap();
    buy(&l.store, &others[0], &day).await.unwrap();
    assert_eq!(period(buy(&l.store, &jobs[1], &day).await.unwrap_err()), Period::Day);
    assert_eq!(period(buy(&l.store, &others[1], &day).await.unwrap_err()), Period::Day);
    // It is midnight in Berlin, an hour before midnight in London.
    l.clock.advance(10 * 60_000);
    buy(&l.store, &jobs[1], &day).await.unwrap();
    assert_eq!(period(buy(&l.store, &jobs[2], &rule(Some(10_000), None, "UTC")).await.unwrap_err()), Period::Day);
    assert_eq!(add_up(&l.store).await.len(), 2);
}

#[tokio::test]
async fn what_was_bought_before_a_limit_was_set_counts_in_whatever_zone_it_is_set() {
    let (l, _, jobs, _me) = at("2026-11-30T18:29:00Z", 3).await;
    buy(&l.store, &jobs[0], &None).await.unwrap();
    l.clock.advance(2 * 60_000);
    // In Kolkata a month has begun meanwhile.
    let month = |zone| rule(None, Some(9_000), zone);
    assert_eq!(period(buy(&l.store, &jobs[1], &month("UTC")).await.unwrap_err()), Period::Month);
    buy(&l.store, &jobs[1], &month("Asia/Kolkata")).await.unwrap();
    assert_eq!(period(buy(&l.store, &jobs[2], &month("Asia/Kolkata")).await.unwrap_err()), Period::Month);
}

#[tokio::test]
async fn another_account_and_the_sandbox_have_days_of_their_own() {
    let (l, _, jobs, _me) = at("2026-11-29T12:00:00Z", 3).await;
    let sandboxed = NewBatch { environment: Environment::Sandbox, ..batch("sandboxed") };
    l.submit(sandboxed, 1).await;
    let want = ClaimRequest {
        environment: Environment::Sandbox,
        free: 9,
        calls: vec![(crate::domain::pool::Pool::Pulse, 9)],
        ..ClaimRequest::default()
    };
    let sandboxed = l.store.claim(want).await.unwrap();
    let day = rule(Some(5_000), None, "UTC");
    buy(&l.store, &jobs[0], &day).await.unwrap();
    buy(&l.store, &sandboxed[0], &day).await.unwrap();
    let theirs = PermitRequest { account: "theirs".into(), ..asking(&jobs[1], &day) };
    l.store.permit(theirs).await.unwrap().unwrap();
    assert_eq!(period(buy(&l.store, &jobs[2], &day).await.unwrap_err()), Period::Day);
    let all = l.store.spend_uses(None, Environment::Live, day.as_ref().unwrap()).await.unwrap();
    assert_eq!((all[0].spent, all[0].reserved), (MicroUsd(5_000), MicroUsd(5_000)), "of both accounts");
    let own = l.store.spend_uses(Some("acc"), Environment::Live, day.as_ref().unwrap()).await.unwrap();
    assert_eq!((own[0].spent, own[0].reserved), (MicroUsd(5_000), MicroUsd::ZERO));
}

#[tokio::test]
async fn two_processes_never_pass_a_limit_together() {
    let (l, _, jobs, _me) = at("2026-11-29T12:00:00Z", 12).await;
    let second = open(&l.path, &l.clock).await;
    let _other = second.enlist("{}".into()).await.unwrap();
    let day = rule(Some(22_000), None, "UTC");
    let asked = jobs.iter().enumerate().map(|(n, job)| {
        let (store, ask) = (if n % 2 == 0 { l.store.clone() } else { second.clone() }, asking(job, &day));
        tokio::spawn(async move {
            let verdict = store.permit(ask).await.unwrap();
            if let Ok(permit) = &verdict {
                store.end(ended(permit.call, answered())).await.unwrap();
            }
            verdict.is_ok()
        })
    });
    let asked: Vec<_> = asked.collect();
    let mut granted = 0;
    for one in asked {
        granted += u32::from(one.await.unwrap());
    }
    assert_eq!(granted, 4, "22,000 buys 4 calls of 5,000");
    let uses = l.store.spend_uses(Some("acc"), Environment::Live, day.as_ref().unwrap()).await.unwrap();
    assert_eq!((uses[0].spent, uses[0].reserved), (MicroUsd(20_000), MicroUsd::ZERO));
}

#[tokio::test]
async fn what_is_under_way_is_waited_for_and_may_turn_out_cheaper() {
    let (l, _, jobs, _me) = at("2026-11-29T12:00:00Z", 2).await;
    let day = rule(Some(9_000), None, "UTC");
    let first = l.store.permit(asking(&jobs[0], &day)).await.unwrap().unwrap();
    let second = tokio::spawn({
        let (store, ask) = (l.store.clone(), asking(&jobs[1], &day));
        async move { store.permit(ask).await.unwrap() }
    });
    let refused = End::Rejected { failure: None, effect: PoolEffect::None, counts: false };
    l.store.end(ended(first.call, refused)).await.unwrap();
    second.await.unwrap().unwrap();
    add_up(&l.store).await;
}

#[tokio::test]
async fn sums_stay_right_through_every_end_of_a_call() {
    let (l, _, jobs, _me) = at("2026-11-29T23:40:00Z", 6).await;
    let mut calls = Vec::new();
    for job in &jobs {
        calls.push(l.store.permit(asking(job, &None)).await.unwrap().unwrap().call);
    }
    let reserved = |n: i64| n * 5_000;
    assert_eq!(add_up(&l.store).await[0].3, reserved(6));
    // The next day: the cost of yesterday's call belongs to yesterday.
    l.clock.advance(40 * 60_000);
    l.store.end(ended(calls[0], answered())).await.unwrap();
    let dearer = End::Answered {
        body: "{}".into(),
        from_log: true,
        request_id: None,
        content_expiry: None,
        audio_ms: None,
        cost: Some(8_000),
    };
    l.store.end(ended(calls[1], dearer)).await.unwrap();
    l.store.end(ended(calls[2], unknown(false))).await.unwrap();
    l.store.end(ended(calls[3], End::GivenUp)).await.unwrap();
    l.store
        .end(ended(calls[4], End::Rejected { failure: None, effect: PoolEffect::None, counts: false }))
        .await
        .unwrap();
    let sums = add_up(&l.store).await;
    assert_eq!(sums.len(), 1);
    assert_eq!((sums[0].2, sums[0].3), (5_000 + 8_000 + 5_000, reserved(2)));
    // A late answer of a call that was given up, at another price.
    l.store.end(ended(calls[3], answered())).await.unwrap();
    // The call of unknown outcome is replaced by one of today.
    let again = PermitRequest { why: Why::Unknown, replaces: Some(calls[2]), ..asking(&jobs[2], &None) };
    l.store.permit(again).await.unwrap().unwrap();
    let sums = add_up(&l.store).await;
    assert_eq!(sums.iter().map(|sum| (sum.2, sum.3)).collect::<Vec<_>>(), [(23_000, 5_000), (0, 5_000)]);
}

#[tokio::test]
async fn a_call_that_leaves_late_is_counted_where_it_left() {
    let (l, _, jobs, _me) = at("2026-11-29T23:50:00Z", 2).await;
    let midnight = "2026-11-30T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let noted = l.store.permit(asking(&jobs[0], &None)).await.unwrap().unwrap();
    let reported = l.store.permit(asking(&jobs[1], &None)).await.unwrap().unwrap();
    l.clock.advance(midnight + 400 - l.clock.now());
    l.store.note_departure(noted.call).await.unwrap();
    let sums = add_up(&l.store).await;
    assert_eq!(
        sums.iter().map(|sum| (sum.1, sum.3)).collect::<Vec<_>>(),
        [(quarter(midnight - 1), 5_000), (midnight, 5_000)]
    );
    l.store.end(Ended { departed_at: Some(midnight + 400), ..ended(reported.call, answered()) }).await.unwrap();
    l.store.note_departure(reported.call).await.unwrap();
    let sums = add_up(&l.store).await;
    assert_eq!(sums.iter().map(|sum| (sum.1, sum.2, sum.3)).collect::<Vec<_>>(), [(midnight, 5_000, 5_000)]);
}

#[tokio::test]
async fn a_permit_is_good_for_its_own_day_alone() {
    let (l, _, jobs, _me) = at("2026-11-29T23:50:00Z", 2).await;
    let midnight = "2026-11-30T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let free = l.store.permit(asking(&jobs[0], &None)).await.unwrap().unwrap();
    let limited = l.store.permit(asking(&jobs[1], &rule(Some(99_000), None, "UTC"))).await.unwrap().unwrap();
    assert!(!limited.is_stale());
    l.clock.step(midnight - l.clock.now());
    assert!(limited.is_stale() && !free.is_stale());
}

#[tokio::test]
async fn a_clock_that_was_set_back_takes_the_money_with_it() {
    let (l, _, jobs, _me) = at("2026-11-29T12:00:00Z", 2).await;
    l.clock.step(3 * 86_400_000);
    let call = l.store.permit(asking(&jobs[0], &None)).await.unwrap().unwrap().call;
    l.store.watch_clock().await.unwrap();
    l.clock.step(-3 * 86_400_000);
    l.store.watch_clock().await.unwrap();
    let sums = add_up(&l.store).await;
    assert!(sums.len() == 1 && sums[0].1 <= l.clock.now(), "{sums:?}");
    l.store.end(ended(call, answered())).await.unwrap();
    add_up(&l.store).await;
}

/// Reaches the day's limit of 5,000, as a worker does.
async fn run_into_it(l: &Ledger, b: BatchId, jobs: &[Claimed], day: &Option<Arc<SpendRule>>) -> SpendUse {
    buy(&l.store, &jobs[0], day).await.unwrap();
    let Denial::SpendPeriod { limit, reserve } = buy(&l.store, &jobs[1], day).await.unwrap_err() else { panic!() };
    let reason = limit.reached(day.as_ref().unwrap());
    l.store.pause_for_spend(b, &limit, reserve, reason).await.unwrap();
    let due_at = l.clock.now();
    for job in &jobs[1..] {
        l.store.settle(settle(job, To::Queued { due_at, call: None, source_try: false })).await.unwrap();
    }
    limit
}

#[tokio::test]
async fn a_pause_for_a_limit_ends_with_its_day_and_not_before() {
    // The clocks go back on this day: it has 25 hours.
    let (l, b, jobs, _me) = at("2026-10-24T22:00:00Z", 3).await;
    let day = rule(Some(9_000), None, "Europe/Berlin");
    let limit = run_into_it(&l, b, &jobs, &day).await;
    assert_eq!(limit.span.until - limit.span.from, 25 * 3_600_000);
    let row = l.store.batch_by_id(b).await.unwrap();
    let (kind, reason) = row.pause.clone().unwrap();
    assert_eq!((kind, row.pause_until), (PauseKind::SpendDay, Some(limit.span.until)));
    assert!(reason.starts_with("spend limit of the day: "), "{reason}");
    assert!(claim(&l.store, 9).await.is_empty());
    assert!(!l.store.resume(b, false).await.unwrap(), "a run alone does not get past it");
    l.clock.advance(16 * 60_000);
    assert!(l.store.probe_paused(Environment::Live).await.unwrap().is_empty(), "no line is tried");
    l.clock.advance(limit.span.until - 60_000 - l.clock.now());
    assert!(l.store.lift_spend_pauses(LIVE, day.clone(), true).await.unwrap().is_empty());
    l.clock.advance(60_000);
    let lifted = l.store.lift_spend_pauses(LIVE, day.clone(), false).await.unwrap();
    assert_eq!(lifted.iter().map(|one| (one.batch, one.kind)).collect::<Vec<_>>(), [(b, PauseKind::SpendDay)]);
    assert_eq!(l.store.batch_by_id(b).await.unwrap().pause_until, None);
    let jobs = claim(&l.store, 9).await;
    assert_eq!(jobs.len(), 2);
    buy(&l.store, &jobs[0], &day).await.unwrap();
    assert_eq!(period(buy(&l.store, &jobs[1], &day).await.unwrap_err()), Period::Day);
}

#[tokio::test]
async fn a_raised_limit_ends_the_pause_and_resume_alone_does_not() {
    let (l, b, jobs, _me) = at("2026-11-29T12:00:00Z", 3).await;
    let day = rule(Some(9_000), None, "UTC");
    run_into_it(&l, b, &jobs, &day).await;
    assert!(l.store.resume(b, true).await.unwrap());
    let mine = claim(&l.store, 1).await;
    let Denial::SpendPeriod { limit, reserve } = buy(&l.store, &mine[0], &day).await.unwrap_err() else { panic!() };
    l.store.pause_for_spend(b, &limit, reserve, "again".into()).await.unwrap();
    // The call that did not fit decides whether a limit has room.
    let barely = rule(Some(9_999), None, "UTC");
    assert!(l.store.lift_spend_pauses(LIVE, barely, true).await.unwrap().is_empty());
    let raised = rule(Some(10_000), None, "UTC");
    // Another process may have other settings, so a minute passes between their changes.
    assert!(l.store.lift_spend_pauses(LIVE, raised.clone(), false).await.unwrap().is_empty());
    assert_eq!(l.store.lift_spend_pauses(LIVE, raised.clone(), true).await.unwrap().len(), 1);
    buy(&l.store, &mine[0], &raised).await.unwrap();
}

#[tokio::test]
async fn a_limit_that_is_gone_holds_nothing_and_the_users_pause_stays() {
    let (l, b, jobs, _me) = at("2026-11-29T12:00:00Z", 3).await;
    let day = rule(Some(9_000), None, "UTC");
    run_into_it(&l, b, &jobs, &day).await;
    l.clock.advance(61_000);
    assert_eq!(l.store.lift_spend_pauses(LIVE, None, false).await.unwrap().len(), 1);
    let mine = claim(&l.store, 2).await;
    let Denial::SpendPeriod { limit, reserve } = buy(&l.store, &mine[0], &day).await.unwrap_err() else { panic!() };
    l.store.pause_for_spend(b, &limit, reserve, "again".into()).await.unwrap();
    l.store.pause(b, PauseKind::User, "lunch".into()).await.unwrap();
    // Another worker that reached the limit comes late.
    l.store.pause_for_spend(b, &limit, reserve, "late".into()).await.unwrap();
    l.clock.advance(2 * 86_400_000);
    assert!(l.store.lift_spend_pauses(LIVE, day, true).await.unwrap().is_empty());
    let row = l.store.batch_by_id(b).await.unwrap();
    assert_eq!((row.pause.unwrap().0, row.pause_until), (PauseKind::User, None));
}

#[tokio::test]
async fn that_a_limit_is_close_is_noticed_once_by_whichever_process() {
    let (l, b, jobs, _me) = at("2026-11-29T12:00:00Z", 12).await;
    let second = open(&l.path, &l.clock).await;
    let _other = second.enlist("{}".into()).await.unwrap();
    let day = rule(Some(25_000), None, "UTC");
    let mut reported = Vec::new();
    for (n, job) in jobs[..5].iter().enumerate() {
        let store = if n % 2 == 0 { &l.store } else { &second };
        let permit = store.permit(asking(job, &day)).await.unwrap().unwrap();
        reported.push(permit.close_limits.len());
        store.end(ended(permit.call, answered())).await.unwrap();
    }
    assert_eq!(reported, [0, 0, 0, 1, 0], "20,000 of 25,000");
    let notices = second.spend_notices(Environment::Live).await.unwrap();
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].batch, notices[0].period), (b, Period::Day));
    assert!(
        notices[0].words.starts_with("80 % of the spend limit of the day is used: 0.02 of 0.025 USD"),
        "{}",
        notices[0].words
    );
    second.spend_notice_posted(&notices[0]).await.unwrap();
    assert!(l.store.spend_notices(Environment::Live).await.unwrap().is_empty());
    // Another day has another notice; once the day is over, it is not reported.
    l.clock.advance(86_400_000);
    for job in &jobs[5..9] {
        buy(&l.store, job, &day).await.unwrap();
    }
    assert_eq!(l.store.spend_notices(Environment::Live).await.unwrap().len(), 1);
    l.clock.advance(86_400_000);
    assert!(l.store.spend_notices(Environment::Live).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_price_beyond_belief_spoils_no_sum() {
    let (l, _, jobs, _me) = at("2026-11-29T12:00:00Z", 3).await;
    let dear = |job| PermitRequest {
        buys: Purchase::Transcript { length: Length::Exact(60_000), rate: MicroUsd(MicroUsd::MOST.0 - 1) },
        ..asking(job, &None)
    };
    for job in &jobs[..2] {
        l.store.permit(dear(job)).await.unwrap().unwrap();
    }
    let day = rule(Some(MicroUsd::MOST.0), None, "UTC");
    l.store.settle(settle(&jobs[0], done(JobState::Failed))).await.unwrap();
    let uses = l.store.spend_uses(Some("acc"), Environment::Live, day.as_ref().unwrap()).await.unwrap();
    assert_eq!(uses[0].reserved, MicroUsd::MOST, "no quarter of an hour counts for more");
    assert!(!uses[0].has(MicroUsd(1)));
}

crate::store::harness::on_postgres_too! {
    a_day_costs_no_more_over_all_batches_and_the_next_day_has_its_own,
    what_was_bought_before_a_limit_was_set_counts_in_whatever_zone_it_is_set,
    another_account_and_the_sandbox_have_days_of_their_own,
    two_processes_never_pass_a_limit_together,
    what_is_under_way_is_waited_for_and_may_turn_out_cheaper,
    sums_stay_right_through_every_end_of_a_call,
    a_call_that_leaves_late_is_counted_where_it_left,
    a_permit_is_good_for_its_own_day_alone,
    a_clock_that_was_set_back_takes_the_money_with_it,
    a_pause_for_a_limit_ends_with_its_day_and_not_before,
    a_raised_limit_ends_the_pause_and_resume_alone_does_not,
    a_limit_that_is_gone_holds_nothing_and_the_users_pause_stays,
    that_a_limit_is_close_is_noticed_once_by_whichever_process,
    a_price_beyond_belief_spoils_no_sum,
}
