//! What a file is by its first bytes; its name counts only where it has no header.

use std::path::Path;

use crate::audio::analyze::hearing::{Encoding, RawFormat};

/// Bytes that are looked at.
pub(super) const HEAD: usize = 4_096;

/// A container, and the demuxer of ffmpeg that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) container: &'static str,
    pub(super) demuxer: &'static str,
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has no header.
    Raw(RawFormat),
    /// The decoders of this program may know it.
    Media(Known),
    /// Only ffmpeg knows it.
    Ffmpeg(Known),
    /// Nobody knows it.
    Unknown,
}

const fn media(container: &'static str, demuxer: &'static str) -> Kind {
    Kind::Media(Known { container, demuxer })
}

const fn ffmpeg(container: &'static str, demuxer: &'static str) -> Kind {
    Kind::Ffmpeg(Known { container, demuxer })
}

/// How to read a file with these first bytes.
pub(super) fn sniff(head: &[u8], path: &Path, raw: Option<RawFormat>) -> Kind {
    by_signature(head)
        .or_else(|| raw.or_else(|| RawFormat::of_ending(path)).map(Kind::Raw))
        .unwrap_or_else(|| by_sync(head, path))
}

/// By signatures that no raw sound has by chance.
fn by_signature(head: &[u8]) -> Option<Kind> {
    const ASF: &[u8] = &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11];
    const BOXES: [&[u8]; 6] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"];
    let at = |from: usize, what: &[u8]| head.get(from..from + what.len()) == Some(what);
    let is_mpeg_ts = || at(0, b"G") && at(188, b"G") && at(376, b"G");
    let kind = match () {
        () if (at(0, b"RIFF") || at(0, b"RIFX")) && at(8, b"WAVE") => media("wav", "wav"),
        () if at(0, b"RF64") || at(0, b"BW64") => ffmpeg("rf64", "wav"),
        () if at(0, b"RIFF") && at(8, b"AVI ") => ffmpeg("avi", "avi"),
        () if at(0, b"fLaC") => media("flac", "flac"),
        () if at(0, b"OggS") && at(28, b"Speex   ") => ffmpeg("ogg (Speex)", "ogg"),
        () if at(0, b"OggS") => media("ogg", "ogg"),
        // A tag stands before MP3, but before other formats as well.
        () if at(0, b"ID3") => after_tag(head).unwrap_or(media("mp3", "mp3")),
        () if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) => media("mkv", "matroska"),
        () if at(0, b"caff") => media("caf", "caf"),
        () if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => media("aiff", "aiff"),
        () if BOXES.iter().any(|name| at(4, name)) => media("mp4", "mov"),
        () if at(0, b"#!AMR") => ffmpeg("amr", "amr"),
        () if at(0, ASF) => ffmpeg("asf (WMA)", "asf"),
        () if at(0, b".snd") => ffmpeg("au", "au"),
        () if at(0, b"FLV\x01") => ffmpeg("flv", "flv"),
        () if at(0, &[0, 0, 1, 0xBA]) => ffmpeg("mpeg", "mpeg"),
        () if is_mpeg_ts() => ffmpeg("mpegts", "mpegts"),
        () if at(0, b"wvpk") => ffmpeg("wavpack", "wv"),
        () if at(0, b"MAC ") => ffmpeg("ape", "ape"),
        () if at(0, b"TTA1") => ffmpeg("tta", "tta"),
        () if at(0, b".RMF") => ffmpeg("realmedia", "rm"),
        () if at(0, b"Creative Voice File") => ffmpeg("voc", "voc"),
        () if at(0, b"NIST_1A") => ffmpeg("nist sphere", "nistsphere"),
        () => return None,
    };
    Some(kind)
}

/// What follows a tag that is wholly in the head.
fn after_tag(head: &[u8]) -> Option<Kind> {
    let size = head.get(6..10)?.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7F));
    by_signature(head.get(10 + size..).filter(|rest| !rest.starts_with(b"ID3"))?)
}

/// By the sync words of frames, of which at least two have to follow each other, and by the names of formats without any.
fn by_sync(head: &[u8], path: &Path) -> Kind {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if ending == "gsm" && head.len() >= 66 && head[0] >> 4 == 0xD && head[33] >> 4 == 0xD {
        return ffmpeg("gsm", "gsm");
    }
    let starts = 0..head.len().saturating_sub(4).min(2_048);
    let follows = |len: fn(&[u8]) -> Option<usize>| {
        starts.clone().any(|at| {
            let next = len(&head[at..]).map(|len| at + len);
            next.is_some_and(|next| {
                head.get(next..).is_some_and(|rest| len(rest).is_some() || (rest.is_empty() && at == 0))
            })
        })
    };
    match () {
        () if follows(adts_len) => media("adts", "aac"),
        () if follows(mpeg_len) => media("mp3", "mp3"),
        () if follows(layer_two_len) => ffmpeg("mp2", "mp3"),
        () => Kind::Unknown,
    }
}

/// The length of an ADTS frame that begins here.
fn adts_len(bytes: &[u8]) -> Option<usize> {
    let head: &[u8; 7] = bytes.first_chunk()?;
    let len = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
    (head[0] == 0xFF && head[1] & 0xF6 == 0xF0 && head[2] >> 2 & 0xF < 13 && len > 7).then_some(len)
}

/// The length of a layer III frame that begins here.
fn mpeg_len(bytes: &[u8]) -> Option<usize> {
    layer_len(bytes, 1)
}

/// The length of a layer II frame that begins here.
fn layer_two_len(bytes: &[u8]) -> Option<usize> {
    layer_len(bytes, 2)
}

fn layer_len(bytes: &[u8], wanted: u8) -> Option<usize> {
    const THREE: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const TWO: [usize; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LOW: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let head: &[u8; 4] = bytes.first_chunk()?;
    let (version, layer) = (head[1] >> 3 & 3, head[1] >> 1 & 3);
    if head[0] != 0xFF || head[1] < 0xE0 || version == 1 || layer != wanted {
        return None;
    }
    let rate = [44_100, 48_000, 32_000].get(usize::from(head[2] >> 2 & 3))? / [4, 1, 2, 1][usize::from(version)];
    let (bits, samples) = match (version, layer) {
        (3, 1) => (THREE, 144),
        (3, _) => (TWO, 144),
        (_, 1) => (LOW, 72),
        _ => (LOW, 144),
    };
    let kbits = *bits.get(usize::from(head[2] >> 4)).filter(|kbits| **kbits > 0)?;
    Some(samples * kbits * 1_000 / rate + usize::from(head[2] >> 1 & 1))
}

impl RawFormat {
    /// What telephone systems call files without a header: `ulaw`, `alaw`, `sln`, `g722`, …
    #[must_use]
    pub fn of_ending(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        let (encoding, rate) = match ending.as_str() {
            "ul" | "ulaw" | "mulaw" | "pcmu" => (Encoding::ULaw, 8_000),
            "al" | "alaw" | "pcma" => (Encoding::ALaw, 8_000),
            "sln" | "sln8" => (Encoding::S16Le, 8_000),
            "sln16" => (Encoding::S16Le, 16_000),
            "g722" => (Encoding::G722, 16_000),
            _ => return None,
        };
        Some(Self { encoding, rate, channels: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_count_more_than_names() {
        let raw = RawFormat { encoding: Encoding::ULaw, rate: 8_000, channels: 1 };
        let kind = |head: &[u8], name: &str, raw| sniff(head, Path::new(name), raw);
        assert_eq!(kind(b"RIFF....WAVEfmt ", "a.ulaw", Some(raw)), media("wav", "wav"));
        assert_eq!(kind(&[0xFF; 400], "a.wav", Some(raw)), Kind::Raw(raw));
        assert_eq!(kind(&[0xFF; 400], "a.ulaw", None), Kind::Raw(raw));
        assert_eq!(kind(&[0xFF; 400], "a.mp3", None), Kind::Unknown);
        assert_eq!(kind(b"#!AMR\n....", "a.mp3", None), ffmpeg("amr", "amr"));
        assert_eq!(kind(b"ID3\x04\0\0\0\0\0\0fLaC", "a.mp3", None), media("flac", "flac"));
        assert_eq!(kind(b"{\"error\": 1}", "a.mp3", None), Kind::Unknown);
    }

    #[test]
    fn frames_need_a_successor() {
        let mut frame = vec![0xFF, 0xFB, 0x90, 0xC0];
        assert_eq!(mpeg_len(&frame), Some(417));
        frame.resize(417, 0);
        let two = [frame.clone(), frame.clone()].concat();
        assert_eq!(sniff(&two, Path::new("x"), None), media("mp3", "mp3"));
        assert_eq!(sniff(&[&frame[..], &[1; 40]].concat(), Path::new("x.mp3"), None), Kind::Unknown);
    }
}
