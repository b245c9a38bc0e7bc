use std::{
    fs::File,
    io::{self, Cursor},
    path::Path,
    sync::LazyLock,
};

use proptest::prelude::*;

use super::*;
use crate::{
    audio::{tests::decode, wav},
    fuzzed,
    media::probe::{Probe, probe_bytes},
};

const TAGGED_MP3: &[u8] = include_bytes!("../../audio/testdata/24k-tagged.mp3");
const UNTAGGED_MP3: &[u8] = include_bytes!("../../audio/testdata/8k.mp3");
const VBR_MP3: &[u8] = include_bytes!("../../audio/testdata/24k-vbr.mp3");
/// The length of each frame of [`UNTAGGED_MP3`].
const FRAME: usize = 144;

fn demo(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/demo-calls").join(name)).unwrap()
}

fn plan_of(file: &[u8]) -> Option<PaddingPlan> {
    plan(&mut Cursor::new(file))
}

fn padded(file: &[u8], extra: u32) -> Vec<u8> {
    plan_of(file).unwrap().apply(extra).unwrap().apply(0, file.to_vec().into()).unwrap().into()
}

fn stripped(file: &[u8]) -> Vec<u8> {
    match strip(&mut Cursor::new(file)) {
        Some(patch) => patch.apply(0, file.to_vec().into()).unwrap().into(),
        None => file.to_vec(),
    }
}

/// A chunk of a RIFF file, with its padding byte.
fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = [id, (body.len() as u32).to_le_bytes().as_slice(), body].concat();
    chunk.resize(chunk.len() + body.len() % 2, 0);
    chunk
}

fn riff(chunks: &[&[u8]]) -> Vec<u8> {
    let body = chunks.concat();
    [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WAVE", &body].concat()
}

/// A `fmt` chunk of one channel at 8 kHz.
fn format(tag: u16, block: u16) -> Vec<u8> {
    let mut body = [tag.to_le_bytes(), 1u16.to_le_bytes()].concat();
    body.extend(8_000u32.to_le_bytes());
    body.extend((8_000 * u32::from(block)).to_le_bytes());
    body.extend(block.to_le_bytes());
    body.extend((8 * block.min(4)).to_le_bytes());
    chunk(b"fmt ", &body)
}

/// An ID3v2 tag around this body.
fn tag(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let size = [(len >> 21) as u8, (len >> 14 & 127) as u8, (len >> 7 & 127) as u8, (len & 127) as u8];
    [b"ID3", [version, 0, flags].as_slice(), &size, body].concat()
}

/// The untagged file after a tag.
fn tagged(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [tag(version, flags, body), UNTAGGED_MP3.into()].concat()
}

fn mp4_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), body].concat()
}

fn mp4(boxes: &[&[u8]]) -> Vec<u8> {
    [mp4_box(b"ftyp", b"M4A \0\0\0\0"), boxes.concat()].concat()
}

/// The metadata blocks of a FLAC file, and all bytes after them.
fn flac_parts(file: &[u8]) -> (Vec<(u8, Vec<u8>)>, Vec<u8>) {
    let (mut at, mut blocks) = (4, Vec::new());
    loop {
        let head = file[at];
        let len = u32::from_be_bytes([0, file[at + 1], file[at + 2], file[at + 3]]) as usize;
        blocks.push((head & 0x7F, file[at + 4..at + 4 + len].to_vec()));
        at += 4 + len;
        if head & 0x80 != 0 {
            return (blocks, file[at..].to_vec());
        }
    }
}

/// The demo's FLAC file with these blocks after its `STREAMINFO`.
fn flac(after: &[(u8, &[u8])]) -> Vec<u8> {
    let (blocks, frames) = flac_parts(&demo("1007-cancel.flac"));
    let mut file = b"fLaC".to_vec();
    let all = [&[(0, blocks[0].1.as_slice())], after].concat();
    for (n, (kind, body)) in all.iter().enumerate() {
        let last = if n + 1 == all.len() { 0x80 } else { 0 };
        file.extend((u32::from(kind | last) << 24 | body.len() as u32).to_be_bytes());
        file.extend(*body);
    }
    [file, frames].concat()
}

/// Good files of every layout, each with its name.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    let pcm = [format(wav::PCM, 2), chunk(b"data", &[7; 800])].concat();
    let text_of_6 = b"TIT2\0\0\0\x06\0\0\0Words".as_slice();
    let text_of_256 = [b"TXXX\0\0\x02\0\0\0".as_slice(), &[b'x'; 256]].concat();
    let m4a = demo("1008-order.m4a");
    let movie = mp4_box(b"moov", b"m");
    let fragment = [mp4_box(b"moof", b"m"), mp4_box(b"mdat", b"xyz")].concat();
    vec![
        ("PCM", demo("1001-greeting.wav")),
        ("µ-law", demo("1002-red-light.wav")),
        ("A-law", demo("1004-spelling.wav")),
        ("stereo", demo("1010-goodbye-stereo.wav")),
        ("odd data and its padding byte", riff(&[&format(wav::PCM, 1), &chunk(b"data", &[0x55; 801])])),
        ("one sample", riff(&[&format(wav::PCM, 2), &chunk(b"data", &[1, 2])])),
        ("chunks after the data", riff(&[&chunk(b"JUNK", b"x"), &pcm, &chunk(b"LIST", b"INFO"), &chunk(b"id3 ", b"")])),
        ("JUNK after the data", riff(&[&pcm, &chunk(b"JUNK", b"abc"), &chunk(b"JUNK", b"")])),
        ("MP3 with a tag", demo("1005-refund.mp3")),
        ("MP3 with a tag and padding", TAGGED_MP3.into()),
        ("MP3", UNTAGGED_MP3.into()),
        ("VBR MP3", VBR_MP3.into()),
        ("ID3v2.2", tagged(2, 0, b"TT2\0\0\x03\0hiTP1\0\0\x02\0x\0\0\0")),
        ("ID3v2.2 without padding", tagged(2, 0, b"TT2\0\0\x01\0")),
        ("ID3v2.3", tagged(3, 0, text_of_6)),
        ("experimental ID3v2.3", tagged(3, 0x20, &[text_of_6, &[0; 5]].concat())),
        ("ID3v2.4 with a size of two bytes", tagged(4, 0, &text_of_256)),
        ("a tag of padding", tagged(3, 0, &[0; 40])),
        ("an empty tag", tagged(4, 0, b"")),
        ("ID3v1", [UNTAGGED_MP3, b"TAG", &[b' '; 125]].concat()),
        ("one frame", UNTAGGED_MP3[..FRAME].into()),
        ("one frame and an APE tag", [&UNTAGGED_MP3[..FRAME], b"APETAGEX", &[0; 24]].concat()),
        ("FLAC", demo("1007-cancel.flac")),
        ("nothing but STREAMINFO", flac(&[])),
        ("an empty PADDING", flac(&[(1, b"")])),
        ("PADDING, tags, PADDING", flac(&[(1, &[0; 9]), (4, &[0; 8]), (1, &[0; 3]), (1, b"")])),
        ("a block of an unknown kind", flac(&[(100, b"abc")])),
        ("M4A", m4a.clone()),
        ("free boxes at the end", [m4a, mp4_box(b"free", b""), mp4_box(b"free", b"x")].concat()),
        ("a box of 64 bits", mp4(&[&movie, b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x13abc"])),
        ("fragments without an index", mp4(&[&movie, &fragment, &fragment])),
    ]
}

/// A probe without the size, which padding changes.
fn heard(file: &[u8]) -> Probe {
    Probe { bytes: 0, ..probe_bytes(file) }
}

#[test]
fn a_padded_file_has_exactly_the_size_asked_for() {
    for (name, file) in good() {
        let Some(plan) = plan_of(&file) else { panic!("no plan for {name}") };
        let sizes = plan.takes();
        assert_eq!(sizes.most(), 65_536, "{name}");
        let before = stripped(&file);
        for extra in (sizes.least()..sizes.least() + 40).step_by(2).chain([254, 256, 258, 4_096, 65_534, 65_536]) {
            let padded = padded(&file, extra);
            assert_eq!(padded.len(), file.len() + extra as usize, "{name} and {extra}");
            assert_eq!(heard(&padded), heard(&file), "{name} and {extra}");
            assert!(stripped(&padded) == before, "{name} and {extra}: other content");
        }
        for extra in [0, 1, 2, 6, 7, sizes.least() - 2, sizes.least() + 1, 65_537, 65_538, u32::MAX] {
            assert_eq!(plan.apply(extra), None, "{name} and {extra}");
        }
    }
}

#[test]
fn an_mp3_file_without_a_tag_has_room_for_one_from_30_bytes_on() {
    for (name, file) in good() {
        let is_untagged = file[0] == 0xFF;
        assert_eq!(plan_of(&file).unwrap().takes().least(), if is_untagged { 30 } else { 8 }, "{name}");
    }
    let padded = padded(UNTAGGED_MP3, 30);
    assert_eq!(padded[..30], *b"ID3\x03\0\0\0\0\0\x14PRIV\0\0\0\x0a\0\0wavebatch\0");
    assert_eq!(padded[30..], *UNTAGGED_MP3);
}

#[test]
fn the_samples_are_the_same() {
    let (mut seen, mut samples) = (0, 0);
    for (name, file) in good() {
        let has_decoder = file.starts_with(b"RIFF") || file.starts_with(b"ID3") || file[0] == 0xFF;
        // The decoder needs more than one frame to recognize MP3.
        if !has_decoder || name.starts_with("one frame") {
            continue;
        }
        let before = decode(file.clone());
        let least = plan_of(&file).unwrap().takes().least();
        for extra in [least, least + 2, 300, 65_536] {
            assert!(decode(padded(&file, extra)) == before, "{name} and {extra}");
        }
        (seen, samples) = (seen + 1, samples + before.1.len());
    }
    assert!(seen > 15 && samples > 100_000, "{seen} files, {samples} samples");
}

#[test]
fn what_is_no_padding_stays_byte_for_byte() {
    for (name, file) in good() {
        let padded = padded(&file, 300);
        match &file[..4] {
            b"RIFF" => {
                assert_eq!(padded[4..8], (padded.len() as u32 - 8).to_le_bytes(), "{name}");
                assert!(padded[8..file.len()] == file[8..], "{name}");
                assert_eq!(padded[file.len()..][..8], *b"JUNK\x24\x01\0\0", "{name}");
            }
            b"fLaC" => {
                let ((mut blocks, frames), (padded, padded_frames)) = (flac_parts(&file), flac_parts(&padded));
                blocks.push((1, vec![0; 296]));
                assert!(blocks == padded && frames == padded_frames, "{name}");
            }
            _ if file[4..8] == *b"ftyp" => {
                assert!(padded[..file.len()] == file, "{name}");
                assert_eq!(padded[file.len()..][..8], *b"\0\0\x01\x2cfree", "{name}");
            }
            b"ID3\x02" | b"ID3\x03" | b"ID3\x04" => {
                let end = 10 + file[6..10].iter().fold(0, |size, byte| size << 7 | usize::from(*byte));
                assert!(padded[..6] == file[..6] && padded[10..end] == file[10..end], "{name}");
                assert!(padded[end..end + 300].iter().all(|byte| *byte == 0), "{name}");
                assert!(padded[end + 300..] == file[end..], "{name}");
            }
            _ => assert!(padded[300..] == file, "{name}"),
        }
    }
}

#[test]
fn a_file_can_be_padded_again() {
    for (name, file) in good() {
        let once = padded(&file, 40);
        let twice = padded(&once, 1_000);
        assert_eq!((twice.len(), heard(&twice)), (file.len() + 1_040, heard(&file)), "{name}");
        assert!(stripped(&twice) == stripped(&file), "{name}");
    }
}

/// Asserts that none of these files has a plan.
fn none(of: &str, files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
    for (name, file) in files {
        assert_eq!(plan_of(&file), None, "{of}: {name}");
        assert_eq!(strip(&mut Cursor::new(&file)), None, "{of}: {name}");
    }
}

#[test]
fn a_wav_file_whose_sizes_lie_has_no_plan() {
    let pcm = format(wav::PCM, 2);
    let data = chunk(b"data", &[7; 800]);
    let file = riff(&[&pcm, &data]);
    assert!(plan_of(&file).is_some());
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let end = file.len();
    for size in [0, 1, 36, 834, 835, 837, 838, 844, u32::MAX, i32::MAX as u32] {
        assert_eq!(plan_of(&with(4, &size.to_le_bytes())), None, "a RIFF size of {size}");
    }
    for size in [0, 1, 798, 799, 801, 802, 808, u32::MAX, u32::MAX - 1, i32::MAX as u32] {
        assert_eq!(plan_of(&with(end - 804, &size.to_le_bytes())), None, "a data size of {size}");
    }
    for cut in 0..end {
        assert_eq!(plan_of(&file[..cut]), None, "cut to {cut}");
    }
    let odd = riff(&[&format(wav::MULAW, 1), &chunk(b"data", &[7; 801])]);
    let unpadded = |riff_size: u32| {
        let mut file = odd[..odd.len() - 1].to_vec();
        file[4..8].copy_from_slice(&riff_size.to_le_bytes());
        file
    };
    let late = |size: u32| riff(&[&pcm, &data, b"LIST", &size.to_le_bytes(), b"INFO"]);
    let mut extensible = format(0xFFFE, 2);
    extensible.extend([0; 24]);
    extensible[4] = 40;
    none(
        "WAV",
        [
            ("RF64", with(0, b"RF64")),
            ("BW64", with(0, b"BW64")),
            ("big-endian", with(0, b"RIFX")),
            ("another form", with(8, b"AVI ")),
            ("a byte after the end", [file.clone(), vec![0]].concat()),
            ("two bytes after the end", [file.clone(), vec![0; 2]].concat()),
            ("a chunk after the end", [file.clone(), chunk(b"JUNK", b"")].concat()),
            ("a few bytes within, after the last chunk", riff(&[&pcm, &data, b"abcd"])),
            ("odd data without its padding byte, counted", unpadded(odd.len() as u32 - 8)),
            ("odd data without its padding byte", unpadded(odd.len() as u32 - 9)),
            ("odd data, its padding byte not counted", {
                let mut file = odd.clone();
                file[4..8].copy_from_slice(&(odd.len() as u32 - 9).to_le_bytes());
                file
            }),
            ("a chunk after the data that runs out", late(5)),
            ("a chunk after the data that never ends", late(u32::MAX)),
            ("no samples", riff(&[&pcm, &chunk(b"data", b"")])),
            ("two chunks of samples", riff(&[&pcm, &data, &data])),
            ("two formats", riff(&[&pcm, &pcm, &data])),
            ("the format after the samples", riff(&[&data, &pcm])),
            ("no format", riff(&[&data])),
            ("no samples chunk", riff(&[&pcm])),
            ("a format that is too short", riff(&[&chunk(b"fmt ", &[1, 0, 1, 0]), &data])),
            ("blocks of no length", riff(&[&format(wav::PCM, 0), &data])),
            ("half a sample", riff(&[&pcm, &chunk(b"data", &[7; 801])])),
            ("half a block", riff(&[&format(0x11, 256), &chunk(b"data", &[7; 800])])),
            ("GSM whose padding byte begins a block", riff(&[&format(0x31, 65), &chunk(b"data", &[7; 65])])),
            ("MP3 in WAV", riff(&[&format(0x55, 1), &data])),
            ("AC-3 in WAV", riff(&[&format(0x2000, 1), &data])),
            ("an unknown extensible format", riff(&[&extensible, &data])),
        ],
    );
    extensible[8 + 24] = 1;
    assert!(plan_of(&riff(&[&extensible, &data])).is_some(), "PCM, extensible");
    assert!(plan_of(&riff(&[&format(0x11, 256), &chunk(b"data", &[7; 512])])).is_some(), "ADPCM");
}

#[test]
fn an_mp3_file_whose_tag_lies_has_no_plan() {
    let text = b"TIT2\0\0\0\x06\0\0\0Words".as_slice();
    let id3v1 = [b"TAG".as_slice(), &[b' '; 125]].concat();
    let footer = b"3DI\x04\0\x10\0\0\0\0".as_slice();
    let sized = |size: [u8; 4]| {
        let mut file = tagged(3, 0, text);
        file[6..10].copy_from_slice(&size);
        file
    };
    let revised = |at: usize, byte: u8| {
        let mut file = tagged(3, 0, text);
        file[at] = byte;
        file
    };
    for flags in [0x80, 0x40, 0x10, 0x08, 0x01, 0xE0] {
        for version in [2, 3, 4] {
            assert_eq!(plan_of(&tagged(version, flags, &[0; 40])), None, "ID3v2.{version} with {flags:#x}");
        }
    }
    assert_eq!(plan_of(&tagged(2, 0x20, &[0; 40])), None);
    none(
        "MP3",
        [
            ("a size that is too short", sized([0, 0, 0, 12])),
            ("a size that is too long", sized([0, 0, 1, 0])),
            ("a size past the end of the file", sized([0, 0x7F, 0x7F, 0x7F])),
            ("a size that is not sync-safe", sized([0, 0, 0, 0x90])),
            ("the largest size", sized([0xFF; 4])),
            ("version 1", revised(3, 1)),
            ("version 5", revised(3, 5)),
            ("a later revision", revised(4, 1)),
            ("a frame past the tag's end", revised(17, 200)),
            ("no frame's name", revised(10, b'x')),
            ("a frame's header cut", tagged(3, 0, &[text, b"TPE1\0\0"].concat())),
            ("a frame's header cut, of version 2", tagged(2, 0, b"TT2\0\0\x01\0TP1\0\0")),
            (
                "a size of eight bits in version 4",
                tagged(4, 0, &[b"TIT2\0\0\0\xC8\0\0".as_slice(), &[b'x'; 200]].concat()),
            ),
            ("an index of positions", tagged(4, 0, b"ASPI\0\0\0\x02\0\0ab")),
            ("a chapter with positions", tagged(3, 0, &[text, b"CHAP\0\0\0\x02\0\0ab"].concat())),
            ("the position of another tag", tagged(4, 0, &[b"SEEK\0\0\0\x04\0\0\0\0\0\0", text].concat())),
            ("padding that is none", tagged(3, 0, &[text, b"\0\0\0x\0"].concat())),
            ("two tags", [tag(3, 0, text), tagged(4, 0, text)].concat()),
            ("zeros after the tag", [tag(3, 0, text), vec![0; 8], UNTAGGED_MP3.into()].concat()),
            ("a tag and nothing more", tag(3, 0, text)),
            ("a tag at the end", [UNTAGGED_MP3, footer].concat()),
            ("a tag at the end, before ID3v1", [UNTAGGED_MP3, footer, &id3v1].concat()),
            ("tags at both ends", [tagged(4, 0, text), footer.into()].concat()),
            ("FLAC after the tag", [tag(3, 0, text), demo("1007-cancel.flac")].concat()),
            ("WAV after the tag", [tag(3, 0, text), demo("1001-greeting.wav")].concat()),
            ("ADTS", b"\xFF\xF1\x60\x40\x02\x1F\xFC".repeat(40)),
            ("layer II", b"\xFF\xFD\x80\x04".repeat(400)),
            ("a free bit rate", b"\xFF\xFB\x00\x04".repeat(400)),
            ("one header and other bytes", [UNTAGGED_MP3[..FRAME].to_vec(), vec![0x55; 600]].concat()),
            ("frames of two rates", [&UNTAGGED_MP3[..2 * FRAME], VBR_MP3].concat()),
            ("less than a frame", UNTAGGED_MP3[..FRAME - 1].into()),
            ("the end of a frame first", UNTAGGED_MP3[10..].into()),
            ("a header alone", UNTAGGED_MP3[..4].into()),
            ("telephony silence", vec![0xFF; 4_000]),
        ],
    );
}

#[test]
fn a_flac_file_whose_blocks_lie_has_no_plan() {
    let file = flac(&[(4, &[0; 8]), (1, &[0; 16])]);
    let frames = 4 + 38 + 12 + 20;
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        file
    };
    assert!(plan_of(&file).is_some());
    for cut in 0..frames + 4 {
        assert_eq!(plan_of(&file[..cut]), None, "cut to {cut}");
    }
    none(
        "FLAC",
        [
            ("a tag before it", [tag(4, 0, &[0; 10]), file.clone()].concat()),
            ("no STREAMINFO first", with(4, 4)),
            ("a STREAMINFO of another length", with(7, 33)),
            ("two STREAMINFO", flac(&[(0, &[0; 34])])),
            ("the last-block flag too early", with(42, 0x84)),
            ("no last-block flag", with(54, 1)),
            ("a block that is too long", with(45, 9)),
            ("a block past the end", with(43, 0xFF)),
            ("a forbidden block", flac(&[(127, b"")])),
            ("no frame", file[..frames].into()),
            ("a frame without sync", with(frames, 0xFE)),
            ("reserved bits of the sync", with(frames + 1, 0xFA)),
            ("a reserved block size", with(frames + 2, 0x05)),
            ("a forbidden rate", with(frames + 2, 0xCF)),
            ("too many channels", with(frames + 3, 0xB8)),
            ("a reserved sample size", with(frames + 3, 0x06)),
            ("a reserved bit", with(frames + 3, 0x09)),
        ],
    );
}

#[test]
fn an_mp4_file_that_counts_from_its_end_has_no_plan() {
    let movie = mp4_box(b"moov", b"m");
    let file = mp4(&[&movie, &mp4_box(b"mdat", b"abcdef")]);
    assert!(plan_of(&file).is_some());
    for size in [0, 1, 2, 7, 8, 13, 15, u32::MAX] {
        let mut file = file.clone();
        let at = file.len() - 14;
        file[at..at + 4].copy_from_slice(&size.to_be_bytes());
        assert_eq!(plan_of(&file), None, "a last box of {size}");
    }
    for cut in (0..file.len()).filter(|cut| *cut != file.len() - 14) {
        assert_eq!(plan_of(&file[..cut]), None, "cut to {cut}");
    }
    let wide = |size: u64| mp4(&[&movie, b"\0\0\0\x01mdat", &size.to_be_bytes(), b"abc"]);
    let (mdat, moof) = (mp4_box(b"mdat", b"abc"), mp4_box(b"moof", b"m"));
    let index = |kind| mp4(&[&movie, &mp4_box(kind, b"x"), &moof, &mdat]);
    none(
        "MP4",
        [
            ("a byte after the end", [file.clone(), vec![0]].concat()),
            ("zeros after the end", [file.clone(), vec![0; 8]].concat()),
            ("ID3v1 after the end", [file.clone(), b"TAG".to_vec(), vec![0; 125]].concat()),
            ("no movie", mp4(&[&mdat])),
            ("two movies", mp4(&[&movie, &mdat, &movie])),
            ("the type is not first", [movie.clone(), file.clone()].concat()),
            ("a box of 64 bits that is too short", wide(15)),
            ("a box of 64 bits that is too long", wide(20)),
            ("a box of 64 bits past all files", wide(u64::MAX)),
            ("an index of segments", index(b"sidx")),
            ("an index of subsegments", index(b"ssix")),
            ("a segment", index(b"styp")),
            ("an index at the end", mp4(&[&movie, &moof, &mdat, &mp4_box(b"mfra", b"\0\0\0\x10mfro\0\0\0\x18")])),
        ],
    );
}

#[test]
fn any_other_container_has_no_plan() {
    none(
        "other",
        [
            ("nothing", vec![]),
            ("a few bytes", b"RIFF".to_vec()),
            ("Vorbis", demo("1006-parcel.ogg")),
            ("Opus", demo("1009-transfer.opus")),
            ("WebM", [b"\x1A\x45\xDF\xA3".as_slice(), &[0; 400]].concat()),
            ("AMR", [b"#!AMR\n".as_slice(), &[0x3C; 400]].concat()),
            ("AIFF", [b"FORM\0\0\x01\x98AIFF".as_slice(), &[0; 400]].concat()),
            ("raw samples", vec![0; 4_000]),
            ("a web page", b"<!DOCTYPE html><html></html>".to_vec()),
        ],
    );
}

#[test]
fn a_patch_is_not_made_on_a_file_that_has_changed() {
    for (at, name) in [(5, "1001-greeting.wav"), (9, "1005-refund.mp3"), (92, "1007-cancel.flac")] {
        let mut file = demo(name);
        let patch = plan_of(&file).unwrap().apply(100).unwrap();
        file[at] ^= 1;
        assert_eq!(patch.apply(0, file.into()), None, "{name}");
    }
}

/// A sparse file of `len` bytes with a correct WAV header.
fn sparse(len: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let mut head = riff(&[&format(wav::MULAW, 1), &chunk(b"data", b"")]);
    let data = len - head.len() as u64;
    head[4..8].copy_from_slice(&(len as u32 - 8).to_le_bytes());
    head.splice(40..44, (data as u32).to_le_bytes());
    io::Write::write_all(&mut file, &head).unwrap();
    file.set_len(len).unwrap();
    file
}

#[test]
fn no_padding_takes_a_file_over_the_limit_in_either_reading() {
    let takes = |len| plan(&mut sparse(len)).map(|plan| (plan.takes().least(), plan.takes().most()));
    for limit in [250_000_000, MAX_SOURCE_BYTES] {
        assert_eq!(takes(limit - 100_000), Some((8, 65_536)));
        assert_eq!(takes(limit - 1_000), Some((8, 1_000)));
        assert_eq!(takes(limit - 8), Some((8, 8)));
        assert_eq!(takes(limit - 6), None);
        assert_eq!(takes(limit), None);
    }
    assert_eq!(takes(250_000_002), Some((8, 65_536)));
    assert_eq!(takes(MAX_SOURCE_BYTES + 2), None);
}

#[test]
fn a_tag_is_not_enlarged_without_end() {
    const MOST: usize = 256 * 1024;
    let takes = |padding| plan_of(&tagged(3, 0, &vec![0; padding])).map(|plan| plan.takes().most());
    assert_eq!(takes(MOST - 100_000), Some(65_536));
    assert_eq!(takes(MOST - 100), Some(100));
    assert_eq!((takes(MOST - 6), takes(MOST), takes(MOST + 1)), (None, None, None));
}

/// Counts the reads and the bytes read.
#[derive(Debug)]
struct Counted<R> {
    inner: R,
    reads: u32,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.reads += 1;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn little_is_read_of_any_file() {
    let look = |inner: &mut dyn ReadSeek| {
        let mut counted = Counted { inner, reads: 0, bytes: 0 };
        let found = plan(&mut counted).is_some();
        (found, counted.reads, counted.bytes)
    };
    let (found, reads, bytes) = look(&mut sparse(200_000_000));
    assert!(found && reads < 10 && bytes < 200, "{reads} reads, {bytes} bytes");

    let chunks = chunk(b"JUNK", b"").repeat(100_000);
    let frames = b"TIT2\0\0\0\0\0\0".repeat(25_000);
    let boxes = mp4_box(b"free", b"").repeat(100_000);
    let blocks = [b"fLaC\0\0\0\x22".as_slice(), &[0; 34], &b"\x01\0\0\0".repeat(100_000)].concat();
    for file in [
        riff(&[&format(wav::PCM, 2), &chunk(b"data", &[7; 800]), &chunks]),
        tagged(3, 0, &frames),
        tagged(3, 0, &vec![0; 250_000]),
        mp4(&[&mp4_box(b"moov", b"m"), &boxes]),
        blocks,
    ] {
        let (_, reads, bytes) = look(&mut Cursor::new(file));
        assert!(reads < 2_500 && bytes < 300_000, "{reads} reads, {bytes} bytes");
    }
}

trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Changes, removes and inserts bytes: near the start, where the headers are, and near the end.
    #[test]
    fn a_damaged_file_is_padded_right_or_not_at_all(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..5, prop::collection::vec(odd(), 0..5)), 0..4),
        at_end in any::<bool>(),
    ) {
        static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
            let mut files: Vec<_> = good().into_iter().map(|(_, file)| file).collect();
            // The end of a frame is not checked.
            files.iter_mut().filter(|file| file.starts_with(b"fLaC")).for_each(|file| file.truncate(1_000));
            files.into_iter().filter(|file| file.len() < 4_000 && plan_of(file).is_some()).collect()
        });
        let mut file = which.get(&SMALL).clone();
        for (at, removes, inserts) in edits {
            let near = if at_end { file.len() } else { file.len().min(80) };
            let at = at.index(near + 1);
            file.splice(at..(at + removes).min(file.len()), inserts);
        }
        fuzzed::padding(&file);
    }

    #[test]
    fn random_bytes_are_padded_right_or_not_at_all(
        magic in prop::sample::select(vec![&b""[..], b"RIFF", b"fLaC", b"\0\0\0\x08ftyp", b"ID3\x03\0\0", b"\xFF\xFB"]),
        bytes in prop::collection::vec(odd(), 0..200),
    ) {
        fuzzed::padding(&[magic, &bytes].concat());
    }
}

/// A byte; values that are common in lengths and flags occur more often.
fn odd() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 4, 8, 0x7F, 0x80, 0xFF])]
}
