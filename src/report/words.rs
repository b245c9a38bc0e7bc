//! Short texts for terminals and shells.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub(crate) use crate::domain::printable::printable;
use crate::domain::{chat::Usage, cost::MicroUsd, environment::NamedLedger};

/// The text cut to this many columns, with an ellipsis if something is missing.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    let text = printable(text);
    if text.width() <= columns {
        return text.into_owned();
    }
    let (mut short, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        short.push(c);
    }
    short + "…"
}

/// The text quoted as one word for a shell.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A command of this program as a hint, to be copied into a shell: `wavebatch resume night --sandbox`. Every hint is made
/// here, so that none forgets which ledger is meant.
pub(crate) fn command((choice, environment): NamedLedger<'_>, words: &[&str]) -> String {
    let words = words.iter().copied().chain(choice.words().iter().map(String::as_str)).map(shell);
    let sandbox = environment.is_sandbox().then(|| "--sandbox".to_owned());
    std::iter::once("wavebatch".to_owned()).chain(words).chain(sandbox).collect::<Vec<_>>().join(" ")
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 line`, `1,204 lines`
pub(crate) fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The message for a model whose price is unknown.
pub(crate) fn unpriced(model: &str) -> String {
    format!("not known, and counted as 0: [rates] of wavebatch.toml has no price for `{model}`")
}

/// `312 B`, `4.0 kB`, `1.2 GB`
#[must_use]
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1_000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `45 s`, `3 min 12 s`, `20 h 42 min`, `3 d 4 h`
pub(crate) fn duration(ms: u64) -> String {
    let s = (ms + 500) / 1_000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..172_800 => format!("{} h {} min", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", grouped(s / 86_400), s / 3_600 % 24),
    }
}

/// One way of writing the amounts of one message: in cents, unless one of them is below a cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Money {
    /// `$6.24`
    Cents,
    /// `$6.235000`
    Exact,
}

impl Money {
    /// The way for these amounts, in micro-dollars.
    pub(crate) fn of(amounts: impl IntoIterator<Item = i64>) -> Self {
        let below_a_cent = |amount: i64| (1..10_000).contains(&amount.unsigned_abs());
        if amounts.into_iter().any(below_a_cent) { Self::Exact } else { Self::Cents }
    }

    /// An amount in micro-dollars.
    pub(crate) fn words(self, micros: i64) -> String {
        match self {
            Self::Cents => dollars(micros),
            Self::Exact => format!("{}${}", if micros < 0 { "-" } else { "" }, MicroUsd(micros.saturating_abs())),
        }
    }
}

/// Micro-dollars: `$0.0012` below a cent, `$6.24` above, `$1,234.50`.
pub(crate) fn dollars(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    if micros > 0 && micros < 10_000 {
        return format!("{sign}${}.{:06}", micros / 1_000_000, micros % 1_000_000).trim_end_matches('0').to_owned();
    }
    let cents = (micros + 5_000) / 10_000;
    format!("{sign}${}.{:02}", grouped(cents / 100), cents % 100)
}

/// `3,791 read, 68 % of them cached; 420 written`
#[must_use]
pub fn token_words(tokens: &Usage) -> String {
    let cached = match (tokens.cached_tokens * 100).checked_div(tokens.prompt_tokens) {
        None => String::new(),
        Some(0) => ", none of them cached".to_owned(),
        Some(share) => format!(", {share} % of them cached"),
    };
    format!("{} read{cached}; {} written", grouped(tokens.prompt_tokens), grouped(tokens.completion_tokens))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::environment::{Environment, LedgerChoice};

    #[test]
    fn tokens_are_told_with_their_cached_share() {
        let words = |prompt_tokens, cached_tokens| {
            token_words(&Usage { prompt_tokens, cached_tokens, completion_tokens: 1_420 })
        };
        assert_eq!(words(37_910, 25_600), "37,910 read, 67 % of them cached; 1,420 written");
        assert_eq!(words(37_910, 0), "37,910 read, none of them cached; 1,420 written");
        assert_eq!(words(0, 0), "0 read; 1,420 written");
    }

    #[test]
    fn a_hint_repeats_how_the_ledger_was_chosen() {
        let hint = |choice: &LedgerChoice, environment| command((choice, environment), &["retry", "a b"]);
        let chosen = LedgerChoice::of(Some("/srv/x.db"), Some(Path::new("my w.toml")));
        assert_eq!(hint(&LedgerChoice::default(), Environment::Live), "wavebatch retry 'a b'");
        assert_eq!(
            hint(&chosen, Environment::Sandbox),
            "wavebatch retry 'a b' --database /srv/x.db --config 'my w.toml' --sandbox"
        );
    }
}
