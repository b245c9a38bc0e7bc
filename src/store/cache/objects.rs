//! Bought audio, kept as objects of a store that machines share: `{ledger id}/{environment}/{cache_key}.{take}`.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{
    crash,
    domain::{hex::unhex, identity::Identity},
};

/// Objects in a store that machines share, by their names. An object is written once and never changed.
///
/// Errors are those of the store, in words; [`io::ErrorKind::NotFound`] only says that there is no such object.
pub trait ClipObjects: fmt::Debug + Send + Sync {
    /// Writes an object, unless there is one of this name: then it is left as it is, and the value is `false`.
    fn put<'a>(&'a self, name: &'a str, content: Bytes) -> BoxFuture<'a, io::Result<bool>>;

    /// The content of an object.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Bytes>>;

    /// Calls `each` for every object whose name begins like this.
    fn list<'a>(&'a self, beginning: &'a str, each: EachObject<'a>) -> BoxFuture<'a, io::Result<()>>;

    /// Removes an object. One that is not there is no error.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// What is done with each object of a listing.
pub type EachObject<'a> = &'a mut (dyn FnMut(ClipObject) + Send);

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipObject {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written, if the store says so.
    pub written: Option<SystemTime>,
}

/// An object younger than this was written by a call that is not over.
const RECENT: Duration = Duration::from_hours(1);
/// The most takes of one clip that are tried.
const MOST_TAKES: u32 = 1_000;

/// The objects of one ledger's clips.
#[derive(Debug, Clone)]
pub(in crate::store) struct ClipBucket {
    objects: Arc<dyn ClipObjects>,
    /// What all names of this ledger begin with.
    beginning: String,
}

/// One take of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Take {
    pub(in crate::store) cache_key: Identity,
    pub(in crate::store) number: u32,
    pub(in crate::store) bytes: u64,
    pub(in crate::store) written: Option<SystemTime>,
}

impl Take {
    /// Whether it is younger than `age`. A store that does not say when is taken to have written it just now.
    pub(in crate::store) fn is_younger(&self, age: Duration) -> bool {
        self.written.is_none_or(|at| at.elapsed().map_or(true, |passed| passed < age))
    }
}

impl ClipBucket {
    pub(in crate::store) fn new(objects: Arc<dyn ClipObjects>, beginning: String) -> Self {
        Self { objects, beginning }
    }

    pub(in crate::store) fn objects(&self) -> &Arc<dyn ClipObjects> {
        &self.objects
    }

    pub(in crate::store) fn name(&self, cache_key: Identity, take: u32) -> String {
        format!("{}{}.{take}", self.beginning, cache_key.hex())
    }

    /// Writes an object that is no clip, unless it is there.
    pub(in crate::store) async fn try_out(&self) -> io::Result<()> {
        let name = format!("{}writable", self.beginning);
        self.objects.put(&name, Bytes::from_static(b"wavebatch can write here\n")).await.map(drop)
    }

    /// Writes a clip. An object is never replaced: other audio of the same clip is another take. Returns the take.
    pub(in crate::store) async fn put(&self, cache_key: Identity, audio: &Bytes, replace: bool) -> io::Result<u32> {
        let after = |takes: &[Take]| takes.iter().map(|take| take.number + 1).max().unwrap_or(0);
        let mut number = if replace { after(&self.takes(cache_key).await?) } else { 0 };
        while number < MOST_TAKES {
            let name = self.name(cache_key, number);
            crash::point("before-file");
            if self.objects.put(&name, audio.clone()).await? {
                crash::point("after-file");
                return Ok(number);
            }
            let takes = self.takes(cache_key).await?;
            // A put whose answer was lost finds its own object. An old one may be about to be swept.
            let same = takes
                .iter()
                .any(|take| take.number == number && take.bytes == audio.len() as u64 && take.is_younger(RECENT));
            if same && self.objects.read(&name).await? == *audio {
                return Ok(number);
            }
            number = after(&takes).max(number + 1);
        }
        Err(io::Error::other(format!("{} has {MOST_TAKES} takes", self.name(cache_key, 0))))
    }

    /// Copies a take of another store, unless it is here.
    pub(in crate::store) async fn adopt(&self, from: &Self, take: &Take) -> io::Result<()> {
        let audio = from.objects.read(&from.name(take.cache_key, take.number)).await?;
        self.objects.put(&self.name(take.cache_key, take.number), audio).await.map(drop)
    }

    /// The takes of one clip that the store has.
    pub(in crate::store) async fn takes(&self, cache_key: Identity) -> io::Result<Vec<Take>> {
        let mut takes = Vec::new();
        self.list(&format!("{}{}.", self.beginning, cache_key.hex()), |take| takes.push(take)).await?;
        Ok(takes)
    }

    /// All takes of the ledger that the store has and that `wanted` wants, in one listing.
    pub(in crate::store) async fn all_takes(
        &self,
        wanted: impl Fn(&Take) -> bool + Send + Sync,
    ) -> io::Result<Vec<Take>> {
        let mut takes = Vec::new();
        let each = |take: Take| {
            if wanted(&take) {
                takes.push(take)
            }
        };
        self.list(&self.beginning, each).await?;
        Ok(takes)
    }

    async fn list(&self, beginning: &str, mut each: impl FnMut(Take) + Send) -> io::Result<()> {
        let mut take = |object: ClipObject| {
            if let Some((cache_key, number)) = self.parse(&object.name) {
                each(Take { cache_key, number, bytes: object.bytes, written: object.written });
            }
        };
        self.objects.list(beginning, &mut take).await
    }

    pub(in crate::store) async fn remove(&self, cache_key: Identity, take: u32) -> io::Result<()> {
        self.objects.remove(&self.name(cache_key, take)).await
    }

    /// The clip and the take of an object; `None` for an object of somebody else.
    fn parse(&self, name: &str) -> Option<(Identity, u32)> {
        let (hex, take) = name.strip_prefix(&self.beginning)?.split_once('.')?;
        Some((Identity(unhex(hex)?), take.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl ClipObjects for Nothing {
        fn put<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, io::Result<bool>> {
            Box::pin(async { Ok(true) })
        }
        fn read<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Bytes>> {
            Box::pin(async { Err(io::ErrorKind::NotFound.into()) })
        }
        fn list<'a>(&'a self, _: &'a str, _: EachObject<'a>) -> BoxFuture<'a, io::Result<()>> {
            Box::pin(async { Ok(()) })
        }
        fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[test]
    fn the_name_of_an_object_says_whose_audio_it_is() {
        let bucket = ClipBucket::new(Arc::new(Nothing), "id/live/".into());
        let clip = Identity([0xab; 16]);
        let name = bucket.name(clip, 3);
        assert_eq!(name, format!("id/live/{}.3", "ab".repeat(16)));
        assert_eq!(bucket.parse(&name), Some((clip, 3)));
        for other in ["id/live/notes.txt", "id/live/abab.0", "id/sandbox/x.0", "id/live/", "other"] {
            assert_eq!(bucket.parse(other), None, "{other}");
        }
    }
}
