//! What a synthesis batch is asked for, from what a file says, the command line, and the defaults.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::civil::Date;

use super::super::{
    TaskDefinition,
    build::Builder,
    pronunciations::{self, Pronunciations},
    targets::local,
    template::Template,
};
use super::{SynthesisDraft, Synthesizing};
use crate::domain::{
    extra::Extra,
    options::ExpireContent,
    synthesis::{self, Dictionary, OutputFormat, Pause, Synthesis, SynthesisOption, Transport, default_name},
    synthesis_options::{AudioFormat, PART_CHARS, Speed, SynthesisOptions, TtsModel},
};

impl Builder<'_> {
    /// And whether lines can be judged by it: without a model, their options cannot.
    pub(in super::super) fn synthesizing(
        &mut self,
        said: &SynthesisDraft,
        date: Option<Date>,
    ) -> (TaskDefinition, bool) {
        let text = self.over.synthesis.text_column.as_ref().or(said.text.as_ref());
        let text_column = self.column("columns.text", text, date);
        let text_file_column = self.column("columns.text_file", said.text_file.as_ref(), date);
        let option_columns = self.option_columns(said.option_columns.clone(), SynthesisOption::ALL);
        let (dictionary, pronunciations) = self.pronunciations(said).unzip();
        let (synthesis, judged) = self.synthesis(said, dictionary);
        let no_reuse = self.over.synthesis.no_reuse;
        let asked = Synthesizing { synthesis, text_column, text_file_column, option_columns, pronunciations, no_reuse };
        (TaskDefinition::Synthesize(Box::new(asked)), judged)
    }

    fn synthesis(&mut self, said: &SynthesisDraft, dictionary: Option<Dictionary>) -> (Synthesis, bool) {
        let mut options = said.options.clone();
        self.set_options("synthesize", |option, text| options.set(option, text));
        self.missing("synthesize.model", options.model.is_none(), "model = \"lightning_v3.1\"");
        let voices = self.voices(said);
        options.voice_id = None;
        let formats = self.output_formats(said);
        let name = self.name_of_outputs(said).unwrap_or_else(|| default_name(&voices, &formats));
        let flags = &self.over.synthesis;
        let mut captions = Vec::new();
        for caption in flags.captions.as_ref().or(said.captions.as_ref()).into_iter().flatten() {
            if !captions.contains(caption) {
                captions.push(*caption);
            }
        }
        let part_chars = flags.part_chars.map(|chars| {
            let checked = synthesis::part_chars(chars);
            checked.map_err(|message| self.fault("synthesize.part_chars", message)).unwrap_or(PART_CHARS)
        });
        let pause = Pause::default();
        let model = options.model.unwrap_or(TtsModel::LightningPro);
        let base = SynthesisOptions { voice_id: voices.first().cloned().unwrap_or_default(), ..spoken_by(model) };
        let synthesis = Synthesis {
            options: options.apply(&base),
            voices,
            formats,
            name,
            part_chars: part_chars.or(said.part_chars).unwrap_or(PART_CHARS),
            pause: Pause {
                sentence_ms: said.sentence_ms.unwrap_or(pause.sentence_ms),
                paragraph_ms: said.paragraph_ms.unwrap_or(pause.paragraph_ms),
            },
            max_chars_per_second: said.max_chars_per_second.unwrap_or(Synthesis::MAX_CHARS_PER_SECOND),
            captions,
            dictionary,
            transport: said.transport.unwrap_or(Transport::Auto),
            origin: None,
        };
        let judged = options.model.is_some();
        for fault in synthesis.faults().into_iter().filter(|_| judged) {
            self.fault(&format!("synthesize.{}", fault.field), fault.message);
        }
        (synthesis, judged)
    }

    /// The voices that are asked for; there may be none, where each line has its own.
    fn voices(&mut self, said: &SynthesisDraft) -> Vec<String> {
        if let Some(flag) = &self.over.synthesis.voices {
            return flag.clone();
        }
        if said.voices.is_some() && said.options.voice_id.is_some() {
            self.fault("synthesize.voices", "goes in place of `voice_id`; leave one of them out");
        }
        match &said.voices {
            Some(voices) => {
                if voices.is_empty() {
                    self.fault("synthesize.voices", "names no voice");
                }
                voices.clone()
            }
            None => said.options.voice_id.iter().cloned().collect(),
        }
    }

    fn output_formats(&mut self, said: &SynthesisDraft) -> Vec<OutputFormat> {
        let Some(flag) = &self.over.formats else {
            return said.formats.clone().unwrap_or_else(|| vec![OutputFormat::of(AudioFormat::Wav)]);
        };
        let mut formats = Vec::new();
        for name in flag {
            match AudioFormat::named(name) {
                // What the file says of its rate and ending still holds.
                Ok(format) => match said.formats.iter().flatten().filter(|own| own.format == format) {
                    own if own.clone().count() > 0 => formats.extend(own.cloned()),
                    _ => formats.push(OutputFormat::of(format)),
                },
                Err(message) => self.fault("synthesize.formats", message),
            }
        }
        // Then it names some, if not rightly.
        if formats.is_empty() && !flag.is_empty() { vec![OutputFormat::of(AudioFormat::Wav)] } else { formats }
    }

    fn name_of_outputs(&mut self, said: &SynthesisDraft) -> Option<String> {
        let name = self.over.synthesis.name.as_ref().or(said.name.as_ref())?;
        match Template::parse(name) {
            Ok(_) => Some(name.clone()),
            Err(fault) => {
                self.fault("synthesize.name", fault.to_string());
                None
            }
        }
    }

    /// The dictionary's file, read: what is wrong with it is told together with all else.
    fn pronunciations(&mut self, said: &SynthesisDraft) -> Option<(Dictionary, Pronunciations)> {
        let (path, base) = match (&self.over.synthesis.pronunciations, &said.pronunciations) {
            (Some(flag), _) => (flag, PathBuf::new()),
            (None, said) => (said.as_ref()?, self.base.clone()),
        };
        let field = "synthesize.pronunciations";
        let file = match local(path, self.cwd.join(&base)) {
            Ok(file) => file,
            Err(message) => {
                self.fault(field, message);
                return None;
            }
        };
        if !Path::new(&file).is_file() {
            self.fault(field, format!("`{}`: there is no such file", base.join(path).display()));
            return None;
        }
        match pronunciations::read_shown(Path::new(&file), &base.join(path).to_string_lossy()) {
            Ok(words) => {
                let dictionary = Dictionary { file, hash: words.hex(), words: words.items.clone().into(), id: None };
                Some((dictionary, words))
            }
            Err(faults) => {
                self.others.extend(faults);
                None
            }
        }
    }
}

/// The defaults of everything but the model, which has none.
const fn spoken_by(model: TtsModel) -> SynthesisOptions {
    SynthesisOptions {
        model,
        voice_id: String::new(),
        language: None,
        speed: Speed::NORMAL,
        number_pronunciation_language: None,
        math_notation: false,
        expire_content: ExpireContent::No,
        extra: Extra { query: BTreeMap::new(), body: BTreeMap::new() },
    }
}
