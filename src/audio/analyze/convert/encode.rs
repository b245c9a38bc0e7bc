//! Writes 16-bit mono samples as a WAV or a FLAC file.

use std::io::{self, Seek, SeekFrom, Write};

use flac_codec::encode::{FlacSampleWriter, Options};

use super::{RATE, Target};
use crate::audio::{analyze::error::HearError, wav};

/// Samples that are written at once.
const AT_ONCE: usize = 4_096;

/// Writes one file.
pub(super) enum Encoder<'a, W: Write + Seek> {
    Wav {
        out: &'a mut W,
        bytes: Vec<u8>,
    },
    Flac {
        writer: Box<FlacSampleWriter<Counted<&'a mut W>>>,
        samples: Vec<i32>,
        bytes: std::rc::Rc<std::cell::Cell<u64>>,
    },
}

impl<'a, W: Write + Seek> Encoder<'a, W> {
    pub(super) fn new(target: Target, out: &'a mut W) -> Result<Self, HearError> {
        match target {
            Target::Wav16k => {
                let head = wav::mono_header(RATE, 0).ok_or(HearError::TooLong)?;
                out.write_all(&head).map_err(HearError::Write)?;
                Ok(Self::Wav { out, bytes: Vec::with_capacity(2 * AT_ONCE) })
            }
            Target::Flac16k => {
                let bytes = std::rc::Rc::default();
                let out = Counted { out, at: 0, end: std::rc::Rc::clone(&bytes) };
                let options = Options::default().no_padding().no_seektable();
                let writer = FlacSampleWriter::new(out, options, RATE, 16, 1, None).map_err(flac)?;
                Ok(Self::Flac { writer: Box::new(writer), samples: Vec::with_capacity(AT_ONCE), bytes })
            }
        }
    }

    pub(super) fn push(&mut self, samples: &[f32]) -> Result<(), HearError> {
        // Filters overshoot; what would be cut off then was as loud as can be before.
        let whole = |sample: &f32| (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16;
        match self {
            Self::Wav { out, bytes } => {
                bytes.clear();
                bytes.extend(samples.iter().flat_map(|sample| whole(sample).to_le_bytes()));
                out.write_all(bytes).map_err(HearError::Write)
            }
            Self::Flac { writer, samples: wide, .. } => {
                wide.clear();
                wide.extend(samples.iter().map(|sample| i32::from(whole(sample))));
                writer.write(wide).map_err(flac)
            }
        }
    }

    pub(super) fn silence(&mut self, mut samples: u64) -> Result<(), HearError> {
        let zeros = [0.0; AT_ONCE];
        while samples > 0 {
            let now = samples.min(AT_ONCE as u64);
            self.push(&zeros[..now as usize])?;
            samples -= now;
        }
        Ok(())
    }

    /// Completes the file of so many samples; its size.
    pub(super) fn finish(self, samples: u64) -> Result<u64, HearError> {
        match self {
            Self::Wav { out, .. } => {
                let head = wav::mono_header(RATE, samples).ok_or(HearError::TooLong)?;
                let end = out.stream_position().map_err(HearError::Write)?;
                let begin = end.saturating_sub(head.len() as u64 + samples * 2);
                out.seek(SeekFrom::Start(begin)).map_err(HearError::Write)?;
                out.write_all(&head).map_err(HearError::Write)?;
                out.seek(SeekFrom::Start(end)).map_err(HearError::Write)?;
                out.flush().map_err(HearError::Write)?;
                Ok(end - begin)
            }
            Self::Flac { writer, bytes, .. } => {
                writer.finalize().map_err(flac)?;
                Ok(bytes.get())
            }
        }
    }
}

fn flac(error: flac_codec::Error) -> HearError {
    HearError::Write(match error {
        flac_codec::Error::Io(error) => error,
        other => io::Error::other(other.to_string()),
    })
}

/// Counts what is written, wherever the writer seeks to.
pub(super) struct Counted<W> {
    out: W,
    at: u64,
    end: std::rc::Rc<std::cell::Cell<u64>>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.at += written as u64;
        self.end.set(self.end.get().max(self.at));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Seek> Seek for Counted<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.out.seek(to)?;
        Ok(self.at)
    }
}
