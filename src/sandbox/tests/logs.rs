//! The vendor's log.

use serde_json::json;

use super::*;

impl Peer {
    async fn log(&self, query: &str) -> (u16, Value) {
        json(self.request(Method::GET, &format!("/waves/v1/analytics/asr/logs{query}"))).await
    }
}

#[tokio::test]
async fn every_billed_call_is_logged_newest_first() {
    let peer = Peer::new().await;
    json(peer.call("model=pulse&language=en&redact_pii=true").body(spoken(2, "First."))).await;
    json(peer.call("model=pulse&language=en").body("<html>")).await;
    let (_, pro) = json(peer.call("model=pulse-pro&language=en&word_timestamps=true").body(spoken(3, "Second."))).await;

    let (status, log) = peer.log("").await;
    assert_eq!((status, &log["status"], &log["totalCount"]), (200, &json!("success"), &json!(2)));
    assert_eq!((&log["page"], &log["pageSize"], &log["totalPages"]), (&json!(1), &json!(50), &json!(1)));
    let newest = &log["data"][0];
    let expected = json!({
        "request_id": pro["request_id"], "timestamp": newest["timestamp"], "request_type": "rest",
        "model": "pulse-pro", "language": "en", "duration": 3.0, "file_size": "48072", "transcription": "Second.",
        "word_timestamps": true, "diarize": false, "redact_pii": false, "redact_pci": false, "numerals": "auto",
        "keywords": "", "emotion_detection": false, "gender_detection": false, "emotions": "", "gender": "",
        "webhook_url": "",
    });
    assert_eq!(newest, &expected);
    assert_eq!(newest["timestamp"].as_str().unwrap().len(), 19);
    assert_eq!((&log["data"][1]["transcription"], &log["data"][1]["redact_pii"]), (&json!("First."), &json!(true)));
}

#[tokio::test]
async fn it_has_pages() {
    let peer = Peer::new().await;
    for n in 0..5 {
        json(peer.plain(n)).await;
    }
    let (_, second) = peer.log("?page=2&pageSize=2").await;
    let (_, all) = peer.log("").await;
    assert_eq!(second["data"].as_array().unwrap()[..], all["data"].as_array().unwrap()[2..4]);
    assert_eq!((&second["totalPages"], &second["totalCount"]), (&json!(3), &json!(5)));
    assert_eq!(peer.log("?page=9").await.1["data"], json!([]));
    for bad in ["?pageSize=101", "?pageSize=0", "?page=0", "?page=x"] {
        assert_eq!(peer.log(bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_call_that_was_cut_is_logged_and_shows_up_late_where_told() {
    let peer = Peer::new().await;
    peer.sandbox.script([Fault::new(Match::Any, What::CutAfterWork)]);
    peer.plain(1).send().await.unwrap_err();
    assert_eq!(peer.log("").await.1["totalCount"], 1);

    let late = Peer::with(Config { log_lag: Duration::from_secs(3600), ..Config::default() }).await;
    json(late.plain(1)).await;
    assert_eq!(late.log("").await.1["totalCount"], 0);
}

#[tokio::test]
async fn it_can_be_down_or_not_there() {
    let peer = Peer::new().await;
    peer.sandbox.script([
        Fault::new(Match::Nth(1), What::LogsUnavailable),
        Fault::new(Match::Nth(2), What::LogsAbsent),
        Fault::new(Match::Any, What::Hang),
    ]);
    assert_eq!([peer.log("").await.0, peer.log("").await.0, peer.log("").await.0], [503, 404, 200]);
    assert_eq!(peer.sandbox.books().log_calls, 3);
}

#[tokio::test]
async fn an_entry_is_removed_and_so_is_one_that_is_not_there() {
    let peer = Peer::new().await;
    peer.sandbox
        .script([Fault::new(Match::Nth(1), What::RemovalRefused), Fault::new(Match::Nth(2), What::RemovalUnavailable)]);
    json(peer.plain(1)).await;
    json(peer.plain(2)).await;
    let log = peer.log("").await.1;
    let id = |nth: usize| log["data"][nth]["request_id"].as_str().unwrap().to_owned();
    let (other, kept) = (id(0), id(1));
    let address = format!("/waves/v1/analytics/asr/history/{kept}");
    let remove = || json(peer.request(Method::DELETE, &address));
    assert_eq!((remove().await.0, remove().await.0), (403, 503));
    assert_eq!(peer.log("").await.1["totalCount"], 2);
    for _ in 0..2 {
        assert_eq!(remove().await, (200, json!({"status": "success"})));
        let log = peer.log("").await.1;
        assert_eq!((&log["totalCount"], &log["data"][0]["request_id"]), (&json!(1), &json!(other)));
    }
    assert_eq!(peer.sandbox.books().removal_calls, 4);
}
