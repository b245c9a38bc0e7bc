//! Recordings that clients tell apart by padding.

use std::{io::Cursor, path::Path};

use super::*;
use crate::media::padding;

#[tokio::test]
async fn a_padded_recording_is_the_same_recording() {
    let peer = Peer::new().await;
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/demo-calls");
    let read = |name: &str| std::fs::read(demo.join(name)).unwrap();
    let files = [
        spoken(2, "A short call."),
        spoken(300, "A long call."),
        read("1005-refund.mp3"),
        include_bytes!("../../audio/testdata/8k.mp3").to_vec(),
        read("1007-cancel.flac"),
        read("1008-order.m4a"),
    ];
    for (n, file) in files.iter().enumerate() {
        let plan = padding::plan(&mut Cursor::new(file)).unwrap();
        let mut answers = Vec::new();
        for extra in [None, Some(plan.takes().least()), Some(5_000), Some(65_536)] {
            let body = match extra {
                Some(extra) => plan.apply(extra).unwrap().apply(0, file.clone().into()).unwrap(),
                None => file.clone().into(),
            };
            let len = body.len() as u64;
            let (status, mut answer) = json(peer.call("model=pulse&language=en").body(body)).await;
            assert_eq!(status, 200);
            assert_eq!(answer["metadata"]["fileSize"].take(), len);
            answer["request_id"].take();
            answers.push(answer);
            assert_eq!(peer.sandbox.books().requests.last().unwrap().bytes, len);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let books = peer.sandbox.books();
        assert_eq!((books.contents.len(), books.most_billed()), (n + 1, 4));
        let content = books.contents[books.requests.last().unwrap().sha256.as_ref().unwrap()];
        assert_eq!((content.calls, content.billed), (4, 4));
        assert!(content.bytes <= file.len() as u64, "{content:?}");
    }
}
