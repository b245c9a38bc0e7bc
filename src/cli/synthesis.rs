//! What the user is told of texts before they are spoken.

use super::words::{counted, dollars, fact, grouped, printable, unpriced};
use crate::{
    definition::Definition,
    domain::{cost::Rates, synthesis::Synthesis, synthesis_options::TtsModel},
    runner::intake::Purchases,
    tasks::synthesize::{PartLine, TextsPreview},
};

/// `800 lines × 4 voices × 2 formats = 6,400 outputs`
pub(super) fn product(lines: u64, jobs: u64, asked: &Synthesis) -> String {
    let (voices, formats) = (asked.voices.len() as u64, asked.formats.len() as u64);
    let outputs = counted(jobs, "output");
    if lines * voices * formats == jobs {
        let by = |n: u64, what: &str| if n > 1 { format!(" × {}", counted(n, what)) } else { String::new() };
        return format!("{}{}{} = {outputs}", counted(lines, "line"), by(voices, "voice"), by(formats, "format"));
    }
    format!("{}, some with voices of their own, in {} = {outputs}", counted(lines, "line"), counted(formats, "format"))
}

/// What would be bought, and what that costs.
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
        let prices: Vec<String> = found.characters.keys().map(|model| price(*model, rates)).collect();
        let about = match found.characters.keys().all(|model| rates.known_per_10k_chars(*model).is_none()) {
            true => String::new(),
            false => format!("about {} ", dollars(found.cost(rates).0)),
        };
        facts.push(fact("cost", format!("{about}({})", prices.join("; "))));
    }
    facts
}

/// The list price of a model.
pub(super) fn price(model: TtsModel, rates: &Rates) -> String {
    let Some(price) = rates.known_per_10k_chars(model) else { return unpriced(model.as_str()) };
    let price = price.to_string();
    let price = price.trim_end_matches('0').trim_end_matches('.');
    format!("${price} per 10,000 characters by {model}, list price of {}", rates.as_of)
}

/// How words are pronounced.
pub(super) fn pronunciations(definition: &Definition) -> Option<String> {
    let asked = definition.synthesizing()?;
    let (words, file) = (asked.pronunciations.as_ref()?, asked.synthesis.dictionary.as_ref()?);
    Some(fact("words", format!("{} pronounced by {}", grouped(words.items.len() as u64), file.file)))
}

/// What may not be meant to be spoken, line by line, and what is left out of files.
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
