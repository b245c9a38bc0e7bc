//! Messages about the content of a manifest, and what it would buy, before it is paid for.

use clap::ValueEnum;

use super::words::{counted, dollars, duration, fact, grouped, printable};
use crate::{
    domain::task::Unit,
    runner::intake::{ContentFindings, LineNote, PartPreview, Purchases},
};

/// What would be bought. `priced`: whether the costs of the groups are told.
pub(super) fn purchases(found: &Purchases, unit: Unit, priced: bool) -> Vec<String> {
    let all: u64 = found.all_units.values().sum();
    let new: u64 = found.units.values().sum();
    let mut facts = vec![match &found.in_words {
        Some((title, words)) => fact(title, words),
        None => fact("parts", in_parts(unit, (all, found.all_parts), (new, found.parts))),
    }];
    facts.extend(found.groups.iter().map(|group| {
        let all_and_new = ((group.all_units, group.all_parts), (group.units, group.parts));
        let cost = group.cost.filter(|_| priced && group.parts > 0);
        let cost = cost.map(|cost| format!(": about {}", dollars(cost.0))).unwrap_or_default();
        fact("", format!("{}: {}{cost}", group.name, in_parts(unit, all_and_new.0, all_and_new.1)))
    }));
    let audio = found.all_audio_ms.filter(|audio_ms| *audio_ms > 0);
    facts.extend(audio.map(|audio_ms| fact("audio", format!("about {} in all outputs", duration(audio_ms)))));
    facts
}

/// All units and their parts, and what of them is new.
fn in_parts(unit: Unit, (all, all_parts): (u64, u64), (new, new_parts): (u64, u64)) -> String {
    let (parts, units) = (|n: u64| counted(n, "part"), |n: u64| counted(n, unit.one()));
    if new == 0 {
        format!("{} in {}: nothing of it is new", units(all), parts(all_parts))
    } else if new_parts == all_parts {
        format!("{} in {}, all of them new", units(all), parts(all_parts))
    } else {
        format!("{} in {}; {} in {} are new", units(all), parts(all_parts), grouped(new), parts(new_parts))
    }
}

/// What the new parts cost, if there are some.
pub(super) fn cost(found: &Purchases) -> Option<String> {
    let prices = found.prices.join("; ");
    let words = match found.cost {
        Some(cost) => format!("about {} ({prices})", dollars(cost.0)),
        None => prices,
    };
    (found.parts > 0).then(|| fact("cost", words))
}

/// How many warnings the screen shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum WarningsShown {
    /// The first of each list.
    #[default]
    Few,
    /// All of them.
    All,
}

impl WarningsShown {
    /// How many entries of a list are shown.
    const fn limit(self) -> usize {
        match self {
            Self::Few => 20,
            Self::All => usize::MAX,
        }
    }
}

/// Warnings about text that may not be meant so, by line, and the parts of files that are left out.
pub(super) fn findings(manifest: &str, found: &ContentFindings, shown: WarningsShown) -> Vec<String> {
    let mut message: Vec<String> = found.facts.iter().map(|(title, what)| fact(title, what)).collect();
    let line =
        |note: &LineNote| format!("  {manifest}:{}: {}: {}", note.number, note.key.as_str(), printable(&note.what));
    list(&mut message, "before they are paid for", found.notes.iter().map(line), shown);
    let file = |(file, what): &(String, String)| format!("  {}: {what}", printable(file));
    list(&mut message, "not spoken", found.left_out.iter().map(file), shown);
    message
}

fn list(
    message: &mut Vec<String>,
    title: &str,
    mut entries: impl ExactSizeIterator<Item = String>,
    shown: WarningsShown,
) {
    if entries.len() == 0 {
        return;
    }
    message.push(format!("\n{title}"));
    message.extend(entries.by_ref().take(shown.limit()));
    if entries.len() > 0 {
        message.push(format!("  … and {} more; `--warnings all` shows them", grouped(entries.len() as u64)));
    }
}

/// A part as it would be bought.
pub(super) fn part(part: &PartPreview) -> String {
    let kept = match part {
        PartPreview { is_pause: true, .. } => "pause",
        PartPreview { kept: true, .. } => "kept",
        _ => "new",
    };
    let PartPreview { key, asked, number, units, text, .. } = part;
    printable(&format!("{key} {asked}  {number:>4}  {units:>3}  {kept:<5}  {text}")).into_owned()
}
