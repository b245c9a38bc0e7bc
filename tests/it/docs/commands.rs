//! Commands that the pages show: their verbs and flags exist.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};
use wavebatch::cli::Cli;

use super::{Piece, documents};

/// The languages of blocks with commands that a reader types or copies.
const SHELLS: [&str; 4] = ["sh", "console", "bash", "shell"];
/// Flags of other programs, which pages name alone.
const OF_OTHERS: &[&str] = &[
    "--release",
    "--locked",
    "--path",
    "--bench",
    "--example",
    "--features",
    "--no-default-features",
    "--bin",
    "--lib",
    "--test",
    "--all-targets",
    // Of the crash harness, and of a container's engine.
    "--kills",
    "--stop-timeout",
];

fn program() -> Command {
    let mut program = Cli::command();
    program.build();
    program
}

/// The commands of a line that start `wavebatch`, each as the words behind that name. A user may have the name as well: in a
/// command, the last one counts.
fn commands(line: &str) -> Vec<Vec<String>> {
    let is_end =
        |word: &&str| ["|", "||", "&&", ">", ">>", "&", "#", "…", ";"].contains(word) || word.starts_with("2>");
    let words: Vec<&str> = line.split_whitespace().collect();
    let bare = |word: &&str| word.trim_matches(|c| "`'\"()$".contains(c)).trim_end_matches([';', ',', '.']).to_owned();
    let of_one = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(bare).collect();
        let at = words.iter().rposition(|word| word == "wavebatch" || word.ends_with("/wavebatch"))?;
        Some(words[at + 1..].to_vec())
    };
    words.split(is_end).filter_map(of_one).collect()
}

/// What is wrong with a command, if anything is. Where it is only quoted, what has no verb is no command.
fn fault(program: &Command, words: &[String], is_typed: bool) -> Option<String> {
    let mut verb = program;
    let mut rest = words;
    while let Some((first, others)) = rest.split_first() {
        match verb.find_subcommand(first) {
            Some(inner) => (verb, rest) = (inner, others),
            None => break,
        }
    }
    let is_name = |word: &String| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    if std::ptr::eq(verb, program) {
        let first = rest.first()?;
        return (is_typed && is_name(first) && !first.starts_with('-')).then(|| format!("there is no verb `{first}`"));
    }
    rest.iter().find_map(|word| unknown_flag(verb, word)).map(|flag| format!("`{}` has no `{flag}`", verb.get_name()))
}

fn unknown_flag(verb: &Command, word: &str) -> Option<String> {
    let named = word.trim_start_matches('[').trim_end_matches(']').split(['=', '[']).next()?;
    if let Some(long) = named.strip_prefix("--").filter(|long| !long.is_empty()) {
        let known = verb.get_arguments().any(|arg| arg.get_long() == Some(long));
        return (!known && long != "help").then(|| named.to_owned());
    }
    let short = named.strip_prefix('-').filter(|short| !short.is_empty() && short.chars().all(char::is_alphabetic))?;
    let known = |c: char| c == 'h' || verb.get_arguments().any(|arg| arg.get_short() == Some(c));
    (!short.chars().all(known)).then(|| named.to_owned())
}

/// Every flag of every verb.
fn all_flags(command: &Command, flags: &mut BTreeSet<String>) {
    flags.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
    command.get_subcommands().for_each(|inner| all_flags(inner, flags));
}

#[test]
fn the_commands_of_the_pages_exist() {
    let program = program();
    let mut flags: BTreeSet<String> = OF_OTHERS.iter().map(ToString::to_string).collect();
    all_flags(&program, &mut flags);
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for page in documents() {
        for (line, piece) in page.pieces_with_lines() {
            let (lines, is_typed) = match &piece {
                Piece::Block(info, text) => {
                    let language = info.split(',').next().unwrap_or_default();
                    (text.replace("\\\n", " "), SHELLS.contains(&language))
                }
                Piece::Code(code) if code.starts_with("wavebatch ") => (code.clone(), true),
                Piece::Code(code) if code.starts_with("--") => {
                    let flag = code.split([' ', '=', '[']).next().unwrap_or_default();
                    if !flags.contains(flag) && flag != "--" {
                        wrong.push(format!("{}:{line}: no verb has `{flag}`", page.name()));
                    }
                    continue;
                }
                _ => continue,
            };
            for command in lines.lines().flat_map(commands) {
                checked += 1;
                let fault = fault(&program, &command, is_typed);
                wrong.extend(fault.map(|fault| format!("{}:{line}: {fault}: {}", page.name(), command.join(" "))));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(checked > 60, "{checked}");
}

#[test]
fn a_wrong_command_is_found() {
    let program = program();
    let of = |line: &str| commands(line).iter().find_map(|words| fault(&program, words, true));
    for right in [
        "wavebatch run jobs/a.toml --sandbox",
        "$ cd /srv && SMALLEST_API_KEY=$(cat key) /usr/bin/wavebatch run a.toml --log-format json 2>>log --no-such",
        "wavebatch spool prune --older-than 30d | sort --reverse",
        "wavebatch report b -o -",
        "sudo -u wavebatch env WAVEBATCH_DATABASE=a.db wavebatch status",
        "wavebatch run x.csv --diarize=false",
        "cargo run --release",
    ] {
        assert_eq!(of(right), None, "{right}");
    }
    assert_eq!(of("wavebatch rnu a.toml").unwrap(), "there is no verb `rnu`");
    assert_eq!(of("wavebatch run a.toml --sandbocks").unwrap(), "`run` has no `--sandbocks`");
    assert_eq!(of("wavebatch spool prune --oldest").unwrap(), "`prune` has no `--oldest`");
    assert_eq!(of("wavebatch submit a.toml && wavebatch wokr").unwrap(), "there is no verb `wokr`");
    assert_eq!(of("wavebatch report b -x").unwrap(), "`report` has no `-x`");
}
