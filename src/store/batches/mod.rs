//! Batches and their lines: submitting, the user's verbs, pauses and windows.

pub(super) mod begin;
pub(super) mod control;
pub(super) mod dictionaries;
pub(super) mod diff;
pub(super) mod fed;
pub(super) mod feed;
pub(super) mod lines;
pub(super) mod pauses;
pub(super) mod retry;
pub(super) mod spec;
pub(super) mod submit;
pub(super) mod wanted;
pub(super) mod window;
