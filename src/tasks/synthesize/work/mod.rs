//! One job of a synthesis batch: its text in parts, each bought or found on the shelf, and joined when all are there.

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
    part::{Ready, Stage},
    survey::{Speech, Surveyed, index},
};
pub(crate) use turns::Turns;

use crate::{
    audio::wav,
    clock::Clock,
    domain::{
        call::ErrorKind,
        identity::Identity,
        job::{CallId, Journal},
        pool::Pool,
        retry::LOCAL_WAIT_MS,
        speech::AudioFormat,
        synthesis::Synthesis,
    },
    io_fault,
    runner::{
        Shared,
        batch::Batch,
        disk,
        worker::{Next, Work},
    },
    store::{Claimed, Finish, StoreError, To},
};

/// Where the job goes; `None` when its lease is lost.
pub(crate) async fn live(
    shared: &Shared,
    batch: &Batch,
    synthesis: &Synthesis,
    job: &Claimed,
) -> Result<Option<To>, StoreError> {
    if job.dropped {
        return Ok(Some(To::Queued { due_at: shared.store.clock().now(), call: None, source_try: false }));
    }
    let speech = Speech::of(shared, synthesis, job).await?;
    if let Some(told) = too_long(&speech) {
        return Ok(Some(To::Finished(Box::new(speech.failed(ErrorKind::TooLarge, told)))));
    }
    let mut surveyed = match survey::survey(shared, job, &speech).await {
        Ok(Some(surveyed)) => surveyed,
        Ok(None) => return Ok(None),
        Err(StoreError::Spool { source, .. }) => return Ok(Some(wait_for_spool(shared, &source))),
        Err(error) => return Err(error),
    };
    let hand = Hand { shared, batch, job, speech: &speech };
    if !surveyed.lost.is_empty() {
        match lost::judge(&hand.work(0, Journal::default()), &surveyed).await? {
            lost::Verdict::Buy => {}
            lost::Verdict::End(finish) => return Ok(Some(To::Finished(finish))),
            lost::Verdict::LeaseLost => return Ok(None),
        }
        surveyed = match survey::survey(shared, job, &speech).await {
            Ok(Some(anew)) => anew,
            Ok(None) => return Ok(None),
            Err(StoreError::Spool { source, .. }) => return Ok(Some(wait_for_spool(shared, &source))),
            Err(error) => return Err(error),
        };
    }
    let ready = match hand.buy_all(surveyed).await? {
        Bought::All(ready) => ready,
        Bought::Leave(to) => return Ok(Some(to)),
        Bought::Lost => return Ok(None),
    };
    match deliver::deliver(&hand.work(0, Journal::default()), ready).await? {
        Next::Leave(to) => Ok(Some(to)),
        Next::Look | Next::Lost => Ok(None),
    }
}

/// What was bought cannot be looked at now. It is not bought again, and the job waits.
fn wait_for_spool(shared: &Shared, error: &io::Error) -> To {
    let due_at = say_spool(shared, error);
    To::Queued { due_at, call: None, source_try: false }
}

/// Tells that the shelf cannot be read. Returns when to look again.
fn say_spool(shared: &Shared, error: &io::Error) -> i64 {
    let remedy = io_fault::remedy(error);
    shared.say_of_disk(format!("the spool cannot be read ({error}); {remedy}; {}", disk::again()));
    shared.store.clock().now() + i64::try_from(LOCAL_WAIT_MS).unwrap_or(30_000)
}

/// A WAV has no room for more than 4 GB: better told before anything is bought.
fn too_long(speech: &Speech<'_>) -> Option<String> {
    let ms = speech.synthesis.expected_ms(speech.characters, speech.options.speed);
    let samples = u128::from(ms) * u128::from(speech.bought.sample_rate.hz()) / 1_000;
    let fits = wav::fits(u64::try_from(samples).unwrap_or(u64::MAX));
    (speech.rendition.format.format == AudioFormat::Wav && !fits).then(|| {
        let hours = ms / 3_600_000;
        format!("about {hours} hours of speech do not fit into a WAV file (4 GB); split the text, ask for a lower rate, or for mp3")
    })
}

/// What became of buying.
enum Bought {
    /// Every part is on the shelf: how each came there.
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
struct Hand<'a> {
    shared: &'a Shared,
    batch: &'a Batch,
    job: &'a Claimed,
    speech: &'a Speech<'a>,
}

/// Where the parts are that are not on the shelf.
#[derive(Default)]
struct Floor {
    todo: VecDeque<usize>,
    /// What is being bought now.
    in_hand: HashSet<Identity>,
    /// Say what somebody in hand says.
    twins: Vec<usize>,
    /// Tried again then.
    later: Vec<(i64, usize)>,
    /// For the end of another job's call, at the latest then. They are not looked at again before all else is done: two
    /// jobs that say the same buy it together, each what the other has not begun.
    waiting: Vec<(CallId, i64, usize)>,
}

impl<'a> Hand<'a> {
    fn work(self, part: i64, journal: Journal) -> Work<'a, &'a Speech<'a>> {
        let Self { shared, batch, job, speech } = self;
        Work { shared, batch, job, pool: Pool::Tts, part, journal, not_before: 0, asked: speech }
    }

    /// Has every part that is missing bought, several at once, and the first ones first.
    async fn buy_all(self, surveyed: Surveyed) -> Result<Bought, StoreError> {
        let Surveyed { mut ready, journals, fresh, .. } = surveyed;
        let sound = |at: usize| self.speech.sounds[at];
        let mut floor = Floor {
            todo: (0..ready.len()).filter(|at| ready[*at].is_none() && sound(*at).is_some()).collect(),
            ..Floor::default()
        };
        let clock = self.shared.store.clock();
        let mut running = FuturesUnordered::new();
        let mut halt = None;
        loop {
            // Twice as many as there are turns: whoever gives one back must find the next part of an early job waiting.
            while halt.is_none() && running.len() < self.batch.turns.size() * 2 {
                let Some(at) = floor.next(sound) else { break };
                let mut work = self.work(index(at), journals.of(index(at)));
                let since = fresh.since(at);
                running.push(async move { (at, part::get(&mut work, at, since).await) });
            }
            let due = floor.later.iter().map(|(due, _)| *due).min().filter(|_| halt.is_none());
            tokio::select! {
                biased;
                Some((at, stage)) = running.next() => {
                    floor.ended(at, sound);
                    match stage? {
                        Stage::Ready(how) => ready[at] = Some(how),
                        Stage::Later(due) if due <= clock.now() => halt = halt.or(Some(Halt::Leave)),
                        Stage::Later(due) => floor.later.push((due, at)),
                        Stage::Waits { call, until } => floor.waiting.push((call, until, at)),
                        Stage::Failed(finish) => halt = Some(Halt::Failed(finish)),
                        Stage::Lost => halt = Some(Halt::Lost),
                    }
                }
                () = sleep_until(clock, due), if due.is_some() && !running.is_empty() => {}
                else => break,
            }
            floor.wake(clock.now());
        }
        let queued = |due_at| To::Queued { due_at, call: Some(Pool::Tts), source_try: false };
        Ok(match (halt, floor.later.iter().min(), floor.waiting.first()) {
            (Some(Halt::Lost), ..) => Bought::Lost,
            (Some(Halt::Failed(finish)), ..) => Bought::Leave(To::Finished(finish)),
            (Some(Halt::Leave), ..) => Bought::Leave(queued(clock.now())),
            (None, Some((due, _)), _) => Bought::Leave(queued(*due)),
            (None, None, Some((call, until, _))) => Bought::Leave(To::Waiting { call: *call, until: *until }),
            (None, None, None) => Bought::All(ready),
        })
    }
}

impl Floor {
    /// The next part to begin with. Of a sentence that stands twice the second is not asked for while the first is.
    fn next(&mut self, sound: impl Fn(usize) -> Option<Identity>) -> Option<usize> {
        loop {
            let at = self.todo.pop_front()?;
            let Some(sound) = sound(at) else { continue };
            if self.in_hand.insert(sound) {
                return Some(at);
            }
            self.twins.push(at);
        }
    }

    /// A part is in hand no more.
    fn ended(&mut self, at: usize, sound: impl Fn(usize) -> Option<Identity>) {
        if let Some(of) = sound(at) {
            self.in_hand.remove(&of);
            let freed = self.twins.extract_if(.., |twin| sound(*twin) == Some(of));
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
