//! What a transcription batch is asked for, from what a file says, the command line, and the defaults.

use std::{fs, io};

use jiff::civil::Date;

use super::{
    NoSource, Place, TaskDefinition, Transcribing, build::Builder, draft::Draft, paths::io_message, targets::local,
};
use crate::domain::{
    batch::LineOption,
    extra::Extra,
    keywords::Keywords,
    options::{ExpireContent, Language, Redact, SendMode, SttModel, TranscribeOptions, TranscriptFormat, WebhookMode},
};

impl Builder<'_> {
    pub(super) fn transcribing(&mut self, draft: &Draft, date: Option<Date>) -> TaskDefinition {
        let options = self.options(draft);
        let formats = self.formats(draft);
        let source = self.over.source_column.as_ref().or(draft.source.as_ref());
        let source_column = self.column("columns.source", source, date);
        let option_columns = self.option_columns(draft.option_columns.clone(), LineOption::ALL);
        TaskDefinition::Transcribe(Box::new(Transcribing {
            // With options that are wrong themselves, a line's cannot be judged.
            option_columns: if options.is_some() { option_columns } else { Vec::new() },
            options: options.unwrap_or_else(|| options_of(SttModel::Pulse, Language::EN)),
            formats,
            webhook: draft.webhook.unwrap_or(WebhookMode::Auto),
            source_column,
            no_source: self.over.no_source.or(draft.no_source).unwrap_or(NoSource::Fault),
            name_pattern: draft.name_pattern.clone(),
        }))
    }

    fn options(&mut self, draft: &Draft) -> Option<TranscribeOptions> {
        let mut said = draft.options.clone();
        if let Some(file) = &draft.keywords_file {
            said.keywords = self.keywords_of(file);
        }
        self.set_options("transcribe", |option, text| said.set(option, text));
        for (field, missing, example) in [
            ("transcribe.model", said.model.is_none(), "model = \"pulse\""),
            ("transcribe.language", said.language.is_none(), "language = \"en\""),
        ] {
            self.missing(field, missing, example);
        }
        let options = said.apply(&options_of(said.model?, said.language?));
        for fault in options.faults() {
            self.fault(&format!("transcribe.{}", fault.field), fault.message);
        }
        Some(options)
    }

    /// The words of a file; what is wrong with it is a fault.
    fn keywords_of(&mut self, file: &str) -> Option<Keywords> {
        /// No list of a hundred words comes near this; a recording named by mistake does.
        const LIMIT: u64 = 1 << 16;
        let field = "transcribe.keywords";
        let shown = self.base.join(file);
        let read = local(file, self.cwd.join(&self.base)).and_then(|path| match fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => Err("is no file".to_owned()),
            Ok(meta) if meta.len() > LIMIT => Err("has over 64 KiB, and so is no list of words".to_owned()),
            Ok(_) => fs::read(&path).map_err(|e| io_message(&e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err("there is no such file; words themselves are written as a list, [\"Northwind:2\", \"GST\"]"
                    .to_owned())
            }
            Err(e) => Err(io_message(&e)),
        });
        let words = read.and_then(|bytes| {
            let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
            Keywords::of_lines(&text)
        });
        words.map_err(|message| self.fault(field, format!("`{}`: {message}", shown.display()))).ok()
    }

    fn formats(&mut self, draft: &Draft) -> Vec<TranscriptFormat> {
        let default = vec![TranscriptFormat::Json, TranscriptFormat::Txt];
        let mut asked = draft.formats.clone().unwrap_or(default);
        if let Some(flag) = &self.over.formats {
            let named = |name: &String| name.parse().map_err(|e: crate::domain::options::NotListed| e.to_string());
            let (taken, wrong): (Vec<_>, Vec<_>) = flag.iter().map(named).partition(Result::is_ok);
            asked = taken.into_iter().flatten().collect();
            wrong.into_iter().filter_map(Result::err).for_each(|message| self.fault("transcribe.formats", message));
        }
        let is_wrong = |place: &Option<Place>| match place {
            Some(Place::Field(name)) => name == "transcribe.formats",
            Some(Place::Flag(name)) => name == "--formats",
            _ => false,
        };
        if asked.is_empty() && !self.faults.iter().any(|fault| is_wrong(&fault.place)) {
            self.fault("transcribe.formats", "names no format: nothing would be written");
        }
        let mut formats = Vec::new();
        asked.into_iter().for_each(|format| {
            if !formats.contains(&format) {
                formats.push(format)
            }
        });
        formats
    }
}

/// The defaults of everything but model and language, which have none.
fn options_of(model: SttModel, language: Language) -> TranscribeOptions {
    TranscribeOptions {
        model,
        language,
        word_timestamps: None,
        diarize: false,
        redact_pii: false,
        redact_pci: false,
        redact: Redact::Strict,
        emotion_detection: false,
        gender_detection: false,
        expire_content: ExpireContent::No,
        allow_silence: false,
        send: SendMode::Auto,
        keywords: Keywords::default(),
        extra: Extra::default(),
    }
}
