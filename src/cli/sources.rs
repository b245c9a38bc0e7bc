//! What a batch is made of, as flags: shared by `run`, `submit` and `check`.

use std::{path::Path, str::FromStr, time::Duration};

use clap::{ArgAction, Args};

use crate::{
    app::{Consent, SANDBOX_OUTPUT},
    config::Env,
    definition::{
        AdHoc, Definition, DefinitionTask, Delimiter, Fault, Faults, ManifestFormat, NoSource, Overrides, Sample,
        TaskFlags, TextEncoding, dialect, text,
    },
    domain::task::Tasks,
    domain::{
        batch::MicroUsd,
        listening::{ChannelMode, NoSpeech, Prepare},
        options::{ExpireContent, Redact, SendMode},
        synthesis::CaptionFormat,
        task::TaskName,
    },
    runner::intake::VoiceCheck,
};

/// Names in one argument; which there are depends on the task.
#[derive(Debug, Clone)]
struct List(Vec<String>);

#[expect(clippy::unnecessary_wraps, reason = "parsers of arguments may fail")]
fn list(text: &str) -> Result<List, String> {
    Ok(List(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()))
}

/// A setting that may be `auto`.
#[derive(Debug, Clone, Copy)]
struct UnlessAuto<T>(Option<T>);

fn unless_auto<T: FromStr<Err = String>>(text: &str) -> Result<UnlessAuto<T>, String> {
    dialect::unless_auto(text).map(UnlessAuto)
}

/// A use, and the column that it is made of.
#[derive(Debug, Clone)]
struct ColumnUse(String, String);

fn column_use(text: &str) -> Result<ColumnUse, String> {
    match text.split_once('=') {
        Some((name, column)) if !name.trim().is_empty() && !column.trim().is_empty() => {
            Ok(ColumnUse(name.trim().to_owned(), column.trim().to_owned()))
        }
        _ => Err("write what the column is, and its name, e.g. language=Sprache".into()),
    }
}

/// Sources and everything that shapes a batch.
#[derive(Debug, Args)]
pub struct Sources {
    /// A definition (*.toml), or several that take each other's lines; or, with --task, a manifest, audio files or texts (.md, several .txt), a directory, a glob, a URL, an s3:// object or prefix, or - for stdin
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Use the local stand-in: no account, no key, no cost; a ledger and outputs of its own
    #[arg(long)]
    pub sandbox: bool,

    /// What to do with each line: transcribe or synthesize
    #[arg(long, help_heading = "Without a definition")]
    task: Option<TaskName>,
    /// The model: pulse or pulse-pro; lightning_v3.1 or lightning_v3.1_pro
    #[arg(long, help_heading = "Options of the task")]
    model: Option<String>,
    /// The language spoken, e.g. en
    #[arg(long, help_heading = "Options of the task")]
    language: Option<String>,
    /// The files to write for each line: json, txt, srt, vtt; of speech wav, mp3, pcm, ulaw, alaw
    #[arg(long, value_name = "LIST", value_parser = list, help_heading = "Options of the task")]
    formats: Option<List>,
    /// Ask the vendor to delete the content (enterprise plans): true, false or try
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    expire_content: Option<ExpireContent>,
    /// Ask for the time of each word
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    word_timestamps: Option<bool>,
    /// Tell speakers apart (pulse)
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    diarize: Option<bool>,
    /// Replace personal data in the transcript (en, hi)
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    redact_pii: Option<bool>,
    /// Replace payment card data in the transcript (en, hi)
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    redact_pci: Option<bool>,
    /// In languages that are not redacted: strict (refuse) or best_effort (send all the same)
    #[arg(long, value_name = "POLICY", help_heading = "Options of the task")]
    redact: Option<Redact>,
    /// Label emotions
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    emotion_detection: Option<bool>,
    /// Label the speaker's gender
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    gender_detection: Option<bool>,
    /// An empty transcript of a long recording is no suspect
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    allow_silence: Option<bool>,
    /// How a recording travels: auto, url or bytes
    #[arg(long, value_name = "HOW", help_heading = "Options of the task")]
    send: Option<SendMode>,
    /// The channels of a recording: mix (one call), split (one each), packed (their speech in one call) or auto
    #[arg(long, value_name = "HOW", help_heading = "Options of the task")]
    channels: Option<ChannelMode>,
    /// Who speaks on channel 1, 2, …, e.g. agent,customer
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Options of the task")]
    roles: Option<Vec<String>>,
    /// A recording in which nobody speaks: send or skip
    #[arg(long, value_name = "POLICY", help_heading = "Options of the task")]
    no_speech: Option<NoSpeech>,
    /// Convert recordings before they are sent: auto, never, mono16k or flac
    #[arg(long, value_name = "HOW", help_heading = "Options of the task")]
    prepare: Option<Prepare>,
    /// Cut silences of over two seconds out before recordings are sent
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    trim_silence: Option<bool>,
    /// Send longer recordings in several pieces of at most this length, e.g. 10m
    #[arg(long, value_name = "TIME", help_heading = "Options of the task")]
    max_piece: Option<String>,
    /// How recordings are transcribed: auto, http or live
    #[arg(long, value_name = "WAY", help_heading = "Options of the task")]
    transport: Option<String>,
    /// Words to listen for, with weights, e.g. 'Northwind:2,GST'; or a file with one word a line (pulse)
    #[arg(long, value_name = "LIST", help_heading = "Options of the task")]
    keywords: Option<String>,

    /// Who speaks; of several, each speaks every line that names no voice itself
    #[arg(long, value_name = "LIST", value_delimiter = ',', action = ArgAction::Append, help_heading = "Options of synthesis")]
    voice_id: Option<Vec<String>>,
    /// The pace, 0.5 to 2
    #[arg(long, value_name = "FACTOR", help_heading = "Options of synthesis")]
    speed: Option<String>,
    /// The language in which numbers are read out
    #[arg(long, value_name = "LANGUAGE", help_heading = "Options of synthesis")]
    number_pronunciation_language: Option<String>,
    /// Read `5 x 3` as a product
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of synthesis")]
    math_notation: Option<bool>,
    /// How words are pronounced: a CSV with the columns word and pronunciation
    #[arg(long, value_name = "FILE", help_heading = "Options of synthesis")]
    pronunciations: Option<String>,
    /// The outputs' names without their endings, e.g. '{voice_id}/{key}'
    #[arg(long, value_name = "TEMPLATE", help_heading = "Options of synthesis")]
    name: Option<String>,
    /// Captions beside the audio: srt, vtt, json
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Options of synthesis")]
    captions: Option<Vec<CaptionFormat>>,
    /// The longest part of a text that is one call, in characters
    #[arg(long, value_name = "N", help_heading = "Options of synthesis")]
    part_chars: Option<u32>,
    /// What voices are that the account does not have, or not for the model: fault or warn
    #[arg(long, value_name = "POLICY", help_heading = "Options of synthesis")]
    pub(super) voice_check: Option<VoiceCheck>,
    /// Pay for every part anew, even where its speech is kept
    #[arg(long, help_heading = "Options of synthesis")]
    no_reuse: bool,

    /// Another manifest than the definition's
    #[arg(long, value_name = "SOURCE", help_heading = "Manifest")]
    manifest: Option<String>,
    /// How the manifest is written, where its name does not say: csv, tsv, jsonl or lines
    #[arg(long, value_name = "FORMAT", help_heading = "Manifest")]
    manifest_format: Option<ManifestFormat>,
    /// What parts the cells of a CSV: one character, or tab; auto finds it
    #[arg(long, value_name = "CHAR", value_parser = unless_auto::<Delimiter>, help_heading = "Manifest")]
    delimiter: Option<UnlessAuto<Delimiter>>,
    /// The encoding of a manifest without a byte order mark, e.g. windows-1252; auto takes UTF-8
    #[arg(long, value_name = "NAME", value_parser = unless_auto::<TextEncoding>, help_heading = "Manifest")]
    encoding: Option<UnlessAuto<TextEncoding>>,
    /// The column of an option, the key or the content, where it has another name, e.g. language=Sprache
    #[arg(long, value_name = "NAME=COLUMN", value_parser = column_use, action = ArgAction::Append, help_heading = "Manifest")]
    column: Vec<ColumnUse>,
    /// The column of the key, or a template over columns, e.g. '{call_id}-{leg}'
    #[arg(long, value_name = "COLUMN", help_heading = "Manifest")]
    key_column: Option<String>,
    /// The column of the source, or a template over columns
    #[arg(long, value_name = "COLUMN", help_heading = "Manifest")]
    source_column: Option<String>,
    /// The column of the text to be spoken, or a template over columns
    #[arg(long, value_name = "COLUMN", help_heading = "Manifest")]
    text_column: Option<String>,
    /// The columns that may override options, e.g. language,model; '' for none
    #[arg(long, value_name = "LIST", value_parser = list, help_heading = "Manifest")]
    option_columns: Option<List>,
    /// In directories, globs and prefixes, take only what matches
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = "Manifest")]
    include: Option<Vec<String>>,
    /// In directories, globs and prefixes, leave what matches
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = "Manifest")]
    exclude: Option<Vec<String>>,
    /// Of files found, leave what changed less than this long ago, e.g. 30s: it may still grow
    #[arg(long, value_name = "TIME", value_parser = text::duration, help_heading = "Manifest")]
    settle: Option<Duration>,
    /// What a line that names no recording is: fault or skip
    #[arg(long, value_name = "POLICY", help_heading = "Manifest")]
    no_source: Option<NoSource>,
    /// A manifest or prefix with nothing in it is an empty batch, and no fault
    #[arg(long, help_heading = "Manifest")]
    allow_empty: bool,
    /// The date that {date} stands for: today, yesterday or 2026-11-20
    #[arg(long, value_name = "DATE", help_heading = "Batch")]
    date: Option<String>,
    /// Only the first N lines; without it later, the rest is added
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Manifest")]
    limit: Option<u64>,
    /// Only N lines, drawn at random; the same command draws the same, and more of them contain these
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "limit", help_heading = "Manifest")]
    sample: Option<u64>,
    /// With --sample: another number draws other lines [default: 0]
    #[arg(long, value_name = "S", requires = "sample", help_heading = "Manifest")]
    seed: Option<u64>,
    /// Submit the good lines; a bad one stands in the report as failed until it is mended
    #[arg(long, help_heading = "Manifest")]
    skip_bad_lines: bool,

    /// The batch's name
    #[arg(long, value_name = "NAME", help_heading = "Batch")]
    batch: Option<String>,
    /// Where outputs go: a directory, or s3://bucket/prefix/
    #[arg(long, value_name = "DIR", help_heading = "Batch")]
    output: Option<String>,
    /// Where the report goes: a file, or s3://bucket/key; beside the outputs without it
    #[arg(long, value_name = "PATH", help_heading = "Batch")]
    report: Option<String>,
    /// Calls at once, below what the account's limits allow
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batch")]
    concurrency: Option<u32>,
    /// What the batch may cost over all its runs, in US dollars at list price
    #[arg(long, value_name = "USD", value_parser = text::dollars, help_heading = "Batch")]
    max_spend: Option<MicroUsd>,
    /// The share of failed or suspect lines that still exits 0, e.g. 2%
    #[arg(long, value_name = "SHARE", value_parser = text::share, help_heading = "Batch")]
    tolerate: Option<f64>,
    /// A new batch for this date, even where the newest one has the same manifest and options
    #[arg(long, help_heading = "Batch")]
    pub again: bool,
    /// Take new lines whose outputs are there already as done, as after a lost ledger (with --take-over)
    #[arg(long, help_heading = "Batch")]
    pub adopt: bool,
    /// Pay again for finished lines where the definition's options changed
    #[arg(long, help_heading = "Batch")]
    pub rebuy: bool,
    /// Take this manifest for the batch's own from now on, wherever it is: lines with other recordings are paid for
    #[arg(long, help_heading = "Batch")]
    pub update_source: bool,
    /// Take an output over that belongs to another batch or ledger
    #[arg(long, help_heading = "Batch")]
    pub take_over: bool,
}

impl Sources {
    /// The definition, with these flags merged in; and whether it is a file's.
    ///
    /// # Errors
    /// Every fault of definition and flags.
    pub fn definition(&self, env: &Env, tasks: &Tasks<dyn DefinitionTask>) -> Result<Definition, Faults> {
        let overrides = Overrides { now: env.now, ..self.overrides() };
        match (self.file(), self.task) {
            (Some(_), Some(_)) => {
                Err(Fault::of_flag("task", "is for sources without a definition; the definition says it").into())
            }
            (Some(file), None) => Definition::load(Path::new(file), tasks, &overrides),
            (None, _) if !self.files().is_empty() => {
                Err(Fault::of_file("", "takes one definition, and `run`, `submit` and `check` take several").into())
            }
            (None, _) if self.sources.iter().any(|source| is_definition(source)) => Err(Fault::of_file(
                "",
                "definitions (*.toml) and other sources are not run together: give one or the other",
            )
            .into()),
            (None, None) => {
                let message = "is missing: without a definition (*.toml) say what to do, e.g. --task transcribe --model pulse --language en, or --task synthesize --model lightning_v3.1 --voice-id avery";
                Err(Fault::of_flag("task", message).into())
            }
            (None, Some(task)) => Definition::ad_hoc(&AdHoc { task, sources: self.sources.clone() }, tasks, &overrides),
        }
    }

    /// The definitions, with these flags merged in. Several are those of a chain: files, each with a batch of its own.
    ///
    /// # Errors
    /// Every fault of definitions and flags.
    pub fn definitions(&self, env: &Env, tasks: &Tasks<dyn DefinitionTask>) -> Result<Vec<Definition>, Faults> {
        let files = self.files();
        if files.len() < 2 {
            return self.definition(env, tasks).map(|one| vec![one]);
        }
        let overrides = Overrides { now: env.now, ..self.overrides() };
        let single: [(&str, bool); 5] = [
            ("batch", self.batch.is_some()),
            ("manifest", self.manifest.is_some()),
            ("output", self.output.is_some()),
            ("report", self.report.is_some()),
            ("task", self.task.is_some()),
        ];
        let message = "is for one definition; with several, each says it";
        let single = single.into_iter().filter(|(_, is_set)| *is_set);
        let mut faults: Faults = single.map(|(flag, _)| Fault::of_flag(flag, message)).collect();
        let mut definitions = Vec::new();
        for file in files {
            match Definition::load(Path::new(file), tasks, &overrides) {
                Ok(definition) => definitions.push(definition),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(definitions) } else { Err(faults) }
    }

    /// The files of definitions, if those are what was given.
    #[must_use]
    pub fn files(&self) -> &[String] {
        if self.sources.iter().all(|source| is_definition(source)) { &self.sources } else { &[] }
    }

    /// The definition's file, if that is what was given.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self.sources.as_slice() {
            [one] if is_definition(one) => Some(one),
            _ => None,
        }
    }

    /// What the user has agreed to.
    pub(super) fn consent(&self) -> Consent {
        Consent {
            rebuy: self.rebuy,
            take_over: self.take_over,
            adopt: self.adopt,
            again: self.again,
            update_source: self.update_source,
            voice_check: self.voice_check.unwrap_or_default(),
        }
    }

    fn overrides(&self) -> Overrides {
        let sandbox_output = self.sandbox.then(|| SANDBOX_OUTPUT.to_owned());
        Overrides {
            batch: self.batch.clone(),
            manifest: self.manifest.clone(),
            manifest_format: self.manifest_format,
            delimiter: self.delimiter.map(|said| said.0),
            encoding: self.encoding.map(|said| said.0),
            columns: self.column.iter().map(|said| (said.0.clone(), said.1.clone())).collect(),
            output: self.output.clone().or(sandbox_output),
            report: self.report.clone(),
            key_column: self.key_column.clone(),
            source_column: self.source_column.clone(),
            option_columns: self.option_columns.as_ref().map(|columns| columns.0.clone()),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            settle: self.settle,
            skip_bad_lines: self.skip_bad_lines,
            limit: self.limit,
            sample: self.sample.map(|lines| Sample { lines, seed: self.seed.unwrap_or(0) }),
            options: self.options(),
            formats: self.formats.as_ref().map(|formats| formats.0.clone()),
            flags: self.task_flags(),
            concurrency: self.concurrency,
            max_spend: self.max_spend,
            tolerate: self.tolerate,
            command: std::env::args().collect(),
            working_dir: None,
            date: self.date.clone(),
            now: None,
            no_source: self.no_source,
            allow_empty: self.allow_empty,
            sandbox: self.sandbox,
        }
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        fn said<T: ToString>(name: &'static str, value: Option<&T>) -> Option<(&'static str, String)> {
            value.map(|value| (name, value.to_string()))
        }
        let said = [
            said("model", self.model.as_ref()),
            said("language", self.language.as_ref()),
            said("word_timestamps", self.word_timestamps.as_ref()),
            said("diarize", self.diarize.as_ref()),
            said("redact_pii", self.redact_pii.as_ref()),
            said("redact_pci", self.redact_pci.as_ref()),
            said("redact", self.redact.as_ref()),
            said("emotion_detection", self.emotion_detection.as_ref()),
            said("gender_detection", self.gender_detection.as_ref()),
            said("expire_content", self.expire_content.as_ref()),
            said("allow_silence", self.allow_silence.as_ref()),
            said("send", self.send.as_ref()),
            said("keywords", self.keywords.as_ref()),
            said("speed", self.speed.as_ref()),
            said("number_pronunciation_language", self.number_pronunciation_language.as_ref()),
            said("math_notation", self.math_notation.as_ref()),
        ];
        said.into_iter().flatten().collect()
    }

    /// The flags that not every task has.
    fn task_flags(&self) -> TaskFlags {
        let one = |text: Option<&String>| text.map(|text| vec![text.clone()]);
        let captions = self.captions.as_ref().map(|all| all.iter().map(ToString::to_string).collect());
        let flags = [
            ("voice-id", self.voice_id.clone()),
            ("name", one(self.name.as_ref())),
            ("part-chars", self.part_chars.map(|chars| vec![chars.to_string()])),
            ("captions", captions),
            ("pronunciations", one(self.pronunciations.as_ref())),
            ("text-column", one(self.text_column.as_ref())),
            ("no-reuse", self.no_reuse.then(Vec::new)),
            ("channels", self.channels.map(|how| vec![how.to_string()])),
            ("roles", self.roles.clone()),
            ("no-speech", self.no_speech.map(|policy| vec![policy.to_string()])),
            ("prepare", self.prepare.map(|how| vec![how.to_string()])),
            ("trim-silence", self.trim_silence.map(|cut| vec![cut.to_string()])),
            ("max-piece", one(self.max_piece.as_ref())),
            ("transport", one(self.transport.as_ref())),
        ];
        flags.into_iter().filter_map(|(name, values)| Some((name, values?))).collect()
    }
}

pub(super) fn is_definition(source: &str) -> bool {
    source.ends_with(".toml")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        sources: Sources,
    }

    fn parse(line: &str) -> Result<Sources, clap::Error> {
        Only::try_parse_from(std::iter::once("x").chain(line.split(' '))).map(|only| only.sources)
    }

    #[test]
    fn flags_go_into_the_definition() {
        let s = parse("a.wav b.wav --task transcribe --model pulse --language hi --diarize --redact-pii=false --expire-content=try --formats json,srt --max-spend 5 --tolerate 2% --option-columns= --limit 3 --sandbox").unwrap();
        let o = s.overrides();
        let said: Vec<_> = o.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(said, ["model=pulse", "language=hi", "diarize=true", "redact_pii=false", "expire_content=try"]);
        assert_eq!(o.formats, Some(vec!["json".to_owned(), "srt".to_owned()]));
        assert_eq!((o.max_spend, o.tolerate, o.limit), (Some(MicroUsd(5_000_000)), Some(0.02), Some(3)));
        assert_eq!((o.option_columns, o.output.as_deref()), (Some(vec![]), Some("sandbox-out/{batch}/")));
        assert_eq!(s.file(), None);
        assert_eq!(
            parse("calls.csv --option-columns language,send").unwrap().overrides().option_columns.unwrap().len(),
            2
        );
    }

    #[test]
    fn a_flag_never_eats_the_source() {
        let s = parse("--diarize calls.csv --task transcribe").unwrap();
        assert_eq!(s.sources, ["calls.csv"]);
    }

    #[test]
    fn wrong_values_come_with_the_nearest() {
        for (line, word) in [
            ("a --redact strct", "did you mean `strict`?"),
            ("a --captions st", "did you mean `srt`?"),
            ("a --tolerate 2", "write \"0%\" to \"100%\""),
            ("a --limit 0", "0 is not in 1.."),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(word), "{line}: {message}");
        }
    }

    #[test]
    fn what_depends_on_the_task_is_told_by_it() {
        let message = |line: &str| {
            let faults = parse(line)
                .unwrap()
                .definition(&Env::default(), crate::tasks::Registry::built_in().definitions())
                .unwrap_err();
            faults.list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        for (line, word) in [
            ("x.wav --task transcribe --model pul/se", "`--model`: `pul/se` cannot be a model"),
            ("x.wav --task transcribe --language -", "`--language`: `-` cannot be a language"),
            ("x.wav --task transcribe --formats jsn", "`--formats`: `jsn` is not a format; did you mean `json`?"),
            (
                "x.wav --task transcribe --option-columns langage",
                "`--option-columns`: `langage` is not a transcription option; did you mean `language`?",
            ),
            (
                "x.csv --task synthesize --formats mulaw",
                "`--formats`: `mulaw` is not what the API calls it; did you mean `ulaw`?",
            ),
            ("x.csv --task synthesize --model light+ning", "`--model`: `light+ning` cannot be a model"),
            ("x.wav --task transcribe --keywords GST,:2", "`--keywords`: `:2` names no word"),
            ("x.wav --task transcribe --keywords gone.txt", "`--keywords`: `gone.txt`: there is no such file"),
            ("x.wav --task transcribe --keywords a/b", "a word to listen for, write its weight too: 'a/b:1'"),
            ("x.wav --task transcribe --keywords GST,words.txt", "`--keywords`: `words.txt` is a file's name"),
            ("x.wav --task transcribe --keywords Cargo.toml", "`--keywords`: `Cargo.toml`: "),
            ("x.csv --task synthesize --keywords GST", "`--keywords`: says nothing where the task is `synthesize`"),
            ("x.csv --task synthesize --speed 3", "`--speed`: 3 is not between 0.5 and 2"),
            ("x.csv --task synthesize --part-chars 8001", "`--part-chars`: 8001 is not between 1 and 8000"),
            ("x.csv --task synthesize --diarize", "`--diarize`: says nothing where the task is `synthesize`"),
            ("x.wav --task transcribe --voice-id avery", "`--voice-id`: says nothing where the task is `transcribe`"),
        ] {
            assert!(message(line).contains(word), "{line}: {}", message(line));
        }
    }

    #[test]
    fn a_definition_stands_alone_and_anything_else_needs_a_task() {
        for (line, word) in [
            ("a.toml --task transcribe", "`--task`: is for sources without a definition"),
            ("a.toml b.wav", "definitions (*.toml) and other sources are not run together"),
            ("a.wav", "`--task`: is missing"),
        ] {
            let message = parse(line)
                .unwrap()
                .definition(&Env::default(), crate::tasks::Registry::built_in().definitions())
                .unwrap_err()
                .to_string();
            assert!(message.contains(word), "{line}: {message}");
        }
    }
}
