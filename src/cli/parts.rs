//! The parts of a job that speaks: when each is heard, and whether it is there.

use std::{fs::File, io::BufReader, path::PathBuf, str::FromStr};

use serde_json::{Value, json};

use super::{
    error::CliError,
    words::{counted, grouped, table},
};
use crate::{
    audio::{check, ms_to_sample, sample_to_ms},
    domain::{
        cut::{Part, cut},
        identity::Identity,
        job::{CallState, Journals},
        synthesis::{ClipFormat, Rendition, Synthesis, Timeline},
        synthesis_options::SynthesisOptions,
    },
    store::{JobDetail, Store},
};

/// How a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartState {
    /// This job's call was answered, and the spool has it.
    Bought,
    /// The spool has it.
    Reused,
    /// It has to be bought.
    Missing,
    /// It is to be spoken again.
    Forced,
    /// A call for it is under way, or its outcome is unknown.
    Open,
    /// It has no words: nothing is bought, and its pause is all that is heard.
    Silent,
}

impl PartState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bought => "bought",
            Self::Reused => "reused",
            Self::Missing => "missing",
            Self::Forced => "forced",
            Self::Open => "open",
            Self::Silent => "silent",
        }
    }
}

/// A part of a job.
pub(super) struct PartNow {
    pub(super) part: Part,
    pub(super) cache_key: Identity,
    pub(super) state: PartState,
}

/// A job by its parts.
pub(super) struct JobParts {
    pub(super) own: Rendition,
    pub(super) options: SynthesisOptions,
    pub(super) parts: Vec<PartNow>,
    bought: ClipFormat,
    timeline: Timeline,
}

/// A moment in joined audio, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl JobParts {
    /// Looks at the ledger and the spool. `None`: nobody knows what the line asks for, or its text has gone.
    pub(super) async fn look(store: &Store, asked: &Synthesis, job: &JobDetail) -> Result<Option<Self>, CliError> {
        let own = job.row.overrides.as_deref().and_then(|json| serde_json::from_str::<Rendition>(json).ok());
        let (Some(own), Some(text)) = (own, store.text(job.row.job).await?) else { return Ok(None) };
        let journals = store.journals(job.row.job, job.generation).await?;
        let (options, bought) = (own.overrides.apply(&asked.options), own.format.bought());
        let cut = cut(&text, asked.part_chars);
        let cache_keys: Vec<_> = cut.iter().map(|part| asked.cache_key(&options, &part.text, bought)).collect();
        let audio_cache = store.audio_cache();
        let files: Vec<_> = cut
            .iter()
            .zip(&cache_keys)
            .map(|(part, cache_key)| part.has_words().then(|| audio_cache.path(*cache_key, bought.format)))
            .collect();
        let lengths = tokio::task::spawn_blocking(move || files.into_iter().map(|file| length(file, bought)).collect());
        let lengths: Vec<Option<u64>> = lengths.await.map_err(std::io::Error::other)?;
        let pauses = asked.pause.after(&cut).map(|ms| ms_to_sample(ms.into(), bought.sample_rate));
        let timeline = Timeline::of(lengths.iter().copied().zip(pauses));
        let mut parts = Vec::with_capacity(cut.len());
        for ((nth, part), (cache_key, length)) in (0..).zip(cut).zip(cache_keys.into_iter().zip(lengths)) {
            let state = if part.has_words() {
                state(store, &journals, nth, cache_key, length.is_some()).await?
            } else {
                PartState::Silent
            };
            parts.push(PartNow { part, cache_key, state });
        }
        Ok(Some(Self { own, options, parts, bought, timeline }))
    }

    /// When a part is heard, counted from 0.
    fn start_ms(&self, part: usize) -> Option<u64> {
        self.timeline.start(part).map(|sample| sample_to_ms(sample, self.bought.sample_rate))
    }

    fn end_ms(&self) -> Option<u64> {
        self.timeline.end().map(|sample| sample_to_ms(sample, self.bought.sample_rate))
    }

    /// `avery, wav at 24000 Hz`
    pub(super) fn who(&self) -> String {
        format!("{}, {}", self.own.voice_id(), self.own.format)
    }

    /// The part with this number, counted from 1, from 0.
    pub(super) fn numbered(&self, number: u32) -> Result<usize, String> {
        let nth = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        match self.parts.get(nth) {
            Some(part) if part.state == PartState::Silent => {
                Err(format!("part {number} has no words: {}", part.first_words()))
            }
            Some(_) => Ok(nth),
            None => Err(format!("there is no part {number}; it has {}", counted(self.parts.len() as u64, "part"))),
        }
    }

    /// The part that is heard then, counted from 0.
    pub(super) fn heard_at(&self, moment: Moment) -> Result<usize, String> {
        let rate = self.bought.sample_rate;
        let at = clock(moment.0);
        self.timeline.at(ms_to_sample(moment.0, rate)).ok_or_else(|| match self.end_ms() {
            Some(end) => format!("{at} is outside; it lasts {}", clock(end)),
            None => {
                let known = clock(sample_to_ms(self.timeline.known_to(), rate));
                format!("what is heard at {at} is not known: the spool has its parts only up to {known}; name it with --part")
            }
        })
    }

    /// As a table below a headline.
    pub(super) fn in_full(&self, job: &JobDetail, width: usize) -> String {
        let row = &job.row;
        let long = self.end_ms().map(|ms| format!(", {}", clock(ms))).unwrap_or_default();
        let count = counted(self.parts.len() as u64, "part");
        let rows: Vec<_> = (0..)
            .zip(&self.parts)
            .map(|(nth, now)| {
                vec![
                    (nth + 1).to_string(),
                    self.start_ms(nth).map_or_else(|| "?".into(), clock),
                    grouped(now.part.chars() as u64),
                    now.state.as_str().to_owned(),
                    now.first_words(),
                ]
            })
            .collect();
        let head = format!("{}, line {}, {}: {}, {count}{long}\n", row.key, row.line, self.who(), row.state);
        head + &table(&["part", "start", "chars", "state", ""], &rows, &[0, 1, 2], width)
    }

    pub(super) fn in_json(&self, job: &JobDetail) -> Value {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let parts = (0..).zip(&self.parts).map(|(nth, now)| {
            json!({
                "part": nth + 1,
                "start_seconds": self.start_ms(nth).map(seconds),
                "characters": now.part.chars(),
                "state": now.state.as_str(),
                "paragraph": now.part.paragraph + 1,
                "text": now.part.text,
                "cache_key": now.cache_key.hex(),
            })
        });
        json!({
            "line": job.row.line,
            "key": job.row.key,
            "state": job.row.state,
            "voice_id": self.own.voice_id(),
            "output_format": self.own.format.format,
            "sample_rate": self.own.format.sample_rate.hz(),
            "output_name": self.own.file(),
            "audio_seconds": self.end_ms().map(seconds),
            "parts": parts.collect::<Vec<_>>(),
        })
    }
}

impl PartNow {
    /// The beginning of its text, for one line of a table or a message.
    pub(super) fn first_words(&self) -> String {
        super::words::shorten(&self.part.text, 60)
    }
}

/// Length of a part's clip, in samples; a part without words has none. `None`: it is not there, or not whole.
fn length(file: Option<PathBuf>, bought: ClipFormat) -> Option<u64> {
    let Some(file) = file else { return Some(0) };
    let mut file = BufReader::new(File::open(file).ok()?);
    check(&mut file, bought.format, bought.sample_rate).ok().map(|checked| checked.samples)
}

async fn state(
    store: &Store,
    journals: &Journals,
    part: i64,
    cache_key: Identity,
    there: bool,
) -> Result<PartState, CliError> {
    let calls = journals.parts.get(&part).map(|journal| journal.calls.as_slice()).unwrap_or_default();
    let has = |states: &[CallState]| calls.iter().any(|call| states.contains(&call.state));
    if has(&[CallState::Sent, CallState::Accepted]) {
        return Ok(PartState::Open);
    }
    if let Some(at) = journals.forced_since(part)
        && !store.bought_since(cache_key, at).await?
    {
        return Ok(PartState::Forced);
    }
    Ok(match there {
        false => PartState::Missing,
        true if has(&[CallState::Answered]) => PartState::Bought,
        true => PartState::Reused,
    })
}

/// `00:12:34.500`
pub(super) fn clock(ms: u64) -> String {
    let s = ms / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", s / 3_600, s / 60 % 60, s % 60, ms % 1_000)
}

/// `00:12:34`, `12:34`, `754.2`
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{}` is no moment; write e.g. 00:12:34, 12:34 or 754.2", text.escape_debug());
        let digits = |text: &str, most: usize| {
            let good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            good.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(fault)
        };
        let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        let fields: Vec<&str> = whole.split(':').collect();
        let mut seconds = 0;
        for (nth, field) in fields.iter().enumerate() {
            let value = digits(field, 9)?;
            if fields.len() > 3 || nth > 0 && value > 59 {
                return Err(fault());
            }
            seconds = seconds * 60 + value;
        }
        let ms = match decimals {
            None => 0,
            // Finer than a millisecond is cut off.
            Some(decimals) => digits(decimals, 9).and_then(|_| digits(&format!("{decimals}00")[..3], 3))?,
        };
        Ok(Self(seconds * 1_000 + ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_players_show_them() {
        let read = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        for (text, ms) in [
            ("00:12:34", 754_000),
            ("12:34", 754_000),
            ("754.2", 754_200),
            ("754", 754_000),
            ("0:00.0004", 0),
            ("1:00:00.125", 3_600_125),
            ("90:00", 5_400_000),
        ] {
            assert_eq!(read(text), Ok(ms), "{text}");
        }
        for bad in ["", ":", "1:60", "1:2:3:4", "-1", "1e3", "1.", ".5", "1:-2", "1,5", "nan", "1:99:00", "9999999999"]
        {
            assert!(read(bad).unwrap_err().contains("write e.g. 00:12:34"), "{bad}");
        }
        assert_eq!([0, 754_200, 360_000_001].map(clock), ["00:00:00.000", "00:12:34.200", "100:00:00.001"]);
    }
}
