//! The errors of a session.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

use super::{choice_error::ChoiceError, forget::ForgetError, metrics_file::MetricsFileError};
use crate::{
    config::{KEY, KEY_FILE, LEDGER, SANDBOX_LEDGER},
    definition::Faults,
    domain::{
        call::{CallFailure, ErrorKind},
        causes::in_words,
        environment::Environment,
    },
    report::publish::PublishError,
    runner::intake::IntakeError,
    server::SecretError,
    shutdown::Signal,
    sink::SinkError,
    store::{BackupError, CopyError, LedgerAddress, StoreError},
    waves::ClientError,
};

/// The error of a session. [`AppError::hint`] says what the user can do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Settings, a definition, a manifest or pronunciations are wrong.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// There is no API key.
    #[error("{KEY} is not set")]
    NoKey,
    /// There is no public URL for callbacks, and the definition accepts answers only by callback.
    #[error("webhook = \"always\", and the vendor is told no address to post answers to")]
    NoPublicUrl,
    /// The place that is named for the key has none.
    #[error("{0}")]
    KeyPlace(String),
    /// The key cannot be sent in a header.
    #[error("{KEY}: {0}")]
    BadKey(ClientError),
    /// No API client can be made.
    #[error(transparent)]
    Client(ClientError),
    /// No client for downloads can be made.
    #[error(transparent)]
    Fetcher(Box<dyn Error + Send + Sync>),
    /// The API failed to answer a query. Failures of jobs' calls belong to the runner.
    #[error("{}", .0.message)]
    Api(CallFailure),
    /// The ledger cannot be opened, or the service lost it. The source error does not name the ledger.
    #[error("{ledger}: {source}")]
    Ledger {
        /// The address of the ledger.
        ledger: String,
        /// The cause.
        source: StoreError,
    },
    /// There is no ledger where it is looked for, but there is the one of the other environment.
    #[error("{source}")]
    NoLedger {
        /// The error.
        source: StoreError,
        /// What the user may have meant.
        hint: String,
    },
    /// A ledger operation failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A ledger is not copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A backup is not made, or not put back.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The ledger has no batch of this name.
    #[error("{source}")]
    NoBatch {
        /// The error.
        source: StoreError,
        /// The nearest name, if one is similar; else the number of batches.
        hint: String,
    },
    /// No lines are chosen.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// Nothing was submitted.
    #[error(transparent)]
    Intake(IntakeError),
    /// A report cannot be written.
    #[error(transparent)]
    Publish(PublishError),
    /// Outputs cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// There is no secret for callbacks.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Callbacks cannot be received.
    #[error("callbacks cannot be received on {listen}: {source}")]
    CallbackListen {
        /// The address to listen on.
        listen: SocketAddr,
        /// The system's error.
        source: io::Error,
        /// Whether a service should receive them.
        service: bool,
    },
    /// Health checks and metrics cannot be served.
    #[error("health and metrics cannot be served on {listen}: {source}")]
    AdminListen {
        /// The address to listen on.
        listen: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The metrics of a run cannot be written to their file.
    #[error(transparent)]
    MetricsFile(#[from] MetricsFileError),
    /// A path for definitions is not a directory.
    #[error("{} is no directory", .0.display())]
    NoDirectory(PathBuf),
    /// A part of the service panicked.
    #[error("a part of the service broke: {0}")]
    ServicePanicked(tokio::task::JoinError),
    /// A signal came.
    #[error("interrupted")]
    Interrupted(Option<Signal>),
    /// A signal came while the session waited for a locked ledger.
    #[error("interrupted before the ledger was open")]
    InterruptedOpening(Option<Signal>),
    /// A batch cannot be worked in its state.
    #[error("{}", .0.why)]
    NotWorkable(NotWorkable),
    /// A batch belongs to the other environment.
    #[error("the batch `{batch}` belongs to {}", environment.in_words())]
    OtherEnvironment {
        /// Its name.
        batch: String,
        /// The batch's environment.
        environment: Environment,
    },
    /// The batch's task has no parts.
    #[error("{0} is no batch of speech: its lines have no parts")]
    NoParts(String),
    /// Nothing is forgotten.
    #[error(transparent)]
    Forget(#[from] ForgetError),
    /// The system refuses an operation.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a batch cannot be worked, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotWorkable {
    /// The reason.
    pub why: String,
    /// What makes it workable.
    pub hint: String,
}

impl AppError {
    /// An error of the ledger at `path`, with the path if the source error lacks it.
    #[must_use]
    pub fn of_ledger(source: StoreError, ledger: &LedgerAddress) -> Self {
        if let StoreError::Missing(missing) = &source
            && let Some(meant) = other_ledger(missing)
        {
            let hint = source.hint().map(|hint| format!(" Else {hint}")).unwrap_or_default();
            return Self::NoLedger { hint: format!("{meant}{hint}"), source };
        }
        match source.to_string().contains(&ledger.to_string()) {
            true => Self::Store(source),
            false => Self::Ledger { ledger: ledger.to_string(), source },
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::KeyPlace(_) => format!("put the key alone into that file, readable for this user; or export {KEY}=sk_…"),
            Self::NoKey => format!("export {KEY}=sk_…, or {KEY_FILE}=/path/to/key; or try everything without an account with --sandbox"),
            Self::NoPublicUrl => {
                "set it in wavebatch.toml: [webhook] public_url = \"https://hooks.example.com/wavebatch\"".into()
            }
            Self::BadKey(_) => format!("set {KEY} again, e.g. {KEY}=\"$(tr -d '\\n' < key-file)\""),
            Self::Api(failure) => return hint_of_question(failure),
            Self::Ledger { source, .. } | Self::Store(source) => return source.hint().map(str::to_owned),
            Self::Copy(error) => return error.hint().map(str::to_owned),
            Self::Backup(error) => return error.hint().map(str::to_owned),
            Self::NoBatch { hint, .. } | Self::NoLedger { hint, .. } => hint.clone(),
            Self::Intake(error) => return error.hint().map(str::to_owned),
            Self::Forget(error) => return error.hint().map(str::to_owned),
            Self::Publish(error) => return hint_of_report(error),
            Self::Sink(error) => return error.hint().map(str::to_owned),
            Self::CallbackListen { service: false, .. } => {
                "choose another address with --listen, or in wavebatch.toml: [webhook] listen = \"127.0.0.1:8081\""
                    .into()
            }
            Self::CallbackListen { service: true, .. } => "choose another address with --listen or in wavebatch.toml, [webhook] listen; --listen off receives none".into(),
            Self::AdminListen { .. } => "choose another address with --admin-listen or in wavebatch.toml, [serve] admin_listen; --admin-listen off serves none".into(),
            Self::MetricsFile(error) => error.hint(),
            Self::NoDirectory(_) => "--definitions names the directory that the definitions are in".into(),
            Self::Interrupted(_) => "run the same command to go on".into(),
            Self::NotWorkable(NotWorkable { hint, .. }) => hint.clone(),
            Self::OtherEnvironment { environment: Environment::Sandbox, .. } => "add --sandbox".into(),
            Self::OtherEnvironment { environment: Environment::Live, .. } => "leave --sandbox out".into(),
            Self::Faults(_)
            | Self::Choice(_)
            | Self::Client(_)
            | Self::Fetcher(_)
            | Self::Secret(_)
            | Self::ServicePanicked(_)
            | Self::InterruptedOpening(_)
            | Self::NoParts(_)
            | Self::Io(_) => return None,
        };
        Some(hint)
    }

    /// The error, the causes that add something, and the hint: for notifications outside the process.
    #[must_use]
    pub fn in_full(&self) -> String {
        let words = in_words(self);
        match self.hint() {
            Some(hint) => format!("{words}\nhint: {hint}"),
            None => words,
        }
    }
}

/// The question whether the ledger of the other environment is meant, if that one is there.
fn other_ledger(missing: &std::path::Path) -> Option<String> {
    let name = missing.file_name()?.to_str()?;
    let (other, flag) = match name {
        SANDBOX_LEDGER => (LEDGER, "the command without `--sandbox`"),
        _ => (SANDBOX_LEDGER, "`--sandbox`"),
    };
    missing.with_file_name(other).exists().then(|| format!("{other} is there: did you mean {flag}?"))
}

fn hint_of_question(failure: &CallFailure) -> Option<String> {
    match failure.kind {
        ErrorKind::Unauthorized => Some(format!("is {KEY} whole, and of an account at this address?")),
        ErrorKind::Forbidden => Some("ask the account's owner, or the vendor, what the key may do".into()),
        ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Gateway => {
            Some("is the address right? SMALLEST_BASE_URL or `base_url` in wavebatch.toml say it".into())
        }
        ErrorKind::RateLimited | ErrorKind::ServerError | ErrorKind::Truncated => Some("try again in a minute".into()),
        _ => None,
    }
}

fn hint_of_report(error: &PublishError) -> Option<String> {
    match error {
        PublishError::Store(error) => error.hint().map(str::to_owned),
        PublishError::Sink(error) => error.hint().map(str::to_owned),
        PublishError::Output(_) => None,
        PublishError::OldReport { .. } => Some("restore it or make it readable, and run the same command again; to have a report without those transcripts, move it away first".into()),
        PublishError::Spool { .. } => {
            Some("make room in that folder, and make it writable for this user; the same command writes the report".into())
        }
    }
}

impl From<IntakeError> for AppError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Faults(faults) => Self::Faults(faults),
            IntakeError::Store(error) => Self::Store(error),
            error => Self::Intake(error),
        }
    }
}

impl From<PublishError> for AppError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => Self::Store(error),
            PublishError::Sink(error) => Self::Sink(error),
            // The reader of stdout may be gone.
            PublishError::Output(error) => Self::Io(error),
            error => Self::Publish(error),
        }
    }
}

impl From<ClientError> for AppError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::KeyEmpty | ClientError::KeyControl | ClientError::KeyNotAscii => Self::BadKey(error),
            error => Self::Client(error),
        }
    }
}

impl From<CallFailure> for AppError {
    fn from(failure: CallFailure) -> Self {
        Self::Api(failure)
    }
}
