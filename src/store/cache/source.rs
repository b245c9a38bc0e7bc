//! Clips as they are read to be joined: from files, or as a stream of objects of which a few are in memory at a time.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use super::objects::ClipObjects;
use crate::{
    audio::Source,
    domain::synthesis::{SpokenWord, WORDS_TAIL, read_words, words_len},
};

/// How many objects are asked for before they are needed.
const AHEAD: usize = 8;
/// Clips of less bytes in all stay in memory until they are joined.
const SMALL: u64 = 4 << 20;

/// A clip that can be read. For threads that may block.
#[derive(Debug, Clone)]
pub enum ClipSource {
    /// A file.
    File(PathBuf),
    /// An object of several that are read one after the other.
    Object(ObjectSource),
}

/// One of several objects.
#[derive(Debug, Clone)]
pub struct ObjectSource {
    stream: Arc<ObjectStream>,
    at: usize,
}

/// The reader of a clip's audio. What is kept behind the audio is not read.
#[derive(Debug)]
pub struct ClipReader {
    from: Opened,
    /// The length of the audio, in bytes.
    audio: u64,
    at: u64,
}

#[derive(Debug)]
enum Opened {
    File(File),
    Object(Cursor<Bytes>),
}

/// Objects that are read in order, once or several times.
#[derive(Debug)]
pub(super) struct ObjectStream {
    objects: Arc<dyn ClipObjects>,
    names: Vec<String>,
    /// Whether all of them are so small that they stay in memory.
    stays: bool,
    runtime: Handle,
    state: Mutex<StreamState>,
}

#[derive(Debug, Default)]
struct StreamState {
    ahead: HashMap<usize, AbortOnDropHandle<io::Result<Bytes>>>,
    read: HashMap<usize, Bytes>,
}

impl ObjectStream {
    /// A stream of these objects, which have so many bytes in all. Inside a runtime.
    pub(super) fn new(objects: Arc<dyn ClipObjects>, names: Vec<String>, bytes: u64) -> Arc<Self> {
        let runtime = Handle::current();
        Arc::new(Self { objects, names, stays: bytes < SMALL, runtime, state: Mutex::default() })
    }

    pub(super) fn source(self: &Arc<Self>, at: usize) -> ClipSource {
        ClipSource::Object(ObjectSource { stream: Arc::clone(self), at })
    }

    fn ask(&self, at: usize) -> Option<AbortOnDropHandle<io::Result<Bytes>>> {
        let (objects, name) = (Arc::clone(&self.objects), self.names.get(at)?.clone());
        let asking: JoinHandle<_> = self.runtime.spawn(async move { objects.read(&name).await });
        Some(AbortOnDropHandle::new(asking))
    }

    fn read(&self, at: usize) -> io::Result<Bytes> {
        let asked = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(read) = state.read.get(&at) {
                return Ok(read.clone());
            }
            // Whatever else was asked for is not needed soon: the reading began again at the start.
            state.ahead.retain(|other, _| (at..=at + AHEAD).contains(other));
            let asked = state.ahead.remove(&at).or_else(|| self.ask(at));
            for next in at + 1..=at + AHEAD {
                if !state.read.contains_key(&next)
                    && !state.ahead.contains_key(&next)
                    && let Some(asking) = self.ask(next)
                {
                    state.ahead.insert(next, asking);
                }
            }
            asked
        };
        let asked = asked.ok_or(io::ErrorKind::NotFound)?;
        let content = self.runtime.block_on(asked).map_err(io::Error::other).flatten()?;
        if self.stays {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).read.insert(at, content.clone());
        }
        Ok(content)
    }
}

impl Source for ClipSource {
    type Reader = ClipReader;

    fn open(&self) -> io::Result<ClipReader> {
        self.open_both().map(|(reader, _)| reader)
    }
}

impl ClipSource {
    /// The words that came with the audio, with their times; none where none came.
    ///
    /// # Errors
    /// The clip cannot be read.
    pub fn words(&self) -> io::Result<Vec<SpokenWord>> {
        self.open_both().map(|(_, words)| words)
    }

    fn open_both(&self) -> io::Result<(ClipReader, Vec<SpokenWord>)> {
        let mut from = match self {
            Self::File(path) => Opened::File(File::open(path)?),
            Self::Object(object) => Opened::Object(Cursor::new(object.stream.read(object.at)?)),
        };
        let whole = from.seek(SeekFrom::End(0))?;
        let words = words_of(&mut from, whole)?;
        let (len, words) = words.unwrap_or_default();
        from.rewind()?;
        Ok((ClipReader { from, audio: whole - len, at: 0 }, words))
    }
}

/// The words behind a clip's audio, with the number of bytes that they take.
fn words_of(from: &mut Opened, whole: u64) -> io::Result<Option<(u64, Vec<SpokenWord>)>> {
    let Some(at) = whole.checked_sub(WORDS_TAIL as u64) else { return Ok(None) };
    let mut tail = [0; WORDS_TAIL];
    from.seek(SeekFrom::Start(at))?;
    from.read_exact(&mut tail)?;
    let Some(len) = words_len(&tail, whole) else { return Ok(None) };
    from.seek(SeekFrom::Start(whole - len))?;
    let mut end = Vec::new();
    from.read_to_end(&mut end)?;
    Ok(read_words(&end).map(|words| (len, words)))
}

impl Read for Opened {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(into),
            Self::Object(content) => content.read(into),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Object(content) => content.seek(to),
        }
    }
}

impl Read for ClipReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.audio.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        let read = self.from.read(&mut into[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for ClipReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::End(by) => SeekFrom::Start(self.audio.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?),
            other => other,
        };
        self.at = self.from.seek(to)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::BoxFuture;

    use super::*;
    use crate::domain::synthesis::with_words;
    use crate::store::cache::objects::EachObject;

    /// Objects whose content is their name; counts what was asked for.
    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl ClipObjects for Counted {
        fn put<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, io::Result<bool>> {
            Box::pin(async { Ok(true) })
        }
        fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Bytes>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                if name == "7" { Err(io::ErrorKind::NotFound.into()) } else { Ok(name.to_owned().into()) }
            })
        }
        fn list<'a>(&'a self, _: &'a str, _: EachObject<'a>) -> BoxFuture<'a, io::Result<()>> {
            Box::pin(async { Ok(()) })
        }
        fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<()>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[test]
    fn what_is_kept_behind_the_audio_is_not_read_as_audio() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.pcm");
        let words = vec![SpokenWord { word: "One".into(), start_ms: 5, end_ms: 90 }];
        let audio: Vec<u8> = (0..=255).collect();
        std::fs::write(&path, with_words(audio.clone(), &words)).unwrap();
        let clip = ClipSource::File(path.clone());
        assert_eq!(clip.words().unwrap(), words);
        let mut reader = clip.open().unwrap();
        assert_eq!(reader.seek(SeekFrom::End(-6)).unwrap(), 250);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, audio[250..]);
        reader.rewind().unwrap();
        read.clear();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, audio);
        std::fs::write(&path, &audio).unwrap();
        assert_eq!((clip.words().unwrap(), clip.open().unwrap().audio), (Vec::new(), 256));
        std::fs::write(&path, []).unwrap();
        assert_eq!((clip.words().unwrap(), clip.open().unwrap().audio), (Vec::new(), 0));
    }

    fn content(stream: &Arc<ObjectStream>, at: usize) -> io::Result<String> {
        let mut text = String::new();
        stream.source(at).open()?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_are_read_in_order_and_few_are_in_memory() {
        let objects = Arc::new(Counted::default());
        let names = |n: usize| (100..100 + n).map(|n| n.to_string()).collect();
        let stream = ObjectStream::new(objects.clone(), names(50), SMALL);
        let (of, asked) = (Arc::clone(&stream), objects.clone());
        let reading = tokio::task::spawn_blocking(move || {
            for round in 1..=2 {
                for at in 0..50 {
                    assert_eq!(content(&of, at).unwrap(), (100 + at).to_string());
                    let state = of.state.lock().unwrap();
                    assert!(state.ahead.len() <= AHEAD && state.read.is_empty());
                }
                assert_eq!(asked.0.load(Ordering::SeqCst), 50 * round, "each once a round");
            }
        });
        reading.await.unwrap();
        let small = ObjectStream::new(objects.clone(), names(3), 9);
        let again = Arc::clone(&small);
        let reading = tokio::task::spawn_blocking(move || [0, 1, 2, 0, 1, 2].map(|at| content(&again, at).unwrap()));
        assert_eq!(reading.await.unwrap()[5], "102");
        assert_eq!(objects.0.load(Ordering::SeqCst), 103, "what is small is read once");
        let gone = ObjectStream::new(objects, vec!["7".into()], 9);
        let reading = tokio::task::spawn_blocking(move || content(&gone, 0).unwrap_err().kind());
        assert_eq!(reading.await.unwrap(), io::ErrorKind::NotFound);
    }
}
