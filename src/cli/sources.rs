//! What a batch is made of, as flags: shared by `run`, `submit` and `check`.

use std::path::Path;

use clap::{ArgAction, Args};

use crate::{
    config::Env,
    definition::{AdHoc, Definition, Fault, Faults, ManifestFormat, NoSource, Overrides, text},
    domain::{
        batch::{LineOption, LineOverrides, MicroUsd},
        options::{ExpireContent, Language, Redact, SendMode, SttModel, Task, TranscriptFormat},
    },
};

/// Where outputs of the sandbox go, whatever the definition says.
const SANDBOX_OUTPUT: &str = "sandbox-out/{batch}/";

/// The option columns, as one argument: an empty one turns them off.
#[derive(Debug, Clone)]
struct OptionColumns(Vec<LineOption>);

fn option_columns(text: &str) -> Result<OptionColumns, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| name.parse().map_err(|e: crate::domain::options::NotListed| e.to_string()))
        .collect::<Result<_, _>>()
        .map(OptionColumns)
}

/// Sources and everything that shapes a batch.
#[derive(Debug, Args)]
pub struct Sources {
    /// A definition (*.toml); or, with --task, a manifest, audio files, a directory, a glob, a URL, an s3:// object or prefix, or - for stdin
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Use the local stand-in: no account, no key, no cost; a ledger and outputs of its own
    #[arg(long)]
    pub sandbox: bool,

    /// What to do with each line: transcribe
    #[arg(long, help_heading = "Without a definition")]
    task: Option<Task>,
    /// The model: pulse or pulse-pro
    #[arg(long, help_heading = "Options of the task")]
    model: Option<SttModel>,
    /// The language spoken, e.g. en
    #[arg(long, help_heading = "Options of the task")]
    language: Option<Language>,
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
    /// Ask the vendor to delete the content (enterprise plans): true, false or try
    #[arg(long, value_name = "POLICY", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    expire_content: Option<ExpireContent>,
    /// An empty transcript of a long recording is no suspect
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Options of the task")]
    allow_silence: Option<bool>,
    /// How a recording travels: auto, url or bytes
    #[arg(long, value_name = "HOW", help_heading = "Options of the task")]
    send: Option<SendMode>,
    /// The files to write for each line: json, txt, srt, vtt
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Options of the task")]
    formats: Option<Vec<TranscriptFormat>>,

    /// Another manifest than the definition's
    #[arg(long, value_name = "SOURCE", help_heading = "Manifest")]
    manifest: Option<String>,
    /// How the manifest is written, where its name does not say: csv, tsv, jsonl or lines
    #[arg(long, value_name = "FORMAT", help_heading = "Manifest")]
    manifest_format: Option<ManifestFormat>,
    /// The column of the key, or a template over columns, e.g. '{call_id}-{leg}'
    #[arg(long, value_name = "COLUMN", help_heading = "Manifest")]
    key_column: Option<String>,
    /// The column of the source, or a template over columns
    #[arg(long, value_name = "COLUMN", help_heading = "Manifest")]
    source_column: Option<String>,
    /// The columns that may override options, e.g. language,model; '' for none
    #[arg(long, value_name = "LIST", value_parser = option_columns, help_heading = "Manifest")]
    option_columns: Option<OptionColumns>,
    /// In directories, globs and prefixes, take only what matches
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = "Manifest")]
    include: Option<Vec<String>>,
    /// In directories, globs and prefixes, leave what matches
    #[arg(long, value_name = "GLOB", action = ArgAction::Append, help_heading = "Manifest")]
    exclude: Option<Vec<String>>,
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
    /// Submit the good lines; a bad one stands in the report as failed until it is mended
    #[arg(long, help_heading = "Manifest")]
    skip_bad_lines: bool,

    /// The batch's name
    #[arg(long, value_name = "NAME", help_heading = "Batch")]
    batch: Option<String>,
    /// Where outputs go: a directory, or s3://bucket/prefix/
    #[arg(long, value_name = "DIR", help_heading = "Batch")]
    output: Option<String>,
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
    /// Buy finished lines again where the definition's options changed
    #[arg(long, help_heading = "Batch")]
    pub rebuy: bool,
    /// Take an output over that belongs to another batch or ledger
    #[arg(long, help_heading = "Batch")]
    pub take_over: bool,
}

impl Sources {
    /// The definition, with these flags merged in; and whether it is a file's.
    ///
    /// # Errors
    /// Every fault of definition and flags.
    pub fn definition(&self, env: &Env) -> Result<Definition, Faults> {
        let overrides = Overrides { now: env.now, ..self.overrides() };
        match (self.file(), self.task) {
            (Some(_), Some(_)) => {
                Err(Fault::of_flag("task", "is for sources without a definition; the definition says it").into())
            }
            (Some(file), None) => Definition::load(Path::new(file), &overrides),
            (None, _) if self.sources.iter().any(|source| is_definition(source)) => {
                Err(Fault::of_file("", "a definition is run by itself: give one *.toml and nothing else").into())
            }
            (None, None) => {
                let message = "is missing: without a definition (*.toml) say what to do, e.g. --task transcribe --model pulse --language en";
                Err(Fault::of_flag("task", message).into())
            }
            (None, Some(task)) => Definition::ad_hoc(&AdHoc { task, sources: self.sources.clone() }, &overrides),
        }
    }

    /// The definition's file, if that is what was given.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self.sources.as_slice() {
            [one] if is_definition(one) => Some(one),
            _ => None,
        }
    }

    fn overrides(&self) -> Overrides {
        let sandbox_output = self.sandbox.then(|| SANDBOX_OUTPUT.to_owned());
        Overrides {
            batch: self.batch.clone(),
            manifest: self.manifest.clone(),
            manifest_format: self.manifest_format,
            output: self.output.clone().or(sandbox_output),
            key_column: self.key_column.clone(),
            source_column: self.source_column.clone(),
            option_columns: self.option_columns.as_ref().map(|columns| columns.0.clone()),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            skip_bad_lines: self.skip_bad_lines,
            limit: self.limit,
            options: self.options(),
            formats: self.formats.clone(),
            concurrency: self.concurrency,
            max_spend: self.max_spend,
            tolerate: self.tolerate,
            command: std::env::args().collect(),
            working_dir: None,
            date: self.date.clone(),
            now: None,
            no_source: self.no_source,
            allow_empty: self.allow_empty,
            sandbox_world: self.sandbox,
        }
    }

    fn options(&self) -> LineOverrides {
        LineOverrides {
            model: self.model,
            language: self.language,
            word_timestamps: self.word_timestamps,
            diarize: self.diarize,
            redact_pii: self.redact_pii,
            redact_pci: self.redact_pci,
            redact: self.redact,
            emotion_detection: self.emotion_detection,
            gender_detection: self.gender_detection,
            expire_content: self.expire_content,
            allow_silence: self.allow_silence,
            send: self.send,
        }
    }
}

fn is_definition(source: &str) -> bool {
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
        assert_eq!((o.options.diarize, o.options.redact_pii), (Some(true), Some(false)));
        assert_eq!(o.options.expire_content, Some(ExpireContent::Try));
        assert_eq!(o.formats, Some(vec![TranscriptFormat::Json, TranscriptFormat::Srt]));
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
            ("a --model puls", "did you mean `pulse`?"),
            ("a --language En", "did you mean `en`?"),
            ("a --formats jsn", "did you mean `json`?"),
            ("a --option-columns langage", "did you mean `language`?"),
            ("a --tolerate 2", "write \"0%\" to \"100%\""),
            ("a --limit 0", "0 is not in 1.."),
        ] {
            let told = parse(line).unwrap_err().to_string();
            assert!(told.contains(word), "{line}: {told}");
        }
    }

    #[test]
    fn a_definition_stands_alone_and_anything_else_needs_a_task() {
        for (line, word) in [
            ("a.toml --task transcribe", "`--task`: is for sources without a definition"),
            ("a.toml b.wav", "a definition is run by itself"),
            ("a.wav", "`--task`: is missing"),
        ] {
            let told = parse(line).unwrap().definition(&Env::default()).unwrap_err().to_string();
            assert!(told.contains(word), "{line}: {told}");
        }
    }
}
