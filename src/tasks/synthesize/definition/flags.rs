//! The command-line flags that only a synthesis has.

pub(super) const VOICE_ID: &str = "voice-id";
pub(super) const NAME: &str = "name";
pub(super) const PART_CHARS: &str = "part-chars";
pub(super) const CAPTIONS: &str = "captions";
pub(super) const PRONUNCIATIONS: &str = "pronunciations";
pub(super) const TEXT_COLUMN: &str = "text-column";
pub(super) const NO_REUSE: &str = "no-reuse";

/// All of them.
pub(super) const NAMES: &[&str] = &[VOICE_ID, NAME, PART_CHARS, CAPTIONS, PRONUNCIATIONS, TEXT_COLUMN, NO_REUSE];
