//! Where samples come from: a file of any format becomes blocks of samples, within limits.

use std::{fs::File, io::Read, ops::ControlFlow, path::Path, time::Instant};

use super::{
    error::HearError,
    hearing::{Break, Found, HearSettings, Limits, Note},
};

mod doubt;
mod ffmpeg;
mod media;
mod opus;
mod raw;
mod sniff;
mod wave;

/// The most channels, and the least and greatest rate, of anything that is a recording.
const MAX_CHANNELS: usize = 16;
const RATES: std::ops::RangeInclusive<u32> = 2_000..=384_000;
/// Audio before which the density of a file says nothing.
const DENSE_AFTER_MS: u64 = 600_000;

/// Takes the samples of a recording.
pub(super) trait Sink {
    /// What comes; called once, before the first block.
    fn begin(&mut self, found: &Found) -> Result<(), HearError>;
    /// The next samples from -1 to 1, as many of each channel. `Break`: no more are wanted.
    fn block(&mut self, planes: &[Vec<f32>]) -> Result<ControlFlow<()>, HearError>;
}

/// How a recording ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) found: Found,
    /// Samples of each channel.
    pub(super) frames: u64,
    pub(super) broken: Option<Break>,
    pub(super) notes: Vec<Note>,
}

/// Reads a recording from its beginning to its end, to a limit, or until `sink` wants no more.
pub(super) fn read(
    path: &Path,
    settings: &HearSettings,
    stop: &dyn Fn() -> bool,
    sink: &mut dyn Sink,
) -> Result<Ending, HearError> {
    let mut file = File::open(path).map_err(HearError::Read)?;
    let bytes = file.metadata().map_err(HearError::Read)?.len();
    let mut head = Vec::with_capacity(sniff::HEAD);
    file.by_ref().take(sniff::HEAD as u64).read_to_end(&mut head).map_err(HearError::Read)?;
    drop(file);
    if head.is_empty() {
        return Err(HearError::Unknown);
    }
    let mut feed = Feed::new(sink, settings.limits, stop, bytes);
    match sniff::sniff(&head, path, settings.raw) {
        sniff::Kind::Raw(format) => match raw::Decoder::new(format) {
            Some(decoder) => raw::read(path, &raw::Place::WHOLE, format, &decoder, &mut feed)?,
            None => ffmpeg::read(path, settings, ffmpeg::Input::raw(format), &mut feed)?,
        },
        sniff::Kind::Media(known) if known.container == "wav" && wave::read(path, &mut feed)? => {}
        sniff::Kind::Media(known) => match media::read(path, known.container, &mut feed)? {
            media::Read::Done => {}
            media::Read::NoDecoder { what } => {
                ffmpeg::read(path, settings, ffmpeg::Input::of(known.demuxer, what), &mut feed)?;
            }
        },
        sniff::Kind::Ffmpeg(known) => {
            ffmpeg::read(path, settings, ffmpeg::Input::of(known.demuxer, known.container.to_owned()), &mut feed)?;
        }
        sniff::Kind::Unknown => return Err(HearError::Unknown),
    }
    feed.finish()
}

/// Stands between a decoder and the sink: cleans samples, and holds the limits.
pub(super) struct Feed<'a> {
    sink: &'a mut dyn Sink,
    limits: Limits,
    stop: &'a dyn Fn() -> bool,
    began: Instant,
    /// The size of the file.
    bytes: u64,
    found: Option<Found>,
    frames: u64,
    broken: Option<Break>,
    notes: Vec<Note>,
    not_numbers: bool,
    ended: bool,
}

impl<'a> Feed<'a> {
    fn new(sink: &'a mut dyn Sink, limits: Limits, stop: &'a dyn Fn() -> bool, bytes: u64) -> Self {
        Self {
            sink,
            limits,
            stop,
            began: Instant::now(),
            bytes,
            found: None,
            frames: 0,
            broken: None,
            notes: Vec::new(),
            not_numbers: false,
            ended: false,
        }
    }

    /// Says what comes.
    fn begin(&mut self, found: Found) -> Result<(), HearError> {
        if !(1..=MAX_CHANNELS).contains(&usize::from(found.channels)) {
            return Err(HearError::Channels(usize::from(found.channels)));
        }
        if !RATES.contains(&found.rate) {
            return Err(HearError::Rate(found.rate));
        }
        self.sink.begin(&found)?;
        self.found = Some(found);
        Ok(())
    }

    /// Hands samples on. `Break`: decode no further.
    fn push(&mut self, planes: &mut [Vec<f32>]) -> Result<ControlFlow<()>, HearError> {
        if self.over()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let channels = self.found.as_ref().map_or(0, |found| usize::from(found.channels));
        if planes.len() != channels {
            return Ok(self.stop_with(Break::Changes));
        }
        for sample in planes.iter_mut().flatten() {
            if !(-1.0..=1.0).contains(sample) {
                self.not_numbers |= !sample.is_finite();
                *sample = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
            }
        }
        let frames = planes.first().map_or(0, Vec::len) as u64;
        if frames == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        self.frames += frames;
        let flow = self.sink.block(planes)?;
        self.ended |= flow.is_break();
        Ok(flow)
    }

    /// Whether a limit is reached; to be asked now and then while nothing comes.
    fn over(&mut self) -> Result<ControlFlow<()>, HearError> {
        if (self.stop)() {
            return Err(HearError::Stopped);
        }
        let ms = self.ms();
        let limit = if self.began.elapsed() > self.limits.wall {
            Break::TooSlow
        } else if ms >= self.limits.audio_ms {
            Break::TooLong
        } else if ms > DENSE_AFTER_MS && ms > self.bytes.saturating_mul(self.limits.ms_per_byte) {
            Break::TooDense
        } else {
            return Ok(ControlFlow::Continue(()));
        };
        Ok(self.stop_with(limit))
    }

    fn stop_with(&mut self, why: Break) -> ControlFlow<()> {
        self.broken.get_or_insert(why);
        ControlFlow::Break(())
    }

    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// How much came so far.
    fn ms(&self) -> u64 {
        self.found.as_ref().map_or(0, |found| self.frames * 1_000 / u64::from(found.rate))
    }

    fn finish(mut self) -> Result<Ending, HearError> {
        if self.not_numbers {
            self.note(Note::NotNumbers);
        }
        match (self.found, self.broken) {
            (Some(found), broken) if self.frames > 0 || broken.is_none() => {
                Ok(Ending { found, frames: self.frames, broken, notes: self.notes })
            }
            (_, Some(Break::Damaged(why))) => Err(HearError::Damaged { why }),
            (_, Some(why)) => Err(HearError::Broken { at_ms: 0, why }),
            (_, None) => Err(HearError::Unknown),
        }
    }
}
