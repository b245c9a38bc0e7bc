//! Joins parts into one file as a stream: memory use does not grow with the length.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{
    AudioError, Meter, g711,
    mp3::{Frames, Header, info, samples_per_frame},
    ms_to_sample,
    part::{Body, Checked, Source, check, differs},
    wav,
};
use crate::domain::{
    synthesis::Measured,
    synthesis_options::{AudioFormat, SampleRate},
};

/// Bytes that are read and written at a time. Even, so that no sample is split.
const BLOCK: usize = 64 << 10;

/// Parts and pauses in order. Parts are checked when they are added; the file can then be written any number of times.
#[derive(Debug)]
pub struct Joiner<S> {
    bought: AudioFormat,
    rate: SampleRate,
    pieces: Vec<Piece<S>>,
    samples: u64,
    part_starts: Vec<u64>,
    /// Samples of pauses that are still missing, or negative if too many were written: MP3 has only whole frames.
    owed: i64,
}

#[derive(Debug)]
enum Piece<S> {
    Part(S, Checked),
    /// This many samples of silence.
    Pause(u64),
}

/// The written file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Size of the file.
    pub bytes: u64,
    /// Its length, in samples of one channel.
    pub samples: u64,
    /// Sample rate.
    pub rate: SampleRate,
    /// The sample at which each part begins.
    pub part_starts: Vec<u64>,
}

impl<S: Source> Joiner<S> {
    /// Joins parts of this format and rate.
    #[must_use]
    pub const fn new(bought: AudioFormat, rate: SampleRate) -> Self {
        Self { bought, rate, pieces: Vec::new(), samples: 0, part_starts: Vec::new(), owed: 0 }
    }

    /// Adds a part, if it is complete and in the expected format.
    ///
    /// # Errors
    /// The fault that [`check`] finds; then nothing is added.
    pub fn part(&mut self, source: S) -> Result<Checked, AudioError> {
        let checked = check(&mut source.open().map_err(AudioError::Read)?, self.bought, self.rate)?;
        if let Some(first) = self.first() {
            differs("number of channels", checked.channels.into(), first.channels.into())?;
        }
        self.part_starts.push(self.samples);
        self.samples += checked.samples;
        self.pieces.push(Piece::Part(source, checked));
        Ok(checked)
    }

    /// Adds silence, in milliseconds; none to an unknown format. For MP3 it adds whole frames, so that the sum of all pauses is
    /// right to half a frame.
    pub fn pause(&mut self, ms: u32) {
        if self.bought.is_opaque() {
            return;
        }
        let wanted = ms_to_sample(ms.into(), self.rate);
        let samples = if self.bought == AudioFormat::Mp3 { self.whole_frames(wanted) } else { wanted };
        if samples > 0 {
            self.samples += samples;
            self.pieces.push(Piece::Pause(samples));
        }
    }

    /// Length of everything that was added, in samples.
    #[must_use]
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// The sample at which each part begins.
    #[must_use]
    pub fn part_starts(&self) -> &[u64] {
        &self.part_starts
    }

    /// Writes everything as one file of `format`.
    ///
    /// # Errors
    /// As [`Joiner::join_many`].
    pub fn join<W: Write>(&self, format: AudioFormat, out: W) -> Result<Joined, AudioError> {
        let mut all = self.join_many(&mut [(format, out)])?;
        Ok(all.pop().expect("one output was asked for"))
    }

    /// Writes everything as one file of `format`, and measures each part as it is read; `None` for parts that are not made of
    /// samples.
    ///
    /// # Errors
    /// As [`Joiner::join_many`].
    pub fn join_measured<W: Write>(
        &self,
        format: AudioFormat,
        out: W,
    ) -> Result<(Joined, Vec<Option<Measured>>), AudioError> {
        let mut measured = Vec::new();
        let mut all = self.write_all(&mut [(format, out)], Some(&mut measured))?;
        measured.resize(self.part_starts.len(), None);
        Ok((all.pop().expect("one output was asked for"), measured))
    }

    /// Writes everything once for each output, and reads the parts once; returns the result for each output.
    ///
    /// # Errors
    /// `Unmakeable`, `TooLong` and `Empty` (no part) before anything is written; `Read`, and the faults that [`check`] finds,
    /// if a part has changed since it was added; `Write`. The written data is then unusable.
    pub fn join_many<W: Write>(&self, outputs: &mut [(AudioFormat, W)]) -> Result<Vec<Joined>, AudioError> {
        self.write_all(outputs, None)
    }

    fn write_all<W: Write>(
        &self,
        outputs: &mut [(AudioFormat, W)],
        measured: Option<&mut Vec<Option<Measured>>>,
    ) -> Result<Vec<Joined>, AudioError> {
        for (format, _) in &*outputs {
            self.can_become(*format)?;
        }
        let first = self.first().ok_or(AudioError::Empty)?;
        let mut outputs: Vec<_> =
            outputs.iter_mut().map(|(format, to)| Output { format: *format, to, bytes: 0 }).collect();
        match first.body {
            Body::Frames { head, .. } => self.join_frames(head, &mut outputs)?,
            Body::Samples { .. } => self.join_samples(&mut outputs, measured)?,
            Body::Opaque { .. } => self.copy_opaque(&mut outputs)?,
        }
        let joined =
            |bytes| Joined { bytes, samples: self.samples, rate: self.rate, part_starts: self.part_starts.clone() };
        outputs.iter_mut().map(|out| out.to.flush().map(|()| joined(out.bytes)).map_err(AudioError::Write)).collect()
    }

    fn can_become(&self, wanted: AudioFormat) -> Result<(), AudioError> {
        let of_samples = wanted.is_made_of_samples() && self.bought.is_made_of_samples();
        let parts = self.pieces.iter().filter(|piece| matches!(piece, Piece::Part(..))).count();
        if !of_samples && wanted != self.bought || wanted.is_opaque() && parts > 1 {
            return Err(AudioError::Unmakeable { bought: self.bought, wanted });
        }
        if wanted == AudioFormat::Wav && !wav::fits(self.samples) {
            return Err(AudioError::TooLong { samples: self.samples });
        }
        Ok(())
    }

    fn first(&self) -> Option<Checked> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Part(_, checked) => Some(*checked),
            Piece::Pause(_) => None,
        })
    }

    fn whole_frames(&mut self, wanted: u64) -> u64 {
        let frame = samples_per_frame(self.rate).cast_signed();
        self.owed = self.owed.saturating_add_unsigned(wanted);
        let given = (self.owed.saturating_add(frame / 2)).div_euclid(frame).max(0) * frame;
        self.owed -= given;
        given.cast_unsigned()
    }

    /// Bytes of all MP3 frames, if a silent frame has `silent` bytes.
    fn frame_bytes(&self, silent: u64) -> u64 {
        let bytes = |piece: &Piece<S>| match piece {
            Piece::Part(_, Checked { body: Body::Frames { bytes, .. }, .. }) => *bytes,
            Piece::Part(..) => 0,
            Piece::Pause(samples) => samples / samples_per_frame(self.rate) * silent,
        };
        self.pieces.iter().map(bytes).sum()
    }

    fn join_samples<W: Write>(
        &self,
        outputs: &mut [Output<'_, W>],
        mut measured: Option<&mut Vec<Option<Measured>>>,
    ) -> Result<(), AudioError> {
        for out in &mut *outputs {
            if out.format == AudioFormat::Wav {
                let header = wav::mono_header(self.rate.hz(), self.samples);
                out.write(&header.ok_or(AudioError::TooLong { samples: self.samples })?)?;
            }
        }
        let mut block = vec![0; BLOCK];
        let mut coder = Coder::new(Code::of(self.bought));
        for piece in &self.pieces {
            match piece {
                Piece::Part(source, checked) => {
                    let Body::Samples { offset, len } = checked.body else { continue };
                    let mut reader = source.open().map_err(AudioError::Read)?;
                    reader.seek(SeekFrom::Start(offset)).map_err(AudioError::Read)?;
                    coder.meter = measured.as_ref().map(|_| Meter::new(self.rate));
                    copy_samples(&mut reader, len, &mut block, &mut coder, outputs)?;
                    if let Some(measured) = &mut measured {
                        measured.push(coder.meter.take().map(Meter::finish));
                    }
                }
                Piece::Pause(samples) => {
                    for out in &mut *outputs {
                        let code = Code::of(out.format);
                        block.fill(code.silence());
                        out.write_repeated(&block, samples * code.width())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies the single part unchanged.
    fn copy_opaque<W: Write>(&self, outputs: &mut [Output<'_, W>]) -> Result<(), AudioError> {
        let mut block = vec![0; BLOCK];
        for piece in &self.pieces {
            let Piece::Part(source, Checked { body: Body::Opaque { len }, .. }) = piece else { continue };
            let mut reader = source.open().map_err(AudioError::Read)?;
            let mut left = *len;
            while left > 0 {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                reader.read_exact(&mut block[..here]).map_err(AudioError::Read)?;
                outputs.iter_mut().try_for_each(|out| out.write(&block[..here]))?;
                left -= here as u64;
            }
        }
        Ok(())
    }

    fn join_frames<W: Write>(&self, head: Header, outputs: &mut [Output<'_, W>]) -> Result<(), AudioError> {
        let silence = head.silent_frame();
        let mut block = Vec::with_capacity(BLOCK);
        let mut put = |frame: &[u8]| {
            if block.len() + frame.len() > BLOCK || frame.is_empty() {
                outputs.iter_mut().try_for_each(|out| out.write(&block))?;
                block.clear();
            }
            block.extend_from_slice(frame);
            Ok(())
        };
        put(&info::frame(head, self.samples / head.samples(), self.frame_bytes(silence.len() as u64)))?;
        for piece in &self.pieces {
            match piece {
                Piece::Part(source, checked) => {
                    let mut frames = Frames::new(source.open().map_err(AudioError::Read)?);
                    let mut samples = 0;
                    while let Some(frame) = frames.read_frame()? {
                        samples += frame.header.samples();
                        if frame.needs_earlier_data { put(&frame.muted())? } else { put(frame.bytes)? }
                    }
                    differs("length in samples", samples, checked.samples)?;
                }
                Piece::Pause(samples) => (0..samples / head.samples()).try_for_each(|_| put(&silence))?,
            }
        }
        put(&[])
    }
}

fn copy_samples<R: Read, W: Write>(
    reader: &mut R,
    len: u64,
    block: &mut [u8],
    coder: &mut Coder,
    outputs: &mut [Output<'_, W>],
) -> Result<(), AudioError> {
    let mut left = len;
    while left > 0 {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        reader.read_exact(&mut block[..here]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => AudioError::CutShort { unit: "bytes", has: len - left, declared: len },
            _ => AudioError::Read(error),
        })?;
        coder.measure(&block[..here]);
        for out in &mut *outputs {
            out.write(coder.code(Code::of(out.format), &block[..here]))?;
        }
        left -= here as u64;
    }
    Ok(())
}

/// A file that is being written.
struct Output<'a, W> {
    format: AudioFormat,
    to: &'a mut W,
    bytes: u64,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), AudioError> {
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes).map_err(AudioError::Write)
    }

    /// Writes `block` repeatedly, `len` bytes in all.
    fn write_repeated(&mut self, block: &[u8], mut len: u64) -> Result<(), AudioError> {
        while len > 0 {
            let here = usize::try_from(len).unwrap_or(usize::MAX).min(block.len());
            self.write(&block[..here])?;
            len -= here as u64;
        }
        Ok(())
    }
}

/// The encoding of one sample.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    Linear,
    Ulaw,
    Alaw,
}

impl Code {
    const fn of(format: AudioFormat) -> Self {
        match format {
            AudioFormat::Ulaw => Self::Ulaw,
            AudioFormat::Alaw => Self::Alaw,
            AudioFormat::Wav | AudioFormat::Pcm | AudioFormat::Mp3 | AudioFormat::Other(_) => Self::Linear,
        }
    }

    /// Bytes of one sample.
    const fn width(self) -> u64 {
        if matches!(self, Self::Linear) { 2 } else { 1 }
    }

    /// The byte that represents silence.
    const fn silence(self) -> u8 {
        match self {
            Self::Linear => 0,
            Self::Ulaw => g711::ulaw_encode(0),
            Self::Alaw => g711::alaw_encode(0),
        }
    }
}

/// Converts blocks of samples from one encoding to another, and measures them on the way.
struct Coder {
    from: Code,
    meter: Option<Meter>,
    samples: Vec<i16>,
    coded: Vec<u8>,
}

impl Coder {
    const fn new(from: Code) -> Self {
        Self { from, meter: None, samples: Vec::new(), coded: Vec::new() }
    }

    fn measure(&mut self, bytes: &[u8]) {
        if self.meter.is_some() {
            self.decode(bytes);
        }
        if let Some(meter) = &mut self.meter {
            meter.push(&self.samples);
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        self.samples.clear();
        match self.from {
            Code::Linear => self.samples.extend(bytes.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]))),
            Code::Ulaw => self.samples.extend(bytes.iter().map(|code| g711::ulaw_decode(*code))),
            Code::Alaw => self.samples.extend(bytes.iter().map(|code| g711::alaw_decode(*code))),
        }
    }

    fn code<'a>(&'a mut self, to: Code, bytes: &'a [u8]) -> &'a [u8] {
        if self.from == to {
            return bytes;
        }
        self.decode(bytes);
        self.coded.clear();
        match to {
            Code::Linear => self.coded.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes())),
            Code::Ulaw => self.coded.extend(self.samples.iter().map(|sample| g711::ulaw_encode(*sample))),
            Code::Alaw => self.coded.extend(self.samples.iter().map(|sample| g711::alaw_encode(*sample))),
        }
        &self.coded
    }
}
