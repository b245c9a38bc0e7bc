//! Where words go: results to stdout, everything else to stderr, above the bars.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;

use crate::telemetry::LogFormat;

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
    pub fn say(&self, text: &str) {
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
        // With stderr gone there is nobody left to tell.
        let _ = self.bars.suspend(|| writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n')));
    }

    /// Writes a result to stdout.
    ///
    /// # Errors
    /// It cannot be written; [`io::ErrorKind::BrokenPipe`] if its reader has gone.
    pub fn result(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
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

fn columns(size: rustix::io::Result<rustix::termios::Winsize>) -> usize {
    size.map(|size| usize::from(size.ws_col)).ok().filter(|columns| *columns > 0).unwrap_or(100)
}
