//! Files of all kinds, right and wrong ones.

use std::{fs, io::Cursor, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use super::*;
use crate::{
    audio::g711::alaw_encode,
    domain::{cuts::Cuts, hearing::Stretch},
    sandbox::fixtures::{Line, Random, Script, Sound},
};

const NEVER: &dyn Fn() -> bool = &|| false;
const DUAL: &[u8] = include_bytes!("testdata/dual.mp3");
const APART: &[u8] = include_bytes!("testdata/apart.mp3");
const OPUS: &[u8] = include_bytes!("testdata/speech.opus");

/// Files that are gone with the test.
struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn ffmpeg(&self, script: &str) -> HearSettings {
        let path = self.file("ffmpeg", format!("#!/bin/sh\n{script}\n").as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        HearSettings {
            ffmpeg: Some(path),
            limits: Limits { wall: Duration::from_secs(20), ..Limits::default() },
            raw: None,
        }
    }
}

fn of(name: &str, bytes: &[u8], settings: &HearSettings) -> Result<Hearing, HearError> {
    let dir = Dir::new();
    hear(&dir.file(name, bytes), settings, NEVER)
}

fn heard(name: &str, bytes: &[u8]) -> Hearing {
    of(name, bytes, &HearSettings::default()).unwrap()
}

/// Some seconds of speech in one channel.
fn speech(rate: u32) -> Vec<f32> {
    let words = "Good morning, this is the service desk, how may I help you today?".to_owned();
    let line = Line { channel: 0, at_ms: 200, words, voice: 1, gain_db: 0.0 };
    let script =
        Script { rate, channels: 1, lines: vec![line], noise_db: Some(-65.0), length_ms: 6_000, ..Script::default() };
    script.record().planes.remove(0)
}

/// A WAV file of any coding.
fn wav(tag: u16, bits: u16, channels: u16, rate: u32, data: &[u8]) -> Vec<u8> {
    let align = channels * bits / 8;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    [tag, channels].iter().for_each(|number| file.extend(number.to_le_bytes()));
    [rate, rate * u32::from(align)].iter().for_each(|number| file.extend(number.to_le_bytes()));
    [align, bits].iter().for_each(|number| file.extend(number.to_le_bytes()));
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn pcm16(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect()
}

#[test]
fn every_width_and_rate_of_pcm_is_heard() {
    let samples = speech(16_000);
    let wide = |scale: f32| samples.iter().map(move |sample| (sample * scale) as i32);
    let files = [
        ("pcm_u8", wav(1, 8, 1, 16_000, &wide(127.0).map(|s| (s + 128) as u8).collect::<Vec<_>>())),
        ("pcm_s16le", wav(1, 16, 1, 16_000, &pcm16(&samples))),
        (
            "pcm_s24le",
            wav(1, 24, 1, 16_000, &wide(8_388_607.0).flat_map(|s| s.to_le_bytes()[..3].to_vec()).collect::<Vec<_>>()),
        ),
        ("pcm_s32le", wav(1, 32, 1, 16_000, &wide(2e9).flat_map(i32::to_le_bytes).collect::<Vec<_>>())),
        ("pcm_f32le", wav(3, 32, 1, 16_000, &samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>())),
        (
            "pcm_f64le",
            wav(3, 64, 1, 16_000, &samples.iter().flat_map(|s| f64::from(*s).to_le_bytes()).collect::<Vec<_>>()),
        ),
        ("pcm_alaw", wav(6, 8, 1, 16_000, &wide(32_767.0).map(|s| alaw_encode(s as i16)).collect::<Vec<_>>())),
    ];
    for (codec, file) in files {
        let hearing = heard("a.mp3", &file);
        assert_eq!((hearing.found.codec.as_str(), hearing.found.container.as_str()), (codec, "wav"));
        assert_eq!((hearing.length_ms, &hearing.layout, &hearing.broken), (6_000, &Layout::Mono, &None), "{codec}");
        assert!((4_000..5_500).contains(&hearing.speech_ms()), "{codec} {}", hearing.speech_ms());
        assert!(
            hearing.channels[0].segments[0].from_ms.abs_diff(230) <= 80,
            "{codec} {:?}",
            hearing.channels[0].segments
        );
    }
    for rate in [8_000, 44_100, 48_000, 192_000] {
        let base = speech(8_000);
        let samples: Vec<f32> = (0..base.len() as u64 * u64::from(rate) / 8_000)
            .map(|n| base[(n * 8_000 / u64::from(rate)) as usize])
            .collect();
        let hearing = heard("a.wav", &wav(1, 16, 1, rate, &pcm16(&samples)));
        assert_eq!((hearing.found.rate, hearing.length_ms), (rate, 6_000));
        assert!((4_000..5_500).contains(&hearing.speech_ms()), "{rate} {}", hearing.speech_ms());
    }
}

#[test]
fn no_number_is_silence_and_noted() {
    let mut samples = speech(16_000);
    for at in 20_000..20_100 {
        samples[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 7.0][at % 4];
    }
    let hearing =
        heard("a.wav", &wav(3, 32, 1, 16_000, &samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>()));
    assert_eq!(hearing.notes, [Note::NotNumbers]);
    assert!(hearing.channels[0].peak_db <= 0.0 && hearing.speech_ms() > 4_000);
}

#[test]
fn a_moment_is_heard_and_nothing_is_no_audio() {
    let samples = speech(16_000);
    let hearing = heard("a.wav", &wav(1, 16, 1, 16_000, &pcm16(&samples[8_000..11_200])));
    assert_eq!((hearing.length_ms, hearing.channels[0].peaks.len()), (200, 1));
    for nothing in [
        &b""[..],
        b"{\"error\": \"not found\"}",
        &[0; 5_000],
        b"RIFF\0\0\0\0WAVE",
        &wav(1, 16, 1, 16_000, &[]),
        b"fLaC",
        b"OggS",
    ] {
        let got = of("a.mp3", nothing, &HearSettings::default());
        assert!(got.is_err(), "{nothing:?} {got:?}");
    }
    assert!(matches!(hear(Path::new("/nowhere/a.wav"), &HearSettings::default(), NEVER), Err(HearError::Read(_))));
}

#[test]
fn the_same_sound_in_both_channels_is_told_from_two_voices_also_after_joint_stereo() {
    assert_eq!(heard("a.wav", DUAL).layout, Layout::DualMono);
    let apart = heard("a.wav", APART);
    assert_eq!((apart.found.container.as_str(), apart.layout), ("mp3", Layout::Apart { bleed: Vec::new() }));
    // One microphone, one channel softer; and two people at once with the same words are two people.
    let samples = speech(16_000);
    let both = |second: &dyn Fn(usize) -> f32| {
        let frames = samples.iter().enumerate().flat_map(|(n, sample)| [*sample, second(n)]).collect::<Vec<_>>();
        heard("a.wav", &wav(1, 16, 2, 16_000, &pcm16(&frames))).layout
    };
    assert_eq!(both(&|n| samples[n] * 0.6), Layout::DualMono);
    assert_eq!(both(&|n| -samples[n]), Layout::Apart { bleed: Vec::new() });
    assert_eq!(both(&|_| 0.0), Layout::OneSided { speaks: 0 });
    assert!(matches!(both(&|n| samples[(n + 3_000) % samples.len()]), Layout::Apart { .. }));
}

#[test]
fn opus_is_heard() {
    let hearing = heard("a.wav", OPUS);
    assert_eq!(
        (hearing.found.codec.as_str(), hearing.found.container.as_str(), hearing.length_ms),
        ("opus", "ogg", 4_156)
    );
    assert!(hearing.speech_ms() > 3_000 && hearing.channels[0].segments[0].from_ms < 100);
}

#[test]
fn what_is_damaged_is_heard_until_then() {
    let mut random = Random::new(1);
    // MP3 that is noise from 3 s on.
    let mut mp3 = DUAL.to_vec();
    let at = mp3.len() * 3 / 7;
    mp3[at..].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
    let hearing = heard("a.mp3", &mp3);
    assert!((2_500..4_500).contains(&hearing.length_ms), "{hearing:?}");
    assert!(hearing.channels[0].segments[0].from_ms < 400);
    // WAV that ends early.
    let samples = speech(16_000);
    let whole = wav(1, 16, 1, 16_000, &pcm16(&samples));
    let cut = heard("a.wav", &whole[..44 + 96_000]);
    assert_eq!((cut.length_ms, cut.broken), (3_000, Some(Break::CutShort { declared_ms: 6_000 })));
    // A writer to a pipe leaves the size open.
    let mut open = whole;
    open[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    open[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let open = heard("a.wav", &open);
    assert_eq!((open.length_ms, open.broken), (6_000, None));
    // FLAC with a hole.
    let dir = Dir::new();
    let path = dir.file("a.wav", &wav(1, 16, 1, 16_000, &pcm16(&samples)));
    let mut flac = Cursor::new(Vec::new());
    convert(&path, &HearSettings::default(), &Cuts::default(), Target::Flac16k, &mut flac, NEVER).unwrap();
    let mut flac = flac.into_inner();
    assert_eq!(heard("a.flac", &flac).length_ms, 6_000);
    let half = flac.len() / 2;
    flac.truncate(half);
    let hearing = heard("a.flac", &flac);
    assert!(
        (2_000..4_500).contains(&hearing.length_ms) && hearing.broken.is_some(),
        "{} {:?}",
        hearing.length_ms,
        hearing.broken
    );
}

#[test]
fn a_bomb_is_stopped_and_told() {
    let dir = Dir::new();
    // Silence of which a second has few bytes: 16 minutes.
    let mut bomb = Cursor::new(Vec::new());
    let options = flac_codec::encode::Options::fast().no_padding().no_seektable();
    let mut writer = flac_codec::encode::FlacSampleWriter::new(&mut bomb, options, 8_000, 16, 1, None).unwrap();
    (0..960).for_each(|_| writer.write(&[0; 8_000]).unwrap());
    writer.finalize().unwrap();
    let path = dir.file("bomb.flac", bomb.get_ref());
    let limited = |limits| hear(&path, &HearSettings { limits, ..HearSettings::default() }, NEVER).unwrap();
    let dense = limited(Limits { ms_per_byte: 5, ..Limits::default() });
    assert_eq!(dense.broken, Some(Break::TooDense));
    assert!(dense.length_ms < 620_000, "{}", dense.length_ms);
    let long = limited(Limits { audio_ms: 60_000, ..Limits::default() });
    assert!(long.broken == Some(Break::TooLong) && long.length_ms < 70_000, "{}", long.length_ms);
    let whole = limited(Limits { ms_per_byte: 1_000, ..Limits::default() });
    assert_eq!((whole.length_ms, whole.layout, whole.broken), (960_000, Layout::Silent, None));
    let wall = HearSettings { limits: Limits { wall: Duration::ZERO, ..Limits::default() }, ..HearSettings::default() };
    assert!(matches!(hear(&path, &wall, NEVER), Err(HearError::Broken { why: Break::TooSlow, .. })));
    assert!(matches!(hear(&path, &HearSettings::default(), &|| true), Err(HearError::Stopped)));
}

#[test]
fn raw_sound_is_read_as_told_and_doubted_where_it_is_something_else() {
    let samples = speech(8_000);
    let alaw: Vec<u8> = samples.iter().map(|sample| alaw_encode((sample * 32_767.0) as i16)).collect();
    let raw = |encoding| HearSettings {
        raw: Some(RawFormat { encoding, rate: 8_000, channels: 1 }),
        ..HearSettings::default()
    };
    let right = of("a.bin", &alaw, &raw(Encoding::ALaw)).unwrap();
    assert_eq!((right.length_ms, right.notes.len()), (6_000, 0));
    assert!(right.speech_ms() > 4_000);
    let wrong = of("a.bin", &alaw, &raw(Encoding::ULaw)).unwrap();
    assert_eq!(wrong.notes, [Note::LooksLike { read_as: Encoding::ULaw, seems: Encoding::ALaw }]);
    assert_eq!(heard("a.alaw", &alaw).found.codec, "pcm_alaw");
    let odd = of("a.bin", &pcm16(&samples)[1..], &raw(Encoding::S16Le)).unwrap();
    assert!(odd.notes.contains(&Note::OddSize));
    let big: Vec<u8> = pcm16(&samples).as_chunks::<2>().0.iter().flat_map(|[a, b]| [*b, *a]).collect();
    let note = Note::LooksLike { read_as: Encoding::S16Le, seems: Encoding::S16Be };
    assert_eq!(of("a.bin", &big, &raw(Encoding::S16Le)).unwrap().notes, [note]);
    assert_eq!(
        of("a.bin", DUAL, &raw(Encoding::ULaw)).unwrap().found.container,
        "raw",
        "MP3 without a tag has no sure signature"
    );
    assert_eq!(of("a.bin", OPUS, &raw(Encoding::ULaw)).unwrap().found.container, "ogg");
}

/// The head of what ffmpeg writes: 16 bits, 8,000 Hz, one channel.
const AU: &str = r"printf '.snd\000\000\000\030\377\377\377\377\000\000\000\003\000\000\037\100\000\000\000\001'";

#[test]
fn ffmpeg_is_asked_for_one_file_and_bounded() {
    let dir = Dir::new();
    let path = dir.file("a.mp3", b"#!AMR\n0123456789");
    let by = |script: &str| hear(&path, &dir.ffmpeg(script), NEVER);
    let why = |got| match got {
        Err(HearError::Ffmpeg { why }) => why,
        other => panic!("{other:?}"),
    };
    let args = why(by("echo early >&2; echo \"$*\" | cut -c1-250 >&2; exit 1"));
    for part in ["-nostdin", "-protocol_whitelist file,pipe", "-format_whitelist amr", "-f amr -i file:/"] {
        assert!(args.contains(part), "{part} in {args}");
    }
    assert_eq!(why(by("ls -A >&2; echo \"files: $(ls -A | wc -l)\" >&2; exit 1")), "files: 0");
    assert_eq!(why(by("printf 'a\\033[31mb' >&2; exit 1")), "a[31mb");
    assert_eq!(why(by("exit 0")), "it ended without a word");
    assert!(why(by("echo this is not what was asked for, not at all")).contains("something else"));
    // Two seconds, and a crash.
    let two = format!("{AU}; head -c 32000 /dev/zero");
    let broken = by(&format!("{two}; echo 'it broke' >&2; kill -9 $$")).unwrap();
    assert_eq!((broken.length_ms, broken.broken), (2_000, Some(Break::Damaged("it broke".into()))));
    let found =
        by(&format!("echo '  Stream #0:0: Audio: amr_nb (samr), 8000 Hz, mono' >&2; sleep 0.05; {two}")).unwrap().found;
    assert_eq!((found.codec.as_str(), found.rate, found.channels, found.by_ffmpeg), ("amr_nb", 8_000, 1, true));
    // Files cannot be written.
    assert!(why(by("sleep 0.1; echo much > \"$0.out\" || echo none >&2; cat \"$0.out\" >&2; exit 1")).len() < 300);
    assert!(fs::read(dir.0.path().join("ffmpeg.out")).unwrap_or_default().is_empty());
}

#[test]
fn ffmpeg_that_hangs_or_goes_on_for_ever_is_ended() {
    let dir = Dir::new();
    let path = dir.file("a.amr", b"#!AMR\n0123456789");
    let by = |script: &str, limits: Limits| hear(&path, &HearSettings { limits, ..dir.ffmpeg(script) }, NEVER);
    let short = Limits { wall: Duration::from_millis(600), ..Limits::default() };
    let began = std::time::Instant::now();
    assert!(matches!(by("sleep 60 & sleep 60", short), Err(HearError::Broken { why: Break::TooSlow, .. })));
    let late = by(&format!("{AU}; head -c 16000 /dev/zero; sleep 60"), short).unwrap();
    assert_eq!((late.length_ms, late.broken), (1_000, Some(Break::TooSlow)));
    assert!(matches!(by("yes 'much to say' >&2", short), Err(HearError::Broken { why: Break::TooSlow, .. })));
    assert!(began.elapsed() < Duration::from_secs(6));
    let minute = Limits { audio_ms: 60_000, ..Limits::default() };
    let endless = by(&format!("{AU}; exec cat /dev/zero"), minute).unwrap();
    assert!(endless.broken == Some(Break::TooLong) && endless.length_ms < 75_000, "{}", endless.length_ms);
    let stopped = std::cell::Cell::new(0);
    let stop = || {
        stopped.set(stopped.get() + 1);
        stopped.get() > 3
    };
    assert!(matches!(hear(&path, &dir.ffmpeg("sleep 60"), &stop), Err(HearError::Stopped)));
    let none = HearSettings { ffmpeg: Some("/nowhere/ffmpeg".into()), ..HearSettings::default() };
    assert!(matches!(hear(&path, &none, NEVER), Err(HearError::NeedsFfmpeg { what }) if what == "amr"));
}

#[test]
fn stretches_are_cut_out_and_found_again() {
    let dir = Dir::new();
    let samples = speech(8_000);
    let frames: Vec<f32> = samples.iter().flat_map(|sample| [*sample, -0.5 * *sample]).collect();
    let path = dir.file("a.wav", &wav(1, 16, 2, 8_000, &pcm16(&frames)));
    let made = |cuts: &Cuts, target| {
        let mut out = Cursor::new(Vec::new());
        let converted = convert(&path, &HearSettings::default(), cuts, target, &mut out, NEVER)?;
        assert_eq!(converted.bytes as usize, out.get_ref().len());
        Ok::<_, HearError>((converted, out.into_inner()))
    };
    let (all, bytes) = made(&Cuts::default(), Target::Wav16k).unwrap();
    assert_eq!((all.length_ms, bytes.len(), all.broken), (6_000, 44 + 192_000, None));
    let of = |channel, list: &[(u64, u64)]| {
        Cuts::of_channel(channel, list.iter().map(|&(from_ms, to_ms)| Stretch { from_ms, to_ms }))
    };
    let (one, _) = made(&of(Some(1), &[(0, u64::MAX)]), Target::Wav16k).unwrap();
    assert_eq!((one.length_ms, one.broken), (6_000, None));

    // The same stretches of two channels, the second of which is half as loud: each is found where the map says.
    let mut packed = of(Some(1), &[(1_000, 2_000), (4_000, 5_000)]);
    packed.list.extend(of(Some(2), &[(1_000, 2_000)]).list);
    packed.gap_ms = 250;
    let whole = |bytes: &[u8]| bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect::<Vec<_>>();
    for target in [Target::Wav16k, Target::Flac16k] {
        let (cut, bytes) = made(&packed, target).unwrap();
        assert_eq!((cut.length_ms, packed.sent_ms()), (3_250, 3_250));
        assert_eq!(heard("x", &bytes).length_ms, 3_250);
        if target == Target::Wav16k {
            let (sent, (_, first)) = (whole(&bytes[44..]), made(&of(Some(1), &[(0, 6_000)]), target).unwrap());
            let first = whole(&first[44..]);
            for ms in [0, 500, 999, 1_000, 1_500, 1_999] {
                let place = packed.map().place(ms).unwrap();
                assert_eq!(sent[ms as usize * 16], first[place.source_ms as usize * 16], "{ms}");
            }
            assert!(sent[2_000 * 16..2_250 * 16].iter().all(|sample| *sample == 0), "the guard is silent");
            let half = |ms: usize| (first[(1_000 + ms) * 16] as f32 * -0.5, sent[(2_250 + ms) * 16] as f32);
            assert!([100, 333, 700, 951].map(half).iter().all(|(expected, sent)| (expected - sent).abs() < 3.0));
        }
    }
    // What comes before is not resampled: the samples are the same to the last one that can be told apart.
    for rate in [8_000, 11_025, 44_100, 48_000] {
        let samples: Vec<f32> = Sound::Music { seed: 4, drums: true }.samples(rate, 9_000);
        let path = dir.file("music.wav", &wav(1, 16, 1, rate, &pcm16(&samples)));
        let sent = |cuts: &Cuts| {
            let mut out = Cursor::new(Vec::new());
            convert(&path, &HearSettings::default(), cuts, Target::Wav16k, &mut out, NEVER).unwrap();
            whole(&out.into_inner()[44..])
        };
        let (all, late) = (sent(&Cuts::default()), sent(&of(None, &[(4_321, 6_789)])));
        assert_eq!(late.len(), 2_468 * 16);
        let apart = all[4_321 * 16..6_789 * 16].iter().zip(&late).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(apart <= 2, "{rate}: {apart}");
    }
    assert!(matches!(made(&of(None, &[(9_000, 9_500)]), Target::Wav16k), Err(HearError::Empty)));
    assert!(matches!(
        made(&of(Some(3), &[(0, 1_000)]), Target::Wav16k),
        Err(HearError::NoChannel { wanted: 3, has: 2 })
    ));
    // A stretch that ends after the recording breaks says so.
    let cut = fs::read(&path).unwrap();
    fs::write(&path, &cut[..cut.len() / 2]).unwrap();
    assert!(matches!(made(&Cuts::default(), Target::Wav16k).unwrap().0.broken, Some(Break::CutShort { .. })));
    assert_eq!(made(&of(None, &[(0, 2_000)]), Target::Wav16k).unwrap().0.broken, None);
}

#[test]
fn tones_and_noise_and_music_are_no_speech() {
    let ring = |hz, other, on_ms, off_ms| Sound::Ring { tones: [hz, other], on_ms, off_ms };
    let mut sounds = vec![
        Sound::Dtmf("1234567890*#".into()),
        ring(440.0, 480.0, 2_000, 4_000),
        ring(425.0, 425.0, 480, 480),
        ring(350.0, 440.0, 9_000, 100),
        Sound::Hum { hz: 50.0 },
        Sound::Hum { hz: 60.0 },
        Sound::Noise,
        Sound::PinkNoise,
    ];
    sounds.extend((0..12).map(|seed| Sound::Music { seed, drums: seed % 2 == 0 }));
    for sound in sounds {
        for rate in [8_000, 16_000, 44_100] {
            let samples: Vec<f32> = sound.samples(rate, 15_000).iter().map(|sample| sample * 0.3).collect();
            let hearing = heard("a.wav", &wav(1, 16, 1, rate, &pcm16(&samples)));
            assert!(hearing.speech_ms() <= 200, "{sound:?} at {rate}: {:?}", hearing.channels[0].segments);
        }
    }
}
