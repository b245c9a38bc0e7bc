//! The outputs of a line: each of its voices in each format, and the name of each output.

use super::{columns::TextColumns, output_name::Of};
use crate::{
    definition::{Synthesizing, manifest::Record, text::excerpt},
    domain::{
        key::Key,
        synthesis::{Rendition, SynthesisOverrides},
        synthesis_options::TtsLanguage,
    },
};

/// A line's outputs, by voice and format.
pub(super) fn outputs(
    asked: &Synthesizing,
    columns: &TextColumns,
    record: &Record,
    key: &str,
    own: &SynthesisOverrides,
    voices: &[String],
) -> Result<Vec<Rendition>, String> {
    let synthesis = &asked.synthesis;
    let mut outputs: Vec<Rendition> = Vec::with_capacity(voices.len() * synthesis.formats.len());
    for voice in voices {
        let overrides = SynthesisOverrides { voice_id: Some(voice.clone()), ..own.clone() };
        let options = overrides.apply(&synthesis.options);
        for format in &synthesis.formats {
            let name = columns.name.text(record, key, &options, format);
            Key::check(&name).map_err(|fault| {
                let rule =
                    fault.to_string().replacen("a key", "a name", 1).replace("cannot be keys", "cannot be names");
                format!("its output would be called `{}`: {rule}", excerpt(&name))
            })?;
            let captions = !synthesis.captions.is_empty() && outputs.iter().all(|other| other.name != name);
            let (overrides, format, no_reuse) = (overrides.clone(), format.clone(), asked.no_reuse);
            outputs.push(Rendition { overrides, format, name, captions, no_reuse, left_out: None });
        }
    }
    Ok(outputs)
}

/// An output, and the line's values that its name may depend on.
pub(super) struct Named<'l> {
    pub(super) output: &'l Rendition,
    pub(super) key: &'l str,
    pub(super) language: Option<TtsLanguage>,
}

/// The change to `name` that distinguishes two outputs.
pub(super) fn proposal(columns: &TextColumns, one: &Named<'_>, other: &Named<'_>) -> String {
    let (a, b) = (one.output, other.output);
    let of_language = (Of::Language, one.language != other.language);
    let differing = [
        (Of::Key, one.key != other.key),
        // Where a line has several texts, their voices differ, too.
        (Of::Language, columns.has_languages() && of_language.1),
        (Of::VoiceId, a.voice_id() != b.voice_id()),
        (Of::SampleRate, a.format.sample_rate != b.format.sample_rate),
        (Of::Format, a.format.format != b.format.format),
        of_language,
    ];
    match differing.iter().find(|(of, differs)| *differs && !columns.name.has(*of)) {
        Some((of, _)) => format!("add `{{{of}}}` to `name` in [synthesize]"),
        None => {
            "write something between the placeholders of `name`, so that they do not run into each other".to_owned()
        }
    }
}
