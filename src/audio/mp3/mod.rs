//! MPEG-1, 2 and 2.5 layer III, frame by frame: what joining needs, without decoding.

mod frames;
mod header;
pub mod info;
#[cfg(test)]
mod tests;

pub use frames::{Frame, Frames};
pub use header::{Header, samples_per_frame};
