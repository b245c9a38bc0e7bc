//! Recordings that have changed since they were examined.

use super::*;

#[tokio::test]
async fn a_recording_that_is_not_what_it_was_is_not_sent() {
    let (url, mut received) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    for (len, claimed) in [(1000, 999_u64), (1000, 1001), (500_000, 499_999), (500_000, 500_001)] {
        let (file, _) = recording(len);
        let body = SttBody::File { path: file.path().into(), len: claimed, content_type: String::new(), patch: None };
        let outcome = call_with(&url, body, Departure::Go, LONG).await;
        assert_eq!(not_sent(&outcome).kind, ErrorKind::SourceChanged);
    }
    let missing = SttBody::File { path: "/no/such/file.wav".into(), len: 5, content_type: String::new(), patch: None };
    assert_eq!(not_sent(&call_with(&url, missing, Departure::Go, LONG).await).kind, ErrorKind::SourceMissing);
    let empty = SttBody::File { path: "/no/such/file.wav".into(), len: 0, content_type: String::new(), patch: None };
    assert_eq!(not_sent(&call_with(&url, empty, Departure::Go, LONG).await).kind, ErrorKind::SourceEmpty);
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_recording_that_changes_under_way_never_arrives_whole() {
    for grows in [true, false] {
        let (url, mut received) = serve(|mut peer: Peer| async move {
            peer.head().await;
            peer.rest().await.len()
        })
        .await;
        let (file, body) = recording(400_000);
        let handle = file.reopen().unwrap();
        let options = options();
        let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: None };
        // The last moment before sending comes after the check of the length.
        let departs = move || {
            handle.set_len(if grows { 400_001 } else { 300_000 }).unwrap();
            Departure::Go
        };
        let outcome = client(&url).transcribe(&call, body, departs, LONG).await;
        assert_eq!(not_sent(&outcome).kind, ErrorKind::SourceChanged, "{outcome:?}");
        assert!(received.recv().await.unwrap() < 400_000);
    }
}
