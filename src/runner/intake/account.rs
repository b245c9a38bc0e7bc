//! The account that a batch is submitted for.

use crate::{domain::options::listed, waves::Client};

/// The account that a batch is submitted for.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its client.
    pub client: Client,
    /// Its name in the ledger.
    pub name: String,
    /// Whether it knows nothing of what older processes did: it is a sandbox inside this one.
    pub forgets: bool,
}

listed! {
    /// What becomes of voices that the account's catalogs do not have, or not for the model that is asked for.
    VoiceCheck, "voice check" {
        /// They are faults.
        Fault = "fault",
        /// They are warnings.
        Warn = "warn",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro declares the enum")]
impl Default for VoiceCheck {
    fn default() -> Self {
        Self::Fault
    }
}
