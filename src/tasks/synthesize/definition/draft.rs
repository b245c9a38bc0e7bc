//! The fields that only a synthesis batch's definition has, before the defaults.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    definition::{
        NoSource, Page,
        fields::{FieldTable, fields},
        prose::MarkdownReading,
        text::{did_you_mean, excerpt, named, some, ticked},
        walk::{Section, TomlWalk, Wrong, number},
    },
    domain::{
        synthesis::{
            CaptionFormat, MAX_PAUSE_MS, OutputFormat, SpeechChecks, SynthesisOption, SynthesisOverrides, Transport,
            ending, part_chars,
        },
        synthesis_options::{AudioFormat, SampleRate, TtsLanguage, TtsModel, voice_id},
    },
};

/// The rows of the reference.
pub(super) const FIELDS: &[FieldTable] = &[ROOT, COLUMNS, OPTIONS, PAUSE, CHECKS, REPORT];

fields! {
    /// Further fields of a synthesis.
    ROOT = "" {
        /// The columns that override options for their line.
        "option_columns": [SynthesisOption, ..] (or "all columns that are named like an option") => Lines;
        /// The column of the text in each language, e.g. `{ en = "text_en", hi = "text_hi" }`. Each text is spoken in its language. An empty cell is not spoken.
        "text_columns": "a table of strings by language" (or "one text a line") => Lines;
        /// What happens to a line that has no text.
        "no_text": [NoSource] (= "\"fault\"") => Lines;
    }
}

fields! {
    /// Columns of a synthesis.
    COLUMNS = "columns" {
        /// The column of the text.
        "text": "a string" (or "`text`") => Lines;
        /// The column of the path of a file that has the text.
        "text_file": "a string" (or "`text_file`") => Lines;
        /// The column of an option of `[synthesize]`, by the option's name: `voice_id`, `language`, …
        "OPTION": "a string" (or "the option's own name") => Lines;
    }
}

fields! {
    /// How texts are spoken. If finished lines would have to be paid for again after a change, the command exits with 2 and says
    /// what it costs, until you say `--rebuy`. That is so for the model, the language, `speed`,
    /// `number_pronunciation_language`, `math_notation`, `part_chars` and `pronunciations`. Another voice or format is another
    /// output, which is new; that of the former voice stays. Names, endings, pauses, captions,
    /// checks and the way in which Markdown is read can be changed at any time: only the parts whose text changes are paid for.
    OPTIONS = "synthesize" {
        /// The model. Each model has voices of its own.
        "model": [TtsModel] (required) => Pays;
        /// The voice. `voices` may stand in its place, or each line names its own in a column.
        "voice_id": "a string" () => Lines;
        /// Several voices, each of which speaks every line; or lists of voices by the line's language, e.g. `{ en = ["kaitlyn"], hi = ["meher"] }`.
        "voices": "a list of strings, or a table of lists by language" () => Lines;
        /// The language of the text.
        "language": [TtsLanguage] (or "the model's own choice") => Pays;
        /// The pace: 0.5 to 2.
        "speed": "a number" (= "1.0") => Pays;
        /// The language in which numbers are read out.
        "number_pronunciation_language": [TtsLanguage] (or "that of the text") => Pays;
        /// Read `5 x 3` as a product.
        "math_notation": "true or false" (= "false") => Pays;
        /// Ask the vendor to delete the content (enterprise plans). With `true`, an answer that does not say `applied` pauses the batch. With `"try"`, the answer is only noted.
        "expire_content": "true, false or \"try\"" (= "false") => Nothing;
        /// The formats to write for each line and voice. A format may also be a table with its `sample_rate` and `ending`, e.g. `{ format = "ulaw", sample_rate = 8000, ending = "ul" }`.
        "formats": [AudioFormat, ..] (= "[\"wav\"]") => Lines;
        /// The outputs' names without their endings: a template over `{key}`, `{voice_id}`, `{language}`, `{format}`, `{sample_rate}` and columns. `/` makes folders.
        "name": "a string" (or "`{key}`, and what distinguishes two outputs of a line") => Writes;
        /// The longest part of a text that is one call, in characters: at most 8,000. The vendor recommends 250.
        "part_chars": "a whole number" (= "250") => Pays;
        /// Speech with more characters a second than this, times the speed, is suspect (`too_short`); 0 turns the check off.
        "max_chars_per_second": "a number" (= "25") => Nothing;
        /// Captions, which say when each sentence is spoken.
        "captions": [CaptionFormat, ..] (= "[]") => Writes;
        /// A CSV with the columns `word` and `pronunciation`.
        "pronunciations": "a string" () => Pays;
        /// How the audio is requested.
        "transport": [Transport] (= "\"auto\"") => Nothing;
        /// How Markdown files are read.
        "markdown": [MarkdownReading] (= "\"prose\"") => Lines;
    }
}

fields! {
    /// The report of a synthesis.
    REPORT = "report" {
        /// Whether the report has the texts that are spoken.
        "text": "true or false" (= "false") => Nothing;
    }
}

fields! {
    /// The silence after parts of a text, in milliseconds: 0 to 60,000. A change joins the audio again and costs nothing.
    PAUSE = "synthesize.pause" {
        /// After a sentence, where a part ends there.
        "sentence_ms": "a whole number" (= "0") => Writes;
        /// After a paragraph.
        "paragraph_ms": "a whole number" (= "600") => Writes;
        /// After a heading of Markdown.
        "heading_ms": "a whole number" (= "1000") => Writes;
        /// Between two scenes: a paragraph without letters and digits, or a rule of Markdown.
        "break_ms": "a whole number" (= "1500") => Writes;
    }
}

fields! {
    /// What makes speech suspect. 0 or `false` turns a check off. After a change, `run` judges again and pays for nothing.
    CHECKS = "synthesize.checks" {
        /// How many times as long as usual for its text a part may be (1 to 100).
        "too_long": "a number" (= "2.0") => Nothing;
        /// The share of a part that may be long silences (0.05 to 1).
        "half_silent": "a number" (= "0.45") => Nothing;
        /// The share of samples that may be cut off (0.0001 to 1).
        "clipped": "a number" (= "0.005") => Nothing;
        /// By how many dB two neighbouring parts may differ in level (1 to 96).
        "level_jump_db": "a number" (= "12") => Nothing;
        /// Whether silence alone is suspect.
        "silent": "true or false" (= "true") => Nothing;
        /// Whether one constant sound is suspect.
        "constant_sound": "true or false" (= "true") => Nothing;
    }
}

/// The fields that the file sets; `None` if it does not set one.
#[derive(Debug, Default)]
pub(super) struct SynthesisDraft {
    pub(super) text: Option<String>,
    pub(super) text_file: Option<String>,
    /// The column of the text in each language.
    pub(super) text_columns: BTreeMap<TtsLanguage, String>,
    pub(super) option_columns: Option<Vec<SynthesisOption>>,
    pub(super) mapped: Vec<(SynthesisOption, String)>,
    pub(super) options: SynthesisOverrides,
    pub(super) voices: Option<Voices>,
    pub(super) no_text: Option<NoSource>,
    pub(super) formats: Option<Vec<OutputFormat>>,
    pub(super) name: Option<String>,
    pub(super) part_chars: Option<usize>,
    pub(super) sentence_ms: Option<u32>,
    pub(super) paragraph_ms: Option<u32>,
    pub(super) heading_ms: Option<u32>,
    pub(super) break_ms: Option<u32>,
    pub(super) max_chars_per_second: Option<f64>,
    pub(super) checks: SpeechChecks,
    pub(super) captions: Option<Vec<CaptionFormat>>,
    pub(super) pronunciations: Option<String>,
    pub(super) transport: Option<Transport>,
    pub(super) markdown: Option<MarkdownReading>,
}

/// `voices`: those of each line, or by the line's language.
#[derive(Debug)]
pub(super) enum Voices {
    All(Vec<String>),
    ByLanguage(BTreeMap<TtsLanguage, Vec<String>>),
}

/// Reads the fields: those of the file's top level, of `[columns]`, and all of `[synthesize]`.
pub(super) fn read(page: &mut Page<'_, '_>) -> SynthesisDraft {
    let mapped = page.mapped(SynthesisOption::ALL);
    let Page { walk, root, columns } = page;
    let text = walk.text(columns, "text", some);
    let text_file = walk.text(columns, "text_file", some);
    let option_columns = walk.list(root, "option_columns", named);
    let text_columns = read_text_columns(walk, root);
    let no_text = walk.text(root, "no_text", named);
    let mut section = walk.section(root, "synthesize");
    let s = &mut section;
    let options = read_options(walk, s);
    let voices = walk.any_of(s, "voices", read_voices);
    let formats = read_formats(walk, s);
    let name = walk.text(s, "name", some);
    let parts = walk.take(s, "part_chars", |value| part_chars(whole(value)?).map_err(Wrong::Value));
    let mut pause = walk.section(s, "pause");
    let mut silence = |name| walk.take(&mut pause, name, |value| within(value, 0..=MAX_PAUSE_MS));
    let (sentence_ms, paragraph_ms) = (silence("sentence_ms"), silence("paragraph_ms"));
    let (heading_ms, break_ms) = (silence("heading_ms"), silence("break_ms"));
    walk.close(pause);
    let max_chars_per_second = walk.take(s, "max_chars_per_second", |value| match number(value)? {
        most @ 0.0..=1_000.0 => Ok(most),
        other => Err(Wrong::Value(format!("{other} is not between 0 (off) and 1000"))),
    });
    let checks = read_checks(walk, s);
    let captions = walk.list(s, "captions", named);
    let pronunciations = walk.text(s, "pronunciations", some);
    let transport = walk.text(s, "transport", named);
    let markdown = walk.text(s, "markdown", named);
    walk.close(section);
    SynthesisDraft {
        text,
        text_file,
        text_columns,
        option_columns,
        mapped,
        options,
        voices,
        no_text,
        formats,
        name,
        part_chars: parts,
        sentence_ms,
        paragraph_ms,
        heading_ms,
        break_ms,
        max_chars_per_second,
        checks,
        captions,
        pronunciations,
        transport,
        markdown,
    }
}

/// `{ en = "text_en", hi = "text_hi" }`
fn read_text_columns<'t>(walk: &mut TomlWalk<'t>, root: &mut Section<'t>) -> BTreeMap<TtsLanguage, String> {
    const EXAMPLE: &str = "must be a table of columns by language: { en = \"text_en\", hi = \"text_hi\" }";
    let read = |value: &DeValue<'_>| -> Result<BTreeMap<TtsLanguage, String>, String> {
        let table = value.as_table().filter(|table| !table.is_empty()).ok_or(EXAMPLE)?;
        let column = |(language, column): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let (name, column) = (AsRef::<str>::as_ref(language.get_ref()), column.get_ref().as_str());
            let language = name.parse::<TtsLanguage>().map_err(|fault| fault.to_string())?;
            Ok((language, some(column.ok_or(EXAMPLE)?).map_err(|fault| format!("`{name}`: {fault}"))?))
        };
        table.iter().map(column).collect()
    };
    walk.any_of(root, "text_columns", read).unwrap_or_default()
}

/// `[synthesize.checks]`
fn read_checks<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> SpeechChecks {
    let mut checks = walk.section(section, "checks");
    let mut threshold = |name, default, range: RangeInclusive<f64>| {
        let taken = walk.take(&mut checks, name, |value| match number(value)? {
            0.0 => Ok(0.0),
            taken if range.contains(&taken) => Ok(taken),
            other => Err(Wrong::Value(format!(
                "{other} is neither 0 (off) nor between {} and {}",
                range.start(),
                range.end()
            ))),
        });
        taken.unwrap_or(default)
    };
    let default = SpeechChecks::default();
    let too_long = threshold("too_long", default.too_long, 1.0..=100.0);
    let half_silent = threshold("half_silent", default.half_silent, 0.05..=1.0);
    let clipped = threshold("clipped", default.clipped, 0.0001..=1.0);
    let level_jump_db = threshold("level_jump_db", default.level_jump_db, 1.0..=96.0);
    let mut switch = |name, default| walk.take(&mut checks, name, flag).unwrap_or(default);
    let silent = switch("silent", default.silent);
    let constant_sound = switch("constant_sound", default.constant_sound);
    walk.close(checks);
    SpeechChecks { too_long, silent, half_silent, clipped, constant_sound, level_jump_db }
}

fn flag(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or(Wrong::Type("true or false"))
}

/// `["avery"]`, or `{ en = ["avery"], hi = ["devansh"] }`
fn read_voices(value: &DeValue<'_>) -> Result<Voices, String> {
    const WANTED: &str =
        "must be a list of voices, or a table of such lists by language: { en = [\"avery\"], hi = [\"devansh\"] }";
    let list = |value: &DeValue<'_>| -> Result<Vec<String>, String> {
        let items = value.as_array().ok_or(WANTED)?.iter();
        items.map(|item| some(item.get_ref().as_str().ok_or(WANTED)?)).collect()
    };
    let Some(table) = value.as_table() else { return list(value).map(Voices::All) };
    let mut voices = BTreeMap::new();
    for (language, value) in table {
        let name = language.get_ref().as_ref();
        let language = name.parse::<TtsLanguage>().map_err(|fault| fault.to_string())?;
        let own = list(value.get_ref())?;
        if own.is_empty() {
            return Err(format!("names no voice for `{name}`"));
        }
        for (at, id) in own.iter().enumerate() {
            voice_id(id)?;
            if own[..at].contains(id) {
                return Err(format!("`{id}` stands twice for `{name}`"));
            }
        }
        voices.insert(language, own);
    }
    if voices.is_empty() { Err("names no voice".to_owned()) } else { Ok(Voices::ByLanguage(voices)) }
}

fn read_options<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> SynthesisOverrides {
    let mut options = SynthesisOverrides::default();
    for option in SynthesisOption::ALL.iter().copied() {
        let wanted = match option {
            SynthesisOption::Speed => "a number",
            SynthesisOption::MathNotation => "true or false",
            SynthesisOption::ExpireContent => "true, false or \"try\"",
            _ => "a string",
        };
        walk.take(section, option.as_str(), |value| {
            let text_of_number;
            let text = match value {
                DeValue::String(text) if wanted == "a string" || wanted.contains('"') => text.as_ref(),
                DeValue::Boolean(flag) if wanted.starts_with("true") => ["false", "true"][usize::from(*flag)],
                DeValue::Integer(_) | DeValue::Float(_) if wanted == "a number" => {
                    text_of_number = number(value)?.to_string();

                    &text_of_number
                }
                _ => return Err(Wrong::Type(wanted)),
            };
            options.set(option, text).map_err(Wrong::Value)
        });
    }
    options
}

/// The formats; `None` if one of them is wrong, since then the missing ones are unknown.
fn read_formats<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> Option<Vec<OutputFormat>> {
    let mut wrong = Vec::new();
    let taken = walk.take(section, "formats", |value| {
        let items = value.as_array().ok_or(Wrong::Type("a list of formats"))?;
        Ok(items.iter().filter_map(|item| format_of(item, &mut wrong)).collect::<Vec<_>>())
    });
    let taken = taken.filter(|_| wrong.is_empty());
    for (at, message) in wrong {
        walk.fault(at, Some("synthesize.formats".to_owned()), message);
    }
    taken
}

type Faulty = Vec<(usize, String)>;

fn format_of(item: &Spanned<DeValue<'_>>, wrong: &mut Faulty) -> Option<OutputFormat> {
    let at = item.span().start;
    let format = match item.get_ref() {
        DeValue::String(name) => AudioFormat::named(name).map(OutputFormat::of),
        DeValue::Table(table) => return table_format(table, at, wrong),
        _ => Err("must be formats like \"wav\", or { format = \"ulaw\", sample_rate = 8000, ending = \"ul\" }".into()),
    };
    format.map_err(|message| wrong.push((at, message))).ok()
}

fn table_format(table: &DeTable<'_>, at: usize, wrong: &mut Faulty) -> Option<OutputFormat> {
    const FIELDS: [&str; 3] = ["format", "sample_rate", "ending"];
    let (mut format, mut sample_rate, mut own_ending) = (None, None, None);
    let before = wrong.len();
    for (name, value) in table {
        let (name, text) = (name.get_ref().as_ref(), value.get_ref().as_str());
        let wanted = |what: &str| format!("`{name}` must be {what}");
        let taken = match name {
            "format" => text.ok_or_else(|| wanted("a string")).and_then(|text| {
                format = Some(AudioFormat::named(text)?);
                Ok(())
            }),
            "sample_rate" => match value.get_ref().as_integer().map(ToString::to_string) {
                Some(hz) => {
                    sample_rate = hz.parse().ok().and_then(SampleRate::from_hz);
                    let known = SampleRate::NAMES.join(", ");
                    sample_rate.map(drop).ok_or_else(|| format!("{hz} is not a sample rate; known: {known}"))
                }
                None => Err(wanted("a whole number")),
            },
            "ending" => text.ok_or_else(|| wanted("a string")).and_then(|text| {
                own_ending = Some(text.to_owned());
                ending(text)
            }),
            other => {
                let near = did_you_mean(other, &FIELDS);
                Err(format!("a format has no `{}`{near}; known: {}", excerpt(other), ticked(&FIELDS)))
            }
        };
        if let Err(message) = taken {
            wrong.push((value.span().start, message));
        }
    }
    if format.is_none() && wrong.len() == before {
        wrong.push((at, "names no format; e.g. { format = \"ulaw\", sample_rate = 8000 }".into()));
    }
    let own = OutputFormat::of(format.filter(|_| wrong.len() == before)?);
    Some(OutputFormat {
        sample_rate: sample_rate.unwrap_or(own.sample_rate),
        ending: own_ending.unwrap_or(own.ending),
        format: own.format,
    })
}

fn whole(value: &DeValue<'_>) -> Result<u32, Wrong> {
    within(value, 0..=u32::MAX)
}

fn within(value: &DeValue<'_>, range: RangeInclusive<u32>) -> Result<u32, Wrong> {
    let number = value.as_integer().ok_or(Wrong::Type("a whole number"))?;
    let taken = u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|taken| range.contains(taken));
    taken.ok_or_else(|| not_between(number, range.start(), range.end()))
}

fn not_between(number: impl Display, from: impl Display, to: impl Display) -> Wrong {
    Wrong::Value(format!("{number} is not between {from} and {to}"))
}
