//! `wavebatch voices clone`, `voices clones` and `voices delete`

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::{
    context::Context,
    error::{CliError, Exit},
    screen::Screen,
    words::{command, counted, grouped, printable, table},
};
use crate::{
    app::{
        Api, AppError, CloneError, CloneEvent, CloneRequest, CloneRow, CloneSettings, Cloned, clone_voices,
        read_clones, views::CloneView,
    },
    audio::analyze::HearSettings,
    config::KEY,
    definition::{Fault, Faults, text},
    domain::{environment::Environment, hex::hex},
    shutdown::Shutdown,
    waves::AccountClone,
};

/// What can be done with voices of one's own.
#[derive(Debug, Subcommand)]
pub(super) enum CloneVerb {
    Clone(Box<CloneFlags>),
    Clones(Clones),
    Delete(DeleteVoice),
}

impl CloneVerb {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Clone(verb) => verb.run(context).await,
            Self::Clones(verb) => verb.run(context).await,
            Self::Delete(verb) => verb.run(context).await,
        }
    }
}

/// Make a voice of a sample, or many of a CSV; prints the id
///
/// A sample has 5 to 15 s of speech of one person in at most 5 MB: wav, mp3, webm or mp4. It is listened to before it is
/// sent. Several files become one sample. Nothing is sent if the account has a voice of that name. If an answer is lost,
/// the account's list tells what became of it before anything is sent again. The same command goes on after a kill.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  id=$(wavebatch voices clone ann.wav --name \"Ann, support\" --language en)\n  wavebatch voices clone --manifest voices.csv --report made.csv"
)]
pub(super) struct CloneFlags {
    /// The sample: a file, or several that become one
    #[arg(value_name = "SAMPLE", required_unless_present = "manifest", conflicts_with = "manifest")]
    samples: Vec<PathBuf>,
    /// The voice's name
    #[arg(long, value_name = "NAME", required_unless_present = "manifest", conflicts_with = "manifest")]
    name: Option<String>,
    /// The language of the sample: its code or its name, hi or hindi
    #[arg(long, value_name = "LANGUAGE", conflicts_with = "manifest")]
    language: Option<String>,
    /// Its accent, e.g. indian
    #[arg(long, value_name = "ACCENT", conflicts_with = "manifest")]
    accent: Option<String>,
    /// Tags, with commas between them
    #[arg(long, value_name = "LIST", conflicts_with = "manifest")]
    tags: Option<String>,
    /// The model that it is to speak by, e.g. lightning_v3.1_pro [default: the vendor's, lightning_v3.1]
    #[arg(long, value_name = "MODEL", conflicts_with = "manifest")]
    model: Option<String>,
    /// What it is, in words
    #[arg(long, value_name = "TEXT", conflicts_with = "manifest")]
    description: Option<String>,
    /// A CSV with the columns name and sample, and language, accent, tags, model and description where wanted
    #[arg(long, value_name = "CSV")]
    manifest: Option<PathBuf>,
    /// Where the report goes [default: the manifest's name with -report.csv]
    #[arg(long, value_name = "FILE", requires = "manifest")]
    report: Option<PathBuf>,
    /// Requests at the same time
    #[arg(long, value_name = "N", default_value_t = 2, requires = "manifest", value_parser = clap::value_parser!(u8).range(1..=20))]
    concurrency: u8,
    /// How long a voice may take until the account's list has it, where an answer was lost
    #[arg(long, value_name = "TIME", value_parser = text::duration, default_value = "60s")]
    grace: Duration,
    /// How long it is waited until a voice is ready
    #[arg(long, value_name = "TIME", value_parser = text::duration, default_value = "10m")]
    wait: Duration,
    /// As JSON: an object for each voice
    #[arg(long)]
    json: bool,
}

/// List the account's own voices: how far they are, and the models that they speak by
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch voices clones --json")]
pub(super) struct Clones {
    /// As JSON, with all that the account says
    #[arg(long)]
    json: bool,
}

/// Ask for the removal of voices of one's own, without asking you
///
/// The vendor has announced that voices cannot be deleted any more. What it answers is told.
#[derive(Debug, Args)]
#[command(name = "delete", after_help = "Example:\n  wavebatch voices delete voice_dLP5T67Qw7")]
pub(super) struct DeleteVoice {
    /// Which ones
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

async fn open(context: &Context) -> Result<Api, CliError> {
    Api::open(&context.settings(false)?).await.map_err(|error| match error {
        AppError::NoKey => CliError::from(error)
            .hint(format!("export {KEY}=sk_…; or try it with an API that `wavebatch sandbox` serves")),
        error => error.into(),
    })
}

impl CloneFlags {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let settings = self.settings(context.config(false)?.ffmpeg)?;
        let api = open(context).await?;
        let shutdown = Shutdown::listen()?;
        let told = Told::new(&context.screen, settings.requests.len() as u64, self.manifest.is_some());
        let cloned = {
            let events = |event| told.tell(event);
            let cloning = clone_voices(api.client(), &settings, &shutdown.drain, &events);
            tokio::select! {
                cloned = cloning => cloned,
                () = shutdown.abort.cancelled() => return Ok(Exit::of_signal(shutdown.signal())),
            }
        };
        told.finish();
        api.close().await;
        let cloned = cloned.map_err(|error| not_cloned(error, context))?;
        if cloned.interrupted {
            context.screen.message("interrupted: the same command goes on");
        }
        self.show(context, &settings, &cloned)?;
        if let Some(failure) = cloned.stopped {
            return Err(failure.into());
        }
        Ok(match cloned.rows.iter().filter(|row| row.status != "completed").count() as u64 {
            _ if cloned.interrupted => Exit::of_signal(shutdown.signal()),
            bad => Exit::of_lines(bad, settings.requests.len() as u64, 0.0),
        })
    }

    fn settings(&self, ffmpeg: Option<PathBuf>) -> Result<CloneSettings, CliError> {
        let (requests, report, journal) = match &self.manifest {
            Some(manifest) => {
                let report = self.report.clone().unwrap_or_else(|| report_of(manifest));
                let mut journal = report.as_os_str().to_owned();
                journal.push(".journal");
                (read_clones(manifest)?, Some(report), PathBuf::from(journal))
            }
            None => {
                let request = self.request()?;
                let hash = hex(&Sha256::digest(&request.name));
                (vec![request], None, PathBuf::from(format!(".wavebatch-clone-{}.journal", &hash[..16])))
            }
        };
        Ok(CloneSettings {
            requests,
            manifest: self.manifest.as_ref().map(|path| path.display().to_string()),
            report,
            journal,
            concurrency: usize::from(self.concurrency),
            grace: self.grace,
            wait: self.wait,
            hear: HearSettings { ffmpeg, ..HearSettings::default() },
        })
    }

    fn request(&self) -> Result<CloneRequest, Faults> {
        let request = CloneRequest {
            name: self.name.clone().unwrap_or_default(),
            samples: self.samples.clone(),
            language: self.language.clone(),
            accent: self.accent.clone(),
            tags: self.tags.clone(),
            model: self.model.clone(),
            description: self.description.clone(),
            line: None,
        };
        request.checked().map_err(|wrong| wrong.into_iter().map(|(field, why)| Fault::of_flag(field, why)).collect())
    }

    /// Prints what came of all.
    fn show(&self, context: &Context, settings: &CloneSettings, cloned: &Cloned) -> Result<(), CliError> {
        let screen = &context.screen;
        match (&settings.report, cloned.rows.as_slice()) {
            (None, [row]) => {
                if self.json {
                    screen.views([row])?;
                } else if !row.voice_id.is_empty() {
                    screen.result(&printable(&row.voice_id))?;
                }
            }
            (Some(report), rows) => {
                if self.json {
                    screen.views(rows)?;
                }
                let count = |status: &str| rows.iter().filter(|row| row.status == status).count() as u64;
                let made = count("completed");
                let bad = rows.len() as u64 - made;
                let open = settings.requests.len() as u64 - rows.len() as u64;
                let mut said = format!("{} ready", counted(made, "voice"));
                for (n, what) in [(bad, "not"), (open, "not ended")] {
                    if n > 0 {
                        said.push_str(&format!(", {} {what}", grouped(n)));
                    }
                }
                screen.message(&format!("{said}\n  report    {}", report.display()));
            }
            (None, _) => {}
        }
        Ok(())
    }
}

/// `voices.csv` has its report in `voices-report.csv`.
fn report_of(manifest: &Path) -> PathBuf {
    let stem = manifest.file_stem().unwrap_or_default().to_string_lossy();
    manifest.with_file_name(format!("{stem}-report.csv"))
}

fn not_cloned(error: CloneError, context: &Context) -> CliError {
    match error {
        CloneError::Faults(faults) => {
            let taken = faults.to_string().contains("has a voice");
            let error = CliError::from(faults);
            let list = command((&context.choice(), Environment::Live), &["voices", "clones"]);
            if taken { error.hint(format!("take another name; `{list}` lists all")) } else { error }
        }
        CloneError::Account(failure) => failure.into(),
        other => CliError { exit: Exit::Blocked, error: other.into(), hint: None },
    }
}

/// What is told while voices are cloned.
struct Told<'s> {
    screen: &'s Screen,
    bar: Option<ProgressBar>,
    /// Whether there may be many.
    are_many: bool,
    counts: Mutex<(u64, u64)>,
}

impl<'s> Told<'s> {
    fn new(screen: &'s Screen, total: u64, are_many: bool) -> Self {
        let bar = screen.draws().then(|| {
            let style =
                ProgressStyle::with_template(if are_many { "{bar:24} {pos}/{len} {msg}" } else { "{spinner} {msg}" })
                    .expect("the template is right");
            let bar = screen.bars().add(ProgressBar::new(total).with_style(style));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { screen, bar, are_many, counts: Mutex::default() }
    }

    fn tell(&self, event: CloneEvent) {
        let note = |message: String| match &self.bar {
            Some(bar) => bar.set_message(message),
            None if !self.are_many => self.screen.message(&message),
            None => {}
        };
        match event {
            CloneEvent::Warning(warning) => self.screen.warn(&warning),
            CloneEvent::Sent(name) => note(format!("`{}` is sent", printable(&name))),
            CloneEvent::Waits(name) => note(format!("`{}` is being made", printable(&name))),
            CloneEvent::Lost(name) => {
                let name = printable(&name);
                self.screen.message(&format!("`{name}`: the answer was lost; looking whether the account has it"));
            }
            CloneEvent::Ended(row) => self.ended(&row),
        }
    }

    fn ended(&self, row: &CloneRow) {
        let is_bad = row.status != "completed";
        if let Ok(mut counts) = self.counts.lock() {
            counts.0 += 1;
            counts.1 += u64::from(is_bad);
            if let Some(bar) = &self.bar {
                bar.set_position(counts.0);
                bar.set_message(if counts.1 > 0 { format!("{} not ready", grouped(counts.1)) } else { String::new() });
            }
        }
        let name = printable(&row.name);
        match (is_bad, self.are_many) {
            (true, _) => self.screen.warn(&format!("`{name}`: {}", row.error)),
            (false, true) => self.screen.message(&format!("{}  {name}", printable(&row.voice_id))),
            (false, false) => {
                let models = if row.models.is_empty() { "its model" } else { &row.models };
                self.screen.message(&format!("`{name}` is ready; it speaks by {}", printable(models)));
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Clones {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = open(context).await?;
        let all = api.client().clones().await?;
        let screen = &context.screen;
        if self.json {
            screen.view(&all.iter().map(CloneView::from).collect::<Vec<_>>())?;
        } else if !all.is_empty() {
            screen.result(&lines(&all, screen.result_width()))?;
        }
        if all.is_empty() {
            screen.message("the account has no voices of its own; `wavebatch voices clone` makes one");
        }
        Ok(Exit::Success)
    }
}

fn lines(all: &[AccountClone], width: usize) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|clone| {
            vec![
                clone.id.clone(),
                clone.status.map_or("unknown", |status| status.as_str()).to_owned(),
                clone.models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                clone.language.clone().unwrap_or_default(),
                clone.created_at.as_deref().unwrap_or_default().chars().take(10).collect(),
                clone.name.clone(),
            ]
        })
        .collect();
    table(&["id", "status", "models", "language", "made", "name"], &rows, &[], width)
}

impl DeleteVoice {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let api = open(context).await?;
        let mut refused = 0_u64;
        for id in &self.ids {
            let id = printable(id);
            match api.client().delete_clone(&id).await {
                Ok(said) => {
                    let said = said.map(|said| format!(": {}", printable(&said))).unwrap_or_default();
                    context.screen.message(&format!("{id} is deleted{said}"));
                }
                Err(failure) if failure.status.is_some_and(|status| (400..500).contains(&status) && status != 401) => {
                    refused += 1;
                    let status = failure.status.unwrap_or_default();
                    context.screen.error(&format!("{id} is not deleted: {status}, {}", failure.message));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(Exit::of_lines(refused, self.ids.len() as u64, 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::synthesis_options::TtsModel, waves::CloneStatus};

    #[test]
    fn the_report_stands_beside_the_manifest() {
        assert_eq!(report_of(Path::new("a/voices.csv")), Path::new("a/voices-report.csv"));
        assert_eq!(report_of(Path::new("voices")), Path::new("voices-report.csv"));
    }

    #[test]
    fn a_clone_is_told_with_its_status_and_models() {
        let clone = |id: &str, status, models: &[TtsModel]| AccountClone {
            id: id.into(),
            name: "Ann, support".into(),
            status,
            models: models.to_vec(),
            language: Some("en".into()),
            kind: None,
            accent: None,
            tags: Vec::new(),
            description: None,
            created_at: Some("2026-11-30T10:00:00Z".into()),
        };
        let all = [
            clone("voice_a", Some(CloneStatus::Completed), &[TtsModel::Lightning, TtsModel::LightningPro]),
            clone("voice_b1", None, &[]),
        ];
        insta::assert_snapshot!(lines(&all, 100), @r"
        id        status     models                              language  made        name
        voice_a   completed  lightning_v3.1, lightning_v3.1_pro  en        2026-11-30  Ann, support
        voice_b1  unknown                                        en        2026-11-30  Ann, support
        ");
    }
}
