//! Numbers, times and tables as text.

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

pub(super) use crate::domain::printable::printable_lines;
pub(super) use crate::report::words::{
    Money, bytes, command, counted, dollars, duration, grouped, printable, shell, shorten, token_words,
};

/// One fact after its name, on one line.
pub(super) fn fact(name: &str, value: impl AsRef<str>) -> String {
    format!("  {name:<9} {}", printable(value.as_ref()))
}

/// A moment in local time: `2026-08-21 14:03:22`.
#[must_use]
pub fn moment(ms: i64) -> String {
    let zone = jiff::tz::TimeZone::system();
    Timestamp::from_millisecond(ms)
        .map(|at| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// The time of day of a moment, in local time.
#[must_use]
pub fn clock(ms: i64) -> String {
    moment(ms).split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Rows below a header. Each column is as wide as its widest cell; the last is cut to fit `width`. The columns in
/// `right` are right-aligned.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>], right: &[usize], width: usize) -> String {
    let cells: Vec<Vec<String>> = std::iter::once(header.iter().map(|name| (*name).to_owned()).collect())
        .chain(rows.iter().map(|row| row.iter().map(|cell| printable(cell).into_owned()).collect()))
        .collect();
    let widths: Vec<usize> =
        (0..header.len()).map(|at| cells.iter().map(|row| row[at].width()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &cells {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.width()));
            let gap = if at == 0 { "" } else { "  " };
            let (before, after) = if right.contains(&at) { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.push_str(&format!("{gap}{before}{cell}{after}"));
        }
        out.push_str(shorten(line.trim_end(), width).trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "line"), counted(2_000, "line")), ("1 line".into(), "2,000 lines".into()));
        let times = [20, 45_000, 192_000, 74_520_000, 273_600_000].map(duration);
        assert_eq!(times, ["20 ms", "45 s", "3 min 12 s", "20 h 42 min", "3 d 4 h"]);
        assert_eq!([312, 4_000, 1_234_567_890].map(bytes), ["312 B", "4.0 kB", "1.2 GB"]);
        assert_eq!([0, 1_200, 6_235_000, 1_234_500_000].map(dollars), ["$0.00", "$0.0012", "$6.24", "$1,234.50"]);
    }

    #[test]
    fn tables_line_up_and_fit() {
        let rows = [
            vec!["a\u{1b}[1m".into(), "1".into(), "long words".into()],
            vec!["ünder".into(), "200".into(), String::new()],
        ];
        insta::assert_snapshot!(table(&["key", "n", "error"], &rows, &[1], 24), @r"
        key           n  error
        a\u{1b}[1m    1  long w…
        ünder       200
        ");
    }
}
