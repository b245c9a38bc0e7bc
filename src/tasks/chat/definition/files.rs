//! The files beside a definition: texts, a schema, examples.

use std::{fs, io, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    definition::{build::Builder, paths::io_message, targets::local},
    domain::chat::Example,
};

/// No file of a definition comes near this size: a request has some 130,000 letters.
const LARGEST: u64 = 1 << 20;
/// The most turns of examples: the API takes 200 messages.
const MOST_EXAMPLES: usize = 90;

/// The text of a field, or of the file that it names; what is wrong with the file is a fault of the field.
pub(super) fn text_of(on: &mut Builder<'_>, field: &str, said: &str) -> Option<String> {
    if !is_file_name(said) {
        return Some(said.to_owned());
    }
    let text = read(on, field, said)?;
    if text.trim().is_empty() {
        on.fault(field, format!("`{}`: is empty", shown(on, said)));
        return None;
    }
    Some(text.trim_end().to_owned())
}

/// Whether a text is the name of a file of text.
fn is_file_name(text: &str) -> bool {
    let lower = text.to_lowercase();
    let is_one_word = !text.contains(['\n', '{', '}']) && text.trim() == text;
    is_one_word && [".md", ".txt", ".text"].iter().any(|ending| lower.ends_with(ending))
}

/// The JSON in a file.
pub(super) fn json_of(on: &mut Builder<'_>, field: &str, file: &str) -> Option<Value> {
    let text = read(on, field, file)?;
    match serde_json::from_str(&text) {
        Ok(schema) => Some(schema),
        Err(error) => {
            on.fault(field, format!("`{}`:{}: is no JSON: {}", shown(on, file), error.line(), reason(&error)));
            None
        }
    }
}

/// The functions in a file.
pub(super) fn tools_of(on: &mut Builder<'_>, field: &str, file: &str) -> Option<Vec<Value>> {
    /// The most that the API takes.
    const MOST: usize = 64;
    let message = match json_of(on, field, file)? {
        Value::Array(tools) if tools.is_empty() || tools.len() > MOST => {
            format!("has {} functions; 1 to {MOST} are taken", tools.len())
        }
        Value::Array(tools) if tools.iter().all(Value::is_object) => return Some(tools),
        _ => r#"must be a list like [{"type": "function", "function": {"name": "…", "parameters": {}}}]"#.to_owned(),
    };
    on.fault(field, format!("`{}`: {message}", shown(on, file)));
    None
}

/// The turns in a file of JSON Lines.
pub(super) fn examples_of(on: &mut Builder<'_>, field: &str, file: &str) -> Option<Vec<Example>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        user: String,
        assistant: Value,
    }
    let text = read(on, field, file)?;
    let (mut examples, mut is_good) = (Vec::new(), true);
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(Line { user, assistant }) => {
                let assistant = assistant.as_str().map_or_else(|| assistant.to_string(), str::to_owned);
                examples.push(Example { user, assistant });
            }
            Err(error) => {
                is_good = false;
                let wanted = r#"must be like {"user": "…", "assistant": "…"}"#;
                on.fault(field, format!("`{}`:{number}: {wanted}: {}", shown(on, file), reason(&error)));
            }
        }
    }
    if is_good && (examples.is_empty() || examples.len() > MOST_EXAMPLES) {
        on.fault(
            field,
            format!("`{}`: has {} examples; 1 to {MOST_EXAMPLES} are taken", shown(on, file), examples.len()),
        );
        is_good = false;
    }
    is_good.then_some(examples)
}

/// The parser's words without its place, which stands before them.
fn reason(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.split(" at line ").next().unwrap_or(&words).to_owned()
}

fn shown(on: &Builder<'_>, file: &str) -> String {
    on.base.join(file).display().to_string()
}

fn read(on: &mut Builder<'_>, field: &str, file: &str) -> Option<String> {
    let base: PathBuf = on.cwd.join(&on.base);
    let read = local(file, base).and_then(|path| match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => Err("is no file".to_owned()),
        Ok(meta) if meta.len() > LARGEST => Err("has over 1 MB, and no request has room for that".to_owned()),
        Ok(_) => fs::read(&path).map_err(|error| io_message(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("there is no such file".to_owned()),
        Err(error) => Err(io_message(&error)),
    });
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()));
    match text {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n")),
        Err(message) => {
            on.fault(field, format!("`{}`: {message}", shown(on, file)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_file_is_told_from_a_text() {
        for name in ["prompts/scorecard.md", "a.TXT", "my prompt.txt"] {
            assert!(is_file_name(name), "{name}");
        }
        for text in ["Summarize {transcript}", "{file}.md", "Read\nall.md", "Be brief.", " a.md"] {
            assert!(!is_file_name(text), "{text}");
        }
    }
}
