//! What is sent instead of a recording: 16 kHz, one channel, 16 bits, as WAV or FLAC.

use std::{
    io::{Seek, Write},
    ops::ControlFlow,
    path::Path,
};

use super::{
    error::HearError,
    hearing::{Break, Found, HearSettings},
    resample::Resampler,
    source::{self, Sink},
};
use crate::domain::{
    cuts::{Cut, Cuts},
    hearing::Stretch,
};

mod encode;

use encode::Encoder;

/// Samples a second of what is sent.
pub(super) const RATE: u32 = 16_000;
const PER_MS: u64 = RATE as u64 / 1_000;

/// What it is sent as: 16 kHz, mono, 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// WAV.
    Wav16k,
    /// FLAC: half as large.
    Flac16k,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Its size.
    pub bytes: u64,
    /// Its length, in ms.
    pub length_ms: u64,
    /// Why the recording ended before what is sent of it did; the caller decides whether that much is worth sending.
    pub broken: Option<Break>,
}

/// Converts stretches of a recording, or all of it if there are none, and writes them to `out`, which is at its beginning. The
/// recording is read once for each channel.
///
/// # Errors
/// See [`HearError`]; what was written is then of no use.
pub fn convert(
    path: &Path,
    settings: &HearSettings,
    cuts: &Cuts,
    target: Target,
    out: &mut (impl Write + Seek),
    stop: &dyn Fn() -> bool,
) -> Result<Converted, HearError> {
    let whole = [Cut { channel: None, at: Stretch { from_ms: 0, to_ms: u64::MAX } }];
    let list = if cuts.is_empty() { &whole } else { cuts.list.as_slice() };
    let (mut encoder, mut sent, mut broken) = (Encoder::new(target, out)?, 0, None);
    for run in list.chunk_by(|one, next| one.channel == next.channel) {
        if sent > 0 {
            let gap = cuts.gap_ms * PER_MS;
            encoder.silence(gap)?;
            sent += gap;
        }
        let pass = Conversion::of(run, &mut encoder);
        let (wrote, why) = pass.read(path, settings, stop)?;
        if wrote == 0 {
            return Err(HearError::Empty);
        }
        sent += wrote;
        broken = broken.or(why);
    }
    Ok(Converted { bytes: encoder.finish(sent)?, length_ms: sent / PER_MS, broken })
}

/// One pass over a recording, for one channel.
struct Conversion<'a, 'e, W: Write + Seek> {
    /// From 0 on; `None`: the mean of all.
    channel: Option<u16>,
    resampler: Option<Resampler>,
    mono: Vec<Vec<f32>>,
    cutter: Cutter,
    encoder: &'a mut Encoder<'e, W>,
    /// Samples of each channel that come before anything that is sent.
    unneeded: usize,
}

impl<'a, 'e, W: Write + Seek> Conversion<'a, 'e, W> {
    fn of(run: &[Cut], encoder: &'a mut Encoder<'e, W>) -> Self {
        let channel = run.first().and_then(|cut| cut.channel).map(|channel| channel.saturating_sub(1));
        let cutter = Cutter::new(run.iter().map(|cut| cut.at));
        Self { channel, resampler: None, mono: vec![Vec::new()], cutter, encoder, unneeded: 0 }
    }

    /// How many samples were written, and why the recording ended before the last stretch did.
    fn read(
        mut self,
        path: &Path,
        settings: &HearSettings,
        stop: &dyn Fn() -> bool,
    ) -> Result<(u64, Option<Break>), HearError> {
        let ending = source::read(path, settings, stop, &mut self)?;
        let Self { resampler, mut cutter, encoder, .. } = self;
        if let Some(mut resampler) = resampler {
            let mut written = Ok(());
            resampler.finish(&mut |planes| {
                if written.is_ok() {
                    written = cutter.push(planes[0], encoder);
                }
            });
            written?;
        }
        let broken = if cutter.done() { None } else { ending.broken };
        Ok((cutter.sent, broken))
    }
}

impl<W: Write + Seek> Sink for Conversion<'_, '_, W> {
    fn begin(&mut self, found: &Found) -> Result<(), HearError> {
        if let Some(channel) = self.channel.filter(|channel| *channel >= found.channels) {
            return Err(HearError::NoChannel { wanted: u32::from(channel) + 1, has: found.channels });
        }
        self.resampler = Some(Resampler::new(found.rate, RATE, 1)?);
        // Whole seconds are as many samples at any rate. The one before is left for the filter to begin in.
        let seconds = (self.cutter.begins() / u64::from(RATE)).saturating_sub(1);
        self.unneeded = usize::try_from(seconds * u64::from(found.rate)).unwrap_or(usize::MAX);
        self.cutter.at = seconds * u64::from(RATE);
        Ok(())
    }

    fn block(&mut self, planes: &[Vec<f32>]) -> Result<ControlFlow<()>, HearError> {
        let first = self.unneeded.min(planes.first().map_or(0, Vec::len));
        self.unneeded -= first;
        let mono = &mut self.mono[0];
        mono.clear();
        match self.channel {
            Some(channel) => mono.extend_from_slice(&planes[usize::from(channel)][first..]),
            None => {
                mono.extend_from_slice(&planes[0][first..]);
                for plane in &planes[1..] {
                    mono.iter_mut().zip(&plane[first..]).for_each(|(sum, sample)| *sum += sample);
                }
                let share = 1.0 / planes.len() as f32;
                mono.iter_mut().for_each(|sample| *sample *= share);
            }
        }
        if self.mono[0].is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let Self { resampler: Some(resampler), cutter, encoder, .. } = self else {
            return Ok(ControlFlow::Break(()));
        };
        let mut written = Ok(());
        resampler.push(&self.mono, &mut |planes| {
            if written.is_ok() {
                written = cutter.push(planes[0], encoder);
            }
        });
        written?;
        Ok(if cutter.done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// Takes stretches out of a stream of samples.
struct Cutter {
    /// The stretches in samples, in order.
    keep: Vec<(u64, u64)>,
    /// Which of them is next, and how many samples came so far.
    next: usize,
    at: u64,
    sent: u64,
}

impl Cutter {
    fn new(stretches: impl Iterator<Item = Stretch>) -> Self {
        let in_samples = |ms: u64| ms.saturating_mul(PER_MS);
        let keep = stretches.map(|at| (in_samples(at.from_ms), in_samples(at.to_ms))).collect();
        Self { keep, next: 0, at: 0, sent: 0 }
    }

    /// The first sample that is wanted.
    fn begins(&self) -> u64 {
        self.keep.first().map_or(0, |(from, _)| *from)
    }

    /// Whether nothing more is wanted.
    fn done(&self) -> bool {
        self.next == self.keep.len()
    }

    fn push(&mut self, samples: &[f32], encoder: &mut Encoder<'_, impl Write + Seek>) -> Result<(), HearError> {
        let end = self.at + samples.len() as u64;
        while let Some((from, to)) = self.keep.get(self.next).copied().filter(|(from, _)| *from < end) {
            let (begin, stop) = (from.max(self.at), to.min(end));
            if begin < stop {
                encoder.push(&samples[(begin - self.at) as usize..(stop - self.at) as usize])?;
                self.sent += stop - begin;
            }
            if to > end {
                break;
            }
            self.next += 1;
        }
        self.at = end;
        Ok(())
    }
}
