//! The vendor's log as evidence: its newest entry before a call, and walks that look for a lost call.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::Clock,
    domain::{
        call::{LogEntry, LogError, LogFilter},
        callback::call_named_in,
        job::{CallId, RequestFingerprint},
        length,
    },
    runner::Reach,
    waves::Client,
};

/// The most entries that a page holds.
const PAGE: u32 = 50;
/// A walk that has not reached its cursor after this many pages proves nothing.
const PAGES_MOST: u32 = 600;
/// How much further back than the cursor the log is queried, in seconds: its timestamps may differ slightly from its filter's
/// clock.
const BACK_S: i64 = 60;
/// Walks that are kept, one for each queried model.
const WALKS_KEPT: usize = 4;
/// The most memory for the entries of a walk, in bytes; a walk that needs more proves nothing.
const WALK_MOST: usize = 256 << 20;
/// The most memory for an entry beside its transcript.
const ENTRY_BYTES: usize = 1 << 10;
/// The greatest age of the known newest entry while calls are made, in ms.
const FRESH_MS: i64 = 60_000;
/// How long the log is not queried after it refused access, in ms.
const ABSENT_MS: i64 = 3_600_000;
/// Two lengths of one recording differ by no more than this, from rounding.
const LENGTH_SLACK_MS: u64 = 50;

/// What a walk found for one call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LogMatch {
    /// The one matching entry.
    One(Box<LogEntry>),
    /// No matching entry.
    None,
    /// Several entries match, or nothing can be proved.
    Unclear,
}

/// A reader of one account's log.
#[derive(Debug, Clone)]
pub(super) struct LogBook {
    client: Client,
    clock: Clock,
    known: Arc<Mutex<KnownLog>>,
    walks: Arc<tokio::sync::Mutex<Vec<LogWalk>>>,
    refreshing: Arc<AtomicBool>,
    read_at: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct KnownLog {
    /// The newest entry; without an id, the log was empty.
    newest: Option<Cursor>,
    absent_until: i64,
    /// Since when this process has found the log unreachable; none once it was read.
    away_since: Option<i64>,
}

/// The entries of one model, or of all, from the newest one back.
#[derive(Debug)]
struct LogWalk {
    model: Option<String>,
    began_at: i64,
    entries: Vec<LogEntry>,
    /// Whether it reached the end of an unfiltered log.
    whole: bool,
}

impl LogWalk {
    fn meets(&self, cursor: &Cursor) -> bool {
        self.whole || self.entries.iter().any(|entry| entry.request_id == cursor.id)
    }
}

/// The newest entry of the log before a call, as it is kept with the call: its id, and separated by bars the log's own time for
/// it in seconds and its model, if they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    id: String,
    seen: Option<(i64, String)>,
}

impl Cursor {
    fn of(newest: Option<&LogEntry>) -> Self {
        let Some(entry) = newest else { return Self { id: String::new(), seen: None } };
        Self { id: entry.request_id.clone(), seen: entry.logged_at.map(|at| (at, entry.model.clone())) }
    }

    fn parse(text: &str) -> Self {
        let seen = || {
            let mut parts = text.rsplitn(3, '|');
            let (model, at, id) = (parts.next()?, parts.next()?, parts.next()?);
            Some(Self { id: id.to_owned(), seen: Some((at.parse().ok()?, model.to_owned())) })
        };
        seen().unwrap_or_else(|| Self { id: text.to_owned(), seen: None })
    }

    fn text(&self) -> String {
        match &self.seen {
            Some((at, model)) => format!("{}|{at}|{model}", self.id),
            None => self.id.clone(),
        }
    }

    /// The filter for the log, if the entry belongs to a call of this model. An entry of another model would be filtered out,
    /// and only finding the entry proves that the filter has left nothing out.
    fn filter(&self, model: Option<&str>) -> Option<LogFilter<'_>> {
        let (at, own) = self.seen.as_ref()?;
        Some(LogFilter { from: Some(at - BACK_S), model: Some(own.as_str()).filter(|own| model == Some(*own)) })
    }
}

impl LogBook {
    /// A reader that has read nothing so far.
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self {
            client,
            clock,
            known: Arc::default(),
            walks: Arc::default(),
            refreshing: Arc::default(),
            read_at: Arc::default(),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, KnownLog> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest entry seen so far: a call's own entry is newer. `None` = the log could not be read.
    pub(super) fn cursor(&self) -> Option<String> {
        self.known().newest.as_ref().map(Cursor::text)
    }

    /// Reads the newest entry, for at most `timeouts`: a slow log must not delay the calls.
    pub(super) async fn refresh_within(&self, timeouts: Duration) {
        let _ = tokio::time::timeout(timeouts, self.refresh()).await;
    }

    /// Refreshes the newest entry in the background if it is too old.
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

    /// Since when this process has found the log unreachable, in ms since 1970; none if the last reading succeeded.
    pub(super) fn away_since(&self) -> Option<i64> {
        self.known().away_since
    }

    async fn refresh(&self) {
        match self.client.stt_log(1, 1, LogFilter::default()).await {
            Ok(page) => {
                let mut known = self.known();
                known.newest = Some(Cursor::of(page.entries.first()));
                known.away_since = None;
                drop(known);
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

    /// Whether the API answers, tested by reading the log.
    pub(super) async fn reach(&self) -> Reach {
        Reach::of_log(self.client.stt_log(1, 1, LogFilter::default()).await.err())
    }

    /// Looks for the entry of a call that was made after `cursor` was the newest. A walk that began before `not_before` is
    /// useless: it may have been too early.
    pub(super) async fn look(
        &self,
        cursor: Option<&str>,
        witness: &Witness<'_>,
        not_before: i64,
    ) -> Result<LogMatch, LogError> {
        if self.known().absent_until > self.clock.now() {
            return Err(LogError::Absent("it was refused before".into()));
        }
        let Some(cursor) = cursor.filter(|_| witness.can_be_known()) else { return Ok(LogMatch::Unclear) };
        let found = self.among_newer(cursor, witness.model(), not_before, |newer| pick(newer, witness)).await?;
        Ok(found.unwrap_or(LogMatch::Unclear))
    }

    /// How the log shows an answered call that was made after `cursor` was the newest: it matches the transcript, and
    /// everything that was sent except its size.
    pub(super) async fn shows(&self, cursor: &str, sent: &RequestFingerprint, words: &str) -> Result<Shown, LogError> {
        let look = |newer: &[&LogEntry]| shown(newer, sent, words);
        let model = Some(sent.model.as_str());
        Ok(self.among_newer(cursor, model, self.clock.now(), look).await?.unwrap_or(Shown::Not))
    }

    /// Examines the entries that are newer than `cursor`, with a walk that began at `not_before` or later. `None`: the walk did
    /// not get that far.
    async fn among_newer<T>(
        &self,
        cursor: &str,
        model: Option<&str>,
        not_before: i64,
        look: impl FnOnce(&[&LogEntry]) -> T,
    ) -> Result<Option<T>, LogError> {
        let cursor = Cursor::parse(cursor);
        let mut walks = self.walks.lock().await;
        let serves = |walk: &LogWalk| {
            let of_it = walk.model.is_none() || walk.model.as_deref() == model;
            of_it && walk.began_at >= not_before && walk.meets(&cursor)
        };
        if !walks.iter().any(serves) {
            let walk = self.walk_to(&cursor, model).await.inspect_err(|e| self.note(e))?;
            self.known().away_since = None;
            walks.retain(|old| old.model != walk.model);
            walks.insert(0, walk);
            walks.truncate(WALKS_KEPT);
        }
        let Some(walk) = walks.iter().find(|walk| serves(walk)) else { return Ok(None) };
        let newer: Vec<&LogEntry> = walk.entries.iter().take_while(|e| e.request_id != cursor.id).collect();
        Ok(Some(look(&newer)))
    }

    /// Walks from the newest entry down to the one that was the newest before the call. If the log's own time of that entry is
    /// known, only later entries are queried; if that walk does not meet the entry, it proves nothing, and everything is
    /// queried.
    async fn walk_to(&self, cursor: &Cursor, model: Option<&str>) -> Result<LogWalk, LogError> {
        if let Some(filter) = cursor.filter(model) {
            let walk = self.walk_by(cursor, filter).await?;
            if walk.meets(cursor) {
                return Ok(walk);
            }
            tracing::debug!(
                pages = walk.entries.len(),
                "the vendor's log was read without its filters, by which an entry was missed"
            );
        }
        self.walk_by(cursor, LogFilter::default()).await
    }

    /// Walks page by page, as many as the log reports. The number of entries on a page means nothing.
    async fn walk_by(&self, cursor: &Cursor, filter: LogFilter<'_>) -> Result<LogWalk, LogError> {
        let (began_at, all) = (self.clock.now(), filter == LogFilter::default());
        let walk =
            |entries, end| LogWalk { model: filter.model.map(str::to_owned), began_at, entries, whole: end && all };
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut taken = 0;
        for page in 1..=PAGES_MOST {
            let got = self.client.stt_log(page, PAGE, filter).await?;
            // If the log does not report the number of pages, only an empty page is the end.
            let last = got.pages.map_or(got.entries.is_empty(), |pages| page >= pages);
            for entry in got.entries {
                let met = entry.request_id == cursor.id;
                taken += entry.transcription.kept().0.len() + ENTRY_BYTES;
                // New entries push old ones onto the next page during the walk: the same entry may come twice.
                if !entries.iter().rev().take(PAGE as usize).any(|e| e.request_id == entry.request_id) {
                    entries.push(entry);
                }
                if met {
                    return Ok(walk(entries, false));
                }
            }
            if last {
                return Ok(walk(entries, true));
            }
            if taken > WALK_MOST {
                break;
            }
        }
        Ok(walk(entries, false))
    }
}

/// What identifies a call's own entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Witness<'a> {
    /// What was sent.
    Request(&'a RequestFingerprint),
    /// The call's id, which is a part of its callback address. No other call has it.
    Posted(CallId),
}

impl Witness<'_> {
    const fn can_be_known(&self) -> bool {
        match self {
            Self::Request(request) => request.bytes.is_some(),
            Self::Posted(_) => true,
        }
    }

    fn model(&self) -> Option<&str> {
        match self {
            Self::Request(request) => Some(&request.model),
            Self::Posted(_) => None,
        }
    }

    fn fits(&self, entry: &LogEntry) -> bool {
        let named = entry.webhook_url.as_deref().and_then(call_named_in);
        match self {
            // An entry with a callback address belongs to another call.
            Self::Request(request) => named.is_none() && fits(entry, request),
            Self::Posted(call) => named == Some(*call),
        }
    }
}

/// How the log shows an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// With the size as sent.
    AsSent,
    /// With this size, or none.
    Otherwise(Option<u64>),
    /// Not, or not yet; or it is unknown which entry it is.
    Not,
}

fn shown(newer: &[&LogEntry], sent: &RequestFingerprint, words: &str) -> Shown {
    let is_like = |entry: &LogEntry| fits(&LogEntry { bytes: sent.bytes, ..entry.clone() }, sent);
    let own: Vec<_> = newer.iter().filter(|entry| has_words(entry, words) && is_like(entry)).collect();
    match own.as_slice() {
        own if own.iter().any(|entry| entry.bytes == sent.bytes) => Shown::AsSent,
        [one] => Shown::Otherwise(one.bytes),
        // If several recordings have the same words, each entry may be another's.
        _ => Shown::Not,
    }
}

fn has_words(entry: &LogEntry, words: &str) -> bool {
    let whole = entry.transcription.whole();
    whole.is_ok_and(|text| std::str::from_utf8(&text).is_ok_and(|text| text.trim() == words))
}

/// The matching entry, if exactly one matches.
fn pick(entries: &[&LogEntry], witness: &Witness<'_>) -> LogMatch {
    let mut fitting = entries.iter().filter(|e| witness.fits(e));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => LogMatch::One(Box::new((*one).clone())),
        (None, _) => LogMatch::None,
        _ => LogMatch::Unclear,
    }
}

fn fits(entry: &LogEntry, request: &RequestFingerprint) -> bool {
    let length = match (entry.duration_s, request.audio_ms) {
        (Some(s), Some(ms)) => {
            // A length that is not valid proves nothing.
            length::from_seconds(s).is_none_or(|heard| heard.abs_diff(ms) <= LENGTH_SLACK_MS)
        }
        _ => true,
    };
    length
        && !entry.is_socket
        && request.keywords.are_those_of(&entry.keywords)
        && entry.model == request.model
        && entry.language == request.language
        && entry.flags == request.flags
        && entry.bytes.is_some()
        && entry.bytes == request.bytes
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        domain::{call::LogFlags, callback, keywords::Keywords},
        waves::Settings,
    };

    fn entry(id: &str, bytes: u64, s: f64) -> LogEntry {
        LogEntry {
            model: "pulse".into(),
            language: "en".into(),
            duration_s: Some(s),
            bytes: Some(bytes),
            transcription: "words".into(),
            ..LogEntry::named(id)
        }
    }

    fn request(bytes: Option<u64>, audio_ms: Option<u64>) -> RequestFingerprint {
        RequestFingerprint {
            model: "pulse".into(),
            language: "en".into(),
            flags: LogFlags::default(),
            bytes,
            audio_ms,
            estimated_ms: None,
            keywords: Default::default(),
        }
    }

    #[test]
    fn a_cursor_is_kept_with_the_logs_own_time_of_it() {
        let newest = LogEntry { logged_at: Some(1_786_090_645), ..entry("a", 7, 2.0) };
        for (cursor, text) in [
            (Cursor::of(Some(&newest)), "a|1786090645|pulse"),
            (Cursor::of(Some(&entry("a", 7, 2.0))), "a"),
            (Cursor::of(None), ""),
        ] {
            assert_eq!((cursor.text(), Cursor::parse(text)), (text.to_owned(), cursor));
        }
        let cursor = Cursor::of(Some(&newest));
        let from = Some(1_786_090_585);
        assert_eq!(cursor.filter(Some("pulse")), Some(LogFilter { from, model: Some("pulse") }));
        assert_eq!(cursor.filter(Some("pulse-pro")), Some(LogFilter { from, model: None }));
        assert_eq!(cursor.filter(None), Some(LogFilter { from, model: None }));
        assert_eq!(Cursor::parse("a").filter(Some("pulse")), None);
        assert_eq!(Cursor::parse("a|b|c"), Cursor { id: "a|b|c".into(), seen: None });
    }

    /// Answers requests for pages of a log with the result of `page` for number and query.
    async fn log_of(page: impl Fn(u32, &str) -> String + Send + 'static) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
                let head = String::from_utf8_lossy(&head).into_owned();
                let query = head.split_whitespace().nth(1).unwrap_or_default().split_once('?').unwrap().1.to_owned();
                let number = query.split('&').find_map(|pair| pair.strip_prefix("page=")).unwrap().parse().unwrap();
                let body = page(number, &query);
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let (key, user_agent) = ("sk_test".to_owned().into(), "test".into());
        Client::new(Settings { base_url, key, connect_timeout: Duration::from_secs(5), user_agent }).unwrap()
    }

    fn entries(ids: &[&str], pages: &str) -> String {
        let entry = |id: &&str| {
            format!(
                r#"{{"request_id":"{id}","timestamp":"2026-08-07 08:17:25","model":"pulse","language":"en","duration":2.0,"file_size":"7","transcription":"words of {id}"}}"#
            )
        };
        format!(r#"{{"data":[{}]{pages}}}"#, ids.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    async fn found(client: Client, cursor: &str, bytes: u64) -> LogMatch {
        let log = LogBook::new(client, Clock::system());
        let asked = request(Some(bytes), Some(2_000));
        log.look(Some(cursor), &Witness::Request(&asked), 0).await.unwrap()
    }

    #[tokio::test]
    async fn pages_are_read_to_the_last_however_few_entries_they_have() {
        let pages = [&["new"][..], &[], &["call"], &["old"]];
        let short = move |number: u32, _: &str| entries(pages[number as usize - 1], r#","totalPages":4"#);
        assert!(matches!(found(log_of(short).await, "new", 7).await, LogMatch::None), "nothing is newer");
        let two = found(log_of(short).await, "old", 7).await;
        assert_eq!(two, LogMatch::Unclear, "two fit, and both were read");
        let silent = move |number: u32, _: &str| {
            let own = [&["call"][..], &["old"], &[]];
            entries(own[number as usize - 1], "")
        };
        assert!(matches!(found(log_of(silent).await, "old", 7).await, LogMatch::One(e) if e.request_id == "call"));
        assert!(matches!(found(log_of(silent).await, "gone", 8).await, LogMatch::None), "a page of nothing is the end");
    }

    #[tokio::test]
    async fn a_filter_that_hides_the_cursor_is_left_out() {
        // A log whose clock is not UTC: a query with its own time lies in the future.
        let shifted = |number: u32, query: &str| match (query.contains("timestampFrom"), number) {
            (true, _) => entries(&[], r#","totalPages":0"#),
            (false, 1) => entries(&["call", "old"], r#","totalPages":1"#),
            _ => panic!("{query}"),
        };
        let client = log_of(shifted).await;
        assert!(matches!(found(client, "old|1786090645|pulse", 7).await, LogMatch::One(e) if e.request_id == "call"));
        // A log with a correct clock is queried with all that is known.
        let right = |_: u32, query: &str| {
            assert!(query.contains("model=pulse&timestampFrom=1786090585"), "{query}");
            entries(&["call", "old"], r#","totalPages":1"#)
        };
        let client = log_of(right).await;
        assert!(matches!(found(client, "old|1786090645|pulse", 7).await, LogMatch::One(e) if e.request_id == "call"));
    }

    #[test]
    fn only_the_one_entry_that_agrees_in_everything_counts() {
        let (a, b, c) = (entry("a", 7, 2.0), entry("b", 7, 2.0), entry("c", 8, 2.0));
        let t = request(Some(7), Some(2_010));
        assert!(matches!(pick(&[&a, &c], &Witness::Request(&t)), LogMatch::One(e) if e.request_id == "a"));
        assert_eq!(pick(&[&a, &b], &Witness::Request(&t)), LogMatch::Unclear);
        assert_eq!(pick(&[&c], &Witness::Request(&t)), LogMatch::None);
        assert_eq!(pick(&[&a], &Witness::Request(&request(Some(7), Some(9_000)))), LogMatch::None);
        let redacted = LogEntry { flags: LogFlags { redact_pii: true, ..LogFlags::default() }, ..a.clone() };
        assert_eq!(
            pick(&[&redacted], &Witness::Request(&t)),
            LogMatch::None,
            "never another privacy than was asked for"
        );
        assert_eq!(pick(&[&LogEntry { bytes: None, ..a.clone() }], &Witness::Request(&t)), LogMatch::None);
        let call = CallId::new();
        let address = callback::address(&"https://h/".parse().unwrap(), call, &callback::Secret::new([1; 32]));
        let posted = LogEntry { webhook_url: Some(address.into()), ..a.clone() };
        assert!(matches!(pick(&[&b, &posted], &Witness::Posted(call)), LogMatch::One(e) if e.request_id == "a"));
        assert_eq!(pick(&[&b, &posted], &Witness::Posted(CallId::new())), LogMatch::None);
        assert_eq!(pick(&[&posted], &Witness::Request(&t)), LogMatch::None, "another call's, of the same recording");
        assert_eq!(shown(&[&b], &t, "words"), Shown::AsSent);
        assert_eq!(shown(&[&c], &t, "words"), Shown::Otherwise(Some(8)));
        assert_eq!(shown(&[&LogEntry { bytes: None, ..c.clone() }], &t, "words"), Shown::Otherwise(None));
        let other = LogEntry { request_id: "d".into(), bytes: Some(9), ..c.clone() };
        assert_eq!(shown(&[&c, &other], &t, "words"), Shown::Not, "two with the same words");
        assert_eq!(shown(&[&c, &b], &t, "words"), Shown::AsSent, "one of them has the size");
        for none in [&[&c][..], &[]] {
            assert_eq!(shown(none, &t, "other words"), Shown::Not);
        }
        let socket = LogEntry { is_socket: true, ..a.clone() };
        assert_eq!(pick(&[&socket], &Witness::Request(&t)), LogMatch::None, "a live one, through a socket");
        let listening = LogEntry { keywords: "GST:2,Northwind".into(), ..a.clone() };
        assert_eq!(pick(&[&listening], &Witness::Request(&t)), LogMatch::None);
        let keyed = RequestFingerprint { keywords: Keywords::of_text("Northwind,GST:2").unwrap(), ..t.clone() };
        assert!(
            matches!(pick(&[&a, &listening], &Witness::Request(&keyed)), LogMatch::One(e) if e.keywords.contains("GST"))
        );
        let own_hook = LogEntry { webhook_url: Some("https://elsewhere/hook".into()), ..a };
        assert!(matches!(pick(&[&own_hook], &Witness::Request(&t)), LogMatch::One(_)));
    }
}
