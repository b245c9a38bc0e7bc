//! The page of the command line.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::markdown::{code, table};
use crate::cli::Cli;

/// The verbs that take sources, and so share most of their flags.
const OF_SOURCES: [&str; 3] = ["run", "submit", "check"];

const TEXT: &str = "# Command line
A command is `wavebatch VERB`. This page lists every verb and every flag, as `wavebatch VERB --help` shows them.

- Results go to stdout; progress, logs and hints go to stderr. Without a terminal there is a line every ten seconds instead of a bar.
- `--json` prints what scripts need, in full.
- The first Ctrl-C or SIGTERM lets the calls in flight finish and their outputs be written. A second one leaves at once. A lost
  terminal (SIGHUP) is taken like the first, unless the command was started with `nohup`. The same command goes on later.
- The [exit status](exit-status.md) says how it ended.

## Verbs

";

const SOURCES: &str = "
## Flags of `run`, `submit` and `check`

These three verbs take sources and these flags. A flag goes before the definition.
";

const CHOICE: &str = "
## Which lines

`jobs`, `report -o`, `retry`, `deliver` and `cancel` take some lines of a batch by `--key`, `--keys-from`, `--state` and `--where`.

- `--where COLUMN=VALUE` knows the columns of the manifest, and `key`, `state`, `note`, `error_kind`, `source`, `model`, `language`; of
  speech also `voice_id`, `output_format` and `sample_rate`. `manifest_note` is the manifest's own column `note`.
- Several values of one column widen the choice. Other columns narrow it.
- No match is exit status 1. If something that is named is in no line, verbs that change lines change none.
";

pub(super) fn page() -> String {
    let mut program = Cli::command();
    program.build();
    let verbs: Vec<&Command> = program.get_subcommands().filter(|verb| is_shown(verb)).collect();
    let shared = shared(&verbs);
    let mut text = TEXT.to_owned();
    let row = |verb: &&Command| [format!("[{0}](#wavebatch-{0})", verb.get_name()), sentence(about(verb))];
    text.push_str(&table(["verb", "what it does"], verbs.iter().map(row)));
    text.push_str("\n## Everywhere\n\nEvery verb has these flags:\n\n");
    text.push_str(&flags(program.get_arguments().filter(|arg| !arg.is_positional() && arg.get_id() != "version")));
    text.push_str(SOURCES);
    by_heading(&mut text, &shared.iter().collect::<Vec<_>>(), 3);
    text.push_str(CHOICE);
    for verb in &verbs {
        describe(&mut text, verb, &shared);
    }
    text
}

/// The flags of one verb, without those of every verb.
pub(super) fn flags_of(verb: &str) -> String {
    let mut program = Cli::command();
    program.build();
    let verb = program.find_subcommand(verb).expect("a verb of the program");
    flags(own(verb))
}

fn describe(text: &mut String, verb: &Command, shared: &[Arg]) {
    let name = verb.get_bin_name().unwrap_or(verb.get_name()).to_owned();
    let long = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
    let long = long.split("\n\n").map(|part| sentence(part.to_owned())).collect::<Vec<_>>().join("\n\n");
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    write!(text, "\n## `{name}`\n\n{long}\n\n```text\n{usage}\n```\n").expect("a String takes everything");
    let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
    if let Some((_, examples)) = examples.split_once("Example").filter(|_| !verb.has_subcommands()) {
        let commands = examples.lines().map(str::trim).filter(|line| line.starts_with("wavebatch "));
        write!(text, "\n```sh,norun\n{}\n```\n", commands.collect::<Vec<_>>().join("\n"))
            .expect("a String takes everything");
    }
    let takes_sources = OF_SOURCES.contains(&verb.get_name()) && !verb.has_subcommands();
    let is_shared = |arg: &Arg| takes_sources && shared.iter().any(|known| known.get_id() == arg.get_id());
    let rest: Vec<&Arg> = own(verb).filter(|arg| !is_shared(arg)).collect();
    by_heading(text, &rest, 0);
    if takes_sources {
        text.push_str("\nIt also takes the [flags of `run`, `submit` and `check`](#flags-of-run-submit-and-check).\n");
    }
    for inner in verb.get_subcommands().filter(|inner| is_shown(inner)) {
        describe(text, inner, &[]);
    }
}

/// Writes flags by their headings in the help, each as a heading of this level, or of none.
fn by_heading(text: &mut String, args: &[&Arg], level: usize) {
    let mut headings: Vec<Option<&str>> = Vec::new();
    args.iter().map(|arg| arg.get_help_heading()).for_each(|heading| {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    });
    headings.sort_by_key(|heading| heading.is_some());
    for heading in headings {
        match heading {
            Some(heading) if level > 0 => write!(text, "\n{} {heading}\n\n", "#".repeat(level)),
            Some(heading) => write!(text, "\n{heading}:\n\n"),
            None => writeln!(text),
        }
        .expect("a String takes everything");
        text.push_str(&flags(args.iter().copied().filter(|arg| arg.get_help_heading() == heading)));
    }
}

/// The flags that all verbs with sources have.
fn shared(verbs: &[&Command]) -> Vec<Arg> {
    let of = |name: &str| verbs.iter().find(|verb| verb.get_name() == name).map(|verb| own(verb).cloned().collect());
    let mut all: Vec<Vec<Arg>> = OF_SOURCES.iter().filter_map(|name| of(name)).collect();
    let mut first = all.pop().unwrap_or_default();
    first.retain(|arg| all.iter().all(|other| other.iter().any(|own| own.get_id() == arg.get_id())));
    first
}

/// The arguments of a verb that not every verb has.
fn own(verb: &Command) -> impl Iterator<Item = &Arg> {
    verb.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
}

fn flags<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    table(["flag", "meaning"], args.filter(|arg| !arg.is_hide_set()).map(|arg| [spelled(arg), meaning(arg)]))
}

/// `-o`, `--output DIR`
fn spelled(arg: &Arg) -> String {
    let values: Vec<String> = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values())
        .into_iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    let values = values.join(" ");
    if arg.is_positional() {
        let many = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "…" } else { "" };
        return code(&if arg.is_required_set() { format!("{values}{many}") } else { format!("[{values}]{many}") });
    }
    let value = match arg.get_num_args().map(|range| range.min_values()) {
        _ if values.is_empty() => String::new(),
        Some(0) => format!("[={values}]"),
        _ => format!(" {values}"),
    };
    let long = arg.get_long().map(|long| code(&format!("--{long}{value}")));
    let short = arg.get_short().map(|short| code(&format!("-{short}")));
    short.into_iter().chain(long).collect::<Vec<_>>().join(", ")
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = sentence(help.replace('\n', " "));
    let defaults: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        write!(text, " Default: `{}`.", defaults.join(",")).expect("a String takes everything");
    }
    if !arg.is_hide_possible_values_set() && arg.get_action().takes_values() {
        let values: Vec<String> = arg.get_possible_values().iter().map(|value| code(value.get_name())).collect();
        if !values.is_empty() {
            write!(text, " Values: {}.", values.join(", ")).expect("a String takes everything");
        }
    }
    // Braces and angle brackets of placeholders would be read as HTML outside of code.
    text.replace('<', "&lt;")
}

fn about(verb: &Command) -> String {
    verb.get_about().map(ToString::to_string).unwrap_or_default()
}

/// The text with a full stop; a default in brackets becomes a sentence of its own.
fn sentence(text: String) -> String {
    let (text, default) = match text.rsplit_once(" [default: ") {
        Some((text, default)) => (text.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (text, None),
    };
    let end = if text.ends_with(['.', ':', '?']) || text.is_empty() { "" } else { "." };
    let default = default.map(|default| format!(" Default: {default}.")).unwrap_or_default();
    format!("{text}{end}{default}")
}

fn is_shown(verb: &Command) -> bool {
    !verb.is_hide_set() && verb.get_name() != "help"
}
