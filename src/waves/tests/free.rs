//! What costs nothing: the log, and whether the API is well.

use super::*;

#[tokio::test]
async fn the_log_is_read_leniently() {
    let body = r#"{"status":"success","data":[
        {"request_id":"r1","timestamp":"2026-08-07 08:17:25","request_type":"rest","model":"pulse","language":"en",
         "duration":44.03,"file_size":"1409","transcription":"a b","word_timestamps":true,"diarize":"true",
         "redact_pii":"false","redact_pci":0,"webhook_url":"","numerals":"auto"},
        {"request_id":"r2","model":"pulse-pro","language":"en","duration":"5.5","file_size":12,"transcription":null,
         "webhook_url":"https://h.example/x"}],"page":2}"#;
    let (url, mut heads) = serve(move |mut peer: Peer| async move {
        let (head, _) = peer.request().await;
        peer.respond("200 OK", "", body).await;
        head
    })
    .await;
    let log = client(&url).stt_log(2, 100).await.unwrap();
    assert!(heads.recv().await.unwrap().starts_with("GET /waves/v1/analytics/asr/logs?page=2&pageSize=100 "));
    assert_eq!((log[0].duration_s, log[0].bytes, log[0].webhook_url.as_deref()), (Some(44.03), Some(1409), None));
    assert!(log[0].flags.word_timestamps && log[0].flags.diarize && !log[0].flags.redact_pii);
    assert_eq!((log[1].duration_s, log[1].bytes, log[1].transcription.len()), (Some(5.5), Some(12), 0));
    assert_eq!(log[0].transcription, "a b".into());
    assert_eq!(log[1].webhook_url.as_deref(), Some("https://h.example/x"));
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
        let error = client(&url).stt_log(1, 100).await.unwrap_err();
        assert_eq!(matches!(error, LogError::Absent(_)), absent, "{response}: {error}");
    }
}

#[tokio::test]
async fn health_needs_no_key() {
    let (url, mut heads) = serve(|mut peer: Peer| async move {
        let head = peer.head().await;
        peer.respond("200 OK", "", r#"{"status":"ok"}"#).await;
        head
    })
    .await;
    client(&url).health().await.unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /waves/v1/health ") && !head.contains("authorization"));
}
