//! The books: what was asked for and what was billed, for tests and benchmarks to hold against.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::domain::hex::hex;

/// SHA-256 of a recording without its container's padding, or of all that shapes a synthesis.
pub(super) type Digest = [u8; 32];

/// What became of the callback of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackBooks {
    /// The call's request id.
    pub request_id: String,
    /// Where it goes.
    pub url: String,
    /// Whether the work is done.
    pub billed: bool,
    /// Deliveries that were made.
    pub deliveries: u32,
    /// Of these, how many were acknowledged.
    pub acknowledged: u32,
    /// The status of each answer, in the order of the answers; none where there was no answer.
    pub statuses: Vec<Option<u16>>,
    /// How it ended; none while it is owed.
    pub end: Option<CallbackEnd>,
}

/// How a callback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackEnd {
    /// A delivery was acknowledged.
    Acknowledged,
    /// None was, and there will be no more.
    GivenUp,
    /// There was none.
    Lost,
}

/// A copy of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Requests of transcription and synthesis that arrived, the refused among them.
    pub calls: u64,
    /// Calls whose work was done, whatever became of the answer.
    pub billed: u64,
    /// Characters of text in the billed calls of synthesis.
    pub billed_characters: u64,
    /// Calls in flight now, and the most there ever were at once; limits apart, refused calls are in neither.
    pub in_flight: u32,
    /// See `in_flight`.
    pub peak_in_flight: u32,
    /// The most calls that arrived within any 60 seconds, those refused by a limit not counted.
    pub most_in_a_minute: u32,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Calls that got no whole answer: cut by a fault, or left by their client.
    pub cut: u64,
    /// Deliveries of callbacks that were made.
    pub deliveries: u64,
    /// Callbacks with a delivery that was acknowledged.
    pub callbacks_acknowledged: u64,
    /// Callbacks whose last delivery was made in vain.
    pub callbacks_given_up: u64,
    /// Callbacks that were never delivered.
    pub callbacks_lost: u64,
    /// Calls of the vendor's logs, of transcriptions and of deliveries.
    pub log_calls: u64,
    /// Entries of the log of transcriptions that were to be removed: every such call, the refused among them.
    pub removal_calls: u64,
    /// Calls of the catalog of voices.
    pub voice_calls: u64,
    /// Sockets that were opened; each carries any number of calls.
    pub sockets: u64,
    /// Calls of the list of clones, and for their removal.
    #[serde(default)]
    pub clone_calls: u64,
    /// Calls of the pronunciation dictionaries.
    pub dictionary_calls: u64,
    /// Calls of routes that the vendor has retired.
    pub retired_calls: u64,
    /// By model of transcription, and `tts` for all of synthesis.
    pub models: BTreeMap<String, ModelBooks>,
    /// By SHA-256, in hexadecimal: of the recording without its container's padding (of the URL, where URLs are not fetched), or of all that shapes
    /// the sound of a synthesis.
    pub contents: BTreeMap<String, ContentBooks>,
    /// Of the last calls that were promised one, by their number.
    pub callbacks: BTreeMap<u64, CallbackBooks>,
    /// The last calls that ended, in the order of their arrival.
    pub requests: Vec<Record>,
}

impl Books {
    /// The most that any one recording or text was billed.
    #[must_use]
    pub fn most_billed(&self) -> u64 {
        self.contents.values().map(|c| c.billed).max().unwrap_or_default()
    }
}

/// What came for one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelBooks {
    /// The most calls in flight at once.
    pub peak_in_flight: u32,
    /// The most calls that arrived within any 60 seconds.
    pub most_in_a_minute: u32,
}

/// What came for one recording or text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentBooks {
    /// Its size, in bytes; of a recording without its container's padding.
    pub bytes: u64,
    /// Calls that brought it.
    pub calls: u64,
    /// Of these, how many were billed.
    pub billed: u64,
}

/// One call that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1 in the order of arrival.
    pub number: u64,
    /// When it arrived, in milliseconds since 1970.
    pub at_ms: i64,
    /// The request id it was given.
    pub request_id: String,
    /// Its path.
    pub path: String,
    /// Its query, as sent.
    pub query: String,
    /// The URL it named instead of sending a recording.
    pub url: Option<String>,
    /// The text that it wanted spoken.
    pub text: Option<String>,
    /// How many characters that text has.
    pub characters: Option<u64>,
    /// The `request_id` that came with it.
    pub sent_id: Option<String>,
    /// The `session_id` that came with it.
    pub session: Option<String>,
    /// Size of the recording, or of the text; what had arrived of a recording, if not all did.
    pub bytes: u64,
    /// SHA-256 of its content, if all of it arrived; of a recording without its container's padding.
    pub sha256: Option<String>,
    /// Whether the work was done.
    pub billed: bool,
    /// The answer's status; none if there was no whole answer.
    pub status: Option<u16>,
}

/// The books as they are kept.
#[derive(Debug)]
pub(super) struct CallLog {
    keep: usize,
    pages: Mutex<CallLogPages>,
}

#[derive(Debug, Default)]
struct CallLogPages {
    calls: u64,
    billed: u64,
    billed_characters: u64,
    cut: u64,
    log_calls: u64,
    removal_calls: u64,
    voice_calls: u64,
    sockets: u64,
    clone_calls: u64,
    dictionary_calls: u64,
    retired_calls: u64,
    statuses: BTreeMap<u16, u64>,
    contents: HashMap<Digest, ContentBooks>,
    requests: VecDeque<Record>,
}

impl CallLog {
    /// Books that list the last `keep` calls.
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, pages: Mutex::default() }
    }

    /// A call arrived; its number.
    pub(super) fn arrived(&self) -> u64 {
        self.with(|p| {
            p.calls += 1;
            p.calls
        })
    }

    /// All of a recording arrived; how many calls brought it so far.
    pub(super) fn received(&self, digest: &Digest, bytes: u64) -> u64 {
        self.with(|p| {
            let content = p.contents.entry(*digest).or_default();
            content.bytes = bytes;
            content.calls += 1;
            content.calls
        })
    }

    /// The work for a recording, or for a text of so many characters, is done.
    pub(super) fn billed(&self, digest: &Digest, characters: u64) {
        self.with(|p| {
            p.billed += 1;
            p.billed_characters += characters;
            p.contents.entry(*digest).or_default().billed += 1;
        });
    }

    /// A call ended.
    pub(super) fn ended(&self, record: Record) {
        self.with(|p| {
            match record.status {
                Some(status) => *p.statuses.entry(status).or_default() += 1,
                None => p.cut += 1,
            }
            if p.requests.len() >= self.keep {
                p.requests.pop_front();
            }
            if self.keep > 0 {
                p.requests.push_back(record);
            }
        });
    }

    /// The log was asked for; the number of that call.
    pub(super) fn log_called(&self) -> u64 {
        self.with(|p| {
            p.log_calls += 1;
            p.log_calls
        })
    }

    /// The voices were asked for.
    pub(super) fn clones_called(&self) {
        self.with(|p| p.clone_calls += 1);
    }

    pub(super) fn voices_called(&self) {
        self.with(|p| p.voice_calls += 1);
    }

    /// An entry of the log was to be removed; the number of that call.
    pub(super) fn removal_called(&self) -> u64 {
        self.with(|p| {
            p.removal_calls += 1;
            p.removal_calls
        })
    }

    /// A socket was opened.
    pub(super) fn socket_opened(&self) {
        self.with(|p| p.sockets += 1);
    }

    /// The dictionaries were asked for, or changed.
    pub(super) fn dictionaries_called(&self) {
        self.with(|p| p.dictionary_calls += 1);
    }

    /// A retired route was called.
    pub(super) fn retired_called(&self) {
        self.with(|p| p.retired_calls += 1);
    }

    pub(super) fn reset(&self) {
        self.with(|p| *p = CallLogPages::default());
    }

    /// A copy, without what the limits measured.
    pub(super) fn copy(&self) -> Books {
        let mut books = self.with(|p| Books {
            calls: p.calls,
            billed: p.billed,
            billed_characters: p.billed_characters,
            cut: p.cut,
            log_calls: p.log_calls,
            removal_calls: p.removal_calls,
            voice_calls: p.voice_calls,
            sockets: p.sockets,
            clone_calls: p.clone_calls,
            dictionary_calls: p.dictionary_calls,
            retired_calls: p.retired_calls,
            statuses: p.statuses.clone(),
            contents: p.contents.iter().map(|(digest, counts)| (hex(digest), *counts)).collect(),
            requests: p.requests.iter().cloned().collect(),
            ..Books::default()
        });
        books.requests.sort_by_key(|r| r.number);
        books
    }

    fn with<T>(&self, f: impl FnOnce(&mut CallLogPages) -> T) -> T {
        f(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
