//! Logs: to stderr, as text or JSON, and above the progress bars. Terminal control sequences in outside data are
//! escaped, and an event is one line.

use std::{
    fmt,
    io::{self, Write},
};

use indicatif::MultiProgress;
use tracing::{
    Level,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    filter::{LevelFilter, Targets},
    fmt::{
        FormatFields, MakeWriter,
        format::{FmtSpan, Writer},
        layer,
    },
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

use crate::domain::{
    options::listed,
    printable::{printable, printable_json},
};

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

/// Starts logging, once per process. Log lines are written above `bars`, so that the two never mix.
pub fn start(format: LogFormat, verbosity: Verbosity, bars: MultiProgress) {
    let filter = filter(format, verbosity);
    let writer = AboveBars { bars, format };
    let layer = match format {
        LogFormat::Json => {
            let json = layer().json().flatten_event(true).with_span_events(FmtSpan::NONE);
            json.log_internal_errors(false).with_writer(writer).boxed()
        }
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            let text = layer().with_target(false).with_ansi(colours).fmt_fields(OneLine);
            text.log_internal_errors(false).with_writer(writer).boxed()
        }
    };
    // A second start, as in tests, changes nothing.
    let _ = registry().with(layer.with_filter(filter)).try_init();
}

/// The level of our own events by `-v` and `-q`; libraries log two levels less.
fn filter(format: LogFormat, verbosity: Verbosity) -> Targets {
    let base = match format {
        LogFormat::Text => 0,
        // A machine reads these: they include what a person reads on the screen.
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

/// Fields as the library writes them, but on one line and without terminal control sequences. The library puts its
/// own colours between the fields, so only here can the two be distinguished.
#[derive(Debug)]
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut fields_to = FieldsTo { writer, first: true, written: Ok(()) };
        fields.record(&mut fields_to);
        fields_to.written
    }
}

struct FieldsTo<'w> {
    writer: Writer<'w>,
    first: bool,
    written: fmt::Result,
}

impl FieldsTo<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        let value = printable(value);
        match (field.name(), self.writer.has_ansi_escapes()) {
            ("message", _) => self.writer.write_str(&value),
            (name, true) => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
            (name, false) => write!(self.writer, "{name}={value}"),
        }
    }
}

impl Visit for FieldsTo<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.written.is_ok() {
            self.written = self.write(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }
}

/// Writes to stderr while the bars are hidden.
#[derive(Debug, Clone)]
struct AboveBars {
    bars: MultiProgress,
    format: LogFormat,
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for AboveBars {
    /// Takes a whole event, as the library passes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = if self.format == LogFormat::Json { printable_json(&text) } else { text.as_ref().into() };
        // Nobody reads a closed stderr, and that must not end a call in flight.
        let _ = self.bars.suspend(|| io::stderr().write_all(text.as_bytes()));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The log text of an event.
    fn logged(colours: bool, log: impl FnOnce()) -> String {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let to = Arc::clone(&written);
        let text = layer().with_target(false).with_ansi(colours).without_time().fmt_fields(OneLine);
        let text = text.with_writer(move || Written(Arc::clone(&to)));
        tracing::subscriber::with_default(registry().with(text), log);
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_that_steers_nothing() {
        let name = "x\u{1b}]0;pwned\u{7}\n\u{9b}2J\u{202e}";
        let log = || {
            tracing::warn!(job.key = name, error = %name, n = 3, "{name} is gone");
            tracing::info!(job.key = "k", "plain");
        };
        let shown = "x\\u{1b}]0;pwned\\u{7} \\u{9b}2J\\u{202e}";
        let quoted = "\"x\\u{1b}]0;pwned\\u{7}\\n\\u{9b}2J\\u{202e}\"";
        assert_eq!(
            logged(false, log),
            format!(" WARN {shown} is gone job.key={quoted} error={shown} n=3\n INFO plain job.key=\"k\"\n")
        );
        let coloured = logged(true, log);
        assert!(coloured.contains("\x1b[33m WARN\x1b[0m") && coloured.contains("\x1b[3mn\x1b[0m"), "{coloured:?}");
        assert!(!coloured.contains("\x1b]0") && !coloured.contains('\u{9b}'), "{coloured:?}");
    }

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
