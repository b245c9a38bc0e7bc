//! Where audio comes from, and what can be told about it without decoding it.

pub mod probe;
