//! `[schedule]`: when a definition runs.

use std::{path::Path, time::Duration};

use jiff::{civil::Date, tz::TimeZone};

use super::{
    DefinitionTask, Faults, Notify, Overrides,
    build::{self, Builder},
    dates::{self, When},
    draft::Draft,
    template::{Names, Template},
};
use crate::domain::{
    batch::{BATCH, BatchName},
    schedule::{Cron, Day, Missed, Schedule},
    task::Tasks,
};

/// A window may reach this much beyond the next run.
const OVERLAP: Duration = Duration::from_secs(86_400);

impl Builder<'_> {
    /// The schedule, if the definition has one.
    pub(super) fn schedule(&mut self, draft: &Draft) -> Option<Schedule> {
        if !self.in_file("schedule") {
            return None;
        }
        if !self.faults.iter().any(|fault| fault.is_of_field("schedule")) {
            self.missing("schedule.cron", draft.schedule.cron.is_none(), "cron = \"0 2 * * *\"");
        }
        let cron = draft.schedule.cron.clone()?;
        self.window_fits(&cron, draft.schedule.window);
        let dated = |text: Option<&String>| text.is_some_and(|text| uses_date(text));
        Some(Schedule {
            zone: self.schedule_zone(draft)?,
            window: draft.schedule.window,
            missed: draft.schedule.missed.unwrap_or(Missed::Run),
            day: match draft.date {
                Some(When::Yesterday) => Day::Before,
                Some(When::On(date)) => Day::On(date),
                Some(When::Today) | None => Day::Same,
            },
            dated: [&draft.batch, &draft.manifest, &draft.output].into_iter().any(|text| dated(text.as_ref())),
            dated_lines: lines_use_date(draft),
            one_batch: !dated(draft.batch.as_ref()),
            cron,
        })
    }

    /// Rejects a window that reaches far past the next run: the writer most likely means something else.
    fn window_fits(&mut self, cron: &Cron, window: Option<Duration>) {
        let period = cron.period();
        if let Some(window) = window.filter(|window| *window > period + OVERLAP) {
            let message = format!(
                "{} is more than 24 h longer than the {} between two runs; at most {}",
                in_words(window),
                in_words(period),
                in_words(period + OVERLAP)
            );
            self.fault("schedule.window", message);
        }
    }

    fn schedule_zone(&mut self, draft: &Draft) -> Option<TimeZone> {
        if draft.timezone.is_none() && self.in_file("timezone") {
            return None; // Already reported as a fault.
        }
        let zone = draft.timezone.clone().map_or_else(dates::system_zone, Ok);
        zone.map_err(|message| self.fault("schedule", message)).ok()
    }
}

/// `6h`, `1h30m`: as in a definition.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

fn uses_date(text: &str) -> bool {
    Template::parse(text).is_ok_and(|template| template.uses_date())
}

/// Whether the date changes the lines, or the recordings or outputs for the same cells.
fn lines_use_date(draft: &Draft) -> bool {
    let lines = [&draft.manifest, &draft.key].into_iter().flatten().map(String::as_str);
    lines.chain(draft.own.templates()).any(uses_date)
}

/// What the user should know about a schedule.
pub(super) fn note(schedule: &Schedule) -> Option<String> {
    match schedule.day {
        Day::On(date) if schedule.dated => Some(format!(
            "date = \"{date}\" is the same day in every run of the schedule; \"today\" and \"yesterday\" go with it"
        )),
        _ if schedule.one_batch => Some(
            "the batch's name has no {date}: every run of the schedule goes on with the same batch and works the lines that are new or not done; for a batch a run, say batch = \"{name}-{date}\"".to_owned(),
        ),
        _ => None,
    }
}

/// The schedule of a definition's file. The manifest is not read: a future run may not have one yet.
#[derive(Debug, Clone)]
pub struct Timetable {
    /// The definition's name.
    pub name: String,
    /// Its schedule, if it has one.
    pub schedule: Option<Schedule>,
    /// Who is notified of its batches, if the definition names somebody.
    pub notify: Option<Notify>,
    batch: Option<String>,
    manifest: Option<String>,
}

impl Timetable {
    /// Reads a definition's file.
    ///
    /// # Errors
    /// The faults of the file alone. [`Definition::load`](super::Definition::load) finds these and more.
    pub fn read(path: &Path, tasks: &Tasks<dyn DefinitionTask>, overrides: &Overrides) -> Result<Self, Faults> {
        let (mut builder, draft) = build::open(path, tasks, overrides)?;
        let schedule = builder.schedule(&draft);
        if !builder.faults.is_empty() {
            return Err(builder.faults.into_iter().collect());
        }
        let Draft { name, notify, batch, manifest, .. } = draft;
        Ok(Self { name: name.unwrap_or_default(), schedule, notify, batch, manifest })
    }

    /// The name of the batch of this date.
    ///
    /// # Errors
    /// A template that cannot be filled in, or an invalid batch name.
    pub fn batch(&self, date: Date) -> Result<BatchName, String> {
        let names = Names { name: &self.name, batch: None, date: Some(date) };
        let named = match &self.batch {
            Some(text) => Template::parse(text).and_then(|batch| batch.fill(&names)).map_err(|e| e.to_string())?,
            None => self.name.clone(),
        };
        BatchName::new(named).map_err(|e| e.to_string())
    }

    /// Whether the batch of another definition is its manifest.
    #[must_use]
    pub fn is_fed(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.starts_with(BATCH))
    }

    /// The batch that is its manifest on this date, if one is.
    #[must_use]
    pub fn fed_by(&self, date: Date) -> Option<BatchName> {
        let text = self.manifest.as_ref()?.strip_prefix(BATCH)?;
        let batch = self.batch(date).ok()?;
        let names = Names { name: &self.name, batch: Some(batch.as_str()), date: Some(date) };
        BatchName::new(Template::parse(text).ok()?.fill(&names).ok()?).ok()
    }

    /// What the user should know about its schedule.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.schedule.as_ref().and_then(note)
    }

    /// Whether each date has a manifest of its own.
    #[must_use]
    pub fn has_dated_manifest(&self) -> bool {
        self.manifest.as_deref().is_some_and(uses_date)
    }
}
