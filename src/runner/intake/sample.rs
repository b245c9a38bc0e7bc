//! Looks at some of a manifest's recordings before anything is paid: whether they are there, how long they are, and how many
//! channels they have. Only their first bytes are read, and where a container needs them their last ones.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};

use super::{IntakeError, task::Sent};
use crate::{
    definition::{Definition, Faults, Manifest, ManifestRow, Scan, Spooled},
    domain::{
        call::ErrorKind,
        estimate::{CallBound, Guess, Sampled, extrapolate, guess},
        length::Length,
        s3::S3Address,
    },
    media::{
        fetch::{FetchError, FetchSettings, Fetcher},
        probe::{Kind, Probe, probe, probe_ends, tail_len},
        s3::Objects,
        source::{MAX_SOURCE_BYTES, Source},
    },
    pace::Pace,
};

/// Recordings of which the headers are read: so many whose size is known, and so many others.
const MOST: usize = 100;
/// Headers that are read concurrently.
const AT_ONCE: usize = 16;
/// Bytes read of a recording's start.
const HEAD: u64 = 64 << 10;
/// The longest time that all of it may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Looks that a host answers none of, before it is asked no more.
const HOPELESS: u64 = 3;
/// The longest silence of a server.
const SILENCE: Duration = Duration::from_secs(5);

/// What was seen of the recordings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Lines with a source.
    pub lines: u64,
    /// The length of `measured` recordings, if there is an estimate.
    pub guess: Option<Guess>,
    /// The lines that the estimate is for.
    pub measured: u64,
    /// Recordings that were looked at.
    pub looked: u64,
    /// Recordings that are not there.
    pub missing: Share,
    /// Recordings that cannot be read, or are known to be no audio.
    pub unusable: Share,
    /// Recordings with two channels or more, of those whose headers say how many they have.
    pub stereo: Share,
    /// How many calls they make at most, by the channels that their headers say.
    pub calls: CallBound,
}

impl Seen {
    /// Whether all recordings were looked at.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.looked >= self.lines
    }

    /// Whether lines would fail, as far as was looked.
    #[must_use]
    pub const fn has_unusable(&self) -> bool {
        self.missing.found > 0 || self.unusable.found > 0
    }
}

/// How many recordings are of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that were found.
    pub found: u64,
    /// Of so many.
    pub of: u64,
    /// The number of all lines that this stands for.
    pub about: u64,
    /// One of them, without what is secret in its address, and what is wrong with it.
    pub example: Option<String>,
}

/// The sources of a manifest, and those that are looked at.
#[derive(Debug, Default)]
struct Sources {
    sized: Stratum,
    /// Sources whose size nobody said: objects and addresses in a table.
    unsized_: Stratum,
    /// Local files that are not there.
    missing: u64,
    missing_example: Option<String>,
}

#[derive(Debug, Default)]
struct Stratum {
    lines: u64,
    bytes: u64,
    picked: Vec<String>,
}

impl Stratum {
    fn add(&mut self, source: String, bytes: u64, every: u64) {
        if self.lines.is_multiple_of(every) && self.picked.len() < MOST {
            self.picked.push(source);
        }
        self.lines += 1;
        self.bytes += bytes;
    }
}

/// What one source turned out to be.
#[derive(Debug)]
enum Look {
    There(Probe),
    Missing,
    Unusable(String),
    /// It answered, and says nothing of itself: it comes packed.
    Packed,
    /// It could not be looked at now: an outage, or no time.
    Unknown,
}

impl Look {
    /// Whether anything is known of it.
    const fn is_told(&self) -> bool {
        !matches!(self, Self::Packed | Self::Unknown)
    }
}

/// Looks at some recordings of a manifest. `most_sent`: the most that buys a recording with so many channels, of such a length in ms.
pub(super) async fn measure(
    definition: &Definition,
    copy: Option<&Spooled>,
    scan: &Arc<Scan>,
    most_sent: impl Fn(u16, u64) -> Sent,
) -> Result<Seen, IntakeError> {
    let sources = {
        let (definition, copy, scan) = (definition.clone(), copy.cloned(), Arc::clone(scan));
        let read = tokio::task::spawn_blocking(move || sources(&definition, copy.as_ref(), &scan));
        read.await.map_err(|_| IntakeError::Interrupted)??
    };
    let eyes = Eyes::new(definition);
    let Sources { sized, unsized_, missing, missing_example } = sources;
    let seen = Mutex::new((Vec::new(), Vec::new()));
    let picked = sized.picked.into_iter().map(|source| (source, true));
    let picked = picked.chain(unsized_.picked.into_iter().map(|source| (source, false)));
    let looking = stream::iter(picked).for_each_concurrent(AT_ONCE, |(source, is_sized)| {
        let (eyes, seen) = (&eyes, &seen);
        async move {
            let look = eyes.look_at(&source).await;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if is_sized { seen.0.push((source, look)) } else { seen.1.push((source, look)) }
        }
    });
    // What was not read in time only makes the estimate less certain.
    let _ = tokio::time::timeout(TIMEOUT, looking).await;
    let (of_sized, of_unsized) = seen.into_inner().unwrap_or_else(PoisonError::into_inner);

    let unsized_lines = there(&of_unsized, unsized_.lines);
    let guesses = [
        (guess(&lengths(&of_sized), Some(sized.bytes), sized.lines), sized.lines),
        (guess(&lengths(&of_unsized), None, unsized_lines), unsized_lines),
    ];
    let measured = guesses.iter().filter(|(guess, _)| guess.is_some()).map(|(_, lines)| lines).sum();
    let lines = sized.lines + unsized_.lines + missing;
    let all: Vec<_> = of_sized.into_iter().chain(of_unsized).collect();
    let shown = |source: &str| definition.queries.shown(source);
    let mut share = share_of(&all, sized.lines + unsized_.lines, |look| matches!(look, Look::Missing), &shown);
    share.found += missing;
    share.of += missing;
    share.about += missing;
    share.example = missing_example.or(share.example);
    let mut unusable = share_of(&all, sized.lines + unsized_.lines, |look| matches!(look, Look::Unusable(_)), &shown);
    unusable.of += missing;
    Ok(Seen {
        lines,
        guess: guesses.into_iter().filter_map(|(guess, _)| guess).reduce(Guess::and),
        measured,
        looked: all.iter().filter(|(_, look)| look.is_told()).count() as u64 + missing,
        unusable,
        stereo: stereo(&all, lines.saturating_sub(share.about)),
        calls: calls(&all, most_sent),
        missing: share,
    })
}

/// The lengths that were read.
fn lengths(seen: &[(String, Look)]) -> Vec<Sampled> {
    let of = |look: &Look| match look {
        Look::There(Probe { bytes, length, .. }) => {
            length.ms().map(|audio_ms| Sampled { bytes: *bytes, audio_ms, is_exact: length.is_exact() })
        }
        _ => None,
    };
    seen.iter().filter_map(|(_, look)| of(look)).collect()
}

/// The number of these lines whose recordings are there.
fn there(seen: &[(String, Look)], lines: u64) -> u64 {
    let looked = seen.iter().filter(|(_, look)| look.is_told()).count() as u64;
    let missing = seen.iter().filter(|(_, look)| matches!(look, Look::Missing)).count() as u64;
    lines - extrapolate(missing, looked, lines).min(lines)
}

fn share_of(
    seen: &[(String, Look)],
    lines: u64,
    is_one: impl Fn(&Look) -> bool,
    shown: &impl Fn(&str) -> String,
) -> Share {
    let of = seen.iter().filter(|(_, look)| look.is_told()).count() as u64;
    let mut found = seen.iter().filter(|(_, look)| is_one(look));
    let example = found.clone().next().map(|(source, look)| match look {
        Look::Unusable(why) => format!("{}: {why}", shown(source)),
        _ => shown(source),
    });
    let found = found.by_ref().count() as u64;
    Share { found, of, about: extrapolate(found, of, lines), example }
}

fn stereo(seen: &[(String, Look)], lines: u64) -> Share {
    let channels = |look: &Look| if let Look::There(probe) = look { probe.channels } else { None };
    let known: Vec<u16> = seen.iter().filter_map(|(_, look)| channels(look)).collect();
    let (found, of) = (known.iter().filter(|channels| **channels > 1).count() as u64, known.len() as u64);
    Share { found, of, about: extrapolate(found, of, lines), example: None }
}

fn calls(seen: &[(String, Look)], most_sent: impl Fn(u16, u64) -> Sent) -> CallBound {
    let mut bound = CallBound::default();
    for (_, look) in seen {
        if let Look::There(Probe { channels: Some(channels), length, .. }) = look {
            let Sent { calls, audio_ms } = most_sent(*channels, length.ms().unwrap_or(0));
            bound.add(length.ms(), (calls, audio_ms));
        }
    }
    bound
}

/// Adds up the sources, and picks some evenly over the manifest: neighbours are often alike.
fn sources(definition: &Definition, copy: Option<&Spooled>, scan: &Scan) -> Result<Sources, Faults> {
    let manifest = Manifest::open(definition, copy)?;
    let every = scan.lines.div_ceil(MOST as u64).max(1);
    let mut sources = Sources::default();
    for row in manifest.lines(scan)? {
        let ManifestRow::Good(line) = row? else { continue };
        for job in line.jobs {
            let Some(source) = job.source else { continue };
            if let Some(listed) = job.expected {
                sources.sized.add(source, listed.bytes, every);
            } else if source.starts_with('/') {
                match fs::metadata(&source) {
                    Ok(meta) => sources.sized.add(source, meta.len(), every),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        sources.missing += 1;
                        sources.missing_example.get_or_insert(source);
                    }
                    // What cannot be opened is told when it is looked at.
                    Err(_) => sources.unsized_.add(source, 0, every),
                }
            } else {
                sources.unsized_.add(source, 0, every);
            }
        }
    }
    Ok(sources)
}

/// Reads the starts of sources of any kind.
struct Eyes {
    objects: Objects,
    fetcher: Option<Fetcher>,
    hosts: Hosts,
}

/// The hosts and buckets of sources, and whether they answer.
#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashMap<String, Reached>>);

impl Hosts {
    /// Whether the host of a source has not been reached so far however often it was tried.
    pub(super) fn is_hopeless(&self, source: &str) -> bool {
        self.map().get(host_of(source)).is_some_and(|reached| reached.is_hopeless())
    }

    /// Takes in whether the host of a source was reached.
    pub(super) fn note(&self, source: &str, is_reached: bool) {
        let mut hosts = self.map();
        let host = hosts.entry(host_of(source).to_owned()).or_default();
        if is_reached { host.there += 1 } else { host.away += 1 }
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<String, Reached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often a host, or a bucket, could be looked at and how often not.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    there: u64,
    away: u64,
}

impl Reached {
    /// Whether asking again would only wait for the same silence once more.
    const fn is_hopeless(self) -> bool {
        self.there == 0 && self.away >= HOPELESS
    }
}

impl Eyes {
    fn new(definition: &Definition) -> Self {
        let settings = FetchSettings {
            idle_timeout: SILENCE,
            connect_timeout: SILENCE,
            whole_timeout: TIMEOUT,
            pace: Pace { tries: 1, ..Pace::default() },
            ..FetchSettings::default()
        };
        let fetcher = Fetcher::new(settings.clone()).ok();
        Self {
            objects: Objects::new(&definition.source).patient(settings),
            fetcher: fetcher.map(|fetcher| fetcher.with_private_redirects(definition.private_redirects)),
            hosts: Hosts::default(),
        }
    }

    /// Looks at a source, unless its host has not been reached so far however often it was tried.
    async fn look_at(&self, source: &str) -> Look {
        if self.hosts.is_hopeless(source) {
            return Look::Unknown;
        }
        let look = self.try_to_look_at(source).await;
        self.hosts.note(source, !matches!(look, Look::Unknown));
        look
    }

    async fn try_to_look_at(&self, source: &str) -> Look {
        match Source::parse(source) {
            Ok(Source::File(path)) => {
                let read = tokio::task::spawn_blocking(move || of_file(Path::new(&path))).await;
                read.unwrap_or(Look::Unknown)
            }
            Ok(Source::S3(at)) => judged(self.look_at_object(&at).await),
            Ok(Source::Http(url)) => match &self.fetcher {
                Some(fetcher) => {
                    judged(fetcher.fetch_start(&url, HEAD).await.map(|(head, bytes)| of_ends(&head, &[], bytes)))
                }
                None => Look::Unknown,
            },
            Err(failure) => Look::Unusable(failure.message),
        }
    }

    async fn look_at_object(&self, at: &S3Address) -> Result<Look, FetchError> {
        let (head, bytes) = self.objects.fetch_start(at, HEAD).await?;
        let tail = match bytes.map_or(0, |bytes| tail_len(&head, bytes)) {
            0 => Vec::new(),
            wanted => self.objects.fetch_end(at, wanted).await?,
        };
        Ok(of_ends(&head, &tail, bytes))
    }
}

/// The host or bucket of an address, with its scheme. Local files have none.
fn host_of(source: &str) -> &str {
    let Some((scheme, rest)) = source.split_once("://") else { return "" };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    &source[..scheme.len() + "://".len() + host.len()]
}

fn of_file(path: &Path) -> Look {
    match probe(path) {
        Ok(probe) => of_probe(probe),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Look::Missing,
        Err(e) => Look::Unusable(e.to_string()),
    }
}

/// A recording by its ends. Without a size nothing proves its length.
fn of_ends(head: &[u8], tail: &[u8], bytes: Option<u64>) -> Look {
    if head.is_empty() && bytes.is_none() {
        return Look::Packed;
    }
    match (bytes, of_probe(probe_ends(head, tail, bytes.unwrap_or(head.len() as u64)))) {
        (None, Look::There(probe)) => Look::There(Probe { length: Length::Unknown, ..probe }),
        (_, look) => look,
    }
}

fn of_probe(probe: Probe) -> Look {
    match probe.kind {
        Kind::NotAudio(what) => Look::Unusable(format!("is {what}, and no audio")),
        _ if probe.bytes == 0 => Look::Unusable("is empty".into()),
        _ if probe.bytes > MAX_SOURCE_BYTES => Look::Unusable("is larger than the API takes".into()),
        _ => Look::There(probe),
    }
}

fn judged(read: Result<Look, FetchError>) -> Look {
    match read {
        Ok(look) => look,
        Err(FetchError::Source(failure)) if failure.transient => Look::Unknown,
        Err(FetchError::Source(failure)) if failure.kind == ErrorKind::SourceMissing => Look::Missing,
        Err(FetchError::Source(failure)) => Look::Unusable(failure.message),
        Err(_) => Look::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_answers_nothing_is_asked_no_more() {
        let mut reached = Reached::default();
        for _ in 0..HOPELESS {
            assert!(!reached.is_hopeless());
            reached.away += 1;
        }
        assert!(reached.is_hopeless());
        assert!(!Reached { there: 1, ..reached }.is_hopeless(), "one answer, and it is only slow");
        assert!(matches!(of_ends(&[], &[], None), Look::Packed), "packed content is an answer, too");
        for (source, host) in [
            ("https://a.example/b/c.wav?x=1", "https://a.example"),
            ("https://a.example?x", "https://a.example"),
            ("s3://calls/2026/a.wav", "s3://calls"),
            ("/data/a.wav", ""),
        ] {
            assert_eq!(host_of(source), host);
        }
    }
}
