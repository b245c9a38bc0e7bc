//! Synthesis: what is spoken, what is refused, and what is scripted.

use axum::http::HeaderValue;
use serde_json::json;

use super::*;

/// A text to be spoken, with these fields changed or added.
fn wanted(changes: Value) -> Value {
    let mut body = json!({"text": "Hello there.", "voice_id": "avery", "output_format": "wav", "sample_rate": 8000});
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

impl Peer {
    fn speak(&self, changes: Value) -> RequestBuilder {
        self.request(Method::POST, "/waves/v1/tts").header("accept", "audio/wav").json(&wanted(changes))
    }

    fn live(&self, changes: Value) -> RequestBuilder {
        self.request(Method::POST, "/waves/v1/tts/live").json(&wanted(changes))
    }
}

async fn bytes(request: RequestBuilder) -> Vec<u8> {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn what_is_spoken_can_be_transcribed() {
    let peer = Peer::new().await;
    let text = "Grüße aus Köln: 3.14 is nearly π, Dr. Who?";
    let spoken = bytes(peer.speak(json!({"text": text}))).await;
    let (status, answer) = json(peer.call("model=pulse&language=en").body(spoken)).await;
    assert_eq!((status, &answer["transcription"]), (200, &json!(text)));
    let seconds = text.chars().count() as f64 / 15.0;
    assert!((answer["metadata"]["duration"].as_f64().unwrap() - seconds).abs() < 0.01, "{answer}");
}

#[tokio::test]
async fn the_head_names_the_call() {
    let peer = Peer::new().await;
    for (format, media_type) in [
        ("wav", "audio/wav"),
        ("mp3", "audio/mpeg"),
        ("pcm", "audio/L16"),
        ("ulaw", "audio/basic"),
        ("alaw", "audio/x-alaw-basic"),
    ] {
        let ids = json!({"output_format": format, "request_id": "call-1", "session_id": "batch.1"});
        let response = peer.speak(ids).header("x-expire-content", "true").send().await.unwrap();
        let head = response.headers();
        assert_eq!(head["content-type"], media_type);
        assert_eq!(
            (&head["x-external-request-id"], &head["x-external-session-id"]),
            (&HeaderValue::from_static("call-1"), &HeaderValue::from_static("batch.1"))
        );
        assert_eq!((head["x-request-id"].len(), head["x-session-id"].len()), (36, 36));
        assert_eq!(
            (&head["x-content-expiry"], &head["server"]),
            (&HeaderValue::from_static("applied"), &HeaderValue::from_static("wavebatch-sandbox"))
        );
    }
    let record = &peer.sandbox.books().requests[0];
    assert_eq!((record.sent_id.as_deref(), record.session.as_deref()), (Some("call-1"), Some("batch.1")));
    assert_eq!((record.path.as_str(), record.text.as_deref()), ("/waves/v1/tts", Some("Hello there.")));
    assert_eq!(peer.speak(json!({})).send().await.unwrap().headers()["x-external-request-id"], "");
}

#[tokio::test]
async fn the_same_is_spoken_alike_and_anything_else_is_not() {
    let peer = Peer::new().await;
    let first = bytes(peer.speak(json!({"output_format": "pcm", "request_id": "a"}))).await;
    assert_eq!(first, bytes(peer.speak(json!({"output_format": "pcm", "session_id": "b"}))).await);
    for change in [
        json!({"text": "Hello there!"}),
        json!({"voice_id": "liam"}),
        json!({"model": "lightning_v3.1_pro"}),
        json!({"language": "en"}),
        json!({"number_pronunciation_language": "hi"}),
        json!({"math_notation": true}),
        json!({"speed": 1.5}),
    ] {
        let mut change = change;
        change["output_format"] = json!("pcm");
        assert_ne!(first, bytes(peer.speak(change.clone())).await, "{change}");
    }
    let books = peer.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed(), books.billed), (8, 2, 9));
    assert_eq!(books.billed_characters, 9 * 12);
}

#[tokio::test]
async fn bodies_are_validated() {
    let peer = Peer::new().await;
    for wrong in [
        json!({"text": null}),
        json!({"text": " \n"}),
        json!({"text": 7}),
        json!({"text": "ü".repeat(8_001)}),
        json!({"voice_id": null}),
        json!({"voice_id": "nobody"}),
        json!({"output_format": "mulaw"}),
        json!({"sample_rate": 22_050}),
        json!({"sample_rate": "8000"}),
        json!({"speed": 2.1}),
        json!({"speed": "fast"}),
        json!({"language": "x x"}),
        json!({"number_pronunciation_language": ""}),
        json!({"model": "lightning-v3.1"}),
        json!({"math_notation": "true"}),
        json!({"pronunciation_dicts": "d"}),
        json!({"pronunciation_dicts": ["none"]}),
        json!({"request_id": "a b"}),
        json!({"session_id": "x".repeat(129)}),
    ] {
        for request in [peer.speak(wrong.clone()), peer.live(wrong.clone())] {
            let (status, answer) = json(request).await;
            assert_eq!((status, &answer["error"]), (400, &json!("InvalidRequest")), "{wrong}");
            assert!(answer["message"].is_string(), "{wrong}");
        }
    }
    let no_json = peer.request(Method::POST, "/waves/v1/tts").header("accept", "audio/wav").body("text=hello");
    assert_eq!(json(no_json).await.0, 400);
    assert_eq!(peer.sandbox.books().billed, 0);
    for right in [
        json!({"text": "ü".repeat(8_000), "voice_id": "voice_mine"}),
        json!({"model": "lightning_v3.1_pro", "language": "auto", "speed": 0.5, "word_timestamps": true}),
    ] {
        bytes(peer.speak(right)).await;
    }
    let (status, answer) = json(peer.client.post(format!("{}/waves/v1/tts", peer.sandbox.base_url()))).await;
    assert_eq!((status, answer), (401, json!({"message": "Unauthorized: No tokens provided"})));
}

#[tokio::test]
async fn without_accept_the_answer_is_empty() {
    let peer = Peer::new().await;
    let request = peer.request(Method::POST, "/waves/v1/tts").json(&wanted(json!({})));
    assert!(bytes(request).await.is_empty());
    assert_eq!(peer.sandbox.books().billed, 1);
    assert!(!bytes(peer.live(json!({}))).await.is_empty());
}

#[tokio::test]
async fn a_stream_has_its_mark_at_the_end() {
    let peer = Peer::new().await;
    let response = peer.live(json!({"output_format": "pcm"})).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.content_length(), None);
    let stream = response.text().await.unwrap();
    assert!(stream.starts_with("event: audio\ndata: {\"audio\": \""), "{stream}");
    assert!(stream.ends_with("\n\ndata: {\"status\": \"200\", \"done\": true}\n\n"));
    peer.sandbox.script([
        Fault::new(Match::Text("unended".into()), What::Unended),
        Fault::new(Match::Text("fails".into()), What::ErrorEvent),
    ]);
    let unended = bytes(peer.live(json!({"text": "It is unended."}))).await;
    assert!(unended.ends_with(b"\"206\"}\n\n"));
    assert!(bytes(peer.live(json!({"text": "It fails."}))).await.starts_with(b"event: error\n"));
    assert_eq!(peer.sandbox.books().billed, 3);
}

#[tokio::test]
async fn both_models_share_what_may_be_in_flight() {
    let peer = Peer::with(Config { tts_concurrency: Some(2), concurrency: Some(1), ..Config::default() }).await;
    peer.sandbox.hold();
    let held =
        ["lightning_v3.1", "lightning_v3.1_pro"].map(|model| tokio::spawn(peer.speak(json!({"model": model})).send()));
    peer.sandbox.waiting(2).await;
    let transcription = peer.spawn(1);
    peer.sandbox.waiting(3).await;
    let refused = peer.live(json!({})).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &HeaderValue::from_static("1")));
    assert_eq!(refused.json::<Value>().await.unwrap()["error"], "TooManyRequests");
    peer.sandbox.release();
    for call in held.into_iter().chain([transcription]) {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    let books = peer.sandbox.books();
    assert_eq!((books.models["tts"].peak_in_flight, books.models["pulse"].peak_in_flight), (2, 1));
    assert_eq!((books.peak_in_flight, books.in_flight, books.calls), (3, 0, 4));
}

#[tokio::test]
async fn a_success_can_be_useless() {
    for (what, media_type, len) in [
        (What::Json200, "application/json", 70),
        (What::Empty200, "audio/wav", 0),
        (What::WrongType200, "text/html", 33),
        (What::Short200, "audio/wav", 6_439),
        (What::EmptyText, "audio/wav", 78),
        (What::WrongDuration(0.5), "audio/wav", 6_478),
    ] {
        let peer = Peer::new().await;
        peer.sandbox.script([Fault::new(Match::Nth(1), what.clone())]);
        let response = peer.speak(json!({})).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &media_type.parse().unwrap())
        );
        assert_eq!(response.bytes().await.unwrap().len(), len, "{what:?}");
        assert_eq!(peer.sandbox.books().billed, 1);
    }
}

#[tokio::test]
async fn statuses_and_cuts_are_scripted_as_for_transcription() {
    let peer = Peer::new().await;
    peer.sandbox.script([
        Fault::new(Match::Nth(1), What::status(500)),
        Fault::new(Match::Nth(2), What::EarlyRefusal { retry_after: Some("2".into()) }),
        Fault::new(Match::Nth(3), What::Html(502)),
        Fault::new(Match::Nth(4), What::Truncated),
        Fault::new(Match::Nth(5), What::CutAfterWork),
        Fault::new(Match::Nth(6), What::CutBeforeWork),
        Fault::new(Match::Nth(7), What::Drip(1)),
    ]);
    let failed = json!({"error": "InternalServerError", "message": "scripted by the sandbox"});
    assert_eq!(json(peer.speak(json!({}))).await, (500, failed));
    assert_eq!(json(peer.speak(json!({}))).await.0, 429);
    assert_eq!(peer.live(json!({})).send().await.unwrap().status(), 502);
    assert!(peer.live(json!({})).send().await.unwrap().bytes().await.is_err());
    assert!(peer.speak(json!({})).send().await.is_err());
    assert!(peer.live(json!({})).send().await.is_err());
    let dripped = bytes(peer.speak(json!({}))).await;
    assert_eq!(dripped, bytes(peer.speak(json!({}))).await);
    let books = peer.sandbox.books();
    assert_eq!((books.calls, books.billed, books.cut), (8, 4, 3));
}

#[tokio::test]
async fn dictionaries_are_kept_and_heard() {
    let peer = Peer::new().await;
    let at = |method| peer.request(method, "/waves/v1/pronunciation-dicts");
    let items = |said: &str| json!([{"word": "mysql", "pronunciation": said}]);
    let (status, made) = json(at(Method::POST).json(&json!({"items": items("my-sequel")}))).await;
    assert!(status == 200 && made["createdAt"].is_string() && made["items"] == items("my-sequel"), "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(json(at(Method::GET)).await, (200, json!([made])));

    let speak = || peer.speak(json!({"pronunciation_dicts": [id]}));
    let (plain, one) = (bytes(peer.speak(json!({}))).await, bytes(speak()).await);
    let changed = json!({"id": id, "items": items("my-s-q-l")});
    assert_eq!(json(at(Method::PUT).json(&changed)).await, (200, changed));
    let other = bytes(speak()).await;
    assert!(plain != one && one != other && plain != other);

    assert_eq!(json(at(Method::DELETE).json(&json!({"id": id}))).await, (200, json!({"id": id, "deleted": true})));
    assert_eq!(json(speak()).await.0, 400);
    for (method, wrong) in [
        (Method::POST, json!({})),
        (Method::POST, json!({"items": []})),
        (Method::POST, json!({"items": items("")})),
        (Method::POST, json!({"items": [{"word": "a"}]})),
        (Method::PUT, json!({"items": items("a")})),
        (Method::PUT, json!({"id": id, "items": items("a")})),
        (Method::DELETE, json!({"id": id})),
        (Method::DELETE, json!({})),
    ] {
        let (status, answer) = json(at(method).json(&wrong)).await;
        assert!(status == 400 && answer["error"].is_string(), "{wrong}: {answer}");
    }
    assert_eq!(peer.sandbox.books().dictionary_calls, 12);
}

#[tokio::test]
async fn retired_routes_are_gone() {
    let peer = Peer::new().await;
    for path in
        ["lightning-v3.1/get_speech", "lightning-v3.1/stream", "lightning-v2/get_speech", "lightning-large/stream"]
    {
        let (status, answer) =
            json(peer.request(Method::POST, &format!("/waves/v1/{path}")).json(&wanted(json!({})))).await;
        assert_eq!((status, &answer["error"]), (410, &json!("MODEL_DEPRECATED")), "{path}");
    }
    let books = peer.sandbox.books();
    assert_eq!((books.retired_calls, books.calls), (4, 0));
}

/// A WAV without a comment.
fn wave(pcm: &[u8]) -> Vec<u8> {
    let samples: Vec<i16> = pcm.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect();
    crate::audio::wav::pcm16(1, 24_000, None, &samples)
}

#[tokio::test]
async fn its_own_voice_is_transcribed_with_words_and_times() {
    let peer = Peer::new().await;
    let text = "Please hold the line. Grüße aus Köln!";
    for format in ["pcm", "mp3"] {
        let spoken = bytes(peer.speak(json!({"text": text, "output_format": format, "sample_rate": 24_000}))).await;
        let file = if format == "pcm" { wave(&spoken) } else { spoken };
        let (status, answer) = json(peer.call("model=pulse&language=en&word_timestamps=true").body(file)).await;
        assert_eq!((status, &answer["transcription"]), (200, &json!(text)), "{format}");
        let words = answer["words"].as_array().unwrap();
        let (start, end) =
            (|n: usize| words[n]["start"].as_f64().unwrap(), |n: usize| words[n]["end"].as_f64().unwrap());
        assert_eq!((words.len(), &words[6]["word"]), (7, &json!("Köln!")));
        assert!((1..7).all(|n| start(n - 1) < end(n - 1) && end(n - 1) <= start(n)), "{words:?}");
        assert!(end(6) <= text.chars().count() as f64 / 15.0 + 0.1, "{words:?}");
    }
}

#[tokio::test]
async fn voices_that_speak_at_once_are_speakers() {
    let peer = Peer::new().await;
    let texts = ["Is there anything else that I can do for you?", "No, that was all, and thank you very much indeed."];
    let mut mix = vec![0i16; 24_000 * 5];
    for (text, voice) in texts.iter().zip(["avery", "magnus"]) {
        let asked = json!({"text": text, "voice_id": voice, "output_format": "pcm", "sample_rate": 24_000});
        for (at, sample) in bytes(peer.speak(asked)).await.chunks_exact(2).enumerate() {
            mix[at] += i16::from_le_bytes([sample[0], sample[1]]);
        }
    }
    let file = wave(&mix.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>());
    let query = "model=pulse&language=en&word_timestamps=true&diarize=true";
    let (_, answer) = json(peer.call(query).body(file)).await;
    let mut said: Vec<String> = (0..2)
        .map(|speaker| {
            let words = answer["words"].as_array().unwrap().iter().filter(|word| word["speaker"] == speaker);
            words.map(|word| word["word"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    said.sort();
    assert_eq!(said, texts);
}
