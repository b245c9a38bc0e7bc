//! `wavebatch spool`

use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Subcommand};

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    words::{bytes, counted, fact, moment},
};
use crate::domain::printable::visible;
use crate::{
    app::views::{ClipsView, Moment, SpoolPrunedView, SpoolView},
    definition::text,
    store::{SpoolLimits, is_of_objects},
};

/// Show what speech is kept, and what it takes on disk, or trim it
///
/// Each part of a text is paid for once and kept beside the ledger, or where `spool` says: what is said again, in this
/// batch or another, is taken from there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wavebatch spool\n  wavebatch spool prune --older-than 30d --max-size 10GB")]
pub struct Spool {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Prune(Prune),
}

/// Remove kept speech, the longest unused first
///
/// What an unfinished job needs stays, whatever the limits. What goes is paid for again if it is ever said again; outputs
/// that are written stay as they are.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("limits").args(["older_than", "max_size"]).required(true).multiple(true),
    after_help = "Examples:\n  wavebatch spool prune --older-than 30d --dry-run\n  wavebatch spool prune --max-size 10GB"
)]
struct Prune {
    /// What was not used for so long, e.g. 30d
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    older_than: Option<Duration>,
    /// Until what is left is no larger, e.g. 10GB, 500MB or 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Say it, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Spool {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if let Some(Verb::Prune(mut prune)) = self.verb {
            // The flag may be before or after the subcommand.
            prune.ledger.sandbox |= self.ledger.sandbox;
            prune.json |= self.json;
            return prune.run(context).await;
        }
        let (store, _) = context.ledger(self.ledger.sandbox).await?;
        let folder = store.audio_cache().place().await?;
        let view = SpoolView::of(&store.spool_view(context.tasks.reports()).await?, folder);
        let screen = &context.screen;
        if self.json {
            screen.view(&view)?;
        } else if view.all.clips == 0 {
            screen.message(&format!("no bought speech is kept in {}", view.folder));
        } else {
            screen.result(&shown(&view))?;
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

impl Prune {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, _) = context.ledger(self.ledger.sandbox).await?;
        // No file is older than the epoch: a greater age removes nothing.
        let since = |age: Duration| SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let limits = SpoolLimits { unused_since: self.older_than.map(since), max_bytes: self.max_size };
        let pruned =
            SpoolPrunedView::of(&store.prune_spool(context.tasks.reports(), limits, self.dry_run).await?, self.dry_run);
        let screen = &context.screen;
        if self.json {
            screen.view(&pruned)?;
        } else {
            screen.message(&message(&pruned, self.max_size));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

fn shown(view: &SpoolView) -> String {
    let used = |at: Option<Moment>| at.map(|at| moment(at.0)).unwrap_or_default();
    let needed = match view.needed.clips {
        0 => "nothing".into(),
        _ => amount(view.needed),
    };
    let facts = [
        fact("speech", amount(view.all)),
        fact("used", format!("the longest ago {}, last {}", used(view.oldest_use), used(view.newest_use))),
        fact("needed", format!("{needed}, by unfinished jobs")),
        fact(if is_of_objects(&view.folder) { "store" } else { "folder" }, &view.folder),
    ];
    facts.join("\n")
}

fn message(pruned: &SpoolPrunedView, most: Option<u64>) -> String {
    let SpoolPrunedView { dry_run, removed, needed, within_limits } = *pruned;
    let took = match removed.clips {
        0 => "nothing to remove".into(),
        _ if dry_run => format!("{} would go", amount(removed)),
        _ => format!("{} removed", amount(removed)),
    };
    let mut words = vec![took];
    if needed.clips > 0 {
        words.push(format!("{} stay, for unfinished jobs need them", amount(needed)));
    }
    if within_limits.clips > 0 {
        words.push(format!("{} stay within the limits", amount(within_limits)));
    }
    let left = needed.bytes + within_limits.bytes;
    if let Some(most) = most.filter(|most| left > *most) {
        words.push(format!("that is more than {}, until those jobs are finished", bytes(most)));
    }
    words.join("; ")
}

/// `1,204 clips, 3.4 MB`
fn amount(of: ClipsView) -> String {
    format!("{}, {}", counted(of.clips, "clip"), bytes(of.bytes))
}

/// Reads `10GB`, `500 MB`, `1.5GiB`, `0`.
fn size(text: &str) -> Result<u64, String> {
    let fault = || format!("`{}` is no size; write e.g. 10GB, 500MB or 1GiB", visible(&text));
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..at].parse::<f64>().map_err(|_| fault())?, text[at..].trim());
    let (k, ki) = (1_000_f64, 1_024_f64);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" if number == 0.0 => 1.0,
        "b" => 1.0,
        "kb" => k,
        "mb" => k.powi(2),
        "gb" => k.powi(3),
        "tb" => k.powi(4),
        "kib" => ki,
        "mib" => ki.powi(2),
        "gib" => ki.powi(3),
        "tib" => ki.powi(4),
        _ => return Err(fault()),
    };
    let size = (number * factor).round();
    if size > 1e18 { Err(fault()) } else { Ok(size as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let known = ["10GB", "500 MB", "1GiB", "1.5kb", "0", "7b"].map(|text| size(text).unwrap());
        assert_eq!(known, [10_000_000_000, 500_000_000, 1 << 30, 1_500, 0, 7]);
        for bad in ["", "10", "GB", "-1GB", "1.2.3MB", "10 apples", "1e9GB", "99999999TB", "."] {
            assert!(size(bad).unwrap_err().contains("write e.g. 10GB"), "{bad}");
        }
    }

    #[test]
    fn what_went_and_what_stays_is_told_with_the_reason() {
        let of = |clips, bytes| ClipsView { clips, bytes };
        let nothing = SpoolPrunedView { dry_run: false, removed: of(0, 0), needed: of(0, 0), within_limits: of(0, 0) };
        let mut pruned = SpoolPrunedView { removed: of(1_204, 3_400_000), ..nothing };
        assert_eq!(message(&pruned, None), "1,204 clips, 3.4 MB removed");
        (pruned.needed, pruned.within_limits, pruned.dry_run) = (of(2, 9_000), of(1, 500), true);
        assert_eq!(
            message(&pruned, Some(5_000)),
            "1,204 clips, 3.4 MB would go; 2 clips, 9.0 kB stay, for unfinished jobs need them; \
             1 clip, 500 B stay within the limits; that is more than 5.0 kB, until those jobs are finished"
        );
        assert_eq!(message(&nothing, Some(0)), "nothing to remove");
    }
}
