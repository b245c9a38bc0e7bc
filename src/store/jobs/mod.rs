//! Jobs: who works on which, what becomes of it, and which files are its own.

pub(super) mod claim;
pub(super) mod content;
pub(super) mod deliveries;
pub(super) mod outputs;
pub(super) mod parts;
pub(super) mod settle;
pub(super) mod texts;
