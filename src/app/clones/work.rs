//! Clones voices. A request is in the journal before it leaves; where its answer is lost, the account's list tells what became of it
//! before it is sent again.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    CloneError, CloneEvent, CloneRequest, CloneRow, CloneSettings, Cloned,
    journal::CloneJournal,
    report::CloneReport,
    sample::{Sample, look_at},
};
use crate::{
    definition::{Fault, Faults},
    domain::{
        call::{CallFailure, ErrorKind, Outcome},
        hex::hex,
    },
    waves::{AccountClone, Client, CloneCall, CloneStatus},
};

/// The time-out of a request.
const TIMEOUT: Duration = Duration::from_secs(180);
/// How often a clone is asked for if nothing came of it.
const MOST_TRIES: u32 = 3;
/// How often a request that is refused because there were too many is sent again.
const MOST_LIMITED: u32 = 30;
/// A list that is younger need not be fetched again.
const FRESH: Duration = Duration::from_millis(300);
/// How long the list may be out of reach.
const LIST_OUT: Duration = Duration::from_mins(10);

/// Clones voices, and says what became of each. `drain`: nothing new is sent after it, and what was sent is awaited.
///
/// # Errors
/// Something is wrong with names or samples, and nothing was sent; or the journal or the report cannot be written.
pub async fn clone_voices(
    client: &Client,
    settings: &CloneSettings,
    drain: &CancellationToken,
    events: &(dyn Fn(CloneEvent) + Send + Sync),
) -> Result<Cloned, CloneError> {
    let journal = CloneJournal::open(&settings.journal).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => CloneError::Busy(settings.journal.clone()),
        _ => file(&settings.journal, source),
    })?;
    let report = settings.report.as_deref();
    let mut report = CloneReport::open(report).map_err(|source| file(report.unwrap_or(Path::new("")), source))?;
    report.arrange(settings.requests.iter().map(|request| request.name.clone()));
    let there = client.clones().await.map_err(CloneError::Account)?;
    let planned = plan(settings, (&journal, &report), &there).await;
    let work = CloneWork {
        client,
        settings,
        journal: Mutex::new(journal),
        report: Mutex::new(report),
        list: tokio::sync::Mutex::new(None),
        stop: drain.child_token(),
        failure: Mutex::default(),
        events,
    };
    let planned = match planned {
        Ok(planned) => planned,
        Err(faults) => {
            work.close()?;
            return Err(CloneError::Faults(faults));
        }
    };
    for (_, start) in &planned {
        if let Start::Send(sample) | Start::Settle(_, sample) = start {
            sample.warnings.iter().for_each(|warning| events(CloneEvent::Warning(warning.clone())));
        }
    }
    let jobs = planned.into_iter().map(|(request, start)| work.one(request, start));
    let ended: Vec<_> = stream::iter(jobs).buffered(settings.concurrency.max(1)).collect().await;
    let mut cloned = Cloned { stopped: locked(&work.failure).take(), ..Cloned::default() };
    for row in ended {
        cloned.rows.extend(row?);
    }
    cloned.interrupted = drain.is_cancelled() && cloned.rows.len() < settings.requests.len();
    work.close()?;
    Ok(cloned)
}

fn file(path: &Path, source: io::Error) -> CloneError {
    CloneError::File { path: path.to_owned(), source }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the work on a clone begins.
enum Start {
    /// It ended in an earlier run.
    Done(CloneRow),
    /// It has an id, and may not be ready.
    Await(CloneRow),
    /// Its request left at this moment, and nobody knows what became of it.
    Settle(i64, Sample),
    /// It is asked for.
    Send(Sample),
}

/// Where the work on each begins, or all that is wrong. Nothing is sent.
async fn plan<'s>(
    settings: &'s CloneSettings,
    (journal, report): (&CloneJournal, &CloneReport),
    there: &[AccountClone],
) -> Result<Vec<(&'s CloneRequest, Start)>, Faults> {
    let mut faults = Faults::default();
    let mut planned = Vec::with_capacity(settings.requests.len());
    for request in &settings.requests {
        let mut wrong = |field: &str, why: String| match (&settings.manifest, request.line) {
            (Some(manifest), Some(line)) => faults.push(Fault::of_line(manifest, line, Some(field), why)),
            _ => faults.push(Fault::of_flag(field, why)),
        };
        let row = report.row(&request.name).filter(|row| !row.voice_id.is_empty());
        if let Some(row) = row {
            if is_other_sample(request, row) {
                let why = format!("`{}` was made of another sample; give this one another name", request.name);
                wrong("name", why);
            }
            let is_final = row.status.parse::<CloneStatus>().is_ok_and(CloneStatus::is_final);
            planned.push((request, if is_final { Start::Done(row.clone()) } else { Start::Await(row.clone()) }));
            continue;
        }
        let sent_at = journal.sent_at(&request.name);
        if let Some(other) = there.iter().find(|clone| clone.name == request.name).filter(|_| sent_at.is_none()) {
            let status = other.status.map_or_else(String::new, |status| format!(", {status}"));
            wrong("name", format!("the account has a voice `{}` already: {}{status}", request.name, other.id));
            continue;
        }
        let (samples, hear) = (request.samples.clone(), settings.hear.clone());
        match tokio::task::spawn_blocking(move || look_at(&samples, &hear)).await {
            Ok(Ok(sample)) => {
                planned.push((request, sent_at.map_or(Start::Send(sample.clone()), |at| Start::Settle(at, sample))));
            }
            Ok(Err(all)) if request.line.is_none() => {
                all.into_iter().for_each(|(path, why)| faults.push(Fault::of_file(path, why)));
            }
            Ok(Err(all)) => all.into_iter().for_each(|(path, why)| wrong("sample", format!("`{path}`: {why}"))),
            Err(_) => wrong("sample", "looking at it was interrupted".to_owned()),
        }
    }
    if faults.is_empty() { Ok(planned) } else { Err(faults) }
}

/// Whether a voice was made of another file than the one that is there now.
fn is_other_sample(request: &CloneRequest, row: &CloneRow) -> bool {
    let [one] = request.samples.as_slice() else { return false };
    std::fs::read(one).is_ok_and(|bytes| hex(&Sha256::digest(&bytes)) != row.sample_sha256)
}

/// What came of asking for a clone.
enum Obtained {
    /// The account has it.
    Voice(Box<AccountClone>),
    /// There is none, and why.
    Nothing(String),
    /// Nothing more is sent.
    Stopped,
}

/// The answer to a look into the account's list.
enum Looked {
    Found(Box<AccountClone>),
    Absent,
    Stopped,
}

/// What all clones of a run share.
struct CloneWork<'a> {
    client: &'a Client,
    settings: &'a CloneSettings,
    journal: Mutex<CloneJournal>,
    report: Mutex<CloneReport>,
    /// The account's list, and when it was fetched.
    list: tokio::sync::Mutex<Option<(Instant, Arc<Vec<AccountClone>>)>>,
    /// Nothing new is sent after it.
    stop: CancellationToken,
    /// Why no more is asked for.
    failure: Mutex<Option<CallFailure>>,
    events: &'a (dyn Fn(CloneEvent) + Send + Sync),
}

impl CloneWork<'_> {
    /// Makes one voice, or goes on with it. `None`: it did not end.
    async fn one(&self, request: &CloneRequest, start: Start) -> Result<Option<CloneRow>, CloneError> {
        let row = match start {
            Start::Done(row) => {
                self.tell(CloneEvent::Ended(Box::new(row.clone())));
                return Ok(Some(row));
            }
            Start::Await(row) => {
                self.settled(&request.name)?;
                row
            }
            Start::Settle(_, ref sample) | Start::Send(ref sample) => {
                let mut row = self.row(request, sample);
                let sent_at = if let Start::Settle(at, _) = start { Some(at) } else { None };
                match self.obtain(request, sample, &mut row, sent_at).await? {
                    Obtained::Stopped => return Ok(None),
                    Obtained::Nothing(why) => {
                        row = CloneRow { status: "not_made".to_owned(), error: why, finished_at: now_text(), ..row };
                        return self.end(row).map(Some);
                    }
                    Obtained::Voice(voice) => {
                        row.voice_id = voice.id.clone();
                        row.status = voice.status.unwrap_or(CloneStatus::Pending).to_string();
                        // The id is in the report before the journal forgets the request. Without a report, the journal keeps it
                        // until the voice ends, so that the same command goes on.
                        self.keep(row.clone())?;
                        if self.settings.report.is_some() {
                            self.settled(&request.name)?;
                        }
                        row
                    }
                }
            }
        };
        self.tell(CloneEvent::Waits(row.name.clone()));
        self.ready(row).await
    }

    fn row(&self, request: &CloneRequest, sample: &Sample) -> CloneRow {
        let requests = locked(&self.report).row(&request.name).map_or(0, |row| row.requests);
        let paths: Vec<String> = request.samples.iter().map(|path| path.display().to_string()).collect();
        CloneRow {
            name: request.name.clone(),
            status: "not_made".to_owned(),
            sample: paths.join(" + "),
            sample_sha256: sample.sha256.clone(),
            speech_seconds: format!("{}.{:03}", sample.speech_ms / 1_000, sample.speech_ms % 1_000),
            requests,
            ..CloneRow::default()
        }
    }

    /// Asks for a voice, until there is one or nothing will come of it. `sent_at`: a request of an earlier process is not settled.
    async fn obtain(
        &self,
        request: &CloneRequest,
        sample: &Sample,
        row: &mut CloneRow,
        sent_at: Option<i64>,
    ) -> Result<Obtained, CloneError> {
        let call = CloneCall {
            name: request.name.clone(),
            fields: request.fields(),
            file_name: sample.file_name.clone(),
            content_type: sample.content_type,
            sample: sample.bytes.clone(),
        };
        let mut lost_until = sent_at.map(|at| self.settles_at(at));
        let (mut tries, mut limited, mut last) = (0, 0, String::new());
        loop {
            if let Some(until) = lost_until.take() {
                self.tell(CloneEvent::Lost(request.name.clone()));
                match self.look_for(&request.name, until).await {
                    Looked::Found(voice) => return Ok(Obtained::Voice(voice)),
                    Looked::Absent => self.settled(&request.name)?,
                    Looked::Stopped => return Ok(Obtained::Stopped),
                }
            }
            if self.stop.is_cancelled() {
                return Ok(Obtained::Stopped);
            }
            if tries >= MOST_TRIES || limited > MOST_LIMITED {
                return Ok(Obtained::Nothing(last));
            }
            tries += 1;
            row.requests += 1;
            self.sends(&request.name)?;
            self.tell(CloneEvent::Sent(request.name.clone()));
            let failure = match self.client.create_clone(&call, TIMEOUT).await {
                Outcome::Answered(voice) => return Ok(Obtained::Voice(Box::new(voice))),
                // What the API says of its own failure does not prove that nothing was made.
                Outcome::Refused(failure) if failure.kind == ErrorKind::ServerError => Err(failure),
                Outcome::Refused(failure) | Outcome::NotSent(failure) => Ok(failure),
                Outcome::Unknown(failure) | Outcome::Unusable(failure) | Outcome::TooLarge { failure, .. } => {
                    Err(failure)
                }
                Outcome::Stale | Outcome::Accepted { .. } => {
                    Err(CallFailure::new(ErrorKind::UnusableAnswer, "the API promised an answer by callback"))
                }
            };
            let failure = match failure {
                Err(lost) => {
                    last = lost.message;
                    lost_until = Some(Instant::now() + self.settings.grace);
                    continue;
                }
                Ok(failure) => failure,
            };
            self.settled(&request.name)?;
            last.clone_from(&failure.message);
            let wait = match failure.kind {
                ErrorKind::RateLimited => {
                    tries -= 1;
                    limited += 1;
                    failure.retry_after.unwrap_or_else(|| backoff(limited, Duration::from_millis(500)))
                }
                // It is out of reach for all.
                ErrorKind::Unreachable | ErrorKind::LocalOutage if tries >= MOST_TRIES => {
                    self.fail(failure);
                    return Ok(Obtained::Stopped);
                }
                ErrorKind::Unreachable | ErrorKind::LocalOutage | ErrorKind::Gateway => {
                    backoff(tries, Duration::from_secs(1))
                }
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::PaymentRequired
                | ErrorKind::QuotaExhausted => {
                    self.fail(failure);
                    return Ok(Obtained::Stopped);
                }
                _ => return Ok(Obtained::Nothing(last)),
            };
            self.pause(wait).await;
        }
    }

    /// Until when a request of an earlier process may still make a voice: its process is dead, and the API may go on for a while.
    fn settles_at(&self, sent_at: i64) -> Instant {
        let age = Duration::from_millis(u64::try_from(now_ms() - sent_at).unwrap_or_default());
        let left = (TIMEOUT + self.settings.grace).saturating_sub(age);
        Instant::now() + left.min(self.settings.grace)
    }

    /// Looks for a voice by its name, until then at least once.
    async fn look_for(&self, name: &str, until: Instant) -> Looked {
        let mut out_since = None;
        for nth in 0.. {
            let at = Instant::now();
            let fresh = at.checked_sub(FRESH).unwrap_or(at);
            // The last look is one after that moment.
            let since = if at < until { fresh } else { fresh.max(until) };
            match self.list_since(since).await {
                Ok(list) => {
                    out_since = None;
                    if let Some(found) = list.iter().find(|clone| clone.name == name) {
                        return Looked::Found(Box::new(found.clone()));
                    }
                    if at >= until {
                        return Looked::Absent;
                    }
                }
                Err(failure) => {
                    if self.is_out(&failure, *out_since.get_or_insert(at)) {
                        self.fail(failure);
                        return Looked::Stopped;
                    }
                }
            }
            if !self.pause(poll(nth).min(until.saturating_duration_since(Instant::now()).max(FRESH))).await {
                return Looked::Stopped;
            }
        }
        Looked::Stopped
    }

    /// Waits until a voice is ready. `None`: somebody asked to stop.
    async fn ready(&self, mut row: CloneRow) -> Result<Option<CloneRow>, CloneError> {
        let (begin, mut out_since) = (Instant::now(), None);
        for nth in 0.. {
            let at = Instant::now();
            match self.list_since(at.checked_sub(FRESH).unwrap_or(at)).await {
                Ok(list) => {
                    out_since = None;
                    let found = list.iter().find(|clone| clone.id == row.voice_id);
                    if let Some(status) = found.and_then(|clone| clone.status) {
                        row.status = status.to_string();
                        row.models = found.map(models).unwrap_or_default();
                        if status.is_final() {
                            row.finished_at = now_text();
                            let failed = "the vendor could not make it of this sample; its name is taken all the same";
                            row.error = if status == CloneStatus::Failed { failed.to_owned() } else { String::new() };
                            return self.end(row).map(Some);
                        }
                    }
                }
                Err(failure) if self.is_out(&failure, *out_since.get_or_insert(at)) => {
                    self.fail(failure);
                    self.keep(row)?;
                    return Ok(None);
                }
                Err(_) => {}
            }
            if begin.elapsed() >= self.settings.wait {
                row.error = "it is not ready yet: `wavebatch voices clones` tells when it is".to_owned();
                return self.end(row).map(Some);
            }
            if !self.pause(poll(nth)).await {
                self.keep(row)?;
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The account's list, as it was at that moment or later.
    async fn list_since(&self, since: Instant) -> Result<Arc<Vec<AccountClone>>, CallFailure> {
        let mut kept = self.list.lock().await;
        if let Some((_, list)) = kept.as_ref().filter(|(at, _)| *at >= since) {
            return Ok(Arc::clone(list));
        }
        let at = Instant::now();
        let list = Arc::new(self.client.clones().await?);
        *kept = Some((at, Arc::clone(&list)));
        Ok(list)
    }

    /// Whether a failure of the list ends the work.
    fn is_out(&self, failure: &CallFailure, since: Instant) -> bool {
        matches!(failure.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden) || since.elapsed() > LIST_OUT
    }

    /// Waits. `false`: somebody asked to stop.
    async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Nothing more is asked for.
    fn fail(&self, failure: CallFailure) {
        locked(&self.failure).get_or_insert(failure);
        self.stop.cancel();
    }

    fn tell(&self, event: CloneEvent) {
        (self.events)(event);
    }

    fn sends(&self, name: &str) -> Result<(), CloneError> {
        let sent = locked(&self.journal).sends(name, now_ms());
        sent.map_err(|source| file(&self.settings.journal, source))
    }

    fn settled(&self, name: &str) -> Result<(), CloneError> {
        let settled = locked(&self.journal).settled(name);
        settled.map_err(|source| file(&self.settings.journal, source))
    }

    fn keep(&self, row: CloneRow) -> Result<(), CloneError> {
        let path = self.settings.report.as_deref().unwrap_or(Path::new(""));
        locked(&self.report).set(row).map_err(|source| file(path, source))
    }

    /// A voice ended.
    fn end(&self, row: CloneRow) -> Result<CloneRow, CloneError> {
        self.keep(row.clone())?;
        self.settled(&row.name)?;
        self.tell(CloneEvent::Ended(Box::new(row.clone())));
        Ok(row)
    }

    fn close(self) -> Result<(), CloneError> {
        let journal = self.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
        journal.close().map_err(|source| file(&self.settings.journal, source))
    }
}

/// The wait before the next look into the list.
fn poll(nth: u32) -> Duration {
    match nth {
        0..20 => Duration::from_millis(500),
        20..60 => Duration::from_secs(2),
        _ => Duration::from_secs(5),
    }
}

/// A wait that doubles, at most 30 s.
fn backoff(nth: u32, first: Duration) -> Duration {
    (first * 2_u32.pow(nth.saturating_sub(1).min(10))).min(Duration::from_secs(30))
}

fn models(clone: &AccountClone) -> String {
    clone.models.iter().map(ToString::to_string).collect::<Vec<_>>().join(";")
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_have_an_end() {
        assert_eq!([1, 2, 3].map(|nth| backoff(nth, Duration::from_secs(1)).as_secs()), [1, 2, 4]);
        assert_eq!(backoff(40, Duration::from_secs(1)), Duration::from_secs(30));
        assert!(poll(0) < poll(30) && poll(30) < poll(100));
    }
}
