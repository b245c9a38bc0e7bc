//! Where calls go: the API, or its stand-in. Results of the two are never mixed.

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
    /// The stand-in if `sandbox` is true, else the API.
    #[must_use]
    pub const fn sandboxed(sandbox: bool) -> Self {
        if sandbox { Self::Sandbox } else { Self::Live }
    }

    /// The environment as messages name it.
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
