//! Checks whether the received audio is what was requested. Only its beginning is kept for that.

use std::io::{self, Read, Seek, SeekFrom};

use super::{errors::Said, words};
use crate::{
    audio::wav,
    domain::synthesis_options::{AudioFormat, SampleRate},
};

/// How much of the beginning is kept, in bytes: more than the length of any header.
const KEPT: usize = 64 * 1024;

/// Why audio is not what was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The audio is incomplete, or may be.
    Cut(&'static str),
    /// The body is complete, and is not the requested audio.
    Unusable(String),
}

/// Audio that is checked as it arrives.
#[derive(Debug)]
pub(super) struct AudioStream {
    format: AudioFormat,
    rate: SampleRate,
    beginning: Vec<u8>,
    bytes: u64,
}

impl AudioStream {
    /// A stream of audio that should have this format and rate.
    pub(super) const fn new(format: AudioFormat, rate: SampleRate) -> Self {
        Self { format, rate, beginning: Vec::new(), bytes: 0 }
    }

    /// Adds the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let room = KEPT - self.beginning.len();
        self.beginning.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The number of bytes received.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The expected format.
    pub(super) const fn format(&self) -> AudioFormat {
        self.format
    }

    /// Whether the audio is what was requested. `framed` says that something other than a closed connection marked the end;
    /// without that, a broken connection looks like an end.
    pub(super) fn check(&self, framed: bool) -> Result<(), Flaw> {
        if self.bytes == 0 {
            return Err(unusable("the answer is empty"));
        }
        if let Some(name) = self.other_than_audio() {
            return Err(Flaw::Unusable(name));
        }
        match self.format {
            AudioFormat::Other(_) => {}
            AudioFormat::Wav => return self.check_wav(framed),
            AudioFormat::Mp3 if !has_mpeg_frame(&self.beginning) => {
                return Err(unusable("the answer has no frame of MPEG audio"));
            }
            AudioFormat::Pcm if !self.bytes.is_multiple_of(2) => {
                return Err(unusable("the answer has half a sample at its end"));
            }
            _ if self.format != AudioFormat::Mp3 && is_riff(&self.beginning) => {
                return Err(unusable("the answer is a WAV file, which was not asked for"));
            }
            _ if self.format != AudioFormat::Mp3 && is_compressed(&self.beginning) => {
                return Err(unusable("the answer is compressed audio, which was not asked for"));
            }
            _ => {}
        }
        if framed { Ok(()) } else { Err(Flaw::Cut("the answer does not say where it ends, so it may be cut")) }
    }

    /// What the body is instead, if it is a page or an error with an audio media type.
    fn other_than_audio(&self) -> Option<String> {
        let start = String::from_utf8_lossy(&self.beginning[..self.beginning.len().min(64)]);
        if words::is_html(&start) {
            return Some("with an HTML page".into());
        }
        let whole = self.bytes == self.beginning.len() as u64;
        let is_json = whole && serde_json::from_slice::<serde_json::Map<_, _>>(&self.beginning).is_ok();
        is_json.then(|| {
            let said = Said::read(&self.beginning).words.map(|words| format!(": {words}")).unwrap_or_default();
            format!("with JSON instead of audio{said}")
        })
    }

    fn check_wav(&self, framed: bool) -> Result<(), Flaw> {
        let cut = || Flaw::Cut("the WAV file ends in the middle");
        let wav = match wav::read(&mut Beginning { of: self, at: 0 }) {
            Ok(wav) => wav,
            Err(_) if !framed && is_riff(&self.beginning) => return Err(cut()),
            Err(error) => return Err(Flaw::Unusable(format!("the answer is no WAV file: {error}"))),
        };
        if (wav.format_tag, wav.bits_per_sample, wav.channels) != (wav::PCM, 16, 1) {
            return Err(unusable("the WAV file is not mono with 16 bits"));
        }
        if wav.sample_rate != self.rate.hz() {
            let message = format!("the WAV file has {} Hz instead of {}", wav.sample_rate, self.rate.hz());
            return Err(Flaw::Unusable(message));
        }
        match wav.declared_data_len {
            // Open sizes declare nothing that could be wrong; then only the answer's own length counts.
            None if !framed => return Err(cut()),
            Some(declared) if !framed && declared > wav.data_len => return Err(cut()),
            Some(_) if !wav.sizes_agree => return Err(unusable("the WAV file is not as long as it says")),
            _ => {}
        }
        match wav.data_len {
            0 => Err(unusable("the WAV file has no samples")),
            len if !len.is_multiple_of(2) => Err(unusable("the WAV file has half a sample at its end")),
            _ => Ok(()),
        }
    }
}

fn unusable(why: &str) -> Flaw {
    Flaw::Unusable(why.to_owned())
}

fn is_riff(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12).is_none_or(|form| form == b"WAVE")
}

/// Whether the bytes begin like MPEG audio, Ogg or FLAC: as samples they would be noise.
fn is_compressed(bytes: &[u8]) -> bool {
    let magic: [&[u8]; 3] = [b"ID3", b"OggS", b"fLaC"];
    let frame = |at: usize| Some(at + mpeg_frame_len(bytes.get(at..)?)?);
    magic.iter().any(|magic| bytes.starts_with(magic)) || frame(0).and_then(frame).and_then(frame).is_some()
}

/// Whether there is a frame header, followed by another one or the end where the frame ends.
fn has_mpeg_frame(bytes: &[u8]) -> bool {
    let starts = (0..bytes.len().saturating_sub(3)).filter_map(|at| Some((at, mpeg_frame_len(&bytes[at..])?)));
    starts.into_iter().any(|(at, len)| match bytes.get(at + len..) {
        Some(next) if next.len() >= 4 => mpeg_frame_len(next).is_some(),
        Some(_) => true,
        None => false,
    })
}

/// Length in bytes of the layer 3 frame whose header begins here.
fn mpeg_frame_len(bytes: &[u8]) -> Option<usize> {
    const KBPS_1: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBPS_2: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let &[0xFF, second, third, _, ..] = bytes else { return None };
    if second & 0b1110_0110 != 0b1110_0010 {
        return None;
    }
    let (table, hz, per_kbit) = match second >> 3 & 0b11 {
        0b00 => (KBPS_2, [11_025, 12_000, 8_000], 72_000),
        0b10 => (KBPS_2, [22_050, 24_000, 16_000], 72_000),
        0b11 => (KBPS_1, [44_100, 48_000, 32_000], 144_000),
        _ => return None,
    };
    let kbps = *table.get(usize::from(third >> 4)).filter(|kbps| **kbps > 0)?;
    let hz = *hz.get(usize::from(third >> 2 & 0b11))?;
    Some(per_kbit * kbps / hz + usize::from(third >> 1 & 1))
}

/// A file whose beginning was kept; the discarded rest reads as zeros.
struct Beginning<'a> {
    of: &'a AudioStream,
    at: u64,
}

impl Read for Beginning<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.of.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let kept = usize::try_from(self.at).ok().and_then(|at| self.of.beginning.get(at..)).unwrap_or_default();
        let count = buf.len().min(if kept.is_empty() { left } else { kept.len() });
        match kept.get(..count) {
            Some(kept) => buf[..count].copy_from_slice(kept),
            None => buf[..count].fill(0),
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Beginning<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.of.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_as(format: AudioFormat, bytes: &[u8], framed: bool) -> Result<(), Flaw> {
        let mut audio_stream = AudioStream::new(format, SampleRate::Hz8000);
        for piece in bytes.chunks(1000) {
            audio_stream.push(piece);
        }
        assert_eq!(audio_stream.bytes(), bytes.len() as u64);
        audio_stream.check(framed)
    }

    fn is_unusable(format: AudioFormat, bytes: &[u8]) -> bool {
        matches!(check_as(format, bytes, true), Err(Flaw::Unusable(_)))
    }

    fn wav_file(rate: u32, samples: usize) -> Vec<u8> {
        wav::pcm16(1, rate, Some("Hello"), &vec![7; samples])
    }

    #[test]
    fn a_wav_file_must_be_what_it_says() {
        for samples in [1, 1000, 200_000] {
            let file = wav_file(8000, samples);
            for framed in [true, false] {
                assert_eq!(check_as(AudioFormat::Wav, &file, framed), Ok(()));
            }
            let short = &file[..file.len() - 1];
            assert!(is_unusable(AudioFormat::Wav, short));
            assert!(matches!(check_as(AudioFormat::Wav, short, false), Err(Flaw::Cut(_))));
            assert!(is_unusable(AudioFormat::Wav, &[file.as_slice(), &[0; 50]].concat()));
        }
        assert!(matches!(check_as(AudioFormat::Wav, &wav_file(8000, 9)[..20], false), Err(Flaw::Cut(_))));
        let stereo = wav::pcm16(2, 8000, None, &[0; 8]);
        for wrong in [wav_file(16_000, 1000), wav_file(8000, 0), stereo, vec![0; 2000], b"RIFF".to_vec()] {
            assert!(is_unusable(AudioFormat::Wav, &wrong));
        }
    }

    #[test]
    fn sizes_left_open_are_as_good_as_the_answers_length() {
        for open in [0, u32::MAX] {
            let mut file = wav_file(8000, 100_000);
            let data = file.len() - 200_000;
            file[4..8].copy_from_slice(&open.to_le_bytes());
            file[data - 4..data].copy_from_slice(&open.to_le_bytes());
            assert_eq!(check_as(AudioFormat::Wav, &file, true), Ok(()));
            assert!(matches!(check_as(AudioFormat::Wav, &file, false), Err(Flaw::Cut(_))));
            assert!(is_unusable(AudioFormat::Wav, &file[..file.len() - 1]));
        }
    }

    #[test]
    fn samples_come_whole_and_without_a_header() {
        assert_eq!(check_as(AudioFormat::Pcm, &[1; 2000], true), Ok(()));
        assert!(is_unusable(AudioFormat::Pcm, &[1; 2001]));
        assert_eq!(check_as(AudioFormat::Ulaw, &[1; 2001], true), Ok(()));
        for format in [AudioFormat::Pcm, AudioFormat::Ulaw, AudioFormat::Alaw] {
            assert!(is_unusable(format, &[]));
            assert!(is_unusable(format, &wav_file(8000, 10)));
            assert!(matches!(check_as(format, &[1; 2000], false), Err(Flaw::Cut(_))), "nobody can tell");
        }
    }

    #[test]
    fn mp3_has_frames() {
        // 32 kbit/s at 24 kHz: 96 bytes per frame.
        let mut frame = vec![0xFF, 0xF3, 0x44, 0xC0];
        frame.resize(96, 0);
        let tagged = [b"ID3\x04\0\0\0\0\0\x05abcde".as_slice(), &frame.repeat(3)].concat();
        for good in [&frame, &frame.repeat(2), &tagged] {
            assert_eq!(check_as(AudioFormat::Mp3, good, true), Ok(()));
        }
        for format in [AudioFormat::Pcm, AudioFormat::Ulaw, AudioFormat::Alaw] {
            for mp3 in [&frame.repeat(4), &tagged] {
                assert!(is_unusable(format, mp3), "it would be noise");
            }
        }
        for bad in [&frame[..95], &[0xFF; 500], &[0; 500], b"ID3", &wav_file(8000, 500)] {
            assert!(is_unusable(AudioFormat::Mp3, bad));
        }
    }

    #[test]
    fn pages_and_errors_are_no_audio_whatever_they_are_called() {
        for format in AudioFormat::ALL {
            assert!(is_unusable(*format, b"<html><title>no</title></html>"));
            let message = check_as(*format, br#"{"error":"Quota","message":"No more."}"#, true);
            assert_eq!(message, Err(Flaw::Unusable("with JSON instead of audio: Quota: No more.".into())));
        }
    }
}
