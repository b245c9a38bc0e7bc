//! Runs that cannot be started, and services that die over them.

use std::time::Duration;

use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener};
use wavebatch::{
    definition::{Columns, Definition, Overrides},
    domain::{environment::Environment, retry::PauseKind, transcription::Transcription},
    server::Scheduling,
    store::{DefinitionContent, NewBatch, NewRun, Resubmission, ScheduleAdvance},
};

use crate::cli::{json, wavebatch};

use super::service::{NIGHT, Service, batches, definition, finished, fixture, id, manifest, ms, rows, set, work};

/// More than a lease.
const LEASE: i64 = 100_000_001;

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_comes_late_is_waited_for() {
    let fixture = fixture("2026-11-20T20:29:00Z").await;
    definition(&fixture, "night", NIGHT);
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    let (why, _) = service.cannot_start().await;
    assert!(why.contains("`manifest`: `2026-11-21.csv`: there is no such file"), "{why}");
    let tried = async |failures: i64| {
        let wait = [0, 60_000, 120_000, 240_000][failures as usize];
        let next = |now: i64| now + wait;
        fixture
            .until("the next try", || async {
                let views = fixture.store.schedule_views(Environment::Live).await.unwrap();
                let due = views[0].waiting[0].due_at;
                due > next(fixture.clock.now()) - 5_000 && due <= next(fixture.clock.now())
            })
            .await;
    };
    tried(1).await;
    // Anybody may look, without a service's help.
    let args = ["schedule", "jobs", "--json", "--database", "wavebatch.db"];
    let listed = json(&wavebatch(fixture.dir.path(), &args).output().unwrap());
    let dated = listed["definitions"].as_array().unwrap().iter().find(|one| one["name"] == "night").unwrap();
    assert_eq!(dated["waiting"][0]["date"], "2026-11-21");
    assert!(dated["waiting"][0]["why"].as_str().unwrap().contains("there is no such file"), "{dated:#}");
    let message = wavebatch(fixture.dir.path(), &["schedule", "jobs", "--database", "wavebatch.db"]).output().unwrap();
    let message = String::from_utf8_lossy(&message.stdout).into_owned();
    assert!(message.contains("  waits     Sat 2026-11-21 02:00 +05:30  "), "{message}");
    fixture.clock.advance(60_000);
    tried(2).await;
    fixture.write("jobs/2026-11-21.csv", "key,source\n");
    fixture.clock.advance(120_000);
    let (why, _) = service.cannot_start().await;
    assert!(why.contains("allow_empty"), "another reason is told: {why}");
    tried(3).await;
    manifest(&fixture, "2026-11-21", 0..2);
    fixture.clock.advance(240_000);
    assert_eq!(service.starts().await, ("night-2026-11-21".to_owned(), 2));
    assert_eq!(service.count(|event| matches!(event, Scheduling::CouldNotStart { .. })), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_manifest_never_comes_is_let_go_after_seven_newer_ones() {
    let fixture = fixture("2026-11-20T12:00:00Z").await;
    definition(&fixture, "night", NIGHT);
    (22..=30).for_each(|day| manifest(&fixture, &format!("2026-11-{day}"), 0..1));
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    service.cannot_start().await;
    for day in 21..=27 {
        assert_eq!(service.count(|event| matches!(event, Scheduling::Dropped { .. })), 0);
        set(&fixture, &format!("2026-11-{day}T20:30:00Z"));
        assert_eq!(service.starts().await.0, format!("night-2026-11-{}", day + 1));
    }
    fixture.clock.advance(16 * 60_000);
    service.looks(&fixture).await;
    let dropped =
        |event: &Scheduling| matches!(event, Scheduling::Dropped { at, .. } if *at == ms("2026-11-20T20:30:00Z"));
    assert_eq!(service.count(dropped), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_batch_is_left_alone_until_its_user_resumes_it() {
    let fixture = fixture("2026-11-20T20:29:00Z").await;
    definition(&fixture, "night", &NIGHT.replace("{name}-{date}", "all"));
    (21..=22).for_each(|day| manifest(&fixture, &format!("2026-11-{day}"), day * 2..day * 2 + 2));
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    assert_eq!(service.starts().await, ("all".to_owned(), 2));
    let batch = id(&fixture, "all").await;
    fixture.store.pause(batch, PauseKind::User, "the office moves".into()).await.unwrap();
    set(&fixture, "2026-11-21T20:30:00Z");
    let waits = |event: &Scheduling| match event {
        Scheduling::Waits { why, .. } => Some(why.clone()),
        _ => None,
    };
    let why = service.says("that it waits", waits).await;
    assert!(why.contains("paused by you: the office moves") && why.contains("wavebatch resume all"), "{why}");
    fixture.clock.advance(120_000);
    service.looks(&fixture).await;
    assert_eq!(service.count(|event| waits(event).is_some()), 1);
    fixture.store.resume(batch, true).await.unwrap();
    fixture.clock.advance(60_000);
    // Its window was closed meanwhile: it is not running, and takes new lines.
    assert_eq!(service.starts().await.0, "all");
    assert_eq!(rows(&fixture, "all").await.len(), 4);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_between_noticing_and_submitting_loses_nothing() {
    let fixture = fixture("2026-11-20T20:29:00Z").await;
    definition(&fixture, "night", NIGHT);
    manifest(&fixture, "2026-11-21", 0..5);
    let (store, name) = (&fixture.store, "night");
    let night = DefinitionContent { definition: name.into(), content: "before".into(), is_scheduled: true };
    store.announce_definitions("dead", Environment::Live, vec![night]).await.unwrap();
    store.leave_definitions("dead").await.unwrap();
    let from = store.settled(Environment::Live).await.unwrap()[0].1;
    set(&fixture, "2026-11-20T20:30:00Z");
    let run = NewRun { at: ms("2026-11-20T20:30:00Z"), date: "2026-11-21".parse().unwrap() };
    let to = fixture.clock.now();
    let settling = ScheduleAdvance {
        definition: name.into(),
        environment: Environment::Live,
        from,
        to,
        runs: vec![run],
        one_for_all: false,
    };
    store.settle_schedule(settling).await.unwrap().expect("the first to see it");
    let taken = store.take_run(Environment::Live, &[name.into()]).await.unwrap().expect("it is due");
    // And half way through: its batch is there, and none of its lines.
    let definition = Overrides { now: Some("2026-11-20T20:30:00Z".parse().unwrap()), ..Overrides::default() };
    let definition = Definition::load(
        &fixture.path("jobs/night.toml"),
        wavebatch::tasks::Registry::built_in().definitions(),
        &definition,
    )
    .unwrap();
    store.run_begins(&taken, definition.batch.as_str()).await.unwrap();
    let columns = Columns { all: vec!["key".into(), "source".into()], ..Columns::default() };
    let spec = (&definition.spec(&columns)).into();
    let batch = NewBatch {
        definition: name.into(),
        ..NewBatch::of::<Transcription>(definition.batch.as_str(), Environment::Live, spec)
    };
    store.begin(batch, Resubmission::default()).await.unwrap();
    drop(taken);

    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    assert_eq!(service.count_starts(), 0, "its lease still runs");
    manifest(&fixture, "2026-11-22", 5..6);
    fixture.clock.advance(LEASE);
    assert_eq!(service.starts().await, ("night-2026-11-21".to_owned(), 5));
    set(&fixture, "2026-11-22T20:30:00Z");
    work(&fixture, "its lines", || finished(&fixture, "night-2026-11-21")).await;
    fixture.all_well(id(&fixture, "night-2026-11-21").await, 5, 1).await;
    service.stop().await;
}

/// A web server that answers when it is told to. Returns its address.
async fn slow_web(
    asked: tokio::sync::mpsc::UnboundedSender<()>,
    answers: tokio::sync::watch::Receiver<bool>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/calls.csv", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (asked, mut answers) = (asked.clone(), answers.clone());
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4_096]).await;
                let _ = asked.send(());
                let _ = answers.wait_for(|may| *may).await;
                let body = "key,source\n1,https://rec.example.com/1.wav\n";
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_is_cut_off_is_begun_again() {
    let fixture = fixture("2026-11-20T20:29:00Z").await;
    let (asked, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let (may, answers) = tokio::sync::watch::channel(false);
    let address = slow_web(asked, answers).await;
    definition(&fixture, "night", &NIGHT.replace("{date}.csv", &address));
    definition(&fixture, "other", NIGHT);
    manifest(&fixture, "2026-11-21", 0..1);
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    set(&fixture, "2026-11-20T20:30:00Z");
    assert_eq!(service.starts().await.0, "other-2026-11-21", "the other is not held up");
    hears.recv().await.expect("it asks for the manifest");
    // Told to stop, it gives the run back: the next one need not wait.
    service.stop().await;
    let service = Service::start(&fixture);
    tokio::time::timeout(Duration::from_secs(10), hears.recv()).await.expect("at once").unwrap();
    service.kill().await;
    may.send(true).unwrap();
    let mut service = Service::start(&fixture);
    service.looks(&fixture).await;
    assert_eq!((service.count_starts(), batches(&fixture).await.len()), (0, 1), "its lease still runs");
    set(&fixture, "2026-11-22T12:00:00Z");
    let name = |event: &Scheduling| match event {
        Scheduling::Started { name, .. } if name.starts_with("night") => Some(name.clone()),
        _ => None,
    };
    service.says("the night", name).await;
    service.stop().await;
}
