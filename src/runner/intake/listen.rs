//! Listens to recordings of a manifest before anything is paid: all of them, or some. Those that are elsewhere are fetched, heard
//! and removed one by one.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    IntakeError, IntakeTask,
    heard::{Heard, NotHeard, Tally},
    sample::Hosts,
};
use crate::{
    audio::analyze::{HearError, HearSettings, Hearing, Limits, RawFormat, hear},
    definition::{Definition, Faults, Manifest, ManifestRow, Scan, Spooled},
    domain::{causes::in_words, cost::Rates, estimate::is_picked, s3::Listed},
    media::{
        fetch::{FetchError, FetchSettings, Fetcher},
        s3::Objects,
        source::{MAX_CONVERTED_BYTES, MAX_SOURCE_BYTES, Source, SourceFailure, check_file},
    },
};

/// Recordings that are fetched while others are decoded.
const FETCHED_AHEAD: usize = 4;

/// How many recordings are listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HowMany {
    /// All of them.
    All,
    /// So many, evenly over the manifest.
    AtMost(u64),
}

/// How recordings are listened to.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// How many.
    pub how_many: HowMany,
    /// The ffmpeg to use; `None`: the one on PATH.
    pub ffmpeg: Option<PathBuf>,
    /// Prices.
    pub rates: Rates,
    /// Where recordings are put that must be fetched.
    pub folder: PathBuf,
    /// Receives the progress.
    pub watch: ListenWatch,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenProgress {
    /// Recordings of the manifest.
    pub all: u64,
    /// Those that are listened to.
    pub recordings: u64,
    /// Those that are done.
    pub done: u64,
}

/// Receives the progress: once before the first recording, and then after each.
#[derive(Clone, Default)]
pub struct ListenWatch(Option<Arc<dyn Fn(ListenProgress) + Send + Sync>>);

impl ListenWatch {
    /// `watch` must be quick.
    pub fn new(watch: impl Fn(ListenProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    fn report(&self, progress: ListenProgress) {
        if let Some(watch) = &self.0 {
            watch(progress);
        }
    }
}

impl fmt::Debug for ListenWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListenWatch").field(&self.0.is_some()).finish()
    }
}

/// A recording to listen to.
#[derive(Debug)]
struct Picked {
    /// Its place in the manifest.
    place: u64,
    source: String,
    expected: Option<Listed>,
}

/// Listens to recordings of a manifest that was scanned. `None` if its lines are no recordings. Sends nothing to the API.
///
/// # Errors
/// Faults of the manifest; the folder cannot be written.
pub async fn listen(
    (definition, task): (&Definition, &dyn IntakeTask),
    copy: Option<&Spooled>,
    scan: &Arc<Scan>,
    options: &ListenOptions,
) -> Result<Option<Heard>, IntakeError> {
    let Some(offers) = task.heard_offers(definition) else { return Ok(None) };
    let all = scan.jobs.saturating_sub(scan.without_source);
    let recordings = match options.how_many {
        HowMany::All => all,
        HowMany::AtMost(most) => most.min(all),
    };
    let (picked, mut coming) = mpsc::channel(FETCHED_AHEAD);
    let reading = {
        let (definition, copy, scan) = (definition.clone(), copy.cloned(), Arc::clone(scan));
        tokio::task::spawn_blocking(move || pick(&definition, copy.as_ref(), &scan, (recordings, all), &picked))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ear = Ear::new(definition, options, offers.raw(), cores);
    let progress = |done| options.watch.report(ListenProgress { all, recordings, done });
    progress(0);
    let tally = Mutex::new(Tally::default());
    stream::poll_fn(move |context| coming.poll_recv(context))
        .map(Ok)
        .try_for_each_concurrent(cores + FETCHED_AHEAD, |picked: Picked| {
            let (ear, tally, offers, progress) = (&ear, &tally, &offers, &progress);
            async move {
                let heard = ear.listen_to(&picked).await?;
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                match heard {
                    Ok(heard) => {
                        let name = definition.queries.shown(&picked.source);
                        tally.heard((picked.place, &name), &heard, offers.offer(&heard));
                    }
                    Err(not_heard) => tally.not_heard(picked.place, &not_heard),
                }
                progress(tally.listened());
                Ok::<_, IntakeError>(())
            }
        })
        .await?;
    reading.await.map_err(|_| IntakeError::Interrupted)??;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A manifest that lists fewer recordings than it did when it was scanned was changed.
    let all = if recordings == all { tally.listened() } else { all };
    let cost = |audio_ms| task.cost_of_audio(definition, audio_ms, &options.rates).unwrap_or_default();
    Ok(Some(Heard { skips_silence: offers.skips_silence(), ..tally.finish(all, cost) }))
}

/// Reads the manifest, and passes on `wanted` of its `all` recordings.
fn pick(
    definition: &Definition,
    copy: Option<&Spooled>,
    scan: &Scan,
    (wanted, all): (u64, u64),
    to: &mpsc::Sender<Picked>,
) -> Result<(), Faults> {
    let manifest = Manifest::open(definition, copy)?;
    let mut place = 0;
    for row in manifest.lines(scan)? {
        let ManifestRow::Good(line) = row? else { continue };
        for job in line.jobs {
            let Some(source) = job.source else { continue };
            let picked = Picked { place, source, expected: job.expected };
            if is_picked(place, wanted, all) && to.blocking_send(picked).is_err() {
                return Ok(());
            }
            place += 1;
        }
    }
    Ok(())
}

/// Fetches and hears recordings of any kind.
struct Ear<'a> {
    definition: &'a Definition,
    folder: &'a Path,
    settings: HearSettings,
    objects: Objects,
    fetcher: Option<Fetcher>,
    hosts: Hosts,
    decoders: Semaphore,
    /// Cancelled when it is dropped: threads that decode end then.
    stop: CancellationToken,
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<'a> Ear<'a> {
    fn new(definition: &'a Definition, options: &'a ListenOptions, raw: Option<RawFormat>, cores: usize) -> Self {
        let fetcher = Fetcher::new(FetchSettings::default()).ok();
        Self {
            definition,
            folder: &options.folder,
            settings: HearSettings { raw, ffmpeg: options.ffmpeg.clone(), limits: Limits::default() },
            objects: Objects::new(&definition.source),
            fetcher: fetcher.map(|fetcher| fetcher.with_private_redirects(definition.private_redirects)),
            hosts: Hosts::default(),
            decoders: Semaphore::new(cores),
            stop: CancellationToken::new(),
        }
    }

    /// The outer error ends everything: this machine is to blame.
    async fn listen_to(&self, picked: &Picked) -> Result<Result<Hearing, NotHeard>, IntakeError> {
        let source = match Source::parse(&picked.source) {
            Ok(Source::File(path)) => return self.hear(&picked.source, &path).await,
            Ok(source) => source,
            Err(failure) => return Ok(Err(not_there(failure.message))),
        };
        if self.hosts.is_hopeless(&picked.source) {
            let why = format!("{}: its host does not answer", self.definition.queries.shown(&picked.source));
            return Ok(Err(not_there(why)));
        }
        let path = self.folder.join(picked.place.to_string());
        let fetched = self.fetch(&source, picked.expected.as_ref(), &path).await;
        self.hosts.note(&picked.source, !matches!(&fetched, Err(FetchError::Source(failure)) if failure.transient));
        let heard = match fetched {
            Ok(()) => self.hear(&picked.source, &path).await,
            Err(FetchError::Disk { path, source }) => {
                let dir = path.parent().map(Path::to_path_buf).unwrap_or(path);
                Err(IntakeError::CopyRecording { dir, source })
            }
            Err(other) => Ok(Err(not_there(other.to_string()))),
        };
        // What cannot be removed here goes with the folder.
        let _ = tokio::fs::remove_file(self.folder.join(picked.place.to_string())).await;
        heard
    }

    async fn fetch(&self, source: &Source, expected: Option<&Listed>, to: &Path) -> Result<(), FetchError> {
        match source {
            Source::File(_) => {}
            Source::S3(at) => {
                self.objects.fetch(at, expected, to, MAX_CONVERTED_BYTES).await?;
            }
            Source::Http(url) => match &self.fetcher {
                Some(fetcher) => {
                    fetcher.fetch(url, to, MAX_SOURCE_BYTES).await?;
                }
                None => return Err(FetchError::Credentials("this machine cannot fetch recordings".into())),
            },
        }
        Ok(())
    }

    /// Decodes when it is this one's turn.
    async fn hear(&self, source: &str, path: &Path) -> Result<Result<Hearing, NotHeard>, IntakeError> {
        let _turn = self.decoders.acquire().await.map_err(|_| IntakeError::Interrupted)?;
        let (path, settings, stop) = (path.to_owned(), self.settings.clone(), self.stop.clone());
        let decoding = tokio::task::spawn_blocking(move || {
            check_file(&path, MAX_CONVERTED_BYTES).map_err(Unheard::Source)?;
            hear(&path, &settings, &|| stop.is_cancelled()).map_err(Unheard::Decoder)
        });
        let heard = decoding.await.map_err(|_| IntakeError::Interrupted)?;
        Ok(heard.map_err(|unheard| match unheard {
            Unheard::Source(failure) => not_there(failure.message),
            Unheard::Decoder(error) => NotHeard {
                why: format!("{}: {}", self.definition.queries.shown(source), in_words(&error)),
                lacks_ffmpeg: matches!(error, HearError::NeedsFfmpeg { .. }),
            },
        }))
    }
}

enum Unheard {
    Source(SourceFailure),
    Decoder(HearError),
}

/// A recording that is not there to be heard. `why` names it.
const fn not_there(why: String) -> NotHeard {
    NotHeard { why, lacks_ffmpeg: false }
}
