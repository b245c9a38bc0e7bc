//! From a definition and its manifest to jobs in the ledger: what submitting would do, and doing it.

mod adopt;
mod buying;
mod cast;
mod compare;
mod copy;
mod dictionary;
mod error;
mod found;
mod known;
mod night;
mod ownership;
mod parts;
mod pen;
mod plan;
mod presentation;
mod readable;
mod reader;
mod sample;
mod scanned;
mod seal;
mod speech;
#[cfg(test)]
mod speech_tests;
mod submit;
#[cfg(test)]
mod tests;

pub use buying::{Characters, Purchases, cost};
pub use cast::{Account, Judgement, KnownVoice, VoiceCheck, judge, remembered};
pub use compare::{Compared, ReadProgress, ReadWatch};
pub use copy::{ManifestCopy, copy_manifest};
pub use dictionary::renew_dictionary;
pub use error::{Amount, ExitClass, IntakeError, OtherSource, Rebuy};
pub use parts::{PartLine, Parts, parts};
pub use plan::{Estimate, Plan, PlanOptions, SpeechPlan, plan};
pub use scanned::{ScanOf, Scanned};
pub use submit::{Submission, SubmitOptions, submit};
