//! The name of an output: a template over the output's attributes and the line's columns.

use crate::{
    definition::{
        manifest::{Record, Uses},
        template::{Names, Segment, Template},
        text::{did_you_mean, excerpt, ticked},
    },
    domain::{options::listed, synthesis::OutputFormat, synthesis_options::SynthesisOptions},
};

listed! {
    /// An attribute of an output.
    Of, "placeholder" {
        /// The line's key.
        Key = "key",
        /// The voice.
        VoiceId = "voice_id",
        /// The requested language; `auto` if there is none.
        Language = "language",
        /// The format.
        Format = "format",
        /// The sample rate in Hz.
        SampleRate = "sample_rate",
    }
}

/// A template whose placeholders are resolved.
#[derive(Debug)]
pub(super) struct OutputName(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Cell(usize),
    Of(Of),
}

impl OutputName {
    /// Resolves the placeholders. An attribute of the output takes precedence over a column of the same name, whose cell may be
    /// empty.
    pub(super) fn of(template: &str, uses: &Uses<'_>) -> Result<Self, String> {
        let template = Template::parse(template).map_err(|e| e.to_string())?;
        let shared = uses.definition;
        let names = Names { name: &shared.name, batch: Some(shared.batch.as_str()), date: shared.date };
        let part = |segment: &Segment| {
            let Segment::Name(name) = segment else {
                return names.text(segment).map(Part::Text).map_err(|e| e.to_string());
            };
            if let Ok(of) = name.parse() {
                return Ok(Part::Of(of));
            }
            if let Some(at) = uses.find(&[name], uses.columns.len())? {
                return Ok(Part::Cell(at));
            }
            names.text(segment).map(Part::Text).map_err(|fault| match name.as_str() {
                "date" => fault.to_string(),
                _ => {
                    let mut known: Vec<&str> = Of::ALL.iter().map(|of| of.as_str()).collect();
                    let columns = uses.columns.iter().map(String::as_str);
                    // A column that is called like an attribute of the output cannot be named.
                    known.extend(columns.filter(|column| column.parse::<Of>().is_err()));
                    let near = did_you_mean(name, &known);
                    format!("nothing is called `{}`{near}; known: {}", excerpt(name), ticked(&known))
                }
            })
        };
        template.segments().iter().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// The columns that it is made from.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|part| if let Part::Cell(at) = part { Some(*at) } else { None })
    }

    /// Whether it has this placeholder.
    pub(super) fn has(&self, of: Of) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Of(own) if *own == of))
    }

    /// The name of one output of a line.
    pub(super) fn text(&self, record: &Record, key: &str, options: &SynthesisOptions, format: &OutputFormat) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Cell(at) => record.cell(*at).trim().to_owned(),
            Part::Of(Of::Key) => key.to_owned(),
            Part::Of(Of::VoiceId) => options.voice_id.clone(),
            Part::Of(Of::Language) => {
                options.language.map_or_else(|| "auto".to_owned(), |language| language.to_string())
            }
            Part::Of(Of::Format) => format.format.to_string(),
            Part::Of(Of::SampleRate) => format.sample_rate.to_string(),
        };
        self.0.iter().map(part).collect()
    }
}
