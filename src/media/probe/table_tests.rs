//! Containers and their oddities, each with the true length, or with how much of it can be known.

use std::{
    io::{Cursor, Read, Seek},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    builders::{
        Mp4, Ogg, aiff, amr, ape, au, caf, flac, format, id3v2, mp3, rf64, riff, sized, vbri, w64, wav_of, webm, xing,
    },
    *,
};
use crate::domain::length::Length::{self, Estimated, Exact, Unknown};

type Row = (&'static str, Vec<u8>, Length);

/// The mark of a recording whose header says another length than the file has: the report notes it.
const DIFFERS: &str = " [header differs]";

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn wav_rows() -> Vec<Row> {
    let (ten, all) = (wav_of(10), 160_036);
    let list = b"LIST\x04\0\0\0INFO";
    let ima = format(0x11, 8_000, 4_055, 256, 4, Some(505));
    let wrong_ima = format(0x11, 8_000, 9_000, 256, 4, Some(999));
    vec![
        ("WAV", ten.clone(), Exact(10_000)),
        ("WAV: no size at all", sized(ten.clone(), 0, 0), Exact(10_000)),
        ("WAV: sizes of ones", sized(ten.clone(), u32::MAX, u32::MAX), Exact(10_000)),
        ("WAV: sizes of a pipe", sized(ten.clone(), 0x7FFF_F024, 0x7FFF_F000), Exact(10_000)),
        ("WAV: no size of the samples, and the size of the file is right", sized(ten.clone(), all, 0), Exact(10_000)),
        ("WAV: the size of the file is wrong", sized(ten.clone(), 7, 160_000), Exact(10_000)),
        (
            "WAV: 0.03 s declared before 10 s of samples [header differs]",
            sized(ten.clone(), 516, 480),
            Estimated(10_000),
        ),
        (
            "WAV: 0.03 s declared, and the size of the file is right [header differs]",
            sized(ten.clone(), all, 480),
            Estimated(10_000),
        ),
        ("WAV: two files, one after the other [header differs]", join(&[&ten, &ten]), Estimated(20_002)),
        ("WAV: a sample is missing", ten[..ten.len() - 2].to_vec(), Exact(9_999)),
        ("WAV: cut short [header differs]", ten[..80_044].to_vec(), Estimated(5_000)),
        ("WAV: chunks after the samples", join(&[&sized(ten.clone(), all + 12, 160_000), list]), Exact(10_000)),
        ("WAV: chunks that the header does not count", join(&[&ten, list]), Exact(10_000)),
        ("WAV: zeros at the end", join(&[&ten, &[0; 100_000]]), Exact(10_000)),
        ("WAV: a tag at the end", join(&[&ten, b"TAG", &[b' '; 125]]), Exact(10_000)),
        ("WAV: no samples", wav_of(0), Exact(0)),
        (
            "WAV: µ-law",
            riff(&[(b"fmt ", &format(7, 8_000, 8_000, 1, 8, Some(0))), (b"data", &[1; 80_000])]),
            Exact(10_000),
        ),
        (
            "WAV: blocks that contradict the bits",
            riff(&[(b"fmt ", &format(1, 8_000, 16_000, 4, 16, None)), (b"data", &[1; 80_000])]),
            Estimated(2_500),
        ),
        (
            "WAV: GSM",
            riff(&[(b"fmt ", &format(0x31, 8_000, 1_625, 65, 0, Some(320))), (b"data", &[1; 16_250])]),
            Exact(10_000),
        ),
        (
            "WAV: GSM without samples of a block",
            riff(&[(b"fmt ", &format(0x31, 8_000, 1_625, 65, 0, None)), (b"data", &[1; 16_250])]),
            Estimated(10_000),
        ),
        ("WAV: IMA ADPCM", riff(&[(b"fmt ", &ima), (b"data", &[1; 25_600])]), Exact(6_312)),
        (
            "WAV: IMA ADPCM and its number of samples",
            riff(&[(b"fmt ", &ima), (b"fact", &50_400_u32.to_le_bytes()), (b"data", &[1; 25_600])]),
            Exact(6_300),
        ),
        (
            "WAV: IMA ADPCM of impossible blocks",
            riff(&[(b"fmt ", &wrong_ima), (b"data", &[1; 25_600])]),
            Estimated(2_844),
        ),
        (
            "WAV: MS ADPCM",
            riff(&[(b"fmt ", &format(2, 8_000, 4_096, 256, 4, Some(500))), (b"data", &[1; 25_600])]),
            Exact(6_250),
        ),
        (
            "WAV: G.726",
            riff(&[(b"fmt ", &format(0x45, 8_000, 4_000, 1, 4, None)), (b"data", &[1; 40_000])]),
            Exact(10_000),
        ),
        (
            "WAV: a codec that nobody knows",
            riff(&[(b"fmt ", &format(0x1234, 8_000, 2_000, 1, 0, None)), (b"data", &[1; 20_000])]),
            Estimated(10_000),
        ),
        (
            "WAV: MP3 inside",
            riff(&[(b"fmt ", &format(0x55, 24_000, 4_000, 1, 0, None)), (b"data", &mp3(400, false))]),
            Exact(9_600),
        ),
        ("RF64", rf64(b"RF64", 80_000, 160_000), Exact(10_000)),
        ("BW64", rf64(b"BW64", 80_000, 160_000), Exact(10_000)),
        ("RF64: no size", rf64(b"RF64", 80_000, u64::MAX), Exact(10_000)),
        ("RF64: cut short [header differs]", rf64(b"RF64", 80_000, 320_000), Estimated(10_000)),
        ("W64", w64(80_000, None), Exact(10_000)),
        ("W64: no size", w64(80_000, Some(i64::MAX as u64)), Exact(10_000)),
        ("W64: 1 s declared before 10 s of samples [header differs]", w64(80_000, Some(16_024)), Estimated(10_000)),
        ("W64: cut short [header differs]", w64(80_000, Some(999_999)), Estimated(10_000)),
    ]
}

fn sample_rows() -> Vec<Row> {
    vec![
        ("AIFF", aiff(None, 80_000, 160_008, 160_000), Exact(10_000)),
        ("AIFF: no size", aiff(None, 0, 0, 160_000), Exact(10_000)),
        ("AIFF: a sample is missing", aiff(None, 80_000, 160_008, 159_998), Exact(10_000)),
        ("AIFF: cut short [header differs]", aiff(None, 80_000, 160_008, 80_000), Estimated(5_000)),
        (
            "AIFF: 1 s declared before 10 s of samples [header differs]",
            aiff(None, 8_000, 160_008, 160_000),
            Estimated(10_000),
        ),
        ("AIFF: 1 s declared in both places [header differs]", aiff(None, 8_000, 16_008, 160_000), Estimated(10_000)),
        (
            "AIFF: chunks after the samples",
            join(&[&aiff(None, 80_000, 160_008, 160_000), b"NAME\0\0\0\x04name"]),
            Exact(10_000),
        ),
        ("AIFF-C: µ-law", aiff(Some(b"ulaw"), 80_000, 80_008, 80_000), Exact(10_000)),
        ("AIFF-C: IMA ADPCM", aiff(Some(b"ima4"), 1_250, 42_508, 42_500), Exact(10_000)),
        ("AIFF-C: a codec that nobody knows", aiff(Some(b"wxyz"), 80_000, 1_008, 1_000), Estimated(10_000)),
        ("AU", au(3, 160_000, 160_000), Exact(10_000)),
        ("AU: no size", au(3, u32::MAX, 160_000), Exact(10_000)),
        ("AU: µ-law", au(1, 80_000, 80_000), Exact(10_000)),
        ("AU: cut short [header differs]", au(3, 160_000, 80_000), Estimated(5_000)),
        ("AU: 1 s declared before 10 s of samples [header differs]", au(3, 16_000, 160_000), Estimated(10_000)),
        ("AU: a codec that nobody knows", au(99, 1_000, 1_000), Unknown),
        ("CAF", caf(160_004, 160_000), Exact(10_000)),
        ("CAF: no size", caf(-1, 160_000), Exact(10_000)),
        ("CAF: 1 s declared before 10 s of samples [header differs]", caf(16_004, 160_000), Estimated(10_000)),
        (
            "CAF: chunks after the samples",
            join(&[&caf(160_004, 160_000), b"free\0\0\0\0\0\0\x01\0", &[0; 256]]),
            Exact(10_000),
        ),
        ("CAF: cut short [header differs]", caf(160_004, 80_000), Estimated(5_000)),
        ("AMR", amr(b"#!AMR\n", 500, 7, 32), Exact(10_000)),
        ("AMR: wide band", amr(b"#!AMR-WB\n", 500, 2, 33), Exact(10_000)),
        ("AMR: other bytes in the middle", join(&[&amr(b"#!AMR\n", 500, 7, 32), &[0xFF; 16_000]]), Estimated(20_000)),
        ("AMR: cut within a frame", amr(b"#!AMR\n", 500, 7, 32)[..16_000].to_vec(), Exact(9_980)),
    ]
}

fn frame_rows() -> Vec<Row> {
    let (plain, varied) = (mp3(400, false), mp3(400, true));
    let bytes = |audio: &[u8]| u32::try_from(audio.len() + xing(0, None).len()).ok();
    let whole = join(&[&xing(400, bytes(&varied)), &varied]);
    let v1 = join(&[b"TAG", &[b' '; 125]]);
    vec![
        ("MP3", whole.clone(), Exact(9_600)),
        ("MP3: Fraunhofer's header", join(&[&vbri(400, bytes(&varied).unwrap_or(0)), &varied]), Exact(9_600)),
        ("MP3: a header that counts nothing", join(&[&xing(0, None), &varied]), Exact(9_600)),
        ("MP3: no header of the whole", plain.clone(), Exact(9_600)),
        ("MP3: rates that vary, and no header of the whole", varied.clone(), Exact(9_600)),
        ("MP3: a header without a number of bytes", join(&[&xing(400, None), &varied]), Exact(9_600)),
        ("MP3: a tag of megabytes", join(&[&id3v2(5 << 20), &whole]), Exact(9_600)),
        ("MP3: a tag of megabytes, and no header of the whole", join(&[&id3v2(5 << 20), &varied]), Exact(9_600)),
        ("MP3: tags at both ends", join(&[&id3v2(99), &id3v2(7), &plain, &ape(20_000), &v1]), Exact(9_600)),
        ("MP3: ID3v1 at the end", join(&[&whole, &v1]), Exact(9_600)),
        ("MP3: an APE tag at the end", join(&[&whole, &ape(50_000)]), Exact(9_600)),
        ("MP3: cut short [header differs]", whole[..whole.len() / 2].to_vec(), Estimated(4_776)),
        ("MP3: cut within a frame", plain[..plain.len() - 50].to_vec(), Exact(9_576)),
        (
            "MP3: two files, one after the other, of which the first counts [header differs]",
            join(&[&whole, &whole]),
            Estimated(19_224),
        ),
        ("MP3: two files without a header of the whole", join(&[&plain, &id3v2(3_000), &plain]), Exact(19_200)),
        ("MP3: other bytes in the middle", join(&[&plain, &[0; 9_000], &plain]), Estimated(19_200)),
        ("MP3: nothing after the tag", id3v2(1_000), Unknown),
        ("MP3: noise after the tag", join(&[&id3v2(10), &[0xAA; 200_000]]), Unknown),
        ("FLAC", flac(100, 80_000), Exact(10_000)),
        ("FLAC: no number of samples", flac(100, 0), Exact(10_000)),
        ("FLAC: a tag before it", join(&[&id3v2(3_000), &flac(100, 80_000)]), Exact(10_000)),
        ("FLAC: a tag before it, and no number of samples", join(&[&id3v2(3_000), &flac(100, 0)]), Exact(10_000)),
        ("FLAC: a tag after it", join(&[&flac(100, 80_000), &v1]), Exact(10_000)),
        ("FLAC: cut within a frame", flac(100, 80_000)[..1_000].to_vec(), Estimated(10_000)),
        ("FLAC: cut between frames [header differs]", flac(50, 80_000), Estimated(5_000)),
        ("FLAC: 1 s declared before 10 s of samples [header differs]", flac(100, 8_000), Estimated(10_000)),
        ("FLAC: no number of samples, and cut", flac(100, 0)[..1_000].to_vec(), Unknown),
    ]
}

fn ogg_rows() -> Vec<Row> {
    let ten = Ogg::opus(1, 500, 0, true);
    let hour = 3_600 * 48_000;
    vec![
        ("Opus", ten.clone(), Exact(9_993)),
        ("Opus: two streams", join(&[&ten, &Ogg::opus(2, 250, 0, true)]), Exact(14_986)),
        ("Opus: two streams of one number", join(&[&ten, &ten]), Exact(19_986)),
        ("Opus: begins an hour late", Ogg::opus(1, 500, hour, true), Exact(9_993)),
        (
            "Opus: two streams, both late",
            join(&[&Ogg::opus(1, 500, hour, true), &Ogg::opus(2, 50, hour, true)]),
            Exact(10_986),
        ),
        ("Opus: no end", Ogg::opus(1, 500, 0, false), Estimated(9_993)),
        ("Opus: two streams, the first without an end", join(&[&Ogg::opus(1, 500, 0, false), &ten]), Estimated(19_986)),
        ("Opus: one page", Ogg::opus(1, 10, 0, true), Exact(193)),
        ("Vorbis", Ogg::vorbis(1, 16, 0), Exact(10_240)),
        ("Vorbis: begins an hour late", Ogg::vorbis(1, 16, 3_600 * 8_000), Exact(10_240)),
        ("Vorbis: two streams", join(&[&Ogg::vorbis(1, 16, 0), &Ogg::vorbis(2, 16, 0)]), Exact(20_480)),
        ("Vorbis, then Opus", join(&[&Ogg::vorbis(1, 16, 0), &ten]), Exact(20_233)),
        ("Speex", Ogg::speex(200, 0), Exact(4_000)),
        ("Speex: begins an hour late", Ogg::speex(200, 3_600 * 8_000), Exact(4_000)),
        ("Ogg: the head of a stream, and nothing else", Ogg::opus(1, 0, 0, true), Unknown),
    ]
}

fn film_rows() -> Vec<Row> {
    let plain = |samples, declared| Mp4 { samples, declared, ..Mp4::default() };
    let edited = |edits: &[(u32, i32)]| Mp4 { edits: edits.to_vec(), ..plain(100, 102_400) }.file();
    let fragmented =
        |samples, fragments: &[u32], each| Mp4 { fragments: fragments.to_vec(), each, ..plain(samples, 8_000) }.file();
    let cut = |file: Vec<u8>, by| file[..file.len() - by].to_vec();
    vec![
        ("MP4", plain(100, 102_400).file(), Exact(12_800)),
        ("MP4: the index last", Mp4 { index_last: true, ..plain(100, 102_400) }.file(), Exact(12_800)),
        ("MP4: the table contradicts the header [header differs]", plain(100, 8_000).file(), Estimated(12_800)),
        ("MP4: an encoder's delay edited out", edited(&[(12_600, 1_600)]), Exact(12_600)),
        ("MP4: a pause before the audio", edited(&[(5_000, -1), (12_800, 0)]), Exact(12_800)),
        ("MP4: most of it edited out", edited(&[(2_000, 8_000)]), Estimated(2_000)),
        ("MP4: an edit list longer than the audio", edited(&[(99_000, 0)]), Exact(12_800)),
        ("MP4: an edit without a length", edited(&[(0, 1_600)]), Exact(12_600)),
        ("MP4: cut short", cut(plain(100, 102_400).file(), 100), Estimated(12_800)),
        ("MP4: fragments", fragmented(0, &[50, 50], false), Exact(12_800)),
        ("MP4: fragments that say each duration", fragmented(0, &[50, 50], true), Exact(12_800)),
        ("MP4: fragments after a beginning", fragmented(20, &[40, 40], false), Exact(12_800)),
        ("MP4: fragments, cut short", cut(fragmented(0, &[50, 50], false), 100), Estimated(12_800)),
        ("WebM", webm(500, Some(10_000.0), false, 0), Exact(10_000)),
        ("WebM: no duration", webm(500, None, false, 0), Exact(10_000)),
        ("WebM: neither duration nor sizes", webm(500, None, true, 0), Exact(10_000)),
        ("WebM: a duration, and no sizes", webm(500, Some(10_000.0), true, 0), Exact(10_000)),
        ("WebM: a wrong duration [header differs]", webm(500, Some(4_000.0), false, 0), Estimated(10_000)),
        ("WebM: begins an hour late", webm(500, Some(3_610_000.0), false, 3_600_000), Exact(10_000)),
        ("WebM: begins an hour late, and no duration", webm(500, None, true, 3_600_000), Exact(10_000)),
        ("WebM: cut short", cut(webm(500, Some(10_000.0), false, 0), 100), Estimated(10_000)),
        ("WebM: no duration, and cut within a block", cut(webm(500, None, true, 0), 5), Estimated(9_980)),
        ("WebM: a senseless duration", webm(500, Some(f64::NAN), false, 0), Exact(10_000)),
    ]
}

fn rows() -> Vec<Row> {
    [wav_rows(), sample_rows(), frame_rows(), ogg_rows(), film_rows()].concat()
}

#[test]
fn each_container_and_its_oddities_have_their_length() {
    let mut wrong = Vec::new();
    for (name, file, length) in rows() {
        let probe = probe_bytes(&file);
        // What a walk did not finish is extrapolated: to a hundredth.
        let is_near = |ours: u64, other: u64| ours.abs_diff(other) * 100 <= other;
        let is_right = match (probe.length, length) {
            (Estimated(ours), Estimated(other)) => is_near(ours, other),
            (ours, other) => ours == other,
        };
        if !is_right || probe.header_differs != name.ends_with(DIFFERS) {
            wrong.push(format!(
                "{name}: {:?} instead of {length:?}, header_differs {}",
                probe.length, probe.header_differs
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn two_ends_prove_no_other_length_than_the_whole() {
    for (name, file, _) in rows() {
        let whole = probe_bytes(&file);
        for (head, tail) in [(64 << 10, 16 << 10), (4_096, 512), (4_096, 0), (600, 0)] {
            let (head, tail) = (&file[..file.len().min(head)], &file[file.len() - file.len().min(tail)..]);
            let ends = probe_ends(head, tail, file.len() as u64);
            assert!(!ends.length.is_exact() || ends.length == whole.length, "{name}: {ends:?} is not {whole:?}");
        }
    }
}

/// A reader that counts.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).inspect(|read| self.1 += *read as u64)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_damaged_recording_neither_panics_nor_is_read_without_end() {
    let mut state = 7_u32;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below.max(1)
    };
    for (name, mut file, _) in rows() {
        // The start of each has all there is to damage.
        file.truncate(20_000);
        for round in 0..40 {
            let mut damaged = file.clone();
            for _ in 0..1 + round % 4 {
                let at = if round % 2 == 0 { random(damaged.len().min(200)) } else { random(damaged.len()) };
                damaged[at] = [0, 0xFF, 0x7F, 0x80, random(256) as u8][random(5)];
            }
            if round % 3 == 0 {
                damaged.truncate(random(damaged.len()));
            }
            let mut reader = Counted(Cursor::new(&damaged), 0);
            let probe = probe_reader(&mut reader).expect("memory can be read");
            assert!(probe.length.ms().is_none_or(|ms| ms / 1_000 <= damaged.len() as u64), "{name}: {probe:?}");
            assert!(reader.1 <= BUDGET + (1 << 20), "{name}: {} bytes were read", reader.1);
        }
    }
}

/// What ffmpeg makes of 13.7 s, with these arguments; through a pipe, it cannot go back to fill in sizes.
const BY_FFMPEG: [(&str, &str); 38] = [
    ("WAV", "a.wav"),
    ("WAV through a pipe", "-f wav -"),
    ("WAV: GSM", "-c:a libgsm_ms -ar 8000 a.wav"),
    ("WAV: IMA ADPCM", "-c:a adpcm_ima_wav a.wav"),
    ("WAV: MS ADPCM", "-c:a adpcm_ms a.wav"),
    ("WAV: G.722", "-c:a g722 a.wav"),
    ("WAV: G.726", "-c:a g726 -ar 8000 -b:a 32k a.wav"),
    ("WAV: MP3", "-c:a libmp3lame a.wav"),
    ("RF64", "-rf64 always a.wav"),
    ("W64 through a pipe", "-f w64 -"),
    ("AIFF through a pipe", "-f aiff -"),
    ("AU through a pipe", "-f au -"),
    ("CAF: AAC", "-c:a aac -f caf a.caf"),
    ("CAF through a pipe", "-f caf -"),
    ("MP3", "-b:a 64k a.mp3"),
    ("MP3 without a header", "-q:a 5 -write_xing 0 a.mp3"),
    ("MP2", "-b:a 64k a.mp2"),
    ("AAC without a container", "-c:a aac a.aac"),
    ("FLAC", "a.flac"),
    ("FLAC through a pipe", "-f flac -"),
    ("Opus", "-c:a libopus a.opus"),
    ("Opus, an hour late", "-c:a libopus -output_ts_offset 3600 a.opus"),
    ("Vorbis", "-c:a libvorbis a.ogg"),
    ("Vorbis, an hour late", "-c:a libvorbis -output_ts_offset 3600 a.ogg"),
    ("Speex", "-c:a libspeex a.spx"),
    ("FLAC in Ogg", "-c:a flac a.oga"),
    ("M4A", "-c:a aac a.m4a"),
    ("M4A, the index first", "-c:a aac -movflags faststart a.m4a"),
    ("M4A: ALAC", "-c:a alac a.m4a"),
    ("MP4: fragments", "-c:a aac -movflags frag_keyframe+empty_moov a.mp4"),
    (
        "MP4: many fragments",
        "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 500000 a.mp4",
    ),
    ("MP4: fragments for a stream", "-c:a aac -movflags +dash -frag_duration 1000000 a.mp4"),
    ("WebM", "-c:a libopus a.webm"),
    ("WebM through a pipe", "-c:a libopus -f webm -"),
    ("WebM, live", "-c:a libopus -f webm -live 1 -"),
    ("WebM: Vorbis", "-c:a libvorbis a.webm"),
    ("WebM, an hour late", "-c:a libopus -output_ts_offset 3600 a.webm"),
    ("Matroska through a pipe", "-c:a aac -f matroska -"),
];

/// Runs ffmpeg in `folder`, and returns what it makes; `None` if this build of it lacks a codec.
fn by_ffmpeg(folder: &Path, arguments: &str) -> Option<Vec<u8>> {
    let source = "-hide_banner -loglevel error -y -f lavfi -i sine=frequency=440:sample_rate=16000:duration=13.7";
    let mut command = Command::new("ffmpeg");
    command.args(source.split(' ')).args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null());
    let made = command.output().expect("it started before");
    let name = arguments.split(' ').next_back().expect("a name");
    match name {
        _ if !made.status.success() => None,
        "-" => Some(made.stdout),
        name => std::fs::read(folder.join(name)).ok(),
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the test's own words, which only a reader of its output sees")]
fn what_ffmpeg_writes_has_its_exact_length() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("skipped: there is no ffmpeg on this machine");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = Vec::new();
    for (name, arguments) in BY_FFMPEG {
        let Some(file) = by_ffmpeg(folder.path(), arguments) else {
            eprintln!("skipped {name}: this ffmpeg cannot write it");
            continue;
        };
        let probe = probe_bytes(&file);
        // Encoders add up to some frames.
        let is_right = probe.length.exact_ms().is_some_and(|ms| (13_650..=13_850).contains(&ms));
        if !is_right || probe.header_differs || probe.channels.is_some_and(|n| n != 1) {
            wrong.push(format!("{name}: {probe:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
