//! What can be scripted to go wrong, and for which calls.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::errors::ErrorShape;
use crate::domain::documented::documented;

/// One scripted fault. In JSON: `{"matches": {"nth": 3}, "times": 1, "what": {"status": {"code": 500}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The calls it befalls.
    #[serde(default)]
    pub matches: Match,
    /// After so many it is used up; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens to them.
    pub what: What,
}

impl Fault {
    /// A fault that befalls every call that matches.
    #[must_use]
    pub const fn new(matches: Match, what: What) -> Self {
        Self { matches, times: None, what }
    }

    /// The same, at most `times` times.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

documented! {
    /// Which calls a fault befalls. Calls are counted from 1 in the order of their arrival, since the start or a reset.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Match {
        /// Every call.
        Any,
        /// The call with this number.
        Nth(u64),
        /// The calls up to this number.
        First(u64),
        /// The calls from this number on.
        From(u64),
        /// Every k-th call.
        Every(u64),
        /// Calls with this content: SHA-256 in hexadecimal; of a recording without its container's padding.
        Content(String),
        /// Calls with a content of so many bytes; of a recording without its container's padding.
        Size(u64),
        /// Calls of synthesis whose text contains this, chats whose last prompt does, and clones whose name does.
        Text(String),
        /// The first so many calls of each content.
        EachContent(u64),
        /// By chance, but the same calls each time.
        Probability {
            /// From 0 (never) to 1 (always).
            p: f64,
            /// Other calls for another seed.
            seed: u64,
        },
    }
}

documented! {
    /// What happens to a call. "Billed" faults come after the work: the call is in the books and in the log.
    ///
    /// A call that is promised a callback may be befallen twice: by a fault of callbacks, and by another one, which then
    /// befalls its first answer only. What changes the transcript changes the callback's.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum What {
        /// Answered with a status of its own.
        Status(StatusFault),
        /// Answered, but later by so many milliseconds (added to the latency).
        Delay(u64),
        /// Never answered, until released; billed.
        Hang,
        /// The connection is reset once the recording has arrived; not billed.
        CutBeforeWork,
        /// Billed, then the connection is reset instead of an answer.
        CutAfterWork,
        /// Billed; half of the answer, under the `Content-Length` of the whole.
        Truncated,
        /// A proxy's page with this status; not billed (a billed one: a status of that shape).
        Html(u16),
        /// Billed and complete, but in pieces with a pause of so many milliseconds before each.
        Drip(u64),
        /// Billed; 200 and JSON's media type, but no JSON.
        Garbage200,
        /// Billed; 200 and an error in JSON.
        Json200,
        /// Billed; 200 and nothing.
        Empty200,
        /// Billed; 200 and a page in HTML.
        WrongType200,
        /// 429 before the recording was read; matches by number only.
        EarlyRefusal {
            /// `Retry-After`, as it will stand there.
            #[serde(default)]
            retry_after: Option<String>,
        },
        /// Billed; a 200 whose length is right and whose content ends in the middle.
        Short200,
        /// Billed; a success without words, or without a sound.
        EmptyText,
        /// Billed; a success that gives the length times this factor, or speaks for so long.
        WrongDuration(f64),
        /// Billed; speech that cannot be right.
        BadSpeech(SpeechFlaw),
        /// Billed; a success whose words and utterances are later by so many milliseconds.
        LateWords(u64),
        /// Billed; a clone that ends with the status `failed`.
        CloneFails,
        /// Billed; a clone that the account's list has only so many milliseconds later.
        CloneLate(u64),
        /// Billed; a stream of speech, or a live transcript, without its end.
        Unended,
        /// Billed; a stream of speech with an error in its middle.
        ErrorEvent,
        /// Billed; the socket is reset before this message of its answer, counted from 0. An answer of fewer messages is whole.
        CutMessage(u32),
        /// Billed and complete; then the socket is closed.
        CloseAfter,
        /// Billed; its callback is never posted.
        CallbackLost,
        /// Its callback is posted later by so many milliseconds; the work is done in time.
        CallbackLate(u64),
        /// Answered only after the first delivery of its callback.
        CallbackEarly,
        /// Its callback is delivered once more after it was acknowledged.
        CallbackTwice,
        /// The first two deliveries of its callback are made at once.
        CallbackTwiceAtOnce,
        /// As twice, but then with another transcript.
        CallbackChanged,
        /// Its callback tells of a failure; neither billed nor in the log.
        CallbackFailed,
        /// The first deliveries come in pieces with a pause before each.
        CallbackDrip {
            /// The pause, in milliseconds.
            ms: u64,
            /// How many deliveries.
            deliveries: u32,
        },
        /// In the first so many deliveries, half of the result, under the `Content-Length` of the whole.
        CallbackTruncated(u32),
        /// In the first so many deliveries, JSON's media type, but no JSON.
        CallbackGarbage(u32),
        /// In the first so many deliveries, a success without its `transcription`.
        CallbackWordless(u32),
        /// The vendor's log answers 503; counted by calls of the log.
        LogsUnavailable,
        /// The vendor's log answers 404; counted by calls of the log.
        LogsAbsent,
        /// An entry of the vendor's log is not removed: 403; counted by removals.
        RemovalRefused,
        /// The removal of an entry of the vendor's log answers 503; counted by removals.
        RemovalUnavailable,
        /// `/waves/v1/health` answers 503; not counted.
        Unwell,
    }
}

documented! {
    /// What is wrong with a speech.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum SpeechFlaw {
        /// It is silent.
        Silent,
        /// Its second half is silent.
        HalfSilent,
        /// It is so loud that its samples are cut off.
        Clipped,
        /// It is one tone.
        ConstantSound,
        /// It is louder by so many dB, or softer.
        Level(f64),
        /// It has as many words, and none of the text's.
        OtherWords,
    }
}

documented! {
    /// An answer with a status and, where wanted, a shape or a body of its own.
    #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct StatusFault {
        /// HTTP status.
        pub code: u16,
        /// One of the documented shapes; the endpoint's own if absent.
        #[serde(default)]
        pub shape: Option<ErrorShape>,
        /// The words in it.
        #[serde(default)]
        pub message: Option<String>,
        /// The whole body instead, as JSON.
        #[serde(default)]
        pub body: Option<String>,
        /// `Retry-After`, as it will stand there.
        #[serde(default)]
        pub retry_after: Option<String>,
        /// Whether the work was done all the same.
        #[serde(default)]
        pub billed: bool,
    }
}

#[expect(clippy::derivable_impls, reason = "the macro takes no attributes of variants")]
impl Default for Match {
    fn default() -> Self {
        Self::Any
    }
}

impl What {
    /// An answer with this status in the endpoint's own shape.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status(StatusFault { code, ..StatusFault::default() })
    }

    const fn stage(&self) -> FaultStage {
        match self {
            Self::EarlyRefusal { .. } => FaultStage::Arrival,
            Self::LogsUnavailable | Self::LogsAbsent => FaultStage::Logs,
            Self::RemovalRefused | Self::RemovalUnavailable => FaultStage::Removal,
            Self::Unwell => FaultStage::Health,
            Self::CallbackLost
            | Self::CallbackLate(_)
            | Self::CallbackEarly
            | Self::CallbackTwice
            | Self::CallbackTwiceAtOnce
            | Self::CallbackChanged
            | Self::CallbackFailed
            | Self::CallbackDrip { .. }
            | Self::CallbackTruncated(_)
            | Self::CallbackGarbage(_)
            | Self::CallbackWordless(_) => FaultStage::Callback,
            _ => FaultStage::Received,
        }
    }
}

/// When a fault is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultStage {
    /// The head of a call is there.
    Arrival,
    /// All of a call is there.
    Received,
    /// A callback was promised.
    Callback,
    /// The log was asked for.
    Logs,
    /// An entry of the log was to be removed.
    Removal,
    /// Its health was asked for.
    Health,
}

/// What is known of a call when a fault is looked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subject<'a> {
    /// Its number.
    pub number: u64,
    /// Content, size, and how many calls of that content there were, this one included.
    pub content: Option<(&'a str, u64, u64)>,
    /// What is to be spoken.
    pub text: Option<&'a str>,
}

impl Match {
    fn takes(&self, subject: Subject<'_>) -> bool {
        let Subject { number, content, text } = subject;
        match self {
            Self::Any => true,
            Self::Nth(n) => number == *n,
            Self::First(n) => number <= *n,
            Self::From(n) => number >= *n,
            Self::Every(k) => *k > 0 && number.is_multiple_of(*k),
            Self::Content(sha) => content.is_some_and(|(have, ..)| have.eq_ignore_ascii_case(sha)),
            Self::Size(bytes) => content.is_some_and(|(_, have, _)| have == *bytes),
            Self::Text(part) => text.is_some_and(|text| text.contains(part)),
            Self::EachContent(n) => content.is_some_and(|(_, _, nth)| nth <= *n),
            Self::Probability { p, seed } => (mix(seed ^ number) as f64 / u64::MAX as f64) < *p,
        }
    }
}

/// The rules in force; the first that matches counts.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(super) fn add(&self, faults: impl IntoIterator<Item = Fault>) {
        self.with(|rules| rules.extend(faults));
    }

    pub(super) fn clear(&self) {
        self.with(Vec::clear);
    }

    /// What befalls this call, if anything.
    pub(super) fn pick(&self, stage: FaultStage, subject: Subject<'_>) -> Option<What> {
        self.with(|rules| {
            let at = rules.iter().position(|rule| rule.what.stage() == stage && rule.matches.takes(subject))?;
            let what = rules[at].what.clone();
            if let Some(left) = &mut rules[at].times {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    rules.remove(at);
                }
            }
            Some(what)
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Fault>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Spreads numbers evenly over 64 bits (splitmix64).
pub(super) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(fault: Fault, upto: u64) -> Vec<u64> {
        let faults = Faults::default();
        faults.add([fault]);
        let picks = |n: &u64| faults.pick(FaultStage::Received, Subject { number: *n, ..Subject::default() }).is_some();
        (1..=upto).filter(picks).collect()
    }

    #[test]
    fn rules_take_the_calls_they_name() {
        let hang = |m| Fault::new(m, What::Hang);
        assert_eq!(numbers(hang(Match::Nth(3)), 9), [3]);
        assert_eq!(numbers(hang(Match::First(2)), 9), [1, 2]);
        assert_eq!(numbers(hang(Match::From(8)), 9), [8, 9]);
        assert_eq!(numbers(hang(Match::Every(4)), 9), [4, 8]);
        assert_eq!(numbers(hang(Match::Any).times(2), 9), [1, 2]);
        assert_eq!(numbers(hang(Match::Content("ab".into())), 9), [0; 0]);
        let some = numbers(hang(Match::Probability { p: 0.3, seed: 1 }), 1000);
        assert!((200..400).contains(&some.len()), "{}", some.len());
        assert_eq!(some, numbers(hang(Match::Probability { p: 0.3, seed: 1 }), 1000));
    }

    #[test]
    fn content_rules_need_the_content() {
        let faults = Faults::default();
        faults.add([Fault::new(Match::EachContent(1), What::Hang)]);
        let pick = |content| faults.pick(FaultStage::Received, Subject { number: 5, content, text: None });
        assert_eq!(pick(None), None);
        assert_eq!(pick(Some(("aa", 1, 1))), Some(What::Hang));
        assert_eq!(pick(Some(("aa", 1, 2))), None);
    }

    #[test]
    fn the_json_is_as_documented() {
        let fault: Fault =
            serde_json::from_str(r#"{"matches": {"nth": 3}, "times": 1, "what": {"status": {"code": 500}}}"#).unwrap();
        assert_eq!(fault, Fault::new(Match::Nth(3), What::status(500)).times(1));
        assert_eq!(serde_json::from_str::<Fault>(r#"{"what": "hang"}"#).unwrap(), Fault::new(Match::Any, What::Hang));
    }
}
