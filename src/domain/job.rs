//! The states of a job and of its calls, and what a worker does with a job that it claimed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{call::ErrorKind, identity::Identity, options::listed};

listed! {
    /// The states of a job. Queued, running and awaiting jobs have a moment when they are due again; the others are finished.
    JobState, "job state" {
        /// Waits until it is due.
        Queued = "queued",
        /// A worker holds its lease.
        Running = "running",
        /// The vendor works on it and will call back.
        Awaiting = "awaiting",
        /// Its outputs are in the sink.
        Succeeded = "succeeded",
        /// The API said success and the result cannot be right. Its outputs are in the sink.
        Suspect = "suspect",
        /// Tries are used up, or another try is useless.
        Failed = "failed",
        /// The line names no source.
        Skipped = "skipped",
        /// Cancelled by the user.
        Cancelled = "cancelled",
        /// Its line changed, and another job replaced it. Not counted and not reported.
        Superseded = "superseded",
    }
}

listed! {
    /// Whether a job's output is wanted.
    Wanted, "wanted" {
        /// Its line is in the manifest and requests the output.
        Yes = "yes",
        /// A complete reading of the manifest lacked its line. It stays in totals, in the report and for `retry`.
        Gone = "gone",
        /// Its line now requests another voice, format or language, or another line owns its file. It stands in no total, and `deliver` and `retry` pass it over.
        Dropped = "dropped",
    }
}

listed! {
    /// The states of a call.
    CallState, "call state" {
        /// The call may have reached the vendor.
        Sent = "sent",
        /// The vendor confirmed that it works on the call.
        Accepted = "accepted",
        /// Its answer is stored, and is the one that counts.
        Answered = "answered",
        /// Refused, or provably not sent: costs nothing.
        Rejected = "rejected",
        /// Abandoned; may have been billed.
        Lost = "lost",
        /// Its answer arrived after another call's answer had won.
        Surplus = "surplus",
        /// Set aside by `retry`.
        Replaced = "replaced",
    }
}

listed! {
    /// Why a call was made.
    Why, "reason" {
        /// The first call of its part.
        First = "first",
        /// The previous call had an unknown outcome.
        Unknown = "unknown",
        /// The previous call was unusable, or the user requested a retry.
        Retry = "retry",
    }
}

/// A batch's number in its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BatchId(pub i64);

/// A job's number in its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub i64);

/// Proof of a lease: only the newest claimer of a job has the token that its row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub i64);

/// A call's id: UUIDv7, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub Uuid);

impl CallId {
    /// A new id.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for CallId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One call as the journal records it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// Its id.
    pub id: CallId,
    /// Its state.
    pub state: CallState,
    /// When its intent was committed, ms since 1970.
    pub sent_at: i64,
    /// How long ago that was, in ms, by the machine's clock that gives the smaller value.
    pub age_ms: i64,
    /// How long its process waits for the answer, in ms.
    pub timeout_ms: i64,
    /// Until when the call holds a slot.
    pub slot_until: Option<i64>,
    /// Whether the process that waits for the answer is alive.
    pub awaited: bool,
    /// When the callback becomes overdue, if the answer is posted to us.
    pub overdue_at: Option<i64>,
    /// Since when the outcome is unknown.
    pub unknown_at: Option<i64>,
    /// Whether the call used up a try.
    pub counts: bool,
    /// How the call failed.
    pub error_kind: Option<ErrorKind>,
    /// The failure's message.
    pub error: Option<String>,
    /// Length in bytes of the audio that the call returned, in the spool.
    pub bytes: Option<u64>,
    /// The vendor's newest log entry before the call; `Some("")` = the log was empty, `None` = the log was not read.
    pub log_cursor: Option<String>,
    /// What the call's own log entry would look like.
    pub request: RequestFingerprint,
}

impl CallState {
    /// Whether the call may still be answered.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Sent | Self::Accepted)
    }
}

impl CallRecord {
    /// Whether the call may still be answered.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Until when the call belongs to its owner alone, however late the owner's heartbeat is: a ledger that was locked for a
    /// while does not make an owner dead. The owner gives up at its own time-out. If it has not reported that one lease later,
    /// it was stopped for good. `None`: the call may be reconciled.
    fn put_back_until(&self, now: i64, lease_ms: i64) -> Option<i64> {
        let left = self.timeout_ms.saturating_add(lease_ms).saturating_sub(self.age_ms);
        let waits = self.awaited && self.state == CallState::Sent && left > 0 && self.slot_until.is_some();
        waits.then(|| self.slot_until.filter(|until| *until > now).unwrap_or(now + lease_ms).min(now + left))
    }
}

/// What the vendor's log would show of a call: an entry belongs to the call only if every field agrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestFingerprint {
    /// `pulse` or `pulse-pro`.
    pub model: String,
    /// Language code.
    pub language: String,
    /// The request's flags.
    pub flags: super::call::LogFlags,
    /// Bytes sent; `None` when the vendor fetched a URL.
    pub bytes: Option<u64>,
    /// Length of the audio, if it is exact.
    pub audio_ms: Option<u64>,
    /// Length of the audio, if it is only estimated: the log may show another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_ms: Option<u64>,
    /// The keywords of the request.
    #[serde(default, skip_serializing_if = "super::keywords::Keywords::is_empty")]
    pub keywords: super::keywords::Keywords,
}

impl RequestFingerprint {
    /// Length of the audio as far as it is known, exact or not.
    #[must_use]
    pub fn likely_ms(&self) -> Option<u64> {
        self.audio_ms.or(self.estimated_ms)
    }
}

/// The journal of one part, in the generation since the user's last `retry`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Journal {
    /// The part's calls, oldest first.
    pub calls: Vec<CallRecord>,
}

/// The journals of a job with parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Journals {
    /// Journals by part; a part without a call has none.
    pub parts: BTreeMap<i64, Journal>,
    /// Parts that the user wants to buy again, and since when (ms since 1970).
    pub forced: BTreeMap<i64, i64>,
    /// Parts that needed no call, because the audio cache had their clips. A `retry` removes parts from this set.
    pub reused: BTreeSet<i64>,
    /// The identities of the parts that were planned.
    pub planned: BTreeMap<i64, Identity>,
}

impl Journals {
    /// The journal of a part.
    #[must_use]
    pub fn of(&self, part: i64) -> Journal {
        self.parts.get(&part).cloned().unwrap_or_default()
    }

    /// Since when the cached clip of this part is not acceptable: the user wants it synthesized again, and this job has not
    /// bought it since. Another job may have bought the clip in the meantime: the ledger knows that.
    #[must_use]
    pub fn forced_since(&self, part: i64) -> Option<i64> {
        let answered = |journal: &Journal| journal.calls.iter().any(|c| c.state == CallState::Answered);
        if self.reused.contains(&part) || self.parts.get(&part).is_some_and(answered) {
            return None;
        }
        self.forced.get(&part).copied()
    }

    /// Whether the user wants this part synthesized again, and this job has not bought it since.
    #[must_use]
    pub fn is_forced(&self, part: i64) -> bool {
        self.forced_since(part).is_some()
    }
}

/// What to do with a claimed part: the first step that applies.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A call is answered: render and deliver.
    Deliver(CallId),
    /// An open call's answer will be posted to us, and is not overdue.
    Await {
        /// The call.
        call: CallId,
        /// When the answer becomes overdue.
        until: i64,
    },
    /// The process of an open call is alive, and may still be waiting for the answer: look again later.
    PutBack {
        /// The call. When it ends, the job is due sooner.
        call: CallId,
        /// When to look again, ms since 1970.
        until: i64,
    },
    /// An open call whose outcome is unknown.
    Reconcile(Box<CallRecord>),
    /// No call is open and none is answered.
    Call(Why),
}

impl Journal {
    /// The next step for this part at `now`, if a lease lasts `lease_ms`.
    #[must_use]
    pub fn step(&self, now: i64, lease_ms: i64) -> Step {
        if let Some(call) = self.calls.iter().find(|c| c.state == CallState::Answered) {
            return Step::Deliver(call.id);
        }
        match self.calls.iter().find(|c| c.is_open()) {
            Some(call) => match (call.overdue_at, call.put_back_until(now, lease_ms)) {
                (Some(until), _) if until > now => Step::Await { call: call.id, until },
                (_, Some(until)) => Step::PutBack { call: call.id, until },
                _ => Step::Reconcile(Box::new(call.clone())),
            },
            // A refused call cost nothing, so it is not a reason for a second purchase.
            None => Step::Call(match self.calls.iter().rfind(|c| c.state != CallState::Rejected) {
                None => Why::First,
                Some(last) if last.state == CallState::Lost && last.unknown_at.is_some() => Why::Unknown,
                Some(_) => Why::Retry,
            }),
        }
    }

    /// Tries used up by calls.
    #[must_use]
    pub fn tries(&self) -> u32 {
        count(self.calls.iter().filter(|c| c.counts))
    }

    /// Calls that may have been billed.
    #[must_use]
    pub fn billed(&self) -> u32 {
        count(self.calls.iter().filter(|c| !matches!(c.state, CallState::Rejected)))
    }

    /// 429s since the last other result.
    #[must_use]
    pub fn consecutive_429s(&self) -> u32 {
        let limited = |c: &&CallRecord| {
            c.state == CallState::Rejected && matches!(c.error_kind, Some(ErrorKind::RateLimited) | None)
        };
        let lately = self.calls.iter().rev().take_while(limited);
        count(lately.filter(|c| c.error_kind.is_some()))
    }

    /// The call whose answer was too large: only the user's `retry` leads to another call.
    #[must_use]
    pub fn too_large(&self) -> Option<&CallRecord> {
        self.calls.iter().find(|c| c.error_kind == Some(ErrorKind::AnswerTooLarge))
    }

    /// Calls that ran into our own time-out.
    #[must_use]
    pub fn timed_out(&self) -> u32 {
        count(self.calls.iter().filter(|c| c.error_kind == Some(ErrorKind::TimedOut)))
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(state: CallState, slot_until: Option<i64>, awaited: bool) -> CallRecord {
        CallRecord {
            id: CallId::new(),
            state,
            sent_at: 0,
            age_ms: 100,
            timeout_ms: 1_000,
            slot_until,
            awaited,
            overdue_at: None,
            unknown_at: Some(5),
            counts: true,
            error_kind: None,
            error: None,
            bytes: None,
            log_cursor: None,
            request: RequestFingerprint {
                model: "pulse".into(),
                language: "en".into(),
                flags: Default::default(),
                bytes: None,
                audio_ms: None,
                estimated_ms: None,
                keywords: Default::default(),
            },
        }
    }

    #[test]
    fn the_journal_alone_decides() {
        let step = |calls: Vec<CallRecord>| Journal { calls }.step(100, 50);
        assert_eq!(step(vec![]), Step::Call(Why::First));
        let answered = call(CallState::Answered, None, false);
        assert_eq!(step(vec![call(CallState::Lost, None, false), answered.clone()]), Step::Deliver(answered.id));
        let sent = call(CallState::Sent, Some(200), true);
        assert_eq!(step(vec![sent.clone()]), Step::PutBack { call: sent.id, until: 200 });
        for open in [
            call(CallState::Sent, Some(200), false),
            call(CallState::Sent, None, true),
            CallRecord { age_ms: 1_050, ..call(CallState::Sent, Some(200), true) },
        ] {
            assert!(matches!(step(vec![open]), Step::Reconcile(_)), "never simply called again");
        }
        // A posted answer is not requested before it is overdue, whoever sent the call and whether it was accepted.
        for state in [CallState::Sent, CallState::Accepted] {
            let posted = |at| CallRecord { overdue_at: Some(at), ..call(state, Some(200), true) };
            let due = posted(101);
            assert_eq!(step(vec![due.clone()]), Step::Await { call: due.id, until: 101 });
            let orphan = CallRecord { slot_until: None, awaited: false, ..posted(100) };
            assert!(matches!(step(vec![orphan]), Step::Reconcile(_)), "now it is");
        }
        assert_eq!(step(vec![call(CallState::Lost, None, false)]), Step::Call(Why::Unknown));
        assert_eq!(step(vec![call(CallState::Rejected, None, false)]), Step::Call(Why::First), "it cost nothing");
        assert_eq!(step(vec![call(CallState::Replaced, None, false)]), Step::Call(Why::Retry));
    }

    #[test]
    fn a_living_owners_call_is_put_back_however_late_its_heartbeat_is() {
        let until = |call: CallRecord| match (Journal { calls: vec![call] }).step(100, 50) {
            Step::PutBack { until, .. } => until,
            other => panic!("{other:?}"),
        };
        let late = || call(CallState::Sent, Some(50), true);
        assert_eq!(until(late()), 150, "a lease later");
        assert_eq!(until(CallRecord { age_ms: 1_020, ..late() }), 130, "not beyond its time-out and a lease");
        assert_eq!(until(CallRecord { slot_until: Some(0), ..late() }), 150, "its audio is on its way to the disk");
        assert_eq!(until(CallRecord { age_ms: -7_200_000, ..late() }), 150, "a clock that was set");
    }

    #[test]
    fn a_forced_part_is_forced_until_it_is_there_again() {
        let answered = Journal { calls: vec![call(CallState::Answered, None, false)] };
        let replaced = Journal { calls: vec![call(CallState::Replaced, None, false)] };
        let journals = Journals {
            parts: [(0, answered), (1, replaced)].into(),
            forced: [(0, 50), (1, 50), (2, 70), (3, 50)].into(),
            reused: [3].into(),
            ..Journals::default()
        };
        let since = [0, 1, 2, 3, 4].map(|part| journals.forced_since(part));
        assert_eq!(since, [None, Some(50), Some(70), None, None]);
        assert!(journals.is_forced(1) && !journals.is_forced(0));
    }

    #[test]
    fn a_part_whose_answer_was_too_large_is_known_by_its_call() {
        let too_large =
            CallRecord { error_kind: Some(ErrorKind::AnswerTooLarge), ..call(CallState::Lost, None, false) };
        let journal = Journal { calls: vec![call(CallState::Rejected, None, false), too_large.clone()] };
        assert_eq!(journal.too_large(), Some(&too_large));
        assert_eq!(Journal { calls: vec![call(CallState::Lost, None, false)] }.too_large(), None);
    }

    #[test]
    fn what_may_have_been_billed_is_everything_but_rejected() {
        let journal = Journal {
            calls: vec![
                call(CallState::Rejected, None, false),
                call(CallState::Lost, None, false),
                call(CallState::Surplus, None, false),
                call(CallState::Sent, None, false),
            ],
        };
        assert_eq!(journal.billed(), 3);
    }
}
