//! Requests that cost nothing: the log, and the health check.

use super::*;

#[tokio::test]
async fn the_log_is_read_leniently() {
    let body = r#"{"status":"success","data":[
        {"request_id":"r1","timestamp":"2026-08-07 08:17:25","request_type":"rest","model":"pulse","language":"en",
         "duration":44.03,"file_size":"1409","transcription":"a b","word_timestamps":true,"diarize":"true",
         "redact_pii":"false","redact_pci":0,"webhook_url":"","numerals":"auto"},
        {"request_id":"r2","model":"pulse-pro","language":"en","duration":"5.5","file_size":12,"transcription":null,
         "webhook_url":"https://h.example/x","request_type":"ws","timestamp":"soon","keywords":"GST:2, Northwind",
         "emotions":{"calm":0.7,"x":[1]},"gender":"female"}],"page":2,"pageSize":2,"totalCount":13,"totalPages":7}"#;
    let (url, mut heads) = serve(move |mut peer: Peer| async move {
        let (head, _) = peer.request().await;
        peer.respond("200 OK", "", body).await;
        head
    })
    .await;
    let filter = LogFilter { from: Some(1_786_090_585), model: Some("pulse") };
    let LogPage { entries: log, pages } = client(&url).stt_log(2, 50, filter).await.unwrap();
    let asked = "GET /waves/v1/analytics/asr/logs?page=2&pageSize=50&model=pulse&timestampFrom=1786090585 ";
    assert!(heads.recv().await.unwrap().starts_with(asked));
    assert_eq!(pages, Some(7));
    assert_eq!((log[0].duration_s, log[0].bytes, log[0].webhook_url.as_deref()), (Some(44.03), Some(1409), None));
    assert!(log[0].flags.word_timestamps && log[0].flags.diarize && !log[0].flags.redact_pii);
    assert_eq!((log[1].duration_s, log[1].bytes, log[1].transcription.len()), (Some(5.5), Some(12), 0));
    assert_eq!(log[0].transcription, "a b".into());
    assert_eq!(log[1].webhook_url.as_deref(), Some("https://h.example/x"));
    assert_eq!((log[0].logged_at, log[0].is_socket, log[0].keywords.as_str()), (Some(1_786_090_645), false, ""));
    assert_eq!((log[1].logged_at, log[1].is_socket, log[1].keywords.as_str()), (None, true, "GST:2, Northwind"));
    assert_eq!((log[1].emotions.as_deref(), log[1].gender.as_deref()), (Some(r#"{"calm":0.7}"#), Some("female")));
    assert_eq!((&log[0].emotions, &log[0].gender), (&None, &None));
}

async fn log_of(body: String) -> Result<Vec<LogEntry>, LogError> {
    let (url, _) = serve(move |mut peer: Peer| {
        let body = body.clone();
        async move {
            peer.head().await;
            peer.respond("200 OK", "", &body).await;
        }
    })
    .await;
    client(&url).stt_log(1, 50, LogFilter::default()).await.map(|page| page.entries)
}

#[tokio::test]
async fn a_large_page_of_the_log_is_kept_packed_and_junk_is_not_kept() {
    let words = "so we looked at the numbers again ".repeat(150_000);
    let entry = |id: &str, field: &str| format!(r#"{{"request_id":"{id}","duration":"5.5",{field}}}"#);
    let entries = [
        entry("r1", &format!(r#""transcription":"{words}""#)),
        entry("r2", r#""transcription":[0,{"a":1}],"diarize":"yes","file_size":{}"#),
        entry("r3", r#""transcription":7.5,"language":true"#),
    ];
    let log = log_of(format!(r#"{{"data":[{}],"page":1}}"#, entries.join(","))).await.unwrap();
    assert_eq!(log[0].transcription.whole().unwrap(), words);
    assert!(log[0].transcription.kept().0.len() < words.len() / 50);
    assert!(log[1].transcription.is_empty() && log[1].flags.diarize && log[1].bytes.is_none());
    assert_eq!((&log[2].transcription, log[2].language.as_str()), (&"7.5".into(), ""));
    assert!(log.iter().all(|entry| entry.duration_s == Some(5.5)));

    let message = log_of(format!(r#"{{"data":[{}{{}}]}}"#, "{},".repeat(10_000))).await.unwrap_err().to_string();
    assert!(message.contains("more than 10000 entries on a page"), "{message}");
}

#[tokio::test]
async fn a_catalog_is_read_up_to_a_length() {
    let (url, _) = serve(|mut peer: Peer| async move {
        peer.head().await;
        peer.respond("200 OK", "", &format!("{{\"voices\":[{}{{}}]}}", "{},".repeat(3_000_000))).await;
    })
    .await;
    let failure = client(&url).voices().await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::AnswerTooLarge, "{}", failure.message);
}

#[tokio::test]
async fn a_log_that_is_not_there_is_told_from_one_that_fails() {
    for (response, absent) in [
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"data\":[7]}", false),
        ("", false),
    ] {
        let (url, _) = serve(move |mut peer: Peer| async move {
            peer.head().await;
            peer.write(response).await;
        })
        .await;
        let error = client(&url).stt_log(1, 50, LogFilter::default()).await.unwrap_err();
        assert_eq!(matches!(error, LogError::Absent(_)), absent, "{response}: {error}");
    }
}

#[tokio::test]
async fn health_needs_no_key() {
    let (url, mut heads) = serve(|mut peer: Peer| async move {
        let head = peer.head().await;
        peer.respond("200 OK", "Date: Fri, 07 Aug 2026 08:00:30 GMT\r\n", r#"{"status":"ok"}"#).await;
        head
    })
    .await;
    assert_eq!(client(&url).health().await.unwrap(), Some(1_786_089_630_000), "the time of its clock");
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /waves/v1/health ") && !head.contains("authorization"));
}
