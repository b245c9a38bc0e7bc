//! Samples: what a clone is made of, looked at before it is sent.

use std::{fs, io::Cursor, path::PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    audio::{
        analyze::{ChannelHearing, HearSettings, Hearing, Layout, Target, convert, hear},
        wav,
    },
    domain::{causes::in_words, cuts::Cuts, hex::hex},
};

/// The largest sample, in bytes.
const LARGEST: u64 = 5 << 20;
/// The least speech of a sample, in ms.
const LEAST_SPEECH_MS: u64 = 5_000;
/// The most speech of a sample, in ms.
const MOST_SPEECH_MS: u64 = 15_000;
/// The silence between files that are joined, in ms.
const GAP_MS: usize = 300;
/// Samples a second of files that are joined.
const JOINED_RATE: u32 = 16_000;
/// A larger share of samples that are cut off is told.
const CLIPPED: f32 = 0.005;

/// A sample that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// Its file's name.
    pub(super) file_name: String,
    /// Its media type.
    pub(super) content_type: &'static str,
    /// The file.
    pub(super) bytes: Bytes,
    /// SHA-256 of the file, in hexadecimal.
    pub(super) sha256: String,
    /// How long somebody speaks, in ms.
    pub(super) speech_ms: u64,
    /// What could be better.
    pub(super) warnings: Vec<String>,
}

/// Looks at the files of a sample. Several are joined, in their order. Blocking.
///
/// # Errors
/// All that is wrong, each with its file.
pub(super) fn look_at(paths: &[PathBuf], settings: &HearSettings) -> Result<Sample, Vec<(String, String)>> {
    let mut faults = Vec::new();
    let mut heard = Vec::with_capacity(paths.len());
    for path in paths {
        match hear_one(path, settings) {
            Ok(one) => heard.push(one),
            Err(why) => faults.push((path.display().to_string(), why)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (first, name) =
        (&paths[0], paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" + "));
    let named = |why: String| (name.clone(), why);
    let speech_ms = heard.iter().map(Hearing::speech_ms).sum();
    faults.extend(wrong_speech(speech_ms).map(named));
    let content_type = match heard.as_slice() {
        [one] => content_type(&one.found.container),
        _ => Ok("audio/wav"),
    };
    let content_type = content_type.map_err(|why| faults.push(named(why))).unwrap_or_default();
    if !faults.is_empty() {
        return Err(faults);
    }
    let file = match heard.as_slice() {
        [_] => fs::read(first).map_err(|error| format!("it cannot be read: {error}")),
        _ => joined(paths, settings),
    };
    let file = file.map_err(|why| vec![named(why)])?;
    if file.len() as u64 > LARGEST {
        return Err(vec![named(too_large(file.len() as u64))]);
    }
    let stem = first.file_stem().map_or_else(|| "sample".into(), |stem| stem.to_string_lossy().into_owned());
    let file_name = match (heard.as_slice(), first.file_name()) {
        ([_], Some(own)) => own.to_string_lossy().into_owned(),
        _ => format!("{stem}.wav"),
    };
    let warnings = heard.iter().flat_map(|one| warning(&one.channels)).map(|why| format!("{name}: {why}")).collect();
    Ok(Sample { file_name, content_type, sha256: hex(&Sha256::digest(&file)), bytes: file.into(), speech_ms, warnings })
}

/// Listens to one file.
fn hear_one(path: &PathBuf, settings: &HearSettings) -> Result<Hearing, String> {
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}"),
    })?;
    if !meta.is_file() {
        return Err("it is no file".to_owned());
    }
    if meta.len() > LARGEST {
        return Err(too_large(meta.len()));
    }
    let heard = hear(path, settings, &|| false).map_err(|error| in_words(&error))?;
    wrong_with(&heard).map_or(Ok(heard), Err)
}

fn too_large(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mb = bytes as f64 / f64::from(1 << 20);
    format!("it has {mb:.1} MB, and 5 MB is the most; cut it, or write it as MP3")
}

/// What is wrong with a file, whatever its length.
fn wrong_with(heard: &Hearing) -> Option<String> {
    if let Some(broken) = &heard.broken {
        return Some(format!("it breaks after {}: {broken}", seconds(heard.length_ms)));
    }
    match &heard.layout {
        Layout::Silent => Some("nobody speaks in it".to_owned()),
        Layout::Apart { .. } => Some(
            "two people speak in it, one on each channel, and a clone is of one: keep one channel, e.g. ffmpeg -i IN -af pan=\"mono|c0=c0\" OUT.wav"
                .to_owned(),
        ),
        Layout::Many(channels) => Some(format!("it has {channels} channels, and a clone is of one person: keep one")),
        Layout::Mono | Layout::DualMono | Layout::OneSided { .. } => None,
    }
}

fn wrong_speech(speech_ms: u64) -> Option<String> {
    let has = seconds(speech_ms);
    match speech_ms {
        ms if ms < LEAST_SPEECH_MS => {
            Some(format!("it has {has} of speech, and 5 to 15 s are needed; several files become one sample"))
        }
        ms if ms > MOST_SPEECH_MS => Some(format!("it has {has} of speech, and 5 to 15 s are needed: cut it")),
        _ => None,
    }
}

/// The media type of a container that the API takes.
fn content_type(container: &str) -> Result<&'static str, String> {
    match container {
        "wav" => Ok("audio/wav"),
        "mp3" => Ok("audio/mpeg"),
        "mkv" => Ok("audio/webm"),
        "mp4" => Ok("audio/mp4"),
        other => Err(format!("it is {other}, and the API takes wav, mp3, webm and mp4; e.g. ffmpeg -i IN OUT.wav")),
    }
}

fn warning(channels: &[ChannelHearing]) -> Option<String> {
    let clipped = channels.iter().any(|heard| heard.clipped_share > CLIPPED);
    clipped.then(|| "it is so loud that it is cut off; the clone may sound so, too".to_owned())
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// All files one after the other, as WAV.
fn joined(paths: &[PathBuf], settings: &HearSettings) -> Result<Vec<u8>, String> {
    let mut samples: Vec<i16> = Vec::new();
    for path in paths {
        let mut out = Cursor::new(Vec::new());
        convert(path, settings, &Cuts::default(), Target::Wav16k, &mut out, &|| false)
            .map_err(|error| in_words(&error))?;
        out.set_position(0);
        let header = wav::read(&mut out).map_err(|error| error.to_string())?;
        let from = usize::try_from(header.data_offset).unwrap_or(usize::MAX);
        let data = out.get_ref().get(from..).unwrap_or_default();
        if !samples.is_empty() {
            samples.resize(samples.len() + JOINED_RATE as usize * GAP_MS / 1_000, 0);
        }
        samples.extend(data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    Ok(wav::pcm16(1, JOINED_RATE, None, &samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::analyze::{Break, Found};

    fn heard(layout: Layout) -> Hearing {
        Hearing {
            found: Found::default(),
            length_ms: 9_000,
            broken: None,
            notes: Vec::new(),
            channels: Vec::new(),
            layout,
            peak_ms: 500,
        }
    }

    #[test]
    fn what_is_wrong_with_a_sample_is_told() {
        let wrong = |layout| wrong_with(&heard(layout)).unwrap_or_default();
        assert_eq!(wrong(Layout::Silent), "nobody speaks in it");
        assert!(wrong(Layout::Apart { bleed: Vec::new() }).starts_with("two people speak in it"));
        assert!(wrong(Layout::Many(6)).starts_with("it has 6 channels"));
        for good in [Layout::Mono, Layout::DualMono, Layout::OneSided { speaks: 1 }] {
            assert_eq!(wrong_with(&heard(good)), None);
        }
        let broken = Hearing { broken: Some(Break::CutShort { declared_ms: 20_000 }), ..heard(Layout::Mono) };
        assert_eq!(wrong_with(&broken).unwrap(), "it breaks after 9.0 s: its header declares 20000 ms");
    }

    #[test]
    fn five_to_fifteen_seconds_of_speech_are_needed() {
        assert!(wrong_speech(4_950).unwrap().starts_with("it has 4.9 s of speech, and 5 to 15 s"));
        assert_eq!((wrong_speech(5_000), wrong_speech(15_000)), (None, None));
        assert!(wrong_speech(15_100).unwrap().ends_with("cut it"));
    }

    #[test]
    fn the_api_takes_four_containers() {
        assert_eq!(["wav", "mp3", "mkv", "mp4"].map(|one| content_type(one).is_ok()), [true; 4]);
        assert!(content_type("flac").unwrap_err().starts_with("it is flac"));
        assert!(too_large(6 << 20).starts_with("it has 6.0 MB"));
    }
}
