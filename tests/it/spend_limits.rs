//! `[spend]`: what a day and a month may cost, for all batches and processes together.

use std::{fs, path::Path, process::Output, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        cost::MicroUsd,
        environment::Environment,
        job::JobState::{Queued, Running, Succeeded},
        retry::PauseKind,
        spend::{Period, SpendRule},
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, Sandbox, What},
};

use crate::{
    cli,
    support::{
        Fixture, KEY,
        ear::{Ear, Heard, Reply},
        synthesis,
    },
};

/// What one call for one second of audio costs, in micro-USD.
const A_CALL: i64 = 84;
const HOUR: i64 = 3_600_000;

/// A house whose day has 12 hours left, and may cost what seven calls do.
async fn fixture() -> Fixture {
    let mut fixture = Fixture::with(Config { latency: Duration::from_millis(5), ..Config::default() }).await;
    fixture.spend = Some(Arc::new(SpendRule { day: Some(MicroUsd(600)), month: None, zone: TimeZone::UTC }));
    fixture.clock.advance(36 * HOUR - fixture.clock.now() % (24 * HOUR));
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_keep_the_days_limit_and_the_next_day_goes_on() {
    let fixture = fixture().await;
    fixture.calls(10);
    // Some calls are paid for and worth nothing: they count as well.
    fixture.sandbox.script([Fault::new(Match::Nth(3), What::Garbage200)]);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 8")).await;
    let second = fixture.second_store().await;
    let never = CancellationToken::new;
    let (ran, _) = tokio::join!(fixture.run(batch), fixture.run_on(&second, batch, never(), never()));
    assert_eq!(ran.end, RunEnd::Paused);
    assert_eq!(fixture.sandbox.books().billed, 7, "600 buys 7 calls of 84");
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    assert_eq!((row.spent, row.reserved), (7 * A_CALL, 0));
    let (kind, reason) = row.pause.unwrap();
    assert_eq!(kind, PauseKind::SpendDay);
    assert!(reason.starts_with("spend limit of the day: another call could pass 0.0006 USD"), "{reason}");
    // Another run has nothing to spend, either.
    assert_eq!(fixture.run(batch).await.end, RunEnd::Paused);
    assert_eq!(fixture.sandbox.books().billed, 7);
    fixture.clock.advance(12 * HOUR);
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    fixture.all_well(batch, 10, 2).await;
    let rule = fixture.spend.as_ref().unwrap();
    let uses = fixture.store.spend_uses(None, Environment::Live, rule).await.unwrap();
    assert_eq!((uses[0].period, uses[0].spent), (Period::Day, MicroUsd(4 * A_CALL)), "of today alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_on_at_midnight() {
    let fixture = fixture().await;
    fixture.calls(10);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 2")).await;
    let (runner, events) = fixture.runner_on(&fixture.store);
    let stop = CancellationToken::new();
    let served = tokio::spawn({
        let stop = stop.clone();
        async move { runner.serve(stop, CancellationToken::new()).await }
    });
    let rests = async || {
        let (row, counts) = (fixture.store.batch_by_id(batch).await.unwrap(), fixture.counts(batch).await);
        row.pause.is_some() && counts.of(Running) == 0
    };
    fixture.until("the limit", rests).await;
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Queued)), (7, 3));
    let settings = &fixture.store.registered().await.unwrap()[0].settings;
    assert!(settings.contains(r#""spend":{"day_usd":0.0006"#), "others compare it: {settings}");
    fixture.clock.advance(12 * HOUR - 60_000);
    // It looks each second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(fixture.counts(batch).await.of(Queued), 3, "the day is not over");
    fixture.clock.advance(60_000);
    fixture.until("the next day", async || fixture.counts(batch).await.of(Succeeded) == 10).await;
    stop.cancel();
    served.await.unwrap().unwrap();
    drop(events);
    fixture.all_well(batch, 10, 1).await;
}

/// A zone in which the next midnight is at least twelve hours away.
fn far_from_midnight() -> &'static str {
    if Timestamp::now().to_zoned(TimeZone::UTC).hour() < 12 { "UTC" } else { "Etc/GMT+12" }
}

fn settings(dir: &Path, ear: &Ear, day_usd: &str) {
    let zone = far_from_midnight();
    let text = format!(
        "[notify]\nurl = \"{}\"\n[spend]\nday_usd = {day_usd}\nmonth_usd = 100\ntimezone = \"{zone}\"\n",
        ear.url()
    );
    fs::write(dir.join("wavebatch.toml"), text).unwrap();
}

async fn wavebatch(dir: &Path, args: &[&str], api: &Sandbox) -> Output {
    let mut command = cli::wavebatch(dir, args);
    command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", api.base_url());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_close_or_reached_is_told_once() {
    let (api, ear) = (Sandbox::start(Config::default()).await.unwrap(), Ear::listen([Reply::Status(200)]).await);
    let dir = cli::fixture();
    for i in 1..=2 {
        fs::write(dir.path().join(format!("{i}.wav")), synthesis(&format!("words of call {i}"), 1.0, i)).unwrap();
    }
    fs::write(dir.path().join("calls.csv"), "key,source\ncall-1,1.wav\ncall-2,2.wav\n").unwrap();
    let definition = "task = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                      [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n";
    fs::write(dir.path().join("night.toml"), definition).unwrap();
    settings(dir.path(), &ear, "0.0001");
    let events = || {
        let event = |heard: &Heard| heard.json()["event"].as_str().unwrap().to_owned();
        ear.heard().iter().map(event).collect::<Vec<_>>()
    };
    let ran = wavebatch(dir.path(), &["run", "night.toml"], &api).await;
    assert_eq!(cli::code(&ran), 3, "{}", cli::stderr(&ran));
    let said = cli::stderr(&ran);
    let close = "80 % of the spend limit of the day is used: 0.000084 of 0.0001 USD ([spend] day_usd)";
    assert!(said.contains(close) && said.contains("spend limit of the day: another call"), "{said}");
    assert_eq!(api.books().billed, 1);
    assert_eq!(events(), ["spend_close", "paused"]);
    let message = ear.heard()[0].json();
    assert!(message["reason"].as_str().unwrap().starts_with(close), "{message}");
    assert_eq!((&message["batch"], &message["definition"]), (&"night".into(), &"night".into()));

    // Neither another run nor `resume` gets past it, and nobody is told again.
    for args in [&["run", "night.toml"][..], &["resume", "night"], &["work"]] {
        wavebatch(dir.path(), args, &api).await;
    }
    assert_eq!((api.books().billed, events().len()), (1, 2));

    let status = cli::json(&wavebatch(dir.path(), &["status", "--json"], &api).await);
    assert_eq!(status["batches"][0]["pause"]["kind"], "spend_day");
    assert!(status["batches"][0]["pause"]["until"].is_string(), "{status}");
    let spend = cli::json(&wavebatch(dir.path(), &["spend", "--json"], &api).await);
    for shown in [&status["spend_limits"], &spend["spend_limits"]] {
        assert_eq!((&shown[0]["period"], &shown[1]["period"]), (&"day".into(), &"month".into()));
        assert_eq!((&shown[0]["limit_usd"], &shown[0]["spent_usd"]), (&0.0001.into(), &0.000_084.into()));
        assert_eq!((&shown[0]["reserved_usd"], &shown[0]["timezone"]), (&0.0.into(), &far_from_midnight().into()));
    }
    for verb in ["status", "spend"] {
        let message = wavebatch(dir.path(), &[verb], &api).await;
        let message = String::from_utf8(message.stdout).unwrap();
        assert!(
            message.contains("spend limit of the day: $") && message.contains("spend limit of the month: $"),
            "{message}"
        );
    }

    settings(dir.path(), &ear, "0.5");
    let ran = wavebatch(dir.path(), &["run", "night.toml"], &api).await;
    assert_eq!(cli::code(&ran), 0, "{}", cli::stderr(&ran));
    assert_eq!((api.books().billed, events().last().map(String::as_str)), (2, Some("finished")));
}

crate::support::server::on_postgres_in_the_gate! {
    two_processes_keep_the_days_limit_and_the_next_day_goes_on,
    a_service_goes_on_at_midnight,
    a_limit_that_is_close_or_reached_is_told_once,
}
