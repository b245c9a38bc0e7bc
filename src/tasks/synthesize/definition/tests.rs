use std::{fs, path::Path};

use super::*;
use crate::{
    definition::{AdHoc, Definition, Faults, Origin, Overrides, manifest},
    domain::{
        synthesis::{CaptionFormat, SpeechChecks, Transport},
        synthesis_options::{SampleRate, TtsLanguage},
    },
};

const WHOLE: &str = r#"
name = "ivr-prompts"
task = "synthesize"
manifest = "prompts.csv"
output = "out/{batch}/"
option_columns = ["voice_id", "language"]
columns = { key = "prompt", text = "words" }

[synthesize]
model = "lightning_v3.1"
voices = ["avery", "devansh"]
language = "en"
speed = 1.5
number_pronunciation_language = "hi"
math_notation = true
expire_content = "try"
formats = [ "wav", { format = "ulaw", sample_rate = 8000, ending = "ul" } ]
name = "{voice_id}/{key}"
part_chars = 140
pause = { sentence_ms = 50, paragraph_ms = 0 }
max_chars_per_second = 0
checks = { too_long = 3, silent = false, level_jump_db = 0 }
captions = ["srt", "vtt", "json", "srt"]
pronunciations = "brand-names.csv"
transport = "sse"
"#;

pub(super) fn load(text: &str) -> (tempfile::TempDir, Result<Definition, Faults>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("jobs")).unwrap();
    fs::write(dir.path().join("jobs/a.toml"), text).unwrap();
    fs::write(dir.path().join("jobs/prompts.csv"), "prompt,words\nhello,Hello.\n").unwrap();
    fs::write(dir.path().join("jobs/brand-names.csv"), "word,pronunciation\nAcme,ak-mee\n").unwrap();
    let over = Overrides { working_dir: Some(dir.path().to_path_buf()), ..Overrides::default() };
    let loaded = Definition::load(Path::new("jobs/a.toml"), crate::tasks::Registry::built_in().definitions(), &over);
    (dir, loaded)
}

fn faults(synthesize: &str) -> Vec<String> {
    let text = format!("task = \"synthesize\"\nmanifest = \"prompts.csv\"\ncolumns.text = \"words\"\n{synthesize}");
    let (_dir, loaded) = load(&text);
    loaded.unwrap_err().list.iter().map(ToString::to_string).collect()
}

#[test]
fn the_whole_example_is_read() {
    let (dir, loaded) = load(WHOLE);
    let shared = loaded.unwrap();
    let Synthesizing { synthesis, option_columns, text_column, pronunciations, .. } =
        shared.synthesizing().unwrap().clone();
    let root = dir.path().canonicalize().unwrap();
    assert_eq!((shared.name.as_str(), shared.batch.as_str()), ("ivr-prompts", "ivr-prompts"));
    assert_eq!(shared.origin, Origin::File(root.join("jobs/prompts.csv")));
    assert_eq!(option_columns, [SynthesisOption::VoiceId, SynthesisOption::Language]);
    assert_eq!(text_column, Some(Template::of_name("words")));
    let options = &synthesis.options;
    assert_eq!((options.voice_id.as_str(), options.speed.thousandths()), ("avery", 1_500));
    assert_eq!(options.number_pronunciation_language, Some(TtsLanguage::Hi));
    assert!(options.math_notation);
    let formats: Vec<_> = synthesis.formats.iter().map(|f| (f.sample_rate.hz(), f.ending.as_str())).collect();
    assert_eq!(formats, [(24_000, "wav"), (8_000, "ul")]);
    assert_eq!((synthesis.pause.sentence_ms, synthesis.pause.paragraph_ms), (50, 0));
    assert_eq!((synthesis.part_chars, synthesis.max_chars_per_second), (140, 0.0));
    let checks = SpeechChecks { too_long: 3.0, silent: false, level_jump_db: 0.0, ..SpeechChecks::default() };
    assert_eq!(synthesis.checks, checks);
    assert_eq!(synthesis.captions, [CaptionFormat::Srt, CaptionFormat::Vtt, CaptionFormat::Json]);
    let dictionary = synthesis.dictionary.unwrap();
    assert_eq!(dictionary.file, root.join("jobs/brand-names.csv").to_str().unwrap());
    assert_eq!((dictionary.hash.len(), dictionary.id, pronunciations.unwrap().items.len()), (64, None, 1));
    assert_eq!((synthesis.transport, synthesis.name.as_str()), (Transport::Sse, "{voice_id}/{key}"));
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let text = "task = \"synthesize\"\nmanifest = \"prompts.csv\"\n[synthesize]\nmodel = \"lightning_v3.1\"\n";
    let synthesis = load(text).1.unwrap().synthesizing().unwrap().synthesis.clone();
    assert_eq!((synthesis.voices.len(), synthesis.name.as_str(), synthesis.part_chars), (0, "{key}", 250));
    assert_eq!(synthesis.formats[0].sample_rate, SampleRate::Hz24000);
    assert_eq!((synthesis.max_chars_per_second, synthesis.transport), (25.0, Transport::Auto));
    let text =
        format!("{text}voices = [\"a\", \"b\"]\nformats = [\"wav\", {{ format = \"wav\", sample_rate = 8000 }}]\n");
    assert_eq!(load(&text).1.unwrap().synthesizing().unwrap().synthesis.name, "{key}.{voice_id}.{sample_rate}");
}

#[test]
fn all_that_is_wrong_is_told_at_its_place() {
    let message = faults(
        "[synthesize]\nmodel = \"lightning v3\"\nvoices = [\"avery\"]\nvoice_id = \"devansh\"\nspeed = 3\n\
         formats = [\"mulaw\",\n { format = \"wav\", sample_rate = 22050 },\n { ending = \"x\" }, { formt = \"wav\" }, 7]\n\
         part_chars = 8001\npause = { sentence_ms = 60001, paragraf_ms = 1 }\nmax_chars_per_second = -1\n\
         checks = { too_long = 0.5, silent = 1, clipt = 0 }\n\
         captions = [\"txt\"]\ntransport = \"tin\"\nvoice = \"x\"\nlanguage = \"e/n\"\nmath_notation = \"yes\"\n",
    );
    let wanted = [
        "5:9: `synthesize.model`: `lightning v3` cannot be a model",
        "6:10: `synthesize.voices`: goes in place of `voice_id`; leave one of them out",
        "8:9: `synthesize.speed`: 3 is not between 0.5 and 2",
        "9:12: `synthesize.formats`: `mulaw` is not what the API calls it; did you mean `ulaw`?",
        "10:34: `synthesize.formats`: 22050 is not a sample rate; known: 8000, 16000, 24000, 44100",
        "11:2: `synthesize.formats`: names no format; e.g. { format = \"ulaw\", sample_rate = 8000 }",
        "11:30: `synthesize.formats`: a format has no `formt`; did you mean `format`?; known: `format`, `sample_rate`, `ending`",
        "11:39: `synthesize.formats`: must be formats like \"wav\"",
        "12:14: `synthesize.part_chars`: 8001 is not between 1 and 8000, the most that the API takes at once",
        "13:25: `synthesize.pause.sentence_ms`: 60001 is not between 0 and 60000",
        "13:32: `synthesize.pause.paragraf_ms`: there is no such field; did you mean `paragraph_ms`?",
        "14:24: `synthesize.max_chars_per_second`: -1 is not between 0 (off) and 1000",
        "15:23: `synthesize.checks.too_long`: 0.5 is neither 0 (off) nor between 1 and 100",
        "15:37: `synthesize.checks.silent`: must be true or false, not a whole number",
        "15:40: `synthesize.checks.clipt`: there is no such field",
        "16:13: `synthesize.captions`: `txt` is not a caption format",
        "17:13: `synthesize.transport`: `tin` is not a transport",
        "18:1: `synthesize.voice`: there is no such field; did you mean `voices`?",
        "19:12: `synthesize.language`: `e/n` cannot be a language",
        "20:17: `synthesize.math_notation`: must be true or false, not a string",
    ];
    assert_eq!(message.len(), wanted.len(), "{message:#?}");
    for (message, wanted) in message.iter().zip(wanted) {
        assert!(message.starts_with(&format!("jobs/a.toml:{wanted}")), "{message}\n{wanted}");
    }
}

#[test]
fn rules_between_fields_are_told() {
    let message = |fields: &str| faults(&format!("[synthesize]\nmodel = \"lightning_v3.1\"\n{fields}")).join("\n");
    assert!(message("language = \"ja\"").contains("`lightning_v3.1` does not speak `ja`; use model ="));
    assert!(message("voices = []").contains("`synthesize.voices`: names no voice"));
    assert!(message("formats = []").contains("`synthesize.formats`: names no format: nothing would be written"));
    assert!(message("formats = [\"wav\", \"wav\"]").contains("wav at 24000 Hz stands twice"));
    assert!(message("name = \"{key\"").contains("`synthesize.name`: a `{` is never closed"));
    let message = faults("[transcribe]\nmodel = \"pulse\"\n").join("\n");
    assert!(
        message.contains("`transcribe`: there is no such field") && message.contains("`synthesize.model`: is missing")
    );
}

#[test]
fn the_task_decides_which_fields_there_are() {
    let message = load("task = \"synthesise\"\nmanifest = \"prompts.csv\"\n").1.unwrap_err().to_string();
    assert!(
        message.contains("jobs/a.toml:1:8: `task`: `synthesise` is not a task; did you mean `synthesize`?"),
        "{message}"
    );
    let message = load("manifest = \"s3://bucket/texts/\"\n[synthesize]\n").1.unwrap_err().to_string();
    assert!(
        message.contains("`task`: is missing; e.g. task = \"synthesize\"")
            && message.contains("copy them to a directory")
    );
    let message = load("task = \"transcribe\"\nmanifest = \"prompts.csv\"\n[synthesize]\n").1.unwrap_err().to_string();
    assert!(message.contains("`synthesize`: there is no such field"), "{message}");
}

#[test]
fn the_dictionary_is_read_with_all_else() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("words.csv", "word,pronunciation\nAcme,\n,x\n");
    write("prompts.csv", "key,text\n1,\n");
    let load = |pronunciations: &str| {
        let text = format!(
            "task = \"synthesize\"\nmanifest = \"prompts.csv\"\n[synthesize]\nmodel = \"lightning_v3.1\"\nvoice_id = \"a\"\n\
             pronunciations = \"{pronunciations}\"\npart_chars = 0\n"
        );
        write("a.toml", &text);
        let over = Overrides { working_dir: Some(dir.path().to_path_buf()), ..Overrides::default() };
        Definition::load(Path::new("a.toml"), crate::tasks::Registry::built_in().definitions(), &over)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        load("words.csv"),
        "a.toml:7:14: `synthesize.part_chars`: 0 is not between 1 and 8000, the most that the API takes at once\n\
         words.csv:2: column `pronunciation`: is empty\n\
         words.csv:3: column `word`: is empty\n\
         prompts.csv:2: column `text`: is empty: there is nothing to be spoken; to let such lines pass as skipped say no_text = \"skip\""
    );
    assert!(load("gone.csv").contains("a.toml:6:18: `synthesize.pronunciations`: `gone.csv`: there is no such file"));
}

#[test]
fn texts_are_named_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("one.md", "# One"), ("two.txt", "Two."), ("p.csv", "key,words\n1,Hi\n"), ("a.wav", "x")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let flags = |text_column: Option<&str>| -> crate::definition::TaskFlags {
        let text = text_column.map(|column| ("text-column", vec![column.to_owned()]));
        let others = [("voice-id", vec!["avery".to_owned(), "liam".into()]), ("part-chars", vec!["100".into()])];
        others.into_iter().chain(text).collect()
    };
    let over = Overrides {
        working_dir: Some(dir.path().to_path_buf()),
        options: vec![("model", "lightning_v3.1".to_owned()), ("speed", "1.5".to_owned())],
        formats: Some(vec!["wav".into(), "ulaw".into()]),
        ..Overrides::default()
    };
    let ad_hoc = |sources: &[&str], flags: crate::definition::TaskFlags| {
        let sources = sources.iter().map(|source| (*source).to_owned()).collect();
        let over = Overrides { flags, ..over.clone() };
        Definition::ad_hoc(
            &AdHoc { task: Synthesis::TASK, sources },
            crate::tasks::Registry::built_in().definitions(),
            &over,
        )
    };
    let definition = ad_hoc(&["p.csv"], flags(Some("words"))).unwrap();
    let asked = definition.synthesizing().unwrap();
    assert_eq!((asked.synthesis.part_chars, asked.synthesis.options.speed.thousandths()), (100, 1_500));
    assert_eq!((asked.synthesis.voices.len(), asked.synthesis.formats.len()), (2, 2));
    let scan = |definition: &Definition| {
        let scan =
            manifest::Manifest::open(definition, None).unwrap().scan(crate::definition::ScanDepth::Faults).unwrap();
        (scan.lines, scan.jobs, crate::tasks::synthesize::records::TextFindings::of(&scan).unwrap().voices.0.len())
    };
    assert_eq!(scan(&definition), (1, 4, 2));
    for (sources, batch, lines) in [(&["one.md"][..], "one", 1), (&["one.md", "two.txt"], "files", 2), (&["."], "", 2)]
    {
        let definition = ad_hoc(sources, flags(None)).unwrap();
        assert_eq!(scan(&definition), (lines, lines * 4, 2), "{sources:?}");
        assert!(batch.is_empty() || sources.len() > 1 || definition.batch.as_str() == batch);
    }
    let message = ad_hoc(&["one.md", "a.wav"], flags(None)).unwrap_err().to_string();
    assert!(message.contains("`a.wav` is no text (.txt, .md); give one manifest"), "{message}");
}
