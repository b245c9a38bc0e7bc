//! Builds the options of a synthesis batch from the file, the command line and the defaults.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::civil::Date;

use super::{
    draft::{SynthesisDraft, Voices},
    flags::{CAPTIONS, NAME, NO_REUSE, PART_CHARS as PART_CHARS_FLAG, PRONUNCIATIONS, TEXT_COLUMN, VOICE_ID},
};
use crate::{
    definition::{
        Built, Fault, NoSource, Synthesizing, Template,
        build::Builder,
        pronunciations::{self, Pronunciations},
        prose::MarkdownReading,
        targets::local,
    },
    domain::{
        extra::Extra,
        options::ExpireContent,
        synthesis::{
            self, CaptionFormat, Dictionary, OutputFormat, Pause, Synthesis, SynthesisOption, Transport, default_name,
        },
        synthesis_options::{AudioFormat, PART_CHARS, Speed, SynthesisOptions, TtsLanguage, TtsModel},
    },
};

/// Lines can be judged by the result unless it has no model: their options need one.
pub(super) fn build(said: &SynthesisDraft, on: &mut Builder<'_>, date: Option<Date>) -> Built {
    let over = on.over;
    let text = over.flags.one(TEXT_COLUMN).or(over.column("text")).or(said.text.as_ref());
    let text_file = over.column("text_file").or(said.text_file.as_ref());
    let mapped = on.mapped(&said.mapped, &["text", "text_file", TEXT_IN]);
    let text_columns = text_columns(said, on, date);
    let text_column = on.column("columns.text", text, date);
    let text_file_column = on.column("columns.text_file", text_file, date);
    let option_columns = on.option_columns(said.option_columns.clone(), SynthesisOption::ALL);
    let (dictionary, pronunciations) = said.pronunciations(on).unzip();
    let (synthesis, judged) = said.synthesis(on, dictionary, text_columns.keys().copied().collect());
    let is_mapped = |option| mapped.iter().any(|(own, _)| *own == option);
    if !text_columns.is_empty() {
        refuse_one_text(on, [(text, "text"), (text_file, "text_file")]);
        refuse_one_language(on, &synthesis, is_mapped(SynthesisOption::Language));
    }
    let no_reuse = on.over.flags.has(NO_REUSE);
    let voices_by_language = match &said.voices {
        Some(Voices::ByLanguage(voices)) if on.over.flags.all(VOICE_ID).is_none() => voices.clone(),
        _ => BTreeMap::new(),
    };
    let no_text = said.no_text.unwrap_or(NoSource::Fault);
    let markdown = said.markdown.unwrap_or(MarkdownReading::Prose);
    let asked = Synthesizing {
        synthesis,
        text_column,
        text_file_column,
        text_columns,
        option_columns,
        mapped,
        pronunciations,
        voices_by_language,
        no_text,
        markdown,
        no_reuse,
    };
    Built { task: Arc::new(asked), judged }
}

/// What `--column` calls the text in a language: `text.en`.
const TEXT_IN: &str = "text.";

/// The columns of the text in each language: those of the file, and those that `--column text.en=…` names in their place.
fn text_columns(said: &SynthesisDraft, on: &mut Builder<'_>, date: Option<Date>) -> BTreeMap<TtsLanguage, Template> {
    let mut columns = BTreeMap::new();
    for (language, column) in &said.text_columns {
        columns.extend(on.column("text_columns", Some(column), date).map(|column| (*language, column)));
    }
    let over = on.over;
    for (name, column) in &over.columns {
        let Some(language) = name.strip_prefix(TEXT_IN) else { continue };
        match language.parse::<TtsLanguage>() {
            Ok(language) => {
                let field = format!("columns.{name}");
                columns.extend(on.column(&field, Some(column), date).map(|column| (language, column)));
            }
            Err(fault) => on.faults.push(Fault::of_flag("column", fault.to_string())),
        }
    }
    columns
}

/// Refuses a column of the one text of a line beside those by language.
fn refuse_one_text(on: &mut Builder<'_>, columns: [(Option<&String>, &str); 2]) {
    for (column, name) in columns {
        if let Some(column) = column {
            let message = format!(
                "stands beside text_columns, where each language has a text of its own; leave `{name}` out, or write its column into text_columns: {{ en = \"{column}\", … }}"
            );
            on.fault(&format!("columns.{name}"), message);
        }
    }
}

/// Refuses a language for whole lines beside texts that each have their own.
fn refuse_one_language(on: &mut Builder<'_>, synthesis: &Synthesis, is_mapped: bool) {
    if is_mapped {
        let message = "stands beside text_columns, where each text has the language of its column; leave `language` out of `columns`";
        on.fault("columns.language", message);
    }
    if let Some(language) = synthesis.options.language.filter(|own| !synthesis.languages.contains(own)) {
        let known: Vec<_> = synthesis.languages.iter().map(|language| format!("`{language}`")).collect();
        let message = format!(
            "no text has the language `{language}`: text_columns has {}, and each text has the language of its column; leave `language` out, or add `{language}` to text_columns",
            known.join(", ")
        );
        on.fault("synthesize.language", message);
    }
}

impl SynthesisDraft {
    fn synthesis(
        &self,
        on: &mut Builder<'_>,
        dictionary: Option<Dictionary>,
        languages: Vec<TtsLanguage>,
    ) -> (Synthesis, bool) {
        let mut options = self.options.clone();
        on.set_options("synthesize", |option, text| options.set(option, text));
        on.missing("synthesize.model", options.model.is_none(), "model = \"lightning_v3.1\"");
        let voices = self.voices(on);
        options.voice_id = None;
        let formats = self.output_formats(on);
        let by_language = match &self.voices {
            Some(Voices::ByLanguage(by_language)) if voices.is_empty() => {
                by_language.values().max_by_key(|own| own.len())
            }
            _ => None,
        };
        let named = by_language.unwrap_or(&voices);
        let name = self.name_of_outputs(on).unwrap_or_else(|| default_name(&languages, named, &formats));
        let captions = self.captions(on);
        let part_chars = on.over.flags.one(PART_CHARS_FLAG).map(|text| {
            let chars = text.parse::<u32>().map_err(|e| format!("`{text}`: {e}"));
            let checked = chars.and_then(synthesis::part_chars);
            checked.map_err(|message| on.fault("synthesize.part_chars", message)).unwrap_or(PART_CHARS)
        });
        let pause = Pause::default();
        let model = options.model.unwrap_or(TtsModel::LightningPro);
        let base = SynthesisOptions { voice_id: voices.first().cloned().unwrap_or_default(), ..spoken_by(model) };
        let synthesis = Synthesis {
            options: options.apply(&base),
            voices,
            languages,
            formats,
            name,
            part_chars: part_chars.or(self.part_chars).unwrap_or(PART_CHARS),
            pause: Pause {
                sentence_ms: self.sentence_ms.unwrap_or(pause.sentence_ms),
                paragraph_ms: self.paragraph_ms.unwrap_or(pause.paragraph_ms),
                heading_ms: self.heading_ms.unwrap_or(pause.heading_ms),
                break_ms: self.break_ms.unwrap_or(pause.break_ms),
            },
            max_chars_per_second: self.max_chars_per_second.unwrap_or(Synthesis::MAX_CHARS_PER_SECOND),
            checks: self.checks,
            captions,
            dictionary,
            transport: self.transport.unwrap_or(Transport::Auto),
            origin: None,
        };
        let judged = options.model.is_some();
        for fault in synthesis.faults().into_iter().filter(|_| judged) {
            on.fault(&format!("synthesize.{}", fault.field), fault.message);
        }
        (synthesis, judged)
    }

    /// The requested captions, without duplicates.
    fn captions(&self, on: &mut Builder<'_>) -> Vec<CaptionFormat> {
        let mut captions = Vec::new();
        let mut add = |caption: CaptionFormat| {
            if !captions.contains(&caption) {
                captions.push(caption);
            }
        };
        match on.over.flags.all(CAPTIONS) {
            None => self.captions.iter().flatten().copied().for_each(add),
            Some(flag) => {
                for text in flag {
                    match text.parse::<CaptionFormat>() {
                        Ok(caption) => add(caption),
                        Err(fault) => on.fault("synthesize.captions", fault.to_string()),
                    }
                }
            }
        }
        captions
    }

    /// The requested voices; there may be none, if each line has its own.
    fn voices(&self, on: &mut Builder<'_>) -> Vec<String> {
        if let Some(flag) = on.over.flags.all(VOICE_ID) {
            return flag.to_vec();
        }
        if self.voices.is_some() && self.options.voice_id.is_some() {
            on.fault("synthesize.voices", "goes in place of `voice_id`; leave one of them out");
        }
        match &self.voices {
            // Each line has those of its language.
            Some(Voices::ByLanguage(_)) => Vec::new(),
            Some(Voices::All(voices)) => {
                if voices.is_empty() {
                    on.fault("synthesize.voices", "names no voice");
                }
                voices.clone()
            }
            None => self.options.voice_id.iter().cloned().collect(),
        }
    }

    fn output_formats(&self, on: &mut Builder<'_>) -> Vec<OutputFormat> {
        let Some(flag) = &on.over.formats else {
            return self.formats.clone().unwrap_or_else(|| vec![OutputFormat::of(AudioFormat::Wav)]);
        };
        let mut formats = Vec::new();
        for name in flag {
            match AudioFormat::named(name) {
                // The rate and ending in the file still apply.
                Ok(format) => match self.formats.iter().flatten().filter(|own| own.format == format) {
                    own if own.clone().count() > 0 => formats.extend(own.cloned()),
                    _ => formats.push(OutputFormat::of(format)),
                },
                Err(message) => on.fault("synthesize.formats", message),
            }
        }
        // The file names some formats, although wrong ones.
        if formats.is_empty() && !flag.is_empty() { vec![OutputFormat::of(AudioFormat::Wav)] } else { formats }
    }

    fn name_of_outputs(&self, on: &mut Builder<'_>) -> Option<String> {
        let name = on.over.flags.one(NAME).or(self.name.as_ref())?;
        match Template::parse(name) {
            Ok(_) => Some(name.clone()),
            Err(fault) => {
                on.fault("synthesize.name", fault.to_string());
                None
            }
        }
    }

    /// Reads the dictionary's file; its faults are reported together with all others.
    fn pronunciations(&self, on: &mut Builder<'_>) -> Option<(Dictionary, Pronunciations)> {
        let (path, base) = match (on.over.flags.one(PRONUNCIATIONS), &self.pronunciations) {
            (Some(flag), _) => (flag, PathBuf::new()),
            (None, file) => (file.as_ref()?, on.base.clone()),
        };
        let field = "synthesize.pronunciations";
        let file = match local(path, on.cwd.join(&base)) {
            Ok(file) => file,
            Err(message) => {
                on.fault(field, message);
                return None;
            }
        };
        if !Path::new(&file).is_file() {
            on.fault(field, format!("`{}`: there is no such file", base.join(path).display()));
            return None;
        }
        match pronunciations::read_shown(Path::new(&file), &base.join(path).to_string_lossy()) {
            Ok(words) => {
                let dictionary = Dictionary { file, hash: words.hex(), words: words.items.clone().into(), id: None };
                Some((dictionary, words))
            }
            Err(faults) => {
                on.others.extend(faults);
                None
            }
        }
    }
}

/// The defaults of all options but the model, which has none.
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
