//! What is refused, and in which shape.

use std::io::{Read, Write};

use serde_json::json;

use super::*;

#[tokio::test]
async fn keys_are_checked() {
    let peer = Peer::with(Config { key: Some("sk_one".into()), ..Config::default() }).await;
    let url = format!("{}/waves/v1/stt/?model=pulse&language=en", peer.sandbox.base_url());
    let post = || peer.client.post(&url).body(recording(1));
    assert_eq!(json(post()).await, (401, json!({"message": "Unauthorized: No tokens provided"})));
    assert_eq!(json(post().bearer_auth("sk_two")).await, (401, json!({"error": "unauthorized"})));
    assert_eq!(json(post().bearer_auth("sk_one")).await.0, 200);

    let any = Peer::new().await;
    assert_eq!(json(any.plain(1)).await.0, 200);
    let url = format!("{}/waves/v1/analytics/asr/logs", any.sandbox.base_url());
    assert_eq!(json(any.client.get(url).bearer_auth("pk_x")).await.0, 401);
}

#[tokio::test]
async fn queries_are_validated_in_the_documented_shapes() {
    let peer = Peer::new().await;
    for query in ["", "language=en", "model=pulse", "model=p/ulse&language=en", "model=pulse&language="] {
        let (status, answer) = json(peer.call(query).body(recording(1))).await;
        assert_eq!(status, 400, "{query}");
        assert!(answer["error"].is_string() && answer["request_id"].is_string(), "{query}: {answer}");
    }
    let (status, answer) = json(peer.call("model=pulse&language=en&diarize=yes").body(recording(1))).await;
    assert_eq!((status, &answer["status"], &answer["errors"][0]["path"]), (400, &json!("error"), &json!(["diarize"])));
    let words: Vec<String> = (0..101).map(|n| format!("w{n}")).collect();
    for query in [format!("keywords={}", words.join(",")), format!("keywords={}&keywords=x", words[..100].join(","))] {
        let call = peer.call(&format!("model=pulse&language=en&{query}")).body(recording(1));
        let (status, answer) = json(call).await;
        assert_eq!((status, &answer["errors"][0]["message"]), (400, &json!("keywords too large (max 100)")));
    }
    let (status, answer) = json(peer.call("model=pulse-pro&language=hi").body(recording(1))).await;
    assert_eq!((status, &answer["errors"][0]["code"]), (400, &json!("invalid_enum_value")));
    for (name, query) in [
        ("webhook_url", "webhook_url=ftp://x/"),
        ("webhook_url", "webhook_url=callbacks"),
        ("webhook_method", "webhook_url=http://x/&webhook_method=PUT"),
        ("webhook_extra", "webhook_url=http://x/&webhook_extra=case"),
    ] {
        let call = peer.call(&format!("model=pulse-pro&language=en&{query}"));
        let (status, answer) = json(call.body(recording(1))).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (400, &json!([name])), "{query}");
    }
    assert!(peer.sandbox.books().callbacks.is_empty());
    assert_eq!(peer.sandbox.books().billed, 0);
}

#[tokio::test]
async fn a_closed_language_is_told_in_its_own_shape() {
    let closed_languages = vec!["multi-indic".parse().unwrap()];
    let peer = Peer::with(Config { closed_languages, ..Config::default() }).await;
    let (status, answer) = json(peer.call("model=pulse&language=multi-indic").body(recording(1))).await;
    assert_eq!((status, &answer["error_code"]), (400, &json!("LANGUAGE_NOT_ENABLED_IN_REGION")));
    assert_eq!(answer["language"], "multi-indic");
}

#[tokio::test]
async fn what_is_not_audio_is_refused() {
    let peer = Peer::new().await;
    for body in ["<html><body>login</body></html>", "{\"error\": 1}", "%PDF-1.7", "PK\x03\x04", ""] {
        let (status, answer) = json(peer.call("model=pulse&language=en").body(body)).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["request_id"].is_string());
    }
    assert_eq!((peer.sandbox.books().billed, peer.sandbox.books().statuses[&400]), (0, 5));
}

#[tokio::test]
async fn routes_are_exact() {
    let peer = Peer::new().await;
    let post = |path| peer.request(Method::POST, path).body(recording(1)).send();
    assert_eq!(post("/waves/v1/stt?model=pulse&language=en").await.unwrap().status(), 404);
    assert_eq!(post("/waves/v1/lightning-v9/get_speech").await.unwrap().status(), 404);
    let base = peer.sandbox.base_url();
    assert_eq!(json(peer.client.get(format!("{base}/waves/v1/health"))).await.1["status"], "ok");
    let root = peer.client.get(&base).send().await.unwrap();
    assert_eq!(root.headers()["server"], "wavebatch-sandbox");
    assert!(root.text().await.unwrap().contains("stand-in"));
}

#[tokio::test]
async fn a_declared_length_above_the_limit_is_refused_before_the_body() {
    let peer = Peer::new().await;
    let addr = peer.sandbox.addr();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        let head = "POST /waves/v1/stt/?model=pulse&language=en HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_x\r\n\
                    content-length: 300000000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        String::from_utf8(first.to_vec()).unwrap()
    });
    assert_eq!(answer.await.unwrap(), "HTTP/1.1 413");
}

#[tokio::test]
async fn an_undeclared_length_is_counted_on_the_way() {
    let peer = Peer::with(Config { max_bytes: 100_000, ..Config::default() }).await;
    let chunks = (0..20).map(|_| Ok::<_, std::io::Error>(vec![1; 10_000]));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let (status, answer) = json(peer.call("model=pulse&language=en").body(body)).await;
    assert_eq!(status, 413);
    assert!(answer["error"].is_string() && answer["request_id"].is_string());
}

#[tokio::test]
async fn a_large_recording_goes_through_a_file() {
    let peer = Peer::new().await;
    let large = spoken(300, "A long call.");
    let (bytes, digest) = (large.len() as u64, <sha2::Sha256 as sha2::Digest>::digest(&large));
    let (status, answer) = json(peer.call("model=pulse&language=en").body(large)).await;
    assert_eq!((status, &answer["transcription"]), (200, &json!("A long call.")));
    assert_eq!(answer["metadata"]["duration"], 300.0);
    let content = peer.sandbox.books().contents[&crate::domain::hex::hex(&digest)];
    assert_eq!(content, ContentBooks { bytes, calls: 1, billed: 1 });
}
