//! The definitions of a chain that are checked together: what each gets from the one before, and when it ends.

use super::{check::Checked, views::ChainView};
use crate::{
    clock::Millis,
    config::{LimitOrigin, PoolLimits},
    definition::Definition,
    domain::{batch::BatchName, estimate::least_time},
    runner::intake::{Plan, PlannedBatch, ToCome},
};

/// The definitions that were checked.
#[derive(Debug, Default)]
pub struct Stages {
    planned: Vec<PlannedBatch>,
    of: Vec<Stage>,
}

/// What one of them still has to do.
#[derive(Debug)]
struct Stage {
    batch: BatchName,
    /// The lines that it will finish.
    finishes: ToCome,
    /// The least time until then, in ms.
    least_ms: u64,
}

impl Stages {
    /// What their batches will be.
    #[must_use]
    pub fn planned(&self) -> &[PlannedBatch] {
        &self.planned
    }

    /// The lines that a definition will get from one of them.
    #[must_use]
    pub fn to_come(&self, definition: &Definition) -> Option<ToCome> {
        self.feeding(definition).map(|by| by.finishes).filter(|to_come| to_come.lines > 0)
    }

    fn feeding(&self, definition: &Definition) -> Option<&Stage> {
        definition.fed_by().and_then(|by| self.of.iter().find(|stage| stage.batch == *by))
    }

    /// Adds a definition that was checked. Returns what it gets, and when it ends if it is started at `now`.
    pub fn add(
        &mut self,
        definition: &Definition,
        checked: &Checked,
        limits: &PoolLimits,
        now: Millis,
    ) -> Option<ChainView> {
        let plan = checked.plan.as_ref()?;
        let to_come = checked.to_come.filter(|to_come| to_come.lines > 0);
        let lines = to_come.map_or(0, |to_come| to_come.lines);
        let upcoming = checked.upcoming.unwrap_or_default();
        let calls = match checked.upcoming {
            Some(upcoming) => upcoming.calls,
            None => lines,
        };
        let here = plan.purchases.as_ref().map_or(plan.estimate.most_calls(), |found| found.parts);
        let rate = limits.limits.requests_per_minute;
        let own_ms = rate.map_or(0, |rate| least_time(here.saturating_add(calls), rate));
        let by = self.feeding(definition).map(|by| (by.batch.clone(), by.least_ms));
        let before_ms = by.as_ref().map_or(0, |by| by.1);
        let least_ms = own_ms.max(before_ms);
        let is_priced = limits.rate_by != LimitOrigin::Sandbox;
        let view = to_come.zip(definition.fed_by()).map(|(to_come, fed_by)| ChainView {
            fed_by: fed_by.to_string(),
            lines: to_come.lines,
            calls: checked.upcoming.map(|_| calls),
            cost_usd: upcoming.cost.filter(|_| is_priced),
            // When a batch of another command ends is not known here.
            end: by.as_ref().map(|_| (now, least_ms, least_ms - before_ms).into()),
            requests_per_minute: rate.filter(|_| own_ms > before_ms),
        });
        let finishes = match checked.upcoming {
            _ if lines == 0 => finishes(plan),
            Some(upcoming) => all_of(finishes(plan), upcoming.done),
            None => ToCome { lines: plan.estimate.lines.saturating_add(lines), ..ToCome::default() },
        };
        self.of.push(Stage { batch: plan.batch.clone(), finishes, least_ms });
        self.planned.push(PlannedBatch { name: plan.batch.clone(), spec: plan.spec.clone() });
        view
    }
}

/// The lines that a plan finishes of those that are there.
fn finishes(plan: &Plan) -> ToCome {
    let estimate = &plan.estimate;
    match &plan.purchases {
        Some(found) => {
            let made = ToCome::of_audio(found.jobs, found.all_audio_ms);
            ToCome { letters: made.letters.map(|_| found.all_units.values().sum::<u64>() / found.jobs.max(1)), ..made }
        }
        // Those whose length is not known are like the others.
        None => {
            let known = estimate.lines.saturating_sub(estimate.unknown);
            ToCome { lines: estimate.lines, ..ToCome::of_audio(known, Some(estimate.audio_ms)) }
        }
    }
}

/// Both together.
fn all_of(one: ToCome, other: ToCome) -> ToCome {
    let lines = one.lines.saturating_add(other.lines);
    let mean = |of: fn(&ToCome) -> Option<u64>| match (one.lines, other.lines, of(&one), of(&other)) {
        (0, _, _, mean) | (_, 0, mean, _) => mean,
        (n, m, Some(one), Some(other)) => {
            let sum = u128::from(n) * u128::from(one) + u128::from(m) * u128::from(other);
            u64::try_from(sum / u128::from(lines.max(1))).ok()
        }
        _ => None,
    };
    ToCome { lines, audio_ms: mean(|of| of.audio_ms), letters: mean(|of| of.letters) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_there_and_lines_that_come_are_averaged() {
        let of = |lines, audio_ms| ToCome::of_audio(lines, Some(lines * audio_ms));
        assert_eq!(
            all_of(of(1, 10_000), of(3, 30_000)),
            ToCome { lines: 4, audio_ms: Some(25_000), letters: Some(375) }
        );
        assert_eq!(all_of(ToCome::default(), of(3, 30_000)), of(3, 30_000));
        assert_eq!(all_of(of(3, 30_000), ToCome::default()), of(3, 30_000));
        let unknown = ToCome { lines: 1, ..ToCome::default() };
        assert_eq!(all_of(of(3, 30_000), unknown), ToCome { lines: 4, ..ToCome::default() });
    }
}
