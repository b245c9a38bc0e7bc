//! What a 200 looks like.

use serde_json::json;

use super::*;

const TWO: &str = "Hello there, how are you? I am fine.";

#[tokio::test]
async fn pulse_hears_the_comment_over_the_real_length() {
    let peer = Peer::new().await;
    let response = peer.call("model=pulse&language=en").body(spoken(4, TWO)).send().await.unwrap();
    assert_eq!(response.headers()["server"], "wavebatch-sandbox");
    assert!(!response.headers().contains_key("x-content-expiry"));
    let expected = json!({
        "status": "success", "transcription": TWO, "words": [], "utterances": [],
        "metadata": {"duration": 4.0, "fileSize": 64_102, "sandbox": true},
    });
    assert_eq!(response.json::<Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn pulse_gives_words_speakers_and_labels_where_asked_for() {
    let peer = Peer::new().await;
    let query =
        "model=pulse&language=en&word_timestamps=true&diarize=true&emotion_detection=true&gender_detection=true";
    let (status, answer) = json(peer.call(query).body(spoken(4, TWO))).await;
    assert_eq!((status, answer["words"].as_array().unwrap().len()), (200, 8));
    assert_eq!(answer["words"][0]["word"], "Hello");
    assert_eq!((&answer["words"][0]["speaker"], &answer["words"][7]["speaker"]), (&json!(0), &json!(1)));
    assert!(answer["words"][7]["end"].as_f64().unwrap() <= 4.0);
    assert_eq!(answer["utterances"][1]["text"], "I am fine.");
    assert!(answer["gender"].is_string() && answer["emotions"]["neutral"].is_f64());
    assert!(answer.get("language").is_none() && answer.get("request_id").is_none());
}

#[tokio::test]
async fn pulse_pro_has_a_shape_of_its_own() {
    let peer = Peer::new().await;
    let query = "model=pulse-pro&language=en&word_timestamps=true&diarize=true&gender_detection=true";
    let (_, answer) = json(peer.call(query).body(spoken(4, TWO))).await;
    assert_eq!((&answer["language"], &answer["totalBytes"]), (&json!("en"), &json!(64_102)));
    assert!(answer["request_id"].is_string() && answer["metadata"]["rtfx"].is_f64());
    assert!(answer.get("utterances").is_none() && answer.get("gender").is_none());
    assert!(answer["words"][0].get("speaker").is_none());
    assert_eq!(answer["metadata"]["num_chunks"], 1);
}

#[tokio::test]
async fn other_audio_is_invented_alike_each_time_and_never_alike_for_others() {
    let peer = Peer::new().await;
    let (_, one) = json(peer.plain(1)).await;
    let (_, again) = json(peer.plain(1)).await;
    let (_, other) = json(peer.plain(2)).await;
    assert_eq!(one, again);
    assert_ne!(one["transcription"], other["transcription"]);
    let (_, raw) = json(peer.call("model=pulse&language=en").body(vec![0xFF; 32_000])).await;
    assert_eq!(raw["metadata"]["duration"], 2.0, "16 kB a second where nothing tells");
}

#[tokio::test]
async fn an_empty_comment_is_an_empty_transcript() {
    let peer = Peer::new().await;
    let (status, answer) = json(peer.call("model=pulse&language=en&word_timestamps=true").body(spoken(4, ""))).await;
    assert_eq!((status, &answer["transcription"], &answer["words"]), (200, &json!(""), &json!([])));
}

#[tokio::test]
async fn redaction_works_where_the_api_has_it() {
    let peer = Peer::new().await;
    for (language, expected) in [("en", "Call [PHONENUMBER_1] now."), ("de", "Call 5550100 now.")] {
        let query = format!("model=pulse&language={language}&redact_pii=true");
        let (_, answer) = json(peer.call(&query).body(spoken(4, "Call 5550100 now."))).await;
        assert_eq!(answer["transcription"], expected);
    }
}

#[tokio::test]
async fn expiry_is_confirmed_where_asked_for() {
    let peer = Peer::with(Config { content_expiry: "not-entitled".into(), ..Config::default() }).await;
    let response = peer.plain(1).header("x-expire-content", "true").send().await.unwrap();
    assert_eq!(response.headers()["x-content-expiry"], "not-entitled");
}

#[tokio::test]
async fn a_url_is_fetched() {
    let files = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = files.local_addr().unwrap();
    let app = axum::Router::new().route("/call.wav", axum::routing::get(|| async { spoken(4, TWO) }));
    tokio::spawn(axum::serve(files, app).into_future());

    let peer = Peer::new().await;
    let by_url = |model: &str, url: String| {
        let path = format!("/waves/v1/stt/?model={model}&language=en");
        peer.request(Method::POST, &path).json(&json!({ "url": url }))
    };
    let (status, answer) = json(by_url("pulse", format!("http://{at}/call.wav?sig=x"))).await;
    assert_eq!((status, &answer["transcription"]), (200, &json!(TWO)));
    assert_eq!(answer["metadata"]["filename"], "call.wav");
    assert_eq!(peer.sandbox.books().requests[0].bytes, 64_102);

    for (model, url) in [
        ("pulse", format!("http://{at}/none.wav")),
        ("pulse", "ftp://somewhere/call.wav".into()),
        ("pulse", "no url".into()),
        ("pulse-pro", format!("http://{at}/call.wav")),
    ] {
        assert_eq!(json(by_url(model, url.clone())).await.0, 400, "{url}");
    }
    assert_eq!(peer.sandbox.books().billed, 1);
}

#[tokio::test]
async fn without_fetching_a_url_is_as_good_as_a_recording() {
    let peer = Peer::with(Config { fetch: false, ..Config::default() }).await;
    let path = "/waves/v1/stt/?model=pulse&language=en";
    let call = || peer.request(Method::POST, path).json(&json!({"url": "https://nowhere.invalid/a.mp3"}));
    let (status, answer) = json(call()).await;
    assert_eq!((status, answer), (200, json(call()).await.1));
}

#[tokio::test]
async fn every_demo_recording_is_understood() {
    let peer = Peer::new().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/demo-calls");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (status, answer) = json(peer.call("model=pulse&language=en").body(std::fs::read(&path).unwrap())).await;
        assert_eq!(status, 200, "{path:?}");
        assert!(answer["metadata"]["duration"].as_f64().unwrap() > 2.0, "{path:?}");
        assert!(answer["transcription"].as_str().unwrap().len() > 10, "{path:?}");
    }
}
