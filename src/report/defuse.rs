//! Cells that a spreadsheet would run as a formula.

use std::borrow::Cow;

/// The cell with an apostrophe before it, if a spreadsheet would read it as a formula. A cell that is a number or a phone
/// number as a whole stays as it is.
pub(super) fn defuse(cell: &str) -> Cow<'_, str> {
    let risky = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if risky && !is_number(cell) && !is_phone_number(cell) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// The cell without the apostrophe that [`defuse`] put before it. A text with an apostrophe of its own loses it too, and gets
/// it back when it is defused: the cell stays the same.
pub(super) fn undefuse(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| matches!(defuse(text), Cow::Owned(_))).unwrap_or(cell)
}

/// `-12.5`, `+3`, `-1,234.50`, `-1e-5`.
fn is_number(cell: &str) -> bool {
    let Some(number) = cell.strip_prefix(['+', '-']) else { return false };
    let (mantissa, exponent) = number.split_once(['e', 'E']).map_or((number, None), |(m, e)| (m, Some(e)));
    let exponent_ok = exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let whole_ok = whole.split(',').all(all_digits) || (whole.is_empty() && fraction.is_some());
    exponent_ok && whole_ok && fraction.is_none_or(all_digits)
}

/// `+919812345678`, `+1 (555) 010-9999`: a plus, 7 to 15 digits, one separator at a time, at most one pair of brackets.
fn is_phone_number(cell: &str) -> bool {
    let Some(number) = cell.strip_prefix('+') else { return false };
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let known = number.chars().all(|c| c.is_ascii_digit() || " -.()".contains(c));
    let ends = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
    let brackets: String = number.chars().filter(|c| "()".contains(*c)).collect();
    let doubled = number.as_bytes().windows(2).any(|pair| pair.iter().all(|b| b"-. ".contains(b)));
    (7..=15).contains(&digits) && known && ends && matches!(brackets.as_str(), "" | "()") && !doubled
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused() {
        for cell in [
            "=1+1",
            "=HYPERLINK(\"http://x\")",
            "+1+1",
            "-2+3",
            "-cmd|' /C calc'!A0",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "+",
            "-",
            "=",
            "- point",
            "--1",
            "+1-1",
            "+12*3",
            "-1.2.3",
            "-1e",
            "-,5",
            "+(555)",
            "+1 (555) (010) 9999",
            "+1234567890123456-1",
            "+44 20 7946 0958 ext 3",
            "-.",
            "+1--555-010-9999",
            "+919812345678 ",
            "-12.5%",
            "-1\n=2",
        ] {
            assert_eq!(defuse(cell), format!("'{cell}"), "{cell:?}");
        }
    }

    #[test]
    fn a_cell_is_the_same_again_when_it_was_read_and_written() {
        for text in ["=1+1", "'=1+1", "''=1", "'x", "'+919812345678", "+919812345678", "-", "'", "", "\t", "x"] {
            let cell = defuse(text);
            assert_eq!(defuse(undefuse(&cell)), cell, "{text:?}");
        }
        assert_eq!([undefuse("'=1+1"), undefuse("'plain"), undefuse("'+3")], ["=1+1", "'plain", "'+3"]);
    }

    #[test]
    fn numbers_phone_numbers_and_everything_else_stay() {
        for cell in [
            "",
            "a",
            "1",
            "12.5",
            "'=1",
            " =1",
            "a=b",
            "+919812345678",
            "-12.5",
            "+1 (555) 010-9999",
            "+44 20 7946 0958",
            "+3",
            "-.5",
            "-1e-5",
            "-1,234.50",
            "-0",
            "+1.555.010.9999",
            "\n=1",
            "0123",
            "(555) 010",
            "\"=1\"",
            "+123456789012345678901234567890",
        ] {
            assert_eq!(defuse(cell), cell, "{cell:?}");
        }
    }
}
