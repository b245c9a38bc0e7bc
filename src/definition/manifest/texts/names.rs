//! The name of an output: a template over what the output is of, and the line's columns.

use super::super::{
    super::{
        template::{Names, Segment, Template},
        text::{did_you_mean, excerpt, ticked},
    },
    columns::Uses,
    record::Record,
};
use crate::domain::{options::listed, synthesis::OutputFormat, synthesis_options::SynthesisOptions};

listed! {
    /// What an output is of.
    Of, "placeholder" {
        /// The line's key.
        Key = "key",
        /// The voice.
        VoiceId = "voice_id",
        /// The language asked for; of none, `auto`.
        Language = "language",
        /// The format.
        Format = "format",
        /// The samples a second.
        SampleRate = "sample_rate",
    }
}

/// A template whose names are found.
#[derive(Debug)]
pub(super) struct OutputName(Vec<TemplatePart>);

#[derive(Debug)]
enum TemplatePart {
    Text(String),
    Cell(usize),
    Of(Of),
}

impl OutputName {
    /// Finds its names. What an output is of goes before a column of that name, for a cell may be empty.
    pub(super) fn of(template: &str, uses: &Uses<'_>) -> Result<Self, String> {
        let template = Template::parse(template).map_err(|e| e.to_string())?;
        let shared = uses.definition;
        let names = Names { name: &shared.name, batch: Some(shared.batch.as_str()), date: shared.date };
        let part = |segment: &Segment| {
            let Segment::Name(name) = segment else {
                return names.text(segment).map(TemplatePart::Text).map_err(|e| e.to_string());
            };
            if let Ok(of) = name.parse() {
                return Ok(TemplatePart::Of(of));
            }
            if let Some(at) = uses.find(&[name], uses.columns.len()) {
                return Ok(TemplatePart::Cell(at));
            }
            names.text(segment).map(TemplatePart::Text).map_err(|fault| match name.as_str() {
                "date" => fault.to_string(),
                _ => {
                    let known: Vec<&str> =
                        Of::ALL.iter().map(|of| of.as_str()).chain(uses.columns.iter().map(String::as_str)).collect();
                    let near = did_you_mean(name, &known);
                    format!("nothing is called `{}`{near}; known: {}", excerpt(name), ticked(&known))
                }
            })
        };
        template.segments().iter().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it has this placeholder.
    pub(super) fn has(&self, of: Of) -> bool {
        self.0.iter().any(|part| matches!(part, TemplatePart::Of(own) if *own == of))
    }

    /// The name of a line's output.
    pub(super) fn text(&self, record: &Record, key: &str, options: &SynthesisOptions, format: &OutputFormat) -> String {
        let part = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Cell(at) => record.cell(*at).trim().to_owned(),
            TemplatePart::Of(Of::Key) => key.to_owned(),
            TemplatePart::Of(Of::VoiceId) => options.voice_id.clone(),
            TemplatePart::Of(Of::Language) => {
                options.language.map_or_else(|| "auto".to_owned(), |language| language.to_string())
            }
            TemplatePart::Of(Of::Format) => format.format.to_string(),
            TemplatePart::Of(Of::SampleRate) => format.sample_rate.to_string(),
        };
        self.0.iter().map(part).collect()
    }
}
