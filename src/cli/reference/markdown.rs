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
    let mut lines: Vec<String> = Vec::new();
    let mut is_code = false;
    for line in page.trim_end().lines() {
        is_code ^= line.starts_with("```");
        if is_code || line.starts_with(['|', '`', '<']) {
            lines.push(line.to_owned());
            continue;
        }
        let last = lines.last().map_or("", String::as_str);
        if !line.is_empty() && last.starts_with('#') || line.starts_with('#') && !last.is_empty() {
            lines.push(String::new());
        }
        wrap(line, &mut lines);
    }
    lines.dedup_by(|next, last| next.is_empty() && last.is_empty());
    lines.join("\n") + "\n"
}

/// Breaks a line between words, never inside of code. The rest of an item of a list is indented.
fn wrap(line: &str, lines: &mut Vec<String>) {
    let indent = if line.starts_with("- ") || line.starts_with("  ") { "  " } else { "" };
    let mut row = String::new();
    let mut ticks = 0;
    let mut word = String::new();
    let mut flush = |word: &mut String, row: &mut String| {
        if !row.trim().is_empty() && row.chars().count() + word.chars().count() + 1 > WIDTH {
            lines.push(std::mem::replace(row, indent.to_owned()));
        } else if !row.trim().is_empty() {
            row.push(' ');
        }
        row.push_str(word);
        word.clear();
    };
    let body = line.trim_start();
    row.push_str(&line[..line.len() - body.len()]);
    for c in body.chars() {
        ticks += usize::from(c == '`');
        match c {
            ' ' if ticks % 2 == 0 => flush(&mut word, &mut row),
            _ => word.push(c),
        }
    }
    flush(&mut word, &mut row);
    lines.push(row);
}
