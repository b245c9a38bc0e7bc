//! A manifest with a text in each language.

use super::*;

const WIDE: &str = "manifest = \"p.csv\"\ntext_columns = { en = \"text_en\", hi = \"text_hi\" }";
const BY_LANGUAGE: &str = "voices = { en = [\"avery\"], hi = [\"meher\", \"devansh\"] }";
const CSV: &str = "key,menu,text_en,text_hi\nwelcome,main,Welcome.,स्वागत है।\nbye,main,Goodbye., \n";

/// The jobs of a row: variant, output, language and text.
fn jobs(bench: &Bench, row: &ManifestRow) -> Vec<(String, String, Option<TtsLanguage>, String)> {
    let ManifestRow::Good(line) = row else { panic!("{row:?}") };
    let asked = bench.load().unwrap();
    let language =
        |output: &Rendition| output.overrides.apply(&asked.synthesizing().unwrap().synthesis.options).language;
    let of = |job: &JobDraft| {
        let output = rendition(job).unwrap();
        (job.variant.clone(), output.file(), language(&output), job.text.as_deref().unwrap().to_owned())
    };
    line.jobs.iter().map(of).collect()
}

#[test]
fn a_line_has_a_text_for_each_language_whose_cell_is_not_empty() {
    let bench = Bench::new(WIDE, BY_LANGUAGE);
    bench.write("p.csv", CSV);
    let (scan, look, rows) = bench.read().unwrap();
    let (en, hi) = (Some(TtsLanguage::En), Some(TtsLanguage::Hi));
    let job = |variant: &str, file: &str, language, text: &str| (variant.into(), file.into(), language, text.into());
    assert_eq!(
        jobs(&bench, &rows[0]),
        [
            job("en|avery|wav|24000", "welcome.en.avery.wav", en, "Welcome."),
            job("hi|meher|wav|24000", "welcome.hi.meher.wav", hi, "स्वागत है।"),
            job("hi|devansh|wav|24000", "welcome.hi.devansh.wav", hi, "स्वागत है।"),
        ]
    );
    assert_eq!(jobs(&bench, &rows[1]), [job("en|avery|wav|24000", "bye.en.avery.wav", en, "Goodbye.")]);
    assert_eq!((scan.lines, scan.jobs, scan.without_source, look.parts), (2, 4, 0, 4));
    let of = |language, column: &str, texts, empty| LanguageTexts { language, column: column.into(), texts, empty };
    let found = TextFindings::of(&scan).unwrap();
    assert_eq!(found.languages, [of(TtsLanguage::En, "text_en", 2, 0), of(TtsLanguage::Hi, "text_hi", 1, 1)]);
    let [first, second, ..] = &found.shown().facts[..] else { panic!("{found:?}") };
    assert_eq!(*first, ("texts", "en: 2 texts".to_owned()));
    assert_eq!(*second, ("", "hi: 1 text, and 1 cell is empty".to_owned()));
    assert_eq!(scan.columns.carried, ["menu"]);
    assert_eq!(scan.columns.by_language[1], ("hi".to_owned(), "text_hi".to_owned()));
    let ManifestRow::Good(line) = &rows[0] else { panic!() };
    assert_eq!(line.by_text().map(<[JobDraft]>::len).collect::<Vec<_>>(), [1, 2]);
    let used: Vec<_> = found.voices.0.iter().map(|(voice, used)| (voice.voice_id.as_str(), used.by_line)).collect();
    assert_eq!(used, [("avery", false), ("devansh", false), ("meher", false)], "the definition names them");
}

#[test]
fn one_voice_may_speak_all_languages_and_a_cell_may_name_another() {
    let bench = Bench::new(WIDE, "voices = [\"meher\", \"avery\"]");
    bench.write("p.csv", "key,text_en,text_hi,voice_id,speed\na,Hello.,नमस्ते,,\nb,Bye.,विदा,liam,1.25\n");
    let (_, _, rows) = bench.read().unwrap();
    let variants = |row| jobs(&bench, row).into_iter().map(|job| (job.0, job.1)).collect::<Vec<_>>();
    let own = |variant: &str, file: &str| (variant.to_owned(), file.to_owned());
    assert_eq!(
        variants(&rows[0]),
        [
            own("en|meher|wav|24000", "a.en.meher.wav"),
            own("en|avery|wav|24000", "a.en.avery.wav"),
            own("hi|meher|wav|24000", "a.hi.meher.wav"),
            own("hi|avery|wav|24000", "a.hi.avery.wav"),
        ]
    );
    assert_eq!(
        variants(&rows[1]),
        [own("en|liam|wav|24000", "b.en.liam.wav"), own("hi|liam|wav|24000", "b.hi.liam.wav")]
    );
    let ManifestRow::Good(line) = &rows[1] else { panic!() };
    assert!(line.jobs.iter().all(|job| rendition(job).unwrap().overrides.speed.unwrap().thousandths() == 1_250));
}

#[test]
fn the_language_of_the_definition_keeps_the_lines_that_had_one_text() {
    let mut bench =
        Bench::new("manifest = \"p.csv\"\ncolumns = { text = \"text_en\" }", "voice_id = \"avery\"\nlanguage = \"en\"");
    bench.write("p.csv", CSV);
    let identity = |row: &ManifestRow| {
        let ManifestRow::Good(line) = row else { panic!() };
        (line.jobs[0].variant.clone(), line.jobs[0].options_id)
    };
    let before = identity(&bench.read().unwrap().2[0]);
    bench.root = WIDE;
    let (_, _, rows) = bench.read().unwrap();
    assert_eq!(identity(&rows[0]), before);
    assert_eq!(jobs(&bench, &rows[0])[1].0, "hi|avery|wav|24000");
    bench.fields = "voice_id = \"avery\"\nlanguage = \"fr\"".into();
    let fault = bench.fault();
    assert!(
        fault
            .contains("a.toml:7:12: `synthesize.language`: no text has the language `fr`: text_columns has `en`, `hi`"),
        "{fault}"
    );
}

#[test]
fn a_cell_may_be_empty_and_a_line_without_any_text_obeys_no_text() {
    let mut bench = Bench::new(WIDE, "voice_id = \"a\"");
    bench.write("p.csv", "key,text_en,text_hi\na,Hi,\nb,,\nc,...,नमस्ते\nd, ,—\n");
    let fault = bench.fault();
    for wanted in [
        ":3: has no text in any language: there is nothing to be spoken; to let such lines pass as skipped say no_text",
        ":4: column `text_en`: has neither letter nor digit",
        ":5: column `text_hi`: has neither letter nor digit: nothing would be spoken; if nothing is to be, leave the cell",
    ] {
        assert!(fault.contains(&format!("p.csv{wanted}")), "{wanted}\n{fault}");
    }
    assert_eq!(fault.lines().count(), 3, "{fault}");
    bench.root = "manifest = \"p.csv\"\nno_text = \"skip\"\ntext_columns = { en = \"text_en\", hi = \"text_hi\" }";
    bench.write("p.csv", "key,text_en,text_hi\na,Hi,\nb,,\n");
    let (scan, _, rows) = bench.read().unwrap();
    assert_eq!((scan.lines, scan.jobs, scan.without_source), (2, 2, 1));
    assert!(matches!(&rows[1], ManifestRow::Good(line) if line.jobs.len() == 1 && line.jobs[0].is_idle()));
    let empty: Vec<_> = TextFindings::of(&scan).unwrap().languages.iter().map(|own| own.empty).collect();
    assert_eq!(empty, [0, 1], "a line without any text is told as one");
}

#[test]
fn columns_that_are_missing_or_meant_otherwise_are_told() {
    let mut bench = Bench::new(
        "manifest = \"p.csv\"\ntext_columns = { en = \"txt_en\", hi = \"text_hin\", ta = \"x\" }",
        "voice_id = \"a\"",
    );
    bench.write("p.csv", CSV);
    let fault = bench.fault();
    for wanted in [
        "text_columns.en: there is no column `txt_en`; did you mean `text_en`?; found: `key`, `menu`, `text_en`, `text_hi`",
        "text_columns.hi: there is no column `text_hin`; did you mean `text_hi`?",
        "text_columns.ta: there is no column `x`; found:",
    ] {
        assert!(fault.contains(wanted), "{wanted}\n{fault}");
    }
    let one_text = "each language has a text of its own; leave `text` out, or write its column into text_columns";
    for (root, wanted) in [
        ("columns = { text = \"text_en\" }", "`columns.text`: stands beside text_columns, where"),
        ("columns = { text = \"text_en\" }", one_text),
        ("columns = { text_file = \"f\" }", "`columns.text_file`: stands beside text_columns, where"),
        (
            "columns = { language = \"menu\" }",
            "`columns.language`: stands beside text_columns, where each text has the language",
        ),
    ] {
        bench.root = format!("{WIDE}\n{root}").leak();
        let fault = bench.fault();
        assert!(fault.contains(wanted), "{root}: {fault}");
        assert!(fault.starts_with("a.toml:4:"), "{fault}");
    }
    for (table, wanted) in [
        ("{}", "must be a table of columns by language: { en = \"text_en\""),
        ("\"text_en\"", "must be a table of columns by language"),
        ("{ en = [\"text_en\"] }", "must be a table of columns by language"),
        ("{ en = \"\" }", "`en`: "),
        ("{ \"e n\" = \"text_en\" }", "`e n` cannot be a language"),
        ("{ en = \"{text_en\" }", "a `{` is never closed"),
    ] {
        bench.root = format!("manifest = \"p.csv\"\ntext_columns = {table}").leak();
        let fault = bench.fault();
        assert!(fault.contains("a.toml:3:16: `text_columns`: ") && fault.contains(wanted), "{table}: {fault}");
    }
    bench.root = "manifest = \"p.csv\"";
    bench.fields = "voice_id = \"a\"\ntext_columns = { en = \"text_en\" }".into();
    let fault = bench.fault();
    assert!(fault.contains("no such field here; did you mean `text_columns`, above all tables?"), "{fault}");
    bench.root = WIDE;
    bench.fields = "voices = { en = [\"avery\"] }".into();
    let fault = bench.fault();
    assert!(fault.contains("texts in `hi`, and `voices` in [synthesize] names no voice for it; add hi = ["), "{fault}");
    bench.root = "manifest = \"p.csv\"\ntext_columns = { ja = \"text_en\" }";
    bench.fields = "voice_id = \"a\"".into();
    assert!(
        bench.fault().contains("text_columns: `lightning_v3.1` does not speak `ja`; use model"),
        "{}",
        bench.fault()
    );
    bench.write("p.csv", "key,text_en,model\na,Hi,lightning_v3.1_pro\nb,Hi,\n");
    let fault = bench.fault();
    assert!(fault.starts_with("p.csv:3: column `text_en`: `lightning_v3.1` does not speak `ja`"), "{fault}");
    let bench = Bench::new("manifest = \"book\"\ntext_columns = { en = \"text_en\" }", "voice_id = \"a\"");
    bench.write("book/a.txt", "Hi.");
    assert!(
        bench.fault().contains("text_columns names columns of a table, and this manifest has files"),
        "{}",
        bench.fault()
    );
}

#[test]
fn columns_that_look_like_texts_are_told() {
    let mut bench = Bench::new(WIDE, "voice_id = \"a\"");
    bench.write("p.csv", "key,text_en,text_hi,text_ta,Language,text,note_fr,lang\na,Hi,,,,,,\n");
    let warnings = bench.read().unwrap().0.warnings;
    assert_eq!(
        warnings,
        [
            "column `text_ta` is not spoken; if it is the text in `ta`, add ta = \"text_ta\" to text_columns, or say --column text.ta=text_ta",
            "column `Language` sets nothing and is carried into the report: each text has the language that text_columns gives it",
            "column `text` is not spoken: text_columns does not name it",
        ]
    );
    bench.root = "manifest = \"p.csv\"\ntext_columns = { en = \"text_en\", hi = \"text_en\" }";
    bench.write("p.csv", "key,text_en\na,Hi\n");
    assert_eq!(bench.read().unwrap().0.warnings, ["column `text_en` is spoken twice: as `en` and as `hi`"]);
    bench.root = "manifest = \"p.csv\"";
    bench.write("p.csv", "id,text_en,Text-HI,text_id\na,Hi,,\n");
    let fault = bench.fault();
    assert!(
        fault.contains(
            "say text_columns = { en = \"text_en\", hi = \"Text-HI\" } in the definition, or --column text.en=text_en --column text.hi=Text-HI;"
        ),
        "{fault}"
    );
}

#[test]
fn a_template_without_its_own_cells_is_no_text() {
    let root = "manifest = \"p.csv\"\ntext_columns = { en = \"{brand}: {text_en}\", hi = \"{brand}: {text_hi}\" }";
    let bench = Bench::new(root, "voice_id = \"a\"");
    bench.write("p.csv", "key,brand,text_en,text_hi\na,Acme,Welcome.,\n");
    let (_, _, rows) = bench.read().unwrap();
    let texts: Vec<_> = jobs(&bench, &rows[0]).into_iter().map(|job| job.3).collect();
    assert_eq!(texts, ["Acme: Welcome."]);
}

#[test]
fn two_languages_of_one_name_clash_and_the_way_out_is_the_language() {
    let bench = Bench::new(WIDE, &format!("{BY_LANGUAGE}\nname = \"{{key}}\""));
    bench.write("p.csv", CSV);
    let fault = bench.fault();
    assert!(
        fault.starts_with("p.csv:2: `welcome.wav` would be the name of two outputs: hi by meher in wav at 24000 Hz, and en by avery in wav"),
        "{fault}"
    );
    assert!(fault.contains("add `{language}` to `name` in [synthesize]"), "{fault}");
}

#[test]
fn objects_have_texts_by_language_and_notes_name_their_column() {
    let root = "manifest = \"p.jsonl\"\ntext_columns = { en = \"en\", hi = \"hi\" }";
    let bench = Bench::new(root, "voice_id = \"a\"");
    bench.write(
        "p.jsonl",
        "{\"key\":\"a\",\"en\":\"Call {name}.\"}\n{\"key\":\"b\",\"en\":null,\"hi\":\"नम\u{ad}स्ते\"}\n",
    );
    let (scan, look, rows) = bench.read().unwrap();
    assert_eq!(scan.jobs, 2);
    assert_eq!(jobs(&bench, &rows[1])[0].1, "b.hi.wav");
    let told: Vec<_> = look.notes.iter().map(|note| (note.number, note.what.as_str())).collect();
    assert_eq!(told, [(1, "en: a placeholder is left in: `{name}`"), (2, "hi: 1 soft hyphen is taken out")]);
    bench.write("p.jsonl", "{\"key\":\"a\",\"en\":\"Hi\",\"hi\":[\"x\"]}\n");
    assert!(bench.fault().contains("p.jsonl:1: column `hi`: is a list or an object"), "{}", bench.fault());
}

#[test]
fn a_text_is_long_beside_those_of_its_language() {
    let bench = Bench::new(WIDE, "voice_id = \"a\"");
    let long = "एक बहुत लंबा पाठ यहाँ है। ".repeat(12);
    let lines: String = (1..=6).map(|n| format!("{n},Hi {n}.,{long}\n")).collect();
    bench.write("p.csv", &format!("key,text_en,text_hi\n{lines}"));
    let long: Vec<_> =
        bench.read().unwrap().1.notes.into_iter().filter(|note| note.what.contains("characters")).collect();
    assert_eq!(long, [], "all texts in Hindi are as long");
}
