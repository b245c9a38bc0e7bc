//! The generated pages are those of the code.

use std::{collections::BTreeSet, fs};

use wavebatch::{
    cli::reference::{COMMAND, pages},
    tasks::Registry,
};

use super::root;
use crate::cli;

#[test]
fn the_reference_is_fresh() {
    let dir = root().join("docs/reference");
    let (mut stale, mut known) = (Vec::new(), BTreeSet::new());
    for page in pages(&Registry::built_in()) {
        known.insert(page.file.to_owned());
        match fs::read_to_string(dir.join(page.file)) {
            Ok(text) if text == page.text => {}
            Ok(text) => {
                let differs = |(_, (is, should)): &(usize, (&str, &str))| is != should;
                let lines = text.lines().zip(page.text.lines()).enumerate().find(differs);
                stale.push(format!("{}, line {}", page.file, lines.map_or(0, |(at, _)| at + 1)));
            }
            Err(e) => stale.push(format!("{}: {e}", page.file)),
        }
    }
    assert!(stale.is_empty(), "these pages of docs/reference/ are stale: {stale:?}. Write them anew with `{COMMAND}`");
    let there: BTreeSet<String> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, known, "docs/reference/ has generated pages alone");
}

#[test]
fn every_file_beside_the_ledger_is_in_the_reference() {
    let dir = cli::fixture();
    let demo = root().join("jobs/demo-prompts.toml");
    let output = cli::run(dir.path(), &["run", demo.to_str().unwrap(), "--sandbox"]);
    assert_eq!(cli::code(&output), 0, "{}", cli::stderr(&output));
    let page = pages(&Registry::built_in()).into_iter().find(|page| page.file == "files.md").unwrap().text;
    let mut seen = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(suffix) = name.strip_prefix("wavebatch-sandbox.db") else {
            assert_eq!(name, "sandbox-out");
            continue;
        };
        assert!(page.contains(&format!("`wavebatch.db{suffix}")), "{name} is not in files.md");
        seen += 1;
    }
    assert!(seen > 1);
    for entry in fs::read_dir(dir.path().join("wavebatch-sandbox.db-spool")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let shown = name.replace("-sandbox.json", "-ACCOUNT.json");
        let is_known = ["/`", "`"].iter().any(|end| page.contains(&format!("`wavebatch.db-spool/{shown}{end}")));
        assert!(is_known, "{name} is not in files.md");
    }
}

#[test]
fn there_is_a_manual_page_for_each_verb() {
    let dir = cli::fixture();
    let top = cli::run(dir.path(), &["man"]);
    assert_eq!(cli::code(&top), 0);
    let top = String::from_utf8(top.stdout).unwrap();
    assert!(top.starts_with(".ie") && top.contains(".TH wavebatch 1"), "{top}");
    let output = cli::run(dir.path(), &["man", "pages/man1"]);
    assert_eq!(cli::code(&output), 0, "{}", cli::stderr(&output));
    for name in ["wavebatch.1", "wavebatch-run.1", "wavebatch-spool-prune.1"] {
        let page = fs::read_to_string(dir.path().join("pages/man1").join(name)).expect(name);
        assert!(page.contains("database"), "{name}");
    }
    assert!(!dir.path().join("pages/man1/wavebatch-help.1").exists(), "`help` is no verb of its own");
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = cli::run(dir.path(), &["man", "file"]);
    assert_eq!(cli::code(&refused), 3);
    assert!(cli::stderr(&refused).contains("cannot write manual pages to file"), "{}", cli::stderr(&refused));
}
