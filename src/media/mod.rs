//! Where audio comes from.
