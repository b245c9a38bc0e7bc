//! How a record of a manifest of texts becomes jobs: the text, or the text of its file, in each voice and format.

mod columns;
mod findings;
mod judge;
mod languages;
mod look;
mod output_name;
mod outputs;
mod requested_voices;
#[cfg(test)]
mod tests;
mod text_line;

pub(super) use self::columns::{TEXT_FILE_NAMES, TEXT_NAMES};
use self::{
    columns::TextColumns,
    judge::TextJudge,
    outputs::{Named, proposal},
};
pub use self::{
    findings::TextFindings,
    requested_voices::{RequestedVoice, RequestedVoices, VoiceUse},
};
use crate::{
    definition::{
        Faults, Synthesizing,
        manifest::{
            Base, Columns, Emptiness, JobDraft, LineFault, LineJudge, LineName, ManifestLine, OpenManifest,
            RecordReader, ScanDepth, UnnamedColumns,
        },
        path_map::PathMap,
        text::excerpt,
    },
    domain::{
        synthesis::{Rendition, Synthesis},
        synthesis_options::TtsLanguage,
    },
};

/// The default columns of plain lines, and of files.
pub(crate) const UNNAMED: UnnamedColumns = UnnamedColumns { line: "text", files: ["text_file", "key"] };

/// Determines the purpose of each column of a manifest of texts.
pub(crate) fn open_records<'d>(
    asked: &'d Synthesizing,
    mut manifest: OpenManifest<'_>,
) -> Result<Box<dyn RecordReader + 'd>, Faults> {
    // An empty manifest has no lines that the columns could apply to.
    let columns = manifest.take_columns().unwrap_or_else(|| vec![UNNAMED.line.to_owned()]);
    let columns = TextColumns::of(asked, &manifest, columns)?;
    let path_map = manifest.definition.path_map.clone();
    Ok(Box::new(Texts { asked, columns, base: manifest.base, path_map }))
}

/// A reader of texts.
#[derive(Debug)]
struct Texts<'d> {
    asked: &'d Synthesizing,
    columns: TextColumns,
    base: Base,
    path_map: PathMap,
}

impl RecordReader for Texts<'_> {
    fn columns(&self) -> &Columns {
        &self.columns.columns
    }

    fn begin(&self, depth: ScanDepth) -> Box<dyn LineJudge + '_> {
        Box::new(TextJudge::new(self, depth))
    }

    fn doubled_key(&self, _key: &str, first: &LineName) -> LineFault {
        LineFault::new(self.columns.columns.key.clone(), format!("the key is also that of {first}"))
    }

    fn nothing(&self, of: Emptiness) -> String {
        match of {
            Emptiness::Table | Emptiness::File => "has no lines".to_owned(),
            Emptiness::Listing => "no texts are found".to_owned(),
        }
    }

    fn clash(&self, line: &ManifestLine, first: &ManifestLine, name: &LineName) -> Option<String> {
        let (ours, theirs) = (renditions(line), renditions(first));
        let (at, other) = ours.iter().enumerate().find_map(|(at, output)| {
            let before = if line.number == first.number { &theirs[..at] } else { &theirs[..] };
            before.iter().find(|other| other.file() == output.file()).map(|other| (at, other))
        })?;
        let output = &ours[at];
        let shown = |output: &Rendition| {
            let language = output.overrides.language.filter(|_| self.columns.has_languages());
            let language = language.map(|language| format!("{language} by ")).unwrap_or_default();
            format!("{language}{} in {}", output.voice_id(), output.format)
        };
        let (own, others) = (language(output, &self.asked.synthesis), language(other, &self.asked.synthesis));
        let proposal = proposal(
            &self.columns,
            &Named { output, key: line.key.as_str(), language: own },
            &Named { output: other, key: first.key.as_str(), language: others },
        );
        Some(format!(
            "`{}` would be the name of two outputs: {}, and {} of {name}; {proposal}",
            excerpt(&output.file()),
            shown(output),
            shown(other)
        ))
    }
}

/// What a job makes of its line, as it is stored with the job.
pub(crate) fn rendition(job: &JobDraft) -> Option<Rendition> {
    serde_json::from_str(job.overrides.as_deref()?).ok()
}

fn renditions(line: &ManifestLine) -> Vec<Rendition> {
    line.jobs.iter().filter_map(rendition).collect()
}

fn language(output: &Rendition, asked: &Synthesis) -> Option<TtsLanguage> {
    output.overrides.language.or(asked.options.language)
}
