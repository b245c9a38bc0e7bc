//! `wavebatch doctor`

use std::path::PathBuf;

use clap::Args;
use unicode_width::UnicodeWidthStr;

use super::{
    context::Context,
    error::{CliError, Exit},
    words::{counted, printable},
};
use crate::app::{
    examine,
    views::{DoctorView, ExaminedView, Health},
};

/// The width of a report where nobody measures.
const WIDTH: usize = 100;
/// The narrowest column of words.
const NARROW: usize = 24;

/// Examine everything that a night depends on, and say what to do
///
/// The key, the API and the clock; the ledger, its disk, its lock and who works on it; bought speech; callbacks from outside;
/// limits of the machine; of each definition its manifest, source, output and voices. Nothing costs money, and no line is
/// changed. Exit status 1 where something does not work.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wavebatch doctor\n  wavebatch doctor jobs/nightly-calls.toml --json")]
pub struct Doctor {
    /// Definitions (*.toml) to examine too
    #[arg(value_name = "DEFINITION")]
    definitions: Vec<PathBuf>,
    /// Examine the local stand-in and its ledger instead
    #[arg(long)]
    sandbox: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let view = examine(&context.settings(self.sandbox)?, &self.definitions).await?;
        let screen = &context.screen;
        match self.json {
            true => screen.view(&view)?,
            false => screen.result(&shown(&view, screen.result_width().min(WIDTH)))?,
        }
        Ok(if view.is_well { Exit::Success } else { Exit::Lines })
    }
}

fn shown(view: &DoctorView, width: usize) -> String {
    let names = view.examined.iter().map(|one| one.name.width()).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut definition = None;
    for one in &view.examined {
        if one.definition != definition {
            definition.clone_from(&one.definition);
            lines.extend(definition.iter().map(|file| format!("\n{}", printable(file))));
        }
        lines.extend(examined(one, names, width));
    }
    let failed = view.examined.iter().filter(|one| one.state == Health::Failed).count() as u64;
    let told = view.examined.iter().filter(|one| one.state == Health::Warning).count() as u64;
    lines.push(String::new());
    lines.push(match (failed, told) {
        (0, 0) => "everything works".to_owned(),
        (0, told) => format!("everything works; {}", counted(told, "warning")),
        (1, _) => "1 thing does not work".to_owned(),
        (failed, _) => format!("{} do not work", counted(failed, "thing")),
    });
    lines.join("\n")
}

/// The lines about one thing: its state, its name, what was found, and what to do.
fn examined(one: &ExaminedView, names: usize, width: usize) -> Vec<String> {
    let state = match one.state {
        Health::Well => "ok",
        Health::Warning => "warn",
        Health::Failed => "FAIL",
        Health::Unchecked => "-",
    };
    let indent = 2 + 4 + 2 + names + 2;
    let room = width.saturating_sub(indent).max(NARROW);
    let mut lines = Vec::new();
    for line in wrapped(&printable(&one.what), room) {
        let head = match lines.is_empty() {
            true => format!("  {state:<4}  {:<names$}  ", one.name),
            false => " ".repeat(indent),
        };
        lines.push(format!("{head}{line}"));
    }
    if let Some(remedy) = one.remedy.as_ref().filter(|remedy| !remedy.is_empty()) {
        for (n, line) in wrapped(&printable(remedy), room.saturating_sub(3)).into_iter().enumerate() {
            let arrow = if n == 0 { "-> " } else { "   " };
            lines.push(format!("{}{arrow}{line}", " ".repeat(indent)));
        }
    }
    lines
}

/// The words in lines of at most this width. A longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> DoctorView {
        let one = |name, state, what: &str, remedy: Option<&str>| ExaminedView {
            name,
            definition: None,
            state,
            what: what.to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let of = |one: ExaminedView| ExaminedView { definition: Some("jobs/night.toml".to_owned()), ..one };
        DoctorView {
            version: "0.1.0",
            is_well: false,
            examined: vec![
                one("key", Health::Well, "the API accepts SMALLEST_API_KEY; the account has 12 voices", None),
                one(
                    "clock",
                    Health::Failed,
                    "this machine's clock is 1 h behind the API's",
                    Some("set it by NTP (`timedatectl`): dates, windows and S3 signatures depend on it"),
                ),
                one("webhook", Health::Unchecked, "no public_url is set", None),
                of(one("output", Health::Warning, "s3://acme/night/ can be written", Some("look"))),
            ],
        }
    }

    #[test]
    fn it_reads_on_wide_and_narrow_screens() {
        insta::assert_snapshot!(shown(&view(), 100));
        let narrow = shown(&view(), 60);
        assert!(narrow.lines().all(|line| line.width() <= 60), "{narrow}");
        insta::assert_snapshot!(narrow);
    }
}
