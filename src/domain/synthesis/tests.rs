use super::super::{
    extra::Extra,
    options::ExpireContent,
    pronunciation::Pronunciation,
    synthesis_options::{PART_CHARS, Speed, TtsLanguage, TtsModel},
};
use super::*;

fn options() -> SynthesisOptions {
    SynthesisOptions {
        model: TtsModel::Lightning,
        voice_id: "avery".into(),
        language: Some(TtsLanguage::En),
        speed: Speed::NORMAL,
        number_pronunciation_language: None,
        extra: Extra::default(),
        math_notation: false,
        expire_content: ExpireContent::No,
    }
}

fn format(format: AudioFormat, sample_rate: SampleRate) -> OutputFormat {
    OutputFormat { sample_rate, ..OutputFormat::of(format) }
}

fn synthesis() -> Synthesis {
    Synthesis {
        options: options(),
        voices: vec!["avery".into(), "devansh".into()],
        languages: Vec::new(),
        formats: vec![OutputFormat::of(AudioFormat::Wav), OutputFormat::of(AudioFormat::Ulaw)],
        name: "{key}.{voice_id}".into(),
        part_chars: PART_CHARS,
        pause: Pause::default(),
        max_chars_per_second: Synthesis::MAX_CHARS_PER_SECOND,
        checks: SpeechChecks::default(),
        captions: vec![CaptionFormat::Srt],
        dictionary: None,
        transport: Transport::Auto,
        origin: None,
    }
}

#[test]
fn formats_of_the_same_samples_share_a_purchase() {
    let mut asked = synthesis();
    let eight = SampleRate::Hz8000;
    asked.formats.extend([format(AudioFormat::Wav, eight), format(AudioFormat::Mp3, eight)]);
    asked.formats.push(OutputFormat::of(AudioFormat::Pcm));
    let bought: Vec<_> = asked.bought().iter().map(|b| (b.format, b.sample_rate.hz())).collect();
    assert_eq!(bought, [(AudioFormat::Pcm, 24_000), (AudioFormat::Pcm, 8_000), (AudioFormat::Mp3, 8_000)]);
    assert_eq!(asked.formats[1].variant("avery"), "avery|ulaw|8000");
    assert_eq!(asked.formats[0].to_string(), "wav at 24000 Hz");
}

/// A dictionary of one word.
fn dictionary(word: &str, pronunciation: &str) -> Dictionary {
    let words = vec![Pronunciation { word: word.into(), pronunciation: pronunciation.into() }];
    Dictionary { file: "/b.csv".into(), hash: format!("{word} {pronunciation}"), words: words.into(), id: None }
}

#[test]
fn a_pronunciation_shapes_only_what_has_its_word() {
    let bought = OutputFormat::of(AudioFormat::Wav).bought();
    let with = |dictionary| Synthesis { dictionary, ..synthesis() };
    let (none, old, new) = (with(None), with(Some(dictionary("gif", "gif"))), with(Some(dictionary("gif", "jif"))));
    let cache_key = |asked: &Synthesis, text: &str| asked.cache_key(&options(), text, bought);
    let line = |asked: &Synthesis, text: &str| asked.identity_of(&options(), text);
    for same in [&none, &old, &new] {
        assert_eq!(cache_key(same, "Gifted."), cache_key(&none, "Gifted."));
        assert_eq!(line(same, "Gifted."), line(&none, "Gifted."));
    }
    assert_ne!(cache_key(&old, "A GIF."), cache_key(&new, "A GIF."));
    assert_ne!(line(&old, "A GIF."), line(&new, "A GIF."));
    assert_ne!(old.identity(&options()), new.identity(&options()), "of all lines together it is another one");
}

#[test]
fn each_thing_that_shapes_the_sound_changes_the_cache_key() {
    let bought = OutputFormat::of(AudioFormat::Wav).bought();
    let change = |change: &dyn Fn(&mut SynthesisOptions)| {
        let mut changed = options();
        change(&mut changed);
        changed.cache_key("Hello.", bought, None, None)
    };
    let own = change(&|_| {});
    let all = [
        own,
        options().cache_key("Hello", bought, None, None),
        options().cache_key("Hello.", ClipFormat { format: AudioFormat::Mp3, ..bought }, None, None),
        options().cache_key("Hello.", ClipFormat { sample_rate: SampleRate::Hz8000, ..bought }, None, None),
        options().cache_key("Hello.", bought, Some(&dictionary("hello", "he-lo")), None),
        options().cache_key("Hello.", bought, Some(&dictionary("hello", "hal-lo")), None),
        options().cache_key("Hello.", bought, None, Some("http://localhost:9")),
        change(&|o| o.model = TtsModel::LightningPro),
        change(&|o| o.voice_id = "devansh".into()),
        change(&|o| o.language = Some(TtsLanguage::Hi)),
        change(&|o| o.language = None),
        change(&|o| o.speed = Speed::new(1.001).unwrap()),
        change(&|o| o.number_pronunciation_language = Some(TtsLanguage::En)),
        change(&|o| o.math_notation = true),
    ];
    let distinct: std::collections::HashSet<_> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(change(&|o| o.expire_content = ExpireContent::Required), own, "it sounds the same");
    assert_eq!(own.hex(), "d80d4179caac5da46f6d74409f80db76", "spools outlive releases");
}

#[test]
fn names_tell_apart_what_a_line_makes() {
    let one = ["avery".to_owned()];
    let two = ["avery".to_owned(), "devansh".to_owned()];
    let wav = OutputFormat::of(AudioFormat::Wav);
    let other = format(AudioFormat::Wav, SampleRate::Hz8000);
    let ulaw = OutputFormat::of(AudioFormat::Ulaw);
    assert_eq!(default_name(&[], &one, &[wav.clone(), ulaw]), "{key}");
    assert_eq!(default_name(&[], &two, std::slice::from_ref(&wav)), "{key}.{voice_id}");
    assert_eq!(default_name(&[], &[], &[wav.clone(), other.clone()]), "{key}.{sample_rate}");
    assert_eq!(default_name(&[], &two, &[wav.clone(), other]), "{key}.{voice_id}.{sample_rate}");
    assert_eq!(default_name(&[TtsLanguage::Hi], &two, &[wav]), "{key}.{language}.{voice_id}");
}

#[test]
fn every_broken_rule_is_told() {
    let mut asked = synthesis();
    assert_eq!(asked.faults(), []);
    asked.options.language = Some(TtsLanguage::Ja);
    asked.voices.extend(["avery".into(), "a b".into()]);
    asked.formats.push(OutputFormat { ending: "srt".into(), ..OutputFormat::of(AudioFormat::Wav) });
    let fields: Vec<_> = asked.faults().iter().map(|fault| fault.field).collect();
    assert_eq!(fields, ["language", "voices", "voices", "formats", "formats"]);
    asked.formats.clear();
    assert!(asked.faults().iter().any(|fault| fault.message.contains("nothing would be written")));
}

#[test]
fn endings_and_lengths_have_bounds() {
    for good in ["wav", "8k.wav", "u-law_8"] {
        assert_eq!(ending(good), Ok(()));
    }
    for bad in ["", ".wav", "wav.", "a/b", "a b", "é", "abcdefghijklmnopq"] {
        assert!(ending(bad).is_err(), "{bad}");
    }
    assert_eq!((part_chars(1), part_chars(8_000)), (Ok(1), Ok(8_000)));
    assert!(part_chars(8_001).is_err() && part_chars(0).is_err());
}

#[test]
fn the_ledger_gives_back_what_it_took() {
    let json = serde_json::to_value(synthesis()).unwrap();
    assert_eq!(json["formats"][1], serde_json::json!({"format": "ulaw", "sample_rate": "8000", "ending": "ulaw"}));
    assert_eq!(json["pause"]["paragraph_ms"], 600);
    assert_eq!(serde_json::from_value::<Synthesis>(json).unwrap(), synthesis());
}

#[test]
fn a_line_sets_its_options_from_text() {
    for option in SynthesisOption::ALL {
        let text = match option {
            SynthesisOption::Model => "lightning_v3.1_pro",
            SynthesisOption::VoiceId => "devansh",
            SynthesisOption::Language | SynthesisOption::NumberPronunciationLanguage => "hi",
            SynthesisOption::Speed => "1.25",
            SynthesisOption::MathNotation => "TRUE",
            SynthesisOption::ExpireContent => "try",
        };
        let mut overrides = SynthesisOverrides::default();
        assert!(overrides.is_empty());
        overrides.set(*option, text).unwrap();
        assert_ne!(overrides.apply(&options()), options(), "{option}");
        let json = serde_json::to_value(&overrides).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [option.as_str()]);
    }
    let mut overrides = SynthesisOverrides::default();
    let mut message = |option, text| overrides.set(option, text).unwrap_err();
    assert_eq!(message(SynthesisOption::Speed, "fast"), "`fast` is not a number");
    assert_eq!(message(SynthesisOption::Speed, "3"), "3 is not between 0.5 and 2");
    assert!(message(SynthesisOption::Model, "lightning v3").starts_with("`lightning v3` cannot be a model"));
    assert!(message(SynthesisOption::VoiceId, "a,b").starts_with("`a,b` cannot be"));
    assert!(overrides.is_empty());
}

#[test]
fn what_one_more_rate_or_format_costs_is_told() {
    let of = |formats: &[(AudioFormat, SampleRate)]| {
        let own = |(format, sample_rate): &(AudioFormat, SampleRate)| OutputFormat {
            sample_rate: *sample_rate,
            ..OutputFormat::of(*format)
        };
        Synthesis { formats: formats.iter().map(own).collect(), ..synthesis() }.purchases_in_words()
    };
    let (wide, narrow) = (SampleRate::Hz24000, SampleRate::Hz8000);
    assert_eq!(of(&[(AudioFormat::Wav, wide), (AudioFormat::Ulaw, wide), (AudioFormat::Pcm, wide)]), None);
    let message = of(&[
        (AudioFormat::Wav, wide),
        (AudioFormat::Pcm, wide),
        (AudioFormat::Ulaw, narrow),
        (AudioFormat::Mp3, wide),
    ]);
    let message = message.unwrap();
    let start = "each text is paid for 3 times, and each time costs as much as the first: for wav and pcm at 24000 Hz, for ulaw at 8000 Hz, for mp3 at 24000 Hz.";
    assert!(message.starts_with(start), "{message}");
}
