//! What the command line says.

use std::path::PathBuf;

use super::{manifest::ManifestFormat, policy::NoSource};
use crate::domain::{batch::MicroUsd, synthesis::CaptionFormat, task::TaskName};

/// A batch without a definition's file: sources and options on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct AdHoc {
    /// What is done with each line.
    pub task: TaskName,
    /// A manifest (file, URL, `-`), a directory or glob of audio or texts, or audio files and URLs or files of texts, as
    /// typed.
    pub sources: Vec<String>,
}

/// The command line's flags. They go before what the definition says; relative paths are relative to the working
/// directory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// `--date`: `today`, `yesterday` or a day.
    pub date: Option<String>,
    /// The moment that `today` is told by; `None` = the system's clock.
    pub now: Option<jiff::Timestamp>,
    /// `--batch`
    pub batch: Option<String>,
    /// `--manifest`: another manifest than the definition's.
    pub manifest: Option<String>,
    /// `--manifest-format`
    pub manifest_format: Option<ManifestFormat>,
    /// `--output`
    pub output: Option<String>,
    /// `--report`: the report's file or object.
    pub report: Option<String>,
    /// `--key-column`: a column's name, or a template over columns.
    pub key_column: Option<String>,
    /// `--source-column`: likewise.
    pub source_column: Option<String>,
    /// `--option-columns`, by name; an empty list turns them off.
    pub option_columns: Option<Vec<String>>,
    /// `--include`
    pub include: Option<Vec<String>>,
    /// `--exclude`
    pub exclude: Option<Vec<String>>,
    /// `--skip-bad-lines`
    pub skip_bad_lines: bool,
    /// `--no-source`
    pub no_source: Option<NoSource>,
    /// `--allow-empty`
    pub allow_empty: bool,
    /// `--limit`: only the first lines of the manifest.
    pub limit: Option<u64>,
    /// `--model`, `--language`, `--diarize`, …: options by name, as typed. What they may be depends on the task.
    pub options: Vec<(&'static str, String)>,
    /// `--formats`, by name.
    pub formats: Option<Vec<String>>,
    /// The flags of synthesis alone.
    pub synthesis: SynthesisFlags,
    /// `--concurrency`
    pub concurrency: Option<u32>,
    /// `--max-spend`
    pub max_spend: Option<MicroUsd>,
    /// `--tolerate`: a share from 0 to 1.
    pub tolerate: Option<f64>,
    /// `--sandbox`: the report lies beside the outputs, whatever the definition says.
    pub sandbox: bool,
    /// The command as typed, program first, for hints that repeat it with one more flag. May be empty.
    pub command: Vec<String>,
    /// Where relative paths of flags and of ad-hoc sources begin; `None` = the process's working directory.
    pub working_dir: Option<PathBuf>,
}

/// The command line's flags that only a synthesis has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SynthesisFlags {
    /// `--voice-id`: one or more, in place of the definition's.
    pub voices: Option<Vec<String>>,
    /// `--name`: of the outputs.
    pub name: Option<String>,
    /// `--part-chars`
    pub part_chars: Option<u32>,
    /// `--captions`
    pub captions: Option<Vec<CaptionFormat>>,
    /// `--pronunciations`: a file.
    pub pronunciations: Option<String>,
    /// `--text-column`: a column's name, or a template over columns.
    pub text_column: Option<String>,
    /// `--no-reuse`: what is in the audio cache will not do.
    pub no_reuse: bool,
}

impl SynthesisFlags {
    /// Those that are set, by name.
    pub(super) fn set(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            ("voice-id", self.voices.is_some()),
            ("name", self.name.is_some()),
            ("part-chars", self.part_chars.is_some()),
            ("captions", self.captions.is_some()),
            ("pronunciations", self.pronunciations.is_some()),
            ("text-column", self.text_column.is_some()),
            ("no-reuse", self.no_reuse),
        ];
        flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name)
    }
}

impl Overrides {
    /// Whether a flag decides this field of a definition, and which.
    pub(super) fn flag_of(&self, field: &str) -> Option<String> {
        let synthesis = |name: &str| self.synthesis.set().any(|flag| flag == name);
        let set = match field {
            "date" => self.date.is_some(),
            "no_source" => self.no_source.is_some(),
            "allow_empty" => self.allow_empty,
            "batch" => self.batch.is_some(),
            "manifest" => self.manifest.is_some(),
            "manifest_format" => self.manifest_format.is_some(),
            "output" => self.output.is_some(),
            "report.to" if self.report.is_some() => return Some("report".into()),
            "include" => self.include.is_some(),
            "exclude" => self.exclude.is_some(),
            "option_columns" => self.option_columns.is_some(),
            "columns.key" if self.key_column.is_some() => return Some("key-column".into()),
            "columns.source" if self.source_column.is_some() => return Some("source-column".into()),
            "columns.text" if self.synthesis.text_column.is_some() => return Some("text-column".into()),
            "synthesize.voice_id" | "synthesize.voices" if synthesis("voice-id") => return Some("voice-id".into()),
            "transcribe.formats" | "synthesize.formats" => self.formats.is_some(),
            _ => {
                let of_task = field.strip_prefix("transcribe.").or_else(|| field.strip_prefix("synthesize."));
                of_task.is_some_and(|name| {
                    self.options.iter().any(|(own, _)| *own == name) || synthesis(&name.replace('_', "-"))
                })
            }
        };
        set.then(|| field.rsplit('.').next().unwrap_or(field).replace('_', "-"))
    }
}
