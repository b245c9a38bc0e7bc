//! Lines that a batch will get from the one that feeds it: what they make, judged by one made-up line of their usual length.

use std::path::Path;

use super::{
    IntakeError, PlanOptions, plan,
    upstream::{Upstream, Upstreams, columns_of, write},
};
use crate::{
    definition::Definition,
    domain::{cost::MicroUsd, job::JobId, task::Unit},
    report::{feed::FedRecord, row::Column},
    store::FeedOrigin,
};

/// How many letters somebody speaks in a second.
const LETTERS_A_SECOND: u64 = 15;
/// A transcript has at most so many letters here: about a day.
const LONGEST: u64 = 1_500_000;
/// A text of which nothing is known has so many, so that its line can be read.
const USUAL: u64 = 100;
/// What stands for the words that nobody knows yet.
const WORDS: &str = "The customer asks where the order is, and the agent says that it is on the way. ";

/// Lines that will come, and what they are like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToCome {
    /// How many lines.
    pub lines: u64,
    /// The mean length of the audio, in ms.
    pub audio_ms: Option<u64>,
    /// The mean length of the text, in letters.
    pub letters: Option<u64>,
}

impl ToCome {
    /// Lines with so much audio in all; of their speech follows how long the transcripts are.
    #[must_use]
    pub fn of_audio(lines: u64, audio_ms: Option<u64>) -> Self {
        let audio_ms = audio_ms.filter(|ms| *ms > 0).map(|ms| ms / lines.max(1));
        Self { lines, audio_ms, letters: audio_ms.map(|ms| ms.saturating_mul(LETTERS_A_SECOND) / 1_000) }
    }
}

/// What lines that will come make: an estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upcoming {
    /// What they are like when they are done here.
    pub done: ToCome,
    /// Their calls.
    pub calls: u64,
    /// Their cost at list price, if it can be told.
    pub cost: Option<MicroUsd>,
}

/// What the lines that are to come make. `None` if that cannot be told before they are there.
///
/// # Errors
/// The ledger cannot be read, or the folder cannot be written.
pub async fn upcoming(
    definition: &Definition,
    to_come: ToCome,
    (dir, upstreams): (&Path, &Upstreams<'_>),
    asked: &PlanOptions,
) -> Result<Option<Upcoming>, IntakeError> {
    let Some(name) = definition.fed_by() else { return Ok(None) };
    let table = Upstream::find(definition, name, upstreams).await?.table;
    let none = write(dir, &table.columns, Vec::new())?;
    let columns = columns_of(definition.clone(), none.spooled().clone()).await?;
    let letters = to_come.letters.unwrap_or(USUAL).min(LONGEST);
    let text = || WORDS.chars().cycle().take(usize::try_from(letters).unwrap_or(0)).collect::<String>();
    let cell = |(at, name): (usize, &String)| match name.parse() {
        // The batch's own options count.
        _ if columns.options_at.contains(&at) => String::new(),
        Ok(Column::Transcript | Column::Text) => text(),
        Ok(Column::AudioSeconds) => (to_come.audio_ms.unwrap_or(0) / 1_000).to_string(),
        // What is in the manifest is short, as names and numbers are.
        _ => "sample".to_owned(),
    };
    let cells = table.columns.columns.iter().enumerate().map(cell).collect();
    let origin = FeedOrigin { key: "line".to_owned(), job: JobId(0), ordinal: 1, line: 1 };
    let copy = write(dir, &table.columns, vec![FedRecord { origin, cells: Ok(cells), contents: Vec::new() }])?;
    let asked = PlanOptions { measure: false, ..asked.clone() };
    let Ok(one) = plan(None, definition, Some(copy.spooled()), upstreams.environment, &asked).await else {
        return Ok(None);
    };
    if one.scan.lines == 0 {
        return Ok(None);
    }
    let times = |n: u64| n.saturating_mul(to_come.lines);
    let audio_ms = to_come.audio_ms.map(times);
    Ok(Some(match &one.purchases {
        Some(found) => {
            let made_ms = found.all_audio_ms.map(times);
            let letters = (definition.of.unit() == Unit::Characters).then(|| found.all_units.values().sum());
            let cost = found.cost.filter(|_| to_come.letters.is_some());
            Upcoming {
                done: ToCome { letters, ..ToCome::of_audio(times(one.scan.jobs), made_ms) },
                calls: times(found.parts),
                cost: cost
                    .map(|cost| MicroUsd(cost.0.saturating_mul(i64::try_from(to_come.lines).unwrap_or(i64::MAX)))),
            }
        }
        None => {
            let task = asked.tasks.get(definition.task.task());
            let cost = audio_ms.zip(task).and_then(|(ms, task)| task.cost_of_audio(definition, ms, &asked.rates));
            Upcoming {
                done: ToCome::of_audio(times(one.scan.jobs), audio_ms),
                calls: times(one.estimate.most_calls()),
                cost,
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_has_as_many_letters_as_are_said_in_its_time() {
        let ten = ToCome::of_audio(10, Some(600_000));
        assert_eq!(ten, ToCome { lines: 10, audio_ms: Some(60_000), letters: Some(900) });
        assert_eq!(ToCome::of_audio(10, None), ToCome { lines: 10, ..ToCome::default() });
        assert_eq!(ToCome::of_audio(10, Some(0)), ToCome { lines: 10, ..ToCome::default() });
    }
}
