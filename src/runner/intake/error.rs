//! Why nothing was submitted, and what to do about it.

use std::{fmt, io, path::PathBuf};

use crate::{
    definition::Faults,
    domain::{call::CallFailure, cost::MicroUsd, environment::Environment, printable::printable},
    media::fetch::FetchError,
    report::publish::PublishError,
    s3::S3Error,
    sink::SinkError,
    store::StoreError,
};

/// What an error means for the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// Usage, definition or manifest is wrong: nothing was started.
    Usage,
    /// Something that the work needs is not available.
    CouldNotRun,
}

impl ExitClass {
    /// The exit status: 2 or 3.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::CouldNotRun => 3,
        }
    }
}

/// Finished lines that would be bought again because the definition's options changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuy {
    /// The number of lines; for a synthesis, of outputs.
    pub lines: u64,
    /// Their amount.
    pub amount: Amount,
    /// Their cost at list price.
    pub cost: MicroUsd,
    /// The options that changed, each as text: `language` from `en` to `hi`.
    pub changes: Vec<String>,
}

impl Rebuy {
    fn changed(&self) -> String {
        if self.changes.is_empty() { String::new() } else { format!(" ({})", self.changes.join("; ")) }
    }
}

/// The unit that is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Audio to be transcribed at most, in ms.
    AudioAtMost(u64),
    /// Audio to be transcribed, in ms.
    Audio(u64),
    /// Characters to be synthesized.
    Characters(u64),
}

impl fmt::Display for Rebuy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = format!("would be paid for again for about ${}", self.cost);
        match self.amount {
            Amount::AudioAtMost(ms) => write!(f, " (at most {} min of audio) {again}", ms.div_ceil(60_000)),
            Amount::Audio(ms) => write!(f, " ({} min of audio) {again}", ms.div_ceil(60_000)),
            Amount::Characters(characters) => write!(f, " ({characters} characters of them) {again}"),
        }
    }
}

/// A manifest whose address differs from that of the batch of the same name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the batch `{batch}` is of the manifest {}, and this is {}: {}",
    printable(before), printable(now), self.found()
)]
pub struct OtherSource {
    /// The batch's name.
    pub batch: String,
    /// The address that the batch has.
    pub before: String,
    /// The address of this manifest.
    pub now: String,
    /// Keys in both, with other recordings or texts, or with ones that cannot be compared.
    pub clashes: u64,
    /// Keys in both, with the same recordings or texts.
    pub same: u64,
    /// Keys that the batch does not have.
    pub new: u64,
}

impl OtherSource {
    fn found(&self) -> String {
        let keys = |n: u64| if n == 1 { "1 key".to_owned() } else { format!("{n} keys") };
        let rest: Vec<String> = [(self.same, "the same in both"), (self.new, "new")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
        match self.clashes {
            0 => format!("none of its {} is among the batch's", keys(self.new)),
            1 => format!("1 key stands for another recording or text there{rest}"),
            n => format!("{n} keys stand for other recordings or texts there{rest}"),
        }
    }
}

fn ticked(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{}`", printable(name))).collect();
    names.join(" and ")
}

/// A ledger as an error names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLedger {
    /// Where it is, or was.
    pub path: String,
    /// The id that was generated with it.
    pub id: String,
}

impl NamedLedger {
    /// Whether the other one is at its path now.
    fn was_replaced_by(&self, other: &Self) -> bool {
        self.path == other.path && self.id != other.id
    }

    /// Its name, if the other one is the one that is open.
    fn gone_or_there(&self, open: &Self) -> String {
        match self.was_replaced_by(open) {
            true => format!("another ledger that stood at {} (its id was {})", self.path, self.id),
            false => self.beside(open),
        }
    }

    /// Its name where the other one is named too: of two that were at one path, it is the
    /// one that is there.
    fn beside(&self, other: &Self) -> String {
        match self.was_replaced_by(other) {
            true => format!("the ledger that is there now (its id is {})", self.id),
            false => format!("the ledger {}", self.path),
        }
    }
}

/// Why a batch was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The manifest is wrong.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The batch's name belongs to another definition or another task.
    #[error("there is a batch `{batch}` already, and it is of {theirs}, not of {ours}")]
    OtherDefinition {
        /// The batch's name.
        batch: String,
        /// The owner according to the ledger.
        theirs: String,
        /// The owner according to this submission.
        ours: String,
        /// Whether both have no file, so that their names follow from the places of their sources.
        may_be_renamed: bool,
    },
    /// The batch was made for the sandbox and is now submitted for the live API, or the other way round.
    #[error(
        "the batch `{batch}` was made for {}, and its answers never mix with those of {}",
        theirs.in_words(),
        ours.in_words()
    )]
    OtherEnvironment {
        /// The batch's name.
        batch: String,
        /// The environment in the ledger.
        theirs: Environment,
        /// The requested environment.
        ours: Environment,
    },
    /// The manifest's address differs from the batch's, and its lines are not all the same.
    #[error(transparent)]
    OtherSource(Box<OtherSource>),
    /// All addresses of known lines differ from the ledger's in the same parameters and in nothing else.
    #[error(
        "all {lines} URLs of lines that `{batch}` has differ from before in {}, and in nothing else: nothing is paid for before it is clear whether the recordings are others",
        ticked(parameters)
    )]
    OtherParameters {
        /// The batch's name.
        batch: String,
        /// The parameters.
        parameters: Vec<String>,
        /// The number of such lines.
        lines: u64,
    },
    /// Finished lines would be bought again.
    #[error(
        "the definition's options have changed{}: {} finished {} of `{batch}`{rebuy}",
        rebuy.changed(), rebuy.lines, if matches!(rebuy.amount, Amount::Audio(_) | Amount::AudioAtMost(_)) { "lines" } else { "outputs" }
    )]
    WouldRebuy {
        /// The batch's name.
        batch: String,
        /// What would be bought again.
        rebuy: Rebuy,
    },
    /// The output belongs to another batch, or to a batch of another ledger.
    #[error(
        "the output {output} belongs to batch `{their_batch}` of {}, not to batch `{our_batch}` of {}",
        their_ledger.gone_or_there(our_ledger), our_ledger.beside(their_ledger)
    )]
    Owned {
        /// The output's address.
        output: String,
        /// The batch that its summary names.
        their_batch: String,
        /// The ledger that its summary names.
        their_ledger: Box<NamedLedger>,
        /// The batch to be submitted.
        our_batch: String,
        /// The open ledger.
        our_ledger: Box<NamedLedger>,
    },
    /// The ledger does not know the newest call behind the output.
    #[error(
        "the ledger {ledger} is an older copy: the output {output} was written by one that knows the later call {call}"
    )]
    OlderLedger {
        /// The open ledger.
        ledger: String,
        /// The output's address.
        output: String,
        /// The unknown call.
        call: String,
    },
    /// A file that no batch has written has the summary's path.
    #[error("{address} is no summary of a batch, and would be overwritten")]
    ForeignSummary {
        /// Its address.
        address: String,
    },
    /// The account lacks some of the requested voices.
    #[error(transparent)]
    Voices(Faults),
    /// The account does not return its voices, so synthesis would fail too.
    #[error("the account's voices cannot be had: {}", .0.message)]
    Account(CallFailure),
    /// The pronunciation dictionary could not be put on the account.
    #[error("the pronunciations cannot be put on the account: {}", .0.message)]
    Dictionary(CallFailure),
    /// A remote manifest cannot be fetched.
    #[error("the manifest {manifest} cannot be fetched")]
    Fetch {
        /// The manifest's address as it is shown.
        manifest: String,
        /// Why not.
        source: FetchError,
    },
    /// The recordings cannot be read.
    #[error("the recordings cannot be had: {0}")]
    Sources(#[source] S3Error),
    /// A prefix cannot be listed.
    #[error("the manifest {manifest} cannot be listed")]
    List {
        /// The prefix as it is shown.
        manifest: String,
        /// Why not.
        source: S3Error,
    },
    /// A manifest cannot be copied to the spool.
    #[error("the manifest cannot be copied to {}", dir.display())]
    Copy {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A recording cannot be copied to a folder, to be heard there.
    #[error("a recording cannot be copied to {}", dir.display())]
    CopyRecording {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lines of another batch cannot be read.
    #[error("the lines of the batch that feeds this one cannot be read")]
    Upstream(#[from] PublishError),
    /// The reading thread has died.
    #[error("the manifest could not be read to its end")]
    Interrupted,
}

impl IntakeError {
    /// The exit status for this error.
    #[must_use]
    pub const fn exit_class(&self) -> ExitClass {
        match self {
            Self::Faults(_)
            | Self::OtherDefinition { .. }
            | Self::OtherEnvironment { .. }
            | Self::OtherSource(_)
            | Self::OtherParameters { .. }
            | Self::WouldRebuy { .. }
            | Self::Owned { .. }
            | Self::OlderLedger { .. }
            | Self::List { .. }
            | Self::Voices(_)
            | Self::ForeignSummary { .. } => ExitClass::Usage,
            Self::Fetch { source: FetchError::Credentials(_), .. } => ExitClass::Usage,
            Self::Fetch { source: FetchError::Source(failure), .. } if !failure.transient => ExitClass::Usage,
            Self::Fetch { .. }
            | Self::Sources(_)
            | Self::Account(_)
            | Self::Dictionary(_)
            | Self::Copy { .. }
            | Self::CopyRecording { .. }
            | Self::Sink(_)
            | Self::Store(_)
            | Self::Upstream(_)
            | Self::Interrupted => ExitClass::CouldNotRun,
        }
    }

    /// What the user can do, if anything.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::OtherDefinition { may_be_renamed: true, .. } => {
                "give this one a name of its own with --batch NAME; or, if the same sources have only moved, take the batch over with --update-source"
            }
            Self::OtherDefinition { .. } => "give this one a name of its own with --batch NAME",
            Self::OtherEnvironment { .. } => {
                "use a ledger for each (--database), or give this batch a name of its own with --batch NAME"
            }
            Self::OtherSource(_) => {
                "give this one a name of its own with --batch NAME; or say that it is the batch's manifest from now on with --update-source: then lines with other recordings are paid for"
            }
            Self::OtherParameters { .. } => {
                "if they sign the address or change with each export, name them in the definition's [source] as ignore_query = [\"…\"] (\"all\" for the whole query); if these are other recordings, pay for them with --update-source, or give them a batch of their own with --batch NAME"
            }
            Self::WouldRebuy { .. } => {
                "take the options back; or pay for them again with --rebuy; or start a batch beside it with --batch NAME"
            }
            Self::Owned { their_ledger, our_ledger, .. } if their_ledger.was_replaced_by(our_ledger) => {
                "restore that ledger from its backup if there is one; or choose another output with --output; --take-over writes over what is there, and with --adopt takes lines whose outputs are there as done"
            }
            Self::Owned { .. } => {
                "choose another output with --output, or open that ledger with --database; --take-over writes over what is there, and with --adopt takes lines whose outputs are there as done"
            }
            Self::OlderLedger { .. } => {
                "open the newer copy with --database; with --take-over lines that only the newer one knows are paid for again"
            }
            Self::ForeignSummary { .. } => {
                "move it away, choose another output with --output, or write over it with --take-over"
            }
            Self::Voices(_) => {
                "`wavebatch voices` lists those that the account has; with --sandbox, those of the sandbox"
            }
            Self::Account(_) | Self::Dictionary(_) => {
                "is the key whole, of an account at this address, and may it do this?"
            }
            Self::Copy { .. } | Self::CopyRecording { .. } => {
                "make room in that folder, and make it writable for this user"
            }
            Self::Store(e) => return e.hint(),
            Self::List { source, .. } | Self::Sources(source) => return source.hint(),
            Self::Sink(e) => return e.hint(),
            Self::Faults(_) | Self::Fetch { .. } | Self::Upstream(_) | Self::Interrupted => return None,
        })
    }
}
