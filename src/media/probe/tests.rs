use std::path::PathBuf;

use super::*;
use crate::audio::wav;

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/demo-calls").join(name)
}

fn kind(bytes: &[u8]) -> Kind {
    probe_bytes(bytes).kind
}

#[test]
fn every_demo_recording_tells_its_length() {
    let mut seen = 0;
    for entry in std::fs::read_dir(demo("")).unwrap() {
        let path = entry.unwrap().path();
        let p = probe(&path).unwrap();
        assert_eq!(p.kind, Kind::Audio, "{path:?}");
        assert!((2_000..30_000).contains(&p.length.ms().unwrap()), "{path:?}: {p:?}");
        assert!(p.length.is_exact(), "{path:?}");
        assert!(p.content_type.starts_with("audio/"));
        seen += 1;
    }
    assert!(seen >= 8);
}

#[test]
fn a_cut_recording_is_no_longer_exact() {
    for entry in std::fs::read_dir(demo("")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() * 2 / 3);
        let p = probe_bytes(&bytes);
        assert_eq!((p.kind, p.length.is_exact()), (Kind::Audio, false), "{path:?}");
    }
}

#[test]
fn wav_tells_length_and_channels() {
    let p = probe_bytes(&wav::pcm16(2, 8000, None, &[0; 32_000]));
    let expected = Probe {
        bytes: 64_044,
        kind: Kind::Audio,
        length: Length::Exact(2000),
        header_differs: false,
        channels: Some(2),
        content_type: "audio/wav",
        is_listed: true,
    };
    assert_eq!(p, expected);
}

#[test]
fn what_is_known_not_to_be_audio_is_named() {
    for (bytes, name) in [
        (b"\xEF\xBB\xBF \r\n<!DOCTYPE html><html>".as_slice(), "HTML"),
        (b"<HTML><body>502", "HTML"),
        (b"\xFF\xFE<\0h\0t\0m\0l\0>\0", "HTML"),
        (b"<?xml version=\"1.0\"?><Error/>", "XML"),
        (b"<Error><Code>NoSuchKey</Code>", "XML"),
        (b"\n{\"error\": \"gone\"}", "JSON"),
        (b"[]", "JSON"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04\x14\0", "ZIP"),
    ] {
        assert_eq!(kind(bytes), Kind::NotAudio(name));
    }
}

#[test]
fn what_is_not_known_is_never_refused() {
    for bytes in
        [b"".as_slice(), b"{\x7F\x80\xFF", b"[hello", b"< 5", &[0xFF; 4000], b"\xFF\x7E\xFE\x7F", b"just some words"]
    {
        assert_eq!(kind(bytes), Kind::Unknown, "{bytes:?}");
    }
}

#[test]
fn a_header_that_fails_to_parse_is_audio_of_unknown_length() {
    for bytes in [b"RIFF\0\0\0\0WAVE".as_slice(), b"fLaC\0", b"OggS\0", b"ID3\x04\0\0\0\0\0\x0A", b"\0\0\0\x18ftypM4A "]
    {
        let p = probe_bytes(bytes);
        assert_eq!((p.kind, p.length.ms(), p.length.is_exact()), (Kind::Audio, None, false), "{bytes:?}");
    }
}

/// Counts the bytes read through it.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buf)?;
        self.1 += read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.0.seek(pos)
    }
}

#[test]
fn a_damaged_file_is_not_searched_to_its_end() {
    let mut junk = b"ID3\x04\0\0\0\0\0\0\xFF\xFB\x90\x00".to_vec();
    junk.resize(16 << 20, 0);
    let mut counted = Counted(Cursor::new(junk), 0);
    assert_eq!(probe_reader(&mut counted).unwrap().kind, Kind::Audio);
    assert!(counted.1 < 2 << 20, "{}", counted.1);
}

#[test]
fn an_opus_file_that_says_impossible_lengths_goes_without_one() {
    let file = std::fs::read(demo("1009-transfer.opus")).unwrap();
    let find = |what: &[u8]| file.windows(what.len()).rposition(|at| at == what).unwrap();
    let (head, last) = (find(b"OpusHead"), find(b"OggS"));
    let skipped = u64::from(u16::from_le_bytes([file[head + 10], file[head + 11]]));
    // One sample is less than a millisecond; and the other number is too large to be counted in milliseconds.
    for samples in [skipped + 1, u64::MAX / 2] {
        let mut bent = file.clone();
        bent[last + 6..last + 14].copy_from_slice(&samples.to_le_bytes());
        let probe = probe_bytes(&bent);
        assert_eq!((probe.kind, probe.length.is_exact()), (Kind::Audio, false), "{samples}");
    }
}
