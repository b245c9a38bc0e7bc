//! JSON Lines: one object per line. A string is a cell as it is; `null` and absent fields are empty cells; any other
//! value is a cell with its JSON, without spaces.

use std::{borrow::Cow, collections::HashMap, fmt, io};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    lines::LineReader,
    record::{JsonValue, Next, Record},
};

/// A file with more columns is not a table.
pub(super) const MAX_COLUMNS: usize = 4096;

/// A file's objects.
pub(super) struct Jsonl {
    lines: LineReader,
    columns: HashMap<String, usize>,
}

/// The fields of an object, in order; names and values are borrowed from the line.
struct Fields<'l>(Vec<(Cow<'l, str>, &'l RawValue)>);

impl<'de: 'l, 'l> Deserialize<'de> for Fields<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A name, borrowed where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Name<'l>(#[serde(borrow)] pub(super) Cow<'l, str>);

impl Jsonl {
    pub(super) fn new(lines: LineReader, columns: &[String]) -> Self {
        let columns = columns.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        Self { lines, columns }
    }

    pub(super) fn into_lines(self) -> LineReader {
        self.lines
    }

    /// Reads the field names of all objects (or of the first `limit` lines), in the order first seen. An unreadable
    /// line adds no names; it is reported when it is read as a line.
    ///
    /// # Errors
    /// `Ok(Err(line))`: the first line with which there are too many columns.
    pub(super) fn columns_of(mut lines: LineReader, limit: u64) -> io::Result<Result<Vec<String>, u64>> {
        let mut columns = Vec::new();
        let mut seen = HashMap::new();
        for _ in 0..limit {
            let Some((number, text)) = lines.next_text()? else { break };
            let Some(Fields(fields)) = text.ok().and_then(|text| serde_json::from_str(text).ok()) else { continue };
            for (name, _) in fields {
                if !seen.contains_key(name.as_ref()) {
                    seen.insert(name.clone().into_owned(), ());
                    columns.push(name.into_owned());
                }
            }
            if columns.len() > MAX_COLUMNS {
                return Ok(Err(number));
            }
        }
        Ok(Ok(columns))
    }

    /// Reads the next object.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        let Some((number, text)) = self.lines.next_text()? else { return Ok(Next::End) };
        let text = match text {
            Ok(text) => text,
            Err(unreadable) => return Ok(unreadable),
        };
        if !text.starts_with('{') {
            return Ok(Next::unreadable(number, None, "is not a JSON object"));
        }
        let fields: Fields<'_> = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(e) => return Ok(Next::unreadable(number, None, format!("is not JSON: {}", without_line(&e)))),
        };
        let mut cells: Vec<Option<&RawValue>> = vec![None; self.columns.len()];
        for (name, value) in fields.0 {
            let Some(&index) = self.columns.get(name.as_ref()) else { continue };
            if cells[index].replace(value).is_some() {
                return Ok(Next::unreadable(number, Some(index), "stands twice"));
            }
        }
        record.start(number);
        for (at, cell) in cells.into_iter().enumerate() {
            record.values.extend(cell.and_then(value_of).map(|value| (at, value)));
            record.push(&cell.map(text_of).unwrap_or_default());
        }
        Ok(Next::Line)
    }
}

/// A parser's message, with the character but without the line number, which is always 1.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let words = message.split(" at line ").next().unwrap_or(&message);
    format!("{words} at character {}", error.column())
}

fn value_of(value: &RawValue) -> Option<JsonValue> {
    match value.get() {
        "true" | "false" => Some(JsonValue::Bool),
        nested if nested.starts_with(['{', '[']) => Some(JsonValue::Nested),
        _ => None,
    }
}

fn text_of(value: &RawValue) -> Cow<'_, str> {
    match value.get() {
        "null" => Cow::Borrowed(""),
        text if text.starts_with('"') => {
            serde_json::from_str::<Name<'_>>(text).map_or(Cow::Borrowed(text), |Name(text)| text)
        }
        nested if nested.starts_with(['{', '[']) => Cow::Owned(compact(nested)),
        other => Cow::Borrowed(other),
    }
}

/// JSON without spaces between its tokens; numbers stay as written.
fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    let keep = |c: &char| {
        let kept = in_text || !c.is_ascii_whitespace();
        match c {
            '"' if !escaped => in_text = !in_text,
            _ => {}
        }
        escaped = in_text && *c == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_compact_and_exact() {
        assert_eq!(compact(r#"{ "a b" : [1.10, "x \" , y\\" , {} ] }"#), r#"{"a b":[1.10,"x \" , y\\",{}]}"#);
    }
}
