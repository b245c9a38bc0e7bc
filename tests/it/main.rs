//! One binary for all integration tests, by theme.

mod leases;
mod limits;
mod money;
mod outages;
mod pipeline;
mod refusals;
mod sources;
mod support;
mod verbs;
