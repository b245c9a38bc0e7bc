//! Messages about texts before their synthesis.

use clap::ValueEnum;

use super::words::{counted, dollars, fact, grouped, printable};
use crate::{
    definition::{Definition, prose::LeftOut},
    domain::cost::Rates,
    runner::intake::Purchases,
    tasks::synthesize::{PartLine, TextNote, TextsPreview, price_of},
};

/// The purchases and their cost.
pub(super) fn purchases(found: &Purchases, rates: &Rates) -> Vec<String> {
    let all: u64 = found.all_characters.values().sum();
    let new: u64 = found.characters.values().sum();
    let parts = |n: u64| counted(n, "part");
    let synthesis = if new == 0 {
        format!("{} in {}: nothing of it is new", counted(all, "character"), parts(found.all_parts))
    } else if found.parts == found.all_parts {
        format!("{} in {}, all of them new", counted(all, "character"), parts(found.all_parts))
    } else {
        let (all, new) = (counted(all, "character"), grouped(new));
        format!("{all} in {}; {new} in {} are new", parts(found.all_parts), parts(found.parts))
    };
    let mut facts = vec![fact("speech", synthesis)];
    if new > 0 {
        let prices: Vec<String> = found.characters.keys().map(|model| price_of(*model, rates)).collect();
        let about = match found.characters.keys().all(|model| rates.known_per_10k_chars(*model).is_none()) {
            true => String::new(),
            false => format!("about {} ", dollars(found.cost(rates).0)),
        };
        facts.push(fact("cost", format!("{about}({})", prices.join("; "))));
    }
    facts
}

/// The pronunciation dictionary.
pub(super) fn pronunciations(definition: &Definition) -> Option<String> {
    let asked = definition.synthesizing()?;
    let (words, file) = (asked.pronunciations.as_ref()?, asked.synthesis.dictionary.as_ref()?);
    Some(fact("words", format!("{} pronounced by {}", grouped(words.items.len() as u64), file.file)))
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

/// Warnings about text that may not be meant to be read aloud, by line, and the parts of files that are left out.
pub(super) fn look(manifest: &str, look: &TextsPreview, shown: WarningsShown) -> Vec<String> {
    let mut message = Vec::new();
    if look.scene_breaks > 0 {
        message.push(fact("pauses", format!("{}: a longer pause each", counted(look.scene_breaks, "scene break"))));
    }
    let line =
        |note: &TextNote| format!("  {manifest}:{}: {}: {}", note.number, note.key.as_str(), printable(&note.what));
    list(&mut message, "before they are paid for", look.notes.iter().map(line), shown);
    let file = |(file, what): &(String, LeftOut)| format!("  {}: {what}", printable(file));
    list(&mut message, "not spoken", look.left_out.iter().map(file), shown);
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
pub(super) fn part(part: &PartLine) -> String {
    let kept = if part.kept { "kept" } else { "new" };
    let head = format!("{} {} {} at {} Hz", part.key, part.voice_id, part.bought.format, part.bought.sample_rate);
    printable(&format!("{head}  {:>4}  {:>3}  {kept:<4}  {}", part.number, part.characters, part.text)).into_owned()
}
