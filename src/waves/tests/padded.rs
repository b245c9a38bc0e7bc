//! Recordings that are sent with padding, over real sockets.

use bytes::Bytes;

use super::*;
use crate::{
    audio::wav,
    domain::padding::{Edit, Patch},
    media::padding,
};

/// A file with these bytes, and the body that sends it with this patch.
fn patched(bytes: &[u8], patch: Patch) -> (NamedTempFile, SttBody) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let body = SttBody::File {
        path: file.path().into(),
        len: bytes.len() as u64,
        content_type: "audio/wav".into(),
        patch: Some(patch),
    };
    (file, body)
}

/// The length in the head of the request, and the body after it.
async fn received(body: SttBody) -> (usize, Vec<u8>) {
    let (url, mut requests) = serve(|mut peer: Peer| async move {
        let request = peer.request().await;
        peer.respond("200 OK", "", OK).await;
        request
    })
    .await;
    let outcome = call_with(&url, body, Departure::Go, LONG).await;
    assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
    let (head, sent) = requests.recv().await.unwrap();
    let head = head.to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(!head.contains("transfer-encoding"));
    (len.parse().unwrap(), sent)
}

#[tokio::test]
async fn the_server_gets_exactly_the_padded_recording() {
    // Files of at most 64 KiB are read completely; larger ones are read 128 KiB at a time.
    for samples in [10, 32_000, 32_746, 32_747, 65_514, 300_000] {
        let file = wav::pcm16(1, 8000, Some("words"), &vec![7; samples]);
        let plan = padding::plan(&mut std::io::Cursor::new(&file)).unwrap();
        for extra in [8, 10, 300, 65_536] {
            let patch = plan.apply(extra).unwrap();
            let expected = patch.apply(0, file.clone().into()).unwrap();
            assert_eq!(expected.len(), file.len() + extra as usize);
            let (_file, body) = patched(&file, patch);
            let (len, sent) = received(body).await;
            assert!(len == expected.len() && sent == expected, "{samples} samples and {extra}");
        }
    }
}

#[tokio::test]
async fn edits_may_be_anywhere_also_across_what_is_read_at_a_time() {
    const CHUNK: u64 = 128 * 1024;
    let source: Vec<u8> = (0..3 * CHUNK).map(|at| (at % 251) as u8).collect();
    let len = source.len() as u64;
    let over = CHUNK as usize - 3..CHUNK as usize + 3;
    let edits = vec![
        Edit::insert(0, vec![1; 70_000]),
        Edit::replace(CHUNK - 3, &source[over], b"abcdef"),
        Edit::insert(2 * CHUNK, vec![2; 5]),
        Edit::remove(3 * CHUNK - 10, len),
        Edit::insert(len, vec![3; 65_536]),
    ];
    let patch = Patch::new(len, edits).unwrap();
    let expected = patch.apply(0, Bytes::from(source.clone())).unwrap();
    let (_file, body) = patched(&source, patch);
    let (len, sent) = received(body).await;
    assert!(len == expected.len() && sent == expected);
}

#[tokio::test]
async fn a_padded_recording_that_is_not_what_it_was_is_not_sent() {
    let (url, mut received) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    for samples in [1_000, 300_000] {
        let file = wav::pcm16(1, 8000, None, &vec![7; samples]);
        let patch = padding::plan(&mut std::io::Cursor::new(&file)).unwrap().apply(100).unwrap();
        let longer = [file.clone(), vec![0]].concat();
        for other in [&file[..file.len() - 1], &longer] {
            let (_file, body) = patched(other, patch.clone());
            assert_eq!(not_sent(&call_with(&url, body, Departure::Go, LONG).await).kind, ErrorKind::SourceChanged);
            assert!(received.try_recv().is_err());
        }
    }
    let mut file = wav::pcm16(1, 8000, None, &[7; 1_000]);
    let patch = padding::plan(&mut std::io::Cursor::new(&file)).unwrap().apply(100).unwrap();
    file[4] ^= 1;
    let (_file, body) = patched(&file, patch);
    assert_eq!(not_sent(&call_with(&url, body, Departure::Go, LONG).await).kind, ErrorKind::SourceChanged);
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_padded_recording_that_changes_under_way_never_arrives_whole() {
    let source = wav::pcm16(1, 8000, None, &[7; 300_000]);
    let patch = padding::plan(&mut std::io::Cursor::new(&source)).unwrap().apply(65_536).unwrap();
    let whole = source.len() + 65_536;
    let grows: fn(&std::fs::File, u64) = |file, len| file.set_len(len + 1).unwrap();
    let shrinks: fn(&std::fs::File, u64) = |file, len| file.set_len(len - 1).unwrap();
    let has_another_header: fn(&std::fs::File, u64) = |mut file, _| file.write_all(b"RIFF\0\0\0\0").unwrap();
    for change in [grows, shrinks, has_another_header] {
        let (url, mut received) = serve(|mut peer: Peer| async move {
            peer.head().await;
            peer.rest().await.len()
        })
        .await;
        let (file, body) = patched(&source, patch.clone());
        let (handle, len) = (file.reopen().unwrap(), source.len() as u64);
        let options = options();
        let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: None };
        // The last moment before sending comes after the check of the length.
        let departs = move || {
            change(&handle, len);
            Departure::Go
        };
        let outcome = client(&url).transcribe(&call, body, departs, LONG).await;
        assert_eq!(not_sent(&outcome).kind, ErrorKind::SourceChanged, "{outcome:?}");
        assert!(received.recv().await.unwrap() < whole);
    }
}

#[tokio::test]
async fn a_stale_permit_sends_nothing_of_a_padded_recording() {
    let (url, mut received) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    for samples in [1_000, 300_000] {
        let file = wav::pcm16(1, 8000, None, &vec![7; samples]);
        let patch = padding::plan(&mut std::io::Cursor::new(&file)).unwrap().apply(8).unwrap();
        let (_file, body) = patched(&file, patch);
        assert_eq!(call_with(&url, body, Departure::Stale, LONG).await, Outcome::Stale);
        assert_eq!(received.recv().await.unwrap(), b"");
    }
}
