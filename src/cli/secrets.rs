//! `wavebatch secrets`

use clap::{Args, Subcommand};

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
};
use crate::{
    app::{NotInLedger, renew_secret, signing_secret},
    domain::callback::SecretPurpose,
};

/// Show or change the secrets of callbacks and notifications
///
/// `webhook` proves the addresses to which answers are posted; `notify` signs notifications. Of a ledger on a server they
/// stand in the ledger, else in files beside it; a variable goes before both.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wavebatch secrets show notify\n  wavebatch secrets renew webhook")]
pub struct SecretsVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(Show),
    Renew(Renew),
}

/// Print the secret that signs, for whoever checks signatures
#[derive(Debug, Args)]
struct Show {
    /// webhook or notify
    #[arg(value_name = "SECRET")]
    purpose: SecretPurpose,
    #[command(flatten)]
    ledger: LedgerFlags,
}

/// Make a new secret in a ledger on a server
///
/// It signs from now on; processes at work notice it within 30 s. The secret before it stays known until the next one is
/// made. So make two if one became known to others.
#[derive(Debug, Args)]
struct Renew {
    /// webhook or notify
    #[arg(value_name = "SECRET")]
    purpose: SecretPurpose,
    #[command(flatten)]
    ledger: LedgerFlags,
}

impl SecretsVerb {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self.what {
            What::Show(Show { purpose, ledger }) => {
                let (store, settings) = context.ledger(ledger.sandbox).await?;
                let secret = signing_secret(&store, &settings, purpose).await?;
                context.screen.result(&secret.hex())?;
                store.close().await;
            }
            What::Renew(Renew { purpose, ledger }) => {
                let (store, settings) = context.ledger(ledger.sandbox).await?;
                if let Err(why) = renew_secret(&store, &settings, purpose).await? {
                    return Err(not_in_ledger(why, purpose));
                }
                store.close().await;
                context.screen.message(&format!(
                    "{purpose}: a new secret signs from now on; the one before it is known until the next is made"
                ));
            }
        }
        Ok(Exit::Success)
    }
}

fn not_in_ledger(why: NotInLedger, purpose: SecretPurpose) -> CliError {
    match (why, purpose) {
        (NotInLedger::Variable(name), SecretPurpose::Webhook) => {
            CliError::usage(format!("{name} is set, and goes before the ledger's secret"))
                .hint(format!("set {name} to the new secret and the old one, with a comma between them"))
        }
        (NotInLedger::Variable(name), SecretPurpose::Notify) => {
            CliError::usage(format!("{name} is set, and goes before the ledger's secret"))
                .hint(format!("set {name} to another one, or leave it out"))
        }
        (NotInLedger::Files, SecretPurpose::Webhook) => {
            CliError::usage("the secrets of a ledger in a file are not in it")
                .hint("set WAVEBATCH_WEBHOOK_SECRET to the new secret and the old one, with a comma between them")
        }
        (NotInLedger::Files, SecretPurpose::Notify) => {
            CliError::usage("the secrets of a ledger in a file are not in it")
                .hint("remove the file of the secret beside the ledger: the next command makes another one")
        }
    }
}
