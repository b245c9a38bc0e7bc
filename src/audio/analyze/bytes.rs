//! A hearing as bytes, to be kept.
