//! `wavebatch retry`

use clap::Args;

use super::{
    Exit, Stop,
    context::{Context, Named},
    tell::stt,
    words::{counted, dollars, duration, shell},
};
use crate::{
    domain::{
        batch::BatchSpec,
        cost::Rates,
        job::{BatchId, JobState},
        options::SttModel,
    },
    store::{BatchRow, Chosen, Retried},
};

/// Queue failed, suspect and cancelled lines again, with their tries reset
///
/// Says first how many and what they cost. A kept answer is delivered, not bought, unless the line is suspect. A line
/// that succeeded is bought again only with --key.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wavebatch retry support-calls --state suspect && wavebatch work --batch support-calls"
)]
pub struct Retry {
    #[command(flatten)]
    named: Named,
    /// Only the line with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only lines in this state: failed, suspect or cancelled
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<JobState>,
    /// Say it, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Retry {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        self.check_states()?;
        let rates = context.config(self.named.world.sandbox)?.rates;
        let (store, batch) = context.batch(&self.named).await?;
        let chosen = self.chosen(batch.id);
        let plan = store.plan_retry(&chosen).await?;
        let screen = &context.screen;
        screen.say(&told(&batch, &plan, &rates));
        if plan.jobs > 0 && !self.dry_run {
            store.retry(chosen).await?;
            let sandbox = if self.named.world.sandbox { " --sandbox" } else { "" };
            screen.say(&format!("queued  -> wavebatch work --batch {}{sandbox}", shell(&batch.name)));
        }
        store.close().await;
        Ok(Exit::Success)
    }

    fn chosen(&self, batch: BatchId) -> Chosen {
        Chosen { batch, key: self.key.clone(), states: self.states.clone(), part: None }
    }

    fn check_states(&self) -> Result<(), Stop> {
        let retried = |state: &&JobState| match state {
            JobState::Failed | JobState::Suspect | JobState::Cancelled => true,
            JobState::Succeeded => self.key.is_some(),
            _ => false,
        };
        match self.states.iter().find(|state| !retried(state)) {
            None => Ok(()),
            Some(JobState::Succeeded) => {
                Err(Stop::usage("lines that succeeded are bought again only one by one")
                    .hint("name the line with --key"))
            }
            Some(other) => Err(Stop::usage(format!("lines that are {other} cannot be retried"))
                .hint("--state takes failed, suspect or cancelled")),
        }
    }
}

fn told(batch: &BatchRow, plan: &Retried, rates: &Rates) -> String {
    if plan.jobs == 0 {
        return format!("{}: nothing to retry", batch.name);
    }
    let model = serde_json::from_str::<BatchSpec>(&batch.spec).map_or(SttModel::Pulse, |spec| stt(&spec));
    let bought = plan.jobs - plan.deliveries;
    let mut parts = Vec::new();
    if plan.deliveries > 0 {
        parts.push(format!("{} delivered from kept answers, for nothing", counted(plan.deliveries, "line")));
    }
    if bought > 0 {
        let cost = dollars(rates.cost(model, plan.audio_ms).0);
        let known = format!("about {cost} for {} of audio", duration(plan.audio_ms));
        let unknown = counted(plan.unknown_length, "line");
        let price = match (plan.unknown_length, plan.audio_ms) {
            (0, _) => known,
            (_, 0) => format!("at {} a minute, of unknown length", dollars(rates.per_minute(model).0)),
            _ => format!("{known}, and {unknown} of unknown length"),
        };
        parts.push(format!("{} bought, {price} (list price of {})", counted(bought, "line"), rates.as_of));
    }
    format!("{}: {}", batch.name, parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::options::Task;

    fn batch() -> BatchRow {
        BatchRow {
            id: BatchId(1),
            name: "b".into(),
            definition: "b".into(),
            task: Task::Transcribe,
            world: "waves".into(),
            spec: "{}".into(),
            state: "open".into(),
            pause: None,
            spent: 0,
            reserved: 0,
            max_spend: None,
            submitted_at: 0,
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn the_cost_is_said_first() {
        let told = |jobs, deliveries, audio_ms, unknown_length| {
            told(&batch(), &Retried { jobs, deliveries, audio_ms, unknown_length, characters: 0 }, &Rates::default())
        };
        assert_eq!(told(0, 0, 0, 0), "b: nothing to retry");
        assert_eq!(told(2, 2, 0, 0), "b: 2 lines delivered from kept answers, for nothing");
        assert_eq!(
            told(3, 1, 600_000, 1),
            "b: 1 line delivered from kept answers, for nothing; 2 lines bought, about $0.05 for 10 min 0 s of audio, and 1 line of unknown length (list price of 2026-08-21)"
        );
        assert_eq!(
            told(1, 0, 0, 1),
            "b: 1 line bought, at $0.005 a minute, of unknown length (list price of 2026-08-21)"
        );
    }
}
