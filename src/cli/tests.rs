//! Tests of the whole command line: its consistency and its help.

use clap::{CommandFactory, Parser};

use super::Cli;

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_has_an_example() {
    for verb in Cli::command().get_subcommands() {
        let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            after.contains("Example") && after.contains(&format!("wavebatch {}", verb.get_name())),
            "{}",
            verb.get_name()
        );
    }
}

#[test]
fn help_reads_as_it_should() {
    let help = |words: &[&str]| {
        let words = ["wavebatch"].iter().chain(words).chain(&["--help"]);
        Cli::command().term_width(100).try_get_matches_from(words).unwrap_err().to_string()
    };
    insta::assert_snapshot!("help", help(&[]));
    for verb in Cli::command().get_subcommands() {
        insta::assert_snapshot!(format!("help-{}", verb.get_name()), help(&[verb.get_name()]));
        for inner in verb.get_subcommands() {
            let (verb, inner) = (verb.get_name(), inner.get_name());
            insta::assert_snapshot!(format!("help-{verb}-{inner}"), help(&[verb, inner]));
        }
    }
}

#[test]
fn a_wrong_word_comes_with_the_nearest() {
    let message = |words: &[&str]| {
        let e = Cli::try_parse_from(["wavebatch"].iter().chain(words)).unwrap_err();
        assert_eq!(e.exit_code(), 2);
        e.to_string()
    };
    assert!(message(&["runn"]).contains("'run'"));
    assert!(message(&["run", "x", "--langage", "en"]).contains("'--language'"));
    assert!(message(&["jobs", "b", "--state", "faild"]).contains("did you mean `failed`?"));
    assert!(message(&["status", "--log-format", "jsn"]).contains("did you mean `json`?"));
    assert!(message(&["status", "-q", "-v"]).contains("cannot be used with"));
}
