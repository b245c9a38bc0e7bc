//! `[transcribe]`, and the other fields of a definition that concern a transcription.

use std::{fs, io, path::Path, sync::Arc};

use jiff::civil::Date;
use regex::Regex;
use toml::de::DeValue;

use super::Transcribe;
use super::listening::{self, ListeningDraft};
use super::records::{self, name_pattern};
use crate::{
    definition::{
        Built, DefinitionTask, ExtraRules, Faults, NoSource, Page, Place, TaskDefinition, TaskDraft, Template,
        Transcribing,
        build::Builder,
        fields::{FieldTable, fields},
        manifest::{OpenManifest, RecordReader, UnnamedColumns},
        paths::io_message,
        targets::local,
        text::{named, some, ticked},
        walk::{Section, TomlWalk, Wrong, number},
    },
    domain::{
        batch::{LineOption, LineOverrides},
        extra::Extra,
        keywords::{Keywords, MAX_SAFE_WEIGHT},
        listening::{Analyze, ChannelMode, NoSpeech, Prepare},
        open::Unlisted,
        options::{
            ExpireContent, Language, OWN_QUERY, Redact, SendMode, SttModel, SttTransport, TranscribeOptions,
            TranscriptFormat, WebhookMode,
        },
        task::{TaskName, TaskSpec},
        transcription::{LIVE_SPEED, Transcription},
    },
};

/// The rows of the reference.
const FIELDS: &[FieldTable] = &[ROOT, COLUMNS, OPTIONS, listening::AUDIO, listening::ALARMS, REPORT];

fields! {
    /// Further fields of a transcription.
    ROOT = "" {
        /// A regular expression over file names. Its named groups become columns; a group `key` is the key.
        "name_pattern": "a string" () => Lines;
        /// The columns that override options for their line.
        "option_columns": [LineOption, ..] (or "all columns that are named like an option") => Lines;
        /// What happens to a line that names no recording.
        "no_source": [NoSource] (= "\"fault\"") => Lines;
    }
}

fields! {
    /// Columns of a transcription.
    COLUMNS = "columns" {
        /// The column of the recording.
        "source": "a string" (or "the first of the names that are known (see [manifests](manifests.md#columns))") => Lines;
        /// The column of an option of `[transcribe]`, by the option's name: `model`, `language`, …
        "OPTION": "a string" (or "the option's own name") => Lines;
    }
}

fields! {
    /// How recordings are transcribed. If a finished line would have to be paid for again after a change, the command exits with
    /// 2 and says what it costs, until you say `--rebuy`. That is so for all options that change the answer. `send`, `redact`,
    /// `allow_silence`, `formats` and `webhook` can be changed at any time, and a change costs nothing.
    OPTIONS = "transcribe" {
        /// The model.
        "model": [SttModel] (required) => Pays;
        /// The language that is spoken.
        "language": [Language] (required) => Pays;
        /// Ask for the time of each word. `srt`, `vtt` and `diarize` always ask for it.
        "word_timestamps": "true or false" (or "on for `pulse`, where it costs nothing") => Pays;
        /// Distinguish speakers (`pulse`).
        "diarize": "true or false" (= "false") => Pays;
        /// Replace personal data in the transcript (`en` and `hi`).
        "redact_pii": "true or false" (= "false") => Pays;
        /// Replace payment card data in the transcript (`en` and `hi`).
        "redact_pci": "true or false" (= "false") => Pays;
        /// What happens if redaction is requested in a language in which the API accepts the flag and does nothing.
        "redact": [Redact] (= "\"strict\"") => Nothing;
        /// Label emotions.
        "emotion_detection": "true or false" (= "false") => Pays;
        /// Label the speaker's gender.
        "gender_detection": "true or false" (= "false") => Pays;
        /// Ask the vendor to delete the content (enterprise plans). With `true`, an answer that does not say `applied` pauses the batch. With `"try"`, the answer is only noted.
        "expire_content": "true, false or \"try\"" (= "false") => Pays;
        /// An empty transcript of a long recording is not suspect.
        "allow_silence": "true or false" (= "false") => Nothing;
        /// How a recording reaches the API.
        "send": [SendMode] (= "\"auto\"") => Nothing;
        /// Words to listen for, with weights from 1 to 3, e.g. `["Northwind:2", "GST"]`; or the name of a file with one word a line (`pulse`, at most 100 words).
        "keywords": "a list of strings, or a file's name" (= "[]") => Pays;
        /// The files to write for each line.
        "formats": [TranscriptFormat, ..] (= "[\"json\", \"txt\"]") => Writes;
        /// How recordings are transcribed: in one request, or over a socket in real time or faster, which takes `pulse` for `pulse-live`.
        "transport": [SttTransport] (= "\"auto\"") => Pays;
        /// How many times as fast as it was spoken the audio of a live session is sent: 1 to 8. The vendor does not say what it takes; try it.
        "live_speed": "a number" (= "4") => Nothing;
        /// Whether answers are posted to your `public_url`.
        "webhook": [WebhookMode] (= "\"auto\"") => Nothing;
        /// How the channels of a recording are transcribed. `split` makes one transcript of two sides, with a turn for each time that somebody speaks; each side is a call, and costs what its length costs.
        "channels": [ChannelMode] (= "\"mix\"") => Pays;
        /// Who speaks on which channel, counted from 1. The names stand in the outputs and in the report. Columns `channel_1`, `channel_2`, … (also as groups of `name_pattern`) say it for a line.
        "roles": "a table of strings, e.g. { 1 = \"agent\", 2 = \"customer\" }" (= "{}") => Nothing;
        /// What happens to a recording in which nobody speaks.
        "no_speech": [NoSpeech] (= "\"send\"") => Nothing;
        /// Whether wavebatch hears recordings itself before it sends them. Answers are then held against what was heard.
        "analyze": [Analyze] (= "\"auto\"") => Nothing;
        /// What a recording is converted to before it is sent.
        "prepare": [Prepare] (= "\"auto\"") => Nothing;
        /// Whether silences of over two seconds are cut out before a recording is sent; one second of each is left. Times in the outputs are those of the recording. What sounds like silence, music or tones is not transcribed then.
        "trim_silence": "true or false" (= "false") => Pays;
        /// The most that one call sends of a recording, at least `60s`, e.g. `10m`. A longer one is sent in several pieces of the same length, which overlap by two seconds, and becomes one transcript. It counts as paid audio twice where pieces overlap.
        "max_piece": "a duration" (or "all of a recording") => Pays;
    }
}

fields! {
    /// The report of a transcription.
    REPORT = "report" {
        /// Whether the report has the transcripts.
        "transcript": "true or false" (= "true") => Nothing;
    }
}

/// The fields that the file sets; `None` if it does not set one.
#[derive(Debug, Default)]
struct Draft {
    source: Option<String>,
    mapped: Vec<(LineOption, String)>,
    option_columns: Option<Vec<LineOption>>,
    name_pattern: Option<Regex>,
    no_source: Option<NoSource>,
    options: LineOverrides,
    /// A file of keywords.
    keywords_file: Option<String>,
    formats: Option<Vec<TranscriptFormat>>,
    webhook: Option<WebhookMode>,
    transport: Option<SttTransport>,
    live_speed: Option<f64>,
    listening: ListeningDraft,
}

impl DefinitionTask for Transcribe {
    fn read(&self, page: &mut Page<'_, '_>) -> Box<dyn TaskDraft> {
        let mapped = page.mapped(LineOption::ALL);
        let Page { walk, root, columns } = page;
        let mut draft = Draft {
            option_columns: walk.list(root, "option_columns", named),
            name_pattern: walk.text(root, "name_pattern", name_pattern),
            no_source: walk.text(root, "no_source", named),
            source: walk.text(columns, "source", some),
            mapped,
            ..Draft::default()
        };
        let section = walk.section(root, "transcribe");
        read_transcribe(walk, section, &mut draft);
        let section = walk.section(root, "audio");
        draft.listening.read_audio(walk, section);
        let section = walk.section(root, "alarms");
        draft.listening.read_alarms(walk, section);
        Box::new(draft)
    }

    fn blank(&self) -> Box<dyn TaskDraft> {
        Box::new(Draft::default())
    }

    fn extra(&self) -> ExtraRules {
        let no_body = "a transcription's body is the recording itself; write it in [extra.query]";
        ExtraRules { query: OWN_QUERY, body: Err(no_body) }
    }

    fn fields(&self) -> &'static [FieldTable] {
        FIELDS
    }

    fn content_columns(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("the recording", &records::SOURCE_NAMES)]
    }

    fn takes_option(&self, name: &str) -> bool {
        name.parse::<LineOption>().is_ok()
    }

    fn flags(&self) -> &'static [&'static str] {
        &[
            "source-column",
            "no-source",
            "channels",
            "roles",
            "no-speech",
            "prepare",
            "trim-silence",
            "max-piece",
            "transport",
        ]
    }
}

impl TaskDraft for Draft {
    fn set_extra(&mut self, extra: Extra) {
        self.options.extra = extra;
    }

    fn templates(&self) -> Vec<&str> {
        self.source.iter().map(String::as_str).collect()
    }

    fn build(&self, on: &mut Builder<'_>, date: Option<Date>) -> Built {
        let options = self.options(on);
        let formats = self.formats(on);
        let listening = self.listening.build(on, options.as_ref());
        let over = on.over;
        let source = over.source_column.as_ref().or(over.column("source")).or(self.source.as_ref());
        let mapped = on.mapped(&self.mapped, &["source"]);
        let source_column = on.column("columns.source", source, date);
        let option_columns = on.option_columns(self.option_columns.clone(), LineOption::ALL);
        let asked = Transcribing {
            // If the definition's own options are wrong, a line's cannot be judged.
            option_columns: if options.is_some() { option_columns } else { Vec::new() },
            options: options.unwrap_or_else(|| options_of(SttModel::Pulse, Language::EN)),
            formats,
            webhook: self.webhook.unwrap_or(WebhookMode::Auto),
            listening,
            live_speed: self.live_speed.unwrap_or(LIVE_SPEED),
            source_column,
            mapped,
            no_source: on.over.no_source.or(self.no_source).unwrap_or(NoSource::Fault),
            name_pattern: self.name_pattern.clone(),
        };
        Built { task: Arc::new(asked), judged: true }
    }
}

impl Draft {
    fn options(&self, on: &mut Builder<'_>) -> Option<TranscribeOptions> {
        let mut said = self.options.clone();
        let flag = keywords_flag(on);
        match (&flag, &self.keywords_file) {
            (Some(file), _) => said.keywords = keywords_of(on, file, Path::new("")),
            (None, Some(file)) => said.keywords = keywords_of(on, file, &on.base.clone()),
            (None, None) => {}
        }
        on.set_options("transcribe", |option, text| match option {
            LineOption::Keywords if flag.is_some() => Ok(()),
            _ => said.set(option, text),
        });
        for (field, missing, example) in [
            ("transcribe.model", said.model.is_none(), "model = \"pulse\""),
            ("transcribe.language", said.language.is_none(), "language = \"en\""),
        ] {
            on.missing(field, missing, example);
        }
        let mut options = said.apply(&options_of(said.model?, said.language?));
        options.model = self.model_by_transport(on, &options);
        for fault in options.faults() {
            on.fault(&format!("transcribe.{}", fault.field), fault.message);
        }
        Some(options)
    }

    /// The model that the transport asks for.
    fn model_by_transport(&self, on: &mut Builder<'_>, options: &TranscribeOptions) -> SttModel {
        let flag = on.over.flags.one("transport").map(|text| text.parse::<SttTransport>());
        let transport = match flag {
            Some(Ok(transport)) => transport,
            Some(Err(fault)) => {
                on.fault("transcribe.transport", fault.to_string());
                SttTransport::Auto
            }
            None => self.transport.unwrap_or(SttTransport::Auto),
        };
        match (transport, options.model) {
            (SttTransport::Live, SttModel::Pulse) => SttModel::PulseLive,
            (SttTransport::Auto, SttModel::Pulse) if options.language.is_only_live() => SttModel::PulseLive,
            (SttTransport::Live, SttModel::PulsePro) => {
                let message =
                    "the API serves `pulse-pro` over HTTP alone; use model = \"pulse\", or leave `transport` out";
                on.fault("transcribe.transport", message);
                options.model
            }
            (SttTransport::Http, SttModel::PulseLive) => {
                let message = "`pulse-live` is live; use model = \"pulse\", or leave `transport` out";
                on.fault("transcribe.transport", message);
                options.model
            }
            (_, model) => model,
        }
    }

    fn formats(&self, on: &mut Builder<'_>) -> Vec<TranscriptFormat> {
        let default = vec![TranscriptFormat::Json, TranscriptFormat::Txt];
        let mut asked = self.formats.clone().unwrap_or(default);
        if let Some(flag) = &on.over.formats {
            let named = |name: &String| name.parse().map_err(|e: crate::domain::options::NotListed| e.to_string());
            let (taken, wrong): (Vec<_>, Vec<_>) = flag.iter().map(named).partition(Result::is_ok);
            asked = taken.into_iter().flatten().collect();
            wrong.into_iter().filter_map(Result::err).for_each(|message| on.fault("transcribe.formats", message));
        }
        let is_wrong = |place: &Option<Place>| match place {
            Some(Place::Field(name)) => name == "transcribe.formats",
            Some(Place::Flag(name)) => name == "--formats",
            _ => false,
        };
        if asked.is_empty() && !on.faults.iter().any(|fault| is_wrong(&fault.place)) {
            on.fault("transcribe.formats", "names no format: nothing would be written");
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

/// The file of keywords that the flag names, if it names one and not the words themselves.
fn keywords_flag(on: &Builder<'_>) -> Option<String> {
    let (_, text) = on.over.options.iter().find(|(name, _)| *name == LineOption::Keywords.as_str())?;
    let is_there = || !text.trim().is_empty() && on.cwd.join(text.as_str()).is_file();
    (Keywords::is_file_name(text) || is_there()).then(|| text.clone())
}

/// The keywords of a file below `base`; what is wrong with the file is a fault.
fn keywords_of(on: &mut Builder<'_>, file: &str, base: &Path) -> Option<Keywords> {
    /// No list of a hundred words comes near this size; a recording named by mistake exceeds it.
    const LIMIT: u64 = 1 << 16;
    let field = "transcribe.keywords";
    let shown = base.join(file);
    let read = local(file, on.cwd.join(base)).and_then(|path| match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => Err("is no file".to_owned()),
        Ok(meta) if meta.len() > LIMIT => Err("has over 64 KiB, and so is no list of words".to_owned()),
        Ok(_) => fs::read(&path).map_err(|e| io_message(&e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(no_keywords_file(on, file)),
        Err(e) => Err(io_message(&e)),
    });
    let words = read.and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        Keywords::of_lines(&text)
    });
    words.map_err(|message| on.fault(field, format!("`{}`: {message}", shown.display()))).ok()
}

/// What to write if a name of keywords is not a file's.
fn no_keywords_file(on: &Builder<'_>, file: &str) -> String {
    let by_flag = on.over.options.iter().any(|(name, text)| *name == LineOption::Keywords.as_str() && text == file);
    match by_flag {
        false => "there is no such file; words themselves are written as a list, [\"Northwind:2\", \"GST\"]".to_owned(),
        true => format!("there is no such file; if it is a word to listen for, write its weight too: '{file}:1'"),
    }
}

/// The defaults of all options but model and language, which have none.
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

/// Reads the task's table.
fn read_transcribe<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>, draft: &mut Draft) {
    let mut options = LineOverrides::default();
    for option in LineOption::ALL.iter().copied().filter(|option| *option != LineOption::Keywords) {
        let wanted = match option {
            LineOption::Model | LineOption::Language | LineOption::Redact | LineOption::Send => "a string",
            LineOption::ExpireContent => "true, false or \"try\"",
            _ => "true or false",
        };
        walk.take(&mut section, option.as_str(), |value| {
            let text = match value {
                DeValue::String(text) if wanted.contains('"') || wanted == "a string" => text.as_ref(),
                DeValue::Boolean(true) if wanted != "a string" => "true",
                DeValue::Boolean(false) if wanted != "a string" => "false",
                _ => return Err(Wrong::Type(wanted)),
            };
            options.set(option, text).map_err(Wrong::Value)
        });
    }
    walk.any_of(&mut section, LineOption::Keywords.as_str(), |value| {
        match value {
            DeValue::String(file) => draft.keywords_file = Some(some(file)?),
            DeValue::Array(entries) => {
                let entries: Option<Vec<&str>> = entries.iter().map(|entry| entry.get_ref().as_str()).collect();
                let entries = entries.ok_or("must be a list of strings, like [\"Northwind:2\", \"GST\"]")?;
                options.keywords = Some(Keywords::new(entries)?);
            }
            _ => {
                return Err(
                    "must be a list of strings, like [\"Northwind:2\", \"GST\"], or the name of a file".to_owned()
                );
            }
        }
        Ok(())
    });
    draft.options = options;
    draft.formats = walk.list(&mut section, "formats", named);
    draft.webhook = walk.text(&mut section, "webhook", named);
    draft.transport = walk.text(&mut section, "transport", named);
    draft.live_speed = walk.take(&mut section, "live_speed", |value| match number(value)? {
        speed @ 1.0..=8.0 => Ok(speed),
        other => Err(Wrong::Value(format!("{other} is not between 1 and 8"))),
    });
    draft.listening = ListeningDraft::read(walk, &mut section);
    walk.close(section);
}

impl TaskDefinition for Transcribing {
    fn unnamed_columns(&self) -> UnnamedColumns {
        records::UNNAMED
    }

    fn open_records<'d>(&'d self, manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader + 'd>, Faults> {
        records::open_records(self, manifest)
    }

    fn task(&self) -> TaskName {
        Transcription::TASK
    }

    fn model(&self) -> &str {
        self.options.model.as_str()
    }

    fn unlisted(&self) -> Vec<Unlisted> {
        self.options.unlisted().collect()
    }

    fn spec(&self) -> TaskSpec {
        let (options, formats) = (self.options.clone(), self.formats.clone());
        let listening = self.listening.clone();
        let (webhook, live_speed) = (self.webhook, self.live_speed);
        TaskSpec::of(&Transcription { options, formats, webhook, listening, live_speed })
    }

    fn needs_callbacks(&self) -> bool {
        self.webhook == WebhookMode::Always
    }

    fn unchecked(&self) -> Option<&'static str> {
        Some("recordings that were not looked at: whether they are there, are audio, and how long they are")
    }

    fn templates(&self) -> Vec<Template> {
        self.source_column.iter().cloned().collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let captions: Vec<_> = self.formats.iter().filter(|f| f.needs_words()).map(|f| f.as_str()).collect();
        if !captions.is_empty() && self.options.word_timestamps == Some(false) {
            notes.push(format!("word_timestamps is on: {} cannot be made without", captions.join(" and ")));
        }
        if self.options.diarize && self.options.word_timestamps == Some(false) && captions.is_empty() {
            notes.push("word_timestamps is on: diarize gives nothing without".to_owned());
        }
        if self.options.diarize && self.options.model == SttModel::PulsePro {
            notes.push("`pulse-pro` gives no speakers on the wire: diarize will have no effect".to_owned());
        }
        let inventing = ticked(&self.options.keywords.inventing().collect::<Vec<_>>());
        if !inventing.is_empty() {
            notes.push(format!(
                "keywords with a weight above {MAX_SAFE_WEIGHT} are heard where nobody said them: {inventing}"
            ));
        }
        notes
    }
}
