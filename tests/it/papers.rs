//! What the README says in closed lists and examples, held against the code.

use std::{fs, path::Path};

use wavebatch::{
    definition::{Definition, Overrides},
    domain::{
        batch::LineOption,
        call::ErrorKind,
        options::{LANGUAGES, Task},
        row::{Note, RowStatus},
        synthesis::SpeechOption,
    },
    report::row::Column,
};

#[test]
fn the_readme_lists_what_the_report_can_say() {
    let readme = readme();
    let report = section(&readme, "## The report");
    for name in ErrorKind::NAMES.iter().chain(Note::NAMES).chain(RowStatus::NAMES) {
        assert!(report.contains(&format!("`{name}`")), "`{name}` is not in \"The report\"");
    }
    for task in Task::ALL {
        let columns = Column::of(*task).iter().map(|column| column.as_str()).collect::<Vec<_>>().join(",");
        assert!(report.contains(&columns), "the columns of {task}, in their order: {columns}");
    }
}

#[test]
fn the_readme_lists_the_options_of_a_line() {
    let readme = readme();
    let definitions = section(&readme, "## Definitions and manifests");
    for name in LineOption::NAMES {
        assert!(definitions.contains(name), "`{name}` is not in \"Definitions and manifests\"");
    }
    let speech = section(&readme, "## Speech");
    for name in SpeechOption::NAMES {
        assert!(speech.contains(name), "`{name}` is not in \"Speech\"");
    }
    for language in LANGUAGES {
        assert!(definitions.contains(&format!("`{language}`")), "the language `{language}`");
    }
}

#[test]
fn every_definition_in_the_readme_is_without_fault() {
    let readme = readme();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("calls.csv"), "call_id,recording_url\n1,https://rec.example.com/1.wav\n").unwrap();
    fs::write(dir.path().join("prompts.csv"), "prompt,words,file\nhello,Hello.,\n").unwrap();
    fs::write(dir.path().join("brand-names.csv"), "word,pronunciation\nWaves,weivz\n").unwrap();
    let mut checked = 0;
    for (nth, block) in blocks(&readme, "toml").into_iter().enumerate().filter(|(_, b)| b.contains("task = ")) {
        let path = dir.path().join(format!("{nth}.toml"));
        fs::write(&path, block).unwrap();
        Definition::load(&path, &Overrides::default()).unwrap_or_else(|faults| panic!("{faults}\n{block}"));
        checked += 1;
    }
    assert!(checked > 1, "the README shows a definition of each task");
}

#[test]
fn the_gate_finds_the_readmes_two_commands() {
    let readme = readme();
    let commands = blocks(section(&readme, "## The first two minutes"), "sh");
    assert_eq!(&commands[..2], ["cargo run --release -- run jobs/demo-calls.toml --sandbox\n", "cargo test\n"]);
}

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// From a heading to the next of its rank.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rest = &text[start..];
    rest[1..].find("\n## ").map_or(rest, |end| &rest[..=end])
}

/// The fenced blocks in this language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let starts = text.match_indices(&fence).map(|(at, fence)| at + fence.len());
    starts.filter_map(|start| text[start..].split_once("```").map(|(block, _)| block)).collect()
}
