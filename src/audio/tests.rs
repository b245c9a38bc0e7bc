//! Joined files, decoded by a third-party decoder.

use std::io::{self, Cursor, Write};

use proptest::prelude::*;
use symphonia::core::{
    audio::GenericAudioBufferRef,
    codecs::audio::AudioDecoderOptions,
    formats::{TrackType, probe::Hint},
    io::MediaSourceStream,
};

use super::*;

const TAGGED: &[u8] = include_bytes!("testdata/24k-tagged.mp3");
const VBR: &[u8] = include_bytes!("testdata/24k-vbr.mp3");
const LOW: &[u8] = include_bytes!("testdata/8k.mp3");
const HIGH: &[u8] = include_bytes!("testdata/44k.mp3");

/// The rate and the samples of a file with a header of its own, decoded by Symphonia. Any error is a panic.
pub(crate) fn decode(file: Vec<u8>) -> (u32, Vec<i16>) {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let mut format =
        symphonia::default::get_probe().probe(&Hint::new(), stream, Default::default(), Default::default()).unwrap();
    let track = format.default_track(TrackType::Audio).unwrap();
    let params = track.codec_params.as_ref().unwrap().audio().unwrap().clone();
    let options = AudioDecoderOptions::default();
    let mut decoder = symphonia::default::get_codecs().make_audio_decoder(&params, &options).unwrap();
    let mut all = Vec::new();
    while let Some(packet) = format.next_packet().unwrap() {
        let decoded: GenericAudioBufferRef<'_> = decoder.decode(&packet).unwrap();
        let mut samples = vec![0i16; decoded.samples_interleaved()];
        decoded.copy_to_slice_interleaved(&mut samples);
        all.extend(samples);
    }
    (params.sample_rate.unwrap(), all)
}

/// A WAV file around G.711 codes.
fn wrap(tag: u16, rate: SampleRate, codes: &[u8]) -> Vec<u8> {
    let len = codes.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((38 + len + len % 2).to_le_bytes());
    file.extend(b"WAVEfmt \x12\0\0\0");
    file.extend([tag.to_le_bytes(), 1u16.to_le_bytes()].concat());
    file.extend([rate.hz().to_le_bytes(), rate.hz().to_le_bytes()].concat());
    file.extend([1, 0, 8, 0, 0, 0]);
    file.extend(b"data");
    file.extend(len.to_le_bytes());
    file.extend(codes);
    file.resize(file.len() + codes.len() % 2, 0);
    file
}

/// Samples that differ everywhere.
fn sound(len: usize, seed: i32) -> Vec<i16> {
    (0..len as i32).map(|i| ((i + seed).wrapping_mul(7_919) ^ (i >> 3)) as i16).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A part, or a pause in milliseconds.
enum Piece<'a> {
    Part(&'a [u8]),
    Pause(u32),
}
use Piece::{Part, Pause};

fn joiner<'a>(bought: AudioFormat, rate: SampleRate, pieces: &[Piece<'a>]) -> Joiner<&'a [u8]> {
    let mut joiner = Joiner::new(bought, rate);
    for piece in pieces {
        match piece {
            Part(part) => {
                joiner.part(*part).unwrap();
            }
            Pause(ms) => joiner.pause(*ms),
        }
    }
    joiner
}

/// Joins into this format, verifies the file, and returns it.
fn join(joiner: &Joiner<&[u8]>, format: AudioFormat, rate: SampleRate) -> (Joined, Vec<u8>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let joined = joiner.join(format, &mut file).unwrap();
    verify(file.path(), format, rate, joined.samples).unwrap();
    assert!(verify(file.path(), format, rate, joined.samples + 1).is_err());
    let bytes = std::fs::read(file.path()).unwrap();
    assert_eq!((joined.bytes, joined.rate, joined.samples), (bytes.len() as u64, rate, joiner.samples()));
    assert_eq!(joined.part_starts, joiner.part_starts());
    (joined, bytes)
}

#[test]
fn samples_are_joined_sample_for_sample() {
    let rate = SampleRate::Hz44100;
    let (a, b, c) = (sound(100_000, 1), sound(1, 2), sound(40_000, 3));
    let wavs = [&a, &b, &c].map(|part| wav::pcm16(1, 44_100, Some("said"), part));
    let pieces = [Pause(10), Part(&wavs[0]), Part(&wavs[1]), Pause(600), Part(&wavs[2]), Pause(1)];
    let joiner = joiner(AudioFormat::Wav, rate, &pieces);
    let expected = [&[0; 441], &a[..], &b, &[0; 26_460], &c, &[0; 44]].concat();

    let (joined, file) = join(&joiner, AudioFormat::Wav, rate);
    assert_eq!(joined.part_starts, [441, 100_441, 126_902]);
    assert_eq!(decode(file.clone()), (44_100, expected.clone()));
    assert_eq!(file[..44], wav::mono_header(44_100, expected.len() as u64).unwrap());
    assert_eq!(join(&joiner, AudioFormat::Pcm, rate).1, bytes(&expected));

    let raw = [&a, &b, &c].map(|part| bytes(part));
    let pieces = [Pause(10), Part(&raw[0]), Part(&raw[1]), Pause(600), Part(&raw[2]), Pause(1)];
    assert_eq!(join(&self::joiner(AudioFormat::Pcm, rate, &pieces), AudioFormat::Wav, rate).1, file);
}

#[test]
fn telephony_is_what_another_decoder_hears() {
    let rate = SampleRate::Hz8000;
    let (a, b) = (bytes(&(i16::MIN..=i16::MAX).collect::<Vec<_>>()), bytes(&sound(5_001, 9)));
    let joiner = joiner(AudioFormat::Pcm, rate, &[Part(&a), Pause(250), Part(&b)]);
    let linear = decode(join(&joiner, AudioFormat::Wav, rate).1).1;
    for (format, tag, encode, decode_one) in [
        (AudioFormat::Ulaw, wav::MULAW, g711::ulaw_encode as fn(i16) -> u8, g711::ulaw_decode as fn(u8) -> i16),
        (AudioFormat::Alaw, wav::ALAW, g711::alaw_encode, g711::alaw_decode),
    ] {
        let (_, codes) = join(&joiner, format, rate);
        assert_eq!(codes, linear.iter().map(|sample| encode(*sample)).collect::<Vec<_>>());
        let heard = decode(wrap(tag, rate, &codes)).1;
        assert_eq!(heard, codes.iter().map(|code| decode_one(*code)).collect::<Vec<_>>(), "{format}");

        // For parts bought as codes: the same codes, and the samples that they represent.
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let bought = self::joiner(format, rate, &[Part(&all), Pause(1), Part(&codes)]);
        let silence = [encode(0); 8];
        assert_eq!(join(&bought, format, rate).1, [&all, &silence[..], &codes].concat());
        let wav = decode(join(&bought, AudioFormat::Wav, rate).1).1;
        let expected = [decode(wrap(tag, rate, &all)).1, vec![0; 8], heard].concat();
        assert_eq!(wav, expected, "{format}");
    }
}

#[test]
fn many_outputs_are_what_each_would_be_alone() {
    let part = bytes(&sound(70_000, 4));
    let joiner = joiner(AudioFormat::Pcm, SampleRate::Hz16000, &[Part(&part), Pause(33), Part(&part)]);
    let formats = [AudioFormat::Wav, AudioFormat::Pcm, AudioFormat::Ulaw, AudioFormat::Alaw, AudioFormat::Wav];
    let mut outputs = formats.map(|format| (format, Vec::new()));
    let joined = joiner.join_many(&mut outputs).unwrap();
    for ((format, file), joined) in outputs.iter().zip(&joined) {
        let alone = join(&joiner, *format, SampleRate::Hz16000);
        assert_eq!((joined, file), (&alone.0, &alone.1));
    }
}

#[test]
fn mp3_is_joined_frame_by_frame() {
    let rate = SampleRate::Hz24000;
    let pieces = [Part(TAGGED), Pause(600), Part(VBR), Part(TAGGED), Pause(7), Pause(7), Pause(7), Part(VBR)];
    let joiner = joiner(AudioFormat::Mp3, rate, &pieces);
    let (joined, file) = join(&joiner, AudioFormat::Mp3, rate);
    // 600 ms are 25 frames, three times 7 ms is one frame.
    assert_eq!(joined.part_starts, [0, 52, 73, 101].map(|frames| frames * 576));
    let (heard_rate, heard) = decode(file.clone());
    assert_eq!((heard_rate, heard.len() as u64), (24_000, joined.samples));
    assert!(heard[29 * 576..52 * 576].iter().all(|sample| *sample == 0), "silent, once the part before has rung out");
    // After the first frames, where the previous part still fades out, each part decodes as it does alone.
    let alone = decode(VBR.to_vec()).1;
    let at = joined.part_starts[1] as usize;
    assert_eq!(heard[at + 2 * 576..at + alone.len()], alone[2 * 576..]);
    assert!(
        !file[48..].windows(4).any(|w| [b"Xing", b"Info"].contains(&w.try_into().unwrap()) || w.starts_with(b"ID3"))
    );

    for (part, rate, samples) in [(LOW, SampleRate::Hz8000, 14 * 576), (HIGH, SampleRate::Hz44100, 13 * 1_152)] {
        let joiner =
            self::joiner(AudioFormat::Mp3, rate, &[Pause(100), Part(part), Part(part), Pause(1_000), Part(part)]);
        let (joined, file) = join(&joiner, AudioFormat::Mp3, rate);
        assert_eq!(decode(file).1.len() as u64, joined.samples);
        assert!(sample_to_ms(joined.samples - 3 * samples, rate).abs_diff(1_100) <= 36);
    }
}

#[test]
fn what_cannot_be_decoded_becomes_silent_and_the_rest_sounds() {
    let mut frames = mp3::Frames::new(TAGGED);
    let mut all = Vec::new();
    while let Some(frame) = frames.read_frame().unwrap() {
        all.extend(frame.bytes);
    }
    let cut = &all[96 * 3..];
    let mut joiner = joiner(AudioFormat::Mp3, SampleRate::Hz24000, &[Part(VBR)]);
    let checked = joiner.part(cut).unwrap();
    assert!(checked.needs_reencode() && checked.lost_frames < 4, "{checked:?}");
    let (joined, file) = join(&joiner, AudioFormat::Mp3, SampleRate::Hz24000);
    let heard = decode(file).1;
    assert_eq!(heard.len() as u64, joined.samples);
    let (whole, skip) = (decode(all.clone()).1, (checked.lost_frames as usize + 2) * 576);
    assert_eq!(heard[21 * 576 + skip..], whole[3 * 576 + skip..]);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), cut).unwrap();
    let message = verify(file.path(), AudioFormat::Mp3, SampleRate::Hz24000, checked.samples).unwrap_err();
    assert!(message.to_string().starts_with("its number of frames that cannot be decoded is"), "{message}");
}

#[test]
fn what_cannot_be_joined_is_refused_before_a_byte_is_written() {
    let part = [0; 100];
    let mut joiner = Joiner::new(AudioFormat::Pcm, SampleRate::Hz8000);
    joiner.pause(5);
    let mut out = Vec::new();
    assert!(matches!(joiner.join(AudioFormat::Wav, &mut out), Err(AudioError::Empty)));
    joiner.part(&part[..]).unwrap();
    assert!(joiner.part(&part[..99]).is_err());
    assert_eq!((joiner.samples(), joiner.part_starts()), (90, &[40][..]), "a bad part is not added");
    let message = joiner.join(AudioFormat::Mp3, &mut out).unwrap_err().to_string();
    assert_eq!(message, "mp3 cannot be made of pcm");
    joiner.pause(u32::MAX);
    assert!(matches!(joiner.join(AudioFormat::Wav, &mut out), Err(AudioError::TooLong { .. })));
    assert!(out.is_empty());

    let silent = mp3::Header::parse(&[0xFF, 0xF3, 0x84, 0x44]).unwrap().silent_frame();
    let stereo = [&silent[..], &silent].concat();
    let mut joiner = self::joiner(AudioFormat::Mp3, SampleRate::Hz24000, &[Part(TAGGED)]);
    let message = joiner.part(&stereo).unwrap_err().to_string();
    assert_eq!(message, "its number of channels is 2, not 1");
    assert!(matches!(joiner.join(AudioFormat::Wav, &mut out), Err(AudioError::Unmakeable { .. })));
}

#[test]
fn a_part_that_changed_and_a_disk_that_is_full_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("part");
    std::fs::write(&path, [0; 100_000]).unwrap();
    let mut joiner = Joiner::new(AudioFormat::Pcm, SampleRate::Hz8000);
    joiner.part(path.clone()).unwrap();
    assert!(matches!(joiner.join(AudioFormat::Pcm, Full), Err(AudioError::Write(_))));
    std::fs::write(&path, [0; 90_000]).unwrap();
    assert!(matches!(joiner.join(AudioFormat::Pcm, io::sink()), Err(AudioError::CutShort { declared: 100_000, .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(joiner.join(AudioFormat::Pcm, io::sink()), Err(AudioError::Read(_))));
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_finished_file_that_is_not_true_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let message = |format, samples, bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        verify(&path, format, SampleRate::Hz24000, samples).err().map(|error| error.to_string())
    };
    let wav = wav::pcm16(1, 24_000, None, &[1; 50]);
    assert_eq!(message(AudioFormat::Wav, 50, &wav), None);
    assert_eq!(message(AudioFormat::Wav, 51, &wav).unwrap(), "its length in samples is 50, not 51");
    assert_eq!(message(AudioFormat::Wav, 50, &wav[..143]).unwrap(), "it is cut short: 99 bytes of 100");
    let comment = wav::pcm16(1, 24_000, Some("a"), &[1; 50]);
    assert!(message(AudioFormat::Wav, 50, &comment).unwrap().starts_with("its header's length"));
    assert_eq!(message(AudioFormat::Alaw, 50, &[0; 49]).unwrap(), "its length in samples is 49, not 50");
    assert!(message(AudioFormat::Mp3, 27 * 576, TAGGED).unwrap().starts_with("its size in bytes is 2973"));
    assert_eq!(message(AudioFormat::Mp3, 21 * 576, VBR), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_whole_is_the_sum_of_parts_and_pauses(
        rate in proptest::sample::select(SampleRate::ALL.to_vec()),
        parts in proptest::collection::vec((1usize..40_000, 0u32..3_000), 1..8),
    ) {
        let mut expected = Vec::new();
        let mut starts = Vec::new();
        let sounds: Vec<_> = parts.iter().map(|(len, _)| wav::pcm16(1, rate.hz(), None, &sound(*len, *len as i32))).collect();
        let mut pieces = Vec::new();
        for ((len, ms), part) in parts.iter().zip(&sounds) {
            pieces.extend([Part(part), Pause(*ms)]);
            starts.push(expected.len() as u64);
            expected.extend(sound(*len, *len as i32));
            expected.resize(expected.len() + ms_to_sample((*ms).into(), rate) as usize, 0);
        }
        let (joined, file) = join(&joiner(AudioFormat::Wav, rate, &pieces), AudioFormat::Wav, rate);
        prop_assert_eq!(joined.part_starts, starts);
        prop_assert_eq!(decode(file), (rate.hz(), expected));
    }

    #[test]
    fn mp3_is_exact_to_half_a_frame(
        (part, frames, rate) in proptest::sample::select(vec![
            (VBR, 21, SampleRate::Hz24000), (LOW, 14, SampleRate::Hz8000), (HIGH, 13, SampleRate::Hz44100),
        ]),
        pauses in proptest::collection::vec(0u32..3_000, 1..8),
    ) {
        let pieces: Vec<_> = pauses.iter().flat_map(|ms| [Part(part), Pause(*ms)]).collect();
        let (joined, file) = join(&joiner(AudioFormat::Mp3, rate, &pieces), AudioFormat::Mp3, rate);
        let frame = mp3::samples_per_frame(rate);
        let wanted = pauses.iter().map(|ms| ms_to_sample((*ms).into(), rate) + frames * frame).sum::<u64>();
        prop_assert!(joined.samples.abs_diff(wanted) <= frame / 2, "{} {}", joined.samples, wanted);
        prop_assert_eq!(decode(file).1.len() as u64, joined.samples);
    }
}

#[test]
fn moments_are_rounded_to_the_nearest() {
    assert_eq!(sample_to_ms(0, SampleRate::Hz44100), 0);
    assert_eq!(sample_to_ms(22, SampleRate::Hz44100), 0);
    assert_eq!(sample_to_ms(23, SampleRate::Hz44100), 1);
    assert_eq!(sample_to_ms(12, SampleRate::Hz24000), 1, "a half goes up");
    assert_eq!(sample_to_ms(7_200 * 44_100, SampleRate::Hz44100), 7_200_000);
    assert_eq!(sample_to_ms(u64::MAX, SampleRate::Hz8000), u64::MAX / 8 + 1);
    assert_eq!(ms_to_sample(1, SampleRate::Hz44100), 44);
    assert_eq!(ms_to_sample(600, SampleRate::Hz24000), 14_400);
    assert_eq!(ms_to_sample(u64::MAX, SampleRate::Hz24000), u64::MAX);
    for rate in SampleRate::ALL.iter().copied() {
        for ms in (0..100_000).step_by(7) {
            assert_eq!(sample_to_ms(ms_to_sample(ms, rate), rate), ms, "{ms} ms at {rate}");
        }
    }
}
