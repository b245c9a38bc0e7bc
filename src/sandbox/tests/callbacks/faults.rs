//! Callbacks that do not come as they should.

use super::*;

/// A sandbox with this fault for its first call, and one who receives its callbacks.
async fn struck(what: What) -> (Peer, Receiver) {
    let (peer, receiver) = pair(quick()).await;
    peer.sandbox.script([Fault::new(Match::Nth(1), what)]);
    (peer, receiver)
}

/// The same after the first call was accepted and its callback is over.
async fn after(what: What) -> (Peer, Receiver) {
    let (peer, receiver) = struck(what).await;
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    (peer, receiver)
}

#[tokio::test]
async fn a_lost_callback_is_in_the_log_of_transcriptions() {
    let (peer, receiver) = after(What::CallbackLost).await;
    let log = peer.transcriptions().await;
    assert_eq!(
        (&log[0]["webhook_url"], &log[0]["request_id"]),
        (&json!(receiver.url), &json!(peer.first().request_id))
    );
    assert!(!log[0]["transcription"].as_str().unwrap().is_empty() && receiver.all().is_empty());
    let books = peer.sandbox.books();
    assert_eq!((books.billed, books.deliveries, books.callbacks_lost), (1, 0, 1));
    assert_eq!((peer.first().end, &peer.deliveries("").await.1["data"]), (Some(CallbackEnd::Lost), &json!([])));
}

#[tokio::test]
async fn a_late_callback_is_late_and_its_work_is_not() {
    let (peer, receiver) = struck(What::CallbackLate(3_600_000)).await;
    peer.accepted(1, &receiver.url).await;
    peer.accepted(2, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    while peer.sandbox.books().billed < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!((receiver.all().len(), peer.first().end), (1, None));
}

#[tokio::test]
async fn an_early_callback_comes_before_the_answer() {
    let (peer, receiver) = struck(What::CallbackEarly).await;
    receiver.meet(2);
    let call = tokio::spawn(peer.hooked(1, &receiver.url, "").send());
    while receiver.all().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished() && peer.sandbox.books().in_flight == 1);
    assert_eq!(receiver.only().json()["status"], "success");
    peer.accepted(2, &receiver.url).await;
    assert_eq!(call.await.unwrap().unwrap().json::<Value>().await.unwrap()["status"], "processing");
}

#[tokio::test]
async fn an_early_callback_that_is_refused_holds_no_answer_back() {
    let (peer, receiver) = struck(What::CallbackEarly).await;
    receiver.answer([503]);
    peer.accepted(1, &receiver.url).await;
    assert!(!peer.first().statuses.is_empty());
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!(peer.first().statuses, [Some(503), Some(200)]);

    peer.sandbox.script([Fault::new(Match::Any, What::CallbackEarly)]);
    peer.sandbox.hold_callbacks();
    let call = tokio::spawn(peer.hooked(2, &receiver.url, "").send());
    peer.sandbox.callbacks_waiting(1).await;
    peer.sandbox.reset();
    assert_eq!(call.await.unwrap().unwrap().status(), 200, "there will be no delivery to wait for");
}

#[tokio::test]
async fn a_callback_comes_twice() {
    let (peer, receiver) = after(What::CallbackTwice).await;
    let all = receiver.all();
    assert!(all.len() == 2 && all[0].body == all[1].body);
    assert_eq!((peer.first().acknowledged, peer.sandbox.books().callbacks_acknowledged), (2, 1));

    let (peer, receiver) = struck(What::CallbackTwiceAtOnce).await;
    receiver.meet(2);
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!((receiver.all().len(), peer.first().acknowledged, peer.sandbox.books().billed), (2, 2, 1));
    let log = peer.deliveries("").await.1["data"].clone();
    assert_eq!((&log[0]["attempt"], &log[1]["attempt"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn twice_is_within_the_ten() {
    for what in [What::CallbackTwice, What::CallbackTwiceAtOnce, What::CallbackChanged] {
        let (peer, receiver) = struck(what.clone()).await;
        receiver.answer([[500; 9].as_slice(), &[200]].concat());
        peer.accepted(1, &receiver.url).await;
        peer.sandbox.callbacks_ended(1).await;
        assert_eq!((peer.first().deliveries, peer.first().end), (10, Some(CallbackEnd::Acknowledged)), "{what:?}");
    }
}

#[tokio::test]
async fn the_second_time_another_transcript_comes() {
    let (peer, receiver) = struck(What::CallbackChanged).await;
    receiver.answer([500]);
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    let said: Vec<_> = receiver.all().iter().map(|delivery| delivery.json()["transcription"].clone()).collect();
    assert!(said.len() == 3 && said[0] == said[1] && said[1] != said[2]);
    assert_eq!((peer.first().acknowledged, &peer.transcriptions().await[0]["transcription"]), (2, &said[0]));
}

#[tokio::test]
async fn a_failure_is_told_and_costs_nothing() {
    let (peer, receiver) = struck(What::CallbackFailed).await;
    json(peer.hooked(1, &receiver.url, "&webhook_extra=call:c-1")).await;
    peer.sandbox.callbacks_ended(1).await;
    let body = receiver.only().json();
    assert_eq!((&body["status"], &body["call"]), (&json!("failed"), &json!("c-1")));
    assert_eq!(body["request_id"], peer.first().request_id);
    assert!(body.get("transcription").is_none());
    assert_eq!((peer.sandbox.books().billed, peer.first().billed), (0, false));
    assert_eq!(peer.transcriptions().await, json!([]));
}

#[tokio::test]
async fn a_drip_is_slow_and_whole() {
    let (_peer, receiver) = after(What::CallbackDrip { ms: 3, deliveries: 1 }).await;
    let dripped = receiver.only();
    assert!(dripped.took >= Duration::from_millis(20), "{:?}", dripped.took);
    assert_eq!((dripped.declared, &dripped.json()["status"]), (dripped.body.unwrap().len(), &json!("success")));
}

#[tokio::test]
async fn half_a_result_comes_under_the_length_of_the_whole() {
    let (peer, receiver) = after(What::CallbackTruncated(2)).await;
    let all = receiver.all();
    assert_eq!(all.iter().map(|delivery| delivery.body.is_some()).collect::<Vec<_>>(), [false, false, true]);
    assert!(all.iter().all(|delivery| delivery.declared == all[2].body.as_ref().unwrap().len()));
    assert_eq!((peer.first().statuses.last(), peer.sandbox.books().billed), (Some(&Some(200)), 1));
}

#[tokio::test]
async fn a_result_can_be_useless() {
    let (peer, receiver) = struck(What::CallbackGarbage(1)).await;
    receiver.answer([400]);
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    let all = receiver.all();
    assert_eq!(all[0].content_type, "application/json");
    assert!(serde_json::from_slice::<Value>(all[0].body.as_ref().unwrap()).is_err());
    assert_eq!((all.len(), &all[1].json()["status"]), (2, &json!("success")));

    let (_peer, receiver) = after(What::CallbackWordless(1)).await;
    let body = receiver.only().json();
    assert_eq!((&body["status"], body.get("transcription")), (&json!("success"), None));
}

#[tokio::test]
async fn the_answer_of_a_call_and_its_callback_have_faults_of_their_own() {
    let (peer, receiver) = pair(quick()).await;
    peer.sandbox.script([
        Fault::new(Match::Nth(1), What::CallbackTwice),
        Fault::new(Match::Nth(1), What::CutAfterWork),
        Fault::new(Match::Nth(2), What::Hang),
        Fault::new(Match::Nth(3), What::status(500)),
        Fault::new(Match::Nth(4), What::EmptyText),
    ]);
    peer.hooked(1, &receiver.url, "").send().await.unwrap_err();
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!((receiver.all().len(), peer.sandbox.books().cut), (2, 1));

    let hung = tokio::spawn(peer.hooked(2, &receiver.url, "").send());
    peer.sandbox.callbacks_ended(2).await;
    peer.sandbox.waiting(1).await;
    assert!(!hung.is_finished());
    peer.sandbox.release();
    assert_eq!(hung.await.unwrap().unwrap().status(), 200);

    assert_eq!(json(peer.hooked(3, &receiver.url, "")).await.0, 500);
    peer.accepted(4, &receiver.url).await;
    peer.sandbox.callbacks_ended(3).await;
    assert_eq!(receiver.all().last().unwrap().json()["transcription"], "");
    assert_eq!(
        (peer.sandbox.books().billed, peer.sandbox.books().callbacks.len()),
        (3, 3),
        "none for what was refused"
    );
}

#[tokio::test]
async fn they_are_scripted_from_outside() {
    let peer = Peer::new().await;
    let rules = json!([
        {"matches": {"probability": {"p": 0.08, "seed": 1}}, "what": "callback_lost"},
        {"matches": {"probability": {"p": 0.3, "seed": 2}}, "what": "callback_early"},
        {"what": "callback_twice"}, {"what": "callback_twice_at_once"}, {"what": "callback_changed"},
        {"what": "callback_failed"}, {"what": {"callback_late": 5}}, {"what": {"callback_truncated": 1}},
        {"what": {"callback_drip": {"ms": 5, "deliveries": 1}}}, {"what": {"callback_garbage": 1}},
        {"what": {"callback_wordless": 1}},
    ]);
    let sent = peer.request(Method::POST, "/sandbox/faults").json(&rules).send().await.unwrap();
    assert_eq!(sent.status(), 204, "{}", sent.text().await.unwrap());
}
