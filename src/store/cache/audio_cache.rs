//! The audio cache of a ledger, wherever it is kept: what was bought once is found, joined, and replaced on request.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    clips::{ClipRow, day_of},
    folder::ClipFolder,
    home::Home,
    objects::{ClipBucket, Take},
    source::{ClipSource, ObjectStream},
};
use crate::domain::{identity::Identity, synthesis_options::AudioFormat};
use crate::store::{Store, StoreError};

/// The bought audio of a ledger.
///
/// A clip in a folder is a complete file. A clip in a store of objects is a row, and an object that was complete before it;
/// an object without a row is the answer of a call that is still open.
#[derive(Debug, Clone)]
pub struct AudioCache {
    store: Store,
}

/// A clip that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptClip {
    /// Its length in bytes.
    pub bytes: u64,
    /// Which object it is, where clips are objects.
    pub take: Option<u32>,
    /// Whether no row knows it yet.
    pub is_unrecorded: bool,
}

/// Which clips were kept a moment ago.
#[derive(Debug, Clone)]
pub enum KeptClips {
    /// Those of a folder, which is looked into.
    Folder(ClipFolder),
    /// Objects.
    Objects(Arc<HashSet<Identity>>),
}

impl KeptClips {
    /// Whether a clip is kept. Of a folder, this uses the disk.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn has(&self, cache_key: Identity, format: AudioFormat) -> Result<bool, StoreError> {
        match self {
            Self::Folder(folder) => folder.is_kept(cache_key, format),
            Self::Objects(clips) => Ok(clips.contains(&cache_key)),
        }
    }
}

impl Store {
    /// The audio cache of this ledger.
    #[must_use]
    pub fn audio_cache(&self) -> AudioCache {
        AudioCache { store: self.clone() }
    }
}

/// All of these fail where the ledger cannot be read, where machines share the ledger and no audio cache
/// ([`StoreError::NoSharedSpool`]), and with [`StoreError::Spool`] where the cache is out of reach: a clip may be there nevertheless.
impl AudioCache {
    /// The place of the clips, as messages name it.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn place(&self) -> Result<String, StoreError> {
        Ok(self.store.clip_home().await?.shown())
    }

    /// Finds out whether a place that machines share takes what is bought, before anything is. A folder beside the ledger is
    /// not looked at.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn try_out(&self) -> Result<(), StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { address: None, .. } => Ok(()),
            Home::Folder { folder, .. } => in_folder(folder, |folder| folder.try_out()).await,
            home @ Home::Objects { bucket, .. } => bucket.try_out().await.map_err(|e| failed(home, e)),
        }
    }

    /// Which of these clips are kept, with their lengths in bytes. Their use is recorded as now.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn find(&self, clips: Vec<Identity>, format: AudioFormat) -> Result<HashMap<Identity, u64>, StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => {
                in_folder(folder, move |folder| {
                    let mut found = HashMap::with_capacity(clips.len());
                    for clip in clips {
                        if let Some(bytes) = folder.find(clip, format)? {
                            folder.touch(clip, format);
                            found.insert(clip, bytes);
                        }
                    }
                    Ok(found)
                })
                .await
            }
            Home::Objects { .. } => {
                let rows = self.store.clip_rows(&clips).await?;
                let today = day_of(self.store.now());
                let stale: Vec<_> = rows.iter().filter(|row| row.used_day < today).map(|row| row.cache_key).collect();
                self.store.use_clips(&stale).await?;
                Ok(rows.iter().map(|row| (row.cache_key, row.bytes)).collect())
            }
        }
    }

    /// A clip that is kept and that the ledger knows.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn get(&self, clip: Identity, format: AudioFormat) -> Result<Option<KeptClip>, StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => found_in(folder, clip, format).await,
            Home::Objects { .. } => Ok(self.row_of(clip).await?.map(|row| row.kept())),
        }
    }

    /// A clip that is kept, whether the ledger knows it or not. While a call for the clip is open, its answer may be kept.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn get_unrecorded(&self, clip: Identity, format: AudioFormat) -> Result<Option<KeptClip>, StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => found_in(folder, clip, format).await,
            home @ Home::Objects { bucket, .. } => {
                let row = self.row_of(clip).await?;
                let takes = bucket.takes(clip).await.map_err(|e| failed(home, e))?;
                let newest = takes.into_iter().filter(|take| take.bytes > 0).max_by_key(|take| take.number);
                if let Some(take) = newest.filter(|take| row.is_none_or(|row| take.number > row.take)) {
                    return Ok(Some(take.unrecorded()));
                }
                match self.send_unsent(clip, format, bucket).await.map_err(|e| failed(home, e))? {
                    Some(sent) => Ok(Some(sent)),
                    None => Ok(row.map(|row| row.kept())),
                }
            }
        }
    }

    /// Puts a complete clip into the cache. What is there stays, unless it is to be replaced.
    ///
    /// # Errors
    /// As of all methods; then nothing is kept, and the audio must stay in hand.
    pub async fn put(
        &self,
        clip: Identity,
        format: AudioFormat,
        audio: &Bytes,
        replace: bool,
    ) -> Result<KeptClip, StoreError> {
        let bytes = audio.len() as u64;
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => {
                let audio = audio.clone();
                in_folder(folder, move |folder| folder.write(clip, format, &audio, replace)).await?;
                Ok(KeptClip { bytes, take: None, is_unrecorded: true })
            }
            home @ Home::Objects { bucket, .. } => {
                let number = bucket.put(clip, audio, replace).await.map_err(|e| failed(home, e))?;
                Ok(KeptClip { bytes, take: Some(number), is_unrecorded: true })
            }
        }
    }

    /// Keeps a clip on this machine until it can be [put](Self::put): for a cache that cannot be reached now. It is found by
    /// [`Self::get_unrecorded`] here, also after a kill. In a folder nothing is kept: it is on this machine already.
    pub async fn set_by(&self, clip: Identity, format: AudioFormat, audio: Bytes) {
        if let Ok(Home::Objects { .. }) = self.store.clip_home().await {
            let unsent = self.store.unsent_clips();
            // Without it the audio is still in hand.
            let _ = in_folder(&unsent, move |unsent| unsent.write(clip, format, &audio, true)).await;
        }
    }

    /// Removes what [`Self::set_by`] kept.
    pub async fn sent(&self, clip: Identity, format: AudioFormat) {
        let unsent = self.store.unsent_clips();
        let _ = in_folder(&unsent, move |unsent| unsent.remove(clip, format)).await;
    }

    async fn send_unsent(&self, clip: Identity, format: AudioFormat, to: &ClipBucket) -> io::Result<Option<KeptClip>> {
        let path = self.store.unsent_clips().path(clip, format);
        let audio: Bytes = match tokio::fs::read(&path).await {
            Ok(audio) => audio.into(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let take = to.put(clip, &audio, false).await?;
        self.sent(clip, format).await;
        Ok(Some(KeptClip { bytes: audio.len() as u64, take: Some(take), is_unrecorded: true }))
    }

    /// Moves a damaged clip out of the way: it counts as not kept.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn discard(&self, clip: Identity, format: AudioFormat) -> Result<(), StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => {
                in_folder(folder, move |folder| {
                    folder.discard(clip, format);
                    Ok(())
                })
                .await
            }
            Home::Objects { bucket, .. } => {
                let Some(row) = self.row_of(clip).await? else { return Ok(()) };
                self.store.forget_clip(clip, row.take).await?;
                // If it stays, it is swept later, and what is bought next is another take.
                let _ = bucket.remove(clip, row.take).await;
                Ok(())
            }
        }
    }

    /// What the clips are read from, in this order; `None` stays `None`. Whether they are there shows when they are read.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn sources(
        &self,
        clips: &[Option<Identity>],
        format: AudioFormat,
    ) -> Result<Vec<Option<ClipSource>>, StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => {
                Ok(clips.iter().map(|clip| clip.map(|clip| ClipSource::File(folder.path(clip, format)))).collect())
            }
            Home::Objects { bucket, .. } => {
                let wanted: Vec<_> = clips.iter().flatten().copied().collect();
                let rows: HashMap<_, _> =
                    self.store.clip_rows(&wanted).await?.into_iter().map(|row| (row.cache_key, row)).collect();
                let take = |clip: &Identity| rows.get(clip).map_or(0, |row| row.take);
                let names = wanted.iter().map(|clip| bucket.name(*clip, take(clip))).collect();
                let bytes = wanted.iter().filter_map(|clip| rows.get(clip)).map(|row| row.bytes).sum();
                let stream = ObjectStream::new(Arc::clone(bucket.objects()), names, bytes);
                let mut nth = 0..;
                Ok(clips.iter().map(|clip| clip.and_then(|_| Some(stream.source(nth.next()?)))).collect())
            }
        }
    }

    /// Which clips are kept now: for a survey of many texts.
    ///
    /// # Errors
    /// As of all methods.
    pub async fn snapshot(&self) -> Result<KeptClips, StoreError> {
        match self.store.clip_home().await? {
            Home::Folder { folder, .. } => Ok(KeptClips::Folder(folder.clone())),
            Home::Objects { .. } => {
                let mut clips = HashSet::new();
                self.store
                    .all_clip_rows(|row| {
                        clips.insert(row.cache_key);
                    })
                    .await?;
                Ok(KeptClips::Objects(Arc::new(clips)))
            }
        }
    }

    async fn row_of(&self, clip: Identity) -> Result<Option<ClipRow>, StoreError> {
        Ok(self.store.clip_rows(&[clip]).await?.pop())
    }
}

impl ClipRow {
    const fn kept(&self) -> KeptClip {
        KeptClip { bytes: self.bytes, take: Some(self.take), is_unrecorded: false }
    }
}

impl Take {
    const fn unrecorded(&self) -> KeptClip {
        KeptClip { bytes: self.bytes, take: Some(self.number), is_unrecorded: true }
    }
}

async fn found_in(folder: &ClipFolder, clip: Identity, format: AudioFormat) -> Result<Option<KeptClip>, StoreError> {
    let found = in_folder(folder, move |folder| folder.find(clip, format)).await?;
    Ok(found.map(|bytes| KeptClip { bytes, take: None, is_unrecorded: false }))
}

/// Looks into a folder, on a thread that may block.
async fn in_folder<T: Send + 'static>(
    folder: &ClipFolder,
    look: impl FnOnce(&ClipFolder) -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let at = folder.clone();
    let looked = tokio::task::spawn_blocking(move || look(&at)).await.map_err(io::Error::other).flatten();
    looked.map_err(|source| StoreError::Spool { place: folder.root().display().to_string(), source })
}

pub(super) fn failed(home: &Home, source: io::Error) -> StoreError {
    StoreError::Spool { place: home.shown(), source }
}
