//! What a transcription batch is asked for, from what a file says, the command line, and the defaults.

use jiff::civil::Date;

use super::{NoSource, Place, TaskDefinition, Transcribing, build::Builder, draft::Draft};
use crate::domain::{
    batch::LineOption,
    options::{ExpireContent, Language, Redact, SendMode, SttModel, TranscribeOptions, TranscriptFormat, WebhookMode},
};

impl Builder<'_> {
    pub(super) fn transcribing(&mut self, draft: &Draft, date: Option<Date>) -> TaskDefinition {
        let options = self.options(draft);
        let formats = self.formats(draft);
        let source = self.over.source_column.as_ref().or(draft.source.as_ref());
        let source_column = self.column("columns.source", source, date);
        let option_columns = self.option_columns(draft.option_columns.clone(), LineOption::ALL);
        TaskDefinition::Transcribe(Transcribing {
            // With options that are wrong themselves, a line's cannot be judged.
            option_columns: if options.is_some() { option_columns } else { Vec::new() },
            options: options.unwrap_or_else(|| options_of(SttModel::Pulse, Language::EN)),
            formats,
            webhook: self.webhook(draft),
            source_column,
            no_source: self.over.no_source.or(draft.no_source).unwrap_or(NoSource::Fault),
            name_pattern: draft.name_pattern.clone(),
        })
    }

    fn options(&mut self, draft: &Draft) -> Option<TranscribeOptions> {
        let mut said = draft.options;
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

    fn webhook(&mut self, draft: &Draft) -> WebhookMode {
        let mode = draft.webhook.unwrap_or(WebhookMode::Auto);
        if mode == WebhookMode::Always && draft.options.model == Some(SttModel::Pulse) {
            self.fault("transcribe.webhook", "`pulse` posts no answers; take `pulse-pro`, or leave it at \"auto\"");
        }
        mode
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
        word_timestamps: false,
        diarize: false,
        redact_pii: false,
        redact_pci: false,
        redact: Redact::Strict,
        emotion_detection: false,
        gender_detection: false,
        expire_content: ExpireContent::No,
        allow_silence: false,
        send: SendMode::Auto,
    }
}
