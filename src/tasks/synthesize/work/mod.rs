//! One job of a synthesis batch: its text in parts, each bought or found in the audio cache, and joined when all are ready.

mod call;
mod deliver;
mod lost;
mod part;
mod survey;
mod turns;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::Semaphore;

use self::{
    part::{NotReady, PartJob},
    survey::{Ready, Script, Surveyed, index},
    turns::Turns,
};
use super::Synthesize;
use crate::{
    audio::wav,
    clock::Clock,
    domain::{
        batch::BatchSpec, call::ErrorKind, identity::Identity, job::CallId, pool::Pool, synthesis::Synthesis,
        synthesis_options::AudioFormat, task::SpecError,
    },
    io_fault,
    runner::{BatchTask, DEFAULT_CONCURRENCY, JobContext, Maker, Means, Next, PartContext, RunnerConfig, RunnerTask},
    store::{StoreError, To, is_of_objects},
};

/// Clips that are written concurrently.
const WRITERS: usize = 2;

impl Maker for Synthesize {
    fn join(&self, _: &Means) -> Arc<dyn RunnerTask> {
        Arc::new(*self)
    }
}

impl RunnerTask for Synthesize {
    fn bind(&self, spec: &BatchSpec, config: &RunnerConfig) -> Result<Arc<dyn BatchTask>, SpecError> {
        Ok(Arc::new(SynthesisBatch {
            asked: spec.task.read()?,
            turns: Arc::new(Turns::new(turns(config, spec))),
            writing: Semaphore::new(WRITERS),
        }))
    }
}

/// The number of turns that keeps every permitted call on the wire: for each call in flight, one turn that waits for a permit.
fn turns(config: &RunnerConfig, spec: &BatchSpec) -> usize {
    let asked = spec.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY).max(1);
    let most = config.limits(Pool::Tts).concurrency.map_or(asked, |n| n.min(asked).max(1));
    usize::try_from(most).unwrap_or(usize::MAX).saturating_mul(2)
}

/// What the jobs of one batch share.
#[derive(Debug)]
struct SynthesisBatch {
    asked: Synthesis,
    /// The turns of parts that are being bought.
    turns: Arc<Turns>,
    /// Permits to write clips to the disk.
    writing: Semaphore,
}

impl BatchTask for SynthesisBatch {
    fn work<'a>(&'a self, on: JobContext<'a>) -> BoxFuture<'a, Result<Option<To>, StoreError>> {
        Box::pin(work(self, on))
    }
}

/// The job's next state; `None` if its lease is lost.
async fn work(batch: &SynthesisBatch, on: JobContext<'_>) -> Result<Option<To>, StoreError> {
    if on.job().dropped {
        return Ok(Some(To::Queued { due_at: on.now(), call: None, source_try: false }));
    }
    let script = Script::of(on, &batch.asked).await?;
    if let Some(message) = too_long(&script) {
        return Ok(Some(To::Finished(Box::new(script.failed(ErrorKind::TooLarge, message)))));
    }
    let job = SynthesisJob { on, batch, script: &script };
    match job.make().await? {
        Next::Leave(to) => Ok(Some(to)),
        Next::Look | Next::Lost => Ok(None),
    }
}

/// Handles a cache that cannot be used now, if that is the error. Bought clips are not bought again; the job waits. Returns
/// when to look again.
fn wait_for_cache(on: JobContext<'_>, error: &StoreError) -> Option<i64> {
    Some(on.wait_for_machine(&cache_fault("read", error)?))
}

/// Why the cache cannot be used now, and what to do; `None` for another error.
fn cache_fault(action: &str, error: &StoreError) -> Option<String> {
    match error {
        // The store's own words name the object.
        StoreError::Spool { place, source } if is_of_objects(place) => Some(source.to_string()),
        StoreError::Spool { place, source } => {
            Some(format!("{place} cannot be {action} ({source}); {}", io_fault::remedy(source)))
        }
        StoreError::NoSharedSpool { .. } => Some(format!("{error}; {}", error.hint().unwrap_or_default())),
        _ => None,
    }
}

/// A WAV has no room for more than 4 GB: this is reported before anything is bought.
fn too_long(script: &Script<'_>) -> Option<String> {
    let ms = script.synthesis.expected_ms(script.characters, script.options.speed);
    let samples = u128::from(ms) * u128::from(script.bought.sample_rate.hz()) / 1_000;
    let fits = wav::fits(u64::try_from(samples).unwrap_or(u64::MAX));
    (script.rendition.format.format == AudioFormat::Wav && !fits).then(|| {
        let hours = ms / 3_600_000;
        format!("about {hours} hours of speech do not fit into a WAV file (4 GB); split the text, ask for a lower rate, or for mp3")
    })
}

/// A text to be synthesized.
#[derive(Clone, Copy)]
struct SynthesisJob<'a> {
    on: JobContext<'a>,
    batch: &'a SynthesisBatch,
    script: &'a Script<'a>,
}

impl<'a> SynthesisJob<'a> {
    async fn make(self) -> Result<Next, StoreError> {
        let surveyed = match self.survey().await? {
            Ok(surveyed) => surveyed,
            Err(next) => return Ok(next),
        };
        let surveyed = if surveyed.lost.is_empty() {
            surveyed
        } else {
            match lost::judge(self, &surveyed).await? {
                lost::LostDecision::Buy => {}
                lost::LostDecision::End(finish) => return Ok(Next::finish(*finish)),
                lost::LostDecision::LeaseLost => return Ok(Next::Lost),
            }
            match self.survey().await? {
                Ok(again) => again,
                Err(next) => return Ok(next),
            }
        };
        match self.buy_all(surveyed).await? {
            Ok(ready) => deliver::deliver(self, ready).await,
            Err(next) => Ok(next),
        }
    }

    async fn survey(self) -> Result<Result<Surveyed, Next>, StoreError> {
        match survey::survey(self.on, self.script).await {
            Ok(Some(surveyed)) => Ok(Ok(surveyed)),
            Ok(None) => Ok(Err(Next::Lost)),
            Err(error) => match wait_for_cache(self.on, &error) {
                Some(due) => Ok(Err(Next::again_at(due))),
                None => Err(error),
            },
        }
    }

    /// Buys every missing part, several at once, the first ones first. Returns how each came into the audio cache; or what
    /// follows if not all parts can be bought now, or at all.
    async fn buy_all(self, surveyed: Surveyed) -> Result<Result<Vec<Option<Ready>>, Next>, StoreError> {
        let Surveyed { mut ready, journals, fresh, .. } = surveyed;
        let keys = &self.script.cache_keys;
        let mut missing = MissingParts::new(keys, &ready);
        let clock = self.on.store().clock();
        let mut running = FuturesUnordered::new();
        let mut halt = None;
        loop {
            // Twice as many as there are turns: a turn that is given back must find the next part of an early job waiting.
            while halt.is_none() && running.len() < self.batch.turns.size() * 2 {
                let Some((at, cache_key)) = missing.next() else { break };
                let part = PartContext::new(self.on, Pool::Tts, index(at), journals.of(index(at)));
                let mut part = PartJob { of: self, part, at, cache_key, since: fresh.since(at) };
                running.push(async move { (at, part.get().await) });
            }
            let due = missing.next_due().filter(|_| halt.is_none());
            tokio::select! {
                biased;
                Some((at, got)) = running.next() => {
                    missing.ended(at);
                    match got {
                        Ok(how) => ready[at] = Some(how),
                        Err(NotReady::Later(due)) if due <= clock.now() => halt = halt.or(Some(self.queued(clock.now()))),
                        Err(NotReady::Later(due)) => missing.later.push((due, at)),
                        Err(NotReady::Waits { call, until }) => missing.waiting.push((call, until)),
                        Err(NotReady::Failed(finish)) => halt = Some(Next::finish(*finish)),
                        Err(NotReady::Lost) => halt = Some(Next::Lost),
                        Err(NotReady::Ledger(error)) => return Err(error),
                    }
                }
                () = sleep_until(clock, due), if due.is_some() && !running.is_empty() => {}
                else => break,
            }
            missing.wake(clock.now());
        }
        let waits =
            || missing.waiting.first().map(|(call, until)| Next::Leave(To::Waiting { call: *call, until: *until }));
        Ok(match halt.or_else(|| missing.next_due().map(|due| self.queued(due))).or_else(waits) {
            Some(next) => Err(next),
            None => Ok(ready),
        })
    }

    fn queued(self, due_at: i64) -> Next {
        Next::Leave(To::Queued { due_at, call: Some(Pool::Tts), source_try: false })
    }
}

/// The parts that are not in the audio cache, by what they wait for.
struct MissingParts<'a> {
    /// The keys of all parts' clips.
    cache_keys: &'a [Option<Identity>],
    todo: VecDeque<usize>,
    /// The clips that are being bought now.
    in_hand: HashSet<Identity>,
    /// Parts with the same key as one in hand.
    same_key: Vec<usize>,
    /// Parts to be tried again at a time.
    later: Vec<(i64, usize)>,
    /// Calls of other jobs that parts wait for, and the latest time for each. These parts are not looked at again before all
    /// else is done: two jobs with the same text buy it together, each the parts that the other has not begun.
    waiting: Vec<(CallId, i64)>,
}

impl<'a> MissingParts<'a> {
    fn new(cache_keys: &'a [Option<Identity>], ready: &[Option<Ready>]) -> Self {
        let todo = (0..ready.len()).filter(|at| ready[*at].is_none() && cache_keys[*at].is_some()).collect();
        Self { cache_keys, todo, in_hand: HashSet::new(), same_key: Vec::new(), later: Vec::new(), waiting: Vec::new() }
    }

    /// The next part to begin with. If a sentence occurs twice, the second is not bought while the first is in hand.
    fn next(&mut self) -> Option<(usize, Identity)> {
        loop {
            let at = self.todo.pop_front()?;
            let Some(cache_key) = self.cache_keys[at] else { continue };
            if self.in_hand.insert(cache_key) {
                return Some((at, cache_key));
            }
            self.same_key.push(at);
        }
    }

    /// Releases a part that is no longer in hand.
    fn ended(&mut self, at: usize) {
        if let Some(cache_key) = self.cache_keys[at] {
            self.in_hand.remove(&cache_key);
            let freed = self.same_key.extract_if(.., |other| self.cache_keys[*other] == Some(cache_key));
            self.todo.extend(freed);
        }
    }

    /// When the first of them is tried again.
    fn next_due(&self) -> Option<i64> {
        self.later.iter().map(|(due, _)| *due).min()
    }

    /// Parts that are due go first, since they have waited.
    fn wake(&mut self, now: i64) {
        for (_, at) in self.later.extract_if(.., |(due, _)| *due <= now) {
            self.todo.push_front(at);
        }
    }
}

async fn sleep_until(clock: &Clock, due: Option<i64>) {
    if let Some(due) = due {
        clock.sleep_until(due).await;
    }
}
