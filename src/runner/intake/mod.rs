//! Turns a definition and its manifest into jobs in the ledger: first planning, then submitting.

mod account;
mod adopt;
mod chunk_writer;
mod compare;
mod copy;
mod dated_batch;
mod error;
mod fed_facts;
mod feeder;
mod heard;
mod job_builder;
mod known;
mod known_sources;
mod listen;
mod manifest_copy;
mod ownership;
mod plan;
mod planned;
mod preview;
mod readable;
mod reader;
mod resolved;
mod sample;
mod submit;
#[cfg(test)]
mod synthesis_tests;
mod task;
#[cfg(test)]
mod tests;
mod upcoming;
mod upstream;

pub use account::{Account, VoiceCheck};
pub use compare::{Compared, ReadProgress, ReadWatch};
pub use copy::{CopyPlace, copy_manifest};
pub use error::{Amount, ExitClass, IntakeError, OtherSource, Rebuy};
pub use feeder::Feeder;
pub use heard::{Bought, Heard, HeardKinds, WayTotal};
pub use listen::{HowMany, ListenOptions, ListenProgress, ListenWatch, listen};
pub use manifest_copy::ManifestCopy;
pub use plan::{Estimate, MostCalls, Plan, PlanOptions, plan};
pub use planned::planned;
pub use preview::PreviewLine;
pub use sample::{Seen, Share};
pub use submit::{Submission, SubmitOptions, submit};
pub use task::{
    AccountCheck, AccountNotes, ContentFindings, HeardOffer, HeardOffers, IntakeTask, LineNote, OutputEndings,
    PartPreview, Parts, PurchaseGroup, Purchases, Sent, Survey, UnitsByModel, renew_account,
};
pub use upcoming::{ToCome, Upcoming, upcoming};
pub use upstream::{PlannedBatch, Upstreams};
