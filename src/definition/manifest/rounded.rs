//! Finds keys that a spreadsheet has rounded: it shows a long number as `9.19812E+11`, and saves a CSV as it shows it.

use crate::domain::printable::visible;

/// The keys that look so.
#[derive(Debug, Default)]
pub(super) struct RoundedKeys {
    count: u64,
    /// The first of them, each with its line.
    first: Vec<(String, u64)>,
}

impl RoundedKeys {
    /// The most keys that are named.
    const NAMED: usize = 3;

    pub(super) fn look(&mut self, key: &str, line: u64) {
        if !has_rounded_number(key) {
            return;
        }
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push((key.to_owned(), line));
        }
    }

    /// What the user should know; `None` if no key looks so.
    pub(super) fn warning(&self) -> Option<String> {
        let named: Vec<_> = self.first.iter().map(|(key, line)| format!("`{}` (line {line})", visible(key))).collect();
        let (keys, they) = match self.count {
            0 => return None,
            1 => ("1 key looks".to_owned(), "it"),
            n => (format!("{n} keys look"), "them"),
        };
        let more = if self.count > Self::NAMED as u64 { ", …" } else { "" };
        Some(format!(
            "{keys} like a long number that a spreadsheet has rounded: {}{more}; its last digits are lost, and outputs are named by {they}. Format the column as text in the spreadsheet, and save it again",
            named.join(", ")
        ))
    }
}

/// Whether a text has a number like `9.19812E+11` or `9E+15` that stands alone.
fn has_rounded_number(text: &str) -> bool {
    let mut at = 0;
    while let Some(found) = text[at..].find(['E', 'e']) {
        let exponent = at + found;
        if is_mantissa_at_end(&text[..exponent]) && is_exponent_at_start(&text[exponent + 1..]) {
            return true;
        }
        at = exponent + 1;
    }
    false
}

/// One digit, or one digit with a fraction, and nothing of a word before it.
fn is_mantissa_at_end(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    let rest = text.trim_end_matches(is_digit);
    let (whole, has_fraction) = match rest.strip_suffix(['.', ',']) {
        Some(whole) if rest.len() < text.len() => (whole, true),
        _ => (text, false),
    };
    let before = whole.trim_end_matches(is_digit);
    let digits = whole.len() - before.len();
    digits == 1 && (has_fraction || rest.len() + 1 == text.len()) && !before.ends_with(char::is_alphanumeric)
}

/// `+` and two or three digits, and nothing of a word behind them.
fn is_exponent_at_start(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(digits.len() - rest.len(), 2 | 3) && !rest.starts_with(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_number_is_known_by_its_form() {
        for key in
            ["9.19812E+11", "9,19812E+11", "9E+15", "1.2e+12", "9.19812E+11-agent", "2026/9.19812E+11", "call 9E+11"]
        {
            assert!(has_rounded_number(key), "{key}");
        }
        for key in [
            "919812345678",
            "A1E+11",
            "19E+11",
            "E+11",
            "9.19812E-11",
            "9.19812E11",
            "1E+5",
            "1.E+11",
            "a1.5E+11x",
            "née",
            "1.5E+11b",
        ] {
            assert!(!has_rounded_number(key), "{key}");
        }
    }

    #[test]
    fn three_are_named() {
        let mut keys = RoundedKeys::default();
        assert_eq!(keys.warning(), None);
        (2..=6).for_each(|line| keys.look(&format!("{line}.5E+11"), line));
        let warning = keys.warning().unwrap();
        assert!(
            warning.starts_with("5 keys look like a long number that a spreadsheet has rounded: `2.5E+11` (line 2), "),
            "{warning}"
        );
        assert!(warning.contains("`4.5E+11` (line 4), …;"), "{warning}");
    }
}
