//! The vendor's log as witness: its newest entry before a call, and walks that look for a lost one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use super::call::Reach;
use crate::{
    clock::Clock,
    domain::{
        call::{LogEntry, LogError},
        callback::call_named_in,
        job::{CallId, RequestFingerprint},
        length,
    },
    waves::Client,
};

const PAGE: u32 = 100;
/// A walk that has not met its cursor after so many pages proves nothing.
const PAGES_MOST: u32 = 300;
/// What the entries of a walk may take up together, in bytes; one that needs more proves nothing.
const WALK_MOST: usize = 256 << 20;
/// What an entry takes up beside its transcript, at most.
const ENTRY_BYTES: usize = 1 << 10;
/// How old the known newest entry may get while calls are made, in ms.
const FRESH_MS: i64 = 60_000;
/// After the log was refused, how long it is left alone, in ms.
const ABSENT_MS: i64 = 3_600_000;
/// Two lengths of one recording differ by no more than rounding.
const LENGTH_SLACK_MS: u64 = 50;

/// What a walk found for one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The one entry that fits.
    One(Box<LogEntry>),
    /// None that fits.
    None,
    /// Several fit, or nothing can be proved.
    Unclear,
}

/// A reader of one account's log.
#[derive(Debug, Clone)]
pub struct LogBook {
    client: Client,
    clock: Clock,
    known: Arc<Mutex<Known>>,
    walk: Arc<tokio::sync::Mutex<Option<Walk>>>,
    refreshing: Arc<AtomicBool>,
    read_at: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct Known {
    /// Id of the newest entry; empty = the log was empty.
    newest: Option<String>,
    absent_until: i64,
    /// Since when this process has found the log out of reach; none once it was read.
    away_since: Option<i64>,
}

#[derive(Debug)]
struct Walk {
    began_at: i64,
    entries: Vec<LogEntry>,
    whole: bool,
}

impl LogBook {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new(client: Client, clock: Clock) -> Self {
        Self {
            client,
            clock,
            known: Arc::default(),
            walk: Arc::default(),
            refreshing: Arc::default(),
            read_at: Arc::default(),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest entry seen so far: a call's own entry is newer. `None` = the log could not be read.
    #[must_use]
    pub fn cursor(&self) -> Option<String> {
        self.known().newest.clone()
    }

    /// Reads the newest entry, for at most `patience`: a slow log must not hold up the calls.
    pub(super) async fn refresh_within(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.refresh()).await;
    }

    /// Sees to it that the newest entry is not too old, in the background.
    pub(super) fn keep_fresh(&self, calls: bool) {
        let now = self.clock.now();
        let fresh = now - self.read_at.load(Ordering::Relaxed) < FRESH_MS;
        if !calls || fresh || self.known().absent_until > now || self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let me = self.clone();
        tokio::spawn(async move {
            me.refresh().await;
            me.refreshing.store(false, Ordering::Release);
        });
    }

    /// Since when this process has found the log out of reach, in ms since 1970; none if it was read last.
    pub(super) fn away_since(&self) -> Option<i64> {
        self.known().away_since
    }

    async fn refresh(&self) {
        match self.client.stt_log(1, 1).await {
            Ok(entries) => {
                let mut known = self.known();
                known.newest = Some(entries.first().map(|e| e.request_id.clone()).unwrap_or_default());
                known.away_since = None;
                self.read_at.store(self.clock.now(), Ordering::Relaxed);
            }
            Err(e) => self.note(&e),
        }
    }

    fn note(&self, error: &LogError) {
        let now = self.clock.now();
        self.read_at.store(now, Ordering::Relaxed);
        let mut known = self.known();
        match error {
            LogError::Absent(_) => known.absent_until = now + ABSENT_MS,
            LogError::Unreachable(_) => {
                known.away_since.get_or_insert(now);
            }
            LogError::Unasked(_) => {}
        }
        drop(known);
        tracing::debug!(error = %error, "the vendor's log was not read");
    }

    /// Whether the API answers at all, asked by reading the log.
    pub(super) async fn reach(&self) -> Reach {
        Reach::of_log(self.client.stt_log(1, 1).await.err())
    }

    /// Looks for the entry of a call that was made after `cursor` was the newest. A walk that began before `not_before` is
    /// of no use: it may have passed by too early.
    pub(super) async fn look(
        &self,
        cursor: Option<&str>,
        witness: &Witness<'_>,
        not_before: i64,
    ) -> Result<Found, LogError> {
        if self.known().absent_until > self.clock.now() {
            return Err(LogError::Absent("it was refused before".into()));
        }
        let Some(cursor) = cursor.filter(|_| witness.can_be_known()) else { return Ok(Found::Unclear) };
        let found = self.among_newer(cursor, not_before, |newer| pick(newer, witness)).await?;
        Ok(found.unwrap_or(Found::Unclear))
    }

    /// How the log shows an answered call that was made after `cursor` was the newest: by its words, and by all that was
    /// sent but its size.
    pub(super) async fn shows(&self, cursor: &str, sent: &RequestFingerprint, words: &str) -> Result<Shown, LogError> {
        let look = |newer: &[&LogEntry]| shown(newer, sent, words);
        Ok(self.among_newer(cursor, self.clock.now(), look).await?.unwrap_or(Shown::Not))
    }

    /// Looks at the entries that are newer than `cursor`, by a walk that began at `not_before` or later. `None`: the walk
    /// did not get that far.
    async fn among_newer<T>(
        &self,
        cursor: &str,
        not_before: i64,
        look: impl FnOnce(&[&LogEntry]) -> T,
    ) -> Result<Option<T>, LogError> {
        let mut walk = self.walk.lock().await;
        let serves = walk
            .as_ref()
            .is_some_and(|w| w.began_at >= not_before && (w.whole || w.entries.iter().any(|e| e.request_id == cursor)));
        if !serves {
            *walk = Some(self.walk_to(cursor).await.inspect_err(|e| self.note(e))?);
            self.known().away_since = None;
        }
        let walk = walk.as_ref().expect("just walked");
        let newer: Vec<&LogEntry> = walk.entries.iter().take_while(|e| e.request_id != cursor).collect();
        let is_there = newer.len() < walk.entries.len() || walk.whole;
        Ok(is_there.then(|| look(&newer)))
    }

    /// Newest first, down to the entry that was the newest before the call.
    async fn walk_to(&self, cursor: &str) -> Result<Walk, LogError> {
        let began_at = self.clock.now();
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut taken = 0;
        for page in 1..=PAGES_MOST {
            let got = self.client.stt_log(page, PAGE).await?;
            let last = got.len() < PAGE as usize;
            for entry in got {
                let met = entry.request_id == cursor;
                taken += entry.transcription.kept().0.len() + ENTRY_BYTES;
                // New entries push old ones onto the next page while we read: the same one may come twice.
                if !entries.iter().rev().take(PAGE as usize).any(|e| e.request_id == entry.request_id) {
                    entries.push(entry);
                }
                if met {
                    return Ok(Walk { began_at, entries, whole: false });
                }
            }
            if last {
                return Ok(Walk { began_at, entries, whole: true });
            }
            if taken > WALK_MOST {
                break;
            }
        }
        Ok(Walk { began_at, entries, whole: false })
    }
}

/// What a call's own entry is known by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Witness<'a> {
    /// What was sent.
    Request(&'a RequestFingerprint),
    /// The call's id, which the address has in it that its answer was to be posted to. No other call has it.
    Posted(CallId),
}

impl Witness<'_> {
    const fn can_be_known(&self) -> bool {
        match self {
            Self::Request(request) => request.bytes.is_some(),
            Self::Posted(_) => true,
        }
    }

    fn fits(&self, entry: &LogEntry) -> bool {
        let named = entry.webhook_url.as_deref().and_then(call_named_in);
        match self {
            // An answer that was to be posted is another call's.
            Self::Request(request) => named.is_none() && fits(entry, request),
            Self::Posted(call) => named == Some(*call),
        }
    }
}

/// How the log shows an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// With the size that was sent.
    AsSent,
    /// With this size, or none.
    Otherwise(Option<u64>),
    /// Not, or not yet; or nobody knows which entry it is.
    Not,
}

fn shown(newer: &[&LogEntry], sent: &RequestFingerprint, words: &str) -> Shown {
    let is_like = |entry: &LogEntry| fits(&LogEntry { bytes: sent.bytes, ..entry.clone() }, sent);
    let own: Vec<_> = newer.iter().filter(|entry| has_words(entry, words) && is_like(entry)).collect();
    match own.as_slice() {
        own if own.iter().any(|entry| entry.bytes == sent.bytes) => Shown::AsSent,
        [one] => Shown::Otherwise(one.bytes),
        // Of several recordings with the same words each may be another's.
        _ => Shown::Not,
    }
}

fn has_words(entry: &LogEntry, words: &str) -> bool {
    let whole = entry.transcription.whole();
    whole.is_ok_and(|text| std::str::from_utf8(&text).is_ok_and(|text| text.trim() == words))
}

/// The one entry that fits, if exactly one does.
fn pick(entries: &[&LogEntry], witness: &Witness<'_>) -> Found {
    let mut fitting = entries.iter().filter(|e| witness.fits(e));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Found::One(Box::new((*one).clone())),
        (None, _) => Found::None,
        _ => Found::Unclear,
    }
}

fn fits(entry: &LogEntry, request: &RequestFingerprint) -> bool {
    let length = match (entry.duration_s, request.audio_ms) {
        (Some(s), Some(ms)) => {
            // A length that is none says nothing.
            length::from_seconds(s).is_none_or(|heard| heard.abs_diff(ms) <= LENGTH_SLACK_MS)
        }
        _ => true,
    };
    length
        && entry.model == request.model
        && entry.language == request.language
        && entry.flags == request.flags
        && entry.bytes.is_some()
        && entry.bytes == request.bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{call::LogFlags, callback};

    fn entry(id: &str, bytes: u64, s: f64) -> LogEntry {
        LogEntry {
            request_id: id.into(),
            model: "pulse".into(),
            language: "en".into(),
            duration_s: Some(s),
            bytes: Some(bytes),
            transcription: "words".into(),
            flags: LogFlags::default(),
            webhook_url: None,
        }
    }

    fn request(bytes: Option<u64>, audio_ms: Option<u64>) -> RequestFingerprint {
        RequestFingerprint { model: "pulse".into(), language: "en".into(), flags: LogFlags::default(), bytes, audio_ms }
    }

    #[test]
    fn only_the_one_entry_that_agrees_in_everything_counts() {
        let (a, b, c) = (entry("a", 7, 2.0), entry("b", 7, 2.0), entry("c", 8, 2.0));
        let t = request(Some(7), Some(2_010));
        assert!(matches!(pick(&[&a, &c], &Witness::Request(&t)), Found::One(e) if e.request_id == "a"));
        assert_eq!(pick(&[&a, &b], &Witness::Request(&t)), Found::Unclear);
        assert_eq!(pick(&[&c], &Witness::Request(&t)), Found::None);
        assert_eq!(pick(&[&a], &Witness::Request(&request(Some(7), Some(9_000)))), Found::None);
        let redacted = LogEntry { flags: LogFlags { redact_pii: true, ..LogFlags::default() }, ..a.clone() };
        assert_eq!(pick(&[&redacted], &Witness::Request(&t)), Found::None, "never another privacy than was asked for");
        assert_eq!(pick(&[&LogEntry { bytes: None, ..a.clone() }], &Witness::Request(&t)), Found::None);
        let call = CallId::new();
        let address = callback::address(&"https://h/".parse().unwrap(), call, &callback::Secret::new([1; 32]));
        let posted = LogEntry { webhook_url: Some(address.into()), ..a.clone() };
        assert!(matches!(pick(&[&b, &posted], &Witness::Posted(call)), Found::One(e) if e.request_id == "a"));
        assert_eq!(pick(&[&b, &posted], &Witness::Posted(CallId::new())), Found::None);
        assert_eq!(pick(&[&posted], &Witness::Request(&t)), Found::None, "another call's, of the same recording");
        assert_eq!(shown(&[&b], &t, "words"), Shown::AsSent);
        assert_eq!(shown(&[&c], &t, "words"), Shown::Otherwise(Some(8)));
        assert_eq!(shown(&[&LogEntry { bytes: None, ..c.clone() }], &t, "words"), Shown::Otherwise(None));
        let other = LogEntry { request_id: "d".into(), bytes: Some(9), ..c.clone() };
        assert_eq!(shown(&[&c, &other], &t, "words"), Shown::Not, "two with the same words");
        assert_eq!(shown(&[&c, &b], &t, "words"), Shown::AsSent, "one of them has the size");
        for none in [&[&c][..], &[]] {
            assert_eq!(shown(none, &t, "other words"), Shown::Not);
        }
        let own_hook = LogEntry { webhook_url: Some("https://elsewhere/hook".into()), ..a };
        assert!(matches!(pick(&[&own_hook], &Witness::Request(&t)), Found::One(_)));
    }
}
