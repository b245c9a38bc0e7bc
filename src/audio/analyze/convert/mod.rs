//! What is sent instead of a recording: 16 kHz, one channel, 16 bits, as WAV or FLAC.

use std::{
    io::{Seek, Write},
    ops::ControlFlow,
    path::Path,
};

use super::{
    error::HearError,
    hearing::{Break, Found, HearSettings, Segment},
    resample::Resampler,
    source::{self, Sink},
};

mod encode;
mod map;

use encode::Encoder;
pub use map::{Mapped, TimeMap};

/// Samples a second of what is sent.
pub(super) const RATE: u32 = 16_000;
const PER_MS: u64 = RATE as u64 / 1_000;

/// What of a recording is sent.
#[derive(Debug, Clone, Default)]
pub struct Piece {
    /// One channel, from 0 on; `None`: the mean of all.
    pub channel: Option<u16>,
    /// Where it begins, in ms.
    pub from_ms: u64,
    /// Where it ends; `None`: at the end of the recording.
    pub to_ms: Option<u64>,
    /// Only these stretches of it, in order; `None`: all.
    pub keep: Option<Vec<Segment>>,
    /// Silence between them, in ms.
    pub gap_ms: u32,
}

/// What it is sent as: 16 kHz, mono, 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// WAV.
    Wav16k,
    /// FLAC: half as large.
    Flac16k,
}

/// What was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// Its size.
    pub bytes: u64,
    /// Its length, in ms.
    pub length_ms: u64,
    /// Which time of it is which time of the recording.
    pub map: TimeMap,
    /// Why the recording ended before the piece did; the caller decides whether that much is worth sending.
    pub broken: Option<Break>,
}

/// Converts a piece of a recording and writes it to `out`, which is at its beginning.
///
/// # Errors
/// See [`HearError`]; what was written is then of no use.
pub fn convert(
    path: &Path,
    settings: &HearSettings,
    piece: &Piece,
    target: Target,
    out: &mut (impl Write + Seek),
    stop: &dyn Fn() -> bool,
) -> Result<Converted, HearError> {
    let mut conversion = Conversion {
        piece,
        resampler: None,
        mono: vec![Vec::new()],
        cutter: Cutter::new(piece),
        encoder: Encoder::new(target, out)?,
    };
    let ending = source::read(path, settings, stop, &mut conversion)?;
    let Conversion { resampler, mut cutter, mut encoder, .. } = conversion;
    if let Some(mut resampler) = resampler {
        let mut written = Ok(());
        resampler.finish(&mut |planes| {
            if written.is_ok() {
                written = cutter.push(planes[0], &mut encoder);
            }
        });
        written?;
    }
    if cutter.sent == 0 {
        return Err(HearError::Empty);
    }
    let broken = if cutter.done() { None } else { ending.broken };
    let (sent, map) = cutter.finish();
    Ok(Converted { bytes: encoder.finish(sent)?, length_ms: sent / PER_MS, map, broken })
}

struct Conversion<'a, W: Write + Seek> {
    piece: &'a Piece,
    resampler: Option<Resampler>,
    mono: Vec<Vec<f32>>,
    cutter: Cutter,
    encoder: Encoder<'a, W>,
}

impl<W: Write + Seek> Sink for Conversion<'_, W> {
    fn begin(&mut self, found: &Found) -> Result<(), HearError> {
        if let Some(channel) = self.piece.channel.filter(|channel| *channel >= found.channels) {
            return Err(HearError::NoChannel { wanted: u32::from(channel) + 1, has: found.channels });
        }
        self.resampler = Some(Resampler::new(found.rate, RATE, 1)?);
        Ok(())
    }

    fn block(&mut self, planes: &[Vec<f32>]) -> Result<ControlFlow<()>, HearError> {
        let mono = &mut self.mono[0];
        mono.clear();
        match self.piece.channel {
            Some(channel) => mono.extend_from_slice(&planes[usize::from(channel)]),
            None => {
                mono.extend_from_slice(&planes[0]);
                for plane in &planes[1..] {
                    mono.iter_mut().zip(plane).for_each(|(sum, sample)| *sum += sample);
                }
                let share = 1.0 / planes.len() as f32;
                mono.iter_mut().for_each(|sample| *sample *= share);
            }
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

/// Takes the kept stretches out of a stream of samples.
struct Cutter {
    /// The stretches in samples, in order and apart.
    keep: Vec<(u64, u64)>,
    /// Which of them is next, and how many samples came so far.
    next: usize,
    at: u64,
    gap: u64,
    sent: u64,
    map: TimeMap,
}

impl Cutter {
    fn new(piece: &Piece) -> Self {
        let whole = (piece.from_ms * PER_MS, piece.to_ms.map_or(u64::MAX, |to_ms| to_ms * PER_MS));
        let mut keep: Vec<(u64, u64)> = match &piece.keep {
            None => vec![whole],
            Some(keep) => keep.iter().map(|kept| (kept.from_ms * PER_MS, kept.to_ms * PER_MS)).collect(),
        };
        keep.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(keep.len());
        for (from, to) in
            keep.into_iter().map(|(from, to)| (from.max(whole.0), to.min(whole.1))).filter(|(from, to)| from < to)
        {
            match joined.last_mut() {
                Some((_, end)) if *end >= from => *end = to.max(*end),
                _ => joined.push((from, to)),
            }
        }
        Self { keep: joined, next: 0, at: 0, gap: u64::from(piece.gap_ms) * PER_MS, sent: 0, map: TimeMap::default() }
    }

    /// Whether nothing more is wanted.
    fn done(&self) -> bool {
        self.next == self.keep.len()
    }

    fn push(&mut self, samples: &[f32], encoder: &mut Encoder<'_, impl Write + Seek>) -> Result<(), HearError> {
        let end = self.at + samples.len() as u64;
        while let Some((from, to)) = self.keep.get(self.next).copied().filter(|(from, _)| *from < end) {
            let (begin, stop) = (from.max(self.at), to.min(end));
            if begin == from {
                if self.sent > 0 && self.gap > 0 {
                    encoder.silence(self.gap)?;
                    self.sent += self.gap;
                }
                self.map.begin(self.sent, from);
            }
            if begin < stop {
                encoder.push(&samples[(begin - self.at) as usize..(stop - self.at) as usize])?;
                self.sent += stop - begin;
                self.map.extend(stop - begin);
            }
            if to > end {
                break;
            }
            self.next += 1;
        }
        self.at = end;
        Ok(())
    }

    fn finish(self) -> (u64, TimeMap) {
        (self.sent, self.map)
    }
}
