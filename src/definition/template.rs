//! Texts with names in braces: `out/{batch}/`, `{call_id}-{leg}`.

use super::text::did_you_mean;

/// A text with names to be filled in. `{{` and `}}` stand for the braces themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
}

/// One stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// As it stands.
    Text(String),
    /// To be looked up.
    Name(String),
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
    /// A name that nobody knows.
    #[error("`{{{name}}}` is not known here{}; known: {}", did_you_mean(.name, .known), braced(.known))]
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
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
    /// Braces that do not match, or a name that is empty.
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
            segments.push(Segment::Name(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            segments.push(Segment::Text(plain));
        }
        Ok(Self { segments })
    }

    /// A template of one name and nothing else, whatever characters the name has.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self { segments: vec![Segment::Name(name.to_owned())] }
    }

    /// The stretches, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Name(name) => Some(name.as_str()),
            Segment::Text(_) => None,
        })
    }

    /// Fills in the names from `known` pairs.
    ///
    /// # Errors
    /// The first name that is not among them.
    pub fn fill(&self, known: &[(&str, &str)]) -> Result<String, TemplateFault> {
        let mut filled = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => filled.push_str(text),
                Segment::Name(name) => match known.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => filled.push_str(value),
                    None => {
                        let known = known.iter().map(|(name, _)| (*name).to_owned()).collect();
                        return Err(TemplateFault::Unknown { name: name.clone(), known });
                    }
                },
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_braces_can_be_written() {
        let template = Template::parse("out/{batch}/{{x}}-{name}").unwrap();
        assert_eq!(template.fill(&[("name", "n"), ("batch", "b")]).unwrap(), "out/b/{x}-n");
        assert_eq!(template.names().collect::<Vec<_>>(), ["batch", "name"]);
        assert_eq!(Template::parse("").unwrap().fill(&[]).unwrap(), "");
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let fault = Template::parse("{nam}").unwrap().fill(&[("name", ""), ("batch", "")]).unwrap_err();
        assert_eq!(fault.to_string(), "`{nam}` is not known here; did you mean `name`?; known: `{name}`, `{batch}`");
    }

    #[test]
    fn braces_have_to_match() {
        assert_eq!(Template::parse("a{b"), Err(TemplateFault::Unclosed));
        assert_eq!(Template::parse("a}b"), Err(TemplateFault::Unopened));
        assert_eq!(Template::parse("a{}b"), Err(TemplateFault::Unnamed));
        assert_eq!(TemplateFault::Unclosed.to_string(), "a `{` is never closed; write `{{` for a brace itself");
    }
}
