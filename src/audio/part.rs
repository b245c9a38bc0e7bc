//! Checks one part of a synthesis as it was bought: is it complete, and in the requested format?

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::PathBuf,
};

use super::{
    AudioError,
    mp3::{Frames, Header, info::Info},
    wav,
};
use crate::domain::synthesis_options::{AudioFormat, SampleRate};

/// Where the bytes of a part are. A part is opened only when it is needed: a book has more parts than a process may have open
/// files.
pub trait Source {
    /// Its reader.
    type Reader: Read + Seek;

    /// Opens it at its start.
    ///
    /// # Errors
    /// The file system's error.
    fn open(&self) -> io::Result<Self::Reader>;
}

impl Source for PathBuf {
    type Reader = File;

    fn open(&self) -> io::Result<File> {
        File::open(self)
    }
}

impl<'a> Source for &'a [u8] {
    type Reader = Cursor<&'a [u8]>;

    fn open(&self) -> io::Result<Self::Reader> {
        Ok(Cursor::new(self))
    }
}

/// A part that is complete, and in the requested format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Its length, in samples of one channel.
    pub samples: u64,
    /// Sample rate.
    pub rate: SampleRate,
    /// Number of channels; more than one only in MP3.
    pub channels: u16,
    /// MP3 frames at its start that need bytes from before it, and cannot be decoded. In the joined file they are silent.
    pub lost_frames: u64,
    pub(super) body: Body,
}

impl Checked {
    /// Whether some of its audio is lost unless it is encoded again; see [`Checked::lost_frames`].
    #[must_use]
    pub const fn needs_reencode(&self) -> bool {
        self.lost_frames > 0
    }
}

/// Where the audio is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// In these bytes.
    Samples { offset: u64, len: u64 },
    /// In frames like this one, with this many bytes in all; a header of the whole file may precede them.
    Frames { head: Header, bytes: u64, info: Option<Info> },
    /// Somewhere in this many bytes of an unknown format.
    Opaque { len: u64 },
}

/// Checks a part: a WAV header that is valid and true, 16-bit mono of the requested rate; whole samples if there is no header;
/// MP3 frames of one kind to the end. An MP3 is read completely, other formats only up to the header.
///
/// # Errors
/// The fault; see [`AudioError`].
pub fn check<R: Read + Seek>(reader: &mut R, format: AudioFormat, rate: SampleRate) -> Result<Checked, AudioError> {
    match format {
        AudioFormat::Wav => check_wav(reader, rate),
        AudioFormat::Pcm => check_raw(reader, rate, 2),
        AudioFormat::Ulaw | AudioFormat::Alaw => check_raw(reader, rate, 1),
        AudioFormat::Mp3 => check_mp3(reader, rate),
        AudioFormat::Other(_) => check_opaque(reader, rate),
    }
}

fn check_wav<R: Read + Seek>(reader: &mut R, rate: SampleRate) -> Result<Checked, AudioError> {
    let not_that = |why: &str| AudioError::NotThat { format: "WAV", why: why.to_owned() };
    if reader.seek(SeekFrom::End(0)).map_err(AudioError::Read)? == 0 {
        return Err(AudioError::Empty);
    }
    let wav = wav::read(reader).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => not_that(&error.to_string()),
        _ => AudioError::Read(error),
    })?;
    if wav.format_tag != wav::PCM {
        return Err(not_that("its samples are not linear"));
    }
    differs("number of channels", wav.channels.into(), 1)?;
    differs("bits a sample", wav.bits_per_sample.into(), 16)?;
    differs("sample rate", wav.sample_rate.into(), rate.hz().into())?;
    differs("bytes a sample", wav.block_align.into(), 2)?;
    let declared = wav.declared_data_len.unwrap_or(wav.data_len);
    if declared > wav.data_len {
        return Err(AudioError::CutShort { unit: "bytes", has: wav.data_len, declared });
    }
    // A streaming writer's answer was whole when it came.
    if !wav.sizes_agree && wav.extent != wav::Extent::Open {
        return Err(not_that("its sizes do not agree"));
    }
    samples(rate, wav.data_offset, wav.data_len, 2)
}

fn check_raw<R: Seek>(reader: &mut R, rate: SampleRate, width: u64) -> Result<Checked, AudioError> {
    let len = reader.seek(SeekFrom::End(0)).map_err(AudioError::Read)?;
    samples(rate, 0, len, width)
}

fn samples(rate: SampleRate, offset: u64, len: u64, width: u64) -> Result<Checked, AudioError> {
    if len == 0 {
        return Err(AudioError::Empty);
    }
    if !len.is_multiple_of(width) {
        return Err(AudioError::CutShort { unit: "bytes", has: len, declared: len + 1 });
    }
    Ok(Checked { samples: len / width, rate, channels: 1, lost_frames: 0, body: Body::Samples { offset, len } })
}

/// For an unknown format, only emptiness can be checked. The length is set to 0, since it is unknown.
fn check_opaque<R: Seek>(reader: &mut R, rate: SampleRate) -> Result<Checked, AudioError> {
    match reader.seek(SeekFrom::End(0)).map_err(AudioError::Read)? {
        0 => Err(AudioError::Empty),
        len => Ok(Checked { samples: 0, rate, channels: 1, lost_frames: 0, body: Body::Opaque { len } }),
    }
}

fn check_mp3<R: Read + Seek>(reader: &mut R, rate: SampleRate) -> Result<Checked, AudioError> {
    reader.rewind().map_err(AudioError::Read)?;
    let mut frames = Frames::new(reader);
    let mut checked = None;
    while let Some(frame) = frames.read_frame()? {
        let header = frame.header;
        let so_far = checked.get_or_insert((header, 0, 0, 0));
        so_far.1 += header.samples();
        so_far.2 += frame.bytes.len() as u64;
        so_far.3 += u64::from(frame.needs_earlier_data);
    }
    let (head, samples, bytes, lost_frames) = checked.ok_or(AudioError::Empty)?;
    differs("sample rate", head.rate().into(), rate.hz().into())?;
    let channels = head.channels();
    Ok(Checked { samples, rate, channels, lost_frames, body: Body::Frames { head, bytes, info: frames.info() } })
}

/// # Errors
/// `Differs`, unless it is the wanted value.
pub(super) fn differs(what: &'static str, found: u64, wanted: u64) -> Result<(), AudioError> {
    if found == wanted { Ok(()) } else { Err(AudioError::Differs { what, found, wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_bytes(bytes: &[u8], format: AudioFormat) -> Result<Checked, AudioError> {
        check(&mut Cursor::new(bytes), format, SampleRate::Hz8000)
    }

    fn message(bytes: &[u8], format: AudioFormat) -> String {
        check_bytes(bytes, format).unwrap_err().to_string()
    }

    #[test]
    fn a_good_part_is_as_long_as_it_is() {
        let wav = wav::pcm16(1, 8000, Some("with a comment"), &[5; 800]);
        let checked = check_bytes(&wav, AudioFormat::Wav).unwrap();
        assert_eq!((checked.samples, checked.rate, checked.channels), (800, SampleRate::Hz8000, 1));
        assert_eq!(check_bytes(&[0; 800], AudioFormat::Pcm).unwrap().samples, 400);
        assert_eq!(check_bytes(&[0; 801], AudioFormat::Alaw).unwrap().samples, 801);
        let mp3 = check_bytes(include_bytes!("testdata/8k.mp3"), AudioFormat::Mp3).unwrap();
        assert_eq!((mp3.samples, mp3.channels, mp3.needs_reencode()), (14 * 576, 1, false));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for format in AudioFormat::ALL.iter().copied() {
            assert!(matches!(check_bytes(b"", format), Err(AudioError::Empty)), "{format}");
        }
        let error = b"{\"message\": \"Unauthorized\"}";
        assert_eq!(message(error, AudioFormat::Wav), "it is not WAV: not a RIFF/WAVE file");
        assert_eq!(message(error, AudioFormat::Mp3), "it is not MP3: no frame was found");
        let wav = wav::pcm16(1, 8000, None, &[5; 800]);
        assert_eq!(message(&wav[..wav.len() - 600], AudioFormat::Wav), "it is cut short: 1000 bytes of 1600");
        assert_eq!(message(&wav[..44], AudioFormat::Wav), "it is cut short: 0 bytes of 1600");
        assert_eq!(message(&[&wav[..], &[0; 50]].concat(), AudioFormat::Wav), "it is not WAV: its sizes do not agree");
        assert_eq!(message(&wav::pcm16(1, 8000, None, &[]), AudioFormat::Wav), "it holds no audio");
        let other = wav::pcm16(1, 24_000, None, &[5; 800]);
        assert_eq!(message(&other, AudioFormat::Wav), "its sample rate is 24000, not 8000");
        let stereo = wav::pcm16(2, 8000, None, &[5; 800]);
        assert_eq!(message(&stereo, AudioFormat::Wav), "its number of channels is 2, not 1");
        let mut open = wav.clone();
        open[40..44].fill(0xFF);
        assert_eq!(check_bytes(&open, AudioFormat::Wav).unwrap().samples, 800, "a streaming writer's");
        let mut ulaw = wav;
        ulaw[20] = 7;
        assert_eq!(message(&ulaw, AudioFormat::Wav), "it is not WAV: its samples are not linear");
        assert_eq!(message(&[0; 801], AudioFormat::Pcm), "it is cut short: 801 bytes of 802");
        let mp3 = include_bytes!("testdata/44k.mp3");
        assert_eq!(message(mp3, AudioFormat::Mp3), "its sample rate is 44100, not 8000");
    }
}
