//! What was scripted, as the client meets it, and whether it was billed.

use axum::http::HeaderValue;
use serde_json::json;

use super::*;

/// A sandbox with this fault for its first call.
async fn struck(what: What) -> Peer {
    let peer = Peer::new().await;
    peer.sandbox.script([Fault::new(Match::Nth(1), what)]);
    peer
}

/// Billed calls, and calls without a whole answer.
fn billed_and_cut(peer: &Peer) -> (u64, u64) {
    let books = peer.sandbox.books();
    (books.billed, books.cut)
}

#[tokio::test]
async fn a_status_comes_in_any_shape() {
    let shapes = [
        (ErrorShape::Stt, "/error"),
        (ErrorShape::SttOlder, "/errors"),
        (ErrorShape::SttRegion, "/error_code"),
        (ErrorShape::NoToken, "/message"),
        (ErrorShape::BadKey, "/error"),
        (ErrorShape::Tts, "/message"),
        (ErrorShape::Chat, "/error/request_id"),
    ];
    for (shape, field) in shapes {
        let fault =
            StatusFault { code: 503, shape: Some(shape), retry_after: Some("7".into()), ..StatusFault::default() };
        let peer = struck(What::Status(fault)).await;
        let response = peer.plain(1).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (503, &HeaderValue::from_static("7"))
        );
        assert!(response.json::<Value>().await.unwrap().pointer(field).is_some(), "{shape:?}");
        assert_eq!(billed_and_cut(&peer), (0, 0));
        assert_eq!(json(peer.plain(1)).await.0, 200);
    }
    let body = Some(r#"{"error": "quota"}"#.into());
    let peer = struck(What::Status(StatusFault { code: 500, body, billed: true, ..StatusFault::default() })).await;
    assert_eq!(json(peer.plain(1)).await, (500, json!({"error": "quota"})));
    assert_eq!(billed_and_cut(&peer), (1, 0));
}

#[tokio::test]
async fn a_proxy_answers_in_html() {
    let peer = struck(What::Html(502)).await;
    let response = peer.plain(1).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (502, &HeaderValue::from_static("text/html"))
    );
    assert_eq!(billed_and_cut(&peer), (0, 0));
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_work() {
    for (what, billed) in [(What::CutBeforeWork, 0), (What::CutAfterWork, 1)] {
        let peer = struck(what).await;
        let error = peer.plain(1).send().await.unwrap_err();
        assert!(error.is_request() && !error.is_connect(), "{error:?}");
        assert_eq!(billed_and_cut(&peer), (billed, 1));
        assert_eq!(json(peer.plain(1)).await.0, 200);
    }
}

#[tokio::test]
async fn half_an_answer_comes_under_the_length_of_the_whole() {
    let peer = struck(What::Truncated).await;
    let mut response = peer.plain(1).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let whole = response.content_length().unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.len() as u64 == whole / 2 && first.starts_with(b"{"));
    assert!(response.chunk().await.is_err());
    assert_eq!(billed_and_cut(&peer), (1, 1));
}

#[tokio::test]
async fn a_drip_is_slow_and_whole() {
    let peer = struck(What::Drip(1)).await;
    let dripped = json(peer.plain(1)).await;
    assert_eq!(dripped, json(peer.plain(1)).await);
    assert_eq!(peer.sandbox.books().in_flight, 0);
}

#[tokio::test]
async fn a_success_can_be_useless() {
    for (what, media_type) in [
        (What::Garbage200, "application/json"),
        (What::Empty200, "application/json"),
        (What::WrongType200, "text/html"),
    ] {
        let peer = struck(what).await;
        let response = peer.plain(1).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &media_type.parse().unwrap())
        );
        assert!(response.json::<Value>().await.is_err());
        assert_eq!(billed_and_cut(&peer), (1, 0));
    }
    let peer = struck(What::EmptyText).await;
    assert_eq!(json(peer.plain(1)).await.1["transcription"], "");
    let peer = struck(What::WrongDuration(4.0)).await;
    assert_eq!(json(peer.plain(1)).await.1["metadata"]["duration"], 1.0);
}

#[tokio::test]
async fn a_hang_lasts_until_it_is_released() {
    let peer = struck(What::Hang).await;
    let hung = peer.spawn(1);
    peer.sandbox.waiting(1).await;
    assert_eq!(json(peer.plain(2)).await.0, 200, "others go on");
    assert_eq!((peer.sandbox.books().in_flight, peer.sandbox.books().billed), (1, 2));
    peer.sandbox.release();
    assert_eq!(hung.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_delay_is_added_to_the_work() {
    let peer = struck(What::Delay(30)).await;
    let started = std::time::Instant::now();
    json(peer.plain(1)).await;
    assert!(started.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn an_early_refusal_does_not_wait_for_the_body() {
    let peer = struck(What::EarlyRefusal { retry_after: Some("2".into()) }).await;
    let body = futures::stream::once(async { Ok::<_, io::Error>(vec![1; 1000]) });
    let endless = futures::StreamExt::chain(body, futures::stream::pending());
    let response = peer.call("model=pulse&language=en").body(reqwest::Body::wrap_stream(endless)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &HeaderValue::from_static("2")));
    assert_eq!(billed_and_cut(&peer), (0, 0));
}

#[tokio::test]
async fn faults_find_their_content_and_can_be_scripted_from_outside() {
    let peer = Peer::new().await;
    let rules = json!([
        {"matches": {"size": 4044}, "times": 1, "what": {"status": {"code": 500}}},
        {"matches": {"each_content": 1}, "what": {"html": 503}},
    ]);
    let sent = peer.request(Method::POST, "/sandbox/faults").json(&rules).send().await.unwrap();
    assert_eq!(sent.status(), 204);
    let mut statuses = Vec::new();
    for n in [1, 2, 2, 3, 1] {
        statuses.push(peer.plain(n).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [500, 503, 200, 503, 200]);
    let wrong = peer.request(Method::POST, "/sandbox/faults").body("{\"what\": \"nothing\"}").send().await.unwrap();
    assert_eq!(wrong.status(), 400);
}
