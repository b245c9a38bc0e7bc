//! Prompts: texts with the names of columns in braces. Other braces, as those of JSON, stand for themselves.

use crate::{
    definition::{
        manifest::{Record, Uses},
        template::{Names, Segment, Template},
    },
    domain::chat::QuotedFrom,
};

/// The name that stands for the JSON Schema of replies.
pub(super) const SCHEMA: &str = "schema";
/// The longest name of a column in a prompt, in bytes.
const LONGEST_NAME: usize = 64;

/// Reads a text for the model. What is in braces is the name of a column where it can be one: without quotes, commas, colons and
/// breaks. `{{name}}` stands for `{name}` itself.
///
/// # Errors
/// A date with a format that cannot be written.
pub(super) fn parse(text: &str) -> Result<Template, String> {
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        escaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let literal = rest.strip_prefix('{').and_then(name_in).filter(|_| rest.starts_with("{{"));
        let taken = match (literal, name_in(rest)) {
            (Some(inner), _) if rest[inner.len() + 3..].starts_with('}') => {
                let whole = &rest[..inner.len() + 4];
                escaped.push_str(whole);
                whole.len()
            }
            (_, Some(name)) => {
                let whole = &rest[..name.len() + 2];
                escaped.push_str(whole);
                whole.len()
            }
            _ => {
                escaped.push_str(&rest[..1]);
                escaped.push_str(&rest[..1]);
                1
            }
        };
        rest = &rest[taken..];
    }
    escaped.push_str(rest);
    Template::parse(&escaped).map_err(|fault| fault.to_string())
}

/// The name in braces at the beginning of a text.
fn name_in(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_plain = |c: char| !matches!(c, '{' | '"' | '\'' | ',' | ':' | ';' | '\n' | '\r' | '[' | ']' | '\\');
    let is_date = name.starts_with("date:") && !name.contains(['\n', '{', '"']);
    let is_name = (1..=LONGEST_NAME).contains(&name.len())
        && name.trim() == name
        && name.chars().all(is_plain)
        && name.contains(char::is_alphanumeric);
    (is_date || is_name).then_some(name)
}

/// A prompt whose columns are known.
#[derive(Debug)]
pub(super) struct Prompt(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Cell(usize),
}

/// A prompt of one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Whether one of its cells has something, or it has none.
    pub(super) has_content: bool,
    /// The bytes that each cell takes, in order.
    cells: Vec<(usize, std::ops::Range<usize>)>,
}

impl Prompt {
    /// One cell.
    pub(super) fn of_cell(at: usize) -> Self {
        Self(vec![Piece::Cell(at)])
    }

    /// Finds the columns of a prompt.
    ///
    /// # Errors
    /// A column that does not exist, or may be one of several.
    pub(super) fn of(template: &Template, uses: &Uses<'_>, schema: Option<&str>) -> Result<Self, String> {
        let definition = uses.definition;
        let names = Names { name: &definition.name, batch: Some(definition.batch.as_str()), date: definition.date };
        let piece = |segment: &Segment| {
            if let Segment::Name(name) = segment {
                if let Some(at) = uses.find(&[name], uses.columns.len())? {
                    return Ok(Piece::Cell(at));
                }
                if let Some(schema) = schema.filter(|_| name == SCHEMA) {
                    return Ok(Piece::Text(schema.to_owned()));
                }
                if names.text(segment).is_err() && name != "date" {
                    // Its fault names the columns that there are.
                    uses.rule(&Template::of_name(name), uses.columns.len())?;
                }
            }
            names.text(segment).map(Piece::Text).map_err(|fault| fault.to_string())
        };
        template.segments().iter().map(piece).collect::<Result<_, _>>().map(Self)
    }

    /// The columns that it has.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|piece| if let Piece::Cell(at) = piece { Some(*at) } else { None })
    }

    /// The column, if the prompt is exactly one cell.
    pub(super) fn column(&self) -> Option<usize> {
        if let [Piece::Cell(at)] = self.0.as_slice() { Some(*at) } else { None }
    }

    /// The text of a line.
    pub(super) fn fill(&self, record: &Record) -> Filled {
        let mut filled = Filled { has_content: self.columns().next().is_none(), ..Filled::default() };
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.text.push_str(text),
                Piece::Cell(at) => {
                    let (cell, start) = (record.cell(*at).trim(), filled.text.len());
                    filled.has_content |= !cell.is_empty();
                    filled.text.push_str(cell);
                    filled.cells.push((*at, start..filled.text.len()));
                }
            }
        }
        filled
    }
}

impl Filled {
    /// Where quotes of a line with this prompt must stand, if that is the text of `source`: in the prompt, if it has that text.
    pub(super) fn quoted_from(&self, source: &Prompt, record: &Record) -> QuotedFrom {
        let in_prompt = source.column().and_then(|at| self.cells.iter().find(|(own, _)| *own == at));
        match in_prompt {
            Some((_, bytes)) => QuotedFrom::Prompt(bytes.start, bytes.end),
            None => QuotedFrom::Text(source.fill(record).text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> String {
        let template = parse(text).unwrap();
        let piece = |segment: &Segment| match segment {
            Segment::Text(text) => format!("<{text}>"),
            Segment::Name(name) => format!("({name})"),
            Segment::Date(format) => format!("[{format}]"),
        };
        template.segments().iter().map(piece).collect()
    }

    #[test]
    fn the_braces_of_json_stand_for_themselves() {
        assert_eq!(pieces("Score {transcript} for {Call ID}."), "<Score >(transcript)< for >(Call ID)<.>");
        assert_eq!(pieces(r#"like {"a": {"b": [1]}} {transcript}"#), r#"<like {"a": {"b": [1]}} >(transcript)"#);
        assert_eq!(pieces("{} { } {\n} {a: b} }{ {[x]} {...}"), "<{} { } {\n} {a: b} }{ {[x]} {...}>");
        assert_eq!(pieces("{{name}} {{{x}}"), "<{name} {{x}>");
        assert_eq!(pieces("{date:%d %B} {date}"), "[%d %B]< >(date)");
        assert_eq!(pieces("नमस्ते {नाम}"), "<नमस्ते >(नाम)");
        assert!(parse("{date:%H}").is_err());
    }

    #[test]
    fn a_line_fills_its_cells_and_remembers_where() {
        let mut record = Record::default();
        record.start(1);
        [" Ann ", "Hi.\nThere."].iter().for_each(|cell| record.push(cell));
        let prompt =
            Prompt(vec![Piece::Text("Call of ".into()), Piece::Cell(0), Piece::Text(": ".into()), Piece::Cell(1)]);
        let filled = prompt.fill(&record);
        assert_eq!((filled.text.as_str(), filled.has_content), ("Call of Ann: Hi.\nThere.", true));
        let QuotedFrom::Prompt(start, end) = filled.quoted_from(&Prompt::of_cell(1), &record) else {
            panic!("it has it")
        };
        assert_eq!(&filled.text[start..end], "Hi.\nThere.");
        let other = Prompt::of_cell(0).fill(&record).quoted_from(&Prompt::of_cell(1), &record);
        assert_eq!(other, QuotedFrom::Text("Hi.\nThere.".into()));
        record.start(2);
        assert!(!prompt.fill(&record).has_content, "all of its cells are empty");
    }
}
