//! Watches a run: a bar on a terminal, else a line every ten seconds; each event goes to the log.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};

use super::{
    progress::{Meter, PoolNow},
    screen::Screen,
    words::shorten,
};
use crate::{
    app::{BatchNames, Watched},
    domain::job::JobState,
    runner::Event,
    store::{StoreError, SynthesisCounts},
};

const TICK: Duration = Duration::from_secs(1);
/// Ticks between two lines if there is no terminal, and between two reads of the ledger's counts.
const SLOWLY: u64 = 10;
/// Up to this many jobs are counted at every tick.
const FEW: u64 = 10_000;
/// The maximum number of events taken at once, so that a burst of them causes one redraw.
const AT_ONCE: usize = 1_024;

/// Follows work until all senders of events are gone.
pub(super) async fn follow(screen: &Screen, watched: Watched, mut events: UnboundedReceiver<Event>) {
    let clock = watched.store.clock().clone();
    let mut meter = Meter::new(clock.now());
    let mut view = View::new(screen);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut names = BatchNames::new(watched.store.clone());
    let (mut ticks, mut taken) = (0_u64, Vec::with_capacity(AT_ONCE));
    loop {
        tokio::select! {
            n = events.recv_many(&mut taken, AT_ONCE) => {
                if n == 0 {
                    break;
                }
                let now = clock.now();
                for event in taken.drain(..) {
                    let name = names.of(event.batch()).await.unwrap_or_default();
                    log(&event, &name, screen);
                    meter.event(&event, now);
                }
                view.count(&meter);
            }
            _ = tick.tick() => {
                if let Err(e) = look(&watched, &mut meter, ticks).await {
                    // The runner meets the same error and reports it; here only the numbers are old.
                    tracing::debug!(error = %e, "no fresh numbers from the ledger");
                }
                view.show(&meter, clock.now(), ticks);
                ticks += 1;
            }
        }
    }
    view.close();
}

async fn look(watched: &Watched, meter: &mut Meter, ticks: u64) -> Result<(), StoreError> {
    let Watched { store, account, environment, limits, batches, tasks } = watched;
    for (pool, limits) in limits {
        let view = store.pool(account, *pool, limits).await?;
        if view.traffic.in_window > 0 || view.traffic.in_flight > 0 || meter.pools.contains_key(pool) {
            let effective = view.state.effective(limits, store.clock().now());
            let queued = match meter.pools.get(pool) {
                Some(known) if !ticks.is_multiple_of(SLOWLY) => known.queued,
                _ => store.queued_elsewhere(*environment, *pool, batches).await?,
            };
            meter.pools.insert(*pool, PoolNow { effective, in_window: view.traffic.in_window, queued });
        }
    }
    if ticks.is_multiple_of(SLOWLY) || meter.total <= FEW {
        let (mut counts, mut spent, mut is_synthesis) = (Vec::with_capacity(batches.len()), 0_i64, true);
        for batch in batches {
            counts.push(store.counts(*batch).await?);
            let row = store.batch_by_id(*batch).await?;
            spent = spent.saturating_add(row.spent);
            is_synthesis &= tasks.has_parts(row.task);
        }
        meter.rebase(&counts, spent);
        if is_synthesis {
            count_speech(watched, meter).await?;
        }
    }
    Ok(())
}

/// Reads the progress in characters: within one book, no other number changes.
async fn count_speech(watched: &Watched, meter: &mut Meter) -> Result<(), StoreError> {
    let mut all = SynthesisCounts::default();
    for batch in &watched.batches {
        all += watched.store.synthesis_counts(*batch).await?;
    }
    meter.update_synthesis(all, watched.store.clock().now());
    Ok(())
}

/// The output of the numbers.
struct View {
    screen: Screen,
    bar: Option<ProgressBar>,
}

impl View {
    fn new(screen: &Screen) -> Self {
        let bar = screen.draws().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {prefix}\n{msg}")
                .expect("a constant template that is right")
                .progress_chars("█▉▊▋▌▍▎▏ ");
            screen.bars().add(ProgressBar::new(0).with_style(style))
        });
        Self { screen: screen.clone(), bar }
    }

    fn count(&self, meter: &Meter) {
        if let Some(bar) = &self.bar
            && meter.total > 0
        {
            bar.set_position(meter.reached().0);
        }
    }

    fn show(&mut self, meter: &Meter, now: i64, ticks: u64) {
        match &self.bar {
            Some(bar) => {
                let (at, end) = meter.reached();
                bar.set_length(end);
                bar.set_position(at);
                bar.set_prefix(meter.lines());
                // A full last line would wrap when the terminal echoes ^C, and the bar would be cleared one line too
                // low.
                let columns = self.screen.width().saturating_sub(4);
                let lines = [Some(meter.pace(now)), meter.held(), meter.others()];
                let lines: Vec<_> = lines.into_iter().flatten().map(|line| shorten(&line, columns)).collect();
                bar.set_message(lines.join("\n"));
            }
            None if ticks > 0 && ticks.is_multiple_of(SLOWLY) && self.screen.is_log() => meter.log(now),
            None if ticks > 0 && ticks.is_multiple_of(SLOWLY) => {
                let words = [Some(meter.lines()), Some(meter.pace(now)), meter.held(), meter.others()];
                self.screen.message(&words.into_iter().flatten().collect::<Vec<_>>().join(" · "));
            }
            None => {}
        }
    }

    fn close(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
            self.screen.bars().remove(&bar);
        }
    }
}

/// Writes an event about a batch of this name to the log. A log for machines is read for what went wrong; on a screen the
/// summary tells it.
pub(super) fn log(event: &Event, name: &str, screen: &Screen) {
    match event {
        Event::Finished { key, state: state @ (JobState::Failed | JobState::Suspect), error, .. } => {
            let (kind, words) = error.clone().unwrap_or_default();
            match screen.is_log() {
                true => {
                    tracing::warn!(batch.name = name, job.key = key, job.state = %state, kind, error = words, "line finished badly")
                }
                false => {
                    tracing::info!(batch.name = name, job.key = key, job.state = %state, kind, error = words, "line finished badly")
                }
            }
        }
        Event::Finished { key, state, .. } => {
            tracing::debug!(batch.name = name, job.key = key, job.state = %state, "line finished");
        }
        Event::Requeued { key, .. } => tracing::debug!(batch.name = name, job.key = key, "line put back"),
        Event::Held { pool, by: Some((bound, until)) } => {
            tracing::debug!(pool = %pool, bound = ?bound, until, "calls are held back");
        }
        Event::CallEnded { pool, failure: Some(failure), .. } => {
            tracing::debug!(pool = %pool, kind = %failure.kind, error = failure.message, "call failed");
        }
        Event::Warning(words) => screen.warn(words),
        // The summary shows it at the end, where users read it.
        Event::Paused { .. } => {}
        Event::DeliveryFailed { then, .. } => {
            tracing::debug!(batch.name = name, then = %then, "delivery failed");
        }
        Event::Claimed { .. }
        | Event::CallStarted { .. }
        | Event::CallEnded { .. }
        | Event::CallbackOverdue { .. }
        | Event::Held { .. } => {}
    }
}
