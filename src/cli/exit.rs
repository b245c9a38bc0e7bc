//! Exit statuses, and errors on their way to one.

use std::{fmt, io, path::Path, process::ExitCode};

use crate::{
    definition::Faults,
    domain::call::{CallFailure, ErrorKind},
    report::publish::PublishError,
    runner::intake::{ExitClass, IntakeError},
    shutdown::{Shutdown, Signal},
    sink::SinkError,
    store::StoreError,
    waves::ClientError,
};

/// How the program ends. Documented, and never changed in meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every line succeeded, or the failures are within `tolerate`.
    Success,
    /// Finished, but lines failed, are suspect, or were cancelled.
    Lines,
    /// Usage, definition or manifest are wrong: nothing was started.
    Usage,
    /// Could not run, or the batch is paused.
    Blocked,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP.
    HungUp,
}

impl Exit {
    /// The status for the shell.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Lines => 1,
            Self::Usage => 2,
            Self::Blocked => 3,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
        }
    }

    /// After a signal.
    #[must_use]
    pub fn of_signal(shutdown: &Shutdown) -> Self {
        match shutdown.signal() {
            Some(Signal::Terminate) => Self::Terminated,
            Some(Signal::Hangup) => Self::HungUp,
            Some(Signal::Interrupt) | None => Self::Interrupted,
        }
    }

    /// Of finished lines: `bad` are failed, suspect or cancelled.
    #[must_use]
    pub fn of_lines(bad: u64, total: u64, tolerate: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a share of far fewer than 2^52 lines")]
        let within = bad as f64 <= tolerate * total as f64;
        if bad == 0 || within { Self::Success } else { Self::Lines }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a verb could not do what it was asked for.
#[derive(Debug)]
pub struct CliError {
    /// How the program ends.
    pub exit: Exit,
    /// What happened.
    pub error: anyhow::Error,
    /// What the user can do.
    pub hint: Option<String>,
}

impl CliError {
    /// The user asked for something that cannot be: nothing was started.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// Something stands in the way.
    pub fn blocked(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Blocked, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether only the reader of stdout has gone, as `head` does, or its terminal: no error of ours.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        self.error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether nothing is wrong but that there is nothing to do.
    #[must_use]
    pub fn is_nothing_found(&self) -> bool {
        self.error.downcast_ref::<Faults>().is_some_and(Faults::is_only_empty)
    }

    /// Which ledger is meant, where the error itself does not say.
    #[must_use]
    pub fn of_ledger(error: StoreError, path: &Path) -> Self {
        let message = error.to_string().contains(&*path.to_string_lossy());
        let mut stop = Self::from(error);
        if !message {
            stop.error = stop.error.context(path.display().to_string());
        }
        stop
    }

    /// The error and its causes, those that say nothing new left out.
    fn causes(&self) -> String {
        let mut message = self.error.to_string();
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        message
    }

    /// As it is printed, once.
    #[must_use]
    pub fn message(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        match self.error.downcast_ref::<Faults>() {
            Some(faults) if faults.total() > 1 => format!("error: {} faults\n{faults}{hint}", faults.total()),
            _ => format!("error: {}{hint}", self.causes()),
        }
    }
}

impl From<Faults> for CliError {
    fn from(faults: Faults) -> Self {
        Self { exit: Exit::Usage, error: faults.into(), hint: None }
    }
}

impl From<IntakeError> for CliError {
    fn from(error: IntakeError) -> Self {
        let hint = error.hint().map(str::to_owned);
        match error {
            IntakeError::Faults(faults) => faults.into(),
            IntakeError::Voices(faults) => Self { hint, ..faults.into() },
            IntakeError::Store(error) => error.into(),
            error => {
                let exit = match error.exit_class() {
                    ExitClass::Usage => Exit::Usage,
                    ExitClass::CouldNotRun => Exit::Blocked,
                };
                Self { exit, error: error.into(), hint }
            }
        }
    }
}

impl From<PublishError> for CliError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            PublishError::Sink(error) => error.into(),
            // The reader of stdout may have gone.
            PublishError::Output(error) => error.into(),
            error @ PublishError::OldReport { .. } => {
                let hint = "restore it or make it readable, and run the same command again; to have a report without those transcripts, move it away first";
                Self { exit: Exit::Blocked, error: error.into(), hint: Some(hint.into()) }
            }
            error @ PublishError::Spool { .. } => {
                let hint =
                    "make room in that folder, and make it writable for this user; the same command writes the report";
                Self { exit: Exit::Blocked, error: error.into(), hint: Some(hint.into()) }
            }
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let exit = if matches!(error, StoreError::NoBatch(_)) { Exit::Usage } else { Exit::Blocked };
        let hint = error.hint().map(str::to_owned);
        Self { exit, error: error.into(), hint }
    }
}

impl From<SinkError> for CliError {
    fn from(error: SinkError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { exit: Exit::Blocked, error: error.into(), hint }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let about_key = matches!(error, ClientError::KeyEmpty | ClientError::KeyControl | ClientError::KeyNotAscii);
        let error = anyhow::Error::from(error);
        if about_key {
            let hint = format!("set {key} again, e.g. {key}=\"$(tr -d '\\n' < key-file)\"", key = crate::config::KEY);
            Self { exit: Exit::Blocked, error: error.context(crate::config::KEY), hint: Some(hint) }
        } else {
            Self { exit: Exit::Blocked, error, hint: None }
        }
    }
}

/// Of a question to the API; what calls run into is the runner's.
impl From<CallFailure> for CliError {
    fn from(failure: CallFailure) -> Self {
        let stop = Self::blocked(&failure.message);
        match failure.kind {
            ErrorKind::Unauthorized => {
                stop.hint(format!("is {} whole, and of an account at this address?", crate::config::KEY))
            }
            ErrorKind::Forbidden => stop.hint("ask the account's owner, or the vendor, what the key may do"),
            ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Gateway => {
                stop.hint("is the address right? SMALLEST_BASE_URL or `base_url` in wavebatch.toml say it")
            }
            ErrorKind::RateLimited | ErrorKind::ServerError | ErrorKind::Truncated => {
                stop.hint("try again in a minute")
            }
            _ => stop,
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self { exit: Exit::Blocked, error: error.into(), hint: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Fault;

    #[test]
    fn statuses_are_the_documented_ones() {
        use Exit::{Blocked, HungUp, Interrupted, Lines, Success, Terminated, Usage};
        let all = [Success, Lines, Usage, Blocked, Interrupted, Terminated, HungUp];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 130, 143, 129]);
        let shutdown = Shutdown::default();
        assert_eq!(Exit::of_signal(&shutdown), Interrupted);
        shutdown.hear(Signal::Terminate);
        assert_eq!(Exit::of_signal(&shutdown), Terminated);
        let shutdown = Shutdown::default();
        shutdown.hear(Signal::Hangup);
        assert_eq!(Exit::of_signal(&shutdown), HungUp);
    }

    #[test]
    fn bad_lines_count_beyond_what_is_tolerated() {
        assert_eq!(Exit::of_lines(0, 0, 0.0), Exit::Success);
        assert_eq!(Exit::of_lines(1, 100, 0.0), Exit::Lines);
        assert_eq!(Exit::of_lines(1, 100, 0.01), Exit::Success);
        assert_eq!(Exit::of_lines(2, 100, 0.01), Exit::Lines);
    }

    #[test]
    fn errors_have_their_status_and_are_told_once() {
        let stop = CliError::from(Faults::from(Fault::of_file("a.toml", "is empty")));
        assert_eq!((stop.exit, stop.message().as_str()), (Exit::Usage, "error: a.toml: is empty"));
        let two: Faults = ["x", "y"].map(|f| Fault::of_file("a", f)).into_iter().collect();
        assert_eq!(CliError::from(two).message(), "error: 2 faults\na: x\na: y");
        let stop = CliError::from(StoreError::Missing("/l.db".into()));
        assert_eq!(stop.exit, Exit::Blocked);
        assert!(stop.message().starts_with("error: there is no ledger at /l.db\nhint: name the right one"));
        let stop = CliError::from(ClientError::KeyControl);
        assert_eq!(stop.exit, Exit::Blocked);
        assert!(stop.message().starts_with("error: SMALLEST_API_KEY: the API key contains a line break"));
        let stop = CliError::from(CallFailure::new(ErrorKind::Unauthorized, "the API does not accept the key (401)"));
        assert_eq!(stop.exit, Exit::Blocked);
        assert!(stop.message().starts_with("error: the API does not accept the key (401)\nhint: is SMALLEST_API_KEY"));
        assert_eq!(CliError::from(StoreError::NoBatch("b".into())).exit, Exit::Usage);
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(CliError::from(broken()).is_closed_pipe());
        assert!(CliError::from(PublishError::Output(broken())).is_closed_pipe());
        let sink = SinkError::Unavailable { address: "s3://b".into(), source: broken() };
        assert!(!CliError::from(sink).is_closed_pipe(), "a connection of ours is another matter");
    }
}
