//! Callbacks, as their receiver meets them.

use serde_json::json;

use self::receiver::Receiver;
use super::*;

mod faults;
mod receiver;

/// Hardly a wait between deliveries.
fn quick() -> Config {
    Config { webhook_backoff: Duration::from_micros(1), ..Config::default() }
}

/// A sandbox, and one who receives its callbacks.
async fn pair(config: Config) -> (Peer, Receiver) {
    (Peer::with(config).await, Receiver::new().await)
}

impl Peer {
    /// A call of Pulse Pro whose result goes to `url`; `more` is the end of its query.
    fn hooked(&self, n: i16, url: &str, more: &str) -> RequestBuilder {
        let url: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        self.call(&format!("model=pulse-pro&language=en&webhook_url={url}{more}")).body(recording(n))
    }

    /// Makes such a call, which must be accepted: its request id.
    async fn accepted(&self, n: i16, url: &str) -> String {
        let (status, answer) = json(self.hooked(n, url, "")).await;
        assert_eq!((status, &answer["status"]), (200, &json!("processing")), "{answer}");
        answer["request_id"].as_str().unwrap().to_owned()
    }

    async fn deliveries(&self, query: &str) -> (u16, Value) {
        json(self.request(Method::GET, &format!("/waves/v1/analytics/webhooks/logs{query}"))).await
    }

    async fn transcriptions(&self) -> Value {
        let log = json(self.request(Method::GET, "/waves/v1/analytics/asr/logs")).await.1;
        log["data"].clone()
    }

    /// What the books say of the callback of the first call.
    fn first(&self) -> CallbackBooks {
        self.sandbox.books().callbacks[&1].clone()
    }
}

#[tokio::test]
async fn the_result_is_that_of_a_call_without_one_and_its_pairs() {
    let (peer, receiver) = pair(quick()).await;
    let more = "&word_timestamps=true&webhook_extra=call:c-1,at:10:30,status:mine";
    let (status, accepted) = json(peer.hooked(1, &receiver.url, more)).await;
    assert_eq!((status, &accepted["status"]), (200, &json!("processing")));
    assert_eq!(accepted.as_object().unwrap().len(), 2);
    peer.sandbox.callbacks_ended(1).await;

    let plain = peer.call("model=pulse-pro&language=en&word_timestamps=true").body(recording(1));
    let mut expected = json(plain).await.1;
    expected["request_id"] = accepted["request_id"].clone();
    expected["call"] = json!("c-1");
    expected["at"] = json!("10:30");
    let delivered = receiver.only();
    assert_eq!((delivered.json(), &delivered.json()["status"]), (expected, &json!("success")));
    assert_eq!((delivered.method, delivered.content_type.as_str()), (Method::POST, "application/json"));

    let books = peer.sandbox.books();
    assert_eq!((books.billed, books.deliveries, books.callbacks_acknowledged), (2, 1, 1));
    let expected = CallbackBooks {
        request_id: accepted["request_id"].as_str().unwrap().into(),
        url: receiver.url.clone(),
        billed: true,
        deliveries: 1,
        acknowledged: 1,
        statuses: vec![Some(200)],
        end: Some(CallbackEnd::Acknowledged),
    };
    assert_eq!(books.callbacks[&1], expected);
    assert!(books.requests.iter().all(|r| r.billed && r.status == Some(200)));
}

#[tokio::test]
async fn an_accepted_call_is_not_in_flight_and_billed_only_when_its_work_is_done() {
    let config = Config { latency: Duration::from_secs(3600), concurrency: Some(1), ..quick() };
    let (peer, receiver) = pair(config).await;
    peer.accepted(1, &receiver.url).await;
    peer.accepted(2, &receiver.url).await;
    let books = peer.sandbox.books();
    assert_eq!((books.in_flight, books.peak_in_flight, books.billed, books.deliveries), (0, 1, 0, 0));
    assert!(books.callbacks.len() == 2 && books.requests.iter().all(|r| !r.billed && r.status == Some(200)));
    assert_eq!(peer.transcriptions().await, json!([]));
}

#[tokio::test]
async fn what_is_held_is_billed_and_logged_with_its_url() {
    let (peer, receiver) = pair(quick()).await;
    peer.sandbox.hold_callbacks();
    let ids = [peer.accepted(1, &receiver.url).await, peer.accepted(2, &receiver.url).await];
    peer.sandbox.callbacks_waiting(2).await;
    let log = peer.transcriptions().await;
    for entry in log.as_array().unwrap() {
        assert_eq!(entry["webhook_url"], receiver.url);
        assert!(
            ids.iter().any(|id| entry["request_id"] == *id) && !entry["transcription"].as_str().unwrap().is_empty()
        );
    }
    let books = peer.sandbox.books();
    assert_eq!((log.as_array().unwrap().len(), books.billed, books.deliveries), (2, 2, 0));
    assert!(receiver.all().is_empty() && peer.first().end.is_none());

    peer.sandbox.release_callbacks();
    peer.sandbox.callbacks_ended(2).await;
    assert_eq!(receiver.all().len(), 2);
}

#[tokio::test]
async fn the_delay_is_not_the_works() {
    let (peer, receiver) = pair(Config { webhook_delay: Some(Duration::from_secs(3600)), ..quick() }).await;
    peer.accepted(1, &receiver.url).await;
    while peer.sandbox.books().billed == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((peer.transcriptions().await.as_array().unwrap().len(), peer.sandbox.books().deliveries), (1, 0));

    let config = Config { webhook_delay: Some(Duration::ZERO), latency: Duration::from_millis(30), ..quick() };
    let peer = Peer::with(config).await;
    let sent = std::time::Instant::now();
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    assert!(sent.elapsed() >= Duration::from_millis(30), "not before the work is done");
}

#[tokio::test]
async fn any_2xx_acknowledges_and_nothing_else() {
    let (peer, receiver) = pair(quick()).await;
    receiver.answer([500, 404, 302, 204]);
    let id = peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!(peer.first().statuses, [500, 404, 302, 204].map(Some));
    assert_eq!((peer.first().acknowledged, peer.first().end), (1, Some(CallbackEnd::Acknowledged)));
    let bodies: Vec<_> = receiver.all().iter().map(receiver::SandboxDelivery::json).collect();
    assert!(bodies.len() == 4 && bodies.iter().all(|body| *body == bodies[0]));

    let (status, log) = peer.deliveries("").await;
    assert_eq!((status, &log["status"], &log["totalCount"]), (200, &json!("success"), &json!(4)));
    let newest = &log["data"][0];
    let expected = json!({
        "org_id": "sandbox", "request_id": id, "webhook_url": receiver.url, "method": "POST",
        "event_type": "asr.completed", "status": "success", "attempt": 4, "response_status_code": 204, "error": "",
        "timestamp": newest["timestamp"], "duration_ms": newest["duration_ms"],
    });
    assert!(newest["duration_ms"].is_u64() && newest["timestamp"].as_str().unwrap().len() == 19);
    assert_eq!(newest, &expected);
    assert_eq!((&log["data"][3]["status"], &log["data"][3]["attempt"]), (&json!("failed"), &json!(1)));
    assert_eq!((&log["data"][3]["response_status_code"], peer.sandbox.books().billed), (&json!(500), 1));
}

#[tokio::test]
async fn the_waits_between_deliveries_double() {
    let (peer, receiver) = pair(Config { webhook_backoff: Duration::from_millis(10), ..Config::default() }).await;
    receiver.answer([503, 503, 503]);
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    let at: Vec<_> = receiver.all().iter().map(|delivery| delivery.at).collect();
    for (nth, least) in [10, 20, 40].into_iter().enumerate() {
        assert!(at[nth + 1] - at[nth] >= Duration::from_millis(least), "after the delivery {}", nth + 1);
    }
}

#[tokio::test]
async fn after_ten_deliveries_there_are_no_more() {
    let (peer, receiver) = pair(quick()).await;
    receiver.answer([500; 20]);
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!((receiver.all().len(), peer.first().deliveries, peer.first().end), (10, 10, Some(CallbackEnd::GivenUp)));
    let books = peer.sandbox.books();
    assert_eq!((books.callbacks_given_up, books.callbacks_acknowledged, books.billed), (1, 0, 1));
    assert_eq!(peer.deliveries("").await.1["data"][0]["attempt"], 10);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_or_says_nothing_is_no_acknowledgement() {
    let (peer, receiver) = pair(Config { webhook_timeout: Duration::from_millis(50), ..quick() }).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    peer.accepted(1, &url).await;
    let (_first, _) = silent.accept().await.unwrap();
    peer.sandbox.deliveries_ended(1).await;
    assert_eq!(peer.first().statuses[0], None);
    drop(silent);
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!((peer.first().statuses.len(), peer.first().end), (10, Some(CallbackEnd::GivenUp)));
    let newest = peer.deliveries("").await.1["data"][0].clone();
    assert_eq!((&newest["status"], &newest["response_status_code"]), (&json!("failed"), &Value::Null));
    assert!(!newest["error"].as_str().unwrap().is_empty() && receiver.all().is_empty());
}

#[tokio::test]
async fn the_method_is_the_clients() {
    let (peer, receiver) = pair(quick()).await;
    json(peer.hooked(1, &receiver.url, "&webhook_method=GET")).await;
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!((receiver.only().method, &receiver.only().json()["status"]), (Method::GET, &json!("success")));
    assert_eq!(peer.deliveries("").await.1["data"][0]["method"], "GET");
}

#[tokio::test]
async fn pulse_posts_its_answer_too() {
    let (peer, receiver) = pair(quick()).await;
    let query = format!("model=pulse&language=en&webhook_url={}", receiver.url);
    let (status, answer) = json(peer.call(&query).body(recording(1))).await;
    assert_eq!((status, &answer["status"]), (200, &json!("processing")));
    peer.sandbox.callbacks_ended(1).await;
    assert_eq!(receiver.only().json()["status"], "success");
    assert_eq!(peer.transcriptions().await[0]["webhook_url"], receiver.url.as_str());
    let path = format!("/waves/v1/stt/?model=pulse-pro&language=en&webhook_url={}", receiver.url);
    let by_url = peer.request(Method::POST, &path).json(&json!({"url": receiver.url}));
    assert_eq!((json(by_url).await.0, peer.sandbox.books().callbacks.len()), (400, 1), "bytes only");
}

#[tokio::test]
async fn deliveries_are_listed_by_pages_also_while_they_are_made() {
    let (peer, receiver) = pair(quick()).await;
    for n in 0..3 {
        peer.accepted(n, &receiver.url).await;
    }
    peer.sandbox.callbacks_ended(3).await;
    let second = peer.deliveries("?page=2&pageSize=2").await.1;
    assert_eq!((second["data"].as_array().unwrap().len(), &second["totalPages"]), (1, &json!(2)));
    assert_eq!(peer.deliveries("?pageSize=101").await.0, 400);

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    peer.accepted(4, &format!("http://{}/", silent.local_addr().unwrap())).await;
    let _open = silent.accept().await.unwrap();
    let pending = peer.deliveries("").await.1["data"][0].clone();
    assert_eq!((&pending["status"], &pending["duration_ms"]), (&json!("pending"), &Value::Null));

    let calls = peer.sandbox.books().log_calls;
    peer.sandbox.script([Fault::new(Match::Nth(calls + 1), What::LogsUnavailable)]);
    assert_eq!([peer.deliveries("").await.0, peer.deliveries("").await.0], [503, 200]);
    let keyless = peer.client.get(format!("{}/waves/v1/analytics/webhooks/logs", peer.sandbox.base_url()));
    assert_eq!(json(keyless).await.0, 401);
}

#[tokio::test]
async fn a_reset_and_the_end_stop_what_is_owed() {
    let (peer, receiver) = pair(quick()).await;
    peer.sandbox.hold_callbacks();
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_waiting(1).await;
    peer.sandbox.reset();
    peer.accepted(2, &receiver.url).await;
    peer.sandbox.callbacks_ended(1).await;
    let books = peer.sandbox.books();
    assert_eq!((books.deliveries, books.callbacks.len(), receiver.all().len()), (1, 1, 1));
    assert_eq!(peer.deliveries("").await.1["totalCount"], 1);

    receiver.answer([500; 20]);
    peer.sandbox.hold_callbacks();
    peer.accepted(3, &receiver.url).await;
    peer.sandbox.callbacks_waiting(1).await;
    peer.sandbox.shutdown().await;
    assert_eq!(receiver.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_let_go_at_once_all_arrive() {
    let (peer, receiver) = pair(quick()).await;
    peer.sandbox.hold_callbacks();
    for n in 0..600 {
        peer.accepted(n, &receiver.url).await;
    }
    peer.sandbox.callbacks_waiting(600).await;
    peer.sandbox.release_callbacks();
    peer.sandbox.callbacks_ended(600).await;
    assert_eq!((peer.sandbox.books().callbacks_acknowledged, peer.sandbox.books().deliveries), (600, 600));
    assert_eq!(receiver.all().len(), 600);
}

#[tokio::test]
async fn they_are_held_and_let_go_from_outside() {
    let (peer, receiver) = pair(quick()).await;
    let post = |path: &str| peer.request(Method::POST, path).send();
    assert_eq!(post("/sandbox/hold-callbacks").await.unwrap().status(), 204);
    peer.accepted(1, &receiver.url).await;
    peer.sandbox.callbacks_waiting(1).await;
    assert_eq!(post("/sandbox/release-callbacks").await.unwrap().status(), 204);
    peer.sandbox.callbacks_ended(1).await;
    let books: Books = peer.request(Method::GET, "/sandbox/books").send().await.unwrap().json().await.unwrap();
    assert_eq!(books.callbacks[&1].end, Some(CallbackEnd::Acknowledged));
}
