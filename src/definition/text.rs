//! Small texts: durations, shares and amounts in a definition, and words for messages.

use std::time::Duration;

use crate::domain::{batch::MicroUsd, options::nearest, printable::visible};

/// A text that is not blank.
pub(crate) fn some(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("may not be empty".into()) } else { Ok(text.to_owned()) }
}

/// Parses a value from its name.
pub(crate) fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| e.to_string())
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn did_you_mean<S: AsRef<str>>(value: &str, known: &[S]) -> String {
    match nearest(value, known.iter().map(AsRef::as_ref)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}

/// `a`, `b`, `c`
pub(crate) fn ticked<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", visible(name))).collect::<Vec<_>>().join(", ")
}

/// A text as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The beginning of a text, escaped for one line of a message.
pub(crate) fn excerpt(text: &str) -> String {
    let begin: String = text.chars().take(60).collect();
    let mut short = visible(&begin).into_owned();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

/// Reads `30s`, `15m`, `1h30m`, `14d`, `500ms`.
///
/// # Errors
/// A description of the expected form.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{}` is not a duration; write e.g. \"30s\", \"15m\", \"2h\" or \"14d\"", excerpt(text));
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?;
        let number: u64 = rest[..digits].parse().map_err(|_| fault())?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let millis: u64 = match &after[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(fault()),
        };
        let millis = number.checked_mul(millis).ok_or_else(fault)?;
        total = total.checked_add(Duration::from_millis(millis)).ok_or_else(fault)?;
        rest = after[letters..].trim_start();
    }
    // A hundred years: timestamps are milliseconds in an i64, and their sums must fit too.
    if total > Duration::from_secs(100 * 366 * 86_400) { Err(fault()) } else { Ok(total) }
}

/// Reads `0%`, `2.5%`: a share from 0 to 1.
///
/// # Errors
/// A description of the expected form.
pub fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("`{}` is not a share; write \"0%\" to \"100%\"", excerpt(text))),
    }
}

/// Reads `5`, `0.25`: US dollars, above zero.
///
/// # Errors
/// A description of the expected form.
pub fn dollars(text: &str) -> Result<MicroUsd, String> {
    match text.trim().parse::<f64>() {
        Ok(usd) if (0.000_001..=1e9).contains(&usd) => {
            #[expect(clippy::cast_possible_truncation, reason = "at most 1e15, checked above")]
            let micro = (usd * 1e6).round() as i64;
            Ok(MicroUsd(micro))
        }
        _ => Err(format!("`{}` is not an amount of US dollars above 0; write e.g. 5.0", excerpt(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("2h", 7200), ("14d", 1_209_600), ("1h30m", 5400), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "15", "m", "-2h", "2 weeks", "1.5h", "99999999999999999999s", "9999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_and_dollars() {
        assert_eq!(share("2.5%"), Ok(0.025));
        assert_eq!(share("0%"), Ok(0.0));
        assert!(share("5").is_err() && share("101%").is_err() && share("-1%").is_err() && share("NaN%").is_err());
        assert_eq!(dollars("5.0"), Ok(MicroUsd(5_000_000)));
        assert_eq!(dollars("0.1"), Ok(MicroUsd(100_000)));
        assert!(dollars("0").is_err() && dollars("-1").is_err() && dollars("nan").is_err() && dollars("inf").is_err());
    }

    #[test]
    fn a_word_survives_the_shell() {
        assert_eq!(shell_word("rec/a.wav"), "rec/a.wav");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("{a}"), "'{a}'");
    }
}
