//! WAV files with plain samples, as telephone systems write them: short headers, open or wrong sizes. (In the product, by
//! `audio::wav::Wav`.)

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use super::{Feed, raw};
use crate::audio::analyze::{
    error::HearError,
    hearing::{Break, Encoding, RawFormat},
};

/// Declared sizes from here on that the file does not have are what writers to a pipe leave.
const LEAST_OPEN: u64 = 0x7FFF_0000;
/// The most chunks before the samples.
const MAX_CHUNKS: usize = 512;
/// How much shorter than declared a file may be, in ms.
const SLACK_MS: u64 = 250;

/// Reads it, if its samples are plain ones; whether they are.
pub(super) fn read(path: &Path, feed: &mut Feed<'_>) -> Result<bool, HearError> {
    let file = File::open(path).map_err(HearError::Read)?;
    let bytes = file.metadata().map_err(HearError::Read)?.len();
    let Some((format, offset, declared)) = head(&mut BufReader::new(file)) else { return Ok(false) };
    let Some(decoder) = raw::Decoder::new(format) else { return Ok(false) };
    let has = bytes.saturating_sub(offset);
    let is_open = declared == 0 || declared >= LEAST_OPEN && declared > has;
    let place = raw::Place { container: "wav", offset, bytes: if is_open { has } else { declared.min(has) } };
    if place.bytes == 0 {
        return Err(HearError::NoAudio { container: "wav".to_owned() });
    }
    raw::read(path, &place, format, &decoder, feed)?;
    let per_second = u64::from(format.rate) * u64::from(format.channels) * decoder.bytes() as u64;
    let declared_ms = declared.saturating_mul(1_000) / per_second.max(1);
    if !is_open && feed.broken.is_none() && !feed.ended && declared_ms > feed.ms() + SLACK_MS {
        let _ = feed.stop_with(Break::CutShort { declared_ms });
    }
    Ok(true)
}

/// What its samples are, where they begin, and how many bytes of them are declared.
fn head(file: &mut (impl Read + Seek)) -> Option<(RawFormat, u64, u64)> {
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut riff = [0; 12];
    file.read_exact(&mut riff).ok()?;
    let mut format = None;
    for _ in 0..MAX_CHUNKS {
        let mut head = [0; 8];
        file.read_exact(&mut head).ok()?;
        let len = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        match (&riff[..4], &head[..4]) {
            (b"RIFF", b"fmt ") => {
                let mut body = vec![0; usize::try_from(len).ok().filter(|len| (16..=4_096).contains(len))?];
                file.read_exact(&mut body).ok()?;
                file.seek_relative_odd(len)?;
                format = format_of(&body);
            }
            (b"RIFF", b"data") => return Some((format?, file.stream_position().ok()?, len)),
            (b"RIFF", _) => {
                file.seek(SeekFrom::Current(i64::try_from(len + len % 2).ok()?)).ok()?;
            }
            _ => return None,
        }
    }
    None
}

trait Padding {
    /// Passes over the byte after a chunk of odd length.
    fn seek_relative_odd(&mut self, len: u64) -> Option<()>;
}

impl<R: Read + Seek> Padding for R {
    fn seek_relative_odd(&mut self, len: u64) -> Option<()> {
        self.seek(SeekFrom::Current((len % 2) as i64)).ok().map(drop)
    }
}

fn format_of(body: &[u8]) -> Option<RawFormat> {
    let short = |at: usize| Some(u16::from_le_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let rate = u32::from_le_bytes([body[4], body[5], body[6], body[7]]);
    let tag = match short(0)? {
        // Extensible: the tag is the beginning of its sub-format.
        0xFFFE => short(24)?,
        tag => tag,
    };
    let encoding = match (tag, short(14)?) {
        (1, 8) => Encoding::U8,
        (1, 16) => Encoding::S16Le,
        (6, _) => Encoding::ALaw,
        (7, _) => Encoding::ULaw,
        _ => return None,
    };
    let channels = short(2).filter(|channels| *channels > 0)?;
    Some(RawFormat { encoding, rate, channels })
}
