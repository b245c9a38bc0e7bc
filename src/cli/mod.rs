//! The command line: one file per verb. The only place that prints.

mod backup;
mod bars;
mod callbacks;
mod cancel;
mod check;
mod clones;
mod completions;
mod content;
mod context;
mod delete;
mod deliver;
mod dicts;
mod doctor;
mod error;
mod find;
mod forget;
mod heard;
mod jobs;
mod kept;
mod ledger;
mod lines;
mod man;
mod messages;
mod metrics_file;
mod missing;
mod notify;
mod orphans;
mod parts;
mod pause;
mod progress;
mod prune;
mod reading;
pub mod reference;
mod report;
mod restore;
mod resume;
mod retry;
mod run;
mod sandbox;
mod schedule;
mod screen;
mod secrets;
mod serve;
mod show;
mod sources;
mod spend;
mod spend_limits;
mod spool;
mod status;
mod submit;
mod terminal;
mod voices;
mod watch;
mod words;
mod work;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    ffi::OsString,
    io::{self, Write},
    panic,
    path::PathBuf,
    process::ExitCode,
    thread,
};

use clap::{ArgAction, Args, Parser, Subcommand};

pub use self::error::{CliError, Exit};
use self::{context::Context, screen::Screen};
use crate::{
    domain::printable::{printable, printable_lines},
    process,
    tasks::Registry,
    telemetry::{self, LogFormat, Verbosity},
};

const EXAMPLES: &str = "\
Examples:
  wavebatch run jobs/demo-calls.toml --sandbox
  wavebatch run calls.csv --task transcribe --model pulse --language en

Environment:
  SMALLEST_API_KEY     the account's key; SMALLEST_API_KEY_FILE names a file with it
  SMALLEST_BASE_URL    another address of the API
  WAVEBATCH_DATABASE   the ledger, e.g. sqlite:///srv/wavebatch.db (as --database)
  WAVEBATCH_SPOOL      where bought speech is kept, e.g. s3://bucket/spool/ (as --spool)
  WAVEBATCH_CONFIG     the settings (as --config), else ./wavebatch.toml, else
                       /etc/wavebatch/wavebatch.toml

Exit status:
";

/// The end of the program's help.
fn epilogue() -> String {
    let rows = Exit::ALL.iter().map(|(exit, meaning)| format!("  {:<4} {}", exit.code(), meaning.trim()));
    format!("{EXAMPLES}{}", rows.collect::<Vec<_>>().join("\n"))
}

/// Durable batch runner for Smallest AI's Waves speech API.
///
/// A definition says how, a manifest says what; together they make a batch of jobs, kept in a ledger and resumed by
/// the same command.
#[derive(Debug, Parser)]
#[command(name = "wavebatch", version, max_term_width = 110, after_help = epilogue(), arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The ledger, e.g. sqlite://wavebatch.db or postgres://user@host/database
    #[arg(long, global = true, value_name = "ADDRESS")]
    database: Option<String>,
    /// Where bought speech is kept, if not beside the ledger: s3://bucket/prefix/, or a folder that machines share
    #[arg(long, global = true, value_name = "ADDRESS")]
    spool: Option<String>,
    /// The settings [default: wavebatch.toml, else /etc/wavebatch/wavebatch.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Logs as text or json
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Log more; twice, much more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Tell only errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Submit(Box<submit::Submit>),
    Work(work::Work),
    Check(Box<check::Check>),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Show(show::Show),
    Find(find::Find),
    Report(report::Report),
    Spend(spend::Spend),
    Deliver(deliver::Deliver),
    Retry(retry::Retry),
    Cancel(cancel::Cancel),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Prune(prune::Prune),
    Forget(forget::Forget),
    Delete(delete::Delete),
    Orphans(orphans::Orphans),
    Voices(voices::Voices),
    Dicts(dicts::Dicts),
    Spool(spool::Spool),
    Ledger(ledger::Ledger),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Doctor(doctor::Doctor),
    Schedule(schedule::Schedule),
    Notify(notify::NotifyVerb),
    Secrets(secrets::SecretsVerb),
    Serve(serve::Serve),
    Sandbox(sandbox::Sandbox),
    Completions(completions::Completions),
    Man(man::Man),
}

/// The program: parses the command line and runs it with these tasks. Returns the exit status.
#[must_use]
pub fn main(tasks: Registry) -> ExitCode {
    process::set_up();
    report_panics();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let bars = bars::on_stderr();
    // A service has no bar: its users read the log.
    let service = matches!(cli.command, Command::Serve(_)) && cli.global.log_format == LogFormat::Text;
    if matches!(cli.command, Command::Backup(_)) {
        process::go_last();
    }
    let verbosity = Verbosity { verbose: cli.global.verbose + u8::from(service), quiet: cli.global.quiet };
    telemetry::start(cli.global.log_format, verbosity, bars.clone());
    let screen = Screen::new(bars, cli.global.log_format, cli.global.quiet);
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(cli.command.run(Context::new(cli.global, screen.clone(), tasks)));
            // A thread that still reads a terminal must not block the exit.
            runtime.shutdown_background();
            done
        }
        Err(e) => Err(e.into()),
    };
    if let Err(stop) = &done
        && !stop.is_closed_pipe()
    {
        screen.error(&stop.message());
    }
    Exit::of(&done).into()
}

/// The command line. On failure the help or the error is printed, and the exit status returned.
fn parse() -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&args).map_err(|error| {
        let exit = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        match shown(&args, error) {
            // A closed output is no failure of the command.
            Ok(error) => drop(error.print()),
            Err(plain) => drop(writeln!(io::stderr(), "{}", plain.trim_end())),
        }
        exit
    })
}

/// The error with escaped arguments: in colours if they give the same kind of error, else as plain text.
fn shown(args: &[OsString], error: clap::Error) -> Result<clap::Error, String> {
    let harmless = |arg: &OsString| OsString::from(printable(&arg.to_string_lossy()).into_owned());
    let escaped: Vec<OsString> = args.iter().map(harmless).collect();
    if escaped == args {
        return Ok(error);
    }
    match Cli::try_parse_from(escaped) {
        Err(same) if same.kind() == error.kind() => Ok(same),
        _ => Err(printable_lines(&error.to_string()).into_owned()),
    }
}

/// Prints panics as Rust does, with terminal control sequences escaped: a quoted text may be outside data.
fn report_panics() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
        let words = info.payload_as_str().unwrap_or("(no words)");
        let backtrace = Backtrace::capture();
        let message = format!("thread '{}' panicked{place}:\n{words}", thread.name().unwrap_or("<unnamed>"));
        let message = match backtrace.status() {
            BacktraceStatus::Captured => format!("{message}\n{backtrace}"),
            _ => message,
        };
        let _ = writeln!(io::stderr(), "{}", printable_lines(&message));
    }));
}

impl Command {
    async fn run(self, context: Context) -> Result<Exit, CliError> {
        match self {
            Self::Run(verb) => verb.run(&context).await,
            Self::Submit(verb) => verb.run(&context).await,
            Self::Work(verb) => verb.run(&context).await,
            Self::Check(verb) => verb.run(&context).await,
            Self::Status(verb) => verb.run(&context).await,
            Self::Jobs(verb) => verb.run(&context).await,
            Self::Show(verb) => verb.run(&context).await,
            Self::Find(verb) => verb.run(&context).await,
            Self::Report(verb) => verb.run(&context).await,
            Self::Spend(verb) => verb.run(&context).await,
            Self::Deliver(verb) => verb.run(&context).await,
            Self::Retry(verb) => verb.run(&context).await,
            Self::Cancel(verb) => verb.run(&context).await,
            Self::Pause(verb) => verb.run(&context).await,
            Self::Resume(verb) => verb.run(&context).await,
            Self::Prune(verb) => verb.run(&context).await,
            Self::Forget(verb) => Box::pin(verb.run(&context)).await,
            Self::Delete(verb) => Box::pin(verb.run(&context)).await,
            Self::Orphans(verb) => verb.run(&context).await,
            Self::Voices(verb) => verb.run(&context).await,
            Self::Dicts(verb) => verb.run(&context).await,
            Self::Spool(verb) => verb.run(&context).await,
            Self::Ledger(verb) => verb.run(&context).await,
            Self::Backup(verb) => verb.run(&context).await,
            Self::Restore(verb) => verb.run(&context).await,
            Self::Doctor(verb) => verb.run(&context).await,
            Self::Schedule(verb) => verb.run(&context).await,
            Self::Notify(verb) => verb.run(&context).await,
            Self::Secrets(verb) => verb.run(&context).await,
            Self::Serve(verb) => verb.run(&context).await,
            Self::Sandbox(verb) => verb.run(&context).await,
            Self::Completions(verb) => verb.run(&context),
            Self::Man(verb) => verb.run(&context),
        }
    }
}

#[cfg(test)]
mod tests;
