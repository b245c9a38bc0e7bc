//! The verbs that ask the account: its voices and its dictionaries, as processes against a sandbox.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::json;
use wavebatch::sandbox::{Config, Sandbox};

use crate::cli::{code, fixture, json, run, stderr, wavebatch};

async fn sandbox() -> Sandbox {
    Sandbox::start(Config { key: Some("sk_right".into()), ..Config::default() }).await.unwrap()
}

fn with_key(dir: &Path, base_url: &str, key: &str, args: &[&str]) -> Output {
    let mut command: Command = wavebatch(dir, args);
    command.env("SMALLEST_BASE_URL", base_url).env("SMALLEST_API_KEY", key).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn voices_are_listed_and_chosen() {
    let dir = fixture();
    let all = run(dir.path(), &["voices", "--sandbox"]);
    assert_eq!(code(&all), 0, "{}", stderr(&all));
    assert!(stdout(&all).starts_with("id ") && stdout(&all).contains("middle aged  narration"), "{}", stdout(&all));
    assert!(stderr(&all).contains("11 voices"), "{}", stderr(&all));
    let some = run(
        dir.path(),
        &[
            "voices",
            "--sandbox",
            "--language",
            "Hindi",
            "--gender",
            "female",
            "--model",
            "lightning_v3.1_pro",
            "--json",
        ],
    );
    let meher = json!([{"id": "meher", "name": "Meher", "models": ["lightning_v3.1_pro"], "languages": ["en", "hi"], "gender": "female",
        "accent": "indian", "age": "young", "emotions": [], "use_cases": ["conversational"]}]);
    assert_eq!(json(&some), meher);

    let none = run(dir.path(), &["voices", "--sandbox", "--accent", "indain", "--json"]);
    assert_eq!((code(&none), json(&none)), (0, json!([])));
    assert!(stderr(&none).contains("did you mean `indian`?") && stderr(&none).contains("british 1"));
    let wrong = run(dir.path(), &["voices", "--sandbox", "--language", "hindy"]);
    assert_eq!(code(&wrong), 2);
    assert!(stderr(&wrong).contains("did you mean `hindi`?"), "{}", stderr(&wrong));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no ledger is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_from_asking_is_told() {
    let (dir, sandbox) = (fixture(), sandbox().await);
    let gone = "http://127.0.0.1:1".to_owned();
    fs::write(dir.path().join("w.csv"), "word,pronunciation\na,b\n").unwrap();
    for args in [&["voices"][..], &["dicts", "list"], &["dicts", "push", "w.csv"], &["dicts", "delete", "x"]] {
        let none = run(dir.path(), args);
        assert_eq!(code(&none), 3, "{args:?}");
        assert!(stderr(&none).contains("SMALLEST_API_KEY is not set\nhint: "), "{}", stderr(&none));
        let wrong = with_key(dir.path(), &sandbox.base_url(), "sk_wrong", args);
        assert_eq!(code(&wrong), 3, "{args:?}");
        assert!(stderr(&wrong).contains("does not accept the key (401)"), "{}", stderr(&wrong));
        let away = with_key(dir.path(), &gone, "sk_right", args);
        assert_eq!(code(&away), 3, "{args:?}");
        assert!(stderr(&away).contains("no connection to http://127.0.0.1:1"), "{}", stderr(&away));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dictionary_is_made_changed_and_deleted() {
    let (dir, sandbox) = (fixture(), sandbox().await);
    let dicts = |args: &[&str]| with_key(dir.path(), &sandbox.base_url(), "sk_right", &[&["dicts"], args].concat());
    fs::write(dir.path().join("bad.csv"), "word,pronunciation\n,x\na,\na,b\n").unwrap();
    let bad = dicts(&["push", "bad.csv"]);
    assert_eq!(code(&bad), 2);
    for message in ["3 faults", "bad.csv:2: column `word`: is empty", "bad.csv:4: column `word`: `a` stands on line 3"]
    {
        assert!(stderr(&bad).contains(message), "{}", stderr(&bad));
    }
    assert_eq!(sandbox.books().dictionary_calls, 0, "nothing was sent");

    fs::write(dir.path().join("w.csv"), "word,pronunciation\nmysql,my-sequel\n\"Acme, Inc.\",ak-mee\n").unwrap();
    let made = dicts(&["push", "w.csv"]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let id = stdout(&made).trim_end().to_owned();
    assert_eq!(stdout(&made), format!("{id}\n"), "the id alone");
    fs::write(dir.path().join("w.csv"), "word,pronunciation\nmysql,my-S-Q-L\n").unwrap();
    assert_eq!(stdout(&dicts(&["push", "w.csv", "--id", &id])), format!("{id}\n"));
    let listed = json(&dicts(&["list", "--json"]));
    assert_eq!(listed[0]["items"], json!([{"word": "mysql", "pronunciation": "my-S-Q-L"}]));
    assert!(stdout(&dicts(&["list"])).contains("mysql = my-S-Q-L"));

    for args in [&["delete", &id, "other"][..], &["push", "w.csv", "--id", "other"]] {
        let unknown = dicts(args);
        assert_eq!(code(&unknown), 2);
        assert!(stderr(&unknown).contains(&format!("no dictionary `other`\nhint: it has `{id}`")));
    }
    assert_eq!(json(&dicts(&["list", "--json"])).as_array().map(Vec::len), Some(1), "none is deleted");
    let deleted = dicts(&["delete", &id, &id]);
    assert_eq!(code(&deleted), 0);
    assert!(stderr(&deleted).contains(&format!("deleted {id}: 1 word (mysql)")), "{}", stderr(&deleted));
    let empty = dicts(&["list", "--json"]);
    assert_eq!((json(&empty), code(&empty)), (json!([]), 0));
    assert!(stderr(&empty).contains("the account has no dictionaries"));
}
