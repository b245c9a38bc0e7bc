//! The fields of `[schedule]`, before the defaults.

use std::time::Duration;

use super::{
    fields::fields,
    text::{duration, named},
    walk::{Section, TomlWalk},
};
use crate::domain::schedule::{Cron, CronFault, Missed};

fields! {
    /// When a service runs the definition by itself. Without this table it never does.
    pub(super) SCHEDULE = "schedule" {
        /// Minute, hour, day of the month, month and day of the week, e.g. `0 2 * * *`; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
        "cron": "a string" (required) => Nothing;
        /// How long after its moment a run may begin calls. It ends at most 24 h after the next moment.
        "window": "a duration" (or "no limit") => Nothing;
        /// What happens to runs that were missed.
        "missed": [Missed] (= "\"run\"") => Nothing;
    }
}

/// The content of `[schedule]`.
#[derive(Debug, Default)]
pub(super) struct ScheduleDraft {
    pub(super) cron: Option<Cron>,
    pub(super) window: Option<Duration>,
    pub(super) missed: Option<Missed>,
}

pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> ScheduleDraft {
    let above_zero = |text: &str| match duration(text) {
        Ok(zero) if zero.is_zero() => {
            Err("must be above zero: in a window of no length no call could begin".to_owned())
        }
        other => other,
    };
    let draft = ScheduleDraft {
        cron: walk.text(&mut section, "cron", |text| text.parse().map_err(|e: CronFault| e.to_string())),
        window: walk.text(&mut section, "window", above_zero),
        missed: walk.text(&mut section, "missed", named),
    };
    walk.close(section);
    draft
}
