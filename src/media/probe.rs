//! Reads a recording's kind, length and channels from its first bytes and its headers. Nothing is decoded, and nothing is
//! refused that the API might accept: only data that is *known* not to be audio is reported as such.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use lofty::{
    config::{ParseOptions, ParsingMode},
    file::{AudioFile, FileType},
    probe::Probe as Lofty,
};

use crate::{audio::wav, domain::length};

mod complete;
mod ends;
mod quiet;

pub use ends::probe_ends;

/// Bytes that are read to determine the kind.
const HEAD: u64 = 4096;
/// Bytes that may be read to find the length. A damaged file, whose frames must be searched, gets no length.
const BUDGET: u64 = 1 << 20;

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
    /// Its length in milliseconds, if the headers contain it.
    pub audio_ms: Option<u64>,
    /// Whether the header and the size of the file agree, so that `audio_ms` can be compared with an answer.
    pub exact: bool,
    /// Number of channels, if the headers contain it.
    pub channels: Option<u16>,
    /// The media type for sending it.
    pub content_type: &'static str,
}

impl Probe {
    const fn new(bytes: u64, kind: Kind, content_type: &'static str) -> Self {
        Self { bytes, kind, audio_ms: None, exact: false, channels: None, content_type }
    }
}

/// Probes the file at `path`. Cheap for files of any size; blocks on the disk.
///
/// # Errors
/// The file cannot be opened or read. A senseless header is no error.
pub fn probe(path: &Path) -> io::Result<Probe> {
    probe_reader(&mut BufReader::new(File::open(path)?))
}

/// Probes a recording in memory.
#[must_use]
pub fn probe_bytes(bytes: &[u8]) -> Probe {
    probe_reader(&mut Cursor::new(bytes)).unwrap_or(Probe::new(bytes.len() as u64, Kind::Unknown, RAW))
}

const RAW: &str = "application/octet-stream";

/// Probes a recording through a reader, from its start; the reader's position afterwards is undefined.
///
/// # Errors
/// The reader fails on the recording's first bytes.
pub fn probe_reader<R: Read + Seek>(reader: &mut R) -> io::Result<Probe> {
    let bytes = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut head = Vec::with_capacity(HEAD as usize);
    reader.by_ref().take(HEAD).read_to_end(&mut head)?;

    if let Some(name) = not_audio(&head) {
        return Ok(Probe::new(bytes, Kind::NotAudio(name), RAW));
    }
    Ok(match Container::of(&head) {
        Some(Container::Wav) => probe_wav(reader, bytes),
        Some(Container::Known(file_type, content_type)) => probe_lofty(reader, bytes, file_type, content_type),
        Some(Container::Opaque(content_type)) => Probe::new(bytes, Kind::Audio, content_type),
        None => Probe::new(bytes, Kind::Unknown, RAW),
    })
}

fn probe_wav<R: Read + Seek>(reader: &mut R, bytes: u64) -> Probe {
    let mut probe = Probe::new(bytes, Kind::Audio, "audio/wav");
    if let Ok(wav) = wav::read(reader) {
        let fixed = wav.has_fixed_frames();
        probe.kind = if fixed { Kind::Audio } else { Kind::Unknown };
        probe.audio_ms = wav.duration_ms().and_then(|ms| length::of_file(ms, bytes));
        probe.exact = wav.sizes_agree && fixed && probe.audio_ms.is_some();
        probe.channels = (wav.channels > 0).then_some(wav.channels);
    }
    probe
}

fn probe_lofty<R: Read + Seek>(reader: &mut R, bytes: u64, file_type: FileType, content_type: &'static str) -> Probe {
    let mut probe = Probe::new(bytes, Kind::Audio, content_type);
    let exact = complete::is_complete(reader, bytes, file_type).unwrap_or(false);
    if reader.seek(SeekFrom::Start(0)).is_err() {
        return probe;
    }
    let options = ParseOptions::new().read_tags(false).read_cover_art(false).parsing_mode(ParsingMode::Relaxed);
    let budgeted = Budgeted { inner: reader, left: BUDGET };
    // The library divides by lengths that can be zero in a damaged file. Such a file gets no length either.
    let read = || Lofty::with_file_type(budgeted, file_type).options(options).read();
    if let Some(Ok(file)) = quiet::caught(read) {
        let ms = u64::try_from(file.properties().duration().as_millis()).unwrap_or(u64::MAX);
        probe.audio_ms = length::of_file(ms, bytes).filter(|ms| *ms > 0);
        probe.channels = file.properties().channels().filter(|c| *c > 0).map(u16::from);
        probe.exact = exact && probe.audio_ms.is_some();
    }
    probe
}

/// How the rest of a recording is read.
enum Container {
    Wav,
    Known(FileType, &'static str),
    /// Audio whose length is not determined.
    Opaque(&'static str),
}

impl Container {
    fn of(head: &[u8]) -> Option<Self> {
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        if (at(0, b"RIFF") || at(0, b"RF64")) && at(8, b"WAVE") {
            Some(Self::Wav)
        } else if at(0, b"fLaC") {
            Some(Self::Known(FileType::Flac, "audio/flac"))
        } else if at(0, b"OggS") {
            Some(ogg(head))
        } else if at(4, b"ftyp") {
            Some(Self::Known(FileType::Mp4, "audio/mp4"))
        } else if at(0, b"ID3") || is_mpeg_frame(head) {
            Some(Self::Known(FileType::Mpeg, "audio/mpeg"))
        } else if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) {
            Some(Self::Known(FileType::Aiff, "audio/aiff"))
        } else if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
            Some(Self::Opaque("audio/webm"))
        } else {
            None
        }
    }
}

fn ogg(head: &[u8]) -> Container {
    let has = |magic: &[u8]| head[..head.len().min(256)].windows(magic.len()).any(|w| w == magic);
    if has(b"OpusHead") {
        Container::Known(FileType::Opus, "audio/ogg")
    } else if has(b"\x01vorbis") {
        Container::Known(FileType::Vorbis, "audio/ogg")
    } else if has(b"Speex   ") {
        Container::Known(FileType::Speex, "audio/ogg")
    } else {
        Container::Opaque("audio/ogg")
    }
}

/// Whether this is an MPEG audio frame's header without impossible values: raw telephony samples must not match by chance.
fn is_mpeg_frame(head: &[u8]) -> bool {
    let [0xFF, b, c, ..] = head else { return false };
    let (sync, version, layer) = (b & 0xE0 == 0xE0, b >> 3 & 3, b >> 1 & 3);
    let (bitrate, rate) = (c >> 4, c >> 2 & 3);
    sync && version != 1 && layer != 0 && bitrate != 0 && bitrate != 15 && rate != 3
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

/// A reader that fails after too many bytes: probing must not read a damaged file to its end.
struct Budgeted<'a, R> {
    inner: &'a mut R,
    left: u64,
}

impl<R: Read> Read for Budgeted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buf.is_empty() {
            return Err(io::Error::other("too far to look"));
        }
        let most = buf.len().min(self.left.try_into().unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buf[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Budgeted<'_, R> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.inner.seek(pos)
    }
}

#[cfg(test)]
mod tests;
