//! Schedules that act: nights that come, are missed, cannot be started, and are started once, whoever looks.

#[path = "scheduling/service.rs"]
mod service;

#[path = "scheduling/contents.rs"]
mod contents;
#[path = "scheduling/failures.rs"]
mod failures;
#[path = "scheduling/folder.rs"]
mod folder;

use std::sync::atomic::{AtomicBool, Ordering};

use wavebatch::{domain::environment::Environment, domain::job::JobState, server::Scheduling, store::BatchStatus};

use service::{NIGHT, Service, batches, definition, finished, fixture, id, manifest, ms, rows, set, text, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_started_on_its_minute_and_worked() {
    let fixture = fixture("2026-11-20T20:29:00Z").await;
    definition(&fixture, "night", NIGHT);
    manifest(&fixture, "2026-11-21", 0..3);
    let mut service = Service::start(&fixture);
    let next = |event: &Scheduling| match event {
        Scheduling::States(states) => states[0].next,
        _ => None,
    };
    assert_eq!(service.says("when it runs", next).await, ms("2026-11-20T20:30:00Z"));
    assert!(batches(&fixture).await.is_empty(), "not before its time");
    set(&fixture, "2026-11-20T20:30:00Z");
    assert_eq!(service.starts().await, ("night-2026-11-21".to_owned(), 3));
    let row = fixture.store.batch("night-2026-11-21").await.unwrap().unwrap();
    assert_eq!(row.window.map(|window| window.1), Some(ms("2026-11-21T02:30:00Z")));
    let state = |event: &Scheduling| match event {
        Scheduling::States(states) => Some(states[0].clone()),
        _ => None,
    };
    let state = service.says("how it stands", state).await;
    assert_eq!((state.waiting, state.next), (0, Some(ms("2026-11-21T20:30:00Z"))));
    assert!(state.last_started >= Some(ms("2026-11-20T20:30:00Z")));
    work(&fixture, "the night", || finished(&fixture, "night-2026-11-21")).await;
    assert_eq!(text(&fixture, "night/2026-11-21/call-2.txt").trim(), "words of call 2");
    let message = service.stop().await;
    assert!(!message.iter().any(|event| matches!(event, Scheduling::CouldNotStart { .. })), "{message:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_window_cannot_hold_goes_on_the_next_night_and_first() {
    let fixture = fixture("2026-11-20T20:29:00Z").await;
    definition(&fixture, "night", NIGHT);
    manifest(&fixture, "2026-11-21", 0..8);
    manifest(&fixture, "2026-11-22", 10..14);
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    let (first, _) = service.starts().await;
    fixture.sandbox.hold();
    let (one, running) = (id(&fixture, &first).await, JobState::Running);
    let end = ms("2026-11-21T02:30:00Z");
    let held = AtomicBool::new(true);
    work(&fixture, "two calls, and no more", || async {
        if held.swap(false, Ordering::Relaxed) {
            fixture.sandbox.waiting(2).await;
            set(&fixture, "2026-11-21T02:30:00Z");
            fixture.sandbox.release();
        }
        let counts = fixture.counts(one).await;
        counts.of(JobState::Succeeded) >= 2 && counts.of(running) == 0
    })
    .await;
    let left = fixture.counts(one).await.of(JobState::Queued);
    assert!(left >= 4, "calls began after the window: {left} are left");
    service.looks(&fixture).await;
    let is_left_over = |event: &Scheduling| matches!(event, Scheduling::States(states) if states.iter().any(|one| one.left_over == left));
    assert!(service.count(is_left_over) > 0, "{:#?}", service.message);
    // The window that closed stands until somebody was told of it; then comes the next.
    let batch_statuses = fixture.store.batch_statuses(Environment::Live).await.unwrap();
    let (row, closed) = batch_statuses.iter().find(|(row, _)| row.id == one).unwrap();
    assert_eq!((row.window.map(|window| window.1), closed), (Some(end), &BatchStatus::WindowClosed(end)));
    fixture.store.set_reported(one, closed).await.unwrap();
    service.looks(&fixture).await;
    let row = fixture.store.batch_by_id(one).await.unwrap();
    assert_eq!(row.window.map(|window| window.1), Some(ms("2026-11-22T02:30:00Z")));

    set(&fixture, "2026-11-21T20:30:00Z");
    assert_eq!(service.starts().await, ("night-2026-11-22".to_owned(), 4));
    work(&fixture, "both nights", || async {
        finished(&fixture, &first).await && finished(&fixture, "night-2026-11-22").await
    })
    .await;
    let begun = |rows: Vec<wavebatch::store::ReportRow>| rows.into_iter().map(|row| row.started_at.unwrap());
    let oldest = begun(rows(&fixture, &first).await).max();
    assert!(oldest <= begun(rows(&fixture, "night-2026-11-22").await).min(), "the older night goes first");
    let books = fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (12, 1));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_dates_are_made_up_for_seven_at_most_and_in_the_next_window() {
    let fixture = fixture("2026-11-10T12:00:00Z").await;
    definition(&fixture, "night", NIGHT);
    for (n, day) in (11..=21).enumerate() {
        manifest(&fixture, &format!("2026-11-{day}"), n * 2..n * 2 + 2);
    }
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    service.stop().await;
    // Noon in Kolkata, ten nights later.
    set(&fixture, "2026-11-21T06:30:00Z");
    let mut service = Service::start(&fixture);
    let mut names = Vec::new();
    for _ in 0..7 {
        names.push(service.starts().await.0);
    }
    let expected: Vec<_> = (15..=21).map(|day| format!("night-2026-11-{day}")).collect();
    assert_eq!(names, expected);
    for row in fixture.store.batches().await.unwrap() {
        assert_eq!(row.window.map(|window| window.1), Some(ms("2026-11-22T02:30:00Z")), "{}", row.name);
    }
    service.looks(&fixture).await;
    assert_eq!(service.count_starts(), 7);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_skipped_is_told_and_the_next_night_is_on_time() {
    let fixture = fixture("2026-11-17T12:00:00Z").await;
    definition(&fixture, "night", &format!("{NIGHT}missed = \"skip\"\n"));
    (18..=22).for_each(|day| manifest(&fixture, &format!("2026-11-{day}"), 0..1));
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    service.stop().await;
    set(&fixture, "2026-11-21T06:30:00Z");
    let mut service = Service::start(&fixture);
    let dropped = |event: &Scheduling| match event {
        Scheduling::Dropped { at, why, .. } => Some((*at, why.clone())),
        _ => None,
    };
    let (at, why) = service.says("that it is let go", dropped).await;
    assert_eq!(at, ms("2026-11-20T20:30:00Z"));
    assert!(why.contains("missed = \"skip\""), "{why}");
    set(&fixture, "2026-11-21T20:30:05Z");
    assert_eq!(service.starts().await.0, "night-2026-11-22");
    assert_eq!(batches(&fixture).await.len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_clocks_are_changed_a_night_comes_once() {
    let text = NIGHT.replace("Asia/Kolkata", "America/New_York");
    let started = |event: &Scheduling| match event {
        Scheduling::Started { at, name, .. } => Some((*at, name.clone())),
        _ => None,
    };
    // 02:30 does not exist: right after the gap.
    let spring = fixture("2026-03-08T06:50:00Z").await;
    definition(&spring, "night", &text.replace("0 2", "30 2"));
    manifest(&spring, "2026-03-08", 0..1);
    let mut service = Service::start(&spring);
    service.looks(&spring).await;
    set(&spring, "2026-03-08T07:00:00Z");
    let (at, name) = service.says("a start", started).await;
    assert_eq!((at, name.as_str()), (ms("2026-03-08T07:00:00Z"), "night-2026-03-08"));
    service.stop().await;
    // 01:30 stands twice: the first time.
    let autumn = fixture("2026-11-01T05:20:00Z").await;
    definition(&autumn, "night", &text.replace("0 2", "30 1"));
    manifest(&autumn, "2026-11-01", 0..1);
    let mut service = Service::start(&autumn);
    service.looks(&autumn).await;
    set(&autumn, "2026-11-01T05:30:00Z");
    assert_eq!(service.says("a start", started).await.0, ms("2026-11-01T05:30:00Z"));
    set(&autumn, "2026-11-01T06:30:00Z");
    service.looks(&autumn).await;
    assert_eq!(service.count_starts(), 1);
    service.stop().await;
}

/// Every hour the same batch, as long as it takes.
fn hourly() -> String {
    let text = NIGHT.replace("batch = \"{name}-{date}\"\n", "").replace("{date}.csv", "calls.csv");
    text.replace("{name}/{date}/", "{name}/").replace("0 2 * * *", "0 * * * *").replace("window = \"6h\"\n", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_still_runs_is_not_started_twice_and_takes_new_lines_when_it_is_finished() {
    let fixture = fixture("2026-11-20T21:25:00Z").await;
    definition(&fixture, "grow", &hourly());
    manifest(&fixture, "calls", 0..2);
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T21:30:00Z");
    assert_eq!(service.starts().await, ("grow".to_owned(), 2));
    manifest(&fixture, "calls", 0..5);
    set(&fixture, "2026-11-20T22:30:00Z");
    let waits = |event: &Scheduling| match event {
        Scheduling::Waits { why, .. } => Some(why.clone()),
        _ => None,
    };
    assert!(service.says("that it waits", waits).await.contains("the batch `grow` still runs"));
    // Looked at again each minute, also by later runs, and told no more.
    for at in ["2026-11-20T22:32:00Z", "2026-11-20T23:30:00Z", "2026-11-20T23:32:00Z"] {
        set(&fixture, at);
        service.looks(&fixture).await;
    }
    assert_eq!(service.count(|event| waits(event).is_some()), 1);
    work(&fixture, "two lines", || finished(&fixture, "grow")).await;
    fixture.clock.advance(60_000);
    assert_eq!(service.starts().await, ("grow".to_owned(), 3));
    assert_eq!(batches(&fixture).await, ["grow"]);
    let message = service.stop().await;
    assert!(!message.iter().any(|event| matches!(event, Scheduling::Dropped { .. })), "{message:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_ledger_start_each_run_once() {
    let fixture = fixture("2026-11-14T12:00:00Z").await;
    definition(&fixture, "a", NIGHT);
    definition(&fixture, "b", NIGHT);
    (15..=22).for_each(|day| manifest(&fixture, &format!("2026-11-{day}"), 0..2));
    let mut first = Service::start(&fixture);
    first.looks(&fixture).await;
    let other = fixture.second_store().await;
    let mut second = Service::on(&other, &fixture);
    second.looks(&fixture).await;
    // Each with seven missed nights of two definitions.
    set(&fixture, "2026-11-21T06:30:00Z");
    fixture
        .until("all of them", || async {
            let views = fixture.store.schedule_views(Environment::Live).await.unwrap();
            batches(&fixture).await.len() == 14 && views.iter().all(|view| view.waiting.is_empty())
        })
        .await;
    let message = [first.stop().await, second.stop().await].concat();
    let mut names: Vec<_> = message
        .iter()
        .filter_map(|event| match event {
            Scheduling::Started { name, added, .. } => Some((name.clone(), *added)),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 14, "{names:?}");
    assert!(names.iter().all(|(_, added)| *added == 2), "{names:?}");
    assert_eq!(message.iter().filter(|event| matches!(event, Scheduling::Started { .. })).count(), 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_without_a_date_are_bought_once_however_many_nights_were_missed() {
    let fixture = fixture("2026-11-17T12:00:00Z").await;
    definition(&fixture, "night", &NIGHT.replace("{date}.csv", "calls.csv"));
    manifest(&fixture, "calls", 0..3);
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    service.stop().await;
    // Three nights were missed; the export is there once.
    set(&fixture, "2026-11-20T21:00:00Z");
    let mut service = Service::start(&fixture);
    assert_eq!(service.starts().await, ("night-2026-11-21".to_owned(), 3));
    work(&fixture, "the newest", || finished(&fixture, "night-2026-11-21")).await;
    // The next night's export is the same: that night's work is done.
    set(&fixture, "2026-11-21T20:30:00Z");
    let same = |event: &Scheduling| match event {
        Scheduling::Started { name, added, older_batch, .. } => Some((name.clone(), *added, *older_batch)),
        _ => None,
    };
    assert_eq!(service.says("the same night", same).await, ("night-2026-11-21".to_owned(), 0, true));
    // A new one has a night of its own.
    manifest(&fixture, "calls", 3..5);
    set(&fixture, "2026-11-22T20:30:00Z");
    assert_eq!(service.says("a new night", same).await, ("night-2026-11-23".to_owned(), 2, false));
    work(&fixture, "the new one", || finished(&fixture, "night-2026-11-23")).await;
    let books = fixture.sandbox.books();
    assert_eq!((books.billed, books.most_billed()), (5, 1));
    service.stop().await;
}
