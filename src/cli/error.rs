//! Exit statuses, and the errors that lead to them.

use std::{fmt, io, process::ExitCode};

use crate::{
    app::{AppError, ChoiceError},
    definition::Faults,
    domain::{call::CallFailure, causes::in_words},
    report::publish::PublishError,
    runner::intake::{ExitClass, IntakeError},
    server::SecretError,
    shutdown::Signal,
    store::{BackupError, CopyError, StoreError},
    waves::ClientError,
};

/// Declares the exit statuses; the docstrings are what help and reference show.
macro_rules! exits {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$meta])*
        pub enum $name { $($(#[doc = $doc])+ $variant),+ }

        impl $name {
            /// Every status with its meaning.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, concat!($($doc),+))),+];

            /// The status for the shell.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }
        }
    };
}

exits! {
    /// The exit status of the program. Documented, and never changed in meaning.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Exit {
        /// Every line succeeded, or the failures are within `tolerate`.
        Success = 0,
        /// The batch finished, but lines failed, are suspect, or were cancelled. `ledger check` or `doctor` found something.
        Lines = 1,
        /// Usage, definition or manifest is wrong: nothing was started.
        Usage = 2,
        /// The command could not run, or the batch is paused or not wholly submitted.
        Blocked = 3,
        /// Interrupted by Ctrl-C. The same command goes on.
        Interrupted = 130,
        /// Interrupted by SIGTERM. The same command goes on.
        Terminated = 143,
        /// Interrupted by SIGHUP. The same command goes on.
        HungUp = 129,
    }
}

impl Exit {
    /// The status of a verb that has ended. A closed output is no failure of it.
    #[must_use]
    pub fn of(done: &Result<Self, CliError>) -> Self {
        match done {
            Ok(exit) => *exit,
            Err(error) if error.is_closed_pipe() => Self::Success,
            Err(error) => error.exit,
        }
    }

    /// The status after a signal.
    #[must_use]
    pub const fn of_signal(signal: Option<Signal>) -> Self {
        match signal {
            Some(Signal::Terminate) => Self::Terminated,
            Some(Signal::Hangup) => Self::HungUp,
            Some(Signal::Interrupt) | None => Self::Interrupted,
        }
    }

    /// The status for finished lines: `bad` are failed, suspect or cancelled.
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

/// The error of a verb.
#[derive(Debug)]
pub struct CliError {
    /// The exit status.
    pub exit: Exit,
    /// What happened.
    pub error: anyhow::Error,
    /// The remedy for the user.
    pub hint: Option<String>,
}

impl CliError {
    /// The request is invalid: nothing was started.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// No line is meant.
    pub fn lines(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Lines, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// An obstacle prevents the work.
    pub fn blocked(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Blocked, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether only the reader of stdout, such as `head`, or its terminal is gone. That is no error of the program.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        self.error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the only error is that there is nothing to do.
    #[must_use]
    pub fn is_nothing_found(&self) -> bool {
        self.error.downcast_ref::<Faults>().is_some_and(Faults::is_only_empty)
    }

    /// The full message.
    #[must_use]
    pub fn message(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        match self.error.downcast_ref::<Faults>() {
            Some(faults) if faults.total() > 1 => format!("error: {} faults\n{faults}{hint}", faults.total()),
            _ => format!("error: {}{hint}", in_words(self.error.as_ref())),
        }
    }
}

impl From<AppError> for CliError {
    fn from(error: AppError) -> Self {
        use AppError::{Faults, Intake, Interrupted, InterruptedOpening, Io, NoBatch, NoLedger, Publish, Store};
        let (exit, hint) = (exit_of(&error), error.hint());
        // An `AppError` that only wraps another error is replaced by it.
        let error = match error {
            Faults(error) => error.into(),
            Intake(IntakeError::Voices(error)) => error.into(),
            Intake(error) => error.into(),
            Io(error) => error.into(),
            Store(error) | NoBatch { source: error, .. } | NoLedger { source: error, .. } => error.into(),
            Publish(error) => error.into(),
            error @ (Interrupted(_) | InterruptedOpening(_)) => anyhow::anyhow!("{error}"),
            error => error.into(),
        };
        Self { exit, error, hint }
    }
}

const fn exit_of(error: &AppError) -> Exit {
    match error {
        AppError::Faults(_)
        | AppError::NoPublicUrl
        | AppError::NoBatch { .. }
        | AppError::Store(StoreError::NoBatch(_))
        | AppError::Copy(CopyError::Same { .. })
        | AppError::Backup(
            BackupError::Exists(_)
            | BackupError::NotReplaced { .. }
            | BackupError::NoBackup(_)
            | BackupError::OtherLedger { .. }
            | BackupError::Older { .. }
            | BackupError::OfFile { .. }
            | BackupError::OfServer { .. },
        )
        | AppError::Intake(IntakeError::Voices(_))
        | AppError::NoDirectory(_)
        | AppError::Secret(SecretError::Variable { .. })
        | AppError::Choice(ChoiceError::NoColumn { .. } | ChoiceError::NotListed { .. })
        | AppError::OtherEnvironment { .. }
        | AppError::NoParts(_) => Exit::Usage,
        AppError::Intake(error) => match error.exit_class() {
            ExitClass::Usage => Exit::Usage,
            ExitClass::CouldNotRun => Exit::Blocked,
        },
        AppError::Forget(error) if error.is_usage() => Exit::Usage,
        AppError::Forget(error) if error.is_of_lines() => Exit::Lines,
        AppError::Choice(_) => Exit::Lines,
        AppError::Interrupted(signal) | AppError::InterruptedOpening(signal) => Exit::of_signal(*signal),
        _ => Exit::Blocked,
    }
}

/// Converts errors of lower rooms through `AppError`.
macro_rules! by_way_of_app {
    ($($error:ty),+) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                AppError::from(error).into()
            }
        }
    )+};
}

by_way_of_app!(Faults, IntakeError, PublishError, StoreError, ClientError, CallFailure);

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self { exit: Exit::Blocked, error: error.into(), hint: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{definition::Fault, domain::call::ErrorKind, sink::SinkError};

    #[test]
    fn statuses_are_the_documented_ones() {
        use Exit::{Blocked, HungUp, Interrupted, Lines, Success, Terminated, Usage};
        let all = [Success, Lines, Usage, Blocked, Interrupted, Terminated, HungUp];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 130, 143, 129]);
        let signals = [None, Some(Signal::Interrupt), Some(Signal::Terminate), Some(Signal::Hangup)];
        assert_eq!(signals.map(Exit::of_signal), [Interrupted, Interrupted, Terminated, HungUp]);
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
        assert!(!CliError::from(AppError::from(sink)).is_closed_pipe(), "a connection of ours is another matter");
    }
}
