//! How words are spoken that a voice would get wrong.

use serde::{Deserialize, Serialize};

/// How one word is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pronunciation {
    /// The word as it is written.
    pub word: String,
    /// The word as it sounds.
    pub pronunciation: String,
}
