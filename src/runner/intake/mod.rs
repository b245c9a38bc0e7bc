//! From a definition and its manifest to jobs in the ledger: what submitting would do, and doing it.

mod adopt;
mod copy;
mod error;
mod known;
mod night;
mod ownership;
mod plan;
mod readable;
mod reader;
mod sample;
mod seal;
mod submit;
#[cfg(test)]
mod tests;

pub use copy::{ManifestCopy, copy_manifest};
pub use error::{ExitClass, IntakeError, Rebuy};
pub use plan::{Estimate, Plan, plan};
pub use submit::{Submission, SubmitOptions, submit};
