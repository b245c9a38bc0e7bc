//! Services with different files of one definition: only one content of it starts runs.

use wavebatch::{domain::environment::Environment, server::Scheduling, store::Store};

use super::service::{NIGHT, Service, batches, fixture, manifest, set};
use crate::support::Fixture;

/// Each night at three, and in another batch.
fn later() -> String {
    NIGHT.replace("0 2 * * *", "0 3 * * *").replace("{name}-{date}", "{name}-v2-{date}")
}

fn write(fixture: &Fixture, node: &str, text: &str) {
    let text = text.replace("{date}.csv", "../jobs/{date}.csv");
    fixture.write(&format!("{node}/night.toml"), text);
}

/// Two services, each with a folder and a ledger handle of its own, as on two machines.
async fn two() -> (Fixture, Store, [Service; 2]) {
    let fixture = fixture("2026-11-20T12:00:00Z").await;
    for date in ["2026-11-21", "2026-11-22", "2026-11-23"] {
        let first = date[8..].parse::<usize>().unwrap() * 10;
        manifest(&fixture, date, first..first + 2);
    }
    write(&fixture, "a", NIGHT);
    write(&fixture, "b", NIGHT);
    let other = fixture.second_store().await;
    let services = [Service::with(&fixture.store, &fixture, "a"), Service::with(&other, &fixture, "b")];
    (fixture, other, services)
}

fn told(event: &Scheduling) -> Option<String> {
    match event {
        Scheduling::OtherContent { why, .. } => Some(why.clone()),
        _ => None,
    }
}

/// Lets time pass until a service says this for the `nth` time, and returns what it said.
async fn hears<T>(service: &mut Service, fixture: &Fixture, nth: usize, is: impl Fn(&Scheduling) -> Option<T>) -> T {
    for _ in 0..10 {
        service.looks(fixture).await;
        service.count(|_| true);
        if let Some(found) = service.message.iter().filter_map(&is).nth(nth - 1) {
            return found;
        }
    }
    panic!("it never says so: {:#?}", service.message);
}

fn mended(event: &Scheduling) -> Option<()> {
    matches!(event, Scheduling::Mended { definition, .. } if definition == "night").then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_rolled_out_without_a_stop() {
    let (fixture, _other, [mut a, mut b]) = two().await;
    a.looks(&fixture).await;
    b.looks(&fixture).await;
    assert_eq!(a.count(|event| told(event).is_some()) + b.count(|event| told(event).is_some()), 0, "they are the same");
    // The first machine is updated, and the second one is not yet.
    write(&fixture, "a", &later());
    a.looks(&fixture).await;
    let why = hears(&mut b, &fixture, 1, told).await;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let process = format!("process {} on {host} has ", std::process::id());
    assert_eq!(why.matches(&process).count(), 2, "{why}");
    assert_eq!(why.matches(", which is in force").count(), 1, "{why}");
    // Two at night is the old one's time, and nothing starts; three is the new one's.
    set(&fixture, "2026-11-20T20:30:01Z");
    a.looks(&fixture).await;
    b.looks(&fixture).await;
    assert!(batches(&fixture).await.is_empty(), "{:?}", batches(&fixture).await);
    set(&fixture, "2026-11-20T21:30:01Z");
    assert_eq!(a.starts().await.0, "night-v2-2026-11-21");
    // The second machine is updated as well, and the first one stops: it goes on.
    write(&fixture, "b", &later());
    hears(&mut b, &fixture, 1, mended).await;
    a.stop().await;
    set(&fixture, "2026-11-21T21:30:01Z");
    assert_eq!(b.starts().await.0, "night-v2-2026-11-22");
    b.stop().await;
    assert!(fixture.store.schedule_nodes(Environment::Live).await.unwrap().is_empty(), "both have left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_that_starts_again_changes_nothing_and_takes_over_when_it_is_alone() {
    let (fixture, other, [mut a, mut b]) = two().await;
    a.looks(&fixture).await;
    b.looks(&fixture).await;
    write(&fixture, "a", &later());
    a.looks(&fixture).await;
    hears(&mut b, &fixture, 1, told).await;
    b.stop().await;
    let mut b = Service::with(&other, &fixture, "b");
    hears(&mut b, &fixture, 1, told).await;
    // A fault in the new one brings the old one back no more.
    write(&fixture, "a", "task = ");
    a.looks(&fixture).await;
    b.looks(&fixture).await;
    assert_eq!(b.count(|event| mended(event).is_some()), 0, "{:#?}", b.message);
    // The rollout is taken back.
    write(&fixture, "a", NIGHT);
    a.looks(&fixture).await;
    hears(&mut b, &fixture, 1, mended).await;
    set(&fixture, "2026-11-20T20:30:01Z");
    a.looks(&fixture).await;
    b.looks(&fixture).await;
    fixture.until("the night", async || batches(&fixture).await == ["night-2026-11-21"]).await;
    a.stop().await;
    b.stop().await;
}

crate::support::server::on_postgres_too! {
    a_new_version_is_rolled_out_without_a_stop,
    an_old_version_that_starts_again_changes_nothing_and_takes_over_when_it_is_alone,
}
