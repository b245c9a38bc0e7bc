//! Lists every part of a manifest's texts as it would be bought.

use tokio::sync::mpsc;

use super::records::rendition;
use crate::{
    definition::{Definition, Manifest, ManifestRow, ScanDepth, Spooled},
    domain::synthesis::ClipFormat,
    runner::intake::IntakeError,
    store::{AudioCache, Store},
};

/// Parts that may be ready before they are taken.
const AHEAD: usize = 100;

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartLine {
    /// Its line.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// The voice.
    pub voice_id: String,
    /// The format that is bought.
    pub bought: ClipFormat,
    /// Its number in the text, from 1.
    pub number: u64,
    /// Its length.
    pub characters: u64,
    /// Whether its clip is in the audio cache.
    pub kept: bool,
    /// The text that is sent.
    pub text: String,
}

/// The parts, as they are read.
pub type Parts = mpsc::Receiver<Result<PartLine, IntakeError>>;

/// Reads the manifest, and cuts every text, or only the text of one key.
pub fn parts(store: Option<&Store>, definition: &Definition, copy: Option<&Spooled>, key: Option<&str>) -> Parts {
    let (out, parts) = mpsc::channel(AHEAD);
    let (audio_cache, definition, copy) = (store.map(Store::audio_cache), definition.clone(), copy.cloned());
    let key = key.map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        let mut hand_out = |part| out.blocking_send(Ok(part)).is_ok();
        if let Err(error) = cut_all(&definition, copy.as_ref(), key.as_deref(), audio_cache.as_ref(), &mut hand_out) {
            let _ = out.blocking_send(Err(error));
        }
    });
    parts
}

fn cut_all(
    definition: &Definition,
    copy: Option<&Spooled>,
    key: Option<&str>,
    audio_cache: Option<&AudioCache>,
    hand_out: &mut impl FnMut(PartLine) -> bool,
) -> Result<(), IntakeError> {
    let Some(asked) = definition.synthesizing() else { return Ok(()) };
    let manifest = Manifest::open(definition, copy)?;
    let scan = manifest.scan(ScanDepth::Faults)?;
    for row in manifest.lines(&scan)? {
        let ManifestRow::Good(line) = row? else { continue };
        if key.is_some_and(|key| key != line.key.as_str()) {
            continue;
        }
        let Some(text) = line.jobs.iter().find_map(|job| job.text.as_deref()) else { continue };
        let mut seen = Vec::new();
        for output in line.jobs.iter().filter_map(rendition) {
            let (bought, options) = (output.format.bought(), output.overrides.apply(&asked.synthesis.options));
            if seen.contains(&(output.voice_id().to_owned(), bought)) {
                continue;
            }
            seen.push((output.voice_id().to_owned(), bought));
            // Numbered as everywhere: a part without words counts too.
            for (part, number) in asked.synthesis.parts(&options, text).zip(1..).filter(|(part, _)| part.has_words()) {
                let cache_key = asked.synthesis.cache_key(&options, &part.text, bought);
                let kept =
                    audio_cache.map_or(Ok(false), |audio_cache| audio_cache.is_kept(cache_key, bought.format))?;
                let part = PartLine {
                    line: line.number,
                    key: line.key.to_string(),
                    voice_id: output.voice_id().to_owned(),
                    bought,
                    number,
                    characters: part.chars() as u64,
                    kept,
                    text: part.text,
                };
                if !hand_out(part) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
