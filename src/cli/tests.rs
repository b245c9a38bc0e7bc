//! The command line as a whole: it holds together, and its help reads as it should.

use clap::CommandFactory;

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
    let mut cli = Cli::command().term_width(100);
    cli.build();
    insta::assert_snapshot!("help", cli.render_long_help());
    for verb in cli.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        insta::assert_snapshot!(format!("help-{}", verb.get_name()), verb.render_long_help());
    }
}
