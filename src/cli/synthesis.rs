//! Messages about texts before their synthesis.

use super::words::{counted, dollars, fact, grouped, printable};
use crate::{
    definition::Definition,
    domain::cost::Rates,
    runner::intake::Purchases,
    tasks::synthesize::{PartLine, TextsPreview, price_of},
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

/// Warnings about text that may not be meant to be read aloud, by line, and the parts of files that are left out.
pub(super) fn look(manifest: &str, look: &TextsPreview) -> Vec<String> {
    let mut message = Vec::new();
    if !look.notes.is_empty() {
        message.push("\nbefore they are paid for".to_owned());
        let line = |number, key: &str, what: &str| format!("  {manifest}:{number}: {key}: {what}");
        message.extend(look.notes.iter().map(|note| line(note.number, note.key.as_str(), &printable(&note.what))));
    }
    more(&mut message, look.more);
    if !look.left_out.is_empty() {
        message.push("\nnot spoken".to_owned());
        message.extend(look.left_out.iter().map(|(file, what)| format!("  {}: {what}", printable(file))));
    }
    more(&mut message, look.more_left_out);
    message
}

fn more(message: &mut Vec<String>, count: u64) {
    if count > 0 {
        message.push(format!("  … and {} more", grouped(count)));
    }
}

/// A part as it would be bought.
pub(super) fn part(part: &PartLine) -> String {
    let kept = if part.kept { "kept" } else { "new" };
    let head = format!("{} {} {} at {} Hz", part.key, part.voice_id, part.bought.format, part.bought.sample_rate);
    printable(&format!("{head}  {:>4}  {:>3}  {kept:<4}  {}", part.number, part.characters, part.text)).into_owned()
}
