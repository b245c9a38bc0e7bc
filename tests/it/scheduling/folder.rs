//! Definitions that change while the service runs.

use std::fs;

use wavebatch::{
    definition::Notify,
    server::{ScheduleState, Scheduling},
};

use super::service::{NIGHT, Service, batches, definition, fixture, manifest, set};

fn of(event: &Scheduling) -> Option<String> {
    Some(match event {
        Scheduling::Found { definition, .. } => format!("found {definition}"),
        Scheduling::Changed { definition, .. } => format!("changed {definition}"),
        Scheduling::Broken { faults, .. } => format!("broken {faults}"),
        Scheduling::Mended { definition, .. } => format!("mended {definition}"),
        Scheduling::Gone { definition, .. } => format!("gone {}", definition.clone().unwrap_or_default()),
        Scheduling::Clash { definition, why, .. } => format!("clash {definition} {why}"),
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_change_break_are_mended_and_go_without_a_restart() {
    let fixture = fixture("2026-11-20T20:00:00Z").await;
    definition(&fixture, "good", NIGHT);
    definition(&fixture, "night", NIGHT);
    (21..=23).for_each(|day| manifest(&fixture, &format!("2026-11-{day}"), 0..2));
    let mut service = Service::start(&fixture);
    assert_eq!(service.says("it", of).await, "found good");
    assert_eq!(service.says("it", of).await, "found night");
    definition(&fixture, "night", &NIGHT.replace("transcribe\"", "transcrib\""));
    fixture.clock.advance(10_001);
    let message = service.says("it", of).await;
    assert!(message.contains("jobs/night.toml:") && message.contains("did you mean `transcribe`?"), "{message}");
    let broken = |event: &Scheduling| match event {
        Scheduling::States(states) => Some(states.iter().filter(|one| one.broken).cloned().collect::<Vec<_>>()),
        _ => None,
    };
    let states: Vec<ScheduleState> = service.says("how they stand", broken).await;
    assert_eq!(states.iter().map(|one| (one.definition.as_str(), one.next)).collect::<Vec<_>>(), [("night", None)]);
    service.looks(&fixture).await;
    // It starts nothing, and stops no other; it is told once.
    set(&fixture, "2026-11-20T20:30:00Z");
    assert_eq!(service.starts().await.0, "good-2026-11-21");
    service.looks(&fixture).await;
    assert_eq!(service.count(|event| matches!(event, Scheduling::Broken { .. })), 1);
    assert_eq!(batches(&fixture).await, ["good-2026-11-21"]);
    // Mended within its window, its night is made up for.
    definition(&fixture, "night", NIGHT);
    fixture.clock.advance(10_001);
    assert_eq!(service.says("it", of).await, "mended night");
    assert_eq!(service.starts().await.0, "night-2026-11-21");
    // An hour earlier, and with somebody else to tell.
    assert_eq!(service.folder.notify_of("night"), None);
    definition(&fixture, "night", &format!("{}[notify]\ncommand = \"./tell.sh\"\n", NIGHT.replace("0 2", "0 1")));
    fixture.clock.advance(10_001);
    assert_eq!(service.says("it", of).await, "changed night");
    let notify = (Notify::Command("./tell.sh".into()), fixture.path("jobs"));
    assert_eq!(service.folder.notify_of("night"), Some(notify));
    service.looks(&fixture).await;
    set(&fixture, "2026-11-21T19:30:00Z");
    assert_eq!(service.starts().await.0, "night-2026-11-22");
    set(&fixture, "2026-11-21T20:30:00Z");
    assert_eq!(service.starts().await.0, "good-2026-11-22");
    fs::remove_file(fixture.path("jobs/night.toml")).unwrap();
    fixture.clock.advance(10_001);
    assert_eq!(service.says("it", of).await, "gone night");
    service.looks(&fixture).await;
    set(&fixture, "2026-11-22T22:30:00Z");
    assert_eq!(service.starts().await.0, "good-2026-11-23");
    service.looks(&fixture).await;
    assert_eq!(service.count_starts(), 5);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cron_starts_no_old_nights() {
    let fixture = fixture("2026-11-16T12:00:00Z").await;
    definition(&fixture, "night", &NIGHT.replace("* * *", "* * sun"));
    (17..=22).for_each(|day| manifest(&fixture, &format!("2026-11-{day}"), 0..1));
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    for day in ["2026-11-17T12:00:00Z", "2026-11-20T12:00:00Z"] {
        set(&fixture, day);
        service.looks(&fixture).await;
    }
    definition(&fixture, "night", NIGHT);
    service.looks(&fixture).await;
    assert_eq!(service.count_starts(), 0, "{:#?}", service.message);
    set(&fixture, "2026-11-20T20:30:00Z");
    assert_eq!(service.starts().await.0, "night-2026-11-21");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_name_the_first_runs() {
    let fixture = fixture("2026-11-20T20:00:00Z").await;
    definition(&fixture, "a", &format!("name = \"night\"\n{NIGHT}"));
    definition(&fixture, "b", &format!("name = \"night\"\n{NIGHT}"));
    definition(&fixture, "c", &NIGHT.replace("{name}-{date}", "night-{date}"));
    manifest(&fixture, "2026-11-21", 0..2);
    let mut service = Service::start(&fixture);
    let clash = |event: &Scheduling| of(event).filter(|message| message.starts_with("clash"));
    let message = service.says("two names", clash).await;
    assert!(message.contains("`night` is the name of") && message.contains("jobs/a.toml, too"), "{message}");
    let message = service.says("two batches", clash).await;
    assert!(
        message.starts_with("clash c it would make the same batch as")
            && message.contains("jobs/a.toml, `night-2026-11-2"),
        "{message}"
    );
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    assert_eq!(service.starts().await.0, "night-2026-11-21");
    // When the first is gone, the second takes over, once.
    fs::remove_file(fixture.path("jobs/a.toml")).unwrap();
    fs::remove_file(fixture.path("jobs/c.toml")).unwrap();
    fixture.clock.advance(10_001);
    let mended = |event: &Scheduling| of(event).filter(|message| message == "mended night");
    service.says("that the name is free", mended).await;
    service.looks(&fixture).await;
    assert_eq!(service.count_starts(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_anothers_is_told_at_once_and_at_night() {
    let fixture = fixture("2026-11-20T20:00:00Z").await;
    manifest(&fixture, "2026-11-21", 0..2);
    definition(
        &fixture,
        "other",
        &NIGHT.replace("{name}-{date}", "night-2026-11-21").replace("{date}.csv", "2026-11-21.csv"),
    );
    fixture.submit(&fixture.path("jobs/other.toml")).await;
    fs::remove_file(fixture.path("jobs/other.toml")).unwrap();
    definition(&fixture, "night", NIGHT);
    let mut service = Service::start(&fixture);
    let clash = |event: &Scheduling| of(event).filter(|message| message.starts_with("clash"));
    let message = service.says("whose it is", clash).await;
    assert!(message.contains("a batch `night-2026-11-21` already, and it is of the definition `other`"), "{message}");
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    let (why, hint) = service.cannot_start().await;
    assert!(why.contains("it is of the definition `other`") && hint.unwrap().contains("name of their own"), "{why}");
    service.stop().await;
}
