//! Audio containers: pure format code over a reader. Part of the ground.

pub mod wav;
