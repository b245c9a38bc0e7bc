//! Files without a header: telephone systems write them.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use super::{Feed, doubt::Doubter};
use crate::audio::{
    analyze::{
        error::HearError,
        hearing::{Encoding, Found, Note, RawFormat},
    },
    g711::{alaw_decode, ulaw_decode},
};

/// Frames that are decoded at once.
const FRAMES: usize = 8_192;

/// Makes samples of bytes.
pub(super) enum Decoder {
    /// One byte a sample.
    Table(Box<[f32; 256]>),
    /// Two bytes a sample.
    Wide(fn([u8; 2]) -> i16),
}

impl Decoder {
    /// `None` if this program has none.
    pub(super) fn new(format: RawFormat) -> Option<Self> {
        let table = |decode: &dyn Fn(u8) -> i16| {
            Self::Table(Box::new(std::array::from_fn(|code| f32::from(decode(code as u8)) / 32_768.0)))
        };
        Some(match format.encoding {
            Encoding::ULaw => table(&ulaw_decode),
            Encoding::ALaw => table(&alaw_decode),
            Encoding::U8 => table(&|code| (i16::from(code) - 128) << 8),
            Encoding::S16Le => Self::Wide(i16::from_le_bytes),
            Encoding::S16Be => Self::Wide(i16::from_be_bytes),
            Encoding::G722 => return None,
        })
    }

    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Table(_) => 1,
            Self::Wide(_) => 2,
        }
    }

    fn decode(&self, bytes: &[u8], planes: &mut [Vec<f32>]) {
        let channels = planes.len();
        planes.iter_mut().for_each(Vec::clear);
        match self {
            Self::Table(table) => {
                for (channel, plane) in planes.iter_mut().enumerate() {
                    plane.extend(bytes.iter().skip(channel).step_by(channels).map(|code| table[usize::from(*code)]));
                }
            }
            Self::Wide(decode) => {
                let samples = bytes.as_chunks::<2>().0;
                for (channel, plane) in planes.iter_mut().enumerate() {
                    let own = samples.iter().skip(channel).step_by(channels);
                    plane.extend(own.map(|bytes| f32::from(decode(*bytes)) / 32_768.0));
                }
            }
        }
    }
}

/// The name of an encoding, as ffmpeg has it.
pub(super) const fn codec_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::ULaw => "pcm_mulaw",
        Encoding::ALaw => "pcm_alaw",
        Encoding::S16Le => "pcm_s16le",
        Encoding::S16Be => "pcm_s16be",
        Encoding::U8 => "pcm_u8",
        Encoding::G722 => "g722",
    }
}

/// Where the samples are.
pub(super) struct Place {
    pub(super) container: &'static str,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Place {
    pub(super) const WHOLE: Self = Self { container: "raw", offset: 0, bytes: u64::MAX };
}

/// Reads the samples of a file.
pub(super) fn read(
    path: &Path,
    place: &Place,
    format: RawFormat,
    decoder: &Decoder,
    feed: &mut Feed<'_>,
) -> Result<(), HearError> {
    let mut file = File::open(path).map_err(HearError::Read)?;
    file.seek(SeekFrom::Start(place.offset)).map_err(HearError::Read)?;
    let mut file = file.take(place.bytes);
    feed.begin(Found {
        container: place.container.to_owned(),
        codec: codec_of(format.encoding).to_owned(),
        rate: format.rate,
        channels: format.channels,
        by_ffmpeg: false,
    })?;
    let frame = decoder.bytes() * usize::from(format.channels);
    let mut bytes = vec![0; frame * FRAMES];
    let mut planes = vec![Vec::with_capacity(FRAMES); usize::from(format.channels)];
    let mut doubter = Doubter::new(format.encoding);
    loop {
        let has = fill(&mut file, &mut bytes).map_err(HearError::Read)?;
        if has % frame != 0 {
            feed.note(Note::OddSize);
        }
        decoder.decode(&bytes[..has - has % frame], &mut planes);
        doubter.hear(&planes[0]);
        if has < frame || feed.push(&mut planes)?.is_break() || has < bytes.len() {
            break;
        }
    }
    if let Some(note) = doubter.note() {
        feed.note(note);
    }
    Ok(())
}

/// As many bytes as there are, up to the buffer's length.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut has = 0;
    while has < bytes.len() {
        match file.read(&mut bytes[has..]) {
            Ok(0) => break,
            Ok(more) => has += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(has)
}
