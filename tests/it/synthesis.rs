//! Synthesis batches as their users submit and check them.

use std::{collections::HashMap, fs, path::Path, process::Output};

use wavebatch::sandbox::{Config, Sandbox};

use crate::{
    cli::{code, fixture, json, run, stderr, wavebatch},
    dated_batch::{BEFORE, DatedBatch},
    support::KEY,
};

const PROMPTS: &str = "key,text\nhello,Hello and welcome.\nbye,Goodbye!\n";

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A definition of prompts with these fields of `[synthesize]`.
fn definition(dir: &Path, fields: &str) {
    let head = "task = \"synthesize\"\nmanifest = \"p.csv\"\n[synthesize]\n";
    let model = if fields.contains("model =") { "" } else { "model = \"lightning_v3.1\"\n" };
    write(dir, "p.toml", format!("{head}{model}{fields}\n"));
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The program against a sandbox that outlives it.
fn against(sandbox: &Sandbox, dir: &Path, args: &[&str]) -> Output {
    let mut command = wavebatch(dir, args);
    command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", sandbox.base_url());
    command.output().expect("the program starts")
}

#[test]
fn a_check_multiplies_out_and_says_what_is_new() {
    let dir = fixture();
    write(dir.path(), "p.csv", format!("{PROMPTS}shout,\"Please HOLD the line. <b>Now</b>\"\nagain,Goodbye!\n"));
    definition(dir.path(), "voices = [\"avery\", \"liam\"]\nformats = [\"wav\", \"pcm\", \"ulaw\"]");
    let check = run(dir.path(), &["check", "p.toml"]);
    assert_eq!(code(&check), 0, "{}", stderr(&check));
    for words in [
        "p: synthesize by lightning_v3.1\n",
        "lines     4 lines × 2 voices × 3 formats = 24 outputs",
        "parts     264 characters in 16 parts; 232 in 12 parts are new",
        "cost      about $0.00406 ($0.175 per 10,000 characters by lightning_v3.1, list price of",
        "p.csv:4: shout: a word in capitals may be spelled out: `HOLD`",
        "the voices: whether the account has them",
    ] {
        assert!(stdout(&check).contains(words), "{words}\n{}", stdout(&check));
    }
    let plan = &json(&run(dir.path(), &["check", "p.toml", "--json"]))["plan"];
    assert_eq!((&plan["lines"], &plan["jobs"], &plan["purchases"]["new_parts"]), (&4.into(), &24.into(), &12.into()));
    assert!(!dir.path().join("wavebatch.db").exists(), "a check writes nothing");
    let parts = run(dir.path(), &["check", "p.toml", "--parts", "--key", "bye"]);
    let parts = stdout(&parts);
    assert_eq!(parts.lines().count(), 4, "{parts}");
    assert!(parts.lines().next().unwrap().contains("8  new    Goodbye!"), "{parts}");
    let unknown = run(dir.path(), &["check", "p.toml", "--parts", "--key", "byе"]);
    assert_eq!(code(&unknown), 2, "{}", stderr(&unknown));
}

#[test]
fn what_is_left_out_of_a_chapter_is_told() {
    let dir = fixture();
    write(dir.path(), "book/1.md", "# One\n\nIt began.\n\n| a |\n|---|\n| b |\n\n![x](y.png)\n");
    let args = ["check", "book", "--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "magnus"];
    let check = run(dir.path(), &args);
    assert_eq!(code(&check), 0, "{}", stderr(&check));
    assert!(stdout(&check).contains("1.md: 1 table, 1 image"), "{}", stdout(&check));
    assert!(stdout(&check).contains("1 line = 1 output"), "{}", stdout(&check));
    let ran = run(dir.path(), &[&["run"], &args[1..], &["--sandbox", "--output", "spoken"]].concat());
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    let told = "of a file, this is not spoken: 1 table, 1 image; `wavebatch check` lists it";
    assert!(stderr(&ran).contains(told), "{}", stderr(&ran));
    let report = fs::read_to_string(dir.path().join("spoken/report.csv")).unwrap();
    let row =
        csv::Reader::from_reader(report.as_bytes()).deserialize::<HashMap<String, String>>().next().unwrap().unwrap();
    assert_eq!(row["left_out"], "1 table, 1 image");
}

#[test]
fn warnings_are_few_on_the_screen_and_all_in_json() {
    let dir = fixture();
    let lines: String = (1..=25).map(|line| format!("p{line},Dear {{name}}\n")).collect();
    write(dir.path(), "p.csv", format!("key,text\n{lines}"));
    definition(dir.path(), "voice_id = \"avery\"");
    let few = run(dir.path(), &["check", "p.toml"]);
    assert_eq!(stdout(&few).matches("a placeholder is left in: `{name}`").count(), 20, "{}", stdout(&few));
    assert!(stdout(&few).contains("p.csv:2: p1: a placeholder"), "{}", stdout(&few));
    assert!(stdout(&few).contains("… and 5 more; `--warnings all` shows them"), "{}", stdout(&few));
    let all = run(dir.path(), &["check", "p.toml", "--warnings", "all"]);
    assert_eq!(stdout(&all).matches("a placeholder is left in").count(), 25, "{}", stdout(&all));
    let json = run(dir.path(), &["check", "p.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    let warnings = json["plan"]["findings"]["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[24]["line"]), (25, &serde_json::json!(26)));
}

#[test]
fn what_is_wrong_is_told_all_together() {
    let dir = fixture();
    let path = dir.path();
    write(path, "words.csv", "word,pronunciation\nAcme,\nb,x\nb,y\n");
    write(path, "empty.txt", "");
    write(path, "latin.txt", b"caf\xe9");
    write(path, "big.txt", "word ".repeat(2_000_001));
    write(
        path,
        "p.csv",
        "key,text,text_file,speed,language\n1,,gone.txt,,\n2,,empty.txt,,\n3,,latin.txt,,\n4,,big.txt,,\n5,Hi,,3,\n6,Hi,,,j p\n7,,,,\n",
    );
    definition(
        path,
        "voice_id = \"avery\"\nspeed = 2.5\nlanguage = \"e ng\"\nformats = [\"mulaw\", { format = \"wav\", sample_rate = 11025 }]\npronunciations = \"words.csv\"",
    );
    let message = run(path, &["submit", "p.toml", "--sandbox"]);
    assert_eq!(code(&message), 2);
    for words in [
        "p.toml:6:9: `synthesize.speed`: 2.5 is not between 0.5 and 2",
        "p.toml:7:12: `synthesize.language`: `e ng` cannot be a language",
        "`mulaw` is not what the API calls it; did you mean `ulaw`?",
        "11025 is not a sample rate; known: 8000, 16000, 24000, 44100",
        "words.csv:2: column `pronunciation`: is empty",
        "words.csv:4: column `word`: `b` stands on line 3 already",
        "p.csv:2: column `text_file`: `gone.txt`: there is no such file",
        "p.csv:3: column `text_file`: `empty.txt`: is empty",
        "p.csv:4: column `text_file`: `latin.txt`: line 1 is not UTF-8",
        "p.csv:5: column `text_file`: `big.txt`: has over 10 MB",
        "p.csv:6: column `speed`: 3 is not between 0.5 and 2",
        "p.csv:7: column `language`: `j p` cannot be a language",
        "p.csv:8: column `text`: is empty",
    ] {
        assert!(stderr(&message).contains(words), "{words}\n{}", stderr(&message));
    }
    assert!(!path.join("wavebatch-sandbox.db").exists() || !path.join("sandbox-out").exists(), "nothing was started");
    definition(path, "model = \"lightning v3\"\nvoice_id = \"avery\"");
    let message = run(path, &["check", "p.toml"]);
    assert!(stderr(&message).contains("`lightning v3` cannot be a model"), "{}", stderr(&message));
}

#[test]
fn two_outputs_of_one_name_are_told_with_a_way_out() {
    let dir = fixture();
    write(dir.path(), "p.csv", PROMPTS);
    definition(dir.path(), "voices = [\"avery\", \"liam\"]\nname = \"{key}\"");
    let message = run(dir.path(), &["submit", "p.toml", "--sandbox"]);
    assert_eq!(code(&message), 2);
    assert!(
        stderr(&message).contains("`hello.wav` would be the name of two outputs: liam in wav at 24000 Hz, and avery"),
        "{}",
        stderr(&message)
    );
    assert!(stderr(&message).contains("add `{voice_id}` to `name` in [synthesize]"));
}

#[test]
fn submitting_again_does_nothing_and_a_new_name_delivers() {
    let dir = fixture();
    write(dir.path(), "p.csv", PROMPTS);
    definition(dir.path(), "voices = [\"avery\", \"liam\"]");
    let first = run(dir.path(), &["submit", "p.toml", "--sandbox"]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    assert!(stderr(&first).contains("in the sandbox: nothing is sent, audio is invented"), "{}", stderr(&first));
    assert!(stderr(&first).contains("2 lines × 2 voices = 4 outputs"), "{}", stderr(&first));
    let again = run(dir.path(), &["submit", "p.toml", "--sandbox"]);
    assert!(stderr(&again).contains("4 there already") && !stderr(&again).contains("4 new"), "{}", stderr(&again));
    definition(dir.path(), "voices = [\"avery\", \"liam\"]\nname = \"{voice_id}/{key}\"");
    let renamed = json(&run(dir.path(), &["check", "p.toml", "--sandbox", "--json"]));
    assert_eq!((&renamed["plan"]["open"], &renamed["plan"]["changed"]), (&4.into(), &0.into()), "{renamed}");
    let renamed = run(dir.path(), &["submit", "p.toml", "--sandbox"]);
    assert!(stderr(&renamed).contains("4 there already"), "{}", stderr(&renamed));
    let other = run(
        dir.path(),
        &[
            "submit",
            "p.csv",
            "--task",
            "transcribe",
            "--model",
            "pulse",
            "--language",
            "en",
            "--batch",
            "p",
            "--source-column",
            "text",
            "--sandbox",
        ],
    );
    assert_eq!(code(&other), 2, "another task");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_asked_for_its_voices_once_a_day() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let dir = fixture();
    write(
        dir.path(),
        "p.csv",
        "key,text,voice_id,language\n1,Hi,avrey,\n2,Hi,,\n3,Hi,voice_mine,\n4,Hi,avery,hi\n5,Hi,meher,\n",
    );
    definition(dir.path(), "voice_id = \"magnus\"");
    let message = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&message), 2, "{}", stderr(&message));
    assert!(
        stderr(&message)
            .contains("p.csv:2: column `voice_id`: the account has no voice `avrey`; did you mean `avery`?"),
        "{}",
        stderr(&message)
    );
    let other = "p.csv:6: column `voice_id`: `meher` is a voice of lightning_v3.1_pro, and here it is to speak by";
    assert!(stderr(&message).contains(other), "{}", stderr(&message));
    assert!(!dir.path().join("out").exists(), "nothing was written");
    let check = against(&sandbox, dir.path(), &["check", "p.toml"]);
    assert_eq!(code(&check), 2, "what the account said is known now: {}", stderr(&check));
    write(dir.path(), "p.csv", "key,text,voice_id,language\n2,Hi,,\n3,Hi,voice_mine,\n4,Hi,avery,hi\n5,Hi,jordan,\n");
    let good = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&good), 0, "{}", stderr(&good));
    assert!(stderr(&good).contains("p.csv:4: `avery` is to speak `hi`"), "{}", stderr(&good));
    assert_eq!(sandbox.books().voice_calls, 2, "a list for each model");
    write(dir.path(), "q.csv", "key,text,voice_id,language\n2,Hi,nobody,\n");
    let unknown = against(&sandbox, dir.path(), &["submit", "p.toml", "--manifest", "q.csv", "--batch", "q"]);
    assert_eq!((code(&unknown), sandbox.books().voice_calls), (2, 4), "asked for again: {}", stderr(&unknown));
    let keyless = run(dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&keyless), 0, "{}", stderr(&keyless));
    assert!(stderr(&keyless).contains("voices were not checked: there is no key"), "{}", stderr(&keyless));
    let locked = Sandbox::start(Config { key: Some("sk_other".into()), ..Config::default() }).await.unwrap();
    let refused = against(&locked, dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&refused), 3, "{}", stderr(&refused));
    assert!(stderr(&refused).contains("the account's voices cannot be had"), "{}", stderr(&refused));
    locked.shutdown().await;
    let gone = wavebatch(dir.path(), &["submit", "p.toml"])
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert_eq!(code(&gone), 0, "{}", stderr(&gone));
    assert!(stderr(&gone).contains("voices were not checked: "), "{}", stderr(&gone));
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dictionary_goes_to_the_account_when_its_words_change() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let dir = fixture();
    write(dir.path(), "p.csv", PROMPTS);
    write(dir.path(), "words.csv", "word,pronunciation\nHello,hal-lo\n");
    definition(dir.path(), "voice_id = \"avery\"\npronunciations = \"words.csv\"");
    let first = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    assert!(stderr(&first).contains("words.csv was made: 1 pronounced"), "{}", stderr(&first));
    let calls = sandbox.books().dictionary_calls;
    assert_eq!(calls, 1);
    // Written another way, it says the same.
    write(dir.path(), "words.csv", "pronunciation,word\nhal-lo,Hello\n");
    let again = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert_eq!(
        (code(&again), sandbox.books().dictionary_calls),
        (0, calls + 1),
        "it is only looked for: {}",
        stderr(&again)
    );
    assert!(!stderr(&again).contains("words.csv was"), "{}", stderr(&again));
    let list = json(&against(&sandbox, dir.path(), &["dicts", "list", "--json"]));
    let id = list[0]["id"].as_str().or(list["dictionaries"][0]["id"].as_str()).unwrap().to_owned();
    let gone = against(&sandbox, dir.path(), &["dicts", "delete", &id]);
    assert_eq!(code(&gone), 0, "{}", stderr(&gone));
    let healed = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert!(
        stderr(&healed).contains("words.csv was made") && stderr(&healed).contains("2 there already"),
        "{}",
        stderr(&healed)
    );
    write(dir.path(), "words.csv", "word,pronunciation\nHello,he-lo\n");
    let changed = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert!(stderr(&changed).contains("words.csv was changed"), "{}", stderr(&changed));
    assert!(stderr(&changed).contains("1 changed"), "another pronunciation is another sound: {}", stderr(&changed));
    let keyless = run(dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&keyless), 3, "{}", stderr(&keyless));
    for lines in ["2 new", "2 there already"] {
        let own = run(dir.path(), &["submit", "p.toml", "--sandbox"]);
        assert!(stderr(&own).contains("was made") && stderr(&own).contains(lines), "it forgets: {}", stderr(&own));
    }
    sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_words_of_a_dictionary_buy_only_the_parts_that_have_them() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let dir = fixture();
    let sentence = |n: usize, name: &str| format!("Sentence {n} of the long and quiet evening says {name} to all. ");
    let chapter = |from: usize, name: &str| -> String {
        (from..from + 20).map(|n| sentence(n, if n == from + 7 { name } else { "nothing" })).collect()
    };
    let lines = [("one", chapter(100, "ACME")), ("two", chapter(200, "Acmeville")), ("three", chapter(300, "a gif"))];
    let csv: String = lines.iter().map(|(key, text)| format!("{key},{text}\n")).collect();
    write(dir.path(), "p.csv", format!("key,text\n{csv}"));
    write(dir.path(), "words.csv", "word,pronunciation\nAcme,ak-mee\ngif,gif\n");
    definition(dir.path(), "voice_id = \"avery\"\npronunciations = \"words.csv\"\npart_chars = 100");
    let first = against(&sandbox, dir.path(), &["run", "p.toml"]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let book = sandbox.books().calls;
    assert!(book >= 60, "a book of many parts: {book}");
    write(dir.path(), "words.csv", "word,pronunciation\nAcme,ak-me\ngif,jif\nwinter,vin-ter\n");
    let check = against(&sandbox, dir.path(), &["check", "p.toml"]);
    assert_eq!(code(&check), 2, "{}", stderr(&check));
    assert!(stderr(&check).contains("2 finished outputs") && stderr(&check).contains("--rebuy"), "{}", stderr(&check));
    assert_eq!(sandbox.books().calls, book);
    let again = against(&sandbox, dir.path(), &["run", "p.toml", "--rebuy"]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert!(stderr(&again).contains("2 changed"), "{}", stderr(&again));
    assert_eq!(sandbox.books().calls, book + 2, "one part of each: {}", stderr(&again));
    sandbox.shutdown().await;
}

/// The files below a folder, with their lengths.
fn files(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in walk(dir) {
        let name = entry.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        found.push((name, fs::metadata(&entry).unwrap().len()));
    }
    found.sort();
    found
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn the_demos_run_in_the_sandbox() {
    let dir = fixture();
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    for name in ["demo-prompts", "demo-audiobook"] {
        let ran = run(dir.path(), &["run", jobs.join(name).with_extension("toml").to_str().unwrap(), "--sandbox"]);
        assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    }
    let prompts = files(&dir.path().join("sandbox-out/demo-prompts"));
    assert_eq!(prompts.iter().filter(|(name, _)| name.ends_with(".ulaw")).count(), 23);
    assert_eq!(prompts.iter().filter(|(name, _)| name.ends_with(".wav")).count(), 23);
    // Of 73 characters at 15 a second.
    let of = |name: &str| prompts.iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("{prompts:?}")).1;
    assert_eq!(of("kaitlyn/main/welcome.ulaw"), 73 * 8_000 / 15);
    assert_eq!(of("kaitlyn/main/welcome.wav"), 44 + 2 * 73 * 24_000 / 15);
    let book = files(&dir.path().join("sandbox-out/demo-audiobook"));
    let names: Vec<_> = book.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["1-down-the-rabbit-hole.wav", "2-the-pool-of-tears.srt", "3-a-caucus-race.vtt"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let again = run(dir.path(), &["run", jobs.join("demo-audiobook.toml").to_str().unwrap(), "--sandbox"]);
    assert!(stderr(&again).contains("nothing was left to do"), "{}", stderr(&again));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_presentation_buys_nothing_and_is_joined_anew() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let dir = fixture();
    write(dir.path(), "p.csv", "key,text\none,\"First paragraph.\n\nSecond paragraph.\"\n");
    let out = dir.path().join("out/p");
    let asked = |fields: &'static str, args: &'static [&str]| {
        definition(dir.path(), &format!("voice_id = \"avery\"\nlanguage = \"en\"\n{fields}"));
        let (sandbox, dir) = (&sandbox, dir.path());
        tokio::task::block_in_place(move || against(sandbox, dir, &[&["run", "p.toml"], args].concat()))
    };
    let ran = asked("", &[]);
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    let length = |name: &str| fs::metadata(out.join(name)).unwrap().len();
    let first = length("one.wav");
    assert_eq!(sandbox.books().calls, 2);

    let ran = asked("pause = { paragraph_ms = 1600 }", &[]);
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    assert_eq!(length("one.wav") - first, 48_000, "a second more");
    let ran = asked("name = \"{voice_id}/{key}\"\ncaptions = [\"vtt\"]", &[]);
    assert_eq!((code(&ran), length("avery/one.wav")), (0, first), "{}", stderr(&ran));
    assert!(length("avery/one.vtt") > 0);
    // The same samples in another form, and a form that is bought by itself.
    let ran = asked("formats = [\"wav\", \"pcm\"]", &[]);
    assert_eq!((code(&ran), length("one.pcm")), (0, first - 44), "{}", stderr(&ran));
    assert_eq!(sandbox.books().calls, 2, "nothing of it was bought");

    let ran = asked("speed = 1.5", &[]);
    assert_eq!((code(&ran), sandbox.books().calls), (2, 2), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("--rebuy"), "{}", stderr(&ran));
    let ran = asked("speed = 1.5", &["--rebuy"]);
    assert_eq!((code(&ran), sandbox.books().calls), (0, 4), "{}", stderr(&ran));
    // Back again: that speech is still there.
    let ran = asked("", &["--rebuy"]);
    assert_eq!((code(&ran), sandbox.books().calls, length("one.wav")), (0, 4, first), "{}", stderr(&ran));
    // A word is another: its paragraph is bought, and no other.
    write(dir.path(), "p.csv", "key,text\none,\"First paragraph.\n\nSecond paragraph!\"\n");
    let ran = asked("", &[]);
    assert_eq!((code(&ran), sandbox.books().calls), (0, 5), "{}", stderr(&ran));
    let ran = asked("", &["--no-reuse"]);
    assert_eq!((code(&ran), sandbox.books().calls), (0, 5), "what is done is done: {}", stderr(&ran));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_bought_with_the_words_of_another_batch() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let dir = fixture();
    write(dir.path(), "p.csv", PROMPTS);
    write(dir.path(), "words.csv", "word,pronunciation\nHello,hal-lo\n");
    definition(dir.path(), "voice_id = \"avery\"\npronunciations = \"words.csv\"");
    let first = against(&sandbox, dir.path(), &["submit", "p.toml"]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    // Another batch has them pronounced in another way, on the same account.
    write(dir.path(), "words.csv", "word,pronunciation\nAcme,ak-me\n");
    fs::copy(dir.path().join("p.toml"), dir.path().join("q.toml")).unwrap();
    let other = against(&sandbox, dir.path(), &["submit", "q.toml"]);
    assert!(stderr(&other).contains("words.csv was changed"), "{}", stderr(&other));
    let work = against(&sandbox, dir.path(), &["work", "--batch", "p"]);
    assert_eq!((code(&work), sandbox.books().billed), (3, 0), "{}", stderr(&work));
    assert!(stderr(&work).contains("not the one that the batch was submitted with"), "{}", stderr(&work));
    let run = against(&sandbox, dir.path(), &["run", "p.toml"]);
    assert_eq!((code(&run), sandbox.books().billed), (0, 2), "{}", stderr(&run));
    sandbox.shutdown().await;
}

#[test]
fn a_part_has_one_number_everywhere() {
    let dir = fixture();
    write(dir.path(), "p.csv", "key,text\na,\"Before it.\n\n* * *\n\nAfter it.\"\n");
    definition(dir.path(), "voice_id = \"avery\"");
    let check = stdout(&run(dir.path(), &["check", "p.toml", "--parts"]));
    let numbers: Vec<_> = check.lines().map(|line| line.split_whitespace().nth(6).unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3"], "as `jobs --parts` and `retry --part` count them: {check}");
    assert!(check.lines().nth(1).unwrap().contains("pause  * * *"), "{check}");
    let json = stdout(&run(dir.path(), &["check", "p.toml", "--parts", "--json"]));
    assert_eq!(json.lines().count(), 2, "what is sent: {json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stand_in_said_is_not_what_another_address_says() {
    let (trial, real) =
        (Sandbox::start(Config::default()).await.unwrap(), Sandbox::start(Config::default()).await.unwrap());
    let dir = fixture();
    write(dir.path(), "p.csv", PROMPTS);
    definition(dir.path(), "voice_id = \"avery\"");
    let ask = |sandbox: &Sandbox, batch: &str| {
        let args = ["run", "p.toml", "--batch", batch, "--output", batch];
        tokio::task::block_in_place(|| against(sandbox, dir.path(), &args))
    };
    assert_eq!(code(&ask(&trial, "trial")), 0);
    assert_eq!(code(&ask(&real, "real")), 0);
    assert_eq!((trial.books().calls, real.books().calls), (2, 2));
    // A batch goes on as what it was.
    let again = ask(&real, "trial");
    assert_eq!((code(&again), trial.books().calls, real.books().calls), (0, 2, 2), "{}", stderr(&again));
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_goes_to_a_store_as_transcripts_do() {
    let dated = DatedBatch::new().await;
    dated.fixture.write("p.csv", "key,text\nivr/hello,Hello and welcome.\nbye,Goodbye!\n");
    let toml = "task = \"synthesize\"\nmanifest = \"s3://acme-calls/texts/p.csv\"\noutput = \"s3://acme-transcripts/{batch}/\"\n\
                [synthesize]\nmodel = \"lightning_v3.1\"\nvoices = [\"avery\", \"liam\"]\nlanguage = \"en\"\n\
                formats = [\"wav\", \"mp3\"]\ncaptions = [\"srt\"]\n";
    dated.fixture.write("speech.toml", toml);
    dated.s3.put("acme-calls", "texts/p.csv", "key,text\nivr/hello,Hello and welcome.\nbye,Goodbye!\n");
    let (code, message) = dated.run(BEFORE, &["run", "speech.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let keys = dated.s3.keys("acme-transcripts");
    for name in
        ["ivr/hello.avery.wav", "ivr/hello.liam.mp3", "bye.avery.srt", "bye.liam.wav", "report.csv", "summary.json"]
    {
        assert!(keys.contains(&format!("speech/{name}")), "{name}: {keys:?}");
    }
    let wav = dated.s3.get("acme-transcripts", "speech/bye.avery.wav").unwrap();
    assert_eq!(wav.len(), 44 + 2 * 8 * 24_000 / 15, "eight characters");
    let calls = dated.fixture.sandbox.books().calls;
    // The store is emptied: all of it is joined again, and nothing bought.
    for key in dated.s3.keys("acme-transcripts").iter().filter(|key| key.ends_with(".wav")) {
        dated.s3.remove("acme-transcripts", key);
    }
    let (code, message) = dated.run(BEFORE, &["deliver", "speech"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.s3.get("acme-transcripts", "speech/bye.avery.wav").unwrap(), wav);
    assert_eq!(dated.fixture.sandbox.books().calls, calls);
}

#[test]
fn a_report_has_the_texts_and_paths_from_its_own_folder() {
    let dir = fixture();
    write(dir.path(), "p.csv", PROMPTS);
    definition(dir.path(), "voice_id = \"avery\"");
    let toml = fs::read_to_string(dir.path().join("p.toml")).unwrap();
    write(dir.path(), "p.toml", format!("{toml}\n[report]\ntext = true\npaths = \"relative\"\n"));
    let done = run(dir.path(), &["run", "p.toml", "--sandbox", "-q"]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    let rows = |text: &str| -> Vec<(String, String)> {
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        let header = csv.headers().unwrap().clone();
        let at = |name: &str| header.iter().position(|cell| cell == name).unwrap();
        let (outputs, text) = (at("outputs"), at("text"));
        csv.records().map(Result::unwrap).map(|row| (row[outputs].to_owned(), row[text].to_owned())).collect()
    };
    let own = run(dir.path(), &["report", "p", "--sandbox", "-o", "elsewhere.csv"]);
    assert_eq!(code(&own), 0, "{}", stderr(&own));
    let elsewhere = rows(&fs::read_to_string(dir.path().join("elsewhere.csv")).unwrap());
    let folder = dir.path().join("sandbox-out/p");
    let beside = rows(&fs::read_to_string(folder.join("report.csv")).unwrap());
    assert!(!beside.is_empty() && beside.iter().all(|(_, text)| !text.is_empty()), "{beside:?}");
    for ((near, text), (far, _)) in beside.iter().zip(&elsewhere) {
        let near: Vec<String> = serde_json::from_str(near).unwrap();
        let far: Vec<String> = serde_json::from_str(far).unwrap();
        assert!(near.iter().all(|path| folder.join(path).is_file() && !path.starts_with('/')), "{near:?}: {text}");
        assert!(far.iter().all(|path| dir.path().join(path).is_file() && path.starts_with("sandbox-out/")), "{far:?}");
    }
}
