//! The pass as a whole.
