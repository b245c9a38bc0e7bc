//! From a definition and its manifest to jobs in the ledger: what submitting would do, and doing it.

mod adopt;
mod buying;
mod chunk_writer;
mod compare;
mod copy;
mod dictionary;
mod error;
mod found;
mod job_builder;
mod known;
mod older_batch;
mod ownership;
mod parts;
mod plan;
mod presentation;
mod readable;
mod reader;
mod requested_voices;
mod sample;
mod scanned;
mod submit;
mod synthesis;
#[cfg(test)]
mod synthesis_tests;
#[cfg(test)]
mod tests;

pub use buying::{Characters, Purchases, cost};
pub use compare::{Compared, ReadProgress, ReadWatch};
pub use copy::{ManifestCopy, copy_manifest};
pub use dictionary::renew_dictionary;
pub use error::{Amount, ExitClass, IntakeError, OtherSource, Rebuy};
pub use parts::{PartLine, Parts, parts};
pub use plan::{Estimate, Plan, PlanOptions, SynthesisPlan, plan};
pub use requested_voices::{Account, Judgement, KnownVoice, VoiceCheck, judge, remembered};
pub use scanned::{ScanOf, Scanned};
pub use submit::{Submission, SubmitOptions, submit};
