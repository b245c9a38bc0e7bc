//! Texts become speech.

mod work;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Synthesize;
