//! Reads a recording's kind, length and channels from its headers, its tables, and the chain of its pages or frames. Nothing is
//! decoded, and nothing is refused that the API might accept: only data that is *known* not to be audio is reported as such.
//!
//! Readers of tags and demuxers give one length, and not whether the recording proves it. That is what is needed here, so each
//! container has a reader of its own, within bounds of bytes and memory (`window`).

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use self::window::Window;
use crate::domain::length::Length;

mod amr;
#[cfg(test)]
mod builders;
mod ends;
mod flac;
mod frames;
mod matroska;
mod mp4;
mod mpeg;
mod ogg;
mod pcm;
mod tags;
mod window;

pub use ends::{probe_ends, tail_len};

/// Bytes that are read to determine the kind.
const HEAD: usize = 4096;
/// Bytes that may be read to find the length. Of a longer walk of pages or frames, the length is estimated.
const BUDGET: u64 = 64 << 20;

/// The apparent kind of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A known container or codec.
    Audio,
    /// Anything else that may be audio: telephony codecs, raw samples, unknown headers.
    Unknown,
    /// Known not to be audio; the name of its format, e.g. `HTML`.
    NotAudio(&'static str),
}

/// The known properties of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its size, in bytes.
    pub bytes: u64,
    /// Its apparent kind.
    pub kind: Kind,
    /// Its length. An exact one can be compared with an answer: headers, samples and the size of the file agree.
    pub length: Length,
    /// Whether the header says another length than the file has: it is cut short, or the header is wrong. The length is the file's.
    pub header_differs: bool,
    /// Number of channels, if the headers contain it.
    pub channels: Option<u16>,
    /// The media type for sending it.
    pub content_type: &'static str,
    /// Whether the API lists its format (API page, "Speech to text"), so that it can be sent as it is.
    pub is_listed: bool,
}

impl Probe {
    const fn new(bytes: u64, kind: Kind, content_type: &'static str) -> Self {
        let (length, header_differs, channels, is_listed) = (Length::Unknown, false, None, false);
        Self { bytes, kind, length, header_differs, channels, content_type, is_listed }
    }

    /// With what was found in its container.
    const fn with(self, found: Found) -> Self {
        let Found { length, channels, header_differs } = found;
        Self { length: length.within(self.bytes), header_differs, channels, ..self }
    }
}

/// What the reader of a container found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    length: Length,
    channels: Option<u16>,
    header_differs: bool,
}

impl Found {
    const fn of(length: Length) -> Self {
        Self { length, channels: None, header_differs: false }
    }
}

/// The time of a sample in ms, rounded down; the greatest number on overflow, 0 without a rate.
fn ms(samples: u64, rate: u32) -> u64 {
    let ms = u128::from(samples) * 1_000 / u128::from(rate.max(1));
    if rate == 0 { 0 } else { u64::try_from(ms).unwrap_or(u64::MAX) }
}

/// Probes the file at `path`. Blocks on the disk.
///
/// # Errors
/// The file cannot be opened or read. A senseless header is no error.
pub fn probe(path: &Path) -> io::Result<Probe> {
    probe_reader(&mut File::open(path)?)
}

/// Probes a recording in memory.
#[must_use]
pub fn probe_bytes(bytes: &[u8]) -> Probe {
    probe_reader(&mut Cursor::new(bytes)).unwrap_or(Probe::new(bytes.len() as u64, Kind::Unknown, RAW))
}

const RAW: &str = "application/octet-stream";

/// Probes a recording through a reader, which needs no buffer; its position afterwards is undefined. Headers are read, pages and
/// frames are walked from header to header, and at most 64 MB are read.
///
/// # Errors
/// The reader fails on the recording's first bytes.
pub fn probe_reader<R: Read + Seek>(reader: &mut R) -> io::Result<Probe> {
    let bytes = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut head = Vec::with_capacity(HEAD);
    let read = reader.by_ref().take(HEAD as u64).read_to_end(&mut head);
    if head.is_empty() {
        read?;
    }

    if let Some(name) = not_audio(&head) {
        return Ok(Probe::new(bytes, Kind::NotAudio(name), RAW));
    }
    let Some(container) = Container::of(&head) else { return Ok(Probe::new(bytes, Kind::Unknown, RAW)) };
    container.probe(reader, bytes)
}

/// A container whose length can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Wav,
    W64,
    Aiff,
    Au,
    Caf,
    Amr,
    Flac,
    Ogg,
    Mp4,
    Matroska,
    Mpeg,
    Adts,
    /// A tag, and something after it.
    Tagged,
}

impl Container {
    fn of(head: &[u8]) -> Option<Self> {
        const W64: &[u8] = b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\x00\x00";
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        Some(match () {
            () if (at(0, b"RIFF") || at(0, b"RF64") || at(0, b"BW64")) && at(8, b"WAVE") => Self::Wav,
            () if at(0, W64) => Self::W64,
            () if at(0, b"fLaC") => Self::Flac,
            () if at(0, b"OggS") => Self::Ogg,
            () if at(4, b"ftyp") => Self::Mp4,
            () if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => Self::Aiff,
            () if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) => Self::Matroska,
            () if at(0, b".snd") => Self::Au,
            () if at(0, b"caff\0\x01") => Self::Caf,
            () if amr::is_amr(head) => Self::Amr,
            () if at(0, b"ID3") => Self::Tagged,
            () if mpeg::Header::parse(head).is_some() => Self::Mpeg,
            () if mpeg::is_adts(head) => Self::Adts,
            () => return None,
        })
    }

    /// What an upload of it is called. The API does not list those without a name, which go as bytes.
    const fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Aiff => "audio/aiff",
            Self::Flac => "audio/flac",
            Self::Ogg => "audio/ogg",
            Self::Mp4 => "audio/mp4",
            Self::Matroska => "audio/webm",
            Self::Mpeg | Self::Tagged => "audio/mpeg",
            Self::W64 | Self::Au | Self::Caf | Self::Amr | Self::Adts => RAW,
        }
    }

    /// Whether the API lists it. Of a WAV, the codec decides.
    const fn is_listed(self) -> bool {
        match self {
            Self::Wav | Self::Flac | Self::Ogg | Self::Mp4 | Self::Matroska | Self::Mpeg | Self::Tagged => true,
            Self::Aiff | Self::W64 | Self::Au | Self::Caf | Self::Amr | Self::Adts => false,
        }
    }

    fn probe<R: Read + Seek>(self, reader: &mut R, bytes: u64) -> io::Result<Probe> {
        if self == Self::Wav {
            let (found, is_listed) = pcm::read_wav(reader).unwrap_or_default();
            return Ok(Probe { is_listed, ..Probe::new(bytes, Kind::Audio, self.content_type()).with(found) });
        }
        let window = Window::new(reader, BUDGET)?;
        let (container, found) = self.read(window);
        let probe = Probe::new(bytes, Kind::Audio, container.content_type()).with(found);
        Ok(Probe { is_listed: container.is_listed(), ..probe })
    }

    /// What it is after all, and what was found in it.
    fn read<R: Read + Seek>(self, mut window: Window<'_, R>) -> (Self, Found) {
        if self == Self::Tagged {
            return Self::read_tagged(window);
        }
        let window = &mut window;
        let found = match self {
            Self::W64 => pcm::read_w64(window),
            Self::Aiff => pcm::read_aiff(window),
            Self::Au => pcm::read_au(window),
            Self::Caf => pcm::read_caf(window),
            Self::Amr => amr::read(window),
            Self::Flac => flac::read(window),
            Self::Ogg => ogg::read(window),
            Self::Mp4 => mp4::read(window),
            Self::Matroska => matroska::read(window),
            Self::Mpeg => mpeg::read_mpeg(window),
            Self::Adts => mpeg::read_adts(window),
            Self::Wav | Self::Tagged => Found::default(),
        };
        (self, found)
    }

    /// What is after ID3v2 tags: MPEG audio, if nothing else is known.
    fn read_tagged<R: Read + Seek>(mut window: Window<'_, R>) -> (Self, Found) {
        let Some(start) = tags::end_of_leading(&mut window) else { return (Self::Mpeg, Found::default()) };
        let inner = window.up_to(start, 64).and_then(Self::of);
        let inner = inner.filter(|inner| !matches!(inner, Self::Tagged | Self::Wav)).unwrap_or(Self::Mpeg);
        let len = window.len();
        inner.read(window.part(start, len))
    }
}

/// The name of the format, if it is known not to be audio.
fn not_audio(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"%PDF-") {
        return Some("PDF");
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some("ZIP");
    }
    let text = leading_text(head);
    let text = text.trim_start();
    let lower: String = text.chars().take(16).map(|c| c.to_ascii_lowercase()).collect();
    if ["<!doctype html", "<html", "<head", "<body"].iter().any(|tag| lower.starts_with(tag)) {
        return Some("HTML");
    }
    match lower.as_bytes() {
        [b'<', b'?' | b'!' | b'a'..=b'z', ..] => Some("XML"),
        [b'{' | b'[', ..] if looks_like_json(text) => Some("JSON"),
        _ => None,
    }
}

/// `{` or `[` followed by a valid continuation: raw samples may begin with any byte.
fn looks_like_json(text: &str) -> bool {
    let inner = text[1..].trim_start();
    let first = inner.chars().next();
    match &text[..1] {
        "{" => matches!(first, Some('"' | '}')),
        _ => matches!(first, Some('"' | '{' | '[' | ']' | '-' | '0'..='9' | 't' | 'f' | 'n')),
    }
}

/// The text at the start, up to the first byte that is not text. UTF-8 and UTF-16 byte order marks are understood.
fn leading_text(head: &[u8]) -> String {
    let is_text = |c: &char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
    let utf16 = |to_unit: fn([u8; 2]) -> u16, rest: &[u8]| -> String {
        let units = rest.chunks_exact(2).map(|pair| to_unit([pair[0], pair[1]]));
        char::decode_utf16(units).map_while(Result::ok).take_while(is_text).take(512).collect()
    };
    match head {
        [0xFF, 0xFE, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => utf16(u16::from_be_bytes, rest),
        _ => {
            let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
            let head = &head[..head.len().min(2048)];
            let valid = head.utf8_chunks().next().map(|c| c.valid()).unwrap_or_default();
            valid.chars().take_while(is_text).collect()
        }
    }
}

#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
