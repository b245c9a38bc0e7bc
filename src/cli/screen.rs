//! The output: results go to stdout, everything else to stderr, above the bars. Terminal control sequences are
//! escaped.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use rustix::io::Errno;
use serde::Serialize;

use crate::{
    domain::printable::{printable_json, printable_lines},
    telemetry::LogFormat,
};

/// The user's terminal, or its replacement.
#[derive(Debug, Clone)]
pub struct Screen {
    bars: MultiProgress,
    format: LogFormat,
    quiet: bool,
}

/// A message of the screen as one record of a log.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    /// The name of a fact.
    about: Option<String>,
    /// The message on one line.
    message: String,
    /// The way out.
    hint: Option<String>,
}

impl Record {
    fn of(text: &str) -> Self {
        let lines = || text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let hint_of = |line: &str| {
            let line = line.trim_start();
            line.strip_prefix("hint: ").or_else(|| line.strip_prefix("-> ")).map(str::to_owned)
        };
        let (hints, words): (Vec<_>, Vec<_>) = lines().partition(|line| hint_of(line).is_some());
        let hints: Vec<String> = hints.into_iter().filter_map(hint_of).collect();
        let (about, words) = match words.as_slice() {
            [one] => fact_of(one),
            several => (None, several.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ")),
        };
        Self { about, message: words, hint: (!hints.is_empty()).then(|| hints.join("; ")) }
    }
}

/// The name and the value of a fact, as [`super::words::fact`] writes it.
fn fact_of(line: &str) -> (Option<String>, String) {
    let named = line.strip_prefix("  ").and_then(|rest| rest.split_once(' '));
    match named {
        Some((name, value)) if !name.is_empty() && name.chars().all(char::is_alphabetic) && value.len() > 1 => {
            (Some(name.to_owned()), value.trim().to_owned())
        }
        _ => (None, line.trim().to_owned()),
    }
}

impl Screen {
    /// The screen of this process.
    #[must_use]
    pub fn new(bars: MultiProgress, format: LogFormat, quiet: bool) -> Self {
        Self { bars, format, quiet }
    }

    /// Prints a message that is not a result. With JSON logs it is an event.
    pub fn message(&self, text: &str) {
        match (self.quiet, self.format) {
            (true, _) => {}
            (false, LogFormat::Json) => {
                let Record { about, message, hint } = Record::of(text);
                if !message.is_empty() {
                    tracing::info!(about, hint, "{message}");
                }
            }
            (false, LogFormat::Text) => self.write(text),
        }
    }

    /// Prints a warning, also when quiet.
    pub fn warn(&self, text: &str) {
        match self.format {
            LogFormat::Json => {
                let Record { about, message, hint } = Record::of(text);
                tracing::warn!(about, hint, "{message}");
            }
            LogFormat::Text => self.write(&format!("warning: {text}")),
        }
    }

    /// Prints an error.
    pub fn error(&self, text: &str) {
        match self.format {
            LogFormat::Json => {
                let Record { about, message, hint } = Record::of(text);
                tracing::error!(about, hint, "{}", message.strip_prefix("error: ").unwrap_or(&message));
            }
            LogFormat::Text => self.write(text),
        }
    }

    fn write(&self, text: &str) {
        let text = printable_lines(text.trim_end_matches('\n'));
        // Nobody reads a closed stderr.
        let _ = self.bars.suspend(|| writeln!(io::stderr().lock(), "{text}"));
    }

    /// Writes a text result to stdout.
    ///
    /// # Errors
    /// It cannot be written; [`io::ErrorKind::BrokenPipe`] if the reader or the terminal is gone.
    pub fn result(&self, text: &str) -> io::Result<()> {
        Self::put(&printable_lines(text))
    }

    /// Writes a JSON result to stdout, or one object per line.
    ///
    /// # Errors
    /// As for [`Screen::result`].
    pub fn json(&self, json: &str) -> io::Result<()> {
        Self::put(&printable_json(json))
    }

    /// Writes a view to stdout, as indented JSON.
    ///
    /// # Errors
    /// As for [`Screen::result`].
    pub fn view(&self, view: &impl Serialize) -> io::Result<()> {
        self.json(&serde_json::to_string_pretty(view).expect("a view is JSON"))
    }

    /// Writes views to stdout, one JSON object per line.
    ///
    /// # Errors
    /// As for [`Screen::result`].
    pub fn views<V: Serialize>(&self, views: impl IntoIterator<Item = V>) -> io::Result<()> {
        let mut lines = String::new();
        for view in views {
            lines.push_str(&serde_json::to_string(&view).expect("a view is JSON"));
            lines.push('\n');
        }
        if lines.is_empty() { Ok(()) } else { self.json(&lines) }
    }

    fn put(text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut put = || {
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        };
        put().map_err(gone)
    }

    /// Whether messages go to a log for machines, where each event is one record with named fields.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.format == LogFormat::Json
    }

    /// Whether bars can be drawn.
    #[must_use]
    pub fn draws(&self) -> bool {
        !self.quiet && self.format == LogFormat::Text && io::stderr().is_terminal()
    }

    /// The bars.
    #[must_use]
    pub const fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// The columns of stderr, or a default if it is not a terminal.
    #[must_use]
    pub fn width(&self) -> usize {
        columns(rustix::termios::tcgetwinsize(io::stderr()))
    }

    /// The columns of stdout; unlimited if it is not a terminal.
    #[must_use]
    pub fn result_width(&self) -> usize {
        if io::stdout().is_terminal() { columns(rustix::termios::tcgetwinsize(io::stdout())) } else { usize::MAX }
    }
}

/// Data for a file, a pipe or a terminal. For a terminal, control sequences are escaped; otherwise the data are
/// unchanged.
#[derive(Debug)]
pub struct Data<W> {
    to: W,
    /// The first bytes of an incomplete character; `None` if the data are unchanged.
    begun: Option<Vec<u8>>,
}

impl<W: Write + IsTerminal> Data<W> {
    /// Writes to this destination.
    pub fn to(to: W) -> Self {
        Self { begun: to.is_terminal().then(Vec::new), to }
    }
}

impl<W: Write> Data<W> {
    #[cfg(test)]
    fn to_terminal(to: W) -> Self {
        Self { begun: Some(Vec::new()), to }
    }

    #[cfg(test)]
    fn into_inner(self) -> W {
        self.to
    }
}

impl<W: Write> Write for Data<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(begun) = &mut self.begun else { return self.to.write(bytes).map_err(gone) };
        begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(begun) {
            Ok(_) => begun.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            // Not UTF-8: invalid bytes are shown as such.
            Err(_) => begun.len(),
        };
        let rest = begun.split_off(whole);
        let text = std::mem::replace(begun, rest);
        self.to.write_all(printable_lines(&String::from_utf8_lossy(&text)).as_bytes()).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(gone)
    }
}

/// A closed terminal reports an I/O error, a closed pipe a broken pipe. In both cases there is no reader.
fn gone(error: io::Error) -> io::Error {
    if Errno::from_io_error(&error) == Some(Errno::IO) { io::ErrorKind::BrokenPipe.into() } else { error }
}

fn columns(size: rustix::io::Result<rustix::termios::Winsize>) -> usize {
    size.map(|size| usize::from(size.ws_col)).ok().filter(|columns| *columns > 0).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_data_and_does_not_obey_them() {
        let csv = "key,text\nü,\"a\u{1b}[2J\nb\t\u{9b}\"\n€,\u{202e}\n";
        let shown = "key,text\nü,\"a\\u{1b}[2J\nb\t\\u{9b}\"\n€,\\u{202e}\n";
        for size in [1, 2, 3, 7, 1_000] {
            let mut data = Data::to_terminal(Vec::new());
            csv.as_bytes().chunks(size).for_each(|piece| data.write_all(piece).unwrap());
            assert_eq!(String::from_utf8(data.into_inner()).unwrap(), shown, "{size} bytes at a time");
        }
    }

    #[test]
    fn a_message_is_one_record() {
        let of = |text: &str| {
            let Record { about, message, hint } = Record::of(text);
            (about.unwrap_or_default(), message, hint.unwrap_or_default())
        };
        let fact = super::super::words::fact("ledger", "/srv/a.db (new)");
        assert_eq!(of(&fact), ("ledger".into(), "/srv/a.db (new)".into(), String::new()));
        assert_eq!(of("the key is wrong\nhint: set it"), (String::new(), "the key is wrong".into(), "set it".into()));
        assert_eq!(of("\n-> the same command goes on\n").2, "the same command goes on");
        assert_eq!(of("two\n  lines").1, "two; lines");
    }

    #[test]
    fn what_is_no_text_is_shown_all_the_same() {
        let mut data = Data::to_terminal(Vec::new());
        data.write_all(b"a\xff\x1bb").unwrap();
        data.write_all(b"c\n").unwrap();
        assert_eq!(String::from_utf8(data.into_inner()).unwrap(), "a\u{fffd}\\u{1b}bc\n");
    }

    #[test]
    fn a_terminal_that_has_gone_is_a_reader_that_has_gone() {
        assert_eq!(gone(Errno::IO.into()).kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(gone(Errno::NOSPC.into()).kind(), io::ErrorKind::StorageFull);
    }
}
