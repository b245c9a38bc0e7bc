//! A synthesis batch's definition from what a file says and the defaults.

use std::path::Path;

use super::super::{
    BadLines, Faults, Origin, Overrides,
    build::{self, Builder},
    draft::Asked,
    manifest::texts::Texts,
    prose::ProseKind,
    targets::local,
    template::Template,
};
use super::{SpeechDefinition, SpeechDraft};
use crate::domain::{
    options::ExpireContent,
    speech::{AudioFormat, MAX_PART_CHARS, SpeechModel, SpeechOptions, Speed},
    synthesis::{OutputFormat, Pause, SpeechOption, Synthesis, Transport, default_name},
};

pub(super) fn from_file(path: &Path, over: &Overrides) -> Result<SpeechDefinition, Faults> {
    let (mut builder, mut draft) = build::open(path, over, Asked::Speech)?;
    let said = std::mem::take(&mut draft.speech);
    if !builder.in_file("task") {
        builder.fault("task", "is missing; e.g. task = \"synthesize\"");
    }
    let synthesis = builder.synthesis(&said);
    let origin = draft.manifest.as_deref().and_then(|manifest| builder.one_text(manifest));
    let mut shared = builder.definition(draft, origin, None, Vec::new());
    shared.filters.texts = true;
    if let Origin::S3Prefix(_) = shared.origin {
        let message = "a prefix's texts cannot be read from the store; copy them to a directory, or name a manifest with a column `text`";
        builder.fault("manifest", message);
    }
    let text_column = builder.column("columns.text", said.text.as_ref(), shared.date);
    let text_file_column = builder.column("columns.text_file", said.text_file.as_ref(), shared.date);
    let none_asked = over.option_columns.as_ref().is_some_and(Vec::is_empty);
    let all = || SpeechOption::ALL.to_vec();
    let option_columns = if none_asked { Vec::new() } else { said.option_columns.unwrap_or_else(all) };
    let faulty = builder.is_faulty();
    if faulty {
        shared.bad_lines = BadLines::Fault;
    }
    match synthesis {
        Some(synthesis) => {
            let definition = SpeechDefinition { shared, synthesis, text_column, text_file_column, option_columns };
            let scan = || Texts::open(&definition, None).and_then(|texts| texts.scan().map(drop)).err();
            if faulty { Err(builder.all_faults(&definition.shared, scan)) } else { Ok(definition) }
        }
        // Without a model a line's options cannot be judged.
        None => Err(builder.all_faults(&shared, || None)),
    }
}

impl Builder<'_> {
    /// A manifest that is a text itself, and no list: `chapter.md`.
    fn one_text(&self, manifest: &str) -> Option<Origin> {
        let path = self.cwd.join(&self.base).join(manifest);
        let is_one = ProseKind::of_path(manifest) == Some(ProseKind::Markdown) && path.is_file();
        let path = is_one.then(|| std::path::absolute(path).ok()).flatten()?;
        Some(Origin::Files(vec![path.into_os_string().into_string().ok()?]))
    }

    fn synthesis(&mut self, said: &SpeechDraft) -> Option<Synthesis> {
        if said.options.model.is_none() && !self.in_file("synthesize.model") {
            self.fault("synthesize.model", "is missing; e.g. model = \"lightning_v3.1\"");
        }
        let voices = self.voices(said);
        let formats = said.formats.clone().unwrap_or_else(|| vec![OutputFormat::of(AudioFormat::Wav)]);
        let name = self.name_of_outputs(said).unwrap_or_else(|| default_name(&voices, &formats));
        let pronunciations = said.pronunciations.as_ref().and_then(|path| {
            let base = self.cwd.join(&self.base);
            local(path, base).map_err(|message| self.fault("synthesize.pronunciations", message)).ok()
        });
        let mut captions = Vec::new();
        for caption in said.captions.iter().flatten() {
            if !captions.contains(caption) {
                captions.push(*caption);
            }
        }
        let pause = Pause::default();
        let base =
            SpeechOptions { voice_id: voices.first().cloned().unwrap_or_default(), ..spoken_by(said.options.model?) };
        let synthesis = Synthesis {
            options: said.options.apply(&base),
            voices,
            formats,
            name,
            part_chars: said.part_chars.unwrap_or(MAX_PART_CHARS),
            pause: Pause {
                sentence_ms: said.sentence_ms.unwrap_or(pause.sentence_ms),
                paragraph_ms: said.paragraph_ms.unwrap_or(pause.paragraph_ms),
            },
            max_chars_per_second: said.max_chars_per_second.unwrap_or(Synthesis::MAX_CHARS_PER_SECOND),
            captions,
            dictionary: pronunciations.map(|file| crate::domain::synthesis::Dictionary {
                file,
                hash: String::new(),
                id: None,
            }),
            transport: said.transport.unwrap_or(Transport::Auto),
        };
        for fault in synthesis.faults() {
            self.fault(&format!("synthesize.{}", fault.field), fault.message);
        }
        Some(synthesis)
    }

    /// The voices that are asked for; there may be none, where each line has its own.
    fn voices(&mut self, said: &SpeechDraft) -> Vec<String> {
        match (&said.voices, &said.options.voice_id) {
            (Some(_), Some(_)) => {
                self.fault("synthesize.voices", "goes in place of `voice_id`; leave one of them out");
                Vec::new()
            }
            (Some(voices), None) => {
                if voices.is_empty() {
                    self.fault("synthesize.voices", "names no voice");
                }
                voices.clone()
            }
            (None, voice) => voice.iter().cloned().collect(),
        }
    }

    fn name_of_outputs(&mut self, said: &SpeechDraft) -> Option<String> {
        let name = said.name.as_ref()?;
        match Template::parse(name) {
            Ok(_) => Some(name.clone()),
            Err(fault) => {
                self.fault("synthesize.name", fault.to_string());
                None
            }
        }
    }
}

/// The defaults of everything but the model, which has none.
const fn spoken_by(model: SpeechModel) -> SpeechOptions {
    SpeechOptions {
        model,
        voice_id: String::new(),
        language: None,
        speed: Speed::NORMAL,
        number_pronunciation_language: None,
        math_notation: false,
        expire_content: ExpireContent::No,
    }
}
