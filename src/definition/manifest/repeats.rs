//! Faults that a whole column of lines may share. The remedy is shown once, not a thousand times.

use super::super::{Fault, Faults};

/// The subject of a fault that many lines may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Its line alone.
    Line,
    /// A column that is read as an option.
    Option,
    /// The missing source of a line.
    NoSource,
    /// A path as Windows writes it.
    WindowsPath,
}

impl About {
    const fn hint(self) -> &'static str {
        match self {
            Self::Line | Self::WindowsPath => "",
            Self::Option => {
                "; a column of this name overrides the option: if it is data of your own, leave it out of option_columns, or turn them off with option_columns = [] (--option-columns '')"
            }
            Self::NoSource => "; to let such lines pass as skipped say no_source = \"skip\" (--no-source skip)",
        }
    }
}

/// Up to this many alike faults are shown one by one.
const FEW: usize = 3;

/// The faults that may repeat, by subject and column.
#[derive(Debug, Default)]
pub(super) struct Repeats(Vec<Alike>);

#[derive(Debug)]
struct Alike {
    about: About,
    /// The first of them.
    first: Vec<Fault>,
    count: u64,
}

impl Repeats {
    pub(super) fn add(&mut self, about: About, fault: Fault) {
        let known = self.0.iter_mut().find(|alike| alike.about == about && alike.first[0].place == fault.place);
        match known {
            Some(alike) => {
                alike.count += 1;
                if alike.first.len() < FEW {
                    alike.first.push(fault);
                }
            }
            None => self.0.push(Alike { about, first: vec![fault], count: 1 }),
        }
    }

    /// The faults to show: a few as they are, many as the first one and a count.
    pub(super) fn message(self) -> Faults {
        let mut message = Faults::default();
        for Alike { about, mut first, count } in self.0 {
            if count > FEW as u64 {
                first.truncate(1);
                first[0].message.push_str(&format!(", and so on in {} more lines", count - 1));
            }
            first[0].message.push_str(about.hint());
            first.into_iter().for_each(|fault| message.push(fault));
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_and_many_counted_with_one_hint() {
        let mut repeats = Repeats::default();
        for line in 2..=3 {
            repeats.add(About::NoSource, Fault::of_line("f", line, Some("url"), "is empty"));
        }
        for line in 2..=1_001 {
            repeats.add(About::Option, Fault::of_line("f", line, Some("language"), "`English` is not a language"));
        }
        let message = repeats.message().to_string();
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(
            lines[0],
            "f:2: column `url`: is empty; to let such lines pass as skipped say no_source = \"skip\" (--no-source skip)"
        );
        assert_eq!(lines[1], "f:3: column `url`: is empty");
        assert!(
            lines[2].starts_with("f:2: column `language`: `English` is not a language, and so on in 999 more lines; a")
        );
        assert!(lines[2].ends_with("option_columns = [] (--option-columns '')") && lines.len() == 3, "{message}");
    }
}
