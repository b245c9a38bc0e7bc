//! Schedules and their runs, as text.

use jiff::{Timestamp, tz::TimeZone};

use super::super::{
    messages,
    words::{counted, duration, fact, grouped},
};
use crate::{
    app::{Listing, Load, Planned},
    clock::Millis,
    domain::{
        batch::BatchName,
        schedule::{Missed, Occurrence, Schedule as Times},
    },
    store::{ScheduleNode, ScheduleView},
};

/// The maximum number of runs shown per definition.
const SHOWN: usize = 10;

pub(super) fn message(listing: &Listing) -> String {
    let mut blocks: Vec<String> = listing.planned.iter().map(planned).collect();
    let mut end: Vec<String> = listing.same.iter().map(|(files, name)| same(files, name)).collect();
    match (listing.without, listing.planned.is_empty()) {
        (0, true) if listing.broken.is_empty() => end.push("there is no definition here".to_owned()),
        (0, _) => {}
        (n, _) => end.push(format!("{} without a schedule", counted(n, "definition"))),
    }
    if !listing.broken.is_empty() {
        let n = listing.broken.len() as u64;
        end.push(format!("{} broken, and will not run", counted(n, "definition")));
    }
    if !end.is_empty() {
        blocks.push(end.join("\n"));
    }
    blocks.join("\n\n")
}

fn same(files: &[String], name: &BatchName) -> String {
    format!(
        "{} would make the same batch, `{name}`: it is the first one's, and the others are refused; give them names of their own",
        files.join(" and ")
    )
}

fn planned(planned: &Planned) -> String {
    let Planned { table, file, times, runs, .. } = planned;
    let mut facts = vec![format!("{}: {file}", table.name), fact("schedule", rule(times))];
    let zone = &times.zone;
    facts.extend(planned.view.iter().flat_map(|view| stood(view, &planned.content, zone)));
    for (nth, (run, batch)) in runs.iter().take(SHOWN).enumerate() {
        facts.push(fact(if nth == 0 { "next" } else { "" }, row(run, batch, zone)));
    }
    let more = planned.more + runs.len().saturating_sub(SHOWN) as u64;
    if more > 0 {
        facts.push(fact("", format!("and {} more", grouped(more))));
    }
    facts.extend(load(&planned.load, times));
    facts.extend(planned.notes.iter().map(|note| fact("note", note)));
    facts.join("\n")
}

/// The state in the ledger.
fn stood(view: &ScheduleView, own: &str, zone: &TimeZone) -> Vec<String> {
    let wall = |at: Millis| {
        let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX).to_zoned(zone.clone());
        at.strftime("%a %Y-%m-%d %H:%M %:z").to_string()
    };
    let last = view.last.as_ref().map(|last| fact("last", format!("{}  {}", wall(last.at), last.batch)));
    let mut facts: Vec<String> = last.into_iter().collect();
    for run in view.waiting.iter().take(SHOWN) {
        let why = run.why.as_deref().unwrap_or("it is due");
        facts.push(fact("waits", format!("{}  {why}; looked at again at {}", wall(run.at), wall(run.due_at))));
    }
    facts.extend(nodes(view, own));
    if view.left_over > 0 {
        facts.push(fact("left", format!("{} of older runs, for the next window", counted(view.left_over, "line"))));
    }
    facts
}

/// The services that keep it, and whose content is in force. `own`: that of the file that is listed.
fn nodes(view: &ScheduleView, own: &str) -> Vec<String> {
    let short = |content: &str| content.chars().take(8).collect::<String>();
    let is_one = view.nodes.iter().all(|node| node.content == own);
    let words = |node: &ScheduleNode| match (is_one, node.is_in_force) {
        (true, _) => node.process.to_string(),
        (false, true) => format!("{} has {}, which is in force", node.process, short(&node.content)),
        (false, false) => format!("{} has {}, and starts nothing", node.process, short(&node.content)),
    };
    let mut facts: Vec<String> = view.nodes.iter().take(SHOWN).map(|node| fact("kept by", words(node))).collect();
    if view.nodes.len() > SHOWN {
        facts.push(fact("", format!("and {} more", grouped((view.nodes.len() - SHOWN) as u64))));
    }
    if !is_one {
        facts.push(fact("", format!("this file is {}", short(own))));
    }
    facts
}

fn rule(times: &Times) -> String {
    let window = times.window.map(|window| format!("; window {}", duration(window.as_millis() as u64)));
    let missed = match times.missed {
        Missed::Run => "missed dates are run",
        Missed::Skip => "missed dates are skipped",
    };
    format!("{} in {}{}; {missed}", times.cron, zone_name(&times.zone), window.unwrap_or_default())
}

fn zone_name(zone: &TimeZone) -> &str {
    match zone.iana_name() {
        _ if zone.is_unknown() => "UTC, as the system has no time zone",
        Some(name) => name,
        None => "the system's time zone",
    }
}

/// `Sun 2026-11-22 02:00 +05:30 (20:30 UTC)  until 08:00  nightly-calls-2026-11-21`
fn row(run: &Occurrence, batch: &BatchName, zone: &TimeZone) -> String {
    let (here, utc) = (run.at.to_zoned(zone.clone()), run.at.to_zoned(TimeZone::UTC));
    let until = run.window.map(|window| window.until.to_zoned(zone.clone()));
    let until = until.map(|until| {
        let format = if until.date() == here.date() { "%H:%M" } else { "%a %H:%M" };
        format!("  until {}", until.strftime(format))
    });
    format!(
        "{}  {}{}  {batch}",
        here.strftime("%a %Y-%m-%d %H:%M %:z"),
        utc.strftime("%Y-%m-%d %H:%M UTC"),
        until.unwrap_or_default()
    )
}

fn load(load: &Load, times: &Times) -> Vec<String> {
    let (calls, is_most, limits, over) = match load {
        Load::Unknown(why) => return vec![fact("calls", format!("not counted: {why}"))],
        Load::Counted { calls, is_most, limits, over } => (*calls, *is_most, limits, *over),
    };
    if calls == 0 {
        return vec![fact("calls", "none: as it is now, nothing is left to do")];
    }
    let count = if is_most { format!("at most {}", grouped(calls)) } else { grouped(calls) };
    let mut facts = vec![fact("calls", format!("{count}, {}", messages::finish(calls, limits)))];
    if let (Some(over @ 1..), Some(window)) = (over, times.window) {
        let window = duration(window.as_millis() as u64);
        facts.push(fact(
            "over",
            format!("{} do not fit into {window} and wait for the next run", counted(over, "call")),
        ));
    }
    facts
}
