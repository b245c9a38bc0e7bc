//! Where audio comes from: what a manifest's source means, whether it can be had, and fetching it.

pub mod fetch;
#[cfg(test)]
mod fetch_tests;
pub mod source;
mod transfer;
