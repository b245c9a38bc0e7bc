//! Retries one part of a line.

use std::collections::HashMap;

use super::super::{
    CliError,
    parts::{Moment, clock, first_words, heard_at, numbered, who},
    words::{counted, dollars},
};
use crate::{
    app::{JobParts, PartState, PartStatus},
    domain::{
        cost::{MicroUsd, Rates},
        identity::Identity,
        job::JobState,
    },
    report::BatchRequest,
    store::{JobDetail, Store},
};

/// The part that the user means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    /// The part with this number, counted from 1.
    Numbered(u32),
    /// The part at this moment of the audio.
    AtMoment(Moment),
}

/// A part that can be synthesized again, with its cost.
pub(super) struct PartRetry {
    /// The index of the part, from 0.
    pub(super) part: i64,
    jobs: u64,
    first_words: String,
    bought: Bill,
    /// Other parts that the spool lacks: joining needs them too.
    missing: Bill,
}

/// Clips to buy, each once, even if several jobs need it.
#[derive(Default)]
struct Bill(HashMap<Identity, (u64, MicroUsd)>);

impl PartRetry {
    /// Finds the part in all jobs of a line. `None`: there is no job.
    pub(super) async fn look(
        store: &Store,
        (asked, rates): (&dyn BatchRequest, &Rates),
        which: Which,
        jobs: &[JobDetail],
    ) -> Result<Option<Self>, CliError> {
        let mut found = Vec::new();
        for job in jobs {
            let Some(parts) = JobParts::look(store, asked, rates, job).await? else { continue };
            let nth = match which {
                Which::Numbered(number) => numbered(&parts, number),
                Which::AtMoment(moment) => heard_at(&parts, moment),
            };
            let nth = nth.map_err(|fault| CliError::usage(format!("{}, {}: {fault}", job.row.key, who(&parts))))?;
            found.push((nth, parts));
        }
        let Some((nth, first)) = found.first() else { return Ok(None) };
        if let Some((_, other)) = found.iter().find(|(_, other)| other.language != first.language) {
            let key = jobs.first().map(|job| job.row.key.as_str()).unwrap_or_default();
            let message = format!(
                "{key} has several texts, and so the part is another one for {} and for {}",
                who(first),
                who(other)
            );
            let language = first.language.map_or_else(|| "en".to_owned(), |language| language.to_string());
            return Err(CliError::usage(message).hint(format!("name one language: --where language={language}")));
        }
        if let (Some((other, parts)), Which::AtMoment(Moment(ms))) = (found.iter().find(|(n, _)| n != nth), which) {
            let (one, two) = ((nth + 1, who(first)), (other + 1, who(parts)));
            let message =
                format!("at {} part {} of {} is heard, and part {} of {}", clock(ms), one.0, one.1, two.0, two.1);
            return Err(
                CliError::usage(message).hint("name it with --part; it is spoken again by all voices of the line")
            );
        }
        let (mut bought, mut missing) = (Bill::default(), Bill::default());
        for (nth, job) in &found {
            for (at, part) in job.parts.iter().enumerate() {
                match part.state {
                    _ if at == *nth => bought.add(entry(part)),
                    PartState::Missing | PartState::Forced => missing.add(entry(part)),
                    _ => {}
                }
            }
        }
        missing.0.retain(|cache_key, _| !bought.0.contains_key(cache_key));
        Ok(Some(Self {
            part: i64::try_from(*nth).unwrap_or(i64::MAX),
            jobs: found.len() as u64,
            first_words: first_words(&first.parts[*nth]),
            bought,
            missing,
        }))
    }

    /// The purchases and their cost.
    pub(super) fn message(&self, batch: &str, key: &str, rates: &Rates) -> String {
        let (jobs, price) = (counted(self.jobs, "job"), self.bought.message());
        let part = self.part + 1;
        let other = match self.missing.0.len() {
            0 => String::new(),
            n => format!("; and {} to be paid for too, {}", counted(n as u64, "other part"), self.missing.message()),
        };
        format!(
            "{batch}: part {part} of {key} spoken again for {jobs}, {price}{other} (list price of {}): {}",
            rates.as_of, self.first_words
        )
    }
}

/// Characters to buy when all of these jobs are retried. For failed or cancelled jobs only missing parts are bought,
/// for suspect jobs the parts that make them suspect.
pub(super) async fn characters(
    store: &Store,
    asked: &dyn BatchRequest,
    rates: &Rates,
    jobs: &[JobDetail],
) -> Result<u64, CliError> {
    let mut bill = Bill::default();
    for job in jobs {
        let Some(parts) = JobParts::look(store, asked, rates, job).await? else { continue };
        let again = |nth: usize| match job.row.state {
            JobState::Succeeded => true,
            JobState::Suspect => {
                job.doubtful.is_empty() || job.doubtful.contains(&i64::try_from(nth).unwrap_or(i64::MAX))
            }
            _ => false,
        };
        for (nth, part) in parts.parts.iter().enumerate() {
            match part.state {
                PartState::Silent => {}
                PartState::Missing | PartState::Forced => bill.add(entry(part)),
                _ if again(nth) => bill.add(entry(part)),
                _ => {}
            }
        }
    }
    Ok(bill.chars())
}

type ClipBill = (Identity, u64, MicroUsd);

fn entry(part: &PartStatus) -> ClipBill {
    (part.cache_key, part.part.chars() as u64, part.cost)
}

impl Bill {
    fn add(&mut self, (cache_key, chars, cost): ClipBill) {
        self.0.insert(cache_key, (chars, cost));
    }

    fn chars(&self) -> u64 {
        self.0.values().map(|(chars, _)| chars).sum()
    }

    fn message(&self) -> String {
        let cost: MicroUsd = self.0.values().map(|(_, cost)| *cost).sum();
        format!("{}, about {}", counted(self.chars(), "character"), dollars(cost.0))
    }
}
