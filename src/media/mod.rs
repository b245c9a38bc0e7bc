//! Where audio comes from: what a manifest's source means, whether it can be had, fetching it, and what can be told about
//! it without decoding it.

pub mod content;
pub mod fetch;
mod fetch_error;
#[cfg(test)]
mod fetch_tests;
mod network;
pub mod padding;
pub mod probe;
mod redirects;
pub mod s3;
pub mod source;
mod transfer;
