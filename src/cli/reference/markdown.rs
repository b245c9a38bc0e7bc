//! Tables and lists in Markdown.

use std::fmt::Write;

use crate::domain::{documented::Documented, listed::List};

/// A table with these column titles.
pub(super) fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&titles.map(str::to_owned));
    text.push_str(&line(&titles.map(|_| "---".to_owned())));
    rows.into_iter().for_each(|row| text.push_str(&line(&row)));
    text
}

/// `` `name` ``
pub(super) fn code(name: &str) -> String {
    format!("`{name}`")
}

/// A closed list as a table of its values.
pub(super) fn list(title: &str, list: &List) -> String {
    table([title, "meaning"], list.rows().map(|(name, meaning)| [code(name), meaning.to_owned()]))
}

/// The names of a list in a row: `` `a`, `b` ``.
pub(super) fn names(list: &List) -> String {
    list.names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}

/// The names and meanings of a long list of short meanings, in a paragraph.
pub(super) fn paragraph(list: &List) -> String {
    let mut words = list.rows().map(|(name, meaning)| format!("`{name}` {}", meaning.trim_end_matches('.')));
    let mut text = words.next().unwrap_or_default();
    words.for_each(|word| write!(text, ", {word}").expect("a String takes everything"));
    text + ".\n"
}

/// What JSON has for a type of Rust.
pub(super) fn json_type(documented: &Documented) -> &'static str {
    match documented.takes.replace(' ', "").as_str() {
        "" => "",
        "u16" | "u32" | "u64" => "a whole number",
        "f64" | "MicroUsd" => "a number",
        "bool" => "true or false",
        "String" | "NoticeEvent" | "SummaryState" => "a text",
        "Option<String>" | "Option<SummaryState>" | "Option<i64>" => "a text or null",
        kind if kind.starts_with("Vec<") => "a list",
        _ => "an object",
    }
}

/// The widest line of prose.
const WIDTH: usize = 120;

/// The page as it is written: prose is wrapped, and headings stand between empty lines. Tables and code stay as they are.
pub(super) fn laid_out(page: &str) -> String {
    let (mut lines, mut prose, mut is_code) = (Vec::new(), String::new(), false);
    for line in page.trim_end().lines() {
        let is_fence = line.starts_with("```");
        if is_code || is_fence || line.is_empty() || line.starts_with(['|', '<', '#']) {
            wrap(&std::mem::take(&mut prose), &mut lines);
            lines.push(line.to_owned());
            lines.extend(line.starts_with('#').then(String::new).filter(|_| !is_code));
            is_code ^= is_fence;
        } else {
            if line.starts_with("- ") {
                wrap(&std::mem::take(&mut prose), &mut lines);
            }
            if !prose.is_empty() {
                prose.push(' ');
            }
            prose.push_str(line.trim());
        }
    }
    wrap(&prose, &mut lines);
    lines.dedup_by(|next, last| next.is_empty() && last.is_empty());
    lines.join("\n") + "\n"
}

/// Breaks a line between words, never inside of code. The rest of an item of a list is indented.
fn wrap(line: &str, lines: &mut Vec<String>) {
    if line.is_empty() {
        return;
    }
    let indent = if line.starts_with("- ") { "  " } else { "" };
    let mut is_code = false;
    let words = line.split(|c: char| {
        is_code ^= c == '`';
        c == ' ' && !is_code
    });
    let mut row = String::new();
    for word in words {
        if row.trim().is_empty() {
            row.push_str(word);
        } else if row.chars().count() + 1 + word.chars().count() <= WIDTH {
            row = format!("{row} {word}");
        } else {
            lines.push(std::mem::replace(&mut row, format!("{indent}{word}")));
        }
    }
    lines.push(row);
}
