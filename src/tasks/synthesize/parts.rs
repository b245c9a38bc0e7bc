//! Lists every part of a manifest's texts as it would be bought.

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::records::rendition;
use crate::{
    definition::{
        Definition, Manifest, ManifestLine, ManifestRow, ScanDepth, Spooled, Synthesizing, manifest::JobDraft,
    },
    domain::{synthesis::ClipFormat, synthesis_options::SynthesisOptions},
    runner::intake::{IntakeError, PartPreview, Parts},
    store::KeptClips,
};

/// Parts that may be ready before they are taken.
const AHEAD: usize = 100;

/// Reads the manifest, and cuts every text, or only the text of one key.
pub(super) fn parts(
    definition: &Definition,
    copy: Option<&Spooled>,
    key: Option<&str>,
    audio_cache: Option<KeptClips>,
) -> Parts {
    let (out, parts) = mpsc::channel(AHEAD);
    let (definition, copy) = (definition.clone(), copy.cloned());
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
    audio_cache: Option<&KeptClips>,
    hand_out: &mut impl FnMut(PartPreview) -> bool,
) -> Result<(), IntakeError> {
    let Some(asked) = definition.synthesizing() else { return Ok(()) };
    let manifest = Manifest::open(definition, copy)?;
    let scan = manifest.scan(ScanDepth::Faults)?;
    for row in manifest.lines(&scan)? {
        let ManifestRow::Good(line) = row? else { continue };
        if key.is_some_and(|key| key != line.key.as_str()) {
            continue;
        }
        for jobs in line.by_text() {
            let wanted = cut(asked, (&line, jobs), audio_cache, hand_out)?;
            if !wanted {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Cuts one text of a line, for each of its purchases. Returns whether more parts are wanted.
fn cut(
    asked: &Synthesizing,
    (line, jobs): (&ManifestLine, &[JobDraft]),
    audio_cache: Option<&KeptClips>,
    hand_out: &mut impl FnMut(PartPreview) -> bool,
) -> Result<bool, IntakeError> {
    let Some(text) = jobs.iter().find_map(|job| job.text.as_deref()) else { return Ok(true) };
    let mut seen = Vec::new();
    for output in jobs.iter().filter_map(rendition) {
        let (bought, options) = (output.format.bought(), output.overrides.apply(&asked.synthesis.options));
        if seen.contains(&(output.voice_id().to_owned(), bought)) {
            continue;
        }
        seen.push((output.voice_id().to_owned(), bought));
        let language = options.language.filter(|_| !asked.text_columns.is_empty());
        let language = language.map(|language| format!("{language} ")).unwrap_or_default();
        // Numbered as everywhere: a part without words counts too.
        for (part, number) in asked.synthesis.parts(&options, text).zip(1..) {
            let cache_key = asked.synthesis.cache_key(&options, &part.text, bought);
            let is_pause = !part.has_words();
            let kept = audio_cache.map_or(Ok(false), |audio_cache| audio_cache.has(cache_key, bought.format))?;
            let part = PartPreview {
                line: line.number,
                key: line.key.to_string(),
                number,
                asked: format!("{language}{} {} at {} Hz", output.voice_id(), bought.format, bought.sample_rate),
                fields: fields_of(&options, bought),
                units: part.chars() as u64,
                is_pause,
                kept,
                text: part.text,
            };
            if !hand_out(part) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn fields_of(options: &SynthesisOptions, bought: ClipFormat) -> Map<String, Value> {
    let fields = [
        ("voice_id", json!(options.voice_id)),
        ("language", json!(options.language)),
        ("format", json!(bought.format)),
        ("sample_rate", json!(bought.sample_rate.hz())),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
