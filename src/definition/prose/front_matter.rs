//! The fields at the top of a text, in YAML, TOML or JSON.

use serde_json::{Deserializer, Map, Value};

/// The length of the front matter at the start of a text, in bytes; 0 if there is none.
pub(super) fn length(text: &str) -> usize {
    fenced(text, "---", &["---", "..."], is_yaml_field)
        .or_else(|| fenced(text, "+++", &["+++"], is_toml_field))
        .or_else(|| json(text))
        .unwrap_or(0)
}

/// The values of these fields in front matter, as they are written there. What cannot be read has none.
pub(super) fn values(front_matter: &str, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let fields: Map<String, Value> = if front_matter.starts_with('{') {
        serde_json::from_str(front_matter).unwrap_or_default()
    } else if front_matter.starts_with("+++") {
        toml::from_str(front_matter.trim().trim_matches('+')).unwrap_or_default()
    } else {
        front_matter.lines().filter_map(yaml_value).collect()
    };
    names.iter().filter_map(|name| Some((*name, text(fields.get(*name)?)?))).collect()
}

/// `name: value` at the start of a line, with or without quotes.
fn yaml_value(line: &str) -> Option<(String, Value)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim();
    let text = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => value[1..].split(quote).next()?,
        None => value.split(" #").next()?.trim_end(),
    };
    (!text.is_empty()).then(|| (name.to_owned(), Value::String(text.to_owned())))
}

/// Front matter between two lines. The first line alone is not enough: it may separate two scenes.
fn fenced(text: &str, start: &str, ends: &[&str], is_field: impl Fn(&str) -> bool) -> Option<usize> {
    let mut lines = text.split_inclusive('\n');
    let mut at = lines.next().filter(|line| line.trim_end() == start)?.len();
    for (number, line) in lines.enumerate() {
        at += line.len();
        match line.trim_end() {
            end if number > 0 && ends.contains(&end) => return Some(at),
            first if number == 0 && !is_field(first) => return None,
            _ => {}
        }
    }
    None
}

/// `title: The Sea`, or a comment.
fn is_yaml_field(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    line.starts_with('#') || line.len() > name.len() && is_name(name)
}

/// `title = "The Sea"`, `[author]`, or a comment.
fn is_toml_field(line: &str) -> bool {
    let name = line.split('=').next().unwrap_or_default();
    let is_table = line.starts_with('[') && line.ends_with(']');
    line.starts_with('#') || is_table || line.len() > name.len() && is_name(name.trim_end())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'' | '.'))
}

/// `{"title": "The Sea"}` on lines of its own.
fn json(text: &str) -> Option<usize> {
    if !text.starts_with('{') {
        return None;
    }
    let mut values = Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    let fields = values.next()?.ok()?;
    let at = values.byte_offset();
    let rest = &text[at..];
    let line = rest.find('\n').map_or(rest.len(), |end| end + 1);
    (!fields.is_empty() && rest[..line].trim().is_empty()).then_some(at + line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(text: &str) -> &str {
        &text[length(text)..]
    }

    #[test]
    fn fields_at_the_top_are_found() {
        for text in [
            "---\ntitle: The Sea\n---\nOne.",
            "---\r\ntitle: A\r\ntags: [b]\r\n...\r\nOne.",
            "---\n# a comment\n---\nOne.",
            "+++\ntitle = \"The Sea\"\n[author]\nname = \"Ann\"\n+++\nOne.",
            "+++\n[author]\nname = \"Ann\"\n+++\r\nOne.",
            "{\n  \"title\": \"The Sea\",\n  \"tags\": [\"a\"]\n}\nOne.",
            "{\"title\": \"}\"} \nOne.",
        ] {
            assert_eq!(rest(text), "One.", "{text}");
        }
    }

    #[test]
    fn fields_have_values() {
        for text in [
            "---\ntitle: x\nvoice_id: avery\nlanguage: \"hi\" # Hindi\ntags:\n  language: no\n---\n",
            "+++\nvoice_id = \"avery\"\nlanguage = 'hi'\n[more]\nlanguage = \"no\"\n+++\n",
            "{\"voice_id\": \"avery\", \"language\": \"hi\"}\n",
        ] {
            let values = values(text, &["voice_id", "language", "speed"]);
            assert_eq!(values, [("voice_id", "avery".to_owned()), ("language", "hi".to_owned())], "{text}");
        }
        assert_eq!(values("---\nvoice_id:\nlanguage: # none\n---\n", &["voice_id"]), []);
    }

    #[test]
    fn a_text_is_no_field() {
        for text in [
            "---\n\nOne.\n\n---\n\nTwo.\n",
            "---\nHe said: no.\n---\nTwo.\n",
            "+++\n\nOne.\n\n+++\n",
            "+++\ntitle = \"open\"\n\nOne.\n",
            "{name}, hello.\n",
            "{}\nOne.",
            "{\"title\": 1} he said.\n",
            "One.\n---\ntitle: x\n---\n",
        ] {
            assert_eq!(rest(text), text);
        }
    }
}
