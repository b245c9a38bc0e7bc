//! One clip is removed with all that is left of it, for a line that is forgotten.

use std::time::SystemTime;

use crate::domain::{identity::Identity, synthesis_options::AudioFormat};
use crate::store::engine::db::query_scalar;
use crate::store::{
    CachedClip, ClipPlace, Store, StoreError,
    cache::{audio_cache::failed, home::Home},
};

/// What became of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasedClip {
    /// It was removed.
    Removed,
    /// It was not there.
    Absent,
    /// A line that is not forgotten uses it.
    Used,
}

impl Store {
    /// Removes a clip, wherever it is kept, unless a line that is not forgotten uses it. Forgotten lines have given up theirs.
    ///
    /// # Errors
    /// The audio cache cannot be reached, or a file cannot be removed.
    pub async fn erase_clip(&self, clip: Identity) -> Result<ErasedClip, StoreError> {
        let used: bool = query_scalar(
            r"-- erase::erase_clip
              SELECT EXISTS (SELECT 1 FROM calls WHERE cache_key = $1 AND cache_key IS NOT NULL AND state = 'answered')
                OR EXISTS (SELECT 1 FROM job_parts WHERE cache_key = $1 AND reused = 1)",
        )
        .bind(clip)
        .fetch_one(&self.read)
        .await?;
        if used {
            return Ok(ErasedClip::Used);
        }
        let kept = self.kept_clip(clip).await?;
        let (needed, _) = self.remove(&kept).await?;
        if !needed.is_empty() {
            return Ok(ErasedClip::Used);
        }
        if let home @ Home::Objects { bucket, .. } = self.clip_home().await? {
            // What was replaced, or was never recorded.
            for take in bucket.takes(clip).await.map_err(|e| failed(home, e))? {
                bucket.remove(clip, take.number).await.map_err(|e| failed(home, e))?;
            }
            let unsent = self.unsent_clips();
            for format in AudioFormat::ALL {
                unsent.remove(clip, *format).map_err(|e| failed(home, e))?;
            }
        }
        Ok(if kept.is_empty() { ErasedClip::Absent } else { ErasedClip::Removed })
    }

    /// Whether a clip is kept, in whatever format.
    ///
    /// # Errors
    /// The audio cache cannot be reached.
    pub async fn has_clip(&self, clip: Identity) -> Result<bool, StoreError> {
        Ok(!self.kept_clip(clip).await?.is_empty())
    }

    async fn kept_clip(&self, clip: Identity) -> Result<Vec<CachedClip>, StoreError> {
        // Nothing uses it any more, so its last use does not matter.
        let used_at = SystemTime::now();
        let at = |place, bytes| CachedClip { cache_key: clip, place, bytes, used_at };
        match self.clip_home().await? {
            home @ Home::Folder { folder, .. } => {
                let mut kept = Vec::new();
                for format in AudioFormat::ALL {
                    if let Some(bytes) = folder.find(clip, *format).map_err(|e| failed(home, e))? {
                        kept.push(at(ClipPlace::File(folder.path(clip, *format)), bytes));
                    }
                }
                Ok(kept)
            }
            Home::Objects { .. } => {
                let rows = self.clip_rows(&[clip]).await?;
                Ok(rows.into_iter().map(|row| at(ClipPlace::Object(row.take), row.bytes)).collect())
            }
        }
    }
}
