//! A manifest with a text in each language, as its users check, run, change and repair it.

use std::{fs, path::Path, slice};

use serde_json::Value;

use crate::cli::{code, fixture, json, run, stderr};

const CSV: &str = "key,menu,text_en,text_hi,text_ta\n\
    welcome,main,Welcome to Northwind.,नॉर्थविंड में आपका स्वागत है।,\n\
    menu,main,For bills press one.,बिल के लिए एक दबाएँ।,பில்களுக்கு ஒன்றை அழுத்தவும்.\n\
    closed,night,We are closed.,,\n";

/// Writes the manifest, and a definition with these text columns.
fn write(dir: &Path, csv: &str, text_columns: &str) {
    fs::write(dir.join("p.csv"), csv).unwrap();
    let toml = format!(
        "task = \"synthesize\"\nmanifest = \"p.csv\"\ntext_columns = {text_columns}\n[report]\ntext = true\n\
         [synthesize]\nmodel = \"lightning_v3.1_pro\"\nvoice_id = \"meher\"\n"
    );
    fs::write(dir.join("p.toml"), toml).unwrap();
}

const TWO: &str = "{ en = \"text_en\", hi = \"text_hi\" }";
const THREE: &str = "{ en = \"text_en\", hi = \"text_hi\", ta = \"text_ta\" }";

/// Runs the batch. Returns the number of calls of this run that may have been billed.
fn billed(dir: &Path) -> u64 {
    let before = calls(dir);
    let done = run(dir, &["run", "p.toml", "--sandbox", "-q"]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    calls(dir) - before
}

fn calls(dir: &Path) -> u64 {
    let summary = fs::read(dir.join("sandbox-out/p/summary.json")).ok();
    summary.map_or(0, |summary| serde_json::from_slice::<Value>(&summary).unwrap()["billed_calls"].as_u64().unwrap())
}

/// The rows of the report: key, language, status, what they are now, and text.
fn report(dir: &Path, flags: &[&str]) -> Vec<[String; 5]> {
    let report = run(dir, &[&["report", "p", "--sandbox", "-o", "-"], flags].concat());
    let mut csv = csv::Reader::from_reader(&report.stdout[..]);
    let header = csv.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|cell| cell == name).unwrap();
    let columns = ["key", "language", "status", "wanted", "text"].map(at);
    csv.records().map(Result::unwrap).map(|row| columns.map(|at| row[at].to_owned())).collect()
}

#[test]
fn a_language_is_added_and_taken_away_and_nothing_is_paid_for_twice() {
    let dir = fixture();
    let dir = dir.path();
    write(dir, CSV, TWO);
    let submitted = stderr(&run(dir, &["submit", "p.toml", "--sandbox"]));
    assert!(
        submitted.contains("  texts     en: 3 texts\n            hi: 2 texts, and 1 cell is empty\n"),
        "{submitted}"
    );
    assert_eq!(billed(dir), 5);
    let row = |key: &str, language: &str, wanted: &str, text: &str| {
        [key, language, "succeeded", wanted, text].map(str::to_owned)
    };
    let en = [
        row("welcome", "en", "yes", "Welcome to Northwind."),
        row("menu", "en", "yes", "For bills press one."),
        row("closed", "en", "yes", "We are closed."),
    ];
    let hi = |wanted| {
        [row("welcome", "hi", wanted, "नॉर्थविंड में आपका स्वागत है।"), row("menu", "hi", wanted, "बिल के लिए एक दबाएँ।")]
    };
    let sorted = |mut rows: Vec<[String; 5]>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(report(dir, &[])), sorted([&en[..], &hi("yes")].concat()));
    assert!(dir.join("sandbox-out/p/welcome.hi.wav").is_file());

    // Tamil has one text: one line more, and the others are there.
    write(dir, CSV, THREE);
    let plan = &json(&run(dir, &["check", "p.toml", "--sandbox", "--json"]))["plan"];
    assert_eq!((plan["new"].as_u64(), plan["done"].as_u64(), plan["changed"].as_u64()), (Some(1), Some(5), Some(0)));
    assert_eq!(billed(dir), 1);

    // Hindi is not asked for any more: its outputs are dropped, and come back for nothing.
    write(dir, CSV, "{ en = \"text_en\", ta = \"text_ta\" }");
    assert_eq!(billed(dir), 0);
    let ta = row("menu", "ta", "yes", "பில்களுக்கு ஒன்றை அழுத்தவும்.");
    assert_eq!(sorted(report(dir, &[])), sorted([&en[..], slice::from_ref(&ta)].concat()));
    let all = [&en[..], &hi("dropped"), slice::from_ref(&ta)].concat();
    assert_eq!(sorted(report(dir, &["--with-dropped"])), sorted(all));
    write(dir, CSV, THREE);
    assert_eq!(billed(dir), 0);
    assert_eq!(report(dir, &[]).len(), 6);

    // Another text changes its own line alone.
    write(dir, &CSV.replace("For bills press one.", "For bills press two."), THREE);
    let plan = &json(&run(dir, &["check", "p.toml", "--sandbox", "--json"]))["plan"];
    assert_eq!((plan["new"].as_u64(), plan["done"].as_u64(), plan["changed"].as_u64()), (Some(0), Some(5), Some(1)));
    assert_eq!(billed(dir), 1);
    // A cell that is emptied drops its output alone.
    write(dir, &CSV.replace("For bills press one.", "For bills press two.").replace("बिल के लिए एक दबाएँ।", ""), THREE);
    assert_eq!(billed(dir), 0);
    let rows = report(dir, &["--with-dropped"]);
    let dropped: Vec<_> = rows.iter().filter(|row| row[3] == "dropped").map(|row| (&*row[0], &*row[1])).collect();
    assert_eq!((rows.len(), dropped), (6, vec![("menu", "hi")]));
}

#[test]
fn a_batch_of_one_language_takes_on_others_and_pays_for_those_alone() {
    let dir = fixture();
    let dir = dir.path();
    write(dir, CSV, "{}");
    let one = fs::read_to_string(dir.join("p.toml")).unwrap();
    let one = one.replace("text_columns = {}", "columns.text = \"text_en\"") + "language = \"en\"\n";
    fs::write(dir.join("p.toml"), one).unwrap();
    assert_eq!(billed(dir), 3);
    // Nothing of the old clips is left: the lines themselves are the same.
    let pruned = run(dir, &["spool", "prune", "--older-than", "0s", "--sandbox"]);
    assert_eq!(code(&pruned), 0, "{}", stderr(&pruned));
    write(dir, CSV, TWO);
    let toml = fs::read_to_string(dir.join("p.toml")).unwrap() + "language = \"en\"\nname = \"{language}/{key}\"\n";
    fs::write(dir.join("p.toml"), toml).unwrap();
    let plan = &json(&run(dir, &["check", "p.toml", "--sandbox", "--json"]))["plan"];
    assert_eq!((plan["new"].as_u64(), plan["changed"].as_u64()), (Some(2), Some(0)), "{plan}");
}

#[test]
fn a_key_means_all_languages_and_a_part_is_of_one() {
    let dir = fixture();
    let dir = dir.path();
    write(dir, CSV, TWO);
    assert_eq!(billed(dir), 5);
    let stdout = |args: &[&str]| {
        let done = run(dir, args);
        (code(&done), String::from_utf8_lossy(&done.stdout).into_owned() + &stderr(&done))
    };
    let (_, shown) = stdout(&["show", "welcome", "--sandbox"]);
    assert!(shown.contains("meher (en)") && shown.contains("\nWelcome to Northwind.\n"), "{shown}");
    assert!(shown.contains("meher (hi)") && shown.contains("\nनॉर्थविंड में आपका स्वागत है।\n"), "{shown}");
    let (_, found) = stdout(&["find", "स्वागत", "--sandbox"]);
    assert!(found.contains("welcome (meher, hi)") && !found.contains("en)"), "{found}");
    let (exit, again) = stdout(&["retry", "p", "--key", "menu", "--dry-run", "--sandbox"]);
    assert!(exit == 0 && again.contains("2 jobs to be paid for"), "{again}");
    let (exit, again) = stdout(&["retry", "p", "--key", "menu", "--where", "language=hi", "--dry-run", "--sandbox"]);
    assert!(exit == 0 && again.contains("1 job to be paid for"), "{again}");
    let (exit, again) = stdout(&["retry", "p", "--key", "menu", "--part", "1", "--sandbox"]);
    assert_eq!(exit, 2, "{again}");
    assert!(again.contains("menu has several texts") && again.contains("--where language=en"), "{again}");
    let part = ["retry", "p", "--key", "menu", "--where", "language=hi", "--part", "1", "--sandbox"];
    let (exit, again) = stdout(&part);
    assert!(exit == 0 && again.contains("spoken again for 1 job") && again.contains("बिल के लिए"), "{again}");
    let (_, parts) = stdout(&["jobs", "p", "--key", "menu", "--parts", "--sandbox"]);
    assert!(parts.contains("menu, line 3, meher (hi), wav at 24000 Hz"), "{parts}");
}

#[test]
fn a_check_counts_each_language_and_the_command_line_names_columns() {
    let dir = fixture();
    let dir = dir.path();
    write(dir, CSV, TWO);
    let check = run(dir, &["check", "p.toml"]);
    let screen = String::from_utf8_lossy(&check.stdout).into_owned();
    for words in [
        "lines     3 lines in up to 2 languages, in 1 format = 5 outputs",
        "columns   key: key, text in en: text_en, text in hi: text_hi",
        "e.g.      welcome: \"Welcome to Northwind.\" [language=en] -> welcome.en.wav",
        "welcome: \"नॉर्थविंड में आपका स्वागत है।\" [language=hi] -> welcome.hi.wav",
        "menu: \"For bills press one.\" [language=en] -> menu.en.wav",
        "en: 55 characters in 3 parts, all of them new: about $0.00107",
        "hi: 49 characters in 2 parts, all of them new: about $0.000956",
        "texts     en: 3 texts",
        "hi: 2 texts, and 1 cell is empty",
        "column `text_ta` is not spoken; if it is the text in `ta`, add ta = \"text_ta\" to text_columns",
    ] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
    let plan = &json(&run(dir, &["check", "p.toml", "--json"]))["plan"];
    assert_eq!(plan["columns"]["by_language"]["hi"], "text_hi");
    let of = |at: usize| {
        (
            plan["purchases"]["languages"][at]["language"].as_str(),
            plan["purchases"]["languages"][at]["new_units"].as_u64(),
        )
    };
    assert_eq!([of(0), of(1)], [(Some("en"), Some(55)), (Some("hi"), Some(49))]);
    assert_eq!(plan["findings"]["texts"][1]["empty"], 1);
    let ad_hoc =
        ["check", "p.csv", "--task", "synthesize", "--model", "lightning_v3.1_pro", "--voice-id", "meher", "--json"];
    let columns = ["--column", "text.en=text_en", "--column", "text.ta=text_ta"];
    let plan = json(&run(dir, &[&ad_hoc[..], &columns].concat()));
    assert_eq!((plan["plan"]["jobs"].as_u64(), plan["plan"]["lines"].as_u64()), (Some(4), Some(3)), "{plan}");
    let wrong = run(dir, &[&ad_hoc[..], &columns, &["--language", "fr"]].concat());
    assert_eq!(code(&wrong), 2);
    assert!(
        stderr(&wrong).contains("`--language`: no text has the language `fr`: text_columns has `en`, `ta`"),
        "{}",
        stderr(&wrong)
    );
}
