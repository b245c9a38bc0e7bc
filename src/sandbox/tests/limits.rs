//! Limits, the gate, and what the books say of both.

use axum::http::HeaderValue;

use super::*;

#[tokio::test]
async fn requests_per_minute_are_limited_per_model() {
    let peer = Peer::with(Config { requests_per_minute: Some(2), ..Config::default() }).await;
    assert_eq!(json(peer.plain(1)).await.0, 200);
    assert_eq!(json(peer.plain(2)).await.0, 200);
    let response = peer.plain(3).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    assert_eq!(json(peer.call("model=pulse-pro&language=en").body(recording(1))).await.0, 200);
    let books = peer.sandbox.books();
    assert_eq!((books.calls, books.billed, books.most_in_a_minute), (4, 3, 3));
    assert_eq!(books.models["pulse"].most_in_a_minute, 2);
}

#[tokio::test]
async fn calls_in_flight_are_limited_and_measured() {
    let peer = Peer::with(Config { concurrency: Some(2), ..Config::default() }).await;
    peer.sandbox.hold();
    let held = [peer.spawn(1), peer.spawn(2)];
    peer.sandbox.waiting(2).await;
    let books = peer.sandbox.books();
    assert_eq!((books.in_flight, books.billed, books.requests.len()), (2, 2, 0), "held after the work");

    let refused = peer.plain(3).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &HeaderValue::from_static("1")));
    peer.sandbox.release();
    for call in held {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(json(peer.plain(3)).await.0, 200);
    let books = peer.sandbox.books();
    assert_eq!((books.in_flight, books.peak_in_flight, books.statuses[&429]), (0, 2, 1));
}

#[tokio::test]
async fn work_goes_on_when_the_client_leaves() {
    let peer = Peer::with(Config { latency: Duration::from_secs(3600), ..Config::default() }).await;
    let call = peer.spawn(1);
    peer.sandbox.arrivals(1).await;
    while peer.sandbox.books().billed == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    while peer.sandbox.books().cut == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.sandbox.books().in_flight, 1);
}

#[tokio::test]
async fn the_books_tell_calls_by_content() {
    let peer = Peer::new().await;
    for n in [1, 2, 1] {
        json(peer.plain(n)).await;
    }
    let books = peer.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed(), books.statuses[&200]), (2, 2, 3));
    assert_eq!(books.requests.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2, 3]);
    let first = &books.requests[0];
    assert_eq!((first.query.as_str(), first.bytes, first.billed), ("model=pulse&language=en", 4044, true));
    assert_eq!(first.sha256, books.requests[2].sha256);

    let (_, read) = json(peer.request(Method::GET, "/sandbox/books")).await;
    assert_eq!(serde_json::from_value::<Books>(read).unwrap(), books);
    peer.request(Method::POST, "/sandbox/reset").send().await.unwrap();
    assert_eq!(peer.sandbox.books().calls, 0);
}

#[tokio::test]
async fn the_list_is_bounded_and_the_counts_are_not() {
    let peer = Peer::with(Config { keep: 2, ..Config::default() }).await;
    for n in 0..4 {
        json(peer.plain(n)).await;
    }
    let books = peer.sandbox.books();
    assert_eq!(books.requests.iter().map(|r| r.number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!((books.calls, books.contents.len()), (4, 4));
}

#[tokio::test]
async fn shutdown_cuts_what_is_in_flight() {
    let peer = Peer::new().await;
    peer.sandbox.hold();
    let call = peer.spawn(1);
    peer.sandbox.waiting(1).await;
    let base = peer.sandbox.base_url();
    peer.sandbox.shutdown().await;
    assert!(call.await.unwrap().is_err());
    assert!(peer.client.get(base).send().await.unwrap_err().is_connect());
}
