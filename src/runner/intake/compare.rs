//! Compares a manifest's recordings with those in the ledger: by address, by how local files are found, and where only that
//! differs, by content.

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio_util::sync::CancellationToken;

use super::{
    IntakeError, Purchases, Survey,
    known_sources::KnownSources,
    reader::{Reader, Wanted},
};
use crate::{
    definition::{Definition, ManifestLine},
    domain::{
        identity::{ContentHash, SeenFile},
        job::BatchId,
    },
    media::content::{ContentError, hash_file},
    store::{AddressChange, Diff, JobPlan, Store, StoreError, ToRead},
};

/// Files that are read concurrently.
const MAX_CONCURRENT_READS: usize = 8;
/// The most unreadable files that are named.
const NAMED: usize = 3;

/// The progress of reading local files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// Files to read.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that were read so far.
    pub read: u64,
}

/// Receives the progress: once before the first file, and then after each piece of one, from any thread.
#[derive(Clone, Default)]
pub struct ReadWatch(Option<Arc<dyn Fn(ReadProgress) + Send + Sync>>);

impl ReadWatch {
    /// `hear` is called often and must be quick.
    pub fn new(hear: impl Fn(ReadProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    fn hear(&self, progress: ReadProgress) {
        if let Some(hear) = &self.0 {
            hear(progress);
        }
    }
}

impl fmt::Debug for ReadWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadWatch").field(&self.0.is_some()).finish()
    }
}

/// What the comparison found for the lines that exist in the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Local files that were read, since only their content shows whether they are the same.
    pub read: u64,
    /// Bytes of these files.
    pub read_bytes: u64,
    /// Files that hold the same recordings, but were found in another place or with another time.
    pub renewed: u64,
    /// Lines that have another recording.
    pub other: u64,
    /// Files that cannot be found or read: their lines stay as they are.
    pub unreadable: u64,
    /// Some of the unreadable files, and the reasons.
    pub named: Vec<String>,
}

/// A finished comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) diff: Diff,
    pub(super) sources: Arc<KnownSources>,
    pub(super) message: Compared,
    /// The parameters that are the only difference between all addresses and the ledger's; and the number of these addresses.
    pub(super) parameters: Option<(Vec<String>, u64)>,
    /// What would be bought, where that is counted.
    pub(super) purchases: Option<Purchases>,
}

/// Compares the lines of a manifest with those of a batch. A file is read only if nothing else decides, not even what is
/// `known` of it. `survey` counts what would be bought.
pub(super) async fn compare(
    (store, batch): (&Store, BatchId),
    definition: &Definition,
    (reader, known): (&Reader, Option<Arc<KnownSources>>),
    watch: &ReadWatch,
    survey: impl Fn() -> Option<Box<dyn Survey>>,
) -> Result<Comparison, IntakeError> {
    let mut addresses = Addresses::default();
    let mut sources = known.as_deref().cloned().unwrap_or_default();
    let wanted = Wanted { sources: known.clone(), ..Wanted::default() };
    let (mut surveying, mut diff) = (survey(), Diff::default());
    let mut chunks = reader.chunks(Wanted { lines: surveying.is_some(), ..wanted });
    while let Some(chunk) = chunks.next().await? {
        let found = store.diff_set(batch, chunk.good.clone()).await?;
        let counts = found.counts();
        diff += counts;
        surveying = count(surveying, chunk.lines, found.jobs()?).await?;
        if counts.other_source > 0 {
            for one in store.readdressed(batch, chunk.good).await? {
                if addresses.is_same(definition, &one) {
                    sources.aliases.insert(one.line, one.identity);
                }
            }
        }
    }
    let mut message = Compared::default();
    if diff.to_read > 0 {
        read_all(store, batch, (reader, known), (&diff, watch), &mut sources, &mut message).await?;
    }
    let sources = Arc::new(sources);
    let parameters = addresses.only_in(diff.same_urls);
    if !sources.contents.is_empty() || !sources.aliases.is_empty() {
        surveying = survey();
        diff = Diff::default();
        let sources = Some(Arc::clone(&sources));
        let mut chunks = reader.chunks(Wanted { sources, lines: surveying.is_some(), ..Wanted::default() });
        while let Some(chunk) = chunks.next().await? {
            let found = store.diff_set(batch, chunk.good).await?;
            diff += found.counts();
            surveying = count(surveying, chunk.lines, found.jobs()?).await?;
        }
    }
    message.renewed = diff.renewed;
    message.other = diff.other_source;
    message.unreadable = diff.unseen + diff.to_read;
    Ok(Comparison { diff, sources, message, parameters, purchases: surveying.map(Survey::found) })
}

/// Counts what all lines of a manifest would buy if the ledger has none of them.
pub(super) async fn count_new(reader: &Reader, survey: Box<dyn Survey>) -> Result<Purchases, IntakeError> {
    let mut surveying = Some(survey);
    let mut chunks = reader.chunks(Wanted { lines: true, ..Wanted::default() });
    while let Some(chunk) = chunks.next().await? {
        let jobs = chunk.lines.iter().map(|line| line.jobs.len()).sum();
        surveying = count(surveying, chunk.lines, vec![JobPlan::NEW; jobs]).await?;
    }
    Ok(surveying.map(Survey::found).unwrap_or_default())
}

/// Adds lines to a survey, if there is one. It cuts texts and reads file metadata, so it runs on a thread of its own.
async fn count(
    survey: Option<Box<dyn Survey>>,
    lines: Vec<ManifestLine>,
    jobs: Vec<JobPlan>,
) -> Result<Option<Box<dyn Survey>>, IntakeError> {
    let Some(mut survey) = survey else { return Ok(None) };
    let counting = tokio::task::spawn_blocking(move || {
        let mut jobs = jobs.as_slice();
        for line in &lines {
            let (own, rest) = jobs.split_at(line.jobs.len().min(jobs.len()));
            survey.add(line, own)?;
            jobs = rest;
        }
        Ok::<_, StoreError>(survey)
    });
    Ok(Some(counting.await.map_err(|_| IntakeError::Interrupted)??))
}

/// Reads the files of the lines that need it, several at a time, chunk by chunk.
async fn read_all(
    store: &Store,
    batch: BatchId,
    (reader, known): (&Reader, Option<Arc<KnownSources>>),
    (diff, watch): (&Diff, &ReadWatch),
    sources: &mut KnownSources,
    message: &mut Compared,
) -> Result<(), IntakeError> {
    let progress = Arc::new(Mutex::new(ReadProgress { files: diff.to_read, bytes: diff.to_read_bytes, read: 0 }));
    watch.hear(ReadProgress { files: diff.to_read, bytes: diff.to_read_bytes, read: 0 });
    let stop = CancellationToken::new();
    // A caller that stops waiting, as after a signal, must not be held up by the reading.
    let _stopping = stop.clone().drop_guard();
    let mut chunks = reader.chunks(Wanted { sources: known, ..Wanted::default() });
    while let Some(chunk) = chunks.next().await? {
        let files = store.to_read(batch, chunk.good).await?;
        let (watch, progress, stop) = (watch.clone(), Arc::clone(&progress), stop.clone());
        let reading = tokio::task::spawn_blocking(move || {
            read_files(&files, &stop, |n| {
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.read += n;
                watch.hear(*progress);
            })
        });
        for ReadFile { line, path, content } in reading.await.map_err(|_| IntakeError::Interrupted)? {
            match content {
                Ok((seen, content)) => {
                    message.read += 1;
                    message.read_bytes += seen.bytes;
                    sources.contents.insert(line, (seen, content));
                }
                Err(why) if message.named.len() < NAMED => message.named.push(format!("`{path}` {why}")),
                Err(_) => {}
            }
        }
    }
    Ok(())
}

/// A file that was read, or could not be read.
struct ReadFile {
    line: u64,
    path: String,
    content: Result<(SeenFile, ContentHash), ContentError>,
}

/// Reads files concurrently, as many as there are processors.
fn read_files(files: &[ToRead], stop: &CancellationToken, heard: impl Fn(u64) + Sync) -> Vec<ReadFile> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while !stop.is_cancelled()
            && let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let content = hash_file(Path::new(&file.path), &heard).map(|(stamp, content)| (stamp.seen, content));
            done.push(ReadFile { line: file.line, path: file.path.clone(), content });
        }
        done
    };
    let threads = thread::available_parallelism().map_or(2, usize::from).min(MAX_CONCURRENT_READS).min(files.len());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("reading a file does not panic")).collect()
    })
}

/// What the addresses of existing lines have in common where they differ from the ledger's.
#[derive(Debug, Default)]
struct Addresses {
    /// The parameters in which each address differs; `None` once two addresses differ in different ones.
    differing: Option<Option<BTreeSet<String>>>,
    count: u64,
    /// Whether some addresses are the same by the current rules.
    same: bool,
}

impl Addresses {
    /// Whether an address equals the one in the ledger, by the current rules.
    fn is_same(&mut self, definition: &Definition, one: &AddressChange) -> bool {
        let names = definition.queries.differing(&one.before, &one.now);
        if names.as_ref().is_some_and(BTreeSet::is_empty) {
            self.same = true;
            return true;
        }
        self.count += 1;
        self.differing = Some(match self.differing.take() {
            None => names,
            Some(before) => before.filter(|before| Some(before) == names.as_ref()),
        });
        false
    }

    /// The parameters in which all addresses differ, where `same` others are unchanged. One address alone proves nothing.
    fn only_in(&self, same: u64) -> Option<(Vec<String>, u64)> {
        let names = self.differing.as_ref()?.as_ref().filter(|_| same == 0 && !self.same && self.count > 1)?;
        Some((names.iter().cloned().collect(), self.count))
    }
}

/// What a changed manifest address means for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readdress {
    /// The address is the same, or the batch's is not known.
    No,
    /// The recordings or texts are the same: the batch takes the new address.
    Renewed,
    /// They differ, or nothing shows that they are the same.
    Other {
        /// Existing lines with another recording or text, or with one that cannot be compared.
        clashes: u64,
    },
}

/// Judges the manifest's address, where `lines` are in the ledger. `agreed`: the user confirmed that it is the same batch.
pub(super) fn readdress(before: &str, now: &str, diff: &Diff, lines: u64, agreed: bool) -> Readdress {
    if before.is_empty() || before == now {
        return Readdress::No;
    }
    let clashes = diff.other_source + diff.unproven + diff.to_read + diff.unseen;
    let proved = clashes == 0 && diff.same_source > 0;
    if agreed || proved || lines == 0 { Readdress::Renewed } else { Readdress::Other { clashes } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_needs_a_proof() {
        let same = Diff { same_source: 3, new: 2, ..Diff::default() };
        assert_eq!(readdress("a", "a", &Diff { other_source: 3, ..same }, 3, false), Readdress::No);
        assert_eq!(readdress("", "b", &Diff { other_source: 3, ..same }, 3, false), Readdress::No);
        assert_eq!(readdress("a", "b", &same, 3, false), Readdress::Renewed);
        for (diff, clashes) in [
            (Diff { other_source: 1, ..same }, 1),
            (Diff { unproven: 2, ..same }, 2),
            (Diff { to_read: 1, unseen: 1, ..same }, 2),
            (Diff { same_source: 0, ..same }, 0),
        ] {
            assert_eq!(readdress("a", "b", &diff, 3, false), Readdress::Other { clashes }, "{diff:?}");
            assert_eq!(readdress("a", "b", &diff, 3, true), Readdress::Renewed);
            assert_eq!(readdress("a", "b", &diff, 0, false), Readdress::Renewed, "an empty batch");
        }
    }

    #[test]
    fn files_are_read_side_by_side_and_each_failure_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for line in 0..50_u64 {
            let path = dir.path().join(format!("{line}.wav"));
            if line != 7 {
                std::fs::write(&path, vec![0; 1_000]).unwrap();
            }
            files.push(ToRead { line, path: path.to_str().unwrap().to_owned() });
        }
        let heard = std::sync::atomic::AtomicU64::new(0);
        let mut read = read_files(&files, &CancellationToken::new(), |n| {
            heard.fetch_add(n, Ordering::Relaxed);
        });
        read.sort_unstable_by_key(|read| read.line);
        assert_eq!(read.len(), 50);
        assert_eq!(read.iter().filter(|read| read.content.is_err()).map(|read| read.line).collect::<Vec<_>>(), [7]);
        assert_eq!(heard.into_inner(), 49_000);
        assert!(read_files(&[], &CancellationToken::new(), |_| ()).is_empty());
    }
}
