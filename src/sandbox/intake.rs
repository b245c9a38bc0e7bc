//! Taking in a recording: counted and hashed on the way, in memory while small, in a temporary file beyond.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest as _, Sha256};

use super::{
    books::Digest,
    voice::{HeardWord, Listener, WordTable},
};
use crate::{
    audio::{MediaSource, decode, wav},
    domain::padding::Patch,
    media::{
        padding,
        probe::{self, Kind},
    },
};

/// What is kept in memory of one recording, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// What is hashed at a time of a recording that has padding, in bytes.
const CHUNK: u64 = 64 << 10;
/// Bytes a second of a recording whose headers do not tell its length.
const GUESSED_RATE: u64 = 16_000;

/// Why a recording was not taken in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// It is longer than allowed.
    #[error("too large")]
    TooLarge,
    /// The sender left.
    #[error("cut")]
    Cut,
    /// No room for it here.
    #[error("could not be kept")]
    Disk(#[from] io::Error),
}

/// A recording on its way in.
#[derive(Debug)]
pub(super) struct Intake {
    max: u64,
    pub bytes: u64,
    hasher: Sha256,
    memory: Vec<u8>,
    spool: Option<File>,
}

impl Intake {
    /// At most `max` bytes are taken; `expected` of them were announced.
    pub(super) fn new(max: u64, expected: u64) -> Self {
        let memory = Vec::with_capacity(expected.min(IN_MEMORY as u64) as usize);
        Self { max, bytes: 0, hasher: Sha256::new(), memory, spool: None }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), NotTaken> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.max {
            return Err(NotTaken::TooLarge);
        }
        self.hasher.update(chunk);
        if let Some(file) = &mut self.spool {
            file.write_all(chunk)?;
        } else if self.memory.len() + chunk.len() <= IN_MEMORY {
            self.memory.extend_from_slice(chunk);
        } else {
            let mut file = tempfile::tempfile()?;
            file.write_all(&self.memory)?;
            file.write_all(chunk)?;
            self.memory = Vec::new();
            self.spool = Some(file);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Recording {
        let held = self.spool.map_or_else(|| KeptBody::Memory(self.memory), KeptBody::Spool);
        Recording { digest: self.hasher.finalize().into(), bytes: self.bytes, held }
    }

    /// Takes in all of `body`.
    pub(super) async fn read(&mut self, body: Body) -> Result<(), NotTaken> {
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            self.push(&chunk.map_err(|_| NotTaken::Cut)?)?;
        }
        Ok(())
    }
}

/// A recording that is all there.
#[derive(Debug)]
pub(super) struct Recording {
    pub digest: Digest,
    pub bytes: u64,
    held: KeptBody,
}

#[derive(Debug)]
enum KeptBody {
    Memory(Vec<u8>),
    Spool(File),
}

/// What the sandbox hears in a recording.
#[derive(Debug, Clone)]
pub(super) struct ReceivedRecording {
    /// Of the recording without its container's padding, by which clients tell their uploads apart: it is the same
    /// recording whatever padding it comes with.
    pub digest: Digest,
    /// The size without that padding, in bytes.
    pub content_bytes: u64,
    /// The size as it was sent, in bytes.
    pub bytes: u64,
    /// Length in milliseconds: of the headers, or guessed from the size.
    pub ms: u64,
    /// The comment, if it is a WAV that has one.
    pub comment: Option<String>,
    /// The words of the sandbox's voices in it, with their times.
    pub words: Vec<HeardWord>,
    /// Name of the file, for recordings named by URL.
    pub filename: Option<String>,
}

impl Recording {
    /// Its bytes, as far as they are in memory: all of them, where it is small.
    pub(super) fn memory(&self) -> &[u8] {
        match &self.held {
            KeptBody::Memory(bytes) => bytes,
            KeptBody::Spool(_) => &[],
        }
    }

    /// What is in it; or, where it is no audio, the name of what it is. `spoken` are the words that a sandbox spoke.
    pub(super) async fn hear(self, spoken: Arc<WordTable>) -> io::Result<Result<ReceivedRecording, &'static str>> {
        let whole = (self.digest, self.bytes);
        let hearing = move || match self.held {
            KeptBody::Memory(bytes) => {
                let mut reader = Cursor::new(bytes);
                let looked = look(&mut reader, whole)?;
                Ok((looked, listen(reader, &spoken)))
            }
            KeptBody::Spool(mut file) => {
                let looked = look(&mut file, whole)?;
                Ok((looked, listen(file, &spoken)))
            }
        };
        let heard: io::Result<_> = tokio::task::spawn_blocking(hearing).await.map_err(io::Error::other)?;
        let ((kind, heard), words) = heard?;
        Ok(if let Kind::NotAudio(name) = kind { Err(name) } else { Ok(ReceivedRecording { words, ..heard }) })
    }
}

/// The words of a sandbox's voices, if they are in it.
fn listen<R: MediaSource + 'static>(mut reader: R, spoken: &WordTable) -> Vec<HeardWord> {
    let mut listener = None;
    if reader.rewind().is_err() {
        return Vec::new();
    }
    // What cannot be decoded has no words.
    let _ = decode(reader, &mut |block| {
        let listener = listener.get_or_insert_with(|| Listener::new(spoken, block.rate));
        listener.push(&block.mono())
    });
    listener.map(Listener::finish).unwrap_or_default()
}

/// What a recording seems to be, and what is heard in it; its hash and size as it was sent are known.
fn look<R: Read + Seek>(reader: &mut R, (sent, bytes): (Digest, u64)) -> io::Result<(Kind, ReceivedRecording)> {
    let probe = probe::probe_reader(reader)?;
    let is_wav = probe.content_type == "audio/wav";
    let comment = is_wav.then(|| wav::read(reader).ok()).flatten().and_then(|wav| wav.comment);
    let (digest, content_bytes) = match padding::strip(reader) {
        Some(patch) => (hash(reader, &patch)?, patch.len()),
        None => (sent, bytes),
    };
    let ms = probe.length.ms().unwrap_or(bytes * 1000 / GUESSED_RATE);
    Ok((probe.kind, ReceivedRecording { digest, content_bytes, bytes, ms, comment, words: Vec::new(), filename: None }))
}

/// The hash of a recording with these edits.
fn hash<R: Read + Seek>(reader: &mut R, patch: &Patch) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    reader.seek(SeekFrom::Start(0))?;
    let mut at = 0;
    while at < patch.source_len() {
        let mut piece = Vec::new();
        reader.by_ref().take(CHUNK).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (from, piece) = (at, Bytes::from(piece));
        at += piece.len() as u64;
        hasher.update(patch.apply(from, piece).ok_or(io::ErrorKind::InvalidData)?);
    }
    Ok(hasher.finalize().into())
}

/// Fetches the recording at `url`; an `Err` says what a client may be told.
pub(super) async fn fetch(client: &reqwest::Client, url: &str, max: u64, wait: Duration) -> Result<Recording, String> {
    let fetched = tokio::time::timeout(wait, async {
        let response = client.get(url).send().await.map_err(|e| e.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(format!("its server answered {}", response.status()));
        }
        let mut intake = Intake::new(max, response.content_length().unwrap_or_default());
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| e.without_url().to_string())?;
            intake.push(&chunk).map_err(|e| e.to_string())?;
        }
        Ok(intake.finish())
    });
    fetched.await.unwrap_or_else(|_| Err("its server takes too long".into()))
}

/// What is "heard" at a URL that is not fetched: all from the URL itself.
pub(super) fn imagine(url: &str) -> ReceivedRecording {
    let digest: Digest = Sha256::digest(url).into();
    let ms = 3_000 + u64::from(digest[0]) * 100;
    let bytes = ms * GUESSED_RATE / 1000;
    ReceivedRecording { digest, content_bytes: bytes, bytes, ms, comment: None, words: Vec::new(), filename: None }
}
