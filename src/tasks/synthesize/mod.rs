//! Texts become speech.

pub(crate) mod work;
