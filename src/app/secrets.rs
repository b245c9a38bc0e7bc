//! The secrets of callbacks and notifications, for their owner.

use secrecy::ExposeSecret;

use super::{error::AppError, settings::Settings};
use crate::{
    domain::callback::{Secret, SecretPurpose},
    server::{NOTIFY_SECRET, Secrets, WEBHOOK_SECRET, random},
    store::Store,
};

/// Why the secrets of a ledger are not changed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInLedger {
    /// A variable of this name holds them.
    Variable(&'static str),
    /// They are files beside the ledger.
    Files,
}

/// The secret that signs. One that is missing is made.
///
/// # Errors
/// It is invalid or cannot be read.
pub async fn signing_secret(store: &Store, settings: &Settings, purpose: SecretPurpose) -> Result<Secret, AppError> {
    let secrets = Secrets::of_ledger(store, purpose, variable(settings, purpose).map(|(_, text)| text)).await?;
    Ok(secrets.keyring().newest().expect("a ledger has a secret for each purpose"))
}

/// Makes a new secret, which signs from now on. The one before it stays known until the next change.
///
/// # Errors
/// The ledger cannot be written. `Ok(Err(…))`: the secrets are not in the ledger.
pub async fn renew_secret(
    store: &Store,
    settings: &Settings,
    purpose: SecretPurpose,
) -> Result<Result<(), NotInLedger>, AppError> {
    if let Some((name, _)) = variable(settings, purpose) {
        return Ok(Err(NotInLedger::Variable(name)));
    }
    if store.file().is_some() {
        return Ok(Err(NotInLedger::Files));
    }
    // The one before it is one that others know.
    signing_secret(store, settings, purpose).await?;
    store.add_secret(purpose, random()?).await?;
    Ok(Ok(()))
}

/// The variable that holds the secrets of a purpose, with its name, if it is set.
fn variable(settings: &Settings, purpose: SecretPurpose) -> Option<(&'static str, &str)> {
    let env = &settings.env;
    let (name, value) = match purpose {
        SecretPurpose::Webhook => (WEBHOOK_SECRET, env.webhook_secret.as_ref()),
        SecretPurpose::Notify => (NOTIFY_SECRET, env.notify_secret.as_ref()),
    };
    value.map(|text| (name, text.expose_secret()))
}
