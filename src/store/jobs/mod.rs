//! Jobs: who works on a job, how it ends, and which files belong to it.

pub(super) mod claim;
pub(super) mod content;
pub(super) mod deliveries;
pub(super) mod hearings;
pub(super) mod outputs;
pub(super) mod parts;
pub(super) mod settle;
pub(super) mod texts;
