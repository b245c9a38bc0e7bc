//! Templates, texts with names in braces: `out/{batch}/`, `{call_id}-{leg}`, `{date:%Y/%m/%d}`.

use jiff::civil::Date;

use super::{dates, text::did_you_mean};

/// A text with names to be filled in. `{{` and `}}` stand for the braces themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
}

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Literal text.
    Text(String),
    /// A name to look up.
    Name(String),
    /// The batch's date, in a checked strftime format.
    Date(String),
}

/// The values of a template's names where there is no line.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// `{name}`: the definition's name.
    pub name: &'a str,
    /// `{batch}`: the batch's name, if it is known already.
    pub batch: Option<&'a str>,
    /// `{date}`: the batch's date, if it has one.
    pub date: Option<Date>,
}

/// Why a template cannot be read or filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// `{` without `}`.
    #[error("a `{{` is never closed; write `{{{{` for a brace itself")]
    Unclosed,
    /// `}` without `{`.
    #[error("a `}}` closes nothing; write `}}}}` for a brace itself")]
    Unopened,
    /// `{}`
    #[error("`{{}}` names nothing")]
    Unnamed,
    /// An invalid date format.
    #[error("{0}")]
    Format(String),
    /// `{date}` without a date.
    #[error(
        "`{{date}}` needs a date: add date = \"yesterday\" (or \"today\", or a day) to the definition, or say --date"
    )]
    NoDate,
    /// An unknown name.
    #[error("`{{{name}}}` is not known here{}; known: {}", did_you_mean(.name, .known), braced(.known))]
    Unknown {
        /// The name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
}

fn braced(names: &[String]) -> String {
    names.iter().map(|name| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces that do not match, an empty name, or an invalid date format.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut segments = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let Some(open) = brace.strip_prefix('{') else { return Err(TemplateFault::Unopened) };
            let (name, after) = open.split_once('}').ok_or(TemplateFault::Unclosed)?;
            if name.is_empty() {
                return Err(TemplateFault::Unnamed);
            }
            if !plain.is_empty() {
                segments.push(Segment::Text(std::mem::take(&mut plain)));
            }
            segments.push(match name.strip_prefix("date:") {
                Some(format) => {
                    dates::check_format(format).map_err(TemplateFault::Format)?;
                    Segment::Date(format.to_owned())
                }
                None => Segment::Name(name.to_owned()),
            });
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            segments.push(Segment::Text(plain));
        }
        Ok(Self { segments })
    }

    /// A template with one name and nothing else; the name may have any characters.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self { segments: vec![Segment::Name(name.to_owned())] }
    }

    /// The segments, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names in it, without dates in a format.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Name(name) => Some(name.as_str()),
            Segment::Text(_) | Segment::Date(_) => None,
        })
    }

    /// Whether it uses the batch's date, in any format.
    #[must_use]
    pub fn uses_date(&self) -> bool {
        self.names().any(|name| name == "date") || self.has_format()
    }

    /// Whether it has a date in a format.
    pub(super) fn has_format(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Date(_)))
    }

    /// Fills in the names.
    ///
    /// # Errors
    /// The first unknown name, or the date if there is none.
    pub fn fill(&self, names: &Names<'_>) -> Result<String, TemplateFault> {
        self.segments.iter().map(|segment| names.text(segment)).collect()
    }
}

impl Names<'_> {
    /// The text of a segment.
    pub(crate) fn text(&self, segment: &Segment) -> Result<String, TemplateFault> {
        let date = || self.date.ok_or(TemplateFault::NoDate);
        match segment {
            Segment::Text(text) => Ok(text.clone()),
            Segment::Date(format) => date().map(|date| dates::written(date, format)),
            Segment::Name(name) => match (name.as_str(), self.batch) {
                ("name", _) => Ok(self.name.to_owned()),
                ("batch", Some(batch)) => Ok(batch.to_owned()),
                ("date", _) => date().map(|date| date.to_string()),
                _ => Err(TemplateFault::Unknown { name: name.clone(), known: self.known() }),
            },
        }
    }

    /// The known names.
    pub(super) fn known(&self) -> Vec<String> {
        let batch = self.batch.map(|_| "batch");
        [Some("name"), batch, Some("date")].into_iter().flatten().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names { name: "n", batch: Some("b"), date: Some(Date::constant(2026, 11, 5)) };

    #[test]
    fn names_are_filled_in_and_braces_can_be_written() {
        let template = Template::parse("out/{batch}/{{x}}-{name}").unwrap();
        assert_eq!(template.fill(&NAMES).unwrap(), "out/b/{x}-n");
        assert_eq!(template.names().collect::<Vec<_>>(), ["batch", "name"]);
        assert!(!template.uses_date());
        assert_eq!(Template::parse("").unwrap().fill(&NAMES).unwrap(), "");
    }

    #[test]
    fn dates_are_written_by_their_format() {
        let template = Template::parse("s3://b/{date:%Y/%m/%d}/{date}-{date:%b}").unwrap();
        assert_eq!(template.fill(&NAMES).unwrap(), "s3://b/2026/11/05/2026-11-05-Nov");
        assert!(template.uses_date() && Template::parse("{date}").unwrap().uses_date());
        let dateless = Names { date: None, ..NAMES };
        assert_eq!(template.fill(&dateless), Err(TemplateFault::NoDate));
        assert!(TemplateFault::NoDate.to_string().ends_with("or say --date"));
        let fault = Template::parse("{date:%H}").unwrap_err().to_string();
        assert!(fault.starts_with("`%H` is for a time of day"), "{fault}");
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message =
            |text: &str, names: &Names<'_>| Template::parse(text).unwrap().fill(names).unwrap_err().to_string();
        let known = "known: `{name}`, `{batch}`, `{date}`";
        assert_eq!(message("{nam}", &NAMES), format!("`{{nam}}` is not known here; did you mean `name`?; {known}"));
        let early = Names { batch: None, ..NAMES };
        assert_eq!(message("{batch}", &early), "`{batch}` is not known here; known: `{name}`, `{date}`");
    }

    #[test]
    fn braces_have_to_match() {
        assert_eq!(Template::parse("a{b"), Err(TemplateFault::Unclosed));
        assert_eq!(Template::parse("a}b"), Err(TemplateFault::Unopened));
        assert_eq!(Template::parse("a{}b"), Err(TemplateFault::Unnamed));
        assert_eq!(TemplateFault::Unclosed.to_string(), "a `{` is never closed; write `{{` for a brace itself");
    }
}
