use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::audio::AudioError;

const TAGGED: &[u8] = include_bytes!("../testdata/24k-tagged.mp3");
const VBR: &[u8] = include_bytes!("../testdata/24k-vbr.mp3");
const LOW: &[u8] = include_bytes!("../testdata/8k.mp3");
const HIGH: &[u8] = include_bytes!("../testdata/44k.mp3");

/// The rate, the number of frames, the number that refer back before the start, and the bytes of the frames.
fn parse(bytes: &[u8]) -> Result<(u32, u64, u64, Vec<u8>), AudioError> {
    let (mut rate, mut count, mut back, mut all) = (0, 0, 0, Vec::new());
    // One byte at a time, as a stream may deliver them.
    let mut frames = Frames::new(Slow(bytes));
    while let Some(frame) = frames.read_frame()? {
        rate = frame.header.rate();
        count += 1;
        back += u64::from(frame.needs_earlier_data);
        all.extend(frame.bytes);
    }
    Ok((rate, count, back, all))
}

struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = buf.len().min(97);
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn frames_of_real_files() {
    for (file, rate, frames) in [(TAGGED, 24_000, 27), (VBR, 24_000, 21), (LOW, 8_000, 14), (HIGH, 44_100, 13)] {
        let (found_rate, found, back, all) = parse(file).unwrap();
        assert_eq!((found_rate, found, back), (rate, frames, 0));
        assert_eq!(parse(&all).unwrap().3, all, "frames alone are a file");
    }
    assert_eq!(parse(VBR).unwrap().3, VBR, "which had nothing else");
    let mut frames = Frames::new(TAGGED);
    assert!(TAGGED.starts_with(b"ID3") && TAGGED[TAGGED.len() - 128..].starts_with(b"TAG"));
    frames.read_frame().unwrap().unwrap();
    assert_eq!(frames.info().unwrap().frames, Some(27));
}

#[test]
fn tags_and_junk_at_the_ends_are_passed_over() {
    let frames = parse(LOW).unwrap().3;
    let mut ape = b"APETAGEX\xD0\x07\0\0".to_vec();
    ape.extend(40_032u32.to_le_bytes());
    ape.resize(32 + 40_032, 7);
    let mut id3 = b"ID3\x04\0\x10\0\x01\x00\x00".to_vec();
    id3.resize(10 + (1 << 14) + 10, 0xFF);
    let tag = [b"TAG".as_slice(), &[b' '; 125]].concat();
    for file in [
        [&id3, LOW].concat(),
        [&id3, &id3, LOW, &ape].concat(),
        [LOW, &ape, &tag].concat(),
        [LOW, &tag].concat(),
        [LOW, &[0; 2000]].concat(),
        [b"some junk", LOW].concat(),
        [LOW, &[0xFF; 3000]].concat(),
    ] {
        assert_eq!(parse(&file).unwrap().3, frames);
    }
}

#[test]
fn what_is_missing_or_between_is_told() {
    for missing in [1, 50, 143] {
        let cut = parse(&LOW[..LOW.len() - missing]);
        assert!(matches!(cut, Err(AudioError::CutShort { .. })), "{missing}: {cut:?}");
    }
    assert!(matches!(parse(&LOW[..LOW.len() - 141]), Err(AudioError::CutShort { declared: 4, .. })));
    assert!(parse(&LOW[..LOW.len() - 144]).is_ok(), "a cut between frames shows only where their number is declared");
    let untagged = &TAGGED[..TAGGED.len() - 128];
    let cut = parse(&untagged[..untagged.len() - 2 * 96]).unwrap_err();
    assert_eq!(cut.to_string(), "it is cut short: 25 frames of 27");

    for junk in [b"ID3\x04\0\0\0\0\0\x0A0123456789".as_slice(), b"x", &[0; 5000]] {
        let Err(AudioError::Junk { at }) = parse(&[LOW, junk, LOW].concat()) else { panic!("{junk:?}") };
        assert_eq!(at, LOW.len() as u64);
    }
    assert!(matches!(parse(&[LOW, &[0; 100_000]].concat()), Err(AudioError::Junk { .. })), "more than a tag");
    let mut damaged = LOW.to_vec();
    damaged[144 * 5] = 0;
    assert!(matches!(parse(&damaged), Err(AudioError::Junk { at: 720 })));
    let start = TAGGED.windows(2).position(|w| w == [0xFF, 0xF3]).unwrap();
    let twice = [untagged, &untagged[start..]].concat();
    let inside = parse(&twice).unwrap_err();
    assert!(matches!(inside, AudioError::Junk { at } if at == untagged.len() as u64), "an Info frame inside: {inside}");
}

#[test]
fn what_is_no_mp3() {
    assert!(matches!(parse(b""), Err(AudioError::Empty)));
    for other in [b"{\"error\": \"no\"}".as_slice(), b"ID3\x04\0\0\0\0\0\x01", &[0xFF; 70_000], &[0; 70_000], b"\xFF"] {
        assert!(matches!(parse(other), Err(AudioError::NotThat { .. } | AudioError::Empty)), "{:?}", other.first());
    }
    let start = HIGH.windows(2).position(|w| w == [0xFF, 0xFB]).unwrap();
    let header = Header::parse(&HIGH[start..]).unwrap();
    let only_info = &HIGH[..start + header.frame_len()];
    assert!(matches!(parse(only_info), Err(AudioError::CutShort { unit: "frames", has: 0, declared: 13 })));
    let mut undeclared = only_info.to_vec();
    let flags = undeclared.windows(4).position(|w| w == b"Info").unwrap() + 7;
    undeclared[flags] = 0;
    assert!(matches!(parse(&undeclared), Err(AudioError::Empty)));
}

#[test]
fn vbri_is_no_audio_either() {
    let mut first = Header::parse(LOW).unwrap().silent_frame();
    first[36..40].copy_from_slice(b"VBRI");
    first[53] = 14;
    assert_eq!(parse(&[&first, LOW].concat()).unwrap().3, LOW);
    first[53] = 16;
    assert!(matches!(parse(&[&first, LOW].concat()), Err(AudioError::CutShort { has: 14, declared: 16, .. })));
}

#[test]
fn our_own_header_is_read_and_fits_at_every_bit_rate() {
    for kind in [[0xFF, 0xF3, 0x14, 0xC4], [0xFF, 0xF3, 0x84, 0xC4], [0xFF, 0xE2, 0x18, 0x44], [0xFF, 0xFB, 0x14, 0x04]]
    {
        let kind = Header::parse(&kind).unwrap();
        let audio = kind.silent_frame().repeat(5);
        let first = info::frame(kind, 5, audio.len() as u64);
        let file = [&first[..], &audio].concat();
        let mut frames = Frames::new(file.as_slice());
        frames.read_frame().unwrap().unwrap();
        assert_eq!(frames.info(), Some(info::Info { frames: Some(5), frame_len: first.len() }));
        assert_eq!(parse(&file).unwrap().3, audio);
        assert!(parse(&file[..file.len() - 2 * kind.silent_frame().len()]).is_err());
    }
}

#[test]
fn frames_that_need_what_is_lost_are_marked() {
    let (_, frames, _, all) = parse(TAGGED).unwrap();
    let (_, left, back, _) = parse(&all[96 * 3..]).unwrap();
    assert_eq!(left, frames - 3);
    assert!(back > 0, "the file uses the reservoir");
    let mut frames = Frames::new(&all[96 * 3..]);
    let first = frames.read_frame().unwrap().unwrap();
    assert!(first.needs_earlier_data);
    assert!(!Frames::new(first.muted().as_slice()).read_frame().unwrap().unwrap().needs_earlier_data);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let _ = parse(&bytes);
        let _ = parse(&[&[0xFF, 0xF3, 0x84, 0xC4], bytes.as_slice()].concat());
    }

    #[test]
    fn no_damage_makes_it_panic(
        file in proptest::sample::select(vec![TAGGED, VBR, LOW, HIGH]),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut file = file.to_vec();
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        let _ = parse(&file);
        let _ = parse(&file[..cut.index(file.len())]);
    }
}
