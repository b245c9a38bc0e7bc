//! Where calls go: the API, or its stand-in. What the one says is never mixed with what the other says.

use super::options::listed;

listed! {
    /// Where the calls of a batch go.
    Environment, "environment" {
        /// The vendor's API.
        Live = "live",
        /// The local stand-in.
        Sandbox = "sandbox",
    }
}

impl Environment {
    /// The stand-in's, or the API's.
    #[must_use]
    pub const fn sandboxed(sandbox: bool) -> Self {
        if sandbox { Self::Sandbox } else { Self::Live }
    }

    /// As it is told.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Live => "the API",
            Self::Sandbox => "the sandbox",
        }
    }

    /// Whether calls go to the stand-in.
    #[must_use]
    pub const fn is_sandbox(self) -> bool {
        matches!(self, Self::Sandbox)
    }
}
