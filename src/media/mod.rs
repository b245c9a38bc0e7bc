//! Sources of audio: parsing a manifest's source, checking and downloading it, and reading its properties without decoding it.

pub mod content;
mod encoding;
pub mod fetch;
mod fetch_error;
#[cfg(test)]
mod fetch_tests;
mod network;
pub mod padding;
mod partial;
pub mod probe;
mod redirects;
pub mod s3;
pub mod source;
mod transfer;
