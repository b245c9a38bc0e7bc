//! The listening pass: what a recording is, who speaks in it and when, before anything is paid for; and the conversion of
//! what is sent instead of it.
//!
//! [`hear`] decodes a file once, as a stream, and needs some 10 MB for any length. [`convert`] makes the 16-bit mono file
//! that is sent. Both are plain blocking code.

use std::{ops::ControlFlow, path::Path};

mod bytes;
mod convert;
mod error;
mod hearing;
#[cfg(test)]
mod input_tests;
mod meter;
mod pair;
mod resample;
mod source;
mod speech;
#[cfg(test)]
mod tests;
mod tones;

pub use self::{
    convert::{Converted, Target, convert},
    error::HearError,
    hearing::{
        Bleed, Break, ChannelHearing, Encoding, Found, HearSettings, Hearing, Layout, Limits, Note, RawFormat, Segment,
        Tone, ToneKind,
    },
};
use self::{
    meter::{Meter, PEAK_MS},
    pair::Pair,
    resample::Resampler,
    source::Sink,
    speech::{FRAME_MS, SpeechFinder, level_of},
    tones::ToneFinder,
};

/// A channel with less speech of its own does not speak, in ms.
const SPEAKS_MS: u64 = 200;
/// How much is taken away around a tone: a detector of voices goes on for a moment.
const AROUND_TONE_MS: u64 = 48;
/// What is left of a segment after tones are taken away is speech from this length on, in ms; after music, whose ends are
/// known to the second, from that one on.
const REST_MS: u64 = 160;
const REST_OF_MUSIC_MS: u64 = 1_100;
/// By how much such a rest may be softer than the loudest sound beside it, in dB.
const BELOW_TONE_DB: u8 = 32;

/// Listens to a recording once. `stop` is asked many times a second.
///
/// # Errors
/// See [`HearError`]. A recording that breaks after some time, or reaches a limit, is heard until then: [`Hearing::broken`].
pub fn hear(path: &Path, settings: &HearSettings, stop: &dyn Fn() -> bool) -> Result<Hearing, HearError> {
    let mut pass = Pass::default();
    let ending = source::read(path, settings, stop, &mut pass)?;
    Ok(pass.finish(ending))
}

/// What listens to one channel.
struct Ear {
    meter: Meter,
    speech: SpeechFinder,
    tones: ToneFinder,
}

/// The whole pass.
#[derive(Default)]
struct Pass {
    resampler: Option<Resampler>,
    ears: Vec<Ear>,
    pair: Option<Pair>,
}

impl Sink for Pass {
    fn begin(&mut self, found: &Found) -> Result<(), HearError> {
        let channels = usize::from(found.channels);
        self.resampler = Some(Resampler::new(found.rate, speech::RATE, channels)?);
        let ear = || Ear { meter: Meter::new(found.rate), speech: SpeechFinder::new(), tones: ToneFinder::new() };
        self.ears = std::iter::repeat_with(ear).take(channels).collect();
        self.pair = (channels == 2).then(Pair::new);
        Ok(())
    }

    fn block(&mut self, planes: &[Vec<f32>]) -> Result<ControlFlow<()>, HearError> {
        let Self { resampler, ears, pair } = self;
        for (ear, plane) in ears.iter_mut().zip(planes) {
            ear.meter.push(plane);
        }
        if let Some(resampler) = resampler {
            resampler.push(planes, &mut |planes| listen(ears, pair, planes));
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn listen(ears: &mut [Ear], pair: &mut Option<Pair>, planes: &[&[f32]]) {
    for (ear, plane) in ears.iter_mut().zip(planes) {
        ear.speech.push(plane);
        ear.tones.push(plane);
    }
    if let (Some(pair), [first, second]) = (pair, planes) {
        pair.push([first, second]);
    }
}

impl Pass {
    fn finish(mut self, ending: source::Ending) -> Hearing {
        let Self { resampler, ears, pair } = &mut self;
        if let Some(resampler) = resampler {
            resampler.finish(&mut |planes| listen(ears, pair, planes));
        }
        let length_ms = ending.frames * 1_000 / u64::from(ending.found.rate.max(1));
        let mut channels = Vec::with_capacity(self.ears.len());
        let mut levels = Vec::with_capacity(self.ears.len());
        for ear in self.ears {
            let (segments, frame_levels) = ear.speech.finish();
            let tones = until(ear.tones.finish(), length_ms);
            let (peak_db, clipped_share, peaks) = ear.meter.finish();
            let segments = without_tones(segments, &tones, length_ms, &frame_levels);
            channels.push(ChannelHearing {
                segments,
                tones,
                peak_db,
                clipped_share,
                peaks,
                ..ChannelHearing::default()
            });
            levels.push(frame_levels);
        }
        let between = self.pair.map(Pair::finish);
        if let (Some(between), Ok(levels)) = (&between, <&[Vec<u8>; 2]>::try_from(levels.as_slice())) {
            for bleed in &between.bleeds {
                pair::mark_echoes(&mut channels[bleed.to].segments, bleed, levels);
            }
        }
        for (heard, levels) in channels.iter_mut().zip(&levels) {
            let own = || heard.segments.iter().filter(|segment| !segment.echo);
            heard.speech_ms = own().map(Segment::len_ms).sum();
            heard.level_db = level_in(levels, own());
        }
        let speaks: Vec<usize> = (0..channels.len()).filter(|at| channels[*at].speech_ms >= SPEAKS_MS).collect();
        let layout = match (channels.len(), between, speaks.as_slice()) {
            (_, _, []) => Layout::Silent,
            (1, ..) => Layout::Mono,
            (_, Some(between), _) if between.dual_mono => Layout::DualMono,
            (2, _, [one]) => Layout::OneSided { speaks: *one },
            (2, between, _) => Layout::Apart { bleed: between.map(|between| between.bleeds).unwrap_or_default() },
            (many, ..) => Layout::Many(u16::try_from(many).unwrap_or(u16::MAX)),
        };
        Hearing {
            found: ending.found,
            length_ms,
            broken: ending.broken,
            notes: ending.notes,
            channels,
            layout,
            peak_ms: PEAK_MS,
        }
    }
}

/// Tones, none of them after the end.
fn until(mut tones: Vec<Tone>, end_ms: u64) -> Vec<Tone> {
    tones.iter_mut().for_each(|tone| tone.to_ms = tone.to_ms.min(end_ms));
    tones.retain(|tone| tone.from_ms < tone.to_ms);
    tones
}

/// What is left of segments where no tone sounds.
fn without_tones(segments: Vec<Segment>, tones: &[Tone], end_ms: u64, levels: &[u8]) -> Vec<Segment> {
    let mut left: Vec<Segment> = Vec::with_capacity(segments.len());
    for mut segment in segments {
        segment.to_ms = segment.to_ms.min(end_ms);
        let is_near = |tone: &&Tone| tone.from_ms < segment.to_ms && tone.to_ms + AROUND_TONE_MS > segment.from_ms;
        let mut from_ms = segment.from_ms;
        let mut rest = 0;
        let whole = segment;
        let is_loud = |from_ms, to_ms| {
            let loudest =
                |segment: &Segment| levels[frames(segment, levels.len())].iter().copied().max().unwrap_or_default();
            loudest(&Segment { from_ms, to_ms, echo: false }) >= loudest(&whole).saturating_sub(BELOW_TONE_DB)
        };
        for tone in tones.iter().filter(is_near) {
            let to_ms = tone.from_ms.saturating_sub(AROUND_TONE_MS);
            let after = rest_ms(tone);
            if to_ms >= from_ms + after.max(rest) && is_loud(from_ms, to_ms) {
                left.push(Segment { from_ms, to_ms, echo: false });
            }
            from_ms = from_ms.max(tone.to_ms + AROUND_TONE_MS);
            rest = after;
        }
        if segment.to_ms > from_ms && segment.to_ms >= from_ms + rest && is_loud(from_ms, segment.to_ms) {
            left.push(Segment { from_ms, ..segment });
        }
    }
    left
}

/// The frames of a segment, none of them from `count` on.
fn frames(segment: &Segment, count: usize) -> std::ops::Range<usize> {
    let to = (segment.to_ms.div_ceil(FRAME_MS) as usize).min(count);
    ((segment.from_ms / FRAME_MS) as usize).min(to)..to
}

const fn rest_ms(tone: &Tone) -> u64 {
    if matches!(tone.kind, ToneKind::Music) { REST_OF_MUSIC_MS } else { REST_MS }
}

/// The mean level in these segments, or of all if there are none, in dB.
fn level_in<'a>(levels: &[u8], segments: impl Iterator<Item = &'a Segment>) -> f32 {
    let mean = |levels: &mut dyn Iterator<Item = &u8>| {
        let (sum, count) = levels
            .fold((0.0, 0), |(sum, count), level| (sum + 10f64.powf(f64::from(level_of(*level)) / 10.0), count + 1));
        (count > 0).then(|| (10.0 * (sum / f64::from(count)).max(1e-12).log10()) as f32)
    };
    let spoken = mean(&mut segments.flat_map(|segment| &levels[frames(segment, levels.len())]));
    spoken.or_else(|| mean(&mut levels.iter())).unwrap_or(-120.0)
}
