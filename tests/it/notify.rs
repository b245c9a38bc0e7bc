//! Who wants to know is told: by POST, by command, once, and whatever comes of it.

mod runs;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    clock::Clock,
    definition::Notify,
    domain::{callback::Secret, notice::NoticeEvent},
    server::{News, Notifier, NotifySettings, NotifyTimeouts, Secrets, Target},
    store::{NewNotice, Opening, Store},
};

use crate::support::ear::{Ear, Reply};

const KEY: [u8; 32] = [7; 32];

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    clock: Clock,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let opening = Opening { clock: clock.clone(), ..Opening::new(dir.path().join("wavebatch.db")) };
    Fixture { store: Store::open(opening).await.unwrap().0, clock, dir }
}

impl Fixture {
    fn target(&self, to: Notify) -> Target {
        Target { to, dir: self.dir.path().to_owned() }
    }

    fn posts_to(&self, ear: &Ear) -> NotifySettings {
        self.notifies(Notify::Url(ear.url().parse().unwrap()))
    }

    fn notifies(&self, to: Notify) -> NotifySettings {
        NotifySettings::new(Some(self.target(to)), Arc::new(|_| None), Some(Secrets::new(vec![Secret::new(KEY)])))
    }

    async fn post(&self, batch: &str) -> NewNotice {
        let notice = notice(batch);
        assert!(self.store.post_notice(notice.clone()).await.unwrap());
        notice
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

fn notice(batch: &str) -> NewNotice {
    News::could_not_start("night", batch, "the key is gone", 1_764_000_000_123).notice("1", false)
}

async fn once(settings: &NotifySettings) -> String {
    settings.notify_directly(&notice("b")).await.unwrap().unwrap_err()
}

async fn until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !there() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process is there and not merely its name on a list.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_says_all_and_is_signed() {
    let (fixture, ear) = (fixture().await, Ear::listen([Reply::Status(204)]).await);
    fixture.post("night-1").await;
    let left =
        Notifier::new(fixture.store.clone(), fixture.posts_to(&ear)).flush(Duration::from_secs(10)).await.unwrap();
    assert_eq!(left, 0);
    let heard = ear.heard().remove(0);
    assert_eq!(heard.request, "POST /hook?token=hush HTTP/1.1");
    assert_eq!(heard.headers["content-type"], "application/json");
    let timestamp = &heard.headers["wavebatch-timestamp"];
    assert!((timestamp.parse::<i64>().unwrap() - fixture.clock.now() / 1_000).abs() < 10);
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(format!("{timestamp}.{}", heard.body).as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(heard.headers["wavebatch-signature"], format!("v1={signature}"));
    let message = heard.json();
    assert_eq!(message["id"], heard.headers["wavebatch-notification"]);
    assert!(message["id"].as_str().unwrap().len() == 36);
    let mut message = message;
    message.as_object_mut().unwrap().remove("id");
    let whole = serde_json::json!({
        "text": "wavebatch: night-1 could not start: the key is gone",
        "event": "could_not_start", "at": "2025-11-24T16:00:00.123Z", "batch": "night-1", "definition": "night",
        "state": null, "reason": "the key is gone", "lines": {}, "lines_left": 0, "spend_usd": 0.0,
        "report": null, "summary": null, "sandbox": false,
    });
    assert_eq!(message, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_later_and_known_as_the_same() {
    let (fixture, ear) = (fixture().await, Ear::listen([Reply::Status(500), Reply::Status(200)]).await);
    fixture.post("b").await;
    let tries = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&tries);
    let on_sent = Arc::new(move |well| noted.lock().unwrap().push(well));
    let notifier = Notifier::new(fixture.store.clone(), NotifySettings { on_sent, ..fixture.posts_to(&ear) });
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (notifier, stop) = (notifier.clone(), stop.clone());
        async move { notifier.run(stop).await }
    });
    until("the first try fails", || *tries.lock().unwrap() == [false]).await;
    assert!(!fixture.store.is_notice_due(fixture.clock.now() + 8_000).await.unwrap(), "not before ten seconds");
    assert_eq!(ear.heard().len(), 1);
    // Until it is noted when the next try is due, the move of the clock may come too early.
    let end = Instant::now() + Duration::from_secs(10);
    while ear.heard().len() < 2 {
        assert!(Instant::now() < end, "it is not tried again");
        fixture.clock.advance(12_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("the second goes well", || *tries.lock().unwrap() == [false, true]).await;
    stop.cancel();
    running.await.unwrap();
    let heard = ear.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0].body, heard[1].body);
    assert_ne!(heard[0].headers["wavebatch-signature"], heard[1].headers["wavebatch-signature"], "another moment");
    assert_eq!(fixture.store.notices_waiting().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_otherwise_or_not_at_all_was_not_told() {
    let fixture = fixture().await;
    let elsewhere = Ear::listen([Reply::Status(200)]).await;
    let ear = Ear::listen([Reply::Redirect(elsewhere.url()), Reply::Status(410), Reply::Silence]).await;
    let timeouts = NotifyTimeouts { url: Duration::from_millis(300), ..NotifyTimeouts::default() };
    let settings = NotifySettings { timeouts, ..fixture.posts_to(&ear) };
    assert_eq!(once(&settings).await, "it was answered with HTTP 302, and redirects are not followed");
    assert_eq!(once(&settings).await, "it was answered with HTTP 410");
    assert!(once(&settings).await.starts_with("there was no answer within "));
    assert!(elsewhere.heard().is_empty());
    let nobody = Notify::Url("http://user:pw@127.0.0.1:9/hook?token=hush".parse().unwrap());
    let message = once(&fixture.notifies(nobody.clone())).await;
    assert!(
        message.starts_with("it could not be posted: ") && !message.contains("hush") && !message.contains("pw"),
        "{message}"
    );
    let unsigned = NotifySettings { secrets: None, ..fixture.notifies(nobody) };
    assert_eq!(once(&unsigned).await, "there is no secret to sign it with");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_it_on_its_stdin_and_runs_beside_its_file() {
    let fixture = fixture().await;
    let command = Notify::Command("cat > told.json; echo \"$WAVEBATCH_EVENT of $WAVEBATCH_BATCH\" > what".into());
    fixture.post("b").await;
    let notifier = Notifier::new(fixture.store.clone(), fixture.notifies(command));
    assert_eq!(notifier.flush(Duration::from_secs(10)).await.unwrap(), 0);
    let message: serde_json::Value = serde_json::from_slice(&fs::read(fixture.path("told.json")).unwrap()).unwrap();
    assert_eq!((&message["event"], &message["reason"]), (&"could_not_start".into(), &"the key is gone".into()));
    assert_eq!(fs::read_to_string(fixture.path("what")).unwrap(), "could_not_start of b\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_says_why() {
    let fixture = fixture().await;
    for (command, words) in [
        ("echo one >&2; echo 'no such room' >&2; exit 7", "the command ended with status 7: no such room"),
        // What it leaves running keeps stderr open, and nobody waits for that.
        ("sleep 3 & echo gone >&2; exit 1", "the command ended with status 1: gone"),
        ("kill -9 $$", "the command was ended by signal 9"),
        ("yes | head -c 200000 >&2; exit 2", "the command ended with status 2: y"),
    ] {
        assert_eq!(once(&fixture.notifies(Notify::Command(command.into()))).await, words);
    }
    let dir = fixture.path("gone");
    let gone = Target { to: Notify::Command("true".into()), dir };
    let settings = NotifySettings::new(Some(gone), Arc::new(|_| None), None);
    assert!(once(&settings).await.starts_with("the command cannot be started: "));
    let unheard = fixture.notifies(Notify::Command("exec <&-; true".into()));
    let long = NewNotice { body: format!("{{\"a\":\"{}\"}}", "x".repeat(300_000)), ..notice("b") };
    assert_eq!(unheard.notify_directly(&long).await, Some(Ok(())), "it need not read");
}

const BREEDS: &str = "sleep 600 & echo $! > child.tmp; echo $$ > parent; mv child.tmp child; wait";

async fn both_end(dir: &Path) {
    for who in ["child", "parent"] {
        let pid = fs::read_to_string(dir.join(who)).unwrap();
        until("it ends with all that it started", || !lives(pid.trim())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    let fixture = fixture().await;
    let timeouts = NotifyTimeouts { command: Duration::from_secs(1), ..NotifyTimeouts::default() };
    let settings = NotifySettings { timeouts, ..fixture.notifies(Notify::Command(BREEDS.into())) };
    assert_eq!(once(&settings).await, "the command took longer than 1 s and was killed");
    both_end(fixture.dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_takes_a_command_with_it_and_leaves_the_rest_to_the_next() {
    let (fixture, ear) = (fixture().await, Ear::listen([Reply::Status(200)]).await);
    fixture.post("b").await;
    let notifier = Notifier::new(fixture.store.clone(), fixture.notifies(Notify::Command(BREEDS.into())));
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { notifier.run(stop).await }
    });
    until("the command runs", || fixture.path("child").exists()).await;
    let stopped = Instant::now();
    stop.cancel();
    running.await.unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(6));
    both_end(fixture.dir.path()).await;
    assert_eq!(fixture.store.notices_waiting().await.unwrap(), 1);
    fixture.clock.advance(12_000);
    let next = Notifier::new(fixture.store.clone(), fixture.posts_to(&ear));
    assert_eq!(next.flush(Duration::from_secs(10)).await.unwrap(), 0);
    assert_eq!(ear.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_tell_each_thing_once_and_each_batch_in_turn() {
    let (fixture, ear) = (fixture().await, Ear::listen([Reply::Status(200)]).await);
    for batch in ["a", "b", "c", "d", "e"] {
        for (nth, event) in
            [NoticeEvent::Paused, NoticeEvent::WindowClosed, NoticeEvent::Finished].into_iter().enumerate()
        {
            let news = News { event, ..News::could_not_start("night", batch, "", 1) };
            assert!(fixture.store.post_notice(news.notice(nth.to_string(), false)).await.unwrap());
        }
    }
    let others = [(); 3].map(|()| async {
        let opening = Opening { clock: fixture.clock.clone(), ..Opening::new(fixture.store.file().unwrap()) };
        let store = Store::open(opening).await.unwrap().0;
        Notifier::new(store, fixture.posts_to(&ear)).flush(Duration::from_secs(10)).await.unwrap()
    });
    futures::future::join_all(others).await;
    assert_eq!(fixture.store.notices_waiting().await.unwrap(), 0);
    let heard: Vec<_> = ear.heard().iter().map(crate::support::ear::Heard::json).collect();
    assert_eq!(heard.len(), 15);
    for batch in ["a", "b", "c", "d", "e"] {
        let events: Vec<_> =
            heard.iter().filter(|message| message["batch"] == batch).map(|message| &message["event"]).collect();
        assert_eq!(events, ["paused", "window_closed", "finished"], "{batch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definitions_own_choice_is_nobody_elses() {
    let (fixture, own) = (fixture().await, Ear::listen([Reply::Status(200)]).await);
    let everybody = Ear::listen([Reply::Status(200)]).await;
    let ours = NewNotice { own: true, ..notice("ours") };
    assert!(fixture.store.post_notice(ours).await.unwrap());
    fixture.post("theirs").await;
    let stranger = Notifier::new(fixture.store.clone(), fixture.posts_to(&everybody));
    assert_eq!(stranger.flush(Duration::from_secs(10)).await.unwrap(), 1, "it is left to who knows");
    assert_eq!(everybody.heard().iter().map(|h| h.json()["batch"].clone()).collect::<Vec<_>>(), ["theirs"]);
    fixture.clock.advance(16 * 60_000);
    let target = fixture.target(Notify::Url(own.url().parse().unwrap()));
    let who = Arc::new(move |definition: &str| (definition == "night").then(|| target.clone()));
    let friend = NotifySettings { own: who, ..fixture.posts_to(&everybody) };
    assert_eq!(Notifier::new(fixture.store.clone(), friend).flush(Duration::from_secs(10)).await.unwrap(), 0);
    assert_eq!((own.heard().len(), everybody.heard().len()), (1, 1));
}

crate::support::server::on_postgres_in_the_gate! {
    a_post_says_all_and_is_signed,
    what_fails_is_tried_again_later_and_known_as_the_same,
    who_answers_otherwise_or_not_at_all_was_not_told,
    a_command_has_it_on_its_stdin_and_runs_beside_its_file,
    a_command_that_fails_says_why,
    a_command_that_takes_too_long_is_killed_with_all_it_started,
    who_ends_takes_a_command_with_it_and_leaves_the_rest_to_the_next,
    several_processes_tell_each_thing_once_and_each_batch_in_turn,
    a_definitions_own_choice_is_nobody_elses,
}
