//! The account that a batch is submitted for.

use crate::{domain::options::listed, waves::Client};

/// The account that a batch is submitted for.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its client.
    pub client: Client,
    /// Its name in the ledger.
    pub name: String,
    /// Whether it is a sandbox inside this process, which knows nothing of what earlier processes did.
    pub forgets: bool,
}

listed! {
    /// How voices are treated that the account's catalogs lack, or lack for the requested model.
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
