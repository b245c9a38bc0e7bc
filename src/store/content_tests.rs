//! How a local file is recognized as the recording that was sent.

use crate::domain::{
    identity::{ContentHash, Passport, SeenFile},
    job::{BatchId, JobId, JobState, Token},
};
use crate::store::{tests::*, *};

const FIRST: SeenFile = SeenFile { bytes: 9, modified_ns: 1, inode: 5 };

/// The line `k1` with a file of this metadata and content, below a folder.
fn found(folder: &str, path: &str, seen: Option<SeenFile>, content: Option<u8>) -> NewJob {
    let passport = Passport { path: path.into(), seen };
    let source = format!("{folder}/{path}");
    let content = content.map(|n| ContentHash([n; 32]));
    NewJob {
        source_id: passport.identity(),
        local: Some(NewLocal { passport, content }),
        source: Some(source),
        ..job(1, "/unused")
    }
}

/// A ledger whose one line was read before its call, and answered.
async fn heard(content: Option<u8>) -> (Ledger, BatchId, (JobId, Token)) {
    let l = ledger().await;
    let b = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    l.store.submit(b, vec![found("/r", "1.wav", Some(FIRST), None)], vec![]).await.unwrap();
    l.store.end_submit(b).await.unwrap();
    l.store.enlist("{}".into()).await.unwrap();
    let claimed = claim(&l.store, 1).await.remove(0);
    let lease = (claimed.job, claimed.token);
    l.store.note_content(lease, FIRST, content.map(|n| ContentHash([n; 32]))).await.unwrap();
    let permit = l.store.permit(ask(&claimed, Default::default())).await.unwrap().unwrap();
    l.store.end(ended(permit.call, answered())).await.unwrap();
    assert!(l.store.settle(settle(&claimed, done(JobState::Succeeded))).await.unwrap());
    (l, b, lease)
}

#[tokio::test]
async fn what_says_that_a_file_is_the_same() {
    let other = |bytes, modified_ns, inode| Some(SeenFile { bytes, modified_ns, inode });
    // The counts: same, changed, to read, unseen.
    for (what, line, counts) in [
        ("as it was", found("/r", "1.wav", Some(FIRST), None), (1, 0, 0, 0)),
        ("put there again with its time", found("/r", "1.wav", other(9, 1, 6), None), (1, 0, 0, 0)),
        ("moved with its folder", found("/s", "1.wav", Some(FIRST), None), (1, 0, 0, 0)),
        ("like it, in another folder", found("/s", "1.wav", other(9, 1, 6), None), (0, 0, 1, 0)),
        ("another time", found("/r", "1.wav", other(9, 2, 5), None), (0, 0, 1, 0)),
        ("another path", found("/r", "x/1.wav", Some(FIRST), None), (0, 0, 1, 0)),
        ("another time, the same content", found("/r", "1.wav", other(9, 2, 5), Some(7)), (1, 0, 0, 0)),
        ("another time and content", found("/r", "1.wav", other(9, 2, 5), Some(8)), (0, 1, 0, 0)),
        ("another size", found("/r", "1.wav", other(8, 1, 5), None), (0, 1, 0, 0)),
        ("gone", found("/r", "1.wav", None, None), (0, 0, 0, 1)),
    ] {
        let (l, b, _) = heard(Some(7)).await;
        let diff = l.store.diff(b, std::slice::from_ref(&line)).await.unwrap();
        assert_eq!((diff.same_source, diff.other_source, diff.to_read, diff.unseen), counts, "{what}: {diff:?}");
        assert_eq!((diff.changed, diff.done), (counts.1, 1 - counts.1), "{what}: what is not known stays");
        let to_read = l.store.to_read(b, [(&line, 0)].into_iter().collect()).await.unwrap();
        assert_eq!(to_read.len() as u64, counts.2, "{what}");
        let submitted = l.store.submit(b, vec![line.clone()], vec![]).await.unwrap();
        assert_eq!((submitted.changed, submitted.new), (counts.1, 0), "{what}");
        let again = l.store.diff(b, &[line]).await.unwrap();
        assert_eq!(again.same_source, u64::from(counts.0 + counts.1 > 0), "{what}: it is known by this from now on");
    }
}

#[tokio::test]
async fn a_file_that_changed_while_it_was_sent_is_no_file() {
    let (l, b, _) = heard(None).await;
    let as_it_was = found("/r", "1.wav", Some(FIRST), None);
    assert_eq!(l.store.diff(b, &[as_it_was]).await.unwrap().to_read, 1);
    let read = found("/r", "1.wav", Some(FIRST), Some(0));
    assert_eq!(l.store.submit(b, vec![read], vec![]).await.unwrap().changed, 1);
}

#[tokio::test]
async fn who_has_lost_the_lease_notes_nothing() {
    let (l, b, lease) = heard(Some(7)).await;
    l.store.note_content(lease, FIRST, Some(ContentHash([8; 32]))).await.unwrap();
    let read = found("/r", "1.wav", Some(SeenFile { modified_ns: 2, ..FIRST }), Some(7));
    assert_eq!(l.store.diff(b, &[read]).await.unwrap().same_source, 1);
}

#[tokio::test]
async fn a_file_that_nobody_read_is_taken_as_it_is_and_proves_nothing() {
    let l = ledger().await;
    let b = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    l.store.submit(b, vec![found("/r", "1.wav", Some(FIRST), None)], vec![]).await.unwrap();
    for (line, unproven) in [
        (found("/r", "1.wav", Some(FIRST), None), 0),
        (found("/s", "1.wav", Some(FIRST), None), 0),
        (found("/s", "1.wav", Some(SeenFile { inode: 6, ..FIRST }), None), 1),
        (found("/r", "1.wav", Some(SeenFile { bytes: 10, ..FIRST }), None), 1),
        (found("/r", "1.wav", None, None), 1),
    ] {
        let diff = l.store.diff(b, std::slice::from_ref(&line)).await.unwrap();
        assert_eq!((diff.same_source, diff.unproven, diff.changed), (1, unproven, 0), "{line:?}");
    }
}

crate::store::harness::on_postgres_too! {
    what_says_that_a_file_is_the_same,
    a_file_that_changed_while_it_was_sent_is_no_file,
    who_has_lost_the_lease_notes_nothing,
    a_file_that_nobody_read_is_taken_as_it_is_and_proves_nothing,
}
