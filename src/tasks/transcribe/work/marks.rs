//! Whether the vendor's log shows uploads with the size that was sent. Uploads are padded to distinct sizes, by which a lost
//! call is found in that log; if it shows other sizes, padding would hide calls instead of distinguishing them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use super::logbook::{LogBook, Shown};
use crate::{
    domain::{job::RequestFingerprint, transcript::Transcript},
    runner::{Event, JobContext},
};

/// When the log is queried after a call's answer: entries may appear late.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// After this many calls were not found, no further one is looked for.
const CALLS_MOST: u8 = 3;

const UNCHECKED: u8 = 0;
const CHECKING: u8 = 1;
const SHOWN: u8 = 2;
const HIDDEN: u8 = 3;

/// What a run knows about it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    state: Arc<AtomicU8>,
    looked_for: Arc<AtomicU8>,
}

impl Marks {
    /// Whether uploads are to be padded.
    pub(super) fn is_useful(&self) -> bool {
        self.state.load(Ordering::Acquire) != HIDDEN
    }

    fn begin(&self) -> bool {
        self.looked_for.load(Ordering::Acquire) < CALLS_MOST
            && self.state.compare_exchange(UNCHECKED, CHECKING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn end(&self, state: u8) {
        self.looked_for.fetch_add(1, Ordering::AcqRel);
        self.state.store(state, Ordering::Release);
    }
}

impl Marks {
    /// Looks in the background for the entry of an answered call whose upload was padded; once a run, if the entry is found.
    /// `cursor`: the newest entry before the call.
    pub(super) fn check(
        &self,
        (log, cursor): (&LogBook, Option<String>),
        on: JobContext<'_>,
        sent: RequestFingerprint,
        answer: Option<&Transcript>,
    ) {
        let words = answer.map(|answer| answer.text.trim().to_owned()).filter(|words| !words.is_empty());
        let (Some(cursor), Some(words)) = (cursor, words) else { return };
        if !self.begin() {
            return;
        }
        let (log, marks, clock) = (log.clone(), self.clone(), on.store().clock().clone());
        // The event channel stays open while any sender lives: a weak sender keeps a run from waiting for this lookup.
        let (events, drain) = (on.events().downgrade(), on.drain().clone());
        tokio::spawn(async move {
            for wait in LOOKS {
                let until = clock.now() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                tokio::select! {
                    () = clock.sleep_until(until) => {}
                    () = drain.cancelled() => return marks.end(UNCHECKED),
                }
                match log.shows(&cursor, &sent, &words).await {
                    Ok(Shown::AsSent) => return marks.end(SHOWN),
                    Ok(Shown::Otherwise(bytes)) => {
                        marks.end(HIDDEN);
                        if let Some(events) = events.upgrade() {
                            let _ = events.send(Event::Warning(otherwise(sent.bytes, bytes)));
                        }
                        return;
                    }
                    Ok(Shown::Not) | Err(_) => {}
                }
            }
            marks.end(UNCHECKED);
        });
    }
}

fn otherwise(sent: Option<u64>, shown: Option<u64>) -> String {
    let sent = sent.map_or_else(String::new, |bytes| format!(" of {bytes} bytes"));
    let shown = shown.map_or_else(|| "without a size".to_owned(), |bytes| format!("with {bytes} bytes"));
    format!(
        "the vendor's log shows an upload{sent} {shown}: uploads are not given sizes of their own any more, and of recordings that are alike a lost call may be paid for again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_is_looked_for_at_a_time_and_three_at_most() {
        let marks = Marks::default();
        assert!(marks.begin() && !marks.begin() && marks.is_useful());
        for _ in 1..CALLS_MOST {
            marks.end(UNCHECKED);
            assert!(marks.begin());
        }
        marks.end(UNCHECKED);
        assert!(!marks.begin() && marks.is_useful(), "nobody knows");
        let hidden = Marks::default();
        hidden.begin();
        hidden.end(HIDDEN);
        assert!(!hidden.is_useful() && !hidden.begin());
    }
}
