//! Where words go: results to stdout, everything else to stderr, above the bars. Whatever they are made of, no terminal
//! obeys them.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use rustix::io::Errno;
use serde::Serialize;

use crate::{
    domain::printable::{printable_json, printable_lines},
    telemetry::LogFormat,
};

/// The user's terminal, or what stands in its place.
#[derive(Debug, Clone)]
pub struct Screen {
    bars: MultiProgress,
    format: LogFormat,
    quiet: bool,
}

impl Screen {
    /// The screen of this process.
    #[must_use]
    pub fn new(bars: MultiProgress, format: LogFormat, quiet: bool) -> Self {
        Self { bars, format, quiet }
    }

    /// Tells the user something that is no result. In JSON logs it is an event.
    pub fn message(&self, text: &str) {
        match (self.quiet, self.format) {
            (true, _) => {}
            (false, LogFormat::Json) => {
                text.lines().filter(|line| !line.trim().is_empty()).for_each(|line| tracing::info!("{}", line.trim()));
            }
            (false, LogFormat::Text) => self.write(text),
        }
    }

    /// Tells the user something that wants attention, also when quiet.
    pub fn warn(&self, text: &str) {
        match self.format {
            LogFormat::Json => tracing::warn!("{text}"),
            LogFormat::Text => self.write(&format!("warning: {text}")),
        }
    }

    /// Tells an error.
    pub fn error(&self, text: &str) {
        match self.format {
            LogFormat::Json => tracing::error!("{text}"),
            LogFormat::Text => self.write(text),
        }
    }

    fn write(&self, text: &str) {
        let text = printable_lines(text.trim_end_matches('\n'));
        // With stderr gone there is nobody left to tell.
        let _ = self.bars.suspend(|| writeln!(io::stderr().lock(), "{text}"));
    }

    /// Writes a result to stdout, for people.
    ///
    /// # Errors
    /// It cannot be written; [`io::ErrorKind::BrokenPipe`] if its reader, or the terminal, has gone.
    pub fn result(&self, text: &str) -> io::Result<()> {
        Self::put(&printable_lines(text))
    }

    /// Writes a result to stdout that is JSON, or an object a line.
    ///
    /// # Errors
    /// As of [`Screen::result`].
    pub fn json(&self, json: &str) -> io::Result<()> {
        Self::put(&printable_json(json))
    }

    /// Writes a view to stdout, as JSON on lines of its own.
    ///
    /// # Errors
    /// As of [`Screen::result`].
    pub fn view(&self, view: &impl Serialize) -> io::Result<()> {
        self.json(&serde_json::to_string_pretty(view).expect("a view is JSON"))
    }

    /// Writes views to stdout, a JSON object a line.
    ///
    /// # Errors
    /// As of [`Screen::result`].
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

    /// Columns of stderr, or of a page where it is no terminal.
    #[must_use]
    pub fn width(&self) -> usize {
        columns(rustix::termios::tcgetwinsize(io::stderr()))
    }

    /// Columns of stdout; without end where it is no terminal.
    #[must_use]
    pub fn result_width(&self) -> usize {
        if io::stdout().is_terminal() { columns(rustix::termios::tcgetwinsize(io::stdout())) } else { usize::MAX }
    }
}

/// Data on their way to a file, a pipe or a terminal. Only for a terminal are they changed: there, what it would obey is
/// written out.
#[derive(Debug)]
pub struct Data<W> {
    to: W,
    /// The beginning of a character whose rest is still to come; nothing where data go as they are.
    begun: Option<Vec<u8>>,
}

impl<W: Write + IsTerminal> Data<W> {
    /// Data to this place.
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
            // Not even text: it is shown as what it is not.
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

/// A terminal that has gone says that its input or output failed; a pipe says that it is broken. Both mean that nobody
/// reads any more.
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
