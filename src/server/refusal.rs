//! Why a callback was not kept.

use crate::domain::options::listed;

listed! {
    /// Why a callback was not kept.
    Refusal, "refusal" {
        /// Nothing proves that it is one of ours.
        Unknown = "unknown",
        /// It is no callback, or not all of it.
        Unreadable = "unreadable",
        /// Over the limit.
        TooLarge = "too_large",
        /// It did not come in time.
        TooSlow = "too_slow",
        /// The ledger could not take it.
        Ledger = "ledger",
        /// There was no room to read it into.
        Crowded = "crowded",
    }
}
