mod languages;

use std::{fs, path::Path};

use super::*;
use super::{findings::LanguageTexts, look::TextsPreview};
use crate::{
    definition::{Definition, Manifest, ManifestRow, Overrides, Scan},
    domain::{
        cut::{flat, paragraphs},
        synthesis_options::{SynthesisOptions, TtsModel},
    },
};

/// A good line of texts, flattened.
#[derive(Debug)]
struct TextLine {
    number: u64,
    key: String,
    text: String,
    /// Its options, with its first voice.
    options: SynthesisOptions,
    outputs: Vec<Rendition>,
    carried: Vec<String>,
}

impl TextLine {
    fn of(line: &ManifestLine, asked: &Synthesis) -> Self {
        let outputs = renditions(line);
        assert_eq!(outputs.len(), line.jobs.len());
        Self {
            number: line.number,
            key: line.key.to_string(),
            text: line.jobs[0].text.as_deref().unwrap().to_owned(),
            options: outputs[0].overrides.apply(&asked.options),
            outputs,
            carried: line.carried.clone(),
        }
    }

    /// The length of its text as it is bought, without the spaces at the cuts.
    fn chars(&self) -> usize {
        paragraphs(&self.text).map(|paragraph| flat(paragraph).chars().count()).sum()
    }
}

/// A folder with a definition and its manifest.
struct Bench {
    dir: tempfile::TempDir,
    /// Fields before `[synthesize]`.
    root: &'static str,
    /// Fields of `[synthesize]`.
    fields: String,
}

impl Bench {
    fn new(root: &'static str, fields: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), root, fields: fields.to_owned() }
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn load(&self) -> Result<Definition, Faults> {
        let text = format!(
            "task = \"synthesize\"\n{}\n[synthesize]\nmodel = \"lightning_v3.1\"\n{}\n",
            self.root, self.fields
        );
        self.write("a.toml", &text);
        let over = Overrides { working_dir: Some(self.dir.path().to_path_buf()), ..Overrides::default() };
        Definition::load(Path::new("a.toml"), crate::tasks::Registry::built_in().definitions(), &over)
    }

    fn read(&self) -> Result<(Scan, TextsPreview, Vec<ManifestRow>), String> {
        let definition = self.load().map_err(|e| e.to_string())?;
        let read = |manifest: Manifest<'_>| {
            let scan = manifest.scan(ScanDepth::Look)?;
            let rows = manifest.lines(&scan)?.collect::<Result<Vec<_>, _>>()?;
            let look = TextFindings::of(&scan).unwrap().look.clone().unwrap();
            Ok((scan, look, rows))
        };
        Manifest::open(&definition, None).and_then(read).map_err(|e: Faults| e.to_string())
    }

    fn line(&self, row: &ManifestRow) -> TextLine {
        match row {
            ManifestRow::Good(line) => TextLine::of(line, &self.load().unwrap().synthesizing().unwrap().synthesis),
            ManifestRow::Bad(bad) => panic!("{bad:?}"),
        }
    }

    fn good(&self) -> Vec<TextLine> {
        self.read().unwrap().2.iter().map(|row| self.line(row)).collect()
    }

    fn fault(&self) -> String {
        self.read().unwrap_err()
    }
}

const PROMPTS: &str = "manifest = \"prompts.csv\"";

fn files(line: &TextLine) -> Vec<String> {
    line.outputs.iter().map(Rendition::file).collect()
}

#[test]
fn lines_times_voices_times_formats() {
    let fields = "voices = [\"a\", \"b\", \"c\", \"d\"]\nformats = [\"wav\", \"ulaw\"]\ncaptions = [\"srt\"]";
    let bench = Bench::new(PROMPTS, fields);
    let lines: String = (1..=800).map(|line| format!("p{line},Hello number {line}.\n")).collect();
    bench.write("prompts.csv", &format!("key,text\n{lines}"));
    let (scan, look, rows) = bench.read().unwrap();
    assert_eq!((scan.lines, scan.jobs, look.parts), (800, 6_400, 6_400), "two rates, and so two purchases");
    let own: u64 = (1..=800).map(|line: u32| 14 + line.to_string().len() as u64).sum();
    assert_eq!(look.characters, [(TtsModel::Lightning, own * 8)].into());
    let first = bench.line(&rows[0]);
    assert_eq!(files(&first)[..3], ["p1.a.wav", "p1.a.ulaw", "p1.b.wav"]);
    assert_eq!(first.outputs[1].variant(), "a|ulaw|8000");
    let captions: Vec<_> = first.outputs.iter().map(|output| output.captions).collect();
    assert_eq!(captions[..4], [true, false, true, false]);
}

#[test]
fn a_line_has_its_own_options_and_columns_make_names() {
    let bench = Bench::new(
        PROMPTS,
        "voices = [\"a\", \"b\"]\nlanguage = \"en\"\nname = \"{language}/{menu}/{key}-{voice_id}\"",
    );
    bench.write(
        "prompts.csv",
        "key,menu,text,voice_id,language,speed\n1,main,Hello,,,\n2,main,\"One.\n\nTwo.\",devansh,hi,1.25\n",
    );
    let lines = bench.good();
    assert_eq!(files(&lines[0]), ["en/main/1-a.wav", "en/main/1-b.wav"]);
    assert_eq!(files(&lines[1]), ["hi/main/2-devansh.wav"]);
    assert_eq!((lines[1].number, lines[1].options.language), (3, Some(TtsLanguage::Hi)));
    assert_eq!(lines[1].options.speed.thousandths(), 1_250);
    assert_eq!(lines[0].outputs[1].overrides.voice_id.as_deref(), Some("b"));
    assert_eq!(lines[1].outputs[0].overrides.language, Some(TtsLanguage::Hi));
    assert_eq!((lines[1].text.as_str(), lines[1].chars()), ("One.\n\nTwo.", 8));
    assert_eq!(lines[0].carried, ["main"]);
}

#[test]
fn all_bad_lines_are_told_with_their_columns() {
    let bench = Bench::new(PROMPTS, "voice_id = \"a\"");
    bench.write(
        "prompts.csv",
        "key,text,text_file,language,speed\n1,  ,,,\n2,Hi,a.txt,,\n3,,gone.txt,,\n4,Hi,,ja,\n5,Hi,,,9\n6,...,,,\n../7,Hi,,,\n8,,https://x.org/a.txt,,\n",
    );
    let message = bench.fault();
    for wanted in [
        ":2: column `text`: is empty: there is nothing to be spoken",
        ":3: column `text_file`: stands beside a text; a line has the one or the other",
        ":4: column `text_file`: `gone.txt`: there is no such file",
        ":5: column `language`: `lightning_v3.1` does not speak `ja`",
        ":6: column `speed`: 9 is not between 0.5 and 2",
        ":7: column `text`: has neither letter nor digit",
        ":8: column `key`: `../7`: a key may not have `.` or `..`",
        ":9: column `text_file`: `https://x.org/a.txt`: texts are read from files, and not from `https:`",
    ] {
        assert!(message.contains(&format!("prompts.csv{wanted}")), "{wanted}\n{message}");
    }
    assert_eq!(message.lines().count(), 8, "{message}");
    let skipping = Bench { root: "manifest = \"prompts.csv\"\nbad_lines = \"skip\"", ..bench };
    skipping.write("prompts.csv", "key,text\n1,One\n1,Two\n3,\n");
    let (scan, _, rows) = skipping.read().unwrap();
    assert_eq!((scan.lines, scan.bad, scan.jobs, rows.len()), (1, 2, 1, 3));
    let ManifestRow::Bad(bad) = &rows[1] else { panic!() };
    assert_eq!(bad.fault, "column `key`: the key is also that of line 2");
}

/// `/proc/self/mem` can be opened as a file, and reading unmapped memory gives EIO, as a failing disk does.
#[cfg(target_os = "linux")]
#[test]
fn a_text_that_cannot_be_read_now_stops_the_reading_and_is_no_bad_line() {
    for bad_lines in ["", "bad_lines = \"skip\"\n"] {
        let root: &'static str = Box::leak(format!("{PROMPTS}\n{bad_lines}").into_boxed_str());
        let bench = Bench::new(root, "voice_id = \"a\"");
        bench.write("a.txt", "Good.");
        bench.write("prompts.csv", "key,text_file\n1,a.txt\n2,/proc/self/mem\n3,a.txt\n");
        let message = bench.fault();
        assert!(message.starts_with("prompts.csv:3: the text `/proc/self/mem` cannot be read now: "), "{message}");
        assert!(message.contains("look at that disk or mount") && message.lines().count() == 1, "{message}");
        // A fault of the file itself is a fault of its line.
        bench.write("prompts.csv", "key,text_file\n1,a.txt\n2,a.txt/b.txt\n");
        match bad_lines {
            "" => assert!(
                bench.fault().contains(":3: column `text_file`: `a.txt/b.txt`: cannot be read: "),
                "{}",
                bench.fault()
            ),
            _ => assert_eq!(bench.read().unwrap().0.bad, 1),
        }
    }
}

#[test]
fn two_outputs_of_one_name_are_told_with_a_way_out() {
    let mut bench = Bench::new(PROMPTS, "voices = [\"a\", \"b\"]\nname = \"{key}\"");
    bench.write("prompts.csv", "key,menu,text\n1,m,Hi\n2,m,Ho\n");
    let message = bench.fault();
    assert!(
        message.starts_with("prompts.csv:2: `1.wav` would be the name of two outputs: b in wav at 24000 Hz, and a in")
    );
    assert_eq!(message.lines().count(), 2, "{message}");
    assert!(message.lines().all(|line| line.contains("add `{voice_id}` to `name` in [synthesize]")), "{message}");
    bench.write("prompts.csv", "key,menu,text\n1,m,Hi\n2,m,Ho\n3,m,Hey\n");
    let message = bench.fault();
    assert!(message.ends_with("of line 2; add `{voice_id}` to `name` in [synthesize]\n… and 2 more"), "{message}");
    bench.write("prompts.csv", "key,menu,text\n1,m,Hi\n2,m,Ho\n");
    bench.fields = "voice_id = \"a\"\nname = \"{menu}\"".into();
    let message = bench.fault();
    assert!(
        message.starts_with("prompts.csv:3: `m.wav`")
            && message.ends_with("of line 2; add `{key}` to `name` in [synthesize]")
    );
    bench.fields =
        "voice_id = \"a\"\nname = \"{key}\"\nformats = [\"wav\", { format = \"pcm\", ending = \"wav\" }]".into();
    assert!(bench.fault().contains("add `{format}`"));
    bench.fields = "voice_id = \"a\"\nname = \"{mneu}/{key}\"".into();
    let message = bench.fault();
    assert!(
        message.contains("the output's name: nothing is called `mneu`; did you mean `menu`?; known: `key`, `voice_id`"),
        "{message}"
    );
    bench.fields = "voice_id = \"a\"\nname = \"../{key}\"".into();
    assert!(bench.fault().contains("its output would be called `../1`: a name may not have `.` or `..`"));
}

#[test]
fn columns_and_voices_that_are_missing_are_told() {
    let mut bench = Bench::new(PROMPTS, "");
    bench.write("prompts.csv", "id,words\n1,Hi\n");
    let message = bench.fault();
    assert!(message.contains("no column is known to hold the text; found: `id`, `words`"), "{message}");
    assert!(message.contains("no voice is named"), "{message}");
    bench.root = "manifest = \"prompts.csv\"\ncolumns = { text = \"words\" }";
    bench.write("prompts.csv", "id,words,voice_id\n1,Hi,a\n2,Ho,\n");
    assert!(bench.fault().starts_with("prompts.csv:3: column `voice_id`: is empty, and the definition names no voice"));
    bench.root = "manifest = \"prompts.csv\"\ncolumns = { text = \"word\" }";
    assert!(bench.fault().contains("there is no column `word`; did you mean `words`?"));
}

#[test]
fn plain_lines_and_objects_are_texts() {
    let bench = Bench::new("manifest = \"prompts.txt\"", "voice_id = \"a\"");
    bench.write("prompts.txt", "Hello.\n\nHow are you?\n");
    let lines = bench.good();
    assert_eq!((lines[1].key.as_str(), lines[1].text.as_str()), ("line-000003", "How are you?"));
    let bench = Bench::new("manifest = \"prompts.jsonl\"", "voice_id = \"a\"");
    bench.write("prompts.jsonl", "{\"key\":\"k\",\"text\":\"Hi\",\"speed\":0.5,\"math_notation\":true}\n");
    let line = &bench.good()[0];
    assert_eq!((line.options.speed.thousandths(), line.options.math_notation), (500, true));
}

#[test]
fn files_are_read_for_their_text() {
    let bench = Bench::new("manifest = \"book\"", "voice_id = \"a\"");
    bench.write("book/1/one.md", "# One\n\nIt *began*.\n\n| a |\n|---|\n| b |\n");
    bench.write("book/1/two.txt", "It went on,\nand on.\n");
    bench.write("book/cover.jpg", "x");
    let (scan, look, rows) = bench.read().unwrap();
    assert_eq!((scan.lines, scan.ignored[".jpg"], look.parts), (2, 1, 3));
    assert_eq!((look.left_out.len(), look.left_out[0].1.to_string()), (1, "1 table".to_owned()));
    let line = bench.line(&rows[0]);
    assert_eq!((line.key.as_str(), line.text.as_str()), ("1/one", "One\n\u{b}\nIt began."));
    bench.write("book/1/two.txt", "It went on, and off.\n");
    assert_ne!(bench.read().unwrap().0.hash, scan.hash, "the texts are a part of the manifest");
    bench.write("book/1/three.txt", "");
    assert!(bench.fault().ends_with("three.txt`: is empty"));

    let glob = Bench::new("manifest = \"book/*.md\"", "voice_id = \"a\"");
    glob.write("book/a.md", "A.");
    glob.write("book/b.txt", "B.");
    assert_eq!(glob.good().iter().map(|line| line.key.as_str()).collect::<Vec<_>>(), ["a"]);
    let alone = Bench::new("manifest = \"book/a.md\"", "voice_id = \"a\"");
    alone.write("book/a.md", "A.");
    assert_eq!(alone.good()[0].key.as_str(), "a");
    let column = Bench::new(PROMPTS, "voice_id = \"a\"");
    column.write("prompts.csv", "text_file\nbook/a.md\n");
    column.write("book/a.md", "A & B.");
    assert_eq!((column.good()[0].key.as_str(), column.good()[0].text.as_str()), ("a", "A & B."));
}

#[test]
fn oddities_are_told_by_line() {
    let bench = Bench::new(PROMPTS, "voice_id = \"a\"\nlanguage = \"en\"");
    let lines: String = (1..=25).map(|line| format!("p{line},Please HOLD the line\n")).collect();
    bench.write("prompts.csv", &format!("key,text\nlong,{}\n{lines}", "very long text ".repeat(20)));
    let look = bench.read().unwrap().1;
    assert_eq!(look.notes.len(), 26);
    assert_eq!((look.notes[0].number, look.notes[0].key.as_str()), (3, "p1"));
    assert_eq!(look.notes[0].what, "a word in capitals may be spelled out: `HOLD`");
    bench.write("prompts.csv", &format!("key,text\n1,a\n2,b\n3,c\n4,d\n5,e\nlong,{}\n", "very long text ".repeat(20)));
    let look = bench.read().unwrap().1;
    assert_eq!((look.notes.len(), look.notes[0].number), (1, 7));
    assert!(look.notes[0].what.starts_with("has 298 characters"), "{}", look.notes[0].what);
}

#[test]
fn what_no_voice_speaks_is_taken_out_and_told() {
    let bench = Bench::new(PROMPTS, "voice_id = \"a\"");
    bench.write(
        "prompts.csv",
        "key,text,text_file\n\u{feff}one,Auf\u{ad}la\u{ad}ge don\u{92}t\u{7},\ntwo,,a.md\nthree,plain,\n",
    );
    bench.write("a.md", "# A\u{200b}B\n\nText and text.\n\n***\n\nMore.\n\n😀\n\n- - -\n\nThe end.\n\n![x](y)\n");
    let (scan, look, rows) = bench.read().unwrap();
    let (one, two) = (bench.line(&rows[0]), bench.line(&rows[1]));
    assert_eq!((one.key.as_str(), one.text.as_str()), ("one", "Auflage don’t"));
    assert_eq!(two.text, "AB\n\u{b}\nText and text.\n\n* * *\n\nMore.\n\n😀\n\n* * *\n\nThe end.");
    let told: Vec<_> = look.notes.iter().map(|note| (note.number, note.key.as_str(), note.what.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "one", "1 invisible character is taken out of the key"),
            (
                2,
                "one",
                "2 soft hyphens and 1 control character are taken out, 1 character of Windows-1252 is put right"
            ),
            (3, "two", "1 invisible character is taken out"),
            (3, "two", "an emoji: `😀`"),
            (3, "two", "a paragraph without letters and digits is a pause: `😀`"),
        ]
    );
    assert_eq!(look.scene_breaks, 2);
    assert_eq!(two.outputs[0].left_out.as_deref(), Some("1 image"));
    assert_eq!(one.outputs[0].left_out, None);
    let changes = TextFindings::of(&scan).unwrap().changes();
    assert_eq!(changes[0], "of a file, this is not spoken: 1 image; `wavebatch check` lists it");
    assert!(changes[1].starts_with("of 2 texts, characters that no voice speaks"), "{changes:?}");
}

#[test]
fn markdown_is_read_as_the_definition_has_it() {
    let text = "1986. A *season*.\n\n    Indented.\n";
    for (markdown, expected) in [
        ("", "1986. A season.\n\nIndented."),
        ("markdown = \"prose\"", "1986. A season.\n\nIndented."),
        ("markdown = \"commonmark\"", "A season."),
        ("markdown = \"text\"", "1986. A *season*.\n\nIndented."),
    ] {
        let bench = Bench::new("manifest = \"a.md\"", &format!("voice_id = \"a\"\n{markdown}"));
        bench.write("a.md", text);
        assert_eq!(bench.good()[0].text, expected, "{markdown}");
    }
    let bench = Bench::new("manifest = \"a.md\"", "voice_id = \"a\"");
    bench.write("a.md", "One.\n\n```\nTwo.\n");
    assert!(bench.fault().contains("a.md`: line 3 opens a code block that is never closed"), "{}", bench.fault());
}

#[test]
fn a_book_is_not_bought_line_by_line() {
    let wrapped = "It was a dark and stormy night; the rain fell in torrents, except at\n\
        occasional intervals, when it was checked by a violent gust of wind which\n\
        swept up the streets. It is in London that our scene lies, rattling along\n\
        the housetops.\n";
    let mut bench = Bench::new("manifest = \"book.txt\"", "voice_id = \"a\"");
    bench.write("book.txt", wrapped);
    let fault = bench.fault();
    assert!(
        fault.starts_with(
            "book.txt:1: goes on in the next line (`… torrents, except at`, `occasional intervals, when …`)"
        ),
        "{fault}"
    );
    assert!(fault.contains("say --manifest-format text, or put it into a folder"), "{fault}");
    bench.root = "manifest = \"book.txt\"\nmanifest_format = \"lines\"";
    assert_eq!(bench.good().len(), 4);
    bench.root = "manifest = \"book.txt\"\nmanifest_format = \"text\"";
    let lines = bench.good();
    assert_eq!((lines.len(), lines[0].key.as_str(), lines[0].number), (1, "book", 1));
    assert!(lines[0].text.starts_with("It was a dark") && lines[0].text.ends_with("along the housetops."));
    bench.root = "manifest = \".\"\nmanifest_format = \"text\"";
    assert!(bench.fault().contains("is a directory; the format `text` is for one file"), "{}", bench.fault());
    bench.root = "manifest = \"-\"\nmanifest_format = \"text\"";
    assert!(bench.fault().contains("the format `text` is for a file on this machine"), "{}", bench.fault());
}

#[test]
fn voices_go_by_language_by_cell_and_by_front_matter() {
    let fields = "language = \"en\"\nvoices = { en = [\"avery\"], hi = [\"devansh\", \"meher\"] }";
    let mut bench = Bench::new(PROMPTS, fields);
    bench.write(
        "prompts.csv",
        "key,text,text_file,language,voice_id\n1,Hi,,,\n2,नमस्ते,,hi,\n3,Hi,,,\"a, b\"\n4,Hi,,,x;y\n5,,a.md,,\n6,,b.txt,,z\n7,,c.txt,,\n",
    );
    bench.write("a.md", "---\nlanguage: hi\n---\nनमस्ते\n");
    bench.write("b.txt", "---\nvoice_id: q\nlanguage: hi\n---\nनमस्ते\n");
    bench.write("c.txt", "---\ntitle: Read aloud\n---\nHello.\n");
    let lines = bench.good();
    let voices = |line: &TextLine| line.outputs.iter().map(|o| o.voice_id().to_owned()).collect::<Vec<_>>().join(" ");
    let all: Vec<_> = lines.iter().map(voices).collect();
    assert_eq!(all, ["avery", "devansh meher", "a b", "x y", "devansh meher", "z", "avery"]);
    assert_eq!(lines[4].options.language, Some(TtsLanguage::Hi));
    assert_eq!((lines[5].text.as_str(), lines[5].options.language), ("नमस्ते", Some(TtsLanguage::Hi)));
    assert_eq!(lines[6].text, "--- title: Read aloud --- Hello.");
    assert_eq!(files(&lines[1]), ["2.devansh.wav", "2.meher.wav"]);
    bench.write("prompts.csv", "key,text,language,voice_id\n1,Hi,fr,\n2,Hi,,\"a,a\"\n3,Hi,,\";\"\n");
    let fault = bench.fault();
    for wanted in [
        ":2: column `voice_id`: is empty, and `voices` in [synthesize] has none for `fr`, but for `en`, `hi`",
        ":3: column `voice_id`: `a` stands twice",
        ":4: column `voice_id`: `;` names no voice",
    ] {
        assert!(fault.contains(&format!("prompts.csv{wanted}")), "{wanted}\n{fault}");
    }
    for (voices, wanted) in [
        ("{ en = [] }", "names no voice for `en`"),
        ("{ en = \"a\" }", "must be a list of voices"),
        ("{ en = [\"a b\"] }", "`a b` cannot be"),
        ("{}", "names no voice"),
        ("7", "must be a list of voices"),
    ] {
        bench.fields = format!("voices = {voices}");
        assert!(bench.fault().contains(wanted), "{voices}: {}", bench.fault());
    }
}

#[test]
fn a_line_without_a_text_may_be_skipped() {
    let mut bench = Bench::new(PROMPTS, "voice_id = \"a\"");
    bench.write("prompts.csv", "key,text\n1,Hi\n2,\n3, \n");
    assert!(bench.fault().contains("no_text = \"skip\""), "{}", bench.fault());
    bench.root = "manifest = \"prompts.csv\"\nno_text = \"skip\"";
    let (scan, look, rows) = bench.read().unwrap();
    assert_eq!((scan.lines, scan.jobs, scan.without_source, look.parts, rows.len()), (3, 3, 2, 1, 3));
    let ManifestRow::Good(line) = &rows[1] else { panic!() };
    assert!(line.jobs.len() == 1 && line.jobs[0].is_idle());
}

#[test]
fn a_text_that_changes_between_the_readings_is_a_bad_line_and_the_rest_goes_on() {
    let in_folder = Bench::new("manifest = \"book\"", "voice_id = \"avery\"");
    let in_file = Bench::new("manifest = \"lines.csv\"", "voice_id = \"avery\"");
    in_file.write("lines.csv", "key,text_file\none,book/1.txt\ntwo,book/2.txt\nten,book/10.txt\n");
    for (bench, names) in [(in_folder, "book/"), (in_file, "")] {
        for chapter in ["book/10.txt", "book/2.txt", "book/1.txt"] {
            bench.write(chapter, &format!("This is {chapter}."));
        }
        let definition = bench.load().unwrap();
        let manifest = Manifest::open(&definition, None).unwrap();
        let scan = manifest.scan(ScanDepth::Faults).unwrap();
        bench.write("book/2.txt", "This is longer now.");
        bench.write("book/3.txt", "This is new.");
        let rows: Vec<_> = manifest.lines(&scan).unwrap().map(Result::unwrap).collect();
        let [ManifestRow::Good(first), ManifestRow::Bad(second), ManifestRow::Good(third)] = &rows[..] else {
            panic!("{names}: {rows:?}")
        };
        assert!(second.fault.contains("changed while the manifest was read"), "{}", second.fault);
        let texts = [first, third].map(|line| line.jobs[0].text.clone().unwrap().to_string());
        assert_eq!(texts, ["This is book/1.txt.", "This is book/10.txt."]);
    }
}

#[test]
fn files_of_texts_are_mapped_and_found_in_either_form() {
    let (composed, decomposed) = ("Pr\u{fc}fung", "Pru\u{308}fung");
    let mut bench = Bench::new("manifest = \"lines.csv\"", "voice_id = \"avery\"");
    bench.write(&format!("texts/{decomposed}.txt"), "One.");
    bench.write("lines.csv", &format!("key,text_file\na,texts/{composed}.txt\nb,T:\\Texts\\{composed}.txt\n"));
    let message = bench.fault();
    assert!(
        message.contains("lines.csv:3: column `text_file`:") && message.contains("is on a drive of Windows"),
        "{message}"
    );
    let root = format!(
        "manifest = \"lines.csv\"\n[source]\npath_map = {{ 't:' = \"{}\", 't:\\texts' = \"{}/texts\" }}",
        bench.dir.path().display(),
        bench.dir.path().display()
    );
    bench.root = root.leak();
    let texts: Vec<_> = bench.good().into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["One.", "One."]);
}
