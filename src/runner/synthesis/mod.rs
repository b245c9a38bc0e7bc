//! One job of a synthesis batch: its text in parts, each bought or found in the audio cache, and joined when all are there.

mod buy;
mod deliver;
mod lost;
mod part;
mod survey;
mod turns;

use std::{
    collections::{HashSet, VecDeque},
    io,
};

use futures::{StreamExt, stream::FuturesUnordered};

use self::{
    part::{PartStage, Ready},
    survey::{Surveyed, SynthesisJob, index},
};
pub(super) use turns::Turns;

use super::{
    RunnerShared,
    batch::Batch,
    disk,
    worker::{ActivePart, Next},
};
use crate::{
    audio::wav,
    clock::Clock,
    domain::{
        call::ErrorKind,
        identity::Identity,
        job::{CallId, Journal},
        pool::Pool,
        retry::LOCAL_WAIT_MS,
        synthesis::Synthesis,
        synthesis_options::AudioFormat,
    },
    io_fault,
    store::{Claimed, Finish, StoreError, To},
};

/// Where the job goes; `None` when its lease is lost.
pub(super) async fn live(
    shared: &RunnerShared,
    batch: &Batch,
    synthesis: &Synthesis,
    job: &Claimed,
) -> Result<Option<To>, StoreError> {
    if job.dropped {
        return Ok(Some(To::Queued { due_at: shared.store.clock().now(), call: None, source_try: false }));
    }
    let synthesis_job = SynthesisJob::of(shared, synthesis, job).await?;
    if let Some(message) = too_long(&synthesis_job) {
        return Ok(Some(To::Finished(Box::new(synthesis_job.failed(ErrorKind::TooLarge, message)))));
    }
    let mut surveyed = match survey::survey(shared, job, &synthesis_job).await {
        Ok(Some(surveyed)) => surveyed,
        Ok(None) => return Ok(None),
        Err(StoreError::Spool { source, .. }) => return Ok(Some(wait_for_spool(shared, &source))),
        Err(error) => return Err(error),
    };
    let buyer = PartBuyer { shared, batch, job, synthesis_job: &synthesis_job };
    if !surveyed.lost.is_empty() {
        match lost::judge(&buyer.work(0, Journal::default()), &surveyed).await? {
            lost::LostDecision::Buy => {}
            lost::LostDecision::End(finish) => return Ok(Some(To::Finished(finish))),
            lost::LostDecision::LeaseLost => return Ok(None),
        }
        surveyed = match survey::survey(shared, job, &synthesis_job).await {
            Ok(Some(renewed)) => renewed,
            Ok(None) => return Ok(None),
            Err(StoreError::Spool { source, .. }) => return Ok(Some(wait_for_spool(shared, &source))),
            Err(error) => return Err(error),
        };
    }
    let ready = match buyer.buy_all(surveyed).await? {
        BuyOutcome::All(ready) => ready,
        BuyOutcome::Leave(to) => return Ok(Some(to)),
        BuyOutcome::Lost => return Ok(None),
    };
    match deliver::deliver(&buyer.work(0, Journal::default()), ready).await? {
        Next::Leave(to) => Ok(Some(to)),
        Next::Look | Next::Lost => Ok(None),
    }
}

/// What was bought cannot be looked at now. It is not bought again, and the job waits.
fn wait_for_spool(shared: &RunnerShared, error: &io::Error) -> To {
    let due_at = report_spool(shared, error);
    To::Queued { due_at, call: None, source_try: false }
}

/// Tells that the audio cache cannot be read. Returns when to look again.
fn report_spool(shared: &RunnerShared, error: &io::Error) -> i64 {
    let remedy = io_fault::remedy(error);
    shared.report_disk(format!("the spool cannot be read ({error}); {remedy}; {}", disk::again()));
    shared.store.clock().now() + i64::try_from(LOCAL_WAIT_MS).unwrap_or(30_000)
}

/// A WAV has no room for more than 4 GB: better told before anything is bought.
fn too_long(synthesis_job: &SynthesisJob<'_>) -> Option<String> {
    let ms = synthesis_job.synthesis.expected_ms(synthesis_job.characters, synthesis_job.options.speed);
    let samples = u128::from(ms) * u128::from(synthesis_job.bought.sample_rate.hz()) / 1_000;
    let fits = wav::fits(u64::try_from(samples).unwrap_or(u64::MAX));
    (synthesis_job.rendition.format.format == AudioFormat::Wav && !fits).then(|| {
        let hours = ms / 3_600_000;
        format!("about {hours} hours of speech do not fit into a WAV file (4 GB); split the text, ask for a lower rate, or for mp3")
    })
}

/// What became of buying.
enum BuyOutcome {
    /// Every part is in the audio cache: how each came there.
    All(Vec<Option<Ready>>),
    /// Not all can be had now, or at all.
    Leave(To),
    /// Somebody else has the job.
    Lost,
}

/// Why no further part is begun.
enum Halt {
    Failed(Box<Finish>),
    Leave,
    Lost,
}

/// A job in hand.
#[derive(Clone, Copy)]
struct PartBuyer<'a> {
    shared: &'a RunnerShared,
    batch: &'a Batch,
    job: &'a Claimed,
    synthesis_job: &'a SynthesisJob<'a>,
}

/// Where the parts are that are not in the audio cache.
#[derive(Default)]
struct PartQueue {
    todo: VecDeque<usize>,
    /// What is being bought now.
    in_hand: HashSet<Identity>,
    /// Say what somebody in hand says.
    repeats: Vec<usize>,
    /// Tried again then.
    later: Vec<(i64, usize)>,
    /// For the end of another job's call, at the latest then. They are not looked at again before all else is done: two
    /// jobs that say the same buy it together, each what the other has not begun.
    waiting: Vec<(CallId, i64, usize)>,
}

impl<'a> PartBuyer<'a> {
    fn work(self, part: i64, journal: Journal) -> ActivePart<'a, &'a SynthesisJob<'a>> {
        let Self { shared, batch, job, synthesis_job } = self;
        ActivePart { shared, batch, job, pool: Pool::Tts, part, journal, not_before: 0, asked: synthesis_job }
    }

    /// Has every part that is missing bought, several at once, and the first ones first.
    async fn buy_all(self, surveyed: Surveyed) -> Result<BuyOutcome, StoreError> {
        let Surveyed { mut ready, journals, fresh, .. } = surveyed;
        let cache_key = |at: usize| self.synthesis_job.cache_keys[at];
        let mut queue = PartQueue {
            todo: (0..ready.len()).filter(|at| ready[*at].is_none() && cache_key(*at).is_some()).collect(),
            ..PartQueue::default()
        };
        let clock = self.shared.store.clock();
        let mut running = FuturesUnordered::new();
        let mut halt = None;
        loop {
            // Twice as many as there are turns: whoever gives one back must find the next part of an early job waiting.
            while halt.is_none() && running.len() < self.batch.turns.size() * 2 {
                let Some(at) = queue.next(cache_key) else { break };
                let mut work = self.work(index(at), journals.of(index(at)));
                let since = fresh.since(at);
                running.push(async move { (at, part::get(&mut work, at, since).await) });
            }
            let due = queue.later.iter().map(|(due, _)| *due).min().filter(|_| halt.is_none());
            tokio::select! {
                biased;
                Some((at, stage)) = running.next() => {
                    queue.ended(at, cache_key);
                    match stage? {
                        PartStage::Ready(how) => ready[at] = Some(how),
                        PartStage::Later(due) if due <= clock.now() => halt = halt.or(Some(Halt::Leave)),
                        PartStage::Later(due) => queue.later.push((due, at)),
                        PartStage::Waits { call, until } => queue.waiting.push((call, until, at)),
                        PartStage::Failed(finish) => halt = Some(Halt::Failed(finish)),
                        PartStage::Lost => halt = Some(Halt::Lost),
                    }
                }
                () = sleep_until(clock, due), if due.is_some() && !running.is_empty() => {}
                else => break,
            }
            queue.wake(clock.now());
        }
        let queued = |due_at| To::Queued { due_at, call: Some(Pool::Tts), source_try: false };
        Ok(match (halt, queue.later.iter().min(), queue.waiting.first()) {
            (Some(Halt::Lost), ..) => BuyOutcome::Lost,
            (Some(Halt::Failed(finish)), ..) => BuyOutcome::Leave(To::Finished(finish)),
            (Some(Halt::Leave), ..) => BuyOutcome::Leave(queued(clock.now())),
            (None, Some((due, _)), _) => BuyOutcome::Leave(queued(*due)),
            (None, None, Some((call, until, _))) => BuyOutcome::Leave(To::Waiting { call: *call, until: *until }),
            (None, None, None) => BuyOutcome::All(ready),
        })
    }
}

impl PartQueue {
    /// The next part to begin with. Of a sentence that stands twice the second is not asked for while the first is.
    fn next(&mut self, cache_key: impl Fn(usize) -> Option<Identity>) -> Option<usize> {
        loop {
            let at = self.todo.pop_front()?;
            let Some(cache_key) = cache_key(at) else { continue };
            if self.in_hand.insert(cache_key) {
                return Some(at);
            }
            self.repeats.push(at);
        }
    }

    /// A part is in hand no more.
    fn ended(&mut self, at: usize, cache_key: impl Fn(usize) -> Option<Identity>) {
        if let Some(of) = cache_key(at) {
            self.in_hand.remove(&of);
            let freed = self.repeats.extract_if(.., |repeat| cache_key(*repeat) == Some(of));
            self.todo.extend(freed);
        }
    }

    /// What is due goes first: it has waited.
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
