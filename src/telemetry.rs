//! Logs: to stderr, as text or JSON, and around the progress bars.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing::Level;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter, format::FmtSpan},
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

use crate::domain::options::listed;

listed! {
    /// How logs are written.
    LogFormat, "log format" {
        /// For people.
        Text = "text",
        /// One object a line.
        Json = "json",
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy)]
pub struct Verbosity {
    /// How often `-v` was given.
    pub verbose: u8,
    /// Whether `-q` was.
    pub quiet: bool,
}

/// Starts logging, once per process. Lines go above `bars`, so that the two never mix.
pub fn start(format: LogFormat, verbosity: Verbosity, bars: MultiProgress) {
    let filter = filter(format, verbosity);
    let writer = AboveBars { bars };
    let layer = match format {
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_span_events(FmtSpan::NONE).with_writer(writer).boxed()
        }
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            fmt::layer().with_target(false).with_ansi(colours).with_writer(writer).boxed()
        }
    };
    // A second start, as in tests, changes nothing.
    let _ = registry().with(layer.with_filter(filter)).try_init();
}

/// Our own words by `-v` and `-q`; those of libraries two steps less.
fn filter(format: LogFormat, verbosity: Verbosity) -> Targets {
    let base = match format {
        LogFormat::Text => 0,
        // A machine reads these: it is told what a person reads off the screen.
        LogFormat::Json => 1,
    };
    let level = |steps: u8| match steps {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    if verbosity.quiet {
        return Targets::new().with_target("wavebatch", Level::ERROR);
    }
    let steps = base + verbosity.verbose;
    let libraries = if steps < 2 { LevelFilter::ERROR } else { LevelFilter::from(level(steps - 2)) };
    Targets::new().with_target("wavebatch", level(steps)).with_default(libraries)
}

/// Writes to stderr while the bars are out of the way.
#[derive(Debug, Clone)]
struct AboveBars {
    bars: MultiProgress,
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_flags() {
        let shows = |format, verbose, quiet, target: &str, level: Level| {
            filter(format, Verbosity { verbose, quiet }).would_enable(target, &level)
        };
        use LogFormat::{Json, Text};
        assert!(shows(Text, 0, false, "wavebatch::runner", Level::WARN));
        assert!(!shows(Text, 0, false, "wavebatch::runner", Level::INFO));
        assert!(shows(Json, 0, false, "wavebatch::runner", Level::INFO));
        assert!(shows(Text, 2, false, "wavebatch", Level::DEBUG) && !shows(Text, 2, false, "reqwest", Level::INFO));
        assert!(!shows(Text, 0, true, "wavebatch", Level::WARN) && shows(Text, 0, true, "wavebatch", Level::ERROR));
    }
}
