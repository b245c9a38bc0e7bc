//! The admin address and the self-probe on real sockets, with the numbers held against what was done.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        callback::{Keyring, Secret},
        cost::Rates,
        job::{BatchId, JobState},
        pool::{Limits, Pool},
        retry::PauseKind,
    },
    runner::{AfterDelivery, Event},
    sandbox::{Config, Fault, Match, What},
    server::{
        Metrics, Receiver, ReceiverSettings, ScheduleState, Secrets, ServerTimeouts,
        probe::{self, ProbeSettings},
    },
};

use crate::support::{
    Fixture,
    watching::{Lock, Page},
    web::{Page as Answer, Web},
};

const SECRET: Secret = Secret::new([5; 32]);

async fn status(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_and_ready_and_says_nothing_else() {
    let fixture = Fixture::new().await;
    let admin = fixture.admin(&Metrics::new()).await;
    let at = format!("http://{}", admin.addr());
    assert_eq!(status(&format!("{at}/healthz")).await, (200, "ok\n".into()));
    assert_eq!(status(&format!("{at}/readyz")).await, (200, "ok\n".into()));
    for path in ["/", "/metrics/", "/callbacks/a/b", "/readyz/x"] {
        assert_eq!(status(&format!("{at}{path}")).await, (404, String::new()), "{path}");
    }
    let posted = reqwest::Client::new().post(format!("{at}/metrics")).send().await.unwrap();
    assert_eq!(posted.status().as_u16(), 404);
    admin.shutdown().await;
    assert!(reqwest::get(format!("{at}/healthz")).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_while_the_ledger_cannot_be_written() {
    let fixture = Fixture::new().await;
    let admin = fixture.admin(&Metrics::new()).await;
    let (ready, alive) = (format!("http://{}/readyz", admin.addr()), format!("http://{}/healthz", admin.addr()));
    let lock = Lock::on(fixture.store.file().unwrap()).await;
    let began = Instant::now();
    let asked = futures::future::join_all((0..5).map(|_| status(&ready))).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for answer in asked {
        assert_eq!(answer, (503, "the ledger cannot be written in time\n".into()));
    }
    assert_eq!(status(&alive).await.0, 200);
    assert_eq!(Page::of(admin.addr()).await.get("wavebatch_ledger_up"), 1.0, "it can be read");
    lock.release().await;
    fixture.until("ready again", || async { status(&ready).await.0 == 200 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_in_numbers() {
    let mut fixture = Fixture::timeless(Config::default()).await;
    fixture.limits = [(Pool::Pulse, Limits { requests_per_minute: Some(100), concurrency: Some(8) })].into();
    fixture.calls(5);
    fixture.sandbox.script([Fault::new(Match::First(4), What::status(429))]);
    let metrics = Metrics::new();
    let (batch, ran) = fixture.go("", "concurrency = 1").await;
    ran.events.iter().for_each(|event| metrics.event(event));
    fixture.all_well(batch, 5, 1).await;

    let admin = fixture.admin(&metrics).await;
    let page = Page::of(admin.addr()).await;
    for (sample, expected) in [
        ("wavebatch_ledger_up", 1.0),
        ("wavebatch_calls_total{pool=\"pulse\",outcome=\"answered\"}", 5.0),
        ("wavebatch_calls_total{pool=\"pulse\",outcome=\"rate_limited\"}", 4.0),
        ("wavebatch_calls_total{pool=\"tts\",outcome=\"answered\"}", 0.0),
        ("wavebatch_rate_limited_total{pool=\"pulse\"}", 4.0),
        ("wavebatch_jobs_finished_total{state=\"succeeded\"}", 5.0),
        ("wavebatch_jobs_finished_total{state=\"failed\"}", 0.0),
        ("wavebatch_jobs{task=\"transcribe\",state=\"succeeded\"}", 0.0),
        ("wavebatch_lines_left", 0.0),
        ("wavebatch_oldest_due_seconds", 0.0),
        ("wavebatch_calls_in_flight{pool=\"pulse\"}", 0.0),
        ("wavebatch_pool_pace_ratio{pool=\"pulse\"}", 0.5),
        ("wavebatch_pool_pace_ratio{pool=\"pulse-pro\"}", 1.0),
        ("wavebatch_limit_use_ratio{pool=\"pulse\",limit=\"concurrency\"}", 0.0),
        ("wavebatch_limit_use_ratio{pool=\"pulse\",limit=\"requests_per_minute\"}", 9.0 / 50.0),
        ("wavebatch_sinks_down", 0.0),
        ("wavebatch_reserved_dollars", 0.0),
    ] {
        assert!((page.get(sample) - expected).abs() < 1e-9, "{sample} {}", page.get(sample));
    }
    let spent = fixture.store.batch_by_id(batch).await.unwrap().spent;
    assert!(spent > 0 && (page.get("wavebatch_spend_dollars") * 1e6 - spent as f64).abs() < 0.5);
    assert_eq!(page.find("wavebatch_limit_use_ratio{pool=\"tts\",limit=\"concurrency\"}"), None, "no limit is set");
    assert_eq!(page.find("wavebatch_probe_success"), None, "nothing is probed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_looked_at_once_in_five_seconds() {
    let fixture = Fixture::timeless(Config::default()).await;
    let admin = fixture.admin(&Metrics::new()).await;
    let queued = "wavebatch_jobs{task=\"transcribe\",state=\"queued\"}";
    assert_eq!(Page::of(admin.addr()).await.get(queued), 0.0);
    fixture.calls(3);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    assert_eq!(Page::of(admin.addr()).await.get(queued), 0.0, "the numbers of before");
    fixture.clock.advance(60_000);
    let page = Page::of(admin.addr()).await;
    assert_eq!((page.get(queued), page.get("wavebatch_lines_left")), (3.0, 3.0));
    assert!(page.get("wavebatch_oldest_due_seconds") >= 60.0);
    fixture.store.pause(batch, PauseKind::User, "for now".into()).await.unwrap();
    fixture.clock.advance(5_000);
    let page = Page::of(admin.addr()).await;
    assert_eq!(page.get("wavebatch_batches_paused{kind=\"user\"}"), 1.0);
    assert_eq!(page.get("wavebatch_batches_paused{kind=\"sink\"}"), 0.0);
    assert_eq!(page.get("wavebatch_oldest_due_seconds"), 0.0, "nobody may work on it");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_deliveries_are_told_by_what_follows() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    let batch = fixture.submit(&fixture.definition("formats = [\"txt\"]", "")).await;
    fixture.write("out/call-0001.txt/stands", "in the way");
    let metrics = Metrics::new();
    fixture.run(batch).await.events.iter().for_each(|event| metrics.event(event));
    let admin = fixture.admin(&metrics).await;
    let page = Page::of(admin.addr()).await;
    assert_eq!(page.get("wavebatch_deliveries_failed_total{then=\"refused\"}"), 1.0);
    assert_eq!(page.get("wavebatch_jobs_finished_total{state=\"failed\"}"), 1.0);
    assert_eq!(page.get("wavebatch_jobs_finished_total{state=\"succeeded\"}"), 2.0);

    std::fs::remove_dir_all(fixture.path("out")).unwrap();
    fixture.write("out", "no folder");
    fixture.store.redeliver(batch).await.unwrap();
    fixture.store.resume(batch, false).await.unwrap();
    fixture.run(batch).await.events.iter().for_each(|event| metrics.event(event));
    fixture.clock.advance(5_000);
    let page = Page::of(admin.addr()).await;
    assert!(page.get("wavebatch_deliveries_failed_total{then=\"paused\"}") >= 1.0);
    assert_eq!(page.get("wavebatch_batches_paused{kind=\"sink\"}"), 1.0);
    assert_eq!(page.get("wavebatch_sinks_down"), 0.0, "it is a paused batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_schedules_and_notifications_are_shown() {
    let fixture = Fixture::new().await;
    let metrics = Metrics::new();
    let admin = fixture.admin(&metrics).await;
    let failed = |then| Event::DeliveryFailed { batch: BatchId(1), then };
    metrics.event(&failed(AfterDelivery::Retried));
    metrics.event(&failed(AfterDelivery::Retried));
    metrics.event(&failed(AfterDelivery::Refused));
    let page = Page::of(admin.addr()).await;
    assert_eq!(page.get("wavebatch_deliveries_failed_total{then=\"retried\"}"), 2.0);
    assert_eq!(page.get("wavebatch_deliveries_failed_total{then=\"refused\"}"), 1.0);
    assert_eq!(page.get("wavebatch_sinks_down"), 1.0);
    let key = "k".to_owned();
    metrics.event(&Event::Finished { batch: BatchId(1), key, state: JobState::Succeeded, audio_ms: None, error: None });
    assert_eq!(Page::of(admin.addr()).await.get("wavebatch_sinks_down"), 0.0);

    metrics.notice(true);
    metrics.notice(false);
    metrics.notice(true);
    let nightly = ScheduleState {
        definition: "nightly".into(),
        broken: false,
        next: Some(1_800_000_000_000),
        last_started: None,
        waiting: 1,
        left_over: 42,
    };
    let broken =
        ScheduleState { definition: "bad \"one\"".into(), broken: true, next: None, waiting: 0, ..nightly.clone() };
    metrics.schedules(vec![nightly.clone(), broken]);
    let page = Page::of(admin.addr()).await;
    assert_eq!(page.get("wavebatch_notifications_total{result=\"sent\"}"), 2.0);
    assert_eq!(page.get("wavebatch_notifications_total{result=\"failed\"}"), 1.0);
    assert_eq!(page.get("wavebatch_schedule_waiting{definition=\"nightly\"}"), 1.0);
    assert_eq!(page.get("wavebatch_schedule_lines_left_over{definition=\"nightly\"}"), 42.0);
    assert_eq!(page.get("wavebatch_schedule_next_timestamp_seconds{definition=\"nightly\"}"), 1.8e9);
    assert_eq!(page.get("wavebatch_schedule_broken{definition=\"bad \\\"one\\\"\"}"), 1.0);
    metrics.schedules(vec![nightly]);
    let page = Page::of(admin.addr()).await;
    assert_eq!(page.find("wavebatch_schedule_broken{definition=\"bad \\\"one\\\"\"}"), None, "its file is gone");
}

fn settings(fixture: &Fixture, public_url: &str) -> ProbeSettings {
    let every = Duration::from_millis(20);
    ProbeSettings {
        every,
        ..ProbeSettings::new(public_url.parse().unwrap(), Keyring::new(vec![SECRET]), fixture.clock.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_is_probed_through_its_public_address() {
    let fixture = Fixture::new().await;
    let metrics = Metrics::new();
    let receive = ReceiverSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        secrets: Secrets::new(vec![Secret::new([6; 32]), SECRET]),
        rates: Rates::default(),
        timeouts: ServerTimeouts::default(),
        metrics: metrics.clone(),
    };
    let receiver = Receiver::start(fixture.store.clone(), receive).await.unwrap();
    let admin = fixture.admin(&metrics).await;
    let (public, stop) = (format!("http://{}/behind/a/proxy", receiver.addr()), CancellationToken::new());
    let watching = tokio::spawn(probe::watch(settings(&fixture, &public), metrics.clone(), stop.clone()));
    let probed = async |well: f64| Page::of(admin.addr()).await.find("wavebatch_probe_success") == Some(well);
    fixture.until("well", || probed(1.0)).await;
    let at = Page::of(admin.addr()).await.get("wavebatch_probe_last_success_timestamp_seconds");
    assert!((at - fixture.clock.now() as f64 / 1e3).abs() < 20.0, "{at}");
    receiver.shutdown().await;
    fixture.until("it fails", || probed(0.0)).await;
    let last = Page::of(admin.addr()).await.get("wavebatch_probe_last_success_timestamp_seconds");
    assert!(last >= at, "it stays");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), watching).await.expect("it stops").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_fails_says_what_to_look_at() {
    let fixture = Fixture::new().await;
    let message = async |url: &str| {
        let settings = ProbeSettings { timeouts: Duration::from_millis(500), ..settings(&fixture, url) };
        probe::once(&settings).await.unwrap_err().to_string()
    };
    for (status, words) in [
        (200, "status 200: somebody else answers there"),
        (301, "status 301: it redirects"),
        (404, "status 404: the proxy does not pass the path on"),
        (405, "status 405: the proxy does not pass the path on"),
        (502, "status 502: the proxy does not reach the receiver"),
    ] {
        let web = Web::serve([("*", Answer::Status(status))]).await;
        let message = message(&web.url("/")).await;
        assert!(message.starts_with(words), "{message}");
    }
    let silent = Web::serve([("*", Answer::Hang)]).await;
    assert!(message(&silent.url("/")).await.contains("did not answer within"));
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(
        message(&format!("http://{gone}")).await,
        format!("{gone} refuses the connection; is the reverse proxy running, and the port open?")
    );
    // No name ends in that, by RFC 6761.
    let nowhere = message("http://wavebatch.invalid").await;
    assert_eq!(nowhere, "the name wavebatch.invalid is not resolved; look at its DNS record");
}
